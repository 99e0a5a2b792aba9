package check

import (
	"slices"
	"strings"

	"github.com/shikra-sensor/shikra/sensor/internal/rule/ast"
)

// expandList returns the constants of l with the lists in it expanded. path are the lists that led here.
//
// A list whose own name is among its items means the name itself there: lists such as `sshd: [sshd, ssh]` are common.
func (c *checker) expandList(l *list, path []*list) []ast.Value {
	switch l.state {
	case 2:
		return l.expanded
	case 1:
		names := []string{}
		for _, p := range path[slices.Index(path, l):] {
			names = append(names, p.name)
		}
		c.fail(l.pos, "cycle", "", "the list %s holds itself: %s", l.name, strings.Join(append(names, l.name), " → "))
		return nil
	}
	l.state = 1
	path = append(path, l)
	for _, v := range l.items {
		inner := c.lists[v.Key()]
		if inner == nil || inner == l {
			l.expanded = append(l.expanded, v)
		} else {
			inner.used = true
			l.expanded = append(l.expanded, c.expandList(inner, path)...)
		}
		if len(l.expanded) > maxValues {
			c.fail(l.pos, "too-large", "", "the list %s has more than %d items when the lists in it are expanded", l.name, maxValues)
			l.expanded = nil
			break
		}
	}
	l.state = 2
	return l.expanded
}

// expandMacro sets m.expanded and m.size. path are the macros that led here.
func (c *checker) expandMacro(m *macro, path []*macro) {
	switch m.state {
	case 2:
		return
	case 1:
		names := []string{}
		for _, p := range path[slices.Index(path, m):] {
			names = append(names, p.name)
		}
		c.fail(m.pos, "cycle", "", "the macro %s uses itself: %s", m.name, strings.Join(append(names, m.name), " → "))
		return
	}
	m.state = 1
	if x := c.condition(m.source, m.cond); x != nil {
		e := expander{c: c, user: m, path: append(path, m)}
		y := e.expand(x)
		if !e.bad {
			m.expanded, m.size = y, e.size
		}
	}
	m.state = 2
}

// expandRule returns the condition of r, exceptions taken out, with macros and lists expanded, and how much that is.
func (c *checker) expandRule(r *rule) (ast.Expr, int, bool) {
	x := c.condition(r.CondSource, r.Condition)
	if x == nil {
		return nil, 0, false
	}
	parts := []ast.Expr{x}
	good := true
	for _, e := range r.Exceptions {
		y, ok := c.exception(e)
		good = good && ok
		if y != nil {
			parts = append(parts, &ast.Not{X: y, Pos: e.Pos})
		}
	}
	if !good {
		return nil, 0, false
	}
	e := expander{c: c}
	y := e.expand(group(parts, true))
	return y, e.size, !e.bad
}

// expander expands one condition: that of the macro user, or of a rule when user is nil.
type expander struct {
	c    *checker
	user *macro
	path []*macro
	size int
	bad  bool
}

func (e *expander) fail(pos ast.Pos, code, hint, format string, args ...any) {
	e.c.fail(pos, code, hint, format, args...)
	e.bad = true
}

// expand returns x without macros and lists. What macros stand for is shared between those who use it.
func (e *expander) expand(x ast.Expr) ast.Expr {
	if e.size++; e.size > maxNodes {
		if !e.bad {
			e.fail(x.Place(), "too-large", "", "the condition has more than %d tests and constants when macros and lists are expanded", maxNodes)
		}
		return x
	}
	switch x := x.(type) {
	case *ast.And:
		return &ast.And{X: e.all(x.X), Pos: x.Pos}
	case *ast.Or:
		return &ast.Or{X: e.all(x.X), Pos: x.Pos}
	case *ast.Not:
		return &ast.Not{X: e.expand(x.X), Pos: x.Pos}
	case *ast.MacroRef:
		return e.macro(x)
	case *ast.Test:
		return e.test(x)
	}
	return x
}

func (e *expander) all(xs []ast.Expr) []ast.Expr {
	out := make([]ast.Expr, len(xs))
	for i, x := range xs {
		out[i] = e.expand(x)
	}
	return out
}

func (e *expander) macro(x *ast.MacroRef) ast.Expr {
	m := e.c.macros[x.Name]
	switch {
	case m == nil && e.c.lists[x.Name] != nil:
		e.fail(x.Pos, "unknown-macro", "write proc.name in ("+x.Name+")", "%s is a list, not a macro", x.Name)
		return x
	case m == nil:
		names := make([]string, 0, len(e.c.macros))
		for _, m := range e.c.macList {
			names = append(names, m.name)
		}
		hint := "define it in this file or in one before it; a field has a dot in its name"
		if near := ast.Nearest(x.Name, names); near != "" {
			hint = "did you mean " + near + "?"
		}
		e.fail(x.Pos, "unknown-macro", hint, "unknown macro %s", x.Name)
		return x
	case e.user != nil && m.first >= e.user.last:
		if m == e.user {
			e.fail(x.Pos, "cycle", "", "the macro %s uses itself: %s → %s", m.name, m.name, m.name)
		} else {
			e.fail(x.Pos, "macro-order", "move it before the macro "+e.user.name, "the macro %s is defined later, at %s", m.name, m.pos)
		}
		return x
	}
	m.used = true
	e.c.expandMacro(m, e.path)
	if m.expanded == nil {
		e.bad = true // said where it is defined
		return x
	}
	if e.size += m.size; e.size > maxNodes && !e.bad {
		e.fail(x.Pos, "too-large", "", "the condition has more than %d tests and constants when macros and lists are expanded", maxNodes)
	}
	return m.expanded
}

// test expands the lists on the right side, and oneof, anyof and allof.
func (e *expander) test(x *ast.Test) ast.Expr {
	t := *x
	takesList := x.Mod != "" || x.Op == "in" || x.Op == "intersects" || x.Op == "pmatch"
	t.Values = nil
	for _, v := range x.Values {
		l := e.c.lists[v.Key()]
		if l == nil {
			if takesList && !x.Paren {
				e.c.warn(v.Pos, "unknown-list", "write ("+v.Text+") for the constant", "%s is no list: it is taken as the constant", v.Text)
			}
			t.Values = append(t.Values, v)
			continue
		}
		l.used = true
		items := e.c.expandList(l, nil)
		if !takesList && len(items) != 1 {
			e.fail(v.Pos, "list", "use in ("+l.name+"), or put quotes around the name if the text is meant", "%s takes one value, and the list %s has %d", x.Op, l.name, len(items))
			return x
		}
		t.Values = append(t.Values, items...)
	}
	if len(t.Values) > maxValues {
		e.fail(x.Pos, "too-large", "", "the test has more than %d constants when lists are expanded", maxValues)
		return x
	}
	if takesList {
		t.Paren = true
	}
	e.size += len(t.Values)
	if t.Mod != "" {
		return e.modified(&t)
	}
	return &t
}

// maxOneOf bounds the list of oneof, whose expansion grows with its square.
const maxOneOf = 64

// modified returns what anyof, allof and oneof stand for.
func (e *expander) modified(t *ast.Test) ast.Expr {
	mod := t.Mod
	t.Mod = ""
	if len(t.Values) == 0 || mod == "anyof" && t.Op == "=" {
		t.Op, t.Paren = "in", true // of an empty list nothing is true, whatever the operator
		return t
	}
	one := func(v ast.Value) ast.Expr {
		x := *t
		x.Values, x.Paren = []ast.Value{v}, false
		return &x
	}
	var parts []ast.Expr
	for _, v := range t.Values {
		parts = append(parts, one(v))
	}
	e.size += len(parts)
	switch mod {
	case "anyof":
		return group(parts, false)
	case "allof":
		return group(parts, true)
	}
	if len(parts) > maxOneOf {
		e.fail(t.Pos, "too-large", "", "oneof takes at most %d values, not %d", maxOneOf, len(parts))
		return t
	}
	if e.size += len(parts) * len(parts); len(parts) == 1 {
		return parts[0]
	}
	var ways []ast.Expr
	for i := range parts {
		way := []ast.Expr{parts[i]}
		for j := range parts {
			if j != i {
				way = append(way, &ast.Not{X: parts[j], Pos: t.Pos})
			}
		}
		ways = append(ways, group(way, true))
	}
	return group(ways, false)
}
