package probe

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// hooksEnv names the tiers of security functions that this kernel has to serve, separated by commas: kernels.sh knows.
const hooksEnv = "SHIKRA_PROBE_HOOKS"

// needHooks returns a probe that sees this process and tries one tier for security functions. It skips where the kernel refuses
// the tier and nothing says that it shouldn't.
func needHooks(t *testing.T, tier string) *live {
	t.Helper()
	needProbe(t)
	p, err := Load(Config{Syscalls: []string{"openat"}, TraceSelf: true, RingBytes: 1 << 20, hookTiers: []string{tier}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	if err := p.SetSyscalls([]string{}); err != nil {
		t.Fatal(err)
	}
	if err := p.Attach(); err != nil {
		t.Fatal(err)
	}
	if err := p.SetEvents(func(typ event.Type) bool { return typ == event.SecurityFileOpenX }); err != nil {
		t.Fatal(err)
	}
	h := hookOf(p, "security_file_open")
	if must := slices.Contains(strings.Split(os.Getenv(hooksEnv), ","), tier); h.State != StateAttached && !must {
		if h.Reason == "" || h.Tier != "none" {
			t.Errorf("it is refused without a word: %+v", h)
		}
		t.Skipf("this kernel refuses the tier %s: %s", tier, h.Reason)
	}
	if h.State != StateAttached || h.Tier != tier {
		t.Fatalf("%+v", h)
	}
	rd, err := ringbuf.NewReader(p.Ring())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rd.Close() })
	return &live{p: p, rd: rd}
}

// hookEvents returns the events of type typ that come while fn runs, with all hooks attached: an emulated machine needs seconds for each.
func (l *live) hookEvents(t *testing.T, typ event.Type, fn func()) []event.Record {
	t.Helper()
	l.drain(t)
	fn()
	recs := slices.DeleteFunc(l.drain(t), func(r event.Record) bool { return r.Type() != typ })
	for _, r := range recs {
		if r.NR() != noNR || r.Origin()&^wasmabi.OriginCut != 0 {
			t.Errorf("%s: nr %d, origin %d", typ, r.NR(), r.Origin())
		}
	}
	if h := hookOf(l.p, typ.Info().Name); h.State != StateAttached {
		t.Fatalf("%+v", h)
	}
	return recs
}

// oneWith returns the event among recs whose path ends in text.
func oneWith(t *testing.T, recs []event.Record, what, text string) event.Record {
	t.Helper()
	var got []event.Record
	for _, r := range recs {
		b, _ := r.Param(1)
		if bytes.HasSuffix(b, []byte(text+"\x00")) {
			got = append(got, r)
		}
	}
	if len(got) != 1 {
		t.Fatalf("%s: %d events of %q, of %d", what, len(got), text, len(recs))
	}
	return got[0]
}

func statOf(t *testing.T, path string) (dev uint32, ino uint64) {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	return devOf(uint64(st.Dev)), st.Ino
}

// guardedFile is a file as Guard takes it.
func guardedFile(t *testing.T, path string, what uint32) GuardedFile {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	return GuardedFile{Major: unix.Major(uint64(st.Dev)), Minor: unix.Minor(uint64(st.Dev)), Ino: st.Ino, What: what}
}

// TestSecurityEvents: each hook of security functions in each tier that the kernel has, and each of its parameters.
func TestSecurityEvents(t *testing.T) {
	for _, tier := range hookTiers {
		t.Run(tier, func(t *testing.T) {
			l := needHooks(t, tier)
			if err := l.p.SetEvents(func(typ event.Type) bool { return isSecurity(typ.Info().Name) }); err != nil {
				t.Fatal(err)
			}
			res := any(0)
			if tier == TierKprobe {
				res = missing{}
			}
			dir, err := filepath.EvalSymlinks(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			file := func(name string) string {
				path := filepath.Join(dir, name)
				if err := os.WriteFile(path, []byte("x"), 0o640); err != nil {
					t.Fatal(err)
				}
				return path
			}
			t.Run("file_open", func(t *testing.T) {
				path := filepath.Join(dir, "opened")
				recs := l.hookEvents(t, event.SecurityFileOpenX, func() {
					f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
					if err != nil {
						t.Fatal(err)
					}
					f.Close()
				})
				dev, ino := statOf(t, path)
				r := oneWith(t, recs, "open", path)
				b, _ := r.Param(2)
				flags, _ := event.ParamFlags32.Int(b)
				text := strings.Split(flagText(event.SecurityFileOpenX, 2, flags), "|")
				for _, want := range []string{"O_RDWR", "O_CREAT", "O_EXCL", "O_F_CREATED"} { // the last only the kernel knows
					if !slices.Contains(text, want) {
						t.Errorf("flags are %x: %v, without %s", flags, text, want)
					}
				}
				checkRecord(t, r, []any{res, path, present{}, dev, ino, 0})
			})
			t.Run("bprm_check", func(t *testing.T) {
				exe, err := os.Executable()
				if err != nil {
					t.Fatal(err)
				}
				link := filepath.Join(dir, "program")
				if err := os.Symlink(exe, link); err != nil {
					t.Fatal(err)
				}
				real, err := filepath.EvalSymlinks(exe)
				if err != nil {
					t.Fatal(err)
				}
				var pid int
				recs := l.hookEvents(t, event.SecurityBprmCheckX, func() {
					cmd := exec.Command(link)
					cmd.Env = append(os.Environ(), childEnv+"=exit")
					_ = cmd.Run()
					pid = cmd.Process.Pid
				})
				recs = slices.DeleteFunc(recs, func(r event.Record) bool { return r.TID() != int64(pid) })
				dev, ino := statOf(t, real)
				checkRecord(t, oneWith(t, recs, "exec", real), []any{res, real, link, dev, ino, 0})
			})
			t.Run("inode_unlink", func(t *testing.T) {
				path, folder := file("gone"), filepath.Join(dir, "folder")
				dev, ino := statOf(t, path)
				if err := os.Mkdir(folder, 0o700); err != nil {
					t.Fatal(err)
				}
				_, folderIno := statOf(t, folder)
				recs := l.hookEvents(t, event.SecurityInodeUnlinkX, func() {
					if err := unix.Unlink(path); err != nil {
						t.Fatal(err)
					}
					if err := unix.Rmdir(folder); err != nil {
						t.Fatal(err)
					}
				})
				checkRecord(t, oneWith(t, recs, "unlink", "/gone"), []any{res, present{}, dev, ino, 0})
				checkRecord(t, oneWith(t, recs, "rmdir", "/folder"), []any{res, present{}, dev, folderIno, 0})
			})
			t.Run("inode_rename", func(t *testing.T) {
				from, to := file("from"), file("to")
				dev, ino := statOf(t, from)
				_, over := statOf(t, to)
				recs := l.hookEvents(t, event.SecurityInodeRenameX, func() {
					if err := unix.Rename(from, to); err != nil {
						t.Fatal(err)
					}
				})
				checkRecord(t, oneWith(t, recs, "rename", "/from"), []any{res, present{}, check(endsIn("/to")), dev, ino, over, 0})
			})
			t.Run("inode_setattr", func(t *testing.T) {
				path := file("moded")
				dev, ino := statOf(t, path)
				recs := l.hookEvents(t, event.SecurityInodeSetattrX, func() {
					if err := unix.Chmod(path, 0o4711); err != nil {
						t.Fatal(err)
					}
				})
				checkRecord(t, oneWith(t, recs, "chmod", "/moded"), []any{res, present{}, dev, ino, 0x41, 0o4711, 0})
				recs = l.hookEvents(t, event.SecurityInodeSetattrX, func() {
					if err := unix.Truncate(path, 0); err != nil {
						t.Fatal(err)
					}
				})
				checkRecord(t, oneWith(t, recs, "truncate", "/moded"), []any{res, present{}, dev, ino, check(hasBit(8)), 0, 0})
			})
			t.Run("inode_setxattr", func(t *testing.T) {
				path := file("attributed")
				dev, ino := statOf(t, path)
				recs := l.hookEvents(t, event.SecurityInodeSetxattrX, func() {
					if err := unix.Setxattr(path, "trusted.shikra", []byte("1"), 0); err != nil {
						t.Fatal(err)
					}
				})
				checkRecord(t, oneWith(t, recs, "setxattr", "/attributed"), []any{res, present{}, "trusted.shikra", dev, ino, 0})
				recs = l.hookEvents(t, event.SecurityInodeSetxattrX, func() {
					if err := unix.Removexattr(path, "trusted.shikra"); err != nil {
						t.Fatal(err)
					}
				})
				checkRecord(t, oneWith(t, recs, "removexattr", "/attributed"), []any{res, present{}, "trusted.shikra", dev, ino, 0})
			})
			t.Run("sb_mount", func(t *testing.T) {
				folder := filepath.Join(dir, "mounted")
				if err := os.Mkdir(folder, 0o700); err != nil {
					t.Fatal(err)
				}
				dev, ino := statOf(t, folder)
				recs := l.hookEvents(t, event.SecuritySbMountX, func() {
					if err := unix.Mount("tmpfs", folder, "tmpfs", 0, ""); err != nil {
						t.Fatal(err)
					}
				})
				defer unix.Unmount(folder, unix.MNT_DETACH)
				checkRecord(t, oneWith(t, recs, "mount", folder), []any{res, folder, dev, ino, 0})
			})
			t.Run("denied", func(t *testing.T) { testDenied(t, l, tier) })
			t.Run("guarded", func(t *testing.T) { testGuarded(t, l, dir) })
		})
	}
}

// testDenied: an open that another security module refuses is seen at the function, with its result where that is known. The BPF
// security module isn't asked any more.
func testDenied(t *testing.T, l *live, tier string) {
	path := filepath.Join(t.TempDir(), "denied")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var supported bool
	var failed error
	recs := l.hookEvents(t, event.SecurityFileOpenX, func() {
		inThread(func() { // which is restricted for good
			const createRuleset, restrictSelf, readFile = 444, 446, 1 << 2
			attr := uint64(readFile)
			fd, _, e := unix.RawSyscall(createRuleset, uintptr(unsafe.Pointer(&attr)), 8, 0)
			if supported = e == 0; !supported {
				return
			}
			unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
			if _, _, e := unix.RawSyscall(restrictSelf, fd, 0, 0); e != 0 {
				failed = e
				return
			}
			fd2, err := unix.Open(path, unix.O_RDONLY, 0)
			if failed = err; err == nil {
				unix.Close(fd2)
			}
		})
	})
	if !supported {
		t.Skip("this kernel has no Landlock, by which an open is refused")
	}
	if failed != unix.EACCES {
		t.Fatalf("the open gives %v", failed)
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		t.Fatal(err)
	}
	recs = slices.DeleteFunc(recs, func(r event.Record) bool {
		b, _ := r.Param(1)
		return string(b) != real+"\x00"
	})
	switch {
	case tier == TierLSM && len(recs) != 0:
		t.Errorf("%d events, where the BPF module isn't asked", len(recs))
	case tier != TierLSM && len(recs) != 1:
		t.Errorf("%d events", len(recs))
	case tier == TierFexit:
		b, _ := recs[0].Param(0)
		if res, _ := event.ParamErrno.Int(b); res != -int64(unix.EACCES) {
			t.Errorf("its result is %d", res)
		}
	}
}

// testGuarded: what is done to guarded files is marked, whatever name it is done by, and nothing else makes events when that is
// asked for.
func testGuarded(t *testing.T, l *live, dir string) {
	own := filepath.Join(dir, "own")
	if err := os.Mkdir(own, 0o700); err != nil {
		t.Fatal(err)
	}
	inside, other := filepath.Join(own, "inside"), filepath.Join(dir, "other")
	for _, path := range []string{inside, other} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(own, link); err != nil {
		t.Fatal(err)
	}
	hard := filepath.Join(dir, "hard")
	if err := os.Link(inside, hard); err != nil {
		t.Fatal(err)
	}
	left, err := l.p.Guard([]GuardedFile{guardedFile(t, inside, GuardOwn), guardedFile(t, own, GuardOwn), guardedFile(t, dir, GuardAbove)},
		func(event.Type) bool { return true })
	if err != nil || left != 0 {
		t.Fatalf("%d left: %v", left, err)
	}
	defer l.p.Guard(nil, func(event.Type) bool { return false })
	marked := func(r event.Record) bool {
		b, _ := r.Param(r.NumParams() - 1)
		v, ok := event.ParamBool.Int(b)
		return ok && v == 1
	}
	for _, c := range []struct {
		what string
		typ  event.Type
		n    int
		do   func() error
	}{
		{"another's", event.SecurityInodeSetattrX, 0, func() error { return os.Chmod(other, 0o640) }},
		{"by a hard link elsewhere", event.SecurityInodeSetattrX, 1, func() error { return os.Chmod(hard, 0o640) }},
		{"the folder itself", event.SecurityInodeSetattrX, 1, func() error { return os.Chmod(own, 0o750) }},
		{"another's folder", event.SecurityInodeSetattrX, 0, func() error { return os.Chmod(dir, 0o755) }},
		{"an attribute", event.SecurityInodeSetxattrX, 1, func() error { return unix.Setxattr(hard, "trusted.shikra", []byte("1"), 0) }},
		{"into its folder", event.SecurityInodeRenameX, 1, func() error { return os.Rename(other, filepath.Join(link, "other")) }},
		{"a folder above", event.SecurityInodeRenameX, 1, func() error { return os.Rename(dir, dir+"2") }},
		{"and back", event.SecurityInodeRenameX, 1, func() error { return os.Rename(dir+"2", dir) }},
		{"through a symbolic link", event.SecurityInodeUnlinkX, 1, func() error { return unix.Unlink(filepath.Join(link, "other")) }},
		{"the symbolic link", event.SecurityInodeUnlinkX, 0, func() error { return unix.Unlink(link) }},
		{"by a hard link", event.SecurityInodeUnlinkX, 1, func() error { return unix.Unlink(hard) }},
		{"mounted over", event.SecuritySbMountX, 1, func() error { return mountOver(own) }},
		{"a folder above mounted over", event.SecuritySbMountX, 1, func() error { return mountOver(dir) }},
		{"mounted elsewhere", event.SecuritySbMountX, 0, func() error { return mountOver("/proc/self") }},
		{"mounted over in another namespace", event.SecuritySbMountX, 0, func() error { return mountApart(own, 0) }},
		{"mounted over in another namespace, from where it may spread", event.SecuritySbMountX, 1, func() error { return mountApart(own, unix.MS_SHARED) }},
	} {
		var err error
		recs := l.hookEvents(t, c.typ, func() { err = c.do() })
		if err != nil {
			t.Errorf("%s: %v", c.what, err)
		}
		n := 0
		for _, r := range recs {
			if !marked(r) {
				t.Errorf("%s: an event of another's file", c.what)
			}
			n++
		}
		if n != c.n {
			t.Errorf("%s: %d events, not %d", c.what, n, c.n)
		}
	}
}

// mountApart mounts over a folder in a mount namespace of its own whose mounts are private at first and then as change says, unless 0.
func mountApart(dir string, change uintptr) (err error) {
	inThread(func() {
		if err = unix.Unshare(unix.CLONE_NEWNS); err != nil {
			return
		}
		if err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err == nil && change != 0 {
			err = unix.Mount("", "/", "", unix.MS_REC|change, "")
		}
		if err == nil {
			err = unix.Mount("tmpfs", dir, "tmpfs", 0, "")
		}
	})
	return err
}

// mountOver mounts over a folder and takes it away again.
func mountOver(dir string) error {
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		if dir == "/proc/self" {
			return nil // refused, but asked for
		}
		return err
	}
	return unix.Unmount(dir, unix.MNT_DETACH)
}

func endsIn(text string) func(t *testing.T, name string, b []byte) {
	return func(t *testing.T, name string, b []byte) {
		if !bytes.HasSuffix(b, []byte(text+"\x00")) {
			t.Errorf("%s is %q, which doesn't end in %q", name, b, text)
		}
	}
}

func hasBit(bit int64) func(t *testing.T, name string, b []byte) {
	return func(t *testing.T, name string, b []byte) {
		if v, _ := event.ParamFlags32.Int(b); v&bit == 0 {
			t.Errorf("%s is %x, without %x", name, v, bit)
		}
	}
}

// flagText names the bits of parameter i of type typ.
func flagText(typ event.Type, i int, v int64) string {
	var out []string
	for _, nv := range typ.Info().Params[i].Table {
		if nv.Value != 0 && uint32(v)&nv.Value == nv.Value {
			out = append(out, nv.Name)
		}
	}
	return strings.Join(out, "|")
}

// TestSecurityOrder: hooks are tried in the order of tiers, and what serves a hook is what Hooks says; where nothing does it is
// refused, each tier with its reason.
func TestSecurityOrder(t *testing.T) {
	needProbe(t)
	p, err := Load(Config{Syscalls: []string{"openat"}, RingBytes: MinRingBytes})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.SetEvents(func(typ event.Type) bool { return typ == event.SecurityBprmCheckX }); err != nil {
		t.Fatal(err)
	}
	if h := hookOf(p, "security_bprm_check"); h.State != "not loaded" {
		t.Errorf("before Attach: %+v", h)
	}
	if err := p.Attach(); err != nil {
		t.Fatal(err)
	}
	h := hookOf(p, "security_bprm_check")
	t.Logf("%+v", h)
	var must []string
	for _, tier := range strings.Split(os.Getenv(hooksEnv), ",") {
		if tier != "" {
			must = append(must, tier)
		}
	}
	if len(must) > 0 && (h.State != StateAttached || h.Tier != must[0]) {
		t.Errorf("%+v; the kernel has %v", h, must)
	}
	if h.State == StateRefused {
		for _, tier := range hookTiers {
			if !strings.Contains(h.Reason, tier+": ") {
				t.Errorf("no reason why not %s: %s", tier, h.Reason)
			}
		}
	}
	if hookOf(p, "security_file_open").State != "not loaded" {
		t.Error("a hook that nobody asked for is there")
	}
	if err := p.SetEvents(func(event.Type) bool { return false }); err != nil {
		t.Fatal(err)
	}
	if h.State == StateAttached {
		if h := hookOf(p, "security_bprm_check"); h.State != "not loaded" {
			t.Errorf("nobody asks any more: %+v", h)
		}
	}
}

// TestExactFiles: an open tells the file that the kernel opened.
func TestExactFiles(t *testing.T) {
	for _, tier := range hookTiers {
		t.Run(tier, func(t *testing.T) {
			needHooks(t, tier)
			l := exactProbe(t, Config{Syscalls: []string{"openat"}, TraceSelf: true, RingBytes: 1 << 20, ExactPaths: true, hookTiers: []string{tier}})
			if h := hookOf(l.p, openedHook); h.State != StateAttached || h.Tier != tier {
				t.Fatalf("%+v", h)
			}
			path := filepath.Join(t.TempDir(), "exact")
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			dev, ino := statOf(t, path)
			for _, c := range []struct {
				flags int
				want  uint16
			}{
				{unix.O_RDWR, wasmabi.OriginOpened}, {unix.O_PATH, 0}, {unix.O_RDONLY | unix.O_DIRECTORY, 0}, {unix.O_RDONLY, wasmabi.OriginOpened},
			} {
				r := openOnce(t, l, path, c.flags)
				if got := r.Origin() & (wasmabi.OriginOpened | wasmabi.OriginOther); got != c.want {
					t.Errorf("flags %x: origin %d, not %d", c.flags, got, c.want)
				}
				if c.want != 0 {
					checkParam(t, r, 5, int64(dev))
					checkParam(t, r, 6, int64(ino))
				}
			}
			if n, err := l.p.OpensNotKept(); err != nil || n != 0 {
				t.Errorf("%d weren't kept: %v", n, err)
			}
			checkNoOpens(t, l)
			raceOpens(t, l, path)
		})
	}
}

// TestFileChanged: what was kept of an open is what its event tells, marked when the fd stands for another file. The test keeps it
// itself, which needs no hook.
func TestFileChanged(t *testing.T) {
	needProbe(t)
	l := exactProbe(t, Config{Syscalls: []string{"openat"}, TraceSelf: true, RingBytes: 1 << 20, ExactPaths: true, ownOpens: true})
	path := filepath.Join(t.TempDir(), "exact")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	dev, ino := statOf(t, path)
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	kdev := unix.Major(uint64(st.Dev))<<20 | unix.Minor(uint64(st.Dev))
	type kept struct {
		Ino, FirstIno uint64
		Dev, FirstDev uint32
		NR, What      uint32
	}
	nr := uint32(number("openat"))
	for _, c := range []struct {
		what     string
		k        kept
		dev      uint32
		ino      uint64
		want     uint16
		flagBits string
	}{
		{"the same", kept{ino, ino, kdev, kdev, nr, 0}, dev, ino, wasmabi.OriginOpened, ""},
		{"the first of two", kept{ino + 1, ino, kdev, kdev, nr, 0}, dev, ino, wasmabi.OriginOpened, ""},
		{"another", kept{99, 98, 8<<20 | 3, kdev, nr, 1}, 8<<8 | 3, 99, wasmabi.OriginOpened | wasmabi.OriginOther, "O_F_CREATED"},
		{"the same number of another device", kept{ino, ino, kdev + 1, kdev + 1, nr, 0}, 0, ino, wasmabi.OriginOpened | wasmabi.OriginOther, ""},
		{"of another call", kept{99, 98, 8<<20 | 3, kdev, nr + 1, 1}, dev, ino, 0, ""},
	} {
		inThread(func() {
			if err := l.p.coll.Maps["opens"].Put(uint32(unix.Gettid()), &c.k); err != nil {
				t.Fatal(err)
			}
			r := openHere(t, l, path, unix.O_RDONLY)
			if got := r.Origin() & (wasmabi.OriginOpened | wasmabi.OriginOther); got != c.want {
				t.Errorf("%s: origin %d, not %d", c.what, got, c.want)
			}
			if c.dev != 0 {
				checkParam(t, r, 5, int64(c.dev))
			}
			checkParam(t, r, 6, int64(c.ino))
			b, _ := r.Param(3)
			if flags, _ := event.ParamFlags32.Int(b); !strings.Contains(flagText(r.Type(), 3, flags), c.flagBits) {
				t.Errorf("%s: flags %s", c.what, flagText(r.Type(), 3, flags))
			}
		})
	}
	checkNoOpens(t, l)
}

// exactProbe returns an attached probe of its own.
func exactProbe(t *testing.T, cfg Config) *live {
	t.Helper()
	p, err := Load(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	if err := p.SetSyscalls([]string{}); err != nil {
		t.Fatal(err)
	}
	if err := p.Attach(); err != nil {
		t.Fatal(err)
	}
	rd, err := ringbuf.NewReader(p.Ring())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rd.Close() })
	return &live{p: p, rd: rd}
}

// openOnce opens path in a thread of its own and returns the event.
func openOnce(t *testing.T, l *live, path string, flags int) (r event.Record) {
	t.Helper()
	inThread(func() { r = openHere(t, l, path, flags) })
	return r
}

func openHere(t *testing.T, l *live, path string, flags int) event.Record {
	t.Helper()
	at := str(path)
	l.want(t, "openat")
	r, _, e := unix.RawSyscall6(uintptr(number("openat")), cwd, at, uintptr(flags), 0, 0, 0)
	l.want(t)
	if e == 0 {
		unix.Close(int(r))
	}
	tid := int64(unix.Gettid())
	for _, rec := range l.drain(t) {
		if rec.Type() == event.SyscallOpenatV2X && rec.TID() == tid {
			return rec
		}
	}
	t.Fatal("no event of the open")
	return nil
}

func checkParam(t *testing.T, r event.Record, i int, want int64) {
	t.Helper()
	b, _ := r.Param(i)
	p := r.Type().Info().Params[i]
	if v, ok := p.Type.Int(b); !ok || v != want {
		t.Errorf("%s is %d, not %d", p.Name, v, want)
	}
}

// checkNoOpens: what was kept for a call goes when the call ends.
func checkNoOpens(t *testing.T, l *live) {
	t.Helper()
	n := 0
	var key uint32
	value := make([]byte, l.p.coll.Maps["opens"].ValueSize())
	for it := l.p.coll.Maps["opens"].Iterate(); it.Next(&key, &value); {
		n++
	}
	if n > 2 { // calls of other processes that are under way
		t.Errorf("%d opens are still kept", n)
	}
}

// raceOpens has a thread put another file in the place of an fd as soon as it is there. How often that comes between the kernel's
// opening and the call's end is chance; but what an event says is always the file that was opened.
func raceOpens(t *testing.T, l *live, path string) {
	t.Helper()
	other, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(other)
	_, ino := statOf(t, path)
	at := str(path)
	changed, rounds, made := 0, 100, 0
	end := time.Now().Add(10 * time.Second) // an emulated machine needs seconds for some
	l.want(t, "openat")                     // once: where io_uring's tracepoints come and go with it, that takes longer than all the rest
	defer l.want(t)
	l.drain(t)
	for range rounds {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0) // the number that comes next
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(fd)
		stop, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			for {
				select {
				case <-stop:
					return
				default:
					unix.Dup3(other, fd, unix.O_CLOEXEC)
				}
			}
		}()
		inThread(func() {
			r, _, e := unix.RawSyscall6(uintptr(number("openat")), cwd, at, uintptr(unix.O_RDONLY|unix.O_CLOEXEC), 0, 0, 0)
			close(stop)
			<-done
			if e == 0 {
				unix.Close(int(r))
			}
			if int(r) != fd {
				unix.Close(fd)
			}
			tid := int64(unix.Gettid())
			for _, rec := range l.drain(t) {
				if rec.Type() != event.SyscallOpenatV2X || rec.TID() != tid || e != 0 {
					continue
				}
				if rec.Origin()&wasmabi.OriginOther != 0 {
					changed++
				}
				checkParam(t, rec, 6, int64(ino))
			}
		})
		if made++; changed > 3 || t.Failed() || time.Now().After(end) {
			break
		}
	}
	t.Logf("%s: %d of %d fds had been replaced", runtime.GOARCH, changed, made)
}
