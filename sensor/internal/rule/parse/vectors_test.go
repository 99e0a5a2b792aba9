package parse

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/shikra-sensor/shikra/sensor/internal/rule/ast"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/ruletest"
)

// TestVerdicts parses expressions with the verdict of Falco's own parser beside them.
func TestVerdicts(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(ruletest.FalcoData(t), "conditions.json"))
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct{ Verdict, Condition string }
	if err := json.Unmarshal(raw, &vectors); err != nil {
		t.Fatal(err)
	}
	agree := 0
	for _, v := range vectors {
		x, err := Condition(v.Condition)
		if got := err == nil; got != (v.Verdict == "accept") {
			t.Errorf("%s: want %s, got %v", v.Condition, v.Verdict, err)
			continue
		}
		agree++
		if err == nil {
			roundTrip(t, x)
		}
	}
	if len(vectors) != 259 {
		t.Errorf("%d expressions, expected 259", len(vectors))
	}
	t.Logf("%d of %d verdicts agree", agree, len(vectors))
}

// roundTrip prints x, parses that and compares.
func roundTrip(t *testing.T, x ast.Expr) {
	t.Helper()
	text := ast.Print(x)
	y, err := Condition(text)
	if err != nil {
		t.Errorf("printed as %s: %v", text, err)
		return
	}
	if !ast.Equal(x, y) {
		t.Errorf("printed as %s, which reads as %s", text, ast.Print(y))
	}
}
