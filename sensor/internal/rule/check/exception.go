package check

import (
	"strings"

	"github.com/shikra-sensor/shikra/sensor/internal/rule/ast"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/parse"
)

// exceptionShape judges the operators of an exception.
func (c *checker) exceptionShape(e *ast.Exception) {
	for _, s := range e.Comps {
		op, mod, _ := strings.Cut(strings.TrimSpace(s.Text), " ")
		op, mod = operator(op), strings.TrimSpace(mod)
		known := false
		for _, o := range parse.Operators() {
			known = known || o == op
		}
		switch {
		case !known || mod != "" && mod != "oneof" && mod != "anyof" && mod != "allof":
			c.fail(s.Pos(), "exception", "the operators are "+strings.Join(parse.Operators(), " "), "%q is no operator", s.Text)
		case op == "exists":
			c.fail(s.Pos(), "exception", "", "exists compares with no value, and an exception has values")
		case e.Single && op != "in" && op != "pmatch" && op != "intersects" && mod == "":
			c.fail(s.Pos(), "exception", "use in, pmatch or intersects, or write fields and comps with brackets", "the values of one field are a list, which %s doesn't take", op)
		}
	}
}

func operator(op string) string {
	if op == "==" {
		return "="
	}
	return op
}

// exception makes the condition that the exception e takes out of its rule; nil when it has no values. Places are those
// of the fields, operators and values.
func (c *checker) exception(e *ast.Exception) (ast.Expr, bool) {
	comp := func(i int) (op, mod string, pos ast.Pos) {
		if i >= len(e.Comps) {
			if e.Single {
				return "in", "", e.Pos
			}
			return "=", "", e.Pos
		}
		op, mod, _ = strings.Cut(strings.TrimSpace(e.Comps[i].Text), " ")
		return operator(op), strings.TrimSpace(mod), e.Comps[i].Pos()
	}
	test := func(i int, vals []ast.Value, paren bool) *ast.Test {
		op, mod, pos := comp(i)
		return &ast.Test{Field: strings.TrimSpace(e.Fields[i].Text), Op: op, Mod: mod, Values: vals, Paren: paren, Pos: e.Fields[i].Pos(), OpPos: pos}
	}
	if len(e.Values) == 0 {
		return nil, true
	}
	if e.Single {
		var vals []ast.Value
		for _, v := range e.Values {
			if v.List != nil {
				c.fail(v.Pos, "exception", "write it without brackets", "the exception %s has one field: its values are texts", e.Name)
				return nil, false
			}
			vs, ok := c.exceptionText(v, true)
			if !ok {
				return nil, false
			}
			vals = append(vals, vs...)
		}
		return test(0, vals, true), true
	}
	var tuples []ast.Expr
	for _, v := range e.Values {
		if len(v.List) != len(e.Fields) {
			c.fail(v.Pos, "exception", "give one value for each field, in brackets", "the exception %s has %d fields, but this has %d values", e.Name, len(e.Fields), len(v.List))
			return nil, false
		}
		var parts []ast.Expr
		for i, w := range v.List {
			op, mod, _ := comp(i)
			takesList := mod != "" || op == "in" || op == "pmatch" || op == "intersects"
			var vals []ast.Value
			ws := []ast.ExceptionValue{w}
			if w.List != nil {
				ws = w.List
			}
			for _, w := range ws {
				vs, ok := c.exceptionText(w, takesList)
				if !ok {
					return nil, false
				}
				vals = append(vals, vs...)
			}
			if !takesList && (w.List != nil || len(vals) != 1) {
				c.fail(w.Pos, "exception", "use in for this field", "%s takes one value, not a list", op)
				return nil, false
			}
			parts = append(parts, test(i, vals, takesList))
		}
		tuples = append(tuples, group(parts, true))
	}
	return group(tuples, false), true
}

// group joins xs by and or by or.
func group(xs []ast.Expr, and bool) ast.Expr {
	switch {
	case len(xs) == 1:
		return xs[0]
	case and:
		return &ast.And{X: xs, Pos: xs[0].Place()}
	}
	return &ast.Or{X: xs, Pos: xs[0].Place()}
}

// exceptionText reads one scalar of an exception's values: a text with a blank is one value; else it is what a condition
// would make of it, which may be quoted, the name of a list, or several values in parentheses.
func (c *checker) exceptionText(v ast.ExceptionValue, paren bool) ([]ast.Value, bool) {
	if v.List != nil {
		c.fail(v.Pos, "exception", "", "a list in a list of values")
		return nil, false
	}
	t := v.Text.Text
	quoted := t != "" && strings.IndexByte("\"'", t[0]) >= 0
	if t == "" || strings.Contains(t, " ") && !quoted && !(paren && t[0] == '(') {
		return []ast.Value{{Text: t, Quoted: true, Pos: v.Pos}}, true
	}
	vs, d := parse.Values(v.Text, paren)
	if d != nil {
		c.add(*d)
		return nil, false
	}
	return vs, true
}
