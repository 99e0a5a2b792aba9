package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/shikra-sensor/shikra/sensor/internal/loadgen"
	"github.com/shikra-sensor/shikra/sensor/internal/metrics"
	"github.com/shikra-sensor/shikra/sensor/internal/testkit"
)

// sensorEnv makes this test's program, started again, the shikra of its arguments.
const sensorEnv = "SHIKRA_CLI_TEST_SENSOR"

// running is a sensor in a process of its own.
type running struct {
	t      *testing.T
	cmd    *exec.Cmd
	url    string // of /metrics
	alerts string // file of JSON alerts

	ended chan struct{} // closed at the log's end

	mu  sync.Mutex
	log bytes.Buffer // guarded by mu
}

// startSensor runs `shikra run` with rules ("" for the built-in ones) and options, key=value or -c and a file, until the test
// ends, and returns when it watches.
func startSensor(t *testing.T, rules string, options ...string) *running {
	t.Helper()
	return startNamed(t, "/proc/self/exe", rules, options...)
}

// startNamed is startSensor with the path by which the program is started, whose last part is the process's name.
func startNamed(t *testing.T, exe, rules string, options ...string) *running {
	t.Helper()
	if !liveMachine(t) {
		testkit.Missing(t, "the probe needs root and BTF")
	}
	dir := t.TempDir()
	r := &running{t: t, alerts: filepath.Join(dir, "alerts.json")}
	args := []string{"run", "-o", "http.listen=127.0.0.1:0", "-o", "outputs.stdout.enabled=false", "-o", "outputs.file.path=" + r.alerts}
	if rules != "" {
		file := filepath.Join(dir, "rules.yaml")
		if err := os.WriteFile(file, []byte(rules), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "-r", file)
	}
	for i := 0; i < len(options); i++ {
		if options[i] == "-c" {
			args = append(args, options[i:i+2]...)
			i++
			continue
		}
		args = append(args, "-o", options[i])
	}
	r.cmd = exec.Command(exe, args...)
	r.cmd.Env = append(os.Environ(), sensorEnv+"=1")
	errs, err := r.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	watching, ended := make(chan struct{}), make(chan struct{})
	r.ended = ended
	go func() {
		defer close(ended)
		for in := bufio.NewScanner(errs); in.Scan(); {
			line := in.Text()
			r.mu.Lock()
			r.log.WriteString(line + "\n")
			if m := regexp.MustCompile(`url=(\S+)`).FindStringSubmatch(line); m != nil {
				r.url = m[1]
			}
			r.mu.Unlock()
			if strings.Contains(line, "msg=watching") {
				close(watching)
			}
		}
	}()
	t.Cleanup(func() {
		r.cmd.Process.Kill()
		<-ended
		r.cmd.Wait()
		if t.Failed() {
			t.Logf("the sensor's log:\n%s", r.said())
		}
	})
	select {
	case <-watching:
	case <-ended:
		t.Fatalf("the sensor ended:\n%s", r.said())
	case <-time.After(2 * time.Minute):
		t.Fatalf("the sensor doesn't watch:\n%s", r.said())
	}
	return r
}

// said returns the sensor's log so far.
func (r *running) said() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.String()
}

// stop tells the sensor to end, and returns its exit status.
func (r *running) stop() int {
	r.t.Helper()
	r.cmd.Process.Signal(os.Interrupt)
	return r.wait()
}

func (r *running) wait() int {
	r.t.Helper()
	timer := time.AfterFunc(time.Minute, func() { r.cmd.Process.Kill() })
	defer timer.Stop()
	ps, err := r.cmd.Process.Wait()
	if err != nil {
		r.t.Fatal(err)
	}
	<-r.ended
	return ps.ExitCode()
}

// metrics returns what /metrics says.
func (r *running) metrics() []byte {
	r.t.Helper()
	resp, err := http.Get(r.url)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err != nil {
		r.t.Fatal(err)
	}
	return b
}

// metric returns the value of a metric with exactly these labels, 0 when there is none.
func (r *running) metric(name string) uint64 {
	r.t.Helper()
	for line := range strings.Lines(string(r.metrics())) {
		if v, ok := strings.CutPrefix(line, name+" "); ok {
			f, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
			if err != nil {
				r.t.Fatal(err)
			}
			return uint64(f)
		}
	}
	return 0
}

// TestMetricsServed: a sensor that runs serves every metric, but for those that tell of what needn't happen.
func TestMetricsServed(t *testing.T) {
	r := startSensor(t, "")
	occasional := map[string]bool{
		"lost_total": true, "syscall_lost_total": true, "cpu_lost_total": true, "missing_parameters_total": true, "cut_parameters_total": true,
		"hook_skipped_total": true, "bpf_runs_total": true, "bpf_seconds_total": true, "filtered_total": true, "not_captured_syscall": true,
		"batch_mean_events": true, "syscall_events_total": true, "events_total": true,
		"container_lookups_total": true, "container_lookup_failures_total": true, "container_lookup_seconds_total": true,
	}
	b := r.metrics()
	for _, m := range metrics.Table() {
		if !occasional[m.Name] && !regexp.MustCompile(`(?m)^shikra_`+m.Name+`[ {]`).Match(b) {
			t.Errorf("shikra_%s isn't served", m.Name)
		}
	}
	if !bytes.Contains(b, []byte(`shikra_files_asked_total{what="dropped"}`)) {
		t.Error("dropped answers aren't served")
	}
}

// told is a JSON alert.
type told struct {
	Rule     string         `json:"rule"`
	Priority string         `json:"priority"`
	Source   string         `json:"source"`
	Output   string         `json:"output"`
	Seq      uint64         `json:"seq"`
	Fields   map[string]any `json:"output_fields"`
}

// toldBy returns the alerts of a rule so far; of every rule for "".
func (r *running) toldBy(rule string) (out []told) {
	r.t.Helper()
	b, err := os.ReadFile(r.alerts)
	if err != nil {
		r.t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		var a told
		if !strings.HasSuffix(line, "\n") {
			break // still being written
		}
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			r.t.Fatalf("%v: %s", err, line)
		}
		if rule == "" || a.Rule == rule {
			out = append(out, a)
		}
	}
	return out
}

// until waits up to half a minute for ok.
func (r *running) until(what string, ok func() bool) {
	r.t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if ok() {
			return
		}
	}
	r.t.Fatalf("never: %s", what)
}

// rareRules judges the calls of loadgen.ModeRare, and never alerts.
const rareRules = `
- rule: Rare
  desc: watches setresgid
  condition: evt.type = setresgid and evt.num = 0
  output: never
  priority: DEBUG
`

// TestFullRing stops a sensor whose ring is the smallest while calls are made on every CPU: what was made, by the
// generator's own count, is what was taken and what is counted as lost; one alert tells of that, with the culprit's name; and
// the sensor goes on.
func TestFullRing(t *testing.T) {
	// Another process may make these calls too: then the counts are of more than the generator's, or others may have filled
	// the ring before it began: it's tried again.
	for try := range 3 {
		if fullRing(t) {
			return
		}
		t.Logf("try %d: others were at it", try)
	}
	t.Error("the counts are never those of the generator's calls alone")
}

func fullRing(t *testing.T) bool {
	r := startSensor(t, rareRules, "probe.ring_bytes=262144", "loss.rate=0.0001")
	if err := r.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	made := uint64(0)
	for cpu := range runtime.NumCPU() {
		wg.Add(1)
		go func() {
			defer wg.Done()
			res, err := loadgen.Run(loadgen.Config{Mode: loadgen.ModeRare, Duration: 100 * time.Millisecond, CPU: cpu}, nil)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			made += res.Events["setresgid"]
		}()
	}
	wg.Wait()
	if err := r.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	r.until("one alert", func() bool { return len(r.toldBy(lossRule)) > 0 })
	count := func() (taken, lost, all uint64) {
		return r.metric(`shikra_events_total{type="setresgid"}`), r.metric(`shikra_syscall_lost_total{syscall="setresgid"}`), r.metric(`shikra_syscall_events_total{syscall="setresgid"}`)
	}
	var taken, lost, all uint64
	r.until("every event made is taken or lost", func() bool {
		taken, lost, all = count()
		return taken+lost == all
	})
	t.Logf("%d made, %d taken, %d lost", made, taken, lost)
	if taken == 0 && lost >= made {
		return false
	}
	if all < made {
		t.Errorf("%d taken and %d lost of %d made", taken, lost, made)
	}
	if taken == 0 || lost < made/2 {
		t.Errorf("%d taken and %d lost: the ring wasn't full, or nothing got through", taken, lost)
	}
	if got := r.metric(`shikra_lost_total{cause="ring_full",type="setresgid"}`); got != lost {
		t.Errorf("%d lost by type and cause, %d by call", got, lost)
	}
	as := r.toldBy(lossRule)
	if len(as) != 1 || as[0].Priority != "Critical" || as[0].Source != "internal" || as[0].Seq != 1 {
		t.Fatalf("alerts: %+v", as)
	}
	f := func(name string) uint64 {
		v, _ := as[0].Fields[name].(float64)
		return uint64(v)
	}
	if f("lost.syscall.setresgid") != lost || f("n_drops") < lost || f("lost.cause.ring_full") < lost || f("n_evts") < f("n_drops") {
		t.Errorf("%d lost: %+v", lost, as[0])
	}
	cpus := uint64(0)
	for cpu := range runtime.NumCPU() {
		n := f(fmt.Sprintf("lost.cpu.%d", cpu))
		if n == 0 {
			t.Errorf("CPU %d lost nothing: %+v", cpu, as[0])
		}
		cpus += n
	}
	if cpus != f("n_drops") {
		t.Errorf("%d lost by CPU: %+v", cpus, as[0])
	}
	if !strings.Contains(as[0].Output, "Events lost | ") || !strings.Contains(as[0].Output, "syscalls=setresgid:") {
		t.Errorf("it says %s", as[0].Output)
	}
	// It goes on: what comes now is taken.
	res, err := loadgen.Run(loadgen.Config{Mode: loadgen.ModeRare, Duration: time.Millisecond, CPU: 0}, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.until("what comes after the loss is taken", func() bool {
		n, l, _ := count()
		return n+l >= taken+lost+res.Events["setresgid"] && n > taken
	})
	if s := r.stop(); s != exitOK {
		t.Errorf("it exits with %d", s)
	}
	if said := r.said(); !strings.Contains(said, `msg="events were lost"`) || !regexp.MustCompile(`msg=done .* lost_setresgid=\d+`).MatchString(said) {
		t.Errorf("the log doesn't tell of the loss:\n%s", said)
	}
	return all == made
}

// TestLossActions tries each action with losses that are made up.
func TestLossActions(t *testing.T) {
	t.Run("alert alone, bounded by the rate", func(t *testing.T) {
		r := startSensor(t, rareRules, "loss.simulate=true", "loss.actions=alert", "loss.burst=2", "loss.rate=0.0001")
		r.until("two alerts", func() bool { return len(r.toldBy(lossRule)) == 2 })
		time.Sleep(2 * lossEvery) // in which a third would come
		if n := len(r.toldBy(lossRule)); n != 2 {
			t.Errorf("%d alerts", n)
		}
		if n := r.metric("shikra_loss_reactions_total"); n != 2 {
			t.Errorf("%d reactions", n)
		}
		if s := r.stop(); s != exitOK {
			t.Errorf("it exits with %d", s)
		}
		if said := r.said(); strings.Contains(said, `msg="events were lost" `) || !strings.Contains(said, "of which loss.rate let no reaction tell") {
			t.Errorf("the log:\n%s", said)
		}
	})
	t.Run("ignore", func(t *testing.T) {
		r := startSensor(t, rareRules, "loss.simulate=true", "loss.actions=ignore")
		time.Sleep(3 * lossEvery)
		if s := r.stop(); s != exitOK || len(r.toldBy("")) > 0 || strings.Contains(r.said(), "were lost") {
			t.Errorf("status %d, alerts %+v, log:\n%s", s, r.toldBy(""), r.said())
		}
	})
	t.Run("exit, after an alert", func(t *testing.T) {
		r := startSensor(t, rareRules, "loss.simulate=true", "loss.actions=alert,exit")
		if s := r.wait(); s != exitFailure {
			t.Errorf("it exits with %d", s)
		}
		if n := len(r.toldBy(lossRule)); n != 1 {
			t.Errorf("%d alerts", n)
		}
		if said := r.said(); !strings.Contains(said, "shikra: events were lost, and loss.actions says exit: lost=1 ") {
			t.Errorf("the log:\n%s", said)
		}
	})
	t.Run("below the threshold", func(t *testing.T) {
		// At least the events of the sensor's snapshot are there, so one of them is less than all.
		r := startSensor(t, rareRules, "loss.simulate=true", "loss.actions=log,alert", "loss.threshold=1")
		time.Sleep(3 * lossEvery)
		if s := r.stop(); s != exitOK || len(r.toldBy("")) > 0 || strings.Contains(r.said(), "were lost") {
			t.Errorf("status %d, alerts %+v, log:\n%s", s, r.toldBy(""), r.said())
		}
	})
}

// TestBPFStats: the kernel's run counts of the hooks are there on request, and only then.
func TestBPFStats(t *testing.T) {
	r := startSensor(t, rareRules, "metrics.bpf_stats=true")
	r.until("runs of the dispatcher", func() bool { return r.metric(`shikra_bpf_runs_total{program="sys_exit"}`) > 100 })
	r.until("time in the dispatcher", func() bool {
		return regexp.MustCompile(`shikra_bpf_seconds_total\{program="sys_exit"\} [0-9.e-]*[1-9]`).Match(r.metrics())
	})
	r.stop()
	if r = startSensor(t, rareRules); r.metric(`shikra_bpf_runs_total{program="sys_exit"}`) != 0 {
		t.Error("programs are timed though nobody asked")
	}
}
