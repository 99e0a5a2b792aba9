package probe

import (
	"slices"
	"testing"
)

// TestSelfCheck: hooks that run are found to, and one that is attached to nothing that happens is not.
func TestSelfCheck(t *testing.T) {
	needProbe(t)
	p, err := Load(Config{Syscalls: []string{"openat", "close"}, RingBytes: MinRingBytes})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Attach(); err != nil {
		t.Fatal(err)
	}
	before, err := p.Counters()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.SelfCheck(); err != nil {
		t.Fatal(err)
	}
	for _, h := range p.Hooks() {
		if h.State == StateSilent {
			t.Errorf("%+v", h)
		}
	}
	after, err := p.Counters()
	if err != nil {
		t.Fatal(err)
	}
	if n := after.BySyscall["openat"].Total() - before.BySyscall["openat"].Total(); n != 0 {
		t.Errorf("%d events of its own calls", n)
	}
	// The link is gone, but p believes that the dispatcher is attached.
	p.mu.Lock()
	for _, l := range p.links {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	p.links = nil
	p.mu.Unlock()
	if err := p.SelfCheck(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sys_exit", "sched_fork", "sched_exit"} {
		if h := hookOf(p, name); h.State != StateSilent || h.Reason == "" {
			t.Errorf("%+v", h)
		}
	}
	if !slices.Contains(p.silent, "sys_exit") || p.checkSelf() == nil {
		t.Error("a silent dispatcher is no error")
	}
}
