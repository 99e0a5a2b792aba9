// Package wasm writes, reads and rewrites WebAssembly modules: core 1.0 and bulk memory operations.
package wasm

import (
	"errors"
	"fmt"
)

// The numbers are those of the WebAssembly core specification 1.0, section 5 (binary format).

// ValType is the type of a value.
type ValType byte

// The value types that the builder takes.
const (
	I32 ValType = 0x7f
	I64 ValType = 0x7e
)

// PageSize is the unit of linear memory in bytes.
const PageSize = 64 << 10

const (
	kindFunc   = 0
	kindMemory = 2
	kindGlobal = 3
)

const (
	secCustom   = 0
	secType     = 1
	secImport   = 2
	secFunction = 3
	secMemory   = 5
	secGlobal   = 6
	secExport   = 7
	secCode     = 10
	secData     = 11
)

type signature struct{ params, results string }

type imported struct {
	module, name string
	sig          int
}

type global struct {
	name    string
	typ     ValType
	mutable bool
	init    int64
}

type segment struct {
	offset uint32
	bytes  []byte
}

type export struct {
	name  string
	kind  byte
	index int
}

type custom struct {
	name string
	body []byte
}

// Builder makes one module. What is wrong with the calls is kept and returned by Encode. The zero value is an empty
// module. Not safe for concurrent use.
type Builder struct {
	name     string
	sigs     []signature
	imports  []imported
	funcs    []*Func
	globals  []global
	min, max uint32 // pages of memory; max 0 is no memory
	data     []segment
	exports  []export
	customs  []custom
	err      error
}

// NewBuilder returns an empty module called name, which the name section states.
func NewBuilder(name string) *Builder { return &Builder{name: name} }

func (m *Builder) fail(err error) {
	if m.err == nil {
		m.err = err
	}
}

func (m *Builder) signature(params, results []ValType) int {
	s := signature{typeBytes(params), typeBytes(results)}
	for i, have := range m.sigs {
		if have == s {
			return i
		}
	}
	m.sigs = append(m.sigs, s)
	return len(m.sigs) - 1
}

func typeBytes(v []ValType) string {
	b := make([]byte, len(v))
	for i := range v {
		b[i] = byte(v[i])
	}
	return string(b)
}

// Import adds an imported function and returns its index. Imports come before functions.
func (m *Builder) Import(module, name string, params, results []ValType) int {
	if len(m.funcs) > 0 {
		m.fail(fmt.Errorf("import %s.%s: functions were added before it", module, name))
	}
	m.imports = append(m.imports, imported{module, name, m.signature(params, results)})
	return len(m.imports) - 1
}

// Memory gives the module a memory of min to max pages.
func (m *Builder) Memory(minPages, maxPages uint32) {
	if minPages > maxPages || maxPages == 0 || maxPages > 65536 {
		m.fail(fmt.Errorf("memory of %d to %d pages is out of range", minPages, maxPages))
	}
	m.min, m.max = minPages, maxPages
}

// Global adds a global and returns its index.
func (m *Builder) Global(name string, t ValType, mutable bool, init int64) int {
	m.globals = append(m.globals, global{name, t, mutable, init})
	return len(m.globals) - 1
}

// Data writes b at offset when the module is instantiated. b is kept.
func (m *Builder) Data(offset uint32, b []byte) { m.data = append(m.data, segment{offset, b}) }

// ExportMemory exports the memory.
func (m *Builder) ExportMemory(name string) {
	m.exports = append(m.exports, export{name, kindMemory, 0})
}

// ExportGlobal exports a global.
func (m *Builder) ExportGlobal(name string, index int) {
	m.exports = append(m.exports, export{name, kindGlobal, index})
}

// ExportFunc exports a function.
func (m *Builder) ExportFunc(name string, f *Func) {
	m.exports = append(m.exports, export{name, kindFunc, f.index})
}

// Custom adds a custom section. b is kept.
func (m *Builder) Custom(name string, b []byte) { m.customs = append(m.customs, custom{name, b}) }

// Func adds a function, which is called name in the name section.
func (m *Builder) Func(name string, params, results []ValType) *Func {
	f := &Func{name: name, sig: m.signature(params, results), index: len(m.imports) + len(m.funcs)}
	for _, p := range params {
		f.types = append(f.types, p)
		f.names = append(f.names, "")
	}
	f.params = len(params)
	m.funcs = append(m.funcs, f)
	return f
}

var (
	errUnclosed = errors.New("a block isn't closed")
	errNoBlock  = errors.New("End without a block")
	errLabel    = errors.New("branch to a block that isn't open")
	errLocal    = errors.New("no such local")
)

func appendUint(b []byte, v uint64) []byte {
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}

func appendInt(b []byte, v int64) []byte {
	for {
		c := byte(v & 0x7f)
		v >>= 7
		if v == 0 && c&0x40 == 0 || v == -1 && c&0x40 != 0 {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}

func appendName(b []byte, s string) []byte { return append(appendUint(b, uint64(len(s))), s...) }

func appendSection(out []byte, id byte, body []byte) []byte {
	return append(appendUint(append(out, id), uint64(len(body))), body...)
}

// Encode returns the module's bytes: the same calls give the same bytes.
func (m *Builder) Encode() ([]byte, error) {
	if m.err != nil {
		return nil, m.err
	}
	for _, f := range m.funcs {
		if f.err == nil && len(f.open) > 0 {
			f.err = errUnclosed
		}
		if f.err != nil {
			return nil, fmt.Errorf("function %s: %w", f.name, f.err)
		}
	}
	out := []byte("\x00asm\x01\x00\x00\x00")
	b := appendUint(nil, uint64(len(m.sigs)))
	for _, s := range m.sigs {
		b = appendName(appendName(append(b, 0x60), s.params), s.results)
	}
	out = appendSection(out, secType, b)
	if len(m.imports) > 0 {
		b = appendUint(nil, uint64(len(m.imports)))
		for _, i := range m.imports {
			b = appendUint(append(appendName(appendName(b, i.module), i.name), kindFunc), uint64(i.sig))
		}
		out = appendSection(out, secImport, b)
	}
	b = appendUint(nil, uint64(len(m.funcs)))
	for _, f := range m.funcs {
		b = appendUint(b, uint64(f.sig))
	}
	out = appendSection(out, secFunction, b)
	if m.max > 0 {
		out = appendSection(out, secMemory, appendUint(appendUint([]byte{1, 1}, uint64(m.min)), uint64(m.max)))
	}
	if len(m.globals) > 0 {
		b = appendUint(nil, uint64(len(m.globals)))
		for _, g := range m.globals {
			mut, op := byte(0), byte(opI32Const)
			if g.mutable {
				mut = 1
			}
			if g.typ == I64 {
				op = opI64Const
			}
			b = append(appendInt(append(b, byte(g.typ), mut, op), g.init), opEnd)
		}
		out = appendSection(out, secGlobal, b)
	}
	if len(m.exports) > 0 {
		b = appendUint(nil, uint64(len(m.exports)))
		for _, e := range m.exports {
			b = appendUint(append(appendName(b, e.name), e.kind), uint64(e.index))
		}
		out = appendSection(out, secExport, b)
	}
	b = appendUint(nil, uint64(len(m.funcs)))
	for _, f := range m.funcs {
		body := f.encode()
		b = append(appendUint(b, uint64(len(body))), body...)
	}
	out = appendSection(out, secCode, b)
	if len(m.data) > 0 {
		b = appendUint(nil, uint64(len(m.data)))
		for _, s := range m.data {
			b = append(appendInt(append(b, 0, opI32Const), int64(int32(s.offset))), opEnd)
			b = append(appendUint(b, uint64(len(s.bytes))), s.bytes...)
		}
		out = appendSection(out, secData, b)
	}
	for _, c := range m.customs {
		out = appendSection(out, secCustom, append(appendName(nil, c.name), c.body...))
	}
	return appendSection(out, secCustom, m.nameSection()), nil
}

// nameSection makes the custom section "name" (core specification, appendix 7.4): module, functions, locals.
func (m *Builder) nameSection() []byte {
	out := appendName(nil, "name")
	if m.name != "" {
		out = appendSection(out, 0, appendName(nil, m.name))
	}
	fn := appendUint(nil, uint64(len(m.imports)+len(m.funcs)))
	for i, p := range m.imports {
		fn = appendName(appendUint(fn, uint64(i)), p.module+"."+p.name)
	}
	var locals []byte
	n := 0
	for _, f := range m.funcs {
		fn = appendName(appendUint(fn, uint64(f.index)), f.name)
		if list, k := f.nameMap(); k > 0 {
			locals = append(appendUint(appendUint(locals, uint64(f.index)), uint64(k)), list...)
			n++
		}
	}
	out = appendSection(out, 1, fn)
	if n > 0 {
		out = appendSection(out, 2, append(appendUint(nil, uint64(n)), locals...))
	}
	return out
}
