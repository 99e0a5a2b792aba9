package lookup_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/shikra-sensor/shikra/sensor/internal/container/lookup"
	"github.com/shikra-sensor/shikra/sensor/internal/output"
	"github.com/shikra-sensor/shikra/sensor/internal/pipeline"
	"github.com/shikra-sensor/shikra/sensor/internal/probe"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/compile"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/load"
	"github.com/shikra-sensor/shikra/sensor/internal/source/live"
	"github.com/shikra-sensor/shikra/sensor/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shown are the fields that the rules' outputs show.
var shown = []string{
	"container.id", "container.full_id", "container.name", "container.owner", "container.type", "container.image", "container.image.repository", "container.image.tag",
	"container.image.digest", "container.image.id", "container.privileged", "container.host_pid", "container.host_network", "container.host_ipc",
	"container.mounts", "container.mount.source[/data]", "container.label[team]", "container.labels", "container.ip", "k8s.pod.name", "k8s.ns.name",
	"k8s.pod.uid", "k8s.pod.sandbox_id", "k8s.pod.label[tier]", "k8s.pod.labels", "user.name", "group.name", "proc.args", "evt.type",
}

const rules = `
- rule: told
  desc: a runtime said something
  condition: evt.type = container
  output: "FIELDS"
  priority: NOTICE
- rule: ran
  desc: a program in a container
  condition: evt.type = execve and evt.rawres = 0 and container.id != host and proc.args contains marker
  output: "FIELDS"
  priority: NOTICE
- rule: privileged
  desc: judged by what the runtime said
  condition: evt.type = execve and evt.rawres = 0 and container.privileged = true and container.image.repository = example.com/box and container.mount.dest[/tmp/*] = /data
  output: "FIELDS"
  priority: NOTICE
`

// sensor is the whole way of the data, on this kernel.
type sensor struct {
	t    *testing.T
	look *lookup.Lookup
	mu   sync.Mutex
	got  []alert // guarded by mu
}

type alert struct {
	rule   string
	fields map[string]any
}

func newSensor(t *testing.T, cfg lookup.Config) *sensor {
	t.Helper()
	if os.Geteuid() != 0 {
		need(t)
	}
	s := &sensor{t: t}
	text := strings.ReplaceAll(rules, "FIELDS", "%"+strings.Join(shown, " %"))
	wasm, ds, err := load.Compile([]load.Source{{Name: "containers.yaml", Data: []byte(text)}}, load.Options{Compile: compile.Options{Name: "test", Version: "1.0.0"}})
	if err != nil {
		for _, d := range ds {
			t.Log(d.Text())
		}
		t.Fatal(err)
	}
	s.look = lookup.New(cfg)
	pipe, err := pipeline.New(context.Background(), pipeline.Config{
		Containers: s.look,
		BootTime: func() uint64 {
			var ts unix.Timespec
			_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts)
			return uint64(ts.Nano())
		},
		Alert: func(a *output.Alert) {
			f := map[string]any{}
			if err := json.Unmarshal(a.Fields, &f); err != nil {
				t.Error(err)
			}
			s.mu.Lock()
			s.got = append(s.got, alert{a.Rule, f})
			s.mu.Unlock()
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := pipe.Load(wasm); err != nil {
		t.Fatal(err)
	}
	p, err := probe.Load(probe.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ring, err := live.NewRing(p.Ring())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.SetSyscalls(nil); err != nil {
		t.Fatal(err)
	}
	if err := p.Attach(); err != nil {
		t.Fatal(err)
	}
	if _, err := live.Snapshot(context.Background(), live.SnapshotConfig{}, pipe.Sink()); err != nil {
		t.Fatal(err)
	}
	pipe.Settled()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- live.Run(ctx, live.RunConfig{Ring: ring, Record: pipe.Record, Idle: pipe.Idle}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		s.look.Close()
		ring.Close()
		p.Close()
		if err := pipe.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// wait returns the fields of the first alert of a rule about a container whose id begins so.
func (s *sensor) wait(rule, id string) map[string]any {
	s.t.Helper()
	return s.waitFor(func(a alert) bool {
		full, _ := a.fields["container.full_id"].(string)
		return a.rule == rule && strings.HasPrefix(full, id)
	})
}

// waitFor returns the fields of the first alert that is wanted.
func (s *sensor) waitFor(wanted func(alert) bool) map[string]any {
	s.t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		s.mu.Lock()
		for _, a := range s.got {
			if wanted(a) {
				s.mu.Unlock()
				return a.fields
			}
		}
		s.mu.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.t.Fatalf("no such alert: %+v; %+v", s.got, s.look.Stats())
	return nil
}

// ran has a program run in a container until the event shows the user by the name that the container has for it, and
// returns that event's fields: a container's users are read a moment after its first process is seen.
func (s *sensor) ran(id string, exec func()) map[string]any {
	s.t.Helper()
	for range 50 {
		exec()
		f := s.wait("ran", id)
		if f["user.name"] != "<NA>" {
			return f
		}
		s.mu.Lock()
		s.got = slices.DeleteFunc(s.got, func(a alert) bool { return a.rule == "ran" })
		s.mu.Unlock()
		time.Sleep(100 * time.Millisecond)
	}
	s.t.Fatalf("the users of %s were never read", id)
	return nil
}

// check compares the fields of an alert with what they should be: a text, nil for missing, or a func(string) bool.
func check(t *testing.T, fields map[string]any, want map[string]any) {
	t.Helper()
	for name, w := range want {
		got, there := fields[name]
		switch w := w.(type) {
		case func(string) bool:
			if s, ok := got.(string); !ok || !w(s) {
				t.Errorf("%s = %v", name, got)
			}
		case nil:
			if got != nil {
				t.Errorf("%s = %v, want nothing", name, got)
			}
		default:
			if !there || fmt.Sprint(got) != fmt.Sprint(w) {
				t.Errorf("%s = %v, want %v", name, got, w)
			}
		}
	}
}

func long(prefix string, n int) func(string) bool {
	return func(s string) bool { return strings.HasPrefix(s, prefix) && len(s) == len(prefix)+n }
}

// TestPodman: a privileged container of Podman's, by its API.
func TestPodman(t *testing.T) {
	p := newPodman(t)
	s := newSensor(t, lookup.Config{Sockets: []lookup.Socket{{Engine: "podman", Path: p.socket}}, Users: true})
	data := filepath.Join(p.dir, "data")
	if err := os.Mkdir(data, 0o755); err != nil {
		t.Fatal(err)
	}
	id := p.start("shop", "--privileged", "-l", "team=core", "-l", "long="+strings.Repeat("x", 200), "-v", data+":/data:ro", image, "/bin/sleep", "600")
	told := s.wait("told", id)
	p.run("exec", "shop", "/bin/busybox", "true", "other")
	ran := s.ran(id, func() { p.run("exec", "--user", "4242:4343", "shop", "/bin/busybox", "true", "marker") })
	for name, f := range map[string]map[string]any{"told": told, "ran": ran, "privileged": s.wait("privileged", id)} {
		t.Log(name, f)
		check(t, f, map[string]any{
			"container.id": id[:12], "container.full_id": id, "container.name": "shop", "container.type": "podman", "container.owner": "system", "container.image": image,
			"container.image.repository": "example.com/box", "container.image.tag": "1.2", "container.image.digest": long("sha256:", 64),
			"container.image.id": long("", 64), "container.privileged": true, "container.host_pid": false, "container.host_network": true,
			"container.host_ipc": false, "container.mounts": data + ":/data::false:rprivate", "container.mount.source[/data]": data,
			"container.label[team]": "core", "container.labels": "team:core", "k8s.pod.name": nil,
		})
	}
	check(t, told, map[string]any{"evt.type": "container", "proc.args": "600"})
	check(t, ran, map[string]any{"evt.type": "execve", "proc.args": "true marker", "user.name": "webmaster", "group.name": "webgroup"})
	if st := s.look.Stats(); st.Answers == 0 || st.Dropped != 0 {
		t.Errorf("%+v", st)
	}

	// What a user calls like it, in a cgroup of theirs, or another container in one of its own, has nothing but its id.
	around := strings.Repeat("a", 64)
	for i, c := range []struct{ above, owner string }{
		{"user.slice/user-64123.slice/user@64123.service", "user:64123"}, {"shikra-test/docker-" + around + ".scope", "container:" + around},
	} {
		procs := cgroup(t, c.above+"/libpod-"+id+".scope")
		arg := fmt.Sprint("marker", i)
		run(t, "/bin/sh", "-c", "echo $$ >"+procs+" && exec /bin/busybox true "+arg)
		f := s.waitFor(func(a alert) bool { return a.rule == "ran" && a.fields["proc.args"] == "true "+arg })
		t.Log(c.above, f)
		check(t, f, map[string]any{
			"container.id": id[:12], "container.full_id": id, "container.type": "podman", "container.owner": c.owner, "container.name": nil, "container.image": nil,
			"container.image.repository": nil, "container.privileged": nil, "container.labels": nil, "container.mounts": nil,
		})
	}
}

// cgroup makes a cgroup in the memory controller's hierarchy and those above it, and returns the file that takes processes.
// What it made goes with the test.
func cgroup(t *testing.T, path string) string {
	t.Helper()
	dir := "/sys/fs/cgroup/memory"
	if _, err := os.Stat(dir); err != nil {
		dir = "/sys/fs/cgroup"
	}
	for _, name := range strings.Split(path, "/") {
		dir = filepath.Join(dir, name)
		err := os.Mkdir(dir, 0o755)
		if os.IsExist(err) {
			continue
		}
		if err != nil {
			testkit.MissingLive(t, "needs to make cgroups: "+err.Error())
		}
		made := dir
		t.Cleanup(func() {
			var err error
			for range 50 { // its last process may be about to go
				if err = os.Remove(made); err == nil {
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
			t.Error(err)
		})
	}
	return filepath.Join(dir, "cgroup.procs")
}

// TestContainerd: a container of ctr's, by containerd's own API, beside a CRI service that doesn't know it.
func TestContainerd(t *testing.T) {
	c := newContainerd(t)
	c.importImage("default", image)
	s := newSensor(t, lookup.Config{Sockets: []lookup.Socket{{Engine: "cri", Path: c.socket}, {Engine: "containerd", Path: c.socket}}, Users: true})
	data := filepath.Join(c.dir, "data")
	if err := os.Mkdir(data, 0o755); err != nil {
		t.Fatal(err)
	}
	const id = "shop-container"
	c.ctr("run", "-d", "--snapshotter", "native", "--label", "team=core", "--mount", "type=bind,src="+data+",dst=/data,options=rbind:ro", image, id, "/bin/sleep", "600")
	t.Cleanup(func() {
		c.ctr("task", "rm", "-f", id)
		c.ctr("container", "rm", id)
	})
	told := s.wait("told", id)
	n := 0
	ran := s.ran(id, func() {
		n++
		c.ctr("task", "exec", "--exec-id", fmt.Sprint("e", n), "--user", "4242:4343", id, "/bin/busybox", "true", "marker")
	})
	for name, f := range map[string]map[string]any{"told": told, "ran": ran} {
		t.Log(name, f)
		check(t, f, map[string]any{
			"container.id": id[:12], "container.full_id": id, "container.name": id[:12], "container.type": "containerd", "container.owner": "namespace:default", "container.image": image,
			"container.image.repository": "example.com/box", "container.image.tag": "1.2", "container.image.digest": long("sha256:", 64),
			"container.privileged": false, "container.host_pid": false, "container.host_network": false, "container.host_ipc": false,
			"container.mounts": func(s string) bool { return strings.HasPrefix(s, data+":/data::false:") }, "container.mount.source[/data]": data,
			"container.label[team]": "core", "k8s.pod.name": nil,
		})
	}
	check(t, ran, map[string]any{"evt.type": "execve", "proc.args": "true marker", "user.name": "webmaster", "group.name": "webgroup"})
	for _, e := range s.look.Stats().Engines {
		if e.Failed != 0 {
			t.Errorf("%+v", e)
		}
	}
}

// criWorks reports whether a CRI service answers at a socket.
func criWorks(socket string) bool {
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return false
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err = cri.NewRuntimeServiceClient(conn).Version(ctx, &cri.VersionRequest{})
	return err == nil
}

// TestPod: a container of a Kubernetes pod, by CRI, made as a kubelet makes it.
func TestPod(t *testing.T) {
	c := newContainerd(t)
	for range 10 { // its CRI service watches a folder, and the machine has few such watches
		if criWorks(c.socket) {
			break
		}
		time.Sleep(time.Second)
		c = newContainerd(t)
	}
	c.importImage("k8s.io", image, "example.com/pause:1")
	s := newSensor(t, lookup.Config{Sockets: []lookup.Socket{{Engine: "cri", Path: c.socket}}, Users: true})
	data := filepath.Join(c.dir, "data")
	if err := os.Mkdir(data, 0o755); err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient("unix://"+c.socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	rt := cri.NewRuntimeServiceClient(conn)
	const uid = "3e41dc6b-08a8-44db-bc2a-3724b18ab19a"
	node := &cri.NamespaceOption{Network: cri.NamespaceMode_NODE, Pid: cri.NamespaceMode_CONTAINER}
	pod := &cri.PodSandboxConfig{
		Metadata:     &cri.PodSandboxMetadata{Name: "shop-0", Namespace: "market", Uid: uid},
		LogDirectory: c.dir,
		Labels:       map[string]string{"tier": "gold", "io.kubernetes.pod.name": "shop-0"},
		Linux: &cri.LinuxPodSandboxConfig{
			CgroupParent: "/kubepods/besteffort/pod" + uid, SecurityContext: &cri.LinuxSandboxSecurityContext{NamespaceOptions: node, Privileged: true},
		},
	}
	box, err := rt.RunPodSandbox(ctx, &cri.RunPodSandboxRequest{Config: pod})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := rt.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: box.PodSandboxId}); err != nil {
			t.Error(err)
		}
		if _, err := rt.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: box.PodSandboxId}); err != nil {
			t.Error(err)
		}
	})
	made, err := rt.CreateContainer(ctx, &cri.CreateContainerRequest{
		PodSandboxId: box.PodSandboxId, SandboxConfig: pod,
		Config: &cri.ContainerConfig{
			Metadata: &cri.ContainerMetadata{Name: "app"}, Image: &cri.ImageSpec{Image: image}, Command: []string{"/bin/sleep", "600"},
			Labels: map[string]string{"team": "core"}, Envs: []*cri.KeyValue{{Key: "COLOUR", Value: []byte("blue")}},
			Mounts: []*cri.Mount{{ContainerPath: "/data", HostPath: data, Readonly: true}},
			Linux: &cri.LinuxContainerConfig{SecurityContext: &cri.LinuxContainerSecurityContext{
				Privileged: true, NamespaceOptions: node, RunAsUser: &cri.Int64Value{Value: 4242},
			}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	id := made.ContainerId
	if _, err := rt.StartContainer(ctx, &cri.StartContainerRequest{ContainerId: id}); err != nil {
		t.Fatal(err)
	}
	told := s.wait("told", id)
	exec := func(arg string) {
		if _, err := rt.ExecSync(ctx, &cri.ExecSyncRequest{ContainerId: id, Cmd: []string{"/bin/busybox", "true", arg}}); err != nil {
			t.Fatal(err)
		}
	}
	exec("other")
	ran := s.ran(id, func() { exec("marker") })
	for name, f := range map[string]map[string]any{"told": told, "ran": ran, "privileged": s.wait("privileged", id)} {
		t.Log(name, f)
		check(t, f, map[string]any{
			"container.id": id[:12], "container.full_id": id, "container.name": "app", "container.type": "containerd", "container.image": image,
			"container.image.repository": "example.com/box", "container.image.tag": "1.2", "container.image.id": long("", 64), "container.privileged": true,
			"container.host_pid": false, "container.host_network": true, "container.mounts": data + ":/data::false:private", "container.label[team]": "core",
			"container.labels": "team:core", "k8s.pod.name": "shop-0", "k8s.ns.name": "market", "k8s.pod.uid": uid,
			"k8s.pod.sandbox_id": box.PodSandboxId[:12], "k8s.pod.label[tier]": "gold", "k8s.pod.labels": "tier:gold",
		})
	}
	check(t, ran, map[string]any{"evt.type": "execve", "proc.args": "true marker", "user.name": "webmaster"})
	// The pod's own container.
	check(t, s.wait("told", box.PodSandboxId), map[string]any{
		"container.id": box.PodSandboxId[:12], "container.name": "shop-0", "container.privileged": true, "k8s.pod.name": "shop-0",
		"k8s.pod.sandbox_id": box.PodSandboxId[:12], "k8s.pod.label[tier]": "gold", "container.type": "containerd",
	})
}
