package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	containers "github.com/containerd/containerd/api/services/containers/v1"
	images "github.com/containerd/containerd/api/services/images/v1"
	namespaces "github.com/containerd/containerd/api/services/namespaces/v1"
	"google.golang.org/grpc/metadata"

	"github.com/shikra-sensor/shikra/sensor/internal/container"
)

// containerd speaks containerd's own API, for containers that didn't come by CRI: those of ctr and nerdctl.
type containerd struct{ conn }

// NewContainerd asks a containerd.
func NewContainerd(c Config) Engine { return &containerd{conn{cfg: c, name: "containerd"}} }

// maxNamespaces bounds in how many of containerd's namespaces a container is looked for.
const maxNamespaces = 64

// spec is what is read of a container's OCI runtime spec.
type spec struct {
	Process struct {
		User struct {
			UID uint32 `json:"uid"`
		} `json:"user"`
		Env             []string `json:"env"`
		SelinuxLabel    string   `json:"selinuxLabel"`
		ApparmorProfile string   `json:"apparmorProfile"`
	} `json:"process"`
	Mounts []struct {
		Destination string   `json:"destination"`
		Type        string   `json:"type"`
		Source      string   `json:"source"`
		Options     []string `json:"options"`
	} `json:"mounts"`
	Annotations map[string]string `json:"annotations"`
	Linux       struct {
		Namespaces []struct {
			Type string `json:"type"`
		} `json:"namespaces"`
		Resources struct {
			CPU struct {
				Shares int64  `json:"shares"`
				Quota  int64  `json:"quota"`
				Period int64  `json:"period"`
				Cpus   string `json:"cpus"`
			} `json:"cpu"`
			Memory struct {
				Limit int64 `json:"limit"`
				Swap  int64 `json:"swap"`
			} `json:"memory"`
		} `json:"resources"`
		Seccomp           json.RawMessage `json:"seccomp"`
		MaskedPaths       []string        `json:"maskedPaths"`
		ReadonlyPaths     []string        `json:"readonlyPaths"`
		RootfsPropagation string          `json:"rootfsPropagation"`
	} `json:"linux"`
}

func (c *containerd) Get(ctx context.Context, id, namespace string) (*container.Info, error) {
	cc, err := c.client()
	if err != nil {
		return nil, err
	}
	names := []string{namespace}
	if namespace == "" {
		list, err := namespaces.NewNamespacesClient(cc).List(ctx, &namespaces.ListNamespacesRequest{})
		if err != nil {
			return nil, c.failed(err)
		}
		names = names[:0]
		for _, ns := range list.Namespaces[:min(len(list.Namespaces), maxNamespaces)] {
			names = append(names, ns.GetName())
		}
	}
	for _, ns := range names {
		in := metadata.AppendToOutgoingContext(ctx, "containerd-namespace", ns)
		got, err := containers.NewContainersClient(cc).Get(in, &containers.GetContainerRequest{ID: id})
		if err != nil {
			if err = c.failed(err); !errors.Is(err, ErrNotFound) {
				return nil, err
			}
			continue
		}
		ctr := got.Container
		if ctr.GetID() != id {
			return nil, fmt.Errorf("%s: %w", c.name, ErrNotFound) // a name of another that reads like this id
		}
		digest := ""
		if ctr.Image != "" {
			// The image may be gone while the container still runs.
			if img, err := images.NewImagesClient(cc).Get(in, &images.GetImageRequest{Name: ctr.Image}); err == nil {
				digest = img.GetImage().GetTarget().GetDigest()
			}
		}
		return containerdInfo(ctr, digest, c.cfg.LabelMax)
	}
	return nil, fmt.Errorf("%s: %w", c.name, ErrNotFound)
}

// containerdInfo makes an Info of containerd's record of a container and the digest of its image.
func containerdInfo(ctr *containers.Container, digest string, labelMax int) (*container.Info, error) {
	var sp spec
	if v := ctr.GetSpec().GetValue(); len(v) > 0 {
		if err := json.Unmarshal(v, &sp); err != nil {
			return nil, fmt.Errorf("containerd: runtime spec: %w", err)
		}
	}
	in := &container.Info{
		ID: string(container.Short([]byte(ctr.ID), container.KindContainerd)), FullID: ctr.ID, Kind: container.KindContainerd,
		User: strconv.FormatUint(uint64(sp.Process.User.UID), 10), Env: sp.Process.Env, Created: max(ctr.GetCreatedAt().GetSeconds(), 0),
		Privileged: sp.privileged(), HostPID: !sp.has("pid"), HostNetwork: !sp.has("network"), HostIPC: !sp.has("ipc"),
		CPUShares: sp.Linux.Resources.CPU.Shares, CPUQuota: sp.Linux.Resources.CPU.Quota, CPUPeriod: sp.Linux.Resources.CPU.Period,
		CPUSetSize: cpus(sp.Linux.Resources.CPU.Cpus), Memory: sp.Linux.Resources.Memory.Limit, Swap: sp.Linux.Resources.Memory.Swap,
		Sandbox: ctr.Labels["io.cri-containerd.kind"] == "sandbox", SandboxID: ctr.Sandbox,
	}
	// A container of containerd's has no name but its id; nerdctl and Kubernetes put theirs into labels.
	in.Name = in.ID
	for _, key := range [...]string{"nerdctl/name", "io.kubernetes.container.name"} {
		if v := ctr.Labels[key]; v != "" {
			in.Name = v
		}
	}
	if in.SandboxID == "" {
		in.SandboxID = sp.Annotations["io.kubernetes.cri.sandbox-id"]
	}
	in.SetImage(ctr.Image)
	if digest != "" {
		in.Digest = digest
	}
	for _, m := range sp.Mounts {
		if m.Type != "bind" && m.Type != "rbind" && !slices.Contains(m.Options, "bind") && !slices.Contains(m.Options, "rbind") {
			continue // proc, sysfs, tmpfs: the container's own
		}
		out := container.Mount{Source: m.Source, Destination: m.Destination, RW: !slices.Contains(m.Options, "ro"), Propagation: sp.Linux.RootfsPropagation}
		for _, o := range m.Options {
			switch o {
			case "private", "rprivate", "slave", "rslave", "shared", "rshared":
				out.Propagation = o
			}
			if mode, ok := strings.CutPrefix(o, "mode="); ok {
				out.Mode = mode
			}
		}
		in.Mounts = append(in.Mounts, out)
	}
	in.Labels, _ = container.SetLabels(ctr.Labels, labelMax)
	in.Bound()
	return in, nil
}

// has reports whether the container has a namespace of its own of that type.
func (s *spec) has(typ string) bool {
	for _, n := range s.Linux.Namespaces {
		if n.Type == typ {
			return true
		}
	}
	return false
}

// privileged reports whether the spec has all that a privileged container's has (containerd's oci.WithPrivileged): nothing
// is masked, read-only or confined. containerd doesn't write down that it was asked for.
func (s *spec) privileged() bool {
	l := &s.Linux
	if len(l.MaskedPaths)+len(l.ReadonlyPaths) > 0 || len(l.Seccomp) > 0 && string(l.Seccomp) != "null" || s.Process.SelinuxLabel != "" ||
		s.Process.ApparmorProfile != "" && s.Process.ApparmorProfile != "unconfined" {
		return false
	}
	for _, m := range s.Mounts {
		if (m.Type == "sysfs" || m.Type == "cgroup" || m.Type == "cgroup2") && slices.Contains(m.Options, "ro") {
			return false
		}
	}
	return len(s.Mounts) > 0
}
