package need

import (
	"slices"
	"strings"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/check"
)

// derivation reads conditions for one event type.
type derivation struct{ t event.Type }

// of returns the ways in which c can hold, or can fail to when negated is set.
func (d *derivation) of(c check.Cond, negated bool) alternatives {
	switch c := c.(type) {
	case check.And:
		return d.list(c, !negated, negated)
	case check.Or:
		return d.list(c, negated, negated)
	case *check.Not:
		return d.of(c.X, !negated)
	case check.Bool:
		if bool(c) == negated {
			return nil
		}
	case *check.Test:
		return d.test(c, negated)
	}
	return always()
}

func (d *derivation) list(parts []check.Cond, and, negated bool) alternatives {
	out := d.of(parts[0], negated)
	for _, p := range parts[1:] {
		if and {
			out = out.and(d.of(p, negated))
		} else {
			out = out.or(d.of(p, negated))
		}
	}
	return out
}

// test reads a leaf. A missing value makes every test false, so that of negated ones only those whose field always has a
// value say something.
func (d *derivation) test(t *check.Test, negated bool) alternatives {
	f := &t.Field
	if f.Field == nil {
		return always()
	}
	if f.Events != nil && !f.Events(d.t) { // it has no value
		if negated {
			return always()
		}
		return nil
	}
	switch f.Name {
	case "evt.type", "syscall.type":
		return d.typed(t, negated)
	case "evt.failed":
		return results(boolResult(t, negated, failure, success))
	case "evt.is_open_read", "evt.is_open_write", "evt.is_open_create", "evt.is_open_exec", "evt.is_open_truncate":
		return d.opened(t, negated)
	case "evt.targets_sensor":
		const yes, no = 1, 2
		return alternatives{{result: either, sensor: tellsSensor(d.t) && boolResult(t, negated, yes, no) == yes}}
	}
	if negated {
		return always()
	}
	switch f.Name {
	case "evt.rawres":
		return results(numberResult(t))
	case "evt.res":
		return results(textResult(t))
	case "fd.num":
		if opens(d.t) {
			return results(numberResult(t)) // -1 when it failed, else the result
		}
	case "fd.name", "fs.path.name", "evt.abspath":
		return d.path(t, 0)
	case "fd.directory":
		return d.path(t, 1)
	case "evt.arg", "evt.rawarg":
		if i := pathParam(d.t); i >= 0 && (f.Key == d.t.Info().Params[i].Name || f.Key == "" && f.Index == i) {
			return d.path(t, 0)
		}
	case "fd.port", "fd.sport", "fd.cport", "fd.lport", "fd.rport":
		return portTest(t)
	}
	return d.kind(t)
}

// tellsSensor reports whether the kernel knows of events of type t whether they act on the sensor, before they are made.
func tellsSensor(t event.Type) bool {
	return t >= event.OwnType && t.Info().ParamIndex("sensor") >= 0
}

func results(r uint8) alternatives {
	if r == 0 {
		return nil
	}
	return alternatives{{result: r}}
}

// boolResult returns the outcomes for which a test on a bool holds, whose value is true for yes and false for no.
func boolResult(t *check.Test, negated bool, yes, no uint8) (r uint8) {
	switch t.Op {
	case check.Exists:
		r = yes | no
	case check.Eq, check.In, check.Ne:
		for _, v := range t.Values {
			if (v.Int != 0) == (t.Op != check.Ne) {
				r |= yes
			} else {
				r |= no
			}
		}
	default:
		return yes | no
	}
	if negated {
		r = (yes | no) &^ r
	}
	return r
}

// numberResult returns the outcomes for which a test on the signed result holds.
func numberResult(t *check.Test) (r uint8) {
	for _, v := range t.Values {
		n := int64(v.Int)
		switch t.Op {
		case check.Eq, check.In:
			if n < 0 {
				r |= failure
			} else {
				r |= success
			}
		case check.Lt:
			if r |= failure; n > 0 {
				r |= success
			}
		case check.Le:
			if r |= failure; n >= 0 {
				r |= success
			}
		case check.Gt:
			if r |= success; n < -1 {
				r |= failure
			}
		case check.Ge:
			if r |= success; n < 0 {
				r |= failure
			}
		default:
			return either
		}
	}
	if t.Op == check.Exists {
		return either
	}
	return r
}

// textResult returns the outcomes for which a test on evt.res holds.
func textResult(t *check.Test) (r uint8) {
	if t.Op != check.Eq && t.Op != check.In {
		return either
	}
	for _, v := range t.Values {
		switch s := string(v.Bytes); {
		case s == "SUCCESS":
			r |= success
		case strings.HasPrefix(s, "E"):
			r |= failure
		default:
			return either
		}
	}
	return r
}

// typed decides a test on the event's name, which is known but for events that stand for several.
func (d *derivation) typed(t *check.Test, negated bool) alternatives {
	if d.t == event.GenericX || d.t == event.AsynceventE || t.Field.Name == "syscall.type" && d.t.Info().Origin != event.OriginSyscall {
		return always()
	}
	name := d.t.Info().Name
	has := slices.ContainsFunc(t.Values, func(v check.Const) bool { return string(v.Bytes) == name })
	holds := has
	switch t.Op {
	case check.Exists:
		holds = true
	case check.Eq, check.In:
	case check.Ne:
		holds = !has
	default:
		return always()
	}
	if holds == negated {
		return nil
	}
	return always()
}

// opened reads a test on evt.is_open_*.
func (d *derivation) opened(t *check.Test, negated bool) alternatives {
	const yes, no = 1, 2
	if !opens(d.t) && d.t != event.SyscallOpenByHandleAtX {
		if boolResult(t, negated, yes, no)&no == 0 {
			return nil // these are false for other calls
		}
		return always()
	}
	if boolResult(t, negated, yes, no) != yes || d.t == event.SyscallCreatX || d.t == event.SyscallOpenByHandleAtX {
		return always()
	}
	a := alternative{result: either}
	switch t.Field.Name {
	case "evt.is_open_read":
		a.open = openRead
	case "evt.is_open_write", "evt.is_open_truncate": // the kernel's filter takes one for the other
		a.open = openWrite
	case "evt.is_open_create": // the file was made
		a.open, a.result = openCreate, success
	case "evt.is_open_exec": // asked for a file to be made that may be executed
		a.open = openCreate
	}
	return alternatives{a}
}

// opens reports whether the path of an event of type t is that of the file it opens, as the program gave it.
func opens(t event.Type) bool {
	switch t {
	case event.SyscallOpenX, event.SyscallOpenatV2X, event.SyscallOpenat2X, event.SyscallCreatX:
		return true
	}
	return false
}

// pathParam returns the number of the only parameter of t that is a path; -1 when there is none or more than one.
func pathParam(t event.Type) int {
	at := -1
	for i, p := range t.Info().Params {
		if p.Type == event.ParamFspath || p.Type == event.ParamFsrelpath {
			if at >= 0 {
				return -1
			}
			at = i
		}
	}
	return at
}

// path reads a test on the event's path, or on what comes before the last slash of it when cut is 1.
func (d *derivation) path(t *check.Test, cut int) alternatives {
	class := t.Field.Class()
	if pathParam(d.t) < 0 || class == "fd" && !opens(d.t) {
		return d.kind(t)
	}
	a := alternative{result: either, paths: []path{}}
	for _, v := range t.Values {
		s := string(v.Bytes)
		p := path{text: s, exact: true}
		if unplain(t.Op, s) {
			continue
		}
		switch t.Op {
		case check.Eq, check.In:
			// The directory of a directory is its own path, so that this is a prefix without the slash.
			p.exact = cut == 0
		case check.StartsWith:
			p.exact = false
		case check.PMatch:
			p = path{text: strings.TrimRight(literal(s), "/")}
		case check.Glob:
			p = path{text: literal(s)}
		default:
			return always()
		}
		if cut == 1 && s == "/" {
			p.text = ""
		}
		if p.text == "" || p.text == "/" && !p.exact {
			return always()
		}
		if p.text[0] == '/' { // no absolute path is anything else
			a.paths = append(a.paths, p)
		}
	}
	if t.Op == check.Exists {
		return always()
	}
	a.paths = tidy(a.paths)
	return alternatives{a}
}

// unplain reports whether only paths that conditions aren't on fit s, those with a component that is empty or begins with a dot
// (wasmabi.Paths): they are kept whatever conditions say.
func unplain(op check.Op, s string) bool {
	switch op {
	case check.Eq, check.In, check.StartsWith, check.EndsWith, check.Contains, check.IContains:
	case check.Glob, check.IGlob:
		if strings.ContainsAny(s, `[\`) { // what stands there may be one of several
			return false
		}
	default:
		return false
	}
	return strings.Contains(s, "/.") || strings.Contains(s, "//")
}

// literal returns what of a pattern comes before its first special byte.
func literal(s string) string {
	if i := strings.IndexAny(s, `*?[\`); i >= 0 {
		return s[:i]
	}
	return s
}

func portTest(t *check.Test) alternatives {
	a := alternative{result: either, sockets: true}
	if t.Op == check.Eq || t.Op == check.In {
		for _, v := range t.Values {
			a.ports = append(a.ports, uint16(v.Int))
		}
		slices.Sort(a.ports)
		a.ports = slices.Compact(a.ports)
	}
	return alternatives{a}
}

// kind says whether a test that holds means that the fd is a socket, or that an open succeeded.
func (d *derivation) kind(t *check.Test) alternatives {
	a := alternative{result: either}
	switch t.Field.Name {
	case "fd.type", "fd.typechar":
		sockets := t.Op == check.Eq || t.Op == check.In
		for _, v := range t.Values {
			switch string(v.Bytes) {
			case "ipv4", "ipv6", "unix", "4", "6", "u":
			default:
				sockets = false
			}
		}
		a.sockets = sockets && len(t.Values) > 0
		if t.Field.Name == "fd.typechar" && opens(d.t) {
			a.result = success // a failed open has a name and no kind
		}
	case "fd.sockfamily", "fd.connected", "fd.is_server", "fd.ip", "fd.cip", "fd.sip", "fd.lip", "fd.rip", "fd.net", "fd.cnet", "fd.snet", "fd.lnet", "fd.rnet":
		a.sockets = t.Field.Name != "fd.connected" && t.Field.Name != "fd.is_server" || t.Op == check.Eq && t.Values[0].Int == 1
	}
	return alternatives{a}
}
