package state

import (
	"bytes"
	"slices"

	"github.com/shikra-sensor/shikra/sensor/internal/arena"
	"github.com/shikra-sensor/shikra/sensor/internal/container"
	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/snapshot"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// names holds users or groups: an id within a container, or of the host, and the strings that belong to it.
type names struct {
	ix   index // ref of the container's scope<<32 | id → entry
	ent  []name
	free []uint32
	next uint32

	// Entries of containers that count by shares, which get half the room: such a container's files are its owner's to fill.
	shared int
}

// name owns its strings, that of the container's scope included.
type name struct {
	id, container     uint32 // container is the ref of its scope, 0 for the host
	name, home, shell uint32
	shared            bool // its container counts by a share
}

func newNames(limit int) names {
	return names{ix: newIndex(limit), ent: make([]name, limit+1), next: 1}
}

// set adds or replaces an entry, whose strings pass to the table; false when there is no room.
func (n *names) set(tab *arena.Strings, id uint32, e name) bool {
	e.id = id
	key := uint64(e.container)<<32 | uint64(id)
	i := n.ix.get(key)
	switch {
	case i != 0:
		n.ent[i].release(tab)
	case e.shared && n.shared >= (len(n.ent)-1)/2:
		e.release(tab)
		return false
	case len(n.free) > 0:
		i = n.free[len(n.free)-1]
		n.free = n.free[:len(n.free)-1]
	case int(n.next) < len(n.ent):
		i = n.next
		n.next++
	default:
		e.release(tab)
		return false
	}
	if e.shared && !n.ent[i].shared {
		n.shared++
	}
	n.ent[i] = e
	n.ix.put(key, i)
	return true
}

func (n *names) del(tab *arena.Strings, container, id uint32) {
	key := uint64(container)<<32 | uint64(id)
	if i := n.ix.get(key); i != 0 {
		n.ix.del(key)
		if n.ent[i].shared {
			n.shared--
		}
		n.ent[i].release(tab)
		n.ent[i] = name{}
		n.free = append(n.free, i)
	}
}

// has reports whether something belongs to a container.
func (n *names) has(container uint32) bool {
	return slices.ContainsFunc(n.ent[1:n.next], func(e name) bool { return e.container == container })
}

// delAll removes what belongs to a container.
func (n *names) delAll(tab *arena.Strings, container uint32) {
	for i := uint32(1); i < n.next; i++ {
		if n.ent[i].container == container {
			n.del(tab, container, n.ent[i].id)
		}
	}
}

func (e *name) release(tab *arena.Strings) {
	for _, ref := range [...]uint32{e.container, e.name, e.home, e.shell} {
		tab.Release(ref)
	}
}

// find returns the entry of an id in the container of that slot, nil for none.
func (s *State) find(n *names, container, id uint32) *name {
	c := uint32(0)
	if container != 0 {
		if c = s.containers.own[container].scope; c == 0 {
			return nil
		}
	}
	if i := n.ix.get(uint64(c)<<32 | uint64(id)); i != 0 {
		return &n.ent[i]
	}
	return nil
}

// setNames sets the names that go with t's ids. A container's users are its own; root is root everywhere; an id without
// a name reads <NA>. The login user is one of the host.
func (s *State) setNames(t uint32) {
	r, tab := s.rec(t), s.a.Strings
	k := get32(r, wasmabi.ThreadContainer)
	uid, gid := get32(r, wasmabi.ThreadUid), get32(r, wasmabi.ThreadGid)
	u := name{name: s.na, home: s.na, shell: s.na}
	if e := s.find(&s.users, k, uid); e != nil {
		u = *e
	} else if uid == 0 {
		u.name, u.home, u.shell = s.rootName, s.rootHome, s.empty
	}
	keepStr(tab, r, wasmabi.ThreadUserName, u.name)
	keepStr(tab, r, wasmabi.ThreadUserHome, u.home)
	keepStr(tab, r, wasmabi.ThreadUserShell, u.shell)
	g := s.na
	if e := s.find(&s.groups, k, gid); e != nil {
		g = e.name
	} else if gid == 0 {
		g = s.rootName
	}
	keepStr(tab, r, wasmabi.ThreadGroupName, g)
	login, l := get32(r, wasmabi.ThreadLoginuid), s.na
	if e := s.find(&s.users, 0, login); e != nil {
		l = e.name
	} else if login == 0 {
		l = s.rootName
	}
	keepStr(tab, r, wasmabi.ThreadLoginuserName, l)
}

// UserName returns the name of a user in the container of that slot, 0 for the host, as a view; nil for none.
func (s *State) UserName(container, uid uint32) []byte {
	if e := s.find(&s.users, container, uid); e != nil {
		return s.a.Strings.Get(e.name)
	}
	if uid == 0 {
		return s.a.Strings.Get(s.rootName)
	}
	return nil
}

// GroupName is UserName for groups.
func (s *State) GroupName(container, gid uint32) []byte {
	if e := s.find(&s.groups, container, gid); e != nil {
		return s.a.Strings.Get(e.name)
	}
	if gid == 0 {
		return s.a.Strings.Get(s.rootName)
	}
	return nil
}

// containerRef returns the ref by which entries of the container with that scope are found, an owner counted; 0 for the host.
func (s *State) containerRef(scope []byte) uint32 {
	if len(scope) == 0 {
		return 0
	}
	return s.intern(s.a.Strings, scope)
}

// inShare reports whether the container of that scope is counted by a share.
func inShare(scope []byte) bool {
	i := bytes.LastIndexByte(scope, '/')
	return i >= 0 && container.Share(scope[:i]) != nil
}

// forgetUsers removes the users and groups of containers that have ended. Queued events may still ask for their names.
func (s *State) forgetUsers() {
	s.flush(&s.st.ThreadFlushes)
	for _, scope := range s.containers.ended {
		if !s.containers.hasScope(s.a, scope) { // it may have come again meanwhile
			s.users.delAll(s.a.Strings, scope)
			s.groups.delAll(s.a.Strings, scope)
		}
		s.a.Strings.Release(scope)
	}
	s.containers.ended = s.containers.ended[:0]
}

// AddUser adds or replaces a user. Threads that are there get the name.
func (s *State) AddUser(u *snapshot.User) {
	if u.Name == "" || u.Name[0] == '+' || u.Name[0] == '-' {
		return // an entry that refers to another database (nsswitch.conf, "compat")
	}
	s.putUser(u.UID, []byte(u.Name), []byte(u.Home), []byte(u.Shell), []byte(u.Container))
}

func (s *State) putUser(uid uint32, nm, home, shell, scope []byte) {
	e := name{container: s.containerRef(scope), shared: inShare(scope)}
	if len(scope) > 0 && e.container == 0 {
		s.st.UsersDropped++
		return
	}
	e.name, e.home, e.shell = s.intern(s.a.Strings, nm), s.intern(s.a.Strings, home), s.intern(s.a.Strings, shell)
	if !s.users.set(s.a.Strings, uid, e) {
		s.st.UsersDropped++
		return
	}
	s.renamed(uid, true)
}

// AddGroup adds or replaces a group. Threads that are there get the name.
func (s *State) AddGroup(g *snapshot.Group) {
	if g.Name == "" || g.Name[0] == '+' || g.Name[0] == '-' {
		return
	}
	s.putGroup(g.GID, []byte(g.Name), []byte(g.Container))
}

func (s *State) putGroup(gid uint32, nm, scope []byte) {
	e := name{container: s.containerRef(scope), shared: inShare(scope)}
	if len(scope) > 0 && e.container == 0 {
		s.st.UsersDropped++
		return
	}
	e.name = s.intern(s.a.Strings, nm)
	if !s.groups.set(s.a.Strings, gid, e) {
		s.st.UsersDropped++
		return
	}
	s.renamed(gid, false)
}

// renamed gives threads of a user or group their names anew. During a snapshot Settled does.
func (s *State) renamed(id uint32, user bool) {
	if !s.settled {
		return
	}
	for t := uint32(1); t < s.a.Threads.High(); t++ {
		if s.side[t].bits&live == 0 {
			continue
		}
		r := s.rec(t)
		if user && (get32(r, wasmabi.ThreadUid) == id || get32(r, wasmabi.ThreadLoginuid) == id) || !user && get32(r, wasmabi.ThreadGid) == id {
			s.touch(t)
			s.setNames(t)
		}
	}
}

// userEvent follows the events by which users and groups come and go in a capture.
func (s *State) userEvent(c *call) {
	id, ok := param32(c.r, 0)
	if !ok {
		return
	}
	str := func(i int) []byte { b, _ := paramStr(c.r, i); return b }
	switch c.r.Type() {
	case event.UserAddedE:
		s.putUser(id, str(2), str(3), str(4), str(5))
	case event.GroupAddedE:
		s.putGroup(id, str(1), str(2))
	case event.UserDeletedE:
		k := s.containerRef(str(5))
		s.users.del(s.a.Strings, k, id)
		s.a.Strings.Release(k)
		s.renamed(id, true)
	case event.GroupDeletedE:
		k := s.containerRef(str(2))
		s.groups.del(s.a.Strings, k, id)
		s.a.Strings.Release(k)
		s.renamed(id, false)
	}
}
