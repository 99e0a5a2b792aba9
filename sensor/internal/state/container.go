package state

import (
	"bytes"
	"errors"

	"github.com/shikra-sensor/shikra/sensor/internal/arena"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// The kinds of a container record.
const (
	KindDocker = iota + 1
	KindLXC
	KindLibvirt
	KindContainerd
	KindCRIO
	KindPodman
	KindCRI // a Kubernetes pod's, of a runtime that its cgroup doesn't tell
	KindNspawn
	KindOther
)

// shortID is how many characters of an id of 64 are shown.
const shortID = 12

// ContainerID reads from the cgroups of a thread, "subsystem=path" pairs with blanks between, the id and the kind of the
// container it is in: the innermost, from the first path that tells one. The id is a view of cgroups. False for a thread
// of the host, which a container's monitor (conmon, lxc.monitor) is too.
func ContainerID(cgroups []byte) (id []byte, kind uint32, ok bool) {
	for len(cgroups) > 0 {
		pair := cgroups
		if i := bytes.IndexByte(cgroups, ' '); i >= 0 {
			pair, cgroups = cgroups[:i], cgroups[i+1:]
		} else {
			cgroups = nil
		}
		i := bytes.IndexByte(pair, '=')
		if i < 0 {
			continue
		}
		if id, kind, ok := pathID(pair[i+1:]); ok {
			return id, kind, true
		}
	}
	return nil, 0, false
}

// pathID looks for a container in one cgroup path, from its end.
func pathID(path []byte) ([]byte, uint32, bool) {
	for end := len(path); end > 0; {
		i := bytes.LastIndexByte(path[:end], '/')
		if id, kind, ok := partID(path[i+1:end], path[:max(i, 0)]); ok {
			return id, kind, kind != 0
		}
		end = i
	}
	return nil, 0, false
}

// prefixes are what stands before an id of 64 digits in one component, with the kind; 0 for what isn't in the container.
var prefixes = [...]struct {
	text string
	kind uint32
}{
	{"docker", KindDocker}, {"cri-containerd", KindContainerd}, {"containerd", KindContainerd}, {"nerdctl", KindContainerd},
	{"crio", KindCRIO}, {"cri-o", KindCRIO}, {"libpod", KindPodman}, {"podman", KindPodman},
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
	last := above
	if i := bytes.LastIndexByte(above, '/'); i >= 0 {
		last = above[i+1:]
	}
	switch {
	case len(part) == 0:
	case bytes.HasPrefix(part, []byte("lxc.monitor")):
		return nil, 0, true
	case len(part) > len("lxc.payload.") && bytes.HasPrefix(part, []byte("lxc.payload.")):
		return part[len("lxc.payload."):], KindLXC, true
	case string(last) == "lxc" || string(last) == "lxc.payload":
		return part, KindLXC, true
	case string(last) == "lxc.monitor":
		return nil, 0, true
	case len(part) > len(".libvirt-lxc") && bytes.HasSuffix(part, []byte(".libvirt-lxc")):
		return part[:len(part)-len(".libvirt-lxc")], KindLibvirt, true
	case string(last) == "machine.slice" && bytes.HasPrefix(unit, []byte("machine-")) && len(unit) < len(part):
		name := unit[len("machine-"):]
		// libvirt's: machine-lxc\x2d<number>\x2d<name>.scope, its virtual machines with qemu for lxc
		if rest, ok := bytes.CutPrefix(name, []byte(`lxc\x2d`)); ok {
			if _, rest, ok = bytes.Cut(rest, []byte(`\x2d`)); ok && len(rest) > 0 {
				return rest, KindLibvirt, true
			}
		}
		if len(name) > 0 && !bytes.HasPrefix(name, []byte(`qemu\x2d`)) {
			return name, KindNspawn, true
		}
	case string(last) == "machine.slice" && bytes.HasPrefix(part, []byte("systemd-nspawn@")) && bytes.HasSuffix(part, []byte(".service")):
		if name := part[len("systemd-nspawn@") : len(part)-len(".service")]; len(name) > 0 {
			return name, KindNspawn, true
		}
	}
	return nil, 0, false
}

// parentKind tells the kind of a component that is an id and nothing else.
func parentKind(above []byte) uint32 {
	last := above
	if i := bytes.LastIndexByte(above, '/'); i >= 0 {
		last = above[i+1:]
	}
	switch {
	case string(last) == "docker":
		return KindDocker
	case string(last) == "libpod_parent":
		return KindPodman
	case string(last) == "lxc":
		return KindLXC
	case bytes.HasPrefix(last, []byte("pod")) || bytes.Contains(above, []byte("kubepods")):
		return KindCRI
	}
	return KindOther
}

func isHex(b []byte) bool {
	for _, c := range b {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// containers finds records by full id and counts the threads of each.
type containers struct {
	ix   index // ref of the full id → slot
	refs []uint32
	over uint32 // stands for those that found no room: never the host
}

func newContainers(limit int) containers {
	return containers{ix: newIndex(limit), refs: make([]uint32, limit+1)}
}

// reserve makes the record of containers without room.
func (x *containers) reserve(a *arena.Arena) error {
	k, ok := a.Containers.Alloc()
	if !ok {
		return errors.New("state: no room for a container")
	}
	r := a.Containers.Record(k)
	put32(r, wasmabi.ContainerId, a.Strings.InternString("<unknown>"))
	put32(r, wasmabi.ContainerFullId, a.Strings.InternString("<unknown>"))
	put32(r, wasmabi.ContainerKind, KindOther)
	x.over = k
	return nil
}

// move makes k the container of the thread record r, which isn't marked.
func (x *containers) move(a *arena.Arena, r []byte, k uint32) {
	old := get32(r, wasmabi.ThreadContainer)
	if old == k {
		return
	}
	if k != 0 {
		x.refs[k]++
	}
	put32(r, wasmabi.ThreadContainer, k)
	x.drop(a, old)
}

// drop takes one thread off container k, and frees the record with the last; queued events still see it.
func (x *containers) drop(a *arena.Arena, k uint32) {
	if k == 0 {
		return
	}
	if x.refs[k]--; x.refs[k] > 0 || k == x.over {
		return
	}
	r := a.Containers.Record(k)
	x.ix.del(uint64(get32(r, wasmabi.ContainerFullId)))
	for off := wasmabi.ContainerId; off <= wasmabi.ContainerImageId; off += 4 {
		if off != wasmabi.ContainerKind {
			a.Strings.Release(get32(r, off))
		}
	}
	a.Containers.Free(k)
}

// containerOf returns the slot of the container that cgroups name, made when it is new; 0 for the host.
func (s *State) containerOf(cgroups []byte) uint32 {
	id, kind, ok := ContainerID(cgroups)
	if !ok {
		return 0
	}
	full := s.intern(s.a.Strings, id)
	if full == 0 {
		return s.overflow()
	}
	if k := s.containers.ix.get(uint64(full)); k != 0 {
		s.a.Strings.Release(full)
		return k
	}
	k, ok := s.a.Containers.Alloc()
	if !ok && s.a.Containers.Pending() > 0 {
		s.flush(&s.st.RoomFlushes)
		k, ok = s.a.Containers.Alloc()
	}
	if !ok {
		s.a.Strings.Release(full)
		return s.overflow()
	}
	short := id
	if len(short) == 64 {
		short = short[:shortID]
	}
	r := s.a.Containers.Record(k)
	put32(r, wasmabi.ContainerFullId, full)
	put32(r, wasmabi.ContainerId, s.intern(s.a.Strings, short))
	put32(r, wasmabi.ContainerKind, kind)
	s.containers.refs[k] = 0
	s.containers.ix.put(uint64(full), k)
	return k
}

// overflow returns the record that stands for containers without room: a thread of one of them is not of the host.
func (s *State) overflow() uint32 {
	s.st.ContainersDropped++
	return s.containers.over
}

// setCgroups sets the cgroups of t, NUL-separated "subsystem=path" pairs, and the container that follows from them. The
// subsystems get the names by which they are mounted.
func (s *State) setCgroups(t uint32, b []byte) {
	out := s.buf[:0]
	for len(b) > 0 {
		pair := b
		if i := bytes.IndexByte(b, 0); i >= 0 {
			pair, b = b[:i], b[i+1:]
		} else {
			b = nil
		}
		sub, path, ok := bytes.Cut(pair, []byte("="))
		if !ok {
			continue
		}
		sub = bytes.TrimSuffix(sub, []byte("_cgroup"))
		if len(out) > 0 {
			out = append(out, ' ')
		}
		switch string(sub) {
		case "perf":
			out = append(out, "perf_event"...)
		case "mem":
			out = append(out, "memory"...)
		case "io":
			out = append(out, "blkio"...)
		default:
			out = append(out, sub...)
		}
		out = append(append(out, '='), path...)
	}
	r := s.rec(t)
	ref := s.intern(s.a.Strings, out)
	if ref != 0 && ref == get32(r, wasmabi.ThreadCgroups) {
		s.a.Strings.Release(ref)
		return
	}
	setStr(s.a.Strings, r, wasmabi.ThreadCgroups, ref)
	s.containers.move(s.a, r, s.containerOf(out))
}
