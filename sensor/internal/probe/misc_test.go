package probe

import (
	"bytes"
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// dyn64 and dynSig are values of a parameter of more than one type: its index and the value.
func dyn64(v uint64) []byte { return binary.LittleEndian.AppendUint64([]byte{0}, v) }
func dynSig(v byte) []byte  { return []byte{1, v} }

// traced starts a child that sleeps, attaches to it when attach is set, and ends it with the case.
func traced(t *env, attach bool) int {
	t.Helper()
	pid := forkChild(t, sleeps())
	t.Cleanup(func() {
		unix.Kill(pid, unix.SIGKILL)
		unix.Wait4(pid, nil, 0, nil)
	})
	if attach {
		if err := unix.PtraceAttach(pid); err != nil {
			t.Fatal(err)
		}
		if _, err := unix.Wait4(pid, nil, 0, nil); err != nil {
			t.Fatal(err)
		}
	}
	return pid
}

func miscCases() []callCase {
	return []callCase{
		{"kill", "no signal", event.SyscallKillX, func(t *env) []any {
			pid := unix.Getpid()
			return []any{t.must("kill", uintptr(pid), 0), pid, 0}
		}},
		{"kill", "group that isn't there", event.SyscallKillX, func(t *env) []any {
			t.call("kill", ^uintptr(1<<22-1), 9)
			return []any{errno(unix.ESRCH), -(1 << 22), 9}
		}},
		{"tkill", "ok", event.SyscallTkillX, func(t *env) []any {
			return []any{t.must("tkill", uintptr(t.tid), 0), t.tid, 0}
		}},
		{"tkill", "bad", event.SyscallTkillX, func(t *env) []any {
			t.call("tkill", ^uintptr(0), 15)
			return []any{errno(unix.EINVAL), -1, 15}
		}},
		{"tgkill", "ok", event.SyscallTgkillX, func(t *env) []any {
			pid := unix.Getpid()
			return []any{t.must("tgkill", uintptr(pid), uintptr(t.tid), 0), pid, t.tid, 0}
		}},
		{"tgkill", "bad", event.SyscallTgkillX, func(t *env) []any {
			t.call("tgkill", 1, ^uintptr(1), 11)
			return []any{errno(unix.EINVAL), 1, -2, 11}
		}},

		{"prctl", "set name", event.SyscallPrctlX, func(t *env) []any {
			return []any{t.must("prctl", unix.PR_SET_NAME, str("name of thread")), unix.PR_SET_NAME, "name of thread", 0}
		}},
		{"prctl", "get name", event.SyscallPrctlX, func(t *env) []any {
			t.must("prctl", unix.PR_SET_NAME, str("named"))
			b := make([]byte, 16)
			return []any{t.must("prctl", unix.PR_GET_NAME, addr(b)), unix.PR_GET_NAME, "named", 0}
		}},
		{"prctl", "get subreaper", event.SyscallPrctlX, func(t *env) []any {
			b := make([]byte, 4)
			r := t.must("prctl", unix.PR_GET_CHILD_SUBREAPER, addr(b))
			return []any{r, unix.PR_GET_CHILD_SUBREAPER, missing{}, binary.NativeEndian.Uint32(b)}
		}},
		{"prctl", "number", event.SyscallPrctlX, func(t *env) []any {
			return []any{t.must("prctl", unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), unix.PR_SET_NO_NEW_PRIVS, missing{}, 1}
		}},
		{"prctl", "fails", event.SyscallPrctlX, func(t *env) []any {
			t.call("prctl", 123456, ^uintptr(0))
			return []any{errno(unix.EINVAL), 123456, missing{}, -1}
		}},

		{"ptrace", "attach", event.SyscallPtraceX, func(t *env) []any {
			pid := traced(t, false)
			r := t.must("ptrace", unix.PTRACE_ATTACH, uintptr(pid), 0, 0)
			unix.Wait4(pid, nil, 0, nil)
			return []any{r, dyn64(0), dyn64(0), 11, pid}
		}},
		{"ptrace", "seize", event.SyscallPtraceX, func(t *env) []any {
			pid := traced(t, false)
			r := t.must("ptrace", unix.PTRACE_SEIZE, uintptr(pid), 0, unix.PTRACE_O_TRACESYSGOOD)
			return []any{r, dyn64(0), dyn64(unix.PTRACE_O_TRACESYSGOOD), 20, pid}
		}},
		{"ptrace", "peek", event.SyscallPtraceX, func(t *env) []any {
			at := str("peekpeek peek") // before the child, which gets a copy of it
			pid := traced(t, true)
			got := make([]byte, 8)
			r := t.must("ptrace", unix.PTRACE_PEEKDATA, uintptr(pid), at, addr(got))
			return []any{r, dyn64(uint64(at)), append([]byte{0}, "peekpeek"...), 3, pid}
		}},
		{"ptrace", "poke", event.SyscallPtraceX, func(t *env) []any {
			at := str("pokepoke poke") // before the child, which gets a copy of it
			pid := traced(t, true)
			r := t.must("ptrace", unix.PTRACE_POKEDATA, uintptr(pid), at, 0x11223344)
			return []any{r, dyn64(uint64(at)), dyn64(0x11223344), 6, pid}
		}},
		{"ptrace", "continue", event.SyscallPtraceX, func(t *env) []any {
			pid := traced(t, true)
			r := t.must("ptrace", unix.PTRACE_CONT, uintptr(pid), 0, uintptr(unix.SIGWINCH))
			return []any{r, dyn64(0), dynSig(byte(unix.SIGWINCH)), 8, pid}
		}},
		{"ptrace", "detach", event.SyscallPtraceX, func(t *env) []any {
			pid := traced(t, true)
			return []any{t.must("ptrace", unix.PTRACE_DETACH, uintptr(pid), 1, 0), dyn64(1), dynSig(0), 12, pid}
		}},
		{"ptrace", "fails", event.SyscallPtraceX, func(t *env) []any {
			t.call("ptrace", unix.PTRACE_ATTACH, 1<<22+1, 5, 6)
			return []any{errno(unix.ESRCH), dyn64(0), dyn64(0), 11, 1<<22 + 1}
		}},
		{"ptrace", "unknown", event.SyscallPtraceX, func(t *env) []any {
			r := t.call("ptrace", 0x7777, ^uintptr(0), 5, 6)
			return []any{r, dyn64(0), dyn64(0), 0, -1}
		}},

		{"init_module", "no module", event.SyscallInitModuleX, func(t *env) []any {
			img := []byte("this is no module")
			r := t.call("init_module", addr(img), uintptr(len(img)), str("a=1 b"))
			return []any{r, img, len(img), "a=1 b"}
		}},
		{"init_module", "large", event.SyscallInitModuleX, func(t *env) []any {
			img := bytes.Repeat([]byte("x"), 10000)
			r := t.call("init_module", addr(img), 10000, str(""))
			t.origin = wasmabi.OriginCut
			return []any{r, img[:4096], 10000, ""}
		}},
		{"finit_module", "bad", event.SyscallFinitModuleX, func(t *env) []any {
			r := t.call("finit_module", badFD, str("x=y"), unix.MODULE_INIT_IGNORE_MODVERSIONS|unix.MODULE_INIT_IGNORE_VERMAGIC)
			return []any{r, badFD, "x=y", 3}
		}},
		{"bpf", "makes a map", event.SyscallBpfV2X, func(t *env) []any {
			attr := make([]byte, 64)
			binary.NativeEndian.PutUint32(attr[0:], 2) // array
			binary.NativeEndian.PutUint32(attr[4:], 4)
			binary.NativeEndian.PutUint32(attr[8:], 8)
			binary.NativeEndian.PutUint32(attr[12:], 1)
			return []any{closing(t, t.call("bpf", unix.BPF_MAP_CREATE, addr(attr), 64)), 0, objectMap, present{}}
		}},
		{"bpf", "fails", event.SyscallBpfV2X, func(t *env) []any {
			t.call("bpf", 12345, addr(make([]byte, 64)), 64)
			return []any{errno(unix.EINVAL), 12345, missing{}, missing{}}
		}},
		{"getppid", "has no program of its own", event.GenericX, func(t *env) []any {
			r := t.call("getppid", 1, 2, 3, 4, 5, 1<<63)
			return []any{codeOf(t, "getppid"), t.nr, t.nr, r, 1, 2, 3, 4, 5, uint64(1 << 63)}
		}},
	}
}

func TestMisc(t *testing.T) { runCases(t, miscCases()) }
