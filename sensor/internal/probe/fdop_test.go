package probe

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

// fcntlCase makes an fcntl on /dev/null whose command has the number want in an event; res is its result, 1 for any fd.
func fcntlCase(what string, cmd uintptr, want int, arg uintptr) callCase {
	return callCase{"fcntl", what, event.SyscallFcntlX, func(t *env) []any {
		fd := devNull(t)
		r := t.call("fcntl", fd, cmd, arg)
		if (cmd == unix.F_DUPFD || cmd == unix.F_DUPFD_CLOEXEC) && r >= 0 {
			closing(t, r)
		}
		return []any{r, fd, want, arg}
	}}
}

func fcntlCases() []callCase {
	cases := []callCase{
		{"fcntl", "bad fd", event.SyscallFcntlX, func(t *env) []any {
			t.call("fcntl", ^uintptr(0), unix.F_DUPFD, 3)
			return []any{errno(unix.EBADF), -1, 1, 3}
		}},
	}
	lock := make([]byte, 64) // a struct flock of the first byte, to read
	for _, c := range []struct {
		what string
		cmd  uintptr
		want int
		arg  uintptr
	}{
		{"duplicate", unix.F_DUPFD, 1, 250}, {"duplicate, close on exec", unix.F_DUPFD_CLOEXEC, 0x1a, 260},
		{"get flags of fd", unix.F_GETFD, 2, 0}, {"set flags of fd", unix.F_SETFD, 3, unix.FD_CLOEXEC},
		{"get flags", unix.F_GETFL, 4, 0}, {"set flags", unix.F_SETFL, 5, unix.O_NONBLOCK},
		{"get lock", unix.F_GETLK, 6, addr(lock)}, {"set lock", unix.F_SETLK, 8, addr(lock)}, {"set lock, wait", unix.F_SETLKW, 9, addr(lock)},
		{"get owner", unix.F_GETOWN, 12, 0}, {"set owner", unix.F_SETOWN, 10, uintptr(os.Getpid())},
		{"get signal", 11, 15, 0}, {"set signal", 10, 13, uintptr(unix.SIGIO)},
		{"set owner, extended", 15, 0x15, addr(make([]byte, 8))}, {"get owner, extended", 16, 0x16, addr(make([]byte, 8))},
		{"get open file's lock", 36, 0x1e, addr(lock)}, {"set open file's lock", 37, 0x1f, addr(lock)}, {"set open file's lock, wait", 38, 0x20, addr(lock)},
		{"lease", unix.F_SETLEASE, 0x17, unix.F_UNLCK}, {"get lease", unix.F_GETLEASE, 0x18, 0}, {"cancel lock", 1029, 0x19, 0},
		{"notify", unix.F_NOTIFY, 0x1b, 0}, {"set pipe's size", unix.F_SETPIPE_SZ, 0x1c, 4096}, {"get pipe's size", unix.F_GETPIPE_SZ, 0x1d, 0},
		{"of no name in the format", unix.F_GET_SEALS, 0, 0},
	} {
		cases = append(cases, fcntlCase(c.what, c.cmd, c.want, c.arg))
	}
	return cases
}

func flockCase(what string, op uintptr) callCase {
	return callCase{"flock", what, event.SyscallFlockX, func(t *env) []any {
		fd := rwFile(t, nil)
		return []any{t.must("flock", fd, op), fd, op}
	}}
}

func lseekCase(what string, whence, seen int) callCase {
	return callCase{"lseek", what, event.SyscallLseekX, func(t *env) []any {
		fd := rwFile(t, []byte("0123456789"))
		return []any{t.call("lseek", fd, 3, uintptr(whence)), fd, 3, seen}
	}}
}

// getdentsCase reads what stands in a directory.
func getdentsCase(name string, typ event.Type) callCase {
	return callCase{name, "ok", typ, func(t *env) []any {
		dir := t.TempDir()
		fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		closing(t, int64(fd))
		r := t.must(name, uintptr(fd), addr(make([]byte, 1024)), 1024)
		if r < 40 { // the directory itself and its parent
			t.Fatalf("%s gives %d bytes", name, r)
		}
		return []any{r, fd}
	}}
}

func fdopCases() []callCase {
	return append(fcntlCases(), []callCase{
		flockCase("shared", unix.LOCK_SH), flockCase("exclusive, at once", unix.LOCK_EX|unix.LOCK_NB), flockCase("unlock", unix.LOCK_UN),
		{"flock", "bad", event.SyscallFlockX, func(t *env) []any {
			t.call("flock", badFD, unix.LOCK_SH|0x100)
			return []any{check(negative), badFD, unix.LOCK_SH}
		}},
		{"ioctl", "ok", event.SyscallIoctlV3X, func(t *env) []any {
			fd, _ := pipeOf(t, "four")
			b := make([]byte, 8)
			r := t.must("ioctl", fd, unix.TIOCINQ, addr(b))
			if binary.NativeEndian.Uint32(b) != 4 {
				t.Fatalf("%x bytes", b)
			}
			return []any{r, fd, unix.TIOCINQ, addr(b)}
		}},
		{"ioctl", "no terminal", event.SyscallIoctlV3X, func(t *env) []any {
			fd := devNull(t)
			t.call("ioctl", fd, unix.TCGETS, 0x123456789a&^uintptr(0))
			return []any{errno(unix.ENOTTY), fd, unix.TCGETS, 0x123456789a & ^uintptr(0)}
		}},
		lseekCase("from the beginning", unix.SEEK_SET, 0), lseekCase("from here", unix.SEEK_CUR, 1), lseekCase("from the end", unix.SEEK_END, 2),
		lseekCase("data", unix.SEEK_DATA, 0),
		{"lseek", "negative", event.SyscallLseekX, func(t *env) []any {
			fd := rwFile(t, nil)
			t.call("lseek", fd, ^uintptr(4), unix.SEEK_CUR)
			return []any{errno(unix.EINVAL), fd, -5, 1}
		}},
		{"lseek", "pipe", event.SyscallLseekX, func(t *env) []any {
			fd, _ := pipeOf(t, "x")
			t.call("lseek", fd, 0, unix.SEEK_END)
			return []any{errno(unix.ESPIPE), fd, 0, 2}
		}},
		getdentsCase("getdents", event.SyscallGetdentsX), getdentsCase("getdents64", event.SyscallGetdents64X),
		{"getdents", "no directory", event.SyscallGetdentsX, func(t *env) []any {
			fd := devNull(t)
			t.call("getdents", fd, addr(make([]byte, 64)), 64)
			return []any{errno(unix.ENOTDIR), fd}
		}},
		{"getdents64", "bad fd", event.SyscallGetdents64X, func(t *env) []any {
			t.call("getdents64", ^uintptr(0), addr(make([]byte, 64)), 64)
			return []any{errno(unix.EBADF), -1}
		}},

		{"sendfile", "with an offset", event.SyscallSendfileX, func(t *env) []any {
			from, to := rwFile(t, digits(100)), rwFile(t, nil)
			off := binary.NativeEndian.AppendUint64(nil, 30)
			r := t.must("sendfile", to, from, addr(off), 50)
			return []any{r, 80, to, from, 50}
		}},
		{"sendfile", "without", event.SyscallSendfileX, func(t *env) []any {
			from, to := rwFile(t, digits(100)), rwFile(t, nil)
			return []any{t.must("sendfile", to, from, 0, 1000), 0, to, from, 1000}
		}},
		{"sendfile", "bad fd", event.SyscallSendfileX, func(t *env) []any {
			to := rwFile(t, nil)
			t.call("sendfile", to, badFD, addr(binary.NativeEndian.AppendUint64(nil, 7)), 5)
			return []any{errno(unix.EBADF), 7, to, badFD, 5}
		}},
		{"splice", "from a pipe", event.SyscallSpliceX, func(t *env) []any {
			from, _ := pipeOf(t, "hello")
			to := rwFile(t, nil)
			r := t.must("splice", from, 0, to, 0, 5, 15)
			return []any{r, from, to, 5, 15}
		}},
		{"splice", "no pipe", event.SyscallSpliceX, func(t *env) []any {
			a, b := rwFile(t, nil), rwFile(t, nil)
			t.call("splice", a, 0, b, 0, 1<<30, 0)
			return []any{errno(unix.EINVAL), a, b, 1 << 30, 0}
		}},
		{"copy_file_range", "with offsets", event.SyscallCopyFileRangeX, func(t *env) []any {
			from, to := rwFile(t, digits(100)), rwFile(t, nil)
			in, out := addr(make([]byte, 8)), addr(make([]byte, 8))
			r := t.must("copy_file_range", from, in, to, out, 60, 0)
			return []any{r, to, out, from, in, 60}
		}},
		{"copy_file_range", "bad fd", event.SyscallCopyFileRangeX, func(t *env) []any {
			t.call("copy_file_range", badFD, 0, ^uintptr(0), 0, 60, 0)
			return []any{errno(unix.EBADF), -1, 0, badFD, 0, 60}
		}},
		{"open_by_handle_at", "ok", event.SyscallOpenByHandleAtX, func(t *env) []any {
			p := filepath.Join(t.TempDir(), "held")
			if err := os.WriteFile(p, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			h, _, err := unix.NameToHandleAt(unix.AT_FDCWD, p, 0)
			if err == unix.EOPNOTSUPP {
				p = "/proc/self/ns/uts" // a file system that gives handles everywhere
				t.Skip("the file system of temporary files gives no handles")
			}
			if err != nil {
				t.Fatal(err)
			}
			mnt, err := unix.Open(filepath.Dir(p), unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			closing(t, int64(mnt))
			b := binary.NativeEndian.AppendUint32(nil, uint32(h.Size()))
			b = binary.NativeEndian.AppendUint32(b, uint32(h.Type()))
			fd := t.call("open_by_handle_at", uintptr(mnt), addr(append(b, h.Bytes()...)), unix.O_RDONLY|unix.O_CLOEXEC)
			dev, ino := opened(t, fd)
			return []any{fd, mnt, fRdonly | fCloexec, p, dev, ino}
		}},
		{"open_by_handle_at", "bad handle", event.SyscallOpenByHandleAtX, func(t *env) []any {
			t.call("open_by_handle_at", cwd, 1, unix.O_RDWR)
			return []any{errno(unix.EFAULT), unix.AT_FDCWD, fRdwr, missing{}, 0, 0}
		}},
	}...)
}

func TestFDOperations(t *testing.T) { runCases(t, fdopCases()) }
