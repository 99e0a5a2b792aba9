// Package engine asks container runtimes over their own sockets what a container is: the APIs of Docker and Podman, of
// containerd, and Kubernetes' CRI.
//
// Answers are not trusted: each is bounded in size and time, and what it says is bounded as container.Info.Bound has it.
package engine

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/shikra-sensor/shikra/sensor/internal/container"
	"github.com/shikra-sensor/shikra/sensor/internal/hostroot"
)

// ErrNotFound says that a runtime answered and doesn't know the container.
var ErrNotFound = errors.New("no such container")

// Engine asks one runtime at one socket. Get may be called from several goroutines at once.
type Engine interface {
	// Name is "docker", "podman", "cri" or "containerd".
	Name() string
	// Socket is the socket's path, below the host's root.
	Socket() string
	// Get returns what the runtime says of the container with that full id, which is the caller's. The runtimes that have
	// namespaces look in that one alone, in all for "". The error wraps ErrNotFound when it says that there is none; any
	// other says that it couldn't be asked.
	Get(ctx context.Context, id, namespace string) (*container.Info, error)
	// Close drops the connections; the next Get makes them anew.
	Close()
}

// Config says how an Engine reaches its runtime.
type Config struct {
	Root     string // the host's root
	Socket   string // path below it
	LabelMax int    // bytes; labels with longer values are left out
}

// maxAnswer is how long one answer of a runtime may be, in bytes: a CRI answer with its runtime's own JSON has some 50 KiB.
const maxAnswer = 1 << 20

// idleTime is how long a connection that nobody uses is kept.
const idleTime = 30 * time.Second

func (c Config) dial(ctx context.Context) (net.Conn, error) {
	return hostroot.DialUnix(ctx, c.Root, c.Socket)
}

// cpus returns how many CPUs a list like 0-3,7 names; 0 for one that can't be read.
func cpus(list string) (n int64) {
	if list == "" || len(list) > 4096 {
		return 0
	}
	for _, part := range strings.Split(list, ",") {
		lo, hi, span := strings.Cut(strings.TrimSpace(part), "-")
		a, err := strconv.ParseUint(lo, 10, 16)
		if err != nil {
			return 0
		}
		b := a
		if span {
			if b, err = strconv.ParseUint(hi, 10, 16); err != nil || b < a {
				return 0
			}
		}
		n += int64(b-a) + 1
	}
	return n
}
