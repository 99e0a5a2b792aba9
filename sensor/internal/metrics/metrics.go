// Package metrics serves Prometheus metrics and a health check; every metric is defined once, as data.
package metrics

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// ID names one metric.
type ID int

// The metrics.
const (
	BuildInfo ID = iota
	EngineMode
	Events
	Lost
	SyscallEvents
	SyscallLost
	CPULost
	MissingParams
	CutParams
	HookSkipped
	LossReactions
	BPFRuns
	BPFSeconds
	ProbeSent
	BadRecords
	DroppedEvents
	Batches
	Judged
	StateFlushes
	BatchMean
	Alerts
	DroppedAlerts
	ActsAgain
	OutputSent
	OutputFailed
	StateUsed
	StateLimit
	StateFull
	ContainerLookups
	ContainerLookupsFailed
	ContainerLookupSeconds
	ContainersAnswered
	ContainersWaiting
	ContainerRequestsDropped
	ContainerEventsBad
	ContainersOverShare
	StringBytes
	StringLimit
	StringsFull
	ModuleCalls
	ModuleTraps
	ModuleSkipped
	ModuleFailures
	ModuleFalseAlerts
	ModuleRefills
	ModuleHostAlerts
	ModuleSeconds
	FirstJudged
	Repairs
	Repaired
	RepairSeconds
	FilesAsked
	ClosesOvertaken
	HookActive
	PathsNotKept
	OpensNotKept
	Captured
	NotCaptured
	Filtered
	RingBad
	RingSkipped
	numIDs
)

// Metric describes one metric.
type Metric struct {
	Name    string // without the prefix "shikra_"
	Help    string
	Counter bool
	Labels  []string
}

// Table returns every metric by ID. Units stand in the names; bytes and seconds are base units.
func Table() [numIDs]Metric {
	return [numIDs]Metric{
		BuildInfo:         {"build_info", "The sensor's version; the value is 1.", false, []string{"version", "goversion"}},
		EngineMode:        {"engine_mode", "How Wasm modules run: 1 for the mode in use.", false, []string{"mode"}},
		Events:            {"events_total", "Records taken, by event type.", true, []string{"type"}},
		Lost:              {"lost_total", "Events lost in the kernel, by event type and cause: ring_full, scratch_busy, many_messages, unknown_request.", true, []string{"type", "cause"}},
		SyscallEvents:     {"syscall_events_total", "Events made in the kernel, those lost included, by system call.", true, []string{"syscall"}},
		SyscallLost:       {"syscall_lost_total", "Events lost in the kernel, by system call.", true, []string{"syscall"}},
		CPULost:           {"cpu_lost_total", "Events lost in the kernel, by CPU and cause.", true, []string{"cpu", "cause"}},
		MissingParams:     {"missing_parameters_total", "Event parameters left out because the program's memory couldn't be read there, by system call.", true, []string{"syscall"}},
		CutParams:         {"cut_parameters_total", "Event parameters shorter than what the program gave, by system call.", true, []string{"syscall"}},
		HookSkipped:       {"hook_skipped_total", "Runs of a hook's program that the kernel left out, as it was running on that CPU already.", true, []string{"hook"}},
		LossReactions:     {"loss_reactions_total", "Reactions to losses.", true, nil},
		BPFRuns:           {"bpf_runs_total", "Runs of a BPF program, while metrics.bpf_stats is on.", true, []string{"program"}},
		BPFSeconds:        {"bpf_seconds_total", "Time spent in a BPF program and those it hands over to, while metrics.bpf_stats is on.", true, []string{"program"}},
		ProbeSent:         {"probe_sent_total", "Events the probe put into the ring buffer.", true, nil},
		BadRecords:        {"bad_records_total", "Records that couldn't be read and were left out.", true, nil},
		DroppedEvents:     {"dropped_events_total", "Events dropped by the sensor itself, which found no room in an empty batch.", true, nil},
		Batches:           {"batches_total", "Batches judged.", true, nil},
		Judged:            {"judged_events_total", "Events judged by modules.", true, nil},
		StateFlushes:      {"state_flushes_total", "Batches cut short by a state change that their events could have seen.", true, nil},
		BatchMean:         {"batch_mean_events", "Mean events in a batch since the start.", false, nil},
		Alerts:            {"alerts_total", "Alerts made, by rule.", true, []string{"module", "rule", "priority"}},
		DroppedAlerts:     {"dropped_alerts_total", "Alerts dropped because the outputs' queue was full.", true, nil},
		ActsAgain:         {"sensor_acts_again_total", "Acts on the sensor's eBPF objects that were like one told of just before, and told of together.", true, nil},
		OutputSent:        {"output_sent_total", "Alerts written, by output.", true, []string{"output"}},
		OutputFailed:      {"output_failed_total", "Alerts that an output failed to write.", true, []string{"output"}},
		StateUsed:         {"state_entries", "Entries in use, by state table.", false, []string{"table"}},
		StateLimit:        {"state_entries_limit", "Most entries, by state table.", false, []string{"table"}},
		StateFull:         {"state_full_total", "Entries that found their state table full.", true, []string{"table"}},
		StringBytes:       {"string_bytes", "Bytes of state strings in use.", false, []string{"segment"}},
		StringLimit:       {"string_bytes_limit", "Most bytes of state strings.", false, []string{"segment"}},
		StringsFull:       {"strings_full_total", "State strings that found no room.", true, []string{"segment"}},
		ModuleCalls:       {"module_calls_total", "Calls into a module.", true, []string{"module"}},
		ModuleTraps:       {"module_traps_total", "Calls that ended in a trap.", true, []string{"module"}},
		ModuleSkipped:     {"module_skipped_events_total", "Events of batches whose judging a trap or a failure cut short.", true, []string{"module"}},
		ModuleFailures:    {"module_failures_total", "Calls in which a module said that it couldn't judge.", true, []string{"module"}},
		ModuleFalseAlerts: {"module_false_alerts_total", "Alerts of a module that were refused: for an event or a rule that there isn't.", true, []string{"module"}},
		ModuleRefills:     {"module_refills_total", "Times a module asked for more fuel.", true, []string{"module"}},
		ModuleHostAlerts:  {"module_alert_calls_total", "Times a module called alert.", true, []string{"module"}},
		ModuleSeconds:     {"module_seconds_total", "Time spent in a module.", true, []string{"module"}},
		FirstJudged:       {"first_judged_seconds", "From the pipeline's start to the end of its first batch.", false, nil},
		RingBad:           {"ring_bad_total", "Times the ring buffer held something that couldn't be read, and was skipped to its end.", true, nil},
		RingSkipped:       {"ring_skipped_bytes_total", "Bytes of the ring buffer that were skipped then.", true, nil},
		Repairs:           {"repairs_total", "Repairs of the state after losses: begun, done, failed.", true, []string{"what"}},
		Repaired:          {"repaired_entries_total", "Entries of the state that repairs added, removed or mended.", true, []string{"table", "change"}},
		RepairSeconds:     {"repair_snapshot_seconds", "How long the snapshot of the last repair took.", false, nil},
		FilesAsked:        {"files_asked_total", "Fds that no event told of: asked for in /proc, found there in time, unasked because of too many, dropped, which is found, but nobody took the answer, and forgotten, which is one of too many that an io_uring was told to close in silence; told, which the probe told of with the call that acts on them.", true, []string{"what"}},
		ClosesOvertaken:   {"closes_overtaken_total", "Closes during which another thread got the fd's number: what the fd is now was asked for in /proc.", true, nil},
		HookActive:        {"hook_active", "Whether a kernel hook is attached (1) or not (0), and in which tier.", false, []string{"hook", "tier"}},
		OpensNotKept:      {"opens_not_kept_total", "Opens of which it wasn't kept which file the kernel opened, for want of room (probe.exact_paths).", true, nil},
		PathsNotKept:      {"paths_not_kept_total", "Paths of which the kernel's own copy wasn't kept for want of room (probe.exact_paths).", true, nil},
		Filtered:          {"filtered_total", "Events that no rule could use and that the probe didn't make, by system call.", true, []string{"syscall"}},
		Captured:          {"captured_syscall", "System calls whose events are captured, by what for: a module, state or the configuration; the value is 1.", false, []string{"syscall", "for"}},
		NotCaptured:       {"not_captured_syscall", "System calls that rules name and whose events aren't captured; the value is how many rules.", false, []string{"syscall", "reason"}},

		ContainerLookups:         {"container_lookups_total", "Questions to container runtimes.", true, []string{"engine"}},
		ContainerLookupsFailed:   {"container_lookup_failures_total", "Questions to container runtimes that gave nothing: not_found, the runtime has no such container (yet); error, it couldn't be asked or its answer couldn't be read.", true, []string{"engine", "reason"}},
		ContainerLookupSeconds:   {"container_lookup_seconds_total", "Time that container runtimes took to answer, in seconds.", true, []string{"engine"}},
		ContainersAnswered:       {"containers_answered_total", "Containers of which a runtime said something.", true, nil},
		ContainersWaiting:        {"containers_waiting", "Containers without an answer yet.", false, nil},
		ContainerRequestsDropped: {"container_requests_dropped_total", "Containers that found the queue of questions full.", true, nil},
		ContainerEventsBad:       {"container_events_bad_total", "Events of containers whose JSON couldn't be read.", true, nil},
		ContainersOverShare:      {"containers_over_share_total", "Threads of containers without a place in the state's table, as their user, or the container around theirs, has its share of it.", true, nil},
	}
}

// Gather gives the current values: emit takes a value with its labels in Table's order. It must be safe to call from any
// goroutine.
type Gather func(emit func(id ID, value float64, labels ...string))

type collector struct {
	gather Gather
	descs  [numIDs]*prometheus.Desc
	table  [numIDs]Metric
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	c.gather(func(id ID, v float64, labels ...string) {
		typ := prometheus.GaugeValue
		if c.table[id].Counter {
			typ = prometheus.CounterValue
		}
		m, err := prometheus.NewConstMetric(c.descs[id], typ, v, labels...)
		if err != nil {
			m = prometheus.NewInvalidMetric(c.descs[id], err)
		}
		ch <- m
	})
}

// Handler serves /metrics from gather and /healthz from healthy, which returns nil when the sensor works.
func Handler(gather Gather, healthy func() error) (http.Handler, error) {
	c := &collector{gather: gather, table: Table()}
	for i, m := range c.table {
		c.descs[i] = prometheus.NewDesc("shikra_"+m.Name, m.Help, m.Labels, nil)
	}
	reg := prometheus.NewRegistry()
	for _, x := range []prometheus.Collector{c, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})} {
		if err := reg.Register(x); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{MaxRequestsInFlight: 2}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if err := healthy(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	return mux, nil
}

// Server is a listening HTTP server.
type Server struct {
	srv  *http.Server
	addr net.Addr
	done chan error
}

// Listen serves h at addr ("127.0.0.1:9476") until Close.
func Listen(addr string, h http.Handler) (*Server, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for metrics: %w", err)
	}
	s := &Server{
		srv: &http.Server{
			Handler:           h,
			ReadHeaderTimeout: 5 * time.Second,
			ReadTimeout:       10 * time.Second,
			WriteTimeout:      30 * time.Second,
			IdleTimeout:       60 * time.Second,
			MaxHeaderBytes:    16 << 10,
		},
		addr: l.Addr(),
		done: make(chan error, 1),
	}
	go func() { s.done <- s.srv.Serve(l) }()
	return s, nil
}

// Addr returns the address it listens at.
func (s *Server) Addr() string { return s.addr.String() }

// Close stops listening and ends what is under way.
func (s *Server) Close(ctx context.Context) error {
	err := s.srv.Shutdown(ctx)
	if e := <-s.done; err == nil && !errors.Is(e, http.ErrServerClosed) {
		err = e
	}
	return err
}
