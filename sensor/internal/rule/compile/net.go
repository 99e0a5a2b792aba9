package compile

import (
	"encoding/binary"

	"github.com/shikra-sensor/shikra/sensor/internal/rule/check"
	"github.com/shikra-sensor/shikra/sensor/internal/wasm"
)

// nets branches to yes when v is an address in one of the networks.
func (e *emitter) nets(v *value, nets []check.Const, yes wasm.Label) {
	f := e.f
	for _, c := range nets {
		n := len(c.Bytes)
		f.Get(v.n)
		f.I32Const(int32(n))
		f.Op(wasm.I32Eq)
		for o := 0; o < n; o += 8 {
			bits := min(max(c.Bits-8*o, 0), 8*min(n, 8))
			if bits == 0 {
				break
			}
			m := netMask(bits)
			if o == 0 {
				f.Get(v.word)
			} else {
				f.Get(v.ptr())
				f.Mem(wasm.I64Load, uint32(o))
			}
			f.I64Const(m)
			f.Op(wasm.I64And)
			f.I64Const(word(c.Bytes[o:]) & m)
			f.Op(wasm.I64Eq, wasm.I32And)
		}
		f.BrIf(yes)
	}
}

// netMask returns the mask of the first bits of an address, in network order, for a word loaded little endian.
func netMask(bits int) int64 {
	var b [8]byte
	for i := range b {
		switch left := bits - 8*i; {
		case left >= 8:
			b[i] = 0xff
		case left > 0:
			b[i] = byte(0xff << (8 - left))
		}
	}
	return int64(binary.LittleEndian.Uint64(b[:]))
}
