package probe

import (
	"encoding/binary"
	"slices"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

// limits is a struct rlimit in memory, which is what prlimit64 takes on every architecture.
func limits(cur, max uint64) uintptr {
	return addr(binary.NativeEndian.AppendUint64(binary.NativeEndian.AppendUint64(nil, cur), max))
}

// limitOf is what the process has now.
func limitOf(t *env, resource int) unix.Rlimit {
	t.Helper()
	var l unix.Rlimit
	if err := unix.Prlimit(0, resource, nil, &l); err != nil {
		t.Fatal(err)
	}
	return l
}

const unlimited = ^uint64(0)

func limitCases() []callCase {
	return []callCase{
		{"getrlimit", "ok", event.SyscallGetrlimitX, func(t *env) []any {
			want, b := limitOf(t, unix.RLIMIT_NOFILE), limits(0, 0)
			return []any{t.must("getrlimit", unix.RLIMIT_NOFILE, b), want.Cur, want.Max, 7}
		}},
		{"getrlimit", "bad pointer", event.SyscallGetrlimitX, func(t *env) []any {
			t.call("getrlimit", unix.RLIMIT_STACK, 1)
			return []any{errno(unix.EFAULT), -1, -1, 3}
		}},
		{"getrlimit", "no such", event.SyscallGetrlimitX, func(t *env) []any {
			t.call("getrlimit", 99, limits(0, 0))
			return []any{errno(unix.EINVAL), -1, -1, 0xff}
		}},
		{"setrlimit", "as it is", event.SyscallSetrlimitX, func(t *env) []any {
			l := limitOf(t, unix.RLIMIT_CORE)
			return []any{t.must("setrlimit", unix.RLIMIT_CORE, limits(l.Cur, l.Max)), l.Cur, l.Max, 4}
		}},
		{"setrlimit", "fails", event.SyscallSetrlimitX, func(t *env) []any {
			t.call("setrlimit", unix.RLIMIT_NPROC, limits(20, 10))
			return []any{errno(unix.EINVAL), 20, 10, 6}
		}},
		{"setrlimit", "bad pointer", event.SyscallSetrlimitX, func(t *env) []any {
			t.call("setrlimit", unix.RLIMIT_RTTIME, 1)
			return []any{errno(unix.EFAULT), 0, 0, 15}
		}},
		{"prlimit64", "gets", event.SyscallPrlimitX, func(t *env) []any {
			l, b := limitOf(t, unix.RLIMIT_NOFILE), limits(0, 0)
			return []any{t.must("prlimit64", 0, unix.RLIMIT_NOFILE, 0, b), 0, 0, l.Cur, l.Max, 0, 7, 0}
		}},
		{"prlimit64", "sets another's", event.SyscallPrlimitX, func(t *env) []any {
			pid := traced(t, false)
			l := limitOf(t, unix.RLIMIT_SIGPENDING)
			r := t.must("prlimit64", uintptr(pid), unix.RLIMIT_SIGPENDING, limits(5, l.Max), limits(0, 0))
			return []any{r, 5, l.Max, l.Cur, l.Max, pid, 11, 1}
		}},
		{"prlimit64", "sets without asking", event.SyscallPrlimitX, func(t *env) []any {
			pid := traced(t, false)
			return []any{t.must("prlimit64", uintptr(pid), unix.RLIMIT_AS, limits(unlimited, unlimited), 0), -1, -1, 0, 0, pid, 9, 1}
		}},
		{"prlimit64", "sets to nothing", event.SyscallPrlimitX, func(t *env) []any {
			pid := traced(t, false)
			return []any{t.must("prlimit64", uintptr(pid), unix.RLIMIT_CORE, limits(0, 0), 0), 0, 0, 0, 0, pid, 4, 1}
		}},
		{"prlimit64", "fails", event.SyscallPrlimitX, func(t *env) []any {
			t.call("prlimit64", ^uintptr(1), unix.RLIMIT_FSIZE, limits(3, 4), limits(0, 0))
			return []any{errno(unix.ESRCH), 3, 4, -1, -1, -2, 1, 1}
		}},
		{"prlimit64", "no such", event.SyscallPrlimitX, func(t *env) []any {
			t.call("prlimit64", 0, 16, 0, 0)
			return []any{errno(unix.EINVAL), 0, 0, -1, -1, 0, 0xff, 0}
		}},

		{"nanosleep", "ok", event.SyscallNanosleepX, func(t *env) []any {
			t.mine = param(1, 1003) // the Go runtime sleeps too
			ts := unix.Timespec{Nsec: 1003}
			return []any{t.must("nanosleep", uintptr(unsafe.Pointer(&ts)), 0), 1003}
		}},
		{"nanosleep", "fails", event.SyscallNanosleepX, func(t *env) []any {
			t.mine = param(1, 3000000000+2000000000)
			ts := unix.Timespec{Sec: 3, Nsec: 2000000000}
			t.call("nanosleep", uintptr(unsafe.Pointer(&ts)), 0)
			return []any{errno(unix.EINVAL), 5000000000}
		}},
		{"nanosleep", "bad pointer", event.SyscallNanosleepX, func(t *env) []any {
			t.mine = param(1, 0)
			t.call("nanosleep", 1, 0)
			return []any{errno(unix.EFAULT), 0}
		}},

		{"setpgid", "of a child", event.SyscallSetpgidX, func(t *env) []any {
			pid := traced(t, false)
			return []any{t.must("setpgid", uintptr(pid), uintptr(pid)), pid, pid}
		}},
		{"setpgid", "of itself", event.SyscallSetpgidX, func(t *env) []any {
			pgid := unix.Getpgrp()
			r := t.call("setpgid", 0, uintptr(pgid)) // not allowed to the leader of a session
			return []any{r, 0, pgid}
		}},
		{"setpgid", "fails", event.SyscallSetpgidX, func(t *env) []any {
			t.call("setpgid", 0, ^uintptr(4))
			return []any{errno(unix.EINVAL), 0, -5}
		}},
		{"setsid", "ok", event.SyscallSetsidX, func(t *env) []any {
			return []any{setsids(t, 1)}
		}},
		{"setsid", "fails", event.SyscallSetsidX, func(t *env) []any {
			setsids(t, 2)
			return []any{errno(unix.EPERM)}
		}},
	}
}

func TestLimit(t *testing.T) { runCases(t, limitCases()) }

// setsids makes a child that calls setsid n times, and returns its id: this process stays in its own session.
func setsids(t *env, n int) int {
	t.Helper()
	nr := number("setsid")
	t.watched(func() {
		t.tid = forkChild(t, slices.Repeat([]rawCall{{nr: nr}}, n))
		unix.Wait4(t.tid, nil, 0, nil)
	})
	t.made, t.nr = n, uint32(nr)
	return t.tid
}
