package live

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/bpf"
	"github.com/shikra-sensor/shikra/sensor/internal/snapshot"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// File systems whose files have no path (include/uapi/linux/magic.h@v6.12, fs/pidfs.c).
const (
	magicAnonInode = 0x09041934
	magicSock      = 0x534F434B
	magicPipe      = 0x50495045
	magicNs        = 0x6e736673
	magicPid       = 0x50494446
)

// The event format's O_ bits (driver/ppm_events_public.h of libs 0.25) with the kernel's.
var openFlags = [...]struct{ kernel, event uint32 }{
	{unix.O_CREAT, 1 << 2}, {unix.O_APPEND, 1 << 3}, {unix.O_DSYNC, 1 << 4}, {unix.O_EXCL, 1 << 5},
	{unix.O_NONBLOCK, 1 << 6}, {unix.O_SYNC, 1 << 7}, {unix.O_TRUNC, 1 << 8}, {unix.O_DIRECT, 1 << 9},
	{unix.O_DIRECTORY, 1 << 10}, {unix.O_LARGEFILE, 1 << 11}, {unix.O_CLOEXEC, 1 << 12}, {unix.O_TMPFILE, 1 << 13},
}

// eventFlags turns the flags of an open file into the event format's. O_LARGEFILE, which 64-bit kernels set on all,
// shows only where a program can set it.
func eventFlags(flags uint32) uint32 {
	out := uint32(1) // O_RDONLY
	switch flags & unix.O_ACCMODE {
	case unix.O_WRONLY:
		out = 2
	case unix.O_RDWR:
		out = 3
	}
	for _, f := range openFlags {
		if f.kernel != 0 && flags&f.kernel == f.kernel {
			out |= f.event
		}
	}
	return out
}

// anonKind returns the kind of a file of the anonymous inode file system by its name, without "anon_inode:".
func anonKind(name string) byte {
	switch name {
	case "[eventfd]":
		return 'e'
	case "[eventpoll]":
		return 'l'
	case "inotify":
		return 'i'
	case "[signalfd]":
		return 's'
	case "[timerfd]":
		return 't'
	case "[io_uring]":
		return 'r'
	case "[userfaultfd]":
		return 'x'
	case "[pidfd]":
		return 'P'
	}
	if strings.HasPrefix(name, "bpf") { // bpf-map, bpf-prog, bpf_link, bpf_iter …
		return 'b'
	}
	return 'o'
}

// readFiles runs the file iterator.
func (s *shot) readFiles(ctx context.Context, it *iterator) error {
	var h bpf.IterFileIterFileHead
	// What counts the files of one run: this may not be the first.
	for _, name := range []string{"files", "files_cut", "at_files"} {
		if err := it.coll.Variables[name].Set(uint32(0)); err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	for _, name := range []string{"at_pid", "at_fd"} {
		if err := it.coll.Variables[name].Set(int32(-1)); err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	err := it.each(ctx, fileHeadSize, int(unsafe.Offsetof(h.Len)), func(b []byte) {
		copy(unsafe.Slice((*byte)(unsafe.Pointer(&h)), fileHeadSize), b)
		if fileHeadSize+int(h.NameLen) <= len(b) {
			s.iterFile(&h, b[fileHeadSize:fileHeadSize+int(h.NameLen)])
		}
	})
	var cut uint32
	if e := it.coll.Variables["files_cut"].Get(&cut); e == nil {
		s.rep.FilesCut += int(cut)
	}
	return err
}

func (s *shot) iterFile(h *bpf.IterFileIterFileHead, name []byte) {
	s.withFiles[h.Pid] = true
	f := snapshot.File{PID: int64(h.Pid), FD: h.Fd, Ino: h.Ino, Dev: h.Dev, Mode: h.Mode, OpenFlags: eventFlags(h.Flags)}
	how := uint32(h.How)
	if how&howCloexec != 0 {
		f.OpenFlags |= 1 << 12
	}
	if how&howUpper != 0 {
		f.Bits |= wasmabi.FileUpperLayer
	}
	if how&howLower != 0 {
		f.Bits |= wasmabi.FileLowerLayer
	}
	switch {
	case h.Magic == magicSock:
		k := socket{family: uint8(h.Family), state: uint8(h.State), netns: h.Netns, laddr: h.Laddr, raddr: h.Raddr, lport: h.Lport, rport: h.Rport}
		k.proto = l4proto(h.Type, h.Proto)
		if h.Family == unix.AF_UNIX {
			k.path, k.peerPath = unixName(name), h.Rport == 1
		}
		s.addSocket(&f, &k)
		return
	case h.Magic == magicAnonInode:
		f.Kind = anonKind(strings.TrimPrefix(string(name), "anon_inode:"))
	case h.Magic == magicPid:
		f.Kind = 'P'
	case h.Magic == magicPipe:
		f.Kind, f.Name = 'p', "pipe:["+strconv.FormatUint(h.Ino, 10)+"]"
	case h.Magic == magicNs, how&howCut != 0:
		f.Kind = snapshot.PathKind(h.Mode)
		var err error
		if f.Name, err = s.proc.readlink(h.Pid, "fd/"+strconv.Itoa(int(h.Fd))); err != nil {
			f.Bits |= wasmabi.FileNameCut
		}
	default:
		f.Kind, f.Name = snapshot.PathKind(h.Mode), s.proc.name(h.Pid, "", name, how)
		if how&howPseudo != 0 && bytes.HasPrefix(name, []byte("memfd:")) {
			f.Kind = 'm'
		}
	}
	s.addFile(&f)
}

// missingFiles reads from /proc the open files of the processes that no iterator showed; of all of which none came, if
// the file iterator couldn't be run to its end.
func (s *shot) missingFiles(ctx context.Context) {
	pids := s.fallback
	if s.rep.FileIter != nil {
		pids = nil
		_ = s.proc.numbers(".", func(pid int32) bool { pids = append(pids, pid); return len(pids) < maxProcesses })
	}
	nets := map[uint64]map[uint64]*socket{}
	for _, pid := range pids {
		if ctx.Err() != nil {
			return
		}
		if s.withFiles[pid] {
			continue
		}
		n := 0
		_ = s.proc.numbers(pidPath(pid, "fd"), func(fd int32) bool {
			if n >= s.cfg.MaxFilesPerProcess || s.rep.Files+len(s.sockets) >= s.cfg.MaxFiles {
				s.rep.FilesCut++
				return true
			}
			if s.procFile(pid, fd, nets) {
				n++
			}
			return true
		})
	}
}

// procFile reads one open file from /proc; false when it is gone.
func (s *shot) procFile(pid, fd int32, nets map[uint64]map[uint64]*socket) bool {
	rel := "fd/" + strconv.Itoa(int(fd))
	link, err := s.proc.readlink(pid, rel)
	if err != nil {
		return false
	}
	var st unix.Stat_t
	if unix.Fstatat(s.proc.dir, pidPath(pid, rel), &st, 0) != nil {
		return false
	}
	f := snapshot.File{PID: int64(pid), FD: fd, Ino: st.Ino, Dev: uint32(st.Dev), Mode: st.Mode, OpenFlags: 1}
	if b, err := s.proc.read(pidPath(pid, "fdinfo/"+strconv.Itoa(int(fd))), 512); err == nil {
		f.OpenFlags = parseFdinfo(b)
	}
	anon, isAnon := strings.CutPrefix(link, "anon_inode:")
	switch {
	case strings.HasPrefix(link, "socket:[") && s.socketOf != nil:
		k := s.socketOf(pid, fd)
		if k == nil {
			k = &socket{}
		}
		s.addSocket(&f, k)
		return true
	case strings.HasPrefix(link, "socket:["):
		ns := s.proc.namespace(pid, "ns/net")
		table, ok := nets[ns]
		if !ok {
			table = s.sockets4ns(pid, uint32(ns))
			nets[ns] = table
		}
		k := table[st.Ino]
		if k == nil {
			k = &socket{}
		}
		s.addSocket(&f, k)
		return true
	case isAnon:
		f.Kind = anonKind(anon)
	case strings.HasPrefix(link, "pidfd:["): // only in 6.9
		f.Kind = 'P'
	case strings.HasPrefix(link, "pipe:["):
		f.Kind, f.Name = 'p', link
	case strings.HasPrefix(link, "/memfd:"):
		f.Kind, f.Name = 'm', link
	default:
		f.Kind, f.Name = snapshot.PathKind(st.Mode), link
	}
	s.addFile(&f)
	return true
}

// parseFdinfo returns the event format's open flags of an fdinfo file.
func parseFdinfo(b []byte) uint32 {
	_, rest, ok := bytes.Cut(b, []byte("flags:"))
	if !ok {
		return 1
	}
	f := bytes.Fields(rest)
	if len(f) == 0 {
		return 1
	}
	v, err := strconv.ParseUint(string(f[0]), 8, 32)
	if err != nil {
		return 1
	}
	return eventFlags(uint32(v))
}
