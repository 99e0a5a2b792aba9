package probe

import (
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

// badFD is a descriptor that nothing has.
const badFD = 1 << 20

// devNull opens /dev/null until the case ends.
func devNull(t *env) uintptr {
	t.Helper()
	fd, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return uintptr(fd)
}

// closing closes fd, which is a result, when the case ends.
func closing(t *env, fd int64) int64 {
	t.Helper()
	if fd < 0 {
		t.Fatalf("no descriptor: %v", unix.Errno(-fd))
	}
	t.Cleanup(func() { unix.Close(int(fd)) })
	return fd
}

func pipeCase(name, what string, typ event.Type, want []any, flags ...uintptr) callCase {
	return callCase{name, what, typ, func(t *env) []any {
		b := make([]byte, 8)
		t.must(name, append([]uintptr{addr(b)}, flags...)...)
		r, w := int64(binary.NativeEndian.Uint32(b)), int64(binary.NativeEndian.Uint32(b[4:]))
		closing(t, w)
		_, ino := opened(t, r)
		return append([]any{0, r, w, ino}, want...)
	}}
}

// Flags of close_range: the kernel's and the event format's.
const closeRangeUnshare, closeRangeCloexec = 2, 4

func closeRangeCase(what string, flags uintptr, want int) callCase {
	return callCase{"close_range", what, event.SyscallCloseRangeX, func(t *env) []any {
		const first, last = 1010, 1020 // beyond those that are in use
		if err := unix.Dup3(int(devNull(t)), first+3, 0); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(first + 3) })
		r := t.call("close_range", first, last, flags)
		if old := unix.CloseRange(1<<30, 1<<30, uint(flags)); r != 0 && old == nil {
			t.Fatalf("close_range: %v", unix.Errno(-r)) // CLOSE_RANGE_CLOEXEC came with 5.11
		}
		return []any{r, first, last, want}
	}}
}

func fdCases() []callCase {
	return []callCase{
		{"close", "ok", event.SyscallCloseX, func(t *env) []any {
			fd, err := unix.Dup(int(devNull(t)))
			if err != nil {
				t.Fatal(err)
			}
			return []any{t.must("close", uintptr(fd)), fd}
		}},
		{"close", "bad", event.SyscallCloseX, func(t *env) []any {
			t.call("close", badFD)
			return []any{errno(unix.EBADF), badFD}
		}},
		{"close", "negative", event.SyscallCloseX, func(t *env) []any {
			t.call("close", ^uintptr(0))
			return []any{errno(unix.EBADF), -1}
		}},
		closeRangeCase("ok", 0, 0),
		closeRangeCase("close on exec", closeRangeCloexec, closeRangeCloexec),
		closeRangeCase("unshare", closeRangeUnshare, closeRangeUnshare),
		{"close_range", "bad flags", event.SyscallCloseRangeX, func(t *env) []any {
			t.call("close_range", 3, 5, 8)
			return []any{errno(unix.EINVAL), 3, 5, 0}
		}},
		{"close_range", "backwards", event.SyscallCloseRangeX, func(t *env) []any {
			t.call("close_range", 0xffffffff, 7, 0)
			return []any{errno(unix.EINVAL), 0xffffffff, 7, 0}
		}},
		{"dup", "ok", event.SyscallDupV1X, func(t *env) []any {
			fd := devNull(t)
			return []any{closing(t, t.call("dup", fd)), fd}
		}},
		{"dup", "bad", event.SyscallDupV1X, func(t *env) []any {
			t.call("dup", badFD)
			return []any{errno(unix.EBADF), badFD}
		}},
		{"dup2", "ok", event.SyscallDup2X, func(t *env) []any {
			fd := devNull(t)
			return []any{closing(t, t.call("dup2", fd, 900)), fd, 900}
		}},
		{"dup2", "bad", event.SyscallDup2X, func(t *env) []any {
			t.call("dup2", ^uintptr(0), 900)
			return []any{errno(unix.EBADF), -1, 900}
		}},
		{"dup3", "close on exec", event.SyscallDup3X, func(t *env) []any {
			fd := devNull(t)
			return []any{closing(t, t.call("dup3", fd, 901, unix.O_CLOEXEC)), fd, 901, fCloexec}
		}},
		{"dup3", "same", event.SyscallDup3X, func(t *env) []any {
			t.call("dup3", 5, 5, 0)
			return []any{errno(unix.EINVAL), 5, 5, 0}
		}},
		pipeCase("pipe", "ok", event.SyscallPipeX, nil),
		pipeCase("pipe2", "every flag", event.SyscallPipe2X, []any{fCloexec | fNonblock | fDirect}, unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_DIRECT),
		{"pipe2", "bad address", event.SyscallPipe2X, func(t *env) []any {
			t.call("pipe2", 1, unix.O_CLOEXEC)
			return []any{errno(unix.EFAULT), -1, -1, 0, fCloexec}
		}},
	}
}

func TestFD(t *testing.T) { runCases(t, fdCases()) }
