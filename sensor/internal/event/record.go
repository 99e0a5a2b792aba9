package event

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/shikra-sensor/shikra/wasmabi"
)

// Record is one event as a source hands it over: what the probe writes into its ring buffer, and what replay makes of
// a capture's block. Little endian, RecordHeader bytes and then the body:
//
//	 0 u64 ts       ns: boot time from the probe, wall time from a capture
//	 8 u32 len      bytes of the record, the header included
//	12 u16 type     event type
//	14 u16 nparams  entries of the directory
//	16 i64 tid
//	24 u16 cpu
//	26 u16 origin   wasmabi.Origin* bits
//	28 u32 nr       the system call's native number, 0xFFFFFFFF for none
//	32 body: nparams × (u16 offset, u16 length), then the values; offsets count from the body's start, and 0 means
//	   that the parameter is missing. The values may stand in any order and needn't be aligned.
//
// bpf/include/record.h states the same for the probe. A Record is not trusted: Check it first.
type Record []byte

// Sizes of a Record in bytes.
const (
	RecordHeader = 32
	MaxRecord    = RecordHeader + 65535 // the body's offsets have 16 bits
	NoNR         = 0xFFFFFFFF
)

// The errors of Record.Check, each wrapped with the place.
var (
	ErrShortRecord = errors.New("record is shorter than its header")
	ErrRecordLen   = errors.New("record length doesn't fit")
	ErrRecordType  = errors.New("unknown event type")
	ErrRecordParam = errors.New("parameter lies outside the record")
)

var le = binary.LittleEndian

// Check reports whether r can be read: its lengths hold, its type is known, every parameter lies inside it and has
// the size that its type demands. It allocates only for an error.
func (r Record) Check() error {
	if len(r) < RecordHeader {
		return fmt.Errorf("%w: %d bytes", ErrShortRecord, len(r))
	}
	if n := r.Len(); int(n) != len(r) || n > MaxRecord {
		return fmt.Errorf("%w: it says %d and has %d bytes", ErrRecordLen, n, len(r))
	}
	t := r.Type()
	if !t.Known() {
		return fmt.Errorf("%w %d", ErrRecordType, t)
	}
	n, body, sizes := r.NumParams(), r[RecordHeader:], &paramSizes[t]
	if n > int(sizes.n) || 4*n > len(body) {
		return fmt.Errorf("%w: %s has %d of %d", ErrRecordParam, t, n, sizes.n)
	}
	for i := range n {
		off, l := place(body, i)
		if off == 0 {
			continue
		}
		if off < 4*n || off+l > len(body) {
			return fmt.Errorf("%w: %s.%s at %d+%d of %d", ErrRecordParam, t, t.Info().Params[i].Name, off, l, len(body))
		}
		if s := int(sizes.of[i]); s != l && s != 0 && l != 0 {
			return fmt.Errorf("%w: %s.%s has %d bytes, not %d", ErrRecordParam, t, t.Info().Params[i].Name, l, s)
		}
	}
	return nil
}

// place returns where the value of parameter i is, and its length.
func place(body []byte, i int) (off, l int) {
	v := le.Uint32(body[4*i:])
	return int(v & 0xFFFF), int(v >> 16)
}

// paramSizes has the sizes of each type's parameters close together.
var paramSizes = func() (t [NumTypes]typeSizes) {
	for _, et := range Types() {
		params := et.Info().Params
		t[et].n = uint8(len(params))
		for i, p := range params {
			t[et].of[i] = paramSize[p.Type]
		}
	}
	return t
}()

type typeSizes struct {
	n  uint8
	of [maxParams]uint8
}

// maxParams is the most parameters that a type has.
const maxParams = 47

// TS returns the time in ns.
func (r Record) TS() uint64 { return le.Uint64(r[0:]) }

// Len returns the length in bytes that the header states.
func (r Record) Len() uint32 { return le.Uint32(r[8:]) }

// Type returns the event type.
func (r Record) Type() Type { return Type(le.Uint16(r[12:])) }

// NumParams returns the number of parameters.
func (r Record) NumParams() int { return int(le.Uint16(r[14:])) }

// TID returns the thread id.
func (r Record) TID() int64 { return int64(le.Uint64(r[16:])) }

// CPU returns the CPU it happened on.
func (r Record) CPU() uint16 { return le.Uint16(r[24:]) }

// Origin returns the wasmabi.Origin* bits.
func (r Record) Origin() uint16 { return le.Uint16(r[26:]) }

// NR returns the native system call number, NoNR for none.
func (r Record) NR() uint32 { return le.Uint32(r[28:]) }

// Param returns parameter i as a view into r and whether it is there.
func (r Record) Param(i int) ([]byte, bool) { return param(r[RecordHeader:], r.NumParams(), i) }

func param(body []byte, n, i int) ([]byte, bool) {
	if uint(i) >= uint(n) {
		return nil, false
	}
	off, l := place(body, i)
	if off == 0 {
		return nil, false
	}
	return body[off : off+l], true
}

// paramSize holds the bytes a value of each type has; 0 for types of any length.
var paramSize = [NumParamTypes]uint8{
	ParamInt8: 1, ParamInt16: 2, ParamInt32: 4, ParamInt64: 8, ParamUint8: 1, ParamUint16: 2, ParamUint32: 4, ParamUint64: 8,
	ParamErrno: 8, ParamFd: 8, ParamPid: 8, ParamSyscallid: 2, ParamSigtype: 1, ParamReltime: 8, ParamAbstime: 8,
	ParamPort: 2, ParamL4proto: 1, ParamSockfamily: 1, ParamBool: 4, ParamIpv4addr: 4, ParamFlags8: 1, ParamFlags16: 2,
	ParamFlags32: 4, ParamUid: 4, ParamGid: 4, ParamDouble: 8, ParamSigset: 4, ParamMode: 4, ParamEnumflags8: 1,
	ParamEnumflags16: 2, ParamEnumflags32: 4, ParamFd32: 4, ParamPid32: 4, ParamIpv6addr: 16,
}

// Size returns the bytes of a value of type p, 0 when it has no fixed size.
func (p ParamType) Size() int {
	if int(p) >= NumParamTypes {
		return 0
	}
	return int(paramSize[p])
}

// Signed reports whether an integer of type p is signed.
func (p ParamType) Signed() bool {
	switch p {
	case ParamInt8, ParamInt16, ParamInt32, ParamInt64, ParamErrno, ParamFd, ParamPid, ParamFd32, ParamPid32:
		return true
	}
	return false
}

// Int reads b, a value of type p, as an integer; unsigned types come back as their bit pattern. False when p isn't an
// integer of len(b) bytes.
func (p ParamType) Int(b []byte) (int64, bool) {
	if len(b) != p.Size() {
		return 0, false
	}
	switch len(b) {
	case 1:
		if p.Signed() {
			return int64(int8(b[0])), true
		}
		return int64(b[0]), true
	case 2:
		if p.Signed() {
			return int64(int16(le.Uint16(b))), true
		}
		return int64(le.Uint16(b)), true
	case 4:
		if p.Signed() {
			return int64(int32(le.Uint32(b))), true
		}
		return int64(le.Uint32(b)), true
	case 8:
		return int64(le.Uint64(b)), true
	}
	return 0, false
}

// Builder writes one Record. The zero value is ready; Start begins a record and reuses the buffer. Not safe for
// concurrent use.
type Builder struct {
	buf []byte
	in  *Info
	i   int // next parameter
}

// Start begins a record of type t. Parameters follow in the table's order.
func (b *Builder) Start(ts uint64, tid int64, t Type) *Builder {
	b.in, b.i = t.Info(), 0
	n := len(b.in.Params)
	b.buf = slices.Grow(b.buf[:0], RecordHeader+4*n)[:RecordHeader+4*n]
	clear(b.buf)
	le.PutUint64(b.buf[0:], ts)
	le.PutUint16(b.buf[12:], uint16(t))
	le.PutUint16(b.buf[14:], uint16(n))
	le.PutUint64(b.buf[16:], uint64(tid))
	le.PutUint32(b.buf[28:], NoNR)
	return b
}

// SetCPU sets the CPU.
func (b *Builder) SetCPU(cpu uint16) *Builder { le.PutUint16(b.buf[24:], cpu); return b }

// SetNR sets the native system call number.
func (b *Builder) SetNR(nr uint32) *Builder { le.PutUint32(b.buf[28:], nr); return b }

// SetOrigin adds wasmabi.Origin* bits.
func (b *Builder) SetOrigin(bits uint16) *Builder {
	le.PutUint16(b.buf[26:], le.Uint16(b.buf[26:])|bits)
	return b
}

// Bytes appends the next parameter from v, which is copied. What doesn't fit in the record is cut and the record
// marked with wasmabi.OriginCut. Calls past the last parameter are ignored.
func (b *Builder) Bytes(v []byte) *Builder {
	if b.i >= len(b.in.Params) {
		return b
	}
	off := len(b.buf) - RecordHeader
	if room := 65535 - off; len(v) > room {
		v = v[:max(room, 0)]
		b.SetOrigin(wasmabi.OriginCut)
	}
	b.buf = append(b.buf, v...)
	le.PutUint16(b.buf[RecordHeader+4*b.i:], uint16(off))
	le.PutUint16(b.buf[RecordHeader+4*b.i+2:], uint16(len(v)))
	b.i++
	return b
}

// Missing leaves the next parameter out.
func (b *Builder) Missing() *Builder {
	if b.i < len(b.in.Params) {
		b.i++
	}
	return b
}

// Int appends the next parameter as an integer in the size of its type.
func (b *Builder) Int(v int64) *Builder {
	if b.i >= len(b.in.Params) {
		return b
	}
	var t [8]byte
	le.PutUint64(t[:], uint64(v))
	n := b.in.Params[b.i].Type.Size()
	if n == 0 || n > 8 {
		n = 8
	}
	return b.Bytes(t[:n])
}

// String appends the next parameter as a charbuf: the bytes of s and NUL.
func (b *Builder) String(s string) *Builder {
	if b.i >= len(b.in.Params) {
		return b
	}
	n := b.i
	b.Bytes(append([]byte(s), 0))
	if l := le.Uint16(b.buf[RecordHeader+4*n+2:]); int(l) < len(s)+1 && l > 0 {
		b.buf[len(b.buf)-1] = 0
	}
	return b
}

// Done returns the record; it is valid until the next Start. Parameters not given are missing.
func (b *Builder) Done() Record {
	le.PutUint32(b.buf[8:], uint32(len(b.buf)))
	return b.buf
}

// Event is one event in the arena's batch: a view of wasmabi's "event" record and its body. The bytes belong to the
// batch and are valid until it is flushed.
type Event []byte

// TS returns the time in ns: boot time live, wall time in a replay.
func (e Event) TS() uint64 { return le.Uint64(e[wasmabi.EventTs:]) }

// Num returns the event's number (evt.num).
func (e Event) Num() uint64 { return le.Uint64(e[wasmabi.EventNum:]) }

// TID returns the id of the thread it happened in.
func (e Event) TID() int64 { return int64(le.Uint64(e[wasmabi.EventTid:])) }

// Type returns the event type.
func (e Event) Type() Type { return Type(le.Uint16(e[wasmabi.EventType:])) }

// NumParams returns the number of parameters.
func (e Event) NumParams() int { return int(le.Uint16(e[wasmabi.EventNparams:])) }

// CPU returns the CPU it happened on.
func (e Event) CPU() uint16 { return le.Uint16(e[wasmabi.EventCpu:]) }

// Origin returns the wasmabi.Origin* bits.
func (e Event) Origin() uint16 { return le.Uint16(e[wasmabi.EventOrigin:]) }

// Thread returns the slot of the thread's record, 0 for none.
func (e Event) Thread() uint32 { return le.Uint32(e[wasmabi.EventThread:]) }

// SetThread sets the slot of the thread's record.
func (e Event) SetThread(slot uint32) { le.PutUint32(e[wasmabi.EventThread:], slot) }

// File returns the slot of the file it acts on, 0 for none.
func (e Event) File() uint32 { return le.Uint32(e[wasmabi.EventFile:]) }

// SetFile sets the slot of the file it acts on.
func (e Event) SetFile(slot uint32) { le.PutUint32(e[wasmabi.EventFile:], slot) }

// Bits returns the wasmabi.Bit* bits.
func (e Event) Bits() uint32 { return le.Uint32(e[wasmabi.EventBits:]) }

// SetBits adds wasmabi.Bit* bits.
func (e Event) SetBits(bits uint32) { le.PutUint32(e[wasmabi.EventBits:], e.Bits()|bits) }

// Res returns the result (evt.rawres) and whether the event has one.
func (e Event) Res() (int64, bool) {
	return int64(le.Uint64(e[wasmabi.EventRes:])), e.Bits()&wasmabi.BitResult != 0
}

// SetRes sets the result and the bits that follow from it.
func (e Event) SetRes(v int64) {
	le.PutUint64(e[wasmabi.EventRes:], uint64(v))
	bits := uint32(wasmabi.BitResult)
	if v < 0 {
		bits |= wasmabi.BitFailed
	}
	e.SetBits(bits)
}

// FD returns the fd number it acts on, -1 for none.
func (e Event) FD() int32 { return int32(le.Uint32(e[wasmabi.EventFd:])) }

// SetFD sets the fd number it acts on.
func (e Event) SetFD(fd int32) { le.PutUint32(e[wasmabi.EventFd:], uint32(fd)) }

// Param returns parameter i as a view into e and whether it is there.
func (e Event) Param(i int) ([]byte, bool) { return param(e[wasmabi.EventSize:], e.NumParams(), i) }

// Int returns parameter i as an integer; false when it is missing or isn't one.
func (e Event) Int(i int) (int64, bool) {
	b, ok := e.Param(i)
	if !ok {
		return 0, false
	}
	return e.Type().Info().Params[i].Type.Int(b)
}

// Str returns parameter i, a charbuf or a path, up to its first NUL, as a view into e.
func (e Event) Str(i int) ([]byte, bool) {
	b, ok := e.Param(i)
	if !ok {
		return nil, false
	}
	for j, c := range b {
		if c == 0 {
			return b[:j], true
		}
	}
	return b, true
}
