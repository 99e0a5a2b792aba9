// Package adapt decides what is captured: from what the loaded modules need, what state needs and what the operator asked
// for, the system calls that make events, each with its reasons, and those left out, with a warning.
//
// It decides only; package probe carries it out.
package adapt

import (
	"fmt"
	"slices"
	"strings"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/state"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// Module is what is known of a loaded module.
type Module struct {
	Manifest *wasmabi.Manifest
	Rules    []wasmabi.Rule // nil for a module that wasn't compiled from rules
}

// Config is what the operator asked for. The zero value is the default.
type Config struct {
	CustomSet  []string // system calls to capture instead of those that state needs; with ! before it: one never to capture
	Repair     bool     // of those that state needs, only the ones that the captured events themselves are read by
	HeavyIO    bool     // capture calls that read, write, send and receive where a module names them
	Everything bool     // every system call that makes an event, whoever needs it: for a listing of all events
}

// The reasons for which a system call is captured, beside the names of modules.
const (
	ForState  = "state"
	ForConfig = "configuration"
)

// Selection is what is captured.
type Selection struct {
	Syscalls []Syscall // in order of name
	Ignored  []Ignored // what modules name and isn't captured, in order of name
	Unknown  []string  // of Config.CustomSet: names that no system call has
	types    [event.NumTypes]bool
	onSensor [event.NumTypes]bool

	everything bool // as in Config
}

// Syscall is one system call that is captured.
type Syscall struct {
	Name string     `json:"name"`
	Exit event.Type `json:"-"`
	For  []string   `json:"for"`            // names of modules, ForState, ForConfig
	Part bool       `json:"part,omitempty"` // only those that change fds: nobody but state asks
}

// Ignored is a system call that rules name in vain.
type Ignored struct {
	Name  string   `json:"name"`
	Why   string   `json:"why"`   // WhyHeavy or WhyRefused
	Rules []string `json:"rules"` // those that name it, or the modules when they have no rules
}

// Why a system call that a module names isn't captured.
const (
	WhyHeavy   = "heavy input and output"
	WhyRefused = "the configuration"
)

// Wants reports whether events of type t are made for somebody: what doesn't come from a system call asks by this. Those of
// tracepoints, which many threads make many of, are only for those who name them: not for what takes events of every type.
func (s *Selection) Wants(t event.Type) bool { return int(t) < len(s.types) && s.types[t] }

// OnSensorOnly reports whether all who judge events of type t, whose hooks know the sensor's files, can use only those that act
// on the sensor.
func (s *Selection) OnSensorOnly(t event.Type) bool { return int(t) < len(s.types) && s.onSensor[t] }

// Names returns the names of the system calls, in order.
func (s *Selection) Names() []string {
	out := make([]string, len(s.Syscalls))
	for i, c := range s.Syscalls {
		out[i] = c.Name
	}
	return out
}

// Parts returns the names of those of which only what changes fds is captured.
func (s *Selection) Parts() []string {
	var out []string
	for _, c := range s.Syscalls {
		if c.Part {
			out = append(out, c.Name)
		}
	}
	return out
}

// Select decides which system calls are captured.
func Select(modules []Module, cfg Config) *Selection {
	s := &Selection{everything: cfg.Everything}
	plus, minus := s.custom(cfg.CustomSet)
	wants := make([]map[string]bool, len(modules)) // generic calls by name
	judged := make([][event.NumTypes]bool, len(modules))
	for i, m := range modules {
		for _, c := range m.Manifest.EventCodes {
			if int(c) < event.NumTypes {
				judged[i][c], s.types[c] = true, true
			}
		}
		if n := m.Manifest.Needs; n != nil {
			wants[i] = map[string]bool{}
			for _, name := range n.Syscalls {
				wants[i][name] = true
			}
		}
	}
	asks := func(i int, c *event.Syscall) bool {
		if !judged[i][c.Exit] {
			return false
		}
		return c.Exit != event.GenericX || wants[i] == nil || wants[i]["*"] || wants[i][c.Name]
	}
	calls := event.Syscalls()
	asked := map[string]bool{}
	for k := range calls {
		for i := range modules {
			if asks(i, &calls[k]) {
				asked[calls[k].Name] = true
			}
		}
	}
	base := func(c *event.Syscall) bool {
		switch {
		case cfg.Repair:
			return repairs(c, asked, plus)
		case len(plus) > 0:
			return false
		}
		return c.Exit != event.GenericX && state.Needs(c.Exit)
	}
	for k := range calls {
		c := &calls[k]
		out := Syscall{Name: c.Name, Exit: c.Exit}
		for i := range modules {
			if asks(i, c) {
				out.For = append(out.For, modules[i].Manifest.Name)
			}
		}
		if base(c) {
			out.For = append(out.For, ForState)
		}
		if plus[c.Name] || cfg.Everything {
			out.For = append(out.For, ForConfig)
		}
		part := state.NeedsPart(c.Exit) && !cfg.Repair && len(plus) == 0 && !minus[c.Name]
		if len(out.For) == 0 && !part {
			continue
		}
		why := ""
		switch {
		case minus[c.Name] && !always(c.Name):
			why = WhyRefused
		case c.Exit.HeavyIO() && !cfg.HeavyIO:
			why = WhyHeavy
		}
		if part {
			if why != "" || len(out.For) == 0 {
				s.Syscalls = append(s.Syscalls, Syscall{Name: c.Name, Exit: c.Exit, For: []string{ForState}, Part: true})
			} else {
				out.For = append(out.For, ForState)
				s.Syscalls = append(s.Syscalls, out)
			}
		} else if why == "" {
			s.Syscalls = append(s.Syscalls, out)
		}
		if why == "" {
			continue
		}
		if rules := namedBy(modules, c.Exit, func(i int) bool { return asks(i, c) }); len(rules) > 0 {
			s.Ignored = append(s.Ignored, Ignored{Name: c.Name, Why: why, Rules: rules})
		}
	}
	slices.SortFunc(s.Syscalls, func(a, b Syscall) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(s.Ignored, func(a, b Ignored) int { return strings.Compare(a.Name, b.Name) })
	for _, c := range s.Syscalls {
		s.types[c.Exit] = true
	}
	for t := range event.Type(event.NumTypes) {
		if s.types[t] && t.Info().Origin == event.OriginTracepoint && t != event.ProcexitV1E {
			s.onSensor[t] = onSensor(modules, t)
			s.types[t] = len(namedBy(modules, t, func(i int) bool { return judged[i][t] })) > 0
		}
	}
	return s
}

// onSensor reports whether every module that judges events of type t needs them to act on the sensor.
func onSensor(modules []Module, t event.Type) bool {
	for _, m := range modules {
		if !slices.Contains(m.Manifest.EventCodes, uint16(t)) {
			continue
		}
		if m.Rules != nil && len(namedBy([]Module{m}, t, func(int) bool { return true })) == 0 {
			continue // it takes what comes
		}
		n := m.Manifest.Needs
		if n == nil {
			return false
		}
		found := false
		for i := range n.Conditions {
			if c := &n.Conditions[i]; slices.Contains(c.Events, uint16(t)) {
				if found = true; !c.Sensor {
					return false
				}
			}
		}
		if !found {
			return false
		}
	}
	return true
}

// custom parts the custom set into what is to be captured and what is not.
func (s *Selection) custom(set []string) (plus, minus map[string]bool) {
	plus, minus = map[string]bool{}, map[string]bool{}
	for _, name := range set {
		to := plus
		name, not := strings.CutPrefix(strings.TrimSpace(name), "!")
		if not {
			to = minus
		}
		known := false
		for _, c := range event.Syscalls() {
			// The name of an event stands for every call that makes it.
			if c.Name == name || c.Exit != event.GenericX && c.Exit.Info().Name == name {
				to[c.Name], known = true, true
			}
		}
		if !known && name != "procexit" {
			s.Unknown = append(s.Unknown, name)
		}
	}
	return plus, minus
}

// always reports whether a call can't be left out: processes are followed through it by other hooks than the call's.
func always(name string) bool {
	switch name {
	case "clone", "clone3", "fork", "vfork", "execve", "execveat":
		return true
	}
	return false
}

// repairs reports whether c belongs to the least that the captured events are read by: who the processes are, and what of
// files and sockets the events that are asked for refer to (the sets are those of Falco's base_syscalls.repair).
func repairs(c *event.Syscall, asked, plus map[string]bool) bool {
	has := func(fn func(event.Type) bool) bool {
		for _, o := range event.Syscalls() {
			if (asked[o.Name] || plus[o.Name]) && fn(o.Exit) {
				return true
			}
		}
		return false
	}
	category := func(cs ...event.Category) func(event.Type) bool {
		return func(t event.Type) bool { return slices.Contains(cs, t.Info().Category) }
	}
	switch c.Name {
	case "clone", "clone3", "fork", "vfork", "execve", "execveat", "fchdir", "chdir", "chroot", "capset", "setgid", "setgid32",
		"setpgid", "setresgid", "setresgid32", "setresuid", "setresuid32", "setsid", "setuid", "setuid32", "prctl":
		return true
	case "socket", "getsockopt":
		return has(category(event.CatNet))
	case "bind":
		return has(func(t event.Type) bool {
			return t == event.SocketAcceptV5X || t == event.SocketAccept4V6X || t == event.SocketListenX
		})
	case "close":
		return has(category(event.CatNet, event.CatFile, event.CatIoRead, event.CatIoWrite, event.CatIoOther))
	}
	return false
}

// namedBy returns the names of the rules that judge events of type t and name few enough types to mean it; of modules without
// rules the modules' names. asks says which modules do judge them.
func namedBy(modules []Module, t event.Type, asks func(module int) bool) []string {
	var out []string
	for i, m := range modules {
		if !asks(i) {
			continue
		}
		if m.Rules == nil {
			out = append(out, m.Manifest.Name)
			continue
		}
		for _, r := range m.Rules {
			if len(r.EventCodes) > 0 && len(r.EventCodes) <= manyTypes && slices.Contains(r.EventCodes, uint16(t)) {
				out = append(out, r.Name)
			}
		}
	}
	return out
}

// manyTypes is how many types a rule must have to be thought to take what comes.
const manyTypes = 100

// Warnings says for which rules what isn't captured and what to do about it, a line for each set of rules.
func (s *Selection) Warnings() []string {
	type key struct{ why, rules string }
	calls := map[key][]string{}
	var order []key
	for _, g := range s.Ignored {
		k := key{g.Why, strings.Join(g.Rules, ", ")}
		if calls[k] == nil {
			order = append(order, k)
		}
		calls[k] = append(calls[k], g.Name)
	}
	var out []string
	for _, k := range order {
		what := "base_syscalls.all or -A captures them"
		if k.why == WhyRefused {
			what = "base_syscalls.custom_set refuses them"
		}
		out = append(out, fmt.Sprintf("events of %s aren't captured (%s): the rules %s don't see them; %s", strings.Join(calls[k], ", "), k.why, k.rules, what))
	}
	return out
}
