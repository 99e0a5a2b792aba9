package probe

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// The event format's open flags (file_flags in events.txt).
const (
	fRdonly, fWronly, fRdwr, fCreat, fAppend, fDsync, fExcl = 1, 2, 3, 4, 8, 0x10, 0x20
	fNonblock, fSync, fTrunc, fDirect, fDirectory           = 0x40, 0x80, 0x100, 0x200, 0x400
	fCloexec, fTmpfile, fCreated, fUpper, fLower            = 0x1000, 0x2000, 0x4000, 0x8000, 0x10000
)

// cwd is AT_FDCWD as an argument of a system call.
const cwd = ^uintptr(99)

func errno(e unix.Errno) int64 { return -int64(e) }

// opened gives the device and the inode of the file behind fd, and closes it when the case ends.
func opened(t *env, fd int64) (dev uint32, ino uint64) {
	t.Helper()
	if fd < 0 {
		t.Fatalf("open: %v", unix.Errno(-fd))
	}
	t.Cleanup(func() { unix.Close(int(fd)) })
	var st unix.Stat_t
	if err := unix.Fstat(int(fd), &st); err != nil {
		t.Fatal(err)
	}
	return devOf(uint64(st.Dev)), st.Ino
}

func newPath(t *env) string { return filepath.Join(t.TempDir(), "file") }

func oldPath(t *env) string {
	p := newPath(t)
	if err := os.WriteFile(p, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func openatCase(what string, flags, mode uintptr, want, wantMode int, path func(t *env) string) callCase {
	return callCase{"openat", what, event.SyscallOpenatV2X, func(t *env) []any {
		p := path(t)
		fd := t.call("openat", cwd, str(p), flags, mode)
		dev, ino := opened(t, fd)
		return []any{fd, unix.AT_FDCWD, p, want, wantMode, dev, ino}
	}}
}

func openatFails(what, path string, e unix.Errno) callCase {
	return callCase{"openat", what, event.SyscallOpenatV2X, func(t *env) []any {
		t.call("openat", cwd, str(path), unix.O_WRONLY)
		seen := path
		if len(path) > 4095 {
			seen, t.origin = path[:4095], wasmabi.OriginCut
		}
		return []any{errno(e), unix.AT_FDCWD, seen, fWronly, 0, 0, 0}
	}}
}

func openCases() []callCase {
	return []callCase{
		openatCase("read", unix.O_RDONLY, 0o777, fRdonly, 0, oldPath),
		openatCase("creates", unix.O_CREAT|unix.O_WRONLY|unix.O_TRUNC, 0o6751, fCreat|fWronly|fTrunc|fCreated, 0o6751, newPath),
		openatCase("exists", unix.O_CREAT|unix.O_RDWR|unix.O_APPEND, 0o640, fCreat|fRdwr|fAppend, 0o640, oldPath),
		openatCase("exclusive", unix.O_CREAT|unix.O_EXCL|unix.O_RDWR|unix.O_CLOEXEC, 0o600, fCreat|fExcl|fRdwr|fCloexec|fCreated, 0o600, newPath),
		openatCase("sync", unix.O_WRONLY|unix.O_SYNC|unix.O_NONBLOCK, 0, fWronly|fSync|fDsync|fNonblock, 0, oldPath),
		openatCase("dsync", unix.O_WRONLY|unix.O_DSYNC, 0, fWronly|fDsync, 0, oldPath),
		openatCase("directory", unix.O_RDONLY|unix.O_DIRECTORY, 0, fRdonly|fDirectory, 0, func(t *env) string { return t.TempDir() }),
		openatCase("tmpfile", unix.O_TMPFILE|unix.O_RDWR, 0o600, fRdwr|fDirectory|fTmpfile, 0o600, func(t *env) string { return t.TempDir() }),
		openatFails("not there", "/nonexistent/file", unix.ENOENT),
		openatFails("empty path", "", unix.ENOENT),
		openatFails("longest path", "/nonexistent"+strings.Repeat("/", 4095-12), unix.ENOENT),
		openatFails("path too long", strings.Repeat("/abc", 1500), unix.ENAMETOOLONG),
		{"openat", "bad address", event.SyscallOpenatV2X, func(t *env) []any {
			t.call("openat", cwd, 1, unix.O_RDONLY)
			return []any{errno(unix.EFAULT), unix.AT_FDCWD, missing{}, fRdonly, 0, 0, 0}
		}},
		{"openat", "relative to a directory", event.SyscallOpenatV2X, func(t *env) []any {
			p := oldPath(t)
			dir, err := unix.Open(filepath.Dir(p), unix.O_DIRECTORY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(dir)
			fd := t.call("openat", uintptr(dir), str("file"), 0, 0)
			dev, ino := opened(t, fd)
			return []any{fd, dir, "file", fRdonly, 0, dev, ino}
		}},
		overlayCase("upper layer", fUpper, "new"),
		overlayCase("lower layer", fLower, "old"),
		{"open", "creates", event.SyscallOpenX, func(t *env) []any {
			p := newPath(t)
			fd := t.call("open", str(p), unix.O_CREAT|unix.O_WRONLY|unix.O_DIRECT, 0o644)
			if fd == errno(unix.EINVAL) { // a file system without direct access makes the file all the same
				return []any{fd, p, fCreat | fWronly | fDirect, 0o644, 0, 0}
			}
			dev, ino := opened(t, fd)
			return []any{fd, p, fCreat | fWronly | fDirect | fCreated, 0o644, dev, ino}
		}},
		{"open", "fails", event.SyscallOpenX, func(t *env) []any {
			t.call("open", str("/nonexistent"), unix.O_RDWR)
			return []any{errno(unix.ENOENT), "/nonexistent", fRdwr, 0, 0, 0}
		}},
		{"creat", "creates", event.SyscallCreatX, func(t *env) []any {
			p := newPath(t)
			fd := t.call("creat", str(p), 0o751)
			dev, ino := opened(t, fd)
			return []any{fd, p, 0o751, dev, ino, 0}
		}},
		{"creat", "fails", event.SyscallCreatX, func(t *env) []any {
			t.call("creat", str("/nonexistent/x"), 0o600)
			return []any{errno(unix.ENOENT), "/nonexistent/x", 0o600, 0, 0, 0}
		}},
		{"openat2", "resolve", event.SyscallOpenat2X, func(t *env) []any {
			p := newPath(t)
			how := unix.OpenHow{Flags: unix.O_CREAT | unix.O_RDWR, Mode: 0o640, Resolve: unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_SYMLINKS}
			fd := t.call("openat2", cwd, str(p), addr(howBytes(how)), unix.SizeofOpenHow)
			dev, ino := opened(t, fd)
			return []any{fd, unix.AT_FDCWD, p, fCreat | fRdwr | fCreated, 0o640, 4 | 8, dev, ino}
		}},
		{"openat2", "every resolve", event.SyscallOpenat2X, func(t *env) []any {
			how := unix.OpenHow{Resolve: 0x3f}
			r := t.call("openat2", cwd, str("x"), addr(howBytes(how)), unix.SizeofOpenHow)
			return []any{r, unix.AT_FDCWD, "x", fRdonly, 0, 0x3f, 0, 0}
		}},
		{"openat2", "beneath", event.SyscallOpenat2X, func(t *env) []any {
			how := unix.OpenHow{Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_XDEV}
			t.call("openat2", cwd, str("/etc/passwd"), addr(howBytes(how)), unix.SizeofOpenHow)
			return []any{errno(unix.EXDEV), unix.AT_FDCWD, "/etc/passwd", fRdonly, 0, 1 | 16, 0, 0}
		}},
	}
}

func howBytes(h unix.OpenHow) []byte {
	b := binary.NativeEndian.AppendUint64(nil, h.Flags)
	b = binary.NativeEndian.AppendUint64(b, h.Mode)
	return binary.NativeEndian.AppendUint64(b, h.Resolve)
}

// overlayCase opens a file of an overlay, in a mount namespace of the thread's own.
func overlayCase(what string, layer int, file string) callCase {
	return callCase{"openat", what, event.SyscallOpenatV2X, func(t *env) []any {
		base := "/dev/shm/shikra-overlay-" + what[:5] // overlays can't be stacked on every file system
		dirs := map[string]string{}
		for _, d := range []string{"lower", "upper", "work", "merged"} {
			dirs[d] = filepath.Join(base, d)
			if err := os.MkdirAll(dirs[d], 0o755); err != nil {
				t.Fatal(err)
			}
		}
		defer os.RemoveAll(base)
		for f, d := range map[string]string{"old": "lower", "new": "upper"} {
			if err := os.WriteFile(filepath.Join(dirs[d], f), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			t.Fatal(err)
		}
		opts := "lowerdir=" + dirs["lower"] + ",upperdir=" + dirs["upper"] + ",workdir=" + dirs["work"]
		if err := unix.Mount("overlay", dirs["merged"], "overlay", 0, opts); err != nil {
			if b, _ := os.ReadFile("/proc/filesystems"); !strings.Contains(string(b), "overlay") {
				t.Skip("this kernel has no overlayfs")
			}
			t.Fatal(err)
		}
		defer unix.Unmount(dirs["merged"], unix.MNT_DETACH)
		p := filepath.Join(dirs["merged"], file)
		fd := t.call("openat", cwd, str(p), 0, 0)
		dev, ino := opened(t, fd)
		return []any{fd, unix.AT_FDCWD, p, fRdonly | layer, 0, dev, ino}
	}}
}

func TestOpen(t *testing.T) { runCases(t, openCases()) }
