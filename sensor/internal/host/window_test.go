package host

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/shikra-sensor/shikra/sensor/internal/arena"
	"github.com/shikra-sensor/shikra/sensor/internal/wasm"
	"github.com/shikra-sensor/shikra/wasmabi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// segment pushes the address of a segment, as the directory states it.
func (g *guest) segment(f *wasm.Func, s wasmabi.Segment) {
	f.I32Const(g.window)
	f.I32Const(g.window)
	f.Mem(wasm.I32Load, wasmabi.DirectorySegments+8*uint32(s))
	f.Op(wasm.I32Add)
}

// commIs alerts for events whose thread's name starts with the letter c: event → thread record → string record.
func commIs(c byte) func(f *wasm.Func, g *guest) {
	return func(f *wasm.Func, g *guest) {
		loopEvents(f, g, func(i, ev wasm.Local, next wasm.Label) {
			g.segment(f, wasmabi.SegmentStrings)
			g.segment(f, wasmabi.SegmentThreads)
			f.Get(ev)
			f.Mem(wasm.I32Load, wasmabi.EventThread)
			f.I32Const(g.window)
			f.Mem(wasm.I32Load, wasmabi.DirectoryThreadSize)
			f.Op(wasm.I32Mul, wasm.I32Add)
			f.Mem(wasm.I32Load, wasmabi.ThreadComm)
			f.Op(wasm.I32Add)
			f.Mem(wasm.I32Load8U, wasmabi.StringSize)
			f.I32Const(int32(c))
			f.Op(wasm.I32Ne)
			f.BrIf(next)
			f.Get(i)
			f.I32Const(2)
			f.Call(g.alert)
		})
		f.I32Const(0)
	}
}

func (b *bench) thread(comm string) uint32 {
	b.t.Helper()
	s, ok := b.arena.Threads.Alloc()
	if !ok {
		b.t.Fatal("no thread slot")
	}
	binary.LittleEndian.PutUint32(b.arena.Threads.Record(s)[wasmabi.ThreadComm:], b.arena.Strings.InternString(comm))
	return s
}

// TestWindowShowsState: records and strings made before and after the guest started show in its window.
func TestWindowShowsState(t *testing.T) {
	for _, e := range engines() {
		b := newBench(t, e)
		cat := b.thread("cat")
		g := newGuest(t)
		g.batch = commIs('c')
		m := b.load(g)
		for round := range 2 {
			b.hits = nil
			for _, s := range []uint32{cat, b.thread("ls"), b.thread(fmt.Sprint("c", round))} {
				b.push(int64(s)).SetThread(s)
			}
			if err := m.Judge(context.Background()); err != nil {
				t.Fatal(err)
			}
			if want := []hit{{0, 2}, {2, 2}}; !reflect.DeepEqual(b.hits, want) {
				t.Errorf("%s: round %d: alerts %v, want %v", e, round, b.hits, want)
			}
			b.arena.Flushed()
		}
	}
}

// TestScribble: a guest that writes over its window changes its own view only. Restore, or the fresh start after a trap,
// shows it the host's bytes again.
func TestScribble(t *testing.T) {
	all := []wasmabi.Segment{wasmabi.SegmentBatch, wasmabi.SegmentThreads, wasmabi.SegmentFiles, wasmabi.SegmentContainers,
		wasmabi.SegmentStrings, wasmabi.SegmentPrivate}
	for _, e := range engines() {
		for _, c := range []struct {
			over  []wasmabi.Segment
			traps bool // the next call runs into what was written
		}{{all, true}, {all[wasmabi.SegmentStrings:wasmabi.SegmentPrivate], false}} {
			b := newBench(t, e)
			cat := b.thread("cat")
			g := newGuest(t)
			g.manifest.Segments = []string{"threads", "files", "containers", "strings", "private"}
			g.batch = func(f *wasm.Func, g *guest) {
				commIs('c')(f, g)
				f.Op(wasm.Drop)
				for _, s := range c.over {
					g.segment(f, s)
					f.I32Const('!')
					f.I32Const(g.window)
					f.Mem(wasm.I32Load, wasmabi.DirectorySegments+8*uint32(s)+4)
					f.MemoryFill()
				}
				f.I32Const(0)
			}
			m := b.load(g)
			judge := func(want int, traps bool) {
				t.Helper()
				b.hits = nil
				b.arena.Flushed()
				b.push(1).SetThread(cat)
				var before [][]byte
				for _, s := range all {
					before = append(before, fileOf(t, b.arena, s))
				}
				var trap *TrapError
				if err := m.Judge(context.Background()); len(b.hits) != want || errors.As(err, &trap) != traps {
					t.Errorf("%s: %d alerts, want %d (%v)", e, len(b.hits), want, err)
				}
				for s, w := range before {
					if !bytes.Equal(w, fileOf(t, b.arena, wasmabi.Segment(s))) {
						t.Errorf("%s: the guest changed the host's segment %s", e, wasmabi.Segment(s))
					}
				}
			}
			judge(1, false)
			judge(0, c.traps)
			if !c.traps {
				if err := m.Restore(); err != nil {
					t.Fatal(err)
				}
			}
			judge(1, false)
		}
	}
}

func fileOf(t *testing.T, a *arena.Arena, s wasmabi.Segment) []byte {
	t.Helper()
	fd, size := a.Segment(s)
	b, err := os.ReadFile(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil || len(b) != size {
		t.Fatalf("read segment %s: %v, %d bytes", s, err, len(b))
	}
	return b
}

// TestUndeclared: segments that the manifest doesn't name aren't in the window. The directory says so, and all of the
// reservation behind the mapped ones reads as zeros.
func TestUndeclared(t *testing.T) {
	for _, e := range engines() {
		b := newBench(t, e)
		secret := []byte("password=hunter2")
		b.arena.Private.Intern(secret)
		for name, segs := range map[string][]string{"declared": {"private"}, "undeclared": {"threads", "files", "containers", "strings"}} {
			g := newGuest(t)
			g.manifest.Segments = segs
			// The directory's entry of the private segment must be 0; then look for a letter of the secret anywhere.
			g.batch = func(f *wasm.Func, g *guest) {
				p, end := f.Local(wasm.I32, "p"), f.Local(wasm.I32, "end")
				f.I32Const(g.window)
				f.Mem(wasm.I32Load, wasmabi.DirectorySegments+8*uint32(wasmabi.SegmentPrivate))
				f.If()
				f.I32Const(1)
				f.Return()
				f.End()
				f.I32Const(0)
				f.Set(p)
				f.I32Const(int32(g.pages) * wasm.PageSize)
				f.Set(end)
				l := f.Loop()
				f.Get(p)
				f.Mem(wasm.I64Load, 0)
				f.I64Const(int64(binary.LittleEndian.Uint64(secret)))
				f.Op(wasm.I64Eq)
				f.If()
				f.I32Const(2)
				f.Return()
				f.End()
				f.Get(p)
				f.I32Const(8)
				f.Op(wasm.I32Add)
				f.Tee(p)
				f.Get(end)
				f.Op(wasm.I32LtU)
				f.BrIf(l)
				f.End()
				f.I32Const(0)
			}
			m := b.load(g)
			b.push(1)
			err := m.Judge(context.Background())
			var res *ResultError
			if name == "declared" && (!errors.As(err, &res) || res.Code != 1) || name == "undeclared" && err != nil {
				t.Errorf("%s: %s: %v", e, name, err)
			}
			if err := m.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestColumns: the directory names the columns of the manifest's fields in its order.
func TestColumns(t *testing.T) {
	b := newBench(t, engines()[0])
	g := newGuest(t)
	g.manifest.Fields = []string{"evt.num", "proc.name"}
	g.batch = func(f *wasm.Func, g *guest) { // returns the integer in field 1 of event 0
		g.segment(f, wasmabi.SegmentBatch)
		f.I32Const(g.window)
		f.Mem(wasm.I32Load, wasmabi.DirectoryColumns+4)
		f.Op(wasm.I32Add)
		f.Mem(wasm.I32Load, wasmabi.CellVal)
	}
	column := func(f string) (int, error) { return map[string]int{"evt.num": 5, "proc.name": 9}[f], nil }
	m, err := b.Load(context.Background(), g.bytes(), LoadOptions{Column: column})
	if err != nil {
		t.Fatal(err)
	}
	b.push(1)
	b.arena.Batch.SetInt(5, 0, 55)
	b.arena.Batch.SetInt(9, 0, 99)
	var res *ResultError
	if err := m.Judge(context.Background()); !errors.As(err, &res) || res.Code != 99 {
		t.Errorf("Judge() = %v, want code 99", err)
	}
	bad := errors.New("no such field")
	for _, c := range []struct {
		column func(string) (int, error)
		want   string
	}{
		{func(string) (int, error) { return 0, bad }, "field evt.num: no such field"},
		{func(string) (int, error) { return wasmabi.MaxColumns, nil }, "column 128 of 128"},
		{func(string) (int, error) { return -1, nil }, "column -1 of 128"},
	} {
		if _, err := b.Load(context.Background(), g2(g).bytes(), LoadOptions{Column: c.column}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Load() = %v, want %s", err, c.want)
		}
	}
}

// g2 is a second guest with the manifest of g: a builder is used up by encoding.
func g2(g *guest) *guest {
	n := newGuest(g.t)
	n.manifest = g.manifest
	return n
}

// TestJudgeAllocs: compiled calls allocate nothing, with alerts too.
func TestJudgeAllocs(t *testing.T) {
	if engines()[0] != Compiler {
		t.Skip("the interpreter allocates a frame for each call")
	}
	n := 0
	b := newBench(t, Compiler, func(c *Config) { c.OnAlert = func(*Module, int, int) { n++ } })
	g := newGuest(t)
	g.batch = evenTID
	m := b.load(g)
	for tid := range int64(200) {
		b.push(tid)
	}
	ctx := context.Background()
	if avg := testing.AllocsPerRun(1000, func() {
		if err := m.Judge(ctx); err != nil {
			t.Error(err)
		}
	}); avg != 0 {
		t.Errorf("%v allocations for one call", avg)
	}
	if s := m.Stats(); s.Refills > s.Fuel/compilerSlice+2 || uint64(n) != s.Alerts || s.Alerts != 100*s.Calls {
		t.Errorf("%d alerts, Stats() = %+v", n, s)
	}
}

// TestCollectorDoesNotWait: while a guest loops for long, garbage collections go on: each refill lets one in.
func TestCollectorDoesNotWait(t *testing.T) {
	if engines()[0] != Compiler {
		t.Skip("interpreted code is Go, which the collector can stop anywhere")
	}
	b := newBench(t, Compiler, func(c *Config) { c.Fuel = 400_000_000 })
	g := newGuest(t)
	g.batch = onFirst(func(f *wasm.Func, _ *guest) {
		f.Br(f.Loop())
		f.End()
	})
	m := b.load(g)
	b.push(1)
	done := make(chan error, 1)
	go func() { done <- m.Judge(context.Background()) }()
	var worst time.Duration
	rounds := 0
	for {
		select {
		case err := <-done:
			if !errors.Is(err, ErrFuel) {
				t.Errorf("Judge() = %v", err)
			}
			// Generous: the machine is shared. Without refills one collection waits for the whole call.
			if worst > 100*time.Millisecond || rounds < 3 {
				t.Errorf("%d collections, the longest %v", rounds, worst)
			}
			return
		default:
		}
		begin := time.Now()
		runtime.GC()
		worst = max(worst, time.Since(begin))
		rounds++
	}
}

// TestCloseDuringCall: closing waits for the call, and a closed module refuses.
func TestCloseDuringCall(t *testing.T) {
	for _, e := range engines() {
		b := newBench(t, e, func(c *Config) { c.Fuel = 5_000_000 })
		g := newGuest(t)
		g.batch = onFirst(func(f *wasm.Func, _ *guest) {
			f.Br(f.Loop())
			f.End()
		})
		m := b.load(g)
		b.push(1)
		var wg sync.WaitGroup
		for range 4 {
			wg.Add(2)
			go func() {
				defer wg.Done()
				if err := m.Judge(context.Background()); !errors.Is(err, ErrFuel) && !errors.Is(err, ErrClosed) {
					t.Errorf("%s: Judge() = %v", e, err)
				}
			}()
			go func() {
				defer wg.Done()
				time.Sleep(time.Millisecond)
				if err := m.Close(); err != nil {
					t.Errorf("%s: Close() = %v", e, err)
				}
			}()
		}
		wg.Wait()
		if err := m.Judge(context.Background()); !errors.Is(err, ErrClosed) {
			t.Errorf("%s: Judge() after Close() = %v", e, err)
		}
		if err := m.Restore(); err != nil {
			t.Errorf("%s: Restore() after Close() = %v", e, err)
		}
		if err := b.Host.Close(); err != nil {
			t.Error(err)
		}
		if _, err := b.Load(context.Background(), newGuest(t).bytes(), LoadOptions{}); !errors.Is(err, ErrClosed) {
			t.Errorf("%s: Load() after Close() = %v", e, err)
		}
	}
}

// TestLeaks: loading, trapping, failing to load and closing leave no file descriptor and no mapping.
func TestLeaks(t *testing.T) {
	for _, e := range engines() {
		b := newBench(t, e, func(c *Config) { c.Fuel, c.InitFuel = 1_000_000, 1_000_000 })
		round := func() {
			g := newGuest(t)
			g.batch = onFirst(func(f *wasm.Func, _ *guest) { f.Op(wasm.Unreachable) })
			m := b.load(g)
			b.push(1)
			for range 3 {
				if err := m.Judge(context.Background()); err == nil {
					t.Error("no trap")
				}
			}
			if err := m.Close(); err != nil {
				t.Error(err)
			}
			b.arena.Flushed()
			bad := newGuest(t)
			bad.window += 4096
			if _, err := b.Load(context.Background(), bad.bytes(), LoadOptions{}); err == nil {
				t.Error("loaded")
			}
			bad = newGuest(t)
			bad.more = func(g *guest) {
				f := g.Func("init", nil, nil)
				f.Op(wasm.Unreachable)
				g.ExportFunc("_initialize", f)
			}
			if _, err := b.Load(context.Background(), bad.bytes(), LoadOptions{}); err == nil {
				t.Error("loaded")
			}
		}
		round()
		fds, maps := openFDs(t), windowMaps(t)
		for range 20 {
			round()
		}
		if n := openFDs(t); n != fds {
			t.Errorf("%s: %d file descriptors, %d before", e, n, fds)
		}
		if n := windowMaps(t); n != maps {
			t.Errorf("%s: %d mappings of the arena, %d before", e, n, maps)
		}
		if len(b.modules) != 0 {
			t.Errorf("%s: %d modules", e, len(b.modules))
		}
	}
}

func openFDs(t *testing.T) int {
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(d)
}

// windowMaps counts the mappings of arenas and the reservations around them.
func windowMaps(t *testing.T) int {
	b, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for l := range strings.Lines(string(b)) {
		if strings.Contains(l, "memfd:shikra-") || strings.Contains(l, "---p") {
			n++
		}
	}
	return n
}

// TestEngine: what is asked for is what runs; nothing falls back in silence.
func TestEngine(t *testing.T) {
	ctx := context.Background()
	switch e, err := chooseEngine(ctx, "auto"); {
	case err != nil:
		t.Error(err)
	case e.Mode == Compiler && e.Reason != "", e.Mode == Interpreter && e.Reason == "":
		t.Errorf("auto: %+v", e)
	case runtime.GOARCH == "amd64" && e.Mode != Compiler:
		t.Errorf("auto: %+v: amd64 machines that run tests have SSE4.1 and executable memory", e)
	case runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64":
		if _, err := chooseEngine(ctx, Compiler); err == nil || !strings.Contains(err.Error(), "no compiler for "+runtime.GOARCH) {
			t.Errorf("compiler: %v", err)
		}
	}
	if e, err := chooseEngine(ctx, Interpreter); err != nil || e.Mode != Interpreter {
		t.Errorf("interpreter: %+v, %v", e, err)
	}
	if _, err := chooseEngine(ctx, "jit"); err == nil {
		t.Error("engine jit was taken")
	}
}

// TestMappingBounds: mapFile refuses what doesn't lie inside.
func TestMappingBounds(t *testing.T) {
	b := newBench(t, Interpreter)
	fd, _ := b.arena.Segment(wasmabi.SegmentContainers)
	r, err := reserve(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Free()
	if r.Reallocate(512<<10) == nil || r.Reallocate(2<<20) != nil {
		t.Fatal("Reallocate")
	}
	const k = wasmabi.WindowAlign
	for _, c := range []struct {
		off, size uintptr
		ok        bool
	}{{0, k, true}, {512<<10 - k, k, true}, {512 << 10, k, false}, {512<<10 - k, 2 * k, false}, {4096, k, false}, {0, 4096, false}, {^uintptr(0) - k + 1, k, false}} {
		if err := r.mapFile(fd, c.off, c.size); (err == nil) != c.ok {
			t.Errorf("mapFile(%#x, %#x) = %v", c.off, c.size, err)
		}
	}
	if _, err := reserve(1 << 32); err == nil {
		t.Error("reserve took 4 GiB: the engine's lengths have 32 bits")
	}
}
