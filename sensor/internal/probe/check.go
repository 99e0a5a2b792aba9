package probe

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

// Report says what this kernel and this process's rights allow, each thing found out by trying it.
type Report struct {
	Kernel string `json:"kernel"` // release and architecture
	OK     bool   `json:"ok"`     // the sensor can run: everything that is required works
	Items  []Item `json:"items"`
	Tier   string `json:"tier,omitempty"`   // TierBase or TierFexit: which serves system calls
	Reason string `json:"reason,omitempty"` // why it isn't another that was asked for
	Hooks  []Hook `json:"hooks,omitempty"`  // what serves which events; none when nothing could be loaded
}

// Item is one thing that was tried.
type Item struct {
	Name     string `json:"name"`
	OK       bool   `json:"ok"`
	Required bool   `json:"required"`         // the sensor can't do without
	Reason   string `json:"reason,omitempty"` // why not, or what it would be for
}

// String lists the report, one thing a line.
func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "kernel %s\n", r.Kernel)
	for _, it := range r.Items {
		verdict := "yes"
		switch {
		case !it.OK && it.Required:
			verdict = "NO"
		case !it.OK:
			verdict = "no"
		}
		fmt.Fprintf(&b, "%-4s %-26s %s\n", verdict, it.Name, it.Reason)
	}
	served := map[string]int{}
	for _, h := range r.Hooks {
		if h.State == StateRefused || h.State == StateSilent {
			fmt.Fprintf(&b, "off  %-26s %s (%s)\n", h.Name, h.Reason, strings.Join(h.Serves, ", "))
		} else if strings.HasPrefix(h.Name, prefix) {
			served[h.Tier] += len(h.Serves)
		} else if h.Name == uringHook {
			fmt.Fprintf(&b, "yes  %-26s operations that stand for %d system calls, at %s\n", h.Name, len(h.Serves), strings.Join(h.At, ", "))
		}
	}
	for _, h := range r.Hooks {
		if h.State == StateAttached && isSecurity(h.Name) {
			fmt.Fprintf(&b, "hook %-26s %s at %s\n", h.Name, h.Tier, strings.Join(h.At, ", "))
		}
	}
	for _, tier := range slices.Sorted(maps.Keys(served)) {
		fmt.Fprintf(&b, "tier %-26s serves %d system calls\n", tier, served[tier])
	}
	if r.Reason != "" {
		fmt.Fprintf(&b, "tier %-26s %s\n", "not fexit", r.Reason)
	}
	if r.OK {
		b.WriteString("the sensor can run here\n")
	} else {
		b.WriteString("the sensor can't run here\n")
	}
	return b.String()
}

// Check tries everything that the sensor uses or might use, and to load and attach what cfg says. It takes all of it away again.
func Check(cfg Config) Report {
	var uts unix.Utsname
	_ = unix.Uname(&uts)
	r := Report{Kernel: unix.ByteSliceToString(uts.Release[:]) + " " + unix.ByteSliceToString(uts.Machine[:])}
	add := func(name string, required bool, use string, err error) {
		it := Item{Name: name, OK: err == nil, Required: required, Reason: use}
		if err != nil {
			it.Reason = reasonOf(err)
		}
		r.Items = append(r.Items, it)
	}
	for _, c := range []struct {
		name string
		bit  uint
	}{{"CAP_BPF", unix.CAP_BPF}, {"CAP_PERFMON", unix.CAP_PERFMON}, {"CAP_SYS_ADMIN", unix.CAP_SYS_ADMIN}} {
		add(c.name, false, "", haveCap(c.bit))
	}
	_, err := os.Stat("/sys/kernel/btf/vmlinux")
	add("kernel types (BTF)", true, "/sys/kernel/btf/vmlinux", err)
	add("BPF JIT", false, "", haveJIT())
	for _, m := range []struct {
		name string
		spec ebpf.MapSpec
	}{
		{"ring buffer", ebpf.MapSpec{Type: ebpf.RingBuf, MaxEntries: uint32(os.Getpagesize())}},
		{"memory-mapped array", ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1, Flags: unix.BPF_F_MMAPABLE}},
		{"program array", ebpf.MapSpec{Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: 1}},
	} {
		mp, err := ebpf.NewMap(&m.spec)
		if err == nil {
			err = mp.Close()
		}
		add(m.name, true, "", err)
	}
	for _, h := range []struct {
		name, attachTo, use string
		typ                 ebpf.ProgramType
		at                  ebpf.AttachType
		required            bool
	}{
		{"tp_btf", "sys_exit", "system calls", ebpf.Tracing, ebpf.AttachTraceRawTp, true},
		{"iterator over tasks", "task", "the first snapshot; /proc instead", ebpf.Tracing, ebpf.AttachTraceIter, false},
		{"iterator over files", "task_file", "the first snapshot; /proc instead", ebpf.Tracing, ebpf.AttachTraceIter, false},
		{"fexit of security functions", "security_file_open", "their events; which file an open opened (probe.exact_paths)", ebpf.Tracing, ebpf.AttachTraceFExit, false},
		{"lsm", "file_open", "the same where fexit can't be had", ebpf.LSM, ebpf.AttachLSMMac, false},
	} {
		add(h.name, h.required, h.use, tryTracing(h.typ, h.at, h.attachTo))
	}
	add("fexit", false, "system calls at their own functions (probe.tier)", tryFexit(cfg.KernelTypes))
	add("kprobe", false, "the same, and the kernel's copies of paths, where neither can be had", tryKprobe("do_exit"))
	add("bpf_rdonly_cast", false, "kernel fields without a helper call, from 6.2", haveKfunc("bpf_rdonly_cast"))

	cfg.RingBytes = MinRingBytes
	p, err := Load(cfg)
	if err == nil {
		defer p.Close()
		if err = p.SetSyscalls(nil); err == nil {
			err = p.Attach()
		}
		if err == nil {
			err = p.SetEvents(func(event.Type) bool { return true })
		}
		if err == nil {
			add("attached programs run", false, "tried by calls of its own", p.checkSelf())
		}
		r.Tier, r.Reason = p.Tier()
		r.Hooks = p.Hooks()
	}
	add("the probe's programs", true, "", err)
	r.OK = true
	for _, it := range r.Items {
		r.OK = r.OK && (it.OK || !it.Required)
	}
	return r
}

// checkSelf is SelfCheck, with an error for hooks that are silent.
func (p *Probe) checkSelf() error {
	if err := p.SelfCheck(); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.silent) > 0 {
		return fmt.Errorf("silent: %s", strings.Join(p.silent, ", "))
	}
	return nil
}

var errNoCap = errors.New("this process doesn't have it")

func haveCap(bit uint) error {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&head, &data[0]); err != nil {
		return err
	}
	if data[bit/32].Effective&(1<<(bit%32)) == 0 {
		return errNoCap
	}
	return nil
}

func haveJIT() error {
	b, err := os.ReadFile("/proc/sys/net/core/bpf_jit_enable")
	switch {
	case err != nil:
		return err
	case strings.TrimSpace(string(b)) == "0":
		return errors.New("net.core.bpf_jit_enable is 0: programs are interpreted")
	}
	return nil
}

// haveKfunc looks for a function that programs may call in the kernel's types.
func haveKfunc(name string) error {
	spec, err := btf.LoadKernelSpec()
	if err != nil {
		return err
	}
	var fn *btf.Func
	return spec.TypeByName(name, &fn)
}

// tryTracing loads a program that does nothing, and attaches it.
func tryTracing(typ ebpf.ProgramType, at ebpf.AttachType, to string) error {
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: typ, AttachType: at, AttachTo: to, License: "Dual BSD/GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
	})
	if err != nil {
		return err
	}
	defer p.Close()
	var l link.Link
	switch at {
	case ebpf.AttachTraceIter:
		l, err = link.AttachIter(link.IterOptions{Program: p})
	case ebpf.AttachLSMMac:
		l, err = link.AttachLSM(link.LSMOptions{Program: p})
	default:
		l, err = link.AttachTracing(link.TracingOptions{Program: p})
	}
	if err != nil {
		return err
	}
	return l.Close()
}

// tryFexit attaches a program that does nothing to a system call's function.
func tryFexit(types *btf.Spec) error {
	if types == nil {
		var err error
		if types, err = btf.LoadKernelSpec(); err != nil {
			return err
		}
	}
	native, _ := arches()
	fns := entries(types, native, "getppid")
	if len(fns) == 0 {
		return errNoEntry
	}
	return tryTracing(ebpf.Tracing, ebpf.AttachTraceFExit, fns[0])
}

// tryKprobe attaches a program that does nothing to the begin of a function.
func tryKprobe(fn string) error {
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.Kprobe, License: "Dual BSD/GPL", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
	})
	if err != nil {
		return err
	}
	defer p.Close()
	l, err := link.Kprobe(fn, p, nil)
	if err != nil {
		return err
	}
	return l.Close()
}
