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

	MinSleep time.Duration // shortest sleep; default 1 ms
	MaxSleep time.Duration // longest sleep; default 18 ms
}

// How Run paces itself.
const (
	round       = 4096  // records drained before looking up: whether to stop, whether others want the CPU
	aim         = 256   // records that one wake-up should find: a full batch
	burstPerSec = 200e6 // bytes a second that an idle system may start to write without warning
	shortest    = 50 * time.Microsecond
)

// Run drains the ring until ctx ends, then once more what stands in it at that moment, and returns nil; or at once an
// error for an unfit configuration, or when there is no timer to be had. The probe writes without waking anybody, so Run polls: when the ring is empty it calls Idle and
// sleeps for as long as a batch takes to fill at the present rate, from MinSleep under load to MaxSleep when nothing
// happens, and always short enough that the ring cannot fill. It never spins and gives way to other goroutines, so
// that GOMAXPROCS=1 will do. Record and Idle are called on the caller's goroutine.
func Run(ctx context.Context, cfg RunConfig) error {
	if cfg.Ring == nil || cfg.Record == nil {
		return errors.New("live source: Ring and Record must be set")
	}
	p := newPace(cfg.MinSleep, cfg.MaxSleep, cfg.Ring.Size())
	done := ctx.Done()
	timer, err := newSleeper()
	if err != nil {
		return err
	}
	defer timer.close()
	last := time.Now()
	for {
		before := cfg.Ring.bytes.Load()
		records, stop := drainAll(&cfg, done)
		if cfg.Idle != nil {
			cfg.Idle()
		}
		if stop {
			return nil
		}
		now := time.Now()
		d := p.next(now.Sub(last), records, cfg.Ring.bytes.Load()-before)
		last = now
		if err := timer.sleep(d); err != nil {
			return err
		}
	}
}

// drainAll drains until the ring is empty and returns how many records it found. Once done is closed it reads no more
// than the ring held then, so that a flood can't keep it, and reports stop.
func drainAll(cfg *RunConfig, done <-chan struct{}) (records int, stop bool) {
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
		records += n
		if n < round || cfg.Ring.bytes.Load() >= end {
			return records, stop
		}
		runtime.Gosched()
	}
}

// pace chooses how long to sleep.
type pace struct {
	lo, hi time.Duration
	size   int
	prev   time.Duration
}

func newPace(lo, hi time.Duration, size int) *pace {
	if lo <= 0 {
		lo = time.Millisecond
	}
	if hi <= 0 {
		hi = 18 * time.Millisecond
	}
	// Half of the ring must last through the sleep even if the system comes to life the moment it begins.
	calm := time.Duration(float64(size) / 2 / burstPerSec * float64(time.Second))
	hi = max(min(hi, calm), shortest)
	lo = min(lo, hi)
	return &pace{lo: lo, hi: hi, size: size, prev: lo}
}

// next returns the next sleep after elapsed brought records, of so many bytes. Sleeps shrink at once and grow by half.
func (p *pace) next(elapsed time.Duration, records int, bytes uint64) time.Duration {
	d := p.hi
	if records > 0 {
		d = min(d, time.Duration(float64(elapsed)*aim/float64(records)))
	}
	d = max(min(d, p.prev+p.prev/2), p.lo)
	if bytes > 0 {
		fill := time.Duration(float64(elapsed) * float64(p.size) / float64(bytes))
		d = max(min(d, fill/8), shortest)
	}
	p.prev = d
	return d
}
