package compile

import (
	"fmt"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/field"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/check"
)

// variants makes the nodes of one rule's condition for its event types. For most types the outcome of what depends on
// the type is the same, and so is the node: it is made once for each outcome.
type variants struct {
	g      *graph
	rule   *check.Rule
	typed  []*check.Test // the tests that depend on the type
	byMask map[string]*node
	mask   []byte
}

func newVariants(g *graph, r *check.Rule) *variants {
	v := &variants{g: g, rule: r, byMask: map[string]*node{}}
	v.collect(r.Cond, 0)
	return v
}

func (v *variants) collect(c check.Cond, depth int) {
	if depth > maxDepth { // build reports it
		return
	}
	switch c := c.(type) {
	case check.And:
		for _, x := range c {
			v.collect(x, depth+1)
		}
	case check.Or:
		for _, x := range c {
			v.collect(x, depth+1)
		}
	case *check.Not:
		v.collect(c.X, depth+1)
	case *check.Test:
		if c.Field.Field != nil && (c.Field.Events != nil || static[c.Field.Name]) {
			v.typed = append(v.typed, c)
		}
	}
}

// node returns the condition for events of type t.
func (v *variants) node(t event.Type) (*node, error) {
	v.mask = v.mask[:0]
	for _, c := range v.typed {
		b := byte('?')
		var x field.Value
		switch {
		case c.Field.Events != nil && !c.Field.Events(t):
			b = '0'
		case ofType(&c.Field, t, &x):
			b = '0'
			if matchValue(&x, c.Field.Type, c.Op, c.Values) {
				b = '1'
			}
		}
		v.mask = append(v.mask, b)
	}
	if n, ok := v.byMask[string(v.mask)]; ok {
		return n, nil
	}
	if v.rule.Cond == nil {
		return nil, fmt.Errorf("%s: no condition", v.rule.Pos)
	}
	n, err := v.g.build(v.rule.Cond, t, 0)
	if err != nil {
		return nil, err
	}
	v.byMask[string(v.mask)] = n
	return n, nil
}
