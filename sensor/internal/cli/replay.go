package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/shikra-sensor/shikra/sensor/internal/capture"
	"github.com/shikra-sensor/shikra/sensor/internal/config"
	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/source/replay"
)

// closeTimeout bounds how long outputs may take to write what waits at the end.
const closeTimeout = 5 * time.Second

func (a *app) replayCmd() *cobra.Command {
	var rules []string
	var allowUnsigned bool
	c := &cobra.Command{
		Use:   "replay CAPTURE",
		Short: "Judge the events of a .scap capture (plain or gzip) as if they happened now",
		Args:  exactArgs(1, "one capture"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			cfg, err := a.config()
			if err != nil {
				return err
			}
			src, err := ruleSources(cfg, rules)
			if err != nil {
				return err
			}
			mods, err := a.modules(cfg, src, checkOptions(cfg), allowUnsigned, len(rules) > 0)
			if err != nil {
				return err
			}
			return a.replay(ctx, cfg, args[0], sensorConfig{modules: mods, block: true, json: a.json})
		},
	}
	c.Flags().StringArrayVarP(&rules, "rules", "r", nil, "rules `FILE`, module or folder; may be given again")
	c.Flags().BoolVar(&allowUnsigned, "allow-unsigned", false, "run modules without a signature")
	return c
}

// replay runs a sensor on a capture.
func (a *app) replay(ctx context.Context, cfg *config.Config, path string, sc sensorConfig) error {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("open capture: %w", err)
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return fmt.Errorf("open capture: %s: isn't a regular file", path)
	}
	r, err := capture.NewReader(f)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if sc.closed == nil {
		sc.closed = cancel
	}
	s, err := a.newSensor(ctx, cfg, a.logger(cfg), sc)
	if err != nil {
		return err
	}
	rep, err := replay.Run(ctx, replay.Config{
		Reader:   r,
		Sink:     s.Sink(),
		Snapshot: func() error { s.Settled(); return nil },
		Flush:    func() error { s.Flush(); return nil },
		Record:   func(rec event.Record) error { s.Record(rec); return nil },
	})
	if err != nil {
		err = fmt.Errorf("%s: %w", path, err)
	}
	s.Flush()
	stopCtx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if e := s.stop(stopCtx); err == nil {
		err = e
	}
	skipped := rep.Unknown
	for _, n := range rep.Skipped {
		skipped += n
	}
	s.summary(s.Stats(), "enters", rep.Enters, "skipped", skipped)
	if errors.Is(err, context.Canceled) { // told to stop, at the limit, or nobody reads any more
		return nil
	}
	return err
}
