package parse

import (
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/shikra-sensor/shikra/sensor/internal/rule/ast"
)

// item reads one item by the key that says what it is.
func (r *reader) item(n *yaml.Node) {
	m := r.mapping(n)
	kinds := [...]string{"required_engine_version", "required_plugin_versions", "list", "macro", "rule"}
	for _, k := range kinds {
		if m.val[k] == nil {
			continue
		}
		switch k {
		case "list":
			r.list(m)
		case "macro":
			r.macro(m)
		case "rule":
			r.rule(m)
		case "required_engine_version":
			if v, ok := r.text(m, "item", k, false); ok {
				r.file.Engine = v.Text
				if !version(v.Text) {
					r.fail(v.Pos(), "version", "write it as 0.57.0, or as one number", "%q is no version", v.Text)
				}
			}
			r.unknown(m, "required_engine_version item", k)
		default:
			r.plugins(m.val[k])
			r.unknown(m, "required_plugin_versions item", k)
		}
		return
	}
	if len(m.keys) == 0 {
		return
	}
	k := m.keys[0]
	hint := "an item begins with list:, macro: or rule:"
	if near := ast.Nearest(k, kinds[:]); near != "" {
		hint = "did you mean " + near + "?"
	}
	r.warn(r.pos(m.at[k]), "unknown-item", hint, "an item with the key %s is unknown and ignored", k)
}

// version reports whether s is a number or three of them with dots between.
func version(s string) bool {
	s, _, _ = strings.Cut(s, "-")
	parts := strings.Split(s, ".")
	for _, p := range parts {
		if p == "" || len(p) > 9 || strings.Trim(p, "0123456789") != "" {
			return false
		}
	}
	return len(parts) == 1 || len(parts) == 3
}

func (r *reader) plugins(n *yaml.Node) {
	if n.Kind != yaml.SequenceNode {
		r.fail(r.pos(n), "shape", "", "required_plugin_versions is a sequence, this is %s", kindOf(n))
		return
	}
	one := func(n *yaml.Node, alternative bool) mapping {
		if n.Kind != yaml.MappingNode {
			r.fail(r.pos(n), "shape", "write name: and version:", "a required plugin is a mapping, this is %s", kindOf(n))
			return mapping{}
		}
		m := r.mapping(n)
		name, ok1 := r.text(m, "required plugin", "name", false)
		v, ok2 := r.text(m, "required plugin", "version", false)
		if ok1 && ok2 {
			if !version(v.Text) {
				r.fail(v.Pos(), "version", "write it as 0.4.0", "%q is no version", v.Text)
			}
			r.file.Plugins = append(r.file.Plugins, ast.Plugin{Name: name.Text, Version: v.Text, Alternative: alternative, Pos: name.Pos()})
		}
		return m
	}
	for _, c := range n.Content {
		m := one(c, false)
		alts := m.val["alternatives"]
		if alts == nil {
			continue
		}
		if alts.Kind != yaml.SequenceNode {
			r.fail(r.pos(alts), "shape", "", "alternatives is a sequence, this is %s", kindOf(alts))
			continue
		}
		for _, a := range alts.Content {
			one(a, true)
		}
	}
}

// appends reads append: and override: of a list or a macro, whose only key that can change is key.
func (r *reader) appends(m mapping, what, key string) bool {
	app := r.flag(m, "append", false)
	over := r.override(m, what, []string{key}, []string{key})
	if app && over != nil {
		r.fail(r.pos(m.at["append"]), "override", "leave append out", "append and override exclude each other")
	}
	return app || over[key] == "append"
}

// override reads the override mapping: key → append or replace; nil when there is none.
func (r *reader) override(m mapping, what string, appendable, replaceable []string) map[string]string {
	v := m.val["override"]
	if v == nil {
		return nil
	}
	if v.Kind != yaml.MappingNode {
		r.fail(r.pos(v), "shape", "write a line for each key: condition: append", "override is a mapping, this is %s", kindOf(v))
		return nil
	}
	out := map[string]string{}
	has := func(list []string, s string) bool {
		for _, x := range list {
			if x == s {
				return true
			}
		}
		return false
	}
	o := r.mapping(v)
	for _, k := range o.keys {
		how := o.val[k]
		switch {
		case how.Value != "append" && how.Value != "replace":
			r.fail(r.pos(how), "override", "write append or replace", "%q is no way to override", how.Value)
		case how.Value == "append" && !has(appendable, k):
			hint := ""
			if has(replaceable, k) {
				hint = "write replace"
			}
			r.fail(r.pos(o.at[k]), "override", hint, "the %s of a %s can't be appended to", k, what)
		case how.Value == "replace" && !has(replaceable, k):
			r.fail(r.pos(o.at[k]), "override", "", "the %s of a %s can't be replaced", k, what)
		case m.val[k] == nil:
			r.fail(r.pos(o.at[k]), "override", "add "+k+": …", "override names %s, but the item has no such key", k)
		default:
			out[k] = how.Value
		}
	}
	return out
}

func (r *reader) list(m mapping) {
	name, ok := r.text(m, "list", "list", false)
	if !ok {
		return
	}
	l := &ast.List{Name: name.Text, Pos: name.Pos()}
	if strings.ContainsAny(l.Name, " \t\r\n\v\f(),=\"'") {
		r.warn(l.Pos, "name", "leave out blanks, quotes and ( ) , =", "no condition can use a list of this name")
	}
	for _, it := range r.texts(m, "list", "items", false) {
		l.Items = append(l.Items, r.constants(it)...)
	}
	l.Append = r.appends(m, "list", "items")
	r.unknown(m, "list", "list", "items", "append", "override")
	r.file.Lists = append(r.file.Lists, l)
	r.file.Order = append(r.file.Order, l)
}

// constants reads a list's item: one value when it has a blank, else what the condition language makes of it, which
// may be quoted, or several values with commas between.
func (r *reader) constants(it ast.Source) []ast.Value {
	t := it.Text
	if strings.Contains(t, " ") && t[0] != '"' && t[0] != '\'' {
		return []ast.Value{{Text: t, Quoted: true, Pos: it.Pos()}}
	}
	if t == "" {
		r.fail(it.Pos(), "empty", `write '""' for the empty text`, "an item is empty")
		return nil
	}
	vs, d := Values(it, false)
	if d != nil {
		r.add(d)
	}
	return vs
}

func (r *reader) macro(m mapping) {
	name, ok := r.text(m, "macro", "macro", false)
	if !ok {
		return
	}
	x := &ast.Macro{Name: name.Text, Pos: name.Pos()}
	if s := (&scanner{s: x.Name}); s.name() != x.Name {
		r.warn(x.Pos, "name", "begin with a letter, and go on with letters, digits and _", "no condition can use a macro of this name")
	}
	x.Append = r.appends(m, "macro", "condition")
	if x.Source, ok = r.text(m, "macro", "condition", false); ok {
		x.Text = x.Source.Text
		if !x.Append {
			x.Condition = r.condition(x.Source)
		}
	}
	r.unknown(m, "macro", "macro", "condition", "append", "override")
	r.file.Macros = append(r.file.Macros, x)
	r.file.Order = append(r.file.Order, x)
}

func (r *reader) condition(src ast.Source) ast.Expr {
	x, d := Source(src)
	if d != nil {
		r.add(d)
		return nil
	}
	return x
}

func (r *reader) rule(m mapping) {
	name, ok := r.text(m, "rule", "rule", false)
	if !ok {
		return
	}
	x := &ast.Rule{Name: name.Text, Pos: name.Pos(), Given: map[string]ast.Pos{}}
	for _, k := range m.keys {
		x.Given[k] = r.pos(m.val[k])
	}
	x.Append = r.flag(m, "append", false)
	x.Override = r.override(m, "rule",
		[]string{"condition", "output", "desc", "tags", "exceptions"},
		[]string{"condition", "output", "desc", "priority", "capture", "capture_duration", "tags", "exceptions", "enabled", "warn_evttypes", "skip-if-unknown-filter"})
	if x.Append && x.Override != nil {
		r.fail(r.pos(m.at["append"]), "override", "leave append out", "append and override exclude each other")
	}
	whole := x.Defines()
	if x.Switch() && m.val["enabled"] == nil {
		whole = true // so that the missing keys are named
	}
	text := func(key string) ast.Source { s, _ := r.text(m, "rule", key, !whole); return s }

	x.CondSource = text("condition")
	x.Text = x.CondSource.Text
	if x.Text != "" && !x.Append && (x.Override == nil || x.Override["condition"] == "replace") {
		x.Condition = r.condition(x.CondSource)
	}
	x.OutSource = text("output")
	x.Output = strings.TrimSpace(x.OutSource.Text)
	x.Desc = strings.TrimSpace(text("desc").Text)
	x.Priority = text("priority").Text
	if src, ok := r.text(m, "rule", "source", true); ok {
		x.Source = src.Text
	}
	for _, t := range r.texts(m, "rule", "tags", true) {
		x.Tags = append(x.Tags, t.Text)
	}
	x.Enabled = r.flag(m, "enabled", true)
	x.WarnTypes = r.flag(m, "warn_evttypes", true)
	x.SkipUnknown = r.flag(m, "skip-if-unknown-filter", false)
	x.Exceptions = r.exceptions(m, x.Append || x.Override["exceptions"] == "append")
	for _, k := range [...]string{"capture", "capture_duration"} {
		if m.val[k] != nil {
			r.warn(r.pos(m.at[k]), "ignored-key", "", "%s is ignored", k)
		}
	}
	r.unknown(m, "rule", "rule", "desc", "condition", "output", "priority", "tags", "source", "enabled", "exceptions", "append", "override",
		"warn_evttypes", "skip-if-unknown-filter", "capture", "capture_duration")
	r.file.Rules = append(r.file.Rules, x)
	r.file.Order = append(r.file.Order, x)
}

// exceptions reads the exceptions of a rule. In an item that changes a rule, those with a known name give only values;
// which names are known shows when all files are read.
func (r *reader) exceptions(m mapping, appends bool) []*ast.Exception {
	v := m.val["exceptions"]
	if v == nil || isNull(v) {
		return nil
	}
	if v.Kind != yaml.SequenceNode {
		r.fail(r.pos(v), "shape", "begin each with a dash: - name: …", "exceptions is a sequence, this is %s", kindOf(v))
		return nil
	}
	var out []*ast.Exception
	seen := map[string]bool{}
	for _, c := range v.Content {
		if c.Kind != yaml.MappingNode {
			r.fail(r.pos(c), "shape", "", "an exception is a mapping, this is %s", kindOf(c))
			continue
		}
		e := r.mapping(c)
		name, ok := r.text(e, "exception", "name", false)
		if !ok {
			continue
		}
		x := &ast.Exception{Name: name.Text, Pos: name.Pos()}
		if seen[x.Name] {
			r.warn(x.Pos, "exception-name", "give each a name of its own", "the rule has two exceptions named %s", x.Name)
		}
		seen[x.Name] = true
		x.Fields, x.Single = r.oneOrMore(e, "fields")
		var single bool
		x.Comps, single = r.oneOrMore(e, "comps")
		switch {
		case len(x.Fields) == 0 && !appends && e.val["fields"] == nil:
			r.fail(x.Pos, "missing-key", "add fields: [proc.name]", "the exception %s has no fields", x.Name)
		case len(x.Comps) > 0 && len(x.Fields) > 0 && single != x.Single:
			r.fail(r.pos(e.val["comps"]), "exception", "write both with brackets, or both without", "fields and comps of the exception %s don't fit", x.Name)
		case len(x.Comps) > 0 && len(x.Fields) > 0 && len(x.Comps) != len(x.Fields):
			r.fail(r.pos(e.val["comps"]), "exception", "one operator for each field", "the exception %s has %d fields and %d comps", x.Name, len(x.Fields), len(x.Comps))
		}
		if vals := e.val["values"]; vals != nil && !isNull(vals) {
			if vals.Kind != yaml.SequenceNode {
				r.fail(r.pos(vals), "shape", "", "the values of an exception are a sequence, this is %s", kindOf(vals))
			} else {
				x.Values = r.exceptionValue(vals, 0).List
			}
		}
		r.unknown(e, "exception", "name", "fields", "comps", "values")
		out = append(out, x)
	}
	return out
}

// oneOrMore reads a text or a sequence of them; single says that it was a text.
func (r *reader) oneOrMore(m mapping, key string) (list []ast.Source, single bool) {
	v := m.val[key]
	if v == nil {
		return nil, false
	}
	if v.Kind == yaml.ScalarNode {
		s, ok := r.text(m, "exception", key, false)
		if !ok {
			return nil, true
		}
		return []ast.Source{s}, true
	}
	return r.texts(m, "exception", key, false), false
}

// exceptionValue reads a scalar, or a list of scalars or lists.
func (r *reader) exceptionValue(n *yaml.Node, depth int) ast.ExceptionValue {
	v := ast.ExceptionValue{Pos: r.pos(n)}
	switch {
	case isNull(n) || n.Kind == yaml.MappingNode || n.Kind == yaml.SequenceNode && depth > 2:
		r.fail(v.Pos, "shape", "", "an exception's value is a text or a sequence of them, this is %s", kindOf(n))
	case n.Kind == yaml.ScalarNode:
		v.Text = r.scalar(n)
	default:
		v.List = []ast.ExceptionValue{}
		for _, c := range n.Content {
			v.List = append(v.List, r.exceptionValue(c, depth+1))
		}
	}
	return v
}
