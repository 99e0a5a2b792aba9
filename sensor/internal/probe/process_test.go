package probe

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// command is this program as a child that does what mode says.
func command(mode string, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = []string{childEnv + "=" + mode, "SECOND=2"}
	return cmd
}

// events runs fn with events of calls, and returns those that came.
func (l *live) events(t testing.TB, calls []string, fn func()) []event.Record {
	t.Helper()
	l.drain(t)
	if calls == nil {
		calls = l.p.Syscalls()
	}
	l.want(t, calls...)
	touchArgs()
	fn()
	l.want(t)
	return l.drain(t)
}

// touchArgs reads this process's arguments where exec put them. Of a page that was long not used the kernel takes the mark of access;
// where the CPU doesn't set it again by itself (ARMv8.0) the next access is a fault, for which no program of the probe can wait.
//
//go:noinline
func touchArgs() (sum byte) {
	for _, arg := range os.Args {
		for i := range len(arg) {
			sum ^= arg[i]
		}
	}
	return sum
}

// the returns the only record of typ by tid.
func the(t *testing.T, recs []event.Record, typ event.Type, tid int) event.Record {
	t.Helper()
	var out event.Record
	for _, r := range recs {
		if r.Type() == typ && r.TID() == int64(tid) {
			if out != nil {
				t.Fatalf("two events of %s by %d", typ, tid)
			}
			out = r
		}
	}
	if out == nil {
		t.Fatalf("no event of %s by %d; got %v", typ, tid, typesOf(recs))
	}
	return out
}

// positive wants an integer above zero.
func positive(t *testing.T, name string, b []byte) {
	t.Helper()
	if v, ok := (map[int]event.ParamType{4: event.ParamUint32, 8: event.ParamInt64}[len(b)]).Int(b); !ok || v <= 0 {
		t.Errorf("%s is %d", name, v)
	}
}

// status reads a line of /proc/thread-self/status or another's.
func status(t testing.TB, path, key string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sc := bufio.NewScanner(bytes.NewReader(b))
	for sc.Scan() {
		if v, ok := strings.CutPrefix(sc.Text(), key+":"); ok {
			return strings.TrimSpace(v)
		}
	}
	t.Fatalf("%s has no %s", path, key)
	return ""
}

func capsOf(t testing.TB, key string) uint64 {
	t.Helper()
	v, err := strconv.ParseUint(status(t, "/proc/thread-self/status", key), 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// cgroups wants the cgroups of this process, as /proc has them.
func cgroups(t *testing.T, name string, b []byte) {
	t.Helper()
	f, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	paths := map[string]string{}
	unified := "/" // also where no hierarchy is mounted
	for _, l := range strings.Split(strings.TrimSpace(string(f)), "\n") {
		p := strings.SplitN(l, ":", 3)
		if len(p) < 3 {
			continue
		}
		if p[1] == "" {
			unified = p[2]
		}
		for _, c := range strings.Split(p[1], ",") {
			paths[c] = p[2]
		}
	}
	if len(b) == 0 || b[len(b)-1] != 0 {
		t.Fatalf("%s is %q", name, b)
	}
	seen := 0
	for _, kv := range strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00") {
		ctl, path, ok := strings.Cut(kv, "=")
		if !ok {
			t.Errorf("%s has %q", name, kv)
		}
		if ctl == "io" && paths["blkio"] != "" {
			ctl = "blkio" // its name in a hierarchy of its own
		}
		want, own := paths[ctl]
		if !own {
			want = unified
		}
		if path != want {
			t.Errorf("%s has %q, not the path %q", name, kv, want)
		}
		seen++
	}
	if seen < 3 {
		t.Errorf("%s has only %q", name, b)
	}
}

// ns wants a time of the file, in ns since the epoch.
func ns(ts unix.Timespec) int64 { return ts.Nano() }

func loginuid(t testing.TB) any {
	b, err := os.ReadFile("/proc/self/loginuid")
	if os.IsNotExist(err) {
		return uint32(0xFFFFFFFF)
	}
	v, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(v)
}

func nofile(t testing.TB) uint64 {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		t.Fatal(err)
	}
	return lim.Cur
}

// execWant are the parameters of exec events that follow from this process and the file that is run.
type execWant struct {
	res             int64
	exe, comm       string
	args, env       []byte
	pid, ptid, pgid int
	cwd, exepath    any
	file            string
	flags           int
	filename        []any
	fdlimit         any
}

func (w execWant) params(t testing.TB) []any {
	t.Helper()
	var st unix.Stat_t
	ino, ctime, mtime := any(present{}), any(present{}), any(present{})
	if w.file != "" {
		if err := unix.Stat(w.file, &st); err != nil {
			t.Fatal(err)
		}
		ino, ctime, mtime = st.Ino, ns(st.Ctim), ns(st.Mtim)
	}
	return append([]any{w.res, w.exe, w.args, w.pid, w.pid, w.ptid, w.cwd, w.fdlimit, present{}, check(positive), check(positive), present{},
		present{}, w.comm, check(cgroups), w.env, 0, w.pgid, loginuid(t), w.flags, capsOf(t, "CapInh"), capsOf(t, "CapPrm"), capsOf(t, "CapEff"),
		ino, ctime, mtime, unix.Geteuid(), w.exepath, w.pgid, unix.Getegid()}, w.filename...)
}

// program is a copy of this test's own program, under a name that is known.
func copyOfSelf(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	p := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(p, b, 0o755); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestExec(t *testing.T) {
	l := needProbe(t)
	prog := copyOfSelf(t, "a-rather-long-name")
	dir := t.TempDir()
	if tty, err := os.Open("/dev/tty"); err == nil {
		tty.Close()
		t.Log("this process has a terminal: tty isn't compared")
	}
	run := func(t *testing.T, mode string, file *os.File) (recs []event.Record, pid int) {
		t.Helper()
		cmd := exec.Command(prog, "one", "", "three ", strings.Repeat("x", 100))
		cmd.Args[0] = "zero"
		cmd.Env = []string{childEnv + "=" + mode, "EMPTY="}
		cmd.Dir = dir
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if file != nil {
			cmd.ExtraFiles = []*os.File{file}
		}
		recs = l.events(t, []string{}, func() {
			var ee *exec.ExitError
			if err := cmd.Run(); err != nil && (!asExit(err, &ee) || ee.ExitCode() != 3) {
				t.Fatal(err)
			}
		})
		return recs, cmd.Process.Pid
	}
	want := func(pid int) execWant {
		return execWant{exe: "zero", args: []byte("one\x00\x00three \x00" + strings.Repeat("x", 100) + "\x00"), pid: pid, ptid: os.Getpid(), pgid: pid,
			cwd: dir, fdlimit: present{}, comm: "a-rather-long-n", env: []byte(childEnv + "=exit\x00EMPTY=\x00"), flags: 1, exepath: prog, file: prog,
			filename: []any{prog}}
	}
	t.Run("execve", func(t *testing.T) {
		recs, pid := run(t, "exit", nil)
		r := the(t, recs, event.SyscallExecveV19X, pid)
		checkRecord(t, r, want(pid).params(t))
		checkHead(t, &env{nr: event.NoNR}, r)
	})
	t.Run("execveat", func(t *testing.T) {
		f, err := os.Open(prog)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		recs, pid := run(t, "execveat", f)
		w := want(pid)
		w.exe, w.args, w.env, w.filename = "by fd", []byte("arg\x00"), []byte(childEnv+"=exit\x00"), nil
		r := the(t, recs, event.SyscallExecveatX, pid)
		w.comm = string(commOf(t, r))
		checkRecord(t, r, w.params(t))
	})
	t.Run("memfd", func(t *testing.T) {
		f, err := os.Open(prog)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		recs, pid := run(t, "memfd", f)
		w := want(pid)
		w.exe, w.args, w.env, w.filename, w.flags = "by fd", []byte("arg\x00"), []byte(childEnv+"=exit\x00"), nil, 1|4
		w.exepath, w.file = "/memfd:shikra-test", ""
		r := the(t, recs, event.SyscallExecveatX, pid)
		w.comm = string(commOf(t, r))
		checkRecord(t, r, w.params(t))
	})
	t.Run("not writable", func(t *testing.T) {
		if err := os.Chmod(prog, 0o555); err != nil {
			t.Fatal(err)
		}
		defer os.Chmod(prog, 0o755)
		for dir := filepath.Dir(prog); dir != "/tmp" && dir != "/"; dir = filepath.Dir(dir) {
			os.Chmod(dir, 0o755)
		}
		cmd := exec.Command(prog)
		cmd.Env = []string{childEnv + "=exit"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534, NoSetGroups: true}}
		recs := l.events(t, []string{}, func() {
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			cmd.Wait()
		})
		r := the(t, recs, event.SyscallExecveV19X, cmd.Process.Pid)
		for i, want := range map[int]int64{19: 0, 22: 0, 26: 65534, 29: 65534} {
			b, _ := r.Param(i)
			if v, _ := r.Type().Info().Params[i].Type.Int(b); v != want {
				t.Errorf("%s is %d, not %d", r.Type().Info().Params[i].Name, v, want)
			}
		}
	})
	t.Run("long arguments", func(t *testing.T) {
		cmd := exec.Command(prog, strings.Repeat("a", 5000))
		cmd.Env = []string{childEnv + "=exit", "LONG=" + strings.Repeat("b", 5000)}
		recs := l.events(t, []string{}, func() { cmd.Run() })
		r := the(t, recs, event.SyscallExecveV19X, cmd.Process.Pid)
		args, _ := r.Param(2)
		env, _ := r.Param(15)
		if string(args) != strings.Repeat("a", 4095)+"\x00" || len(env) != 4096 || env[4095] != 0 || r.Origin() != wasmabi.OriginCut {
			t.Errorf("%d bytes of arguments, %d of environment, origin %d", len(args), len(env), r.Origin())
		}
	})
}

func asExit(err error, ee **exec.ExitError) bool {
	e, ok := err.(*exec.ExitError)
	*ee = e
	return ok
}

// commOf is the name that an exec by descriptor gives, which kernels choose differently: the number, or from 6.14 the file's.
func commOf(t *testing.T, r event.Record) []byte {
	t.Helper()
	b, ok := r.Param(13)
	if !ok || len(b) < 2 {
		t.Fatalf("comm is %q", b)
	}
	return b[:len(b)-1]
}

// failedExec is a case of an exec that fails, with what the caller is.
func failedExec(name string, typ event.Type, what string, e unix.Errno, argv, envp []string, filename []any, args func(argv, envp uintptr) []uintptr) callCase {
	return callCase{name, what, typ, func(t *env) []any {
		array := func(s []string) uintptr {
			if s == nil {
				return 0
			}
			b := make([]byte, 0, 8*len(s)+8)
			for _, v := range s {
				b = binary.NativeEndian.AppendUint64(b, uint64(str(v)))
			}
			return addr(binary.NativeEndian.AppendUint64(b, 0))
		}
		if r := t.call(name, args(array(argv), array(envp))...); r != -int64(e) {
			t.Fatalf("%s gives %d", name, r)
		}
		self, err := os.Readlink("/proc/self/exe")
		if err != nil {
			t.Fatal(err)
		}
		comm, err := os.ReadFile("/proc/thread-self/comm")
		if err != nil {
			t.Fatal(err)
		}
		join := func(s []string) []byte {
			var b []byte
			for _, v := range s {
				b = append(append(b, v...), 0)
			}
			if len(b) > 4096 {
				b = append(b[:4095], 0)
				t.origin = wasmabi.OriginCut
			}
			return b
		}
		w := execWant{res: -int64(e), args: []byte{}, pid: os.Getpid(), ptid: os.Getppid(), pgid: unix.Getpgrp(), cwd: missing{}, fdlimit: nofile(t),
			comm: strings.TrimSpace(string(comm)), env: join(envp), flags: 1, exepath: self, file: self, filename: filename}
		if argv != nil {
			w.exe, w.args = argv[0], join(argv[1:])
		}
		p := w.params(t)
		p[3] = t.tid
		p[9] = present{} // a thread may have had no fault yet
		p[11] = check(positive)
		if argv == nil {
			p[1] = missing{}
		}
		return p
	}}
}

func failedExecCases() []callCase {
	path := "/nonexistent/program"
	execve := func(argv, envp uintptr) []uintptr { return []uintptr{str(path), argv, envp} }
	execveat := func(argv, envp uintptr) []uintptr { return []uintptr{cwd, str(path), argv, envp, 0} }
	many := strings.Split(strings.Repeat("x ", 40), " ")
	return []callCase{
		failedExec("execve", event.SyscallExecveV19X, "fails", unix.ENOENT, []string{"argv0", "a", "b c"}, []string{"A=1", "B=2"}, []any{path}, execve),
		failedExec("execve", event.SyscallExecveV19X, "no arrays", unix.ENOENT, nil, nil, []any{path}, execve),
		failedExec("execve", event.SyscallExecveV19X, "many", unix.ENOENT, many, many, []any{path}, execve),
		failedExec("execve", event.SyscallExecveV19X, "long", unix.ENOENT, []string{"0", strings.Repeat("1", 3000), strings.Repeat("2", 3000)}, nil, []any{path}, execve),
		failedExec("execveat", event.SyscallExecveatX, "fails", unix.ENOENT, []string{"argv0", "a"}, []string{"A=1"}, nil, execveat),
	}
}

func TestExecFails(t *testing.T) { runCases(t, failedExecCases()) }

// cloneParams are the parameters of a clone event of this process or a copy of it.
func cloneParams(t testing.TB, res, tid, pid, ptid int, flags any, start any) []any {
	t.Helper()
	cmdline, err := os.ReadFile("/proc/self/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	exe, args, _ := bytes.Cut(cmdline, []byte{0})
	return []any{res, string(exe), args, tid, pid, ptid, missing{}, nofile(t), present{}, present{}, check(positive), check(positive), present{},
		present{}, check(cgroups), flags, unix.Geteuid(), unix.Getegid(), tid, pid, start}
}

// someTime wants a time since boot that has passed.
func someTime(t *testing.T, name string, b []byte) {
	t.Helper()
	if v := binary.LittleEndian.Uint64(b); int64(v) > bootNow() {
		t.Errorf("%s is %d", name, v)
	}
}

// TestClone makes a child by each of the four calls, and looks at both events of each.
// TestCloneExtra checks the parameters that clone and clone3 have only when there is something to say.
func TestCloneExtra(t *testing.T) {
	l := needProbe(t)
	for _, call := range []string{"clone", "clone3"} {
		for _, flags := range []uint64{unix.CLONE_PIDFD, unix.CLONE_PARENT} {
			t.Run(fmt.Sprintf("%s/%#x", call, flags), func(t *testing.T) {
				if number(call) < 0 {
					t.Skipf("%s has no system call %s", runtime.GOARCH, call)
				}
				fd := int32(-1)
				args := [8]uint64{0: flags, 1: uint64(uintptr(unsafe.Pointer(&fd))), 4: uint64(unix.SIGCHLD)} // struct clone_args: flags, pidfd
				if flags == unix.CLONE_PARENT {
					args[4] = 0 // its signal is that of the caller: kernel/fork.c, copy_process
				}
				var tid, pid int
				var recs []event.Record
				inThread(func() {
					tid = unix.Gettid()
					recs = l.events(t, []string{call}, func() {
						if call == "clone" {
							pid = int(forkBy(number(call), uintptr(flags)|uintptr(args[4]), 0, uintptr(unsafe.Pointer(&fd))))
						} else {
							pid = int(forkBy(number(call), uintptr(unsafe.Pointer(&args)), 64))
						}
						if pid > 0 && flags == unix.CLONE_PIDFD {
							unix.Wait4(pid, nil, 0, nil)
						}
					})
				})
				if pid <= 0 {
					t.Fatalf("%s gives %d", call, pid)
				}
				typ := event.SyscallCloneV20X
				if call == "clone3" {
					typ = event.SyscallClone3X
				}
				parent, child := the(t, recs, typ, tid), the(t, recs, typ, pid)
				maker, pidfd := typ.Info().ParamIndex("maker"), typ.Info().ParamIndex("pidfd")
				has := func(r event.Record, i int) int64 {
					if b, ok := r.Param(i); ok {
						return int64(binary.LittleEndian.Uint64(b))
					}
					return -1
				}
				if flags == unix.CLONE_PIDFD {
					if fd < 0 || has(parent, pidfd) != int64(fd) || has(parent, maker) != -1 || child.NumParams() != maker {
						t.Errorf("the pidfd is %d; parent: pidfd %d, maker %d; child has %d parameters", fd, has(parent, pidfd), has(parent, maker), child.NumParams())
					}
					unix.Close(int(fd))
				} else if has(child, maker) != int64(tid) || has(child, pidfd) != -1 || parent.NumParams() != maker {
					t.Errorf("child: maker %d, want %d, pidfd %d; parent has %d parameters", has(child, maker), tid, has(child, pidfd), parent.NumParams())
				}
			})
		}
	}
}

func TestClone(t *testing.T) {
	l := needProbe(t)
	if number("clone") < 0 {
		t.Fatal("no clone?")
	}
	for _, c := range []struct {
		call  string
		typ   event.Type
		flags int
		make  func() int64
	}{
		{"clone", event.SyscallCloneV20X, clParentSettid | clChildCleartid, func() int64 {
			var tid [4]byte
			return forkBy(number("clone"), uintptr(unix.SIGCHLD)|unix.CLONE_PARENT_SETTID|unix.CLONE_CHILD_CLEARTID, 0, uintptr(unsafe.Pointer(&tid)), uintptr(unsafe.Pointer(&tid)))
		}},
		{"clone", event.SyscallCloneV20X, clFS | clFiles | clNewUTS, func() int64 {
			return forkBy(number("clone"), uintptr(unix.SIGCHLD)|unix.CLONE_FS|unix.CLONE_FILES|unix.CLONE_NEWUTS)
		}},
		{"clone3", event.SyscallClone3X, clNewIPC, func() int64 {
			args := [8]uint64{0: unix.CLONE_NEWIPC, 4: uint64(unix.SIGCHLD)} // struct clone_args: flags, exit_signal
			return forkBy(number("clone3"), uintptr(unsafe.Pointer(&args)), 64)
		}},
		{"fork", event.SyscallForkV20X, 0, func() int64 { return forkBy(number("fork")) }},
		{"vfork", event.SyscallVforkV20X, clVfork | clVM, vfork},
	} {
		t.Run(fmt.Sprintf("%s/%#x", c.call, c.flags), func(t *testing.T) {
			if number(c.call) < 0 || c.make == nil {
				t.Skipf("%s has no system call %s", runtime.GOARCH, c.call)
			}
			var tid, pid int
			var recs []event.Record
			inThread(func() {
				tid = unix.Gettid()
				recs = l.events(t, []string{c.call}, func() {
					pid = int(c.make())
					if pid > 0 {
						unix.Wait4(pid, nil, 0, nil)
					}
				})
			})
			if pid <= 0 {
				t.Fatalf("%s gives %d", c.call, pid)
			}
			parent := the(t, recs, c.typ, tid)
			checkRecord(t, parent, cloneParams(t, pid, tid, os.Getpid(), os.Getppid(), c.flags, 0))
			checkHead(t, &env{nr: uint32(number(c.call))}, parent)
			child := the(t, recs, c.typ, pid)
			checkRecord(t, child, cloneParams(t, 0, pid, pid, os.Getpid(), c.flags, check(someTime)))
			exit := the(t, recs, event.ProcexitV1E, pid)
			checkRecord(t, exit, []any{7 << 8, 7, 0, 0, 0})
			if !t.Failed() {
				native, _ := arches()
				proven(c.call, event.Arch(native), testedParams)
			}
		})
	}
	t.Run("thread", func(t *testing.T) {
		recs := l.events(t, []string{"clone"}, func() {
			// More locked goroutines at a time than the runtime can have threads to spare.
			stop, ready := make(chan struct{}), make(chan struct{})
			for range 32 {
				go inThread(func() {
					ready <- struct{}{}
					<-stop
				})
			}
			for range 32 {
				<-ready
			}
			close(stop)
		})
		for _, r := range recs {
			res, _ := r.Param(0)
			pid, _ := r.Param(4)
			if (r.Type() != event.SyscallCloneV20X && r.Type() != event.SyscallClone3X) || binary.LittleEndian.Uint64(res) != 0 || binary.LittleEndian.Uint64(pid) != uint64(os.Getpid()) {
				continue
			}
			w := cloneParams(t, 0, int(r.TID()), os.Getpid(), os.Getppid(), present{}, check(someTime))
			checkRecord(t, r, w)
			flags, _ := r.Param(15)
			// As the Go runtime makes threads (cloneFlags, runtime/os_linux.go); a C library adds some.
			const want = clVM | clFS | clFiles | clSighand | clSysvsem | clThread
			if f := binary.LittleEndian.Uint32(flags); f&^(clSettls|clParentSettid|clChildCleartid) != want {
				t.Errorf("flags are %#x", f)
			}
			return
		}
		t.Fatalf("no thread was seen to start: %v", typesOf(recs))
	})
	t.Run("fails", func(t *testing.T) {
		var tid int
		var recs []event.Record
		inThread(func() {
			tid = unix.Gettid()
			recs = l.events(t, []string{"clone"}, func() { unix.RawSyscall(uintptr(number("clone")), unix.CLONE_THREAD, 0, 0) })
		})
		w := cloneParams(t, 0, tid, os.Getpid(), os.Getppid(), clThread, 0)
		w[0] = errno(unix.EINVAL)
		checkRecord(t, the(t, recs, event.SyscallCloneV20X, tid), w)
	})
	t.Run("pid namespace", func(t *testing.T) {
		cmd := command("exit")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID}
		recs := l.events(t, []string{"clone", "clone3"}, func() { cmd.Run() })
		for _, r := range recs {
			if res, ok := r.Param(0); ok && binary.LittleEndian.Uint64(res) == uint64(cmd.Process.Pid) {
				if flags, _ := r.Param(15); binary.LittleEndian.Uint32(flags)&(0x20000000|clNewPID) != 0x20000000|clNewPID {
					t.Errorf("the parent's flags are %x", flags)
				}
			}
			if r.TID() != int64(cmd.Process.Pid) || (r.Type() != event.SyscallCloneV20X && r.Type() != event.SyscallClone3X) {
				continue
			}
			flags, _ := r.Param(15)
			vtid, _ := r.Param(18)
			vpid, _ := r.Param(19)
			start, _ := r.Param(20)
			if f := binary.LittleEndian.Uint32(flags); f&(0x20000000|clNewPID) != 0x20000000|clNewPID || binary.LittleEndian.Uint64(vtid) != 1 || binary.LittleEndian.Uint64(vpid) != 1 {
				t.Errorf("flags %#x, vtid %d, vpid %d", f, vtid, vpid)
			}
			if s := binary.LittleEndian.Uint64(start); s > r.TS() || r.TS()-s > 1e9 {
				t.Errorf("the namespace's init started at %d, the event is of %d", s, r.TS())
			}
			return
		}
		t.Fatalf("no clone of %d: %v", cmd.Process.Pid, typesOf(recs))
	})
}

// forkBy makes a child that exits with status 7, and returns its id, -errno for a failure.
func forkBy(nr int, args ...uintptr) int64 {
	by := rawCall{nr: nr}
	copy(by.args[:], args)
	return forkRaw(by, nil, 7)
}

func TestExit(t *testing.T) {
	l := needProbe(t)
	exitOf := func(t *testing.T, cmd *exec.Cmd, during func()) event.Record {
		t.Helper()
		recs := l.events(t, []string{}, func() {
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			during()
			cmd.Wait()
		})
		return the(t, recs, event.ProcexitV1E, cmd.Process.Pid)
	}
	t.Run("status", func(t *testing.T) {
		r := exitOf(t, command("exit"), func() {})
		checkRecord(t, r, []any{3 << 8, 3, 0, 0, 0})
		checkHead(t, &env{nr: event.NoNR}, r)
	})
	t.Run("killed", func(t *testing.T) {
		cmd := command("wait")
		checkRecord(t, exitOf(t, cmd, func() { cmd.Process.Kill() }), []any{9, 0, 9, 0, 0})
	})
	t.Run("core", func(t *testing.T) {
		cmd := command("wait")
		r := exitOf(t, cmd, func() {
			time.Sleep(50 * time.Millisecond) // past the runtime's start
			cmd.Process.Signal(unix.SIGKILL)
		})
		ws := cmd.ProcessState.Sys().(syscall.WaitStatus)
		core := 0
		if ws.CoreDump() {
			core = 1
		}
		checkRecord(t, r, []any{int(ws) & 0xff, 0, int(ws.Signal()), core, 0})
	})
	t.Run("reaper", func(t *testing.T) {
		cmd := command("subreaper")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		var out bytes.Buffer
		cmd.Stdout = &out
		recs := l.events(t, []string{}, func() { cmd.Run() })
		if out.String() != "left " {
			t.Fatalf("the child says %q", out.String())
		}
		for _, r := range recs {
			b, ok := r.Param(4)
			if r.Type() != event.ProcexitV1E || !ok {
				continue
			}
			if v := binary.LittleEndian.Uint64(b); int(v) == cmd.Process.Pid && r.TID() != int64(v) {
				return // the one that left a child behind says who gets it
			}
		}
		t.Fatalf("no exit names the reaper %d", cmd.Process.Pid)
	})
}
