// Package need derives from checked rules what of the events they can use, so that the rest need not be captured.
//
// Everything it says is necessary, never sufficient: an event that fulfils none of the conditions of its type matches no
// rule. In doubt a condition is left out.
package need

import (
	"slices"
	"strings"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/field"
	"github.com/shikra-sensor/shikra/sensor/internal/format"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/check"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// Of returns what the rules need of the events with the given types, which are those that the rules can match.
func Of(rules []*check.Rule, types []event.Type) *wasmabi.Needs {
	n := &wasmabi.Needs{}
	calls := map[string]bool{}
	looks := make([]outputs, len(rules))
	for i, r := range rules {
		looks[i] = readOutput(r.Output)
		for _, c := range r.Calls {
			calls[c] = true
		}
	}
	n.Syscalls = generic(calls)
	data := map[event.Type]*ports{}
	byText := map[string]*wasmabi.Condition{}
	var order []string
	for _, t := range types {
		var all alternatives
		files := false
		for i, r := range rules {
			if _, ok := slices.BinarySearch(r.Types, t); !ok {
				continue
			}
			if tellsSensor(t) && len(r.Types) > manyTypes {
				continue // it takes what is made for those who name the event
			}
			d := derivation{t: t}
			alts := d.of(r.Cond, false)
			if len(alts) == 0 {
				continue // for this type it never holds
			}
			all = all.or(alts)
			use := uses(r, t)
			use.add(&looks[i], t)
			files = files || use.others || use.own && !alts.allOnSockets()
			if use.data {
				p := data[t]
				if p == nil {
					p = &ports{}
					data[t] = p
				}
				for _, a := range alts {
					p.add(a.ports)
				}
			}
		}
		if files {
			n.Files = append(n.Files, uint16(t))
		}
		if all.any() {
			continue
		}
		for _, a := range all {
			c := a.condition()
			key := describe(&c)
			if have := byText[key]; have != nil {
				have.Events = append(have.Events, uint16(t))
				continue
			}
			c.Events = []uint16{uint16(t)}
			byText[key] = &c
			order = append(order, key)
		}
	}
	for _, key := range order {
		n.Conditions = append(n.Conditions, *byText[key])
	}
	n.Payload = payload(types, data)
	return n
}

// manyTypes is how many types a rule must have to be thought to take what comes.
const manyTypes = 100

// generic returns the names in order; "*" when they are all there are.
func generic(names map[string]bool) []string {
	var out []string
	all := true
	for _, c := range event.Syscalls() {
		if c.Exit != event.GenericX {
			continue
		}
		if names[c.Name] {
			out = append(out, c.Name)
		} else {
			all = false
		}
	}
	if all {
		return []string{"*"}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// ports is a set of ports that is all of them once something that names none has been added.
type ports struct {
	list []uint16
	all  bool
}

func (p *ports) add(list []uint16) {
	p.all = p.all || list == nil
	p.list = append(p.list, list...)
}

// payload groups the types by the ports for which their data is needed.
func payload(types []event.Type, data map[event.Type]*ports) []wasmabi.Payload {
	var out []wasmabi.Payload
	for _, t := range types {
		p := data[t]
		if p == nil {
			continue
		}
		var list []uint16
		if !p.all {
			slices.Sort(p.list)
			list = slices.Compact(p.list)
		}
		i := slices.IndexFunc(out, func(o wasmabi.Payload) bool { return slices.Equal(o.Ports, list) })
		if i < 0 {
			out = append(out, wasmabi.Payload{Ports: list})
			i = len(out) - 1
		}
		out[i].Events = append(out[i].Events, uint16(t))
	}
	return out
}

// use says what fields look at beyond the event's own words: the call's data, the file it acts on (own), and other files of the
// process, which are there whatever the event's own file is.
type use struct{ data, own, others bool }

// outputs are the fields of an output, and whether they could be read.
type outputs struct {
	refs []field.Ref
	bad  bool
}

func readOutput(text string) outputs {
	f, err := format.Parse(text)
	if err != nil { // checked before; whoever checked otherwise needs everything
		return outputs{bad: true}
	}
	return outputs{refs: f.Refs()}
}

func (u *use) add(o *outputs, t event.Type) {
	if o.bad {
		*u = use{true, true, true}
	}
	for i := range o.refs {
		u.field(&o.refs[i], t)
	}
}

// uses returns what the condition of r looks at in events of type t, but for parts of it that can't hold for them.
func uses(r *check.Rule, t event.Type) (u use) {
	d := derivation{t: t}
	var walk func(c check.Cond, negated bool)
	walk = func(c check.Cond, negated bool) {
		if len(d.of(c, negated)) == 0 {
			return
		}
		switch c := c.(type) {
		case check.And:
			for _, x := range c {
				walk(x, negated)
			}
		case check.Or:
			for _, x := range c {
				walk(x, negated)
			}
		case *check.Not:
			walk(c.X, !negated)
		case *check.Test:
			u.field(&c.Field, t)
		}
	}
	walk(r.Cond, false)
	return u
}

// field adds what r looks at.
func (u *use) field(r *field.Ref, t event.Type) {
	if r.Field == nil || r.Events != nil && !r.Events(t) {
		return
	}
	in := t.Info()
	switch {
	case r.Name == "evt.buffer":
		u.data = true
	case r.Name == "evt.args" || r.Name == "evt.info":
		u.data = u.data || slices.ContainsFunc(in.Params, isData)
		u.others = u.others || namesFiles(t)
	case r.Name == "evt.arg" || r.Name == "evt.rawarg":
		for i := range in.Params {
			p := &in.Params[i]
			if r.Key != p.Name && !(r.Key == "" && r.Index == i) {
				continue
			}
			u.data = u.data || isData(*p)
			u.others = u.others || r.Name == "evt.arg" && (namesFile(t, p) || p.Type == event.ParamFdlist)
		}
	case strings.HasPrefix(r.Name, "evt.targets_"): // the sensor's files, also by fds; processes are told by the kernel
		u.own = u.own || in.Category == event.CatFile && namesFiles(t)
	case r.Class() == "fdlist" || strings.HasPrefix(r.Name, "proc.fd") && r.Name != "proc.fdlimit" || r.Name == "fd.types":
		u.others = true
	case r.Class() == "fd" || r.Class() == "fs.path" || r.Name == "evt.buflen" || r.Name == "evt.category" ||
		strings.HasPrefix(r.Name, "evt.abspath") || strings.HasPrefix(r.Name, "evt.is_syslog") || strings.HasPrefix(r.Name, "evt.count.error"):
		u.own = u.own || !tellsOfItsFile(t)
		if r.Class() == "fs.path" || strings.HasPrefix(r.Name, "evt.abspath") {
			u.own = u.own || namesFiles(t) // an empty path is that of the fd
		}
	}
}

func isData(p event.Param) bool { return p.Type == event.ParamBytebuf && p.Name == "data" }

// namesFile reports whether p, of events of type t, is an fd whose file an open may have made that the event doesn't tell of:
// its text is followed by the file's name. Directories are always known, and so is the pidfd that clone made.
func namesFile(t event.Type, p *event.Param) bool {
	return (p.Type == event.ParamFd || p.Type == event.ParamFd32) && !t.TellsFiles() && !isDir(t, p) && p.Name != "pidfd"
}

// isDir reports whether p, an fd of events of type t, is a directory's if the call succeeds. Other calls with such a parameter
// act on what the fd itself is when their path is empty (AT_EMPTY_PATH and its like).
func isDir(t event.Type, p *event.Param) bool {
	if !strings.Contains(p.Name, "dir") {
		return false
	}
	switch t {
	case event.SyscallOpenatV2X, event.SyscallOpenat2X, event.SyscallMkdiratX, event.SyscallMknodatX, event.SyscallUnlinkatV2X,
		event.SyscallRenameatX, event.SyscallRenameat2X, event.SyscallSymlinkatX, event.SyscallFchmodatX:
		return true
	}
	return false
}

func namesFiles(t event.Type) bool {
	for i := range t.Info().Params {
		if p := &t.Info().Params[i]; namesFile(t, p) && !(i == 0 && tellsOfItsFile(t)) || p.Type == event.ParamFdlist {
			return true
		}
	}
	return false
}

// tellsOfItsFile reports whether the file an event acts on is made of the event's own parameters, or the event acts on
// none: what is known of files that were opened before adds nothing, but for directories, which are always known.
func tellsOfItsFile(t event.Type) bool {
	switch t {
	case event.SyscallOpenX, event.SyscallOpenatV2X, event.SyscallOpenat2X, event.SyscallCreatX, event.SyscallOpenByHandleAtX, event.SyscallFchdirX:
		return true
	}
	in := t.Info()
	if t.TellsFiles() || in.Flags&(event.FlagUsesFd|event.FlagDestroysFd) == 0 {
		return true
	}
	for i := range in.Params {
		if namesFile(t, &in.Params[i]) {
			return false
		}
	}
	return slices.ContainsFunc(in.Params, func(p event.Param) bool { return p.Relative })
}
