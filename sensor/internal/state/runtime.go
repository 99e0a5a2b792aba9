package state

import (
	"slices"

	"github.com/shikra-sensor/shikra/sensor/internal/container"
	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// earlyInfos keeps what was said of containers that have no thread yet: a capture tells of a container before its first
// process. The oldest makes room for the newest.
type earlyInfos struct {
	limit int
	byID  map[string]*container.Info // by owner and full id, or by the full or the short one alone when that is all there is
	order []string                   // as they came
}

func (e *earlyInfos) put(in *container.Info) (evicted bool) {
	key := in.FullID
	if key == "" {
		key = in.ID
	}
	key = string(container.AppendScope(nil, []byte(in.Owner), []byte(key)))
	if e.byID == nil {
		e.byID = map[string]*container.Info{}
	}
	if _, ok := e.byID[key]; !ok {
		if evicted = len(e.order) >= e.limit; evicted {
			delete(e.byID, e.order[0])
			e.order = slices.Delete(e.order, 0, 1)
		}
		e.order = append(e.order, key)
	}
	e.byID[key] = in
	return evicted
}

// take removes and returns what was said of the container with that owner and that full id, or that short one; nil for
// nothing. What doesn't tell whose it is is said of the system's.
func (e *earlyInfos) take(owner, full, short []byte) *container.Info {
	if len(e.order) == 0 {
		return nil
	}
	system := container.Share(owner) == nil
	for _, key := range [...]string{string(container.AppendScope(nil, owner, full)), string(container.AppendScope(nil, owner, short)), string(full), string(short)} {
		in, ok := e.byID[key]
		if !ok || in.Owned && in.Owner != string(owner) || !in.Owned && !system {
			continue
		}
		delete(e.byID, key)
		if i := slices.Index(e.order, key); i >= 0 {
			e.order = slices.Delete(e.order, i, i+1)
		}
		return in
	}
	return nil
}

// The parameters of the events that tell of containers.
const (
	pJSON      = 0 // ContainerJsonV2E
	pAsyncName = 1 // AsynceventE
	pAsyncData = 2
)

// containerEvent takes what an event says of a container, and has the event see it: in the thread that it names, or else in
// one that stands in for it, for a capture tells of a container before its first process, and one that is gone has none.
func (s *State) containerEvent(c *call, queue bool) {
	i, gone := pJSON, false
	if c.r.Type() == event.AsynceventE {
		i = pAsyncData
		switch name, _ := paramStr(c.r, pAsyncName); string(name) {
		case container.EventAdded:
		case container.EventRemoved: // its record goes with its last thread
			gone = true
		default:
			return
		}
	}
	b, _ := c.r.Param(i)
	in, err := container.ParseJSON(b)
	if err != nil {
		s.st.ContainersUnread++
		return
	}
	if !gone {
		s.addContainer(in, c.t)
	}
	if !queue {
		return
	}
	k := s.findContainer(in, c.t)
	if k == 0 || c.t == 0 || get32(s.rec(c.t), wasmabi.ThreadContainer) != k {
		c.t = s.standIn(k, in)
	}
}

// standIn returns a thread in the container k, or in one that in describes when that is 0, for one event to see. Both are
// given back at once: they stay as they are until that event is judged. 0 when there is no room.
func (s *State) standIn(k uint32, in *container.Info) uint32 {
	t, ok := s.a.Threads.Alloc()
	if !ok {
		return 0
	}
	defer s.a.Threads.Free(t) // after all that may flush
	if k == 0 {
		if k, ok = s.a.Containers.Alloc(); !ok {
			return 0
		}
		s.containers.refs[k], s.containers.asked[k] = 0, false
		s.containers.own[k], _ = s.newOwnership([]byte(in.Owner), []byte(in.ID))
		r := s.a.Containers.Record(k)
		put32(r, wasmabi.ContainerId, s.intern(s.a.Strings, []byte(in.ID)))
		if in.FullID != "" {
			put32(r, wasmabi.ContainerFullId, s.intern(s.a.Strings, []byte(in.FullID)))
		}
		s.fillContainer(k, in)
		s.freeContainer(k)
	} else {
		s.a.Containers.Mark(k)
	}
	r := s.rec(t)
	put32(r, wasmabi.ThreadLeader, t)
	put32(r, wasmabi.ThreadUid, noID)
	put32(r, wasmabi.ThreadGid, noID)
	put32(r, wasmabi.ThreadLoginuid, noID)
	put32(r, wasmabi.ThreadContainer, k)
	return t
}

// addContainer gives the record of a container what its runtime said, in an event of thread t, or keeps it until there is one.
func (s *State) addContainer(in *container.Info, t uint32) {
	k := s.findContainer(in, t)
	if k == 0 {
		if s.containers.early.put(in) {
			s.st.ContainersForgotten++
		}
		return
	}
	if s.a.Containers.Marked(k) && !s.cfg.NoFlushRule {
		s.flush(&s.st.ThreadFlushes)
	}
	if known := s.containers.infos[k]; known != nil { // told of again: what isn't told stays
		if in.Labels == nil {
			in.Labels = known.Labels
		}
		if in.PodLabels == nil {
			in.PodLabels = known.PodLabels
		}
	}
	s.fillContainer(k, in)
}

// findContainer returns the slot of the container that in, told by an event of thread t, is about; 0 for none. What doesn't
// tell whose it is is about the system's, when that is there; else about the one that t is in, or the only one with that id.
func (s *State) findContainer(in *container.Info, t uint32) uint32 {
	if in.Owned && in.FullID != "" {
		return s.lookUp([]byte(in.FullID), []byte(in.Owner))
	}
	x, id, off := &s.containers, in.FullID, wasmabi.ContainerFullId
	if id == "" {
		id, off = in.ID, wasmabi.ContainerId
	}
	n, only, mine := 0, uint32(0), uint32(0)
	for k := uint32(1); k < s.a.Containers.High(); k++ {
		if x.refs[k] == 0 || k == x.over || string(s.a.Strings.Get(get32(s.a.Containers.Record(k), off))) != id {
			continue
		}
		if in.Owned {
			if string(s.a.Strings.Get(x.own[k].owner)) == in.Owner {
				return k
			}
			continue
		}
		if x.own[k].share == 0 {
			return k
		}
		if t != 0 && get32(s.rec(t), wasmabi.ThreadContainer) == k {
			mine = k
		}
		n, only = n+1, k
	}
	if mine != 0 || n != 1 {
		return mine
	}
	return only
}

// fillContainer sets what in says in record k, which isn't marked. What the runtime left empty is a value: that of no bytes.
func (s *State) fillContainer(k uint32, in *container.Info) {
	set := func(off int, v string) {
		ref := s.intern(s.a.Strings, []byte(v))
		setStr(s.a.Strings, s.a.Containers.Record(k), off, ref)
	}
	set(wasmabi.ContainerName, in.Name)
	set(wasmabi.ContainerImage, in.Image)
	set(wasmabi.ContainerImageRepository, in.Repository)
	set(wasmabi.ContainerImageTag, in.Tag)
	set(wasmabi.ContainerImageDigest, in.Digest)
	set(wasmabi.ContainerImageId, in.ImageID)
	set(wasmabi.ContainerIp, in.IP)
	set(wasmabi.ContainerSandboxId, in.SandboxID)
	for _, l := range [...]struct {
		off int
		key string
	}{
		{wasmabi.ContainerPodName, container.LabelPodName}, {wasmabi.ContainerPodNamespace, container.LabelPodNamespace},
		{wasmabi.ContainerPodUid, container.LabelPodUID},
	} {
		if v, ok := in.Label(l.key); ok {
			set(l.off, v)
		} else {
			setStr(s.a.Strings, s.a.Containers.Record(k), l.off, 0)
		}
	}
	flags := uint32(wasmabi.ContainerAnswered)
	for _, f := range [...]struct {
		on  bool
		bit uint32
	}{
		{in.Privileged, wasmabi.ContainerPrivileged}, {in.HostPID, wasmabi.ContainerHostPid}, {in.HostNetwork, wasmabi.ContainerHostNetwork},
		{in.HostIPC, wasmabi.ContainerHostIpc}, {in.Sandbox, wasmabi.ContainerSandbox},
	} {
		if f.on {
			flags |= f.bit
		}
	}
	r := s.a.Containers.Record(k)
	put32(r, wasmabi.ContainerFlags, flags)
	if in.Kind != 0 {
		put32(r, wasmabi.ContainerKind, in.Kind)
	}
	s.containers.infos[k] = in
}

// ContainerInfo returns what the runtime said of the container of that slot; nil for nothing yet, and for the host.
func (s *State) ContainerInfo(slot uint32) *container.Info {
	if slot == 0 || int(slot) >= len(s.containers.infos) {
		return nil
	}
	return s.containers.infos[slot]
}

// ThreadIn returns the id of a thread of the container with that full id and owner: its first process, when that is known,
// else the main thread with the lowest id; 0 for none.
func (s *State) ThreadIn(id, owner string) int64 {
	k := s.lookUp([]byte(id), []byte(owner))
	if k == 0 {
		return 0
	}
	best := int64(0)
	for t := uint32(1); t < s.a.Threads.High(); t++ {
		if s.side[t].bits&live == 0 {
			continue
		}
		r := s.rec(t)
		if get32(r, wasmabi.ThreadContainer) != k || get32(r, wasmabi.ThreadFlags)&wasmabi.ThreadMain == 0 {
			continue
		}
		tid := geti64(r, wasmabi.ThreadTid)
		if geti64(r, wasmabi.ThreadVpid) == 1 {
			return tid
		}
		if best == 0 || tid < best {
			best = tid
		}
	}
	return best
}
