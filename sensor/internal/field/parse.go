package field

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/spelling"
)

// Error says what is wrong with a field's name or argument.
type Error struct {
	Text string // as written
	Msg  string // "unknown field proc.nmae"
	Hint string // "did you mean proc.name?"; "" for none
}

// Error returns the message with its hint.
func (e *Error) Error() string {
	if e.Hint == "" {
		return e.Msg
	}
	return e.Msg + ": " + e.Hint
}

// maxText bounds what Parse looks at and an error quotes, in bytes.
const maxText = 256

// Parse reads a field with its argument: proc.name, proc.aname[2], evt.arg.flags, proc.env[HOME]. The error is an *Error.
func Parse(text string) (Ref, error) {
	if len(text) > maxText {
		return Ref{}, &Error{Text: text[:maxText], Msg: fmt.Sprintf("field name of %d bytes: at most %d", len(text), maxText)}
	}
	name, arg, bracket, err := split(text)
	if err != nil {
		return Ref{}, err
	}
	f := Lookup(name)
	if f == nil {
		return Ref{}, unknown(text, name)
	}
	r := Ref{Field: f, Text: text, Index: -1}
	if arg == "" && !bracket {
		if f.Arg != ArgNone && !f.Optional {
			return Ref{}, &Error{Text: text, Msg: name + " needs an argument", Hint: "write " + example(f)}
		}
		return r, nil
	}
	if err := r.setArg(name, arg, bracket); err != nil {
		return Ref{}, err
	}
	return r, nil
}

// dotted are the fields whose key may stand after a dot.
var dotted = [...]string{
	"evt.arg", "evt.rawarg", "evt.type.is", "thread.cgroup", "container.label", "k8s.pod.label", "k8s.ns.label", "k8s.rc.label", "k8s.svc.label",
	"k8s.rs.label", "k8s.deployment.label",
}

// split parts text into name and argument.
func split(text string) (name, arg string, bracket bool, err error) {
	if text == "" {
		return "", "", false, &Error{Msg: "empty field name"}
	}
	if i := strings.IndexByte(text, '['); i >= 0 {
		if !strings.HasSuffix(text, "]") {
			return "", "", false, &Error{Text: text, Msg: fmt.Sprintf("%q has no closing bracket", text)}
		}
		if arg = text[i+1 : len(text)-1]; arg == "" {
			return "", "", false, &Error{Text: text, Msg: fmt.Sprintf("%q has nothing between its brackets", text)}
		}
		return text[:i], arg, true, nil
	}
	for _, d := range dotted {
		if rest, ok := strings.CutPrefix(text, d+"."); ok && rest != "" {
			return d, rest, false, nil
		}
	}
	return text, "", false, nil
}

func (r *Ref) setArg(name, arg string, bracket bool) error {
	fail := func(msg string) error {
		return &Error{Text: r.Text, Msg: name + " " + msg, Hint: "write " + example(r.Field)}
	}
	kind := r.Arg
	index := -1
	if n, err := strconv.ParseUint(arg, 10, 31); err == nil && bracket {
		index = int(n)
	}
	switch {
	case kind == ArgNone:
		return &Error{Text: r.Text, Msg: name + " takes no argument", Hint: "write " + name}
	case kind == ArgIndex && index < 0:
		return fail(fmt.Sprintf("takes a number, not %q", arg))
	case kind == ArgIndex || kind == ArgIndexKey && index >= 0:
		if (r.Read.Base == Ancestor || name == "proc.aenv") && index > MaxAncestors {
			return fail(fmt.Sprintf("looks at most %d ancestors up, not %d", MaxAncestors, index))
		}
		r.Index = index
		r.Text = name + "[" + strconv.Itoa(index) + "]"
	case strings.ContainsAny(arg, "[]\x00"):
		return fail(fmt.Sprintf("can't take the argument %q", arg))
	default:
		r.Key = arg
	}
	if r.Field.arg != nil {
		r.Field = r.Field.arg
	}
	if bind, ok := binders[name]; ok {
		return bind(r)
	}
	return nil
}

// binders check an argument against the event table, and set in r.Field what follows from it.
var binders = map[string]func(*Ref) error{
	"evt.arg":     bindParam,
	"evt.rawarg":  bindParam,
	"evt.type.is": bindType,
}

// bindParam makes r's field one that is there only for the event types with that parameter, and of its type when raw.
func bindParam(r *Ref) error {
	f := *r.Field
	if r.Index >= 0 {
		n := r.Index
		most := 0
		for _, t := range event.Types() {
			most = max(most, len(t.Info().Params))
		}
		if n >= most {
			return &Error{Text: r.Text, Msg: fmt.Sprintf("no event has a parameter %d: the most are %d", n, most)}
		}
		r.Field = &f
		f.bind(func(in *event.Info) int {
			if n < len(in.Params) {
				return n
			}
			return -1
		})
		return nil
	}
	name, raw := r.Key, f.Name == "evt.rawarg"
	r.Text = f.Name + "." + name
	found, current := false, false
	var names []string
	for _, t := range event.Types() {
		in := t.Info()
		i := in.ParamIndex(name)
		for _, p := range in.Params {
			names = append(names, p.Name)
		}
		if i < 0 {
			continue
		}
		// Events don't agree on the types of some names: the first of today's events has its way.
		if raw && (!found || t.Current() && !current) {
			f.Type = rawType(in.Params[i].Type)
		}
		found, current = true, current || t.Current()
	}
	if !found {
		e := &Error{Text: r.Text, Msg: fmt.Sprintf("no event has a parameter called %q", name)}
		if n := nearest(name, names); n != "" {
			e.Hint = "did you mean " + f.Name + "." + n + "?"
		}
		return e
	}
	r.Field = &f
	f.bind(func(in *event.Info) int { return in.ParamIndex(name) })
	return nil
}

// bind notes which parameter f is in events of each type.
func (f *Field) bind(number func(*event.Info) int) {
	var table [event.NumTypes]int8
	for t := range table {
		table[t] = int8(number(event.Type(t).Info()))
	}
	f.params = &table
	f.Events = func(t event.Type) bool { return int(t) < len(table) && table[t] >= 0 }
}

func bindType(r *Ref) error {
	for _, t := range event.Types() {
		if t.Info().Name == r.Key {
			return nil
		}
	}
	for _, s := range event.Syscalls() {
		if s.Name == r.Key {
			return nil
		}
	}
	return &Error{Text: r.Text, Msg: fmt.Sprintf("unknown event type %q", r.Key)}
}

// example returns how f is written with an argument.
func example(f *Field) string {
	switch f.Name {
	case "evt.arg", "evt.rawarg":
		return f.Name + ".name"
	case "evt.type.is":
		return f.Name + ".open"
	case "thread.cgroup":
		return f.Name + ".cpu"
	}
	if f.Arg == ArgKey {
		return f.Name + "[NAME]"
	}
	return f.Name + "[1]"
}

func unknown(text, name string) error {
	e := &Error{Text: text, Msg: "unknown field " + strconv.Quote(name)}
	names := make([]string, 0, len(catalogue))
	for _, f := range catalogue {
		names = append(names, f.Name)
	}
	if n := nearest(name, names); n != "" {
		e.Hint = "did you mean " + n + "?"
	} else if class, _, ok := strings.Cut(name, "."); ok {
		for _, f := range catalogue {
			if strings.HasPrefix(f.Name, class+".") {
				e.Hint = "`shikra fields` lists the " + class + ".* fields"
				break
			}
		}
	}
	return e
}

// nearest returns the one of names that is at most a third of its letters away from s; "" for none.
func nearest(s string, names []string) string {
	best, dist := "", len(s)/3+1
	if len(s) > 64 {
		return ""
	}
	for _, n := range names {
		if len(n)-len(s) < dist && len(s)-len(n) < dist {
			if d := spelling.Distance(s, n); d < dist {
				best, dist = n, d
			}
		}
	}
	return best
}
