package container

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestSetImage(t *testing.T) {
	digest := "sha256:" + strings.Repeat("a", 64)
	for ref, want := range map[string]Info{
		"web":                                {Repository: "web"},
		"web:1.2":                            {Repository: "web", Tag: "1.2"},
		"example.com/a/web:1.2":              {Repository: "example.com/a/web", Tag: "1.2"},
		"example.com:5000/web":               {Repository: "example.com:5000/web"},
		"example.com:5000/web:1.2":           {Repository: "example.com:5000/web", Tag: "1.2"},
		"example.com:5000/web:1.2@" + digest: {Repository: "example.com:5000/web", Tag: "1.2", Digest: digest},
		"example.com/web@" + digest:          {Repository: "example.com/web", Digest: digest},
		digest:                               {ImageID: strings.Repeat("a", 64)},
		"":                                   {},
		"@":                                  {},
		"web@nothing":                        {Repository: "web"},
		"localhost/sha256:" + "short":        {Repository: "localhost/sha256", Tag: "short"},
	} {
		want.Image = ref
		var got Info
		if got.SetImage(ref); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, want %+v", ref, got, want)
		}
	}
}

func full() *Info {
	return &Info{
		ID: id64[:12], FullID: id64, Owner: "user:1000", Owned: true, Kind: KindPodman, Name: "web", Image: "example.com/web:1.2", ImageID: id64, Repository: "example.com/web",
		Tag: "1.2", Digest: "sha256:" + id64, User: "www", IP: "192.0.2.7", CNI: `[{"name":"eth0"}]`, Privileged: true, HostPID: true, HostNetwork: true,
		HostIPC: true, Sandbox: true, SandboxID: id64, Labels: []Label{{"app", "web"}, {"team", ""}}, PodLabels: []Label{{"tier", "front"}},
		Mounts: []Mount{{"/srv", "/data", "z", true, "rprivate"}}, Env: []string{"A=b"}, Created: 1730977803, Memory: 1, Swap: 2, CPUShares: 3,
		CPUQuota: 4, CPUPeriod: 5, CPUSetSize: 6, Ports: []Port{{HostIP: 1, HostPort: 80, ContainerPort: 8080}},
	}
}

func TestJSONRoundTrip(t *testing.T) {
	for kind := uint32(0); kind < kinds; kind++ {
		in := full()
		in.Kind = kind
		out, err := ParseJSON(append(in.AppendJSON(nil), 0))
		if kind == KindNspawn {
			in.Kind = KindOther // captures have no number for it
		}
		if err != nil || !reflect.DeepEqual(in, out) {
			t.Errorf("kind %d: %v\n got %+v\nwant %+v", kind, err, out, in)
		}
		// One of the system's is told from one of which nothing is told.
		for _, in.Owned = range []bool{true, false} {
			in.Owner = ""
			if out, err := ParseJSON(in.AppendJSON(nil)); err != nil || !reflect.DeepEqual(in, out) {
				t.Errorf("without an owner: %v\n got %+v\nwant %+v", err, out, in)
			}
		}
	}
}

// TestJSONOfOthers reads what another program's capture holds.
func TestJSONOfOthers(t *testing.T) {
	in, err := ParseJSON([]byte(`{"container":{"Mounts":[],"User":"<NA>","cni_json":"","created_time":1730971086,"env":[],"full_id":"","host_ipc":false,
		"id":"32a1026ccb88","image":"web:38","lookup_state":1,"labels":null,"pod_sandbox_labels":null,"port_mappings":[],"size":-1,"type":0,"later":{"a":[1]}}}`))
	if err != nil || in.ID != "32a1026ccb88" || in.Kind != KindDocker || in.Image != "web:38" || len(in.Labels) != 0 {
		t.Errorf("%+v, %v", in, err)
	}
	for _, bad := range []string{"", "{", "[]", "null", `{"container":null}`, `{"container":{}}`, `{"container":{"id":7}}`, `{"container":{"id":"a","labels":[]}}`,
		`{"container":{"id":"a","Mounts":[{"RW":"yes"}]}}`, `{"container":` + strings.Repeat(`{"a":`, 20000)} {
		if in, err := ParseJSON([]byte(bad)); err == nil || in != nil {
			t.Errorf("%.60q: %+v, want an error", bad, in)
		}
	}
}

// TestBound: whatever a runtime says, it fits a record.
func TestBound(t *testing.T) {
	in := full()
	long := strings.Repeat("\x01", 100<<10)
	in.Name, in.Image, in.Repository, in.CNI, in.Tag = long, long, long, long, long
	m := map[string]string{}
	for i := range 5000 {
		m[fmt.Sprintf("label%d", i)] = strings.Repeat("v", 100)
		in.Mounts = append(in.Mounts, Mount{Source: long, Destination: "/" + long})
		in.Env = append(in.Env, long)
		in.Ports = append(in.Ports, Port{})
	}
	m["huge"] = long
	var left int
	in.Labels, left = SetLabels(m, 100)
	if left != 5001-maxLabels || len(in.Labels) != maxLabels {
		t.Errorf("%d labels, %d left out", len(in.Labels), left)
	}
	if in.Bound() == 0 {
		t.Error("nothing was left out")
	}
	b := in.AppendJSON(nil)
	if len(b) > maxJSON || !json.Valid(b) {
		t.Errorf("%d bytes", len(b))
	}
	if in.FullID != id64 || !in.Privileged {
		t.Error("what matters is gone")
	}
	small := full()
	if n := small.Bound(); n != 0 || !reflect.DeepEqual(small, full()) {
		t.Errorf("%d things left out of a small one", n)
	}
}

func TestAppendLabels(t *testing.T) {
	in := Info{Labels: []Label{{"annotation.x", "1"}, {"app", "web"}, {"io.kubernetes.pod.name", "p"}, {"team", ""}}}
	if got := string(AppendLabels(nil, in.Labels)); got != "app:web, team" {
		t.Errorf("%q", got)
	}
	if v, ok := in.Label("io.kubernetes.pod.name"); v != "p" || !ok {
		t.Errorf("%q %v", v, ok)
	}
	if _, ok := in.Label("ap"); ok {
		t.Error("found a label that isn't there")
	}
}

// FuzzJSON: an error or an Info that comes back the same.
func FuzzJSON(f *testing.F) {
	f.Add(full().AppendJSON(nil))
	f.Add([]byte(`{"container":{"id":"x","labels":{"":"\ud800"},"env":[null]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		in, err := ParseJSON(b)
		if (err == nil) != (in != nil) {
			t.Fatalf("%v, %+v", err, in)
		}
		if in == nil {
			return
		}
		out := in.AppendJSON(nil)
		if len(out) > maxJSON {
			t.Fatalf("%d bytes", len(out))
		}
		again, err := ParseJSON(out)
		if err != nil || string(again.AppendJSON(nil)) != string(out) {
			t.Fatalf("%v\n%s\n%s", err, out, again.AppendJSON(nil))
		}
	})
}
