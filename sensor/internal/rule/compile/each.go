package compile

import (
	"github.com/shikra-sensor/shikra/sensor/internal/field"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/check"
	"github.com/shikra-sensor/shikra/sensor/internal/wasm"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// ancestorTest emits the body of a function of the event's address: whether the test holds for any ancestor.
func (e *emitter) ancestorTest(t *test) {
	f := e.f
	rec := f.Local(wasm.I32, "ancestor")
	left := f.Local(wasm.I32, "left")
	yes := f.Block()
	no := f.Block()
	f.I32Const(field.MaxAncestors)
	f.Set(left)
	e.slot(e.ev, wasmabi.EventThread, wasmabi.SegmentThreads)
	f.Set(rec)
	next := f.Loop()
	f.Get(rec)
	f.Mem(wasm.I32Load, wasmabi.ThreadParent)
	f.Tee(rec)
	f.Op(wasm.I32Eqz)
	f.BrIf(no)
	f.Get(rec)
	e.m.recordAt(f, wasmabi.SegmentThreads)
	f.Set(rec)
	if t.src.text {
		v := e.newValue(t.src.name)
		e.directText(t.src, rec, v)
		if e.expression(t, v) {
			f.BrIf(yes)
		} else if t.op == check.Ne { // it has a value, and that isn't the one
			equal := f.Block()
			e.equalSet(v, t.vals, equal)
			e.atLeast(v, 0)
			f.BrIf(yes)
			f.End()
		} else {
			e.match(t, v, yes)
		}
	} else {
		e.numberTest(t, rec)
		f.BrIf(yes)
	}
	f.Get(left)
	f.I32Const(1)
	f.Op(wasm.I32Sub)
	f.Tee(left)
	f.BrIf(next)
	f.End()
	f.End()
	f.I32Const(0)
	f.Return()
	f.End()
	f.I32Const(1)
}

// listTest emits the body of a function that makes a test of a list: in wants every item in the set, intersects one. The
// items stand in the column one after the other, each followed by NUL.
func (e *emitter) listTest(t *test) {
	f := e.f
	v := e.newValue(t.src.name)
	end := f.Local(wasm.I32, "end")
	e.columnText(t.src, v)
	none := f.Block()
	f.Get(v.n)
	f.I32Const(0)
	f.Op(wasm.I32LeS)
	f.BrIf(none)
	f.Get(v.ptr())
	f.Get(v.n)
	f.Op(wasm.I32Add)
	f.Set(end)
	next := f.Loop()
	f.Get(v.ptr())
	f.Get(end)
	f.Get(v.ptr())
	f.Op(wasm.I32Sub)
	f.Call(e.m.helper(helperCut))
	f.Set(v.n)
	e.loadWord(v)
	in := &test{src: t.src, op: check.In, vals: t.vals}
	if t.op == check.In {
		hit := f.Block()
		e.match(in, v, hit)
		ret(f, 0)
		f.End()
	} else {
		miss, hit := f.Block(), f.Block()
		e.match(in, v, hit)
		f.Br(miss)
		f.End()
		ret(f, 1)
		f.End()
	}
	f.Get(v.ptr())
	f.Get(v.n)
	f.Op(wasm.I32Add)
	f.I32Const(1)
	f.Op(wasm.I32Add)
	f.Tee(v.ptr())
	f.Get(end)
	f.Op(wasm.I32LtU)
	f.BrIf(next)
	f.End()
	if t.op == check.In {
		ret(f, 1)
	}
	f.End()
	f.I32Const(0)
}
