package host

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/shikra-sensor/shikra/sensor/internal/wasm"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// Module is a loaded module. Its methods are safe for concurrent use; calls into the guest go one by one.
type Module struct {
	host     *Host
	manifest wasmabi.Manifest
	rules    []wasmabi.Rule
	plan     windowPlan
	columns  []uint32 // offsets in the batch segment, by the manifest's fields
	runtime  wazero.Runtime
	compiled wazero.CompiledModule
	ctx      context.Context // of calls: the engine looks things up in it, so it is the plainest one
	times    Times

	fuel, slice             uint64 // for one batch, for one refill
	minPages, maxPages      uint32
	fuelGlobal, depthGlobal int

	mu     sync.Mutex // held during calls: memory is never unmapped under one
	inst   *instance  // guarded by mu; nil after a trap whose fresh start failed
	closed bool       // guarded by mu
	stack  [1]uint64  // guarded by mu: the result of a call

	// Of the call under way, guarded by mu.
	budget uint64 // fuel not handed out yet
	given  uint64 // fuel handed out
	count  uint32 // events of the batch
	last   uint32 // event of the last alert
	alerts uint32 // alerts of this batch
	most   uint32 // alerts there can be

	stats counters
}

// Times says what loading took.
type Times struct {
	Instrument, Compile, Start time.Duration
}

type counters struct {
	calls, events, alerts, falseAlerts, traps, failures, refills, hostCalls, fuel, ns atomic.Uint64
	memory                                                                            atomic.Uint64
}

// Stats are a module's totals since it was loaded.
type Stats struct {
	Calls       uint64 // of shikra_batch
	Events      uint64 // in the batches of these calls
	Alerts      uint64
	FalseAlerts uint64 // alerts refused: for an event or a rule that there isn't, out of order, or too many
	Traps       uint64 // calls that didn't come back; each cost an instance
	Failures    uint64 // calls that came back with another number than 0
	HostCalls   uint64 // calls of the guest into the host, of whatever import
	Refills     uint64 // of fuel, those for starting included
	Fuel        uint64 // units used by calls that came back
	Time        time.Duration
	Memory      uint64 // bytes of the guest's memory, its window included
}

// The reasons of a TrapError, for errors.Is.
var (
	ErrFuel  = errors.New("out of fuel")
	ErrDepth = errors.New("calls nested too deep")
	ErrAlert = errors.New("alert for something that isn't there")
)

// TrapError says that a call into a guest didn't come back. The instance is gone; the module goes on with a fresh one.
type TrapError struct {
	Module   string
	Function string // in which it happened, by the name section; the exported function when that isn't known
	Err      error  // wraps ErrFuel, ErrDepth, ErrAlert or the engine's error
}

func (e *TrapError) Error() string {
	return fmt.Sprintf("module %s: trap in %s: %v", e.Module, e.Function, e.Err)
}

func (e *TrapError) Unwrap() error { return e.Err }

// ResultError says that a module couldn't judge a batch and said so.
type ResultError struct {
	Module string
	Code   int32 // what shikra_batch returned
}

func (e *ResultError) Error() string {
	return fmt.Sprintf("module %s: %s returned %d", e.Module, wasmabi.ExportBatch, e.Code)
}

// Manifest returns the module's manifest; it is shared and must not be changed.
func (m *Module) Manifest() *wasmabi.Manifest { return &m.manifest }

// Rules returns the module's rule table, by the rule index of alerts; it is shared and must not be changed.
func (m *Module) Rules() []wasmabi.Rule { return m.rules }

// Times returns what loading took.
func (m *Module) Times() Times { return m.times }

// Stats returns the totals. It doesn't wait for a call.
func (m *Module) Stats() Stats {
	c := &m.stats
	return Stats{
		Calls: c.calls.Load(), Events: c.events.Load(), Alerts: c.alerts.Load(), FalseAlerts: c.falseAlerts.Load(),
		Traps: c.traps.Load(), Failures: c.failures.Load(), Refills: c.refills.Load(), HostCalls: c.hostCalls.Load(), Fuel: c.fuel.Load(),
		Time: time.Duration(c.ns.Load()), Memory: c.memory.Load(),
	}
}

// Judge lets the module judge the arena's batch: one call, in which alerts come back through Config.OnAlert. A batch
// without events costs nothing. The errors are *TrapError, after which the next call finds a fresh instance, and
// *ResultError; alerts given before them stand. The call can't be cancelled: its fuel bounds it. ctx is used only
// when a fresh instance is made.
func (m *Module) Judge(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return fmt.Errorf("module %s: %w", m.manifest.Name, ErrClosed)
	}
	n := m.host.cfg.Arena.Batch.Len()
	if n == 0 {
		return nil
	}
	if m.inst == nil {
		in, err := m.start(ctx)
		if err != nil {
			return err
		}
		m.inst = in
	}
	in := m.inst
	begin := time.Now()
	left := in.fuel.Get()
	m.begin(m.fuel-min(m.fuel, left), uint32(n))
	err := in.judge.CallWithStack(m.ctx, m.stack[:])
	c := &m.stats
	c.calls.Add(1)
	c.events.Add(uint64(n))
	c.alerts.Add(uint64(m.alerts))
	c.ns.Add(uint64(time.Since(begin)))
	c.memory.Store(uint64(in.mem.rw))
	if err != nil {
		return m.fresh(ctx, m.trap(in, wasmabi.ExportBatch, err))
	}
	c.fuel.Add(left + m.given - in.fuel.Get())
	if code := int32(uint32(m.stack[0])); code != 0 {
		c.failures.Add(1)
		return &ResultError{m.manifest.Name, code}
	}
	return nil
}

// begin sets up the accounts of a call.
func (m *Module) begin(budget uint64, count uint32) {
	m.budget, m.given = budget, 0
	m.count, m.last, m.alerts = count, 0, 0
	m.most = uint32(min(uint64(count)*uint64(len(m.rules)), 1<<20))
}

// fresh replaces the instance after a trap and returns err, or both errors when that fails; the next call tries again.
func (m *Module) fresh(ctx context.Context, err error) error {
	m.inst.close(ctx)
	m.inst = nil
	in, startErr := m.start(ctx)
	if startErr != nil {
		return errors.Join(err, fmt.Errorf("start it anew: %w", startErr))
	}
	m.inst = in
	return err
}

// counted wraps an import so that each of the guest's calls is counted, whatever it does.
func (m *Module) counted(f api.GoModuleFunc) api.GoModuleFunc {
	return func(ctx context.Context, mod api.Module, stack []uint64) {
		m.stats.hostCalls.Add(1)
		f(ctx, mod, stack)
	}
}

// refill is the import refill: the next slice of fuel, or a trap. Being a Go function it is a place where the
// collector can stop the guest.
func (m *Module) refill(_ context.Context, _ api.Module, stack []uint64) {
	n := min(m.slice, m.budget)
	if n == 0 {
		panic(ErrFuel)
	}
	m.budget -= n
	m.given += n
	m.stats.refills.Add(1)
	stack[0] = n
}

// alert is the import alert (event, rule).
func (m *Module) alert(_ context.Context, _ api.Module, stack []uint64) {
	e, r := uint32(stack[0]), uint32(stack[1])
	if e >= m.count || uint64(r) >= uint64(len(m.rules)) || e < m.last || m.alerts >= m.most {
		m.stats.falseAlerts.Add(1)
		panic(m.falseAlert(e, r))
	}
	m.last = e
	m.alerts++
	m.host.cfg.OnAlert(m, int(e), int(r))
}

func (m *Module) falseAlert(e, r uint32) error {
	switch {
	case e >= m.count:
		return fmt.Errorf("%w: event %d of %d", ErrAlert, e, m.count)
	case uint64(r) >= uint64(len(m.rules)):
		return fmt.Errorf("%w: rule %d of %d", ErrAlert, r, len(m.rules))
	case e < m.last:
		return fmt.Errorf("%w: event %d after event %d", ErrAlert, e, m.last)
	}
	return fmt.Errorf("%w: more than %d alerts in a batch", ErrAlert, m.most)
}

// trap makes the error of a call that didn't come back. in is nil when there is no instance yet.
func (m *Module) trap(in *instance, function string, err error) error {
	m.stats.traps.Add(1)
	t := &TrapError{Module: m.manifest.Name, Function: function, Err: err}
	// The engine's errors carry the guest's stack below the first line: the innermost function is all that is shown.
	text, trace, ok := strings.Cut(err.Error(), "\nwasm stack trace:\n\t")
	if ok {
		if f := guestFrame(trace); f != "" {
			t.Function = f
		}
	}
	if t.Function == "" {
		t.Function = "start"
	}
	switch {
	case errors.Is(err, ErrFuel):
		t.Err = ErrFuel
	case errors.Is(err, ErrAlert):
		t.Err = &briefError{strings.TrimSuffix(text, " (recovered by wazero)"), ErrAlert}
	case in != nil && in.depth != nil && int32(uint32(in.depth.Get())) < 0:
		t.Err = ErrDepth
	case ok:
		t.Err = &briefError{strings.TrimPrefix(text, "wasm error: "), err}
	}
	return t
}

// guestFrame returns the innermost function of a stack trace that is the guest's own: what the host links and what the
// rewriting adds stands above it when the fuel is out. "" when the trace has none.
func guestFrame(trace string) string {
	for line := range strings.Lines(trace) {
		name, _, ok := strings.Cut(strings.TrimSpace(line), "(")
		name = strings.TrimPrefix(name, ".")
		if !ok || name == "" || strings.HasPrefix(name, wasmabi.ImportModule+".") || wasm.Helper(name) {
			continue
		}
		return name
	}
	return ""
}

// briefError shows a text instead of the whole of what it wraps.
type briefError struct {
	text string
	err  error
}

func (e *briefError) Error() string { return e.text }
func (e *briefError) Unwrap() error { return e.err }

// Restore takes back what the guest has written over its window's segments, so that it sees the host's bytes again. A
// fresh instance needs none.
func (m *Module) Restore() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || m.inst == nil {
		return nil
	}
	if err := m.inst.mem.restore(); err != nil {
		return fmt.Errorf("module %s: restore its window: %w", m.manifest.Name, err)
	}
	return nil
}

// Close waits for a call that is under way and gives everything back. Later calls return ErrClosed.
func (m *Module) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	m.closed = true
	m.host.remove(m)
	return m.release()
}

// release gives back what load has made, as far as it came.
func (m *Module) release() error {
	ctx := context.Background()
	if m.inst != nil {
		m.inst.close(ctx)
		m.inst = nil
	}
	if m.runtime == nil {
		return nil
	}
	if err := m.runtime.Close(ctx); err != nil { // the compiled code too
		return fmt.Errorf("close module %s: %w", m.manifest.Name, err)
	}
	return nil
}
