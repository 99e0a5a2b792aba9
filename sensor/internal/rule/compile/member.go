package compile

import (
	"encoding/binary"
	"math/bits"

	"github.com/shikra-sensor/shikra/sensor/internal/rule/check"
	"github.com/shikra-sensor/shikra/sensor/internal/wasm"
)

// hashFactor is odd and has no structure: 2^64 divided by the golden ratio.
const hashFactor = 0x9e3779b97f4a7c15

// hash is what memberBody computes.
func hash(s []byte) uint64 {
	h := uint64(len(s))
	for len(s) >= 8 {
		h = mix(h, binary.LittleEndian.Uint64(s))
		s = s[8:]
	}
	if len(s) > 0 {
		h = mix(h, uint64(word(s))<<(8*(8-len(s))))
	}
	return h
}

func mix(h, w uint64) uint64 {
	h = (h ^ w) * hashFactor
	return h ^ h>>32
}

// table puts a set of strings in the data and returns its address: u32 slots less one, then for each slot the address of
// a string, 0 for none; a string is u32 length and its bytes. A string stands in the first free slot from its hash on.
func (m *module) table(vals []check.Const) uint32 {
	slots := 1 << bits.Len(uint(2*len(vals)))
	out := make([]byte, 4+4*slots)
	binary.LittleEndian.PutUint32(out, uint32(slots-1))
	for _, v := range vals {
		s := binary.LittleEndian.AppendUint32(nil, uint32(len(v.Bytes)))
		at := m.constant(append(s, v.Bytes...))
		for i := int(hash(v.Bytes) & uint64(slots-1)); ; i = (i + 1) & (slots - 1) {
			if slot := out[4+4*i:]; binary.LittleEndian.Uint32(slot) == 0 {
				binary.LittleEndian.PutUint32(slot, at)
				break
			}
		}
	}
	return m.constant(out)
}

func (m *module) memberBody(f *wasm.Func) {
	p, n, t := f.Param(0, "p"), f.Param(1, "n"), f.Param(2, "table")
	q, left, i, s := f.Local(wasm.I32, "q"), f.Local(wasm.I32, "left"), f.Local(wasm.I32, "i"), f.Local(wasm.I32, "s")
	h := f.Local(wasm.I64, "hash")
	mixed := func(load func()) {
		f.Get(h)
		load()
		f.Op(wasm.I64Xor)
		f.I64Const(-0x61c8864680b583eb) // hashFactor
		f.Op(wasm.I64Mul)
		f.Tee(h)
		f.Get(h)
		f.I64Const(32)
		f.Op(wasm.I64ShrU, wasm.I64Xor)
		f.Set(h)
	}
	f.Get(n)
	f.I32Const(0)
	f.Op(wasm.I32LtS)
	f.If()
	ret(f, 0)
	f.End()
	f.Get(n)
	f.Tee(left)
	f.Op(wasm.I64ExtendI32U)
	f.Set(h)
	f.Get(p)
	f.Set(q)
	end := f.Block()
	next := f.Loop()
	f.Get(left)
	f.I32Const(8)
	f.Op(wasm.I32LtS)
	f.BrIf(end)
	mixed(func() { f.Get(q); f.Mem(wasm.I64Load, 0) })
	add(f, q, 8)
	add(f, left, -8)
	f.Br(next)
	f.End()
	f.End()
	f.Get(left)
	f.If()
	mixed(func() { f.Get(q); f.Mem(wasm.I64Load, 0); shiftFor(f, left); f.Op(wasm.I64Shl) })
	f.End()
	f.Get(h)
	f.Op(wasm.I32WrapI64)
	f.Set(i)
	probe := f.Loop()
	f.Get(t)
	f.Get(i)
	f.Get(t)
	f.Mem(wasm.I32Load, 0)
	f.Op(wasm.I32And)
	f.Tee(i)
	f.I32Const(2)
	f.Op(wasm.I32Shl, wasm.I32Add)
	f.Mem(wasm.I32Load, 4)
	f.Tee(s)
	f.Op(wasm.I32Eqz)
	f.If()
	ret(f, 0)
	f.End()
	f.Get(s)
	f.Mem(wasm.I32Load, 0)
	f.Get(n)
	f.Op(wasm.I32Eq)
	f.If()
	f.Get(p)
	f.Get(s)
	f.I32Const(4)
	f.Op(wasm.I32Add)
	f.Get(n)
	f.Call(m.helper(helperEqual))
	f.If()
	ret(f, 1)
	f.End()
	f.End()
	add(f, i, 1)
	f.Br(probe)
	f.End()
	f.Op(wasm.Unreachable)
}
