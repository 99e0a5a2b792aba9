package probe

import (
	"encoding/binary"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sqe is an entry of a submission queue (include/uapi/linux/io_uring.h). The members are named by what most operations have there.
type sqe struct {
	Op, Flags             uint8
	IOPrio                uint16
	FD                    int32
	Off, Addr             uint64
	Len, OpFlags          uint32
	Data                  uint64
	BufIndex, Personality uint16
	FileIndex             int32
	Addr3, _              uint64
}

type cqe struct {
	Data  uint64
	Res   int32
	Flags uint32
}

// Flags of an entry, and of a ring.
const (
	sqeFixedFile, sqeLink, sqeAsync, sqeSelect, sqeSilent = 1, 4, 16, 32, 64

	setupSQPoll, setupNoSQArray = 2, 1 << 16
	sqNeedWakeup                = 1
	enterGetEvents, enterWakeup = 1, 2
	registerFiles               = 2
)

// ring is an io_uring with its queues.
type ring struct {
	fd         int
	mem, sqes  []byte
	sq, cq     [10]uint32 // offsets
	entries    uint32
	flags      uint32
	submission uint32 // the tail
	poll       bool
}

// newRing makes an io_uring for the case, or skips where there is none.
func newRing(t testing.TB, flags uint32) *ring {
	t.Helper()
	if number("io_uring_setup") < 0 {
		t.Skipf("%s has no io_uring", runtime.GOARCH)
	}
	params := uringParams(0, 0, flags, 0, 1000)
	fd, _, e := unix.RawSyscall(uintptr(number("io_uring_setup")), 16, uintptr(unsafe.Pointer(&params[0])), 0)
	if e == unix.EINVAL && flags&^setupSQPoll != 0 {
		t.Skipf("this kernel has no rings of flags %#x", flags)
	}
	skipWithoutUring(t, e)
	word := func(i int) uint32 { return binary.NativeEndian.Uint32(params[4*i:]) }
	r := &ring{fd: int(fd), entries: word(0), poll: flags&setupSQPoll != 0, flags: flags}
	for i := range r.sq {
		r.sq[i], r.cq[i] = word(10+i), word(20+i)
	}
	const features, singleMmap = 5, 1
	if word(features)&singleMmap == 0 {
		t.Skip("this kernel's rings need two mappings")
	}
	size := max(r.sq[6]+4*r.entries, r.cq[5]+16*word(1))
	var err error
	if r.mem, err = unix.Mmap(r.fd, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE); err != nil {
		t.Fatal(err)
	}
	if r.sqes, err = unix.Mmap(r.fd, 0x10000000, int(64*r.entries), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.close)
	return r
}

// close may be called before the test ends: a ring made in a thread with fds of its own must be closed there.
func (r *ring) close() {
	if r.fd < 0 {
		return
	}
	_ = unix.Munmap(r.mem)
	_ = unix.Munmap(r.sqes)
	_ = unix.Close(r.fd)
	r.fd = -1
}

func (r *ring) word(off uint32) *uint32 { return (*uint32)(unsafe.Pointer(&r.mem[off])) }

// submit hands entries over.
func (r *ring) submit(t testing.TB, entries ...sqe) {
	t.Helper()
	for _, s := range entries {
		i := r.submission & (r.entries - 1)
		*(*sqe)(unsafe.Pointer(&r.sqes[64*i])) = s
		if r.flags&setupNoSQArray == 0 {
			*r.word(r.sq[6] + 4*i) = i
		}
		r.submission++
	}
	atomic.StoreUint32(r.word(r.sq[1]), r.submission)
	if r.poll {
		if atomic.LoadUint32(r.word(r.sq[4]))&sqNeedWakeup != 0 {
			r.enter(t, 0, 0, enterWakeup)
		}
		return
	}
	r.enter(t, uint32(len(entries)), 0, 0)
}

func (r *ring) enter(t testing.TB, submit, wait, flags uint32) {
	t.Helper()
	for {
		_, _, e := unix.Syscall6(uintptr(number("io_uring_enter")), uintptr(r.fd), uintptr(submit), uintptr(wait), uintptr(flags), 0, 0)
		if e == unix.EINTR {
			continue
		}
		if e != 0 {
			t.Errorf("io_uring_enter: %v", e)
		}
		return
	}
}

// next waits for a completion.
func (r *ring) next(t testing.TB) cqe {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		head := atomic.LoadUint32(r.word(r.cq[0]))
		if head != atomic.LoadUint32(r.word(r.cq[1])) {
			mask := *r.word(r.cq[2])
			c := *(*cqe)(unsafe.Pointer(&r.mem[r.cq[5]+16*(head&mask)]))
			atomic.StoreUint32(r.word(r.cq[0]), head+1)
			return c
		}
		r.enter(t, 0, 0, enterGetEvents)
		time.Sleep(100 * time.Microsecond)
	}
	t.Fatal("an operation doesn't come to its end")
	return cqe{}
}

// do makes one operation and returns its result.
func (r *ring) do(t testing.TB, s sqe) int64 {
	t.Helper()
	r.submit(t, s)
	return int64(r.next(t).Res)
}

// buffer makes zeroed memory the ring's registered buffer 0.
func (r *ring) buffer(t *env) uintptr {
	t.Helper()
	page := anonPage(t)
	iov := binary.NativeEndian.AppendUint64(binary.NativeEndian.AppendUint64(nil, ptr(page)), 4096)
	if _, _, e := unix.RawSyscall6(uintptr(number("io_uring_register")), uintptr(r.fd), 0, addr(iov), 1, 0, 0); e != 0 {
		t.Fatal(e)
	}
	return page
}

// register makes fd the ring's registered file 0.
func (r *ring) register(t testing.TB, fd int) {
	t.Helper()
	list := [1]int32{int32(fd)}
	if _, _, e := unix.RawSyscall6(uintptr(number("io_uring_register")), uintptr(r.fd), registerFiles, uintptr(unsafe.Pointer(&list)), 1, 0, 0); e != 0 {
		t.Fatal(e)
	}
}
