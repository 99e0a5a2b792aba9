package field

import (
	"github.com/shikra-sensor/shikra/sensor/internal/container"
	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/glob"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// containerFields are what state knows of a container from the cgroup, and what the container's runtime says of it. The
// second group has no value before the runtime has answered.
func containerFields() []*Field {
	s := func(name string, offset int, none, doc string) *Field {
		return &Field{Name: name, Type: String, Read: Read{Base: Container, Offset: offset, Width: Str, None: none}, Doc: doc}
	}
	flag := func(name string, bit uint64, doc string) *Field {
		return &Field{Name: name, Type: Bool, Doc: doc, Read: Read{
			Base: Container, Offset: wasmabi.ContainerFlags, Width: U32, Mask: bit,
			Guard: wasmabi.ContainerAnswered, GuardAt: wasmabi.ContainerFlags, GuardWidth: U32,
		}}
	}
	// told makes a field of what the runtime said.
	told := func(name, doc string, fn func(c *Ctx, in *container.Info, r *Ref, v *Value)) *Field {
		return computed(name, String, doc, func(c *Ctx, e event.Event, r *Ref, v *Value) {
			if c.State == nil {
				return
			}
			if in := c.State.ContainerInfo(c.containerSlot(e)); in != nil {
				fn(c, in, r, v)
			}
		})
	}
	mount := func(name, doc string, bySource bool, part func(c *Ctx, m *container.Mount) []byte) *Field {
		f := told(name, doc, func(c *Ctx, in *container.Info, r *Ref, v *Value) {
			if m := findMount(in, r, bySource); m != nil {
				v.setBytes(part(c, m))
			}
		})
		f.Arg = ArgIndexKey
		return f
	}
	label := func(name, doc string, of func(*container.Info, string) (string, bool)) *Field {
		f := told(name, doc, func(c *Ctx, in *container.Info, r *Ref, v *Value) {
			if l, ok := of(in, r.Key); ok {
				v.setBytes(c.text(l))
			}
		})
		f.Arg = ArgKey
		return f
	}
	labels := func(name, doc string, of func(*container.Info) []container.Label) *Field {
		return told(name, doc, func(c *Ctx, in *container.Info, _ *Ref, v *Value) {
			c.Buf = container.AppendLabels(c.Buf[:0], of(in))
			v.setBytes(c.Buf)
		})
	}
	nsStart := func(name string, t Type, doc string, fn func(c *Ctx, e event.Event, ts uint64, v *Value)) *Field {
		return computed(name, t, doc, func(c *Ctx, e event.Event, _ *Ref, v *Value) {
			if t := record(c.Arena.Threads, e.Thread()); t != nil {
				if ts := le.Uint64(t[wasmabi.ThreadPidnsInitTs:]); ts != 0 {
					fn(c, e, ts, v)
				}
			}
		})
	}
	cni := func(c *Ctx, in *container.Info, _ *Ref, v *Value) { v.setBytes(c.text(in.CNI)) }
	shortSandbox := func(c *Ctx, in *container.Info, _ *Ref, v *Value) {
		v.setBytes(container.Short([]byte(in.SandboxID), 0))
	}

	return append([]*Field{
		s("container.id", wasmabi.ContainerId, "host", "First 12 characters of the container's id, or the text host."),
		s("container.full_id", wasmabi.ContainerFullId, "", "Whole id of the container."),
		s("container.name", wasmabi.ContainerName, "host", "Name of the container, or the text host."),
		s("container.image", wasmabi.ContainerImage, "", "Name of the container's image, with its tag: example.com/web:1.2."),
		s("container.image.id", wasmabi.ContainerImageId, "", "Id of the container's image."),
		s("container.image.repository", wasmabi.ContainerImageRepository, "", "Repository of the container's image: example.com/web."),
		s("container.image.tag", wasmabi.ContainerImageTag, "", "Tag of the container's image."),
		s("container.image.digest", wasmabi.ContainerImageDigest, "", "Digest of the container's image, with its algorithm before it: sha256:0123."),
		computed("container.type", String, "Runtime of the container: docker, containerd, cri-o, podman and so on; host outside containers.", computeContainerType),
		computed("container.owner", String, "Whose the container is, by what its cgroup is in: system, or user:1000, service:web.service, container:ID and so on, from the outside in, with / between.", computeContainerOwner),
		s("container.ip", wasmabi.ContainerIp, "", "Address of the container, or of its pod."),

		flag("container.privileged", wasmabi.ContainerPrivileged, "Whether the container is privileged."),
		flag("container.host_pid", wasmabi.ContainerHostPid, "Whether the container is in the host's pid namespace."),
		flag("container.host_network", wasmabi.ContainerHostNetwork, "Whether the container is in the host's network namespace."),
		flag("container.host_ipc", wasmabi.ContainerHostIpc, "Whether the container is in the host's IPC namespace."),

		told("container.mounts", "Mounts of the container, each as source:destination:mode:rw:propagation, with commas between.", func(c *Ctx, in *container.Info, _ *Ref, v *Value) {
			c.Buf = c.Buf[:0]
			for i := range in.Mounts {
				if i > 0 {
					c.Buf = append(c.Buf, ',')
				}
				c.Buf = in.Mounts[i].Append(c.Buf)
			}
			v.setBytes(c.Buf)
		}),
		mount("container.mount", "Mount with that index or that source, which may be a glob, as source:destination:mode:rw:propagation.", true, func(c *Ctx, m *container.Mount) []byte {
			c.Buf = m.Append(c.Buf[:0])
			return c.Buf
		}),
		mount("container.mount.source", "Source of the mount with that index or destination, which may be a glob.", false, func(c *Ctx, m *container.Mount) []byte { return c.text(m.Source) }),
		mount("container.mount.dest", "Destination of the mount with that index or source, which may be a glob.", true, func(c *Ctx, m *container.Mount) []byte { return c.text(m.Destination) }),
		mount("container.mount.mode", "Mode of the mount with that index or source, which may be a glob.", true, func(c *Ctx, m *container.Mount) []byte { return c.text(m.Mode) }),
		mount("container.mount.rdwr", "Whether the mount with that index or source, which may be a glob, is writable: true or false.", true, func(c *Ctx, m *container.Mount) []byte { return c.text(m.Writable()) }),
		mount("container.mount.propagation", "Propagation of the mount with that index or source, which may be a glob.", true, func(c *Ctx, m *container.Mount) []byte { return c.text(m.Propagation) }),

		nsStart("container.start_ts", AbsTime, "When the first process of the thread's pid namespace started, in ns since the epoch.", func(c *Ctx, _ event.Event, ts uint64, v *Value) {
			v.setInt(c.wallOf(ts))
		}),
		nsStart("container.duration", RelTime, "Time since container.start_ts, in ns.", func(_ *Ctx, e event.Event, ts uint64, v *Value) {
			v.setInt(e.TS() - min(ts, e.TS()))
		}),

		label("container.label", "Label of the container: container.label[maintainer].", (*container.Info).Label),
		labels("container.labels", "Labels of the container, each as key:value, with commas between; without Kubernetes' own.", func(in *container.Info) []container.Label { return in.Labels }),
		told("container.cni.json", "Result of the pod's CNI plugin, as JSON.", cni),

		s("k8s.ns.name", wasmabi.ContainerPodNamespace, "", "Kubernetes namespace of the container's pod."),
		s("k8s.pod.name", wasmabi.ContainerPodName, "", "Name of the container's pod."),
		s("k8s.pod.uid", wasmabi.ContainerPodUid, "", "Uid of the container's pod."),
		s("k8s.pod.id", wasmabi.ContainerPodUid, "", "Old name of k8s.pod.uid."),
		s("k8s.pod.full_sandbox_id", wasmabi.ContainerSandboxId, "", "Whole id of the pod's sandbox."),
		told("k8s.pod.sandbox_id", "First 12 characters of the id of the pod's sandbox.", shortSandbox),
		s("k8s.pod.ip", wasmabi.ContainerIp, "", "Address of the container's pod."),
		label("k8s.pod.label", "Label of the container's pod: k8s.pod.label[app].", (*container.Info).PodLabel),
		labels("k8s.pod.labels", "Labels of the container's pod, each as key:value, with commas between.", func(in *container.Info) []container.Label { return in.PodLabels }),
		told("k8s.pod.cni.json", "Same as container.cni.json.", cni),
	}, retiredFields()...)
}

// retiredFields are names that old rules may have and nothing fills any more, here as elsewhere: those rules load.
func retiredFields() []*Field {
	const doc = "Retired: it never has a value. "
	out := []*Field{
		computed("container.healthcheck", String, doc+"It was the container's health check.", never),
		computed("container.liveness_probe", String, doc+"It was the container's liveness probe.", never),
		computed("container.readiness_probe", String, doc+"It was the container's readiness probe.", never),
		computed("proc.is_container_healthcheck", Bool, doc+"It told processes of health checks.", never),
		computed("proc.is_container_liveness_probe", Bool, doc+"It told processes of liveness probes.", never),
		computed("proc.is_container_readiness_probe", Bool, doc+"It told processes of readiness probes.", never),
		computed("k8s.ns.id", String, doc+"It was the id of the pod's namespace.", never),
	}
	for _, of := range []string{"ns", "rc", "svc", "rs", "deployment"} {
		what := doc + "It was of what the Kubernetes API knows."
		if of != "ns" {
			out = append(out, computed("k8s."+of+".name", String, what, never), computed("k8s."+of+".id", String, what, never))
		}
		l := computed("k8s."+of+".label", String, what, never)
		l.Arg = ArgKey
		out = append(out, l, computed("k8s."+of+".labels", String, what, never))
	}
	return out
}

// findMount returns the mount that r's argument names: by number, or by a glob of its source or destination.
func findMount(in *container.Info, r *Ref, bySource bool) *container.Mount {
	if r.Index >= 0 {
		if r.Index < len(in.Mounts) {
			return &in.Mounts[r.Index]
		}
		return nil
	}
	for i := range in.Mounts {
		m := &in.Mounts[i]
		text := m.Destination
		if bySource {
			text = m.Source
		}
		if glob.Match(r.Key, text, false) {
			return m
		}
	}
	return nil
}
