package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/shikra-sensor/shikra/sensor/internal/container"
)

// criEngine speaks Kubernetes' Container Runtime Interface (runtime.v1).
type criEngine struct{ conn }

// NewCRI asks a runtime that serves Kubernetes: containerd, CRI-O, cri-dockerd.
func NewCRI(c Config) Engine { return &criEngine{conn{cfg: c, name: "cri"}} }

// criInfo is what is read of the JSON that a runtime adds to a status when it is asked to be verbose. containerd and CRI-O
// have the same names for it.
type criInfo struct {
	SandboxID  string `json:"sandboxID"`
	Privileged bool   `json:"privileged"`
	Image      string `json:"image"`
	Config     struct {
		Image struct {
			Image string `json:"image"`
		} `json:"image"`
		Linux struct {
			SecurityContext struct {
				Privileged bool `json:"privileged"`
			} `json:"security_context"`
		} `json:"linux"`
	} `json:"config"`
	RuntimeSpec struct {
		Annotations map[string]string `json:"annotations"`
		Process     struct {
			Env []string `json:"env"`
		} `json:"process"`
	} `json:"runtimeSpec"`
	CNIResult *struct {
		Interfaces json.RawMessage `json:"Interfaces"`
	} `json:"cniResult"`
}

func readInfo(m map[string]string) (in criInfo) {
	// What isn't JSON, or of other types, says nothing: the status itself has the rest.
	if err := json.Unmarshal([]byte(m["info"]), &in); err != nil {
		return criInfo{}
	}
	return in
}

func (c *criEngine) Get(ctx context.Context, id, _ string) (*container.Info, error) {
	cc, err := c.client()
	if err != nil {
		return nil, err
	}
	rt := cri.NewRuntimeServiceClient(cc)
	// A list that the id filters is empty when there is none, in every runtime; the error of a status differs.
	list, err := rt.ListContainers(ctx, &cri.ListContainersRequest{Filter: &cri.ContainerFilter{Id: id}})
	if err != nil {
		return nil, c.failed(err)
	}
	for _, ctr := range list.Containers {
		if ctr.GetId() == id {
			return c.container(ctx, rt, ctr)
		}
	}
	pods, err := rt.ListPodSandbox(ctx, &cri.ListPodSandboxRequest{Filter: &cri.PodSandboxFilter{Id: id}})
	if err != nil {
		return nil, c.failed(err)
	}
	for _, pod := range pods.Items {
		if pod.GetId() == id {
			return c.sandbox(ctx, rt, id)
		}
	}
	return nil, fmt.Errorf("%s: %w", c.name, ErrNotFound)
}

func (c *criEngine) container(ctx context.Context, rt cri.RuntimeServiceClient, ctr *cri.Container) (*container.Info, error) {
	st, err := rt.ContainerStatus(ctx, &cri.ContainerStatusRequest{ContainerId: ctr.Id, Verbose: true})
	if err != nil {
		return nil, c.failed(err)
	}
	if st.Status == nil {
		return nil, fmt.Errorf("%s: an answer without a status", c.name)
	}
	var pod *cri.PodSandboxStatusResponse
	if ctr.PodSandboxId != "" {
		// A pod may be gone before its last container: what the container says has to do.
		if pod, err = rt.PodSandboxStatus(ctx, &cri.PodSandboxStatusRequest{PodSandboxId: ctr.PodSandboxId, Verbose: true}); err != nil {
			pod = nil
		}
	}
	in := containerInfo(ctr.Id, st, pod, c.cfg.LabelMax)
	in.SandboxID = ctr.PodSandboxId
	in.Kind = c.kind(ctx, rt)
	in.Bound()
	return in, nil
}

func (c *criEngine) sandbox(ctx context.Context, rt cri.RuntimeServiceClient, id string) (*container.Info, error) {
	pod, err := rt.PodSandboxStatus(ctx, &cri.PodSandboxStatusRequest{PodSandboxId: id, Verbose: true})
	if err != nil {
		return nil, c.failed(err)
	}
	if pod.Status == nil {
		return nil, fmt.Errorf("%s: an answer without a status", c.name)
	}
	in := &container.Info{ID: string(container.Short([]byte(id), 0)), FullID: id, Sandbox: true, SandboxID: id, Created: seconds(pod.Status.CreatedAt)}
	in.Name = pod.Status.GetMetadata().GetName()
	info := readInfo(pod.Info)
	if info.Image != "" {
		in.SetImage(info.Image)
	}
	in.Privileged = info.Config.Linux.SecurityContext.Privileged
	labels := map[string]string{}
	podInfo(in, pod, labels, c.cfg.LabelMax)
	in.Labels, _ = container.SetLabels(labels, c.cfg.LabelMax)
	in.Kind = c.kind(ctx, rt)
	in.Bound()
	return in, nil
}

// kind asks which runtime it is.
func (c *criEngine) kind(ctx context.Context, rt cri.RuntimeServiceClient) uint32 {
	v, err := rt.Version(ctx, &cri.VersionRequest{})
	if err != nil {
		return container.KindCRI
	}
	switch v.RuntimeName {
	case "containerd":
		return container.KindContainerd
	case "cri-o":
		return container.KindCRIO
	case "docker":
		return container.KindDocker
	}
	return container.KindCRI
}

// containerInfo makes an Info of the status of a container and of its pod, nil when that isn't known.
func containerInfo(id string, st *cri.ContainerStatusResponse, pod *cri.PodSandboxStatusResponse, labelMax int) *container.Info {
	s, info := st.Status, readInfo(st.Info)
	in := &container.Info{
		ID: string(container.Short([]byte(id), 0)), FullID: id, Name: s.GetMetadata().GetName(), Created: seconds(s.CreatedAt),
		Privileged: info.Privileged || info.Config.Linux.SecurityContext.Privileged,
	}
	if u := s.GetUser().GetLinux(); u != nil {
		in.User = strconv.FormatInt(u.Uid, 10)
	}
	setImage(in, s, &info)
	if r := s.GetResources().GetLinux(); r != nil {
		in.CPUPeriod, in.CPUQuota, in.CPUShares, in.CPUSetSize = r.CpuPeriod, r.CpuQuota, r.CpuShares, cpus(r.CpusetCpus)
		in.Memory, in.Swap = r.MemoryLimitInBytes, r.MemorySwapLimitInBytes
	}
	in.Env = info.RuntimeSpec.Process.Env
	for _, m := range s.Mounts {
		if m == nil {
			continue
		}
		in.Mounts = append(in.Mounts, container.Mount{
			Source: m.HostPath, Destination: m.ContainerPath, RW: !m.Readonly, Propagation: propagation(m.Propagation),
		})
	}
	labels := make(map[string]string, len(s.Labels)+3)
	for k, v := range s.Labels {
		labels[k] = v
	}
	if pod != nil && pod.Status != nil {
		podInfo(in, pod, labels, labelMax)
	}
	in.Labels, _ = container.SetLabels(labels, labelMax)
	return in
}

// podInfo adds what a container has from its pod.
func podInfo(in *container.Info, pod *cri.PodSandboxStatusResponse, labels map[string]string, labelMax int) {
	s := pod.Status
	if m := s.Metadata; m != nil {
		labels[container.LabelPodName], labels[container.LabelPodNamespace], labels[container.LabelPodUID] = m.Name, m.Namespace, m.Uid
	}
	in.PodLabels, _ = container.SetLabels(s.Labels, labelMax)
	in.IP = s.GetNetwork().GetIp()
	if o := s.GetLinux().GetNamespaces().GetOptions(); o != nil {
		in.HostPID = o.Pid == cri.NamespaceMode_NODE
		in.HostNetwork = o.Network == cri.NamespaceMode_NODE
		in.HostIPC = o.Ipc == cri.NamespaceMode_NODE
	}
	info := readInfo(pod.Info)
	if info.CNIResult != nil && len(info.CNIResult.Interfaces) > 0 {
		in.CNI = interfaces(info.CNIResult.Interfaces)
	} else {
		in.CNI = info.RuntimeSpec.Annotations["io.kubernetes.cri-o.CNIResult"]
	}
}

// interfaces returns containerd's CNI result without what is no interface of the pod's; "" for what isn't one.
func interfaces(raw json.RawMessage) string {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(raw, &all); err != nil {
		return ""
	}
	delete(all, "lo")
	for name := range all {
		if strings.HasPrefix(name, "veth") {
			delete(all, name)
		}
	}
	b, err := json.Marshal(all)
	if err != nil || len(all) == 0 {
		return ""
	}
	return string(b)
}

// setImage sets what the status says of the image: its name as the pod's owner gave it, and a reference that is either
// "sha256:…" or "repository@sha256:…".
func setImage(in *container.Info, s *cri.ContainerStatus, info *criInfo) {
	name := s.GetImage().GetImage()
	if user := s.GetImage().GetUserSpecifiedImage(); user != "" {
		name = user
	}
	if name == "" || strings.HasPrefix(name, "sha256:") {
		for _, key := range [...]string{"io.kubernetes.cri.image-name", "io.kubernetes.cri-o.ImageName", "io.kubernetes.cri-o.Image"} {
			if v := info.RuntimeSpec.Annotations[key]; v != "" {
				name = v
				break
			}
		}
	}
	in.SetImage(name)
	repo, digest, ok := strings.Cut(s.ImageRef, "@")
	switch {
	case ok:
		if in.Digest = digest; in.Repository == "" {
			in.Repository = repo
		}
	case strings.HasPrefix(s.ImageRef, "sha256:"): // an image that didn't come from a registry
		in.Digest, in.ImageID = s.ImageRef, container.TrimDigest(s.ImageRef)
	}
	if id := container.TrimDigest(info.Config.Image.Image); len(id) == 64 && !strings.ContainsAny(id, ":/") {
		in.ImageID = id
	} else if s.ImageId != "" {
		in.ImageID = container.TrimDigest(s.ImageId)
	}
}

func propagation(p cri.MountPropagation) string {
	switch p {
	case cri.MountPropagation_PROPAGATION_PRIVATE:
		return "private"
	case cri.MountPropagation_PROPAGATION_HOST_TO_CONTAINER:
		return "rslave"
	case cri.MountPropagation_PROPAGATION_BIDIRECTIONAL:
		return "rshared"
	}
	return "unknown"
}

// seconds makes seconds of ns since the epoch.
func seconds(ns int64) int64 { return max(ns, 0) / 1e9 }
