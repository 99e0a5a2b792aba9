// Package state follows what events mean: threads with their ancestors, open files and sockets, users, containers.
//
// Everything a rule can see lies in the arena as wasmabi's records; indices and bookkeeping lie beside it in slices of
// plain integers. All of it is bounded, and what finds no room is counted.
//
// The flush rule makes a batch of events mean what they would mean one by one. Apply is called before its event is
// queued; what that event refers to (its thread with leader, ancestors and container, its file) is marked in the arena's
// tables. A later event that must change a marked thread flushes the batch first; a marked file is copied to a new slot
// instead; what is removed keeps its bytes until the flush.
//
// One goroutine owns a State and its Arena.
package state

import (
	"errors"
	"fmt"

	"github.com/shikra-sensor/shikra/sensor/internal/arena"
	"github.com/shikra-sensor/shikra/sensor/internal/container"
	"github.com/shikra-sensor/shikra/sensor/internal/decode"
	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/snapshot"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// Config says what a State works on. Arena and Flush are required; zero values of the rest take the defaults.
type Config struct {
	Arena *arena.Arena

	// Flush judges the queued events, empties the batch and ends with Arena.Flushed. Apply calls it in the middle of its
	// work; it must not call into the State but for reading.
	Flush func()

	Users  int // most users, those of containers included; default 4096
	Groups int // most groups; default 4096

	// LookupThread reads what is known elsewhere (/proc) about a thread that no event told of, and reports whether there
	// is anything. Nil for none: replay has nowhere to look. It is called at most Lookups times for a second of events.
	LookupThread func(tid int64, t *snapshot.Thread) bool
	Lookups      int // default 100

	// AskFile has somebody find out, elsewhere and later, what an fd is that a process received over a unix socket, which
	// port the kernel chose, or whether an fd that another thread may have got is what is known; the answer goes to FoundFile. False when too much is asked. Nil for nobody. It must not block;
	// it is called at most Asks times for a second of events.
	AskFile func(snapshot.FileAsk) bool
	Asks    int // default 1000

	// LookupContainer has somebody ask the container's runtime what it is, off this goroutine; the answer comes as an event
	// (AsynceventE or ContainerJsonV2E). It reports whether it will: when not, the next thread that is seen in the container
	// asks again. id and owner are borrowed; tid is a thread of it. Nil for none.
	LookupContainer func(id, owner []byte, kind uint32, tid int64) bool
	// ContainerGone says that the last thread has left a container, and what its runtime had said of it, nil for nothing. id
	// and owner are borrowed. Nil for nobody. Like Flush it must not call into the State.
	ContainerGone func(id, owner []byte, in *container.Info)

	// NoFlushRule lets state change under queued events. For tests only: the differential test must fail with it.
	NoFlushRule bool
}

// Refs is what an event refers to: slots of the arena's tables, 0 for none.
type Refs struct {
	Thread uint32
	File   uint32
	FD     int32  // the fd it acts on or made, -1 for none
	Bits   uint32 // wasmabi.BitNameChanged, to be added to the event's bits
}

// State is the state.
type State struct {
	cfg Config
	a   *arena.Arena

	// threads
	tids     index  // tid → slot
	side     []side // by slot
	usage    []usage
	lastTID  int64 // the thread of the last event, found without the index
	lastSlot uint32
	oldest   uint32 // ends of the order in which threads are evicted
	newest   uint32
	recent   recent
	copies   copies
	now      uint64 // ns, time of the event being applied
	spare    int    // slots kept free for threads that events tell of

	// open files
	tabs     []fdTable // 0 unused
	freeTab  uint32
	usedTabs int
	pages    []page // 0 unused
	freePage uint32
	usedPage int
	pageHand uint32
	hog      uint32 // a table with more pages than this may lose some when there is no room
	pageOf   index  // table<<32 | fd>>5 → page
	open     []openFile
	freeOpen uint32
	usedOpen int
	keep     int // file slots kept free for files that only one event sees

	users, groups names
	containers    containers

	// strings that are never released
	empty, na, rootName, rootHome uint32

	settled bool
	repair  repair
	told    told
	tight   bool   // a public string found no room
	buf     []byte // scratch for paths and names
	lookups budget // of LookupThread
	asks    budget // of AskFile
	st      Stats
}

// Stats is counts since the start, and sizes of the moment with their limits.
type Stats struct {
	Threads, ThreadLimit       int
	Files, FileLimit           int
	Containers, ContainerLimit int
	Tables, TableLimit         int // fd tables
	Pages, PageLimit           int // of 32 fds each
	Users, UserLimit           int
	Groups, GroupLimit         int
	Strings, StringLimit       int // bytes
	Private, PrivateLimit      int // bytes

	UnknownThreads    uint64 // threads that first showed by an event of theirs
	ThreadsFound      uint64 // of those, found by LookupThread
	ThreadsEvicted    uint64 // for want of room
	ThreadsDropped    uint64 // found no room
	ThreadsReplaced   uint64 // their exit was missed: another thread has the id
	FDsEvicted        uint64 // fds of the largest processes, for want of room
	FDsDropped        uint64 // found no room
	FDsUnknown        uint64 // events on an fd that isn't known
	FDsAsked          uint64 // fds that AskFile was called for
	FDsUnasked        uint64 // those for which there were too many questions
	FDsFound          uint64 // answers that came in time
	FDsTold           uint64 // fds by which calls act on files, of which the probe told with the call
	ClosesOvertaken   uint64 // closes during which another thread got the number
	TablesDropped     uint64 // processes without an fd table, for want of room
	ContainersDropped uint64 // threads of containers that found no room
	ContainersOver    uint64 // of those, the ones whose owner had its share

	ContainersUnread    uint64 // events of containers whose JSON can't be read
	ContainersForgotten uint64 // containers that were told of and found no room before their first thread came
	UsersDropped        uint64
	NamesLost           uint64 // strings that found no room
	NamesCut            uint64
	ThreadFlushes       uint64 // flushes because a thread had to change that a queued event sees
	RoomFlushes         uint64 // flushes to have freed slots or strings back
	FileCopies          uint64 // files copied because a queued event sees them

	Repaired Repaired // what snapshots after a loss put right
}

// New makes an empty State.
func New(c Config) (*State, error) {
	if c.Arena == nil {
		return nil, errors.New("state: no arena")
	}
	if c.Flush == nil {
		return nil, errors.New("state: no flush function")
	}
	set := func(p *int, d int) {
		if *p <= 0 {
			*p = d
		}
	}
	set(&c.Users, 4096)
	set(&c.Groups, 4096)
	set(&c.Lookups, 100)
	set(&c.Asks, 1000)
	threads, files := c.Arena.Threads.Limit(), c.Arena.Files.Limit()
	if threads < 16 || files < 64 {
		return nil, fmt.Errorf("state: %d threads and %d files are too few", threads, files)
	}
	pages := threads + threads/4 + files/8
	s := &State{
		cfg:    c,
		a:      c.Arena,
		tids:   newIndex(threads),
		recent: newRecent(),
		side:   make([]side, threads+1),
		usage:  make([]usage, threads+1),
		spare:  min(256, threads/8),
		tabs:   make([]fdTable, threads+2),
		pages:  make([]page, pages+1),
		hog:    uint32(max(4, pages/256)),
		pageOf: newIndex(pages),
		open:   make([]openFile, files+1),
		keep:   min(512, files/8),
		users:  newNames(c.Users),
		groups: newNames(c.Groups),
		buf:    make([]byte, 0, 256<<10),
	}
	s.containers = newContainers(c.Arena.Containers.Limit())
	for i := len(s.tabs) - 1; i > 0; i-- {
		s.tabs[i].next, s.freeTab = s.freeTab, uint32(i)
	}
	for i := len(s.pages) - 1; i > 0; i-- {
		s.pages[i].next, s.freePage = s.freePage, uint32(i)
	}
	for i := len(s.open) - 1; i > 0; i-- {
		s.open[i].slot, s.freeOpen = s.freeOpen, uint32(i)
	}
	s.empty = s.a.Strings.InternString("")
	s.na = s.a.Strings.InternString("<NA>")
	s.rootName = s.a.Strings.InternString("root")
	s.rootHome = s.a.Strings.InternString("/root")
	if err := s.containers.reserve(s.a); err != nil {
		return nil, err
	}
	return s, nil
}

// Stats returns counts and sizes.
func (s *State) Stats() Stats {
	st := s.st
	st.Threads, st.ThreadLimit = s.a.Threads.Used(), s.a.Threads.Limit()
	st.Files, st.FileLimit = s.a.Files.Used(), s.a.Files.Limit()
	st.Containers, st.ContainerLimit = s.a.Containers.Used()-1, s.a.Containers.Limit()-1
	st.Tables, st.TableLimit = s.usedTabs, len(s.tabs)-1
	st.Pages, st.PageLimit = s.usedPage, len(s.pages)-1
	st.Users, st.UserLimit = s.users.ix.n, s.cfg.Users
	st.Groups, st.GroupLimit = s.groups.ix.n, s.cfg.Groups
	st.Strings, st.StringLimit = s.a.Strings.Used(), s.a.Strings.Limit()
	st.Private, st.PrivateLimit = s.a.Private.Used(), s.a.Private.Limit()
	st.NamesCut += s.a.Strings.Cut() + s.a.Private.Cut()
	return st
}

// call is one Apply.
type call struct {
	r    event.Record
	m    decode.Meta
	t    uint32 // thread
	file uint32
	fd   int32
	bits uint32
}

// Apply brings the state to after r, which has passed decode.Decode with m, and returns what its event refers to: as it
// is after the event, but for close and procexit, whose event still sees what goes away. queue says whether the event goes
// into the batch, before the next Apply, or is left out for good: nobody sees then what it refers to. Apply may call
// Config.Flush. r is borrowed for the call.
func (s *State) Apply(r event.Record, m decode.Meta, queue bool) Refs {
	var c call // not a literal, which is made beside it and copied in wider steps than it was written: a stall
	c.r, c.m, c.fd = r, m, m.FD
	s.makeRoom()
	if len(s.containers.ended) > 0 {
		s.forgetUsers()
	}
	if s.repair.pass != 0 {
		s.repair.noting = r.TS() >= s.repair.from
	}
	tid := r.TID()
	s.now = r.TS()
	if s.told.n > 0 || len(s.told.now) > 0 {
		s.takeTold(tid, r.Type())
	}
	if tid == s.lastTID && s.lastSlot != 0 {
		c.t = s.lastSlot
	} else if tid > 0 {
		if c.t = s.tids.get(uint64(tid)); c.t != 0 {
			s.lastTID, s.lastSlot = tid, c.t
		}
	}
	switch r.Type() {
	case event.ProcexitV1E:
		s.procexit(&c)
	case event.SyscallCloneV20X, event.SyscallForkV20X, event.SyscallVforkV20X, event.SyscallClone3X:
		s.clone(&c)
	case event.SyscallExecveV19X, event.SyscallExecveatX:
		s.exec(&c)
	case event.UserAddedE, event.UserDeletedE, event.GroupAddedE, event.GroupDeletedE:
		s.userEvent(&c)
		return Refs{FD: -1}
	case event.TaskFileX:
		s.taskFile(r)
		return Refs{FD: -1}
	case event.ContainerJsonV2E, event.AsynceventE:
		s.containerEvent(&c, queue)
		if c.t != 0 && s.side[c.t].bits&live == 0 {
			return Refs{Thread: c.t, FD: -1}
		}
	default:
		if c.t == 0 {
			c.t = s.unknownOf(r)
		}
		s.onThread(&c)
	}
	if c.t != 0 {
		s.side[c.t].bits |= touched // always: whom to evict must not depend on when flushes were
		if queue {
			s.mark(c.t)
		}
	}
	if c.file != 0 && queue {
		s.a.Files.Mark(c.file)
	}
	return Refs{Thread: c.t, File: c.file, FD: c.fd, Bits: c.bits}
}

// onThread applies the events that act on what a thread has. Those that change nothing only look up their fd.
func (s *State) onThread(c *call) {
	switch c.r.Type() {
	case event.SyscallOpenX, event.SyscallCreatX, event.SyscallOpenatV2X, event.SyscallOpenat2X, event.SyscallOpenByHandleAtX:
		s.openEvent(c)
	case event.SyscallCloseX:
		s.closeEvent(c)
	case event.SyscallCloseRangeX:
		s.closeRange(c)
	case event.SyscallDupV1X, event.SyscallDup2X, event.SyscallDup3X:
		s.dup(c)
	case event.SyscallFcntlX:
		s.fcntl(c)
	case event.SyscallIoctlV3X:
		s.ioctl(c)
	case event.SyscallPipeX, event.SyscallPipe2X:
		s.pipe(c)
	case event.SyscallEventfdX, event.SyscallEventfd2X, event.SyscallSignalfdX, event.SyscallSignalfd4X,
		event.SyscallTimerfdCreateX, event.SyscallInotifyInitX, event.SyscallInotifyInit1X, event.SyscallEpollCreateX,
		event.SyscallEpollCreate1X, event.SyscallMemfdCreateX, event.SyscallUserfaultfdX, event.SyscallIoUringSetupX,
		event.SyscallBpfV2X, event.SyscallPidfdOpenX:
		s.anonymous(c)
	case event.SyscallPidfdGetfdX:
		s.pidfdGetfd(c)
	case event.SocketSocketX:
		s.socket(c)
	case event.SocketSocketpairX:
		s.socketpair(c)
	case event.SocketBindX:
		s.bind(c)
	case event.SocketConnectX:
		s.connect(c)
	case event.SocketGetsockoptX:
		s.getsockopt(c)
	case event.SocketListenX:
		s.listen(c)
	case event.SocketAcceptV5X, event.SocketAccept4V6X:
		s.accept(c)
	case event.SocketSendX, event.SocketSendtoX, event.SocketSendmsgX, event.SocketSendmmsgX:
		s.transfer(c, 4, false)
	case event.SocketRecvX, event.SocketRecvmmsgX:
		s.transfer(c, 4, true)
	case event.SocketRecvfromX:
		s.transfer(c, 2, true)
	case event.SocketRecvmsgX:
		s.transfer(c, 3, true)
	case event.SyscallChdirX, event.SyscallGetcwdX:
		s.chdir(c)
	case event.SyscallFchdirX:
		s.fchdir(c)
	case event.SyscallChrootX:
		s.chroot(c)
	case event.SyscallSetuidX, event.SyscallSetresuidX, event.SyscallSetreuidX:
		s.setUID(c)
	case event.SyscallSetgidX:
		s.setGID(c, 1)
	case event.SyscallSetresgidX, event.SyscallSetregidX:
		s.setGID(c, 2)
	case event.SyscallSetsidX:
		s.setsid(c)
	case event.SyscallSetpgidX:
		s.setpgid(c)
	case event.SyscallCapsetX:
		s.capset(c)
	case event.SyscallPrctlX:
		s.prctl(c)
	case event.SyscallUnshareX, event.SyscallSetnsX:
		s.namespaces(c)
	case event.SyscallSetrlimitX, event.SyscallGetrlimitX:
		s.rlimit(c, 3, 1, 0)
	case event.SyscallPrlimitX:
		s.rlimit(c, 6, 1, 5)
	default:
		s.use(c)
	}
}

// use finds the file of the fd that the event uses.
func (s *State) use(c *call) {
	if c.fd < 0 || c.t == 0 {
		return
	}
	if len(s.told.now) > 0 {
		if c.file = s.toldNow(c.t, c.fd); c.file != 0 {
			return
		}
	}
	if e := s.fdEntry(s.side[c.t].tab, c.fd); e != 0 {
		c.file = s.open[e>>1].slot
	} else if c.m.Res >= 0 {
		s.st.FDsUnknown++
	}
}

// ok reports whether the event's call succeeded.
func (c *call) ok() bool { return c.m.HasRes && c.m.Res >= 0 }

// flush judges what is queued.
func (s *State) flush(n *uint64) {
	*n++
	s.cfg.Flush()
}

// touch must come before a change of thread t: it flushes when a queued event sees the thread.
func (s *State) touch(t uint32) {
	s.note(&s.side[t].fresh)
	if s.a.Threads.Marked(t) && !s.cfg.NoFlushRule {
		s.flush(&s.st.ThreadFlushes)
	}
}

// mark notes that the event about to be queued sees thread t, its leader, its container and its ancestors.
//
// INVARIANT: of a marked thread all of these are marked, for it can't be given others without a flush. So the walk ends
// at the first that is marked.
func (s *State) mark(t uint32) {
	if s.a.Threads.Marked(t) {
		return
	}
	for t != 0 && !s.a.Threads.Mark(t) {
		r := s.a.Threads.Record(t)
		if k := get32(r, wasmabi.ThreadContainer); k != 0 {
			s.a.Containers.Mark(k)
		}
		if l := get32(r, wasmabi.ThreadLeader); l != t && l != 0 && !s.a.Threads.Mark(l) {
			lr := s.a.Threads.Record(l)
			if k := get32(lr, wasmabi.ThreadContainer); k != 0 {
				s.a.Containers.Mark(k)
			}
			if p := get32(lr, wasmabi.ThreadParent); p != get32(r, wasmabi.ThreadParent) {
				s.mark(p)
			}
		}
		t = get32(r, wasmabi.ThreadParent)
	}
}
