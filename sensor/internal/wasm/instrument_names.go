package wasm

// The parts of the name section (core specification 2.0, §7.4.1, and the extended-name-section proposal).
const (
	namesModule    = 0
	namesFunctions = 1
	namesLocals    = 2
	namesLabels    = 3 // numbered by blocks, which the rewriting adds to: left out
)

// names returns the name section after the rewriting, or nil when the module's can't be read: names are a comfort, not
// worth a refusal.
func (w *rewriter) names() []byte {
	src, _ := w.m.Custom("name")
	out := appendName(nil, "name")
	var funcs []byte
	n := uint64(0)
	c := cursor{b: src, section: "name"}
	var tail []byte // the parts after the functions'
	for c.p < len(c.b) && c.err == nil {
		id := c.byte()
		part := cursor{b: c.take(c.u32()), section: "name"}
		if c.err != nil {
			break
		}
		switch id {
		case namesModule:
			out = appendSection(out, id, part.b)
		case namesFunctions:
			funcs, n = w.functionNames(&part)
		case namesLocals:
			if b := w.localNames(&part); part.err == nil {
				tail = appendSection(tail, id, b)
			}
		case namesLabels:
		default: // types, tables, memories, globals and segments keep their numbers
			tail = appendSection(tail, id, part.b)
		}
		if part.err != nil {
			return nil
		}
	}
	if c.err != nil {
		return nil
	}
	base := uint64(w.m.NumFuncs()) + 1
	for i, h := range w.helpers {
		funcs = appendName(appendUint(funcs, base+uint64(i)), h.name)
		n++
	}
	out = appendSection(out, namesFunctions, append(appendUint(nil, n), funcs...))
	return append(out, tail...)
}

func (w *rewriter) functionNames(c *cursor) (out []byte, n uint64) {
	last := int64(-1)
	for k := c.count("names", maxFunctions); k > 0 && c.err == nil; k-- {
		at := c.p
		i := c.index("function", w.m.NumFuncs())
		name := c.take(c.u32())
		if c.err == nil && int64(i) <= last {
			c.fail(at, "names out of order")
		}
		last = int64(i)
		out = append(appendUint(appendUint(out, uint64(w.fn(i))), uint64(len(name))), name...)
		n++
	}
	return out, n
}

func (w *rewriter) localNames(c *cursor) []byte {
	k := c.count("functions", maxFunctions)
	out := appendUint(nil, uint64(k))
	for ; k > 0 && c.err == nil; k-- {
		out = appendUint(out, uint64(w.fn(c.index("function", w.m.NumFuncs()))))
		n := c.count("names", maxLocals)
		out = appendUint(out, uint64(n))
		for ; n > 0 && c.err == nil; n-- {
			at := c.p
			c.u32()
			c.take(c.u32())
			if c.err == nil {
				out = append(out, c.b[at:c.p]...)
			}
		}
	}
	return out
}
