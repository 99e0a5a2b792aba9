package capture

import (
	"fmt"
	"io"
	"math"
	"net/netip"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/snapshot"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// Writer writes a capture in today's versions of the blocks. It is a snapshot.Sink. State goes before events. Entries of
// lists are gathered, a block at a time; Flush or Close writes the last. After a failed write every later one does
// nothing, and Flush and Close return the cause. Not safe for concurrent use.
type Writer struct {
	w     io.Writer
	err   error
	typ   uint32 // the list block being gathered, 0 for none
	owner int64  // whose fds it holds
	buf   []byte // the block, its header included
	cut   uint64
}

// listBlock is how large a list block may get before the next one is begun, in bytes.
const listBlock = 256 << 10

// NewWriter starts a capture on w, which it doesn't close.
func NewWriter(w io.Writer) (*Writer, error) {
	c := &Writer{w: w}
	c.begin(blockSection)
	c.u32(magic)
	c.u16(majorV)
	c.u16(minorV)
	c.u64(math.MaxUint64)
	return c, c.Flush()
}

var _ snapshot.Sink = (*Writer)(nil)

// Flush writes what has been gathered.
func (c *Writer) Flush() error {
	if c.typ != 0 && c.err == nil {
		for len(c.buf)%4 != 0 {
			c.buf = append(c.buf, 0)
		}
		n := uint32(len(c.buf) + trailerSize)
		le.PutUint32(c.buf[4:], n)
		c.u32(n)
		if _, err := c.w.Write(c.buf); err != nil {
			c.err = fmt.Errorf("write capture: %w", err)
		}
	}
	c.typ = 0
	return c.err
}

// Cut returns how many strings and parameters were shortened because the format has no room for them.
func (c *Writer) Cut() uint64 { return c.cut }

// begin starts a block.
func (c *Writer) begin(t uint32) {
	c.Flush() // its error is kept
	c.typ, c.buf = t, append(c.buf[:0], 0, 0, 0, 0, 0, 0, 0, 0)
	le.PutUint32(c.buf, t)
}

// list makes sure that a list block of type t is open.
func (c *Writer) list(t uint32) {
	if c.typ != t || len(c.buf) > listBlock {
		c.begin(t)
	}
}

func (c *Writer) u8(v uint8)   { c.buf = append(c.buf, v) }
func (c *Writer) u16(v uint16) { c.buf = le.AppendUint16(c.buf, v) }
func (c *Writer) u32(v uint32) { c.buf = le.AppendUint32(c.buf, v) }
func (c *Writer) u64(v uint64) { c.buf = le.AppendUint64(c.buf, v) }

func (c *Writer) flag(v bool) {
	if v {
		c.u8(1)
	} else {
		c.u8(0)
	}
}

// Readers take at most these many bytes of a path and of a list of strings (scap_limits.h).
const (
	maxPath = 1023
	maxList = 4096
)

// maxValues is the most bytes of an event's parameters, so that the block stays under the 64 KiB that other readers
// have room for.
const maxValues = 65000

func (c *Writer) str(s string) {
	if len(s) > maxPath {
		s = s[:maxPath]
		c.cut++
	}
	c.u16(uint16(len(s)))
	c.buf = append(c.buf, s...)
}

func (c *Writer) strs(l []string) {
	at := len(c.buf)
	c.u16(0)
	for _, s := range l {
		if len(c.buf)-at-2+len(s)+1 > maxList {
			c.cut++
			break
		}
		c.buf = append(append(c.buf, s...), 0)
	}
	le.PutUint16(c.buf[at:], uint16(len(c.buf)-at-2))
}

// entry begins an entry of a list block and returns what end needs.
func (c *Writer) entry() int {
	c.u32(0)
	return len(c.buf) - 4
}

func (c *Writer) end(at int) { le.PutUint32(c.buf[at:], uint32(len(c.buf)-at)) }

// Machine writes a machine block.
func (c *Writer) Machine(m *MachineInfo) {
	c.begin(blockMachine)
	c.u32(m.CPUs)
	c.u64(m.Memory)
	c.u64(m.MaxPID)
	var host [128]byte
	copy(host[:127], m.Hostname)
	c.buf = append(c.buf, host[:]...)
	c.u64(m.BootTS)
	c.u64(m.Flags)
	c.u64(0)
	c.u64(0)
	c.Flush() // its error is kept
}

// Interface adds one address.
func (c *Writer) Interface(f *Interface) {
	c.list(blockInterfV2)
	at := c.entry()
	if f.Addr.Is4() {
		c.u16(1)
	} else {
		c.u16(2)
	}
	name := f.Name[:min(len(f.Name), maxPath)]
	c.u16(uint16(len(name)))
	for _, a := range []netip.Addr{f.Addr, f.Mask, f.Broadcast} {
		if f.Addr.Is4() {
			var b [4]byte
			if a.Is4() {
				b = a.As4()
			}
			c.buf = append(c.buf, b[:]...)
		} else {
			var b [16]byte
			if a.Is6() {
				b = a.As16()
			}
			c.buf = append(c.buf, b[:]...)
		}
	}
	c.u64(f.Speed)
	c.buf = append(c.buf, name...)
	le.PutUint32(c.buf[at:], uint32(len(c.buf)-at-4)) // this one doesn't count itself
}

// AddUser adds a user; that it is of a container is not written.
func (c *Writer) AddUser(u *snapshot.User) {
	c.list(blockUsersV2)
	at := c.entry()
	c.u8(0)
	c.u32(u.UID)
	c.u32(u.GID)
	c.str(u.Name)
	c.str(u.Home)
	c.str(u.Shell)
	c.end(at)
}

// AddGroup adds a group; that it is of a container is not written.
func (c *Writer) AddGroup(g *snapshot.Group) {
	c.list(blockUsersV2)
	at := c.entry()
	c.u8(1)
	c.u32(g.GID)
	c.str(g.Name)
	c.end(at)
}

// AddThread adds a thread.
func (c *Writer) AddThread(t *snapshot.Thread) {
	c.list(blockThreadsV9)
	at := c.entry()
	for _, id := range [...]int64{t.TID, t.PID, t.PTID, t.SID, t.VPGID} {
		c.u64(uint64(id))
	}
	c.str(t.Comm)
	c.str(t.Exe)
	c.str(t.ExePath)
	c.strs(t.Args)
	c.str(t.Cwd)
	c.u64(uint64(t.FDLimit))
	var flags uint32
	if t.TID != t.PID {
		flags = 0x2000 // CLONE_THREAD
		if t.SharesFiles {
			flags |= cloneFiles
		}
	}
	c.u32(flags)
	c.u32(t.UID)
	c.u32(t.GID)
	c.buf = append(c.buf, make([]byte, 3*4+2*8)...) // sizes in memory and page faults
	c.strs(t.Env)
	c.u64(uint64(t.VTID))
	c.u64(uint64(t.VPID))
	c.strs(t.Cgroups)
	c.str(t.Root)
	c.u64(t.PidnsInitTS)
	c.u32(t.TTY)
	c.u32(t.LoginUID)
	c.flag(t.Flags&wasmabi.ThreadExeWritable != 0)
	c.u64(t.CapInheritable)
	c.u64(t.CapPermitted)
	c.u64(t.CapEffective)
	c.flag(t.Flags&wasmabi.ThreadExeUpperLayer != 0)
	c.u64(t.ExeIno)
	c.u64(t.ExeCtime)
	c.u64(t.ExeMtime)
	c.flag(t.Flags&wasmabi.ThreadExeFromMemfd != 0)
	c.flag(t.Flags&wasmabi.ThreadExeLowerLayer != 0)
	c.u64(uint64(t.PGID))
	c.end(at)
}

// AddFile adds an open fd. IP sockets are written with this end first, which is the server's when its bits say so; one
// that is a server and has no client is written as listening.
func (c *Writer) AddFile(f *snapshot.File) {
	if c.owner != f.PID && c.typ == blockFilesV2 {
		c.Flush() // its error is kept
	}
	c.list(blockFilesV2)
	if len(c.buf) == headerSize {
		c.owner = f.PID
		c.u64(uint64(f.PID))
	}
	t := uint8(10) // other
	for i := range len(fdKinds) {
		if fdKinds[i] == f.Kind {
			t = uint8(i)
			break
		}
	}
	if t == fdFile {
		t = fdFileV2
	}
	listening := f.Bits&wasmabi.FileServer != 0 && f.CPort == 0 && f.Client == [16]byte{}
	if listening && (t == fdIPv4 || t == fdIPv6) {
		t += fdIPv4Server - fdIPv4
	}
	at := c.entry()
	c.u64(uint64(int64(f.FD)))
	c.u64(f.Ino)
	c.u8(t)
	switch t {
	case fdIPv4:
		c.inet(f, 4)
	case fdIPv6:
		c.inet(f, 16)
	case fdIPv4Server:
		c.listening(f, 4)
	case fdIPv6Server:
		c.listening(f, 16)
	case fdUnix:
		c.u64(0)
		c.u64(0)
		c.str(f.Name)
	case fdFileV2:
		c.u32(f.OpenFlags)
		c.str(f.Name)
		c.u32(f.Dev)
	case fdUnknown:
	default:
		c.str(f.Name)
	}
	c.end(at)
}

func (c *Writer) inet(f *snapshot.File, n int) {
	a, b, ap, bp := f.Client, f.Server, f.CPort, f.SPort
	if f.Bits&wasmabi.FileServer != 0 {
		a, b, ap, bp = b, a, bp, ap
	}
	c.buf = append(append(c.buf, a[:n]...), b[:n]...)
	c.u16(ap)
	c.u16(bp)
	c.proto(f.L4Proto)
}

func (c *Writer) listening(f *snapshot.File, n int) {
	c.buf = append(c.buf, f.Server[:n]...)
	c.u16(f.SPort)
	c.proto(f.L4Proto)
}

func (c *Writer) proto(ip uint8) {
	for i, p := range l4Protos {
		if p == ip && i != 1 { // 1 is for what isn't a socket
			c.u8(uint8(i))
			return
		}
	}
	c.u8(0)
}

// Event writes an event. Its type must be known. Parameters that are longer than the type's lengths can say are cut.
func (c *Writer) Event(e *Event) {
	large := e.Type.Info().Flags&event.FlagLarge != 0
	t, most := uint32(blockEventV2), maxValues
	switch {
	case large && e.Flags != 0:
		t, most = blockEventFLarge, MaxLargeEvent/2
	case large:
		t, most = blockEventLarge, MaxLargeEvent/2
	case e.Flags != 0:
		t = blockEventFV2
	}
	c.begin(t)
	c.u16(e.CPU)
	if e.Flags != 0 {
		c.u32(e.Flags)
	}
	at := len(c.buf)
	c.u64(e.TS)
	c.u64(uint64(e.TID))
	c.u32(0)
	c.u16(uint16(e.Type))
	c.u32(uint32(e.n))
	for i := range e.n {
		n := min(len(e.params[i]), most)
		if large {
			c.u32(uint32(n))
		} else {
			c.u16(uint16(n))
		}
		most = max(most-n, 0)
	}
	off := at + 26
	for i := range e.n {
		var n int
		if large {
			n = int(le.Uint32(c.buf[off+4*i:]))
		} else {
			n = int(le.Uint16(c.buf[off+2*i:]))
		}
		if n < len(e.params[i]) {
			c.cut++
		}
		c.buf = append(c.buf, e.params[i][:n]...)
	}
	le.PutUint32(c.buf[at+16:], uint32(len(c.buf)-at))
	c.Flush() // its error is kept
}

// unknownCode is the code of a system call that the format has none for; never written.
var unknownCode = []byte{0, 0}

// ownCode is the code of the system call that events of type t, one of shikra's own, come from.
func ownCode(t event.Type) []byte {
	for _, sc := range event.Syscalls() {
		if sc.Exit == t {
			return le.AppendUint16(nil, uint16(sc.Code))
		}
	}
	return unknownCode
}

// Record writes r, which has passed Check and whose time is wall time, as an event. A missing parameter has no bytes. Events of
// shikra's own that come from no system call are left out: the format has nothing in their place.
func (c *Writer) Record(r event.Record) {
	var e Event
	if t := r.Type(); t >= event.OwnType && t.Info().Origin != event.OriginSyscall {
		return
	}
	e.TS, e.TID, e.Type, e.CPU = r.TS(), r.TID(), r.Type(), r.CPU()
	for i := range min(len(e.Type.Info().Params), MaxParams) {
		e.params[i], _ = r.Param(i)
		e.n++
	}
	if e.Type >= event.OwnType { // other readers know the format's types only
		e.Type, e.n = event.GenericX, 2
		e.params[0], e.params[1] = ownCode(r.Type()), le.AppendUint16(nil, uint16(r.NR()))
	}
	if e.Type == event.GenericX && len(e.params[0]) == 2 && le.Uint16(e.params[0]) >= event.OwnCode {
		e.params[0] = unknownCode // other readers know the format's codes only; the native number follows
	}
	c.Event(&e)
}

// Err returns what went wrong with a write, nil for nothing.
func (c *Writer) Err() error { return c.err }
