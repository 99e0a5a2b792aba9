package probe

import (
	"encoding/binary"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// signalSet is the address of a mask of signals.
func signalSet(signals ...int) uintptr {
	var v uint64
	for _, s := range signals {
		v |= 1 << (s - 1)
	}
	return addr(binary.NativeEndian.AppendUint64(nil, v))
}

// uringParams is the head of a struct io_uring_params, whose words are the entries of both rings, flags, CPU, idle, features.
func uringParams(words ...uint32) []byte {
	b := make([]byte, 0, 120)
	for _, w := range words {
		b = binary.NativeEndian.AppendUint32(b, w)
	}
	return b[:120]
}

// uring makes an io_uring, or skips where there is none.
func uring(t *env) uintptr {
	t.Helper()
	if number("io_uring_setup") < 0 {
		t.Skipf("%s has no io_uring", runtime.GOARCH)
	}
	fd, _, e := unix.RawSyscall(uintptr(number("io_uring_setup")), 4, addr(uringParams()), 0)
	skipWithoutUring(t, e)
	return uintptr(closing(t, int64(fd)))
}

// skipWithoutUring skips where the kernel has no io_uring or the administrator forbids it.
func skipWithoutUring(t testing.TB, e unix.Errno) {
	t.Helper()
	switch e {
	case 0:
	case unix.ENOSYS:
		t.Skip("this kernel has no io_uring")
	case unix.EPERM:
		if b, err := os.ReadFile("/proc/sys/kernel/io_uring_disabled"); err == nil && b[0] != '0' {
			t.Skip("io_uring is turned off here")
		}
		fallthrough
	default:
		t.Fatal(e)
	}
}

func anonCases() []callCase {
	return []callCase{
		{"eventfd", "ok", event.SyscallEventfdX, func(t *env) []any {
			return []any{closing(t, t.call("eventfd", 7)), 7, 0}
		}},
		{"eventfd2", "every flag", event.SyscallEventfd2X, func(t *env) []any {
			return []any{closing(t, t.call("eventfd2", 3, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK|unix.EFD_SEMAPHORE)), fCloexec | fNonblock, 3}
		}},
		{"eventfd2", "large", event.SyscallEventfd2X, func(t *env) []any {
			return []any{closing(t, t.call("eventfd2", 0xffffffff, 0)), 0, 0xffffffff}
		}},
		{"eventfd2", "bad flags", event.SyscallEventfd2X, func(t *env) []any {
			t.call("eventfd2", 3, 1<<30)
			return []any{errno(unix.EINVAL), 0, 3}
		}},
		{"inotify_init", "ok", event.SyscallInotifyInitX, func(t *env) []any {
			return []any{closing(t, t.call("inotify_init")), 0}
		}},
		{"inotify_init1", "every flag", event.SyscallInotifyInit1X, func(t *env) []any {
			return []any{closing(t, t.call("inotify_init1", unix.IN_CLOEXEC|unix.IN_NONBLOCK)), fCloexec | fNonblock}
		}},
		{"inotify_init1", "bad flags", event.SyscallInotifyInit1X, func(t *env) []any {
			t.call("inotify_init1", 1)
			return []any{errno(unix.EINVAL), 0}
		}},
		{"signalfd", "ok", event.SyscallSignalfdX, func(t *env) []any {
			fd := closing(t, t.call("signalfd", ^uintptr(0), signalSet(10, 12, 40), 8))
			return []any{fd, -1, 1<<9 | 1<<11, 0}
		}},
		{"signalfd4", "every flag", event.SyscallSignalfd4X, func(t *env) []any {
			fd := closing(t, t.call("signalfd4", ^uintptr(0), signalSet(10), 8, unix.SFD_CLOEXEC|unix.SFD_NONBLOCK))
			return []any{fd, fCloexec | fNonblock, -1, 1 << 9}
		}},
		{"signalfd4", "changes one", event.SyscallSignalfd4X, func(t *env) []any {
			old, err := unix.Signalfd(-1, &unix.Sigset_t{}, unix.SFD_CLOEXEC)
			if err != nil {
				t.Fatal(err)
			}
			closing(t, int64(old))
			return []any{t.must("signalfd4", uintptr(old), signalSet(1), 8, 0), 0, old, 1}
		}},
		{"signalfd4", "bad address", event.SyscallSignalfd4X, func(t *env) []any {
			t.call("signalfd4", ^uintptr(0), 1, 8, 0)
			return []any{errno(unix.EFAULT), 0, -1, 0}
		}},
		{"timerfd_create", "every flag", event.SyscallTimerfdCreateX, func(t *env) []any {
			fd := closing(t, t.call("timerfd_create", unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK))
			t.origin |= wasmabi.OriginCloexec
			return []any{fd, unix.CLOCK_MONOTONIC, fNonblock}
		}},
		{"timerfd_create", "bad clock", event.SyscallTimerfdCreateX, func(t *env) []any {
			t.call("timerfd_create", 99, 0)
			return []any{errno(unix.EINVAL), 99, 0}
		}},

		{"pidfd_open", "ok", event.SyscallPidfdOpenX, func(t *env) []any {
			return []any{closing(t, t.call("pidfd_open", uintptr(os.Getpid()), unix.PIDFD_NONBLOCK)), os.Getpid(), 1}
		}},
		{"pidfd_open", "no process", event.SyscallPidfdOpenX, func(t *env) []any {
			t.call("pidfd_open", 1<<22+1, 0)
			return []any{errno(unix.ESRCH), 1<<22 + 1, 0}
		}},
		{"pidfd_getfd", "ok", event.SyscallPidfdGetfdX, func(t *env) []any {
			pidfd, err := unix.PidfdOpen(os.Getpid(), 0)
			if err != nil {
				t.Fatal(err)
			}
			closing(t, int64(pidfd))
			target := devNull(t)
			return []any{closing(t, t.call("pidfd_getfd", uintptr(pidfd), target, 0)), pidfd, target, 0, os.Getpid()}
		}},
		{"pidfd_getfd", "bad flags", event.SyscallPidfdGetfdX, func(t *env) []any {
			t.call("pidfd_getfd", badFD, 5, 3)
			return []any{errno(unix.EINVAL), badFD, 5, 3, -1}
		}},

		{"io_uring_setup", "ok", event.SyscallIoUringSetupX, func(t *env) []any {
			skipWithoutUring(t, tryUring())
			const cqsize, clamp = 8, 16
			p := uringParams(0, 10, cqsize|clamp, 1, 2)
			fd := closing(t, t.call("io_uring_setup", 3, addr(p)))
			return []any{fd, 3, 4, 16, 0x10 | 0x20, 1, 2, binary.NativeEndian.Uint32(p[20:]) & 0x7ff}
		}},
		{"io_uring_setup", "every flag of the format", event.SyscallIoUringSetupX, func(t *env) []any {
			skipWithoutUring(t, tryUring())
			// Polling both ways, on a CPU that isn't there.
			t.call("io_uring_setup", 4, addr(uringParams(0, 1, 0x7f, 1<<20, 7)))
			return []any{check(negative), 4, 0, 1, 0xfb, 1 << 20, 7, 0}
		}},
		{"io_uring_setup", "bad address", event.SyscallIoUringSetupX, func(t *env) []any {
			skipWithoutUring(t, tryUring())
			t.call("io_uring_setup", 4, 1)
			return []any{errno(unix.EFAULT), 4, 0, 0, 0, 0, 0, 0}
		}},
		{"io_uring_enter", "nothing", event.SyscallIoUringEnterX, func(t *env) []any {
			fd := uring(t)
			return []any{t.must("io_uring_enter", fd, 2, 0, 1, 0, 0), fd, 2, 0, 1, 0}
		}},
		{"io_uring_enter", "no ring", event.SyscallIoUringEnterX, func(t *env) []any {
			uring(t)
			r := t.call("io_uring_enter", devNull(t), 1, 5, 0xf, 0x12345678, 0)
			return []any{r, present{}, 1, 5, 0xf, 0x12345678}
		}},
		{"io_uring_register", "probe", event.SyscallIoUringRegisterX, func(t *env) []any {
			fd := uring(t)
			at := addr(make([]byte, 16+8*8))
			return []any{t.must("io_uring_register", fd, 8, at, 8), fd, 8, at, 8}
		}},
		{"io_uring_register", "bad fd", event.SyscallIoUringRegisterX, func(t *env) []any {
			uring(t)
			t.call("io_uring_register", badFD, 2, 77, 3)
			return []any{errno(unix.EBADF), badFD, 2, 77, 3}
		}},
	}
}

// tryUring says whether an io_uring can be made.
func tryUring() unix.Errno {
	fd, _, e := unix.RawSyscall(uintptr(number("io_uring_setup")), 4, addr(uringParams()), 0)
	if e == 0 {
		unix.Close(int(fd))
	}
	return e
}

// negative checks that a parameter is an error.
func negative(t *testing.T, name string, b []byte) {
	t.Helper()
	if v, ok := event.ParamErrno.Int(b); !ok || v >= 0 {
		t.Errorf("%s is %d, not an error", name, v)
	}
}

func TestAnon(t *testing.T) { runCases(t, anonCases()) }
