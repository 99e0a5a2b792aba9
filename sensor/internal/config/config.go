// Package config reads shikra's configuration: file, SHIKRA_* variables, flags and -o key=value, in rising precedence.
//
// Every key stands in the table Keys with its default and meaning; what isn't there is refused by name.
package config

import (
	"bytes"

	"go.yaml.in/yaml/v3"
)

// DefaultFile is read when no file is named and it exists.
const DefaultFile = "/etc/shikra/shikra.yaml"

// DropIns is the folder beside the file of which the files are read after it.
const DropIns = "config.d"

// RulesDir holds rules that are loaded beside the built-in ones when none are named, when it exists.
const RulesDir = "/etc/shikra/rules.d"

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
