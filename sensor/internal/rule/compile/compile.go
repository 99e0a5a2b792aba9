// Package compile turns checked rules into a WebAssembly module that judges batches of events by itself: the only thing
// it calls is the alert. It is a module like any other (wasmabi/ABI.md); the same rules give the same bytes.
//
// What the compiled code does in place of walking the rules one by one:
//   - For each event type there is one decision program over all rules that can match it; types with the same rules and
//     conditions share one. Tests that the type alone decides (evt.type) are gone.
//   - Equal sub-conditions are one node: asked once for all rules behind it where they all need it, else remembered.
//   - Conditions have no effects, so cheap parts are asked first, whatever the order they are written in. Of the rules
//     that match, the first in load order is reported.
//   - A string is loaded once, with its first 8 bytes in a register; sets of strings branch on the length and compare 8
//     bytes at a time.
package compile

import (
	"fmt"
	"regexp"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/check"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// Options say what the module is called. The zero value takes the defaults.
type Options struct {
	Name        string // default "rules"
	Version     string // default "0.0.0"
	Description string
	WindowSize  uint32 // bytes of the window, a multiple of wasmabi.WindowAlign; default DefaultWindow
}

// DefaultWindow is the default size of the window in bytes: the arena with its defaults takes 45 MiB of it.
const DefaultWindow = 64 << 20

// maxWindow keeps every address below 2 GiB, so that the signed and the unsigned reading of an address agree.
const maxWindow = 1 << 30

var nameRE = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

func (o Options) withDefaults() (Options, error) {
	if o.Name == "" {
		o.Name = "rules"
	}
	if o.Version == "" {
		o.Version = "0.0.0"
	}
	if o.WindowSize == 0 {
		o.WindowSize = DefaultWindow
	}
	if !nameRE.MatchString(o.Name) {
		return o, fmt.Errorf("module name %q: only letters, digits, '-', '_' and '.', at most 64", o.Name)
	}
	if o.WindowSize%wasmabi.WindowAlign != 0 || o.WindowSize > maxWindow || o.WindowSize < 2*wasmabi.WindowAlign {
		return o, fmt.Errorf("window of %d bytes: a multiple of %d from %d to %d is wanted", o.WindowSize, wasmabi.WindowAlign, 2*wasmabi.WindowAlign, maxWindow)
	}
	return o, nil
}

// Compile returns the module of p. An error names the rule and the place.
func Compile(p *check.Program, o Options) ([]byte, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	src := newSources()
	programs, err := decide(p, src)
	if err != nil {
		return nil, err
	}
	// The code holds the window's address, which stands behind the constants that the code makes: a second round puts it
	// higher when the first one's constants came too far. The constants don't depend on it.
	for at := uint32(wasmabi.WindowAlign); ; {
		m := newModule(p, o, src, at)
		m.code(programs)
		if end := dataStart + len(m.data); end > int(at) {
			if end > maxConstants {
				return nil, fmt.Errorf("the rules have %d bytes of constants, more than %d", end, maxConstants)
			}
			at = uint32(end+wasmabi.WindowAlign-1) &^ (wasmabi.WindowAlign - 1)
			continue
		}
		if err := m.describe(programs, src.columns); err != nil {
			return nil, err
		}
		out, err := m.b.Encode()
		if err != nil {
			return nil, fmt.Errorf("encode: %w", err)
		}
		return out, nil
	}
}

// maxConstants bounds the constants of a module, in bytes.
const maxConstants = 64 << 20

// decide makes the decision programs, in order of their first event type.
func decide(p *check.Program, src *sources) ([]*program, error) {
	if len(p.Rules) >= noRule {
		return nil, fmt.Errorf("%d rules are too many", len(p.Rules))
	}
	g := newGraph(src)
	byType := map[event.Type][]item{}
	for i, r := range p.Rules {
		v := newVariants(g, r)
		for _, t := range r.Types {
			n, err := v.node(t)
			if err != nil {
				return nil, fmt.Errorf("rule %q: %w", r.Name, err)
			}
			if n == g.no {
				continue
			}
			it := item{rule: i}
			switch n.kind {
			case always:
			case allOf:
				it.parts = n.x
			default:
				it.parts = []*node{n}
			}
			byType[t] = append(byType[t], it)
		}
	}
	var out []*program
	byKey := map[string]*program{}
	for _, t := range event.Types() {
		items := byType[t]
		if len(items) == 0 {
			continue
		}
		key := ""
		for _, it := range items {
			key += fmt.Sprintf("|%d", it.rule)
			for _, n := range it.parts {
				key += fmt.Sprintf(",%d", n.id)
			}
		}
		pr, ok := byKey[key]
		if !ok {
			pr = &program{items: items}
			byKey[key] = pr
			out = append(out, pr)
		}
		pr.types = append(pr.types, t)
	}
	return out, nil
}
