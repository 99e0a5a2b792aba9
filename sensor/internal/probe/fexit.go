package probe

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

// errNoEntry is why a system call can't be watched at its own function.
var errNoEntry = errors.New("the kernel's types know no function of it, or not what it takes")

// endless are the system calls that never end, so that there is nothing to be seen of them in any tier.
var endless = []string{"exit", "exit_group"}

// entryKey is one place of a program: a kernel function, and the slot of the only system call it is for there, 0 for any.
type entryKey struct {
	fn, prog string
	slot     int
}

// fexit watches system calls at the kernel's functions of them, each with programs of its own, and no other call then costs
// anything. It is not safe for concurrent use: Probe's mu guards it.
type fexit struct {
	frame    *ebpf.CollectionSpec // the maps and constants, without programs
	specs    map[string]*ebpf.ProgramSpec
	programs map[string]string    // the program of each system call
	maps     map[string]*ebpf.Map // what its programs share with the others
	opts     ebpf.ProgramOptions
	cache    *btf.Cache
	places   map[string][]entryKey // of each system call; empty for one that the kernel's types don't know
	absent   map[string]bool       // system calls that this kernel doesn't have; nil until somebody asks
	loaded   map[entryKey]*ebpf.Program
	links    map[entryKey]link.Link
	calls    []*ebpf.Map // of programs that call themselves
	refused  map[entryKey]error
	wanted   []string // system calls to be served from Attach on
	told     wants    // and what the programs are told then
}

// newFexit prepares to watch the system calls of programs. It loads nothing yet.
func newFexit(spec *ebpf.CollectionSpec, programs map[string]string, types *btf.Spec) (*fexit, error) {
	if types == nil {
		var err error
		if types, err = btf.LoadKernelSpec(); err != nil {
			return nil, fmt.Errorf("read the kernel's types: %w", err)
		}
	}
	f := &fexit{
		specs: spec.Programs, programs: programs, loaded: map[entryKey]*ebpf.Program{}, links: map[entryKey]link.Link{},
		cache: btf.NewCache(), opts: ebpf.ProgramOptions{KernelTypes: types},
	}
	f.frame = spec.Copy()
	f.frame.Programs = map[string]*ebpf.ProgramSpec{}
	f.places = placesOf(programs, func(arch int, call string) []string { return entries(types, arch, call) })
	return f, nil
}

// unseen reports whether a system call begins in functions that no program can be attached to. Those that never end and those that
// this kernel doesn't have are no loss. The kernel's symbols are read for the first that its types know no function of.
func (f *fexit) unseen(name string) bool {
	if len(f.places[name]) > 0 || slices.Contains(endless, name) {
		return false
	}
	if f.absent == nil {
		f.absent = absentCalls(slices.DeleteFunc(slices.Collect(maps.Keys(f.programs)), func(name string) bool { return len(f.places[name]) > 0 }))
	}
	return !f.absent[name]
}

// absentCalls returns those of the system calls of which the kernel has no function by any name (/proc/kallsyms), so that it
// doesn't have them, as an older kernel lacks setxattrat. None when that can't be read, or names functions otherwise.
func absentCalls(names []string) map[string]bool {
	native, compat := arches()
	absent, of := map[string]bool{}, map[string][]string{} // the calls that a function is of
	for _, name := range names {
		absent[name] = true
		for _, arch := range []int{native, compat} {
			for _, fn := range entryNames(arch, name) {
				for _, prefix := range append(entryPrefixes(arch), "__do_sys_", "sys_", "compat_sys_") {
					of[prefix+fn] = append(of[prefix+fn], name)
				}
			}
		}
	}
	usual := map[string]bool{}
	for _, prefix := range entryPrefixes(native) {
		usual[prefix+"getppid"], usual[prefix+"close"] = true, true
	}
	file, err := os.Open("/proc/kallsyms")
	if err != nil {
		return map[string]bool{}
	}
	defer file.Close()
	found, in := false, bufio.NewScanner(file)
	for in.Scan() {
		if w := strings.Fields(in.Text()); len(w) >= 3 { // address, type, name, module
			found = found || usual[w[2]]
			for _, name := range of[w[2]] {
				delete(absent, name)
			}
		}
	}
	if in.Err() != nil || !found {
		return map[string]bool{}
	}
	return absent
}

// placesOf says at which functions the program of each system call is needed. A function that is several programs' gets each
// of them for one system call only, so that no call makes two events.
func placesOf(programs map[string]string, entries func(arch int, call string) []string) map[string][]entryKey {
	native, compat := arches()
	type user struct{ call, prog string }
	users := map[string][]user{} // by function
	slots := map[string]int{}
	for i, sc := range event.Syscalls() {
		prog, ok := programs[sc.Name]
		if !ok || slices.Contains(endless, sc.Name) {
			continue
		}
		slots[sc.Name] = i + 1
		for _, arch := range []int{native, compat} {
			if arch < 0 {
				continue
			}
			var fns []string
			if sc.NR[arch] >= 0 {
				fns = entries(arch, sc.Name)
			}
			for i := range multiplexers {
				if m := &multiplexers[i]; arch == int(event.ArchIA32) && slices.Contains(m.subs[1:], sc.Name) {
					fns = append(fns, entries(arch, m.name)...)
				}
			}
			for _, fn := range fns {
				if u := (user{sc.Name, prog}); !slices.Contains(users[fn], u) {
					users[fn] = append(users[fn], u)
				}
			}
		}
	}
	places := map[string][]entryKey{}
	for _, fn := range slices.Sorted(maps.Keys(users)) {
		alone := !slices.ContainsFunc(users[fn], func(u user) bool { return u.prog != users[fn][0].prog })
		for _, u := range users[fn] {
			k := entryKey{fn: fn, prog: u.prog}
			if !alone {
				k.slot = slots[u.call]
			}
			places[u.call] = append(places[u.call], k)
		}
	}
	return places
}

// load loads the programs of places, those that aren't. All at once, as the kernel's types and the object's are then gone through
// once; when that fails, each by itself. It returns those that the kernel refused.
func (f *fexit) load(keys []entryKey) map[entryKey]error {
	var together []entryKey
	refused := map[entryKey]error{}
	for _, k := range keys {
		switch {
		case f.loaded[k] != nil:
		case k.slot == 0 && !f.callsItself(k.prog):
			together = append(together, k)
		default:
			if err := f.loadSome(k); err != nil {
				refused[k] = err
			}
		}
	}
	if len(together) == 0 || f.loadSome(together...) == nil {
		return refused
	}
	for _, k := range together {
		if err := f.loadSome(k); err != nil {
			refused[k] = err
		}
	}
	return refused
}

// callsItself reports whether a program makes several events of one call, for which it calls itself by the map calls.
func (f *fexit) callsItself(prog string) bool {
	return slices.ContainsFunc(f.specs[prog].Instructions, func(in asm.Instruction) bool { return in.Reference() == callsMap })
}

const callsMap = "calls"

// loadSome loads the programs of places; one that is for a single slot or calls itself comes alone.
func (f *fexit) loadSome(keys ...entryKey) error {
	frame, replace := f.frame, maps.Clone(f.maps)
	slot, turns := keys[0].slot, f.callsItself(keys[0].prog)
	if slot != 0 {
		frame = f.frame.Copy()
		if err := frame.Variables["only_slot"].Set(uint32(slot)); err != nil {
			return fmt.Errorf("set the probe's constant only_slot: %w", err)
		}
		delete(replace, ".rodata") // it gets its own
	}
	if turns {
		delete(replace, callsMap) // whose entries have to be attached to the same function (map_compatible, kernel/bpf/core.c)
	}
	some := &ebpf.CollectionSpec{Maps: frame.Maps, Programs: map[string]*ebpf.ProgramSpec{}, Variables: frame.Variables, Types: frame.Types, ByteOrder: frame.ByteOrder}
	for _, k := range keys {
		prog := f.specs[k.prog].Copy()
		prog.AttachType, prog.AttachTo = ebpf.AttachTraceFExit, k.fn
		some.Programs[k.prog+" "+k.fn] = prog
	}
	coll, err := ebpf.NewCollectionWithOptions(some, ebpf.CollectionOptions{Programs: f.opts, MapReplacements: replace, Cache: f.cache})
	if err != nil {
		return err
	}
	defer coll.Close()
	if turns {
		calls, prog := coll.DetachMap(callsMap), coll.Programs[keys[0].prog+" "+keys[0].fn]
		f.calls = append(f.calls, calls) // without it the kernel empties it
		for i, sc := range event.Syscalls() {
			if f.programs[sc.Name] == keys[0].prog {
				if err := calls.Update(uint32(i+1), prog, ebpf.UpdateAny); err != nil {
					return fmt.Errorf("place program of %s: %w", sc.Name, err)
				}
			}
		}
	}
	for _, k := range keys {
		f.loaded[k] = coll.DetachProgram(k.prog + " " + k.fn)
	}
	return nil
}

// serve attaches what the system calls need and detaches everything else. It returns why some can't be served; the others are.
func (f *fexit) serve(names []string) map[string]error {
	users := map[entryKey][]string{}
	missed := map[string]error{}
	for _, name := range names {
		if f.unseen(name) {
			missed[name] = errNoEntry
		}
		for _, k := range f.places[name] {
			users[k] = append(users[k], name)
		}
	}
	keys := slices.SortedFunc(maps.Keys(users), func(a, b entryKey) int {
		return cmp.Or(strings.Compare(a.fn, b.fn), a.slot-b.slot)
	})
	f.refused = f.load(keys)
	for _, k := range keys {
		if f.links[k] == nil && f.refused[k] == nil {
			if l, err := link.AttachTracing(link.TracingOptions{Program: f.loaded[k]}); err != nil {
				f.refused[k] = err
			} else {
				f.links[k] = l
			}
		}
		if err := f.refused[k]; err != nil {
			for _, name := range users[k] {
				missed[name] = fmt.Errorf("%s: %w", k.fn, err)
			}
		}
	}
	for k, l := range f.links {
		if users[k] == nil {
			_ = l.Close()
			delete(f.links, k)
		}
	}
	return missed
}

// close detaches and unloads everything.
func (f *fexit) close() error {
	var errs []error
	for _, l := range f.links {
		errs = append(errs, l.Close())
	}
	for _, prog := range f.loaded {
		errs = append(errs, prog.Close())
	}
	for _, m := range f.calls {
		errs = append(errs, m.Close())
	}
	clear(f.links)
	clear(f.loaded)
	return errors.Join(errs...)
}

// hooks reports the programs that system calls wanted, one hook for each program.
func (f *fexit) hooks() []Hook {
	byProg := map[string]*Hook{}
	for _, name := range f.wanted {
		prog := f.programs[name]
		h := byProg[prog]
		if h == nil {
			h = &Hook{Name: prog, Tier: TierFexit, State: StateAttached}
			byProg[prog] = h
		}
		h.Serves = append(h.Serves, name)
		if f.unseen(name) {
			h.State, h.Reason = StateRefused, name+": "+errNoEntry.Error()
		}
		for _, k := range f.places[name] {
			if err := f.refused[k]; err != nil {
				h.State, h.Reason = StateRefused, k.fn+": "+reasonOf(err)
			}
			if !slices.Contains(h.At, k.fn) {
				h.At = append(h.At, k.fn)
			}
		}
	}
	var out []Hook
	for _, h := range byProg {
		slices.Sort(h.Serves)
		slices.Sort(h.At)
		out = append(out, *h)
	}
	return out
}

// missedReason words why system calls can't be served, at most a few of them.
func missedReason(missed map[string]error) string {
	names := slices.Sorted(maps.Keys(missed))
	var parts []string
	for i, n := range names {
		if i == 3 {
			parts = append(parts, fmt.Sprintf("and %d more", len(names)-i))
			break
		}
		parts = append(parts, n+": "+reasonOf(missed[n]))
	}
	return strings.Join(parts, "; ")
}
