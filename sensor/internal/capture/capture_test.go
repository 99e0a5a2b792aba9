package capture

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/snapshot"
	"github.com/shikra-sensor/shikra/sensor/internal/testkit"
	"github.com/shikra-sensor/shikra/wasmabi"
)

var (
	testMachine    = MachineInfo{CPUs: 4, Memory: 1 << 30, MaxPID: 32768, Hostname: "edge.example.com", BootTS: 1e18, Flags: 1}
	testInterfaces = []Interface{
		{Name: "lo", Addr: netip.MustParseAddr("127.0.0.1"), Mask: netip.MustParseAddr("255.0.0.0"), Broadcast: netip.MustParseAddr("0.0.0.0")},
		{Name: "eth0", Addr: netip.MustParseAddr("2001:db8::1"), Mask: netip.MustParseAddr("ffff::"), Broadcast: netip.MustParseAddr("::"), Speed: 1000},
	}
)

// keep copies what a block says, for it is valid for one step only.
func keep(b Block) any {
	switch b := b.(type) {
	case *Section:
		return *b
	case *MachineInfo:
		return *b
	case *Interface:
		return *b
	case *Thread:
		return *b
	case *File:
		return *b
	case *User:
		return *b
	case *Group:
		return *b
	case *Event:
		var p []string
		for i := range b.NumParams() {
			p = append(p, string(b.Param(i)))
		}
		return fmt.Sprintf("%d %d %s cpu=%d flags=%d %q", b.TS, b.TID, b.Type, b.CPU, b.Flags, p)
	}
	return nil
}

func readAll(in io.Reader) ([]any, error) {
	r, err := NewReader(in)
	if err != nil {
		return nil, err
	}
	var out []any
	for {
		b, err := r.Next()
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			if _, again := r.Next(); again != err {
				return out, fmt.Errorf("Next after %w gave %w", err, again)
			}
			return out, err
		}
		out = append(out, keep(b))
	}
}

// TestRoundTrip reads back what the Writer wrote.
func TestRoundTrip(t *testing.T) {
	th := Thread{Thread: testThread, CloneFlags: 0x2001}
	pid1 := Thread{Thread: snapshot.Thread{TID: 1, PID: 1, Comm: "init", LoginUID: 0xFFFFFFFF, Flags: wasmabi.ThreadMain}}
	want := []any{
		Section{1, 2}, testMachine, testInterfaces[0], testInterfaces[1],
		User{snapshot.User{Name: "root", Home: "/root", Shell: "/bin/sh"}}, Group{snapshot.Group{Name: "root"}},
		th, pid1,
	}
	for _, f := range testFiles {
		g := File{File: f, Listening: f.Bits&wasmabi.FileServer != 0}
		g.Bits &^= wasmabi.FileServer
		want = append(want, g)
	}
	n := strings.Repeat("\x00", 7)
	want = append(want,
		fmt.Sprintf("10 101 SyscallOpenX cpu=1 flags=0 %q", []string{"\x03" + n, "/etc/passwd\x00", "\x01\x00\x00\x00", "\x00\x00\x00\x00", "", "M" + n}),
		fmt.Sprintf("11 101 SyscallCloseE cpu=2 flags=1 %q", []string{"\x03" + n}),
		fmt.Sprintf("12 1 PlugineventE cpu=0 flags=0 %q", []string{"\x01\x00\x00\x00", strings.Repeat("x", 70000)}),
		fmt.Sprintf("13 1 ContainerJsonV2E cpu=0 flags=1 %q", []string{"{}\x00"}),
	)
	b := small(t)
	var z bytes.Buffer
	zw := gzip.NewWriter(&z)
	zw.Write(b)
	zw.Close()
	for name, in := range map[string]io.Reader{
		"plain":    bytes.NewReader(b),
		"gzip":     bytes.NewReader(z.Bytes()),
		"slow":     iotest.OneByteReader(bytes.NewReader(b)),
		"data+EOF": iotest.DataErrReader(bytes.NewReader(b)),
	} {
		got, err := readAll(in)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for i := range min(len(got), len(want)) {
			if !reflect.DeepEqual(got[i], want[i]) {
				t.Errorf("%s: %d:\ngot  %+v\nwant %+v", name, i, got[i], want[i])
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s: %d blocks, want %d", name, len(got), len(want))
		}
	}
}

// TestThreadVersions reads one thread from a process list of each version.
func TestThreadVersions(t *testing.T) {
	full := Thread{CloneFlags: 1}
	full.TID, full.PID, full.PTID = 12, 12, 1
	full.Comm, full.Exe, full.Args, full.Cwd = "sh", "/bin/sh", []string{"-c", "true"}, "/tmp/"
	full.FDLimit, full.UID, full.GID, full.LoginUID, full.Flags = 1024, 7, 8, 0xFFFFFFFF, wasmabi.ThreadMain
	types := [][]uint32{
		1: {blockThreadsV1, blockThreadsV1Old}, {blockThreadsV2, blockThreadsV2Old}, {blockThreadsV3, blockThreadsV3Old},
		{blockThreadsV4}, {blockThreadsV5}, {blockThreadsV6}, {blockThreadsV7}, {blockThreadsV8}, {blockThreadsV9},
	}
	for v := 1; v <= 9; v++ {
		body, want := new(raw), full
		body.put(uint64(12), uint64(12), uint64(1))
		if v >= 6 {
			body.put(uint64(5))
			want.SID = 5
		}
		if v >= 8 {
			body.put(^uint64(0)) // unknown
		}
		body.put("sh", "/bin/sh")
		if v >= 7 {
			body.put("/usr/bin/dash")
			want.ExePath = "/usr/bin/dash"
		}
		body.put("-c\x00true", "/tmp/", uint64(1024), uint32(1), uint32(7), uint32(8))
		if v >= 2 {
			body.put(make([]byte, 28))
		}
		if v >= 3 {
			body.put("A=b\x00")
			want.Env = []string{"A=b"}
		}
		if v >= 4 {
			body.put(uint64(2), uint64(1), "cpu=/x\x00")
			want.VTID, want.VPID, want.Cgroups = 2, 1, []string{"cpu=/x"}
			want.Flags |= wasmabi.ThreadNsInit
		}
		if v >= 5 {
			body.put("/r")
			want.Root = "/r"
		}
		// The tails that version 9 has had, each with one field more than the one before.
		type tail struct {
			b   []byte
			set func(*Thread)
		}
		tails := []tail{{nil, func(*Thread) {}}}
		if v == 9 {
			caps := new(raw).put(uint32(33), uint8(1), uint64(1), uint64(2), uint64(3)).Bytes()
			withCaps := func(t *Thread) {
				t.LoginUID, t.CapInheritable, t.CapPermitted, t.CapEffective = 33, 1, 2, 3
				t.Flags |= wasmabi.ThreadExeWritable
			}
			more := append(new(raw).put(uint64(4), uint32(5)).Bytes(), caps...)
			withMore := func(t *Thread) { withCaps(t); t.PidnsInitTS, t.TTY = 4, 5 }
			last := append(bytes.Clone(more), new(raw).put(uint8(1), uint64(6), uint64(7), uint64(8), uint8(0), uint8(1), uint64(9)).Bytes()...)
			withLast := func(t *Thread) {
				withMore(t)
				t.ExeIno, t.ExeCtime, t.ExeMtime, t.PGID = 6, 7, 8, 9
				t.Flags |= wasmabi.ThreadExeUpperLayer | wasmabi.ThreadExeLowerLayer
			}
			tails = append(tails, tail{caps[:4], func(t *Thread) { t.LoginUID = 33 }},
				tail{caps, withCaps}, tail{more, withMore}, tail{last, withLast},
				tail{append(bytes.Clone(last), "what comes next"...), withLast})
		}
		for i, tl := range tails {
			for _, ty := range types[v] {
				w := want
				tl.set(&w)
				entry := cat(body.Bytes(), tl.b)
				if v == 9 {
					entry = cat(new(raw).put(uint32(len(entry)+4)).Bytes(), entry)
				}
				// Twice, so that a wrong length shows.
				got, err := readAll(bytes.NewReader(cat(section(), block(ty, cat(entry, entry)))))
				if err != nil {
					t.Errorf("version %d, tail %d: %v", v, i, err)
					continue
				}
				if want := []any{Section{1, 2}, w, w}; !reflect.DeepEqual(got, want) {
					t.Errorf("version %d, tail %d:\ngot  %+v\nwant %+v", v, i, got, want)
				}
			}
		}
	}
}

// TestOldLists reads the first versions of the other lists.
func TestOldLists(t *testing.T) {
	fd := func(n int64, t uint8, rest ...any) []byte {
		return new(raw).put(uint64(n), uint64(9), t).put(rest...).Bytes()
	}
	files := cat(new(raw).put(uint64(42)).Bytes(),
		fd(0, 1, "/a"), fd(1, fdFileV2, uint32(3), "/b"), fd(2, fdIPv4, []byte{1, 2, 3, 4, 5, 6, 7, 8}, uint16(1), uint16(2), uint8(3)),
		fd(3, fdIPv6Server, make([]byte, 16), uint16(80), uint8(2)), fd(4, fdUnix, uint64(1), uint64(2), "/s"), fd(5, fdUnknown), fd(6, 21, "p"))
	user := new(raw).put(uint8(0), uint32(1), uint32(2), "u", "/h", "/sh", uint8(1), uint32(3), "g").Bytes()
	ifs := new(raw).put(uint16(3), uint16(2), []byte{10, 0, 0, 1, 255, 0, 0, 0, 10, 255, 255, 255}, []byte("e0"),
		uint16(4), uint16(2), make([]byte, 48), []byte("e1"), uint16(1), uint16(1), make([]byte, 12), uint64(5), []byte("e")).Bytes()
	f := func(fd int32, kind byte, name string) File {
		return File{File: snapshot.File{PID: 42, FD: fd, Kind: kind, Name: name, Ino: 9}}
	}
	b, ip4, ip6, un := f(1, 'f', "/b"), f(2, '4', ""), f(3, '6', ""), f(4, 'u', "/s")
	b.OpenFlags, un.Family = 3, 1
	ip4.Client, ip4.Server = [16]byte{1, 2, 3, 4}, [16]byte{5, 6, 7, 8}
	ip4.Family, ip4.CPort, ip4.SPort, ip4.L4Proto = 2, 1, 2, 17
	ip6.Family, ip6.SPort, ip6.L4Proto, ip6.Listening = 10, 80, 6, true
	zero, any6 := netip.MustParseAddr("0.0.0.0"), netip.MustParseAddr("::")
	want := []any{
		Section{1, 2}, f(0, 'f', "/a"), b, ip4, ip6, un, f(5, 0, ""), f(6, 'P', "p"),
		User{snapshot.User{UID: 1, GID: 2, Name: "u", Home: "/h", Shell: "/sh"}}, Group{snapshot.Group{GID: 3, Name: "g"}},
		Interface{Name: "e0", Addr: netip.MustParseAddr("10.0.0.1"), Mask: netip.MustParseAddr("255.0.0.0"), Broadcast: netip.MustParseAddr("10.255.255.255")},
		Interface{Name: "e1", Addr: any6, Mask: any6, Broadcast: any6},
		Interface{Name: "e", Addr: zero, Mask: zero, Broadcast: zero, Speed: 5},
	}
	for _, ty := range [][3]uint32{{blockFiles, blockUsers, blockInterfaces}, {blockFilesOld, blockUsersOld, blockInterfOld}} {
		got, err := readAll(bytes.NewReader(cat(section(), block(ty[0], files), block(ty[1], user), block(ty[2], ifs))))
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	}
}

// TestEventVersions reads events from each kind of event block.
func TestEventVersions(t *testing.T) {
	fd := []byte{3, 0, 0, 0, 0, 0, 0, 0}
	flags := []byte{1, 0, 0, 0}
	closeX := func(flags int) string {
		return fmt.Sprintf("1 2 SyscallCloseX cpu=3 flags=%d %q", flags, []string{string(fd), string(fd)})
	}
	two := []uint16{8, 8}
	notify := v1(1, 2, event.NotificationE, []uint16{1, 1}, []byte("ab"))
	le.PutUint32(notify[18:], le.Uint32(notify[18:])+3)
	for name, c := range map[string]struct {
		t    uint32
		body []byte
		want string
	}{
		"v1":           {blockEvent, v1(1, 2, event.SyscallCloseX, two, cat(fd, fd)), closeX(0)},
		"v1 old":       {blockEventOld, v1(1, 2, event.SyscallCloseX, two, cat(fd, fd)), closeX(0)},
		"v1 flags":     {blockEventF, cat([]byte{3, 0}, flags, v1(1, 2, event.SyscallCloseX, two, cat(fd, fd))[2:]), closeX(1)},
		"v1 fewer":     {blockEvent, v1(1, 2, event.SyscallCloseX, two[:1], fd), fmt.Sprintf("1 2 SyscallCloseX cpu=3 flags=0 %q", []string{string(fd)})},
		"v1 none":      {blockEvent, v1(1, 2, event.SyscallCloseX, nil, nil), "1 2 SyscallCloseX cpu=3 flags=0 []"},
		"v1 empty":     {blockEvent, v1(1, 2, event.SyscallOpenE, []uint16{0, 0, 0}, nil), `1 2 SyscallOpenE cpu=3 flags=0 ["" "" ""]`},
		"v1 notify":    {blockEvent, cat(notify, []byte("pad")), `1 2 NotificationE cpu=3 flags=0 ["a" "b"]`},
		"v1 unknown":   {blockEvent, v1(1, 2, 60000, []uint16{9}, nil), "1 2 Unknown cpu=3 flags=0 []"},
		"v2":           {blockEventV2, v2(nil, 1, 2, event.SyscallCloseX, 2, two, cat(fd, fd)), closeX(0)},
		"v2 flags":     {blockEventFV2, v2(flags, 1, 2, event.SyscallCloseX, 2, two, cat(fd, fd)), closeX(1)},
		"v2 newer":     {blockEventV2, v2(nil, 1, 2, event.SyscallCloseX, 3, []uint16{8, 8, 1}, cat(fd, fd, []byte("x"))), fmt.Sprintf("1 2 SyscallCloseX cpu=3 flags=0 %q", []string{string(fd), string(fd), "x"})},
		"v2 unknown":   {blockEventV2, v2(nil, 1, 2, 60000, 9, []uint16{}, nil), "1 2 Unknown cpu=3 flags=0 []"},
		"large":        {blockEventLarge, v2(nil, 1, 2, event.ContainerJsonV2E, 1, []uint32{3}, []byte("abc")), `1 2 ContainerJsonV2E cpu=3 flags=0 ["abc"]`},
		"large flags":  {blockEventFLarge, v2(flags, 1, 2, event.ContainerJsonV2E, 1, []uint32{3}, []byte("abc")), `1 2 ContainerJsonV2E cpu=3 flags=1 ["abc"]`},
		"many":         {blockEventV2, v2(nil, 1, 2, event.SyscallCloseX, 70, make([]uint16, 70), nil), fmt.Sprintf("1 2 SyscallCloseX cpu=3 flags=0 %q", make([]string, MaxParams))},
		"large type":   {blockEventV2, v2(nil, 1, 2, event.ContainerJsonV2E, 1, []uint32{3}, []byte("abc")), `1 2 ContainerJsonV2E cpu=3 flags=0 ["abc"]`},
		"v1 long type": {blockEvent, new(raw).put(uint16(3), uint64(1), uint64(2), uint32(22+4+3), uint16(event.ContainerJsonV2E), uint32(3), []byte("abc")).Bytes(), `1 2 ContainerJsonV2E cpu=3 flags=0 ["abc"]`},
	} {
		got, err := readAll(bytes.NewReader(cat(section(), block(c.t, c.body))))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if len(got) != 2 || got[1] != c.want {
			t.Errorf("%s:\ngot  %v\nwant %v", name, got, c.want)
		}
	}
}

// TestErrors reads captures with one thing wrong, each behind a section and a machine block.
func TestErrors(t *testing.T) {
	begin := cat(section(), block(blockMachine, make([]byte, machineSize)))
	at := int64(len(begin))
	fd := []byte{3, 0, 0, 0, 0, 0, 0, 0}
	bad := func(b []byte) []byte { b[len(b)-1] ^= 1; return b }
	long := func(t uint32, n uint32) []byte { return new(raw).put(t, n).Bytes() }
	for name, c := range map[string]struct {
		b    []byte
		want error
	}{
		"no header":            {[]byte{1, 2, 3}, io.ErrUnexpectedEOF},
		"block of no length":   {long(blockEventV2, 0), ErrBlockLen},
		"block too short":      {long(blockEventV2, 11), ErrBlockLen},
		"huge event":           {long(blockEventV2, 0xFFFFFFFF), ErrTooLong},
		"event over limit":     {long(blockEventV2, MaxEvent+1), ErrTooLong},
		"huge large event":     {long(blockEventLarge, MaxLargeEvent+4), ErrTooLong},
		"large event ends":     {long(blockEventLarge, MaxLargeEvent), io.ErrUnexpectedEOF},
		"huge process list":    {cat(long(blockThreadsV5, 0xFFFFFFFC), make([]byte, 20)), io.ErrUnexpectedEOF},
		"huge unknown block":   {cat(long(0x999, 0xFFFFFFFF), make([]byte, 20)), io.ErrUnexpectedEOF},
		"event ends":           {long(blockEventV2, 100), io.ErrUnexpectedEOF},
		"event without header": {block(blockEventV2, make([]byte, 8)), ErrParams},
		"event's trailer":      {bad(block(blockEventV2, v2(nil, 1, 2, event.SyscallCloseE, 1, []uint16{8}, fd))), ErrBlockLen},
		"list's trailer":       {bad(block(blockUsers, nil)), ErrBlockLen},
		"unknown's trailer":    {bad(block(0x999, nil)), ErrBlockLen},
		"machine too short":    {block(blockMachine, make([]byte, 100)), ErrEntry},
		"section too short":    {block(blockSection, make([]byte, 4)), ErrEntry},
		"second section":       {block(blockSection, make([]byte, 16)), ErrNotCapture},
		"big-endian section":   {block(blockSection, new(raw).put(uint32(magicOther), make([]byte, 12)).Bytes()), ErrByteOrder},
		"version 2":            {block(blockSection, new(raw).put(uint32(magic), uint16(2), make([]byte, 10)).Bytes()), ErrVersion},
		"fd list without tid":  {block(blockFiles, make([]byte, 4)), ErrEntry},
		"thread in no room":    {block(blockThreadsV1, make([]byte, 40)), ErrEntry},
		"entry length 3":       {block(blockThreadsV9, new(raw).put(uint32(3), make([]byte, 40)).Bytes()), ErrEntry},
		"entry beyond block":   {block(blockThreadsV9, new(raw).put(uint32(400), make([]byte, 40)).Bytes()), ErrEntry},
		"entry too short":      {block(blockUsersV2, new(raw).put(uint32(8), make([]byte, 40)).Bytes()), ErrEntry},
		"string beyond entry":  {block(blockUsers, new(raw).put(uint8(1), uint32(1), uint16(500), make([]byte, 8)).Bytes()), ErrEntry},
		"neither user":         {block(blockUsers, []byte{7, 0, 0, 0}), ErrUserType},
		"fd of no type":        {block(blockFiles, new(raw).put(uint64(1), uint64(1), uint64(1), uint8(99), make([]byte, 8)).Bytes()), ErrFdType},
		"fd too large":         {block(blockFiles, new(raw).put(uint64(1), uint64(1)<<40, uint64(1), uint8(1), "x").Bytes()), ErrEntry},
		"interface type":       {block(blockInterfaces, make([]byte, 64)), ErrInterface},
		"interface beyond":     {block(blockInterfV2, new(raw).put(uint32(100), make([]byte, 20)).Bytes()), ErrEntry},
		"v1 no number fits":    {block(blockEvent, v1(1, 2, event.SyscallCloseE, []uint16{7}, fd)), ErrParams},
		"v1 too many":          {block(blockEvent, v1(1, 2, event.SyscallCloseE, []uint16{8, 8}, cat(fd, fd))), ErrParams},
		"v1 longer than block": {block(blockEvent, new(raw).put(uint16(0), uint64(1), uint64(1), uint32(500), uint16(4)).Bytes()), ErrParams},
		"v1 notify too short":  {block(blockEvent, v1(1, 2, event.NotificationE, nil, nil)), ErrParams},
		"v2 longer than block": {block(blockEventV2, new(raw).put(uint16(0), uint64(1), uint64(1), uint32(500), uint16(4), uint32(0)).Bytes()), ErrParams},
		"v2 shorter than head": {block(blockEventV2, new(raw).put(uint16(0), uint64(1), uint64(1), uint32(25), uint16(4), uint32(0)).Bytes()), ErrParams},
		"v2 lengths":           {block(blockEventV2, v2(nil, 1, 2, event.SyscallCloseE, 1<<31, []uint16{8}, fd)), ErrParams},
		"v2 value":             {block(blockEventV2, v2(nil, 1, 2, event.SyscallCloseE, 1, []uint16{9}, fd)), ErrParams},
		"large value":          {block(blockEventLarge, v2(nil, 1, 2, event.ContainerJsonV2E, 1, []uint32{0xFFFFFFFF}, fd)), ErrParams},
	} {
		got, err := readAll(bytes.NewReader(cat(begin, c.b)))
		var e *Error
		switch {
		case !errors.Is(err, c.want) || !errors.As(err, &e):
			t.Errorf("%s: %v, want %v", name, err, c.want)
		case e.Offset != at || e.At < at || e.At > at+int64(len(c.b)):
			t.Errorf("%s: at %d and %d, want %d to %d", name, e.Offset, e.At, at, at+int64(len(c.b)))
		case len(c.b) >= 8 && e.Type != le.Uint32(c.b):
			t.Errorf("%s: in a block of type %x", name, e.Type)
		case len(got) != 2:
			t.Errorf("%s: %d blocks before, want 2", name, len(got))
		}
	}
}

// TestNotCapture opens what isn't a capture.
func TestNotCapture(t *testing.T) {
	for name, c := range map[string]struct {
		b    []byte
		want error
	}{
		"empty":      {nil, io.ErrUnexpectedEOF},
		"text":       {[]byte("#!/bin/sh\nexit 0\n"), ErrNotCapture},
		"short":      {[]byte{0x0A}, io.ErrUnexpectedEOF},
		"pcapng":     {block(blockSection, make([]byte, 16)), ErrNotCapture},
		"big-endian": {block(blockSection, new(raw).put(uint32(magicOther), make([]byte, 12)).Bytes()), ErrByteOrder},
		"bad gzip":   {[]byte{0x1F, 0x8B, 99, 99}, nil},
		"short gzip": {[]byte{0x1F, 0x8B}, nil},
	} {
		r, err := NewReader(bytes.NewReader(c.b))
		var e *Error
		if r != nil || !errors.As(err, &e) || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v, %v; want %v", name, r, err, c.want)
		}
	}
	if _, err := NewReader(iotest.ErrReader(io.ErrClosedPipe)); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("failing input: %v", err)
	}
}

// TestSkipped passes over a block of a type that nobody knows yet, and reads a merged file.
func TestSkipped(t *testing.T) {
	b := cat(section(), block(0x7777, []byte("something")), section())
	r, err := NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if b, err := r.Next(); err != nil || *b.(*Section) != (Section{1, 2}) {
			t.Fatal(b, err)
		}
	}
	if b, err := r.Next(); err != io.EOF || b != nil {
		t.Fatal(b, err)
	}
	if r.Skipped() != 1 || r.Offset() != int64(len(b)) {
		t.Errorf("skipped %d, offset %d; want 1, %d", r.Skipped(), r.Offset(), len(b))
	}
}

// TestTruncated cuts a capture at every byte: what stands before the cut is read, and then comes an error that says where,
// or the end if the cut falls between two blocks.
func TestTruncated(t *testing.T) {
	b := small(t)
	ends := map[int]bool{}
	for at := 0; at < len(b); {
		at += int(le.Uint32(b[at+4:]))
		ends[at] = true
	}
	whole, err := readAll(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	// Every byte of what is short, and every 997th of the long event.
	for n := 0; n < len(b); n++ {
		if len(b)-n > 1000 && n > 3000 && n%997 != 0 && !ends[n] {
			continue
		}
		got, err := readAll(bytes.NewReader(b[:n]))
		if ends[n] {
			if err != nil {
				t.Fatalf("%d of %d bytes: %v", n, len(b), err)
			}
		} else {
			var e *Error
			if !errors.As(err, &e) || !errors.Is(err, io.ErrUnexpectedEOF) || e.Offset > e.At || e.At > int64(n) {
				t.Fatalf("%d of %d bytes: %v", n, len(b), err)
			}
		}
		if len(got) > len(whole) || !reflect.DeepEqual(got, append([]any(nil), whole[:len(got)]...)) {
			t.Fatalf("%d of %d bytes: what was read differs", n, len(b))
		}
	}
}

// TestTruncatedGzip cuts a compressed capture: never an end without an error.
func TestTruncatedGzip(t *testing.T) {
	var z bytes.Buffer
	zw := gzip.NewWriter(&z)
	zw.Write(small(t))
	zw.Close()
	for n := range z.Len() {
		if _, err := readAll(bytes.NewReader(z.Bytes()[:n])); err == nil {
			t.Fatalf("%d of %d bytes: no error", n, z.Len())
		}
	}
	b := bytes.Clone(z.Bytes())
	b[len(b)-5] ^= 1 // checksum
	if _, err := readAll(bytes.NewReader(b)); err == nil {
		t.Error("wrong checksum: no error")
	}
}

// TestFlipped changes each byte of a capture to a few values: never a panic, never a block with an error.
func TestFlipped(t *testing.T) {
	b := small(t)
	b = b[:min(len(b), 3000)]
	for i := range b {
		for _, v := range []byte{0, 0x7F, 0xFF, b[i] + 1} {
			c := bytes.Clone(b)
			c[i] = v
			readAll(bytes.NewReader(c))
		}
	}
}

// TestRealCaptures reads captures that nobody on this project made, as they are and unpacked.
func TestRealCaptures(t *testing.T) {
	dir := os.Getenv("SHIKRA_FALCO_DATA")
	if dir == "" {
		testkit.Missing(t, "SHIKRA_FALCO_DATA isn't set: it names the folder with Falco's captures")
	}
	all, err := filepath.Glob(filepath.Join(dir, "captures", "*.scap"))
	if err != nil || len(all) < 6 {
		t.Fatal(all, err)
	}
	for _, name := range all {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		packed, err := readAll(bytes.NewReader(b))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		plain, err := readAll(z)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(plain) < 500 || !reflect.DeepEqual(plain, packed) {
			t.Errorf("%s: %d blocks plain, %d packed", name, len(plain), len(packed))
		}
	}
}

// FuzzReader reads anything: an error or a block, never both or neither, and never a panic.
func FuzzReader(f *testing.F) {
	f.Add(section())
	b := small(f)
	f.Add(b[:min(len(b), 4000)])
	fd := []byte{3, 0, 0, 0, 0, 0, 0, 0}
	f.Add(cat(section(), block(blockEvent, v1(1, 2, event.SyscallCloseX, []uint16{8, 8}, cat(fd, fd)))))
	f.Add(cat(section(), block(blockFiles, new(raw).put(uint64(42), uint64(0), uint64(1), uint8(1), "/a").Bytes())))
	f.Add(cat(section(), block(blockInterfaces, new(raw).put(uint16(3), uint16(2), make([]byte, 12), []byte("e0")).Bytes())))
	f.Fuzz(func(t *testing.T, in []byte) {
		r, err := NewReader(bytes.NewReader(in))
		if (err == nil) == (r == nil) {
			t.Fatal(r, err)
		}
		for err == nil {
			var b Block
			b, err = r.Next()
			if (err == nil) == (b == nil) {
				t.Fatal(b, err)
			}
			if e, ok := b.(*Event); ok {
				for i := range e.NumParams() + 1 {
					_ = len(e.Param(i))
				}
			}
			if r.Offset() > int64(len(in)) && len(in) > 2 && in[0] != 0x1F {
				t.Fatalf("offset %d of %d", r.Offset(), len(in))
			}
		}
	})
}

// events is an input of n open events without an end.
type events struct {
	head []byte
	one  []byte
	at   int
}

func (e *events) Read(p []byte) (int, error) {
	if len(e.head) > 0 {
		n := copy(p, e.head)
		e.head = e.head[n:]
		return n, nil
	}
	n := copy(p, e.one[e.at:])
	e.at = (e.at + n) % len(e.one)
	return n, nil
}

func endless(tb testing.TB) *Reader {
	one := block(blockEventV2, v2(nil, 1, 2, event.SyscallOpenX, 6, []uint16{8, 12, 4, 4, 4, 8}, make([]byte, 40)))
	r, err := NewReader(&events{head: section(), one: one})
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := r.Next(); err != nil {
		tb.Fatal(err)
	}
	return r
}

func TestNextAllocs(t *testing.T) {
	r := endless(t)
	if n := testing.AllocsPerRun(5000, func() {
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("an event allocates %v times", n)
	}
}

func BenchmarkNext(b *testing.B) {
	r := endless(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Next(); err != nil {
			b.Fatal(err)
		}
	}
}
