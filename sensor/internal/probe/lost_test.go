package probe

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

// lossy returns a second probe with the smallest ring, which sees nothing but the calls named.
func lossy(t *testing.T, calls ...string) *live {
	t.Helper()
	needProbe(t)
	p, err := Load(Config{Syscalls: calls, RingBytes: MinRingBytes, TraceSelf: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	rd, err := ringbuf.NewReader(p.Ring())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rd.Close() })
	if err := p.SetSyscalls(nil); err != nil {
		t.Fatal(err)
	}
	if err := p.Attach(); err != nil {
		t.Fatal(err)
	}
	return &live{p: p, rd: rd}
}

// rareCalls are system calls that nobody but a test makes, one with a record of fixed size and one with a string, each
// with the event type that counts their losses.
var rareCalls = map[string]event.Type{"munlockall": event.SyscallMunlockallX, "umount2": event.SyscallUmount2X}

// callRarely makes n of each, on this thread, none of which does anything.
func callRarely(n int, bad uintptr) {
	munlockall, umount := uintptr(number("munlockall")), uintptr(number("umount2"))
	for range n {
		unix.RawSyscall(munlockall, 0, 0, 0)
		unix.RawSyscall(umount, bad, 0, 0)
	}
}

// alone runs fn up to five times until nobody else made rare calls meanwhile: fn reports whether its counts are those of
// its own calls alone.
func alone(t *testing.T, fn func(t *testing.T) bool) {
	t.Helper()
	for range 5 {
		if fn(t) || t.Failed() {
			return
		}
	}
	t.Error("the counts are never those of the test's own calls")
}

// TestLostExactly makes a number of calls on every CPU into a ring of the smallest size, whose reader pauses: what was
// made is what was read and what is counted as lost, by system call, by type, by CPU and by cause.
func TestLostExactly(t *testing.T) { alone(t, testLostExactly) }

func testLostExactly(t *testing.T) bool {
	l := lossy(t, "munlockall", "umount2")
	path := str("/nonexistent/mount")
	const perCPU, pauses = 6000, 3
	read := map[event.Type]int{}
	readAll := func() {
		for _, r := range l.drain(t) {
			read[r.Type()]++
		}
	}
	before, err := l.p.Counters()
	if err != nil {
		t.Fatal(err)
	}
	for range pauses {
		var wg sync.WaitGroup
		for cpu := range runtime.NumCPU() {
			wg.Add(1)
			go func() {
				defer wg.Done()
				defer pinTo(t, cpu)()
				callRarely(perCPU, path)
			}()
		}
		wg.Wait()
		readAll()
	}
	after, err := l.p.Counters()
	if err != nil {
		t.Fatal(err)
	}
	made := uint64(pauses * perCPU * runtime.NumCPU())
	var lost uint64
	for name, typ := range rareCalls {
		m, err := l.p.MadeBy(name)
		if err != nil {
			t.Fatal(err)
		}
		if m != after.BySyscall[name] {
			t.Errorf("%s: %+v by itself, %+v among all", name, m, after.BySyscall[name])
		}
		if m.Total() < made {
			t.Errorf("%s: %d sent + %d lost, %d made", name, m.Sent, m.Lost, made)
		}
		if m.Sent+m.Lost != made { // somebody else made some
			t.Logf("%s: %d sent + %d lost, %d made", name, m.Sent, m.Lost, made)
			return false
		}
		if m.Sent != uint64(read[typ]) {
			t.Errorf("%s: %d sent, %d read", name, m.Sent, read[typ])
		}
		if m.Lost < made/10 || m.Sent == 0 {
			t.Errorf("%s: %d lost of %d, so that the ring wasn't full or nothing got through", name, m.Lost, made)
		}
		if m.Missing != 0 || m.Cut != 0 {
			t.Errorf("%s: %+v", name, m)
		}
		by := after.LostByType[typ]
		if by[CauseRing]+by[CauseBusy] != m.Lost {
			t.Errorf("%s: %v by cause, %d lost", name, by, m.Lost)
		}
		lost += m.Lost
		t.Logf("%s: %d made, %d sent, %d lost %v", name, made, m.Sent, m.Lost, by)
	}
	if after.Lost-before.Lost < lost {
		t.Errorf("%d lost in all, %d of the test", after.Lost-before.Lost, lost)
	}
	checkSums(t, after)
	for cpu, u := range after.ByCPU[:runtime.NumCPU()] {
		if u.Lost == 0 || u.Sent == 0 {
			t.Errorf("CPU %d: %+v", cpu, u)
		}
	}
	return true
}

// checkSums asserts that the parts of c add up.
func checkSums(t *testing.T, c Counters) {
	t.Helper()
	var cpus, calls Made
	var causes, types [NumCauses]uint64
	for _, u := range c.ByCPU {
		cpus.add(u.Made)
		for i, n := range u.LostByCause {
			causes[i] += n
		}
	}
	for _, m := range c.BySyscall {
		calls.add(m)
	}
	for _, by := range c.LostByType {
		for i, n := range by {
			types[i] += n
		}
	}
	if cpus != c.Made || calls != c.Made || causes != c.LostByCause || types != c.LostByCause {
		t.Errorf("the parts of %+v don't add up: %+v by CPU, %+v by call, %v and %v by cause", c, cpus, calls, causes, types)
	}
	sum := uint64(0)
	for _, n := range causes {
		sum += n
	}
	// A counter may have moved between the reading of the two that it has.
	if d := int64(sum - c.Lost); d < -16 || d > 16 {
		t.Errorf("%d lost, %d by cause", c.Lost, sum)
	}
}

// TestBusy: an event that finds the CPU's scratch in use is lost and counted as that, on every CPU, and one that needs no
// scratch isn't.
func TestBusy(t *testing.T) { alone(t, testBusy) }

func testBusy(t *testing.T) bool {
	l := lossy(t, "munlockall", "umount2")
	path := str("/nonexistent/mount")
	hold := func(n uint64) {
		for cpu := range l.p.n {
			if err := l.p.holdScratch(cpu, n); err != nil {
				t.Fatal(err)
			}
		}
	}
	hold(1)
	callRarely(100, path)
	hold(0)
	callRarely(10, path)
	c, err := l.p.Counters()
	if err != nil {
		t.Fatal(err)
	}
	u, s := c.BySyscall["umount2"], c.BySyscall["munlockall"]
	if u.Total() > 110 || s.Total() > 110 {
		return false
	}
	if u.Sent != 10 || u.Lost != 100 {
		t.Errorf("umount2: %+v", u)
	}
	if by := c.LostByType[event.SyscallUmount2X]; by != [NumCauses]uint64{CauseBusy: 100} {
		t.Errorf("umount2: lost %v", by)
	}
	if s.Sent != 110 || s.Lost != 0 {
		t.Errorf("munlockall: %+v", s)
	}
	checkSums(t, c)
	return true
}

// TestMissingAndCut: a parameter that can't be read, and one that is too long, are counted for their call; a null pointer,
// which is a way to say nothing, isn't.
func TestMissingAndCut(t *testing.T) { alone(t, testMissingAndCut) }

func testMissingAndCut(t *testing.T) bool {
	l := lossy(t, "umount2")
	callRarely(7, 1) // an address that no process has
	callRarely(5, 0)
	long := make([]byte, 6000)
	for i := range long {
		long[i] = 'x'
	}
	callRarely(3, str(string(long)))
	m, err := l.p.MadeBy("umount2")
	if err != nil {
		t.Fatal(err)
	}
	if m.Total() > 15 {
		return false
	}
	if want := (Made{Sent: 15, Missing: 7, Cut: 3}); m != want {
		t.Errorf("%+v, not %+v", m, want)
	}
	if _, err := l.p.MadeBy("nonsense"); err == nil {
		t.Error("a call that isn't known is counted")
	}
	return true
}

// TestHooksCount: events of exec, fork and exit count for the call that made them, or for none.
func TestHooksCount(t *testing.T) {
	l := lossy(t, "execve", "execveat", "clone", "clone3", "vfork", "fork")
	before, err := l.p.Counters()
	if err != nil {
		t.Fatal(err)
	}
	if err := command("exit").Run(); err == nil {
		t.Fatal("the child exits with 0")
	}
	time.Sleep(20 * time.Millisecond)
	after, err := l.p.Counters()
	if err != nil {
		t.Fatal(err)
	}
	made := func(names ...string) (n uint64) {
		for _, name := range names {
			n += after.BySyscall[name].Total() - before.BySyscall[name].Total()
		}
		return n
	}
	if made("execve") < 1 || made("clone", "clone3", "vfork", "fork") < 2 || made(NoSyscall) < 1 {
		t.Errorf("of one child: %+v", after.BySyscall)
	}
	if len(after.SkippedByHook) > 0 {
		t.Errorf("the kernel left out %v", after.SkippedByHook)
	}
	if h := hookOf(l.p, "sched_exit"); h.State != StateAttached {
		t.Errorf("%+v", h)
	}
}
