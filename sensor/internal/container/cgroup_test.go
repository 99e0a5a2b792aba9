package container

import (
	"bytes"
	"strings"
	"testing"
)

const id64 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// each gives a path to all controllers, as a runtime does.
func each(path string) string { return "cpuset=" + path + " cpu=" + path + " memory=" + path }

// pairs makes of blanks what stands between pairs.
func pairs(s string) []byte { return []byte(strings.ReplaceAll(s, " ", "\x00")) }

func TestFromCgroups(t *testing.T) {
	const id = id64
	other := strings.Repeat("f", 64)
	for _, c := range []struct {
		cgroups string
		id      string
		kind    uint32 // 0: of the host
	}{
		{"", "", 0},
		{"cpu=/ memory=/user.slice/user-1000.slice", "", 0},
		{"cpu=/user.slice/user-1000.slice/user@1000.service/init.scope", "", 0},
		{each("/system.slice/containerd.service"), "", 0},

		// docker: both drivers, rootless, in docker, as a kind node, with a systemd inside
		{"cpu=/docker/" + id, id, KindDocker},
		{"cpu=/ memory=/docker/" + id, id, KindDocker},
		{"cpu=/system.slice/docker-" + id + ".scope", id, KindDocker},
		{"cpu=/user.slice/user-1000.slice/user@1000.service/user.slice/docker-" + id + ".scope", id, KindDocker},
		{"cpu=/system.slice/docker-" + id + ".scope/init.scope", id, KindDocker},
		{"cpu=/docker/" + other + "/docker/" + id + "/init", id, KindDocker},
		{"cpu=/docker/" + other + "/system.slice/docker-" + id + ".scope", id, KindDocker},
		{"cpu=/docker/" + id + "/system.slice/ssh.service", id, KindDocker},
		{"cpu=/system.slice/docker-" + other + ".scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod1.slice/cri-containerd-" + id + ".scope", id, KindContainerd},
		{"cpu=/docker/" + other + "/kubelet/kubepods/besteffort/pod1/" + id, id, KindCRI},
		{"cpu=/../../docker/" + id, id, KindDocker}, // seen from another cgroup namespace
		{"cpu=/../" + id, id, KindOther},
		{"cpu=/ecs/task-1/" + id, id, KindOther},

		// Kubernetes: both drivers, containerd, CRI-O, k3s, without a parent
		{"cpu=/kubepods/burstable/pod11-22/" + id, id, KindCRI},
		{"cpu=/kubepods.slice/kubepods-pod1.slice/" + id, id, KindCRI},
		{"cpu=/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod11.slice/cri-containerd-" + id + ".scope", id, KindContainerd},
		{"cpu=/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod11.slice/docker-" + id + ".scope", id, KindDocker},
		{"cpu=/system.slice/containerd.service/kubepods-burstable-pod1.slice:cri-containerd:" + id, id, KindContainerd},
		{"cpu=/user.slice/user-1000.slice/user@1000.service/k3s-rootless.service/kubepods/besteffort/pod1/" + id, id, KindCRI},
		{"cpu=/system.slice/nerdctl-" + id + ".scope", id, KindContainerd},
		{"cpu=/k8s.io/" + id, id, KindContainerd},
		{"cpu=/kubepods.slice/kubepods-pod1.slice/crio-" + id + ".scope", id, KindCRIO},
		{"cpu=/kubepods/besteffort/pod1/crio-" + id, id, KindCRIO},
		{"cpu=/kubepods.slice/kubepods-pod1.slice/crio-" + id + ".scope/container", id, KindCRIO},
		{"cpu=/kubepods.slice/kubepods-pod1.slice/crio-conmon-" + id + ".scope", "", 0},
		{"cpu=/kubepods.slice/kubepods-pod1.slice", "", 0},

		// podman: root, rootless, in a pod, split, without systemd
		{"cpu=/machine.slice/libpod-" + id + ".scope", id, KindPodman},
		{"cpu=/machine.slice/libpod-" + id + ".scope/container", id, KindPodman},
		{"cpu=/machine.slice/machine-libpod_pod_" + other + ".slice/libpod-" + id + ".scope", id, KindPodman},
		{"cpu=/user.slice/user-1.slice/user@1.service/user.slice/libpod-" + id + ".scope", id, KindPodman},
		{"cpu=/system.slice/web.service/libpod-payload-" + id, id, KindPodman},
		{"cpu=/machine.slice/libpod-conmon-" + id + ".scope", "", 0},
		{each("/libpod_parent/libpod-" + id), id, KindPodman},
		{each("/libpod_parent/libpod-conmon-" + id), "", 0},
		{"cpu=/libpod_parent/" + id, id, KindPodman},
		{each("/libpod_parent/conmon"), "", 0},
		{each("/session/conmon"), "", 0},
		{each("/libpod_parent/other"), "", 0},

		// containerd's own client
		{each("/default/web-1"), "web-1", KindContainerd},
		{each("/my.ns/web_1.test"), "web_1.test", KindContainerd},
		{each("/default/" + id), id, KindContainerd},
		{"cpu=/default/web-1 memory=/", "", 0}, // a runtime joins them all
		{each("/default/web.service"), "", 0},
		{each("/init.scope/web"), "", 0},
		{each("/default/web-"), "", 0},
		{each("/default/a/b"), "", 0},
		{each("/web"), "", 0},
		{each("/machine/web"), "", 0},

		{"cpu=/lxc/web1", "web1", KindLXC},
		{"cpu=/lxc/web1/system.slice/ssh.service", "web1", KindLXC},
		{"cpu=/lxc/101/ns/init.scope", "101", KindLXC},
		{"cpu=/lxc.payload/web1", "web1", KindLXC},
		{"cpu=/lxc.payload.web1/init.scope", "web1", KindLXC},
		{"cpu=/lxc.payload.web1/system.slice/docker-" + id + ".scope", id, KindDocker},
		{"cpu=/lxc.monitor.web1", "", 0},
		{"cpu=/lxc.monitor/web1", "", 0},
		{`cpu=/machine.slice/machine-lxc\x2d12\x2dmy\x2dweb.scope/libvirt`, "my-web", KindLibvirt},
		{`cpu=/machine.slice/machine-qemu\x2d12\x2dweb.scope`, "", 0},
		{"cpu=/machine/web.libvirt-lxc", "web", KindLibvirt},
		{"cpu=/libvirt/lxc/web", "web", KindLibvirt},
		{"cpu=/machine.slice/machine-debian.scope/payload", "debian", KindNspawn},
		{`cpu=/machine.slice/machine-my\x2ddebian.scope/payload/init.scope`, "my-debian", KindNspawn},
		{"cpu=/machine.slice/machine-debian.scope/supervisor", "", 0},
		{"cpu=/machine.slice/systemd-nspawn@debian.service/payload", "debian", KindNspawn},
		{`cpu=/machine.slice/systemd-nspawn@my\x2ddebian.service`, "my-debian", KindNspawn},
		{"cpu=/machine.slice/systemd-nspawn@debian.service/supervisor", "", 0},
		{"cpu=/system.slice/web.service/supervisor", "", 0},
		{`cpu=/machine.slice/machine-a\x2.scope`, `a\x2`, KindNspawn},
		{"cpu=/bpm-web.scope", "web", KindBPM},
		{"cpu=/system.slice/bpm-web", "web", KindBPM},
		{"cpu=/garden/7f3a-b1", "7f3a-b1", KindOther},

		{"cpu=/actions/" + id, id, KindOther},
		{"cpu=/x/foo-" + id + ".scope", id, KindOther},
		{"cpu=/x/y/foo" + id, "", 0},
		{"cpu=/docker/" + id[1:], "", 0},
		{"cpu=/docker/" + strings.ToUpper(id), "", 0},
		{"cpu /docker/" + id, "", 0},
		{"cpu=", "", 0},
		{"cpu=///", "", 0},
	} {
		p, ok := FromCgroups(pairs(c.cgroups), make([]byte, 0, 64))
		if string(p.ID) != c.id && ok || p.Kind != c.kind && ok || ok != (c.kind != 0) {
			t.Errorf("FromCgroups(%q) = %q, %d, %v, want %q, %d", c.cgroups, p.ID, p.Kind, ok, c.id, c.kind)
		}
	}
}

func TestFromCgroupsAllocatesNothing(t *testing.T) {
	for _, s := range []string{
		each("/docker/" + id64), each("/default/web"), `cpu=/machine.slice/machine-my\x2ddebian.scope`, each("/user.slice"),
		`cpu=/machine.slice/machine-my\x2ddebian.scope/payload/user.slice/user-1000.slice/user@1000.service/machine.slice/machine-my\x2ddebian.scope`,
	} {
		b, scratch := pairs(s), make([]byte, 256)
		if n := testing.AllocsPerRun(100, func() { FromCgroups(b, scratch) }); n != 0 {
			t.Errorf("%s: %v allocations", s, n)
		}
	}
}

func FuzzFromCgroups(f *testing.F) {
	f.Add([]byte("cpu=/docker/" + id64))
	f.Add([]byte(`a=/machine.slice/machine-lxc\x2d\x2d.scope b=/lxc.payload.`))
	f.Add([]byte("a=/default/web\x00b=/default/web"))
	f.Add([]byte("a=/user.slice/user-1000.slice/user@1000.service/docker-" + id64 + ".scope/x.service/docker-" + id64 + ".scope"))
	f.Add([]byte("a=/machine.slice/machine-x.scope/supervisor"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, ok := FromCgroups(b, make([]byte, 16))
		if ok != (len(p.ID) > 0 && p.Kind > 0 && p.Kind < kinds) || bytes.IndexByte(p.ID, '/') >= 0 {
			t.Errorf("%q: %q %d %v", b, p.ID, p.Kind, ok)
		}
		d, share := DomainOf(string(p.Owner)), Share(p.Owner)
		if !bytes.HasPrefix(p.Owner, share) || (len(share) > 0) != (d.User >= 0 || d.Depth > 0 || d.Unknown) {
			t.Errorf("%q: owner %q, share %q, %+v", b, p.Owner, share, d)
		}
	})
}
