package field

import (
	"bytes"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// evtArgFields are the fields of an event's parameters.
func evtArgFields() []*Field {
	abspath := func(name, doc string, second bool) *Field {
		f := computed(name, String, doc, func(c *Ctx, e event.Event, _ *Ref, v *Value) { c.computeAbspath(e, second, v) })
		f.Events = func(t event.Type) bool { return abspathParam(t, second) >= 0 }
		return f
	}
	return []*Field{
		computed("evt.args", String, "All parameters of the event, as name=value with blanks between; what a number means follows in parentheses.", computeArgs),
		computed("evt.info", String, "The same as evt.args.", computeArgs),
		{
			Name: "evt.arg", Type: String, Arg: ArgIndexKey, Compute: computeArg,
			Doc: "Parameter of the event by name or number, as text: evt.arg.flags, evt.arg[0]. Flags, errors, users and fds are given by name. A call without parameters of its own has nr, its number, and arg0 to arg5, its raw arguments in hexadecimal. An event without a value for a parameter it has gives the text <NA> or NULL.",
		},
		{
			Name: "evt.rawarg", Type: Int, Arg: ArgKey, Compute: computeRawArg,
			Doc: "Parameter of the event by name, in its own type: evt.rawarg.fd.",
		},
		{
			Name: "evt.buffer", Type: Bytes, Compute: computeBuffer,
			Doc:    "Bytes that the call read or wrote, as many as the sensor keeps.",
			Events: func(t event.Type) bool { return dataParam(t) >= 0 },
		},
		{
			Name: "evt.buflen", Type: Uint, Compute: computeBuflen,
			Doc:    "How many bytes the call read or wrote.",
			Events: func(t event.Type) bool { return isIO(t.Info().Category) },
		},
		abspath("evt.abspath", "Absolute path that a call like openat, renameat or unlinkat names by a directory and a path; the first of two.", false),
		abspath("evt.abspath.src", "Absolute form of the first path of a call like renameat or linkat.", false),
		abspath("evt.abspath.dst", "Absolute form of the second path of a call like renameat or linkat.", true),
	}
}

func computeArgs(c *Ctx, e event.Event, _ *Ref, v *Value) {
	c.Buf = c.appendParams(c.Buf[:0], e)
	v.setBytes(c.Buf)
}

// param returns the number of the parameter that r names; -1 when events of type t don't have it.
func (r *Ref) param(t event.Type) int {
	if int(t) < len(r.params) {
		return int(r.params[t])
	}
	return -1
}

func computeArg(c *Ctx, e event.Event, r *Ref, v *Value) {
	if i := r.param(e.Type()); i >= 0 {
		c.Buf = c.appendParam(c.Buf[:0], e, i)
		v.setBytes(c.Buf)
	}
}

// rawType returns the type that evt.rawarg gives a parameter of type t.
func rawType(t event.ParamType) Type {
	switch t {
	case event.ParamCharbuf, event.ParamFspath, event.ParamFsrelpath:
		return String
	case event.ParamReltime:
		return RelTime
	case event.ParamAbstime:
		return AbsTime
	case event.ParamPort:
		return Port
	case event.ParamBool:
		return Bool
	case event.ParamIpv4addr, event.ParamIpv6addr, event.ParamIpaddr:
		return IP
	case event.ParamDyn:
		return Int
	}
	switch {
	case t.Size() == 0 || t == event.ParamDouble:
		return Bytes
	case t.Signed():
		return Int
	}
	return Uint
}

func computeRawArg(_ *Ctx, e event.Event, r *Ref, v *Value) {
	i := r.param(e.Type())
	if i < 0 {
		return
	}
	_, t, b, ok := parameter(e, i)
	if !ok {
		return
	}
	own := rawType(t)
	if own.IsBytes() != r.Type.IsBytes() {
		return // a name that is a number in one event and bytes in another
	}
	if own.IsBytes() {
		if own == String {
			b = cstring(b)
		}
		v.setBytes(b)
	} else if n, ok := t.Int(b); ok {
		v.setInt(uint64(n))
	}
}

// dataParam returns the number of the parameter that holds what was read or written; -1 for none.
func dataParam(t event.Type) int {
	in := t.Info()
	if i := in.ParamIndex("data"); i >= 0 && in.Params[i].Type == event.ParamBytebuf {
		return i
	}
	return -1
}

func computeBuffer(_ *Ctx, e event.Event, _ *Ref, v *Value) {
	if b, ok := e.Param(dataParam(e.Type())); ok {
		v.setBytes(b)
	}
}

func computeBuflen(_ *Ctx, e event.Event, _ *Ref, v *Value) {
	if n, ok := e.Res(); ok && n >= 0 && e.File() != 0 {
		v.setInt(uint64(n))
	}
}

// abspathParam returns the number of the path parameter that evt.abspath resolves; -1 for none.
func abspathParam(t event.Type, second bool) int {
	name := ""
	switch t {
	case event.SyscallRenameatX, event.SyscallRenameat2X, event.SyscallLinkatV2X:
		if name = "oldpath"; second {
			name = "newpath"
		}
		return t.Info().ParamIndex(name)
	case event.SyscallSymlinkatX:
		name = "linkpath"
	case event.SyscallOpenatV2X, event.SyscallOpenat2X, event.SyscallUnlinkatV2X:
		name = "name"
	case event.SyscallMkdiratX, event.SyscallOpenByHandleAtX, event.SyscallSetxattratX, event.SyscallRemovexattratX:
		name = "path"
	case event.SyscallFchmodatX, event.SyscallFchmodat2X:
		name = "filename"
	case event.SyscallFchownatX:
		name = "pathname"
	default:
		return -1
	}
	if second {
		return -1
	}
	return t.Info().ParamIndex(name)
}

func (c *Ctx) computeAbspath(e event.Event, second bool, v *Value) {
	if e.Bits()&wasmabi.BitFailed != 0 && e.Type() == event.SyscallOpenByHandleAtX {
		return // the path is that of the opened file
	}
	c.computePath(e, abspathParam(e.Type(), second), v)
}

// computePath sets v to the absolute form of path parameter i.
func (c *Ctx) computePath(e event.Event, i int, v *Value) {
	path, ok := e.Str(i)
	if e.Thread() == 0 {
		return
	}
	if !ok || len(path) == 0 {
		if dir, empty := c.emptyPath(e, &e.Type().Info().Params[i], path, ok); empty {
			if res, ok := e.Res(); ok && res == 0 && len(dir) > 0 {
				v.setBytes(dir)
			}
		}
		return
	}
	c.Buf = c.Buf[:0]
	if e.Type() == event.SyscallOpenat2X && inRoot(e) {
		c.Buf = appendPathIn(c.Buf, c.dirOf(e, &e.Type().Info().Params[i]), path)
	} else if path[0] == '/' {
		c.Buf = appendPath(c.Buf, nil, path)
	} else if c.Buf = c.appendResolvedPath(c.Buf, e, &e.Type().Info().Params[i], path); len(c.Buf) == 0 {
		c.Buf = appendPath(append(c.Buf, unknownDir...), nil, path)
		c.Buf = append(c.Buf[:len(unknownDir)], c.Buf[len(unknownDir)+1:]...) // without the slash
	}
	v.setBytes(c.Buf)
}

// emptyPath reports whether parameter p of e, path, may stand for the file that its fd itself is (AT_EMPTY_PATH and its like; where it
// doesn't, the call fails with ENOENT), and returns that file's name; nil for unknown. ok says that there is a path. Where there is
// none it may be NULL, which some calls take for an empty one (fs/namei.c@v6.18, getname_maybe_null), or couldn't be read: then the
// flags must allow for an empty one, and the fd not be a directory's, from where another path would lead somewhere.
func (c *Ctx) emptyPath(e event.Event, p *event.Param, path []byte, ok bool) (name []byte, empty bool) {
	if !p.Relative || len(path) > 0 {
		return nil, false
	}
	if !ok {
		const emptyPath = 0x1000 // AT_EMPTY_PATH
		fd, _ := e.Int(p.DirFD)
		flags, _ := e.Int(e.Type().Info().ParamIndex("flags"))
		if f := c.openFile(e, fd); flags&emptyPath == 0 || f == nil || f[wasmabi.FileKind] == 'd' {
			return nil, false
		}
	}
	return c.dirOf(e, p), true
}

// inRoot reports whether e, an openat2, takes its directory for the root (openat2(2), RESOLVE_IN_ROOT).
func inRoot(e event.Event) bool {
	const resolve, inRoot = 5, 1 << 1
	n, ok := e.Int(resolve)
	return ok && n&inRoot != 0
}

// appendPathIn appends path as seen from dir as its root; dir is empty for unknown.
func appendPathIn(dst, dir, path []byte) []byte {
	if len(dir) == 0 {
		dir = []byte(unknownDir)
	}
	n := len(dst)
	dst = append(dst, bytes.TrimSuffix(dir, []byte{'/'})...)
	start := len(dst)
	dst = appendPath(dst, nil, path)
	if len(dst) == start+1 && start > n && dst[start] == '/' {
		dst = dst[:start]
	}
	return dst
}
