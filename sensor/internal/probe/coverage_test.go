package probe

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

var update = flag.Bool("update", false, "write docs/coverage.md anew, and after a whole run testdata/tested_ARCH.txt too")

const coverageDoc = "../../../docs/coverage.md"

// How far the tests of this package go with a system call of an architecture, in docs/coverage.md.
const (
	testedCall   = "✓"  // TestEverySyscall and the like make it
	testedParams = "✓✓" // a case compares each parameter of what it does
)

// archNames are the architectures' names in docs/coverage.md and testdata, by event.Arch.
var archNames = [...]string{event.ArchAMD64: "amd64", event.ArchARM64: "arm64", event.ArchARM: "arm", event.ArchRISCV64: "riscv64", event.ArchIA32: "ia32"}

// callOf is a system call as an architecture's programs make it.
type callOf struct {
	arch, name string
}

// tests collects what the tests have proven, each by an event that came and by its program's count of events, which moved.
var tests struct {
	sync.Mutex
	by      map[callOf]string // guarded by Mutex; how far
	skipped map[string]bool   // guarded by Mutex; calls of which a case can't be had on this kernel
	compat  bool              // this kernel runs 32-bit programs; set before the tests that make calls in them
}

// proven notes that a test of a system call has passed.
func proven(name string, arch event.Arch, how string) {
	tests.Lock()
	defer tests.Unlock()
	if tests.by == nil {
		tests.by = map[callOf]string{}
	}
	if c := (callOf{archNames[arch], name}); tests.by[c] != testedParams {
		tests.by[c] = how
	}
}

// skipped notes that a case of a system call can't be had on this kernel, which then proves less of that call.
func skipped(name string) {
	tests.Lock()
	defer tests.Unlock()
	if tests.skipped == nil {
		tests.skipped = map[string]bool{}
	}
	tests.skipped[name] = true
}

// testedFile holds what a whole run on an architecture has proven: lines of a system call, the architecture of the program
// that makes it, and how far.
func testedFile(goarch string) string { return "testdata/tested_" + goarch + ".txt" }

func readTested(goarch string) (map[callOf]string, error) {
	b, err := os.ReadFile(testedFile(goarch))
	out := map[callOf]string{}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 3 {
			out[callOf{f[1], f[0]}] = f[2]
		}
	}
	return out, err
}

func formatTested(by map[callOf]string) string {
	var lines []string
	for c, how := range by {
		lines = append(lines, c.name+" "+c.arch+" "+how+"\n")
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// objects are the probe's objects of the architectures in the table, and whether tests have run there.
var objects = []struct {
	file           string
	native, compat event.Arch
	tested         bool
}{
	{"../../../bpf/probe_x86_bpfel.o", event.ArchAMD64, event.ArchIA32, true},
	{"../../../bpf/probe_arm64_bpfel.o", event.ArchARM64, event.ArchARM, true},
	{"../../../bpf/probe_riscv_bpfel.o", event.ArchRISCV64, event.ArchRISCV64, false},
}

// renderCoverage makes docs/coverage.md from the table of system calls, the programs in the objects and what tests proved.
func renderCoverage(t *testing.T) []byte {
	t.Helper()
	columns := []event.Arch{event.ArchAMD64, event.ArchIA32, event.ArchARM64, event.ArchARM, event.ArchRISCV64}
	parsed, all := map[event.Arch]int{}, map[event.Arch]int{}
	specs := map[event.Arch]*ebpf.CollectionSpec{}
	tested := map[callOf]string{}
	for _, o := range objects {
		spec, err := ebpf.LoadCollectionSpec(o.file)
		if err != nil {
			t.Fatal(err)
		}
		specs[o.native], specs[o.compat] = spec, spec
		if !o.tested {
			continue
		}
		by, err := readTested(archNames[o.native])
		if err != nil {
			t.Fatal(err)
		}
		maps.Copy(tested, by)
	}
	var rows bytes.Buffer
	for i := range event.Syscalls() {
		sc := &event.Syscalls()[i]
		row, has := "", false
		var ev string
		for _, a := range columns {
			cell := ""
			nr := fmt.Sprint(sc.NR[a])
			if sc.NR[a] < 0 && a == event.ArchIA32 {
				nr = viaMultiplexer(sc.Name)
			}
			if sc.NR[a] >= 0 || nr != "-1" {
				has = true
				s := serve(specs[a], sc)
				kind := "generic"
				if s.Program != generic {
					kind = "parsed"
				}
				if sc.NR[a] >= 0 {
					all[a]++
					if s.Program != generic {
						parsed[a]++
					}
				}
				ev = s.Type.String()
				cell = strings.TrimSpace(nr + " " + kind + " " + tested[callOf{archNames[a], sc.Name}])
			}
			row += " " + cell + " |"
		}
		if !has {
			continue
		}
		fmt.Fprintf(&rows, "| %s | %s |%s\n", sc.Name, ev, row)
	}
	var b bytes.Buffer
	b.WriteString(coverageHead)
	b.WriteString("| | amd64 | ia32 | arm64 | arm | riscv64 |\n|---|---:|---:|---:|---:|---:|\n")
	for _, line := range []struct {
		name string
		n    func(a event.Arch) int
	}{
		{"parsed", func(a event.Arch) int { return parsed[a] }},
		{"generic", func(a event.Arch) int { return all[a] - parsed[a] }},
		{"all", func(a event.Arch) int { return all[a] }},
	} {
		fmt.Fprintf(&b, "| %s |", line.name)
		for _, a := range columns {
			fmt.Fprintf(&b, " %d |", line.n(a))
		}
		b.WriteString("\n")
	}
	b.WriteString("\n| system call | event | amd64 | ia32 | arm64 | arm | riscv64 |\n|---|---|---|---|---|---|---|\n")
	b.Write(rows.Bytes())
	return b.Bytes()
}

// viaMultiplexer returns the call by which ia32 makes one that has no number there, -1 for none.
func viaMultiplexer(name string) string {
	for _, m := range multiplexers {
		for _, s := range m.subs {
			if s == name {
				return m.name
			}
		}
	}
	return "-1"
}

const coverageHead = `# Which system calls are seen, and how

Made from the probe's table of system calls, its programs and what its tests have proven. Each architecture's column has the native
number, what becomes of the call, and whether that is tested. ia32 is what 32-bit programs call on amd64, arm what they call on arm64.

- *Parsed* calls have a program of their own and an event with named parameters. *Generic* ones are events by the call's name too
  (` + "`evt.type = getcpu`" + `), with the number, the result and six raw arguments: ` + "`evt.arg.nr`, `evt.res`, `evt.arg.arg0`" + ` … ` + "`evt.arg.arg5`" + `.
- Numbers that this table doesn't have, those with x32's bit and those that a tracer took away are events of type ` + "`unknown`" + `, with the
  number in ` + "`evt.arg.nr`" + `.
- ✓: a test made the call in a program of that architecture, one event by its name came with the right number, origin and result
  (and arguments, of generic calls), and the count of events that its program made moved. That is done whether the kernel under the
  tests implements the call or not.
- ✓✓: cases of its own compare each parameter too, of calls that succeed and of calls that fail.
- ia32 makes some calls through ` + "`socketcall` and `ipc`" + `, which are taken apart. Where a call has no number of its own there, the column
  names the one it is made through.
- exit and exit_group have no end that could be seen: their event is procexit. The kernel wipes the number of sigreturn and
  rt_sigreturn while they run: both are seen as rt_sigreturn.
- What is tested on amd64 and ia32, and on arm64 and arm, comes from whole runs under Debian's kernels, those of arm64 emulated. A
  kernel of 32-bit arm and one of riscv64 were never at hand: arm's calls are proven by 32-bit programs on arm64, and the column of
  riscv64 tells what its build of the probe would make of each call, tested by nothing. Neither build has met its verifier.

`

// TestCoverageDoc: docs/coverage.md tells the programs there are, and what whole runs have proven of them.
func TestCoverageDoc(t *testing.T) {
	if _, err := os.Stat(objects[0].file); err != nil {
		t.Skip("not run in the repository")
	}
	want := renderCoverage(t)
	if *update {
		if err := os.WriteFile(coverageDoc, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	doc, err := os.ReadFile(coverageDoc)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(doc, want) {
		t.Error("docs/coverage.md is out of date: go test ./sensor/internal/probe -run TestCoverageDoc -update")
	}
}

// checkCoverage holds what a whole run has proven against what has to be: every system call of this machine, those with a
// program of their own by cases for their parameters, and all that testdata says of this architecture, no less and no more. Less
// will do of a call whose cases this kernel lets skip, and of 32-bit programs where it runs none.
func checkCoverage() error {
	served, err := Catalogue()
	if err != nil {
		return err
	}
	if *update {
		return os.WriteFile(testedFile(runtime.GOARCH), []byte(formatTested(tests.by)), 0o644)
	}
	var lacks []string
	native, compat := arches()
	for _, s := range served {
		for _, arch := range []int{native, compat} {
			if arch < 0 || s.Syscall.NR[arch] < 0 || manners[s.Syscall.Name] == never || arch == compat && !tests.compat {
				continue
			}
			how := tests.by[callOf{archNames[arch], s.Syscall.Name}]
			if how != testedParams && (how != testedCall || s.Program != generic && arch == native && !tests.skipped[s.Syscall.Name]) {
				lacks = append(lacks, s.Syscall.Name+" of "+archNames[arch])
			}
		}
	}
	if len(lacks) > 0 {
		return fmt.Errorf("no test proves %s", strings.Join(lacks, ", "))
	}
	said, err := readTested(runtime.GOARCH)
	if err != nil {
		return err
	}
	excused := func(c callOf) bool {
		return tests.skipped[c.name] && tests.by[c] == testedCall || compat >= 0 && c.arch == archNames[compat] && !tests.compat
	}
	if lacks = differences(said, tests.by, excused); len(lacks) > 0 {
		return fmt.Errorf("%s says something else (-update writes it anew): %s\n%s", testedFile(runtime.GOARCH), strings.Join(lacks, ", "), formatTested(tests.by))
	}
	return nil
}

// differences says where by isn't what was said, except of excused calls of which it is less.
func differences(said, by map[callOf]string, excused func(callOf) bool) []string {
	var out []string
	for c, how := range said {
		if got := by[c]; got != how && (len(got) > len(how) || !excused(c)) {
			out = append(out, fmt.Sprintf("%s of %s is %q there, not %q", c.name, c.arch, how, got))
		}
	}
	for c, got := range by {
		if _, ok := said[c]; !ok {
			out = append(out, fmt.Sprintf("%s of %s isn't there, but %q", c.name, c.arch, got))
		}
	}
	slices.Sort(out)
	return out
}

// TestCoverageDifferences: what a kernel proves less is excused where it has to be, what it proves more never.
func TestCoverageDifferences(t *testing.T) {
	c := callOf{"amd64", "open_by_handle_at"}
	for _, tt := range []struct {
		said, got string // none where empty
		excused   bool
		ok        bool
	}{
		{testedParams, testedParams, false, true},
		{testedParams, testedCall, false, false},
		{testedParams, testedCall, true, true},
		{testedParams, "", true, true},
		{testedParams, "", false, false},
		{testedCall, testedParams, true, false},
		{"", testedCall, true, false},
	} {
		maps := [2]map[callOf]string{{}, {}}
		for i, how := range []string{tt.said, tt.got} {
			if how != "" {
				maps[i][c] = how
			}
		}
		if got := differences(maps[0], maps[1], func(callOf) bool { return tt.excused }); (len(got) == 0) != tt.ok {
			t.Errorf("said %q, got %q, excused %v: %v", tt.said, tt.got, tt.excused, got)
		}
	}
}
