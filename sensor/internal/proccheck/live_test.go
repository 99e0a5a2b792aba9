package proccheck

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/arena"
	"github.com/shikra-sensor/shikra/sensor/internal/decode"
	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/probe"
	"github.com/shikra-sensor/shikra/sensor/internal/source/live"
	"github.com/shikra-sensor/shikra/sensor/internal/state"
	"github.com/shikra-sensor/shikra/sensor/internal/testkit"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// watcher is the sensor without rules: the probe, its ring and the state, on the goroutine of the test.
type watcher struct {
	probe  *probe.Probe
	ring   *live.Ring
	arena  *arena.Arena
	state  *state.State
	finder *live.Finder
	repair *live.Repairer // nil for none
	events uint64
	forked uint64 // processes that began, threads left out
	past   history
	noPast bool                           // keep none
	see    func(r event.Record, fd int32) // each event; nil for nobody
	drop   func() bool                    // whether the next record is to be lost; nil for never
}

// watch starts a watcher as `shikra run` does, with the events that the state needs.
func watch(t *testing.T, cfg probe.Config) *watcher {
	t.Helper()
	return watchIn(t, cfg, arena.Config{})
}

func watchIn(t *testing.T, cfg probe.Config, ac arena.Config) *watcher {
	t.Helper()
	if os.Geteuid() != 0 {
		testkit.Missing(t, "needs root for BPF")
	}
	cfg.Syscalls = []string{}
	for _, sc := range event.Syscalls() {
		if sc.Exit != event.GenericX && (state.Needs(sc.Exit) || state.NeedsPart(sc.Exit)) {
			cfg.Syscalls = append(cfg.Syscalls, sc.Name)
		}
		if state.NeedsPart(sc.Exit) {
			cfg.Part = append(cfg.Part, sc.Name)
		}
	}
	w := &watcher{}
	var err error
	if w.probe, err = probe.Load(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.probe.Close() })
	if w.ring, err = live.NewRing(w.probe.Ring()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.ring.Close() })
	if w.arena, err = arena.New(ac); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.arena.Close() })
	lookup, err := live.NewLookup("/")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(lookup.Close)
	if w.finder, err = live.NewFinder("/"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.finder.Close)
	w.state, err = state.New(state.Config{Arena: w.arena, Flush: w.arena.Flushed, LookupThread: lookup.Thread, AskFile: w.finder.Ask})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.probe.SetSyscalls(nil); err != nil {
		t.Fatal(err)
	}
	if err := w.probe.Attach(); err != nil {
		t.Fatal(err)
	}
	if _, err := live.Snapshot(context.Background(), live.SnapshotConfig{}, w.state); err != nil {
		t.Fatal(err)
	}
	w.state.Settled()
	return w
}

func (w *watcher) drain() {
	for w.ring.Drain(w.record, 4096) > 0 {
	}
	w.finder.Step(w.state.FoundFile)
	if w.repair != nil {
		w.repair.Step()
	}
	w.arena.Flushed()
}

func (w *watcher) record(r event.Record) {
	if w.drop != nil && w.drop() {
		return
	}
	m, err := decode.Decode(r)
	if err != nil {
		return
	}
	w.events++
	switch r.Type() {
	case event.SyscallCloneV20X, event.SyscallForkV20X, event.SyscallVforkV20X, event.SyscallClone3X:
		if pid, ok := r.Param(4); ok && m.HasRes && m.Res == 0 && len(pid) == 8 && int64(le.Uint64(pid)) == r.TID() {
			w.forked++ // the child's own event
		}
	}
	if w.see != nil {
		w.see(r, m.FD)
	}
	refs := w.state.Apply(r, m, false)
	if !w.noPast {
		pid := r.TID()
		if refs.Thread != 0 {
			pid = int64(le.Uint64(w.arena.Threads.Record(refs.Thread)[wasmabi.ThreadPid:]))
		}
		w.past.add(r, m, refs, pid)
	}
}

// run drains for as long.
func (w *watcher) run(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Millisecond) {
		w.drain()
	}
}

func (w *watcher) checker() *Checker {
	self := os.Getpid()
	return &Checker{Arena: w.arena, State: w.state, Drain: w.drain, Skip: func(pid int) bool { return pid == self }}
}

// newCrowd starts the load's process, which waits to be told to begin: what it has from this one, whose events aren't made,
// must be in the snapshot.
func newCrowd(t *testing.T, c crowd) (begin func(*watcher)) {
	t.Helper()
	c.Dir = t.TempDir()
	if err := os.Chmod(c.Dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if c.Ops == 0 {
		c.Ops = 1<<len(ops) - 1
	}
	js, _ := json.Marshal(c)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), crowdEnv+"="+string(js))
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	lines := make(chan string, 2)
	go func() {
		r := bufio.NewReader(out)
		for range 2 {
			s, _ := r.ReadString('\n')
			lines <- strings.TrimSpace(s)
		}
	}()
	if s := <-lines; s != "waiting" {
		t.Fatalf("the load said %q", s)
	}
	return func(w *watcher) {
		t.Helper()
		if _, err := in.Write([]byte("go\n")); err != nil {
			t.Fatal(err)
		}
		for {
			select {
			case s := <-lines:
				if s != "ready" {
					t.Fatalf("the load said %q", s)
				}
				return
			case <-time.After(time.Millisecond):
				w.drain()
			}
		}
	}
}

// maxShown is how many differences of one check are printed.
const maxShown = 5

// The bars of TestStateEqualsProc.
const (
	leastProcesses = 300
	leastFiles     = 5000
	leastForks     = 50 // a second
)

// goFirst has the test's thread run before the crowd's processes, for as long as the test: what is judged is the state, and not
// how busy the machine is with others.
func goFirst(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	if err := unix.Setpriority(unix.PRIO_PROCESS, 0, -10); err != nil {
		t.Logf("the test's priority: %v", err)
	}
	t.Cleanup(func() {
		_ = unix.Setpriority(unix.PRIO_PROCESS, 0, 0)
		runtime.UnlockOSThread()
	})
}

// threadCPU is the CPU time of the calling thread.
func threadCPU() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_THREAD, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestStateEqualsProc compares the state with /proc every second on a busy machine: no difference stands in two checks
// running, and the machine is as busy as it is meant to be in every check. SHIKRA_STATE_TIME makes it longer (a minute:
// make test-state). The seed of the crowd is printed; SHIKRA_STATE_SEED sets it.
func TestStateEqualsProc(t *testing.T) {
	checks := 10
	if testing.Short() {
		checks = 4
	}
	if v, err := time.ParseDuration(os.Getenv("SHIKRA_STATE_TIME")); err == nil {
		checks = int(v / time.Second)
	}
	seed := uint64(time.Now().UnixNano()) % 1_000_000
	if v, err := strconv.ParseUint(os.Getenv("SHIKRA_STATE_SEED"), 10, 64); err == nil {
		seed = v
	}
	begin := newCrowd(t, crowd{Processes: 310, Threaded: 10, Forks: 60, Duration: 2*time.Minute + 10*time.Duration(checks)*time.Second, Seed: seed})
	w := watch(t, probe.Config{RingBytes: 32 << 20})
	w.repair = live.NewRepairer(live.RepairConfig{State: w.state, Lost: func() uint64 { return 0 }})
	t.Cleanup(w.repair.Close)
	w.repair.Begin()
	goFirst(t)
	begin(w)
	w.run(time.Second)
	c := w.checker()
	var (
		last                      []Diff
		seen, stood               int
		processes, files, slowest = 1 << 30, 1 << 30, time.Duration(0)
		begun, forked             = time.Now(), w.forked
		cpu                       time.Duration // of the checks
	)
	for i := range checks {
		start, ran := time.Now(), threadCPU()
		rep, err := c.Check()
		if err != nil {
			t.Fatal(err)
		}
		cpu += threadCPU() - ran
		processes, files, slowest = min(processes, rep.Processes), min(files, rep.Files), max(slowest, rep.Took)
		seen += len(rep.Diffs)
		standing := Standing(last, rep.Diffs)
		shown := 0
		for _, d := range standing {
			stood++
			if shown++; shown <= maxShown {
				t.Errorf("check %d: %v", i, d)
				w.past.tell(t, d)
			}
		}
		last = rep.Diffs
		t.Logf("check %d: %d processes, %d threads, %d files in %v: %d differences, %d stand; %d events so far", i, rep.Processes, rep.Threads, rep.Files, rep.Took.Round(time.Millisecond), len(rep.Diffs), len(standing), w.events)
		w.run(time.Second - time.Since(start))
	}
	took := time.Since(begun)
	forks := float64(w.forked-forked) / took.Seconds()
	cnt, err := w.probe.Counters()
	if err != nil || cnt.Lost > 0 {
		t.Errorf("%d events lost, %v", cnt.Lost, err)
	}
	if processes < leastProcesses || files < leastFiles || forks < leastForks {
		t.Errorf("a check of only %d processes and %d fds, or only %.0f forks/s", processes, files, forks)
	}
	st := w.state.Stats()
	t.Logf("state %+v", st)
	t.Logf("verdict: seed %d: %d checks in %.0f s, one takes %v of CPU and the slowest took %v; in each at least %d processes (bar %d) and %d fds (bar %d); %.0f forks/s (bar %d); %d events, %d lost; %d differences seen for a moment, %d closes overtaken, %d stood (bar 0)",
		seed, checks, took.Seconds(), (cpu / time.Duration(checks)).Round(time.Millisecond), slowest.Round(time.Millisecond), processes, leastProcesses, files, leastFiles, forks, leastForks, w.events, cnt.Lost, seen, st.ClosesOvertaken, stood)
}

// TestRepair loses events on purpose while the crowd is at work, in turn some and all of them, and checks that a repair
// brings the state back to what /proc says.
func TestRepair(t *testing.T) {
	begin := newCrowd(t, crowd{Processes: 150, Threaded: 5, Forks: 50, Duration: time.Minute, Seed: 2})
	w := watch(t, probe.Config{RingBytes: 32 << 20})
	begin(w)
	lost, losing, n := uint64(0), 0, uint64(0)
	w.drop = func() bool {
		n++
		if losing == 0 || losing > 1 && n%uint64(losing) != 0 {
			return false
		}
		lost++
		return true
	}
	w.repair = live.NewRepairer(live.RepairConfig{State: w.state, Lost: func() uint64 { return lost }, MinWait: 50 * time.Millisecond, MaxWait: time.Second})
	t.Cleanup(w.repair.Close)
	c := w.checker()
	c.Skip = func(pid int) bool { return pid == os.Getpid() }
	rounds := []int{1, 3, 10}
	if testing.Short() {
		rounds = rounds[:2]
	}
	for round, every := range rounds {
		losing = every // of every so many events one
		w.repair.Pause(true)
		w.run(time.Second)
		losing = 0
		broken, err := c.Check()
		if err != nil {
			t.Fatal(err)
		}
		if len(broken.Diffs) < 20 {
			t.Errorf("round %d: only %d differences after %d events were lost", round, len(broken.Diffs), lost)
		}
		before := w.state.Stats().Repaired
		w.repair.Pause(false)
		for end := time.Now().Add(20 * time.Second); w.state.Stats().Repaired.Repairs == before.Repairs || w.repair.Stats().Pending; w.run(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("round %d: no repair: %+v", round, w.repair.Stats())
			}
		}
		after := w.state.Stats().Repaired
		rep, err := c.Check()
		if err != nil {
			t.Fatal(err)
		}
		diffs := rep.Diffs
		if len(diffs) > 0 { // an event under way, unless it stands
			w.run(time.Second)
			if rep, err = c.Check(); err != nil {
				t.Fatal(err)
			}
			diffs = Standing(diffs, rep.Diffs)
		}
		missed, shown := 0, 0
		for _, d := range diffs {
			// A close that another thread's open overtook (docs/testing.md) can't always be told by its events, some of which are
			// lost here: two fds that only /proc has are let pass, of hundreds that were repaired.
			if d.FD >= 0 && d.Field == "exists" && d.Have == "no" {
				if missed++; missed <= 2 || w.past.overtaken(d) {
					t.Logf("round %d: after the repair: %v", round, d)
					continue
				}
			}
			if shown++; shown <= maxShown {
				t.Errorf("round %d: after the repair: %v", round, d)
				w.past.tell(t, d)
			}
		}
		t.Logf("round %d: %d lost in all, %d differences, repaired %+v → %+v, snapshot %v, then %d differences that stand in %d processes and %d files",
			round, lost, len(broken.Diffs), before, after, w.repair.Stats().Took, len(diffs), rep.Processes, rep.Files)
	}
}
