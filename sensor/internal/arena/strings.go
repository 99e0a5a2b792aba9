package arena

import (
	"bytes"
	"hash/maphash"
	"math/bits"

	"github.com/shikra-sensor/shikra/wasmabi"
)

// MaxString is the most bytes one interned string has; longer ones are cut by Intern.
const MaxString = 64 << 10

// zombieBytes is how much of a segment may hold strings that nothing refers to any more. They are kept a while because
// a name just closed is often opened again.
const zombieBytes = 512 << 10

// Strings interns strings in a segment: equal strings have equal refs. Each is counted; what nobody refers to is
// reclaimed at a flush. A chunk is: u32 count, u32 next chunk of the hash chain, then wasmabi's string record, which a
// ref points to. Chunks come in size classes; the segment is a hard limit.
type Strings struct {
	b       []byte
	next    uint32 // first byte never used
	buckets []uint32
	mask    uint32
	free    [classes][]uint32
	zombies fifo
	zombieB int
	used    int // bytes in chunks that are referred to or zombies
	count   int
	full    uint64
	cut     uint64
	seed    maphash.Seed
}

const (
	chunkHead = 8                        // count and next, before the record
	overhead  = chunkHead + 8 + 1        // and the record's head and the NUL
	classes   = 2 * 13                   // sizes 32, 48, 64, 96, 128 … 64 KiB and one more
	inFifo    = uint32(1) << 31          // in the count: the chunk stands in the fifo
	align     = 16                       // refs are chunk+8
	_         = uint(wasmabi.StringSize) // 8
)

func newStrings(b []byte) *Strings {
	n := 1 << bits.Len(uint(min(len(b)/256, 1<<16)))
	return &Strings{b: b, next: align, buckets: make([]uint32, n), mask: uint32(n - 1), seed: maphash.MakeSeed()}
}

// class returns the size class of n bytes and its size: 32·2^k and 48·2^k.
func class(n int) (int, int) {
	if n <= 32 {
		return 0, 32
	}
	k := bits.Len(uint(n-1)) - 6 // 33..64 → 0
	if n <= 48<<k {
		return 2*k + 1, 48 << k
	}
	return 2*k + 2, 64 << k
}

// Intern returns the ref of a string equal to s and counts the caller among its owners; each must Release it once. It
// returns 0 when the segment is full, which is counted, and cuts what is longer than MaxString. s is copied.
func (t *Strings) Intern(s []byte) uint32 {
	if len(s) > MaxString {
		s = s[:MaxString]
		t.cut++
	}
	h := uint32(maphash.Bytes(t.seed, s))
	slot := &t.buckets[h&t.mask]
	for c := *slot; c != 0; c = le.Uint32(t.b[c+4:]) {
		r := t.b[c+chunkHead:]
		if le.Uint32(r[4:]) == h && int(le.Uint32(r)) == len(s) && bytes.Equal(r[8:8+len(s)], s) {
			t.retain(c)
			return c + chunkHead
		}
	}
	k, size := class(len(s) + overhead)
	c, ok := t.chunk(k, size)
	if !ok {
		t.full++
		return 0
	}
	r := t.b[c : int(c)+size]
	le.PutUint32(r[0:], 1)
	le.PutUint32(r[4:], *slot)
	le.PutUint32(r[8:], uint32(len(s)))
	le.PutUint32(r[12:], h)
	copy(r[16:], s)
	r[16+len(s)] = 0
	*slot = c
	t.used += size
	t.count++
	return c + chunkHead
}

// InternString is Intern for a string.
func (t *Strings) InternString(s string) uint32 { return t.Intern([]byte(s)) }

func (t *Strings) chunk(k, size int) (uint32, bool) {
	if n := len(t.free[k]); n > 0 {
		c := t.free[k][n-1]
		t.free[k] = t.free[k][:n-1]
		return c, true
	}
	if int(t.next)+size <= len(t.b) {
		c := t.next
		t.next += uint32(size)
		return c, true
	}
	return 0, false
}

func (t *Strings) retain(c uint32) {
	n := le.Uint32(t.b[c:])
	if n&^inFifo == 0 {
		t.zombieB -= t.size(c)
	}
	le.PutUint32(t.b[c:], n+1)
}

func (t *Strings) size(c uint32) int {
	_, size := class(int(le.Uint32(t.b[c+chunkHead:])) + overhead)
	return size
}

// Retain counts one more owner of ref and returns it. 0 stays 0.
func (t *Strings) Retain(ref uint32) uint32 {
	if ref != 0 {
		t.retain(ref - chunkHead)
	}
	return ref
}

// Release counts one owner less. The bytes stay as they are until the batch is flushed. 0 is ignored.
func (t *Strings) Release(ref uint32) {
	if ref == 0 {
		return
	}
	c := ref - chunkHead
	n := le.Uint32(t.b[c:]) - 1
	if n&^inFifo == 0 {
		t.zombieB += t.size(c)
		if n&inFifo == 0 {
			n |= inFifo
			t.zombies.push(c)
		}
	}
	le.PutUint32(t.b[c:], n)
}

// Get returns the bytes of ref as a view, valid until the owner's Release and the flush after it; nil for 0.
func (t *Strings) Get(ref uint32) []byte {
	if ref == 0 {
		return nil
	}
	n := le.Uint32(t.b[ref:])
	o := uint64(ref) + 8
	return t.b[o : o+uint64(n) : o+uint64(n)]
}

// flushed reclaims the oldest strings without owners until at most zombieBytes of them are left.
func (t *Strings) flushed() {
	for t.zombieB > zombieBytes {
		c, ok := t.zombies.pop()
		if !ok {
			return
		}
		n := le.Uint32(t.b[c:]) &^ inFifo
		le.PutUint32(t.b[c:], n)
		if n == 0 {
			t.reclaim(c)
		}
	}
}

func (t *Strings) reclaim(c uint32) {
	p := t.buckets[le.Uint32(t.b[c+chunkHead+4:])&t.mask]
	next := le.Uint32(t.b[c+4:])
	if p == c {
		t.buckets[le.Uint32(t.b[c+chunkHead+4:])&t.mask] = next
	} else {
		for le.Uint32(t.b[p+4:]) != c {
			p = le.Uint32(t.b[p+4:])
		}
		le.PutUint32(t.b[p+4:], next)
	}
	k, size := class(int(le.Uint32(t.b[c+chunkHead:])) + overhead)
	t.free[k] = append(t.free[k], c)
	t.zombieB -= size
	t.used -= size
	t.count--
}

// Used returns the bytes in use, those of strings kept for a while included.
func (t *Strings) Used() int { return t.used }

// Limit returns the segment's size in bytes.
func (t *Strings) Limit() int { return len(t.b) }

// Count returns the distinct strings held.
func (t *Strings) Count() int { return t.count }

// Full returns how many strings found no room, Cut how many were cut to MaxString.
func (t *Strings) Full() uint64 { return t.full }

// Cut returns how many strings were cut to MaxString.
func (t *Strings) Cut() uint64 { return t.cut }

// fifo is a queue in a ring that grows; its length is bounded by the chunks of the segment.
type fifo struct {
	b       []uint32
	head, n int
}

func (f *fifo) push(v uint32) {
	if f.n == len(f.b) {
		nb := make([]uint32, max(64, 2*len(f.b)))
		for i := range f.n {
			nb[i] = f.b[(f.head+i)&(len(f.b)-1)]
		}
		f.b, f.head = nb, 0
	}
	f.b[(f.head+f.n)&(len(f.b)-1)] = v
	f.n++
}

func (f *fifo) pop() (uint32, bool) {
	if f.n == 0 {
		return 0, false
	}
	v := f.b[f.head]
	f.head = (f.head + 1) & (len(f.b) - 1)
	f.n--
	return v, true
}
