package replay

import (
	"github.com/shikra-sensor/shikra/sensor/internal/capture"
	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

// Limits of what waits for its exit.
const (
	enterSets  = 4096     // power of two
	enterWays  = 4        // enters in one set
	enterBytes = 16 << 20 // of all parameters together
	enterKeep  = 512      // a larger buffer is given back when its enter is done
	enterVals  = 8        // most parameters of an enter; mmap has six
)

// enters holds the last enter event of each thread until its exit comes. It is a table of sets, a thread's set given by
// its id, with a fixed number of places in each: what is given up when one is full depends on the capture alone, and
// thread ids, which follow each other, spread evenly.
type enters struct {
	sets    [enterSets * enterWays]enter
	bytes   int    // capacity of all buffers
	seq     uint64 // of the last enter
	evicted uint64
}

// enter is one enter event; its zero value is a free place.
type enter struct {
	tid int64
	seq uint64 // 0 for free
	typ event.Type
	n   uint8
	end [enterVals]int32 // where each parameter ends in buf
	buf []byte
}

func (p *enters) set(tid int64) []enter {
	i := int(uint64(tid)%enterSets) * enterWays
	return p.sets[i : i+enterWays]
}

// put holds e, an enter event, and forgets the thread's former one.
func (p *enters) put(e *capture.Event) {
	set := p.set(e.TID)
	at := 0
	for i := range set {
		if set[i].seq != 0 && set[i].tid == e.TID {
			at = i
			break
		}
		if set[i].seq < set[at].seq {
			at = i
		}
	}
	s := &set[at]
	if s.seq != 0 && s.tid != e.TID {
		p.evicted++
	}
	p.seq++
	s.tid, s.seq, s.typ, s.n = e.TID, p.seq, e.Type, 0
	was := cap(s.buf)
	s.buf = s.buf[:0]
	for i := range min(e.NumParams(), enterVals) {
		v := e.Param(i)
		if grow := len(s.buf) + len(v) - cap(s.buf); grow > 0 && p.bytes+grow > enterBytes {
			p.evicted++
			s.seq = 0
			break
		}
		s.buf = append(s.buf, v...)
		s.end[i] = int32(len(s.buf))
		s.n++
	}
	p.bytes += cap(s.buf) - was
	if s.seq == 0 {
		p.free(s)
	}
}

// get returns the enter event of type t that tid is in, nil for none. The result is valid until the next put or done.
func (p *enters) get(tid int64, t event.Type) *enter {
	set := p.set(tid)
	for i := range set {
		if s := &set[i]; s.seq != 0 && s.tid == tid {
			if s.typ == t {
				return s
			}
			return nil
		}
	}
	return nil
}

// done forgets the enter event that tid is in.
func (p *enters) done(tid int64) {
	set := p.set(tid)
	for i := range set {
		if s := &set[i]; s.seq != 0 && s.tid == tid {
			p.free(s)
		}
	}
}

func (p *enters) free(s *enter) {
	s.seq = 0
	if cap(s.buf) > enterKeep {
		p.bytes -= cap(s.buf)
		s.buf = nil
	}
}

// param returns parameter i, nil when there is none.
func (s *enter) param(i int) []byte {
	if s == nil || i >= int(s.n) {
		return nil
	}
	from := int32(0)
	if i > 0 {
		from = s.end[i-1]
	}
	return s.buf[from:s.end[i]]
}
