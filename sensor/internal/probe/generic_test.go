package probe

import (
	"os"
	"os/signal"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

// generics returns the generic events of thread tid among recs.
func generics(recs []event.Record, tid int) (out []event.Record) {
	for _, r := range recs {
		if r.Type() == event.GenericX && r.TID() == int64(tid) {
			out = append(out, r)
		}
	}
	return out
}

// TestUnknownNumbers: a number that no table has makes an event that has it, whole.
func TestUnknownNumbers(t *testing.T) {
	l := needProbe(t)
	numbers := []uint32{511, 512, 65536 + 39, 1 << 20, 0x7FFFFFFF, 0x40000000 | 500, 0xFFFFFFFF}
	if number("unknown") >= 0 || number("getpid") == 511 {
		t.Fatal("the table has what the test takes for unknown")
	}
	for _, nr := range numbers {
		var want, tid int64
		recs := l.events(t, []string{event.UnknownSyscall}, func() {
			tid = int64(unix.Gettid())
			r, e := raw(uintptr(nr), &[6]uintptr{1, 2, 3, 4, 5, 6})
			if want = int64(r); e != 0 {
				want = -int64(e)
			}
		})
		got := generics(recs, int(tid))
		if len(got) != 1 {
			t.Errorf("%#x: %d events", nr, len(got))
			continue
		}
		if got[0].NR() != nr {
			t.Errorf("%#x: the header says %#x", nr, got[0].NR())
		}
		checkRecord(t, got[0], []any{0, nr, nr, want, 1, 2, 3, 4, 5, 6})
	}
	for _, names := range [][]string{{}, {"getpid"}} {
		var tid int
		recs := l.events(t, names, func() {
			tid = unix.Gettid()
			for _, nr := range numbers {
				raw(uintptr(nr), &[6]uintptr{})
			}
		})
		if got := generics(recs, tid); len(got) > 0 {
			t.Errorf("with %v wanted: %d events of unknown numbers", names, len(got))
		}
	}
}

// TestSigreturn: the return from a signal handler, which the kernel leaves without its number, has its name again.
func TestSigreturn(t *testing.T) {
	l := needProbe(t)
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, unix.SIGUSR1)
	defer signal.Stop(ch)
	var tid int
	recs := l.events(t, []string{sigreturn}, func() {
		tid = unix.Gettid()
		if err := unix.Tgkill(os.Getpid(), tid, unix.SIGUSR1); err != nil {
			t.Error(err)
		}
		select {
		case <-ch:
		case <-time.After(10 * time.Second):
			t.Error("the signal doesn't come")
		}
	})
	got := generics(recs, tid)
	if len(got) == 0 {
		t.Fatal("no event")
	}
	nr := number(sigreturn)
	if got[0].NR() != uint32(nr) {
		t.Errorf("nr is %d", got[0].NR())
	}
	checkRecord(t, got[0], []any{codeOf(t, sigreturn), nr, nr, 0, 0, 0, 0, 0, 0, 0})
}
