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
		if !l.Request(id("a"), container.KindDocker, -1, 0) {
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
		if got := l.Request([]byte(fmt.Sprintf("f%063d", i)), container.KindDocker, -1, 0); got != want {
			t.Errorf("request %d: %v", i, got)
		}
	}
	if st := l.Stats(); st.Dropped != 1 || st.Waiting != 2 || st.Limit != 2 {
		t.Errorf("%+v", st)
	}
	l.Forget([]byte(fmt.Sprintf("f%063d", 0)))
	if !l.Request(id("a"), container.KindDocker, -1, 0) {
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
	if !l.Request([]byte("web"), container.KindLXC, -1, 0) || l.Stats().Waiting > 1 {
		t.Errorf("%+v", l.Stats())
	}
}

// TestUsersSockets: a user's runtime is asked for that user's containers only, and no other for those.
func TestUsersSockets(t *testing.T) {
	root := folder(t)
	serveDocker(t, root, "/run/user/1000/docker.sock", "theirs")
	serveDocker(t, root, "/run/docker.sock", "system")
	l := newLookup(t, lookup.Config{Root: root, Sockets: []lookup.Socket{{Engine: "docker", Path: "/run/user/*/docker.sock"}, {Engine: "docker", Path: "/run/docker.sock"}}})
	for i, c := range []struct {
		user int64
		name string
	}{{1000, "theirs"}, {-1, "system"}} {
		l.Request(id(fmt.Sprint(i)), container.KindDocker, c.user, 0)
		if a := answer(t, l, 10*time.Second); a.Info.Name != c.name {
			t.Errorf("user %d: answered by %s", c.user, a.Info.Name)
		}
	}
	l.Request(id("b"), container.KindDocker, 1001, 0)
	time.Sleep(500 * time.Millisecond)
	if st := l.Stats(); st.Waiting != 1 {
		t.Errorf("another user's container: %+v", st)
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
	l.Request(id("c"), container.KindCRIO, -1, 0)
	l.Request(id("d"), container.KindCRI, -1, 0) // CRI first, then Docker
	if a := answer(t, l, 20*time.Second); a.ID != string(id("d")) {
		t.Errorf("%+v", a)
	}
	for range 50 { // it rests a while after having failed
		l.Request(id("e"), container.KindDocker, -1, 0)
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
