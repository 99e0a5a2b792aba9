package live

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/cilium/ebpf/btf"

	"github.com/shikra-sensor/shikra/sensor/internal/snapshot"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// SnapshotConfig bounds and steers a snapshot. Zero values take the defaults.
type SnapshotConfig struct {
	HostRoot           string // where the host's file system stands, for /proc and /etc; default "/"
	MaxThreads         int    // most threads; default 16384
	MaxFiles           int    // most open files; default 65536
	MaxFilesPerProcess int    // most open files of one process; default 4096
	MaxUsers           int    // most users, and most groups; default 16384

	NoIterators bool       // read /proc only
	NoUsers     bool       // leave users and groups out
	KernelTypes *btf.Spec  // the kernel's types, where it doesn't have them itself; nil for its own
	Types       *btf.Cache // decoded types of the kernel, which the probe may share (10 ms and some MiB less); nil for a new one
}

func (c SnapshotConfig) withDefaults() SnapshotConfig {
	set := func(p *int, d int) {
		if *p <= 0 {
			*p = d
		}
	}
	if c.HostRoot == "" {
		c.HostRoot = "/"
	}
	if c.Types == nil {
		c.Types = btf.NewCache()
	}
	set(&c.MaxThreads, 16384)
	set(&c.MaxFiles, 65536)
	set(&c.MaxFilesPerProcess, 4096)
	set(&c.MaxUsers, 16384)
	return c
}

// SnapshotReport is what a snapshot brought.
type SnapshotReport struct {
	Threads, Files, Users, Groups int
	ProcThreads                   int // of Threads, read from /proc because no iterator showed them
	ThreadsCut, FilesCut          int // left out because of a limit
	UsersCut                      int // users and groups left out because of a limit or an unfit line

	TaskIter error         // why threads were not read by iterator; nil when they were
	FileIter error         // why open files were not
	Took     time.Duration // all of it, the loading of the iterators included
}

var errIterOff = errors.New("switched off")

// Snapshot reads what is there now — users, groups, threads, open files — and hands it to sink in that order, parents
// before their children as far as their times tell. Hooks must be attached before it begins; what starts or ends
// meanwhile may be missing or stale here, and its events put that right. Threads and files come from BPF iterators,
// and from /proc where the kernel has none or doesn't show a process in them. It fails only if ctx ends or if neither
// can be read; then sink may have got a part.
func Snapshot(ctx context.Context, cfg SnapshotConfig, sink snapshot.Sink) (SnapshotReport, error) {
	start := time.Now()
	c := NewSnapshotter(cfg)
	defer c.Close()
	rep, err := c.Take(ctx, sink)
	rep.Took = time.Since(start)
	return rep, err
}

// Snapshotter takes snapshots, with iterators that it loads once. Not safe for concurrent use.
type Snapshotter struct {
	cfg              SnapshotConfig
	tasks, files     *iterator
	noTasks, noFiles error // why there is no iterator
}

// NewSnapshotter loads the iterators, where the kernel has them. They take kernel memory until Close, some 40 KiB.
func NewSnapshotter(cfg SnapshotConfig) *Snapshotter {
	c := &Snapshotter{cfg: cfg.withDefaults()}
	if c.cfg.NoIterators {
		c.noTasks, c.noFiles = errIterOff, errIterOff
		return c
	}
	// One after the other, though loading costs more than reading: they share the kernel's types, and where the kernel has
	// modules with types of their own, looking these up changes what is shared without its lock (decoder.inflateType,
	// cilium/ebpf btf/unmarshal.go@v0.22.0), which ends the process.
	c.tasks, c.noTasks = loadTaskIter(c.cfg)
	c.files, c.noFiles = loadFileIter(c.cfg)
	c.cfg.Types, c.cfg.KernelTypes = nil, nil // some MiB, needed no more
	return c
}

// Close unloads the iterators.
func (c *Snapshotter) Close() {
	c.tasks.close()
	c.files.close()
}

// Take takes a snapshot; see Snapshot.
func (c *Snapshotter) Take(ctx context.Context, sink snapshot.Sink) (SnapshotReport, error) {
	start := time.Now()
	s := &shot{cfg: c.cfg, tasks: c.tasks, files: c.files, sink: sink, seen: map[int32]int{}, withFiles: map[int32]bool{}, listening: map[listener]bool{}}
	s.rep.TaskIter, s.rep.FileIter = c.noTasks, c.noFiles
	err := s.take(ctx)
	s.rep.Took = time.Since(start)
	return s.rep, err
}

// shot is a snapshot under way.
type shot struct {
	cfg   SnapshotConfig
	sink  snapshot.Sink
	tasks *iterator // nil: read /proc
	files *iterator
	rep   SnapshotReport
	proc  *procfs
	table taskTable // what the task iterator wrote

	seen      map[int32]int       // threads the iterator showed, by process
	fallback  []int32             // processes that the task iterator didn't show
	withFiles map[int32]bool      // processes of which the file iterator showed files
	byProc    []snapshot.Thread   // threads read from /proc, without arguments and environment
	listening map[listener]bool   // ports that are listened on
	sockets   []pendingSocket     // IP sockets, until all listeners are known
	cgroups   map[uint64][]string // by iter_task_head.css
	thread    snapshot.Thread     // scratch

	socketOf func(pid, fd int32) *socket // asks a single socket; nil: read the tables
}

func (s *shot) take(ctx context.Context) error {
	var err error
	if s.proc, err = openProcfs(filepath.Join(s.cfg.HostRoot, "proc")); err != nil {
		return err
	}
	defer s.proc.close()
	if !s.cfg.NoUsers {
		s.users()
	}

	if s.tasks != nil {
		s.rep.TaskIter = s.readTasks(ctx, s.tasks)
	}
	if err := s.missingThreads(ctx); err != nil {
		if s.rep.TaskIter != nil {
			return fmt.Errorf("snapshot of threads: by iterator: %w; by /proc: %w", s.rep.TaskIter, err)
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s.emitThreads(ctx)
	if s.files != nil {
		s.rep.FileIter = s.readFiles(ctx, s.files)
	}
	s.missingFiles(ctx)
	s.emitSockets()
	return ctx.Err()
}

// process is a main thread with the other threads of its process, by index: at or above zero in taskTable, below in
// byProc as ^index.
type process struct {
	clone   uint64
	leader  int32
	pid     int32
	threads []int32
}

// emitThreads hands out all threads, processes by age, each followed by its other threads.
func (s *shot) emitThreads(ctx context.Context) {
	var procs []process
	at := map[int32]int{}
	add := func(pid, tid int32, clone uint64, index int32) {
		i, ok := at[pid]
		if !ok {
			i = len(procs)
			at[pid] = i
			procs = append(procs, process{clone: clone, pid: pid, leader: index})
			if pid == tid {
				return
			}
			procs[i].threads = append(procs[i].threads, index)
			return
		}
		if pid == tid {
			procs[i].clone, procs[i].leader = clone, index
			return
		}
		procs[i].threads = append(procs[i].threads, index)
	}
	for i := range s.table.at {
		h := s.table.head(i)
		add(h.Pid, h.Tid, h.CloneTs, int32(i))
	}
	for i := range s.byProc {
		t := &s.byProc[i]
		add(int32(t.PID), int32(t.TID), t.CloneTS, ^int32(i))
	}
	slices.SortStableFunc(procs, func(a, b process) int {
		switch {
		case a.clone < b.clone:
			return -1
		case a.clone > b.clone:
			return 1
		}
		return int(a.pid) - int(b.pid)
	})
	s.cgroups = map[uint64][]string{}
	for i := range procs {
		if ctx.Err() != nil {
			return
		}
		s.emitProcess(&procs[i])
	}
}

func (s *shot) emitProcess(p *process) {
	leader := s.load(p.leader)
	if leader.Flags&wasmabi.ThreadKernel == 0 {
		from := p.pid
		if leader.Exiting { // its memory is gone; that of the others is the same
			for _, i := range p.threads {
				if t := s.load(i); !t.Exiting {
					from = int32(t.TID)
					break
				}
			}
		}
		s.proc.commandLine(from, &leader)
	}
	own := leader.TID == leader.PID
	if own {
		s.emitThread(&leader, p.leader)
	}
	for _, i := range p.threads {
		t := s.load(i)
		if t.ExePath == "" {
			t.ExePath, t.Cwd, t.Root = leader.ExePath, leader.Cwd, leader.Root
			t.ExeIno, t.ExeCtime, t.ExeMtime = leader.ExeIno, leader.ExeCtime, leader.ExeMtime
			const exe = wasmabi.ThreadExeWritable | wasmabi.ThreadExeUpperLayer | wasmabi.ThreadExeLowerLayer | wasmabi.ThreadExeFromMemfd
			t.Flags |= leader.Flags & exe
		}
		t.Exe, t.Args, t.Env = leader.Exe, leader.Args, leader.Env
		s.emitThread(&t, i)
	}
}

func (s *shot) emitThread(t *snapshot.Thread, index int32) {
	if s.rep.Threads >= s.cfg.MaxThreads {
		s.rep.ThreadsCut++
		return
	}
	s.rep.Threads++
	if index < 0 {
		s.rep.ProcThreads++
	}
	s.thread = *t
	s.sink.AddThread(&s.thread)
}

// load makes the thread at index, without arguments and environment.
func (s *shot) load(index int32) snapshot.Thread {
	if index < 0 {
		return s.byProc[^index]
	}
	t := s.table.thread(int(index), s.proc)
	h := s.table.head(int(index))
	cg, ok := s.cgroups[h.Css]
	if !ok {
		if cg = s.proc.cgroups(h.Tid); cg != nil {
			s.cgroups[h.Css] = cg
		}
	}
	t.Cgroups = cg
	return t
}

func (s *shot) addFile(f *snapshot.File) {
	s.rep.Files++
	s.sink.AddFile(f)
}
