package probe

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

// The event format's mmap flags (mmap_flags in events.txt).
const (
	mShared, mPrivate, mFixed, mAnon, m32Bit, mNoreserve = 1, 2, 4, 8, 0x10, 0x40
	mPopulate, mNonblock, mGrowsdown, mDenywrite         = 0x80, 0x100, 0x200, 0x400
	mExecutable, mLocked                                 = 0x800, 0x4000
)

// sizes are the three parameters that say how much memory the process has: of a Go program there is always some.
func sizes(t *env) []any {
	return []any{check(positive), check(positive), present{}}
}

// mapped is some memory that is the case's own, until it ends.
func mapped(t *env) uintptr {
	t.Helper()
	b, err := unix.Mmap(-1, 0, 4*os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(b) })
	return addr(b)
}

// param wants a record whose parameter i is v: the Go runtime makes such calls of its own.
func param(i int, v uintptr) func(event.Record) bool {
	return func(r event.Record) bool {
		b, ok := r.Param(i)
		got, _ := event.ParamUint64.Int(b)
		return ok && uint64(got) == uint64(v)
	}
}

// mmapCase maps size bytes, which no other case does.
func mmapCase(what string, size, prot, flags uintptr, want ...any) callCase {
	return callCase{"mmap", what, event.SyscallMmapX, func(t *env) []any {
		t.mine = param(5, size)
		at := t.must("mmap", 0, size, prot, flags, ^uintptr(0), 0)
		t.Cleanup(func() { raw(uintptr(number("munmap")), &[6]uintptr{uintptr(at), size}) })
		return append(append([]any{at}, sizes(t)...), append([]any{0, size}, want...)...)
	}}
}

func memoryCases() []callCase {
	page := uintptr(os.Getpagesize())
	return []callCase{
		{"brk", "asks", event.SyscallBrkV4X, func(t *env) []any {
			return append(append([]any{t.call("brk", 0)}, sizes(t)...), 0)
		}},
		{"brk", "grows", event.SyscallBrkV4X, func(t *env) []any {
			at, _ := raw(uintptr(number("brk")), &[6]uintptr{})
			r := t.call("brk", at+page)
			raw(uintptr(number("brk")), &[6]uintptr{at})
			if r != int64(at+page) {
				t.Fatalf("the break is %x, not %x", r, at+page)
			}
			return append(append([]any{r}, sizes(t)...), at+page)
		}},
		{"brk", "can't", event.SyscallBrkV4X, func(t *env) []any {
			return append(append([]any{t.call("brk", 1)}, sizes(t)...), 1)
		}},
		mmapCase("anonymous", 3*page+1, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON, 3, mPrivate|mAnon, -1, 0),
		mmapCase("many flags", 3*page+2, unix.PROT_READ|unix.PROT_EXEC,
			unix.MAP_SHARED|unix.MAP_ANON|unix.MAP_NORESERVE|unix.MAP_POPULATE|unix.MAP_NONBLOCK|unix.MAP_DENYWRITE|unix.MAP_EXECUTABLE,
			5, mShared|mAnon|mNoreserve|mPopulate|mNonblock|mDenywrite|mExecutable, -1, 0),
		mmapCase("stack", 3*page+3, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_GROWSDOWN|unix.MAP_STACK, 0, mPrivate|mAnon|mGrowsdown, -1, 0),
		mmapCase("locked", 3*page+4, unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANON|unix.MAP_LOCKED, 2, mShared|mAnon|mLocked, -1, 0),
		{"mmap", "file at a place", event.SyscallMmapX, func(t *env) []any {
			at := mapped(t)
			fd, err := unix.Open("/proc/self/exe", unix.O_RDONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { unix.Close(fd) })
			r := t.must("mmap", at, page, unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_FIXED, uintptr(fd), page)
			return append(append([]any{r}, sizes(t)...), at, page, 1, mPrivate|mFixed, fd, page)
		}},
		{"mmap", "fails", event.SyscallMmapX, func(t *env) []any {
			t.call("mmap", 0, page, unix.PROT_READ|unix.PROT_GROWSUP, unix.MAP_SHARED, badFD, 0)
			return append(append([]any{errno(unix.EBADF)}, sizes(t)...), 0, page, 1|0x20, mShared, badFD, 0)
		}},
		{"munmap", "ok", event.SyscallMunmapX, func(t *env) []any {
			at := mapped(t)
			t.mine = param(4, at)
			return append(append([]any{t.must("munmap", at, 2*page)}, sizes(t)...), at, 2*page)
		}},
		{"munmap", "fails", event.SyscallMunmapX, func(t *env) []any {
			t.mine = param(4, 1)
			t.call("munmap", 1, page)
			return append(append([]any{errno(unix.EINVAL)}, sizes(t)...), 1, page)
		}},
		{"mprotect", "ok", event.SyscallMprotectX, func(t *env) []any {
			at := mapped(t)
			t.mine = param(1, at)
			r := t.must("mprotect", at, 2*page, unix.PROT_READ|unix.PROT_WRITE|unix.PROT_EXEC)
			return []any{r, at, 2 * page, 7}
		}},
		{"mprotect", "fails", event.SyscallMprotectX, func(t *env) []any {
			t.call("mprotect", 0x1000, page, unix.PROT_GROWSDOWN|unix.PROT_GROWSUP|8)
			return []any{errno(unix.EINVAL), 0x1000, page, 0x10 | 0x20 | 8}
		}},

		{"mlock", "ok", event.SyscallMlockX, func(t *env) []any {
			at := mapped(t)
			return []any{t.must("mlock", at, page), at, page}
		}},
		{"mlock", "fails", event.SyscallMlockX, func(t *env) []any {
			t.call("mlock", page, page)
			return []any{errno(unix.ENOMEM), page, page}
		}},
		{"mlock2", "on fault", event.SyscallMlock2X, func(t *env) []any {
			at := mapped(t)
			return []any{t.must("mlock2", at, page, unix.MLOCK_ONFAULT), at, page, 1}
		}},
		{"mlock2", "plain", event.SyscallMlock2X, func(t *env) []any {
			at := mapped(t)
			return []any{t.must("mlock2", at, page, 0), at, page, 0}
		}},
		{"mlock2", "fails", event.SyscallMlock2X, func(t *env) []any {
			t.call("mlock2", page, page, 0x66)
			return []any{errno(unix.EINVAL), page, page, 0}
		}},
		{"munlock", "ok", event.SyscallMunlockX, func(t *env) []any {
			at := mapped(t)
			return []any{t.must("munlock", at, page), at, page}
		}},
		{"munlock", "fails", event.SyscallMunlockX, func(t *env) []any {
			t.call("munlock", page, page)
			return []any{errno(unix.ENOMEM), page, page}
		}},
		{"mlockall", "later, on fault", event.SyscallMlockallX, func(t *env) []any {
			// Of MCL_CURRENT this process would have too much. What is mapped until the call is undone is locked when touched.
			r := t.must("mlockall", unix.MCL_FUTURE|unix.MCL_ONFAULT)
			raw(uintptr(number("munlockall")), &[6]uintptr{})
			return []any{r, 2 | 4}
		}},
		{"mlockall", "fails", event.SyscallMlockallX, func(t *env) []any {
			t.call("mlockall", unix.MCL_CURRENT|0x100)
			return []any{errno(unix.EINVAL), 1}
		}},
		{"munlockall", "ok", event.SyscallMunlockallX, func(t *env) []any {
			return []any{t.must("munlockall")}
		}},

		{"memfd_create", "ok", event.SyscallMemfdCreateX, func(t *env) []any {
			fd := closing(t, t.call("memfd_create", str("hidden"), unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING))
			return []any{fd, "hidden", 3}
		}},
		{"memfd_create", "fails", event.SyscallMemfdCreateX, func(t *env) []any {
			t.call("memfd_create", 1, unix.MFD_CLOEXEC)
			return []any{errno(unix.EFAULT), missing{}, 1}
		}},
		{"userfaultfd", "ok", event.SyscallUserfaultfdX, func(t *env) []any {
			return []any{closing(t, t.call("userfaultfd", unix.O_CLOEXEC|unix.O_NONBLOCK)), fCloexec | fNonblock}
		}},
		{"userfaultfd", "fails", event.SyscallUserfaultfdX, func(t *env) []any {
			r := t.call("userfaultfd", unix.O_CLOEXEC|0x40)
			return []any{r, fCloexec}
		}},
	}
}

func TestMemory(t *testing.T) { runCases(t, memoryCases()) }
