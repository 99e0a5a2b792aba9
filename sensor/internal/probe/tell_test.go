package probe

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

// telling is a call by which the probe tells of the file that an fd is.
type telling struct {
	call, what string
	typ        event.Type                 // of the call's event
	args       func(fd uintptr) []uintptr // with an fd of the file; nil where the call makes the fd that is told of
}

// tellings are those of every type for which event.Type.TellsFiles holds, by an fd of a file that was opened by a symbolic link.
func tellings(t *testing.T) []telling {
	var handle [136]byte // struct file_handle that is no handle: the call fails
	handle[0] = 8
	cwd := uintptr(^uintptr(99)) // AT_FDCWD
	dir := t.TempDir()
	only := func(a ...uintptr) func(uintptr) []uintptr {
		return func(fd uintptr) []uintptr { return append([]uintptr{fd}, a...) }
	}
	const emptyFrom, emptyTo = 4, 0x40
	return []telling{
		{"fchmod", "", event.SyscallFchmodX, only(0o600)},
		{"fchmodat2", "", event.SyscallFchmodat2X, only(str(""), 0o600, atEmptyPath)},
		{"fchown", "", event.SyscallFchownX, only(^uintptr(0), ^uintptr(0))},
		{"fchownat", "", event.SyscallFchownatX, only(str(""), ^uintptr(0), ^uintptr(0), atEmptyPath)},
		{"fchownat", "a name below a file", event.SyscallFchownatX, only(str("below"), ^uintptr(0), ^uintptr(0), 0)},
		{"ftruncate", "", event.SyscallFtruncateX, only(1)},
		{"fsetxattr", "", event.SyscallFsetxattrX, only(str("user.a"), str("b"), 1, 0)},
		{"fremovexattr", "", event.SyscallFremovexattrX, only(str("user.a"))},
		{"setxattrat", "", event.SyscallSetxattratX, only(str(""), atEmptyPath, str("user.a"), 0, 0)},
		{"removexattrat", "", event.SyscallRemovexattratX, only(str(""), atEmptyPath, str("user.a"))},
		{"linkat", "", event.SyscallLinkatV2X, only(str(""), cwd, str(filepath.Join(dir, "link")), atEmptyPath)},
		{"linkat", "into a file", event.SyscallLinkatV2X, func(fd uintptr) []uintptr { return []uintptr{cwd, str(dir), fd, str("below"), 0} }},
		{"pidfd_send_signal", "", event.SyscallPidfdSendSignalX, only(0, 0, 0)},
		{"process_madvise", "", event.SyscallProcessMadviseX, only(0, 0, 0, 0)},
		{"move_mount", "from", event.SyscallMoveMountX, only(str(""), cwd, str(dir), emptyFrom)},
		{"move_mount", "to", event.SyscallMoveMountX, func(fd uintptr) []uintptr { return []uintptr{cwd, str(dir), fd, str(""), emptyTo} }},
		{"setns", "", event.SyscallSetnsX, only(0)},
		{"finit_module", "", event.SyscallFinitModuleX, only(str(""), 0)},
		{"open_by_handle_at", "", event.SyscallOpenByHandleAtX, only(addr(handle[:]), 0)},
		{"pidfd_getfd", "", event.SyscallPidfdGetfdX, nil},
	}
}

// told returns what the probe tells of fd files by calls of this thread, while fn makes calls of that name.
func (l *live) toldBy(t *testing.T, name string, fn func()) (out []event.Record) {
	t.Helper()
	tid := int64(unix.Gettid())
	l.drain(t)
	l.want(t, name)
	fn()
	l.want(t)
	for _, r := range l.drain(t) {
		if r.TID() == tid && r.Type() == event.TaskFileX {
			out = append(out, r)
		}
	}
	return out
}

// TestTellsFiles: what a call acts on by an fd alone is told just before its event, as the kernel names it, whatever it was opened by.
func TestTellsFiles(t *testing.T) {
	l := needProbe(t)
	tried := map[event.Type]bool{}
	for _, c := range tellings(t) {
		t.Run(c.call+"/"+c.what, func(t *testing.T) {
			tried[c.typ] = true
			nr := number(c.call)
			if nr < 0 {
				t.Skipf("no system call %s here", c.call)
			}
			dir, err := filepath.EvalSymlinks(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(dir, "file")
			if err := os.WriteFile(file, []byte("x"), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink("file", filepath.Join(dir, "link")); err != nil {
				t.Fatal(err)
			}
			inThread(func() {
				fd, err := unix.Open(filepath.Join(dir, "link"), unix.O_RDWR|unix.O_APPEND|unix.O_CLOEXEC, 0)
				if err != nil {
					t.Error(err)
					return
				}
				defer unix.Close(fd)
				args := []uintptr{0, uintptr(fd), 0}
				if c.args != nil {
					args = c.args(uintptr(fd))
				} else {
					pidfd, err := unix.PidfdOpen(os.Getpid(), 0)
					if err != nil {
						t.Error(err)
						return
					}
					defer unix.Close(pidfd)
					args[0] = uintptr(pidfd)
				}
				var a [6]uintptr
				copy(a[:], args)
				want := fd
				recs := l.toldBy(t, c.call, func() {
					n, e := raw(uintptr(nr), &a)
					if c.args == nil && e == 0 {
						want = int(n)
						defer unix.Close(want)
					}
				})
				if len(recs) != 1 {
					t.Errorf("told %d times", len(recs))
					return
				}
				var st unix.Stat_t
				if err := unix.Stat(file, &st); err != nil {
					t.Error(err)
					return
				}
				const rdwr, app, cloexec, large = 3, 1 << 3, 1 << 12, 1 << 11
				checkRecord(t, recs[0], []any{want, file, flagsBut(rdwr|app|cloexec, large), st.Mode, devOf(uint64(st.Dev)), st.Ino})
			})
		})
	}
	for _, typ := range event.Types() {
		if typ.TellsFiles() != tried[typ] {
			t.Errorf("%s tells of files: %v; tried: %v", typ, typ.TellsFiles(), tried[typ])
		}
	}
}

// flagsBut checks a parameter whose bits but for those of mask must be these: kernels of 64 bits add O_LARGEFILE.
func flagsBut(want, mask uint32) check {
	return func(t *testing.T, name string, b []byte) {
		if got := binary.LittleEndian.Uint32(b); got&^mask != want {
			t.Errorf("%s is %#x, not %#x", name, got, want)
		}
	}
}

// TestTellsNothing: what no open makes is known by the events that made it, and directories are always known. A pipe and a memfd can be
// opened, by /proc/PID/fd.
func TestTellsNothing(t *testing.T) {
	l := needProbe(t)
	inThread(func() {
		var p [2]int
		if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
			t.Error(err)
			return
		}
		sock, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Error(err)
			return
		}
		memfd, err := unix.MemfdCreate("m", unix.MFD_CLOEXEC)
		if err != nil {
			t.Error(err)
			return
		}
		dir, err := unix.Open(t.TempDir(), unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Error(err)
			return
		}
		event, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
		if err != nil {
			t.Error(err)
			return
		}
		pidfd, err := unix.PidfdOpen(os.Getpid(), 0)
		if err != nil {
			t.Error(err)
			return
		}
		for _, fd := range []int{p[0], p[1], sock, memfd, dir, event, pidfd} {
			defer unix.Close(fd)
		}
		for _, r := range l.toldBy(t, "fchmod", func() {
			for _, fd := range []int{sock, dir, event, pidfd, -1, 1 << 20} {
				_ = unix.Fchmod(fd, 0o700)
			}
		}) {
			t.Errorf("fchmod tells of %v", r)
		}
		var names []string
		for _, r := range l.toldBy(t, "fchmod", func() {
			_ = unix.Fchmod(memfd, 0o600)
			_ = unix.Fchmod(p[1], 0o600)
		}) {
			name, _ := r.Param(1)
			names = append(names, string(name))
		}
		if want := []string{"/memfd:m\x00", "/\x00"}; !slices.Equal(names, want) {
			t.Errorf("a memfd and a pipe are told as %q, not %q", names, want)
		}
		// A namespace's file has no path: its kind and number are its name.
		ns, err := unix.Open("/proc/self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Error(err)
			return
		}
		defer unix.Close(ns)
		var st unix.Stat_t
		if err := unix.Fstat(ns, &st); err != nil {
			t.Error(err)
			return
		}
		recs := l.toldBy(t, "setns", func() { _ = unix.Setns(ns, unix.CLONE_NEWUTS) })
		if len(recs) != 1 {
			t.Errorf("setns tells %d times", len(recs))
			return
		}
		checkRecord(t, recs[0], []any{ns, "net", flagsBut(1|1<<12, 1<<11), st.Mode, devOf(uint64(st.Dev)), st.Ino})
	})
}
