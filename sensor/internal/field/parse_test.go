package field

import (
	"errors"
	"strings"
	"testing"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		text, norm, name, key string
		index                 int
	}{
		{"proc.name", "proc.name", "proc.name", "", -1},
		{"proc.aname", "proc.aname", "proc.aname", "", -1},
		{"proc.aname[2]", "proc.aname[2]", "proc.aname", "", 2},
		{"proc.aname[02]", "proc.aname[2]", "proc.aname", "", 2},
		{"proc.args[0]", "proc.args[0]", "proc.args", "", 0},
		{"proc.env[HOME]", "proc.env[HOME]", "proc.env", "HOME", -1},
		{"proc.aenv[3]", "proc.aenv[3]", "proc.aenv", "", 3},
		{"evt.arg.flags", "evt.arg.flags", "evt.arg", "flags", -1},
		{"evt.arg[flags]", "evt.arg.flags", "evt.arg", "flags", -1},
		{"evt.arg[0]", "evt.arg[0]", "evt.arg", "", 0},
		{"evt.rawarg.fd", "evt.rawarg.fd", "evt.rawarg", "fd", -1},
		{"evt.args", "evt.args", "evt.args", "", -1},
		{"evt.type.is.open", "evt.type.is.open", "evt.type.is", "open", -1},
		{"thread.cgroup.cpu", "thread.cgroup.cpu", "thread.cgroup", "cpu", -1},
		{"thread.cgroups", "thread.cgroups", "thread.cgroups", "", -1},
		{"container.mount.dest[/proc*]", "container.mount.dest[/proc*]", "container.mount.dest", "/proc*", -1},
		{"container.mount.dest[1]", "container.mount.dest[1]", "container.mount.dest", "", 1},
		{"fd.types[1]", "fd.types[1]", "fd.types", "", 1},
	} {
		r, err := Parse(tt.text)
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		if r.Text != tt.norm || r.Name != tt.name || r.Key != tt.key || r.Index != tt.index {
			t.Errorf("%s: %q %s[%s][%d]", tt.text, r.Text, r.Name, r.Key, r.Index)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"", "empty field name"},
		{"proc.nmae", `unknown field "proc.nmae": did you mean proc.name?`},
		{"Proc.Name", `unknown field "Proc.Name": did you mean proc.name?`},
		{"proc.somethingquitedifferent", "unknown field \"proc.somethingquitedifferent\": `shikra fields` lists the proc.* fields"},
		{"nothing", `unknown field "nothing"`},
		{"proc.name[1]", "proc.name takes no argument: write proc.name"},
		{"proc.aname[x]", `proc.aname takes a number, not "x": write proc.aname[1]`},
		{"proc.aname[-1]", `proc.aname takes a number, not "-1": write proc.aname[1]`},
		{"proc.aname[999]", "proc.aname looks at most 128 ancestors up, not 999: write proc.aname[1]"},
		{"proc.aname[99999999999]", `proc.aname takes a number, not "99999999999": write proc.aname[1]`},
		{"proc.aname[", `"proc.aname[" has no closing bracket`},
		{"proc.aname[]", `"proc.aname[]" has nothing between its brackets`},
		{"proc.aname[1]x", `"proc.aname[1]x" has no closing bracket`},
		{"proc.env[a]]", `proc.env can't take the argument "a]": write proc.env[NAME]`},
		{"evt.arg", "evt.arg needs an argument: write evt.arg.name"},
		{"evt.arg.", `unknown field "evt.arg.": did you mean evt.arg?`},
		{"evt.arg.flgas", `no event has a parameter called "flgas": did you mean evt.arg.flags?`},
		{"evt.arg[99]", "no event has a parameter 99"},
		{"evt.rawarg[0]", `no event has a parameter called "0"`},
		{"evt.type.is.opne", `unknown event type "opne"`},
		{"proc.aenv", "proc.aenv needs an argument"},
		{strings.Repeat("a", 300), "field name of 300 bytes: at most 256"},
	} {
		r, err := Parse(tt.text)
		var e *Error
		if !errors.As(err, &e) || !strings.HasPrefix(err.Error(), tt.want) || r.Field != nil {
			t.Errorf("%q: %v, want %s", tt.text, err, tt.want)
		}
	}
}

// A parameter's field is of the parameter's type and there for the events that have it.
func TestBoundParams(t *testing.T) {
	for _, tt := range []struct {
		text string
		typ  Type
	}{
		{"evt.rawarg.fd", Int}, {"evt.rawarg.res", Int}, {"evt.rawarg.flags", Uint}, {"evt.rawarg.name", String}, {"evt.rawarg.data", Bytes},
		{"evt.rawarg.size", Uint}, {"evt.rawarg.uid", Uint}, {"evt.rawarg.tuple", Bytes}, {"evt.rawarg.addr", Bytes}, {"evt.arg.fd", String},
	} {
		if r := ref(t, tt.text); r.Type != tt.typ {
			t.Errorf("%s is %s, want %s", tt.text, r.Type, tt.typ)
		}
	}
	r := ref(t, "evt.arg.request")
	if !r.Events(event.SyscallPtraceX) || r.Events(event.SyscallOpenatV2X) {
		t.Error("evt.arg.request is there for the wrong events")
	}
	r = ref(t, "evt.arg[3]")
	if !r.Events(event.SyscallOpenatV2X) || r.Events(event.SyscallCloseX) {
		t.Error("evt.arg[3] is there for the wrong events")
	}
	if Lookup("evt.arg").Events != nil {
		t.Error("Parse changed the catalogue")
	}
}

func FuzzParse(f *testing.F) {
	for _, x := range All() {
		f.Add(x.Name)
		f.Add(x.Name + "[1]")
		f.Add(x.Name + ".x")
	}
	w := newWorld(f)
	e := w.simple(f, event.SyscallCloseX, 0, 300, 3)
	f.Fuzz(func(t *testing.T, text string) {
		r, err := Parse(text)
		if (err == nil) != (r.Field != nil) {
			t.Fatalf("%q: field %v, error %v", text, r.Field, err)
		}
		if err != nil {
			if err.Error() == "" {
				t.Fatalf("%q: empty error", text)
			}
			return
		}
		again, err := Parse(r.Text)
		if err != nil || again.Text != r.Text || again.Key != r.Key || again.Index != r.Index || again.Name != r.Name {
			t.Fatalf("%q is %q, which is %q, %v", text, r.Text, again.Text, err)
		}
		r.AppendText(w.c, e, nil)
	})
}
