package state

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/shikra-sensor/shikra/sensor/internal/arena"
	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/snapshot"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// TestText runs the files in testdata. A file is a list of directives; "run" takes lines:
//
//	thread tid=7 ptid=1 comm=sh …      a thread of the snapshot
//	file pid=7 fd=3 name=/etc/x        an fd of the snapshot; kind is f unless given
//	user uid=5 name=ann home=/home/ann shell=/bin/sh     group gid=5 name=staff
//	settled
//	7 openat fd=3 dirfd=-100 name=/a   an event of thread 7; parameters that aren't named are missing, but for res=0; "reused" marks
//	                                   a close that another thread overtook, "cloexec" fds that exec closes
//	flush                              judges the batch
//	repair                             begins a repair; the lines "snap thread …" and "snap file …" are its snapshot, and
//	merge [cut]                        compares it, cut when a limit left something out
//	asks                               what was asked for, to be answered by
//	found pid=7 fd=3 name=/etc/x | found pid=7 fd=3 closed
//	show 7 | fds 7 | tree | batch | stats a,b
//
// Every event prints what it refers to; "flush" before it says that state had the batch judged first.
// The word "ring" makes an event io_uring's, which has no res=0 of itself.
func TestText(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		if strconv.IntSize == 32 && filepath.Base(path) == "passing.txt" {
			t.Skip("its control messages are those of 64-bit programs (struct cmsghdr)")
		}
		start := func() *machine {
			var m *machine
			m = newMachine(t, arena.Config{Threads: 64, Files: 256}, Config{AskFile: func(a snapshot.FileAsk) bool {
				m.asked = append(m.asked, a)
				return true
			}})
			return m
		}
		m := start()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "new":
				m = start()
				return ""
			case "run":
				var out strings.Builder
				m.onFlush = func() { out.WriteString("flush\n") }
				for _, line := range strings.Split(d.Input, "\n") {
					if line, _, _ = strings.Cut(line, "#"); strings.TrimSpace(line) == "" {
						continue
					}
					m.line(t, d, &out, line)
				}
				if err := check(m.State); err != nil {
					d.Fatalf(t, "%v", err)
				}
				return out.String()
			}
			d.Fatalf(t, "unknown directive %s", d.Cmd)
			return ""
		})
	})
}

// words splits at blanks outside of double quotes; a backslash escape of Go, or \0, may stand between quotes.
func words(s string) (out []string) {
	for s = strings.TrimSpace(s); s != ""; s = strings.TrimLeft(s, " ") {
		i, quoted := 0, false
		for i < len(s) && (quoted || s[i] != ' ') {
			if s[i] == '"' {
				quoted = !quoted
			}
			i++
		}
		out = append(out, s[:i])
		s = s[i:]
	}
	return out
}

func args(w []string) map[string]string {
	kv := map[string]string{}
	for _, x := range w {
		k, v, _ := strings.Cut(x, "=")
		if len(v) > 1 && v[0] == '"' {
			u, err := strconv.Unquote(strings.ReplaceAll(v, `\0`, `\x00`))
			if err != nil {
				panic(err)
			}
			v = u
		}
		kv[k] = v
	}
	return kv
}

func (m *machine) line(t *testing.T, d *datadriven.TestData, out *strings.Builder, line string) {
	w := words(line)
	kv := args(w[1:])
	num := func(k string, def int64) int64 {
		v, ok := kv[k]
		if !ok {
			return def
		}
		n, err := strconv.ParseInt(v, 0, 64)
		if err != nil {
			d.Fatalf(t, "%s: %v", line, err)
		}
		return n
	}
	list := func(k string) []string { return strings.FieldsFunc(kv[k], func(r rune) bool { return r == ',' }) }
	switch w[0] {
	case "repair":
		m.BeginRepair(m.ts)
		m.taken = snapshot.Taken{AllThreads: true, AllFiles: true}
	case "snap":
		into := m.sink
		m.sink = &m.taken
		m.line(t, d, out, strings.TrimPrefix(strings.TrimSpace(line), "snap "))
		m.sink = into
	case "merge":
		if len(w) > 1 {
			m.taken.AllThreads, m.taken.AllFiles = false, false
		}
		for !m.Repair(&m.taken, 1) { // in the smallest steps
		}
		if n := m.Unsure(); n > 0 {
			fmt.Fprintf(out, "unsure of %d\n", n)
		}
	case "thread":
		tid := num("tid", 0)
		m.sink.AddThread(&snapshot.Thread{
			TID: tid, PID: num("pid", tid), PTID: num("ptid", 0), VTID: num("vtid", tid), VPID: num("vpid", num("pid", tid)),
			UID: uint32(num("uid", 0)), GID: uint32(num("gid", 0)), LoginUID: uint32(num("loginuid", noID)),
			Comm: kv["comm"], Exe: kv["comm"], ExePath: "/bin/" + kv["comm"], Cwd: or(kv["cwd"], "/"), Root: "/", Args: list("args"),
			Cgroups: list("cgroups"), SharesFiles: num("pid", tid) != tid, Files: uint64(num("files", 0)), Dirs: uint64(num("dirs", 0)), Exiting: num("exiting", 0)+num("exited", 0) != 0, Exited: num("exited", 0) != 0,
		})
	case "file":
		m.sink.AddFile(&snapshot.File{Ino: uint64(num("ino", 0)), Dev: uint32(num("dev", 0)), PID: num("pid", 0), FD: int32(num("fd", 0)), Name: kv["name"], Kind: or(kv["kind"], "f")[0], OpenFlags: uint32(num("flags", 0))})
	case "user":
		m.AddUser(&snapshot.User{UID: uint32(num("uid", 0)), Name: kv["name"], Home: kv["home"], Shell: kv["shell"], Container: kv["container"]})
	case "group":
		m.AddGroup(&snapshot.Group{GID: uint32(num("gid", 0)), Name: kv["name"]})
	case "users":
		fmt.Fprintf(out, "%d users, %d groups\n", m.users.ix.n, m.groups.ix.n)
	case "settled":
		m.Settled()
	case "flush":
		m.flush()
	case "wait":
		m.ts += uint64(num("ns", 10e9))
	case "asks":
		for _, a := range m.asked {
			fmt.Fprintf(out, "pid %d fd %d", a.PID, a.FD)
			if a.Again {
				out.WriteString(" again")
			}
			if a.Silent {
				out.WriteString(" silent")
			}
			out.WriteString("\n")
		}
	case "found":
		i := slices.IndexFunc(m.asked, func(a snapshot.FileAsk) bool { return a.PID == num("pid", 0) && int64(a.FD) == num("fd", 0) })
		if i < 0 {
			d.Fatalf(t, "nobody asked: %s", line)
		}
		f := snapshot.File{PID: m.asked[i].PID, FD: m.asked[i].FD, Ino: uint64(num("ino", 0)), Dev: uint32(num("dev", 0)), Name: kv["name"], Kind: or(kv["kind"], "f")[0], OpenFlags: uint32(num("flags", 0))}
		if _, ok := kv["closed"]; ok {
			f = snapshot.File{PID: f.PID, FD: -1}
		}
		m.FoundFile(m.asked[i], &f)
		if !m.asked[i].Silent || f.FD < 0 {
			m.asked = slices.Delete(m.asked, i, i+1)
		}
	case "show":
		m.show(out, m.FindThread(mustInt(w[1])))
	case "fds":
		th := m.FindThread(mustInt(w[1]))
		fmt.Fprintf(out, "fds of %s: %d\n", w[1], m.OpenFiles(th))
		for fd := range int32(2000) {
			if f := m.OpenFile(th, int64(fd)); f != 0 {
				ce := ""
				if m.fdEntry(m.side[th].tab, fd)&cloexec != 0 {
					ce = " cloexec"
				}
				fmt.Fprintf(out, "  %d %s%s\n", fd, m.fileText(f), ce)
			}
		}
	case "tree":
		m.tree(out, 0, "")
	case "batch":
		for i := range m.a.Batch.Len() {
			e := m.a.Batch.Event(i)
			fmt.Fprintf(out, "%s by %s: %s\n", e.Type().Info().Name, m.threadText(e.Thread()), m.fileText(e.File()))
			if t := e.Thread(); t != 0 && get32(m.rec(t), wasmabi.ThreadContainer) != 0 {
				k := get32(m.rec(t), wasmabi.ThreadContainer)
				kr := m.a.Containers.Record(k)
				fmt.Fprintf(out, "  in %s%s called %s\n", m.str(get32(kr, wasmabi.ContainerId)), m.ofText(k), m.str(get32(kr, wasmabi.ContainerName)))
			}
		}
	case "stats":
		st := fmt.Sprintf("%+v", m.Stats())
		for _, f := range strings.Fields(strings.Trim(st, "{}")) {
			if k, v, _ := strings.Cut(f, ":"); has(w[1:], k) {
				fmt.Fprintf(out, "%s %s\n", k, v)
			}
		}
	default:
		tid, err := strconv.ParseInt(w[0], 10, 64)
		if err != nil {
			d.Fatalf(t, "unknown line %q", line)
		}
		e := m.do(t, m.record(t, d, tid, w[1], args(w[2:])))
		fmt.Fprintf(out, "%s by %s", w[1], m.threadText(e.Thread()))
		if e.FD() >= 0 {
			fmt.Fprintf(out, " fd %d", e.FD())
		}
		if e.File() != 0 {
			fmt.Fprintf(out, " %s", m.fileText(e.File()))
		}
		if e.Bits()&wasmabi.BitNameChanged != 0 {
			out.WriteString(" changed")
		}
		out.WriteString("\n")
	}
}

func has(w []string, k string) bool {
	for _, x := range w {
		if x == k {
			return true
		}
	}
	return false
}

func or(s, d string) string {
	if s == "" {
		return d
	}
	return s
}

func mustInt(s string) int64 {
	n, err := strconv.ParseInt(s, 0, 64)
	if err != nil {
		panic(err)
	}
	return n
}

// typeNamed returns the newest event type of a name.
func typeNamed(name string) (event.Type, bool) {
	ts := event.ByName(name)
	if len(ts) == 0 {
		return 0, false
	}
	return ts[len(ts)-1], true
}

func (m *machine) record(t *testing.T, d *datadriven.TestData, tid int64, name string, kv map[string]string) event.Record {
	et, ok := typeNamed(name)
	if !ok {
		d.Fatalf(t, "no event type %s", name)
	}
	m.ts += 1000
	b := m.b.Start(m.ts, tid, et)
	_, ring := kv["ring"]
	if ring {
		b.SetOrigin(wasmabi.OriginIoUring)
		delete(kv, "ring")
	}
	for i, p := range et.Info().Params {
		v, ok := kv[p.Name]
		if !ok && i == 0 && p.Name == "res" && !ring {
			v, ok = "0", true
		}
		delete(kv, p.Name)
		if !ok {
			b.Missing()
			continue
		}
		switch p.Type {
		case event.ParamCharbuf, event.ParamFspath, event.ParamFsrelpath:
			b.String(v)
		case event.ParamBytebuf:
			b.Bytes([]byte(v))
		case event.ParamSockaddr, event.ParamSocktuple:
			b.Bytes(sockBytes(v))
		case event.ParamDyn: // an error number, as SO_ERROR gives
			b.Bytes(le.AppendUint64([]byte{sockoptErrno}, uint64(mustInt(v))))
		default:
			b.Int(mustInt(v))
		}
	}
	for name, bit := range map[string]uint16{"reused": wasmabi.OriginReused, "cloexec": wasmabi.OriginCloexec, "cut": wasmabi.OriginCut} { // no parameters
		if _, ok := kv[name]; ok {
			delete(kv, name)
			b.SetOrigin(bit)
		}
	}
	if len(kv) > 0 {
		d.Fatalf(t, "%s has no parameters %v", name, kv)
	}
	return clone(b.Done())
}

// sockBytes encodes "1.2.3.4:80", "[::1]:80", "/path" and two IP ones with -> between, or "u aa->bb /path".
func sockBytes(s string) []byte {
	if rest, ok := strings.CutPrefix(s, "u "); ok {
		var a, b uint64
		var path string
		fmt.Sscanf(strings.Replace(rest, "->", " ", 1), "%x %x %s", &a, &b, &path)
		out := append([]byte{1}, make([]byte, 16)...)
		le.PutUint64(out[1:], a)
		le.PutUint64(out[9:], b)
		return append(append(out, path...), 0)
	}
	if !strings.Contains(s, ":") {
		return append(append([]byte{1}, s...), 0)
	}
	var out []byte
	for i, x := range strings.Split(s, "->") {
		ap := netip.MustParseAddrPort(x)
		if i == 0 {
			out = append(out, 2)
			if ap.Addr().Is6() {
				out[0] = 10
			}
		}
		out = append(out, ap.Addr().AsSlice()...)
		out = le.AppendUint16(out, ap.Port())
	}
	return out
}

func (m *machine) str(ref uint32) string { return string(m.a.Strings.Get(ref)) }

func (m *machine) threadText(t uint32) string {
	if t == 0 {
		return "nobody"
	}
	r := m.rec(t)
	return fmt.Sprintf("%s(%d)", m.str(get32(r, wasmabi.ThreadComm)), geti64(r, wasmabi.ThreadTid))
}

// ofText says whose the container in slot k is, nothing for the system's.
func (m *machine) ofText(k uint32) string {
	if o := m.ContainerOwner(k); len(o) > 0 {
		return " of " + string(o)
	}
	return ""
}

func (m *machine) fileText(f uint32) string {
	if f == 0 {
		return "-"
	}
	r := m.a.Files.Record(f)
	kind := string(r[wasmabi.FileKind])
	if kind == "\x00" {
		kind = "?"
	}
	s := fmt.Sprintf("%s %q", kind, m.str(get32(r, wasmabi.FileName)))
	if raw := get32(r, wasmabi.FileNameRaw); raw != 0 {
		s += fmt.Sprintf(" raw %q", m.str(raw))
	}
	if n := get32(r, wasmabi.FileNameDir); n != 0 {
		s += fmt.Sprintf(" dir %d", n)
	}
	for _, b := range []struct {
		bit  byte
		name string
	}{{wasmabi.FileClient, "client"}, {wasmabi.FileServer, "server"}, {wasmabi.FileConnected, "connected"}, {wasmabi.FileUpperLayer, "upper"}, {wasmabi.FileLowerLayer, "lower"}, {wasmabi.FileNameCut, "cut"}} {
		if r[wasmabi.FileBits]&b.bit != 0 {
			s += " " + b.name
		}
	}
	if l4 := r[wasmabi.FileL4proto]; l4 != 0 {
		s += fmt.Sprintf(" proto %d", l4)
	}
	return s
}

func (m *machine) tree(out *strings.Builder, parent uint32, indent string) {
	for t := uint32(1); t < m.a.Threads.High(); t++ {
		r := m.rec(t)
		if m.side[t].bits&live == 0 || m.leader(t) != t || get32(r, wasmabi.ThreadParent) != parent {
			continue
		}
		fmt.Fprintf(out, "%s%s ptid=%d", indent, m.threadText(t), geti64(r, wasmabi.ThreadPtid))
		if get32(r, wasmabi.ThreadFlags)&wasmabi.ThreadExited != 0 {
			out.WriteString(" exited")
		}
		for x := m.side[t].gnext; x != t; x = m.side[x].gnext {
			fmt.Fprintf(out, " +%s", m.threadText(x))
		}
		out.WriteString("\n")
		m.tree(out, t, indent+"  ")
	}
}

func (m *machine) show(out *strings.Builder, t uint32) {
	if t == 0 {
		out.WriteString("no such thread\n")
		return
	}
	r := m.rec(t)
	s := func(off int) string { return m.str(get32(r, off)) }
	p := func(off int) string { return string(m.a.Private.Get(get32(r, off))) }
	fmt.Fprintf(out, "%s pid=%d ptid=%d vtid=%d vpid=%d pgid=%d vpgid=%d sid=%d\n", m.threadText(t), geti64(r, wasmabi.ThreadPid), geti64(r, wasmabi.ThreadPtid),
		geti64(r, wasmabi.ThreadVtid), geti64(r, wasmabi.ThreadVpid), geti64(r, wasmabi.ThreadPgid), geti64(r, wasmabi.ThreadVpgid), geti64(r, wasmabi.ThreadSid))
	fmt.Fprintf(out, "  exe %q path %q cwd %q root %q\n", s(wasmabi.ThreadExe), s(wasmabi.ThreadExepath), s(wasmabi.ThreadCwd), s(wasmabi.ThreadRoot))
	fmt.Fprintf(out, "  cmdline %q argline %q args %q env %q\n", p(wasmabi.ThreadCmdline), p(wasmabi.ThreadArgline), p(wasmabi.ThreadArgs), p(wasmabi.ThreadEnv))
	fmt.Fprintf(out, "  uid %d %s home %s shell %s gid %d %s login %d %s tty %d\n", int32(get32(r, wasmabi.ThreadUid)), s(wasmabi.ThreadUserName), s(wasmabi.ThreadUserHome), s(wasmabi.ThreadUserShell),
		int32(get32(r, wasmabi.ThreadGid)), s(wasmabi.ThreadGroupName), int32(get32(r, wasmabi.ThreadLoginuid)), s(wasmabi.ThreadLoginuserName), get32(r, wasmabi.ThreadTty))
	fmt.Fprintf(out, "  flags %d caps %x/%x/%x fdlimit %d ino %d cgroups %q\n", get32(r, wasmabi.ThreadFlags), get64(r, wasmabi.ThreadCapPermitted), get64(r, wasmabi.ThreadCapEffective),
		get64(r, wasmabi.ThreadCapInheritable), geti64(r, wasmabi.ThreadFdLimit), get64(r, wasmabi.ThreadExeIno), s(wasmabi.ThreadCgroups))
	if c, mt := get64(r, wasmabi.ThreadExeCtime), get64(r, wasmabi.ThreadExeMtime); c|mt != 0 {
		fmt.Fprintf(out, "  exe changed %d written %d\n", c, mt)
	}
	if k := get32(r, wasmabi.ThreadContainer); k != 0 {
		kr := m.a.Containers.Record(k)
		fmt.Fprintf(out, "  container %s%s kind %d", m.str(get32(kr, wasmabi.ContainerId)), m.ofText(k), get32(kr, wasmabi.ContainerKind))
		if f := get32(kr, wasmabi.ContainerFlags); f != 0 {
			c := func(off int) string { return m.str(get32(kr, off)) }
			fmt.Fprintf(out, " flags %d name %s image %s repository %s tag %s pod %s/%s", f, c(wasmabi.ContainerName), c(wasmabi.ContainerImage),
				c(wasmabi.ContainerImageRepository), c(wasmabi.ContainerImageTag), c(wasmabi.ContainerPodNamespace), c(wasmabi.ContainerPodName))
		}
		out.WriteString("\n")
	}
}
