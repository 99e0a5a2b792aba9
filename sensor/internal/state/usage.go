package state

import (
	"math"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

// The parameters of clone and exec events that say what a process used by then.
const (
	pMajorFaults = 8 + iota
	pMinorFaults
	pVMSize
	pVMRSS
	pVMSwap
)

// usage is what a thread's process used when it last made a clone or exec event: 0 when none was seen.
type usage struct{ majorFaults, minorFaults, size, rss, swap uint32 }

// setUsage takes over what r says.
func (s *State) setUsage(t uint32, r event.Record) {
	u := &s.usage[t]
	faults := func(i int) uint32 {
		v, _ := param64(r, i)
		return uint32(min(uint64(v), math.MaxUint32))
	}
	u.majorFaults, u.minorFaults = faults(pMajorFaults), faults(pMinorFaults)
	u.size, _ = param32(r, pVMSize)
	u.rss, _ = param32(r, pVMRSS)
	u.swap, _ = param32(r, pVMSwap)
}

// Usage returns what the process of a thread used when it last made a clone or exec event; false when none was seen.
func (s *State) Usage(thread uint32) (majorFaults, minorFaults, sizeKB, rssKB, swapKB uint64, ok bool) {
	u := s.usage[thread]
	return uint64(u.majorFaults), uint64(u.minorFaults), uint64(u.size), uint64(u.rss), uint64(u.swap), u != usage{}
}

// LiveThreads returns how many threads of the thread's process haven't exited, and how many of those aren't its main one.
func (s *State) LiveThreads(thread uint32) (all, others int) {
	if thread == 0 || s.side[thread].bits&live == 0 {
		return 0, 0 // what the event refers to has ended since
	}
	d := &s.side[s.leader(thread)]
	all, others = int(d.living), int(d.living)
	if d.bits&gone == 0 && others > 0 {
		others--
	}
	return all, others
}
