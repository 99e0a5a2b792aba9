package wasm

import (
	"fmt"
	"unicode/utf8"
)

// The bounds of what Decode takes, far above what toolchains make and small enough that decoding, analysing and
// compiling a module stays bounded in memory and time.
const (
	MaxModule    = 64 << 20 // bytes of a module
	maxTypes     = 50_000
	maxImports   = 1_000
	maxFunctions = 200_000
	maxTables    = 16
	maxGlobals   = 50_000
	maxExports   = 50_000
	maxSegments  = 100_000 // element segments, data segments
	maxElements  = 1 << 20 // entries of one table or element segment
	maxParams    = 255     // and results
	maxLocals    = 10_000  // of one function, its parameters included
	maxBody      = 4 << 20 // bytes of one function
	maxNesting   = 10_000  // blocks inside one another
	maxTargets   = 65_520  // labels of one br_table
	maxName      = 4 << 10 // bytes of an import's or export's name
	maxCustoms   = 1_000

	// A compiler's work on one function can grow with locals × labels: it may pass every local to every block.
	maxLocalLabels = 1 << 26
)

// FormatError says where a module is malformed.
type FormatError struct {
	Section string // "code", "type" …; "module" for the header and the order of sections
	Offset  int    // bytes from the module's start
	Msg     string
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("wasm: %s section at offset %#x: %s", e.Section, e.Offset, e.Msg)
}

// The ids of sections that only the reader knows (core specification 2.0, §5.5.2).
const (
	secTable     = 4
	secStart     = 8
	secElement   = 9
	secDataCount = 12
)

var sectionNames = [...]string{"custom", "type", "import", "function", "table", "memory", "global", "export", "start",
	"element", "code", "data", "data count"}

// sectionOrder ranks the sections: the data count stands before the code.
var sectionOrder = [...]uint8{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 10}

// Kind is what an import or export refers to.
type Kind byte

// The kinds of imports and exports, with the binary format's values.
const (
	KindFunc Kind = iota
	KindTable
	KindMemory
	KindGlobal
)

// String returns the kind's name in the text format.
func (k Kind) String() string {
	switch k {
	case KindFunc:
		return "func"
	case KindTable:
		return "table"
	case KindMemory:
		return "memory"
	case KindGlobal:
		return "global"
	}
	return "unknown"
}

// The value types' bytes.
const (
	typeI32     = 0x7f
	typeI64     = 0x7e
	typeF32     = 0x7d
	typeF64     = 0x7c
	typeV128    = 0x7b
	typeFuncref = 0x70
	typeExtern  = 0x6f
)

// Signature is a function type: value types as the binary format's bytes.
type Signature struct {
	Params, Results []byte
}

// String writes s in the text format: "(i32 i64) -> (i32)".
func (s Signature) String() string {
	list := func(b []byte) string {
		out := "("
		for i, t := range b {
			if i > 0 {
				out += " "
			}
			out += typeName(t)
		}
		return out + ")"
	}
	return list(s.Params) + " -> " + list(s.Results)
}

func typeName(t byte) string {
	switch t {
	case typeI32:
		return "i32"
	case typeI64:
		return "i64"
	case typeF32:
		return "f32"
	case typeF64:
		return "f64"
	case typeV128:
		return "v128"
	case typeFuncref:
		return "funcref"
	case typeExtern:
		return "externref"
	}
	return fmt.Sprintf("type %#x", t)
}

// Extent is the size of a memory in pages of 64 KiB, or of a table in entries.
type Extent struct {
	Min, Max uint32
	HasMax   bool
}

// TableType is a table's element type and size.
type TableType struct {
	Elem byte
	Extent
}

// GlobalType is a global's value type and whether it can change.
type GlobalType struct {
	Val     byte
	Mutable bool
}

// Imported is one import.
type Imported struct {
	Module, Name string
	Kind         Kind
	Type         uint32 // KindFunc: index into Types
	Table        TableType
	Memory       Extent
	Global       GlobalType
}

// Exported is one export.
type Exported struct {
	Name  string
	Kind  Kind
	Index uint32
}

// Own is a global that the module defines, with its initial value as an expression.
type Own struct {
	GlobalType
	init constant
}

// Custom is one custom section.
type Custom struct {
	Name string
	Data []byte
}

// Binary is a decoded module. Index spaces start with the imports, as in the format. Its byte slices are views of the
// bytes it was decoded from. It is read-only, so safe for concurrent use.
type Binary struct {
	Types      []Signature
	Imports    []Imported
	Funcs      []uint32 // type index of each own function
	Tables     []TableType
	Memories   []Extent
	Globals    []Own
	Exports    []Exported
	Start      uint32
	HasStart   bool
	Customs    []Custom
	elems      []element
	bodies     []body
	datas      []data
	dataCount  uint32
	hasCount   bool
	imported   [4]int // imports by kind
	importedFn []uint32
	importedGl []GlobalType
	importedTb []TableType
}

// NumFuncs returns how many functions there are, imports included.
func (m *Binary) NumFuncs() int { return m.imported[KindFunc] + len(m.Funcs) }

// NumGlobals returns how many globals there are, imports included.
func (m *Binary) NumGlobals() int { return m.imported[KindGlobal] + len(m.Globals) }

// NumTables returns how many tables there are, imports included.
func (m *Binary) NumTables() int { return m.imported[KindTable] + len(m.Tables) }

// NumMemories returns how many memories there are, imports included.
func (m *Binary) NumMemories() int { return m.imported[KindMemory] + len(m.Memories) }

// Signature returns the type of function i, imports included; i must be less than NumFuncs.
func (m *Binary) Signature(i uint32) Signature {
	if n := uint32(m.imported[KindFunc]); i >= n {
		return m.Types[m.Funcs[i-n]]
	}
	return m.Types[m.importedFn[i]]
}

// Global returns the type of global i, imports included; i must be less than NumGlobals.
func (m *Binary) Global(i uint32) GlobalType {
	if n := uint32(m.imported[KindGlobal]); i >= n {
		return m.Globals[i-n].GlobalType
	}
	return m.importedGl[i]
}

// Export returns the export called name.
func (m *Binary) Export(name string) (Exported, bool) {
	for _, e := range m.Exports {
		if e.Name == name {
			return e, true
		}
	}
	return Exported{}, false
}

// Custom returns the data of the custom section called name; false when there is none.
func (m *Binary) Custom(name string) ([]byte, bool) {
	for _, c := range m.Customs {
		if c.Name == name {
			return c.Data, true
		}
	}
	return nil, false
}

type section struct {
	id     byte
	offset int // of the body
	body   []byte
}

// Decode reads a module strictly: core 2.0 without threads, tail calls, exceptions, multiple memories and 64-bit memory.
// Every index is checked against the module's own counts, every body's blocks are checked to nest; types of operands
// are not checked. An error is a *FormatError. mod must not change while the result is in use.
func Decode(mod []byte) (*Binary, error) {
	m := &Binary{}
	if err := m.decode(mod); err != nil {
		return nil, err
	}
	return m, nil
}

// CustomSection returns the data of the custom section called name as a view into mod, reading only the headers of the
// other sections; false when there is none. Two sections of that name are an error.
func CustomSection(mod []byte, name string) ([]byte, bool, error) {
	var out []byte
	found := false
	err := sections(mod, func(s section) error {
		if s.id != secCustom {
			return nil
		}
		c := cursor{b: s.body, base: s.offset, section: "custom"}
		n := c.name()
		if c.err != nil || n != name {
			return c.error()
		}
		if found {
			return &FormatError{"custom", s.offset, "second section " + quote(name)}
		}
		out, found = c.b[c.p:], true
		return nil
	})
	if err != nil {
		return nil, false, err
	}
	return out, found, nil
}

// sections calls fn with every section in turn, after checking the header, the sections' sizes and their order.
func sections(mod []byte, fn func(section) error) error {
	if len(mod) > MaxModule {
		return &FormatError{"module", 0, fmt.Sprintf("%d bytes, the most is %d", len(mod), MaxModule)}
	}
	if len(mod) < 8 || string(mod[:4]) != "\x00asm" {
		return &FormatError{"module", 0, "not a WebAssembly module"}
	}
	if string(mod[4:8]) != "\x01\x00\x00\x00" {
		return &FormatError{"module", 4, fmt.Sprintf("version % x isn't 1 of the core format", mod[4:8])}
	}
	c := cursor{b: mod, p: 8, section: "module"}
	var last uint8
	for c.p < len(mod) {
		at := c.p
		id := c.byte()
		n := c.u32()
		body := c.take(n)
		if c.err != nil {
			return c.error()
		}
		if int(id) >= len(sectionNames) {
			return &FormatError{"module", at, fmt.Sprintf("unknown section %d", id)}
		}
		if id != secCustom {
			if sectionOrder[id] <= last {
				return &FormatError{"module", at, sectionNames[id] + " section is out of order or doubled"}
			}
			last = sectionOrder[id]
		}
		if err := fn(section{id, c.p - len(body), body}); err != nil {
			return err
		}
	}
	return nil
}

// cursor reads from b. After the first error it returns zeros and moves no further.
type cursor struct {
	b       []byte
	p       int
	base    int // offset of b in the module
	section string
	err     *FormatError
}

// error returns the first error as an interface that is nil without one.
func (c *cursor) error() error {
	if c.err == nil {
		return nil
	}
	return c.err
}

func (c *cursor) fail(at int, format string, args ...any) {
	if c.err == nil {
		c.err = &FormatError{c.section, c.base + at, fmt.Sprintf(format, args...)}
	}
}

func (c *cursor) done() error {
	if c.err == nil && c.p != len(c.b) {
		c.fail(c.p, "%d bytes too many", len(c.b)-c.p)
	}
	return c.error()
}

func (c *cursor) byte() byte {
	if c.err != nil {
		return 0
	}
	if c.p >= len(c.b) {
		c.fail(c.p, "unexpected end")
		return 0
	}
	c.p++
	return c.b[c.p-1]
}

func (c *cursor) take(n uint32) []byte {
	if c.err != nil {
		return nil
	}
	if uint64(n) > uint64(len(c.b)-c.p) {
		c.fail(c.p, "%d bytes announced, %d left", n, len(c.b)-c.p)
		return nil
	}
	b := c.b[c.p : c.p+int(n) : c.p+int(n)]
	c.p += int(n)
	return b
}

func (c *cursor) u32() uint32 {
	if c.err == nil && c.p < len(c.b) && c.b[c.p] < 0x80 { // nearly all are short
		c.p++
		return uint32(c.b[c.p-1])
	}
	var v uint32
	at := c.p
	for s := 0; s < 35; s += 7 {
		x := c.byte()
		if s == 28 && x > 0x0f {
			break
		}
		v |= uint32(x&0x7f) << s
		if x < 0x80 {
			return v
		}
	}
	c.fail(at, "integer has more than 32 bits")
	return 0
}

// signed reads a signed integer of bits bits (32, 33 or 64).
func (c *cursor) signed(bits int) int64 {
	var v int64
	at := c.p
	for s := 0; s < bits; s += 7 {
		x := c.byte()
		if left := bits - s; left < 7 {
			// The unused bits of the last byte must all equal the sign.
			if top := x & 0x7f >> (left - 1); x >= 0x80 || top != 0 && top != 0x7f>>(left-1) {
				break
			}
		}
		v |= int64(x&0x7f) << s
		if x < 0x80 {
			if s+7 < 64 && x&0x40 != 0 {
				v |= -1 << (s + 7)
			}
			return v
		}
	}
	c.fail(at, "integer has more than %d bits", bits)
	return 0
}

// count reads the length of a vector whose items have at least one byte each.
func (c *cursor) count(what string, most uint32) int {
	at := c.p
	n := c.u32()
	if c.err == nil && n > most {
		c.fail(at, "%d %s, the most is %d", n, what, most)
	}
	if c.err == nil && uint64(n) > uint64(len(c.b)-c.p) {
		c.fail(at, "%d %s announced in %d bytes", n, what, len(c.b)-c.p)
	}
	if c.err != nil {
		return 0
	}
	return int(n)
}

func (c *cursor) name() string {
	at := c.p
	n := c.u32()
	if c.err == nil && n > maxName {
		c.fail(at, "name of %d bytes, the most is %d", n, maxName)
	}
	b := c.take(n)
	if c.err == nil && !utf8.Valid(b) {
		c.fail(at, "name isn't UTF-8")
	}
	return string(b)
}

func (c *cursor) index(what string, n int) uint32 {
	at := c.p
	i := c.u32()
	if c.err == nil && uint64(i) >= uint64(n) {
		c.fail(at, "%s %d of %d", what, i, n)
		return 0
	}
	return i
}

func quote(s string) string {
	if len(s) > 64 {
		s = s[:64] + "…"
	}
	return fmt.Sprintf("%q", s)
}
