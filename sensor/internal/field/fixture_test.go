package field

import (
	"strings"
	"testing"
	"time"

	"github.com/shikra-sensor/shikra/sensor/internal/arena"
	"github.com/shikra-sensor/shikra/sensor/internal/container"
	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// world is an arena with a few processes and what State answers about them.
//
//	systemd (1) ─ sshd (100) ─ bash (200) ─ cat (300), with a second thread 301
//	            ├ nginx (400), in the container 0123456789ab, with pid 7 there
//	            └ app (500), in a pod's container fedcba987654
type world struct {
	a       *arena.Arena
	c       *Ctx
	threads map[int64]uint32 // by tid
	files   map[int64]uint32 // fds of cat
	box     uint32           // the container
	pod     uint32           // the container of which the runtime has said something
	b       event.Builder
	num     uint64
}

const (
	wall  = int64(1_700_000_000_000_000_000) // 2023-11-14 22:13:20 UTC at boot
	start = uint64(1_000_000_000)            // when the threads were made
	now   = uint64(5_123_456_789)            // of the events
)

func newWorld(t testing.TB) *world {
	t.Helper()
	a, err := arena.New(arena.Config{Threads: 64, Files: 64, Containers: 8, Strings: 1 << 20, Private: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	w := &world{a: a, threads: map[int64]uint32{}, files: map[int64]uint32{}}
	w.c = &Ctx{Arena: a, State: w, Hostname: "gateway-1", Start: start, Zone: time.UTC}
	a.Batch.SetWallOffset(wall)

	w.box, _ = a.Containers.Alloc()
	box := a.Containers.Record(w.box)
	w.str(box, wasmabi.ContainerId, "0123456789ab")
	w.str(box, wasmabi.ContainerFullId, "0123456789abcdef")
	le.PutUint32(box[wasmabi.ContainerKind:], 4)

	w.thread(t, 1, 1, 0, "systemd", "/usr/lib/systemd/systemd", "/sbin/init")
	w.thread(t, 100, 100, 1, "sshd", "/usr/sbin/sshd", "sshd: admin")
	w.thread(t, 200, 200, 100, "bash", "/usr/bin/bash", "-bash", "-l")
	cat := w.thread(t, 300, 300, 200, "cat", "/usr/bin/cat", "cat", "-v", "/etc/shadow")
	w.thread(t, 301, 300, 200, "cat", "/usr/bin/cat", "cat", "-v", "/etc/shadow")
	nginx := w.thread(t, 400, 400, 1, "nginx", "/usr/sbin/nginx", "nginx:", "worker")

	w.pod, _ = a.Containers.Alloc()
	pod := a.Containers.Record(w.pod)
	for offset, text := range map[int]string{
		wasmabi.ContainerId: "fedcba987654", wasmabi.ContainerFullId: podInfo.FullID, wasmabi.ContainerName: "app", wasmabi.ContainerImage: podInfo.Image,
		wasmabi.ContainerImageRepository: "example.com/app", wasmabi.ContainerImageTag: "1.2", wasmabi.ContainerImageDigest: "sha256:00",
		wasmabi.ContainerImageId: "11", wasmabi.ContainerIp: "192.0.2.9", wasmabi.ContainerPodName: "app-0", wasmabi.ContainerPodNamespace: "shop",
		wasmabi.ContainerPodUid: "3e41dc6b", wasmabi.ContainerSandboxId: podInfo.SandboxID,
	} {
		w.str(pod, offset, text)
	}
	le.PutUint32(pod[wasmabi.ContainerKind:], 7)
	le.PutUint32(pod[wasmabi.ContainerFlags:], wasmabi.ContainerAnswered|wasmabi.ContainerPrivileged|wasmabi.ContainerHostIpc)
	le.PutUint32(w.thread(t, 500, 500, 1, "app", "/bin/app", "app")[wasmabi.ThreadContainer:], w.pod)

	for _, tid := range []int64{200, 300, 301} {
		r := a.Threads.Record(w.threads[tid])
		le.PutUint64(r[wasmabi.ThreadSid:], 200)
		le.PutUint32(r[wasmabi.ThreadTty:], 34816)
	}
	le.PutUint64(cat[wasmabi.ThreadPgid:], 300)
	le.PutUint64(cat[wasmabi.ThreadVpgid:], 300)
	le.PutUint32(cat[wasmabi.ThreadFlags:], wasmabi.ThreadMain|wasmabi.ThreadExeUpperLayer)
	le.PutUint64(cat[wasmabi.ThreadCapEffective:], 1<<21|1<<0)
	w.str(cat, wasmabi.ThreadCgroups, "cpu=/a memory=/b/c")
	le.PutUint64(nginx[wasmabi.ThreadVpid:], 7)
	le.PutUint64(nginx[wasmabi.ThreadVtid:], 7)
	le.PutUint64(nginx[wasmabi.ThreadSid:], 7)
	le.PutUint32(nginx[wasmabi.ThreadContainer:], w.box)

	w.file(t, 0, 'd', "/dev")
	f := w.file(t, 3, 'f', "/etc/shadow")
	le.PutUint64(f[wasmabi.FileIno:], 4711)
	le.PutUint32(f[wasmabi.FileDev:], 0x10fd03)
	f[wasmabi.FileBits] = wasmabi.FileLowerLayer
	w.str(f, wasmabi.FileNameRaw, "../etc/shadow")
	s := w.file(t, 4, '4', "192.0.2.1:40000->192.0.2.2:443")
	copy(s[wasmabi.FileCip:], []byte{192, 0, 2, 1})
	copy(s[wasmabi.FileSip:], []byte{192, 0, 2, 2})
	le.PutUint16(s[wasmabi.FileCport:], 40000)
	le.PutUint16(s[wasmabi.FileSport:], 443)
	s[wasmabi.FileL4proto] = 6
	s[wasmabi.FileBits] = wasmabi.FileClient | wasmabi.FileConnected
	l := w.file(t, 5, '6', "::1:8080") // listens
	l[wasmabi.FileSip+15] = 1
	le.PutUint16(l[wasmabi.FileSport:], 8080)
	l[wasmabi.FileL4proto] = 6
	l[wasmabi.FileBits] = wasmabi.FileServer
	w.file(t, 6, '4', "") // not bound
	w.file(t, 7, 'u', "/run/systemd/journal/dev/log")
	w.file(t, 8, 'd', "/var/lib/app")
	w.file(t, 9, 'f', "/swap")
	return w
}

func (w *world) str(rec []byte, offset int, s string) {
	le.PutUint32(rec[offset:], w.a.Strings.InternString(s))
}

func (w *world) private(rec []byte, offset int, s string) {
	le.PutUint32(rec[offset:], w.a.Private.InternString(s))
}

func (w *world) thread(t testing.TB, tid, pid, ppid int64, comm, exepath, exe string, args ...string) []byte {
	t.Helper()
	slot, ok := w.a.Threads.Alloc()
	if !ok {
		t.Fatal("no thread slot")
	}
	r := w.a.Threads.Record(slot)
	w.threads[tid] = slot
	for offset, v := range map[int]int64{
		wasmabi.ThreadTid: tid, wasmabi.ThreadPid: pid, wasmabi.ThreadPtid: ppid, wasmabi.ThreadVtid: tid, wasmabi.ThreadVpid: pid,
		wasmabi.ThreadVpgid: 200, wasmabi.ThreadPgid: 200, wasmabi.ThreadSid: 1, wasmabi.ThreadCloneTs: int64(start),
		wasmabi.ThreadExeIno: 99, wasmabi.ThreadExeCtime: wall + int64(start) - 250, wasmabi.ThreadExeMtime: wall - 1000, wasmabi.ThreadFdLimit: 1024,
		wasmabi.ThreadPidnsInitTs: int64(start) - 1000,
	} {
		le.PutUint64(r[offset:], uint64(v))
	}
	le.PutUint32(r[wasmabi.ThreadLeader:], w.threads[pid])
	le.PutUint32(r[wasmabi.ThreadParent:], w.threads[ppid])
	le.PutUint32(r[wasmabi.ThreadUid:], 1000)
	le.PutUint32(r[wasmabi.ThreadGid:], 100)
	le.PutUint32(r[wasmabi.ThreadLoginuid:], 1<<32-1)
	if tid == pid {
		le.PutUint32(r[wasmabi.ThreadFlags:], wasmabi.ThreadMain)
	}
	w.str(r, wasmabi.ThreadComm, comm)
	w.str(r, wasmabi.ThreadExe, exe)
	w.str(r, wasmabi.ThreadExepath, exepath)
	w.str(r, wasmabi.ThreadCwd, "/home/admin")
	w.str(r, wasmabi.ThreadUserName, "admin")
	w.str(r, wasmabi.ThreadGroupName, "users")
	w.str(r, wasmabi.ThreadLoginuserName, "<NA>")
	w.str(r, wasmabi.ThreadUserHome, "/home/admin")
	w.str(r, wasmabi.ThreadUserShell, "/bin/bash")
	raw, line, cmd := "", "", comm
	for i, a := range args {
		raw += a + "\x00"
		if i > 0 {
			line += " "
		}
		line += a
		cmd += " " + a
	}
	w.private(r, wasmabi.ThreadArgs, raw)
	w.private(r, wasmabi.ThreadArgline, line)
	w.private(r, wasmabi.ThreadCmdline, cmd)
	w.private(r, wasmabi.ThreadEnv, "HOME=/home/"+comm+"\x00LANG= C \x00EMPTY=\x00")
	return r
}

func (w *world) file(t testing.TB, fd int64, kind byte, name string) []byte {
	t.Helper()
	slot, ok := w.a.Files.Alloc()
	if !ok {
		t.Fatal("no file slot")
	}
	w.files[fd] = slot
	r := w.a.Files.Record(slot)
	r[wasmabi.FileKind] = kind
	w.str(r, wasmabi.FileName, name)
	for i := range name {
		if name[i] == '/' {
			le.PutUint32(r[wasmabi.FileNameDir:], uint32(i))
		}
	}
	return r
}

// event queues what r builds as an event of thread tid (0: none) on fd (-1: none).
func (w *world) event(t testing.TB, r event.Record, tid, fd int64) event.Event {
	t.Helper()
	if err := r.Check(); err != nil {
		t.Fatal(err)
	}
	w.num++
	e, ok := w.a.Batch.Append(r, w.num)
	if !ok {
		t.Fatal("the batch is full")
	}
	e.SetThread(w.threads[tid])
	e.SetFD(int32(fd))
	e.SetFile(w.files[fd])
	if in := r.Type().Info(); len(in.Params) > 0 && in.Origin == event.OriginSyscall {
		if v, ok := e.Int(max(in.ParamIndex("res"), 0)); ok {
			e.SetRes(v)
		}
	}
	return e
}

func (w *world) record(tid int64, t event.Type) *event.Builder { return w.b.Start(now, tid, t) }

// simple queues an event of type et without parameters but the first.
func (w *world) simple(t testing.TB, et event.Type, res, tid, fd int64) event.Event {
	return w.event(t, w.record(tid, et).Int(res).Done(), tid, fd)
}

func (w *world) OpenFile(thread uint32, fd int64) uint32 {
	if thread != w.threads[300] && thread != w.threads[301] {
		return 0
	}
	return w.files[fd]
}

func (w *world) EachFile(thread uint32, fn func(int32, uint32) bool) {
	for fd := int64(0); fd < 16; fd++ {
		if s := w.OpenFile(thread, fd); s != 0 && !fn(int32(fd), s) {
			return
		}
	}
}

func (w *world) OpenFiles(thread uint32) int {
	n := 0
	w.EachFile(thread, func(int32, uint32) bool { n++; return true })
	return n
}

func (w *world) LiveThreads(uint32) (all, others int) { return 3, 2 }

func (w *world) Usage(uint32) (majorFaults, minorFaults, sizeKB, rssKB, swapKB uint64, ok bool) {
	return 1, 2, 30, 40, 50, true
}

func (w *world) FindThread(tid int64) uint32 { return w.threads[tid] }

func (w *world) UserName(container, uid uint32) []byte {
	if uid == 0 {
		return []byte("root")
	}
	if container == w.box && uid == 33 {
		return []byte("www-data")
	}
	return nil
}

func (w *world) GroupName(_, gid uint32) []byte {
	if gid == 0 {
		return []byte("root")
	}
	return nil
}

// podInfo is what the runtime said of the pod's container.
var podInfo = &container.Info{
	FullID: strings.Repeat("fedcba9876543210", 4), Image: "example.com/app:1.2", SandboxID: strings.Repeat("0123456789abcdef", 4), CNI: `{"eth0":{}}`,
	Labels:    []container.Label{{Key: "app.example.com/part", Value: "front"}, {Key: "io.kubernetes.pod.name", Value: "app-0"}, {Key: "team", Value: "core"}},
	PodLabels: []container.Label{{Key: "tier", Value: "gold"}},
	Mounts: []container.Mount{
		{Source: "/srv/data", Destination: "/data", Mode: "z", RW: true, Propagation: "rprivate"},
		{Source: "/proc", Destination: "/host/proc", Propagation: "rslave"},
	},
}

func (w *world) ContainerOwner(slot uint32) []byte {
	if slot == w.box {
		return []byte("user:1000")
	}
	return nil
}

func (w *world) ContainerInfo(slot uint32) *container.Info {
	if slot == w.pod && slot != 0 {
		return podInfo
	}
	return nil
}

// ref parses text or ends the test.
func ref(t testing.TB, text string) Ref {
	t.Helper()
	r, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// show is what an output shows for text, or "-" for missing.
func (w *world) show(t testing.TB, text string, e event.Event) string {
	t.Helper()
	r := ref(t, text)
	b, ok := r.AppendText(w.c, e, nil)
	if !ok {
		if len(b) != 0 {
			t.Errorf("%s: missing, but appended %q", text, b)
		}
		return "-"
	}
	return string(b)
}
