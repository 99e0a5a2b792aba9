package probe

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/testkit"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// needProbe returns a probe that is attached and sees this process too. There is one for all tests. It skips where
// programs can't be loaded at all, which is where this process lacks the right to, and nowhere else.
func needProbe(t testing.TB) *live {
	t.Helper()
	if os.Geteuid() != 0 {
		testkit.Missing(t, "loading BPF programs needs root")
	}
	one.Do(func() {
		_, noCopies := findGetname(nil)
		p, err := Load(Config{TraceSelf: true, Generic: true, Tier: os.Getenv(tierEnv), ExactPaths: noCopies == nil || os.Getenv(exactEnv) != ""})
		if err != nil {
			oneErr = err
			return
		}
		if oneErr = p.SetSyscalls([]string{}); oneErr != nil {
			return
		}
		if oneErr = p.Attach(); oneErr != nil {
			return
		}
		if p.fexit != nil { // all at once, and before a test gives up its rights
			for name, prog := range p.fexit.programs {
				if prog != generic {
					p.fexit.wanted = append(p.fexit.wanted, name)
				}
			}
			if missed := p.fexit.serve(p.fexit.wanted); len(missed) > 0 {
				oneErr = errors.New(missedReason(missed))
				return
			}
		}
		var rd *ringbuf.Reader
		if rd, oneErr = ringbuf.NewReader(p.Ring()); oneErr == nil {
			theLive = &live{p: p, rd: rd}
		}
	})
	if oneErr != nil {
		t.Fatalf("this machine can't run the probe: %v", oneErr)
	}
	return theLive
}

// tierEnv chooses the tier that the tests run in; by default it is TierBase.
const tierEnv = "SHIKRA_PROBE_TIER"

// exactEnv, when it has a value, says that the kernel's own copies of paths can be had here. Where they can, the tests run with
// Config.ExactPaths.
const exactEnv = "SHIKRA_PROBE_EXACT"

var (
	one     sync.Once
	oneErr  error
	theLive *live
)

// live is an attached probe and the reading end of its ring.
type live struct {
	p  *Probe
	rd *ringbuf.Reader
}

// want makes events of these system calls only. In TierFexit what has been attached stays so, for detaching takes a tenth of a
// second each.
func (l *live) want(t testing.TB, names ...string) {
	t.Helper()
	if l.p.fexit == nil {
		if err := l.p.SetSyscalls(append([]string{}, names...)); err != nil {
			t.Fatal(err)
		}
		return
	}
	var w wants
	for _, name := range names {
		if sc := call(name); sc != nil { // procexit is none
			w.add(sc)
		}
	}
	f := l.p.fexit
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	for _, name := range names {
		if !slices.Contains(f.wanted, name) {
			f.wanted = append(f.wanted, name)
			for _, err := range f.serve(f.wanted) {
				if !errors.Is(err, errNoEntry) { // as of unknown numbers
					t.Error(err)
				}
			}
		}
	}
	f.told = w
	if err := l.p.apply(&w); err != nil {
		t.Fatal(err)
	}
}

// hookOf returns what p reports of one hook.
func hookOf(p *Probe, name string) Hook {
	for _, h := range p.Hooks() {
		if h.Name == name {
			return h
		}
	}
	return Hook{Name: name, State: "not loaded"}
}

// drain returns the records that are in the ring, each checked.
func (l *live) drain(t testing.TB) []event.Record {
	t.Helper()
	var out []event.Record
	for {
		l.rd.SetDeadline(time.Now().Add(-time.Second))
		rec, err := l.rd.Read()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		r := event.Record(rec.RawSample)
		// The ring rounds up to 8 bytes; the record says how long it is itself.
		if len(r) >= event.RecordHeader && int(r.Len()) <= len(r) {
			r = r[:r.Len()]
		}
		if err := r.Check(); err != nil {
			t.Errorf("record of %s: %v", r.Type(), err)
			continue
		}
		out = append(out, r)
	}
}

// inThread runs fn in an OS thread of its own that ends with it, so that fn may change what belongs to a thread.
func inThread(fn func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and not unlocked: the runtime ends the thread with the goroutine
		if unix.Gettid() == unix.Getpid() {
			// But not the main one, which would be kept as it is then, for what /proc says of the process. Waiting, it is nobody else's.
			inThread(fn)
			runtime.UnlockOSThread()
			return
		}
		fn()
	}()
	<-done
}

// callCase makes one system call and says what its event has to be.
type callCase struct {
	call string     // name of the system call
	what string     // the variant
	typ  event.Type // of the event
	// run makes the call, in a thread of its own, and returns the values that the parameters of the last one made have to
	// have, in order.
	run func(t *env) []any
}

// env is what a case runs in.
type env struct {
	*testing.T
	l      *live
	tid    int
	name   string                  // the case's system call
	made   int                     // how often it was made
	mine   func(event.Record) bool // whether a record is of the case's own call; nil where the Go runtime doesn't make such calls
	nr     uint32                  // and by which number
	origin uint16
}

// The values that a case may want of a parameter, beside integers, strings (a charbuf) and []byte (any bytes).
type (
	missing struct{}                                  // it is left out
	present struct{}                                  // it is there, whatever it is
	check   func(t *testing.T, name string, b []byte) // a check of its own
)

// number returns the native number of a system call, -1 for none.
func number(name string) int {
	native, _ := arches()
	for _, sc := range event.Syscalls() {
		if sc.Name == name {
			return int(sc.NR[native])
		}
	}
	return -1
}

// call makes a raw system call, without telling the Go runtime, and returns what the kernel does: -errno for a failure.
// It skips on an architecture that doesn't have it.
func (t *env) call(name string, args ...uintptr) int64 {
	var r uintptr
	var e unix.Errno
	nr := number(name)
	if nr < 0 {
		t.Skipf("%s has no system call %s", runtime.GOARCH, name)
	}
	var a [6]uintptr
	copy(a[:], args)
	if name == t.name {
		t.nr = uint32(nr)
		t.watched(func() { r, e = raw(uintptr(nr), &a) })
	} else {
		r, e = raw(uintptr(nr), &a)
	}
	if e != 0 {
		return -int64(e)
	}
	return int64(r)
}

func raw(nr uintptr, a *[6]uintptr) (uintptr, unix.Errno) {
	r, _, e := unix.RawSyscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5])
	return r, e
}

// watched makes events of the case's system call while fn makes it once.
func (t *env) watched(fn func()) {
	t.Helper()
	t.made++
	t.l.want(t, t.name)
	fn()
	t.l.want(t)
}

// must is call for what has to succeed.
func (t *env) must(name string, args ...uintptr) int64 {
	t.Helper()
	r := t.call(name, args...)
	if r < 0 {
		t.Fatalf("%s: %v", name, unix.Errno(-r))
	}
	return r
}

// str returns the address of s and a NUL, which stay until the program ends.
func str(s string) uintptr { return addr(append([]byte(s), 0)) }

// addr returns the address of b, which stays until the program ends.
func addr(b []byte) uintptr {
	kept.Lock()
	defer kept.Unlock()
	kept.b = append(kept.b, b)
	return uintptr(unsafe.Pointer(unsafe.SliceData(b)))
}

var kept struct {
	sync.Mutex
	b [][]byte // guarded by Mutex
}

func runCases(t *testing.T, cases []callCase) {
	l := needProbe(t)
	for _, c := range cases {
		t.Run(c.call+"/"+c.what, func(t *testing.T) {
			if number(c.call) >= 0 && !slices.Contains(l.p.Syscalls(), c.call) {
				t.Fatalf("no program for %s: %s", c.call, l.p.reason(program(c.call)))
			}
			before, err := l.p.MadeBy(c.call)
			if err != nil {
				t.Fatal(err)
			}
			var want []any
			e := &env{T: t, l: l, name: c.call}
			var recs []event.Record
			inThread(func() {
				e.tid = unix.Gettid()
				l.drain(t)
				want = c.run(e)
				recs = l.drain(t)
			})
			if want == nil {
				if t.Skipped() {
					skipped(c.call)
				}
				return
			}
			var got event.Record
			n := 0
			for _, r := range recs {
				if r.Type() == c.typ && r.TID() == int64(e.tid) && !restarted(r) && (e.mine == nil || e.mine(r)) {
					got = r
					n++
				}
			}
			if n != e.made {
				t.Fatalf("%d events of %s for %d calls; got %v", n, c.typ, e.made, typesOf(recs))
			}
			checkRecord(t, got, want)
			checkHead(t, e, got)
			after, err := l.p.MadeBy(c.call)
			if err != nil || after.Total() < before.Total()+uint64(e.made) {
				t.Errorf("%d calls, and their program has made %d events: %v", e.made, after.Total()-before.Total(), err)
			}
			if !t.Failed() && e.origin&wasmabi.OriginIoUring == 0 { // an operation proves nothing of the call
				native, compat := arches()
				arch := native
				if e.origin&wasmabi.OriginCompat != 0 {
					arch = compat
				}
				proven(c.call, event.Arch(arch), testedParams)
			}
		})
	}
}

// restarted reports whether r is of a call that a signal (the Go runtime's) took out of the kernel, and that was then made
// again: its result is one that programs never see (ERESTARTSYS and the like, include/linux/errno.h).
func restarted(r event.Record) bool {
	b, ok := r.Param(0)
	if !ok || len(b) != 8 {
		return false
	}
	res, _ := event.ParamErrno.Int(b)
	return res <= -512 && res >= -516
}

func typesOf(recs []event.Record) []string {
	var out []string
	for _, r := range recs {
		out = append(out, fmt.Sprintf("%s@%d", r.Type(), r.TID()))
	}
	return out
}

// checkHead asserts the header: the native number, the origin, the CPU, the time.
func checkHead(t *testing.T, e *env, r event.Record) {
	t.Helper()
	if r.NR() != e.nr {
		t.Errorf("nr is %d, not %d", int32(r.NR()), int32(e.nr))
	}
	if got := r.Origin() &^ (wasmabi.OriginExact | wasmabi.OriginOpened); got != e.origin { // TestExactPaths and TestExactFiles look at those
		t.Errorf("origin is %d, not %d", got, e.origin)
	}
	if int(r.CPU()) >= runtime.NumCPU() {
		t.Errorf("cpu is %d of %d", r.CPU(), runtime.NumCPU())
	}
	if age := bootNow() - int64(r.TS()); age < 0 || age > int64(30*time.Second) {
		t.Errorf("time is %v ago", time.Duration(age))
	}
}

func bootNow() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic(err)
	}
	return ts.Nano()
}

// checkRecord compares every parameter of r.
func checkRecord(t *testing.T, r event.Record, want []any) {
	t.Helper()
	params := r.Type().Info().Params
	all := len(params)
	if len(want) == all-2 && (r.Type() == event.SyscallCloneV20X || r.Type() == event.SyscallClone3X) {
		all = len(want) // maker and pidfd are there only when there is something to say
	}
	if len(want) == 2 && r.Type() == event.SyscallDupV1X {
		all = len(want) // what is new is of an operation of an io_uring
	}
	if len(want) == 3 && r.Type() == event.SocketBindX {
		all = len(want) // the port is there when the kernel chose it
	}
	if len(want) != all || r.NumParams() != all {
		t.Fatalf("%s has %d parameters, the record %d, the test %d", r.Type(), len(params), r.NumParams(), len(want))
	}
	for i, w := range want {
		name := params[i].Name
		b, ok := r.Param(i)
		if _, miss := w.(missing); miss {
			if ok {
				t.Errorf("%s is %q, not missing", name, b)
			}
			continue
		}
		if !ok {
			t.Errorf("%s is missing, not %v", name, w)
			continue
		}
		switch w := w.(type) {
		case present:
		case check:
			w(t, name, b)
		case []byte:
			if !bytes.Equal(b, w) {
				t.Errorf("%s is %x, not %x", name, b, w)
			}
		case string:
			if string(b) != w+"\x00" {
				t.Errorf("%s is %q, not %q and NUL", name, b, w)
			}
		default:
			wi := toInt(w)
			v, ok := params[i].Type.Int(b)
			if n := len(b); n < 8 && n > 0 && !params[i].Type.Signed() {
				wi &= 1<<(8*n) - 1
			}
			if !ok || v != wi {
				t.Errorf("%s is %d (%x), not %d", name, v, b, wi)
			}
		}
	}
}

func toInt(v any) int64 {
	switch v := v.(type) {
	case int:
		return int64(v)
	case int64:
		return v
	case int16:
		return int64(v)
	case uint64:
		return int64(v)
	case uint32:
		return int64(v)
	case uintptr:
		return int64(v)
	}
	panic(fmt.Sprintf("no integer: %T", v))
}

// devOf encodes a device number as the event format does.
func devOf(dev uint64) uint32 {
	major, minor := unix.Major(dev), unix.Minor(dev)
	return minor&0xff | major<<8 | (minor&^0xff)<<12
}

// holdScratch makes n programs seem to want the scratch of a CPU, which no program can then have; 0 gives it back.
func (p *Probe) holdScratch(cpu int, n uint64) error {
	var b [8]byte
	binary.NativeEndian.PutUint64(b[:], n)
	_, err := p.cpus.WriteAt(b[:], int64(cpu)*p.cpuSize())
	return err
}
