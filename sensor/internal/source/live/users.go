package live

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/shikra-sensor/shikra/sensor/internal/hostroot"
	"github.com/shikra-sensor/shikra/sensor/internal/snapshot"
)

const maxUsersFile = 4 << 20 // bytes read of a users or groups file

// users hands out the users and groups of the host. A missing file is none of either.
func (s *shot) users() {
	b, _ := hostroot.ReadFile(s.cfg.HostRoot, "etc/passwd", maxUsersFile)
	cut := eachEntry(b, s.cfg.MaxUsers, func(f []string) bool { // name:password:uid:gid:gecos:home:shell
		if len(f) < 7 {
			return false
		}
		uid, err := strconv.ParseUint(f[2], 10, 32)
		gid, err2 := strconv.ParseUint(f[3], 10, 32)
		if err != nil || err2 != nil {
			return false
		}
		s.rep.Users++
		s.sink.AddUser(&snapshot.User{UID: uint32(uid), GID: uint32(gid), Name: f[0], Home: f[5], Shell: f[6]})
		return true
	})
	b, _ = hostroot.ReadFile(s.cfg.HostRoot, "etc/group", maxUsersFile)
	cut += eachEntry(b, s.cfg.MaxUsers, func(f []string) bool { // name:password:gid:members
		if len(f) < 3 {
			return false
		}
		gid, err := strconv.ParseUint(f[2], 10, 32)
		if err != nil {
			return false
		}
		s.rep.Groups++
		s.sink.AddGroup(&snapshot.Group{GID: uint32(gid), Name: f[0]})
		return true
	})
	s.rep.UsersCut = cut
}

// eachEntry calls fn with the fields of each line and returns how many it refused or were over limit. Comments, empty
// lines and the +/- entries of NIS are no entries.
func eachEntry(b []byte, limit int, fn func([]string) bool) (cut int) {
	n := 0
	for line := range strings.Lines(string(b)) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" || strings.IndexByte("#+-", line[0]) >= 0 {
			continue
		}
		if n >= limit || len(line) > 64<<10 || !printable(line) {
			cut++
			continue
		}
		f := strings.SplitN(line, ":", 8)
		if f[0] == "" || len(f[0]) > 256 || !fn(f) {
			cut++
			continue
		}
		n++
	}
	return cut
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] == 0x7f {
			return false
		}
	}
	return utf8.ValidString(s)
}
