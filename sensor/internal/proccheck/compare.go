package proccheck

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/wasmabi"
)

var le = binary.LittleEndian

func (c *Checker) thread(t uint32) []byte          { return c.Arena.Threads.Record(t) }
func (c *Checker) i64(t uint32, off int) int64     { return int64(le.Uint64(c.thread(t)[off:])) }
func (c *Checker) u32(t uint32, off int) uint32    { return le.Uint32(c.thread(t)[off:]) }
func (c *Checker) text(t uint32, off int) string   { return string(c.Arena.Strings.Get(c.u32(t, off))) }
func (c *Checker) secret(t uint32, off int) string { return string(c.Arena.Private.Get(c.u32(t, off))) }
func (c *Checker) tid(t uint32) int64              { return c.i64(t, wasmabi.ThreadTid) }
func (c *Checker) pid(t uint32) int64              { return c.i64(t, wasmabi.ThreadPid) }
func (c *Checker) comm(t uint32) string            { return c.text(t, wasmabi.ThreadComm) }
func (c *Checker) exited(t uint32) bool {
	return c.u32(t, wasmabi.ThreadFlags)&wasmabi.ThreadExited != 0
}
func (c *Checker) cloneTicks(t uint32) uint64 {
	return le.Uint64(c.thread(t)[wasmabi.ThreadCloneTs:]) / nsPerTick
}

// nsPerTick is the length of the tick in which /proc counts times.
const nsPerTick = 10_000_000

// diffs gathers the differences of one process.
type diffs struct {
	p   *process
	tid int
	fd  int
	out []Diff
}

func (d *diffs) add(field, proc, have string) {
	d.out = append(d.out, Diff{PID: d.p.pid, TID: d.tid, Start: d.p.start, FD: d.fd, Field: field, Proc: proc, Have: have})
}

func (d *diffs) text(field, proc, have string) {
	if proc != have {
		d.add(field, proc, have)
	}
}

func (d *diffs) num(field string, proc, have int64) {
	d.text(field, strconv.FormatInt(proc, 10), strconv.FormatInt(have, 10))
}

func (d *diffs) bits(field string, proc, have uint64) {
	if proc != have {
		d.add(field, strconv.FormatUint(proc, 16), strconv.FormatUint(have, 16))
	}
}

func (c *Checker) compare(p *process) []Diff {
	d := &diffs{p: p, fd: -1}
	if p.kernel && c.State.FindThread(int64(p.pid)) == 0 {
		return nil // it came without an event
	}
	for i := range p.threads {
		c.compareThread(d, &p.threads[i])
	}
	d.tid = p.pid
	t := c.State.FindThread(int64(p.pid))
	if t == 0 {
		return d.out // said above
	}
	if p.kernel {
		if c.u32(t, wasmabi.ThreadFlags)&wasmabi.ThreadKernel == 0 {
			d.add("kernel thread", "yes", "no")
		}
		return d.out
	}
	if c.exited(t) || p.denied {
		return d.out // no memory, or not ours to look at
	}
	c.compareProgram(d, t)
	c.compareFiles(d, t)
	return d.out
}

func (c *Checker) compareThread(d *diffs, th *thread) {
	d.tid = th.tid
	t := c.State.FindThread(int64(th.tid))
	if t == 0 {
		d.add("exists", th.comm, "no")
		return
	}
	d.num("pid", int64(d.p.pid), c.pid(t))
	d.num("ppid", int64(th.ppid), c.i64(t, wasmabi.ThreadPtid))
	d.num("vtid", int64(th.vtid), c.i64(t, wasmabi.ThreadVtid))
	d.num("vpid", int64(th.vpid), c.i64(t, wasmabi.ThreadVpid))
	d.num("pgid", int64(th.pgid), c.i64(t, wasmabi.ThreadPgid))
	d.num("vpgid", int64(th.vpgid), c.i64(t, wasmabi.ThreadVpgid))
	d.num("sid", int64(th.sid), c.i64(t, wasmabi.ThreadSid))
	if !d.p.kernel { // they take the name of their work of the moment along
		d.text("comm", th.comm, c.comm(t))
	}
	d.num("uid", int64(th.uid), int64(c.u32(t, wasmabi.ThreadUid)))
	d.num("gid", int64(th.gid), int64(c.u32(t, wasmabi.ThreadGid)))
	d.bits("cap_inheritable", th.capI, uint64(c.i64(t, wasmabi.ThreadCapInheritable)))
	d.bits("cap_permitted", th.capP, uint64(c.i64(t, wasmabi.ThreadCapPermitted)))
	d.bits("cap_effective", th.capE, uint64(c.i64(t, wasmabi.ThreadCapEffective)))
	d.num("tty", int64(th.tty), int64(c.u32(t, wasmabi.ThreadTty)))
	if parent := c.u32(t, wasmabi.ThreadParent); th.ppid != 0 && !c.skipped(th.ppid) {
		if parent == 0 {
			d.add("parent", strconv.Itoa(th.ppid), "none")
		} else {
			d.num("parent", int64(th.ppid), c.pid(parent))
		}
	}
	if leader := c.u32(t, wasmabi.ThreadLeader); c.tid(leader) != int64(d.p.pid) {
		d.num("leader", int64(d.p.pid), c.tid(leader))
	}
}

func (c *Checker) compareProgram(d *diffs, t uint32) {
	p := d.p
	if ticks := c.cloneTicks(t); ticks > p.start+2 || p.start > ticks+2 {
		d.num("start", int64(p.start), int64(ticks))
	}
	exe := strings.TrimSuffix(p.exe, " (deleted)")
	have := strings.TrimSuffix(c.text(t, wasmabi.ThreadExepath), " (deleted)")
	if exe != have && "/"+have != exe && c.inRoot(p, have) != exe {
		d.add("exepath", p.exe, c.text(t, wasmabi.ThreadExepath))
	}
	d.num("exe_ino", int64(p.exeIno), c.i64(t, wasmabi.ThreadExeIno))
	cwd := c.text(t, wasmabi.ThreadCwd)
	if len(cwd) > 1 {
		cwd = strings.TrimSuffix(cwd, "/")
	}
	if cwd != p.cwd && !c.sameFile(p, cwd, "cwd") {
		d.add("cwd", p.cwd, cwd)
	}
	d.text("root", p.root, c.text(t, wasmabi.ThreadRoot))
	if len(p.args) > 0 {
		args := c.text(t, wasmabi.ThreadExe) + "\x00" + c.secret(t, wasmabi.ThreadArgs)
		want := strings.Join(p.args, "\x00") + "\x00"
		if len(want) < 4000 {
			d.text("args", want, args)
		}
	}
	login := strconv.FormatUint(uint64(c.u32(t, wasmabi.ThreadLoginuid)), 10)
	if p.loginuid != "" {
		d.text("loginuid", p.loginuid, login)
	}
	if p.fdLimit != "unlimited" {
		d.text("fdlimit", p.fdLimit, strconv.FormatInt(c.i64(t, wasmabi.ThreadFdLimit), 10))
	}
}

// inRoot returns path, which a process means, as it is called outside of its root directory.
func (c *Checker) inRoot(p *process, path string) string {
	if p.root == "/" || p.root == "" {
		return path
	}
	return strings.TrimSuffix(p.root+path, "/")
}

// sameFile reports whether path, as the process means it, is what the link in its /proc directory leads to.
func (c *Checker) sameFile(p *process, path, link string) bool {
	if path == "" || path[0] != '/' {
		return false
	}
	var a, b unix.Stat_t
	dir := c.Proc + "/" + strconv.Itoa(p.pid) + "/"
	if unix.Stat(dir+link, &b) != nil {
		return false
	}
	for _, root := range []string{dir + "root", ""} { // what it opened before its chroot has its old name
		if unix.Stat(root+path, &a) == nil && a.Dev == b.Dev && a.Ino == b.Ino {
			return true
		}
	}
	return false
}

func (c *Checker) compareFiles(d *diffs, t uint32) {
	seen := map[int]bool{}
	for i := range d.p.files {
		f := &d.p.files[i]
		seen[f.fd] = true
		d.fd = f.fd
		slot := c.State.OpenFile(t, int64(f.fd))
		if slot == 0 {
			d.add("exists", f.link, "no")
			continue
		}
		c.compareFile(d, f, c.Arena.Files.Record(slot))
		if f.flags&unix.O_CLOEXEC != 0 != c.State.CloseOnExec(t, int32(f.fd)) {
			d.add("cloexec", fmt.Sprint(f.flags&unix.O_CLOEXEC != 0)+" "+f.link, fmt.Sprint(c.State.CloseOnExec(t, int32(f.fd))))
		}
	}
	c.State.EachFile(t, func(fd int32, slot uint32) bool {
		if !seen[int(fd)] {
			d.fd = int(fd)
			if _, err := os.Readlink(c.Proc + "/" + strconv.Itoa(d.p.pid) + "/fd/" + strconv.Itoa(int(fd))); err != nil { // otherwise it came after the list
				d.add("exists", "no", c.fileText(c.Arena.Files.Record(slot)))
			}
		}
		return true
	})
	d.fd = -1
}

func (c *Checker) fileText(r []byte) string {
	return fmt.Sprintf("%c %s", r[wasmabi.FileKind], c.Arena.Strings.Get(le.Uint32(r[wasmabi.FileName:])))
}

// anonymous are the kinds of files without a path, by how their links begin.
var anonymous = []struct {
	link string
	kind byte
}{
	{"anon_inode:[eventfd]", 'e'}, {"anon_inode:[eventpoll]", 'l'}, {"anon_inode:inotify", 'i'}, {"anon_inode:[signalfd]", 's'},
	{"anon_inode:[timerfd]", 't'}, {"anon_inode:[io_uring]", 'r'}, {"anon_inode:[userfaultfd]", 'x'}, {"anon_inode:[pidfd]", 'P'},
	{"pidfd:", 'P'}, {"anon_inode:bpf", 'b'}, {"pipe:", 'p'}, {"/memfd:", 'm'},
}

func (c *Checker) compareFile(d *diffs, f *file, r []byte) {
	kind := r[wasmabi.FileKind]
	ino := le.Uint64(r[wasmabi.FileIno:])
	if f.sock != nil {
		c.compareSock(d, f, r)
		return
	}
	for _, a := range anonymous {
		if strings.HasPrefix(f.link, a.link) {
			if kind != a.kind && !(a.kind == 'p' && kind == 'f' && ino == f.ino) { // opened by a name in /proc
				d.add("type", string(a.kind), c.fileText(r))
			}
			if a.kind == 'p' && ino != f.ino {
				d.num("ino", int64(f.ino), int64(ino))
			}
			return
		}
	}
	if !strings.HasPrefix(f.link, "/") {
		return // of no kind that the state tells apart
	}
	want := "f"
	switch f.mode & unix.S_IFMT {
	case unix.S_IFDIR:
		want = "df" // by open's flags, or by what it is
	case unix.S_IFIFO:
		want = "pf"
	}
	if strings.IndexByte(want, kind) < 0 {
		d.add("type", want, c.fileText(r))
		return
	}
	name := string(c.Arena.Strings.Get(le.Uint32(r[wasmabi.FileName:])))
	link := strings.TrimSuffix(f.link, " (deleted)")
	if name != link && c.inRoot(d.p, name) != link && strings.TrimSuffix(name, " (deleted)") != link && !c.sameFile(d.p, name, "fd/"+strconv.Itoa(f.fd)) && !c.sameDeleted(d.p, name, f) && !fromOtherRoot(f, r, name) {
		d.add("name", f.link, name)
	}
	if ino != 0 {
		d.num("ino", int64(f.ino), int64(ino))
	}
	if dev := le.Uint32(r[wasmabi.FileDev:]); dev != 0 {
		d.bits("dev", f.dev, uint64(dev))
	}
	flags := le.Uint32(r[wasmabi.FileOpenFlags:])
	if mode := uint64(flags & 3); flags != 0 && mode != f.flags&unix.O_ACCMODE+1 && f.flags&unix.O_PATH == 0 {
		d.num("access", int64(f.flags&unix.O_ACCMODE+1), int64(mode))
	}
}

// sameDeleted is sameFile for a file that was deleted: its folder must be the same and its name too.
func (c *Checker) sameDeleted(p *process, name string, f *file) bool {
	link, ok := strings.CutSuffix(f.link, " (deleted)")
	i, j := strings.LastIndexByte(link, '/'), strings.LastIndexByte(name, '/')
	if !ok || i < 0 || j < 0 || link[i:] != name[j:] {
		return false
	}
	var a, b unix.Stat_t
	root := c.Proc + "/" + strconv.Itoa(p.pid) + "/root"
	return unix.Stat(root+name[:j+1], &a) == nil && unix.Stat(root+link[:i+1], &b) == nil && a.Dev == b.Dev && a.Ino == b.Ino
}

// fromOtherRoot reports whether name can be that of f as a process saw it that has the same fds and another root directory:
// the file is known by its inode, and its path ends so.
func fromOtherRoot(f *file, r []byte, name string) bool {
	return f.ino == le.Uint64(r[wasmabi.FileIno:]) && f.dev == uint64(le.Uint32(r[wasmabi.FileDev:])) && strings.HasSuffix(strings.TrimSuffix(f.link, " (deleted)"), name)
}

// endpoint is one end of a socket as text; "" for none.
func endpoint(sa unix.Sockaddr) (netip.AddrPort, bool) {
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)), true
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port)), true
	}
	return netip.AddrPort{}, false
}

func (c *Checker) compareSock(d *diffs, f *file, r []byte) {
	s, kind, bits := f.sock, r[wasmabi.FileKind], r[wasmabi.FileBits]
	want := "o"
	switch s.family {
	case unix.AF_UNIX:
		want = "u"
	case unix.AF_INET:
		want = "4"
	case unix.AF_INET6:
		want = "64" // one for IPv6 may talk IPv4
	case unix.AF_NETLINK:
		want = "n"
	}
	if strings.IndexByte(want, kind) < 0 {
		d.add("type", want, c.fileText(r))
		return
	}
	if s.family != unix.AF_INET && s.family != unix.AF_INET6 {
		return
	}
	end := func(ip, port int) netip.AddrPort {
		var a netip.Addr
		if kind == '4' {
			a = netip.AddrFrom4([4]byte(r[ip : ip+4]))
		} else {
			a = netip.AddrFrom16([16]byte(r[ip : ip+16]))
		}
		return netip.AddrPortFrom(a.Unmap(), le.Uint16(r[port:]))
	}
	client, server := end(wasmabi.FileCip, wasmabi.FileCport), end(wasmabi.FileSip, wasmabi.FileSport)
	local, okLocal := endpoint(s.local)
	remote, okRemote := endpoint(s.remote)
	switch {
	case okLocal && okRemote:
		mine, theirs := client, server
		if bits&wasmabi.FileServer != 0 {
			mine, theirs = server, client
		}
		d.text("local", local.String(), mine.String())
		d.text("remote", remote.String(), theirs.String())
	case s.listening && okLocal:
		d.num("port", int64(local.Port()), int64(server.Port()))
		if bits&wasmabi.FileServer == 0 {
			d.add("server", "yes", "no")
		}
	}
}
