package wasm

// imm is the kind of an instruction's immediate operands.
type imm uint8

const (
	immBad imm = iota
	immNone
	immBlock      // block type
	immElse       //
	immEnd        //
	immLabel      // label
	immTargets    // labels of a br_table
	immFunc       // function
	immIndirect   // type, table
	immLocal      // local
	immGlobal     // global
	immTable      // table
	immMem        // alignment, offset
	immMemIdx     // memory 0
	imm32         // signed 32 bits
	imm64         // signed 64 bits
	imm4Bytes     //
	imm8Bytes     //
	imm16Bytes    //
	immSelect     // one value type
	immRefType    // reference type
	immMemInit    // data segment, memory 0
	immData       // data segment
	immMemCopy    // memory 0, memory 0
	immTableInit  // element segment, table
	immElem       // element segment
	immTableCopy  // table, table
	immLane       // lane
	immMemLane    // alignment, offset, lane
	immShuffle    // 16 lanes
	immTailCalls  // refused: they would leave the depth counter behind
	immThreads    // refused
	immExceptions // refused
)

// The opcodes that only the reader and the rewriting look at. Two-byte opcodes are prefix<<8 + code.
const (
	opUnreachable = 0x00
	opIndirect    = 0x11
	opMemoryGrow  = 0x40
	opRefFunc     = 0xd2
	opMemoryInit  = 0xfc08
	opMemoryCopy  = 0xfc0a
	opMemoryFill  = 0xfc0b
	opTableInit   = 0xfc0c
	opTableCopy   = 0xfc0e
	opTableGrow   = 0xfc0f
	opTableFill   = 0xfc11
)

// oneByte maps the one-byte opcodes to their immediates (core specification 2.0, §5.4).
var oneByte = func() (t [256]imm) {
	set := func(from, to int, k imm) {
		for i := from; i <= to; i++ {
			t[i] = k
		}
	}
	set(0x00, 0x01, immNone) // unreachable, nop
	set(0x02, 0x04, immBlock)
	set(0x05, 0x05, immElse)
	set(0x06, 0x0a, immExceptions)
	set(0x0b, 0x0b, immEnd)
	set(0x0c, 0x0d, immLabel)
	set(0x0e, 0x0e, immTargets)
	set(0x0f, 0x0f, immNone) // return
	set(0x10, 0x10, immFunc)
	set(0x11, 0x11, immIndirect)
	set(0x12, 0x15, immTailCalls)
	set(0x18, 0x19, immExceptions)
	set(0x1a, 0x1b, immNone) // drop, select
	set(0x1c, 0x1c, immSelect)
	set(0x1f, 0x1f, immExceptions)
	set(0x20, 0x22, immLocal)
	set(0x23, 0x24, immGlobal)
	set(0x25, 0x26, immTable)
	set(0x28, 0x3e, immMem)
	set(0x3f, 0x40, immMemIdx)
	set(0x41, 0x41, imm32)
	set(0x42, 0x42, imm64)
	set(0x43, 0x43, imm4Bytes)
	set(0x44, 0x44, imm8Bytes)
	set(0x45, 0xc4, immNone) // comparisons, arithmetic, conversions, sign extensions
	set(0xd0, 0xd0, immRefType)
	set(0xd1, 0xd1, immNone)
	set(0xd2, 0xd2, immFunc)
	set(0xfe, 0xfe, immThreads)
	return t
}()

// afterFC maps the opcodes after 0xfc.
var afterFC = [...]imm{immNone, immNone, immNone, immNone, immNone, immNone, immNone, immNone, // saturating truncations
	immMemInit, immData, immMemCopy, immMemIdx, immTableInit, immElem, immTableCopy, immTable, immTable, immTable}

// afterFD maps the vector opcodes after 0xfd (core specification 2.0, §5.4.9); the holes stay immBad.
var afterFD = func() (t [256]imm) {
	for i := range t {
		t[i] = immNone
	}
	set := func(from, to int, k imm) {
		for i := from; i <= to; i++ {
			t[i] = k
		}
	}
	set(0, 11, immMem)
	set(12, 12, imm16Bytes)
	set(13, 13, immShuffle)
	set(21, 34, immLane)
	set(84, 91, immMemLane)
	set(92, 93, immMem)
	for _, i := range [...]int{154, 162, 165, 166, 175, 176, 178, 179, 180, 187, 194, 197, 198, 207, 208, 210, 211, 212, 226, 238} {
		t[i] = immBad
	}
	return t
}()

// instr is one instruction.
type instr struct {
	op      uint16   // one byte, or prefix<<8 + code
	kind    imm      //
	at      int      // where it starts in the body
	a, b    uint32   // indices, in the order of the format
	targets []uint32 // br_table: its labels, the default last; valid until the next instruction
	block   []byte   // block type as it stands
}

// next reads one instruction.
func (c *cursor) next(in *instr, scratch *[]uint32) {
	in.at = c.p
	op := c.byte()
	in.op = uint16(op)
	in.kind = oneByte[op]
	switch op {
	case 0xfc:
		sub := c.u32()
		if sub < uint32(len(afterFC)) {
			in.op, in.kind = 0xfc00+uint16(sub), afterFC[sub]
		}
	case 0xfd:
		sub := c.u32()
		if sub < uint32(len(afterFD)) {
			in.op, in.kind = 0xfd00+uint16(sub), afterFD[sub]
		}
	}
	switch in.kind {
	case immNone, immElse, immEnd:
	case immBlock:
		at := c.p
		if t := c.signed(33); c.err == nil {
			in.block = c.b[at:c.p]
			in.a = uint32(t)
			if t < 0 && (len(in.block) != 1 || t != -64 && !isValType(in.block[0])) {
				c.fail(at, "block type %d", t)
			}
		}
	case immLabel, immFunc, immLocal, immGlobal, immTable, immData, immElem:
		in.a = c.u32()
	case immTargets:
		n := c.count("labels", maxTargets)
		t := (*scratch)[:0]
		for i := 0; i <= n && c.err == nil; i++ {
			t = append(t, c.u32())
		}
		in.targets, *scratch = t, t
	case immIndirect, immTableCopy, immTableInit, immMemInit, immMemCopy:
		in.a, in.b = c.u32(), c.u32()
	case immMem:
		in.a, in.b = c.u32(), c.u32()
	case immMemLane:
		in.a, in.b = c.u32(), c.u32()
		c.byte()
	case immMemIdx:
		in.a = c.u32()
	case imm32:
		c.signed(32)
	case imm64:
		c.signed(64)
	case imm4Bytes:
		c.take(4)
	case imm8Bytes:
		c.take(8)
	case imm16Bytes, immShuffle:
		c.take(16)
	case immSelect:
		if n := c.u32(); c.err == nil && n != 1 {
			c.fail(in.at, "select with %d types", n)
		}
		c.valType()
	case immRefType:
		c.refType()
	case immLane:
		c.byte()
	case immTailCalls:
		c.fail(in.at, "tail calls aren't supported (instruction %#x)", op)
	case immThreads:
		c.fail(in.at, "threads aren't supported (instruction %#x)", op)
	case immExceptions:
		c.fail(in.at, "exceptions aren't supported (instruction %#x)", op)
	default:
		if op == 0xfc || op == 0xfd {
			c.fail(in.at, "unknown instruction % x", c.b[in.at:min(c.p, len(c.b))])
		} else {
			c.fail(in.at, "unknown instruction %#x", op)
		}
	}
}

// bodyCheck checks that bodies are well-formed: instructions known, blocks nested, indices within the module's own
// counts. So nothing that the rewriting adds can be named by the guest.
type bodyCheck struct {
	m      *Binary
	ifs    []bool // per open block: whether it is an if without its else
	labels []uint32
}

func (k *bodyCheck) check(b *body, sig Signature) *FormatError {
	m := k.m
	c := cursor{b: b.raw, base: b.offset, section: "code"}
	locals := uint64(len(sig.Params))
	for n := c.count("local declarations", maxLocals); n > 0 && c.err == nil; n-- {
		at := c.p
		d := localDecl{n: c.u32()}
		d.t = c.valType()
		b.decls = append(b.decls, d)
		if locals += uint64(d.n); c.err == nil && locals > maxLocals {
			c.fail(at, "%d locals, the most is %d", locals, maxLocals)
		}
	}
	b.locals = uint32(locals)
	b.code = c.p
	k.ifs = append(k.ifs[:0], false)
	labels := uint64(1)
	var in instr
	for len(k.ifs) > 0 && c.err == nil {
		c.next(&in, &k.labels)
		if c.err != nil {
			break
		}
		switch in.kind {
		case immBlock:
			if in.block[0] != 0x40 && !isValType(in.block[0]) && int(in.a) >= len(m.Types) {
				c.fail(in.at, "block of type %d of %d", in.a, len(m.Types))
			}
			if len(k.ifs) == maxNesting {
				c.fail(in.at, "more than %d blocks inside one another", maxNesting)
			}
			if labels++; labels*locals > maxLocalLabels {
				c.fail(in.at, "%d locals and more than %d blocks in one function", locals, labels)
			}
			k.ifs = append(k.ifs, in.op == opIf)
		case immElse:
			if !k.ifs[len(k.ifs)-1] {
				c.fail(in.at, "else without if")
			}
			k.ifs[len(k.ifs)-1] = false
		case immEnd:
			k.ifs = k.ifs[:len(k.ifs)-1]
		case immLabel:
			k.label(&c, &in, in.a)
		case immTargets:
			for _, l := range in.targets {
				k.label(&c, &in, l)
			}
		case immFunc:
			k.index(&c, &in, "function", in.a, m.NumFuncs())
		case immIndirect:
			k.index(&c, &in, "type", in.a, len(m.Types))
			k.index(&c, &in, "table", in.b, m.NumTables())
		case immLocal:
			k.index(&c, &in, "local", in.a, int(locals))
		case immGlobal:
			k.index(&c, &in, "global", in.a, m.NumGlobals())
		case immTable:
			k.index(&c, &in, "table", in.a, m.NumTables())
		case immMem, immMemLane:
			if in.a >= 32 {
				c.fail(in.at, "alignment 2^%d", in.a)
			}
			k.index(&c, &in, "memory", 0, m.NumMemories())
		case immMemIdx:
			k.index(&c, &in, "memory", in.a, m.NumMemories())
		case immMemCopy:
			k.index(&c, &in, "memory", in.a, m.NumMemories())
			k.index(&c, &in, "memory", in.b, m.NumMemories())
		case immMemInit:
			k.index(&c, &in, "data segment", in.a, int(m.dataCount))
			k.index(&c, &in, "memory", in.b, m.NumMemories())
		case immData:
			k.index(&c, &in, "data segment", in.a, int(m.dataCount))
		case immTableInit:
			k.index(&c, &in, "element segment", in.a, len(m.elems))
			k.index(&c, &in, "table", in.b, m.NumTables())
		case immElem:
			k.index(&c, &in, "element segment", in.a, len(m.elems))
		case immTableCopy:
			k.index(&c, &in, "table", in.a, m.NumTables())
			k.index(&c, &in, "table", in.b, m.NumTables())
		}
	}
	if c.err == nil && c.p != len(c.b) {
		c.fail(c.p, "%d bytes after the function's end", len(c.b)-c.p)
	}
	return c.err
}

func (k *bodyCheck) label(c *cursor, in *instr, l uint32) {
	k.index(c, in, "label", l, len(k.ifs))
}

func (k *bodyCheck) index(c *cursor, in *instr, what string, i uint32, n int) {
	if c.err == nil && uint64(i) >= uint64(n) {
		c.fail(in.at, "%s %d of %d", what, i, n)
	}
}
