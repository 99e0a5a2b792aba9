package config

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

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
