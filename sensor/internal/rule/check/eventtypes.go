package check

import (
	"math/bits"
	"slices"
	"strconv"

	"github.com/shikra-sensor/shikra/sensor/internal/container"
	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/ast"
)

// typeSet is a set of event types, and of system calls whose events are generic: each of those counts as a type of its own,
// and the generic event itself is in the set when one of them is.
type typeSet [(event.NumTypes + maxCalls + 63) / 64]uint64

// maxCalls is the most system calls of the event table.
const maxCalls = 1024

// call is the place of the system call number i of event.Syscalls, whose event is generic.
func call(i int) event.Type { return event.Type(event.NumTypes + i) }

func (s *typeSet) add(t event.Type) { s[t/64] |= 1 << (t % 64) }

func (s typeSet) and(t typeSet) typeSet {
	for i := range s {
		s[i] &= t[i]
	}
	return s
}

func (s typeSet) or(t typeSet) typeSet {
	for i := range s {
		s[i] |= t[i]
	}
	return s
}

// without returns s less t.
func (s typeSet) without(t typeSet) typeSet {
	for i := range s {
		s[i] &^= t[i]
	}
	return s
}

// empty reports whether nothing is in s.
func (s typeSet) empty() bool { return s == typeSet{} }

// list returns the types in ascending order, and the names of the system calls that are meant by the generic one.
func (s typeSet) list() (types []event.Type, calls []string) {
	for i, w := range s {
		for ; w != 0; w &= w - 1 {
			if t := 64*i + bits.TrailingZeros64(w); t < event.NumTypes {
				types = append(types, event.Type(t))
			} else {
				calls = append(calls, event.Syscalls()[t-event.NumTypes].Name)
			}
		}
	}
	if len(calls) > 0 {
		i, _ := slices.BinarySearch(types, event.GenericX)
		types = slices.Insert(types, i, event.GenericX)
		slices.Sort(calls)
	}
	return types, calls
}

// allTypes returns every type that shikra makes.
func allTypes() (s typeSet) {
	for _, t := range event.Types() {
		if t.Current() && t != event.GenericX {
			s.add(t)
		}
	}
	return s.or(genericCalls())
}

// genericCalls returns the system calls whose events are generic.
func genericCalls() (s typeSet) {
	for i, c := range event.Syscalls() {
		if c.Exit == event.GenericX {
			s.add(call(i))
		}
	}
	return s
}

// typeNames knows the values of evt.type: the names of events, and those of system calls whose event has another name.
type typeNames struct {
	all    typeSet
	byName map[string]typeSet
	shared typeSet // types that stand for several names
}

func newTypeNames() typeNames {
	n := typeNames{all: allTypes(), byName: map[string]typeSet{}}
	for _, t := range event.Types() {
		name := t.Info().Name
		s := n.byName[name]
		switch {
		case t == event.GenericX:
			s = s.or(genericCalls())
		case t.Current():
			s.add(t)
		}
		n.byName[name] = s // a name that only old captures have is known, and matches nothing
	}
	for i, c := range event.Syscalls() {
		if c.Exit.Info().Name == c.Name || !c.Exit.Current() {
			continue
		}
		s := n.byName[c.Name]
		if c.Exit == event.GenericX {
			s.add(call(i))
			n.byName[c.Name] = s
			continue
		}
		s.add(c.Exit)
		n.byName[c.Name] = s
		n.shared.add(c.Exit)
	}
	for _, name := range [...]string{container.EventAdded, container.EventRemoved} { // the async events there are
		s := n.byName[name]
		s.add(event.AsynceventE)
		n.byName[name] = s
		n.shared.add(event.AsynceventE)
	}
	return n
}

func (n *typeNames) named(name string) (typeSet, bool) {
	s, ok := n.byName[name]
	return s, ok
}

func (n *typeNames) names() []string {
	out := make([]string, 0, len(n.byName))
	for name := range n.byName {
		out = append(out, name)
	}
	return out
}

// of returns the types of events for which x can hold, or can fail to when negated is set: and is intersection, or is
// union, negation is pushed to the leaves, and a test on anything but evt.type is neutral, negated or not. With num set a
// test on evt.num that never holds (numbers begin with 1) counts as well: it is how rules say never.
//
// The type of an event that several system calls share is left in by a negation: the others' events have it too.
func (n *typeNames) of(x ast.Expr, negated, num bool) typeSet {
	join := func(xs []ast.Expr, and bool) typeSet {
		s := n.of(xs[0], negated, num)
		for _, y := range xs[1:] {
			if and {
				s = s.and(n.of(y, negated, num))
			} else {
				s = s.or(n.of(y, negated, num))
			}
		}
		return s
	}
	switch x := x.(type) {
	case *ast.And:
		return join(x.X, !negated)
	case *ast.Or:
		return join(x.X, negated)
	case *ast.Not:
		return n.of(x.X, !negated, num)
	case *ast.Test:
		return n.leaf(x, negated, num)
	}
	return n.all
}

func (n *typeNames) leaf(x *ast.Test, negated, num bool) typeSet {
	if num && x.Field == "evt.num" {
		switch holds, known := numbered(x); {
		case known && holds != negated:
			return n.all
		case known:
			return typeSet{}
		}
	}
	if x.Field != "evt.type" && x.Field != "syscall.type" {
		return n.all
	}
	switch x.Op {
	case "exists":
		if negated && x.Field == "evt.type" {
			return typeSet{}
		}
	case "=", "!=", "in", "intersects":
		var s typeSet
		for _, v := range x.Values {
			s = s.or(n.byName[v.Text])
		}
		if (x.Op == "!=") != negated {
			s = n.all.without(s.without(n.shared))
		}
		return s.and(n.all)
	}
	return n.all
}

// numbered decides a test on evt.num by the fact that numbers begin with 1.
func numbered(x *ast.Test) (holds, known bool) {
	if x.Op == "in" && len(x.Values) == 0 {
		return false, true
	}
	for _, v := range x.Values {
		k, err := strconv.ParseUint(v.Text, 10, 64)
		if err != nil {
			return false, false
		}
		switch x.Op {
		case "=", "in", "<=":
			holds, known = false, k == 0
		case "<":
			holds, known = false, k <= 1
		case "!=", ">":
			holds, known = true, k == 0
		case ">=":
			holds, known = true, k <= 1
		default:
			return false, false
		}
		if !known {
			return false, false
		}
	}
	return holds, known
}
