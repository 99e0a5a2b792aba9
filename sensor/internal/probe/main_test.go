package probe

import (
	"flag"
	"os"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// childEnv makes this program, started again by a test, do what its value says and no tests.
const childEnv = "SHIKRA_PROBE_TEST_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(childEnv) {
	case "":
		code := m.Run()
		if code == 0 && theLive != nil && wholeRun() {
			if err := checkCoverage(); err != nil {
				os.Stderr.WriteString(err.Error() + "\n")
				code = 1
			}
		}
		if theLive != nil && theLive.p.fexit == nil { // in TierFexit the kernel needs long enough for it as it is
			theLive.rd.Close()
			theLive.p.Close()
		}
		os.Exit(code)
	case "exit":
		unix.Exit(3)
	case "wait": // until killed; says first that the Go runtime has its signal handlers
		os.Stdout.WriteString("waits")
		for {
			unix.Pause()
		}
	case "execveat": // runs the file behind fd 3
		execFD(3)
	case "memfd": // runs a copy of fd 3 that lies in memory only
		fd, err := unix.MemfdCreate("shikra-test", 0)
		if err != nil {
			fatal(err)
		}
		b, err := os.ReadFile("/proc/self/fd/3")
		if err != nil {
			fatal(err)
		}
		if _, err := unix.Write(fd, b); err != nil {
			fatal(err)
		}
		execFD(fd)
	case "orphan": // leaves a child behind, under a subreaper when it is one
		cmd := command("wait")
		if err := cmd.Start(); err != nil {
			fatal(err)
		}
		os.Stdout.WriteString("left ")
		unix.Exit(0)
	case "subreaper": // has a child that leaves a child behind
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			fatal(err)
		}
		cmd := command("orphan")
		cmd.Stdout = os.Stdout
		if err := cmd.Run(); err != nil {
			fatal(err)
		}
		unix.Kill(-unix.Getpgrp(), unix.SIGTERM) // the group is this process's own
	}
	os.Exit(0)
}

// wholeRun reports whether all tests ran, of those that prove anything of system calls in the tier that serves all.
func wholeRun() bool {
	return os.Getenv("SHIKRA_PROBE_TIER") == "" && flag.Lookup("test.run").Value.String() == "" && flag.Lookup("test.list").Value.String() == ""
}

func fatal(err error) {
	os.Stderr.WriteString(err.Error() + "\n")
	os.Exit(1)
}

// execFD replaces this program by what fd holds, which finds no childEnv in its environment.
func execFD(fd int) {
	path, argv, envp := str(""), []uintptr{str("by fd"), str("arg"), 0}, []uintptr{str(childEnv + "=exit"), 0}
	_, _, e := unix.RawSyscall6(uintptr(number("execveat")), uintptr(fd), path, uintptr(unsafe.Pointer(&argv[0])), uintptr(unsafe.Pointer(&envp[0])), unix.AT_EMPTY_PATH, 0)
	fatal(e)
}
