package wasm

// analysis is what the rewriting has to know of one function before it writes it.
type analysis struct {
	charges  []uint64 // what the entry and then each loop, in order of appearance, pay at a time
	calls    []uint32 // own functions it calls directly, numbered without the imports
	indirect bool     // it calls through a table
	scratch  bool     // it needs an i32 local
	bulk     uint8    // bits: helpers it needs
	weight   uint32   // of one frame
	counted  uint32   // what it takes off the depth; 0 when it can't be on the stack twice
}

const (
	needPay = 1 << iota
	needFill
	needCopy
	needGrow
)

// The costs of instructions in units of fuel, roughly in ns of compiled code.
const (
	costCharge   = 4 // of looking at the fuel itself
	costEntry    = costCharge + 2
	costCall     = 4
	costIndirect = 8
	costHost     = 40 // the call of an imported function
	costDivide   = 4
	costBulk     = 16  // and 1 for each 8 bytes
	costGrow     = 100 // and costPage for each page
	costPage     = 2000
	bulkShift    = 3         // 8 bytes for one unit
	bulkChunk    = 512 << 10 // bytes that a bulk operation moves between two looks at the fuel
)

func (w *rewriter) cost(in *instr) uint64 {
	switch in.op {
	case opBlock, opLoop, opElse, opEnd, 0x01: // nop
		return 0
	case opCall:
		if in.a < w.nimp {
			return costHost
		}
		return costCall
	case opIndirect:
		return costIndirect
	case 0x6d, 0x6e, 0x6f, 0x70, 0x7f, 0x80, 0x81, 0x82, 0x91, 0x95, 0x9f, 0xa3: // div, rem, sqrt
		return costDivide
	case opMemoryGrow:
		return costGrow
	case opMemoryInit, opMemoryCopy, opMemoryFill, opTableInit, opTableCopy, opTableGrow, opTableFill:
		return costBulk
	}
	return 1
}

// way is one open block during the analysis.
type way struct {
	op       uint16
	depth    int   // how many loops it stands in
	atBranch int64 // the longest way to a branch to its end; -1 for none
	atIf     int64 // the way to an if, for its else; -1 when it can't be reached
	charge   int   // loop: its place in charges
	resume   int64 // loop: the way of the code around it, up to the loop
}

// analyse goes through every body. A charge is the longest way, in cost, from the entry or the loop's head to
// any place before the next loop or the end: branches go forward but to loops, so one pass finds it. Code after a branch
// that nothing jumps to costs nothing.
func (w *rewriter) analyse() {
	w.funcs = make([]analysis, len(w.m.bodies))
	var ways []way
	var longest []int64 // per loop that is open, and the function: the longest way in it
	var resume []int64  // the way in the loop of depth i at which the one of depth i+1 starts
	var labels []uint32
	for i := range w.m.bodies {
		b := &w.m.bodies[i]
		a := &w.funcs[i]
		c := cursor{b: b.raw, p: b.code, base: b.offset, section: "code"}
		a.charges = append(a.charges, 0)
		ways = append(ways[:0], way{op: opBlock, atBranch: -1})
		longest = append(longest[:0], costEntry)
		resume = resume[:0]
		cur := int64(costEntry) // -1: this code can't be reached
		branch := func(label uint32) {
			t := &ways[len(ways)-1-int(label)]
			if cur < 0 || t.op == opLoop {
				return // a loop's head pays again
			}
			at := cur
			if t.depth < len(resume) {
				at = resume[t.depth]
			}
			t.atBranch = max(t.atBranch, at)
		}
		var in instr
		for len(ways) > 0 && c.err == nil {
			c.next(&in, &labels)
			if cur >= 0 {
				cur += int64(w.cost(&in))
				longest[len(longest)-1] = max(longest[len(longest)-1], cur)
			}
			switch in.op {
			case opBlock:
				ways = append(ways, way{op: in.op, depth: len(resume), atBranch: -1})
			case opIf:
				ways = append(ways, way{op: in.op, depth: len(resume), atBranch: -1, atIf: cur})
			case opElse:
				t := &ways[len(ways)-1]
				t.op = opBlock
				t.atBranch = max(t.atBranch, cur)
				cur = t.atIf
			case opLoop:
				a.charges = append(a.charges, 0)
				ways = append(ways, way{op: in.op, depth: len(resume) + 1, charge: len(a.charges) - 1, resume: cur})
				resume = append(resume, cur)
				longest = append(longest, costCharge)
				if cur >= 0 {
					cur = costCharge
				}
			case opEnd:
				t := ways[len(ways)-1]
				ways = ways[:len(ways)-1]
				switch t.op {
				case opLoop:
					n := len(longest) - 1
					a.charges[t.charge] = uint64(longest[n])
					longest, resume = longest[:n], resume[:n-1]
					if cur >= 0 {
						cur = t.resume
					}
				case opIf: // without else
					cur = max(cur, t.atBranch, t.atIf)
				default:
					cur = max(cur, t.atBranch)
				}
			case opBr, opBrIf:
				branch(in.a)
				if in.op == opBr {
					cur = -1
				}
			case opBrTable:
				for _, l := range in.targets {
					branch(l)
				}
				cur = -1
			case opReturn, opUnreachable:
				cur = -1
			case opCall:
				if in.a >= w.nimp {
					a.calls = append(a.calls, in.a-w.nimp)
				}
			case opIndirect:
				a.indirect = true
			case opMemoryFill:
				a.bulk |= needPay | needFill
			case opMemoryCopy:
				a.bulk |= needPay | needCopy
			case opMemoryGrow:
				a.bulk |= needGrow
			case opMemoryInit, opTableInit, opTableCopy, opTableGrow, opTableFill:
				a.bulk |= needPay
				a.scratch = true
			}
		}
		a.charges[0] = uint64(longest[0])
		a.weight = weight(b)
	}
}
