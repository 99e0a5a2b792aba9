package compile

import (
	"github.com/shikra-sensor/shikra/sensor/internal/field"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/check"
	"github.com/shikra-sensor/shikra/sensor/internal/wasm"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// value is a string in locals: its address, its length, -1 when it is missing, and its first 8 bytes. What lies past
// its end is read too where it has fewer, so that a test must mask or look at the length; the memory goes on past the window
// for that.
type value struct {
	lazy // ptr is the state: it is never 0 once loaded
	n    wasm.Local
	word wasm.Local
}

func (v *value) ptr() wasm.Local { return v.state }

// value makes sure that the string that s gives is in locals.
func (e *emitter) value(s *source) *value {
	v, ok := e.vals[s]
	if !ok {
		v = e.newValue(s.name)
		e.vals[s] = v
	}
	e.once(&v.lazy, func() {
		if s.kind == column {
			e.columnText(s, v)
		} else {
			e.directText(s, e.record(s.read.Base, s.index), v)
		}
	})
	return v
}

func (e *emitter) newValue(name string) *value {
	return &value{lazy{e.f.Local(wasm.I32, name)}, e.f.Local(wasm.I32, name+" len"), e.f.Local(wasm.I64, name+" word")}
}

func (e *emitter) loadWord(v *value) {
	e.f.Get(v.ptr())
	e.f.Mem(wasm.I64Load, 0)
	e.f.Set(v.word)
}

// cell pushes the address of the event's cell in the column of s.
func (e *emitter) cell(s *source) {
	e.f.I32Const(int32(e.m.window))
	e.f.Mem(wasm.I32Load, uint32(wasmabi.DirectoryColumns+4*s.column))
	e.m.base(e.f, wasmabi.SegmentBatch)
	e.f.Op(wasm.I32Add)
	e.f.Get(e.index)
	e.f.I32Const(4)
	e.f.Op(wasm.I32Shl, wasm.I32Add)
}

func (e *emitter) columnText(s *source, v *value) {
	f := e.f
	cell := e.scratch("cell", wasm.I32)
	e.cell(s)
	f.Tee(cell)
	f.Mem(wasm.I32Load, wasmabi.CellKind)
	f.I32Const(wasmabi.CellBytes)
	f.Op(wasm.I32Eq)
	f.If()
	e.m.base(f, wasmabi.SegmentBatch)
	f.Get(cell)
	f.Mem(wasm.I32Load, wasmabi.CellVal)
	f.Op(wasm.I32Add)
	f.Set(v.ptr())
	f.Get(cell)
	f.Mem(wasm.I32Load, wasmabi.CellLen)
	f.Set(v.n)
	f.Else()
	e.m.base(f, wasmabi.SegmentBatch)
	f.Set(v.ptr())
	f.I32Const(-1)
	f.Set(v.n)
	f.End()
	e.loadWord(v)
}

// directText loads the string that s reads from the record at rec, by the steps that field.Read states.
func (e *emitter) directText(s *source, rec wasm.Local, v *value) {
	f, r := e.f, &s.read
	switch r.Width {
	case field.Str, field.PStr:
		seg := wasmabi.SegmentStrings
		if r.Width == field.PStr {
			seg = wasmabi.SegmentPrivate
		}
		f.Get(rec)
		f.Mem(wasm.I32Load, uint32(r.Offset))
		f.Tee(v.n)
		e.m.base(f, seg)
		f.Op(wasm.I32Add)
		f.Tee(v.ptr())
		f.Mem(wasm.I32Load, wasmabi.StringLen)
		f.I32Const(-1)
		f.Get(v.n)
		f.Op(wasm.Select)
		f.Set(v.n)
		f.Get(v.ptr())
		f.I32Const(wasmabi.StringSize)
		f.Op(wasm.I32Add)
		f.Set(v.ptr())
	case field.Char:
		f.I32Const(1)
		f.I32Const(-1)
		f.Get(rec)
		f.Mem(wasm.I32Load8U, uint32(r.Offset))
		f.Op(wasm.Select)
		f.Set(v.n)
		e.address(rec, r.Offset)
		f.Set(v.ptr())
	case field.Addr:
		f.I32Const(4)
		f.I32Const(16)
		f.I32Const(-1)
		f.Get(rec)
		f.Mem(wasm.I32Load8U, wasmabi.FileKind)
		f.Tee(v.n)
		f.I32Const('6')
		f.Op(wasm.I32Eq, wasm.Select)
		f.Get(v.n)
		f.I32Const('4')
		f.Op(wasm.I32Eq, wasm.Select)
		f.Set(v.n)
		e.address(rec, r.Offset)
		f.Set(v.ptr())
		if r.HasNull {
			f.Get(v.n)
			f.I32Const(-1)
			f.Get(rec)
			f.Mem(wasm.I64Load, uint32(r.Offset))
			f.Get(rec)
			f.Mem(wasm.I64Load, uint32(r.Offset+8))
			f.Op(wasm.I64Or)
			f.I64Const(0)
			f.Op(wasm.I64Ne, wasm.Select)
			f.Set(v.n)
		}
	}
	if r.Kinds != "" || r.Guard != 0 {
		f.Get(v.n)
		f.I32Const(-1)
		e.conditions(s, rec)
		f.Op(wasm.Select)
		f.Set(v.n)
	}
	e.part(r.Part, rec, v)
	if r.None != "" {
		// The event's thread is known and its container slot is 0.
		f.Get(e.ev)
		f.Mem(wasm.I32Load, wasmabi.EventThread)
		f.I32Const(0)
		f.Op(wasm.I32Ne)
		f.Get(e.record(field.Thread, 0))
		f.Mem(wasm.I32Load, wasmabi.ThreadContainer)
		f.Op(wasm.I32Eqz, wasm.I32And)
		f.If()
		f.I32Const(int32(e.m.constant([]byte(r.None))))
		f.Set(v.ptr())
		f.I32Const(int32(len(r.None)))
		f.Set(v.n)
		f.End()
	}
	e.loadWord(v)
}

func (e *emitter) address(rec wasm.Local, offset int) {
	e.f.Get(rec)
	if offset != 0 {
		e.f.I32Const(int32(offset))
		e.f.Op(wasm.I32Add)
	}
}

// conditions pushes whether the record at rec passes Kinds and Guard, one of which s has.
func (e *emitter) conditions(s *source, rec wasm.Local) {
	f, r := e.f, &s.read
	if r.Kinds != "" {
		for i := range len(r.Kinds) {
			f.Get(rec)
			f.Mem(wasm.I32Load8U, wasmabi.FileKind)
			f.I32Const(int32(r.Kinds[i]))
			f.Op(wasm.I32Eq)
			if i > 0 {
				f.Op(wasm.I32Or)
			}
		}
	}
	if r.Guard != 0 {
		f.Get(rec)
		e.number(r.GuardWidth, r.GuardAt)
		f.I64Const(int64(r.Guard))
		f.Op(wasm.I64And)
		f.I64Const(0)
		f.Op(wasm.I64Ne)
		if r.Kinds != "" {
			f.Op(wasm.I32And)
		}
	}
}

// part narrows v to a part of a file's name.
func (e *emitter) part(p field.Part, rec wasm.Local, v *value) {
	f := e.f
	if p == field.Whole {
		return
	}
	dir := e.scratch("dir", wasm.I32)
	f.Get(rec)
	f.Mem(wasm.I32Load, wasmabi.FileNameDir)
	f.Set(dir)
	if p == field.Dir {
		f.Get(v.n)
		f.I32Const(0)
		f.Op(wasm.I32GeS)
		f.Get(rec)
		f.Mem(wasm.I32Load8U, wasmabi.FileKind)
		f.I32Const('d')
		f.Op(wasm.I32Ne, wasm.I32And)
		f.If()
		f.Get(dir)
		f.Op(wasm.I32Eqz)
		f.Get(dir)
		f.Get(v.n)
		f.Op(wasm.I32GtU, wasm.I32Or)
		f.If()
		f.I32Const(int32(e.m.constant([]byte("/"))))
		f.Set(v.ptr())
		f.I32Const(1)
		f.Set(v.n)
		f.Else()
		f.Get(dir)
		f.Set(v.n)
		f.End()
		f.End()
		return
	}
	no, out := f.Block(), f.Block()
	f.Get(v.n)
	f.I32Const(0)
	f.Op(wasm.I32LtS)
	f.BrIf(out)
	f.Get(dir)
	f.Get(v.n)
	f.Op(wasm.I32GeU)
	f.BrIf(out)
	f.Get(v.ptr())
	f.Get(dir)
	f.Op(wasm.I32Add)
	f.Mem(wasm.I32Load8U, 0)
	f.I32Const('/')
	f.Op(wasm.I32Ne)
	f.BrIf(out)
	f.Get(dir)
	f.I32Const(1)
	f.Op(wasm.I32Add)
	f.Tee(dir)
	f.Get(v.ptr())
	f.Op(wasm.I32Add)
	f.Set(v.ptr())
	f.Get(v.n)
	f.Get(dir)
	f.Op(wasm.I32Sub)
	f.Set(v.n)
	f.Br(no)
	f.End()
	f.I32Const(-1)
	f.Set(v.n)
	f.End()
}

// number pops an address and pushes the integer of width w at offset, extended to 64 bits.
func (e *emitter) number(w field.Width, offset int) {
	op := wasm.I64Load
	switch w {
	case field.U8:
		op = wasm.I64Load8U
	case field.U16:
		op = wasm.I64Load16U
	case field.U32:
		op = wasm.I64Load32U
	case field.I32:
		op = wasm.I64Load32S
	}
	e.f.Mem(op, uint32(offset))
}

// numberTest pushes whether the integer that s gives stands in the relation op to one of vals. rec is its record.
func (e *emitter) numberTest(t *test, rec wasm.Local) {
	f, s := e.f, t.src
	if s.kind == column {
		cell := e.scratch("cell", wasm.I32)
		v := e.scratch("number", wasm.I64)
		e.cell(s)
		f.Tee(cell)
		f.Mem(wasm.I32Load, wasmabi.CellKind)
		f.I32Const(wasmabi.CellInt)
		f.Op(wasm.I32Eq)
		if t.op == check.Exists {
			return
		}
		e.relation(t, func() {
			f.Get(cell)
			f.Mem(wasm.I64Load, wasmabi.CellVal)
		}, v)
		f.Op(wasm.I32And)
		return
	}
	r := &s.read
	first := true
	and := func() {
		if !first {
			f.Op(wasm.I32And)
		}
		first = false
	}
	// A record that isn't there is all zeros: where a guard or a null of 0 makes that missing nothing else is needed.
	if seg, ok := segmentOf(r.Base); ok && r.Guard == 0 && !(r.HasNull && r.Null == 0) {
		f.Get(rec)
		e.m.base(f, seg)
		f.Op(wasm.I32Ne)
		and()
	}
	if r.Kinds != "" || r.Guard != 0 {
		e.conditions(s, rec)
		and()
	}
	if r.HasNull {
		f.Get(rec)
		e.number(r.Width, r.Offset)
		f.I64Const(int64(r.Null))
		f.Op(wasm.I64Ne)
		and()
	}
	if t.op == check.Exists {
		if first {
			f.I32Const(1)
		}
		return
	}
	e.relation(t, func() {
		f.Get(rec)
		e.number(r.Width, r.Offset)
		if r.Mask != 0 {
			f.I64Const(int64(r.Mask))
			f.Op(wasm.I64And)
			f.I64Const(0)
			f.Op(wasm.I64Ne, wasm.I64ExtendI32U)
		}
	}, e.scratch("number", wasm.I64))
	and()
}

// segmentOf returns the segment of a base's records; false for the event, which is always there.
func segmentOf(b field.Base) (wasmabi.Segment, bool) {
	switch b {
	case field.Event, field.Computed:
		return 0, false
	case field.File:
		return wasmabi.SegmentFiles, true
	case field.Container:
		return wasmabi.SegmentContainers, true
	}
	return wasmabi.SegmentThreads, true
}

// relation pushes whether the integer that load pushes stands in relation to one of the test's constants.
func (e *emitter) relation(t *test, load func(), tmp wasm.Local) {
	f := e.f
	load()
	if len(t.vals) != 1 {
		f.Set(tmp)
	}
	signed := t.src.typ == field.Int
	for i, c := range t.vals {
		if len(t.vals) != 1 {
			f.Get(tmp)
		}
		f.I64Const(int64(c.Int))
		f.Op(compareOp(t.op, signed))
		if i > 0 {
			f.Op(wasm.I32Or)
		}
	}
	if len(t.vals) == 0 {
		f.I32Const(0)
	}
}

func compareOp(op check.Op, signed bool) wasm.Op {
	pick := func(s, u wasm.Op) wasm.Op {
		if signed {
			return s
		}
		return u
	}
	switch op {
	case check.Ne:
		return wasm.I64Ne
	case check.Lt:
		return pick(wasm.I64LtS, wasm.I64LtU)
	case check.Le:
		return pick(wasm.I64LeS, wasm.I64LeU)
	case check.Gt:
		return pick(wasm.I64GtS, wasm.I64GtU)
	case check.Ge:
		return pick(wasm.I64GeS, wasm.I64GeU)
	}
	return wasm.I64Eq
}
