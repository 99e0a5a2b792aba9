package live

import (
	"bytes"
	"math"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/snapshot"
)

// Lookup reads single threads from /proc: those that no event told of, because what made them was lost. Not safe for
// concurrent use.
type Lookup struct {
	proc  *procfs
	inits map[uint64]uint64 // only of the thread being read: not kept
}

// NewLookup opens the /proc below hostRoot ("/" for this machine's own).
func NewLookup(hostRoot string) (*Lookup, error) {
	p, err := openProcfs(filepath.Join(hostRoot, "proc"))
	if err != nil {
		return nil, err
	}
	return &Lookup{proc: p, inits: map[uint64]uint64{}}, nil
}

// Thread reads thread tid into t, which then owns its strings, and reports whether there is such a thread.
func (l *Lookup) Thread(tid int64, t *snapshot.Thread) bool {
	if tid <= 0 || tid > math.MaxInt32 {
		return false
	}
	b, err := l.proc.read(pidPath(int32(tid), "status"), 4096)
	if err != nil {
		return false
	}
	_, rest, ok := bytes.Cut(b, []byte("\nTgid:"))
	if !ok {
		return false
	}
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	pid, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 10, 32)
	if err != nil {
		return false
	}
	clear(l.inits)
	if *t, err = l.proc.thread(int32(pid), int32(tid), l.inits); err != nil {
		return false
	}
	l.proc.commandLine(int32(pid), t)
	return true
}

// Close closes /proc.
func (l *Lookup) Close() { l.proc.close() }

// File reads what fd of process pid is into f, which then owns its strings, and reports whether there is such an fd. Of a
// socket it asks a copy of the fd (pidfd_getfd(2), since 5.6): the tables in /proc/PID/net may be long.
func (l *Lookup) File(pid int64, fd int32, f *snapshot.File) bool {
	if pid <= 0 || pid > math.MaxInt32 || fd < 0 {
		return false
	}
	var found bool
	s := &shot{proc: l.proc, cfg: SnapshotConfig{MaxFiles: 1, MaxFilesPerProcess: 1}, sink: fileSink{f, &found}, listening: map[listener]bool{}}
	s.socketOf = lookupSocket
	if !s.procFile(int32(pid), fd, nil) {
		return false
	}
	s.emitSockets()
	return found
}

// closed reports whether a process, which is still there, has no such fd.
func (l *Lookup) closed(pid int64, fd int32) bool {
	if pid <= 0 || pid > math.MaxInt32 {
		return false
	}
	dir := pidPath(int32(pid), "fd")
	var st unix.Stat_t
	return unix.Fstatat(l.proc.dir, dir+"/"+strconv.Itoa(int(fd)), &st, unix.AT_SYMLINK_NOFOLLOW) == unix.ENOENT &&
		unix.Fstatat(l.proc.dir, dir, &st, 0) == nil
}

// fileSink keeps the one file it is given.
type fileSink struct {
	f     *snapshot.File
	found *bool
}

func (k fileSink) AddFile(f *snapshot.File)   { *k.f, *k.found = *f, true }
func (k fileSink) AddThread(*snapshot.Thread) {}
func (k fileSink) AddUser(*snapshot.User)     {}
func (k fileSink) AddGroup(*snapshot.Group)   {}

// lookupSocket asks a copy of a socket's fd what it is; nil when that isn't to be had.
func lookupSocket(pid, fd int32) *socket {
	pidfd, err := unix.PidfdOpen(int(pid), 0)
	if err != nil {
		return nil
	}
	defer unix.Close(pidfd)
	own, err := unix.PidfdGetfd(pidfd, int(fd), 0)
	if err != nil {
		return nil
	}
	defer unix.Close(own)
	opt := func(name int) int {
		v, err := unix.GetsockoptInt(own, unix.SOL_SOCKET, name)
		if err != nil {
			return 0
		}
		return v
	}
	k := &socket{family: uint8(opt(unix.SO_DOMAIN)), state: tcpClose}
	k.proto = l4proto(uint16(opt(unix.SO_TYPE)), uint16(opt(unix.SO_PROTOCOL)))
	if local, err := unix.Getsockname(own); err == nil {
		k.laddr, k.lport, k.path = endOf(local)
	}
	if remote, err := unix.Getpeername(own); err == nil {
		k.state = tcpEstablished
		path := ""
		if k.raddr, k.rport, path = endOf(remote); k.path == "" {
			k.path, k.peerPath = path, path != ""
		}
	}
	if opt(unix.SO_ACCEPTCONN) != 0 {
		k.state = tcpListen
	}
	return k
}

// endOf reads one end of a socket.
func endOf(sa unix.Sockaddr) (addr [16]byte, port uint16, path string) {
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		copy(addr[:], a.Addr[:])
		return addr, uint16(a.Port), ""
	case *unix.SockaddrInet6:
		return a.Addr, uint16(a.Port), ""
	case *unix.SockaddrUnix:
		return addr, 0, a.Name
	}
	return addr, 0, ""
}
