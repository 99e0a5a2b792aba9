// Package load finds rules files, refuses those that others could have changed, and compiles them to one module.
package load

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/rule/ast"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/check"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/compile"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/parse"
)

// maxFile bounds a rules file and a module in bytes.
const maxFile = 16 << 20

// Source is one rules file or module, read.
type Source struct {
	Name string
	Data []byte
}

// IsModule reports whether the source is a Wasm binary.
func (s *Source) IsModule() bool { return strings.HasPrefix(string(s.Data), "\x00asm") }

// TrustError says that a local file could have been changed by somebody who may not decide what the sensor does.
type TrustError struct {
	Path string
	What string
}

// Error says which file, why, and what to do.
func (e *TrustError) Error() string {
	return fmt.Sprintf("%s: %s; a rules file must belong to root or to the user who runs shikra, and nobody else may write to it or to its folder (chown, chmod go-w)", e.Path, e.What)
}

// Read reads the files named, and the *.yaml, *.yml and *.wasm files of the folders named in order of name. When trust
// is set, a file that others than root and the running user can change is refused with a *TrustError.
func Read(paths []string, trust bool) ([]Source, error) {
	var out []Source
	for _, p := range paths {
		st, err := os.Stat(p)
		if err != nil {
			return nil, fmt.Errorf("read rules: %w", err)
		}
		files := []string{p}
		if st.IsDir() {
			files = files[:0]
			ents, err := os.ReadDir(p)
			if err != nil {
				return nil, fmt.Errorf("read rules: %w", err)
			}
			for _, e := range ents {
				switch filepath.Ext(e.Name()) {
				case ".yaml", ".yml", ".wasm":
					files = append(files, filepath.Join(p, e.Name()))
				}
			}
			sort.Strings(files)
		}
		for _, f := range files {
			b, err := readFile(f, trust)
			if err != nil {
				return nil, err
			}
			out = append(out, Source{Name: f, Data: b})
		}
	}
	return out, nil
}

func readFile(path string, trust bool) ([]byte, error) {
	// O_NONBLOCK: opening a fifo must not wait for a writer.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("read rules: %w", err)
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return nil, fmt.Errorf("read rules: %s: isn't a regular file", path)
	}
	if trust {
		// The open file is judged, not the name, so that a swap between check and read gains nothing.
		if err := trusted(path, f); err != nil {
			return nil, err
		}
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read rules: %s: %w", path, err)
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("read rules: %s: more than %d bytes", path, maxFile)
	}
	return b, nil
}

func trusted(path string, f *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return fmt.Errorf("read rules: %s: %w", path, err)
	}
	if err := owned(path, &st); err != nil {
		return err
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return fmt.Errorf("read rules: %w", err)
	}
	dir := filepath.Dir(real)
	if err := unix.Stat(dir, &st); err != nil {
		return fmt.Errorf("read rules: %s: %w", dir, err)
	}
	if st.Mode&unix.S_ISVTX != 0 && st.Uid == 0 {
		return nil // as /tmp: others can't replace a file there that isn't theirs
	}
	return owned(dir, &st)
}

func owned(path string, st *unix.Stat_t) error {
	if st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return &TrustError{path, fmt.Sprintf("belongs to uid %d", st.Uid)}
	}
	if st.Mode&0o022 != 0 {
		return &TrustError{path, fmt.Sprintf("has mode %04o", st.Mode&0o7777)}
	}
	return nil
}

// Options says which rules of the files are taken.
type Options struct {
	check.Options
	Compile compile.Options
}

// ErrRules is wrapped by Compile when diagnostics hold at least one error.
var ErrRules = errors.New("the rules have errors")

// Check parses and checks the files, which are not modules, together and in order. The program is nil when the diagnostics
// hold an error.
func Check(files []Source, o check.Options) (*check.Program, ast.Diagnostics) {
	var ds ast.Diagnostics
	var parsed []*ast.File
	for _, s := range files {
		f, d := parse.File(s.Name, s.Data)
		ds = append(ds, d...)
		if f != nil {
			parsed = append(parsed, f)
		}
	}
	if ds.Errors() > 0 {
		return nil, ds
	}
	p, d := check.Check(parsed, o)
	ds = append(ds, d...)
	if ds.Errors() > 0 {
		return nil, ds
	}
	return p, ds
}

// Compile checks the files and compiles them to one module. Diagnostics are returned in every case.
func Compile(files []Source, o Options) ([]byte, ast.Diagnostics, error) {
	p, ds := Check(files, o.Options)
	if p == nil {
		return nil, ds, fmt.Errorf("%w: %d", ErrRules, ds.Errors())
	}
	wasm, err := compile.Compile(p, o.Compile)
	if err != nil {
		return nil, ds, fmt.Errorf("compile rules: %w", err)
	}
	return wasm, ds, nil
}
