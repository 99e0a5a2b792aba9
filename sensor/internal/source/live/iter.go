package live

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/bpf"
	"github.com/shikra-sensor/shikra/sensor/internal/snapshot"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// Bits of bpf/include/iter_types.h.
const (
	howPseudo  = 1
	howDeleted = 2
	howCut     = 4
	howUpper   = 8
	howLower   = 16
	howCloexec = 32

	taskKthread  = 1
	taskInherits = 2
	taskOwnFiles = 4
	taskExeGroup = 8
	taskExeFixed = 16
	taskExiting  = 32
)

const (
	taskHeadSize = int(unsafe.Sizeof(bpf.IterTaskIterTaskHead{}))
	fileHeadSize = int(unsafe.Sizeof(bpf.IterFileIterFileHead{}))
	maxIterBytes = taskHeadSize + 3*4096 + 8 // the longest that an iterator writes for one item

	capDacOverride = 1 // include/uapi/linux/capability.h
	capFowner      = 3
)

// iterator is a loaded and attached BPF iterator.
type iterator struct {
	coll *ebpf.Collection
	link *link.Iter
}

func loadTaskIter(cfg SnapshotConfig) (*iterator, error) {
	spec, err := bpf.LoadIterTask()
	if err != nil {
		return nil, err
	}
	return loadIter(spec, "iter_task", cfg)
}

func loadFileIter(cfg SnapshotConfig) (*iterator, error) {
	spec, err := bpf.LoadIterFile()
	if err != nil {
		return nil, err
	}
	for name, v := range map[string]int{"max_per_process": cfg.MaxFilesPerProcess, "max_files": cfg.MaxFiles} {
		if err := spec.Variables[name].Set(uint32(v)); err != nil {
			return nil, fmt.Errorf("set %s: %w", name, err)
		}
	}
	return loadIter(spec, "iter_task_file", cfg)
}

func loadIter(spec *ebpf.CollectionSpec, name string, cfg SnapshotConfig) (*iterator, error) {
	coll, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{
		Programs: ebpf.ProgramOptions{KernelTypes: cfg.KernelTypes},
		Cache:    cfg.Types,
	})
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", name, err)
	}
	l, err := link.AttachIter(link.IterOptions{Program: coll.Programs[name]})
	if err != nil {
		coll.Close()
		return nil, fmt.Errorf("attach %s: %w", name, err)
	}
	return &iterator{coll: coll, link: l}, nil
}

func (it *iterator) close() {
	if it != nil {
		it.link.Close()
		it.coll.Close()
	}
}

// each runs the iterator and hands each item's bytes to fn. The first word after lenAt bytes of an item is its length.
func (it *iterator) each(ctx context.Context, headSize, lenAt int, fn func([]byte)) error {
	r, err := it.link.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	return eachItem(ctx, r, headSize, lenAt, fn)
}

func eachItem(ctx context.Context, r io.Reader, headSize, lenAt int, fn func([]byte)) error {
	buf, n := make([]byte, 64<<10), 0
	for {
		m, err := r.Read(buf[n:])
		n += m
		from := 0
		for n-from >= headSize {
			l := int(*(*uint32)(unsafe.Pointer(&buf[from+lenAt])))
			if l < headSize || l > maxIterBytes || l%8 != 0 {
				return fmt.Errorf("iterator item of %d bytes", l)
			}
			if n-from < l {
				break
			}
			fn(buf[from : from+l])
			from += l
		}
		n = copy(buf, buf[from:n])
		switch {
		case err == nil && m > 0:
		case err == nil || errors.Is(err, io.EOF):
			if n > 0 {
				return fmt.Errorf("iterator ends within an item, after %d bytes", n)
			}
			return nil
		case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR): // too many items in a row without output
		default:
			return fmt.Errorf("read iterator: %w", err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// taskTable holds what the task iterator wrote, until it is handed out in order.
type taskTable struct {
	buf []byte
	at  []uint32 // where each item begins
}

func (tt *taskTable) head(i int) (h bpf.IterTaskIterTaskHead) {
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&h)), taskHeadSize), tt.buf[tt.at[i]:])
	return h
}

// readTasks runs the task iterator. Processes that have ended and wait for their parent are left out, unless other
// threads of theirs still run.
func (s *shot) readTasks(ctx context.Context, it *iterator) error {
	err := it.each(ctx, taskHeadSize, int(unsafe.Offsetof(bpf.IterTaskIterTaskHead{}.Len)), s.taskItem)
	if err != nil {
		s.table, s.seen = taskTable{}, map[int32]int{}
	}
	return err
}

func (s *shot) taskItem(b []byte) {
	var h bpf.IterTaskIterTaskHead
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&h)), taskHeadSize), b)
	if taskHeadSize+int(h.ExeLen)+int(h.CwdLen)+int(h.RootLen) > len(b) {
		return
	}
	s.seen[h.Pid]++
	if h.ExitState != 0 && (h.Tid != h.Pid || h.NrThreads < 2) {
		return
	}
	if len(s.table.at) >= s.cfg.MaxThreads {
		s.rep.ThreadsCut++
		return
	}
	s.table.at = append(s.table.at, uint32(len(s.table.buf)))
	s.table.buf = append(s.table.buf, b...)
}

// thread turns item i into a Thread, without arguments, environment and cgroups.
func (tt *taskTable) thread(i int, p *procfs) snapshot.Thread {
	h := tt.head(i)
	b := tt.buf[int(tt.at[i])+taskHeadSize:]
	take := func(n uint16) []byte {
		v := b[:n]
		b = b[n:]
		return v
	}
	exe, cwd, root := take(h.ExeLen), take(h.CwdLen), take(h.RootLen)
	t := snapshot.Thread{
		TID: int64(h.Tid), PID: int64(h.Pid), PTID: int64(h.Ptid), VTID: int64(h.Vtid), VPID: int64(h.Vpid),
		PGID: int64(h.Pgid), VPGID: int64(h.Vpgid), SID: int64(h.Sid),
		UID: h.Uid, GID: h.Gid, LoginUID: h.Loginuid, TTY: h.Tty,
		Comm:    cString(h.Comm[:]),
		CloneTS: h.CloneTs, PidnsInitTS: h.PidnsInitTs,
		ExeIno: h.ExeIno, ExeCtime: h.ExeCtime, ExeMtime: h.ExeMtime,
		CapPermitted: h.CapPermitted, CapEffective: h.CapEffective, CapInheritable: h.CapInheritable,
		FDLimit: int64(min(h.FdLimit, 1<<63-1)),
		Files:   h.Files, Dirs: h.Fs,
		SharesFiles: h.Tid != h.Pid && h.Flags&taskOwnFiles == 0,
		Exiting:     h.Flags&taskExiting != 0,
		Exited:      h.ExitState != 0,
	}
	if h.Tid == h.Pid {
		t.Flags |= wasmabi.ThreadMain
	}
	if h.Flags&taskKthread != 0 {
		t.Flags |= wasmabi.ThreadKernel
	}
	if h.NsLevel > 0 && h.Vpid == 1 && h.Tid == h.Pid {
		t.Flags |= wasmabi.ThreadNsInit
	}
	if h.Flags&taskInherits != 0 {
		return t
	}
	t.ExePath = p.name(h.Tid, "exe", exe, uint32(h.ExeHow))
	t.Cwd = p.name(h.Tid, "cwd", cwd, uint32(h.CwdHow))
	t.Root = p.name(h.Tid, "root", root, uint32(h.RootHow))
	if h.ExeHow&howUpper != 0 {
		t.Flags |= wasmabi.ThreadExeUpperLayer
	}
	if h.ExeHow&howLower != 0 {
		t.Flags |= wasmabi.ThreadExeLowerLayer
	}
	if h.ExeHow&howPseudo != 0 && bytes.HasPrefix(exe, []byte("memfd:")) {
		t.Flags |= wasmabi.ThreadExeFromMemfd
	}
	if h.ExeLen > 0 && h.Flags&taskExeFixed == 0 &&
		writable(h.Fsuid, h.ExeUid, h.ExeMode, h.Flags&taskExeGroup != 0, h.CapEffective) {
		t.Flags |= wasmabi.ThreadExeWritable
	}
	return t
}

// writable reports whether a thread may write to a file, or make itself the right to: an owner may chmod.
func writable(fsuid, uid, mode uint32, inGroup bool, caps uint64) bool {
	switch {
	case fsuid == uid, caps&(1<<capDacOverride|1<<capFowner) != 0:
		return true
	case inGroup:
		return mode&0o020 != 0
	}
	return mode&0o002 != 0
}

// name makes the name that readlink shows of what the iterator wrote; what it couldn't resolve is read by readlink.
func (p *procfs) name(tid int32, link string, b []byte, how uint32) string {
	switch {
	case how&howCut != 0:
		v, _ := p.readlink(tid, link)
		return v
	case how&howPseudo != 0:
		return "/" + string(b) + " (deleted)"
	case how&howDeleted != 0:
		return string(b) + " (deleted)"
	}
	return string(b)
}

func cString(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}
