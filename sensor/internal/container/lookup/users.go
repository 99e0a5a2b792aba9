package lookup

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"

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
	b, err := hostroot.ReadFile(proc, "cgroup", 64<<10)
	if err != nil {
		return false
	}
	// number:subsystems:path
	var pairs []byte
	for line := range bytes.Lines(b) {
		f := bytes.SplitN(bytes.TrimRight(line, "\n"), []byte(":"), 3)
		if len(f) == 3 {
			pairs = append(append(append(pairs, "x="...), f[2]...), 0)
		}
	}
	p, ok := container.FromCgroups(pairs, nil)
	return ok && w == who{string(p.ID), string(p.Owner)}
}
