package state

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/shikra-sensor/shikra/sensor/internal/arena"
	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/snapshot"
	"github.com/shikra-sensor/shikra/wasmabi"
)

func TestAppendPath(t *testing.T) {
	for _, c := range []struct{ dir, name, want string }{
		{"/", "a", "/a"},
		{"/home/ann/", "a", "/home/ann/a"},
		{"/home/ann", "a/", "/home/ann/a"},
		{"/home/ann/", "../bob//x", "/home/bob/x"},
		{"/home/ann/", "../../../../x", "/x"},
		{"/home/ann/", ".", "/home/ann"},
		{"/home/ann/", "", "/home/ann"},
		{"/home/ann/", "/etc/./passwd", "/etc/passwd"},
		{"/x", "/", "/"},
		{"/x", "//", "/"},
		{"/x", "/..", "/"},
		{"/x", "...", "/x/..."},
		{"/x", ".hidden/..y", "/x/.hidden/..y"},
		{"", "a/../b", "b"},
		{"", "../b", "b"},
		{"", "", ""},
	} {
		if got := string(appendPath(nil, []byte(c.dir), []byte(c.name))); got != c.want {
			t.Errorf("appendPath(%q, %q) = %q, want %q", c.dir, c.name, got, c.want)
		}
	}
}

// FuzzPath compares with package path, and clean with what cleaning does.
func FuzzPath(f *testing.F) {
	f.Add("/a/b", "../c")
	f.Add("/", "//x/./..")
	f.Fuzz(func(t *testing.T, dir, name string) {
		dir = "/" + dir
		want := path.Join(dir, name)
		if strings.HasPrefix(name, "/") {
			want = path.Clean(name)
		}
		if got := string(appendPath(nil, []byte(dir), []byte(name))); got != want {
			t.Errorf("appendPath(%q, %q) = %q, want %q", dir, name, got, want)
		}
		if got := clean([]byte(name)); got != (strings.HasPrefix(name, "/") && path.Clean(name) == name) {
			t.Errorf("clean(%q) = %v", name, got)
		}
	})
}

// TestIndex compares with a map under random work in a nearly full index of colliding keys.
func TestIndex(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	const limit = 100
	x, m := newIndex(limit), map[uint64]uint32{}
	for range 200000 {
		k := rnd.Uint64N(150)
		switch {
		case rnd.IntN(2) == 0:
			x.del(k)
			delete(m, k)
		case len(m) < limit || m[k] != 0:
			v := 1 + rnd.Uint32N(1000)
			x.put(k, v)
			m[k] = v
		}
		if q := rnd.Uint64N(150); x.get(q) != m[q] || x.n != len(m) {
			t.Fatalf("key %d: %d, want %d; %d keys, want %d", q, x.get(q), m[q], x.n, len(m))
		}
	}
}

func TestNew(t *testing.T) {
	a, err := arena.New(arena.Config{Threads: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	for _, c := range []Config{{}, {Arena: a}, {Flush: func() {}}, {Arena: a, Flush: func() {}}} {
		if s, err := New(c); err == nil || s != nil {
			t.Errorf("New(%+v) = %v, %v", c, s, err)
		}
	}
}

// TestLookups checks that what is asked for elsewhere is used, and is bounded for a second of events.
func TestLookups(t *testing.T) {
	asked := 0
	var asks []snapshot.FileAsk
	m := newMachine(t, arena.Config{}, Config{
		Lookups: 10,
		LookupThread: func(tid int64, th *snapshot.Thread) bool {
			asked++
			*th = snapshot.Thread{TID: tid, PID: tid, PTID: 1, Comm: "found", Cwd: "/srv", LoginUID: noID}
			return tid%2 == 0
		},
		Asks: 3,
		AskFile: func(a snapshot.FileAsk) bool {
			asks = append(asks, a)
			return true
		},
	})
	m.Settled()
	e := m.do(t, openRecord(&m.b, 5e9, 100, 3, "x"))
	if got := m.threadText(e.Thread()) + m.fileText(e.File()); got != `found(100)f "/srv/x" raw "x" dir 4` {
		t.Error(got)
	}
	for tid := int64(101); tid < 200; tid++ {
		m.do(t, openRecord(&m.b, 5e9, tid, 3, "/x"))
	}
	if asked != 10 {
		t.Errorf("asked %d times in a second, want 10", asked)
	}
	m.do(t, socketRecord(&m.b, 7e9, 100, 4))
	sock := clone(m.b.Start(7e9, 100, event.SocketSocketpairX).Int(0).Int(5).Int(6).Int(1).Int(2).Int(1).Int(1).Int(0).Done())
	m.do(t, sock)
	m.do(t, openRecord(&m.b, 7e9, 100, 9, "/old"))
	m.do(t, clone(m.b.Start(7e9, 100, event.SocketRecvmsgX).Int(1).Int(1).Missing().Missing().Bytes(rights(9, 11, 12, 13)).Int(5).Done()))
	text := func(fd int64) string { return m.fileText(m.OpenFile(m.FindThread(100), fd)) }
	if got := text(9); got != `? ""` || len(asks) != 3 || m.Stats().FDsUnasked != 1 {
		t.Error(got, asks, m.Stats().FDsUnasked)
	}
	// 11 is closed and its number used again before the answer comes, 12 is a copy of what came.
	m.do(t, closeRecord(&m.b, 7e9+1, 100, 11))
	m.do(t, openRecord(&m.b, 7e9+2, 100, 11, "/later"))
	m.do(t, clone(m.b.Start(7e9+3, 100, event.SyscallDup2X).Int(20).Int(9).Int(20).Done()))
	for _, a := range asks {
		m.FoundFile(a, &snapshot.File{PID: a.PID, FD: a.FD, Name: fmt.Sprintf("/sent/%d/%d", a.PID, a.FD), Kind: 'f', OpenFlags: oCloexec})
	}
	for fd, want := range map[int64]string{9: `f "/sent/100/9" dir 9`, 20: `f "/sent/100/9" dir 9`, 11: `f "/later"`, 12: `f "/sent/100/12" dir 9`, 13: `? ""`} {
		if got := text(fd); got != want {
			t.Errorf("fd %d: %s, want %s", fd, got, want)
		}
	}
	t100 := m.FindThread(100)
	if !m.CloseOnExec(t100, 9) || m.CloseOnExec(t100, 20) || m.Stats().FDsFound != 2 {
		t.Errorf("close-on-exec of 9 %v, of its copy %v; %d found", m.CloseOnExec(t100, 9), m.CloseOnExec(t100, 20), m.Stats().FDsFound)
	}
	if err := check(m.State); err != nil {
		t.Error(err)
	}
}

// TestAskOther: of processes that share their fds another is named, and the answer counts when the one that was asked for
// has ended.
func TestAskOther(t *testing.T) {
	var asks []snapshot.FileAsk
	m := newMachine(t, arena.Config{}, Config{AskFile: func(a snapshot.FileAsk) bool {
		asks = append(asks, a)
		return true
	}})
	addProcess(m, 10, 1, "sh")
	m.Settled()
	for i, kid := range []int64{20, 21} { // the first with CLONE_FILES
		m.do(t, clone(m.b.Start(1e9, kid, event.SyscallCloneV20X).Int(0).String("sh").Bytes(nil).Int(kid).Int(kid).Int(10).String("").
			Int(1024).Int(0).Int(0).Int(0).Int(0).Int(0).String("sh").Bytes(nil).Int(int64(1-i)).Int(0).Int(0).Int(kid).Int(kid).Int(0).Done()))
	}
	for _, tid := range []int64{20, 10, 21} {
		m.do(t, clone(m.b.Start(2e9, tid, event.SocketSocketpairX).Int(0).Int(5).Int(6).Int(1).Int(2).Int(1).Int(1).Int(0).Done()))
		m.do(t, clone(m.b.Start(2e9, tid, event.SocketRecvmsgX).Int(1).Int(1).Missing().Missing().Bytes(rights(9)).Int(5).Done()))
	}
	want := []snapshot.FileAsk{{PID: 20, Other: 10, FD: 9, TS: 2e9}, {PID: 10, Other: 20, FD: 9, TS: 2e9}, {PID: 21, FD: 9, TS: 2e9}}
	if !slices.Equal(asks, want) {
		t.Fatalf("asked %+v, want %+v", asks, want)
	}
	m.do(t, clone(m.b.Start(3e9, 20, event.ProcexitV1E).Int(0).Int(0).Int(0).Int(0).Int(1).Done()))
	m.FoundFile(asks[0], &snapshot.File{PID: 10, FD: 9, Name: "/sent", Kind: 'f'})
	if got := m.fileText(m.OpenFile(m.FindThread(10), 9)); got != `f "/sent"` {
		t.Error(got)
	}
}

// rights returns a control message with fds, as this machine's programs see it.
func rights(fds ...uint32) []byte {
	word := bits.UintSize / 8
	b := make([]byte, word+8)
	for _, fd := range fds {
		b = le.AppendUint32(b, fd)
	}
	b[0], b[word], b[word+4] = byte(len(b)), 1, 1
	return b
}

// TestReceived: an fd that came in a message isn't what its number was; control messages that are cut or odd are left.
func TestReceived(t *testing.T) {
	m := benchMachine(t)
	m.do(t, clone(m.b.Start(1e9, 9, event.SocketSocketpairX).Int(0).Int(5).Int(6).Int(1).Int(2).Int(1).Int(1).Int(0).Done()))
	recv := func(ctl []byte) string {
		m.do(t, openRecord(&m.b, 1e9, 9, 7, "/old"))
		m.do(t, clone(m.b.Start(1e9, 9, event.SocketRecvmsgX).Int(1).Int(1).Missing().Missing().Bytes(ctl).Int(5).Done()))
		return m.fileText(m.OpenFile(m.FindThread(9), 7))
	}
	const there, unknown = `f "/old"`, `? ""`
	two := append(append(rights(20), make([]byte, (8-len(rights(20))%8)%8)...), rights(7)...)
	for i, c := range []struct {
		ctl  []byte
		want string
	}{
		{rights(7), unknown}, {rights(1, 2, 7), unknown}, {two, unknown}, {rights(8), there}, {nil, there}, {rights(7)[:9], there},
		{rights(7, 7)[:len(rights(7))], there}, {make([]byte, 64), there}, {rights(5), there},
	} {
		if got := recv(c.ctl); got != c.want {
			t.Errorf("%d: fd 7 is %s, want %s", i, got, c.want)
		}
	}
	if err := check(m.State); err != nil {
		t.Error(err)
	}
}

func TestNames(t *testing.T) {
	m := newMachine(t, arena.Config{}, Config{Users: 2, Groups: 1})
	for i, n := range []string{"ann", "bob", "eve"} {
		m.AddUser(&snapshot.User{UID: uint32(5 + i), Name: n})
		m.AddGroup(&snapshot.Group{GID: uint32(5 + i), Name: n})
	}
	m.AddGroup(&snapshot.Group{GID: 9, Name: "+"})
	for _, c := range []struct {
		id          uint32
		user, group string
	}{{5, "ann", "ann"}, {6, "bob", ""}, {7, "", ""}, {0, "root", "root"}} {
		if u, g := string(m.UserName(0, c.id)), string(m.GroupName(0, c.id)); u != c.user || g != c.group {
			t.Errorf("%d is %q and %q, want %q and %q", c.id, u, g, c.user, c.group)
		}
	}
	if st := m.Stats(); st.UsersDropped != 3 || st.Users != 2 || st.Groups != 1 {
		t.Errorf("%+v", st)
	}
	long := strings.Repeat("/abc", 2000)
	addProcess(m, 9, 1, "x")
	e := m.do(t, openRecord(&m.b, 1e9, 9, 7, long))
	r := m.a.Files.Record(e.File())
	if n := m.str(get32(r, wasmabi.FileName)); n != long[:maxName] || r[wasmabi.FileBits]&wasmabi.FileNameCut == 0 || m.Stats().NamesCut != 1 {
		t.Errorf("a name of %d bytes, bits %d", len(n), r[wasmabi.FileBits])
	}
	m.do(t, clone(m.b.Start(1e9, 9, event.SyscallChdirX).Int(0).String(long).Done()))
	if cwd := m.str(get32(m.rec(m.FindThread(9)), wasmabi.ThreadCwd)); cwd != "/" {
		t.Errorf("cwd has %d bytes", len(cwd))
	}
	if err := check(m.State); err != nil {
		t.Error(err)
	}
}

// TestSnapshot adds what a source may say: sockets, files before their process, garbage.
func TestSnapshot(t *testing.T) {
	m := newMachine(t, arena.Config{Threads: 32, Files: 128}, Config{})
	m.AddFile(&snapshot.File{PID: 9, FD: 3, Kind: '4', Family: 2, L4Proto: 6, Bits: wasmabi.FileClient | wasmabi.FileConnected, Client: [16]byte{192, 0, 2, 1}, Server: [16]byte{192, 0, 2, 2}, CPort: 4, SPort: 80})
	m.AddFile(&snapshot.File{PID: 9, FD: 4, Kind: '6', Family: 10, L4Proto: 6, Bits: wasmabi.FileServer, SPort: 80})
	m.AddFile(&snapshot.File{PID: 9, FD: -1})
	m.AddFile(&snapshot.File{PID: -9, FD: 1})
	m.AddThread(&snapshot.Thread{TID: 9, PID: 9, PTID: 8, Comm: "x", Env: []string{"A=1"}})
	m.AddThread(&snapshot.Thread{TID: 8, PID: 8, PTID: 9, Comm: "loop"})
	m.AddThread(&snapshot.Thread{TID: 12, PID: 11, Comm: "leaderless"})
	m.AddThread(&snapshot.Thread{TID: 0})
	m.AddThread(&snapshot.Thread{TID: 1 << 40})
	m.AddThread(&snapshot.Thread{TID: 9, PID: 9, PTID: 8, Comm: "again", Env: []string{"A=1"}})
	m.Settled()
	if err := check(m.State); err != nil {
		t.Fatal(err)
	}
	var got []string
	m.EachFile(m.FindThread(9), func(fd int32, f uint32) bool {
		got = append(got, fmt.Sprintf("%d %s", fd, m.fileText(f)))
		return true
	})
	if s := strings.Join(got, "\n"); s != "3 4 \"192.0.2.1:4->192.0.2.2:80\" client connected proto 6\n4 6 \":::80\" server proto 6" {
		t.Error(s)
	}
	if n := m.str(get32(m.rec(m.FindThread(9)), wasmabi.ThreadComm)); n != "again" {
		t.Error(n)
	}
}

// TestUsage: what a process uses is what its last clone or exec event said, and threads count while they live.
func TestUsage(t *testing.T) {
	m := newMachine(t, arena.Config{}, Config{})
	addProcess(m, 10, 1, "sh")
	m.Settled()
	if _, _, _, _, _, ok := m.Usage(m.FindThread(10)); ok {
		t.Error("what wasn't told is known")
	}
	clone2 := func(tid, pid, flags int64) {
		m.do(t, clone(m.b.Start(1e9, tid, event.SyscallClone3X).Int(0).String("sh").Bytes(nil).Int(tid).Int(pid).Int(10).String("").
			Int(1024).Int(1<<40).Int(2).Int(30).Int(40).Int(50).String("sh").Bytes(nil).Int(flags).Int(0).Int(0).Int(tid).Int(pid).Int(0).Done()))
	}
	clone2(20, 20, 0)
	clone2(21, 20, 0x2001)
	clone2(22, 20, 0x2001)
	major, minor, size, rss, swap, ok := m.Usage(m.FindThread(20))
	if got, want := [...]uint64{major, minor, size, rss, swap}, [...]uint64{1<<32 - 1, 2, 30, 40, 50}; got != want || !ok {
		t.Errorf("got %v, want %v", got, want)
	}
	exit := func(tid int64) {
		m.do(t, clone(m.b.Start(2e9, tid, event.ProcexitV1E).Int(0).Int(0).Int(0).Int(0).Int(1).Done()))
	}
	want := func(tid int64, all, others int) {
		t.Helper()
		if a, o := m.LiveThreads(m.FindThread(tid)); a != all || o != others {
			t.Errorf("%d threads, %d beside the main one: want %d and %d", a, o, all, others)
		}
	}
	want(22, 3, 2)
	exit(21)
	want(20, 2, 1)
	exit(20) // the main thread
	want(22, 1, 1)
	exit(22)
	want(22, 0, 0)
	addProcess(m, 20, 1, "new")
	if _, _, _, _, _, ok := m.Usage(m.FindThread(20)); ok {
		t.Error("a new thread has what an old one used")
	}
}

// TestContainerShares: one user can't take the room of all containers, nor all users together; what is left out is counted, and
// gets its container once there is room.
func TestContainerShares(t *testing.T) {
	m := newMachine(t, arena.Config{Containers: 64}, Config{Users: 64, Groups: 64})
	m.Settled()
	tid := int64(100)
	start := func(above string, n int) (tids []int64) {
		for range n {
			tid++
			m.AddThread(&snapshot.Thread{TID: tid, PID: tid, Comm: "sh", LoginUID: noID, Cgroups: []string{fmt.Sprintf("cpu=%s/docker-%064x.scope", above, tid)}})
			tids = append(tids, tid)
		}
		return tids
	}
	in := func(tids []int64) (n int) {
		for _, tid := range tids {
			if k := get32(m.rec(m.FindThread(tid)), wasmabi.ThreadContainer); k == 0 {
				t.Errorf("thread %d is of the host", tid)
			} else if k != m.containers.over {
				n++
			}
		}
		return n
	}
	user := func(uid int) string { return fmt.Sprintf("/user.slice/user-%d.slice/user@%d.service", uid, uid) }
	const share = 64 / 4
	first := start(user(1), 20)
	for _, c := range []struct {
		what string
		tids []int64
		want int
	}{
		{"a user's", first, share},
		{"those in a user's container", start(user(1)+"/docker-"+strings.Repeat("a", 64)+".scope", 1), 0},
		{"another's", start(user(2), 20), share},
		{"those in a container", start("/docker/"+strings.Repeat("b", 64), 20), share},
		{"a third user's", start(user(3), 20), 0},
		{"a service's", start("/system.slice/x.service", 5), 5},
		{"the system's", start("/system.slice", 15), 64 - 1 - 3*share - 5},
	} {
		if got := in(c.tids); got != c.want {
			t.Errorf("%s: %d of %d have a container, want %d", c.what, got, len(c.tids), c.want)
		}
	}
	if st := m.Stats(); st.Containers != 63 || st.ContainersDropped != 4+1+4+4+20+5 || st.ContainersOver != 4+1+4+4+20 {
		t.Errorf("%+v", st)
	}
	if err := check(m.State); err != nil {
		t.Fatal(err)
	}

	// The end of one makes room for another, which has it from its next exec on.
	m.do(t, clone(m.b.Start(m.ts, first[0], event.ProcexitV1E).Int(0).Int(0).Int(0).Int(0).Int(0).Done()))
	m.flush()
	late := first[share]
	m.do(t, clone(m.b.Start(m.ts, late, event.SyscallExecveV19X).Int(0).String("/bin/true").Bytes(nil).Int(late).Int(late).Int(1).String("").
		Int(1024).Int(0).Int(0).Int(0).Int(0).Int(0).String("true").Bytes(fmt.Appendf(nil, "cpu=%s/docker-%064x.scope\x00", user(1), late)).Bytes(nil).
		Int(0).Int(late).Int(-1).Int(0).Int(0).Int(0).Int(0).Int(9).Int(1).Int(1).Int(0).String("/usr/bin/true").Int(late).Int(0).String("/bin/true").Done()))
	if in(first[share:share+1]) != 1 {
		t.Error("no container after another has ended")
	}

	// So it is with the users of such containers.
	for i := range uint32(60) {
		m.AddUser(&snapshot.User{UID: i, Name: "theirs", Container: "user:1/abc"})
		m.AddGroup(&snapshot.Group{GID: i, Name: "theirs", Container: "container:x/abc"})
	}
	for i := range uint32(20) {
		m.AddUser(&snapshot.User{UID: i, Name: "system", Container: "abc"})
		m.AddUser(&snapshot.User{UID: i, Name: "host"})
		m.AddGroup(&snapshot.Group{GID: i, Name: "system", Container: "service:x.service/abc"})
	}
	if st := m.Stats(); st.Users != 64 || st.Groups != 32+20 || st.UsersDropped != 2*28+8 {
		t.Errorf("%+v", st)
	}
	if err := check(m.State); err != nil {
		t.Error(err)
	}
}
