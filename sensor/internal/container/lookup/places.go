package lookup

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/shikra-sensor/shikra/sensor/internal/container"
	"github.com/shikra-sensor/shikra/sensor/internal/container/engine"
	"github.com/shikra-sensor/shikra/sensor/internal/hostroot"
)

// Socket is where a runtime may listen.
type Socket struct {
	Engine string // "docker", "podman", "cri" or "containerd"
	Path   string // below the host's root; * stands for any name, as in /run/user/*/podman/podman.sock
}

// enginesOf names the runtimes that may know a container of a kind, the likeliest first. None for those that no runtime
// here knows: LXC, libvirt, systemd-nspawn. What stands in a namespace of containerd's is asked for there.
func enginesOf(kind uint32, d container.Domain) []string {
	if d.Namespace != "" {
		return []string{"containerd"}
	}
	switch kind {
	case container.KindDocker:
		return []string{"docker", "cri"}
	case container.KindPodman:
		return []string{"podman"}
	case container.KindCRIO:
		return []string{"cri"}
	case container.KindContainerd, container.KindCRI:
		return []string{"cri", "containerd", "docker"}
	case container.KindOther:
		return []string{"docker", "cri", "containerd", "podman"}
	}
	return nil
}

// place is an engine at a socket that was there, and how it fares.
type place struct {
	engine.Engine
	user int64 // whose socket it is; -1 for the system's

	mu    sync.Mutex
	fails int       // guarded by mu; in a row
	until time.Time // guarded by mu; not asked before
}

// ready reports whether p may be asked: it doesn't rest.
func (p *place) ready(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !now.Before(p.until)
}

// report notes whether p answered, and returns whether it had failed before.
func (p *place) report(ok bool, now time.Time) (failed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	failed = p.fails > 0
	if ok {
		p.fails, p.until = 0, time.Time{}
		return failed
	}
	p.until = now.Add(backoff(p.fails, firstRest, lastRest))
	p.fails++
	return failed
}

// maxPlaces bounds how many sockets the patterns may give.
const maxPlaces = 64

// places are the sockets that are there. Safe for concurrent use.
type places struct {
	cfg *Config

	mu     sync.Mutex
	all    []*place  // guarded by mu
	looked time.Time // guarded by mu; when the sockets were last looked for
}

// of returns the places to ask for a container of a kind. A container in a user's cgroup is looked for at that user's sockets
// only, and one in the system's at the system's: neither can pass its processes off as another's container.
func (ps *places) of(kind uint32, d container.Domain) (out []*place) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if now := time.Now(); now.Sub(ps.looked) >= findSockets {
		ps.looked = now
		ps.find()
	}
	for _, name := range enginesOf(kind, d) {
		for _, p := range ps.all {
			if p.Name() == name && p.user == d.User {
				out = append(out, p)
			}
		}
	}
	return out
}

// find looks which sockets are there. One that is gone is forgotten, with its connections. mu is held.
func (ps *places) find() {
	var found []*place
	for _, s := range ps.cfg.Sockets {
		paths := []string{s.Path}
		if strings.ContainsAny(s.Path, "*?[") {
			paths = nil
			names, err := filepath.Glob(filepath.Join(ps.cfg.Root, s.Path))
			if err != nil {
				continue // the configuration was checked
			}
			for _, n := range names {
				if rel, err := filepath.Rel(ps.cfg.Root, n); err == nil {
					paths = append(paths, "/"+rel)
				}
			}
		}
		for _, path := range paths {
			if len(found) == maxPlaces {
				ps.cfg.Log.Warn("more sockets of container runtimes than are asked", "limit", maxPlaces)
				break
			}
			if !hostroot.IsSocket(ps.cfg.Root, path) {
				continue
			}
			i := slices.IndexFunc(ps.all, func(p *place) bool { return p.Name() == s.Engine && p.Socket() == path })
			if i >= 0 {
				found = append(found, ps.all[i])
				continue
			}
			if e := newEngine(s.Engine, engine.Config{Root: ps.cfg.Root, Socket: path, LabelMax: ps.cfg.LabelMax}); e != nil {
				found = append(found, &place{Engine: e, user: owner(path)})
			}
		}
	}
	for _, p := range ps.all {
		if !slices.Contains(found, p) {
			p.Close()
		}
	}
	ps.all = found
}

func (ps *places) close() {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for _, p := range ps.all {
		p.Close()
	}
}

func newEngine(name string, c engine.Config) engine.Engine {
	switch name {
	case "docker":
		return engine.NewDocker(c)
	case "podman":
		return engine.NewPodman(c)
	case "cri":
		return engine.NewCRI(c)
	case "containerd":
		return engine.NewContainerd(c)
	}
	return nil
}

// isContainer reports whether root is the root of a container: what makes one leaves a mark there, which only its root could.
func isContainer(root string) bool {
	for _, name := range [...]string{".dockerenv", "run/.containerenv", "run/systemd/container", "run/host/container-manager"} {
		if _, err := os.Lstat(filepath.Join(root, name)); err == nil {
			return true
		}
	}
	return false
}

// owner returns whose a socket is by its path, /run/user/UID/…; -1 for the system's.
func owner(path string) int64 {
	parts := strings.Split(path, "/")
	for i := 0; i+2 < len(parts); i++ {
		if parts[i] == "run" && parts[i+1] == "user" {
			if uid, err := strconv.ParseUint(parts[i+2], 10, 32); err == nil {
				return int64(uid)
			}
		}
	}
	return -1
}
