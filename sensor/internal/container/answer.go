package container

import "github.com/shikra-sensor/shikra/sensor/internal/snapshot"

// Answer is what was found out about one container.
type Answer struct {
	ID     string // full
	Owner  string
	Kind   uint32 // by its cgroup
	Info   *Info  // nil: no runtime says anything
	Users  []snapshot.User
	Groups []snapshot.Group
	Thread bool // the thread by which its users were to be read is gone: another is wanted
}
