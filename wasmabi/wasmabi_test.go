package wasmabi

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestGenerated: layout_gen.go and the tables of ABI.md are what gen.go makes of layout.txt.
func TestGenerated(t *testing.T) {
	tool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("no go command: this is a cross-built test binary, the native run compares")
	}
	dir := t.TempDir()
	files := []string{"gen.go", "layout.txt", "layout_gen.go", "ABI.md"}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, f), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(tool, "run", "gen.go")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GO111MODULE=off", "GOOS=", "GOARCH=", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("gen.go: %v\n%s", err, out)
	}
	for _, f := range files[2:] {
		want, err := os.ReadFile(filepath.Join(dir, f))
		if err != nil {
			t.Fatal(err)
		}
		have, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(want, have) {
			t.Errorf("%s isn't fresh: go generate in wasmabi", f)
		}
	}
}

// TestLayouts: fields lie inside their record, in order, aligned, without overlap; names are unique.
func TestLayouts(t *testing.T) {
	names := map[string]bool{}
	for _, l := range Layouts {
		if names[l.Name] || l.Size <= 0 || l.Doc == "" {
			t.Errorf("record %s: doubled, empty or without a meaning", l.Name)
		}
		names[l.Name] = true
		end, fields := 0, map[string]bool{}
		for _, f := range l.Fields {
			if fields[f.Name] || f.Offset < end || f.Offset+f.Size > l.Size {
				t.Errorf("%s.%s: doubled, overlapping or outside", l.Name, f.Name)
			}
			if !strings.HasPrefix(f.Type, "bytes") && f.Offset%f.Size != 0 {
				t.Errorf("%s.%s: offset %d isn't aligned to %d", l.Name, f.Name, f.Offset, f.Size)
			}
			fields[f.Name] = true
			end = f.Offset + f.Size
		}
	}
	for _, n := range []string{"directory", "batch", "event", "cell", "string", "thread", "file", "container"} {
		if !names[n] {
			t.Errorf("no record %s", n)
		}
	}
}

// TestConstants: what hangs together.
func TestConstants(t *testing.T) {
	for _, c := range []struct {
		what      string
		got, want int
	}{
		{"directory", DirectorySize, WindowAlign},
		{"batch index", layoutSize("batch", "index"), 4 * BatchMax},
		{"columns of the directory", layoutSize("directory", "columns"), 4 * 256},
		{"columns", ColumnsOffset, BatchSize},
		{"payload", PayloadOffset, BatchSize + MaxColumns*BatchMax*CellSize},
		{"magic", MagicWord, int('S') | int('H')<<8 | int('K')<<16 | int('W')<<24},
	} {
		if c.got != c.want {
			t.Errorf("%s: %d, want %d", c.what, c.got, c.want)
		}
	}
	if int(NumSegments)*8 > layoutSize("directory", "segments") || 4*MaxColumns > layoutSize("directory", "columns") {
		t.Error("more segments or columns than the directory has room for")
	}
	for s := range NumSegments {
		if got, ok := SegmentByName(s.String()); !ok || got != s {
			t.Errorf("SegmentByName(%q) = %d, %v", s, got, ok)
		}
	}
	if _, ok := SegmentByName("unknown"); ok || NumSegments.String() != "unknown" {
		t.Error("a segment called unknown")
	}
}

// layoutSize returns the bytes of a field.
func layoutSize(record, field string) int {
	for _, l := range Layouts {
		for _, f := range l.Fields {
			if l.Name == record && f.Name == field {
				return f.Size
			}
		}
	}
	return 0
}

// TestText: ABI.md names every export, import, section, segment and key, and states the limits as they are.
func TestText(t *testing.T) {
	b, err := os.ReadFile("ABI.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	want := []string{VersionExport, ExportWindow, ExportBatch, ImportModule, ImportAlert, ImportRefill, SectionManifest, SectionRules,
		fmt.Sprintf("version %d.%d", Major, Minor), fmt.Sprintf("at most %d (`batch_max`) events", BatchMax),
		fmt.Sprintf("| events in a batch | %d |", BatchMax), fmt.Sprintf("| fields | %d over", MaxColumns), fmt.Sprint("aligned to ", WindowAlign)}
	for s := range NumSegments {
		want = append(want, fmt.Sprintf("| %d | `%s` |", s, s))
	}
	for _, k := range slices.Concat(jsonKeys(Manifest{}), jsonKeys(Rule{}), jsonKeys(Needs{}), jsonKeys(Payload{}), jsonKeys(Condition{}), jsonKeys(Paths{})) {
		want = append(want, "`"+k+"`")
	}
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("ABI.md doesn't say %s", w)
		}
	}
}
