package state

import "github.com/shikra-sensor/shikra/sensor/internal/snapshot"

// A lost clone, unshare or exec leaves more behind than wrong records: who shares fds or directories with whom is wrong too, and what
// one thread does is then done to the other. A snapshot tells which threads have the same of either (snapshot.Thread.Files, Dirs). A
// repair makes groups of them as it meets them.

// groups are those of a repair. The zero value is ready for begin.
type groups struct {
	of    map[groupKey]uint32 // numbers, which no two repairs give
	first uint32              // the numbers from this one on are this repair's
	home  []uint32            // by number - first: the table of its threads, or one of them that shares the directories
}

type groupKey struct {
	id   uint64
	dirs bool
}

func (g *groups) begin() {
	g.first += uint32(len(g.home))
	if g.first == 0 || g.first > 1<<31 { // a number of long ago may part two that share, which the next repair brings together
		g.first = 1
	}
	if g.of == nil {
		g.of = map[groupKey]uint32{}
	}
	clear(g.of)
	g.home = g.home[:0]
}

// number returns the number of a group and a pointer to its home, valid until the next call.
func (g *groups) number(key groupKey) (uint32, *uint32) {
	n, ok := g.of[key]
	if !ok {
		n = g.first + uint32(len(g.home))
		g.of[key] = n
		g.home = append(g.home, 0)
	}
	return n, &g.home[n-g.first]
}

// repairSharing has t share what it shares by the snapshot. When that changes, something may have been done to the wrong one since the
// snapshot began: another repair sees to it.
func (s *State) repairSharing(t uint32, th *snapshot.Thread) {
	if th.Files != 0 && !s.repairTable(t, th.Files) {
		s.repair.unsure++
	}
	if th.Dirs != 0 && !s.repairDirs(t, th.Dirs) {
		s.repair.unsure++
	}
}

// repairTable gives t the fd table of its group; false when it had another, or may have by newer events.
func (s *State) repairTable(t uint32, id uint64) bool {
	d := &s.side[t]
	if d.tab == 0 {
		if d.tab = s.newTable(); d.tab == 0 {
			return true // counted; another repair has no more room
		}
	}
	n, home := s.repair.groups.number(groupKey{id, false})
	h := *home
	known := h != 0 && s.tabs[h].refs > 0 && s.tabs[h].group == n
	if d.files == s.repair.pass {
		return known && h == d.tab || !known && s.tabs[d.tab].group < s.repair.groups.first
	}
	if known {
		if h == d.tab {
			return true
		}
		s.tabs[h].refs++
		s.dropTable(d.tab)
		d.tab = h
		return false
	}
	same := true
	if s.tabs[d.tab].group >= s.repair.groups.first { // another group's
		i := s.copyTable(d.tab)
		if i == 0 {
			return true
		}
		s.tabs[i].newer = s.repair.pass // what the pages noted isn't copied
		s.dropTable(d.tab)
		d.tab, same = i, false
	}
	s.tabs[d.tab].group, *home = n, d.tab
	return same
}

// maxRing is how many neighbours of a thread are looked at to find one whose group is known: mostly the next is one.
const maxRing = 64

// repairDirs has t share the directories of its group; false when it shared others, or may by newer events.
func (s *State) repairDirs(t uint32, id uint64) bool {
	d := &s.side[t]
	n, home := s.repair.groups.number(groupKey{id, true})
	h := *home
	known := h != 0 && s.side[h].bits&live != 0 && s.side[h].dirs == n
	if d.fs == s.repair.pass {
		return !known && d.fnext == t // alone, as far as anybody knows
	}
	if !known {
		*home = t
	}
	d.dirs = n
	// What is beyond, a thread of a known group leaves: it is brought back, next to one of its group.
	for m, left := d.fnext, maxRing; m != t && left > 0; m, left = s.side[m].fnext, left-1 {
		switch g := s.side[m].dirs; {
		case known && g == n:
			return true
		case !known && g != n && g >= s.repair.groups.first:
			s.partFS(t)
			return false
		}
	}
	if !known {
		return true
	}
	s.partFS(t)
	if s.sameDirs(t, h) {
		s.shareFS(t, h)
	}
	return false
}
