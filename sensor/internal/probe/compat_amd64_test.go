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

// recvmmsgCompat is a case of recvmmsg by one of its two numbers: without a time they are the same.
func recvmmsgCompat(call string, nr uintptr) callCase {
	return callCase{call, "compat", event.SocketRecvmmsgX, func(t *env) []any {
		fd, from, port := datagrams(t, lo4, "one", "two")
		l := newLow(t)
		var w []uintptr
		for range 2 {
			w = append(w, l.put(make([]byte, 16)), 16, l.words(l.put(make([]byte, 9)), 9), 1, 0, 0, 0, 0)
		}
		if r := t.int80(nr, uintptr(fd), l.words(w...), 2, unix.MSG_DONTWAIT, 0); r != 2 {
			t.Fatalf("recvmmsg gives %d", r)
		}
		t.made = 2
		return []any{3, fd, 3, []byte("two"), tuple(lo4, from, lo4, port), missing{}}
	}}
}

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
		{"fcntl64", "compat only", event.SyscallFcntlX, func(t *env) []any {
			fd := devNull(t)
			return []any{closing(t, t.int80(221, fd, unix.F_DUPFD_CLOEXEC, 270)), fd, 0x1a, 270}
		}},
		{"fcntl64", "a lock of 64 bits", event.SyscallFcntlX, func(t *env) []any {
			fd, at := devNull(t), newLow(t).put(make([]byte, 32))
			return []any{t.int80(221, fd, 13, at), fd, 0x12, at}
		}},
		{"lseek", "compat, negative", event.SyscallLseekX, func(t *env) []any {
			fd := rwFile(t, []byte("0123456789"))
			return []any{t.int80(19, fd, 0xfffffffd, unix.SEEK_END), fd, -3, 2}
		}},
		{"_llseek", "compat only", event.SyscallLlseekX, func(t *env) []any {
			fd := rwFile(t, []byte("0123456789"))
			return []any{t.int80(140, fd, 1, 2, newLow(t).put(make([]byte, 8)), unix.SEEK_CUR), fd, 1<<32 | 2, 1}
		}},
		{"sendfile64", "compat only", event.SyscallSendfileX, func(t *env) []any {
			from, to := rwFile(t, digits(100)), rwFile(t, nil)
			off := newLow(t).put(binary.NativeEndian.AppendUint64(nil, 1<<33))
			return []any{t.int80(239, to, from, off, 50), 1 << 33, to, from, 50}
		}},
		{"sendfile", "compat", event.SyscallSendfileX, func(t *env) []any {
			from, to := rwFile(t, digits(100)), rwFile(t, nil)
			off := newLow(t).words(7, 0x55)
			return []any{t.int80(187, to, from, off, 50), 57, to, from, 50}
		}},
		{"pread64", "compat, position in two", event.SyscallPreadX, func(t *env) []any {
			fd := rwFile(t, []byte("0123456789"))
			return []any{t.int80(180, fd, newLow(t).at, 7, 3, 1), []byte{}, fd, 7, 1<<32 | 3}
		}},
		{"pwritev", "compat, position in two", event.SyscallPwritevX, func(t *env) []any {
			fd, l := rwFile(t, nil), newLow(t)
			iov := l.words(l.str("one "), 4, l.str("two"), 3)
			return []any{t.int80(334, fd, iov, 2, 5, 1), []byte("one two"), fd, 7, 1<<32 | 5}
		}},
		{"readv", "compat", event.SyscallReadvX, func(t *env) []any {
			fd, l := rwFile(t, []byte("one two")), newLow(t)
			iov := l.words(l.put(make([]byte, 4)), 4, l.put(make([]byte, 8)), 8)
			return []any{t.int80(145, fd, iov, 2), 7, []byte("one two"), fd}
		}},
		{"ppoll", "compat", event.SyscallPpollX, func(t *env) []any {
			l := newLow(t)
			ts, set := l.words(0, 5), l.put(append(binary.NativeEndian.AppendUint32(nil, badFD), 1, 0, 0, 0))
			return []any{t.int80(309, set, 1, ts, l.words(1<<9, 0), 8), fdList(badFD, 0x40), binary.NativeEndian.Uint32(l.b[4:]), 1 << 9}
		}},
		{"ppoll_time64", "compat only", event.SyscallPpollX, func(t *env) []any {
			l := newLow(t)
			ts, set := l.words(0, 0, 5, 0), l.put(append(binary.NativeEndian.AppendUint32(nil, badFD), 1, 0, 0, 0))
			return []any{t.int80(414, set, 1, ts, l.words(1<<9, 0), 8), fdList(badFD, 0x40), binary.NativeEndian.Uint64(l.b[8:]), 1 << 9}
		}},
		{"setsockopt", "compat, time", event.SocketSetsockoptX, func(t *env) []any {
			fd := socketFD(t, unix.AF_INET, unix.SOCK_STREAM)
			r := t.int80(366, uintptr(fd), unix.SOL_SOCKET, unix.SO_RCVTIMEO, newLow(t).words(2, 500), 8)
			return []any{r, fd, 1, 0x14, opt64(optTime, 2e9+500e3), 8}
		}},
		{"setsockopt", "socketcall", event.SocketSetsockoptX, func(t *env) []any {
			fd, l := socketFD(t, unix.AF_INET, unix.SOCK_STREAM), newLow(t)
			r := t.int80(ia32Socketcall, 14, l.words(uintptr(fd), unix.SOL_SOCKET, unix.SO_MARK, l.words(5), 4))
			return []any{r, fd, 1, 0x24, opt32(5), 4}
		}},
		{"getsockopt", "socketcall", event.SocketGetsockoptX, func(t *env) []any {
			fd, l := socketFD(t, unix.AF_INET, unix.SOCK_STREAM), newLow(t)
			r := t.int80(ia32Socketcall, 15, l.words(uintptr(fd), unix.SOL_SOCKET, unix.SO_TYPE, l.words(0), l.words(4)))
			return []any{r, fd, 1, 3, opt32(unix.SOCK_STREAM), 4}
		}},
		{"send", "socketcall", event.SocketSendX, func(t *env) []any {
			fd, from, port := streams(t, "")
			l := newLow(t)
			r := t.int80(ia32Socketcall, 9, l.words(uintptr(fd), l.str("hello"), 5, 0))
			return []any{r, []byte("hello"), fd, 5, tuple(lo4, port, lo4, from)}
		}},
		{"send", "socketcall, fails", event.SocketSendX, func(t *env) []any {
			fd, l := socketFD(t, unix.AF_INET, unix.SOCK_STREAM), newLow(t)
			r := t.int80(ia32Socketcall, 9, l.words(uintptr(fd), l.str("lost"), 4, unix.MSG_NOSIGNAL))
			return []any{r, []byte("lost"), fd, 4, missing{}}
		}},
		{"recv", "socketcall", event.SocketRecvX, func(t *env) []any {
			fd, from, port := streams(t, "hello")
			l := newLow(t)
			r := t.int80(ia32Socketcall, 10, l.words(uintptr(fd), l.put(make([]byte, 32)), 32, 0))
			return []any{r, []byte("hello"), fd, 32, tuple(lo4, from, lo4, port)}
		}},
		{"recv", "socketcall, fails", event.SocketRecvX, func(t *env) []any {
			l := newLow(t)
			r := t.int80(ia32Socketcall, 10, l.words(devNull(t), l.put(make([]byte, 32)), 32, 0))
			return []any{r, missing{}, present{}, 32, missing{}}
		}},
		{"recvfrom", "socketcall", event.SocketRecvfromX, func(t *env) []any {
			fd, from, port := datagrams(t, lo4, "hello")
			l := newLow(t)
			r := t.int80(ia32Socketcall, 12, l.words(uintptr(fd), l.put(make([]byte, 32)), 32, 0, l.put(make([]byte, 16)), l.words(16)))
			return []any{r, []byte("hello"), tuple(lo4, from, lo4, port), fd, 32}
		}},
		{"recvmsg", "socketcall", event.SocketRecvmsgX, func(t *env) []any {
			fd, from, port := datagrams(t, lo4, "one two")
			l := newLow(t)
			iov := l.words(l.put(make([]byte, 4)), 4, l.put(make([]byte, 9)), 9)
			r := t.int80(ia32Socketcall, 17, l.words(uintptr(fd), l.words(l.put(make([]byte, 16)), 16, iov, 2, 0, 0, 0), 0))
			return []any{r, 7, []byte("one two"), tuple(lo4, from, lo4, port), missing{}, fd}
		}},
		recvmmsgCompat("recvmmsg", 337),
		recvmmsgCompat("recvmmsg_time64", 417),
		{"recvmmsg", "socketcall", event.SocketRecvmmsgX, func(t *env) []any {
			fd, from, port := datagrams(t, lo4, "one", "two")
			l := newLow(t)
			var w []uintptr
			for range 2 {
				w = append(w, l.put(make([]byte, 16)), 16, l.words(l.put(make([]byte, 9)), 9), 1, 0, 0, 0, 0)
			}
			if r := t.int80(ia32Socketcall, 19, l.words(uintptr(fd), l.words(w...), 2, unix.MSG_DONTWAIT, 0)); r != 2 {
				t.Fatalf("recvmmsg gives %d", r)
			}
			t.made = 2
			return []any{3, fd, 3, []byte("two"), tuple(lo4, from, lo4, port), missing{}}
		}},
		{"sendmmsg", "socketcall", event.SocketSendmmsgX, func(t *env) []any {
			fd, l := socketFD(t, unix.AF_INET, unix.SOCK_DGRAM), newLow(t)
			var w []uintptr
			for _, s := range []string{"one", "two"} {
				w = append(w, l.put(sockaddr(lo4, 53)), 16, l.words(l.str(s), 3), 1, 0, 0, 0, 0)
			}
			if r := t.int80(ia32Socketcall, 20, l.words(uintptr(fd), l.words(w...), 2, 0)); r != 2 {
				t.Fatalf("sendmmsg gives %d", r)
			}
			t.made = 2
			return []any{3, fd, 3, []byte("two"), tuple(net.IPv4zero, portOf(t, fd), lo4, 53)}
		}},
		{"socketpair", "socketcall", event.SocketSocketpairX, func(t *env) []any {
			l := newLow(t)
			r := t.int80(ia32Socketcall, 8, l.words(unix.AF_UNIX, unix.SOCK_STREAM, 0, l.at+60000))
			fds := l.b[60000:]
			a, b := int64(binary.NativeEndian.Uint32(fds)), int64(binary.NativeEndian.Uint32(fds[4:]))
			closing(t, a)
			closing(t, b)
			return []any{r, a, b, present{}, present{}, unix.AF_UNIX, unix.SOCK_STREAM, 0}
		}},
		{"shutdown", "socketcall", event.SocketShutdownX, func(t *env) []any {
			fd, _, _ := streams(t, "")
			return []any{t.int80(ia32Socketcall, 13, newLow(t).words(uintptr(fd), 2)), fd, 2}
		}},
		{"getsockname", "socketcall", event.SocketGetsocknameX, func(t *env) []any {
			fd, l := socketFD(t, unix.AF_INET, unix.SOCK_STREAM), newLow(t)
			t.int80(ia32Socketcall, 6, l.words(uintptr(fd), l.put(make([]byte, 16)), l.words(16)))
			return []any{}
		}},
		{"getpeername", "socketcall", event.SocketGetpeernameX, func(t *env) []any {
			fd, l := socketFD(t, unix.AF_INET, unix.SOCK_STREAM), newLow(t)
			t.int80(ia32Socketcall, 7, l.words(uintptr(fd), l.put(make([]byte, 16)), l.words(16)))
			return []any{}
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
