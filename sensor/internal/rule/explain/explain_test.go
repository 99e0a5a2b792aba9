package explain

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/shikra-sensor/shikra/sensor/internal/rule/ast"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/check"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/parse"
)

var update = flag.Bool("update", false, "write the goldens anew")

func rules(t *testing.T, src []byte) []*check.Rule {
	t.Helper()
	f, ds := parse.File("rules.yaml", src)
	if f == nil {
		t.Fatal(ds.Err())
	}
	p, ds := check.Check([]*ast.File{f}, check.Options{})
	if p == nil {
		t.Fatal(ds.Err())
	}
	return p.Rules
}

// TestGolden compares the explanations of testdata/rules.yaml, as text and as JSON, with what stands beside it.
func TestGolden(t *testing.T) {
	src, err := os.ReadFile("testdata/rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var text, js bytes.Buffer
	enc := json.NewEncoder(&js)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	for _, r := range rules(t, src) {
		x := Explain(r)
		if err := x.WriteText(&text); err != nil {
			t.Fatal(err)
		}
		if r.Name == "Read of a secret" {
			if err := enc.Encode(x); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, got := range map[string][]byte{"testdata/rules.txt": text.Bytes(), "testdata/rules.json": js.Bytes()} {
		if *update {
			if err := os.WriteFile(name, got, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s differs (go test -update writes it anew), got:\n%s", name, got)
		}
	}
}

// TestCondition checks that the normal form means what the condition meant, by making it once more from itself.
func TestCondition(t *testing.T) {
	for _, cond := range []string{
		"proc.name = a and (proc.pid = 1 or not (proc.pid = 2 and proc.name != b)) and not not fd.sip = 192.0.2.1",
		"not (proc.name in (a, 'b c') or fd.name glob '*(x)*' or not proc.pid > -5)",
		"(proc.name = a or proc.name = b) and (proc.name = c or (proc.name = d and evt.is_open_read = true))",
		"fd.net = 10.0.0.0/8 or fd.port = 22 or proc.duration > 5s",
	} {
		once := Condition(rules(t, []byte("- {rule: r, desc: d, output: o, priority: INFO, condition: "+ast.Quote(cond)+"}"))[0].Cond)
		twice := Condition(rules(t, []byte("- {rule: r, desc: d, output: o, priority: INFO, condition: "+ast.Quote(once)+"}"))[0].Cond)
		if once != twice || strings.Contains(once, "not (") {
			t.Errorf("%s\n  is %s\n then %s", cond, once, twice)
		}
	}
}
