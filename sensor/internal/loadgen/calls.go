package loadgen

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The units of a load, each by raw system calls: no entry into Go's scheduler, so no calls of the runtime's own.

func (l *load) open(path []byte) {
	l.n.openat++
	cwd := unix.AT_FDCWD
	fd, _, errno := unix.RawSyscall6(unix.SYS_OPENAT, uintptr(cwd), uintptr(unsafe.Pointer(&path[0])), unix.O_RDONLY, 0, 0, 0)
	if errno != 0 {
		l.n.failed++
		return
	}
	l.n.close++
	_, _, _ = unix.RawSyscall(unix.SYS_CLOSE, fd, 0, 0)
}

func (l *load) openClose() { l.open(l.path) }

func (l *load) openPlanted() {
	l.n.planted++
	l.open(l.plant)
}

func (l *load) getppid() {
	l.n.calls++
	_, _, _ = unix.RawSyscall(unix.SYS_GETPPID, 0, 0, 0)
}

// setresgid keeps all three group ids as they are.
func (l *load) setresgid() {
	const keep = ^uintptr(0)
	l.n.setresgid++
	_, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, keep, keep, keep)
	if errno != 0 {
		l.n.failed++
	}
}

// connect connects a socket to the one on loopback and closes it: socket, connect, close. It is UDP: TCP would leave a
// port in TIME_WAIT each time, run out of them, and need somebody to accept.
func (l *load) connect() {
	l.n.socket++
	fd, _, errno := unix.RawSyscall(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if errno != 0 {
		l.n.failed++
		return
	}
	l.n.connect++
	_, _, errno = unix.RawSyscall(unix.SYS_CONNECT, fd, uintptr(unsafe.Pointer(&l.addr)), unsafe.Sizeof(l.addr))
	if errno != 0 {
		l.n.failed++
	}
	l.n.close++
	_, _, _ = unix.RawSyscall(unix.SYS_CLOSE, fd, 0, 0)
}

// listen binds the socket to connect to. Nothing is ever sent to it.
func (l *load) listen() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	l.listener = fd
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return err
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return err
	}
	port := uint16(sa.(*unix.SockaddrInet4).Port)
	l.addr = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: port<<8 | port>>8, Addr: [4]byte{127, 0, 0, 1}}
	return nil
}

// spawn starts the helper program and waits for its end: clone in the parent and in the child, execve, procexit.
func (l *load) spawn() {
	l.n.clone++
	pid, errno := forkExec(&l.helper[0], &l.argv[0], &l.argv[1])
	if errno != 0 {
		l.n.failed++
		return
	}
	l.n.clone++
	l.n.execve++
	l.n.procexit++
	for {
		_, _, errno := unix.RawSyscall6(unix.SYS_WAIT4, pid, uintptr(unsafe.Pointer(&l.status)), 0, 0, 0, 0)
		if errno != unix.EINTR {
			break
		}
	}
	if l.status != 0 { // the program could not be executed
		l.n.failed++
	}
}

// forkExec forks and executes path. The child shares nothing with the parent (no CLONE_VM), so it can't harm the Go
// runtime, and does nothing between the two calls: no stack growth, no preemption point. CLONE_VFORK lets it go first.
//
//go:nosplit
//go:norace
func forkExec(path *byte, argv, envv **byte) (pid uintptr, errno unix.Errno) {
	pid, _, errno = unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD)|unix.CLONE_VFORK, 0, 0, 0, 0, 0)
	if errno != 0 || pid != 0 {
		return pid, errno
	}
	_, _, _ = unix.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(path)), uintptr(unsafe.Pointer(argv)), uintptr(unsafe.Pointer(envv)))
	for {
		_, _, _ = unix.RawSyscall(unix.SYS_EXIT_GROUP, 127, 0, 0)
	}
}
