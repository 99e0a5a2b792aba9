package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"syscall"

	"github.com/shikra-sensor/shikra/sensor/internal/arena"
	"github.com/shikra-sensor/shikra/sensor/internal/config"
	"github.com/shikra-sensor/shikra/sensor/internal/container/lookup"
	"github.com/shikra-sensor/shikra/sensor/internal/output"
	"github.com/shikra-sensor/shikra/sensor/internal/pipeline"
	"github.com/shikra-sensor/shikra/sensor/internal/snapshot"
	"github.com/shikra-sensor/shikra/sensor/internal/source/live"
)

// sensor is a pipeline with its outputs, as run and replay use it.
type sensor struct {
	*pipeline.Pipeline
	queue *output.Queue
	close []io.Closer
	log   *slog.Logger

	lookup *lookup.Lookup // of what runtimes say of containers; nil for none
}

type sensorConfig struct {
	containers *lookup.Lookup // passes to the sensor; nil for none
	modules    [][]byte
	files      []string // what the user named to be read; nobody else should change it
	wall       func() int64
	lookup     func(tid int64, t *snapshot.Thread) bool // reads a thread no event told of; nil for none
	askFile    func(snapshot.FileAsk) bool              // finds out what an fd is; nil for nobody
	block      bool                                     // wait for the outputs instead of dropping: a replay has time
	json       bool
	format     output.Format // on stdout, unless the configuration or json say otherwise
	started    func()        // called when the sensor watches; nil for nobody
	closed     func()        // called when nobody reads stdout any more; nil: go on, for the sake of the other outputs
	limit      uint64        // stop after so many alerts; 0 for never
	reached    func()        // called at the limit
}

func (a *app) newSensor(ctx context.Context, c *config.Config, log *slog.Logger, sc sensorConfig) (*sensor, error) {
	s := &sensor{log: log, lookup: sc.containers}
	var outs []*output.Output
	if c.Outputs.Stdout.Enabled {
		f := output.ParseFormat(c.Outputs.Stdout.Format)
		if sc.format != output.Text {
			f = sc.format
		}
		if sc.json {
			f = output.JSON
		}
		outs = append(outs, &output.Output{Name: "stdout", Format: f, W: a.out})
	}
	if p := c.Outputs.File.Path; p != "" {
		f, err := output.OpenFile(p)
		if err != nil {
			return nil, err
		}
		s.close = append(s.close, f)
		outs = append(outs, &output.Output{Name: "file", Format: output.ParseFormat(c.Outputs.File.Format), W: f})
	}
	s.queue = output.NewQueue(c.Outputs.Queue, func(name string, err error) {
		if sc.closed != nil && errors.Is(err, syscall.EPIPE) {
			sc.closed()
			return
		}
		log.Error("an output fails; its alerts are counted until it works again", "output", name, "err", err)
	}, outs...)
	hostname, err := os.Hostname()
	if err != nil {
		hostname = "unknown"
	}
	put := func(al *output.Alert) { s.queue.Put(al) }
	if sc.block {
		put = func(al *output.Alert) { s.queue.PutWait(ctx, al) }
	}
	if sc.limit > 0 {
		left, next := sc.limit, put
		put = func(al *output.Alert) {
			if left == 0 {
				return
			}
			next(al)
			if left--; left == 0 {
				sc.reached()
			}
		}
	}
	pc := pipeline.Config{
		Arena:  arenaConfig(c),
		Engine: c.Engine.Mode, Batch: c.Engine.Batch, WallOffset: sc.wall,
		Alert: put, Hostname: hostname, Node: readNode(c), Log: log, LookupThread: sc.lookup, AskFile: sc.askFile,
		BootTime: live.BootTime,
	}
	if s.lookup != nil {
		pc.Containers = s.lookup
	}
	s.Pipeline, err = pipeline.New(ctx, pc)
	if err != nil {
		s.stop(ctx)
		return nil, err
	}
	for _, m := range sc.modules {
		if err := s.Load(m); err != nil {
			s.stop(ctx)
			return nil, err
		}
	}
	return s, nil
}

func arenaConfig(c *config.Config) arena.Config {
	return arena.Config{
		Threads: c.State.Threads, Files: c.State.Files, Containers: c.State.Containers,
		Strings: c.State.StringBytes, Private: c.State.PrivateBytes,
	}
}

// stop writes what waits and frees everything.
func (s *sensor) stop(ctx context.Context) error {
	if s.lookup != nil {
		s.lookup.Close()
	}
	err := s.queue.Close(ctx)
	if s.Pipeline != nil {
		if e := s.Pipeline.Close(); err == nil {
			err = e
		}
	}
	for _, c := range s.close {
		if e := c.Close(); err == nil {
			err = e
		}
	}
	return err
}

// summary says in one line what was seen, lost and dropped.
func (s *sensor) summary(st *pipeline.Stats, more ...any) {
	mean := 0.0
	if st.Batches > 0 {
		mean = float64(st.Judged) / float64(st.Batches)
	}
	s.log.Info("done", append([]any{
		"events", st.Total(), "judged", st.Judged, "alerts", st.Alerts, "bad_records", st.BadRecords,
		"dropped_events", st.Dropped, "dropped_alerts", s.queue.Dropped(), "mean_batch", fmt.Sprintf("%.1f", mean), "engine", st.Engine,
	}, more...)...)
}
