package probe

import (
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

// eventsOf runs fn with events of type typ, which no system call makes, and returns those that came.
func (l *live) eventsOf(t *testing.T, typ event.Type, fn func()) []event.Record {
	t.Helper()
	set := func(wants func(event.Type) bool) {
		if err := l.p.SetEvents(wants); err != nil {
			t.Fatal(err)
		}
	}
	none := func(event.Type) bool { return false }
	defer set(none)
	l.drain(t)
	set(func(x event.Type) bool { return x == typ })
	fn()
	set(none)
	return slices.DeleteFunc(l.drain(t), func(r event.Record) bool { return r.Type() != typ })
}

// hookStates returns the states of the tracepoints' hooks by name.
func hookStates(p *Probe) map[string]string {
	out := map[string]string{}
	for _, h := range p.Hooks() {
		for _, tp := range tracepoints {
			if slices.Contains(tp.programs, h.Name) {
				out[h.Name] = h.State
			}
		}
	}
	return out
}

// A tracepoint is loaded when it is first asked for, before Attach as well as after, and detached when nobody asks any more.
func TestTracepointOnDemand(t *testing.T) {
	needProbe(t)
	p, err := Load(Config{RingBytes: MinRingBytes, Syscalls: []string{}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	want := func(step string, states map[string]string) {
		t.Helper()
		got := hookStates(p)
		if len(got) != len(states) {
			t.Errorf("%s: %v, not %v", step, got, states)
		}
		for name, s := range states {
			if got[name] != s {
				t.Errorf("%s: %s is %q, not %q", step, name, got[name], s)
			}
		}
	}
	ask := func(types ...event.Type) {
		t.Helper()
		if err := p.SetEvents(func(x event.Type) bool { return slices.Contains(types, x) }); err != nil {
			t.Fatal(err)
		}
	}
	want("loaded", map[string]string{})
	ask(event.SignaldeliverE)
	want("asked before Attach", map[string]string{"signal_deliver": StateLoaded})
	if err := p.Attach(); err != nil {
		t.Fatal(err)
	}
	want("attached", map[string]string{"signal_deliver": StateAttached})
	ask(event.SchedswitchV6E)
	want("another", map[string]string{"signal_deliver": StateLoaded, "sched_switch": StateAttached})
	ask(event.SchedswitchV6E, event.SignaldeliverE)
	want("both", map[string]string{"signal_deliver": StateAttached, "sched_switch": StateAttached})
	ask()
	want("none", map[string]string{"signal_deliver": StateLoaded, "sched_switch": StateLoaded})
	ask(event.PageFaultE)
	faults := StateAttached
	if runtime.GOARCH != "amd64" {
		faults = StateRefused
	}
	want("faults", map[string]string{
		"signal_deliver": StateLoaded, "sched_switch": StateLoaded, "page_fault_user": faults, "page_fault_kern": faults,
	})
}

// ofSignal returns the delivery of sig to thread tid.
func ofSignal(t *testing.T, recs []event.Record, tid int64, sig byte) event.Record {
	t.Helper()
	for _, r := range recs {
		b, _ := r.Param(2)
		if r.TID() == tid && len(b) == 1 && b[0] == sig {
			if r.NR() != noNR || r.Origin() != 0 {
				t.Errorf("signal %d: nr %d, origin %d", sig, r.NR(), r.Origin())
			}
			return r
		}
	}
	t.Fatalf("no delivery of signal %d to %d; got %v", sig, tid, typesOf(recs))
	return nil
}

// Who sent a signal is told of those that end a process, of real-time ones, and of the end of a child.
func TestSignalDeliver(t *testing.T) {
	l := needProbe(t)
	pid := unix.Getpid()
	sender := map[unix.Signal]int{
		unix.SIGHUP: pid, unix.SIGINT: pid, unix.SIGQUIT: pid, unix.SIGTERM: pid, unix.SIGTSTP: pid, unix.SIGCHLD: pid, 40: pid, 64: pid,
		unix.SIGUSR1: 0, unix.SIGWINCH: 0, unix.SIGCONT: 0,
	}
	ch := make(chan os.Signal, 64)
	for sig := range sender {
		signal.Notify(ch, sig)
	}
	defer signal.Stop(ch)
	for sig, want := range sender {
		inThread(func() {
			tid := unix.Gettid()
			recs := l.eventsOf(t, event.SignaldeliverE, func() {
				if err := unix.Tgkill(pid, tid, sig); err != nil {
					t.Fatal(err)
				}
			})
			checkRecord(t, ofSignal(t, recs, int64(tid), byte(sig)), []any{want, tid, int(sig)})
		})
	}
}

// Signals to a process: one of the kernel's has no sender, whatever the signal; SIGTERM's is told; that of the end of a child is
// the child.
func TestSignalDeliverProcess(t *testing.T) {
	l := needProbe(t)
	cmd := command("wait")
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	begun, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	child := cmd.Process.Pid
	reaped := false
	defer func() {
		if !reaped {
			cmd.Process.Kill()
			cmd.Wait()
		}
	}()
	// Without a handler SIGTERM ends a process by a SIGKILL that the kernel gives each thread, and is never delivered itself
	// (complete_signal, kernel/signal.c@6.12).
	if _, err := io.ReadFull(begun, make([]byte, len("waits"))); err != nil {
		t.Fatal(err)
	}
	sigchld := make(chan os.Signal, 8)
	signal.Notify(sigchld, unix.SIGCHLD)
	defer signal.Stop(sigchld)
	recs := l.eventsOf(t, event.SignaldeliverE, func() {
		if err := cmd.Process.Signal(unix.SIGTERM); err != nil {
			t.Fatal(err)
		}
		cmd.Wait()
		reaped = true
		select {
		case <-sigchld:
		case <-time.After(10 * time.Second):
			t.Error("no SIGCHLD")
		}
	})
	var term, chld int
	for _, r := range recs {
		b, _ := r.Param(2)
		p, _ := r.Param(0)
		sender, _ := event.ParamPid.Int(p)
		switch {
		case b[0] == byte(unix.SIGTERM) && sender == int64(unix.Getpid()):
			term++
			checkRecord(t, r, []any{unix.Getpid(), r.TID(), int(unix.SIGTERM)})
		case b[0] == byte(unix.SIGCHLD) && sender == int64(child):
			chld++
			checkRecord(t, r, []any{child, r.TID(), int(unix.SIGCHLD)})
		}
	}
	if term == 0 || chld == 0 {
		t.Errorf("%d deliveries of SIGTERM and %d of SIGCHLD in %d", term, chld, len(recs))
	}
}

// A thread that sleeps gives its CPU to another.
func TestSwitch(t *testing.T) {
	l := needProbe(t)
	inThread(func() {
		tid := int64(unix.Gettid())
		var before, after unix.Rusage
		unix.Getrusage(unix.RUSAGE_THREAD, &before)
		recs := l.eventsOf(t, event.SchedswitchV6E, func() {
			ts := unix.Timespec{Nsec: int64(5 * time.Millisecond)}
			unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&ts)), 0, 0)
		})
		unix.Getrusage(unix.RUSAGE_THREAD, &after)
		between := func(lo, hi int64) check {
			return func(t *testing.T, name string, b []byte) {
				if v, _ := event.ParamUint64.Int(b); v < lo || v > hi {
					t.Errorf("%s is %d, not from %d to %d", name, v, lo, hi)
				}
			}
		}
		var away, back bool
		for _, r := range recs {
			b, _ := r.Param(0)
			next, _ := event.ParamPid.Int(b)
			if next == tid {
				back = true
			}
			if r.TID() != tid {
				continue
			}
			away = true
			if next == tid || next < 0 {
				t.Errorf("the next after %d is %d", tid, next)
			}
			checkRecord(t, r, []any{next, between(before.Majflt, after.Majflt), between(before.Minflt, after.Minflt), check(positive), check(positive), present{}})
		}
		if !away || !back {
			t.Errorf("away %v and back %v in %d switches", away, back, len(recs))
		}
	})
}

// Page faults have x86's codes, and only x86 has the tracepoints everywhere.
func TestPageFault(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("no page faults on " + runtime.GOARCH)
	}
	l := needProbe(t)
	const violation, absent, write, read, user, supervisor = 1, 2, 4, 8, 0x10, 0x20
	page := os.Getpagesize()
	mem, err := unix.Mmap(-1, 0, 4*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(mem)
	base := uintptr(unsafe.Pointer(unsafe.SliceData(mem)))
	zero, err := unix.Open("/dev/zero", unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(zero)
	var sink byte
	for _, c := range []struct {
		what string
		at   int
		want uint32
		do   func()
	}{
		{"a read", 0, absent | read | user, func() { sink = mem[8] }},
		{"a write", page, absent | write | user, func() { mem[page+16] = 1 }},
		{"a write by the kernel", 2 * page, absent | write | supervisor, func() {
			unix.RawSyscall(unix.SYS_READ, uintptr(zero), base+uintptr(2*page), 8)
		}},
		{"a forbidden write", page, violation | write | user, func() {
			unix.RawSyscall(unix.SYS_MPROTECT, base+uintptr(page), uintptr(page), unix.PROT_READ)
			defer func() {
				if recover() == nil {
					t.Error("it was allowed")
				}
			}()
			debug.SetPanicOnFault(true)
			mem[page+24] = 2
		}},
	} {
		inThread(func() {
			tid := int64(unix.Gettid())
			recs := l.eventsOf(t, event.PageFaultE, c.do)
			var got event.Record
			for _, r := range recs {
				b, _ := r.Param(0)
				at, _ := event.ParamUint64.Int(b)
				if r.TID() == tid && uintptr(at) >= base+uintptr(c.at) && uintptr(at) < base+uintptr(c.at+page) {
					got = r
				}
			}
			if got == nil {
				t.Fatalf("%s: none of %d faults is at %x", c.what, len(recs), base+uintptr(c.at))
			}
			checkRecord(t, got, []any{present{}, check(func(t *testing.T, _ string, b []byte) {
				ip, _ := event.ParamUint64.Int(b)
				if inText := runtime.FuncForPC(uintptr(ip)) != nil; inText != (c.want&user != 0) {
					t.Errorf("%s: ip %x is in the program: %v", c.what, ip, inText)
				}
			}), c.want})
		})
	}
	runtime.KeepAlive(sink)
}
