package field

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"testing"
	"unicode"

	"go.yaml.in/yaml/v3"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/testkit"
	"github.com/shikra-sensor/shikra/wasmabi"
)

var layoutOf = map[Base]string{
	Event: "event", Thread: "thread", Leader: "thread", Parent: "thread", Ancestor: "thread", File: "file", Container: "container",
}

var widthTypes = map[Width][]string{
	U8: {"u8"}, U16: {"u16"}, U32: {"u32"}, I32: {"i32"}, U64: {"u64"}, I64: {"i64"},
	Str: {"str"}, PStr: {"pstr"}, Addr: {"bytes16"}, Char: {"u8"},
}

func layoutField(t *testing.T, record string, offset int) wasmabi.Field {
	t.Helper()
	for _, l := range wasmabi.Layouts {
		if l.Name != record {
			continue
		}
		for _, f := range l.Fields {
			if f.Offset == offset {
				return f
			}
		}
	}
	t.Errorf("no field of %s starts at %d", record, offset)
	return wasmabi.Field{}
}

// Every direct read starts at a field of its record and is as wide as it.
func TestDirectReadsFitLayout(t *testing.T) {
	n := 0
	check := func(f *Field) {
		r := f.Read
		lf := layoutField(t, layoutOf[r.Base], r.Offset)
		ok := false
		for _, w := range widthTypes[r.Width] {
			ok = ok || w == lf.Type
		}
		if !ok && !(f.Name == "user.loginuid" && lf.Type == "u32") { // -1 for all ones
			t.Errorf("%s reads width %d of %s.%s, a %s", f.Name, r.Width, layoutOf[r.Base], lf.Name, lf.Type)
		}
		if text := r.Width >= Str; text != f.Type.IsBytes() {
			t.Errorf("%s: width %d for type %s", f.Name, r.Width, f.Type)
		}
		if r.Mask != 0 && (r.Width >= Str || r.Mask>>(8*lf.Size) != 0) {
			t.Errorf("%s: mask %#x of a %s", f.Name, r.Mask, lf.Type)
		}
		if r.Guard != 0 {
			g := layoutField(t, layoutOf[r.Base], r.GuardAt)
			if g.Type != widthTypes[r.GuardWidth][0] || r.Guard>>(8*g.Size) != 0 {
				t.Errorf("%s: guard %#x of %s", f.Name, r.Guard, g.Type)
			}
		}
		if r.Base != File && (r.Part != Whole || r.Kinds != "" || r.Width == Addr) || r.None != "" && r.Base != Container {
			t.Errorf("%s: what only a file or container has", f.Name)
		}
		if r.Part != Whole && r.Offset != wasmabi.FileName {
			t.Errorf("%s: a part of what isn't the file's name", f.Name)
		}
		n++
	}
	for _, f := range All() {
		for _, f := range []*Field{f, f.arg} {
			if f != nil && f.Read.Base != Computed {
				check(f)
			}
		}
		if f.Enum != nil {
			if lf := layoutField(t, layoutOf[f.Enum.Base], f.Enum.Offset); lf.Type != "u8" {
				t.Errorf("%s: enum of a %s", f.Name, lf.Type)
			}
		}
	}
	if n < 60 {
		t.Errorf("only %d direct reads checked", n)
	}
}

// Every entry can be read in exactly one way, has a doc in house style and an argument that Parse takes.
func TestEntries(t *testing.T) {
	all := All()
	if !sort.SliceIsSorted(all, func(i, j int) bool { return all[i].Name < all[j].Name }) {
		t.Error("All isn't sorted")
	}
	for i, f := range all {
		if i > 0 && all[i-1].Name == f.Name {
			t.Errorf("%s is there twice", f.Name)
		}
		ways := 0
		for _, w := range []bool{f.Read.Base != Computed, f.Compute != nil, f.each != nil, f.Either != nil} {
			if w {
				ways++
			}
		}
		if ways != 1 {
			t.Errorf("%s can be read in %d ways", f.Name, ways)
		}
		if f.List != (f.each != nil) {
			t.Errorf("%s: List and each disagree", f.Name)
		}
		doc := []rune(f.Doc)
		if len(doc) < 10 || !unicode.IsUpper(doc[0]) && !unicode.IsDigit(doc[0]) || !strings.HasSuffix(f.Doc, ".") || strings.Contains(f.Doc, "  ") || strings.Contains(f.Doc, "..") {
			t.Errorf("%s: doc %q: want a sentence that begins with a capital and ends in a full stop", f.Name, f.Doc)
		}
		if f.Class() == "" {
			t.Errorf("%s has no class", f.Name)
		}
		for i, n := range f.Either {
			if x := Lookup(n); x == nil || f.refs[i].Field != x || x.Type.IsBytes() != f.Type.IsBytes() {
				t.Errorf("%s: either of %s, which isn't like it", f.Name, n)
			}
		}
		if f.Events != nil {
			some := false
			for _, et := range event.Types() {
				some = some || f.Events(et)
			}
			if !some {
				t.Errorf("%s has no events", f.Name)
			}
		}
		_, bare := Parse(f.Name)
		if need := f.Arg != ArgNone && !f.Optional; (bare != nil) != need {
			t.Errorf("Parse(%q) = %v", f.Name, bare)
		}
		if f.Arg != ArgNone && f.Name != "evt.arg" && f.Name != "evt.rawarg" {
			if r, err := Parse(example(f)); err != nil || r.Name != f.Name {
				t.Errorf("Parse(%q) = %v, %v", example(f), r.Text, err)
			}
		}
	}
}

func TestList(t *testing.T) {
	var text, js bytes.Buffer
	if err := List(&text, false); err != nil {
		t.Fatal(err)
	}
	if err := List(&js, true); err != nil {
		t.Fatal(err)
	}
	for _, f := range All() {
		if !strings.Contains(text.String(), "\n  "+f.Usage()+" ") {
			t.Errorf("%s isn't listed", f.Name)
		}
	}
	var got []listed
	if err := json.Unmarshal(js.Bytes(), &got); err != nil || len(got) != len(All()) {
		t.Fatalf("%d of %d fields, %v", len(got), len(All()), err)
	}
	by := map[string]listed{}
	for _, f := range got {
		by[f.Name] = f
	}
	if f := by["proc.aname"]; f.Arg != "index" || !f.Optional || !f.Direct || f.Events != nil || f.Class != "process" {
		t.Errorf("proc.aname: %+v", f)
	}
	if f := by["fs.path.source"]; f.Direct || fmt.Sprint(f.Events) != "[rename renameat symlink symlinkat mount link linkat renameat2 move_mount]" {
		t.Errorf("fs.path.source: %+v", f)
	}
	if err := List(failing{}, false); err == nil {
		t.Error("List hides the writer's error")
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, os.ErrClosed }

var fieldName = regexp.MustCompile(`\b(?:evt|syscall|proc|thread|fd|fdlist|fs\.path|user|group|container|k8s)\.[a-z_0-9.]*[a-z_0-9](?:\[[^\]]*\])?`)

// Every field that Falco's rules name parses.
func TestFalcoRulesFields(t *testing.T) {
	dir := os.Getenv("SHIKRA_FALCO_DATA")
	if dir == "" {
		testkit.Missing(t, "SHIKRA_FALCO_DATA isn't set: no rules of others to read")
	}
	files, err := filepath.Glob(filepath.Join(dir, "rules", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no rules in %s: %v", dir, err)
	}
	// Constants in the rules that look like fields.
	notFields := map[string]bool{"k8s.io": true, "k8s.gcr.io": true}
	names := map[string]bool{}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var items []struct{ Condition, Output string }
		if err := yaml.Unmarshal(b, &items); err != nil {
			t.Fatal(err)
		}
		for _, it := range items {
			for _, n := range fieldName.FindAllString(stripConstants(it.Condition), -1) {
				names[n] = true
			}
			for _, n := range fieldName.FindAllString(it.Output, -1) {
				if strings.Contains(it.Output, "%"+n) {
					names[n] = true
				}
			}
		}
	}
	base := map[string]bool{}
	for n := range names {
		if notFields[n] {
			continue
		}
		r, err := Parse(n)
		if err != nil {
			t.Errorf("%s: %v", n, err)
			continue
		}
		base[r.Name] = true
	}
	if len(base) < 75 {
		t.Errorf("found only %d fields: %v", len(base), base)
	}
	t.Logf("%d names of %d fields", len(names), len(base))
}

// stripConstants leaves out what stands in quotes and in lists.
func stripConstants(s string) string {
	return regexp.MustCompile(`"[^"]*"`).ReplaceAllString(s, "")
}
