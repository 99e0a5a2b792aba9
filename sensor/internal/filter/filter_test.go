package filter

import (
	"fmt"
	"math/rand"
	"strings"
	"testing"
	"time"
)

// wants is what Build and Drops stand for, without their bounds: whether some way takes the call.
func wants(c *Call, e *Ended) bool {
	for _, w := range c.Ways {
		outcome := uint8(Success)
		if e.Result < 0 {
			outcome = Failure
		}
		if w.Result&outcome == 0 || w.Open != 0 && c.Args.Flags != NoArg && w.Open&e.Open == 0 {
			continue
		}
		if w.Paths != nil && c.Args.Path != NoArg && plain(e.Path) && !fits(w.Paths, string(e.Path)) {
			continue
		}
		if w.Ports != nil && c.Args.FD == 0 && c.What&(Pair|Unshare) == 0 && !meets(w.Ports, e.Socket) {
			continue
		}
		return true
	}
	return e.Result >= 0 && c.What&Opens != 0 && e.Directory
}

// plain reports whether a path is one that is compared: absolute, with nothing to resolve, and not too long.
func plain(path []byte) bool {
	if len(path) < 2 || len(path) > MaxPath-2 || path[0] != '/' {
		return false
	}
	for _, part := range strings.Split(string(path[1:]), "/") {
		if part == "" || part[0] == '.' { // those that begin with a dot are kept with "." and ".."
			return false
		}
	}
	return true
}

func fits(paths []Path, path string) bool {
	for _, p := range paths {
		if p.Exact && path == p.Text || !p.Exact && strings.HasPrefix(path, p.Text) {
			return true
		}
	}
	return false
}

func meets(ports []uint16, s Socket) bool {
	if s.Datagram || s.Stream && s.Remote == 0 {
		return true
	}
	for _, p := range ports {
		if s.Stream && (p == s.Local || p == s.Remote) {
			return true
		}
	}
	return false
}

// texts are paths that begin as each other do, are as long as is compared and longer, or have something to resolve.
func texts() []string {
	long := "/" + strings.Repeat("abcdefg/", 8)
	return []string{"/", "/e", "/etc", "/etc/", "/etc/a", "/etc/ab", "/etc/b", "/usr", "/usr/bin/x", "/usr/.x", "/usr/..", "/usr/./x", "//etc", "/etc//a", "/etc/a/",
		"etc", ".", "", long[:31], long[:32], long[:33], long[:34], long[:40] + "x", long[:40] + "y",
		"/" + strings.Repeat("x", MaxPath-3), "/" + strings.Repeat("x", MaxPath-2), "/" + strings.Repeat("x", MaxPath)}
}

func randomCall(r *rand.Rand, ways, paths, ports int) Call {
	c := Call{Name: fmt.Sprint("call", r.Intn(1000)), Args: Args{Path: 1, Flags: 2, FD: 0}}
	for _, a := range []*uint8{&c.Args.Path, &c.Args.Flags, &c.Args.FD} {
		if r.Intn(4) == 0 {
			*a = NoArg
		}
	}
	if r.Intn(3) == 0 {
		c.What = []What{Opens | Marks, Pair, Unshare, Marks}[r.Intn(4)]
	}
	for range r.Intn(ways + 1) {
		w := Way{Result: uint8(1 + r.Intn(3))}
		if r.Intn(2) == 0 {
			w.Open = uint8(1 + r.Intn(7))
		}
		if r.Intn(2) == 0 {
			w.Paths = []Path{}
			for range r.Intn(paths + 1) {
				t := texts()
				p := Path{Text: t[1+r.Intn(len(t)-1)], Exact: r.Intn(2) == 0}
				if p.Text == "" || p.Text[0] != '/' {
					continue
				}
				w.Paths = append(w.Paths, p)
			}
		}
		if r.Intn(3) == 0 {
			for range 1 + r.Intn(ports) {
				w.Ports = append(w.Ports, uint16(20+r.Intn(6)))
			}
		}
		c.Ways = append(c.Ways, w)
	}
	return c
}

func randomEnd(r *rand.Rand) *Ended {
	t := texts()
	e := &Ended{Result: int64(r.Intn(3) - 1), Open: uint8(r.Intn(8)), Directory: r.Intn(2) == 0, Path: []byte(t[r.Intn(len(t))])}
	switch r.Intn(4) {
	case 0:
		e.Socket = Socket{Stream: true, Local: uint16(20 + r.Intn(6)), Remote: uint16(20 + r.Intn(6))}
	case 1:
		e.Socket = Socket{Stream: true, Local: uint16(20 + r.Intn(6))}
	case 2:
		e.Socket = Socket{Datagram: true, Local: 20, Remote: 21}
	}
	return e
}

// TestDropsWhatNobodyWants: within the bounds of the form exactly what no way takes is dropped, but for paths that begin as
// another does in all bytes that are compared; beyond them some more is kept, and never less.
func TestDropsWhatNobodyWants(t *testing.T) {
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewSource(seed))
	dropped, kept := 0, 0
	for range 1000 {
		small := r.Intn(2) == 0
		ways, paths, ports := 3, 4, 2
		if !small {
			ways, paths, ports = 2*MaxWays, 40, 12
		}
		set := &Set{}
		for i := range 1 + r.Intn(3) {
			c := randomCall(r, ways, paths, ports)
			c.Name += fmt.Sprint(" ", i)
			set.Calls = append(set.Calls, c)
		}
		f := Build(set)
		for i := range set.Calls {
			c := &set.Calls[i]
			for range 10 {
				e := randomEnd(r)
				drops, want := f.Drops(c.Name, e), wants(c, e)
				exact := small && len(e.Path) < PathBytes && ports*len(c.Ways) <= MaxPorts
				if drops && want || exact && !drops && !want {
					t.Fatalf("%+v\nof %+v: drops %v, wanted %v\n%+v", e, c, drops, want, f.Filters[f.Of[c.Name]])
				}
				if drops {
					dropped++
				} else if !want {
					kept++
				}
			}
		}
	}
	t.Logf("%d dropped, %d kept for want of room", dropped, kept)
	if dropped < 500 {
		t.Error("hardly anything is dropped")
	}
}

// TestForm: what doesn't fit.
func TestForm(t *testing.T) {
	if f := Build(nil); len(f.Of) != 0 || f.Drops("open", &Ended{}) {
		t.Error("no set drops something")
	}
	one := func(name, path string) Call {
		return Call{Name: name, Args: Args{Path: 0, Flags: NoArg, FD: NoArg}, Ways: []Way{{Result: Success | Failure, Paths: []Path{{Text: path, Exact: true}}}}}
	}
	var set Set
	for i := range MaxTables + 1 {
		set.Calls = append(set.Calls, one(fmt.Sprint(i), fmt.Sprintf("/%d", i)))
	}
	f := Build(&set)
	for i := range MaxTables + 1 {
		if got, want := f.Drops(fmt.Sprint(i), &Ended{Path: []byte("/x")}), i < MaxTables; got != want {
			t.Errorf("the call with table %d drops: %v", i, got)
		}
	}
	// Calls that are judged alike share one filter, and too many that aren't make none.
	set.Calls = []Call{one("a", "/x"), one("b", "/x")}
	if f := Build(&set); len(f.Filters) != 2 || f.Of["a"] != 1 || f.Of["b"] != 1 {
		t.Errorf("two alike: %+v", f.Of)
	}
	set.Calls = nil
	for i := range MaxFilters {
		set.Calls = append(set.Calls, Call{Name: fmt.Sprint(i), Args: Args{Path: NoArg, Flags: NoArg, FD: 0}, Ways: []Way{{Result: Success, Ports: []uint16{uint16(i)}}}})
	}
	if f := Build(&set); len(f.Of) != 0 || len(f.Filters) != 1 {
		t.Errorf("%d filters of %d", len(f.Filters), MaxFilters)
	}
	set.Calls = set.Calls[1:]
	if f := Build(&set); len(f.Of) != MaxFilters-1 {
		t.Errorf("one less: %d", len(f.Of))
	}
	// More ways than are told apart are all taken, and more paths are taken by what they have in common.
	many := one("ways", "/0")
	for i := 1; i <= MaxWays; i++ {
		many.Ways = append(many.Ways, Way{Result: Success, Paths: []Path{{Text: fmt.Sprintf("/%d", i), Exact: true}}})
	}
	paths := one("paths", "/0")
	for i := range 2 * MaxPaths {
		paths.Ways[0].Paths = append(paths.Ways[0].Paths, Path{Text: fmt.Sprintf("/%c/%d", 'a'+i%2, i), Exact: i%3 == 0})
	}
	set.Calls = []Call{many, paths}
	f = Build(&set)
	for i := range MaxWays + 1 {
		if f.Drops("ways", &Ended{Path: fmt.Appendf(nil, "/%d", i)}) {
			t.Errorf("of %d ways number %d isn't taken", MaxWays+1, i)
		}
	}
	for _, p := range paths.Ways[0].Paths {
		if f.Drops("paths", &Ended{Path: []byte(p.Text)}) {
			t.Errorf("of %d paths %s isn't taken", 2*MaxPaths+1, p.Text)
		}
	}
	if !f.Drops("paths", &Ended{Path: []byte("/usr")}) {
		t.Error("what has nothing in common with any is taken")
	}
	set.Calls = []Call{{Name: "close", What: Close}}
	if f := Build(&set); f.Of["close"] == 0 || f.Drops("close", &Ended{}) {
		t.Error("closes are judged by marks")
	}
}

// TestFDMarks: which closes may be left out: those of fds that nothing has said anything of since the process is known.
func TestFDMarks(t *testing.T) {
	var m FDMarks
	check := func(what string, pid, fd int64, want bool) {
		t.Helper()
		if got := m.Clear(pid, fd); got != want {
			t.Errorf("%s: %v", what, got)
		}
	}
	check("the first close of an unknown process", 1, 3, true)
	check("the second", 1, 3, false)
	check("the first of another fd", 1, 4, true)
	m.Set(1, 3)
	check("after an open", 1, 3, true)
	m.Set(1, -1)
	check("a failed one marks nothing", 1, 3, false)
	m.Set(2, 3)
	check("an unknown process has all", 2, 9, true)
	check("those above share a place", 1, FDs-1, true)
	check("which is never cleared", 1, FDs+5, true)
	check("nor is it for what is no fd", 1, -1, true)
	check("the last of its own", 1, FDs-2, true)
	check("is cleared", 1, FDs-2, false)

	m.Set(1, 5)
	m.Fork(1, 10, false)
	check("a child has its parent's marks", 10, 5, true)
	check("and no others", 10, 3, false)
	check("that are its own", 1, 5, true)
	m.Set(10, 7)
	check("afterwards too", 1, 7, true)
	check("once", 1, 7, false)
	check("and once", 10, 7, true)
	m.Clear(20, 3)
	m.Fork(99, 20, false)
	check("a child of an unknown process has all, whoever had its number", 20, 3, true)
	m.Fork(1, 1, true)
	check("a thread", 1, 3, false)
	if m.Off {
		t.Error("ordinary children and threads switch it off")
	}
	m.Fork(1, 30, true)
	check("once processes share fds all closes are made", 1, 3, true)
	m = FDMarks{}
	m.Clear(1, 3)
	m.Fork(1, 1, false)
	check("the same of threads that don't", 1, 3, true)
}
