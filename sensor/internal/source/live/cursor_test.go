package live

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"
	"unsafe"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

// image is a ring buffer's memory without a kernel.
type image struct {
	pos  []uint64 // consumer, producer; uint64 for alignment
	data []byte   // size bytes twice
	size uint64
}

func newImage(size int) *image {
	words := make([]uint64, 2*size/8)
	return &image{pos: make([]uint64, 2), data: unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), 2*size), size: uint64(size)}
}

func (m *image) cursor(wide bool) *cursor {
	return newCursor(unsafe.Pointer(&m.pos[0]), unsafe.Pointer(&m.pos[1]), m.data, wide)
}

// put writes b at position pos in both copies of the data pages.
func (m *image) put(pos uint64, b []byte) {
	for i, c := range b {
		off := (pos + uint64(i)) % m.size
		m.data[off], m.data[off+m.size] = c, c
	}
}

// add appends a record at the producer position.
func (m *image) add(flags uint32, body []byte, wide bool) {
	var head [headSize]byte
	binary.NativeEndian.PutUint32(head[:], uint32(len(body))|flags)
	prod := m.pos[1]
	m.put(prod, head[:])
	m.put(prod+headSize, body)
	prod += uint64(len(body)+headSize+7) &^ 7
	if !wide {
		prod &= 1<<32 - 1
	}
	m.pos[1] = prod
}

func collect(c *cursor, limit int) (got []string, n counts) {
	n = c.drain(func(r event.Record) { got = append(got, string(r)) }, limit)
	return got, n
}

func TestCursorOrderAndWrap(t *testing.T) {
	for _, wide := range []bool{true, false} {
		m := newImage(4096)
		m.pos[0], m.pos[1] = 1<<32-4096-64, 1<<32-4096-64 // close to where a 32-bit position turns over
		c := m.cursor(wide)
		want := 0
		for i := range 3000 {
			body := bytes.Repeat([]byte{byte(i)}, i*7%200)
			m.add(0, body, wide)
			want++
			if i%5 == 0 {
				m.add(bitDiscard, []byte("given up"), wide)
			}
			if i%4 != 3 {
				continue
			}
			got, n := collect(c, 100)
			if len(got) != want || n.bad != 0 {
				t.Fatalf("wide=%v round %d: %d records of %d, %d bad", wide, i, len(got), want, n.bad)
			}
			for k, g := range got {
				j := i - 3 + k
				if g != string(bytes.Repeat([]byte{byte(j)}, j*7%200)) {
					t.Fatalf("wide=%v: record %d differs", wide, j)
				}
			}
			if want = 0; m.pos[0] != m.pos[1] {
				t.Fatalf("wide=%v: consumer %d, producer %d", wide, m.pos[0], m.pos[1])
			}
		}
	}
}

func TestCursorStopsAtBusy(t *testing.T) {
	m := newImage(4096)
	c := m.cursor(true)
	m.add(0, []byte("one"), true)
	at := m.pos[1]
	m.add(bitBusy, []byte("two"), true)
	m.add(0, []byte("three"), true)
	if got, _ := collect(c, 10); len(got) != 1 || got[0] != "one" {
		t.Fatalf("got %q", got)
	}
	if m.pos[0] != at {
		t.Errorf("consumer at %d, not before the busy record at %d", m.pos[0], at)
	}
	var head [4]byte
	binary.NativeEndian.PutUint32(head[:], 3)
	m.put(at, head[:])
	if got, _ := collect(c, 10); len(got) != 2 || got[0] != "two" || got[1] != "three" {
		t.Fatalf("after the commit: %q", got)
	}
}

func TestCursorLimitAndStride(t *testing.T) {
	m := newImage(4096)
	c := m.cursor(true)
	for range 100 {
		m.add(0, make([]byte, 24), true)
	}
	if got, _ := collect(c, 3); len(got) != 3 || m.pos[0] != 3*32 {
		t.Fatalf("%d records, consumer at %d", len(got), m.pos[0])
	}
	// While the rest is read the kernel must get room in steps of an eighth of the ring.
	var seen []uint64
	c.drain(func(event.Record) {
		if k := len(seen); k == 0 || seen[k-1] != m.pos[0] {
			seen = append(seen, m.pos[0])
		}
	}, 1000)
	if len(seen) < 4 || len(seen) > 8 {
		t.Errorf("consumer position published at %d, want steps of %d", seen, c.stride)
	}
}

func TestCursorResync(t *testing.T) {
	record := func(l uint32) []byte { return binary.NativeEndian.AppendUint32(nil, l) }
	tests := []struct {
		name string
		make func(m *image)
		bad  uint64
	}{
		{"longer than what is there", func(m *image) { m.put(m.pos[1], record(5000)); m.pos[1] += 64 }, 1},
		{"largest length", func(m *image) { m.put(m.pos[1], record(bitDiscard-1)); m.pos[1] += 64 }, 1},
		{"discarded and too long", func(m *image) { m.put(m.pos[1], record(bitDiscard|9000)); m.pos[1] += 64 }, 1},
		{"producer too far ahead", func(m *image) { m.pos[1] += 1 << 20 }, 1},
		{"producer behind", func(m *image) { m.pos[1] -= 8 }, 1},
		{"producer between records", func(m *image) { m.pos[1] += 3 }, 0},
	}
	for _, tt := range tests {
		m := newImage(4096)
		m.pos[0], m.pos[1] = 8192, 8192
		c := m.cursor(true)
		tt.make(m)
		got, n := collect(c, 10)
		if len(got) != 0 || n.bad != tt.bad {
			t.Errorf("%s: got %q, bad %d", tt.name, got, n.bad)
		}
		m.pos[1] &^= 7
		m.add(0, []byte("next"), true)
		if got, _ := collect(c, 10); len(got) != 1 || got[0] != "next" {
			t.Errorf("%s: after it %q", tt.name, got)
		}
	}
}

func TestCursorAllocatesNothing(t *testing.T) {
	m := newImage(1 << 16)
	c := m.cursor(true)
	sum := 0
	fn := func(r event.Record) { sum += len(r) }
	body := make([]byte, 100)
	if a := testing.AllocsPerRun(100, func() {
		for range 50 {
			m.add(0, body, true)
		}
		c.drain(fn, 1000)
	}); a != 0 {
		t.Errorf("%v allocations", a)
	}
	if sum != 101*50*100 {
		t.Errorf("read %d bytes", sum)
	}
}

// FuzzCursor runs the reader over arbitrary memory: it must come to an end, stay inside and never hand out more than
// the ring holds.
func FuzzCursor(f *testing.F) {
	f.Add(uint64(0), uint64(64), []byte{8, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8})
	f.Add(uint64(4088), uint64(4096+32), []byte{255, 255, 255, 63})
	f.Add(uint64(1<<63), uint64(0), []byte{0, 0, 0, 64})
	f.Add(^uint64(7), uint64(4000), []byte{200, 0, 0, 0x40, 0, 0, 0, 0x80})
	f.Fuzz(func(t *testing.T, cons, prod uint64, b []byte) {
		for _, wide := range []bool{true, false} {
			m := newImage(4096)
			m.pos[0], m.pos[1] = cons, prod
			for i := 0; len(b) > 0 && i < 4096; i += len(b) {
				m.put(uint64(i), b[:min(len(b), 4096-i)])
			}
			c := m.cursor(wide)
			for range 3 {
				total := 0
				n := c.drain(func(r event.Record) { total += len(r) + headSize }, 10000)
				if total > 4096 || n.bytes > 4096 {
					t.Fatalf("handed out %d bytes of a ring of 4096", total)
				}
			}
		}
	})
}

func BenchmarkCursor(b *testing.B) {
	for _, size := range []int{64, 160} {
		b.Run(fmt.Sprintf("record=%d", size), func(b *testing.B) {
			m := newImage(1 << 20)
			c := m.cursor(true)
			whole := (size + headSize + 7) &^ 7
			per := (1 << 20) / whole
			for range per {
				m.add(0, make([]byte, size), true)
			}
			sum := 0
			fn := func(r event.Record) { sum += int(r[12]) }
			b.ResetTimer()
			for i := 0; i < b.N; i += per {
				c.pos, c.published, m.pos[0], m.pos[1] = 0, 0, 0, uint64(per*whole)
				c.drain(fn, per)
			}
		})
	}
}
