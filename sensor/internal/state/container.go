package state

import (
	"bytes"
	"errors"

	"github.com/shikra-sensor/shikra/sensor/internal/arena"
	"github.com/shikra-sensor/shikra/sensor/internal/container"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// containers finds records by full id, counts the threads of each and keeps what the runtimes said of them.
type containers struct {
	ix    index // ref of the full id → slot
	refs  []uint32
	infos []*container.Info // by slot; that of a freed one stays until the slot is taken again
	asked []bool            // by slot: somebody looks for an Info
	early earlyInfos
	ended []uint32 // refs of the short ids, an owner counted, of those whose users are still there
	over  uint32   // stands for those that found no room: never the host
}

// containerStrings are the fields of a container record that own a string.
var containerStrings = [...]int{
	wasmabi.ContainerId, wasmabi.ContainerFullId, wasmabi.ContainerName, wasmabi.ContainerImage, wasmabi.ContainerImageRepository,
	wasmabi.ContainerImageTag, wasmabi.ContainerImageDigest, wasmabi.ContainerImageId, wasmabi.ContainerIp, wasmabi.ContainerPodName,
	wasmabi.ContainerPodNamespace, wasmabi.ContainerPodUid, wasmabi.ContainerSandboxId,
}

func newContainers(limit int) containers {
	return containers{
		ix: newIndex(limit), refs: make([]uint32, limit+1), infos: make([]*container.Info, limit+1), asked: make([]bool, limit+1),
		early: earlyInfos{limit: limit},
	}
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
	put32(r, wasmabi.ContainerKind, container.KindOther)
	x.over = k
	return nil
}

// move makes k the container of the thread record r, which isn't marked.
func (x *containers) move(s *State, r []byte, k uint32) {
	old := get32(r, wasmabi.ThreadContainer)
	if old == k {
		return
	}
	if k != 0 {
		x.refs[k]++
	}
	put32(r, wasmabi.ThreadContainer, k)
	x.drop(s, old)
}

// drop takes one thread off container k, and frees the record with the last; queued events still see it.
func (x *containers) drop(s *State, k uint32) {
	if k == 0 {
		return
	}
	if x.refs[k]--; x.refs[k] > 0 || k == x.over {
		return
	}
	r := s.a.Containers.Record(k)
	full := get32(r, wasmabi.ContainerFullId)
	if id := get32(r, wasmabi.ContainerId); id != 0 && (s.users.has(id) || s.groups.has(id)) {
		x.ended = append(x.ended, s.a.Strings.Retain(id))
	}
	if s.cfg.ContainerGone != nil {
		s.cfg.ContainerGone(s.a.Strings.Get(full), x.infos[k])
	}
	x.ix.del(uint64(full))
	s.freeContainer(k)
}

// hasShort reports whether a container with threads has that short id.
func (x *containers) hasShort(a *arena.Arena, id uint32) bool {
	for k := uint32(1); k < a.Containers.High(); k++ {
		if x.refs[k] > 0 && get32(a.Containers.Record(k), wasmabi.ContainerId) == id {
			return true
		}
	}
	return false
}

// freeContainer gives back record k, whose bytes and strings stay until the flush.
func (s *State) freeContainer(k uint32) {
	r := s.a.Containers.Record(k)
	for _, off := range containerStrings {
		s.a.Strings.Release(get32(r, off))
	}
	s.a.Containers.Free(k)
}

// containerOf returns the slot of the container that cgroups of thread tid name, made when it is new; 0 for the host.
func (s *State) containerOf(cgroups []byte, tid int64) uint32 {
	var scratch [256]byte
	id, kind, ok := container.FromCgroups(cgroups, scratch[:])
	if !ok {
		return 0
	}
	full := s.intern(s.a.Strings, id)
	if full == 0 {
		return s.overflow()
	}
	if k := s.containers.ix.get(uint64(full)); k != 0 {
		s.a.Strings.Release(full)
		s.ask(k, cgroups, tid)
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
	r := s.a.Containers.Record(k)
	put32(r, wasmabi.ContainerFullId, full)
	short := container.Short(id, kind)
	put32(r, wasmabi.ContainerId, s.intern(s.a.Strings, short))
	put32(r, wasmabi.ContainerKind, kind)
	if container.Named(kind) {
		put32(r, wasmabi.ContainerName, s.intern(s.a.Strings, id))
	}
	s.containers.refs[k], s.containers.infos[k], s.containers.asked[k] = 0, nil, false
	s.containers.ix.put(uint64(full), k)
	if in := s.containers.early.take(id, short); in != nil {
		s.fillContainer(k, in)
	}
	s.ask(k, cgroups, tid)
	return k
}

// ask has somebody look for what the runtime says of container k, in which thread tid with those cgroups is.
func (s *State) ask(k uint32, cgroups []byte, tid int64) {
	x := &s.containers
	if x.asked[k] || x.infos[k] != nil || k == x.over || s.cfg.LookupContainer == nil {
		return
	}
	r := s.a.Containers.Record(k)
	x.asked[k] = s.cfg.LookupContainer(s.a.Strings.Get(get32(r, wasmabi.ContainerFullId)), get32(r, wasmabi.ContainerKind), container.UserOf(cgroups), tid)
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
	s.containers.move(s, r, s.containerOf(out, geti64(r, wasmabi.ThreadTid)))
}
