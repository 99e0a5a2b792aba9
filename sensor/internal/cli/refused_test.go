package cli

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// refusedRules alert on what goes through a socket by the port at its other end: a closed one and one that listens. Ports are
// what the filter judges, which sees the socket, where the rule sees what is known of it.
const refusedRules = `
- rule: Closed port
  desc: a write to what was connected to the closed port last
  condition: evt.type = write and fd.sport = CLOSED
  output: 'closed: result=%evt.res connected=%fd.connected'
  priority: INFO
- rule: Open port
  desc: a write to what was connected to the open port last
  condition: evt.type = write and fd.sport = OPEN
  output: 'open: result=%evt.res connected=%fd.connected'
  priority: INFO
`

// refused makes connections that are begun and refused, and uses the sockets on; what it returns says what the kernel did.
func refused(t *testing.T, closed, open int) (did []string) {
	t.Helper()
	to := func(port int) unix.Sockaddr { return &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}} }
	for _, asks := range []bool{false, true} { // whether the program asks what came of it
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		ready := func() {
			if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, 10000); err != nil && err != unix.EINTR {
				t.Fatal(err)
			}
		}
		connect := func(port int) {
			err := unix.Connect(fd, to(port))
			did = append(did, fmt.Sprint("connect ", err))
			if err == unix.EINPROGRESS {
				ready()
			}
		}
		write := func() {
			_, err := unix.Write(fd, []byte("x"))
			did = append(did, fmt.Sprint("write ", err))
		}
		connect(closed)
		if asks {
			e, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
			did = append(did, fmt.Sprint("error ", unix.Errno(e), err))
		}
		write()
		write()
		connect(open)
		write()
		connect(open)
		write()
		unix.Close(fd)
	}
	return did
}

// TestRefusedConnections: sockets whose connection was refused and made again, judged by their ports with the kernel's filter
// and without: the same alerts, and those that what is known of each socket says.
func TestRefusedConnections(t *testing.T) {
	want := []string{
		// Nobody asks: it counts as connected until the next connect says what came of the first (ECONNABORTED), which makes none.
		"closed: result=ECONNREFUSED connected=true", "closed: result=EPIPE connected=true",
		"closed: result=EPIPE connected=false", "open: result=SUCCESS connected=true",
		// The program asks.
		"closed: result=EPIPE connected=false", "closed: result=EPIPE connected=false",
		"closed: result=EPIPE connected=false", "open: result=SUCCESS connected=true",
	}
	for _, filter := range []string{"true", "false"} {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		// A port that is taken and where nobody listens.
		hold, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(hold)
		if err := unix.Bind(hold, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
			t.Fatal(err)
		}
		sa, err := unix.Getsockname(hold)
		if err != nil {
			t.Fatal(err)
		}
		closed, open := sa.(*unix.SockaddrInet4).Port, l.Addr().(*net.TCPAddr).Port
		rules := strings.NewReplacer("CLOSED", fmt.Sprint(closed), "OPEN", fmt.Sprint(open)).Replace(refusedRules)
		r := startSensor(t, rules, "base_syscalls.all=true", "probe.filter="+filter)

		did := refused(t, closed, open)
		wrote := 0
		for _, d := range did {
			if strings.HasPrefix(d, "write ") {
				wrote++
			}
		}
		alerts := func() (out []string) {
			for _, a := range r.toldBy("") {
				if a.Rule == "Closed port" || a.Rule == "Open port" {
					_, text, _ := strings.Cut(a.Output, " Informational ")
					out = append(out, text)
				}
			}
			return out
		}
		r.until("alerts on every write: "+strings.Join(did, "; "), func() bool { return len(alerts()) >= wrote })
		time.Sleep(100 * time.Millisecond)
		got := alerts()
		if filtered := r.metric(`shikra_filtered_total{syscall="write"}`); (filtered > 0) != (filter == "true") {
			t.Errorf("filter %s: %d writes of others are left out", filter, filtered)
		}
		if s := r.stop(); s != exitOK {
			t.Errorf("it exits with %d", s)
		}
		t.Logf("filter %s: %s", filter, strings.Join(did, "; "))
		if !slices.Equal(got, want) {
			t.Errorf("filter %s:\n%s\nnot\n%s", filter, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}
