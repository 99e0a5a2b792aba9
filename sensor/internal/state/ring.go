package state

import (
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

// install makes an fd of a registered file, of which the event doesn't tell what it is. Until it is known it is of no kind.
func (s *State) install(c *call) {
	fd, ok := c.newFD()
	if !ok || c.t == 0 {
		return
	}
	c.fd = -1
	s.receivedFD(c, fd) // as of one that came with a message
	c.fd, c.file = fd, s.OpenFile(c.t, int64(fd))
}
