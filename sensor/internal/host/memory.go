package host

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/tetratelabs/wazero/experimental"
	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/wasmabi"
)

// reservation is the linear memory of one instance: one range of addresses for the most it can grow to, of which the
// front is readable and writable. So it never moves, growing is one mprotect, and parts of files can be mapped over it.
// It implements experimental.LinearMemory.
//
// INVARIANT: everything under the length that the engine knows is mapped readable and writable: the engine checks
// bounds by that length, and a fault inside it would kill the process.
type reservation struct {
	base unsafe.Pointer // nil after Free; not Go memory
	size uintptr        // bytes reserved
	rw   uintptr        // bytes from base that are readable and writable
	maps []mapping      // what is mapped over it
}

type mapping struct{ off, size uintptr }

func reserve(size uint64) (*reservation, error) {
	if size == 0 || size > 1<<32-wasmabi.WindowAlign || uint64(uintptr(size)) != size {
		return nil, fmt.Errorf("reserve %d bytes of memory: out of range", size)
	}
	p, err := unix.MmapPtr(-1, 0, nil, uintptr(size), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("reserve %d bytes of memory: %w", size, err)
	}
	return &reservation{base: p, size: uintptr(size)}, nil
}

// Reallocate makes the first size bytes usable and returns them, or nil when that is more than was reserved.
func (r *reservation) Reallocate(size uint64) []byte {
	if r.base == nil || size > uint64(r.size) {
		return nil
	}
	if n := uintptr(size); n > r.rw {
		if err := unix.Mprotect(unsafe.Slice((*byte)(unsafe.Add(r.base, r.rw)), n-r.rw), unix.PROT_READ|unix.PROT_WRITE); err != nil {
			return nil
		}
		r.rw = n
	}
	return unsafe.Slice((*byte)(r.base), int(size))
}

// Free unmaps everything. The engine calls it when the instance is closed, which happens between calls only.
func (r *reservation) Free() {
	if r.base == nil {
		return
	}
	// The range was made by this mapping, so it can only fail for want of kernel memory; then it stays reserved.
	_ = unix.MunmapPtr(r.base, r.size)
	r.base, r.rw, r.maps = nil, 0, nil
}

// bytes returns n bytes at off as a view that is valid until Free; off+n must be usable.
func (r *reservation) bytes(off, n uintptr) []byte {
	return unsafe.Slice((*byte)(unsafe.Add(r.base, off)), int(n))
}

// mapFile maps the first size bytes of fd copy-on-write at off. Both must be multiples of wasmabi.WindowAlign and
// inside what is usable. What the guest hasn't written shows the file as it is; a page that it writes becomes its own.
func (r *reservation) mapFile(fd int, off, size uintptr) error {
	if r.base == nil || off%wasmabi.WindowAlign != 0 || size%wasmabi.WindowAlign != 0 || size > r.rw || off > r.rw-size {
		return errors.New("segment outside the memory")
	}
	p := unsafe.Add(r.base, off)
	// Read-only would be wrong: a guest's store to it would kill the process. MAP_POPULATE too: it copies every page.
	q, err := unix.MmapPtr(fd, 0, p, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_FIXED|unix.MAP_NORESERVE)
	if err != nil {
		return err
	}
	if q != p {
		return errors.New("the kernel mapped it elsewhere")
	}
	r.maps = append(r.maps, mapping{off, size})
	r.populate(fd, off, size)
	return nil
}

// populate maps the pages that the file has, so that the first events don't pay for page faults. Pages it doesn't have
// yet are left alone: reading a hole would allocate it. It is an optimisation, so what fails is let be.
func (r *reservation) populate(fd int, off, size uintptr) {
	const seekData, seekHole = 3, 4
	for at := int64(0); at < int64(size); {
		from, err := unix.Seek(fd, at, seekData)
		if err != nil || from >= int64(size) {
			return
		}
		to, err := unix.Seek(fd, from, seekHole)
		if err != nil {
			return
		}
		to = min(to, int64(size))
		b := r.bytes(off+uintptr(from), uintptr(to-from))
		if unix.Madvise(b, unix.MADV_POPULATE_READ) != nil { // before Linux 5.14
			for i := 0; i < len(b); i += unix.Getpagesize() {
				_ = *(*byte)(unsafe.Pointer(&b[i]))
			}
		}
		at = to
	}
}

// restore throws away what the guest has written over files, so that they show again.
func (r *reservation) restore() error {
	for _, m := range r.maps {
		if err := unix.Madvise(r.bytes(m.off, m.size), unix.MADV_DONTNEED); err != nil {
			return err
		}
	}
	return nil
}

// once hands the reservation to the engine: a module has one memory.
type once struct{ r *reservation }

func (o once) Allocate(_, _ uint64) experimental.LinearMemory { return o.r }
