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

// datagrams returns a UDP socket on ip that holds what, and the ports of both ends.
func datagrams(t *env, ip net.IP, what ...string) (fd, from, port int) {
	t.Helper()
	fd = socketFD(t, int(family(ip)), unix.SOCK_DGRAM|unix.SOCK_NONBLOCK)
	if err := bindTo(fd, ip, 0); err != nil {
		t.Fatal(err)
	}
	port = portOf(t, fd)
	out := socketFD(t, int(family(ip)), unix.SOCK_DGRAM)
	if err := bindTo(out, ip, 0); err != nil {
		t.Fatal(err)
	}
	for _, s := range what {
		if err := unix.Sendto(out, []byte(s), 0, goSockaddr(ip, port)); err != nil {
			t.Fatal(err)
		}
	}
	return fd, portOf(t, out), port
}

// streams returns both ends of a TCP connection, of which the first has got what; and the other end's port and its own.
func streams(t *env, what string) (fd, from, port int) {
	t.Helper()
	lfd, port := listening(t, lo4)
	out := socketFD(t, unix.AF_INET, unix.SOCK_STREAM)
	if err := unix.Connect(out, goSockaddr(lo4, port)); err != nil {
		t.Fatal(err)
	}
	fd, _, err := unix.Accept4(lfd, unix.SOCK_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, int64(fd))
	if what != "" {
		if _, err := unix.Write(out, []byte(what)); err != nil {
			t.Fatal(err)
		}
	}
	return fd, portOf(t, out), port
}

// messages is the address of an array of struct mmsghdr.
func messages(heads ...unix.Msghdr) uintptr {
	type mmsghdr struct {
		head unix.Msghdr
		n    uint32
	}
	v := make([]mmsghdr, len(heads)+1)
	for i := range heads {
		v[i].head = heads[i]
	}
	keptMessages = append(keptMessages, v)
	return uintptr(unsafe.Pointer(&v[0]))
}

var keptMessages []any

// head is a struct msghdr; control is room for control data, nil for none.
func head(name, control []byte, pieces ...[]byte) unix.Msghdr {
	h := unix.Msghdr{Iov: (*unix.Iovec)(nil), Name: unsafe.SliceData(name), Namelen: uint32(len(name)), Control: unsafe.SliceData(control)}
	iov := make([]unix.Iovec, len(pieces)+1)
	for i, p := range pieces {
		iov[i].Base = unsafe.SliceData(p)
		iov[i].SetLen(len(p))
		addr(p)
	}
	h.Iov = &iov[0]
	h.SetIovlen(len(pieces))
	h.SetControllen(len(control))
	addr(name)
	addr(control)
	return h
}

func recvCases() []callCase {
	return []callCase{
		{"recvfrom", "datagram", event.SocketRecvfromX, func(t *env) []any {
			fd, from, port := datagrams(t, lo4, "hello")
			a, n := make([]byte, 32), binary.NativeEndian.AppendUint32(nil, 32)
			r := t.must("recvfrom", uintptr(fd), addr(make([]byte, 99)), 99, 0, addr(a), addr(n))
			return []any{r, []byte("hello"), tuple(lo4, from, lo4, port), fd, 99}
		}},
		{"recvfrom", "IPv6 datagram", event.SocketRecvfromX, func(t *env) []any {
			fd, from, port := datagrams(t, lo6, "hello")
			a, n := make([]byte, 32), binary.NativeEndian.AppendUint32(nil, 32)
			r := t.must("recvfrom", uintptr(fd), addr(make([]byte, 99)), 99, 0, addr(a), addr(n))
			return []any{r, []byte("hello"), tuple(lo6, from, lo6, port), fd, 99}
		}},
		{"recvfrom", "nobody asks from where", event.SocketRecvfromX, func(t *env) []any {
			fd, _, port := datagrams(t, lo4, "hello")
			r := t.must("recvfrom", uintptr(fd), addr(make([]byte, 99)), 99, 0, 0, 0)
			return []any{r, []byte("hello"), tuple(net.IPv4zero, 0, lo4, port), fd, 99}
		}},
		{"recvfrom", "stream, long", event.SocketRecvfromX, func(t *env) []any {
			fd, from, port := streams(t, string(digits(200)))
			t.origin = wasmabi.OriginCut
			r := t.must("recvfrom", uintptr(fd), addr(make([]byte, 200)), 200, 0, 0, 0)
			return []any{r, digits(80), tuple(lo4, from, lo4, port), fd, 200}
		}},
		{"recvfrom", "unix", event.SocketRecvfromX, func(t *env) []any {
			p := filepath.Join(t.TempDir(), "s")
			fd := socketFD(t, unix.AF_UNIX, unix.SOCK_DGRAM)
			if err := unix.Bind(fd, &unix.SockaddrUnix{Name: p}); err != nil {
				t.Fatal(err)
			}
			if err := unix.Sendto(socketFD(t, unix.AF_UNIX, unix.SOCK_DGRAM), []byte("log"), 0, &unix.SockaddrUnix{Name: p}); err != nil {
				t.Fatal(err)
			}
			r := t.must("recvfrom", uintptr(fd), addr(make([]byte, 99)), 99, 0, 0, 0)
			return []any{r, []byte("log"), unixTuple(true, false, p), fd, 99}
		}},
		{"recvfrom", "nothing there", event.SocketRecvfromX, func(t *env) []any {
			fd, _, _ := datagrams(t, lo4)
			t.call("recvfrom", uintptr(fd), str("before"), 6, 0, 0, 0)
			return []any{errno(unix.EAGAIN), missing{}, missing{}, fd, 6}
		}},
		{"recvfrom", "no socket", event.SocketRecvfromX, func(t *env) []any {
			fd := devNull(t)
			t.call("recvfrom", fd, str("before"), 6, 0, 0, 0)
			return []any{errno(unix.ENOTSOCK), missing{}, missing{}, fd, 6}
		}},

		{"recvmsg", "datagram", event.SocketRecvmsgX, func(t *env) []any {
			fd, from, port := datagrams(t, lo4, "one two three")
			r := t.must("recvmsg", uintptr(fd), messages(head(make([]byte, 16), nil, make([]byte, 4), make([]byte, 40))), 0)
			return []any{r, 13, []byte("one two three"), tuple(lo4, from, lo4, port), missing{}, fd}
		}},
		{"recvmsg", "long", event.SocketRecvmsgX, func(t *env) []any {
			fd, from, port := streams(t, string(digits(200)))
			t.origin = wasmabi.OriginCut
			r := t.must("recvmsg", uintptr(fd), messages(head(nil, nil, make([]byte, 30), make([]byte, 400))), 0)
			return []any{r, 200, digits(80), tuple(lo4, from, lo4, port), missing{}, fd}
		}},
		{"recvmsg", "an fd", event.SocketRecvmsgX, func(t *env) []any {
			fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			closing(t, int64(fds[0]))
			closing(t, int64(fds[1]))
			if err := unix.Sendmsg(fds[1], []byte("take"), unix.UnixRights(int(devNull(t))), nil, 0); err != nil {
				t.Fatal(err)
			}
			control := make([]byte, unix.CmsgSpace(4)+32)
			r := t.must("recvmsg", uintptr(fds[0]), messages(head(nil, control, make([]byte, 40))), unix.MSG_CMSG_CLOEXEC)
			t.origin |= wasmabi.OriginCloexec
			got := control[:unix.CmsgSpace(4)]
			closing(t, int64(binary.NativeEndian.Uint32(got[unix.CmsgLen(0):])))
			return []any{r, 4, []byte("take"), unixTuple(true, true, ""), got, fds[0]}
		}},
		{"recvmsg", "nothing there", event.SocketRecvmsgX, func(t *env) []any {
			fd, _, _ := datagrams(t, lo4)
			t.call("recvmsg", uintptr(fd), messages(head(nil, make([]byte, 16), []byte("before"))), 0)
			return []any{errno(unix.EAGAIN), 0, missing{}, missing{}, missing{}, fd}
		}},

		{"recvmmsg", "several", event.SocketRecvmmsgX, func(t *env) []any {
			fd, from, port := datagrams(t, lo4, "one", "two", "the third")
			mk := func() unix.Msghdr { return head(make([]byte, 16), nil, make([]byte, 40)) }
			if r := t.must("recvmmsg", uintptr(fd), messages(mk(), mk(), mk(), mk()), 4, unix.MSG_DONTWAIT, 0); r != 3 {
				t.Fatalf("%d messages", r)
			}
			t.made = 3
			return []any{9, fd, 9, []byte("the third"), tuple(lo4, from, lo4, port), missing{}}
		}},
		{"recvmmsg", "nothing there", event.SocketRecvmmsgX, func(t *env) []any {
			fd, _, _ := datagrams(t, lo4)
			t.call("recvmmsg", uintptr(fd), messages(head(nil, nil, []byte("before"))), 1, unix.MSG_DONTWAIT, 0)
			return []any{errno(unix.EAGAIN), fd, 0, missing{}, missing{}, missing{}}
		}},
		{"sendmmsg", "several", event.SocketSendmmsgX, func(t *env) []any {
			fd := socketFD(t, unix.AF_INET, unix.SOCK_DGRAM)
			to := func(port int) []byte { return sockaddr(lo4, port) }
			r := t.must("sendmmsg", uintptr(fd), messages(head(to(53), nil, []byte("one")), head(to(54), nil, []byte("two"), []byte(" and three"))), 2, 0)
			if r != 2 {
				t.Fatalf("%d messages", r)
			}
			t.made = 2
			return []any{13, fd, 13, []byte("two and three"), tuple(net.IPv4zero, portOf(t, fd), lo4, 54)}
		}},
		{"sendmmsg", "long", event.SocketSendmmsgX, func(t *env) []any {
			fd := socketFD(t, unix.AF_INET, unix.SOCK_DGRAM)
			t.origin = wasmabi.OriginCut
			t.must("sendmmsg", uintptr(fd), messages(head(sockaddr(lo4, 53), nil, digits(60), digits(100))), 1, 0)
			return []any{160, fd, 160, append(bytes.Clone(digits(60)), digits(20)...), tuple(net.IPv4zero, portOf(t, fd), lo4, 53)}
		}},
		{"sendmmsg", "many", event.SocketSendmmsgX, func(t *env) []any {
			const sent = 40
			fd := socketFD(t, unix.AF_INET, unix.SOCK_DGRAM)
			var heads []unix.Msghdr
			for range sent {
				heads = append(heads, head(sockaddr(lo4, 53), nil, []byte("x")))
			}
			before := lostOf(t, event.SocketSendmmsgX)
			if r := t.must("sendmmsg", uintptr(fd), messages(heads...), sent, 0); r != sent {
				t.Fatalf("%d messages", r)
			}
			// The kernel lets programs follow on each other some 32 times.
			lost := lostOf(t, event.SocketSendmmsgX) - before
			if lost == 0 || lost > sent-30 {
				t.Errorf("%d of %d are lost", lost, sent)
			}
			t.made = sent - int(lost)
			return []any{1, fd, 1, []byte("x"), tuple(net.IPv4zero, portOf(t, fd), lo4, 53)}
		}},
		{"sendmmsg", "no socket", event.SocketSendmmsgX, func(t *env) []any {
			fd := devNull(t)
			t.call("sendmmsg", fd, messages(head(nil, nil, []byte("x"))), 1, 0)
			return []any{errno(unix.ENOTSOCK), fd, 0, missing{}, missing{}}
		}},
	}
}

func TestReceive(t *testing.T) { runCases(t, recvCases()) }

// lostOf is how many messages of a type the probe could not take so far.
func lostOf(t *env, typ event.Type) uint64 {
	t.Helper()
	c, err := t.l.p.Counters()
	if err != nil {
		t.Fatal(err)
	}
	return c.LostByType[typ][CauseTurn]
}
