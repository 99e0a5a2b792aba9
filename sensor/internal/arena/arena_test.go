package arena

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/wasmabi"
)

func newArena(t testing.TB, c Config) *Arena {
	t.Helper()
	a, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

func TestSegments(t *testing.T) {
	a := newArena(t, Config{Threads: 10})
	for s := range wasmabi.NumSegments {
		fd, size := a.Segment(s)
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil || st.Size != int64(size) || size == 0 || size%wasmabi.WindowAlign != 0 {
			t.Errorf("%s: %d bytes, file has %d, %v", s, size, st.Size, err)
		}
		if err := unix.Ftruncate(fd, 0); err != unix.EPERM {
			t.Errorf("%s can shrink: %v", s, err)
		}
	}
	if _, err := New(Config{Strings: math.MaxInt32}); err == nil {
		t.Error("a segment of 2 GiB was made")
	}
	b, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestTable: a freed slot keeps its bytes and isn't given out until the flush; marks last until it.
func TestTable(t *testing.T) {
	tab := newArena(t, Config{Threads: 3}).Threads
	x, _ := tab.Alloc()
	y, _ := tab.Alloc()
	z, ok := tab.Alloc()
	if _, more := tab.Alloc(); !ok || more || x == 0 || x == y || y == z || tab.Full() != 1 || tab.Used() != 3 || tab.Limit() != 3 || tab.High() != 4 {
		t.Fatalf("%d %d %d: %+v", x, y, z, tab)
	}
	copy(tab.Record(y), "kept")
	if tab.Mark(y) || !tab.Mark(y) || !tab.Marked(y) || tab.Marked(x) {
		t.Error("marks are wrong")
	}
	tab.Free(y)
	tab.Free(0)
	if _, ok := tab.Alloc(); ok || tab.Pending() != 1 || string(tab.Record(y)[:4]) != "kept" {
		t.Error("a freed slot was given out before the flush")
	}
	tab.flushed()
	if tab.Marked(y) {
		t.Error("still marked after the flush")
	}
	if w, ok := tab.Alloc(); !ok || w != y || !bytes.Equal(tab.Record(w), make([]byte, wasmabi.ThreadSize)) {
		t.Errorf("slot %d, want %d, zeroed", w, y)
	}
	if !bytes.Equal(tab.Record(0), make([]byte, wasmabi.ThreadSize)) {
		t.Error("slot 0 isn't zeros")
	}
	tab.Mark(x)
	tab.round = 1<<32 - 1
	tab.flushed()
	if tab.Marked(x) || tab.Marked(z) || tab.Mark(z) {
		t.Error("marked after the rounds began anew")
	}
}

func TestClass(t *testing.T) {
	last := uint32(0)
	for n := 1; n <= slabSize; n++ {
		k := class(n)
		if k < last || k > last+1 || k >= classes || int(classSize(k)) < n || k > 0 && int(classSize(k-1)) >= n {
			t.Fatalf("%d bytes: class %d of %d", n, k, classSize(k))
		}
		last = k
	}
}

// model compares Strings with a map. A string without an owner may be gone after a flush, never before, and never one
// with an owner.
type model struct {
	t       testing.TB
	s       *Strings
	owners  map[uint32]int
	text    map[uint32]string
	zombies map[uint32]string // released since the last flush: the bytes must stand
}

func newModel(t testing.TB, size int) *model {
	return &model{t, newStrings(make([]byte, size)), map[uint32]int{}, map[uint32]string{}, map[uint32]string{}}
}

func (m *model) intern(x string) uint32 {
	ref := m.s.Intern([]byte(x))
	if ref == 0 {
		return 0
	}
	if len(x) > MaxString {
		x = x[:MaxString]
	}
	for r, y := range m.text {
		if m.owners[r] > 0 && (y == x) != (r == ref) {
			m.t.Fatalf("ref %d for %.20q, ref %d for %.20q", ref, x, r, y)
		}
	}
	m.owners[ref]++
	m.text[ref] = x
	return ref
}

func (m *model) release(ref uint32) {
	m.s.Release(ref)
	if m.owners[ref]--; m.owners[ref] == 0 {
		m.zombies[ref] = m.text[ref]
	}
}

func (m *model) flush() {
	m.s.flushed()
	clear(m.zombies)
}

func (m *model) check() {
	count, used := 0, 0
	for ref, n := range m.owners {
		if n == 0 {
			continue
		}
		count++
		used += m.s.size(ref - chunkHead)
		if got := string(m.s.Get(ref)); got != m.text[ref] || int(m.s.Owners(ref)) != n {
			m.t.Fatalf("ref %d: %.20q with %d owners, want %.20q with %d", ref, got, m.s.Owners(ref), m.text[ref], n)
		}
		if b := m.s.b[int(ref)+8+len(m.text[ref])]; b != 0 {
			m.t.Fatalf("ref %d: no NUL", ref)
		}
	}
	for ref, x := range m.zombies {
		if got := string(m.s.Get(ref)); got != x {
			m.t.Fatalf("ref %d was %.20q and is %.20q before the flush", ref, x, got)
		}
	}
	if m.s.Used() != used+m.s.Unowned() || m.s.Count() < count || m.s.Used() > m.s.Limit() {
		m.t.Fatalf("%d of %d used, %d without owners; want %d with", m.s.Used(), m.s.Limit(), m.s.Unowned(), used)
	}
}

func (m *model) refs() (out []uint32) {
	for r, n := range m.owners {
		for range n {
			out = append(out, r)
		}
	}
	return out
}

func TestStrings(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	m := newModel(t, 4*slabSize)
	for i := range 6000 {
		switch k := rnd.IntN(10); {
		case k < 5:
			n := rnd.IntN(40)
			if rnd.IntN(10) == 0 {
				n = rnd.IntN(70000)
			}
			m.intern(strings.Repeat(string(rune('a'+rnd.IntN(4))), n))
		case k < 9:
			if r := m.refs(); len(r) > 0 {
				ref := r[rnd.IntN(len(r))]
				if rnd.IntN(4) == 0 {
					if m.s.Retain(ref) != ref {
						t.Fatal("Retain returns another ref")
					}
					m.owners[ref]++
				} else {
					m.release(ref)
				}
			}
		default:
			m.flush()
		}
		if i%20 == 0 {
			m.check()
		}
	}
	if m.s.Full() == 0 || m.s.Cut() == 0 {
		t.Error("neither full nor cut: the test is too tame")
	}
	if m.s.Retain(0) != 0 || m.s.Get(0) != nil {
		t.Error("ref 0 isn't none")
	}
	m.s.Release(0)
}

// FuzzStrings reads the input as a program: intern, release, flush.
func FuzzStrings(f *testing.F) {
	f.Add([]byte("abcabc\x00\x00\xff\x01\x02"))
	f.Fuzz(func(t *testing.T, prog []byte) {
		m := newModel(t, slabSize*2)
		for i, c := range prog {
			switch {
			case c == 0xFF:
				m.flush()
			case c < 0x40:
				if r := m.refs(); len(r) > 0 {
					m.release(r[int(c)%len(r)])
				}
			default:
				m.intern(strings.Repeat(string(rune(c)), int(c)*i%5000))
			}
		}
		m.check()
	})
}

// TestFragments fills the segment with short strings, drops them, and needs the room for long ones, and the other way
// around.
func TestFragments(t *testing.T) {
	s := newStrings(make([]byte, 16*slabSize))
	for round := range 4 {
		size := []int{1, 3000, 10, 60000}[round]
		var refs []uint32
		for i := 0; ; i++ {
			x := fmt.Sprintf("%d-%d-%s", round, i, strings.Repeat("x", size))
			ref := s.Intern([]byte(x))
			if ref == 0 {
				break
			}
			refs = append(refs, ref)
		}
		if used := s.Used(); used < s.Limit()*6/10 {
			t.Errorf("strings of %d bytes fill only %d of %d", size, used, s.Limit())
		}
		for _, r := range refs {
			s.Release(r)
		}
		s.flushed()
		if s.Used() != 0 {
			t.Errorf("%d bytes used after all were released", s.Used())
		}
	}
}

func TestBatch(t *testing.T) {
	a := newArena(t, Config{})
	var b event.Builder
	r := b.Start(5, 7, event.SyscallCloseX).Int(-9).Int(3).Done()
	a.Batch.SetLimit(3)
	for i := range 3 {
		e, ok := a.Batch.Append(r, uint64(i))
		if !ok {
			t.Fatal("no room")
		}
		e.SetRes(-9)
		e.SetFD(3)
		if v, _ := e.Int(1); v != 3 || e.TS() != 5 || e.TID() != 7 || e.Num() != uint64(i) || e.Bits() != wasmabi.BitResult|wasmabi.BitFailed {
			t.Errorf("event %d: %x", i, e)
		}
		a.Batch.SetInt(2, i, uint64(i))
		if !a.Batch.SetBytes(3, i, []byte("abc")) {
			t.Error("no room for bytes")
		}
	}
	if _, ok := a.Batch.Append(r, 9); ok {
		t.Error("a fourth event in a batch of three")
	}
	if !bytes.Equal(a.Batch.Event(1), a.Batch.Event(1)) || a.Batch.Event(2).Num() != 2 || a.Batch.Len() != 3 {
		t.Error("events can't be read back")
	}
	if a.Batch.SetBytes(3, 0, make([]byte, a.Batch.Room()+1)) {
		t.Error("more bytes than there is room for")
	}
	a.Flushed()
	if a.Batch.Len() != 0 {
		t.Error("events after the flush")
	}
	big := b.Start(1, 1, event.SyscallReadX).Int(1).Bytes(make([]byte, 65535)).Done()
	if _, ok := a.Batch.Append(big, 1); !ok {
		t.Error("the largest record doesn't fit in an empty batch")
	}
}

func TestAllocs(t *testing.T) {
	a := newArena(t, Config{})
	names := make([][]byte, 100)
	for i := range names {
		names[i] = fmt.Appendf(nil, "/usr/lib/%d", i)
	}
	round := func() {
		for _, n := range names {
			ref := a.Strings.Intern(n)
			s, _ := a.Files.Alloc()
			a.Files.Mark(s)
			a.Files.Free(s)
			a.Strings.Release(ref)
		}
		a.Flushed()
	}
	round()
	if n := testing.AllocsPerRun(50, round); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkIntern(b *testing.B) {
	s := newStrings(make([]byte, 16<<20))
	names := make([][]byte, 1024)
	for i := range names {
		names[i] = fmt.Appendf(nil, "/usr/lib/x86_64-linux-gnu/lib%d.so.6", i)
	}
	b.Run("again", func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			s.Release(s.Intern(names[i&1023]))
		}
	})
	b.Run("new", func(b *testing.B) {
		b.ReportAllocs()
		n := []byte("/tmp/00000000")
		for i := range b.N {
			le.PutUint64(n[5:], uint64(i))
			s.Release(s.Intern(n))
			if i&255 == 0 {
				s.flushed()
			}
		}
	})
}

// TestWindowSize: what a configuration promises is what its segments take.
func TestWindowSize(t *testing.T) {
	for _, c := range []Config{{}, {Threads: 100000, Strings: 64 << 20}, {Threads: 16, Files: 64, Strings: 1, Private: 1}} {
		a, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		n := wasmabi.DirectorySize
		for s := range wasmabi.NumSegments {
			_, size := a.Segment(s)
			n += size
		}
		if c.WindowSize() != uint32(n) {
			t.Errorf("%+v: %d, want %d", c, c.WindowSize(), n)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
}
