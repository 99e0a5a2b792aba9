package live

import (
	"os"
	"os/exec"
	"runtime"
	"testing"

	"github.com/shikra-sensor/shikra/sensor/internal/snapshot"
)

// TestFinderDrops: answers that nobody takes are bounded, and those beyond counted.
func TestFinderDrops(t *testing.T) {
	f, err := NewFinder("/")
	if err != nil {
		t.Fatal(err)
	}
	const more = 7
	for range maxAsked + more {
		for !f.Ask(snapshot.FileAsk{PID: int64(os.Getpid()), FD: 0}) {
			runtime.Gosched()
		}
	}
	f.Close() // when all are answered
	taken := 0
	f.Step(func(snapshot.FileAsk, *snapshot.File) { taken++ })
	if taken != maxAsked || f.Dropped() != more {
		t.Errorf("%d taken, %d dropped; want %d and %d", taken, f.Dropped(), maxAsked, more)
	}
}

func TestLookup(t *testing.T) {
	l, err := NewLookup("/")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cmd := exec.Command("sleep", "30")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	var th snapshot.Thread
	if !l.Thread(int64(cmd.Process.Pid), &th) {
		t.Fatal("a running process isn't found")
	}
	if th.TID != int64(cmd.Process.Pid) || th.PID != th.TID || th.PTID != int64(os.Getpid()) || th.UID != uint32(os.Geteuid()) || th.Cwd == "" {
		t.Errorf("%+v", th)
	}
	for _, tid := range []int64{0, -1, 1 << 40, 4194305} {
		if l.Thread(tid, &th) {
			t.Errorf("there is a thread %d", tid)
		}
	}
}
