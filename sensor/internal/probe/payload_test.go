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
