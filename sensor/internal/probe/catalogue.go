package probe

import (
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/shikra-sensor/shikra/bpf"
	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

// Served says which program makes the events of a system call.
type Served struct {
	Syscall *event.Syscall
	Program string     // its name; that of several calls may be the same
	Type    event.Type // of the events: event.GenericX for calls without a program of their own
}

// Catalogue lists the system calls of this machine's architecture, those of its 32-bit programs too, in the order of the
// table, whose first is event.UnknownSyscall. It is what there is to load: what the kernel takes of it, a Probe says.
func Catalogue() ([]Served, error) {
	spec, err := bpf.LoadProbe()
	if err != nil {
		return nil, fmt.Errorf("read the probe's object: %w", err)
	}
	var out []Served
	for i := range event.Syscalls() {
		if sc := &event.Syscalls()[i]; here(sc) || sc.Name == event.UnknownSyscall {
			out = append(out, serve(spec, sc))
		}
	}
	return out, nil
}

// serve finds the program of sc in an architecture's object.
func serve(spec *ebpf.CollectionSpec, sc *event.Syscall) Served {
	if name := program(sc.Name); spec.Programs[name] != nil {
		return Served{sc, name, sc.Exit}
	}
	return Served{sc, generic, event.GenericX}
}
