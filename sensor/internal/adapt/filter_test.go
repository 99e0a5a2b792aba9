package adapt

import (
	"slices"
	"testing"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/filter"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// filterOf returns the filter and its calls by name.
func filterOf(mods ...Module) (map[string]filter.Call, bool) {
	set, whole := FilterOf(mods, Select(mods, Config{}))
	out := map[string]filter.Call{}
	if set != nil {
		for _, c := range set.Calls {
			out[c.Name] = c
		}
	}
	return out, whole
}

func TestFilterOf(t *testing.T) {
	calls, whole := filterOf(rules(t, "narrow", "evt.type in (open, openat) and evt.is_open_write=true and fd.name startswith /etc/", "%fd.name %proc.name"))
	if whole {
		t.Error("nobody looks at files but by the open itself")
	}
	if c := calls["openat"]; len(c.Ways) != 1 || c.Ways[0].Open != filter.Write || len(c.Ways[0].Paths) != 1 || c.What != filter.Opens|filter.Marks {
		t.Errorf("openat is %+v", c)
	}
	if c := calls["close"]; c.What != filter.Close || len(c.Ways) != 0 {
		t.Errorf("close is %+v", c)
	}
	if c := calls["creat"]; len(c.Ways) != 0 || c.What != filter.Opens|filter.Marks {
		t.Errorf("creat is %+v", c)
	}
	for name, what := range map[string]filter.What{"socket": filter.Marks, "pipe": filter.Pair, "socketpair": filter.Pair, "dup2": filter.Marks, "fcntl": filter.Fcntl,
		"unshare": filter.Unshare, "close_range": filter.Unshare, "io_uring_setup": filter.Unshare, "eventfd2": filter.Marks, "memfd_create": filter.Marks,
		"epoll_create1": filter.Marks, "pidfd_getfd": filter.Marks, "accept4": filter.Marks, "open_by_handle_at": filter.Marks} {
		if c := calls[name]; c.What != what {
			t.Errorf("%s is %+v", name, c)
		}
	}

	calls, whole = filterOf(
		rules(t, "narrow", "evt.type in (open, openat) and evt.is_open_write=true and fd.name startswith /etc/ and evt.rawres >= 0", "x"),
		rules(t, "other", "evt.type = flock and fd.name startswith /etc/", "x"))
	if !whole {
		t.Error("flock tells nothing of its file")
	}
	if c := calls["openat"]; len(c.Ways) != 2 || c.Ways[1].Result != filter.Success || c.Ways[1].Paths != nil || c.What != 0 {
		t.Errorf("all opens that succeed are kept: %+v", c)
	}
	if _, ok := calls["close"]; ok {
		t.Error("closes are all kept")
	}
	if calls, _ := filterOf(Module{Manifest: rules(t, "x", "evt.type=openat", "x").Manifest}); len(calls) == 0 {
		t.Error("a module without rules but with needs is taken at its word")
	}
}

func TestFilterOfWhatIsAskedFor(t *testing.T) {
	mods := []Module{rules(t, "narrow", "evt.type = openat and fd.name startswith /etc/", "x")}
	if set, whole := FilterOf(mods, Select(mods, Config{Everything: true})); set.Len() != 0 || !whole {
		t.Errorf("a listing of everything drops %d calls", set.Len())
	}
	set, whole := FilterOf(mods, Select(mods, Config{CustomSet: []string{"close", "kill"}}))
	if !whole {
		t.Error("closes that the operator asks for are all made, so state must know all files")
	}
	for _, c := range set.Calls {
		if c.Name == "close" || c.Name == "kill" {
			t.Errorf("%s is judged", c.Name)
		}
		if c.What != 0 {
			t.Errorf("%s keeps account of fds: %v", c.Name, c.What)
		}
	}
}

// TestWays: a condition of a manifest is judged as it is written.
func TestWays(t *testing.T) {
	calls, _ := filterOf(rules(t, "a", "evt.type = openat and evt.failed = false and fd.name = /etc/a", "x"),
		rules(t, "b", "evt.type = openat and evt.failed = true and fd.name startswith /etc/b", "x"),
		rules(t, "c", "evt.type = openat and evt.is_open_read = true and fd.name = c", "x"))
	ways := calls["openat"].Ways
	if len(ways) != 3 {
		t.Fatalf("openat is %+v", calls["openat"])
	}
	for i, want := range []filter.Way{
		{Result: filter.Success, Paths: []filter.Path{{Text: "/etc/a", Exact: true}}},
		{Result: filter.Failure, Paths: []filter.Path{{Text: "/etc/b"}}},
		{Result: filter.Success | filter.Failure, Open: filter.Read, Paths: []filter.Path{}}, // no absolute path
	} {
		if w := ways[i]; w.Result != want.Result || w.Open != want.Open || w.Paths == nil || !slices.Equal(w.Paths, want.Paths) || w.Ports != nil {
			t.Errorf("way %d is %+v, not %+v", i, w, want)
		}
	}
	// What a module says nothing of is all made.
	narrow := rules(t, "narrow", "evt.type = openat and fd.name = /etc/a", "x")
	calls, _ = filterOf(narrow, rules(t, "all", "evt.type = openat", "x"))
	if c := calls["openat"]; !slices.ContainsFunc(c.Ways, free) {
		t.Errorf("with a rule on all opens: %+v", c)
	}
	mute := Module{Manifest: &wasmabi.Manifest{Name: "mute", EventCodes: []uint16{uint16(event.SyscallOpenatV2X), uint16(event.SyscallKillX)}}}
	if calls, whole := filterOf(narrow, mute); !whole || len(calls["openat"].Ways) != 0 || len(calls["kill"].Ways) != 0 {
		t.Errorf("with a module without needs: %v %+v %+v", whole, calls["openat"], calls["kill"])
	}
}

// TestKeptForState: what changes the state is made whoever uses it, and which files are open is all known as soon as one event
// that doesn't tell of its file is looked at.
func TestKeptForState(t *testing.T) {
	narrow := rules(t, "narrow", "evt.type = openat and fd.name = /etc/a", "x")
	calls, whole := filterOf(narrow, rules(t, "failed", "evt.type in (chdir, kill) and evt.failed = true", "x"))
	if whole {
		t.Error("nobody looks at files")
	}
	success := func(w filter.Way) bool { return w.Result == filter.Success && w.Paths == nil && w.Open == 0 }
	if c := calls["chdir"]; !slices.ContainsFunc(c.Ways, success) {
		t.Errorf("chdir is %+v", c)
	}
	if c := calls["kill"]; slices.ContainsFunc(c.Ways, success) || len(c.Ways) != 1 {
		t.Errorf("kill is %+v", c)
	}
	if c := calls["openat"]; slices.ContainsFunc(c.Ways, success) {
		t.Errorf("openat is %+v", c)
	}
	hook := Module{Manifest: &wasmabi.Manifest{Name: "hook", EventCodes: []uint16{uint16(event.SignaldeliverE)},
		Needs: &wasmabi.Needs{Files: []uint16{uint16(event.SignaldeliverE)}}}}
	if _, whole := filterOf(narrow, hook); !whole {
		t.Error("an event that no system call makes looks at files")
	}
	hook.Manifest.Needs.Files = []uint16{uint16(event.SyscallFchmodX)} // which isn't captured
	if _, whole := filterOf(narrow, hook); whole {
		t.Error("an event that isn't captured looks at files")
	}
	mods := []Module{narrow, rules(t, "many", "evt.type = recvmmsg", "x")}
	if _, whole := FilterOf(mods, Select(mods, Config{HeavyIO: true})); !whole {
		t.Error("recvmmsg brings fds that no account is kept of")
	}
}

// TestArgs: where the arguments are that are judged follows from the events: a path that is relative to a directory's fd comes
// after it, another one first, and flags of an open after its path.
func TestArgs(t *testing.T) {
	n := 0
	for _, sc := range event.Syscalls() {
		a := argsOf(sc.Name)
		if a == (filter.Args{Path: filter.NoArg, Flags: filter.NoArg, FD: filter.NoArg}) {
			continue
		}
		n++
		in := sc.Exit.Info()
		if a.FD != filter.NoArg {
			if a != (filter.Args{Path: filter.NoArg, Flags: filter.NoArg, FD: 0}) || in.Flags&event.FlagUsesFd == 0 {
				t.Errorf("%s: %+v", sc.Name, a)
			}
			continue
		}
		if sc.Exit == event.GenericX {
			continue
		}
		want := filter.Args{Path: filter.NoArg, Flags: filter.NoArg, FD: filter.NoArg}
		for _, p := range in.Params {
			if p.Type == event.ParamFspath || p.Type == event.ParamFsrelpath {
				if want.Path != filter.NoArg {
					t.Errorf("%s has two paths", sc.Name)
				}
				want.Path = 0
				if p.Relative {
					want.Path = 1
				}
			}
		}
		if sc.Name == "open" || sc.Name == "openat" {
			want.Flags = want.Path + 1
		}
		if a != want {
			t.Errorf("%s: %+v, not %+v", sc.Name, a, want)
		}
	}
	if n < 30 {
		t.Errorf("only %d", n)
	}
}
