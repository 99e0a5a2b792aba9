package live

import (
	"context"
	"errors"
	"math"
	"runtime"
	"time"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

// RunConfig is what Run works with.
type RunConfig struct {
	Ring   *Ring
	Record func(event.Record) // called for each record; the bytes are valid until it returns
	Idle   func()             // called each time the ring is found empty, before sleeping; nil for none

	Sleep time.Duration // between two looks at the ring; default 18 ms, or less where the ring would fill
}

// How Run paces itself.
const (
	round       = 4096  // records drained before looking up: whether to stop, whether others want the CPU
	burstPerSec = 200e6 // bytes a second that an idle system may start to write without warning
	shortest    = 50 * time.Microsecond
)

// Run drains the ring until ctx ends, then once more what stands in it at that moment, and returns nil; or at once an
// error for an unfit configuration, or when there is no timer to be had. The probe writes without waking anybody, so Run polls:
// when the ring is empty it calls Idle and sleeps, always short enough that the ring cannot fill. Waking up, to cold caches, costs more
// than some hundred records: it is as rare as alerts may be late, at any rate. It never spins and gives way to other goroutines, so that
// GOMAXPROCS=1 will do. Record and Idle are called on the caller's goroutine.
func Run(ctx context.Context, cfg RunConfig) error {
	if cfg.Ring == nil || cfg.Record == nil {
		return errors.New("live source: Ring and Record must be set")
	}
	p := newPace(cfg.Sleep, cfg.Ring.Size())
	done := ctx.Done()
	timer, err := newSleeper()
	if err != nil {
		return err
	}
	defer timer.close()
	last := time.Now()
	for {
		before := cfg.Ring.bytes.Load()
		stop := drainAll(&cfg, done)
		if cfg.Idle != nil {
			cfg.Idle()
		}
		if stop {
			return nil
		}
		now := time.Now()
		d := p.next(now.Sub(last), cfg.Ring.bytes.Load()-before)
		last = now
		if err := timer.sleep(d); err != nil {
			return err
		}
	}
}

// drainAll drains until the ring is empty. Once done is closed it reads no more than the ring held then, so that a flood can't keep
// it, and reports stop.
func drainAll(cfg *RunConfig, done <-chan struct{}) (stop bool) {
	end := uint64(math.MaxUint64)
	for {
		if !stop {
			select {
			case <-done:
				stop, end = true, cfg.Ring.bytes.Load()+uint64(cfg.Ring.Pending())
			default:
			}
		}
		n := cfg.Ring.Drain(cfg.Record, round)
		if n < round || cfg.Ring.bytes.Load() >= end {
			return stop
		}
		runtime.Gosched()
	}
}

// pace chooses how long to sleep.
type pace struct {
	most time.Duration
	size int
	prev time.Duration
}

func newPace(sleep time.Duration, size int) *pace {
	if sleep <= 0 {
		sleep = 18 * time.Millisecond
	}
	// Half of the ring must last through the sleep even if the system comes to life the moment it begins.
	calm := time.Duration(float64(size) / 2 / burstPerSec * float64(time.Second))
	most := max(min(sleep, calm), shortest)
	return &pace{most: most, size: size, prev: most}
}

// next returns the next sleep after elapsed brought so many bytes. Sleeps shrink at once and grow by half.
func (p *pace) next(elapsed time.Duration, bytes uint64) time.Duration {
	d := min(p.most, p.prev+p.prev/2)
	if bytes > 0 {
		fill := time.Duration(float64(elapsed) * float64(p.size) / float64(bytes))
		d = max(min(d, fill/8), shortest)
	}
	p.prev = d
	return d
}
