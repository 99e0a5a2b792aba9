package replay

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/shikra-sensor/shikra/sensor/internal/capture"
	"github.com/shikra-sensor/shikra/sensor/internal/snapshot"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// kthreadd is the thread id of the parent of all kernel threads.
const kthreadd = 2

// markKernel marks t if it is a kernel thread, which a capture doesn't say: such a thread runs no program.
func markKernel(t *snapshot.Thread) {
	if t.ExePath == "" && len(t.Args) == 0 && (t.TID == kthreadd && t.Comm == "kthreadd" || t.PTID == kthreadd) {
		t.Flags |= wasmabi.ThreadKernel
	}
}

// maxSockets is how many connected sockets are held back until it is known which ports are listened to.
const maxSockets = 16384

// files hands the open files over to a sink. A capture gives the two ends of a socket as here and there; which of them is
// the client follows from whether the port here is one that somebody on the machine listens to, and that is known when
// all fds have been read.
type files struct {
	sink      snapshot.Sink
	held      []snapshot.File
	listening [2]ports // tcp, udp
	unsure    uint64
	name      []byte
}

type ports [65536 / 64]uint64

func (p *ports) set(n uint16)      { p[n>>6] |= 1 << (n & 63) }
func (p *ports) has(n uint16) bool { return p[n>>6]&(1<<(n&63)) != 0 }

func (f *files) ports(l4 uint8) *ports {
	if l4 == 17 {
		return &f.listening[1]
	}
	return &f.listening[0]
}

func (f *files) add(b *capture.File) {
	if b.Kind != '4' && b.Kind != '6' {
		if b.Kind == 'u' {
			// Only the end that was bound has a path, which some writers took with the end of its line.
			b.Name = strings.TrimSuffix(b.Name, "\n")
			b.Bits |= wasmabi.FileClient
			if b.Name != "" {
				b.Bits ^= wasmabi.FileClient | wasmabi.FileServer
			}
		}
		f.sink.AddFile(&b.File)
		return
	}
	unmap(&b.File, b.Listening)
	if b.Listening {
		b.Bits |= wasmabi.FileServer
		f.ports(b.L4Proto).set(b.SPort)
		f.name = appendEnd(f.name[:0], &b.Server, b.SPort, b.Kind)
		b.Name = string(f.name)
		f.sink.AddFile(&b.File)
		return
	}
	if len(f.held) >= maxSockets {
		f.unsure++
		f.hand(&b.File)
		return
	}
	f.held = append(f.held, b.File)
}

// flush hands over what was held back and forgets the listeners.
func (f *files) flush() {
	for i := range f.held {
		f.hand(&f.held[i])
	}
	clear(f.held)
	f.held, f.listening = f.held[:0], [2]ports{}
}

// hand gives a connected socket its role and its name and hands it over.
func (f *files) hand(s *snapshot.File) {
	if f.ports(s.L4Proto).has(s.CPort) {
		s.Client, s.Server, s.CPort, s.SPort = s.Server, s.Client, s.SPort, s.CPort
		s.Bits |= wasmabi.FileServer
	} else {
		s.Bits |= wasmabi.FileClient
	}
	f.name = appendEnd(f.name[:0], &s.Client, s.CPort, s.Kind)
	f.name = append(f.name, "->"...)
	f.name = appendEnd(f.name, &s.Server, s.SPort, s.Kind)
	s.Name = string(f.name)
	f.sink.AddFile(s)
}

// unmap turns an IPv6 socket whose ends are IPv4 addresses in disguise (RFC 4291, 2.5.5.2) into what it is.
func unmap(s *snapshot.File, listening bool) {
	if s.Kind != '6' {
		return
	}
	c, d := netip.AddrFrom16(s.Client), netip.AddrFrom16(s.Server)
	if !d.Is4In6() || !c.Is4In6() && !listening {
		return
	}
	s.Kind, s.Family = '4', 2
	d4 := d.Unmap().As4()
	s.Client, s.Server = [16]byte{}, [16]byte{}
	copy(s.Server[:], d4[:])
	if !listening {
		c4 := c.Unmap().As4()
		copy(s.Client[:], c4[:])
	}
}

// appendEnd appends address:port, as fd.name has it.
func appendEnd(b []byte, a *[16]byte, port uint16, kind byte) []byte {
	if kind == '4' {
		b = netip.AddrFrom4([4]byte(a[:4])).AppendTo(b)
	} else {
		b = netip.AddrFrom16(*a).AppendTo(b)
	}
	return strconv.AppendUint(append(b, ':'), uint64(port), 10)
}
