package probe

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"

	"github.com/shikra-sensor/shikra/bpf"
	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

// uringHook is the hook that makes events of what is done through io_uring: several programs at three or four tracepoints.
const uringHook = "io_uring"

// uringPrefix begins the names of the programs that make them: u_openat.
const uringPrefix = "u_"

// What bpf/include/uring.h sets aside.
const uringKinds = 256

// operation is what a program can ask of an io_uring, and the system calls that it stands for.
type operation struct {
	code  int       // IORING_OP_ (include/uapi/linux/io_uring.h)
	name  string    // the rest of the constant
	calls [2]string // the second, if any, where uring__args in bpf/programs/uring.bpf.c says so
}

// uringOperations are those that stand for a system call. Others (POLL_ADD, TIMEOUT …) only concern the ring itself.
var uringOperations = [...]operation{
	{1, "READV", [2]string{"readv", "preadv"}}, // the second with an offset of its own
	{2, "WRITEV", [2]string{"writev", "pwritev"}},
	{3, "FSYNC", [2]string{"fsync", "fdatasync"}},
	{4, "READ_FIXED", [2]string{"read", "pread64"}},
	{5, "WRITE_FIXED", [2]string{"write", "pwrite64"}},
	{8, "SYNC_FILE_RANGE", [2]string{"sync_file_range"}},
	{9, "SENDMSG", [2]string{"sendmsg"}},
	{10, "RECVMSG", [2]string{"recvmsg"}},
	{13, "ACCEPT", [2]string{"accept4"}},
	{16, "CONNECT", [2]string{"connect"}},
	{17, "FALLOCATE", [2]string{"fallocate"}},
	{18, "OPENAT", [2]string{"openat"}},
	{19, "CLOSE", [2]string{"close"}},
	{21, "STATX", [2]string{"statx"}},
	{22, "READ", [2]string{"read", "pread64"}},
	{23, "WRITE", [2]string{"write", "pwrite64"}},
	{24, "FADVISE", [2]string{"fadvise64"}},
	{25, "MADVISE", [2]string{"madvise"}},
	{26, "SEND", [2]string{"sendto"}},
	{27, "RECV", [2]string{"recvfrom"}},
	{28, "OPENAT2", [2]string{"openat2"}},
	{29, "EPOLL_CTL", [2]string{"epoll_ctl"}},
	{30, "SPLICE", [2]string{"splice"}},
	{33, "TEE", [2]string{"tee"}},
	{34, "SHUTDOWN", [2]string{"shutdown"}},
	{35, "RENAMEAT", [2]string{"renameat2"}},
	{36, "UNLINKAT", [2]string{"unlinkat"}},
	{37, "MKDIRAT", [2]string{"mkdirat"}},
	{38, "SYMLINKAT", [2]string{"symlinkat"}},
	{39, "LINKAT", [2]string{"linkat"}},
	{41, "FSETXATTR", [2]string{"fsetxattr"}},
	{42, "SETXATTR", [2]string{"setxattr"}},
	{43, "FGETXATTR", [2]string{"fgetxattr"}},
	{44, "GETXATTR", [2]string{"getxattr"}},
	{45, "SOCKET", [2]string{"socket"}},
	{47, "SEND_ZC", [2]string{"sendto"}},
	{48, "SENDMSG_ZC", [2]string{"sendmsg"}},
	{49, "READ_MULTISHOT", [2]string{"read"}},
	{50, "WAITID", [2]string{"waitid"}},
	{51, "FUTEX_WAIT", [2]string{"futex_wait"}},
	{52, "FUTEX_WAKE", [2]string{"futex_wake"}},
	{53, "FUTEX_WAITV", [2]string{"futex_waitv"}},
	{54, "FIXED_FD_INSTALL", [2]string{"dup"}}, // an fd of a registered file: what comes nearest
	{55, "FTRUNCATE", [2]string{"ftruncate"}},
	{56, "BIND", [2]string{"bind"}},
	{57, "LISTEN", [2]string{"listen"}},
	{58, "RECV_ZC", [2]string{"recvfrom"}},
	{59, "EPOLL_WAIT", [2]string{"epoll_wait"}},
	{60, "READV_FIXED", [2]string{"readv", "preadv"}},
	{61, "WRITEV_FIXED", [2]string{"writev", "pwritev"}},
	{62, "PIPE", [2]string{"pipe2"}},
}

// ioUring is what makes events of operations. Probe's mu guards it.
type ioUring struct {
	coll    *ebpf.Collection // the programs that are loaded, and the maps that only they have
	places  []uringPlace
	links   []link.Link
	refused map[string]error // by program
	err     error            // why there can't be any: nothing is tried again
	idle    bool             // nothing is wanted of it
}

// uringPlace is one tracepoint and the program at it.
type uringPlace struct{ tracepoint, program string }

// uringPlaced are the programs that are attached to a tracepoint where the kernel has it; the others make the events of calls.
var uringPlaced = []string{"uring_submit", "uring_complete", "uring_failed", "uring_overflow"}

// uringCall has the form of struct uring_call in bpf/include/uring.h.
type uringCall struct {
	Slot, Type uint16
	NR         [2]uint16
}

// setUring makes events of the operations that stand for the system calls names, and of no others. What the kernel refuses, Hooks
// reports. The caller holds mu.
func (p *Probe) setUring(names []string) error {
	var wanted [uringKinds]uringCall
	programs := map[string]bool{}
	for _, op := range uringOperations {
		for i, name := range op.calls {
			if slot, ok := p.slots[name]; ok && slices.Contains(names, name) {
				wanted[2*op.code+i] = uringCallOf(slot)
				programs[p.uringProgram(name)] = true
			}
		}
	}
	if len(programs) == 0 {
		if p.uring != nil && p.uring.coll != nil {
			if err := p.wantUring(wanted); err != nil {
				return err
			}
			p.uring.idle = true
		}
		return nil
	}
	if p.uring == nil {
		p.uring = &ioUring{refused: map[string]error{}}
	}
	u := p.uring
	u.idle = false
	if u.err != nil {
		return nil
	}
	if err := p.loadUring(programs); err != nil {
		u.err = err
		p.noteUring()
		return nil
	}
	for _, op := range uringOperations {
		for i, name := range op.calls {
			prog := u.coll.Programs[p.uringProgram(name)]
			if prog == nil || wanted[2*op.code+i].Slot == 0 {
				wanted[2*op.code+i] = uringCall{}
				continue
			}
			if err := p.put(u.coll.Maps["uring_calls"], uint32(2*op.code+i), prog, op.name); err != nil {
				return fmt.Errorf("place program of %s: %w", op.name, err)
			}
		}
	}
	if err := p.wantUring(wanted); err != nil {
		return err
	}
	p.attachUring()
	return nil
}

// wantUring tells the programs of which operations events are wanted. The caller holds mu.
func (p *Probe) wantUring(wanted [uringKinds]uringCall) error {
	p.varsMu.Lock()
	defer p.varsMu.Unlock()
	v := p.uring.coll.Variables["uring_wanted"]
	if err := v.Set(wanted); err != nil {
		return fmt.Errorf("set the probe's variable uring_wanted: %w", err)
	}
	return p.remember(v)
}

func uringCallOf(slot int) uringCall {
	sc := &event.Syscalls()[slot-1]
	native, compat := arches()
	c := uringCall{Slot: uint16(slot), Type: uint16(sc.Exit), NR: [2]uint16{^uint16(0), ^uint16(0)}}
	if sc.NR[native] >= 0 {
		c.NR[0] = uint16(sc.NR[native])
	}
	if compat >= 0 && sc.NR[compat] >= 0 {
		c.NR[1] = uint16(sc.NR[compat])
	}
	return c
}

// uringProgram returns the program that makes the events of a system call when an operation stands for it.
func (p *Probe) uringProgram(call string) string {
	for i := range event.Syscalls() {
		if sc := &event.Syscalls()[i]; sc.Name == call && sc.Exit != event.GenericX {
			return uringPrefix + call
		}
	}
	return uringPrefix + "generic"
}

// loadUring loads those of the programs that aren't, and at first what is at the tracepoints. The error says that nothing can be.
func (p *Probe) loadUring(programs map[string]bool) error {
	u := p.uring
	spec, err := bpf.LoadUring()
	if err != nil {
		return fmt.Errorf("read the object for io_uring: %w", err)
	}
	replace := maps.Clone(p.coll.Maps)
	maps.DeleteFunc(replace, func(name string, _ *ebpf.Map) bool { return strings.HasPrefix(name, ".") || spec.Maps[name] == nil })
	if u.coll == nil {
		if err := u.place(spec, p.cfg.KernelTypes); err != nil {
			return err
		}
	} else {
		maps.Copy(replace, u.coll.Maps)
	}
	maps.DeleteFunc(spec.Programs, func(name string, _ *ebpf.ProgramSpec) bool {
		if u.coll != nil && u.coll.Programs[name] != nil || u.refused[name] != nil {
			return true
		}
		return !programs[name] && !slices.ContainsFunc(u.places, func(pl uringPlace) bool { return pl.program == name })
	})
	if len(spec.Programs) == 0 {
		return nil
	}
	for name, m := range spec.Maps {
		if have := replace[name]; have != nil {
			m.MaxEntries = have.MaxEntries()
		}
	}
	if err := setConstants(spec, p.coll.Maps["ring"].MaxEntries(), &p.cfg, p.fexit != nil); err != nil {
		return err
	}
	opts := ebpf.CollectionOptions{Programs: ebpf.ProgramOptions{KernelTypes: p.cfg.KernelTypes}, MapReplacements: replace}
	coll, refused, err := loadEach(spec, opts)
	if err != nil {
		return err
	}
	maps.Copy(u.refused, refused)
	for name, err := range refused {
		p.note(name, StateRefused, err)
	}
	if u.coll == nil {
		for _, pl := range u.places {
			if err := refused[pl.program]; err != nil && pl.program != "uring_failed" && pl.program != "uring_overflow" {
				coll.Close()
				return fmt.Errorf("%s: %s", pl.program, reasonOf(err))
			}
		}
		return p.shareVariables(coll)
	}
	for name, prog := range coll.Programs {
		u.coll.Programs[name] = prog
		delete(coll.Programs, name)
	}
	coll.Close()
	return nil
}

// shareVariables gives the programs of coll the values of the variables that the probe's have too, and from then on what is set.
func (p *Probe) shareVariables(coll *ebpf.Collection) error {
	p.varsMu.Lock()
	defer p.varsMu.Unlock()
	for name, v := range coll.Variables {
		have := p.coll.Variables[name]
		if have == nil || v.ReadOnly() {
			continue
		}
		b := make([]byte, have.Size())
		if err := have.Get(b); err != nil {
			return fmt.Errorf("read the probe's variable %s: %w", name, err)
		}
		if err := v.Set(b); err != nil {
			return fmt.Errorf("set the probe's variable %s: %w", name, err)
		}
		if p.told[have] != nil {
			p.told[v] = b
		}
	}
	p.uring.coll = coll
	p.alike = coll
	return nil
}

// place finds out what the tracepoints of io_uring are called here and what they hand over, and tells the programs.
func (u *ioUring) place(spec *ebpf.CollectionSpec, types *btf.Spec) error {
	if types == nil {
		var err error
		if types, err = btf.LoadKernelSpec(); err != nil {
			return fmt.Errorf("read the kernel's types: %w", err)
		}
	}
	u.places = nil
	for _, f := range []struct {
		program, form string
		tracepoints   []string
		forms         []string // what they hand over, of which the first is form 1
		optional      bool
	}{
		// The kernels are those of include/trace/events/io_uring.h.
		{"uring_submit", "uring_submit_form", []string{"io_uring_submit_req", "io_uring_submit_sqe"}, []string{"p", "pp"}, false},
		{"uring_complete", "uring_complete_form", []string{"io_uring_complete"}, []string{"pii*", "ppiii*", "ppp"}, false},
		{"uring_failed", "uring_failed_form", []string{"io_uring_req_failed"}, []string{"ppi", "pppi"}, true},
		{"uring_overflow", "", []string{"io_uring_cqe_overflow"}, []string{"piii*"}, true},
	} {
		found := false
		var has []string
		for _, tp := range f.tracepoints {
			args, err := traceArgs(types, tp)
			if err != nil {
				continue
			}
			has = append(has, tp+"("+args+")")
			for i, form := range f.forms {
				if !matchesArgs(args, form) {
					continue
				}
				if f.form != "" {
					if err := spec.Variables[f.form].Set(uint32(i + 1)); err != nil {
						return fmt.Errorf("set the probe's constant %s: %w", f.form, err)
					}
				}
				u.places = append(u.places, uringPlace{tp, f.program})
				found = true
				break
			}
			if found {
				break
			}
		}
		if !found && !f.optional {
			if len(has) > 0 {
				return fmt.Errorf("the kernel's tracepoints hand over something else than any known: %s", strings.Join(has, ", "))
			}
			return errNoUring
		}
	}
	return nil
}

var errNoUring = errors.New("the kernel has no io_uring, or no tracepoints of it")

// traceArgs says what a tracepoint hands over, a letter each: p a pointer, i a number.
func traceArgs(types *btf.Spec, tracepoint string) (string, error) {
	var td *btf.Typedef
	if err := types.TypeByName("btf_trace_"+tracepoint, &td); err != nil {
		return "", err
	}
	ptr, ok := td.Type.(*btf.Pointer)
	if !ok {
		return "", fmt.Errorf("btf_trace_%s is no pointer", tracepoint)
	}
	proto, ok := ptr.Target.(*btf.FuncProto)
	if !ok || len(proto.Params) == 0 {
		return "", fmt.Errorf("btf_trace_%s points to no function", tracepoint)
	}
	var b strings.Builder
	for _, p := range proto.Params[1:] { // the first is the tracepoint's own
		if _, ok := btf.UnderlyingType(p.Type).(*btf.Pointer); ok {
			b.WriteByte('p')
		} else {
			b.WriteByte('i')
		}
	}
	return b.String(), nil
}

// matchesArgs reports whether what a tracepoint hands over is of that form: "pp" and "…*" may be followed by more.
func matchesArgs(args, form string) bool {
	if form == "pp" {
		return strings.HasPrefix(args, form)
	}
	if begin, ok := strings.CutSuffix(form, "*"); ok {
		return strings.HasPrefix(args, begin)
	}
	if form == "p" { // io_uring_submit_sqe of 6.1 has one more
		return args == "p" || args == "pi"
	}
	return args == form
}

// attachUring attaches what is at the tracepoints, when the probe runs. The caller holds mu.
func (p *Probe) attachUring() {
	u := p.uring
	if u == nil || u.coll == nil || !p.running || len(u.links) > 0 {
		p.noteUring()
		return
	}
	for _, pl := range slices.Backward(u.places) { // what begins is looked at last
		prog := u.coll.Programs[pl.program]
		if prog == nil {
			continue
		}
		l, err := link.AttachRawTracepoint(link.RawTracepointOptions{Name: pl.tracepoint, Program: prog})
		if err != nil {
			u.refused[pl.program] = fmt.Errorf("attach to %s: %w", pl.tracepoint, err)
			continue
		}
		u.links = append(u.links, l)
	}
	p.noteUring()
}

// restUring detaches it when nothing is wanted of it. The caller holds mu.
func (p *Probe) restUring() error {
	if p.uring == nil || !p.uring.idle {
		return nil
	}
	return p.detachUring()
}

// detachUring detaches it. The caller holds mu.
func (p *Probe) detachUring() error {
	if p.uring == nil {
		return nil
	}
	var errs []error
	for _, l := range p.uring.links {
		errs = append(errs, l.Close())
	}
	if len(p.uring.links) > 0 { // what is under way ends unseen
		for _, name := range []string{"uring_ops", "uring_by_name"} {
			errs = append(errs, emptyMap(p.uring.coll.Maps[name]))
		}
	}
	p.uring.links = nil
	p.noteUring()
	return errors.Join(errs...)
}

// emptyMap deletes what is in m. Programs may not add to it meanwhile.
func emptyMap(m *ebpf.Map) error {
	key := make([]byte, m.KeySize())
	for range 2 * m.MaxEntries() { // a bound: each turn deletes one
		if err := m.NextKey(nil, key); errors.Is(err, ebpf.ErrKeyNotExist) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read map %s: %w", m, err)
		}
		if err := m.Delete(key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("empty map %s: %w", m, err)
		}
	}
	return nil
}

// closeUring detaches and unloads it. The caller holds mu.
func (p *Probe) closeUring() error {
	err := p.detachUring()
	if p.uring != nil && p.uring.coll != nil {
		p.varsMu.Lock()
		p.alike = nil
		p.forget(p.uring.coll)
		p.varsMu.Unlock()
		p.uring.coll.Close()
		p.uring.coll = nil
	}
	return err
}

// noteUring records the hook's state. The caller holds mu.
func (p *Probe) noteUring() {
	u := p.uring
	if u == nil {
		return
	}
	state, err := StateLoaded, u.err
	if len(u.links) > 0 {
		state = StateAttached
	}
	for _, pl := range u.places {
		if e := u.refused[pl.program]; e != nil {
			err = errors.Join(err, fmt.Errorf("%s: %s", pl.program, reasonOf(e)))
		}
	}
	if u.err != nil || err != nil && len(u.links) == 0 {
		state = StateRefused
	}
	p.note(uringHook, state, err)
}

// uringServes lists the system calls that operations stand for.
func uringServes() []string {
	var out []string
	for _, op := range uringOperations {
		for _, name := range op.calls {
			if name != "" && !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	slices.Sort(out)
	return out
}
