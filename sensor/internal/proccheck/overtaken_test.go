package proccheck

import (
	"bufio"
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/filter"
	"github.com/shikra-sensor/shikra/sensor/internal/probe"
	"github.com/shikra-sensor/shikra/sensor/internal/testkit"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// The process of TestOvertakenCloses closes each of these fds while another thread of it gets the number.
const (
	overtakeEnv   = "overtake"
	overtakeFirst = 100
	overtakeFDs   = 8
)

func playOvertaken() error {
	to, err := unix.Open("/dev/zero", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	for fd := overtakeFirst; fd < overtakeFirst+overtakeFDs; fd++ {
		if err := testkit.OvertakeClose(os.TempDir(), fd, to); err != nil {
			return err
		}
	}
	fmt.Println("overtaken")
	in := bufio.NewReader(os.Stdin)
	_, _ = in.ReadString('\n')
	for fd := overtakeFirst; fd < overtakeFirst+overtakeFDs; fd++ {
		unix.Close(fd)
	}
	fmt.Println("closed")
	_, _ = in.ReadString('\n')
	return nil
}

// TestOvertakenCloses: an fd that one thread made while the call was still at work by which another closed the number is known, and
// is what was made; it is closed when it is closed, also where the probe leaves out closes of fds that state doesn't know.
func TestOvertakenCloses(t *testing.T) {
	w := watch(t, probe.Config{RingBytes: 32 << 20})
	no := filter.Args{Path: filter.NoArg, Flags: filter.NoArg, FD: filter.NoArg}
	anyway := []filter.Way{{Result: filter.Success | filter.Failure}}
	if err := w.probe.SetFilter(&filter.Set{Calls: []filter.Call{
		{Name: "close", Args: no, What: filter.Close},
		{Name: "fcntl", Args: no, What: filter.Fcntl, Ways: anyway},
		{Name: "dup3", Args: no, What: filter.Marks, Ways: anyway},
		{Name: "openat", Args: no, What: filter.Marks, Ways: anyway},
	}}); err != nil {
		t.Fatal(err)
	}
	closes := 0
	cmd, in, out := startStorm(t, overtakeEnv)
	w.see = func(r event.Record, fd int32) {
		if r.Type() == event.SyscallCloseX && r.Origin()&wasmabi.OriginReused != 0 && fd >= overtakeFirst && fd < overtakeFirst+overtakeFDs {
			closes++
		}
	}
	w.waitLine(t, out, nil)
	w.run(100 * time.Millisecond)
	slot := w.state.FindThread(int64(cmd.Process.Pid))
	if slot == 0 {
		t.Fatal("the process isn't known")
	}
	for fd := overtakeFirst; fd < overtakeFirst+overtakeFDs; fd++ {
		f := w.state.OpenFile(slot, int64(fd))
		if f == 0 {
			t.Errorf("fd %d isn't known", fd)
			continue
		}
		if name := string(w.arena.Strings.Get(le.Uint32(w.arena.Files.Record(f)[wasmabi.FileName:]))); name != "/dev/zero" {
			t.Errorf("fd %d is %s", fd, name)
		}
	}
	if closes < overtakeFDs/2 {
		t.Errorf("only %d of %d closes were overtaken", closes, overtakeFDs)
	}
	if _, err := in.Write([]byte("close\n")); err != nil {
		t.Fatal(err)
	}
	w.waitLine(t, out, nil)
	w.run(100 * time.Millisecond)
	for fd := overtakeFirst; fd < overtakeFirst+overtakeFDs; fd++ {
		if w.state.OpenFile(slot, int64(fd)) != 0 {
			t.Errorf("fd %d is still there", fd)
		}
	}
	cnt, err := w.probe.Counters()
	if err != nil || cnt.Lost > 0 {
		t.Errorf("%d events lost, %v", cnt.Lost, err)
	}
	if cnt.Filtered["close"] == 0 {
		t.Log("no close was left out: other processes share fds, so that the probe makes events of all")
	}
	t.Logf("%d of %d closes were overtaken: %+v", closes, overtakeFDs, w.state.Stats())
}
