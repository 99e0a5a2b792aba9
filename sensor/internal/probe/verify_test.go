package probe

import (
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/shikra-sensor/shikra/sensor/internal/filter"
)

// TestVerify: what another changes in the probe's memory is found and set again, and so is that it sees nothing. The memory is
// changed by what a thief of the map's fd would use.
func TestVerify(t *testing.T) {
	needProbe(t)
	p, err := Load(Config{Syscalls: []string{"openat", "close"}, RingBytes: MinRingBytes})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.SetSyscalls(nil); err != nil {
		t.Fatal(err)
	}
	if err := p.Attach(); err != nil {
		t.Fatal(err)
	}
	if err := p.SelfCheck(); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if got := p.Verify(); len(got) > 0 {
			t.Fatalf("untouched: %v", got)
		}
	}
	// found looks for what a change is to be called, and that it was set again.
	found := func(want ...string) {
		t.Helper()
		got := strings.Join(p.Verify(), "; ")
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("%q doesn't say %q", got, w)
			}
		}
		p.Verify() // hooks that were silent see again
		if got := p.Verify(); len(got) > 0 {
			t.Errorf("afterwards: %v", got)
		}
	}
	zero := func(name string) {
		t.Helper()
		v := p.coll.Variables[name] // which lies in memory that whoever has the map's fd may map
		if err := v.Set(make([]byte, v.Size())); err != nil {
			t.Fatal(err)
		}
	}
	zero("wanted")
	if got := p.Verify(); len(got) != 2 || !strings.Contains(got[0], "sys_exit") || !strings.Contains(got[1], "variable wanted") {
		t.Errorf("nothing wanted: %v", got)
	}
	if h := hookOf(p, "sys_exit"); h.State != StateSilent {
		t.Errorf("%+v", h)
	}
	found()
	if h := hookOf(p, "sys_exit"); h.State != StateAttached {
		t.Errorf("%+v", h)
	}
	zero("self_tgid")
	found("variable self_tgid", "sys_exit", "sched_fork", "sched_exit")
	at := uint32(p.slots["openat"])
	if err := p.coll.Maps["calls"].Delete(at); err != nil {
		t.Fatal(err)
	}
	found("program of openat")
	if err := p.coll.Maps["calls"].Update(at, p.coll.Programs["x_close"], ebpf.UpdateAny); err != nil {
		t.Fatal(err)
	}
	found("program of openat")

	only := &filter.Set{Calls: []filter.Call{{Name: "openat", Ways: []filter.Way{{Result: filter.Success, Paths: []filter.Path{{Text: "/nowhere"}}}}, Args: filter.Args{Path: 1, Flags: 2, FD: filter.NoArg}, What: filter.Opens}}}
	if err := p.SetFilter(only); err != nil {
		t.Fatal(err)
	}
	found()
	m := p.coll.Maps["filters"]
	if err := m.Update(uint32(0), make([]byte, m.ValueSize()), ebpf.UpdateAny); err != nil {
		t.Fatal(err)
	}
	found("filters")
	zero("filter_on")
	found("variable filter_on")
	if err := p.SetFilter(nil); err != nil {
		t.Fatal(err)
	}
	found()

	p.mu.Lock()
	for _, l := range p.links {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	p.links = nil
	p.mu.Unlock()
	if got := p.Verify(); len(got) != 1 || !slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, "sched_exit, sched_fork, sys_exit") }) {
		t.Errorf("detached: %v", got)
	}
}
