// Package ruletest has what the tests of the rule language share: expected diagnostics as comments, and the compatibility
// data.
package ruletest

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/shikra-sensor/shikra/sensor/internal/rule/ast"
)

// FalcoData returns the folder of the compatibility data, which stands beside the project, or skips the test.
func FalcoData(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("SHIKRA_FALCO_DATA")
	if dir == "" {
		t.Skip("SHIKRA_FALCO_DATA is not set: the compatibility data is not there")
	}
	return dir
}

// Expect compares diagnostics with the comments of a file: # ERROR "regexp" and # WARNING "regexp" stand in the line in
// which the message is to come, and match it and its hint. Every diagnostic must be expected, and every expected one come.
func Expect(t testing.TB, name string, src []byte, ds ast.Diagnostics) {
	t.Helper()
	used := map[*ast.Diagnostic]bool{}
	for i, line := range strings.Split(string(src), "\n") {
		for _, m := range wanted().FindAllStringSubmatch(line, -1) {
			re, err := regexp.Compile(m[2])
			if err != nil {
				t.Fatalf("%s:%d: %v", name, i+1, err)
			}
			found := false
			for _, d := range ds {
				if !used[d] && d.Pos.Line == i+1 && strings.EqualFold(string(d.Severity), m[1]) && re.MatchString(d.Message+"; "+d.Hint) {
					used[d], found = true, true
					break
				}
			}
			if !found {
				t.Errorf("%s:%d: no %s that matches %s", name, i+1, strings.ToLower(m[1]), m[2])
			}
		}
	}
	for _, d := range ds {
		if !used[d] {
			t.Errorf("not expected: %s", d.Text())
		}
	}
}

func wanted() *regexp.Regexp { return regexp.MustCompile(`# (ERROR|WARNING) "((?:[^"\\]|\\.)*)"`) }
