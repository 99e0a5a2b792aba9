package cli

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/output"
)

// The rules that alerts about the sensor itself name, beside lossRule.
const (
	blindRule = "Shikra internal: sensor blinded"
	stillRule = "Shikra internal: sensor stood still"
	movedRule = "Shikra internal: sensor moved"
)

const (
	vigilEvery  = time.Second     // between two looks
	verifyEvery = 5               // looks between two of whether the probe sees
	sayAgain    = time.Minute     // a fault that stays the same is told again
	stillAfter  = 5 * time.Second // longer between two looks than this is standing still
)

// errBlind is what /healthz says of the last look at the probe.
var errBlind = errors.New("the probe was changed or doesn't see")

// clocks are two readings of one instant; they differ by how long the machine was suspended.
type clocks struct{ boot, run time.Duration }

func readClocks() clocks {
	var boot, run unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot)
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &run)
	return clocks{time.Duration(boot.Nano()), time.Duration(run.Nano())}
}

// vigil looks, in a goroutine of its own, whether the sensor still sees, whether it stood still and whether it was moved to another
// cgroup; what it finds is an alert.
type vigil struct {
	s      *sensor
	verify func() []string // what is wrong with the probe, one line each
	cgroup func() string   // where the sensor is

	fault atomic.Pointer[string] // of the last look at the probe; nil for none
	said  time.Time              // when fault was alerted about; of the goroutine
	once  sync.Once
	quit  chan struct{}
	done  chan struct{}
}

// watchSelf begins to look. Call stop before the probe is closed.
func watchSelf(s *sensor, verify func() []string) *vigil {
	v := &vigil{s: s, verify: verify, cgroup: func() string { return readSmall("/proc/self/cgroup") }, quit: make(chan struct{}), done: make(chan struct{})}
	go v.run()
	return v
}

func (v *vigil) run() {
	defer close(v.done)
	tick := time.NewTicker(vigilEvery)
	defer tick.Stop()
	last, at := readClocks(), v.cgroup()
	for n := 1; ; n++ {
		select {
		case <-tick.C:
		case <-v.quit:
			return
		}
		now := readClocks()
		stood := v.still(last, now)
		last = now
		if is := v.cgroup(); is != "" && is != at {
			v.alert(movedRule, "Critical", "Sensor moved to another cgroup | "+cgroupChange(at, is))
			at = is
		}
		if stood || n%verifyEvery == 0 {
			v.look()
			last = readClocks() // a look takes as long as it takes
		}
	}
}

// still alerts when too much time lies between two looks, and reports whether it did.
func (v *vigil) still(last, now clocks) bool {
	gap := now.boot - last.boot
	if gap <= stillAfter+vigilEvery {
		return false
	}
	gap -= vigilEvery
	asleep := min(gap, gap+vigilEvery-(now.run-last.run))
	if asleep > gap-stillAfter { // the machine's doing
		v.alert(stillRule, "Notice", fmt.Sprintf("The machine was suspended for %s, and the sensor with it", asleep.Round(time.Second)))
		return true
	}
	what := fmt.Sprintf("Sensor stood still for %s | stopped, frozen, traced or without CPU", gap.Round(time.Second))
	if asleep > time.Second {
		what += fmt.Sprintf("; for %s of it the machine was suspended", asleep.Round(time.Second))
	}
	v.alert(stillRule, "Critical", what+"; events that found no room meanwhile are counted as lost")
	return true
}

// look has the probe verified.
func (v *vigil) look() {
	faults := v.verify()
	if len(faults) == 0 {
		v.fault.Store(nil)
		return
	}
	what := strings.Join(faults, "; ")
	old := v.fault.Swap(&what)
	if now := time.Now(); old == nil || *old != what || now.Sub(v.said) >= sayAgain {
		v.said = now
		v.alert(blindRule, "Critical", "Sensor blinded | "+what)
	}
}

// health says what was wrong with the probe at the last look.
func (v *vigil) health() error {
	if what := v.fault.Load(); what != nil {
		return fmt.Errorf("%w: %s", errBlind, *what)
	}
	return nil
}

func (v *vigil) alert(rule, priority, what string) {
	v.s.log.Warn("the sensor was interfered with", "rule", rule, "what", what)
	v.s.Send(&output.Alert{Time: time.Now(), Rule: rule, Priority: priority, Source: "internal", Tags: []string{"sensor"}, Output: what})
}

// stop returns when nothing more will be looked at. Later calls do nothing.
func (v *vigil) stop() {
	v.once.Do(func() { close(v.quit) })
	<-v.done
}

// cgroupChange says which lines of /proc/PID/cgroup are new.
func cgroupChange(was, is string) string {
	old := map[string]bool{}
	for line := range strings.Lines(was) {
		old[line] = true
	}
	var out []string
	for line := range strings.Lines(is) {
		if !old[line] {
			out = append(out, strings.TrimSpace(line))
		}
	}
	if len(out) == 0 {
		return "there are fewer hierarchies"
	}
	return "cgroup=" + strings.Join(out, " ")
}
