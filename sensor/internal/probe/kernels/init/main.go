// Command init is the first process of a virtual machine that runs the live tests under some kernel: it sets the machine up,
// runs what its initramfs brings, says what came of it on the console, and turns the machine off.
//
// Lines that begin with ## are for kernels.sh, which starts the machine.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// testsTime is how long the tests of one package may take. An emulated machine is some twenty times slower than its host, and
// that may have others to serve: what ends one that is stuck is kernels.sh's BOOT_TIMEOUT.
const testsTime = 50 * time.Minute

// hooksTime is how long it may take to load every program, twice.
const hooksTime = 20 * time.Minute

// hooksFile, when there is one, says that all programs are to be loaded and attached, and what each costs the verifier told: also
// of kernels that don't remember it, which takes minutes on a machine that is emulated.
const hooksFile = "/tests/hooks"

func main() {
	if play, ok := parts[filepath.Base(os.Args[0])]; ok {
		if len(os.Args) == 1 && filepath.Base(os.Args[0]) != "nginx" {
			os.Exit(2)
		}
		if err := play(); err != nil {
			fmt.Fprintln(os.Stderr, os.Args[0]+":", err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) == 2 && os.Args[1] == hooksArg {
		os.Exit(sayHooks(os.Stdout))
	}
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "this runs as the first process of a virtual machine, and turns it off; see kernels.sh")
		os.Exit(2)
	}
	run(os.Stdout)
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
}

// run does everything but the start and the end of the machine.
func run(w io.Writer) {
	var v verdict
	v.add("machine", setUp())
	var u unix.Utsname
	if err := unix.Uname(&u); err == nil {
		fmt.Fprintf(w, "## kernel %s\n", unix.ByteSliceToString(u.Release[:]))
	}
	// All that follows are processes of their own: what asks the kernel for its features does so when it starts, which for this
	// process was before there was a /proc.
	if _, err := os.Stat(hooksFile); err == nil {
		v.add("hooks", child(w, hooksTime, "/proc/self/exe", hooksArg))
	}
	dirs, err := filepath.Glob("/tests/*/test")
	v.add("tests", err)
	for _, bin := range dirs {
		v.runTests(w, bin)
	}
	if _, err := os.Stat(sensor); err == nil {
		v.add("whole", playScene(w))
	}
	for _, f := range v.failures {
		fmt.Fprintf(w, "## fail %s\n", f)
	}
	for _, s := range v.skips {
		fmt.Fprintf(w, "## skip %s\n", s)
	}
	fmt.Fprintf(w, "## done %d passed, %d failed, %d skipped\n", v.passed, len(v.failures), len(v.skips))
}

// setUp makes of an initramfs a machine that programs can expect something from.
func setUp() error {
	var errs []error
	for _, m := range []struct {
		kind, at, data string
		optional       bool
	}{
		{kind: "proc", at: "/proc"},
		{kind: "sysfs", at: "/sys"},
		{kind: "devtmpfs", at: "/dev"},
		{kind: "tmpfs", at: "/tmp", data: "mode=1777"},
		{kind: "tmpfs", at: "/run", data: "mode=755"},
		{kind: "tmpfs", at: "/dev/shm", data: "mode=1777"},
		{kind: "devpts", at: "/dev/pts", optional: true},
		{kind: "cgroup2", at: "/sys/fs/cgroup"},
		{kind: "bpf", at: "/sys/fs/bpf"},
		{kind: "tracefs", at: "/sys/kernel/tracing", optional: true},
	} {
		if err := os.MkdirAll(m.at, 0o755); err != nil && !m.optional {
			errs = append(errs, err)
		}
		if err := unix.Mount(m.kind, m.at, m.kind, 0, m.data); err != nil && !m.optional && !errors.Is(err, unix.EBUSY) {
			errs = append(errs, fmt.Errorf("mount %s: %w", m.at, err))
		}
	}
	// A program that is run by its descriptor is /dev/fd/N to the kernel, and TOMOYO looks that up.
	for _, l := range [][2]string{{"/proc/self/fd", "/dev/fd"}, {"fd/0", "/dev/stdin"}, {"fd/1", "/dev/stdout"}, {"fd/2", "/dev/stderr"}} {
		errs = append(errs, os.Symlink(l[0], l[1]))
	}
	errs = append(errs, unix.Sethostname([]byte("kernel-test")), raiseLoopback(), loadModule("/overlay.ko"), castParts())
	for _, kv := range [][2]string{{"PATH", "/usr/bin:/usr/sbin"}, {"HOME", "/root"}, {"TMPDIR", "/tmp"}} {
		errs = append(errs, os.Setenv(kv[0], kv[1]))
	}
	return errors.Join(errs...)
}

func raiseLoopback() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("raise lo: %w", err)
	}
	defer unix.Close(s)
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return fmt.Errorf("raise lo: %w", err)
	}
	req.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, req); err != nil {
		return fmt.Errorf("raise lo: %w", err)
	}
	return nil
}

// loadModule loads a kernel module; one that isn't there isn't needed.
func loadModule(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil {
		return fmt.Errorf("load %s: %w", path, err)
	}
	return nil
}
