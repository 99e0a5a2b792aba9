package hostroot

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// tree makes a root with links of all sorts in it.
func tree(t *testing.T) string {
	t.Helper()
	top := t.TempDir()
	root := filepath.Join(top, "root")
	for _, d := range []string{"etc", "a/b", "run"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"root/etc/real": "in", "root/a/b/file": "deep", "secret": "out", "root/secret": "mine"} {
		if err := os.WriteFile(filepath.Join(top, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{
		"etc/passwd": "/etc/real", "etc/near": "real", "etc/up": "../../../../secret", "etc/loop": "loop", "etc/a": "../a", "var": "/a/b",
		"abs": "/abs2", "abs2": "/var/../b/file", "etc/gone": "/nowhere",
	} {
		if err := os.Symlink(target, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(filepath.Join(root, "etc/fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	return root
}

func TestReadFile(t *testing.T) {
	root := tree(t)
	for name, want := range map[string]string{
		"etc/real": "in", "/etc/real": "in", "etc/passwd": "in", "etc/near": "in", "etc/up": "mine", "etc/a/b/file": "deep", "var/file": "deep",
		"../../secret": "mine", "etc/../secret": "mine",
	} {
		if b, err := ReadFile(root, name, 100); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	if b, err := ReadFile(root, "etc/real", 1); err != nil || string(b) != "i" {
		t.Errorf("a limit of 1 gave %q, %v", b, err)
	}
	for _, name := range []string{"etc/loop", "etc/gone", "etc", "etc/fifo", "nothing", ""} {
		if b, err := ReadFile(root, name, 100); err == nil || b != nil {
			t.Errorf("%s: %q", name, b)
		}
	}
}

// TestWithin compares the walk of old kernels with the kernel's own.
func TestWithin(t *testing.T) {
	root := tree(t)
	dir, err := unix.Open(root, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(dir)
	for _, flags := range []int{unix.O_RDONLY | unix.O_NONBLOCK, unix.O_PATH} {
		for _, name := range []string{"etc/real", "/etc/real", "etc/passwd", "etc/near", "etc/up", "etc/a/b/file", "var/file", "../../secret", "etc/loop",
			"etc/gone", "etc", "etc/fifo", "nothing", "etc/real/x", "etc/passwd/x", "abs"} {
			want, wantErr := unix.Openat2(dir, name, &unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC), Resolve: unix.RESOLVE_IN_ROOT})
			got, err := openWithin(dir, strings.TrimLeft(name, "/"), flags)
			if err != wantErr {
				t.Errorf("%s: %v, the kernel says %v", name, err, wantErr)
			}
			if err == nil && wantErr == nil {
				var a, b unix.Stat_t
				if unix.Fstat(got, &a) != nil || unix.Fstat(want, &b) != nil || a.Ino != b.Ino {
					t.Errorf("%s: inode %d, the kernel says %d", name, a.Ino, b.Ino)
				}
			}
			for _, fd := range []int{got, want} {
				if fd >= 0 {
					unix.Close(fd)
				}
			}
		}
	}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil || len(fds) > 20 {
		t.Errorf("%d fds are open: %v", len(fds), err)
	}
}

func TestDialUnix(t *testing.T) {
	root := tree(t)
	deep := strings.Repeat("long/", 30)
	if err := os.MkdirAll(filepath.Join(root, deep), 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(root, "run/s.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Rename(filepath.Join(root, "run/s.sock"), filepath.Join(root, deep, "s.sock")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/"+deep+"s.sock", filepath.Join(root, "run/link")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{deep + "s.sock", "/run/link"} {
		c, err := DialUnix(context.Background(), root, name)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	if _, err := DialUnix(context.Background(), root, "/run/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if _, err := DialUnix(context.Background(), root, "etc/real"); err == nil {
		t.Error("connected to a file")
	}
	l.Close()
	if _, err := DialUnix(context.Background(), root, "/run/link"); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("nobody listens: %v", err)
	}
}
