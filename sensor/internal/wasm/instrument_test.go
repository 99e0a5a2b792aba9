package wasm

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/shikra-sensor/shikra/sensor/internal/testkit"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// analysed decodes a module of one function with that body and analyses it.
func analysed(t *testing.T, write func(b *Builder, f *Func)) (*rewriter, error) {
	t.Helper()
	b := NewBuilder("t")
	b.Memory(1, 1)
	host := b.Import("env", "host", nil, nil)
	if host != 0 {
		t.Fatal("the import isn't function 0")
	}
	f := b.Func("f", nil, nil)
	write(b, f)
	b.ExportFunc("f", f)
	code, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	m, err := Decode(code)
	if err != nil {
		t.Fatal(err)
	}
	w := &rewriter{m: m, l: Limits{}.withDefaults(), types: m.Types, nimp: uint32(m.imported[KindFunc])}
	w.analyse()
	return w, w.weigh()
}

// steps writes n instructions of cost 1.
func steps(f *Func, n int) {
	for range n / 2 {
		f.I32Const(1)
		f.Op(Drop)
	}
}

// TestCharges: the entry and each loop pay for the longest way to any place before the next loop.
func TestCharges(t *testing.T) {
	for _, c := range []struct {
		name  string
		write func(f *Func)
		want  []uint64 // without what entry and loops always pay
	}{
		{"straight", func(f *Func) { steps(f, 10) }, []uint64{10}},
		{"the longer branch of an if", func(f *Func) {
			f.I32Const(0)
			f.If()
			steps(f, 10)
			f.Else()
			steps(f, 4)
			f.End()
			steps(f, 2)
		}, []uint64{1 + 1 + 10 + 2}},
		{"if without else", func(f *Func) {
			f.I32Const(0)
			f.If()
			steps(f, 10)
			f.Return()
			f.End()
			steps(f, 2)
		}, []uint64{1 + 1 + 10 + 1}},
		{"the way around a long return", func(f *Func) {
			f.I32Const(0)
			f.If()
			f.Return()
			f.End()
			steps(f, 8)
		}, []uint64{2 + 8}},
		{"a table's longest target", func(f *Func) {
			out := f.Block()
			three := f.Block()
			two := f.Block()
			one := f.Block()
			f.I32Const(0)
			f.BrTable([]Label{one, two}, three)
			f.End()
			steps(f, 4)
			f.Br(out)
			f.End()
			steps(f, 100)
			f.Br(out)
			f.End()
			steps(f, 6)
			f.End()
			steps(f, 2)
		}, []uint64{2 + 100 + 1 + 2}},
		{"dead code", func(f *Func) {
			f.Return()
			steps(f, 100)
		}, []uint64{1}},
		{"a loop apart", func(f *Func) {
			steps(f, 2)
			l := f.Loop()
			steps(f, 20)
			f.I32Const(0)
			f.BrIf(l)
			f.End()
			steps(f, 4)
		}, []uint64{2 + 4, 20 + 2}},
		{"nested loops", func(f *Func) {
			l := f.Loop()
			steps(f, 2)
			k := f.Loop()
			steps(f, 40)
			f.I32Const(0)
			f.BrIf(k)
			f.I32Const(0)
			f.BrIf(l)
			f.End()
			steps(f, 6)
			f.Br(l)
			f.End()
			steps(f, 80) // can't be reached
		}, []uint64{0, 2 + 6 + 1, 40 + 4}},
		{"out of a loop", func(f *Func) {
			out := f.Block()
			steps(f, 2)
			l := f.Loop()
			f.I32Const(0)
			f.BrIf(out)
			f.Br(l)
			f.End()
			f.End()
			steps(f, 6) // reached by the branch only: the way to the loop counts
		}, []uint64{2 + 6, 3}},
		{"empty loop", func(f *Func) {
			f.Br(f.Loop())
			f.End()
		}, []uint64{0, 1}},
		{"loop that isn't reached", func(f *Func) {
			f.Return()
			l := f.Loop()
			steps(f, 10)
			f.Br(l)
			f.End()
		}, []uint64{1, 0}},
		{"host call", func(f *Func) { f.Call(0) }, []uint64{costHost}},
		{"call", func(f *Func) { f.Call(1) }, []uint64{costCall}},
		{"fill", func(f *Func) {
			steps(f, 2)
			f.I32Const(0)
			f.I32Const(0)
			f.I32Const(0)
			f.MemoryFill()
		}, []uint64{2 + 3 + costBulk}},
	} {
		w, err := analysed(t, func(_ *Builder, f *Func) { c.write(f) })
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		got := slices.Clone(w.funcs[0].charges)
		for i := range got {
			got[i] -= costCharge
		}
		got[0] -= costEntry - costCharge
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: charges %d, want %d", c.name, got, c.want)
		}
	}
}

// TestDepth: functions in a cycle of calls count, the others are part of a chain known beforehand.
func TestDepth(t *testing.T) {
	chain := func(b *Builder, n int) *Func { // of n functions, the last calls nothing
		var last *Func
		for i := range n {
			f := b.Func(fmt.Sprint("c", i), nil, nil)
			if last != nil {
				f.Call(last.Index())
			}
			last = f
		}
		return last
	}
	t.Run("no recursion", func(t *testing.T) {
		w, err := analysed(t, func(b *Builder, f *Func) { f.Call(chain(b, 5).Index()) })
		if err != nil || w.depthInit != defaultDepth-6 {
			t.Fatalf("%v, depth %d", err, w.depthInit)
		}
		for i, a := range w.funcs {
			if a.counted != 0 {
				t.Errorf("function %d counts %d", i, a.counted)
			}
		}
	})
	t.Run("cycle with a chain", func(t *testing.T) {
		w, err := analysed(t, func(b *Builder, f *Func) {
			g := b.Func("g", nil, nil)
			h := b.Func("h", nil, nil)
			g.Call(h.Index())
			h.Call(g.Index())
			h.Call(chain(b, 5).Index())
			f.Call(g.Index())
		})
		if err != nil || w.funcs[0].counted != 0 || w.funcs[1].counted != 1 || w.funcs[2].counted != 6 || w.depthInit != defaultDepth-1 {
			t.Errorf("%v, %+v, depth %d", err, w.funcs[:3], w.depthInit)
		}
	})
	t.Run("long chain", func(t *testing.T) {
		if _, err := analysed(t, func(b *Builder, f *Func) { f.Call(chain(b, defaultDepth-1).Index()) }); err != nil {
			t.Error(err)
		}
		_, err := analysed(t, func(b *Builder, f *Func) { f.Call(chain(b, defaultDepth).Index()) })
		if err == nil || !strings.Contains(err.Error(), "calls nest 1901 deep by weight, the most is 1900") {
			t.Error(err)
		}
	})
	t.Run("weight", func(t *testing.T) {
		w, err := analysed(t, func(_ *Builder, f *Func) {
			for range 128 {
				f.Local(I64, "")
			}
			steps(f, 4000)
			f.Call(f.Index())
		})
		// 3 bytes for 2 steps: 6000 bytes and a few.
		if err != nil || w.funcs[0].counted != 1+128/64+6000/2048 {
			t.Errorf("%v, weight %d", err, w.funcs[0].counted)
		}
	})
	t.Run("through a table", func(t *testing.T) {
		code, err := os.ReadFile("testdata/features.wasm")
		if err != nil {
			t.Fatal(err)
		}
		m, err := Decode(code)
		if err != nil {
			t.Fatal(err)
		}
		w := &rewriter{m: m, l: Limits{}.withDefaults(), types: m.Types, nimp: 1}
		w.analyse()
		if err := w.weigh(); err != nil {
			t.Fatal(err)
		}
		// Exports can be named by ref.func, so the one that calls through a table might call itself.
		for _, name := range []string{"indirect", "indirect_other", "tables"} {
			e, _ := m.Export(name)
			if w.funcs[e.Index-1].counted == 0 {
				t.Errorf("%s doesn't count", name)
			}
		}
		for _, name := range []string{"switch", "nested", "fill", "seed"} {
			if e, _ := m.Export(name); w.funcs[e.Index-1].counted != 0 {
				t.Errorf("%s counts", name)
			}
		}
	})
}

// TestInstrumentLimits: what is asked for at the start must be within the limits; what can grow is cut to them.
func TestInstrumentLimits(t *testing.T) {
	memory := func(b string) []byte { return mod("\x05" + vec(b)) }
	table := func(b ...string) []byte { return mod("\x04" + vec(b...)) }
	for _, c := range []struct {
		mod  []byte
		l    Limits
		want string // error
	}{
		{memory("\x00\x08"), Limits{Pages: 8}, ""},
		{memory("\x00\x09"), Limits{Pages: 8}, "memory of 9 pages, the most is 8"},
		{table("\x70\x00\x08", "\x70\x00\x02"), Limits{Table: 10}, ""},
		{table("\x70\x00\x08", "\x70\x00\x03"), Limits{Table: 10}, "tables of 11 entries, the most is 10"},
	} {
		out, err := Instrument(c.mod, c.l)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("Instrument(%+v) = %v, want %s", c.l, err, c.want)
		}
		if err != nil {
			continue
		}
		m, err := Decode(out)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range m.Memories {
			if !x.HasMax || x.Max != 8 {
				t.Errorf("memory %+v", x)
			}
		}
		for _, x := range m.Tables {
			if !x.HasMax || x.Max < x.Min || x.Max > 10 {
				t.Errorf("table %+v", x)
			}
		}
	}
}

// TestInstrumented: the import stands last of the imports, indices follow, names too, and nothing added is exported.
func TestInstrumented(t *testing.T) {
	code, err := os.ReadFile("testdata/features.wasm")
	if err != nil {
		t.Fatal(err)
	}
	before, err := Decode(code)
	if err != nil {
		t.Fatal(err)
	}
	out, err := before.Instrument(Limits{})
	if err != nil {
		t.Fatal(err)
	}
	after, err := Decode(out.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(after.Imports); n != len(before.Imports)+1 || after.Imports[n-1].Name != wasmabi.ImportRefill {
		t.Errorf("imports %+v", after.Imports)
	}
	if out.Fuel != 2 || out.Depth != 3 || after.Global(2) != (GlobalType{typeI64, true}) || after.Global(3) != (GlobalType{typeI32, true}) {
		t.Errorf("globals %d, %d of %+v", out.Fuel, out.Depth, after.Globals)
	}
	for i, e := range before.Exports {
		x := after.Exports[i]
		if x.Name != e.Name || x.Kind != e.Kind || x.Index != e.Index+1 || after.Signature(x.Index).String() != before.Signature(e.Index).String() {
			t.Errorf("export %+v was %+v", x, e)
		}
	}
	names, _ := after.Custom("name")
	for _, want := range []string{"features", "fib", "shikra.refuel", "shikra.pay", "shikra.fill", "shikra.copy", "shikra.grow"} {
		if !strings.Contains(string(names), want) {
			t.Errorf("the name section lacks %s", want)
		}
	}
	if _, err := Instrument(out.Bytes, Limits{}); err == nil || !strings.Contains(err.Error(), "shikra_v1.refill, which is the host's own") {
		t.Errorf("instrumenting twice: %v", err)
	}
	for _, n := range []string{"shikra.refuel", "guest.shikra.fill"} {
		if !Helper(n) {
			t.Errorf("Helper(%q) = false", n)
		}
	}
	if Helper("guest.refuel") {
		t.Error("Helper takes a guest's name")
	}
}

// TestBrokenNames: a name section that can't be read is left out.
func TestBrokenNames(t *testing.T) {
	for _, s := range []string{"\x01\x7f", "\x01\x02\x01\x09", "\x01\x04\x02\x00\x00\x00", "\x02\x01\x05", "\x01"} {
		out, err := Instrument(append(fn("\x00\x0b"), appendSection(nil, secCustom, []byte("\x04name"+s))...), Limits{})
		if err != nil {
			t.Errorf("% x: %v", s, err)
			continue
		}
		m, err := Decode(out)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := m.Custom("name"); ok {
			t.Errorf("% x was kept", s)
		}
	}
}

// TestValidates: wabt agrees that what Instrument writes is valid.
func TestValidates(t *testing.T) {
	tool, err := exec.LookPath("wasm-validate")
	if err != nil {
		testkit.Missing(t, "wasm-validate isn't installed: the engine's own validation is tested in package host")
	}
	features, err := os.ReadFile("testdata/features.wasm")
	if err != nil {
		t.Fatal(err)
	}
	for i, code := range [][]byte{features, fn("\x00\x0b"), fn("\x00\x03\x40\x0c\x00\x0b\x0b"), mod()} {
		out, err := Instrument(code, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("%s/%d.wasm", t.TempDir(), i)
		if err := os.WriteFile(name, out, 0o600); err != nil {
			t.Fatal(err)
		}
		if b, err := exec.Command(tool, name).CombinedOutput(); err != nil {
			t.Errorf("module %d: %v: %s", i, err, b)
		}
	}
}

// BenchmarkInstrument is the time to decode and rewrite a module of a megabyte.
func BenchmarkInstrument(b *testing.B) {
	m := NewBuilder("big")
	m.Memory(1, 1)
	for i := range 1000 {
		f := m.Func(fmt.Sprint("f", i), nil, nil)
		for range 50 {
			l := f.Loop()
			steps(f, 10)
			f.I32Const(0)
			f.BrIf(l)
			f.End()
		}
	}
	code, err := m.Encode()
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(code)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Instrument(code, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}
