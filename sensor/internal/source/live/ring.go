// Package live is the live source: it reads the probe's ring buffer in place and takes the snapshot of what ran before.
//
// Ring is the consumer of the ring buffer, Run the loop around it, Snapshot what stood before the first event.
package live

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

// Ring reads a BPF ring buffer map without copying. One goroutine drains it; Stats may be called from any.
type Ring struct {
	cur  *cursor
	cons []byte // the consumer page, ours to write
	prod []byte // the producer page and twice the data pages, read only

	records, discarded, bad, skipped, bytes atomic.Uint64
}

// RingStats counts what a Ring has read since it was made.
type RingStats struct {
	Records   uint64 // handed out
	Bytes     uint64 // of those, with heads and padding
	Discarded uint64 // reserved and then given up by the probe; not lost
	Bad       uint64 // times the ring could not be read and was skipped to its end
	Skipped   uint64 // bytes skipped by that
}

// NewRing maps m, a map of type RingBuf. It doesn't take m over, which may be closed after Close. The layout is that
// of ringbuf_map_mmap_kern in kernel/bpf/ringbuf.c@v6.12: page 0 the consumer position, page 1 the producer position,
// then the data pages twice, so that a record that wraps is whole in memory.
func NewRing(m *ebpf.Map) (*Ring, error) {
	if m.Type() != ebpf.RingBuf {
		return nil, fmt.Errorf("map %s is a %s, not a ring buffer", m, m.Type())
	}
	size, page := int(m.MaxEntries()), os.Getpagesize()
	if size < page || size&(size-1) != 0 || size > 1<<30 {
		return nil, fmt.Errorf("ring buffer %s of %d bytes: not a power of two from %d to 1 GiB", m, size, page)
	}
	cons, err := unix.Mmap(m.FD(), 0, page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map the consumer page of %s: %w", m, err)
	}
	prod, err := unix.Mmap(m.FD(), int64(page), page+2*size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("map the data pages of %s: %w", m, err), unix.Munmap(cons))
	}
	wide := unsafe.Sizeof(uintptr(0)) == 8 || kernelIs64()
	return &Ring{
		cur:  newCursor(unsafe.Pointer(&cons[0]), unsafe.Pointer(&prod[0]), prod[page:], wide),
		cons: cons, prod: prod,
	}, nil
}

// kernelIs64 tells a 32-bit program whether the kernel's unsigned long, and so a position, has 64 bits.
func kernelIs64() bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	switch unix.ByteSliceToString(u.Machine[:]) {
	case "aarch64", "x86_64", "riscv64":
		return true
	}
	return false
}

// Size returns the bytes of the data pages.
func (r *Ring) Size() int { return len(r.cur.data) / 2 }

// Drain hands up to limit committed records to fn, in order, and returns how many. A record is a view into the ring,
// read only (a write faults) and valid until fn returns. Records are handed out as they stand: check them. Drain stops
// at a record that a CPU is still writing. It must not be called after Close or from within fn.
func (r *Ring) Drain(fn func(event.Record), limit int) int {
	n := r.cur.drain(fn, limit)
	if n.records != 0 {
		r.records.Add(n.records)
		r.bytes.Add(n.bytes)
	}
	if n.discarded != 0 {
		r.discarded.Add(n.discarded)
	}
	if n.bad != 0 {
		r.bad.Add(n.bad)
		r.skipped.Add(n.skipped)
	}
	return int(n.records)
}

// Pending returns the bytes not read yet, at most Size.
func (r *Ring) Pending() int { return int(min(r.cur.available(), r.cur.mask+1)) }

// Stats returns what was read so far.
func (r *Ring) Stats() RingStats {
	return RingStats{
		Records: r.records.Load(), Bytes: r.bytes.Load(), Discarded: r.discarded.Load(),
		Bad: r.bad.Load(), Skipped: r.skipped.Load(),
	}
}

// Close unmaps the ring. No Drain may be running; later calls of Close do nothing.
func (r *Ring) Close() error {
	if r.cons == nil {
		return nil
	}
	err := errors.Join(unix.Munmap(r.cons), unix.Munmap(r.prod))
	r.cons, r.prod, r.cur.data = nil, nil, nil
	return err
}
