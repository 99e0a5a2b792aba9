package host

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/shikra-sensor/shikra/sensor/internal/arena"
	"github.com/shikra-sensor/shikra/sensor/internal/wasm"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// LoadOptions are one module's.
type LoadOptions struct {
	// Column returns the number of the column into which the pipeline extracts a field that the manifest names. It is
	// needed when the manifest names any.
	Column func(field string) (int, error)
	Fuel   uint64 // for one batch; 0 is what the manifest asks for
}

// Load checks a module, compiles it and starts it, and returns it ready to judge. What isn't as ABI.md says is refused
// with an error that names the module and the reason. code isn't kept.
func (h *Host) Load(ctx context.Context, code []byte, opt LoadOptions) (*Module, error) {
	man, err := ReadManifest(code)
	if err != nil {
		return nil, fmt.Errorf("load module: %w", err)
	}
	m := &Module{host: h, manifest: *man}
	if err := m.load(ctx, code, opt); err != nil {
		m.release()
		return nil, fmt.Errorf("load module %s: %w", man.Name, err)
	}
	if err := h.add(m); err != nil {
		m.release()
		return nil, fmt.Errorf("load module %s: %w", man.Name, err)
	}
	return m, nil
}

func (m *Module) load(ctx context.Context, code []byte, opt LoadOptions) error {
	cfg := &m.host.cfg
	start := time.Now()
	bin, err := wasm.Decode(code)
	if err != nil {
		return err
	}
	if m.rules, err = ReadRules(code); err != nil {
		return err
	}
	if err := m.checkImports(bin); err != nil {
		return err
	}
	if err := checkExports(bin); err != nil {
		return err
	}
	if m.plan, err = planWindow(cfg.Arena, m.manifest.Segments); err != nil {
		return err
	}
	if m.plan.size > m.manifest.WindowSize {
		return fmt.Errorf("window of %d bytes is too small: with the segments it names this host needs %d",
			m.manifest.WindowSize, m.plan.size)
	}
	if err := m.bindColumns(opt.Column); err != nil {
		return err
	}
	if err := m.bindLimits(bin, opt.Fuel); err != nil {
		return err
	}
	metered, err := bin.Instrument(wasm.Limits{Pages: m.maxPages})
	if err != nil {
		return err
	}
	m.fuelGlobal, m.depthGlobal = int(metered.Fuel), int(metered.Depth)
	instrumented := time.Now()
	m.times.Instrument = instrumented.Sub(start)

	// One runtime for each module: what is linked is this module's, and closing it gives everything back.
	m.runtime = wazero.NewRuntimeWithConfig(ctx, runtimeConfig(m.host.engine.Mode))
	link := m.runtime.NewHostModuleBuilder(wasmabi.ImportModule)
	i32, i64 := api.ValueTypeI32, api.ValueTypeI64
	link.NewFunctionBuilder().WithGoModuleFunction(m.counted(m.refill), nil, []api.ValueType{i64}).Export(wasmabi.ImportRefill)
	link.NewFunctionBuilder().WithGoModuleFunction(m.counted(m.alert), []api.ValueType{i32, i32}, nil).Export(wasmabi.ImportAlert)
	if _, err := link.Instantiate(ctx); err != nil {
		return fmt.Errorf("link: %w", err)
	}
	if m.compiled, err = m.runtime.CompileModule(ctx, metered.Bytes); err != nil {
		return fmt.Errorf("compile: %w", err)
	}
	m.times.Compile = time.Since(instrumented)

	start = time.Now()
	m.ctx = context.Background()
	if m.inst, err = m.start(ctx); err != nil {
		return err
	}
	m.times.Start = time.Since(start)
	return nil
}

// The types of what modules share with the host.
var (
	sigAlert  = wasm.Signature{Params: []byte{byte(wasm.I32), byte(wasm.I32)}}
	sigNumber = wasm.Signature{Results: []byte{byte(wasm.I32)}}
	sigVoid   = wasm.Signature{}
)

func (m *Module) checkImports(bin *wasm.Binary) error {
	for _, im := range bin.Imports {
		switch {
		case im.Module == wasmabi.ImportModule && im.Name == wasmabi.ImportAlert && im.Kind == wasm.KindFunc:
			if got := bin.Types[im.Type]; got.String() != sigAlert.String() {
				return fmt.Errorf("import %s.%s has the type %s, not %s", im.Module, im.Name, got, sigAlert)
			}
			if m.rules == nil {
				return fmt.Errorf("import %s.%s needs a rule table (section %s)", im.Module, im.Name, wasmabi.SectionRules)
			}
		case strings.HasPrefix(im.Module, "shikra_v") && im.Module != wasmabi.ImportModule:
			return fmt.Errorf("import %.80q.%.80q is of another ABI; this host has %s", im.Module, im.Name, wasmabi.ImportModule)
		default:
			return fmt.Errorf("import %s %.80q.%.80q isn't something the manifest declares or this host has", im.Kind, im.Module, im.Name)
		}
	}
	return nil
}

func checkExports(bin *wasm.Binary) error {
	if _, ok := bin.Export(wasmabi.VersionExport); !ok {
		for _, e := range bin.Exports {
			if strings.HasPrefix(e.Name, "shikra_abi_v") {
				return fmt.Errorf("export %.80q is of another ABI; this host needs %s", e.Name, wasmabi.VersionExport)
			}
		}
	}
	if err := needFunc(bin, wasmabi.VersionExport, sigNumber); err != nil {
		return err
	}
	if err := needFunc(bin, wasmabi.ExportBatch, sigNumber); err != nil {
		return err
	}
	e, ok := bin.Export(wasmabi.ExportWindow)
	switch {
	case !ok:
		return fmt.Errorf("export %s is missing", wasmabi.ExportWindow)
	case e.Kind == wasm.KindFunc:
		if err := needFunc(bin, wasmabi.ExportWindow, sigNumber); err != nil {
			return err
		}
	case e.Kind != wasm.KindGlobal || bin.Global(e.Index).Val != byte(wasm.I32):
		return fmt.Errorf("export %s is neither a global i32 nor a function %s", wasmabi.ExportWindow, sigNumber)
	}
	if _, ok := bin.Export("_start"); ok {
		return errors.New("export _start: it is a command; build it as a reactor (a library with _initialize)")
	}
	if _, ok := bin.Export("_initialize"); ok {
		if err := needFunc(bin, "_initialize", sigVoid); err != nil {
			return err
		}
	}
	if len(bin.Memories) != 1 {
		return errors.New("it has no memory of its own")
	}
	return nil
}

func needFunc(bin *wasm.Binary, name string, want wasm.Signature) error {
	e, ok := bin.Export(name)
	if !ok || e.Kind != wasm.KindFunc {
		return fmt.Errorf("export function %s is missing", name)
	}
	if got := bin.Signature(e.Index); got.String() != want.String() {
		return fmt.Errorf("export %s has the type %s, not %s", name, got, want)
	}
	return nil
}

func (m *Module) bindColumns(column func(string) (int, error)) error {
	for _, f := range m.manifest.Fields {
		if column == nil {
			return fmt.Errorf("field %s: this host extracts no fields", f)
		}
		c, err := column(f)
		if err != nil {
			return fmt.Errorf("field %s: %w", f, err)
		}
		if c < 0 || c >= wasmabi.MaxColumns {
			return fmt.Errorf("field %s: column %d of %d", f, c, wasmabi.MaxColumns)
		}
		m.columns = append(m.columns, arena.Column(c))
	}
	return nil
}

func (m *Module) bindLimits(bin *wasm.Binary, fuel uint64) error {
	cfg := &m.host.cfg
	ask := uint64(m.manifest.WindowSize) + uint64(m.manifest.MemoryLimit)
	if ask > cfg.Memory {
		return fmt.Errorf("asks for %d bytes of memory, its window included; this host gives at most %d", ask, cfg.Memory)
	}
	m.maxPages = uint32(min(ask/wasm.PageSize, 65535))
	mem := bin.Memories[0]
	if mem.Min > m.maxPages {
		return fmt.Errorf("starts with %d bytes of memory and declares %d (window_size + memory_limit)",
			uint64(mem.Min)*wasm.PageSize, ask)
	}
	if mem.HasMax {
		m.maxPages = min(m.maxPages, mem.Max)
	}
	m.minPages = mem.Min
	m.maxPages = max(m.maxPages, 1)
	switch m.fuel = fuel; {
	case m.fuel == 0 && m.manifest.Fuel == 0:
		m.fuel = cfg.Fuel
	case m.fuel == 0:
		m.fuel = m.manifest.Fuel
	}
	if m.fuel > cfg.MaxFuel {
		return fmt.Errorf("asks for %d units of fuel for a batch; this host gives at most %d", m.fuel, cfg.MaxFuel)
	}
	m.slice = compilerSlice
	if m.host.engine.Mode == Interpreter {
		m.slice = interpreterSlice
	}
	return nil
}

// instance is a module's running state: it is thrown away after a trap.
type instance struct {
	mod    api.Module
	judge  api.Function
	fuel   api.Global
	depth  api.Global
	mem    *reservation
	window uint32
}

func (i *instance) close(ctx context.Context) {
	_ = i.mod.Close(ctx) // frees the memory; the rest can't fail
	i.mem.Free()
}

// start makes an instance: instantiates, initialises, and maps the window. The caller holds m.mu or is the only one to
// know m.
func (m *Module) start(ctx context.Context) (*instance, error) {
	mem, err := reserve(uint64(m.maxPages) * wasm.PageSize)
	if err != nil {
		return nil, err
	}
	// The engine indexes what the allocator gives without looking: make sure of it first.
	if m.minPages > 0 && mem.Reallocate(uint64(m.minPages)*wasm.PageSize) == nil {
		mem.Free()
		return nil, fmt.Errorf("take %d bytes of memory into use", uint64(m.minPages)*wasm.PageSize)
	}
	m.begin(m.host.cfg.InitFuel, 0)
	mod, err := m.runtime.InstantiateModule(experimental.WithMemoryAllocator(ctx, once{mem}), m.compiled,
		wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if err != nil {
		mem.Free()
		return nil, m.trap(nil, "", err)
	}
	in := &instance{mod: mod, mem: mem}
	if err := m.prepare(ctx, in); err != nil {
		in.close(ctx)
		return nil, err
	}
	return in, nil
}

func (m *Module) prepare(ctx context.Context, in *instance) error {
	globals, ok := in.mod.(experimental.InternalModule)
	if !ok || globals.NumGlobal() <= m.depthGlobal {
		return errors.New("the engine doesn't show the fuel's global")
	}
	in.fuel, in.depth = globals.Global(m.fuelGlobal), globals.Global(m.depthGlobal)
	in.judge = in.mod.ExportedFunction(wasmabi.ExportBatch)
	if f := in.mod.ExportedFunction("_initialize"); f != nil {
		if _, err := f.Call(ctx); err != nil {
			return m.trap(in, "_initialize", err)
		}
	}
	minor, err := in.mod.ExportedFunction(wasmabi.VersionExport).Call(ctx)
	if err != nil {
		return m.trap(in, wasmabi.VersionExport, err)
	}
	if v := int32(uint32(minor[0])); int(v) < m.manifest.ABIMinor {
		return fmt.Errorf("%s says %d and the manifest needs %d", wasmabi.VersionExport, v, m.manifest.ABIMinor)
	}
	if g := in.mod.ExportedGlobal(wasmabi.ExportWindow); g != nil {
		in.window = uint32(g.Get())
	} else {
		r, err := in.mod.ExportedFunction(wasmabi.ExportWindow).Call(ctx)
		if err != nil {
			return m.trap(in, wasmabi.ExportWindow, err)
		}
		in.window = uint32(r[0])
	}
	size := uint64(in.mod.Memory().Size())
	switch end := uint64(in.window) + uint64(m.manifest.WindowSize); {
	case in.window%wasmabi.WindowAlign != 0:
		return fmt.Errorf("window at %#x isn't aligned to %d", in.window, wasmabi.WindowAlign)
	case in.window == 0:
		return errors.New("window at 0: address 0 is a language's null")
	case end > size:
		return fmt.Errorf("window from %#x to %#x isn't inside the memory of %#x bytes", in.window, end, size)
	}
	m.stats.memory.Store(size)
	return mapWindow(in.mem, in.window, m.host.cfg.Arena, &m.plan, m.columns)
}
