package compile

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/shikra-sensor/shikra/sensor/internal/rule/ast"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/check"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/parse"
	"github.com/shikra-sensor/shikra/sensor/internal/testkit"
)

// falcoRules returns the rules of the compatibility data, all of them enabled.
func falcoRules(t testing.TB, names ...string) *check.Program {
	t.Helper()
	dir := os.Getenv("SHIKRA_FALCO_DATA")
	if dir == "" {
		testkit.Missing(t, "SHIKRA_FALCO_DATA is not set: the compatibility data is not there")
	}
	var files []*ast.File
	for _, name := range names {
		src, err := os.ReadFile(filepath.Join(dir, "rules", name))
		if err != nil {
			t.Fatal(err)
		}
		f, ds := parse.File(name, src)
		if f == nil {
			t.Fatal(ds.Err())
		}
		for _, r := range f.Rules {
			r.Enabled = true
		}
		files = append(files, f)
	}
	p, ds := check.Check(files, check.Options{})
	if p == nil {
		t.Fatal(ds.Err())
	}
	return p
}

// TestFalcoRules compiles rules that nobody here wrote, and compares with the oracle on random events.
func TestFalcoRules(t *testing.T) {
	for _, names := range [][]string{
		{"falco_rules.yaml"},
		{"falco_rules.yaml", "falco-incubating_rules.yaml", "falco-sandbox_rules.yaml"},
	} {
		p := falcoRules(t, names...)
		start := time.Now()
		code, err := Compile(p, Options{})
		took := time.Since(start)
		if err != nil {
			t.Fatal(err)
		}
		validate(t, code)
		w := newWorld(t, 1)
		u := w.loadModule("auto", code)
		t.Logf("%d rules: %d bytes, compiled in %v; %d columns %q; host %+v", len(p.Rules), len(code), took,
			len(u.refs), u.m.Manifest().Fields, u.m.Times())
		for range 4 {
			w.a.Flushed()
			w.events(256)
			u.extract()
			w.same(p, u.judge(), w.expect(p))
		}
	}
}
