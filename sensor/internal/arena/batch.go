package arena

import (
	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// Batch is the queue of events that the modules judge together, in the batch segment: index, columns, payload.
type Batch struct {
	b     []byte
	n     int
	end   int // first unused payload byte
	limit int // most events; wasmabi.BatchMax unless a test sets it lower
}

func newBatch(b []byte) *Batch {
	t := &Batch{b: b, limit: wasmabi.BatchMax}
	t.reset()
	return t
}

// SetLimit sets the most events in a batch, 1 to wasmabi.BatchMax.
func (t *Batch) SetLimit(n int) { t.limit = min(max(n, 1), wasmabi.BatchMax) }

// SetWallOffset sets what is to be added to an event's time to have wall time, in ns.
func (t *Batch) SetWallOffset(ns int64) { le.PutUint64(t.b[wasmabi.BatchWallOffset:], uint64(ns)) }

// WallOffset returns what SetWallOffset set.
func (t *Batch) WallOffset() int64 { return int64(le.Uint64(t.b[wasmabi.BatchWallOffset:])) }

// Append copies r, which has passed Check, to the end of the batch. False when there is no room: flush, and call it again;
// a record always fits in an empty batch.
func (t *Batch) Append(r event.Record, num uint64) (event.Event, bool) {
	body := r[event.RecordHeader:]
	n := wasmabi.EventSize + len(body)
	if t.n >= t.limit || t.end+n > len(t.b) {
		return nil, false
	}
	e := t.b[t.end : t.end+n : t.end+n]
	le.PutUint64(e[wasmabi.EventTs:], r.TS())
	le.PutUint64(e[wasmabi.EventNum:], num)
	le.PutUint64(e[wasmabi.EventTid:], uint64(r.TID()))
	copy(e[wasmabi.EventType:wasmabi.EventType+4], r[12:16])    // type, nparams
	copy(e[wasmabi.EventCpu:wasmabi.EventCpu+4], r[24:28])      // cpu, origin
	le.PutUint32(e[wasmabi.EventLen:], uint32(n))               //
	clear(e[wasmabi.EventThread:wasmabi.EventFd])               // thread, file, bits, res
	le.PutUint32(e[wasmabi.EventFd:], 0xFFFFFFFF)               // none
	le.PutUint32(e[wasmabi.EventSource:], 0)                    // syscall
	copy(e[wasmabi.EventSize:], body)                           //
	le.PutUint32(t.b[wasmabi.BatchIndex+4*t.n:], uint32(t.end)) //
	t.n++                                                       //
	le.PutUint32(t.b[wasmabi.BatchCount:], uint32(t.n))         //
	t.setEnd(t.end + n)
	return e, true
}

func (t *Batch) setEnd(n int) {
	t.end = (n + 7) &^ 7
	le.PutUint32(t.b[wasmabi.BatchPayloadEnd:], uint32(t.end))
}

// Len returns the number of events in the batch.
func (t *Batch) Len() int { return t.n }

// Event returns event i, a view valid until the flush.
func (t *Batch) Event(i int) event.Event {
	o := le.Uint32(t.b[wasmabi.BatchIndex+4*i:])
	n := le.Uint32(t.b[o+wasmabi.EventLen:])
	return event.Event(t.b[o : o+n : o+n])
}

// Column returns the offset of column c in the batch segment, as a directory states it.
func Column(c int) uint32 {
	return uint32(wasmabi.ColumnsOffset + c*wasmabi.BatchMax*wasmabi.CellSize)
}

func (t *Batch) cell(c, i int) []byte {
	o := int(Column(c)) + i*wasmabi.CellSize
	return t.b[o : o+wasmabi.CellSize]
}

// SetMissing says that field c has no value for event i.
func (t *Batch) SetMissing(c, i int) {
	le.PutUint32(t.cell(c, i)[wasmabi.CellKind:], wasmabi.CellMissing)
}

// SetInt sets field c of event i to an integer.
func (t *Batch) SetInt(c, i int, v uint64) {
	e := t.cell(c, i)
	le.PutUint32(e[wasmabi.CellKind:], wasmabi.CellInt)
	le.PutUint32(e[wasmabi.CellLen:], 8)
	le.PutUint64(e[wasmabi.CellVal:], v)
}

// SetBytes sets field c of event i to a copy of v. False when the payload has no room: then the cell is missing, and
// the batch should be flushed before the event is queued.
func (t *Batch) SetBytes(c, i int, v []byte) bool {
	e := t.cell(c, i)
	if t.end+len(v) > len(t.b) {
		le.PutUint32(e[wasmabi.CellKind:], wasmabi.CellMissing)
		return false
	}
	le.PutUint32(e[wasmabi.CellKind:], wasmabi.CellBytes)
	le.PutUint32(e[wasmabi.CellLen:], uint32(len(v)))
	le.PutUint64(e[wasmabi.CellVal:], uint64(t.end))
	copy(t.b[t.end:], v)
	t.setEnd(t.end + len(v))
	return true
}

// Full reports whether the batch has its most events.
func (t *Batch) Full() bool { return t.n >= t.limit }

// Room returns the payload bytes left.
func (t *Batch) Room() int { return len(t.b) - t.end }

func (t *Batch) reset() {
	t.n = 0
	le.PutUint32(t.b[wasmabi.BatchCount:], 0)
	le.PutUint64(t.b[wasmabi.BatchSeq:], le.Uint64(t.b[wasmabi.BatchSeq:])+1)
	t.setEnd(wasmabi.PayloadOffset)
}
