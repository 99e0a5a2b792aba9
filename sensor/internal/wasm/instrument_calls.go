package wasm

import "fmt"

// weight says what a frame of b weighs: 1, and more for many locals and long bodies, whose compiled frames are larger.
// The compiler gives a frame at most a slot of 16 bytes to each value, and a value takes at least a byte of code: the
// default depth so stays below 1900 × 2 KiB × 16 = 62 MB of the compiler's 400 MB, and far below it in practice.
func weight(b *body) uint32 {
	return 1 + b.locals/64 + uint32(len(b.raw)-b.code)/2048
}

// weigh decides which functions count their depth: those that are part of a cycle of calls. A call through a table may
// reach every function that a table, a global or ref.func names. What the others can add below a counted function is
// known beforehand and added to what that one counts; the longest such chain from an export is taken off the limit.
func (w *rewriter) weigh() error {
	n := len(w.funcs)
	g := callGraph{w: w, table: n, state: make([]visit, n+1)}
	taken := make([]bool, n)
	take := func(f uint32) {
		if f >= w.nimp {
			taken[f-w.nimp] = true
		}
	}
	w.references(take)
	for i, t := range taken {
		if t {
			g.taken = append(g.taken, uint32(i))
		}
	}
	g.search()
	// chain is the weight of the longest chain of functions that aren't counted, from v down. A callee's component is
	// finished before its caller's, so in this order every callee's chain is known.
	chain := make([]uint64, n+1)
	for _, v := range g.order {
		for _, c := range g.callees(v) {
			if !g.state[c].cyclic {
				chain[v] = max(chain[v], chain[c])
			}
		}
		if v < n {
			chain[v] += uint64(w.funcs[v].weight)
		}
	}
	for v := range w.funcs {
		if g.state[v].cyclic {
			w.funcs[v].counted = uint32(min(chain[v], 1<<30))
		}
	}
	var entry uint64
	host := func(f uint32) {
		if f >= w.nimp && !g.state[f-w.nimp].cyclic {
			entry = max(entry, chain[f-w.nimp])
		}
	}
	for _, e := range w.m.Exports {
		if e.Kind == KindFunc {
			host(e.Index)
		}
	}
	if w.m.HasStart {
		host(w.m.Start)
	}
	if entry > uint64(w.l.Depth) {
		return fmt.Errorf("wasm: calls nest %d deep by weight, the most is %d", entry, w.l.Depth)
	}
	w.depthInit = w.l.Depth - uint32(entry)
	return nil
}

// references calls fn with every function whose reference the module takes.
func (w *rewriter) references(fn func(uint32)) {
	ref := func(k constant) {
		if k.isFunc {
			fn(k.fn)
		}
	}
	for i := range w.m.Globals {
		ref(w.m.Globals[i].init)
	}
	for i := range w.m.elems {
		for _, f := range w.m.elems[i].funcs {
			fn(f)
		}
		for _, k := range w.m.elems[i].exprs {
			ref(k)
		}
	}
	// ref.func may only name functions that an element segment, a global or an export names (core specification,
	// §3.4.10, refs): exports are what is left.
	for _, e := range w.m.Exports {
		if e.Kind == KindFunc {
			fn(e.Index)
		}
	}
}

type visit struct {
	index, low int32 // Tarjan's numbers; index 0 is not seen yet
	open       bool
	cyclic     bool
}

// callGraph finds the cycles of calls. Its nodes are the own functions and one more that stands for all tables.
type callGraph struct {
	w     *rewriter
	table int
	taken []uint32
	state []visit
	order []int // nodes, callees' components before callers'
}

func (g *callGraph) callees(v int) []uint32 {
	if v == g.table {
		return g.taken
	}
	return g.w.funcs[v].edges(g.table)
}

// edges returns what a calls, the node of the tables included.
func (a *analysis) edges(table int) []uint32 {
	if a.indirect {
		a.calls = append(a.calls, uint32(table))
		a.indirect = false
	}
	return a.calls
}

// search is Tarjan's algorithm for strongly connected components, without recursion.
func (g *callGraph) search() {
	type frame struct{ v, next int }
	var stack []frame
	var open []int
	count := int32(0)
	enter := func(v int) {
		count++
		g.state[v] = visit{index: count, low: count, open: true}
		open = append(open, v)
		stack = append(stack, frame{v: v})
	}
	for root := range g.state {
		if g.state[root].index != 0 {
			continue
		}
		enter(root)
		for len(stack) > 0 {
			f := &stack[len(stack)-1]
			v := f.v
			if out := g.callees(v); f.next < len(out) {
				c := int(out[f.next])
				f.next++
				switch s := &g.state[c]; {
				case s.index == 0:
					enter(c)
				case s.open:
					g.state[v].low = min(g.state[v].low, s.index)
					if c == v {
						g.state[v].cyclic = true
					}
				}
				continue
			}
			stack = stack[:len(stack)-1]
			if len(stack) > 0 {
				p := stack[len(stack)-1].v
				g.state[p].low = min(g.state[p].low, g.state[v].low)
			}
			if g.state[v].low != g.state[v].index {
				continue
			}
			cyclic := open[len(open)-1] != v // more than one in the component
			for {
				c := open[len(open)-1]
				open = open[:len(open)-1]
				g.state[c].open = false
				g.state[c].cyclic = g.state[c].cyclic || cyclic
				g.order = append(g.order, c)
				if c == v {
					break
				}
			}
		}
	}
}
