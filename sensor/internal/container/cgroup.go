package container

import "bytes"

// Place is the container that a thread is in. The slices are views.
type Place struct {
	ID    []byte // full
	Owner []byte // who can have made it: see the parts of an owner
	Kind  uint32
}

// FromCgroups reads from the cgroups of a thread, "subsystem=path" pairs with a NUL between, the container it is in: the
// innermost, from the first path that tells one. What is returned is a view of cgroups or of scratch. False for a thread of
// the host, which a container's monitor (conmon, lxc.monitor, the supervisor of systemd-nspawn) is too. It allocates nothing
// as long as scratch has room for an escaped id and an owner.
func FromCgroups(cgroups, scratch []byte) (p Place, ok bool) {
	first, same := []byte(nil), true
	for rest := cgroups; len(rest) > 0; {
		pair := rest
		if i := bytes.IndexByte(rest, 0); i >= 0 {
			pair, rest = rest[:i], rest[i+1:]
		} else {
			rest = nil
		}
		i := bytes.IndexByte(pair, '=')
		if i < 0 {
			continue
		}
		path := pair[i+1:]
		if id, above, kind, told := pathID(path); told {
			if kind == 0 {
				return Place{}, false
			}
			scratch = appendOwner(scratch[:0], path, above)
			return Place{ID: unescape(id, kind, scratch[len(scratch):]), Owner: scratch, Kind: kind}, true
		}
		if first == nil {
			first = path
		}
		same = same && bytes.Equal(first, path)
	}
	// containerd's own client puts a container into /NAMESPACE/ID, which says nothing by itself: it must be the same in
	// every hierarchy.
	if same {
		if ns, id, ok := namespacedID(first); ok {
			return Place{ID: id, Kind: KindContainerd, Owner: append(append(scratch[:0], partNamespace...), ns...)}, true
		}
	}
	return Place{}, false
}

// pathID looks for a container in one cgroup path, from its end, and returns what stands above it too. A kind of 0 says that it
// is the host's.
func pathID(path []byte) (id, above []byte, kind uint32, told bool) {
	for end := len(path); end > 0; {
		i := bytes.LastIndexByte(path[:end], '/')
		above = path[:max(i, 0)]
		if id, kind, ok := partID(path[i+1:end], above); ok {
			return id, above, kind, true
		}
		end = i
	}
	return nil, nil, 0, false
}

// prefixes are what stands before an id of 64 digits in one component, with the kind; 0 for what isn't in the container.
var prefixes = [...]struct {
	text string
	kind uint32
}{
	{"docker", KindDocker}, {"cri-containerd", KindContainerd}, {"containerd", KindContainerd}, {"nerdctl", KindContainerd},
	{"crio", KindCRIO}, {"cri-o", KindCRIO}, {"libpod", KindPodman}, {"libpod-payload", KindPodman}, {"podman", KindPodman},
	{"crio-conmon", 0}, {"libpod-conmon", 0}, {"conmon", 0},
}

// partID reads one component; above is what stands before it. A kind of 0 ends the search without a container.
func partID(part, above []byte) (id []byte, kind uint32, ok bool) {
	unit := bytes.TrimSuffix(part, []byte(".scope"))
	if n := len(unit); n >= 64 && isHex(unit[n-64:]) {
		id, head := unit[n-64:], unit[:n-64]
		if len(head) == 0 {
			return id, parentKind(above), true
		}
		sep := head[len(head)-1]
		if sep == '-' || sep == ':' {
			head = head[:len(head)-1]
			if i := bytes.LastIndexByte(head, ':'); i >= 0 {
				head = head[i+1:] // kubepods-….slice:cri-containerd:<id>
			}
			for _, p := range prefixes {
				if string(head) == p.text {
					return id, p.kind, true
				}
			}
			return id, KindOther, true
		}
		return nil, 0, false
	}
	last := lastPart(above)
	switch {
	case len(part) == 0:
	case bytes.HasPrefix(part, []byte("lxc.monitor")):
		return nil, 0, true
	case len(part) > len("lxc.payload.") && bytes.HasPrefix(part, []byte("lxc.payload.")):
		return part[len("lxc.payload."):], KindLXC, true
	case string(last) == "lxc" && bytes.HasSuffix(above, []byte("/libvirt/lxc")):
		return part, KindLibvirt, true
	case string(last) == "lxc" || string(last) == "lxc.payload":
		return part, KindLXC, true
	case string(last) == "lxc.monitor":
		return nil, 0, true
	case string(last) == "garden":
		return part, KindOther, true
	case len(unit) > len("bpm-") && bytes.HasPrefix(unit, []byte("bpm-")) && isName(unit):
		return unit[len("bpm-"):], KindBPM, true
	case len(part) > len(".libvirt-lxc") && bytes.HasSuffix(part, []byte(".libvirt-lxc")):
		return part[:len(part)-len(".libvirt-lxc")], KindLibvirt, true
	case string(part) == "supervisor":
		up := bytes.TrimSuffix(bytes.TrimSuffix(above, last), []byte("/"))
		_, kind, ok := machineID(last, lastPart(up))
		return nil, 0, ok && kind == KindNspawn
	default:
		return machineID(part, last)
	}
	return nil, 0, false
}

// machineID reads a component of machine.slice: what systemd-machined registered.
func machineID(part, last []byte) (id []byte, kind uint32, ok bool) {
	if string(last) != "machine.slice" {
		return nil, 0, false
	}
	if name, ok := bytes.CutPrefix(part, []byte("systemd-nspawn@")); ok {
		if name, ok = bytes.CutSuffix(name, []byte(".service")); ok && len(name) > 0 {
			return name, KindNspawn, true
		}
		return nil, 0, false
	}
	name, ok := bytes.CutSuffix(part, []byte(".scope"))
	if !ok {
		return nil, 0, false
	}
	if name, ok = bytes.CutPrefix(name, []byte("machine-")); !ok {
		return nil, 0, false
	}
	// libvirt's: machine-lxc\x2d<number>\x2d<name>.scope, its virtual machines with qemu for lxc
	if rest, ok := bytes.CutPrefix(name, []byte(`lxc\x2d`)); ok {
		if _, rest, ok = bytes.Cut(rest, []byte(`\x2d`)); ok && len(rest) > 0 {
			return rest, KindLibvirt, true
		}
	}
	if len(name) > 0 && !bytes.HasPrefix(name, []byte(`qemu\x2d`)) {
		return name, KindNspawn, true
	}
	return nil, 0, false
}

// parentKind tells the kind of a component that is an id and nothing else.
func parentKind(above []byte) uint32 {
	last := lastPart(above)
	switch {
	case string(last) == "docker":
		return KindDocker
	case string(last) == "libpod_parent":
		return KindPodman
	case string(last) == "lxc":
		return KindLXC
	case bytes.HasPrefix(last, []byte("pod")) || bytes.Contains(above, []byte("kubepods")):
		return KindCRI
	case string(last) == "k8s.io" || string(last) == "default":
		return KindContainerd
	}
	return KindOther
}

func lastPart(path []byte) []byte { return path[bytes.LastIndexByte(path, '/')+1:] }

// otherRoots are first components of two whose second isn't a container.
var otherRoots = [...]string{"machine", "system", "user", "docker", "kubepods", "lxc", "lxc.monitor", "libvirt", "slurm", "htcondor", "libpod_parent"}

// namespacedID reads both from /NAMESPACE/ID: two components, both of them names that containerd allows and neither of
// them a unit of systemd's.
func namespacedID(path []byte) (ns, id []byte, ok bool) {
	if len(path) < 4 || path[0] != '/' {
		return nil, nil, false
	}
	ns, id, ok = bytes.Cut(path[1:], slash)
	if !ok || !isName(ns) || !isName(id) || isUnit(ns) || isUnit(id) {
		return nil, nil, false
	}
	if string(id) == "conmon" { // where Podman without systemd puts its monitors, below whatever its own cgroup is
		return nil, nil, false
	}
	for _, o := range otherRoots {
		if string(ns) == o {
			return nil, nil, false
		}
	}
	return ns, id, true
}

// isUnit reports whether a component is called as systemd calls the cgroups of its units.
func isUnit(b []byte) bool {
	i := bytes.LastIndexByte(b, '.')
	if i < 0 {
		return false
	}
	switch string(b[i+1:]) {
	case "slice", "scope", "service", "socket", "mount", "swap":
		return true
	}
	return false
}

// isName reports whether b is letters and digits, and single ones of ".", "_" and "-" between them; at most 76 bytes
// (containerd's identifiers).
func isName(b []byte) bool {
	if len(b) == 0 || len(b) > 76 {
		return false
	}
	sep := true
	for _, c := range b {
		switch {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
			sep = false
		case (c == '.' || c == '_' || c == '-') && !sep:
			sep = true
		default:
			return false
		}
	}
	return !sep
}

func isHex(b []byte) bool {
	for _, c := range b {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// unescape undoes systemd's escaping (\x2d for -) of a machine's name, into scratch. A name has no /, as no component has.
func unescape(id []byte, kind uint32, scratch []byte) []byte {
	if kind != KindNspawn && kind != KindLibvirt || bytes.IndexByte(id, '\\') < 0 {
		return id
	}
	out := scratch[:0]
	for i := 0; i < len(id); i++ {
		if id[i] == '\\' && i+3 < len(id) && id[i+1] == 'x' {
			hi, lo := nibble(id[i+2]), nibble(id[i+3])
			if c := hi<<4 | lo; hi|lo < 16 && c > ' ' && c < 0x7f && c != '/' {
				out = append(out, c)
				i += 3
				continue
			}
		}
		out = append(out, id[i])
	}
	return out
}

// nibble returns the value of a hexadecimal digit, 16 for none.
func nibble(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	}
	return 16
}
