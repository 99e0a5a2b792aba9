package field

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

// listed is a field as List writes it in JSON.
type listed struct {
	Name     string   `json:"name"`
	Class    string   `json:"class"`
	Type     string   `json:"type"`
	List     bool     `json:"list,omitempty"`
	Arg      string   `json:"arg,omitempty"` // "index", "key" or "index or key"
	Optional bool     `json:"arg_optional,omitempty"`
	Direct   bool     `json:"direct"`           // read from shared memory; else extracted into a column
	Events   []string `json:"events,omitempty"` // names of the events that can have a value; absent for all
	Doc      string   `json:"doc"`
}

var argNames = [...]string{"", "index", "key", "index or key"}

// List writes the catalogue to w, as text by class or as a JSON array by name.
func List(w io.Writer, asJSON bool) error {
	if asJSON {
		var out []listed
		for _, f := range catalogue {
			out = append(out, listed{
				Name: f.Name, Class: f.class, Type: f.typeName(), List: f.List, Arg: argNames[f.Arg], Optional: f.Optional,
				Direct: f.Direct(), Events: f.eventNames(), Doc: f.Doc,
			})
		}
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(out)
	}
	b := bufio.NewWriter(w)
	for i, class := range []string{"evt", "process", "fd", "fs.path", "fdlist", "user", "group", "container"} {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(b, "%s\n", class)
		for _, f := range catalogue {
			if f.class == class {
				typ := f.typeName()
				if f.List {
					typ += "[]"
				}
				fmt.Fprintf(b, "  %-39s %-8s %s\n", f.Usage(), typ, f.Doc)
			}
		}
	}
	return b.Flush()
}

// Usage returns f's name with the place of its argument: evt.rawarg.NAME, container.mount.dest[NAME|N], and in parentheses
// what may be left out, proc.aname([N]).
func (f *Field) Usage() string {
	if f.Arg == ArgNone {
		return f.Name
	}
	arg := "[N]"
	switch {
	case f.Name == "evt.arg":
		arg = ".NAME|[N]"
	case f.Name == "evt.rawarg", f.Name == "evt.type.is", f.Name == "thread.cgroup":
		arg = ".NAME"
	case f.Arg == ArgKey:
		arg = "[NAME]"
	case f.Arg == ArgIndexKey:
		arg = "[NAME|N]"
	}
	if f.Optional {
		arg = "(" + arg + ")"
	}
	return f.Name + arg
}

// typeName returns the type as List writes it: evt.rawarg's is its parameter's.
func (f *Field) typeName() string {
	if f.Name == "evt.rawarg" {
		return "any"
	}
	return f.Type.String()
}

func (f *Field) eventNames() []string {
	if f.Events == nil {
		return nil
	}
	var out []string
	seen := map[string]bool{}
	for _, t := range event.Types() {
		if name := t.Info().Name; t.Current() && f.Events(t) && !seen[name] {
			seen[name] = true
			out = append(out, name)
		}
	}
	return out
}
