package container

// The kinds of a container: what made it. The numbers stand in the shared container record.
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
	KindBPM
	kinds
)

// formatTypes are the numbers that the kinds have in captures (libs 0.25), where what this sensor alone knows is "custom".
var formatTypes = [kinds]int64{
	KindDocker: 0, KindLXC: 1, KindLibvirt: 2, KindCRI: 6, KindContainerd: 7, KindCRIO: 8, KindBPM: 9, KindPodman: 11,
	KindNspawn: 5, KindOther: 5, 0: 0xFFFF,
}

// kindOf returns the kind of a capture's number; 0 for one that says nothing.
func kindOf(n int64) uint32 {
	for k := uint32(1); k < kinds; k++ {
		if formatTypes[k] == n && k != KindNspawn {
			return k
		}
	}
	return 0
}

// Named reports whether the id of a container of that kind is the name that its owner gave it.
func Named(kind uint32) bool {
	return kind == KindLXC || kind == KindLibvirt || kind == KindNspawn || kind == KindBPM
}

// shortID is how many characters of an id are shown.
const shortID = 12

// Short returns the form of a full id that container.id shows: 12 characters of an id that a runtime made up and, as
// others have it, of one given to containerd; else the whole of a name.
func Short(id []byte, kind uint32) []byte {
	if len(id) == 64 && isHex(id) || kind == KindContainerd && len(id) > shortID {
		return id[:shortID]
	}
	return id
}
