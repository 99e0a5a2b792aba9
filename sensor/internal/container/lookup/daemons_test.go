package lookup_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shikra-sensor/shikra/sensor/internal/testkit"
)

// image is the image that the tests' containers are made of: a static busybox, and users of its own.
const image = "example.com/box:1.2"

// need skips the test, or fails it where nothing may be missing, when a program isn't installed or the test isn't root.
func need(t *testing.T, programs ...string) {
	t.Helper()
	if os.Geteuid() != 0 {
		testkit.MissingLive(t, "needs root for containers")
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			testkit.MissingLive(t, "needs "+p)
		}
	}
}

// folder makes a folder with a short name: paths of sockets are short.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ct")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// Podman cleans up after a container in a process of its own, which may still write.
		var err error
		for range 50 {
			if err = os.RemoveAll(dir); err == nil {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
		t.Error(err)
	})
	return dir
}

// layer is the image's files as an archive.
func layer(t *testing.T) []byte {
	t.Helper()
	box, err := os.ReadFile("/bin/busybox")
	if err != nil {
		testkit.MissingLive(t, "needs busybox-static")
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	put := func(h *tar.Header, content []byte) {
		h.Size, h.ModTime = int64(len(content)), time.Unix(1, 0)
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"bin/", "etc/", "proc/", "sys/", "dev/", "tmp/", "data/"} {
		put(&tar.Header{Name: d, Typeflag: tar.TypeDir, Mode: 0o755}, nil)
	}
	put(&tar.Header{Name: "bin/busybox", Typeflag: tar.TypeReg, Mode: 0o755}, box)
	for _, n := range []string{"sh", "sleep", "true", "id"} {
		put(&tar.Header{Name: "bin/" + n, Typeflag: tar.TypeSymlink, Linkname: "busybox"}, nil)
	}
	put(&tar.Header{Name: "etc/passwd", Typeflag: tar.TypeReg, Mode: 0o644}, []byte("root:x:0:0:root:/root:/bin/sh\nwebmaster:x:4242:4343::/srv/web:/bin/false\n"))
	put(&tar.Header{Name: "etc/group", Typeflag: tar.TypeReg, Mode: 0o644}, []byte("root:x:0:\nwebgroup:x:4343:\n"))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// archive is the image with its metadata, in the form that `docker save` makes.
func archive(t *testing.T, names ...string) []byte {
	t.Helper()
	l := layer(t)
	js := func(v any) []byte {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	conf := js(map[string]any{
		"architecture": goarch, "os": "linux", "config": map[string]any{"Cmd": []string{"/bin/sleep", "600"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{fmt.Sprintf("sha256:%x", sha256.Sum256(l))}},
	})
	files := map[string][]byte{
		"layer.tar": l, "config.json": conf,
		"manifest.json": js([]any{map[string]any{"Config": "config.json", "RepoTags": names, "Layers": []string{"layer.tar"}}}),
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, n := range []string{"layer.tar", "config.json", "manifest.json"} {
		if err := w.WriteHeader(&tar.Header{Name: n, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(files[n]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(files[n]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// run runs a program to its end and returns what it printed.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = 5 * time.Second
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out.String(), errs.String())
	}
	return strings.TrimSpace(out.String())
}

// daemon starts a program, waits until it listens at socket, and ends it with the test.
func daemon(t *testing.T, socket, name string, args ...string) {
	t.Helper()
	log, err := os.Create(filepath.Join(filepath.Dir(socket), name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
			t.Errorf("%s didn't end by itself", name)
		}
		if b, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("%s:\n%s", name, tail(b))
		}
		log.Close()
	})
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		c, err := net.Dial("unix", socket)
		if err == nil {
			c.Close()
			return
		}
		select {
		case <-ended:
			t.Fatalf("%s ended: %v", name, err)
		default:
		}
		if time.Now().After(end) {
			t.Fatalf("%s doesn't listen: %v", name, err)
		}
	}
}

func tail(b []byte) []byte { return b[max(0, len(b)-4000):] }

// podman is a Podman whose files are the test's own.
type podman struct {
	t      *testing.T
	dir    string
	socket string
}

// newPodman starts Podman's API service with the image in its store.
func newPodman(t *testing.T) *podman {
	need(t, "podman", "runc", "conmon", "busybox")
	p := &podman{t: t, dir: folder(t)}
	p.socket = filepath.Join(p.dir, "podman.sock")
	l := filepath.Join(p.dir, "layer.tar")
	if err := os.WriteFile(l, layer(t), 0o600); err != nil {
		t.Fatal(err)
	}
	p.run("import", "--change", "CMD=[\"/bin/sh\"]", l, image)
	daemon(t, p.socket, "podman", p.args("system", "service", "-t", "0", "unix://"+p.socket)...)
	return p
}

func (p *podman) args(args ...string) []string {
	in := func(s string) string { return filepath.Join(p.dir, s) }
	return append([]string{"--root", in("store"), "--runroot", in("run"), "--tmpdir", in("tmp"), "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs",
		"--events-backend", "none", "--runtime", "runc"}, args...)
}

func (p *podman) run(args ...string) string {
	p.t.Helper()
	return run(p.t, "podman", p.args(args...)...)
}

// start runs a container in the background, removed with the test. Limits that a sensor's own container can't raise are
// set to what every process may have.
func (p *podman) start(name string, args ...string) (id string) {
	p.t.Helper()
	id = p.run(append([]string{"run", "-d", "--network", "host", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000", "--name", name}, args...)...)
	p.t.Cleanup(func() { p.run("rm", "-f", "-t", "0", name) })
	return id
}

// containerd is a containerd with its CRI service, whose files are the test's own.
type containerd struct {
	t      *testing.T
	dir    string
	socket string
}

func newContainerd(t *testing.T) *containerd {
	need(t, "containerd", "containerd-shim-runc-v2", "ctr", "runc", "busybox")
	c := &containerd{t: t, dir: folder(t)}
	c.socket = filepath.Join(c.dir, "containerd.sock")
	conf := strings.NewReplacer("DIR", c.dir).Replace(`version = 2
root = "DIR/root"
state = "DIR/state"
[grpc]
  address = "DIR/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "example.com/pause:1"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "DIR/none"
    conf_dir = "DIR/none"
[plugins."io.containerd.internal.v1.opt"]
  path = "DIR/opt"
`)
	if err := os.WriteFile(filepath.Join(c.dir, "config.toml"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	daemon(t, c.socket, "containerd", "-c", filepath.Join(c.dir, "config.toml"))
	return c
}

func (c *containerd) ctr(args ...string) string {
	c.t.Helper()
	return run(c.t, "ctr", append([]string{"-a", c.socket}, args...)...)
}

// importImage puts the image into one of containerd's namespaces, under some names.
func (c *containerd) importImage(namespace string, names ...string) {
	c.t.Helper()
	file := filepath.Join(c.dir, namespace+".tar")
	if err := os.WriteFile(file, archive(c.t, names...), 0o600); err != nil {
		c.t.Fatal(err)
	}
	c.ctr("-n", namespace, "image", "import", "--snapshotter", "native", file)
}
