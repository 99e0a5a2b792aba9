package probe

import (
	"encoding/binary"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

const ia32IPC = 117

// set32 is a case of a 32-bit call that changes ids, by its ia32 number; want are the event's parameters after the result.
func set32(name, what string, typ event.Type, nr uintptr, args []uintptr, want ...any) callCase {
	return callCase{name, "compat, " + what, typ, func(t *env) []any {
		return append([]any{t.int80(nr, args...)}, want...)
	}}
}

// get32 is a case of a 32-bit call that returns an id, which is 1234 for all four.
func get32(name string, typ event.Type, nr uintptr) callCase {
	return callCase{name, "compat", typ, func(t *env) []any {
		t.must("setresgid", 1234, 1234, 1234)
		t.must("setresuid", 1234, 1234, 1234)
		if r := t.int80(nr); r != 1234 {
			t.Fatalf("%s gives %d", name, r)
		}
		return []any{1234}
	}}
}

// getThree32 is a case of a 32-bit call that gives three ids of width bytes.
func getThree32(name, what, set string, typ event.Type, nr uintptr, width int) callCase {
	return callCase{name, "compat, " + what, typ, func(t *env) []any {
		t.must(set, 0, 70, 71)
		l := newLow(t)
		p := [3]uintptr{l.words(0xAAAAAAAA), l.words(0xAAAAAAAA), l.words(0xAAAAAAAA)}
		r := t.int80(nr, p[:]...)
		if got := binary.NativeEndian.Uint32(l.b[8:]) & (1<<(8*width) - 1); got != 70 {
			t.Fatalf("it gives %d", got)
		}
		return []any{r, 0, 70, 71}
	}}
}

// path32 is a case of a 32-bit call on a file that is there.
func path32(name string, typ event.Type, nr uintptr, args []uintptr, want ...any) callCase {
	return callCase{name, "compat", typ, func(t *env) []any {
		p := oldPath(t)
		return append([]any{t.int80(nr, append([]uintptr{newLow(t).str(p)}, args...)...), p}, want...)
	}}
}

// compatIDCases are those of calls that only 32-bit programs make, and of those that they make otherwise.
func compatIDCases() []callCase {
	const none, none16, none32 = ^uintptr(0), 0xffff, 0xffffffff
	return []callCase{
		set32("setuid32", "ok", event.SyscallSetuidX, 213, []uintptr{100000}, 100000),
		set32("setgid32", "ok", event.SyscallSetgidX, 214, []uintptr{100001}, 100001),
		set32("setreuid32", "ok", event.SyscallSetreuidX, 203, []uintptr{none, 100002}, none32, 100002),
		set32("setregid32", "ok", event.SyscallSetregidX, 204, []uintptr{100003, none}, 100003, none32),
		set32("setresuid32", "ok", event.SyscallSetresuidX, 208, []uintptr{none, 100004, none}, none32, 100004, none32),
		set32("setresgid32", "ok", event.SyscallSetresgidX, 210, []uintptr{100005, 100006, 100007}, 100005, 100006, 100007),
		set32("setuid", "16 bits", event.SyscallSetuidX, 23, []uintptr{0x10000 | 77}, 77),
		set32("setgid", "16 bits", event.SyscallSetgidX, 46, []uintptr{0x10000 | 78}, 78),
		set32("setreuid", "16 bits", event.SyscallSetreuidX, 70, []uintptr{none16, 79}, none32, 79),
		set32("setregid", "16 bits", event.SyscallSetregidX, 71, []uintptr{80, none16}, 80, none32),
		set32("setresuid", "16 bits", event.SyscallSetresuidX, 164, []uintptr{none16, none, 81}, none32, none32, 81),
		set32("setresgid", "16 bits", event.SyscallSetresgidX, 170, []uintptr{82, none16, none}, 82, none32, none32),
		get32("getuid32", event.SyscallGetuidX, 199),
		get32("getgid32", event.SyscallGetgidX, 200),
		get32("geteuid32", event.SyscallGeteuidX, 201),
		get32("getegid32", event.SyscallGetegidX, 202),
		get32("getuid", event.SyscallGetuidX, 24),
		getThree32("getresuid32", "ok", "setresuid", event.SyscallGetresuidX, 209, 4),
		getThree32("getresgid32", "ok", "setresgid", event.SyscallGetresgidX, 211, 4),
		getThree32("getresuid", "16 bits", "setresuid", event.SyscallGetresuidX, 165, 2),
		getThree32("getresgid", "16 bits", "setresgid", event.SyscallGetresgidX, 171, 2),
		path32("chown32", event.SyscallChownX, 212, []uintptr{100000, 100001}, 100000, 100001),
		path32("lchown32", event.SyscallLchownX, 198, []uintptr{none, 100002}, none32, 100002),
		path32("chown", event.SyscallChownX, 182, []uintptr{none16, 5}, none32, 5),
		path32("lchown", event.SyscallLchownX, 16, []uintptr{6, 0x10000 | 7}, 6, 7),
		{"fchown32", "compat", event.SyscallFchownX, func(t *env) []any {
			fd := devNull(t)
			return []any{t.int80(207, fd, none, none), fd, none32, none32}
		}},
		{"fchown", "compat, 16 bits", event.SyscallFchownX, func(t *env) []any {
			fd := devNull(t)
			return []any{t.int80(95, fd, none16, none16), fd, none32, none32}
		}},

		{"stat64", "compat", event.SyscallStat64X, func(t *env) []any {
			p, l := oldPath(t), newLow(t)
			return []any{t.int80(195, l.str(p), l.put(make([]byte, 128))), p}
		}},
		{"stat64", "compat, fails", event.SyscallStat64X, func(t *env) []any {
			return []any{t.int80(195, 1, 1), missing{}}
		}},
		{"lstat64", "compat", event.SyscallLstat64X, func(t *env) []any {
			l := newLow(t)
			return []any{t.int80(196, l.str("/proc/self/exe"), l.put(make([]byte, 128))), "/proc/self/exe"}
		}},
		{"fstat64", "compat", event.SyscallFstat64X, func(t *env) []any {
			return []any{t.int80(197, devNull(t), newLow(t).put(make([]byte, 128)))}
		}},
		{"fstat64", "compat, fails", event.SyscallFstat64X, func(t *env) []any {
			return []any{t.int80(197, badFD, 0)}
		}},
		{"mmap2", "compat", event.SyscallMmap2X, func(t *env) []any {
			fd, err := unix.Open("/proc/self/exe", unix.O_RDONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { unix.Close(fd) })
			at := uint32(t.int80(192, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_32BIT, uintptr(fd), 3))
			t.Cleanup(func() { raw(uintptr(number("munmap")), &[6]uintptr{uintptr(at), 4096}) })
			return append(append([]any{at}, sizes(t)...), 0, 4096, 5, mPrivate|m32Bit, fd, 3)
		}},
		{"mmap2", "compat, fails", event.SyscallMmap2X, func(t *env) []any {
			return append(append([]any{t.int80(192, 4096, 0, 0, unix.MAP_PRIVATE, none32, 7)}, sizes(t)...), 4096, 0, 0, mPrivate, -1, 7)
		}},
		{"mmap", "compat, arguments in memory", event.SyscallMmapX, func(t *env) []any {
			args := newLow(t).words(0, 4096, unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_32BIT, none, 0)
			at := uint32(t.int80(90, args))
			t.Cleanup(func() { raw(uintptr(number("munmap")), &[6]uintptr{uintptr(at), 4096}) })
			return append(append([]any{at}, sizes(t)...), 0, 4096, 2, mPrivate|mAnon|m32Bit, -1, 0)
		}},
		{"ugetrlimit", "compat", event.SyscallGetrlimitX, func(t *env) []any {
			l, b := limitOf(t, unix.RLIMIT_NOFILE), newLow(t)
			return []any{t.int80(191, unix.RLIMIT_NOFILE, b.words(0, 0)), l.Cur, l.Max, 7}
		}},
		{"ugetrlimit", "compat, without limit", event.SyscallGetrlimitX, func(t *env) []any {
			if l := limitOf(t, unix.RLIMIT_FSIZE); l.Cur != unlimited || l.Max != unlimited {
				t.Fatal("the size of files is limited here")
			}
			return []any{t.int80(191, unix.RLIMIT_FSIZE, newLow(t).words(0, 0)), -1, -1, 1}
		}},
		{"getrlimit", "compat", event.SyscallGetrlimitX, func(t *env) []any {
			l, b := limitOf(t, unix.RLIMIT_NOFILE), newLow(t)
			return []any{t.int80(76, unix.RLIMIT_NOFILE, b.words(0, 0)), l.Cur, l.Max, 7}
		}},
		{"setrlimit", "compat, fails", event.SyscallSetrlimitX, func(t *env) []any {
			return []any{t.int80(75, unix.RLIMIT_DATA, newLow(t).words(none, 7)), -1, 7, 2}
		}},
		{"prlimit64", "compat", event.SyscallPrlimitX, func(t *env) []any {
			l, b := limitOf(t, unix.RLIMIT_NOFILE), newLow(t)
			return []any{t.int80(340, 0, unix.RLIMIT_NOFILE, 0, b.put(make([]byte, 16))), 0, 0, l.Cur, l.Max, 0, 7, 0}
		}},
		{"nanosleep", "compat", event.SyscallNanosleepX, func(t *env) []any {
			t.mine = param(1, 1005)
			return []any{t.int80(162, newLow(t).words(0, 1005), 0), 1005}
		}},
		{"futex_time64", "compat", event.SyscallFutexX, func(t *env) []any {
			word := newLow(t).words(7)
			t.mine = param(1, word)
			return []any{t.int80(422, word, 0x80|1, 3), word, 0x80 | 1, 3}
		}},
		{"semget", "compat, ipc", event.SyscallSemgetX, func(t *env) []any {
			id := t.int80(ia32IPC, 2, 0, 3, ipcCreat|0o600)
			t.Cleanup(func() { raw(uintptr(number("semctl")), &[6]uintptr{uintptr(id), 0, ipcRmid}) })
			return []any{id, 0, 3, 0x2000}
		}},
		{"semop", "compat, ipc", event.SyscallSemopX, func(t *env) []any {
			id, l := semaphores(t), newLow(t)
			ops := l.put([]byte{1, 0, 4, 0, 0, 8})
			return []any{t.int80(ia32IPC, 1, id, 1, 0, ops), 1, 1, 4, 1, 0, 0, 0, id}
		}},
		{"semctl", "compat, ipc", event.SyscallSemctlX, func(t *env) []any {
			id, l := semaphores(t), newLow(t)
			return []any{t.int80(ia32IPC, 3, id, 1, 0x100|semSetval, l.words(9)), id, 1, 0x1000, 9}
		}},
		{"semctl", "compat", event.SyscallSemctlX, func(t *env) []any {
			id := semaphores(t)
			return []any{t.int80(394, id, 0, 0x100|semGetval, 0), id, 0, 0x200, 0}
		}},
		{"keyctl", "compat", event.SyscallKeyctlX, func(t *env) []any {
			r := t.int80(288, 3, ^uintptr(4)&none32)
			return []any{r, 3, keyInt(-5), keyInt(0), keyInt(0), keyInt(0)}
		}},
		{"brk", "compat", event.SyscallBrkV4X, func(t *env) []any {
			t.int80(45, 0)
			at, _ := raw(uintptr(number("brk")), &[6]uintptr{})
			return append(append([]any{at}, sizes(t)...), 0)
		}},
		{"access", "compat", event.SyscallAccessX, func(t *env) []any {
			return []any{t.int80(33, newLow(t).str("/"), unix.R_OK), "/", unix.R_OK}
		}},
		{"setpgid", "compat", event.SyscallSetpgidX, func(t *env) []any {
			return []any{t.int80(57, none32, uintptr(os.Getpid())), -1, os.Getpid()}
		}},
	}
}

func TestCompatID(t *testing.T) { runCases(t, compatIDCases()) }
