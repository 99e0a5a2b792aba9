package compile

import (
	"bytes"
	"encoding/binary"

	"github.com/shikra-sensor/shikra/sensor/internal/field"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/check"
	"github.com/shikra-sensor/shikra/sensor/internal/wasm"
)

// test branches to target when the outcome of t is jump, and goes on when it isn't.
func (e *emitter) test(t *test, target wasm.Label, jump bool) {
	switch {
	case t.src.kind == anyAncestor:
		e.f.Get(e.ev)
		e.f.Get(e.index)
		e.f.Call(e.m.ancestors(t))
		e.decide(target, jump)
	case t.src.list && t.op != check.Exists:
		e.f.Get(e.ev)
		e.f.Get(e.index)
		e.f.Call(e.m.items(t))
		e.decide(target, jump)
	case !t.src.text:
		rec := e.ev
		if t.src.kind == direct {
			rec = e.record(t.src.read.Base, t.src.index)
		}
		e.numberTest(t, rec)
		e.decide(target, jump)
	default:
		e.textTest(t, e.value(t.src), target, jump)
	}
}

// textTest is test for a string that is in locals.
func (e *emitter) textTest(t *test, v *value, target wasm.Label, jump bool) {
	if e.expression(t, v) {
		e.decide(target, jump)
		return
	}
	if jump {
		e.match(t, v, target)
		return
	}
	yes := e.f.Block()
	e.match(t, v, yes)
	e.f.Br(target)
	e.f.End()
}

// expression pushes the outcome when it can be had without a branch, and says so.
func (e *emitter) expression(t *test, v *value) bool {
	f := e.f
	if t.op == check.Exists {
		e.atLeast(v, 0)
		return true
	}
	if len(t.vals) != 1 {
		return false
	}
	c := t.vals[0].Bytes
	switch t.op {
	case check.In:
		if len(c) > 8 || t.src.typ == field.IPNet {
			return false
		}
		f.Get(v.n)
		f.I32Const(int32(len(c)))
		f.Op(wasm.I32Eq)
		e.firstWord(v, c)
		return true
	case check.StartsWith:
		if len(c) > 8 {
			return false
		}
		e.atLeast(v, len(c))
		e.firstWord(v, c)
		return true
	case check.EndsWith:
		if len(c) == 0 {
			e.atLeast(v, 0)
			return true
		}
		if len(c) > 8 {
			return false
		}
		e.tailWord(v)
		e.tailEqual(v, c, nil)
		return true
	case check.Contains, check.IContains, check.Glob, check.IGlob, check.PMatch:
		e.call(t.op, v, c)
		return true
	case check.Lt, check.Le, check.Gt, check.Ge:
		e.atLeast(v, 0)
		f.Get(v.ptr())
		f.Get(v.n)
		f.I32Const(int32(e.m.constant(c)))
		f.I32Const(int32(len(c)))
		f.Call(e.m.helper(helperCompare))
		f.I32Const(0)
		switch t.op {
		case check.Lt:
			f.Op(wasm.I32LtS)
		case check.Le:
			f.Op(wasm.I32LeS)
		case check.Gt:
			f.Op(wasm.I32GtS)
		default:
			f.Op(wasm.I32GeS)
		}
		f.Op(wasm.I32And)
		return true
	}
	return false
}

func (e *emitter) atLeast(v *value, n int) {
	e.f.Get(v.n)
	e.f.I32Const(int32(n))
	e.f.Op(wasm.I32GeS)
}

// firstWord ands the outcome on the stack with: the string starts with c, which has at most 8 bytes.
func (e *emitter) firstWord(v *value, c []byte) {
	if len(c) == 0 {
		return
	}
	e.f.Get(v.word)
	e.mask(len(c))
	e.f.I64Const(word(c))
	e.f.Op(wasm.I64Eq, wasm.I32And)
}

// mask keeps the first n bytes of the word on the stack.
func (e *emitter) mask(n int) {
	if n < 8 {
		e.f.I64Const(wordMask(n))
		e.f.Op(wasm.I64And)
	}
}

func wordMask(n int) int64 {
	if n >= 8 {
		return -1
	}
	return 1<<(8*n) - 1
}

// word returns the first 8 bytes of c as a load gives them; missing bytes are 0.
func word(c []byte) int64 {
	var b [8]byte
	copy(b[:], c)
	return int64(binary.LittleEndian.Uint64(b[:]))
}

// call pushes the outcome of an operator that a helper decides.
func (e *emitter) call(op check.Op, v *value, c []byte) {
	f := e.f
	switch op {
	case check.Contains:
		if len(c) == 0 {
			e.atLeast(v, 0)
			return
		}
		rare := rarest(c[:min(len(c), 8)])
		f.Get(v.ptr())
		f.Get(v.n)
		f.I64Const(word(c))
		f.I64Const(wordMask(len(c)))
		f.I64Const(int64(uint64(c[rare]) * ones))
		f.I32Const(int32(rare))
		f.I32Const(int32(e.m.constant(c)))
		f.I32Const(int32(len(c)))
		f.Call(e.m.helper(helperFind))
	case check.IContains:
		if len(c) == 0 {
			e.atLeast(v, 0)
			return
		}
		c = lower(c)
		rare := rarest(c)
		var bit uint64
		if 'a' <= c[rare] && c[rare] <= 'z' {
			bit = 0x20 * ones
		}
		f.Get(v.ptr())
		f.Get(v.n)
		f.I64Const(int64(uint64(c[rare]) * ones))
		f.I64Const(int64(bit))
		f.I32Const(int32(rare))
		f.I32Const(int32(e.m.constant(c)))
		f.I32Const(int32(len(c)))
		f.Call(e.m.helper(helperFindFold))
	case check.Glob, check.IGlob:
		f.Get(v.ptr())
		f.Get(v.n)
		f.I32Const(int32(e.m.constant(globProgram(parseGlobFold(c, op == check.IGlob)))))
		f.Call(e.m.helper(helperGlob))
	case check.PMatch:
		f.Get(v.ptr())
		f.Get(v.n)
		f.I32Const(int32(e.m.constant(pathProgram(c))))
		f.Call(e.m.helper(helperPath))
	}
}

// ones has every byte 1.
const ones = 0x0101010101010101

// rarest returns the index of the byte of c that is least likely in paths and command lines.
func rarest(c []byte) int {
	best, rank := 0, 99
	for i, b := range c {
		r := 0
		switch {
		case b == ' ' || b == '/' || b == 'e' || b == 's' || b == 't' || b == 'i' || b == 'n' || b == 'o' || b == 'a' || b == 'r':
			r = 3
		case b == '-' || b == '.' || 'a' <= b && b <= 'z' || b == '0' || b == '1':
			r = 2
		case '0' <= b && b <= '9' || b == '_' || b == '=' || b == ':':
			r = 1
		}
		if r < rank {
			best, rank = i, r
		}
	}
	return best
}

// match branches to yes when t holds for v, and goes on when it doesn't.
func (e *emitter) match(t *test, v *value, yes wasm.Label) {
	switch t.op {
	case check.In:
		switch {
		case t.src.typ == field.IPNet:
			e.nets(v, t.vals, yes)
		case len(t.vals) > tableMin:
			e.f.Get(v.ptr())
			e.f.Get(v.n)
			e.f.I32Const(int32(e.m.table(t.vals)))
			e.f.Call(e.m.helper(helperMember))
			e.f.BrIf(yes)
		case len(t.vals) >= sharedMin:
			e.f.Get(v.ptr())
			e.f.Get(v.n)
			e.f.Get(v.word)
			e.f.Call(e.m.set(t.vals))
			e.f.BrIf(yes)
		default:
			e.equalSet(v, t.vals, yes)
		}
	case check.StartsWith:
		e.prefixSet(v, t.vals, yes)
	case check.EndsWith:
		e.suffixSet(v, t.vals, yes)
	default:
		vals := t.vals
		if t.op == check.PMatch && len(vals) >= pathsMin {
			var plain []check.Const
			vals = nil
			for _, c := range t.vals {
				if bytes.ContainsAny(c.Bytes, wildcards) {
					vals = append(vals, c)
				} else {
					plain = append(plain, c)
				}
			}
			if len(plain) > 0 {
				e.f.Get(v.ptr())
				e.f.Get(v.n)
				e.f.I32Const(int32(e.m.paths(plain)))
				e.f.Call(e.m.helper(helperPaths))
				e.f.BrIf(yes)
			}
		}
		for _, c := range vals {
			e.call(t.op, v, c.Bytes)
			e.f.BrIf(yes)
		}
	}
}

// pathsMin is the number of paths from which on one walk through a path looks for all of them.
const pathsMin = 4

// word pushes the word of v at offset, masked when v has fewer than 8 bytes.
func (e *emitter) word(v *value, n, offset int) {
	if offset == 0 {
		e.f.Get(v.word)
		e.mask(n)
		return
	}
	e.f.Get(v.ptr())
	e.f.Mem(wasm.I64Load, uint32(offset))
}
