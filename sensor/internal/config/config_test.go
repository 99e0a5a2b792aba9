package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func write(t *testing.T, name, text string) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestDefaultsRoundTrip(t *testing.T) {
	c, err := Load(Options{File: write(t, "a.yaml", "")})
	if err != nil {
		t.Fatal(err)
	}
	if c.Outputs.Stdout.Format != "text" || !c.Rules.Builtin || c.Probe.RingBytes != 8<<20 || c.HTTP.Listen != "127.0.0.1:9476" {
		t.Errorf("defaults: %+v", c)
	}
	y, err := c.YAML()
	if err != nil {
		t.Fatal(err)
	}
	d, err := Load(Options{File: write(t, "b.yaml", string(y))})
	if err != nil {
		t.Fatalf("what show prints isn't accepted: %v\n%s", err, y)
	}
	c.Sources, d.Sources = nil, nil
	if !reflect.DeepEqual(c, d) {
		t.Errorf("round trip:\n%+v\n%+v", c, d)
	}
	for _, k := range Keys() {
		if k.Doc == "" {
			t.Errorf("%s has no doc", k.Name)
		}
		if !strings.Contains(string(y), k.Name[strings.LastIndexByte(k.Name, '.')+1:]+":") {
			t.Errorf("show doesn't print %s", k.Name)
		}
	}
}

func TestPrecedence(t *testing.T) {
	f := write(t, "shikra.yaml", "log: {level: warn, format: json}\nnode: {id: from-file}\nrules: {files: [a.yaml]}\n")
	if err := os.Mkdir(filepath.Join(filepath.Dir(f), "config.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(f), "config.d", "10-node.yaml"), []byte("node: {id: from-dropin}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(Options{
		File:      f,
		Env:       []string{"SHIKRA_LOG_LEVEL=error", "SHIKRA_PROBE_RING_BYTES=1048576", "PATH=/bin", "SHIKRA_FALCO_DATA=x"},
		Overrides: []string{"log.level=debug", "node.labels=site=a,rack=7", "rules.disable=One rule,Another"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.Log.Level != "debug" || c.Log.Format != "json" || c.Node.ID != "from-dropin" || c.Probe.RingBytes != 1<<20 {
		t.Errorf("%+v", c)
	}
	if !reflect.DeepEqual(c.Node.Labels, map[string]string{"site": "a", "rack": "7"}) || !reflect.DeepEqual(c.Rules.Disable, []string{"One rule", "Another"}) {
		t.Errorf("%+v %+v", c.Node.Labels, c.Rules)
	}
}

func TestErrors(t *testing.T) {
	for _, tc := range []struct {
		name, file string
		env, over  []string
		want       []string
	}{
		{"unknown key", "log:\n  levle: info\n", nil, nil, []string{":2:3: log.levle: unknown key", "did you mean log.level?"}},
		{"unknown section", "outputz: 1\n", nil, nil, []string{":1:1: outputz: unknown key"}},
		{"two at once", "a: 1\nb: 2\n", nil, nil, []string{"a: unknown key", "b: unknown key"}},
		{"scalar for section", "log: info\n", nil, nil, []string{":1:6: log: want keys and values"}},
		{"bad yaml", "log: [\n", nil, nil, []string{"line"}},
		{"range", "probe: {ring_bytes: 3000000}\n", nil, nil, []string{"probe.ring_bytes: 3000000 isn't a power of two"}},
		{"enum", "log: {format: xml}\n", nil, nil, []string{`log.format: "xml" is none of text, json`}},
		{"type", "", nil, []string{"probe.ring_bytes=many"}, []string{"command line: -o probe.ring_bytes: many isn't a whole number"}},
		{"type in a file", "rules: {builtin: perhaps}\n", nil, nil, []string{":1:9: rules.builtin: perhaps is neither true nor false"}},
		{"overflow", "state: {files: 99999999999999999999}\n", nil, nil, []string{":1:9: state.files: "}},
		{"map for text", "node: {id: {a: b}}\n", nil, nil, []string{"node.id: is one text"}},
		{"text for map", "node: {labels: x}\n", nil, nil, []string{"node.labels: is a map"}},
		{"share", "", nil, []string{"loss.threshold=1.5"}, []string{"-o loss.threshold: 1.5 is not between 0 and 1"}},
		{"not a number", "loss: {rate: often}\n", nil, nil, []string{"loss.rate: often isn't a number"}},
		{"NaN", "", nil, []string{"loss.rate=NaN"}, []string{"loss.rate: NaN is not between"}},
		{"ignore and more", "loss: {actions: [ignore, log]}\n", nil, nil, []string{"loss.actions: ignore goes with no other action"}},
		{"no action", "loss: {actions: []}\n", nil, nil, []string{"loss.actions: name at least one"}},
		{"unknown action", "", nil, []string{"loss.actions=log,mail"}, []string{`"mail" is none of ignore, log, alert, exit`}},
		{"port", "", nil, []string{"http.listen=127.0.0.1:99999"}, []string{"port \"99999\" is not between"}},
		{"env", "", []string{"SHIKRA_LOG_LEVL=info"}, nil, []string{"environment: SHIKRA_LOG_LEVL: unknown key", "log.level"}},
		{"override", "", nil, []string{"nope=1"}, []string{"command line: -o nope: unknown key"}},
		{"override without value", "", nil, []string{"log.level"}, []string{"want key=value"}},
		{"listen", "", nil, []string{"http.listen=9476"}, []string{"http.listen", "missing port"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := Load(Options{File: write(t, "shikra.yaml", tc.file), Env: tc.env, Overrides: tc.over})
			if err == nil {
				t.Fatalf("no error: %+v", c)
			}
			for _, w := range tc.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q doesn't contain %q", err, w)
				}
			}
		})
	}
	if _, err := Load(Options{File: "/nonexistent/shikra.yaml"}); err == nil {
		t.Error("a missing named file is accepted")
	}
	if _, err := Load(Options{File: t.TempDir()}); err == nil {
		t.Error("a folder is accepted")
	}
}

func FuzzFile(f *testing.F) {
	f.Add("log: {level: info}")
	f.Add("a: &a [*a]")
	f.Add("node: {labels: {1: 2}}")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := Load(Options{File: write(t, "f.yaml", s)})
		if (err == nil) != (c != nil) {
			t.Fatalf("%v %v", c, err)
		}
	})
}
