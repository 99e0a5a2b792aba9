// Package explain says what a checked rule needs and does: its event types and system calls, the fields it reads and how,
// and its condition with everything expanded.
package explain

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/field"
	"github.com/shikra-sensor/shikra/sensor/internal/format"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/check"
)

// Rule is the explanation of one rule.
type Rule struct {
	Name      string   `json:"name"`
	Place     string   `json:"place"`
	Priority  string   `json:"priority"`
	Source    string   `json:"source"`
	Tags      []string `json:"tags"`
	Desc      string   `json:"desc"`
	Output    string   `json:"output"`
	AnyType   bool     `json:"any_type"`    // nothing restricts it: it is judged for every event
	Types     []string `json:"event_types"` // names, each once
	Syscalls  []string `json:"syscalls"`
	Heavy     []string `json:"heavy"` // of Syscalls, those that aren't captured unless base_syscalls.all or -A says so
	Fields    []Field  `json:"fields"`
	Condition string   `json:"condition"` // macros and lists expanded, not only before tests
}

// Field is a field that the rule reads.
type Field struct {
	Name   string   `json:"name"`
	Type   string   `json:"type"`
	Read   string   `json:"read"` // "event", "thread", "file" …: loaded from that record; "computed": a column made for each event
	Used   []string `json:"used"` // "condition", "output"
	Either []string `json:"either,omitempty"`
}

// Explain explains r.
func Explain(r *check.Rule) *Rule {
	x := &Rule{
		Name: r.Name, Place: r.Pos.String(), Priority: r.Priority, Source: r.Source, Tags: append([]string{}, r.Tags...), Desc: r.Desc,
		Output: r.Output, Types: []string{}, Syscalls: []string{}, Fields: []Field{}, Condition: Condition(r.Cond),
	}
	x.AnyType = len(r.Types) == len(check.AllTypes())
	for _, t := range r.Types {
		if n := t.Info().Name; !slices.Contains(x.Types, n) {
			x.Types = append(x.Types, n)
		}
	}
	calls, asked := syscalls(r)
	x.Syscalls = append(x.Syscalls, calls...)
	x.Heavy = []string{}
	for _, c := range event.Syscalls() {
		if c.Exit.HeavyIO() && slices.Contains(calls, c.Name) {
			x.Heavy = append(x.Heavy, c.Name)
		}
	}
	slices.Sort(x.Heavy)
	if len(asked) > 0 { // the event they share has no name of its own
		x.Types = append(slices.DeleteFunc(x.Types, func(n string) bool { return n == "syscall" }), asked...)
	}
	slices.Sort(x.Types)
	walk(r.Cond, func(t *check.Test) { x.use(&t.Field, "condition") })
	if f, err := format.Parse(r.Output); err == nil {
		for _, ref := range f.Refs() {
			x.use(&ref, "output")
		}
	}
	slices.SortFunc(x.Fields, func(a, b Field) int { return strings.Compare(a.Name, b.Name) })
	return x
}

// use notes that ref is read for a purpose.
func (x *Rule) use(ref *field.Ref, purpose string) {
	i := slices.IndexFunc(x.Fields, func(f Field) bool { return f.Name == ref.Text })
	if i < 0 {
		x.Fields = append(x.Fields, Field{Name: ref.Text, Type: typeName(ref.Field), Read: readName(ref), Either: ref.Either})
		i = len(x.Fields) - 1
	}
	if !slices.Contains(x.Fields[i].Used, purpose) {
		x.Fields[i].Used = append(x.Fields[i].Used, purpose)
	}
}

func typeName(f *field.Field) string {
	names := [...]string{field.String: "string", field.Int: "int", field.Uint: "uint", field.Bool: "bool", field.IP: "ip", field.IPNet: "ipnet",
		field.Port: "port", field.Bytes: "bytes", field.RelTime: "duration", field.AbsTime: "time"}
	n := "unknown"
	if int(f.Type) < len(names) {
		n = names[f.Type]
	}
	if f.List {
		return "list of " + n
	}
	return n
}

func readName(r *field.Ref) string {
	switch r.Read.Base {
	case field.Event:
		return "event"
	case field.Thread:
		return "thread"
	case field.Leader:
		return "process"
	case field.Parent:
		return "parent"
	case field.Ancestor:
		if r.Any() {
			return "any ancestor"
		}
		return "ancestor"
	case field.File:
		return "file"
	case field.Container:
		return "container"
	}
	if r.Either != nil {
		return "either"
	}
	return "computed"
}

// walk calls fn for every test of c.
func walk(c check.Cond, fn func(*check.Test)) {
	switch c := c.(type) {
	case check.And:
		for _, x := range c {
			walk(x, fn)
		}
	case check.Or:
		for _, x := range c {
			walk(x, fn)
		}
	case *check.Not:
		walk(c.X, fn)
	case *check.Test:
		fn(c)
	}
}

// syscalls returns the system calls whose events the rule can match, and those of them whose event is the generic one and
// which the rule doesn't take all together.
func syscalls(r *check.Rule) (all, asked []string) {
	generic := 0
	for _, c := range event.Syscalls() {
		if c.Exit == event.GenericX {
			generic++
		} else if _, ok := slices.BinarySearch(r.Types, c.Exit); ok {
			all = append(all, c.Name)
		}
	}
	all = append(all, r.Calls...)
	slices.Sort(all)
	if len(r.Calls) < generic {
		asked = r.Calls
	}
	return slices.Compact(all), asked
}

// width is where WriteText breaks lists of words, in bytes.
const width = 100

// WriteText writes x for people to read.
func (x *Rule) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", x.Name)
	line := func(key, text string) { fmt.Fprintf(&b, "  %-11s %s\n", key, text) }
	words := func(key string, list []string) {
		cur := ""
		for _, s := range list {
			if cur != "" && len(cur)+len(s) > width {
				line(key, cur)
				key, cur = "", ""
			}
			if cur != "" {
				cur += " "
			}
			cur += s
		}
		line(key, cur)
	}
	line("place", x.Place)
	line("priority", x.Priority)
	if len(x.Tags) > 0 {
		words("tags", x.Tags)
	}
	switch {
	case x.AnyType:
		line("events", "all")
		line("syscalls", "all")
	case len(x.Types) == 0:
		line("events", "none: the rule never matches")
	default:
		words("events", x.Types)
		words("syscalls", x.Syscalls)
		if len(x.Heavy) > 0 {
			words("not live", append(slices.Clip(x.Heavy), "(heavy input and output: only with -A or base_syscalls.all)"))
		}
	}
	for i, f := range x.Fields {
		key := ""
		if i == 0 {
			key = "fields"
		}
		read := f.Read
		if len(f.Either) > 0 {
			read += " of " + strings.Join(f.Either, " and ")
		}
		line(key, fmt.Sprintf("%-24s %-14s %s (%s)", f.Name, f.Type, read, strings.Join(f.Used, ", ")))
	}
	line("condition", x.Condition)
	line("output", x.Output)
	_, err := io.WriteString(w, b.String()+"\n")
	return err
}
