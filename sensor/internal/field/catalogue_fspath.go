package field

import (
	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

// pathParams says where the paths of an event type stand: numbers of parameters, -1 for none.
type pathParams struct {
	name, source, target int
	fd                   bool // the path is that of the fd it acts on
	open                 bool // a failed call has the path too
}

// pathTable holds the event types with paths. As in Falco, the source of a link is the new name and its target what
// exists already; a symlink's target is resolved against the caller's directory. Where a call takes an empty path for what the fd of its
// directory is, the path is that file's name.
var pathTable = func() map[event.Type]pathParams {
	m := map[event.Type]pathParams{}
	one := func(param string, types ...event.Type) {
		for _, t := range types {
			m[t] = pathParams{name: t.Info().ParamIndex(param), source: -1, target: -1}
		}
	}
	two := func(source, target string, types ...event.Type) {
		for _, t := range types {
			in := t.Info()
			m[t] = pathParams{name: -1, source: in.ParamIndex(source), target: in.ParamIndex(target)}
		}
	}
	one("path", event.SyscallMkdirV2X, event.SyscallMkdiratX, event.SyscallRmdirV2X, event.SyscallUnlinkV2X, event.SyscallChownX, event.SyscallLchownX,
		event.SyscallSetxattrX, event.SyscallLsetxattrX, event.SyscallSetxattratX, event.SyscallRemovexattrX, event.SyscallLremovexattrX, event.SyscallRemovexattratX)
	one("name", event.SyscallUnlinkatV2X, event.SyscallUmountV1X, event.SyscallUmount2X)
	one("filename", event.SyscallChmodX, event.SyscallFchmodatX, event.SyscallFchmodat2X)
	one("pathname", event.SyscallFchownatX)
	one("special", event.SyscallQuotactlX)
	two("oldpath", "newpath", event.SyscallRenameX, event.SyscallRenameatX, event.SyscallRenameat2X)
	two("newpath", "oldpath", event.SyscallLinkV2X, event.SyscallLinkatV2X)
	two("linkpath", "target", event.SyscallSymlinkX, event.SyscallSymlinkatX)
	two("dev", "dir", event.SyscallMountX)
	two("from_path", "to_path", event.SyscallMoveMountX)
	for _, t := range []event.Type{event.SyscallOpenX, event.SyscallOpenatV2X, event.SyscallOpenat2X} {
		m[t] = pathParams{name: t.Info().ParamIndex("name"), source: -1, target: -1, open: true}
	}
	for _, t := range []event.Type{event.SyscallFchmodX, event.SyscallFchownX, event.SyscallFsetxattrX, event.SyscallFremovexattrX} {
		m[t] = pathParams{name: -1, source: -1, target: -1, fd: true}
	}
	return m
}()

// fspathFields are the paths of calls that act on paths and not on fds, such as rename and unlink.
func fspathFields() []*Field {
	mk := func(name, doc string, raw bool, pick func(p pathParams) int, fd bool) *Field {
		f := computed(name, String, doc, func(c *Ctx, e event.Event, _ *Ref, v *Value) {
			p, ok := pathTable[e.Type()]
			if !ok {
				return
			}
			if res, ok := e.Res(); !p.open && (!ok || res != 0) {
				return
			}
			i := pick(p)
			switch {
			case fd && p.fd:
				if f := record(c.Arena.Files, e.File()); f != nil {
					c.setFileName(f, v)
				}
			case i < 0:
			case raw:
				if s, ok := e.Str(i); ok {
					v.setBytes(s)
				}
			default:
				c.computePath(e, i, v)
			}
		})
		f.Events = func(t event.Type) bool {
			p, ok := pathTable[t]
			return ok && (pick(p) >= 0 || fd && p.fd)
		}
		return f
	}
	name := func(p pathParams) int { return p.name }
	source := func(p pathParams) int { return p.source }
	target := func(p pathParams) int { return p.target }
	return []*Field{
		mk("fs.path.name", "Absolute path that the call acts on: open (also when it failed), mkdir, rmdir, unlink, chmod, chown, setxattr, removexattr, umount, quotactl.", false, name, true),
		mk("fs.path.nameraw", "Path that the call acts on, as the program gave it.", true, name, true),
		mk("fs.path.source", "Absolute form of a call's source: the old name of a rename, the new one of a link or symlink, the device of a mount, where a mount moves from.", false, source, false),
		mk("fs.path.sourceraw", "Source of a call, as the program gave it.", true, source, false),
		mk("fs.path.target", "Absolute form of a call's target: the new name of a rename, what a link or symlink leads to, the directory of a mount, where a mount moves to.", false, target, false),
		mk("fs.path.targetraw", "Target of a call, as the program gave it.", true, target, false),
	}
}
