package output

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Output is one place that alerts go to.
type Output struct {
	Name   string
	Format Format
	W      io.Writer

	sent, failed atomic.Uint64
}

// Stats counts what became of the alerts given to one output.
type Stats struct {
	Name         string
	Sent, Failed uint64
}

// Queue takes alerts without waiting and writes them to every output in order. Alerts that find it full are dropped and
// counted. All methods may be called from any goroutine.
type Queue struct {
	outs    []*Output
	ch      chan *Alert
	done    chan struct{}
	once    sync.Once
	mu      sync.RWMutex // held for writing while ch is closed
	closed  bool         // guarded by mu
	dropped atomic.Uint64
	onError func(name string, err error)
}

// NewQueue starts the writer. size is the most alerts that may wait. onError hears of the first failure in a row of each
// output, and may be nil.
func NewQueue(size int, onError func(name string, err error), outs ...*Output) *Queue {
	q := &Queue{outs: outs, ch: make(chan *Alert, size), done: make(chan struct{}), onError: onError}
	go q.run()
	return q
}

// Put queues a, which must not be changed after. False when it was dropped.
func (q *Queue) Put(a *Alert) bool {
	q.mu.RLock()
	defer q.mu.RUnlock()
	if !q.closed {
		select {
		case q.ch <- a:
			return true
		default:
		}
	}
	q.dropped.Add(1)
	return false
}

// PutWait queues a, waiting for room until ctx ends; for a source that has time.
func (q *Queue) PutWait(ctx context.Context, a *Alert) bool {
	q.mu.RLock()
	defer q.mu.RUnlock()
	if !q.closed {
		select {
		case q.ch <- a:
			return true
		case <-ctx.Done():
		}
	}
	q.dropped.Add(1)
	return false
}

func (q *Queue) run() {
	defer close(q.done)
	bufs := make([][]byte, len(q.outs))
	failing := make([]bool, len(q.outs))
	for a := range q.ch {
		n := uint64(1)
		for i, o := range q.outs {
			bufs[i] = o.Format.Append(bufs[i][:0], a)
		}
		// What already waits goes out in the same write, up to a bound.
		for more := true; more && n < 256; {
			select {
			case b, ok := <-q.ch:
				if !ok {
					more = false
					break
				}
				n++
				for i, o := range q.outs {
					bufs[i] = o.Format.Append(bufs[i], b)
				}
			default:
				more = false
			}
		}
		for i, o := range q.outs {
			if _, err := o.W.Write(bufs[i]); err != nil {
				o.failed.Add(n)
				if !failing[i] && q.onError != nil {
					q.onError(o.Name, err)
				}
				failing[i] = true
				continue
			}
			failing[i] = false
			o.sent.Add(n)
		}
	}
}

// Close stops taking alerts and waits until those queued are written, or ctx ends.
func (q *Queue) Close(ctx context.Context) error {
	q.once.Do(func() {
		q.mu.Lock()
		q.closed = true
		close(q.ch)
		q.mu.Unlock()
	})
	select {
	case <-q.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("write the last alerts: %w", ctx.Err())
	}
}

// Dropped returns how many alerts found the queue full.
func (q *Queue) Dropped() uint64 { return q.dropped.Load() }

// Waiting returns how many alerts wait.
func (q *Queue) Waiting() int { return len(q.ch) }

// Stats returns the counts of each output.
func (q *Queue) Stats() []Stats {
	out := make([]Stats, len(q.outs))
	for i, o := range q.outs {
		out[i] = Stats{Name: o.Name, Sent: o.sent.Load(), Failed: o.failed.Load()}
	}
	return out
}

// File appends to a file and opens it again when it was renamed or removed (log rotation), checked once a second.
type File struct {
	path    string
	f       *os.File
	checked time.Time
}

// OpenFile opens path for appending; a new file is readable by its owner only.
func OpenFile(path string) (*File, error) {
	f := &File{path: path}
	if err := f.open(); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *File) open() error {
	n, err := os.OpenFile(f.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open alert file: %w", err)
	}
	if f.f != nil {
		f.f.Close()
	}
	f.f = n
	return nil
}

// Write appends b.
func (f *File) Write(b []byte) (int, error) {
	if now := time.Now(); now.Sub(f.checked) >= time.Second {
		f.checked = now
		a, err1 := f.f.Stat()
		b, err2 := os.Stat(f.path)
		if err1 != nil || err2 != nil || !os.SameFile(a, b) {
			if err := f.open(); err != nil {
				return 0, err
			}
		}
	}
	return f.f.Write(b)
}

// Close closes the file.
func (f *File) Close() error { return f.f.Close() }
