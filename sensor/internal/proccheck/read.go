package proccheck

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// process is what /proc tells of one.
type process struct {
	pid     int
	start   uint64 // clock ticks
	threads []thread
	files   []file

	exe, cwd, root string
	args           []string // argv[0] included
	loginuid       string
	fdLimit        string
	exeIno         uint64
	kernel         bool
	denied         bool // this reader may not look into it
}

// thread is what /proc tells of one thread.
type thread struct {
	tid, ppid, pgid, sid, tty int
	vtid, vpid, vpgid         int
	uid, gid                  uint64 // effective
	capI, capP, capE          uint64
	comm                      string
}

// file is what /proc tells of one fd.
type file struct {
	fd    int
	link  string
	mode  uint32
	dev   uint64
	ino   uint64
	flags uint64 // the kernel's open flags, O_CLOEXEC for the fd's
	sock  *sock
}

// numbers lists the entries of a directory whose names are numbers.
func numbers(dir string) (out []int, err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	for _, s := range names {
		if n, e := strconv.Atoi(s); e == nil {
			out = append(out, n)
		}
	}
	return out, err
}

// readFile reads a file of /proc whose text comes in one piece; of a longer one what fits.
func readFile(name string) ([]byte, error) {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var buf [8 << 10]byte
	n, err := unix.Read(fd, buf[:])
	if err != nil {
		return nil, err
	}
	return bytes.Clone(buf[:n]), nil
}

// statFields splits a stat file; the name is field 1 of proc_pid_stat(5) less one.
func statFields(b []byte) []string {
	i, j := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if i < 0 || j < i {
		return nil
	}
	return append([]string{strings.TrimSpace(string(b[:i])), string(b[i+1 : j])}, strings.Fields(string(b[j+1:]))...)
}

// ended reports whether a stat file is that of a thread that has ended, or is about to: the init of a pid namespace still
// waits for all others in it.
func ended(stat []byte) bool {
	f := statFields(stat)
	if len(f) < 9 {
		return true
	}
	const pfExiting = 4 // include/linux/sched.h, PF_EXITING
	flags, _ := strconv.ParseUint(f[8], 10, 64)
	return f[2] == "Z" || f[2] == "X" || flags&pfExiting != 0
}

// readProcess reads a process; nil when it has ended.
func readProcess(proc string, pid int) *process {
	dir := filepath.Join(proc, strconv.Itoa(pid))
	stat, err := readFile(dir + "/stat")
	f := statFields(stat)
	if err != nil || len(f) < 22 {
		return nil
	}
	p := &process{pid: pid}
	p.start, _ = strconv.ParseUint(f[21], 10, 64)
	flags, _ := strconv.ParseUint(f[8], 10, 64)
	p.kernel = flags&0x00200000 != 0 // PF_KTHREAD
	tids, _ := numbers(dir + "/task")
	for _, tid := range tids {
		if t, ok := readThread(dir+"/task/"+strconv.Itoa(tid), tid); ok {
			p.threads = append(p.threads, t)
		}
	}
	if len(p.threads) == 0 {
		return nil
	}
	if p.kernel {
		return p
	}
	if p.exe, err = os.Readlink(dir + "/exe"); err != nil {
		p.denied = os.IsPermission(err)
	}
	p.cwd, _ = os.Readlink(dir + "/cwd")
	p.root, _ = os.Readlink(dir + "/root")
	var st unix.Stat_t
	if unix.Stat(dir+"/exe", &st) == nil {
		p.exeIno = st.Ino
	}
	cmdline, _ := readFile(dir + "/cmdline")
	if len(cmdline) > 0 {
		p.args = strings.Split(strings.TrimSuffix(string(cmdline), "\x00"), "\x00")
	}
	login, _ := readFile(dir + "/loginuid")
	p.loginuid = strings.TrimSpace(string(login))
	limits, _ := readFile(dir + "/limits")
	if _, rest, ok := strings.Cut(string(limits), "Max open files"); ok {
		p.fdLimit = strings.Fields(rest)[0]
	}
	p.readFiles(dir)
	// What was read is of one process only if it is still there.
	again, err := readFile(dir + "/stat")
	if g := statFields(again); err != nil || len(g) < 22 || g[21] != f[21] {
		return nil
	}
	return p
}

func readThread(dir string, tid int) (t thread, ok bool) {
	stat, err := readFile(dir + "/stat")
	if err != nil || ended(stat) {
		return t, false
	}
	f := statFields(stat)
	num := func(i int) int { n, _ := strconv.Atoi(f[i]); return n }
	t = thread{tid: tid, comm: f[1], ppid: num(3), pgid: num(4), sid: num(5), tty: num(6)}
	status, err := readFile(dir + "/status")
	if err != nil {
		return t, false
	}
	for line := range strings.Lines(string(status)) {
		key, rest, _ := strings.Cut(line, ":")
		w := strings.Fields(rest)
		if len(w) == 0 {
			continue
		}
		last, _ := strconv.Atoi(w[len(w)-1])
		hex, _ := strconv.ParseUint(w[0], 16, 64)
		switch key {
		case "Uid":
			t.uid, _ = strconv.ParseUint(w[1], 10, 32)
		case "Gid":
			t.gid, _ = strconv.ParseUint(w[1], 10, 32)
		case "NSpid":
			t.vtid = last
		case "NStgid":
			t.vpid = last
		case "NSpgid":
			t.vpgid = last
		case "CapInh":
			t.capI = hex
		case "CapPrm":
			t.capP = hex
		case "CapEff":
			t.capE = hex
		}
	}
	return t, true
}

// readFiles reads the fds. It is most of the work of a comparison: five calls for each, relative to the two directories.
func (p *process) readFiles(dir string) {
	fds, err := numbers(dir + "/fd")
	if err != nil {
		p.denied = p.denied || os.IsPermission(err)
		return
	}
	const flags = unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC
	links, err := unix.Open(dir+"/fd", flags, 0)
	if err != nil {
		return
	}
	defer unix.Close(links)
	infos, err := unix.Open(dir+"/fdinfo", flags, 0)
	if err != nil {
		return
	}
	defer unix.Close(infos)
	pidfd := -1
	defer func() {
		if pidfd >= 0 {
			unix.Close(pidfd)
		}
	}()
	p.files = make([]file, 0, len(fds))
	buf := make([]byte, unix.PathMax)
	for _, fd := range fds {
		f := file{fd: fd}
		name := strconv.Itoa(fd)
		n, err := unix.Readlinkat(links, name, buf)
		if err != nil {
			continue
		}
		f.link = string(buf[:n])
		var st unix.Stat_t
		if unix.Fstatat(links, name, &st, 0) != nil {
			continue
		}
		f.mode, f.dev, f.ino = st.Mode, st.Dev, st.Ino
		if f.flags, err = readFlags(infos, name, buf); err != nil {
			continue
		}
		if f.mode&unix.S_IFMT == unix.S_IFSOCK && strings.HasPrefix(f.link, "socket:") {
			if pidfd < 0 {
				if pidfd, err = unix.PidfdOpen(p.pid, 0); err != nil {
					return
				}
			}
			f.sock = readSock(pidfd, fd, f.ino)
		}
		p.files = append(p.files, f)
	}
}

// readFlags reads the flags of an fdinfo file; they stand in its first lines.
func readFlags(dir int, name string, buf []byte) (uint64, error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	n, err := unix.Read(fd, buf)
	unix.Close(fd)
	if err != nil {
		return 0, err
	}
	_, rest, _ := bytes.Cut(buf[:n], []byte("flags:"))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	return strconv.ParseUint(string(bytes.TrimSpace(line)), 8, 64)
}

// sock is what the kernel says about a socket; the ends are those of IP.
type sock struct {
	family        int
	local, remote unix.Sockaddr // nil for none
	listening     bool
}

// readSock asks a copy of the fd; nil when that isn't to be had or is another socket by now.
func readSock(pidfd, fd int, ino uint64) *sock {
	own, err := unix.PidfdGetfd(pidfd, fd, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(own)
	var st unix.Stat_t
	if unix.Fstat(own, &st) != nil || st.Ino != ino {
		return nil
	}
	s := &sock{}
	if s.family, err = unix.GetsockoptInt(own, unix.SOL_SOCKET, unix.SO_DOMAIN); err != nil {
		return nil
	}
	if s.family != unix.AF_INET && s.family != unix.AF_INET6 {
		return s
	}
	n, _ := unix.GetsockoptInt(own, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	s.listening = n != 0
	s.local, _ = unix.Getsockname(own)
	s.remote, _ = unix.Getpeername(own)
	return s
}
