package live

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/snapshot"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// tableSink keeps a snapshot.
type tableSink struct {
	threads map[int64]snapshot.Thread
	order   []int64
	files   map[[2]int64]snapshot.File
	users   []snapshot.User
	groups  []snapshot.Group
}

func newTable() *tableSink {
	return &tableSink{threads: map[int64]snapshot.Thread{}, files: map[[2]int64]snapshot.File{}}
}

func (t *tableSink) AddThread(th *snapshot.Thread) {
	t.order = append(t.order, th.TID)
	t.threads[th.TID] = *th
}
func (t *tableSink) AddFile(f *snapshot.File)   { t.files[[2]int64{f.PID, int64(f.FD)}] = *f }
func (t *tableSink) AddUser(u *snapshot.User)   { t.users = append(t.users, *u) }
func (t *tableSink) AddGroup(g *snapshot.Group) { t.groups = append(t.groups, *g) }

func take(t testing.TB, cfg SnapshotConfig) (*tableSink, SnapshotReport) {
	t.Helper()
	sink := newTable()
	rep, err := Snapshot(context.Background(), cfg, sink)
	if err != nil {
		t.Fatal(err)
	}
	if len(sink.threads) != rep.Threads || len(sink.files) != rep.Files {
		t.Errorf("report %+v, but %d threads and %d files came", rep, len(sink.threads), len(sink.files))
	}
	return sink, rep
}

// childEnv makes the test binary play the child of a snapshot test.
const childEnv = "SHIKRA_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		child()
		return
	}
	if os.Getenv(headlessEnv) != "" {
		headless()
		return
	}
	if v := os.Getenv(LoadEnv); v != "" {
		playLoad(v)
		return
	}
	os.Exit(m.Run())
}

// headlessEnv makes the test binary a process whose main thread has ended.
const headlessEnv = "SHIKRA_TEST_HEADLESS"

func init() {
	if os.Getenv(headlessEnv) != "" {
		runtime.LockOSThread() // main runs on the main thread
	}
}

func headless() {
	go func() {
		fmt.Println("ready")
		_, _ = os.Stdin.Read(make([]byte, 1))
		os.Exit(0)
	}()
	unix.RawSyscall(unix.SYS_EXIT, 0, 0, 0)
}

// TestSnapshotOfAHeadless: the process of a main thread that has ended is known by its other threads.
func TestSnapshotOfAHeadless(t *testing.T) {
	needBPF(t)
	cmd := exec.Command("/proc/self/exe", "an argument")
	cmd.Env = []string{headlessEnv + "=1", "SPECIAL=yes"}
	if _, err := bufio.NewReader(begin(t, cmd)).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", cmd.Process.Pid)); err != nil || time.Now().After(end) {
			t.Fatal(err, "its main thread doesn't end")
		} else if len(b) == 0 {
			break
		}
	}
	sink, rep := take(t, SnapshotConfig{})
	if rep.TaskIter != nil || rep.FileIter != nil {
		t.Skip(rep.TaskIter, rep.FileIter)
	}
	pid, threads := int64(cmd.Process.Pid), 0
	for _, th := range sink.threads {
		if th.PID != pid {
			continue
		}
		if main := th.TID == pid; th.Exited != main || th.Exiting != main {
			t.Errorf("thread %+v", th)
		}
		if threads++; th.Exe != "/proc/self/exe" || !slices.Equal(th.Args, []string{"an argument"}) || !slices.Contains(th.Env, "SPECIAL=yes") {
			t.Errorf("thread %+v", th)
		}
		if th.TID != pid && (th.Cwd == "" || !th.SharesFiles || th.Files == 0) {
			t.Errorf("thread %+v", th)
		}
	}
	if f, ok := sink.files[[2]int64{pid, 0}]; threads < 2 || !ok || f.Kind != 'p' {
		t.Errorf("%d threads, fd 0 %+v", threads, f)
	}
}

// child opens one of each kind of file, reports their numbers and waits for its standard input to end.
func child() {
	must := func(fd int, err error) int {
		if err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		return fd
	}
	dir := os.Getenv(childEnv)
	say := func(name string, fd int) { fmt.Println(name, fd) }
	say("reg", must(unix.Open(dir+"/file", unix.O_RDWR|unix.O_CREAT|unix.O_APPEND|unix.O_CLOEXEC, 0o640)))
	gone := must(unix.Open(dir+"/gone", unix.O_WRONLY|unix.O_CREAT, 0o600))
	say("gone", gone)
	must(0, unix.Unlink(dir+"/gone"))
	deep := dir
	for range 70 {
		deep += "/" + strings.Repeat("d", 20)
	}
	must(0, os.MkdirAll(deep, 0o755))
	say("deep", must(unix.Open(deep+"/x", unix.O_RDONLY|unix.O_CREAT, 0o600)))
	say("dir", must(unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)))
	say("root", must(unix.Open("/", unix.O_PATH, 0)))
	say("null", must(unix.Open("/dev/null", unix.O_WRONLY|unix.O_NONBLOCK, 0)))
	must(0, unix.Mkfifo(dir+"/fifo", 0o600))
	say("fifo", must(unix.Open(dir+"/fifo", unix.O_RDWR, 0)))
	var p [2]int
	must(0, unix.Pipe2(p[:], unix.O_CLOEXEC))
	say("pipe0", p[0])
	say("pipe1", p[1])
	say("eventfd", must(unix.Eventfd(0, 0)))
	say("epoll", must(unix.EpollCreate1(0)))
	say("timerfd", must(unix.TimerfdCreate(unix.CLOCK_MONOTONIC, 0)))
	say("signalfd", must(unix.Signalfd(-1, &unix.Sigset_t{}, 0)))
	say("inotify", must(unix.InotifyInit1(0)))
	say("memfd", must(unix.MemfdCreate("hidden", unix.MFD_CLOEXEC)))
	say("pidfd", must(unix.PidfdOpen(os.Getpid(), 0)))
	say("netns", must(unix.Open("/proc/self/ns/net", unix.O_RDONLY, 0)))
	nl := must(unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE))
	must(0, unix.Bind(nl, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})) // /proc shows bound ones only
	say("netlink", nl)

	lo := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	l := must(unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
	must(0, unix.Bind(l, lo))
	must(0, unix.Listen(l, 5))
	sa, _ := unix.Getsockname(l)
	say("listen", l)
	c := must(unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0))
	must(0, unix.Connect(c, sa))
	say("client", c)
	a, _, err := unix.Accept(l)
	say("server", must(a, err))
	say("unbound", must(unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)))
	u := must(unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0))
	must(0, unix.Bind(u, lo))
	usa, _ := unix.Getsockname(u)
	say("udp", u)
	u2 := must(unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0))
	must(0, unix.Connect(u2, usa))
	say("udpclient", u2)
	say("raw", must(unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)))
	if l6, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM, 0); err == nil {
		must(0, unix.Bind(l6, &unix.SockaddrInet6{}))
		must(0, unix.Listen(l6, 5))
		say("listen6", l6)
		sa6, _ := unix.Getsockname(l6)
		port := sa6.(*unix.SockaddrInet6).Port
		c6 := must(unix.Socket(unix.AF_INET6, unix.SOCK_STREAM, 0))
		must(0, unix.Connect(c6, &unix.SockaddrInet6{Port: port, Addr: [16]byte{15: 1}}))
		say("client6", c6)
		c46 := must(unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0))
		must(0, unix.Connect(c46, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}))
		say("client46", c46)
		for range 2 {
			a, peer, err := unix.Accept(l6)
			must(a, err)
			if peer.(*unix.SockaddrInet6).Addr[10] == 0xff {
				say("server46", a)
			} else {
				say("server6", a)
			}
		}
	}
	ul := must(unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0))
	must(0, unix.Bind(ul, &unix.SockaddrUnix{Name: dir + "/a sock"}))
	must(0, unix.Listen(ul, 5))
	say("unixlisten", ul)
	uc := must(unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0))
	must(0, unix.Connect(uc, &unix.SockaddrUnix{Name: dir + "/a sock"}))
	say("unixclient", uc)
	ua, _, err := unix.Accept(ul)
	say("unixserver", must(ua, err))
	ab := must(unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0))
	must(0, unix.Bind(ab, &unix.SockaddrUnix{Name: "@shikra-test-" + strconv.Itoa(os.Getpid())}))
	say("abstract", ab)
	var sp [2]int
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	sp = pair
	must(0, err)
	say("unixpair", sp[0])

	must(0, unix.Chdir(dir))
	fmt.Println("ready", os.Getpid())
	b := make([]byte, 1)
	_, _ = os.Stdin.Read(b)
}

// begin starts a command that ends with its standard input, at the test's end, and returns what it writes.
func begin(t *testing.T, cmd *exec.Cmd) io.Reader {
	t.Helper()
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
	t.Cleanup(func() { in.Close(); _ = cmd.Wait() })
	return out
}

// startChild starts a child and returns its command, directory and the numbers of its files.
func startChild(t *testing.T) (*exec.Cmd, string, map[string]int64) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe", "first", "two words", "")
	cmd.Args[0] = "a-test-child"
	cmd.Env = []string{childEnv + "=" + dir, "SPECIAL=yes and no", "EMPTY="}
	cmd.Stderr = os.Stderr
	out := begin(t, cmd)
	fds := map[string]int64{}
	for {
		var name, rest string
		if _, err := fmt.Fscanln(out, &name, &rest); err != nil {
			t.Fatalf("the child's report: %v (%s)", err, name)
		}
		if name == "error" {
			t.Fatalf("the child: %s", rest)
		}
		if name == "ready" {
			return cmd, dir, fds
		}
		fds[name], _ = strconv.ParseInt(rest, 10, 64)
	}
}

// mustIterate fails unless both iterators ran, but for a kernel that refuses BPF.
func mustIterate(t testing.TB, rep SnapshotReport) {
	t.Helper()
	needBPF(t)
	if rep.TaskIter != nil || rep.FileIter != nil {
		t.Fatalf("iterators: %v, %v", rep.TaskIter, rep.FileIter)
	}
}

func TestSnapshotOfAChild(t *testing.T) {
	needBPF(t)
	before := bootNow()
	cmd, dir, fds := startChild(t)
	pid := int64(cmd.Process.Pid)
	after := bootNow()
	for _, tt := range []struct {
		name string
		off  bool
	}{{"iterators", false}, {"proc", true}} {
		t.Run(tt.name, func(t *testing.T) {
			sink, rep := take(t, SnapshotConfig{NoIterators: tt.off})
			if !tt.off {
				mustIterate(t, rep)
			}
			checkThread(t, sink, pid, dir, before, after, tt.off)
			checkFiles(t, sink, pid, dir, fds, tt.off)
		})
	}
}

func bootNow() uint64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts)
	return uint64(ts.Nano())
}

func checkThread(t *testing.T, sink *tableSink, pid int64, dir string, before, after uint64, proc bool) {
	t.Helper()
	th, ok := sink.threads[pid]
	if !ok {
		t.Fatalf("process %d is missing", pid)
	}
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(self, &st); err != nil {
		t.Fatal(err)
	}
	sid, _ := unix.Getsid(int(pid))
	pgid, _ := unix.Getpgid(int(pid))
	var lim unix.Rlimit
	if err := unix.Prlimit(int(pid), unix.RLIMIT_NOFILE, nil, &lim); err != nil {
		t.Fatal(err)
	}
	caps := th.CapPermitted
	hdr, data := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, [2]unix.CapUserData{}
	if err := unix.Capget(&hdr, &data[0]); err == nil {
		caps = uint64(data[0].Permitted) | uint64(data[1].Permitted)<<32
	}
	comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	check := func(what string, got, want any) {
		t.Helper()
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %#v, want %#v", what, got, want)
		}
	}
	check("PID", th.PID, pid)
	check("PTID", th.PTID, int64(os.Getpid()))
	check("VTID", th.VTID, pid)
	check("VPID", th.VPID, pid)
	check("PGID", th.PGID, int64(pgid))
	check("VPGID", th.VPGID, int64(pgid))
	check("SID", th.SID, int64(sid))
	check("UID", th.UID, uint32(os.Geteuid()))
	check("GID", th.GID, uint32(os.Getegid()))
	check("Comm", th.Comm+"\n", string(comm))
	check("Exe", th.Exe, "a-test-child")
	check("Args", th.Args, []string{"first", "two words", ""})
	check("Env", th.Env, []string{childEnv + "=" + dir, "SPECIAL=yes and no", "EMPTY="})
	check("ExePath", th.ExePath, self)
	check("Cwd", th.Cwd, dir)
	check("Root", th.Root, "/")
	check("ExeIno", th.ExeIno, st.Ino)
	check("ExeCtime", th.ExeCtime, uint64(st.Ctim.Nano()))
	check("ExeMtime", th.ExeMtime, uint64(st.Mtim.Nano()))
	check("CapPermitted", th.CapPermitted, caps)
	check("CapEffective", th.CapEffective, caps)
	check("FDLimit", th.FDLimit, int64(lim.Cur))
	check("Flags", th.Flags, uint32(wasmabi.ThreadMain|wasmabi.ThreadExeWritable))
	cg, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	check("Cgroups", th.Cgroups, parseCgroups(cg))
	if len(th.Cgroups) == 0 && len(cg) > 0 {
		t.Error("no cgroups")
	}
	const tick = nsPerTick
	if th.CloneTS < before-tick || th.CloneTS > after+tick || !proc && th.CloneTS < before {
		t.Errorf("CloneTS %d is not between %d and %d", th.CloneTS, before, after)
	}
	if th.PidnsInitTS > uint64(time.Minute) {
		t.Errorf("PidnsInitTS is %d", th.PidnsInitTS)
	}
	threads := 0
	for _, o := range sink.threads {
		if !proc && (o.PID == pid) != (o.Files == th.Files && o.Dirs == th.Dirs) {
			t.Errorf("thread %d of process %d shares fds %#x and directories %#x; process %d: %#x and %#x", o.TID, o.PID, o.Files, o.Dirs, pid, th.Files, th.Dirs)
		}
		if o.PID == pid && o.TID != pid {
			threads++
			if o.Exe != th.Exe || o.ExePath != th.ExePath || o.Cwd != th.Cwd || !o.SharesFiles || o.Files != th.Files || o.Dirs != th.Dirs || o.Flags&wasmabi.ThreadMain != 0 || !slices.Equal(o.Args, th.Args) {
				t.Errorf("thread %+v of %+v", o, th)
			}
		}
	}
	tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	check("other threads", threads, len(tasks)-1)
	if i, j := slices.Index(sink.order, int64(os.Getpid())), slices.Index(sink.order, pid); i > j {
		t.Error("the child came before its parent")
	}
}

func checkFiles(t *testing.T, sink *tableSink, pid int64, dir string, fds map[string]int64, proc bool) {
	t.Helper()
	link := func(fd int64) string {
		v, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, fd))
		return v
	}
	port := func(name string, server bool) string {
		f := sink.files[[2]int64{pid, fds[name]}]
		if server {
			return strconv.Itoa(int(f.SPort))
		}
		return strconv.Itoa(int(f.CPort))
	}
	const (
		rdonly, wronly, rdwr = 1, 2, 3
		appends, nonblock    = 1 << 3, 1 << 6
		directory, cloexec   = 1 << 10, 1 << 12
		client               = wasmabi.FileClient
		server               = wasmabi.FileServer
		connected            = wasmabi.FileConnected
	)
	tests := map[string]struct {
		kind  byte
		name  string
		flags uint32
		bits  uint8
		l4    uint8
	}{
		"reg":        {'f', dir + "/file", rdwr | appends | cloexec, 0, 0},
		"gone":       {'f', dir + "/gone (deleted)", wronly, 0, 0},
		"deep":       {'f', link(fds["deep"]), rdonly, 0, 0},
		"dir":        {'d', dir, rdonly | directory, 0, 0},
		"root":       {'d', "/", rdonly, 0, 0},
		"null":       {'f', "/dev/null", wronly | nonblock, 0, 0},
		"fifo":       {'p', dir + "/fifo", rdwr, 0, 0},
		"pipe0":      {'p', link(fds["pipe0"]), rdonly | cloexec, 0, 0},
		"pipe1":      {'p', link(fds["pipe1"]), wronly | cloexec, 0, 0},
		"eventfd":    {'e', "", rdwr, 0, 0},
		"epoll":      {'l', "", rdwr, 0, 0},
		"timerfd":    {'t', "", rdwr, 0, 0},
		"signalfd":   {'s', "", rdwr, 0, 0},
		"inotify":    {'i', "", rdonly, 0, 0},
		"memfd":      {'m', "/memfd:hidden (deleted)", rdwr | cloexec, 0, 0},
		"pidfd":      {'P', "", rdwr | cloexec, 0, 0},
		"netns":      {'f', link(fds["netns"]), rdonly, 0, 0},
		"netlink":    {'n', "", 0, 0, 0},
		"listen":     {'4', "127.0.0.1:" + port("listen", true), cloexec, server, 6},
		"client":     {'4', "127.0.0.1:" + port("client", false) + "->127.0.0.1:" + port("listen", true), 0, client | connected, 6},
		"server":     {'4', "127.0.0.1:" + port("client", false) + "->127.0.0.1:" + port("listen", true), 0, server | connected, 6},
		"unbound":    {'4', "", 0, 0, 6},
		"udp":        {'4', "127.0.0.1:" + port("udp", true), 0, server, 17},
		"udpclient":  {'4', "127.0.0.1:" + port("udpclient", false) + "->127.0.0.1:" + port("udp", true), 0, client | connected, 17},
		"raw":        {'4', "0.0.0.0:1", 0, server, 1},
		"listen6":    {'6', ":::" + port("listen6", true), 0, server, 6},
		"client6":    {'6', "::1:" + port("client6", false) + "->::1:" + port("listen6", true), 0, client | connected, 6},
		"server6":    {'6', "::1:" + port("client6", false) + "->::1:" + port("listen6", true), 0, server | connected, 6},
		"client46":   {'4', "127.0.0.1:" + port("client46", false) + "->127.0.0.1:" + port("listen6", true), 0, client | connected, 6},
		"server46":   {'4', "127.0.0.1:" + port("client46", false) + "->127.0.0.1:" + port("listen6", true), 0, server | connected, 6},
		"unixlisten": {'u', dir + "/a sock", 0, server, 0},
		"unixclient": {'u', dir + "/a sock", 0, client | connected, 0},
		"unixserver": {'u', dir + "/a sock", 0, server | connected, 0},
		"abstract":   {'u', "@shikra-test-" + strconv.Itoa(int(pid)), 0, server, 0},
		"unixpair":   {'u', "", 0, client | connected, 0},
	}
	for _, name := range slices.Sorted(maps.Keys(fds)) {
		want, ok := tests[name]
		if !ok {
			t.Errorf("the child's %s is not tested", name)
			continue
		}
		f, ok := sink.files[[2]int64{pid, fds[name]}]
		if !ok {
			t.Errorf("%s: missing", name)
			continue
		}
		if name == "unixclient" && proc {
			want.name = "" // /proc doesn't tell the other end
		}
		if name == "unbound" && proc {
			want.kind, want.l4 = 'o', 0 // nor that there is such a socket
		}
		if strings.Contains(name, "unbound") {
			f.OpenFlags = 0
		}
		if f.Kind != want.kind || f.Name != want.name || f.OpenFlags != want.flags || f.Bits&7 != want.bits || f.L4Proto != want.l4 {
			t.Errorf("%s: got kind %c name %q flags %#x bits %d l4 %d, want %c %q %#x %d %d", name,
				f.Kind, f.Name, f.OpenFlags, f.Bits, f.L4Proto, want.kind, want.name, want.flags, want.bits, want.l4)
		}
		var st unix.Stat_t
		if err := unix.Stat(fmt.Sprintf("/proc/%d/fd/%d", pid, fds[name]), &st); err != nil {
			t.Fatal(err)
		}
		if f.Ino != st.Ino || f.Dev != uint32(st.Dev) {
			t.Errorf("%s: inode %d on %#x, want %d on %#x", name, f.Ino, f.Dev, st.Ino, st.Dev)
		}
		if f.Mode&unix.S_IFMT != st.Mode&unix.S_IFMT && st.Mode&unix.S_IFMT != 0 {
			t.Errorf("%s: mode %o, want %o", name, f.Mode, st.Mode)
		}
	}
}

// TestSnapshotIteratorsAgainstProc compares both ways of reading for all that runs here. Others change while it looks, so a
// difference counts only when nothing changed from one iterator's snapshot to the next with /proc between them, and only
// when it stands in each of several looks.
func TestSnapshotIteratorsAgainstProc(t *testing.T) {
	needBPF(t)
	const looks = 5
	var stands map[string]string // what differs, in all looks so far
	for look := range looks {
		a, rep := take(t, SnapshotConfig{})
		mustIterate(t, rep)
		b, _ := take(t, SnapshotConfig{NoIterators: true})
		again, _ := take(t, SnapshotConfig{})
		now := map[string]string{}
		threads := compareStill(a.threads, b.threads, again.threads, differThreads, func(tid int64, what string) {
			now[fmt.Sprintf("thread %d (%s)", tid, b.threads[tid].Comm)] = what
		})
		files := compareStill(a.files, b.files, again.files, differFiles, func(k [2]int64, what string) {
			if k[0] != int64(os.Getpid()) { // what reads has files of its own open
				now[fmt.Sprintf("fd %d of %d", k[1], k[0])] = what
			}
		})
		if threads == 0 || files == 0 {
			t.Fatalf("%d threads and %d files compared", threads, files)
		}
		if look == 0 {
			stands = now
		}
		maps.DeleteFunc(stands, func(k, _ string) bool { _, ok := now[k]; return !ok })
		t.Logf("%d threads and %d files alike, %d differ, %d in each look so far", threads, files, len(now), len(stands))
		if len(stands) == 0 {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	for k, what := range stands {
		t.Errorf("%s: %s", k, what)
	}
}

// compareStill compares what is in a, by iterator, with b, by /proc, for all entries that are the same in again, the next
// snapshot by iterator. It reports what differs and what only one of them has, and returns how many are alike.
func compareStill[K comparable, V any](a, b, again map[K]V, differ func(x, y V) string, report func(K, string)) (alike int) {
	for k, x := range a {
		z, ok := again[k]
		if !ok || differ(x, z) != "" {
			continue // changes or ends
		}
		y, ok := b[k]
		if !ok {
			report(k, "not in /proc")
			continue
		}
		if what := differ(x, y); what != "" {
			report(k, what)
			continue
		}
		alike++
	}
	for k := range b {
		_, before := a[k]
		_, after := again[k]
		if !before && !after {
			report(k, "only in /proc")
		}
	}
	return alike
}

// differThreads names what differs between a thread by iterator and by /proc, without what the two can't agree on. Of the
// environment it says no more than that.
func differThreads(x, y snapshot.Thread) string {
	if max(x.CloneTS, y.CloneTS)-min(x.CloneTS, y.CloneTS) <= 2*nsPerTick {
		x.CloneTS, y.CloneTS = 0, 0
	}
	for _, p := range []*snapshot.Thread{&x, &y} {
		p.PidnsInitTS, p.Files, p.Dirs = 0, 0, 0 // /proc tells none of them
		p.Flags &^= wasmabi.ThreadExeUpperLayer | wasmabi.ThreadExeLowerLayer
		if p.Flags&wasmabi.ThreadKernel != 0 { // workqueue threads change their name all the time
			p.Comm = ""
		}
	}
	return differFields(x, y)
}

// differFiles is the same for files.
func differFiles(x, y snapshot.File) string {
	for _, p := range []*snapshot.File{&x, &y} {
		p.Bits &^= wasmabi.FileUpperLayer | wasmabi.FileLowerLayer
		if p.Kind == 'u' && p.Bits&wasmabi.FileClient != 0 {
			p.Name = ""
		}
	}
	if x.Mode&unix.S_IFMT == 0 || y.Mode&unix.S_IFMT == 0 { // anonymous inodes
		x.Mode, y.Mode = 0, 0
	}
	return differFields(x, y)
}

func differFields[T any](x, y T) string {
	var s []string
	vx, vy := reflect.ValueOf(x), reflect.ValueOf(y)
	for i := range vx.NumField() {
		fx, fy := vx.Field(i).Interface(), vy.Field(i).Interface()
		switch name := vx.Type().Field(i).Name; {
		case reflect.DeepEqual(fx, fy):
		case name == "Env" || name == "Args": // may hold secrets
			s = append(s, name)
		default:
			s = append(s, fmt.Sprintf("%s %v, %v by /proc", name, fx, fy))
		}
	}
	return strings.Join(s, "; ")
}

func TestSnapshotBounds(t *testing.T) {
	dir := t.TempDir()
	for i := range 300 {
		f, err := os.Create(filepath.Join(dir, strconv.Itoa(i)))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	self := int64(os.Getpid())
	for _, off := range []bool{false, true} {
		if !off {
			needBPF(t)
		}
		sink, rep := take(t, SnapshotConfig{MaxFilesPerProcess: 100, NoIterators: off})
		n := 0
		for k := range sink.files {
			if k[0] == self {
				n++
			}
		}
		if n != 100 || rep.FilesCut < 200 {
			t.Errorf("off=%v: %d files of this process, %d cut", off, n, rep.FilesCut)
		}
		if sink, rep := take(t, SnapshotConfig{MaxFiles: 150, MaxThreads: 20, NoIterators: off}); len(sink.files) > 150 || len(sink.threads) > 20 || rep.FilesCut == 0 || rep.ThreadsCut == 0 {
			t.Errorf("off=%v: %d files and %d threads, report %+v", off, len(sink.files), len(sink.threads), rep)
		}
	}
}

func TestSnapshotStops(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Snapshot(ctx, SnapshotConfig{}, newTable()); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := Snapshot(context.Background(), SnapshotConfig{HostRoot: t.TempDir()}, newTable()); err == nil {
		t.Error("no error without /proc")
	}
}

func BenchmarkSnapshot(b *testing.B) {
	for _, off := range []bool{false, true} {
		b.Run(map[bool]string{false: "iterators", true: "proc"}[off], func(b *testing.B) {
			var rep SnapshotReport
			before := cpuTime()
			for range b.N {
				_, rep = take(b, SnapshotConfig{NoIterators: off})
			}
			b.ReportMetric(float64(rep.Threads), "threads")
			b.ReportMetric(float64(rep.Files), "files")
			b.ReportMetric(float64((cpuTime()-before).Microseconds())/1000/float64(b.N), "cpu-ms/op")
		})
	}
}
