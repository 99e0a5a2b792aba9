package state

import "github.com/shikra-sensor/shikra/wasmabi"

// An fd table is a list of pages of 32 fds. An entry is the open file it stands for, shifted left, and in bit 0 whether
// exec closes it; 0 is no fd. Open files are counted, as in the kernel: dup and fork make more fds of one, and what one
// of them does to it (connect) the others see. The record of an open file may move to another slot under its fds.

const (
	pageBits = 5
	pageFDs  = 1 << pageBits
	cloexec  = 1
)

// fdTable is what threads share after CLONE_FILES; fork copies it.
type fdTable struct {
	refs  uint32 // threads
	first uint32 // the page of fds 0…31, which most processes have only
	next  uint32 // the list of its pages; of a free one, the next free one
	pages uint32
	fds   uint32

	changes uint32 // how often an fd was set or removed

	newer  uint32 // the repair in which all of it is newer than the snapshot
	bore   uint32 // the repair in which it, or an fd of it, was copied
	group  uint32 // the threads that have it, by a repair's snapshot
	shown  uint32 // the repair whose snapshot shows its files, or that it has none,
	showed uint32 // and how many; those of each process that has it
}

// page is 32 entries of a table.
type page struct {
	ent        [pageFDs]uint32
	tab, base  uint32 // fd>>5
	next, prev uint32 // in its table's list; next also in the free list
	used       uint32

	pass         uint32 // the repair that what follows is of
	newer, shown uint32 // a bit for each fd: changed since the snapshot began, and shown by it
}

// openFile is one open file.
type openFile struct {
	slot uint32 // of its record; of a free one, the next free one
	refs uint32 // fds
}

// newTable returns an empty fd table with one owner; 0 when there is none left, which is counted.
func (s *State) newTable() uint32 {
	i := s.freeTab
	if i == 0 {
		s.st.TablesDropped++
		return 0
	}
	s.freeTab = s.tabs[i].next
	s.tabs[i] = fdTable{refs: 1}
	s.usedTabs++
	return i
}

// dropTable takes one owner off table i, and closes everything in it with the last one.
func (s *State) dropTable(i uint32) {
	if i == 0 {
		return
	}
	t := &s.tabs[i]
	if t.refs--; t.refs > 0 {
		return
	}
	for t.next != 0 {
		s.dropPage(t.next)
	}
	t.next, s.freeTab = s.freeTab, i
	s.usedTabs--
}

// copyTable returns a table with the fds of table i, one owner each; 0 for none. What finds no room is left out and
// counted.
func (s *State) copyTable(i uint32) uint32 {
	if i == 0 {
		return s.newTable()
	}
	n := s.newTable()
	if n == 0 {
		return 0
	}
	s.note(&s.tabs[i].bore)
	for p := s.tabs[i].next; p != 0; p = s.pages[p].next {
		src := &s.pages[p]
		q := s.newPage(n, src.base)
		if q == 0 && s.tabs[i].pages <= s.hog && s.evictPage() { // of another table, then
			q = s.newPage(n, src.base)
		}
		if q == 0 {
			s.st.FDsDropped += uint64(src.used)
			s.doubt()
			continue
		}
		dst := &s.pages[q]
		dst.ent, dst.used = src.ent, src.used
		s.tabs[n].fds += src.used
		for _, e := range src.ent {
			if e != 0 {
				s.open[e>>1].refs++
			}
		}
	}
	return n
}

// ownTable gives thread t a table that no other thread has, with what is in the one it shares.
func (s *State) ownTable(t uint32) {
	d := &s.side[t]
	s.note(&s.side[t].files)
	if d.tab == 0 {
		d.tab = s.newTable()
	} else if s.tabs[d.tab].refs > 1 {
		from := d.tab
		d.tab = s.copyTable(from)
		s.note(&s.tabs[d.tab].newer)
		s.copied(t, from)
		s.dropTable(from)
	}
}

// newPage adds an empty page to table i; 0 when there is none left.
func (s *State) newPage(i, base uint32) uint32 {
	p := s.freePage
	if p == 0 {
		return 0
	}
	s.freePage = s.pages[p].next
	s.usedPage++
	t := &s.tabs[i]
	s.pages[p] = page{tab: i, base: base, next: t.next}
	if t.next != 0 {
		s.pages[t.next].prev = p
	}
	t.next = p
	t.pages++
	if base == 0 {
		t.first = p
	} else {
		s.pageOf.put(uint64(i)<<32|uint64(base), p)
	}
	return p
}

// dropPage closes what is on page p and frees it.
func (s *State) dropPage(p uint32) {
	g := &s.pages[p]
	t := &s.tabs[g.tab]
	for _, e := range g.ent {
		if e != 0 {
			s.dropOpen(e >> 1)
		}
	}
	t.fds -= g.used
	if g.prev != 0 {
		s.pages[g.prev].next = g.next
	} else {
		t.next = g.next
	}
	if g.next != 0 {
		s.pages[g.next].prev = g.prev
	}
	t.pages--
	if g.base == 0 {
		t.first = 0
	} else {
		s.pageOf.del(uint64(g.tab)<<32 | uint64(g.base))
	}
	*g = page{next: s.freePage}
	s.freePage = p
	s.usedPage--
}

// evictPage closes one page of fds of a process that has very many, the next one from where the last search ended, and
// reports whether there was one. The pages looked at are bounded.
func (s *State) evictPage() bool {
	for range min(len(s.pages)-1, 4096) {
		if s.pageHand++; s.pageHand >= uint32(len(s.pages)) {
			s.pageHand = 1
		}
		if g := &s.pages[s.pageHand]; g.tab != 0 && s.tabs[g.tab].pages > s.hog {
			s.st.FDsEvicted += uint64(g.used)
			if s.repair.pass != 0 {
				s.tabs[g.tab].newer = s.repair.pass // what its page noted is lost
			}
			s.dropPage(s.pageHand)
			return true
		}
	}
	return false
}

// pageFor returns the page of fd in table i, 0 for none.
func (s *State) pageFor(i uint32, fd int32) uint32 {
	if fd < pageFDs {
		return s.tabs[i].first
	}
	return s.pageOf.get(uint64(i)<<32 | uint64(fd>>pageBits))
}

// fdEntry returns the entry of fd, which isn't negative, in table i; 0 for none.
func (s *State) fdEntry(i uint32, fd int32) uint32 {
	if i == 0 {
		return 0
	}
	p := s.pageFor(i, fd)
	if p == 0 {
		return 0
	}
	return s.pages[p].ent[fd&(pageFDs-1)]
}

// setEntry makes entry e, whose open file counts it already, the one of fd in table i; what stood there is closed. False
// when there is no room.
func (s *State) setEntry(i uint32, fd int32, e uint32) bool {
	if i == 0 {
		return false
	}
	p := s.pageFor(i, fd)
	if p == 0 {
		if p = s.newPage(i, uint32(fd>>pageBits)); p == 0 {
			if !s.evictPage() {
				return false
			}
			if p = s.newPage(i, uint32(fd>>pageBits)); p == 0 {
				return false
			}
		}
	}
	g := &s.pages[p]
	if s.repair.noting {
		s.noteFD(g, fd)
	}
	s.changing(i, fd)
	at := &g.ent[fd&(pageFDs-1)]
	if old := *at; old != 0 {
		*at = e
		s.dropOpen(old >> 1)
		return true
	}
	*at = e
	g.used++
	s.tabs[i].fds++
	return true
}

// changing counts a change of fd in table i, which is noted where threads share it.
func (s *State) changing(i uint32, fd int32) {
	t := &s.tabs[i]
	if t.changes++; t.refs > 1 {
		s.changed(i, fd)
	}
}

// closeFD removes fd from table i.
func (s *State) closeFD(i uint32, fd int32) {
	if i == 0 {
		return
	}
	if s.repair.noting {
		s.noteClosed(i, fd)
	}
	s.changing(i, fd)
	p := s.pageFor(i, fd)
	if p == 0 {
		return
	}
	g := &s.pages[p]
	at := &g.ent[fd&(pageFDs-1)]
	if *at == 0 {
		return
	}
	s.dropOpen(*at >> 1)
	*at = 0
	s.tabs[i].fds--
	// The page of the first fds stays: it would come and go with every open and close. So does, until a repair is done, one
	// that may hold notes for it.
	if g.used--; g.used == 0 && g.base != 0 && s.repair.pass == 0 {
		s.dropPage(p)
	}
}

// closeOnExec closes what exec closes in table i.
func (s *State) closeOnExec(i uint32) {
	if i == 0 {
		return
	}
	s.note(&s.tabs[i].newer)
	for p := s.tabs[i].next; p != 0; {
		g, next := &s.pages[p], s.pages[p].next
		for k := range g.ent {
			if g.ent[k]&cloexec != 0 {
				s.closeFD(i, int32(g.base<<pageBits)+int32(k))
			}
		}
		p = next
	}
}

// eachIn calls fn for the pages of table i that overlap [first, last], with the range on the page.
func (s *State) eachIn(i uint32, first, last uint32, fn func(p uint32, from, to uint32)) {
	if i == 0 {
		return
	}
	for p := s.tabs[i].next; p != 0; {
		next, lo := s.pages[p].next, s.pages[p].base<<pageBits
		from, to := max(first, lo), min(last, lo+pageFDs-1)
		if from <= to {
			fn(p, from-lo, to-lo)
		}
		p = next
	}
}

// newOpen makes an open file of a record, with one owner; 0 when there is no room.
func (s *State) newOpen(slot uint32) uint32 {
	o := s.freeOpen
	if o == 0 {
		return 0
	}
	s.freeOpen = s.open[o].slot
	s.usedOpen++
	s.open[o] = openFile{slot, 1}
	return o
}

// dropOpen takes one owner off an open file; its record goes with the last one.
func (s *State) dropOpen(o uint32) {
	f := &s.open[o]
	if f.refs--; f.refs > 0 {
		return
	}
	s.freeFile(f.slot)
	f.slot, s.freeOpen = s.freeOpen, o
	s.usedOpen--
}

// newFile takes a slot for a file's record; 0 when there is none, even after a flush.
func (s *State) newFile() uint32 {
	f, ok := s.a.Files.Alloc()
	if !ok && s.a.Files.Pending() > 0 {
		s.flush(&s.st.RoomFlushes)
		f, ok = s.a.Files.Alloc()
	}
	if !ok {
		return 0
	}
	return f
}

// freeFile frees a record; queued events still see it.
func (s *State) freeFile(f uint32) {
	r := s.a.Files.Record(f)
	s.a.Strings.Release(get32(r, wasmabi.FileName))
	s.a.Strings.Release(get32(r, wasmabi.FileNameRaw))
	s.a.Files.Free(f)
}

// addFD makes fd of thread t stand for the record in slot f, which no fd stands for yet. When there is no room for that,
// which is counted, the record is freed: then only the event of the moment sees it.
func (s *State) addFD(t uint32, fd int32, f uint32, closeOnExec bool) {
	if f == 0 {
		s.st.FDsDropped++
		return
	}
	i := s.side[t].tab
	if i == 0 {
		s.st.FDsDropped++
		s.freeFile(f)
		return
	}
	for s.a.Files.Used() > s.a.Files.Limit()-s.keep || s.freeOpen == 0 {
		if !s.evictPage() {
			break
		}
	}
	var o uint32
	if s.a.Files.Used() <= s.a.Files.Limit()-s.keep {
		o = s.newOpen(f)
	}
	if o == 0 {
		s.st.FDsDropped++
		s.closeFD(i, fd)
		s.freeFile(f)
		return
	}
	if !s.setEntry(i, fd, o<<1|flag(closeOnExec)) {
		s.st.FDsDropped++
		s.dropOpen(o)
	}
}

func flag(b bool) uint32 {
	if b {
		return cloexec
	}
	return 0
}

// shareFD makes fd of thread t another fd of what entry e stands for.
func (s *State) shareFD(t uint32, fd int32, e uint32, closeOnExec bool) {
	o := e >> 1
	s.open[o].refs++
	if !s.setEntry(s.side[t].tab, fd, o<<1|flag(closeOnExec)) {
		s.st.FDsDropped++
		s.dropOpen(o)
	}
}

// writable returns the slot of open file o for a change. When a queued event sees the record, that is a copy which takes
// its place; the event keeps the old one.
func (s *State) writable(o uint32) uint32 {
	f := s.open[o].slot
	if !s.a.Files.Marked(f) || s.cfg.NoFlushRule {
		return f
	}
	n, ok := s.a.Files.Alloc()
	if !ok {
		s.flush(&s.st.RoomFlushes)
		return s.open[o].slot
	}
	// The strings change owner with the copy.
	copy(s.a.Files.Record(n), s.a.Files.Record(f))
	s.a.Files.Free(f)
	s.open[o].slot = n
	s.st.FileCopies++
	return n
}

// The methods by which fields ask about open files.

// OpenFile returns the slot of what fd is in the process of the thread in that slot; 0 for none.
func (s *State) OpenFile(thread uint32, fd int64) uint32 {
	if thread == 0 || fd < 0 || fd > maxFD {
		return 0
	}
	if len(s.told.now) > 0 {
		if f := s.toldNow(thread, int32(fd)); f != 0 {
			return f
		}
	}
	if e := s.fdEntry(s.side[thread].tab, int32(fd)); e != 0 {
		return s.open[e>>1].slot
	}
	return 0
}

// EachFile calls fn for every open file of the thread's process until it returns false.
func (s *State) EachFile(thread uint32, fn func(fd int32, file uint32) bool) {
	i := s.side[thread].tab
	if i == 0 {
		return
	}
	for p := s.tabs[i].next; p != 0; p = s.pages[p].next {
		g := &s.pages[p]
		for k, e := range g.ent {
			if e != 0 && !fn(int32(g.base<<pageBits)+int32(k), s.open[e>>1].slot) {
				return
			}
		}
	}
}

// CloseOnExec reports whether exec closes fd of the thread's process.
func (s *State) CloseOnExec(thread uint32, fd int32) bool {
	return thread != 0 && fd >= 0 && s.fdEntry(s.side[thread].tab, fd)&cloexec != 0
}

// EachThread calls fn for every thread until it returns false. fn must not change the state.
func (s *State) EachThread(fn func(thread uint32) bool) {
	for t := uint32(1); t < s.a.Threads.High(); t++ {
		if s.side[t].bits&live != 0 && !fn(t) {
			return
		}
	}
}

// OpenFiles returns how many fds the thread's process has open.
func (s *State) OpenFiles(thread uint32) int { return int(s.tabs[s.side[thread].tab].fds) }

// FindThread returns the slot of the thread with that id; 0 for none.
func (s *State) FindThread(tid int64) uint32 { return s.tids.get(uint64(tid)) }
