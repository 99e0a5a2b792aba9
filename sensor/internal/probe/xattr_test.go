package probe

import (
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

// atEmptyPath and atNoFollow are flags of calls with a directory, as kernel and events have them.
const (
	atNoFollow  = 0x100
	atEmptyPath = 0x1000
)

// xattrCases are the calls that set and remove attributes, each in its four forms. Which results they have is the file
// system's and the kernel's business: some have no attributes, and before 6.13 no forms with a directory.
func xattrCases() []callCase {
	const name = "trusted.shikra"
	set := func(args ...uintptr) []uintptr { return append(args, str(name), addr([]byte("v")), 1, 0) }
	remove := func(args ...uintptr) []uintptr { return append(args, str(name)) }
	setAt := func(args ...uintptr) []uintptr { return append(args, str(name), addr(make([]byte, 16)), 16) }
	var cases []callCase
	for _, c := range []struct {
		prefix                string
		path, link, fd, at    event.Type
		args, atArgs          func(...uintptr) []uintptr
		pathN, linkN, fdN, aN string
	}{
		{"set", event.SyscallSetxattrX, event.SyscallLsetxattrX, event.SyscallFsetxattrX, event.SyscallSetxattratX, set, setAt, "setxattr", "lsetxattr", "fsetxattr", "setxattrat"},
		{"remove", event.SyscallRemovexattrX, event.SyscallLremovexattrX, event.SyscallFremovexattrX, event.SyscallRemovexattratX, remove, remove, "removexattr", "lremovexattr", "fremovexattr", "removexattrat"},
	} {
		for call, typ := range map[string]event.Type{c.pathN: c.path, c.linkN: c.link} {
			cases = append(cases,
				callCase{call, "ok", typ, func(t *env) []any {
					p := oldPath(t)
					return []any{t.call(call, c.args(str(p))...), p, name}
				}},
				callCase{call, "fails", typ, func(t *env) []any {
					t.call(call, c.args(str("/nonexistent/x"))...)
					return []any{errno(unix.ENOENT), "/nonexistent/x", name}
				}},
				callCase{call, "bad addresses", typ, func(t *env) []any {
					return []any{t.call(call, 1, 1, 1, 1, 0), missing{}, missing{}}
				}})
		}
		cases = append(cases,
			callCase{c.fdN, "ok", c.fd, func(t *env) []any {
				fd, err := unix.Open(oldPath(t), unix.O_RDONLY|unix.O_CLOEXEC, 0)
				if err != nil {
					t.Fatal(err)
				}
				closing(t, int64(fd))
				return []any{t.call(c.fdN, c.args(uintptr(fd))...), fd, name}
			}},
			callCase{c.fdN, "bad", c.fd, func(t *env) []any {
				t.call(c.fdN, c.args(badFD)...)
				return []any{errno(unix.EBADF), badFD, name}
			}},
			callCase{c.aN, "a link in a directory", c.at, func(t *env) []any {
				p := oldPath(t)
				d := dirFD(t, filepath.Dir(p))
				return []any{t.call(c.aN, c.atArgs(d, str(filepath.Base(p)), atNoFollow)...), d, filepath.Base(p), atNoFollow, name}
			}},
			callCase{c.aN, "the file of an fd", c.at, func(t *env) []any {
				d := dirFD(t, t.TempDir())
				return []any{t.call(c.aN, c.atArgs(d, str(""), atEmptyPath)...), d, "", atEmptyPath, name}
			}})
	}
	return cases
}

func TestXattr(t *testing.T) { runCases(t, xattrCases()) }
