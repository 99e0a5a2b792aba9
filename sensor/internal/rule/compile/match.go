package compile

import (
	"encoding/binary"
	"fmt"
	"sort"

	"github.com/shikra-sensor/shikra/sensor/internal/field"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/check"
	"github.com/shikra-sensor/shikra/sensor/internal/wasm"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// test branches to target when the outcome of t is jump, and goes on when it isn't.
func (e *emitter) test(t *test, target wasm.Label, jump bool) {
	switch {
	case t.src.kind == anyAncestor:
		e.f.Get(e.ev)
		e.f.Get(e.index)
		e.f.Call(e.m.ancestors(t))
		e.decide(target, jump)
	case t.src.list && t.op != check.Exists:
		e.f.Get(e.ev)
		e.f.Get(e.index)
		e.f.Call(e.m.items(t))
		e.decide(target, jump)
	case !t.src.text:
		rec := e.ev
		if t.src.kind == direct {
			rec = e.record(t.src.read.Base, t.src.index)
		}
		e.numberTest(t, rec)
		e.decide(target, jump)
	default:
		e.textTest(t, e.value(t.src), target, jump)
	}
}

// textTest is test for a string that is in locals.
func (e *emitter) textTest(t *test, v *value, target wasm.Label, jump bool) {
	if e.expression(t, v) {
		e.decide(target, jump)
		return
	}
	if jump {
		e.match(t, v, target)
		return
	}
	yes := e.f.Block()
	e.match(t, v, yes)
	e.f.Br(target)
	e.f.End()
}

// expression pushes the outcome when it can be had without a branch, and says so.
func (e *emitter) expression(t *test, v *value) bool {
	f := e.f
	if t.op == check.Exists {
		e.atLeast(v, 0)
		return true
	}
	if len(t.vals) != 1 {
		return false
	}
	c := t.vals[0].Bytes
	switch t.op {
	case check.In:
		if len(c) > 8 || t.src.typ == field.IPNet {
			return false
		}
		f.Get(v.n)
		f.I32Const(int32(len(c)))
		f.Op(wasm.I32Eq)
		e.firstWord(v, c)
		return true
	case check.StartsWith:
		if len(c) > 8 {
			return false
		}
		e.atLeast(v, len(c))
		e.firstWord(v, c)
		return true
	case check.EndsWith:
		if len(c) == 0 {
			e.atLeast(v, 0)
			return true
		}
		if len(c) > 8 {
			return false
		}
		e.tailWord(v)
		e.tailEqual(v, c, nil)
		return true
	case check.Contains, check.IContains, check.Glob, check.IGlob, check.PMatch:
		e.call(t.op, v, c)
		return true
	case check.Lt, check.Le, check.Gt, check.Ge:
		e.atLeast(v, 0)
		f.Get(v.ptr())
		f.Get(v.n)
		f.I32Const(int32(e.m.constant(c)))
		f.I32Const(int32(len(c)))
		f.Call(e.m.helper(helperCompare))
		f.I32Const(0)
		switch t.op {
		case check.Lt:
			f.Op(wasm.I32LtS)
		case check.Le:
			f.Op(wasm.I32LeS)
		case check.Gt:
			f.Op(wasm.I32GtS)
		default:
			f.Op(wasm.I32GeS)
		}
		f.Op(wasm.I32And)
		return true
	}
	return false
}

func (e *emitter) atLeast(v *value, n int) {
	e.f.Get(v.n)
	e.f.I32Const(int32(n))
	e.f.Op(wasm.I32GeS)
}

// firstWord ands the outcome on the stack with: the string starts with c, which has at most 8 bytes.
func (e *emitter) firstWord(v *value, c []byte) {
	if len(c) == 0 {
		return
	}
	e.f.Get(v.word)
	e.mask(len(c))
	e.f.I64Const(word(c))
	e.f.Op(wasm.I64Eq, wasm.I32And)
}

// mask keeps the first n bytes of the word on the stack.
func (e *emitter) mask(n int) {
	if n < 8 {
		e.f.I64Const(wordMask(n))
		e.f.Op(wasm.I64And)
	}
}

func wordMask(n int) int64 {
	if n >= 8 {
		return -1
	}
	return 1<<(8*n) - 1
}

// word returns the first 8 bytes of c as a load gives them; missing bytes are 0.
func word(c []byte) int64 {
	var b [8]byte
	copy(b[:], c)
	return int64(binary.LittleEndian.Uint64(b[:]))
}

// call pushes the outcome of an operator that a helper decides.
func (e *emitter) call(op check.Op, v *value, c []byte) {
	f := e.f
	switch op {
	case check.Contains:
		if len(c) == 0 {
			e.atLeast(v, 0)
			return
		}
		rare := rarest(c[:min(len(c), 8)])
		f.Get(v.ptr())
		f.Get(v.n)
		f.I64Const(word(c))
		f.I64Const(wordMask(len(c)))
		f.I64Const(int64(uint64(c[rare]) * ones))
		f.I32Const(int32(rare))
		f.I32Const(int32(e.m.constant(c)))
		f.I32Const(int32(len(c)))
		f.Call(e.m.helper(helperFind))
	case check.IContains:
		if len(c) == 0 {
			e.atLeast(v, 0)
			return
		}
		c = lower(c)
		rare := rarest(c)
		var bit uint64
		if 'a' <= c[rare] && c[rare] <= 'z' {
			bit = 0x20 * ones
		}
		f.Get(v.ptr())
		f.Get(v.n)
		f.I64Const(int64(uint64(c[rare]) * ones))
		f.I64Const(int64(bit))
		f.I32Const(int32(rare))
		f.I32Const(int32(e.m.constant(c)))
		f.I32Const(int32(len(c)))
		f.Call(e.m.helper(helperFindFold))
	case check.Glob, check.IGlob:
		f.Get(v.ptr())
		f.Get(v.n)
		f.I32Const(int32(e.m.constant(globProgram(parseGlobFold(c, op == check.IGlob)))))
		f.Call(e.m.helper(helperGlob))
	case check.PMatch:
		f.Get(v.ptr())
		f.Get(v.n)
		f.I32Const(int32(e.m.constant(pathProgram(c))))
		f.Call(e.m.helper(helperPath))
	}
}

// ones has every byte 1.
const ones = 0x0101010101010101

// rarest returns the index of the byte of c that is least likely in paths and command lines.
func rarest(c []byte) int {
	best, rank := 0, 99
	for i, b := range c {
		r := 0
		switch {
		case b == ' ' || b == '/' || b == 'e' || b == 's' || b == 't' || b == 'i' || b == 'n' || b == 'o' || b == 'a' || b == 'r':
			r = 3
		case b == '-' || b == '.' || 'a' <= b && b <= 'z' || b == '0' || b == '1':
			r = 2
		case '0' <= b && b <= '9' || b == '_' || b == '=' || b == ':':
			r = 1
		}
		if r < rank {
			best, rank = i, r
		}
	}
	return best
}

// match branches to yes when t holds for v, and goes on when it doesn't.
func (e *emitter) match(t *test, v *value, yes wasm.Label) {
	switch t.op {
	case check.In:
		switch {
		case t.src.typ == field.IPNet:
			e.nets(v, t.vals, yes)
		case len(t.vals) > tableMin:
			e.f.Get(v.ptr())
			e.f.Get(v.n)
			e.f.I32Const(int32(e.m.table(t.vals)))
			e.f.Call(e.m.helper(helperMember))
			e.f.BrIf(yes)
		case len(t.vals) >= sharedMin:
			e.f.Get(v.ptr())
			e.f.Get(v.n)
			e.f.Get(v.word)
			e.f.Call(e.m.set(t.vals))
			e.f.BrIf(yes)
		default:
			e.equalSet(v, t.vals, yes)
		}
	case check.StartsWith:
		e.prefixSet(v, t.vals, yes)
	case check.EndsWith:
		e.suffixSet(v, t.vals, yes)
	default:
		for _, c := range t.vals {
			e.call(t.op, v, c.Bytes)
			e.f.BrIf(yes)
		}
	}
}

// tableMin is the number of strings in a set above which a hash table in the data replaces compares in the code.
const tableMin = 160

// sharedMin is the number of strings from which on a set has a function of its own, which all tests with that set call,
// whatever their field: lists are mostly used more than once.
const sharedMin = 8

// equalSet branches to yes when v is one of vals: by length, then by words of 8 bytes.
func (e *emitter) equalSet(v *value, vals []check.Const, yes wasm.Label) {
	f := e.f
	byLen := map[int][][]byte{}
	var lens []int
	for _, c := range vals {
		n := len(c.Bytes)
		if byLen[n] == nil {
			lens = append(lens, n)
		}
		byLen[n] = append(byLen[n], c.Bytes)
	}
	sort.Ints(lens)
	no := f.Block()
	if lo, hi := lens[0], lens[len(lens)-1]; len(lens) > 3 && hi-lo < 16*len(lens) {
		// A label for each length, the innermost for the shortest.
		labels := make([]wasm.Label, len(lens))
		for i := len(lens) - 1; i >= 0; i-- {
			labels[i] = f.Block()
		}
		table := make([]wasm.Label, hi-lo+1)
		for i := range table {
			table[i] = no
		}
		for i, n := range lens {
			table[n-lo] = labels[i]
		}
		f.Get(v.n)
		if lo != 0 {
			f.I32Const(int32(lo))
			f.Op(wasm.I32Sub)
		}
		f.BrTable(table, no)
		for i, n := range lens {
			f.End()
			e.sameLength(v, n, byLen[n], yes)
			if i < len(lens)-1 {
				f.Br(no)
			}
		}
	} else {
		for i, n := range lens {
			f.Get(v.n)
			f.I32Const(int32(n))
			if i == len(lens)-1 {
				f.Op(wasm.I32Ne)
				f.BrIf(no)
				e.sameLength(v, n, byLen[n], yes)
				break
			}
			f.Op(wasm.I32Eq)
			f.If()
			e.sameLength(v, n, byLen[n], yes)
			f.Br(no)
			f.End()
		}
	}
	f.End()
}

// wordOffsets returns where the 8-byte words of a string of n bytes are loaded; the last overlaps the one before it.
func wordOffsets(n int) []int {
	var out []int
	for o := 0; o+8 <= n; o += 8 {
		out = append(out, o)
	}
	switch {
	case n < 8:
		out = []int{0}
	case n%8 != 0:
		out = append(out, n-8)
	}
	return out
}

// sameLength branches to yes when v, which has n bytes, is one of set.
func (e *emitter) sameLength(v *value, n int, set [][]byte, yes wasm.Label) {
	switch {
	case n == 0:
		e.f.Br(yes)
	case n > maxWords:
		for _, c := range set {
			e.longEqual(v, c)
			e.f.BrIf(yes)
		}
	default:
		e.words(v, n, wordOffsets(n), set, yes)
	}
}

// maxWords is the most bytes that are compared in the code; longer strings are compared with a copy in the data.
const maxWords = 64

// longEqual pushes whether v, which has at least as many bytes, starts with c.
func (e *emitter) longEqual(v *value, c []byte) {
	e.f.Get(v.ptr())
	e.f.I32Const(int32(e.m.constant(c)))
	e.f.I32Const(int32(len(c)))
	e.f.Call(e.m.helper(helperEqual))
}

// maxChain is the most compares one after the other before they are split in halves.
const maxChain = 6

// words branches to yes when the words of v at offsets are those of one of set.
func (e *emitter) words(v *value, n int, offsets []int, set [][]byte, yes wasm.Label) {
	f := e.f
	if len(set) == 1 {
		for i, o := range offsets {
			e.word(v, n, o)
			f.I64Const(word(set[0][o:]))
			f.Op(wasm.I64Eq)
			if i < len(offsets)-1 {
				f.If()
			}
		}
		f.BrIf(yes)
		for range offsets[1:] {
			f.End()
		}
		return
	}
	groups := map[int64][][]byte{}
	var keys []int64
	for _, c := range set {
		k := word(c[offsets[0]:])
		if groups[k] == nil {
			keys = append(keys, k)
		}
		groups[k] = append(groups[k], c)
	}
	sort.Slice(keys, func(i, j int) bool { return uint64(keys[i]) < uint64(keys[j]) })
	w := v.word
	if offsets[0] != 0 || n < 8 {
		// Each depth of the words has a local of its own: an outer one is still wanted when an inner compare fails.
		w = e.scratch(fmt.Sprintf("word %d", len(offsets)), wasm.I64)
		e.word(v, n, offsets[0])
		f.Set(w)
	}
	e.chain(w, keys, func(k int64) {
		if len(offsets) == 1 {
			f.BrIf(yes)
			return
		}
		f.If()
		e.words(v, n, offsets[1:], groups[k], yes)
		f.End()
	})
}

// chain finds which of the sorted keys w is: for each in turn it pushes whether it is that one and calls hit.
func (e *emitter) chain(w wasm.Local, keys []int64, hit func(int64)) {
	f := e.f
	if len(keys) > maxChain {
		mid := len(keys) / 2
		f.Get(w)
		f.I64Const(keys[mid])
		f.Op(wasm.I64LtU)
		f.If()
		e.chain(w, keys[:mid], hit)
		f.Else()
		e.chain(w, keys[mid:], hit)
		f.End()
		return
	}
	for _, k := range keys {
		f.Get(w)
		f.I64Const(k)
		f.Op(wasm.I64Eq)
		hit(k)
	}
}

// word pushes the word of v at offset, masked when v has fewer than 8 bytes.
func (e *emitter) word(v *value, n, offset int) {
	if offset == 0 {
		e.f.Get(v.word)
		e.mask(n)
		return
	}
	e.f.Get(v.ptr())
	e.f.Mem(wasm.I64Load, uint32(offset))
}

// prefixSet branches to yes when v starts with one of vals.
func (e *emitter) prefixSet(v *value, vals []check.Const, yes wasm.Label) {
	f := e.f
	long := map[int64][][]byte{}
	var keys []int64
	for i, c := range vals {
		if i > 0 && covered(vals[:i], c.Bytes) {
			continue
		}
		if len(c.Bytes) <= 8 {
			e.atLeast(v, len(c.Bytes))
			e.firstWord(v, c.Bytes)
			f.BrIf(yes)
			continue
		}
		k := word(c.Bytes)
		if long[k] == nil {
			keys = append(keys, k)
		}
		long[k] = append(long[k], c.Bytes)
	}
	sort.Slice(keys, func(i, j int) bool { return uint64(keys[i]) < uint64(keys[j]) })
	e.chain(v.word, keys, func(k int64) {
		f.If()
		for _, c := range long[k] {
			e.atLeast(v, len(c))
			f.If()
			if len(c) > maxWords {
				e.longEqual(v, c)
				f.BrIf(yes)
			} else {
				e.words(v, len(c), wordOffsets(len(c))[1:], [][]byte{c}, yes)
			}
			f.End()
		}
		f.End()
	})
}

// covered reports whether one of vals, which are sorted, is a prefix of c: then c adds nothing.
func covered(vals []check.Const, c []byte) bool {
	for _, v := range vals {
		if len(v.Bytes) <= len(c) && string(c[:len(v.Bytes)]) == string(v.Bytes) {
			return true
		}
	}
	return false
}

// tailWord puts the last 8 bytes of v in a local; with fewer, bytes before it, which the string's head has.
func (e *emitter) tailWord(v *value) {
	f := e.f
	f.Get(v.ptr())
	f.Get(v.n)
	f.Op(wasm.I32Add)
	f.I32Const(8)
	f.Op(wasm.I32Sub)
	f.Mem(wasm.I64Load, 0)
	f.Set(e.scratch("tail", wasm.I64))
}

// tailEqual pushes whether v ends in c, or branches to yes when it does. A c of more than 8 bytes needs yes.
func (e *emitter) tailEqual(v *value, c []byte, yes *wasm.Label) {
	f := e.f
	last := c[max(0, len(c)-8):]
	e.atLeast(v, len(c))
	f.Get(e.scratch("tail", wasm.I64))
	if len(last) < 8 {
		f.I64Const(int64(64 - 8*len(last)))
		f.Op(wasm.I64ShrU)
	}
	f.I64Const(word(last))
	f.Op(wasm.I64Eq, wasm.I32And)
	if yes == nil {
		return
	}
	if len(c) <= 8 {
		f.BrIf(*yes)
		return
	}
	f.If()
	start := e.scratch("start", wasm.I32)
	f.Get(v.ptr())
	f.Get(v.n)
	f.Op(wasm.I32Add)
	f.I32Const(int32(len(c)))
	f.Op(wasm.I32Sub)
	f.Set(start)
	if len(c) > maxWords {
		f.Get(start)
		f.I32Const(int32(e.m.constant(c)))
		f.I32Const(int32(len(c)))
		f.Call(e.m.helper(helperEqual))
		f.BrIf(*yes)
		f.End()
		return
	}
	offsets := wordOffsets(len(c))
	offsets = offsets[:len(offsets)-1] // the last is compared
	for i, o := range offsets {
		f.Get(start)
		f.Mem(wasm.I64Load, uint32(o))
		f.I64Const(word(c[o:]))
		f.Op(wasm.I64Eq)
		if i < len(offsets)-1 {
			f.If()
		}
	}
	f.BrIf(*yes)
	for range offsets {
		f.End()
	}
}

// suffixSet branches to yes when v ends in one of vals.
func (e *emitter) suffixSet(v *value, vals []check.Const, yes wasm.Label) {
	e.tailWord(v)
	for _, c := range vals {
		if len(c.Bytes) == 0 {
			e.atLeast(v, 0)
			e.f.BrIf(yes)
			continue
		}
		e.tailEqual(v, c.Bytes, &yes)
	}
}

// nets branches to yes when v is an address in one of the networks.
func (e *emitter) nets(v *value, nets []check.Const, yes wasm.Label) {
	f := e.f
	for _, c := range nets {
		n := len(c.Bytes)
		f.Get(v.n)
		f.I32Const(int32(n))
		f.Op(wasm.I32Eq)
		for o := 0; o < n; o += 8 {
			bits := min(max(c.Bits-8*o, 0), 8*min(n, 8))
			if bits == 0 {
				break
			}
			m := netMask(bits)
			if o == 0 {
				f.Get(v.word)
			} else {
				f.Get(v.ptr())
				f.Mem(wasm.I64Load, uint32(o))
			}
			f.I64Const(m)
			f.Op(wasm.I64And)
			f.I64Const(word(c.Bytes[o:]) & m)
			f.Op(wasm.I64Eq, wasm.I32And)
		}
		f.BrIf(yes)
	}
}

// netMask returns the mask of the first bits of an address, in network order, for a word loaded little endian.
func netMask(bits int) int64 {
	var b [8]byte
	for i := range b {
		switch left := bits - 8*i; {
		case left >= 8:
			b[i] = 0xff
		case left > 0:
			b[i] = byte(0xff << (8 - left))
		}
	}
	return int64(binary.LittleEndian.Uint64(b[:]))
}

// ancestorTest emits the body of a function of the event's address: whether the test holds for any ancestor.
func (e *emitter) ancestorTest(t *test) {
	f := e.f
	rec := f.Local(wasm.I32, "ancestor")
	left := f.Local(wasm.I32, "left")
	yes := f.Block()
	no := f.Block()
	f.I32Const(field.MaxAncestors)
	f.Set(left)
	e.slot(e.ev, wasmabi.EventThread, wasmabi.SegmentThreads)
	f.Set(rec)
	next := f.Loop()
	f.Get(rec)
	f.Mem(wasm.I32Load, wasmabi.ThreadParent)
	f.Tee(rec)
	f.Op(wasm.I32Eqz)
	f.BrIf(no)
	f.Get(rec)
	e.m.recordAt(f, wasmabi.SegmentThreads)
	f.Set(rec)
	if t.src.text {
		v := e.newValue(t.src.name)
		e.directText(t.src, rec, v)
		if e.expression(t, v) {
			f.BrIf(yes)
		} else if t.op == check.Ne { // it has a value, and that isn't the one
			equal := f.Block()
			e.equalSet(v, t.vals, equal)
			e.atLeast(v, 0)
			f.BrIf(yes)
			f.End()
		} else {
			e.match(t, v, yes)
		}
	} else {
		e.numberTest(t, rec)
		f.BrIf(yes)
	}
	f.Get(left)
	f.I32Const(1)
	f.Op(wasm.I32Sub)
	f.Tee(left)
	f.BrIf(next)
	f.End()
	f.End()
	f.I32Const(0)
	f.Return()
	f.End()
	f.I32Const(1)
}

// listTest emits the body of a function that makes a test of a list: in wants every item in the set, intersects one. The
// items stand in the column one after the other, each followed by NUL.
func (e *emitter) listTest(t *test) {
	f := e.f
	v := e.newValue(t.src.name)
	end := f.Local(wasm.I32, "end")
	e.columnText(t.src, v)
	none := f.Block()
	f.Get(v.n)
	f.I32Const(0)
	f.Op(wasm.I32LeS)
	f.BrIf(none)
	f.Get(v.ptr())
	f.Get(v.n)
	f.Op(wasm.I32Add)
	f.Set(end)
	next := f.Loop()
	f.Get(v.ptr())
	f.Get(end)
	f.Get(v.ptr())
	f.Op(wasm.I32Sub)
	f.Call(e.m.helper(helperCut))
	f.Set(v.n)
	e.loadWord(v)
	in := &test{src: t.src, op: check.In, vals: t.vals}
	if t.op == check.In {
		hit := f.Block()
		e.match(in, v, hit)
		ret(f, 0)
		f.End()
	} else {
		miss, hit := f.Block(), f.Block()
		e.match(in, v, hit)
		f.Br(miss)
		f.End()
		ret(f, 1)
		f.End()
	}
	f.Get(v.ptr())
	f.Get(v.n)
	f.Op(wasm.I32Add)
	f.I32Const(1)
	f.Op(wasm.I32Add)
	f.Tee(v.ptr())
	f.Get(end)
	f.Op(wasm.I32LtU)
	f.BrIf(next)
	f.End()
	if t.op == check.In {
		ret(f, 1)
	}
	f.End()
	f.I32Const(0)
}
