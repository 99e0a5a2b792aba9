package probe

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

// bpfAttr is 128 bytes of bpf(2)'s attributes that begin with words.
func bpfAttr(words ...uint32) uintptr {
	b := make([]byte, 128)
	for i, w := range words {
		binary.NativeEndian.PutUint32(b[4*i:], w)
	}
	return addr(b)
}

// The kinds of the event parameter bpf_objects.
const (
	objectMap  = 1
	objectProg = 2
	objectLink = 3
)

// siginfo is the siginfo_t of a signal queued by this process: si_signo, si_errno, si_code SI_QUEUE.
func siginfo(sig int) uintptr {
	b := make([]byte, 128)
	binary.NativeEndian.PutUint32(b, uint32(sig))
	code := int32(-1)
	binary.NativeEndian.PutUint32(b[8:], uint32(code))
	return addr(b)
}

// targetCases are calls that name what they act on: by a signal, by the id or the fd of a BPF object, by a pidfd.
func targetCases() []callCase {
	object := func(t *env, kind uint8) uint32 { // of the probe under test
		os, err := t.l.p.Objects()
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range os {
			if o.Kind == kind {
				return o.ID
			}
		}
		t.Fatalf("the probe has no object of kind %d", kind)
		return 0
	}
	byID := func(cmd uintptr, kind uint8) func(t *env) []any {
		return func(t *env) []any {
			id := object(t, kind)
			return []any{closing(t, t.call("bpf", cmd, bpfAttr(id), 128)), cmd, int(kind), id}
		}
	}
	cases := []callCase{
		{"bpf", "map by id", event.SyscallBpfV2X, byID(14, objectMap)},
		{"bpf", "program by id", event.SyscallBpfV2X, byID(13, objectProg)},
		{"bpf", "link by id", event.SyscallBpfV2X, byID(30, objectLink)},
		{"bpf", "map by id that isn't there", event.SyscallBpfV2X, func(t *env) []any {
			t.call("bpf", 14, bpfAttr(1<<30), 128)
			return []any{errno(unix.ENOENT), 14, objectMap, 1 << 30}
		}},
		{"bpf", "batch", event.SyscallBpfV2X, func(t *env) []any {
			attr := make([]uint32, 10)
			m := t.l.p.Ring() // of which nothing can be deleted
			attr[9] = uint32(m.FD())
			info, err := m.Info()
			if err != nil {
				t.Fatal(err)
			}
			id, _ := info.ID()
			return []any{t.call("bpf", 27, bpfAttr(attr...), 128), 27, objectMap, uint32(id)}
		}},
		{"bpf", "next id", event.SyscallBpfV2X, func(t *env) []any {
			return []any{t.must("bpf", 12, bpfAttr(0), 128), 12, missing{}, missing{}}
		}},

		{"rt_sigqueueinfo", "ok", event.SyscallRtSigqueueinfoX, func(t *env) []any {
			pid := unix.Getpid()
			return []any{t.must("rt_sigqueueinfo", uintptr(pid), uintptr(unix.SIGWINCH), siginfo(int(unix.SIGWINCH))), pid, int(unix.SIGWINCH)}
		}},
		{"rt_sigqueueinfo", "nobody", event.SyscallRtSigqueueinfoX, func(t *env) []any {
			t.call("rt_sigqueueinfo", 1<<22+1, 10, siginfo(10))
			return []any{errno(unix.ESRCH), 1<<22 + 1, 10}
		}},
		{"rt_tgsigqueueinfo", "ok", event.SyscallRtTgsigqueueinfoX, func(t *env) []any {
			pid := unix.Getpid()
			r := t.must("rt_tgsigqueueinfo", uintptr(pid), uintptr(t.tid), uintptr(unix.SIGWINCH), siginfo(int(unix.SIGWINCH)))
			return []any{r, pid, t.tid, int(unix.SIGWINCH)}
		}},
		{"rt_tgsigqueueinfo", "bad", event.SyscallRtTgsigqueueinfoX, func(t *env) []any {
			t.call("rt_tgsigqueueinfo", ^uintptr(0), ^uintptr(1), 1, siginfo(1))
			return []any{errno(unix.EINVAL), -1, -2, 1}
		}},
		{"pidfd_send_signal", "pidfd", event.SyscallPidfdSendSignalX, func(t *env) []any {
			pid := traced(t, false)
			fd, err := unix.PidfdOpen(pid, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			return []any{t.must("pidfd_send_signal", uintptr(fd), uintptr(unix.SIGWINCH), 0, 0), fd, int(unix.SIGWINCH), pid}
		}},
		{"pidfd_send_signal", "folder in /proc", event.SyscallPidfdSendSignalX, func(t *env) []any {
			pid := traced(t, false)
			f, err := os.Open(fmt.Sprintf("/proc/%d", pid))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			return []any{t.must("pidfd_send_signal", f.Fd(), 0, 0, 0), int(f.Fd()), 0, pid}
		}},
		{"pidfd_send_signal", "no pidfd", event.SyscallPidfdSendSignalX, func(t *env) []any {
			t.call("pidfd_send_signal", badFD, 15, 0, 0)
			return []any{errno(unix.EBADF), badFD, 15, -1}
		}},

		{"process_madvise", "pidfd", event.SyscallProcessMadviseX, func(t *env) []any {
			fd, err := unix.PidfdOpen(unix.Getpid(), 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			piece := binary.NativeEndian.AppendUint64(binary.NativeEndian.AppendUint64(nil, uint64(anonPage(t))), 4096)
			return []any{t.must("process_madvise", uintptr(fd), addr(piece), 1, unix.MADV_COLD, 0), fd, unix.MADV_COLD, unix.Getpid()}
		}},
		{"process_madvise", "no pidfd", event.SyscallProcessMadviseX, func(t *env) []any {
			t.call("process_madvise", badFD, addr(make([]byte, 16)), 1, unix.MADV_PAGEOUT, 0)
			return []any{errno(unix.EBADF), badFD, unix.MADV_PAGEOUT, -1}
		}},

		{"truncate", "ok", event.SyscallTruncateX, func(t *env) []any {
			path := filepath.Join(t.TempDir(), "cut")
			if err := os.WriteFile(path, []byte("0123456789"), 0o600); err != nil {
				t.Fatal(err)
			}
			return []any{t.must("truncate", str(path), 3), path, 3}
		}},
		{"truncate", "bad", event.SyscallTruncateX, func(t *env) []any {
			t.call("truncate", 1, ^uintptr(0))
			return []any{check(isErrno), missing{}, -1}
		}},
		{"ftruncate", "ok", event.SyscallFtruncateX, func(t *env) []any {
			f, err := os.Create(filepath.Join(t.TempDir(), "cut"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			return []any{t.must("ftruncate", f.Fd(), 1<<20), int(f.Fd()), 1 << 20}
		}},
		{"ftruncate", "bad", event.SyscallFtruncateX, func(t *env) []any {
			t.call("ftruncate", badFD, 5)
			return []any{errno(unix.EBADF), badFD, 5}
		}},
	}
	return append(cases, compatTargetCases()...)
}

// isErrno: the result is an error's, whichever.
func isErrno(t *testing.T, name string, b []byte) {
	if v, _ := event.ParamErrno.Int(b); v >= 0 {
		t.Errorf("%s is %d", name, v)
	}
}

func TestTargets(t *testing.T) { runCases(t, targetCases()) }

// TestObjects: the probe knows its maps, programs and links by their ids, and which process it belongs to.
func TestObjects(t *testing.T) {
	l := needProbe(t)
	os, err := l.p.Objects()
	if err != nil {
		t.Fatal(err)
	}
	n := map[uint8]int{}
	ids := map[Object]bool{}
	for _, o := range os {
		n[o.Kind]++
		if o.ID == 0 || ids[o] {
			t.Errorf("%+v is no object, or there twice", o)
		}
		ids[o] = true
	}
	nmaps, nprogs := len(l.p.coll.Maps), len(l.p.coll.Programs)
	if u := l.p.uring; u != nil && u.coll != nil {
		nprogs += len(u.coll.Programs)
		for name := range u.coll.Maps {
			if l.p.coll.Maps[name] == nil || name[0] == '.' { // its own variables
				nmaps++
			}
		}
	}
	if n[objectMap] != nmaps || n[objectProg] != nprogs || n[objectLink] < len(always) {
		t.Errorf("objects by kind: %v; %d maps and %d programs are loaded", n, nmaps, nprogs)
	}
	if pid := l.p.PID(); pid != int64(unix.Getpid()) {
		t.Errorf("the sensor's pid is %d, not %d", pid, unix.Getpid())
	}
}
