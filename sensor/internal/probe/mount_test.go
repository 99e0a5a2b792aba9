package probe

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// ownMounts gives the thread a mount namespace that it shares nothing of.
func ownMounts(t *env) {
	t.Helper()
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
}

func mountCases() []callCase {
	return []callCase{
		{"mount", "tmpfs", event.SyscallMountX, func(t *env) []any {
			ownMounts(t)
			d := emptyDir(t)
			r := t.must("mount", str("from"), str(d), str("tmpfs"), unix.MS_NOSUID|unix.MS_NOEXEC|unix.MS_NODEV|unix.MS_RELATIME)
			defer unix.Unmount(d, unix.MNT_DETACH)
			return []any{r, "from", d, "tmpfs", 2 | 4 | 8 | 0x200000}
		}},
		{"mount", "old magic", event.SyscallMountX, func(t *env) []any {
			t.origin |= wasmabi.OriginReaches // it is in the sensor's namespace
			t.call("mount", str("a"), str("/nonexistent"), 0, 0xc0ed0000|unix.MS_BIND)
			return []any{errno(unix.ENOENT), "a", "/nonexistent", missing{}, 0x1000}
		}},
		{"mount", "spreads", event.SyscallMountX, func(t *env) []any {
			ownMounts(t)
			if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil { // to nobody, but it might
				t.Fatal(err)
			}
			d := emptyDir(t)
			t.origin |= wasmabi.OriginReaches
			r := t.must("mount", str("from"), str(d), str("tmpfs"), 0)
			defer unix.Unmount(d, unix.MNT_DETACH)
			return []any{r, "from", d, "tmpfs", 0}
		}},
		{"move_mount", "a new file system", event.SyscallMoveMountX, func(t *env) []any {
			ownMounts(t)
			d := emptyDir(t)
			fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
			if err != nil {
				t.Fatal(err)
			}
			closing(t, int64(fs))
			if err := unix.FsconfigCreate(fs); err != nil {
				t.Fatal(err)
			}
			from, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			closing(t, int64(from))
			cwd := atFDCWD      // a variable: the constant is negative
			const fromEmpty = 4 // MOVE_MOUNT_F_EMPTY_PATH
			r := t.must("move_mount", uintptr(from), str(""), uintptr(cwd), str(d), fromEmpty)
			defer unix.Unmount(d, unix.MNT_DETACH)
			return []any{r, from, "", cwd, d, fromEmpty}
		}},
		{"move_mount", "fails", event.SyscallMoveMountX, func(t *env) []any {
			cwd := atFDCWD
			t.origin |= wasmabi.OriginReaches
			t.call("move_mount", uintptr(cwd), str("/nonexistent/a"), badFD, str("/nonexistent/b"), 0)
			return []any{errno(unix.ENOENT), cwd, "/nonexistent/a", badFD, "/nonexistent/b", 0}
		}},
		{"umount2", "detach", event.SyscallUmount2X, func(t *env) []any {
			ownMounts(t)
			d := emptyDir(t)
			if err := unix.Mount("x", d, "tmpfs", 0, ""); err != nil {
				t.Fatal(err)
			}
			return []any{t.must("umount2", str(d), unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW), d, 2 | 8}
		}},
		{"umount2", "fails", event.SyscallUmount2X, func(t *env) []any {
			t.call("umount2", str("/nonexistent"), unix.MNT_FORCE)
			return []any{errno(unix.ENOENT), "/nonexistent", 1}
		}},
	}
}

func TestMount(t *testing.T) { runCases(t, mountCases()) }
