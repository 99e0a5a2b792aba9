package lookup

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/container"
	"github.com/shikra-sensor/shikra/sensor/internal/hostroot"
	"github.com/shikra-sensor/shikra/sensor/internal/snapshot"
	"github.com/shikra-sensor/shikra/sensor/internal/userdb"
)

// Bounds of what a container may say of its users.
const (
	maxUsers     = 64
	maxUsersFile = 256 << 10 // bytes
	userTries    = 8         // how often a container whose root isn't its own yet is looked at again
)

var (
	errNotYet = errors.New("the process doesn't have the container's root yet")
	errGone   = errors.New("the process is gone, or left the container")
)

// readUsers reads the users and groups of container w from the root of process tid, which is in it. A container may have
// neither file.
func readUsers(root string, tid int64, w who) (users []snapshot.User, groups []snapshot.Group, err error) {
	proc := filepath.Join(root, "proc", fmt.Sprint(tid))
	if !inContainer(proc, w) {
		return nil, nil, errGone
	}
	// A runtime puts its process into the cgroup first and into the container's root afterwards.
	var own, host unix.Stat_t
	if err := unix.Stat(filepath.Join(proc, "root"), &own); err != nil {
		return nil, nil, err
	}
	if err := unix.Stat(root, &host); err == nil && host.Dev == own.Dev && host.Ino == own.Ino {
		return nil, nil, errNotYet
	}
	// Neither file is there in many containers.
	b, _ := hostroot.ReadFile(filepath.Join(proc, "root"), "etc/passwd", maxUsersFile)
	userdb.Users(b, maxUsers, func(u *snapshot.User) { users = append(users, *u) })
	b, _ = hostroot.ReadFile(filepath.Join(proc, "root"), "etc/group", maxUsersFile)
	userdb.Groups(b, maxUsers, func(g *snapshot.Group) { groups = append(groups, *g) })
	if !inContainer(proc, w) { // another process may have had the number meanwhile
		return nil, nil, errGone
	}
	return users, groups, nil
}

// inContainer reports whether the cgroups of a process are those of the container.
func inContainer(proc string, w who) bool {
	var pairs []byte
	for _, c := range cgroupsOf(proc) {
		pairs = append(append(append(pairs, "x="...), c.path...), 0)
	}
	return w.isPlace(pairs)
}

// isPlace reports whether cgroups, as in container.FromCgroups, are the container's.
func (w who) isPlace(cgroups []byte) bool {
	p, ok := container.FromCgroups(cgroups, nil)
	return ok && w == who{string(p.ID), string(p.Owner)}
}

// cgroupIn is a line of a process's cgroups.
type cgroupIn struct{ subsystems, path string }

// cgroupsOf reads the cgroups of a process; nil when it is gone.
func cgroupsOf(proc string) (in []cgroupIn) {
	b, err := hostroot.ReadFile(proc, "cgroup", 64<<10)
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(b)) { // number:subsystems:path
		if f := strings.SplitN(strings.TrimRight(line, "\n"), ":", 3); len(f) == 3 {
			in = append(in, cgroupIn{f[1], f[2]})
		}
	}
	return in
}

// madeByRoot reports whether nobody but root can have made the cgroup of container w, in which process tid is: a service may run
// as a user that has its cgroup (Delegate= with User=). True where cgroups aren't to be seen below root; errGone when the
// process isn't in the container.
func madeByRoot(root string, tid int64, w who) (bool, error) {
	for _, c := range cgroupsOf(filepath.Join(root, "proc", fmt.Sprint(tid))) {
		if !w.isPlace([]byte("x=" + c.path)) {
			continue
		}
		above := c.path[:max(strings.LastIndexByte(c.path[:max(strings.LastIndex(c.path, w.id), 0)], '/'), 0)]
		mounts := []string{strings.TrimPrefix(c.subsystems, "name=")}
		if c.subsystems == "" {
			mounts = append(mounts, "unified")
		}
		for _, m := range mounts {
			var st unix.Stat_t
			if err := unix.Stat(filepath.Join(root, "sys/fs/cgroup", m, above), &st); err == nil {
				return st.Uid == 0, nil
			}
		}
		return true, nil
	}
	return false, errGone
}
