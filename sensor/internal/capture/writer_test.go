package capture

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/snapshot"
)

// TestWriterCut writes what the format has no room for: it is shortened and counted, and what follows is whole.
func TestWriterCut(t *testing.T) {
	var b bytes.Buffer
	w, err := NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 5000)
	w.AddThread(&snapshot.Thread{TID: 1, PID: 1, Comm: long, Args: []string{"a", long, "b"}})
	w.AddThread(&snapshot.Thread{TID: 2, PID: 2, Comm: "next"})
	e := Event{Type: event.SyscallReadX}
	e.SetParams([]byte("12345678"), bytes.Repeat([]byte("x"), 70000), []byte("12345678"))
	w.Event(&e)
	e = Event{Type: event.SyscallCloseE}
	e.SetParams([]byte("12345678"))
	w.Event(&e)
	if err := w.Flush(); err != nil || w.Err() != nil {
		t.Fatal(err, w.Err())
	}
	if w.Cut() != 4 {
		t.Errorf("%d values cut, want 4: name, arguments, data, fd", w.Cut())
	}
	got, err := readAll(&b)
	if err != nil || len(got) != 5 {
		t.Fatal(len(got), err)
	}
	if th := got[1].(Thread); len(th.Comm) != maxPath || len(th.Args) != 1 {
		t.Errorf("comm of %d bytes, %d arguments", len(th.Comm), len(th.Args))
	}
	if th := got[2].(Thread); th.Comm != "next" {
		t.Errorf("next thread: %+v", th)
	}
	if s := got[3].(string); len(s) < maxValues || len(s) > maxValues+200 {
		t.Errorf("event of %d bytes", len(s))
	}
}

// TestWriterBlocks writes more threads and fds than one block holds.
func TestWriterBlocks(t *testing.T) {
	var b bytes.Buffer
	w, err := NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		w.AddThread(&snapshot.Thread{TID: int64(i), PID: int64(i), Env: []string{strings.Repeat("x", 4000)}})
	}
	for i := range 10000 {
		w.AddFile(&snapshot.File{PID: int64(i / 5000), FD: int32(i), Kind: 'f', Name: strings.Repeat("y", 100)})
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	got, err := readAll(&b)
	if err != nil || len(got) != 1+300+10000 {
		t.Fatal(len(got), err)
	}
	for i, v := range got[301:] {
		if f := v.(File); f.FD != int32(i) || f.PID != int64(i/5000) {
			t.Fatalf("fd %d: %+v", i, f)
		}
	}
}

type failing struct{ left int }

var errFull = errors.New("disk is full")

func (f *failing) Write(p []byte) (int, error) {
	if f.left--; f.left < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestWriterErrors(t *testing.T) {
	if _, err := NewWriter(&failing{}); !errors.Is(err, errFull) {
		t.Errorf("NewWriter: %v", err)
	}
	f := &failing{left: 2}
	w, err := NewWriter(f)
	if err != nil {
		t.Fatal(err)
	}
	e := Event{Type: event.SyscallCloseE}
	for range 5 {
		w.Event(&e)
	}
	if !errors.Is(w.Err(), errFull) || !errors.Is(w.Flush(), errFull) || f.left != -1 {
		t.Errorf("%v, %v, %d writes after the failed one", w.Err(), w.Flush(), -1-f.left)
	}
}

// TestWriterAllocs writes an event without allocating.
func TestWriterAllocs(t *testing.T) {
	w, err := NewWriter(&failing{left: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	var b event.Builder
	r := b.Start(10, 101, event.SyscallOpenX).Int(3).String("/etc/passwd").Int(1).Int(0).Missing().Int(77).Done()
	if n := testing.AllocsPerRun(1000, func() { w.Record(r) }); n != 0 {
		t.Errorf("an event allocates %v times", n)
	}
}

// TestWriterOwnTypes: an event of a type that only shikra has is written as the generic event that others have for its call.
func TestWriterOwnTypes(t *testing.T) {
	var out bytes.Buffer
	w, err := NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	var b event.Builder
	w.Record(b.Start(10, 101, event.SyscallTruncateX).Int(0).String("/tmp/x").Int(5).SetNR(76).Done())
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	got, err := readAll(&out)
	if err != nil || len(got) == 0 {
		t.Fatal(got, err)
	}
	if want := `10 101 GenericX cpu=0 flags=0 ["9\x00" "L\x00"]`; got[len(got)-1] != want {
		t.Errorf("%v, not %s", got[len(got)-1], want)
	}
}
