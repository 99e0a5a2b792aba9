package probe

import (
	"encoding/binary"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// pollSet is the address of an array of struct pollfd that asks for events of each fd.
func pollSet(events int16, fds ...int32) uintptr {
	var b []byte
	for _, fd := range fds {
		b = binary.NativeEndian.AppendUint32(b, uint32(fd))
		b = binary.NativeEndian.AppendUint16(b, uint16(events))
		b = append(b, 0xff, 0xff) // the kernel puts there what came
	}
	return addr(append(b, 0))
}

// fdList is a list of fds and what came of each as an event has it.
func fdList(v ...int) []byte {
	b := binary.LittleEndian.AppendUint16(nil, uint16(len(v)/2))
	for i := 0; i < len(v); i += 2 {
		b = binary.LittleEndian.AppendUint64(b, uint64(int64(v[i])))
		b = binary.LittleEndian.AppendUint16(b, uint16(v[i+1]))
	}
	return b
}

// timespec returns a struct timespec and its address.
func timespec(nsec int64) (*unix.Timespec, uintptr) {
	ts := new(unix.Timespec)
	*ts = unix.NsecToTimespec(nsec)
	return ts, addr(unsafe.Slice((*byte)(unsafe.Pointer(ts)), unsafe.Sizeof(*ts)))
}

// pipeOf makes a pipe that holds what.
func pipeOf(t *env, what string) (r, w uintptr) {
	t.Helper()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	closing(t, int64(p[0]))
	closing(t, int64(p[1]))
	if _, err := unix.Write(p[1], []byte(what)); err != nil {
		t.Fatal(err)
	}
	return uintptr(p[0]), uintptr(p[1])
}

func pollCases() []callCase {
	const in, out, nval, rdnorm, wrnorm = 1, 4, 0x40, 0x80, 0x200 // the event format's (poll_flags in events.txt)
	const pollRdnorm, pollWrnorm = 0x40, 0x100                    // include/uapi/asm-generic/poll.h
	return []callCase{
		{"poll", "ready", event.SyscallPollX, func(t *env) []any {
			r, w := pipeOf(t, "x")
			set := pollSet(unix.POLLIN|unix.POLLOUT|pollRdnorm|pollWrnorm, int32(r), int32(w), badFD, -1)
			return []any{t.must("poll", set, 4, 1000), fdList(int(r), in|rdnorm, int(w), out|wrnorm, badFD, nval, -1, 0), 1000}
		}},
		{"poll", "hung up", event.SyscallPollX, func(t *env) []any {
			fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			closing(t, int64(fds[0]))
			unix.Close(fds[1])
			const rdhup, hup = 8, 0x20
			return []any{t.must("poll", pollSet(unix.POLLIN|unix.POLLRDHUP, int32(fds[0])), 1, ^uintptr(0)), fdList(fds[0], in|rdhup|hup), -1}
		}},
		{"poll", "out of band, error", event.SyscallPollX, func(t *env) []any {
			r, w := pipeOf(t, "x")
			unix.Close(int(r))
			// The end to write to reports an error; the other one was closed, and its number may be anything's now.
			const perr = 0x10
			return []any{t.must("poll", pollSet(unix.POLLOUT, int32(w)), 1, 0), fdList(int(w), out|perr), 0}
		}},
		{"poll", "nothing", event.SyscallPollX, func(t *env) []any {
			return []any{t.must("poll", 0, 0, 0), fdList(), 0}
		}},
		{"poll", "more than are looked at", event.SyscallPollX, func(t *env) []any {
			t.origin = wasmabi.OriginCut
			fds := make([]int32, 40)
			var want []int
			for i := range fds {
				fds[i] = badFD
				if i < 32 {
					want = append(want, badFD, nval)
				}
			}
			return []any{t.must("poll", pollSet(unix.POLLIN, fds...), 40, 0), fdList(want...), 0}
		}},
		{"poll", "bad address", event.SyscallPollX, func(t *env) []any {
			t.call("poll", 1, 2, 0)
			return []any{errno(unix.EFAULT), fdList(), 0}
		}},
		{"ppoll", "ready", event.SyscallPpollX, func(t *env) []any {
			r, _ := pipeOf(t, "x")
			mask := make([]byte, 8)
			binary.NativeEndian.PutUint64(mask, 1<<(unix.SIGUSR2-1)|1<<(unix.SIGWINCH-1)|1<<40)
			ts, at := timespec(3e9 + 500)
			n := t.must("ppoll", pollSet(unix.POLLIN, int32(r)), 1, at, addr(mask), 8)
			return []any{n, fdList(int(r), in), ts.Nano(), 1<<(unix.SIGUSR2-1) | 1<<(unix.SIGWINCH-1)}
		}},
		{"ppoll", "no time, no mask", event.SyscallPpollX, func(t *env) []any {
			r, _ := pipeOf(t, "x")
			return []any{t.must("ppoll", pollSet(unix.POLLIN, int32(r)), 1, 0, 0, 8), fdList(int(r), in), 0, 0}
		}},
		{"ppoll", "bad mask", event.SyscallPpollX, func(t *env) []any {
			r, _ := pipeOf(t, "x")
			_, at := timespec(1e9 + 5)
			t.call("ppoll", pollSet(unix.POLLIN, int32(r)), 1, at, 1, 8)
			return []any{errno(unix.EFAULT), fdList(int(r), -1&0x7ff), int64(1e9 + 5), 0}
		}},
		{"select", "nothing", event.SyscallSelectX, func(t *env) []any {
			_, at := timespec(0)
			return []any{t.must("select", 0, 0, 0, 0, at)}
		}},
		{"select", "fails", event.SyscallSelectX, func(t *env) []any {
			t.call("select", ^uintptr(0), 0, 0, 0, 0)
			return []any{errno(unix.EINVAL)}
		}},
		{"epoll_create", "ok", event.SyscallEpollCreateX, func(t *env) []any {
			return []any{closing(t, t.call("epoll_create", 17)), 17}
		}},
		{"epoll_create", "bad size", event.SyscallEpollCreateX, func(t *env) []any {
			t.call("epoll_create", ^uintptr(0))
			return []any{errno(unix.EINVAL), -1}
		}},
		{"epoll_create1", "close on exec", event.SyscallEpollCreate1X, func(t *env) []any {
			return []any{closing(t, t.call("epoll_create1", unix.EPOLL_CLOEXEC)), 1}
		}},
		{"epoll_create1", "none", event.SyscallEpollCreate1X, func(t *env) []any {
			return []any{closing(t, t.call("epoll_create1", 0)), 0}
		}},
		{"epoll_create1", "bad flags", event.SyscallEpollCreate1X, func(t *env) []any {
			t.call("epoll_create1", 1)
			return []any{errno(unix.EINVAL), 0}
		}},
		{"epoll_wait", "ready", event.SyscallEpollwaitX, func(t *env) []any {
			ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
			if err != nil {
				t.Fatal(err)
			}
			closing(t, int64(ep))
			r, _ := pipeOf(t, "x")
			if err := unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, int(r), &unix.EpollEvent{Events: unix.EPOLLIN}); err != nil {
				t.Fatal(err)
			}
			n := t.must("epoll_wait", uintptr(ep), addr(make([]byte, 64)), 3, 0)
			if n != 1 {
				t.Fatalf("%d events", n)
			}
			return []any{n, 3}
		}},
		{"epoll_wait", "fails", event.SyscallEpollwaitX, func(t *env) []any {
			t.call("epoll_wait", devNull(t), addr(make([]byte, 64)), ^uintptr(0), 0)
			return []any{errno(unix.EINVAL), -1}
		}},
	}
}

func TestPoll(t *testing.T) { runCases(t, pollCases()) }
