package host

import (
	"encoding/binary"
	"fmt"

	"github.com/shikra-sensor/shikra/sensor/internal/arena"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// windowPlan says where in its window each segment of a module goes: behind the directory, in order of their numbers.
type windowPlan struct {
	size uint32 // bytes in use, the directory included
	segs [wasmabi.NumSegments]struct{ off, size uint32 }
}

// WindowSize returns the bytes of window that a module needs which declares these segments.
func (h *Host) WindowSize(segments []string) (uint32, error) {
	p, err := planWindow(h.cfg.Arena, segments)
	return p.size, err
}

func planWindow(a *arena.Arena, segments []string) (windowPlan, error) {
	var want [wasmabi.NumSegments]bool
	want[wasmabi.SegmentBatch] = true
	for _, n := range segments {
		s, ok := wasmabi.SegmentByName(n)
		if !ok {
			return windowPlan{}, fmt.Errorf("unknown segment %q", n)
		}
		want[s] = true
	}
	var p windowPlan
	at := uint64(wasmabi.DirectorySize)
	for s, w := range want {
		if !w {
			continue
		}
		_, size := a.Segment(wasmabi.Segment(s))
		p.segs[s].off, p.segs[s].size = uint32(at), uint32(size)
		if at += uint64(size); at > 1<<31 {
			return windowPlan{}, fmt.Errorf("window of %d bytes is out of range", at)
		}
	}
	p.size = uint32(at)
	return p, nil
}

// mapWindow maps the segments of p over the memory from base on and writes the directory.
func mapWindow(r *reservation, base uint32, a *arena.Arena, p *windowPlan, columns []uint32) error {
	for s, g := range p.segs {
		if g.off == 0 {
			continue
		}
		fd, _ := a.Segment(wasmabi.Segment(s))
		if err := r.mapFile(fd, uintptr(base)+uintptr(g.off), uintptr(g.size)); err != nil {
			return fmt.Errorf("map segment %s: %w", wasmabi.Segment(s), err)
		}
	}
	le := binary.LittleEndian
	d := r.bytes(uintptr(base), wasmabi.DirectorySize)
	clear(d)
	le.PutUint32(d[wasmabi.DirectoryMagic:], wasmabi.MagicWord)
	le.PutUint16(d[wasmabi.DirectoryAbiMajor:], wasmabi.Major)
	le.PutUint16(d[wasmabi.DirectoryAbiMinor:], wasmabi.Minor)
	le.PutUint32(d[wasmabi.DirectoryWindowSize:], p.size)
	le.PutUint32(d[wasmabi.DirectoryBatchMax:], wasmabi.BatchMax)
	le.PutUint32(d[wasmabi.DirectoryThreadSize:], wasmabi.ThreadSize)
	le.PutUint32(d[wasmabi.DirectoryFileSize:], wasmabi.FileSize)
	le.PutUint32(d[wasmabi.DirectoryContainerSize:], wasmabi.ContainerSize)
	for s, g := range p.segs {
		le.PutUint32(d[wasmabi.DirectorySegments+8*s:], g.off)
		le.PutUint32(d[wasmabi.DirectorySegments+8*s+4:], g.size)
	}
	for k, c := range columns {
		le.PutUint32(d[wasmabi.DirectoryColumns+4*k:], c)
	}
	return nil
}
