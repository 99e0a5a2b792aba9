package capture

import (
	"io"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

// nextEvent reads an event block, whose header has been looked at but not passed.
func (r *Reader) nextEvent() (Block, error) {
	large := r.typ == blockEventLarge || r.typ == blockEventFLarge
	if limit := uint32(MaxEvent); r.total > limit && !large || r.total > MaxLargeEvent {
		return nil, ErrTooLong
	}
	n := int(r.total)
	b, err := r.in.Peek(min(n, MaxEvent))
	switch {
	case len(b) < n && n <= MaxEvent:
		r.discard(len(b))
		return nil, short(err)
	case n > MaxEvent:
		// Read by steps, so that a length without the bytes costs no memory.
		r.large = r.large[:0]
		for len(r.large) < n {
			at := len(r.large)
			step := min(n-at, MaxEvent)
			r.large = append(r.large, make([]byte, step)...)
			m, err := io.ReadFull(r.in, r.large[at:])
			r.off += int64(m)
			if err != nil {
				return nil, short(err)
			}
		}
		b = r.large
	default:
		r.pend = n
	}
	if le.Uint32(b[n-trailerSize:]) != r.total {
		r.pend = 0
		return nil, ErrBlockLen
	}
	if err := r.event.parse(b[headerSize:n-trailerSize], r.typ); err != nil {
		r.pend = 0
		return nil, err
	}
	return &r.event, nil
}

// parse reads the body of an event block: u16 cpu, u32 flags (in some), u64 ts, i64 tid, u32 length, u16 type, u32
// number of parameters (since version 2), the parameters' lengths of 16 or 32 bits, the parameters. The length counts
// from ts.
func (e *Event) parse(b []byte, block uint32) error {
	flags, v2, large := false, false, false
	switch block {
	case blockEventF:
		flags = true
	case blockEventV2:
		v2 = true
	case blockEventFV2:
		flags, v2 = true, true
	case blockEventLarge:
		v2, large = true, true
	case blockEventFLarge:
		flags, v2, large = true, true, true
	}
	e.n, e.Flags = 0, 0
	head := 24
	if flags {
		head += 4
	}
	if v2 {
		head += 4
	}
	if len(b) < head {
		return ErrParams
	}
	e.CPU = le.Uint16(b)
	b = b[2:]
	if flags {
		e.Flags = le.Uint32(b)
		b = b[4:]
	}
	e.TS, e.TID = le.Uint64(b), int64(le.Uint64(b[8:]))
	length := uint64(le.Uint32(b[16:]))
	e.Type = event.Type(le.Uint16(b[20:]))
	if !e.Type.Known() {
		return nil // of a newer table: what its parameters are can't be known
	}
	if e.Type.Info().Flags&event.FlagLarge != 0 {
		large = true
	}
	if !v2 {
		return e.params1(b[22:], length, large)
	}
	if length < 26 || length > uint64(len(b)) {
		return ErrParams
	}
	return e.params2(b[26:length], le.Uint32(b[22:]), large)
}

// params2 splits b, the lengths and values of n parameters. What is beyond MaxParams is checked and left out.
func (e *Event) params2(b []byte, n uint32, large bool) error {
	size := uint64(2)
	if large {
		size = 4
	}
	at := uint64(n) * size
	if at > uint64(len(b)) {
		return ErrParams
	}
	for i := range uint64(n) {
		var l uint64
		if large {
			l = uint64(le.Uint32(b[4*i:]))
		} else {
			l = uint64(le.Uint16(b[2*i:]))
		}
		if l > uint64(len(b))-at {
			return ErrParams
		}
		if i < MaxParams {
			e.params[i] = b[at : at+l : at+l]
			e.n++
		}
		at += l
	}
	return nil
}

// params1 splits the parameters of a version 1 event, which doesn't say how many it has: it has as many as make the
// lengths and the values fill it. That number is unique, for what n parameters take grows with n.
func (e *Event) params1(b []byte, length uint64, large bool) error {
	if e.Type == event.NotificationE || e.Type == event.InfrastructureEventE {
		// Writers counted three bytes too many for these two.
		if length < 25 {
			return ErrParams
		}
		length -= 3
	}
	if length < 22 || length-22 > uint64(len(b)) {
		return ErrParams
	}
	b = b[:length-22]
	size := 2
	if large {
		size = 4
	}
	sum := 0
	for n := 0; ; n++ {
		switch used := n*size + sum; {
		case used == len(b):
			return e.params2(b, uint32(n), large)
		case used > len(b) || (n+1)*size > len(b) || n >= len(e.Type.Info().Params):
			return ErrParams
		}
		if large {
			sum += int(min(le.Uint32(b[4*n:]), MaxLargeEvent))
		} else {
			sum += int(le.Uint16(b[2*n:]))
		}
	}
}
