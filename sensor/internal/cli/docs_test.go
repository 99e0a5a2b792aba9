package cli

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/shikra-sensor/shikra/sensor/internal/config"
	"github.com/shikra-sensor/shikra/sensor/internal/metrics"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/check"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/load"
)

var update = flag.Bool("update", false, "write the goldens")

func readDoc(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../../..", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestKeysInDocs: docs/operators.md lists every key with its default and meaning.
func TestKeysInDocs(t *testing.T) {
	doc := readDoc(t, "docs/operators.md")
	var want bytes.Buffer
	want.WriteString("<!-- keys -->\n")
	for _, k := range config.Keys() {
		d := fmt.Sprint(k.Default)
		if d == "" || d == "[]" || d == "map[]" {
			d = "none"
		}
		fmt.Fprintf(&want, "| `%s` | %s | %s |\n", k.Name, d, k.Doc)
	}
	want.WriteString("<!-- /keys -->")
	i, j := bytes.Index(doc, []byte("<!-- keys -->")), bytes.Index(doc, []byte("<!-- /keys -->"))
	if i < 0 || j < i {
		t.Fatal("docs/operators.md: the markers are missing")
	}
	j += len("<!-- /keys -->")
	if *update {
		doc = append(append(append([]byte{}, doc[:i]...), want.Bytes()...), doc[j:]...)
		if err := os.WriteFile("../../../docs/operators.md", doc, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(doc[i:j], want.Bytes()) {
		t.Errorf("docs/operators.md: the keys differ (go test ./sensor/internal/cli -run KeysInDocs -update)")
	}
}

// TestMetricsInDocs: a metric that the docs name exists.
func TestMetricsInDocs(t *testing.T) {
	have := map[string]bool{}
	for _, m := range metrics.Table() {
		have["shikra_"+m.Name] = true
	}
	n := 0
	for _, name := range []string{"docs/operators.md", "README.md", "docs/architecture.md"} {
		for _, m := range regexp.MustCompile("`(shikra_[a-z_]+)`").FindAllStringSubmatch(string(readDoc(t, name)), -1) {
			n++
			if !have[m[1]] {
				t.Errorf("%s: there is no metric %s", name, m[1])
			}
		}
	}
	if n == 0 {
		t.Error("no metric found in the docs")
	}
}

// TestRulesInDocs: every rules file shown in the docs checks without error or warning.
func TestRulesInDocs(t *testing.T) {
	n := 0
	for _, name := range []string{"docs/rules.md", "README.md", "modules/edge/README.md"} {
		for _, m := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(readDoc(t, name)), -1) {
			if !strings.Contains(m[1], "- rule:") {
				continue
			}
			n++
			p, ds := load.Check([]load.Source{{Name: name, Data: []byte(m[1])}}, check.Options{})
			if p == nil || len(ds) > 0 {
				t.Errorf("%s:\n%s", name, ds.Err())
				for _, d := range ds {
					t.Log(d.Text())
				}
			}
		}
	}
	if n == 0 {
		t.Error("no rules found in the docs")
	}
}
