package probe

import (
	"encoding/binary"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

// include/uapi/linux/ipc.h, sem.h
const (
	ipcCreat, ipcExcl, ipcNowait, semUndo = 0o1000, 0o2000, 0o4000, 0x1000
	ipcRmid, ipcSet, ipcStat, ipcInfo     = 0, 1, 2, 3
	semGetpid, semGetval, semGetall       = 11, 12, 13
	semGetncnt, semGetzcnt, semSetval     = 14, 15, 16
	semSetall, semStat, semInfo           = 17, 18, 19
)

// semaphores makes a set of two until the case ends.
func semaphores(t *env) uintptr {
	t.Helper()
	id := t.must("semget", 0, 2, ipcCreat|0o600)
	t.Cleanup(func() { raw(uintptr(number("semctl")), &[6]uintptr{uintptr(id), 0, ipcRmid}) })
	return uintptr(id)
}

// operations are struct sembuf in memory, three numbers each.
func operations(v ...int16) uintptr {
	var b []byte
	for _, x := range v {
		b = binary.NativeEndian.AppendUint16(b, uint16(x))
	}
	return addr(b)
}

// semctlCase is one of a command on a set of two; want is the format's command.
func semctlCase(what string, num, cmd uintptr, arg func() uintptr, want, val int) callCase {
	return callCase{"semctl", what, event.SyscallSemctlX, func(t *env) []any {
		id := semaphores(t)
		return []any{t.must("semctl", id, num, cmd, arg()), id, num, want, val}
	}}
}

func semaphoreCases() []callCase {
	none := func() uintptr { return 0 }
	buf := func() uintptr { return addr(make([]byte, 256)) }
	return []callCase{
		{"semget", "makes", event.SyscallSemgetX, func(t *env) []any {
			id := t.must("semget", 0, 3, ipcCreat|ipcExcl|0o600)
			t.Cleanup(func() { raw(uintptr(number("semctl")), &[6]uintptr{uintptr(id), 0, ipcRmid}) })
			return []any{id, 0, 3, 0x2000 | 0x4000}
		}},
		{"semget", "fails", event.SyscallSemgetX, func(t *env) []any {
			t.call("semget", 0, ^uintptr(6), 0)
			return []any{errno(unix.EINVAL), 0, -7, 0}
		}},
		{"semget", "no such", event.SyscallSemgetX, func(t *env) []any {
			t.call("semget", 0xfe5a1234, 1, 0)
			return []any{errno(unix.ENOENT), int64(int32(-0x1a5edcc)), 1, 0}
		}},
		{"semop", "one", event.SyscallSemopX, func(t *env) []any {
			id := semaphores(t)
			return []any{t.must("semop", id, operations(1, 5, ipcNowait|semUndo), 1), 1, 1, 5, 1 | 2, 0, 0, 0, id}
		}},
		{"semop", "two", event.SyscallSemopX, func(t *env) []any {
			id := semaphores(t)
			t.must("semctl", id, 1, semSetval, 4)
			return []any{t.must("semop", id, operations(0, 2, semUndo, 1, -3, ipcNowait), 2), 2, 0, 2, 2, 1, -3, 1, id}
		}},
		{"semop", "three", event.SyscallSemopX, func(t *env) []any {
			id := semaphores(t)
			return []any{t.must("semop", id, operations(0, 1, 0, 1, 1, 0, 0, 1, 0), 3), 3, 0, 1, 0, 1, 1, 0, id}
		}},
		{"semop", "fails", event.SyscallSemopX, func(t *env) []any {
			t.call("semop", ^uintptr(0), operations(1, 1, ipcNowait), 1)
			return []any{errno(unix.EINVAL), 1, 0, 0, 0, 0, 0, 0, -1}
		}},
		{"semop", "bad pointer", event.SyscallSemopX, func(t *env) []any {
			id := semaphores(t)
			t.call("semop", id, 1, 2)
			return []any{errno(unix.EFAULT), 2, 0, 0, 0, 0, 0, 0, id}
		}},
		semctlCase("set value", 1, semSetval, func() uintptr { return 77 }, 0x1000, 77),
		semctlCase("get value", 1, semGetval, none, 0x200, 0),
		semctlCase("get pid", 0, semGetpid, none, 0x100, 0),
		semctlCase("get ncnt", 0, semGetncnt, none, 0x80, 0),
		semctlCase("get zcnt", 0, semGetzcnt, none, 0x400, 0),
		semctlCase("get all", 0, semGetall, buf, 0x40, 0),
		semctlCase("set all", 0, semSetall, buf, 0x800, 0),
		semctlCase("stat", 0, ipcStat, buf, 0x1, 0),
		semctlCase("info", 0, ipcInfo, buf, 0x8, 0),
		semctlCase("sem info", 0, semInfo, buf, 0x10, 0),
		{"semctl", "removes", event.SyscallSemctlX, func(t *env) []any {
			id := t.must("semget", 0, 1, ipcCreat|0o600)
			return []any{t.must("semctl", uintptr(id), 0, ipcRmid), id, 0, 0x4, 0}
		}},
		{"semctl", "set fails", event.SyscallSemctlX, func(t *env) []any {
			t.call("semctl", ^uintptr(0), 3, ipcSet, buf())
			return []any{errno(unix.EINVAL), -1, 3, 0x2, 0}
		}},
		{"semctl", "stat by index fails", event.SyscallSemctlX, func(t *env) []any {
			t.call("semctl", ^uintptr(0), 3, semStat, buf())
			return []any{errno(unix.EINVAL), -1, 3, 0x20, 0}
		}},
		{"semctl", "no such command", event.SyscallSemctlX, func(t *env) []any {
			t.call("semctl", semaphores(t), 0, 99)
			return []any{errno(unix.EINVAL), present{}, 0, 0, 0}
		}},
	}
}

// futexCase makes a call on a word of its own, by whose address its event is known: the Go runtime makes others. The word is 7.
func futexCase(what string, op, val uintptr, want int, res int64) callCase {
	return callCase{"futex", what, event.SyscallFutexX, func(t *env) []any {
		word := addr(binary.NativeEndian.AppendUint32(nil, 7))
		t.mine = param(1, word)
		ts, timeout := unix.Timespec{Nsec: 1000}, uintptr(0)
		if cmd := op & 0x7f; cmd == 0 || cmd == 9 { // of the others it would be a number
			timeout = uintptr(unsafe.Pointer(&ts))
		}
		r := t.call("futex", word, op, val, timeout, addr(make([]byte, 4)), 1)
		for i := 0; i < 20 && r == errno(unix.EINTR) && r != res; i++ { // the runtime's signals come at any time; the last event counts
			r = t.call("futex", word, op, val, timeout, addr(make([]byte, 4)), 1)
		}
		if r != res {
			t.Fatalf("%s gives %d, not %d", what, r, res)
		}
		return []any{res, word, want, val}
	}}
}

func futexCases() []callCase {
	const private, realtime = 0x80, 0x100
	return []callCase{
		futexCase("wait", 0, 6, 0, errno(unix.EAGAIN)),
		futexCase("wait, private", private, 7, private, errno(unix.ETIMEDOUT)),
		futexCase("wake, private", 1|private, 1, 1|private, 0),
		futexCase("wake", 1, ^uintptr(0)>>33, 1, 0),
		futexCase("requeue", 3|private, 1, 3|private, 0),
		futexCase("wake by bits, realtime", 10|private|realtime, 1, 10|private|realtime, errno(unix.ENOSYS)),
		futexCase("wait for bits, realtime", 9|private|realtime, 6, 9|private|realtime, errno(unix.EAGAIN)),
		futexCase("no such operation", 99|private, 5, private, errno(unix.ENOSYS)),
		{"futex", "bad pointer", event.SyscallFutexX, func(t *env) []any {
			t.mine = param(1, 1)
			t.call("futex", 1, 1, 3)
			return []any{errno(unix.EINVAL), 1, 1, 3}
		}},
	}
}

func TestSemaphores(t *testing.T) { runCases(t, semaphoreCases()) }

func TestFutex(t *testing.T) { runCases(t, futexCases()) }
