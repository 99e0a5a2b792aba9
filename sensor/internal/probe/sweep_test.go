package probe

import (
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/probe/rawcall"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// The sweep makes every system call there is, each with the arguments -1, -2, … -6: fds that aren't open, addresses that
// aren't mapped, flags and sizes that nothing takes. Hardly any call does more than fail, and what they do is done to a
// process without anything in namespaces of its own.

// Ways in which a call doesn't just come back.
const (
	returns = iota
	never   // it ends its caller, and has no end of its own to be seen
	kills   // its caller dies of it
	waits   // it waits until its caller is killed
	forgets // its caller dies of it, and the kernel wipes its number, unless it finds before that there is no signal frame
)

// manners are those of the calls that don't just come back.
var manners = map[string]int{
	"exit": never, "exit_group": never, "uretprobe": kills, "rt_sigreturn": forgets, "sigreturn": forgets, "pause": waits, "sigsuspend": waits,
}

// otherArgs are the arguments of calls that would do something with the usual ones.
var otherArgs = map[string][6]uint64{
	"shmget":     {1<<64 - 1, 0, 0},        // a segment of 4 GiB on ia32
	"sigsuspend": {0, 0, 0},                // blocks nothing
	"msgget":     {0x73686b72, 0, 3, 4},    // only looks for a queue
	"semget":     {0x73686b72, 0, 0, 4},    // and for semaphores
	"vhangup":    {1, 2, 3, 4, 5, 6},       // nothing to hang up: the process has no terminal
	"umask":      {0o22, 2, 3, 4, 5, 6},    // files of later calls can be read
	"getppid":    {1, 2, 3, 4, 5, 6},       // what no table has looked at, as it is
	"gettid":     {1 << 63, 2, 3, 4, 5, 6}, // with the top bit
	"sync":       {11, 12, 13, 14, 15, 16}, // any others
}

// sweep is the state of one sweep through an architecture's table.
type sweep struct {
	t    *testing.T
	l    *live
	arch event.Arch
	abi  int
	name string // the server's name for the architecture
	s    *rawcall.Server
	n    map[bool]int // calls seen, by whether they have a program of their own

	served map[string]Served
}

// server returns a server that runs, which needn't be the one before.
func (w *sweep) server() *rawcall.Server {
	if w.s == nil {
		s, err := rawcall.Start(w.name, w.t.TempDir())
		if errors.Is(err, unix.ENOEXEC) && w.abi == 1 {
			w.t.Skip("this kernel runs no 32-bit programs")
		}
		if err != nil {
			w.t.Fatal(err)
		}
		w.s = s
		tests.compat = tests.compat || w.abi == 1
	}
	return w.s
}

func (w *sweep) close() {
	if w.s != nil {
		w.s.Close()
		w.s = nil
	}
}

// args are those of a call, as the kernel sees them.
func (w *sweep) args(name string) (a [6]uint64) {
	a, ok := otherArgs[name]
	if !ok {
		for i := range a {
			a[i] = ^uint64(i)
		}
	}
	if w.abi == 1 {
		for i := range a {
			a[i] &= 1<<32 - 1
		}
	}
	return a
}

// make makes a call and returns its result, whether it came back, and the events of the server meanwhile.
func (w *sweep) make(name string, nr uint32, args [6]uint64, data []byte) (res int64, came bool, recs []event.Record) {
	s := w.server()
	// The answer to its first request shows that it runs and that exec's events are past.
	w.request(s, uint32(call("getpid").NR[w.arch]), [6]uint64{}, nil)
	w.l.drain(w.t)
	w.l.want(w.t, name)
	if err := s.Send(nr, args, data); err != nil {
		w.t.Fatal(err)
	}
	type answer struct {
		res int64
		err error
	}
	done := make(chan answer, 1)
	go func() {
		res, err := s.Result()
		done <- answer{res, err}
	}()
	limit := 30 * time.Second
	if manners[name] == waits {
		limit = 300 * time.Millisecond
	}
	var a answer
	select {
	case a = <-done:
	case <-time.After(limit):
		s.Kill()
		a = <-done
		if manners[name] != waits {
			w.t.Errorf("%s doesn't come back", name)
		}
	}
	if a.err != nil {
		if !errors.Is(a.err, io.EOF) {
			w.t.Fatal(a.err)
		}
		w.close()
	}
	w.l.want(w.t)
	for _, r := range w.l.drain(w.t) {
		if r.TID() == int64(s.PID) {
			recs = append(recs, r)
		}
	}
	return a.res, a.err == nil, recs
}

// request makes a call of which nothing is expected.
func (w *sweep) request(s *rawcall.Server, nr uint32, args [6]uint64, data []byte) int64 {
	w.t.Helper()
	if err := s.Send(nr, args, data); err != nil {
		w.t.Fatal(err)
	}
	res, err := s.Result()
	if err != nil {
		w.t.Fatal(err)
	}
	return res
}

// call returns the table's entry of a system call, nil for none.
func call(name string) *event.Syscall {
	for i := range event.Syscalls() {
		if sc := &event.Syscalls()[i]; sc.Name == name {
			return sc
		}
	}
	return nil
}

// resultOf returns the first parameter of a parsed event when it is the call's result, and whether it is.
func resultOf(r event.Record) (int64, bool) {
	p := r.Type().Info().Params
	if len(p) == 0 || p[0].Name != "res" && p[0].Name != "fd" || p[0].Type.Size() != 8 {
		return 0, false
	}
	b, ok := r.Param(0)
	if !ok {
		return 0, false
	}
	return p[0].Type.Int(b)
}

// one makes a call by number nr with args, and asserts that it gives one event by the name of sc: parsed, or with the
// arguments want.
func (w *sweep) one(sc *event.Syscall, nr uint32, args [6]uint64, data []byte, want [6]uint64) {
	t := w.t
	t.Helper()
	asked := sc.Name
	if manners[sc.Name] == forgets {
		sc = call(sigreturn) // sigreturn too, which can't be told from it any more
	}
	before, err := w.l.p.MadeBy(sc.Name)
	if err != nil {
		t.Fatal(err)
	}
	res, came, recs := w.make(sc.Name, nr, args, data)
	// Where the stack ends before the frame that it takes for one the kernel doesn't get as far as to wipe the number, and the call is
	// sigreturn's. Where it ends is another in each server.
	for try := 0; try < 3 && manners[sc.Name] == forgets && asked != sc.Name && !slices.ContainsFunc(recs, func(r event.Record) bool { return r.Type() == event.GenericX }); try++ {
		res, came, recs = w.make(sc.Name, nr, args, data)
	}
	typ := w.served[sc.Name].Type
	parsed := typ != event.GenericX
	var got []event.Record
	for _, r := range recs {
		if r.Type() != typ || r.NR() != nr && r.NR() != event.NoNR && manners[sc.Name] != forgets {
			continue
		}
		if parsed {
			// The server's own calls of the same number, and those before it was killed.
			if n, ok := resultOf(r); ok && came && int32(n) != int32(res) {
				continue
			}
		} else if manners[sc.Name] == forgets && sameArgs(r, [6]uint64{}) {
			nr, want = uint32(sc.NR[w.arch]), [6]uint64{}
		} else if !sameArgs(r, want) {
			continue
		}
		if sc.Name != "getpid" || len(got) == 0 { // the server makes that too, with what the registers hold
			got = append(got, r)
		}
	}
	switch manners[sc.Name] {
	case never:
		if len(got) > 0 {
			t.Errorf("%s(%d) comes back: %v", sc.Name, nr, got)
		}
		return
	case kills, waits, forgets:
		if came && res != -int64(unix.ENOSYS) { // a kernel that doesn't have it
			t.Errorf("%s(%d) comes back with %d", sc.Name, nr, res)
		}
	}
	if len(got) != 1 {
		t.Errorf("%s(%d) = %d: %d events of %s; got %v", sc.Name, nr, res, len(got), typ, typesOf(recs))
		return
	}
	w.n[parsed]++
	r := got[0]
	origin := uint16(0)
	if w.abi == 1 {
		origin = wasmabi.OriginCompat
	}
	if r.Origin()&wasmabi.OriginCompat != origin {
		t.Errorf("%s(%d): origin is %d", sc.Name, nr, r.Origin())
	}
	if after, err := w.l.p.MadeBy(sc.Name); err != nil || after.Total() == before.Total() {
		t.Errorf("%s(%d): its program has made no event: %+v, %v", sc.Name, nr, after, err)
	}
	failed := t.Failed()
	defer func() {
		if !failed && !t.Failed() {
			proven(asked, w.arch, testedCall)
		}
	}()
	if parsed {
		return
	}
	wantRes := any(res)
	if !came {
		wantRes = present{}
	} else if w.abi == 1 {
		wantRes = check(func(t *testing.T, name string, b []byte) {
			if n, _ := event.ParamErrno.Int(b); int32(n) != int32(res) || n < -4095 {
				t.Errorf("%s is %d, not %d", name, n, res)
			}
		})
	}
	checkRecord(t, r, []any{sc.Code, nr, nr, wantRes, want[0], want[1], want[2], want[3], want[4], want[5]})
}

// sameArgs reports whether a generic event has these arguments.
func sameArgs(r event.Record, want [6]uint64) bool {
	first := event.GenericX.Info().ParamIndex("arg0")
	for i, v := range want {
		b, ok := r.Param(first + i)
		if n, isInt := event.ParamUint64.Int(b); !ok || !isInt || uint64(n) != v {
			return false
		}
	}
	return true
}

// newSweep prepares a sweep through the native table (abi 0) or that of 32-bit programs (abi 1).
func newSweep(t *testing.T, abi int) *sweep {
	l := needProbe(t)
	native, compat := arches()
	arch := []int{native, compat}[abi]
	names := map[int]string{int(event.ArchAMD64): "amd64", int(event.ArchARM64): "arm64", int(event.ArchARM): "arm", int(event.ArchIA32): "ia32"}
	if names[arch] == "" {
		t.Skip("no program makes calls for tests here")
	}
	w := &sweep{t: t, l: l, arch: event.Arch(arch), abi: abi, name: names[arch], n: map[bool]int{}, served: map[string]Served{}}
	served, err := Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range served {
		w.served[s.Syscall.Name] = s
	}
	t.Cleanup(w.close)
	return w
}

func (w *sweep) all() {
	for i := range event.Syscalls() {
		sc := &event.Syscalls()[i]
		nr := sc.NR[w.arch]
		if nr < 0 {
			continue
		}
		a := w.args(sc.Name)
		w.one(sc, uint32(nr), a, nil, a)
	}
	w.t.Logf("%d parsed, %d generic", w.n[true], w.n[false])
}

// TestEverySyscall makes every system call of this machine's table: each gives an event by its name.
func TestEverySyscall(t *testing.T) { newSweep(t, 0).all() }

// TestMultiplexed makes every call that ia32's socketcall(2) and ipc(2) stand for, and some that they don't.
func TestMultiplexed(t *testing.T) {
	if _, compat := arches(); compat != int(event.ArchIA32) {
		t.Skip("only ia32 has such calls")
	}
	w := newSweep(t, 1)
	all := [6]uint64{0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD, 0xFFFFFFFC, 0xFFFFFFFB, 0xFFFFFFFA}
	first := func(n int) (a [6]uint64) {
		copy(a[:], all[:n])
		return a
	}
	le := binary.LittleEndian
	var words []byte
	for _, v := range all {
		words = le.AppendUint32(words, uint32(v))
	}
	at := w.server().Data()
	sockets := &multiplexers[0]
	nargs := map[string]int{
		"socket": 3, "bind": 3, "connect": 3, "listen": 2, "accept": 3, "getsockname": 3, "getpeername": 3, "socketpair": 4, "send": 4, "recv": 4,
		"sendto": 6, "recvfrom": 6, "shutdown": 2, "setsockopt": 5, "getsockopt": 5, "sendmsg": 3, "recvmsg": 3, "accept4": 4, "recvmmsg": 5,
		"sendmmsg": 4,
	}
	made := 0
	for n, name := range sockets.subs {
		if name == "" {
			continue
		}
		made++
		w.one(call(name), uint32(sockets.nr), [6]uint64{uint64(n), at}, words, first(nargs[name]))
	}
	if made != 20 || len(nargs) != 20 {
		t.Errorf("%d calls through socketcall", made)
	}
	for _, n := range []uint64{0, 21, 31, 32, 33, 1<<32 - 1} {
		a := [6]uint64{n, at, 3, 4, 5, 6}
		w.one(call(sockets.name), uint32(sockets.nr), a, words, a)
	}
	// Arguments of which no more can be read than there are.
	const end = 0x22000 // of the server's memory
	w.one(call("shutdown"), uint32(sockets.nr), [6]uint64{13, end - 8}, nil, [6]uint64{})

	// ipc(call, first, second, third, pointer, fifth)
	ipc := &multiplexers[1]
	two := le.AppendUint32(le.AppendUint32(nil, 77), 88)
	for _, c := range []struct {
		call, first, second, third, ptr, fifth uint64
		want                                   [6]uint64
	}{
		{1, 1 << 31, 2, 3, 4, 5, [6]uint64{1 << 31, 4, 2}},
		{2, 0x73686b72, 2, 3, 4, 5, [6]uint64{0x73686b72, 2, 3}},
		{3, 1 << 31, 2, 3, at, 5, [6]uint64{1 << 31, 2, 3, 77}},
		{4, 1 << 31, 2, 3, 4, 5, [6]uint64{1 << 31, 4, 2, 5}},
		{11, 1 << 31, 2, 3, 4, 5, [6]uint64{1 << 31, 4, 2, 3}},
		{12, 1 << 31, 2, 3, at, 5, [6]uint64{1 << 31, 77, 2, 88, 3}},
		{1<<16 | 12, 1 << 31, 2, 3, 4, 5, [6]uint64{1 << 31, 4, 2, 5, 3}},
		{13, 0x73686b72, 0, 3, 4, 5, [6]uint64{0x73686b72, 0, 3}},
		{14, 1 << 31, 2, 3, 4, 5, [6]uint64{1 << 31, 2, 4}},
		{21, 1 << 31, 2, 3, 4, 5, [6]uint64{1 << 31, 4, 2}},
		{22, 1 << 31, 2, 3, 4, 5, [6]uint64{4}},
		{23, 0x73686b72, 2, 0, 4, 5, [6]uint64{0x73686b72, 2, 0}},
		{24, 1 << 31, 2, 3, 4, 5, [6]uint64{1 << 31, 2, 4}},
	} {
		name := ipc.subs[c.call&0xFFFF]
		w.one(call(name), uint32(ipc.nr), [6]uint64{c.call, c.first, c.second, c.third, c.ptr, c.fifth}, two, c.want)
	}
	for _, n := range []uint64{0, 5, 25, 32 + 1, 1<<32 - 1} {
		a := [6]uint64{n, 2, 3, 4, 5, 6}
		w.one(call(ipc.name), uint32(ipc.nr), a, nil, a)
	}
	// A call that nobody wants isn't seen through another one that somebody does.
	_, _, recs := w.make("bind", uint32(sockets.nr), [6]uint64{1, at}, words)
	if len(recs) > 0 {
		t.Errorf("bind is wanted, socket gives %v", typesOf(recs))
	}
	t.Logf("%d parsed, %d generic", w.n[true], w.n[false])
}

// TestEveryCompatSyscall makes every one of the table of 32-bit programs, in a 32-bit program.
func TestEveryCompatSyscall(t *testing.T) { newSweep(t, 1).all() }
