package state

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/shikra-sensor/shikra/sensor/internal/arena"
	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/snapshot"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// random makes events that are well formed and otherwise as odd as they come: few ids, so that everything collides.
type random struct {
	*rand.Rand
	b     event.Builder
	types []event.Type
	ts    uint64
}

func newRandom(seed uint64) *random {
	r := &random{Rand: rand.New(rand.NewPCG(seed, 1)), ts: 1e9}
	for _, t := range event.Types() {
		in := t.Info()
		if !t.Current() {
			continue
		}
		n := 1
		if in.Flags&event.FlagModifiesState != 0 {
			n = 6
		}
		if in.Name == "clone" || in.Name == "procexit" || in.Name == "openat" {
			n = 30
		}
		for range n {
			r.types = append(r.types, t)
		}
	}
	return r
}

var someNames = [...]string{"/etc/passwd", "/etc/shadow", "a", "../x", ".", "/", "", "/usr/lib/y/", "<NA>", "sh", "cron", "/proc/7"}

func (r *random) name() string {
	if r.IntN(8) == 0 {
		return fmt.Sprintf("/tmp/%d", r.IntN(100000))
	}
	return someNames[r.IntN(len(someNames))]
}

func (r *random) addr(n int) []byte {
	ap := func(v6 bool) []byte {
		b := []byte{192, 0, 2, byte(r.IntN(3)), byte(r.IntN(3)), 0}
		if v6 {
			b = append([]byte{0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, b[2:]...)
			if r.IntN(2) == 0 {
				copy(b, []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff})
			}
		}
		return b
	}
	var b []byte
	switch r.IntN(5) {
	case 0, 1:
		b = []byte{2}
		for range n {
			b = append(b, ap(false)...)
		}
	case 2:
		b = []byte{10}
		for range n {
			b = append(b, ap(true)...)
		}
	case 3:
		b = append([]byte{1}, make([]byte, 16*(n-1))...)
		if n == 2 {
			b[1], b[9] = byte(r.IntN(3)), byte(r.IntN(3))
		}
		b = append(append(b, r.name()...), 0)
	}
	if len(b) > 0 && r.IntN(20) == 0 {
		b = b[:r.IntN(len(b))]
	}
	return b
}

func (r *random) next() event.Record {
	r.ts += r.Uint64N(1e8)
	t := r.types[r.IntN(len(r.types))]
	tid := int64(r.IntN(40))
	b := r.b.Start(r.ts, tid, t)
	for i, p := range t.Info().Params {
		if r.IntN(40) == 0 {
			b.Missing()
			continue
		}
		switch p.Type {
		case event.ParamFd:
			b.Int(int64(r.IntN(90)) - 1)
		case event.ParamErrno:
			switch r.IntN(6) {
			case 0:
				b.Int(-int64(r.IntN(120)))
			case 1:
				b.Int(int64(r.IntN(40)))
			default:
				b.Int(0)
			}
		case event.ParamPid:
			switch {
			case i == 0 && r.IntN(2) == 0:
				b.Int(0)
			case p.Name == "pid" && r.IntN(2) == 0, p.Name == "vtid":
				b.Int(tid)
			default:
				b.Int(int64(r.IntN(40)))
			}
		case event.ParamCharbuf, event.ParamFspath, event.ParamFsrelpath:
			b.String(r.name())
		case event.ParamBytebuf:
			if p.Name == "cgroups" {
				above := []string{"", "/user.slice/user-7.slice/user@7.service", "/system.slice/x.service", "/docker/" + strings.Repeat("e", 64)}[r.IntN(4)]
				b.Bytes([]byte("cpu=" + above + "/docker/" + strings.Repeat(string(rune('a'+r.IntN(4))), 64) + "\x00"))
				continue
			}
			b.Bytes([]byte(r.name() + "\x00" + r.name()))
		case event.ParamDyn:
			b.Bytes(le.AppendUint64([]byte{byte(r.IntN(3))}, -uint64(r.IntN(120))))
		case event.ParamSockaddr:
			b.Bytes(r.addr(1))
		case event.ParamSocktuple:
			b.Bytes(r.addr(2))
		case event.ParamUint64, event.ParamUint32, event.ParamUid, event.ParamGid, event.ParamInt64:
			b.Int(int64(r.IntN(12)))
		case event.ParamFlags32, event.ParamFlags16:
			b.Int(int64(r.Uint32() & r.Uint32() & r.Uint32()))
		default:
			if p.Type.Size() == 16 {
				b.Bytes(make([]byte, 16))
			} else if p.Type.Size() > 0 {
				b.Int(int64(r.IntN(40)))
			} else {
				b.Missing()
			}
		}
	}
	return clone(b.Done())
}

// sees renders all that an event refers to: what a rule can see of the state. Slots and refs are followed, not printed.
func (m *machine) sees(e event.Event) string {
	var out strings.Builder
	record := func(name string, r []byte) {
		for _, l := range wasmabi.Layouts {
			if l.Name != name {
				continue
			}
			for _, f := range l.Fields {
				switch f.Type {
				case "str":
					fmt.Fprintf(&out, "%s=%q ", f.Name, m.a.Strings.Get(get32(r, f.Offset)))
				case "pstr":
					fmt.Fprintf(&out, "%s=%q ", f.Name, m.a.Private.Get(get32(r, f.Offset)))
				case "slot":
				default:
					fmt.Fprintf(&out, "%s=%x ", f.Name, r[f.Offset:f.Offset+f.Size])
				}
			}
		}
	}
	thread := func(t uint32) {
		r := m.rec(t)
		record("thread", r)
		if k := get32(r, wasmabi.ThreadContainer); k != 0 {
			out.WriteString("\n  container ")
			record("container", m.a.Containers.Record(k))
		}
	}
	if t := e.Thread(); t != 0 {
		out.WriteString("thread ")
		thread(t)
		out.WriteString("\n leader ")
		thread(m.leader(t))
		n := 0
		for p := get32(m.rec(t), wasmabi.ThreadParent); p != 0 && n < 200; p = get32(m.rec(p), wasmabi.ThreadParent) {
			out.WriteString("\n parent ")
			thread(p)
			n++
		}
	}
	if f := e.File(); f != 0 {
		out.WriteString("\nfile ")
		record("file", m.a.Files.Record(f))
	}
	return out.String()
}

// batched runs records with random bounds of batches and returns what each event saw when it was queued. It reports, up
// to the first, an event of which a later one changed that before the flush.
func batched(t testing.TB, rnd *rand.Rand, recs []event.Record, limit int, noRule bool) (seen []string, changed string) {
	m := newMachine(t, arena.Config{Threads: 24, Files: 128, Containers: 3}, Config{Users: 4, NoFlushRule: noRule})
	for i := int64(1); i < 10; i++ {
		m.AddThread(&snapshot.Thread{TID: i, PID: i, PTID: i / 2, Comm: fmt.Sprint("p", i), Cwd: "/home", LoginUID: noID})
	}
	m.Settled()
	first := 0
	m.onFlush = func() {
		for i := range m.a.Batch.Len() {
			if s := m.sees(m.a.Batch.Event(i)); s != seen[first+i] && changed == "" {
				changed = fmt.Sprintf("event %d, %s, saw\n%s\nand at the flush\n%s", first+i, m.a.Batch.Event(i).Type(), seen[first+i], s)
			}
		}
		first = len(seen)
	}
	for i, r := range recs {
		e := m.do(t, r)
		seen = append(seen, m.sees(e))
		if m.a.Batch.Len() >= limit || rnd.IntN(40) == 0 && limit > 1 {
			m.flush()
		}
		if i%97 == 0 && !noRule {
			if err := check(m.State); err != nil {
				t.Fatalf("after event %d, %s: %v", i, r.Type(), err)
			}
		}
	}
	m.flush()
	return seen, changed
}

// TestBatches proves the flush rule: whatever the bounds of the batches, every event sees what it would see alone, and
// goes on seeing it until it is judged. Without the rule it must not hold.
func TestBatches(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	n := 12000
	if testing.Short() {
		n = 2000
	}
	g := newRandom(seed)
	recs := make([]event.Record, n)
	for i := range recs {
		recs[i] = g.next()
	}
	one, changed := batched(t, g.Rand, recs, 1, false)
	if changed != "" {
		t.Fatal(changed)
	}
	many, changed := batched(t, g.Rand, recs, 256, false)
	if changed != "" {
		t.Fatal(changed)
	}
	for i := range one {
		if one[i] != many[i] {
			t.Fatalf("event %d, %s, sees alone\n%s\nand in a batch\n%s", i, recs[i].Type(), one[i], many[i])
		}
	}
	if _, changed := batched(t, g.Rand, recs, 256, true); changed == "" {
		t.Error("without the flush rule nothing changed under a queued event: the test proves nothing")
	}
}

// TestHostile fills every table: nothing breaks, everything stays within its limits and what is lost is counted.
func TestHostile(t *testing.T) {
	m := newMachine(t, arena.Config{Threads: 1000, Files: 4000, Strings: 1 << 20, Private: 1 << 20, Containers: 10}, Config{})
	m.Settled()
	ts := uint64(1e9)
	long := bytes.Repeat([]byte("x"), 3000)
	// One process opens 200,000 fds, with long names; another's few must not suffer.
	addProcess(m, 7, 1, "victim")
	m.do(t, openRecord(&m.b, ts, 7, 3, "/etc/passwd"))
	for fd := int64(0); fd < 200000; fd++ {
		ts += 1000
		m.do(t, openRecord(&m.b, ts, 5, fd, fmt.Sprintf("/tmp/%d/%s", fd, long[:fd%3000])))
		if e := m.a.Batch.Event(m.a.Batch.Len() - 1); e.File() == 0 {
			t.Fatal("an open without a file")
		}
	}
	// With short names it is the files that run out.
	before := m.Stats().FDsEvicted
	for fd := int64(0); fd < 10000; fd++ {
		ts += 1000
		if e := m.do(t, openRecord(&m.b, ts, 5, 500000+fd, "/tmp/same")); m.fileText(e.File()) != `f "/tmp/same" dir 4` {
			t.Fatalf("an open of %s", m.fileText(e.File()))
		}
	}
	if m.Stats().FDsEvicted == before {
		t.Error("10,000 files found room for 4,000")
	}
	// Many small processes: nobody to take from.
	for pid := int64(300); pid < 800; pid++ {
		addProcess(m, pid, 1, "small")
		for fd := range int64(12) {
			ts += 1000
			if e := m.do(t, openRecord(&m.b, ts, pid, fd, "/tmp/same")); m.fileText(e.File()) != `f "/tmp/same" dir 4` {
				t.Fatalf("an open of %s", m.fileText(e.File()))
			}
		}
	}
	if m.Stats().FDsDropped == 0 {
		t.Error("6,000 files found room for 4,000")
	}
	if err := check(m.State); err != nil {
		t.Fatal(err)
	}
	// Sparse fds take a page each.
	for i := int64(0); i < 20000; i++ {
		ts += 1000
		m.do(t, clone(m.b.Start(ts, 5, event.SyscallDup2X).Int(1<<20+i*32).Int(509999).Int(1<<20+i*32).Done()))
	}
	st := m.Stats()
	if st.FDsEvicted == 0 || st.NamesLost == 0 {
		t.Errorf("%+v", st)
	}
	if got := m.fileText(m.OpenFile(m.FindThread(7), 3)); got != `f "/etc/passwd" dir 4` {
		t.Errorf("the victim's fd is %s", got)
	}
	if err := check(m.State); err != nil {
		t.Fatal(err)
	}
	// 100,000 processes in many containers, each the child of the one before.
	for tid := int64(1000); tid < 101000; tid++ {
		ts += 1000
		cg := fmt.Sprintf("cpu=/docker/%064x\x00", tid)
		m.do(t, clone(m.b.Start(ts, tid, event.SyscallCloneV20X).Int(0).String("bomb").Bytes([]byte(fmt.Sprint(tid))).Int(tid).Int(tid).Int(tid-1).String("").
			Int(1).Int(0).Int(0).Int(0).Int(0).Int(0).String("bomb").Bytes([]byte(cg)).Int(0).Int(0).Int(0).Int(tid).Int(tid).Int(0).Done()))
	}
	if err := check(m.State); err != nil {
		t.Fatal(err)
	}
	st = m.Stats()
	if st.Threads > st.ThreadLimit || st.ThreadsEvicted+st.ThreadsDropped == 0 || st.ContainersDropped == 0 {
		t.Errorf("%+v", st)
	}
	// A chain of processes can't be shortened; threads without children can be. Whoever turns up now gets a place.
	for tid := int64(200000); tid < 203000; tid++ {
		ts += 1000
		e := m.do(t, openRecord(&m.b, ts, tid, 3, "/x"))
		if e.Thread() == 0 && tid > 201000 {
			t.Fatalf("no thread for %d: %+v", tid, m.Stats())
		}
	}
	if err := check(m.State); err != nil {
		t.Fatal(err)
	}
}

// TestFlat opens a million names never seen before: nothing grows.
func TestFlat(t *testing.T) {
	n := 1000000
	if testing.Short() {
		n = 50000
	}
	m := newMachine(t, arena.Config{Strings: 4 << 20}, Config{})
	addProcess(m, 7, 1, "x")
	m.Settled()
	name := []byte("/tmp/0000000000")
	var b event.Builder
	for i := range n {
		for j, v := len(name)-1, i; v > 0; j, v = j-1, v/10 {
			name[j] = byte('0' + v%10)
		}
		r := b.Start(uint64(i), 7, event.SyscallOpenX).Int(3).Bytes(name).Int(1).Int(0).Int(0).Int(0).Done()
		m.do(t, r)
		m.do(t, b.Start(uint64(i), 7, event.SyscallCloseX).Int(0).Int(3).Done())
	}
	m.flush()
	st := m.Stats()
	if st.Strings > 1<<20 || st.Files != 0 || st.NamesLost != 0 {
		t.Errorf("%+v", st)
	}
}
