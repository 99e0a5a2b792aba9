package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// verdict counts what passed and keeps the names of what didn't, each with the first and the last thing that it said.
type verdict struct {
	passed          int
	failures, skips []string
}

// add counts something that is done and isn't a test of a package.
func (v *verdict) add(what string, err error) {
	if err != nil {
		v.failures = append(v.failures, what+": "+oneLine(err))
		return
	}
	v.passed++
}

// runTests runs a package's tests, with the output on w too.
func (v *verdict) runTests(w io.Writer, bin string) {
	dir := filepath.Dir(bin)
	args := []string{"-test.v", "-test.short", "-test.timeout", testsTime.String()}
	for _, choice := range []string{"run", "skip"} {
		if pattern, err := os.ReadFile(filepath.Join(dir, choice)); err == nil {
			args = append(args, "-test."+choice, strings.TrimSpace(string(pattern)))
		}
	}
	var out bytes.Buffer
	env, _ := os.ReadFile(filepath.Join(dir, "env")) // none without
	for line := range strings.Lines(string(env)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if err := os.Setenv(key, value); err != nil {
			v.add(bin, err)
			return
		}
		defer os.Unsetenv(key)
	}
	// A signal with which the Go runtime preempts a thread may interrupt a system call, which is then made again and seen twice.
	if err := os.Setenv("GODEBUG", "asyncpreemptoff=1"); err != nil {
		v.add(bin, err)
		return
	}
	defer os.Unsetenv("GODEBUG")
	err := childIn(dir, io.MultiWriter(w, &out), testsTime+10*time.Second, bin, args...)
	v.judge(filepath.Base(dir), out.Bytes(), err)
}

var (
	resultLine = regexp.MustCompile(`^\s*--- (PASS|FAIL|SKIP): (\S+) \(`)
	runLine    = regexp.MustCompile(`^=== (?:RUN|CONT|NAME)\s+(\S+)`)
	saidLine   = regexp.MustCompile(`^\s+(\w+\.go:\d+: .*)`)
)

// judge counts the results in the output of a test binary run with -test.v that ended with err. Only tests without subtests
// count, and those that fail by themselves.
func (v *verdict) judge(pkg string, out []byte, err error) {
	said := map[string]string{}
	results := map[string][]string{}
	var failed []string
	current := ""
	sc := bufio.NewScanner(bytes.NewReader(out))
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		line := sc.Text()
		if m := runLine.FindStringSubmatch(line); m != nil {
			current = m[1]
		} else if m := resultLine.FindStringSubmatch(line); m != nil {
			results[m[1]] = append(results[m[1]], m[2])
			current = m[2]
		} else if m := saidLine.FindStringSubmatch(line); m != nil {
			first, _, _ := strings.Cut(said[current], " ... ")
			if said[current] = m[1]; first != "" {
				said[current] = first + " ... " + m[1]
			}
		}
	}
	parents := map[string]bool{}
	for _, names := range results {
		for _, n := range names {
			for i := range n {
				if n[i] == '/' {
					parents[n[:i]] = true
				}
			}
		}
	}
	for _, n := range results["PASS"] {
		if !parents[n] {
			v.passed++
		}
	}
	for _, n := range results["SKIP"] {
		v.skips = append(v.skips, fmt.Sprintf("%s %s: %s", pkg, n, said[n]))
	}
	for _, n := range results["FAIL"] {
		below := slices.ContainsFunc(results["FAIL"], func(o string) bool { return strings.HasPrefix(o, n+"/") })
		if !below || said[n] != "" {
			failed = append(failed, fmt.Sprintf("%s %s: %s", pkg, n, said[n]))
		}
	}
	// Status 1 is that of tests that failed; anything else is an end that the tests after this one didn't live to see.
	if err != nil && (len(failed) == 0 || err.Error() != "exit status 1") {
		failed = append(failed, fmt.Sprintf("%s: %v, in %s", pkg, err, current))
	}
	if err == nil && len(results) == 0 {
		failed = append(failed, pkg+": no test ran")
	}
	v.failures = append(v.failures, failed...)
}

// child runs a program to its end, for at most limit.
func child(w io.Writer, limit time.Duration, name string, args ...string) error {
	return childIn("/tmp", w, limit, name, args...)
}

func childIn(dir string, w io.Writer, limit time.Duration, name string, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, w, w
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	if ctx.Err() != nil {
		return fmt.Errorf("not done within %v", limit)
	}
	return err
}
