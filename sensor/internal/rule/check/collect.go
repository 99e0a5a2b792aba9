package check

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/shikra-sensor/shikra/sensor/internal/rule/ast"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/parse"
)

// Lists, macros and rules of all files are collected before anything is expanded. A later definition takes the place of
// an earlier one of the same name, and keeps its turn: first says where the name first stood, last where what counts now
// stands. A macro sees those macros whose first is before its own last; rules and lists see everything.

type list struct {
	name        string
	items       []ast.Value
	pos         ast.Pos
	first, last int
	used        bool

	state    int // 0 not expanded, 1 in work, 2 done
	expanded []ast.Value
}

type macro struct {
	name        string
	source      ast.Source
	cond        ast.Expr
	pos         ast.Pos
	first, last int
	used        bool

	state    int
	expanded ast.Expr // nil when it has an error
	size     int
}

type rule struct {
	ast.Rule
	first int
}

func (c *checker) collect(f *ast.File) {
	if f.Engine != "" && newer(f.Engine, EngineVersion) {
		c.fail(ast.Pos{File: f.Name}, "engine-version", "the rules may use words that are not known here", "the file asks for engine version %s, this is %s", f.Engine, EngineVersion)
	}
	for _, it := range f.Order {
		switch it := it.(type) {
		case *ast.List:
			c.collectList(it)
		case *ast.Macro:
			c.collectMacro(it)
		case *ast.Rule:
			c.collectRule(it)
		}
		c.serial++
	}
}

// newer reports whether version a, a number or three with dots, is above b. A single number is the middle one.
func newer(a, b string) bool {
	parts := func(s string) (v [3]int) {
		s, _, _ = strings.Cut(s, "-")
		p := strings.Split(s, ".")
		if len(p) == 1 {
			p = []string{"0", p[0], "0"}
		}
		for i := range min(len(p), 3) {
			v[i], _ = strconv.Atoi(p[i])
		}
		return v
	}
	x, y := parts(a), parts(b)
	return slices.Compare(x[:], y[:]) > 0
}

func (c *checker) collectList(it *ast.List) {
	have := c.lists[it.Name]
	switch {
	case it.Append && have == nil:
		c.fail(it.Pos, "append", "define it first, or leave append out", "there is no list %s to append to", it.Name)
	case it.Append:
		have.items = append(slices.Clip(have.items), it.Items...)
		have.last = c.serial
	case have == nil:
		l := &list{name: it.Name, items: it.Items, pos: it.Pos, first: c.serial, last: c.serial}
		c.lists[it.Name] = l
		c.lstList = append(c.lstList, l)
	default:
		have.items, have.pos, have.last = it.Items, it.Pos, c.serial
	}
}

func (c *checker) collectMacro(it *ast.Macro) {
	have := c.macros[it.Name]
	switch {
	case it.Append && have == nil:
		c.fail(it.Pos, "append", "define it first, or leave append out", "there is no macro %s to append to", it.Name)
	case it.Append:
		have.source, have.cond = have.source.Join(it.Source), nil
		have.last = c.serial
	case have == nil:
		m := &macro{name: it.Name, source: it.Source, cond: it.Condition, pos: it.Pos, first: c.serial, last: c.serial}
		c.macros[it.Name] = m
		c.macList = append(c.macList, m)
	default:
		have.source, have.cond, have.pos, have.last = it.Source, it.Condition, it.Pos, c.serial
	}
}

func (c *checker) collectRule(it *ast.Rule) {
	have := c.rules[it.Name]
	if have != nil && it.Source != "" && have.Source != "" && it.Source != have.Source {
		c.fail(it.Pos, "redefined", "", "the rule %s has the source %s, not %s", it.Name, have.Source, it.Source)
		return
	}
	if !it.Defines() {
		if have == nil {
			c.fail(it.Pos, "append", c.nearestRule(it.Name, "define it first, in this file or in one before it"), "there is no rule %s to change", it.Name)
			return
		}
		c.change(have, it)
		return
	}
	for _, e := range it.Exceptions {
		c.exceptionShape(e)
	}
	if have == nil {
		have = &rule{first: c.serial}
		c.rules[it.Name] = have
		c.inOrder = append(c.inOrder, have)
	} else if have.Pos.File == it.Pos.File {
		c.warn(it.Pos, "redefined", "give one of them another name", "this rule replaces the one of the same name in line %d", have.Pos.Line)
	}
	have.Rule = *it
	have.Exceptions = nil
	for _, e := range it.Exceptions {
		have.Exceptions = append(have.Exceptions, clone(e))
	}
}

// clone copies e, so that appending to a rule changes nothing in the file it came from.
func clone(e *ast.Exception) *ast.Exception {
	x := *e
	x.Values = slices.Clone(e.Values)
	return &x
}

// nearestRule is the hint for a name that no rule has: the nearest one, or else.
func (c *checker) nearestRule(name, otherwise string) string {
	names := make([]string, 0, len(c.rules))
	for _, r := range c.inOrder {
		names = append(names, r.Name)
	}
	if near := ast.Nearest(name, names); near != "" {
		return fmt.Sprintf("did you mean %s?", near)
	}
	return otherwise
}

// change applies an item that appends to, overrides or switches the rule r.
func (c *checker) change(r *rule, it *ast.Rule) {
	_, cond := it.Given["condition"]
	_, exc := it.Given["exceptions"]
	switch {
	case it.Switch():
		r.Enabled = it.Enabled
		return
	case it.Append:
		if !cond && !exc {
			c.fail(it.Pos, "append", "add condition: or exceptions:", "there is nothing to append to the rule %s", it.Name)
		}
		if cond {
			c.appendCondition(r, it)
		}
		c.appendExceptions(r, it)
		return
	}
	keys := make([]string, 0, len(it.Override))
	for k := range it.Override {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range [...]string{"condition", "output", "desc", "priority", "tags", "exceptions", "enabled", "warn_evttypes", "skip-if-unknown-filter"} {
		if p, given := it.Given[k]; given && it.Override[k] == "" {
			c.fail(p, "override", "add it under override:, as "+k+": replace", "override doesn't say what to do with %s", k)
		}
	}
	if len(keys) == 0 {
		c.fail(it.Pos, "override", "name the keys: condition: append", "override is empty")
	}
	for _, k := range keys {
		add := it.Override[k] == "append"
		switch k {
		case "condition":
			if add {
				c.appendCondition(r, it)
			} else {
				r.CondSource, r.Text, r.Condition = it.CondSource, it.Text, it.Condition
			}
		case "output":
			if add {
				r.OutSource = r.OutSource.Join(it.OutSource)
			} else {
				r.OutSource = it.OutSource
			}
			r.Output = strings.TrimSpace(r.OutSource.Text)
		case "desc":
			if add {
				r.Desc += " " + it.Desc
			} else {
				r.Desc = it.Desc
			}
		case "tags":
			if add {
				r.Tags = append(slices.Clip(r.Tags), it.Tags...)
			} else {
				r.Tags = it.Tags
			}
		case "exceptions":
			if add {
				c.appendExceptions(r, it)
				continue
			}
			r.Exceptions = nil
			for _, e := range it.Exceptions {
				c.exceptionShape(e)
				r.Exceptions = append(r.Exceptions, clone(e))
			}
		case "priority":
			r.Priority = it.Priority
		case "enabled":
			r.Enabled = it.Enabled
		case "warn_evttypes":
			r.WarnTypes = it.WarnTypes
		case "skip-if-unknown-filter":
			r.SkipUnknown = it.SkipUnknown
		}
	}
}

// appendCondition joins the texts: what is appended may begin with or.
func (c *checker) appendCondition(r *rule, it *ast.Rule) {
	r.CondSource = r.CondSource.Join(it.CondSource)
	r.Text, r.Condition = r.CondSource.Text, nil
}

// appendExceptions adds values to exceptions of the rule, or exceptions with a name of their own.
func (c *checker) appendExceptions(r *rule, it *ast.Rule) {
	for _, e := range it.Exceptions {
		i := slices.IndexFunc(r.Exceptions, func(x *ast.Exception) bool { return x.Name == e.Name })
		switch {
		case i < 0 && len(e.Fields) == 0:
			c.fail(e.Pos, "exception", "add fields:, or name an exception of the rule", "the rule %s has no exception %s, and a new one needs fields", r.Name, e.Name)
		case i < 0 && len(e.Values) == 0:
			c.fail(e.Pos, "exception", "add values:", "a new exception that is appended needs values")
		case i < 0:
			c.exceptionShape(e)
			r.Exceptions = append(r.Exceptions, clone(e))
		case len(e.Fields) > 0 || len(e.Comps) > 0:
			c.fail(e.Pos, "exception", "leave fields and comps out, or give the exception another name", "only values can be appended to the exception %s", e.Name)
		case len(e.Values) == 0:
			c.warn(e.Pos, "exception", "", "the exception %s is appended to without values", e.Name)
		default:
			r.Exceptions[i].Values = append(r.Exceptions[i].Values, e.Values...)
		}
	}
}

// condition returns what source says, parsing it when it was put together from several items.
func (c *checker) condition(source ast.Source, cond ast.Expr) ast.Expr {
	if cond != nil {
		return cond
	}
	x, d := parse.Source(source)
	if d != nil {
		c.add(*d)
		return nil
	}
	return x
}
