package probe

import (
	"testing"
	"time"

	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"
)

func TestZZCost(t *testing.T) {
	p, err := Load(Config{TraceSelf: true, RingBytes: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	defer pinTo(t, 1)()
	path := str("/tmp/zz-open-me")
	rd, _ := ringbuf.NewReader(p.Ring())
	l := &live{p: p, rd: rd}
	run := func() float64 {
		best := 1e9
		for range 40 {
			l.drain(t)
			s := time.Now()
			for range 5000 {
				fd, _, _ := unix.RawSyscall6(257, cwd, path, unix.O_CREAT|unix.O_RDWR, 0o600, 0, 0)
				unix.RawSyscall(3, fd, 0, 0)
			}
			best = min(best, float64(time.Since(s).Nanoseconds())/5000)
		}
		return best
	}
	base := run()
	p.SetSyscalls([]string{})
	p.Attach()
	un := run()
	p.SetSyscalls([]string{"openat", "close"})
	w := run()
	t.Logf("base %.0f unwatched +%.0f watched +%.0f", base, un-base, w-base)
}
