package need

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/shikra-sensor/shikra/wasmabi"
)

// alternative is a conjunction that is necessary for a rule to match in one way.
type alternative struct {
	result  uint8    // outcomes that will do
	open    uint8    // one of these it was opened for; 0: whatever
	paths   []path   // one of these; nil: whatever. Not nil and empty: no absolute path will do
	ports   []uint16 // one of these; nil: whatever
	sockets bool     // what it acts on is a socket
	sensor  bool     // it acts on the sensor
}

// The outcomes of a call.
const (
	success uint8 = 1 << iota
	failure
	either = success | failure
)

// What a file is opened for.
const (
	openRead uint8 = 1 << iota
	openWrite
	openCreate
)

// path is a text that a path equals or, unless exact, begins with.
type path struct {
	text  string
	exact bool
}

// alternatives are the ways in which a rule can match: none means never.
type alternatives []alternative

// maxAlternatives bounds them; what would have more is made coarser.
const maxAlternatives = 8

// always is what nothing is known of.
func always() alternatives { return alternatives{{result: either}} }

// any reports whether a lets everything pass.
func (a alternatives) any() bool {
	return slices.ContainsFunc(a, func(x alternative) bool { return x.free() })
}

func (a alternatives) allOnSockets() bool {
	return !slices.ContainsFunc(a, func(x alternative) bool { return !x.sockets })
}

// free reports whether a says nothing of what a host can judge.
func (a *alternative) free() bool {
	return a.result == either && a.open == 0 && a.paths == nil && a.ports == nil && !a.sensor
}

// and joins each way of a with each of b.
func (a alternatives) and(b alternatives) alternatives {
	if len(a)*len(b) > maxAlternatives {
		if len(a) > len(b) {
			a = alternatives{a.union()}
		} else {
			b = alternatives{b.union()}
		}
	}
	if len(a)*len(b) > maxAlternatives { // one of them still is
		a, b = alternatives{a.union()}, alternatives{b.union()}
	}
	var out alternatives
	for i := range a {
		for j := range b {
			if x, ok := a[i].and(&b[j]); ok {
				out = append(out, x)
			}
		}
	}
	return out.merge()
}

// and joins two conjunctions; false when they can't hold together.
func (a *alternative) and(b *alternative) (alternative, bool) {
	out := alternative{result: a.result & b.result, open: a.open, paths: a.paths, ports: a.ports, sockets: a.sockets || b.sockets, sensor: a.sensor || b.sensor}
	// Of two lists one of which must hold each the shorter is kept: both are necessary.
	if out.open == 0 || b.open != 0 && b.open&^a.open == 0 {
		out.open = b.open
	}
	if out.paths == nil || b.paths != nil && len(b.paths) < len(a.paths) {
		out.paths = b.paths
	}
	if out.ports == nil || b.ports != nil && len(b.ports) < len(a.ports) {
		out.ports = b.ports
	}
	if out.open == 0 {
		out.open = a.open
	}
	return out, out.result != 0
}

// or adds the ways of b to those of a.
func (a alternatives) or(b alternatives) alternatives {
	return append(slices.Clip(a), b...).merge()
}

// merge joins alternatives that differ in one part only, and makes one of them all when too many are left.
func (a alternatives) merge() alternatives {
	var out alternatives
	for _, x := range a {
		joined := false
		for i := range out {
			if y, ok := out[i].join(&x); ok {
				out[i], joined = y, true
				break
			}
		}
		if !joined {
			out = append(out, x)
		}
	}
	if len(out) > maxAlternatives {
		return alternatives{out.union()}
	}
	return out
}

// join returns what holds when a or b does, when the two differ in at most one part or one implies the other.
func (a *alternative) join(b *alternative) (alternative, bool) {
	result, open := a.result == b.result, a.open == b.open
	paths, ports := samePaths(a.paths, b.paths), a.ports == nil == (b.ports == nil) && slices.Equal(a.ports, b.ports)
	n := 0
	for _, same := range [...]bool{result, open, paths, ports, a.sockets == b.sockets, a.sensor == b.sensor} {
		if !same {
			n++
		}
	}
	if n > 1 {
		return alternative{}, false
	}
	return a.union(b), true
}

func samePaths(a, b []path) bool { return (a == nil) == (b == nil) && slices.Equal(a, b) }

// union returns what holds whenever a or b does.
func (a *alternative) union(b *alternative) alternative {
	out := alternative{result: a.result | b.result, sockets: a.sockets && b.sockets, sensor: a.sensor && b.sensor}
	if a.open != 0 && b.open != 0 {
		out.open = a.open | b.open
	}
	if a.paths != nil && b.paths != nil {
		out.paths = tidy(append(slices.Clone(a.paths), b.paths...))
	}
	if a.ports != nil && b.ports != nil {
		out.ports = append(slices.Clone(a.ports), b.ports...)
		slices.Sort(out.ports)
		out.ports = slices.Compact(out.ports)
	}
	return out
}

func (a alternatives) union() alternative {
	if len(a) == 0 {
		return alternative{}
	}
	out := a[0]
	for i := range a[1:] {
		out = out.union(&a[1+i])
	}
	return out
}

// tidy sorts paths and leaves out those that a prefix among them covers. The result isn't nil.
func tidy(list []path) []path {
	slices.SortFunc(list, func(a, b path) int {
		if c := strings.Compare(a.text, b.text); c != 0 {
			return c
		}
		if a.exact == b.exact {
			return 0
		} else if b.exact {
			return -1
		}
		return 1
	})
	out := list[:0]
	prefix := -1 // in out: the last prefix, which is the shortest of those that can cover what follows
	for _, p := range list {
		if prefix >= 0 && strings.HasPrefix(p.text, out[prefix].text) {
			continue
		}
		if len(out) > 0 && out[len(out)-1] == p {
			continue
		}
		out = append(out, p)
		if !p.exact {
			prefix = len(out) - 1
		}
	}
	if out == nil {
		out = []path{}
	}
	return out
}

// condition is a as the manifest has it, without its events.
func (a *alternative) condition() wasmabi.Condition {
	c := wasmabi.Condition{Ports: a.ports, Sensor: a.sensor}
	switch a.result {
	case success:
		c.Result = wasmabi.ResultSuccess
	case failure:
		c.Result = wasmabi.ResultFailure
	}
	for _, o := range [...]struct {
		bit  uint8
		word string
	}{{openRead, wasmabi.OpenRead}, {openWrite, wasmabi.OpenWrite}, {openCreate, wasmabi.OpenCreate}} {
		if a.open&o.bit != 0 {
			c.Open = append(c.Open, o.word)
		}
	}
	if a.paths != nil {
		c.Paths = &wasmabi.Paths{}
		for _, p := range a.paths {
			if p.exact {
				c.Paths.Equal = append(c.Paths.Equal, p.text)
			} else {
				c.Paths.Prefix = append(c.Paths.Prefix, p.text)
			}
		}
	}
	return c
}

// describe returns a text that is the same for equal conditions.
func describe(c *wasmabi.Condition) string {
	b, err := json.Marshal(c)
	if err != nil { // strings and numbers only
		panic(err)
	}
	return string(b)
}
