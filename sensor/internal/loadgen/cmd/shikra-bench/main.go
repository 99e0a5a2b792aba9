// Command shikra-bench runs the sensor under known loads and prints what it cost and what it missed, as a table or JSON.
//
// It needs root. Each load runs on one pinned CPU; the sensor runs in a memory cgroup of its own where one can be made, so
// that BPF maps and programs count as its memory.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/loadgen"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "shikra-bench:", err)
		os.Exit(1)
	}
}

// scenario is one load and how the sensor is run under it.
type scenario struct {
	name string
	load loadgen.Config
	env  []string
}

// report is what one scenario gave.
type report struct {
	Name         string  `json:"name"`
	Seconds      float64 `json:"seconds"`
	Made         uint64  `json:"events_made"`
	PerSecond    float64 `json:"events_per_second"`
	Sent         uint64  `json:"sent"`
	Lost         uint64  `json:"lost"`
	Dropped      uint64  `json:"dropped"`
	Planted      uint64  `json:"planted"`
	Alerted      uint64  `json:"alerted"`
	MeanBatch    float64 `json:"mean_batch"`
	CPUSeconds   float64 `json:"sensor_cpu_seconds"`
	NsPerEvent   float64 `json:"sensor_ns_per_event"`
	CPUPercent   float64 `json:"sensor_cpu_percent_of_a_core"`
	FirstAlert   float64 `json:"first_alert_seconds"` // from the sensor's start, under load
	CgroupPeakMB float64 `json:"cgroup_peak_mb"`
	RSSPeakMB    float64 `json:"rss_peak_mb"`
	PSSMB        float64 `json:"pss_mb"`
}

func run() error {
	shikra := flag.String("shikra", "./shikra", "the sensor's binary")
	seconds := flag.Int("seconds", 30, "length of each load, in seconds")
	only := flag.String("only", "", "run the scenarios whose name contains this")
	asJSON := flag.Bool("json", false, "print JSON")
	loads := flag.Bool("loads", false, "run the loads and report on the sensor, instead of the bars")
	flag.Parse()
	if !*loads {
		return bars(*shikra, *asJSON)
	}
	d := time.Duration(*seconds) * time.Second
	plant := "/etc/shadow"
	scenarios := []scenario{
		{"open+close, full speed", loadgen.Config{Mode: loadgen.ModeOpenClose, Duration: d, CPU: 1}, nil},
		{"mix, 100000/s", loadgen.Config{Mode: loadgen.ModeMix, Duration: d, CPU: 1, Rate: 100000, Plant: plant, PlantEvery: 10000}, nil},
		{"mix, 100000/s, GOMAXPROCS=1", loadgen.Config{Mode: loadgen.ModeMix, Duration: d, CPU: 1, Rate: 100000, Plant: plant, PlantEvery: 10000}, []string{"GOMAXPROCS=1"}},
		{"mix, 10000/s", loadgen.Config{Mode: loadgen.ModeMix, Duration: d, CPU: 1, Rate: 10000, Plant: plant, PlantEvery: 10000}, nil},
		{"idle", loadgen.Config{Mode: loadgen.ModeMix, Duration: d, CPU: 1, Rate: 20, Plant: plant, PlantEvery: 1000}, nil},
	}
	var reports []report
	for _, s := range scenarios {
		if !strings.Contains(s.name, *only) {
			continue
		}
		r, err := measure(*shikra, s)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		reports = append(reports, r)
		if !*asJSON {
			r.print(os.Stdout)
		}
	}
	if *asJSON {
		return json.NewEncoder(os.Stdout).Encode(reports)
	}
	return nil
}

func (r *report) print(w io.Writer) {
	fmt.Fprintf(w, "%s: %d events in %.1f s (%.0f/s)\n", r.Name, r.Made, r.Seconds, r.PerSecond)
	fmt.Fprintf(w, "  sent %d, lost %d, dropped %d; planted %d, alerted %d; mean batch %.1f\n", r.Sent, r.Lost, r.Dropped, r.Planted, r.Alerted, r.MeanBatch)
	fmt.Fprintf(w, "  sensor: %.0f ns CPU an event, %.2f %% of a core; first alert after %.2f s\n", r.NsPerEvent, r.CPUPercent, r.FirstAlert)
	fmt.Fprintf(w, "  memory: cgroup peak %.1f MB, RSS peak %.1f MB, PSS %.1f MB\n", r.CgroupPeakMB, r.RSSPeakMB, r.PSSMB)
}

// sensor is a running shikra.
type sensor struct {
	cmd    *exec.Cmd
	url    string
	first  atomic.Int64 // ns from start to the first alert
	alerts atomic.Uint64
	wg     sync.WaitGroup
	group  *group

	mu      sync.Mutex
	measure bool    // guarded by mu
	late    []int64 // guarded by mu: ns from an event to its alert
}

func start(bin string, env []string, args ...string) (*sensor, error) {
	g := newGroup()
	const addr = "127.0.0.1:19476"
	s := &sensor{url: "http://" + addr, group: g}
	s.cmd = exec.Command(bin, "run", "--json", "-o", "http.listen="+addr, "-o", "log.level=error")
	s.cmd.Args = append(s.cmd.Args, args...)
	s.cmd.Env = append(os.Environ(), env...)
	s.cmd.Stderr = os.Stderr
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if g.fd != nil {
		s.cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: g.v2, CgroupFD: int(g.fd.Fd())}
	}
	begin := time.Now()
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	g.enter(s.cmd.Process.Pid)
	mine := fmt.Sprintf(`"proc.pid":%d,`, os.Getpid())
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		for sc := bufio.NewScanner(out); sc.Scan(); {
			// The load runs in this process: alerts about others' reads don't count.
			if strings.Contains(sc.Text(), `"rule":"Sensitive file read"`) && strings.Contains(sc.Text(), mine) {
				s.took(sc.Text())
				if s.alerts.Add(1) == 1 {
					s.first.Store(int64(time.Since(begin)))
				}
			}
		}
	}()
	return s, nil
}

// took notes how late an alert came.
func (s *sensor) took(line string) {
	now := time.Now().UnixNano()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.measure {
		return
	}
	_, rest, _ := strings.Cut(line, `"evt.time":`)
	digits := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if at, err := strconv.ParseInt(rest[:max(digits, 0)], 10, 64); err == nil {
		s.late = append(s.late, now-at)
	}
}

// latencies starts measuring or ends it and returns what was measured, in ns.
func (s *sensor) latencies(on bool) []int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.late
	s.measure, s.late = on, nil
	return out
}

// ready waits until the sensor watches and has compared its state once more with what runs: until then nothing is filtered.
func (s *sensor) ready() error {
	watches := false
	for range 600 {
		time.Sleep(20 * time.Millisecond)
		if !watches {
			resp, err := http.Get(s.url + "/healthz")
			if err != nil {
				continue
			}
			resp.Body.Close()
			watches = resp.StatusCode == http.StatusOK
			continue
		}
		m, err := s.metrics()
		if err != nil {
			return err
		}
		if m["shikra_repairs_total"] >= 2 { // one begun, one done
			return nil
		}
	}
	return errors.New("the sensor isn't ready after 12 s")
}

// stop ends the sensor and waits for its last alerts.
func (s *sensor) stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGINT); err != nil {
		return err
	}
	s.wg.Wait()
	return s.cmd.Wait()
}

func measure(bin string, sc scenario) (report, error) {
	r := report{Name: sc.name}
	// A sensitive file is opened all the while, so that the time to the first alert is the sensor's own.
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s, err := start(bin, sc.env)
	if err != nil {
		return r, err
	}
	for ctx.Err() == nil && s.alerts.Load() == 0 {
		if f, err := os.Open("/etc/shadow"); err == nil {
			f.Close()
		}
		time.Sleep(2 * time.Millisecond)
	}
	r.FirstAlert = float64(s.first.Load()) / 1e9
	time.Sleep(300 * time.Millisecond)
	if err := s.ready(); err != nil {
		return r, errors.Join(err, s.stop())
	}
	before, err := s.metrics()
	if err != nil {
		return r, errors.Join(err, s.stop())
	}
	alerts, cpu := s.alerts.Load(), cpuSeconds(s.cmd.Process.Pid)
	res, err := loadgen.Run(sc.load, nil)
	if err != nil {
		return r, errors.Join(err, s.stop())
	}
	time.Sleep(500 * time.Millisecond)
	cpu = cpuSeconds(s.cmd.Process.Pid) - cpu
	after, err := s.metrics()
	if err != nil {
		return r, errors.Join(err, s.stop())
	}
	r.RSSPeakMB, r.PSSMB = memory(s.cmd.Process.Pid)
	if err := s.stop(); err != nil {
		return r, err
	}
	r.CgroupPeakMB = s.group.peak()
	s.group.remove()
	sum := func(name string) uint64 { return uint64(after[name] - before[name]) }
	r.Seconds, r.Made, r.Planted = res.Seconds, res.Total, res.Planted
	r.PerSecond = float64(res.Total) / res.Seconds
	r.Sent, r.Lost = sum("shikra_probe_sent_total"), sum("shikra_lost_total")
	r.Dropped = sum("shikra_dropped_events_total") + sum("shikra_bad_records_total") + sum("shikra_dropped_alerts_total")
	r.Alerted = s.alerts.Load() - alerts
	if b := sum("shikra_batches_total"); b > 0 {
		r.MeanBatch = float64(sum("shikra_judged_events_total")) / float64(b)
	}
	r.CPUSeconds = cpu
	if res.Total > 0 {
		r.NsPerEvent = cpu * 1e9 / float64(res.Total)
	}
	r.CPUPercent = cpu / res.Seconds * 100
	return r, nil
}

// metrics reads the sensor's counters, summed over labels.
func (s *sensor) metrics() (map[string]float64, error) {
	resp, err := http.Get(s.url + "/metrics")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	out := map[string]float64{}
	sc := bufio.NewScanner(resp.Body)
	for sc.Scan() {
		line := sc.Text()
		if strings.HasPrefix(line, "#") {
			continue
		}
		i := strings.LastIndexByte(line, ' ')
		name, _, _ := strings.Cut(line[:max(i, 0)], "{")
		if v, err := strconv.ParseFloat(line[i+1:], 64); err == nil {
			out[name] += v
		}
	}
	return out, sc.Err()
}

// cpuSeconds is the time that a process's threads ran, those that have ended among them (clock_getcpuclockid(3): the clock of the
// scheduler's count, in ns, where the ticks of /proc/PID/stat miss short runs).
func cpuSeconds(pid int) float64 {
	const sched = 2
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|sched), &t); err != nil {
		return 0
	}
	return float64(t.Nano()) / 1e9
}

// memory returns the peak of the resident set and the proportional set size, in MB.
func memory(pid int) (rss, pss float64) {
	grep := func(file, key string) float64 {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
		if err != nil {
			return 0
		}
		for _, l := range strings.Split(string(b), "\n") {
			if rest, ok := strings.CutPrefix(l, key); ok {
				kb, _ := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 64)
				return kb * 1024 / 1e6
			}
		}
		return 0
	}
	return grep("status", "VmHWM:"), grep("smaps_rollup", "Pss:")
}

// group is the sensor's own memory cgroup, v2 or v1; without one the peak reads as 0.
type group struct {
	dir string
	v2  bool
	fd  *os.File
}

func newGroup() *group {
	name := fmt.Sprintf("shikra-bench-%d", os.Getpid())
	if dir := filepath.Join("/sys/fs/cgroup/memory", name); os.Mkdir(dir, 0o755) == nil {
		return &group{dir: dir}
	}
	dir := filepath.Join("/sys/fs/cgroup", name)
	if os.Mkdir(dir, 0o755) != nil {
		return &group{}
	}
	f, err := os.Open(dir)
	if err != nil {
		return &group{dir: dir}
	}
	return &group{dir: dir, v2: true, fd: f}
}

// enter moves a process that has just started into a v1 group: what it took before is little, but isn't counted.
func (g *group) enter(pid int) {
	if g.dir != "" && !g.v2 {
		if err := os.WriteFile(filepath.Join(g.dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, "shikra-bench: cgroup:", err)
		}
	}
}

func (g *group) peak() float64 {
	for _, f := range []string{"memory.peak", "memory.max_usage_in_bytes"} {
		if b, err := os.ReadFile(filepath.Join(g.dir, f)); g.dir != "" && err == nil {
			v, _ := strconv.ParseFloat(strings.TrimSpace(string(b)), 64)
			return v / 1e6
		}
	}
	return 0
}

func (g *group) remove() {
	if g.fd != nil {
		g.fd.Close()
	}
	if g.dir != "" {
		os.Remove(g.dir)
	}
}
