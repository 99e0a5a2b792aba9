package probe

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

// The event format's clone flags (clone_flags in events.txt).
const (
	clFiles, clFS, clIO, clNewIPC, clNewNet, clNewNS, clNewPID, clNewUTS = 1, 2, 4, 8, 0x10, 0x20, 0x40, 0x80
	clSighand, clThread, clVM, clNewUser, clVfork, clNewCgroup           = 0x800, 0x2000, 0x8000, 0x100000, 0x8000000, 0x10000000
	clParentSettid, clSysvsem, clSettls, clChildCleartid                 = 0x200, 0x1000, 0x2000000, 0x800000
)

// setID is a case of a call that changes ids of the thread only, as raw ones do.
func setID(name, what string, typ event.Type, res int64, args ...uintptr) callCase {
	return callCase{name, what, typ, func(t *env) []any {
		if r := t.call(name, args...); r != res {
			t.Fatalf("%s gives %d, not %d", name, r, res)
		}
		want := []any{res}
		for _, a := range args {
			want = append(want, a)
		}
		return want
	}}
}

func credCases() []callCase {
	none := ^uintptr(0)
	return []callCase{
		setID("setuid", "ok", event.SyscallSetuidX, 0, 1000),
		setID("setuid", "invalid", event.SyscallSetuidX, errno(unix.EINVAL), none),
		setID("setgid", "ok", event.SyscallSetgidX, 0, 1001),
		setID("setreuid", "ok", event.SyscallSetreuidX, 0, none, 1002),
		setID("setregid", "ok", event.SyscallSetregidX, 0, 1003, none),
		setID("setresuid", "ok", event.SyscallSetresuidX, 0, none, 1004, none),
		setID("setresgid", "ok", event.SyscallSetresgidX, 0, 1005, 1006, 1007),
		{"setresuid", "not allowed", event.SyscallSetresuidX, func(t *env) []any {
			t.must("setuid", 1000)
			t.call("setresuid", 1, 2, 3)
			return []any{errno(unix.EPERM), 1, 2, 3}
		}},
		{"setns", "uts", event.SyscallSetnsX, func(t *env) []any {
			fd, err := unix.Open("/proc/thread-self/ns/uts", unix.O_RDONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			return []any{t.must("setns", uintptr(fd), unix.CLONE_NEWUTS), fd, clNewUTS}
		}},
		{"setns", "bad", event.SyscallSetnsX, func(t *env) []any {
			t.call("setns", badFD, unix.CLONE_NEWNET)
			return []any{errno(unix.EBADF), badFD, clNewNet}
		}},
		{"unshare", "ok", event.SyscallUnshareX, func(t *env) []any {
			return []any{t.must("unshare", unix.CLONE_NEWNS|unix.CLONE_NEWUTS|unix.CLONE_NEWIPC|unix.CLONE_FS|unix.CLONE_FILES),
				clNewNS | clNewUTS | clNewIPC | clFS | clFiles}
		}},
		{"unshare", "every namespace", event.SyscallUnshareX, func(t *env) []any {
			t.call("unshare", unix.CLONE_NEWUSER|unix.CLONE_NEWCGROUP|unix.CLONE_NEWPID|unix.CLONE_NEWNET|unix.CLONE_IO|unix.CLONE_SIGHAND)
			return []any{errno(unix.EINVAL), clNewUser | clNewCgroup | clNewPID | clNewNet | clIO | clSighand}
		}},
		{"capset", "drops", event.SyscallCapsetX, func(t *env) []any {
			head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
			var data [2]unix.CapUserData
			if err := unix.Capget(&head, &data[0]); err != nil {
				t.Fatal(err)
			}
			data[0].Inheritable = 1 << unix.CAP_CHOWN
			data[0].Effective &^= 1 << unix.CAP_NET_RAW
			t.must("capset", uintptr(unsafe.Pointer(&head)), uintptr(unsafe.Pointer(&data[0])))
			join := func(lo, hi uint32) uint64 { return uint64(hi)<<32 | uint64(lo) }
			return []any{0, join(data[0].Inheritable, data[1].Inheritable), join(data[0].Permitted, data[1].Permitted),
				join(data[0].Effective, data[1].Effective)}
		}},
		{"capset", "fails", event.SyscallCapsetX, func(t *env) []any {
			head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
			var data [2]unix.CapUserData
			if err := unix.Capget(&head, &data[0]); err != nil {
				t.Fatal(err)
			}
			t.call("capset", 1, 1)
			join := func(lo, hi uint32) uint64 { return uint64(hi)<<32 | uint64(lo) }
			return []any{errno(unix.EFAULT), join(data[0].Inheritable, data[1].Inheritable), join(data[0].Permitted, data[1].Permitted),
				join(data[0].Effective, data[1].Effective)}
		}},
	}
}

func TestCred(t *testing.T) { runCases(t, credCases()) }
