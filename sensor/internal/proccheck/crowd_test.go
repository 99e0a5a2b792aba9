package proccheck

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// crowd is a load of many processes, each of which does random things to itself: the processes of a busy machine. It runs
// in a process of its own, ends when its test does, or by itself, and takes its processes along.
type crowd struct {
	Processes int
	Threaded  int           // of them, with threads
	Forks     int           // a second, each with an exec
	Duration  time.Duration // most; the test's end comes before
	Seed      uint64
	Dir       string // its files
	Ops       uint64 // a bit for each of ops that may be done
}

const crowdEnv = "SHIKRA_TEST_CROWD"

func TestMain(m *testing.M) {
	switch v := os.Getenv(crowdEnv); {
	case v == "threads":
		crowdThreads()
	case v == overtakeEnv:
		if err := playOvertaken(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case strings.HasPrefix(v, stormSpawn) || strings.HasPrefix(v, stormFDs):
		if err := playStorm(v); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case v != "":
		var c crowd
		if err := json.Unmarshal([]byte(v), &c); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		if err := c.run(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	default:
		os.Exit(m.Run())
	}
}

// crowdPath is a name for raw calls.
type crowdPath [128]byte

// member is what a process of the crowd works with. It is made before the fork, as the process can't allocate.
type member struct {
	rnd    uint64
	files  [8]crowdPath // absolute and relative
	dirs   [4]crowdPath
	jail   crowdPath
	exe    crowdPath
	argv   [4]uintptr
	envp   [2]uintptr
	args   [3]crowdPath
	name   [16]byte
	addr   unix.RawSockaddrInet4
	limit  unix.Rlimit
	iov    unix.Iovec
	msg    unix.Msghdr
	ctl    [24]byte
	data   [8]byte
	fds    [2]int32
	time   unix.Timespec
	ops    uint64
	depth  int
	status int32
}

func (p *crowdPath) set(s string) { copy(p[:len(p)-1], s) }

func (p *crowdPath) at() uintptr { return uintptr(unsafe.Pointer(&p[0])) }

func (c *crowd) run() error {
	runtime.LockOSThread() // its end is what the children notice
	debug.SetGCPercent(-1) // nor may it be told to stop for that
	fmt.Println("waiting")
	if _, err := fmt.Scanln(new(string)); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	go func() {
		var held []net.Conn
		for {
			k, err := l.Accept()
			if err != nil {
				return
			}
			if held = append(held, k); len(held) > 200 {
				held[0].Close()
				held = held[1:]
			}
		}
	}()
	for _, d := range []string{"a", "a/b", "c", "jail", "jail/etc"} {
		if err := os.MkdirAll(filepath.Join(c.Dir, d), 0o777); err != nil {
			return err
		}
	}
	if err := os.Symlink("a", filepath.Join(c.Dir, "link")); err != nil {
		return err
	}
	for _, f := range []string{"f1", "f2", "a/f1", "a/b/f1", "c/f1", "jail/etc/passwd"} {
		if err := os.WriteFile(filepath.Join(c.Dir, f), []byte("shikra"), 0o666); err != nil {
			return err
		}
	}
	m := &member{ops: c.Ops}
	for i, s := range []string{"/etc/passwd", c.Dir + "/f1", c.Dir + "/a/../f2", c.Dir + "/link/f1", "f1", "./b/../f1", "b//f1", "/dev/null"} {
		m.files[i].set(s)
	}
	for i, s := range []string{c.Dir + "/a", c.Dir + "/c", c.Dir, c.Dir + "/link"} {
		m.dirs[i].set(s)
	}
	m.jail.set(c.Dir + "/jail")
	m.exe.set("/bin/sleep")
	for i, s := range []string{"sleep", "0.7", "0.1"} {
		m.args[i].set(s)
		m.argv[i] = m.args[i].at()
	}
	m.envp[0] = m.args[0].at()
	m.addr.Family, m.addr.Addr = unix.AF_INET, [4]byte{127, 0, 0, 1}
	port := l.Addr().(*net.TCPAddr).Port
	m.addr.Port = uint16(port>>8 | port<<8)
	pids := make([]int, 0, c.Processes)
	defer func() {
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGKILL)
			_, _ = unix.Wait4(pid, nil, 0, nil)
		}
	}()
	if err := os.Chdir(c.Dir + "/a"); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return err
	}
	for i := range c.Processes - c.Threaded {
		m.rnd = c.Seed<<20 + uint64(i)*7919 + 1
		runtime.Gosched() // a thread that has run for long is told to yield, which a child couldn't
		pid := m.fork(uintptr(unix.SIGCHLD))
		if pid < 0 {
			return unix.Errno(-pid)
		}
		pids = append(pids, pid)
	}
	for range c.Threaded {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), crowdEnv+"=threads")
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			return err
		}
		pids = append(pids, cmd.Process.Pid)
	}
	fmt.Println("ready")
	next := time.Now()
	end := next.Add(c.Duration)
	for i := 0; next.Before(end); i++ {
		c.spawn(i)
		for { // orphans are ours
			pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
			if pid <= 0 || err != nil {
				break
			}
		}
		if next = next.Add(time.Second / time.Duration(c.Forks)); time.Since(next) > time.Second {
			next = time.Now() // what a machine without time for it has missed isn't made up for
		}
		time.Sleep(time.Until(next))
	}
	return nil
}

// spawn starts a program of some kind, which ends soon; run waits for it.
func (c *crowd) spawn(i int) {
	cmd := exec.Command("/bin/sleep", []string{"0.05", "0.4", "2.5"}[i%3])
	switch i % 7 {
	case 1:
		cmd.Dir = c.Dir + "/c"
	case 2:
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	case 3:
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	case 4:
		cmd.Args = append([]string{strings.Repeat("x", 20)}, cmd.Args[1:]...)
	case 5:
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1234, Gid: 4321, NoSetGroups: true}}
	}
	if err := cmd.Start(); err == nil {
		_ = cmd.Process.Release()
	}
}

// crowdThreads is a process with threads that come and go.
func crowdThreads() {
	for i := range 4 {
		go func() {
			for k := 0; ; k++ {
				done := make(chan bool)
				go func() {
					runtime.LockOSThread() // never unlocked: the thread ends with this
					name := [16]byte{'t', byte('a' + i), byte('0' + k%10)}
					_, _, _ = unix.RawSyscall(unix.SYS_PRCTL, unix.PR_SET_NAME, uintptr(unsafe.Pointer(&name)), 0)
					f, err := os.Open("/etc/passwd")
					time.Sleep(time.Duration(100+300*((i+k)%7)) * time.Millisecond)
					if err == nil {
						f.Close()
					}
					close(done)
				}()
				<-done
			}
		}()
	}
	time.Sleep(10 * time.Minute)
}

//go:norace
func (m *member) next(n uint64) uint64 {
	m.rnd ^= m.rnd << 13
	m.rnd ^= m.rnd >> 7
	m.rnd ^= m.rnd << 17
	return m.rnd % n
}

// fork makes a process that goes on in live; it returns only in the caller.
//
//go:norace
func (m *member) fork(flags uintptr) int {
	pid, _, e := unix.RawSyscall6(unix.SYS_CLONE, flags, 0, 0, 0, 0, 0)
	if e != 0 {
		return -int(e)
	}
	if pid == 0 {
		unix.RawSyscall(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0)
		m.live()
	}
	return int(pid)
}

//go:norace
func (m *member) exit() {
	for {
		unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
}

//go:norace
func (m *member) sleep(ms uint64) {
	m.time = unix.Timespec{Sec: int64(ms / 1000), Nsec: int64(ms%1000) * 1_000_000}
	unix.RawSyscall6(unix.SYS_PPOLL, 0, 0, uintptr(unsafe.Pointer(&m.time)), 0, 0, 0)
}

// maxFDs is the number under which the fds of those processes stay that stay themselves: some 15 in each of 310.
const maxFDs = 17

// live is what a process does. Those of the first generation stay, their children end soon.
//
//go:norace
func (m *member) live() {
	rounds := uint64(1 << 40)
	if m.depth > 0 {
		rounds = 1 + m.next(6)
	} else {
		// It has what the load's own process had open at the time.
		unix.RawSyscall(unix.SYS_CLOSE_RANGE, 8, 1<<31-1, 0)
		m.limit = unix.Rlimit{Cur: maxFDs, Max: 4096}
		unix.RawSyscall6(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, uintptr(unsafe.Pointer(&m.limit)), 0, 0, 0)
		for range 14 {
			m.open()
		}
	}
	m.depth++
	for ; rounds > 0; rounds-- {
		m.act()
		for {
			pid, _, _ := unix.RawSyscall6(unix.SYS_WAIT4, ^uintptr(0), 0, unix.WNOHANG, 0, 0, 0)
			if int(pid) <= 0 {
				break
			}
		}
		m.sleep(30 + m.next(1000))
	}
	m.exit()
}

//go:norace
func (m *member) open() {
	flags := uintptr(unix.O_RDONLY)
	if m.next(2) == 0 {
		flags |= unix.O_CLOEXEC
	}
	if m.next(4) == 0 {
		unix.RawSyscall6(unix.SYS_OPENAT, ^uintptr(99), m.dirs[m.next(4)].at(), flags|unix.O_DIRECTORY, 0, 0, 0)
		return
	}
	_, _, e := unix.RawSyscall6(unix.SYS_OPENAT, ^uintptr(99), m.files[m.next(8)].at(), flags, 0, 0, 0)
	if e == unix.EMFILE { // room for the next
		for range 2 {
			unix.RawSyscall(unix.SYS_CLOSE, m.fd(), 0, 0)
		}
	}
}

// fd chooses a number that may be open.
//
//go:norace
func (m *member) fd() uintptr { return uintptr(3 + m.next(maxFDs)) }

// What a process may do, and the system call that must be watched for it.
var ops = [...]string{
	"openat", "openat", "close", "close", "dup", "dup3", "dup2", "pipe2",
	"connect", "socketpair", "chdir", "fchdir", "prctl", "clone", "clone", "setresuid",
	"memfd_create", "eventfd2", "epoll_create1", "timerfd_create", "fcntl", "fcntl", "ioctl", "close_range",
	"openat", "execve", "clone", "setsid", "setpgid", "chroot", "recvmsg", "unshare",
	"clone", "prlimit64", "setresgid", "capset", "inotify_init1", "signalfd4", "setreuid", "bind",
}

//go:norace
func (m *member) act() {
	op := m.next(uint64(len(ops)))
	if m.ops>>op&1 == 0 {
		op = 0
	}
	if m.depth == 1 && (op == 15 || op == 25 || op == 27 || op == 29 || op == 31 || op >= 33 && op <= 35 || op == 38) {
		// What can't be undone is for those that end soon.
		if m.next(3) == 0 {
			pid, _, _ := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
			if pid != 0 {
				return
			}
			m.depth = 2
			m.one(op)
			m.live()
		}
		return
	}
	m.one(op)
}

//go:norace
func (m *member) one(op uint64) {
	raw, raw6 := unix.RawSyscall, unix.RawSyscall6
	switch op {
	case 0, 1:
		m.open()
	case 2, 3:
		raw(unix.SYS_CLOSE, m.fd(), 0, 0)
	case 4:
		raw(unix.SYS_DUP, m.fd(), 0, 0)
	case 5:
		raw(unix.SYS_DUP3, m.fd(), m.fd(), unix.O_CLOEXEC)
	case 6:
		raw(unix.SYS_DUP3, m.fd(), m.fd(), 0)
	case 7:
		raw(unix.SYS_PIPE2, uintptr(unsafe.Pointer(&m.fds)), uintptr(m.next(2))*unix.O_CLOEXEC, 0)
	case 8:
		typ := uintptr(unix.SOCK_STREAM) + uintptr(m.next(2))
		fd, _, e := raw(unix.SYS_SOCKET, unix.AF_INET, typ|unix.SOCK_CLOEXEC, 0)
		if e == 0 {
			raw(unix.SYS_CONNECT, fd, uintptr(unsafe.Pointer(&m.addr)), unsafe.Sizeof(m.addr))
		}
	case 9:
		raw6(unix.SYS_SOCKETPAIR, unix.AF_UNIX, unix.SOCK_STREAM, 0, uintptr(unsafe.Pointer(&m.fds)), 0, 0)
	case 10:
		raw(unix.SYS_CHDIR, m.dirs[m.next(4)].at(), 0, 0)
	case 11:
		raw(unix.SYS_FCHDIR, m.fd(), 0, 0)
	case 12:
		m.name = [16]byte{'c', 'r', 'o', 'w', 'd', '-', byte('a' + m.next(26))}
		raw(unix.SYS_PRCTL, unix.PR_SET_NAME, uintptr(unsafe.Pointer(&m.name)), 0)
	case 13:
		if m.depth < 4 {
			m.fork(uintptr(unix.SIGCHLD))
		}
	case 14: // an orphan
		if m.depth < 3 {
			pid, _, _ := raw6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
			if pid == 0 {
				m.depth++
				m.fork(uintptr(unix.SIGCHLD))
				m.sleep(m.next(50))
				m.exit()
			}
		}
	case 15:
		raw(unix.SYS_SETRESUID, 1000, 1000, 1000)
	case 16:
		raw(unix.SYS_MEMFD_CREATE, m.args[0].at(), uintptr(m.next(2)), 0)
	case 17:
		raw(unix.SYS_EVENTFD2, 0, uintptr(m.next(2))*unix.O_CLOEXEC, 0)
	case 18:
		raw(unix.SYS_EPOLL_CREATE1, uintptr(m.next(2))*unix.O_CLOEXEC, 0, 0)
	case 19:
		raw(unix.SYS_TIMERFD_CREATE, 1, uintptr(m.next(2))*unix.O_CLOEXEC, 0)
	case 20:
		raw(unix.SYS_FCNTL, m.fd(), unix.F_DUPFD+uintptr(m.next(2))*unix.F_DUPFD_CLOEXEC, m.fd())
	case 21:
		raw(unix.SYS_FCNTL, m.fd(), unix.F_SETFD, uintptr(m.next(2)))
	case 22:
		raw(unix.SYS_IOCTL, m.fd(), 0x5450+uintptr(m.next(2)), 0) // FIONCLEX, FIOCLEX
	case 23:
		fd := m.fd()
		raw(unix.SYS_CLOSE_RANGE, fd, fd+uintptr(m.next(6)), uintptr(m.next(2))*4)
	case 24:
		raw6(unix.SYS_OPENAT, m.fd(), m.files[4+m.next(3)].at(), 0, 0, 0, 0)
	case 25:
		if m.depth > 1 {
			raw(unix.SYS_EXECVE, m.exe.at(), uintptr(unsafe.Pointer(&m.argv)), uintptr(unsafe.Pointer(&m.envp)))
		}
	case 26:
		if m.depth < 4 {
			m.fork(uintptr(unix.SIGCHLD) | unix.CLONE_FILES)
		}
	case 27:
		raw(unix.SYS_SETSID, 0, 0, 0)
	case 28:
		raw(unix.SYS_SETPGID, 0, 0, 0)
	case 29:
		raw(unix.SYS_CHROOT, m.jail.at(), 0, 0)
	case 30:
		m.pass()
	case 31:
		raw(unix.SYS_UNSHARE, [...]uintptr{unix.CLONE_FILES, unix.CLONE_NEWNS, unix.CLONE_NEWUSER, unix.CLONE_NEWPID, unix.CLONE_FS}[m.next(5)], 0, 0)
	case 32:
		if m.depth < 4 {
			m.fork(uintptr(unix.SIGCHLD) | [...]uintptr{unix.CLONE_NEWPID, unix.CLONE_FS, unix.CLONE_PARENT, unix.CLONE_NEWUSER, unix.CLONE_NEWNS}[m.next(5)])
		}
	case 33:
		m.limit = unix.Rlimit{Cur: 256 + m.next(256), Max: 4096}
		raw6(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, uintptr(unsafe.Pointer(&m.limit)), 0, 0, 0)
	case 34:
		raw(unix.SYS_SETRESGID, 1000, 1001, 1002)
	case 35:
		m.ctl = [24]byte{0: 0x22, 1: 0x05, 2: 0x08, 3: 0x20} // _LINUX_CAPABILITY_VERSION_3, itself
		m.fds = [2]int32{}
		raw(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&m.ctl)), uintptr(unsafe.Pointer(&m.status)), 0)
	case 36:
		raw(unix.SYS_INOTIFY_INIT1, uintptr(m.next(2))*unix.O_CLOEXEC, 0, 0)
	case 37:
		raw6(unix.SYS_SIGNALFD4, ^uintptr(0), uintptr(unsafe.Pointer(&m.data)), 8, uintptr(m.next(2))*unix.O_CLOEXEC, 0, 0)
	case 38:
		raw(unix.SYS_SETREUID, 1000, 1000, 0)
	case 39:
		fd, _, e := raw(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM, 0)
		if e == 0 {
			a := m.addr
			m.addr.Port = 0
			raw(unix.SYS_BIND, fd, uintptr(unsafe.Pointer(&m.addr)), unsafe.Sizeof(m.addr))
			m.addr = a
			raw(unix.SYS_LISTEN, fd, 1, 0)
		}
	}
}

// pass sends an fd to itself over a unix socket.
//
//go:norace
func (m *member) pass() {
	_, _, e := unix.RawSyscall6(unix.SYS_SOCKETPAIR, unix.AF_UNIX, unix.SOCK_DGRAM, 0, uintptr(unsafe.Pointer(&m.fds)), 0, 0)
	if e != 0 {
		return
	}
	m.ctl = [24]byte{0: 20, 8: 1, 12: 1, 16: byte(m.fd())} // struct cmsghdr: len, SOL_SOCKET, SCM_RIGHTS, the fd
	m.iov = unix.Iovec{Base: &m.data[0], Len: 8}
	m.msg = unix.Msghdr{Iov: &m.iov, Iovlen: 1, Control: &m.ctl[0], Controllen: 20}
	_, _, e = unix.RawSyscall(unix.SYS_SENDMSG, uintptr(m.fds[0]), uintptr(unsafe.Pointer(&m.msg)), 0)
	if e == 0 {
		m.msg.Controllen = 24
		unix.RawSyscall(unix.SYS_RECVMSG, uintptr(m.fds[1]), uintptr(unsafe.Pointer(&m.msg)), unix.MSG_CMSG_CLOEXEC)
	}
	unix.RawSyscall(unix.SYS_CLOSE, uintptr(m.fds[0]), 0, 0)
	unix.RawSyscall(unix.SYS_CLOSE, uintptr(m.fds[1]), 0, 0)
}

var _ = testing.Short
