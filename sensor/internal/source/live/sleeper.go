package live

import (
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sleeper sleeps by a timer of the kernel's (timerfd_create(2)) that the runtime polls. One of the runtime's own wakes several of its
// threads: on an idle machine two and a half times the cost, which there is most of what the sensor takes. For the same reason its
// calls, none of which waits, aren't announced to the scheduler. For one goroutine.
type sleeper struct {
	f   *os.File
	c   syscall.RawConn
	set unix.ItimerSpec
	n   uint64 // expirations, as the kernel writes them
}

func newSleeper() (*sleeper, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("live source: make a timer: %w", err)
	}
	s := &sleeper{f: os.NewFile(uintptr(fd), "timerfd")}
	if s.c, err = s.f.SyscallConn(); err != nil {
		s.f.Close()
		return nil, fmt.Errorf("live source: poll a timer: %w", err)
	}
	return s, nil
}

// sleep returns after d, which is more than 0.
func (s *sleeper) sleep(d time.Duration) error {
	s.set.Value = unix.NsecToTimespec(int64(d))
	var failed unix.Errno
	err := s.c.Read(func(fd uintptr) bool {
		if s.set.Value != (unix.Timespec{}) {
			_, _, failed = unix.RawSyscall6(unix.SYS_TIMERFD_SETTIME, fd, 0, uintptr(unsafe.Pointer(&s.set)), 0, 0, 0)
			s.set.Value = unix.Timespec{}
			return failed != 0
		}
		_, _, failed = unix.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&s.n)), unsafe.Sizeof(s.n))
		return failed != unix.EAGAIN && failed != unix.EINTR
	})
	if err == nil && failed != 0 {
		err = failed
	}
	if err != nil {
		return fmt.Errorf("live source: wait for a timer: %w", err)
	}
	return nil
}

func (s *sleeper) close() error { return s.f.Close() }

// BootTime returns CLOCK_BOOTTIME in ns: the clock of the probe's events. Like a sleeper's calls it isn't announced to the scheduler.
func BootTime() uint64 {
	var t unix.Timespec
	_, _, _ = unix.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_BOOTTIME, uintptr(unsafe.Pointer(&t)), 0) // fails for no clock that there is
	return uint64(t.Nano())
}
