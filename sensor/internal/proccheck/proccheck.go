// Package proccheck compares the state with /proc, field by field: the oracle of the tests that hold the state to be exact.
//
// It reads /proc by itself and shares no code with what fills the state. What /proc and the state put differently on purpose
// (a path as the program gave it, a file since deleted) is told apart by asking the kernel whether both name one file.
package proccheck

import (
	"fmt"
	"os"
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
	listed := map[int]bool{}
	for _, pid := range pids {
		listed[pid] = true
		if c.skipped(pid) {
			continue
		}
		p, diffs := c.process(pid)
		for i := 1; i < c.Tries && len(diffs) > 0; i++ {
			time.Sleep(2 * time.Millisecond)
			var again []Diff
			p, again = c.process(pid)
			diffs = Standing(diffs, again)
		}
		rep.Diffs = append(rep.Diffs, diffs...)
		if p == nil {
			continue
		}
		rep.Processes++
		rep.Threads += len(p.threads)
		rep.Files += len(p.files)
	}
	rep.Diffs = append(rep.Diffs, c.ghosts(listed)...)
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
func (c *Checker) ghosts(listed map[int]bool) (out []Diff) {
	var tids []int64
	c.State.EachThread(func(t uint32) bool {
		tids = append(tids, c.tid(t))
		return true
	})
	for _, tid := range tids {
		t := c.State.FindThread(tid)
		if t == 0 || c.exited(t) || c.u32(t, wasmabi.ThreadFlags)&wasmabi.ThreadKernel != 0 {
			continue // the kernel's own threads come and go without events
		}
		pid := c.pid(t)
		if c.skipped(int(pid)) {
			continue
		}
		name := c.Proc + "/" + strconv.FormatInt(pid, 10) + "/task/" + strconv.FormatInt(tid, 10) + "/stat"
		gone := func() bool {
			b, err := os.ReadFile(name)
			return err != nil || ended(b)
		}
		if !gone() {
			continue
		}
		for range c.Tries {
			time.Sleep(2 * time.Millisecond)
			c.Drain()
		}
		if t = c.State.FindThread(tid); t != 0 && gone() && !c.exited(t) && c.pid(t) == pid {
			out = append(out, Diff{PID: int(pid), TID: int(tid), Start: c.cloneTicks(t), FD: -1, Field: "exists", Proc: "no", Have: c.comm(t)})
		}
	}
	return out
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
