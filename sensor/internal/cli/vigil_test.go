package cli

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/testkit"
)

// stealMaps takes a process's maps of one entry by pidfd_getfd, and zeroes those that can be written to in memory: no bpf(2) at all.
func stealMaps(t *testing.T, pid int) (zeroed int) {
	t.Helper()
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	infos, err := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range infos {
		var fd, size, entries int
		_, _ = fmt.Sscan(filepath.Base(info), &fd)
		f, err := os.Open(info)
		if err != nil {
			continue // closed meanwhile
		}
		for in := bufio.NewScanner(f); in.Scan(); {
			_, _ = fmt.Sscanf(in.Text(), "value_size:\t%d", &size)
			_, _ = fmt.Sscanf(in.Text(), "max_entries:\t%d", &entries)
		}
		f.Close()
		if size == 0 || entries != 1 {
			continue
		}
		stolen, err := unix.PidfdGetfd(pidfd, fd, 0)
		if err != nil {
			t.Fatal(err)
		}
		mem, err := unix.Mmap(stolen, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		unix.Close(stolen)
		if err != nil {
			continue // its memory can't be mapped, or is frozen
		}
		clear(mem)
		zeroed++
		if err := unix.Munmap(mem); err != nil {
			t.Fatal(err)
		}
	}
	return zeroed
}

// healthy returns the status of /healthz.
func (r *running) healthy() int {
	r.t.Helper()
	resp, err := http.Get(strings.TrimSuffix(r.url, "/metrics") + "/healthz")
	if err != nil {
		r.t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// TestVigil: a sensor whose memory another zeroes says so, sees again and is well again; one that was stopped says for how long; and
// one that is moved to another cgroup says where. Left alone it says nothing of the kind.
func TestVigil(t *testing.T) {
	r := startSensor(t, rareRules)
	pid := r.cmd.Process.Pid
	time.Sleep((verifyEvery + 2) * vigilEvery)
	for _, rule := range []string{blindRule, stillRule, movedRule} {
		if as := r.toldBy(rule); len(as) > 0 {
			t.Fatalf("left alone: %+v", as)
		}
	}
	if s := r.healthy(); s != http.StatusOK {
		t.Fatalf("left alone: %d", s)
	}
	seen := func() { // calls are still judged
		t.Helper()
		n := r.metric(`shikra_events_total{type="setresgid"}`)
		r.until("a call is seen", func() bool {
			unix.RawSyscall(unix.SYS_SETRESGID, ^uintptr(0), ^uintptr(0), ^uintptr(0))
			return r.metric(`shikra_events_total{type="setresgid"}`) > n
		})
	}
	seen()

	if n := stealMaps(t, pid); n == 0 {
		t.Fatal("nothing could be zeroed")
	}
	r.until("it says that it was blinded", func() bool { return len(r.toldBy(blindRule)) > 0 })
	if a := r.toldBy(blindRule)[0]; a.Priority != "Critical" || a.Source != "internal" || !strings.Contains(a.Output, "sys_exit") || !strings.Contains(a.Output, "variable wanted") {
		t.Errorf("%+v", a)
	}
	if s, on := r.healthy(), r.metric(`shikra_hook_active{hook="sys_exit",tier="base"}`); s != http.StatusServiceUnavailable || on != 0 {
		t.Errorf("blinded: health %d, active %d", s, on)
	}
	seen()
	r.until("it is well again", func() bool {
		return r.healthy() == http.StatusOK && r.metric(`shikra_hook_active{hook="sys_exit",tier="base"}`) == 1
	})

	if err := r.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(stillAfter + 3*vigilEvery)
	if err := r.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	r.until("it says that it stood still", func() bool { return len(r.toldBy(stillRule)) > 0 })
	if a := r.toldBy(stillRule)[0]; a.Priority != "Critical" || !strings.Contains(a.Output, "stood still for ") {
		t.Errorf("%+v", a)
	}

	t.Run("moved", func(t *testing.T) {
		dir, back := otherCgroup(t, pid)
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), fmt.Append(nil, pid), 0); err != nil {
			t.Fatal(err)
		}
		defer func() {
			_ = os.WriteFile(filepath.Join(back, "cgroup.procs"), fmt.Append(nil, pid), 0)
			_ = os.Remove(dir)
		}()
		r.until("it says that it was moved", func() bool { return len(r.toldBy(movedRule)) > 0 })
		if a := r.toldBy(movedRule)[0]; a.Priority != "Critical" || !strings.Contains(a.Output, filepath.Base(dir)) {
			t.Errorf("%+v", a)
		}
	})
	if s := r.stop(); s != exitOK {
		t.Errorf("it exits with %d", s)
	}
}

// otherCgroup makes a cgroup beside the one that pid is in, in the first hierarchy where that can be done.
func otherCgroup(t *testing.T, pid int) (dir, own string) {
	t.Helper()
	for line := range strings.Lines(readSmall(fmt.Sprintf("/proc/%d/cgroup", pid))) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		own := filepath.Join("/sys/fs/cgroup", strings.TrimPrefix(part[1], "name="), part[2])
		dir := filepath.Join(own, "shikra-test-vigil")
		if part[2] != "/" && part[1] == "" {
			dir = filepath.Join(filepath.Dir(own), "shikra-test-vigil") // no processes in inner nodes
		}
		if os.Mkdir(dir, 0o755) == nil {
			return dir, own
		}
	}
	testkit.Missing(t, "no cgroup can be made")
	return "", ""
}
