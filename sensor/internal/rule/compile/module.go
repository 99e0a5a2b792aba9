package compile

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/check"
	"github.com/shikra-sensor/shikra/sensor/internal/wasm"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// module is a module of rules under construction. Its memory: the constants from dataStart on, then the window, then one
// page more, so that loading 8 bytes at the last byte of the window stays inside.
type module struct {
	b       *wasm.Builder
	rules   []*check.Rule
	helpers [numHelpers]*wasm.Func
	conds   map[*node]*wasm.Func  // conditions with a function of their own
	pending []*node               // those without a body as yet
	any     map[*test]*wasm.Func  // tests of any ancestor and of lists
	sets    map[string]*wasm.Func // sets of strings, by their bytes
	body    *node                 // the condition whose own function is being written

	opts   Options
	data   []byte            // from dataStart on
	at     map[string]uint32 // addresses of constants
	types  uint32            // address of the table of programs by event type
	window uint32

	alert    int                      // the import
	bases    [wasmabi.NumSegments]int // globals: addresses of the segments in use, -1 for others
	sizes    [wasmabi.NumSegments]int // globals: bytes of their records, -1 for others
	segments [wasmabi.NumSegments]bool
}

// dataStart keeps address 0 out of use.
const dataStart = 64

var recordSizes = [wasmabi.NumSegments]struct {
	offset int // in the directory; 0 for segments without records
	least  int
}{
	wasmabi.SegmentThreads:    {wasmabi.DirectoryThreadSize, wasmabi.ThreadSize},
	wasmabi.SegmentFiles:      {wasmabi.DirectoryFileSize, wasmabi.FileSize},
	wasmabi.SegmentContainers: {wasmabi.DirectoryContainerSize, wasmabi.ContainerSize},
}

func newModule(p *check.Program, o Options, src *sources, window uint32) *module {
	m := &module{
		b: wasm.NewBuilder(o.Name), rules: p.Rules, opts: o, window: window,
		conds: map[*node]*wasm.Func{}, any: map[*test]*wasm.Func{}, sets: map[string]*wasm.Func{}, at: map[string]uint32{},
	}
	m.segments[wasmabi.SegmentBatch] = true
	for _, s := range src.list {
		s.segments(&m.segments)
	}
	m.alert = m.b.Import(wasmabi.ImportModule, wasmabi.ImportAlert, []wasm.ValType{wasm.I32, wasm.I32}, nil)
	for s := range wasmabi.NumSegments {
		m.bases[s], m.sizes[s] = -1, -1
		if m.segments[s] {
			m.bases[s] = m.b.Global(s.String(), wasm.I32, true, 0)
			if recordSizes[s].offset != 0 {
				m.sizes[s] = m.b.Global(s.String()+" record", wasm.I32, true, 0)
			}
		}
	}
	m.b.ExportGlobal(wasmabi.ExportWindow, m.b.Global(wasmabi.ExportWindow, wasm.I32, false, int64(window)))
	return m
}

// code writes the functions, the memory and the constants.
func (m *module) code(programs []*program) {
	m.types = m.constant(typeTable(programs))
	version := m.b.Func(wasmabi.VersionExport, nil, []wasm.ValType{wasm.I32})
	version.I32Const(wasmabi.Minor)
	batch := m.b.Func(wasmabi.ExportBatch, nil, []wasm.ValType{wasm.I32})
	for _, p := range programs {
		m.write(p)
	}
	m.conditions()
	m.loop(batch, programs)
	pages := (m.window+m.opts.WindowSize)/wasm.PageSize + 1
	m.b.Memory(pages, pages)
	m.b.Data(dataStart, m.data)
	m.b.ExportMemory("memory")
	m.b.ExportFunc(wasmabi.VersionExport, version)
	m.b.ExportFunc(wasmabi.ExportBatch, batch)
}

// constant puts b in the data, once, and returns its address.
func (m *module) constant(b []byte) uint32 {
	if a, ok := m.at[string(b)]; ok {
		return a
	}
	for len(m.data)%4 != 0 {
		m.data = append(m.data, 0)
	}
	a := uint32(dataStart + len(m.data))
	m.data = append(m.data, b...)
	m.at[string(b)] = a
	return a
}

// base pushes the address of a segment.
func (m *module) base(f *wasm.Func, s wasmabi.Segment) { f.GlobalGet(m.bases[s]) }

// recordAt turns the slot on the stack into the address of its record.
func (m *module) recordAt(f *wasm.Func, s wasmabi.Segment) {
	f.GlobalGet(m.sizes[s])
	f.Op(wasm.I32Mul)
	m.base(f, s)
	f.Op(wasm.I32Add)
}

// condition returns the index of the function of a condition: (event, index) -> whether it holds.
func (m *module) condition(n *node) int {
	f, ok := m.conds[n]
	if !ok {
		f = m.b.Func(fmt.Sprintf("condition %d", n.id), []wasm.ValType{wasm.I32, wasm.I32}, []wasm.ValType{wasm.I32})
		m.conds[n] = f
		m.pending = append(m.pending, n)
	}
	return f.Index()
}

// conditions writes the bodies of the functions that condition promised.
func (m *module) conditions() {
	for len(m.pending) > 0 {
		n := m.pending[0]
		m.pending = m.pending[1:]
		m.body = n
		e := m.newEmitter(m.conds[n])
		e.count(n)
		no := e.f.Block()
		e.raw(n, no, false)
		ret(e.f, 1)
		e.f.End()
		e.f.I32Const(0)
		m.body = nil
	}
}

// ancestors returns the index of the function that makes a test of all ancestors.
func (m *module) ancestors(t *test) int {
	f, ok := m.any[t]
	if !ok {
		f = m.b.Func("any "+t.src.name, []wasm.ValType{wasm.I32, wasm.I32}, []wasm.ValType{wasm.I32})
		m.any[t] = f
		m.newEmitter(f).ancestorTest(t)
	}
	return f.Index()
}

// items returns the index of the function that makes a test of a list.
func (m *module) items(t *test) int {
	f, ok := m.any[t]
	if !ok {
		f = m.b.Func("items "+t.src.name, []wasm.ValType{wasm.I32, wasm.I32}, []wasm.ValType{wasm.I32})
		m.any[t] = f
		m.newEmitter(f).listTest(t)
	}
	return f.Index()
}

// set returns the index of the function of a set of strings: (address, length, first 8 bytes) -> whether it is in the set.
func (m *module) set(vals []check.Const) int {
	var key []byte
	for _, v := range vals {
		key = binary.AppendUvarint(key, uint64(len(v.Bytes)))
		key = append(key, v.Bytes...)
	}
	f, ok := m.sets[string(key)]
	if !ok {
		f = m.b.Func(setName(vals), []wasm.ValType{wasm.I32, wasm.I32, wasm.I64}, []wasm.ValType{wasm.I32})
		m.sets[string(key)] = f
		v := &value{lazy{f.Param(0, "p")}, f.Param(1, "n"), f.Param(2, "word")}
		e := &emitter{m: m, f: f, tmp: map[string]wasm.Local{}, facts: map[any]bool{}}
		yes := f.Block()
		e.equalSet(v, vals, yes)
		ret(f, 0)
		f.End()
		f.I32Const(1)
	}
	return f.Index()
}

func setName(vals []check.Const) string {
	return fmt.Sprintf("set %.32q… of %d", vals[0].Bytes, len(vals))
}

// noRule is the outcome of an event that no rule matches.
const noRule = 0x7fffffff

// program is the decision for the event types with the same rules and the same remaining conditions.
type program struct {
	types []event.Type
	items []item
	fn    int // index of its function: (event, index)
}

// maxProgram is the most bytes of code, as guessed, in one function of a program. A program with more is cut into parts
// with the rules in load order.
const maxProgram = 24 << 10

// write emits the functions of p.
func (m *module) write(p *program) {
	chunks := cut(p.items)
	if len(chunks) == 1 {
		f := m.b.Func(m.name("judge", p.types, p.items), []wasm.ValType{wasm.I32, wasm.I32}, nil)
		p.fn = f.Index()
		e := m.newEmitter(f)
		best := e.decision(chunks[0])
		e.alert(best)
		return
	}
	var parts []int
	for _, c := range chunks {
		f := m.b.Func(m.name("part", p.types, c), []wasm.ValType{wasm.I32, wasm.I32}, []wasm.ValType{wasm.I32})
		e := m.newEmitter(f)
		f.Get(e.decision(c))
		parts = append(parts, f.Index())
	}
	f := m.b.Func(m.name("judge", p.types, nil), []wasm.ValType{wasm.I32, wasm.I32}, nil)
	p.fn = f.Index()
	e := m.newEmitter(f)
	best := f.Local(wasm.I32, "best")
	found := f.Block()
	for i, part := range parts {
		f.Get(e.ev)
		f.Get(e.index)
		f.Call(part)
		f.Tee(best)
		if i < len(parts)-1 {
			f.I32Const(noRule)
			f.Op(wasm.I32Ne)
			f.BrIf(found)
		}
	}
	f.Op(wasm.Drop)
	f.End()
	e.alert(best)
}

// cut parts rules, in load order, so that the code of each part is small enough for one function.
func cut(items []item) [][]item {
	var out [][]item
	from, size := 0, 0
	seen := map[*node]bool{}
	for i, it := range items {
		n := 20
		for _, p := range it.parts {
			if !seen[p] {
				n += p.inline()
			}
		}
		if i > from && size+n > maxProgram {
			out = append(out, items[from:i])
			from, size = i, 0
			clear(seen)
		}
		size += n
		for _, p := range it.parts {
			seen[p] = true
		}
	}
	return append(out, items[from:])
}

// decision emits the rules and returns the local with the first that matches, or noRule.
func (e *emitter) decision(items []item) wasm.Local {
	best := e.f.Local(wasm.I32, "best")
	e.f.I32Const(noRule)
	e.f.Set(best)
	steps := plan(items)
	e.countSteps(steps)
	e.steps(steps, best)
	return best
}

func (e *emitter) alert(best wasm.Local) {
	e.f.Get(best)
	e.f.I32Const(noRule)
	e.f.Op(wasm.I32Ne)
	e.f.If()
	e.f.Get(e.index)
	e.f.Get(best)
	e.f.Call(e.m.alert)
	e.f.End()
}

// name says which event types a function judges, and where its rules stand.
func (m *module) name(what string, types []event.Type, items []item) string {
	var b strings.Builder
	b.WriteString(what)
	for i, t := range types {
		if i == 3 {
			fmt.Fprintf(&b, " +%d", len(types)-i)
			break
		}
		b.WriteByte(' ')
		b.WriteString(t.String())
	}
	last := ""
	for i, it := range items {
		if i == maxNamed {
			fmt.Fprintf(&b, " +%d", len(items)-i)
			break
		}
		p := m.rules[it.rule].Pos
		if p.File != last {
			b.WriteString(" " + p.File)
			last = p.File
		}
		b.WriteString(":" + strconv.Itoa(p.Line))
	}
	return b.String()
}

// maxNamed is the most rules whose lines a function's name lists.
const maxNamed = 40

// loop writes the exported function that judges a batch: 0 for success, 1 when the window isn't one, 2 when a segment
// that the rules need isn't mapped.
func (m *module) loop(f *wasm.Func, programs []*program) {
	batch, n, ev := f.Local(wasm.I32, "batch"), f.Local(wasm.I32, "n"), f.Local(wasm.I32, "event")
	at, end := f.Local(wasm.I32, "at"), f.Local(wasm.I32, "end")
	f.I32Const(int32(m.window))
	f.Set(at)
	f.Get(at)
	f.Mem(wasm.I32Load, wasmabi.DirectoryMagic)
	f.I32Const(wasmabi.MagicWord)
	f.Op(wasm.I32Ne)
	f.If()
	ret(f, 1)
	f.End()
	for s := range wasmabi.NumSegments {
		if !m.segments[s] {
			continue
		}
		f.Get(at)
		f.Mem(wasm.I32Load, uint32(wasmabi.DirectorySegments+8*s))
		f.Tee(batch)
		f.Op(wasm.I32Eqz)
		f.If()
		ret(f, 2)
		f.End()
		f.Get(batch)
		f.Get(at)
		f.Op(wasm.I32Add)
		f.GlobalSet(m.bases[s])
		if m.sizes[s] >= 0 {
			f.Get(at)
			f.Mem(wasm.I32Load, uint32(recordSizes[s].offset))
			f.Tee(n)
			f.I32Const(int32(recordSizes[s].least))
			f.Op(wasm.I32LtU)
			f.If()
			ret(f, 2)
			f.End()
			f.Get(n)
			f.GlobalSet(m.sizes[s])
		}
	}
	f.GlobalGet(m.bases[wasmabi.SegmentBatch])
	f.Tee(batch)
	f.Tee(at)
	f.Mem(wasm.I32Load, wasmabi.BatchCount)
	f.Tee(n)
	f.I32Const(wasmabi.BatchMax)
	f.Get(n)
	f.I32Const(wasmabi.BatchMax)
	f.Op(wasm.I32LtU, wasm.Select)
	f.Tee(n)
	f.Op(wasm.I32Eqz)
	f.If()
	ret(f, 0)
	f.End()
	f.Get(n)
	f.I32Const(2)
	f.Op(wasm.I32Shl)
	f.Get(at)
	f.Op(wasm.I32Add)
	f.Set(end)
	// at goes up by the size of one entry of the index: the event's number is only worked out for a program.
	next := f.Loop()
	cont := f.Block()
	labels := make([]wasm.Label, len(programs)+1)
	labels[0] = cont
	for k := len(programs); k > 0; k-- {
		labels[k] = f.Block()
	}
	if len(programs) > 0 {
		f.Get(batch)
		f.Get(at)
		f.Mem(wasm.I32Load, wasmabi.BatchIndex)
		f.Op(wasm.I32Add)
		f.Tee(ev)
		f.Mem(wasm.I32Load16U, wasmabi.EventType)
		f.Tee(n)
		f.I32Const(int32(event.NumTypes))
		f.Op(wasm.I32GeU)
		f.BrIf(cont)
		f.Get(n)
		f.I32Const(1)
		f.Op(wasm.I32Shl)
		f.Mem(wasm.I32Load16U, m.types)
		f.BrTable(labels, cont)
		for k, p := range programs {
			f.End()
			f.Get(ev)
			f.Get(at)
			f.Get(batch)
			f.Op(wasm.I32Sub)
			f.I32Const(2)
			f.Op(wasm.I32ShrU)
			f.Call(p.fn)
			if k < len(programs)-1 {
				f.Br(cont)
			}
		}
	}
	f.End()
	f.Get(at)
	f.I32Const(4)
	f.Op(wasm.I32Add)
	f.Tee(at)
	f.Get(end)
	f.Op(wasm.I32LtU)
	f.BrIf(next)
	f.End()
	f.I32Const(0)
}

// typeTable is the data by which loop finds the program of an event type: u16 each, 0 for none.
func typeTable(programs []*program) []byte {
	out := make([]byte, 2*event.NumTypes)
	for k, p := range programs {
		for _, t := range p.types {
			if int(t) < event.NumTypes {
				binary.LittleEndian.PutUint16(out[2*int(t):], uint16(k+1))
			}
		}
	}
	return out
}
