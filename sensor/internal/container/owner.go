package container

import "bytes"

// An owner says who can have made a container's cgroup, by what stands above it in its path. An id alone names no container:
// who has a cgroup to themselves may make one below it that is called as any other's. Id and owner together are a container.
//
// An owner is a text of parts with "/" between, from the outside in, and empty for the system:
//
//	user:1000               below the slice of a user's sessions; root's is the system's
//	service:web.service     below a service's own cgroup
//	container:ID            below the cgroup of a container, by its full id
//	namespace:NAME          in a namespace of containerd's, which its path names
//	unknown:                the path may have lost its head, or names a user where no user's slice is, or other than by a number
const (
	partUser      = "user:"
	partService   = "service:"
	partContainer = "container:"
	partNamespace = "namespace:"
	partUnknown   = "unknown:"
)

// OwnerUnknown is the owner of containers of which nobody knows whose they are.
const OwnerUnknown = partUnknown

// The probe reads the last 12 names of a path, and no more names once it has 769 bytes (bpf/include/store_path.h): of what is
// as long the head may be missing, and with it whose it is.
const (
	wholeNames = 11
	wholeBytes = 768
)

// appendOwner appends the owner of a container's cgroup, of which above is what stands above it in path.
func appendOwner(dst, path, above []byte) []byte {
	if len(path) > wholeBytes || bytes.Count(path, slash) > wholeNames {
		return append(dst, partUnknown...)
	}
	n := len(dst)
	part := func(kind string, b []byte) {
		if len(dst) > n {
			dst = append(dst, '/')
		}
		dst = append(append(dst, kind...), b...)
	}
	// first: nothing but .. has stood above in this container or, at the top, on this host. whose: who has it in there is told.
	// slices: nothing but slices has stood above.
	first, whose, slices := true, false, true
	for at := 0; at < len(above); {
		end := bytes.IndexByte(above[at:], '/')
		if end < 0 {
			end = len(above)
		} else {
			end += at
		}
		name, before, after := above[at:end], above[:max(at-1, 0)], above[min(end+1, len(above)):]
		at = end + 1
		if len(name) == 0 || string(name) == ".." && first {
			continue // of a path as another cgroup namespace sees it
		}
		if slices = slices && isSlice(name); slices && string(name) != "user.slice" {
			first = false // most of what there is, and nothing but a slice
			continue
		}
		if id, kind, ok := partID(name, before); ok && kind != 0 && !isPod(name, before) {
			part(partContainer, id)
			first, whose = true, false
			continue
		}
		switch uid, ok := sliceUser(name, after); {
		case whose:
		case ok && !first:
			part(partUnknown, nil)
			whose = true
		case ok:
			if string(uid) != "0" {
				part(partUser, uid)
			}
			whose = true
		case first && (string(name) == "user" || string(name) == "openrc.user") && len(after) > 0:
			part(partUnknown, nil) // a user's, by name: what libpam-cgfs and OpenRC make
			whose = true
		case bytes.HasSuffix(name, []byte(".service")):
			part(partService, name)
			whose = true
		}
		first = false
	}
	return dst
}

var slash = []byte("/")

// isSlice reports whether a component below none but slices is one of systemd's, and no container whatever it is called.
func isSlice(name []byte) bool {
	return bytes.HasSuffix(name, []byte(".slice")) && !bytes.HasPrefix(name, []byte("lxc.")) && !bytes.HasPrefix(name, []byte("bpm-"))
}

// isPod reports whether a component that is called like a container is one of Podman's pods, which a container of it is in.
func isPod(name, above []byte) bool {
	return len(name) == 64 && string(lastPart(above)) == "libpod_parent"
}

// sliceUser returns the number of the user whose sessions are below user.slice/user-UID.slice, of which name is the first
// component and after begins with the second.
func sliceUser(name, after []byte) (uid []byte, ok bool) {
	if string(name) != "user.slice" {
		return nil, false
	}
	after = bytes.TrimLeft(after, "/")
	if i := bytes.IndexByte(after, '/'); i >= 0 {
		after = after[:i]
	}
	if uid, ok = bytes.CutPrefix(after, []byte("user-")); !ok {
		return nil, false
	}
	if uid, ok = bytes.CutSuffix(uid, []byte(".slice")); !ok {
		return nil, false
	}
	_, ok = parseUID(uid)
	return uid, ok
}

// parseUID reads a user's number as systemd writes it.
func parseUID(b []byte) (uid int64, ok bool) {
	if len(b) == 0 || len(b) > 10 || b[0] == '0' && len(b) > 1 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		uid = uid*10 + int64(c-'0')
	}
	return uid, uid < 1<<32-1
}

// Domain is what an owner means for whom to ask of its containers.
type Domain struct {
	User      int64  // whose they are; -1 for the system's
	Depth     int    // in how many containers they stand, one in the other
	Namespace string // of containerd's; "" for not told
	Service   bool   // they stand in a service's own cgroup
	Unknown   bool   // nobody knows them
}

// DomainOf reads an owner.
func DomainOf(owner string) Domain {
	d := Domain{User: -1}
	for rest := []byte(owner); len(rest) > 0; {
		var kind, name []byte
		kind, name, rest = cutPart(rest)
		switch string(kind) {
		case partUser:
			uid, ok := parseUID(name)
			if d.Unknown = d.Unknown || !ok || d.User >= 0; ok {
				d.User = uid
			}
		case partContainer:
			d.Depth++
		case partNamespace:
			d.Namespace = string(name)
		case partService:
			d.Service = true
		default:
			d.Unknown = true
		}
	}
	return d
}

// Share returns the part of owner by which containers are counted so that nobody takes the room of all: up to the first user
// or container in it. Nil for the system and its services.
func Share(owner []byte) []byte {
	for rest := owner; len(rest) > 0; {
		at := len(owner) - len(rest)
		var kind, name []byte
		kind, name, rest = cutPart(rest)
		if k := string(kind); k != partService && k != partNamespace {
			return owner[:at+len(kind)+len(name)]
		}
	}
	return nil
}

// cutPart returns the kind of the first part of owner, its colon included, its name, and what comes after it.
func cutPart(owner []byte) (kind, name, rest []byte) {
	part, rest, _ := bytes.Cut(owner, slash)
	i := bytes.IndexByte(part, ':') + 1
	return part[:i], part[i:], rest
}

// AppendScope appends what a container is called among all: its id, short or full, with its owner before it. The events that
// tell of a container's users name it so; one of the system's is called by its id alone.
func AppendScope(dst, owner, id []byte) []byte {
	if len(owner) > 0 {
		dst = append(append(dst, owner...), '/')
	}
	return append(dst, id...)
}
