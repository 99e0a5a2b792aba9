package probe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

// Cause says why the programs lost an event.
type Cause uint8

// The causes, in the order of bpf/include/maps.h.
const (
	CauseRing    Cause = iota // the ring buffer was full
	CauseBusy                 // another program of the same CPU was making a record
	CauseTurn                 // one of several messages of a call, of which the kernel lets the probe take some thirty
	CauseRequest              // an operation of an io_uring whose beginning isn't known when it ends
	NumCauses
)

// String returns the cause's name in metrics and alerts.
func (c Cause) String() string {
	switch c {
	case CauseRing:
		return "ring_full"
	case CauseBusy:
		return "scratch_busy"
	case CauseTurn:
		return "many_messages"
	case CauseRequest:
		return "unknown_request"
	}
	return fmt.Sprintf("cause %d", uint8(c))
}

// The layout of struct cpu in bpf/include/maps.h, in bytes; a test compares them with the object's types.
const (
	cpuMade  = 64
	cpuLost  = cpuMade + numSlots*madeSize
	cpuDrops = cpuLost + int(NumCauses)*numTypes*8
	cpuEnd   = cpuDrops + numSlots*8
	madeSize = 32
)

// Made counts what became of events since Load.
type Made struct {
	Sent    uint64 // handed to the ring
	Lost    uint64 // not handed to it
	Missing uint64 // parameters left out because the program's memory couldn't be read there
	Cut     uint64 // parameters shorter than what the program gave
}

// Total returns the events that the programs made: those sent and those lost.
func (m Made) Total() uint64 { return m.Sent + m.Lost }

func (m *Made) add(o Made) {
	m.Sent += o.Sent
	m.Lost += o.Lost
	m.Missing += o.Missing
	m.Cut += o.Cut
}

// Counters says what became of the events that the programs made since Load.
type Counters struct {
	Made          // all together
	ByCPU         []CPUCounters
	BySyscall     map[string]Made // by system call, NoSyscall for events of none; calls without any are left out
	LostByType    map[event.Type][NumCauses]uint64
	LostByCause   [NumCauses]uint64
	Filtered      map[string]uint64 // by system call: events that nobody could use and that weren't made; calls without any are left out
	SkippedByHook map[string]uint64 // runs of an attached program that the kernel left out, as it was running on that CPU already
}

// NoSyscall stands in Counters.BySyscall for the events that no system call makes.
const NoSyscall = "none"

// CPUCounters are those of one CPU.
type CPUCounters struct {
	Made
	LostByCause [NumCauses]uint64
}

// Counters reads the counters. They lie in shared memory; only SkippedByHook costs a system call for each attached hook.
// Each is exact, but they are not read all at the same instant.
func (p *Probe) Counters() (Counters, error) {
	c := Counters{ByCPU: make([]CPUCounters, p.n)}
	var slots [numSlots]Made
	var filtered [numSlots]uint64
	buf := make([]byte, cpuEnd-cpuMade)
	for i := range c.ByCPU {
		if _, err := p.cpus.ReadAt(buf, int64(i)*p.cpuSize()+cpuMade); err != nil {
			return Counters{}, fmt.Errorf("read counters of CPU %d: %w", i, err)
		}
		u := &c.ByCPU[i]
		for slot := range filtered {
			filtered[slot] += binary.NativeEndian.Uint64(buf[cpuDrops-cpuMade+8*slot:])
		}
		for slot := range slots {
			m := readMade(buf[slot*madeSize:])
			slots[slot].add(m)
			u.add(m)
		}
		c.add(u.Made)
		if u.Lost == 0 {
			continue
		}
		for cause := range NumCauses {
			for t := range numTypes {
				n := binary.NativeEndian.Uint64(buf[cpuLost-cpuMade+8*(int(cause)*numTypes+t):])
				if n == 0 {
					continue
				}
				u.LostByCause[cause] += n
				if c.LostByType == nil {
					c.LostByType = map[event.Type][NumCauses]uint64{}
				}
				of := c.LostByType[event.Type(t)]
				of[cause] += n
				c.LostByType[event.Type(t)] = of
			}
			c.LostByCause[cause] += u.LostByCause[cause]
		}
	}
	c.Filtered = filteredByName(&filtered)
	c.BySyscall = map[string]Made{}
	for slot, m := range slots {
		if m == (Made{}) {
			continue
		}
		c.BySyscall[slotName(slot)] = m
	}
	return c, p.readSkipped(&c)
}

// slotName returns the name of the system call of a slot.
func slotName(slot int) string {
	if slot > 0 && slot <= len(event.Syscalls()) {
		return event.Syscalls()[slot-1].Name
	}
	return NoSyscall
}

// MadeBy returns what became of the events of one system call. Events of exec and of new processes count for the call
// that made them. ErrNoSyscall for a name that isn't known.
func (p *Probe) MadeBy(name string) (Made, error) {
	var sum Made
	for i, sc := range event.Syscalls() {
		if sc.Name != name {
			continue
		}
		var buf [madeSize]byte
		for cpu := range p.n {
			if _, err := p.cpus.ReadAt(buf[:], int64(cpu)*p.cpuSize()+cpuMade+int64(i+1)*madeSize); err != nil {
				return Made{}, fmt.Errorf("read counters of CPU %d: %w", cpu, err)
			}
			sum.add(readMade(buf[:]))
		}
		return sum, nil
	}
	return Made{}, fmt.Errorf("%w: %q", ErrNoSyscall, name)
}

// cpuSize is the bytes of one entry of the map cpus.
func (p *Probe) cpuSize() int64 {
	return int64(p.coll.Maps["cpus"].ValueSize()+7) &^ 7 // kernel/bpf/arraymap.c@v5.10: elem_size
}

func readMade(b []byte) Made {
	return Made{
		Sent: binary.NativeEndian.Uint64(b), Lost: binary.NativeEndian.Uint64(b[8:]),
		Missing: binary.NativeEndian.Uint64(b[16:]), Cut: binary.NativeEndian.Uint64(b[24:]),
	}
}

// readSkipped asks the kernel how often it left out each attached program. Kernels before 5.12 don't count that.
func (p *Probe) readSkipped(c *Counters) error {
	return p.eachAttached(func(name string, st *ebpf.ProgramStats) {
		if st.RecursionMisses > 0 {
			if c.SkippedByHook == nil {
				c.SkippedByHook = map[string]uint64{}
			}
			c.SkippedByHook[name] += st.RecursionMisses
		}
	})
}

// eachAttached hands the kernel's statistics of every attached program to fn, by the hook's name: a hook may have several. Kernels
// before 5.12 have none.
func (p *Probe) eachAttached(fn func(name string, st *ebpf.ProgramStats)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	one := func(name string, prog *ebpf.Program) error {
		st, err := prog.Stats()
		if errors.Is(err, ebpf.ErrNotSupported) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read statistics of %s: %w", name, err)
		}
		fn(name, st)
		return nil
	}
	for _, h := range p.hooks {
		if prog := p.coll.Programs[h.Name]; h.State == StateAttached && prog != nil {
			if err := one(h.Name, prog); err != nil {
				return err
			}
		}
	}
	if u := p.uring; u != nil && len(u.links) > 0 {
		for _, pl := range u.places {
			if prog := u.coll.Programs[pl.program]; prog != nil {
				if err := one(pl.program, prog); err != nil {
					return err
				}
			}
		}
	}
	for name, s := range p.security {
		for _, prog := range s.progs {
			if err := one(name, prog); err != nil {
				return err
			}
		}
	}
	for i, g := range p.getnames {
		if prog := p.coll.Programs[g.key]; prog != nil && (i == 0 || g.key != p.getnames[i-1].key) {
			if err := one(getnameHook, prog); err != nil {
				return err
			}
		}
	}
	if p.fexit == nil {
		return nil
	}
	for k := range p.fexit.links {
		if err := one(k.prog, p.fexit.loaded[k]); err != nil {
			return err
		}
	}
	return nil
}

// Run is what the kernel counted of a program while EnableStats was in force, by anybody.
type Run struct {
	Program string
	Runs    uint64
	Time    time.Duration
}

// EnableStats makes the kernel count and time the runs of BPF programs until the result is closed. It slows down every BPF
// program of the machine a little. Needs Linux 5.8 and CAP_SYS_ADMIN.
func EnableStats() (io.Closer, error) {
	c, err := ebpf.EnableStats(uint32(unix.BPF_STATS_RUN_TIME))
	if err != nil {
		return nil, fmt.Errorf("enable BPF statistics: %w", err)
	}
	return c, nil
}

// Runs returns the counts of the attached programs. The kernel doesn't count those that the dispatcher sys_exit hands over to:
// their time is in its own, and how often they ran is MadeBy.
func (p *Probe) Runs() ([]Run, error) {
	by := map[string]Run{}
	err := p.eachAttached(func(name string, st *ebpf.ProgramStats) {
		r := by[name]
		by[name] = Run{name, r.Runs + st.RunCount, r.Time + st.Runtime}
	})
	if err != nil {
		return nil, err
	}
	return slices.SortedFunc(maps.Values(by), func(a, b Run) int { return strings.Compare(a.Program, b.Program) }), nil
}

// isRealtime reports whether a task may be preempted while it runs a BPF program (CONFIG_PREEMPT_RT).
func isRealtime() bool {
	var uts unix.Utsname
	return unix.Uname(&uts) != nil || strings.Contains(unix.ByteSliceToString(uts.Version[:]), "PREEMPT_RT")
}
