package testkit

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// OvertakeClose closes fd n of this process in one thread, and has another make n a duplicate of fd to before that call ends: what
// n stood for is a file, made in dir, whose process holds so many locks on it that the kernel needs a while to give them up, which
// it does after n is free (fs/open.c@6.12, close, filp_flush). Fds above n are used in passing. It needs root and two CPUs, so that
// both threads run whatever else the machine does.
func OvertakeClose(dir string, n, to int) error {
	f, err := os.CreateTemp(dir, "locked")
	if err != nil {
		return err
	}
	defer f.Close()
	defer os.Remove(f.Name())
	for i := range int64(1000) {
		if err := unix.FcntlFlock(f.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Start: 2 * i, Len: 1}); err != nil {
			return fmt.Errorf("lock: %w", err)
		}
	}
	if err := unix.Dup3(int(f.Fd()), n, unix.O_CLOEXEC); err != nil {
		return err
	}
	var cpus unix.CPUSet
	if err := unix.SchedGetaffinity(0, &cpus); err != nil {
		return err
	}
	if cpus.Count() < 2 {
		return errors.New("overtake a close: one CPU")
	}
	cpu := 0
	alone := func() error { // on the next CPU, before all others
		for !cpus.IsSet(cpu) {
			cpu++
		}
		var one unix.CPUSet
		one.Set(cpu)
		cpu++
		runtime.LockOSThread() // for good: the thread ends with its goroutine
		if err := unix.SchedSetaffinity(0, &one); err != nil {
			return err
		}
		prio := int32(1)
		_, _, e := unix.RawSyscall(unix.SYS_SCHED_SETSCHEDULER, 0, unix.SCHED_FIFO, uintptr(unsafe.Pointer(&prio)))
		if e != 0 {
			return fmt.Errorf("run before others: %w", e)
		}
		return nil
	}
	var tried, ended atomic.Bool
	got, closed := make(chan error, 1), make(chan error, 1)
	prepared := make(chan bool)
	go func() {
		err := alone()
		close(prepared)
		for err == nil && !ended.Load() {
			fd, _, e := unix.RawSyscall(unix.SYS_FCNTL, uintptr(to), unix.F_DUPFD, uintptr(n))
			if e != 0 {
				err = e
			} else if int(fd) == n {
				break
			} else {
				unix.RawSyscall(unix.SYS_CLOSE, fd, 0, 0)
				tried.Store(true)
			}
		}
		ended.Store(true)
		got <- err
	}()
	go func() {
		<-prepared
		err := alone()
		for err == nil && !tried.Load() && !ended.Load() { // the other has a CPU of its own
		}
		if err == nil {
			if _, _, e := unix.RawSyscall(unix.SYS_CLOSE, uintptr(n), 0, 0); e != 0 {
				err = e
			}
		}
		if err != nil {
			ended.Store(true)
		}
		closed <- err
	}()
	return errors.Join(<-closed, <-got)
}
