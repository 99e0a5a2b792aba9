package glob

import (
	"os/exec"
	"strings"
	"testing"
)

// globs are patterns and texts; TestGlob says which match, and asks a shell's case, which is fnmatch, for the same.
var globs = []struct {
	pattern, text string
	want          bool
}{
	{"", "", true}, {"", "a", false}, {"*", "", true}, {"*", "a/b", true}, {"**", "x", true}, {"?", "", false}, {"?", "/", true}, {"a*", "a", true}, {"a*b", "ab", true},
	{"a*b", "a/x/b", true}, {"a*b", "abc", false}, {"*.so", ".so", true}, {"*.so.*", "libc.so.6", true}, {"a*b*c", "aXbXbc", true}, {"a*b*c", "acb", false},
	{"[abc]", "b", true}, {"[abc]", "d", false}, {"[a-c]x", "bx", true}, {"[!a-c]", "b", false}, {"[!a-c]", "d", true}, {"[]a]", "]", true}, {"[!]a]", "b", true},
	{"[a-]", "-", true}, {"[--0]", ".", true}, {"[[:digit:]]*", "7x", true}, {"[[:alpha:]]", "7", false}, {"[![:space:]]", "x", true}, {"[a", "[a", true}, {"[a", "a", false},
	{`\*`, "*", true}, {`\*`, "x", false}, {`a\?b`, "a?b", true}, {`[\]]`, "]", true}, {`\\`, `\`, true}, {"a**b", "aXYb", true}, {"*a*", "bab", true}, {"?*?", "a", false},
	{"?*?", "ab", true}, {"/etc/*", "/etc/a/b", true}, {"*[0-9]", "a1b", false}, {"*[0-9]", "ab1", true}, {"*x*", "", false}, {"[c-a]", "b", false},
}

func TestGlob(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Log("no sh: the patterns are not compared with its case")
	}
	for _, g := range globs {
		if got := Match(g.pattern, g.text, false); got != g.want {
			t.Errorf("Match(%q, %q) = %v", g.pattern, g.text, got)
		}
		if sh == "" {
			continue
		}
		// The pattern comes from a variable, unquoted, so the shell takes it as a pattern and nothing else.
		out, err := exec.Command(sh, "-c", `case "$2" in $1) echo yes;; *) echo no;; esac`, "sh", g.pattern, g.text).Output()
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(string(out)) == "yes"; got != g.want {
			t.Errorf("the shell says %v for %q and %q", got, g.pattern, g.text)
		}
	}
	if !Match("/ETC/*[A-C]", "/etc/xB", true) || Match("/ETC/*", "/etc/x", false) {
		t.Error("folding")
	}
	// Stars must not cost exponential time.
	if Match(strings.Repeat("a*", 50)+"b", strings.Repeat("a", 5000), false) {
		t.Error("no b, but a match")
	}
}
