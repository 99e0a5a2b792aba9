package probe

import (
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// statCases are those of stat, or of lstat.
func statCases(name string, typ event.Type) []callCase {
	buf := []uintptr{addr(make([]byte, 256))}
	return []callCase{
		onePath(name, "ok", typ, oldPath, buf),
		fails(name, typ, buf),
		{name, "bad pointer", typ, func(t *env) []any {
			t.call(name, 1, buf[0])
			return []any{errno(unix.EFAULT), missing{}}
		}},
		{name, "null pointer", typ, func(t *env) []any {
			t.call(name, 0, buf[0])
			return []any{errno(unix.EFAULT), missing{}}
		}},
		{name, "too long", typ, func(t *env) []any {
			p := "/" + strings.Repeat("x", 5000)
			t.call(name, str(p), buf[0])
			t.origin = wasmabi.OriginCut
			return []any{errno(unix.ENAMETOOLONG), p[:4095]}
		}},
	}
}

func accessCase(what string, mode uintptr) callCase {
	return onePath("access", what, event.SyscallAccessX, oldPath, []uintptr{mode}, mode)
}

// mknodCase makes a node and asserts its mode and, as the format encodes it once more, its device.
func mknodCase(what string, mode uintptr, dev uint64, want, wantDev int) callCase {
	return onePath("mknod", what, event.SyscallMknodX, newPath, []uintptr{mode, uintptr(dev)}, want, wantDev)
}

func statsCases() []callCase {
	buf := addr(make([]byte, 256))
	cases := append(statCases("stat", event.SyscallStatX), statCases("lstat", event.SyscallLstatX)...)
	return append(cases,
		callCase{"fstat", "ok", event.SyscallFstatX, func(t *env) []any {
			fd := devNull(t)
			return []any{t.must("fstat", fd, buf), fd}
		}},
		callCase{"fstat", "bad", event.SyscallFstatX, func(t *env) []any {
			t.call("fstat", badFD, buf)
			return []any{errno(unix.EBADF), badFD}
		}},
		callCase{"fstat", "negative", event.SyscallFstatX, func(t *env) []any {
			t.call("fstat", ^uintptr(0), buf)
			return []any{errno(unix.EBADF), -1}
		}},
		oneAt("newfstatat", "in a directory", event.SyscallNewfstatatX, oldPath, []uintptr{buf, 0}, 0),
		oneAt("newfstatat", "flags", event.SyscallNewfstatatX, oldPath, []uintptr{buf, unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT},
			unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT),
		callCase{"newfstatat", "of the fd itself", event.SyscallNewfstatatX, func(t *env) []any {
			d := dirFD(t, t.TempDir())
			return []any{t.must("newfstatat", d, str(""), buf, unix.AT_EMPTY_PATH), d, "", unix.AT_EMPTY_PATH}
		}},
		callCase{"newfstatat", "no directory", event.SyscallNewfstatatX, func(t *env) []any {
			p := oldPath(t)
			return []any{t.must("newfstatat", cwd, str(p), buf, 0), unix.AT_FDCWD, p, 0}
		}},
		callCase{"newfstatat", "fails", event.SyscallNewfstatatX, func(t *env) []any {
			t.call("newfstatat", cwd, str("/nonexistent/x"), buf, 0)
			return []any{errno(unix.ENOENT), unix.AT_FDCWD, "/nonexistent/x", 0}
		}},
		callCase{"newfstatat", "bad flags and pointer", event.SyscallNewfstatatX, func(t *env) []any {
			t.call("newfstatat", badFD, 1, buf, 0x40000000)
			return []any{errno(unix.EINVAL), badFD, missing{}, 0}
		}},
		accessCase("is there", unix.F_OK),
		accessCase("reads and writes", unix.R_OK|unix.W_OK),
		callCase{"access", "runs", event.SyscallAccessX, func(t *env) []any {
			p := "/proc/self/exe"
			return []any{t.must("access", str(p), unix.X_OK), p, unix.X_OK}
		}},
		callCase{"access", "bad mode", event.SyscallAccessX, func(t *env) []any {
			t.call("access", str("/"), 0x78|unix.R_OK)
			return []any{errno(unix.EINVAL), "/", unix.R_OK}
		}},
		fails("access", event.SyscallAccessX, []uintptr{unix.W_OK}, unix.W_OK),
		callCase{"access", "bad pointer", event.SyscallAccessX, func(t *env) []any {
			t.call("access", 1, unix.X_OK)
			return []any{errno(unix.EFAULT), missing{}, unix.X_OK}
		}},

		mknodCase("fifo", unix.S_IFIFO|0o640, 0, 0x1000|0o640, 0),
		mknodCase("regular", 0o4755, 0, 0x8000|0o4755, 0),
		mknodCase("regular by type", unix.S_IFREG|0o100, 0, 0x8000|0o100, 0),
		mknodCase("socket", unix.S_IFSOCK|0o777, 0, 0xc000|0o777, 0),
		callCase{"mknod", "character device", event.SyscallMknodX, func(t *env) []any {
			p := newPath(t)
			r := t.call("mknod", str(p), unix.S_IFCHR|0o600, uintptr(unix.Mkdev(1, 3))) // not allowed in a user namespace
			return []any{r, p, 0x2000 | 0o600, 0x100003}
		}},
		callCase{"mknod", "block device", event.SyscallMknodX, func(t *env) []any {
			r := t.call("mknod", str("/nonexistent/x"), unix.S_IFBLK|0o660, 61440)
			return []any{r, "/nonexistent/x", 0x6000 | 0o660, 240 << 20}
		}},
		callCase{"mknod", "bad type and pointer", event.SyscallMknodX, func(t *env) []any {
			t.call("mknod", 1, unix.S_IFDIR|0o600, 61)
			return []any{errno(unix.EPERM), missing{}, 0x4000 | 0o600, 61}
		}},
		oneAt("mknodat", "fifo", event.SyscallMknodatX, newPath, []uintptr{unix.S_IFIFO | 0o600, 7}, 0x1000|0o600, 7),
		callCase{"mknodat", "fails", event.SyscallMknodatX, func(t *env) []any {
			t.call("mknodat", cwd, str("/nonexistent/x"), unix.S_IFREG|0o1700, 0)
			return []any{errno(unix.ENOENT), unix.AT_FDCWD, "/nonexistent/x", 0x8000 | 0o1700, 0}
		}},
		callCase{"mknodat", "bad directory", event.SyscallMknodatX, func(t *env) []any {
			t.call("mknodat", badFD, str("x"), 0, 0)
			return []any{errno(unix.EBADF), badFD, "x", 0x8000, 0}
		}},

		callCase{"getcwd", "ok", event.SyscallGetcwdX, func(t *env) []any {
			unshareFS(t)
			d, err := filepath.EvalSymlinks(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			if err := unix.Chdir(d); err != nil {
				t.Fatal(err)
			}
			return []any{t.must("getcwd", addr(make([]byte, 4096)), 4096), d}
		}},
		callCase{"getcwd", "too small", event.SyscallGetcwdX, func(t *env) []any {
			t.call("getcwd", addr(make([]byte, 8)), 1)
			return []any{errno(unix.ERANGE), missing{}}
		}},
	)
}

func TestStat(t *testing.T) { runCases(t, statsCases()) }
