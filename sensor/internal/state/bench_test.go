package state

import (
	"fmt"
	"testing"

	"github.com/shikra-sensor/shikra/sensor/internal/arena"
	"github.com/shikra-sensor/shikra/sensor/internal/decode"
	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/snapshot"
)

// machine is an arena with a state and the pipeline's part of queueing.
type machine struct {
	*State
	a   *arena.Arena
	num uint64
	b   event.Builder
	ts  uint64

	onFlush func()
	sink    snapshot.Sink // where a snapshot goes
	taken   snapshot.Taken
	asked   []snapshot.FileAsk // of Config.AskFile, where a test keeps it
}

func newMachine(t testing.TB, ac arena.Config, c Config) *machine {
	t.Helper()
	a, err := arena.New(ac)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	m := &machine{a: a, ts: 1e9}
	c.Arena = a
	c.Flush = m.flush
	if m.State, err = New(c); err != nil {
		t.Fatal(err)
	}
	m.sink = m.State
	return m
}

func (m *machine) flush() {
	if m.onFlush != nil {
		m.onFlush()
	}
	m.a.Flushed()
}

// do takes one record through decode, state and the batch, as the pipeline does.
func (m *machine) do(t testing.TB, r event.Record) event.Event {
	meta, err := decode.Decode(r)
	if err != nil {
		t.Fatal(err)
	}
	if m.a.Batch.Len() >= 256 {
		m.flush()
	}
	refs := m.Apply(r, meta, true)
	m.num++
	e, ok := m.a.Batch.Append(r, m.num)
	if !ok {
		m.flush()
		e, _ = m.a.Batch.Append(r, m.num)
	}
	e.SetThread(refs.Thread)
	e.SetFile(refs.File)
	e.SetFD(refs.FD)
	e.SetBits(meta.Bits | refs.Bits)
	if meta.HasRes {
		e.SetRes(meta.Res)
	}
	return e
}

func clone(r event.Record) event.Record { return append(event.Record(nil), r...) }

func openRecord(b *event.Builder, ts uint64, tid int64, fd int64, name string) event.Record {
	return clone(b.Start(ts, tid, event.SyscallOpenatV2X).Int(fd).Int(-100).String(name).Int(1).Int(0).Int(2).Int(3).Done())
}

func closeRecord(b *event.Builder, ts uint64, tid int64, fd int64) event.Record {
	return clone(b.Start(ts, tid, event.SyscallCloseX).Int(0).Int(fd).Done())
}

func connectRecord(b *event.Builder, ts uint64, tid int64, fd int64, port byte) event.Record {
	tup := []byte{2, 192, 0, 2, 1, 1, 2, 192, 0, 2, 9, port, 0}
	return clone(b.Start(ts, tid, event.SocketConnectX).Int(0).Bytes(tup).Int(fd).Missing().Done())
}

func socketRecord(b *event.Builder, ts uint64, tid int64, fd int64) event.Record {
	return clone(b.Start(ts, tid, event.SocketSocketX).Int(fd).Int(2).Int(1).Int(6).Int(0).Done())
}

func addProcess(m *machine, pid, ptid int64, comm string) {
	m.AddThread(&snapshot.Thread{TID: pid, PID: pid, PTID: ptid, Comm: comm, Exe: comm, ExePath: "/bin/" + comm, Cwd: "/", Root: "/", LoginUID: noID, Args: []string{"-x"}})
}

// mix is what a busy node does, by event: mostly opens, closes and reads, a connect and an exec among them.
func mix(m *machine) (recs []event.Record) {
	b := &m.b
	for i := range 64 {
		tid := int64(5 + i%5)
		name := fmt.Sprintf("/usr/lib/x86_64-linux-gnu/lib%d.so.6", i)
		recs = append(recs, openRecord(b, 1e9, tid, 5, name),
			clone(b.Start(1e9, tid, event.SyscallReadX).Int(10).Bytes([]byte("0123456789")).Int(5).Int(10).Done()),
			closeRecord(b, 1e9, tid, 5))
		if i%4 == 0 {
			recs = append(recs, socketRecord(b, 1e9, tid, 6), connectRecord(b, 1e9, tid, 6, byte(i)), closeRecord(b, 1e9, tid, 6))
		}
		if i%16 == 0 {
			kid := int64(1000 + i)
			recs = append(recs,
				clone(b.Start(1e9, kid, event.SyscallCloneV20X).Int(0).String("sh").Bytes([]byte("-c\x00true\x00")).Int(kid).Int(kid).Int(tid).String("").
					Int(1024).Int(0).Int(0).Int(0).Int(0).Int(0).String("sh").Bytes([]byte("cpu=/\x00memory=/user.slice\x00")).Int(0).Int(0).Int(0).Int(kid).Int(kid).Int(0).Done()),
				clone(b.Start(1e9, kid, event.SyscallExecveV19X).Int(0).String("/bin/true").Bytes(nil).Int(kid).Int(kid).Int(tid).String("").
					Int(1024).Int(0).Int(0).Int(0).Int(0).Int(0).String("true").Bytes([]byte("cpu=/\x00memory=/user.slice\x00")).Bytes([]byte("HOME=/root\x00PATH=/bin\x00")).
					Int(0).Int(kid).Int(-1).Int(0).Int(0).Int(0).Int(0).Int(9).Int(1).Int(1).Int(0).String("/usr/bin/true").Int(kid).Int(0).String("/bin/true").Done()),
				clone(b.Start(1e9, kid, event.ProcexitV1E).Int(0).Int(0).Int(0).Int(0).Int(0).Done()))
		}
	}
	return recs
}

func benchMachine(t testing.TB) *machine {
	m := newMachine(t, arena.Config{}, Config{})
	for i := int64(1); i < 10; i++ {
		addProcess(m, i, i-1, fmt.Sprint("p", i))
	}
	m.Settled()
	return m
}

func openClose(m *machine) (recs []event.Record) {
	for i := range 64 {
		recs = append(recs, openRecord(&m.b, 1e9, 9, 5, fmt.Sprintf("/usr/lib/x86_64-linux-gnu/lib%d.so.6", i)), closeRecord(&m.b, 1e9, 9, 5))
	}
	return recs
}

func benchmark(b *testing.B, recs []event.Record, m *machine) {
	metas := make([]decode.Meta, len(recs))
	for i, r := range recs {
		metas[i], _ = decode.Decode(r)
	}
	b.Run("decode", func(b *testing.B) {
		for i := range b.N {
			if _, err := decode.Decode(recs[i%len(recs)]); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("state", func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			if i&255 == 255 {
				m.a.Flushed()
			}
			m.Apply(recs[i%len(recs)], metas[i%len(recs)], true)
		}
	})
}

// One op is one event.
func BenchmarkOpenClose(b *testing.B) { m := benchMachine(b); benchmark(b, openClose(m), m) }
func BenchmarkMix(b *testing.B)       { m := benchMachine(b); benchmark(b, mix(m), m) }

// TestAllocs holds the hot path to no allocation: a round of events, decoded and applied, after a round that fills caches.
func TestAllocs(t *testing.T) {
	for name, events := range map[string]func(*machine) []event.Record{"open and close": openClose, "mix": mix} {
		m := benchMachine(t)
		recs := events(m)
		round := func() {
			for i, r := range recs {
				meta, err := decode.Decode(r)
				if err != nil {
					t.Fatal(err)
				}
				m.Apply(r, meta, true)
				if i&63 == 63 {
					m.a.Flushed()
				}
			}
			m.a.Flushed()
		}
		round()
		round()
		if n := testing.AllocsPerRun(20, round); n != 0 {
			t.Errorf("%s: %v allocations in %d events", name, n, len(recs))
		}
		if err := check(m.State); err != nil {
			t.Error(err)
		}
	}
}

// BenchmarkCgroups has a thread go from one container to the other and back, which others are in, or which come and go with
// it: the whole cost of cgroups that change.
func BenchmarkCgroups(b *testing.B) {
	for name, kept := range map[string]bool{"kept": true, "new": false} {
		b.Run(name, func(b *testing.B) {
			m := benchMachine(b)
			exec := func(tid, box int64) event.Record {
				path := fmt.Sprintf("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod%d.slice/cri-containerd-%064x.scope", box, box)
				cgroups := ""
				for _, sub := range []string{"cpuset", "cpu", "cpuacct", "io", "memory"} {
					cgroups += sub + "=" + path + "\x00"
				}
				return clone(m.b.Start(1e9, tid, event.SyscallExecveV19X).Int(0).String("/bin/true").Bytes(nil).Int(tid).Int(tid).Int(1).String("").
					Int(1024).Int(0).Int(0).Int(0).Int(0).Int(0).String("true").Bytes([]byte(cgroups)).Bytes(nil).
					Int(0).Int(tid).Int(-1).Int(0).Int(0).Int(0).Int(0).Int(9).Int(1).Int(1).Int(0).String("/usr/bin/true").Int(tid).Int(0).String("/bin/true").Done())
			}
			if kept {
				m.do(b, exec(7, 0))
				m.do(b, exec(8, 1))
			}
			benchmark(b, []event.Record{exec(9, 0), exec(9, 1)}, m)
		})
	}
}
