package cli

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shikra-sensor/shikra/sensor/internal/config"
	"github.com/shikra-sensor/shikra/sensor/internal/loss"
	"github.com/shikra-sensor/shikra/sensor/internal/output"
	"github.com/shikra-sensor/shikra/sensor/internal/pipeline"
	"github.com/shikra-sensor/shikra/sensor/internal/probe"
	"github.com/shikra-sensor/shikra/sensor/internal/source/live"
)

// lossRule is the rule that alerts about losses name.
const lossRule = "Shikra internal: events lost"

// lossEvery is how often losses are looked for.
const lossEvery = time.Second

// errLost ends the sensor when loss.actions names exit.
var errLost = errors.New("events were lost, and loss.actions says exit")

// lossWatch looks for losses in a goroutine of its own, and reacts.
type lossWatch struct {
	cfg       config.Loss
	s         *sensor
	read      func() (loss.Counts, error)
	fail      func(error)
	reactions atomic.Uint64
	lost      atomic.Uint64 // events, as of the last look

	once  sync.Once
	begun chan struct{}
	quit  chan struct{}
	done  chan struct{}
}

// watchLosses looks at the counts that read gives, from begin on. fail ends the sensor. Call stop.
func watchLosses(cfg config.Loss, s *sensor, read func() (loss.Counts, error), fail func(error)) *lossWatch {
	l := &lossWatch{cfg: cfg, s: s, read: read, fail: fail, begun: make(chan struct{}), quit: make(chan struct{}), done: make(chan struct{})}
	go l.run()
	return l
}

// begin has losses looked for. What was lost before then is of the first look: nothing reacts to it while the sensor still
// starts. Call it once.
func (l *lossWatch) begin() { close(l.begun) }

func (l *lossWatch) run() {
	defer close(l.done)
	select {
	case <-l.begun:
	case <-l.quit:
		return
	}
	w := loss.New(loss.Config{Threshold: l.cfg.Threshold, Rate: l.cfg.Rate, Burst: l.cfg.Burst, Simulate: l.cfg.Simulate,
		OnLoss: func(d *loss.Delta) { l.lost.Add(d.Total()) }})
	tick := time.NewTicker(lossEvery)
	defer tick.Stop()
	w.Look(time.Now(), loss.Counts{})
	unread := false
	for stop := false; !stop; {
		select {
		case <-tick.C:
		case <-l.quit:
			stop = true
		}
		c, err := l.read()
		if err != nil {
			if !unread {
				l.s.log.Error("losses can't be counted", "err", err)
			}
			unread = true
			continue
		}
		unread = false
		if d := w.Look(time.Now(), c); d != nil {
			l.react(d)
		}
	}
	if d := w.Untold(); d != nil && !slices.Contains(l.cfg.Actions, loss.Ignore) {
		l.s.log.Warn("events were lost, of which loss.rate let no reaction tell", "what", d.String())
	}
}

// react does what the configuration says.
func (l *lossWatch) react(d *loss.Delta) {
	if slices.Contains(l.cfg.Actions, loss.Ignore) {
		return
	}
	l.reactions.Add(1)
	if slices.Contains(l.cfg.Actions, loss.Log) {
		l.s.log.Warn("events were lost", "what", d.String())
	}
	if slices.Contains(l.cfg.Actions, loss.Alert) {
		now, what := time.Now(), "Events lost"
		if d.Total() == 0 {
			what = "State incomplete"
		}
		l.s.Send(&output.Alert{
			Time: now, Rule: lossRule, Priority: "Critical", Source: "internal", Tags: []string{"loss"},
			Output: what + " | " + d.String(), Fields: d.AppendFields(nil, now),
		})
	}
	if slices.Contains(l.cfg.Actions, loss.Exit) {
		l.fail(fmt.Errorf("%w: %s", errLost, d))
	}
}

// stop looks a last time and returns when nothing more will be said. Later calls do nothing.
func (l *lossWatch) stop() {
	l.once.Do(func() { close(l.quit) })
	<-l.done
}

// lossCounts gathers what every stage lost.
func lossCounts(p *probe.Probe, ring *live.Ring, st *pipeline.Stats) (loss.Counts, error) {
	c, err := p.Counters()
	if err != nil {
		return loss.Counts{}, err
	}
	rs := ring.Stats()
	out := loss.Counts{
		Made: c.Total(),
		Lost: map[string]uint64{
			"ring_unreadable": rs.Bad, // each time at least one event
			"bad_record":      st.BadRecords,
			"no_room":         st.Dropped,
		},
		Full:     map[string]uint64{"strings": st.Strings.Full, "private_strings": st.Private.Full},
		Syscalls: map[string]uint64{},
	}
	for cause, n := range c.LostByCause {
		out.Lost[probe.Cause(cause).String()] = n
	}
	for _, n := range c.SkippedByHook { // at most so many events: not every run makes one
		out.Lost["hook_skipped"] += n
		out.Made += n
	}
	for _, u := range c.ByCPU {
		out.CPUs = append(out.CPUs, u.Lost)
	}
	for name, m := range c.BySyscall {
		out.Syscalls[name] = m.Lost
	}
	for _, t := range stateTables(&st.State) {
		out.Full[t.name] = t.full
	}
	return out, nil
}
