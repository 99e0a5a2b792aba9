package probe

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestZZCost(t *testing.T) {
	p, err := Load(Config{TraceSelf: true, RingBytes: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Attach(); err != nil {
		t.Fatal(err)
	}
	defer pinTo(t, 1)()
	path := str("/tmp/zz-open-me")
	run := func() {
		for range 100000 {
			fd, _, _ := unix.RawSyscall6(uintptr(number("openat")), cwd, path, unix.O_CREAT|unix.O_RDWR, 0o600, 0, 0)
			unix.RawSyscall(uintptr(number("close")), fd, 0, 0)
		}
	}
	for _, calls := range [][]string{{}, {"close"}, {"openat"}, {"openat", "close"}} {
		p.SetSyscalls(calls)
		fd, err := unixStats()
		if err != nil {
			t.Fatal(err)
		}
		a, _ := p.coll.Programs["sys_exit"].Stats()
		run()
		b, _ := p.coll.Programs["sys_exit"].Stats()
		fd.Close()
		n := b.RunCount - a.RunCount
		t.Logf("%v: %d runs, %.1f ns a run, %.1f ns a pair", calls, n, float64(b.Runtime-a.Runtime)/float64(n), float64(b.Runtime-a.Runtime)/100000)
	}
}
