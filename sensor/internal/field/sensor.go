package field

import (
	"bytes"
	"strconv"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// Sensor says what the sensor consists of, so that an event which acts on it can be told (evt.targets_sensor). It is
// read-only once a Ctx has it.
type Sensor struct {
	PID     int64 // its process id in the first pid namespace, as events have it
	OwnPID  int64 // and in its own namespace
	OwnPGID int64 // its process group there

	// HasThread reports whether a thread id of the sensor's own pid namespace is one of its threads; nil for no.
	HasThread func(tid int64) bool

	// SameRoot reports whether a thread, by its id in the first pid namespace, now has the sensor's root directory, and whether that
	// could be found out; nil for never. It is asked only for paths that are the sensor's by their letters.
	SameRoot func(tid int64) (same, ok bool)

	Paths []string            // files and folders with all that is in them: absolute and clean, as the host has them
	Files map[FileID]struct{} // files by what they are, whatever they are called
	BPF   map[BPFID]struct{}  // maps, programs and links
	// What Ready makes.
	types [event.NumTypes]aims       // what of an event may name the sensor
	hooks [event.NumTypes]event.Type // which security function's event tells of a call's act on a file, too
	proc  [2]string                  // its folder in /proc, as the host and as its own container has it
}

// FileID is a file's device, in the events' form, and inode.
type FileID struct {
	Dev uint32
	Ino uint64
}

// BPFID is a BPF object: its kind, a value of the flags bpf_objects, and id.
type BPFID struct {
	Kind uint8
	ID   uint32
}

// How a parameter names what its event acts on.
type aim uint8

const (
	aimNone   aim = iota
	aimPID        // a process or thread, by the caller's numbers
	aimSignal     // the same, but negative is a group, -1 everybody, 0 the caller's group
	aimHost       // a process by the number in the first namespace
	aimLimit      // as aimPID, unless the limits are only asked for
	aimPath       // a path
	aimTree       // a path that takes along everything below it
	aimCover      // a path that is mounted over, with everything below it where the sensor sees that
	aimOpen       // the path of an open, which only one for writing does something to
	aimFile       // the file that the event acts on
	aimBPF        // the kind of a BPF object; its id is the next parameter
	aimSaid       // the kernel's own word that it is the sensor's
)

// aims are those of one event type: up to three parameters.
type aims [3]struct {
	what  aim
	param uint8
}

// sensorAims lists the event types that may act on the sensor.
func sensorAims() (t [event.NumTypes]aims) {
	add := func(what aim, param string, types ...event.Type) {
		for _, et := range types {
			a := &t[et]
			i := 0
			for a[i].what != aimNone {
				i++
			}
			a[i].what = what
			if param != "" {
				a[i].param = uint8(et.Info().ParamIndex(param))
			}
		}
	}
	add(aimSignal, "pid", event.SyscallKillX)
	add(aimPID, "tid", event.SyscallTkillX)
	add(aimPID, "pid", event.SyscallTgkillX, event.SyscallPtraceX, event.SyscallProcessVmWritevX,
		event.SyscallProcessVmReadvX, event.SyscallRtSigqueueinfoX, event.SyscallRtTgsigqueueinfoX)
	add(aimLimit, "pid", event.SyscallPrlimitX)
	add(aimHost, "pid", event.SyscallPidfdSendSignalX, event.SyscallPidfdGetfdX, event.SyscallProcessMadviseX)

	add(aimPath, "path", event.SyscallUnlinkV2X, event.SyscallRmdirV2X, event.SyscallMkdirV2X, event.SyscallMkdiratX, event.SyscallChownX,
		event.SyscallLchownX, event.SyscallMknodX, event.SyscallMknodatX, event.SyscallTruncateX)
	add(aimPath, "path", event.SyscallSetxattrX, event.SyscallLsetxattrX, event.SyscallSetxattratX, event.SyscallRemovexattrX,
		event.SyscallLremovexattrX, event.SyscallRemovexattratX)
	add(aimPath, "name", event.SyscallUnlinkatV2X)
	add(aimTree, "name", event.SyscallUmountV1X, event.SyscallUmount2X)
	add(aimPath, "filename", event.SyscallChmodX, event.SyscallFchmodatX, event.SyscallFchmodat2X)
	add(aimPath, "pathname", event.SyscallFchownatX)
	add(aimPath, "linkpath", event.SyscallSymlinkX, event.SyscallSymlinkatX)
	add(aimCover, "dir", event.SyscallMountX)
	add(aimCover, "to_path", event.SyscallMoveMountX)
	add(aimTree, "oldpath", event.SyscallRenameX, event.SyscallRenameatX, event.SyscallRenameat2X)
	// A folder above it is moved as newpath, too, with RENAME_EXCHANGE; without, it can't be replaced, as it isn't empty.
	add(aimTree, "newpath", event.SyscallRenameX, event.SyscallRenameatX, event.SyscallRenameat2X)
	add(aimPath, "oldpath", event.SyscallLinkV2X, event.SyscallLinkatV2X)
	add(aimPath, "newpath", event.SyscallLinkV2X, event.SyscallLinkatV2X)
	opens := []event.Type{event.SyscallOpenX, event.SyscallOpenatV2X, event.SyscallOpenat2X, event.SyscallCreatX}
	add(aimOpen, "name", opens...)
	add(aimFile, "", event.SyscallFchmodX, event.SyscallFchownX, event.SyscallFtruncateX, event.SyscallFsetxattrX, event.SyscallFremovexattrX)
	add(aimBPF, "object", event.SyscallBpfV2X)
	add(aimSaid, "sensor", event.SecurityInodeUnlinkX, event.SecurityInodeRenameX, event.SecurityInodeSetattrX, event.SecurityInodeSetxattrX, event.SecuritySbMountX)
	return t
}

// sensorHooks says which security function the kernel asks in a system call, and in an open that truncates.
func sensorHooks() (t [event.NumTypes]event.Type) {
	add := func(hook event.Type, types ...event.Type) {
		for _, et := range types {
			t[et] = hook
		}
	}
	add(event.SecurityInodeUnlinkX, event.SyscallUnlinkV2X, event.SyscallUnlinkatV2X, event.SyscallRmdirV2X)
	add(event.SecurityInodeRenameX, event.SyscallRenameX, event.SyscallRenameatX, event.SyscallRenameat2X)
	add(event.SecurityInodeSetattrX, event.SyscallChmodX, event.SyscallFchmodX, event.SyscallFchmodatX, event.SyscallFchmodat2X,
		event.SyscallChownX, event.SyscallFchownX, event.SyscallLchownX, event.SyscallFchownatX, event.SyscallTruncateX, event.SyscallFtruncateX,
		event.SyscallOpenX, event.SyscallOpenatV2X, event.SyscallOpenat2X, event.SyscallCreatX)
	add(event.SecurityInodeSetxattrX, event.SyscallSetxattrX, event.SyscallLsetxattrX, event.SyscallFsetxattrX, event.SyscallSetxattratX,
		event.SyscallRemovexattrX, event.SyscallLremovexattrX, event.SyscallFremovexattrX, event.SyscallRemovexattratX)
	add(event.SecuritySbMountX, event.SyscallMountX, event.SyscallMoveMountX)
	return t
}

// Ready makes s fit for use; call it when all is set.
func (s *Sensor) Ready() {
	s.types, s.hooks = sensorAims(), sensorHooks()
	s.proc = [2]string{"/proc/" + strconv.FormatInt(s.PID, 10), "/proc/" + strconv.FormatInt(s.OwnPID, 10)}
}

// MayTarget reports whether events of type t can act on s.
func (s *Sensor) MayTarget(t event.Type) bool {
	return int(t) < len(s.types) && s.types[t][0].what != aimNone
}

// told is one of the last acts on the sensor's files that events of security functions told of.
type told struct {
	hook     event.Type
	tid, pid int64
	ts       uint64
}

// toldLasts is for how long, in ns, an event of a security function may be taken for one of the call that ends then. A call that
// takes longer alerts twice.
const toldLasts = 1e9

// Targeting returns the bits of e, which has its thread and file, that say whether it acts on c.Sensor (TargetsSensor), and
// whether the same act has been told of (BitTargetsTold): by the kernel's security function, of the same call, or by an event of the
// same process that did the like to an eBPF object just before. Call it for each event that may target the sensor, in order.
func (c *Ctx) Targeting(e event.Event) (bits uint32) {
	s := c.Sensor
	if s == nil || !s.MayTarget(e.Type()) {
		return 0
	}
	if c.TargetsSensor(e) {
		bits = wasmabi.BitTargetsSensor
	}
	switch first := s.types[e.Type()][0]; first.what {
	case aimBPF:
		if bits != 0 && c.isAgain(e, record(c.Arena.Threads, e.Thread()), int(first.param)) {
			bits |= wasmabi.BitTargetsTold
		}
	case aimSaid:
		if bits != 0 {
			c.tell(told{e.Type(), e.TID(), c.pidOf(e), e.TS()})
		}
	default:
		if hook := s.hooks[e.Type()]; hook != 0 && c.wasTold(e, hook) && bits != 0 {
			bits |= wasmabi.BitTargetsTold
		}
	}
	return bits
}

// tell remembers t in the place of what is no use any more, else of the oldest.
func (c *Ctx) tell(t told) {
	at := 0
	for i := range c.told {
		if c.told[i].ts < c.told[at].ts {
			at = i
		}
	}
	c.told[at] = t
}

// wasTold reports whether hook told of the call whose end e is, and forgets it. An operation of an io_uring may be done by a
// worker, a thread of the same process.
func (c *Ctx) wasTold(e event.Event, hook event.Type) bool {
	for i := range c.told {
		t := &c.told[i]
		if t.hook == hook && (t.tid == e.TID() || e.Origin()&wasmabi.OriginIoUring != 0 && t.pid != 0 && t.pid == c.pidOf(e)) {
			recent := e.TS() < t.ts+toldLasts
			*t = told{}
			return recent
		}
	}
	return false
}

// pidOf returns the process of e's thread; 0 for unknown.
func (c *Ctx) pidOf(e event.Event) int64 {
	if t := record(c.Arena.Threads, e.Thread()); t != nil {
		return int64(le.Uint64(t[wasmabi.ThreadPid:]))
	}
	return 0
}

// TargetsSensor reports whether e, which has its thread and file, acts on c.Sensor: its processes, files or BPF objects,
// whether or not it succeeds. What the sensor does itself doesn't. Without a Sensor it is false.
func (c *Ctx) TargetsSensor(e event.Event) bool {
	s := c.Sensor
	if s == nil || !s.MayTarget(e.Type()) {
		return false
	}
	t := record(c.Arena.Threads, e.Thread())
	if t != nil && int64(le.Uint64(t[wasmabi.ThreadPid:])) == s.PID {
		return false
	}
	for _, a := range s.types[e.Type()] {
		hit := false
		switch p := int(a.param); a.what {
		case aimNone:
			return false
		case aimPID, aimSignal:
			n, ok := e.Int(p)
			hit = ok && c.isSensor(t, n, a.what == aimSignal)
		case aimLimit:
			n, ok := e.Int(p)
			sets, _ := e.Int(e.Type().Info().ParamIndex("sets"))
			hit = ok && sets != 0 && c.isSensor(t, n, false)
		case aimHost:
			n, ok := e.Int(p)
			hit = ok && n == s.PID
		case aimPath, aimTree:
			hit = c.pathOfSensor(e, t, p, a.what == aimTree)
		case aimCover:
			hit = c.pathOfSensor(e, t, p, covers(e))
		case aimOpen:
			hit = c.opensSensor(e, t, p)
		case aimFile:
			hit = c.isFile(record(c.Arena.Files, e.File()), t)
		case aimBPF:
			kind, ok1 := e.Int(p)
			id, ok2 := e.Int(p + 1)
			_, hit = s.BPF[BPFID{uint8(kind), uint32(id)}]
			hit = hit && ok1 && ok2
		case aimSaid:
			n, ok := e.Int(p)
			hit = ok && n != 0
		}
		if hit {
			return true
		}
	}
	return false
}

// isSensor reports whether n, a process or thread as the thread t calls it, is the sensor. With group, 0 is the group of t,
// -1 everybody and other negative numbers are groups.
func (c *Ctx) isSensor(t []byte, n int64, group bool) bool {
	s := c.Sensor
	if t == nil {
		return n > 0 && (n == s.PID || n == s.OwnPID)
	}
	host := le.Uint64(t[wasmabi.ThreadTid:]) == le.Uint64(t[wasmabi.ThreadVtid:]) // it is in the first pid namespace
	same := s.PID == s.OwnPID && host
	if s.PID != s.OwnPID && !host {
		own := c.sensorThread()
		same = own != nil && le.Uint64(own[wasmabi.ThreadPidnsInitTs:]) == le.Uint64(t[wasmabi.ThreadPidnsInitTs:])
	}
	switch {
	case n > 0:
		return host && n == s.PID || same && (n == s.OwnPID || s.HasThread != nil && s.HasThread(n))
	case !group:
		return false
	case n == 0:
		own := c.sensorThread()
		return own != nil && le.Uint64(own[wasmabi.ThreadPgid:]) == le.Uint64(t[wasmabi.ThreadPgid:])
	case n == -1:
		return host || same
	}
	return same && n == -s.OwnPGID
}

// sensorThread returns the record of the sensor's main thread; nil for unknown.
func (c *Ctx) sensorThread() []byte {
	if c.State == nil {
		return nil
	}
	return record(c.Arena.Threads, c.State.FindThread(c.Sensor.PID))
}

// isPath reports whether path, absolute as the thread t means it, is one of the sensor's or in one; with tree, also whether it
// is a folder above one, but for the root. The sensor's folder in /proc is called as the host and as its own container has it.
func (c *Ctx) isPath(t, path []byte, tree bool) bool {
	s := c.Sensor
	hit, host := within(path, s.proc[1]), within(path, s.proc[0])
	for _, p := range s.Paths {
		hit = hit || within(path, p) || tree && above(path, p)
	}
	return (hit || host) && (t == nil || c.meansSensor(t, hit, host))
}

// meansSensor reports whether thread t means by a path of the sensor's what the sensor does: its root is the whole tree and its
// container the sensor's. The latter follows from a cgroup's name, which root may choose, so to be of a container excuses a thread of the
// sensor's host only with what isn't in a name: it is in another pid namespace, and its root is known to be another. host says that the
// path is the sensor's folder in /proc as the host has it, hit that it is a path of the sensor's besides.
func (c *Ctx) meansSensor(t []byte, hit, host bool) bool {
	at, own := le.Uint32(t[wasmabi.ThreadContainer:]), uint32(0)
	if o := c.sensorThread(); o != nil {
		own = le.Uint32(o[wasmabi.ThreadContainer:])
	}
	chrooted := len(c.Arena.Strings.Get(le.Uint32(t[wasmabi.ThreadRoot:]))) > 1
	if !chrooted && (at == 0 && host || at == own && hit) {
		return true
	}
	same, known := false, false
	if c.Sensor.SameRoot != nil {
		same, known = c.Sensor.SameRoot(int64(le.Uint64(t[wasmabi.ThreadTid:])))
	}
	switch {
	case known && same:
		return true
	case chrooted || own != 0: // it is in a folder by its own calls, or of the host or of another container than the sensor
		return false
	}
	apart := le.Uint64(t[wasmabi.ThreadTid:]) != le.Uint64(t[wasmabi.ThreadVtid:])
	return !apart || !known
}

// pathOfSensor does what isPath does for parameter p of e. An empty path may stand for what the fd of its directory is
// (AT_EMPTY_PATH).
func (c *Ctx) pathOfSensor(e event.Event, t []byte, p int, tree bool) bool {
	var v Value
	path, ok := e.Str(p)
	if dir, empty := c.emptyPath(e, &e.Type().Info().Params[p], path, ok); empty {
		if res, ok := e.Res(); ok && res == -enoent {
			return false // it doesn't
		}
		fd, _ := e.Int(e.Type().Info().Params[p].DirFD)
		return len(dir) > 0 && c.isPath(t, dir, tree) || c.isFile(c.openFile(e, fd), t)
	}
	c.computePath(e, p, &v)
	return len(v.Bytes) > 0 && c.isPath(t, v.Bytes, tree)
}

// covers reports whether e mounts something that hides what is below, also from the sensor. Folders above its files are mounted over in
// every container's making, but where that doesn't come to it.
func covers(e event.Event) bool {
	const change = 1<<5 | 1<<17 | 1<<18 | 1<<19 | 1<<20 // REMOUNT, UNBINDABLE, PRIVATE, SLAVE, SHARED: of a mount that there is
	if e.Origin()&wasmabi.OriginReaches == 0 {
		return false
	}
	flags, _ := e.Int(4)
	return e.Type() != event.SyscallMountX || flags&change == 0
}

// within reports whether path is dir or in it.
func within(path []byte, dir string) bool {
	return len(path) >= len(dir) && string(path[:len(dir)]) == dir && (len(path) == len(dir) || path[len(dir)] == '/')
}

// above reports whether dir is a folder above path, and not the root.
func above(dir []byte, path string) bool {
	return len(dir) > 1 && len(path) > len(dir) && path[len(dir)] == '/' && path[:len(dir)] == string(dir)
}

// enoent is the number of the error of a path that leads nowhere.
const enoent = 2

// mem ends the path of a process's memory.
var mem = []byte("/mem")

// opensSensor reports whether e opens a file of the sensor for writing, or to empty it, or its memory in any way.
func (c *Ctx) opensSensor(e event.Event, t []byte, p int) bool {
	if e.Type() != event.SyscallCreatX && e.Bits()&(wasmabi.BitOpenWrite|wasmabi.BitOpenCreate|wasmabi.BitOpenTruncate) == 0 {
		path, ok := e.Str(p)
		return ok && bytes.HasSuffix(path, mem) && c.pathOfSensor(e, t, p, false)
	}
	return c.isFile(record(c.Arena.Files, e.File()), t) || c.pathOfSensor(e, t, p, false)
}

// isFile reports whether f, a file of thread t or nil, is one of the sensor's.
func (c *Ctx) isFile(f, t []byte) bool {
	if f == nil {
		return false
	}
	if _, ok := c.Sensor.Files[FileID{le.Uint32(f[wasmabi.FileDev:]), le.Uint64(f[wasmabi.FileIno:])}]; ok {
		return true
	}
	return c.isPath(t, c.fileName(f), false)
}
