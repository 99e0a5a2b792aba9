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
	// What is asked of threads whose container or root is another's: 400 and 450 are where they say, 460 and 470 only claim to be.
	roots := map[int64]bool{400: false, 420: false, 430: false, 440: true, 450: false, 460: true, 470: true}
	host.SameRoot = func(tid int64) (bool, bool) { same, ok := roots[tid]; return same, ok }
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

	// In the container by their cgroups, and: 450 in the host's pid namespace, 460 with its root, 470 with both, 480 has ended.
	for tid, own := range map[int64]int64{450: 450, 460: 3, 470: 470, 480: 4} {
		r := w.thread(t, tid, tid, 1, "sh", "/bin/sh", "sh")
		le.PutUint64(r[wasmabi.ThreadVtid:], uint64(own))
		le.PutUint32(r[wasmabi.ThreadContainer:], w.box)
	}
	jailed := w.thread(t, 490, 490, 1, "sh", "/bin/sh", "sh") // in a folder that is the root all the same
	w.str(jailed, wasmabi.ThreadRoot, "/proc/1/root")
	roots[490] = true

	inside := w.thread(t, 440, 440, 1, "sh", "/bin/sh", "sh")
	w.str(inside, wasmabi.ThreadCwd, "/etc/shikra")

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
	limit := func(n, sets int64) event.Record {
		return begin(event.SyscallPrlimitX).Int(0).Int(0).Int(0).Int(0).Int(0).Int(n).Int(7).Int(sets).Done()
	}
	setxattrat := func(res, dirfd int64, path string) event.Record {
		return begin(event.SyscallSetxattratX).Int(res).Int(dirfd).String(path).Int(0x1000).String("trusted.x").Done()
	}
	mounted := func(dir string, flags int64, reaches bool) event.Record {
		b := begin(event.SyscallMountX).Int(0).String("x").String(dir).String("tmpfs").Int(flags)
		if reaches {
			b.SetOrigin(wasmabi.OriginReaches)
		}
		return b.Done()
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
		{"a file taken from its pidfd", boxed, begin(event.SyscallPidfdGetfdX).Int(-1).Int(3).Int(5).Int(0).Int(400).Done(), 410, -1, 0, true},
		{"a file taken from another's", boxed, begin(event.SyscallPidfdGetfdX).Int(9).Int(3).Int(5).Int(0).Int(7).Done(), 410, -1, 0, false},
		{"advice about its memory", host, begin(event.SyscallProcessMadviseX).Int(4096).Int(3).Int(21).Int(200).Done(), 300, -1, 0, true},
		{"advice about another's", host, begin(event.SyscallProcessMadviseX).Int(4096).Int(3).Int(21).Int(201).Done(), 300, -1, 0, false},
		{"its limits, set to nothing", host, limit(200, 1), 300, -1, 0, true},
		{"its limits, asked for", host, limit(200, 0), 300, -1, 0, false},
		{"another's limits", host, limit(201, 1), 300, -1, 0, false},

		{"an attribute", host, begin(event.SyscallLremovexattrX).Int(0).String("/etc/shikra/x").String("user.a").Done(), 300, -1, 0, true},
		{"an attribute of another file", host, begin(event.SyscallSetxattrX).Int(0).String("/etc/other").String("user.a").Done(), 300, -1, 0, false},
		{"an attribute of an fd that has another name", host, begin(event.SyscallFsetxattrX).Int(0).Int(3).String("user.a").Done(), 300, 3, 0, true},
		{"an attribute of an fd of another file", host, begin(event.SyscallFremovexattrX).Int(0).Int(4).String("user.a").Done(), 300, 4, 0, false},
		{"mounted over by move_mount", host, begin(event.SyscallMoveMountX).Int(0).Int(5).String("").Int(-100).String("/etc/shikra").Int(4).Done(), 300, -1, 0, true},
		{"mounted over above, where it sees that", host, mounted("/etc", 0, true), 300, -1, 0, true},
		{"mounted over above, elsewhere", host, mounted("/etc", 0, false), 300, -1, 0, false},
		{"mounted over, elsewhere", host, mounted("/etc/shikra", 0, false), 300, -1, 0, true},
		{"the root mounted over", host, mounted("/", 0, true), 300, -1, 0, false},
		{"a mount above made private", host, mounted("/etc", 1<<18|1<<14, true), 300, -1, 0, false},
		{"a mount above mounted anew", host, mounted("/etc", 1<<5, true), 300, -1, 0, false},
		{"mounted over beside it", host, mounted("/etc/shi", 0, true), 300, -1, 0, false},
		{"mounted over above by move_mount", host, begin(event.SyscallMoveMountX).Int(0).Int(5).String("").Int(-100).String("/usr").Int(4).SetOrigin(wasmabi.OriginReaches).Done(), 300, -1, 0, true},
		{"moved elsewhere", host, begin(event.SyscallMoveMountX).Int(0).Int(5).String("").Int(-100).String("/mnt").Int(4).Done(), 300, -1, 0, false},
		{"by an empty path the working directory", host, setxattrat(0, -100, ""), 440, -1, 0, true},
		{"by an empty path, which isn't allowed", host, setxattrat(-2, -100, ""), 440, -1, 0, false},
		{"by no path a file's fd", host, begin(event.SyscallSetxattratX).Int(0).Int(3).Missing().Int(0x1000).String("trusted.x").Done(), 300, -1, 0, true},
		{"by an empty path a file's fd that has another name", host, setxattrat(0, 3, ""), 300, -1, 0, true},
		{"by no path a file's fd that isn't the sensor's", host, begin(event.SyscallSetxattratX).Int(0).Int(4).Missing().Int(0x1000).String("trusted.x").Done(), 300, -1, 0, false},
		{"by an empty path another directory", host, setxattrat(0, -100, ""), 300, -1, 0, false},

		{"a file of its folder, which failed", host, unlink("/etc/shikra/rules.d/../shikra.yaml"), 300, -1, 0, true},
		{"a relative path", host, unlink("../../usr/bin/shikra"), 300, -1, 0, true},
		{"a folder whose name begins the same", host, unlink("/etc/shikra.old"), 300, -1, 0, false},
		{"the same path in a container", host, unlink("/etc/shikra"), 400, -1, 0, false},
		{"the same path by who has the container's name alone", host, unlink("/etc/shikra"), 470, -1, 0, true},
		{"the same, in a pid namespace of its own", host, unlink("/etc/shikra"), 460, -1, 0, true},
		{"the same path in a container with the host's pids", host, unlink("/etc/shikra"), 450, -1, 0, true},
		{"the same path by who has ended", host, unlink("/etc/shikra"), 480, -1, 0, true},
		{"its /proc folder by who has the container's name alone", host, open("/proc/200/comm"), 470, -1, wasmabi.BitOpenWrite, true},
		{"another path by who has the container's name alone", host, unlink("/etc/other"), 470, -1, 0, false},
		{"the same path in a folder that is the root", host, unlink("/etc/shikra"), 490, -1, 0, true},
		{"the same path in the sensor's container", boxed, unlink("/etc/shikra"), 410, -1, 0, true},
		{"the same path on the host", boxed, unlink("/etc/shikra"), 300, -1, 0, false},
		{"the same path under another root", host, unlink("/etc/shikra"), 430, -1, 0, false},
		{"a folder above, renamed", host, rename("/etc", "/etc2"), 300, -1, 0, true},
		{"a folder above, removed", host, unlink("/etc"), 300, -1, 0, false},
		{"a folder above, exchanged", host, rename("/tmp/x", "/etc"), 300, -1, 0, true},
		{"something else, exchanged", host, rename("/tmp/x", "/tmp/y"), 300, -1, 0, false},
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

// TestTargetingAgain: what a process does alike to eBPF objects is told of once in a while, with how often; nothing else hides behind it.
func TestTargetingAgain(t *testing.T) {
	w := newWorld(t)
	w.c.Sensor = &Sensor{PID: 200, OwnPID: 200, BPF: map[BPFID]struct{}{{1, 9}: {}, {1, 10}: {}, {2, 9}: {}}}
	w.c.Sensor.Ready()
	var ends []Again
	w.c.Again = func(a Again) { ends = append(ends, a) }
	const first, again = wasmabi.BitTargetsSensor, wasmabi.BitTargetsSensor | wasmabi.BitTargetsTold
	at := uint64(now)
	send := func(what string, tid, res, cmd, kind, id int64, want uint32) {
		t.Helper()
		at += 1000
		w.a.Flushed()
		if got := w.c.Targeting(w.event(t, new(event.Builder).Start(at, tid, event.SyscallBpfV2X).Int(res).Int(cmd).Int(kind).Int(id).Done(), tid, -1)); got != want {
			t.Errorf("%s: bits %d, not %d", what, got, want)
		}
	}
	const lookup, update = 1, 2
	begin := at
	send("the first", 300, 0, lookup, 1, 9, first)
	w.c.Alerted(w.a.Batch.Event(0))
	for range 1000 {
		send("the same", 300, 0, lookup, 1, 9, again)
	}
	send("another object of the kind", 300, 0, lookup, 1, 10, again)
	send("another thread", 301, 0, lookup, 1, 9, again)
	send("not the sensor's", 300, 0, lookup, 1, 11, 0)
	send("another command", 300, 0, update, 1, 9, first)
	send("another kind", 300, 0, lookup, 2, 9, first)
	send("one that fails", 300, -1, lookup, 1, 9, first)
	send("another process", 100, 0, lookup, 1, 9, first)
	send("the same still", 300, 0, lookup, 1, 9, again)
	le.PutUint64(w.a.Threads.Record(w.threads[300])[wasmabi.ThreadExecTs:], start+1)
	send("another program", 300, 0, lookup, 1, 9, first)
	le.PutUint64(w.a.Threads.Record(w.threads[300])[wasmabi.ThreadExecTs:], 0)
	if len(ends) != 0 {
		t.Fatalf("too early: %+v", ends)
	}
	at = begin + againLasts
	send("after a while", 300, 0, lookup, 1, 9, first)
	if len(ends) != 1 || ends[0] != (Again{Time: begin + 1000, Said: true, PID: 300, Comm: "cat", Cmd: "BPF_MAP_LOOKUP_ELEM", Object: "map", More: 1003}) {
		t.Errorf("told %+v", ends)
	}
	send("the same then", 300, 0, lookup, 1, 9, again)

	// Too many kinds of act: the oldest are told of, and told of anew; none is forgotten, and it doesn't grow.
	ends = ends[:0]
	for tid := int64(1000); tid < 1100; tid++ { // nobody that is known
		send("each of many", tid, 0, lookup, 1, 9, first)
		send("each of many, the same", tid, 0, lookup, 1, 9, again)
	}
	w.c.EndAgain(at + againLasts)
	more := uint64(0)
	for _, a := range ends {
		more += a.More
	}
	if len(ends) != 101 || more != 101 {
		t.Errorf("%d kinds of act, %d acts; want 101 of each", len(ends), more)
	}
}

// TestTargeting: a call whose act a security function has just told of says so, and no other.
func TestTargeting(t *testing.T) {
	w := newWorld(t)
	w.c.Sensor = &Sensor{PID: 200, OwnPID: 200, Paths: []string{"/etc/shikra"}, SameRoot: func(int64) (bool, bool) { return false, true }}
	w.c.Sensor.Ready()
	const acts, told = wasmabi.BitTargetsSensor, wasmabi.BitTargetsSensor | wasmabi.BitTargetsTold
	at := uint64(now)
	send := func(what string, tid int64, want uint32, et event.Type, fill func(b *event.Builder)) {
		t.Helper()
		at += 1000
		b := new(event.Builder).Start(at, tid, et)
		fill(b)
		if got := w.c.Targeting(w.event(t, b.Done(), tid, -1)); got != want {
			t.Errorf("%s: bits %d, not %d", what, got, want)
		}
	}
	hook := func(sensor int64) func(b *event.Builder) {
		return func(b *event.Builder) { b.Int(0).String("/shikra/a").Int(1).Int(2).Int(sensor) }
	}
	unlink := func(path string) func(b *event.Builder) {
		return func(b *event.Builder) { b.Int(0).String(path) }
	}
	send("alone", 300, acts, event.SyscallUnlinkV2X, unlink("/etc/shikra/a"))
	send("the function", 300, acts, event.SecurityInodeUnlinkX, hook(1))
	send("another thread's call", 301, acts, event.SyscallUnlinkV2X, unlink("/etc/shikra/a"))
	send("another function's call", 300, acts, event.SyscallLremovexattrX, func(b *event.Builder) { b.Int(0).String("/etc/shikra/a").String("user.a") })
	send("its call", 300, told, event.SyscallUnlinkV2X, unlink("/etc/shikra/a"))
	send("the next call", 300, acts, event.SyscallUnlinkV2X, unlink("/etc/shikra/b"))
	send("the function, of another file", 300, 0, event.SecurityInodeUnlinkX, hook(0))
	send("its call by the name", 300, acts, event.SyscallUnlinkV2X, unlink("/etc/shikra/a"))
	send("the function again", 300, acts, event.SecurityInodeUnlinkX, hook(1))
	send("its call by another name", 300, 0, event.SyscallUnlinkV2X, unlink("/tmp/a"))
	send("then one by the name", 300, acts, event.SyscallUnlinkV2X, unlink("/etc/shikra/a"))
	send("and again", 300, acts, event.SecurityInodeUnlinkX, hook(1))
	at += toldLasts
	send("long after", 300, acts, event.SyscallUnlinkV2X, unlink("/etc/shikra/a"))

	// A worker of an io_uring is another thread of the process.
	w.thread(t, 302, 300, 1, "iou-wrk-300", "/bin/x", "x")
	uring := func(b *event.Builder) { unlink("/etc/shikra/a")(b); b.SetOrigin(wasmabi.OriginIoUring) }
	send("in a worker", 302, acts, event.SecurityInodeUnlinkX, hook(1))
	send("another process's operation", 400, 0, event.SyscallUnlinkV2X, uring)
	send("another thread's call", 300, acts, event.SyscallUnlinkV2X, unlink("/etc/shikra/a"))
	send("the operation", 300, told, event.SyscallUnlinkV2X, uring)

	// Many that no call follows push out the oldest only.
	n := int64(len(w.c.told))
	for tid := int64(1000); tid <= 1000+n; tid++ {
		w.threads[tid] = w.threads[300]
		send("many", tid, acts, event.SecurityInodeUnlinkX, hook(1))
	}
	send("the last", 1000+n, told, event.SyscallUnlinkV2X, unlink("/etc/shikra/a"))
	send("the second", 1001, told, event.SyscallUnlinkV2X, unlink("/etc/shikra/a"))
	send("the first", 1000, acts, event.SyscallUnlinkV2X, unlink("/etc/shikra/a"))
}

// TestSensorHooks: a call of which a function tells can act on the sensor, and the function's event says whether it does.
func TestSensorHooks(t *testing.T) {
	aims, n := sensorAims(), 0
	for et, hook := range sensorHooks() {
		if hook == 0 {
			continue
		}
		n++
		if aims[et][0].what == aimNone || aims[hook][0].what != aimSaid {
			t.Errorf("%s and %s", event.Type(et).Info().Name, hook.Info().Name)
		}
	}
	if n < 30 {
		t.Errorf("only %d", n)
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
