package state

import (
	"bytes"

	"github.com/shikra-sensor/shikra/sensor/internal/snapshot"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// A repair brings the state back to what is, after events were lost: a snapshot that is taken meanwhile is compared with it.
// The snapshot isn't of one moment, and while it is read events go on changing the state. So from BeginRepair on the state
// notes what events with times after that changed: of these things the events know better, whatever the snapshot says.
// Of everything else the snapshot does. A thing is a thread, or one fd of a table.
//
// INVARIANT: Repair is called when every event that ended before the snapshot did has been applied.

// repair is one under way.
type repair struct {
	pass   uint32 // its number; 0 for none
	noting bool   // the event of the moment is newer than the snapshot's beginning
	from   uint64 // ns, when the snapshot began
	last   uint32 // number of the last one
	ended  index  // ids of threads that ended since then
	full   bool   // there were more than ended holds
	at     int    // how far Repair is
	step   int    // what it is at
	unsure int    // things that differ, of which a part may be newer
	groups groups // who shares what
}

// maxEnded is how many threads may end while a snapshot is taken and compared; when there are more, it adds none.
const maxEnded = 4096

// Repaired counts what repairs changed.
type Repaired struct {
	Repairs                                     uint64 // ended
	ThreadsAdded, ThreadsRemoved, ThreadsMended uint64
	FDsAdded, FDsRemoved, FDsMended             uint64
}

// BeginRepair starts a repair; a snapshot that begins after ts, in ns of the events' clock, goes to Repair. One under way
// is given up.
func (s *State) BeginRepair(ts uint64) {
	s.DropRepair()
	r := &s.repair
	if r.last++; r.last == 0 {
		r.last = 1
	}
	if r.ended.keys == nil {
		r.ended = newIndex(maxEnded)
	} else if r.ended.n > 0 {
		clear(r.ended.vals)
		r.ended.n = 0
	}
	r.pass, r.from, r.noting, r.full, r.at, r.step, r.unsure = r.last, ts, false, false, 0, 0, 0
	r.groups.begin()
}

// DropRepair ends a repair without its being done.
func (s *State) DropRepair() {
	if s.repair.pass == 0 {
		return
	}
	s.repair.pass, s.repair.noting = 0, false
	for p := range s.pages {
		if g := &s.pages[p]; g.tab != 0 && g.used == 0 && g.base != 0 {
			s.dropPage(uint32(p))
		}
	}
}

// noteFD notes that fd, which is on page g, is newer than the snapshot.
func (s *State) noteFD(g *page, fd int32) {
	g.of(s.repair.pass)
	g.newer |= 1 << (fd & (pageFDs - 1))
}

// of makes the page's notes those of a repair.
func (g *page) of(pass uint32) {
	if g.pass != pass {
		g.pass, g.newer, g.shown = pass, 0, 0
	}
}

// noteClosed notes that fd of table i was closed, even if it wasn't known.
func (s *State) noteClosed(i uint32, fd int32) {
	p := s.pageFor(i, fd)
	if p == 0 && s.tabs[i].pages <= s.hog {
		p = s.newPage(i, uint32(fd>>pageBits))
	}
	if p == 0 {
		s.note(&s.tabs[i].newer)
		return
	}
	s.noteFD(&s.pages[p], fd)
}

// doubt counts something that a newer event may have made other than it is, of what the state didn't know.
func (s *State) doubt() {
	if s.repair.noting {
		s.repair.unsure++
	}
}

// note puts down at that what it stands for is so since the snapshot began: a member of fdTable or side that says in which repair.
func (s *State) note(at *uint32) {
	if s.repair.noting {
		*at = s.repair.pass
	}
}

// noteEnded notes that a thread ended.
func (s *State) noteEnded(tid int64) {
	r := &s.repair
	if r.ended.n >= maxEnded && r.ended.get(uint64(tid)) == 0 {
		r.full = true
		return
	}
	r.ended.put(uint64(tid), 1)
}

// Repair compares up to limit entries more of k with the state and puts right what differs; true when all is done. It may
// call Config.Flush.
func (s *State) Repair(k *snapshot.Taken, limit int) (done bool) {
	r := &s.repair
	if r.pass == 0 {
		return true
	}
	r.noting = false
	for ; limit > 0; limit-- {
		switch r.step {
		case 0:
			if r.at < len(k.Threads) {
				s.repairThread(&k.Threads[r.at])
				break
			}
			r.step, r.at = 1, -1
		case 1:
			if r.at < len(k.Files) {
				s.repairFile(&k.Files[r.at])
				break
			}
			r.step, r.at = 2, 0
		case 2:
			if r.at < int(s.a.Threads.High()) {
				s.sweep(uint32(r.at), k)
				break
			}
			s.DropRepair()
			s.st.Repaired.Repairs++
			return true
		}
		r.at++
	}
	return false
}

// Unsure returns how many things the last repair, or the one under way, left as they are though the snapshot differs: they
// changed while it was taken, but perhaps not in all that differs. Another repair may find them at rest.
func (s *State) Unsure() int { return s.repair.unsure }

// repairThread adds a thread that isn't known and corrects one that differs.
func (s *State) repairThread(th *snapshot.Thread) {
	if th.TID <= 0 || th.TID > maxTID {
		return
	}
	r := &s.repair
	t := s.tids.get(uint64(th.TID))
	if th.Exiting && !th.Exited && !s.recent.has(th.TID, th.CloneTS) {
		r.unsure++ // the event of its exit was lost, or is to come
	}
	switch {
	case t == 0:
		if r.full || r.ended.get(uint64(th.TID)) != 0 {
			if r.full {
				r.unsure++
			}
			return
		}
		// The event of an exit is made before the kernel takes the thread from its lists: the snapshot may still have shown it.
		if th.Exiting && s.recent.has(th.TID, th.CloneTS) {
			if th.TID == th.PID { // its process may live in other threads
				r.unsure++
			}
			return
		}
	case r.ended.get(uint64(th.TID)) != 0: // another has its number by now
		r.unsure++
		return
	case th.Exiting && s.side[t].bits&guessed == 0: // there is nothing left to compare
		if th.Exited && s.side[t].bits&gone == 0 {
			s.touch(t)
			s.mainEnded(t)
			s.st.Repaired.ThreadsMended++
		}
		s.side[t].shown = r.pass
		return
	case s.side[t].bits&guessed != 0:
		if s.side[t].fresh == r.pass { // what events told of it is overwritten
			r.unsure++
		}
	case s.side[t].bits&gone != 0 && s.side[t].fresh != r.pass: // by an exec that was lost it is another of its threads
		s.side[t].bits &^= gone
		s.side[t].living++
	case s.equals(t, th):
		s.shown(t, th)
		return
	case s.side[t].fresh == r.pass:
		r.unsure++
		s.shown(t, th)
		return
	}
	if t == 0 {
		s.st.Repaired.ThreadsAdded++
	} else {
		s.st.Repaired.ThreadsMended++
		s.mended(s.side[t].bore)
	}
	if t = s.addThread(th); t != 0 {
		s.settle(t, true)
		s.shown(t, th)
	}
}

// shown notes that the snapshot shows thread t, and repairs what it shares.
func (s *State) shown(t uint32, th *snapshot.Thread) {
	pass := s.repair.pass
	s.side[t].shown = pass
	s.repairSharing(t, th)
	if i := s.side[t].tab; i != 0 && th.TID == th.PID && th.Files != 0 && s.tabs[i].shown != pass {
		s.tabs[i].shown, s.tabs[i].showed = pass, 0 // a process may have no fd at all
	}
}

// mended notes that something is put right of which another has had a copy since the repair of that number. If it's this one, what
// the copy has may be wrong and not in the snapshot.
func (s *State) mended(bore uint32) {
	if bore == s.repair.pass {
		s.repair.unsure++
	}
}

// equals compares what a snapshot knows of a thread. The command line counts, though a process may overwrite its own: what a
// missed exec left there can't be told from that.
func (s *State) equals(t uint32, th *snapshot.Thread) bool {
	rec := s.rec(t)
	for _, f := range [...]struct {
		off int
		v   int64
	}{
		{wasmabi.ThreadPid, th.PID}, {wasmabi.ThreadPtid, max(th.PTID, 0)}, {wasmabi.ThreadVtid, th.VTID}, {wasmabi.ThreadVpid, th.VPID},
		{wasmabi.ThreadVpgid, th.VPGID}, {wasmabi.ThreadPgid, th.PGID}, {wasmabi.ThreadSid, th.SID},
		{wasmabi.ThreadExeIno, int64(th.ExeIno)}, {wasmabi.ThreadCapPermitted, int64(th.CapPermitted)},
		{wasmabi.ThreadCapEffective, int64(th.CapEffective)}, {wasmabi.ThreadCapInheritable, int64(th.CapInheritable)},
		{wasmabi.ThreadFdLimit, th.FDLimit},
	} {
		if geti64(rec, f.off) != f.v {
			return false
		}
	}
	for _, f := range [...]struct {
		off int
		v   uint32
	}{{wasmabi.ThreadUid, th.UID}, {wasmabi.ThreadGid, th.GID}, {wasmabi.ThreadLoginuid, th.LoginUID}, {wasmabi.ThreadTty, th.TTY}} {
		if get32(rec, f.off) != f.v {
			return false
		}
	}
	for _, f := range [...]struct {
		off int
		v   string
	}{{wasmabi.ThreadComm, th.Comm}, {wasmabi.ThreadExe, th.Exe}, {wasmabi.ThreadRoot, th.Root}} {
		if string(s.a.Strings.Get(get32(rec, f.off))) != f.v {
			return false
		}
	}
	cwd := s.a.Strings.Get(get32(rec, wasmabi.ThreadCwd))
	if n := len(cwd); n > 1 && cwd[n-1] == '/' {
		cwd = cwd[:n-1]
	}
	args := s.a.Private.Get(get32(rec, wasmabi.ThreadArgs))
	for _, a := range th.Args {
		if len(args) < len(a) || string(args[:len(a)]) != a {
			return false
		}
		args = args[len(a):]
		if len(args) > 0 {
			args = args[1:]
		}
	}
	return string(cwd) == th.Cwd && len(args) == 0
}

// repairFile adds an fd that isn't known and corrects one that differs.
func (s *State) repairFile(f *snapshot.File) {
	if f.PID <= 0 || f.PID > maxTID || f.FD < 0 || f.FD > maxFD {
		return
	}
	t := s.tids.get(uint64(f.PID))
	if t == 0 || s.repair.ended.get(uint64(f.PID)) != 0 {
		return // ended meanwhile, or no room for it
	}
	pass := s.repair.pass
	tab := s.side[t].tab
	if tab == 0 {
		if tab = s.newTable(); tab == 0 {
			return
		}
		s.side[t].tab = tab
	}
	i := &s.tabs[tab]
	if i.shown != pass {
		i.shown, i.showed = pass, 0
	}
	i.showed++
	bit := uint32(1) << (f.FD & (pageFDs - 1))
	p := s.pageFor(tab, f.FD)
	if p != 0 {
		s.pages[p].of(pass)
		s.pages[p].shown |= bit
		if s.pages[p].newer&bit != 0 {
			return // events tell all of one fd
		}
	}
	e := uint32(0)
	if p != 0 {
		e = s.pages[p].ent[f.FD&(pageFDs-1)]
	}
	switch {
	case i.newer == pass:
		if e == 0 || !s.sameFile(s.a.Files.Record(s.open[e>>1].slot), f) {
			s.repair.unsure++
		}
		return
	case e == 0:
		s.putFile(t, f.FD, f)
		s.st.Repaired.FDsAdded++
		s.mended(i.bore)
	case !s.sameFile(s.a.Files.Record(s.open[e>>1].slot), f):
		s.putFile(t, f.FD, f)
		s.st.Repaired.FDsMended++
		s.mended(i.bore)
	case e&cloexec != flag(f.OpenFlags&oCloexec != 0):
		s.pages[p].ent[f.FD&(pageFDs-1)] ^= cloexec
		s.st.Repaired.FDsMended++
		s.mended(i.bore)
	}
	if p = s.pageFor(tab, f.FD); p != 0 { // putFile may have made it, or made it anew
		s.pages[p].of(pass)
		s.pages[p].shown |= bit
	}
}

// sameFile reports whether a file's record and one of a snapshot can be of one file. What only events tell (a path as the
// program gave it, the peer of a datagram) may differ.
func (s *State) sameFile(r []byte, f *snapshot.File) bool {
	kind, ino := r[wasmabi.FileKind], get64(r, wasmabi.FileIno)
	path := func(k byte) bool { return k == 'f' || k == 'd' || k == 'p' }
	switch {
	case kind == '4' && f.Kind == '6' || kind == '6' && f.Kind == '4' || kind == f.Kind && (kind == '4' || kind == '6'):
		return sameEnds(r, f)
	case path(kind) && path(f.Kind):
		if flags := get32(r, wasmabi.FileOpenFlags); flags != 0 && f.OpenFlags != 0 && (flags^f.OpenFlags)&oAccmode != 0 {
			return false // one file opened twice
		}
		if ino != 0 && f.Ino != 0 {
			dev := get32(r, wasmabi.FileDev)
			return ino == f.Ino && (dev == f.Dev || dev == 0 || f.Dev == 0)
		}
		return string(s.a.Strings.Get(get32(r, wasmabi.FileName))) == f.Name
	}
	return kind == f.Kind
}

// sameEnds compares the ends of IP sockets, of which a snapshot must know at least one.
func sameEnds(r []byte, f *snapshot.File) bool {
	if f.Bits&wasmabi.FileConnected == 0 && (f.L4Proto != protoTCP || f.SPort == 0) {
		return true // a datagram socket without a peer of its own: events know as much
	}
	end := func(ip, port int, a *[16]byte, p uint16) bool {
		return bytes.Equal(r[ip:ip+16], a[:]) && get16(r, port) == p
	}
	if f.Bits&wasmabi.FileConnected == 0 {
		return get16(r, wasmabi.FileSport) == f.SPort // one that listens
	}
	return end(wasmabi.FileCip, wasmabi.FileCport, &f.Client, f.CPort) && end(wasmabi.FileSip, wasmabi.FileSport, &f.Server, f.SPort) ||
		end(wasmabi.FileCip, wasmabi.FileCport, &f.Server, f.SPort) && end(wasmabi.FileSip, wasmabi.FileSport, &f.Client, f.CPort)
}

// sweep removes thread t when the snapshot doesn't show it, else those of its process's fds that it doesn't show.
func (s *State) sweep(t uint32, k *snapshot.Taken) {
	pass := s.repair.pass
	d := &s.side[t]
	if t == 0 || d.bits&live == 0 {
		return
	}
	if d.shown != pass {
		if d.fresh == pass || !k.AllThreads || get64(s.rec(t), wasmabi.ThreadCloneTs) >= s.repair.from {
			return
		}
		if s.leader(t) != t {
			s.st.Repaired.ThreadsRemoved++
			s.remove(t)
			return
		}
		for m := d.gnext; m != t; m = s.side[m].gnext {
			if s.side[m].shown == pass || s.side[m].fresh == pass {
				return // it lives in its other threads
			}
		}
		for m := d.gnext; m != t; m = s.side[m].gnext {
			s.st.Repaired.ThreadsRemoved++
		}
		s.st.Repaired.ThreadsRemoved++
		s.endProcess(t, s.findReaper(t, 0))
		return
	}
	i := d.tab
	if !k.AllFiles || i == 0 || s.leader(t) != t || s.tabs[i].shown != pass ||
		k.PerProcess > 0 && int(s.tabs[i].showed) >= k.PerProcess {
		return
	}
	for p := s.tabs[i].next; p != 0; p = s.pages[p].next {
		g := &s.pages[p]
		g.of(pass)
		for n, e := range g.ent {
			switch {
			case e == 0 || (g.newer|g.shown)>>n&1 != 0:
			case s.tabs[i].newer == pass:
				s.repair.unsure++
			default:
				s.closeFD(i, int32(g.base<<pageBits)+int32(n))
				s.st.Repaired.FDsRemoved++
				s.mended(s.tabs[i].bore)
			}
		}
	}
}
