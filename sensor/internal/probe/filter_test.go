package probe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/bpf"
	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/filter"
)

// TestFilterForm compares the form of filters with the object's types.
func TestFilterForm(t *testing.T) {
	spec, err := bpf.LoadProbe()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := int(spec.Maps["filters"].ValueSize), binary.Size(cFilters{}); got != want {
		t.Errorf("filters are %d bytes, not %d", got, want)
	}
	if got := spec.Maps["marks"].ValueSize; got != 2*filter.FDs { // of each eight bytes four say whose they are
		t.Errorf("marks are %d bytes, not %d", got, 2*filter.FDs)
	}
	s := spec.Maps["filters"].Value.(*btf.Struct)
	f := s.Members[1].Type.(*btf.Array)
	if f.Nelems != filter.MaxFilters || s.Members[2].Type.(*btf.Array).Nelems != filter.MaxTables {
		t.Errorf("%d filters, %d tables", f.Nelems, s.Members[2].Type.(*btf.Array).Nelems)
	}
	at := map[string]uint32{}
	for _, m := range btf.UnderlyingType(f.Type).(*btf.Struct).Members {
		at[m.Name] = m.Offset.Bytes()
	}
	for name, want := range map[string]uint32{"success": 0, "failure": 4, "open": 8, "no_path": 24, "no_port": 28, "port": 32, "port_ways": 48, "path_arg": 80, "flags_arg": 81, "fd_arg": 82, "table": 83, "what": 84} {
		if got, ok := at[name]; !ok || got != want {
			t.Errorf("%s is at %d, not %d", name, got, want)
		}
	}
}

// somePath makes a path of which many begin alike, are as long as a word or a line of words, or have something to resolve.
func somePath(r *rand.Rand) string {
	pieces := []string{"/etc", "/dev", "/null", "/passwd", "/", "/.", "/..", "//", "/.hidden", "/a", "/tmp", "x", ".", "/proc/self", "/1234567", "/123456", "/etc/passwd", "/dev/null"}
	switch r.Intn(6) {
	case 0:
		return pieces[r.Intn(len(pieces))]
	case 1:
		return "/" + strings.Repeat("y", []int{1, 5, 6, 7, 8, 22, 23, 29, 30, 31, 32, 60, 250, 252, 253, 254, 255, 300}[r.Intn(18)])
	}
	var b strings.Builder
	for range 1 + r.Intn(4) {
		b.WriteString(pieces[r.Intn(len(pieces))])
	}
	return b.String()
}

func someWays(r *rand.Rand) (ways []filter.Way) {
	for range r.Intn(4) {
		w := filter.Way{Result: uint8(1 + r.Intn(3)), Open: uint8(r.Intn(8))}
		if r.Intn(3) > 0 {
			w.Paths = []filter.Path{}
			for range r.Intn(1 + r.Intn(80)) {
				w.Paths = append(w.Paths, filter.Path{Text: somePath(r), Exact: r.Intn(2) == 0})
			}
		}
		ways = append(ways, w)
	}
	return ways
}

// endedOpen is what an openat says to the model.
func endedOpen(path string, flags int, res int) *filter.Ended {
	e := &filter.Ended{Result: int64(res), Path: []byte(path)}
	switch flags & 3 {
	case unix.O_WRONLY:
		e.Open = filter.Write
	case unix.O_RDWR:
		e.Open = filter.Read | filter.Write
	default:
		e.Open = filter.Read
	}
	if flags&unix.O_TRUNC != 0 {
		e.Open |= filter.Write
	}
	if flags&unix.O_CREAT != 0 {
		e.Open |= filter.Create
	}
	return e
}

// inThread returns the records of what fn does in a thread of its own.
func (l *live) inThread(t testing.TB, calls []string, fn func()) []event.Record {
	t.Helper()
	return l.events(t, calls, func() { inThread(fn) })
}

// TestFilterLikeModel: the kernel leaves out just what the model does, over random filters and random opens.
func TestFilterLikeModel(t *testing.T) {
	l := needProbe(t)
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewSource(seed))
	defer func() {
		if err := l.p.SetFilter(nil); err != nil {
			t.Error(err)
		}
	}()
	kept, left := 0, 0
	for range 40 {
		set := &filter.Set{Calls: []filter.Call{{Name: "openat", Ways: someWays(r), Args: filter.Args{Path: 1, Flags: 2, FD: filter.NoArg}, What: filter.Opens * filter.What(r.Intn(2))}}}
		if err := l.p.SetFilter(set); err != nil {
			t.Fatal(err)
		}
		form := filter.Build(set)
		var want []string
		tid := 0
		recs := l.inThread(t, []string{"openat"}, func() {
			tid = unix.Gettid()
			for range 150 {
				path, flags := somePath(r), []int{unix.O_RDONLY, unix.O_WRONLY, unix.O_RDWR, unix.O_RDONLY | unix.O_CREAT | unix.O_EXCL}[r.Intn(4)]|unix.O_NONBLOCK
				if flags&unix.O_CREAT != 0 && !strings.HasPrefix(path, "/yyy") {
					path = "/proc/self" + path // nothing is made there
				}
				fd, err := unix.Open(path, flags|unix.O_LARGEFILE, 0)
				res := fd
				var st unix.Stat_t
				if err != nil {
					res = -int(err.(unix.Errno))
				} else {
					unix.Fstat(fd, &st)
					unix.Close(fd)
				}
				e := endedOpen(path, flags, res)
				e.Directory = st.Mode&unix.S_IFMT == unix.S_IFDIR
				if form.Drops("openat", e) {
					left++
				} else {
					want = append(want, fmt.Sprintf("%q %d", path, res))
				}
				if err == nil && flags&unix.O_CREAT != 0 {
					os.Remove(path)
				}
			}
		})
		var got []string
		for _, rec := range recs {
			if rec.Type() == event.SyscallOpenatV2X && rec.TID() == int64(tid) {
				fd, _ := rec.Param(0)
				name, _ := rec.Param(2)
				got = append(got, fmt.Sprintf("%q %d", strings.TrimSuffix(string(name), "\x00"), int64(binary.NativeEndian.Uint64(fd))))
			}
		}
		kept += len(got)
		for i := range max(len(got), len(want)) {
			a, b := "(none)", "(none)"
			if i < len(want) {
				a = want[i]
			}
			if i < len(got) {
				b = got[i]
			}
			if a != b {
				t.Fatalf("event %d of %d and %d: the model keeps %s, the kernel %s\n%+v", i, len(want), len(got), a, b, set)
			}
		}
	}
	t.Logf("%d kept, %d left out", kept, left)
	if kept < 100 || left < 100 {
		t.Error("the test shows nothing")
	}
}

// TestFilterCloses: closes are made of those fds alone that state may know: those of before, and those whose event was made.
func TestFilterCloses(t *testing.T) {
	l := needProbe(t)
	no := filter.Args{Path: filter.NoArg, Flags: filter.NoArg, FD: filter.NoArg}
	anyway := []filter.Way{{Result: filter.Success | filter.Failure}}
	pair := no
	pair.FD = 0
	set := &filter.Set{Calls: []filter.Call{
		{Name: "openat", Args: filter.Args{Path: 1, Flags: 2, FD: filter.NoArg}, What: filter.Opens | filter.Marks, Ways: []filter.Way{{Result: filter.Success, Paths: []filter.Path{{Text: "/etc/"}}}}},
		{Name: "close", Args: no, What: filter.Close},
		{Name: "dup", Args: no, What: filter.Marks, Ways: anyway},
		{Name: "fcntl", Args: no, What: filter.Fcntl, Ways: anyway},
		{Name: "pipe2", Args: pair, What: filter.Pair, Ways: anyway},
	}}
	defer func() {
		if err := l.p.SetFilter(nil); err != nil {
			t.Error(err)
		}
	}()
	tmp := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(tmp, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	// Other processes of the machine may have this one's place, or share tables so that no close may be left out: neither is a fault.
	for range 10 {
		if err := l.p.SetFilter(set); err != nil {
			t.Fatal(err)
		}
		if fd, err := unix.Open(tmp, unix.O_RDONLY, 0); err != nil || unix.Close(fd) != nil { // takes the place
			t.Fatal(err)
		}
		got, want := l.closes(t, tmp)
		if slices.Equal(got, want) {
			if c, err := l.p.Counters(); err != nil || c.Filtered["openat"] == 0 || c.Filtered["close"] == 0 {
				t.Errorf("what is left out is counted: %v, %v", c.Filtered, err)
			}
			return
		}
		marked := l.p.coll.Maps["marked"]
		tgid, who, off := uint32(os.Getpid()), uint32(0), uint32(0)
		if err := l.p.coll.Variables[marksOff].Get(&off); err != nil {
			t.Fatal(err)
		}
		if err := marked.Lookup(tgid%marked.MaxEntries(), &who); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			t.Fatal(err)
		}
		if off == 0 && who == tgid {
			t.Fatalf("closes of %v are seen, not of %v", got, want)
		}
		t.Logf("again: marks are off: %d, the place is that of process %d, not %d", off, who, tgid)
	}
	t.Error("in ten tries no close could be left out")
}

// closes makes fds in a table of a thread's own, closes them, and returns which closes were seen and of which there are events: of
// those that the filter of TestFilterCloses keeps, or whose file it doesn't know.
func (l *live) closes(t *testing.T, tmp string) (got, want []int) {
	tid := 0
	recs := l.inThread(t, []string{"openat", "close", "dup", "fcntl", "pipe2"}, func() {
		tid = unix.Gettid()
		closing := func(_ string, fd, made int) {
			unix.Close(fd)
			if made == 1 {
				want = append(want, fd)
			}
		}
		open := func(path string) int {
			fd, err := unix.Open(path, unix.O_RDONLY, 0)
			if err != nil {
				t.Error(err)
			}
			return fd
		}
		// A table of its own, with room below where fds share a place.
		if err := unix.Unshare(unix.CLONE_FILES); err != nil {
			t.Error(err)
		}
		if err := unix.CloseRange(60, 1<<20, 0); err != nil {
			t.Error(err)
		}
		// Of numbers that nothing is known of the first close counts as that of a known fd.
		var fds [4]int
		for i := range fds {
			fds[i] = open(tmp)
		}
		for _, fd := range fds {
			closing("of before", fd, 1)
		}
		closing("an open left out", open(tmp), 0)
		closing("an open that a rule wants", open("/etc/passwd"), 1)
		closing("the same number again, left out", open(tmp), 0)
		closing("a directory", open("/usr"), 1)
		fd := open(tmp)
		dup, err := unix.Dup(fd)
		if err != nil {
			t.Error(err)
		}
		closing("a duplicate", dup, 1)
		dup, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Error(err)
		}
		closing("a duplicate by fcntl", dup, 1)
		closing("what it was made of", fd, 0)
		var p [2]int
		if err := unix.Pipe2(p[:], 0); err != nil {
			t.Error(err)
		}
		closing("a pipe's end", p[0], 1)
		closing("its other end", p[1], 1)
		closing("no fd", 1<<20, 0)
	})
	for _, rec := range recs {
		if rec.Type() == event.SyscallCloseX && rec.TID() == int64(tid) {
			b, _ := rec.Param(1)
			got = append(got, int(int64(binary.NativeEndian.Uint64(b))))
		}
	}
	return got, want
}

// somePorts makes ways that take some of these ports, any, or none.
func somePorts(r *rand.Rand, ports []uint16) (ways []filter.Way) {
	for range 1 + r.Intn(3) {
		w := filter.Way{Result: uint8(1 + r.Intn(3))}
		if r.Intn(4) > 0 {
			w.Ports = []uint16{}
			for range 1 + r.Intn(3) {
				w.Ports = append(w.Ports, ports[r.Intn(len(ports))])
			}
		}
		ways = append(ways, w)
	}
	return ways
}

// TestFilterPortsLikeModel: of calls on sockets the kernel leaves out just those that the model does.
func TestFilterPortsLikeModel(t *testing.T) {
	l := needProbe(t)
	a, b, local, remote := connected(t)
	udp, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(udp)
	if err := unix.Connect(udp, &unix.SockaddrInet4{Port: 9, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	loose, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(loose)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	type onSocket struct {
		fd int
		s  filter.Socket
	}
	on := []onSocket{
		{a, filter.Socket{Stream: true, Local: local, Remote: remote}}, {b, filter.Socket{Stream: true, Local: remote, Remote: local}},
		{udp, filter.Socket{Datagram: true}}, {loose, filter.Socket{Stream: true}}, {pair[0], filter.Socket{}}, {-1, filter.Socket{}},
	}
	calls := []struct {
		name string
		nr   uintptr
		typ  event.Type
	}{
		{"sendto", unix.SYS_SENDTO, event.SocketSendtoX}, {"recvfrom", unix.SYS_RECVFROM, event.SocketRecvfromX},
		{"write", unix.SYS_WRITE, event.SyscallWriteX}, {"read", unix.SYS_READ, event.SyscallReadX},
		{"sendmsg", unix.SYS_SENDMSG, event.SocketSendmsgX}, {"shutdown", unix.SYS_SHUTDOWN, event.SocketShutdownX},
	}
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewSource(seed))
	defer func() {
		if err := l.p.SetFilter(nil); err != nil {
			t.Error(err)
		}
	}()
	kept, left := 0, 0
	for range 30 {
		set := &filter.Set{}
		var names []string
		for _, c := range calls {
			names = append(names, c.name)
			set.Calls = append(set.Calls, filter.Call{Name: c.name, Ways: somePorts(r, []uint16{local, remote, 9, 7, 0}), Args: filter.Args{Path: filter.NoArg, Flags: filter.NoArg, FD: 0}})
		}
		if err := l.p.SetFilter(set); err != nil {
			t.Fatal(err)
		}
		form := filter.Build(set)
		var want []string
		tid := 0
		recs := l.inThread(t, names, func() {
			tid = unix.Gettid()
			for range 60 {
				c, o := calls[r.Intn(len(calls))], on[r.Intn(len(on))]
				// Of no bytes, not blocking, of no message or in no way: the connections stay as they are.
				size, second, flags := uintptr(0), uintptr(0), uintptr(unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
				if c.name == "shutdown" {
					second = 77
				}
				if (c.name == "read" || c.name == "recvfrom") && o.s.Datagram {
					continue // would wait
				}
				n, _, errno := unix.Syscall6(c.nr, uintptr(o.fd), second, size, flags, 0, 0)
				res := int64(n)
				if errno != 0 {
					res = -int64(errno)
				}
				if form.Drops(c.name, &filter.Ended{Result: res, Socket: o.s}) {
					left++
				} else {
					want = append(want, fmt.Sprintf("%s of %d", c.name, res))
				}
			}
		})
		var got []string
		for _, rec := range recs {
			// The runtime wakes its poller by a write, from any thread.
			fd, _ := rec.Param(rec.Type().Info().ParamIndex("fd"))
			mine := len(fd) == 8 && slices.ContainsFunc(on, func(o onSocket) bool { return int64(o.fd) == int64(binary.NativeEndian.Uint64(fd)) })
			for _, c := range calls {
				if rec.Type() == c.typ && rec.TID() == int64(tid) && mine {
					res, _ := rec.Param(0)
					got = append(got, fmt.Sprintf("%s of %d", c.name, int64(binary.NativeEndian.Uint64(res))))
				}
			}
		}
		kept += len(got)
		if !slices.Equal(got, want) {
			t.Fatalf("the kernel keeps\n%v, the model\n%v\n%+v", got, want, set)
		}
	}
	t.Logf("%d kept, %d left out", kept, left)
	if kept < 100 || left < 100 {
		t.Error("the test shows nothing")
	}
}
