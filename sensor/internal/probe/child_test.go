package probe

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// forkChild makes a child that shares nothing and runs fn, which must make raw system calls only and not return: of the
// Go runtime only this thread is left in it.
//
//go:norace
func forkChild(t *env, fn func()) int {
	t.Helper()
	pid, _, e := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if e != 0 {
		t.Fatal(e)
	}
	if pid == 0 {
		fn()
		exitChild(0)
	}
	return int(pid)
}

//go:norace
func exitChild(status uintptr) {
	for {
		unix.RawSyscall(unix.SYS_EXIT_GROUP, status, 0, 0)
	}
}

//go:norace
func sleepForever() {
	ts := unix.Timespec{Sec: 60}
	for {
		unix.RawSyscall6(unix.SYS_PPOLL, 0, 0, uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
	}
}
