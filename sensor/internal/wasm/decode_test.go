package wasm

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/shikra-sensor/shikra/sensor/internal/testkit"
)

const header = "\x00asm\x01\x00\x00\x00"

// mod puts sections together: id, then the body.
func mod(parts ...string) []byte {
	out := []byte(header)
	for _, p := range parts {
		out = appendSection(out, p[0], []byte(p[1:]))
	}
	return out
}

func vec(items ...string) string {
	return string(appendUint(nil, uint64(len(items)))) + strings.Join(items, "")
}

func sized(s string) string { return string(appendName(nil, s)) }

// fn is a module with one function () -> () of that code, with sections between the function's and the code.
func fn(code string, between ...string) []byte {
	parts := append([]string{"\x01" + vec("\x60\x00\x00"), "\x03" + vec("\x00")}, between...)
	parts = append(parts, "\x0a"+vec(sized(code)))
	return mod(parts...)
}

// TestMalformed: each error names the section and the offset of the byte at fault.
func TestMalformed(t *testing.T) {
	deep := strings.Repeat("\x02\x40", maxNesting+1)
	for _, c := range []struct {
		name, want string
		mod        []byte
	}{
		{"empty", "module section at offset 0x0: not a WebAssembly module", nil},
		{"text", "module section at offset 0x0: not a WebAssembly module", []byte("(module)  ")},
		{"component", "module section at offset 0x4: version 0d 00 01 00", []byte("\x00asm\x0d\x00\x01\x00")},
		{"cut header", "module section at offset 0x9: unexpected end", []byte(header + "\x01")},
		{"section too long", "module section at offset 0xa: 5 bytes announced, 1 left", []byte(header + "\x01\x05\x00")},
		{"unknown section", "module section at offset 0x8: unknown section 14", mod("\x0e")},
		{"tag section", "module section at offset 0x8: unknown section 13", mod("\x0d")},
		{"order", "module section at offset 0xb: type section is out of order", mod("\x03\x00", "\x01\x00")},
		{"twice", "module section at offset 0xb: type section is out of order or doubled", mod("\x01\x00", "\x01\x00")},
		{"left over", "type section at offset 0xb: 1 bytes too many", mod("\x01\x00\x00")},
		{"size of 6 bytes", "module section at offset 0x9: integer has more than 32 bits", []byte(header + "\x01\x80\x80\x80\x80\x80\x01")},
		{"size of 33 bits", "module section at offset 0x9: integer has more than 32 bits", []byte(header + "\x01\xff\xff\xff\xff\x1f")},
		{"type form", "type section at offset 0xb: type form 0x5f", mod("\x01\x01\x5f\x00\x00")},
		{"value type", "type section at offset 0xd: 0x7a isn't a value type", mod("\x01\x01\x60\x01\x7a\x00")},
		{"many types", "type section at offset 0xa: 60000 types, the most is 50000", mod("\x01\xe0\xd4\x03")},
		{"types in no bytes", "type section at offset 0xa: 1000 types announced in 0 bytes", mod("\x01\xe8\x07")},
		{"import name", "import section at offset 0xb: name isn't UTF-8", mod("\x02" + vec("\x01\xff\x00\x00\x00"))},
		{"import kind", "import section at offset 0xf: import \"a\".\"b\" of unknown kind 0x5", mod("\x02" + vec("\x01a\x01b\x05"))},
		{"import type", "import section at offset 0x10: type 0 of 0", mod("\x02" + vec("\x01a\x01b\x00\x00"))},
		{"function type", "function section at offset 0xb: type 3 of 0", mod("\x03" + vec("\x03"))},
		{"table type", "table section at offset 0xb: 0x7f isn't a reference type", mod("\x04" + vec("\x7f\x00\x00"))},
		{"table size", "table section at offset 0xc: table of 2097152 to 0", mod("\x04" + vec("\x70\x00\x80\x80\x80\x01"))},
		{"two memories", "memory section at offset 0xa: 2 memories, the most is 1", mod("\x05" + vec("\x00\x01", "\x00\x01"))},
		{"imported and own memory", "memory section at offset 0x14: more than one memory", mod("\x02"+vec("\x01a\x01b\x02\x00\x01"), "\x05"+vec("\x00\x01"))},
		{"shared memory", "memory section at offset 0xb: shared memory: threads", mod("\x05" + vec("\x03\x01\x01"))},
		{"64-bit memory", "memory section at offset 0xb: memory limits of kind 0x4", mod("\x05" + vec("\x04\x01"))},
		{"memory over 4 GiB", "memory section at offset 0xb: memory of 65537 to 0", mod("\x05" + vec("\x00\x81\x80\x04"))},
		{"memory shrinks", "memory section at offset 0xb: memory of 2 to 1", mod("\x05" + vec("\x01\x02\x01"))},
		{"global mutability", "global section at offset 0xc: global mutability 0x2", mod("\x06" + vec("\x7f\x02\x41\x00\x0b"))},
		{"global init", "global section at offset 0xd: instruction 0x20 in a constant expression", mod("\x06" + vec("\x7f\x00\x20\x00\x0b"))},
		{"global init too long", "global section at offset 0xf: a constant expression has one instruction", mod("\x06" + vec("\x7f\x00\x41\x00\x41\x00\x0b"))},
		{"global init of later global", "global section at offset 0xe: global 0 of 0", mod("\x06" + vec("\x7f\x00\x23\x00\x0b"))},
		{"export index", "export section at offset 0xe: function 0 of 0", mod("\x07" + vec("\x01a\x00\x00"))},
		{"export kind", "export section at offset 0xb: export \"a\" of unknown kind 0x9", mod("\x07" + vec("\x01a\x09\x00"))},
		{"export twice", "export section at offset 0x14: second export \"a\"", mod("\x05"+vec("\x00\x01"), "\x07"+vec("\x01a\x02\x00", "\x01a\x02\x00"))},
		{"start", "start section at offset 0xa: function 7 of 0", mod("\x08\x07")},
		{"element kind", "element section at offset 0xb: element segment of unknown kind 8", mod("\x09" + vec("\x08"))},
		{"element without table", "element section at offset 0xb: element segment without a table", mod("\x09" + vec("\x00\x41\x00\x0b\x00"))},
		{"element function", "element section at offset 0x16: function 4 of 0", mod("\x04"+vec("\x70\x00\x01"), "\x09"+vec("\x00\x41\x00\x0b\x01\x04"))},
		{"data without memory", "data section at offset 0xb: data segment for memory 0 of 0", mod("\x0b" + vec("\x00\x41\x00\x0b\x00"))},
		{"data kind", "data section at offset 0xb: data segment of unknown kind 3", mod("\x0b" + vec("\x03"))},
		{"data count", "data count section at offset 0x11: says 2 and there are 1", mod("\x0c\x02", "\x0b"+vec("\x01\x01x"))},
		{"no code", "code section at offset 0x12: missing, with 1 functions", mod("\x01"+vec("\x60\x00\x00"), "\x03"+vec("\x00"))},
		{"code without functions", "code section at offset 0xa: 1 bodies for 0 functions", mod("\x0a" + vec("\x02\x00\x0b"))},
		{"body cut", "code section at offset 0x16: 9 bytes announced, 1 left", mod("\x01"+vec("\x60\x00\x00"), "\x03"+vec("\x00"), "\x0a\x01\x09\x00")},
		{"no end", "code section at offset 0x17: unexpected end", fn("\x00")},
		{"after the end", "code section at offset 0x18: 1 bytes after the function's end", fn("\x00\x0b\x01")},
		{"end too often", "code section at offset 0x18: 1 bytes after", fn("\x00\x0b\x0b")},
		{"open block", "code section at offset 0x1a: unexpected end", fn("\x00\x02\x40\x0b")},
		{"else without if", "code section at offset 0x19: else without if", fn("\x00\x02\x40\x05\x0b\x0b")},
		{"second else", "code section at offset 0x1c: else without if", fn("\x00\x41\x00\x04\x40\x05\x05\x0b\x0b")},
		{"label", "code section at offset 0x17: label 1 of 1", fn("\x00\x0c\x01\x0b")},
		{"label in a table", "code section at offset 0x19: label 5 of 1", fn("\x00\x41\x00\x0e\x01\x00\x05\x0b")},
		{"labels in no bytes", "code section at offset 0x1a: 100 labels announced in 1 bytes", fn("\x00\x41\x00\x0e\x64\x0b")},
		{"local", "code section at offset 0x17: local 0 of 0", fn("\x00\x20\x00\x1a\x0b")},
		{"many locals", "code section at offset 0x17: 10001 locals", fn("\x01\x91\xce\x00\x7f\x0b")},
		{"locals overflow", "code section at offset 0x19: 4294967296 locals", fn("\x02\x01\x7f\xff\xff\xff\xff\x0f\x7f\x0b"[:10])},
		{"global", "code section at offset 0x17: global 0 of 0", fn("\x00\x23\x00\x1a\x0b")},
		{"function", "code section at offset 0x17: function 1 of 1", fn("\x00\x10\x01\x0b")},
		{"ref.func", "code section at offset 0x17: function 9 of 1", fn("\x00\xd2\x09\x1a\x0b")},
		{"indirect type", "code section at offset 0x1f: type 1 of 1", fn("\x00\x41\x00\x11\x01\x00\x0b", "\x04"+vec("\x70\x00\x01"))},
		{"block type", "code section at offset 0x17: block of type 1 of 1", fn("\x00\x02\x01\x0b\x0b")},
		{"block type of no kind", "code section at offset 0x18: block type -6", fn("\x00\x02\x7a\x0b\x0b")},
		{"block type in two bytes", "code section at offset 0x18: block type -64", fn("\x00\x02\xc0\x7f\x0b\x0b")},
		{"load without memory", "code section at offset 0x19: memory 0 of 0", fn("\x00\x41\x00\x28\x02\x00\x1a\x0b")},
		{"alignment", "code section at offset 0x1e: alignment 2^33", fn("\x00\x41\x00\x28\x21\x00\x1a\x0b", "\x05"+vec("\x00\x01"))},
		{"memory.init without count", "data segment 0 of 0", fn("\x00\x41\x00\x41\x00\x41\x00\xfc\x08\x00\x00\x0b", "\x05"+vec("\x00\x01"))},
		{"constant of 33 bits", "code section at offset 0x18: integer has more than 32 bits", fn("\x00\x41\xff\xff\xff\xff\x0f\x1a\x0b")},
		{"constant of 65 bits", "integer has more than 64 bits", fn("\x00\x42\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x1a\x0b")},
		{"select of two types", "code section at offset 0x17: select with 2 types", fn("\x00\x1c\x02\x7f\x7f\x0b")},
		{"tail call", "code section at offset 0x17: tail calls aren't supported (instruction 0x12)", fn("\x00\x12\x00\x0b")},
		{"atomics", "code section at offset 0x17: threads aren't supported (instruction 0xfe)", fn("\x00\xfe\x03\x00\x0b")},
		{"exceptions", "code section at offset 0x17: exceptions aren't supported (instruction 0x6)", fn("\x00\x06\x40\x0b\x0b")},
		{"unknown instruction", "code section at offset 0x17: unknown instruction 0x27", fn("\x00\x27\x0b")},
		{"unknown after fc", "code section at offset 0x17: unknown instruction fc 12", fn("\x00\xfc\x12\x0b")},
		{"relaxed vectors", "code section at offset 0x17: unknown instruction fd 80 02", fn("\x00\xfd\x80\x02\x0b")},
		{"hole in the vectors", "code section at offset 0x17: unknown instruction fd 9a 01", fn("\x00\xfd\x9a\x01\x0b")},
		{"nesting", "more than 10000 blocks inside one another", fn("\x00" + deep)},
		{"locals and blocks", "10000 locals and more than 6711 blocks in one function", fn("\x01\x90\xce\x00\x7f" + strings.Repeat("\x02\x40\x0b", 7000) + "\x0b")},
		{"custom without name", "custom section at offset 0xa: unexpected end", mod("\x00")},
	} {
		m, err := Decode(c.mod)
		var f *FormatError
		if m != nil || !errors.As(err, &f) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Decode() = %v\nwant %s", c.name, err, c.want)
		}
		if out, err := Instrument(c.mod, Limits{}); out != nil || err == nil {
			t.Errorf("%s: Instrument took it", c.name)
		}
	}
}

func TestDecode(t *testing.T) {
	code, err := os.ReadFile("testdata/features.wasm")
	if err != nil {
		t.Fatal(err)
	}
	m, err := Decode(code)
	if err != nil {
		t.Fatal(err)
	}
	if m.NumFuncs() != 35 || m.NumGlobals() != 2 || m.NumTables() != 3 || m.NumMemories() != 1 || len(m.Exports) != 25 || !m.HasStart {
		t.Errorf("%d functions, %d globals, %d tables, %d memories, %d exports, start %v", m.NumFuncs(), m.NumGlobals(),
			m.NumTables(), m.NumMemories(), len(m.Exports), m.HasStart)
	}
	if im := m.Imports[0]; im.Module != "shikra_v1" || im.Name != "alert" || m.Types[im.Type].String() != "(i32 i32) -> ()" {
		t.Errorf("import %+v", im)
	}
	e, ok := m.Export("fib")
	if !ok || e.Kind != KindFunc || m.Signature(e.Index).String() != "(i32) -> (i32)" {
		t.Errorf("export fib: %+v", e)
	}
	if _, ok := m.Export("nothing"); ok {
		t.Error("found an export that isn't there")
	}
	if g := m.Global(0); g.Val != byte(I32) || !g.Mutable {
		t.Errorf("global 0: %+v", g)
	}
	if b, ok := m.Custom("name"); !ok || len(b) == 0 {
		t.Error("no name section")
	}
	if mem := m.Memories[0]; mem.Min != 2 || mem.Max != 4 || !mem.HasMax {
		t.Errorf("memory %+v", mem)
	}
}

func TestCustomSection(t *testing.T) {
	code := mod("\x00\x01abc", "\x01\x00", "\x00\x03fooBAR", "\x0a\xff\xff\xff") // the code isn't read
	for _, c := range []struct {
		name, want string
		ok         bool
	}{{"a", "bc", true}, {"foo", "BAR", true}, {"fo", "", false}, {"", "", false}} {
		b, ok, err := CustomSection(code, c.name)
		if string(b) != c.want || ok != c.ok || err != nil {
			t.Errorf("CustomSection(%q) = %q, %v, %v", c.name, b, ok, err)
		}
	}
	if _, _, err := CustomSection(mod("\x00\x01a", "\x00\x01a"), "a"); err == nil || !strings.Contains(err.Error(), "second section") {
		t.Errorf("two sections of one name: %v", err)
	}
	if _, _, err := CustomSection(code[:len(code)-1], "a"); err == nil {
		t.Error("a cut module was taken")
	}
}

// TestSignedIntegers: the reader takes what appendInt writes, and no more than the bits it was asked for.
func TestSignedIntegers(t *testing.T) {
	for _, v := range []int64{0, 1, -1, 63, 64, -64, -65, 1 << 30, -1 << 31, 1<<31 - 1, 1 << 31, 1<<32 - 1, -1 << 32, 1 << 62, -1 << 63, 1<<63 - 1} {
		for _, bits := range []int{32, 33, 64} {
			c := cursor{b: appendInt(nil, v)}
			got := c.signed(bits)
			fits := v<<(64-bits)>>(64-bits) == v
			if fits != (c.err == nil) || fits && (got != v || c.p != len(c.b)) {
				t.Errorf("signed(%d) of %d = %d, %v", bits, v, got, c.err)
			}
		}
	}
}

// TestTestdata: the committed binaries are what wat2wasm makes of the texts.
func TestTestdata(t *testing.T) {
	tool, err := exec.LookPath("wat2wasm")
	if err != nil {
		testkit.Missing(t, "wat2wasm isn't installed: the committed binaries are tested as they are")
	}
	out := t.TempDir() + "/out.wasm"
	if b, err := exec.Command(tool, "--debug-names", "testdata/features.wat", "-o", out).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	want, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	have, err := os.ReadFile("testdata/features.wasm")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, have) {
		t.Error("testdata/features.wasm is old: wat2wasm --debug-names testdata/features.wat -o testdata/features.wasm")
	}
}

func FuzzDecode(f *testing.F) {
	if b, err := os.ReadFile("testdata/features.wasm"); err == nil {
		f.Add(b)
	}
	f.Add(fn("\x00\x0b"))
	f.Add(mod("\x00\x01a"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Decode(b)
		if (m == nil) != (err != nil) {
			t.Fatalf("%v, %v", m, err)
		}
		var fe *FormatError
		if err != nil && (!errors.As(err, &fe) || fe.Offset < 0 || fe.Offset > len(b)) {
			t.Fatalf("%#v", err)
		}
		if _, ok, err := CustomSection(b, "name"); ok && err != nil {
			t.Fatal("found and failed")
		}
		if m == nil {
			return
		}
		out, err := m.Instrument(Limits{})
		if (out == nil) != (err != nil) {
			t.Fatalf("%v, %v", out, err)
		}
		if err != nil {
			return
		}
		again, err := Decode(out.Bytes)
		if err != nil {
			t.Fatalf("what Instrument wrote: %v", err)
		}
		if again.NumFuncs() <= m.NumFuncs()+1 || again.NumGlobals() != m.NumGlobals()+2 || len(again.Exports) != len(m.Exports) {
			t.Fatalf("%d functions of %d, %d globals of %d", again.NumFuncs(), m.NumFuncs(), again.NumGlobals(), m.NumGlobals())
		}
	})
}
