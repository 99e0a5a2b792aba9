package wasm

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/shikra-sensor/shikra/sensor/internal/testkit"
)

// accept has wabt look at a module; in CI wabt must be there.
func accept(t *testing.T, code []byte) {
	t.Helper()
	path, err := exec.LookPath("wasm-validate")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("wasm-validate is not installed")
		}
		testkit.Missing(t, "wasm-validate is not installed: apt-get install wabt")
	}
	cmd := exec.Command(path, "-")
	cmd.Stdin = bytes.NewReader(code)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("wasm-validate: %v\n%s", err, out)
	}
}

func encode(t *testing.T, m *Builder) []byte {
	t.Helper()
	code, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	accept(t, code)
	if _, err := Decode(code); err != nil {
		t.Fatalf("our own decoder: %v", err)
	}
	return code
}

// TestEncodeBytes holds the bytes of a small module, section by section.
func TestEncodeBytes(t *testing.T) {
	m := NewBuilder("m")
	m.Import("e", "f", []ValType{I32}, nil)
	g := m.Global("g", I32, true, -1)
	m.ExportGlobal("g", g)
	f := m.Func("add", []ValType{I32, I32}, []ValType{I32})
	a, b := f.Param(0, "a"), f.Param(1, "")
	wide := f.Local(I64, "wide")
	small := f.Local(I32, "")
	f.Get(a)
	f.Get(b)
	f.Op(I32Add)
	f.Tee(small)
	f.I64Const(-129)
	f.Set(wide)
	m.ExportFunc("add", f)
	m.Memory(1, 2)
	m.ExportMemory("memory")
	m.Data(1024, []byte("hi"))
	m.Custom("c", []byte{7})
	got := hex.EncodeToString(encode(t, m))
	want := strings.Join([]string{
		"0061736d01000000",
		"010b02" + "60017f00" + "60027f7f017f", // types
		"0207010165016600" + "00",              // import e.f
		"03020101",                             // function 1 has type 1
		"050401010102",                         // memory 1 to 2
		"0606017f01417f0b",                     // global -1
		"0714" + "03" + "01670300" + "036164640001" + "066d656d6f72790200",
		"0a14" + "01" + "12" + "02017f017e" + "20002001" + "6a" + "2202" + "42ff7e" + "2103" + "0b",
		"0b09010041800" + "80b026869",
		"0003016307",
		"0024" + "046e616d65" + "0002016d" + "010b02" + "0003652e66" + "0103616464" + "020c01" + "0102" + "000161" + "030477696465",
	}, "")
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestLEB(t *testing.T) {
	for _, v := range []int64{0, 1, -1, 63, 64, -64, -65, 127, 128, math.MaxInt32, math.MinInt32, math.MaxInt64, math.MinInt64} {
		m := NewBuilder("")
		f := m.Func("f", nil, []ValType{I64})
		f.I64Const(v)
		m.ExportFunc("f", f)
		code := encode(t, m)
		c := &cursor{b: appendInt(nil, v)}
		if got := c.signed(64); got != v {
			t.Errorf("%d reads back as %d", v, got)
		}
		if !bytes.Contains(code, append([]byte{opI64Const}, append(appendInt(nil, v), opEnd)...)) {
			t.Errorf("%d isn't in the code", v)
		}
	}
}

// TestEncodeControl nests every structure and branches through it.
func TestEncodeControl(t *testing.T) {
	m := NewBuilder("control")
	m.Memory(1, 1)
	f := m.Func("f", []ValType{I32, I64}, []ValType{I32})
	n, w := f.Param(0, "n"), f.Param(1, "w")
	out := f.Block()
	next := f.Loop()
	b0 := f.Block()
	b1 := f.Block()
	f.Get(n)
	f.BrTable([]Label{b0, b1, next, out}, b1)
	f.End()
	f.Get(w)
	f.Op(I64Eqz)
	f.If()
	f.Br(out)
	f.Else()
	f.Get(n)
	f.BrIf(next)
	f.End()
	f.End()
	f.Get(n)
	f.If(I32)
	f.I32Const(1)
	f.Else()
	f.I32Const(2)
	f.End()
	f.Op(Drop)
	f.I32Const(0)
	f.Get(n)
	f.MemAligned(I32Store, 2, 16)
	f.I32Const(0)
	f.I32Const(0)
	f.I32Const(64)
	f.MemoryFill()
	f.I32Const(0)
	f.I32Const(0)
	f.I32Const(64)
	f.MemoryCopy()
	f.End()
	f.End()
	f.Get(n)
	if f.Depth() != 0 {
		t.Errorf("depth %d", f.Depth())
	}
	encode(t, m)
}

func TestEncodeOps(t *testing.T) {
	m := NewBuilder("ops")
	m.Memory(1, 1)
	f := m.Func("f", nil, nil)
	for _, op := range []Op{I32Eq, I32Ne, I32LtS, I32LtU, I32GtS, I32GtU, I32LeS, I32LeU, I32GeS, I32GeU, I32Add, I32Sub, I32Mul, I32And, I32Or, I32Xor, I32Shl, I32ShrU} {
		f.I32Const(1)
		f.I32Const(2)
		f.Op(op, Drop)
	}
	for _, op := range []Op{I64Eq, I64Ne, I64LtS, I64LtU, I64GtS, I64GtU, I64LeS, I64LeU, I64GeS, I64GeU, I64Add, I64Sub, I64Mul, I64And, I64Or, I64Xor, I64Shl, I64ShrU} {
		f.I64Const(1)
		f.I64Const(2)
		f.Op(op, Drop)
	}
	f.I32Const(1)
	f.Op(I32Eqz, I64ExtendI32S, I64Ctz, I32WrapI64, I64ExtendI32U, Drop)
	f.I32Const(1)
	f.I32Const(2)
	f.I32Const(3)
	f.Op(Select, Drop)
	for _, op := range []MemOp{I32Load, I64Load, I32Load8S, I32Load8U, I32Load16S, I32Load16U, I64Load8U, I64Load16U, I64Load32S, I64Load32U} {
		f.I32Const(8)
		f.Mem(op, 1)
		f.Op(Drop)
	}
	for _, op := range []MemOp{I32Store, I32Store8, I32Store16} {
		f.I32Const(8)
		f.I32Const(8)
		f.Mem(op, 1)
	}
	f.I32Const(8)
	f.I64Const(8)
	f.Mem(I64Store, 1)
	encode(t, m)
}

// TestEncodeErrors: what can't be encoded comes back from Encode, with the function's name.
func TestEncodeErrors(t *testing.T) {
	for name, c := range map[string]struct {
		make func(m *Builder, f *Func)
		err  error
	}{
		"unclosed": {func(_ *Builder, f *Func) { f.Block() }, errUnclosed},
		"end":      {func(_ *Builder, f *Func) { f.End() }, errNoBlock},
		"closed label": {func(_ *Builder, f *Func) {
			l := f.Block()
			f.End()
			f.Block()
			f.Br(l)
			f.End()
		}, errLabel},
		"foreign local": {func(m *Builder, f *Func) {
			g := m.Func("g", nil, nil)
			f.Get(g.Local(I32, ""))
		}, errLocal},
		"param": {func(_ *Builder, f *Func) { f.Param(0, "x") }, errLocal},
	} {
		m := NewBuilder("")
		c.make(m, m.Func("broken", nil, nil))
		code, err := m.Encode()
		if !errors.Is(err, c.err) || code != nil || !strings.Contains(err.Error(), "broken") {
			t.Errorf("%s: %v", name, err)
		}
	}
	m := NewBuilder("")
	m.Func("f", nil, nil)
	m.Import("a", "b", nil, nil)
	if _, err := m.Encode(); err == nil {
		t.Error("an import after a function is taken")
	}
	m = NewBuilder("")
	m.Memory(2, 1)
	if _, err := m.Encode(); err == nil {
		t.Error("a memory with its minimum over its maximum is taken")
	}
}
