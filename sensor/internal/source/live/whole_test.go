package live_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/loadgen"
	"github.com/shikra-sensor/shikra/sensor/internal/probe"
	"github.com/shikra-sensor/shikra/sensor/internal/snapshot"
	"github.com/shikra-sensor/shikra/sensor/internal/source/live"
	"github.com/shikra-sensor/shikra/sensor/internal/testkit"
)

type noSink struct{ threads, files int }

func (s *noSink) AddThread(*snapshot.Thread) { s.threads++ }
func (s *noSink) AddFile(*snapshot.File)     { s.files++ }
func (s *noSink) AddUser(*snapshot.User)     {}
func (s *noSink) AddGroup(*snapshot.Group)   {}

type seen struct {
	byTID map[int64]*[event.NumTypes]uint64
	kids  map[int64][]int64 // by parent, from clone's result
	total uint64
	bad   int
	err   error
}

func (s *seen) record(r event.Record) {
	s.total++
	if err := r.Check(); err != nil {
		s.bad++
		s.err = err
		return
	}
	n := s.byTID[r.TID()]
	if n == nil {
		n = new([event.NumTypes]uint64)
		s.byTID[r.TID()] = n
	}
	n[r.Type()]++
	if r.Type().Info().Name == "clone" {
		if b, ok := r.Param(0); ok {
			if pid, ok := event.ParamPid.Int(b); ok && pid > 0 {
				s.kids[r.TID()] = append(s.kids[r.TID()], pid)
			}
		}
	}
}

// watch runs the source as the sensor does while a load runs in another process.
func watch(t *testing.T, cfg loadgen.Config) (loadgen.Result, *seen, probe.Counters) {
	t.Helper()
	if os.Geteuid() != 0 {
		testkit.Missing(t, "needs root for BPF")
	}
	p, err := probe.Load(probe.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	ring, err := live.NewRing(p.Ring())
	if err != nil {
		t.Fatal(err)
	}
	defer ring.Close()
	if err := p.Attach(); err != nil {
		t.Fatal(err)
	}
	if err := p.SetSyscalls(nil); err != nil {
		t.Fatal(err)
	}
	sink := &noSink{}
	rep, err := live.Snapshot(context.Background(), live.SnapshotConfig{}, sink)
	if err != nil || sink.threads == 0 || sink.files == 0 {
		t.Fatalf("snapshot: %+v, %v", rep, err)
	}
	s := &seen{byTID: map[int64]*[event.NumTypes]uint64{}, kids: map[int64][]int64{}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- live.Run(ctx, live.RunConfig{Ring: ring, Record: s.record}) }()

	js, _ := json.Marshal(cfg)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), live.LoadEnv+"="+string(js))
	cmd.Stderr = os.Stderr
	before := cpuTime()
	out, err := cmd.Output()
	used := cpuTime() - before
	time.Sleep(20 * time.Millisecond)
	cancel()
	if e := <-done; e != nil || err != nil {
		t.Fatal(e, err)
	}
	var res loadgen.Result
	if err := json.Unmarshal(out, &res); err != nil {
		t.Fatal(err)
	}
	c, err := p.Counters()
	if err != nil {
		t.Fatal(err)
	}
	if st := ring.Stats(); st.Bad != 0 || s.bad != 0 {
		t.Errorf("ring %+v; %d unfit records, last: %v", st, s.bad, s.err)
	}
	t.Logf("%s: %.0f events/s, %d seen, CPU of this process %v: %.0f ns an event; lost %d; snapshot of %d threads and %d files in %v",
		cfg.Mode, float64(res.Total)/res.Seconds, s.total, used, float64(used.Nanoseconds())/float64(max(s.total, 1)), c.Lost, rep.Threads, rep.Files, rep.Took)
	return res, s, c
}

func cpuTime() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// compare checks that what was seen of the load's thread and its children, with what was lost of that type, is what the load says it
// made. That nothing is lost can't be asked here, where whatever else the machine does fills the ring too: make bench-probe does.
func compare(t *testing.T, res loadgen.Result, s *seen, c probe.Counters) {
	t.Helper()
	got, lost := map[string]uint64{}, map[string]uint64{}
	for typ, byCause := range c.LostByType {
		for _, n := range byCause {
			lost[typ.Info().Name] += n
		}
	}
	add := func(tid int64) {
		if n := s.byTID[tid]; n != nil {
			for typ, k := range n {
				if k > 0 {
					got[event.Type(typ).Info().Name] += k
				}
			}
		}
	}
	add(int64(res.TID))
	kids := s.kids[int64(res.TID)]
	if n := uint64(len(kids)); n > res.Events["execve"] || n+lost["clone"] < res.Events["execve"] {
		t.Errorf("%d children, want %d; %d lost", n, res.Events["execve"], lost["clone"])
	}
	for _, tid := range kids {
		add(tid)
	}
	for name, n := range res.Events {
		if name == "procexit" && got[name] == n+1 {
			continue // the load's thread itself has ended
		}
		// What the thread does before the load begins and after it has ended: its files, its directory.
		if slack := uint64(40); got[name]+lost[name] < n || got[name] > n+slack {
			t.Errorf("%s: saw %d and lost %d, made %d", name, got[name], lost[name], n)
		}
	}
}

func TestWholeMix(t *testing.T) {
	res, s, c := watch(t, loadgen.Config{Mode: loadgen.ModeMix, Rate: 20000, Duration: 2 * time.Second, CPU: 1 % runtime.NumCPU(), Exec: 10, Connect: 100})
	compare(t, res, s, c)
}

func TestWholeOpenClose(t *testing.T) {
	d := 5 * time.Second
	if testing.Short() {
		d = time.Second
	}
	res, s, c := watch(t, loadgen.Config{Mode: loadgen.ModeOpenClose, Duration: d, CPU: 1 % runtime.NumCPU()})
	compare(t, res, s, c)
}

func TestWholeOneProc(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	res, s, c := watch(t, loadgen.Config{Mode: loadgen.ModeMix, Duration: time.Second, CPU: 1 % runtime.NumCPU()})
	compare(t, res, s, c)
}
