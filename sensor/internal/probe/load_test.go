package probe

import (
	"encoding/json"
	"errors"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/bpf"
	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// codeOf is the capture format's code of a system call.
func codeOf(t testing.TB, name string) int16 {
	t.Helper()
	for _, sc := range event.Syscalls() {
		if sc.Name == name {
			return sc.Code
		}
	}
	t.Fatalf("no system call %s", name)
	return 0
}

// TestEveryProgramLoads: what the kernel under the tests refuses would be missed by everybody.
func TestEveryProgramLoads(t *testing.T) {
	l := needProbe(t)
	spec, err := bpf.LoadProbe()
	if err != nil {
		t.Fatal(err)
	}
	hooks := l.p.Hooks()
	for _, h := range hooks {
		if h.State == StateRefused {
			t.Errorf("%s: %s", h.Name, h.Reason)
			continue
		}
		if h.Name == uringHook { // TestUringHook
			continue
		}
		if wantAttached := slices.Contains(always, h.Name) || h.Name == getnameHook || h.Name == openedHook; wantAttached != (h.State == StateAttached) {
			t.Errorf("%s is %s", h.Name, h.State)
		}
		if h.Name == getnameHook { // several programs; TestExactPaths looks at what they do
			continue
		}
		prog := l.p.coll.Programs[h.Name]
		if prog == nil {
			t.Errorf("%s is %s, and isn't there", h.Name, h.State)
			continue
		}
		info, err := prog.Info()
		if err != nil {
			t.Fatal(err)
		}
		n, _ := info.VerifiedInstructions()
		t.Logf("%-14s %6d instructions verified, serves %v", h.Name, n, h.Serves)
	}
	has := map[string]bool{generic: true}
	for _, sc := range event.Syscalls() {
		if here(&sc) {
			has[program(sc.Name)] = true
		}
	}
	for _, name := range always {
		has[name] = true
	}
	for name := range spec.Programs {
		if has[name] && !slices.ContainsFunc(hooks, func(h Hook) bool { return h.Name == name }) {
			t.Errorf("program %s isn't reported", name)
		}
	}
}

// TestEveryCallIsTested: a system call with a program has a case in the tests of this package.
func TestEveryCallIsTested(t *testing.T) {
	tested := map[string]bool{"clone": true, "clone3": true, "fork": true, "vfork": true} // TestClone
	for _, cases := range [][]callCase{
		openCases(), fdCases(), pathCases(), mountCases(), credCases(), miscCases(), sockCases(), failedExecCases(), compatCases(),
		statsCases(), memoryCases(), limitCases(), getIDCases(), semaphoreCases(), futexCases(),
		keyctlCases(), quotactlCases(), fsconfigCases(), adminCases(), compatIDCases(), allProcessVMCases(),
		readCases(), pollCases(), anonCases(), fdopCases(), recvCases(), sockoptCases(), targetCases(), xattrCases(),
	} {
		for _, c := range cases {
			tested[c.call] = true
		}
	}
	spec, err := bpf.LoadProbe()
	if err != nil {
		t.Fatal(err)
	}
	native, _ := arches()
	n := 0
	for _, sc := range event.Syscalls() {
		if spec.Programs[program(sc.Name)] == nil || !here(&sc) || (runtime.GOARCH != "amd64" && sc.NR[native] < 0) {
			continue
		}
		n++
		if !tested[sc.Name] {
			t.Errorf("%s has no test", sc.Name)
		}
	}
	if n < 50 {
		t.Errorf("only %d system calls have a program", n)
	}
	t.Logf("%d system calls", n)
}

// TestLoadTime: the sensor's first event may come a second after its start, of which this is one part.
func TestLoadTime(t *testing.T) {
	needProbe(t)
	for name, cfg := range map[string]Config{"all": {}, "few": {Syscalls: []string{"openat", "close", "connect", "execve", "clone"}}} {
		start := time.Now()
		p, err := Load(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.SetSyscalls(nil); err != nil {
			t.Fatal(err)
		}
		if err := p.Attach(); err != nil {
			t.Fatal(err)
		}
		took := time.Since(start)
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %v", name, took)
		if took > 5*time.Minute { // an emulated machine may need as much
			t.Errorf("loading %s took %v", name, took)
		}
	}
}

// TestRefused: a program that the kernel won't have is left out and reported, and the rest is loaded.
func TestRefused(t *testing.T) {
	needProbe(t)
	spec, err := bpf.LoadProbe()
	if err != nil {
		t.Fatal(err)
	}
	p := newProbe(Config{Syscalls: []string{"kill", "close"}})
	programs, err := p.choose(spec)
	if err != nil {
		t.Fatal(err)
	}
	spec.Maps["ring"].MaxEntries = MinRingBytes
	if err := setConstants(spec, MinRingBytes, &Config{SnapLen: DefaultSnapLen}, false); err != nil {
		t.Fatal(err)
	}
	spec.Programs["x_kill"].Instructions = asm.Instructions{asm.Mov.Reg(asm.R0, asm.R9).WithSymbol("x_kill"), asm.Return()}
	if p.coll, err = p.load(spec); err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.fill(programs); err != nil {
		t.Fatal(err)
	}
	for _, h := range p.Hooks() {
		if h.Name == "x_kill" {
			if h.State != StateRefused || !strings.Contains(h.Reason, "R9") {
				t.Errorf("%+v", h)
			}
		} else if h.State != StateLoaded {
			t.Errorf("%+v", h)
		}
	}
	if got := p.Syscalls(); !slices.Equal(got, []string{"close"}) {
		t.Errorf("system calls left: %v", got)
	}
	if err := p.SetSyscalls([]string{"kill"}); !errors.Is(err, ErrNoSyscall) {
		t.Errorf("kill gives %v", err)
	}
}

func TestConfig(t *testing.T) {
	for _, c := range []Config{{RingBytes: 1}, {RingBytes: MaxRingBytes + 1}, {SnapLen: -1}, {SnapLen: 4097}, {Syscalls: []string{"open", "no such call"}}} {
		if p, err := Load(c); err == nil {
			p.Close()
			t.Errorf("%+v loads", c)
		}
	}
	for n, want := range map[int]int{0: DefaultRingBytes, MinRingBytes: MinRingBytes, MinRingBytes + 1: 2 * MinRingBytes, 1 << 20: 1 << 20} {
		if got, err := ringSize(n); err != nil || got != want {
			t.Errorf("a ring of %d has %d bytes, not %d: %v", n, got, want, err)
		}
	}
}

func TestSetSyscalls(t *testing.T) {
	l := needProbe(t)
	if err := l.p.SetSyscalls([]string{"openat", "nonsense"}); !errors.Is(err, ErrNoSyscall) {
		t.Errorf("nonsense gives %v", err)
	}
	recs := l.events(t, []string{}, func() { unix.Close(badFD) })
	for _, r := range recs {
		if r.Type() == event.SyscallCloseX {
			t.Error("close makes an event that nobody wants")
		}
	}
	recs = l.events(t, nil, func() { unix.Close(badFD) })
	if !slices.ContainsFunc(recs, func(r event.Record) bool { return r.Type() == event.SyscallCloseX }) {
		t.Error("close makes no event when all are wanted")
	}
}

// TestOwnEvents: the sensor's own process makes none.
func TestOwnEvents(t *testing.T) {
	l := needProbe(t)
	p, err := Load(Config{Syscalls: []string{"close"}, RingBytes: MinRingBytes})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.SetSyscalls(nil); err != nil {
		t.Fatal(err)
	}
	if err := p.Attach(); err != nil {
		t.Fatal(err)
	}
	before, err := p.Counters()
	if err != nil {
		t.Fatal(err)
	}
	recs := l.events(t, []string{"close"}, func() {
		for range 1000 {
			unix.Close(badFD)
		}
	})
	if len(recs) < 1000 {
		t.Fatalf("the other probe saw %d events", len(recs))
	}
	after, err := p.Counters()
	if err != nil {
		t.Fatal(err)
	}
	if n := after.Sent - before.Sent; n > 900 { // what the rest of the machine does meanwhile
		t.Errorf("%d events of 1000 own calls", n)
	}
}

// pinTo makes the goroutine run on one CPU until the function it returns is called.
func pinTo(t *testing.T, cpu int) func() {
	t.Helper()
	runtime.LockOSThread()
	var before, set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		t.Fatal(err)
	}
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		t.Fatal(err)
	}
	return func() {
		unix.SchedSetaffinity(0, &before)
		runtime.UnlockOSThread()
	}
}

// TestRecordHeader compares the C header with the Go constants.
func TestRecordHeader(t *testing.T) {
	src, err := os.ReadFile("../../../bpf/include/record.h")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]uint64{}
	for _, m := range regexp.MustCompile(`(?m)^#define (\w+) (0x[0-9A-F]+|\d+)`).FindAllStringSubmatch(string(src), -1) {
		v, err := strconv.ParseUint(m[2], 0, 64)
		if err != nil {
			t.Fatal(err)
		}
		got[m[1]] = v
	}
	for name, want := range map[string]uint64{
		"RECORD_HEADER": event.RecordHeader, "RECORD_PARAM": 4, "NO_NR": event.NoNR,
		"ORIGIN_COMPAT": wasmabi.OriginCompat, "ORIGIN_CUT": wasmabi.OriginCut, "ORIGIN_EXACT": wasmabi.OriginExact, "ORIGIN_CHANGED": wasmabi.OriginChanged, "ORIGIN_URING": wasmabi.OriginIoUring,
		"ORIGIN_OPENED": wasmabi.OriginOpened, "ORIGIN_OTHER": wasmabi.OriginOther, "ORIGIN_REUSED": wasmabi.OriginReused, "ORIGIN_CLOEXEC": wasmabi.OriginCloexec,
	} {
		if got[name] != want {
			t.Errorf("record.h says %s is %d, Go %d", name, got[name], want)
		}
	}
	// The offsets: a record with a value of its own in each field, read by Go's accessors.
	b := make([]byte, event.RecordHeader)
	for i, f := range []string{"TS", "LEN", "TYPE", "NPARAMS", "TID", "CPU", "ORIGIN", "NR"} {
		b[got["RECORD_"+f]] = byte(i + 1)
	}
	r := event.Record(b)
	if r.TS() != 1 || r.Len() != 2 || r.Type() != 3 || r.NumParams() != 4 || r.TID() != 5 || r.CPU() != 6 || r.Origin() != 7 || r.NR() != 8 {
		t.Errorf("record.h and record.go have different offsets: %v", b)
	}
	if got["BODY_MAX"]+got["STRING_MAX"]+event.RecordHeader > event.MaxRecord {
		t.Error("the largest record is larger than a Record can be")
	}
}

// TestSharedLayout compares the object's types with what Go assumes of them.
func TestSharedLayout(t *testing.T) {
	spec, err := bpf.LoadProbe()
	if err != nil {
		t.Fatal(err)
	}
	cpu, ok := spec.Maps["cpus"].Value.(*btf.Struct)
	if !ok {
		t.Fatalf("cpus holds %v", spec.Maps["cpus"].Value)
	}
	offsets, members := map[string]uint32{}, map[string]btf.Type{}
	for _, m := range cpu.Members {
		offsets[m.Name], members[m.Name] = m.Offset.Bytes(), m.Type
	}
	made, ok := btf.UnderlyingType(members["made"].(*btf.Array).Type).(*btf.Struct)
	if !ok || made.Name != "made" || made.Size != madeSize {
		t.Errorf("the counters are %v", made)
	}
	for i, name := range []string{"sent", "lost", "missing", "cut"} { // the order of readMade
		if m := made.Members[i]; m.Name != name || m.Offset.Bytes() != uint32(8*i) {
			t.Errorf("counter %d is %s at %d, not %s", i, m.Name, m.Offset.Bytes(), name)
		}
	}
	for name, want := range map[string]uint32{"made": cpuMade, "lost": cpuLost, "filtered": uint32(cpuDrops), "forget": uint32(cpuEnd)} {
		if got, ok := offsets[name]; !ok || got != want {
			t.Errorf("%s is at %d, not %d", name, got, want)
		}
	}
	for name, want := range map[string]uint32{
		"wanted": 2 * numNative / 8, "slot_of": 2 * numNative * 2, "code_of": numSlots * 2, "sub_slot": 128, "wanted_sub": 8, "wanted_beyond": 4, "in_part": 4, "sigreturn_nr": 8, "clone_nr": 32, "execveat_nr": 8, "exec_slot": 4, "realtime": 4,
	} {
		if v := spec.Variables[name]; v == nil || v.Size() != want {
			t.Errorf("variable %s isn't of %d bytes", name, want)
		}
	}
	if n := spec.Maps["calls"].MaxEntries; n != numSlots || event.NumTypes > numTypes {
		t.Errorf("%d slots for %d, %d types for %d", n, numSlots, numTypes, event.NumTypes)
	}
}

func TestCheck(t *testing.T) {
	needProbe(t)
	rep := Check(Config{})
	if len(rep.Items) < 10 || !rep.OK {
		t.Errorf("%+v", rep)
	}
	t.Logf("\n%s", rep)
	b, err := json.Marshal(rep)
	if err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(b, &back); err != nil || len(back.Items) != len(rep.Items) {
		t.Errorf("%s: %v", b, err)
	}
}

func BenchmarkCounters(b *testing.B) {
	l := needProbe(b)
	for b.Loop() {
		if _, err := l.p.Counters(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpenClose is the cost of a pair of open and close, unwatched and watched (the ring is kept from filling).
func BenchmarkOpenClose(b *testing.B) {
	l := needProbe(b)
	path := str("/dev/null")
	pair := func() {
		fd, _, _ := unix.RawSyscall6(uintptr(number("openat")), cwd, path, 0, 0, 0, 0)
		unix.RawSyscall(uintptr(number("close")), fd, 0, 0)
	}
	for _, m := range []struct {
		name  string
		calls []string
	}{{"unwatched", []string{}}, {"watched", []string{"openat", "close"}}} {
		b.Run(m.name, func(b *testing.B) {
			if err := l.p.SetSyscalls(m.calls); err != nil {
				b.Fatal(err)
			}
			n := 0
			for b.Loop() {
				pair()
				if n++; n%20000 == 0 {
					b.StopTimer()
					l.drain(b)
					b.StartTimer()
				}
			}
			if err := l.p.SetSyscalls([]string{}); err != nil {
				b.Fatal(err)
			}
		})
	}
}
