package cli

import (
	"log/slog"
	"time"

	"github.com/shikra-sensor/shikra/sensor/internal/config"
	"github.com/shikra-sensor/shikra/sensor/internal/container/lookup"
	"github.com/shikra-sensor/shikra/sensor/internal/metrics"
)

// newLookup starts asking container runtimes; nil when the configuration says not to.
func newLookup(c *config.Config, log *slog.Logger) *lookup.Lookup {
	if !c.Containers.Enabled {
		return nil
	}
	var sockets []lookup.Socket
	for _, e := range [...]struct {
		name  string
		paths []string
	}{
		{"docker", c.Containers.Docker}, {"podman", c.Containers.Podman}, {"cri", c.Containers.CRI}, {"containerd", c.Containers.Containerd},
	} {
		for _, p := range e.paths {
			sockets = append(sockets, lookup.Socket{Engine: e.name, Path: p})
		}
	}
	return lookup.New(lookup.Config{
		Sockets: sockets, Root: c.Host.Root, Queue: c.Containers.Queue, Timeout: time.Duration(c.Containers.TimeoutMS) * time.Millisecond,
		LabelMax: c.Containers.LabelMax, Users: c.Containers.Users, Log: log,
	})
}

// gatherContainers gives the metrics of the questions to container runtimes.
func gatherContainers(s *sensor, emit func(metrics.ID, float64, ...string)) {
	if s.lookup == nil {
		return
	}
	st := s.lookup.Stats()
	emit(metrics.ContainersAnswered, float64(st.Answers))
	emit(metrics.ContainersWaiting, float64(st.Waiting))
	emit(metrics.ContainerRequestsDropped, float64(st.Dropped))
	for _, e := range st.Engines {
		emit(metrics.ContainerLookups, float64(e.Asked), e.Name)
		emit(metrics.ContainerLookupsFailed, float64(e.NotFound), e.Name, "not_found")
		emit(metrics.ContainerLookupsFailed, float64(e.Failed), e.Name, "error")
		emit(metrics.ContainerLookupSeconds, e.Time.Seconds(), e.Name)
	}
}
