package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/shikra-sensor/shikra/sensor/internal/loadgen"
)

// bar is one promise about cost, and what was measured. Limits of time are those of the reference machine; what was measured here
// is divided by how much slower than that this machine was at the same work in the same run without a sensor.
type bar struct {
	Name     string  `json:"name"`
	Value    float64 `json:"value"`    // at the reference's pace
	Measured float64 `json:"measured"` // here
	Pace     float64 `json:"pace"`     // times the reference's time that this machine took; 1 for what doesn't depend on it
	Limit    float64 `json:"limit"`
	Unit     string  `json:"unit"`
	Details  string  `json:"details,omitempty"`
}

// paced makes a bar of what was measured on a machine of that pace.
func paced(name string, measured, pace, limit float64, unit, details string) bar {
	return bar{Name: name, Value: measured / pace, Measured: measured, Pace: pace, Limit: limit, Unit: unit, Details: details}
}

// OK reports whether the bar holds.
func (b *bar) OK() bool { return b.Value <= b.Limit }

func (b *bar) print(w io.Writer) {
	verdict := "holds"
	if !b.OK() {
		verdict = "FAILS"
	}
	fmt.Fprintf(w, "%-5s %-47s %7.2f of %g %s", verdict, b.Name, b.Value, b.Limit, b.Unit)
	if b.Pace != 1 {
		fmt.Fprintf(w, " (%.2f here, %.2f times slower)", b.Measured, b.Pace)
	}
	if b.Details != "" {
		fmt.Fprintf(w, "; %s", b.Details)
	}
	fmt.Fprintln(w)
}

// What a unit took on the machine that the limits are of, in ns, without a sensor: its pace.
const (
	refGetppid   = 164
	refOpenClose = 2700
)

// The rules that the bars are measured with.
const (
	// Judges opens and closes, and matches none: both are made, delivered and judged.
	wideRules = `
- rule: wide
  desc: opens and closes of a file that isn't there
  condition: evt.type in (open, openat, close) and fd.name = /nonexistent
  output: "%fd.name"
  priority: INFO
`
	// Can use no open of the load, and no close: the kernel leaves both out.
	narrowRules = `
- rule: narrow
  desc: files of the configuration that are written
  condition: evt.type in (open, openat) and evt.is_open_write=true and fd.name startswith /etc/
  output: "%fd.name"
  priority: INFO
`
	// Judges what the load doesn't make, so that the events are read, decoded and applied to state, and no more.
	idleRules = `
- rule: idle
  desc: a call that nobody makes
  condition: evt.type = kexec_load
  output: "x"
  priority: INFO
`
)

// rounds is how often each side of a comparison is measured, one after the other in turn: with the sensor between twice without.
// The median of the differences counts, so that a machine whose pace changes meanwhile says little.
const rounds = 9

// A measurement is the median of some windows.
const (
	windows = 5
	window  = 80 * time.Millisecond
)

// median returns the middle of v, which it sorts.
func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// bench measures the bars.
type bench struct {
	bin  string
	dir  string
	pace float64 // how much slower this machine opens and closes than the reference, as workload found
}

// rules writes a rules file and returns its name.
func (b *bench) rules(name, text string) (string, error) {
	f := filepath.Join(b.dir, name+".yaml")
	return f, os.WriteFile(f, []byte(text), 0o600)
}

// unit runs a load and returns the time of one unit in ns: a call or an open with its close, of the thread that makes it; a process,
// from its start to its end.
func unit(mode string) (float64, error) {
	var out []float64
	for range windows {
		r, err := loadgen.Run(loadgen.Config{Mode: mode, Duration: window, CPU: 1}, nil)
		if err != nil {
			return 0, err
		}
		n, took := r.Calls, r.CPU
		switch mode {
		case loadgen.ModeOpenClose:
			n = r.Events["openat"]
		case loadgen.ModeSpawn:
			n, took = r.Events["execve"], r.Seconds
		}
		if n == 0 {
			return 0, fmt.Errorf("%s: nothing was made", mode)
		}
		out = append(out, took*1e9/float64(n))
	}
	return median(out), nil
}

// units are what each load's unit took, in ns.
type units map[string]float64

// measureUnits measures some loads.
func measureUnits(modes ...string) (units, error) {
	out := units{}
	for _, m := range modes {
		v, err := unit(m)
		if err != nil {
			return nil, err
		}
		out[m] = v
	}
	return out, nil
}

// compared is one load with the sensor, and without it just before and after.
type compared struct{ more, without []float64 }

func (c *compared) add(mode string, before, with, after units) {
	without := (before[mode] + after[mode]) / 2
	c.more, c.without = append(c.more, with[mode]-without), append(c.without, without)
}

// under runs fn while the sensor runs.
func (b *bench) under(fn func(*sensor) error, args ...string) error {
	s, err := start(b.bin, nil, args...)
	if err != nil {
		return err
	}
	if err := s.ready(); err != nil {
		return errors.Join(err, s.stop())
	}
	err = fn(s)
	err = errors.Join(err, s.stop())
	s.group.remove()
	return err
}

// workload compares what a program pays with the sensor and without.
func (b *bench) workload() ([]bar, error) {
	wide, err := b.rules("wide", wideRules)
	if err != nil {
		return nil, err
	}
	narrow, err := b.rules("narrow", narrowRules)
	if err != nil {
		return nil, err
	}
	const getppid, pair, spawn = loadgen.ModeGetppid, loadgen.ModeOpenClose, loadgen.ModeSpawn
	var untraced, traced, dropped, spawned compared
	var wideCount, narrowCount count
	before, err := measureUnits(getppid, pair, spawn)
	if err != nil {
		return nil, err
	}
	for range rounds {
		var with, after units
		err := b.under(func(s *sensor) (err error) {
			if with, err = measureUnits(getppid, spawn); err != nil {
				return err
			}
			return wideCount.of(s, func() (err error) { with[pair], err = unit(pair); return err })
		}, "-r", wide)
		if err == nil {
			after, err = measureUnits(getppid, pair, spawn)
		}
		if err != nil {
			return nil, err
		}
		untraced.add(getppid, before, with, after)
		traced.add(pair, before, with, after)
		spawned.add(spawn, before, with, after)
		before = after

		err = b.under(func(s *sensor) error {
			return narrowCount.of(s, func() (err error) { with, err = measureUnits(pair); return err })
		}, "-r", narrow)
		if err == nil {
			after, err = measureUnits(getppid, pair, spawn)
		}
		if err != nil {
			return nil, err
		}
		dropped.add(pair, before, with, after)
		before = after
	}
	calls := median(untraced.without) / refGetppid
	b.pace = median(traced.without) / refOpenClose
	return []bar{
		paced("untraced system call (getppid)", median(untraced.more), calls, 95, "ns",
			fmt.Sprintf("%.0f ns without", median(untraced.without))),
		paced("open+close, both traced and delivered", median(traced.more)/1e3, b.pace, 1, "µs",
			fmt.Sprintf("%.2f µs without, %.2f of the events sent or lost", median(traced.without)/1e3, wideCount.share())),
		paced("open+close, both dropped by the filter", median(dropped.more)/1e3, b.pace, 0.3, "µs",
			fmt.Sprintf("%.2f µs without, %.2f of the events sent or lost", median(dropped.without)/1e3, narrowCount.share())),
		paced("spawned process", median(spawned.more)/1e3, b.pace, 40, "µs", fmt.Sprintf("%.0f µs without", median(spawned.without)/1e3)),
	}, nil
}

func share(a, b uint64) float64 { return float64(a) / float64(max(b, 1)) }

// count is how many events the probe made of a load of opens and closes: sent or lost, and filtered.
type count struct{ sent, filtered uint64 }

// of runs a load and counts.
func (c *count) of(s *sensor, load func() error) error {
	before, err := s.metrics()
	if err != nil {
		return err
	}
	if err := load(); err != nil {
		return err
	}
	after, err := s.metrics()
	if err != nil {
		return err
	}
	diff := func(name string) uint64 { return uint64(after[name] - before[name]) }
	c.sent += diff("shikra_probe_sent_total") + diff("shikra_lost_total")
	c.filtered += diff("shikra_filtered_total")
	return nil
}

// share returns how many of the events were sent or lost.
func (c *count) share() float64 { return share(c.sent, c.sent+c.filtered) }

// consumer measures what reading, decoding and state cost the sensor at full speed.
func (b *bench) consumer() ([]bar, error) {
	idle, err := b.rules("idle", idleRules)
	if err != nil {
		return nil, err
	}
	var cost, rate []float64
	for range 3 {
		err := b.under(func(s *sensor) error {
			before := cpuSeconds(s.cmd.Process.Pid)
			r, err := loadgen.Run(loadgen.Config{Mode: loadgen.ModeOpenClose, Duration: 2 * time.Second, CPU: 1}, nil)
			if err != nil {
				return err
			}
			time.Sleep(50 * time.Millisecond)
			cost = append(cost, (cpuSeconds(s.cmd.Process.Pid)-before)*1e9/float64(r.Total))
			rate = append(rate, float64(r.Total)/r.Seconds)
			return nil
		}, "-r", idle, "-o", "probe.filter=false")
		if err != nil {
			return nil, err
		}
	}
	return []bar{paced("consumer: read, decode, state, no rules", median(cost), b.pace, 250, "ns CPU an event", fmt.Sprintf("at %.0f events/s", median(rate)))}, nil
}

// steady measures a moderate rate: CPU and the time from an event to its alert.
func (b *bench) steady() ([]bar, error) {
	var out []bar
	err := b.under(func(s *sensor) error {
		s.latencies(true)
		var made count
		var r loadgen.Result
		var cpu float64
		err := made.of(s, func() (err error) {
			before := cpuSeconds(s.cmd.Process.Pid)
			r, err = loadgen.Run(loadgen.Config{Mode: loadgen.ModeMix, Duration: 10 * time.Second, CPU: 1, Rate: 10000, Plant: "/etc/shadow", PlantEvery: 400}, nil)
			if err == nil {
				cpu = (cpuSeconds(s.cmd.Process.Pid) - before) / r.Seconds * 100
			}
			return err
		})
		if err != nil {
			return err
		}
		time.Sleep(200 * time.Millisecond)
		l := s.latencies(false)
		if len(l) == 0 {
			return errors.New("no alert came")
		}
		slices.Sort(l)
		out = []bar{
			paced("10,000 events/s", cpu, b.pace, 1.5, "% of a core", fmt.Sprintf("%.0f made a second, %.2f of them events, the rest dropped by the filter", float64(r.Total)/r.Seconds, made.share())),
			paced("alert latency, p99", float64(l[len(l)*99/100])/1e6, 1, 20, "ms", fmt.Sprintf("%d of %d alerts, median %.1f ms", len(l), r.Planted, float64(l[len(l)/2])/1e6)),
		}
		return nil
	})
	return out, err
}

// saturated loads every core with opens and closes and looks at what is lost.
func (b *bench) saturated() ([]bar, error) {
	var out []bar
	err := b.under(func(s *sensor) error {
		before, err := s.metrics()
		if err != nil {
			return err
		}
		cores := min(runtime.NumCPU(), 2)
		made := make([]uint64, cores)
		errs := make([]error, cores)
		var wg sync.WaitGroup
		for i := range cores {
			wg.Go(func() {
				r, err := loadgen.Run(loadgen.Config{Mode: loadgen.ModeOpenClose, Duration: 5 * time.Second, CPU: i}, nil)
				made[i], errs[i] = r.Total, err
			})
		}
		wg.Wait()
		time.Sleep(500 * time.Millisecond)
		after, err := s.metrics()
		if err := errors.Join(append(errs, err)...); err != nil {
			return err
		}
		total := uint64(0)
		for _, n := range made {
			total += n
		}
		lost := uint64(after["shikra_lost_total"] - before["shikra_lost_total"])
		sent := uint64(after["shikra_probe_sent_total"] - before["shikra_probe_sent_total"])
		out = []bar{paced(fmt.Sprintf("%d saturated cores of open+close: lost", cores), 100*share(lost, total), 1, 26, "%",
			fmt.Sprintf("%d made by the load; %d sent and %d lost by the probe's count, other processes' among them", total, sent, lost))}
		return nil
	}, "-o", "probe.filter=false")
	return out, err
}

// bars measures all of them and prints each as it comes. The error says how many fail.
func bars(bin string, asJSON bool) error {
	dir, err := os.MkdirTemp("", "shikra-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{bin: bin, dir: dir}
	var all []bar
	failed := 0
	for _, part := range []func() ([]bar, error){b.workload, b.consumer, b.steady, b.saturated} {
		got, err := part()
		if err != nil {
			return err
		}
		for i := range got {
			if !got[i].OK() {
				failed++
			}
			if !asJSON {
				got[i].print(os.Stdout)
			}
		}
		all = append(all, got...)
	}
	if asJSON {
		if err := json.NewEncoder(os.Stdout).Encode(all); err != nil {
			return err
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d bars fail", failed, len(all))
	}
	return nil
}
