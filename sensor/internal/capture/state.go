package capture

import (
	"math"
	"net/netip"

	"github.com/shikra-sensor/shikra/wasmabi"
)

// cloneFiles is the bit of a thread's flags (event's clone_flags) that says that it shares its process's fds.
const cloneFiles = 0x1

// open reads the length that each entry of a newer list has in front, which counts itself, and keeps reading inside it.
func (r *Reader) open(v2 bool) {
	if !v2 {
		return
	}
	n := r.u32()
	if r.fail != nil {
		return
	}
	if n < 4 || n-4 > r.left {
		r.fail = ErrEntry
		return
	}
	r.entry = n - 4
}

// close passes over what a newer writer appended to the entry.
func (r *Reader) close(v2 bool) {
	if !v2 || r.fail != nil {
		return
	}
	if err := r.skip(r.entry); err != nil {
		r.fail = err
	}
	r.entry = 0
}

// nextThread reads one entry of a process list of version v.
func (r *Reader) nextThread(v int) Block {
	t := &r.thread
	*t = Thread{}
	t.LoginUID = math.MaxUint32
	r.open(v >= 9)
	t.TID, t.PID, t.PTID = int64(r.u64()), int64(r.u64()), int64(r.u64())
	if v >= 6 {
		t.SID = known(r.u64())
	}
	if v >= 8 {
		t.VPGID = known(r.u64())
	}
	t.Comm, t.Exe = r.str(), r.str()
	if v >= 7 {
		t.ExePath = r.str()
	}
	t.Args, t.Cwd = r.strs(), r.str()
	t.FDLimit, t.CloneFlags = int64(r.u64()), r.u32()
	t.UID, t.GID = r.u32(), r.u32()
	if v >= 2 {
		r.take(3*4 + 2*8) // sizes in memory and page faults
	}
	if v >= 3 {
		t.Env = r.strs()
	}
	if v >= 4 {
		t.VTID, t.VPID = known(r.u64()), known(r.u64())
		t.Cgroups = r.strs()
	}
	if v >= 5 {
		t.Root = r.str()
	}
	if v >= 9 {
		r.threadTail(t)
	}
	if t.TID == t.PID {
		t.Flags |= wasmabi.ThreadMain
	} else {
		t.SharesFiles = t.CloneFlags&cloneFiles != 0
	}
	if t.VPID == 1 && t.PID != 1 {
		t.Flags |= wasmabi.ThreadNsInit
	}
	r.close(v >= 9)
	return t
}

// threadTail reads what version 9 grew by; each field is there if the entry is long enough.
func (r *Reader) threadTail(t *Thread) {
	has := func(n uint32) bool { return r.fail == nil && r.entry >= n }
	// Writers before libs 0.10 ended with the capabilities, at most 29 bytes; later ones put two fields in front of these.
	if r.entry > 29 {
		t.PidnsInitTS, t.TTY = r.u64(), r.u32()
	}
	if has(4) {
		t.LoginUID = r.u32()
	}
	if has(1) && r.u8() != 0 {
		t.Flags |= wasmabi.ThreadExeWritable
	}
	for _, p := range []*uint64{&t.CapInheritable, &t.CapPermitted, &t.CapEffective} {
		if has(8) {
			*p = r.u64()
		}
	}
	if has(1) && r.u8() != 0 {
		t.Flags |= wasmabi.ThreadExeUpperLayer
	}
	for _, p := range []*uint64{&t.ExeIno, &t.ExeCtime, &t.ExeMtime} {
		if has(8) {
			*p = r.u64()
		}
	}
	if has(1) && r.u8() != 0 {
		t.Flags |= wasmabi.ThreadExeFromMemfd
	}
	if has(1) && r.u8() != 0 {
		t.Flags |= wasmabi.ThreadExeLowerLayer
	}
	if has(8) {
		t.PGID = known(r.u64())
	}
}

// known turns the format's all ones for an unknown id into 0.
func known(v uint64) int64 {
	if v == math.MaxUint64 {
		return 0
	}
	return int64(v)
}

// The types of fds (scap_fd_type).
const (
	fdUnknown    = 0
	fdFile       = 1
	fdIPv4       = 3
	fdIPv6       = 4
	fdIPv4Server = 5
	fdIPv6Server = 6
	fdUnix       = 8
	fdFileV2     = 16
)

// fdKinds holds fd.typechar of each type of fd.
const fdKinds = "\x00fd4646pueoslitnfbxrmP"

// The format's own numbers of protocols (scap_l4_proto) as those of IP.
var l4Protos = [...]uint8{0, 0, 6, 17, 1, 255}

// nextFile reads one entry of an fd list.
func (r *Reader) nextFile(v2 bool) Block {
	f := &r.file
	*f = File{}
	f.PID = r.owner
	r.open(v2)
	fd := int64(r.u64())
	f.Ino = r.u64()
	t := r.u8()
	if r.fail != nil {
		return f
	}
	if fd < math.MinInt32 || fd > math.MaxInt32 {
		r.fail = ErrEntry
		return f
	}
	f.FD, f.Kind = int32(fd), 'o'
	if int(t) < len(fdKinds) {
		f.Kind = fdKinds[t]
	}
	switch {
	case t == fdIPv4 || t == fdIPv4Server:
		r.inet(f, 4, t == fdIPv4Server)
	case t == fdIPv6 || t == fdIPv6Server:
		r.inet(f, 16, t == fdIPv6Server)
	case t == fdUnix:
		f.Family = 1
		r.take(16) // kernel addresses of both ends
		f.Name = r.str()
	case t == fdFileV2:
		f.OpenFlags, f.Name = r.u32(), r.str()
		if v2 && r.entry >= 4 {
			f.Dev = r.u32()
		}
	case t == fdUnknown:
	case int(t) < len(fdKinds):
		f.Name = r.str()
		if f.Kind == 'n' {
			f.Family = 16
		}
	case !v2: // how long it is can't be known
		r.fail = ErrFdType
	}
	r.close(v2)
	return f
}

// inet reads the addresses of an IP socket, n bytes each.
func (r *Reader) inet(f *File, n int, listening bool) {
	f.Family = 2
	if n == 16 {
		f.Family = 10
	}
	f.Listening = listening
	if !listening {
		copy(f.Client[:], r.take(n))
	}
	copy(f.Server[:], r.take(n))
	if !listening {
		f.CPort = r.u16()
	}
	f.SPort = r.u16()
	if p := r.u8(); int(p) < len(l4Protos) {
		f.L4Proto = l4Protos[p]
	}
	if f.L4Proto == 6 && !listening {
		f.Bits |= wasmabi.FileConnected
	}
}

// nextUser reads one entry of a user list, a user or a group.
func (r *Reader) nextUser(v2 bool) Block {
	r.open(v2)
	switch t := r.u8(); {
	case r.fail != nil:
	case t == 0:
		u := &r.user
		*u = User{}
		u.UID, u.GID = r.u32(), r.u32()
		u.Name, u.Home, u.Shell = r.str(), r.str(), r.str()
		r.close(v2)
		return u
	case t == 1:
		g := &r.group
		*g = Group{}
		g.GID, g.Name = r.u32(), r.str()
		r.close(v2)
		return g
	default:
		r.fail = ErrUserType
	}
	return nil
}

// nextInterface reads one entry of an interface list. The length in front of a newer entry doesn't count itself.
func (r *Reader) nextInterface(v2 bool) Block {
	if v2 {
		n := r.u32()
		if r.fail == nil && n > r.left {
			r.fail = ErrEntry
		}
		r.entry = n
	}
	f := &r.iface
	*f = Interface{}
	t, n := r.u16(), int(r.u16())
	if r.fail != nil {
		return f
	}
	if t < 1 || t > 4 {
		r.fail = ErrInterface
		return f
	}
	size := 4
	if t == 2 || t == 4 {
		size = 16
	}
	for _, p := range []*netip.Addr{&f.Addr, &f.Mask, &f.Broadcast} {
		*p, _ = netip.AddrFromSlice(r.take(size))
	}
	if t <= 2 {
		f.Speed = r.u64()
	}
	f.Name = text(r.take(n))
	r.close(v2)
	return f
}
