package filter

import (
	"slices"
	"strings"
)

// Build puts s into the bounded form. What doesn't fit is made coarser, so that it drops less.
func Build(s *Set) *Form {
	f := &Form{Of: map[string]int{}, Filters: []Filter{{}}}
	if s == nil {
		return f
	}
	for i := range s.Calls {
		c := &s.Calls[i]
		x := f.filter(c)
		at := slices.Index(f.Filters[1:], x) + 1
		if at == 0 {
			if len(f.Filters) == MaxFilters {
				// Without marks closes can't be told apart any more: then nothing is judged at all.
				return &Form{Of: map[string]int{}, Filters: []Filter{{}}}
			}
			f.Filters = append(f.Filters, x)
			at = len(f.Filters) - 1
		}
		f.Of[c.Name] = at
	}
	return f
}

func (f *Form) filter(c *Call) Filter {
	x := Filter{Args: c.Args, What: c.What}
	ways := c.Ways
	if len(ways) > MaxWays {
		ways = []Way{{Result: Success | Failure}}
	}
	var paths []wayPath
	ports := 0
	for i, w := range ways {
		bit := uint32(1) << i
		if w.Result&Success != 0 {
			x.Success |= bit
		}
		if w.Result&Failure != 0 {
			x.Failure |= bit
		}
		if w.Open == 0 || c.Args.Flags == NoArg {
			x.Open[0] |= bit
		}
		for k, o := range [...]uint8{Read, Write, Create} {
			if w.Open&o != 0 {
				x.Open[1+k] |= bit
			}
		}
		if w.Paths == nil || c.Args.Path == NoArg || slices.ContainsFunc(w.Paths, takesAll) {
			x.NoPath |= bit
		} else {
			for _, p := range w.Paths {
				if len(p.Text) > 1 { // no path that is judged is shorter
					paths = append(paths, newWayPath(p, bit))
				}
			}
		}
		if w.Ports == nil || c.Args.FD != 0 || c.What&(Pair|Unshare) != 0 || ports+len(w.Ports) > MaxPorts {
			x.NoPort |= bit
			continue
		}
		for _, p := range w.Ports {
			x.Ports[ports], x.PortWays[ports] = p, bit
			ports++
		}
	}
	if x.NoPath == all(len(ways)) {
		x.Args.Path = NoArg
		return x
	}
	t, every := table(paths)
	x.NoPath |= every
	at := slices.Index(f.Tables, t)
	switch {
	case at >= 0:
	case len(f.Tables) == MaxTables:
		x.NoPath, x.Args.Path = all(len(ways)), NoArg
		return x
	default:
		f.Tables = append(f.Tables, t)
		at = len(f.Tables) - 1
	}
	x.Table = uint8(at)
	return x
}

func all(ways int) uint32 { return uint32(uint64(1)<<ways - 1) }

// takesAll reports whether p is what every path that is judged begins with.
func takesAll(p Path) bool { return len(p.Text) < 2 && !p.Exact }

// wayPath is the beginning of a path, with the NUL at its end when that is compared, and the ways that take it.
type wayPath struct {
	text string
	ways uint32
}

func newWayPath(p Path, ways uint32) wayPath {
	text := p.Text
	if p.Exact {
		text += "\x00"
	}
	if len(text) > PathBytes {
		text = text[:PathBytes]
	}
	return wayPath{text, ways}
}

// table makes the table of paths. Those that another covers for the same ways are left out, and when too many are left the
// two that have most in common become one, until they fit; every is the ways of those that have only the slash in common.
func table(paths []wayPath) (t Table, every uint32) {
	paths = tidy(paths)
	for len(paths) > MaxPaths {
		best, most := 0, -1
		for i := range paths[1:] {
			if n := common(paths[i].text, paths[i+1].text); n > most {
				best, most = i, n
			}
		}
		a, b := paths[best], paths[best+1]
		rest := append(slices.Clone(paths[:best]), paths[best+2:]...)
		if most < 2 {
			every |= a.ways | b.ways
		} else {
			rest = append(rest, wayPath{a.text[:most], a.ways | b.ways})
		}
		paths = tidy(rest)
	}
	slices.SortStableFunc(paths, func(a, b wayPath) int { return int(bucket(a.text)) - int(bucket(b.text)) })
	t.N = len(paths)
	for i, p := range paths {
		for b := int(bucket(p.text)) + 1; b <= Buckets; b++ {
			t.From[b] = uint8(i + 1)
		}
		e := &t.Paths[i]
		copy(e.Text[:], p.text)
		for k := range p.text {
			e.Mask[k] = 0xFF
		}
		e.Ways = p.ways
	}
	return t, every
}

// bucket is where in a table paths lie that begin as text does, which has more than the slash.
func bucket(text string) uint8 { return text[1] % Buckets }

// tidy sorts paths and leaves out what a shorter beginning says already.
func tidy(paths []wayPath) []wayPath {
	slices.SortStableFunc(paths, func(a, b wayPath) int { return strings.Compare(a.text, b.text) })
	var out []wayPath
	for _, p := range paths {
		if n := len(out); n > 0 && out[n-1].text == p.text {
			out[n-1].ways |= p.ways
			continue
		}
		left := p.ways
		for _, o := range out {
			if strings.HasPrefix(p.text, o.text) {
				left &^= o.ways
			}
		}
		if left != 0 {
			out = append(out, wayPath{p.text, p.ways})
		}
	}
	return out
}

func common(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}
