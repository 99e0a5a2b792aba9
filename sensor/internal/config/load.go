package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/viper"
	"go.yaml.in/yaml/v3"

	"github.com/shikra-sensor/shikra/sensor/internal/spelling"
)

// maxFile bounds a configuration file in bytes.
const maxFile = 1 << 20

// Error says what is wrong with one key, and where.
type Error struct {
	Source string // file, "environment" or "command line"
	Line   int    // in a file; 0 for unknown
	Col    int
	Key    string
	What   string
	Hint   string // what to do; may be empty
}

// Error returns "file:line:col: key: what: hint".
func (e *Error) Error() string {
	s := e.Source
	if e.Line > 0 {
		s = fmt.Sprintf("%s:%d:%d", s, e.Line, e.Col)
	}
	if e.Key != "" {
		s += ": " + e.Key
	}
	s += ": " + e.What
	if e.Hint != "" {
		s += "; " + e.Hint
	}
	return s
}

// Options says where the configuration comes from.
type Options struct {
	File      string   // "" is DefaultFile, when it exists
	Overrides []string // "key=value" of -o, in order; lists are comma separated
	Env       []string // os.Environ(); nil for none
}

// Load reads, merges and checks. A file that is named and missing, a key that doesn't exist, and a value out of its range
// are errors; all of them are reported, joined.
func Load(o Options) (*Config, error) {
	v := viper.New()
	known := map[string]Key{}
	for _, k := range Keys() {
		v.SetDefault(k.Name, k.Default)
		known[k.Name] = k
	}
	var errs []error
	where := map[string]*Error{} // last place that set a key
	c := &Config{}
	files, err := sources(o.File)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		set, err := readFile(v, f, known)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for k, at := range set {
			where[k] = at
		}
		c.Sources = append(c.Sources, f)
	}
	apply := func(source, key, name, val string) {
		k, ok := known[key]
		if !ok {
			errs = append(errs, &Error{Source: source, Key: name, What: "unknown key", Hint: suggest(key, known)})
			return
		}
		where[key] = &Error{Source: source, Key: name}
		switch k.Default.(type) {
		case []string:
			v.Set(key, splitList(val))
		case map[string]string:
			m := map[string]string{}
			for _, kv := range splitList(val) {
				a, b, _ := strings.Cut(kv, "=")
				m[a] = b
			}
			v.Set(key, m)
		default:
			v.Set(key, val)
		}
	}
	for _, kv := range o.Env {
		name, val, _ := strings.Cut(kv, "=")
		if rest, ok := strings.CutPrefix(name, "SHIKRA_"); ok && !reserved[name] {
			apply("environment", envKey(rest, known), name, val)
		}
	}
	for _, kv := range o.Overrides {
		name, val, ok := strings.Cut(kv, "=")
		if !ok {
			errs = append(errs, &Error{Source: "command line", Key: "-o " + kv, What: "want key=value"})
			continue
		}
		apply("command line", name, "-o "+name, val)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	for _, k := range Keys() {
		if what := mistyped(k.Default, v.Get(k.Name)); what != "" {
			e := &Error{Source: "defaults", Key: k.Name}
			if at := where[k.Name]; at != nil {
				*e = *at
			}
			e.What, e.Hint = what, k.Doc
			errs = append(errs, e)
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	if err := v.UnmarshalExact(c); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	for _, k := range Keys() {
		if k.check == nil {
			continue
		}
		if err := k.check(c); err != nil {
			e := &Error{Source: "defaults", Key: k.Name}
			if at := where[k.Name]; at != nil {
				*e = *at
			}
			e.What, e.Hint = err.Error(), k.Doc
			errs = append(errs, e)
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return c, nil
}

// mistyped says what is wrong with a value that can't be of its default's type; "" when it can.
func mistyped(def, v any) string {
	switch def.(type) {
	case int:
		switch n := v.(type) {
		case int:
			return ""
		case string:
			if _, err := strconv.Atoi(n); err == nil {
				return ""
			}
		}
		return fmt.Sprintf("%v isn't a whole number", v)
	case float64:
		switch n := v.(type) {
		case int, float64:
			return ""
		case string:
			if _, err := strconv.ParseFloat(n, 64); err == nil {
				return ""
			}
		}
		return fmt.Sprintf("%v isn't a number", v)
	case bool:
		switch b := v.(type) {
		case bool:
			return ""
		case string:
			if _, err := strconv.ParseBool(b); err == nil {
				return ""
			}
		}
		return fmt.Sprintf("%v is neither true nor false", v)
	case string:
		switch v.(type) {
		case map[string]any, []any:
			return "is one text, not a list or a map"
		}
	case map[string]string:
		if _, ok := v.(map[string]any); !ok {
			if _, ok := v.(map[string]string); !ok && v != nil {
				return "is a map of keys to texts"
			}
		}
	}
	return ""
}

// reserved are SHIKRA_ variables that aren't keys.
var reserved = map[string]bool{"SHIKRA_FALCO_DATA": true, "SHIKRA_LIVE": true}

// envKey turns OUTPUTS_FILE_PATH into outputs.file.path: the known key that reads the same, or a guess.
func envKey(s string, known map[string]Key) string {
	for k := range known {
		if strings.ToUpper(strings.ReplaceAll(k, ".", "_")) == s {
			return k
		}
	}
	return strings.ToLower(strings.ReplaceAll(s, "_", "."))
}

// splitList reads a, b or [a, b].
func splitList(s string) []string {
	out := []string{}
	if s = strings.TrimSpace(s); strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		s = s[1 : len(s)-1]
	}
	for _, p := range strings.Split(s, ",") {
		if p = strings.TrimSpace(p); p != "" {
			out = append(out, p)
		}
	}
	return out
}

// sources returns the files to read: the main one and config.d beside it in order of name.
func sources(file string) ([]string, error) {
	named := file != ""
	if !named {
		file = DefaultFile
	}
	var out []string
	switch st, err := os.Stat(file); {
	case err == nil && st.IsDir():
		return nil, &Error{Source: file, What: "is a folder", Hint: "name a file"}
	case err == nil:
		out = append(out, file)
	case named || !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	more, err := filepath.Glob(filepath.Join(filepath.Dir(file), DropIns, "*.yaml"))
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	if len(out) > 0 {
		sort.Strings(more)
		out = append(out, more...)
	}
	return out, nil
}

// readFile merges one file into v after checking its keys; it returns where each key stands.
func readFile(v *viper.Viper, name string, known map[string]Key) (map[string]*Error, error) {
	b, err := readRegular(name)
	if err != nil {
		return nil, err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(b, &doc); err != nil {
		return nil, &Error{Source: name, What: strings.TrimPrefix(err.Error(), "yaml: ")}
	}
	set := map[string]*Error{}
	if len(doc.Content) == 0 {
		return set, nil
	}
	if errs := walk(name, doc.Content[0], "", known, set); len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	v.SetConfigType("yaml")
	if err := v.MergeConfig(bytes.NewReader(b)); err != nil {
		return nil, &Error{Source: name, What: err.Error()}
	}
	return set, nil
}

// readRegular reads a file that isn't a fifo or a device, of at most maxFile bytes.
func readRegular(name string) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	if !st.Mode().IsRegular() {
		return nil, &Error{Source: name, What: "isn't a regular file"}
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	if len(b) > maxFile {
		return nil, &Error{Source: name, What: "is too large", Hint: fmt.Sprintf("the limit is %d bytes", maxFile)}
	}
	return b, nil
}

func walk(file string, n *yaml.Node, prefix string, known map[string]Key, set map[string]*Error) (errs []error) {
	if n.Kind != yaml.MappingNode {
		return []error{&Error{Source: file, Line: n.Line, Col: n.Column, Key: strings.TrimSuffix(prefix, "."), What: "want keys and values"}}
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, val := n.Content[i], n.Content[i+1]
		name := strings.ToLower(prefix + k.Value)
		at := &Error{Source: file, Line: k.Line, Col: k.Column, Key: name}
		if _, ok := known[name]; ok {
			set[name] = at
			continue
		}
		if isPrefix(name+".", known) {
			errs = append(errs, walk(file, val, name+".", known, set)...)
			continue
		}
		at.What, at.Hint = "unknown key", suggest(name, known)
		errs = append(errs, at)
	}
	return errs
}

func isPrefix(p string, known map[string]Key) bool {
	for k := range known {
		if strings.HasPrefix(k, p) {
			return true
		}
	}
	return false
}

// suggest names the known key nearest to name, or where to find them.
func suggest(name string, known map[string]Key) string {
	best, dist := "", 4
	for k := range known {
		if d := spelling.Distance(name, k); d < dist || d == dist && k < best {
			best, dist = k, d
		}
	}
	if best != "" {
		return fmt.Sprintf("did you mean %s?", best)
	}
	return "`shikra config show` lists the keys"
}
