package probe

import (
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

// getID is a case of a call that returns an id of the thread, which set gives it first.
func getID(name string, typ event.Type, set func(id int) (call string, args []uintptr)) callCase {
	return callCase{name, "ok", typ, func(t *env) []any {
		const id = 1234
		call, args := set(id)
		t.must(call, args...)
		if r := t.must(name); r != id {
			t.Fatalf("%s gives %d", name, r)
		}
		return []any{id}
	}}
}

// getThree are cases of getresuid or getresgid.
func getThree(name, set string, typ event.Type) []callCase {
	return []callCase{
		{name, "ok", typ, func(t *env) []any {
			t.must(set, 0, 1002, 1003)
			b := [3][]byte{make([]byte, 4), make([]byte, 4), make([]byte, 4)}
			r := t.must(name, addr(b[0]), addr(b[1]), addr(b[2]))
			for i, want := range []uint32{0, 1002, 1003} {
				if got := binary.NativeEndian.Uint32(b[i]); got != want {
					t.Fatalf("%s gives %d, not %d", name, got, want)
				}
			}
			return []any{r, 0, 1002, 1003}
		}},
		{name, "bad pointer", typ, func(t *env) []any {
			t.call(name, 1, 1, 1)
			return []any{errno(unix.EFAULT), 0, 0, 0}
		}},
	}
}

func getIDCases() []callCase {
	const keep = ^uintptr(0)
	three := func(call string, at int) func(int) (string, []uintptr) {
		return func(id int) (string, []uintptr) {
			args := []uintptr{keep, keep, keep}
			args[at] = uintptr(id)
			return call, args
		}
	}
	cases := []callCase{
		getID("getuid", event.SyscallGetuidX, three("setresuid", 0)),
		getID("geteuid", event.SyscallGeteuidX, three("setresuid", 1)),
		getID("getgid", event.SyscallGetgidX, three("setresgid", 0)),
		getID("getegid", event.SyscallGetegidX, three("setresgid", 1)),
	}
	cases = append(cases, getThree("getresuid", "setresuid", event.SyscallGetresuidX)...)
	return append(cases, getThree("getresgid", "setresgid", event.SyscallGetresgidX)...)
}

func TestGetID(t *testing.T) { runCases(t, getIDCases()) }
