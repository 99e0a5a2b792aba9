package cli

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
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

// inDocs holds what stands in docs/operators.md between the two marks of that name to want.
func inDocs(t *testing.T, name, want string) {
	t.Helper()
	doc := readDoc(t, "docs/operators.md")
	begin, end := "<!-- "+name+" -->\n", "<!-- /"+name+" -->"
	i, j := bytes.Index(doc, []byte(begin)), bytes.Index(doc, []byte(end))
	if i < 0 || j < i {
		t.Fatalf("docs/operators.md: the marks of the %s are missing", name)
	}
	i += len(begin)
	if *update {
		doc = append(append(append([]byte{}, doc[:i]...), want...), doc[j:]...)
		if err := os.WriteFile("../../../docs/operators.md", doc, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(doc[i:j]) != want {
		t.Errorf("docs/operators.md: the %s differ (go test ./sensor/internal/cli -run InDocs -update)", name)
	}
}

// TestKeysInDocs: docs/operators.md lists every key with its default and meaning.
func TestKeysInDocs(t *testing.T) {
	var want strings.Builder
	for _, k := range config.Keys() {
		d := fmt.Sprint(k.Default)
		if d == "" || d == "[]" || d == "map[]" {
			d = "none"
		}
		fmt.Fprintf(&want, "| `%s` | %s | %s |\n", k.Name, d, k.Doc)
	}
	inDocs(t, "keys", want.String())
}

// TestMetricsInDocs: docs/operators.md lists every metric with its labels and meaning, and one that the docs name exists.
func TestMetricsInDocs(t *testing.T) {
	have := map[string]bool{}
	var want []string
	for _, m := range metrics.Table() {
		have["shikra_"+m.Name] = true
		labels := ""
		if len(m.Labels) > 0 {
			labels = "`" + strings.Join(m.Labels, "`, `") + "`"
		}
		help := strings.TrimSuffix(m.Help, ".")
		want = append(want, fmt.Sprintf("| `shikra_%s` | %s | %s |\n", m.Name, labels, strings.ToLower(help[:1])+help[1:]))
	}
	slices.Sort(want)
	inDocs(t, "metrics", strings.Join(want, ""))
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
