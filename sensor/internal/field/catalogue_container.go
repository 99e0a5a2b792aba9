package field

import "github.com/shikra-sensor/shikra/wasmabi"

// containerFields are what state knows of a container from the cgroup, and what a container runtime would say of it.
// Nothing asks the runtimes yet: the second group has no value, but rules that name it load.
func containerFields() []*Field {
	s := func(name string, offset int, none, doc string) *Field {
		return &Field{Name: name, Type: String, Read: Read{Base: Container, Offset: offset, Width: Str, None: none}, Doc: doc}
	}
	const later = " No value as long as the sensor doesn't ask container runtimes."
	unknown := func(name string, t Type, doc string) *Field { return computed(name, t, doc+later, never) }
	keyed := func(name, doc string) *Field {
		f := unknown(name, String, doc)
		f.Arg = ArgIndexKey
		return f
	}
	return []*Field{
		s("container.id", wasmabi.ContainerId, "host", "First 12 characters of the container's id, or the text host."),
		s("container.full_id", wasmabi.ContainerFullId, "", "Whole id of the container."),
		s("container.name", wasmabi.ContainerName, "host", "Name of the container, or the text host."),
		s("container.image", wasmabi.ContainerImage, "", "Name of the container's image."),
		s("container.image.id", wasmabi.ContainerImageId, "", "Id of the container's image."),
		s("container.image.repository", wasmabi.ContainerImageRepository, "", "Repository of the container's image."),
		s("container.image.tag", wasmabi.ContainerImageTag, "", "Tag of the container's image."),
		s("container.image.digest", wasmabi.ContainerImageDigest, "", "Digest of the container's image."),
		computed("container.type", String, "Runtime of the container: docker, containerd, cri-o, podman and so on; host outside containers.", computeContainerType),

		unknown("container.privileged", Bool, "Whether the container is privileged."),
		unknown("container.mounts", String, "Mounts of the container."),
		keyed("container.mount", "Mount with that index or that source, as source:destination:mode:rw:propagation."),
		keyed("container.mount.source", "Source of the mount with that index or destination."),
		keyed("container.mount.dest", "Destination of the mount with that index or source."),
		keyed("container.mount.mode", "Mode of the mount with that index or source."),
		keyed("container.mount.rdwr", "Whether the mount with that index or source is writable: true or false."),
		keyed("container.mount.propagation", "Propagation of the mount with that index or source."),
		unknown("container.start_ts", AbsTime, "When the container started, in ns since the epoch."),
		unknown("container.ip", String, "Address of the container."),
		unknown("k8s.ns.name", String, "Kubernetes namespace of the container's pod."),
		unknown("k8s.pod.name", String, "Name of the container's pod."),
		unknown("k8s.pod.uid", String, "Uid of the container's pod."),
	}
}
