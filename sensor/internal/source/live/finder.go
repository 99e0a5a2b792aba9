package live

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shikra-sensor/shikra/sensor/internal/snapshot"
)

// Finder finds out what fds are that no event told of, on a goroutine of its own. What is asked and what is found wait in
// queues of a fixed length.
type Finder struct {
	lookup *Lookup
	asked  chan snapshot.FileAsk
	found  chan finding
	done   sync.WaitGroup

	watched   []watched     // of the goroutine, in order of asking
	dropped   atomic.Uint64 // answers that found no room
	forgotten atomic.Uint64 // fds that weren't watched to the end
}

type finding struct {
	ask  snapshot.FileAsk
	file snapshot.File
}

// watched is an fd that will be closed at a time that nothing tells.
type watched struct {
	finding               // what it is still
	at      time.Time     // when to look again
	wait    time.Duration // and how long to wait then
}

const (
	maxAsked   = 1024 // questions that may wait, and answers
	maxWatched = 128

	// An fd is looked at again soon, as most are closed at once, and then less and less often: an operation of an io_uring may wait
	// for another one for as long as its program likes.
	firstWait, lastWait = 5 * time.Millisecond, 10 * time.Second
)

// NewFinder starts a Finder that reads the /proc below hostRoot. Close ends it.
func NewFinder(hostRoot string) (*Finder, error) {
	l, err := NewLookup(hostRoot)
	if err != nil {
		return nil, err
	}
	f := &Finder{lookup: l, asked: make(chan snapshot.FileAsk, maxAsked), found: make(chan finding, maxAsked)}
	f.done.Go(f.run)
	return f, nil
}

func (f *Finder) run() {
	look := time.NewTimer(lastWait)
	defer look.Stop()
	for {
		select {
		case a, ok := <-f.asked:
			if !ok {
				return
			}
			if n, ok := f.find(a); ok {
				f.answer(n)
				if a.Silent && n.file.FD >= 0 {
					f.watch(n)
				}
			}
		case now := <-look.C:
			f.lookAgain(now)
		}
		if len(f.watched) > 0 {
			look.Reset(time.Until(slices.MinFunc(f.watched, func(a, b watched) int { return a.at.Compare(b.at) }).at))
		}
	}
}

// find looks what a asks for is; false when there is no answer.
func (f *Finder) find(a snapshot.FileAsk) (n finding, ok bool) {
	n.ask = a
	if f.lookup.File(a.PID, a.FD, &n.file) || f.lookup.File(a.Other, a.FD, &n.file) {
		return n, true
	}
	if !a.Again || !f.lookup.closed(a.PID, a.FD) && !f.lookup.closed(a.Other, a.FD) {
		return n, false // closed again
	}
	n.file = snapshot.File{PID: a.PID, FD: -1}
	return n, true
}

func (f *Finder) answer(n finding) {
	select {
	case f.found <- n:
	default:
		f.dropped.Add(1)
	}
}

// watch has n looked at until it is something else. When too many are, the oldest is forgotten.
func (f *Finder) watch(n finding) {
	same := func(w watched) bool { return w.ask.PID == n.ask.PID && w.ask.FD == n.ask.FD }
	if f.watched = slices.DeleteFunc(f.watched, same); len(f.watched) == maxWatched {
		f.watched = slices.Delete(f.watched, 0, 1)
		f.forgotten.Add(1)
	}
	f.watched = append(f.watched, watched{n, time.Now().Add(firstWait), firstWait})
}

// lookAgain looks at the watched fds whose time it is, answers for those that are closed or another, and stops watching them and
// those of processes that have ended.
func (f *Finder) lookAgain(now time.Time) {
	f.watched = slices.DeleteFunc(f.watched, func(w watched) bool { return !now.Before(w.at) && !f.isStill(&w.finding) })
	for i := range f.watched {
		if w := &f.watched[i]; !now.Before(w.at) {
			w.wait = min(2*w.wait, lastWait)
			w.at = now.Add(w.wait)
		}
	}
}

// isStill reports whether an fd is what it was, and answers when it isn't.
func (f *Finder) isStill(was *finding) bool {
	n, ok := f.find(was.ask)
	if !ok {
		return false
	}
	if n.file.FD >= 0 && n.file.Kind == was.file.Kind && n.file.Dev == was.file.Dev && n.file.Ino == was.file.Ino {
		return true
	}
	f.answer(n)
	return false
}

// Ask takes a question; false when too many wait. It doesn't block.
func (f *Finder) Ask(a snapshot.FileAsk) bool {
	select {
	case f.asked <- a:
		return true
	default:
		return false
	}
}

// Dropped returns how many answers were dropped since the start because nobody took those before. Any goroutine may call it.
func (f *Finder) Dropped() uint64 { return f.dropped.Load() }

// Forgotten returns how many fds weren't looked at until they were closed, as too many were. Any goroutine may call it.
func (f *Finder) Forgotten() uint64 { return f.forgotten.Load() }

// Step hands the answers there are to fn, on the caller's goroutine.
func (f *Finder) Step(fn func(snapshot.FileAsk, *snapshot.File)) {
	for {
		select {
		case n := <-f.found:
			fn(n.ask, &n.file)
		default:
			return
		}
	}
}

// Close ends the Finder. Ask must not be called after it.
func (f *Finder) Close() {
	close(f.asked)
	f.done.Wait()
	f.lookup.Close()
}
