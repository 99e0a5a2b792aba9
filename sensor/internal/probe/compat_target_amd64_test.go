package probe

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

// compatTargetCases are those that 32-bit programs on amd64 make in a way of their own: a length in two registers.
func compatTargetCases() []callCase {
	file := func(t *env) *os.File {
		t.Helper()
		f, err := os.Create(filepath.Join(t.TempDir(), "cut"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	return []callCase{
		{"truncate64", "ia32", event.SyscallTruncateX, func(t *env) []any {
			f := file(t)
			return []any{t.int80(193, newLow(t).str(f.Name()), 7, 1), f.Name(), 1<<32 | 7}
		}},
		{"truncate", "ia32", event.SyscallTruncateX, func(t *env) []any {
			f := file(t)
			return []any{t.int80(92, newLow(t).str(f.Name()), 9), f.Name(), 9}
		}},
		{"ftruncate64", "ia32", event.SyscallFtruncateX, func(t *env) []any {
			f := file(t)
			return []any{t.int80(194, f.Fd(), 5, 2), int(f.Fd()), 2<<32 | 5}
		}},
		{"ftruncate", "ia32, not negative", event.SyscallFtruncateX, func(t *env) []any {
			t.int80(93, badFD, 0xFFFFFFFF)
			return []any{check(isErrno), int(int32(badFD)), -1}
		}},
		{"kill", "ia32", event.SyscallKillX, func(t *env) []any {
			pid := unix.Getpid()
			return []any{t.int80(37, uintptr(pid), 0), pid, 0}
		}},
	}
}
