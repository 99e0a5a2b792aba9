// Package host runs modules: it links only what a manifest declares, meters and bounds what a module does, maps the
// arena into its window and passes on its alerts. It is the only package that knows the Wasm engine.
package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/shikra-sensor/shikra/sensor/internal/arena"
)

// The defaults of Config.
const (
	DefaultMemory   = 256 << 20     // bytes
	DefaultFuel     = 200_000_000   // units, about ns of compiled code
	DefaultMaxFuel  = 2_000_000_000 // units
	DefaultInitFuel = 2_000_000_000 // units
)

// Slices: how much fuel one refill gives, so that the garbage collector waits at most about a millisecond for a guest.
const (
	compilerSlice    = 100_000
	interpreterSlice = 20_000 // interpreted code is itself Go and preemptible; a slice bounds the count of units only
)

// Config makes a Host. Zero values take the defaults.
type Config struct {
	Arena    *arena.Arena // what windows show; required, and closed only after the Host
	Engine   string       // "auto" (default), "compiler" or "interpreter"
	Log      *slog.Logger // default slog.Default()
	Memory   uint64       // most bytes of memory a module may ask for, its window included; default DefaultMemory
	Fuel     uint64       // for one batch, when the manifest asks for none; default DefaultFuel
	MaxFuel  uint64       // most a manifest may ask for; default DefaultMaxFuel
	InitFuel uint64       // for a module's start; default DefaultInitFuel

	// OnAlert is called from within Judge for each alert of m: event is an index of the batch, rule one of m.Rules.
	// It must not call methods of the Module or the Host that load, judge or close. It must not be nil.
	OnAlert func(m *Module, event, rule int)
}

// Host holds the modules in use. Its methods are safe for concurrent use.
type Host struct {
	cfg    Config
	engine Engine

	mu      sync.Mutex
	modules map[*Module]struct{} // guarded by mu
	closed  bool                 // guarded by mu
}

// ErrClosed is returned for what is asked of a closed Host or Module.
var ErrClosed = errors.New("closed")

// New makes a Host. With Engine "compiler" it is an error when compiled code can't run here.
func New(ctx context.Context, cfg Config) (*Host, error) {
	if cfg.Arena == nil || cfg.OnAlert == nil {
		return nil, errors.New("host: Arena and OnAlert are required")
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	set := func(p *uint64, d uint64) {
		if *p == 0 {
			*p = d
		}
	}
	set(&cfg.Memory, DefaultMemory)
	set(&cfg.Fuel, DefaultFuel)
	set(&cfg.MaxFuel, max(DefaultMaxFuel, cfg.Fuel))
	set(&cfg.InitFuel, DefaultInitFuel)
	e, err := chooseEngine(ctx, cfg.Engine)
	if err != nil {
		return nil, fmt.Errorf("host: %w", err)
	}
	return &Host{cfg: cfg, engine: e, modules: map[*Module]struct{}{}}, nil
}

// EngineMode returns what runs the modules: "compiler" or "interpreter".
func (h *Host) EngineMode() string { return h.engine.Mode }

// Engine returns what runs the modules, and why when it is the interpreter.
func (h *Host) Engine() Engine { return h.engine }

// Close closes every module, waiting for the calls that are under way.
func (h *Host) Close() error {
	h.mu.Lock()
	h.closed = true
	var all []*Module
	for m := range h.modules {
		all = append(all, m)
	}
	h.mu.Unlock()
	var errs []error
	for _, m := range all {
		errs = append(errs, m.Close())
	}
	return errors.Join(errs...)
}

func (h *Host) add(m *Module) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return ErrClosed
	}
	h.modules[m] = struct{}{}
	return nil
}

func (h *Host) remove(m *Module) {
	h.mu.Lock()
	delete(h.modules, m)
	h.mu.Unlock()
}
