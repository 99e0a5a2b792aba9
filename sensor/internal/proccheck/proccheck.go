// Package proccheck compares the state with /proc, field by field: the oracle of the tests that hold the state to be exact.
//
// It reads /proc by itself and shares no code with what fills the state. What /proc and the state put differently on purpose
// (a path as the program gave it, a file since deleted) is told apart by asking the kernel whether both name one file.
package proccheck

import (
	"fmt"
	"strconv"
	"time"

	"github.com/shikra-sensor/shikra/sensor/internal/arena"
	"github.com/shikra-sensor/shikra/sensor/internal/state"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// Checker compares. It runs on the goroutine that owns State and Arena.
type Checker struct {
	Arena *arena.Arena
	State *state.State

	Drain func()             // applies the events that wait; called often, so that none are lost meanwhile
	Skip  func(pid int) bool // processes to leave out: the sensor makes no events of its own; nil for none
	Tries int                // how often a process that differs is read again before that counts; default 3
	Proc  string             // default "/proc"
}

// Diff is one difference.
type Diff struct {
	PID, TID   int
	Start      uint64 // of the process, in clock ticks: ids come again
	FD         int    // -1: of the thread
	Field      string // "exists" for an entry that only one of the two has
	Proc, Have string // what /proc says and what the state has
}

// String returns the difference on one line.
func (d Diff) String() string {
	what := fmt.Sprintf("process %d", d.PID)
	if d.TID != d.PID {
		what += fmt.Sprintf(" thread %d", d.TID)
	}
	if d.FD >= 0 {
		what += fmt.Sprintf(" fd %d", d.FD)
	}
	return fmt.Sprintf("%s: %s: /proc %q, state %q", what, d.Field, d.Proc, d.Have)
}

// Report is what one comparison found.
type Report struct {
	Processes, Threads, Files int
	Diffs                     []Diff
	Took                      time.Duration
}

// Check compares everything once. A difference that further looks at the process don't show was an event under way and is
// left out.
func (c *Checker) Check() (Report, error) {
	start := time.Now()
	if c.Proc == "" {
		c.Proc = "/proc"
	}
	if c.Tries <= 0 {
		c.Tries = 3
	}
	var rep Report
	c.Drain()
	pids, err := numbers(c.Proc)
	if err != nil {
		return rep, fmt.Errorf("list processes: %w", err)
	}
	var differ []int
	found := map[int][]Diff{}
	for _, pid := range pids {
		if c.skipped(pid) {
			continue
		}
		p, diffs := c.process(pid)
		if p == nil {
			continue
		}
		if len(diffs) > 0 {
			differ, found[pid] = append(differ, pid), diffs
		}
		rep.Processes++
		rep.Threads += len(p.threads)
		rep.Files += len(p.files)
	}
	for i := 1; i < c.Tries && len(differ) > 0; i++ {
		time.Sleep(2 * time.Millisecond)
		again := differ[:0]
		for _, pid := range differ {
			_, diffs := c.process(pid)
			if found[pid] = Standing(found[pid], diffs); len(found[pid]) > 0 {
				again = append(again, pid)
			}
		}
		differ = again
	}
	for _, pid := range differ {
		rep.Diffs = append(rep.Diffs, found[pid]...)
	}
	rep.Diffs = append(rep.Diffs, c.ghosts()...)
	rep.Took = time.Since(start)
	return rep, nil
}

func (c *Checker) skipped(pid int) bool { return c.Skip != nil && c.Skip(pid) }

// process reads one process and compares it; nil when it is gone.
func (c *Checker) process(pid int) (*process, []Diff) {
	p := readProcess(c.Proc, pid)
	c.Drain()
	if p == nil {
		return nil, nil
	}
	return p, c.compare(p)
}

// ghosts finds threads that only the state has.
func (c *Checker) ghosts() (out []Diff) {
	var gone []Diff
	c.State.EachThread(func(t uint32) bool {
		d := Diff{PID: int(c.pid(t)), TID: int(c.tid(t)), Start: c.cloneTicks(t), FD: -1, Field: "exists", Proc: "no", Have: c.comm(t)}
		switch {
		case c.exited(t) || c.u32(t, wasmabi.ThreadFlags)&wasmabi.ThreadKernel != 0: // the kernel's own come and go without events
		case c.skipped(d.PID) || !c.gone(d):
		default:
			gone = append(gone, d)
		}
		return true
	})
	for i := 0; i < c.Tries && len(gone) > 0; i++ {
		time.Sleep(2 * time.Millisecond)
		c.Drain()
	}
	for _, d := range gone {
		if t := c.State.FindThread(int64(d.TID)); t != 0 && c.gone(d) && !c.exited(t) && int(c.pid(t)) == d.PID {
			out = append(out, d)
		}
	}
	return out
}

// gone reports whether /proc hasn't the thread, or says that it has ended.
func (c *Checker) gone(d Diff) bool {
	b, err := readFile(c.Proc + "/" + strconv.Itoa(d.PID) + "/task/" + strconv.Itoa(d.TID) + "/stat")
	return err != nil || ended(b)
}

// Standing returns the differences that stand in both.
func Standing(a, b []Diff) (out []Diff) {
	in := map[Diff]bool{}
	for _, d := range a {
		in[d] = true
	}
	for _, d := range b {
		if in[d] {
			out = append(out, d)
		}
	}
	return out
}
