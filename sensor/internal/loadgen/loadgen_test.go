package loadgen

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// needExec skips where this machine's kernel can't run programs of the test's architecture: within a user-mode emulator.
func needExec(t *testing.T) {
	t.Helper()
	if err := exec.Command(os.Args[0], "-test.run=^$").Run(); errors.Is(err, unix.ENOEXEC) {
		t.Skip("the kernel can't execute the test's own binary")
	}
}

func TestExitProgramRuns(t *testing.T) {
	needExec(t)
	name := filepath.Join(t.TempDir(), "p")
	if err := os.WriteFile(name, ExitProgram(), 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(name).CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("%v, %q", err, out)
	}
}

func TestModes(t *testing.T) {
	needExec(t)
	for mode, want := range map[string][]string{
		ModeOpenClose: {"openat", "close"},
		ModeSpawn:     {"clone", "execve", "procexit"},
		ModeGetppid:   {},
		ModeRare:      {"setresgid"},
		ModeMix:       {"openat", "close", "socket", "connect", "clone", "execve", "procexit"},
	} {
		start := time.Now()
		r, err := Run(Config{Mode: mode, Duration: 100 * time.Millisecond, CPU: 0, Exec: 50, Connect: 100}, nil)
		if err != nil {
			t.Fatalf("%s: %v", mode, err)
		}
		if d := time.Since(start); d > 20*time.Second { // bounded, however busy the machine is
			t.Errorf("%s took %v", mode, d)
		}
		if r.Failed != 0 || len(r.Events) != len(want) {
			t.Errorf("%s: %+v", mode, r)
		}
		sum := uint64(0)
		for _, name := range want {
			if r.Events[name] == 0 {
				t.Errorf("%s: no %s", mode, name)
			}
		}
		for _, n := range r.Events {
			sum += n
		}
		if sum != r.Total || mode == ModeGetppid && r.Calls == 0 {
			t.Errorf("%s: total %d of %d, %d calls", mode, r.Total, sum, r.Calls)
		}
		if r.Events["openat"]+r.Events["socket"] != r.Events["close"] || r.Events["clone"] != 2*r.Events["execve"] {
			t.Errorf("%s: %v", mode, r.Events)
		}
	}
}

func TestMixShape(t *testing.T) {
	needExec(t)
	l := &load{cfg: &Config{Connect: 100, Exec: 20, PlantEvery: 500}, plant: []byte("/dev/null\x00"), path: []byte("/dev/null\x00"), listener: -1}
	if err := l.listen(); err != nil {
		t.Fatal(err)
	}
	defer l.close()
	name := filepath.Join(t.TempDir(), "p")
	if err := os.WriteFile(name, ExitProgram(), 0o700); err != nil {
		t.Fatal(err)
	}
	l.helper = append([]byte(name), 0)
	l.argv = []*byte{&l.helper[0], nil}
	for range 1000 {
		l.unit()
	}
	// Units 500 and 1000 are planted, and the last of each kind would have been that one too.
	want := counters{openat: 882, close: 981, socket: 99, connect: 99, clone: 38, execve: 19, procexit: 19, planted: 2}
	if !reflect.DeepEqual(l.n, want) {
		t.Errorf("got %+v, want %+v", l.n, want)
	}
}

func TestRate(t *testing.T) {
	needExec(t)
	r, err := Run(Config{Mode: ModeMix, Duration: 500 * time.Millisecond, CPU: -1, Rate: 4000, Plant: "/etc/hostname", PlantEvery: 100}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r.Total < 1500 || r.Total > 2010 || r.Planted == 0 {
		t.Errorf("%d events in half a second at 4000 a second, %d planted", r.Total, r.Planted)
	}
}

func TestStop(t *testing.T) {
	var stop atomic.Bool
	stop.Store(true)
	start := time.Now()
	if _, err := Run(Config{Mode: ModeOpenClose, Duration: time.Minute, CPU: -1}, &stop); err != nil || time.Since(start) > 5*time.Second {
		t.Errorf("%v after %v", err, time.Since(start))
	}
}

func TestRefused(t *testing.T) {
	for _, c := range []Config{
		{Mode: "other"}, {Mode: ModeMix, Duration: time.Hour}, {Mode: ModeMix, Rate: -1}, {Mode: ModeMix, Connect: 600, Exec: 600},
		{Mode: ModeOpenClose, Path: "a\x00b"}, {Mode: ModeOpenClose, CPU: 1000, Duration: time.Second},
	} {
		if r, err := Run(c, nil); err == nil || !reflect.DeepEqual(r, Result{}) {
			t.Errorf("%+v: %+v, %v", c, r, err)
		}
	}
}
