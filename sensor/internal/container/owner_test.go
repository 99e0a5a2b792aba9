package container

import (
	"strings"
	"testing"
)

// TestOwner: whose a container is follows from what stands above it, and nobody below a cgroup of their own can have it read
// as the system's or as another's.
func TestOwner(t *testing.T) {
	const (
		box   = "docker-" + id64 + ".scope"
		other = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
		user  = "/user.slice/user-1000.slice/user@1000.service/"
	)
	host, service := Domain{User: -1}, Domain{User: -1, Service: true}
	for _, c := range []struct {
		path, owner, share string
		domain             Domain
	}{
		// the system's
		{"/docker/" + id64, "", "", host},
		{"/system.slice/" + box, "", "", host},
		{"/system.slice/" + box + "/init.scope", "", "", host},
		{"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/cri-containerd-" + id64 + ".scope", "", "", host},
		{"/kubepods/besteffort/pod1/" + id64, "", "", host},
		{"/machine.slice/machine-libpod_pod_" + other + ".slice/libpod-" + id64 + ".scope", "", "", host},
		{"/libpod_parent/" + other + "/libpod-" + id64, "", "", host}, // in a pod
		{"/user.slice/user-0.slice/user@0.service/" + box, "", "", host},
		{"/user.slice/" + box, "", "", host},
		{"/../../docker/" + id64, "", "", host},
		{"/" + box, "", "", host},
		{"/lxc.payload.web/init.scope", "", "", host},

		// a service's
		{"/system.slice/web.service/libpod-payload-" + id64, "service:web.service", "", service},
		{"/system.slice/web.service/a.service/" + box, "service:web.service", "", service},
		{"/system.slice/web.service/user.slice/user-1000.slice/" + box, "service:web.service", "", service},

		// a user's
		{user + "user.slice/libpod-" + id64 + ".scope", "user:1000", "user:1000", Domain{User: 1000}},
		{user + box + "/system.slice/ssh.service", "user:1000", "user:1000", Domain{User: 1000}},
		{"/../.." + user + box, "user:1000", "user:1000", Domain{User: 1000}},
		{"//user.slice//user-1000.slice/" + box, "user:1000", "user:1000", Domain{User: 1000}},
		{user + "user.slice/user-1001.slice/" + box, "user:1000", "user:1000", Domain{User: 1000}},
		{user + "x.service/../../docker/" + id64, "user:1000", "user:1000", Domain{User: 1000}},
		{user + "docker/" + id64, "user:1000", "user:1000", Domain{User: 1000}},
		{user + "k3s-rootless.service/kubepods/besteffort/pod1/" + id64, "user:1000", "user:1000", Domain{User: 1000}},

		// below another container
		{"/docker/" + other + "/docker/" + id64, "container:" + other, "container:" + other, Domain{User: -1, Depth: 1}},
		{"/docker/" + other + "/../docker/" + id64, "container:" + other, "container:" + other, Domain{User: -1, Depth: 1}},
		{"/system.slice/docker-" + other + ".scope/user.slice/user-7.slice/" + box, "container:" + other + "/user:7", "container:" + other, Domain{User: 7, Depth: 1}},
		{"/system.slice/web.service/libpod-payload-" + other + "/" + box, "service:web.service/container:" + other, "service:web.service/container:" + other, Domain{User: -1, Depth: 1, Service: true}},
		{"/libpod_parent/libpod-" + other + "/" + id64 + "/" + box, "container:" + other + "/container:" + id64, "container:" + other, Domain{User: -1, Depth: 2}},
		{"/lxc.payload.a.service/system.slice/" + box, "container:a.service", "container:a.service", Domain{User: -1, Depth: 1}},
		{`/machine.slice/machine-my\x2ddebian.scope/payload/` + box, `container:my\x2ddebian`, `container:my\x2ddebian`, Domain{User: -1, Depth: 1}},
		{user + "docker-" + other + ".scope/" + box, "user:1000/container:" + other, "user:1000", Domain{User: 1000, Depth: 1}},

		// nobody knows whose
		{"/a/user.slice/user-1000.slice/" + box, "unknown:", "unknown:", Domain{User: -1, Unknown: true}},
		{"/user/someone/0/" + box, "unknown:", "unknown:", Domain{User: -1, Unknown: true}},
		{"/openrc.user/someone/" + box, "unknown:", "unknown:", Domain{User: -1, Unknown: true}},
		{user + strings.Repeat("a/", 8) + box, "unknown:", "unknown:", Domain{User: -1, Unknown: true}},
		{strings.Repeat("/a", 11) + "/" + box, "unknown:", "unknown:", Domain{User: -1, Unknown: true}},
		{strings.Repeat("/a", 10) + "/" + box, "", "", host},
		{strings.Repeat("/"+strings.Repeat("a", 250), 3) + "/" + box, "unknown:", "unknown:", Domain{User: -1, Unknown: true}},
		{"/user.slice/user-0.slice/session-1.scope" + strings.Repeat("/"+strings.Repeat("a", 230), 3) + "/" + box, "unknown:", "unknown:", Domain{User: -1, Unknown: true}},

		// of containerd's own client
		{"/shop/web-1", "namespace:shop", "", Domain{User: -1, Namespace: "shop"}},
	} {
		p, ok := FromCgroups([]byte("cpu="+c.path), nil)
		if !ok || string(p.Owner) != c.owner {
			t.Errorf("%s: owner %q, want %q", c.path, p.Owner, c.owner)
		}
		if got := Share(p.Owner); string(got) != c.share {
			t.Errorf("%s: share %q, want %q", c.path, got, c.share)
		}
		if got := DomainOf(string(p.Owner)); got != c.domain {
			t.Errorf("%s: %+v, want %+v", c.path, got, c.domain)
		}
	}
	for _, s := range []string{"user:", "user:x", "user:01", "user:99999999999", "user:1/user:2", "x", ":", "/", "x:y", "user:4294967295"} {
		if d := DomainOf(s); !d.Unknown {
			t.Errorf("%q: %+v", s, d)
		}
	}
	// A name with a blank and what looks like a pair in it is one name.
	p, ok := FromCgroups([]byte("memory="+user+"a cpu=/"+box+"\x00cpu="+user+"b\x00"), nil)
	if !ok || string(p.Owner) != "user:1000" {
		t.Errorf("a name with a blank: %+v", p)
	}
}
