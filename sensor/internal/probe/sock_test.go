package probe

import (
	"bytes"
	"encoding/binary"
	"net"
	"path/filepath"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/wasmabi"
)

var (
	lo4 = net.IPv4(127, 0, 0, 1).To4()
	lo6 = net.IPv6loopback
)

// sockaddr is what a program passes.
func sockaddr(ip net.IP, port int) []byte {
	b := make([]byte, 2, 28)
	if ip4 := ip.To4(); ip4 != nil {
		binary.NativeEndian.PutUint16(b, unix.AF_INET)
		b = binary.BigEndian.AppendUint16(b, uint16(port))
		return append(append(b, ip4...), make([]byte, 8)...)
	}
	binary.NativeEndian.PutUint16(b, unix.AF_INET6)
	b = binary.BigEndian.AppendUint16(b, uint16(port))
	return append(append(append(b, 0, 0, 0, 0), ip...), 0, 0, 0, 0)
}

// sockaddrUn is that of a unix socket; name may begin with NUL.
func sockaddrUn(name string) []byte {
	return append(binary.NativeEndian.AppendUint16(nil, unix.AF_UNIX), name...)
}

// inEvent is an address as an event has it: family, address, port.
func inEvent(ip net.IP, port int) []byte { return append([]byte{family(ip)}, end(ip, port)...) }

func family(ip net.IP) byte {
	if ip.To4() != nil {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func end(ip net.IP, port int) []byte {
	if ip4 := ip.To4(); ip4 != nil {
		ip = ip4
	}
	return binary.LittleEndian.AppendUint16(bytes.Clone(ip), uint16(port))
}

// tuple is two ends as an event has them.
func tuple(ip net.IP, port int, ip2 net.IP, port2 int) []byte {
	return append(inEvent(ip, port), end(ip2, port2)...)
}

// unixTuple checks the family, that there are addresses of the ends that are there, and the name.
func unixTuple(src, dst bool, name string) check {
	return func(t *testing.T, param string, b []byte) {
		t.Helper()
		if len(b) < 18 || b[0] != unix.AF_UNIX || string(b[17:]) != name+"\x00" {
			t.Errorf("%s is %q, not a unix tuple of %q", param, b, name)
			return
		}
		first, second := binary.LittleEndian.Uint64(b[1:]), binary.LittleEndian.Uint64(b[9:])
		if (first != 0) != src || (second != 0) != dst || first == second {
			t.Errorf("%s has the ends %#x and %#x", param, first, second)
		}
	}
}

func socketFD(t *env, domain, typ int) int {
	t.Helper()
	fd, err := unix.Socket(domain, typ|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// listening is a listening TCP socket on a free port of ip.
func listening(t *env, ip net.IP) (fd, port int) {
	t.Helper()
	fd = socketFD(t, int(family(ip)), unix.SOCK_STREAM)
	if err := bindTo(fd, ip, 0); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 16); err != nil {
		t.Fatal(err)
	}
	return fd, portOf(t, fd)
}

// deaf returns the port of a listening socket that doesn't answer, as its queue is full.
func deaf(t *env) (port int) {
	t.Helper()
	fd := socketFD(t, unix.AF_INET, unix.SOCK_STREAM)
	if err := bindTo(fd, lo4, 0); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	port = portOf(t, fd)
	if err := unix.Connect(socketFD(t, unix.AF_INET, unix.SOCK_STREAM), goSockaddr(lo4, port)); err != nil {
		t.Fatal(err)
	}
	return port
}

// signalSoon has the kernel send the thread a signal of no meaning ten times a second: on a slow machine the first may come too early.
func signalSoon(t *env) {
	t.Helper()
	const toThread = 4 // SIGEV_THREAD_ID
	type sigevent struct {
		value              uint64
		signo, notify, tid int32
		_                  [44]byte
	}
	e := sigevent{signo: int32(unix.SIGURG), notify: toThread, tid: int32(unix.Gettid())}
	var id int32
	if _, _, err := unix.RawSyscall(unix.SYS_TIMER_CREATE, unix.CLOCK_MONOTONIC, uintptr(unsafe.Pointer(&e)), uintptr(unsafe.Pointer(&id))); err != 0 {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.RawSyscall(unix.SYS_TIMER_DELETE, uintptr(id), 0, 0) })
	at := unix.ItimerSpec{Value: unix.NsecToTimespec(100e6), Interval: unix.NsecToTimespec(100e6)}
	if _, _, err := unix.RawSyscall6(unix.SYS_TIMER_SETTIME, uintptr(id), 0, uintptr(unsafe.Pointer(&at)), 0, 0, 0); err != 0 {
		t.Fatal(err)
	}
}

func bindTo(fd int, ip net.IP, port int) error { return unix.Bind(fd, goSockaddr(ip, port)) }

func goSockaddr(ip net.IP, port int) unix.Sockaddr {
	if ip4 := ip.To4(); ip4 != nil {
		return &unix.SockaddrInet4{Addr: [4]byte(ip4), Port: port}
	}
	return &unix.SockaddrInet6{Addr: [16]byte(ip), Port: port}
}

func portOf(t *env, fd int) int {
	t.Helper()
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return sa.Port
	case *unix.SockaddrInet6:
		return sa.Port
	}
	t.Fatalf("%T has no port", sa)
	return 0
}

// unixListening is a listening unix socket called name.
func unixListening(t *env, name string) int {
	t.Helper()
	fd := socketFD(t, unix.AF_UNIX, unix.SOCK_STREAM)
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: name}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 8); err != nil {
		t.Fatal(err)
	}
	return fd
}

func connectCase(what string, ip net.IP) callCase {
	return callCase{"connect", what, event.SocketConnectX, func(t *env) []any {
		_, port := listening(t, ip)
		fd := socketFD(t, int(family(ip)), unix.SOCK_STREAM)
		a := sockaddr(ip, port)
		r := t.must("connect", uintptr(fd), addr(a), uintptr(len(a)))
		return []any{r, tuple(ip, portOf(t, fd), ip, port), fd, inEvent(ip, port)}
	}}
}

func acceptCase(name, what string, typ event.Type, ip net.IP, more []any, args ...uintptr) callCase {
	return callCase{name, what, typ, func(t *env) []any {
		lfd, port := listening(t, ip)
		var from [2]int
		for i := range from { // one to accept, one to stay in the queue
			fd := socketFD(t, int(family(ip)), unix.SOCK_STREAM)
			if err := unix.Connect(fd, goSockaddr(ip, port)); err != nil {
				t.Fatal(err)
			}
			from[i] = portOf(t, fd)
		}
		fd := closing(t, t.call(name, append([]uintptr{uintptr(lfd), 0, 0}, args...)...))
		return append([]any{fd, tuple(ip, from[0], ip, port), 100 / 16, 1, 16}, more...)
	}}
}

func bindCase(what string, res unix.Errno, domain int, a []byte, want any) callCase {
	return callCase{"bind", what, event.SocketBindX, func(t *env) []any {
		fd := socketFD(t, domain, unix.SOCK_STREAM)
		if r := t.call("bind", uintptr(fd), addr(a), uintptr(len(a))); r != -int64(res) {
			t.Fatalf("bind gives %d", r)
		}
		if res == 0 && domain != unix.AF_UNIX && a[2] == 0 && a[3] == 0 {
			return []any{0, want, fd, portOf(t, fd)}
		}
		return []any{-int64(res), want, fd}
	}}
}

// message lays out a struct msghdr of native size with the pieces given.
func message(name []byte, pieces ...[]byte) uintptr {
	iov := make([]unix.Iovec, len(pieces)+1)
	for i, p := range pieces {
		iov[i].Base = unsafe.SliceData(p)
		iov[i].SetLen(len(p))
		addr(p)
	}
	h := &unix.Msghdr{Iov: &iov[0], Name: unsafe.SliceData(name), Namelen: uint32(len(name))}
	h.SetIovlen(len(pieces))
	addr(name)
	keptHeads = append(keptHeads, h)
	return uintptr(unsafe.Pointer(h))
}

var keptHeads []*unix.Msghdr

func isZero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

func shutdownCase(what string, how uintptr, want int) callCase {
	return callCase{"shutdown", what, event.SocketShutdownX, func(t *env) []any {
		fd, _, _ := streams(t, "")
		return []any{t.must("shutdown", uintptr(fd), how), fd, want}
	}}
}

func sockCases() []callCase {
	path := func(t *env) string { return filepath.Join(t.TempDir(), "s") }
	un := func(name string) []byte { return append(append([]byte{unix.AF_UNIX}, name...), 0) }
	long := bytes.Repeat([]byte("0123456789"), 30)
	return []callCase{
		{"socket", "ok", event.SocketSocketX, func(t *env) []any {
			typ := unix.SOCK_STREAM | unix.SOCK_NONBLOCK | unix.SOCK_CLOEXEC
			fd := closing(t, t.call("socket", unix.AF_INET6, uintptr(typ), unix.IPPROTO_TCP))
			return []any{fd, unix.AF_INET6, typ, unix.IPPROTO_TCP, fNonblock | fCloexec}
		}},
		{"socket", "fails", event.SocketSocketX, func(t *env) []any {
			r := t.call("socket", unix.AF_INET, unix.SOCK_STREAM, 250)
			return []any{r, unix.AF_INET, unix.SOCK_STREAM, 250, 0}
		}},

		connectCase("IPv4", lo4),
		connectCase("IPv6", lo6),
		{"connect", "refused", event.SocketConnectX, func(t *env) []any {
			fd := socketFD(t, unix.AF_INET, unix.SOCK_STREAM)
			a := sockaddr(lo4, 1)
			t.call("connect", uintptr(fd), addr(a), uintptr(len(a)))
			return []any{errno(unix.ECONNREFUSED), missing{}, fd, inEvent(lo4, 1)}
		}},
		{"connect", "interrupted", event.SocketConnectX, func(t *env) []any {
			port := deaf(t)
			fd, a := socketFD(t, unix.AF_INET, unix.SOCK_STREAM), sockaddr(lo4, port)
			// With a time to wait it isn't made again after the signal.
			if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{Sec: 20}); err != nil {
				t.Fatal(err)
			}
			signalSoon(t)
			if r := t.call("connect", uintptr(fd), addr(a), uintptr(len(a))); r != errno(unix.EINTR) {
				t.Fatalf("connect gives %d", r)
			}
			return []any{errno(unix.EINTR), tuple(lo4, portOf(t, fd), lo4, port), fd, inEvent(lo4, port)}
		}},
		{"connect", "in progress", event.SocketConnectX, func(t *env) []any {
			port := deaf(t)
			fd := socketFD(t, unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK)
			a := sockaddr(lo4, port)
			if r := t.call("connect", uintptr(fd), addr(a), uintptr(len(a))); r != errno(unix.EINPROGRESS) {
				t.Fatalf("connect gives %d", r)
			}
			return []any{errno(unix.EINPROGRESS), tuple(lo4, portOf(t, fd), lo4, port), fd, inEvent(lo4, port)}
		}},
		{"connect", "datagrams", event.SocketConnectX, func(t *env) []any {
			fd := socketFD(t, unix.AF_INET, unix.SOCK_DGRAM)
			a := sockaddr(lo4, 53)
			r := t.must("connect", uintptr(fd), addr(a), uintptr(len(a)))
			return []any{r, tuple(lo4, portOf(t, fd), lo4, 53), fd, inEvent(lo4, 53)}
		}},
		{"connect", "unix", event.SocketConnectX, func(t *env) []any {
			p := path(t)
			unixListening(t, p)
			fd := socketFD(t, unix.AF_UNIX, unix.SOCK_STREAM)
			a := sockaddrUn(p)
			r := t.must("connect", uintptr(fd), addr(a), uintptr(len(a)))
			return []any{r, unixTuple(true, true, p), fd, un(p)}
		}},
		{"connect", "abstract", event.SocketConnectX, func(t *env) []any {
			unixListening(t, "@shikra-test-abstract")
			fd := socketFD(t, unix.AF_UNIX, unix.SOCK_STREAM)
			a := sockaddrUn("\x00shikra-test-abstract")
			r := t.must("connect", uintptr(fd), addr(a), uintptr(len(a)))
			return []any{r, unixTuple(true, true, "shikra-test-abstract"), fd, un("shikra-test-abstract")}
		}},
		{"connect", "no socket", event.SocketConnectX, func(t *env) []any {
			fd := devNull(t)
			a := sockaddr(lo4, 80)
			t.call("connect", fd, addr(a), uintptr(len(a)))
			return []any{errno(unix.ENOTSOCK), missing{}, fd, inEvent(lo4, 80)}
		}},
		{"connect", "bad address", event.SocketConnectX, func(t *env) []any {
			fd := socketFD(t, unix.AF_INET, unix.SOCK_STREAM)
			t.call("connect", uintptr(fd), 1, 16)
			return []any{errno(unix.EFAULT), missing{}, fd, missing{}}
		}},

		bindCase("IPv4", 0, unix.AF_INET, sockaddr(lo4, 0), inEvent(lo4, 0)),
		bindCase("IPv6", 0, unix.AF_INET6, sockaddr(lo6, 0), inEvent(lo6, 0)),
		bindCase("IPv4, a port that is given", 0, unix.AF_INET, sockaddr(net.IPv4(127, 0, 0, 9), 7531), inEvent(net.IPv4(127, 0, 0, 9), 7531)),
		bindCase("not ours", unix.EADDRNOTAVAIL, unix.AF_INET, sockaddr(net.IPv4(192, 0, 2, 1), 8080), inEvent(net.IPv4(192, 0, 2, 1), 8080)),
		bindCase("abstract", 0, unix.AF_UNIX, sockaddrUn("\x00shikra-test-bind"), un("shikra-test-bind")),
		bindCase("longest name", unix.ENOENT, unix.AF_UNIX, sockaddrUn("/nonexistent/"+string(long[:95])), un("/nonexistent/"+string(long[:95]))),
		bindCase("other family", unix.EAFNOSUPPORT, unix.AF_INET, []byte{99, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14}, missing{}),
		{"bind", "unix", event.SocketBindX, func(t *env) []any {
			p := path(t)
			fd := socketFD(t, unix.AF_UNIX, unix.SOCK_STREAM)
			a := sockaddrUn(p)
			return []any{t.must("bind", uintptr(fd), addr(a), uintptr(len(a))), un(p), fd}
		}},
		{"listen", "ok", event.SocketListenX, func(t *env) []any {
			fd := socketFD(t, unix.AF_INET, unix.SOCK_STREAM)
			return []any{t.must("listen", uintptr(fd), 17), fd, 17}
		}},
		{"listen", "bad", event.SocketListenX, func(t *env) []any {
			t.call("listen", badFD, ^uintptr(0))
			return []any{errno(unix.EBADF), badFD, -1}
		}},

		acceptCase("accept", "IPv4", event.SocketAcceptV5X, lo4, nil),
		acceptCase("accept4", "IPv6", event.SocketAccept4V6X, lo6, []any{fNonblock | fCloexec}, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC),
		{"accept", "unix", event.SocketAcceptV5X, func(t *env) []any {
			p := path(t)
			lfd := unixListening(t, p)
			if err := unix.Connect(socketFD(t, unix.AF_UNIX, unix.SOCK_STREAM), &unix.SockaddrUnix{Name: p}); err != nil {
				t.Fatal(err)
			}
			fd := closing(t, t.call("accept", uintptr(lfd), 0, 0))
			return []any{fd, unixTuple(true, true, p), 0, 0, 8}
		}},
		{"accept", "nobody", event.SocketAcceptV5X, func(t *env) []any {
			lfd := socketFD(t, unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK)
			if err := unix.Listen(lfd, 3); err != nil {
				t.Fatal(err)
			}
			t.call("accept", uintptr(lfd), 0, 0)
			return []any{errno(unix.EAGAIN), missing{}, 0, 0, 0}
		}},
		{"accept4", "no socket", event.SocketAccept4V6X, func(t *env) []any {
			t.call("accept4", devNull(t), 0, 0, 0)
			return []any{errno(unix.ENOTSOCK), missing{}, 0, 0, 0, 0}
		}},

		{"socketpair", "ok", event.SocketSocketpairX, func(t *env) []any {
			b := make([]byte, 8)
			typ := unix.SOCK_STREAM | unix.SOCK_CLOEXEC
			r := t.must("socketpair", unix.AF_UNIX, uintptr(typ), 0, addr(b))
			fds := [2]int64{int64(binary.NativeEndian.Uint32(b)), int64(binary.NativeEndian.Uint32(b[4:]))}
			closing(t, fds[0])
			closing(t, fds[1])
			var source []byte
			return []any{r, fds[0], fds[1], check(func(t *testing.T, _ string, b []byte) { source = b }), check(func(t *testing.T, _ string, b []byte) {
				if isZero(source) || isZero(b) || bytes.Equal(source, b) {
					t.Errorf("the ends are %x and %x", source, b)
				}
			}), unix.AF_UNIX, typ, 0}
		}},
		{"socketpair", "bad family", event.SocketSocketpairX, func(t *env) []any {
			t.call("socketpair", unix.AF_INET, unix.SOCK_STREAM, 6, addr(make([]byte, 8)))
			return []any{errno(unix.EOPNOTSUPP), -1, -1, 0, 0, unix.AF_INET, unix.SOCK_STREAM, 6}
		}},
		shutdownCase("receiving", unix.SHUT_RD, 0), shutdownCase("sending", unix.SHUT_WR, 1), shutdownCase("both", unix.SHUT_RDWR, 2),
		{"shutdown", "bad", event.SocketShutdownX, func(t *env) []any {
			t.call("shutdown", badFD, ^uintptr(0))
			return []any{errno(unix.EBADF), badFD, 0xff}
		}},
		{"getsockname", "ok", event.SocketGetsocknameX, func(t *env) []any {
			fd := socketFD(t, unix.AF_INET, unix.SOCK_STREAM)
			t.must("getsockname", uintptr(fd), addr(make([]byte, 16)), addr([]byte{16, 0, 0, 16}))
			return []any{}
		}},
		{"getpeername", "not connected", event.SocketGetpeernameX, func(t *env) []any {
			fd := socketFD(t, unix.AF_INET, unix.SOCK_STREAM)
			t.call("getpeername", uintptr(fd), addr(make([]byte, 16)), addr([]byte{16, 0, 0, 16}))
			return []any{}
		}},

		{"sendto", "to an address", event.SocketSendtoX, func(t *env) []any {
			fd := socketFD(t, unix.AF_INET, unix.SOCK_DGRAM)
			a := sockaddr(lo4, 53)
			r := t.must("sendto", uintptr(fd), str("hello"), 5, 0, addr(a), uintptr(len(a)))
			return []any{r, []byte("hello"), fd, 5, tuple(net.IPv4zero, portOf(t, fd), lo4, 53)}
		}},
		{"sendto", "to an IPv6 address", event.SocketSendtoX, func(t *env) []any {
			fd := socketFD(t, unix.AF_INET6, unix.SOCK_DGRAM)
			a := sockaddr(lo6, 53)
			r := t.must("sendto", uintptr(fd), str("hello"), 5, 0, addr(a), uintptr(len(a)))
			return []any{r, []byte("hello"), fd, 5, tuple(net.IPv6zero, portOf(t, fd), lo6, 53)}
		}},
		{"sendto", "connected, long", event.SocketSendtoX, func(t *env) []any {
			_, port := listening(t, lo4)
			fd := socketFD(t, unix.AF_INET, unix.SOCK_STREAM)
			if err := unix.Connect(fd, goSockaddr(lo4, port)); err != nil {
				t.Fatal(err)
			}
			t.origin = wasmabi.OriginCut
			r := t.must("sendto", uintptr(fd), addr(long), uintptr(len(long)), 0, 0, 0)
			return []any{r, long[:80], fd, len(long), tuple(lo4, portOf(t, fd), lo4, port)}
		}},
		{"sendto", "unix datagram", event.SocketSendtoX, func(t *env) []any {
			p := path(t)
			if err := unix.Bind(socketFD(t, unix.AF_UNIX, unix.SOCK_DGRAM), &unix.SockaddrUnix{Name: p}); err != nil {
				t.Fatal(err)
			}
			fd := socketFD(t, unix.AF_UNIX, unix.SOCK_DGRAM)
			a := sockaddrUn(p)
			r := t.must("sendto", uintptr(fd), str("log"), 3, 0, addr(a), uintptr(len(a)))
			return []any{r, []byte("log"), fd, 3, unixTuple(false, true, p)}
		}},
		{"sendto", "not connected", event.SocketSendtoX, func(t *env) []any {
			fd := socketFD(t, unix.AF_INET, unix.SOCK_STREAM)
			r := t.call("sendto", uintptr(fd), str("lost"), 4, unix.MSG_NOSIGNAL, 0, 0)
			return []any{r, []byte("lost"), fd, 4, missing{}}
		}},
		{"sendto", "bad address", event.SocketSendtoX, func(t *env) []any {
			fd := socketFD(t, unix.AF_INET, unix.SOCK_DGRAM)
			a := sockaddr(lo4, 53)
			r := t.call("sendto", uintptr(fd), 1, 10, 0, addr(a), uintptr(len(a)))
			return []any{r, missing{}, fd, 10, missing{}}
		}},
		{"sendmsg", "pieces", event.SocketSendmsgX, func(t *env) []any {
			fd := socketFD(t, unix.AF_INET, unix.SOCK_DGRAM)
			r := t.must("sendmsg", uintptr(fd), message(sockaddr(lo4, 53), []byte("one "), []byte("two "), []byte("three")), 0)
			return []any{r, []byte("one two three"), fd, 13, tuple(net.IPv4zero, portOf(t, fd), lo4, 53)}
		}},
		{"sendmsg", "long", event.SocketSendmsgX, func(t *env) []any {
			fd := socketFD(t, unix.AF_INET, unix.SOCK_DGRAM)
			t.origin = wasmabi.OriginCut
			r := t.must("sendmsg", uintptr(fd), message(sockaddr(lo4, 53), long[:50], long), 0)
			return []any{r, append(bytes.Clone(long[:50]), long[:30]...), fd, 350, tuple(net.IPv4zero, portOf(t, fd), lo4, 53)}
		}},
		{"sendmsg", "no message", event.SocketSendmsgX, func(t *env) []any {
			fd := socketFD(t, unix.AF_INET, unix.SOCK_DGRAM)
			t.call("sendmsg", uintptr(fd), 1, 0)
			return []any{errno(unix.EFAULT), []byte{}, fd, 0, missing{}}
		}},
	}
}

func TestSock(t *testing.T) { runCases(t, sockCases()) }
