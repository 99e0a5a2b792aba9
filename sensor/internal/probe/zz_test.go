package probe

import (
	"testing"

	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"
)

func TestZZCost(t *testing.T) {
	p, err := Load(Config{TraceSelf: true, RingBytes: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	p.Attach()
	defer pinTo(t, 1)()
	path := str("/tmp/zz-open-me")
	rd, _ := ringbuf.NewReader(p.Ring())
	l := &live{p: p, rd: rd}
	fd, _ := unixStats()
	defer fd.Close()
	for _, calls := range [][]string{{}, {"close"}, {"openat"}, {"openat", "close"}} {
		p.SetSyscalls(calls)
		best := 1e9
		for range 30 {
			l.drain(t)
			a, _ := p.coll.Programs["sys_exit"].Stats()
			for range 5000 {
				fd, _, _ := unix.RawSyscall6(257, cwd, path, unix.O_CREAT|unix.O_RDWR, 0o600, 0, 0)
				unix.RawSyscall(3, fd, 0, 0)
			}
			b, _ := p.coll.Programs["sys_exit"].Stats()
			best = min(best, float64(b.Runtime-a.Runtime)/5000)
		}
		t.Logf("%v %.0f ns a pair", calls, best)
	}
}
