package host

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/shikra-sensor/shikra/sensor/internal/wasm"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// onFirst makes a guest do something bad for events of thread 1 and alert with rule 0 for all others.
func onFirst(bad func(f *wasm.Func, g *guest)) func(f *wasm.Func, g *guest) {
	return func(f *wasm.Func, g *guest) {
		loopEvents(f, g, func(i, ev wasm.Local, next wasm.Label) {
			f.Get(ev)
			f.Mem(wasm.I32Load, wasmabi.EventTid)
			f.I32Const(1)
			f.Op(wasm.I32Eq)
			f.If()
			bad(f, g)
			f.End()
			f.Get(i)
			f.I32Const(0)
			f.Call(g.alert)
		})
		f.I32Const(0)
	}
}

// TestTraps: whatever a guest does to get away, the call ends with an error that names the function, and the next call
// finds a fresh instance that works.
func TestTraps(t *testing.T) {
	forever := func(f *wasm.Func, _ *guest) {
		l := f.Loop()
		f.Br(l)
		f.End()
	}
	var recurse int // index of the function that calls itself
	for _, c := range []struct {
		name string
		more func(g *guest)
		bad  func(f *wasm.Func, g *guest)
		is   error
		text string
		in   string // function named in the error
	}{
		{name: "unreachable", bad: func(f *wasm.Func, _ *guest) { f.Op(wasm.Unreachable) }, text: "unreachable", in: "guest.judge_batch"},
		{name: "out of bounds", bad: func(f *wasm.Func, _ *guest) {
			f.I32Const(-4)
			f.Mem(wasm.I32Load, 0)
			f.Op(wasm.Drop)
		}, text: "out of bounds memory access", in: "guest.judge_batch"},
		{name: "infinite loop", bad: forever, is: ErrFuel, text: "out of fuel", in: "guest.judge_batch"},
		{name: "infinite loop in a function", more: func(g *guest) {
			f := g.Func("spin", nil, nil)
			forever(f, g)
			recurse = f.Index()
		}, bad: func(f *wasm.Func, _ *guest) { f.Call(recurse) }, is: ErrFuel, text: "out of fuel", in: "guest.spin"},
		{name: "memory.fill bomb", bad: func(f *wasm.Func, g *guest) {
			l := f.Loop()
			f.I32Const(g.window)
			f.I32Const(7)
			f.I32Const(32 << 20)
			f.MemoryFill()
			f.Br(l)
			f.End()
		}, is: ErrFuel, in: "guest.judge_batch"},
		{name: "memory.copy bomb", bad: func(f *wasm.Func, g *guest) {
			l := f.Loop()
			f.I32Const(g.window + 4096)
			f.I32Const(g.window)
			f.I32Const(32 << 20)
			f.MemoryCopy()
			f.Br(l)
			f.End()
		}, is: ErrFuel, in: "guest.judge_batch"},
		{name: "alert bomb", bad: func(f *wasm.Func, g *guest) {
			l := f.Loop()
			f.I32Const(0)
			f.I32Const(0)
			f.Call(g.alert)
			f.Br(l)
			f.End()
		}, is: ErrAlert, text: "more than 9 alerts", in: "guest.judge_batch"},
		{name: "recursion", more: func(g *guest) {
			f := g.Func("deeper", nil, nil)
			f.Call(f.Index())
			recurse = f.Index()
		}, bad: func(f *wasm.Func, _ *guest) { f.Call(recurse) }, is: ErrDepth, text: "calls nested too deep", in: "guest.deeper"},
		{name: "recursion of two with many locals", more: func(g *guest) {
			f := g.Func("there", i32, i32)
			h := g.Func("back", i32, i32)
			for _, x := range []struct{ from, to *wasm.Func }{{f, h}, {h, f}} {
				for range 500 {
					l := x.from.Local(wasm.I64, "")
					x.from.Get(l)
					x.from.I64Const(1)
					x.from.Op(wasm.I64Add)
					x.from.Set(l)
				}
				x.from.I32Const(1)
				x.from.Call(x.to.Index())
			}
			recurse = f.Index()
		}, bad: func(f *wasm.Func, _ *guest) {
			f.I32Const(0)
			f.Call(recurse)
			f.Op(wasm.Drop)
		}, is: ErrDepth, in: "guest."},
		{name: "alert for an event too far", bad: func(f *wasm.Func, g *guest) {
			f.I32Const(3)
			f.I32Const(0)
			f.Call(g.alert)
		}, is: ErrAlert, text: "event 3 of 3"},
		{name: "alert for a negative event", bad: func(f *wasm.Func, g *guest) {
			f.I32Const(-1)
			f.I32Const(0)
			f.Call(g.alert)
		}, is: ErrAlert, text: "event 4294967295 of 3"},
		{name: "alert for a rule too far", bad: func(f *wasm.Func, g *guest) {
			f.I32Const(0)
			f.I32Const(3)
			f.Call(g.alert)
		}, is: ErrAlert, text: "rule 3 of 3"},
		{name: "alerts out of order", bad: func(f *wasm.Func, g *guest) {
			for _, e := range []int32{2, 1} {
				f.I32Const(e)
				f.I32Const(0)
				f.Call(g.alert)
			}
		}, is: ErrAlert, text: "event 1 after event 2"},
	} {
		for _, e := range engines() {
			t.Run(c.name+"/"+e, func(t *testing.T) {
				b := newBench(t, e, func(cfg *Config) { cfg.Fuel = 3_000_000 })
				g := newGuest(t)
				g.more, g.batch = c.more, onFirst(c.bad)
				m := b.load(g)
				for round := range 3 {
					for tid := range int64(3) {
						b.push(tid)
					}
					begin := time.Now()
					err := m.Judge(context.Background())
					if d := time.Since(begin); d > 10*time.Second {
						t.Errorf("the call took %v", d)
					}
					var trap *TrapError
					if !errors.As(err, &trap) || trap.Module != "guest" || !strings.Contains(trap.Function, c.in) ||
						c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.text) || strings.Contains(err.Error(), "\n") {
						t.Fatalf("round %d: Judge() = %v (%#v)", round, err, trap)
					}
					b.arena.Flushed()
					b.hits = nil
					b.push(2)
					b.push(4)
					if err := m.Judge(context.Background()); err != nil {
						t.Fatalf("round %d, after the trap: %v", round, err)
					}
					if len(b.hits) != 2 {
						t.Fatalf("round %d, after the trap: alerts %v", round, b.hits)
					}
					b.arena.Flushed()
				}
				s := m.Stats()
				if want := uint64(3); s.Traps != want || s.Calls != 6 || c.is == ErrAlert && s.FalseAlerts != want {
					t.Errorf("Stats() = %+v", s)
				}
			})
		}
	}
}

// TestDepthVerdict: the deepest recursion that both engines take is the same.
func TestDepthVerdict(t *testing.T) {
	for _, e := range engines() {
		for _, c := range []struct {
			depth int32
			ok    bool
		}{{1000, true}, {1898, true}, {1899, false}, {1999, false}, {1 << 20, false}} {
			b := newBench(t, e)
			g := newGuest(t)
			g.batch = func(f *wasm.Func, g *guest) {
				d := g.Func("down", i32, i32)
				n := d.Param(0, "n")
				d.Get(n)
				d.Op(wasm.I32Eqz)
				d.If()
				d.I32Const(0)
				d.Return()
				d.End()
				d.Get(n)
				d.I32Const(1)
				d.Op(wasm.I32Sub)
				d.Call(d.Index())
				f.I32Const(c.depth)
				f.Call(d.Index())
			}
			m := b.load(g)
			b.push(1)
			if err := m.Judge(context.Background()); (err == nil) != c.ok || err != nil && !errors.Is(err, ErrDepth) {
				t.Errorf("%s: recursion of %d: %v", e, c.depth, err)
			}
		}
	}
}

// TestMemoryBomb: memory grows to what the manifest declares and no further; a guest sees the refusal.
func TestMemoryBomb(t *testing.T) {
	for _, e := range engines() {
		b := newBench(t, e)
		g := newGuest(t)
		g.manifest.MemoryLimit = 3 << 20 // 1 MiB below the window, so 2 MiB to grow
		g.maxPages = 65536
		g.batch = func(f *wasm.Func, g *guest) {
			f.I32Const(0)
			n := f.Local(wasm.I32, "")
			l := f.Loop()
			f.Get(n)
			f.I32Const(1)
			f.Op(wasm.I32Add)
			f.Set(n)
			memoryGrow(f, 1)
			f.I32Const(-1)
			f.Op(wasm.I32Ne)
			f.BrIf(l)
			f.End()
			f.Op(wasm.Drop)
			f.Get(n)
		}
		m := b.load(g)
		b.push(1)
		err := m.Judge(context.Background())
		var res *ResultError
		if !errors.As(err, &res) || res.Code != 2<<20/wasm.PageSize+1 {
			t.Errorf("%s: Judge() = %v, want the number of times it grew and one more", e, err)
		}
		if s := m.Stats(); s.Failures != 1 || s.Traps != 0 || s.Memory != 67<<20 {
			t.Errorf("%s: Stats() = %+v", e, s)
		}
	}
}

// memoryGrow appends memory.grow of n pages: 0x40 0x00, the second byte being unreachable's, so an Op.
func memoryGrow(f *wasm.Func, n int32) {
	f.I32Const(n)
	f.Op(wasm.Op(0x40), wasm.Op(0x00))
}

// TestRefused: what Load doesn't take, and the words it says it with.
func TestRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(g *guest)
		want   string
	}{
		{"window misaligned", func(g *guest) { g.window += 4096 }, "window at 0x101000 isn't aligned"},
		{"window at zero", func(g *guest) { g.window = 0 }, "window at 0"},
		{"window out of bounds", func(g *guest) { g.window += 1 << 20 }, "isn't inside the memory"},
		{"window negative", func(g *guest) { g.window = -65536 }, "isn't inside the memory"},
		{"window too small", func(g *guest) { g.manifest.WindowSize = 1 << 20 }, "window of 1048576 bytes is too small: with the segments it names this host needs 3014656"},
		{"window odd", func(g *guest) { g.manifest.WindowSize++ }, "window_size 67108865 isn't a multiple"},
		{"no version", func(g *guest) { g.omit[wasmabi.VersionExport] = true }, "export function shikra_abi_v1 is missing"},
		{"no window", func(g *guest) { g.omit[wasmabi.ExportWindow] = true }, "export shikra_window is missing"},
		{"no batch", func(g *guest) { g.omit[wasmabi.ExportBatch] = true }, "export function shikra_batch is missing"},
		{"other major", func(g *guest) {
			g.omit[wasmabi.VersionExport] = true
			f := g.Func("v2", nil, i32)
			f.I32Const(0)
			g.ExportFunc("shikra_abi_v2", f)
		}, `export "shikra_abi_v2" is of another ABI`},
		{"newer minor", func(g *guest) { g.manifest.ABIMinor = wasmabi.Minor + 1 }, "needs ABI 1.1; this host has 1.0"},
		{"older than it needs", func(g *guest) { g.minor = -1 }, "shikra_abi_v1 says -1 and the manifest needs 0"},
		{"a command", func(g *guest) {
			g.more = func(g *guest) { g.ExportFunc("_start", g.Func("_start", nil, nil)) }
		}, "export _start"},
		{"no name", func(g *guest) { g.manifest.Name = "" }, "name \"\""},
		{"path as name", func(g *guest) { g.manifest.Name = "../x" }, `name "../x"`},
		{"no version number", func(g *guest) { g.manifest.Version = "one" }, `version "one"`},
		{"unknown source", func(g *guest) { g.manifest.Source = "k8s_audit" }, `source "k8s_audit" is unknown`},
		{"unknown event", func(g *guest) { g.manifest.Events = []string{"opneat"} }, `unknown event type "opneat"`},
		{"event without code", func(g *guest) { g.manifest.Events = []string{"openat"} }, `event type "openat" has no code`},
		{"code without event", func(g *guest) {
			g.manifest.Events = []string{}
			g.manifest.EventCodes = []uint16{uint16(openat)}
		}, "event code 307 is openat, which events doesn't name"},
		{"unknown code", func(g *guest) { g.manifest.EventCodes = []uint16{9999} }, "unknown event code 9999"},
		{"unknown segment", func(g *guest) { g.manifest.Segments = []string{"secrets"} }, `unknown segment "secrets"`},
		{"segment twice", func(g *guest) { g.manifest.Segments = []string{"files", "files"} }, "named twice"},
		{"fields without columns", func(g *guest) { g.manifest.Fields = []string{"proc.name"} }, "field proc.name: this host extracts no fields"},
		{"field events for other fields", func(g *guest) { g.manifest.FieldEvents = [][]uint16{{}} }, "field_events has 1 lists for 0 fields"},
		{"field events of other events", func(g *guest) {
			g.manifest.Fields, g.manifest.FieldEvents = []string{"a"}, [][]uint16{{uint16(openat)}}
		}, "field_events of a: event_codes doesn't have 307"},
		{"too much memory", func(g *guest) { g.manifest.MemoryLimit = 1 << 30 }, "asks for 1140850688 bytes of memory, its window included; this host gives at most 268435456"},
		{"more memory than declared", func(g *guest) { g.manifest.MemoryLimit = 65536 }, "starts with 68157440 bytes of memory and declares 67174400"},
		{"too much fuel", func(g *guest) { g.manifest.Fuel = 1 << 40 }, "units of fuel"},
		{"alerts without rules", func(g *guest) { g.rules = nil }, "needs a rule table"},
		{"unknown priority", func(g *guest) { g.rules[1].Priority = "WARNING" }, `unknown priority "WARNING"`},
		{"rule with an unknown code", func(g *guest) { g.rules[1].EventCodes = []uint16{9999} }, `rule "r" names the unknown event code 9999`},
		{"rule without a name", func(g *guest) { g.rules[1].Name = "" }, "rule 1 has no name"},
		{"other import", func(g *guest) { g.Import("wasi_snapshot_preview1", "fd_write", i32, i32) }, `import func "wasi_snapshot_preview1"."fd_write" isn't something`},
		{"unknown capability", func(g *guest) { g.Import(wasmabi.ImportModule, "http", i32, i32) }, `import func "shikra_v1"."http" isn't something`},
		{"the host's own import", func(g *guest) { g.Import(wasmabi.ImportModule, wasmabi.ImportRefill, nil, []wasm.ValType{wasm.I64}) }, `"refill" isn't something`},
		{"import of another major", func(g *guest) { g.Import("shikra_v2", "alert", i32, nil) }, `import "shikra_v2"."alert" is of another ABI`},
		{"import of another type", func(g *guest) { g.Import(wasmabi.ImportModule, wasmabi.ImportAlert, i32, nil) }, "has the type (i32) -> (), not (i32 i32) -> ()"},
		{"second manifest", func(g *guest) { g.Custom(wasmabi.SectionManifest, []byte("{}")) }, `second section "shikra.manifest"`},
		{"start that never ends", func(g *guest) {
			g.more = func(g *guest) {
				f := g.Func("init", nil, nil)
				f.Br(f.Loop())
				f.End()
				g.ExportFunc("_initialize", f)
			}
		}, "trap in guest.init: out of fuel"},
		{"start that traps", func(g *guest) {
			g.more = func(g *guest) {
				f := g.Func("init", nil, nil)
				f.Op(wasm.Unreachable)
				g.ExportFunc("_initialize", f)
			}
		}, "trap in guest.init: unreachable"},
		{"alert at start", func(g *guest) {
			g.more = func(g *guest) {
				f := g.Func("init", nil, nil)
				f.I32Const(0)
				f.I32Const(0)
				f.Call(g.alert)
				g.ExportFunc("_initialize", f)
			}
		}, "event 0 of 0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, engines()[0], func(cfg *Config) { cfg.InitFuel = 1_000_000 })
			g := newGuest(t)
			c.change(g)
			m, err := b.Load(context.Background(), g.bytes(), LoadOptions{})
			if m != nil || err == nil {
				t.Fatalf("Load() = %v, %v", m, err)
			}
			if !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "load module") {
				t.Errorf("Load() = %v\nwant %s", err, c.want)
			}
		})
	}
}

// TestManifestText: the JSON itself.
func TestManifestText(t *testing.T) {
	const good = `{"name":"a","version":"1.0.0","source":"syscall","abi_minor":0,"events":["*"],"event_codes":[],"window_size":65536,"memory_limit":0`
	for _, c := range []struct{ text, want string }{
		{good + `}`, ""},
		{good, "unexpected end of JSON"},
		{good + `} {}`, "after top-level value"},
		{good + `,"netork":true}`, `unknown key "netork"`},
		{good + `,"NAME":"b"}`, `unknown key "NAME"`},
		{good + `,"name":"b"}`, `key "name" stands twice`},
		{good + `,"fields":{"a":1}}`, "cannot unmarshal object"},
		{good + `,"fields":[{"a":1}]}`, "cannot unmarshal object"},
		{strings.Replace(good, "65536", "-1", 1) + `}`, "cannot unmarshal number -1"},
		{strings.Replace(good, "65536", "1e300", 1) + `}`, "cannot unmarshal number"},
		{``, "unexpected end"},
		{`null`, "name"},
		{`[]`, "cannot unmarshal array"},
		{strings.Repeat("[", 20000), "exceeded max depth"},
		{strings.Repeat(" ", maxManifest+1), "the most is"},
	} {
		b := wasm.NewBuilder("x")
		b.Custom(wasmabi.SectionManifest, []byte(c.text))
		code, err := b.Encode()
		if err != nil {
			t.Fatal(err)
		}
		m, err := ReadManifest(code)
		if (err == nil) != (c.want == "") || (m == nil) != (err != nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.150s: %v, want %q", c.text, err, c.want)
		}
	}
	if _, err := ReadManifest([]byte("\x00asm\x01\x00\x00\x00")); err == nil || !strings.Contains(err.Error(), "not a shikra module") {
		t.Errorf("module without a manifest: %v", err)
	}
}
