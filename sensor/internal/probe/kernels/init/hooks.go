package main

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/probe"
)

// hooksArg makes this program load the probe and say what the kernel thinks of it.
const hooksArg = "hooks"

// logLines is how much is printed of what the verifier says of a program that it refuses.
const logLines = 40

// sayHooks loads and attaches every program that the probe has, prints which were refused and why, and how many instructions
// the verifier went through for each, It returns the exit status: 1 if one was
// refused.
func sayHooks(w io.Writer) int {
	start := time.Now()
	p, err := probe.Load(probe.Config{Generic: true})
	if err != nil {
		fmt.Fprintf(w, "## refused probe %s\n## hooks none\n", oneLine(err))
		return 1
	}
	defer p.Close()
	if err := p.Attach(); err != nil {
		fmt.Fprintf(w, "## refused probe %s\n", oneLine(err))
	}
	// What isn't loaded before somebody asks for it: for io_uring, at tracepoints, at security functions.
	if err := errors.Join(p.SetSyscalls(nil), p.SetEvents(func(typ event.Type) bool {
		return typ != event.PageFaultE || runtime.GOARCH == "amd64"
	})); err != nil {
		fmt.Fprintf(w, "## refused probe %s\n", oneLine(err))
	}
	took := time.Since(start)
	var used unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &used)
	fmt.Fprintf(w, "loading took %.1f s: user %.1f s, system %.1f s\n", took.Seconds(), float64(used.Utime.Nano())/1e9, float64(used.Stime.Nano())/1e9)
	count := map[string]int{}
	for _, h := range p.Hooks() {
		count[h.State]++
		if h.State == probe.StateRefused {
			fmt.Fprintf(w, "## refused %s %s\n", h.Name, h.Reason)
		}
	}
	var cost string
	if costs, ok := p.Costs(); ok && count[probe.StateRefused] == 0 {
		cost = sayCosts(w, costs)
	} else {
		// Each by itself, so that what is refused says more, and one that takes for ever has a name.
		var costs []probe.Cost
		err := probe.Costs(func(c probe.Cost) {
			fmt.Fprintf(w, "%s: %.3f s\n", c.Program, c.Took.Seconds())
			costs = append(costs, c)
		})
		if cost = sayCosts(w, costs); err != nil {
			cost = oneLine(err)
		}
	}
	sayTier(w)
	fmt.Fprintf(w, "## hooks %d programs loaded in %.1f s, %d attached, %d refused; %s\n",
		count[probe.StateLoaded]+count[probe.StateAttached], took.Seconds(), count[probe.StateAttached], count[probe.StateRefused], cost)
	if count[probe.StateRefused] > 0 {
		return 1
	}
	return 0
}

// sayCosts prints what each program costs, with what the verifier says of one that it refuses, and returns the sum.
func sayCosts(w io.Writer, costs []probe.Cost) string {
	total, most, name := 0, 0, ""
	for _, c := range costs {
		fmt.Fprintf(w, "## cost %s %d\n", c.Program, c.Instructions)
		var refused *ebpf.VerifierError
		if errors.As(c.Err, &refused) {
			for _, line := range refused.Log[max(0, len(refused.Log)-logLines):] {
				fmt.Fprintf(w, "%s: %s\n", c.Program, line)
			}
		}
		if total += c.Instructions; c.Instructions > most {
			most, name = c.Instructions, c.Program
		}
	}
	return fmt.Sprintf("%d instructions verified, most in %s: %d", total, name, most)
}

// sayTier prints which tier serves a few system calls where the choice is left to the kernel, and how long that took.
func sayTier(w io.Writer) {
	start := time.Now()
	p, err := probe.Load(probe.Config{Tier: probe.TierAuto, Syscalls: []string{"openat", "close", "connect", "execve", "clone", "setuid"}})
	if err != nil {
		fmt.Fprintf(w, "## refused tier %s\n", oneLine(err))
		return
	}
	defer p.Close()
	tier, reason := p.Tier()
	fmt.Fprintf(w, "## tier %s, chosen in %.1f s %s\n", tier, time.Since(start).Seconds(), reason)
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", " ") }
