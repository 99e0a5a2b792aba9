package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/probe"
)

// hooksArg makes this program load the probe and say what the kernel thinks of it.
const hooksArg = "hooks"

// sayHooks loads and attaches every program that the probe has, prints which were refused and why, and how many instructions
// the verifier went through for each. It returns the exit status: 1 if one was refused.
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
	total, most, name, err := verified(w)
	cost := fmt.Sprintf("%d instructions verified, most in %s: %d", total, name, most)
	if err != nil {
		cost = "instructions not counted"
	}
	fmt.Fprintf(w, "## hooks %d programs loaded in %.1f s, %d attached, %d refused; %s\n",
		count[probe.StateLoaded]+count[probe.StateAttached], took.Seconds(), count[probe.StateAttached], count[probe.StateRefused], cost)
	if count[probe.StateRefused] > 0 {
		return 1
	}
	return 0
}

// verified sums what the verifier did for all programs now in the kernel, which here are the probe's. Kernels before 5.16
// don't say: that is ebpf.ErrNotSupported.
func verified(w io.Writer) (total, most uint32, name string, err error) {
	var lines []string
	for id := ebpf.ProgramID(0); ; {
		if id, err = ebpf.ProgramGetNextID(id); errors.Is(err, os.ErrNotExist) {
			break
		} else if err != nil {
			return 0, 0, "", err
		}
		prog, err := ebpf.NewProgramFromID(id)
		if err != nil {
			continue // gone in the meantime
		}
		info, err := prog.Info()
		prog.Close()
		if err != nil {
			return 0, 0, "", err
		}
		n, ok := info.VerifiedInstructions()
		if !ok {
			return 0, 0, "", ebpf.ErrNotSupported
		}
		total += n
		if n > most {
			most, name = n, info.Name
		}
		lines = append(lines, fmt.Sprintf("%8d %s", n, info.Name))
	}
	slices.Sort(lines)
	slices.Reverse(lines)
	for _, l := range lines {
		fmt.Fprintln(w, l)
	}
	return total, most, name, nil
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", " ") }
