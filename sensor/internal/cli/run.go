package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/adapt"
	"github.com/shikra-sensor/shikra/sensor/internal/config"
	"github.com/shikra-sensor/shikra/sensor/internal/filter"
	"github.com/shikra-sensor/shikra/sensor/internal/loss"
	"github.com/shikra-sensor/shikra/sensor/internal/metrics"
	"github.com/shikra-sensor/shikra/sensor/internal/probe"
	"github.com/shikra-sensor/shikra/sensor/internal/source/live"
)

func (a *app) runCmd() *cobra.Command {
	var rules []string
	var allowUnsigned, heavy bool
	c := &cobra.Command{
		Use:   "run",
		Short: "Watch this machine and print alerts (as root)",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			started := frugal()
			cfg, err := a.config()
			if err != nil {
				return err
			}
			cfg.Base.All = cfg.Base.All || heavy
			src, err := ruleSources(cfg, rules)
			if err != nil {
				return err
			}
			mods, err := a.modules(cfg, src, checkOptions(cfg), allowUnsigned, true)
			if err != nil {
				return err
			}
			log := a.logger(cfg)
			if allowUnsigned {
				log.Warn("modules run without a signature (--allow-unsigned)")
			}
			return a.watch(cmd.Context(), cfg, log, sensorConfig{modules: mods, files: namedFiles(cfg, rules), wall: wallOffset, json: a.json, started: started}, false)
		},
	}
	c.Flags().StringArrayVarP(&rules, "rules", "r", nil, "rules `FILE`, module or folder; may be given again (default: the configuration's, else the built-in rules)")
	c.Flags().BoolVar(&allowUnsigned, "allow-unsigned", false, "run modules without a signature")
	heavyFlag(c, &heavy)
	return c
}

// namedFiles returns the rules files and modules that the user named.
func namedFiles(c *config.Config, rules []string) []string {
	if len(rules) > 0 {
		return rules
	}
	return c.Rules.Files
}

// watch runs a sensor on this kernel until ctx ends.
func (a *app) watch(ctx context.Context, cfg *config.Config, log *slog.Logger, sc sensorConfig, all bool) (err error) {
	start := time.Now()
	lookup, err := live.NewLookup(cfg.Host.Root)
	if err != nil {
		return err
	}
	defer lookup.Close()
	sc.lookup = lookup.Thread
	finder, err := live.NewFinder(cfg.Host.Root)
	if err != nil {
		return err
	}
	defer finder.Close()
	sc.askFile = finder.Ask
	sel, err := selectSyscalls(cfg, sc.modules, all)
	if err != nil {
		return err
	}
	sel.report(log)
	sc.containers = newLookup(cfg, log)
	s, err := a.newSensor(ctx, cfg, log, sc)
	if err != nil {
		if sc.containers != nil {
			sc.containers.Close()
		}
		return err
	}
	defer func() {
		stopCtx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		if e := s.stop(stopCtx); err == nil {
			err = e
		}
	}()
	ports, err := config.PortRange(cfg.Probe.FullCapturePorts)
	if err != nil {
		return err
	}
	// Not while the modules are compiled: the memory that both take for a while would add up.
	p, err := probe.Load(probe.Config{RingBytes: cfg.Probe.RingBytes, SnapLen: cfg.Probe.SnapLen, DynamicSnapLen: cfg.Probe.DynamicSnapLen, FullCapture: ports, Syscalls: sel.Names(), Part: sel.Parts(), Tier: cfg.Probe.Tier, ExactPaths: cfg.Probe.ExactPaths})
	if err != nil {
		if errors.Is(err, unix.EPERM) && os.Geteuid() != 0 {
			return fmt.Errorf("watching the kernel needs root, or CAP_BPF and CAP_PERFMON; `shikra probe check` says what is missing: %w", err)
		}
		return err
	}
	defer p.Close()
	ring, err := live.NewRing(p.Ring())
	if err != nil {
		return err
	}
	defer ring.Close()
	if cfg.Metrics.BPFStats {
		stats, err := probe.EnableStats()
		if err != nil {
			log.Warn("BPF programs aren't timed", "err", err)
		} else {
			defer stats.Close()
		}
	}
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	losses := watchLosses(cfg.Loss, s, func() (loss.Counts, error) { return lossCounts(p, ring, s.Stats()) }, fail)
	defer losses.stop()
	shots := live.SnapshotConfig{HostRoot: cfg.Host.Root, MaxThreads: cfg.State.Threads, MaxFiles: cfg.State.Files}
	var filters *filter.Set
	known := true // every open file, by state
	if cfg.Probe.Filter {
		filters, known = adapt.FilterOf(sel.modules, sel.Selection)
	}
	repair := live.RepairConfig{Snapshot: shots, State: s, Lost: losses.lost.Load}
	if !known {
		repair.Whole = func(on bool) {
			set := filters
			if on {
				set = nil
			}
			if err := p.SetFilter(set); err != nil { // nothing is filtered then, which costs no alert
				log.Error("the kernel's filter can't be changed", "err", err)
			}
		}
	}
	repairer := live.NewRepairer(repair)
	defer repairer.Close()
	var watching atomic.Pointer[vigil] // set once the sensor watches
	if cfg.HTTP.Listen != "" {
		h, err := metrics.Handler(gather(s, p, ring, sel, losses, repairer, finder, cfg.Metrics.BPFStats), health(s, &watching))
		if err != nil {
			return err
		}
		srv, err := metrics.Listen(cfg.HTTP.Listen, h)
		if err != nil {
			return err
		}
		log.Info("serving metrics", "url", "http://"+srv.Addr()+"/metrics")
		defer func() {
			stopCtx, cancel := context.WithTimeout(context.Background(), closeTimeout)
			defer cancel()
			if e := srv.Close(stopCtx); err == nil && e != nil {
				err = fmt.Errorf("stop metrics: %w", e)
			}
		}()
	}
	// Attached before the snapshot, so that nothing falls between the two; what happens meanwhile waits in the ring.
	if err := p.SetSyscalls(nil); err != nil {
		return err
	}
	data := adapt.PayloadOf(sel.modules, sel.Selection, all)
	if err := p.SetPayload(data.Syscalls, data.Ports); err != nil {
		return err
	}
	if err := p.SetEvents(sel.Wants); err != nil {
		return err
	}
	if err := p.Attach(); err != nil {
		return err
	}
	own, err := whatSensorIs(cfg, p, sc.files)
	if err != nil {
		log.Warn("not all of the sensor's eBPF objects are known: what is done to the others isn't noticed", "err", err)
	}
	s.Protect(own)
	if left, err := p.Guard(guardedFiles(own.Paths), sel.OnSensorOnly); err != nil || left > 0 {
		log.Warn("not all of the sensor's files are known by what they are: some are known by their paths only", "left", left, "err", err)
	}
	snap, err := live.Snapshot(ctx, shots, s.Sink())
	if err != nil {
		if ctx.Err() != nil {
			return nil // told to stop
		}
		return fmt.Errorf("read what is running: %w", err)
	}
	s.Settled()
	repairer.Begin()
	if err := p.SetFilter(filters); err != nil {
		return err
	}
	log.Info("filtering", "syscalls", filters.Len(), "all_files_known", known)
	if tier, reason := p.Tier(); cfg.Probe.Tier != tier {
		log.Info("tier chosen", "tier", tier, "reason", reason)
	}
	if err := p.SelfCheck(); err != nil {
		log.Warn("whether the hooks run wasn't checked", "err", err)
	}
	off := map[string][]string{} // hooks by what is wrong with them: a kernel that refuses one of a kind refuses them all
	for _, h := range p.Hooks() {
		if h.State != probe.StateAttached && h.State != probe.StateLoaded {
			why := h.State + ": " + h.Reason
			off[why] = append(off[why], h.Name)
		}
	}
	for _, why := range slices.Sorted(maps.Keys(off)) {
		log.Warn("hooks are off", "hooks", off[why], "reason", why)
	}
	if snap.TaskIter != nil || snap.FileIter != nil {
		log.Warn("what was running was read from /proc, not by BPF iterators", "threads", snap.TaskIter, "files", snap.FileIter)
	}
	if n := snap.ThreadsCut + snap.FilesCut + snap.UsersCut; n > 0 {
		log.Warn("more was running than the tables hold", "threads_cut", snap.ThreadsCut, "files_cut", snap.FilesCut, "users_cut", snap.UsersCut)
	}
	st := s.Stats()
	self := watchSelf(s, p.Verify)
	defer self.stop()
	watching.Store(self)
	losses.begin()
	if sc.started != nil {
		sc.started()
	}
	log.Info("watching", "version", Version(), "rules", countRules(s), "engine", st.Engine, "threads", snap.Threads, "files", snap.Files,
		"snapshot", snap.Took.Round(time.Millisecond), "start", time.Since(start).Round(time.Millisecond))
	if st.Engine == "interpreter" && cfg.Engine.Mode != "interpreter" {
		log.Warn("modules are interpreted, about 20 times slower: the compiler needs amd64 with SSE4.1 or arm64, and memory that may be made executable")
	}
	err = live.Run(ctx, live.RunConfig{Ring: ring, Record: s.Record, Idle: func() {
		s.Idle()
		finder.Step(s.FoundFile)
		repairer.Step()
	}})
	self.stop()
	s.Flush()
	losses.stop()
	lost, cerr := lossCounts(p, ring, s.Stats())
	if cerr != nil {
		log.Warn("the losses can't be counted", "err", cerr)
	}
	more := []any{"lost", lost.Total(), "ring_skipped_bytes", ring.Stats().Skipped, "uptime", time.Since(start).Round(time.Millisecond)}
	for _, c := range loss.Top(lost.Syscalls, loss.TopSyscalls) {
		more = append(more, "lost_"+c.Name, c.N)
	}
	s.summary(s.Stats(), more...)
	if ctx.Err() != nil {
		if cause := context.Cause(ctx); errors.Is(cause, errLost) {
			return cause
		}
		return nil // told to stop: that is success
	}
	return err
}

// stuckAfter is how old the counts may be before /healthz says that the sensor is stuck: they are renewed five times a second, once where nothing comes.
const stuckAfter = 30 * time.Second

// health says whether the sensor watches, its loop goes round and its probe sees.
func health(s *sensor, watching *atomic.Pointer[vigil]) func() error {
	return func() error {
		self := watching.Load()
		if self == nil {
			return errors.New("starting")
		}
		if age := time.Since(s.Stats().At); age > stuckAfter {
			return fmt.Errorf("no event was judged and no idle moment seen for %s", age.Round(time.Second))
		}
		return self.health()
	}
}

func countRules(s *sensor) (n int) {
	for _, m := range s.Stats().Modules {
		n += len(m.Rules)
	}
	return n
}
