// Package lookup finds out off the hot path what container runtimes say of the containers that the state meets.
//
// A request waits in a bounded queue until a runtime has answered. A runtime that doesn't know the container yet, or can't
// be reached, is asked again, at growing intervals, for as long as the container is there.
package lookup

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/shikra-sensor/shikra/sensor/internal/container"
	"github.com/shikra-sensor/shikra/sensor/internal/container/engine"
)

// Config says how a Lookup works.
type Config struct {
	Sockets  []Socket      // in the order in which they are asked
	Root     string        // the host's root; default "/"
	Queue    int           // most containers waiting for an answer; default 1024
	Timeout  time.Duration // of asking one runtime for one container; default 2 s
	LabelMax int           // bytes; labels with longer values are left out; default 100
	Users    bool          // read the users of each container from its own /etc/passwd and /etc/group
	Log      *slog.Logger  // default: discard
}

// How a Lookup paces itself.
const (
	parallel    = 2                      // runtimes asked at the same time
	firstRetry  = 200 * time.Millisecond // a runtime may know its container a moment after its first process
	lastRetry   = time.Minute
	firstLook   = 20 * time.Millisecond  // its first process soon has the container's root
	firstRest   = 500 * time.Millisecond // of a socket that didn't answer
	lastRest    = 15 * time.Second
	findSockets = 5 * time.Second // how often patterns of sockets are looked up
)

// Lookup is a running lookup. Its methods may be called from any goroutine.
type Lookup struct {
	cfg     Config
	answers chan container.Answer
	wake    chan struct{}
	cancel  context.CancelFunc
	done    sync.WaitGroup
	places  places

	nested bool // the host's root is a container's

	mu    sync.Mutex
	jobs  map[who]*job   // guarded by mu
	share map[string]int // guarded by mu; jobs by container.Share of their owner
	st    Stats          // guarded by mu
}

// who is a container: its full id, and who can have made it.
type who struct{ id, owner string }

// job is one container that waits for an answer.
type job struct {
	who
	kind    uint32
	domain  container.Domain
	tid     int64 // a thread of it; guarded by Lookup.mu
	tries   int
	noInfo  bool // no runtime is asked: there is none, or it has answered
	noUsers bool // its users aren't looked for (any more)
	next    time.Time
	running bool
}

// Stats counts what a Lookup has done.
type Stats struct {
	Requests uint64
	Answers  uint64
	Dropped  uint64 // requests that found the queue, or what one user may have of it, full
	Waiting  int    // containers without an answer yet
	Limit    int    // most that may wait
	Engines  []EngineStats
}

// EngineStats counts what one kind of runtime was asked.
type EngineStats struct {
	Name     string
	Asked    uint64
	NotFound uint64        // it answered that it has no such container
	Failed   uint64        // it couldn't be asked, or its answer couldn't be read
	Time     time.Duration // that asking took
}

// New starts a Lookup. Close ends it.
func New(cfg Config) *Lookup {
	if cfg.Queue <= 0 {
		cfg.Queue = 1024
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 2 * time.Second
	}
	if cfg.LabelMax <= 0 {
		cfg.LabelMax = 100
	}
	if cfg.Root == "" {
		cfg.Root = "/"
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &Lookup{cfg: cfg, answers: make(chan container.Answer, 64), wake: make(chan struct{}, 1), cancel: cancel, jobs: map[who]*job{}, share: map[string]int{}}
	l.nested = isContainer(cfg.Root)
	l.places = places{cfg: &l.cfg}
	l.done.Add(1)
	go l.run(ctx)
	return l
}

// Close ends the Lookup and waits for what it is doing, at most Config.Timeout.
func (l *Lookup) Close() {
	l.cancel()
	l.done.Wait()
	l.places.close()
}

// Answers gives what was found. Who asked must take it; what isn't taken holds up the rest.
func (l *Lookup) Answers() <-chan container.Answer { return l.answers }

// Request asks for a container by its full id and its owner (container.Place), views that aren't kept; tid is a thread of it.
// It reports whether an answer will come, or none can be had: false says that the queue is full, or what one user may have
// of it.
func (l *Lookup) Request(id, owner []byte, kind uint32, tid int64) bool {
	j := &job{who: who{string(id), string(owner)}, kind: kind, domain: container.DomainOf(string(owner)), tid: tid, noUsers: !l.cfg.Users, next: time.Now()}
	j.noInfo = len(enginesOf(kind, j.domain)) == 0 || !l.knows(j.domain)
	if j.noInfo && j.noUsers {
		return true
	}
	share := string(container.Share(owner))
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.jobs[j.who]; ok {
		return true
	}
	if len(l.jobs) >= l.cfg.Queue || share != "" && l.share[share] >= max(l.cfg.Queue/4, 1) {
		l.st.Dropped++
		return false
	}
	l.st.Requests++
	l.jobs[j.who] = j
	if share != "" {
		l.share[share]++
	}
	l.kick()
	return true
}

// knows reports whether a runtime on this host may know containers of that domain: those within a container are a runtime's
// in there. When the host is a container itself (a node of kind's), the probe sees that it is around all others.
func (l *Lookup) knows(d container.Domain) bool {
	return !d.Unknown && (d.Depth == 0 || d.Depth == 1 && l.nested)
}

// remove takes a job out of the queue. mu is held.
func (l *Lookup) remove(w who) {
	if _, ok := l.jobs[w]; !ok {
		return
	}
	delete(l.jobs, w)
	if share := string(container.Share([]byte(w.owner))); share != "" {
		if l.share[share]--; l.share[share] == 0 {
			delete(l.share, share)
		}
	}
}

// Forget gives up a request: the container is gone.
func (l *Lookup) Forget(id, owner []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.remove(who{string(id), string(owner)})
}

// Thread names another thread of a container, after an Answer that wants one.
func (l *Lookup) Thread(id, owner string, tid int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if j := l.jobs[who{id, owner}]; j != nil {
		j.tid = tid
	}
}

func (l *Lookup) thread(j *job) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return j.tid
}

// Stats returns the counts.
func (l *Lookup) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	st := l.st
	st.Waiting, st.Limit = len(l.jobs), l.cfg.Queue
	st.Engines = append([]EngineStats(nil), l.st.Engines...)
	return st
}

func (l *Lookup) kick() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// run starts each job when it is due.
func (l *Lookup) run(ctx context.Context) {
	defer l.done.Done()
	var workers sync.WaitGroup
	defer workers.Wait()
	slots := make(chan struct{}, parallel)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		j, wait := l.due(time.Now())
		if j == nil {
			<-slots
			timer.Reset(wait)
			select {
			case <-l.wake:
			case <-timer.C:
			case <-ctx.Done():
				return
			}
			continue
		}
		workers.Add(1)
		go func() {
			defer workers.Done()
			l.do(ctx, j)
			<-slots
		}()
	}
}

// due takes the job that has been due for longest; none: how long until one is.
func (l *Lookup) due(now time.Time) (*job, time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var first *job
	for _, j := range l.jobs {
		if !j.running && (first == nil || j.next.Before(first.next)) {
			first = j
		}
	}
	switch {
	case first == nil:
		return nil, time.Hour
	case first.next.After(now):
		return nil, first.next.Sub(now)
	}
	first.running = true
	return first, 0
}

// do looks for what is still to be found out about j's container.
func (l *Lookup) do(ctx context.Context, j *job) {
	a := container.Answer{ID: j.id, Owner: j.owner, Kind: j.kind}
	if !j.noUsers {
		var err error
		a.Users, a.Groups, err = readUsers(l.cfg.Root, l.thread(j), j.who)
		j.noUsers = err == nil || j.tries >= userTries
		a.Thread = err == errGone && !j.noUsers
	}
	root, err := true, error(nil)
	if !j.noInfo && j.domain.Service {
		root, err = madeByRoot(l.cfg.Root, l.thread(j), j.who)
		a.Thread = a.Thread || err == errGone
		j.noInfo = err == nil && !root
	}
	if !j.noInfo && err == nil {
		a.Info = l.ask(ctx, j)
		if j.noInfo = a.Info != nil; j.noInfo {
			a.Info.Owner, a.Info.Owned = j.owner, true
		}
	}
	l.mu.Lock()
	j.running = false
	wanted := l.jobs[j.who] == j // else forgotten meanwhile
	if wanted && j.noInfo && j.noUsers {
		l.remove(j.who)
	} else {
		first := firstRetry
		if !j.noUsers {
			first = firstLook
		}
		j.next = time.Now().Add(backoff(j.tries, first, lastRetry))
		j.tries++
	}
	if wanted && a.Info != nil {
		l.st.Answers++
	}
	l.mu.Unlock()
	l.kick()
	if !wanted || a.Info == nil && len(a.Users)+len(a.Groups) == 0 && !a.Thread {
		return
	}
	select {
	case l.answers <- a:
	case <-ctx.Done():
	}
}

// ask asks the runtimes that may know j's container, one after the other; nil when none does.
func (l *Lookup) ask(ctx context.Context, j *job) *container.Info {
	for _, p := range l.places.of(j.kind, j.domain) {
		if ctx.Err() != nil {
			return nil
		}
		if !p.ready(time.Now()) {
			continue
		}
		if in, err := l.get(ctx, p, j); err == nil {
			return in
		}
	}
	return nil
}

// get asks one runtime and counts how it went.
func (l *Lookup) get(ctx context.Context, p *place, j *job) (*container.Info, error) {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Timeout)
	defer cancel()
	start := time.Now()
	info, err := p.Get(ctx, j.id, j.domain.Namespace)
	took := time.Since(start)
	found := err == nil || errors.Is(err, engine.ErrNotFound)
	rested := p.report(found, time.Now())

	l.mu.Lock()
	st := l.engine(p.Name())
	st.Asked++
	st.Time += took
	switch {
	case err == nil:
	case found:
		st.NotFound++
	default:
		st.Failed++
	}
	if found && rested { // it is back: what waits for it needn't wait on
		for _, j := range l.jobs {
			if !j.running {
				j.tries, j.next = 0, start
			}
		}
	}
	l.mu.Unlock()
	switch {
	case found && rested:
		l.cfg.Log.Info("a container runtime answers again", "engine", p.Name(), "socket", p.Socket())
		l.kick()
	case !found && !rested && ctx.Err() != context.Canceled:
		l.cfg.Log.Warn("a container runtime doesn't answer; it is asked again", "engine", p.Name(), "socket", p.Socket(), "err", err)
	}
	return info, err
}

// engine returns the counts of a kind of runtime. mu is held.
func (l *Lookup) engine(name string) *EngineStats {
	for i := range l.st.Engines {
		if l.st.Engines[i].Name == name {
			return &l.st.Engines[i]
		}
	}
	l.st.Engines = append(l.st.Engines, EngineStats{Name: name})
	return &l.st.Engines[len(l.st.Engines)-1]
}

// backoff returns how long to wait after so many tries: first, then twice as long each time, at most last.
func backoff(tries int, first, last time.Duration) time.Duration {
	if tries > 20 {
		return last
	}
	return min(first<<tries, last)
}
