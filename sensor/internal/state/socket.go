package state

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"net/netip"
	"strconv"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/snapshot"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// Address families, socket types and protocols, as the event format has them.
const (
	afUnix    = 1
	afInet    = 2
	afInet6   = 10
	afNetlink = 16

	sockStream  = 1
	sockDgram   = 2
	sockRaw     = 3
	sockType    = 0xF
	sockCloexec = 0o2000000

	protoICMP = 1
	protoTCP  = 6
	protoUDP  = 17
	protoRaw  = 255

	eINTR       = 4
	eINPROGRESS = 115
	eRESTARTSYS = 512 // include/linux/errno.h: what a call has that a signal ends, before it gives EINTR or is made again
)

// addr is an address of a socket: 4 or 16 bytes, and the port.
type addr struct {
	ip   [16]byte
	port uint16
}

// tuple is a socktuple or a sockaddr parameter.
type tuple struct {
	kind     byte // '4', '6', 'u', 0 for what can't be read
	family   byte
	src, dst addr
	from, to uint64 // unix: addresses of the kernel's sockets
	path     []byte // unix: a view of the parameter
}

// mapped reports whether an IPv6 address stands for an IPv4 one, as Falco has it: all zeros do.
func mapped(ip []byte) bool {
	for _, b := range ip[:10] {
		if b != 0 {
			return false
		}
	}
	if ip[10] == 0xFF && ip[11] == 0xFF {
		return true
	}
	return bytes.Equal(ip[10:16], []byte{0, 0, 0, 0, 0, 0})
}

// readTuple reads parameter i, a socktuple.
func readTuple(c *call, i int) (t tuple) {
	b, ok := c.r.Param(i)
	if !ok || len(b) == 0 {
		return t
	}
	switch t.family = b[0]; {
	case t.family == afInet && len(b) == 13:
		t.kind = '4'
		copy(t.src.ip[:], b[1:5])
		t.src.port = le.Uint16(b[5:])
		copy(t.dst.ip[:], b[7:11])
		t.dst.port = le.Uint16(b[11:])
	case t.family == afInet6 && len(b) == 37:
		t.src.port, t.dst.port = le.Uint16(b[17:]), le.Uint16(b[35:])
		if mapped(b[1:17]) && mapped(b[19:35]) {
			t.kind = '4'
			copy(t.src.ip[:], b[13:17])
			copy(t.dst.ip[:], b[31:35])
			break
		}
		t.kind = '6'
		copy(t.src.ip[:], b[1:17])
		copy(t.dst.ip[:], b[19:35])
	case t.family == afUnix && len(b) >= 17:
		t.kind = 'u'
		t.from, t.to = le.Uint64(b[1:]), le.Uint64(b[9:])
		t.path = cstr(b[17:])
	}
	return t
}

// readAddr reads parameter i, a sockaddr, into dst or path.
func readAddr(c *call, i int) (t tuple) {
	b, ok := c.r.Param(i)
	if !ok || len(b) == 0 {
		return t
	}
	switch t.family = b[0]; {
	case t.family == afInet && len(b) == 7:
		t.kind = '4'
		copy(t.dst.ip[:], b[1:5])
		t.dst.port = le.Uint16(b[5:])
	case t.family == afInet6 && len(b) == 19:
		t.dst.port = le.Uint16(b[17:])
		if mapped(b[1:17]) {
			t.kind = '4'
			copy(t.dst.ip[:], b[13:17])
			break
		}
		t.kind = '6'
		copy(t.dst.ip[:], b[1:17])
	case t.family == afUnix && len(b) >= 1:
		t.kind = 'u'
		t.path = cstr(b[1:])
	}
	return t
}

// appendAddr appends address and port, or the address alone, as Falco writes them: IPv6 without brackets.
func appendAddr(b []byte, kind byte, ip []byte, port uint16, ports bool) []byte {
	if kind == '4' {
		b = netip.AddrFrom4([4]byte(ip[:4])).AppendTo(b)
	} else {
		b = netip.AddrFrom16([16]byte(ip[:16])).AppendTo(b)
	}
	if ports {
		b = strconv.AppendUint(append(b, ':'), uint64(port), 10)
	}
	return b
}

// appendInetName appends the name of an IP socket from its record: client->server, or what a server listens on.
func appendInetName(b []byte, r []byte) []byte {
	kind, bit := r[wasmabi.FileKind], r[wasmabi.FileBits]
	cip, sip := r[wasmabi.FileCip:wasmabi.FileCip+16], r[wasmabi.FileSip:wasmabi.FileSip+16]
	cport, sport := get16(r, wasmabi.FileCport), get16(r, wasmabi.FileSport)
	l4 := r[wasmabi.FileL4proto]
	ports := l4 != protoICMP && l4 != protoRaw
	if bit&wasmabi.FileServer == 0 || bit&wasmabi.FileConnected != 0 || cport != 0 {
		b = appendAddr(b, kind, cip, cport, ports)
		b = append(b, "->"...)
	}
	return appendAddr(b, kind, sip, sport, ports)
}

// appendUnixName appends the name of a connected unix socket: the kernel's addresses of both ends and the path.
func appendUnixName(b []byte, t *tuple) []byte {
	b = strconv.AppendUint(b, t.from, 16)
	b = append(b, "->"...)
	b = strconv.AppendUint(b, t.to, 16)
	b = append(b, ' ')
	return append(b, t.path...)
}

// rename gives the file in slot f a name and notes that it changed.
func (s *State) rename(c *call, f uint32, name []byte) {
	if !bytes.Equal(s.a.Strings.Get(get32(s.a.Files.Record(f), wasmabi.FileName)), name) {
		s.setName(f, name, nil)
		c.bits |= wasmabi.BitNameChanged
	}
}

// setInet sets kind, client and server of the record r, and drops what another kind left there.
func setInet(r []byte, t *tuple, client, server *addr) {
	r[wasmabi.FileKind], r[wasmabi.FileFamily] = t.kind, t.family
	copy(r[wasmabi.FileCip:], client.ip[:])
	copy(r[wasmabi.FileSip:], server.ip[:])
	put16(r, wasmabi.FileCport, client.port)
	put16(r, wasmabi.FileSport, server.port)
}

// newSocket makes the record of a socket of a family.
func (s *State) newSocket(c *call, family byte, l4 byte, flags uint32) uint32 {
	kind := byte('o')
	switch family {
	case afUnix:
		kind = 'u'
	case afInet:
		kind = '4'
	case afInet6:
		kind = '6'
	case afNetlink:
		kind = 'n'
	}
	f := s.addKind(c, kind, flags)
	if f != 0 {
		r := s.a.Files.Record(f)
		r[wasmabi.FileFamily], r[wasmabi.FileL4proto] = family, l4
	}
	return f
}

// l4Of returns the protocol of an IP socket, 0 for one that isn't told apart.
func l4Of(typ, proto uint32) byte {
	raw := typ&sockType == sockRaw
	switch proto {
	case protoTCP, protoUDP, protoICMP:
		if raw {
			return protoRaw
		}
		return byte(proto)
	case protoRaw:
		return protoRaw
	case 0:
		switch typ & sockType {
		case sockStream:
			return protoTCP
		case sockDgram:
			return protoUDP
		case sockRaw:
			return protoRaw
		}
	}
	return 0
}

func (s *State) socket(c *call) {
	fd, ok := c.newFD()
	c.fd = -1
	if !ok && !c.unnumbered() || c.t == 0 {
		return
	}
	domain, typ, proto := paramFlags(c.r, 1), paramFlags(c.r, 2), paramFlags(c.r, 3)
	flags := paramFlags(c.r, 4)
	l4 := byte(0)
	if domain == afInet || domain == afInet6 {
		l4 = l4Of(typ, proto)
	}
	family := byte(0xFF)
	if domain < 0xFF {
		family = byte(domain)
	}
	f := s.newSocket(c, family, l4, flags)
	if f == 0 {
		return
	}
	c.file, c.fd = f, fd
	if !ok {
		s.onlyHere(c)
		return
	}
	s.addFD(c.t, fd, f, flags&oCloexec != 0 || typ&sockCloexec != 0)
}

func (s *State) socketpair(c *call) {
	a, ok1 := paramFD(c.r, 1)
	b, ok2 := paramFD(c.r, 2)
	if !c.ok() || !ok1 || !ok2 || a == b || c.t == 0 {
		return
	}
	typ := paramFlags(c.r, 6)
	src, _ := param64(c.r, 3)
	dst, _ := param64(c.r, 4)
	for _, fd := range [...]int32{b, a} { // the event's file is the first
		f := s.newSocket(c, afUnix, 0, 0)
		if f == 0 {
			continue
		}
		r := s.a.Files.Record(f)
		puti64(r, wasmabi.FileCip, src)
		puti64(r, wasmabi.FileSip, dst)
		r[wasmabi.FileBits] |= wasmabi.FileConnected
		c.file, c.fd = f, fd
		s.addFD(c.t, fd, f, typ&sockCloexec != 0)
		src, dst = dst, src
	}
}

// socketOf returns the open file of the event's fd for a change; where the fd isn't known a socket of the family is
// made. 0 when there is none.
func (s *State) socketOf(c *call, family, l4 byte) uint32 {
	s.use(c)
	if c.t == 0 || c.fd < 0 {
		return 0
	}
	tab := s.side[c.t].tab
	if c.file == 0 && family != 0 {
		f := s.newSocket(c, family, l4, 0)
		if f == 0 {
			return 0
		}
		c.file = f
		s.addFD(c.t, c.fd, f, false)
	}
	return s.fdEntry(tab, c.fd) >> 1
}

// change makes the event's file writable.
func (s *State) change(c *call, o uint32) []byte {
	c.file = s.writable(o)
	return s.a.Files.Record(c.file)
}

func (s *State) bind(c *call) {
	t := readAddr(c, 1)
	if !c.ok() || t.kind == 0 {
		s.use(c)
		return
	}
	o := s.socketOf(c, t.family, 0)
	if o == 0 {
		return
	}
	r := s.change(c, o)
	if t.kind == 'u' {
		s.rename(c, c.file, t.path)
		return
	}
	if chosen, ok := c.r.Param(3); ok && len(chosen) == 2 {
		t.dst.port = le.Uint16(chosen)
	}
	if t.dst.port > 0 {
		setInet(r, &t, &addr{}, &t.dst)
		r[wasmabi.FileBits] |= wasmabi.FileServer
	}
	// The name is that of the address as given, IPv6 even where it stands for IPv4.
	b, _ := c.r.Param(1)
	kind, ip := byte('4'), b[1:]
	if t.family == afInet6 {
		kind = '6'
	}
	s.rename(c, c.file, appendAddr(s.buf[:0], kind, ip, t.dst.port, true))
	if t.dst.port == 0 {
		s.askFile(c, c.fd, false) // the kernel has chosen one
	}
}

// listen makes a socket a server, also one that never was bound.
func (s *State) listen(c *call) {
	if !c.ok() {
		s.use(c)
		return
	}
	if o := s.socketOf(c, 0, 0); o != 0 && s.a.Files.Record(c.file)[wasmabi.FileBits]&wasmabi.FileServer == 0 {
		r := s.change(c, o)
		r[wasmabi.FileBits] = r[wasmabi.FileBits]&^wasmabi.FileClient | wasmabi.FileServer
		if k := r[wasmabi.FileKind]; (k == '4' || k == '6') && get16(r, wasmabi.FileSport) == 0 {
			s.askFile(c, c.fd, false)
		}
	}
}

// connect sets both ends of the event's socket. A connect in progress counts as one until it is told that it has failed, by
// getsockopt or the next connect, if anybody asks. So does one that a signal ended: the kernel goes on connecting (connect(2), EINTR).
func (s *State) connect(c *call) {
	interrupted := c.m.Res == -eINTR || c.m.Res == -eRESTARTSYS
	if !c.m.HasRes || c.m.Res < 0 && c.m.Res != -eINPROGRESS && !interrupted {
		if ends(-c.m.Res) {
			s.disconnect(c)
			return
		}
		s.use(c)
		return
	}
	t := readTuple(c, 1)
	if t.kind == 0 {
		// TCP fast open: the socket has no peer yet.
		if t = readAddr(c, 3); t.kind == 0 {
			s.use(c)
			return
		}
	}
	if interrupted && t.kind == 'u' { // it has waited for room at the other end, and doesn't any more
		s.use(c)
		return
	}
	if _, told := c.r.Param(2); !told && c.t != 0 && c.r.Origin()&wasmabi.OriginIoUring != 0 {
		s.connectUnnumbered(c, &t)
		return
	}
	o := s.socketOf(c, t.family, 0)
	if o == 0 {
		return
	}
	r := s.change(c, o)
	bit := r[wasmabi.FileBits] | wasmabi.FileConnected
	if t.kind == 'u' {
		if bit&(wasmabi.FileClient|wasmabi.FileServer) == 0 {
			bit |= wasmabi.FileClient
		}
		r[wasmabi.FileBits] = bit
		s.setUnix(c, c.file, &t)
		return
	}
	client, server := &t.src, &t.dst
	if bit&wasmabi.FileServer != 0 && r[wasmabi.FileL4proto] == protoUDP {
		client, server = server, client // a bound datagram socket that picks its client
	} else {
		bit = bit&^wasmabi.FileServer | wasmabi.FileClient
	}
	r[wasmabi.FileBits] = bit
	setInet(r, &t, client, server)
	s.rename(c, c.file, appendInetName(s.buf[:0], r))
}

// sockoptErrno is how a value begins that is an error number: 0 or negative, in 8 bytes.
const sockoptErrno = 1

// getsockopt takes the error that a socket kept (SO_ERROR): what its connection came to.
func (s *State) getsockopt(c *call) {
	const solSocket, soError = 1, 4 // the event format's numbers
	val, ok := c.r.Param(4)
	if ok && c.ok() && paramFlags(c.r, 2) == solSocket && paramFlags(c.r, 3) == soError &&
		len(val) == 9 && val[0] == sockoptErrno && ends(-int64(binary.LittleEndian.Uint64(val[1:]))) {
		s.disconnect(c)
		return
	}
	s.use(c)
}

// ends reports whether a TCP connection, or the attempt at one, is over with the error number e (tcp_reset and tcp_write_err,
// net/ipv4; tcp_v4_err for those that ICMP tells).
func ends(e int64) bool {
	switch e {
	case 101, 103, 104, 110, 111, 112, 113: // ENETUNREACH, ECONNABORTED, ECONNRESET, ETIMEDOUT, ECONNREFUSED, EHOSTDOWN, EHOSTUNREACH
		return true
	}
	return false
}

// disconnect says that the event's TCP socket isn't connected any more. A datagram socket stays so, whatever it is told.
func (s *State) disconnect(c *call) {
	o := s.socketOf(c, 0, 0)
	if o == 0 {
		return
	}
	r := s.a.Files.Record(c.file)
	if r[wasmabi.FileL4proto] == protoTCP && r[wasmabi.FileBits]&wasmabi.FileConnected != 0 {
		s.change(c, o)[wasmabi.FileBits] &^= wasmabi.FileConnected
	}
}

// setUnix sets both ends of a unix socket. For it the record's addresses hold the kernel's, as a u64 each.
func (s *State) setUnix(c *call, f uint32, t *tuple) {
	r := s.a.Files.Record(f)
	r[wasmabi.FileKind], r[wasmabi.FileFamily] = 'u', afUnix
	put64(r, wasmabi.FileCip, t.from)
	put64(r, wasmabi.FileSip, t.to)
	s.rename(c, f, appendUnixName(s.buf[:0], t))
}

func (s *State) accept(c *call) {
	fd, ok := c.newFD()
	c.fd = -1
	if !ok && !c.unnumbered() || c.t == 0 {
		return
	}
	c.fd = fd
	t := readTuple(c, 1)
	if t.kind == 0 {
		if ok {
			s.closeFD(s.side[c.t].tab, fd) // it is something else now, but what isn't known
		}
		return
	}
	flags := uint32(0)
	if c.r.Type() == event.SocketAccept4V6X {
		flags = paramFlags(c.r, 5) & oCloexec
	}
	l4 := byte(0)
	if t.kind != 'u' {
		l4 = protoTCP
	}
	f := s.newSocket(c, t.family, l4, flags)
	if f == 0 {
		return
	}
	r := s.a.Files.Record(f)
	r[wasmabi.FileBits] |= wasmabi.FileServer | wasmabi.FileConnected
	if t.kind == 'u' {
		s.setUnix(c, f, &t)
	} else {
		setInet(r, &t, &t.src, &t.dst)
		s.rename(c, f, appendInetName(s.buf[:0], r))
	}
	c.file = f
	if !ok {
		s.onlyHere(c)
		return
	}
	s.addFD(c.t, fd, f, flags != 0)
}

// transfer follows a send or receive: on a datagram socket, or one whose ends aren't known, it tells them. The tuple goes
// from the sender to the receiver.
func (s *State) transfer(c *call, param int, recv bool) {
	s.use(c)
	if !c.ok() || c.t == 0 || c.fd < 0 {
		return
	}
	if recv && (c.file == 0 || s.a.Files.Record(c.file)[wasmabi.FileKind] == 'u') {
		s.received(c)
	}
	if c.file != 0 {
		r := s.a.Files.Record(c.file)
		if r[wasmabi.FileL4proto] == protoTCP && get32(r, wasmabi.FileName) != 0 {
			return
		}
	}
	t := readTuple(c, param)
	if t.kind == 0 || c.file == 0 && (recv || t.kind == 'u') {
		return
	}
	o := s.socketOf(c, t.family, protoUDP)
	if o == 0 {
		return
	}
	r := s.a.Files.Record(c.file)
	if t.kind == 'u' {
		a, b := get64(r, wasmabi.FileCip), get64(r, wasmabi.FileSip)
		// Sending and receiving name the ends in turn; the name stays as it was first.
		if get32(r, wasmabi.FileName) == 0 || (a != t.from || b != t.to) && (a != t.to || b != t.from) {
			s.change(c, o)
			s.setUnix(c, c.file, &t)
		}
		return
	}
	bit := r[wasmabi.FileBits]
	if bit&(wasmabi.FileClient|wasmabi.FileServer) == 0 {
		// A server starts with a receive and a client with a send.
		bit |= wasmabi.FileClient
		if recv {
			bit ^= wasmabi.FileClient | wasmabi.FileServer
		}
	}
	bit |= wasmabi.FileConnected
	client, server := &t.src, &t.dst
	if recv != (bit&wasmabi.FileServer != 0) {
		client, server = server, client
	}
	l4 := r[wasmabi.FileL4proto]
	if l4 == 0 {
		l4 = protoUDP // the ends of a TCP connection would be known
	}
	if bit == r[wasmabi.FileBits] && l4 == r[wasmabi.FileL4proto] && t.kind == r[wasmabi.FileKind] && get32(r, wasmabi.FileName) != 0 &&
		[16]byte(r[wasmabi.FileCip:]) == client.ip && [16]byte(r[wasmabi.FileSip:]) == server.ip &&
		get16(r, wasmabi.FileCport) == client.port && get16(r, wasmabi.FileSport) == server.port {
		return
	}
	r = s.change(c, o)
	r[wasmabi.FileBits], r[wasmabi.FileL4proto] = bit, l4
	setInet(r, &t, client, server)
	s.rename(c, c.file, appendInetName(s.buf[:0], r))
}

// received follows the fds that came with a message (cmsg(3), SCM_RIGHTS): what they were before is gone, and what they
// are now Config.AskFile may find out.
func (s *State) received(c *call) {
	i := 0
	switch c.r.Type() {
	case event.SocketRecvmsgX:
		i = 4
	case event.SocketRecvmmsgX:
		i = 5
	default:
		return
	}
	b, _ := c.r.Param(i)
	// struct cmsghdr is a size_t and two ints, and what follows is aligned to size_t.
	word := bits.UintSize / 8
	if c.r.Origin()&wasmabi.OriginCompat != 0 {
		word = 4
	}
	for len(b) >= word+8 {
		n := uint64(le.Uint32(b))
		if word == 8 {
			n = le.Uint64(b)
		}
		if n < uint64(word+8) || n > uint64(len(b)) {
			return
		}
		const solSocket, scmRights = 1, 1
		if le.Uint32(b[word:]) == solSocket && le.Uint32(b[word+4:]) == scmRights {
			for d := b[word+8 : n]; len(d) >= 4; d = d[4:] {
				s.receivedFD(c, int32(le.Uint32(d)))
			}
		}
		next := (int(n) + word - 1) &^ (word - 1)
		if next >= len(b) {
			return
		}
		b = b[next:]
	}
}

func (s *State) receivedFD(c *call, fd int32) {
	if fd < 0 || fd > maxFD || fd == c.fd {
		return
	}
	s.closeFD(s.side[c.t].tab, fd)
	// Until it is known it is of no kind.
	if f := s.addKind(c, 0, 0); f != 0 {
		s.addFD(c.t, fd, f, c.r.Origin()&wasmabi.OriginCloexec != 0)
		s.askFile(c, fd, false)
	}
}

// askFile asks what fd is, whose record is incomplete, or may be of a file that is closed again. False when nobody will say.
func (s *State) askFile(c *call, fd int32, again bool) bool {
	a, ok := s.fileAsk(c, fd)
	a.Again = again
	return ok && s.askFor(a, c.r.TS())
}

// fileAsk makes the question what fd is; false when it isn't known, or nobody will say.
func (s *State) fileAsk(c *call, fd int32) (a snapshot.FileAsk, ok bool) {
	f := s.OpenFile(c.t, int64(fd))
	if s.cfg.AskFile == nil || f == 0 {
		return a, false
	}
	return snapshot.FileAsk{PID: geti64(s.rec(c.t), wasmabi.ThreadPid), Other: s.sharer(c.t), FD: fd, TS: get64(s.a.Files.Record(f), wasmabi.FileTs)}, true
}

// askFor asks, unless too much was asked of late.
func (s *State) askFor(a snapshot.FileAsk, now uint64) bool {
	if !s.asks.take(now, s.cfg.Asks) || !s.cfg.AskFile(a) {
		s.st.FDsUnasked++
		return false
	}
	s.st.FDsAsked++
	return true
}

// sharer returns another process with the fd table of t's: its parent or one of its youngest children, 0 for neither.
func (s *State) sharer(t uint32) int64 {
	tab, l := s.side[t].tab, s.leader(t)
	if p := get32(s.rec(l), wasmabi.ThreadParent); p != 0 && s.side[p].tab == tab {
		return geti64(s.rec(p), wasmabi.ThreadPid)
	}
	k := s.side[l].child
	for range 16 {
		if k == 0 {
			break
		}
		if s.side[k].tab == tab {
			return geti64(s.rec(k), wasmabi.ThreadPid)
		}
		k = s.side[k].next
	}
	return 0
}

// FoundFile takes an answer to Config.AskFile. It changes nothing when the fd is another by now, or events have told more.
func (s *State) FoundFile(a snapshot.FileAsk, sf *snapshot.File) {
	if a.FD < 0 || a.FD > maxFD {
		return
	}
	t := s.tids.get(uint64(a.PID))
	if t == 0 {
		t = s.tids.get(uint64(a.Other))
	}
	if t == 0 {
		return
	}
	tab := s.side[t].tab
	// What is found of one fd says nothing about those that are still asked for.
	defer func(changes uint32) { s.tabs[tab].changes = changes }(s.tabs[tab].changes)
	e := s.fdEntry(tab, a.FD)
	if e == 0 {
		if a.Again {
			s.foundCopied(t, a, sf)
		}
		return
	}
	r := s.a.Files.Record(s.open[e>>1].slot)
	if a.Again {
		switch {
		case get64(r, wasmabi.FileTs) != a.TS: // an event has told
		case sf.FD < 0:
			s.closeFD(s.side[t].tab, a.FD)
			s.st.FDsFound++
		case !s.sameFile(r, sf):
			s.putFile(t, a.FD, sf) // what it was may have other fds
			s.st.FDsFound++
		}
		return
	}
	kind := r[wasmabi.FileKind]
	inet := kind == '4' || kind == '6'
	if get64(r, wasmabi.FileTs) != a.TS || kind != 0 && (!inet || sf.Kind != '4' && sf.Kind != '6' || get16(r, wasmabi.FileSport) != 0) {
		return
	}
	f := s.writable(e >> 1)
	// It may have been looked at before it listened or connected, of which events have told meanwhile.
	told := s.a.Files.Record(f)[wasmabi.FileBits] & (wasmabi.FileClient | wasmabi.FileServer | wasmabi.FileConnected)
	s.fillFile(f, sf)
	s.a.Files.Record(f)[wasmabi.FileBits] |= told
	if kind == 0 {
		s.setEntryCloexec(s.side[t].tab, a.FD, sf.OpenFlags&oCloexec != 0)
	}
	s.st.FDsFound++
}
