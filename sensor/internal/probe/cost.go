package probe

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
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

// Costs loads every program of TierBase by itself, in order of name, and hands what that cost to each.
func Costs(each func(Cost)) error {
	cfg := Config{SnapLen: DefaultSnapLen, Generic: true}
	spec, err := bpf.LoadProbe()
	if err != nil {
		return fmt.Errorf("read the probe's object: %w", err)
	}
	p := &Probe{cfg: cfg}
	spec.Maps["ring"].MaxEntries = MinRingBytes
	if _, err := p.choose(spec); err != nil {
		return err
	}
	if err := setConstants(spec, MinRingBytes, &cfg, false); err != nil {
		return err
	}
	opts := ebpf.CollectionOptions{Programs: ebpf.ProgramOptions{LogLevel: ebpf.LogLevelStats}}
	only := spec.Copy()
	only.Programs = map[string]*ebpf.ProgramSpec{}
	raiseMemlock()
	shared, err := ebpf.NewCollectionWithOptions(only, opts)
	if err != nil {
		return fmt.Errorf("create the probe's maps: %w", err)
	}
	defer shared.Close()
	opts.MapReplacements = shared.Maps
	for _, name := range slices.Sorted(maps.Keys(spec.Programs)) {
		start := time.Now()
		prog, err := loadAlone(only, name, spec.Programs[name], opts)
		c := Cost{Program: name, Took: time.Since(start), Err: err}
		if err == nil {
			if m := processed.FindStringSubmatch(prog.VerifierLog); m != nil {
				c.Instructions, _ = strconv.Atoi(m[1])
			}
			_ = prog.Close()
		}
		each(c)
	}
	return nil
}

// Costs returns what each loaded program did cost, in order of name, and false where the kernel doesn't remember that, which it
// does since 5.16 (verified_insns of struct bpf_prog_info, include/uapi/linux/bpf.h).
func (p *Probe) Costs() ([]Cost, bool) {
	var out []Cost
	for _, name := range slices.Sorted(maps.Keys(p.coll.Programs)) {
		info, err := p.coll.Programs[name].Info()
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
