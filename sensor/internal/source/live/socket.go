package live

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/snapshot"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// socket is what iterators and /proc tell about a socket.
type socket struct {
	family       uint8
	proto        uint8 // wasmabi's file.l4proto
	state        uint8 // TCP_*, include/net/tcp_states.h; also of other protocols
	netns        uint32
	laddr, raddr [16]byte // local and remote; 4 bytes for IPv4
	lport, rport uint16
	path         string // of a unix socket
	peerPath     bool   // path is the other end's
}

const (
	tcpEstablished = 1
	tcpClose       = 7
	tcpListen      = 10
)

// listener is a TCP port that is listened on.
type listener struct {
	netns uint32
	port  uint16
}

// pendingSocket is an IP socket whose role waits until all listeners are known.
type pendingSocket struct {
	f snapshot.File
	k socket
}

// l4proto returns wasmabi's l4proto of a socket's type and protocol.
func l4proto(typ, proto uint16) uint8 {
	switch {
	case proto == unix.IPPROTO_ICMP || proto == unix.IPPROTO_ICMPV6:
		return unix.IPPROTO_ICMP
	case typ == unix.SOCK_RAW:
		return unix.IPPROTO_RAW
	}
	return uint8(proto)
}

// unixName makes the form of a unix socket's name that /proc/net/unix shows: an abstract one begins with @, as does
// each NUL in it.
func unixName(b []byte) string {
	if len(b) > 0 && b[0] == 0 {
		return strings.ReplaceAll(string(b), "\x00", "@")
	}
	return cString(b)
}

// addSocket hands out a socket, or keeps it until listeners are known.
func (s *shot) addSocket(f *snapshot.File, k *socket) {
	f.Family = k.family
	f.OpenFlags &= 1<<6 | 1<<12 // a socket is not opened; O_NONBLOCK and O_CLOEXEC still tell something
	switch k.family {
	case unix.AF_INET, unix.AF_INET6:
		if k.state == tcpListen && k.proto == unix.IPPROTO_TCP {
			s.listening[listener{k.netns, k.lport}] = true
		}
		s.sockets = append(s.sockets, pendingSocket{*f, *k})
		return
	case unix.AF_UNIX:
		f.Kind, f.Name = 'u', k.path
		f.Bits |= wasmabi.FileServer
		if k.path == "" || k.peerPath {
			f.Bits ^= wasmabi.FileServer | wasmabi.FileClient
		}
		if k.state == tcpEstablished {
			f.Bits |= wasmabi.FileConnected
		}
	case unix.AF_NETLINK:
		f.Kind = 'n'
	default:
		f.Kind = 'o'
	}
	s.addFile(f)
}

// emitSockets hands out the IP sockets. A connected socket whose local port is listened on in its network namespace
// was accepted there: its process is the server, even if another process listens.
func (s *shot) emitSockets() {
	for i := range s.sockets {
		p := &s.sockets[i]
		p.k.fill(&p.f, s.listening[listener{p.k.netns, p.k.lport}])
		s.addFile(&p.f)
	}
}

// fill sets the fields of an IP socket's file.
func (k *socket) fill(f *snapshot.File, accepted bool) {
	local, remote := k.addr(k.laddr), k.addr(k.raddr)
	f.Kind, f.L4Proto = '4', k.proto
	if k.family == unix.AF_INET6 {
		// A socket for IPv6 that talks IPv4 is one for IPv4.
		if l, r := local.Unmap(), remote.Unmap(); l.Is4() && r.Is4() {
			local, remote = l, r
		} else {
			f.Kind = '6'
		}
	}
	put := func(dst *[16]byte, a netip.Addr) { copy(dst[:], a.AsSlice()) }
	if remote.IsUnspecified() {
		if k.lport == 0 && k.proto != unix.IPPROTO_RAW && k.proto != unix.IPPROTO_ICMP {
			return // neither bound nor connected: no name
		}
		put(&f.Server, local)
		f.SPort = k.lport
		f.Name = endpoint(local, k.lport)
		if k.state == tcpListen || k.proto != unix.IPPROTO_TCP {
			f.Bits |= wasmabi.FileServer
		}
		return
	}
	if k.state != tcpClose || k.proto != unix.IPPROTO_TCP {
		f.Bits |= wasmabi.FileConnected
	}
	if accepted && k.proto == unix.IPPROTO_TCP {
		f.Bits |= wasmabi.FileServer
		put(&f.Client, remote)
		put(&f.Server, local)
		f.CPort, f.SPort = k.rport, k.lport
		f.Name = endpoint(remote, k.rport) + "->" + endpoint(local, k.lport)
		return
	}
	f.Bits |= wasmabi.FileClient
	put(&f.Client, local)
	put(&f.Server, remote)
	f.CPort, f.SPort = k.lport, k.rport
	f.Name = endpoint(local, k.lport) + "->" + endpoint(remote, k.rport)
}

func (k *socket) addr(b [16]byte) netip.Addr {
	if k.family == unix.AF_INET {
		return netip.AddrFrom4([4]byte(b[:4]))
	}
	return netip.AddrFrom16(b)
}

func endpoint(a netip.Addr, port uint16) string {
	return a.String() + ":" + strconv.Itoa(int(port))
}

// The tables of sockets in /proc/PID/net and how to read them.
var socketTables = [...]struct {
	name   string
	family uint8
	proto  uint8
}{
	{"tcp", unix.AF_INET, unix.IPPROTO_TCP}, {"udp", unix.AF_INET, unix.IPPROTO_UDP},
	{"raw", unix.AF_INET, unix.IPPROTO_RAW}, {"icmp", unix.AF_INET, unix.IPPROTO_ICMP},
	{"udplite", unix.AF_INET, 136},
	{"tcp6", unix.AF_INET6, unix.IPPROTO_TCP}, {"udp6", unix.AF_INET6, unix.IPPROTO_UDP},
	{"raw6", unix.AF_INET6, unix.IPPROTO_RAW}, {"icmp6", unix.AF_INET6, unix.IPPROTO_ICMP},
	{"unix", unix.AF_UNIX, 0}, {"netlink", unix.AF_NETLINK, 0}, {"packet", unix.AF_PACKET, 0},
}

// maxSocketTable bounds the bytes read of one table, some 200,000 sockets.
const maxSocketTable = 32 << 20

// sockets4ns reads the sockets of the network namespace of a process, by inode.
func (s *shot) sockets4ns(pid int32, netns uint32) map[uint64]*socket {
	out := map[uint64]*socket{}
	for _, t := range socketTables {
		s.proc.lines(pidPath(pid, "net/"+t.name), maxSocketTable, func(line []byte) {
			k := &socket{family: t.family, proto: t.proto, netns: netns}
			ino, ok := k.parse(line)
			if !ok {
				return
			}
			if k.state == tcpListen && k.proto == unix.IPPROTO_TCP {
				s.listening[listener{netns, k.lport}] = true
			}
			out[ino] = k
		})
	}
	return out
}

// lines calls fn for each line of a file, up to limit bytes; lines longer than the buffer are skipped.
func (p *procfs) lines(name string, limit int, fn func([]byte)) {
	fd, err := unix.Openat(p.dir, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	buf, n, skip := p.buf, 0, false
	for total := 0; total < limit; {
		m, err := unix.Read(fd, buf[n:])
		if err == unix.EINTR {
			continue
		}
		if err != nil || m <= 0 {
			return
		}
		total += m
		n += m
		from := 0
		for {
			i := bytes.IndexByte(buf[from:n], '\n')
			if i < 0 {
				break
			}
			if !skip {
				fn(buf[from : from+i])
			}
			skip = false
			from += i + 1
		}
		if n = copy(buf, buf[from:n]); n == len(buf) {
			n, skip = 0, true
		}
	}
}

// parse reads one line of a table; false for the heading and what doesn't fit.
func (k *socket) parse(line []byte) (ino uint64, ok bool) {
	num := func(b []byte, base int) uint64 {
		v, err := strconv.ParseUint(string(b), base, 64)
		if err != nil {
			ok = false
		}
		return v
	}
	ok = true
	f := bytes.Fields(line)
	switch k.family {
	case unix.AF_UNIX: // Num RefCount Protocol Flags Type St Inode Path
		if len(f) < 7 || f[0][len(f[0])-1] != ':' {
			return 0, false
		}
		ino = num(f[6], 10)
		if num(f[5], 16) == 3 { // SS_CONNECTED, include/uapi/linux/net.h
			k.state = tcpEstablished
		}
		if num(f[3], 16)&0x10000 != 0 { // __SO_ACCEPTCON
			k.state = tcpListen
		}
		if len(f) > 7 {
			// A path may hold blanks: it is the rest of the line.
			k.path = string(line[bytes.Index(line, f[6])+len(f[6])+1:])
		}
	case unix.AF_NETLINK: // sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode
		if len(f) < 10 || string(f[0]) == "sk" {
			return 0, false
		}
		ino = num(f[9], 10)
	case unix.AF_PACKET: // sk RefCnt Type Proto Iface R Rmem User Inode
		if len(f) < 9 || string(f[0]) == "sk" {
			return 0, false
		}
		ino = num(f[8], 10)
	default: // sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode
		if len(f) < 10 || f[0][len(f[0])-1] != ':' {
			return 0, false
		}
		var ok1, ok2 bool
		k.laddr, k.lport, ok1 = k.hexEndpoint(f[1])
		k.raddr, k.rport, ok2 = k.hexEndpoint(f[2])
		k.state = uint8(num(f[3], 16))
		ino = num(f[9], 10)
		if k.proto == unix.IPPROTO_RAW && (k.lport == unix.IPPROTO_ICMP || k.lport == unix.IPPROTO_ICMPV6) {
			k.proto = unix.IPPROTO_ICMP // its port is the protocol
		}
		ok = ok && ok1 && ok2
	}
	return ino, ok
}

// hexEndpoint reads an address as /proc/net/tcp writes it: words of 32 bits in the machine's order, a colon, the port.
func (k *socket) hexEndpoint(b []byte) (addr [16]byte, port uint16, ok bool) {
	a, p, found := bytes.Cut(b, []byte(":"))
	size := 4
	if k.family == unix.AF_INET6 {
		size = 16
	}
	if !found || len(a) != 2*size {
		return addr, 0, false
	}
	var raw [16]byte
	if _, err := hex.Decode(raw[:size], a); err != nil {
		return addr, 0, false
	}
	for i := 0; i < size; i += 4 {
		binary.NativeEndian.PutUint32(addr[i:], binary.BigEndian.Uint32(raw[i:]))
	}
	v, err := strconv.ParseUint(string(p), 16, 16)
	return addr, uint16(v), err == nil
}
