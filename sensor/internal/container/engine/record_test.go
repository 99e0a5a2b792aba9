package engine

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/shikra-sensor/shikra/sensor/internal/container"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var update = flag.Bool("update", false, "write what is read of the recorded answers")

// ids of the recorded containers.
const (
	boxID = "6f1d2c3b4a5968778695a4b3c2d1e0f00112233445566778899aabbccddeeff0"
	podID = "0ffeeddccbbaa99887766554433221100f0e1d2c3b4a5968778695a4b3c2d1e0"
)

// folder makes a folder with a short name: paths of sockets are short.
func folder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "en")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// listen serves h at a socket and returns how to reach it.
func listen(t testing.TB, h http.Handler) Config {
	t.Helper()
	root := folder(t)
	l, err := net.Listen("unix", filepath.Join(root, "s.sock"))
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: time.Second}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Close() })
	return Config{Root: root, Socket: "/s.sock", LabelMax: 100}
}

// recorded reads a file of testdata.
func recorded(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// golden compares an Info with what testdata says is read.
func golden(t *testing.T, name string, in *container.Info) {
	t.Helper()
	b, err := json.MarshalIndent(in, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	b = append(b, '\n')
	file := filepath.Join("testdata", name+".info.json")
	if *update {
		if err := os.WriteFile(file, b, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want := recorded(t, name+".info.json"); string(b) != string(want) {
		t.Errorf("%s: got %s\nwant %s", name, b, want)
	}
}

// recordedDocker answers as Docker's API does, with what stands in testdata.
func recordedDocker(t testing.TB, name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/containers/"+boxID+"/json"):
			w.Write(recorded(t, name+".container.json"))
		case strings.HasPrefix(r.URL.Path, "/images/"):
			w.Write(recorded(t, name+".image.json"))
		default:
			http.Error(w, `{"message":"no such container"}`, http.StatusNotFound)
		}
	})
}

func TestDockerRecorded(t *testing.T) {
	for _, name := range []string{"docker", "podman"} {
		cfg := listen(t, recordedDocker(t, name))
		e := NewDocker(cfg)
		if name == "podman" {
			e = NewPodman(cfg)
		}
		in, err := e.Get(context.Background(), boxID, "")
		if err != nil {
			t.Fatal(name, err)
		}
		golden(t, name, in)
		if _, err := e.Get(context.Background(), podID, ""); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
		e.Close()
		if _, err := e.Get(context.Background(), boxID, ""); err != nil {
			t.Errorf("%s: after Close: %v", name, err)
		}
		e.Close()
	}
}

// recordedCRI answers as a CRI runtime does, with what stands in testdata.
type recordedCRI struct {
	cri.UnimplementedRuntimeServiceServer
	t    testing.TB
	name string
}

func (r *recordedCRI) read(what string, m interface {
	ProtoReflect() protoreflect.Message
}) error {
	return protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(recorded(r.t, r.name+"."+what+".json"), m)
}

func (r *recordedCRI) Version(context.Context, *cri.VersionRequest) (*cri.VersionResponse, error) {
	return &cri.VersionResponse{RuntimeName: r.name}, nil
}

func (r *recordedCRI) ListContainers(_ context.Context, q *cri.ListContainersRequest) (*cri.ListContainersResponse, error) {
	if q.Filter.GetId() != boxID {
		return &cri.ListContainersResponse{}, nil
	}
	return &cri.ListContainersResponse{Containers: []*cri.Container{{Id: boxID, PodSandboxId: podID}}}, nil
}

func (r *recordedCRI) ListPodSandbox(_ context.Context, q *cri.ListPodSandboxRequest) (*cri.ListPodSandboxResponse, error) {
	if q.Filter.GetId() != podID {
		return &cri.ListPodSandboxResponse{}, nil
	}
	return &cri.ListPodSandboxResponse{Items: []*cri.PodSandbox{{Id: podID}}}, nil
}

func (r *recordedCRI) ContainerStatus(context.Context, *cri.ContainerStatusRequest) (*cri.ContainerStatusResponse, error) {
	m := &cri.ContainerStatusResponse{}
	return m, r.read("container", m)
}

func (r *recordedCRI) PodSandboxStatus(context.Context, *cri.PodSandboxStatusRequest) (*cri.PodSandboxStatusResponse, error) {
	m := &cri.PodSandboxStatusResponse{}
	return m, r.read("pod", m)
}

// serve serves a CRI and returns how to reach it.
func serve(t testing.TB, srv cri.RuntimeServiceServer) Config {
	t.Helper()
	root := folder(t)
	l, err := net.Listen("unix", filepath.Join(root, "s.sock"))
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	if srv != nil {
		cri.RegisterRuntimeServiceServer(g, srv)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = g.Serve(l) }()
	t.Cleanup(func() { g.Stop(); <-done })
	return Config{Root: root, Socket: "/s.sock", LabelMax: 100}
}

func TestCRIRecorded(t *testing.T) {
	for _, name := range []string{"containerd", "cri-o"} {
		e := NewCRI(serve(t, &recordedCRI{t: t, name: name}))
		in, err := e.Get(context.Background(), boxID, "")
		if err != nil {
			t.Fatal(name, err)
		}
		golden(t, name, in)
		if in, err = e.Get(context.Background(), podID, ""); err != nil {
			t.Fatal(name, err)
		}
		golden(t, name+".sandbox", in)
		if _, err := e.Get(context.Background(), "none", ""); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
		e.Close()
	}
}

// TestHostileDocker: whatever a socket answers, there is an error or a bounded Info, in time.
func TestHostileDocker(t *testing.T) {
	huge := strings.Repeat("x", 4<<20)
	long, _ := json.Marshal(map[string]any{"Id": boxID, "Name": strings.Repeat("n", 200<<10), "Config": map[string]any{"Image": strings.Repeat("i/", 100<<10),
		"Env": strings.Split(strings.Repeat("A=b,", 50000), ","), "Labels": map[string]string{"a": strings.Repeat("l", 90), "b": strings.Repeat("l", 101)}}})
	for name, body := range map[string]string{
		"empty": "", "no JSON": "<html>", "huge": `{"Id":"` + huge + `"}`, "deep": `{"Mounts":` + strings.Repeat("[", 200000), "array": "[]", "types": `{"Id":7}`,
		"wrong labels": `{"Id":"` + boxID + `","Config":{"Labels":[1]}}`, "another": `{"Id":"` + podID + `"}`, "null": "null",
	} {
		e := NewDocker(listen(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) })))
		if in, err := e.Get(context.Background(), boxID, ""); err == nil || in != nil {
			t.Errorf("%s: %+v", name, in)
		}
		e.Close()
	}
	for name, h := range map[string]http.HandlerFunc{
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://example.com/", http.StatusFound)
		},
		"error":   func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusInternalServerError) },
		"headers": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", huge) },
		"slow":    func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"broken": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, "{")
		},
	} {
		e := NewDocker(listen(t, h))
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		start := time.Now()
		if in, err := e.Get(ctx, boxID, ""); err == nil || in != nil || errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %+v, %v", name, in, err)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%s took %v", name, took)
		}
		cancel()
		e.Close()
	}
	e := NewDocker(listen(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(long) })))
	in, err := e.Get(context.Background(), boxID, "")
	if err != nil {
		t.Fatal(err)
	}
	if n := len(in.AppendJSON(nil)); n > 60<<10 || len(in.Labels) != 1 {
		t.Errorf("%d bytes, labels %v", n, in.Labels)
	}
	e.Close()
}

// hostileCRI answers as each field says.
type hostileCRI struct {
	recordedCRI
	status *cri.ContainerStatusResponse
	err    error
	wait   bool
}

func (h *hostileCRI) ContainerStatus(ctx context.Context, _ *cri.ContainerStatusRequest) (*cri.ContainerStatusResponse, error) {
	if h.wait {
		<-ctx.Done()
	}
	return h.status, h.err
}

func TestHostileCRI(t *testing.T) {
	rec := recordedCRI{t: t, name: "containerd"}
	big := strings.Repeat("x", 3<<20)
	for name, h := range map[string]*hostileCRI{
		"no status": {status: &cri.ContainerStatusResponse{}},
		"huge":      {status: &cri.ContainerStatusResponse{Info: map[string]string{"info": big}, Status: &cri.ContainerStatus{}}},
		"error":     {err: status.Error(codes.Internal, "no")},
		"slow":      {wait: true},
	} {
		h.recordedCRI = rec
		e := NewCRI(serve(t, h))
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		if in, err := e.Get(ctx, boxID, ""); err == nil || in != nil || errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %+v, %v", name, in, err)
		}
		cancel()
		e.Close()
	}
	// What a status lacks, and what isn't JSON, is not missed.
	e := NewCRI(serve(t, &hostileCRI{recordedCRI: rec, status: &cri.ContainerStatusResponse{
		Status: &cri.ContainerStatus{Mounts: []*cri.Mount{nil, {}}}, Info: map[string]string{"info": "{{{"},
	}}))
	if in, err := e.Get(context.Background(), boxID, ""); err != nil || in.FullID != boxID {
		t.Errorf("%+v, %v", in, err)
	}
	e.Close()
	// No CRI at all, and nobody there.
	e = NewCRI(serve(t, nil))
	if _, err := e.Get(context.Background(), boxID, ""); !errors.Is(err, ErrNotFound) {
		t.Errorf("no service: %v", err)
	}
	e.Close()
	e = NewContainerd(Config{Root: folder(t), Socket: "/none"})
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if _, err := e.Get(ctx, boxID, ""); err == nil || errors.Is(err, ErrNotFound) {
		t.Errorf("nobody there: %v", err)
	}
	e.Close()
}

func TestCPUs(t *testing.T) {
	for s, want := range map[string]int64{"": 0, "0": 1, "0-3": 4, "0-1,7": 3, " 2 , 4-5": 3, "3-1": 0, "a": 0, "1-": 0, strings.Repeat("1,", 5000): 0} {
		if got := cpus(s); got != want {
			t.Errorf("%.20q: %d, want %d", s, got, want)
		}
	}
}

// FuzzDocker: an answer is an error or gives an Info that captures hold and give back.
func FuzzDocker(f *testing.F) {
	f.Add(recorded(f, "docker.container.json"), recorded(f, "docker.image.json"))
	f.Add(recorded(f, "podman.container.json"), recorded(f, "podman.image.json"))
	d := newDocker(Config{LabelMax: 100}, "docker", container.KindDocker)
	f.Fuzz(func(t *testing.T, c, i []byte) {
		var dc dockerContainer
		var di dockerImage
		if json.Unmarshal(c, &dc) != nil || json.Unmarshal(i, &di) != nil {
			return
		}
		in := d.info(&dc, &di)
		in.Bound()
		roundTrip(t, in)
	})
}

// FuzzCRI does the same for the JSON that a CRI runtime adds to a status.
func FuzzCRI(f *testing.F) {
	var st cri.ContainerStatusResponse
	rec := &recordedCRI{t: f, name: "containerd"}
	if err := rec.read("container", &st); err != nil {
		f.Fatal(err)
	}
	f.Add(st.Info["info"], "sha256:00", "example.com/a@sha256:11")
	f.Add(`{"config":{"image":{"image":"x"}},"cniResult":{"Interfaces":{"lo":{},"eth0":[1]}}}`, "", "")
	f.Fuzz(func(t *testing.T, info, image, ref string) {
		m := map[string]string{"info": info}
		in := containerInfo(boxID, &cri.ContainerStatusResponse{Status: &cri.ContainerStatus{Image: &cri.ImageSpec{Image: image}, ImageRef: ref}, Info: m},
			&cri.PodSandboxStatusResponse{Status: &cri.PodSandboxStatus{}, Info: m}, 100)
		in.Bound()
		roundTrip(t, in)
	})
}

func roundTrip(t *testing.T, in *container.Info) {
	t.Helper()
	if in.FullID == "" && in.ID == "" {
		return
	}
	b := in.AppendJSON(nil)
	out, err := container.ParseJSON(b)
	if err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	if again := out.AppendJSON(nil); !reflect.DeepEqual(b, again) {
		t.Fatalf("%s\n%s", b, again)
	}
}
