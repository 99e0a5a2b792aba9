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
