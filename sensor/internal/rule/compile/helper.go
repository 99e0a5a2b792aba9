package compile

import (
	"github.com/shikra-sensor/shikra/sensor/internal/wasm"
)

// helper is a function that several tests call. A module holds those that it needs.
type helper int

const (
	helperEqual    helper = iota // (a, b, n) -> a[:n] = b[:n]
	helperCompare                // (a, an, b, bn) -> <0, 0, >0 as a < b, a = b, a > b
	helperFind                   // (p, n, first word of c, its mask, its rarest byte eight times, where that is, c, cn) -> p contains c
	helperFindFold               // (p, n, rarest byte eight times, bit 5 eight times for a letter, where it is, c in small letters, cn) -> p contains c, whatever the case
	helperGlob                   // (p, n, program) -> p matches
	helperPath                   // (p, n, program) -> the path's first components match
	helperPaths                  // (p, n, table) -> the path's first components are one of the table's paths
	helperMember                 // (p, n, table) -> p is in the table
	helperCut                    // (p, n) -> bytes before the first NUL
	numHelpers
)

var helperNames = [numHelpers]string{"equal", "compare", "find", "find_fold", "glob", "path", "paths", "member", "cut"}

// helper returns the index of a helper's function, which is made at the first use.
func (m *module) helper(h helper) int {
	if f := m.helpers[h]; f != nil {
		return f.Index()
	}
	i32, i64 := wasm.I32, wasm.I64
	var params []wasm.ValType
	var body func(*module, *wasm.Func)
	switch h {
	case helperEqual:
		params, body = []wasm.ValType{i32, i32, i32}, (*module).equalBody
	case helperCompare:
		params, body = []wasm.ValType{i32, i32, i32, i32}, (*module).compareBody
	case helperFind:
		params, body = []wasm.ValType{i32, i32, i64, i64, i64, i32, i32, i32}, (*module).findBody
	case helperFindFold:
		params, body = []wasm.ValType{i32, i32, i64, i64, i32, i32, i32}, (*module).findFoldBody
	case helperGlob:
		params, body = []wasm.ValType{i32, i32, i32}, (*module).globBody
	case helperPath:
		params, body = []wasm.ValType{i32, i32, i32}, (*module).pathBody
	case helperPaths:
		params, body = []wasm.ValType{i32, i32, i32}, (*module).pathsBody
	case helperMember:
		params, body = []wasm.ValType{i32, i32, i32}, (*module).memberBody
	case helperCut:
		params, body = []wasm.ValType{i32, i32}, (*module).cutBody
	}
	f := m.b.Func(helperNames[h], params, []wasm.ValType{i32})
	m.helpers[h] = f
	body(m, f)
	return f.Index()
}

// add emits l += n.
func add(f *wasm.Func, l wasm.Local, n int32) {
	f.Get(l)
	f.I32Const(n)
	f.Op(wasm.I32Add)
	f.Set(l)
}

// ret emits a return of v.
func ret(f *wasm.Func, v int32) {
	f.I32Const(v)
	f.Return()
}

// shiftFor pushes how far a word must be shifted left for its first n bytes, 1 to 7, to be all that is left.
func shiftFor(f *wasm.Func, n wasm.Local) {
	f.I32Const(8)
	f.Get(n)
	f.Op(wasm.I32Sub)
	f.I32Const(3)
	f.Op(wasm.I32Shl, wasm.I64ExtendI32U)
}

func (m *module) equalBody(f *wasm.Func) {
	a, b, n := f.Param(0, "a"), f.Param(1, "b"), f.Param(2, "n")
	end := f.Block()
	next := f.Loop()
	f.Get(n)
	f.I32Const(8)
	f.Op(wasm.I32LtS)
	f.BrIf(end)
	f.Get(a)
	f.Mem(wasm.I64Load, 0)
	f.Get(b)
	f.Mem(wasm.I64Load, 0)
	f.Op(wasm.I64Ne)
	f.If()
	ret(f, 0)
	f.End()
	add(f, a, 8)
	add(f, b, 8)
	add(f, n, -8)
	f.Br(next)
	f.End()
	f.End()
	f.Get(n)
	f.I32Const(0)
	f.Op(wasm.I32LeS)
	f.If()
	ret(f, 1)
	f.End()
	f.Get(a)
	f.Mem(wasm.I64Load, 0)
	f.Get(b)
	f.Mem(wasm.I64Load, 0)
	f.Op(wasm.I64Xor)
	shiftFor(f, n)
	f.Op(wasm.I64Shl, wasm.I64Eqz)
}

func (m *module) compareBody(f *wasm.Func) {
	a, an, b, bn := f.Param(0, "a"), f.Param(1, "an"), f.Param(2, "b"), f.Param(3, "bn")
	i, n, d := f.Local(wasm.I32, "i"), f.Local(wasm.I32, "n"), f.Local(wasm.I32, "d")
	f.Get(an)
	f.Get(bn)
	f.Get(an)
	f.Get(bn)
	f.Op(wasm.I32LtS, wasm.Select)
	f.Set(n)
	end := f.Block()
	next := f.Loop()
	f.Get(i)
	f.Get(n)
	f.Op(wasm.I32GeS)
	f.BrIf(end)
	f.Get(a)
	f.Get(i)
	f.Op(wasm.I32Add)
	f.Mem(wasm.I32Load8U, 0)
	f.Get(b)
	f.Get(i)
	f.Op(wasm.I32Add)
	f.Mem(wasm.I32Load8U, 0)
	f.Op(wasm.I32Sub)
	f.Tee(d)
	f.If()
	f.Get(d)
	f.Return()
	f.End()
	add(f, i, 1)
	f.Br(next)
	f.End()
	f.End()
	f.Get(an)
	f.Get(bn)
	f.Op(wasm.I32Sub)
}

func (m *module) cutBody(f *wasm.Func) {
	p, n := f.Param(0, "p"), f.Param(1, "n")
	i := f.Local(wasm.I32, "i")
	end := f.Block()
	next := f.Loop()
	f.Get(i)
	f.Get(n)
	f.Op(wasm.I32GeS)
	f.BrIf(end)
	f.Get(p)
	f.Get(i)
	f.Op(wasm.I32Add)
	f.Mem(wasm.I32Load8U, 0)
	f.Op(wasm.I32Eqz)
	f.BrIf(end)
	add(f, i, 1)
	f.Br(next)
	f.End()
	f.End()
	f.Get(i)
}
