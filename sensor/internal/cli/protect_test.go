package cli

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// attackEnv makes this test's program, started again, do to a sensor what the variable's words say, each a line on its
// standard input, and answer each with a line.
const attackEnv = "SHIKRA_CLI_TEST_ATTACK"

// attack serves the commands of TestProtected: none of them harms the sensor.
func attack() {
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		err := attackOnce(strings.Fields(in.Text()))
		fmt.Println("did", in.Text(), err)
	}
}

func attackOnce(f []string) error {
	var pid, id int
	fmt.Sscan(f[1], &pid)
	if len(f) > 2 {
		fmt.Sscan(f[2], &id)
	}
	switch f[0] {
	case "kill":
		return unix.Kill(pid, unix.SIGWINCH)
	case "kill0":
		return unix.Kill(pid, 0)
	case "tgkill":
		return unix.Tgkill(pid, pid, unix.SIGWINCH)
	case "pidfd":
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.PidfdSendSignal(fd, unix.SIGWINCH, nil, 0)
	case "ptrace":
		// SEIZE doesn't stop the process; the thread that did it lets go when it ends.
		_, _, e := unix.RawSyscall6(unix.SYS_PTRACE, 0x4206, uintptr(pid), 0, 0, 0, 0)
		if e == 0 {
			unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_DETACH, uintptr(pid), 0, 0, 0, 0)
			return nil
		}
		return e
	case "vm_writev":
		local := [1]unix.Iovec{}
		_, err := unix.ProcessVMWritev(pid, local[:], []unix.RemoteIovec{{Base: 0, Len: 0}}, 0)
		return err
	case "getfd", "madvise":
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if f[0] == "getfd" {
			got, err := unix.PidfdGetfd(fd, 2, 0)
			if err == nil {
				err = unix.Close(got)
			}
			return err
		}
		_, _, e := unix.Syscall6(unix.SYS_PROCESS_MADVISE, uintptr(fd), 0, 0, unix.MADV_COLD, 0, 0) // of no memory
		return e
	case "limits":
		return unix.Prlimit(pid, unix.RLIMIT_CORE, nil, &unix.Rlimit{})
	case "prlimit":
		lim := unix.Rlimit{}
		if err := unix.Prlimit(pid, unix.RLIMIT_CORE, nil, &lim); err != nil {
			return err
		}
		return unix.Prlimit(pid, unix.RLIMIT_CORE, &unix.Rlimit{Cur: 0, Max: lim.Max}, nil)
	case "mem":
		file, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
		if err == nil {
			file.Close()
		}
		return err
	case "write":
		file, err := os.OpenFile(f[1], os.O_WRONLY|os.O_APPEND, 0)
		if err == nil {
			file.Close()
		}
		return err
	case "empty": // which opening for reading does with O_TRUNC
		file, err := os.OpenFile(f[1], os.O_RDONLY|os.O_TRUNC, 0)
		if err == nil {
			file.Close()
		}
		return err
	case "inroot": // by a folder that was opened as the root of its own path
		up, err := unix.Open(filepath.Dir(filepath.Dir(f[1])), unix.O_PATH, 0)
		if err != nil {
			return err
		}
		defer unix.Close(up)
		dir, err := unix.Openat2(up, "/"+filepath.Base(filepath.Dir(f[1])), &unix.OpenHow{Flags: unix.O_PATH, Resolve: unix.RESOLVE_IN_ROOT})
		if err != nil {
			return err
		}
		defer unix.Close(dir)
		return unix.Fchmodat(dir, filepath.Base(f[1]), 0o600, 0)
	case "read":
		_, err := os.ReadFile(f[1])
		return err
	case "chmod":
		return os.Chmod(f[1], 0o600)
	case "disguised": // a chmod by a process in a cgroup that has the name of a container's, and that is all
		dir := "/sys/fs/cgroup/memory"
		if !isDir(dir) {
			dir = "/sys/fs/cgroup"
		}
		dir = filepath.Join(dir, "docker-"+strings.Repeat("5ec0", 16)+".scope")
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		defer func() {
			for range 100 { // until the kernel has put its last process away
				if os.Remove(dir) == nil {
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
		}()
		out, err := exec.Command("/bin/sh", "-c", fmt.Sprintf("echo $$ > %s/cgroup.procs && echo chmod %s | %s", dir, f[1], os.Args[0])).Output()
		if err == nil && !strings.Contains(string(out), "<nil>") {
			err = errors.New(string(out))
		}
		return err
	case "setxattr":
		return unix.Setxattr(f[1], "trusted.shikra", []byte("1"), 0)
	case "lremovexattr":
		return unix.Lremovexattr(f[1], "trusted.shikra")
	case "fsetxattr":
		file, err := os.Open(f[1])
		if err != nil {
			return err
		}
		defer file.Close()
		return unix.Fsetxattr(int(file.Fd()), "trusted.shikra", []byte("1"), 0)
	case "fchownat": // of what the fd is, as its owner is already
		fd, err := unix.Open(f[1], unix.O_RDONLY, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Fchownat(fd, "", -1, -1, unix.AT_EMPTY_PATH)
	case "setxattrat", "removexattrat", "fchmodat2":
		dir, err := unix.Open(filepath.Dir(f[1]), unix.O_PATH, 0)
		if err != nil {
			return err
		}
		defer unix.Close(dir)
		path, _ := unix.BytePtrFromString(filepath.Base(f[1]))
		name, _ := unix.BytePtrFromString("trusted.shikra")
		nr := map[string]uintptr{"setxattrat": 463, "removexattrat": 466, "fchmodat2": unix.SYS_FCHMODAT2}[f[0]]
		a := [6]uintptr{uintptr(dir), uintptr(unsafe.Pointer(path)), 0, uintptr(unsafe.Pointer(name)), uintptr(unsafe.Pointer(new([2]uint64))), 16}
		if f[0] == "fchmodat2" {
			a = [6]uintptr{a[0], a[1], 0o600}
		}
		_, _, e := unix.Syscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5])
		return e
	case "move_mount": // of nothing: it fails
		return unix.MoveMount(-1, "", unix.AT_FDCWD, f[1], unix.MOVE_MOUNT_F_EMPTY_PATH)
	case "mount_over": // for a moment
		if err := unix.Mount("none", f[1], "tmpfs", 0, ""); err != nil {
			return err
		}
		return unix.Unmount(f[1], unix.MNT_DETACH)
	case "mount_apart": // in a mount namespace of its own
		return exec.Command("unshare", "--mount", "mount", "-t", "tmpfs", "none", f[1]).Run()
	case "truncate":
		st, err := os.Stat(f[1])
		if err != nil {
			return err
		}
		return os.Truncate(f[1], st.Size())
	case "rename":
		return os.Rename(f[1], f[1]+".old")
	case "unlink":
		return os.Remove(f[1])
	case "bpf": // command and id
		attr := make([]byte, 128)
		binary.NativeEndian.PutUint32(attr, uint32(id))
		fd, _, e := unix.Syscall(unix.SYS_BPF, uintptr(pid), uintptr(unsafe.Pointer(&attr[0])), uintptr(len(attr)))
		if e != 0 {
			return e
		}
		return unix.Close(int(fd))
	}
	return errors.New("unknown command")
}

// ownObjects reads the ids of a process's BPF objects from its fds.
func ownObjects(t *testing.T, pid int) (ids map[string]uint32) {
	t.Helper()
	ids = map[string]uint32{}
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			continue // closed meanwhile
		}
		for line := range strings.Lines(string(b)) {
			var id uint32
			if name, v, ok := strings.Cut(line, ":"); ok && strings.HasSuffix(name, "_id") {
				if _, err := fmt.Sscan(v, &id); err == nil && ids[name] == 0 {
					ids[name] = id
				}
			}
		}
	}
	return ids
}

// TestProtected does harmless things to a running sensor, its files and its eBPF objects; each gives its alert, what only
// looks gives none, and neither does the sensor's own start, work and end.
func TestProtected(t *testing.T) {
	dir := t.TempDir()
	conf := filepath.Join(dir, "shikra.yaml")
	if err := os.WriteFile(conf, []byte("log: {level: info}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := startSensor(t, "", "-c", conf)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "attacker")
	if err := os.Symlink(exe, link); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(link)
	cmd.Env = append(os.Environ(), attackEnv+"=1")
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
	defer func() { in.Close(); cmd.Wait() }()
	answers := bufio.NewReader(out)

	pid := r.cmd.Process.Pid
	ids := ownObjects(t, pid)
	if ids["map_id"] == 0 || ids["prog_id"] == 0 || ids["link_id"] == 0 {
		t.Fatalf("the sensor's BPF objects: %v", ids)
	}
	about := func() (out []told) { // the alerts about the sensor
		for _, a := range r.toldBy("") {
			if strings.HasPrefix(a.Rule, "Sensor ") {
				out = append(out, a)
			}
		}
		return out
	}
	if as := about(); len(as) > 0 {
		t.Errorf("its start gives %+v", as)
	}
	other := filepath.Join(dir, "other")
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const signalled, traced, changed, reached = "Sensor signalled", "Sensor traced", "Sensor file changed", "Sensor eBPF object reached"
	seen := 0
	for _, c := range []struct {
		do   string
		rule string // "" for none
		says string
	}{
		{fmt.Sprint("kill ", pid), signalled, "signal=SIGWINCH"},
		{fmt.Sprint("tgkill ", pid), signalled, "signal=SIGWINCH"},
		{fmt.Sprint("pidfd ", pid), signalled, "signal=SIGWINCH"},
		{fmt.Sprint("kill0 ", pid), "", ""},
		{fmt.Sprint("ptrace ", pid), traced, "event=ptrace"},
		{fmt.Sprint("vm_writev ", pid), traced, "event=process_vm_writev"},
		{fmt.Sprint("limits ", pid), "", ""},
		{fmt.Sprint("prlimit ", os.Getpid()), "", ""},
		{fmt.Sprint("prlimit ", pid), traced, "event=prlimit"},
		{fmt.Sprint("getfd ", os.Getpid()), "", ""},
		{fmt.Sprint("getfd ", pid), traced, "event=pidfd_getfd"},
		{fmt.Sprint("madvise ", os.Getpid()), "", ""},
		{fmt.Sprint("madvise ", pid), traced, "event=process_madvise"},
		{fmt.Sprint("mem ", pid), traced, fmt.Sprintf("/proc/%d/mem", pid)},
		{"read " + conf, "", ""},
		{"write " + conf, changed, "file=" + conf},
		{"chmod " + conf, changed, "event=fchmodat"},
		{"disguised " + other, "", ""},
		{"disguised " + conf, changed, "event=fchmodat"},
		{"fchownat " + other, "", ""},
		{"fchownat " + conf, changed, "event=fchownat"},
		{"write " + filepath.Join(dir, "config.d", "10-more.yaml"), changed, "config.d/10-more.yaml"},
		{"truncate " + other, "", ""},
		{"truncate " + conf, changed, "event=truncate"},
		{"empty " + other, "", ""},
		{"empty " + conf, changed, "event=openat"},
		{"inroot " + other, "", ""},
		{"inroot " + conf, changed, "event=fchmodat"},
		{"setxattr " + other, "", ""},
		{"setxattr " + conf, changed, "event=setxattr"},
		{"fsetxattr " + other, "", ""},
		{"fsetxattr " + conf, changed, "event=fsetxattr"},
		{"setxattrat " + other, "", ""},
		{"setxattrat " + conf, changed, "event=setxattrat"},
		{"lremovexattr " + other, "", ""},
		{"lremovexattr " + conf, changed, "event=lremovexattr"},
		{"removexattrat " + conf, changed, "event=removexattrat"},
		{"fchmodat2 " + other, "", ""},
		{"fchmodat2 " + conf, changed, "event=fchmodat2"},
		{"mount_apart " + dir, "", ""},
		{"mount_over " + dir, changed, "mount"}, // the folder of its configuration
		{"move_mount " + other, "", ""},
		{"move_mount " + conf, changed, "event=move_mount"},
		{fmt.Sprintf("write /proc/%d/comm", pid), traced, "/comm"},
		{"rename " + conf, changed, "event=renameat"},
		{"unlink /etc/shikra/no-such-file", changed, "result=ENOENT"},
		{fmt.Sprint("bpf 14 ", ids["map_id"]), reached, fmt.Sprintf("operation=BPF_MAP_GET_FD_BY_ID object=map id=%d", ids["map_id"])},
		{fmt.Sprint("bpf 13 ", ids["prog_id"]), reached, "operation=BPF_PROG_GET_FD_BY_ID object=prog"},
		{fmt.Sprint("bpf 30 ", ids["link_id"]), reached, "operation=BPF_LINK_GET_FD_BY_ID object=link"},
	} {
		if _, err := fmt.Fprintln(in, c.do); err != nil {
			t.Fatal(err)
		}
		answer, err := answers.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if c.rule == "" {
			continue // the next one's alert, which comes after, says whether there was one
		}
		r.until("an alert about "+c.do+": "+answer, func() bool { return len(about()) > seen })
		as := about()[seen:]
		for _, a := range as {
			if a.Rule != c.rule || !strings.Contains(a.Output, c.says) || !strings.Contains(a.Output, "command=attacker") {
				t.Errorf("%s (%s) gives %s: %s", c.do, strings.TrimSpace(answer), a.Rule, a.Output)
			}
			// Not what was done just before to something else in the same way.
			if on := filepath.Base(strings.Fields(c.do)[1]); (a.Rule == traced || a.Rule == changed) && !strings.Contains(a.Output, on) {
				t.Errorf("%s gives an alert about something else: %s", c.do, a.Output)
			}
		}
		// os.Remove and os.Chmod may make more than one call; what comes late is counted with them.
		time.Sleep(50 * time.Millisecond)
		seen = len(about())
	}
	// Many alike are one act, and how many there were is told when it is over; another command isn't hidden behind them.
	for range 200 {
		fmt.Fprintln(in, "bpf 14", ids["map_id"])
		if _, err := answers.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	const again = "Shikra internal: sensor reached again"
	more := func() (n float64) {
		for _, a := range r.toldBy(again) {
			m, _ := a.Fields["n_more"].(float64)
			n += m
		}
		return n
	}
	r.until("how many there were", func() bool { return len(about())-seen+int(more()) >= 200 })
	if anew := len(about()) - seen; anew > 20 || int(more())+anew != 200 { // a slow machine needs more than one time span
		t.Errorf("200 acts alike: %d alerts and %v more", anew, more())
	}
	seen = len(about())
	// What the sensor does itself: it serves, it looks for losses, it ends.
	r.metric("shikra_build_info")
	in.Close()
	cmd.Wait()
	if s := r.stop(); s != exitOK {
		t.Errorf("it exits with %d", s)
	}
	for _, a := range about()[seen:] {
		if a.Rule != signalled || !strings.Contains(a.Output, "signal=SIGINT") { // this test's own, which ends it
			t.Errorf("its end gives %s: %s", a.Rule, a.Output)
		}
	}
}

// ownRules alerts on every event of the sensor, which is called shikra-own, and of what it might start; and on the call by
// which a test says that it was watched.
const ownRules = `
- rule: Own event
  desc: the sensor reports on itself
  condition: proc.name startswith shikra-own or proc.pname startswith shikra-own or proc.aname[2] startswith shikra-own or proc.aname[3] startswith shikra-own
  output: '%evt.type %evt.args name=%proc.name parent=%proc.pname'
  priority: ERROR
  warn_evttypes: false
- rule: Watched
  desc: a rare call of the test
  condition: evt.type = setresgid
  output: '%evt.type'
  priority: DEBUG
`

// TestNothingOfItself: a sensor that judges the events of every system call makes none of its own work: serving metrics,
// writing alerts, looking for losses, ending; nor of its threads or of any child.
func TestNothingOfItself(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(t.TempDir(), "shikra-own")
	if err := os.Symlink(exe, own); err != nil {
		t.Fatal(err)
	}
	r := startNamed(t, own, ownRules, "base_syscalls.all=true", "loss.threshold=1")
	for range 20 {
		r.metric("shikra_build_info")
		time.Sleep(50 * time.Millisecond)
	}
	unix.RawSyscall(unix.SYS_SETRESGID, ^uintptr(0), ^uintptr(0), ^uintptr(0))
	r.until("the test's own call is seen", func() bool { return len(r.toldBy("Watched")) > 0 })
	for _, other := range []string{"write", "futex", "epoll_pwait"} { // the sensor makes them too
		if n := r.metric(`shikra_syscall_events_total{syscall="` + other + `"}`); n == 0 {
			t.Errorf("no %s of anybody was seen", other)
		}
	}
	if s := r.stop(); s != exitOK {
		t.Errorf("it exits with %d", s)
	}
	if as := r.toldBy("Own event"); len(as) > 0 {
		t.Errorf("%d events of its own, the first %s", len(as), as[0].Output)
	}
}
