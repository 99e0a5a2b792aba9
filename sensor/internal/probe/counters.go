package probe

import (
	"encoding/binary"
	"fmt"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

// The layout of struct cpu in bpf/include/maps.h, in bytes; a test compares them with the object's types.
const (
	cpuSent   = 0
	cpuLost   = 8
	cpuByType = 64
)

// Counters says how many records the programs handed to the ring and how many were lost because it was full, since Load.
type Counters struct {
	Sent, Lost uint64
	ByCPU      []CPUCounters
	LostByType map[event.Type]uint64 // types that lost nothing are left out
}

// CPUCounters are those of one CPU.
type CPUCounters struct {
	Sent, Lost uint64
}

// Counters reads the counters. They lie in shared memory: it costs no system call. Each is exact, but they are not read
// all at the same instant.
func (p *Probe) Counters() (Counters, error) {
	c := Counters{ByCPU: make([]CPUCounters, p.n)}
	entry := int64(p.coll.Maps["cpus"].ValueSize()+7) &^ 7 // kernel/bpf/arraymap.c@v5.10: elem_size
	var head [16]byte
	var types [numTypes * 8]byte
	for i := range c.ByCPU {
		at := int64(i) * entry
		if _, err := p.cpus.ReadAt(head[:], at); err != nil {
			return Counters{}, fmt.Errorf("read counters of CPU %d: %w", i, err)
		}
		u := &c.ByCPU[i]
		u.Sent = binary.NativeEndian.Uint64(head[cpuSent:])
		u.Lost = binary.NativeEndian.Uint64(head[cpuLost:])
		c.Sent += u.Sent
		c.Lost += u.Lost
		if u.Lost == 0 {
			continue
		}
		if _, err := p.cpus.ReadAt(types[:], at+cpuByType); err != nil {
			return Counters{}, fmt.Errorf("read lost types of CPU %d: %w", i, err)
		}
		for t := range numTypes {
			if n := binary.NativeEndian.Uint64(types[8*t:]); n > 0 {
				if c.LostByType == nil {
					c.LostByType = map[event.Type]uint64{}
				}
				c.LostByType[event.Type(t)] += n
			}
		}
	}
	return c, nil
}
