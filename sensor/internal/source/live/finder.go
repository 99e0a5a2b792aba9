package live

import (
	"sync"
	"sync/atomic"

	"github.com/shikra-sensor/shikra/sensor/internal/snapshot"
)

// Finder finds out what fds are that no event told of, on a goroutine of its own. What is asked and what is found wait in
// queues of a fixed length.
type Finder struct {
	lookup *Lookup
	asked  chan snapshot.FileAsk
	found  chan finding
	done   sync.WaitGroup

	dropped atomic.Uint64 // answers that found no room
}

type finding struct {
	ask  snapshot.FileAsk
	file snapshot.File
}

// maxAsked is how many questions, and how many answers, may wait.
const maxAsked = 256

// NewFinder starts a Finder that reads the /proc below hostRoot. Close ends it.
func NewFinder(hostRoot string) (*Finder, error) {
	l, err := NewLookup(hostRoot)
	if err != nil {
		return nil, err
	}
	f := &Finder{lookup: l, asked: make(chan snapshot.FileAsk, maxAsked), found: make(chan finding, maxAsked)}
	f.done.Go(func() {
		for a := range f.asked {
			n := finding{ask: a}
			if !l.File(a.PID, a.FD, &n.file) && !l.File(a.Other, a.FD, &n.file) {
				if !a.Again || !l.closed(a.PID, a.FD) && !l.closed(a.Other, a.FD) {
					continue // closed again
				}
				n.file = snapshot.File{PID: a.PID, FD: -1}
			}
			select {
			case f.found <- n:
			default:
				f.dropped.Add(1)
			}
		}
	})
	return f, nil
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
