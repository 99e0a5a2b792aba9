package probe

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"

	"github.com/shikra-sensor/shikra/bpf"
	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

// The tiers of a hook of the kernel's security functions, tried in this order; TierFexit is the first. A program at a function's
// end sees also what other security modules refuse; one of the BPF security module is asked only when those before it have let
// something pass, and not at all unless bpf is in the kernel's list of modules (lsm=); a probe at its begin doesn't see the result.
const (
	TierLSM    = "lsm"
	TierKprobe = "kprobe"
)

var hookTiers = []string{TierFexit, TierLSM, TierKprobe}

// securityHook makes events of what the kernel's security functions are asked. Loaded when somebody asks for the event.
type securityHook struct {
	typ     event.Type
	program string // without what says the tier
	at      []securityPlace
	guard   int // the kind of bpf/include/guard.h, -1 for none: of others than the sensor's files events are always made
}

// securityPlace is one function, and its name as a hook of the BPF security module.
type securityPlace struct {
	fn, lsm string
	params  [2]string // names of those that the program looks at; "" for none
}

// securityHooks are those there are (security/security.c, include/linux/lsm_hook_defs.h).
var securityHooks = [...]securityHook{
	{event.SecurityFileOpenX, "file_open", []securityPlace{{"security_file_open", "file_open", [2]string{"file"}}}, -1},
	{event.SecurityBprmCheckX, "bprm_check", []securityPlace{{"security_bprm_check", "bprm_check_security", [2]string{"bprm"}}}, -1},
	{event.SecurityInodeUnlinkX, "inode_unlink", []securityPlace{
		{"security_inode_unlink", "inode_unlink", [2]string{"dentry"}}, {"security_inode_rmdir", "inode_rmdir", [2]string{"dentry"}},
	}, 0},
	{event.SecurityInodeRenameX, "inode_rename", []securityPlace{
		{"security_inode_rename", "inode_rename", [2]string{"old_dentry", "new_dentry"}},
	}, 1},
	{event.SecurityInodeSetattrX, "inode_setattr", []securityPlace{
		{"security_inode_setattr", "inode_setattr", [2]string{"dentry", "attr"}},
	}, 2},
	{event.SecurityInodeSetxattrX, "inode_setxattr", []securityPlace{
		{"security_inode_setxattr", "inode_setxattr", [2]string{"dentry", "name"}},
		{"security_inode_removexattr", "inode_removexattr", [2]string{"dentry", "name"}},
	}, 3},
	{event.SecuritySbMountX, "sb_mount", []securityPlace{
		{"security_sb_mount", "sb_mount", [2]string{"path"}}, {"security_move_mount", "move_mount", [2]string{"to_path"}},
	}, 4},
}

// isSecurity reports whether a hook of that name is one of security functions.
func isSecurity(name string) bool {
	return name == openedHook || slices.ContainsFunc(securityHooks[:], func(h securityHook) bool { return h.typ.Info().Name == name })
}

// openedHook keeps which file a call opens: with Config.ExactPaths.
const openedHook = "opened"

var openedPlace = securityPlace{"security_file_open", "file_open", [2]string{"file"}}

// security is what became of a hook: the first tier in which all its places could be attached to.
type security struct {
	tier  string // "" for none
	progs []*ebpf.Program
	links []link.Link
	err   error // why not, when tier is ""
}

// close detaches and unloads what the hook has.
func (s *security) close() error {
	var errs []error
	for _, l := range s.links {
		errs = append(errs, l.Close())
	}
	for _, prog := range s.progs {
		errs = append(errs, prog.Close())
	}
	return errors.Join(errs...)
}

var errNoFunction = errors.New("the kernel's types have no such function")

// hookArgs are the constants hook_a, hook_b and hook_ret of a program at a place.
type hookArgs struct{ a, b, ret uint32 }

// noHookArg is HOOK_NONE of bpf/programs/security.bpf.c.
const noHookArg = 7

// argsAt finds the parameters of pl by their names, in the function that tier attaches to. Some kernels have one more before them.
func argsAt(types *btf.Spec, pl securityPlace, tier string) (attachTo string, args hookArgs, err error) {
	attachTo, in := pl.fn, pl.fn
	if tier == TierLSM {
		attachTo, in = pl.lsm, "bpf_lsm_"+pl.lsm
	}
	var fn *btf.Func
	if err := types.TypeByName(in, &fn); err != nil {
		return "", args, fmt.Errorf("%s: %w", in, errNoFunction)
	}
	proto, ok := fn.Type.(*btf.FuncProto)
	if !ok || len(proto.Params) >= noHookArg {
		return "", args, fmt.Errorf("%s: not the parameters that were expected", in)
	}
	at := [2]uint32{noHookArg, noHookArg}
	for i, name := range pl.params {
		if name == "" {
			continue
		}
		k := slices.IndexFunc(proto.Params, func(p btf.FuncParam) bool { return p.Name == name })
		if k < 0 || tier == TierKprobe && k > 4 {
			return "", args, fmt.Errorf("%s: no parameter %s", in, name)
		}
		at[i] = uint32(k)
	}
	args = hookArgs{at[0], at[1], uint32(len(proto.Params))}
	if tier == TierKprobe {
		args.ret = noHookArg
	}
	return attachTo, args, nil
}

// set sets the constants in a collection.
func (a hookArgs) set(spec *ebpf.CollectionSpec) error {
	for name, v := range map[string]uint32{"hook_a": a.a, "hook_b": a.b, "hook_ret": a.ret} {
		if err := spec.Variables[name].Set(v); err != nil {
			return fmt.Errorf("set the probe's constant %s: %w", name, err)
		}
	}
	return nil
}

// hookProgram is the program of a tier, of all those in the object.
func hookProgram(all map[string]*ebpf.ProgramSpec, program, tier, attachTo string) *ebpf.ProgramSpec {
	if tier == TierKprobe {
		return all["kprobe_"+program].Copy()
	}
	prog := all["exit_"+program].Copy()
	prog.AttachTo = attachTo
	if tier == TierLSM {
		prog.Type, prog.AttachType = ebpf.LSM, ebpf.AttachLSMMac
	}
	return prog
}

// attachHook attaches a loaded program of a tier.
func attachHook(prog *ebpf.Program, tier, fn string) (link.Link, error) {
	switch tier {
	case TierKprobe:
		return link.Kprobe(fn, prog, nil)
	case TierLSM:
		return link.AttachLSM(link.LSMOptions{Program: prog})
	}
	return link.AttachTracing(link.TracingOptions{Program: prog})
}

// tiers are those that this probe may use for security functions.
func (p *Probe) tiers() []string {
	if p.cfg.hookTiers != nil {
		return p.cfg.hookTiers
	}
	return hookTiers
}

// kernelTypes are the types of the kernel.
func (p *Probe) kernelTypes() (*btf.Spec, error) {
	if p.cfg.KernelTypes != nil {
		return p.cfg.KernelTypes, nil
	}
	types, err := btf.LoadKernelSpec()
	if err != nil {
		return nil, fmt.Errorf("read the kernel's types: %w", err)
	}
	return types, nil
}

// setSecurity attaches a hook, or detaches it, as is asked. The caller holds mu.
func (p *Probe) setSecurity(h *securityHook) error {
	name := h.typ.Info().Name
	s := p.security[name]
	switch {
	case !p.asked[name]:
		if s == nil || s.tier == "" {
			return nil
		}
		delete(p.security, name)
		p.noteSecurity(name, h.at, nil, StateOff)
		return s.close()
	case !p.running || s != nil:
		return nil
	}
	s = p.trySecurity(h)
	p.security[name] = s
	if s.tier == "" {
		p.noteSecurity(name, h.at, s, StateRefused)
	} else {
		p.noteSecurity(name, h.at, s, StateAttached)
	}
	return nil
}

// trySecurity attaches h in the first tier that serves all its places. The caller holds mu.
func (p *Probe) trySecurity(h *securityHook) *security {
	var why []string
	for _, tier := range p.tiers() {
		s := &security{tier: tier}
		err := p.tierServes(tier)
		if err == nil {
			err = p.loadSecurity(h, s)
		}
		if err == nil {
			return s
		}
		_ = s.close()
		why = append(why, tier+": "+reasonOf(err))
	}
	return &security{err: errors.New(strings.Join(why, "; "))}
}

// tierServes reports why a tier serves nothing here, tried once with a program that does nothing: so that a kernel that refuses them
// all costs the start little. The caller holds mu, or is Load.
func (p *Probe) tierServes(tier string) error {
	if err, ok := p.tierErrs[tier]; ok {
		return err
	}
	types, err := p.kernelTypes()
	if err != nil {
		return err
	}
	attachTo, _, err := argsAt(types, openedPlace, tier)
	if err == nil {
		err = tryHook(tier, attachTo)
	}
	p.tierErrs[tier] = err
	return err
}

// tryHook attaches a program that does nothing.
func tryHook(tier, attachTo string) error {
	switch tier {
	case TierFexit:
		return tryTracing(ebpf.Tracing, ebpf.AttachTraceFExit, attachTo)
	case TierLSM:
		return tryTracing(ebpf.LSM, ebpf.AttachLSMMac, attachTo)
	}
	return tryKprobe(attachTo)
}

// loadSecurity loads and attaches the programs of h in the tier that s says, beside those that were loaded and on the same maps.
func (p *Probe) loadSecurity(h *securityHook, s *security) error {
	types, err := p.kernelTypes()
	if err != nil {
		return err
	}
	for _, pl := range h.at {
		spec, attachTo, err := p.hookSpec(h, pl, s.tier, types)
		if err != nil {
			return err
		}
		replace := sharedMaps(spec, p.coll.Maps)
		coll, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{
			Programs: ebpf.ProgramOptions{KernelTypes: types}, MapReplacements: replace, Cache: p.frameCache,
		})
		if err != nil {
			return fmt.Errorf("%s: %w", attachTo, err)
		}
		prog := coll.DetachProgram(h.program)
		coll.Close()
		s.progs = append(s.progs, prog)
		l, err := attachHook(prog, s.tier, pl.fn)
		if err != nil {
			return fmt.Errorf("%s: %w", attachTo, err)
		}
		s.links = append(s.links, l)
	}
	return nil
}

// hookSpec is what there is to load for a hook at one of its places, and what that attaches to. The caller holds mu, or has p for
// itself.
func (p *Probe) hookSpec(h *securityHook, pl securityPlace, tier string, types *btf.Spec) (*ebpf.CollectionSpec, string, error) {
	attachTo, args, err := argsAt(types, pl, tier)
	if err != nil {
		return nil, "", err
	}
	spec, err := p.hookFrame(h.program)
	if err != nil {
		return nil, "", err
	}
	// It may be preempted wherever the kernel may, as in TierFexit. So it gets constants of its own.
	if err := setConstants(spec, p.coll.Maps["ring"].MaxEntries(), &p.cfg, true); err != nil {
		return nil, "", err
	}
	if err := args.set(spec); err != nil {
		return nil, "", err
	}
	spec.Programs = map[string]*ebpf.ProgramSpec{h.program: hookProgram(spec.Programs, h.program, tier, attachTo)}
	return spec, attachTo, nil
}

// sharedMaps returns those of have that spec names too, but for constants and variables, and makes its own of their size.
func sharedMaps(spec *ebpf.CollectionSpec, have map[string]*ebpf.Map) map[string]*ebpf.Map {
	shared := maps.Clone(have)
	delete(shared, ".rodata")
	maps.DeleteFunc(shared, func(name string, _ *ebpf.Map) bool { return spec.Maps[name] == nil })
	for name, m := range spec.Maps {
		if have := shared[name]; have != nil {
			m.MaxEntries = have.MaxEntries()
		}
	}
	return shared
}

// hookFrame returns the object with a hook's programs only. It is kept until dropFrame, as reading it takes long. The caller holds mu.
func (p *Probe) hookFrame(program string) (*ebpf.CollectionSpec, error) {
	if p.frame == nil {
		spec, err := bpf.LoadProbe()
		if err != nil {
			return nil, fmt.Errorf("read the probe's object: %w", err)
		}
		p.frame, p.frameCache = spec, btf.NewCache()
	}
	some := &ebpf.CollectionSpec{Maps: p.frame.Maps, Programs: map[string]*ebpf.ProgramSpec{}, Variables: p.frame.Variables, Types: p.frame.Types, ByteOrder: p.frame.ByteOrder}
	for _, name := range []string{"exit_" + program, "kprobe_" + program} {
		some.Programs[name] = p.frame.Programs[name]
	}
	return some.Copy(), nil
}

// dropFrame gives back what hookFrame keeps. The caller holds mu.
func (p *Probe) dropFrame() { p.frame, p.frameCache = nil, nil }

// noteSecurity records what became of a hook. The caller holds mu, or is Load.
func (p *Probe) noteSecurity(name string, at []securityPlace, s *security, state string) {
	h := Hook{Name: name, Serves: serves[name], State: state, Tier: "none"}
	if h.Serves == nil {
		h.Serves = []string{name}
	}
	for _, pl := range at {
		h.At = append(h.At, pl.fn)
	}
	if s != nil {
		h.Reason = reasonOf(s.err)
		if s.tier != "" {
			h.Tier = s.tier
		}
	}
	p.hooks = slices.DeleteFunc(p.hooks, func(o Hook) bool { return o.Name == name })
	if state != StateOff {
		p.hooks = append(p.hooks, h)
	}
}

// tryOpened finds a tier in which what a call opens can be kept. The caller holds mu, or is Load.
func (p *Probe) tryOpened(types *btf.Spec) (tier, attachTo string, args hookArgs, err error) {
	var why []string
	for _, tier := range p.tiers() {
		err := p.tierServes(tier)
		if err == nil {
			attachTo, args, err = argsAt(types, openedPlace, tier)
		}
		if err == nil {
			return tier, attachTo, args, nil
		}
		why = append(why, tier+": "+reasonOf(err))
	}
	return "", "", args, errors.New(strings.Join(why, "; "))
}

// addOpened adds to spec what keeps the files that calls open, of all its programs. That the kernel refuses it is no error.
func (p *Probe) addOpened(spec *ebpf.CollectionSpec, all map[string]*ebpf.ProgramSpec) error {
	if !p.cfg.ExactPaths {
		return nil
	}
	types, err := p.kernelTypes()
	if err != nil {
		return err
	}
	if !p.cfg.ownOpens {
		tier, attachTo, args, err := p.tryOpened(types)
		if err != nil {
			p.noteSecurity(openedHook, []securityPlace{openedPlace}, &security{err: err}, StateRefused)
			return nil
		}
		p.opened = tier
		spec.Programs[openedHook] = hookProgram(all, "keep_open", tier, attachTo)
		if err := args.set(spec); err != nil {
			return err
		}
	}
	spec.Maps["opens"].MaxEntries = keptNames
	var opens [numSlots]uint8
	for i, sc := range event.Syscalls() {
		switch strings.TrimPrefix(program(sc.Name), prefix) {
		case "open", "openat", "openat2", "creat", "open_by_handle_at":
			opens[i+1] = 1
		}
	}
	for name, v := range map[string]any{"exact_files": uint32(1), "opens_of": opens} {
		if err := spec.Variables[name].Set(v); err != nil {
			return fmt.Errorf("set the probe's constant %s: %w", name, err)
		}
	}
	return nil
}

// attachOpened attaches the program that keeps what calls open. The caller holds mu.
func (p *Probe) attachOpened() {
	if p.opened == "" {
		return
	}
	s := &security{tier: p.opened}
	state := StateAttached
	prog := p.coll.Programs[openedHook]
	if prog == nil {
		s.err = errors.New(p.reason(openedHook))
	} else if l, err := attachHook(prog, p.opened, openedPlace.fn); err != nil {
		s.err = err
	} else {
		p.links = append(p.links, l)
	}
	if s.err != nil {
		state = StateRefused
	}
	p.noteSecurity(openedHook, []securityPlace{openedPlace}, s, state)
}

// OpensNotKept returns of how many opens it wasn't kept what they opened, for want of room: their events have what the fd stood
// for at the call's end, and aren't marked as exact.
func (p *Probe) OpensNotKept() (uint64, error) { return p.counter("opens_full") }

// counter reads a variable of the programs; 0 for one that no loaded program has.
func (p *Probe) counter(name string) (uint64, error) {
	v, ok := p.coll.Variables[name]
	if !ok {
		return 0, nil
	}
	var n uint64
	if err := v.Get(&n); err != nil {
		return 0, fmt.Errorf("read the probe's variable %s: %w", name, err)
	}
	return n, nil
}

// The ways in which a file is the sensor's, see GuardedFile.
const (
	GuardOwn   = 1 // a file of the sensor's, or a folder with all that is in it
	GuardAbove = 2 // a folder above one
)

// MaxGuarded is how many files Guard takes.
const MaxGuarded = 4096

// GuardedFile is a file of the sensor's by what it is, whatever it is called and wherever it is mounted.
type GuardedFile struct {
	Major, Minor uint32 // of its device
	Ino          uint64
	What         uint32 // GuardOwn, GuardAbove
}

// guardKey is struct guard_key of bpf/include/guard.h.
type guardKey struct {
	Ino uint64
	Dev uint32
	_   uint32
}

// Guard says which files are the sensor's, beside those that it said before. Events of security functions say whether they act on
// one (their parameter sensor); of the types for which only returns true no others are made. It returns how many found no room.
func (p *Probe) Guard(files []GuardedFile, only func(event.Type) bool) (left int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.coll.Maps["guarded"]
	for _, f := range files {
		k := guardKey{Ino: f.Ino, Dev: f.Major<<20 | f.Minor&0xfffff} // MKDEV, include/linux/kdev_t.h
		var have uint32
		if err := m.Lookup(&k, &have); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return 0, fmt.Errorf("look up a file of the sensor's: %w", err)
		}
		if err := m.Put(&k, have|f.What); err != nil {
			left++
		}
	}
	mask := uint32(0)
	for i := range securityHooks {
		if h := &securityHooks[i]; h.guard >= 0 && only(h.typ) {
			mask |= 1 << h.guard
		}
	}
	return left, p.set("guard_only", mask)
}
