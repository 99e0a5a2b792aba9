package probe

import (
	"fmt"
	"runtime"
	"slices"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

// StateSilent is the state of a hook that is attached and yet wasn't run by what ought to have run it.
const StateSilent = "silent"

// SelfCheck makes a few harmless system calls and a thread, and looks whether the attached programs that these concern were run,
// which the kernel counts meanwhile: a hook may be attached and silent. One that is has the state StateSilent from then on. It
// makes no events, as the sensor's own process makes none. Needs what EnableStats needs; the error says that nothing is known.
func (p *Probe) SelfCheck() error {
	stats, err := EnableStats()
	if err != nil {
		return fmt.Errorf("self-check: %w", err)
	}
	defer stats.Close()
	expected := []string{"sys_exit", "sched_fork", "sched_exit", getnameHook, openedHook, event.SecurityFileOpenX.Info().Name, prefix + "openat", prefix + "close"}
	before, err := p.runCounts()
	if err != nil {
		return fmt.Errorf("self-check: %w", err)
	}
	var silent []string
	for wait := time.Millisecond; wait < 100*time.Millisecond; wait *= 4 {
		harmless()
		time.Sleep(wait) // for the end of the thread
		after, err := p.runCounts()
		if err != nil {
			return fmt.Errorf("self-check: %w", err)
		}
		silent = silent[:0]
		for _, name := range expected {
			if n, ok := before[name]; ok && after[name] == n {
				silent = append(silent, name)
			}
		}
		if len(silent) == 0 {
			break
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent = slices.Clone(silent)
	return nil
}

// runCounts returns how often each attached hook was run while the kernel counted.
func (p *Probe) runCounts() (map[string]uint64, error) {
	by := map[string]uint64{}
	err := p.eachAttached(func(name string, st *ebpf.ProgramStats) { by[name] += st.RunCount })
	return by, err
}

// harmless makes one call of each kind that SelfCheck looks for, in a thread of its own.
func harmless() {
	done := make(chan struct{})
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		defer close(done)
		root := [2]byte{'/', 0}
		fd, _, e := unix.Syscall6(unix.SYS_OPENAT, ^uintptr(99), uintptr(unsafe.Pointer(&root)), unix.O_RDONLY|unix.O_CLOEXEC, 0, 0, 0)
		if e == 0 {
			_, _, _ = unix.Syscall(unix.SYS_CLOSE, fd, 0, 0)
		}
	}()
	<-done
}
