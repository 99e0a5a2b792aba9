package check

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/shikra-sensor/shikra/sensor/internal/rule/ast"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/parse"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/ruletest"
)

func falcoFile(t *testing.T, folder, name string) *ast.File {
	t.Helper()
	src, err := os.ReadFile(filepath.Join(ruletest.FalcoData(t), folder, name))
	if err != nil {
		t.Fatal(err)
	}
	f, ds := parse.File(name, src)
	if f == nil {
		t.Fatal(ds.Err())
	}
	return f
}

// TestFalcoRules checks the rules files of the compatibility data one by one, disabled rules too, and wants nothing to be
// said of them.
func TestFalcoRules(t *testing.T) {
	total := 0
	for name, want := range map[string]int{"falco_rules.yaml": 25, "falco-incubating_rules.yaml": 31, "falco-sandbox_rules.yaml": 37} {
		f := falcoFile(t, "rules", name)
		p, ds := Check([]*ast.File{f}, Options{Select: []Selection{{Enable: true, Rule: "*"}}})
		for _, d := range ds {
			t.Error(d.Text())
		}
		if p == nil || len(p.Rules) != want {
			t.Errorf("%s: expected %d rules", name, want)
			continue
		}
		total += want
	}
	t.Logf("%d of 93 rules check", total)
}

// TestFalcoCases checks the rules of the compatibility data's cases with their options. That the alerts come is tested
// where captures are replayed; here it is that every rule which alerts is in the program, and is enabled.
func TestFalcoCases(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(ruletest.FalcoData(t), "cases", "cases.json"))
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Test    string
		Rules   []string
		Options []string
		Exit    int
		Alerts  map[string]int
	}
	if err := json.Unmarshal(raw, &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) != 37 {
		t.Errorf("%d cases, expected 37", len(cases))
	}
	for _, c := range cases {
		t.Run(c.Test, func(t *testing.T) {
			var o Options
			for _, s := range c.Options {
				key, val, _ := strings.Cut(s, "=")
				switch key {
				case "priority":
					o.MinPriority = val
				case "rules[].disable.rule", "rules[].enable.rule":
					o.Select = append(o.Select, Selection{Enable: strings.Contains(key, "enable"), Rule: val})
				case "rules[].disable.tag", "rules[].enable.tag":
					o.Select = append(o.Select, Selection{Enable: strings.Contains(key, "enable"), Tag: val})
				}
			}
			var files []*ast.File
			for _, name := range c.Rules {
				files = append(files, falcoFile(t, "cases", name))
			}
			p, ds := Check(files, o)
			if (p != nil) != (c.Exit == 0) {
				t.Fatalf("exit %d, but %v", c.Exit, ds.Err())
			}
			if p == nil {
				return
			}
			for name := range c.Alerts {
				if !slices.ContainsFunc(p.Rules, func(r *Rule) bool { return r.Name == name }) {
					t.Errorf("the rule %s is not in the program", name)
				}
			}
		})
	}
}
