package field

import (
	"bytes"
	"strconv"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// usage is what State.Usage returns; main is 1 for a main thread.
type usage struct{ major, minor, size, rss, swap, main uint64 }

// procComputedFields are the fields of threads and processes that are made of more than one load.
func procComputedFields() []*Field {
	thread := func(name string, t Type, doc string, fn func(c *Ctx, e event.Event, t []byte, v *Value)) *Field {
		return computed(name, t, doc, func(c *Ctx, e event.Event, _ *Ref, v *Value) {
			if t := record(c.Arena.Threads, e.Thread()); t != nil {
				fn(c, e, t, v)
			}
		})
	}
	parent := func(name string, t Type, doc string, fn func(c *Ctx, e event.Event, t []byte, v *Value)) *Field {
		return computed(name, t, doc, func(c *Ctx, e event.Event, _ *Ref, v *Value) {
			if t := c.base(e, Parent, -1); t != nil {
				fn(c, e, t, v)
			}
		})
	}
	caps := func(name, doc string, offset int) *Field {
		return thread(name, String, doc, func(c *Ctx, _ event.Event, t []byte, v *Value) {
			c.Buf = appendCaps(c.Buf[:0], le.Uint64(t[offset:]))
			v.setBytes(c.Buf)
		})
	}
	// group makes name, .exe and .exepath of the leader of a session or process group.
	group := func(prefix, what string, id int, virtual bool) []*Field {
		mk := func(name, doc string, offset int) *Field {
			r := Read{Offset: offset, Width: Str}
			return thread(name, String, doc+" of the "+what+"'s leader: the process with that id, or the eldest ancestor in it.",
				func(c *Ctx, e event.Event, t []byte, v *Value) {
					if l := c.groupLeader(e, t, id, virtual); l != nil {
						r.load(c.Arena, l, v)
					}
				})
		}
		first := prefix + ".name"
		if prefix == "proc.sid" {
			first = "proc.sname"
		}
		return []*Field{
			mk(first, "Name", wasmabi.ThreadComm),
			mk(prefix+".exe", "First word of the command line", wasmabi.ThreadExe),
			mk(prefix+".exepath", "Path of the executable", wasmabi.ThreadExepath),
		}
	}
	same := func(name, doc string, a, b int) *Field {
		return thread(name, Bool, doc, func(_ *Ctx, _ event.Event, t []byte, v *Value) {
			v.setBool(le.Uint64(t[a:]) == le.Uint64(t[b:]))
		})
	}
	threads := func(name, doc string, which func(all, others int) int) *Field {
		return computed(name, Uint, doc, func(c *Ctx, e event.Event, _ *Ref, v *Value) {
			if c.State == nil || e.Thread() == 0 {
				return
			}
			if all, others := c.State.LiveThreads(e.Thread()); all > 0 {
				v.setInt(uint64(which(all, others)))
			}
		})
	}
	used := func(name, doc string, which func(*usage) uint64) *Field {
		return thread(name, Uint, doc+" when it last made a clone or exec event; no value before it did.", func(c *Ctx, e event.Event, t []byte, v *Value) {
			if c.State == nil {
				return
			}
			u, ok := usage{}, false
			if u.major, u.minor, u.size, u.rss, u.swap, ok = c.State.Usage(e.Thread()); ok {
				u.main = uint64(le.Uint32(t[wasmabi.ThreadFlags:]) & wasmabi.ThreadMain / wasmabi.ThreadMain)
				v.setInt(which(&u))
			}
		})
	}
	std := func(fd int64, word string) []*Field {
		return []*Field{
			computed("proc.std"+word+".type", String, "Kind of what standard "+stdNames[fd]+" is, as fd.type.", func(c *Ctx, e event.Event, _ *Ref, v *Value) {
				if f := c.openFile(e, fd); f != nil {
					c.setKindName(f[wasmabi.FileKind], v)
				}
			}),
			computed("proc.std"+word+".name", String, "Name of what standard "+stdNames[fd]+" is, as fd.name.", func(c *Ctx, e event.Event, _ *Ref, v *Value) {
				if f := c.openFile(e, fd); f != nil {
					c.setFileName(f, v)
				}
			}),
		}
	}

	out := []*Field{
		thread("proc.exeline", String, "First word of the command line and the arguments, with blanks between.", computeExeline),
		thread("proc.cmdnargs", Uint, "Number of arguments after argv[0].", func(c *Ctx, _ event.Event, t []byte, v *Value) {
			v.setInt(uint64(bytes.Count(c.args(t), nul)))
		}),
		thread("proc.cmdlenargs", Uint, "Bytes of all arguments after argv[0], without what stands between them.", func(c *Ctx, _ event.Event, t []byte, v *Value) {
			a := c.args(t)
			v.setInt(uint64(len(a) - bytes.Count(a, nul)))
		}),
		{
			Name: "proc.env", Type: String, Arg: ArgKey, Optional: true, Compute: computeEnv,
			Doc: "Environment of the process with blanks between; with a name the value of that variable, empty when it isn't set.",
		},
		{
			Name: "proc.aenv", Type: String, Arg: ArgIndexKey, Compute: computeAncestorEnv,
			Doc: "Environment of an ancestor by number (1 is the parent), or the value of a variable in the nearest ancestor that has it.",
		},
		thread("proc.loginshellid", Int, "Process id of the eldest process, among this one and its ancestors, whose name ends in sh.", computeLoginShell),
		thread("proc.duration", RelTime, "Time since the process started, in ns.", computeDuration),
		parent("proc.ppid.duration", RelTime, "Time since the parent process started, in ns.", computeDuration),
		thread("proc.pid.ts", AbsTime, "When the process started, in ns since the epoch.", computeStart),
		parent("proc.ppid.ts", AbsTime, "When the parent process started, in ns since the epoch.", computeStart),
		thread("proc.pidns_init_start_ts", AbsTime, "When the first process of the pid namespace started, in ns since the epoch.", func(c *Ctx, _ event.Event, t []byte, v *Value) {
			if ts := le.Uint64(t[wasmabi.ThreadPidnsInitTs:]); ts != 0 {
				v.setInt(c.wallOf(ts))
			}
		}),
		thread("proc.exe_ino.ctime_duration_proc_start", RelTime, "Time from the last change of the executable's inode to the start of the process, in ns; missing when the change came later.", func(c *Ctx, _ event.Event, t []byte, v *Value) {
			c.setSpan(le.Uint64(t[wasmabi.ThreadExeCtime:]), c.wallOf(le.Uint64(t[wasmabi.ThreadCloneTs:])), t, wasmabi.ThreadCloneTs, v)
		}),
		thread("proc.exe_ino.ctime_duration_pidns_start", RelTime, "Time from the start of the pid namespace to the last change of the executable's inode, in ns; missing when the change came earlier.", func(c *Ctx, _ event.Event, t []byte, v *Value) {
			c.setSpan(c.wallOf(le.Uint64(t[wasmabi.ThreadPidnsInitTs:])), le.Uint64(t[wasmabi.ThreadExeCtime:]), t, wasmabi.ThreadPidnsInitTs, v)
		}),
		same("proc.is_sid_leader", "Whether the process leads its session.", wasmabi.ThreadSid, wasmabi.ThreadVpid),
		same("proc.is_vpgid_leader", "Whether the process leads its process group, by the ids of its own pid namespace.", wasmabi.ThreadVpgid, wasmabi.ThreadVpid),
		same("proc.is_pgid_leader", "Whether the process leads its process group, by the host's ids.", wasmabi.ThreadPgid, wasmabi.ThreadPid),
		computed("proc.fdopencount", Uint, "How many fds the process has open.", func(c *Ctx, e event.Event, _ *Ref, v *Value) {
			if c.State != nil && e.Thread() != 0 {
				v.setInt(uint64(c.State.OpenFiles(e.Thread())))
			}
		}),
		computed("proc.fdusage", Uint, "How many of the fds that the process may have open are, in percent rounded down.", func(c *Ctx, e event.Event, _ *Ref, v *Value) {
			if t := record(c.Arena.Threads, e.Thread()); t != nil && c.State != nil {
				if limit := int64(le.Uint64(t[wasmabi.ThreadFdLimit:])); limit > 0 {
					v.setInt(uint64(c.State.OpenFiles(e.Thread())) * 100 / uint64(limit))
				}
			}
		}),
		threads("proc.nthreads", "How many threads the process has, those that have exited left out.", func(all, _ int) int { return all }),
		threads("proc.nchilds", "How many threads the process has beside its main one.", func(_, others int) int { return others }),
		used("proc.vmsize", "Virtual memory of the process in KB,", func(u *usage) uint64 { return u.size }),
		used("proc.vmrss", "Resident memory of the process in KB,", func(u *usage) uint64 { return u.rss }),
		used("proc.vmswap", "Swapped memory of the process in KB,", func(u *usage) uint64 { return u.swap }),
		used("thread.vmsize", "Virtual memory in KB of the process whose main thread it is, 0 for other threads,", func(u *usage) uint64 { return u.size * u.main }),
		used("thread.vmrss", "Resident memory in KB of the process whose main thread it is, 0 for other threads,", func(u *usage) uint64 { return u.rss * u.main }),
		used("thread.pfmajor", "Major page faults of the thread,", func(u *usage) uint64 { return u.major }),
		used("thread.pfminor", "Minor page faults of the thread,", func(u *usage) uint64 { return u.minor }),
		caps("thread.cap_permitted", "Permitted capabilities of the thread, by name with blanks between.", wasmabi.ThreadCapPermitted),
		caps("thread.cap_inheritable", "Inheritable capabilities of the thread, by name with blanks between.", wasmabi.ThreadCapInheritable),
		caps("thread.cap_effective", "Effective capabilities of the thread, by name with blanks between.", wasmabi.ThreadCapEffective),
		{
			Name: "thread.cgroup", Type: String, Arg: ArgKey, Compute: computeCgroup,
			Doc: "Cgroup of the thread in a subsystem: thread.cgroup.cpu.",
		},
	}
	out = append(out, group("proc.sid", "session", wasmabi.ThreadSid, true)...)
	out = append(out, group("proc.vpgid", "process group", wasmabi.ThreadVpgid, true)...)
	out = append(out, group("proc.pgid", "process group", wasmabi.ThreadPgid, false)...)
	out = append(out, std(0, "in")...)
	out = append(out, std(1, "out")...)
	return append(out, std(2, "err")...)
}

var stdNames = [3]string{"input", "output", "error"}

// nul and blank are never written.
var (
	nul   = []byte{0}
	blank = []byte{' '}
)

// args returns the arguments of thread t, each followed by NUL.
func (c *Ctx) args(t []byte) []byte { return c.Arena.Private.Get(le.Uint32(t[wasmabi.ThreadArgs:])) }

func computeExeline(c *Ctx, _ event.Event, t []byte, v *Value) {
	c.Buf = append(c.Buf[:0], c.Arena.Strings.Get(le.Uint32(t[wasmabi.ThreadExe:]))...)
	c.Buf = append(c.Buf, ' ')
	c.Buf = append(c.Buf, c.Arena.Private.Get(le.Uint32(t[wasmabi.ThreadArgline:]))...)
	v.setBytes(c.Buf)
}

func computeOneArg(c *Ctx, e event.Event, r *Ref, v *Value) {
	t := record(c.Arena.Threads, e.Thread())
	if t == nil {
		return
	}
	v.setBytes(c.Buf[:0])
	for i, b := 0, c.args(t); len(b) > 0; i++ {
		s := cstring(b)
		if i == r.Index {
			v.setBytes(s)
			return
		}
		b = b[min(len(s)+1, len(b)):]
	}
}

// setEnv sets v to the environment of process t, or to the value of one variable in it, "" for none.
func (c *Ctx) setEnv(t []byte, name string, v *Value) {
	b := c.Arena.Private.Get(le.Uint32(t[wasmabi.ThreadEnv:]))
	if name == "" {
		c.Buf = c.Buf[:0]
		if len(b) > 0 {
			c.Buf = appendJoined(c.Buf, b[:len(b)-1], ' ')
		}
		v.setBytes(c.Buf)
		return
	}
	v.setBytes(c.Buf[:0])
	for len(b) > 0 {
		s := cstring(b)
		if len(s) > len(name) && s[len(name)] == '=' && string(s[:len(name)]) == name {
			v.setBytes(bytes.Trim(s[len(name)+1:], " "))
			return
		}
		b = b[min(len(s)+1, len(b)):]
	}
}

func computeEnv(c *Ctx, e event.Event, r *Ref, v *Value) {
	if t := record(c.Arena.Threads, e.Thread()); t != nil {
		c.setEnv(t, r.Key, v)
	}
}

func computeAncestorEnv(c *Ctx, e event.Event, r *Ref, v *Value) {
	if r.Index >= 0 {
		if t := c.base(e, Ancestor, r.Index); t != nil {
			c.setEnv(t, "", v)
		}
		return
	}
	c.ancestors(e, func(slot uint32) bool {
		c.setEnv(c.Arena.Threads.Record(slot), r.Key, v)
		return len(v.Bytes) == 0
	})
}

func computeLoginShell(c *Ctx, e event.Event, _ []byte, v *Value) {
	look := func(t []byte) {
		if n := c.threadComm(t); len(n) >= 2 && string(n[len(n)-2:]) == "sh" {
			v.setInt(le.Uint64(t[wasmabi.ThreadPid:]))
		}
	}
	if t := c.base(e, Leader, -1); t != nil {
		look(t)
	}
	c.ancestors(e, func(slot uint32) bool {
		look(c.Arena.Threads.Record(slot))
		return true
	})
}

func computeDuration(_ *Ctx, e event.Event, t []byte, v *Value) {
	if ts := le.Uint64(t[wasmabi.ThreadCloneTs:]); ts != 0 {
		v.setInt(e.TS() - min(ts, e.TS()))
	}
}

func computeStart(c *Ctx, _ event.Event, t []byte, v *Value) {
	if ts := le.Uint64(t[wasmabi.ThreadCloneTs:]); ts != 0 {
		v.setInt(c.wallOf(ts))
	}
}

// setSpan sets v to the ns between two wall times when the first is earlier and both are known; at is the offset of the
// one that isn't the executable's ctime.
func (c *Ctx) setSpan(from, to uint64, t []byte, at int, v *Value) {
	if le.Uint64(t[wasmabi.ThreadExeCtime:]) != 0 && le.Uint64(t[at:]) != 0 && from < to {
		v.setInt(to - from)
	}
}

// groupLeader returns the leader of the session or process group of t, e's thread, whose id stands at offset; nil for
// unknown. Ids that are the namespace's own (virtual) can be looked up on the host only.
func (c *Ctx) groupLeader(e event.Event, t []byte, offset int, virtual bool) []byte {
	id := int64(le.Uint64(t[offset:]))
	if id < 0 {
		return nil
	}
	vtid := le.Uint64(t[wasmabi.ThreadVtid:])
	onHost := vtid == 0 || vtid == le.Uint64(t[wasmabi.ThreadTid:])
	if c.State != nil && id != 0 && (!virtual || onHost) {
		if l := record(c.Arena.Threads, c.State.FindThread(id)); l != nil {
			return l
		}
	}
	leader := c.base(e, Leader, -1)
	c.ancestors(e, func(slot uint32) bool {
		p := c.Arena.Threads.Record(slot)
		if int64(le.Uint64(p[offset:])) != id {
			return false
		}
		leader = p
		return true
	})
	return leader
}

func computeCgroup(c *Ctx, e event.Event, r *Ref, v *Value) {
	t := record(c.Arena.Threads, e.Thread())
	if t == nil {
		return
	}
	b := c.Arena.Strings.Get(le.Uint32(t[wasmabi.ThreadCgroups:]))
	for len(b) > 0 {
		s, rest, _ := bytes.Cut(b, blank)
		if len(s) > len(r.Key) && s[len(r.Key)] == '=' && string(s[:len(r.Key)]) == r.Key {
			v.setBytes(s[len(r.Key)+1:])
			return
		}
		b = rest
	}
}

func computeContainerOwner(c *Ctx, e event.Event, _ *Ref, v *Value) {
	slot := c.containerSlot(e)
	if slot == 0 || c.State == nil {
		return
	}
	if owner := c.State.ContainerOwner(slot); len(owner) > 0 {
		v.setBytes(owner)
	} else {
		v.setBytes(c.text("system"))
	}
}

func computeContainerType(c *Ctx, e event.Event, _ *Ref, v *Value) {
	if e.Thread() == 0 {
		return
	}
	slot := c.containerSlot(e)
	if slot == 0 {
		v.setBytes(c.text("host"))
		return
	}
	if k := le.Uint32(c.Arena.Containers.Record(slot)[wasmabi.ContainerKind:]); k != 0 && int(k) < len(containerKinds) {
		v.setBytes(c.text(containerKinds[k]))
	}
}

func (c *Ctx) setDecimal(n uint64, v *Value) {
	c.Buf = strconv.AppendUint(c.Buf[:0], n, 10)
	v.setBytes(c.Buf)
}
