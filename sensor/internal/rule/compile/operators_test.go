package compile

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/field"
	"github.com/shikra-sensor/shikra/sensor/internal/host"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/check"
	"github.com/shikra-sensor/shikra/sensor/internal/wasm"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// judgeEach compiles every condition as a rule of its own in one module per condition and returns, for each, the events it
// holds for.
func (w *world) judgeEach(conds ...check.Cond) [][]int {
	w.t.Helper()
	var out [][]int
	for _, c := range conds {
		p := &check.Program{Rules: []*check.Rule{{Name: "r", Priority: "Notice", Types: worldTypes, Cond: c}}}
		u := w.load("interpreter", p, Options{})
		u.extract()
		var list []int
		for i := range u.judge() {
			list = append(list, i)
		}
		slices.Sort(list)
		out = append(out, list)
	}
	return out
}

func ref(t testing.TB, text string) field.Ref {
	t.Helper()
	r, err := field.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func texts(s ...string) []check.Const {
	var out []check.Const
	for _, x := range s {
		out = append(out, check.Const{Bytes: []byte(x)})
	}
	return out
}

func ints(v ...uint64) []check.Const {
	var out []check.Const
	for _, x := range v {
		out = append(out, check.Const{Int: x})
	}
	return out
}

// value sets event e's thread to one with comm, missing when it is nil.
func (w *world) withName(name *string) {
	w.t.Helper()
	s, ok := w.a.Threads.Alloc()
	if !ok {
		w.t.Fatal("no slot")
	}
	if name != nil {
		le.PutUint32(w.a.Threads.Record(s)[wasmabi.ThreadComm:], w.a.Strings.InternString(*name))
	}
	var b event.Builder
	e, ok := w.a.Batch.Append(b.Start(1, 1, event.SyscallOpenX).Done(), 1)
	if !ok {
		w.t.Fatal("no room")
	}
	e.SetThread(s)
}

// TestStrings has every operator on strings decide one value at a time, among them a missing and an empty one.
func TestStrings(t *testing.T) {
	long := strings.Repeat("0123456789", 20)
	for _, c := range []struct {
		op   check.Op
		vals []string
		yes  []string
		no   []string
	}{
		{check.Exists, nil, []string{"", "a"}, nil},
		{check.Eq, []string{"bash"}, []string{"bash"}, []string{"", "bas", "bashx", "Bash"}},
		{check.Eq, []string{""}, []string{""}, []string{"a"}},
		{check.Eq, []string{"12345678"}, []string{"12345678"}, []string{"1234567", "123456789", "12345670"}},
		{check.Eq, []string{"123456789"}, []string{"123456789"}, []string{"12345678", "123456780", "1234567890"}},
		{check.Eq, []string{"0123456789abcdef"}, []string{"0123456789abcdef"}, []string{"0123456789abcdeX", "0123456X89abcdef", "0123456789abcde"}},
		{check.Eq, []string{long}, []string{long}, []string{long[1:], long + "x", long[:100] + "x" + long[101:], long[:199] + "x"}},
		{check.Ne, []string{"bash"}, []string{"", "bas"}, []string{"bash"}},
		{check.Lt, []string{"bb"}, []string{"", "b", "ba", "a\xff"}, []string{"bb", "bba", "c", "\xff"}},
		{check.Le, []string{"bb"}, []string{"", "bb"}, []string{"bba", "c"}},
		{check.Gt, []string{"bb"}, []string{"bba", "c", "\xff"}, []string{"", "b", "bb"}},
		{check.Ge, []string{"bb"}, []string{"bb", "bba"}, []string{"ba"}},
		{check.In, []string{"a", "bb", "ccc", "dddd", "eeeee", "", "fffffffff", "ggggggggg"}, []string{"a", "bb", "ccc", "dddd", "eeeee", "", "fffffffff", "ggggggggg"}, []string{"b", "aa", "cccc", "fffffffff1", "hhhhhhhhh"}},
		{check.In, []string{"aaaaaaaa1", "aaaaaaaa2", "aaaaaaaa3", "aaaaaaaa4", "aaaaaaaa5", "aaaaaaaa6", "aaaaaaaa7", "aaaaaaaa8", "baaaaaaa1"}, []string{"aaaaaaaa1", "aaaaaaaa8", "baaaaaaa1"}, []string{"aaaaaaaa9", "aaaaaaa1", "baaaaaaa2"}},
		{check.In, []string{"short", long, long + "1", long + "2"}, []string{"short", long, long + "2"}, []string{long + "3", long[:199]}},
		{check.In, nil, nil, []string{"", "a"}},
		{check.Contains, []string{""}, []string{"", "a"}, nil},
		{check.Contains, []string{"needle"}, []string{"needle", "a needle", "needle in", strings.Repeat("needl", 30) + "needle"}, []string{"", "needl", "eedle", strings.Repeat("needl ", 30)}},
		{check.Contains, []string{"a longer needle"}, []string{"there is a longer needle here", "a longer needle"}, []string{"a longer needl", "a longer xeedle", "a longer needlx"}},
		{check.Contains, []string{"x"}, []string{"x", "01234567x", "x01234567", strings.Repeat("0", 63) + "x"}, []string{"01234567", ""}},
		{check.IContains, []string{"NeeDle"}, []string{"needle", "xNEEDLEx", "nEEdLE"}, []string{"needl", "N\x05\x05DLE", ""}},
		{check.IContains, []string{"A-1"}, []string{"a-1", "A-1", "xxxxxxxxxxxxa-1"}, []string{"a\r1", "A-"}},
		{check.IContains, []string{""}, []string{"", "a"}, nil},
		{check.StartsWith, []string{"/etc/"}, []string{"/etc/", "/etc/x"}, []string{"", "/etc", "x/etc/"}},
		{check.StartsWith, []string{"/usr/lib/systemd/"}, []string{"/usr/lib/systemd/", "/usr/lib/systemd/x"}, []string{"/usr/lib/systemd", "/usr/lib/Systemd/"}},
		{check.StartsWith, []string{long}, []string{long, long + "1"}, []string{long[:199], long[:150] + "x" + long[151:]}},
		{check.StartsWith, []string{""}, []string{"", "a"}, nil},
		{check.EndsWith, []string{"key"}, []string{"key", "a key", "monkey"}, []string{"", "ey", "keys"}},
		{check.EndsWith, []string{"/.ssh/authorized_keys"}, []string{"/.ssh/authorized_keys", "/home/u/.ssh/authorized_keys"}, []string{"/ssh/authorized_keys", "x.ssh/authorized_keys", "/.ssh/authorized_keyz"}},
		{check.EndsWith, []string{"12345678"}, []string{"12345678", "012345678"}, []string{"2345678", "X2345678"}},
		{check.EndsWith, []string{long}, []string{long, "1" + long}, []string{long[1:], "x" + long[1:]}},
		{check.EndsWith, []string{""}, []string{"", "a"}, nil},
		{check.Glob, []string{"*"}, []string{"", "a"}, nil},
		{check.Glob, []string{"/proc/*/mem"}, []string{"/proc/1/mem", "/proc/1/2/mem", "/proc//mem"}, []string{"/proc/mem", "/proc/1/memo", ""}},
		{check.Glob, []string{"a?c"}, []string{"abc", "a/c"}, []string{"ac", "abbc"}},
		{check.Glob, []string{"[!a-c]x[0-9]"}, []string{"dx0", "/x9"}, []string{"ax0", "dxa", "dx"}},
		{check.Glob, []string{`\*[*]`}, []string{"**"}, []string{"a*", "*a"}},
		{check.Glob, []string{`a\`}, nil, []string{"a", `a\`}},
		{check.Glob, []string{"[ab"}, []string{"[ab"}, []string{"a"}},
		{check.Glob, []string{"[]a]"}, []string{"]", "a"}, []string{"b"}},
		{check.Glob, []string{"[[:digit:]x]*"}, []string{"1", "x", "9z"}, []string{"a", ""}},
		{check.Glob, []string{"*a*b*c"}, []string{"abc", "xaxbxc", "aabbcc", "abcabc"}, []string{"acb", "abcd"}},
		{check.Glob, []string{""}, []string{""}, []string{"a"}},
		{check.IGlob, []string{"A*[B-D]"}, []string{"ab", "AxD", "aXc"}, []string{"ae", "b"}},
		{check.PMatch, []string{"/var/run"}, []string{"/var/run", "/var/run/", "/var/run/docker", "//var//run/x", "var/run"}, []string{"", "/var", "/var/running", "/x/var/run"}},
		{check.PMatch, []string{"/"}, []string{"", "/", "/a"}, nil},
		{check.PMatch, []string{"/a", "/b/c/"}, []string{"/a/x", "/b/c", "/b/c/d"}, []string{"/b", "/c"}},
		{check.PMatch, []string{"/home/*/.ssh"}, []string{"/home/u/.ssh/id", "/home/u/.ssh"}, []string{"/home/.ssh", "/home/u/v/.ssh"}},
	} {
		t.Run(fmt.Sprintf("%d %.40q", c.op, c.vals), func(t *testing.T) {
			w := newWorld(t, 1)
			var want []int
			all := append(slices.Clone(c.yes), c.no...)
			for i := range all {
				w.withName(&all[i])
				if i < len(c.yes) {
					want = append(want, i)
				}
			}
			w.withName(nil) // missing: nothing holds
			got := w.judgeEach(&check.Test{Field: ref(t, "proc.name"), Op: c.op, Values: texts(c.vals...)})[0]
			if !slices.Equal(got, want) {
				for i, s := range append(all, "missing") {
					if slices.Contains(got, i) != slices.Contains(want, i) {
						t.Errorf("%q: got %v", s, slices.Contains(got, i))
					}
				}
			}
		})
	}
}

// TestNumbers does the same for integers, signed and unsigned, and for those that a column brings.
func TestNumbers(t *testing.T) {
	w := newWorld(t, 1)
	var b event.Builder
	values := []int64{-1 << 63, -5, -1, 0, 1, 5, 1 << 40, 1<<63 - 1}
	for _, v := range values {
		e, _ := w.a.Batch.Append(b.Start(1, v, event.SyscallOpenX).Int(v).Done(), 1)
		e.SetRes(v)
	}
	w.a.Batch.Append(b.Start(1, 0, event.SyscallOpenX).Done(), 1) // no result, no parameters
	minus := func(v int64) uint64 { return uint64(v) }
	for _, c := range []struct {
		op   check.Op
		vals []uint64
		want []int
	}{
		{check.Exists, nil, []int{0, 1, 2, 3, 4, 5, 6, 7}},
		{check.Eq, []uint64{5}, []int{5}},
		{check.Ne, []uint64{5}, []int{0, 1, 2, 3, 4, 6, 7}},
		{check.Lt, []uint64{0}, []int{0, 1, 2}},
		{check.Le, []uint64{minus(-5)}, []int{0, 1}},
		{check.Gt, []uint64{minus(-5)}, []int{2, 3, 4, 5, 6, 7}},
		{check.Ge, []uint64{5}, []int{5, 6, 7}},
		{check.In, []uint64{minus(-5), 1, 99}, []int{1, 4}},
		{check.In, nil, nil},
	} {
		for _, name := range []string{"evt.rawres", "evt.rawarg.fd"} {
			got := w.judgeEach(&check.Test{Field: ref(t, name), Op: c.op, Values: ints(c.vals...)})[0]
			if !slices.Equal(got, c.want) {
				t.Errorf("%s, operator %d, %d: got %v, want %v", name, c.op, c.vals, got, c.want)
			}
		}
	}
	// Unsigned: a large number isn't negative. narrow, a record that isn't there, and a flag of it.
	w = newWorld(t, 1)
	s, _ := w.a.Threads.Alloc()
	le.PutUint32(w.a.Threads.Record(s)[wasmabi.ThreadUid:], 0xFFFFFFFF)
	le.PutUint32(w.a.Threads.Record(s)[wasmabi.ThreadFlags:], wasmabi.ThreadMain)
	e, _ := w.a.Batch.Append(b.Start(1, 1, event.SyscallOpenX).Done(), 1)
	e.SetThread(s)
	w.a.Batch.Append(b.Start(1, 1, event.SyscallOpenX).Done(), 1) // without a thread
	for _, c := range []struct {
		field string
		op    check.Op
		val   uint64
		want  []int
	}{
		{"user.uid", check.Gt, 5, []int{0}},
		{"user.uid", check.Eq, 0xFFFFFFFF, []int{0}},
		{"user.uid", check.Eq, ^uint64(0), nil},
		{"user.uid", check.Ne, 7, []int{0}},
		{"thread.ismain", check.Eq, 1, []int{0}},
		{"thread.ismain", check.Ne, 1, nil},
		{"thread.ismain", check.Eq, 0, nil},
		{"thread.ismain", check.Ne, 0, []int{0}},
	} {
		if got := w.judgeEach(&check.Test{Field: ref(t, c.field), Op: c.op, Values: ints(c.val)})[0]; !slices.Equal(got, c.want) {
			t.Errorf("%s, operator %d, %d: got %v, want %v", c.field, c.op, c.val, got, c.want)
		}
	}
}

// TestLists: in wants every item, intersects one, and a list without items is missing.
func TestLists(t *testing.T) {
	f := &field.Field{Name: "x.list", Type: field.String, List: true}
	r := field.Ref{Field: f, Text: "x.list", Index: -1}
	items := []string{"", "a\x00", "a\x00b\x00", "a\x00b\x00c\x00", "c\x00", "\x00", "longer than a word\x00a\x00"}
	for _, c := range []struct {
		op   check.Op
		vals []string
		want []int
	}{
		{check.Exists, nil, []int{1, 2, 3, 4, 5, 6}},
		{check.In, []string{"a", "b"}, []int{1, 2}},
		{check.In, []string{"", "c", "longer than a word", "a"}, []int{1, 4, 5, 6}},
		{check.Intersects, []string{"c", "longer than a word"}, []int{3, 4, 6}},
		{check.Intersects, []string{""}, []int{5}},
		{check.In, nil, nil},
	} {
		w := newWorld(t, 1)
		p := &check.Program{Rules: []*check.Rule{{
			Name: "r", Priority: "Notice", Types: []event.Type{event.SyscallOpenX},
			Cond: &check.Test{Field: r, Op: c.op, Values: texts(c.vals...)},
		}}}
		code, err := Compile(p, Options{})
		if err != nil {
			t.Fatal(err)
		}
		validate(t, code)
		u := w.loadFor(code, func(string) (int, error) { return 0, nil })
		var b event.Builder
		for i, s := range items {
			w.a.Batch.Append(b.Start(1, 1, event.SyscallOpenX).Done(), 1)
			if s == "" {
				w.a.Batch.SetMissing(0, i)
			} else {
				w.a.Batch.SetBytes(0, i, []byte(s))
			}
		}
		var got []int
		for i := range u.judge() {
			got = append(got, i)
		}
		slices.Sort(got)
		if !slices.Equal(got, c.want) {
			t.Errorf("operator %d, %q: got %v, want %v", c.op, c.vals, got, c.want)
		}
	}
}

// TestBigSets: sets of every size, on both sides of where the code changes its form.
func TestBigSets(t *testing.T) {
	for _, n := range []int{1, 2, 7, 8, 9, tableMin - 1, tableMin, tableMin + 1, 5000} {
		var vals []string
		for i := range n {
			vals = append(vals, strings.Repeat("x", i%40)+fmt.Sprint(i))
		}
		w := newWorld(t, 1)
		var want []int
		for i := range min(n, 50) {
			s := vals[(i*997)%n]
			w.withName(&s)
			want = append(want, 2*i)
			miss := s + "-"
			w.withName(&miss)
		}
		w.withName(nil)
		if got := w.judgeEach(&check.Test{Field: ref(t, "proc.name"), Op: check.In, Values: texts(vals...)})[0]; !slices.Equal(got, want) {
			t.Errorf("%d constants: got %v, want %v", n, got, want)
		}
		for _, op := range []check.Op{check.Contains, check.PMatch} {
			if op == check.Contains && n > 1 {
				continue
			}
			w.judgeEach(&check.Test{Field: ref(t, "proc.name"), Op: op, Values: texts(vals...)})
		}
	}
}

// TestManyRules: programs too big for one function are cut, and the first rule in load order still wins.
func TestManyRules(t *testing.T) {
	var conds []string
	for i := range 400 {
		var names []string
		for k := range 12 {
			names = append(names, fmt.Sprintf("name-%d-%d", i, k))
		}
		conds = append(conds, fmt.Sprintf("evt.type = open and (proc.name in (%s) or fd.name startswith /dir-%d/ or fd.name endswith .ext%d)", strings.Join(names, ", "), i, i))
	}
	conds = append(conds, "evt.type = open and proc.name startswith name-3")
	p := rules(t, conds...)
	w := newWorld(t, 1)
	for _, s := range []string{"name-399-11", "name-0-0", "name-3-99", "name-4-99", "name-200-5"} {
		w.withName(&s)
	}
	u := w.load("auto", p, Options{})
	got := u.judge()
	w.same(p, got, w.expect(p))
	if got[0] != 399 || got[1] != 0 || got[2] != 400 || got[4] != 200 || len(got) != 4 {
		t.Errorf("got %v", got)
	}
}

// TestBigCondition: one condition of thousands of tests becomes several functions.
func TestBigCondition(t *testing.T) {
	or := check.Or{}
	for i := range 3000 {
		or = append(or, check.And{
			&check.Test{Field: ref(t, "proc.name"), Op: check.Eq, Values: texts(fmt.Sprintf("a-name-of-%d", i))},
			&check.Not{X: &check.Test{Field: ref(t, "user.uid"), Op: check.Eq, Values: ints(uint64(i) + 1)}},
		})
	}
	w := newWorld(t, 1)
	for _, s := range []string{"a-name-of-0", "a-name-of-2999", "a-name-of-3000", "a-name-of-1500"} {
		w.withName(&s)
	}
	if got := w.judgeEach(or)[0]; !slices.Equal(got, []int{0, 1, 3}) {
		t.Errorf("got %v", got)
	}
}

func TestDeepCondition(t *testing.T) {
	deep := func(n int) check.Cond {
		var c check.Cond = &check.Test{Field: ref(t, "proc.name"), Op: check.Eq, Values: texts("x")}
		for i := range n {
			x := &check.Test{Field: ref(t, "proc.pname"), Op: check.Eq, Values: texts(fmt.Sprint(i))}
			if i%2 == 0 {
				c = check.Or{c, x}
			} else {
				c = check.And{c, &check.Not{X: x}}
			}
		}
		return c
	}
	w := newWorld(t, 1)
	s := "x"
	w.withName(&s)
	if got := w.judgeEach(deep(900))[0]; !slices.Equal(got, []int{0}) {
		t.Errorf("got %v", got)
	}
	_, err := Compile(&check.Program{Rules: []*check.Rule{{Name: "deep", Types: worldTypes, Cond: deep(5000)}}}, Options{})
	if err == nil || !strings.Contains(err.Error(), `rule "deep"`) {
		t.Errorf("got %v", err)
	}
}

func TestErrors(t *testing.T) {
	test := func(f string, op check.Op, v ...check.Const) check.Cond {
		return &check.Test{Field: ref(t, f), Op: op, Values: v}
	}
	bad := field.Field{Name: "x", Type: field.Uint, Read: field.Read{Base: field.File, Offset: wasmabi.FileSize - 4, Width: field.U64}}
	for want, c := range map[string]check.Cond{
		"regex isn't supported yet": test("proc.name", check.Regex, texts("a.*")...),
		"without a field":           &check.Test{},
		"2 values where one":        test("proc.name", check.Eq, texts("a", "b")...),
		"0 values where one":        test("proc.name", check.Contains),
		"doesn't take operator":     test("user.uid", check.Contains, texts("a")...),
		"an address of 3 bytes":     test("fd.sip", check.Eq, check.Const{Bytes: []byte{1, 2, 3}}),
		"an address doesn't take":   test("fd.sip", check.Lt, check.Const{Bytes: []byte{1, 2, 3, 4}}),
		"no condition":              nil,
		"past the record's end":     &check.Test{Field: field.Ref{Field: &bad, Text: "x"}, Op: check.Eq, Values: ints(1)},
		"a text of":                 test("proc.name", check.Eq, check.Const{Bytes: make([]byte, 1<<20)}),
	} {
		code, err := Compile(&check.Program{Rules: []*check.Rule{{Name: "bad rule", Types: worldTypes, Cond: c}}}, Options{})
		if err == nil || code != nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), `"bad rule"`) {
			t.Errorf("%s: got %v", want, err)
		}
	}
	for _, o := range []Options{{Name: "a b"}, {WindowSize: 65537}, {WindowSize: 1 << 31}, {WindowSize: 65536}} {
		if _, err := Compile(&check.Program{}, o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}

// TestModule looks at what surrounds the code: imports, exports, sections, names; and that the bytes are always the same.
func TestModule(t *testing.T) {
	p := benchRules(t)
	o := Options{Name: "bench", Version: "1.2.3", Description: "rules to measure", WindowSize: 96 << 20}
	code, err := Compile(p, o)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		again, err := Compile(benchRules(t), o)
		if err != nil || !bytes.Equal(code, again) {
			t.Fatalf("other bytes for the same rules: %v", err)
		}
	}
	bin, err := wasm.Decode(code)
	if err != nil {
		t.Fatal(err)
	}
	if len(bin.Imports) != 1 || bin.Imports[0].Module != wasmabi.ImportModule || bin.Imports[0].Name != wasmabi.ImportAlert {
		t.Errorf("imports %+v", bin.Imports)
	}
	var exports []string
	for _, e := range bin.Exports {
		exports = append(exports, e.Name)
	}
	slices.Sort(exports)
	if !slices.Equal(exports, []string{"memory", wasmabi.VersionExport, wasmabi.ExportBatch, wasmabi.ExportWindow}) {
		t.Errorf("exports %q", exports)
	}
	var man wasmabi.Manifest
	var table wasmabi.RuleTable
	for name, v := range map[string]any{wasmabi.SectionManifest: &man, wasmabi.SectionRules: &table} {
		b, ok := bin.Custom(name)
		if !ok {
			t.Fatalf("no section %s", name)
		}
		if err := json.Unmarshal(b, v); err != nil {
			t.Fatal(err)
		}
	}
	if man.Name != o.Name || man.Version != o.Version || man.Description != o.Description || man.WindowSize != o.WindowSize {
		t.Errorf("manifest %+v", man)
	}
	if !slices.Equal(man.Segments, []string{"threads", "files", "containers", "strings", "private"}) || len(man.Fields) != 0 {
		t.Errorf("segments %q, fields %q", man.Segments, man.Fields)
	}
	if slices.Contains(man.EventCodes, uint16(event.SyscallCloseX)) || !slices.Contains(man.EventCodes, uint16(event.SyscallCreatX)) {
		t.Errorf("event codes %d", man.EventCodes)
	}
	if len(table.Rules) != len(p.Rules) || table.Rules[0].Name != "sensitive file read" || table.Rules[0].Line == 0 {
		t.Errorf("rules %+v", table.Rules)
	}
	if names, _ := bin.Custom("name"); !bytes.Contains(names, []byte(fmt.Sprintf("judge SyscallPtraceX bench.yaml:%d", p.Rules[len(p.Rules)-3].Pos.Line))) {
		t.Error("the name section doesn't say where a rule stands")
	}
	// Only what the rules read is mapped.
	code, err = Compile(rules(t, "evt.type = close and fd.num > 5"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	b, _, _ := wasm.CustomSection(code, wasmabi.SectionManifest)
	if man = (wasmabi.Manifest{}); json.Unmarshal(b, &man) != nil || len(man.Segments) != 0 || !slices.Equal(man.Events, []string{"close"}) {
		t.Errorf("manifest %s", b)
	}
	if code, err = Compile(&check.Program{}, Options{}); err != nil {
		t.Fatal(err)
	}
	validate(t, code)
}

// TestFieldEvents: a column is only wanted for the event types whose rules read it.
func TestFieldEvents(t *testing.T) {
	code, err := Compile(rules(t, "evt.type = open and evt.arg.name contains x", "evt.type in (openat, connect) and proc.name = x or evt.type = creat and evt.res = SUCCESS"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	b, _, _ := wasm.CustomSection(code, wasmabi.SectionManifest)
	var man wasmabi.Manifest
	if err := json.Unmarshal(b, &man); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(man.Fields, []string{"evt.arg.name", "evt.res"}) || len(man.FieldEvents) != 2 ||
		!slices.Equal(man.FieldEvents[0], []uint16{uint16(event.SyscallOpenX)}) || !slices.Equal(man.FieldEvents[1], []uint16{uint16(event.SyscallCreatX)}) {
		t.Errorf("fields %q for %d", man.Fields, man.FieldEvents)
	}
}

// TestAllocs: judging allocates nothing.
func TestAllocs(t *testing.T) {
	w := usual(t)
	w.usualEvents(mixes[0].types)
	u := w.load("auto", benchRules(t), Options{})
	u.extract()
	if n := len(u.judge()); n != 0 {
		t.Fatalf("%d alerts", n)
	}
	if u.h.EngineMode() == host.Interpreter {
		t.Skip("the interpreter allocates for every call of a function; this machine can't run compiled code")
	}
	if n := testing.AllocsPerRun(20, func() {
		if err := u.m.Judge(context.Background()); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestFnmatch compares the patterns with the shell's, which is another one's fnmatch.
func TestFnmatch(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no sh")
	}
	for _, p := range []string{"*", "a*", "*a", "?", "a?b", "[a-c]x", "[!a-c]x", "*.log", "a*b*c", "[]x]", `\*`, `a\?`, "[[:alpha:]]*", "x[0-9][0-9]"} {
		for _, s := range []string{"", "a", "b", "ab", "axb", "bx", "dx", "x.log", "abc", "aXbYc", "]", "x", "*", "a?", "x12", "x1"} {
			err := exec.Command(sh, "-c", `case "$1" in `+p+`) exit 0;; esac; exit 1`, "sh", s).Run()
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			if got := matchGlob(parseGlob([]byte(p)), []byte(s)); got != (err == nil) {
				t.Errorf("%q on %q: %v", p, s, got)
			}
		}
	}
}
