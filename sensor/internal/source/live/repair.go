package live

import (
	"context"
	"sync"
	"time"

	"github.com/shikra-sensor/shikra/sensor/internal/snapshot"
)

// Repairable is what a Repairer puts right: the state.
type Repairable interface {
	BeginRepair(ts uint64)
	Repair(k *snapshot.Taken, limit int) (done bool)
	DropRepair()
	Unsure() int
}

// RepairConfig is what a Repairer works with. Zero values take the defaults.
type RepairConfig struct {
	Snapshot SnapshotConfig
	State    Repairable
	Lost     func() uint64 // events lost so far; it is called at each Step, so it must be cheap

	// Whole is called with true before a snapshot is begun and with false when the state has been compared with it: every
	// event from which state learns of files must come meanwhile. Nil: they always do.
	Whole func(on bool)

	MinWait time.Duration // between the end of a repair and the next; default 1 s. It doubles while losses go on,
	MaxWait time.Duration // up to this; default 1 minute
	Step    int           // entries compared between two looks at the clock; default 512
}

// RepairStats says how a Repairer fares.
type RepairStats struct {
	Begun, Failed uint64
	Threads       int           // of the last snapshot
	Files         int           // of the last snapshot
	Took          time.Duration // of the last snapshot
	Err           error         // why the last that failed did
	Pending       bool          // one is under way or is to follow
}

// Repairer brings the state back to what is after events were lost: it takes a snapshot on a goroutine of its own and has the
// state compare it, bit by bit. Step is for the goroutine that owns the state; Stats may be called from any.
type Repairer struct {
	cfg   RepairConfig
	shots *Snapshotter // loaded at the first loss
	ctx   context.Context
	stop  context.CancelFunc
	busy  sync.WaitGroup

	handled uint64 // losses that repairs begun so far know of
	done    chan taken
	reading bool
	merging *snapshot.Taken
	wait    time.Duration
	next    time.Time // not before
	paused  bool
	again   int       // repairs that may follow soon because the last left something unsure,
	later   int       // and then more, one after each wait
	calm    time.Time // from when on the wait is short again

	mu sync.Mutex
	st RepairStats // guarded by mu
}

// stepTime is how long a Step may compare, give or take one RepairConfig.Step: the ring fills meanwhile, and alerts wait. It
// isn't less because everything must come from the kernel until all is compared, unfiltered.
const stepTime = time.Millisecond

// How many repairs may follow one that left something unsure: soon, as with each less is, and after waits that double, as on a
// machine where programs start all the time something always is.
const (
	maxAgain = 4
	maxLater = 6
)

// taken is a snapshot with what became of it.
type taken struct {
	k   *snapshot.Taken
	rep SnapshotReport
	err error
}

// NewRepairer makes a Repairer; Close frees it. Losses before count as dealt with.
func NewRepairer(cfg RepairConfig) *Repairer {
	set := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	set(&cfg.MinWait, time.Second)
	set(&cfg.MaxWait, time.Minute)
	cfg.MaxWait = max(cfg.MaxWait, cfg.MinWait)
	if cfg.Step <= 0 {
		cfg.Step = 512
	}
	cfg.Snapshot = cfg.Snapshot.withDefaults()
	cfg.Snapshot.NoUsers = true
	r := &Repairer{cfg: cfg, done: make(chan taken, 1), wait: cfg.MinWait}
	r.handled = cfg.Lost()
	r.ctx, r.stop = context.WithCancel(context.Background())
	return r
}

// Stats returns how it fares.
func (r *Repairer) Stats() RepairStats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.st
}

// Begin has a repair begin at the next Step though nothing was lost: what happened while the first snapshot was read is applied
// to what may be newer.
func (r *Repairer) Begin() { r.again, r.later = max(r.again, 1+maxAgain), maxLater }

// Pause keeps repairs from beginning, or lets them: while whoever owns the state knows better. One under way goes on.
func (r *Repairer) Pause(on bool) { r.paused = on }

// Step does a little of what is to do. It must be called when the ring was found empty: what a snapshot that has ended saw
// before its end then stands in the state.
func (r *Repairer) Step() {
	switch {
	case r.merging != nil:
		r.merge()
	case r.reading:
		select {
		case t := <-r.done:
			r.reading = false
			r.took(t)
		default:
		}
	default:
		lost := r.cfg.Lost()
		if lost == r.handled && r.again == 0 || r.paused || !time.Now().After(r.next) {
			return
		}
		if lost != r.handled {
			r.again, r.later = maxAgain, maxLater
		} else {
			r.again--
		}
		r.begin(lost, time.Now())
	}
}

// begin starts a snapshot.
func (r *Repairer) begin(lost uint64, now time.Time) {
	r.handled = lost
	if now.After(r.calm) {
		r.wait = r.cfg.MinWait
	}
	if r.cfg.Whole != nil {
		r.cfg.Whole(true)
	}
	r.cfg.State.BeginRepair(BootTime())
	r.reading = true
	r.mu.Lock()
	r.st.Begun++
	r.st.Pending = true
	r.mu.Unlock()
	r.busy.Go(func() {
		if r.shots == nil {
			r.shots = NewSnapshotter(r.cfg.Snapshot)
		}
		t := taken{k: &snapshot.Taken{}}
		t.rep, t.err = r.shots.Take(r.ctx, t.k)
		r.done <- t
	})
}

// took takes over a snapshot.
func (r *Repairer) took(t taken) {
	r.mu.Lock()
	r.st.Threads, r.st.Files, r.st.Took = t.rep.Threads, t.rep.Files, t.rep.Took
	if t.err != nil {
		r.st.Failed++
		r.st.Err = t.err
	}
	r.mu.Unlock()
	if t.err != nil {
		r.cfg.State.DropRepair()
		r.again = max(r.again, 1) // not dealt with
		r.ended(r.wait)
		return
	}
	t.k.AllThreads = t.rep.ThreadsCut == 0
	// An iterator that broke off may have shown a part of a process.
	t.k.AllFiles = (t.rep.FileIter == nil || r.shots.files == nil) && t.rep.Files < r.cfg.Snapshot.MaxFiles
	t.k.PerProcess = r.cfg.Snapshot.MaxFilesPerProcess
	r.merging = t.k
	r.merge()
}

func (r *Repairer) merge() {
	for begin := time.Now(); !r.cfg.State.Repair(r.merging, r.cfg.Step); {
		if time.Since(begin) >= stepTime {
			return
		}
	}
	r.merging = nil
	switch wait := r.wait; {
	case r.cfg.State.Unsure() == 0:
		r.again, r.later = 0, 0
		r.ended(wait)
	case r.again > 0:
		r.ended(r.cfg.MinWait / 4)
	default:
		r.ended(wait)
		if r.later > 0 {
			r.later--
			r.again = 1
		}
	}
}

// ended says when the next may begin: later each time, until there was no loss for as long again.
func (r *Repairer) ended(wait time.Duration) {
	if r.cfg.Whole != nil {
		r.cfg.Whole(false)
	}
	now := time.Now()
	r.next = now.Add(wait)
	if r.again == 0 {
		r.wait = min(2*r.wait, r.cfg.MaxWait)
		r.calm = r.next.Add(r.wait)
	}
	r.mu.Lock()
	r.st.Pending = r.again > 0 || r.later > 0
	r.mu.Unlock()
}

// Close waits for what is under way and frees the iterators. Step must not be called after it.
func (r *Repairer) Close() {
	r.stop()
	r.busy.Wait()
	if r.shots != nil {
		r.shots.Close()
	}
}
