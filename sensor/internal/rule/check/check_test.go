package check

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/ast"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/parse"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/ruletest"
)

// TestErrors checks the files of testdata/errors, which say what is to be reported where.
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
		// Comments inside a folded condition would be text: blank them out, so that all columns stay.
		f, ds := parse.File(filepath.Base(name), blankComments(src))
		if f == nil {
			t.Fatal(ds.Err())
		}
		p, more := Check([]*ast.File{f}, Options{})
		if (p == nil) != (more.Errors() > 0) {
			t.Errorf("%s: program %v with %d errors", name, p != nil, more.Errors())
		}
		ruletest.Expect(t, filepath.Base(name), src, append(ds, more...))
	}
}

func blankComments(src []byte) []byte {
	lines := strings.Split(string(src), "\n")
	for i, l := range lines {
		if at := strings.Index(l, " # "); at >= 0 {
			lines[i] = l[:at] + strings.Repeat(" ", len(l)-at)
		}
	}
	return []byte(strings.Join(lines, "\n"))
}

// program checks rules files given as texts.
func program(t testing.TB, o Options, texts ...string) (*Program, ast.Diagnostics) {
	t.Helper()
	var files []*ast.File
	for i, text := range texts {
		f, ds := parse.File("f"+string(rune('0'+i))+".yaml", []byte(text))
		if f == nil {
			t.Fatal(ds.Err())
		}
		files = append(files, f)
	}
	return Check(files, o)
}

// ruleText is a rules file of one rule.
func ruleText(name, condition string) string {
	return "- rule: " + name + "\n  desc: d\n  output: o\n  priority: INFO\n  condition: >\n    " + condition + "\n"
}

// TestTypes derives event types.
func TestTypes(t *testing.T) {
	all := AllTypes()
	set := func(names ...string) []event.Type {
		var out []event.Type
		for _, n := range names {
			ts := event.ByName(n)
			if len(ts) == 0 {
				t.Fatalf("no event is called %s", n)
			}
			for _, x := range ts {
				if x.Current() {
					out = append(out, x)
				}
			}
		}
		slices.Sort(out)
		return out
	}
	but := func(names ...string) []event.Type {
		gone := set(names...)
		return slices.DeleteFunc(slices.Clone(all), func(x event.Type) bool { return slices.Contains(gone, x) })
	}
	const generic = event.Type(1)
	for _, c := range []struct {
		cond string
		want []event.Type
	}{
		{"evt.type = open", set("open")},
		{"evt.type == open", set("open")},
		{"syscall.type = open", set("open")},
		{"evt.type in (open, close)", set("open", "close")},
		{"evt.type != open", but("open")},
		{"not evt.type = open", but("open")},
		{"not evt.type != open", set("open")},
		{"not not evt.type = open", set("open")},
		{"not evt.type in (open, close)", but("open", "close")},
		{"evt.type in ()", nil},
		{"evt.type exists", all},
		{"not evt.type exists", nil},
		{"evt.type contains open", all},
		{"not evt.type contains open", all},
		{"proc.name = cat", all},
		{"not proc.name = cat", all},
		{"evt.type = open and proc.name = cat", set("open")},
		{"evt.type = open and not proc.name = cat", set("open")},
		{"evt.type = open or proc.name = cat", all},
		{"evt.type = open or evt.type = close", set("open", "close")},
		{"evt.type = open and evt.type = close", nil},
		{"evt.type = open and evt.type != close", set("open")},
		{"not (evt.type = open or evt.type = close)", but("open", "close")},
		{"not (evt.type = open and evt.type = close)", all},
		{"not (evt.type = open and proc.name = cat)", all},
		{"not (evt.type = open or proc.name = cat)", but("open")},
		{"not (evt.type != open or proc.name = cat)", set("open")},
		{"(evt.type = open or evt.type = close) and (evt.type = close or evt.type = read)", set("close")},
		{"evt.type = open or (evt.type = close and proc.name = cat)", set("open", "close")},
		{"evt.type = open and evt.dir = <", set("open")},
		{"evt.type = open and evt.dir = >", nil},
		{"evt.num = 0", nil},
		{"evt.num < 1", nil},
		{"evt.num <= 0", nil},
		{"evt.num in (0, 0)", nil},
		{"evt.num in (0, 1)", all},
		{"evt.num != 0", all},
		{"not evt.num != 0", nil},
		{"evt.num > 0", all},
		{"evt.num >= 1", all},
		{"not evt.num >= 0", nil},
		{"evt.type = open and not evt.num = 0", set("open")},
		{"evt.type = open or evt.num = 0", set("open")},
		{"evt.type = madvise", []event.Type{generic}},
		{"evt.type != madvise", all},
		{"evt.type in (open, getpid)", append([]event.Type{generic}, set("open")...)},
	} {
		p, ds := program(t, Options{}, ruleText("r", c.cond))
		if p == nil {
			t.Errorf("%s: %v", c.cond, ds.Err())
			continue
		}
		if got := p.Rules[0].Types; !slices.Equal(got, c.want) {
			t.Errorf("%s: types %v, expected %v", c.cond, got, c.want)
		}
	}
}

// TestLoad is how definitions of one name, appending and overriding work together.
func TestLoad(t *testing.T) {
	for name, c := range map[string]struct {
		files []string
		want  string // name: condition, for each rule
	}{
		"list defined later": {[]string{
			"- macro: m\n  condition: proc.name in (x, l, y)\n", ruleText("r", "m"), "- list: l\n  items: [a, inner]\n- list: inner\n  items: [b, b c, '\"d e\"', 'f,g']\n",
		}, `r: proc.name in (x, a, b, "b c", "d e", f, g, y)`},
		"empty list":     {[]string{"- list: l\n  items: []\n" + ruleText("r", "proc.name in (l, a) and proc.name in (l)")}, `r: proc.name in (a) and proc.name in ()`},
		"list as value":  {[]string{"- list: l\n  items: [a]\n" + ruleText("r", `proc.name = l or proc.name in l or proc.name = "l"`)}, `r: proc.name = a or proc.name in (a) or proc.name = "l"`},
		"list redefined": {[]string{"- list: l\n  items: [a]\n", ruleText("r", "proc.name in (l)"), "- list: l\n  items: [b]\n"}, `r: proc.name in (b)`},
		"list appended":  {[]string{"- list: l\n  items: [a]\n- list: l\n  items: [b]\n  append: true\n- list: l\n  items: [c]\n  override: {items: append}\n" + ruleText("r", "proc.name in (l)")}, `r: proc.name in (a, b, c)`},
		"list with its own name": {[]string{"- list: sshd\n  items: [sshd, ssh]\n" + ruleText("r", "proc.name in (sshd)")},
			`r: proc.name in (sshd, ssh)`},
		"macro redefined": {[]string{"- macro: m\n  condition: proc.pid = 1\n- macro: n\n  condition: m\n- macro: m\n  condition: proc.pid = 2\n" + ruleText("r", "n and m")},
			`r: proc.pid = 2 and proc.pid = 2`},
		"macro of a rule defined later": {[]string{ruleText("r", "not m"), "- macro: m\n  condition: proc.pid = 1 or proc.pid = 2\n"}, `r: not (proc.pid = 1 or proc.pid = 2)`},
		"macro appended": {[]string{"- macro: m\n  condition: proc.pid = 1\n- macro: m\n  condition: or proc.pid = 2\n  append: true\n" + ruleText("r", "m and proc.pid = 3")},
			`r: (proc.pid = 1 or proc.pid = 2) and proc.pid = 3`},
		"rule appended": {[]string{ruleText("r", "proc.pid = 1"), "- rule: r\n  condition: and proc.pid = 2\n  append: true\n- rule: r\n  condition: or proc.pid = 3\n  override:\n    condition: append\n"},
			`r: proc.pid = 1 and proc.pid = 2 or proc.pid = 3`},
		"rule replaced keeps its turn": {[]string{ruleText("r", "proc.pid = 1") + ruleText("s", "proc.pid = 2"), ruleText("r", "proc.pid = 3")}, "r: proc.pid = 3\ns: proc.pid = 2"},
		"override":                     {[]string{ruleText("r", "proc.pid = 1"), "- rule: r\n  condition: proc.pid = 2\n  override: {condition: replace}\n"}, `r: proc.pid = 2`},
		"switch":                       {[]string{ruleText("r", "proc.pid = 1") + ruleText("s", "proc.pid = 2"), "- rule: r\n  enabled: false\n"}, `s: proc.pid = 2`},
		"anyof":                        {[]string{ruleText("r", "proc.name = anyof (a, b) and proc.name contains anyof (a, b)")}, `r: proc.name in (a, b) and (proc.name contains a or proc.name contains b)`},
		"allof":                        {[]string{ruleText("r", "proc.name != allof (a, b)")}, `r: proc.name != a and proc.name != b`},
		"allof of nothing":             {[]string{ruleText("r", "proc.name != allof ()")}, `r: proc.name in ()`},
		"oneof":                        {[]string{ruleText("r", "proc.name contains oneof (a, b)")}, `r: proc.name contains a and not proc.name contains b or proc.name contains b and not proc.name contains a`},
		"oneof of a list":              {[]string{"- list: l\n  items: [a]\n" + ruleText("r", "proc.name glob oneof l")}, `r: proc.name glob a`},
	} {
		t.Run(name, func(t *testing.T) {
			p, ds := program(t, Options{}, c.files...)
			if p == nil {
				t.Fatal(ds.Err())
			}
			var got []string
			for _, r := range p.Rules {
				got = append(got, r.Name+": "+ast.Print(r.AST))
			}
			if s := strings.Join(got, "\n"); s != c.want {
				t.Errorf("got\n%s\nwant\n%s", s, c.want)
			}
		})
	}
}

// TestOverride changes everything of a rule but its condition.
func TestOverride(t *testing.T) {
	p, ds := program(t, Options{}, "- rule: r\n  desc: d\n  output: o\n  priority: INFO\n  condition: evt.type = open\n  tags: [b, a, b]\n",
		"- rule: r\n  desc: e\n  output: \" p \"\n  tags: [c]\n  priority: critical\n  override: {desc: append, output: append, tags: append, priority: replace}\n")
	if p == nil {
		t.Fatal(ds.Err())
	}
	r := p.Rules[0]
	if r.Desc != "d e" || r.Output != "o  p" || r.Priority != "Critical" || !slices.Equal(r.Tags, []string{"a", "b", "c"}) {
		t.Errorf("got %q %q %s %q", r.Desc, r.Output, r.Priority, r.Tags)
	}
}

// TestSelect turns rules on and off.
func TestSelect(t *testing.T) {
	text := ""
	for _, r := range []struct{ name, tags, priority, more string }{
		{"one", "a", "DEBUG", ""}, {"two", "b", "Info", ""}, {"three", "a, b", "error", ""}, {"four", "", "EMERGENCY", "  enabled: false\n"},
	} {
		text += "- rule: " + r.name + "\n  desc: d\n  output: o\n  condition: evt.type = open\n  priority: " + r.priority + "\n  tags: [" + r.tags + "]\n" + r.more
	}
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{}, "one two three"},
		{Options{Select: []Selection{{Rule: "*"}}}, ""},
		{Options{Select: []Selection{{Enable: true, Rule: "*"}}}, "one two three four"},
		{Options{Select: []Selection{{Rule: "*"}, {Enable: true, Tag: "b"}}}, "two three"},
		{Options{Select: []Selection{{Tag: "a"}, {Enable: true, Rule: "th*e"}}}, "two three"},
		{Options{Select: []Selection{{Rule: "t"}}}, "one two three"},
		{Options{MinPriority: "informational"}, "two three"},
		{Options{MinPriority: "ERROR"}, "three"},
	} {
		p, ds := program(t, c.o, text)
		if p == nil {
			t.Fatal(ds.Err())
		}
		var got []string
		for _, r := range p.Rules {
			got = append(got, r.Name)
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%+v: %s, expected %s", c.o, s, c.want)
		}
	}
	for name, want := range map[string]string{
		"thre": `warning: rules.disable: no rule is called "thre"; did you mean three?`, "three": "", "t*": "", "*": "", "four": "",
		"x*": "warning: rules.disable: no rule is called \"x*\"; `shikra rules list` shows the names",
	} {
		p, ds := program(t, Options{Select: []Selection{{Rule: name, From: "rules.disable"}}}, text)
		got := ""
		for _, d := range ds {
			got += d.Error()
		}
		if p == nil || got != want {
			t.Errorf("%s: %q, not %q", name, got, want)
		}
	}
	if p, ds := program(t, Options{MinPriority: "loud"}, text); p != nil || ds.Errors() != 1 {
		t.Errorf("an unknown least priority: %v", ds)
	}
}

// TestEngineVersion refuses files for a newer language.
func TestEngineVersion(t *testing.T) {
	for v, ok := range map[string]bool{"2": true, "62": true, "63": false, "0.62.0": true, "0.62.1": false, "1.0.0": false, "0.57.0": true} {
		p, _ := program(t, Options{}, "- required_engine_version: "+v+"\n"+ruleText("r", "evt.type = open"))
		if (p != nil) != ok {
			t.Errorf("%s: program %v", v, p != nil)
		}
	}
}

// TestBlowUp has macros and lists that double at each step.
func TestBlowUp(t *testing.T) {
	var macros, lists, chain strings.Builder
	macros.WriteString("- macro: m0\n  condition: proc.pid = 1\n")
	lists.WriteString("- list: l0\n  items: [a, b]\n")
	chain.WriteString("- macro: c0\n  condition: proc.pid = 1\n")
	for i := 1; i < 60; i++ {
		n, m := strconv.Itoa(i), strconv.Itoa(i-1)
		macros.WriteString("- macro: m" + n + "\n  condition: m" + m + " and not m" + m + "\n")
		lists.WriteString("- list: l" + n + "\n  items: [l" + m + ", l" + m + "]\n")
	}
	for i := 1; i < 5000; i++ {
		chain.WriteString("- macro: c" + strconv.Itoa(i) + "\n  condition: c" + strconv.Itoa(i-1) + " and not proc.pid = " + strconv.Itoa(i) + "\n")
	}
	for name, c := range map[string]struct {
		text string
		ok   bool
	}{
		"macros": {macros.String() + ruleText("r", "m59"), false},
		"lists":  {lists.String() + ruleText("r", "proc.name in (l59)"), false},
		"chain":  {chain.String() + ruleText("r", "c4999"), true},
	} {
		p, ds := program(t, Options{}, c.text)
		if (p != nil) != c.ok {
			t.Errorf("%s: program %v, %v", name, p != nil, ds.Err())
		}
		if !c.ok && ds[0].Code != "too-large" {
			t.Errorf("%s: %v", name, ds[0])
		}
	}
}

// FuzzCheck: a program comes exactly without an error, and its conditions print to text that checks to the same.
func FuzzCheck(f *testing.F) {
	files, _ := filepath.Glob("testdata/errors/*.yaml")
	for _, name := range files {
		src, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src)
	}
	f.Add([]byte(ruleText("r", "evt.type in (open, l) and not m")))
	f.Fuzz(func(t *testing.T, src []byte) {
		file, _ := parse.File("f.yaml", src)
		if file == nil {
			return
		}
		p, ds := Check([]*ast.File{file}, Options{})
		if (p == nil) != (ds.Errors() > 0) {
			t.Fatalf("program %v, %d errors", p, ds.Errors())
		}
		if len(ds) > maxDiags+1 {
			t.Fatalf("%d messages", len(ds))
		}
		if p == nil {
			return
		}
		for _, r := range p.Rules {
			x, err := parse.Condition(ast.Print(r.AST))
			if err != nil || ast.Print(x) != ast.Print(r.AST) {
				t.Fatalf("%s: %v", ast.Print(r.AST), err)
			}
			for i := 1; i < len(r.Types); i++ {
				if r.Types[i] <= r.Types[i-1] {
					t.Fatalf("types %v", r.Types)
				}
			}
		}
	})
}
