package replay_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"reflect"
	"testing"

	"github.com/shikra-sensor/shikra/sensor/internal/capture"
	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/snapshot"
	"github.com/shikra-sensor/shikra/sensor/internal/source/replay"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// built writes a capture with w and opens it.
func built(t testing.TB, write func(w *capture.Writer)) (*capture.Reader, []byte) {
	t.Helper()
	var b bytes.Buffer
	w, err := capture.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	write(w)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	r, err := capture.NewReader(bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	return r, b.Bytes()
}

func ev(ts uint64, t event.Type, flags uint32, vals ...[]byte) *capture.Event {
	e := &capture.Event{TS: ts, TID: 1, Type: t, Flags: flags}
	e.SetParams(vals...)
	return e
}

func fd(n byte) []byte { return []byte{n, 0, 0, 0, 0, 0, 0, 0} }

// TestFiles gives open files names and sockets their roles.
func TestFiles(t *testing.T) {
	ip := func(a, b, c, d byte) (x [16]byte) { x[0], x[1], x[2], x[3] = a, b, c, d; return }
	mapped := func(a, b, c, d byte) (x [16]byte) {
		x[10], x[11], x[12], x[13], x[14], x[15] = 0xFF, 0xFF, a, b, c, d
		return
	}
	const tcp, udp = 6, 17
	in := []snapshot.File{
		{FD: 0, Kind: 'f', Name: "/dev/null", OpenFlags: 1},
		{FD: 1, Kind: 'u', Name: "/run/x.sock\n"},
		{FD: 2, Kind: 'u'},
		{FD: 3, Kind: '4', L4Proto: tcp, Client: ip(192, 0, 2, 1), CPort: 80, Server: ip(192, 0, 2, 9), SPort: 4000},         // of the listener
		{FD: 4, Kind: '4', L4Proto: tcp, Client: ip(192, 0, 2, 1), CPort: 5000, Server: ip(192, 0, 2, 9), SPort: 443},        // to somebody else
		{FD: 5, Kind: '4', L4Proto: udp, Client: ip(192, 0, 2, 1), CPort: 80, Server: ip(192, 0, 2, 9), SPort: 53},           // its port is listened to by tcp only
		{FD: 6, Kind: '6', L4Proto: tcp, Client: mapped(192, 0, 2, 1), CPort: 80, Server: mapped(192, 0, 2, 9), SPort: 4001}, // IPv4 in disguise
		{FD: 7, Kind: '6', L4Proto: udp, Client: [16]byte{0x20, 1, 15: 1}, CPort: 53, Server: [16]byte{0x20, 1, 15: 2}, SPort: 9},
		{FD: 8, Kind: '4', L4Proto: tcp, Bits: wasmabi.FileServer, Server: ip(127, 0, 0, 1), SPort: 80},
		{FD: 9, Kind: '6', L4Proto: udp, Bits: wasmabi.FileServer, SPort: 53},
		{FD: 10, Kind: '6', L4Proto: udp, Bits: wasmabi.FileServer, Server: mapped(192, 0, 2, 1), SPort: 54},
	}
	type end struct {
		name string
		kind byte
		bits uint8
		port uint16 // the server's
	}
	want := map[int32]end{
		0:  {"/dev/null", 'f', 0, 0},
		1:  {"/run/x.sock", 'u', wasmabi.FileServer, 0},
		2:  {"", 'u', wasmabi.FileClient, 0},
		3:  {"192.0.2.9:4000->192.0.2.1:80", '4', wasmabi.FileServer | wasmabi.FileConnected, 80},
		4:  {"192.0.2.1:5000->192.0.2.9:443", '4', wasmabi.FileClient | wasmabi.FileConnected, 443},
		5:  {"192.0.2.1:80->192.0.2.9:53", '4', wasmabi.FileClient, 53},
		6:  {"192.0.2.9:4001->192.0.2.1:80", '4', wasmabi.FileServer | wasmabi.FileConnected, 80},
		7:  {"2001::2:9->2001::1:53", '6', wasmabi.FileServer, 53},
		8:  {"127.0.0.1:80", '4', wasmabi.FileServer, 80},
		9:  {":::53", '6', wasmabi.FileServer, 53},
		10: {"192.0.2.1:54", '4', wasmabi.FileServer, 54},
	}
	r, _ := built(t, func(w *capture.Writer) {
		for i := range in {
			in[i].PID = 1
			w.AddFile(&in[i])
		}
	})
	var s kept
	rep, err := replay.Run(context.Background(), replay.Config{Reader: r, Sink: &s})
	if err != nil || rep.Files != uint64(len(in)) || rep.UnsureSockets != 0 {
		t.Fatal(rep, err)
	}
	got := map[int32]end{}
	for _, f := range s.files {
		got[f.FD] = end{f.Name, f.Kind, f.Bits, f.SPort}
		if f.PID != 1 {
			t.Errorf("fd %d of process %d", f.FD, f.PID)
		}
	}
	for n, w := range want {
		if got[n] != w {
			t.Errorf("fd %d: %+v, want %+v", n, got[n], w)
		}
	}
}

// TestManySockets has more sockets than are held back: all come, and those whose role is a guess are counted.
func TestManySockets(t *testing.T) {
	const n, held = 17000, 16384
	r, _ := built(t, func(w *capture.Writer) {
		f := snapshot.File{PID: 1, Kind: '4', L4Proto: 6, Client: [16]byte{1}, Server: [16]byte{2}, SPort: 9}
		for i := range n {
			f.FD, f.CPort = int32(i), uint16(i)
			w.AddFile(&f)
		}
	})
	var s kept
	rep, err := replay.Run(context.Background(), replay.Config{Reader: r, Sink: &s})
	if err != nil || len(s.files) != n || rep.UnsureSockets != n-held {
		t.Errorf("%d files, %d unsure, %v", len(s.files), rep.UnsureSockets, err)
	}
}

func TestThreads(t *testing.T) {
	r, _ := built(t, func(w *capture.Writer) {
		w.AddThread(&snapshot.Thread{TID: 2, PID: 2, Comm: "kthreadd"})
		w.AddThread(&snapshot.Thread{TID: 5, PID: 5, PTID: 2, Comm: "kworker/0:0"})
		w.AddThread(&snapshot.Thread{TID: 6, PID: 6, PTID: 2, Comm: "sh", ExePath: "/bin/sh"})
		w.AddThread(&snapshot.Thread{TID: 7, PID: 6, PTID: 1, Comm: "sh", SharesFiles: true})
	})
	var s kept
	if _, err := replay.Run(context.Background(), replay.Config{Reader: r, Sink: &s}); err != nil {
		t.Fatal(err)
	}
	for i, want := range []uint32{wasmabi.ThreadMain | wasmabi.ThreadKernel, wasmabi.ThreadMain | wasmabi.ThreadKernel, wasmabi.ThreadMain, 0} {
		if s.threads[i].Flags != want || s.threads[i].SharesFiles != (i == 3) {
			t.Errorf("thread %d: flags %d, shares files %v; want %d", s.threads[i].TID, s.threads[i].Flags, s.threads[i].SharesFiles, want)
		}
	}
}

// TestReport counts what a replay sees, of a file merged of two captures.
func TestReport(t *testing.T) {
	write := func(w *capture.Writer) {
		w.Machine(&capture.MachineInfo{CPUs: 2, Hostname: "edge.example.com"})
		w.AddUser(&snapshot.User{Name: "root"})
		w.AddGroup(&snapshot.Group{Name: "root"})
		w.AddThread(&snapshot.Thread{TID: 1, PID: 1})
		w.Event(ev(10, event.SyscallCloseE, 0, fd(3)))
		w.Event(ev(11, event.SyscallCloseX, capture.FlagStateOnly, fd(0)))
		w.Event(ev(12, event.SyscallCloseX, 0, fd(0)))
		w.Event(ev(13, event.K8sE, 0))
		w.Event(ev(14, event.SyscallGetuidE, 0))
		w.Event(ev(15, event.ProcinfoE, 0, fd(0), fd(0)))
	}
	_, b := built(t, write)
	r, err := capture.NewReader(bytes.NewReader(append(bytes.Clone(b), b...)))
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	var s kept
	rep, err := replay.Run(context.Background(), replay.Config{
		Reader:   r,
		Sink:     &s,
		Snapshot: func() error { order = append(order, "snapshot"); return nil },
		Flush:    func() error { order = append(order, "flush"); return nil },
		Record:   func(r event.Record) error { order = append(order, r.Type().Info().Name); return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	one := []string{"snapshot", "close", "close", "procinfo"}
	if want := append(append(one, "flush"), one...); !reflect.DeepEqual(order, want) {
		t.Errorf("got %v, want %v", order, want)
	}
	want := replay.Report{
		Events: 6, Enters: 4, Unpaired: 2, Skipped: map[event.Type]uint64{event.K8sE: 2}, StateOnly: 2,
		Sections: 2, Threads: 2, Users: 2, Groups: 2, First: 11, Last: 15,
		Machine: capture.MachineInfo{CPUs: 2, Hostname: "edge.example.com"},
	}
	if !reflect.DeepEqual(rep, want) {
		t.Errorf("got  %+v\nwant %+v", rep, want)
	}
}

// TestRunErrors ends a replay early in each way; what came before is delivered and counted.
func TestRunErrors(t *testing.T) {
	write := func(w *capture.Writer) {
		w.AddFile(&snapshot.File{PID: 1, Kind: '4', L4Proto: 6, CPort: 1, SPort: 2, Client: [16]byte{1}})
		for i := range 1000 {
			w.Event(ev(uint64(i), event.SyscallCloseX, 0, fd(0), fd(1)))
		}
	}
	stop := errors.New("stop")
	nothing := func(event.Record) error { return nil }

	r, _ := built(t, write)
	n := 0
	rep, err := replay.Run(context.Background(), replay.Config{Reader: r, Record: func(event.Record) error {
		if n++; n == 3 {
			return stop
		}
		return nil
	}})
	if !errors.Is(err, stop) || n != 3 || rep.Events != 3 {
		t.Errorf("Record's error: %v after %d", err, n)
	}

	r, _ = built(t, write)
	if rep, err := replay.Run(context.Background(), replay.Config{Reader: r, Record: nothing, Snapshot: func() error { return stop }}); !errors.Is(err, stop) || rep.Events != 0 {
		t.Errorf("Snapshot's error: %v", err)
	}

	_, b := built(t, write)
	r, err = capture.NewReader(bytes.NewReader(append(bytes.Clone(b), b...)))
	if err != nil {
		t.Fatal(err)
	}
	if rep, err := replay.Run(context.Background(), replay.Config{Reader: r, Record: nothing, Flush: func() error { return stop }}); !errors.Is(err, stop) || rep.Events != 1000 {
		t.Errorf("Flush's error: %v after %d", err, rep.Events)
	}

	r, _ = built(t, write)
	ctx, cancel := context.WithCancel(context.Background())
	rep, err = replay.Run(ctx, replay.Config{Reader: r, Record: func(event.Record) error { cancel(); return nil }})
	if !errors.Is(err, context.Canceled) || rep.Events == 0 || rep.Events > 300 {
		t.Errorf("cancelled: %v after %d", err, rep.Events)
	}

	r, err = capture.NewReader(bytes.NewReader(b[:len(b)-1]))
	if err != nil {
		t.Fatal(err)
	}
	rep, err = replay.Run(context.Background(), replay.Config{Reader: r, Record: nothing})
	var at *capture.Error
	if !errors.As(err, &at) || !errors.Is(err, io.ErrUnexpectedEOF) || rep.Events != 999 {
		t.Errorf("truncated: %v after %d", err, rep.Events)
	}

	// Damage within the state: what was held back of it is delivered all the same.
	r, err = capture.NewReader(bytes.NewReader(b[:170]))
	if err != nil {
		t.Fatal(err)
	}
	var s kept
	if _, err = replay.Run(context.Background(), replay.Config{Reader: r, Sink: &s, Record: nothing}); !errors.As(err, &at) || len(s.files) != 1 {
		t.Errorf("truncated state: %v, %d files", err, len(s.files))
	}
}

// FuzzRun replays anything: every record passes Check, whatever the capture holds.
func FuzzRun(f *testing.F) {
	_, b := built(f, func(w *capture.Writer) {
		w.AddThread(&snapshot.Thread{TID: 1, PID: 1, Comm: "init"})
		w.AddFile(&snapshot.File{PID: 1, Kind: '6', L4Proto: 6, CPort: 1, SPort: 2})
		w.Event(ev(1, event.SyscallOpenatE, 0, fd(3), []byte("/a\x00"), fd(1)[:4], fd(0)[:4]))
		w.Event(ev(2, event.SyscallOpenatX, 0, fd(4)))
		w.Event(ev(3, event.SyscallBpfX, 0, append([]byte{0}, fd(4)...)))
		w.Event(ev(4, event.ContainerE, 0, []byte("a\x00")))
	})
	f.Add(b)
	f.Fuzz(func(t *testing.T, in []byte) {
		r, err := capture.NewReader(bytes.NewReader(in))
		if err != nil {
			return
		}
		n := uint64(0)
		rep, err := replay.Run(context.Background(), replay.Config{Reader: r, Sink: &kept{}, Record: func(r event.Record) error {
			n++
			return r.Check()
		}})
		var at *capture.Error
		if err != nil && !errors.As(err, &at) || rep.Events != n {
			t.Fatalf("%v; %d events of %d", err, rep.Events, n)
		}
	})
}

// loop is an input that begins with a section and goes on with the same events again and again, n bytes in all.
type loop struct {
	head, one []byte
	at, n     int
}

func (l *loop) Read(p []byte) (int, error) {
	if l.n <= 0 {
		return 0, io.EOF
	}
	if len(l.head) > 0 {
		n := copy(p, l.head)
		l.head, l.n = l.head[n:], l.n-n
		return n, nil
	}
	n := copy(p[:min(len(p), l.n)], l.one[l.at:])
	l.at, l.n = (l.at+n)%len(l.one), l.n-n
	return n, nil
}

// mix is a capture of pairs of several calls; it returns the section, the events, and how many records those give.
func mix(t testing.TB) (head, one []byte, records int) {
	_, head = built(t, func(*capture.Writer) {})
	_, all := built(t, func(w *capture.Writer) {
		for tid := range int64(50) {
			for _, e := range []*capture.Event{
				ev(1, event.SyscallOpenatE, 0, fd(3), []byte("/etc/passwd\x00"), fd(1)[:4], fd(0)[:4]), ev(2, event.SyscallOpenatX, 0, fd(4)),
				ev(3, event.SyscallReadE, 0, fd(4), fd(80)[:4]), ev(4, event.SyscallReadX, 0, fd(80), make([]byte, 80)),
				ev(5, event.SyscallCloseE, 0, fd(4)), ev(6, event.SyscallCloseX, 0, fd(0)),
				ev(7, event.SyscallOpenX, 0, fd(4), []byte("/etc/passwd\x00"), fd(1)[:4], fd(0)[:4], fd(0)[:4], fd(9)),
			} {
				e.TID = 1000 + tid
				w.Event(e)
			}
		}
	})
	return head, all[len(head):], 50 * 4
}

// TestRunAllocs replays the same events once and many times: the difference allocates nothing.
func TestRunAllocs(t *testing.T) {
	head, one, per := mix(t)
	allocs := func(times int) float64 {
		return testing.AllocsPerRun(3, func() {
			r, err := capture.NewReader(&loop{head: head, one: one, n: len(head) + times*len(one)})
			if err != nil {
				t.Fatal(err)
			}
			rep, err := replay.Run(context.Background(), replay.Config{Reader: r, Record: func(event.Record) error { return nil }})
			if err != nil || rep.Events != uint64(times*per) || rep.Unpaired != 0 {
				t.Fatal(rep, err)
			}
		})
	}
	if a, b := allocs(1), allocs(100); b > a+1 {
		t.Errorf("%v allocations for 200 events, %v for 20000", a, b)
	}
}

// BenchmarkRun reads and converts; an op is one record.
func BenchmarkRun(b *testing.B) {
	head, one, per := mix(b)
	r, err := capture.NewReader(&loop{head: head, one: one, n: len(head) + (b.N/per+1)*len(one)})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	rep, err := replay.Run(context.Background(), replay.Config{Reader: r, Record: func(event.Record) error { return nil }})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(rep.Events), "ns/record")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(rep.Events+rep.Enters), "ns/event")
}
