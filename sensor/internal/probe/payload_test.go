package probe

import (
	"testing"
	"unsafe"

	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

// connected returns two ends of a TCP connection on loopback and the ports of the first: its own and the other's.
func connected(t *testing.T) (a, b int, local, remote uint16) {
	t.Helper()
	l, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(l)
	if err := unix.Bind(l, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(l, 1); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(l)
	if err != nil {
		t.Fatal(err)
	}
	if a, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(a, name); err != nil {
		t.Fatal(err)
	}
	if b, _, err = unix.Accept(l); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(a); unix.Close(b) })
	own, err := unix.Getsockname(a)
	if err != nil {
		t.Fatal(err)
	}
	return a, b, uint16(own.(*unix.SockaddrInet4).Port), uint16(name.(*unix.SockaddrInet4).Port)
}

// rawSendto is sendto without an address, which the library makes a sendmsg of.
func rawSendto(fd int, data []byte) (int, error) {
	n, _, errno := unix.Syscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&data[0])), uintptr(len(data)), 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// TestPayload: data is copied of the calls and sockets asked for, and of full-capture ports to the last byte.
func TestPayload(t *testing.T) {
	l := needProbe(t)
	a, _, local, remote := connected(t)
	data := make([]byte, 1000)
	// size returns the bytes of data in the event of a sendto; -1 for none.
	size := func(l *live) int {
		t.Helper()
		tid := 0
		recs := l.inThread(t, []string{"sendto"}, func() {
			tid = unix.Gettid()
			if n, err := rawSendto(a, data); err != nil || n != len(data) {
				t.Error(n, err)
			}
		})
		b, ok := the(t, recs, event.SocketSendtoX, tid).Param(event.SocketSendtoX.Info().ParamIndex("data"))
		if !ok {
			return -1
		}
		return len(b)
	}
	defer func() {
		if err := l.p.SetPayload(nil, nil); err != nil {
			t.Error(err)
		}
	}()
	for _, c := range []struct {
		what  string
		calls []string
		ports []uint16
		want  int
	}{
		{"everything", nil, nil, DefaultSnapLen},
		{"nothing", []string{}, nil, -1},
		{"another call", []string{"sendmsg"}, nil, -1},
		{"this call", []string{"sendto"}, nil, DefaultSnapLen},
		{"the other end's port", []string{"sendto"}, []uint16{7, remote}, DefaultSnapLen},
		{"its own port", []string{"sendto"}, []uint16{local}, DefaultSnapLen},
		{"other ports", []string{"sendto"}, []uint16{7, 9}, -1},
	} {
		if err := l.p.SetPayload(c.calls, c.ports); err != nil {
			t.Fatal(err)
		}
		if got := size(l); got != c.want {
			t.Errorf("%s: %d bytes, want %d", c.what, got, c.want)
		}
	}
	if err := l.p.SetPayload(nil, make([]uint16, MaxPayloadPorts+1)); err == nil {
		t.Error("too many ports are taken")
	}

	p, err := Load(Config{TraceSelf: true, Syscalls: []string{"sendto"}, FullCapture: [2]uint16{remote, remote}})
	if err != nil {
		t.Fatal(err)
	}
	full := attachReader(t, p)
	if err := p.SetPayload([]string{"sendto"}, []uint16{7}); err != nil {
		t.Fatal(err)
	}
	if got := size(full); got != len(data) {
		t.Errorf("a full-capture port: %d bytes of %d", got, len(data))
	}
}

// TestDynamicSnapLen: of the protocols that rules look into more is copied, told by their ports, and of others no more than else.
func TestDynamicSnapLen(t *testing.T) {
	needProbe(t)
	p, err := Load(Config{TraceSelf: true, Syscalls: []string{"sendto"}, DynamicSnapLen: true})
	if err != nil {
		t.Fatal(err)
	}
	l := attachReader(t, p)
	data := make([]byte, 3000)
	for _, c := range []struct{ port, want int }{
		{53, 512}, {8125, 2000}, {3306, 2000}, {5432, 2000}, {27017, 2000}, {52, DefaultSnapLen}, {54, DefaultSnapLen}, {443, DefaultSnapLen},
	} {
		if got := sentTo(t, l, c.port, data); got != c.want {
			t.Errorf("port %d: %d bytes, want %d", c.port, got, c.want)
		}
	}
	// Where nobody looks at the data none is copied, whatever the port.
	if err := p.SetPayload([]string{}, nil); err != nil {
		t.Fatal(err)
	}
	if got := sentTo(t, l, 53, data); got != -1 {
		t.Errorf("nobody looks: %d bytes", got)
	}
}

// TestFullCapturePorts: all of the data is copied for ports from the first to the last of the range, and of no others.
func TestFullCapturePorts(t *testing.T) {
	needProbe(t)
	p, err := Load(Config{TraceSelf: true, Syscalls: []string{"sendto"}, FullCapture: [2]uint16{7001, 7003}})
	if err != nil {
		t.Fatal(err)
	}
	l := attachReader(t, p)
	for _, c := range []struct{ port, size, want int }{
		{7000, 3000, DefaultSnapLen}, {7001, 3000, 3000}, {7002, 3000, 3000}, {7003, 3000, 3000}, {7004, 3000, DefaultSnapLen},
		{7002, 3 * MaxSnapLen, MaxSnapLen},
	} {
		if got := sentTo(t, l, c.port, make([]byte, c.size)); got != c.want {
			t.Errorf("%d bytes to port %d: %d bytes, want %d", c.size, c.port, got, c.want)
		}
	}
}

// sentTo sends data by a datagram to a port of this machine and returns the bytes of it in the event; -1 for none.
func sentTo(t *testing.T, l *live, port int, data []byte) int {
	t.Helper()
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(s)
	if err := unix.Connect(s, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	tid := 0
	recs := l.inThread(t, []string{"sendto"}, func() {
		tid = unix.Gettid()
		if n, err := rawSendto(s, data); err != nil || n != len(data) {
			t.Error(n, err)
		}
	})
	b, ok := the(t, recs, event.SocketSendtoX, tid).Param(event.SocketSendtoX.Info().ParamIndex("data"))
	if !ok {
		return -1
	}
	return len(b)
}

// attachReader attaches p and opens its ring; both end with the test.
func attachReader(t *testing.T, p *Probe) *live {
	t.Helper()
	if err := p.Attach(); err != nil {
		t.Fatal(err)
	}
	rd, err := ringbuf.NewReader(p.Ring())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		rd.Close()
		p.Close()
	})
	return &live{p: p, rd: rd}
}
