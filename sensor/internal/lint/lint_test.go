package lint

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const module = "github.com/shikra-sensor/shikra"

type pkg struct {
	ImportPath string
	Dir        string
	Imports    []string
	GoFiles    []string
}

// packages lists the module's packages with the imports of their non-test files, for each architecture we ship.
func packages(t *testing.T) map[string]pkg {
	t.Helper()
	out := map[string]pkg{}
	for _, arch := range []string{"amd64", "arm"} {
		cmd := exec.Command("go", "list", "-json=ImportPath,Dir,Imports,GoFiles", "./...")
		cmd.Dir = root(t)
		cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+arch, "CGO_ENABLED=0")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		b, err := cmd.Output()
		if err != nil {
			t.Fatalf("go list: %v\n%s", err, stderr.String())
		}
		for d := json.NewDecoder(bytes.NewReader(b)); ; {
			var p pkg
			if err := d.Decode(&p); err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			q := out[p.ImportPath]
			p.Imports = append(p.Imports, q.Imports...)
			out[p.ImportPath] = p
		}
	}
	return out
}

func root(t *testing.T) string {
	t.Helper()
	d, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// fences are who alone may import what. This is a statement of policy (docs/architecture.md): a failing line is a reason to
// move the code, never to add a name here so that the build passes.
var fences = []struct {
	imported string // prefix of an import path
	by       []string
}{
	{"github.com/tetratelabs/wazero", []string{"sensor/internal/host"}},
	{"github.com/cilium/ebpf", []string{"bpf", "sensor/internal/probe", "sensor/internal/source/live"}},
	{"github.com/spf13/viper", []string{"sensor/internal/config"}},
	{"github.com/sigstore", []string{"sensor/internal/artifact"}},
	{"github.com/google/go-containerregistry", []string{"sensor/internal/artifact"}},
	{"github.com/spf13/cobra", []string{"sensor/internal/cli"}},
	{module + "/sensor/internal/config", []string{"sensor/internal/cli"}},
	{module + "/sensor/internal/cli", []string{"sensor/cmd"}},
	{module + "/sensor/internal/pipeline", []string{"sensor/internal/cli"}},
	{module + "/sensor/internal/probe", []string{"sensor/internal/cli"}},
	{module + "/sensor/internal/rule/eval", []string{}},                                                                // the oracle: tests only
	{"os/exec", []string{"sensor/internal/loadgen", "sensor/internal/probe/kernels", "sensor/internal/probe/rawcall"}}, // the sensor starts no process, whose events would be its own
	{"github.com/prometheus/client_golang", []string{"sensor/internal/metrics"}},
	{"google.golang.org/grpc", []string{"sensor/internal/container/engine"}},
	{"k8s.io", []string{"sensor/internal/container/engine"}},
	{"github.com/containerd", []string{"sensor/internal/container/engine"}},
	{module + "/sensor/internal/container/lookup", []string{"sensor/internal/cli"}},
}

// stages stand in the way of the data; a stage never imports another, only what lies below all of them.
var stages = []string{
	"sensor/internal/source/live", "sensor/internal/source/replay", "sensor/internal/decode", "sensor/internal/state",
	"sensor/internal/host", "sensor/internal/output", "sensor/internal/metrics",
}

func TestImportPolicy(t *testing.T) {
	pkgs := packages(t)
	if len(pkgs) < 10 {
		t.Fatalf("only %d packages found", len(pkgs))
	}
	within := func(path string, dirs []string) bool {
		for _, d := range dirs {
			if p := module + "/" + d; path == p || strings.HasPrefix(path, p+"/") {
				return true
			}
		}
		return false
	}
	for path, p := range pkgs {
		for _, im := range p.Imports {
			for _, f := range fences {
				if (im == f.imported || strings.HasPrefix(im, f.imported+"/")) && !within(path, append(f.by, strings.TrimPrefix(f.imported, module+"/"))) {
					t.Errorf("%s imports %s; only %v may", path, im, f.by)
				}
			}
			for _, a := range stages {
				for _, b := range stages {
					// Decode's verdict on a record is what state applies: the one step that shares a type.
					if a != b && within(path, []string{a}) && within(im, []string{b}) && !(a == "sensor/internal/state" && b == "sensor/internal/decode") {
						t.Errorf("%s imports %s: a stage never imports a stage", path, im)
					}
				}
			}
		}
	}
}

// TestPackageDocs checks that each package says in one sentence what its folder is for.
func TestPackageDocs(t *testing.T) {
	for path, p := range packages(t) {
		if len(p.GoFiles) == 0 {
			continue
		}
		var docs []string
		for _, f := range p.GoFiles {
			af, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, f), nil, parser.PackageClauseOnly|parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			if d := af.Doc; d != nil {
				docs = append(docs, d.Text())
			}
		}
		if len(docs) != 1 {
			t.Errorf("%s has %d package comments, want one", path, len(docs))
			continue
		}
		text := strings.ReplaceAll(docs[0], "\n", " ") + " "
		first, _, ok := strings.Cut(text, ". ")
		if !ok || len(first) > 220 || !strings.HasPrefix(first, "Package ") && !strings.HasPrefix(first, "Command ") {
			t.Errorf("%s: the first sentence of its doc must say in one line what it is: %q", path, first)
		}
	}
}

// TestNoInit refuses registration by init.
func TestNoInit(t *testing.T) {
	for path, p := range packages(t) {
		for _, f := range p.GoFiles {
			if strings.HasSuffix(f, "_bpfel.go") {
				continue
			}
			af, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, f), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range af.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
					t.Errorf("%s/%s: no init functions", path, f)
				}
			}
		}
	}
}

var generated = regexp.MustCompile(`(?m)^(//|/\*) Code generated .* DO NOT EDIT\.`)

// TestFiles holds what is true of every tracked source file: a bound on its length, no vague names, no stray paths.
func TestFiles(t *testing.T) {
	r := root(t)
	vague := map[string]bool{"util": true, "utils": true, "common": true, "types": true, "manager": true, "helpers": true, "misc": true}
	n := 0
	err := filepath.WalkDir(r, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if vague[d.Name()] {
				t.Errorf("%s: the name says nothing", path)
			}
			if strings.HasPrefix(d.Name(), ".") && path != r && d.Name() != ".ci" {
				return filepath.SkipDir
			}
			return nil
		}
		ext := filepath.Ext(path)
		if ext != ".go" && ext != ".c" && ext != ".h" {
			return nil
		}
		if vague[strings.TrimSuffix(d.Name(), ext)] {
			t.Errorf("%s: the name says nothing", path)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		n++
		if lines := bytes.Count(b, []byte("\n")); lines > 800 && !generated.Match(b) {
			t.Errorf("%s has %d lines; a file is one concept, at most 800 lines", path, lines)
		}
		if rel, _ := filepath.Rel(r, path); strings.HasPrefix(rel, "bpf/") && (ext == ".c" || ext == ".h") {
			if !bytes.Contains(b[:min(len(b), 200)], []byte("GPL-2.0 OR BSD-2-Clause")) {
				t.Errorf("%s: the licence header GPL-2.0 OR BSD-2-Clause is missing", path)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n < 50 {
		t.Fatalf("only %d files seen", n)
	}
}
