package ast

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestPrint(t *testing.T) {
	test := func(f string) Expr { return &Test{Field: f, Op: "exists"} }
	a, b, m := test("a.a"), test("b.b"), &MacroRef{Name: "m"}
	arg := "2"
	for _, c := range []struct {
		x    Expr
		want string
	}{
		{&And{X: []Expr{a, &Or{X: []Expr{b, m}}}}, "a.a exists and (b.b exists or m)"},
		{&Or{X: []Expr{a, &And{X: []Expr{b, m}}}}, "a.a exists or b.b exists and m"},
		{&And{X: []Expr{a, &And{X: []Expr{b, m}}}}, "a.a exists and (b.b exists and m)"},
		{&Or{X: []Expr{&Or{X: []Expr{a, m}}, b}}, "(a.a exists or m) or b.b exists"},
		{&Not{X: &Not{X: m}}, "not (not m)"},
		{&Not{X: &And{X: []Expr{a, m}}}, "not (a.a exists and m)"},
		{&And{X: []Expr{&Not{X: a}, m}}, "not a.a exists and m"},
		{&Test{Field: "a.b[c d]", Op: "=", Values: []Value{{Text: "x y"}}}, `a.b["c d"] = "x y"`},
		{&Test{Field: "a.b[2]", Op: "in", Paren: true, Values: []Value{{Text: "x"}, {Text: "y", Quoted: true}, {Text: ""}}}, `a.b[2] in (x, "y", "")`},
		{&Test{Field: "a.b", Op: "contains", Mod: "anyof", Values: []Value{{Text: "l"}}}, "a.b contains anyof l"},
		{&Test{Field: "a.b", Op: "=", Values: []Value{{Text: "\"\\\n\x01\xffé"}}}, `a.b = "\"\\\n\x01\xffé"`},
		{&Test{Left: &Call{Name: "join", Args: []Operand{{Value: &Value{Text: ",", Quoted: true}}, {List: []Operand{{Field: "a.b"}, {Call: &Call{Name: "len", Args: []Operand{{Field: "c.d"}}}}}}}, Index: &arg},
			Op: "!=", Right: &Call{Name: "val", Args: []Operand{{Field: "e.f"}}}}, `join(",", (a.b, len(c.d)))[2] != val(e.f)`},
	} {
		if got := Print(c.x); got != c.want {
			t.Errorf("got %s\nwant %s", got, c.want)
		}
	}
}

func TestNearest(t *testing.T) {
	names := []string{"proc.name", "proc.pname", "proc.exe", "fd.name", "evt.type"}
	for word, want := range map[string]string{
		"proc.nmae": "proc.name", "porc.name": "proc.name", "proc.pnam": "proc.pname", "evt.typ": "evt.type", "evttype": "evt.type",
		"container.id": "", "x": "", "": "", "proc.name": "proc.pname", strings.Repeat("x", 1000): "",
	} {
		if got := Nearest(word, names); got != want {
			t.Errorf("Nearest(%q) = %q, expected %q", word, got, want)
		}
	}
}

func TestSource(t *testing.T) {
	s := Source{Text: "ab cd", Runs: []Run{{Off: 0, N: 2, Pos: Pos{"f", 1, 5}}, {Off: 3, N: 2, Pos: Pos{"f", 2, 3}}}}
	j := s.Join(Plain("xy", Pos{"g", 7, 1}))
	if j.Text != "ab cd xy" {
		t.Errorf("joined: %q", j.Text)
	}
	for off, want := range []Pos{{"f", 1, 5}, {"f", 1, 6}, {"f", 1, 7}, {"f", 2, 3}, {"f", 2, 4}, {"f", 2, 5}, {"g", 7, 1}, {"g", 7, 2}, {"g", 7, 3}, {"g", 7, 3}} {
		if got := j.At(off); got != want {
			t.Errorf("byte %d is at %s, expected %s", off, got, want)
		}
	}
	if len(s.Runs) != 2 || (Source{}).At(3) != (Pos{}) {
		t.Error("Join changed its receiver, or the empty source has a place")
	}
}

func TestDiagnostics(t *testing.T) {
	ds := Diagnostics{
		{Pos: Pos{"f", 1, 3}, Severity: Warning, Code: "w", Message: "odd", Line: "a\tb"},
		{Pos: Pos{"f", 2, 1}, Severity: Error, Code: "e", Message: "bad", Hint: "do this"},
	}
	if err := ds.Err(); err == nil || err.Error() != "f:2:1: error: bad; do this" || ds.Errors() != 1 {
		t.Errorf("Err: %v", err)
	}
	if err := ds[:1].Err(); err != nil {
		t.Errorf("a warning is an error: %v", err)
	}
	if err := append(ds, ds[1]).Err(); !strings.HasSuffix(err.Error(), "(and 1 more errors)") {
		t.Errorf("Err: %v", err)
	}
	var b strings.Builder
	if err := ds.WriteText(&b); err != nil || b.String() != "f:1:3: warning: odd\n    a b\n      ^\nf:2:1: error: bad\n    do this\n" {
		t.Errorf("WriteText: %v\n%s", err, b.String())
	}
	js, err := json.Marshal(ds[1])
	if want := `{"pos":{"file":"f","line":2,"col":1},"severity":"error","code":"e","message":"bad","hint":"do this"}`; err != nil || string(js) != want {
		t.Errorf("JSON: %s %v", js, err)
	}
	for p, want := range map[Pos]string{{}: "", {File: "f"}: "f", {Line: 2, Col: 3}: "2:3", {"f", 2, 3}: "f:2:3"} {
		if p.String() != want {
			t.Errorf("%#v is shown as %q", p, p.String())
		}
	}
}
