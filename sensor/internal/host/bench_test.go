package host

import (
	"context"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/shikra-sensor/shikra/sensor/internal/wasm"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// kernels are the loops on which the cost of metering is measured. Each takes a count and returns something.
var kernels = []struct {
	name string
	n    uint64
	code func(b *wasm.Builder) *wasm.Func
}{
	{"tight loop", 1_000_000, func(b *wasm.Builder) *wasm.Func {
		f := b.Func("f", i32, i32)
		n, sum := f.Param(0, "n"), f.Local(wasm.I32, "sum")
		l := f.Loop()
		f.Get(sum)
		f.Get(n)
		f.Op(wasm.I32Xor)
		f.Set(sum)
		f.Get(n)
		f.I32Const(1)
		f.Op(wasm.I32Sub)
		f.Tee(n)
		f.BrIf(l)
		f.End()
		f.Get(sum)
		return f
	}},
	{"hash bytes", 200_000, func(b *wasm.Builder) *wasm.Func {
		f := b.Func("f", i32, i32)
		n, h := f.Param(0, "n"), f.Local(wasm.I32, "h")
		l := f.Loop()
		for k := range uint32(4) {
			f.Get(h)
			f.Get(n)
			f.Mem(wasm.I32Load8U, k)
			f.Op(wasm.I32Xor)
			f.I32Const(16777619)
			f.Op(wasm.I32Mul)
			f.Set(h)
		}
		f.Get(n)
		f.I32Const(1)
		f.Op(wasm.I32Sub)
		f.Tee(n)
		f.BrIf(l)
		f.End()
		f.Get(h)
		return f
	}},
	{"calls", 200_000, func(b *wasm.Builder) *wasm.Func {
		g := b.Func("g", i32, i32)
		x := g.Param(0, "x")
		g.Get(x)
		g.I32Const(7)
		g.Op(wasm.I32Mul)
		g.Get(x)
		g.I32Const(3)
		g.Op(wasm.I32ShrU, wasm.I32Xor)
		f := b.Func("f", i32, i32)
		n, h := f.Param(0, "n"), f.Local(wasm.I32, "h")
		l := f.Loop()
		f.Get(h)
		f.Get(n)
		f.Op(wasm.I32Add)
		f.Call(g.Index())
		f.Set(h)
		f.Get(n)
		f.I32Const(1)
		f.Op(wasm.I32Sub)
		f.Tee(n)
		f.BrIf(l)
		f.End()
		f.Get(h)
		return f
	}},
	{"fib", 24, func(b *wasm.Builder) *wasm.Func {
		f := b.Func("f", i32, i32)
		n := f.Param(0, "n")
		f.Get(n)
		f.I32Const(2)
		f.Op(wasm.I32LtU)
		f.If()
		f.Get(n)
		f.Return()
		f.End()
		for k := int32(1); k <= 2; k++ {
			f.Get(n)
			f.I32Const(k)
			f.Op(wasm.I32Sub)
			f.Call(f.Index())
		}
		f.Op(wasm.I32Add)
		return f
	}},
}

// BenchmarkMetering compares code as it was with what Instrument makes of it, in ns per step of the loop.
func BenchmarkMetering(b *testing.B) {
	for _, e := range engines() {
		for _, k := range kernels {
			m := wasm.NewBuilder("kernel")
			m.Memory(16, 16)
			m.ExportFunc("f", k.code(m))
			plain, err := m.Encode()
			if err != nil {
				b.Fatal(err)
			}
			metered, err := wasm.Instrument(plain, wasm.Limits{})
			if err != nil {
				b.Fatal(err)
			}
			for _, v := range []struct {
				name string
				code []byte
			}{{"plain", plain}, {"metered", metered}} {
				b.Run(e+"/"+k.name+"/"+v.name, func(b *testing.B) {
					ctx := context.Background()
					r := wazero.NewRuntimeWithConfig(ctx, runtimeConfig(e))
					defer r.Close(ctx)
					refill := func(_ context.Context, _ api.Module, stack []uint64) { stack[0] = compilerSlice }
					link := r.NewHostModuleBuilder(wasmabi.ImportModule)
					link.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(refill), nil, []api.ValueType{api.ValueTypeI64}).Export(wasmabi.ImportRefill)
					if _, err := link.Instantiate(ctx); err != nil {
						b.Fatal(err)
					}
					mod, err := r.Instantiate(ctx, v.code)
					if err != nil {
						b.Fatal(err)
					}
					f := mod.ExportedFunction("f")
					n := k.n
					if e == Interpreter && n > 100 {
						n /= 10
					}
					for b.Loop() {
						if _, err := f.Call(ctx, n); err != nil {
							b.Fatal(err)
						}
					}
					b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/step")
				})
			}
		}
	}
}

// BenchmarkJudge is the cost of a call that does nothing, and of one that reads 256 events.
func BenchmarkJudge(b *testing.B) {
	for _, e := range engines() {
		for _, v := range []struct {
			name   string
			events int
			batch  func(*wasm.Func, *guest)
		}{
			{"empty", 1, nil},
			{"read 256 events", 256, func(f *wasm.Func, g *guest) {
				loopEvents(f, g, func(_, ev wasm.Local, next wasm.Label) {
					f.Get(ev)
					f.Mem(wasm.I64Load, wasmabi.EventTid)
					f.I64Const(-1)
					f.Op(wasm.I64Ne)
					f.BrIf(next)
					f.I32Const(0)
					f.I32Const(0)
					f.Call(g.alert)
				})
				f.I32Const(0)
			}},
		} {
			b.Run(e+"/"+v.name, func(b *testing.B) {
				h := newBench(b, e)
				g := newGuest(b)
				g.batch = v.batch
				m := h.load(g)
				for i := range v.events {
					h.push(int64(i))
				}
				ctx := context.Background()
				for b.Loop() {
					if err := m.Judge(ctx); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(v.events), "ns/event")
			})
		}
	}
}

// BenchmarkLoad is what a module costs once.
func BenchmarkLoad(b *testing.B) {
	for _, e := range engines() {
		b.Run(e, func(b *testing.B) {
			h := newBench(b, e)
			g := newGuest(b)
			g.batch = evenTID
			code := g.bytes()
			for b.Loop() {
				m, err := h.Load(context.Background(), code, LoadOptions{})
				if err != nil {
					b.Fatal(err)
				}
				if err := m.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
