package live

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/snapshot"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// Bounds of what is read from /proc.
const (
	maxProcFile  = 64 << 10 // of one small file
	maxArgs      = 4096     // bytes of the arguments, and of the environment
	maxCgroups   = 32
	maxProcesses = 1 << 22 // PID_MAX_LIMIT, include/linux/threads.h@v6.12
)

// procfs reads one mounted /proc. Names are resolved from its directory, so a later mount over it does no harm. The
// slices it returns are valid until the next call. Not safe for concurrent use.
type procfs struct {
	dir int
	buf []byte
}

func openProcfs(path string) (*procfs, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return &procfs{dir: fd, buf: make([]byte, maxProcFile)}, nil
}

func (p *procfs) close() { unix.Close(p.dir) }

// read returns the first limit bytes of the file called name in /proc.
func (p *procfs) read(name string, limit int) ([]byte, error) {
	fd, err := unix.Openat(p.dir, name, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	n := 0
	for n < limit {
		m, err := unix.Read(fd, p.buf[n:limit])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, err
		}
		if m == 0 {
			break
		}
		n += m
	}
	return p.buf[:n], nil
}

func pidPath(pid int32, name string) string { return strconv.Itoa(int(pid)) + "/" + name }

// readlink returns what the link called name of a thread points to.
func (p *procfs) readlink(tid int32, name string) (string, error) {
	n, err := unix.Readlinkat(p.dir, pidPath(tid, name), p.buf[:4096])
	if err != nil {
		return "", err
	}
	return string(p.buf[:n]), nil
}

// numbers calls fn for each entry of the directory called name whose name is a number, until fn returns false.
func (p *procfs) numbers(name string, fn func(int32) bool) error {
	fd, err := unix.Openat(p.dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	buf, names := make([]byte, 16<<10), []string(nil)
	for {
		n, err := unix.ReadDirent(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			return err
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names[:0])
		for _, s := range names {
			if v, err := strconv.ParseUint(s, 10, 31); err == nil && !fn(int32(v)) {
				return nil
			}
		}
	}
}

// missingThreads reads from /proc the threads that the task iterator didn't show: of processes it doesn't know, and of
// those of which it showed too few.
func (s *shot) missingThreads(ctx context.Context) error {
	want := map[int32]int{} // threads a process has, by the iterator
	have := map[[2]int32]bool{}
	for i := range s.table.at {
		h := s.table.head(i)
		want[h.Pid] = int(h.NrThreads)
	}
	for i := range s.table.at {
		if h := s.table.head(i); s.seen[h.Pid] < want[h.Pid] {
			have[[2]int32{h.Pid, h.Tid}] = true
		}
	}
	inits := map[uint64]uint64{} // when the init of a pid namespace began
	var pids []int32
	if err := s.proc.numbers(".", func(pid int32) bool { pids = append(pids, pid); return len(pids) < maxProcesses }); err != nil {
		return fmt.Errorf("list processes: %w", err)
	}
	for _, pid := range pids {
		if err := ctx.Err(); err != nil {
			return err
		}
		seen := s.seen[pid]
		if seen == 0 {
			s.fallback = append(s.fallback, pid)
		} else if seen >= want[pid] {
			continue
		}
		_ = s.proc.numbers(pidPath(pid, "task"), func(tid int32) bool {
			if seen > 0 && have[[2]int32{pid, tid}] {
				return true
			}
			if len(s.table.at)+len(s.byProc) >= s.cfg.MaxThreads {
				s.rep.ThreadsCut++
				return true
			}
			if t, err := s.proc.thread(pid, tid, inits); err == nil { // else it has ended meanwhile
				s.byProc = append(s.byProc, t)
			}
			return true
		})
	}
	for i := range s.byProc {
		t := &s.byProc[i]
		if t.PidnsInitTS == 0 {
			t.PidnsInitTS = inits[s.proc.namespace(int32(t.TID), "ns/pid")]
		}
	}
	return nil
}

var errGone = errors.New("has ended")

// thread reads one thread, without arguments and environment. Its times have the granularity of a clock tick, 10 ms.
// What no file tells (overlay layers) is missing.
func (p *procfs) thread(pid, tid int32, inits map[uint64]uint64) (snapshot.Thread, error) {
	t := snapshot.Thread{TID: int64(tid), PID: int64(pid), LoginUID: 1<<32 - 1, FDLimit: -1}
	b, err := p.read(pidPath(tid, "stat"), 4096)
	if err != nil {
		return t, err
	}
	threads, err := parseStat(b, &t)
	if err != nil {
		return t, fmt.Errorf("/proc/%d/stat: %w", tid, err)
	}
	if threads < 0 && tid != pid {
		return t, errGone
	}
	if b, err = p.read(pidPath(tid, "status"), maxProcFile); err != nil {
		return t, err
	}
	st := parseStatus(b, &t)
	if threads < 0 && st.threads < 2 {
		return t, errGone
	}
	if tid == pid {
		t.Flags |= wasmabi.ThreadMain
		if t.VPID == 1 && st.nested {
			t.Flags |= wasmabi.ThreadNsInit
		}
		if t.VPID == 1 {
			if ns := p.namespace(tid, "ns/pid"); ns != 0 {
				inits[ns] = t.CloneTS
			}
		}
	}
	t.SharesFiles = tid != pid // no file tells of the rare thread that doesn't
	if b, err = p.read(pidPath(tid, "loginuid"), 32); err == nil {
		if v, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 32); err == nil {
			t.LoginUID = uint32(v)
		}
	}
	if b, err = p.read(pidPath(tid, "limits"), 4096); err == nil {
		t.FDLimit = parseLimits(b)
	}
	t.ExePath, _ = p.readlink(tid, "exe")
	t.Cwd, _ = p.readlink(tid, "cwd")
	t.Root, _ = p.readlink(tid, "root")
	t.Cgroups = p.cgroups(tid)
	if strings.HasPrefix(t.ExePath, "/memfd:") {
		t.Flags |= wasmabi.ThreadExeFromMemfd
	}
	var sx unix.Statx_t
	if t.ExePath != "" && unix.Statx(p.dir, pidPath(tid, "exe"), 0, unix.STATX_BASIC_STATS, &sx) == nil {
		t.ExeIno = sx.Ino
		t.ExeCtime = uint64(sx.Ctime.Sec)*1e9 + uint64(sx.Ctime.Nsec)
		t.ExeMtime = uint64(sx.Mtime.Sec)*1e9 + uint64(sx.Mtime.Nsec)
		var fs unix.Statfs_t
		fixed := sx.Attributes&unix.STATX_ATTR_IMMUTABLE != 0
		if fd, err := unix.Openat(p.dir, pidPath(tid, "exe"), unix.O_PATH|unix.O_CLOEXEC, 0); err == nil {
			fixed = fixed || unix.Fstatfs(fd, &fs) == nil && fs.Flags&unix.ST_RDONLY != 0
			unix.Close(fd)
		}
		if !fixed && writable(st.fsuid, sx.Uid, uint32(sx.Mode), st.inGroup(sx.Gid), t.CapEffective) {
			t.Flags |= wasmabi.ThreadExeWritable
		}
	}
	return t, nil
}

// namespace returns the inode of a namespace of a thread, 0 for unknown.
func (p *procfs) namespace(tid int32, name string) uint64 {
	var st unix.Stat_t
	if unix.Fstatat(p.dir, pidPath(tid, name), &st, 0) != nil {
		return 0
	}
	return st.Ino
}

// commandLine reads arguments and environment of a process into t.
func (p *procfs) commandLine(pid int32, t *snapshot.Thread) {
	if b, err := p.read(pidPath(pid, "cmdline"), maxArgs); err == nil {
		if args := splitNUL(b); len(args) > 0 {
			t.Exe, t.Args = args[0], args[1:]
		}
	}
	if b, err := p.read(pidPath(pid, "environ"), maxArgs); err == nil {
		t.Env = splitNUL(b)
	}
}

// splitNUL splits what ends in NUL. A last part that was cut stays; empty arguments in between count.
func splitNUL(b []byte) []string {
	if len(b) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00")
}

// cgroups reads the cgroups of a thread as "subsystem=path". In a unified hierarchy the path stands for each of the
// controllers that events name; beside version 1 controllers it is called "unified". Nil when it can't be read.
func (p *procfs) cgroups(tid int32) []string {
	b, err := p.read(pidPath(tid, "cgroup"), 8192)
	if err != nil {
		return nil
	}
	return parseCgroups(b)
}

func parseCgroups(b []byte) []string {
	out, unified := []string{}, ""
	for line := range strings.Lines(string(b)) {
		_, rest, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		names, path, ok2 := strings.Cut(rest, ":")
		if !ok || !ok2 || path == "" || len(out) >= maxCgroups {
			continue
		}
		if names == "" {
			unified = path
			continue
		}
		for name := range strings.SplitSeq(names, ",") {
			if name == "blkio" { // its name within the kernel
				name = "io"
			}
			if len(out) < maxCgroups {
				out = append(out, name+"="+path)
			}
		}
	}
	switch {
	case unified == "":
	case len(out) > 0:
		out = append(out, "unified="+unified)
	default:
		for _, name := range []string{"cpuset", "cpu", "io", "memory", "pids"} {
			out = append(out, name+"="+unified)
		}
	}
	return out
}

// nsPerTick is the length of the clock tick in which /proc counts: USER_HZ is 100 on every architecture supported.
const nsPerTick = 10_000_000

// parseStat reads what a stat file tells (Documentation/filesystems/proc.rst@v6.12, table 1-4). threads is negative
// for a thread that has ended.
func parseStat(b []byte, t *snapshot.Thread) (threads int, err error) {
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 0 || end < open {
		return 0, errors.New("no name in parentheses")
	}
	t.Comm = string(b[open+1 : end])
	f := strings.Fields(string(b[end+1:]))
	if len(f) < 20 {
		return 0, fmt.Errorf("%d fields after the name, want 20", len(f))
	}
	num := func(i int) int64 { // i is the field's number in proc.rst less 3
		v, e := strconv.ParseInt(f[i], 10, 64)
		if e != nil && err == nil {
			err = fmt.Errorf("field %d: %w", i+3, e)
		}
		return v
	}
	t.PTID, t.PGID, t.SID, t.TTY = num(1), num(2), num(3), uint32(num(4))
	const pfExiting, pfKthread = 0x4, 0x00200000 // include/linux/sched.h
	flags := num(6)
	t.Exiting = flags&pfExiting != 0
	t.Exited = f[0] == "Z"
	if flags&pfKthread != 0 {
		t.Flags |= wasmabi.ThreadKernel
	}
	threads = int(num(17))
	start, e := strconv.ParseUint(f[19], 10, 64)
	if e != nil {
		return 0, fmt.Errorf("field 22: %w", e)
	}
	t.CloneTS = start * nsPerTick
	t.VPGID = t.PGID
	if s := f[0]; s == "Z" || s == "X" || s == "x" {
		threads = -1
	}
	return threads, err
}

// status is what a status file tells beyond Thread's fields.
type status struct {
	threads      int
	fsuid, fsgid uint32
	groups       []uint32
	nested       bool // in a pid namespace below the reader's
}

func (s *status) inGroup(gid uint32) bool {
	if s.fsgid == gid {
		return true
	}
	for _, g := range s.groups {
		if g == gid {
			return true
		}
	}
	return false
}

// parseStatus reads what a status file tells; missing lines leave their fields as they are.
func parseStatus(b []byte, t *snapshot.Thread) (st status) {
	t.VTID, t.VPID = t.TID, t.PID
	for line := range bytes.Lines(b) {
		key, rest, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			continue
		}
		f := bytes.Fields(rest)
		if len(f) == 0 {
			continue
		}
		dec := func(i int) int64 {
			if i >= len(f) {
				return 0
			}
			v, _ := strconv.ParseInt(string(f[i]), 10, 64)
			return v
		}
		hex := func() uint64 { v, _ := strconv.ParseUint(string(f[0]), 16, 64); return v }
		last := len(f) - 1
		switch string(key) {
		case "Uid":
			t.UID, st.fsuid = uint32(dec(1)), uint32(dec(3))
		case "Gid":
			t.GID, st.fsgid = uint32(dec(1)), uint32(dec(3))
		case "Groups":
			for i := range min(len(f), 32) {
				st.groups = append(st.groups, uint32(dec(i)))
			}
		case "Threads":
			st.threads = int(dec(0))
		case "NStgid":
			t.VPID, st.nested = dec(last), last > 0
		case "NSpid":
			t.VTID = dec(last)
		case "NSpgid":
			t.VPGID = dec(last)
		case "CapInh":
			t.CapInheritable = hex()
		case "CapPrm":
			t.CapPermitted = hex()
		case "CapEff":
			t.CapEffective = hex()
		}
	}
	return st
}

// parseLimits returns the soft limit of open files in a limits file, -1 for unknown.
func parseLimits(b []byte) int64 {
	_, rest, ok := bytes.Cut(b, []byte("Max open files"))
	if !ok {
		return -1
	}
	f := bytes.Fields(rest)
	if len(f) == 0 {
		return -1
	}
	if string(f[0]) == "unlimited" {
		return 1<<63 - 1
	}
	v, err := strconv.ParseInt(string(f[0]), 10, 64)
	if err != nil {
		return -1
	}
	return v
}
