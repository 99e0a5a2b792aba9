package probe

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cilium/ebpf"

	"github.com/shikra-sensor/shikra/bpf"
)

// Cost is what the kernel's verifier had to do for one program.
type Cost struct {
	Program      string
	Instructions int           // it went through, those of all branches; 0 when it refused the program
	Took         time.Duration // to relocate, verify and compile it; 0 from Probe.Costs
	Err          error         // why it was refused
}

var processed = regexp.MustCompile(`processed (\d+) insns`)

// Costs loads every program of TierBase by itself, then those for io_uring and those at security functions where the kernel has these,
// each in order of name, and hands what that cost to each.
func Costs(each func(Cost)) error {
	cfg := Config{SnapLen: DefaultSnapLen, Generic: true}
	spec, err := bpf.LoadProbe()
	if err != nil {
		return fmt.Errorf("read the probe's object: %w", err)
	}
	p := newProbe(cfg)
	spec.Maps["ring"].MaxEntries = MinRingBytes
	if _, err := p.choose(spec); err != nil {
		return err
	}
	if err := setConstants(spec, MinRingBytes, &cfg, false); err != nil {
		return err
	}
	raiseMemlock()
	shared, err := mapsOf(spec, nil)
	if err != nil {
		return err
	}
	defer shared.Close()
	costsOf(spec, shared.Maps, each)
	p.coll = shared
	if err := p.uringCosts(each); err != nil {
		return err
	}
	return p.securityCosts(each)
}

// mapsOf creates the maps of spec but for those in have.
func mapsOf(spec *ebpf.CollectionSpec, have map[string]*ebpf.Map) (*ebpf.Collection, error) {
	only := spec.Copy()
	only.Programs = map[string]*ebpf.ProgramSpec{}
	coll, err := ebpf.NewCollectionWithOptions(only, ebpf.CollectionOptions{MapReplacements: have})
	if err != nil {
		return nil, fmt.Errorf("create the probe's maps: %w", err)
	}
	return coll, nil
}

// costsOf loads each program of spec by itself, with the maps of spec.
func costsOf(spec *ebpf.CollectionSpec, have map[string]*ebpf.Map, each func(Cost)) {
	frame := spec.Copy()
	for _, name := range slices.Sorted(maps.Keys(spec.Programs)) {
		each(costOf(frame, name, name, spec.Programs[name], have))
	}
}

// costOf loads one program, which the result calls name, in the place of those of frame.
func costOf(frame *ebpf.CollectionSpec, name, program string, spec *ebpf.ProgramSpec, have map[string]*ebpf.Map) Cost {
	start := time.Now()
	opts := ebpf.CollectionOptions{Programs: ebpf.ProgramOptions{LogLevel: ebpf.LogLevelStats}, MapReplacements: have}
	prog, err := loadAlone(frame, program, spec, opts)
	c := Cost{Program: name, Took: time.Since(start), Err: err}
	if err == nil {
		if m := processed.FindStringSubmatch(prog.VerifierLog); m != nil {
			c.Instructions, _ = strconv.Atoi(m[1])
		}
		_ = prog.Close()
	}
	return c
}

// uringCosts is Costs of the programs for io_uring. It has p for itself.
func (p *Probe) uringCosts(each func(Cost)) error {
	spec, err := bpf.LoadUring()
	if err != nil {
		return fmt.Errorf("read the object for io_uring: %w", err)
	}
	var u ioUring
	if u.place(spec, nil) != nil {
		return nil // Probe.Hooks says why
	}
	maps.DeleteFunc(spec.Programs, func(name string, _ *ebpf.ProgramSpec) bool {
		return slices.Contains(uringPlaced, name) && !slices.ContainsFunc(u.places, func(pl uringPlace) bool { return pl.program == name })
	})
	if err := setConstants(spec, MinRingBytes, &p.cfg, false); err != nil {
		return err
	}
	have := sharedMaps(spec, p.coll.Maps)
	maps.DeleteFunc(have, func(name string, _ *ebpf.Map) bool { return strings.HasPrefix(name, ".") })
	coll, err := mapsOf(spec, have)
	if err != nil {
		return err
	}
	defer coll.Close()
	costsOf(spec, coll.Maps, each)
	return nil
}

// securityCosts is Costs of the programs at security functions, each called like its function, in the tier that serves them here. It has
// p for itself.
func (p *Probe) securityCosts(each func(Cost)) error {
	types, err := p.kernelTypes()
	if err != nil {
		return err
	}
	defer p.dropFrame()
	for i := range securityHooks {
		h := &securityHooks[i]
		for _, pl := range h.at {
			for _, tier := range p.tiers() {
				if p.tierServes(tier) != nil {
					continue // Probe.Hooks says why
				}
				spec, _, err := p.hookSpec(h, pl, tier, types)
				if err != nil {
					continue
				}
				each(costOf(spec, pl.fn, h.program, spec.Programs[h.program], sharedMaps(spec, p.coll.Maps)))
				break
			}
		}
	}
	return nil
}

// Costs returns what each loaded program did cost, in order of name, and false where the kernel doesn't remember that, which it
// does since 5.16 (verified_insns of struct bpf_prog_info, include/uapi/linux/bpf.h). A program at a security function is called like
// that.
func (p *Probe) Costs() ([]Cost, bool) {
	var out []Cost
	p.mu.Lock()
	defer p.mu.Unlock()
	programs := maps.Clone(p.coll.Programs)
	if p.uring != nil && p.uring.coll != nil {
		maps.Copy(programs, p.uring.coll.Programs)
	}
	for i := range securityHooks {
		if s := p.security[securityHooks[i].typ.Info().Name]; s != nil && s.tier != "" {
			for k, prog := range s.progs {
				programs[securityHooks[i].at[k].fn] = prog
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(programs)) {
		info, err := programs[name].Info()
		if err != nil {
			return nil, false
		}
		n, ok := info.VerifiedInstructions()
		if !ok || n == 0 {
			return nil, false
		}
		out = append(out, Cost{Program: name, Instructions: int(n)})
	}
	return out, true
}

// loadAlone loads one program, with the maps that opts replaces those of frame by.
func loadAlone(frame *ebpf.CollectionSpec, name string, prog *ebpf.ProgramSpec, opts ebpf.CollectionOptions) (*ebpf.Program, error) {
	frame.Programs = map[string]*ebpf.ProgramSpec{name: prog}
	coll, err := ebpf.NewCollectionWithOptions(frame, opts)
	if err != nil {
		return nil, err
	}
	defer coll.Close()
	return coll.DetachProgram(name), nil
}
