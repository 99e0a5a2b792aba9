package state

import (
	"github.com/shikra-sensor/shikra/sensor/internal/arena"
	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/snapshot"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// side is what the state knows about a thread beside its record.
type side struct {
	tab          uint32 // its fd table, 0 for none
	child        uint32 // of a main thread: the first child process, itself a main thread
	next, prev   uint32 // siblings: the other children of its parent
	gnext, gprev uint32 // ring of the threads of its process; the main thread is always in it
	fnext, fprev uint32 // ring of the threads with one current and root directory (CLONE_FS), of any process
	ruid, suid   uint32 // real and saved user id
	older, newer uint32 // neighbours in the order in which eviction looks at threads
	living       uint32 // of a main thread: threads of its process that haven't exited
	fresh, shown uint32 // the repair in which it changed after the snapshot began, and the one whose snapshot shows it
	files, fs    uint32 // the repair in which whom it shares fds with changed after the snapshot began, and directories
	dirs         uint32 // the threads of its directories, by a repair's snapshot
	bore         uint32 // the repair in which another thread inherited from it
	bits         uint8
}

// The bits of side.
const (
	live     = 1 << iota // the slot is in use
	guessed              // made from an event that says little about it: the next that says more fills it in
	gone                 // a main thread that exited before its process did
	reaper               // adopts orphans: an init or a child subreaper
	touched              // an event referred to it since the last search for one to evict
	inverted             // its own clone event came before its parent's
	keepCaps             // PR_SET_KEEPCAPS: stays capable when no user id of its is root's any more
	noFixup              // SECBIT_NO_SETUID_FIXUP: user ids don't change capabilities at all
)

// exited is a thread that exited a short while ago.
type exited struct {
	tid  int64
	heir int64 // the process that its children went to, 0 for none
	ts   uint64
}

// recent is the last threads that exited, by tid. Events of others may still name them: their parent's clone event that
// came late, a child's that was made before the kernel gave it another parent.
type recent struct {
	ring []exited
	n    uint64 // exits so far; the next goes to ring[n % len(ring)]
	at   index  // tid → place in ring, plus 1
}

func newRecent() recent {
	const size = 1024
	return recent{ring: make([]exited, size), at: newIndex(size)}
}

func (r *recent) add(e exited) {
	i := r.n % uint64(len(r.ring))
	if old := uint64(r.ring[i].tid); r.at.get(old) == uint32(i+1) {
		r.at.del(old)
	}
	r.ring[i] = e
	r.at.put(uint64(e.tid), uint32(i+1))
	r.n++
}

// find returns what it knows of a thread that exited moments before ts, nil for nothing.
func (r *recent) find(tid int64, ts uint64) *exited {
	i := r.at.get(uint64(tid))
	if i == 0 {
		return nil
	}
	if e := &r.ring[i-1]; ts >= e.ts && ts-e.ts < stale {
		return e
	}
	return nil
}

// has reports whether the thread that began at ts, in ns, is one of those that exited.
func (r *recent) has(tid int64, ts uint64) bool {
	i := r.at.get(uint64(tid))
	return i != 0 && r.ring[i-1].ts >= ts
}

// stale is how far apart, in ns, two events about one clone, or a clone and an exit, may be.
const stale = 2e9

// The fields of a thread record that own a string, by segment.
var (
	publicStrings = [...]int{
		wasmabi.ThreadComm, wasmabi.ThreadExe, wasmabi.ThreadExepath, wasmabi.ThreadCwd, wasmabi.ThreadRoot,
		wasmabi.ThreadUserName, wasmabi.ThreadGroupName, wasmabi.ThreadLoginuserName, wasmabi.ThreadCgroups,
		wasmabi.ThreadUserHome, wasmabi.ThreadUserShell,
	}
	privateStrings = [...]int{wasmabi.ThreadArgs, wasmabi.ThreadCmdline, wasmabi.ThreadEnv, wasmabi.ThreadArgline}
)

func (s *State) rec(t uint32) []byte { return s.a.Threads.Record(t) }

func (s *State) leader(t uint32) uint32 { return get32(s.rec(t), wasmabi.ThreadLeader) }

// intern counts an owner of b in tab. When the segment is full it flushes, if that can help, and has fds of the largest
// process given up before the next event; 0 when there is no room still, which is counted.
func (s *State) intern(tab *arena.Strings, b []byte) uint32 {
	ref := tab.Intern(b)
	if ref == 0 {
		if tab.Unowned() > 0 {
			s.flush(&s.st.RoomFlushes)
			ref = tab.Intern(b)
		}
		if ref == 0 {
			s.st.NamesLost++
			s.tight = s.tight || tab == s.a.Strings
		}
	}
	return ref
}

// setStr sets a string field of a record; ref's owner becomes the record.
func setStr(tab *arena.Strings, rec []byte, off int, ref uint32) {
	tab.Release(get32(rec, off))
	put32(rec, off, ref)
}

// keepStr sets a string field to ref, which has another owner.
func keepStr(tab *arena.Strings, rec []byte, off int, ref uint32) {
	setStr(tab, rec, off, tab.Retain(ref))
}

// setText sets a public string field to b.
func (s *State) setText(t uint32, off int, b []byte) {
	ref := s.intern(s.a.Strings, b)
	setStr(s.a.Strings, s.rec(t), off, ref)
}

// newThread takes a slot for tid, which has none; 0 when there is no room, which is counted. The thread is not linked:
// link comes when its ids are known.
func (s *State) newThread(tid int64) uint32 {
	t, ok := s.a.Threads.Alloc()
	if !ok && s.a.Threads.Pending() > 0 {
		s.flush(&s.st.RoomFlushes)
		t, ok = s.a.Threads.Alloc()
	}
	if !ok {
		s.st.ThreadsDropped++
		return 0
	}
	s.usage[t] = usage{}
	s.side[t] = side{bits: live, gnext: t, gprev: t, fnext: t, fprev: t, ruid: noID, suid: noID, living: 1}
	s.note(&s.side[t].fresh)
	s.append(t)
	s.tids.put(uint64(tid), t)
	r := s.rec(t)
	puti64(r, wasmabi.ThreadTid, tid)
	put32(r, wasmabi.ThreadUid, noID)
	put32(r, wasmabi.ThreadGid, noID)
	put32(r, wasmabi.ThreadLoginuid, noID)
	put32(r, wasmabi.ThreadLeader, t)
	return t
}

// noID is no user or group.
const noID = 0xFFFFFFFF

// ids sets what link goes by.
func (s *State) ids(t uint32, pid, ptid, vtid, vpid int64) {
	r := s.rec(t)
	puti64(r, wasmabi.ThreadPid, pid)
	puti64(r, wasmabi.ThreadPtid, ptid)
	puti64(r, wasmabi.ThreadVtid, vtid)
	puti64(r, wasmabi.ThreadVpid, vpid)
}

// link puts t, which stands alone and isn't marked, into its process and under its parent, by its ids. A process or a
// parent that isn't known is made when grow says so.
func (s *State) link(t uint32, grow bool) {
	r := s.rec(t)
	tid, pid, ptid := geti64(r, wasmabi.ThreadTid), geti64(r, wasmabi.ThreadPid), geti64(r, wasmabi.ThreadPtid)
	flags := get32(r, wasmabi.ThreadFlags) &^ wasmabi.ThreadMain
	l := t
	if pid != tid {
		if l = s.tids.get(uint64(pid)); l == 0 && grow && pid > 0 {
			if l = s.guessMain(pid); l != 0 {
				s.ids(l, pid, ptid, geti64(r, wasmabi.ThreadVpid), geti64(r, wasmabi.ThreadVpid))
				s.link(l, grow)
			}
		} else if l != 0 {
			l = s.leader(l)
		}
	}
	if l == t || l == 0 {
		put32(r, wasmabi.ThreadLeader, t)
		if tid == pid {
			flags |= wasmabi.ThreadMain
		}
		put32(r, wasmabi.ThreadFlags, flags)
		if tid == 1 || geti64(r, wasmabi.ThreadVpid) == 1 {
			s.side[t].bits |= reaper
		}
		p := uint32(0)
		if ptid > 0 && ptid != tid {
			if p = s.tids.get(uint64(ptid)); p == 0 {
				if e := s.recent.find(ptid, s.now); e != nil {
					// The event was made between the parent's exit and the moment when the kernel gave it another.
					p = s.tids.get(uint64(e.heir))
					s.setPtid(t, e.heir)
				} else if grow {
					p = s.guess(ptid)
				}
			}
		}
		if p != 0 {
			p = s.leader(p)
		}
		s.setParent(t, p)
		return
	}
	s.join(t, l)
}

// join makes t a thread of main thread l's process. If t was taken for a main thread, what was its is l's.
func (s *State) join(t, l uint32) {
	s.orphan(t)
	if s.side[t].child != 0 {
		s.reparent(t, l)
	}
	lr, n := s.rec(l), s.side[t].living
	if s.side[t].bits&gone != 0 {
		n++ // it isn't, after all
	}
	for m := t; ; {
		r := s.rec(m)
		put32(r, wasmabi.ThreadFlags, get32(r, wasmabi.ThreadFlags)&^wasmabi.ThreadMain)
		put32(r, wasmabi.ThreadLeader, l)
		put32(r, wasmabi.ThreadParent, get32(lr, wasmabi.ThreadParent))
		puti64(r, wasmabi.ThreadPtid, geti64(lr, wasmabi.ThreadPtid))
		if m = s.side[m].gnext; m == t {
			break
		}
	}
	last, a := s.side[t].gprev, s.side[l].gnext
	s.side[l].gnext, s.side[t].gprev = t, l
	s.side[last].gnext, s.side[a].gprev = a, last
	s.side[l].living += n
	s.side[t].living = 1
	s.side[t].bits &^= gone | reaper
}

// setParent makes p the parent of main thread t and of the other threads of its process, none of which is marked.
func (s *State) setParent(t, p uint32) {
	if p == t || s.side[t].child != 0 && s.descends(p, t) {
		p = 0 // ids that were reused, or hostile: no loops
	}
	s.orphan(t)
	for m := t; ; {
		put32(s.rec(m), wasmabi.ThreadParent, p)
		if m = s.side[m].gnext; m == t {
			break
		}
	}
	if p == 0 {
		return
	}
	d, ps := &s.side[t], &s.side[p]
	d.next, d.prev = ps.child, 0
	if ps.child != 0 {
		s.side[ps.child].prev = t
	}
	ps.child = t
}

// descends reports whether t is p or an ancestor of p.
func (s *State) descends(p, t uint32) bool {
	for ; p != 0; p = get32(s.rec(p), wasmabi.ThreadParent) {
		if p == t {
			return true
		}
	}
	return false
}

// orphan takes main thread t off its parent's list of children.
func (s *State) orphan(t uint32) {
	p := get32(s.rec(t), wasmabi.ThreadParent)
	if p == 0 {
		return
	}
	d := &s.side[t]
	if d.prev != 0 {
		s.side[d.prev].next = d.next
	} else if s.side[p].child == t {
		s.side[p].child = d.next
	}
	if d.next != 0 {
		s.side[d.next].prev = d.prev
	}
	d.next, d.prev = 0, 0
}

// touchProcess touches every thread of t's process.
func (s *State) touchProcess(t uint32) {
	for m := t; ; {
		s.touch(m)
		if m = s.side[m].gnext; m == t {
			return
		}
	}
}

// shareFS gives t, and who shares with it, one current and root directory with src, whose t has already.
func (s *State) shareFS(t, src uint32) {
	s.note(&s.side[t].fs)
	for m := s.side[t].fnext; m != t; m = s.side[m].fnext {
		if m == src {
			return
		}
	}
	s.spreadFS(t)
	a, b := &s.side[t], &s.side[src]
	s.side[a.fnext].fprev, s.side[b.fnext].fprev = src, t
	a.fnext, b.fnext = b.fnext, a.fnext
}

// spreadFS gives those that share with t the directories it has.
func (s *State) spreadFS(t uint32) {
	from := s.rec(t)
	for m := s.side[t].fnext; m != t; m = s.side[m].fnext {
		s.touch(m)
		for _, off := range [...]int{wasmabi.ThreadCwd, wasmabi.ThreadRoot} {
			keepStr(s.a.Strings, s.rec(m), off, get32(from, off))
		}
	}
}

// partFS gives t a current and a root directory of its own.
func (s *State) partFS(t uint32) {
	s.note(&s.side[t].fs)
	d := &s.side[t]
	s.side[d.fprev].fnext, s.side[d.fnext].fprev = d.fnext, d.fprev
	d.fnext, d.fprev = t, t
}

// touchFS touches every thread that shares t's directories.
func (s *State) touchFS(t uint32) {
	for m := t; ; {
		s.touch(m)
		if m = s.side[m].fnext; m == t {
			return
		}
	}
}

// remove takes t out of everything and frees its slot; queued events still see the record. Its children must be gone.
func (s *State) remove(t uint32) {
	r, d := s.rec(t), &s.side[t]
	tid := geti64(r, wasmabi.ThreadTid)
	if s.tids.get(uint64(tid)) == t {
		s.tids.del(uint64(tid))
	}
	if s.repair.noting {
		s.noteEnded(tid)
	}
	if l := get32(r, wasmabi.ThreadLeader); l != t {
		s.side[d.gprev].gnext, s.side[d.gnext].gprev = d.gnext, d.gprev
		if s.side[l].living > 0 {
			s.side[l].living--
		}
	} else {
		// The record keeps its parent for the events that see it.
		s.orphan(t)
	}
	s.partFS(t)
	s.dropTable(d.tab)
	s.containers.drop(s, get32(r, wasmabi.ThreadContainer))
	for _, off := range publicStrings {
		s.a.Strings.Release(get32(r, off))
	}
	for _, off := range privateStrings {
		s.a.Private.Release(get32(r, off))
	}
	s.unlist(t)
	*d = side{}
	s.a.Threads.Free(t)
	if s.lastSlot == t {
		s.lastSlot = 0
	}
}

// endProcess removes the process of main thread t; its children go to heir, 0 for nobody.
func (s *State) endProcess(t uint32, heir uint32) {
	if s.side[t].child != 0 {
		s.reparent(t, heir)
	}
	for m := s.side[t].gnext; m != t; m = s.side[t].gnext {
		s.remove(m)
	}
	s.remove(t)
}

// setPtid sets the parent's id of main thread t and of the other threads of its process, none of which is marked.
func (s *State) setPtid(t uint32, pid int64) {
	for m := t; ; {
		puti64(s.rec(m), wasmabi.ThreadPtid, pid)
		if m = s.side[m].gnext; m == t {
			return
		}
	}
}

// reparent gives the children of main thread t to main thread p, 0 for nobody.
func (s *State) reparent(t, p uint32) {
	pid := int64(0)
	if p != 0 {
		pid = geti64(s.rec(p), wasmabi.ThreadPid)
	}
	for k := s.side[t].child; k != 0; k = s.side[t].child {
		s.touchProcess(k)
		s.setPtid(k, pid)
		s.setParent(k, p)
	}
}

// findReaper returns the main thread that takes over the children of t: the one the kernel named, else the nearest
// ancestor that adopts orphans in the same pid namespace (kernel/exit.c, find_new_reaper), else init.
func (s *State) findReaper(t uint32, tid int64) uint32 {
	if tid > 0 {
		if p := s.tids.get(uint64(tid)); p != 0 && s.leader(p) != t {
			return s.leader(p)
		}
	}
	inNS := s.inNS(t)
	for p := get32(s.rec(t), wasmabi.ThreadParent); p != 0 && s.inNS(p) == inNS; p = get32(s.rec(p), wasmabi.ThreadParent) {
		if d := &s.side[p]; d.bits&reaper != 0 && d.living > 0 {
			return p
		}
	}
	if p := s.tids.get(1); p != 0 && s.leader(p) != t {
		return s.leader(p)
	}
	return 0
}

// inNS reports whether t has ids of its own in a pid namespace other than the sensor's.
func (s *State) inNS(t uint32) bool {
	r := s.rec(t)
	return geti64(r, wasmabi.ThreadTid) != geti64(r, wasmabi.ThreadVtid)
}

// forget removes a thread whose exit was missed, with its process if it is the main one.
func (s *State) forget(t uint32) {
	s.st.ThreadsReplaced++
	if s.leader(t) == t {
		s.endProcess(t, s.findReaper(t, 0))
		return
	}
	s.remove(t)
}

// makeRoom evicts threads when only those kept for events' own are left: those without children that no event referred
// to since the last look at them, the oldest first. It goes by the order of events alone, never by slots, which depend on
// when flushes were. The slots come back at the next flush.
func (s *State) makeRoom() {
	if s.tight {
		// Not where the string was missed: the file that it was for could be among those given up.
		s.tight = false
		s.evictPage()
	}
	over := s.a.Threads.Used() - (s.a.Threads.Limit() - s.spare)
	for steps := 0; over > 0 && steps < 128 && s.oldest != 0; steps++ {
		t := s.oldest
		d := &s.side[t]
		if d.bits&touched == 0 && d.child == 0 && (d.gnext == t || s.leader(t) != t) {
			s.remove(t)
			s.st.ThreadsEvicted++
			over--
			continue
		}
		d.bits &^= touched
		s.unlist(t)
		s.append(t)
	}
}

// append puts t at the end of the order of eviction.
func (s *State) append(t uint32) {
	d := &s.side[t]
	d.older, d.newer = s.newest, 0
	if s.newest != 0 {
		s.side[s.newest].newer = t
	} else {
		s.oldest = t
	}
	s.newest = t
}

func (s *State) unlist(t uint32) {
	d := &s.side[t]
	if d.older != 0 {
		s.side[d.older].newer = d.newer
	} else {
		s.oldest = d.newer
	}
	if d.newer != 0 {
		s.side[d.newer].older = d.older
	} else {
		s.newest = d.older
	}
}

// guess makes an entry for a thread of which only the id is known, taken for the main thread of its process.
func (s *State) guess(tid int64) uint32 {
	t := s.newThread(tid)
	if t == 0 {
		return 0
	}
	s.st.UnknownThreads++
	s.side[t].bits |= guessed
	s.ids(t, tid, 0, tid, tid)
	r := s.rec(t)
	put32(r, wasmabi.ThreadFlags, wasmabi.ThreadMain)
	str := s.a.Strings
	keepStr(str, r, wasmabi.ThreadComm, s.na)
	keepStr(str, r, wasmabi.ThreadExe, s.na)
	for _, off := range [...]int{wasmabi.ThreadUserName, wasmabi.ThreadGroupName, wasmabi.ThreadLoginuserName, wasmabi.ThreadUserHome, wasmabi.ThreadUserShell} {
		keepStr(str, r, off, s.na)
	}
	s.side[t].tab = s.newTable()
	return t
}

// guessMain is guess for the main thread of a process that another of its threads lives in: it may have exited.
func (s *State) guessMain(tid int64) uint32 {
	t := s.guess(tid)
	if t != 0 && s.recent.find(tid, s.now) != nil {
		d, r := &s.side[t], s.rec(t)
		d.bits |= gone
		d.living = 0
		put32(r, wasmabi.ThreadFlags, get32(r, wasmabi.ThreadFlags)|wasmabi.ThreadExited)
	}
	return t
}

// unknownOf makes an entry for the thread of r, which has none, from what can be found out about it. 0 for events that
// aren't of a thread.
func (s *State) unknownOf(r event.Record) uint32 {
	tid := r.TID()
	if tid <= 0 || tid > maxTID {
		return 0
	}
	if o := r.Type().Info().Origin; o != event.OriginSyscall {
		return 0
	}
	var th snapshot.Thread
	if s.cfg.LookupThread != nil && s.lookups.take(r.TS(), s.cfg.Lookups) && s.cfg.LookupThread(tid, &th) && th.TID == tid {
		s.st.UnknownThreads++
		s.st.ThreadsFound++
		t := s.addThread(&th)
		if t != 0 {
			s.settle(t, true)
		}
		return t
	}
	return s.guess(tid)
}

// maxTID is more than any kernel's PID_MAX_LIMIT (4 Mi).
const maxTID = 1 << 31

// budget bounds how often something is done in a second of events.
type budget struct {
	from uint64 // ns
	n    int
}

// take reports whether it may be done once more at ts.
func (b *budget) take(ts uint64, limit int) bool {
	if ts-b.from >= 1e9 {
		b.from, b.n = ts, 0
	}
	b.n++
	return b.n <= limit
}
