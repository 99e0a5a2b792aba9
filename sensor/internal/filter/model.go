package filter

import (
	"bytes"
	"strings"
)

// Ended is a system call that has ended, as the probe sees it.
type Ended struct {
	Result    int64
	Path      []byte // without the NUL; nil for one that can't be read
	Open      uint8  // what it was opened for
	Directory bool   // it opened a directory, or what it opened isn't known
	Socket    Socket
}

// Socket is what a call acts on.
type Socket struct {
	Stream, Datagram bool   // an IP socket
	Local, Remote    uint16 // ports; Remote is 0 for one that isn't connected
}

// Drops reports whether the probe makes no event of the call. Those that close are judged by FDMarks instead.
func (f *Form) Drops(name string, e *Ended) bool {
	i := f.Of[name]
	if i == 0 {
		return false
	}
	x := &f.Filters[i]
	if x.What&Close != 0 {
		return false
	}
	ways, free := x.Success, x.NoPath&x.NoPort
	if e.Result < 0 {
		ways = x.Failure
	}
	if ways != 0 && x.Args.Flags != NoArg {
		ways &= x.open(e.Open)
	}
	if ways&free == 0 && ways&^x.NoPath != 0 && x.Args.Path != NoArg {
		ways &= f.path(x, e.Path)
	}
	if ways&free == 0 && ways&^x.NoPort != 0 {
		ways &= x.port(e.Socket)
	}
	return ways == 0 && !(e.Result >= 0 && x.What&Opens != 0 && e.Directory)
}

func (x *Filter) open(bits uint8) uint32 {
	ways := x.Open[0]
	for k, o := range [...]uint8{Read, Write, Create} {
		if bits&o != 0 {
			ways |= x.Open[1+k]
		}
	}
	return ways
}

const every = ^uint32(0)

// path returns the ways that a path fits.
func (f *Form) path(x *Filter, path []byte) uint32 {
	if len(path) < 2 || len(path) > MaxPath-2 || path[0] != '/' || unclean(path) {
		return every
	}
	ways := x.NoPath
	if int(x.Table) >= len(f.Tables) {
		return ways
	}
	t, b := &f.Tables[x.Table], bucket(string(path[:2]))
	for i := t.From[b]; i < t.From[b+1]; i++ {
		if t.Paths[i].fits(path) {
			ways |= t.Paths[i].Ways
		}
	}
	return ways
}

// unclean reports whether a slash stands before a slash, a dot or the end. The two differ in the lowest bit.
func unclean(path []byte) bool {
	for i, c := range path {
		if c == '/' && (i+1 == len(path) || path[i+1]|1 == '/') {
			return true
		}
	}
	return false
}

func (e *Entry) fits(path []byte) bool {
	n := bytes.IndexByte(e.Mask[:], 0)
	if n < 0 {
		n = PathBytes
	}
	return strings.HasPrefix(string(path)+"\x00", string(e.Text[:n]))
}

// port returns the ways that a socket fits.
func (x *Filter) port(s Socket) uint32 {
	switch {
	case s.Datagram || s.Stream && s.Remote == 0:
		return every
	case !s.Stream:
		return x.NoPort
	}
	ways := x.NoPort
	for i, p := range x.Ports {
		if p == s.Local || p == s.Remote {
			ways |= x.PortWays[i]
		}
	}
	return ways
}

// FDs is how many fds of a process FDMarks tells apart; those from FDs-1 on share one place.
const FDs = 128

// FDMarks is which fds of each process state may know. A process that isn't there has all of them. The zero value is empty.
type FDMarks struct {
	of  map[int64]*[FDs]bool
	Off bool // processes share fds in ways that marks don't follow: every close is made
}

func place(fd int64) int {
	if fd >= 0 && fd < FDs-1 {
		return int(fd)
	}
	return FDs - 1
}

// Set says that state knows fd from now on.
func (m *FDMarks) Set(pid, fd int64) {
	if p := m.of[pid]; p != nil && fd >= 0 {
		p[place(fd)] = true
	}
}

// Clear reports whether state may know fd, which is closed: it doesn't any more.
func (m *FDMarks) Clear(pid, fd int64) bool {
	p := m.of[pid]
	if p == nil {
		p = &[FDs]bool{}
		for i := range p {
			p[i] = true
		}
		if m.of == nil {
			m.of = map[int64]*[FDs]bool{}
		}
		m.of[pid] = p
	}
	i := place(fd)
	if !p[i] {
		return m.Off
	}
	if i < FDs-1 {
		p[i] = false
	}
	return true
}

// Fork gives a new process the marks of the one that made it.
func (m *FDMarks) Fork(parent, child int64, shared bool) {
	if (parent == child) != shared {
		m.Off = true
	}
	if parent == child {
		return
	}
	p := m.of[parent]
	if p == nil {
		delete(m.of, child)
		return
	}
	q := *p
	m.of[child] = &q
}
