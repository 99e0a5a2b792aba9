package state

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/shikra-sensor/shikra/sensor/internal/arena"
	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/snapshot"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// What is, while the state hears of a part of it: a world whose threads share fds and directories in every way.
type (
	worldFD struct {
		name    string
		ino     uint64
		cloexec bool
	}
	worldFiles struct {
		id  uint64
		fds map[int32]worldFD
	}
	worldDirs struct {
		id  uint64
		cwd string
	}
	worldThread struct {
		tid, pid, ptid int64
		comm, exe      string
		clone          uint64
		files          *worldFiles
		dirs           *worldDirs
		busy           func() // makes the event of a call that has done its work; the thread does nothing before
		born           bool   // its first event has been made, after which come those of its own
		exiting        int    // steps until the kernel has taken it away, its event being made
	}
	world struct {
		*rand.Rand
		m       *machine
		b       event.Builder
		threads []*worldThread // by tid
		spare   []int64        // tids not given yet, in no order
		ts, id  uint64
		queue   []event.Record // made and not applied yet
		applied int
		loss    int // of a hundred events
		trace   []string
	}
)

func newWorld(t testing.TB, seed uint64) *world {
	w := &world{Rand: rand.New(rand.NewPCG(seed, seed^3)), ts: 1e9, m: newMachine(t, arena.Config{Threads: 128, Files: 1024, Strings: 1 << 20, Private: 1 << 20}, Config{})}
	for _, n := range w.Perm(500) {
		w.spare = append(w.spare, int64(n)+2)
	}
	w.add(&worldThread{tid: 1, pid: 1, comm: "c0", exe: "c0", clone: 1, born: true, files: &worldFiles{w.number(), map[int32]worldFD{}}, dirs: &worldDirs{w.number(), "/"}})
	w.open(w.threads[0].files, 0, false)
	w.m.AddThread(w.snap(w.threads[0]))
	w.m.AddFile(w.snapFile(w.threads[0], 0))
	w.m.Settled()
	return w
}

func (w *world) number() uint64 { w.id++; return w.id }

func (w *world) add(th *worldThread) {
	i, _ := slices.BinarySearchFunc(w.threads, th, func(a, b *worldThread) int { return int(a.tid - b.tid) })
	w.threads = slices.Insert(w.threads, i, th)
}

func (w *world) drop(th *worldThread) {
	w.threads = slices.DeleteFunc(w.threads, func(o *worldThread) bool { return o == th })
}

func (w *world) open(f *worldFiles, fd int32, cloexec bool) worldFD {
	n := w.number()
	f.fds[fd] = worldFD{fmt.Sprint("/f", n), n, cloexec}
	return f.fds[fd]
}

// snap is what an iterator shows of a thread, snapFile of an fd of one.
func (w *world) snap(th *worldThread) *snapshot.Thread {
	s := &snapshot.Thread{
		TID: th.tid, PID: th.pid, PTID: th.ptid, VTID: th.tid, VPID: th.pid, LoginUID: noID, Comm: th.comm, Exe: th.exe, ExePath: "/bin/" + th.exe,
		Cwd: th.dirs.cwd, Root: "/", CloneTS: th.clone, Files: th.files.id, Dirs: th.dirs.id, Exiting: th.exiting > 0,
	}
	if th.tid == th.pid {
		s.Flags = wasmabi.ThreadMain
	} else {
		s.SharesFiles = w.find(th.pid).files == th.files
	}
	return s
}

func (w *world) snapFile(th *worldThread, fd int32) *snapshot.File {
	f := th.files.fds[fd]
	flags := uint32(1)
	if f.cloexec {
		flags |= oCloexec
	}
	return &snapshot.File{PID: th.pid, FD: fd, Kind: 'f', Name: f.name, Ino: f.ino, Dev: 1, OpenFlags: flags}
}

func (w *world) find(tid int64) *worldThread {
	for _, th := range w.threads {
		if th.tid == tid {
			return th
		}
	}
	return nil
}

// emit has the event of what was done come to the state, later, or get lost.
func (w *world) emit(b *event.Builder, what string, args ...any) {
	r := clone(b.Done())
	what = fmt.Sprintf("%d %s", w.ts, fmt.Sprintf(what, args...))
	if w.IntN(100) < w.loss {
		w.trace = append(w.trace, "lost: "+what)
		return
	}
	w.trace = append(w.trace, what)
	w.queue = append(w.queue, r)
}

func (w *world) start(tid int64, t event.Type) *event.Builder {
	w.ts += 1 + w.Uint64N(1000)
	return w.b.Start(w.ts, tid, t)
}

// apply gives the state up to n of the events that wait.
func (w *world) apply(t testing.TB, n int) {
	for ; n > 0 && len(w.queue) > 0; n-- {
		w.m.do(t, w.queue[0])
		w.queue = w.queue[1:]
		if w.applied++; w.applied%8 == 0 {
			w.check(t)
		}
	}
}

func (w *world) check(t testing.TB) {
	if err := check(w.m.State); err != nil {
		w.fatal(t, "%v", err)
	}
}

func (w *world) fatal(t testing.TB, f string, args ...any) {
	t.Fatalf("%s\n%s", fmt.Sprintf(f, args...), strings.Join(w.trace, "\n"))
}

// alone reports whether nobody else can change what th has, nor what it does be seen by others in another order than its event.
func (w *world) alone(th *worldThread) bool {
	for _, o := range w.threads {
		if o != th && (o.pid == th.pid || o.files == th.files || o.dirs == th.dirs) {
			return false
		}
	}
	return true
}

// done makes the event of a call at once, or later when that makes no difference to others.
func (w *world) done(th *worldThread, alone bool, emit func()) {
	if alone && w.IntN(4) == 0 {
		th.busy = emit
		return
	}
	emit()
}

// fork makes a thread or a process.
func (w *world) fork(th *worldThread) {
	if len(w.spare) == 0 {
		return
	}
	alone := w.alone(th)
	k := &worldThread{tid: w.spare[0], ptid: th.pid, comm: th.comm, exe: th.exe, clone: w.ts, files: th.files, dirs: th.dirs}
	w.spare = w.spare[1:]
	k.pid = k.tid
	flags := int64(0)
	switch w.IntN(5) {
	case 0, 1:
		flags = cloneThread | cloneVM | cloneFS | cloneFiles
		k.pid, k.ptid = th.pid, th.ptid
	case 2:
		flags = int64(w.IntN(4)) // CLONE_FILES, CLONE_FS
	}
	if flags&cloneFiles == 0 {
		k.files = w.copyFiles(th.files)
	}
	if flags&cloneFS == 0 {
		k.dirs = &worldDirs{w.number(), th.dirs.cwd}
	}
	w.add(k)
	rec := func(who, res, pid, ptid int64) {
		b := w.start(who, event.SyscallCloneV20X).Int(res).String(th.exe).Bytes(nil).Int(who).Int(pid).Int(ptid).String("")
		b.Int(0).Int(0).Int(0).Int(0).Int(0).Int(0).String(th.comm).Bytes(nil).Int(flags).Int(0).Int(0).Int(who).Int(pid).Int(0)
		w.emit(b, "%d clone res=%d pid=%d ptid=%d flags=%#x", who, res, pid, ptid, flags)
	}
	parent := func() { rec(th.tid, k.tid, th.pid, th.ptid) }
	own := func() { rec(k.tid, 0, k.pid, k.ptid) }
	how := w.IntN(3)
	if p := w.find(th.pid); p.files != th.files || p.dirs != th.dirs {
		how = 0 // the child's own event doesn't tell which thread of a process made it
	}
	w.trace = append(w.trace, fmt.Sprintf("%d (%d forks %d)", w.ts, th.tid, k.tid))
	w.done(th, alone && flags == 0, func() {
		k.born = true
		switch how {
		case 0:
			parent()
			own()
		case 1:
			own()
			parent()
		default:
			own()
		}
	})
}

func (w *world) copyFiles(f *worldFiles) *worldFiles {
	c := &worldFiles{w.number(), map[int32]worldFD{}}
	for fd, v := range f.fds {
		c.fds[fd] = v
	}
	return c
}

// exit ends a thread: the event comes first, and then it is taken away.
func (w *world) exit(th *worldThread) {
	w.emit(w.start(th.tid, event.ProcexitV1E).Int(0).Int(0).Int(0).Int(0).Int(1), "%d procexit", th.tid)
	th.exiting = 1 + w.IntN(4)
}

// gone takes th away; its children get another parent.
func (w *world) gone(th *worldThread) {
	w.drop(th)
	for _, o := range w.threads {
		if th.tid == th.pid && o.ptid == th.pid {
			o.ptid = 1
		}
	}
}

// others returns the other threads of th's process.
func (w *world) others(th *worldThread) (out []*worldThread) {
	for _, o := range w.threads {
		if o != th && o.pid == th.pid {
			out = append(out, o)
		}
	}
	return out
}

// exec runs another program, which ends the other threads, takes the main one's id and has fds of its own.
func (w *world) exec(th *worldThread) {
	alone := w.alone(th)
	for _, o := range w.others(th) {
		if o.exiting == 0 {
			w.emit(w.start(o.tid, event.ProcexitV1E).Int(0).Int(0).Int(0).Int(0).Int(0), "%d procexit", o.tid)
		}
		w.drop(o)
	}
	w.drop(th)
	th.tid = th.pid
	w.add(th)
	th.comm = fmt.Sprint("c", w.IntN(50))
	th.exe = th.comm
	for _, o := range w.threads {
		if o != th && o.files == th.files {
			th.files = w.copyFiles(th.files)
			break
		}
	}
	for fd, f := range th.files.fds {
		if f.cloexec {
			delete(th.files.fds, fd)
		}
	}
	w.done(th, alone, func() {
		b := w.start(th.pid, event.SyscallExecveV19X).Int(0).String(th.exe).Bytes(nil).Int(th.pid).Int(th.pid).Int(th.ptid).String("")
		b.Int(0).Int(0).Int(0).Int(0).Int(0).Int(0).String(th.comm).Bytes(nil).Bytes(nil).Int(0).Int(0).Int(noID).Int(0).Int(0).Int(0).Int(0)
		b.Int(0).Int(0).Int(0).Int(0).String("/bin/" + th.exe).Int(0).Int(0).String("")
		w.emit(b, "%d execve %s", th.pid, th.exe)
	})
}

// step has some thread do something.
func (w *world) step() {
	th := w.threads[w.IntN(len(w.threads))]
	switch {
	case th.exiting > 0:
		if th.exiting--; th.exiting == 0 {
			w.gone(th)
		}
		return
	case th.busy != nil:
		emit := th.busy
		th.busy = nil
		emit()
		return
	case !th.born:
		return
	}
	alone := w.alone(th)
	fds := make([]int32, 0, len(th.files.fds))
	for fd := range th.files.fds {
		if fd > 0 || w.IntN(3) == 0 { // mostly a process keeps one, but not always
			fds = append(fds, fd)
		}
	}
	slices.Sort(fds)
	some := int32(-1)
	if len(fds) > 0 {
		some = fds[w.IntN(len(fds))]
	}
	switch k := w.IntN(20); {
	case k < 3 && len(w.threads) < 25:
		w.fork(th)
	case k == 3 && th.pid != 1 && (th.tid != th.pid || len(w.others(th)) == 0):
		w.exit(th)
	case k == 4 && th.pid != 1 && !slices.ContainsFunc(w.others(th), func(o *worldThread) bool { return o.busy != nil || !o.born }):
		w.exec(th)
	case k == 5:
		flags := 1 + w.IntN(3)
		if len(w.others(th)) > 0 {
			flags = cloneFS // a snapshot doesn't show the fds of a thread that has its own
		}
		if flags&cloneFiles != 0 && slices.ContainsFunc(w.threads, func(o *worldThread) bool { return o != th && o.files == th.files }) {
			th.files = w.copyFiles(th.files)
		}
		if flags&cloneFS != 0 {
			th.dirs = &worldDirs{w.number(), th.dirs.cwd}
		}
		w.emit(w.start(th.tid, event.SyscallUnshareX).Int(0).Int(int64(flags)), "%d unshare %d", th.tid, flags)
	case k == 6:
		th.dirs.cwd = fmt.Sprint("/d", w.IntN(6))
		cwd := th.dirs.cwd
		w.done(th, alone, func() { w.emit(w.start(th.tid, event.SyscallChdirX).Int(0).String(cwd), "%d chdir %s", th.tid, cwd) })
	case k == 7:
		th.comm = fmt.Sprint("n", w.IntN(50))
		w.emit(w.start(th.tid, event.SyscallPrctlX).Int(0).Int(prSetName).String(th.comm).Int(0), "%d prctl %s", th.tid, th.comm)
	case k < 12 && some >= 0:
		delete(th.files.fds, some)
		w.done(th, alone, func() {
			w.emit(w.start(th.tid, event.SyscallCloseX).Int(0).Int(int64(some)), "%d close %d", th.tid, some)
		})
	case k == 12 && some >= 0:
		to := int32(1 + w.IntN(70))
		th.files.fds[to] = worldFD{th.files.fds[some].name, th.files.fds[some].ino, to == some && th.files.fds[some].cloexec}
		w.done(th, alone, func() {
			w.emit(w.start(th.tid, event.SyscallDup2X).Int(int64(to)).Int(int64(some)).Int(int64(to)), "%d dup2 %d %d", th.tid, some, to)
		})
	case k == 13 && some >= 0:
		f := th.files.fds[some]
		f.cloexec = !f.cloexec
		th.files.fds[some] = f
		w.emit(w.start(th.tid, event.SyscallFcntlX).Int(0).Int(int64(some)).Int(fSetFD).Int(int64(flag(f.cloexec))), "%d fcntl %d %v", th.tid, some, f.cloexec)
	case k == 14: // of one that isn't open
		fd := int32(1 + w.IntN(100))
		if _, ok := th.files.fds[fd]; !ok {
			w.emit(w.start(th.tid, event.SyscallCloseX).Int(-9).Int(int64(fd)), "%d close %d: EBADF", th.tid, fd)
		}
	case k == 15 && some >= 0:
		to := some + int32(w.IntN(40))
		for fd := range th.files.fds {
			if fd >= some && fd <= to {
				delete(th.files.fds, fd)
			}
		}
		w.emit(w.start(th.tid, event.SyscallCloseRangeX).Int(0).Int(int64(some)).Int(int64(to)).Int(0), "%d close_range %d %d", th.tid, some, to)
	case k > 15:
		fd := int32(1)
		for _, ok := th.files.fds[fd]; ok; _, ok = th.files.fds[fd] {
			fd += 1 + int32(w.IntN(8))
		}
		ce := w.IntN(3) == 0
		f, flags := w.open(th.files, fd, ce), int64(1)
		if ce {
			flags |= oCloexec
		}
		w.done(th, alone, func() {
			w.emit(w.start(th.tid, event.SyscallOpenatV2X).Int(int64(fd)).Int(-100).String(f.name).Int(flags).Int(0).Int(1).Int(int64(f.ino)), "%d openat %d %s", th.tid, fd, f.name)
		})
	}
}

// live makes some steps and has some of what waits applied.
func (w *world) live(t testing.TB, steps int) {
	for range steps {
		w.step()
		w.apply(t, w.IntN(4))
	}
}

// repair takes a snapshot, bit by bit, and has the state repaired by it, with up to busy steps between two bits. It returns how much is
// unsure.
func (w *world) repair(t testing.TB, busy int) int {
	between := func() {
		if busy > 0 {
			w.live(t, w.IntN(busy))
		}
	}
	w.trace = append(w.trace, fmt.Sprintf("%d (repair begins)", w.ts))
	w.ts++
	w.m.BeginRepair(w.ts)
	k := &snapshot.Taken{AllThreads: true, AllFiles: true}
	began := map[int64]uint64{}
	for tid := int64(0); ; {
		i := slices.IndexFunc(w.threads, func(o *worldThread) bool { return o.tid > tid })
		if i < 0 {
			break
		}
		th := w.threads[i]
		tid = th.tid
		k.AddThread(w.snap(th))
		if p := w.find(th.pid); p != nil && began[th.pid] == 0 {
			began[th.pid] = p.clone
		}
		between()
	}
	// Processes by age, the main thread of each first.
	slices.SortStableFunc(k.Threads, func(a, b snapshot.Thread) int {
		switch {
		case a.PID != b.PID && began[a.PID] != began[b.PID]:
			return int(began[a.PID] - began[b.PID])
		case a.PID != b.PID:
			return int(a.PID - b.PID)
		case a.TID == a.PID || b.TID == b.PID:
			return int(flag(a.TID != a.PID)) - int(flag(b.TID != b.PID))
		}
		return 0
	})
	for pid := int64(0); ; {
		i := slices.IndexFunc(w.threads, func(o *worldThread) bool { return o.tid == o.pid && o.pid > pid })
		if i < 0 {
			break
		}
		pid = w.threads[i].pid
		for fd := int32(0); ; fd++ {
			th := w.find(pid)
			if th == nil || th.tid != th.pid {
				break
			}
			next := int32(-1)
			for o := range th.files.fds {
				if o >= fd && (next < 0 || o < next) {
					next = o
				}
			}
			if next < 0 {
				break
			}
			fd = next
			k.AddFile(w.snapFile(th, fd))
			if w.IntN(4) == 0 {
				between()
			}
		}
	}
	w.trace = append(w.trace, fmt.Sprintf("%d (snapshot ends)", w.ts))
	w.apply(t, len(w.queue))
	for !w.m.Repair(k, 1+w.IntN(20)) {
		w.check(t)
		between()
	}
	w.check(t)
	w.apply(t, len(w.queue))
	w.trace = append(w.trace, fmt.Sprintf("%d (repair ends, unsure of %d)", w.ts, w.m.Unsure()))
	return w.m.Unsure()
}

// rest has all that is under way end.
func (w *world) rest(t testing.TB) {
	for _, th := range slices.Clone(w.threads) {
		if th.busy != nil {
			emit := th.busy
			th.busy = nil
			emit()
		}
	}
	for _, th := range slices.Clone(w.threads) {
		if th.exiting > 0 {
			w.gone(th)
		}
	}
	w.apply(t, len(w.queue))
}

// differs says how the state differs from the world, nothing for not at all.
func (w *world) differs() string {
	n, tabs, homes := 0, map[uint32]*worldFiles{}, map[*worldDirs]uint32{}
	files := map[*worldFiles]uint32{}
	ring := func(t uint32) uint32 { // the lowest slot of those that share directories
		low := t
		for m := w.m.side[t].fnext; m != t; m = w.m.side[m].fnext {
			low = min(low, m)
		}
		return low
	}
	rings := map[uint32]*worldDirs{}
	w.m.EachThread(func(t uint32) bool { n++; return true })
	if n != len(w.threads) {
		for t := uint32(1); t < w.m.a.Threads.High(); t++ {
			if w.m.side[t].bits&live != 0 && w.find(geti64(w.m.rec(t), wasmabi.ThreadTid)) == nil {
				return fmt.Sprintf("thread %d has ended", geti64(w.m.rec(t), wasmabi.ThreadTid))
			}
		}
	}
	for _, th := range w.threads {
		t := w.m.FindThread(th.tid)
		if t == 0 {
			return fmt.Sprintf("no thread %d", th.tid)
		}
		r, parent := w.m.rec(t), int64(0)
		if q := get32(r, wasmabi.ThreadParent); q != 0 {
			parent = geti64(w.m.rec(q), wasmabi.ThreadPid)
		}
		cwd := th.dirs.cwd
		if cwd != "/" {
			cwd += "/"
		}
		got := fmt.Sprint(geti64(r, wasmabi.ThreadPid), parent, geti64(r, wasmabi.ThreadPtid), " ", w.m.str(get32(r, wasmabi.ThreadComm)), " ", w.m.str(get32(r, wasmabi.ThreadExe)), " ", w.m.str(get32(r, wasmabi.ThreadCwd)))
		if want := fmt.Sprint(th.pid, th.ptid, th.ptid, " ", th.comm, " ", th.exe, " ", cwd); got != want {
			return fmt.Sprintf("thread %d is %s, want %s", th.tid, got, want)
		}
		tab := w.m.side[t].tab
		if f := tabs[tab]; f != nil && f != th.files {
			return fmt.Sprintf("thread %d shares fds with one that it doesn't", th.tid)
		}
		if i := files[th.files]; i != 0 && i != tab {
			return fmt.Sprintf("thread %d doesn't share fds with one that it does", th.tid)
		}
		tabs[tab], files[th.files] = th.files, tab
		low := ring(t)
		if d := rings[low]; d != nil && d != th.dirs {
			return fmt.Sprintf("thread %d shares directories with one that it doesn't", th.tid)
		}
		if h := homes[th.dirs]; h != 0 && h != low {
			return fmt.Sprintf("thread %d doesn't share directories with one that it does", th.tid)
		}
		rings[low], homes[th.dirs] = th.dirs, low
		if w.find(th.pid).files != th.files {
			continue // a thread with fds of its own: a snapshot doesn't show them
		}
		for fd, f := range th.files.fds {
			slot := w.m.OpenFile(t, int64(fd))
			if slot == 0 {
				return fmt.Sprintf("fd %d of %d isn't there", fd, th.tid)
			}
			if got := w.m.str(get32(w.m.a.Files.Record(slot), wasmabi.FileName)); got != f.name || w.m.CloseOnExec(t, fd) != f.cloexec {
				return fmt.Sprintf("fd %d of %d is %s, cloexec %v, want %+v", fd, th.tid, got, w.m.CloseOnExec(t, fd), f)
			}
		}
		if got := w.m.OpenFiles(t); got != len(th.files.fds) {
			return fmt.Sprintf("%d has %d fds, want %d", th.tid, got, len(th.files.fds))
		}
	}
	return ""
}

// run loses a part of what happens in a world, and repairs. A strict one also holds a repair among events to its word: where nothing is
// unsure, all is right.
func (w *world) run(t testing.TB, strict bool) {
	w.loss = []int{0, 5, 30, 100}[w.IntN(4)]
	w.live(t, 20+w.IntN(100))
	w.apply(t, len(w.queue))
	w.loss = 0
	for range 1 + w.IntN(2) {
		if w.repair(t, 1+w.IntN(4)) == 0 && strict && len(w.queue) == 0 && !slices.ContainsFunc(w.threads, func(th *worldThread) bool { return th.busy != nil || !th.born || th.exiting > 0 }) {
			if d := w.differs(); d != "" {
				w.fatal(t, "nothing is unsure, and %s", d)
			}
		}
	}
	w.rest(t)
	for n := 0; w.repair(t, 0) > 0; n++ {
		if n == 2 {
			w.fatal(t, "three repairs without an event, and %d things are unsure", w.m.Unsure())
		}
	}
	if d := w.differs(); d != "" {
		w.fatal(t, "%s", d)
	}
	// What is shared is seen by what comes then.
	w.live(t, 40)
	w.rest(t)
	if d := w.differs(); d != "" {
		w.fatal(t, "after the repairs: %s", d)
	}
}

// TestRepairRandom: whatever was lost, and whatever happens while repairs are made, after three in quiet the state is what is.
func TestRepairRandom(t *testing.T) {
	seed, n := rand.Uint64()>>1, 300
	if s := os.Getenv("SHIKRA_SEED"); s != "" { // as a failed subtest is called
		fmt.Sscan(s, &seed)
		n = 1
	}
	if s := os.Getenv("SHIKRA_SEEDS"); s != "" {
		fmt.Sscan(s, &n)
	}
	t.Logf("%d seeds from %d on", n, seed)
	if testing.Short() {
		n = min(n, 50)
	}
	for i := range uint64(n) {
		if t.Failed() {
			return
		}
		t.Run(fmt.Sprint(seed+i), func(t *testing.T) { newWorld(t, seed+i).run(t, os.Getenv("SHIKRA_STRICT") != "") })
	}
}
