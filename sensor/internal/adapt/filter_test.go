package adapt

import (
	"testing"

	"github.com/shikra-sensor/shikra/sensor/internal/filter"
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
		rules(t, "other", "evt.type = fchmod and fd.name startswith /etc/", "x"))
	if !whole {
		t.Error("fchmod tells nothing of its file")
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
