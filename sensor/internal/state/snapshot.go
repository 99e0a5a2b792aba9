package state

import (
	"github.com/shikra-sensor/shikra/sensor/internal/snapshot"
	"github.com/shikra-sensor/shikra/wasmabi"
)

var _ snapshot.Sink = (*State)(nil)

// AddThread adds a thread of the snapshot, or one that was looked up. Threads may come in any order; call Settled after
// the last.
func (s *State) AddThread(th *snapshot.Thread) {
	if t := s.addThread(th); t != 0 && s.settled {
		s.settle(t, true)
	}
}

// addThread makes or fills in the record, without links.
func (s *State) addThread(th *snapshot.Thread) uint32 {
	if th.TID <= 0 || th.TID > maxTID {
		return 0
	}
	t := s.tids.get(uint64(th.TID))
	if t == 0 {
		if s.a.Threads.Used() >= s.a.Threads.Limit()-s.spare && !s.settled {
			s.st.ThreadsDropped++ // the rest is kept for threads that events tell of
			return 0
		}
		if t = s.newThread(th.TID); t == 0 {
			return 0
		}
	} else {
		s.detach(t)
	}
	d := &s.side[t]
	d.bits &^= guessed
	pid, vtid, vpid := th.PID, th.VTID, th.VPID
	if pid <= 0 || pid > maxTID {
		pid = th.TID
	}
	if vtid == 0 {
		vtid = th.TID
	}
	if vpid == 0 {
		vpid = pid
	}
	s.ids(t, pid, max(th.PTID, 0), vtid, vpid)
	r := s.rec(t)
	for _, f := range [...]struct {
		off int
		v   int64
	}{
		{wasmabi.ThreadVpgid, th.VPGID}, {wasmabi.ThreadPgid, th.PGID}, {wasmabi.ThreadSid, th.SID},
		{wasmabi.ThreadCloneTs, int64(th.CloneTS)}, {wasmabi.ThreadPidnsInitTs, int64(th.PidnsInitTS)},
		{wasmabi.ThreadExeIno, int64(th.ExeIno)}, {wasmabi.ThreadExeCtime, int64(th.ExeCtime)},
		{wasmabi.ThreadExeMtime, int64(th.ExeMtime)}, {wasmabi.ThreadCapPermitted, int64(th.CapPermitted)},
		{wasmabi.ThreadCapEffective, int64(th.CapEffective)}, {wasmabi.ThreadCapInheritable, int64(th.CapInheritable)},
		{wasmabi.ThreadFdLimit, th.FDLimit},
	} {
		puti64(r, f.off, f.v)
	}
	put32(r, wasmabi.ThreadFlags, th.Flags)
	if th.Exited {
		s.mainEnded(t)
	}
	put32(r, wasmabi.ThreadUid, th.UID)
	put32(r, wasmabi.ThreadGid, th.GID)
	put32(r, wasmabi.ThreadLoginuid, th.LoginUID)
	put32(r, wasmabi.ThreadTty, th.TTY)
	for _, f := range [...]struct {
		off int
		v   string
	}{
		{wasmabi.ThreadComm, th.Comm}, {wasmabi.ThreadExe, th.Exe}, {wasmabi.ThreadExepath, th.ExePath}, {wasmabi.ThreadRoot, th.Root},
	} {
		s.setText(t, f.off, append(s.buf[:0], f.v...))
	}
	if th.Cwd != "" && th.Cwd[0] == '/' {
		s.setCwd(t, []byte(th.Cwd))
	} else {
		s.setText(t, wasmabi.ThreadCwd, nil)
	}
	s.setArgs(t, []byte(th.Comm), joined(th.Args))
	s.setEnv(t, joined(th.Env))
	s.setCgroups(t, joined(th.Cgroups))
	if d.tab == 0 && (pid == th.TID || !th.SharesFiles) {
		d.tab = s.newTable()
	}
	return t
}

// joined returns the strings, each ending in NUL.
func joined(v []string) []byte {
	var b []byte
	for _, x := range v {
		b = append(append(b, x...), 0)
	}
	return b
}

// AddFile adds an fd of a process. One whose process isn't there yet makes an entry for it that AddThread fills in.
func (s *State) AddFile(f *snapshot.File) {
	if f.PID <= 0 || f.PID > maxTID || f.FD < 0 || f.FD > maxFD {
		return
	}
	t := s.tids.get(uint64(f.PID))
	if t == 0 {
		if t = s.guess(f.PID); t == 0 {
			s.st.FDsDropped++
			return
		}
	}
	s.putFile(t, f.FD, f)
}

// putFile makes fd of thread t the file of a snapshot.
func (s *State) putFile(t uint32, fd int32, sf *snapshot.File) {
	f := s.newFile()
	if f == 0 {
		s.st.FDsDropped++
		return
	}
	s.fillFile(f, sf)
	s.addFD(t, fd, f, sf.OpenFlags&oCloexec != 0)
}

// fillFile fills in the record in slot f.
func (s *State) fillFile(f uint32, sf *snapshot.File) {
	r := s.a.Files.Record(f)
	r[wasmabi.FileKind], r[wasmabi.FileL4proto] = sf.Kind, sf.L4Proto
	r[wasmabi.FileFamily], r[wasmabi.FileBits] = sf.Family, sf.Bits
	put32(r, wasmabi.FileOpenFlags, sf.OpenFlags)
	put64(r, wasmabi.FileIno, sf.Ino)
	put32(r, wasmabi.FileDev, sf.Dev)
	put32(r, wasmabi.FileMode, sf.Mode)
	copy(r[wasmabi.FileCip:], sf.Client[:])
	copy(r[wasmabi.FileSip:], sf.Server[:])
	put16(r, wasmabi.FileCport, sf.CPort)
	put16(r, wasmabi.FileSport, sf.SPort)
	switch {
	case sf.Name != "":
		s.setName(f, append(s.buf[:0], sf.Name...), nil)
	case sf.Kind == '4' || sf.Kind == '6':
		if sf.CPort != 0 || sf.SPort != 0 {
			s.setName(f, appendInetName(s.buf[:0], r), nil)
		}
	}
}

// Settled ends a snapshot: it links threads with their processes and parents and gives users their names. Threads that
// come later are linked as they come. Parents that the snapshot doesn't have stay unknown.
func (s *State) Settled() {
	high := s.a.Threads.High()
	// Main threads first: the others take their parent from them.
	for _, main := range [...]bool{true, false} {
		for t := uint32(1); t < high; t++ {
			r := s.rec(t)
			if s.side[t].bits&live != 0 && (geti64(r, wasmabi.ThreadPid) == geti64(r, wasmabi.ThreadTid)) == main {
				s.settle(t, false)
			}
		}
	}
	s.settled = true
}

// settle links t and completes what depends on the others.
func (s *State) settle(t uint32, grow bool) {
	if l := s.leader(t); l == t {
		s.link(t, grow)
	}
	if l := s.leader(t); l != t && s.side[t].tab == 0 {
		s.giveTable(t, l, true)
	}
	if l := s.leader(t); l != t && s.side[t].fnext == t && s.sameDirs(t, l) {
		s.shareFS(t, l)
	}
	if s.side[t].tab == 0 {
		s.side[t].tab = s.newTable()
	}
	s.setNames(t)
}

// sameDirs reports whether both threads have the same directories: in one process they share them then.
func (s *State) sameDirs(a, b uint32) bool {
	x, y := s.rec(a), s.rec(b)
	return get32(x, wasmabi.ThreadCwd) == get32(y, wasmabi.ThreadCwd) && get32(x, wasmabi.ThreadRoot) == get32(y, wasmabi.ThreadRoot)
}
