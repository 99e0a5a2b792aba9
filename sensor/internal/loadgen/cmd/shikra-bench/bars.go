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

// bar is one promise about cost, and what was measured.
type bar struct {
	Name    string  `json:"name"`
	Value   float64 `json:"value"`
	Limit   float64 `json:"limit"`
	Unit    string  `json:"unit"`
	Details string  `json:"details,omitempty"`
}

// OK reports whether the bar holds.
func (b *bar) OK() bool { return b.Value <= b.Limit }

func (b *bar) print(w io.Writer) {
	verdict := "holds"
	if !b.OK() {
		verdict = "FAILS"
	}
	fmt.Fprintf(w, "%-5s %-58s %9.2f of %g %s  %s\n", verdict, b.Name, b.Value, b.Limit, b.Unit, b.Details)
}

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

// rounds is how often each side of a comparison is measured: one after the other in turn, the median counts.
const rounds = 7

// window is how long each measurement takes.
const window = 400 * time.Millisecond

// median returns the middle of v, which it sorts.
func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// bench measures the bars.
type bench struct {
	bin string
	dir string
}

// rules writes a rules file and returns its name.
func (b *bench) rules(name, text string) (string, error) {
	f := filepath.Join(b.dir, name+".yaml")
	return f, os.WriteFile(f, []byte(text), 0o600)
}

// unit runs a load for a window and returns the time of one unit in ns: a call, an open with its close, a process.
func unit(mode string) (float64, error) {
	r, err := loadgen.Run(loadgen.Config{Mode: mode, Duration: window, CPU: 1}, nil)
	if err != nil {
		return 0, err
	}
	n := map[string]uint64{loadgen.ModeGetppid: r.Calls, loadgen.ModeOpenClose: r.Events["openat"], loadgen.ModeSpawn: r.Events["execve"]}[mode]
	if n == 0 {
		return 0, fmt.Errorf("%s: nothing was made", mode)
	}
	return r.Seconds * 1e9 / float64(n), nil
}

// side measures some loads and adds their units to the results.
func side(to map[string][]float64, prefix string, modes ...string) error {
	for _, m := range modes {
		v, err := unit(m)
		if err != nil {
			return err
		}
		to[prefix+m] = append(to[prefix+m], v)
	}
	return nil
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
	t := map[string][]float64{}
	var delivered, made, narrowSent, narrowMade uint64
	for range rounds {
		if err := side(t, "", loadgen.ModeGetppid, loadgen.ModeOpenClose, loadgen.ModeSpawn); err != nil {
			return nil, err
		}
		err := b.under(func(s *sensor) error {
			n, sent, err := counted(s, func() error { return side(t, "wide ", loadgen.ModeOpenClose) })
			made, delivered = made+n, delivered+sent
			return errors.Join(err, side(t, "wide ", loadgen.ModeGetppid, loadgen.ModeSpawn))
		}, "-r", wide)
		if err != nil {
			return nil, err
		}
		err = b.under(func(s *sensor) error {
			n, sent, err := counted(s, func() error { return side(t, "narrow ", loadgen.ModeOpenClose) })
			narrowMade, narrowSent = narrowMade+n, narrowSent+sent
			return err
		}, "-r", narrow)
		if err != nil {
			return nil, err
		}
	}
	m := map[string]float64{}
	for k, v := range t {
		m[k] = median(v)
	}
	more := func(with, without string, div float64) float64 { return (m[with+without] - m[without]) / div }
	base := func(mode string, div float64, unit string) string {
		return fmt.Sprintf("(%.3g %s without)", m[mode]/div, unit)
	}
	return []bar{
		{"untraced system call (getppid)", more("wide ", loadgen.ModeGetppid, 1), 95, "ns", base(loadgen.ModeGetppid, 1, "ns")},
		{"open+close, both traced and delivered", more("wide ", loadgen.ModeOpenClose, 1e3), 1, "µs",
			base(loadgen.ModeOpenClose, 1e3, "µs") + fmt.Sprintf(", sent or lost %.2f of what was made", share(delivered, made))},
		{"open+close, both dropped by the filter", more("narrow ", loadgen.ModeOpenClose, 1e3), 0.3, "µs",
			base(loadgen.ModeOpenClose, 1e3, "µs") + fmt.Sprintf(", sent or lost %.2f of what was made", share(narrowSent, narrowMade))},
		{"spawned process", more("wide ", loadgen.ModeSpawn, 1e3), 40, "µs", base(loadgen.ModeSpawn, 1e3, "µs")},
	}, nil
}

func share(a, b uint64) float64 { return float64(a) / float64(max(b, 1)) }

// counted runs a load of opens and closes and returns how many events it made and how many the probe made of it.
func counted(s *sensor, load func() error) (made, sent uint64, err error) {
	before, err := s.metrics()
	if err != nil {
		return 0, 0, err
	}
	if err := load(); err != nil {
		return 0, 0, err
	}
	after, err := s.metrics()
	if err != nil {
		return 0, 0, err
	}
	diff := func(name string) uint64 { return uint64(after[name] - before[name]) }
	sent = diff("shikra_probe_sent_total") + diff("shikra_lost_total")
	return sent + diff("shikra_filtered_total"), sent, nil
}

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
			r, err := loadgen.Run(loadgen.Config{Mode: loadgen.ModeOpenClose, Duration: 5 * window, CPU: 1}, nil)
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
	return []bar{{"consumer: read, decode, state, no rules", median(cost), 250, "ns CPU an event", fmt.Sprintf("at %.0f events/s", median(rate))}}, nil
}

// steady measures a moderate rate: CPU and the time from an event to its alert.
func (b *bench) steady() ([]bar, error) {
	var out []bar
	err := b.under(func(s *sensor) error {
		s.latencies(true)
		before := cpuSeconds(s.cmd.Process.Pid)
		r, err := loadgen.Run(loadgen.Config{Mode: loadgen.ModeMix, Duration: 10 * time.Second, CPU: 1, Rate: 10000, Plant: "/etc/shadow", PlantEvery: 400}, nil)
		if err != nil {
			return err
		}
		cpu := (cpuSeconds(s.cmd.Process.Pid) - before) / r.Seconds * 100
		time.Sleep(200 * time.Millisecond)
		l := s.latencies(false)
		if len(l) == 0 {
			return errors.New("no alert came")
		}
		slices.Sort(l)
		out = []bar{
			{"10,000 events/s", cpu, 1.5, "% of a core", fmt.Sprintf("(%.0f made a second)", float64(r.Total)/r.Seconds)},
			{"alert latency, p99", float64(l[len(l)*99/100]) / 1e6, 20, "ms", fmt.Sprintf("(%d of %d alerts, median %.1f ms)", len(l), r.Planted, float64(l[len(l)/2])/1e6)},
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
		out = []bar{{fmt.Sprintf("%d saturated cores of open+close: lost", cores), 100 * share(lost, total), 26, "%",
			fmt.Sprintf("(%d made by the load; %d sent and %d lost by the probe's count, other processes' among them)", total, sent, lost)}}
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
