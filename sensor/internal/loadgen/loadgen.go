// Package loadgen makes system-call loads and counts exactly the events that they make.
//
// A load runs in one thread, pinned to one CPU, by raw system calls, so that the Go runtime adds nothing to it. It stays
// on this machine (loopback), is bounded in time and cleans up after itself. The counts are what a sensor must see of
// that thread and of the processes it starts.
package loadgen

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// The modes of a load.
const (
	ModeOpenClose = "openclose" // open and close one file, as fast as the CPU does
	ModeMix       = "mix"       // open, close, connect and exec at a given rate
	ModeSpawn     = "spawn"     // start a process and wait for it, as fast as the CPU does
	ModeGetppid   = "getppid"   // a system call that nobody watches, as fast as the CPU does
	ModeRare      = "rare"      // setresgid, a watched call that next to nobody makes, as fast as the CPU does
)

// Config says what to make. Zero values take the defaults.
type Config struct {
	Mode     string
	Duration time.Duration // default 5 s, at most 10 minutes
	CPU      int           // to run on; -1 for any

	Path string // file to open; default /dev/null

	// Of the mix.
	Rate       int           // events a second, counted as in Result.Events; 0 for as fast as the CPU does
	Connect    int           // of 1000 units, this many connect a UDP socket on loopback (default 100)
	Exec       int           // of 1000 units, this many start a process (default 2); the rest open and close
	Plant      string        // a sensitive file opened for reading every PlantEvery units; "" for none
	PlantEvery int           // default 1000
	Burst      time.Duration // the pace: what is due is made every so often; default 2 ms
}

// maxDuration bounds every load.
const maxDuration = 10 * time.Minute

func (c *Config) check() error {
	switch c.Mode {
	case ModeOpenClose, ModeMix, ModeSpawn, ModeGetppid, ModeRare:
	default:
		return fmt.Errorf("unknown mode %q", c.Mode)
	}
	if c.Duration == 0 {
		c.Duration = 5 * time.Second
	}
	if c.Duration < 0 || c.Duration > maxDuration {
		return fmt.Errorf("duration %v: not between 0 and %v", c.Duration, maxDuration)
	}
	if c.Path == "" {
		c.Path = "/dev/null"
	}
	if c.Burst <= 0 {
		c.Burst = 2 * time.Millisecond
	}
	if c.PlantEvery <= 0 {
		c.PlantEvery = 1000
	}
	if c.Connect == 0 && c.Exec == 0 {
		c.Connect, c.Exec = 100, 2
	}
	if c.Rate < 0 || c.Connect < 0 || c.Exec < 0 || c.Connect+c.Exec > 1000 {
		return errors.New("rate, connect and exec must not be negative, connect and exec not over 1000 together")
	}
	return nil
}

// Result is what a load made. Events counts by the name of the event type; a call that failed counts too, as an event
// it is one.
type Result struct {
	Mode     string            `json:"mode"`
	PID      int               `json:"pid"`
	TID      int               `json:"tid"` // the thread that made the load
	Seconds  float64           `json:"seconds"`
	CPU      float64           `json:"cpu_seconds"` // of that thread
	Events   map[string]uint64 `json:"events"`
	Total    uint64            `json:"total"`
	Failed   uint64            `json:"failed"`  // calls that failed
	Planted  uint64            `json:"planted"` // opens of Config.Plant, counted in Events as well
	Calls    uint64            `json:"calls"`   // of getppid
	Late     uint64            `json:"late"`    // bursts that took longer than their turn: the rate was not reached
	PerEvent float64           `json:"ns_per_event"`
}

// counters are the events made, by type.
type counters struct {
	openat, close, socket, connect, clone, execve, procexit, setresgid, failed, planted, calls, late uint64
}

func (c *counters) total() uint64 {
	return c.openat + c.close + c.socket + c.connect + c.clone + c.execve + c.procexit + c.setresgid
}

// Run makes the load and returns when it has ended. It blocks its goroutine's thread and must not run twice at once on
// one CPU, or the rates are meaningless. stop, if not nil, ends it early when set.
func Run(cfg Config, stop *atomic.Bool) (Result, error) {
	if err := cfg.check(); err != nil {
		return Result{}, err
	}
	type answer struct {
		res Result
		err error
	}
	ch := make(chan answer, 1)
	go func() {
		// Never unlocked: the pinned thread ends with the goroutine.
		runtime.LockOSThread()
		res, err := run(&cfg, stop)
		ch <- answer{res, err}
	}()
	a := <-ch
	return a.res, a.err
}

func run(cfg *Config, stop *atomic.Bool) (Result, error) {
	if cfg.CPU >= 0 {
		var set unix.CPUSet
		set.Set(cfg.CPU)
		if err := unix.SchedSetaffinity(0, &set); err != nil {
			return Result{}, fmt.Errorf("pin to CPU %d: %w", cfg.CPU, err)
		}
	}
	l, err := newLoad(cfg)
	if err != nil {
		return Result{}, err
	}
	defer l.close()
	res := Result{Mode: cfg.Mode, PID: os.Getpid(), TID: unix.Gettid()}
	cpu, start := threadCPU(), time.Now()
	deadline := start.Add(cfg.Duration)
	over := func() bool { return stop != nil && stop.Load() || !time.Now().Before(deadline) }
	for _, f := range []struct {
		mode string
		unit func()
	}{{ModeOpenClose, l.openClose}, {ModeSpawn, l.spawn}, {ModeGetppid, l.getppid}, {ModeRare, l.setresgid}} {
		if cfg.Mode == f.mode {
			each := 256
			if cfg.Mode == ModeSpawn {
				each = 1
			}
			for !over() {
				for range each {
					f.unit()
				}
			}
		}
	}
	if cfg.Mode == ModeMix {
		l.mix(start, over)
	}
	d := time.Since(start)
	c := &l.n
	res.Seconds, res.CPU = d.Seconds(), (threadCPU() - cpu).Seconds()
	res.Events = map[string]uint64{}
	for name, n := range map[string]uint64{
		"openat": c.openat, "close": c.close, "socket": c.socket, "connect": c.connect,
		"clone": c.clone, "execve": c.execve, "procexit": c.procexit, "setresgid": c.setresgid,
	} {
		if n > 0 {
			res.Events[name] = n
		}
	}
	res.Total, res.Failed, res.Planted, res.Calls, res.Late = c.total(), c.failed, c.planted, c.calls, c.late
	if n := max(res.Total, res.Calls); n > 0 {
		res.PerEvent = float64(d.Nanoseconds()) / float64(n)
	}
	return res, nil
}

func threadCPU() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_THREAD, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// load is what a load works with.
type load struct {
	cfg      *Config
	n        counters
	path     []byte
	plant    []byte
	addr     unix.RawSockaddrInet4 // of the listener
	listener int
	dir      string
	helper   []byte // path of a program that ends at once
	argv     []*byte
	status   uint32 // of the last process waited for

	units               int // made of the mix
	execDue, connectDue int // thousandths of a unit
}

func newLoad(cfg *Config) (_ *load, err error) {
	l := &load{cfg: cfg, listener: -1}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if l.path, err = unix.ByteSliceFromString(cfg.Path); err != nil {
		return nil, err
	}
	if cfg.Plant != "" {
		if l.plant, err = unix.ByteSliceFromString(cfg.Plant); err != nil {
			return nil, err
		}
	}
	if cfg.Mode == ModeMix {
		if err = l.listen(); err != nil {
			return nil, fmt.Errorf("listen on loopback: %w", err)
		}
	}
	if cfg.Mode == ModeMix || cfg.Mode == ModeSpawn {
		if l.dir, err = os.MkdirTemp("", "shikra-loadgen-"); err != nil {
			return nil, err
		}
		name := filepath.Join(l.dir, "ends-at-once")
		if err = os.WriteFile(name, ExitProgram(), 0o700); err != nil {
			return nil, err
		}
		l.helper = append([]byte(name), 0)
		l.argv = []*byte{&l.helper[0], nil}
	}
	return l, nil
}

func (l *load) close() {
	if l.listener >= 0 {
		unix.Close(l.listener)
	}
	if l.dir != "" {
		os.RemoveAll(l.dir)
	}
}

// mix makes units at the rate asked for, what is due every burst.
func (l *load) mix(start time.Time, over func() bool) {
	due := func(at time.Duration) uint64 {
		return uint64(float64(l.cfg.Rate) * at.Seconds())
	}
	for turn := 1; !over(); turn++ {
		if l.cfg.Rate == 0 {
			for range 64 {
				l.unit()
			}
			continue
		}
		end := time.Duration(turn) * l.cfg.Burst
		for want := due(end); l.n.total() < want && time.Since(start) < l.cfg.Duration; {
			l.unit()
		}
		if left := end - time.Since(start); left > 0 {
			ts := unix.NsecToTimespec(int64(left))
			_ = unix.Nanosleep(&ts, nil)
		} else if -left > l.cfg.Burst {
			l.n.late++
		}
	}
}

// unit makes the next unit of the mix. Kinds are spread evenly; one that must wait for another comes right after it.
func (l *load) unit() {
	l.units++
	l.execDue += l.cfg.Exec
	l.connectDue += l.cfg.Connect
	switch {
	case l.plant != nil && l.units%l.cfg.PlantEvery == 0:
		l.openPlanted()
	case l.execDue >= 1000:
		l.execDue -= 1000
		l.spawn()
	case l.connectDue >= 1000:
		l.connectDue -= 1000
		l.connect()
	default:
		l.openClose()
	}
}
