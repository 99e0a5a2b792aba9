package arena

// Table is a pool of records of one size in a segment. Slot 0 is never given out: it stands for none, and reads as
// zeros. A freed slot keeps its bytes until the batch is flushed, because events in it may refer to the record.
type Table struct {
	b       []byte
	size    int
	max     uint32
	next    uint32   // slots below it have been used once
	free    []uint32 // ready for reuse
	pending []uint32 // freed since the last flush
	marks   []uint32 // per slot: the round in which an event last referred to it
	round   uint32   // number of flushes, never 0
	used    int
	full    uint64
}

func newTable(b []byte, size, max int) *Table {
	return &Table{b: b, size: size, max: uint32(max), next: 1, marks: make([]uint32, max+1), round: 1}
}

// Alloc takes a slot, its record zeroed; false when the table is full, which is counted.
func (t *Table) Alloc() (uint32, bool) {
	var s uint32
	switch n := len(t.free); {
	case n > 0:
		s, t.free = t.free[n-1], t.free[:n-1]
		clear(t.Record(s))
	case t.next <= t.max:
		s = t.next
		t.next++
	default:
		t.full++
		return 0, false
	}
	t.marks[s] = 0
	t.used++
	return s, true
}

// Free gives a slot back; it is reused after the next flush.
func (t *Table) Free(s uint32) {
	if s == 0 {
		return
	}
	t.pending = append(t.pending, s)
	t.used--
}

// Record returns the bytes of slot s, valid until Close. Slot 0 is zeros and must not be written.
func (t *Table) Record(s uint32) []byte {
	o := int(s) * t.size
	return t.b[o : o+t.size : o+t.size]
}

// Mark notes that an event in the batch refers to s and reports whether it was noted before since the last flush.
func (t *Table) Mark(s uint32) bool {
	if t.marks[s] == t.round {
		return true
	}
	t.marks[s] = t.round
	return false
}

// Marked reports whether an event in the batch refers to s: changing the record needs a flush or a copy first.
func (t *Table) Marked(s uint32) bool { return t.marks[s] == t.round }

// Pending returns the slots freed since the last flush, which makes them ready for reuse.
func (t *Table) Pending() int { return len(t.pending) }

// Used returns the slots in use.
func (t *Table) Used() int { return t.used }

// Limit returns the most slots there can be.
func (t *Table) Limit() int { return int(t.max) }

// Full returns how often Alloc found no slot.
func (t *Table) Full() uint64 { return t.full }

// High returns one more than the largest slot ever used, for loops over all slots.
func (t *Table) High() uint32 { return t.next }

func (t *Table) flushed() {
	t.free = append(t.free, t.pending...)
	t.pending = t.pending[:0]
	if t.round++; t.round == 0 {
		clear(t.marks)
		t.round = 1
	}
}
