package probe

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/filter"
	"github.com/shikra-sensor/shikra/sensor/internal/loadgen"
)

// TestStormMaps starts programs as fast as the machine does, with the filter on, and holds the probe's hash maps to what still lives: a
// place of marks whose process has ended, a path kept for a call that is over, would stay for ever. SHIKRA_STORM=1 makes it longer.
func TestStormMaps(t *testing.T) {
	l := needProbe(t)
	long := 3 * time.Second
	if os.Getenv("SHIKRA_STORM") != "" {
		long = time.Minute
	}
	no := filter.Args{Path: filter.NoArg, Flags: filter.NoArg, FD: filter.NoArg}
	set := &filter.Set{Calls: []filter.Call{
		{Name: "openat", Args: filter.Args{Path: 1, Flags: 2, FD: filter.NoArg}, What: filter.Opens | filter.Marks,
			Ways: []filter.Way{{Result: filter.Success, Paths: []filter.Path{{Text: "/etc/"}}}}},
		{Name: "close", Args: no, What: filter.Close},
	}}
	if err := l.p.SetFilter(set); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.p.SetFilter(nil); err != nil {
			t.Error(err)
		}
	}()
	l.want(t, "openat", "close", "clone", "clone3", "vfork", "execve")
	defer l.want(t)

	program := filepath.Join(t.TempDir(), "ends")
	if err := os.WriteFile(program, loadgen.ExitProgram(), 0o700); err != nil {
		t.Fatal(err)
	}
	before := l.hashEntries(t)
	var started, failed atomic.Int64
	var busy sync.WaitGroup
	end := time.Now().Add(long)
	for range 4 {
		busy.Go(func() {
			for time.Now().Before(end) {
				if exec.Command(program).Run() != nil {
					failed.Add(1)
				}
				started.Add(1)
			}
		})
	}
	most := map[string]int{}
	for time.Now().Before(end) {
		l.drain(t)
		for name, n := range l.hashEntries(t) {
			most[name] = max(most[name], n)
		}
		time.Sleep(20 * time.Millisecond)
	}
	busy.Wait()
	c, err := l.p.Counters()
	if err != nil {
		t.Fatal(err)
	}
	if n := started.Load(); n < 50 || failed.Load() > 0 || c.Filtered["openat"] == 0 {
		t.Errorf("%d programs, %d failed, left out: %v", n, failed.Load(), c.Filtered)
	}

	// What began before the end of the storm may be on its way: a second look decides.
	var left []string
	for try := 0; try == 0 || try < 20 && len(left) > 0; try++ {
		time.Sleep(50 * time.Millisecond)
		l.drain(t)
		left = left[:0]
		for at, who := range l.marked(t) {
			if err := unix.Kill(int(who), 0); err != nil {
				left = append(left, fmt.Sprintf("place %d of marks is that of process %d: %v", at, who, err))
			}
		}
		for name, n := range l.hashEntries(t) {
			if name != "marked" && n > before[name]+8 { // calls under way now, of the whole machine
				left = append(left, fmt.Sprintf("%d entries in %s, %d before", n, name, before[name]))
			}
		}
	}
	for _, s := range left {
		t.Errorf("left behind: %s", s)
	}
	t.Logf("%d programs in %v; entries before %v, at most %v, after %v; left out: %v", started.Load(), long, before, most, l.hashEntries(t), c.Filtered)
}

// hashEntries counts the entries of the probe's hash maps.
func (l *live) hashEntries(t *testing.T) map[string]int {
	t.Helper()
	out := map[string]int{}
	for name, m := range l.p.coll.Maps {
		if m.Type() != ebpf.Hash {
			continue
		}
		key, n := make([]byte, m.KeySize()), 0
		for err := m.NextKey(nil, key); err == nil && n < int(m.MaxEntries()); err = m.NextKey(key, key) {
			n++
		}
		out[name] = n
	}
	return out
}

// marked returns whose the places in marks are.
func (l *live) marked(t *testing.T) map[uint32]uint32 {
	t.Helper()
	var at, who uint32
	out := map[uint32]uint32{}
	it := l.p.coll.Maps["marked"].Iterate()
	for it.Next(&at, &who) {
		out[at] = who
	}
	if err := it.Err(); err != nil && len(out) == 0 { // it changes all the time
		t.Fatal(err)
	}
	return out
}
