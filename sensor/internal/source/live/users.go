package live

import (
	"errors"
	"io"
	"os"
	"path"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/snapshot"
)

const maxUsersFile = 4 << 20 // bytes read of a users or groups file

// users hands out the users and groups of the host. A missing file is none of either.
func (s *shot) users() {
	b, _ := readUnder(s.cfg.HostRoot, "etc/passwd")
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
	b, _ = readUnder(s.cfg.HostRoot, "etc/group")
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

// readUnder reads the regular file called name under root, whose symbolic links stay within root (openat2, 5.6+).
func readUnder(root, name string) ([]byte, error) {
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: root, Err: err}
	}
	defer unix.Close(dir)
	fd, err := unix.Openat2(dir, name, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK,
		Resolve: unix.RESOLVE_IN_ROOT,
	})
	if err == unix.ENOSYS || err == unix.EPERM { // an old kernel, or a filter of system calls that doesn't know it
		fd, err = openWithin(dir, name)
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, &os.PathError{Op: "read", Path: name, Err: errors.New("not a regular file")}
	}
	return io.ReadAll(io.LimitReader(f, maxUsersFile))
}

// openWithin does for the last part of name, its links' targets taken as names under dir, what openat2 does for all.
func openWithin(dir int, name string) (int, error) {
	buf := make([]byte, 4096)
	for range 8 {
		fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
		if err != unix.ELOOP {
			return fd, err
		}
		n, err := unix.Readlinkat(dir, name, buf)
		if err != nil {
			return -1, err
		}
		target := string(buf[:n])
		if !path.IsAbs(target) {
			target = path.Join("/", path.Dir(name), target)
		}
		name = path.Clean(target)[1:]
	}
	return -1, unix.ELOOP
}
