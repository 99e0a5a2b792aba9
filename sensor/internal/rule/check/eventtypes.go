package check

import (
	"math/bits"
	"strconv"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/ast"
)

// typeSet is a set of event types.
type typeSet [(event.NumTypes + 63) / 64]uint64

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

func (s typeSet) len() int {
	n := 0
	for _, w := range s {
		n += bits.OnesCount64(w)
	}
	return n
}

// list returns the types in ascending order.
func (s typeSet) list() []event.Type {
	out := make([]event.Type, 0, s.len())
	for i, w := range s {
		for ; w != 0; w &= w - 1 {
			out = append(out, event.Type(64*i+bits.TrailingZeros64(w)))
		}
	}
	return out
}

// allTypes returns every type that shikra makes.
func allTypes() (s typeSet) {
	for _, t := range event.Types() {
		if t.Current() {
			s.add(t)
		}
	}
	return s
}

// typeNames knows the values of evt.type: the names of events, and those of system calls that share the generic event.
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
		if t.Current() {
			s.add(t)
		}
		n.byName[name] = s // a name that only old captures have is known, and matches nothing
	}
	for _, c := range event.Syscalls() {
		if c.Exit.Info().Name == c.Name || !c.Exit.Current() {
			continue
		}
		s := n.byName[c.Name]
		s.add(c.Exit)
		n.byName[c.Name] = s
		n.shared.add(c.Exit)
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
