package proccheck

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/arena"
	"github.com/shikra-sensor/shikra/sensor/internal/loadgen"
	"github.com/shikra-sensor/shikra/sensor/internal/probe"
	"github.com/shikra-sensor/shikra/sensor/internal/snapshot"
	"github.com/shikra-sensor/shikra/sensor/internal/source/live"
)

// stormSpawn makes the test binary fork, exec and exit for so long, and stormFDs open so many fds.
const (
	stormSpawn = "spawn "
	stormFDs   = "fds "
)

// playStorm is the process of a storm: it tells on its standard output what it made.
func playStorm(what string) error {
	if v, ok := strings.CutPrefix(what, stormSpawn); ok {
		d, err := time.ParseDuration(v)
		if err != nil {
			return err
		}
		res, err := loadgen.Run(loadgen.Config{Mode: loadgen.ModeSpawn, Duration: d, CPU: -1}, nil)
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(res)
	}
	v := strings.TrimPrefix(what, stormFDs)
	n, err := strconv.Atoi(v)
	if err != nil {
		return err
	}
	lim := unix.Rlimit{Cur: uint64(n) + 64, Max: uint64(n) + 64}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return err
	}
	for range n {
		if _, err := unix.Open("/dev/null", unix.O_RDONLY, 0); err != nil {
			return err
		}
	}
	fmt.Println("open")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	return nil
}

func startStorm(t *testing.T, what string) (*exec.Cmd, io.Writer, *bufio.Reader) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), crowdEnv+"="+what)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd, in, bufio.NewReader(out)
}

// waitLine drains until the process has written a line.
func (w *watcher) waitLine(t *testing.T, out *bufio.Reader, each func()) []byte {
	t.Helper()
	got := make(chan []byte, 1)
	go func() {
		line, _ := out.ReadBytes('\n')
		got <- line
	}()
	for {
		select {
		case line := <-got:
			if len(line) == 0 {
				t.Fatal("the storm ended without a word")
			}
			w.run(200 * time.Millisecond)
			return line
		default:
			w.run(20 * time.Millisecond)
			if each != nil {
				each()
			}
		}
	}
}

// rss is the memory of this process, in bytes.
func rss(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, b, _ = bytes.Cut(b, []byte("VmRSS:"))
	b, _, _ = bytes.Cut(b, []byte("kB"))
	kb, err := strconv.Atoi(string(bytes.TrimSpace(b)))
	if err != nil {
		t.Fatal(err)
	}
	return kb << 10
}

// TestStormSpawn forks, execs and ends processes as fast as one CPU does: afterwards the state has none that /proc hasn't, and
// the memory is what it was after the first part.
func TestStormSpawn(t *testing.T) {
	long := 4 * time.Second
	if os.Getenv("SHIKRA_STORM") != "" {
		long = time.Minute
	}
	w := watch(t, probe.Config{RingBytes: 32 << 20})
	w.noPast = true
	w.run(200 * time.Millisecond)
	_, _, out := startStorm(t, stormSpawn+long.String())
	begin, least, most := time.Now(), 0, 0
	next := begin.Add(long / 4)
	line := w.waitLine(t, out, func() {
		if now := time.Now(); now.After(next) {
			next = now.Add(long / 16)
			m := rss(t)
			if least == 0 {
				least = m
			}
			least, most = min(least, m), max(most, m)
		}
	})
	var res loadgen.Result
	if err := json.Unmarshal(line, &res); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	cnt, err := w.probe.Counters()
	if err != nil || cnt.Lost > 0 {
		t.Errorf("%d events lost, %v", cnt.Lost, err)
	}
	spawned := res.Events["procexit"]
	c := w.checker()
	var ghosts []Diff
	for try := range 2 { // what ends at this moment doesn't stand
		rep, err := c.Check()
		if err != nil {
			t.Fatal(err)
		}
		var now []Diff
		for _, d := range rep.Diffs {
			if d.Field == "exists" && d.Proc == "no" {
				now = append(now, d)
			}
		}
		if try == 0 {
			ghosts = now
		} else {
			ghosts = Standing(ghosts, now)
		}
		w.run(time.Second)
	}
	st := w.state.Stats()
	t.Logf("%d processes in %.0f s, %.0f a second, %d events; %d left behind; RSS %d to %d bytes; %d threads, %d unknown, %d replaced", spawned, res.Seconds,
		float64(spawned)/res.Seconds, w.events, len(ghosts), least, most, st.Threads, st.UnknownThreads, st.ThreadsReplaced)
	for _, d := range ghosts {
		t.Errorf("left behind: %v", d)
	}
	if spawned < uint64(long/time.Second)*50 {
		t.Errorf("only %d processes", spawned)
	}
	if grown := most - least; grown > 5<<20 {
		t.Errorf("memory grew by %d bytes", grown)
	}
}

// TestStormManyFDs has one process open 200,000 fds, or as many as it may here, three times what the state has room for: the state holds what it is bound to and counts the rest; a snapshot shows
// as many as it may and says how many it left out; nothing is left when the process ends.
func TestStormManyFDs(t *testing.T) {
	fds := 200_000
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		t.Fatal(err)
	}
	if may := lim.Max; may < uint64(fds)+64 {
		lim.Max = uint64(fds) + 64 // the process inherits it
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
			fds = int(may) - 64
			t.Logf("raise the limit of open files from %d: %v; all is smaller", may, err)
		}
	}
	w := watchIn(t, probe.Config{RingBytes: 32 << 20}, arena.Config{Files: fds / 3})
	w.noPast = true
	w.run(200 * time.Millisecond)
	before := w.state.Stats()
	cmd, _, out := startStorm(t, stormFDs+strconv.Itoa(fds))
	w.waitLine(t, out, nil)
	slot := w.state.FindThread(int64(cmd.Process.Pid))
	if slot == 0 {
		t.Fatal("the process isn't known")
	}
	held, st := w.state.OpenFiles(slot), w.state.Stats()
	missed := st.FDsEvicted + st.FDsDropped - before.FDsEvicted - before.FDsDropped
	cnt, err := w.probe.Counters()
	if err != nil || cnt.Lost > 0 {
		t.Errorf("%d events lost, %v", cnt.Lost, err)
	}
	start := time.Now()
	k := &snapshot.Taken{}
	shots := live.NewSnapshotter(live.SnapshotConfig{NoUsers: true, MaxFilesPerProcess: fds / 4})
	defer shots.Close()
	rep, err := shots.Take(context.Background(), k)
	if err != nil {
		t.Fatal(err)
	}
	took, shown := time.Since(start), 0
	for i := range k.Files {
		if k.Files[i].PID == int64(cmd.Process.Pid) {
			shown++
		}
	}
	t.Logf("%d fds: %d held, %d given up or without room; a snapshot of %v shows %d and leaves %d out", fds, held, missed, took.Round(time.Millisecond), shown, rep.FilesCut)
	if n := uint64(held) + missed; int(n) < fds || int(n) > fds+1000 {
		t.Errorf("%d held and %d counted: not %d together", held, missed, fds)
	}
	if st.Files > st.FileLimit || held < st.FileLimit/2 {
		t.Errorf("%d held, %d of %d files", held, st.Files, st.FileLimit)
	}
	if shown != fds/4 || shown+rep.FilesCut < fds {
		t.Errorf("%d shown, %d left out", shown, rep.FilesCut)
	}
	if took > 2*time.Second {
		t.Errorf("the snapshot took %v", took)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	w.run(500 * time.Millisecond)
	if after := w.state.Stats(); after.Files > before.Files+1000 || w.state.FindThread(int64(cmd.Process.Pid)) != 0 {
		t.Errorf("left behind: %d files, %d before", after.Files, before.Files)
	}
}
