package state

import (
	"fmt"
	"math/rand/v2"
	"path"
	"sort"
	"testing"

	"github.com/shikra-sensor/shikra/sensor/internal/arena"
	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/snapshot"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// The model: what the state should know, in plain maps, written without a look at the state's own structures.
type (
	modelFile struct{ name string }
	modelFD   struct {
		file    *modelFile
		cloexec bool
	}
	modelTable   struct{ fds map[int64]modelFD }
	modelProcess struct {
		pid, parent int64
		comm, cwd   string
		uid         int64
		files       *modelTable
		threads     map[int64]bool // living, the main one included while it does
	}
	model struct {
		*rand.Rand
		m     *machine
		procs map[int64]*modelProcess
		ts    uint64
		next  int64
	}
)

func (w *model) pick() (*modelProcess, int64) {
	ids := make([]int64, 0, len(w.procs))
	for id := range w.procs {
		ids = append(ids, id)
	}
	sort.Slice(ids, func(i, j int) bool { return ids[i] < ids[j] })
	p := w.procs[ids[w.IntN(len(ids))]]
	tids := make([]int64, 0, len(p.threads))
	for t := range p.threads {
		tids = append(tids, t)
	}
	sort.Slice(tids, func(i, j int) bool { return tids[i] < tids[j] })
	return p, tids[w.IntN(len(tids))]
}

func (w *model) start(tid int64, t event.Type) *event.Builder {
	w.ts += 1 + w.Uint64N(1e6)
	return w.m.b.Start(w.ts, tid, t)
}

// freeFD returns the lowest fd not in use, as the kernel does, or now and then a large one.
func (w *model) freeFD(p *modelProcess) int64 {
	fd := int64(0)
	if w.IntN(10) == 0 {
		fd = int64(w.IntN(3000))
	}
	for {
		if _, ok := p.files.fds[fd]; !ok {
			return fd
		}
		fd++
	}
}

func (t *modelTable) copy() *modelTable {
	c := &modelTable{map[int64]modelFD{}}
	for fd, f := range t.fds {
		c.fds[fd] = f
	}
	return c
}

// fork makes the event of either side, or both, of a new process or thread.
func (w *model) fork(t testing.TB, p *modelProcess, tid int64) {
	child := w.next
	w.next++
	files, thread := w.IntN(4) == 0, w.IntN(3) == 0
	flags := int64(0)
	if files || thread {
		flags |= cloneFiles
	}
	pid, ptid := child, p.pid
	if thread {
		flags |= cloneThread
		pid, ptid = p.pid, p.parent
		p.threads[child] = true
	} else {
		c := &modelProcess{pid: child, parent: p.pid, comm: p.comm, cwd: p.cwd, uid: p.uid, files: p.files, threads: map[int64]bool{child: true}}
		if !files {
			c.files = p.files.copy()
		}
		w.procs[child] = c
	}
	rec := func(who, res, pid, ptid int64) {
		b := w.start(who, event.SyscallCloneV20X).Int(res).String(p.comm).Bytes(nil).Int(who).Int(pid).Int(ptid).String("")
		b.Int(0).Int(0).Int(0).Int(0).Int(0).Int(0).String(p.comm).Bytes(nil).Int(flags).Int(p.uid).Int(0).Int(who).Int(pid).Int(0)
		w.m.do(t, clone(b.Done()))
	}
	parent := func() { rec(tid, child, p.pid, p.parent) }
	own := func() { rec(child, 0, pid, ptid) }
	switch w.IntN(3) {
	case 0:
		parent()
		own()
	case 1:
		own()
		parent()
	default:
		parent()
	}
}

func (w *model) exit(t testing.TB, p *modelProcess, tid int64) {
	delete(p.threads, tid)
	reaper := int64(0)
	if len(p.threads) == 0 {
		reaper = 1
		for _, c := range w.procs {
			if c.parent == p.pid {
				c.parent = 1
			}
		}
		delete(w.procs, p.pid)
	}
	w.m.do(t, clone(w.start(tid, event.ProcexitV1E).Int(0).Int(0).Int(0).Int(0).Int(reaper).Done()))
}

func (w *model) exec(t testing.TB, p *modelProcess) {
	p.comm = fmt.Sprint("c", w.IntN(50))
	p.threads = map[int64]bool{p.pid: true}
	p.files = p.files.copy()
	for fd, f := range p.files.fds {
		if f.cloexec {
			delete(p.files.fds, fd)
		}
	}
	b := w.start(p.pid, event.SyscallExecveV19X).Int(0).String(p.comm).Bytes(nil).Int(p.pid).Int(p.pid).Int(p.parent).String("")
	b.Int(0).Int(0).Int(0).Int(0).Int(0).Int(0).String(p.comm).Bytes(nil).Bytes(nil).Int(0).Int(0).Int(0).Int(0).Int(0).Int(0).Int(0)
	b.Int(0).Int(0).Int(0).Int(p.uid).String("/bin/" + p.comm).Int(0).Int(0).String("")
	w.m.do(t, clone(b.Done()))
}

// step makes one event and changes the model accordingly.
func (w *model) step(t testing.TB) {
	p, tid := w.pick()
	if p.pid == 1 && w.IntN(3) > 0 {
		return
	}
	fds := make([]int64, 0, len(p.files.fds))
	for fd := range p.files.fds {
		fds = append(fds, fd)
	}
	sort.Slice(fds, func(i, j int) bool { return fds[i] < fds[j] })
	some := int64(-1)
	if len(fds) > 0 {
		some = fds[w.IntN(len(fds))]
	}
	var e event.Event
	var file *modelFile
	switch k := w.IntN(20); {
	case k < 2 && len(w.procs) < 30:
		w.fork(t, p, tid)
		return
	case k == 2 && (p.pid != 1 || len(p.threads) > 1 && tid != 1):
		w.exit(t, p, tid)
		return
	case k == 3 && p.pid != 1:
		w.exec(t, p)
		return
	case k < 9:
		name := []string{"a", "../b/./c", "/etc/passwd", "/x//y/", "d/"}[w.IntN(5)]
		abs := path.Join(p.cwd, name)
		if name[0] == '/' {
			abs = path.Clean(name)
		}
		fd, flags, ce := w.freeFD(p), int64(1), w.IntN(2) == 0
		if ce {
			flags |= oCloexec
		}
		file = &modelFile{abs}
		p.files.fds[fd] = modelFD{file, ce}
		e = w.m.do(t, clone(w.start(tid, event.SyscallOpenatV2X).Int(fd).Int(-100).String(name).Int(flags).Int(0).Int(0).Int(0).Done()))
	case k < 12 && some >= 0:
		file = p.files.fds[some].file
		delete(p.files.fds, some)
		e = w.m.do(t, clone(w.start(tid, event.SyscallCloseX).Int(0).Int(some).Done()))
	case k < 14 && some >= 0:
		to := w.freeFD(p)
		if w.IntN(2) == 0 {
			to = fds[w.IntN(len(fds))]
		}
		file = p.files.fds[some].file
		if to != some {
			p.files.fds[to] = modelFD{file, false}
		}
		e = w.m.do(t, clone(w.start(tid, event.SyscallDup2X).Int(to).Int(some).Int(to).Done()))
	case k == 14:
		fd := w.freeFD(p)
		file = &modelFile{}
		p.files.fds[fd] = modelFD{file, false}
		e = w.m.do(t, clone(w.start(tid, event.SocketSocketX).Int(fd).Int(2).Int(1).Int(6).Int(0).Done()))
	case k < 17 && some >= 0:
		file = p.files.fds[some].file
		port := byte(w.IntN(200))
		file.name = fmt.Sprintf("192.0.2.1:%d->192.0.2.9:%d", 1000, port)
		e = w.m.do(t, clone(w.start(tid, event.SocketConnectX).Int(0).Bytes(sockBytes(file.name)).Int(some).Missing().Done()))
	case k == 17:
		p.cwd = fmt.Sprintf("/dir%d", w.IntN(5))
		e = w.m.do(t, clone(w.start(tid, event.SyscallChdirX).Int(0).String(p.cwd+"/.").Done()))
	case k == 18 && len(p.threads) == 1:
		p.uid = int64(w.IntN(5))
		e = w.m.do(t, clone(w.start(tid, event.SyscallSetuidX).Int(0).Int(p.uid).Done()))
	case some >= 0:
		file = p.files.fds[some].file
		e = w.m.do(t, clone(w.start(tid, event.SyscallReadX).Int(1).Bytes(nil).Int(some).Int(1).Done()))
	default:
		return
	}
	w.same(t, p, e.Thread())
	got, want := "", ""
	if e.File() != 0 {
		got = w.m.str(get32(w.m.a.Files.Record(e.File()), wasmabi.FileName))
	}
	if file != nil {
		want = file.name
	}
	if got != want {
		t.Fatalf("%s by %d: file %q, want %q", e.Type(), tid, got, want)
	}
}

// same compares a thread of p.
func (w *model) same(t testing.TB, p *modelProcess, slot uint32) {
	r := w.m.rec(slot)
	parent := int64(0)
	if q := get32(r, wasmabi.ThreadParent); q != 0 {
		parent = geti64(w.m.rec(q), wasmabi.ThreadPid)
	}
	got := fmt.Sprint(geti64(r, wasmabi.ThreadPid), parent, geti64(r, wasmabi.ThreadPtid), " ", w.m.str(get32(r, wasmabi.ThreadComm)), " ", w.m.str(get32(r, wasmabi.ThreadCwd)), get32(r, wasmabi.ThreadUid))
	cwd := p.cwd
	if cwd != "/" {
		cwd += "/"
	}
	if want := fmt.Sprint(p.pid, p.parent, p.parent, " ", p.comm, " ", cwd, p.uid); got != want {
		t.Fatalf("thread %d is %s, want %s", geti64(r, wasmabi.ThreadTid), got, want)
	}
}

// TestModel compares the state with the model after every event, and every fd of every process now and then.
func TestModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	n := 30000
	if testing.Short() {
		n = 5000
	}
	w := &model{Rand: rand.New(rand.NewPCG(seed, 2)), m: newMachine(t, arena.Config{}, Config{}), procs: map[int64]*modelProcess{}, ts: 1e9, next: 10}
	w.procs[1] = &modelProcess{pid: 1, comm: "init", cwd: "/", files: &modelTable{map[int64]modelFD{}}, threads: map[int64]bool{1: true}}
	w.m.AddThread(&snapshot.Thread{TID: 1, PID: 1, Comm: "init", Cwd: "/", LoginUID: noID})
	w.m.Settled()
	for i := range n {
		w.step(t)
		if w.IntN(30) == 0 {
			w.m.flush()
		}
		if i%500 != 0 {
			continue
		}
		if err := check(w.m.State); err != nil {
			t.Fatal(err)
		}
		for _, p := range w.procs {
			for tid := range p.threads {
				slot := w.m.FindThread(tid)
				if slot == 0 {
					t.Fatalf("no thread %d of %d", tid, p.pid)
				}
				w.same(t, p, slot)
				if got := w.m.OpenFiles(slot); got != len(p.files.fds) {
					t.Fatalf("%d of %d has %d fds, want %d", tid, p.pid, got, len(p.files.fds))
				}
				w.m.EachFile(slot, func(fd int32, f uint32) bool {
					want, ok := p.files.fds[int64(fd)]
					if got := w.m.str(get32(w.m.a.Files.Record(f), wasmabi.FileName)); !ok || got != want.file.name {
						t.Fatalf("fd %d of %d is %q, want %+v", fd, p.pid, got, want.file)
					}
					return true
				})
			}
		}
	}
	if st := w.m.Stats(); st.UnknownThreads+st.ThreadsDropped+st.FDsDropped+st.NamesLost > 0 {
		t.Errorf("%+v", st)
	}
}
