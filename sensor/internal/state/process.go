package state

import (
	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// The event format's clone flags (driver/ppm_events_public.h).
const (
	cloneFiles    = 1 << 0
	cloneFS       = 1 << 1
	cloneNewNS    = 1 << 5
	cloneNewPID   = 1 << 6
	cloneParent   = 1 << 8
	cloneVM       = 1 << 15
	cloneThread   = 1 << 13
	cloneNewUser  = 1 << 20
	cloneVfork    = 1 << 27
	cloneInNS     = 1 << 29 // the child isn't in the sensor's pid namespace
	execWritable  = 1 << 0
	execUpper     = 1 << 1
	execMemfd     = 1 << 2
	execLower     = 1 << 3
	execFlagsMask = wasmabi.ThreadExeWritable | wasmabi.ThreadExeUpperLayer | wasmabi.ThreadExeFromMemfd | wasmabi.ThreadExeLowerLayer
)

// The parameters that clone, fork, vfork, execve and execveat have in common, and those of the one and the other kind.
const (
	pExe = iota + 1
	pArgs
	pTID
	pPID
	pPTID
	pCwd
	pFDLimit
	pComm    = 13
	pCgroups = 14

	pCloneFlags = 15
	pCloneUID   = 16
	pCloneGID   = 17
	pVTID       = 18
	pVPID       = 19
	pPidnsStart = 20
	pMaker      = 21 // ours, of clone and clone3: the thread that called, where that isn't one of the parent process
	pPidfd      = 22 // ours, of clone and clone3: the fd that the parent got for the child

	pEnv       = 15
	pTTY       = 16
	pVPGID     = 17
	pLoginUID  = 18
	pExecFlags = 19
	pCapInh    = 20
	pCapPerm   = 21
	pCapEff    = 22
	pExeIno    = 23
	pExeCtime  = 24
	pExeMtime  = 25
	pExecUID   = 26
	pExePath   = 27
	pPGID      = 28
	pExecGID   = 29
	pFilename  = 30
)

// clone takes either side of a fork: the caller's, whose result is the child's id, or the child's, whose result is 0.
// Either may come first, or alone.
func (s *State) clone(c *call) {
	switch {
	case c.m.HasRes && c.m.Res == 0:
		s.cloned(c)
	default:
		if c.t == 0 {
			c.t = s.unknownOf(c.r)
		}
		if c.ok() && c.t != 0 {
			maker := c.r.TID()
			s.cloning(c)
			if fd, ok := paramFD(c.r, pPidfd); ok {
				if t := s.tids.get(uint64(maker)); t != 0 {
					s.addPidfd(c, t, fd)
				}
			}
		}
	}
}

// addPidfd makes the fd that thread t got with its child.
func (s *State) addPidfd(c *call, t uint32, fd int32) {
	f := s.addKind(c, 'P', 0)
	if f == 0 {
		return
	}
	s.setName(f, appendInt(append(s.buf[:0], "/proc/"...), c.m.Res), nil)
	s.addFD(t, fd, f, true)
}

// cloned makes the thread that a child's event tells of, unless its parent's did.
func (s *State) cloned(c *call) {
	r, tid := c.r, c.r.TID()
	if tid <= 0 || tid > maxTID {
		return
	}
	if c.t != 0 && s.side[c.t].bits&guessed == 0 {
		if s.near(c.t, r.TS()) {
			return
		}
		s.forget(c.t)
		c.t = 0
	}
	pid, _ := param64(r, pPID)
	ptid, _ := param64(r, pPTID)
	if pid <= 0 || pid > maxTID {
		pid = tid
	}
	if ptid < 0 || ptid > maxTID {
		ptid = 0
	}
	flags, _ := param32(r, pCloneFlags)
	from := ptid
	if pid != tid {
		from = pid
	}
	if maker, ok := param64(r, pMaker); ok && maker > 0 && maker <= maxTID {
		from = maker
	}
	var src uint32
	if from > 0 && from != tid {
		if src = s.tids.get(uint64(from)); src == 0 && (pid != tid || s.recent.find(from, r.TS()) == nil) {
			if pid != tid {
				src = s.guessMain(from)
			} else {
				src = s.guess(from)
			}
			if src != 0 && (pid != tid || flags&cloneParent == 0) {
				// The child of a moment ago is its maker's image.
				if pid != tid {
					s.ids(src, pid, ptid, pid, pid)
				}
				s.program(src, r, true)
				s.cloneCreds(src, r)
				s.link(src, true)
			}
		}
	}
	vtid, okT := param64(r, pVTID)
	vpid, okP := param64(r, pVPID)
	if !okT || !okP || vtid <= 0 {
		vtid, vpid = tid, pid
	}
	s.makeChild(c, tid, pid, ptid, vtid, vpid, flags, src, inverted)
}

// cloning makes the thread that a parent's event tells of, unless the child's own did. When the child has ids of its own
// in a pid namespace the parent doesn't know them, and when it was waited for until its exec its event has been: then
// nothing is made.
func (s *State) cloning(c *call) {
	r, t := c.r, c.t
	if s.side[t].bits&guessed != 0 {
		s.fillFromClone(t, r)
	}
	rec := s.rec(t)
	flags, _ := param32(r, pCloneFlags)
	child, tid := c.m.Res, r.TID()
	if child > maxTID || child == tid {
		return
	}
	if flags&(cloneInNS|cloneNewPID|cloneParent|cloneVfork) != 0 || r.Type() == event.SyscallVforkV20X || geti64(rec, wasmabi.ThreadVtid) != tid {
		return
	}
	if s.recent.find(child, r.TS()) != nil {
		return
	}
	if k := s.tids.get(uint64(child)); k != 0 && s.side[k].bits&guessed == 0 {
		if s.side[k].bits&inverted != 0 || s.near(k, r.TS()) {
			return
		}
		s.forget(k)
		if c.t = s.tids.get(uint64(tid)); c.t == 0 {
			return // it was of the same process
		}
		t = c.t
		rec = s.rec(t)
	}
	pid, ptid := child, geti64(rec, wasmabi.ThreadPid)
	if flags&cloneThread != 0 {
		pid, ptid = ptid, geti64(rec, wasmabi.ThreadPtid)
	}
	k := call{r: r}
	s.makeChild(&k, child, pid, ptid, child, pid, flags, t, 0)
}

// makeChild makes or fills in thread tid and leaves it in c.t: what the event says over what it takes from src.
func (s *State) makeChild(c *call, tid, pid, ptid, vtid, vpid int64, flags, src uint32, bits uint8) {
	t := s.tids.get(uint64(tid)) // not c.t: making the source may have made it
	if t == 0 {
		if t = s.newThread(tid); t == 0 {
			return
		}
	} else {
		s.detach(t)
	}
	c.t = t
	if src == t {
		src = 0
	}
	d := &s.side[t]
	d.bits = d.bits&^(guessed|inverted) | bits
	if src != 0 {
		s.inherit(t, src)
	} else {
		s.setText(t, wasmabi.ThreadExepath, nil)
		s.setText(t, wasmabi.ThreadCwd, nil)
	}
	s.ids(t, pid, ptid, vtid, vpid)
	rec := s.rec(t)
	put64(rec, wasmabi.ThreadCloneTs, c.r.TS())
	nsInit := uint32(0)
	if vpid == 1 && tid != 1 {
		nsInit = wasmabi.ThreadNsInit
	}
	put32(rec, wasmabi.ThreadFlags, get32(rec, wasmabi.ThreadFlags)&execFlagsMask|nsInit)
	if v, ok := param64(c.r, pPidnsStart); ok {
		put64(rec, wasmabi.ThreadPidnsInitTs, uint64(v))
	}
	s.program(t, c.r, src != 0)
	s.setUsage(t, c.r)
	s.cloneCreds(t, c.r)
	if flags&cloneNewUser != 0 {
		s.newUserNS(t)
	}
	if src != 0 && (vpid == 1 || s.inNS(t) && !s.inNS(src)) {
		puti64(rec, wasmabi.ThreadVpgid, 0) // its group isn't in its pid namespace
	}
	thread := pid != tid
	if src != 0 && (flags&cloneFS != 0 || thread && flags&cloneVM == 0) { // without any flags a thread is as threads are
		s.shareFS(t, src)
	}
	if !thread {
		put64(rec, wasmabi.ThreadExecTs, 0)
	}
	s.link(t, true)
	s.giveTable(t, src, thread || flags&cloneFiles != 0)
}

// giveTable gives t the fd table of src, shared or copied, unless it has opened fds of its own.
func (s *State) giveTable(t, src uint32, share bool) {
	s.note(&s.side[t].files)
	d := &s.side[t]
	if d.tab != 0 {
		if s.tabs[d.tab].fds > 0 {
			return
		}
		s.dropTable(d.tab)
		d.tab = 0
	}
	switch {
	case src == 0 || s.side[src].tab == 0:
		d.tab = s.newTable()
	case share:
		d.tab = s.side[src].tab
		s.tabs[d.tab].refs++
	default:
		d.tab = s.copyTable(s.side[src].tab)
		s.copied(t, s.side[src].tab)
	}
}

// near reports whether thread t was made within moments of ts: the same clone, not an id that was used again.
func (s *State) near(t uint32, ts uint64) bool {
	made := get64(s.rec(t), wasmabi.ThreadCloneTs)
	return made != 0 && (ts >= made && ts-made < stale || ts < made && made-ts < stale)
}

// detach takes thread t out of its process and from its parent, to be linked anew. Queued events that see it are judged
// first.
func (s *State) detach(t uint32) {
	s.touch(t)
	r, d := s.rec(t), &s.side[t]
	if l := get32(r, wasmabi.ThreadLeader); l != t && l != 0 {
		s.side[d.gprev].gnext, s.side[d.gnext].gprev = d.gnext, d.gprev
		d.gnext, d.gprev = t, t
		if s.side[l].living > 0 {
			s.side[l].living--
		}
		put32(r, wasmabi.ThreadLeader, t)
		put32(r, wasmabi.ThreadParent, 0)
		d.living = 1
		return
	}
	// A main thread keeps its threads and children: only its parent may change.
	s.touchProcess(t)
}

// fillFromClone fills in t, of which little was known, from an event of its own that has the parameters of clone.
func (s *State) fillFromClone(t uint32, r event.Record) {
	s.detach(t)
	tid := r.TID()
	pid, ok := param64(r, pPID)
	if !ok || pid <= 0 || pid > maxTID {
		pid = tid
	}
	ptid, _ := param64(r, pPTID)
	if ptid < 0 || ptid > maxTID {
		ptid = 0
	}
	vtid, okT := param64(r, pVTID)
	vpid, okP := param64(r, pVPID)
	if !okT || !okP || vtid <= 0 {
		vtid, vpid = tid, pid
	}
	s.side[t].bits &^= guessed
	s.ids(t, pid, ptid, vtid, vpid)
	s.program(t, r, true)
	s.setUsage(t, r)
	s.cloneCreds(t, r)
	s.link(t, true)
	if l := s.leader(t); l != t {
		s.giveTable(t, l, true)
	}
}

// inherit copies to t what a new thread has from the one that made it.
func (s *State) inherit(t, src uint32) {
	s.note(&s.side[src].bore)
	r, f := s.rec(t), s.rec(src)
	for _, off := range publicStrings {
		keepStr(s.a.Strings, r, off, get32(f, off))
	}
	for _, off := range privateStrings {
		keepStr(s.a.Private, r, off, get32(f, off))
	}
	s.containers.move(s, r, get32(f, wasmabi.ThreadContainer))
	copy(r[wasmabi.ThreadVpgid:wasmabi.ThreadCloneTs], f[wasmabi.ThreadVpgid:wasmabi.ThreadCloneTs]) // vpgid, pgid, sid
	copy(r[wasmabi.ThreadExecTs:wasmabi.ThreadParent], f[wasmabi.ThreadExecTs:wasmabi.ThreadParent]) // exec … fd_limit
	copy(r[wasmabi.ThreadUid:wasmabi.ThreadComm], f[wasmabi.ThreadUid:wasmabi.ThreadComm])           // uid, gid, loginuid, tty
	put32(r, wasmabi.ThreadFlags, get32(f, wasmabi.ThreadFlags)&execFlagsMask)
	d, o := &s.side[t], &s.side[src]
	d.ruid, d.suid = o.ruid, o.suid
	d.bits |= o.bits & (keepCaps | noFixup)
}

// program sets what clone and exec events say alike about the program that t runs. What an event lacks stays as it is when t ran that
// program before: the page that the arguments lie on can't always be read.
func (s *State) program(t uint32, r event.Record, before bool) {
	rec := s.rec(t)
	exe, ok := paramStr(r, pExe)
	if !ok && before {
		exe = s.a.Strings.Get(get32(rec, wasmabi.ThreadExe))
	}
	comm, ok := paramStr(r, pComm)
	switch {
	case ok:
	case before && get32(rec, wasmabi.ThreadComm) != 0:
		comm = s.a.Strings.Get(get32(rec, wasmabi.ThreadComm))
	default:
		comm = exe
	}
	args, ok := paramBuf(r, pArgs)
	if !ok && before {
		args = s.a.Private.Get(get32(rec, wasmabi.ThreadArgs))
	}
	s.setText(t, wasmabi.ThreadExe, exe)
	s.setText(t, wasmabi.ThreadComm, comm)
	s.setArgs(t, comm, args)
	if cwd, ok := paramStr(r, pCwd); ok && len(cwd) > 0 && cwd[0] == '/' {
		s.setCwd(t, cwd)
	}
	if v, ok := param64(r, pFDLimit); ok {
		puti64(rec, wasmabi.ThreadFdLimit, v)
	}
	if b, ok := paramBuf(r, pCgroups); ok && len(b) > 0 {
		s.setCgroups(t, b)
	}
}

// setArgs sets the arguments, each ending in NUL but perhaps the last, and what is made of them.
func (s *State) setArgs(t uint32, comm, args []byte) {
	rec, priv := s.rec(t), s.a.Private
	b := append(s.buf[:0], args...)
	if n := len(b); n > 0 && b[n-1] != 0 {
		b = append(b, 0)
	}
	setStr(priv, rec, wasmabi.ThreadArgs, s.intern(priv, b))
	line := b
	if len(line) > 0 {
		line = line[:len(line)-1]
	}
	for i, c := range line {
		if c == 0 {
			line[i] = ' '
		}
	}
	setStr(priv, rec, wasmabi.ThreadArgline, s.intern(priv, line))
	n := len(b)
	b = append(b, comm...)
	if len(line) > 0 {
		b = append(b, ' ')
		b = append(b, line...)
	}
	setStr(priv, rec, wasmabi.ThreadCmdline, s.intern(priv, b[n:]))
}

// setEnv sets the environment, each variable ending in NUL but perhaps the last.
func (s *State) setEnv(t uint32, env []byte) {
	b := env
	if n := len(b); n > 0 && b[n-1] != 0 {
		b = append(append(s.buf[:0], env...), 0)
	}
	setStr(s.a.Private, s.rec(t), wasmabi.ThreadEnv, s.intern(s.a.Private, b))
}

func (s *State) cloneCreds(t uint32, r event.Record) {
	rec := s.rec(t)
	if v, ok := param32(r, pCloneUID); ok {
		put32(rec, wasmabi.ThreadUid, v)
	}
	if v, ok := param32(r, pCloneGID); ok {
		put32(rec, wasmabi.ThreadGid, v)
	}
	s.setNames(t)
}

// exec brings the thread to what it runs now. It is its process's main thread from then on, and the only one.
func (s *State) exec(c *call) {
	if !c.ok() {
		if c.t == 0 {
			c.t = s.unknownOf(c.r)
		}
		return
	}
	r, tid := c.r, c.r.TID()
	if tid <= 0 || tid > maxTID {
		return
	}
	t := c.t
	if t == 0 {
		if t = s.guess(tid); t == 0 {
			return
		}
		c.t = t
	}
	if l := s.leader(t); l != t {
		s.detach(t)
	} else {
		s.touchProcess(t)
	}
	d := &s.side[t]
	if m := d.gnext; d.bits&gone != 0 && m != t && s.side[m].gnext == t {
		s.succeed(t, m)
	}
	for m := d.gnext; m != t; m = d.gnext {
		s.remove(m)
	}
	d.living = 1
	rec := s.rec(t)
	ptid, okPtid := param64(r, pPTID)
	fresh := d.bits&guessed != 0
	if okPtid && ptid > 0 && ptid <= maxTID && (fresh || ptid != geti64(rec, wasmabi.ThreadPtid)) || get32(rec, wasmabi.ThreadParent) == 0 {
		if !okPtid || ptid <= 0 || ptid > maxTID {
			ptid = geti64(rec, wasmabi.ThreadPtid)
		}
		vtid, vpid := geti64(rec, wasmabi.ThreadVtid), geti64(rec, wasmabi.ThreadVpid)
		if fresh {
			vtid, vpid = tid, tid
		}
		s.ids(t, tid, ptid, vtid, vpid)
		s.link(t, true)
	}
	d.bits &^= guessed | gone
	puti64(rec, wasmabi.ThreadPid, tid)
	put64(rec, wasmabi.ThreadExecTs, r.TS())
	s.program(t, r, false)
	s.setUsage(t, r)
	if env, ok := paramBuf(r, pEnv); ok {
		s.setEnv(t, env)
	}
	if path, ok := paramStr(r, pExePath); ok {
		s.setText(t, wasmabi.ThreadExepath, path)
	} else {
		s.exepathOf(c, t)
	}
	s.execNumbers(t, r)
	d.suid = get32(rec, wasmabi.ThreadUid)
	d.bits &^= keepCaps
	s.setNames(t)
	s.ownTable(t)
	s.closeOnExec(d.tab)
}

// succeed gives main thread t, which has exited, what m has of its own: m, the only other one left, takes its id by the exec
// (fs/exec.c, de_thread).
func (s *State) succeed(t, m uint32) {
	d, o := &s.side[t], &s.side[m]
	d.tab, o.tab = o.tab, d.tab
	d.ruid, d.suid = o.ruid, o.suid
	d.bits = d.bits&^(keepCaps|noFixup) | o.bits&(keepCaps|noFixup)
	s.partFS(t)
	s.shareFS(t, m)
	r, f := s.rec(t), s.rec(m)
	for _, off := range [...]int{wasmabi.ThreadCwd, wasmabi.ThreadRoot} {
		keepStr(s.a.Strings, r, off, get32(f, off))
	}
}

// exepathOf makes the path of the executable from the name given, where the kernel's isn't there.
func (s *State) exepathOf(c *call, t uint32) {
	if c.r.Type() == event.SyscallExecveV19X {
		if name, ok := paramStr(c.r, pFilename); ok {
			s.setText(t, wasmabi.ThreadExepath, s.resolve(t, name))
			return
		}
	}
	s.setText(t, wasmabi.ThreadExepath, nil)
}

// execNumbers sets the numbers that exec events have. A parameter that is missing leaves the field as it was.
func (s *State) execNumbers(t uint32, r event.Record) {
	rec := s.rec(t)
	set32 := func(i, off int) {
		if v, ok := param32(r, i); ok {
			put32(rec, off, v)
		}
	}
	set64 := func(i, off int) {
		if v, ok := param64(r, i); ok {
			puti64(rec, off, v)
		}
	}
	set32(pTTY, wasmabi.ThreadTty)
	set64(pVPGID, wasmabi.ThreadVpgid)
	set32(pLoginUID, wasmabi.ThreadLoginuid)
	set64(pCapInh, wasmabi.ThreadCapInheritable)
	set64(pCapPerm, wasmabi.ThreadCapPermitted)
	set64(pCapEff, wasmabi.ThreadCapEffective)
	set64(pExeIno, wasmabi.ThreadExeIno)
	set64(pExeCtime, wasmabi.ThreadExeCtime)
	set64(pExeMtime, wasmabi.ThreadExeMtime)
	set32(pExecUID, wasmabi.ThreadUid)
	set64(pPGID, wasmabi.ThreadPgid)
	set32(pExecGID, wasmabi.ThreadGid)
	f := get32(rec, wasmabi.ThreadFlags) &^ (wasmabi.ThreadExited | execFlagsMask)
	e, _ := param32(r, pExecFlags)
	for _, p := range [...][2]uint32{
		{execWritable, wasmabi.ThreadExeWritable}, {execUpper, wasmabi.ThreadExeUpperLayer},
		{execMemfd, wasmabi.ThreadExeFromMemfd}, {execLower, wasmabi.ThreadExeLowerLayer},
	} {
		if e&p[0] != 0 {
			f |= p[1]
		}
	}
	put32(rec, wasmabi.ThreadFlags, f|wasmabi.ThreadMain)
}

// procexit removes the thread, and its process when it was the last of it. A main thread that exits before the others
// stays, marked as exited. The event still sees it all: removals are deferred.
func (s *State) procexit(c *call) {
	t := c.t
	if t == 0 {
		return
	}
	e := exited{tid: c.r.TID(), ts: c.r.TS()}
	l := s.leader(t)
	d := &s.side[l]
	last := d.living <= 1 && (t != l || d.bits&gone == 0)
	heir := uint32(0)
	if last {
		reaperTID, _ := param64(c.r, 4)
		if heir = s.findReaper(l, reaperTID); heir != 0 {
			e.heir = geti64(s.rec(heir), wasmabi.ThreadPid)
		}
		if t != l {
			s.recent.add(exited{tid: geti64(s.rec(l), wasmabi.ThreadTid), heir: e.heir, ts: e.ts})
		}
	}
	s.recent.add(e)
	switch {
	case last:
		s.endProcess(l, heir)
	case t != l:
		s.remove(t)
	case d.bits&gone == 0:
		s.touch(t)
		s.mainEnded(t)
	}
}

// mainEnded notes that main thread t has exited before its process has.
func (s *State) mainEnded(t uint32) {
	if d := &s.side[t]; d.bits&gone == 0 {
		d.bits |= gone
		d.living--
	}
	put32(s.rec(t), wasmabi.ThreadFlags, get32(s.rec(t), wasmabi.ThreadFlags)|wasmabi.ThreadExited)
}
