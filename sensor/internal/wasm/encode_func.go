package wasm

import "sort"

// Local is a parameter or a local of one function.
type Local struct{ index int }

// Label names an open block, loop or if of one function.
type Label struct {
	id    int
	depth int
}

// Func is a function under construction: its methods append instructions. A call that can't be encoded is kept as an
// error, which Builder.Encode returns.
type Func struct {
	name   string
	sig    int
	index  int
	params int
	types  []ValType // parameters, then locals
	names  []string  // "" for none
	b      []byte
	fixups []fixup // uses of locals; their numbers are known when the function is complete
	open   []int   // ids of the open blocks
	next   int
	err    error
}

// fixup is a place in the code where the number of a local belongs.
type fixup struct{ at, local int }

// Index returns the function's index in the module.
func (f *Func) Index() int { return f.index }

// Name returns the function's name.
func (f *Func) Name() string { return f.name }

// SetName changes the function's name.
func (f *Func) SetName(name string) { f.name = name }

// Size returns the bytes of code so far, without the numbers of locals.
func (f *Func) Size() int { return len(f.b) + len(f.fixups) }

// Param returns parameter i and names it.
func (f *Func) Param(i int, name string) Local {
	if i >= f.params {
		f.fail(errLocal)
		return Local{}
	}
	f.names[i] = name
	return Local{i}
}

// Local adds a local, which is zero at the start. The name may be empty.
func (f *Func) Local(t ValType, name string) Local {
	f.types = append(f.types, t)
	f.names = append(f.names, name)
	return Local{len(f.types) - 1}
}

func (f *Func) fail(err error) {
	if f.err == nil {
		f.err = err
	}
}

// finals returns the numbers that the locals have in the encoding, where those of one type stand together.
func (f *Func) finals() []int {
	out := make([]int, len(f.types))
	n := 0
	for ; n < f.params; n++ {
		out[n] = n
	}
	for _, t := range []ValType{I32, I64} {
		for j := f.params; j < len(f.types); j++ {
			if f.types[j] == t {
				out[j] = n
				n++
			}
		}
	}
	return out
}

// nameMap returns the entries of the name section for the named locals, in order of their numbers, and their count.
func (f *Func) nameMap() ([]byte, int) {
	final := f.finals()
	var order []int
	for i := range final {
		if f.names[i] != "" {
			order = append(order, i)
		}
	}
	sort.Slice(order, func(a, b int) bool { return final[order[a]] < final[order[b]] })
	var out []byte
	for _, i := range order {
		out = appendName(appendUint(out, uint64(final[i])), f.names[i])
	}
	return out, len(order)
}

func (f *Func) encode() []byte {
	final := f.finals()
	var count [2]uint64
	for _, t := range f.types[f.params:] {
		if t == I32 {
			count[0]++
		} else {
			count[1]++
		}
	}
	var groups uint64
	var decl []byte
	for i, t := range []ValType{I32, I64} {
		if count[i] > 0 {
			groups++
			decl = append(appendUint(decl, count[i]), byte(t))
		}
	}
	out := append(appendUint(nil, groups), decl...)
	from := 0
	for _, x := range f.fixups {
		out = append(out, f.b[from:x.at]...)
		out = appendUint(out, uint64(final[x.local]))
		from = x.at
	}
	out = append(out, f.b[from:]...)
	return append(out, opEnd)
}

func (f *Func) op(op byte) { f.b = append(f.b, op) }

func (f *Func) local(op byte, l Local) {
	if l.index >= len(f.types) {
		f.fail(errLocal)
		return
	}
	f.b = append(f.b, op)
	f.fixups = append(f.fixups, fixup{len(f.b), l.index})
}

// Get pushes a local.
func (f *Func) Get(l Local) { f.local(opLocalGet, l) }

// Set pops a local.
func (f *Func) Set(l Local) { f.local(opLocalSet, l) }

// Tee stores the top of the stack in a local and leaves it there.
func (f *Func) Tee(l Local) { f.local(opLocalTee, l) }

// GlobalGet pushes a global.
func (f *Func) GlobalGet(index int) { f.b = appendUint(append(f.b, opGlobalGet), uint64(index)) }

// GlobalSet pops a global.
func (f *Func) GlobalSet(index int) { f.b = appendUint(append(f.b, opGlobalSet), uint64(index)) }

// I32Const pushes a constant.
func (f *Func) I32Const(v int32) { f.b = appendInt(append(f.b, opI32Const), int64(v)) }

// I64Const pushes a constant.
func (f *Func) I64Const(v int64) { f.b = appendInt(append(f.b, opI64Const), v) }

// Call calls the function with that index.
func (f *Func) Call(index int) { f.b = appendUint(append(f.b, opCall), uint64(index)) }

// Op appends an instruction without immediates.
func (f *Func) Op(ops ...Op) {
	for _, o := range ops {
		f.b = append(f.b, byte(o))
	}
}

// Mem appends a load or a store at the address on the stack plus offset. The alignment hint is 1, which is always true.
func (f *Func) Mem(o MemOp, offset uint32) {
	f.b = appendUint(append(f.b, byte(o), 0), uint64(offset))
}

// MemAligned is Mem with the alignment 1<<log2 promised, at most the size of the access.
func (f *Func) MemAligned(o MemOp, log2 uint32, offset uint32) {
	f.b = appendUint(appendUint(append(f.b, byte(o)), uint64(log2)), uint64(offset))
}

// MemoryCopy copies: destination, source and length are on the stack.
func (f *Func) MemoryCopy() { f.b = append(f.b, opPrefix, 10, 0, 0) }

// MemoryFill fills: destination, byte and length are on the stack.
func (f *Func) MemoryFill() { f.b = append(f.b, opPrefix, 11, 0) }

func (f *Func) begin(op byte, result []ValType) Label {
	f.b = append(f.b, op)
	switch len(result) {
	case 0:
		f.b = append(f.b, 0x40)
	default:
		f.b = append(f.b, byte(result[0]))
	}
	f.next++
	f.open = append(f.open, f.next)
	return Label{f.next, len(f.open) - 1}
}

// Block opens a block: a branch to it goes to its End. At most one result.
func (f *Func) Block(result ...ValType) Label { return f.begin(opBlock, result) }

// Loop opens a loop: a branch to it goes to its start.
func (f *Func) Loop() Label { return f.begin(opLoop, nil) }

// If pops a condition and opens an if.
func (f *Func) If(result ...ValType) Label { return f.begin(opIf, result) }

// Else starts the other branch of the innermost if.
func (f *Func) Else() { f.op(opElse) }

// End closes the innermost block.
func (f *Func) End() {
	if len(f.open) == 0 {
		f.fail(errNoBlock)
		return
	}
	f.open = f.open[:len(f.open)-1]
	f.op(opEnd)
}

// Depth returns how many blocks are open.
func (f *Func) Depth() int { return len(f.open) }

func (f *Func) relative(l Label) uint64 {
	if l.depth >= len(f.open) || f.open[l.depth] != l.id {
		f.fail(errLabel)
		return 0
	}
	return uint64(len(f.open) - 1 - l.depth)
}

// Br branches.
func (f *Func) Br(l Label) { f.b = appendUint(append(f.b, opBr), f.relative(l)) }

// BrIf pops a condition and branches when it isn't 0.
func (f *Func) BrIf(l Label) { f.b = appendUint(append(f.b, opBrIf), f.relative(l)) }

// BrTable pops an index and branches to that label of table, or to other past its end.
func (f *Func) BrTable(table []Label, other Label) {
	f.b = appendUint(append(f.b, opBrTable), uint64(len(table)))
	for _, l := range table {
		f.b = appendUint(f.b, f.relative(l))
	}
	f.b = appendUint(f.b, f.relative(other))
}

// Return returns from the function with what is on the stack.
func (f *Func) Return() { f.op(opReturn) }
