package live

import (
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

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

// TestFinderWatches: of an fd that is closed at some time the first answer says what it is, and the second that it is closed or another.
func TestFinderWatches(t *testing.T) {
	f, err := NewFinder("/")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	open := func() int {
		fd, err := unix.Open(t.TempDir(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		return fd
	}
	closes, changes, stays := open(), open(), open()
	defer unix.Close(changes)
	defer unix.Close(stays)
	for _, fd := range []int{closes, changes, stays} {
		f.Ask(snapshot.FileAsk{PID: int64(os.Getpid()), FD: int32(fd), Again: true, Silent: true})
	}
	answers := map[int][]snapshot.File{}
	take := func(n int) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); n > 0; time.Sleep(time.Millisecond) {
			f.Step(func(a snapshot.FileAsk, file *snapshot.File) {
				answers[int(a.FD)] = append(answers[int(a.FD)], *file)
				n--
			})
			if time.Now().After(end) {
				t.Fatalf("%d answers are missing: %v", n, answers)
			}
		}
	}
	take(3)
	time.Sleep(50 * time.Millisecond)
	unix.Close(closes)
	if err := unix.Dup3(0, changes, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	take(2)
	time.Sleep(50 * time.Millisecond)
	if a := answers[closes]; len(a) != 2 || a[0].FD != int32(closes) || a[1].FD != -1 {
		t.Errorf("of what is closed %+v", a)
	}
	if a := answers[changes]; len(a) != 2 || a[0].Kind != 'd' || a[1].FD != int32(changes) || a[1].Ino == a[0].Ino && a[1].Dev == a[0].Dev {
		t.Errorf("of what is another %+v", a)
	}
	if a := answers[stays]; len(a) != 1 {
		t.Errorf("of what stays %+v", a)
	}
	// There may be so many that the first are forgotten.
	for range maxWatched + 3 {
		fd := open()
		defer unix.Close(fd)
		for !f.Ask(snapshot.FileAsk{PID: int64(os.Getpid()), FD: int32(fd), Again: true, Silent: true}) {
			time.Sleep(time.Millisecond)
		}
	}
	take(maxWatched + 3)
	if n := f.Forgotten(); n != 4 {
		t.Errorf("%d forgotten, want 4", n)
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
