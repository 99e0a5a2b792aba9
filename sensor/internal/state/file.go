package state

import (
	"bytes"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// The event format's open flags (driver/ppm_events_public.h).
const (
	oAccmode      = 3 // 1 to read, 2 to write
	oDirectory    = 1 << 10
	oCloexec      = 1 << 12
	fdUpper       = 1 << 15
	fdLower       = 1 << 16
	creatUpper    = 1 << 0
	creatLower    = 1 << 1
	atFDCWD       = -100
	mfdCloexec    = 1 << 0
	epolCloexec   = 1 << 0
	closeCoex     = 1 << 2      // CLOSE_RANGE_CLOEXEC
	closeUnshr    = 1 << 1      // CLOSE_RANGE_UNSHARE
	resolveInRoot = 1 << 1      // RESOLVE_IN_ROOT, in the event format
	unknownDir    = "<UNKNOWN>" // what Falco writes for a directory fd that isn't known
)

// resolve returns name as an absolute path seen from t's directory, cleaned. It is valid until the next use of s.buf.
func (s *State) resolve(t uint32, name []byte) []byte {
	if clean(name) {
		return name
	}
	return appendPath(s.buf[:0], s.a.Strings.Get(get32(s.rec(t), wasmabi.ThreadCwd)), name)
}

// dirName returns the name of the directory that dirfd stands for, t's own for AT_FDCWD; empty when it isn't known.
func (s *State) dirName(t uint32, dirfd int64) []byte {
	if dirfd == atFDCWD {
		return s.a.Strings.Get(get32(s.rec(t), wasmabi.ThreadCwd))
	}
	if f := s.OpenFile(t, dirfd); f != 0 {
		return s.a.Strings.Get(get32(s.a.Files.Record(f), wasmabi.FileName))
	}
	return nil
}

// resolveAt is resolve from the directory that dirfd stands for; false when that isn't known.
func (s *State) resolveAt(t uint32, dirfd int64, name []byte) ([]byte, bool) {
	if len(name) > 0 && name[0] == '/' || dirfd == atFDCWD {
		path := s.resolve(t, name)
		return path, len(path) > 0 && path[0] == '/'
	}
	if dir := s.dirName(t, dirfd); len(dir) > 0 {
		return appendPath(s.buf[:0], dir, name), true
	}
	const n = len(unknownDir)
	b := append(s.buf[:0], unknownDir...)
	return b[:n+len(appendParts(b[n:n], name))], false
}

// resolveIn is resolveAt with that directory as the root of name, above which ".." doesn't lead (openat2(2), RESOLVE_IN_ROOT).
func (s *State) resolveIn(t uint32, dirfd int64, name []byte) ([]byte, bool) {
	dir := s.dirName(t, dirfd)
	known := len(dir) > 0 && dir[0] == '/'
	if !known {
		dir = []byte(unknownDir)
	}
	dir = bytes.TrimSuffix(dir, []byte{'/'}) // the current directory ends in one, and the root is one
	b := append(s.buf[:0], dir...)
	n := len(b)
	in := appendParts(append(b[n:n:n], '/'), name)
	if len(in) == 1 && n > 0 {
		return b, known
	}
	return append(b, in...), known
}

// setName names the file in slot f; raw is the name as the program gave it, kept when it differs.
func (s *State) setName(f uint32, name, raw []byte) {
	r := s.a.Files.Record(f)
	if len(name) > maxName {
		name = name[:maxName]
		s.st.NamesCut++
		r[wasmabi.FileBits] |= wasmabi.FileNameCut
	}
	same := bytes.Equal(name, raw)
	setStr(s.a.Strings, r, wasmabi.FileName, s.intern(s.a.Strings, name))
	put32(r, wasmabi.FileNameDir, uint32(max(bytes.LastIndexByte(name, '/'), 0)))
	if len(raw) > maxName {
		raw = raw[:maxName]
	}
	ref := uint32(0)
	if raw != nil && !same {
		ref = s.intern(s.a.Strings, raw)
	}
	setStr(s.a.Strings, r, wasmabi.FileNameRaw, ref)
}

// openEvent makes the file that was opened. An open that failed has a file too, for its event alone: it has the name and
// no kind.
func (s *State) openEvent(c *call) {
	t := c.t
	if t == 0 {
		return
	}
	c.fd = -1
	var (
		name       []byte
		named      bool
		flags, dev uint32
		mode       uint32
		iIno       int
		dirfd      int64 = atFDCWD
		known            = true
		whole      bool  // the name is the kernel's own path
		inRoot     bool  // the directory is the root of the name
	)
	r := c.r
	switch r.Type() {
	case event.SyscallOpenX:
		name, named = paramStr(r, 1)
		flags, mode, dev, iIno = paramFlags(r, 2), paramFlags(r, 3), paramFlags(r, 4), 5
	case event.SyscallCreatX:
		name, named = paramStr(r, 1)
		mode, dev, iIno = paramFlags(r, 2), paramFlags(r, 3), 4
		switch cf := paramFlags(r, 5); {
		case cf&creatUpper != 0:
			flags = fdUpper
		case cf&creatLower != 0:
			flags = fdLower
		}
	case event.SyscallOpenatV2X:
		name, named = paramStr(r, 2)
		flags, mode, dev, iIno = paramFlags(r, 3), paramFlags(r, 4), paramFlags(r, 5), 6
		dirfd, known = param64(r, 1)
	case event.SyscallOpenat2X:
		name, named = paramStr(r, 2)
		flags, mode, dev, iIno = paramFlags(r, 3), paramFlags(r, 4), paramFlags(r, 6), 7
		dirfd, known = param64(r, 1)
		inRoot = paramFlags(r, 5)&resolveInRoot != 0
	case event.SyscallOpenByHandleAtX:
		name, named = paramStr(r, 3)
		flags, dev, iIno = paramFlags(r, 2), paramFlags(r, 4), 5
		whole = true
	}
	f := s.newFile()
	if f == 0 {
		s.st.FDsDropped++
		return
	}
	rec := s.a.Files.Record(f)
	put32(rec, wasmabi.FileOpenFlags, flags)
	put64(rec, wasmabi.FileTs, r.TS())
	put32(rec, wasmabi.FileDev, dev)
	put32(rec, wasmabi.FileMode, mode)
	if ino, ok := param64(r, iIno); ok {
		puti64(rec, wasmabi.FileIno, ino)
	}
	switch {
	case !named:
		rec[wasmabi.FileBits] |= wasmabi.FileNameCut
	case whole:
		s.setName(f, name, nil)
	default:
		if !known {
			dirfd = -1
		}
		resolve := s.resolveAt
		if inRoot {
			resolve = s.resolveIn
		}
		path, ok := resolve(t, dirfd, name)
		if !ok {
			rec[wasmabi.FileBits] |= wasmabi.FileNameCut
		}
		s.setName(f, path, name)
	}
	c.file = f
	fd, opened := c.newFD()
	if !opened && !c.unnumbered() {
		s.freeFile(f)
		return
	}
	rec[wasmabi.FileKind] = 'f'
	if flags&oDirectory != 0 {
		rec[wasmabi.FileKind] = 'd'
	}
	rec[wasmabi.FileBits] |= layerBits(flags)
	c.fd = fd
	c.bits |= wasmabi.BitNameChanged
	if !opened {
		s.onlyHere(c)
		return
	}
	if r.Origin()&wasmabi.OriginOther != 0 {
		s.freeFile(f) // for the event alone: what the fd is by now, the event of who put it there tells
		return
	}
	s.addFD(t, fd, f, flags&oCloexec != 0)
}

// layerBits returns the bits of a file's record that say which layer of an overlay holds it, by its open flags.
func layerBits(flags uint32) (bits uint8) {
	if flags&fdUpper != 0 {
		bits |= wasmabi.FileUpperLayer
	}
	if flags&fdLower != 0 {
		bits |= wasmabi.FileLowerLayer
	}
	return bits
}

// newFD returns the fd that the event's result is.
func (c *call) newFD() (int32, bool) {
	if !c.ok() || c.m.Res > maxFD {
		return -1, false
	}
	return int32(c.m.Res), true
}

// EBADF is the one error of close that leaves the fd alone (man 2 close, "Dealing with error returns").
const ebadf = 9

// closeEvent removes the fd; the event still sees its file. One that is open as the call ends, for which the probe looks, wasn't closed, or
// has been opened anew: it stays until somebody has looked what it is. Another thread may have got the number, an operation of io_uring
// been cancelled or refused, a program been answered by its own seccomp filter or tracer.
//
// A close that another thread overtook, which got the number before the call ended, removes nothing: if the event of that
// thread has come, the fd is the new one, and if it hasn't yet, it will put the new one there. Should none come (an open that
// nobody needs isn't made an event of), somebody looks what the fd is.
//
// Of an operation of io_uring that succeeds in silence the event is made when it is submitted: it may be done much later, or never. Of
// two errors, to take an open fd for closed is the worse one: what is done with it then has no name, and a socket that becomes a
// standard stream no rule. A closed one that is taken for open harms nothing until its number is another's, which is seen like any
// fd. So it stays until the kernel's table no longer has it, for which somebody looks.
func (s *State) closeEvent(c *call) {
	s.use(c)
	if c.r.Origin()&wasmabi.OriginReused != 0 {
		s.st.ClosesOvertaken++
		s.askFile(c, c.fd, true)
		return
	}
	if !c.m.HasRes && c.t != 0 && c.fd >= 0 && c.r.Origin()&wasmabi.OriginIoUring != 0 {
		if a, ok := s.fileAsk(c, c.fd); ok {
			a.Again, a.Silent = true, true
			s.askFor(a, c.r.TS())
		}
		return
	}
	if c.t != 0 && c.fd >= 0 && c.m.HasRes && c.m.Res != -ebadf {
		s.closeFD(s.side[c.t].tab, c.fd)
	}
}

// overtaking is for how long, in ns, a call may go on after it has closed fds, until its event is made.
const overtaking = 1e9

// closeRange closes a range of fds, or marks them to be closed by exec.
func (s *State) closeRange(c *call) {
	first, ok1 := param32(c.r, 1)
	last, ok2 := param32(c.r, 2)
	if !c.ok() || !ok1 || !ok2 || c.t == 0 {
		return
	}
	flags := paramFlags(c.r, 3)
	if flags&closeUnshr != 0 {
		s.ownTable(c.t)
	}
	tab := s.side[c.t].tab
	shared := tab != 0 && s.tabs[tab].refs > 1
	s.note(&s.tabs[tab].newer)
	s.tabs[tab].changes++ // also of fds that aren't known
	s.eachIn(tab, first, last, func(p, from, to uint32) {
		base := int32(s.pages[p].base << pageBits)
		for k := from; k <= to; k++ {
			e := s.pages[p].ent[k]
			switch {
			case e == 0:
			case flags&closeCoex != 0:
				s.pages[p].ent[k] |= cloexec
			case shared && int64(c.r.TS()-get64(s.a.Files.Record(s.open[e>>1].slot), wasmabi.FileTs)) < overtaking && s.askFile(c, base+int32(k), true):
				// Another thread may have got the number while the call went on. It stays until that is known.
			default:
				s.closeFD(tab, base+int32(k))
			}
		}
	})
}

// dup makes another fd of an open file.
func (s *State) dup(c *call) {
	if _, told := c.r.Param(1); !told && c.r.Origin()&wasmabi.OriginIoUring != 0 {
		s.install(c)
		return
	}
	from := c.fd
	s.use(c)
	fd, ok := c.newFD()
	if !ok || c.t == 0 {
		return
	}
	c.fd = fd
	s.dupTo(c, from, fd, c.r.Type() == event.SyscallDup3X && paramFlags(c.r, 3)&oCloexec != 0)
}

func (s *State) dupTo(c *call, from, to int32, closeOnExec bool) {
	if from == to {
		return
	}
	tab := s.side[c.t].tab
	e := uint32(0)
	if from >= 0 {
		e = s.fdEntry(tab, from)
	}
	if e == 0 {
		s.closeFD(tab, to) // whatever it is now, it isn't that
		s.doubt()
		return
	}
	s.note(&s.tabs[tab].bore)
	s.shareFD(c.t, to, e, closeOnExec)
}

// The event format's fcntl commands.
const (
	fDupFD        = 1
	fSetFD        = 3
	fDupFDCloexec = 26
	fdCloexec     = 1
)

func (s *State) fcntl(c *call) {
	from := c.fd
	s.use(c)
	if !c.ok() || c.t == 0 {
		return
	}
	switch cmd := paramFlags(c.r, 2); cmd {
	case fDupFD, fDupFDCloexec:
		if fd, ok := c.newFD(); ok {
			c.fd = fd
			s.dupTo(c, from, fd, cmd == fDupFDCloexec)
		}
	case fSetFD:
		arg, _ := param64(c.r, 3)
		s.setCloexec(c, from, arg&fdCloexec != 0)
	}
}

// setCloexec sets whether exec closes fd, which the event acts on.
func (s *State) setCloexec(c *call, fd int32, on bool) {
	if c.file == 0 {
		s.doubt()
		return
	}
	s.setEntryCloexec(s.side[c.t].tab, fd, on)
}

// setEntryCloexec sets whether exec closes fd, which table i has.
func (s *State) setEntryCloexec(i uint32, fd int32, on bool) {
	g := &s.pages[s.pageFor(i, fd)]
	if s.repair.noting {
		s.noteFD(g, fd)
	}
	e := &g.ent[fd&(pageFDs-1)]
	*e = *e&^cloexec | flag(on)
}

// The requests that change an fd and not what it stands for (include/uapi/asm-generic/ioctls.h).
const (
	fionclex = 0x5450
	fioclex  = 0x5451
)

func (s *State) ioctl(c *call) {
	s.use(c)
	if !c.ok() {
		return
	}
	if req, _ := param64(c.r, 2); req == fioclex || req == fionclex {
		s.setCloexec(c, c.fd, req == fioclex)
	}
}

// addKind makes the record of a file of that kind without a name; 0 when there is no room, which is counted.
func (s *State) addKind(c *call, kind byte, flags uint32) uint32 {
	f := s.newFile()
	if f == 0 {
		s.st.FDsDropped++
		return 0
	}
	r := s.a.Files.Record(f)
	r[wasmabi.FileKind] = kind
	put32(r, wasmabi.FileOpenFlags, flags)
	put64(r, wasmabi.FileTs, c.r.TS())
	return f
}

// pipe makes both ends; the event's file is the second, the one to write to.
func (s *State) pipe(c *call) {
	a, ok1 := paramFD(c.r, 1)
	b, ok2 := paramFD(c.r, 2)
	if !c.ok() || !ok1 || !ok2 || a == b || c.t == 0 {
		return
	}
	flags := uint32(0)
	if c.r.Type() == event.SyscallPipe2X {
		flags = paramFlags(c.r, 4)
	}
	ino, _ := param64(c.r, 3)
	for _, fd := range [...]int32{a, b} {
		f := s.addKind(c, 'p', flags)
		if f == 0 {
			continue
		}
		puti64(s.a.Files.Record(f), wasmabi.FileIno, ino)
		s.addFD(c.t, fd, f, flags&oCloexec != 0)
		c.file, c.fd = f, fd
	}
}

// bpfMakesFD holds the bpf commands whose result is an fd (include/uapi/linux/bpf.h, enum bpf_cmd).
const bpfMakesFD uint64 = 1<<0 | 1<<5 | 1<<7 | 1<<13 | 1<<14 | 1<<17 | 1<<18 | 1<<19 | 1<<28 | 1<<30 | 1<<32 | 1<<33 | 1<<36

// anonymous makes the fds that stand for no file: events, timers, memory, programs.
func (s *State) anonymous(c *call) {
	fd, ok := c.newFD()
	c.fd = -1
	if !ok || c.t == 0 {
		return
	}
	var (
		kind  byte
		flags uint32
		name  []byte
		close bool
	)
	r := c.r
	switch r.Type() {
	case event.SyscallEventfdX:
		kind = 'e'
	case event.SyscallEventfd2X:
		kind, flags = 'e', paramFlags(r, 1)
	case event.SyscallSignalfdX:
		kind = 's'
	case event.SyscallSignalfd4X:
		kind, flags = 's', paramFlags(r, 1)
	case event.SyscallTimerfdCreateX:
		kind, flags, close = 't', paramFlags(r, 2), r.Origin()&wasmabi.OriginCloexec != 0
	case event.SyscallInotifyInitX:
		kind = 'i'
	case event.SyscallInotifyInit1X:
		kind, flags = 'i', paramFlags(r, 1)
	case event.SyscallEpollCreateX:
		kind = 'l'
	case event.SyscallEpollCreate1X:
		kind = 'l'
		if paramFlags(r, 1)&epolCloexec != 0 {
			flags = oCloexec
		}
	case event.SyscallMemfdCreateX:
		kind, flags = 'm', paramFlags(r, 2)
		name, _ = paramStr(r, 1)
		close = flags&mfdCloexec != 0
	case event.SyscallUserfaultfdX:
		kind, flags = 'x', paramFlags(r, 1)
	case event.SyscallIoUringSetupX:
		kind, close = 'r', true // always, io_uring_install_fd
	case event.SyscallPidfdOpenX:
		kind, close = 'P', true // always, pidfd_open(2)
		flags = paramFlags(r, 2)
		pid, _ := param64(r, 1)
		name = appendInt(append(s.buf[:0], "/proc/"...), pid)
	case event.SyscallBpfV2X:
		cmd := paramFlags(r, 1)
		if cmd > 63 || bpfMakesFD>>cmd&1 == 0 {
			return
		}
		kind, close = 'b', true // bpf fds are always close-on-exec
	}
	if kind == 's' {
		// signalfd on an fd there is changes its mask and makes nothing.
		i := 2
		if r.Type() == event.SyscallSignalfdX {
			i = 1
		}
		if old, ok := paramFD(r, i); ok && old == fd {
			c.fd = fd
			s.use(c)
			return
		}
	}
	f := s.addKind(c, kind, flags)
	if f == 0 {
		return
	}
	if name != nil {
		s.setName(f, name, nil)
		c.bits |= wasmabi.BitNameChanged
	}
	c.file, c.fd = f, fd
	s.addFD(c.t, fd, f, close || kind != 'm' && flags&oCloexec != 0)
}

// pidfdGetfd makes an fd of what another process has open.
func (s *State) pidfdGetfd(c *call) {
	fd, ok := c.newFD()
	c.fd = -1
	if !ok || c.t == 0 {
		return
	}
	c.fd = fd
	tab := s.side[c.t].tab
	s.closeFD(tab, fd)
	if e := s.gotten(c); e != 0 {
		s.shareFD(c.t, fd, e, true)
		c.file = s.open[e>>1].slot
	}
	if told := s.toldOf(c.t, fd); told != 0 {
		if c.file == 0 {
			s.keepTold(c.t, fd)
		}
		c.file = told
	}
}

// gotten returns the entry of what pidfd_getfd got in the other process; 0 when that isn't known, or was something else by what was
// told of it.
func (s *State) gotten(c *call) uint32 {
	pidfd, ok1 := param64(c.r, 1)
	target, ok2 := paramFD(c.r, 2)
	if !ok1 || !ok2 {
		return 0
	}
	f := s.OpenFile(c.t, pidfd)
	if f == 0 || s.a.Files.Record(f)[wasmabi.FileKind] != 'P' {
		return 0
	}
	pid, ok := trimInt(s.a.Strings.Get(get32(s.a.Files.Record(f), wasmabi.FileName)), "/proc/")
	if !ok {
		return 0
	}
	t := s.tids.get(uint64(pid))
	if t == 0 {
		return 0
	}
	e := s.fdEntry(s.side[t].tab, target)
	if told := s.toldOf(c.t, c.fd); e != 0 && told != 0 && !sameInode(s.a.Files.Record(s.open[e>>1].slot), s.a.Files.Record(told)) {
		return 0
	}
	return e
}

// appendInt appends v in decimal.
func appendInt(b []byte, v int64) []byte {
	if v < 0 {
		b, v = append(b, '-'), -v
	}
	var t [20]byte
	i := len(t)
	for u := uint64(v); ; {
		i--
		t[i] = byte('0' + u%10)
		if u /= 10; u == 0 {
			return append(b, t[i:]...)
		}
	}
}

// trimInt reads the decimal number that follows prefix in b.
func trimInt(b []byte, prefix string) (int64, bool) {
	if len(b) <= len(prefix) || len(b) > len(prefix)+18 || string(b[:len(prefix)]) != prefix {
		return 0, false
	}
	v := int64(0)
	for _, d := range b[len(prefix):] {
		if d < '0' || d > '9' {
			return 0, false
		}
		v = 10*v + int64(d-'0')
	}
	return v, true
}
