// Package container is what there is to know of a container: which one a thread is in, by its cgroups, and what its runtime
// says of it, in the form that clients, state and captures share.
package container

import (
	"sort"
	"strings"
)

// Info is what a runtime says of one container. Whoever has one may read it from any goroutine; nobody changes it.
type Info struct {
	ID     string // short, as container.id
	FullID string // "" in old captures
	Kind   uint32

	// Owner is who can have made it, as in a Place, when Owned says that it is known: what other programs write into captures
	// doesn't tell.
	Owner string `json:",omitempty"`
	Owned bool   `json:",omitempty"`

	Name       string
	Image      string // as the container's creator named it: example.com/web:1.2
	ImageID    string // digits, without "sha256:"
	Repository string // example.com/web
	Tag        string
	Digest     string // "sha256:…", of the manifest
	User       string
	IP         string
	CNI        string // JSON, of a pod

	Privileged, HostPID, HostNetwork, HostIPC bool

	Sandbox   bool    // it is a pod's own, which holds the pod's namespaces
	SandboxID string  // full id of its pod's; "" outside Kubernetes
	Labels    []Label // nil: not told
	PodLabels []Label // nil: not told
	Mounts    []Mount
	Env       []string // NAME=value
	Created   int64    // s since the epoch, 0 for unknown

	Memory, Swap                               int64 // limits in bytes, 0 for none
	CPUShares, CPUQuota, CPUPeriod, CPUSetSize int64
	Ports                                      []Port
}

// Label is a label of a container or a pod.
type Label struct{ Key, Value string }

// Mount is a mount of the host's, as seen from the container.
type Mount struct {
	Source      string `json:"Source"`
	Destination string `json:"Destination"`
	Mode        string `json:"Mode"`
	RW          bool   `json:"RW"`
	Propagation string `json:"Propagation"`
}

// Port is a port of the host's that leads to one of the container's.
type Port struct {
	HostIP        uint32 `json:"HostIp"` // IPv4, its first byte the highest
	HostPort      uint16 `json:"HostPort"`
	ContainerPort int    `json:"ContainerPort"`
}

// The labels under which Kubernetes tells which pod a container is of.
const (
	LabelPodName      = "io.kubernetes.pod.name"
	LabelPodNamespace = "io.kubernetes.pod.namespace"
	LabelPodUID       = "io.kubernetes.pod.uid"
)

// Label returns the value of a container's label and whether it has it.
func (in *Info) Label(key string) (string, bool) { return lookup(in.Labels, key) }

// PodLabel returns the value of a label of the container's pod and whether it has it.
func (in *Info) PodLabel(key string) (string, bool) { return lookup(in.PodLabels, key) }

func lookup(ls []Label, key string) (string, bool) {
	i := sort.Search(len(ls), func(i int) bool { return ls[i].Key >= key })
	if i < len(ls) && ls[i].Key == key {
		return ls[i].Value, true
	}
	return "", false
}

// AppendLabels appends labels as rules see them, "key:value" with ", " between, without those of Kubernetes' own.
func AppendLabels(dst []byte, ls []Label) []byte {
	n := len(dst)
	for _, l := range ls {
		if strings.HasPrefix(l.Key, "annotation.") || strings.HasPrefix(l.Key, "io.kubernetes.") {
			continue
		}
		if len(dst) > n {
			dst = append(dst, ", "...)
		}
		dst = append(dst, l.Key...)
		if l.Value != "" {
			dst = append(append(dst, ':'), l.Value...)
		}
	}
	return dst
}

// Append appends a mount as rules see it, source:destination:mode:rw:propagation.
func (m *Mount) Append(dst []byte) []byte {
	dst = append(append(dst, m.Source...), ':')
	dst = append(append(dst, m.Destination...), ':')
	dst = append(append(dst, m.Mode...), ':')
	dst = append(append(dst, m.Writable()...), ':')
	return append(dst, m.Propagation...)
}

// Writable returns "true" or "false".
func (m *Mount) Writable() string {
	if m.RW {
		return "true"
	}
	return "false"
}

// Bounds of an Info. A runtime's answer is not trusted to be small: images bring labels, and a Dockerfile may come from
// anywhere.
const (
	maxText   = 4096 // bytes of one name, path or variable
	maxCNI    = 4096
	maxLabels = 256
	maxMounts = 256
	maxEnv    = 256
	maxPorts  = 256
	maxJSON   = 60 << 10 // what a record has room for
)

// SetLabels returns labels of m in order of key, without those whose value is longer than most bytes and with at most 256,
// and how many were left out.
func SetLabels(m map[string]string, most int) (ls []Label, left int) {
	ls = make([]Label, 0, min(len(m), maxLabels))
	for k, v := range m {
		if k == "" || len(k) > 512 || len(v) > most {
			left++
			continue
		}
		ls = append(ls, Label{k, v})
	}
	sort.Slice(ls, func(i, j int) bool { return ls[i].Key < ls[j].Key })
	if n := len(ls) - maxLabels; n > 0 {
		ls, left = ls[:maxLabels], left+n
	}
	return ls, left
}

// Bound cuts what is too long or too many, until in fits an event, and returns how many things it left out or cut.
func (in *Info) Bound() (left int) {
	cut := func(s *string, most int) {
		if len(*s) > most {
			*s = strings.ToValidUTF8((*s)[:most], "")
			left++
		}
	}
	for _, s := range []*string{&in.ID, &in.FullID, &in.ImageID, &in.Tag, &in.Digest, &in.User, &in.IP, &in.SandboxID} {
		cut(s, 256)
	}
	cut(&in.Owner, maxText)
	for _, s := range []*string{&in.Name, &in.Image, &in.Repository} {
		cut(s, maxText)
	}
	cut(&in.CNI, maxCNI)
	in.Labels, in.PodLabels = most(in.Labels, maxLabels, &left), most(in.PodLabels, maxLabels, &left)
	in.Mounts, in.Env, in.Ports = most(in.Mounts, maxMounts, &left), most(in.Env, maxEnv, &left), most(in.Ports, maxPorts, &left)
	for i := range in.Mounts {
		m := &in.Mounts[i]
		cut(&m.Source, maxText)
		cut(&m.Destination, maxText)
		cut(&m.Mode, 256)
		cut(&m.Propagation, 256)
	}
	for i := range in.Env {
		cut(&in.Env[i], maxText)
	}
	// What rules ask for least goes first.
	for len(in.AppendJSON(nil)) > maxJSON {
		switch {
		case len(in.Env) > 0:
			in.Env = most(in.Env, len(in.Env)/2, &left)
		case len(in.Ports) > 0:
			in.Ports = most(in.Ports, 0, &left)
		case len(in.PodLabels)+len(in.Labels) > len(in.Mounts):
			in.PodLabels, in.Labels = most(in.PodLabels, len(in.PodLabels)/2, &left), most(in.Labels, len(in.Labels)/2, &left)
		case len(in.Mounts) > 0:
			in.Mounts = most(in.Mounts, len(in.Mounts)/2, &left)
		default: // names of 4 KiB alone are not that long, but as JSON each byte may be six
			in.CNI = ""
			for _, s := range []*string{&in.Name, &in.Image, &in.Repository} {
				cut(s, len(*s)/2)
			}
		}
	}
	return left
}

func most[T any](s []T, n int, left *int) []T {
	if len(s) > n {
		*left += len(s) - n
		return s[:n]
	}
	return s
}
