package check

import (
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/shikra-sensor/shikra/sensor/internal/field"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/ast"
)

// binder turns an expanded condition into a typed one.
type binder struct {
	c    *checker
	errs []ast.Diagnostic
}

func (b *binder) fail(pos ast.Pos, code, hint, format string, args ...any) {
	b.errs = append(b.errs, problem(ast.Error, pos, code, hint, format, args...))
}

// bind returns the typed form of x, constants folded. What is shared in x is bound once for all rules, unless it is wrong.
func (b *binder) bind(x ast.Expr) Cond {
	if c, ok := b.c.bound[x]; ok {
		return c
	}
	errs := len(b.errs)
	c := b.bindNew(x)
	if len(b.errs) == errs {
		b.c.bound[x] = c
	}
	return c
}

func (b *binder) bindNew(x ast.Expr) Cond {
	switch x := x.(type) {
	case *ast.And:
		return b.list(x.X, false)
	case *ast.Or:
		return b.list(x.X, true)
	case *ast.Not:
		switch c := b.bind(x.X).(type) {
		case Bool:
			return !c
		case *Not:
			return c.X
		default:
			return &Not{X: c}
		}
	case *ast.Test:
		return b.test(x)
	}
	return Bool(false) // a macro that could not be expanded: there is an error already
}

// maxFlat bounds what is lifted out of an inner list: macros that each add one part to the one before would else make
// lists whose sum is quadratic.
const maxFlat = 64

// list binds the parts of an and or an or and leaves those out that change nothing.
func (b *binder) list(xs []ast.Expr, or bool) Cond {
	var parts []Cond
	decided := false
	for _, x := range xs {
		switch c := b.bind(x).(type) {
		case Bool:
			decided = decided || bool(c) == or
		case And:
			if or || len(c) > maxFlat {
				parts = append(parts, c)
			} else {
				parts = append(parts, c...)
			}
		case Or:
			if !or || len(c) > maxFlat {
				parts = append(parts, c)
			} else {
				parts = append(parts, c...)
			}
		default:
			parts = append(parts, c)
		}
	}
	switch {
	case decided || len(parts) == 0:
		return Bool(decided == or)
	case len(parts) == 1:
		return parts[0]
	case or:
		return Or(parts)
	}
	return And(parts)
}

// OpOf returns the operator written as s.
func OpOf(s string) (Op, bool) {
	switch s {
	case "=":
		return Eq, true
	case "!=":
		return Ne, true
	case "<":
		return Lt, true
	case "<=":
		return Le, true
	case ">":
		return Gt, true
	case ">=":
		return Ge, true
	case "exists":
		return Exists, true
	case "in":
		return In, true
	case "intersects":
		return Intersects, true
	case "contains", "bcontains":
		return Contains, true
	case "icontains":
		return IContains, true
	case "startswith", "bstartswith":
		return StartsWith, true
	case "endswith":
		return EndsWith, true
	case "glob":
		return Glob, true
	case "iglob":
		return IGlob, true
	case "pmatch":
		return PMatch, true
	case "regex":
		return Regex, true
	}
	return 0, false
}

// Operators returns the operators that a field takes, as they are written.
func Operators(f *field.Field) []string {
	if f.List {
		return []string{"exists", "in", "intersects"}
	}
	switch f.Type {
	case field.String:
		return []string{"=", "!=", "<", "<=", ">", ">=", "exists", "in", "intersects", "pmatch", "contains", "icontains", "startswith", "endswith",
			"glob", "iglob", "regex"}
	case field.Bytes:
		return []string{"=", "!=", "exists", "in", "intersects", "contains", "startswith", "endswith", "bcontains", "bstartswith"}
	case field.Bool, field.IP, field.IPNet:
		return []string{"=", "!=", "exists", "in", "intersects"}
	}
	return []string{"=", "!=", "<", "<=", ">", ">=", "exists", "in", "intersects"}
}

func (b *binder) test(x *ast.Test) Cond {
	for _, call := range [...]*ast.Call{x.Left, x.Right} {
		if call != nil {
			what := "the transformer " + call.Name
			if call.Name == "val" {
				what = "comparing two fields (val)"
			}
			b.fail(call.Pos, "unsupported", "", "%s is not supported yet", what)
			return Bool(false)
		}
	}
	ref, ok := b.lookup(x)
	if !ok {
		return Bool(false)
	}
	op, known := OpOf(x.Op)
	if ops := Operators(ref.Field); !known || !slices.Contains(ops, x.Op) {
		kind := kindName(ref.Field)
		b.fail(x.OpPos, "operator", fmt.Sprintf("%s takes %s", ref.Name, strings.Join(ops, " ")), "%s doesn't go with %s, which is %s", x.Op, ref.Name, kind)
		return Bool(false)
	}
	if ref.Name == "evt.dir" {
		return b.direction(x, op)
	}
	t := &Test{Field: ref, Op: op, Pos: x.Pos}
	if op != Exists && op != In && op != Intersects && op != PMatch && len(x.Values) != 1 {
		b.fail(x.OpPos, "operator", "", "%s takes one value, not %d", x.Op, len(x.Values))
		return Bool(false)
	}
	good := true
	for _, v := range x.Values {
		k, ok := b.constant(&ref, x, v)
		good = good && ok
		t.Values = append(t.Values, k)
	}
	if !good {
		return Bool(false)
	}
	if len(t.Values) == 0 && op != Exists && !ref.List {
		return Bool(false) // in ()
	}
	return t
}

// lookup finds the field of x in the catalogue.
func (b *binder) lookup(x *ast.Test) (field.Ref, bool) {
	l, ok := b.c.refs[x.Field]
	if !ok {
		l.ref, l.err = b.c.o.Lookup(x.Field)
		b.c.refs[x.Field] = l
	}
	if l.err != nil {
		hint := ""
		msg := l.err.Error()
		var e *field.Error
		if errors.As(l.err, &e) {
			msg, hint = e.Msg, e.Hint
		}
		b.fail(x.Pos, "unknown-field", hint, "%s", msg)
		return field.Ref{}, false
	}
	return l.ref, true
}

func kindName(f *field.Field) string {
	names := [...]string{field.String: "a text", field.Int: "a number", field.Uint: "a number", field.Bool: "true or false", field.IP: "an IP address",
		field.IPNet: "an IP network", field.Port: "a port", field.Bytes: "raw bytes", field.RelTime: "a duration", field.AbsTime: "a time"}
	n := "a value"
	if int(f.Type) < len(names) {
		n = names[f.Type]
	}
	if f.List {
		return "a list (each item " + n + ")"
	}
	return n
}

// direction decides a test on evt.dir, which is < for every event there is.
func (b *binder) direction(x *ast.Test, op Op) Cond {
	b.c.warn(x.Pos, "evt-dir", "leave it out", "evt.dir is always <: events are made when a call returns")
	has := func(v ast.Value) bool { return v.Text == "<" }
	for _, v := range x.Values {
		if v.Text != "<" && v.Text != ">" {
			b.fail(v.Pos, "constant", "", "evt.dir is < or >, not %q", v.Text)
			return Bool(false)
		}
	}
	switch op {
	case Exists:
		return Bool(true)
	case Eq, In, Intersects:
		return Bool(slices.ContainsFunc(x.Values, has))
	case Ne:
		return Bool(!slices.ContainsFunc(x.Values, has))
	}
	b.fail(x.OpPos, "operator", "", "evt.dir takes =, != and in")
	return Bool(false)
}

// constant reads v as the type of ref's field asks.
func (b *binder) constant(ref *field.Ref, x *ast.Test, v ast.Value) (Const, bool) {
	fail := func(hint, format string, args ...any) (Const, bool) {
		b.fail(v.Pos, "constant", hint, format, args...)
		return Const{}, false
	}
	text := v.Text
	if len(text) > 1<<16-1 {
		return fail("", "a constant of %d bytes is too long", len(text))
	}
	switch ref.Type {
	case field.String:
		if strings.IndexByte(text, 0) >= 0 {
			return fail("", "a text can't hold a NUL byte")
		}
		switch {
		case x.Op == "regex":
			if _, err := regexp.CompilePOSIX(text); err != nil {
				return fail("regular expressions are POSIX extended ones", "bad regular expression: %s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
			}
		case (ref.Name == "evt.type" || ref.Name == "syscall.type") && (x.Op == "=" || x.Op == "!=" || x.Op == "in" || x.Op == "intersects"):
			if _, ok := b.c.types.named(text); !ok {
				hint := "shikra syscalls lists them"
				if near := ast.Nearest(text, b.c.types.names()); near != "" {
					hint = "did you mean " + near + "?"
				}
				return fail(hint, "unknown event type %q", text)
			}
		}
		return Const{Bytes: []byte(text)}, true
	case field.Bytes:
		if x.Op == "bcontains" || x.Op == "bstartswith" {
			raw, err := hex.DecodeString(text)
			if err != nil {
				return fail("write two hexadecimal digits for each byte: cafe01", "%s takes bytes in hexadecimal, not %q", x.Op, text)
			}
			return Const{Bytes: raw}, true
		}
		return Const{Bytes: []byte(text)}, true
	}
	k, hint, err := scalar(ref, text)
	if err != nil {
		return fail(hint, "%v", err)
	}
	if hint != "" {
		b.c.warn(v.Pos, "constant", hint, "%q is read as a decimal number", text)
	}
	return k, true
}
