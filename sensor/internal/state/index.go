package state

import (
	"math/bits"
	"math/rand/v2"
)

// index maps keys to values that are never 0, in open-addressing arrays of plain integers, which the garbage collector
// doesn't scan. It never grows: the caller puts at most as many keys as it was made for.
type index struct {
	keys []uint64
	vals []uint32 // 0: the place is empty
	mask uint32
	seed uint64
	n    int
}

func newIndex(limit int) index {
	size := 1 << bits.Len(uint(max(2*limit, 16)-1))
	return index{keys: make([]uint64, size), vals: make([]uint32, size), mask: uint32(size - 1), seed: rand.Uint64()}
}

// home returns where key would stand in an empty table. Keys come from outside, so where they fall isn't theirs to choose.
func (x *index) home(key uint64) uint32 {
	key = (key ^ x.seed) * 0x9E3779B97F4A7C15
	key ^= key >> 29
	key *= 0xBF58476D1CE4E5B9
	return uint32(key>>32) & x.mask
}

// get returns the value of key, 0 for none.
func (x *index) get(key uint64) uint32 {
	for i := x.home(key); ; i = (i + 1) & x.mask {
		if v := x.vals[i]; v == 0 || x.keys[i] == key {
			return v
		}
	}
}

// put sets the value of key.
func (x *index) put(key uint64, val uint32) {
	i := x.home(key)
	for x.vals[i] != 0 && x.keys[i] != key {
		i = (i + 1) & x.mask
	}
	if x.vals[i] == 0 {
		x.n++
	}
	x.keys[i], x.vals[i] = key, val
}

// del removes key, and moves what stood behind it forward so that no search ends early: there are no tombstones.
func (x *index) del(key uint64) {
	i := x.home(key)
	for ; x.keys[i] != key || x.vals[i] == 0; i = (i + 1) & x.mask {
		if x.vals[i] == 0 {
			return
		}
	}
	x.n--
	for j := i; ; {
		j = (j + 1) & x.mask
		if x.vals[j] == 0 {
			break
		}
		// What stands at j may move to the hole at i when its home isn't cyclically within (i, j].
		if h := x.home(x.keys[j]); (j-h)&x.mask >= (j-i)&x.mask {
			x.keys[i], x.vals[i] = x.keys[j], x.vals[j]
			i = j
		}
	}
	x.vals[i] = 0
}
