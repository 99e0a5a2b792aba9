package probe

import "github.com/shikra-sensor/shikra/sensor/internal/event"

// wants says which ends of system calls the dispatcher passes on, in the form of the variables in bpf/include/maps.h.
type wants struct {
	numbers [2][numNative / 64]uint64 // wanted
	sub     [2]uint32                 // wanted_sub
	beyond  uint32                    // wanted_beyond
}

// The bits of wanted_beyond.
const (
	wantUnknown   = 1
	wantSigreturn = 2
)

func (w *wants) number(abi int, nr int16) {
	if nr >= 0 && nr < numNative {
		w.numbers[abi][nr/64] |= 1 << (nr % 64)
	}
}

// add wants sc.
func (w *wants) add(sc *event.Syscall) {
	native, compat := arches()
	w.number(0, sc.NR[native])
	if compat >= 0 {
		w.number(1, sc.NR[compat])
	}
	switch sc.Name {
	case event.UnknownSyscall:
		w.unknown()
	case sigreturn:
		w.beyond |= wantSigreturn
	}
	if compat != int(event.ArchIA32) {
		return
	}
	for i := range multiplexers {
		m := &multiplexers[i]
		for n, name := range m.subs {
			if name == sc.Name || name == "" && m.name == sc.Name {
				w.sub[i] |= 1 << n
				w.number(1, m.nr)
			}
		}
	}
}

// unknown wants every number that the table doesn't have.
func (w *wants) unknown() {
	w.beyond |= wantUnknown
	var known [2][numNative]bool
	native, compat := arches()
	for _, sc := range event.Syscalls() {
		for abi, arch := range []int{native, compat} {
			if arch >= 0 && sc.NR[arch] >= 0 && sc.NR[arch] < numNative {
				known[abi][sc.NR[arch]] = true
			}
		}
	}
	for abi := range known {
		for nr, ok := range known[abi] {
			if !ok && (abi == 0 || compat >= 0) {
				w.number(abi, int16(nr))
			}
		}
	}
}

// PartOf returns the bit of in_part of a system call of which a part of the events can be had, 0 for others.
func PartOf(name string) uint32 {
	switch name {
	case "ioctl":
		return 1
	case "recvmsg":
		return 2
	case "getsockopt":
		return 4
	}
	return 0
}

// and returns what both want.
func (w wants) and(o *wants) wants {
	for abi := range w.numbers {
		for i := range w.numbers[abi] {
			w.numbers[abi][i] &= o.numbers[abi][i]
		}
	}
	for i := range w.sub {
		w.sub[i] &= o.sub[i]
	}
	w.beyond &= o.beyond
	return w
}
