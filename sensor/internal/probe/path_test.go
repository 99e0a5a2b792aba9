package probe

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

// dirFD opens a directory until the case ends.
func dirFD(t *env, path string) uintptr {
	t.Helper()
	fd, err := unix.Open(path, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return uintptr(fd)
}

// twoPaths is a case of a call on two paths, the first of which is there.
func twoPaths(name string, typ event.Type) []callCase {
	return []callCase{
		{name, "ok", typ, func(t *env) []any {
			p := oldPath(t)
			return []any{t.must(name, str(p), str(p+".new")), p, p + ".new"}
		}},
		{name, "fails", typ, func(t *env) []any {
			t.call(name, str("/nonexistent/a"), str("/nonexistent/b"))
			return []any{errno(unix.ENOENT), "/nonexistent/a", "/nonexistent/b"}
		}},
	}
}

// twoAt is the same with directories, relative to dirs; flags are the call's last argument.
func twoAt(name, what string, typ event.Type, flags []uintptr, want ...any) callCase {
	return callCase{name, what, typ, func(t *env) []any {
		p := oldPath(t)
		d := dirFD(t, filepath.Dir(p))
		r := t.must(name, append([]uintptr{d, str("file"), cwd, str(p + ".new")}, flags...)...)
		return append([]any{r, d, "file", unix.AT_FDCWD, p + ".new"}, want...)
	}}
}

// onePath is a case of a call on one path, which make makes, and more arguments.
func onePath(name, what string, typ event.Type, mk func(t *env) string, args []uintptr, want ...any) callCase {
	return callCase{name, what, typ, func(t *env) []any {
		p := mk(t)
		return append([]any{t.must(name, append([]uintptr{str(p)}, args...)...), p}, want...)
	}}
}

// oneAt is the same relative to the directory.
func oneAt(name, what string, typ event.Type, mk func(t *env) string, args []uintptr, want ...any) callCase {
	return callCase{name, what, typ, func(t *env) []any {
		p := mk(t)
		d := dirFD(t, filepath.Dir(p))
		r := t.must(name, append([]uintptr{d, str(filepath.Base(p))}, args...)...)
		return append([]any{r, d, filepath.Base(p)}, want...)
	}}
}

// fails is a case of a call on a path that isn't there.
func fails(name string, typ event.Type, args []uintptr, want ...any) callCase {
	return callCase{name, "fails", typ, func(t *env) []any {
		t.call(name, append([]uintptr{str("/nonexistent/x")}, args...)...)
		return append([]any{errno(unix.ENOENT), "/nonexistent/x"}, want...)
	}}
}

func emptyDir(t *env) string {
	p := filepath.Join(t.TempDir(), "dir")
	if err := os.Mkdir(p, 0o755); err != nil {
		t.Fatal(err)
	}
	return p
}

func pathCases() []callCase {
	var c []callCase
	c = append(c, twoPaths("rename", event.SyscallRenameX)...)
	c = append(c, twoPaths("link", event.SyscallLinkV2X)...)
	return append(c,
		twoAt("renameat", "ok", event.SyscallRenameatX, nil),
		twoAt("renameat2", "no replace", event.SyscallRenameat2X, []uintptr{unix.RENAME_NOREPLACE}, 1),
		callCase{"renameat2", "fails", event.SyscallRenameat2X, func(t *env) []any {
			t.call("renameat2", badFD, str("a"), 7, str("b"), unix.RENAME_EXCHANGE|unix.RENAME_WHITEOUT)
			return []any{errno(unix.EINVAL), badFD, "a", 7, "b", 6}
		}},
		twoAt("linkat", "follows", event.SyscallLinkatV2X, []uintptr{unix.AT_SYMLINK_FOLLOW}, 0x400),
		callCase{"linkat", "empty path", event.SyscallLinkatV2X, func(t *env) []any {
			r := t.call("linkat", devNull(t), str(""), cwd, str("/nonexistent/x"), unix.AT_EMPTY_PATH)
			return []any{r, present{}, "", unix.AT_FDCWD, "/nonexistent/x", 0x1000}
		}},
		callCase{"symlink", "ok", event.SyscallSymlinkX, func(t *env) []any {
			p := newPath(t)
			return []any{t.must("symlink", str("to nowhere"), str(p)), "to nowhere", p}
		}},
		callCase{"symlink", "exists", event.SyscallSymlinkX, func(t *env) []any {
			p := oldPath(t)
			t.call("symlink", str("x"), str(p))
			return []any{errno(unix.EEXIST), "x", p}
		}},
		callCase{"symlinkat", "ok", event.SyscallSymlinkatX, func(t *env) []any {
			p := newPath(t)
			d := dirFD(t, filepath.Dir(p))
			return []any{t.must("symlinkat", str("to"), d, str("file")), "to", d, "file"}
		}},

		onePath("unlink", "ok", event.SyscallUnlinkV2X, oldPath, nil),
		fails("unlink", event.SyscallUnlinkV2X, nil),
		oneAt("unlinkat", "file", event.SyscallUnlinkatV2X, oldPath, []uintptr{0}, 0),
		oneAt("unlinkat", "directory", event.SyscallUnlinkatV2X, emptyDir, []uintptr{unix.AT_REMOVEDIR}, 0x200),
		onePath("rmdir", "ok", event.SyscallRmdirV2X, emptyDir, nil),
		fails("rmdir", event.SyscallRmdirV2X, nil),
		onePath("mkdir", "ok", event.SyscallMkdirV2X, newPath, []uintptr{0o1751}, 0o1751),
		fails("mkdir", event.SyscallMkdirV2X, []uintptr{0o700}, 0o700),
		oneAt("mkdirat", "ok", event.SyscallMkdiratX, newPath, []uintptr{0o700}, 0o700),

		onePath("chmod", "ok", event.SyscallChmodX, oldPath, []uintptr{0o6751}, 0o6751),
		fails("chmod", event.SyscallChmodX, []uintptr{0o7777}, 0o7777),
		oneAt("fchmodat", "ok", event.SyscallFchmodatX, oldPath, []uintptr{0o4711}, 0o4711),
		callCase{"fchmodat2", "ok", event.SyscallFchmodat2X, func(t *env) []any { // from 6.6
			p := oldPath(t)
			d := dirFD(t, filepath.Dir(p))
			return []any{t.call("fchmodat2", d, str(filepath.Base(p)), 0o4711, 0), d, filepath.Base(p), 0o4711, 0}
		}},
		callCase{"fchmodat2", "the file of an fd", event.SyscallFchmodat2X, func(t *env) []any {
			d := dirFD(t, t.TempDir())
			return []any{t.call("fchmodat2", d, str(""), 0o700, atEmptyPath|atNoFollow), d, "", 0o700, atEmptyPath | atNoFollow}
		}},
		callCase{"fchmod", "ok", event.SyscallFchmodX, func(t *env) []any {
			fd, err := unix.Open(oldPath(t), unix.O_RDONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			return []any{t.must("fchmod", uintptr(fd), 0o640), fd, 0o640}
		}},
		callCase{"fchmod", "bad", event.SyscallFchmodX, func(t *env) []any {
			t.call("fchmod", badFD, 0o1777)
			return []any{errno(unix.EBADF), badFD, 0o1777}
		}},

		onePath("chown", "ok", event.SyscallChownX, oldPath, []uintptr{1234, 5678}, 1234, 5678),
		onePath("chown", "group only", event.SyscallChownX, oldPath, []uintptr{^uintptr(0), 5678}, -1, 5678),
		fails("chown", event.SyscallChownX, []uintptr{1, 2}, 1, 2),
		onePath("lchown", "ok", event.SyscallLchownX, oldPath, []uintptr{2147483646, 3}, 2147483646, 3),
		fails("lchown", event.SyscallLchownX, []uintptr{1, 2}, 1, 2),
		callCase{"fchown", "bad", event.SyscallFchownX, func(t *env) []any {
			t.call("fchown", badFD, 7, 8)
			return []any{errno(unix.EBADF), badFD, 7, 8}
		}},
		oneAt("fchownat", "ok", event.SyscallFchownatX, oldPath, []uintptr{11, 12, 0}, 11, 12, 0),
		oneAt("fchownat", "link", event.SyscallFchownatX, oldPath, []uintptr{11, 12, unix.AT_SYMLINK_NOFOLLOW}, 11, 12, 0x400),
		callCase{"fchownat", "empty path", event.SyscallFchownatX, func(t *env) []any {
			fd, err := unix.Open(oldPath(t), unix.O_RDONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			return []any{t.must("fchownat", uintptr(fd), str(""), 1, 2, unix.AT_EMPTY_PATH), fd, "", 1, 2, 0x1000}
		}},

		callCase{"chdir", "ok", event.SyscallChdirX, func(t *env) []any {
			unshareFS(t)
			p := t.TempDir()
			return []any{t.must("chdir", str(p)), p}
		}},
		fails("chdir", event.SyscallChdirX, nil),
		callCase{"fchdir", "ok", event.SyscallFchdirX, func(t *env) []any {
			unshareFS(t)
			d := dirFD(t, "/")
			return []any{t.must("fchdir", d), d}
		}},
		callCase{"fchdir", "bad", event.SyscallFchdirX, func(t *env) []any {
			t.call("fchdir", badFD)
			return []any{errno(unix.EBADF), badFD}
		}},
		callCase{"chroot", "ok", event.SyscallChrootX, func(t *env) []any {
			unshareFS(t)
			p := t.TempDir()
			return []any{t.must("chroot", str(p)), p}
		}},
		fails("chroot", event.SyscallChrootX, nil),
	)
}

// unshareFS gives the thread a root and a current directory of its own.
func unshareFS(t *env) {
	t.Helper()
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		t.Fatal(err)
	}
}

func TestPath(t *testing.T) { runCases(t, pathCases()) }
