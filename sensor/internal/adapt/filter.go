package adapt

import (
	"slices"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/filter"
	"github.com/shikra-sensor/shikra/sensor/internal/state"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// FilterOf returns by what the events of the selected calls are judged before they are made, and whether state then knows
// every open file. It doesn't when no module looks at a file by an event that doesn't tell of it: opens that nobody can use,
// and closes of what they opened, are left out then, but for directories, from which paths are resolved.
//
// What is left out changes no alert: see docs/architecture.md.
func FilterOf(modules []Module, s *Selection) (set *filter.Set, whole bool) {
	if s.everything {
		return nil, true
	}
	whole = looksAtFiles(modules, s)
	for _, c := range s.Syscalls {
		whole = whole || slices.Contains(c.For, ForConfig) // no account is kept of what isn't judged
	}
	set = &filter.Set{}
	for _, c := range s.Syscalls {
		if always(c.Name) || slices.Contains(c.For, ForConfig) { // made by other hooks; asked for by the operator
			continue
		}
		call := filter.Call{Name: c.Name, Args: argsOf(c.Name), Ways: ways(modules, c.Exit)}
		forState := slices.Contains(c.For, ForState)
		closes := c.Exit == event.SyscallCloseX
		switch {
		case forState && closes && !whole && len(call.Ways) == 0:
			call.What = filter.Close
		case forState && state.NeedsFailed(c.Exit):
			call.Ways = anyWay()
		case forState && (whole || !opens(c.Exit)):
			call.Ways = append(call.Ways, filter.Way{Result: filter.Success})
		}
		if !whole {
			mark(&call, c.Exit)
		}
		if call.What != 0 || !slices.ContainsFunc(call.Ways, free) {
			set.Calls = append(set.Calls, call)
		}
	}
	return set, whole
}

func anyWay() []filter.Way { return []filter.Way{{Result: filter.Success | filter.Failure}} }

func free(w filter.Way) bool {
	return w.Result == filter.Success|filter.Failure && w.Open == 0 && w.Paths == nil && w.Ports == nil
}

// looksAtFiles reports whether a module looks at files by events of the selected calls that don't tell of them.
func looksAtFiles(modules []Module, s *Selection) bool {
	selected := map[event.Type]bool{}
	for _, c := range s.Syscalls {
		selected[c.Exit] = true
		if c.Exit == event.SocketRecvmmsgX {
			return true // it brings fds; of recvmsg the kernel keeps account
		}
	}
	for _, m := range modules {
		codes := m.Manifest.EventCodes
		if n := m.Manifest.Needs; n != nil {
			codes = n.Files
		}
		for _, c := range codes {
			t := event.Type(c)
			if selected[t] || t.Info().Origin != event.OriginSyscall {
				return true
			}
		}
	}
	return false
}

// ways returns the ways in which the modules can use events of type t; none when no module judges it.
func ways(modules []Module, t event.Type) []filter.Way {
	var out []filter.Way
	for _, m := range modules {
		if !slices.Contains(m.Manifest.EventCodes, uint16(t)) {
			continue
		}
		n := m.Manifest.Needs
		if n == nil {
			return anyWay()
		}
		found := false
		for i := range n.Conditions {
			if c := &n.Conditions[i]; slices.Contains(c.Events, uint16(t)) {
				found = true
				out = append(out, way(c))
			}
		}
		if !found {
			return anyWay()
		}
	}
	return out
}

func way(c *wasmabi.Condition) filter.Way {
	w := filter.Way{Result: filter.Success | filter.Failure, Ports: c.Ports}
	switch c.Result {
	case wasmabi.ResultSuccess:
		w.Result = filter.Success
	case wasmabi.ResultFailure:
		w.Result = filter.Failure
	}
	for _, o := range c.Open {
		switch o {
		case wasmabi.OpenRead:
			w.Open |= filter.Read
		case wasmabi.OpenWrite:
			w.Open |= filter.Write
		case wasmabi.OpenCreate:
			w.Open |= filter.Create
		}
	}
	if c.Paths == nil {
		return w
	}
	w.Paths = []filter.Path{}
	for _, p := range c.Paths.Equal {
		w.Paths = append(w.Paths, filter.Path{Text: p, Exact: true})
	}
	for _, p := range c.Paths.Prefix {
		w.Paths = append(w.Paths, filter.Path{Text: p})
	}
	return w
}

func opens(t event.Type) bool {
	return t == event.SyscallOpenX || t == event.SyscallOpenatV2X || t == event.SyscallOpenat2X || t == event.SyscallCreatX
}

// argsOf says which arguments of a call are its path, its open flags and its socket (man 2 of each). A call that isn't
// here is judged by its result: so is openat2, whose absolute paths may start at a directory of its own (RESOLVE_IN_ROOT).
func argsOf(name string) filter.Args {
	const no = filter.NoArg
	switch name {
	case "open":
		return filter.Args{Path: 0, Flags: 1, FD: no}
	case "openat":
		return filter.Args{Path: 1, Flags: 2, FD: no}
	case "unlinkat", "mkdirat", "fchmodat", "fchmodat2", "fchownat", "mknodat", "setxattrat", "removexattrat":
		return filter.Args{Path: 1, Flags: no, FD: no}
	case "creat", "unlink", "rmdir", "mkdir", "chmod", "chown", "lchown", "umount", "umount2", "mknod", "access", "stat", "lstat",
		"truncate", "setxattr", "lsetxattr", "removexattr", "lremovexattr":
		return filter.Args{Path: 0, Flags: no, FD: no}
	case "read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "sendfile", "sendfile64", "shutdown",
		"send", "sendto", "sendmsg", "recv", "recvfrom", "recvmsg":
		return filter.Args{Path: no, Flags: no, FD: 0}
	}
	return filter.Args{Path: no, Flags: no, FD: no}
}

// mark says what a call that ends does to the fds that state knows.
func mark(c *filter.Call, t event.Type) {
	switch {
	case c.What == filter.Close:
		return
	case opens(t):
		c.What = filter.Opens | filter.Marks
		return
	case t == event.SocketSocketpairX:
		c.What, c.Args.FD = filter.Pair, 3
	case t == event.SyscallPipeX || t == event.SyscallPipe2X:
		c.What, c.Args.FD = filter.Pair, 0
	case t == event.SyscallFcntlX:
		c.What = filter.Fcntl
	case t == event.SyscallUnshareX:
		c.What, c.Args.FD = filter.Unshare, 0
	case t == event.SyscallCloseRangeX:
		c.What, c.Args.FD = filter.Unshare, 2
	case t == event.SyscallIoUringSetupX: // what its requests open and close isn't seen as these calls end
		c.What, c.Args.FD = filter.Unshare, filter.NoArg
	case t.Info().Flags&event.FlagCreatesFd != 0 || t == event.SyscallBpfV2X:
		c.What = filter.Marks
	default:
		return
	}
	if len(c.Ways) == 0 {
		c.Ways = anyWay()
	}
}
