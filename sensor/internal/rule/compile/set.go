package compile

import (
	"fmt"
	"sort"

	"github.com/shikra-sensor/shikra/sensor/internal/rule/check"
	"github.com/shikra-sensor/shikra/sensor/internal/wasm"
)

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
