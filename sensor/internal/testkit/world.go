// Package testkit makes what tests of several packages need: a small random world of processes that does things, as records.
package testkit

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/shikra-sensor/shikra/sensor/internal/container"
	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/snapshot"
)

// World is a random world of processes. The same seed gives the same records. Not safe for concurrent use.
type World struct {
	r     *rand.Rand
	b     event.Builder
	procs []*proc
	ts    uint64
	next  int64
	queue []func() event.Record // the rest of what one action does
	names int
}

type proc struct {
	tid, ppid int64
	comm      string
	fds       map[int64]bool // open; true for a socket
	uid       uint32
	box       int  // its container, 0 for the host
	theirs    bool // its container is a user's, of the same id as the system's
}

// Programs are the names that the world's processes have.
var Programs = []string{"sh", "bash", "nginx", "cat", "python3", "systemd", "sshd", "dpkg", "xmrig", "mosquitto", "worker"}

// Paths are names that are opened often; others are made up.
var Paths = []string{"/etc/passwd", "/etc/shadow", "/usr/bin/ls", "/lib/x86_64-linux-gnu/libc.so.6", "/dev/null", "notes.txt", "../etc/shadow",
	"/home/user/.ssh/id_ed25519", "/var/log/syslog", "/dev/mtd0", "/etc/cron.d/job", "/proc/1/mem", "/usr/sbin/nginx", "/etc/ld.so.preload"}

// NewWorld makes a world of n processes, all children of process 1.
func NewWorld(seed uint64, n int) *World {
	w := &World{r: rand.New(rand.NewPCG(seed, 0x5eed)), next: 100, ts: 1_000_000_000}
	w.procs = append(w.procs, &proc{tid: 1, comm: "systemd", fds: map[int64]bool{}})
	for range n {
		w.procs = append(w.procs, &proc{tid: w.next, ppid: 1, comm: w.pick(Programs), fds: map[int64]bool{}})
		w.next++
	}
	return w
}

// Snapshot gives sink the world as it is.
func (w *World) Snapshot(sink snapshot.Sink) {
	for _, u := range []snapshot.User{{UID: 0, Name: "root", Home: "/root", Shell: "/bin/sh"}, {UID: 1000, Name: "user", Home: "/home/user", Shell: "/bin/bash"}} {
		sink.AddUser(&u)
	}
	sink.AddGroup(&snapshot.Group{GID: 0, Name: "root"})
	for _, p := range w.procs {
		sink.AddThread(&snapshot.Thread{TID: p.tid, PID: p.tid, PTID: p.ppid, VTID: p.tid, VPID: p.tid, PGID: p.tid, SID: p.tid, Flags: 1, Comm: p.comm,
			Exe: p.comm, ExePath: "/usr/bin/" + p.comm, Cwd: "/home/user", Root: "/", LoginUID: 0xFFFFFFFF})
	}
}

func (w *World) pick(s []string) string { return s[w.r.IntN(len(s))] }

func (w *World) proc() *proc { return w.procs[w.r.IntN(len(w.procs))] }

// Next does the next thing and returns its record, valid until the next call.
func (w *World) Next() event.Record {
	w.ts += uint64(w.r.IntN(5000))
	if len(w.queue) > 0 {
		f := w.queue[0]
		w.queue = w.queue[1:]
		return f()
	}
	p := w.proc()
	switch n := w.r.IntN(100); {
	case n < 40:
		return w.open(p)
	case n < 68:
		return w.close(p)
	case n < 76:
		return w.connect(p)
	case n < 80:
		return w.dup(p)
	case n < 86:
		return w.spawn(p)
	case n < 90:
		return w.exec(p)
	case n < 93 && p.tid != 1:
		return w.exit(p)
	case n < 95:
		return w.b.Start(w.ts, p.tid, event.SyscallChdirX).Int(0).String(w.pick([]string{"/", "/etc", "/usr/bin", "/tmp/../etc", "sub"})).Done()
	case n < 97:
		p.uid = uint32(w.r.IntN(2) * 1000)
		return w.b.Start(w.ts, p.tid, event.SyscallSetuidX).Int(0).Int(int64(p.uid)).Done()
	case n < 98 && w.r.IntN(2) == 0:
		return w.container(p)
	case n < 98:
		return w.b.Start(w.ts, p.tid, event.SyscallUnlinkatV2X).Int(0).Int(-100).String(w.pick(Paths)).Int(0).Done()
	default:
		p.comm = w.pick(Programs)
		return w.b.Start(w.ts, p.tid, event.SyscallPrctlX).Int(0).Int(15).String(p.comm).Int(0).Done()
	}
}

func (w *World) fd(p *proc) int64 {
	for fd := int64(3); ; fd++ {
		if _, ok := p.fds[fd]; !ok {
			return fd
		}
	}
}

// anyFD returns a random open fd of p, or one that isn't open. Maps iterate in random order, so the fds are scanned.
func (w *World) anyFD(p *proc) int64 {
	if len(p.fds) > 0 {
		for k, fd := w.r.IntN(len(p.fds)), int64(0); ; fd++ {
			if _, ok := p.fds[fd]; ok {
				if k == 0 {
					return fd
				}
				k--
			}
		}
	}
	return 17
}

func (w *World) open(p *proc) event.Record {
	name := w.pick(Paths)
	if w.r.IntN(3) == 0 {
		w.names++
		name = fmt.Sprintf("/tmp/f%d", w.names%5000)
	}
	fd := w.fd(p)
	if w.r.IntN(10) == 0 {
		fd = -2
	} else {
		p.fds[fd] = false
	}
	flags := []int64{1, 2, 3, 2 | 4 | 8}[w.r.IntN(4)] // O_RDONLY, O_WRONLY, O_RDWR, O_WRONLY|O_CREAT|O_APPEND
	return w.b.Start(w.ts, p.tid, event.SyscallOpenatV2X).Int(fd).Int(-100).String(name).Int(flags).Int(0o644).Int(1).Int(int64(w.r.IntN(1 << 20))).Done()
}

func (w *World) close(p *proc) event.Record {
	fd := w.anyFD(p)
	res := int64(0)
	if _, ok := p.fds[fd]; !ok {
		res = -9
	}
	delete(p.fds, fd)
	return w.b.Start(w.ts, p.tid, event.SyscallCloseX).Int(res).Int(fd).Done()
}

func (w *World) connect(p *proc) event.Record {
	fd := w.fd(p)
	p.fds[fd] = true
	sport, dport := uint16(40000+w.r.IntN(1000)), uint16([]int{22, 80, 443, 3333}[w.r.IntN(4)])
	tuple := tuple4([4]byte{192, 0, 2, 1}, sport, [4]byte{192, 0, 2, byte(w.r.IntN(4))}, dport)
	addr := append([]byte{2}, tuple[7:]...)
	w.queue = append(w.queue, func() event.Record {
		return w.b.Start(w.ts, p.tid, event.SocketConnectX).Int(0).Bytes(tuple).Int(fd).Bytes(addr).Done()
	})
	return w.b.Start(w.ts, p.tid, event.SocketSocketX).Int(fd).Int(2).Int(1).Int(6).Int(0).Done()
}

func tuple4(a [4]byte, ap uint16, b [4]byte, bp uint16) []byte {
	t := append([]byte{2}, a[:]...)
	t = binary.LittleEndian.AppendUint16(t, ap)
	t = append(t, b[:]...)
	return binary.LittleEndian.AppendUint16(t, bp)
}

func (w *World) dup(p *proc) event.Record {
	from := w.anyFD(p)
	to := int64(w.r.IntN(3))
	sock, ok := p.fds[from]
	if !ok {
		return w.b.Start(w.ts, p.tid, event.SyscallDup2X).Int(-9).Int(from).Int(to).Done()
	}
	p.fds[to] = sock
	return w.b.Start(w.ts, p.tid, event.SyscallDup2X).Int(to).Int(from).Int(to).Done()
}

func (w *World) clone(p, c *proc, child bool) event.Record {
	tid, res, ptid := p.tid, c.tid, p.ppid
	if child {
		tid, res, ptid = c.tid, 0, p.tid
	}
	return w.b.Start(w.ts, tid, event.SyscallCloneV20X).Int(res).String(p.comm).Bytes([]byte("-x\x00")).Int(tid).Int(tid).Int(ptid).String("").
		Int(1024).Int(0).Int(0).Int(0).Int(0).Int(0).String(p.comm).Bytes(c.cgroups()).Int(0).Int(int64(p.uid)).Int(0).Int(tid).Int(tid).Int(0).Done()
}

func (w *World) spawn(p *proc) event.Record {
	if len(w.procs) > 200 {
		return w.exit(w.procs[len(w.procs)-1])
	}
	c := &proc{tid: w.next, ppid: p.tid, comm: p.comm, uid: p.uid, box: p.box, theirs: p.theirs, fds: map[int64]bool{}}
	w.next++
	for fd, sock := range p.fds {
		c.fds[fd] = sock
	}
	w.procs = append(w.procs, c)
	first := w.r.IntN(2) == 0 // which side is seen first
	w.queue = append(w.queue, func() event.Record { return w.clone(p, c, !first) }, func() event.Record { return w.exec(c) })
	return w.clone(p, c, first)
}

func (w *World) exec(p *proc) event.Record {
	p.comm = w.pick(Programs)
	if w.r.IntN(4) == 0 {
		p.box, p.theirs = w.r.IntN(4), w.r.IntN(3) == 0
	}
	args := strings.Repeat("-c\x00run me\x00", w.r.IntN(3))
	return w.b.Start(w.ts, p.tid, event.SyscallExecveV19X).Int(0).String("/usr/bin/" + p.comm).Bytes([]byte(args)).Int(p.tid).Int(p.tid).Int(p.ppid).String("").
		Int(1024).Int(0).Int(0).Int(0).Int(0).Int(0).String(p.comm).Bytes(p.cgroups()).Bytes([]byte("HOME=/root\x00")).Int(0).Int(p.tid).Int(-1).
		Int(0).Int(0).Int(0).Int(0).Int(int64(w.r.IntN(1000))).Int(0).Int(0).Int(int64(p.uid)).String("/usr/bin/" + p.comm).Int(p.tid).Int(0).String("/usr/bin/" + p.comm).Done()
}

// boxID is the id of a container, 1 and up.
func boxID(box int) string { return strings.Repeat(string(rune('a'+box)), 64) }

func (p *proc) cgroups() []byte {
	if p.box == 0 {
		return []byte("cpu=/\x00")
	}
	if p.theirs {
		return []byte("cpu=/user.slice/user-1000.slice/docker-" + boxID(p.box) + ".scope\x00")
	}
	return []byte("cpu=/docker/" + boxID(p.box) + "\x00")
}

// container has a runtime say what one of the containers is, each time something else.
func (w *World) container(p *proc) event.Record {
	in := container.Info{Kind: container.KindDocker, Name: w.pick(Programs), Privileged: w.r.IntN(2) == 0, FullID: boxID(1 + w.r.IntN(4))}
	in.ID = in.FullID[:12]
	switch w.r.IntN(3) {
	case 0:
		in.Owned = true
	case 1:
		in.Owner, in.Owned = "user:1000", true
	}
	in.Labels = []container.Label{{Key: "team", Value: w.pick(Programs)}}
	return w.b.Start(w.ts, p.tid, event.AsynceventE).Int(0).String(container.EventAdded).Bytes(in.AppendJSON(nil)).Done()
}

func (w *World) exit(p *proc) event.Record {
	for i, q := range w.procs {
		if q == p {
			w.procs = append(w.procs[:i], w.procs[i+1:]...)
			break
		}
	}
	for _, q := range w.procs {
		if q.ppid == p.tid {
			q.ppid = 1
		}
	}
	return w.b.Start(w.ts, p.tid, event.ProcexitV1E).Int(0).Int(0).Int(0).Int(0).Int(1).Done()
}
