package field

import (
	"bytes"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
)

// without names the fields of Falco's that have no source here, and why.
var without = map[string]string{
	"thread.exectime":    "needs every context switch of each CPU in a row, which nobody pays for",
	"thread.totexectime": "needs every context switch of each CPU in a row, which nobody pays for",
	"thread.cpu":         "of an event (procinfo) that no probe makes",
	"thread.cpu.user":    "of an event (procinfo) that no probe makes",
	"thread.cpu.system":  "of an event (procinfo) that no probe makes",
	"fd.cip.name":        "the sensor asks no resolver",
	"fd.sip.name":        "the sensor asks no resolver",
	"fd.lip.name":        "the sensor asks no resolver",
	"fd.rip.name":        "the sensor asks no resolver",
}

// TestFalcoFields lists every field of Falco 0.44's process, fd, fdlist, fs.path, user and group classes (libs 0.25, those that
// its own list shows) with its source here: testdata/falco.txt, which -update makes anew. None is without one unless it is said why.
func TestFalcoFields(t *testing.T) {
	const file = "testdata/falco.txt"
	old, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	n := 0
	for _, line := range strings.Split(strings.TrimSpace(string(old)), "\n") {
		name, _, _ := strings.Cut(line, " ")
		f, why := Lookup(name), without[name]
		empty := f == nil || f.Compute != nil && reflect.ValueOf(f.Compute).Pointer() == reflect.ValueOf(never).Pointer()
		switch {
		case empty && why == "":
			t.Errorf("%s has no source", name)
		case !empty && why != "":
			t.Errorf("%s has a source, though it is said that it %s", name, why)
		}
		fmt.Fprintf(&b, "%-42s %s\n", name, source(f, why))
		n++
	}
	if n != 153 {
		t.Errorf("%d fields", n)
	}
	if *update {
		if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if !bytes.Equal(old, b.Bytes()) {
		t.Errorf("%s isn't what the catalogue says; -update makes it anew", file)
	}
}

// source says in a line where a field comes from.
func source(f *Field, why string) string {
	switch {
	case why != "":
		return "none: " + why
	case f == nil:
		return "none"
	case len(f.Either) > 0:
		return "either of " + strings.Join(f.Either, ", ")
	case f.Read.Base == Computed:
		return "computed of the state"
	}
	base := map[Base]string{
		Event: "event", Thread: "thread", Leader: "main thread", Parent: "parent", Ancestor: "ancestor", File: "file", Container: "container",
	}[f.Read.Base]
	s := fmt.Sprintf("%s record, offset %d", base, f.Read.Offset)
	if f.Read.Mask != 0 {
		s += fmt.Sprintf(", bit %#x", f.Read.Mask)
	}
	return s
}
