package wasm

import (
	"fmt"
	"math"

	"github.com/shikra-sensor/shikra/wasmabi"
)

// Limits bounds what an instrumented module may do. Zero values take the defaults.
type Limits struct {
	Depth uint32 // most weight on the call stack, see calls.go's weight; default 1900
	Pages uint32 // most pages of memory; default 65535. A memory that starts larger is refused
	Table uint32 // most table entries, over all tables; default 262144
}

// interpreterFrames is the most frames wazero's interpreter takes (internal/engine/interpreter, callStackCeiling);
// its compiler takes 400 MB of stack. The default depth stays below both, with room for the frames of what is injected
// and of host functions, so that the verdict is the counter's in both.
const (
	interpreterFrames = 2000
	defaultDepth      = interpreterFrames - 100
	defaultTable      = 1 << 18
)

func (l Limits) withDefaults() Limits {
	if l.Depth == 0 || l.Depth > defaultDepth {
		l.Depth = defaultDepth
	}
	if l.Pages == 0 || l.Pages > math.MaxUint16 {
		l.Pages = math.MaxUint16
	}
	if l.Table == 0 || l.Table > maxElements {
		l.Table = defaultTable
	}
	return l
}

// Metered is a module that Instrument has rewritten.
type Metered struct {
	Bytes []byte
	Fuel  uint32 // index of the global (i64) that holds the fuel left of the slice; below 0 when a refill is due
	Depth uint32 // index of the global (i32) that holds the weight left for calls; below 0 after calls nested too deep
}

// Instrument rewrites a module so that it can't run for ever nor exhaust the stack, whatever it does:
//
//   - every function's entry and every turn of a loop pay for the longest way through the code up to the next loop; at
//     less than zero the code calls the import shikra_v1.refill, which adds the next slice or doesn't return;
//   - bulk operations on memory and tables pay by size, and those on memory go in chunks, so that the time between
//     two refills stays bounded; growing memory pays by pages;
//   - functions that can be on the stack more than once count what they weigh, and trap by unreachable at the limit.
//
// The fuel and the depth are globals after the guest's own, not exported: Decode has checked the guest's indices
// against its own count, so no instruction of the guest can name them. The added import comes after the guest's
// imports; functions move up by one, which calls, ref.func, element segments, exports, the start function and the name
// section follow. Custom sections other than "name" are left out: what they say of offsets is no longer true.
//
// What can't be metered is refused: see Decode. A module that imports refill by itself is refused.
func Instrument(mod []byte, l Limits) ([]byte, error) {
	m, err := Decode(mod)
	if err != nil {
		return nil, err
	}
	r, err := m.Instrument(l)
	if err != nil {
		return nil, err
	}
	return r.Bytes, nil
}

// Instrument is the function Instrument for a decoded module.
func (m *Binary) Instrument(l Limits) (*Metered, error) {
	l = l.withDefaults()
	for _, im := range m.Imports {
		if im.Module == wasmabi.ImportModule && im.Name == wasmabi.ImportRefill {
			return nil, fmt.Errorf("wasm: imports %s.%s, which is the host's own", im.Module, im.Name)
		}
	}
	if n := m.NumMemories(); n > 0 && m.imported[KindMemory] == 0 && m.Memories[0].Min > l.Pages {
		return nil, fmt.Errorf("wasm: memory of %d pages, the most is %d", m.Memories[0].Min, l.Pages)
	}
	var entries uint64
	for _, t := range m.Tables {
		entries += uint64(t.Min)
	}
	if entries > uint64(l.Table) {
		return nil, fmt.Errorf("wasm: tables of %d entries, the most is %d", entries, l.Table)
	}
	w := &rewriter{
		m:     m,
		l:     l,
		types: m.Types,
		nimp:  uint32(m.imported[KindFunc]),
		fuel:  uint32(m.NumGlobals()),
		depth: uint32(m.NumGlobals()) + 1,
	}
	w.analyse()
	if err := w.weigh(); err != nil {
		return nil, err
	}
	return &Metered{Bytes: w.encode(), Fuel: w.fuel, Depth: w.depth}, nil
}

// rewriter rewrites one module.
type rewriter struct {
	m           *Binary
	l           Limits
	types       []Signature // the module's and those added
	nimp        uint32      // imported functions, refill not counted
	fuel, depth uint32      // globals
	funcs       []analysis
	depthInit   uint32 // first value of the depth global
	helpers     []helper
	refuel      uint32 // helpers' function indices; 0 for not needed
	pay         uint32
	fill        uint32
	copy        uint32
	grow        uint32
}

type helper struct {
	name string
	typ  uint32
	code []byte
}

// fn renumbers a function of the guest: the added import stands before its own functions.
func (w *rewriter) fn(i uint32) uint32 {
	if i >= w.nimp {
		return i + 1
	}
	return i
}

// sig returns the index of the type (params) -> (results), adding it when there is none.
func (w *rewriter) sig(params, results []byte) uint32 {
	for i, s := range w.types {
		if string(s.Params) == string(params) && string(s.Results) == string(results) {
			return uint32(i)
		}
	}
	w.types = append(w.types[:len(w.types):len(w.types)], Signature{params, results})
	return uint32(len(w.types) - 1)
}

func (w *rewriter) encode() []byte {
	m := w.m
	refill := w.sig(nil, []byte{typeI64})
	w.addHelpers()
	code := w.code() // may add types
	out := make([]byte, 0, len(code)+len(code)/4+64<<10)
	out = append(out, "\x00asm\x01\x00\x00\x00"...)

	b := appendUint(nil, uint64(len(w.types)))
	for _, s := range w.types {
		b = appendName(appendName(append(b, 0x60), string(s.Params)), string(s.Results))
	}
	out = appendSection(out, secType, b)

	b = appendUint(b[:0], uint64(len(m.Imports)+1))
	for _, im := range m.Imports {
		b = append(appendName(appendName(b, im.Module), im.Name), byte(im.Kind))
		switch im.Kind {
		case KindFunc:
			b = appendUint(b, uint64(im.Type))
		case KindTable:
			b = appendExtent(append(b, im.Table.Elem), im.Table.Extent)
		case KindMemory:
			b = appendExtent(b, im.Memory)
		case KindGlobal:
			b = appendGlobal(b, im.Global)
		}
	}
	b = append(appendName(appendName(b, wasmabi.ImportModule), wasmabi.ImportRefill), byte(KindFunc))
	out = appendSection(out, secImport, appendUint(b, uint64(refill)))

	b = appendUint(b[:0], uint64(len(m.Funcs)+len(w.helpers)))
	for _, t := range m.Funcs {
		b = appendUint(b, uint64(t))
	}
	for _, h := range w.helpers {
		b = appendUint(b, uint64(h.typ))
	}
	out = appendSection(out, secFunction, b)

	if len(m.Tables) > 0 {
		b = appendUint(b[:0], uint64(len(m.Tables)))
		for _, t := range m.Tables {
			most := max(t.Min, w.l.Table/uint32(len(m.Tables)))
			if !t.HasMax || t.Max > most {
				t.HasMax, t.Max = true, most
			}
			b = appendExtent(append(b, t.Elem), t.Extent)
		}
		out = appendSection(out, secTable, b)
	}
	if len(m.Memories) > 0 {
		e := m.Memories[0]
		if !e.HasMax || e.Max > w.l.Pages {
			e.HasMax, e.Max = true, w.l.Pages
		}
		out = appendSection(out, secMemory, appendExtent([]byte{1}, e))
	}

	b = appendUint(b[:0], uint64(len(m.Globals)+2))
	for _, g := range m.Globals {
		b = w.appendConstant(appendGlobal(b, g.GlobalType), g.init)
	}
	b = append(b, typeI64, 1, opI64Const, 0, opEnd) // fuel: the first charge asks for a slice
	b = append(appendInt(append(b, typeI32, 1, opI32Const), int64(w.depthInit)), opEnd)
	out = appendSection(out, secGlobal, b)

	if len(m.Exports) > 0 {
		b = appendUint(b[:0], uint64(len(m.Exports)))
		for _, e := range m.Exports {
			i := e.Index
			if e.Kind == KindFunc {
				i = w.fn(i)
			}
			b = appendUint(append(appendName(b, e.Name), byte(e.Kind)), uint64(i))
		}
		out = appendSection(out, secExport, b)
	}
	if m.HasStart {
		out = appendSection(out, secStart, appendUint(nil, uint64(w.fn(m.Start))))
	}
	if len(m.elems) > 0 {
		b = appendUint(b[:0], uint64(len(m.elems)))
		for i := range m.elems {
			b = w.appendElement(b, &m.elems[i])
		}
		out = appendSection(out, secElement, b)
	}
	if m.hasCount {
		out = appendSection(out, secDataCount, appendUint(nil, uint64(m.dataCount)))
	}
	out = appendSection(out, secCode, code)
	if len(m.datas) > 0 {
		b = appendUint(b[:0], uint64(len(m.datas)))
		for i := range m.datas {
			d := &m.datas[i]
			b = appendUint(b, uint64(d.flags))
			if d.flags == 2 {
				b = appendUint(b, uint64(d.memory))
			}
			if d.flags != 1 {
				b = w.appendConstant(b, d.offset)
			}
			b = append(appendUint(b, uint64(len(d.init))), d.init...)
		}
		out = appendSection(out, secData, b)
	}
	if names := w.names(); names != nil {
		out = appendSection(out, secCustom, names)
	}
	return out
}

func appendExtent(b []byte, e Extent) []byte {
	if e.HasMax {
		return appendUint(appendUint(append(b, 1), uint64(e.Min)), uint64(e.Max))
	}
	return appendUint(append(b, 0), uint64(e.Min))
}

func appendGlobal(b []byte, g GlobalType) []byte {
	if g.Mutable {
		return append(b, g.Val, 1)
	}
	return append(b, g.Val, 0)
}

func (w *rewriter) appendConstant(b []byte, k constant) []byte {
	if k.isFunc {
		return append(appendUint(append(b, opRefFunc), uint64(w.fn(k.fn))), opEnd)
	}
	return append(b, k.raw...)
}

func (w *rewriter) appendElement(b []byte, e *element) []byte {
	b = appendUint(b, uint64(e.flags))
	if e.flags&1 == 0 {
		if e.flags&2 != 0 {
			b = appendUint(b, uint64(e.table))
		}
		b = w.appendConstant(b, e.offset)
	}
	if e.flags&4 == 0 {
		if e.flags&3 != 0 {
			b = append(b, 0)
		}
		b = appendUint(b, uint64(len(e.funcs)))
		for _, f := range e.funcs {
			b = appendUint(b, uint64(w.fn(f)))
		}
		return b
	}
	if e.flags&3 != 0 {
		b = append(b, e.elem)
	}
	b = appendUint(b, uint64(len(e.exprs)))
	for _, k := range e.exprs {
		b = w.appendConstant(b, k)
	}
	return b
}
