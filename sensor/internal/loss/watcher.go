package loss

import (
	"time"
)

// The actions.
const (
	Ignore = "ignore" // nothing, but the counts are kept
	Log    = "log"    // a line in the sensor's log
	Alert  = "alert"  // an alert, where rules' alerts go
	Exit   = "exit"   // the sensor ends with a failure
)

// Simulated is the cause of losses that Config.Simulate makes up.
const Simulated = "simulated"

// Config says when to react.
type Config struct {
	Threshold float64 // share of the events made that must be exceeded within a look, 0 to 1
	Rate      float64 // reactions a second, in the long run
	Burst     int     // reactions that may follow each other at once
	Simulate  bool    // lose, as it seems, one event between each two looks

	// OnLoss, if not nil, hears of every look that finds something lost or a table full, whether or not there is a reaction:
	// what state was learnt from events may be wrong from then on. It is called on Look's goroutine; d is valid until it returns.
	OnLoss func(d *Delta)
}

// Watcher looks at counts from time to time. It is for one goroutine.
type Watcher struct {
	cfg    Config
	begun  bool
	at     time.Time // of the last look
	last   Counts
	over   bool  // pending has exceeded the threshold and waits for its reaction
	wait   Delta // what no reaction has told of yet
	bucket bucket
}

// New returns a Watcher whose first look is the one that all later ones compare with.
func New(cfg Config) *Watcher {
	return &Watcher{cfg: cfg, bucket: bucket{rate: cfg.Rate, burst: float64(cfg.Burst), tokens: float64(cfg.Burst)}}
}

// Look compares c, which it keeps, with the look before. It returns what to react to, or nil. When the rate allows no
// reaction, what was lost is told by the next one: added up, reactions tell of every loss from the first that exceeded the
// threshold on.
func (w *Watcher) Look(now time.Time, c Counts) *Delta {
	if !w.begun {
		w.begun, w.at, w.last, w.bucket.at = true, now, c, now
		return nil
	}
	var d Delta
	d.add(&w.last, &c, now.Sub(w.at))
	w.last, w.at = c, now
	if w.cfg.Simulate {
		d.Made++
		addMap(&d.Lost, nil, map[string]uint64{Simulated: 1})
	}
	lossy := d.Total()+d.TotalFull() > 0
	if lossy && w.cfg.OnLoss != nil {
		w.cfg.OnLoss(&d)
	}
	if lossy && d.exceeds(w.cfg.Threshold) {
		w.over = true
	}
	if !w.over {
		return nil
	}
	w.wait.merge(&d)
	if !w.bucket.take(now) {
		return nil
	}
	out := w.wait
	w.wait, w.over = Delta{}, false
	return &out
}

// exceeds reports whether more than the share t of the events was lost, or as many entries of the state.
func (d *Delta) exceeds(t float64) bool {
	return d.Share() > t || float64(d.TotalFull()) > t*float64(d.Made)
}

// Untold returns what was lost since the last reaction and exceeded the threshold; nil for nothing: for the end of a run.
func (w *Watcher) Untold() *Delta {
	if !w.over {
		return nil
	}
	return &w.wait
}

// bucket is a token bucket.
type bucket struct {
	rate, burst float64 // tokens a second, most tokens
	tokens      float64
	at          time.Time
}

// take takes a token. False when there is none.
func (b *bucket) take(now time.Time) bool {
	b.tokens = min(b.burst, b.tokens+b.rate*max(now.Sub(b.at).Seconds(), 0))
	b.at = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
