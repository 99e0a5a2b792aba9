package host

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/shikra-sensor/shikra/sensor/internal/arena"
	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/wasm"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// The tests' guests put their window at 1 MiB.
const testWindow = 1 << 20

var i32 = []wasm.ValType{wasm.I32}

// guest is a module under construction, complete but for the body of shikra_batch. Tests change what they want wrong.
type guest struct {
	*wasm.Builder
	t        testing.TB
	manifest wasmabi.Manifest
	rules    []wasmabi.Rule
	alert    int // index of the import; -1 for none
	window   int32
	minor    int32
	pages    uint32
	maxPages uint32
	omit     map[string]bool // exports left out
	// batch writes the body: it must leave an i32. nil returns 0.
	batch func(f *wasm.Func, g *guest)
	more  func(g *guest) // before shikra_batch: more functions
}

func newGuest(t testing.TB) *guest {
	g := &guest{
		Builder: wasm.NewBuilder("guest"),
		t:       t,
		manifest: wasmabi.Manifest{
			Name: "guest", Version: "1.0.0", Source: "syscall", Events: []string{"*"}, EventCodes: []uint16{},
			Segments: []string{"threads", "strings"}, WindowSize: 64 << 20, MemoryLimit: 4 << 20,
		},
		window: testWindow,
		omit:   map[string]bool{},
	}
	for range 3 {
		g.rules = append(g.rules, wasmabi.Rule{Name: "r", Priority: "Warning", Source: "syscall", Output: "o"})
	}
	g.pages = (testWindow + g.manifest.WindowSize) / wasm.PageSize
	g.maxPages = g.pages + 16
	g.alert = g.Import(wasmabi.ImportModule, wasmabi.ImportAlert, []wasm.ValType{wasm.I32, wasm.I32}, nil)
	return g
}

func (g *guest) bytes() []byte {
	g.t.Helper()
	g.Memory(g.pages, g.maxPages)
	if g.more != nil {
		g.more(g)
	}
	f := g.Func("abi", nil, i32)
	f.I32Const(g.minor)
	g.export(wasmabi.VersionExport, func(n string) { g.ExportFunc(n, f) })
	w := g.Global("window", wasm.I32, false, int64(g.window))
	g.export(wasmabi.ExportWindow, func(n string) { g.ExportGlobal(n, w) })
	b := g.Func("judge_batch", nil, i32)
	if g.batch != nil {
		g.batch(b, g)
	} else {
		b.I32Const(0)
	}
	g.export(wasmabi.ExportBatch, func(n string) { g.ExportFunc(n, b) })
	man, err := json.Marshal(g.manifest)
	if err != nil {
		g.t.Fatal(err)
	}
	g.Custom(wasmabi.SectionManifest, man)
	if g.rules != nil {
		tab, err := json.Marshal(wasmabi.RuleTable{Rules: g.rules})
		if err != nil {
			g.t.Fatal(err)
		}
		g.Custom(wasmabi.SectionRules, tab)
	}
	out, err := g.Encode()
	if err != nil {
		g.t.Fatal(err)
	}
	return out
}

func (g *guest) export(name string, fn func(string)) {
	if !g.omit[name] {
		fn(name)
	}
}

type hit struct{ event, rule int }

// bench is a host with an arena and the alerts that came.
type bench struct {
	*Host
	t     testing.TB
	arena *arena.Arena
	hits  []hit
}

// engines are the engines that this machine has.
func engines() []string {
	if tryCompiler(context.Background()) == nil {
		return []string{Compiler, Interpreter}
	}
	return []string{Interpreter}
}

func newBench(t testing.TB, engine string, change ...func(*Config)) *bench {
	t.Helper()
	a, err := arena.New(arena.Config{Threads: 1000, Files: 1000, Strings: 1 << 20, Private: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, arena: a}
	cfg := Config{Arena: a, Engine: engine, OnAlert: func(_ *Module, e, r int) { b.hits = append(b.hits, hit{e, r}) }}
	for _, c := range change {
		c(&cfg)
	}
	b.Host, err = New(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Host.Close(); err != nil {
			t.Error(err)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func (b *bench) load(g *guest) *Module {
	b.t.Helper()
	m, err := b.Load(context.Background(), g.bytes(), LoadOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	return m
}

// openat is an event type with parameters; which one doesn't matter.
const openat = event.SyscallOpenatV2X

// push queues an event of a thread and returns it.
func (b *bench) push(tid int64) event.Event {
	b.t.Helper()
	var r event.Builder
	e, ok := b.arena.Batch.Append(r.Start(uint64(tid)*10, tid, openat).Int(3).Int(-100).String("/etc/shadow").Done(), uint64(tid))
	if !ok {
		b.t.Fatal("no room in the batch")
	}
	return e
}

// loopEvents writes a loop over the events of the batch: body sees the index and the event's address.
func loopEvents(f *wasm.Func, g *guest, body func(i, ev wasm.Local, next wasm.Label)) {
	batch, n := f.Local(wasm.I32, "batch"), f.Local(wasm.I32, "count")
	i, ev := f.Local(wasm.I32, "i"), f.Local(wasm.I32, "event")
	f.I32Const(g.window)
	f.I32Const(g.window)
	f.Mem(wasm.I32Load, wasmabi.DirectorySegments+8*uint32(wasmabi.SegmentBatch))
	f.Op(wasm.I32Add)
	f.Tee(batch)
	f.Mem(wasm.I32Load, wasmabi.BatchCount)
	f.Set(n)
	done := f.Block()
	loop := f.Loop()
	f.Get(i)
	f.Get(n)
	f.Op(wasm.I32GeU)
	f.BrIf(done)
	f.Get(batch)
	f.Get(batch)
	f.Get(i)
	f.I32Const(2)
	f.Op(wasm.I32Shl, wasm.I32Add)
	f.Mem(wasm.I32Load, wasmabi.BatchIndex)
	f.Op(wasm.I32Add)
	f.Set(ev)
	next := f.Block()
	body(i, ev, next)
	f.End()
	f.Get(i)
	f.I32Const(1)
	f.Op(wasm.I32Add)
	f.Set(i)
	f.Br(loop)
	f.End()
	f.End()
}
