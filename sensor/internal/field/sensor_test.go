package field

import (
	"testing"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// TestTargetsSensor: who means the sensor by which number and path, on the host, in a container and in a pid namespace.
func TestTargetsSensor(t *testing.T) {
	host := &Sensor{
		PID: 200, OwnPID: 200, OwnPGID: 200, HasThread: func(tid int64) bool { return tid == 205 },
		Paths: []string{"/etc/shikra", "/usr/bin/shikra"},
		Files: map[FileID]struct{}{{0x10fd03, 4711}: {}}, BPF: map[BPFID]struct{}{{1, 9}: {}, {3, 9}: {}},
	}
	// In nginx's container: process 400 of the host, 7 in its own namespace.
	boxed := &Sensor{PID: 400, OwnPID: 7, OwnPGID: 7, HasThread: func(tid int64) bool { return tid == 9 }, Paths: []string{"/etc/shikra"}}
	for _, s := range []*Sensor{host, boxed} {
		s.Ready()
	}
	w := newWorld(t)
	// Another process of nginx's namespace and container, and one of a third namespace.
	for tid, own := range map[int64]int64{410: 8, 420: 7} {
		r := w.thread(t, tid, tid, 1, "sh", "/bin/sh", "sh")
		le.PutUint64(r[wasmabi.ThreadVtid:], uint64(own))
		le.PutUint32(r[wasmabi.ThreadContainer:], w.box)
	}
	le.PutUint64(w.a.Threads.Record(w.threads[400])[wasmabi.ThreadPidnsInitTs:], 5)
	le.PutUint64(w.a.Threads.Record(w.threads[410])[wasmabi.ThreadPidnsInitTs:], 5)
	chrooted := w.thread(t, 430, 430, 1, "sh", "/bin/sh", "sh")
	w.str(chrooted, wasmabi.ThreadRoot, "/srv/jail")

	begin := func(et event.Type) *event.Builder { return new(event.Builder).Start(now, 0, et) } // each its own bytes
	kill := func(n int64) event.Record { return begin(event.SyscallKillX).Int(0).Int(n).Int(15).Done() }
	tkill := func(n int64) event.Record { return begin(event.SyscallTkillX).Int(0).Int(n).Int(15).Done() }
	unlink := func(path string) event.Record {
		return begin(event.SyscallUnlinkV2X).Int(-13).String(path).Done()
	}
	rename := func(from, to string) event.Record {
		return begin(event.SyscallRenameX).Int(0).String(from).String(to).Done()
	}
	bpf := func(kind, id int64) event.Record {
		return begin(event.SyscallBpfV2X).Int(3).Int(1).Int(kind).Int(id).Done()
	}
	open := func(path string) event.Record {
		return begin(event.SyscallOpenX).Int(3).String(path).Int(0).Int(0).Int(0).Int(0).Done()
	}
	pidfd := func(n int64) event.Record {
		return begin(event.SyscallPidfdSendSignalX).Int(0).Int(3).Int(15).Int(n).Done()
	}
	for _, c := range []struct {
		what string
		s    *Sensor
		r    event.Record
		tid  int64 // who acts
		fd   int64
		bits uint32
		want bool
	}{
		{"its pid", host, kill(200), 300, -1, 0, true},
		{"another pid", host, kill(201), 300, -1, 0, false},
		{"one of its threads", host, tkill(205), 300, -1, 0, true},
		{"a thread of another", host, tkill(206), 300, -1, 0, false},
		{"its group", host, kill(-200), 100, -1, 0, true},
		{"another group", host, kill(-100), 100, -1, 0, false},
		{"everybody", host, kill(-1), 100, -1, 0, true},
		{"everybody in a container", host, kill(-1), 400, -1, 0, false},
		{"the caller's group, which is the sensor's", host, kill(0), 301, -1, 0, true},
		{"the caller's group, which isn't", host, kill(0), 300, -1, 0, false},
		{"a number that means another process in its namespace", host, kill(200), 400, -1, 0, false},
		{"the same from somebody unknown", host, kill(200), 0, -1, 0, true},
		{"itself", host, kill(200), 200, -1, 0, false},
		{"the sensor's number in its own namespace", boxed, kill(7), 410, -1, 0, true},
		{"its thread there", boxed, tkill(9), 410, -1, 0, true},
		{"its number of the host there", boxed, kill(400), 410, -1, 0, false},
		{"its number of the host on the host", boxed, kill(400), 300, -1, 0, true},
		{"its own number on the host", boxed, kill(7), 300, -1, 0, false},
		{"its own number in a third namespace", boxed, kill(7), 420, -1, 0, false},
		{"its group there", boxed, kill(-7), 410, -1, 0, true},
		{"a pidfd, wherever", boxed, pidfd(400), 410, -1, 0, true},
		{"another's pidfd", boxed, pidfd(7), 410, -1, 0, false},

		{"a file of its folder, which failed", host, unlink("/etc/shikra/rules.d/../shikra.yaml"), 300, -1, 0, true},
		{"a relative path", host, unlink("../../usr/bin/shikra"), 300, -1, 0, true},
		{"a folder whose name begins the same", host, unlink("/etc/shikra.old"), 300, -1, 0, false},
		{"the same path in a container", host, unlink("/etc/shikra"), 400, -1, 0, false},
		{"the same path in the sensor's container", boxed, unlink("/etc/shikra"), 410, -1, 0, true},
		{"the same path on the host", boxed, unlink("/etc/shikra"), 300, -1, 0, false},
		{"the same path under another root", host, unlink("/etc/shikra"), 430, -1, 0, false},
		{"a folder above, renamed", host, rename("/etc", "/etc2"), 300, -1, 0, true},
		{"a folder above, removed", host, unlink("/etc"), 300, -1, 0, false},
		{"renamed over it", host, rename("/tmp/x", "/usr/bin/shikra"), 300, -1, 0, true},
		{"its /proc folder from the host", boxed, unlink("/proc/400/x"), 300, -1, 0, true},
		{"its /proc folder from its container", boxed, unlink("/proc/7/x"), 410, -1, 0, true},

		{"opened for reading", host, open("/etc/shikra/shikra.yaml"), 300, -1, 0, false},
		{"opened for writing", host, open("/etc/shikra/shikra.yaml"), 300, -1, wasmabi.BitOpenWrite, true},
		{"another name of its file, for writing", host, open("/tmp/link"), 300, 3, wasmabi.BitOpenWrite, true},
		{"the same in a container", host, open("/tmp/link"), 400, 3, wasmabi.BitOpenWrite, true},
		{"its memory, for reading", host, open("/proc/200/mem"), 300, -1, 0, true},
		{"another's memory", host, open("/proc/300/mem"), 300, -1, 0, false},

		{"its map", host, bpf(1, 9), 300, -1, 0, true},
		{"its link", host, bpf(3, 9), 300, -1, 0, true},
		{"a program with the number of its map", host, bpf(2, 9), 300, -1, 0, false},
		{"no object", host, begin(event.SyscallBpfV2X).Int(3).Int(1).Missing().Missing().Done(), 300, -1, 0, false},
		{"nothing that could", host, begin(event.SyscallCloseX).Int(0).Int(3).Done(), 300, 3, 0, false},
		{"without a sensor", nil, kill(200), 300, -1, 0, false},
	} {
		e := w.event(t, c.r, c.tid, c.fd)
		e.SetBits(c.bits)
		w.c.Sensor = c.s
		if got := w.c.TargetsSensor(e); got != c.want {
			t.Errorf("%s: %v", c.what, got)
		}
		if n := testing.AllocsPerRun(10, func() { w.c.TargetsSensor(e) }); n != 0 {
			t.Errorf("%s: %v allocations", c.what, n)
		}
	}
}

// TestSensorAims: what an event type may aim at is there.
func TestSensorAims(t *testing.T) {
	n := 0
	for et, as := range sensorAims() {
		for _, a := range as {
			if a.what == aimNone {
				continue
			}
			n++
			in := event.Type(et).Info()
			if int(a.param) >= len(in.Params) || !event.Type(et).Current() {
				t.Errorf("%s has no parameter %d, or isn't made any more", in.Name, a.param)
			}
			if a.what == aimBPF && (int(a.param)+1 >= len(in.Params) || in.Params[a.param+1].Name != "id") {
				t.Errorf("%s has no id after parameter %d", in.Name, a.param)
			}
		}
	}
	if n < 40 {
		t.Errorf("only %d", n)
	}
}

func BenchmarkTargetsSensor(b *testing.B) {
	w := newWorld(b)
	w.c.Sensor = &Sensor{PID: 900, OwnPID: 900, Paths: []string{"/etc/shikra", "/usr/lib/shikra", "/var/lib/shikra", "/run/shikra", "/usr/bin/shikra"}}
	w.c.Sensor.Ready()
	open := w.event(b, w.b.Start(now, 0, event.SyscallOpenX).Int(3).String("/etc/passwd").Int(0).Int(0).Int(0).Int(0).Done(), 300, 3)
	write := w.event(b, w.b.Start(now, 0, event.SyscallOpenX).Int(3).String("/etc/passwd").Int(0).Int(0).Int(0).Int(0).Done(), 300, 3)
	write.SetBits(wasmabi.BitOpenWrite)
	kill := w.event(b, w.b.Start(now, 0, event.SyscallTgkillX).Int(0).Int(300).Int(301).Int(23).Done(), 300, -1)
	for name, e := range map[string]event.Event{"open": open, "open for writing": write, "tgkill": kill, "close": w.simple(b, event.SyscallCloseX, 0, 300, 3)} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				w.c.TargetsSensor(e)
			}
		})
	}
}
