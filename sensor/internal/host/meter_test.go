package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/shikra-sensor/shikra/sensor/internal/wasm"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// run is one instance for comparing code before and after the rewriting.
type run struct {
	t       testing.TB
	runtime wazero.Runtime
	mod     api.Module
	alerts  [][2]uint32
	budget  uint64 // fuel left to hand out
	given   uint64
}

func newRun(t testing.TB, engine string, code []byte) (*run, error) {
	ctx := context.Background()
	r := &run{t: t, budget: 50_000_000}
	r.runtime = wazero.NewRuntimeWithConfig(ctx, runtimeConfig(engine).WithMemoryLimitPages(64))
	link := r.runtime.NewHostModuleBuilder(wasmabi.ImportModule)
	link.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(_ context.Context, _ api.Module, stack []uint64) {
		n := min(r.budget, 1000) // short slices: refills in the middle of everything
		if n == 0 {
			panic(ErrFuel)
		}
		r.budget -= n
		r.given += n
		stack[0] = n
	}), nil, []api.ValueType{api.ValueTypeI64}).Export(wasmabi.ImportRefill)
	link.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(_ context.Context, _ api.Module, stack []uint64) {
		r.alerts = append(r.alerts, [2]uint32{uint32(stack[0]), uint32(stack[1])})
	}), []api.ValueType{api.ValueTypeI32, api.ValueTypeI32}, nil).Export(wasmabi.ImportAlert)
	if _, err := link.Instantiate(ctx); err != nil {
		t.Fatal(err)
	}
	var err error
	r.mod, err = r.runtime.Instantiate(ctx, code)
	return r, err
}

func (r *run) close() {
	if err := r.runtime.Close(context.Background()); err != nil {
		r.t.Error(err)
	}
}

// call calls an exported (i32) -> i32 and gives its outcome as text: the result, or the reason of the trap.
func (r *run) call(name string, arg uint32) string {
	out, err := r.mod.ExportedFunction(name).Call(context.Background(), uint64(arg))
	switch {
	case errors.Is(err, ErrFuel):
		return "fuel"
	case err != nil:
		text, _, _ := strings.Cut(err.Error(), "\n")
		return text
	}
	return fmt.Sprint(uint32(out[0]))
}

// TestMeteredCodeIsTheSame: results, traps, host calls and memory are those of the code as it was.
func TestMeteredCodeIsTheSame(t *testing.T) {
	plain, err := os.ReadFile("../wasm/testdata/features.wasm")
	if err != nil {
		t.Fatal(err)
	}
	metered, err := wasm.Instrument(plain, wasm.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	bin, err := wasm.Decode(plain)
	if err != nil {
		t.Fatal(err)
	}
	traps := 0
	for _, e := range engines() {
		for _, x := range bin.Exports {
			for _, arg := range []uint32{0, 1, 2, 3, 5, 6, 7, 16, 31, 100, 101, 1<<32 - 1} {
				a, err := newRun(t, Interpreter, plain)
				if err != nil {
					t.Fatal(err)
				}
				b, err := newRun(t, e, metered)
				if err != nil {
					t.Fatal(err)
				}
				b.budget = 1 << 30 // a size that can't be is paid before it is refused
				for range 2 {
					want, got := a.call(x.Name, arg), b.call(x.Name, arg)
					if want != got {
						t.Errorf("%s: %s(%d) = %s, was %s", e, x.Name, arg, got, want)
					}
					if strings.Contains(want, "error") {
						traps++
						break // memory may differ now: the rest of the instance doesn't matter any more
					}
					if !bytes.Equal(memoryOf(a), memoryOf(b)) {
						t.Errorf("%s: %s(%d): memory differs", e, x.Name, arg)
					}
				}
				if fmt.Sprint(a.alerts) != fmt.Sprint(b.alerts) {
					t.Errorf("%s: %s(%d): host calls %v, were %v", e, x.Name, arg, b.alerts, a.alerts)
				}
				a.close()
				b.close()
			}
		}
	}
	if traps < 10 {
		t.Errorf("only %d traps were compared", traps)
	}
}

func memoryOf(r *run) []byte {
	m := r.mod.Memory()
	if m == nil {
		return nil
	}
	b, _ := m.Read(0, m.Size())
	return b
}

// program writes a random module that ends: loops count down, calls go to later functions only. Its function "f" is
// (i32) -> i32; turns is how many steps every loop and function has counted in global 0.
func program(rng *rand.Rand) ([]byte, error) {
	b := wasm.NewBuilder("random")
	b.Memory(1, 2)
	turns := b.Global("turns", wasm.I64, true, 0)
	b.ExportGlobal("turns", turns)
	alert := b.Import(wasmabi.ImportModule, wasmabi.ImportAlert, []wasm.ValType{wasm.I32, wasm.I32}, nil)
	funcs := make([]*wasm.Func, 1+rng.IntN(4))
	for i := range funcs {
		funcs[i] = b.Func(fmt.Sprint("f", i), i32, i32)
	}
	for i, f := range funcs {
		p := programmer{rng: rng, f: f, alert: alert, turns: turns, left: 12, callees: funcs[i+1:]}
		p.vars = []wasm.Local{f.Param(0, "n"), f.Local(wasm.I32, ""), f.Local(wasm.I32, "")}
		p.count()
		p.block()
		f.Get(p.v())
	}
	b.ExportFunc("f", funcs[0])
	return b.Encode()
}

type programmer struct {
	rng     *rand.Rand
	f       *wasm.Func
	vars    []wasm.Local
	labels  []wasm.Label // of blocks: branches forward
	alert   int
	turns   int
	loops   int
	left    int
	callees []*wasm.Func
}

func (p *programmer) v() wasm.Local { return p.vars[p.rng.IntN(len(p.vars))] }

// count adds 1 to turns.
func (p *programmer) count() {
	p.f.GlobalGet(p.turns)
	p.f.I64Const(1)
	p.f.Op(wasm.I64Add)
	p.f.GlobalSet(p.turns)
}

func (p *programmer) block() {
	f := p.f
	for n := p.rng.IntN(6); n >= 0 && p.left > 0; n-- {
		p.left--
		switch p.rng.IntN(12) {
		case 0:
			p.labels = append(p.labels, f.Block())
			p.block()
			f.End()
			p.labels = p.labels[:len(p.labels)-1]
		case 1:
			f.Get(p.v())
			f.If()
			p.block()
			if p.rng.IntN(2) == 0 {
				f.Else()
				p.block()
			}
			f.End()
		case 2:
			if p.loops == 3 {
				continue
			}
			c := f.Local(wasm.I32, "")
			f.I32Const(1 + p.rng.Int32N(6))
			f.Set(c)
			l := f.Loop()
			p.count()
			p.loops++
			p.block()
			p.loops--
			f.Get(c)
			f.I32Const(1)
			f.Op(wasm.I32Sub)
			f.Tee(c)
			f.BrIf(l)
			f.End()
		case 3:
			if len(p.labels) > 0 {
				f.Get(p.v())
				f.BrIf(p.labels[p.rng.IntN(len(p.labels))])
			}
		case 4:
			if len(p.labels) > 0 {
				f.Get(p.v())
				f.BrTable(p.labels, p.labels[p.rng.IntN(len(p.labels))])
				return // what follows can't be reached
			}
		case 5:
			if p.rng.IntN(4) == 0 {
				f.Get(p.v())
				f.Return()
				return
			}
		case 6:
			if len(p.callees) > 0 && p.loops < 2 {
				f.Get(p.v())
				f.Call(p.callees[p.rng.IntN(len(p.callees))].Index())
				f.Set(p.v())
			}
		case 7:
			f.Get(p.v())
			f.I32Const(0xfff)
			f.Op(wasm.I32And)
			f.Get(p.v())
			f.I32Const(p.rng.Int32N(2000))
			if p.rng.IntN(2) == 0 {
				f.MemoryFill()
			} else {
				f.MemoryCopy()
			}
		case 8:
			f.Get(p.v())
			f.Get(p.v())
			f.Call(p.alert)
		case 9:
			memoryGrow(f, p.rng.Int32N(2))
			f.Set(p.v())
		case 10:
			f.Get(p.v())
			f.I32Const(0x1ffff)
			f.Op(wasm.I32And)
			f.Mem(wasm.I32Load, 0) // may be out of bounds
			f.Set(p.v())
		default:
			f.Get(p.v())
			f.I32Const(p.rng.Int32())
			f.Op([]wasm.Op{wasm.I32Add, wasm.I32Xor, wasm.I32Mul, wasm.I32Sub, wasm.I32ShrU}[p.rng.IntN(5)])
			f.Set(p.v())
		}
	}
}

// checkProgram runs one random program as it is and rewritten, in every engine.
func checkProgram(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	plain, err := program(rng)
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	metered, err := wasm.Instrument(plain, wasm.Limits{})
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	var fuel []uint64
	for _, e := range engines() {
		a, err := newRun(t, Interpreter, plain)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		defer a.close()
		b, err := newRun(t, e, metered)
		if err != nil {
			t.Fatalf("seed %d: metered: %v", seed, err)
		}
		defer b.close()
		for _, arg := range []uint32{0, 1, 12345} {
			want, got := a.call("f", arg), b.call("f", arg)
			if want != got {
				t.Fatalf("seed %d: %s: f(%d) = %s, was %s", seed, e, arg, got, want)
			}
			if strings.Contains(want, "error") {
				break
			}
			if !bytes.Equal(memoryOf(a), memoryOf(b)) {
				t.Fatalf("seed %d: %s: f(%d): memory differs", seed, e, arg)
			}
		}
		if fmt.Sprint(a.alerts) != fmt.Sprint(b.alerts) {
			t.Fatalf("seed %d: %s: host calls %v, were %v", seed, e, b.alerts, a.alerts)
		}
		bin, err := wasm.Decode(plain)
		if err != nil {
			t.Fatal(err)
		}
		im := b.mod.(interface{ Global(int) api.Global })
		used := b.given - im.Global(bin.NumGlobals()).Get()
		// Each turn is at least the four instructions that count it, and what looks at the fuel.
		if turns := b.mod.ExportedGlobal("turns").Get(); used < 4*turns {
			t.Fatalf("seed %d: %s: %d units for %d turns", seed, e, used, turns)
		}
		fuel = append(fuel, used)
	}
	for _, u := range fuel[1:] {
		if u != fuel[0] {
			t.Fatalf("seed %d: fuel used differs between engines: %v", seed, fuel)
		}
	}
}

func TestRandomPrograms(t *testing.T) {
	n := uint64(300)
	if testing.Short() {
		n = 30
	}
	for seed := range n {
		checkProgram(t, seed)
	}
}

func FuzzRandomPrograms(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(checkProgram)
}

// FuzzMeteredModule: a module that the engine takes is refused, or rewritten to one that the engine takes too and that
// ends. The engines agree on the outcome.
func FuzzMeteredModule(f *testing.F) {
	if b, err := os.ReadFile("../wasm/testdata/features.wasm"); err == nil {
		f.Add(b)
	}
	for seed := range uint64(4) {
		if b, err := program(rand.New(rand.NewPCG(seed, 1))); err == nil {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, code []byte) {
		metered, err := wasm.Instrument(code, wasm.Limits{Pages: 16, Table: 1000})
		if (err == nil) != (metered != nil) {
			t.Fatalf("%v with %d bytes", err, len(metered))
		}
		if err != nil {
			return
		}
		ctx := context.Background()
		r := wazero.NewRuntimeWithConfig(ctx, runtimeConfig(Interpreter).WithMemoryLimitPages(64))
		_, plainErr := r.CompileModule(ctx, code)
		_, meteredErr := r.CompileModule(ctx, metered)
		_ = r.Close(ctx)
		if plainErr != nil {
			return // operand types are the engine's to check
		}
		if meteredErr != nil {
			t.Fatalf("the engine refuses what the rewriting made: %v", meteredErr)
		}
		bin, err := wasm.Decode(code)
		if err != nil {
			t.Fatal(err)
		}
		var outcomes []string
		for _, e := range engines() {
			x, err := newRun(t, e, metered)
			x.budget = 200_000
			out := ""
			if err == nil {
				for _, ex := range bin.Exports {
					if ex.Kind == wasm.KindFunc && bin.Signature(ex.Index).String() == "(i32) -> (i32)" {
						out += ex.Name + "=" + x.call(ex.Name, 5) + " "
						if strings.Contains(out, "error") || strings.Contains(out, "fuel") {
							break
						}
					}
				}
			} else {
				out, _, _ = strings.Cut(err.Error(), "\n")
			}
			x.close()
			outcomes = append(outcomes, out)
		}
		for _, o := range outcomes[1:] {
			if o != outcomes[0] {
				t.Fatalf("engines differ: %q", outcomes)
			}
		}
	})
}
