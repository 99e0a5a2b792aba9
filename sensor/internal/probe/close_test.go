package probe

import (
	"path/filepath"
	"slices"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// TestCloseThatKeeps: a call that says it closed an fd which is still open then, or that failed and left it, says so in its event, by
// which state keeps what it knows: else a program could have an fd forgotten that it uses. The thread has its table alone.
func TestCloseThatKeeps(t *testing.T) {
	l := needProbe(t)
	open := opener(t)
	isOpen := func(fd int) bool {
		_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		return err == nil
	}
	var kept, closed []int
	recs := l.inThread(t, []string{"close"}, func() {
		if err := unix.Unshare(unix.CLONE_FILES); err != nil {
			t.Error(err)
			return
		}
		ended, said, failed := open(), open(), open()
		_ = unix.Close(ended)
		_ = unix.Close(1 << 20)
		closed = append(closed, ended, 1<<20)

		// An answer of the thread's own filter: 0 for one, EIO for another.
		filter := func(fd int, answer uint32) []unix.SockFilter {
			return []unix.SockFilter{
				{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(fd), Jt: 0, Jf: 1},
				{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | answer},
			}
		}
		prog := slices.Concat([]unix.SockFilter{
			{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0},
			{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_CLOSE, Jt: 1, Jf: 0},
			{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
			{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 16}, // the first argument's lower half
		}, filter(said, 0), filter(failed, uint32(unix.EIO)), []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW}})
		p := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			t.Error(err)
		}
		if _, _, e := unix.RawSyscall(unix.SYS_PRCTL, unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&p))); e != 0 {
			t.Logf("no seccomp filters here: %v", e)
			return
		}
		if err := unix.Close(said); err != nil || !isOpen(said) {
			t.Errorf("the filter's answer is %v", err)
		}
		if err := unix.Close(failed); err != unix.EIO || !isOpen(failed) {
			t.Errorf("the filter's answer is %v", err)
		}
		kept = append(kept, said, failed)
	})
	l.checkKept(t, recs, kept, closed)
}

// TestUringCloseThatKeeps is the same of io_uring's operations: one that is refused and one that is cancelled.
func TestUringCloseThatKeeps(t *testing.T) {
	l := needProbe(t)
	open := opener(t)
	var kept, closed []int
	// What the probe loads for these events must not be loaded in the thread, whose fds end with it.
	recs := l.uringEvents(t, []string{"close"}, func() {
		inThread(func() {
			if err := unix.Unshare(unix.CLONE_FILES); err != nil {
				t.Error(err)
				return
			}
			r := newRing(t, 0)
			defer r.close()
			ended, refused, cancelled := open(), open(), open()
			if n := r.do(t, sqe{Op: 19, FD: int32(ended), Data: 1}); n != 0 { // IORING_OP_CLOSE
				t.Logf("this kernel's io_uring gives %d", n)
				return
			}
			closed = append(closed, ended)
			if n := r.do(t, sqe{Op: 19, FD: int32(refused), Off: 1, Data: 2}); n == -int64(unix.EINVAL) {
				kept = append(kept, refused)
			}
			r.submit(t, sqe{Op: 19, Flags: sqeLink, FD: 1 << 20, Data: 3}, sqe{Op: 19, FD: int32(cancelled), Data: 4})
			for range 2 {
				if c := r.next(t); c.Data == 4 && c.Res == -int32(unix.ECANCELED) {
					kept = append(kept, cancelled)
				}
			}
			for _, fd := range kept {
				if err := unix.Close(fd); err != nil {
					t.Errorf("fd %d: %v", fd, err)
				}
			}
		})
	})
	l.checkKept(t, recs, kept, closed)
}

// opener returns a function that opens a file of the test's own, in any thread.
func opener(t *testing.T) func() int {
	path := filepath.Join(t.TempDir(), "x")
	return func() int {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CREAT, 0o600)
		if err != nil {
			t.Error(err)
		}
		return fd
	}
}

// checkKept asserts what the closes of recs say.
func (l *live) checkKept(t *testing.T, recs []event.Record, kept, closed []int) {
	t.Helper()
	seen := map[int]bool{}
	for _, r := range recs {
		if r.Type() != event.SyscallCloseX {
			continue
		}
		b, _ := r.Param(1)
		v, _ := event.ParamFd.Int(b)
		fd, says := int(v), r.Origin()&wasmabi.OriginReused != 0
		switch {
		case slices.Contains(kept, fd):
			seen[fd] = true
			if !says {
				t.Errorf("fd %d, result %d: it is open still", fd, result(r))
			}
		case slices.Contains(closed, fd):
			seen[fd] = true
			if says && r.Origin()&wasmabi.OriginIoUring == 0 { // what a worker of a ring closes isn't sure
				t.Errorf("fd %d, result %d: it isn't open", fd, result(r))
			}
		}
	}
	for _, fd := range slices.Concat(kept, closed) {
		switch {
		case seen[fd]:
		case slices.Contains(kept, fd) && slices.ContainsFunc(recs, ofUring): // older kernels refuse an operation before they tell of it
			t.Logf("no event of the operation on %d", fd)
		default:
			t.Errorf("no event of the close of %d", fd)
		}
	}
}
