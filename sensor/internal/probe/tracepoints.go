package probe

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/shikra-sensor/shikra/bpf"
	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

// tracepoint makes events of a type that no system call makes. All of a machine's threads pay for one, so that it is loaded
// when somebody asks for it and not before.
type tracepoint struct {
	typ      event.Type
	programs []string // every one of them makes such events, at another place
}

var tracepoints = [...]tracepoint{
	{event.SignaldeliverE, []string{"signal_deliver"}},
	{event.SchedswitchV6E, []string{"sched_switch"}},
	{event.PageFaultE, []string{"page_fault_user", "page_fault_kern"}},
}

var errNoProgram = errors.New("no program for this architecture: not every kernel of it has the tracepoint")

// SetEvents says which events that don't come from system calls are made from now on, beside those that state depends on:
// those of a type for which wants returns true, none before the first call. A hook that the kernel refuses is reported by
// Hooks, and is no error. It may be called before Attach and after it, any number of times.
func (p *Probe) SetEvents(wants func(event.Type) bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.dropFrame()
	for i := range tracepoints {
		for _, name := range tracepoints[i].programs {
			p.asked[name] = wants(tracepoints[i].typ)
			if err := p.setTracepoint(name); err != nil {
				return err
			}
		}
	}
	for i := range securityHooks {
		h := &securityHooks[i]
		p.asked[h.typ.Info().Name] = wants(h.typ)
		if err := p.setSecurity(h); err != nil {
			return err
		}
	}
	return nil
}

// attachAsked attaches what was asked for before Attach. The caller holds mu.
func (p *Probe) attachAsked() error {
	defer p.dropFrame()
	for i := range tracepoints {
		for _, name := range tracepoints[i].programs {
			if err := p.setTracepoint(name); err != nil {
				return err
			}
		}
	}
	for i := range securityHooks {
		if err := p.setSecurity(&securityHooks[i]); err != nil {
			return err
		}
	}
	return nil
}

// setTracepoint loads and attaches the program name, or detaches it, as is asked. The caller holds mu.
func (p *Probe) setTracepoint(name string) error {
	l := p.optional[name]
	switch {
	case p.asked[name] == (l != nil) || !p.asked[name] && p.coll.Programs[name] == nil:
		return nil
	case !p.asked[name]:
		delete(p.optional, name)
		p.note(name, StateLoaded, nil)
		if err := l.Close(); err != nil {
			return fmt.Errorf("detach %s: %w", name, err)
		}
		return nil
	}
	if p.coll.Programs[name] == nil {
		if err := p.loadTracepoint(name); err != nil {
			return err
		}
	}
	prog := p.coll.Programs[name]
	if prog == nil || !p.running {
		return nil
	}
	l, err := link.AttachTracing(link.TracingOptions{Program: prog})
	if err != nil {
		p.note(name, StateRefused, err)
		return nil
	}
	p.optional[name] = l
	p.note(name, StateAttached, nil)
	return nil
}

// loadTracepoint loads a program beside those that were loaded, on the same maps. The caller holds mu.
func (p *Probe) loadTracepoint(name string) error {
	spec, err := bpf.LoadProbe()
	if err != nil {
		return fmt.Errorf("read the probe's object: %w", err)
	}
	prog := spec.Programs[name]
	if prog == nil {
		p.note(name, StateRefused, errNoProgram)
		return nil
	}
	spec.Programs = map[string]*ebpf.ProgramSpec{name: prog}
	for name, m := range spec.Maps {
		if have := p.coll.Maps[name]; have != nil {
			m.MaxEntries = have.MaxEntries()
		}
	}
	coll, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{
		Programs:        ebpf.ProgramOptions{KernelTypes: p.cfg.KernelTypes},
		MapReplacements: p.coll.Maps,
	})
	if err != nil {
		p.note(name, StateRefused, err)
		return nil
	}
	p.coll.Programs[name] = coll.Programs[name]
	delete(coll.Programs, name)
	coll.Close()
	p.note(name, StateLoaded, nil)
	return nil
}
