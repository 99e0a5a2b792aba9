package check

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/field"
	"github.com/shikra-sensor/shikra/sensor/internal/format"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/ast"
)

// Options says how rules are checked and which of them are taken. The zero value takes every rule that isn't disabled.
type Options struct {
	Lookup      func(string) (field.Ref, error) // default field.Parse
	Output      func(string) error              // judges an output's text; default format.Parse
	Select      []Selection                     // applied in order, after what the rules say of themselves
	MinPriority string                          // rules of a lower priority are left out; "" takes all
}

// Selection turns rules on or off: those whose name matches Rule, in which * stands for anything, and those with the tag
// Tag. An empty part matches none.
type Selection struct {
	Enable    bool
	Rule, Tag string
	From      string // what asks for it, for the warning that no rule has the name; "" for no warning
}

// The bounds of a program.
const (
	maxDiags   = 200     // errors and warnings
	maxNodes   = 1 << 16 // tests, ands, ors and nots of one rule, macros expanded
	maxValues  = 1 << 17 // constants of one test or list, lists expanded
	maxProgram = 1 << 22 // nodes and constants of all rules
	maxRules   = 1 << 14 // rules of one program
)

// manyTypes is how many event types a rule may match without a warning: Falco's number.
const manyTypes = 100

// EngineVersion is the version of Falco's rule language that is spoken here.
const EngineVersion = "0.62.0"

// Priorities returns the names of the priorities, most urgent first.
func Priorities() []string {
	return []string{"Emergency", "Alert", "Critical", "Error", "Warning", "Notice", "Informational", "Debug"}
}

// Priority returns the place in Priorities of a name, written in any case; info is Informational.
func Priority(name string) (int, bool) {
	if strings.EqualFold(name, "info") {
		name = "Informational"
	}
	i := slices.IndexFunc(Priorities(), func(p string) bool { return strings.EqualFold(p, name) })
	return i, i >= 0
}

// Check makes a program of files, which are taken together in their order. The program is nil exactly when one of the
// diagnostics is an error.
func Check(files []*ast.File, o Options) (*Program, ast.Diagnostics) {
	c := &checker{o: o, src: map[string][]byte{}, seen: map[ast.Diagnostic]bool{}, bound: map[ast.Expr]Cond{}, refs: map[string]looked{}}
	if c.o.Lookup == nil {
		c.o.Lookup = field.Parse
	}
	if c.o.Output == nil {
		c.o.Output = func(text string) error { _, err := format.Parse(text); return err }
	}
	c.lists, c.macros, c.rules = map[string]*list{}, map[string]*macro{}, map[string]*rule{}
	c.types = newTypeNames()
	for _, f := range files {
		c.src[f.Name] = f.Src
	}
	for _, f := range files {
		c.collect(f)
	}
	p := c.program()
	if c.diags.Errors() > 0 {
		return nil, c.diags
	}
	return p, c.diags
}

type checker struct {
	o      Options
	src    map[string][]byte
	diags  ast.Diagnostics
	seen   map[ast.Diagnostic]bool
	serial int // items so far

	lists   map[string]*list
	macros  map[string]*macro
	rules   map[string]*rule
	inOrder []*rule // by first definition
	macList []*macro
	lstList []*list

	types  typeNames
	bound  map[ast.Expr]Cond // what bind made of shared parts
	refs   map[string]looked
	weight int // nodes and constants of the rules so far
}

type looked struct {
	ref field.Ref
	err error
}

func (c *checker) add(d ast.Diagnostic) {
	if d.Pos.Line > 0 {
		d.Line = ast.Line(c.src[d.Pos.File], d.Pos.Line)
	}
	if c.seen[d] {
		return
	}
	c.seen[d] = true
	switch {
	case len(c.diags) < maxDiags:
		c.diags = append(c.diags, &d)
	case len(c.diags) == maxDiags:
		c.diags = append(c.diags, &ast.Diagnostic{Pos: d.Pos, Severity: d.Severity, Code: "too-many", Message: "too many messages: the rest is left out"})
	case d.Severity == ast.Error:
		c.diags[maxDiags].Severity = ast.Error
	}
}

func problem(sev ast.Severity, pos ast.Pos, code, hint, format string, args ...any) ast.Diagnostic {
	return ast.Diagnostic{Pos: pos, Severity: sev, Code: code, Message: fmt.Sprintf(format, args...), Hint: hint}
}

func (c *checker) fail(pos ast.Pos, code, hint, format string, args ...any) {
	c.add(problem(ast.Error, pos, code, hint, format, args...))
}

func (c *checker) warn(pos ast.Pos, code, hint, format string, args ...any) {
	c.add(problem(ast.Warning, pos, code, hint, format, args...))
}

// program expands, binds and selects what was collected.
func (c *checker) program() *Program {
	least := len(Priorities())
	if c.o.MinPriority != "" {
		n, ok := Priority(c.o.MinPriority)
		if !ok {
			c.fail(ast.Pos{}, "priority", priorityHint(c.o.MinPriority), "unknown least priority %q", c.o.MinPriority)
		}
		least = n
	}
	for _, l := range c.lstList {
		c.expandList(l, nil)
	}
	for _, m := range c.macList {
		c.expandMacro(m, nil)
	}
	p := &Program{}
	for _, r := range c.inOrder {
		if out := c.rule(r); out != nil && c.enabled(r) {
			if n, _ := Priority(out.Priority); n <= least {
				p.Rules = append(p.Rules, out)
			}
		}
	}
	if len(p.Rules) > maxRules {
		c.fail(ast.Pos{}, "too-large", "", "%d rules are more than %d", len(p.Rules), maxRules)
	}
	c.unmatched()
	for _, m := range c.macList {
		if !m.used {
			c.warn(m.pos, "unused", "", "no rule or macro uses the macro %s", m.name)
		}
	}
	for _, l := range c.lstList {
		if !l.used {
			c.warn(l.pos, "unused", "", "no rule, macro or list uses the list %s", l.name)
		}
	}
	return p
}

func priorityHint(word string) string {
	if near := ast.Nearest(strings.ToLower(word), lowerPriorities()); near != "" {
		return "did you mean " + strings.ToUpper(near) + "?"
	}
	return "the priorities are " + strings.ToUpper(strings.Join(Priorities(), ", "))
}

func lowerPriorities() []string {
	out := []string{"info"}
	for _, p := range Priorities() {
		out = append(out, strings.ToLower(p))
	}
	return out
}

// enabled applies the selections to what the rule says of itself.
func (c *checker) enabled(r *rule) bool {
	on := r.Enabled
	for _, s := range c.o.Select {
		if s.Rule != "" && wildcard(s.Rule, r.Name) || s.Tag != "" && slices.Contains(r.Tags, s.Tag) {
			on = s.Enable
		}
	}
	return on
}

// unmatched warns of selections by a name that no rule has.
func (c *checker) unmatched() {
	for _, s := range c.o.Select {
		if s.Rule == "" || s.From == "" || slices.ContainsFunc(c.inOrder, func(r *rule) bool { return wildcard(s.Rule, r.Name) }) {
			continue
		}
		c.warn(ast.Pos{}, "no-rule", c.nearestRule(s.Rule, "`shikra rules list` shows the names"), "%s: no rule is called %q", s.From, s.Rule)
	}
}

// wildcard matches s with a pattern in which * stands for anything.
func wildcard(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == s
	}
	last := parts[len(parts)-1]
	if !strings.HasPrefix(s, parts[0]) {
		return false
	}
	s = s[len(parts[0]):]
	for _, p := range parts[1 : len(parts)-1] {
		i := strings.Index(s, p)
		if i < 0 {
			return false
		}
		s = s[i+len(p):]
	}
	return strings.HasSuffix(s, last)
}

// rule makes the checked rule of r; nil when it has an error or is skipped.
func (c *checker) rule(r *rule) *Rule {
	if r.Source != "" && r.Source != "syscall" {
		c.warn(r.Pos, "unknown-source", "", "the rule %s is skipped: there is no source %s", r.Name, r.Source)
		return nil
	}
	n, ok := Priority(r.Priority)
	if !ok {
		pos := r.Pos
		if p, ok := r.Given["priority"]; ok {
			pos = p
		}
		c.fail(pos, "priority", priorityHint(r.Priority), "unknown priority %q", r.Priority)
	}
	if err := c.o.Output(r.Output); err != nil {
		d := c.badOutput(r, err)
		if r.SkipUnknown && d.Code == "unknown-field" {
			d.Severity = ast.Warning
			d.Message += fmt.Sprintf("; the rule %s is skipped", r.Name)
			c.add(d)
			return nil
		}
		c.add(d)
		ok = false
	}
	x, size, good := c.expandRule(r)
	if !good {
		return nil
	}
	if c.weight += size; c.weight > maxProgram {
		c.fail(r.Pos, "too-large", "", "the rules are too large together: more than %d tests and constants when macros and lists are expanded", maxProgram)
		return nil
	}
	b := binder{c: c}
	cond := b.bind(x)
	if len(b.errs) > 0 {
		for _, d := range b.errs {
			if r.SkipUnknown && d.Code == "unknown-field" {
				d.Severity = ast.Warning
				d.Message += fmt.Sprintf("; the rule %s is skipped", r.Name)
			}
			c.add(d)
		}
		return nil
	}
	if !ok {
		return nil
	}
	out := &Rule{
		Name: r.Name, Desc: r.Desc, Priority: Priorities()[n], Source: "syscall", Output: r.Output,
		Cond: cond, AST: x, Text: r.CondSource.Text, Pos: r.Pos,
	}
	out.Tags = append(out.Tags, r.Tags...)
	sort.Strings(out.Tags)
	out.Tags = slices.Compact(out.Tags)
	set := c.types.of(x, false, true)
	if c.types.of(x, false, false).empty() {
		c.warn(r.Pos, "never", "look at its tests on evt.type", "the rule %s can never match: no event type fits its condition", r.Name)
	}
	if cond == Bool(false) {
		set = typeSet{}
	}
	out.Types, out.Calls = set.list()
	if len(out.Types) > manyTypes && r.WarnTypes && c.enabled(r) {
		c.warn(r.Pos, "many-types", "restrict it with evt.type = … or evt.type in (…)", "the rule %s matches %d event types, which costs time for each event", r.Name, len(out.Types))
	}
	return out
}

// badOutput says what is wrong with the output of r, at its place when err knows it.
func (c *checker) badOutput(r *rule, err error) ast.Diagnostic {
	off := len(r.OutSource.Text) - len(strings.TrimLeft(r.OutSource.Text, " \t\r\n"))
	d := problem(ast.Error, r.OutSource.Pos(), "output", "", "output: %v", err)
	var at *format.Error
	if errors.As(err, &at) {
		d.Pos = r.OutSource.At(off + at.Offset)
		d.Message = "output: " + at.Err.Error()
	}
	var f *field.Error
	if errors.As(err, &f) {
		d.Code, d.Message, d.Hint = "unknown-field", "output: "+f.Msg, f.Hint
	}
	return d
}

// AllTypes returns the event types that a rule without a test on evt.type can match.
func AllTypes() []event.Type {
	types, _ := allTypes().list()
	return types
}
