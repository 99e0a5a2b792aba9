package probe

import (
	"slices"

	"golang.org/x/sys/unix"
)

// rawCall is a system call by number, with its arguments.
type rawCall struct {
	nr   int
	args [6]uintptr
}

// forkRaw makes a child by one call, which has to leave it memory of its own. The child makes others, one after the other, and
// exits with status. It returns what the first one does, -errno for a failure.
//
// Of the Go runtime only this thread is left in the child. So nothing there may look at how much stack is left (nosplit): it is
// there that the runtime asks a goroutine to yield when it has run for long, as on a slow machine, and there is no other to yield to.
//
//go:nosplit
//go:norace
func forkRaw(by rawCall, then []rawCall, status uintptr) int64 {
	pid, _, e := unix.RawSyscall6(uintptr(by.nr), by.args[0], by.args[1], by.args[2], by.args[3], by.args[4], by.args[5])
	if e != 0 {
		return -int64(e)
	}
	if pid != 0 {
		return int64(pid)
	}
	for i := range then {
		c := &then[i]
		unix.RawSyscall6(uintptr(c.nr), c.args[0], c.args[1], c.args[2], c.args[3], c.args[4], c.args[5])
	}
	for {
		unix.RawSyscall6(unix.SYS_EXIT_GROUP, status, 0, 0, 0, 0, 0)
	}
}

// forkChild makes a child that shares nothing, makes calls and exits with status 0, and returns its id.
func forkChild(t *env, calls []rawCall) int {
	t.Helper()
	pid := forkRaw(rawCall{unix.SYS_CLONE, [6]uintptr{uintptr(unix.SIGCHLD)}}, calls, 0)
	if pid < 0 {
		t.Fatal(unix.Errno(-pid))
	}
	return int(pid)
}

// sleeps are calls that wait for a signal, and go on when one has come that doesn't end the process.
func sleeps() []rawCall { return slices.Repeat([]rawCall{{nr: unix.SYS_PPOLL}}, 1000) }
