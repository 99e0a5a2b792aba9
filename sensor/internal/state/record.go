package state

import (
	"bytes"
	"encoding/binary"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

var le = binary.LittleEndian

// Fields of the arena's records, by their offsets in wasmabi.

func get16(b []byte, off int) uint16    { return le.Uint16(b[off:]) }
func get32(b []byte, off int) uint32    { return le.Uint32(b[off:]) }
func get64(b []byte, off int) uint64    { return le.Uint64(b[off:]) }
func geti64(b []byte, off int) int64    { return int64(le.Uint64(b[off:])) }
func put16(b []byte, off int, v uint16) { le.PutUint16(b[off:], v) }
func put32(b []byte, off int, v uint32) { le.PutUint32(b[off:], v) }
func put64(b []byte, off int, v uint64) { le.PutUint64(b[off:], v) }
func puti64(b []byte, off int, v int64) { le.PutUint64(b[off:], uint64(v)) }

// Parameters of a record that has passed Check. Those of a fixed size may still be empty, which reads as missing.

func param64(r event.Record, i int) (int64, bool) {
	b, ok := r.Param(i)
	if !ok || len(b) != 8 {
		return 0, false
	}
	return int64(le.Uint64(b)), true
}

func param32(r event.Record, i int) (uint32, bool) {
	b, ok := r.Param(i)
	if !ok || len(b) != 4 {
		return 0, false
	}
	return le.Uint32(b), true
}

// paramFlags reads an unsigned parameter of 1, 2 or 4 bytes, 0 when it is missing.
func paramFlags(r event.Record, i int) uint32 {
	b, _ := r.Param(i)
	switch len(b) {
	case 4:
		return le.Uint32(b)
	case 2:
		return uint32(le.Uint16(b))
	case 1:
		return uint32(b[0])
	}
	return 0
}

// paramStr reads a charbuf or path up to its NUL. "<NA>" is how the format writes one that couldn't be read: missing.
func paramStr(r event.Record, i int) ([]byte, bool) {
	b, ok := r.Param(i)
	if !ok || len(b) == 0 {
		return nil, false
	}
	b = cstr(b)
	if len(b) == 4 && string(b) == "<NA>" {
		return nil, false
	}
	return b, true
}

// cstr cuts b before its first NUL.
func cstr(b []byte) []byte {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		return b[:i]
	}
	return b
}

// paramBuf reads a byte buffer.
func paramBuf(r event.Record, i int) ([]byte, bool) { return r.Param(i) }

// paramFD reads an fd; false when it is missing or no fd number.
func paramFD(r event.Record, i int) (int32, bool) {
	v, ok := param64(r, i)
	if !ok || v < 0 || v > maxFD {
		return -1, false
	}
	return int32(v), true
}

// maxFD is the largest fd number: the kernel's ceiling of nr_open is far under it.
const maxFD = 1<<30 - 1
