package probe

import (
	"testing"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/probe/rawcall"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// TestExecChangesABI: a program replaces itself by one of another word size, and back, by both calls: the exec has its
// event, marked as the new program's, the call's end, whose number is that of the one ABI and whose task is of the other,
// gives none, and what follows is read as the new program means it.
func TestExecChangesABI(t *testing.T) {
	narrow := newSweep(t, 1)
	narrow.server() // or skip
	w := newSweep(t, 0)
	s := w.server()
	dir := t.TempDir()
	programs := map[string]string{}
	for _, a := range []string{w.name, narrow.name} {
		var err error
		if programs[a], err = rawcall.Program(a, dir); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 8 {
		from, to := w, narrow
		if i%2 == 1 {
			from, to = narrow, w
		}
		name, at := "execve", false
		if i/2%2 == 1 {
			name, at = "execveat", true
		}
		from.request(s, uint32(call("getpid").NR[from.arch]), [6]uint64{}, nil)
		recs := w.l.events(t, nil, func() {
			if err := s.Exec(uint32(call(name).NR[from.arch]), at, to.name, programs[to.name]); err != nil {
				t.Fatal(err)
			}
			to.request(s, uint32(call("getppid").NR[to.arch]), [6]uint64{1, 2, 3, 4, 5, 6}, nil)
			// Its answer shows that the write of the one before has ended.
			to.request(s, uint32(call("getpid").NR[to.arch]), [6]uint64{}, nil)
		})
		var got []event.Record
		execed := -1
		for _, r := range recs {
			if r.TID() != int64(s.PID) {
				continue
			}
			if r.Type() == event.SyscallExecveV19X || r.Type() == event.SyscallExecveatX {
				execed = len(got)
			}
			got = append(got, r)
		}
		if execed < 0 {
			t.Fatalf("%s to %s by %s: no event of it in %v", from.name, to.name, name, typesOf(got))
		}
		origin := uint16(to.abi) * wasmabi.OriginCompat
		if o := got[execed].Origin() & wasmabi.OriginCompat; o != origin {
			t.Errorf("%s to %s by %s: origin %d", from.name, to.name, name, o)
		}
		if exe, _ := got[execed].Param(1); string(exe) != programs[to.name]+"\x00" {
			t.Errorf("%s to %s by %s: exe is %q", from.name, to.name, name, exe)
		}
		// What the new program does, whichever of its calls have programs.
		allowed := map[uint32]bool{}
		for _, own := range []string{"read", "write", "getpid", "getppid"} {
			allowed[uint32(call(own).NR[to.arch])] = true
		}
		parents := 0
		for _, r := range got[execed+1:] {
			if !allowed[r.NR()] || r.Origin()&wasmabi.OriginCompat != origin {
				t.Errorf("%s to %s by %s: then %s by number %d, origin %d", from.name, to.name, name, r.Type(), r.NR(), r.Origin())
			}
			if r.NR() == uint32(call("getppid").NR[to.arch]) {
				parents++
				nr := uint32(call("getppid").NR[to.arch])
				checkRecord(t, r, []any{call("getppid").Code, nr, nr, 0, 1, 2, 3, 4, 5, 6})
			}
		}
		if parents != 1 {
			t.Errorf("%s to %s by %s: %d events of getppid", from.name, to.name, name, parents)
		}
	}
}
