// Package userdb reads the users and groups of a system from its /etc/passwd and /etc/group.
package userdb

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/shikra-sensor/shikra/sensor/internal/snapshot"
)

// Users calls fn with each user of a passwd file, at most limit, and returns how many lines it couldn't read or were over.
func Users(b []byte, limit int, fn func(*snapshot.User)) (cut int) {
	return eachEntry(b, limit, func(f []string) bool { // name:password:uid:gid:gecos:home:shell
		if len(f) < 7 {
			return false
		}
		uid, err := strconv.ParseUint(f[2], 10, 32)
		gid, err2 := strconv.ParseUint(f[3], 10, 32)
		if err != nil || err2 != nil {
			return false
		}
		fn(&snapshot.User{UID: uint32(uid), GID: uint32(gid), Name: f[0], Home: f[5], Shell: f[6]})
		return true
	})
}

// Groups does the same for a group file.
func Groups(b []byte, limit int, fn func(*snapshot.Group)) (cut int) {
	return eachEntry(b, limit, func(f []string) bool { // name:password:gid:members
		if len(f) < 3 {
			return false
		}
		gid, err := strconv.ParseUint(f[2], 10, 32)
		if err != nil {
			return false
		}
		fn(&snapshot.Group{GID: uint32(gid), Name: f[0]})
		return true
	})
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
