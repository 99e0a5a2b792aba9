package compile

import (
	"github.com/shikra-sensor/shikra/sensor/internal/field"
	"github.com/shikra-sensor/shikra/sensor/internal/wasm"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// emitter writes the body of one function that judges one event. What it has loaded or decided it keeps in locals, and
// it knows which of that must have happened wherever it is in the code, so that it asks only where it can't know.
type emitter struct {
	m     *module
	f     *wasm.Func
	ev    wasm.Local // address of the event
	index wasm.Local // its index in the batch

	recs  map[recKey]*lazy
	vals  map[*source]*value
	memos map[*node]wasm.Local
	uses  map[*node]int // how often a condition stands in this function
	tmp   map[string]wasm.Local

	facts map[any]bool // what holds at this place: *lazy is loaded, memoKey is computed, *node is true or false
	log   []any        // keys of facts in the order they were learned
}

// lazy is something loaded at its first use.
type lazy struct{ state wasm.Local } // 0: not yet

// memoKey stands for: the memo of this node is computed.
type memoKey struct{ n *node }

func (m *module) newEmitter(f *wasm.Func) *emitter {
	return &emitter{
		m: m, f: f, ev: f.Param(0, "event"), index: f.Param(1, "index"),
		recs: map[recKey]*lazy{}, vals: map[*source]*value{}, memos: map[*node]wasm.Local{}, uses: map[*node]int{},
		tmp: map[string]wasm.Local{}, facts: map[any]bool{},
	}
}

// learn notes a fact, which holds until the log is cut back to where it is now.
func (e *emitter) learn(key any, v bool) {
	if _, ok := e.facts[key]; !ok {
		e.facts[key] = v
		e.log = append(e.log, key)
	}
}

// forget drops what was learned since the log had n entries: at a place that other ways lead to.
func (e *emitter) forget(n int) {
	for _, k := range e.log[n:] {
		delete(e.facts, k)
	}
	e.log = e.log[:n]
}

// scratch returns a local for use within one test.
func (e *emitter) scratch(name string, t wasm.ValType) wasm.Local {
	l, ok := e.tmp[name]
	if !ok {
		l = e.f.Local(t, name)
		e.tmp[name] = l
	}
	return l
}

// once makes sure that l is loaded.
func (e *emitter) once(l *lazy, load func()) {
	if e.facts[l] {
		return
	}
	e.f.Get(l.state)
	e.f.Op(wasm.I32Eqz)
	e.f.If()
	load()
	e.f.End()
	// What load needed was loaded at the same time as l, whichever way led here: those facts stay.
	e.learn(l, true)
}

// decide pops a condition and branches to target when it is jump.
func (e *emitter) decide(target wasm.Label, jump bool) {
	if !jump {
		e.f.Op(wasm.I32Eqz)
	}
	e.f.BrIf(target)
}

// branch goes to target when n is jump, and on when it isn't.
func (e *emitter) branch(n *node, target wasm.Label, jump bool) {
	if v, ok := e.facts[n]; ok {
		if v == jump {
			e.f.Br(target)
		}
		return
	}
	switch n.kind {
	case never, always:
		if (n.kind == always) == jump {
			e.f.Br(target)
		}
		return
	case negation:
		e.branch(n.x[0], target, !jump)
		e.learn(n, !jump)
		return
	}
	if e.uses[n] > 1 && n.cost >= memoCost {
		e.memo(n)
		e.f.I32Const(2)
		if jump {
			e.f.Op(wasm.I32Eq)
		} else {
			e.f.Op(wasm.I32Ne)
		}
		e.f.BrIf(target)
	} else {
		e.raw(n, target, jump)
	}
	e.learn(n, !jump)
}

// memoCost is the least cost of a condition whose outcome is worth a local.
const memoCost = 7

// memo pushes the outcome of n: 1 false, 2 true; it is computed at the first use.
func (e *emitter) memo(n *node) {
	l, ok := e.memos[n]
	if !ok {
		l = e.f.Local(wasm.I32, "memo")
		e.memos[n] = l
	}
	if !e.facts[memoKey{n}] {
		e.f.Get(l)
		e.f.Op(wasm.I32Eqz)
		at := len(e.log)
		e.f.If()
		out := e.f.Block()
		no := e.f.Block()
		e.raw(n, no, false)
		e.f.I32Const(2)
		e.f.Set(l)
		e.f.Br(out)
		e.f.End()
		e.f.I32Const(1)
		e.f.Set(l)
		e.f.End()
		e.f.End()
		e.forget(at)
		e.learn(memoKey{n}, true)
	}
	e.f.Get(l)
}

// raw is branch without a look at what is known of n.
func (e *emitter) raw(n *node, target wasm.Label, jump bool) {
	if n.outlined() && n != e.m.body {
		e.f.Get(e.ev)
		e.f.Get(e.index)
		e.f.Call(e.m.condition(n))
		e.decide(target, jump)
		return
	}
	switch n.kind {
	case leaf:
		e.test(n.test, target, jump)
	case allOf, anyOf:
		decides := n.kind == anyOf // the outcome of a part that settles the whole
		if jump == decides {
			for _, x := range n.x {
				e.branch(x, target, decides)
			}
			return
		}
		at := len(e.log)
		out := e.f.Block()
		for _, x := range n.x[:len(n.x)-1] {
			e.branch(x, out, decides)
		}
		e.branch(n.x[len(n.x)-1], target, jump)
		e.f.End()
		e.forget(at)
	}
}

// step is a piece of a decision program: a rule with what is left of its condition, or a guard before several steps.
type step struct {
	rule  int
	parts []*node // all must hold
	guard *node   // not nil: body follows when it holds
	body  []step
}

// item is a rule that is still to be placed.
type item struct {
	rule  int
	parts []*node
}

// plan orders rules so that a part which several of them need is asked once for all of them. The outcome doesn't depend
// on the order: of the rules that match the first one in load order is kept.
func plan(items []item) []step {
	var out []step
	for len(items) > 0 {
		g := bestGuard(items)
		if g == nil {
			for _, it := range items {
				out = append(out, step{rule: it.rule, parts: it.parts})
			}
			return out
		}
		var with, rest []item
		for _, it := range items {
			if i := find(it.parts, g); i >= 0 {
				parts := append(append([]*node(nil), it.parts[:i]...), it.parts[i+1:]...)
				with = append(with, item{it.rule, parts})
			} else {
				rest = append(rest, it)
			}
		}
		out = append(out, step{guard: g, body: plan(with)})
		items = rest
	}
	return out
}

// bestGuard returns the part that saves most when it is asked first: cheap and wanted by many; nil for none.
func bestGuard(items []item) *node {
	count := map[*node]int{}
	var order []*node
	for _, it := range items {
		for _, p := range it.parts {
			if count[p]++; count[p] == 2 {
				order = append(order, p)
			}
		}
	}
	var best *node
	score := 0.0
	for _, p := range order {
		s := float64(count[p]-1) * (1.1 - p.likely) / float64(p.cost+4)
		if best == nil || s > score || s == score && p.id < best.id {
			best, score = p, s
		}
	}
	return best
}

func find(x []*node, n *node) int {
	for i := range x {
		if x[i] == n {
			return i
		}
	}
	return -1
}

// count notes how often conditions stand in the code of n; what stands in a condition that is kept in a memo counts once.
func (e *emitter) count(n *node) {
	if n.kind == negation {
		e.count(n.x[0])
		return
	}
	e.uses[n]++
	if e.uses[n] > 1 || n.outlined() && n != e.m.body {
		return
	}
	for _, x := range n.x {
		e.count(x)
	}
}

func (e *emitter) countSteps(steps []step) {
	for _, s := range steps {
		if s.guard != nil {
			e.count(s.guard)
			e.countSteps(s.body)
			continue
		}
		for _, p := range s.parts {
			e.count(p)
		}
	}
}

// steps emits steps; the least rule that matches ends up in best.
func (e *emitter) steps(steps []step, best wasm.Local) {
	for _, s := range steps {
		at := len(e.log)
		out := e.f.Block()
		if s.guard != nil {
			e.branch(s.guard, out, false)
			e.steps(s.body, best)
		} else {
			parts := append([]*node(nil), s.parts...)
			order(allOf, parts)
			for _, p := range parts {
				e.branch(p, out, false)
			}
			e.f.Get(best)
			e.f.I32Const(int32(s.rule))
			e.f.Get(best)
			e.f.I32Const(int32(s.rule))
			e.f.Op(wasm.I32LtU, wasm.Select)
			e.f.Set(best)
		}
		e.f.End()
		e.forget(at)
	}
}

// recKey names a record of the event: its base, and for an ancestor which.
type recKey struct {
	base  field.Base
	index int
}

// record makes the address of a record a local and returns it. A record that isn't there is the one of slot 0, which is
// all zeros.
func (e *emitter) record(base field.Base, index int) wasm.Local {
	if base == field.Event {
		return e.ev
	}
	if base == field.Ancestor && index == 0 {
		base = field.Leader
	}
	if base == field.Ancestor && index == 1 {
		base = field.Parent
	}
	if base != field.Ancestor {
		index = 0
	}
	k := recKey{base, index}
	l, ok := e.recs[k]
	if !ok {
		l = &lazy{e.f.Local(wasm.I32, recName(k))}
		e.recs[k] = l
	}
	e.once(l, func() {
		switch base {
		case field.Thread:
			e.slot(e.ev, wasmabi.EventThread, wasmabi.SegmentThreads)
		case field.File:
			e.slot(e.ev, wasmabi.EventFile, wasmabi.SegmentFiles)
		case field.Leader:
			e.slot(e.record(field.Thread, 0), wasmabi.ThreadLeader, wasmabi.SegmentThreads)
		case field.Parent:
			e.slot(e.record(field.Thread, 0), wasmabi.ThreadParent, wasmabi.SegmentThreads)
		case field.Container:
			e.slot(e.record(field.Thread, 0), wasmabi.ThreadContainer, wasmabi.SegmentContainers)
		case field.Ancestor:
			e.slot(e.record(field.Ancestor, index-1), wasmabi.ThreadParent, wasmabi.SegmentThreads)
		}
		e.f.Set(l.state)
	})
	return l.state
}

// slot pushes the address of the record whose slot stands at offset of the record at from.
func (e *emitter) slot(from wasm.Local, offset int, seg wasmabi.Segment) {
	e.f.Get(from)
	e.f.Mem(wasm.I32Load, uint32(offset))
	e.m.recordAt(e.f, seg)
}

func recName(k recKey) string {
	switch k.base {
	case field.Thread:
		return "thread"
	case field.File:
		return "file"
	case field.Leader:
		return "leader"
	case field.Parent:
		return "parent"
	case field.Container:
		return "container"
	}
	return "ancestor"
}
