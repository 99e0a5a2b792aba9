// Package arena holds the event batch and the state tables off the Go heap, in the segments that modules map.
//
// Each segment is a sealed memfd, mapped shared here and copy-on-write into guests (wasmabi/ABI.md). Offsets, never
// pointers. What an event in the batch refers to stays as it was until the batch is flushed: freed records and strings
// are reused only after Flushed. One goroutine owns an Arena.
package arena

import (
	"encoding/binary"
	"fmt"
	"math"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/wasmabi"
)

var le = binary.LittleEndian

// Config bounds the arena. Zero values take the defaults.
type Config struct {
	Threads    int // most threads; default 16384
	Files      int // most open files; default 65536
	Containers int // most containers; default 1024
	Strings    int // bytes of public strings; default 16 MiB, at least 1 MiB
	Private    int // bytes of private strings; default 16 MiB, at least 1 MiB
	Payload    int // bytes of events and extracted values in one batch; default 1 MiB
}

func (c Config) withDefaults() Config {
	set := func(p *int, d int) {
		if *p <= 0 {
			*p = d
		}
	}
	set(&c.Threads, 16384)
	set(&c.Files, 65536)
	set(&c.Containers, 1024)
	set(&c.Strings, 16<<20)
	set(&c.Private, 16<<20)
	set(&c.Payload, 1<<20)
	return c
}

// sizes are the bytes of each segment, before they are rounded up to wasmabi.WindowAlign.
func (c Config) sizes() [wasmabi.NumSegments]int {
	return [wasmabi.NumSegments]int{
		wasmabi.SegmentBatch:      wasmabi.PayloadOffset + max(c.Payload, 256<<10),
		wasmabi.SegmentThreads:    (c.Threads + 1) * wasmabi.ThreadSize,
		wasmabi.SegmentFiles:      (c.Files + 1) * wasmabi.FileSize,
		wasmabi.SegmentContainers: (c.Containers + 1) * wasmabi.ContainerSize,
		wasmabi.SegmentStrings:    max(c.Strings, 1<<20),
		wasmabi.SegmentPrivate:    max(c.Private, 1<<20),
	}
}

// WindowSize returns the bytes that a guest must reserve to have all segments of such an arena in its window.
func (c Config) WindowSize() uint32 {
	n := uint64(wasmabi.DirectorySize)
	for _, size := range c.withDefaults().sizes() {
		n += uint64(roundUp(size))
	}
	return uint32(min(n, math.MaxUint32&^(wasmabi.WindowAlign-1)))
}

func roundUp(size int) int { return (size + wasmabi.WindowAlign - 1) &^ (wasmabi.WindowAlign - 1) }

// Arena is the memory that host and guests share.
type Arena struct {
	Batch      *Batch
	Threads    *Table
	Files      *Table
	Containers *Table
	Strings    *Strings // public: names and paths
	Private    *Strings // private: arguments and environment

	segs [wasmabi.NumSegments]segment
}

type segment struct {
	fd int
	b  []byte
}

// New makes the segments. Pages take memory when they are first written.
func New(c Config) (*Arena, error) {
	c = c.withDefaults()
	a := &Arena{}
	for i := range a.segs {
		a.segs[i].fd = -1
	}
	for i, n := range c.sizes() {
		if err := a.segs[i].open("shikra-"+wasmabi.Segment(i).String(), n); err != nil {
			a.Close()
			return nil, err
		}
	}
	a.Batch = newBatch(a.segs[wasmabi.SegmentBatch].b)
	a.Threads = newTable(a.segs[wasmabi.SegmentThreads].b, wasmabi.ThreadSize, c.Threads)
	a.Files = newTable(a.segs[wasmabi.SegmentFiles].b, wasmabi.FileSize, c.Files)
	a.Containers = newTable(a.segs[wasmabi.SegmentContainers].b, wasmabi.ContainerSize, c.Containers)
	a.Strings = newStrings(a.segs[wasmabi.SegmentStrings].b)
	a.Private = newStrings(a.segs[wasmabi.SegmentPrivate].b)
	return a, nil
}

func (s *segment) open(name string, size int) error {
	size = roundUp(size)
	if size <= 0 || uint64(size) > math.MaxUint32/2 {
		return fmt.Errorf("arena segment %s: %d bytes is out of range", name, size)
	}
	// MFD_NOEXEC_SEAL is 6.3+ (include/uapi/linux/memfd.h); older kernels refuse the flag.
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_NOEXEC_SEAL)
	if err == unix.EINVAL {
		fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return fmt.Errorf("arena segment %s: memfd_create: %w", name, err)
	}
	s.fd = fd
	if err := unix.Ftruncate(fd, int64(size)); err != nil {
		return fmt.Errorf("arena segment %s: ftruncate: %w", name, err)
	}
	// A guest that maps a file which then shrinks would kill the process with SIGBUS.
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL); err != nil {
		return fmt.Errorf("arena segment %s: seal: %w", name, err)
	}
	s.b, err = unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("arena segment %s: mmap: %w", name, err)
	}
	return nil
}

// Segment returns the memfd of s and its size in bytes, a multiple of wasmabi.WindowAlign. The fd stays the arena's.
func (a *Arena) Segment(s wasmabi.Segment) (fd, size int) {
	return a.segs[s].fd, len(a.segs[s].b)
}

// Flushed empties the batch and lets freed records and strings be reused.
func (a *Arena) Flushed() {
	a.Batch.reset()
	a.Threads.flushed()
	a.Files.flushed()
	a.Containers.flushed()
	a.Strings.flushed()
	a.Private.flushed()
}

// Close unmaps the segments. No view of them may be used after it, and no guest may still run.
func (a *Arena) Close() error {
	var first error
	for i := range a.segs {
		s := &a.segs[i]
		if s.b != nil {
			if err := unix.Munmap(s.b); err != nil && first == nil {
				first = err
			}
			s.b = nil
		}
		if s.fd >= 0 {
			if err := unix.Close(s.fd); err != nil && first == nil {
				first = err
			}
			s.fd = -1
		}
	}
	return first
}
