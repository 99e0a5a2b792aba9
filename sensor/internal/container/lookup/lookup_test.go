package lookup_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shikra-sensor/shikra/sensor/internal/container"
	"github.com/shikra-sensor/shikra/sensor/internal/container/lookup"
)

// id is a full id that begins with a letter of choice.
func id(c string) []byte { return []byte(strings.Repeat(c, 64)) }

// serveDocker has a Docker of sorts listen at a socket below root, which names every container name.
func serveDocker(t *testing.T, root, socket, name string) {
	t.Helper()
	path := filepath.Join(root, socket)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := strings.Split(r.URL.Path, "/")
		if p[1] == "containers" && !strings.HasPrefix(p[2], "f") {
			fmt.Fprintf(w, `{"Id":%q,"Name":"/%s"}`, p[2], name)
			return
		}
		http.NotFound(w, r)
	})}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Close() })
}

func newLookup(t *testing.T, cfg lookup.Config) *lookup.Lookup {
	t.Helper()
	l := lookup.New(cfg)
	t.Cleanup(l.Close)
	return l
}

// answer waits for the next answer.
func answer(t *testing.T, l *lookup.Lookup, most time.Duration) container.Answer {
	t.Helper()
	select {
	case a := <-l.Answers():
		return a
	case <-time.After(most):
		t.Fatalf("no answer in %v: %+v", most, l.Stats())
		return container.Answer{}
	}
}

// TestSocketComesAndGoes: what is asked for before the runtime is there is answered once it is.
func TestSocketComesAndGoes(t *testing.T) {
	root := folder(t)
	l := newLookup(t, lookup.Config{Root: root, Sockets: []lookup.Socket{{Engine: "docker", Path: "/run/docker.sock"}}})
	for range 2 { // the second is the first's
		if !l.Request(id("a"), nil, container.KindDocker, 0) {
			t.Error("refused")
		}
	}
	time.Sleep(300 * time.Millisecond)
	if st := l.Stats(); st.Waiting != 1 || st.Requests != 1 || len(st.Engines) != 0 {
		t.Errorf("%+v", st)
	}
	serveDocker(t, root, "/run/docker.sock", "late")
	a := answer(t, l, 30*time.Second)
	if a.ID != string(id("a")) || a.Info == nil || a.Info.Name != "late" || a.Info.Kind != container.KindDocker {
		t.Errorf("%+v", a)
	}
	if st := l.Stats(); st.Waiting != 0 || st.Answers != 1 || st.Engines[0].Asked == 0 {
		t.Errorf("%+v", st)
	}
}

// TestQueue: more requests than may wait are refused and counted; what is gone makes room.
func TestQueue(t *testing.T) {
	root := folder(t)
	serveDocker(t, root, "/run/docker.sock", "x")
	l := newLookup(t, lookup.Config{Root: root, Queue: 2, Sockets: []lookup.Socket{{Engine: "docker", Path: "/run/docker.sock"}}})
	for i, want := range []bool{true, true, false} { // ids of f… are not found, and wait
		if got := l.Request([]byte(fmt.Sprintf("f%063d", i)), nil, container.KindDocker, 0); got != want {
			t.Errorf("request %d: %v", i, got)
		}
	}
	if st := l.Stats(); st.Dropped != 1 || st.Waiting != 2 || st.Limit != 2 {
		t.Errorf("%+v", st)
	}
	l.Forget([]byte(fmt.Sprintf("f%063d", 0)), nil)
	if !l.Request(id("a"), nil, container.KindDocker, 0) {
		t.Error("no room after one was forgotten")
	}
	if a := answer(t, l, 10*time.Second); a.ID != string(id("a")) {
		t.Errorf("%+v", a)
	}
	for end := time.Now().Add(10 * time.Second); l.Stats().Engines[0].NotFound == 0 && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond) // the other is asked for beside
	}
	if st := l.Stats(); st.Engines[0].NotFound == 0 || st.Engines[0].Failed != 0 {
		t.Errorf("%+v", st)
	}
	// Nobody knows these: nothing waits.
	if !l.Request([]byte("web"), nil, container.KindLXC, 0) || l.Stats().Waiting > 1 {
		t.Errorf("%+v", l.Stats())
	}
}

// TestUsersSockets: a user's runtime is asked for that user's containers only, and no other for those, although their ids are
// the same. What stands within a container, or may have lost whose it is, is asked for nowhere.
func TestUsersSockets(t *testing.T) {
	root := folder(t)
	serveDocker(t, root, "/run/user/1000/docker.sock", "theirs")
	serveDocker(t, root, "/run/docker.sock", "system")
	cfg := lookup.Config{Root: root, Sockets: []lookup.Socket{{Engine: "docker", Path: "/run/user/*/docker.sock"}, {Engine: "docker", Path: "/run/docker.sock"}}}
	l := newLookup(t, cfg)
	outer := "container:" + string(id("a"))
	unknown := []string{"user:1001", outer, "user:1000/" + outer, "unknown:", "namespace:shop", "user:1000/user:1001"}
	for _, owner := range unknown {
		l.Request(id("0"), []byte(owner), container.KindDocker, 0)
	}
	answered := func(l *lookup.Lookup, owner, name string) {
		t.Helper()
		l.Request(id("0"), []byte(owner), container.KindDocker, 0)
		a := answer(t, l, 10*time.Second)
		if a.Info.Name != name || a.ID != string(id("0")) || a.Owner != owner || a.Info.Owner != owner || !a.Info.Owned {
			t.Errorf("owner %q: answered by %s: %+v, %+v", owner, a.Info.Name, a, a.Info)
		}
	}
	answered(l, "user:1000", "theirs")
	answered(l, "", "system")
	time.Sleep(500 * time.Millisecond)
	if st := l.Stats(); st.Waiting != 2 || st.Requests != 4 { // user 1001's, and containerd's that isn't there
		t.Errorf("other users' containers: %+v", st)
	}
	l.Forget(id("0"), []byte("user:1000"))
	l.Forget(id("0"), []byte("user:1001"))
	if st := l.Stats(); st.Waiting != 1 {
		t.Errorf("after what is gone: %+v", st)
	}

	// The host is a container itself: around those that its runtimes know there is another.
	if err := os.WriteFile(filepath.Join(root, ".dockerenv"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	l = newLookup(t, cfg)
	l.Request(id("0"), []byte(outer+"/"+outer), container.KindDocker, 0)
	answered(l, outer, "system")
	answered(l, outer+"/user:1000", "theirs")
	answered(l, "", "system")
	if st := l.Stats(); st.Waiting != 0 {
		t.Errorf("in a container: %+v", st)
	}
}

// TestServices: a container in a service's own cgroup is the system's to ask for, unless the service's user has that cgroup.
func TestServices(t *testing.T) {
	need(t)
	root := folder(t)
	serveDocker(t, root, "/run/docker.sock", "system")
	put := func(tid, cgroup string) {
		t.Helper()
		dir := filepath.Join(root, "proc", tid)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "cgroup"), []byte(cgroup), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name, lines, dir string
		uid              int
		answered         bool
	}{
		{"a", "0::/system.slice/a.service/docker-ID.scope/init\n", "system.slice/a.service", 0, true},
		{"b", "0::/system.slice/b.service/docker-ID.scope\n", "system.slice/b.service", 1000, false},
		{"c", "3:memory:/\n0::/system.slice/c.service/docker-ID.scope\n", "unified/system.slice/c.service", 1000, false},
		{"d", "3:memory:/system.slice/d.service/docker-ID.scope\n0::/\n", "memory/system.slice/d.service", 1000, false},
		{"e", "0::/system.slice/e.service/docker-ID.scope\n", "", 0, true}, // not to be seen
	} {
		dir := filepath.Join(root, "sys/fs/cgroup", c.dir)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(dir, c.uid, c.uid); err != nil {
			t.Fatal(err)
		}
		l := newLookup(t, lookup.Config{Root: root, Sockets: []lookup.Socket{{Engine: "docker", Path: "/run/docker.sock"}}})
		owner := "service:" + c.name + ".service"
		put("7", "0::/system.slice\n") // it has left the container
		l.Request(id("0"), []byte(owner), container.KindDocker, 7)
		if a := answer(t, l, 10*time.Second); !a.Thread || a.Info != nil {
			t.Errorf("%s: of a process that isn't in it: %+v", c.name, a)
		}
		put("8", strings.ReplaceAll(c.lines, "ID", string(id("0"))))
		l.Thread(string(id("0")), owner, 8)
		for end := time.Now().Add(20 * time.Second); l.Stats().Waiting > 0 && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		}
		st := l.Stats()
		if st.Waiting != 0 || (st.Answers == 1) != c.answered || (len(st.Engines) > 0) != c.answered {
			t.Errorf("%s: %+v", c.name, st)
		}
		l.Close()
	}
}

// TestQueueShare: one user can't fill the queue.
func TestQueueShare(t *testing.T) {
	l := newLookup(t, lookup.Config{Root: folder(t), Queue: 8})
	ask := func(owner string, n int) (taken int) {
		for i := range n {
			if l.Request(fmt.Appendf(nil, "%064d", i), []byte(owner), container.KindDocker, 0) {
				taken++
			}
		}
		return taken
	}
	for _, c := range []struct {
		owner        string
		taken, asked int
	}{{"user:1000", 2, 4}, {"user:1001", 2, 4}, {"service:web.service", 3, 3}, {"", 1, 4}} {
		if n := ask(c.owner, c.asked); n != c.taken {
			t.Errorf("%q: %d taken, want %d", c.owner, n, c.taken)
		}
	}
	if st := l.Stats(); st.Waiting != 8 || st.Limit != 8 {
		t.Errorf("%+v", st)
	}
	l.Forget(fmt.Appendf(nil, "%064d", 0), []byte("user:1000"))
	if n := ask("user:1000", 3); n != 2 { // one that waits already, and one more
		t.Errorf("%d taken after one was forgotten", n)
	}
}

// TestHangingRuntime: a runtime that never answers holds up nothing but itself.
func TestHangingRuntime(t *testing.T) {
	root := folder(t)
	serveDocker(t, root, "/run/docker.sock", "x")
	hang, err := net.Listen("unix", filepath.Join(root, "run/crio.sock")) // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer hang.Close()
	l := newLookup(t, lookup.Config{Root: root, Timeout: 100 * time.Millisecond, Sockets: []lookup.Socket{
		{Engine: "cri", Path: "/run/crio.sock"}, {Engine: "docker", Path: "/run/docker.sock"},
	}})
	l.Request(id("c"), nil, container.KindCRIO, 0)
	l.Request(id("d"), nil, container.KindCRI, 0) // CRI first, then Docker
	if a := answer(t, l, 20*time.Second); a.ID != string(id("d")) {
		t.Errorf("%+v", a)
	}
	for range 50 { // it rests a while after having failed
		l.Request(id("e"), nil, container.KindDocker, 0)
		answer(t, l, 10*time.Second)
	}
	st := l.Stats()
	for _, e := range st.Engines {
		if e.Name == "cri" && (e.Failed == 0 || e.Failed > 5) {
			t.Errorf("%+v", e)
		}
	}
	if st.Waiting != 1 {
		t.Errorf("%+v", st)
	}
	start := time.Now()
	l.Close()
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("Close took %v", took)
	}
}
