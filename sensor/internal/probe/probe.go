// Package probe loads the BPF programs that watch the kernel, attaches them, and says which of them work here and why not.
//
// Nothing is decided by a kernel's version: a program that the kernel refuses is left out and reported, and the rest runs.
// The records that the programs make are event.Record; who wants them reads the ring that Ring returns.
package probe

import (
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/bpf"
	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

// The sizes of the ring in bytes.
const (
	DefaultRingBytes = 8 << 20
	MinRingBytes     = 128 << 10 // twice the largest record
	MaxRingBytes     = 1 << 30
)

// DefaultSnapLen is how many bytes of what a program sends an event holds; MaxSnapLen is the most it can.
const (
	DefaultSnapLen = 80
	MaxSnapLen     = 4096
)

// Config says what to load. The zero value loads every program that shikra has, with a ring of DefaultRingBytes.
type Config struct {
	RingBytes      int       // rounded up to a power of two; 0 is DefaultRingBytes
	SnapLen        int       // bytes; 0 is DefaultSnapLen
	DynamicSnapLen bool      // more of the data of DNS, statsd, MySQL, PostgreSQL and MongoDB, told by their ports
	FullCapture    [2]uint16 // ports, from and to, whose data events hold up to MaxSnapLen bytes; 0 and 0 for none
	Syscalls       []string  // names of the system calls to load programs for; nil is all that have one of their own
	Part           []string  // of Syscalls, those of which only what changes fds makes events: see PartOf
	Generic        bool      // with Syscalls nil: those that have none of their own too, and unknown numbers (event.UnknownSyscall)
	TraceSelf      bool      // make events of the sensor's own process too, which otherwise are left out
	ExactPaths     bool      // keep the kernel's own copies of paths where that can be attached to: see Hooks, TierExact
	Tier           string    // TierBase, TierFexit or TierAuto; empty is TierBase

	hookTiers []string // those of security functions that are tried; nil is hookTiers
	ownOpens  bool     // ExactPaths without openedHook: a test writes what was opened

	// KernelTypes describes the kernel's types where it doesn't itself (/sys/kernel/btf/vmlinux); nil asks the kernel.
	KernelTypes *btf.Spec
}

// ErrNoSyscall is returned for the name of a system call that isn't known or has no program here.
var ErrNoSyscall = errors.New("no such system call")

// Probe is a set of loaded programs. Its methods may be called from several goroutines.
type Probe struct {
	cfg   Config
	coll  *ebpf.Collection
	cpus  *ebpf.Memory
	n     int            // entries of the map cpus
	slots map[string]int // loaded system calls by name

	whyBase  string    // why TierAuto came to be TierBase
	fexit    *fexit    // nil in TierBase; its state is guarded by mu
	getnames []getname // of ExactPaths
	opened   string    // the tier of openedHook; "" for none

	filterMu  sync.Mutex
	filtering bool      // guarded by filterMu: a set is in force
	filters   []byte    // guarded by filterMu: the set in force as the map has it
	filterOff time.Time // guarded by filterMu: when the last one was taken away

	mu    sync.Mutex
	links []link.Link // guarded by mu
	hooks []Hook      // guarded by mu
	calls []string    // system calls that are wanted; guarded by mu

	silent []string // hooks that SelfCheck or Verify found silent; guarded by mu

	uring *ioUring // nil until an operation of io_uring is wanted; guarded by mu

	varsMu sync.Mutex
	alike  *ebpf.Collection          // programs whose variables have the values of those of coll; guarded by varsMu
	told   map[*ebpf.Variable][]byte // what the programs were told, as Verify compares it; guarded by varsMu
	placed map[place]placed          // the programs that were put into maps; guarded by varsMu

	running    bool                 // since Attach; guarded by mu
	asked      map[string]bool      // programs of tracepoints that somebody asked for; guarded by mu
	optional   map[string]link.Link // those that are attached; guarded by mu
	frame      *ebpf.CollectionSpec // the object, while hooks are loaded; guarded by mu
	frameCache *btf.Cache           // guarded by mu
	tierErrs   map[string]error     // what tierServes found; guarded by mu
	security   map[string]*security // hooks of security functions that somebody asked for; guarded by mu
}

// What bpf/include/maps.h sets aside; a test compares them.
const (
	numSlots  = 512
	numNative = 512
	numTypes  = 1024
)

// prefix begins the names of the programs for system calls: x_openat.
const prefix = "x_"

// generic is the program of system calls that have none of their own: it makes GENERIC_X events.
const generic = prefix + "generic"

// shared names the program of system calls that have none of their own name.
var shared = map[string]string{
	"clone3": "clone", "fork": "clone", "vfork": "clone", "execveat": "execve",

	// What only 32-bit programs call by these names.
	"getuid32": "getuid", "geteuid32": "geteuid", "getgid32": "getgid", "getegid32": "getegid",
	"getresuid32": "getresuid", "getresgid32": "getresgid", "setuid32": "setuid", "setgid32": "setgid",
	"setreuid32": "setreuid", "setregid32": "setregid", "setresuid32": "setresuid", "setresgid32": "setresgid",
	"chown32": "chown", "lchown32": "lchown", "fchown32": "fchown", "ugetrlimit": "getrlimit", "futex_time64": "futex",
	"ppoll_time64": "ppoll", "recvmmsg_time64": "recvmmsg",
	"fcntl64": "fcntl",
}

// always are the hooks without which state can't be kept, and the dispatcher.
var always = []string{"sys_exit", "sched_exec", "sched_fork", "sched_exit"}

// serves names the events that a hook which isn't a system call's makes.
var serves = map[string][]string{
	"sys_exit":   {"every system call"},
	"sched_exec": {"execve", "execveat"},
	"sched_fork": {"clone", "clone3", "fork", "vfork"},
	"sched_exit": {"procexit"},

	"signal_deliver":  {"signaldeliver"},
	"sched_switch":    {"switch"},
	"page_fault_user": {"page_fault"},
	"page_fault_kern": {"page_fault"},

	getnameHook: {"paths of every system call"},
	uringHook:   uringServes(),
	openedHook:  {"files of open, openat, openat2, creat, open_by_handle_at"},
}

func newProbe(cfg Config) *Probe {
	return &Probe{cfg: cfg, slots: map[string]int{}, asked: map[string]bool{}, optional: map[string]link.Link{}, security: map[string]*security{},
		tierErrs: map[string]error{}, told: map[*ebpf.Variable][]byte{}, placed: map[place]placed{}}
}

// Load loads the programs. They run from Attach on. The result holds kernel memory until Close.
func Load(cfg Config) (*Probe, error) {
	ringBytes, err := ringSize(cfg.RingBytes)
	if err != nil {
		return nil, err
	}
	if cfg.SnapLen == 0 {
		cfg.SnapLen = DefaultSnapLen
	}
	if f := cfg.FullCapture; f[0] > f[1] {
		return nil, fmt.Errorf("ports %d to %d: the first is above the last", f[0], f[1])
	}
	if cfg.SnapLen < 0 || cfg.SnapLen > MaxSnapLen {
		return nil, fmt.Errorf("snap length %d: not within 1 and %d", cfg.SnapLen, MaxSnapLen)
	}
	if cfg.Tier, err = checkTier(cfg.Tier); err != nil {
		return nil, err
	}
	if cfg.Tier == TierBase {
		return loadTier(cfg, uint32(ringBytes), false)
	}
	p, err := loadTier(cfg, uint32(ringBytes), true)
	if cfg.Tier == TierFexit {
		return p, err
	}
	reason := reasonOf(err)
	if err == nil {
		missed := p.try()
		if len(missed) == 0 {
			return p, nil
		}
		reason = missedReason(missed)
		if err := p.Close(); err != nil {
			return nil, err
		}
	}
	if p, err = loadTier(cfg, uint32(ringBytes), false); p != nil {
		p.whyBase = reason
	}
	return p, err
}

// loadTier loads the programs of TierBase, or those of TierFexit that aren't a system call's.
func loadTier(cfg Config, ringBytes uint32, atFunctions bool) (*Probe, error) {
	spec, err := bpf.LoadProbe()
	if err != nil {
		return nil, fmt.Errorf("read the probe's object: %w", err)
	}
	p := newProbe(cfg)
	if p.n, err = ebpf.PossibleCPU(); err != nil {
		return nil, fmt.Errorf("count CPUs: %w", err)
	}
	spec.Maps["ring"].MaxEntries = ringBytes
	spec.Maps["cpus"].MaxEntries = uint32(p.n)
	all := maps.Clone(spec.Programs)
	programs, err := p.choose(spec)
	if err != nil {
		return nil, err
	}
	if err := setConstants(spec, ringBytes, &cfg, atFunctions); err != nil {
		return nil, err
	}
	if err := p.addGetname(spec, all); err != nil {
		return nil, err
	}
	if err := p.addOpened(spec, all); err != nil {
		return nil, err
	}
	if atFunctions {
		if p.fexit, err = newFexit(spec.Copy(), programs, cfg.KernelTypes); err != nil {
			return nil, err
		}
		maps.DeleteFunc(spec.Programs, func(name string, _ *ebpf.ProgramSpec) bool {
			return name == "sys_exit" || strings.HasPrefix(name, prefix)
		})
	}
	if p.coll, err = p.load(spec); err != nil {
		return nil, err
	}
	if p.fexit != nil {
		p.fexit.maps = p.coll.Maps
	}
	if err = p.fill(programs); err == nil {
		err = p.SetPayload(nil, nil)
	}
	if err != nil {
		p.coll.Close()
		return nil, err
	}
	return p, nil
}

// try attaches what all system calls of p need: nothing is wanted yet, so that they make no events. It returns why some can't be
// served.
func (p *Probe) try() map[string]error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fexit.serve(p.Syscalls())
}

// ringSize rounds n up to what the kernel takes.
func ringSize(n int) (int, error) {
	if n == 0 {
		n = DefaultRingBytes
	}
	if n < MinRingBytes || n > MaxRingBytes {
		return 0, fmt.Errorf("ring of %d bytes: not within %d and %d", n, MinRingBytes, MaxRingBytes)
	}
	return 1 << bits.Len(uint(n-1)), nil
}

// program returns the name of the program of a system call.
func program(name string) string {
	if s, ok := shared[name]; ok {
		name = s
	}
	return prefix + name
}

// choose drops the programs that nobody asked for from spec, and returns the program of each system call by name.
func (p *Probe) choose(spec *ebpf.CollectionSpec) (map[string]string, error) {
	byName := map[string]string{}
	known := map[string]bool{}
	for i := range event.Syscalls() {
		sc := &event.Syscalls()[i]
		known[sc.Name] = true
		if !here(sc) && sc.Name != event.UnknownSyscall {
			continue
		}
		if name := program(sc.Name); spec.Programs[name] != nil {
			byName[sc.Name] = name
		} else if p.cfg.Generic || p.cfg.Syscalls != nil {
			byName[sc.Name] = generic
		}
	}
	if p.cfg.Syscalls != nil {
		chosen := map[string]string{}
		for _, name := range p.cfg.Syscalls {
			if !known[name] {
				return nil, fmt.Errorf("%w: %q", ErrNoSyscall, name)
			}
			if prog, ok := byName[name]; ok {
				chosen[name] = prog
			}
		}
		byName = chosen
	}
	keep := map[string]bool{"self": true}
	for _, name := range always {
		keep[name] = true
	}
	for _, prog := range byName {
		keep[prog] = true
	}
	maps.DeleteFunc(spec.Programs, func(name string, _ *ebpf.ProgramSpec) bool { return !keep[name] })
	return byName, nil
}

// arches returns the columns of event.Syscall.NR for this machine: its own, and that of 32-bit programs, -1 for none.
func arches() (native, compat int) {
	switch runtime.GOARCH {
	case "arm64":
		return int(event.ArchARM64), int(event.ArchARM)
	case "arm":
		return int(event.ArchARM), -1
	case "riscv64":
		return int(event.ArchRISCV64), -1
	}
	return int(event.ArchAMD64), int(event.ArchIA32)
}

// here reports whether this machine has the system call, if only through another one.
func here(sc *event.Syscall) bool {
	native, compat := arches()
	if sc.NR[native] >= 0 || compat >= 0 && sc.NR[compat] >= 0 {
		return true
	}
	return compat == int(event.ArchIA32) && (slices.Contains(multiplexers[0].subs[:], sc.Name) || slices.Contains(multiplexers[1].subs[:], sc.Name))
}

// multiplexer is a system call of ia32 that stands for many others, told apart by its first argument.
type multiplexer struct {
	name string
	nr   int16
	subs [32]string // "" for none
}

// multiplexers are those there are, in the order of CALL_ in bpf/include/read_call.h: the numbers of their calls are those
// of include/uapi/linux/net.h and ipc.h.
var multiplexers = [2]multiplexer{
	{"socketcall", 102, [32]string{
		1: "socket", 2: "bind", 3: "connect", 4: "listen", 5: "accept", 6: "getsockname", 7: "getpeername", 8: "socketpair", 9: "send",
		10: "recv", 11: "sendto", 12: "recvfrom", 13: "shutdown", 14: "setsockopt", 15: "getsockopt", 16: "sendmsg", 17: "recvmsg",
		18: "accept4", 19: "recvmmsg", 20: "sendmmsg",
	}},
	{"ipc", 117, [32]string{
		1: "semop", 2: "semget", 3: "semctl", 4: "semtimedop", 11: "msgsnd", 12: "msgrcv", 13: "msgget", 14: "msgctl", 21: "shmat",
		22: "shmdt", 23: "shmget", 24: "shmctl",
	}},
}

const (
	noNR        = 0xFFFFFFFF
	unknownSlot = 1 // of event.UnknownSyscall, the table's first
	sigreturn   = "rt_sigreturn"
)

// setConstants fills in what the programs read and never changes once they are loaded.
func setConstants(spec *ebpf.CollectionSpec, ringBytes uint32, cfg *Config, atFunctions bool) error {
	var slotOf [2][numNative]uint16
	for abi := range slotOf {
		for nr := range slotOf[abi] {
			slotOf[abi][nr] = unknownSlot
		}
	}
	var codeOf [numSlots]uint16
	var subSlot [2][32]uint16
	sigreturnNR := [2]uint32{noNR, noNR}
	cloneNR := [2][4]uint32{{noNR, noNR, noNR, noNR}, {noNR, noNR, noNR, noNR}}
	execveatNR := [2]uint32{noNR, noNR}
	var execSlot [2]uint16
	native, compat := arches()
	for i, sc := range event.Syscalls() {
		slot := i + 1
		if slot >= numSlots {
			return fmt.Errorf("%d system calls: more than %d slots", len(event.Syscalls()), numSlots-1)
		}
		codeOf[slot] = uint16(sc.Code)
		switch sc.Name {
		case "execve":
			execSlot[0] = uint16(slot)
		case "execveat":
			execSlot[1] = uint16(slot)
		}
		for m := range multiplexers {
			for n, sub := range multiplexers[m].subs {
				if sub == sc.Name || sub == "" && multiplexers[m].name == sc.Name {
					subSlot[m][n] = uint16(slot)
				}
			}
		}
		for abi, arch := range []int{native, compat} {
			if arch < 0 || sc.NR[arch] < 0 || sc.NR[arch] >= numNative {
				continue
			}
			nr := sc.NR[arch]
			slotOf[abi][nr] = uint16(slot)
			switch sc.Name {
			case "clone":
				cloneNR[abi][0] = uint32(nr)
			case "fork":
				cloneNR[abi][1] = uint32(nr)
			case "vfork":
				cloneNR[abi][2] = uint32(nr)
			case "clone3":
				cloneNR[abi][3] = uint32(nr)
			case "execveat":
				execveatNR[abi] = uint32(nr)
			case sigreturn:
				sigreturnNR[abi] = uint32(nr)
			}
		}
	}
	var realtime, dynamic, fexit uint32
	if cfg.DynamicSnapLen {
		dynamic = 1
	}
	if isRealtime() {
		realtime = 1
	}
	if atFunctions {
		// Such programs may be preempted wherever the kernel may (__bpf_prog_enter, kernel/bpf/trampoline.c).
		realtime, fexit = 1, 1
	}
	for name, v := range map[string]any{
		"exec_slot": execSlot, "realtime": realtime, "fexit": fexit,
		"slot_of": slotOf, "code_of": codeOf, "sub_slot": subSlot, "sigreturn_nr": sigreturnNR, "clone_nr": cloneNR, "execveat_nr": execveatNR, "ring_bytes": ringBytes, "snaplen": uint32(cfg.SnapLen), "fullcapture": cfg.FullCapture, "dynamic_snaplen": dynamic,
		"page_kb_shift": uint32(bits.Len(uint(os.Getpagesize()>>10)) - 1),
	} {
		c, ok := spec.Variables[name]
		if !ok {
			continue // no program left reads it
		}
		if err := c.Set(v); err != nil {
			return fmt.Errorf("set the probe's constant %s: %w", name, err)
		}
	}
	return nil
}

// load loads all of spec at once; when that fails, the maps and then each program by itself, leaving out those refused.
func (p *Probe) load(spec *ebpf.CollectionSpec) (*ebpf.Collection, error) {
	opts := ebpf.CollectionOptions{Programs: ebpf.ProgramOptions{KernelTypes: p.cfg.KernelTypes}}
	coll, refused, err := loadEach(spec, opts)
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(spec.Programs)) {
		if err := refused[name]; err != nil {
			p.note(name, StateRefused, err)
		} else {
			p.note(name, StateLoaded, nil)
		}
	}
	if spec.Programs["sys_exit"] != nil && coll.Programs["sys_exit"] == nil {
		coll.Close()
		return nil, fmt.Errorf("load the probe: %s", p.reason("sys_exit"))
	}
	return coll, nil
}

// loadEach loads all of spec at once; when that fails, the maps and then each program by itself. It returns what it loaded, and why
// the kernel refused the rest.
func loadEach(spec *ebpf.CollectionSpec, opts ebpf.CollectionOptions) (*ebpf.Collection, map[string]error, error) {
	coll, err := ebpf.NewCollectionWithOptions(spec, opts)
	if errors.Is(err, unix.EPERM) {
		raiseMemlock()
		coll, err = ebpf.NewCollectionWithOptions(spec, opts)
	}
	if err == nil {
		return coll, nil, nil
	}
	only := spec.Copy()
	only.Programs = map[string]*ebpf.ProgramSpec{}
	if coll, err = ebpf.NewCollectionWithOptions(only, opts); err != nil {
		return nil, nil, fmt.Errorf("create the probe's maps: %w", err)
	}
	opts.MapReplacements = coll.Maps
	refused := map[string]error{}
	for _, name := range slices.Sorted(maps.Keys(spec.Programs)) {
		prog, err := loadAlone(only, name, spec.Programs[name], opts)
		if err != nil {
			refused[name] = err
			continue
		}
		coll.Programs[name] = prog
	}
	return coll, refused, nil
}

// raiseMemlock lifts the limit of locked memory, which BPF maps count against before 5.11. Needs CAP_SYS_RESOURCE, there only.
func raiseMemlock() {
	_ = unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY})
}

// fill puts the programs where the dispatcher finds them, maps the counters, and says which process is the sensor's.
func (p *Probe) fill(programs map[string]string) error {
	for i, sc := range event.Syscalls() {
		if _, ok := programs[sc.Name]; ok && p.fexit != nil {
			p.slots[sc.Name] = i + 1
			continue
		}
		prog := p.coll.Programs[programs[sc.Name]]
		if prog == nil {
			continue
		}
		if err := p.put(p.coll.Maps["calls"], uint32(i+1), prog, sc.Name); err != nil {
			return fmt.Errorf("place program of %s: %w", sc.Name, err)
		}
		p.slots[sc.Name] = i + 1
	}
	var err error
	if p.cpus, err = p.coll.Maps["cpus"].Memory(); err != nil {
		return fmt.Errorf("map the probe's counters: %w", err)
	}
	if self := p.coll.Programs["self"]; self != nil {
		if _, err = self.Run(&ebpf.RunOptions{}); err == nil && !p.cfg.TraceSelf {
			p.varsMu.Lock()
			defer p.varsMu.Unlock()
			for _, name := range []string{"self_tgid", "self_mnt_ns"} {
				if err := p.remember(p.coll.Variables[name]); err != nil {
					return err
				}
			}
			return nil
		}
	}
	if p.cfg.TraceSelf {
		return p.set("self_tgid", uint32(0))
	}
	// The kernel can't run it: this is the right number but in a pid namespace of the sensor's own.
	return p.set("self_tgid", uint32(os.Getpid()))
}

// marksOff is the only variable that both the loader and the programs write.
const marksOff = "marks_off"

func (p *Probe) set(name string, v any) error {
	c, ok := p.coll.Variables[name]
	if !ok {
		return fmt.Errorf("the probe has no variable %s", name)
	}
	p.varsMu.Lock()
	defer p.varsMu.Unlock()
	if err := c.Set(v); err != nil {
		return fmt.Errorf("set the probe's variable %s: %w", name, err)
	}
	if name == marksOff {
		return nil
	}
	if err := p.remember(c); err != nil {
		return err
	}
	if p.alike != nil && p.alike.Variables[name] != nil {
		if err := p.alike.Variables[name].Set(v); err != nil {
			return fmt.Errorf("set the probe's variable %s for io_uring: %w", name, err)
		}
		return p.remember(p.alike.Variables[name])
	}
	return nil
}

// Ring returns the map of the ring buffer that the records come in. It belongs to p.
func (p *Probe) Ring() *ebpf.Map { return p.coll.Maps["ring"] }

// Object is a BPF object that belongs to the probe.
type Object struct {
	Kind uint8 // of the event parameter bpf_objects: 1 a map, 2 a program, 3 a link
	ID   uint32
}

// Objects returns the maps, programs and links of the probe, those of links from Attach on. Kernels before 5.8 give links
// no ids, and they are left out.
func (p *Probe) Objects() ([]Object, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []Object
	all, programs, links := maps.Clone(p.coll.Maps), maps.Clone(p.coll.Programs), append(slices.Collect(maps.Values(p.optional)), p.links...)
	if u := p.uring; u != nil && u.coll != nil {
		for name, m := range u.coll.Maps {
			all["io_uring "+name] = m // some are the probe's own
		}
		maps.Copy(programs, u.coll.Programs)
		links = append(links, u.links...)
	}
	for name, m := range all {
		info, err := m.Info()
		if err != nil {
			return nil, fmt.Errorf("ask for map %s: %w", name, err)
		}
		if id, ok := info.ID(); ok {
			if o := (Object{1, uint32(id)}); !slices.Contains(out, o) {
				out = append(out, o)
			}
		}
	}
	progs := slices.Collect(maps.Values(programs))
	for _, s := range p.security {
		links = append(links, s.links...)
		progs = append(progs, s.progs...)
	}
	for _, prog := range progs {
		info, err := prog.Info()
		if err != nil {
			return nil, fmt.Errorf("ask for program %s: %w", prog, err)
		}
		if id, ok := info.ID(); ok {
			out = append(out, Object{2, uint32(id)})
		}
	}
	for _, l := range links {
		info, err := l.Info()
		if errors.Is(err, ebpf.ErrNotSupported) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("ask for a link: %w", err)
		}
		out = append(out, Object{3, uint32(info.ID)})
	}
	return out, nil
}

// PID returns the sensor's process id in the first pid namespace; with Config.TraceSelf, when the programs aren't told, the
// one in its own.
func (p *Probe) PID() int64 {
	var tgid uint32
	if v, ok := p.coll.Variables["self_tgid"]; !ok || v.Get(&tgid) != nil || tgid == 0 {
		return int64(os.Getpid())
	}
	return int64(tgid)
}

// SetSyscalls says which system calls make events from now on; nil is all that have a loaded program. Exec, fork and
// exit of processes always make theirs, as state depends on them. ErrNoSyscall for a name that has none: nothing changes.
func (p *Probe) SetSyscalls(names []string) error {
	if names == nil {
		names = slices.Collect(maps.Keys(p.slots))
	}
	var w wants
	for _, name := range names {
		if name == "procexit" {
			continue // no system call, and always on
		}
		slot, ok := p.slots[name]
		if !ok {
			return fmt.Errorf("%w: %q", ErrNoSyscall, name)
		}
		w.add(&event.Syscalls()[slot-1])
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = slices.Clone(names)
	if err := p.setUring(names); err != nil {
		return err
	}
	if p.fexit == nil {
		if err := p.apply(&w); err != nil {
			return err
		}
		return p.restUring()
	}
	p.fexit.wanted = slices.Clone(names)
	if len(p.links) == 0 {
		p.fexit.told = w // at Attach: programs may be attached by now, on trial
		return nil
	}
	// Calls that stay wanted are seen all the time; others only once their programs are attached, and no longer when they are
	// about to be detached.
	both := p.fexit.told.and(&w)
	if err := p.apply(&both); err != nil {
		return err
	}
	p.fexit.serve(names) // what can't be served, Hooks reports
	p.fexit.told = w
	if err := p.apply(&w); err != nil {
		return err
	}
	return p.restUring()
}

// apply tells the programs which system calls are wanted.
func (p *Probe) apply(w *wants) error {
	if err := p.set("wanted_sub", w.sub); err != nil {
		return err
	}
	if err := p.set("wanted_beyond", w.beyond); err != nil {
		return err
	}
	part := uint32(0)
	for _, name := range p.cfg.Part {
		part |= PartOf(name)
	}
	if err := p.set("in_part", part); err != nil {
		return err
	}
	return p.set("wanted", w.numbers)
}

// Syscalls returns the names of the system calls that have a loaded program, sorted.
func (p *Probe) Syscalls() []string { return slices.Sorted(maps.Keys(p.slots)) }

// Attach attaches the hooks. Those that can't be are reported by Hooks; an error means that nothing would be seen.
func (p *Probe) Attach() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.links) > 0 {
		return nil
	}
	p.attachGetname()
	p.attachOpened()
	// The dispatcher comes last: a process that is seen to open a file has been seen to start.
	for _, name := range []string{"sched_fork", "sched_exec", "sched_exit", "sys_exit"} {
		prog := p.coll.Programs[name]
		if prog == nil {
			continue
		}
		l, err := link.AttachTracing(link.TracingOptions{Program: prog})
		if err != nil {
			p.note(name, StateRefused, err)
			continue
		}
		p.note(name, StateAttached, nil)
		p.links = append(p.links, l)
	}
	p.running = true
	p.attachUring()
	if err := p.attachAsked(); err != nil {
		return err
	}
	if p.fexit != nil {
		if missed := p.fexit.serve(p.fexit.wanted); len(missed) > 0 && len(missed) == len(p.fexit.wanted) {
			return fmt.Errorf("attach to system calls: %s", missedReason(missed))
		}
		return p.apply(&p.fexit.told)
	}
	for _, h := range p.hooks {
		if h.Name == "sys_exit" && h.State != StateAttached {
			return fmt.Errorf("attach %s: %s", h.Name, h.Reason)
		}
	}
	return nil
}

// Close detaches and unloads everything. The ring must not be read any more.
func (p *Probe) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, l := range p.links {
		errs = append(errs, l.Close())
	}
	for _, l := range p.optional {
		errs = append(errs, l.Close())
	}
	for _, s := range p.security {
		errs = append(errs, s.close())
	}
	clear(p.optional)
	clear(p.security)
	p.links = nil
	errs = append(errs, p.closeUring())
	if p.fexit != nil {
		errs = append(errs, p.fexit.close())
	}
	p.coll.Close()
	return errors.Join(errs...)
}
