package pipeline

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/shikra-sensor/shikra/modules/edge"
	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/output"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/compile"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/load"
	"github.com/shikra-sensor/shikra/sensor/internal/testkit"
	"github.com/shikra-sensor/shikra/wasmabi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// nosy rules read everything that a state change touches: the event's file, thread, parent and ancestors.
const nosy = `
- rule: opens
  desc: names as of the open
  condition: evt.type = openat and proc.name in (sh, bash, nginx, cat, worker) and fd.name exists
  output: "%proc.name %proc.pname %proc.aname[2] %proc.cmdline %user.name %fd.name %proc.cwd %evt.num"
  priority: NOTICE
- rule: closes
  desc: the file as it was
  condition: evt.type = close and fd.name contains etc
  output: "%proc.name %fd.name %fd.num"
  priority: NOTICE
- rule: connects
  desc: sockets
  condition: evt.type = connect and proc.aname in (systemd) and fd.sport in (22, 3333)
  output: "%proc.name %fd.name %proc.pname"
  priority: NOTICE
- rule: streams
  desc: dup onto a stream
  condition: evt.type = dup2 and evt.rawres in (0, 1, 2) and fd.typechar = "4"
  output: "%proc.name %fd.name %proc.cmdline"
  priority: NOTICE
- rule: starts
  desc: exec
  condition: evt.type = execve and proc.pname in (nginx, sshd, sh, bash)
  output: "%proc.name %proc.pname %proc.cmdline %proc.pcmdline"
  priority: NOTICE
- rule: told
  desc: what a runtime said, in its own event
  condition: evt.type = container and container.id exists
  output: "%container.id %container.name %container.privileged %container.label[team] %container.labels %evt.num"
  priority: NOTICE
- rule: boxed
  desc: what it had said before another event
  condition: evt.type in (connect, setuid, chdir, prctl) and container.privileged = true and container.label[team] != sshd
  output: "%container.id %container.name %container.labels %proc.name %evt.num"
  priority: NOTICE
- rule: other
  desc: the rest
  condition: evt.type in (chdir, setuid, prctl, unlinkat, clone, procexit) and proc.name != systemd
  output: "%evt.type %proc.name %proc.cwd %user.name %proc.pname %evt.args"
  priority: NOTICE
`

func compiled(t testing.TB, files ...load.Source) []byte {
	t.Helper()
	wasm, ds, err := load.Compile(files, load.Options{Compile: compile.Options{Name: "test", Version: "1.0.0"}})
	if err != nil {
		for _, d := range ds {
			t.Log(d.Text())
		}
		t.Fatal(err)
	}
	return wasm
}

// judge runs n records of a world through a pipeline; limit gives the batch size before each record.
func judge(t testing.TB, wasm []byte, seed uint64, n int, noFlush bool, limit func() int) ([]string, *Stats) {
	t.Helper()
	var got []string
	p, err := New(context.Background(), Config{NoFlushRule: noFlush, Alert: func(a *output.Alert) {
		got = append(got, fmt.Sprintf("%d %s: %s %s", a.EventNum, a.Rule, a.Output, a.Fields))
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Load(wasm); err != nil {
		t.Fatal(err)
	}
	w := testkit.NewWorld(seed, 40)
	w.Snapshot(p.Sink())
	p.Settled()
	for range n {
		p.arena.Batch.SetLimit(limit())
		p.Record(w.Next())
	}
	p.Flush()
	return got, p.Stats()
}

// TestBatchEqualsOne: a batch of N gives the alerts of a batch of one, bit for bit, and would not without the flush rule.
func TestBatchEqualsOne(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	wasm := compiled(t, load.Source{Name: "nosy.yaml", Data: []byte(nosy)})
	n := 20000
	if testing.Short() {
		n = 4000
	}
	one, st := judge(t, wasm, seed, n, false, func() int { return 1 })
	if len(one) < n/20 || st.BadRecords > 0 {
		t.Fatalf("%d alerts of %d records, %d bad: the test shows nothing", len(one), n, st.BadRecords)
	}
	r := rand.New(rand.NewPCG(seed, 1))
	many, st := judge(t, wasm, seed, n, false, func() int { return 1 + r.IntN(wasmabi.BatchMax) })
	t.Logf("%d alerts, mean batch %.1f, %d flushes for state", len(many), float64(st.Judged)/float64(st.Batches), st.StateFlushes)
	diff(t, one, many)
	full, _ := judge(t, wasm, seed, n, false, func() int { return wasmabi.BatchMax })
	diff(t, one, full)
	if st.StateFlushes == 0 {
		t.Error("no batch was cut for a state change: the flush rule isn't at work")
	}
	for _, rule := range []string{" told: ", " boxed: "} {
		if !slices.ContainsFunc(one, func(a string) bool { return strings.Contains(a, rule) }) {
			t.Errorf("no alert%s: the world has no containers", rule)
		}
	}
	wrong, _ := judge(t, wasm, seed, n, true, func() int { return wasmabi.BatchMax })
	if equal(one, wrong) {
		t.Error("the alerts are the same with the flush rule switched off: this test can't fail")
	}
}

func equal(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func diff(t *testing.T, want, got []string) {
	t.Helper()
	for i := range max(len(want), len(got)) {
		a, b := "(none)", "(none)"
		if i < len(want) {
			a = want[i]
		}
		if i < len(got) {
			b = got[i]
		}
		if a != b {
			t.Fatalf("alert %d of %d and %d differs:\none by one: %s\nin batches: %s", i, len(want), len(got), a, b)
		}
	}
}

// TestHostCalls: the built-in rules read the window and nothing else: the host is called for alerts and refills only.
func TestHostCalls(t *testing.T) {
	n := 1_000_000
	if testing.Short() {
		n = 20_000
	}
	_, st := judge(t, compiled(t, load.Source{Name: edge.Name, Data: edge.Rules}), 7, n, false, func() int { return wasmabi.BatchMax })
	m := st.Modules[0]
	if m.Host.HostCalls != m.Host.Alerts+m.Host.Refills || st.Alerts != m.Host.Alerts {
		t.Errorf("%d host calls, %d alerts, %d refills, %d alerts made", m.Host.HostCalls, m.Host.Alerts, m.Host.Refills, st.Alerts)
	}
	if m.Host.Alerts == 0 {
		t.Error("no alerts: the test shows nothing")
	}
	t.Logf("%d events, %d judged: %d host calls, %d of them alerts and %d refills", st.Total(), st.Judged, m.Host.HostCalls, m.Host.Alerts, m.Host.Refills)
}

func TestGarbage(t *testing.T) {
	p, err := New(context.Background(), Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Load(compiled(t, load.Source{Name: edge.Name, Data: edge.Rules})); err != nil {
		t.Fatal(err)
	}
	w := testkit.NewWorld(1, 5)
	r := rand.New(rand.NewPCG(1, 1))
	for range 20000 {
		rec := bytes.Clone(w.Next())
		switch r.IntN(3) {
		case 0:
			rec = rec[:r.IntN(len(rec)+1)]
		case 1:
			for range 1 + r.IntN(8) {
				rec[r.IntN(len(rec))] = byte(r.Uint32())
			}
		}
		p.Record(rec)
	}
	p.Flush()
	if st := p.Stats(); st.BadRecords == 0 || st.Total() == 0 {
		t.Errorf("%d bad, %d taken", st.BadRecords, st.Total())
	}
}

// records are made once: the benchmark measures the pipeline, not the world.
func records(n int) []event.Record {
	w := testkit.NewWorld(42, 60)
	out := make([]event.Record, n)
	for i := range out {
		out[i] = bytes.Clone(w.Next())
	}
	return out
}

func TestNoAllocations(t *testing.T) {
	if os.Getenv("GORACE") != "" {
		t.Skip("the race detector allocates")
	}
	p, feed := quiet(t)
	defer p.Close()
	if p.host.EngineMode() == "interpreter" {
		t.Skip("the interpreter itself allocates in each call")
	}
	feed(20000)
	if n := testing.AllocsPerRun(10, func() { feed(1000) }); n > 2 {
		t.Errorf("%v allocations for 1000 events", n)
	}
}

// quiet is a pipeline with rules that judge everything and hardly ever match, and a function that feeds it open, connect
// and close events of one process.
func quiet(t testing.TB) (*Pipeline, func(n int)) {
	t.Helper()
	p, err := New(context.Background(), Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Load(compiled(t, load.Source{Name: edge.Name, Data: edge.Rules})); err != nil {
		t.Fatal(err)
	}
	w := testkit.NewWorld(1, 3)
	w.Snapshot(p.Sink())
	p.Settled()
	var b event.Builder
	open := bytes.Clone(b.Start(1, 100, event.SyscallOpenatV2X).Int(5).Int(-100).String("/usr/share/zoneinfo/UTC").Int(1).Int(0).Int(1).Int(9).Done())
	closed := bytes.Clone(b.Start(1, 100, event.SyscallCloseX).Int(0).Int(5).Done())
	return p, func(n int) {
		for range n / 2 {
			p.Record(open)
			p.Record(closed)
		}
	}
}

func BenchmarkOpenClose(b *testing.B) {
	p, feed := quiet(b)
	defer p.Close()
	b.ReportAllocs()
	b.ResetTimer()
	feed(b.N + 1)
	p.Flush()
}

// BenchmarkMix is decode, state and the built-in rules over a random world's mix of events.
func BenchmarkMix(b *testing.B) {
	p, err := New(context.Background(), Config{})
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	if err := p.Load(compiled(b, load.Source{Name: edge.Name, Data: edge.Rules})); err != nil {
		b.Fatal(err)
	}
	recs := records(1 << 16)
	w := testkit.NewWorld(42, 60)
	w.Snapshot(p.Sink())
	p.Settled()
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		p.Record(recs[i&(len(recs)-1)])
	}
	p.Flush()
	st := p.Stats()
	b.ReportMetric(float64(st.Judged)/float64(max(st.Batches, 1)), "events/batch")
	b.ReportMetric(float64(st.Alerts)/float64(b.N), "alerts/event")
}

// BenchmarkRules is the built-in rules alone, over a full batch of what a machine does most: opens of ordinary files.
func BenchmarkRules(b *testing.B) {
	p, err := New(context.Background(), Config{})
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	if err := p.Load(compiled(b, load.Source{Name: edge.Name, Data: edge.Rules})); err != nil {
		b.Fatal(err)
	}
	w := testkit.NewWorld(1, 3)
	w.Snapshot(p.Sink())
	p.Settled()
	var r event.Builder
	names := []string{"/usr/share/zoneinfo/UTC", "/proc/self/stat", "/var/lib/app/data.db", "/etc/hosts", "/lib/x86_64-linux-gnu/libc.so.6", "/tmp/work"}
	for i := range wasmabi.BatchMax {
		p.Record(r.Start(1, 100, event.SyscallOpenatV2X).Int(5).Int(-100).String(names[i%len(names)]).Int(int64(1 + i%2)).Int(0).Int(1).Int(9).Done())
	}
	if n := p.arena.Batch.Len(); n != wasmabi.BatchMax {
		b.Fatalf("%d events in the batch", n)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N/wasmabi.BatchMax + 1 {
		for _, m := range p.modules {
			if err := m.Judge(p.ctx); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.StopTimer()
	if p.st.Alerts > 0 {
		b.Fatalf("%d alerts: these opens are ordinary", p.st.Alerts)
	}
}
