package wasm

import "strings"

// Helper reports whether a function's name, with or without its module's, is one that Instrument adds.
func Helper(name string) bool {
	for _, h := range [...]string{"refuel", "pay", "fill", "copy", "grow"} {
		if strings.HasSuffix(name, helperPrefix+h) {
			return true
		}
	}
	return false
}

const helperPrefix = "shikra."

// addHelpers makes the functions that the rewritten code calls, as far as it needs them.
func (w *rewriter) addHelpers() {
	var need uint8
	for i := range w.funcs {
		need |= w.funcs[i].bulk
	}
	next := uint32(w.m.NumFuncs()) + 1
	add := func(name string, params, results []byte, code func(b []byte) []byte) uint32 {
		w.helpers = append(w.helpers, helper{name: name, typ: w.sig(params, results), code: append(code(nil), opEnd)})
		next++
		return next - 1
	}
	i32 := byte(typeI32)
	w.refuel = add(helperPrefix+"refuel", nil, nil, func(b []byte) []byte {
		b = append(b, opLoop, 0x40)
		b = w.get(b, w.fuel)
		b = appendUint(append(b, opCall), uint64(w.nimp))
		b = w.set(append(b, byte(I64Add)), w.fuel)
		b = append(w.get(b, w.fuel), opI64Const, 0, byte(I64LtS), opBrIf, 0)
		return append(b, opEnd)
	})
	if need&needPay != 0 {
		// (bytes): takes 1 for each 8 of them off the fuel.
		w.pay = add(helperPrefix+"pay", []byte{i32}, nil, func(b []byte) []byte {
			b = append(w.get(b, w.fuel), opLocalGet, 0, byte(I64ExtendI32U), opI64Const, bulkShift, byte(I64ShrU), byte(I64Sub))
			return w.refuelIfNegative(w.set(b, w.fuel))
		})
	}
	if need&needFill != 0 {
		// (at, value, n): memory.fill in chunks.
		w.fill = add(helperPrefix+"fill", []byte{i32, i32, i32}, nil, func(b []byte) []byte {
			b = w.chunks(b, func(b []byte) []byte {
				b = append(chunk(append(b, opLocalGet, 0, opLocalGet, 1)), opPrefix, 11, 0)
				return append(chunk(append(b, opLocalGet, 0)), byte(I32Add), opLocalSet, 0)
			}, true)
			return append(b, opLocalGet, 0, opLocalGet, 1, opLocalGet, 2, opPrefix, 11, 0)
		})
	}
	if need&needCopy != 0 {
		// (to, from, n): memory.copy in chunks, from the side on which the ranges can overlap.
		w.copy = add(helperPrefix+"copy", []byte{i32, i32, i32}, nil, func(b []byte) []byte {
			b = append(b, opLocalGet, 0, opLocalGet, 1, byte(I32LeU), opIf, 0x40)
			b = w.chunks(b, func(b []byte) []byte {
				b = append(chunk(append(b, opLocalGet, 0, opLocalGet, 1)), opPrefix, 10, 0, 0)
				b = append(chunk(append(b, opLocalGet, 0)), byte(I32Add), opLocalSet, 0)
				return append(chunk(append(b, opLocalGet, 1)), byte(I32Add), opLocalSet, 1)
			}, true)
			b = append(b, opElse)
			b = w.chunks(b, func(b []byte) []byte {
				b = append(b, opLocalGet, 0, opLocalGet, 2, byte(I32Add), opLocalGet, 1, opLocalGet, 2, byte(I32Add))
				return append(chunk(b), opPrefix, 10, 0, 0)
			}, false)
			b = append(b, opEnd)
			return append(b, opLocalGet, 0, opLocalGet, 1, opLocalGet, 2, opPrefix, 10, 0, 0)
		})
	}
	if need&needGrow != 0 {
		// (pages) -> result of memory.grow
		w.grow = add(helperPrefix+"grow", []byte{i32}, []byte{i32}, func(b []byte) []byte {
			b = append(w.get(b, w.fuel), opLocalGet, 0, byte(I64ExtendI32U), opI64Const)
			b = w.set(append(appendInt(b, costPage), byte(I64Mul), byte(I64Sub)), w.fuel)
			b = w.refuelIfNegative(b)
			return append(b, opLocalGet, 0, opMemoryGrow, 0)
		})
	}
}

func chunk(b []byte) []byte { return appendInt(append(b, opI32Const), bulkChunk) }

// chunks writes a loop that runs do while local 2, the bytes left, is more than a chunk, pays for the chunk and takes
// it off local 2: after do when after is set, else before.
func (w *rewriter) chunks(b []byte, do func([]byte) []byte, after bool) []byte {
	less := func(b []byte) []byte {
		return append(chunk(append(b, opLocalGet, 2)), byte(I32Sub), opLocalSet, 2)
	}
	b = append(b, opBlock, 0x40, opLoop, 0x40)
	b = append(chunk(append(b, opLocalGet, 2)), byte(I32LeU), opBrIf, 1)
	b = appendUint(append(chunk(b), opCall), uint64(w.pay))
	if after {
		b = less(do(b))
	} else {
		b = do(less(b))
	}
	b = append(b, opBr, 0, opEnd, opEnd)
	return appendUint(append(b, opLocalGet, 2, opCall), uint64(w.pay))
}

func (w *rewriter) get(b []byte, global uint32) []byte {
	return appendUint(append(b, opGlobalGet), uint64(global))
}

func (w *rewriter) set(b []byte, global uint32) []byte {
	return appendUint(append(b, opGlobalSet), uint64(global))
}

func (w *rewriter) refuelIfNegative(b []byte) []byte {
	b = append(w.get(b, w.fuel), opI64Const, 0, byte(I64LtS), opIf, 0x40)
	return append(appendUint(append(b, opCall), uint64(w.refuel)), opEnd)
}

// charge writes the payment of n units.
func (w *rewriter) charge(b []byte, n uint64) []byte {
	b = appendInt(append(w.get(b, w.fuel), opI64Const), int64(n))
	return w.refuelIfNegative(w.set(append(b, byte(I64Sub)), w.fuel))
}

// code returns the code section: the bodies rewritten, then the helpers.
func (w *rewriter) code() []byte {
	size := 0
	for i := range w.m.bodies {
		size += len(w.m.bodies[i].raw)
	}
	out := make([]byte, 0, size+size/3+1024)
	out = appendUint(out, uint64(len(w.m.bodies)+len(w.helpers)))
	var b []byte
	var labels []uint32
	for i := range w.m.bodies {
		b = w.body(b[:0], i, &labels)
		out = append(appendUint(out, uint64(len(b))), b...)
	}
	for _, h := range w.helpers {
		b = append(append(b[:0], 0), h.code...) // no locals
		out = append(appendUint(out, uint64(len(b))), b...)
	}
	return out
}

func (w *rewriter) body(b []byte, i int, labels *[]uint32) []byte {
	src := &w.m.bodies[i]
	a := &w.funcs[i]
	decls := len(src.decls)
	if a.scratch {
		decls++
	}
	b = appendUint(b, uint64(decls))
	for _, d := range src.decls {
		b = append(appendUint(b, uint64(d.n)), d.t)
	}
	scratch := src.locals
	if a.scratch {
		b = append(b, 1, typeI32)
	}
	if a.counted > 0 {
		b = w.enter(b, a.counted, w.m.Types[w.m.Funcs[i]].Results)
	}
	b = w.charge(b, a.charges[0])

	c := cursor{b: src.raw, p: src.code, base: src.offset, section: "code"}
	from := c.p // what of the source is written
	loops, open := 0, 1
	var in instr
	for open > 0 && c.err == nil {
		c.next(&in, labels)
		keep := func(to int) {
			b = append(b, src.raw[from:to]...)
			from = c.p
		}
		switch in.op {
		case opBlock, opIf:
			open++
		case opLoop:
			open++
			loops++
			keep(c.p)
			b = w.charge(b, a.charges[loops])
		case opEnd:
			open--
		case opReturn:
			if a.counted > 0 { // leave through the end of the function, which gives the depth back
				keep(in.at)
				b = appendUint(append(b, opBr), uint64(open-1))
			}
		case opCall:
			keep(in.at)
			b = appendUint(append(b, opCall), uint64(w.fn(in.a)))
		case opRefFunc:
			keep(in.at)
			b = appendUint(append(b, opRefFunc), uint64(w.fn(in.a)))
		case opMemoryFill:
			keep(in.at)
			b = appendUint(append(b, opCall), uint64(w.fill))
		case opMemoryCopy:
			keep(in.at)
			b = appendUint(append(b, opCall), uint64(w.copy))
		case opMemoryGrow:
			keep(in.at)
			b = appendUint(append(b, opCall), uint64(w.grow))
		case opMemoryInit, opTableInit, opTableCopy, opTableGrow, opTableFill: // the count is on top of the stack
			keep(in.at)
			b = appendUint(append(b, opLocalTee), uint64(scratch))
			b = appendUint(append(b, opLocalGet), uint64(scratch))
			b = appendUint(append(b, opCall), uint64(w.pay))
			b = append(b, src.raw[in.at:c.p]...)
		}
	}
	b = append(b, src.raw[from:c.p]...)
	if a.counted > 0 { // the source's end has closed the block around it
		b = w.get(b, w.depth)
		b = w.set(append(appendInt(append(b, opI32Const), int64(a.counted)), byte(I32Add)), w.depth)
		b = append(b, opEnd)
	}
	return b
}

// enter takes n off the depth, traps when nothing is left, and opens a block around the body, so that its label is
// what the function's was.
func (w *rewriter) enter(b []byte, n uint32, results []byte) []byte {
	b = appendInt(append(w.get(b, w.depth), opI32Const), int64(n))
	b = w.set(append(b, byte(I32Sub)), w.depth)
	b = append(w.get(b, w.depth), opI32Const, 0, byte(I32LtS), opIf, 0x40, opUnreachable, opEnd)
	b = append(b, opBlock)
	switch len(results) {
	case 0:
		return append(b, 0x40)
	case 1:
		return append(b, results[0])
	}
	return appendInt(b, int64(w.sig(nil, results)))
}
