package state

import (
	"bytes"

	"github.com/shikra-sensor/shikra/sensor/internal/decode"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// What operations of io_uring do to files that no fd is known of: registered ones, and those of silent successes.

// unnumbered reports whether the call made what no fd is known of. Its event has a file, and the process none.
func (c *call) unnumbered() bool { return c.m.FD == decode.NoNumber }

// onlyHere leaves the event a file of its own that no fd is known of.
func (s *State) onlyHere(c *call) {
	c.fd = decode.NoNumber
	s.freeFile(c.file)
}

// connectUnnumbered makes the file, for the event alone, of a connect on a registered file, which is of no fd.
func (s *State) connectUnnumbered(c *call, t *tuple) {
	l4 := byte(0)
	if t.kind != 'u' {
		l4 = protoTCP // what nearly all are: the event doesn't tell
	}
	f := s.newSocket(c, t.family, l4, 0)
	if f == 0 {
		return
	}
	r := s.a.Files.Record(f)
	r[wasmabi.FileBits] |= wasmabi.FileClient | wasmabi.FileConnected
	if t.kind == 'u' {
		s.setUnix(c, f, t)
	} else {
		setInet(r, t, &t.src, &t.dst)
		s.rename(c, f, appendInetName(s.buf[:0], r))
	}
	c.file = f
	s.onlyHere(c)
}

// Types of files (include/uapi/linux/stat.h).
const (
	ifFormat = 0o170000
	ifPipe   = 0o010000
	ifDir    = 0o040000
)

// install makes an fd of a registered file, which the event tells of: by its path, its tuple, or what kind it is. Where it doesn't,
// as of an eventfd, the fd is of no kind until it has been looked at.
func (s *State) install(c *call) {
	fd, ok := c.newFD()
	if !ok || c.t == 0 {
		return
	}
	c.fd = -1
	if f := s.installed(c); f != 0 {
		c.bits |= wasmabi.BitNameChanged
		s.addFD(c.t, fd, f, c.r.Origin()&wasmabi.OriginCloexec != 0)
	} else {
		s.receivedFD(c, fd) // as of one that came with a message
	}
	c.fd, c.file = fd, s.OpenFile(c.t, int64(fd))
}

// installed makes the record of the file that the event tells of; 0 for one that it doesn't.
func (s *State) installed(c *call) (f uint32) {
	mode, ok := param32(c.r, 4)
	if !ok {
		return 0
	}
	t := readTuple(c, 3)
	path, named := paramStr(c.r, 2)
	memory, isMemory := bytes.CutPrefix(path, []byte("/memfd:"))
	if bytes.HasPrefix(path, []byte("/[")) { // an anonymous file, of the type of others from 6.16 on
		return 0
	}
	switch {
	case t.kind != 0:
		return s.installedSocket(c, &t)
	case named && isMemory:
		if f = s.addKind(c, 'm', 0); f != 0 {
			s.setName(f, memory, nil)
		}
	case named:
		kind := byte('f')
		if mode&ifFormat == ifDir {
			kind = 'd'
		}
		if f = s.addKind(c, kind, 0); f != 0 {
			s.setName(f, path, nil)
		}
	case mode&ifFormat == ifPipe:
		f = s.addKind(c, 'p', 0)
	}
	if f != 0 {
		r := s.a.Files.Record(f)
		put32(r, wasmabi.FileDev, paramFlags(c.r, 5))
		ino, _ := param64(c.r, 6)
		puti64(r, wasmabi.FileIno, ino)
	}
	return f
}

// installedSocket makes the record of a socket whose ends t are, this one's first. Which of them is the client isn't said: the one with
// the higher port, as servers have the known ones.
func (s *State) installedSocket(c *call, t *tuple) uint32 {
	l4 := byte(0)
	if t.kind != 'u' {
		l4 = protoTCP
	}
	f := s.newSocket(c, t.family, l4, 0)
	if f == 0 {
		return 0
	}
	r := s.a.Files.Record(f)
	switch {
	case t.kind == 'u':
		if t.to != 0 {
			r[wasmabi.FileBits] |= wasmabi.FileConnected
		}
		s.setUnix(c, f, t)
		return f
	case t.dst.port == 0 && t.src.port == 0:
		return f
	case t.dst.port == 0: // bound, as a listening one is
		r[wasmabi.FileBits] |= wasmabi.FileServer
		setInet(r, t, &addr{}, &t.src)
	case t.src.port < t.dst.port:
		r[wasmabi.FileBits] |= wasmabi.FileServer | wasmabi.FileConnected
		setInet(r, t, &t.dst, &t.src)
	default:
		r[wasmabi.FileBits] |= wasmabi.FileClient | wasmabi.FileConnected
		setInet(r, t, &t.src, &t.dst)
	}
	s.rename(c, f, appendInetName(s.buf[:0], r))
	return f
}
