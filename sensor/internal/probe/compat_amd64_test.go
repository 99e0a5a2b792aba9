package probe

import (
	"encoding/binary"
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/probe/rawcall"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// low is memory in the first 4 GiB, where 32-bit calls can reach it.
type low struct {
	b  []byte
	at uintptr
	n  int
}

func newLow(t *env) *low {
	t.Helper()
	b, err := unix.Mmap(-1, 0, 64<<10, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_32BIT)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(b) })
	return &low{b: b, at: addr(b)}
}

// put copies v there, aligned, and returns its address.
func (l *low) put(v []byte) uintptr {
	l.n = (l.n + 7) &^ 7
	at := l.at + uintptr(l.n)
	l.n += copy(l.b[l.n:], v)
	return at
}

func (l *low) str(s string) uintptr { return l.put(append([]byte(s), 0)) }

// words puts 32-bit values.
func (l *low) words(v ...uintptr) uintptr {
	var b []byte
	for _, w := range v {
		b = binary.NativeEndian.AppendUint32(b, uint32(w))
	}
	return l.put(b)
}

// int80 makes the case's call as a 32-bit program does, by number nr of ia32.
func (t *env) int80(nr uintptr, a ...uintptr) int64 {
	t.Helper()
	var v [6]uintptr
	copy(v[:], a)
	t.nr, t.origin = uint32(nr), t.origin|wasmabi.OriginCompat
	var r int32
	t.watched(func() { r = rawcall.Int80(nr, v[0], v[1], v[2], v[3], v[4], v[5]) })
	if r == int32(errno(unix.ENOSYS)) {
		t.Skip("this kernel runs no 32-bit programs")
	}
	return int64(r)
}

const ia32Socketcall = 102

func compatCases() []callCase {
	return []callCase{
		{"openat", "compat", event.SyscallOpenatV2X, func(t *env) []any {
			p := oldPath(t)
			fd := t.int80(295, cwd&0xffffffff, newLow(t).str(p), unix.O_RDWR|unix.O_CLOEXEC, 0)
			dev, ino := opened(t, fd)
			return []any{fd, unix.AT_FDCWD, p, fRdwr | fCloexec, 0, dev, ino}
		}},
		{"open", "compat", event.SyscallOpenX, func(t *env) []any {
			t.int80(5, newLow(t).str("/nonexistent/x"), unix.O_CREAT|unix.O_EXCL, 0o600)
			return []any{errno(unix.ENOENT), "/nonexistent/x", fRdonly | fCreat | fExcl, 0o600, 0, 0}
		}},
		{"close", "compat", event.SyscallCloseX, func(t *env) []any {
			return []any{t.int80(6, 0xffffffff), -1}
		}},
		{"kill", "compat, number of another call", event.SyscallKillX, func(t *env) []any {
			return []any{t.int80(37, uintptr(os.Getpid()), 0), os.Getpid(), 0} // 37 is alarm in the kernel's own numbers
		}},
		{"umount", "compat only", event.SyscallUmountV1X, func(t *env) []any {
			return []any{t.int80(22, newLow(t).str("/nonexistent")), "/nonexistent"}
		}},
		{"connect", "compat", event.SocketConnectX, func(t *env) []any {
			fd := socketFD(t, unix.AF_INET, unix.SOCK_DGRAM)
			a := sockaddr(lo4, 53)
			r := t.int80(362, uintptr(fd), newLow(t).put(a), uintptr(len(a)))
			return []any{r, tuple(lo4, portOf(t, fd), lo4, 53), fd, inEvent(lo4, 53)}
		}},
		{"connect", "socketcall", event.SocketConnectX, func(t *env) []any {
			fd := socketFD(t, unix.AF_INET, unix.SOCK_DGRAM)
			l, a := newLow(t), sockaddr(lo4, 53)
			r := t.int80(ia32Socketcall, 3, l.words(uintptr(fd), l.put(a), uintptr(len(a))))
			return []any{r, tuple(lo4, portOf(t, fd), lo4, 53), fd, inEvent(lo4, 53)}
		}},
		{"socket", "socketcall", event.SocketSocketX, func(t *env) []any {
			l := newLow(t)
			fd := closing(t, t.int80(ia32Socketcall, 1, l.words(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)))
			return []any{fd, unix.AF_INET, unix.SOCK_DGRAM | unix.SOCK_CLOEXEC, 0, fCloexec}
		}},
		{"accept", "socketcall", event.SocketAcceptV5X, func(t *env) []any {
			lfd, port := listening(t, lo4)
			c := socketFD(t, unix.AF_INET, unix.SOCK_STREAM)
			if err := unix.Connect(c, goSockaddr(lo4, port)); err != nil {
				t.Fatal(err)
			}
			fd := closing(t, t.int80(ia32Socketcall, 5, newLow(t).words(uintptr(lfd), 0, 0)))
			return []any{fd, tuple(lo4, portOf(t, c), lo4, port), 0, 0, 16}
		}},
		{"sendto", "socketcall", event.SocketSendtoX, func(t *env) []any {
			fd := socketFD(t, unix.AF_INET, unix.SOCK_DGRAM)
			l, a := newLow(t), sockaddr(lo4, 53)
			r := t.int80(ia32Socketcall, 11, l.words(uintptr(fd), l.str("hi"), 2, 0, l.put(a), uintptr(len(a))))
			return []any{r, []byte("hi"), fd, 2, tuple(net.IPv4zero, portOf(t, fd), lo4, 53)}
		}},
		{"sendmsg", "compat", event.SocketSendmsgX, func(t *env) []any {
			fd := socketFD(t, unix.AF_INET, unix.SOCK_DGRAM)
			l, a := newLow(t), sockaddr(lo4, 53)
			iov := l.words(l.str("one"), 3, l.str("two"), 3)
			r := t.int80(370, uintptr(fd), l.words(l.put(a), uintptr(len(a)), iov, 2, 0, 0, 0), 0)
			return []any{r, []byte("onetwo"), fd, 6, tuple(net.IPv4zero, portOf(t, fd), lo4, 53)}
		}},
		{"execve", "compat, fails", event.SyscallExecveV19X, func(t *env) []any {
			l := newLow(t)
			p := l.str("/nonexistent/program")
			r := t.int80(11, p, l.words(l.str("zero"), l.str("one"), 0), l.words(l.str("A=1"), 0))
			want := make([]any, 31)
			for i := range want {
				want[i] = present{}
			}
			want[0], want[1], want[2], want[6] = r, "zero", []byte("one\x00"), missing{}
			want[15], want[30] = []byte("A=1\x00"), "/nonexistent/program"
			return want
		}},
		{"getppid", "compat, generic", event.GenericX, func(t *env) []any {
			r := t.int80(64, 1, 2, 3, 4, 1<<31, 6)
			return []any{codeOf(t, "getppid"), 64, 64, r, 1, 2, 3, 4, 1 << 31, 6}
		}},
	}
}

func TestCompat(t *testing.T) { runCases(t, compatCases()) }
