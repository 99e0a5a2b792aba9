package container

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// The names of the async events that carry an Info: evt.type.
const (
	EventAdded   = "container"
	EventRemoved = "container_removed"
)

// document is an Info as captures hold it: the names are the format's, not ours to choose.
type document struct {
	Container *body `json:"container"`
}

type body struct {
	Type        *int64            `json:"type"`
	ID          string            `json:"id"`
	Name        string            `json:"name"`
	Image       string            `json:"image"`
	ImageDigest string            `json:"imagedigest"`
	ImageID     string            `json:"imageid"`
	ImageRepo   string            `json:"imagerepo"`
	ImageTag    string            `json:"imagetag"`
	User        string            `json:"User"`
	CNI         string            `json:"cni_json"`
	CPUPeriod   int64             `json:"cpu_period"`
	CPUQuota    int64             `json:"cpu_quota"`
	CPUShares   int64             `json:"cpu_shares"`
	CPUSetSize  int64             `json:"cpuset_cpu_count"`
	Created     int64             `json:"created_time"`
	Env         []string          `json:"env"`
	FullID      string            `json:"full_id"`
	HostIPC     bool              `json:"host_ipc"`
	HostNetwork bool              `json:"host_network"`
	HostPID     bool              `json:"host_pid"`
	IP          string            `json:"ip"`
	Sandbox     bool              `json:"is_pod_sandbox"`
	Labels      map[string]string `json:"labels"`
	Memory      int64             `json:"memory_limit"`
	Swap        int64             `json:"swap_limit"`
	SandboxID   string            `json:"pod_sandbox_id"`
	Privileged  bool              `json:"privileged"`
	PodLabels   map[string]string `json:"pod_sandbox_labels"`
	Ports       []Port            `json:"port_mappings"`
	Mounts      []Mount           `json:"Mounts"`
	Owner       *string           `json:"owner,omitempty"` // this sensor's own: others pass it over
}

// AppendJSON appends in as the event that carries it does: one JSON object, without NUL.
func (in *Info) AppendJSON(dst []byte) []byte {
	typ := formatTypes[0]
	if in.Kind < kinds {
		typ = formatTypes[in.Kind]
	}
	b := body{
		Type: &typ, ID: in.ID, Name: in.Name, Image: in.Image, ImageDigest: in.Digest, ImageID: in.ImageID, ImageRepo: in.Repository,
		ImageTag: in.Tag, User: in.User, CNI: in.CNI, CPUPeriod: in.CPUPeriod, CPUQuota: in.CPUQuota, CPUShares: in.CPUShares,
		CPUSetSize: in.CPUSetSize, Created: in.Created, Env: in.Env, FullID: in.FullID, HostIPC: in.HostIPC, HostNetwork: in.HostNetwork,
		HostPID: in.HostPID, IP: in.IP, Sandbox: in.Sandbox, Labels: toMap(in.Labels), Memory: in.Memory, Swap: in.Swap,
		SandboxID: in.SandboxID, Privileged: in.Privileged, PodLabels: toMap(in.PodLabels), Ports: in.Ports, Mounts: in.Mounts,
	}
	if in.Owned {
		b.Owner = &in.Owner
	}
	out := bytes.NewBuffer(dst)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(document{&b}); err != nil {
		panic("container: encode: " + err.Error()) // strings, numbers and maps of them always encode
	}
	return out.Bytes()[:out.Len()-1] // without the line's end
}

func toMap(ls []Label) map[string]string {
	m := make(map[string]string, len(ls))
	for _, l := range ls {
		m[l.Key] = l.Value
	}
	return m
}

// ErrNoContainer says that a document isn't one of a container.
var ErrNoContainer = errors.New("no container with an id")

// ParseJSON reads what AppendJSON writes, and what other programs write into captures. The Info is bounded as by Bound. Its Labels
// and PodLabels are nil when the document doesn't tell them.
func ParseJSON(b []byte) (*Info, error) {
	var d document
	if err := json.Unmarshal(bytes.TrimRight(b, "\x00"), &d); err != nil {
		return nil, fmt.Errorf("container: %w", err)
	}
	c := d.Container
	if c == nil || c.ID == "" && c.FullID == "" {
		return nil, fmt.Errorf("container: %w", ErrNoContainer)
	}
	in := &Info{
		ID: c.ID, FullID: c.FullID, Name: c.Name, Image: c.Image, ImageID: c.ImageID, Repository: c.ImageRepo, Tag: c.ImageTag,
		Digest: c.ImageDigest, User: c.User, IP: c.IP, CNI: c.CNI, Privileged: c.Privileged, HostPID: c.HostPID, HostNetwork: c.HostNetwork,
		HostIPC: c.HostIPC, Sandbox: c.Sandbox, SandboxID: c.SandboxID, Mounts: c.Mounts, Env: c.Env, Created: c.Created, Memory: c.Memory,
		Swap: c.Swap, CPUShares: c.CPUShares, CPUQuota: c.CPUQuota, CPUPeriod: c.CPUPeriod, CPUSetSize: c.CPUSetSize, Ports: c.Ports,
	}
	if c.Type != nil {
		in.Kind = kindOf(*c.Type)
	}
	if c.Owner != nil {
		in.Owner, in.Owned = *c.Owner, true
	}
	if in.ID == "" {
		in.ID = string(Short([]byte(in.FullID), in.Kind))
	}
	// Without the member they aren't told; an empty one says that there are none.
	if c.Labels != nil {
		in.Labels, _ = SetLabels(c.Labels, maxText)
	}
	if c.PodLabels != nil {
		in.PodLabels, _ = SetLabels(c.PodLabels, maxText)
	}
	in.Bound()
	return in, nil
}
