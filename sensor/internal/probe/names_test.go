package probe

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// TestPathArgs compares the table with the arguments that the programs take for paths.
func TestPathArgs(t *testing.T) {
	files, err := filepath.Glob("../../../bpf/programs/*.bpf.c")
	if err != nil || len(files) == 0 {
		t.Skip("not run in the repository: there are no sources")
	}
	begin := regexp.MustCompile(`^\s*(?:CALL|STAT)\w*\((\w+)`)
	path := regexp.MustCompile(`store__path_arg\(&r, &?c, (\d)\)`)
	inside := map[string][]int{}
	for _, f := range files {
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		name := ""
		for _, line := range regexp.MustCompile(`\n`).Split(string(src), -1) {
			if m := begin.FindStringSubmatch(line); m != nil {
				name = m[1]
			}
			for _, m := range path.FindAllStringSubmatch(line, -1) {
				arg, _ := strconv.Atoi(m[1])
				inside[name] = append(inside[name], arg)
			}
		}
	}
	for name, args := range inside {
		if name == "" || name == "name" { // of a macro, or a function that several use
			continue
		}
		if !slices.Equal(args, pathArgs[name]) {
			t.Errorf("%s takes arguments %v for paths, the table has %v", name, args, pathArgs[name])
		}
	}
	if len(inside) < 25 {
		t.Errorf("only %d programs have paths: %v", len(inside), slices.Sorted(maps.Keys(inside)))
	}
}

// TestExactPaths: a path that the program changes while the kernel has the call is the one that the kernel took, and its event is
// marked; one that stays as it is isn't. The call waits, for the reader of a fifo, until its path has been changed.
func TestExactPaths(t *testing.T) {
	l := needProbe(t)
	if _, err := findGetname(nil); err != nil && os.Getenv(exactEnv) == "" {
		t.Skipf("the kernel's copies of paths can't be had here: %v", err)
	}
	h := hookOf(l.p, getnameHook)
	if h.State != StateAttached || h.Tier != TierExact {
		t.Fatalf("%+v", h)
	}
	t.Logf("%s at %v", h.Name, h.At)
	dir := t.TempDir()
	fifo, other := filepath.Join(dir, "fifo"), filepath.Join(dir, "xxxx")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		change bool
	}{{"unchanged", false}, {"changed", true}} {
		buf := append([]byte(fifo), 0)
		at := addr(buf)
		l.drain(t)
		l.want(t, "openat")
		tid := make(chan int, 1)
		done := make(chan int64, 1)
		go func() {
			runtime.LockOSThread() // ends with the thread
			tid <- unix.Gettid()
			r, _, e := unix.Syscall6(uintptr(number("openat")), cwd, at, unix.O_WRONLY, 0, 0, 0)
			if e != 0 {
				done <- -int64(e)
				return
			}
			done <- int64(r)
		}()
		writer := <-tid
		waitBlocked(t, writer)
		if c.change {
			copy(buf, other)
		}
		rd, err := unix.Open(fifo, unix.O_RDONLY|unix.O_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		fd := <-done
		l.want(t)
		unix.Close(rd)
		unix.Close(int(fd))
		var got []event.Record
		for _, r := range l.drain(t) {
			if r.Type() == event.SyscallOpenatV2X && r.TID() == int64(writer) {
				got = append(got, r)
			}
		}
		if len(got) != 1 {
			t.Errorf("%s: %d events", c.name, len(got))
			continue
		}
		name, _ := got[0].Param(2)
		if string(name) != fifo+"\x00" {
			t.Errorf("%s: the event's path is %q, not %q", c.name, name, fifo)
		}
		if o := got[0].Origin(); o&wasmabi.OriginExact == 0 || (o&wasmabi.OriginChanged != 0) != c.change {
			t.Errorf("%s: origin is %d", c.name, o)
		}
	}
	if n, err := l.p.PathsNotKept(); err != nil || n != 0 {
		t.Errorf("%d paths weren't kept: %v", n, err)
	}
	checkNothingKept(t, l)
}

// checkNothingKept: what was kept for a call goes when the call ends.
func checkNothingKept(t *testing.T, l *live) {
	t.Helper()
	n := 0
	var key uint64
	value := make([]byte, l.p.coll.Maps["names"].ValueSize())
	for it := l.p.coll.Maps["names"].Iterate(); it.Next(&key, &value); {
		n++
	}
	if n > 2 { // calls of other processes that are under way
		t.Errorf("%d paths are still kept", n)
	}
}

// waitBlocked returns when the thread waits in the kernel for the other end of a fifo.
func waitBlocked(t *testing.T, tid int) {
	t.Helper()
	for range 1000 {
		b, err := os.ReadFile("/proc/self/task/" + strconv.Itoa(tid) + "/stat")
		if err != nil {
			t.Fatal(err)
		}
		if regexp.MustCompile(`\) S `).Match(b) {
			time.Sleep(20 * time.Millisecond)
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("the call doesn't wait")
}
