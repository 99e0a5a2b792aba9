package rulegen

import (
	"math/rand"
	"testing"

	"github.com/shikra-sensor/shikra/sensor/internal/field"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/ast"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/check"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/parse"
)

// TestCondition checks that what is made can be used, is what was meant, and uses every operator.
func TestCondition(t *testing.T) {
	var fields []Field
	for _, l := range [...][]string{
		{"proc.name", "cat", "[x*"}, {"fd.name", "/etc/shadow", "/caf\xc3\xa9"}, {"proc.pid", "1", "-5"}, {"fd.sip", "192.0.2.1"}, {"fd.snet", "192.0.2.0/24"},
		{"fd.port", "443"}, {"evt.is_open_read", "true"}, {"proc.aname", "sshd"}, {"evt.buffer", "abc"}, {"fd.types", "file"},
	} {
		ref, err := field.Parse(l[0])
		if err != nil {
			t.Fatal(err)
		}
		fields = append(fields, Field{Ref: ref, Consts: l[1:]})
	}
	seen := map[string]int{}
	tests := 0
	for seed := range int64(500) {
		r := rand.New(rand.NewSource(seed))
		x := Expr(r, fields, 1+int(seed%12))
		text := ast.Print(x)
		src := "- rule: r\n  desc: d\n  output: o\n  priority: INFO\n  condition: " + ast.Quote(text) + "\n"
		f, ds := parse.File("f", []byte(src))
		if f == nil {
			t.Fatalf("seed %d: %s: %v", seed, text, ds.Err())
		}
		if !ast.Equal(f.Rules[0].Condition, x) {
			t.Fatalf("seed %d: %s reads as %s", seed, text, ast.Print(f.Rules[0].Condition))
		}
		if p, ds := check.Check([]*ast.File{f}, check.Options{}); p == nil {
			t.Fatalf("seed %d: %s: %v", seed, text, ds.Err())
		}
		ast.Walk(x, func(x ast.Expr) bool {
			if x, ok := x.(*ast.Test); ok {
				seen[x.Op]++
				tests++
			}
			return true
		})
	}
	for _, op := range parse.Operators() {
		if seen[op] == 0 && op != "regex" {
			t.Errorf("never used: %s", op)
		}
	}
	t.Logf("%d tests", tests)
}
