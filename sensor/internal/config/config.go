// Package config reads shikra's configuration: file, SHIKRA_* variables, flags and -o key=value, in rising precedence.
//
// Every key stands in the table Keys with its default and meaning; what isn't there is refused by name.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/viper"
	"go.yaml.in/yaml/v3"
)

// DefaultFile is read when no file is named and it exists.
const DefaultFile = "/etc/shikra/shikra.yaml"

// RulesDir holds rules that are loaded beside the built-in ones when none are named, when it exists.
const RulesDir = "/etc/shikra/rules.d"

// maxFile bounds a configuration file in bytes.
const maxFile = 1 << 20

// Config is the checked configuration.
type Config struct {
	Node       Node       `mapstructure:"node" yaml:"node"`
	Rules      Rules      `mapstructure:"rules" yaml:"rules"`
	Engine     Engine     `mapstructure:"engine" yaml:"engine"`
	Probe      Probe      `mapstructure:"probe" yaml:"probe"`
	Base       Base       `mapstructure:"base_syscalls" yaml:"base_syscalls"`
	State      State      `mapstructure:"state" yaml:"state"`
	Containers Containers `mapstructure:"containers" yaml:"containers"`
	Outputs    Outputs    `mapstructure:"outputs" yaml:"outputs"`
	Loss       Loss       `mapstructure:"loss" yaml:"loss"`
	HTTP       HTTP       `mapstructure:"http" yaml:"http"`
	Metrics    Metrics    `mapstructure:"metrics" yaml:"metrics"`
	Log        Log        `mapstructure:"log" yaml:"log"`
	Host       HostRoot   `mapstructure:"host" yaml:"host"`

	Sources []string `mapstructure:"-" yaml:"-"` // the files that were read, in order
}

// Node says which machine alerts come from.
type Node struct {
	ID     string            `mapstructure:"id" yaml:"id"`
	Labels map[string]string `mapstructure:"labels" yaml:"labels"`
}

// Rules says what is loaded.
type Rules struct {
	Files       []string `mapstructure:"files" yaml:"files"`
	Builtin     bool     `mapstructure:"builtin" yaml:"builtin"`
	Disable     []string `mapstructure:"disable" yaml:"disable"`
	MinPriority string   `mapstructure:"min_priority" yaml:"min_priority"`
}

// Engine says how modules run.
type Engine struct {
	Mode  string `mapstructure:"mode" yaml:"mode"`
	Batch int    `mapstructure:"batch" yaml:"batch"`
}

// Probe sizes the kernel side.
type Probe struct {
	RingBytes        int    `mapstructure:"ring_bytes" yaml:"ring_bytes"`
	SnapLen          int    `mapstructure:"snaplen" yaml:"snaplen"`
	DynamicSnapLen   bool   `mapstructure:"dynamic_snaplen" yaml:"dynamic_snaplen"`
	FullCapturePorts string `mapstructure:"fullcapture_ports" yaml:"fullcapture_ports"`
	Filter           bool   `mapstructure:"filter" yaml:"filter"`
	Tier             string `mapstructure:"tier" yaml:"tier"`
	ExactPaths       bool   `mapstructure:"exact_paths" yaml:"exact_paths"`
}

// Base says which system calls are captured beside those that rules name.
type Base struct {
	CustomSet []string `mapstructure:"custom_set" yaml:"custom_set"`
	Repair    bool     `mapstructure:"repair" yaml:"repair"`
	All       bool     `mapstructure:"all" yaml:"all"`
}

// State bounds the tables.
type State struct {
	Threads      int `mapstructure:"threads" yaml:"threads"`
	Files        int `mapstructure:"files" yaml:"files"`
	Containers   int `mapstructure:"containers" yaml:"containers"`
	StringBytes  int `mapstructure:"string_bytes" yaml:"string_bytes"`
	PrivateBytes int `mapstructure:"private_bytes" yaml:"private_bytes"`
}

// Containers says how the runtimes of containers are asked.
type Containers struct {
	Enabled    bool     `mapstructure:"enabled" yaml:"enabled"`
	Docker     []string `mapstructure:"docker" yaml:"docker"`
	Podman     []string `mapstructure:"podman" yaml:"podman"`
	CRI        []string `mapstructure:"cri" yaml:"cri"`
	Containerd []string `mapstructure:"containerd" yaml:"containerd"`
	TimeoutMS  int      `mapstructure:"timeout_ms" yaml:"timeout_ms"`
	Queue      int      `mapstructure:"queue" yaml:"queue"`
	LabelMax   int      `mapstructure:"label_max" yaml:"label_max"`
	Users      bool     `mapstructure:"users" yaml:"users"`
}

// Outputs says where alerts go.
type Outputs struct {
	Queue  int    `mapstructure:"queue" yaml:"queue"`
	Stdout Stdout `mapstructure:"stdout" yaml:"stdout"`
	File   File   `mapstructure:"file" yaml:"file"`
}

// Stdout is the standard output.
type Stdout struct {
	Enabled bool   `mapstructure:"enabled" yaml:"enabled"`
	Format  string `mapstructure:"format" yaml:"format"`
}

// File is an output file.
type File struct {
	Path   string `mapstructure:"path" yaml:"path"`
	Format string `mapstructure:"format" yaml:"format"`
}

// Loss says what is done when events are lost.
type Loss struct {
	Actions   []string `mapstructure:"actions" yaml:"actions"`
	Threshold float64  `mapstructure:"threshold" yaml:"threshold"`
	Rate      float64  `mapstructure:"rate" yaml:"rate"`
	Burst     int      `mapstructure:"burst" yaml:"burst"`
	Simulate  bool     `mapstructure:"simulate" yaml:"simulate"`
}

// Metrics says what is measured on request.
type Metrics struct {
	BPFStats bool `mapstructure:"bpf_stats" yaml:"bpf_stats"`
}

// HTTP is the address of /metrics and /healthz.
type HTTP struct {
	Listen string `mapstructure:"listen" yaml:"listen"`
}

// Log says what goes to stderr.
type Log struct {
	Level  string `mapstructure:"level" yaml:"level"`
	Format string `mapstructure:"format" yaml:"format"`
}

// HostRoot says where the host's files are.
type HostRoot struct {
	Root string `mapstructure:"root" yaml:"root"`
}

// Key is one configuration key.
type Key struct {
	Name    string
	Default any
	Doc     string
	check   func(c *Config) error
}

// Keys returns every key, in the order of the documentation.
func Keys() []Key {
	return []Key{
		{"node.id", "", "name of this node in alerts; empty: the machine id", nil},
		{"node.labels", map[string]string{}, "labels that go into every alert", nil},
		{"rules.files", []string{}, "rules files, modules and folders of them, instead of the usual; folders are read in order of name", nil},
		{"rules.builtin", true, "when no file is named, load the rules that come with shikra, before those of " + RulesDir, nil},
		{"rules.disable", []string{}, "names of rules that are left out", nil},
		{"rules.min_priority", "debug", "least priority of the rules that are loaded", func(c *Config) error {
			return oneOf(strings.ToLower(c.Rules.MinPriority), Priorities...)
		}},
		{"engine.mode", "auto", "how modules run: auto, compiler or interpreter", func(c *Config) error {
			return oneOf(c.Engine.Mode, "auto", "compiler", "interpreter")
		}},
		{"engine.batch", 256, "most events judged together, 1 to 256", func(c *Config) error { return between(c.Engine.Batch, 1, 256) }},
		{"probe.ring_bytes", 8 << 20, "bytes of the ring buffer between kernel and sensor, a power of two", func(c *Config) error {
			if n := c.Probe.RingBytes; n&(n-1) != 0 {
				return fmt.Errorf("%d isn't a power of two", n)
			}
			return between(c.Probe.RingBytes, 256<<10, 256<<20)
		}},
		{"probe.snaplen", 80, "most bytes kept of what a call reads, writes, sends or receives, where a rule looks at them", func(c *Config) error {
			return between(c.Probe.SnapLen, 1, 4096)
		}},
		{"probe.dynamic_snaplen", false, "keep more than snaplen of DNS (512 bytes), statsd, MySQL, PostgreSQL and MongoDB (2000), told by their ports", nil},
		{"probe.fullcapture_ports", "", "keep up to 4096 bytes of what goes through sockets with one of these ports at either end: 80 or 8000-8100", func(c *Config) error {
			_, err := PortRange(c.Probe.FullCapturePorts)
			return err
		}},
		{"probe.filter", true, "make no event in the kernel that no rule can use: by result, open flags, path and port", nil},
		{"probe.tier", "base", "how system calls are watched: base, fexit, or auto, which is fexit where it serves all that are captured", func(c *Config) error {
			return oneOf(c.Probe.Tier, "base", "fexit", "auto")
		}},
		{"probe.exact_paths", false, "keep the kernel's own copies of paths, and mark events whose program changed its own (evt.path_changed)", nil},
		{"base_syscalls.custom_set", []string{}, "system calls captured beside those that rules name, instead of those that state needs; !name: never captured", func(c *Config) error {
			if slices.Contains(c.Base.CustomSet, "!") {
				return errors.New("! wants a name behind it")
			}
			return nil
		}},
		{"base_syscalls.repair", false, "instead of those that state needs capture the least by which the rules' events can be read, and custom_set", nil},
		{"base_syscalls.all", false, "capture also the calls of heavy input and output (read, write, send, recv and their like) that rules or custom_set name", nil},
		{"state.threads", 16384, "most threads kept", func(c *Config) error { return between(c.State.Threads, 256, 1<<20) }},
		{"state.files", 65536, "most open files kept", func(c *Config) error { return between(c.State.Files, 256, 1<<22) }},
		{"state.containers", 1024, "most containers kept", func(c *Config) error { return between(c.State.Containers, 16, 1<<16) }},
		{"state.string_bytes", 16 << 20, "bytes for names and paths", func(c *Config) error { return between(c.State.StringBytes, 1<<20, 256<<20) }},
		{"state.private_bytes", 16 << 20, "bytes for arguments and environments", func(c *Config) error { return between(c.State.PrivateBytes, 1<<20, 256<<20) }},
		{"containers.enabled", true, "ask container runtimes for names, images, labels, mounts and pods of the containers seen", nil},
		{"containers.docker", []string{"/var/run/docker.sock", "/run/user/*/docker.sock"}, "sockets of Docker; empty: none", func(c *Config) error { return sockets(c.Containers.Docker) }},
		{"containers.podman", []string{"/run/podman/podman.sock", "/run/user/*/podman/podman.sock"}, "sockets of Podman; empty: none", func(c *Config) error { return sockets(c.Containers.Podman) }},
		{"containers.cri", []string{"/run/containerd/containerd.sock", "/run/crio/crio.sock", "/run/k3s/containerd/containerd.sock", "/run/k0s/containerd.sock", "/run/cri-dockerd.sock"},
			"sockets of runtimes that serve Kubernetes (CRI); empty: none", func(c *Config) error { return sockets(c.Containers.CRI) }},
		{"containers.containerd", []string{"/run/containerd/containerd.sock", "/run/k3s/containerd/containerd.sock", "/run/k0s/containerd.sock"},
			"sockets of containerd, for what Kubernetes didn't start; empty: none", func(c *Config) error { return sockets(c.Containers.Containerd) }},
		{"containers.timeout_ms", 2000, "ms that one runtime may take to answer for one container", func(c *Config) error { return between(c.Containers.TimeoutMS, 10, 60000) }},
		{"containers.queue", 1024, "most containers that wait for an answer; more are counted, and asked for again when a process starts in them", func(c *Config) error { return between(c.Containers.Queue, 1, 1<<16) }},
		{"containers.label_max", 100, "bytes; labels with longer values are left out", func(c *Config) error { return between(c.Containers.LabelMax, 1, 4096) }},
		{"containers.users", true, "read names of users and groups from each container's own /etc/passwd and /etc/group", nil},
		{"outputs.queue", 1024, "alerts that may wait for the outputs; more are dropped and counted", func(c *Config) error { return between(c.Outputs.Queue, 1, 1<<20) }},
		{"outputs.stdout.enabled", true, "print alerts on the standard output", nil},
		{"outputs.stdout.format", "text", "text or json", func(c *Config) error { return oneOf(c.Outputs.Stdout.Format, "text", "json") }},
		{"outputs.file.path", "", "append alerts to this file; empty: none", nil},
		{"outputs.file.format", "json", "text or json", func(c *Config) error { return oneOf(c.Outputs.File.Format, "text", "json") }},
		{"loss.actions", []string{"log", "alert"}, "what to do when events are lost: log, alert, exit, or ignore alone", func(c *Config) error {
			if len(c.Loss.Actions) == 0 {
				return errors.New("name at least one action; ignore does nothing")
			}
			for _, a := range c.Loss.Actions {
				if err := oneOf(a, "ignore", "log", "alert", "exit"); err != nil {
					return err
				}
				if a == "ignore" && len(c.Loss.Actions) > 1 {
					return errors.New("ignore goes with no other action")
				}
			}
			return nil
		}},
		{"loss.threshold", 0.0, "share of a second's events, 0 to 1, that must be exceeded", func(c *Config) error { return within(c.Loss.Threshold, 0, 1) }},
		{"loss.rate", 0.03333, "most reactions a second in the long run; what was lost meanwhile is told by the next", func(c *Config) error {
			return within(c.Loss.Rate, 0, 1000)
		}},
		{"loss.burst", 1, "most reactions that follow each other at once", func(c *Config) error { return between(c.Loss.Burst, 1, 1000) }},
		{"loss.simulate", false, "lose one event a second, as it seems, to try the reaction", nil},
		{"http.listen", "127.0.0.1:9476", "address of /metrics and /healthz; empty: none", func(c *Config) error {
			if c.HTTP.Listen == "" {
				return nil
			}
			_, port, err := net.SplitHostPort(c.HTTP.Listen)
			if err != nil {
				return err
			}
			if _, err := strconv.ParseUint(port, 10, 16); err != nil {
				return fmt.Errorf("port %q is not between 0 and 65535", port)
			}
			return nil
		}},
		{"metrics.bpf_stats", false, "have the kernel time BPF programs, all on this machine, which slows each run of one a little", nil},
		{"log.level", "info", "debug, info, warn or error", func(c *Config) error { return oneOf(c.Log.Level, "debug", "info", "warn", "error") }},
		{"log.format", "text", "text or json", func(c *Config) error { return oneOf(c.Log.Format, "text", "json") }},
		{"host.root", "/", "where the host's /proc, /etc and cgroups are, for a sensor in a container", nil},
	}
}

// Priorities are the rule priorities in configuration spelling, most urgent first.
var Priorities = []string{"emergency", "alert", "critical", "error", "warning", "notice", "informational", "debug"}

// PortRange reads a port or two with a hyphen between; 0 and 0 for "".
func PortRange(s string) (r [2]uint16, err error) {
	if s == "" {
		return r, nil
	}
	from, to, two := strings.Cut(s, "-")
	if !two {
		to = from
	}
	for i, text := range []string{from, to} {
		n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 16)
		if err != nil || n == 0 {
			return r, fmt.Errorf("%q is no port from 1 to 65535", text)
		}
		r[i] = uint16(n)
	}
	if r[0] > r[1] {
		return r, fmt.Errorf("%s: the first port is above the last", s)
	}
	return r, nil
}

func oneOf(v string, of ...string) error {
	for _, o := range of {
		if v == o {
			return nil
		}
	}
	return fmt.Errorf("%q is none of %s", v, strings.Join(of, ", "))
}

// sockets checks paths of sockets, which may be patterns.
func sockets(paths []string) error {
	for _, p := range paths {
		if !filepath.IsAbs(p) {
			return fmt.Errorf("%q isn't an absolute path", p)
		}
		if _, err := filepath.Match(p, ""); err != nil {
			return fmt.Errorf("%q: %w", p, err)
		}
	}
	return nil
}

func between(v, lo, hi int) error {
	if v < lo || v > hi {
		return fmt.Errorf("%d is not between %d and %d", v, lo, hi)
	}
	return nil
}

func within(v, lo, hi float64) error {
	if !(v >= lo && v <= hi) { // NaN isn't
		return fmt.Errorf("%g is not between %g and %g", v, lo, hi)
	}
	return nil
}

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
	more, err := filepath.Glob(filepath.Join(filepath.Dir(file), "config.d", "*.yaml"))
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
		if d := distance(name, k); d < dist || d == dist && k < best {
			best, dist = k, d
		}
	}
	if best != "" {
		return fmt.Sprintf("did you mean %s?", best)
	}
	return "`shikra config show` lists the keys"
}

// distance is the Levenshtein distance.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		prev := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cur := row[j]
			cost := prev
			if a[i-1] != b[j-1] {
				cost = min(prev, row[j], row[j-1]) + 1
			}
			row[j], prev = cost, cur
		}
	}
	return row[len(b)]
}

// YAML returns the whole configuration as a file that Load would read to the same.
func (c *Config) YAML() ([]byte, error) {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(c); err != nil {
		return nil, err
	}
	return b.Bytes(), e.Close()
}
