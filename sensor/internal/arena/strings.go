package arena

import (
	"bytes"
	"hash/maphash"
	"math/bits"

	"github.com/shikra-sensor/shikra/wasmabi"
)

// slabSize is how the segment is divided: each slab holds chunks of one size and goes back to the pool when the last of
// them is reclaimed, so that a time of many short strings leaves room for long ones.
const slabSize = 64 << 10

// MaxString is the most bytes one interned string has; longer ones are cut by Intern.
const MaxString = slabSize - overhead

// zombieBytes is how much of a segment may hold strings that nothing refers to any more; of a small segment, an eighth.
// They are kept a while because a name just closed is often opened again.
const zombieBytes = 512 << 10

// Strings interns strings in a segment: equal strings have equal refs. Each is counted; what nobody refers to is
// reclaimed at a flush. A chunk is: u32 count, u32 next chunk of the hash chain, then wasmabi's string record, which a
// ref points to. Chunks come in size classes; the segment is a hard limit.
type Strings struct {
	b         []byte
	buckets   []uint32
	mask      uint32
	slabs     []slab
	partial   [classes]uint32 // the first slab of a class with room, numbered from 1; 0 for none
	empty     uint32          // the first slab without a class
	zombies   fifo
	zombieB   int
	zombieMax int
	used      int // bytes in chunks that are referred to or zombies
	count     int
	full      uint64
	cut       uint64
	short     bool // a string found no room since the last flush: reclaim all there is
	seed      maphash.Seed
}

// slab is the bookkeeping of slabSize bytes. Slab 0 keeps the smallest class for ever, its first chunk unused, so that no
// chunk has offset 0.
type slab struct {
	free       uint32 // the first reclaimed chunk; each holds the next one's offset where its chain link was
	bump       uint32 // bytes from the slab's start that have been given out once
	used       uint32 // chunks in use
	class      uint32
	next, prev uint32 // neighbours in the partial list, numbered from 1; next alone in the empty list
	listed     bool   // stands in the partial list
}

const (
	chunkHead = 8                        // count and next, before the record
	overhead  = chunkHead + 8 + 1        // and the record's head and the NUL
	classes   = 23                       // 32, 48, 64, 96, 128 … 64 KiB
	inFifo    = uint32(1) << 31          // in the count: the chunk stands in the fifo
	_         = uint(wasmabi.StringSize) // 8
)

func newStrings(b []byte) *Strings {
	n := 1 << bits.Len(uint(min(len(b)/256, 1<<16)))
	t := &Strings{
		b: b, buckets: make([]uint32, n), mask: uint32(n - 1), slabs: make([]slab, len(b)/slabSize),
		zombieMax: min(zombieBytes, len(b)/8), seed: maphash.MakeSeed(),
	}
	for i := len(t.slabs) - 1; i > 0; i-- {
		t.slabs[i].next = t.empty
		t.empty = uint32(i + 1)
	}
	if len(t.slabs) > 0 {
		t.slabs[0] = slab{bump: 32, used: 1}
		t.list(0)
	}
	return t
}

// class returns the size class of n bytes: the sizes are 32·2^k and 48·2^k.
func class(n int) uint32 {
	if n <= 32 {
		return 0
	}
	k := bits.Len(uint(n-1)) - 6 // 33..64 → 0
	if n <= 48<<k {
		return uint32(2*k + 1)
	}
	return uint32(2*k + 2)
}

// classSize returns the bytes of a chunk of class k.
func classSize(k uint32) uint32 {
	if k&1 == 1 {
		return 48 << (k / 2)
	}
	return 32 << (k / 2)
}

// Intern returns the ref of a string equal to s and counts the caller among its owners; each must Release it once. It
// returns 0 when the segment is full, which is counted, and cuts what is longer than MaxString. s is copied.
func (t *Strings) Intern(s []byte) uint32 {
	if len(s) > MaxString {
		s = s[:MaxString]
		t.cut++
	}
	h := uint32(maphash.Bytes(t.seed, s))
	slot := &t.buckets[h&t.mask]
	for c := *slot; c != 0; c = le.Uint32(t.b[c+4:]) {
		r := t.b[c+chunkHead:]
		if le.Uint32(r[4:]) == h && int(le.Uint32(r)) == len(s) && bytes.Equal(r[8:8+len(s)], s) {
			t.retain(c)
			return c + chunkHead
		}
	}
	c := t.chunk(class(len(s) + overhead))
	if c == 0 {
		t.full++
		t.short = true
		return 0
	}
	r := t.b[c : int(c)+len(s)+overhead]
	le.PutUint32(r[0:], 1)
	le.PutUint32(r[4:], *slot)
	le.PutUint32(r[8:], uint32(len(s)))
	le.PutUint32(r[12:], h)
	copy(r[16:], s)
	r[16+len(s)] = 0
	*slot = c
	t.used += t.size(c)
	t.count++
	return c + chunkHead
}

// InternString is Intern for a string.
func (t *Strings) InternString(s string) uint32 { return t.Intern([]byte(s)) }

// chunk takes a chunk of class k, or of the next larger class that has one when no slab is left; 0 when there is none.
func (t *Strings) chunk(k uint32) uint32 {
	for j := k; ; {
		if i := t.partial[j]; i != 0 {
			return t.take(i - 1)
		}
		if j == k && t.empty != 0 {
			i := t.empty - 1
			t.empty = t.slabs[i].next
			t.slabs[i] = slab{class: k}
			t.list(i)
			continue
		}
		if j++; j == classes {
			return 0
		}
	}
}

func (t *Strings) take(i uint32) uint32 {
	s := &t.slabs[i]
	c := s.free
	if c != 0 {
		s.free = le.Uint32(t.b[c+4:])
	} else {
		c = i*slabSize + s.bump
		s.bump += classSize(s.class)
	}
	s.used++
	if s.free == 0 && s.bump+classSize(s.class) > slabSize {
		t.unlist(i)
	}
	return c
}

// list puts slab i at the head of its class's partial list.
func (t *Strings) list(i uint32) {
	s := &t.slabs[i]
	head := &t.partial[s.class]
	s.next, s.prev, s.listed = *head, 0, true
	if *head != 0 {
		t.slabs[*head-1].prev = i + 1
	}
	*head = i + 1
}

func (t *Strings) unlist(i uint32) {
	s := &t.slabs[i]
	if s.prev != 0 {
		t.slabs[s.prev-1].next = s.next
	} else {
		t.partial[s.class] = s.next
	}
	if s.next != 0 {
		t.slabs[s.next-1].prev = s.prev
	}
	s.next, s.prev, s.listed = 0, 0, false
}

// giveBack returns chunk c to its slab, and the slab to the pool when it was its last.
func (t *Strings) giveBack(c uint32) {
	i := c / slabSize
	s := &t.slabs[i]
	le.PutUint32(t.b[c+4:], s.free)
	s.free = c
	if s.used--; s.used == 0 {
		if s.listed {
			t.unlist(i)
		}
		s.next = t.empty
		t.empty = i + 1
	} else if !s.listed {
		t.list(i)
	}
}

func (t *Strings) retain(c uint32) {
	n := le.Uint32(t.b[c:])
	if n&^inFifo == 0 {
		t.zombieB -= t.size(c)
	}
	le.PutUint32(t.b[c:], n+1)
}

// size returns the bytes of chunk c.
func (t *Strings) size(c uint32) int { return int(classSize(t.slabs[c/slabSize].class)) }

// Retain counts one more owner of ref and returns it. 0 stays 0.
func (t *Strings) Retain(ref uint32) uint32 {
	if ref != 0 {
		t.retain(ref - chunkHead)
	}
	return ref
}

// Release counts one owner less. The bytes stay as they are until the batch is flushed. 0 is ignored.
func (t *Strings) Release(ref uint32) {
	if ref == 0 {
		return
	}
	c := ref - chunkHead
	n := le.Uint32(t.b[c:]) - 1
	if n&^inFifo == 0 {
		t.zombieB += t.size(c)
		if n&inFifo == 0 {
			n |= inFifo
			t.zombies.push(c)
		}
	}
	le.PutUint32(t.b[c:], n)
}

// Get returns the bytes of ref as a view, valid until the owner's Release and the flush after it; nil for 0.
func (t *Strings) Get(ref uint32) []byte {
	if ref == 0 {
		return nil
	}
	n := le.Uint32(t.b[ref:])
	o := uint64(ref) + 8
	return t.b[o : o+uint64(n) : o+uint64(n)]
}

// flushed reclaims the oldest strings without owners until at most zombieMax bytes of them are left; all of them when
// the segment was full.
func (t *Strings) flushed() {
	limit := t.zombieMax
	if t.short {
		limit, t.short = 0, false
	}
	for t.zombieB > limit {
		c, ok := t.zombies.pop()
		if !ok {
			return
		}
		n := le.Uint32(t.b[c:]) &^ inFifo
		le.PutUint32(t.b[c:], n)
		if n == 0 {
			t.reclaim(c)
		}
	}
}

func (t *Strings) reclaim(c uint32) {
	p := t.buckets[le.Uint32(t.b[c+chunkHead+4:])&t.mask]
	next := le.Uint32(t.b[c+4:])
	if p == c {
		t.buckets[le.Uint32(t.b[c+chunkHead+4:])&t.mask] = next
	} else {
		for le.Uint32(t.b[p+4:]) != c {
			p = le.Uint32(t.b[p+4:])
		}
		le.PutUint32(t.b[p+4:], next)
	}
	size := t.size(c)
	t.zombieB -= size
	t.used -= size
	t.count--
	t.giveBack(c)
}

// Owners returns how many owners ref has.
func (t *Strings) Owners(ref uint32) uint32 { return le.Uint32(t.b[ref-chunkHead:]) &^ inFifo }

// Used returns the bytes in use, those of strings kept for a while included.
func (t *Strings) Used() int { return t.used }

// Limit returns the segment's size in bytes.
func (t *Strings) Limit() int { return len(t.b) }

// Count returns the distinct strings held.
func (t *Strings) Count() int { return t.count }

// Unowned returns the bytes of strings that nothing refers to and that a flush may reclaim.
func (t *Strings) Unowned() int { return t.zombieB }

// Full returns how many strings found no room.
func (t *Strings) Full() uint64 { return t.full }

// Cut returns how many strings were cut to MaxString.
func (t *Strings) Cut() uint64 { return t.cut }

// fifo is a queue in a ring that grows; its length is bounded by the chunks of the segment.
type fifo struct {
	b       []uint32
	head, n int
}

func (f *fifo) push(v uint32) {
	if f.n == len(f.b) {
		nb := make([]uint32, max(64, 2*len(f.b)))
		for i := range f.n {
			nb[i] = f.b[(f.head+i)&(len(f.b)-1)]
		}
		f.b, f.head = nb, 0
	}
	f.b[(f.head+f.n)&(len(f.b)-1)] = v
	f.n++
}

func (f *fifo) pop() (uint32, bool) {
	if f.n == 0 {
		return 0, false
	}
	v := f.b[f.head]
	f.head = (f.head + 1) & (len(f.b) - 1)
	f.n--
	return v, true
}
