package host

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"golang.org/x/sys/cpu"
	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/wasm"
)

// The engine modes.
const (
	Compiler    = "compiler"
	Interpreter = "interpreter"
)

// Engine is what runs the modules.
type Engine struct {
	Mode   string // Compiler or Interpreter
	Reason string // why it is the interpreter; "" for the compiler
}

// chooseEngine decides by itself, by trial: wazero's own choice falls back to the interpreter without saying so, on
// CPUs it has no compiler for and where executable memory is refused (systemd's MemoryDenyWriteExecute, SELinux).
func chooseEngine(ctx context.Context, want string) (Engine, error) {
	switch want {
	case Interpreter:
		return Engine{Interpreter, "asked for"}, nil
	case Compiler, "auto", "":
	default:
		return Engine{}, fmt.Errorf("unknown engine %q: auto, compiler or interpreter", want)
	}
	err := tryCompiler(ctx)
	if err == nil {
		return Engine{Mode: Compiler}, nil
	}
	if want == Compiler {
		return Engine{}, fmt.Errorf("engine compiler: %w", err)
	}
	return Engine{Interpreter, err.Error()}, nil
}

func tryCompiler(ctx context.Context) (err error) {
	switch {
	case runtime.GOARCH == "amd64" && !cpu.X86.HasSSE41:
		return errors.New("the CPU lacks SSE4.1")
	case runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64":
		return fmt.Errorf("no compiler for %s", runtime.GOARCH)
	}
	// The engine panics where executable memory is refused: ask the kernel first, the same way.
	b, err := unix.Mmap(-1, 0, unix.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return fmt.Errorf("map memory: %w", err)
	}
	err = unix.Mprotect(b, unix.PROT_READ|unix.PROT_EXEC)
	if e := unix.Munmap(b); err == nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("executable memory is refused: %w", err)
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("compile a trial module: %v", r)
		}
	}()
	t := wasm.NewBuilder("trial")
	f := t.Func("f", nil, []wasm.ValType{wasm.I32})
	f.I32Const(42)
	t.ExportFunc("f", f)
	code, err := t.Encode()
	if err != nil {
		return err
	}
	r := wazero.NewRuntimeWithConfig(ctx, runtimeConfig(Compiler))
	defer func() { _ = r.Close(ctx) }()
	m, err := r.Instantiate(ctx, code)
	if err != nil {
		return fmt.Errorf("compile a trial module: %w", err)
	}
	out, err := m.ExportedFunction("f").Call(ctx)
	if err != nil || len(out) != 1 || out[0] != 42 {
		return fmt.Errorf("run a trial module: %v, %w", out, err)
	}
	return nil
}

// runtimeConfig names the engine, so wazero has no choice. Features are those that package wasm meters; threads stay off
// (they cost arm64 boards without LSE the compiler), and so does WithCloseOnContextDone: it makes a call a goroutine, and
// fuel ends every call anyway.
func runtimeConfig(mode string) wazero.RuntimeConfig {
	c := wazero.NewRuntimeConfigInterpreter()
	if mode == Compiler {
		c = wazero.NewRuntimeConfigCompiler()
	}
	return c.WithCoreFeatures(api.CoreFeaturesV2).WithDebugInfoEnabled(false)
}
