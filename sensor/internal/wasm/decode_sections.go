package wasm

import "fmt"

// constant is a constant expression: one instruction and its end, as raw bytes. fn is the function it refers to when
// isFunc, and then raw isn't used.
type constant struct {
	raw    []byte
	fn     uint32
	isFunc bool
}

// element is one element segment, kept in parts so that function indices can be renumbered.
type element struct {
	flags  uint32
	table  uint32
	offset constant
	elem   byte       // flags 5, 6, 7: the reference type
	funcs  []uint32   // flags 0 to 3
	exprs  []constant // flags 4 to 7
}

type data struct {
	flags  uint32
	memory uint32
	offset constant
	init   []byte
}

// body is the code of one function: local declarations and instructions.
type body struct {
	offset int    // of raw in the module
	raw    []byte // without its size
	code   int    // where the instructions start in raw
	locals uint32 // parameters and locals
	decls  []localDecl
}

type localDecl struct {
	n uint32
	t byte
}

func (m *Binary) decode(mod []byte) error {
	sawCode := false
	err := sections(mod, func(s section) error {
		c := &cursor{b: s.body, base: s.offset, section: sectionNames[s.id]}
		switch s.id {
		case secCustom:
			if len(m.Customs) == maxCustoms {
				c.fail(0, "more than %d custom sections", maxCustoms)
				return c.error()
			}
			name := c.name()
			if c.err == nil {
				m.Customs = append(m.Customs, Custom{name, c.b[c.p:]})
			}
			return c.error()
		case secType:
			m.decodeTypes(c)
		case secImport:
			m.decodeImports(c)
		case secFunction:
			for n := c.count("functions", maxFunctions); n > 0 && c.err == nil; n-- {
				m.Funcs = append(m.Funcs, c.index("type", len(m.Types)))
			}
		case secTable:
			for n := c.count("tables", maxTables); n > 0 && c.err == nil; n-- {
				m.Tables = append(m.Tables, c.table())
			}
		case secMemory:
			for n := c.count("memories", 1); n > 0 && c.err == nil; n-- {
				m.Memories = append(m.Memories, c.memory())
			}
			if c.err == nil && m.NumMemories() > 1 {
				c.fail(0, "more than one memory")
			}
		case secGlobal:
			for n := c.count("globals", maxGlobals); n > 0 && c.err == nil; n-- {
				t := c.global()
				// A global's initial value may name functions that come later: their count is known here.
				m.Globals = append(m.Globals, Own{t, c.constant(m)})
			}
		case secExport:
			m.decodeExports(c)
		case secStart:
			m.Start, m.HasStart = c.index("function", m.NumFuncs()), true
		case secElement:
			for n := c.count("element segments", maxSegments); n > 0 && c.err == nil; n-- {
				m.elems = append(m.elems, m.element(c))
			}
		case secDataCount:
			m.dataCount, m.hasCount = c.u32(), true
			if m.dataCount > maxSegments {
				c.fail(0, "%d data segments, the most is %d", m.dataCount, maxSegments)
			}
		case secCode:
			sawCode = true
			m.decodeBodies(c)
		case secData:
			for n := c.count("data segments", maxSegments); n > 0 && c.err == nil; n-- {
				m.datas = append(m.datas, m.data(c))
			}
		}
		return c.done()
	})
	if err != nil {
		return err
	}
	if !sawCode && len(m.Funcs) > 0 {
		return &FormatError{"code", len(mod), fmt.Sprintf("missing, with %d functions", len(m.Funcs))}
	}
	if m.hasCount && int(m.dataCount) != len(m.datas) {
		return &FormatError{"data count", len(mod), fmt.Sprintf("says %d and there are %d", m.dataCount, len(m.datas))}
	}
	return nil
}

func (m *Binary) decodeTypes(c *cursor) {
	for n := c.count("types", maxTypes); n > 0 && c.err == nil; n-- {
		at := c.p
		if f := c.byte(); c.err == nil && f != 0x60 {
			c.fail(at, "type form %#x isn't a function", f)
		}
		m.Types = append(m.Types, Signature{c.valTypes("parameters"), c.valTypes("results")})
	}
}

func (c *cursor) valTypes(what string) []byte {
	at, n := c.p, c.count(what, maxParams)
	b := c.take(uint32(n))
	for _, t := range b {
		if !isValType(t) {
			c.fail(at, "%#x isn't a value type", t)
		}
	}
	return b
}

func isValType(t byte) bool { return t >= typeV128 && t <= typeI32 || isRefType(t) }
func isRefType(t byte) bool { return t == typeFuncref || t == typeExtern }

func (c *cursor) valType() byte {
	at := c.p
	t := c.byte()
	if c.err == nil && !isValType(t) {
		c.fail(at, "%#x isn't a value type", t)
	}
	return t
}

func (c *cursor) refType() byte {
	at := c.p
	t := c.byte()
	if c.err == nil && !isRefType(t) {
		c.fail(at, "%#x isn't a reference type", t)
	}
	return t
}

func (c *cursor) extent(what string, most uint32) Extent {
	at := c.p
	var e Extent
	switch f := c.byte(); f {
	case 0:
		e.Min = c.u32()
	case 1:
		e.Min, e.Max, e.HasMax = c.u32(), c.u32(), true
	case 2, 3:
		c.fail(at, "shared %s: threads aren't supported", what)
	default:
		c.fail(at, "%s limits of kind %#x aren't supported", what, f)
	}
	if c.err == nil && (e.Min > most || e.HasMax && e.Max < e.Min) {
		c.fail(at, "%s of %d to %d", what, e.Min, e.Max)
	}
	return e
}

func (c *cursor) table() TableType {
	t := TableType{Elem: c.refType()}
	t.Extent = c.extent("table", maxElements)
	return t
}

func (c *cursor) memory() Extent {
	at := c.p
	e := c.extent("memory", 1<<16)
	if c.err == nil && e.Max > 1<<16 {
		c.fail(at, "memory of up to %d pages, the most is %d", e.Max, 1<<16)
	}
	return e
}

func (c *cursor) global() GlobalType {
	t := GlobalType{Val: c.valType()}
	at := c.p
	switch f := c.byte(); f {
	case 0, 1:
		t.Mutable = f == 1
	default:
		c.fail(at, "global mutability %#x", f)
	}
	return t
}

func (m *Binary) decodeImports(c *cursor) {
	for n := c.count("imports", maxImports); n > 0 && c.err == nil; n-- {
		im := Imported{Module: c.name(), Name: c.name()}
		at := c.p
		im.Kind = Kind(c.byte())
		switch im.Kind {
		case KindFunc:
			im.Type = c.index("type", len(m.Types))
			m.importedFn = append(m.importedFn, im.Type)
		case KindTable:
			im.Table = c.table()
			m.importedTb = append(m.importedTb, im.Table)
		case KindMemory:
			im.Memory = c.memory()
		case KindGlobal:
			im.Global = c.global()
			m.importedGl = append(m.importedGl, im.Global)
		default:
			c.fail(at, "import %s.%s of unknown kind %#x", quote(im.Module), quote(im.Name), byte(im.Kind))
		}
		if c.err == nil {
			m.Imports = append(m.Imports, im)
			m.imported[im.Kind]++
		}
	}
}

func (m *Binary) decodeExports(c *cursor) {
	n := c.count("exports", maxExports)
	seen := make(map[string]struct{}, n)
	for ; n > 0 && c.err == nil; n-- {
		at := c.p
		e := Exported{Name: c.name(), Kind: Kind(c.byte())}
		switch e.Kind {
		case KindFunc:
			e.Index = c.index("function", m.NumFuncs())
		case KindTable:
			e.Index = c.index("table", m.NumTables())
		case KindMemory:
			e.Index = c.index("memory", m.NumMemories())
		case KindGlobal:
			e.Index = c.index("global", m.NumGlobals())
		default:
			c.fail(at, "export %s of unknown kind %#x", quote(e.Name), byte(e.Kind))
		}
		if _, ok := seen[e.Name]; ok {
			c.fail(at, "second export %s", quote(e.Name))
		}
		seen[e.Name] = struct{}{}
		m.Exports = append(m.Exports, e)
	}
}

// constant reads a constant expression of one instruction.
func (c *cursor) constant(m *Binary) constant {
	at := c.p
	var k constant
	switch op := c.byte(); op {
	case 0x41:
		c.signed(32)
	case 0x42:
		c.signed(64)
	case 0x43:
		c.take(4)
	case 0x44:
		c.take(8)
	case 0x23:
		c.index("global", m.NumGlobals())
	case 0xd0:
		c.refType()
	case 0xd2:
		k.fn, k.isFunc = c.index("function", m.NumFuncs()), true
	case 0xfd:
		if sub := c.u32(); sub != 12 {
			c.fail(at, "instruction 0xfd %d in a constant expression", sub)
		}
		c.take(16)
	default:
		c.fail(at, "instruction %#x in a constant expression", op)
	}
	if end := c.byte(); c.err == nil && end != 0x0b {
		c.fail(c.p-1, "a constant expression has one instruction")
	}
	if c.err == nil {
		k.raw = c.b[at:c.p]
	}
	return k
}

func (m *Binary) element(c *cursor) element {
	at := c.p
	e := element{flags: c.u32()}
	if e.flags > 7 {
		c.fail(at, "element segment of unknown kind %d", e.flags)
		return e
	}
	passive := e.flags&1 != 0 // or declarative
	if !passive {
		if e.flags&2 != 0 {
			e.table = c.index("table", m.NumTables())
		} else if c.err == nil && m.NumTables() == 0 {
			c.fail(at, "element segment without a table")
		}
		e.offset = c.constant(m)
	}
	if e.flags&4 == 0 {
		if e.flags&3 != 0 {
			at := c.p
			if k := c.byte(); c.err == nil && k != 0 {
				c.fail(at, "element kind %#x", k)
			}
		}
		for n := c.count("elements", maxElements); n > 0 && c.err == nil; n-- {
			e.funcs = append(e.funcs, c.index("function", m.NumFuncs()))
		}
		return e
	}
	e.elem = typeFuncref
	if e.flags&3 != 0 {
		e.elem = c.refType()
	}
	for n := c.count("elements", maxElements); n > 0 && c.err == nil; n-- {
		e.exprs = append(e.exprs, c.constant(m))
	}
	return e
}

func (m *Binary) data(c *cursor) data {
	at := c.p
	d := data{flags: c.u32()}
	switch d.flags {
	case 0, 2:
		if d.flags == 2 {
			d.memory = c.u32()
		}
		if c.err == nil && int(d.memory) >= m.NumMemories() {
			c.fail(at, "data segment for memory %d of %d", d.memory, m.NumMemories())
		}
		d.offset = c.constant(m)
	case 1:
	default:
		c.fail(at, "data segment of unknown kind %d", d.flags)
	}
	d.init = c.take(c.u32())
	return d
}

func (m *Binary) decodeBodies(c *cursor) {
	n := c.count("functions", maxFunctions)
	if c.err == nil && n != len(m.Funcs) {
		c.fail(0, "%d bodies for %d functions", n, len(m.Funcs))
	}
	m.bodies = make([]body, 0, n)
	ck := bodyCheck{m: m}
	for i := 0; i < n && c.err == nil; i++ {
		at := c.p
		size := c.u32()
		if c.err == nil && size > maxBody {
			c.fail(at, "function %d has %d bytes, the most is %d", m.imported[KindFunc]+i, size, maxBody)
		}
		raw := c.take(size)
		b := body{offset: c.base + c.p - len(raw), raw: raw}
		if c.err == nil {
			c.err = ck.check(&b, m.Types[m.Funcs[i]])
		}
		m.bodies = append(m.bodies, b)
	}
}
