package live

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/testkit"
)

// needBPF skips where BPF can't be used; where it can, nothing is skipped.
func needBPF(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		testkit.Missing(t, "needs root for BPF")
	}
	_ = rlimit.RemoveMemlock()
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.RingBuf, MaxEntries: uint32(os.Getpagesize())})
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS) {
		t.Skipf("the kernel refuses BPF: %v", err)
	}
	if err != nil {
		t.Fatalf("make a ring buffer: %v", err)
	}
	m.Close()
}

// writer is a BPF program that writes numbered records of one size into a ring.
type writer struct {
	ring  *ebpf.Map
	count *ebpf.Map
	prog  *ebpf.Program
	size  int
}

// newWriter makes a writer of records of size bytes, of which every discard-th is given up (0: none). A record begins
// with its number.
func newWriter(t testing.TB, ring *ebpf.Map, size, discard int) *writer {
	t.Helper()
	count, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 16, MaxEntries: 1})
	if err != nil {
		t.Fatal(err)
	}
	insns := asm.Instructions{
		asm.StoreImm(asm.RFP, -4, 0, asm.Word),
		asm.LoadMapPtr(asm.R1, count.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, -4),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "out"),
		asm.Mov.Reg(asm.R6, asm.R0),
		asm.LoadMem(asm.R7, asm.R6, 0, asm.DWord),
		asm.Add.Imm(asm.R7, 1),
		asm.StoreMem(asm.R6, 0, asm.R7, asm.DWord),
		asm.LoadMapPtr(asm.R1, ring.FD()),
		asm.Mov.Imm(asm.R2, int32(size)), asm.Mov.Imm(asm.R3, 0),
		asm.FnRingbufReserve.Call(),
		asm.JNE.Imm(asm.R0, 0, "have"),
		asm.LoadMem(asm.R1, asm.R6, 8, asm.DWord), // the ring is full: count it
		asm.Add.Imm(asm.R1, 1),
		asm.StoreMem(asm.R6, 8, asm.R1, asm.DWord),
		asm.Ja.Label("out"),
		asm.StoreMem(asm.R0, 0, asm.R7, asm.DWord).WithSymbol("have"),
		asm.Mov.Reg(asm.R1, asm.R0),
		asm.Mov.Imm(asm.R2, 1), // no wake-up
	}
	if discard > 0 {
		insns = append(insns,
			asm.Mov.Reg(asm.R3, asm.R7), asm.Mod.Imm(asm.R3, int32(discard)),
			asm.JNE.Imm(asm.R3, 0, "submit"),
			asm.FnRingbufDiscard.Call(),
			asm.Ja.Label("out"))
	}
	insns = append(insns,
		asm.FnRingbufSubmit.Call().WithSymbol("submit"),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("out"),
		asm.Return())
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SocketFilter, License: "GPL", Instructions: insns})
	if err != nil {
		t.Fatalf("load the writer: %v", err)
	}
	t.Cleanup(func() { prog.Close(); count.Close() })
	return &writer{ring: ring, count: count, prog: prog, size: size}
}

// run makes n records and returns how many were made so far: a signal may make the kernel run some more than asked for.
func (w *writer) run(t testing.TB, n int) (made int) {
	t.Helper()
	_, err := w.prog.Run(&ebpf.RunOptions{Data: make([]byte, 64), Repeat: uint32(n)})
	if err != nil {
		t.Fatalf("run the writer: %v", err)
	}
	all, _ := w.counts(t)
	return int(all)
}

func (w *writer) counts(t testing.TB) (made, lost uint64) {
	t.Helper()
	var v [2]uint64
	if err := w.count.Lookup(uint32(0), &v); err != nil {
		t.Fatal(err)
	}
	return v[0], v[1]
}

func (w *writer) lost(t testing.TB) uint64 {
	t.Helper()
	_, lost := w.counts(t)
	return lost
}

func newMap(t testing.TB, size int) *ebpf.Map {
	t.Helper()
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.RingBuf, MaxEntries: uint32(size)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func TestRingRefusesOtherMaps(t *testing.T) {
	needBPF(t)
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if r, err := NewRing(m); err == nil || r != nil {
		t.Fatalf("NewRing took an array: %v", r)
	}
}

func TestRingReadsWhatTheKernelWrites(t *testing.T) {
	needBPF(t)
	for _, tt := range []struct{ pages, size, discard int }{{1, 40, 0}, {1, 13, 3}, {4, 1000, 0}, {16, 4000, 2}, {256, 200, 0}} {
		m := newMap(t, tt.pages*os.Getpagesize())
		w := newWriter(t, m, tt.size, tt.discard)
		r, err := NewRing(m)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		whole := (tt.size + 15) &^ 7
		step := max(r.Size()/whole/3, 1)
		number, total := uint64(0), 0
		for range 40 { // thirteen times around
			total = w.run(t, step)
			r.Drain(func(rec event.Record) {
				number++
				if tt.discard > 0 && number%uint64(tt.discard) == 0 {
					number++
				}
				if len(rec) != tt.size || binary.NativeEndian.Uint64(rec) != number {
					t.Fatalf("%+v: record of %d bytes, number %d, want %d", tt, len(rec), binary.NativeEndian.Uint64(rec), number)
				}
			}, total)
		}
		if tt.discard > 0 && int(number) < total && (number+1)%uint64(tt.discard) == 0 {
			number++ // the last one was given up
		}
		s := r.Stats()
		if int(number) != total || s.Bad != 0 || s.Records+s.Discarded != uint64(total) || w.lost(t) != 0 || r.Pending() != 0 {
			t.Errorf("%+v: last number %d of %d, stats %+v, %d lost", tt, number, total, s, w.lost(t))
		}
	}
}

func TestRingFullLosesNewest(t *testing.T) {
	needBPF(t)
	m := newMap(t, os.Getpagesize())
	w := newWriter(t, m, 56, 0)
	r, err := NewRing(m)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	made := w.run(t, 1000)
	n := r.Drain(func(event.Record) {}, 10000)
	if lost := int(w.lost(t)); n == 0 || n+lost != made {
		t.Errorf("%d read and %d lost of %d", n, lost, made)
	}
	more := w.run(t, 10) - made
	if n := r.Drain(func(event.Record) {}, 10000); n != more {
		t.Errorf("after the drain %d of %d", n, more)
	}
}

func TestRunSeesAllAndEnds(t *testing.T) {
	needBPF(t)
	for _, procs := range []int{1, 2} {
		old := runtime.GOMAXPROCS(procs)
		m := newMap(t, 8<<20)
		w := newWriter(t, m, 100, 0)
		r, err := NewRing(m)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		var seen, idle atomic.Int64
		done := make(chan error, 1)
		go func() {
			done <- Run(ctx, RunConfig{Ring: r, Record: func(event.Record) { seen.Add(1) }, Idle: func() { idle.Add(1) }})
		}()
		const rounds, each = 100, 1500 // twice the ring in all
		for range rounds {
			w.run(t, each)
			time.Sleep(time.Millisecond)
		}
		made, lost := w.counts(t)
		for end := time.Now().Add(2 * time.Second); seen.Load() < int64(made) && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		start := time.Now()
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("took %v to end", d)
		}
		if made < rounds*each || seen.Load() != int64(made) || lost != 0 || idle.Load() == 0 {
			t.Errorf("procs=%d: saw %d of %d, lost %d, idle %d", procs, seen.Load(), made, lost, idle.Load())
		}
		r.Close()
		runtime.GOMAXPROCS(old)
	}
}

func TestRunDrainsAfterTheEnd(t *testing.T) {
	needBPF(t)
	m := newMap(t, 1<<20)
	w := newWriter(t, m, 100, 0)
	r, err := NewRing(m)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	made := w.run(t, 100)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	n := 0
	if err := Run(ctx, RunConfig{Ring: r, Record: func(event.Record) { n++ }}); err != nil || n != made {
		t.Errorf("%d records, %v", n, err)
	}
	if err := Run(ctx, RunConfig{}); err == nil {
		t.Error("Run without a ring")
	}
}

func TestPace(t *testing.T) {
	const ms = time.Millisecond
	p := newPace(0, 8<<20)
	for _, x := range []struct {
		elapsed time.Duration
		bytes   uint64
		want    time.Duration
		what    string
	}{
		{18 * ms, 0, 18 * ms, "idle"},
		{10 * ms, 100 * 150, 18 * ms, "10,000 events/s"},
		{18 * ms, 9000 * 120, 17476266 * time.Nanosecond, "500,000 events/s"},
		{10 * ms, 8900 * 150, 7854501 * time.Nanosecond, "890,000 events/s"},
		{ms, 4 << 20, ms / 4, "half a ring in a millisecond"},
		{ms, 0, ms * 3 / 8, "calm again"},
		{ms, 0, ms * 9 / 16, "still calm"},
	} {
		if d := p.next(x.elapsed, x.bytes); d != x.want {
			t.Errorf("%s: %v, not %v", x.what, d, x.want)
		}
	}
	if d := newPace(0, 64<<10).most; d > 200*time.Microsecond {
		t.Errorf("a ring of 64 KiB: %v", d)
	}
}

// BenchmarkRingDrain is the drain of records that the kernel has written, of 150 bytes, of which the type is looked at.
func BenchmarkRingDrain(b *testing.B) {
	needBPF(b)
	m := newMap(b, 8<<20)
	w := newWriter(b, m, 150, 0)
	r, err := NewRing(m)
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	const fill = 20000
	sum := 0
	for n := 0; n < b.N; {
		b.StopTimer()
		w.run(b, fill)
		b.StartTimer()
		n += r.Drain(func(rec event.Record) { sum += int(rec.Type()) }, fill*2)
	}
}

// BenchmarkRunIdle is the cost of the loop itself: CPU time per second of wall time, in µs.
func BenchmarkRunIdle(b *testing.B) {
	needBPF(b)
	r, err := NewRing(newMap(b, 8<<20))
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	for range b.N {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		before := cpuTime()
		_ = Run(ctx, RunConfig{Ring: r, Record: func(event.Record) {}})
		cancel()
		b.ReportMetric(float64((cpuTime()-before).Microseconds())/2, "cpu-µs/s")
	}
}

func cpuTime() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
