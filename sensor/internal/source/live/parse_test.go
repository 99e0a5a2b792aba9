package live

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/bpf"
	"github.com/shikra-sensor/shikra/sensor/internal/snapshot"
	"github.com/shikra-sensor/shikra/sensor/internal/userdb"
	"github.com/shikra-sensor/shikra/wasmabi"
)

func TestParseStat(t *testing.T) {
	const line = "77 (a (b) c) S 5 6 7 34817 -1 4194560 1 2 3 4 5 6 7 8 20 0 3 0 12345 1 2 3\n"
	var th snapshot.Thread
	n, err := parseStat([]byte(line), &th)
	want := snapshot.Thread{Comm: "a (b) c", PTID: 5, PGID: 6, VPGID: 6, SID: 7, TTY: 34817, CloneTS: 123450000000}
	if err != nil || n != 3 || !reflect.DeepEqual(th, want) {
		t.Errorf("%d, %v, %+v", n, err, th)
	}
	th = snapshot.Thread{}
	if n, err := parseStat([]byte(strings.Replace(line, ") S", ") Z", 1)), &th); err != nil || n != -1 {
		t.Errorf("a zombie: %d, %v", n, err)
	}
	if _, err := parseStat([]byte(strings.Replace(line, "4194560", "2129984", 1)), &th); err != nil || th.Flags != wasmabi.ThreadKernel {
		t.Errorf("a kernel thread: %v, %+v", err, th)
	}
	for _, bad := range []string{"", ")(", "1 (x)", "1 (x) S 1 2", strings.Replace(line, " 5 6", " x 6", 1), strings.Replace(line, "12345", "-1", 1)} {
		if _, err := parseStat([]byte(bad), &th); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestParseStatus(t *testing.T) {
	const text = "Name:\tx\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t20 30 \nNStgid:\t100\t10\t1\nNSpid:\t101\t11\t2\nNSpgid:\t100\t10\t1\n" +
		"Threads:\t4\nCapInh:\t0000000000000001\nCapPrm:\t000001ffffffffff\nCapEff:\t0000000000000003\nnonsense\nUid2:\n"
	th := snapshot.Thread{TID: 101, PID: 100}
	st := parseStatus([]byte(text), &th)
	want := snapshot.Thread{TID: 101, PID: 100, VTID: 2, VPID: 1, VPGID: 1, UID: 2, GID: 6, CapInheritable: 1, CapPermitted: 1<<41 - 1, CapEffective: 3}
	if !reflect.DeepEqual(th, want) {
		t.Errorf("got %+v", th)
	}
	if st.threads != 4 || st.fsuid != 4 || st.fsgid != 8 || !st.nested || !st.inGroup(8) || !st.inGroup(30) || st.inGroup(31) {
		t.Errorf("got %+v", st)
	}
	th = snapshot.Thread{TID: 3, PID: 2}
	parseStatus(nil, &th)
	if th.VTID != 3 || th.VPID != 2 {
		t.Errorf("without namespaces: %+v", th)
	}
}

func TestParseLimits(t *testing.T) {
	const head = "Limit                     Soft Limit           Hard Limit           Units\n"
	for text, want := range map[string]int64{
		head + "Max open files            1024                 524288               files\n": 1024,
		head + "Max open files            unlimited            unlimited            files\n": math.MaxInt64,
		head: -1, "Max open files": -1, "Max open files x": -1,
	} {
		if got := parseLimits([]byte(text)); got != want {
			t.Errorf("%q: %d", text, got)
		}
	}
}

func TestParseCgroups(t *testing.T) {
	tests := map[string][]string{
		"0::/a/b:c\n":                       {"cpuset=/a/b:c", "cpu=/a/b:c", "io=/a/b:c", "memory=/a/b:c", "pids=/a/b:c"},
		"3:cpu,cpuacct:/x\n2:blkio:/y\n":    {"cpu=/x", "cpuacct=/x", "io=/y"},
		"1:name=systemd:/s\n0::/u\n":        {"name=systemd=/s", "unified=/u"},
		"":                                  {},
		"nonsense\n1:cpu\n2::\n::\n7:cpu:/": {"cpu=/"},
	}
	for text, want := range tests {
		if got := parseCgroups([]byte(text)); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
	if got := parseCgroups([]byte(strings.Repeat("1:a,b,c:/x\n", 1000))); len(got) > maxCgroups {
		t.Errorf("%d cgroups", len(got))
	}
}

func TestEventFlags(t *testing.T) {
	for _, tt := range []struct {
		kernel int
		event  uint32
	}{
		{unix.O_RDONLY, 1}, {unix.O_WRONLY, 2}, {unix.O_RDWR, 3}, {unix.O_RDWR | unix.O_CREAT | unix.O_EXCL, 3 | 1<<2 | 1<<5},
		{unix.O_APPEND | unix.O_NONBLOCK, 1 | 1<<3 | 1<<6}, {unix.O_DSYNC, 1 | 1<<4}, {unix.O_SYNC, 1 | 1<<4 | 1<<7},
		{unix.O_DIRECTORY, 1 | 1<<10}, {unix.O_TMPFILE | unix.O_RDWR, 3 | 1<<10 | 1<<13}, {unix.O_CLOEXEC | unix.O_TRUNC | unix.O_DIRECT, 1 | 1<<8 | 1<<9 | 1<<12},
	} {
		if got := eventFlags(uint32(tt.kernel)); got != tt.event {
			t.Errorf("%#x: got %#x, want %#x", tt.kernel, got, tt.event)
		}
	}
	if got := parseFdinfo([]byte("pos:\t0\nflags:\t02000002\nmnt_id:\t9\n")); got != 3|1<<12 {
		t.Errorf("fdinfo: %#x", got)
	}
	for _, bad := range []string{"", "flags:", "flags:\tx\n"} {
		if got := parseFdinfo([]byte(bad)); got != 1 {
			t.Errorf("%q: %#x", bad, got)
		}
	}
}

func TestSocketLines(t *testing.T) {
	le := [4]byte{1, 0, 0, 0}
	if *(*uint32)(unsafe.Pointer(&le)) != 1 {
		t.Skip("the lines are from a little-endian machine")
	}
	tests := []struct {
		family, proto uint8
		line          string
		ino           uint64
		want          string // name, when not listened on
	}{
		{unix.AF_INET, 6, "   0: 0100007F:1F90 0200007F:C350 01 00000000:00000000 00:00000000 00000000  1000        0 55 1 0000000000000000 20", 55, "127.0.0.1:8080->127.0.0.2:50000"},
		{unix.AF_INET, 17, "  12: 00000000:0044 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 56 2 0000000000000000 0", 56, "0.0.0.0:68"},
		{unix.AF_INET6, 6, "   1: 00000000000000000000000001000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 57 1 0", 57, "::1:22"},
		{unix.AF_INET6, 6, "   1: 0000000000000000FFFF00000100007F:0016 0000000000000000FFFF00000200007F:0001 01 00000000:00000000 00:00000000 00000000     0        0 58 1 0", 58, "127.0.0.1:22->127.0.0.2:1"},
		{unix.AF_UNIX, 0, "0000000000000000: 00000002 00000000 00010000 0001 01 59 /run/a b.sock", 59, "/run/a b.sock"},
		{unix.AF_UNIX, 0, "0000000000000000: 00000003 00000000 00000000 0001 03 60", 60, ""},
		{unix.AF_NETLINK, 0, "00000000f0f0f0f0 0   601    00000113 0        0        0     2        0        61", 61, ""},
	}
	for _, tt := range tests {
		k := socket{family: tt.family, proto: tt.proto}
		ino, ok := k.parse([]byte(tt.line))
		if !ok || ino != tt.ino {
			t.Errorf("%s: inode %d, %v", tt.line, ino, ok)
		}
		var f snapshot.File
		name := k.path
		if tt.family == unix.AF_INET || tt.family == unix.AF_INET6 {
			k.fill(&f, false)
			name = f.Name
		}
		if name != tt.want {
			t.Errorf("%s: name %q, want %q", tt.line, name, tt.want)
		}
	}
	for _, bad := range []string{"", "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode", ":", "0: 1 2 3 4 5 6 7 8 9", "0: XX:0 YY:0 00 0 0 0 0 0 5"} {
		k := socket{family: unix.AF_INET, proto: 6}
		if ino, ok := k.parse([]byte(bad)); ok {
			t.Errorf("%q gave inode %d", bad, ino)
		}
	}
}

func TestAcceptedSocketIsServer(t *testing.T) {
	k := socket{family: unix.AF_INET, proto: unix.IPPROTO_TCP, state: tcpEstablished, laddr: [16]byte{10, 0, 0, 1}, raddr: [16]byte{10, 0, 0, 2}, lport: 80, rport: 4000}
	var f snapshot.File
	k.fill(&f, true)
	if f.Name != "10.0.0.2:4000->10.0.0.1:80" || f.Bits != wasmabi.FileServer|wasmabi.FileConnected || f.CPort != 4000 || f.SPort != 80 || f.Server[3] != 1 {
		t.Errorf("%+v", f)
	}
}

func TestUsers(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/real", filepath.Join(root, "etc/passwd")); err != nil { // within root, not on this machine
		t.Fatal(err)
	}
	passwd := "root:x:0:0:root:/root:/bin/sh\n# comment\n+nis\n\nbad\nbad:x:-1:0:::\nbad:x:5000000000:0:::\nb\x01d:x:1:1:::\n:x:3:3:::\n" +
		"www:x:33:34:www-data:/var/www:/usr/sbin/nologin:more\nlast:x:7:8::/:"
	if err := os.WriteFile(filepath.Join(root, "etc/real"), []byte(passwd), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "etc/group"), []byte("root:x:0:\nadm:x:4:a,b\nbad:x:z:\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	sink := newTable()
	s := &shot{cfg: SnapshotConfig{HostRoot: root}.withDefaults(), sink: sink}
	s.users()
	users := []snapshot.User{
		{UID: 0, GID: 0, Name: "root", Home: "/root", Shell: "/bin/sh"},
		{UID: 33, GID: 34, Name: "www", Home: "/var/www", Shell: "/usr/sbin/nologin"},
		{UID: 7, GID: 8, Name: "last", Home: "/"},
	}
	if !reflect.DeepEqual(sink.users, users) || !reflect.DeepEqual(sink.groups, []snapshot.Group{{GID: 0, Name: "root"}, {GID: 4, Name: "adm"}}) {
		t.Errorf("%+v\n%+v", sink.users, sink.groups)
	}
	if s.rep.UsersCut != 6 {
		t.Errorf("%d cut", s.rep.UsersCut)
	}
	if cut := userdb.Groups([]byte(strings.Repeat("a:x:7:\n", 100)), 10, func(*snapshot.Group) {}); cut != 90 {
		t.Errorf("%d cut of 100 with a limit of 10", cut)
	}
}

// items makes a stream of n iterator items with name bytes each.
func items(n, name int) []byte {
	var out []byte
	for i := range n {
		l := (taskHeadSize + name + 7) &^ 7
		h := bpf.IterTaskIterTaskHead{Len: uint32(l), Tid: int32(i), ExeLen: uint16(name)}
		out = append(out, unsafe.Slice((*byte)(unsafe.Pointer(&h)), taskHeadSize)...)
		out = append(out, make([]byte, l-taskHeadSize)...)
	}
	return out
}

func TestEachItem(t *testing.T) {
	lenAt := int(unsafe.Offsetof(bpf.IterTaskIterTaskHead{}.Len))
	whole := items(500, 1000)
	for name, r := range map[string]io.Reader{
		"whole": bytes.NewReader(whole), "by byte": iotest.OneByteReader(bytes.NewReader(whole)), "halves": iotest.HalfReader(bytes.NewReader(whole)),
		"with its end": iotest.DataErrReader(bytes.NewReader(whole)),
	} {
		n := 0
		err := eachItem(context.Background(), r, taskHeadSize, lenAt, func(b []byte) {
			var h bpf.IterTaskIterTaskHead
			copy(unsafe.Slice((*byte)(unsafe.Pointer(&h)), taskHeadSize), b)
			if int(h.Tid) != n {
				t.Fatalf("%s: item %d is %d", name, n, h.Tid)
			}
			n++
		})
		if err != nil || n != 500 {
			t.Errorf("%s: %d items, %v", name, n, err)
		}
	}
	if err := eachItem(context.Background(), bytes.NewReader(whole[:len(whole)-8]), taskHeadSize, lenAt, func([]byte) {}); err == nil {
		t.Error("a torn item passed")
	}
	if err := eachItem(context.Background(), iotest.ErrReader(unix.EIO), taskHeadSize, lenAt, func([]byte) {}); !errors.Is(err, unix.EIO) {
		t.Errorf("got %v", err)
	}
}

// FuzzEachItem feeds arbitrary bytes as an iterator's output: no panic, and items never overlap or pass the end.
func FuzzEachItem(f *testing.F) {
	f.Add(items(2, 5))
	f.Add(items(1, 0)[:50])
	f.Add(make([]byte, 400))
	f.Fuzz(func(t *testing.T, b []byte) {
		total := 0
		s := &shot{cfg: SnapshotConfig{}.withDefaults(), sink: newTable(), seen: map[int32]int{}}
		lenAt := int(unsafe.Offsetof(bpf.IterTaskIterTaskHead{}.Len))
		err := eachItem(context.Background(), bytes.NewReader(b), taskHeadSize, lenAt, func(item []byte) {
			total += len(item)
			s.taskItem(item)
		})
		if total > len(b) || err == nil && total != len(b) {
			t.Fatalf("%d bytes of items from %d, %v", total, len(b), err)
		}
		p := &procfs{dir: -1, buf: make([]byte, 4096)}
		for i := range s.table.at {
			s.table.thread(i, p)
		}
	})
}

// FuzzProcText feeds arbitrary text to what reads /proc.
func FuzzProcText(f *testing.F) {
	f.Add("1 (x) S 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2\n")
	f.Add("Uid:\t1\nGroups:\t1 2 3\n")
	f.Add("0: 0100007F:1F90 0200007F:C350 01 0:0 00:0 0 0 0 55 1 0")
	f.Fuzz(func(t *testing.T, text string) {
		b := []byte(text)
		var th snapshot.Thread
		_, _ = parseStat(b, &th)
		parseStatus(b, &th)
		parseLimits(b)
		parseFdinfo(b)
		parseCgroups(b)
		splitNUL(b)
		unixName(b)
		for _, tab := range socketTables {
			k := socket{family: tab.family, proto: tab.proto}
			if _, ok := k.parse(b); ok && (tab.family == unix.AF_INET || tab.family == unix.AF_INET6) {
				k.fill(&snapshot.File{}, true)
			}
		}
		userdb.Users(b, 100, func(*snapshot.User) {})
		userdb.Groups(b, 100, func(*snapshot.Group) {})
	})
}
