package probe

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// processVMCases are those of a call that moves bytes between this process and one that is a copy of it, and so has the same
// memory at the same addresses.
func processVMCases(name string, typ event.Type) []callCase {
	read := typ == event.SyscallProcessVmReadvX
	// text is what moves, from the child when it is read, over zeros; sizes are those of this process's pieces.
	ok := func(what string, text []byte, sizes ...int) callCase {
		return callCase{name, what, typ, func(t *env) []any {
			from, to := append([]byte(nil), text...), make([]byte, len(text))
			if !read {
				from, to = to, from
			}
			remote := iovecs(from)
			var local [][]byte
			for _, n := range sizes {
				local, to = append(local, to[:n:n]), to[n:]
			}
			pid := traced(t, false)
			want := text
			if len(want) > DefaultSnapLen {
				want, t.origin = want[:DefaultSnapLen], wasmabi.OriginCut
			}
			r := t.must(name, uintptr(pid), iovecs(local...), uintptr(len(local)), remote, 1, 0)
			if r != int64(len(text)) {
				t.Fatalf("%d bytes moved, not %d", r, len(text))
			}
			return []any{r, pid, want}
		}}
	}
	one := []byte("one two three")
	return []callCase{
		ok("one piece", one, 13),
		ok("pieces", one, 4, 4, 5),
		ok("long", digits(300), 50, 250),
		{name, "nothing to move", typ, func(t *env) []any {
			pid := traced(t, false)
			return []any{t.must(name, uintptr(pid), 0, 0, 0, 0, 0), pid, missing{}}
		}},
		{name, "no such process", typ, func(t *env) []any {
			p := iovecs([]byte("never moved"))
			t.call(name, ^uintptr(1), p, 1, p, 1, 0)
			return []any{errno(unix.ESRCH), -2, missing{}}
		}},
		{name, "bad flags", typ, func(t *env) []any {
			t.call(name, 1, 0, 0, 0, 0, 1)
			return []any{errno(unix.EINVAL), 1, missing{}}
		}},
	}
}

func allProcessVMCases() []callCase {
	return append(processVMCases("process_vm_readv", event.SyscallProcessVmReadvX), processVMCases("process_vm_writev", event.SyscallProcessVmWritevX)...)
}

func TestProcessVM(t *testing.T) { runCases(t, allProcessVMCases()) }
