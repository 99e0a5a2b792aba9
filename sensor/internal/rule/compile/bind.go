package compile

import (
	"fmt"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/field"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/check"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// test makes the leaf of c for events of type t.
func (g *graph) test(c *check.Test, t event.Type) (*node, error) {
	if c.Field.Field == nil {
		return nil, fmt.Errorf("%s: test without a field", c.Pos)
	}
	if c.Op == check.Regex {
		return nil, fmt.Errorf("%s: %s regex: regex isn't supported yet", c.Pos, c.Field.Text)
	}
	if c.Op != check.Exists && c.Op != check.In && c.Op != check.Intersects && c.Op != check.PMatch && len(c.Values) != 1 {
		return nil, fmt.Errorf("%s: %s: %d values where one belongs", c.Pos, c.Field.Text, len(c.Values))
	}
	if c.Field.Events != nil && !c.Field.Events(t) {
		return g.no, nil
	}
	var v field.Value
	if ofType(&c.Field, t, &v) {
		return g.constant(matchValue(&v, c.Field.Type, c.Op, c.Values)), nil
	}
	if len(c.Field.Either) > 0 {
		return g.either(c, t)
	}
	if c.Field.Enum != nil {
		return g.enum(c)
	}
	src, err := g.sources.of(&c.Field)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Pos, err)
	}
	if err := src.takes(c.Op, c.Values); err != nil {
		return nil, fmt.Errorf("%s: %s: %w", c.Pos, c.Field.Text, err)
	}
	if src.list && len(c.Values) == 0 && c.Op != check.Exists {
		return g.no, nil
	}
	switch c.Op {
	case check.Exists:
		if src.always {
			return g.yes, nil
		}
		return g.leaf(src, check.Exists, nil), nil
	case check.Eq:
		return g.in(src, c.Values), nil
	case check.In, check.Intersects:
		if src.list {
			return g.leaf(src, c.Op, c.Values), nil
		}
		return g.in(src, c.Values), nil
	case check.Ne:
		if src.kind == anyAncestor { // some ancestor differs, which isn't the contrary of: some ancestor is equal
			return g.leaf(src, check.Ne, c.Values), nil
		}
		exists := g.yes
		if !src.always {
			exists = g.leaf(src, check.Exists, nil)
		}
		return g.all([]*node{exists, g.not(g.in(src, c.Values))}), nil
	case check.Glob:
		return g.glob(src, c.Values[0].Bytes), nil
	case check.PMatch:
		for _, v := range c.Values {
			if len(pathParts(v.Bytes)) == 0 { // the root: every path begins with it
				return g.leaf(src, check.Exists, nil), nil
			}
		}
	}
	return g.leaf(src, c.Op, c.Values), nil
}

// either makes the leaf of a field that takes its value from several others in turn.
func (g *graph) either(c *check.Test, t event.Type) (*node, error) {
	parts := func(op check.Op, vals []check.Const) (*node, error) {
		var x []*node
		for _, name := range c.Field.Either {
			f := field.Lookup(name)
			if f == nil {
				return nil, fmt.Errorf("%s: %s takes its value from %s, which isn't a field", c.Pos, c.Field.Text, name)
			}
			n, err := g.test(&check.Test{Field: field.Ref{Field: f, Text: name, Index: -1}, Op: op, Values: vals, Pos: c.Pos}, t)
			if err != nil {
				return nil, err
			}
			x = append(x, n)
		}
		return g.any(x), nil
	}
	if c.Op != check.Ne {
		return parts(c.Op, c.Values)
	}
	some, err := parts(check.Exists, nil)
	if err != nil {
		return nil, err
	}
	equal, err := parts(check.Eq, c.Values)
	if err != nil {
		return nil, err
	}
	return g.all([]*node{some, g.not(equal)}), nil
}

// enum makes the leaf of a string that one byte decides: the test becomes a set of bytes.
func (g *graph) enum(c *check.Test) (*node, error) {
	e := c.Field.Enum
	if err := (&source{typ: c.Field.Type, text: true}).takes(c.Op, c.Values); err != nil {
		return nil, fmt.Errorf("%s: %s: %w", c.Pos, c.Field.Text, err)
	}
	names := make([]string, 256)
	for i := range names {
		names[i] = e.Other
	}
	for _, n := range e.Names {
		names[n.Value] = n.Name
	}
	var yes, no []check.Const
	for i, name := range names {
		v := field.Value{}
		if name != "" {
			v = field.Value{Kind: wasmabi.CellBytes, Bytes: []byte(name)}
		}
		if matchValue(&v, c.Field.Type, c.Op, c.Values) {
			yes = append(yes, check.Const{Int: uint64(i)})
		} else {
			no = append(no, check.Const{Int: uint64(i)})
		}
	}
	// The byte is a field of its own, that isn't in the catalogue.
	src, err := g.sources.of(&field.Ref{
		Field: &field.Field{Name: c.Field.Text, Type: field.Uint, Read: field.Read{Base: e.Base, Offset: e.Offset, Width: field.U8}},
		Text:  c.Field.Text + " (byte)", Index: -1,
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Pos, err)
	}
	if len(yes) <= len(no) {
		return g.in(src, yes), nil
	}
	some := g.yes
	if !src.always {
		some = g.leaf(src, check.Exists, nil)
	}
	return g.all([]*node{some, g.not(g.in(src, no))}), nil
}

func (g *graph) in(src *source, vals []check.Const) *node {
	if len(vals) == 0 {
		return g.no
	}
	if src.typ == field.Bool && len(vals) == 1 && src.always {
		// One of the two values is the contrary of the other: let both be one test.
		t := g.leaf(src, check.In, []check.Const{{Int: 1}})
		if vals[0].Int == 0 {
			return g.not(t)
		}
		return t
	}
	return g.leaf(src, check.In, vals)
}

// glob turns a pattern into the simplest test that means the same.
func (g *graph) glob(src *source, pattern []byte) *node {
	toks := parseGlob(pattern)
	lit, op, ok := simpleGlob(toks)
	if !ok {
		// What is plain at the ends of the pattern is compared first: mostly it settles the matter.
		parts := []*node{g.leaf(src, check.Glob, []check.Const{{Bytes: pattern}})}
		head, tail := globEnds(toks)
		if len(head) > 0 {
			parts = append(parts, g.leaf(src, check.StartsWith, []check.Const{{Bytes: head}}))
		}
		if len(tail) > 0 {
			parts = append(parts, g.leaf(src, check.EndsWith, []check.Const{{Bytes: tail}}))
		}
		return g.all(parts)
	}
	if op == check.Exists {
		return g.leaf(src, op, nil)
	}
	return g.leaf(src, op, []check.Const{{Bytes: lit}})
}
