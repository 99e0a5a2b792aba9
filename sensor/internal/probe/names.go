package probe

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

// TierExact marks the hook that keeps the kernel's own copies of paths, see Config.ExactPaths.
const TierExact = "exact"

// pathArgs are the arguments of system calls that are paths, by program. Events have the kernel's own copy of them where it is kept.
var pathArgs = map[string][]int{
	"access": {0}, "chdir": {0}, "chmod": {0}, "chown": {0}, "chroot": {0}, "creat": {0}, "fchmodat": {1}, "fchownat": {1},
	"lchown": {0}, "link": {0, 1}, "linkat": {1, 3}, "lstat": {0}, "lstat64": {0}, "mkdir": {0}, "mkdirat": {1}, "mknod": {0}, "mknodat": {1},
	"mount": {1}, "newfstatat": {1}, "open": {0}, "openat": {1}, "openat2": {1}, "rename": {0, 1}, "renameat": {1, 3},
	"renameat2": {1, 3}, "rmdir": {0}, "stat": {0}, "stat64": {0}, "symlink": {1}, "symlinkat": {2}, "truncate": {0}, "umount": {0},
	"umount2": {0}, "unlink": {0}, "unlinkat": {1}, "fchmodat2": {1}, "move_mount": {1, 3},
	"setxattr": {0}, "lsetxattr": {0}, "setxattrat": {1}, "removexattr": {0}, "lremovexattr": {0}, "removexattrat": {1},
}

// What bpf/include/names.h sets aside.
const keptNames = 256

// getnames are the kernel's functions that copy paths, by all names known. Which of them calls, or has been compiled into, which
// other differs, so that all that there are are attached to.
var getnames = []string{"do_getname", "getname_flags", "getname_uflags", "getname"}

// getname is the hook that keeps paths: attached at several functions, and one to who asks.
const getnameHook = "getname"

// getname is one function's part of it.
type getname struct {
	fn   string
	key  string // of its program in the collection
	prog string // of the object
}

var errNoGetname = errors.New("the kernel has no function that copies paths, by any name known")

// findGetname tries to attach to the ends of the functions that copy paths, by fexit and else by return probes. The error says why
// none can be.
func findGetname(types *btf.Spec) ([]getname, error) {
	if types == nil {
		var err error
		if types, err = btf.LoadKernelSpec(); err != nil {
			return nil, fmt.Errorf("read the kernel's types: %w", err)
		}
	}
	var exits, returns []getname
	errs := []error{errNoGetname}
	for _, name := range getnames {
		var fn *btf.Func
		if types.TypeByName(name, &fn) != nil {
			continue
		}
		proto, ok := fn.Type.(*btf.FuncProto)
		if !ok || len(proto.Params) < 1 || len(proto.Params) > 3 {
			continue
		}
		if err := tryTracing(ebpf.Tracing, ebpf.AttachTraceFExit, name); err == nil {
			exits = append(exits, getname{name, "getname_exit " + name, fmt.Sprintf("getname_exit%d", len(proto.Params))})
			continue
		} else {
			errs = append(errs, fmt.Errorf("fexit of %s: %s", name, reasonOf(err)))
		}
		if err := tryKretprobe(name); err == nil {
			returns = append(returns, getname{name, "getname_return", "getname_return"})
		} else {
			errs = append(errs, fmt.Errorf("return probe of %s: %s", name, reasonOf(err)))
		}
	}
	switch {
	case len(exits) > 0:
		return exits, nil
	case len(returns) > 0:
		return returns, nil
	case len(errs) > 1:
		errs = errs[1:]
	}
	return nil, errors.Join(errs...)
}

func tryKretprobe(fn string) error {
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.Kprobe, License: "Dual BSD/GPL", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
	})
	if err != nil {
		return err
	}
	defer p.Close()
	l, err := link.Kretprobe(fn, p, nil)
	if err != nil {
		return err
	}
	return l.Close()
}

// nameArgs are the arguments of each slot's system call that are paths, a bit each.
func nameArgs() [numSlots]uint8 {
	var out [numSlots]uint8
	for i, sc := range event.Syscalls() {
		for _, arg := range pathArgs[program(sc.Name)[len(prefix):]] {
			out[i+1] |= 1 << arg
		}
	}
	return out
}

// addGetname adds to spec what ExactPaths needs, of all its programs. That the kernel refuses it is no error.
func (p *Probe) addGetname(spec *ebpf.CollectionSpec, all map[string]*ebpf.ProgramSpec) error {
	if !p.cfg.ExactPaths {
		return nil
	}
	found, err := findGetname(p.cfg.KernelTypes)
	if err != nil {
		p.note(getnameHook, StateRefused, err)
		return nil
	}
	p.getnames = found
	for _, g := range found {
		prog := all[g.prog].Copy()
		prog.AttachTo = g.fn
		spec.Programs[g.key] = prog
	}
	spec.Maps["names"].MaxEntries = keptNames
	for name, v := range map[string]any{"exact": uint32(1), "name_args": nameArgs()} {
		if err := spec.Variables[name].Set(v); err != nil {
			return fmt.Errorf("set the probe's constant %s: %w", name, err)
		}
	}
	return nil
}

// attachGetname attaches the programs that keep paths. The caller holds mu.
func (p *Probe) attachGetname() {
	if len(p.getnames) == 0 {
		return
	}
	var errs []error
	for _, g := range p.getnames {
		prog := p.coll.Programs[g.key]
		if prog == nil {
			errs = append(errs, fmt.Errorf("%s: %s", g.fn, p.reason(g.key)))
			continue
		}
		var l link.Link
		var err error
		if prog.Type() == ebpf.Kprobe {
			l, err = link.Kretprobe(g.fn, prog, nil)
		} else {
			l, err = link.AttachTracing(link.TracingOptions{Program: prog})
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %s", g.fn, reasonOf(err)))
			continue
		}
		p.links = append(p.links, l)
	}
	state := StateAttached
	if len(errs) > 0 {
		state = StateRefused
	}
	p.note(getnameHook, state, errors.Join(errs...))
}

// PathsNotKept returns how many paths weren't kept for want of room: their events have what the program's memory held at the
// call's end, and aren't marked as exact.
func (p *Probe) PathsNotKept() (uint64, error) { return p.counter("names_full") }
