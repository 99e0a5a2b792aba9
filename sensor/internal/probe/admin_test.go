package probe

import (
	"encoding/binary"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// What a parameter of keyctl may be: a number or a string, each after the index of its type.
func keyInt(v int64) []byte { return binary.LittleEndian.AppendUint64([]byte{0}, uint64(v)) }
func keyStr(s string) []byte {
	return append(append([]byte{1}, s...), 0)
}

// keyctlCase is one of an operation whose arguments are bad, as most are here without a key; all of them are in the event, or
// as many as the operation has.
func keyctlCase(what string, op uintptr, args []uintptr, want ...any) callCase {
	return callCase{"keyctl", what, event.SyscallKeyctlX, func(t *env) []any {
		r := t.call("keyctl", append([]uintptr{op}, args...)...)
		return append([]any{r, op}, want...)
	}}
}

// keyctlCases has a case for each operation: what of its arguments it has, and which of them are strings.
func keyctlCases() []callCase {
	const bad = 0x7ffffff0 // no key
	n, s := keyInt(bad), []uintptr{bad, bad, bad, bad}
	none := keyInt(0)
	var cases []callCase
	for op, args := range map[string]struct {
		op   uintptr
		want [4]any
	}{
		"keyring id":          {0, [4]any{n, n, none, none}},
		"update":              {2, [4]any{n, n, n, none}},
		"revoke":              {3, [4]any{n, none, none, none}},
		"chown":               {4, [4]any{n, n, n, none}},
		"set permissions":     {5, [4]any{n, n, none, none}},
		"describe":            {6, [4]any{n, n, n, none}},
		"clear":               {7, [4]any{n, none, none, none}},
		"link":                {8, [4]any{n, n, none, none}},
		"unlink":              {9, [4]any{n, n, none, none}},
		"read":                {11, [4]any{n, n, n, none}},
		"instantiate":         {12, [4]any{n, n, n, n}},
		"negate":              {13, [4]any{n, n, n, none}},
		"set default keyring": {14, [4]any{n, none, none, none}},
		"set timeout":         {15, [4]any{n, n, none, none}},
		"assume authority":    {16, [4]any{n, none, none, none}},
		"get security":        {17, [4]any{n, n, n, none}},
		"reject":              {19, [4]any{n, n, n, n}},
		"instantiate pieces":  {20, [4]any{n, n, n, n}},
		"invalidate":          {21, [4]any{n, none, none, none}},
		"get persistent":      {22, [4]any{n, n, none, none}},
		"Diffie-Hellman":      {23, [4]any{n, n, n, n}},
		"move":                {30, [4]any{n, n, n, n}},
		"watch":               {32, [4]any{n, n, n, none}},
		"no such operation":   {33, [4]any{none, none, none, none}},
		"no such, large":      {1 << 31, [4]any{none, none, none, none}},
	} {
		cases = append(cases, keyctlCase(op, args.op, s, args.want[:]...))
	}
	typ, desc, unreadable := str("user"), str("what it is"), []byte{1}
	typ64, desc64 := keyStr("user"), keyStr("what it is")
	cases = append(cases,
		keyctlCase("search", 10, []uintptr{^uintptr(2), typ, desc, 0}, keyInt(-3), typ64, desc64, none),
		keyctlCase("search, bad pointers", 10, []uintptr{bad, 1, 0, 5}, n, unreadable, unreadable, keyInt(5)),
		keyctlCase("restrict", 29, []uintptr{bad, typ, desc, bad}, n, typ64, desc64, none),
		keyctlCase("query", 24, []uintptr{bad, 0, desc, addr(make([]byte, 64))}, n, none, desc64, none),
		keyctlCase("capabilities", 31, []uintptr{addr(make([]byte, 8)), 8, bad, bad}, present{}, keyInt(8), none, none),
		keyctlCase("session to parent", 18, []uintptr{bad, bad}, none, none, none, none),
		keyctlCase("join, bad pointer", 1, []uintptr{1, bad}, unreadable, none, none, none),
		callCase{"keyctl", "join", event.SyscallKeyctlX, func(t *env) []any {
			r := t.call("keyctl", 1, str("a session of the test"), 9) // the thread's, which ends with it
			return []any{r, 1, keyStr("a session of the test"), none, none, none}
		}},
		callCase{"keyctl", "join, long", event.SyscallKeyctlX, func(t *env) []any {
			t.call("keyctl", 1, str(strings.Repeat("k", 5000)))
			t.origin = wasmabi.OriginCut
			return []any{errno(unix.EINVAL), 1, keyStr(strings.Repeat("k", 4094)), none, none, none}
		}},
	)
	for i, what := range []string{"encrypt", "decrypt", "sign", "verify"} {
		p := addr(make([]byte, 64))
		cases = append(cases, keyctlCase(what, uintptr(25+i), []uintptr{p, desc, bad, bad}, keyInt(int64(p)), desc64, n, n))
	}
	return cases
}

// quota commands, include/uapi/linux/quota.h and dqblk_xfs.h: the command, and in the low byte whose quotas.
func quotaCmd(cmd, typ uintptr) uintptr { return cmd<<8 | typ }

// quotactlCase makes a call that fails, on a device that isn't there; want is from quotafilepath on.
func quotactlCase(what string, cmd, id, ptr uintptr, want ...any) callCase {
	return callCase{"quotactl", what, event.SyscallQuotactlX, func(t *env) []any {
		r := t.call("quotactl", cmd, str("/dev/nonexistent"), id, ptr)
		if r >= 0 {
			t.Fatalf("it gives %d", r)
		}
		return append([]any{r, "/dev/nonexistent"}, want...)
	}}
}

// noQuota is what an event has where the command has nothing of it: path, block, info, format.
func noQuota(path any, rest ...any) []any {
	return append([]any{path, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, rest...)
}

func quotactlCases() []callCase {
	const usr, grp = 0, 1
	words := func(valid uint32, v ...uint64) uintptr {
		var b []byte
		for _, x := range v {
			b = binary.NativeEndian.AppendUint64(b, x)
		}
		return addr(append(binary.NativeEndian.AppendUint32(b, valid), 0, 0, 0, 0))
	}
	block := func(valid uint32) uintptr { return words(valid, 11, 12, 13, 14, 15, 16, 17, 18) }
	info := func(flags, valid uint32) uintptr {
		b := binary.NativeEndian.AppendUint64(binary.NativeEndian.AppendUint64(nil, 21), 22)
		return addr(binary.NativeEndian.AppendUint32(binary.NativeEndian.AppendUint32(b, flags), valid))
	}
	cases := []callCase{
		quotactlCase("on, old format", quotaCmd(0x800002, usr), 1, str("/aquota"), noQuota("/aquota", 1, 1, 0, 2)...),
		quotactlCase("on, format 1", quotaCmd(0x800002, grp), 4, str("/aquota"), noQuota("/aquota", 1, 2, 0, 8)...),
		quotactlCase("on, bad pointer", quotaCmd(0x800002, 2), 2, 1, noQuota(missing{}, 1, 0, 0, 4)...),
		quotactlCase("off", quotaCmd(0x800003, usr), 5, str("/aquota"), noQuota(missing{}, 2, 1, 0, 1)...),
		quotactlCase("get format", quotaCmd(0x800004, usr), 5, words(0, 2), missing{}, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 4, 1, 0, 1),
		quotactlCase("get info", quotaCmd(0x800005, usr), 5, info(1, 1|2|4), missing{}, 0, 0, 0, 0, 0, 0, 0, 21, 22, 1, 1, 8, 1, 0, 1),
		quotactlCase("set info, one valid", quotaCmd(0x800006, usr), 5, info(1, 2), missing{}, 0, 0, 0, 0, 0, 0, 0, 0, 22, 0, 1, 16, 1, 0, 1),
		quotactlCase("set info, bad pointer", quotaCmd(0x800006, usr), 5, 1, noQuota(missing{}, 16, 1, 0, 1)...),
		quotactlCase("get quota", quotaCmd(0x800007, usr), 1000, block(63), missing{}, 11, 12, 13, 14, 15, 17, 18, 0, 0, 0, 1, 32, 1, 1000, 1),
		quotactlCase("set limits of blocks", quotaCmd(0x800008, grp), 1001, block(1), missing{}, 11, 12, 0, 0, 0, 0, 0, 0, 0, 0, 1, 64, 2, 1001, 1),
		quotactlCase("set times", quotaCmd(0x800008, grp), 1001, block(16|32), missing{}, 0, 0, 0, 0, 0, 17, 18, 0, 0, 0, 1, 64, 2, 1001, 1),
		quotactlCase("set use and inodes", quotaCmd(0x800008, grp), 1001, block(2|4), missing{}, 0, 0, 13, 14, 15, 0, 0, 0, 0, 0, 1, 64, 2, 1001, 1),
		quotactlCase("sync", quotaCmd(0x800001, grp), 5, 0, noQuota(missing{}, 128, 2, 0, 1)...),
		quotactlCase("XFS on", quotaCmd(0x5801, usr), 5, 0, noQuota(missing{}, 0x100, 1, 0, 1)...),
		quotactlCase("XFS off", quotaCmd(0x5802, usr), 5, 0, noQuota(missing{}, 0x200, 1, 0, 1)...),
		quotactlCase("XFS get", quotaCmd(0x5803, usr), 5, 0, noQuota(missing{}, 0x400, 1, 5, 1)...),
		quotactlCase("XFS set", quotaCmd(0x5804, usr), 6, 0, noQuota(missing{}, 0x800, 1, 6, 1)...),
		quotactlCase("XFS state", quotaCmd(0x5805, usr), 5, 0, noQuota(missing{}, 0x1000, 1, 0, 1)...),
		quotactlCase("XFS remove", quotaCmd(0x5806, usr), 5, 0, noQuota(missing{}, 0x2000, 1, 0, 1)...),
		quotactlCase("XFS sync", quotaCmd(0x5807, usr), 5, 0, noQuota(missing{}, 0x4000, 1, 0, 1)...),
		quotactlCase("no such command", quotaCmd(0x123, 7), 5, 0, noQuota(missing{}, 0, 0, 0, 1)...),
	}
	return append(cases, callCase{"quotactl", "syncs all", event.SyscallQuotactlX, func(t *env) []any {
		r := t.call("quotactl", quotaCmd(0x800001, usr), 0, 0, 0)
		return append([]any{r, missing{}}, noQuota(missing{}, 128, 1, 0, 1)...)
	}})
}

// fsContext opens a file system to be configured.
func fsContext(t *env, name string) uintptr {
	t.Helper()
	fd := t.must("fsopen", str(name), 1 /* FSOPEN_CLOEXEC */)
	t.Cleanup(func() { unix.Close(int(fd)) })
	return uintptr(fd)
}

func fsconfigCases() []callCase {
	return []callCase{
		{"fsconfig", "string", event.SyscallFsconfigX, func(t *env) []any {
			fd := fsContext(t, "tmpfs")
			return []any{t.must("fsconfig", fd, 1, str("size"), str("1m"), 0), fd, 1, "size", missing{}, "1m", 0}
		}},
		{"fsconfig", "flag", event.SyscallFsconfigX, func(t *env) []any {
			fd := fsContext(t, "tmpfs")
			return []any{t.must("fsconfig", fd, 0, str("ro"), 0, 0), fd, 0, "ro", missing{}, missing{}, 0}
		}},
		{"fsconfig", "creates", event.SyscallFsconfigX, func(t *env) []any {
			fd := fsContext(t, "tmpfs")
			return []any{t.must("fsconfig", fd, 6, 0, 0, 0), fd, 6, missing{}, missing{}, missing{}, 0}
		}},
		{"fsconfig", "string fails", event.SyscallFsconfigX, func(t *env) []any {
			fd := fsContext(t, "tmpfs")
			t.call("fsconfig", fd, 1, str("no such key"), str("x"), 0)
			return []any{errno(unix.EINVAL), fd, 1, "no such key", missing{}, missing{}, 0}
		}},
		{"fsconfig", "bad", event.SyscallFsconfigX, func(t *env) []any {
			t.call("fsconfig", badFD, 5, str("fd"), 0, 3)
			return []any{errno(unix.EBADF), badFD, 5, "fd", missing{}, missing{}, 3}
		}},
		{"fsconfig", "fd", event.SyscallFsconfigX, func(t *env) []any {
			fd, d := fsContext(t, "overlay"), dirFD(t, t.TempDir())
			r := t.call("fsconfig", fd, 5, str("lowerdir+"), 0, d) // from 6.13
			return []any{r, fd, 5, "lowerdir+", missing{}, missing{}, d}
		}},
		{"fsconfig", "binary fails", event.SyscallFsconfigX, func(t *env) []any {
			fd := fsContext(t, "tmpfs")
			r := t.call("fsconfig", fd, 2, str("blob"), addr([]byte("blob")), 4)
			if r >= 0 {
				t.Fatal("tmpfs took a blob")
			}
			return []any{r, fd, 2, "blob", missing{}, missing{}, 4}
		}},
		{"fsconfig", "path fails", event.SyscallFsconfigX, func(t *env) []any {
			fd := fsContext(t, "tmpfs")
			r := t.call("fsconfig", fd, 3, str("path"), str("/"), cwd)
			if r >= 0 {
				t.Fatal("tmpfs took a path")
			}
			return []any{r, fd, 3, "path", missing{}, missing{}, unix.AT_FDCWD}
		}},
	}
}

func adminCases() []callCase {
	return []callCase{
		{"delete_module", "no such", event.SyscallDeleteModuleX, func(t *env) []any {
			r := t.call("delete_module", str("shikra_no_such_module"), unix.O_NONBLOCK)
			return []any{r, "shikra_no_such_module", 2}
		}},
		{"delete_module", "by force", event.SyscallDeleteModuleX, func(t *env) []any {
			r := t.call("delete_module", str("shikra_no_such_module"), unix.O_TRUNC|unix.O_NONBLOCK|unix.O_EXCL)
			return []any{r, "shikra_no_such_module", 1 | 2}
		}},
		{"delete_module", "bad pointer", event.SyscallDeleteModuleX, func(t *env) []any {
			r := t.call("delete_module", 1, 0)
			return []any{r, missing{}, 0}
		}},
		{"seccomp", "asks", event.SyscallSeccompX, func(t *env) []any {
			action := addr(binary.NativeEndian.AppendUint32(nil, 0x7fff0000)) // SECCOMP_RET_ALLOW
			r := t.must("seccomp", 2, 0, action)
			return []any{r, 2, 0}
		}},
		{"seccomp", "fails", event.SyscallSeccompX, func(t *env) []any {
			t.call("seccomp", 1, 0xf0000, 0)
			return []any{errno(unix.EINVAL), 1, 0xf0000}
		}},
		{"seccomp", "no such operation", event.SyscallSeccompX, func(t *env) []any {
			t.call("seccomp", 1<<32|99, 0, 0)
			return []any{errno(unix.EINVAL), 99, 0}
		}},
	}
}

func TestKeyctl(t *testing.T)   { runCases(t, keyctlCases()) }
func TestQuotactl(t *testing.T) { runCases(t, quotactlCases()) }
func TestFsconfig(t *testing.T) { runCases(t, fsconfigCases()) }
func TestAdmin(t *testing.T)    { runCases(t, adminCases()) }
