package state

import (
	"fmt"
	"slices"

	"github.com/shikra-sensor/shikra/wasmabi"
)

// check verifies the invariants of the bookkeeping by counting everything anew.
func check(s *State) error {
	threads, tabRefs, contRefs := 0, map[uint32]uint32{}, map[uint32]uint32{}
	living := map[uint32]int{}
	pub, priv := map[uint32]uint32{}, map[uint32]uint32{}
	own := func(m map[uint32]uint32, ref uint32) {
		if ref != 0 {
			m[ref]++
		}
	}
	for t := uint32(1); t < s.a.Threads.High(); t++ {
		d := &s.side[t]
		if d.bits&live == 0 {
			continue
		}
		threads++
		r := s.rec(t)
		tid := geti64(r, wasmabi.ThreadTid)
		if got := s.tids.get(uint64(tid)); got != t {
			return fmt.Errorf("tid %d: slot %d, index says %d", tid, t, got)
		}
		if d.tab != 0 {
			tabRefs[d.tab]++
		}
		if k := get32(r, wasmabi.ThreadContainer); k != 0 {
			contRefs[k]++
		}
		for _, off := range publicStrings {
			own(pub, get32(r, off))
		}
		for _, off := range privateStrings {
			own(priv, get32(r, off))
		}
		l := s.leader(t)
		if s.side[l].bits&live == 0 || s.leader(l) != l {
			return fmt.Errorf("tid %d: leader %d isn't one", tid, l)
		}
		if s.side[d.gnext].gprev != t || s.side[d.gprev].gnext != t || s.leader(d.gnext) != l {
			return fmt.Errorf("tid %d: ring is broken", tid)
		}
		if t != l || d.bits&gone == 0 {
			living[l]++
		}
		p := get32(r, wasmabi.ThreadParent)
		if p != 0 && (s.side[p].bits&live == 0 || s.leader(p) != p) {
			return fmt.Errorf("tid %d: parent %d isn't a live main thread", tid, p)
		}
		if p != get32(s.rec(l), wasmabi.ThreadParent) {
			return fmt.Errorf("tid %d: parent differs from its main thread's", tid)
		}
		ring := 1
		for q := d.fnext; q != t; q = s.side[q].fnext {
			if ring++; ring > len(s.side) || s.side[q].bits&live == 0 || s.side[s.side[q].fnext].fprev != q {
				return fmt.Errorf("tid %d: ring of directories is broken", tid)
			}
		}
		n := 0
		for q := p; q != 0; q = get32(s.rec(q), wasmabi.ThreadParent) {
			if n++; n > len(s.side) {
				return fmt.Errorf("tid %d: loop of parents", tid)
			}
		}
		if t == l {
			found := p == 0
			if p != 0 {
				for k := s.side[p].child; k != 0; k = s.side[k].next {
					found = found || k == t
				}
			}
			if !found {
				return fmt.Errorf("tid %d isn't among its parent's children", tid)
			}
			for k := d.child; k != 0; k = s.side[k].next {
				if get32(s.rec(k), wasmabi.ThreadParent) != t {
					return fmt.Errorf("tid %d: child %d has another parent", tid, k)
				}
			}
		}
		if s.a.Threads.Marked(t) {
			if !s.a.Threads.Marked(l) || p != 0 && !s.a.Threads.Marked(p) {
				return fmt.Errorf("tid %d is marked, its leader or parent isn't", tid)
			}
		}
	}
	if threads != s.a.Threads.Used() || threads != s.tids.n {
		return fmt.Errorf("%d threads live, table has %d, index %d", threads, s.a.Threads.Used(), s.tids.n)
	}
	for l, n := range living {
		if int(s.side[l].living) != n {
			return fmt.Errorf("slot %d: %d threads live, count says %d", l, n, s.side[l].living)
		}
	}
	for k, n := range contRefs {
		if s.containers.refs[k] != n {
			return fmt.Errorf("container %d: %d threads, count says %d", k, n, s.containers.refs[k])
		}
	}
	if err := s.checkFDs(tabRefs, pub); err != nil {
		return err
	}
	// Strings of containers, users, groups and the state's own.
	found, shared, shares := 0, 0, map[uint32]uint32{}
	for k := uint32(1); k < s.a.Containers.High(); k++ {
		if contRefs[k] == 0 && k != s.containers.over {
			continue
		}
		r := s.a.Containers.Record(k)
		for _, off := range containerStrings {
			own(pub, get32(r, off))
		}
		o := s.containers.own[k]
		for _, ref := range []uint32{o.owner, o.share, o.scope} {
			own(pub, ref)
		}
		if k == s.containers.over {
			continue
		}
		found++
		if got := s.containers.ix.get(keyOf(o.owner, get32(r, wasmabi.ContainerFullId))); got != k {
			return fmt.Errorf("container %d: index says %d", k, got)
		}
		if o.share != 0 {
			shared++
			shares[o.share]++
		}
	}
	if x := &s.containers; x.ix.n != found || x.shared != shared || x.shares.n != len(shares) {
		return fmt.Errorf("%d containers, %d by %d shares, counts say %d, %d, %d", found, shared, len(shares), x.ix.n, x.shared, x.shares.n)
	}
	for ref, n := range shares {
		if got := s.containers.shares.get(uint64(ref)); got != n {
			return fmt.Errorf("share %q has %d containers, count says %d", s.a.Strings.Get(ref), n, got)
		}
	}
	for _, n := range []*names{&s.users, &s.groups} {
		shared := 0
		for i := range n.ent {
			e := &n.ent[i]
			if e.shared {
				shared++
			}
			for _, ref := range []uint32{e.container, e.name, e.home, e.shell} {
				own(pub, ref)
			}
		}
		if shared != n.shared {
			return fmt.Errorf("%d names of containers with a share, count says %d", shared, n.shared)
		}
	}
	for _, ref := range append([]uint32{s.empty, s.na, s.rootName, s.rootHome}, s.containers.ended...) {
		own(pub, ref)
	}
	for ref, n := range pub {
		if got := s.a.Strings.Owners(ref); got != n {
			return fmt.Errorf("string %q has %d owners, count says %d", s.a.Strings.Get(ref), n, got)
		}
	}
	for ref, n := range priv {
		if got := s.a.Private.Owners(ref); got != n {
			return fmt.Errorf("private string %q has %d owners, count says %d", s.a.Private.Get(ref), n, got)
		}
	}
	return nil
}

func (s *State) checkFDs(tabRefs, pub map[uint32]uint32) error {
	openRefs, pages, tabs := map[uint32]uint32{}, 0, 0
	for i := 1; i < len(s.tabs); i++ {
		t := &s.tabs[i]
		if tabRefs[uint32(i)] == 0 {
			continue
		}
		tabs++
		if t.refs != tabRefs[uint32(i)] {
			return fmt.Errorf("fd table %d: %d threads, count says %d", i, tabRefs[uint32(i)], t.refs)
		}
		fds, n := uint32(0), uint32(0)
		for p := t.next; p != 0; p = s.pages[p].next {
			g := &s.pages[p]
			n++
			used := uint32(0)
			for _, e := range g.ent {
				if e != 0 {
					used++
					openRefs[e>>1]++
				}
			}
			if used != g.used || g.tab != uint32(i) || s.pageFor(uint32(i), int32(g.base<<pageBits)) != p {
				return fmt.Errorf("page %d of fd table %d is wrong", p, i)
			}
			fds += used
		}
		pages += int(n)
		if fds != t.fds || n != t.pages {
			return fmt.Errorf("fd table %d: %d fds on %d pages, counts say %d and %d", i, fds, n, t.fds, t.pages)
		}
	}
	if pages != s.usedPage || tabs != s.usedTabs || len(openRefs) != s.usedOpen {
		return fmt.Errorf("%d pages, %d tables, %d open files, counts say %d, %d, %d", pages, tabs, len(openRefs), s.usedPage, s.usedTabs, s.usedOpen)
	}
	slots := map[uint32]bool{}
	for o, n := range openRefs {
		f := s.open[o]
		if f.refs != n || slots[f.slot] {
			return fmt.Errorf("open file %d: %d fds, count says %d", o, n, f.refs)
		}
		slots[f.slot] = true
		r := s.a.Files.Record(f.slot)
		for _, off := range []int{wasmabi.FileName, wasmabi.FileNameRaw} {
			if ref := get32(r, off); ref != 0 {
				pub[ref]++
			}
		}
	}
	waiting := 0
	for _, o := range append(slices.Clone(s.told.of[:]), s.told.now...) {
		if o.tid == 0 {
			continue
		}
		if slots[o.file] {
			return fmt.Errorf("file %d was told of, and is an fd's", o.file)
		}
		slots[o.file] = true
		pub[get32(s.a.Files.Record(o.file), wasmabi.FileName)]++
		waiting++
	}
	if waiting != s.told.n+len(s.told.now) {
		return fmt.Errorf("%d files were told of, count says %d and %d", waiting, s.told.n, len(s.told.now))
	}
	if len(slots) != s.a.Files.Used() {
		return fmt.Errorf("%d files are open, table has %d", len(slots), s.a.Files.Used())
	}
	return nil
}
