package probe

import (
	"bytes"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// place is where the programs find one that they hand over to.
type place struct {
	m   *ebpf.Map
	key uint32
}

// placed is the program that was put into a place: its id as the map tells it, and for what it is.
type placed struct {
	prog *ebpf.Program
	id   uint32
	of   string
}

// put puts prog into a place, where Verify looks for it from then on.
func (p *Probe) put(m *ebpf.Map, key uint32, prog *ebpf.Program, of string) error {
	if err := m.Update(key, prog, ebpf.UpdateAny); err != nil {
		return err
	}
	x := placed{prog: prog, of: of}
	if err := m.Lookup(key, &x.id); err != nil {
		return fmt.Errorf("read it back: %w", err)
	}
	p.varsMu.Lock()
	defer p.varsMu.Unlock()
	p.placed[place{m, key}] = x
	return nil
}

// remember notes the value of v, which was just set, for Verify. The caller holds varsMu.
func (p *Probe) remember(v *ebpf.Variable) error {
	if v == nil {
		return nil // no loaded program has it
	}
	b := make([]byte, v.Size())
	if err := v.Get(b); err != nil {
		return fmt.Errorf("read a variable of the probe's back: %w", err)
	}
	p.told[v] = b
	return nil
}

// forget has Verify pass over what belongs to coll, which is about to be closed. The caller holds varsMu.
func (p *Probe) forget(coll *ebpf.Collection) {
	for _, v := range coll.Variables {
		delete(p.told, v)
	}
	for at := range p.placed {
		for _, m := range coll.Maps {
			if at.m == m {
				delete(p.placed, at)
			}
		}
	}
}

// Verify looks whether the attached programs still see what they ought to, by a call and a thread of its own, of which they count that
// they saw them and make no event; and whether what they were told is still what they find. It sets the latter again, says in a
// line each what was wrong, and keeps for Hooks which hooks are silent. It costs some hundred system calls, and nothing to what
// others do. Call it from one goroutine, after SelfCheck and not after Close. Without a fault it returns none.
//
// INVARIANT: what is told of a variable is what set wrote last; those that the programs write themselves aren't compared.
func (p *Probe) Verify() (faults []string) {
	if silent := p.prove(); len(silent) > 0 {
		faults = append(faults, "hooks don't see the sensor's own calls: "+strings.Join(silent, ", "))
	}
	faults = append(faults, p.verifyTold()...)
	return append(faults, p.verifyFilters()...)
}

// verifyTold compares the variables and the programs that others hand over to with what was set.
func (p *Probe) verifyTold() (faults []string) {
	p.varsMu.Lock()
	defer p.varsMu.Unlock()
	changed := map[string]bool{}
	for v, want := range p.told {
		have := make([]byte, len(want))
		if err := v.Get(have); err == nil && bytes.Equal(have, want) {
			continue
		}
		_ = v.Set(want) // the next look finds it when that failed
		changed["variable "+p.nameOf(v)] = true
	}
	for at, want := range p.placed {
		var id uint32
		if err := at.m.Lookup(at.key, &id); err == nil && id == want.id {
			continue
		}
		_ = at.m.Update(at.key, want.prog, ebpf.UpdateAny)
		changed["program of "+want.of] = true
	}
	if len(changed) == 0 {
		return nil
	}
	const most = 12
	names := slices.Sorted(maps.Keys(changed))
	if n := len(names) - most; n > 0 {
		names = append(names[:most], fmt.Sprintf("and %d more", n))
	}
	return []string{"somebody changed what the probe was told: " + strings.Join(names, ", ")}
}

// nameOf returns the name of a variable that told has. The caller holds varsMu.
func (p *Probe) nameOf(v *ebpf.Variable) string {
	for _, coll := range []*ebpf.Collection{p.coll, p.alike} {
		if coll == nil {
			continue
		}
		for name, x := range coll.Variables {
			if x == v {
				return name
			}
		}
	}
	return "without a name"
}

// verifyFilters compares the filters that are in force.
func (p *Probe) verifyFilters() []string {
	p.filterMu.Lock()
	defer p.filterMu.Unlock()
	if !p.filtering {
		return nil
	}
	m := p.coll.Maps["filters"]
	if have, err := m.LookupBytes(uint32(0)); err == nil && bytes.Equal(have, p.filters) {
		return nil
	}
	_ = m.Update(uint32(0), p.filters, ebpf.UpdateAny)
	return []string{"somebody changed the probe's filters"}
}

// ownCalls are the calls by which prove looks whether calls are seen: they do nothing. The first that is wanted serves.
var ownCalls = []struct {
	name string
	nr   uintptr
	args [2]uintptr
}{
	{"close", unix.SYS_CLOSE, [2]uintptr{^uintptr(0)}},
	{"fchdir", unix.SYS_FCHDIR, [2]uintptr{^uintptr(0)}},
	{"dup", unix.SYS_DUP, [2]uintptr{^uintptr(0)}},
	{"openat", unix.SYS_OPENAT, [2]uintptr{^uintptr(0), 0}},                 // a path that isn't there
	{"setresgid", unix.SYS_SETRESGID, [2]uintptr{^uintptr(0), ^uintptr(0)}}, // the third is -1, too
}

// prove makes a wanted call and a thread, and returns the hooks that saw none of it; Hooks knows then.
func (p *Probe) prove() []string {
	if p.cfg.TraceSelf {
		return nil
	}
	p.mu.Lock()
	running, calls := p.running, p.calls
	attached := map[string]bool{}
	for _, h := range p.hooks {
		attached[h.Name] = h.State == StateAttached
	}
	p.mu.Unlock()
	if !running {
		return nil
	}
	call, hook := -1, "sys_exit"
	for i := range ownCalls {
		if slices.Contains(calls, ownCalls[i].name) {
			call = i
			break
		}
	}
	seenBy := map[string]string{"sched_fork": "self_forks", "sched_exit": "self_exits"}
	maps.DeleteFunc(seenBy, func(name, _ string) bool { return !attached[name] })
	if call >= 0 {
		if p.fexit != nil {
			hook = program(ownCalls[call].name)
		}
		seenBy[hook] = "self_calls"
	}
	before := map[string]uint64{}
	for _, counter := range seenBy {
		before[counter], _ = p.counter(counter)
	}
	var silent []string
	for threads := 1; threads <= 64; threads *= 4 {
		ownThreads(threads, call)
		time.Sleep(time.Duration(threads) * time.Millisecond) // for their ends
		silent = silent[:0]
		for name, counter := range seenBy {
			if n, err := p.counter(counter); err != nil || n == before[counter] {
				silent = append(silent, name)
			}
		}
		if len(silent) == 0 {
			break
		}
	}
	slices.Sort(silent)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent = slices.DeleteFunc(p.silent, func(name string) bool { return seenBy[name] != "" })
	p.silent = append(p.silent, silent...)
	return silent
}

// ownThreads makes one of ownCalls, none for -1, in each of n threads at once, which end. The runtime may have threads to spare: that
// one is made is sure only when n is more than these.
func ownThreads(n, call int) {
	var ready, done sync.WaitGroup
	ready.Add(n)
	done.Add(n)
	for range n {
		go func() {
			runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
			defer done.Done()
			ready.Done()
			ready.Wait()
			if call >= 0 {
				c := &ownCalls[call]
				_, _, _ = unix.Syscall(c.nr, c.args[0], c.args[1], ^uintptr(0))
			}
		}()
	}
	done.Wait()
}
