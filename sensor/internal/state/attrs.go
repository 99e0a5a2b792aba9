package state

import (
	"bytes"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// What a thread changes about itself: directory, ids, capabilities, name, limits. Directories and sessions are those of
// the whole process, ids those of one thread.

// setCwd sets the directory of t; path is absolute. As in Falco it ends in a slash.
func (s *State) setCwd(t uint32, path []byte) {
	b := appendPath(s.buf[:0], nil, path)
	if n := len(b); n == 0 || b[n-1] != '/' {
		b = append(b, '/')
	}
	s.setText(t, wasmabi.ThreadCwd, b)
}

// moveTo sets the directory of t and those that share it. path isn't at the start of the scratch.
func (s *State) moveTo(t uint32, path []byte) {
	if len(path) == 0 || path[0] != '/' || len(path) > maxName {
		return
	}
	s.touchFS(t)
	for m := t; ; {
		s.setCwd(m, path)
		if m = s.side[m].fnext; m == t {
			return
		}
	}
}

func (s *State) chdir(c *call) {
	path, ok := paramStr(c.r, 1)
	if !c.ok() || !ok || c.t == 0 {
		return
	}
	if c.r.Type() == event.SyscallGetcwdX && (len(path) == 0 || path[0] != '/') {
		return // "(unreachable)…"
	}
	s.moveTo(c.t, s.aside(s.resolve(c.t, path)))
}

// aside copies b to the end of the scratch, where the next use of its start doesn't overwrite it. Too long a b is nil.
func (s *State) aside(b []byte) []byte {
	if len(b) > maxName {
		return nil
	}
	end := s.buf[:cap(s.buf)]
	return append(end[len(end)-maxName:len(end)-maxName:len(end)], b...)
}

func (s *State) fchdir(c *call) {
	s.use(c)
	if !c.ok() || c.t == 0 || c.file == 0 {
		return
	}
	s.moveTo(c.t, s.a.Strings.Get(get32(s.a.Files.Record(c.file), wasmabi.FileName)))
}

func (s *State) chroot(c *call) {
	path, ok := paramStr(c.r, 1)
	if !c.ok() || !ok || c.t == 0 {
		return
	}
	if path = s.aside(s.resolve(c.t, path)); path == nil {
		return
	}
	s.touchFS(c.t)
	for m := c.t; ; {
		s.setText(m, wasmabi.ThreadRoot, path)
		if m = s.side[m].fnext; m == c.t {
			return
		}
	}
}

// setGID sets the effective group from parameter i, unless that is -1, which leaves it.
func (s *State) setGID(c *call, i int) {
	id, ok := param32(c.r, i)
	if !c.ok() || !ok || id == noID || c.t == 0 || get32(s.rec(c.t), wasmabi.ThreadGid) == id {
		return
	}
	s.touch(c.t)
	put32(s.rec(c.t), wasmabi.ThreadGid, id)
	s.setNames(c.t)
}

// capSetuid is the bit of CAP_SETUID (include/uapi/linux/capability.h).
const capSetuid = 1 << 7

// setUID follows the calls that set user ids, and what they do to capabilities.
func (s *State) setUID(c *call) {
	if !c.ok() || c.t == 0 {
		return
	}
	r, d := s.rec(c.t), &s.side[c.t]
	euid := get32(r, wasmabi.ThreadUid)
	ruid, suid := d.ruid, d.suid
	if ruid == noID {
		ruid, suid = euid, euid // nothing else is known
	}
	set := func(id *uint32, i int) bool {
		v, ok := param32(c.r, i)
		if ok && v != noID {
			*id = v
			return true
		}
		return false
	}
	r0, e0, s0 := ruid, euid, suid
	switch c.r.Type() {
	case event.SyscallSetuidX:
		if set(&euid, 1) && get64(r, wasmabi.ThreadCapEffective)&capSetuid != 0 {
			ruid, suid = euid, euid
		}
	case event.SyscallSetreuidX: // kernel/sys.c, __sys_setreuid
		real := set(&ruid, 1)
		if set(&euid, 2) && euid != r0 || real {
			suid = euid
		}
	case event.SyscallSetresuidX:
		set(&ruid, 1)
		set(&euid, 2)
		set(&suid, 3)
	}
	d.ruid, d.suid = ruid, suid
	perm, eff := get64(r, wasmabi.ThreadCapPermitted), get64(r, wasmabi.ThreadCapEffective)
	p0, f0 := perm, eff
	if d.bits&noFixup == 0 { // security/commoncap.c, cap_emulate_setxuid
		if (r0 == 0 || e0 == 0 || s0 == 0) && ruid != 0 && euid != 0 && suid != 0 && d.bits&keepCaps == 0 {
			perm, eff = 0, 0
		}
		switch {
		case e0 == 0 && euid != 0:
			eff = 0
		case e0 != 0 && euid == 0:
			eff = perm
		}
	}
	if euid == e0 && perm == p0 && eff == f0 {
		return
	}
	s.touch(c.t)
	put32(r, wasmabi.ThreadUid, euid)
	put64(r, wasmabi.ThreadCapPermitted, perm)
	put64(r, wasmabi.ThreadCapEffective, eff)
	s.setNames(c.t)
}

// setsid makes the process leader of a session and a group of its own, without a terminal.
func (s *State) setsid(c *call) {
	if !c.ok() || c.t == 0 {
		return
	}
	s.touchProcess(c.t)
	for m := c.t; ; {
		r := s.rec(m)
		puti64(r, wasmabi.ThreadSid, geti64(r, wasmabi.ThreadPid)) // the result is the pid namespace's
		puti64(r, wasmabi.ThreadVpgid, c.m.Res)
		puti64(r, wasmabi.ThreadPgid, geti64(r, wasmabi.ThreadPid))
		put32(r, wasmabi.ThreadTty, 0)
		if m = s.side[m].gnext; m == c.t {
			return
		}
	}
}

// setpgid sets the process group of a process, by default the caller's. In a pid namespace the ids given are the
// namespace's: a child is found by its own.
func (s *State) setpgid(c *call) {
	pid, ok1 := param64(c.r, 1)
	pgid, ok2 := param64(c.r, 2)
	if !c.ok() || !ok1 || !ok2 || c.t == 0 {
		return
	}
	t := s.leader(c.t)
	switch {
	case pid == 0 || pid == geti64(s.rec(t), wasmabi.ThreadVpid):
	case !s.inNS(t):
		t = s.tids.get(uint64(pid))
	default:
		k := s.side[t].child
		for k != 0 && geti64(s.rec(k), wasmabi.ThreadVpid) != pid {
			k = s.side[k].next
		}
		t = k
	}
	if t == 0 {
		return
	}
	t = s.leader(t)
	if pgid == 0 {
		pgid = geti64(s.rec(t), wasmabi.ThreadVpid)
	}
	host := int64(-1)
	switch {
	case pgid == geti64(s.rec(t), wasmabi.ThreadVpid):
		host = geti64(s.rec(t), wasmabi.ThreadPid)
	case !s.inNS(t):
		host = pgid
	default:
		if l := s.beside(t, wasmabi.ThreadVpgid, pgid); l != 0 {
			host = geti64(s.rec(l), wasmabi.ThreadPgid)
		}
	}
	s.touchProcess(t)
	for m := t; ; {
		r := s.rec(m)
		puti64(r, wasmabi.ThreadVpgid, pgid)
		if host >= 0 {
			puti64(r, wasmabi.ThreadPgid, host)
		}
		if m = s.side[m].gnext; m == t {
			return
		}
	}
}

// beside returns a thread of t's pid namespace whose 64-bit field at off is v, 0 for none. It looks at all there are, for
// calls that are rare.
func (s *State) beside(t uint32, off int, v int64) uint32 {
	began := get64(s.rec(t), wasmabi.ThreadPidnsInitTs)
	for k := s.newest; k != 0; k = s.side[k].older {
		if r := s.rec(k); geti64(r, off) == v && s.inNS(k) && get64(r, wasmabi.ThreadPidnsInitTs) == began {
			return k
		}
	}
	return 0
}

func (s *State) capset(c *call) {
	if !c.ok() || c.t == 0 {
		return
	}
	s.touch(c.t)
	r := s.rec(c.t)
	for i, off := range [...]int{wasmabi.ThreadCapInheritable, wasmabi.ThreadCapPermitted, wasmabi.ThreadCapEffective} {
		if v, ok := param64(c.r, 1+i); ok {
			puti64(r, off, v)
		}
	}
}

// allCaps is every capability there is (include/uapi/linux/capability.h, CAP_LAST_CAP is 40).
const allCaps = 1<<41 - 1

// newUserNS gives t what one has that enters a user namespace (kernel/user_namespace.c, set_cred_user_ns).
func (s *State) newUserNS(t uint32) {
	s.touch(t)
	r := s.rec(t)
	put64(r, wasmabi.ThreadCapInheritable, 0)
	put64(r, wasmabi.ThreadCapPermitted, allCaps)
	put64(r, wasmabi.ThreadCapEffective, allCaps)
	s.side[t].bits &^= keepCaps | noFixup
}

// namespaces follows unshare and setns.
func (s *State) namespaces(c *call) {
	s.use(c)
	if !c.ok() || c.t == 0 {
		return
	}
	var flags uint32
	if c.r.Type() == event.SyscallUnshareX {
		flags = paramFlags(c.r, 1)
		if flags&cloneFiles != 0 {
			s.ownTable(c.t)
		}
		if flags&(cloneFS|cloneNewNS|cloneNewUser) != 0 { // kernel/fork.c, ksys_unshare: what the others imply
			s.partFS(c.t)
		}
	} else {
		if flags = paramFlags(c.r, 2); flags == 0 && c.file != 0 {
			flags = nsFlag(s.a.Strings.Get(get32(s.a.Files.Record(c.file), wasmabi.FileName)))
		}
		if flags&cloneNewNS != 0 { // it begins at the root of the other namespace: fs/namespace.c, mntns_install
			s.moveTo(c.t, []byte("/"))
			s.setText(c.t, wasmabi.ThreadRoot, []byte("/"))
		}
	}
	if flags&cloneNewUser != 0 {
		s.newUserNS(c.t)
	}
}

// nsFlag returns the event format's flag of the namespace that a file of /proc/PID/ns stands for, 0 for others.
func nsFlag(name []byte) uint32 {
	switch {
	case bytes.HasSuffix(name, []byte("/ns/mnt")) || bytes.HasPrefix(name, []byte("mnt:[")):
		return cloneNewNS
	case bytes.HasSuffix(name, []byte("/ns/user")) || bytes.HasPrefix(name, []byte("user:[")):
		return cloneNewUser
	}
	return 0
}

// The prctl options that change state (include/uapi/linux/prctl.h).
const (
	prSetKeepCaps   = 8
	prSetName       = 15
	prSetSecurebits = 28
	prSetSubreaper  = 36

	secbitNoFixup  = 1 << 2
	secbitKeepCaps = 1 << 4
)

func (s *State) prctl(c *call) {
	if !c.ok() || c.t == 0 {
		return
	}
	switch paramFlags(c.r, 1) {
	case prSetName:
		name, ok := paramStr(c.r, 2)
		if !ok {
			return
		}
		if len(name) > 15 {
			name = name[:15] // TASK_COMM_LEN, with the NUL
		}
		r := s.rec(c.t)
		if bytes.Equal(s.a.Strings.Get(get32(r, wasmabi.ThreadComm)), name) {
			return
		}
		s.touch(c.t)
		s.setText(c.t, wasmabi.ThreadComm, name)
		b := append(s.buf[:0], name...)
		if line := s.a.Private.Get(get32(r, wasmabi.ThreadArgline)); len(line) > 0 {
			b = append(append(b, ' '), line...)
		}
		setStr(s.a.Private, r, wasmabi.ThreadCmdline, s.intern(s.a.Private, b))
	case prSetKeepCaps, prSetSecurebits:
		v, ok := param64(c.r, 3)
		if !ok {
			return
		}
		d := &s.side[c.t]
		if paramFlags(c.r, 1) == prSetKeepCaps {
			v = v & 1 * secbitKeepCaps
		} else if d.bits &^= noFixup; v&secbitNoFixup != 0 {
			d.bits |= noFixup
		}
		if d.bits &^= keepCaps; v&secbitKeepCaps != 0 {
			d.bits |= keepCaps
		}
	case prSetSubreaper:
		v, _ := param64(c.r, 3)
		d := &s.side[s.leader(c.t)]
		d.bits &^= reaper
		if v != 0 {
			d.bits |= reaper
		}
	}
}

// rlimitNofile is the event format's number of RLIMIT_NOFILE.
const rlimitNofile = 7

// rlimit follows the limit of open files. The parameters are the resource, the current limit, and the process it is of,
// 0 for the caller.
func (s *State) rlimit(c *call, pResource, pCur, pProc int) {
	cur, ok := param64(c.r, pCur)
	if hard, _ := param64(c.r, pCur+1); pProc != 0 && cur == 0 && hard == 0 {
		if sets, _ := param64(c.r, pResource+1); sets == 0 {
			return // prlimit's way to say that it sets none, or a capture's that doesn't know
		}
	}
	if !c.ok() || c.t == 0 || !ok || cur == -1 || paramFlags(c.r, pResource) != rlimitNofile {
		return
	}
	t := c.t
	if pProc != 0 {
		if pid, ok := param64(c.r, pProc); ok && pid > 0 {
			if s.inNS(t) {
				t = s.beside(t, wasmabi.ThreadVtid, pid)
			} else {
				t = s.tids.get(uint64(pid))
			}
		}
	}
	if t == 0 || geti64(s.rec(s.leader(t)), wasmabi.ThreadFdLimit) == cur {
		return
	}
	s.touchProcess(t)
	for m := t; ; {
		puti64(s.rec(m), wasmabi.ThreadFdLimit, cur)
		if m = s.side[m].gnext; m == t {
			return
		}
	}
}
