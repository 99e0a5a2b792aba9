// Package pipeline joins the stages: a record goes through decode and state into the batch, modules judge the batch, and
// verdicts become alerts.
//
// One goroutine runs a Pipeline; Stats and Send may be called from any.
package pipeline

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shikra-sensor/shikra/sensor/internal/arena"
	"github.com/shikra-sensor/shikra/sensor/internal/container"
	"github.com/shikra-sensor/shikra/sensor/internal/decode"
	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/field"
	"github.com/shikra-sensor/shikra/sensor/internal/host"
	"github.com/shikra-sensor/shikra/sensor/internal/output"
	"github.com/shikra-sensor/shikra/sensor/internal/snapshot"
	"github.com/shikra-sensor/shikra/sensor/internal/state"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// Config says how a Pipeline works.
type Config struct {
	Arena      arena.Config
	Engine     string              // "auto" (default), "compiler" or "interpreter"
	Batch      int                 // most events judged together; default wasmabi.BatchMax
	WallOffset func() int64        // what to add to an event's time for wall time, in ns; nil: event times are wall times
	Alert      func(*output.Alert) // gets each alert, in order; it owns the alert
	Hostname   string
	Node       *output.Node
	Log        *slog.Logger // default: discard

	// LookupThread reads a thread that no event told of; nil for none. See state.Config.
	LookupThread func(tid int64, t *snapshot.Thread) bool

	// AskFile has somebody find out what an fd is; the answer goes to FoundFile. Nil for nobody. See state.Config.
	AskFile func(snapshot.FileAsk) bool

	Containers Containers    // finds out what runtimes say of containers; nil for none
	BootTime   func() uint64 // the clock of the events, ns; needed with Containers, else nil for none

	// NoFlushRule queues events on although a state change would show through to them. Tests switch it on to see that
	// they would notice.
	NoFlushRule bool
}

// Pipeline is one running way of the data.
type Pipeline struct {
	cfg     Config
	arena   *arena.Arena
	state   *state.State
	host    *host.Host
	ctx     context.Context
	modules []*module
	columns columns
	wanted  [event.NumTypes]bool // types that some module judges
	read    field.Ctx
	peeks   [event.NumTypes]bool // types of which an output shows more of the state than what an event refers to

	answers   <-chan container.Answer // nil for none
	gone      []*container.Info       // containers that ended during the last record
	made      event.Builder           // of answers' records
	json      []byte                  // scratch of tellContainer
	num       uint64                  // number of the last event
	sending   sync.Mutex
	seq       uint64 // number of the last alert; guarded by sending
	now       int64  // wall offset in use
	st        Stats
	published atomic.Pointer[Stats]
	sinceStat int // flushes since the statistics were published
	lastStat  time.Time
	lastNum   uint64 // of the event before it
}

type module struct {
	*host.Module
	rules    []rule
	failures uint64 // batches it didn't judge to the end
	skipped  uint64 // events in them
}

// minRoom is what a batch must have left before an event is taken: an event at its largest and its extracted values.
const minRoom = 160 << 10

// publishEvery is how often statistics and the clocks' offset are refreshed, publishIdle how often when no event has come since.
const (
	publishEvery = 200 * time.Millisecond
	publishIdle  = time.Second
)

// New makes a Pipeline without modules.
func New(ctx context.Context, cfg Config) (*Pipeline, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Batch == 0 {
		cfg.Batch = wasmabi.BatchMax
	}
	a, err := arena.New(cfg.Arena)
	if err != nil {
		return nil, err
	}
	a.Batch.SetLimit(cfg.Batch)
	p := &Pipeline{cfg: cfg, arena: a, ctx: ctx}
	p.read = field.Ctx{Arena: a}
	sc := state.Config{Arena: a, Flush: p.flushForState, LookupThread: cfg.LookupThread, AskFile: cfg.AskFile, NoFlushRule: cfg.NoFlushRule}
	if cfg.Containers != nil {
		sc.LookupContainer, sc.ContainerGone = cfg.Containers.Request, p.containerGone
		p.answers = cfg.Containers.Answers()
	}
	p.state, err = state.New(sc)
	if err != nil {
		a.Close()
		return nil, err
	}
	p.read.State, p.read.Hostname, p.read.Again = p.state, cfg.Hostname, p.tellAgain
	p.host, err = host.New(ctx, host.Config{Arena: a, Engine: cfg.Engine, Log: cfg.Log, OnAlert: p.onAlert})
	if err != nil {
		a.Close()
		return nil, err
	}
	p.st.start = time.Now()
	p.refreshWall()
	p.publish()
	return p, nil
}

// Load adds a module; its rules judge after those of modules loaded before.
func (p *Pipeline) Load(wasm []byte) error {
	m, err := p.host.Load(p.ctx, wasm, host.LoadOptions{Column: p.columns.index})
	if err != nil {
		return err
	}
	for _, other := range p.modules {
		if name := m.Manifest().Name; other.Manifest().Name == name {
			m.Close()
			return fmt.Errorf("module %s: a module of that name is loaded already", name)
		}
	}
	rules, err := readRules(m.Rules())
	if err != nil {
		m.Close()
		return fmt.Errorf("module %s: %w", m.Manifest().Name, err)
	}
	man := m.Manifest()
	for _, c := range man.EventCodes {
		if int(c) < len(p.wanted) {
			p.wanted[c] = true
		}
	}
	if err := p.columns.use(man); err != nil {
		m.Close()
		return fmt.Errorf("module %s: %w", man.Name, err)
	}
	for i := range rules {
		if !rules[i].peeks() {
			continue
		}
		codes := rules[i].EventCodes
		if len(codes) == 0 {
			codes = man.EventCodes
		}
		for _, c := range codes {
			if int(c) < len(p.peeks) {
				p.peeks[c] = true
			}
		}
	}
	p.modules = append(p.modules, &module{Module: m, rules: rules})
	p.publish()
	return nil
}

// Protect says what the sensor consists of, so that events which act on it are marked. Call it before the first Record.
func (p *Pipeline) Protect(s *field.Sensor) {
	s.Ready()
	p.read.Sensor = s
}

// Sink takes what was there before the first event; call Settled after the last.
func (p *Pipeline) Sink() snapshot.Sink { return p.state }

// Settled says that the snapshot is complete.
func (p *Pipeline) Settled() { p.state.Settled() }

// BeginRepair, Repair and DropRepair bring the state back to what is after events were lost; see state.State.
func (p *Pipeline) BeginRepair(ts uint64) { p.state.BeginRepair(ts) }

// Repair compares up to limit more entries of a snapshot with the state; true when all is done.
func (p *Pipeline) Repair(k *snapshot.Taken, limit int) bool { return p.state.Repair(k, limit) }

// Unsure returns what the last repair left unsure.
func (p *Pipeline) Unsure() int { return p.state.Unsure() }

// FoundFile takes an answer to Config.AskFile.
func (p *Pipeline) FoundFile(a snapshot.FileAsk, f *snapshot.File) { p.state.FoundFile(a, f) }

// DropRepair gives a repair up.
func (p *Pipeline) DropRepair() { p.state.DropRepair() }

// Record takes one record, which is borrowed for the call. A record that can't be read is counted and left out.
func (p *Pipeline) Record(r event.Record) {
	if (len(p.answers) > 0 || len(p.gone) > 0) && len(r) >= event.RecordHeader {
		p.tellContainers(r.TS())
	}
	p.record(r)
}

func (p *Pipeline) record(r event.Record) {
	m, err := decode.Decode(r)
	if err != nil {
		p.st.BadRecords++
		if p.st.BadRecords == 1 {
			p.cfg.Log.Warn("a record can't be read; it and those after it are counted", "err", err)
		}
		return
	}
	if p.num++; p.num == 1 {
		p.read.Start = r.TS()
	}
	t := r.Type()
	p.st.Events[t]++
	if p.wanted[t] && (p.arena.Batch.Full() || p.arena.Batch.Room() < minRoom) {
		p.flush()
	}
	refs := p.state.Apply(r, m, p.wanted[t])
	if !p.wanted[t] {
		return
	}
	e, ok := p.arena.Batch.Append(r, p.num)
	if !ok { // there was room
		p.st.Dropped++
		return
	}
	e.SetThread(refs.Thread)
	e.SetFile(refs.File)
	e.SetFD(refs.FD)
	if m.HasRes {
		e.SetRes(m.Res)
	}
	e.SetBits(m.Bits | refs.Bits)
	e.SetBits(p.read.Targeting(e))
	p.columns.extract(&p.read, e, p.arena.Batch)
	if p.peeks[t] && p.looksAround(e) {
		p.flush()
	}
}

// Flush judges what is queued and brings Stats up to date: for the end of a source.
func (p *Pipeline) Flush() {
	p.flush()
	p.read.EndAgain(math.MaxUint64)
	p.publish()
}

// Idle judges what is queued and refreshes clock and statistics. Sources call it when nothing more is there just now.
func (p *Pipeline) Idle() {
	if len(p.answers) > 0 || len(p.gone) > 0 {
		p.tellContainers(p.cfg.BootTime())
	}
	p.flush()
	if p.cfg.BootTime != nil {
		p.read.EndAgain(p.cfg.BootTime())
	}
	every := publishEvery
	if p.num == p.lastNum {
		every = publishIdle
	}
	if now := time.Now(); now.Sub(p.lastStat) >= every {
		p.lastStat, p.lastNum = now, p.num
		p.refreshWall()
		p.publish()
	}
}

func (p *Pipeline) refreshWall() {
	if p.cfg.WallOffset == nil {
		return
	}
	if o := p.cfg.WallOffset(); o != p.now {
		p.now = o
		p.arena.Batch.SetWallOffset(o)
	}
}

func (p *Pipeline) flushForState() {
	p.st.StateFlushes++
	p.flush()
}

// flush lets every module judge the batch, in order of loading, and empties it.
func (p *Pipeline) flush() {
	n := p.arena.Batch.Len()
	if n > 0 {
		p.st.Batches++
		p.st.Judged += uint64(n)
		for _, m := range p.modules {
			if err := m.Judge(p.ctx); err != nil {
				p.failed(m, n, err)
			}
		}
		if p.st.FirstJudged == 0 {
			p.st.FirstJudged = time.Since(p.st.start)
		}
	}
	p.arena.Flushed()
	if p.sinceStat++; p.sinceStat >= 4096 {
		p.refreshWall()
		p.publish()
	}
}

// failed counts a batch of n events whose judging m didn't end, and says so at the first, second, fourth, eighth … time: a
// module that always traps must not flood the log.
func (p *Pipeline) failed(m *module, n int, err error) {
	m.skipped += uint64(n)
	if m.failures++; m.failures&(m.failures-1) == 0 {
		p.cfg.Log.Error("a module couldn't judge a batch; such batches are counted", "module", m.Manifest().Name, "batches", m.failures, "err", err)
	}
}

// Close frees modules and arena. The Pipeline must not be used after it.
func (p *Pipeline) Close() error {
	p.publish()
	err := p.host.Close()
	if err2 := p.arena.Close(); err == nil {
		err = err2
	}
	return err
}
