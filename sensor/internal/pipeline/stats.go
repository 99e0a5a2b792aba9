package pipeline

import (
	"time"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/host"
	"github.com/shikra-sensor/shikra/sensor/internal/state"
)

// Stats counts what a Pipeline has done since it was made.
type Stats struct {
	Events       [event.NumTypes]uint64 // records taken, by type
	BadRecords   uint64                 // records that couldn't be read
	Dropped      uint64                 // events that found no room in an empty batch
	Judged       uint64                 // events that modules judged
	Batches      uint64                 // calls of each module
	StateFlushes uint64                 // batches cut short by a state change that they could have seen
	Alerts       uint64
	Again        uint64        // acts on the sensor's eBPF objects that were like one told of just before
	FirstJudged  time.Duration // from New to the end of the first batch; 0 before it
	Engine       string        // "compiler" or "interpreter"
	State        state.Stats
	Strings      Pool
	Private      Pool
	Modules      []ModuleStats
	At           time.Time // when these were the counts

	start time.Time
}

// Pool is the use of one string segment.
type Pool struct {
	Used, Limit int // bytes
	Count       int // strings
	Full, Cut   uint64
}

// ModuleStats counts what one module did.
type ModuleStats struct {
	Name    string
	Host    host.Stats
	Skipped uint64 // events of batches that it didn't judge to the end
	Rules   []RuleStats
}

// RuleStats counts one rule's alerts.
type RuleStats struct {
	Name     string
	Priority string
	Alerts   uint64
}

// Total returns the records taken.
func (s *Stats) Total() (n uint64) {
	for _, v := range s.Events {
		n += v
	}
	return n
}

// Stats returns the counts as of the last idle moment, or of a little before. The result is shared and read-only.
func (p *Pipeline) Stats() *Stats { return p.published.Load() }

func (p *Pipeline) publish() {
	p.sinceStat = 0
	s := p.st
	s.At = time.Now()
	s.Engine = p.host.EngineMode()
	s.State = p.state.Stats()
	a := p.arena
	s.Strings = Pool{a.Strings.Used(), a.Strings.Limit(), a.Strings.Count(), a.Strings.Full(), a.Strings.Cut()}
	s.Private = Pool{a.Private.Used(), a.Private.Limit(), a.Private.Count(), a.Private.Full(), a.Private.Cut()}
	for _, m := range p.modules {
		ms := ModuleStats{Name: m.Manifest().Name, Host: m.Stats(), Skipped: m.skipped, Rules: make([]RuleStats, 0, len(m.rules))}
		for i := range m.rules {
			ms.Rules = append(ms.Rules, RuleStats{m.rules[i].Name, m.rules[i].Priority, m.rules[i].alerts})
		}
		s.Modules = append(s.Modules, ms)
	}
	p.published.Store(&s)
}
