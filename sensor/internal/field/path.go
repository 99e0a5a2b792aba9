package field

import (
	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// unknownDir stands before a path that is relative to an fd which state doesn't know.
const unknownDir = "<UNKNOWN>"

// maxPath bounds a resolved path in bytes (PATH_MAX and a directory of as much).
const maxPath = 8192

// openFile returns the record of what fd is in e's process; nil for unknown.
func (c *Ctx) openFile(e event.Event, fd int64) []byte {
	if fd < 0 {
		return nil
	}
	if int64(e.FD()) == fd && e.File() != 0 {
		return c.Arena.Files.Record(e.File())
	}
	if c.State == nil || e.Thread() == 0 {
		return nil
	}
	return record(c.Arena.Files, c.State.OpenFile(e.Thread(), fd))
}

func (c *Ctx) fileName(f []byte) []byte { return c.Arena.Strings.Get(le.Uint32(f[wasmabi.FileName:])) }

// setFileName sets v to the name of file f when it has one.
func (c *Ctx) setFileName(f []byte, v *Value) {
	if s := c.fileName(f); s != nil {
		v.setBytes(s)
	}
}

func (c *Ctx) threadComm(t []byte) []byte {
	return c.Arena.Strings.Get(le.Uint32(t[wasmabi.ThreadComm:]))
}

// cwd returns the current directory of e's process; nil for unknown.
func (c *Ctx) cwd(e event.Event) []byte {
	if t := record(c.Arena.Threads, e.Thread()); t != nil {
		return c.Arena.Strings.Get(le.Uint32(t[wasmabi.ThreadCwd:]))
	}
	return nil
}

// containerSlot returns the slot of the container of e's thread, 0 for the host and for an unknown thread.
func (c *Ctx) containerSlot(e event.Event) uint32 {
	if t := record(c.Arena.Threads, e.Thread()); t != nil {
		return le.Uint32(t[wasmabi.ThreadContainer:])
	}
	return 0
}

// dirOf returns the directory that a path parameter of e is relative to; nil for unknown.
func (c *Ctx) dirOf(e event.Event, p *event.Param) []byte {
	if p.Relative {
		if fd, ok := e.Int(p.DirFD); ok && fd != atFDCWD {
			if f := c.openFile(e, fd); f != nil {
				return c.fileName(f)
			}
			return nil
		}
	}
	return c.cwd(e)
}

// appendResolvedPath appends the absolute form of a relative path, nothing when path is absolute or can't be resolved.
func (c *Ctx) appendResolvedPath(dst []byte, e event.Event, p *event.Param, path []byte) []byte {
	if len(path) == 0 || path[0] == '/' || string(path) == "<NA>" {
		return dst
	}
	dir := c.dirOf(e, p)
	if len(dir) == 0 {
		return dst
	}
	return appendPath(dst, dir, path)
}

// appendPath appends path without ".", ".." and doubled slashes, after dir when it is relative. dir is clean already.
// ".." at the root stays there. What is longer than maxPath is cut.
func appendPath(dst, dir, path []byte) []byte {
	start := len(dst)
	if len(path) == 0 || path[0] != '/' {
		dst = append(dst, dir...)
		if n := len(dst); n > start && dst[n-1] == '/' {
			dst = dst[:n-1]
		}
	}
	for len(path) > 0 {
		n := 0
		for n < len(path) && path[n] != '/' {
			n++
		}
		part := path[:n]
		path = path[min(n+1, len(path)):]
		switch {
		case n == 0, n == 1 && part[0] == '.':
		case n == 2 && part[0] == '.' && part[1] == '.':
			for len(dst) > start {
				dst = dst[:len(dst)-1]
				if dst[:len(dst)+1][len(dst)] == '/' {
					break
				}
			}
		case len(dst)-start+n >= maxPath:
			return dst
		default:
			dst = append(append(dst, '/'), part...)
		}
	}
	if len(dst) == start {
		dst = append(dst, '/')
	}
	return dst
}
