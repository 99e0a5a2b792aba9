package cli

import (
	"runtime"
	"strconv"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/metrics"
	"github.com/shikra-sensor/shikra/sensor/internal/probe"
	"github.com/shikra-sensor/shikra/sensor/internal/source/live"
	"github.com/shikra-sensor/shikra/sensor/internal/state"
)

// gather gives the metrics of a running sensor.
func gather(s *sensor, p *probe.Probe, ring *live.Ring, sel *selection, losses *lossWatch, repairer *live.Repairer, finder *live.Finder, runs bool) metrics.Gather {
	return func(emit func(metrics.ID, float64, ...string)) {
		st := s.Stats()
		emit(metrics.BuildInfo, 1, Version(), runtime.Version())
		emit(metrics.EngineMode, 1, st.Engine)
		for t, n := range st.Events {
			if n > 0 {
				emit(metrics.Events, float64(n), event.Type(t).Info().Name+dirSuffix(event.Type(t)))
			}
		}
		if c, err := p.Counters(); err == nil {
			emit(metrics.ProbeSent, float64(c.Sent))
			for t, by := range c.LostByType {
				for cause, n := range by {
					if n > 0 {
						emit(metrics.Lost, float64(n), t.Info().Name+dirSuffix(t), probe.Cause(cause).String())
					}
				}
			}
			for name, n := range c.Filtered {
				emit(metrics.Filtered, float64(n), name)
			}
			for name, m := range c.BySyscall {
				emit(metrics.SyscallEvents, float64(m.Total()), name)
				for _, of := range []struct {
					id metrics.ID
					n  uint64
				}{{metrics.SyscallLost, m.Lost}, {metrics.MissingParams, m.Missing}, {metrics.CutParams, m.Cut}} {
					if of.n > 0 {
						emit(of.id, float64(of.n), name)
					}
				}
			}
			for cpu, u := range c.ByCPU {
				for cause, n := range u.LostByCause {
					if n > 0 {
						emit(metrics.CPULost, float64(n), strconv.Itoa(cpu), probe.Cause(cause).String())
					}
				}
			}
			for hook, n := range c.SkippedByHook {
				emit(metrics.HookSkipped, float64(n), hook)
			}
		}
		emit(metrics.LossReactions, float64(losses.reactions.Load()))
		if runs {
			if rs, err := p.Runs(); err == nil {
				for _, r := range rs {
					emit(metrics.BPFRuns, float64(r.Runs), r.Program)
					emit(metrics.BPFSeconds, r.Time.Seconds(), r.Program)
				}
			}
		}
		rs := ring.Stats()
		emit(metrics.RingBad, float64(rs.Bad))
		emit(metrics.RingSkipped, float64(rs.Skipped))
		emit(metrics.BadRecords, float64(st.BadRecords))
		emit(metrics.DroppedEvents, float64(st.Dropped))
		emit(metrics.Batches, float64(st.Batches))
		emit(metrics.Judged, float64(st.Judged))
		emit(metrics.StateFlushes, float64(st.StateFlushes))
		if st.Batches > 0 {
			emit(metrics.BatchMean, float64(st.Judged)/float64(st.Batches))
		}
		emit(metrics.FirstJudged, st.FirstJudged.Seconds())
		emit(metrics.ActsAgain, float64(st.Again))
		emit(metrics.DroppedAlerts, float64(s.queue.Dropped()))
		for _, o := range s.queue.Stats() {
			emit(metrics.OutputSent, float64(o.Sent), o.Name)
			emit(metrics.OutputFailed, float64(o.Failed), o.Name)
		}
		fixed, rep := st.State.Repaired, repairer.Stats()
		emit(metrics.Repairs, float64(rep.Begun), "begun")
		emit(metrics.Repairs, float64(fixed.Repairs), "done")
		emit(metrics.Repairs, float64(rep.Failed), "failed")
		for _, f := range []struct {
			what, change string
			n            uint64
		}{
			{"threads", "added", fixed.ThreadsAdded}, {"threads", "removed", fixed.ThreadsRemoved}, {"threads", "mended", fixed.ThreadsMended},
			{"files", "added", fixed.FDsAdded}, {"files", "removed", fixed.FDsRemoved}, {"files", "mended", fixed.FDsMended},
		} {
			emit(metrics.Repaired, float64(f.n), f.what, f.change)
		}
		emit(metrics.RepairSeconds, rep.Took.Seconds())
		emit(metrics.FilesAsked, float64(st.State.FDsAsked), "asked")
		emit(metrics.FilesAsked, float64(st.State.FDsFound), "found")
		emit(metrics.FilesAsked, float64(st.State.FDsUnasked), "unasked")
		emit(metrics.FilesAsked, float64(st.State.FDsTold), "told")
		emit(metrics.FilesAsked, float64(finder.Dropped()), "dropped")
		emit(metrics.FilesAsked, float64(finder.Forgotten()), "forgotten")
		emit(metrics.ClosesOvertaken, float64(st.State.ClosesOvertaken))
		for _, t := range stateTables(&st.State) {
			emit(metrics.StateUsed, float64(t.used), t.name)
			emit(metrics.StateLimit, float64(t.limit), t.name)
			emit(metrics.StateFull, float64(t.full), t.name)
		}
		gatherContainers(s, emit)
		emit(metrics.ContainerEventsBad, float64(st.State.ContainersUnread))
		emit(metrics.ContainersOverShare, float64(st.State.ContainersOver))
		emit(metrics.StringBytes, float64(st.Strings.Used), "public")
		emit(metrics.StringLimit, float64(st.Strings.Limit), "public")
		emit(metrics.StringsFull, float64(st.Strings.Full), "public")
		emit(metrics.StringBytes, float64(st.Private.Used), "private")
		emit(metrics.StringLimit, float64(st.Private.Limit), "private")
		emit(metrics.StringsFull, float64(st.Private.Full), "private")
		for _, m := range st.Modules {
			emit(metrics.ModuleCalls, float64(m.Host.Calls), m.Name)
			emit(metrics.ModuleTraps, float64(m.Host.Traps), m.Name)
			emit(metrics.ModuleRefills, float64(m.Host.Refills), m.Name)
			emit(metrics.ModuleHostAlerts, float64(m.Host.Alerts), m.Name)
			emit(metrics.ModuleSeconds, m.Host.Time.Seconds(), m.Name)
			emit(metrics.ModuleSkipped, float64(m.Skipped), m.Name)
			emit(metrics.ModuleFailures, float64(m.Host.Failures), m.Name)
			emit(metrics.ModuleFalseAlerts, float64(m.Host.FalseAlerts), m.Name)
			for _, r := range m.Rules {
				emit(metrics.Alerts, float64(r.Alerts), m.Name, r.Name, r.Priority)
			}
		}
		for _, c := range sel.Syscalls {
			for _, why := range c.For {
				emit(metrics.Captured, 1, c.Name, why)
			}
		}
		for _, g := range sel.Ignored {
			emit(metrics.NotCaptured, float64(len(g.Rules)), g.Name, g.Why)
		}
		if n, err := p.PathsNotKept(); err == nil {
			emit(metrics.PathsNotKept, float64(n))
		}
		if n, err := p.OpensNotKept(); err == nil {
			emit(metrics.OpensNotKept, float64(n))
		}
		for _, h := range p.Hooks() {
			on := 0.0
			if h.State == probe.StateAttached || h.State == probe.StateLoaded {
				on = 1
			}
			emit(metrics.HookActive, on, h.Name, h.Tier)
		}
	}
}

// stateTable is the use of one table of the state.
type stateTable struct {
	name        string
	used, limit int
	full        uint64 // entries evicted or left out for want of room
}

func stateTables(s *state.Stats) []stateTable {
	return []stateTable{
		{"threads", s.Threads, s.ThreadLimit, s.ThreadsEvicted + s.ThreadsDropped},
		{"files", s.Files, s.FileLimit, s.FDsEvicted + s.FDsDropped},
		{"fd_tables", s.Tables, s.TableLimit, s.TablesDropped},
		{"containers", s.Containers, s.ContainerLimit, s.ContainersDropped},
		{"users", s.Users, s.UserLimit, s.UsersDropped},
		{"groups", s.Groups, s.GroupLimit, 0},
	}
}

// dirSuffix tells apart the versions of an event type that share a name.
func dirSuffix(t event.Type) string {
	if t.Current() {
		return ""
	}
	return " (" + t.String() + ")"
}
