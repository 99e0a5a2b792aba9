package field

import (
	"strconv"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

// A parameter has two texts: the raw one (a number, a path as given) and often a resolved one (names of flags, what an
// fd is, an absolute path). evt.arg shows the resolved one when there is one, evt.args shows raw(resolved). The texts are
// Falco's (libs 0.25, sinsp_evt::get_param_as_str), but for types it leaves out.

// atFDCWD is the capture format's AT_FDCWD.
const atFDCWD = -100

// dynamic are the encodings of a ParamDyn by its index byte, by the parameter's name (driver/dynamic_params_table.c).
var dynamic = map[string][]event.ParamType{
	"val":       {event.ParamBytebuf, event.ParamErrno, event.ParamUint32, event.ParamUint64, event.ParamReltime}, // setsockopt, getsockopt
	"addr":      {event.ParamUint64, event.ParamSigtype},                                                          // ptrace
	"data":      {event.ParamUint64, event.ParamSigtype},                                                          // ptrace
	"res_or_fd": {event.ParamFd, event.ParamErrno},                                                                // bpf
	"arg2":      {event.ParamInt64, event.ParamCharbuf},                                                           // keyctl
	"arg3":      {event.ParamInt64, event.ParamCharbuf},
	"arg4":      {event.ParamInt64, event.ParamCharbuf},
	"arg5":      {event.ParamInt64, event.ParamCharbuf},
}

// parameter returns parameter i of e: its description, its type (that inside a dynamic one) and bytes; false when it is
// missing or can't be read as its type.
func parameter(e event.Event, i int) (p *event.Param, t event.ParamType, b []byte, ok bool) {
	p = &e.Type().Info().Params[i]
	t = p.Type
	b, ok = e.Param(i)
	if !ok || len(b) == 0 {
		return p, t, nil, false
	}
	if t == event.ParamDyn {
		enc := dynamic[p.Name]
		if int(b[0]) >= len(enc) {
			return p, t, nil, false
		}
		t, b = enc[b[0]], b[1:]
	}
	if n := t.Size(); n != 0 && n != len(b) {
		return p, t, nil, false
	}
	return p, t, b, true
}

// appendParam appends the text of parameter i of e that evt.arg shows.
func (c *Ctx) appendParam(dst []byte, e event.Event, i int) []byte {
	n := len(dst)
	if dst = c.appendResolved(dst, e, i); len(dst) > n {
		return dst
	}
	return c.appendRaw(dst, e, i)
}

// genericArgs is the first parameter of a generic event that evt.args shows. Those before it tell which call it is; those
// from it on are shikra's own, and captures may lack them.
const genericArgs = 2

// appendParams appends all parameters of e as evt.args shows them.
func (c *Ctx) appendParams(dst []byte, e event.Event) []byte {
	first := 0
	if e.Type() == event.GenericX {
		if first = genericArgs; e.NumParams() <= first {
			return dst
		}
		if _, ok := e.Param(first); !ok {
			return dst
		}
	}
	// Parameters of ours at the end are there only when there is something to say.
	for i := first; i < min(len(e.Type().Info().Params), e.NumParams()); i++ {
		if i > first {
			dst = append(dst, ' ')
		}
		dst = append(append(dst, e.Type().Info().Params[i].Name...), '=')
		dst = c.appendRaw(dst, e, i)
		n := len(dst)
		if dst = c.appendResolved(append(dst, '('), e, i); len(dst) > n+1 {
			dst = append(dst, ')')
		} else {
			dst = dst[:n]
		}
	}
	return dst
}

// appendRaw appends the raw text of parameter i of e.
func (c *Ctx) appendRaw(dst []byte, e event.Event, i int) []byte {
	p, t, b, ok := parameter(e, i)
	if !ok {
		switch p.Type {
		case event.ParamBytebuf, event.ParamSocktuple, event.ParamFdlist, event.ParamCharbufarray, event.ParamCharbufpairarray, event.ParamDyn:
			return append(dst, "NULL"...)
		}
		return append(dst, "<NA>"...)
	}
	return c.appendRawValue(dst, e, p, t, b)
}

// appendRawValue appends the raw text of b, a value of type t of e's parameter p.
func (c *Ctx) appendRawValue(dst []byte, e event.Event, p *event.Param, t event.ParamType, b []byte) []byte {
	switch t {
	case event.ParamCharbuf, event.ParamFspath, event.ParamFsrelpath:
		return append(dst, cstring(b)...)
	case event.ParamBytebuf:
		return appendPrintable(dst, b)
	case event.ParamCharbufarray:
		return appendJoined(dst, b, '.')
	case event.ParamCharbufpairarray:
		return appendJoined(dst, b, ',')
	case event.ParamSockaddr:
		return appendSockaddr(dst, b)
	case event.ParamSocktuple:
		return appendSocktuple(dst, b)
	case event.ParamFdlist:
		return c.appendFDList(dst, e, b)
	case event.ParamIpv4addr, event.ParamIpv6addr, event.ParamIpaddr:
		return appendIP(dst, b)
	case event.ParamIpv4net, event.ParamIpv6net, event.ParamIpnet:
		return appendIPNet(dst, b)
	case event.ParamSigset:
		return appendSigset(dst, le.Uint32(b))
	case event.ParamAbstime:
		return c.appendDateZone(dst, int64(le.Uint64(b)))
	case event.ParamReltime:
		if le.Uint64(b) == 1<<64-1 {
			return append(dst, "none"...)
		}
	case event.ParamDouble:
		return appendDouble(dst, b)
	}
	n, ok := t.Int(b)
	if !ok {
		return append(dst, "<NA>"...)
	}
	switch t {
	case event.ParamBool:
		return strconv.AppendBool(dst, n != 0)
	case event.ParamUid, event.ParamGid:
		if uint32(n) == 1<<32-1 {
			return append(dst, "-1"...)
		}
	case event.ParamInt8, event.ParamInt16, event.ParamInt32, event.ParamInt64,
		event.ParamUint8, event.ParamUint16, event.ParamUint32, event.ParamUint64, event.ParamMode:
		return appendNumber(dst, uint64(n), len(b), t.Signed(), p.Format)
	}
	if t.Signed() {
		return strconv.AppendInt(dst, n, 10)
	}
	return strconv.AppendUint(dst, uint64(n), 10)
}

// appendResolved appends the resolved text of parameter i of e, nothing when it has none.
func (c *Ctx) appendResolved(dst []byte, e event.Event, i int) []byte {
	p, t, b, ok := parameter(e, i)
	if !ok {
		return dst
	}
	return c.appendResolvedValue(dst, e, p, t, b)
}

// appendResolvedValue appends the resolved text of b, a value of type t of e's parameter p.
func (c *Ctx) appendResolvedValue(dst []byte, e event.Event, p *event.Param, t event.ParamType, b []byte) []byte {
	switch t {
	case event.ParamFspath, event.ParamFsrelpath:
		return c.appendResolvedPath(dst, e, p, cstring(b))
	case event.ParamReltime:
		if n := le.Uint64(b); n != 1<<64-1 {
			return append(strconv.AppendFloat(dst, float64(n)/1e9, 'g', 6, 64), 's')
		}
		return dst
	}
	n, ok := t.Int(b)
	if !ok {
		return dst
	}
	switch t {
	case event.ParamFd, event.ParamFd32:
		if p.Name == "target_fd" { // pidfd_getfd: another process's
			return dst
		}
		return c.appendFD(dst, e, n)
	case event.ParamPid, event.ParamPid32:
		return c.appendComm(dst, n)
	case event.ParamErrno:
		if n < 0 {
			return append(dst, errnoName(-n)...)
		}
	case event.ParamSyscallid:
		return append(dst, syscallName(n)...)
	case event.ParamSigtype:
		return append(dst, signalName(n)...)
	case event.ParamFlags8, event.ParamFlags16, event.ParamFlags32:
		return appendFlags(dst, p.Table, uint32(n), false)
	case event.ParamMode:
		return appendFlags(dst, p.Table, uint32(n), true)
	case event.ParamEnumflags8, event.ParamEnumflags16, event.ParamEnumflags32:
		return appendEnum(dst, p.Table, uint32(n))
	case event.ParamUid:
		return c.appendID(dst, e, uint32(n), State.UserName)
	case event.ParamGid:
		return c.appendID(dst, e, uint32(n), State.GroupName)
	}
	return dst
}

// appendFlags appends the names of table that n is made of, with "|" between. A name's bits are taken out of n, so that
// those that lie within a larger one before it (O_RDONLY within O_RDWR) aren't named too. In a mode, the name that is n
// itself is always the last.
func appendFlags(dst []byte, table []event.NameValue, n uint32, mode bool) []byte {
	start, whole := len(dst), n
	for i := range table {
		v := table[i].Value
		exact := v == whole
		switch {
		case mode && exact:
		case v == 0 && whole != 0, v != 0 && (n == 0 || n&v != v):
			continue
		}
		if len(dst) > start {
			dst = append(dst, '|')
		}
		dst = append(dst, table[i].Name...)
		n &^= v
		if exact {
			break
		}
	}
	return dst
}

// appendEnum appends the names of n in table; more than one may have the same value.
func appendEnum(dst []byte, table []event.NameValue, n uint32) []byte {
	start := len(dst)
	for i := range table {
		if table[i].Value == n {
			if len(dst) > start {
				dst = append(dst, '|')
			}
			dst = append(dst, table[i].Name...)
		}
	}
	return dst
}

// appendFD appends what fd is in e's process: <f>/etc/passwd, <4t>192.0.2.1:40000->192.0.2.2:443, AT_FDCWD, or the name
// of an error.
func (c *Ctx) appendFD(dst []byte, e event.Event, fd int64) []byte {
	switch {
	case fd == atFDCWD:
		return append(dst, "AT_FDCWD"...)
	case fd < 0:
		return append(dst, errnoName(-fd)...)
	}
	f := c.openFile(e, fd)
	if f == nil {
		return dst
	}
	kind, proto := fileKindChar(f)
	dst = append(dst, '<', kind)
	if proto != 0 {
		dst = append(dst, proto)
	}
	return append(append(dst, '>'), c.fileName(f)...)
}

func (c *Ctx) appendComm(dst []byte, tid int64) []byte {
	if c.State == nil || tid <= 0 {
		return dst
	}
	t := record(c.Arena.Threads, c.State.FindThread(tid))
	if t == nil {
		return dst
	}
	return append(dst, c.threadComm(t)...)
}

// appendID appends the name of a uid or gid.
func (c *Ctx) appendID(dst []byte, e event.Event, id uint32, name func(s State, container, id uint32) []byte) []byte {
	if id == 1<<32-1 {
		return append(dst, "<NONE>"...)
	}
	if c.State != nil && e.Thread() != 0 {
		if n := name(c.State, c.containerSlot(e), id); len(n) > 0 {
			return append(dst, n...)
		}
	}
	return append(dst, "<NA>"...)
}

// appendFDList appends a poll set: fd:kind and the wanted events in hex, with blanks between.
func (c *Ctx) appendFDList(dst []byte, e event.Event, b []byte) []byte {
	for i, n := 0, fdListLen(b); i < n; i++ {
		fd, flags := fdListAt(b, i)
		if i > 0 {
			dst = append(dst, ' ')
		}
		dst = append(strconv.AppendInt(dst, fd, 10), ':')
		if f := c.openFile(e, fd); f != nil {
			kind, _ := fileKindChar(f)
			dst = append(dst, kind)
		} else {
			dst = append(dst, '?')
		}
		dst = strconv.AppendUint(dst, uint64(flags), 16)
	}
	return dst
}

const fdListEntry = 10 // int64 fd, int16 events

// fdListLen returns the entries of an fd list that are whole.
func fdListLen(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	return min(int(le.Uint16(b)), (len(b)-2)/fdListEntry)
}

func fdListAt(b []byte, i int) (fd int64, flags uint16) {
	b = b[2+i*fdListEntry:]
	return int64(le.Uint64(b)), le.Uint16(b[8:])
}

func appendSigset(dst []byte, set uint32) []byte {
	n := len(dst)
	for i := range int64(32) {
		if name := signalName(i + 1); set&(1<<i) != 0 && name != "" {
			if len(dst) > n {
				dst = append(dst, ' ')
			}
			dst = append(dst, name...)
		}
	}
	return dst
}
