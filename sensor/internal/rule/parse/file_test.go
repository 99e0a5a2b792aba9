package parse

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shikra-sensor/shikra/sensor/internal/rule/ast"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/ruletest"
)

// TestFalcoRules reads the rules files of the compatibility data and those of its cases.
func TestFalcoRules(t *testing.T) {
	dir := ruletest.FalcoData(t)
	want := map[string]int{"falco_rules.yaml": 25, "falco-incubating_rules.yaml": 31, "falco-sandbox_rules.yaml": 37}
	files, _ := filepath.Glob(filepath.Join(dir, "rules", "*.yaml"))
	cases, _ := filepath.Glob(filepath.Join(dir, "cases", "*.yaml"))
	if len(files) != len(want) || len(cases) != 28 {
		t.Fatalf("%d rules files and %d cases, expected %d and 28", len(files), len(cases), len(want))
	}
	rules := 0
	for _, name := range append(files, cases...) {
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		f, ds := File(filepath.Base(name), src)
		for _, d := range ds {
			t.Error(d.Text())
		}
		if f == nil {
			continue
		}
		if n := want[filepath.Base(name)]; n != 0 {
			if len(f.Rules) != n {
				t.Errorf("%s: %d rules, expected %d", name, len(f.Rules), n)
			}
			rules += len(f.Rules)
		}
		for _, m := range f.Macros {
			roundTrip(t, m.Condition)
			checkPlaces(t, src, m.Condition)
		}
		for _, r := range f.Rules {
			if r.Condition != nil {
				roundTrip(t, r.Condition)
				checkPlaces(t, src, r.Condition)
			}
		}
	}
	t.Logf("%d rules and %d case files parse", rules, len(cases))
}

// checkPlaces compares every field, operator, value and macro name of x with what stands at its place in the file.
func checkPlaces(t *testing.T, src []byte, x ast.Expr) {
	t.Helper()
	at := func(p ast.Pos) string {
		line := ast.Line(src, p.Line)
		if p.Col < 1 || p.Col > len(line) {
			return ""
		}
		return line[p.Col-1:]
	}
	ast.Walk(x, func(x ast.Expr) bool {
		switch x := x.(type) {
		case *ast.MacroRef:
			if !strings.HasPrefix(at(x.Pos), x.Name) {
				t.Errorf("%s: %s stands here, not the macro %s", x.Pos, at(x.Pos), x.Name)
			}
		case *ast.Test:
			name, _, _ := strings.Cut(x.Field, "[")
			if !strings.HasPrefix(at(x.Pos), name) {
				t.Errorf("%s: %s stands here, not %s", x.Pos, at(x.Pos), x.Field)
			}
			if !strings.HasPrefix(at(x.OpPos), x.Op) {
				t.Errorf("%s: %s stands here, not %s", x.OpPos, at(x.OpPos), x.Op)
			}
			for _, v := range x.Values {
				s := at(v.Pos)
				if v.Quoted && s != "" && strings.IndexByte("\"'\\", s[0]) >= 0 {
					continue
				}
				if !strings.HasPrefix(s, v.Text) {
					t.Errorf("%s: %s stands here, not %s", v.Pos, s, v.Text)
				}
			}
		}
		return true
	})
}

// TestPlaces has conditions in every kind of YAML scalar, with a broken operator at a marked place: ¿ stands before it.
func TestPlaces(t *testing.T) {
	for name, text := range map[string]string{
		"plain":           "- macro: m\n  condition: a.b = 1 and c.d ¿foo 2\n",
		"plain, folded":   "- macro: m\n  condition: a.b = 1\n    and é.b\n",
		"plain, 3 lines":  "- macro: m\n  condition: a.b = é\n    and\n\n    c.d ¿foo 2\n",
		"folded":          "- macro: m\n  condition: >\n    a.b = 1 and\n    c.d ¿foo 2\n",
		"folded, chomped": "- macro: m\n  condition: >-   # why\n    a.b = 1 and\n\n      c.e = 2 and\n    c.d ¿foo 2\n",
		"literal":         "- macro: m\n  condition: |\n    a.b = 1 and\n\n      c.e = 2 and\n    c.d ¿foo 2\n",
		"literal, indent": "- macro: m\n  condition: |2\n      a.b = 1 and\n    c.d ¿foo 2\n",
		"single":          "- macro: m\n  condition: 'a.b = ''é'' and c.d ¿foo 2'\n",
		"single, folded":  "- macro: m\n  condition: 'a.b = ''x y''\n\n    and c.d ¿foo 2'\n",
		"double":          "- macro: m\n  condition: \"a.b = \\\"\\u00e9\\\" and\\n\\tc.d ¿foo 2\"\n",
		"double, folded":  "- macro: m\n  condition: \"a.b =\n    \\\"x\\\" and  \\\n    c.d\n    \\  ¿foo 2\"\n",
		"crlf":            "- macro: m\r\n  condition: >\r\n    a.b = 1 and\r\n    c.d ¿foo 2\r\n",
		"flow":            "- {macro: m, condition: a.b = 1 and c.d ¿foo 2}\n",
		"second document": "---\n- macro: n\n  condition: a.b = 1\n---\n- macro: m\n  condition: c.d ¿foo 2\n",
		"byte order mark": "\ufeff- macro: m\n  condition: c.d ¿foo 2\n",
	} {
		t.Run(name, func(t *testing.T) {
			off := strings.Index(text, "¿")
			src := strings.Replace(text, "¿", "", 1)
			if off < 0 {
				off = strings.Index(text, "é") // the error is the letter itself
			}
			want := ast.Pos{File: "f", Line: 1 + strings.Count(text[:off], "\n"), Col: off - strings.LastIndexByte(text[:off], '\n')}
			f, ds := File("f", []byte(src))
			if f != nil || len(ds) != 1 {
				t.Fatalf("file %v, diagnostics %v", f, ds)
			}
			if ds[0].Pos != want {
				t.Errorf("the error is at %s, should be at %s:\n%s", ds[0].Pos, want, ds[0].Text())
			}
		})
	}
}

// TestErrors reads the files of testdata whose lines say in a comment what is to be reported there: ERROR or WARNING and
// a regular expression for the message and its hint. Every report must be wanted, and every wanted one must come.
func TestErrors(t *testing.T) {
	files, _ := filepath.Glob("testdata/errors/*.yaml")
	if len(files) == 0 {
		t.Fatal("no files in testdata/errors")
	}
	for _, name := range files {
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		f, ds := File(filepath.Base(name), src)
		if (f == nil) != (ds.Errors() > 0) {
			t.Errorf("%s: file %v with %d errors", name, f != nil, ds.Errors())
		}
		ruletest.Expect(t, filepath.Base(name), src, ds)
	}
}
