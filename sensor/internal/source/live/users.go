package live

import (
	"github.com/shikra-sensor/shikra/sensor/internal/hostroot"
	"github.com/shikra-sensor/shikra/sensor/internal/snapshot"
	"github.com/shikra-sensor/shikra/sensor/internal/userdb"
)

const maxUsersFile = 4 << 20 // bytes read of a users or groups file

// users hands out the users and groups of the host. A missing file is none of either.
func (s *shot) users() {
	b, _ := hostroot.ReadFile(s.cfg.HostRoot, "etc/passwd", maxUsersFile)
	cut := userdb.Users(b, s.cfg.MaxUsers, func(u *snapshot.User) {
		s.rep.Users++
		s.sink.AddUser(u)
	})
	b, _ = hostroot.ReadFile(s.cfg.HostRoot, "etc/group", maxUsersFile)
	cut += userdb.Groups(b, s.cfg.MaxUsers, func(g *snapshot.Group) {
		s.rep.Groups++
		s.sink.AddGroup(g)
	})
	s.rep.UsersCut = cut
}
