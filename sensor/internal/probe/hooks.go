package probe

import (
	"errors"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
)

// The states of a hook.
const (
	StateLoaded   = "loaded"   // its program is in the kernel; system calls' programs need no more, the dispatcher calls them
	StateAttached = "attached" // it runs
	StateRefused  = "refused"  // the kernel would not have it; Reason says why
	StateOff      = "off"      // nobody asks for it; not reported
)

// Hook says of one program whether it works here.
type Hook struct {
	Name   string   `json:"name"`             // of the program
	Serves []string `json:"serves"`           // the events or system calls that come from it
	Tier   string   `json:"tier"`             // TierBase, TierFexit, TierExact, TierLSM, TierKprobe; "none" for a security function's that was refused
	At     []string `json:"at,omitempty"`     // the kernel's functions it is attached to, where that isn't its name
	State  string   `json:"state"`            // StateLoaded, StateAttached, StateSilent or StateRefused
	Reason string   `json:"reason,omitempty"` // why it was refused, one line
}

// Hooks reports the state of every program that was to be loaded, by name.
func (p *Probe) Hooks() []Hook {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := slices.Clone(p.hooks)
	if p.fexit != nil {
		out = append(out, p.fexit.hooks()...)
	}
	for i := range out {
		if slices.Contains(p.silent, out[i].Name) && out[i].State == StateAttached {
			out[i].State, out[i].Reason = StateSilent, "attached, but what should have run it didn't"
		}
	}
	slices.SortFunc(out, func(a, b Hook) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// note records the state of a program. The caller holds mu, or is Load.
func (p *Probe) note(name, state string, err error) {
	if name == "self" {
		return
	}
	if state == StateLoaded && (strings.HasPrefix(name, "getname_") || name == openedHook) {
		return // attachGetname and attachOpened say what became of them
	}
	h := Hook{Name: name, Tier: TierBase, State: state, Reason: reasonOf(err)}
	if name == getnameHook {
		h.Tier = TierExact
		for _, g := range p.getnames {
			h.At = append(h.At, g.fn)
		}
	}
	if name == uringHook && p.uring != nil {
		for _, pl := range p.uring.places {
			h.At = append(h.At, pl.tracepoint)
		}
	}
	if h.Serves = serves[name]; h.Serves == nil {
		call := strings.TrimPrefix(strings.TrimPrefix(name, prefix), uringPrefix)
		h.Serves = []string{call}
		for other, of := range shared {
			if of == call {
				h.Serves = append(h.Serves, other)
			}
		}
		slices.Sort(h.Serves)
	}
	for i := range p.hooks {
		if p.hooks[i].Name == name {
			p.hooks[i] = h
			return
		}
	}
	p.hooks = append(p.hooks, h)
}

func (p *Probe) reason(name string) string {
	for _, h := range p.hooks {
		if h.Name == name {
			return h.Reason
		}
	}
	return "not loaded"
}

// reasonOf makes one line of err: of a verifier's log the line that says what is wrong, which is its last but for counts.
func reasonOf(err error) string {
	if err == nil {
		return ""
	}
	var ve *ebpf.VerifierError
	if !errors.As(err, &ve) {
		s := strings.ReplaceAll(err.Error(), "\n", " ")
		return strings.Replace(s, " (MEMLOCK may be too low, consider rlimit.RemoveMemlock)", "", 1) // any EPERM gets it
	}
	line := ""
	for _, l := range ve.Log {
		if l = strings.TrimSpace(l); l != "" && !strings.HasPrefix(l, "processed ") && !strings.HasPrefix(l, ";") {
			line = l
		}
	}
	if line == "" {
		return ve.Cause.Error()
	}
	return ve.Cause.Error() + ": " + line
}
