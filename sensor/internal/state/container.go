package state

import (
	"bytes"
	"errors"

	"github.com/shikra-sensor/shikra/sensor/internal/arena"
	"github.com/shikra-sensor/shikra/sensor/internal/container"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// containers finds records by full id and owner, counts the threads of each and keeps what the runtimes said of them.
type containers struct {
	ix     index // keyOf → slot
	refs   []uint32
	own    []ownership       // by slot; the strings of a freed one stay until the flush
	infos  []*container.Info // by slot; that of a freed one stays until the slot is taken again
	asked  []bool            // by slot: somebody looks for an Info
	shares index             // ref of a share → how many containers it has
	shared int               // containers that are counted by shares
	early  earlyInfos
	ended  []uint32 // refs of the scopes, an owner counted, of those whose users are still there
	over   uint32   // stands for those that found no room: never the host
}

// ownership is whose a container is. Each ref has an owner counted.
type ownership struct {
	owner uint32 // ref of container.Place.Owner, 0 for the system's
	share uint32 // ref of container.Share, 0 for none
	scope uint32 // ref of container.AppendScope with the short id: by which its users are found
}

// keyOf is what a container is found by.
func keyOf(owner, full uint32) uint64 { return uint64(owner)<<32 | uint64(full) }

// Users, and what runs in containers, get no more of the table than leaves the system room: one of them a quarter, all of them
// three.
func (x *containers) admits(limit int, share uint32) bool {
	return int(x.shares.get(uint64(share))) < max(limit/4, 1) && x.shared < max(limit*3/4, 1)
}

// containerStrings are the fields of a container record that own a string.
var containerStrings = [...]int{
	wasmabi.ContainerId, wasmabi.ContainerFullId, wasmabi.ContainerName, wasmabi.ContainerImage, wasmabi.ContainerImageRepository,
	wasmabi.ContainerImageTag, wasmabi.ContainerImageDigest, wasmabi.ContainerImageId, wasmabi.ContainerIp, wasmabi.ContainerPodName,
	wasmabi.ContainerPodNamespace, wasmabi.ContainerPodUid, wasmabi.ContainerSandboxId,
}

func newContainers(limit int) containers {
	return containers{
		ix: newIndex(limit), refs: make([]uint32, limit+1), own: make([]ownership, limit+1), infos: make([]*container.Info, limit+1),
		asked: make([]bool, limit+1), shares: newIndex(limit), early: earlyInfos{limit: limit},
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
	x.own[k] = ownership{owner: a.Strings.InternString(container.OwnerUnknown), scope: a.Strings.InternString("<unknown>")}
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
	full, own := get32(s.a.Containers.Record(k), wasmabi.ContainerFullId), x.own[k]
	if own.scope != 0 && (s.users.has(own.scope) || s.groups.has(own.scope)) {
		x.ended = append(x.ended, s.a.Strings.Retain(own.scope))
	}
	if s.cfg.ContainerGone != nil {
		s.cfg.ContainerGone(s.a.Strings.Get(full), s.a.Strings.Get(own.owner), x.infos[k])
	}
	x.ix.del(keyOf(own.owner, full))
	if own.share != 0 {
		x.count(own.share, -1)
	}
	s.freeContainer(k)
}

// count adds n to how many containers a share has.
func (x *containers) count(share uint32, n int) {
	x.shared += n
	if left := int(x.shares.get(uint64(share))) + n; left > 0 {
		x.shares.put(uint64(share), uint32(left))
	} else {
		x.shares.del(uint64(share))
	}
}

// hasScope reports whether a container with threads has that scope.
func (x *containers) hasScope(a *arena.Arena, scope uint32) bool {
	for k := uint32(1); k < a.Containers.High(); k++ {
		if x.refs[k] > 0 && x.own[k].scope == scope {
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
	s.disown(s.containers.own[k])
	s.a.Containers.Free(k)
}

// disown releases what an ownership refers to.
func (s *State) disown(o ownership) {
	for _, ref := range [...]uint32{o.owner, o.share, o.scope} {
		s.a.Strings.Release(ref)
	}
}

// newOwnership makes the ownership of a container; false when there is no room for its strings.
func (s *State) newOwnership(owner, short []byte) (o ownership, ok bool) {
	if len(owner) > 0 {
		if o.owner = s.intern(s.a.Strings, owner); o.owner == 0 {
			return ownership{}, false
		}
		if share := container.Share(owner); share != nil {
			if o.share = s.intern(s.a.Strings, share); o.share == 0 {
				s.disown(o)
				return ownership{}, false
			}
		}
	}
	if len(owner) > 0 {
		var scratch [1024]byte
		short = container.AppendScope(scratch[:0], owner, short)
	}
	if o.scope = s.intern(s.a.Strings, short); o.scope == 0 {
		s.disown(o)
		return ownership{}, false
	}
	return o, true
}

// lookUp returns the slot of a container by its full id and its owner; 0 for none.
func (s *State) lookUp(full, owner []byte) (k uint32) {
	f, o := s.intern(s.a.Strings, full), uint32(0)
	if len(owner) > 0 {
		o = s.intern(s.a.Strings, owner)
	}
	if f != 0 && (o != 0 || len(owner) == 0) {
		k = s.containers.ix.get(keyOf(o, f))
	}
	s.a.Strings.Release(f)
	s.a.Strings.Release(o)
	return k
}

// containerOf returns the slot of the container that cgroups of thread tid name, made when it is new; 0 for the host. cgroups
// are as in container.FromCgroups, and not in s.buf.
func (s *State) containerOf(cgroups []byte, tid int64) uint32 {
	p, ok := container.FromCgroups(cgroups, s.buf[:0])
	if !ok {
		return 0
	}
	if k := s.lookUp(p.ID, p.Owner); k != 0 {
		s.ask(k, tid)
		return k
	}
	k := s.newContainer(&p)
	if k == 0 {
		s.st.ContainersDropped++
		return s.containers.over // a thread of one of these is not of the host
	}
	s.ask(k, tid)
	return k
}

// newContainer makes the record of a container; 0 when there is no room.
func (s *State) newContainer(p *container.Place) uint32 {
	x, tab := &s.containers, s.a.Strings
	short := container.Short(p.ID, p.Kind)
	full := s.intern(tab, p.ID)
	if full == 0 {
		return 0
	}
	own, ok := s.newOwnership(p.Owner, short)
	if !ok {
		tab.Release(full)
		return 0
	}
	ok = own.share == 0 || x.admits(s.a.Containers.Limit(), own.share)
	k := uint32(0)
	if !ok {
		s.st.ContainersOver++
	} else if k, ok = s.a.Containers.Alloc(); !ok && s.a.Containers.Pending() > 0 {
		s.flush(&s.st.RoomFlushes)
		k, ok = s.a.Containers.Alloc()
	}
	if !ok {
		tab.Release(full)
		s.disown(own)
		return 0
	}
	r := s.a.Containers.Record(k)
	put32(r, wasmabi.ContainerFullId, full)
	put32(r, wasmabi.ContainerId, s.intern(tab, short))
	put32(r, wasmabi.ContainerKind, p.Kind)
	if container.Named(p.Kind) {
		put32(r, wasmabi.ContainerName, s.intern(tab, p.ID))
	}
	x.refs[k], x.own[k], x.infos[k], x.asked[k] = 0, own, nil, false
	x.ix.put(keyOf(own.owner, full), k)
	if own.share != 0 {
		x.count(own.share, 1)
	}
	if in := x.early.take(p.Owner, p.ID, short); in != nil {
		s.fillContainer(k, in)
	}
	return k
}

// ask has somebody look for what the runtime says of container k, in which thread tid is.
func (s *State) ask(k uint32, tid int64) {
	x := &s.containers
	if x.asked[k] || x.infos[k] != nil || k == x.over || s.cfg.LookupContainer == nil {
		return
	}
	r := s.a.Containers.Record(k)
	x.asked[k] = s.cfg.LookupContainer(s.a.Strings.Get(get32(r, wasmabi.ContainerFullId)), s.a.Strings.Get(x.own[k].owner), get32(r, wasmabi.ContainerKind), tid)
}

// ContainerOwner returns whose the container of that slot is, as container.Place.Owner says it, as a view; nil for the host.
func (s *State) ContainerOwner(slot uint32) []byte {
	if slot == 0 || int(slot) >= len(s.containers.own) {
		return nil
	}
	return s.a.Strings.Get(s.containers.own[slot].owner)
}

// setCgroups sets the cgroups of t, NUL-separated "subsystem=path" pairs, and the container that follows from them. The
// subsystems get the names by which they are mounted.
func (s *State) setCgroups(t uint32, b []byte) {
	out := s.buf[:0]
	for rest := b; len(rest) > 0; {
		pair := rest
		if i := bytes.IndexByte(rest, 0); i >= 0 {
			pair, rest = rest[:i], rest[i+1:]
		} else {
			rest = nil
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
	// What found no room may find some now.
	if ref != 0 && ref == get32(r, wasmabi.ThreadCgroups) && get32(r, wasmabi.ThreadContainer) != s.containers.over {
		s.a.Strings.Release(ref)
		return
	}
	setStr(s.a.Strings, r, wasmabi.ThreadCgroups, ref)
	s.containers.move(s, r, s.containerOf(b, geti64(r, wasmabi.ThreadTid)))
}
