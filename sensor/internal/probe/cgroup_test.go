package probe

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

// hierarchy mounts a hierarchy of cgroups for the test. It returns where, the controller by whose name events show it, and
// whether threads are moved on their own and cgroups renamed, as in version 1.
func hierarchy(t *testing.T) (dir, controller string, v1 bool) {
	t.Helper()
	dir = t.TempDir()
	var why []string
	for _, c := range []string{"cpuacct", "cpu", "memory"} {
		err := unix.Mount("cgroup", dir, "cgroup", 0, c)
		if err == nil {
			t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
			return dir, c, true
		}
		why = append(why, fmt.Sprintf("%s: %v", c, err))
	}
	if err := unix.Mount("cgroup2", dir, "cgroup2", 0, ""); err != nil {
		t.Fatalf("no hierarchy of cgroups: %s; version 2: %v", strings.Join(why, ", "), err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir, "memory", false
}

// TestCgroupsOfNow: events show the cgroup that the thread is in, whatever others of its CPU showed right before.
func TestCgroupsOfNow(t *testing.T) {
	l := needProbe(t)
	dir, controller, v1 := hierarchy(t)
	procs := func(name string) string {
		if v1 {
			return filepath.Join(dir, name, "tasks")
		}
		return filepath.Join(dir, name, "cgroup.procs")
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	home := ""
	for _, line := range strings.Split(strings.TrimSpace(string(own)), "\n") {
		if p := strings.SplitN(line, ":", 3); len(p) == 3 && (v1 && strings.Contains(","+p[1]+",", ","+controller+",") || !v1 && p[1] == "") {
			home = p[2]
		}
	}
	move := func(name string) {
		id := "0" // the one that writes
		if err := os.WriteFile(procs(name), []byte(id), 0); err != nil {
			t.Error(err)
		}
	}
	groups := []string{"shikra-a", "shikra-b", "shikra-a/below", "shikra-renamed"}
	for _, g := range groups[:3] {
		if err := os.Mkdir(filepath.Join(dir, g), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, g := range []string{"shikra-a/below", "shikra-a", "shikra-b", "shikra-renamed"} {
			for range 100 { // until the thread that was in it is gone
				if err := unix.Rmdir(filepath.Join(dir, g)); err == nil || err == unix.ENOENT {
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
		}
	})
	var want []string
	tid := 0
	recs := l.inThread(t, []string{"execve"}, func() {
		tid = unix.Gettid()
		var cpu unix.CPUSet
		if err := unix.SchedGetaffinity(0, &cpu); err != nil {
			t.Error(err)
		}
		for i := range 1024 { // the first of those allowed
			if cpu.IsSet(i) {
				cpu.Zero()
				cpu.Set(i)
				break
			}
		}
		if err := unix.SchedSetaffinity(0, &cpu); err != nil {
			t.Error(err)
		}
		show := func(name string) {
			if err := unix.Exec("/nonexistent", []string{"x"}, nil); err != unix.ENOENT {
				t.Error(err)
			}
			want = append(want, "/"+name)
		}
		for range 2 {
			for _, g := range []string{"shikra-a", "shikra-b", "shikra-b", "shikra-a/below", "shikra-a"} {
				move(g)
				show(g)
			}
		}
		// One that was removed, and another in its place.
		move("shikra-a")
		if err := unix.Rmdir(filepath.Join(dir, "shikra-b")); err != nil {
			t.Error(err)
		}
		if err := os.Mkdir(filepath.Join(dir, "shikra-b"), 0o755); err != nil {
			t.Error(err)
		}
		move("shikra-b")
		show("shikra-b")
		if v1 {
			if err := os.Rename(filepath.Join(dir, "shikra-b"), filepath.Join(dir, "shikra-renamed")); err != nil {
				t.Error(err)
			}
			time.Sleep(1100 * time.Millisecond) // what was built is believed for a second
			show("shikra-renamed")
		}
		// Back, so that what runs after it isn't in a cgroup that goes.
		if err := os.WriteFile(procs(strings.TrimPrefix(home, "/")), []byte("0"), 0); err != nil {
			t.Error(err)
		}
	})
	var got []string
	for _, rec := range recs {
		if rec.Type() != event.SyscallExecveV19X || rec.TID() != int64(tid) {
			continue
		}
		b, _ := rec.Param(event.SyscallExecveV19X.Info().ParamIndex("cgroups"))
		path := "(none)"
		for _, kv := range strings.Split(string(b), "\x00") {
			if p, ok := strings.CutPrefix(kv, controller+"="); ok {
				path = p
			}
		}
		got = append(got, path)
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("cgroups are\n%v, not\n%v", got, want)
	}
}
