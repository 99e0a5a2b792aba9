package parse

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shikra-sensor/shikra/sensor/internal/rule/ast"
)

// FuzzCondition: an error comes exactly without a condition, a condition prints to text that parses to the same, and
// errors have a place inside the text.
func FuzzCondition(f *testing.F) {
	for _, s := range []string{
		"proc.name = cat and not (fd.name startswith /etc or m)", `a.b in (1, "x\"y", 'z')`, `a.b['c d'] == anyof (x)`,
		`join("-", (a.b, len(c.d), 3))[1] != val(e.f)`, "a.b < -1.5e+3", "not not a", "a.b = \"\\x41\\ \"", "((((a))))", "a.b exists\n or\tb",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		x, err := Condition(s)
		if (x == nil) != (err != nil) {
			t.Fatalf("condition %v, error %v", x, err)
		}
		if err != nil {
			d := err.(*ast.Diagnostic)
			if d.Pos.Line < 1 || d.Pos.Line > 1+strings.Count(s, "\n") || d.Pos.Col < 1 || d.Pos.Col > len(s)+1 {
				t.Fatalf("the error is at %s", d.Pos)
			}
			d.Line = ast.Line([]byte(s), d.Pos.Line)
			d.Text()
			return
		}
		roundTrip(t, x)
	})
}

// FuzzFile: a file comes exactly without an error, and every message has a place in it.
func FuzzFile(f *testing.F) {
	files, _ := filepath.Glob("testdata/errors/*.yaml")
	for _, name := range files {
		src, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src)
	}
	f.Add([]byte("- rule: r\n  desc: d\n  condition: >\n    a.b = 1 and\n    c\n  output: o\n  priority: INFO\n  exceptions: [{name: n, fields: a.b, values: [x]}]\n"))
	f.Add([]byte("\ufeff- list: \"a\\x41\\\n   b\"\n  items: ['it''s', \"\\u00e9\"]\r\n---\n- macro: m\n  condition: |+2\n      a\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		file, ds := File("f.yaml", src)
		if (file == nil) != (ds.Errors() > 0) {
			t.Fatalf("file %v, %d errors", file, ds.Errors())
		}
		if len(ds) > maxDiags+1 {
			t.Fatalf("%d messages", len(ds))
		}
		lines := 1 + strings.Count(string(src), "\n")
		for _, d := range ds {
			if d.Pos.Line < 1 || d.Pos.Line > lines || d.Pos.Col < 1 || d.Pos.Col > len(src)+1 {
				t.Fatalf("a message at %s", d.Pos)
			}
			d.Text()
		}
		if file == nil {
			return
		}
		for _, m := range file.Macros {
			if m.Condition != nil {
				roundTrip(t, m.Condition)
			}
		}
	})
}

// TestBounds gives the parser what a hostile file would.
func TestBounds(t *testing.T) {
	deep := func(open, close string, n int) string { return strings.Repeat(open, n) + close }
	for name, c := range map[string]struct{ src, code string }{
		"parentheses": {"- macro: m\n  condition: " + deep("(", "a", 100000), "too-deep"},
		"transformer": {"- macro: m\n  condition: " + deep("len(", "a.b", 50000), "too-deep"},
		"flow":        {deep("[", "]", 100000), "too-deep"},
		"collections": {"- list: a\n  items: " + deep("[", strings.Repeat("]", 50), 50), "too-deep"},
		"size":        {"# " + strings.Repeat("x", maxFile), "too-large"},
		"condition":   {"- macro: m\n  condition: a and " + strings.Repeat("not ", maxCondition/4) + "a", "too-large"},
		"encoding":    {"- list: a\n  items: [\"\xff\"]", "encoding"},
		"utf-16":      {"\xff\xfe-\x00 \x00a\x00", "encoding"},
		"many":        {strings.Repeat("- text\n", 100000), "shape"},
		"laughs": {"- &a [x, x, x, x, x, x, x, x, x]\n- &b [*a, *a, *a, *a, *a, *a, *a, *a]\n- &c [*b, *b, *b, *b, *b, *b, *b]\n" +
			"- list: l\n  items: [*c, *c, *c]\n", "alias"},
	} {
		t.Run(name, func(t *testing.T) {
			f, ds := File("f", []byte(c.src))
			if f != nil || len(ds) == 0 || ds[0].Code != c.code || len(ds) > maxDiags+1 {
				t.Fatalf("file %v, %d diagnostics, first %v; expected %s", f != nil, len(ds), ds.Err(), c.code)
			}
		})
	}
	if f, ds := File("f", []byte("- macro: m\n  condition: "+strings.Repeat("not ", 10000)+"a and "+strings.Repeat("(", 100)+"a"+strings.Repeat(")", 100))); f == nil {
		t.Errorf("within the bounds: %v", ds.Err())
	}
}

// TestText is how a message looks.
func TestText(t *testing.T) {
	_, ds := File("rules.yaml", []byte("- macro: m\n  condition: >\n    proc.name = cat and\n    pröc startwith /bin\n"))
	var b strings.Builder
	if err := ds.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	got := b.String()
	const expect = `rules.yaml:4:7: error: unexpected "öc", expected and, or or the end
        pröc startwith /bin
          ^
`
	if got != expect {
		t.Errorf("got:\n%swant:\n%s", got, expect)
	}
	d := &ast.Diagnostic{Pos: ast.Pos{File: "f", Line: 1, Col: 151}, Severity: ast.Warning, Message: "m", Hint: "h", Line: strings.Repeat("é", 50) + strings.Repeat("x", 50) + "\x1b" + strings.Repeat("y", 100)}
	text := d.Text()
	lines := strings.Split(text, "\n")
	if len([]rune(lines[1])) != 104 || strings.ContainsRune(text, 0x1b) || []rune(lines[1])[len(lines[2])-1] != '?' {
		t.Errorf("a long line is shown as\n%s", text)
	}
}
