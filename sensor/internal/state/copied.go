package state

import (
	"github.com/shikra-sensor/shikra/sensor/internal/snapshot"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// A fork copies the fds of a table that others share when it begins. The state copies them when the first event of either side comes:
// later than some events of those others and earlier than some. What they changed at about that time may be in the child or not, and
// is looked at there.

const (
	copyWindow = 2e6 // ns before and after a copy; a fork takes hundreds of microseconds
	copyAsks   = 8   // most fds looked at for a copy, of those changed before it as of those after
)

// copies keeps what changed of late in shared tables, and who has a copy of one. The zero value is ready.
type copies struct {
	changes [256]tableChange // a ring
	change  int              // how many were ever put there
	made    [16]tableCopy    // a ring
	copy    int
	last    uint64 // ns, of the newest copy
}

type tableChange struct {
	ts  uint64
	tab uint32
	fd  int32
}

type tableCopy struct {
	ts    uint64
	tid   int64 // who has it
	tab   uint32
	asked uint8 // fds changed after it
}

// changed notes a change of fd in table i, which is shared, and asks about it for those who have a copy since moments.
func (s *State) changed(i uint32, fd int32) {
	c := &s.copies
	c.changes[c.change%len(c.changes)] = tableChange{s.now, i, fd}
	c.change++
	if c.last == 0 || int64(s.now-c.last) > copyWindow {
		return
	}
	for k := range c.made {
		if m := &c.made[k]; m.tab == i && int64(s.now-m.ts) <= copyWindow && m.asked < copyAsks {
			m.asked++
			s.askCopied(m.tid, i, fd, 3)
		}
	}
}

// copied notes that thread t has a copy of table i, which others share, and asks about what changed there just before.
func (s *State) copied(t, i uint32) {
	if s.cfg.AskFile == nil || s.tabs[i].refs < 2 {
		return
	}
	c := &s.copies
	tid := geti64(s.rec(t), wasmabi.ThreadTid)
	c.made[c.copy%len(c.made)] = tableCopy{ts: s.now, tid: tid, tab: i}
	c.copy++
	c.last = s.now
	var seen [copyAsks]int32
	n := 0
next:
	for k := c.change - 1; k >= max(0, c.change-len(c.changes)) && n < copyAsks; k-- {
		x := &c.changes[k%len(c.changes)]
		if int64(s.now-x.ts) > copyWindow {
			break
		}
		if x.tab != i {
			continue
		}
		for _, fd := range seen[:n] {
			if fd == x.fd {
				continue next
			}
		}
		seen[n] = x.fd
		n++
		s.askCopied(tid, i, x.fd, 3)
	}
}

// askCopied asks whether thread tid has fd, as its copy of table from says or not. When it changes meanwhile it is asked again, that
// many times.
func (s *State) askCopied(tid int64, from uint32, fd int32, tries uint8) {
	t := s.tids.get(uint64(tid))
	if t == 0 || s.side[t].tab == 0 || s.side[t].tab == from {
		return
	}
	a := snapshot.FileAsk{PID: geti64(s.rec(t), wasmabi.ThreadPid), FD: fd, Again: true, Changes: s.tabs[s.side[t].tab].changes, Tries: tries}
	if e := s.fdEntry(s.side[t].tab, fd); e != 0 {
		a.TS = get64(s.a.Files.Record(s.open[e>>1].slot), wasmabi.FileTs)
	}
	s.askFor(a, s.now)
}

// foundCopied takes an answer about an fd of a copy that the state doesn't know.
func (s *State) foundCopied(t uint32, a snapshot.FileAsk, sf *snapshot.File) {
	tab := s.side[t].tab
	switch {
	case a.TS != 0 || sf.FD < 0 || tab == 0: // it has been closed since, or isn't there
	case s.tabs[tab].changes == a.Changes:
		s.putFile(t, a.FD, sf)
		s.st.FDsFound++
	case a.Tries > 1: // whether that was the fd, closed since, events don't tell
		s.askCopied(a.PID, 0, a.FD, a.Tries-1)
	}
}
