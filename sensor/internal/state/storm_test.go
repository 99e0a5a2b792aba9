package state

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/arena"
	"github.com/shikra-sensor/shikra/sensor/internal/decode"
	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

// The storms: as many events as a busy node makes in days, through decode and state. `go test` runs a small part of each,
// SHIKRA_STORM=1 (make test-storm) the whole.

// storm is one that is under way.
type storm struct {
	t    *testing.T
	m    *machine
	recs []event.Record // of one round
	n    int            // events so far
	busy time.Duration  // CPU time of decode and state
}

// bars of a storm: what memory may grow by, and what an event of the last tenth may cost, as a part of one of the first.
const (
	stormGrowth = 5 << 20
	stormSlower = 1.25
)

// whole reports whether the whole storm is to be made.
func whole() bool { return os.Getenv("SHIKRA_STORM") != "" }

// apply takes the round's records through decode and state, and a batch for each 256.
func (s *storm) apply() {
	start := cpuTime()
	for i, r := range s.recs {
		meta, err := decode.Decode(r)
		if err != nil {
			s.t.Fatal(err)
		}
		s.m.Apply(r, meta, true)
		if i&255 == 255 {
			s.m.flush()
		}
	}
	s.m.flush()
	s.busy += cpuTime() - start
	s.n += len(s.recs)
}

// cpuTime is what the calling thread has used.
func cpuTime() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts) // fails for no clock that there is
	return time.Duration(ts.Nano())
}

// memory is what the process has at a moment, in bytes.
type memory struct{ rss, heap, arena int }

func (s *storm) memory() (m memory) {
	debug.FreeOSMemory()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		s.t.Fatal(err)
	}
	_, b, _ = bytes.Cut(b, []byte("VmRSS:"))
	b, _, _ = bytes.Cut(b, []byte("kB"))
	kb, err := strconv.Atoi(string(bytes.TrimSpace(b)))
	if err != nil {
		s.t.Fatal(err)
	}
	var ms runtime.MemStats
	runtime.ReadMemStats(&ms)
	st := s.m.Stats()
	return memory{kb << 10, int(ms.HeapAlloc), st.Strings + st.Private}
}

// kept is what must be as it was when the storm is over. Strings that nobody owns any more are a cache of a fixed size.
func (s *storm) kept() string {
	s.m.flush()
	st := s.m.Stats()
	return fmt.Sprintf("%d threads, %d tables, %d pages, %d files, %d containers, %d bytes of strings, %d of private ones",
		st.Threads, st.Tables, st.Pages, st.Files, st.Containers, st.Strings-s.m.a.Strings.Unowned(), st.Private-s.m.a.Private.Unowned())
}

// run makes rounds of a storm until total things have come and gone. fill makes the records of things [from, to) in s.recs.
func (s *storm) run(what string, total, perRound int, fill func(from, to int)) {
	t := s.t
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	round := func(from, to int) {
		fill(from, to)
		s.apply()
	}
	round(0, perRound) // what grows with the first use
	before := s.kept()
	round(0, perRound)
	if got := s.kept(); got != before {
		t.Fatalf("left behind after the second round: %s, was %s", got, before)
	}
	var first, last float64 // ns an event, in the cheapest hundredth of a tenth: others use the machine too
	var low, high memory
	for tenth := range 10 {
		n0, busy0, n, busy := s.n, s.busy, s.n, s.busy
		last = 0
		for from := total / 10 * tenth; from < total/10*(tenth+1); from += perRound {
			round(from, min(from+perRound, total/10*(tenth+1)))
			if from/(total/100) != (from+perRound)/(total/100) {
				if ns := float64(s.busy-busy) / float64(s.n-n); last == 0 || ns < last {
					last = ns
				}
				n, busy = s.n, s.busy
			}
		}
		mean := float64(s.busy-busy0) / float64(s.n-n0)
		m := s.memory()
		if tenth == 0 {
			first, low, high = last, m, m
		}
		low = memory{min(low.rss, m.rss), min(low.heap, m.heap), min(low.arena, m.arena)}
		high = memory{max(high.rss, m.rss), max(high.heap, m.heap), max(high.arena, m.arena)}
		t.Logf("%s: %d: %.0f ns an event, at best %.0f; RSS %.1f MB, heap %.1f MB, strings %d bytes", what, total/10*(tenth+1), mean, last, float64(m.rss)/1e6, float64(m.heap)/1e6, m.arena)
	}
	after := s.kept()
	grown := memory{high.rss - low.rss, high.heap - low.heap, high.arena - low.arena}
	t.Logf("%s: %d, %d events: at best %.0f ns an event in the first tenth, %.0f in the last; memory within RSS %d, heap %d, strings %d bytes; kept: %s",
		what, total, s.n, first, last, grown.rss, grown.heap, grown.arena, after)
	if after != before {
		t.Errorf("%s: left behind: %s, was %s", what, after, before)
	}
	if grown.rss > stormGrowth || grown.heap > stormGrowth || grown.arena > stormGrowth {
		t.Errorf("%s: memory isn't flat: %+v bytes", what, grown)
	}
	if whole() && last > first*stormSlower { // a short part says nothing on a machine that others use
		t.Errorf("%s: an event of the last tenth costs %.0f ns, of the first %.0f", what, last, first)
	}
	st := s.m.Stats()
	if st.ThreadsEvicted+st.ThreadsDropped+st.FDsEvicted+st.FDsDropped+st.TablesDropped+st.NamesLost+st.UnknownThreads > 0 {
		t.Errorf("%s: something found no room, or wasn't known: %+v", what, st)
	}
	if err := check(s.m.State); err != nil {
		t.Error(err)
	}
}

// digits writes v into b, in decimal, with zeros before it.
func digits(b []byte, v int) {
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = byte('0' + v%10)
		v /= 10
	}
}

// TestStormOpens opens and closes files of names that were never seen before.
func TestStormOpens(t *testing.T) {
	total := 400_000
	if whole() {
		total = 100_000_000
	} else if testing.Short() {
		total = 100_000
	}
	s := &storm{t: t, m: benchMachine(t)}
	const pairs = 512
	var names [][]byte // where the number stands in each record
	for i := range pairs {
		const mark = "0000000000"
		open := openRecord(&s.m.b, 1e9, int64(5+i%5), int64(5+i%7), "/srv/data/spool/"+mark+".json")
		at := bytes.Index(open, []byte(mark))
		names = append(names, open[at:at+len(mark)])
		s.recs = append(s.recs, open, closeRecord(&s.m.b, 1e9, int64(5+i%5), int64(5+i%7)))
	}
	s.run("opens", total, pairs, func(from, to int) {
		s.recs = s.recs[:2*(to-from)]
		for i := range to - from {
			digits(names[i], from+i)
			le.PutUint64(s.recs[2*i], uint64(1e9+2*(from+i)*1000))
			le.PutUint64(s.recs[2*i+1], uint64(1e9+(2*(from+i)+1)*1000))
		}
	})
}

// TestStormForks forks and ends processes: the parent's event first or the child's, with and without exec and files, some
// whose parent ends before them while their exec still names it.
func TestStormForks(t *testing.T) {
	total := 40_000
	if whole() {
		total = 1_000_000
	} else if testing.Short() {
		total = 10_000
	}
	s := &storm{t: t, m: benchMachine(t)}
	b, ts := &s.m.b, uint64(1e9)
	put := func(r event.Record) { s.recs = append(s.recs, clone(r)) }
	start := func(tid int64, typ event.Type) *event.Builder {
		ts += 20_000
		return b.Start(ts, tid, typ)
	}
	clonedBy := func(parent, kid int64) {
		put(start(parent, event.SyscallCloneV20X).Int(kid).String("sh").Bytes([]byte("-c\x00true\x00")).Int(parent).Int(parent).Int(1).String("").
			Int(1024).Int(0).Int(0).Int(0).Int(0).Int(0).String("sh").Bytes([]byte("cpu=/\x00")).Int(0).Int(0).Int(0).Int(parent).Int(parent).Int(0).Done())
	}
	cloned := func(parent, kid int64) {
		put(start(kid, event.SyscallCloneV20X).Int(0).String("sh").Bytes([]byte("-c\x00true\x00")).Int(kid).Int(kid).Int(parent).String("").
			Int(1024).Int(0).Int(0).Int(0).Int(0).Int(0).String("sh").Bytes([]byte("cpu=/\x00")).Int(0).Int(0).Int(0).Int(kid).Int(kid).Int(0).Done())
	}
	exec := func(parent, kid int64, arg int) {
		put(start(kid, event.SyscallExecveV19X).Int(0).String("/bin/true").Bytes(fmt.Appendf(nil, "--run=%d\x00", arg)).Int(kid).Int(kid).Int(parent).String("").
			Int(1024).Int(0).Int(0).Int(0).Int(0).Int(0).String("true").Bytes([]byte("cpu=/\x00")).Bytes(fmt.Appendf(nil, "RUN=%d\x00PATH=/bin\x00", arg)).
			Int(0).Int(kid).Int(-1).Int(0).Int(0).Int(0).Int(0).Int(9).Int(1).Int(1).Int(0).String("/usr/bin/true").Int(kid).Int(0).String("/bin/true").Done())
	}
	exit := func(tid, reaper int64) {
		put(start(tid, event.ProcexitV1E).Int(0).Int(0).Int(0).Int(0).Int(reaper).Done())
	}
	pid := func(i int) int64 { return 300 + int64(i)%(1<<22-300) } // as ids go round
	s.run("forks", total, 64, func(from, to int) {
		s.recs = s.recs[:0]
		for i := from; i < to; i++ {
			parent, kid := int64(5+i%5), pid(2*i)
			if i%2 == 0 {
				clonedBy(parent, kid)
				cloned(parent, kid)
			} else {
				cloned(parent, kid)
				clonedBy(parent, kid)
			}
			if i%3 == 0 {
				exec(parent, kid, i)
			}
			put(openRecord(b, ts, kid, 3, "/etc/hosts"))
			if i%8 == 7 { // an orphan, which execs as its parent ends
				orphan := pid(2*i + 1)
				clonedBy(kid, orphan)
				cloned(kid, orphan)
				exit(kid, 1)
				exec(kid, orphan, i)
				exit(orphan, 1)
				continue
			}
			if i%4 == 1 {
				put(closeRecord(b, ts, kid, 3))
			}
			exit(kid, 0)
		}
	})
}

// TestStormFDs opens 200,000 fds in one process: the state holds what it is bound to, counts the rest, keeps what others
// have, and is as before when the process ends.
func TestStormFDs(t *testing.T) {
	const fds = 200_000
	m := newMachine(t, arena.Config{}, Config{})
	for i := int64(1); i < 10; i++ {
		addProcess(m, i, i-1, fmt.Sprint("p", i))
	}
	m.Settled()
	s := &storm{t: t, m: m}
	for tid := int64(2); tid < 9; tid++ {
		m.do(t, openRecord(&m.b, 1e9, tid, 3, fmt.Sprint("/srv/", tid)))
	}
	before := s.kept()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	start := cpuTime()
	for fd := range int64(fds) {
		m.do(t, openRecord(&m.b, 2e9+uint64(fd), 9, 3+fd, "/dev/null"))
	}
	took := cpuTime() - start
	st := m.Stats()
	held := m.OpenFiles(m.FindThread(9))
	t.Logf("%d opens at %d ns: the process has %d fds, %d were given up and %d found no room; %s", fds, took.Nanoseconds()/fds, held, st.FDsEvicted, st.FDsDropped, s.kept())
	if uint64(held)+st.FDsEvicted+st.FDsDropped != fds {
		t.Errorf("%d held, %d evicted, %d dropped: not %d together", held, st.FDsEvicted, st.FDsDropped, fds)
	}
	if st.Files > st.FileLimit || st.Pages > st.PageLimit || held < st.FileLimit/2 {
		t.Errorf("%d fds held; stats %+v", held, st)
	}
	for tid := int64(2); tid < 9; tid++ {
		if got, want := m.fileText(m.OpenFile(m.FindThread(tid), 3)), fmt.Sprintf(`f "/srv/%d" dir 4`, tid); got != want {
			t.Errorf("fd 3 of %d is %s, want %s", tid, got, want)
		}
	}
	if err := check(m.State); err != nil {
		t.Error(err)
	}
	// Its child has them too, while there is room; both end.
	m.do(t, clone(m.b.Start(3e9, 100, event.SyscallCloneV20X).Int(0).String("p9").Bytes(nil).Int(100).Int(100).Int(9).String("").
		Int(1024).Int(0).Int(0).Int(0).Int(0).Int(0).String("p9").Bytes(nil).Int(0).Int(0).Int(0).Int(100).Int(100).Int(0).Done()))
	if got := m.OpenFiles(m.FindThread(100)); got == 0 || got > held {
		t.Errorf("the child has %d fds of %d", got, held)
	}
	if err := check(m.State); err != nil {
		t.Error(err)
	}
	for _, tid := range []int64{100, 9} {
		m.do(t, clone(m.b.Start(4e9, tid, event.ProcexitV1E).Int(0).Int(0).Int(0).Int(0).Int(1).Done()))
	}
	addProcess(m, 9, 8, "p9")
	m.Settled()
	if after := s.kept(); after != before {
		t.Errorf("left behind: %s, was %s", after, before)
	}
	if err := check(m.State); err != nil {
		t.Error(err)
	}
}
