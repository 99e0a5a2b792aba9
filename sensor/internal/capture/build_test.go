package capture

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/snapshot"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// raw builds blocks byte by byte, also wrong ones.
type raw struct{ bytes.Buffer }

func (b *raw) put(vs ...any) *raw {
	for _, v := range vs {
		switch v := v.(type) {
		case string: // with its length, as the format has strings
			binary.Write(b, le, uint16(len(v)))
			b.WriteString(v)
		case []byte:
			b.Write(v)
		default:
			if err := binary.Write(b, le, v); err != nil {
				panic(err)
			}
		}
	}
	return b
}

// block wraps a body, padded to a multiple of four.
func block(t uint32, body []byte) []byte {
	for len(body)%4 != 0 {
		body = append(body, 0)
	}
	n := uint32(headerSize + len(body) + trailerSize)
	return new(raw).put(t, n, body, n).Bytes()
}

func section() []byte {
	return block(blockSection, new(raw).put(uint32(magic), uint16(1), uint16(2), ^uint64(0)).Bytes())
}

func cat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// v1 is the body of an event block of version 1.
func v1(ts uint64, tid int64, t event.Type, lens []uint16, values []byte) []byte {
	n := uint32(22 + 2*len(lens) + len(values))
	return new(raw).put(uint16(3), ts, uint64(tid), n, uint16(t), lens, values).Bytes()
}

// v2 is the body of an event block of version 2 or later, flags without a length for none.
func v2(flags []byte, ts uint64, tid int64, t event.Type, n uint32, lens any, values []byte) []byte {
	size := uint32(26 + binary.Size(lens) + len(values))
	return new(raw).put(uint16(3), flags, ts, uint64(tid), size, uint16(t), n, lens, values).Bytes()
}

var (
	testThread = snapshot.Thread{
		TID: 101, PID: 100, PTID: 1, VTID: 11, VPID: 10, PGID: 100, VPGID: 10, SID: 99,
		UID: 1000, GID: 1001, LoginUID: 1000, TTY: 34816,
		Flags: wasmabi.ThreadExeWritable | wasmabi.ThreadExeUpperLayer | wasmabi.ThreadExeFromMemfd | wasmabi.ThreadExeLowerLayer,
		Comm:  "nginx", Exe: "nginx", ExePath: "/usr/sbin/nginx", Cwd: "/", Root: "/srv",
		Args: []string{"-g", "", "daemon off;"}, Env: []string{"A=b"}, Cgroups: []string{"cpu=/a", "memory=/b"},
		PidnsInitTS: 5, ExeIno: 7, ExeCtime: 8, ExeMtime: 9, CapPermitted: 1, CapEffective: 2, CapInheritable: 3,
		FDLimit: 1024, SharesFiles: true,
	}
	testFiles = []snapshot.File{
		{PID: 100, FD: 0, Kind: 'f', Name: "/dev/null", OpenFlags: 1, Ino: 3, Dev: 6},
		{PID: 100, FD: 1, Kind: 'p', Name: "pipe:[1]", Ino: 4},
		{PID: 100, FD: 2, Kind: 'u', Name: "/run/x.sock", Family: 1, Ino: 5},
		{PID: 100, FD: 3, Kind: 'n', Name: "netlink", Family: 16},
		{PID: 1, FD: 3, Kind: 'P', Name: "pidfd"},
		{
			PID: 1, FD: 4, Kind: '4', Family: 2, L4Proto: 6, Bits: wasmabi.FileConnected,
			Client: [16]byte{192, 0, 2, 1}, Server: [16]byte{192, 0, 2, 2}, CPort: 40000, SPort: 443,
		},
		{
			PID: 1, FD: 5, Kind: '6', Family: 10, L4Proto: 17,
			Client: [16]byte{0x20, 1, 15: 1}, Server: [16]byte{0x20, 1, 15: 2}, CPort: 40000, SPort: 53,
		},
		{PID: 1, FD: 6, Kind: '4', Family: 2, L4Proto: 6, Bits: wasmabi.FileServer, Server: [16]byte{127, 0, 0, 1}, SPort: 80},
		{PID: 1, FD: 7, Kind: '6', Family: 10, L4Proto: 255, Bits: wasmabi.FileServer, SPort: 80},
	}
)

// small writes a capture with a bit of everything.
func small(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	w.Machine(&testMachine)
	for i := range testInterfaces {
		w.Interface(&testInterfaces[i])
	}
	w.AddUser(&snapshot.User{UID: 0, GID: 0, Name: "root", Home: "/root", Shell: "/bin/sh"})
	w.AddGroup(&snapshot.Group{GID: 0, Name: "root"})
	w.AddThread(&testThread)
	w.AddThread(&snapshot.Thread{TID: 1, PID: 1, Comm: "init", LoginUID: 0xFFFFFFFF})
	for i := range testFiles {
		w.AddFile(&testFiles[i])
	}
	var eb event.Builder
	w.Record(eb.Start(10, 101, event.SyscallOpenX).Int(3).String("/etc/passwd").Int(1).Int(0).Missing().Int(77).SetCPU(1).Done())
	e := Event{TS: 11, TID: 101, Type: event.SyscallCloseE, CPU: 2, Flags: FlagStateOnly}
	e.SetParams([]byte{3, 0, 0, 0, 0, 0, 0, 0})
	w.Event(&e)
	e = Event{TS: 12, TID: 1, Type: event.PlugineventE}
	e.SetParams([]byte{1, 0, 0, 0}, bytes.Repeat([]byte("x"), 70000))
	w.Event(&e)
	e = Event{TS: 13, TID: 1, Type: event.ContainerJsonV2E, Flags: FlagStateOnly}
	e.SetParams([]byte("{}\x00"))
	w.Event(&e)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if w.Cut() != 0 {
		t.Fatalf("the writer cut %d values", w.Cut())
	}
	return b.Bytes()
}
