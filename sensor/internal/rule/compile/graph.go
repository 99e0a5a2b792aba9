package compile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sort"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/check"
)

// kind is what a node is.
type kind uint8

const (
	never kind = iota
	always
	allOf
	anyOf
	negation
	leaf
)

// node is a condition in normal form. Equal conditions are one node, so that what rules share is seen by comparing
// pointers.
type node struct {
	id   int // in order of making: the same for the same program
	kind kind
	x    []*node // allOf, anyOf: at least two; negation: one
	test *test
	cost int // rough nanoseconds
	size int // rough bytes of code

	likely float64 // rough chance that it holds
}

// test is a leaf: whether the field stands in the relation op to any of the constants.
type test struct {
	src  *source
	op   check.Op
	vals []check.Const // sorted, each once; none for Exists
}

// graph makes nodes. Conditions are simplified and put in a normal form while they are made.
type graph struct {
	byKey   map[string]*node
	count   int
	no, yes *node
	sources *sources
}

func newGraph(s *sources) *graph {
	g := &graph{byKey: map[string]*node{}, sources: s}
	g.no = g.intern([]byte{byte(never)}, node{kind: never})
	g.yes = g.intern([]byte{byte(always)}, node{kind: always})
	return g
}

func (g *graph) intern(key []byte, n node) *node {
	if have, ok := g.byKey[string(key)]; ok {
		return have
	}
	n.id = g.count
	g.count++
	p := &n
	g.byKey[string(key)] = p
	return p
}

// maxDepth bounds the nesting of a condition: the walk below calls itself.
const maxDepth = 1000

// build makes the node of a rule's condition as it is for events of type t.
func (g *graph) build(c check.Cond, t event.Type, depth int) (*node, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("the condition is nested more than %d deep", maxDepth)
	}
	switch c := c.(type) {
	case check.Bool:
		return g.constant(bool(c)), nil
	case *check.Not:
		x, err := g.build(c.X, t, depth+1)
		if err != nil {
			return nil, err
		}
		return g.not(x), nil
	case check.And:
		x, err := g.list(c, t, depth)
		if err != nil {
			return nil, err
		}
		return g.all(x), nil
	case check.Or:
		x, err := g.list(c, t, depth)
		if err != nil {
			return nil, err
		}
		return g.any(x), nil
	case *check.Test:
		return g.test(c, t)
	}
	return nil, fmt.Errorf("condition of unknown kind %T", c)
}

func (g *graph) list(c []check.Cond, t event.Type, depth int) ([]*node, error) {
	out := make([]*node, 0, len(c))
	for _, x := range c {
		n, err := g.build(x, t, depth+1)
		if err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, nil
}

func (g *graph) constant(b bool) *node {
	if b {
		return g.yes
	}
	return g.no
}

func (g *graph) not(x *node) *node {
	switch x.kind {
	case never:
		return g.yes
	case always:
		return g.no
	case negation:
		return x.x[0]
	}
	return g.intern(binary.AppendUvarint([]byte{byte(negation)}, uint64(x.id)),
		node{kind: negation, x: []*node{x}, cost: x.cost, size: x.size, likely: 1 - x.likely})
}

func (g *graph) all(x []*node) *node { return g.combine(allOf, x) }
func (g *graph) any(x []*node) *node { return g.combine(anyOf, x) }

// combine makes the conjunction or disjunction of x: nested ones flattened, each part once, cheap parts first.
func (g *graph) combine(k kind, x []*node) *node {
	zero, one := g.no, g.yes // what decides, what changes nothing
	if k == anyOf {
		zero, one = g.yes, g.no
	}
	flat := make([]*node, 0, len(x))
	seen := map[*node]bool{}
	var add func(x []*node) bool
	add = func(x []*node) bool {
		for _, n := range x {
			switch {
			case n == zero || seen[g.not(n)]:
				return false
			case n == one || seen[n]:
			case n.kind == k:
				if !add(n.x) {
					return false
				}
			default:
				seen[n] = true
				flat = append(flat, n)
			}
		}
		return true
	}
	if !add(x) {
		return zero
	}
	flat = g.merge(k, flat)
	switch len(flat) {
	case 0:
		return one
	case 1:
		return flat[0]
	}
	order(k, flat)
	return g.group(k, flat)
}

// order puts first what is cheap and likely to decide: for a conjunction what mostly fails.
func order(k kind, x []*node) {
	rank := func(n *node) float64 {
		decides := n.likely
		if k == allOf {
			decides = 1 - n.likely
		}
		return float64(n.cost) / max(decides, 0.02)
	}
	sort.SliceStable(x, func(i, j int) bool {
		if a, b := rank(x[i]), rank(x[j]); a != b {
			return a < b
		}
		return x[i].id < x[j].id
	})
}

// group makes one node of at least two parts; parts whose code together is too big for one function get nodes between.
func (g *graph) group(k kind, x []*node) *node {
	size := 0
	for _, n := range x {
		size += n.inline()
	}
	for size > 2*maxInline && len(x) > 2 {
		var out []*node
		from, sum := 0, 0
		for i, n := range x {
			if sum += n.inline(); sum > maxInline && i+1-from >= 2 || i == len(x)-1 {
				if i == from {
					out = append(out, n)
				} else {
					out = append(out, g.group1(k, x[from:i+1]))
				}
				from, sum = i+1, 0
			}
		}
		if len(out) == len(x) || len(out) < 2 {
			break
		}
		x, size = out, 0
		for _, n := range x {
			size += n.inline()
		}
	}
	return g.group1(k, x)
}

func (g *graph) group1(k kind, x []*node) *node {
	key := []byte{byte(k)}
	cost, size := 0.0, 0
	undecided := 1.0 // the chance that the parts before haven't decided
	for _, n := range x {
		key = binary.AppendUvarint(key, uint64(n.id))
		cost += undecided * float64(n.cost)
		size += n.inline()
		if k == allOf {
			undecided *= n.likely
		} else {
			undecided *= 1 - n.likely
		}
	}
	likely := undecided
	if k == anyOf {
		likely = 1 - undecided
	}
	return g.intern(key, node{kind: k, x: append([]*node(nil), x...), cost: int(cost + 0.5), size: size, likely: likely})
}

// maxInline is the most bytes of code that a condition puts into the function it stands in; a larger one becomes a
// function of its own.
const maxInline = 6 << 10

// callSize is the bytes of a call of a condition's function.
const callSize = 8

func (n *node) outlined() bool { return n.size > maxInline && (n.kind == allOf || n.kind == anyOf) }

func (n *node) inline() int {
	if n.outlined() || n.kind == negation && n.x[0].outlined() {
		return callSize
	}
	return n.size
}

// mergeMax is the most constants of a test that is merged with another one. Larger sets are mostly lists that several
// rules share, and then one answer serves them all.
const mergeMax = 8

// merge joins tests of one field and operator: a = x or a = y becomes a in (x, y); in a conjunction the same is done
// under not.
func (g *graph) merge(k kind, x []*node) []*node {
	type slot struct {
		src *source
		op  check.Op
	}
	at := map[slot]int{}
	out := x[:0]
	for _, n := range x {
		t := n.test
		if k == allOf {
			if n.kind != negation || n.x[0].kind != leaf {
				out = append(out, n)
				continue
			}
			t = n.x[0].test
		}
		if t == nil || !t.mergeable() {
			out = append(out, n)
			continue
		}
		s := slot{t.src, t.op}
		i, ok := at[s]
		if !ok {
			at[s] = len(out)
			out = append(out, n)
			continue
		}
		old := out[i].test
		if k == allOf {
			old = out[i].x[0].test
		}
		m := g.leaf(old.src, old.op, append(append([]check.Const(nil), old.vals...), t.vals...))
		if k == allOf {
			m = g.not(m)
		}
		out[i] = m
		if len(old.vals)+len(t.vals) > mergeMax {
			delete(at, s)
		}
	}
	return out
}

func (t *test) mergeable() bool {
	switch t.op {
	case check.In:
		return len(t.vals) <= mergeMax && !t.src.list
	case check.StartsWith, check.EndsWith, check.Contains, check.IContains, check.Glob, check.IGlob, check.PMatch:
		return len(t.vals) <= mergeMax
	}
	return false
}

func (g *graph) leaf(src *source, op check.Op, vals []check.Const) *node {
	vals = sortConsts(vals)
	key := []byte{byte(leaf), byte(op)}
	key = binary.AppendUvarint(key, uint64(src.id))
	for _, v := range vals {
		key = binary.AppendUvarint(key, v.Int)
		key = binary.AppendUvarint(key, uint64(v.Bits))
		key = binary.AppendUvarint(key, uint64(len(v.Bytes)))
		key = append(key, v.Bytes...)
	}
	t := &test{src, op, vals}
	return g.intern(key, node{kind: leaf, test: t, cost: t.cost(), size: t.size(), likely: t.likely()})
}

// sortConsts returns vals in order, each once.
func sortConsts(vals []check.Const) []check.Const {
	out := append([]check.Const(nil), vals...)
	less := func(a, b check.Const) int {
		if c := bytes.Compare(a.Bytes, b.Bytes); c != 0 {
			return c
		}
		if a.Int != b.Int {
			if a.Int < b.Int {
				return -1
			}
			return 1
		}
		return a.Bits - b.Bits
	}
	sort.SliceStable(out, func(i, j int) bool { return less(out[i], out[j]) < 0 })
	n := 0
	for i := range out {
		if i == 0 || less(out[n-1], out[i]) != 0 {
			out[n] = out[i]
			n++
		}
	}
	return out[:n]
}
