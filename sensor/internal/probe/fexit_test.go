package probe

import (
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// needFexit returns the shared probe in TierFexit. Which kernels the tests run in that tier on, kernels.sh says.
func needFexit(t *testing.T) *live {
	t.Helper()
	if os.Getenv(tierEnv) != TierFexit {
		t.Skipf("these are the tests of the tier fexit: %s isn't %s", tierEnv, TierFexit)
	}
	return needProbe(t)
}

// TestFexitStructure: in TierFexit no program is at the end of every system call, and a call that isn't wanted runs none.
func TestFexitStructure(t *testing.T) {
	l := needFexit(t)
	if tier, _ := l.p.Tier(); tier != TierFexit {
		t.Fatalf("the tier is %s", tier)
	}
	if err := l.p.SetSyscalls([]string{"openat", "close"}); err != nil {
		t.Fatal(err)
	}
	defer l.p.SetSyscalls([]string{})
	seen := map[string]int{}
	for it := (link.Iterator{}); it.Next(); {
		info, err := it.Link.Info()
		if err != nil {
			t.Fatal(err)
		}
		if raw := info.RawTracepoint(); raw != nil {
			seen[raw.Name]++
		}
		_ = it.Link.Close()
	}
	// Those that TierFexit has show that such links are found.
	if seen["sched_process_exit"] != 1 || seen["sys_exit"] != 0 || seen["sys_enter"] != 0 {
		t.Errorf("raw tracepoints linked: %v", seen)
	}
	stats, err := ebpf.EnableStats(uint32(unix.BPF_STATS_RUN_TIME))
	if err != nil {
		t.Fatal(err)
	}
	defer stats.Close()
	runs := func() (calls, all uint64) {
		for k, prog := range l.p.fexit.loaded {
			st, err := prog.Stats()
			if err != nil {
				t.Fatal(err)
			}
			if all += st.RunCount; k.prog == "x_openat" {
				calls += st.RunCount
			}
		}
		return calls, all
	}
	const n = 5000
	count := func(nr uintptr, a, b uintptr) (calls, all uint64) {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		calls0, all0 := runs()
		for range n {
			unix.RawSyscall(nr, a, b, 0)
		}
		calls, all = runs()
		return calls - calls0, all - all0
	}
	if _, all := count(unix.SYS_GETPPID, 0, 0); all > n/10 { // what the rest of the machine does meanwhile
		t.Errorf("%d calls that nobody wants ran programs %d times", n, all)
	}
	l.drain(t)
	if calls, _ := count(unix.SYS_OPENAT, cwd, 0); calls < n || calls > n+n/10 {
		t.Errorf("%d calls that are wanted ran their program %d times", n, calls)
	}
	l.drain(t)
}

// TestFexitPrograms: the system calls that have a program of their own have a function in this kernel, and the programs load for
// each of them.
func TestFexitPrograms(t *testing.T) {
	l := needFexit(t)
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	f := l.p.fexit
	var keys []entryKey
	var names []string
	for name, places := range f.places {
		if f.programs[name] == "x_generic" {
			continue
		}
		if len(places) == 0 {
			t.Errorf("%s has no function", name)
		}
		keys = append(keys, places...)
		if len(names) < 10 {
			names = append(names, name)
		}
	}
	start := time.Now()
	for k, err := range f.load(keys) {
		t.Errorf("%s at %s: %s", k.prog, k.fn, reasonOf(err))
	}
	t.Logf("%d programs loaded in %v", len(f.loaded), time.Since(start))
	start = time.Now()
	for name, err := range f.serve(names) {
		t.Errorf("%s: %v", name, err)
	}
	took, n := time.Since(start), len(f.links)
	start = time.Now()
	f.serve(nil)
	t.Logf("%d programs attached in %v, detached in %v", n, took, time.Since(start))
}
