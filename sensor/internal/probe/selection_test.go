package probe

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/filter"
)

// TestSelectionsInSuccession: a running probe takes one selection after the other, calls, filter and data, while a program
// works. What both selections want is seen throughout, each event once.
func TestSelectionsInSuccession(t *testing.T) {
	l := needProbe(t)
	a, _, local, _ := connected(t)
	openArgs := filter.Args{Path: 1, Flags: 2, FD: filter.NoArg}
	etc := []filter.Way{{Result: filter.Success | filter.Failure, Paths: []filter.Path{{Text: "/nonexistent/both/"}, {Text: "/nonexistent/first/"}}}}
	usr := []filter.Way{{Result: filter.Success | filter.Failure, Paths: []filter.Path{{Text: "/nonexistent/both/"}, {Text: "/nonexistent/second/"}}}}
	selections := []struct {
		calls []string
		set   *filter.Set
		data  []string
		ports []uint16
	}{
		{[]string{"openat", "sendto", "getcwd"}, &filter.Set{Calls: []filter.Call{{Name: "openat", Args: openArgs, Ways: etc}}}, []string{"sendto"}, nil},
		{[]string{"openat", "sendto", "dup"}, &filter.Set{Calls: []filter.Call{{Name: "openat", Args: openArgs, Ways: usr}}}, []string{"sendto"}, []uint16{local + 1}},
	}
	apply := func(i int) {
		s := selections[i]
		// In the order in which the sensor does it.
		l.want(t, s.calls...)
		if err := l.p.SetPayload(s.data, s.ports); err != nil {
			t.Error(err)
		}
		if err := l.p.SetFilter(s.set); err != nil {
			t.Error(err)
		}
	}
	defer func() {
		if err := l.p.SetPayload(nil, nil); err != nil {
			t.Error(err)
		}
		if err := l.p.SetFilter(nil); err != nil {
			t.Error(err)
		}
		l.want(t)
	}()
	before, err := l.p.Counters()
	if err != nil {
		t.Fatal(err)
	}
	apply(0)
	l.drain(t)
	var tid atomic.Int64
	var stop atomic.Bool
	made := 0
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		tid.Store(int64(unix.Gettid()))
		for ; !stop.Load(); made++ {
			_, _ = unix.Open(fmt.Sprintf("/nonexistent/both/%d", made), unix.O_RDONLY, 0)
			time.Sleep(200 * time.Microsecond)
		}
	}()
	var both []string // paths of the opens that both selections want
	// seen takes what is in the ring and returns what is there of thread me: events, and the bytes of data of the last sendto.
	seen := func(me int) (got []string, size int) {
		for _, rec := range l.drain(t) {
			name, _ := rec.Param(2)
			path := strings.TrimSuffix(string(name), "\x00")
			switch {
			case rec.Type() == event.SyscallOpenatV2X && rec.TID() == tid.Load():
				both = append(both, path)
			case rec.TID() != int64(me):
			case rec.Type() == event.SyscallOpenatV2X && !strings.HasPrefix(path, "/nonexistent/"): // another's, who got the thread's number
			case rec.Type() == event.SyscallOpenatV2X:
				got = append(got, "openat "+path)
			case rec.Type() == event.SyscallGetcwdX || rec.Type() == event.SyscallDupV1X || rec.Type() == event.SocketSendtoX:
				got = append(got, rec.Type().Info().Name)
				if b, ok := rec.Param(event.SocketSendtoX.Info().ParamIndex("data")); rec.Type() == event.SocketSendtoX && ok {
					size = len(b)
				} else if rec.Type() == event.SocketSendtoX {
					size = -1
				}
			}
		}
		return got, size
	}
	// events makes one of each call and returns what is seen of them.
	events := func() (got []string, size int) {
		me := 0
		inThread(func() {
			me = unix.Gettid()
			_, _ = unix.Open("/nonexistent/first/x", unix.O_RDONLY, 0)
			_, _ = unix.Open("/nonexistent/second/x", unix.O_RDONLY, 0)
			var buf [64]byte
			_, _ = unix.Getcwd(buf[:])
			_, _ = unix.Dup(-1)
			if _, err := rawSendto(a, make([]byte, 40)); err != nil {
				t.Error(err)
			}
		})
		return seen(me)
	}
	for range 6 {
		for i := range selections {
			apply(i)
			got, size := events()
			want, data := []string{"openat /nonexistent/first/x", "getcwd", "sendto"}, 40
			if i == 1 {
				want, data = []string{"openat /nonexistent/second/x", "dup", "sendto"}, -1
			}
			if !slices.Equal(got, want) || size != data {
				t.Errorf("selection %d: %v and %d bytes of data, want %v and %d", i, got, size, want, data)
			}
		}
	}
	stop.Store(true)
	<-done
	seen(-1)
	for i := range made {
		if i >= len(both) || both[i] != fmt.Sprintf("/nonexistent/both/%d", i) {
			t.Fatalf("of %d opens that both selections want %d are seen, the first that isn't is %d", made, len(both), i)
		}
	}
	if len(both) != made || made < 100 {
		t.Errorf("%d opens are seen of %d", len(both), made)
	}
	after, err := l.p.Counters()
	if err != nil {
		t.Fatal(err)
	}
	if n := after.Lost - before.Lost; n != 0 {
		t.Errorf("%d events are lost", n)
	}
}
