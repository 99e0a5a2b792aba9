package load

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/rule/compile"
)

const good = `
- rule: a
  desc: d
  condition: evt.type = openat and proc.name = cat
  output: "%fd.name"
  priority: NOTICE
`

func write(t *testing.T, dir, name, text string, mode os.FileMode) string {
	t.Helper()
	p := filepath.Join(dir, name)
	if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(p, mode); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestReadOrder(t *testing.T) {
	dir := t.TempDir()
	for _, n := range []string{"20-b.yaml", "10-a.yml", "30-c.wasm", "README.md", "40-d.yaml.bak"} {
		write(t, dir, n, n, 0o600)
	}
	one := write(t, t.TempDir(), "one.yaml", "one", 0o600)
	got, err := Read([]string{one, dir}, true)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range got {
		names = append(names, filepath.Base(s.Name))
	}
	if s := strings.Join(names, " "); s != "one.yaml 10-a.yml 20-b.yaml 30-c.wasm" {
		t.Error(s)
	}
}

// TestTrust: what others could have changed is refused, wherever the right to change it comes from.
func TestTrust(t *testing.T) {
	dir := t.TempDir()
	open := t.TempDir()
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	sticky := t.TempDir()
	if err := os.Chmod(sticky, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	target := write(t, open, "target.yaml", good, 0o644)
	link := filepath.Join(dir, "link.yaml")
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		path, want string
	}{
		{write(t, dir, "fine.yaml", good, 0o644), ""},
		{write(t, dir, "group.yaml", good, 0o664), "has mode 0664"},
		{write(t, dir, "world.yaml", good, 0o646), "has mode 0646"},
		{write(t, open, "folder.yaml", good, 0o600), "has mode 0777"},
		{link, "has mode 0777"},
	} {
		_, err := Read([]string{tc.path}, true)
		var te *TrustError
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("%s: %v", tc.path, err)
		case tc.want != "" && (!errors.As(err, &te) || !strings.Contains(err.Error(), tc.want)):
			t.Errorf("%s: %v, want %q", tc.path, err, tc.want)
		}
		if _, err := Read([]string{tc.path}, false); err != nil {
			t.Errorf("%s, not to be run: %v", tc.path, err)
		}
	}
	if os.Geteuid() == 0 {
		foreign := write(t, dir, "foreign.yaml", good, 0o600)
		if err := os.Chown(foreign, 12345, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := Read([]string{foreign}, true); err == nil || !strings.Contains(err.Error(), "belongs to uid 12345") {
			t.Errorf("%v", err)
		}
		mine := write(t, sticky, "mine.yaml", good, 0o600)
		if _, err := Read([]string{mine}, true); err != nil {
			t.Errorf("a file of root's in a folder like /tmp: %v", err)
		}
	}
}

func TestReadErrors(t *testing.T) {
	if _, err := Read([]string{"/nonexistent"}, true); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	fifo := filepath.Join(t.TempDir(), "fifo.yaml")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{fifo, "/dev/null"} {
		if _, err := Read([]string{p}, false); err == nil || !strings.Contains(err.Error(), "isn't a regular file") {
			t.Errorf("%s: %v", p, err)
		}
	}
	big := write(t, t.TempDir(), "big.yaml", strings.Repeat("#", maxFile+1), 0o600)
	if _, err := Read([]string{big}, true); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Error(err)
	}
}

func TestCompile(t *testing.T) {
	o := Options{Compile: compile.Options{Name: "x", Version: "1.0.0"}}
	wasm, ds, err := Compile([]Source{{Name: "good.yaml", Data: []byte(good)}}, o)
	if err != nil || len(ds) != 0 || !(&Source{Data: wasm}).IsModule() {
		t.Errorf("%v %v", err, ds)
	}
	// Every file's errors are told, not only the first's.
	_, ds, err = Compile([]Source{{Name: "a.yaml", Data: []byte("- rule")}, {Name: "b.yaml", Data: []byte("x: [")}}, o)
	if !errors.Is(err, ErrRules) || ds.Errors() < 2 || ds[0].Pos.File != "a.yaml" || ds[len(ds)-1].Pos.File != "b.yaml" {
		t.Errorf("%v %v", err, ds)
	}
}
