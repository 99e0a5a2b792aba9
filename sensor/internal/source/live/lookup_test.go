package live

import (
	"os"
	"os/exec"
	"testing"

	"github.com/shikra-sensor/shikra/sensor/internal/snapshot"
)

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
