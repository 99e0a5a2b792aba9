package probe

import (
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

// fillQueue leaves the ring no room for completions, by operations that stand for no call.
func (r *ring) fillQueue(t testing.TB) {
	t.Helper()
	for range 2 * r.entries { // the queue has twice as many
		r.submit(t, sqe{Data: 7})
	}
}

// lostRequests are the events lost as an operation wasn't known.
func (l *live) lostRequests(t testing.TB) uint64 {
	t.Helper()
	c, err := l.p.Counters()
	if err != nil {
		t.Fatal(err)
	}
	return c.LostByCause[CauseRequest]
}

// TestUringSameNumber: operations that the program knows by one number are told apart where the kernel names no request, as of
// completions for which the queue has no room; or they are counted as lost.
func TestUringSameNumber(t *testing.T) {
	l := needProbe(t)
	e := &env{T: t, l: l}
	p := oldPath(e)
	for _, full := range []bool{false, true} {
		r, lost, fd := newRing(t, 0), l.lostRequests(t), int64(-1)
		recs := l.uringEvents(t, []string{"openat", "close"}, func() {
			n := 2
			if full {
				r.fillQueue(t)
				n += int(2 * r.entries)
			}
			r.submit(t, sqe{Op: 18, FD: atFDCWD, Addr: ptr(str(p)), Data: 7}, sqe{Op: 19, FD: -1, Data: 7})
			for range n {
				if c := r.next(t); c.Res > 0 {
					fd = int64(c.Res)
				}
			}
		})
		if n := l.lostRequests(t) - lost; n > 0 && namesRequests(t) || n+uint64(len(recs)) < 2 {
			t.Errorf("queue full %v: %d of 2 events, %d counted as lost", full, len(recs), n)
		}
		for _, rec := range recs {
			if rec.Type() == event.SyscallCloseX {
				checkRecord(t, rec, []any{errno(unix.EBADF), -1})
			} else {
				dev, ino := opened(e, fd)
				checkRecord(t, rec, []any{fd, atFDCWD, p, fRdonly, 0, dev, ino})
			}
		}
	}
}

// namesRequests reports whether this kernel's completions name their request.
func namesRequests(t testing.TB) bool {
	t.Helper()
	args, err := traceArgs(kernelTypes(t), "io_uring_complete")
	return err == nil && args[1] == 'p'
}

// TestUringMultishotNumber: a multishot is known by its number while others of the same number come and go.
func TestUringMultishotNumber(t *testing.T) {
	l := needProbe(t)
	e := &env{T: t, l: l}
	r := newRing(t, 0)
	lfd, port := listening(e, lo4)
	lost := l.lostRequests(t)
	recs := l.uringEvents(t, []string{"accept4", "close", "read"}, func() {
		for range 6 { // more than are kept apart
			r.submit(t, sqe{Op: 22, FD: int32(first(pipe(e))), Addr: ptr(addr(make([]byte, 1))), Len: 1, Off: ^uint64(0), Data: 77})
		}
		r.submit(t, sqe{Op: 13, IOPrio: 1, FD: int32(lfd), Data: 77})
		if res := r.do(t, sqe{Op: 19, FD: -1, Data: 77}); res == errno(unix.EINVAL) { // of the accept
			t.Skip("this kernel's io_uring accepts once")
		}
		for range 3 {
			out := socketFD(e, unix.AF_INET, unix.SOCK_STREAM)
			if err := unix.Connect(out, goSockaddr(lo4, port)); err != nil {
				t.Fatal(err)
			}
			c := r.next(t)
			if c.Res == int32(errno(unix.EINVAL)) {
				t.Skip("this kernel's io_uring accepts once")
			}
			closing(e, int64(c.Res))
		}
	})
	if n := l.lostRequests(t) - lost; len(recs) != 4 || n != 0 {
		t.Errorf("%d events of 4, %d counted as lost: %s", len(recs), n, typesOf(recs))
	}
}

func first(a, _ int) int { return a }

// TestUringPathsForgotten: of more paths under way than are kept, the oldest is missing in its event, and counted; it is never what
// the program's memory holds by then. Operations that end without a word keep no room.
func TestUringPathsForgotten(t *testing.T) {
	l := needProbe(t)
	e := &env{T: t, l: l}
	p := oldPath(e)
	// behind makes an open wait for a pipe that can be read, and fill more that wait, too; before the pipe is written to, the path
	// changes.
	behind := func(fill int) event.Record {
		t.Helper()
		r := newRing(t, 0)
		rd, wr := pipe(e)
		path, none := append([]byte(p), make([]byte, 64)...), ptr(str("/nonexistent/a"))
		recs := l.uringEvents(t, []string{"openat"}, func() {
			r.submit(t, sqe{Op: 22, Flags: sqeLink, FD: int32(rd), Addr: ptr(addr(make([]byte, 1))), Len: 1, Off: ^uint64(0), Data: 1},
				sqe{Op: 18, FD: atFDCWD, Addr: ptr(addr(path)), Data: 2})
			o := newRing(t, 0)
			rd2, _ := pipe(e)
			for made := 0; made < fill; made += 8 {
				s := []sqe{{Op: 22, Flags: sqeLink, FD: int32(rd2), Addr: ptr(addr(make([]byte, 1))), Len: 1, Off: ^uint64(0), Data: 1}}
				for range 8 {
					s = append(s, sqe{Op: 18, Flags: sqeLink, FD: atFDCWD, Addr: none, Data: 3})
				}
				s[8].Flags = 0
				o.submit(t, s...)
			}
			copy(path, "/nonexistent/b\x00")
			write(e, wr, "x")
			for range 2 {
				if c := r.next(t); c.Data == 2 {
					closing(e, int64(c.Res))
				}
			}
		})
		recs = slices.DeleteFunc(recs, func(rec event.Record) bool { return result(rec) < 0 })
		if len(recs) != 1 {
			t.Fatal(typesOf(recs))
		}
		return recs[0]
	}
	if b, _ := behind(0).Param(2); string(b) != p+"\x00" {
		t.Errorf("the path is %q, not %q", b, p)
	}
	before, err := l.p.MadeBy("openat")
	if err != nil {
		t.Fatal(err)
	}
	b, ok := behind(1200).Param(2)
	after, err := l.p.MadeBy("openat")
	if err != nil {
		t.Fatal(err)
	}
	if n := after.Missing - before.Missing; ok && string(b) != p+"\x00" || !ok && n == 0 {
		t.Errorf("the path is %q, and %d are counted as missing", b, n)
	}

	// A silent head that fails takes those behind it along, without a completion.
	for range 200 {
		r := newRing(t, 0)
		s := []sqe{{Op: 22, Flags: sqeLink | sqeSilent, FD: -1, Len: 1, Data: 1}}
		for range 6 {
			s = append(s, sqe{Op: 18, Flags: sqeLink, FD: atFDCWD, Addr: ptr(str("/nonexistent/a")), Data: 2})
		}
		s[6].Flags = 0
		l.uringEvents(t, []string{"openat"}, func() { r.submit(t, s...) })
	}
	if b, _ := behind(0).Param(2); string(b) != p+"\x00" {
		t.Errorf("after operations without an end the path is %q, not %q", b, p)
	}
}
