package live

import (
	"sync/atomic"
	"unsafe"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

// The head of a record in a BPF ring buffer, struct bpf_ringbuf_hdr in kernel/bpf/ringbuf.c@v6.12: u32 len, whose two
// highest bits are flags, and u32 pg_off, of no use here. Records stand at multiples of 8 bytes.
const (
	headSize   = 8
	headAlign  = 8
	bitBusy    = 1 << 31 // reserved and not yet committed: nothing behind it may be read
	bitDiscard = 1 << 30 // given up by its writer: to be skipped
)

// cursor reads a ring buffer's memory in place. It knows nothing of mmap, so that tests and fuzzing can give it any
// bytes; it never reads outside data and never panics, whatever stands there. Not safe for concurrent use.
type cursor struct {
	cons, prod unsafe.Pointer // the two shared positions, an unsigned long of the kernel each
	data       []byte         // the data pages, twice in a row
	mask       uint64         // bytes of the data pages - 1; they are a power of two
	posMask    uint64         // the bits of a position: 32 on a 32-bit kernel
	stride     uint64         // bytes read before the consumer position is published again
	pos        uint64         // next byte to read
	published  uint64         // consumer position that the kernel sees
}

// counts is what one drain met.
type counts struct {
	records, discarded, bad, skipped, bytes uint64
}

func newCursor(cons, prod unsafe.Pointer, data []byte, wide bool) *cursor {
	c := &cursor{cons: cons, prod: prod, data: data, mask: uint64(len(data)/2 - 1), posMask: 1<<32 - 1}
	if wide {
		c.posMask = 1<<64 - 1
	}
	// An eighth of the ring: the kernel gets room long before it runs out, and its cache line of the consumer position
	// is dirtied once in some hundred records instead of at each.
	c.stride = max(uint64(len(data)/2)/8, headAlign)
	c.pos = c.load(cons) &^ (headAlign - 1)
	c.published = c.pos
	return c
}

// load reads a shared position with acquire order: what the writer did before is seen.
func (c *cursor) load(p unsafe.Pointer) uint64 {
	if c.posMask == 1<<32-1 {
		return uint64(atomic.LoadUint32((*uint32)(p)))
	}
	return atomic.LoadUint64((*uint64)(p))
}

// publish tells the kernel that everything before pos may be overwritten (release order).
func (c *cursor) publish() {
	if c.pos == c.published {
		return
	}
	c.published = c.pos
	if c.posMask == 1<<32-1 {
		atomic.StoreUint32((*uint32)(c.cons), uint32(c.pos))
		return
	}
	atomic.StoreUint64((*uint64)(c.cons), c.pos)
}

// available returns the bytes between the two positions; more than the ring holds means a torn position.
func (c *cursor) available() uint64 {
	return (c.load(c.prod) - c.pos) & c.posMask &^ (headAlign - 1)
}

// drain hands up to limit records to fn, in order. What cannot be read — positions further apart than the ring is
// long, a record that ends behind the producer position — is skipped up to the producer position and counted in bad
// and skipped: nothing in between can be told apart any more.
func (c *cursor) drain(fn func(event.Record), limit int) (n counts) {
	size := c.mask + 1
	avail := c.available()
	for avail != 0 && n.records < uint64(limit) {
		if avail > size {
			c.resync(avail, &n)
			break
		}
		off := c.pos & c.mask
		// Acquire: the kernel clears the busy bit with xchg after the record's bytes are written.
		head := atomic.LoadUint32((*uint32)(unsafe.Pointer(&c.data[off])))
		if head&bitBusy != 0 {
			break
		}
		l := uint64(head &^ (bitBusy | bitDiscard))
		whole := (l + headSize + headAlign - 1) &^ (headAlign - 1)
		if whole > avail {
			c.resync(avail, &n)
			break
		}
		if head&bitDiscard == 0 {
			from := off + headSize
			fn(event.Record(c.data[from : from+l : from+l]))
			n.records++
			n.bytes += whole
		} else {
			n.discarded++
		}
		c.pos = (c.pos + whole) & c.posMask
		if avail -= whole; avail == 0 {
			avail = c.available()
		}
		if (c.pos-c.published)&c.posMask >= c.stride {
			c.publish()
		}
	}
	c.publish()
	return n
}

func (c *cursor) resync(avail uint64, n *counts) {
	n.bad++
	n.skipped += avail
	c.pos = (c.pos + avail) & c.posMask
}
