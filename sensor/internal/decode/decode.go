// Package decode checks one record and reads from its parameters what every event has: result, fd, how a file was opened.
package decode

import (
	"encoding/binary"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/wasmabi"
)

var le = binary.LittleEndian

// Meta is what follows from a record's parameters alone.
type Meta struct {
	Res    int64  // the result (evt.rawres), when HasRes
	Bits   uint32 // wasmabi.Bit*: open bits, failed, result
	FD     int32  // the fd it uses or made, -1 for none
	HasRes bool
}

// The event format's open flags and mode bits that the open bits follow from (driver/ppm_events_public.h).
const (
	oRDONLY  = 1 << 0
	oWRONLY  = 1 << 1
	oCREAT   = 1 << 2
	oTRUNC   = 1 << 8
	oTMPFILE = 1 << 13
	oCREATED = 1 << 14
	anyExec  = 0o111
)

// none marks a parameter that a type doesn't have.
const none = 0xFF

// layout says where one event type has what Meta holds. Parameters are indices.
type layout struct {
	res   uint8 // the result, an 8-byte signed integer
	fd    uint8 // the fd it uses
	flags uint8 // open flags
	mode  uint8 // mode of a file to be created
	made  bool  // a result that isn't negative is the fd it made
}

var layouts = makeLayouts()

// makeLayouts derives the table from event.Info. What can't be derived is the format's own irregularity and is listed.
func makeLayouts() (t [event.NumTypes]layout) {
	for i := range t {
		t[i] = layout{none, none, none, none, false}
	}
	for _, et := range event.Types() {
		in := et.Info()
		if in.Origin != event.OriginSyscall && et < event.OwnType || et&1 == 0 || len(in.Params) == 0 {
			continue
		}
		l := &t[et]
		if p := in.Params[0]; (p.Name == "res" || p.Name == "fd") && p.Type.Size() == 8 && p.Type.Signed() {
			l.res = 0
			l.made = in.Flags&event.FlagCreatesFd != 0 && p.Type == event.ParamFd
		}
		if in.Flags&event.FlagUsesFd == 0 {
			continue
		}
		for j := 1; j < len(in.Params); j++ {
			if in.Params[j].Type == event.ParamFd {
				l.fd = uint8(j)
				break
			}
		}
	}
	for _, et := range [...]event.Type{
		event.SyscallEpollCreateX, event.SyscallEpollCreate1X, event.SyscallUserfaultfdX, event.SyscallIoUringSetupX,
	} {
		t[et].made = true // their fd is an errno in the table
	}
	t[event.GenericX].res = uint8(event.GenericX.Info().ParamIndex("res"))
	t[event.SyscallBpfV2X].made = false // only some commands make one: package state knows
	t[event.SyscallSpliceX].fd = 2      // the fd written to, not the first one

	t[event.SyscallOpenX].flags, t[event.SyscallOpenX].mode = 2, 3
	t[event.SyscallOpenatV2X].flags, t[event.SyscallOpenatV2X].mode = 3, 4
	t[event.SyscallOpenat2X].flags, t[event.SyscallOpenat2X].mode = 3, 4
	t[event.SyscallOpenByHandleAtX].flags = 2
	t[event.SyscallCreatX].mode = 2
	return t
}

// Decode checks r and reads its Meta. The error is that of event.Record.Check, and no error means that every parameter
// can be read. It allocates only for an error; any bytes may be given. Safe for concurrent use.
func Decode(r event.Record) (Meta, error) {
	m := Meta{FD: -1}
	if err := r.Check(); err != nil {
		return m, err
	}
	l := &layouts[r.Type()]
	if l.res != none {
		if b, ok := r.Param(int(l.res)); ok && len(b) == 8 {
			m.Res, m.HasRes = int64(le.Uint64(b)), true
			m.Bits = wasmabi.BitResult
			if m.Res < 0 {
				m.Bits |= wasmabi.BitFailed
			} else if l.made {
				m.FD = fdOf(m.Res)
			}
		} else if r.Origin()&wasmabi.OriginIoUring != 0 {
			// It hasn't failed, but what it gave isn't told: rules see a success, and state none that it could follow.
			m.Bits = wasmabi.BitResult
			if l.made {
				m.FD = NoNumber
			}
		}
	}
	if l.fd != none {
		if b, ok := r.Param(int(l.fd)); ok && len(b) == 8 {
			m.FD = fdOf(int64(le.Uint64(b)))
		}
	}
	if l.flags&l.mode != none {
		m.Bits |= l.openBits(r, &m)
	}
	return m, nil
}

// NoNumber is the fd of events whose file has none that is known: what an operation of io_uring opened as a registered file, or without
// telling which fd it became. No process has an fd of that number.
const NoNumber = 1 << 30

// fdOf returns fd as an event has it: what is no fd number (AT_FDCWD, garbage) is -1.
func fdOf(fd int64) int32 {
	if fd < 0 || fd >= NoNumber {
		return -1
	}
	return int32(fd)
}

// openBits returns the open bits: what was asked for, whether or not it was granted, but for "created". That of creat
// is its mode only, as in Falco's evt.is_open_* (libs 0.25).
func (l *layout) openBits(r event.Record, m *Meta) (bits uint32) {
	mode := uint32(0)
	if l.mode != none {
		if b, ok := r.Param(int(l.mode)); ok && len(b) == 4 {
			mode = le.Uint32(b)
		}
	}
	if l.flags == none {
		if mode&anyExec != 0 {
			bits |= wasmabi.BitOpenExec
		}
		return bits
	}
	b, ok := r.Param(int(l.flags))
	if !ok || len(b) != 4 {
		return 0
	}
	f := le.Uint32(b)
	if f&oRDONLY != 0 { // O_RDWR has both bits in the event format
		bits |= wasmabi.BitOpenRead
	}
	if f&oWRONLY != 0 {
		bits |= wasmabi.BitOpenWrite
	}
	if f&oTRUNC != 0 {
		bits |= wasmabi.BitOpenTruncate
	}
	if f&oCREATED != 0 || f&oTMPFILE != 0 && m.HasRes && m.Res >= 0 {
		bits |= wasmabi.BitOpenCreate
	}
	if f&(oCREAT|oTMPFILE) != 0 && mode&anyExec != 0 {
		bits |= wasmabi.BitOpenExec
	}
	return bits
}
