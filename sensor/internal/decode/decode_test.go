package decode

import (
	"errors"
	"testing"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/wasmabi"
)

const (
	rd  = oRDONLY
	wr  = oWRONLY
	res = wasmabi.BitResult
)

func TestDecode(t *testing.T) {
	start := func(t event.Type) *event.Builder { return new(event.Builder).Start(1, 7, t) }
	for _, c := range []struct {
		name string
		r    event.Record
		want Meta
	}{
		{"open for reading", start(event.SyscallOpenX).Int(3).String("/a").Int(rd).Int(0).Int(0).Int(0).Done(), Meta{3, res | wasmabi.BitOpenRead, 3, true}},
		{"openat for both", start(event.SyscallOpenatV2X).Int(4).Int(-100).String("/a").Int(rd | wr).Int(0).Int(0).Int(0).Done(), Meta{4, res | wasmabi.BitOpenRead | wasmabi.BitOpenWrite, 4, true}},
		{"openat failed", start(event.SyscallOpenatV2X).Int(-2).Int(-100).String("/a").Int(wr).Int(0).Int(0).Int(0).Done(), Meta{-2, res | wasmabi.BitFailed | wasmabi.BitOpenWrite, -1, true}},
		{"openat2 created executable", start(event.SyscallOpenat2X).Int(5).Int(-100).String("/a").Int(wr | oCREAT | oCREATED).Int(0o755).Int(0).Int(0).Int(0).Done(), Meta{5, res | wasmabi.BitOpenWrite | wasmabi.BitOpenCreate | wasmabi.BitOpenExec, 5, true}},
		{"asked to create, was there", start(event.SyscallOpenX).Int(5).String("/a").Int(wr | oCREAT).Int(0o644).Int(0).Int(0).Done(), Meta{5, res | wasmabi.BitOpenWrite, 5, true}},
		{"mode without O_CREAT", start(event.SyscallOpenX).Int(5).String("/a").Int(wr).Int(0o777).Int(0).Int(0).Done(), Meta{5, res | wasmabi.BitOpenWrite, 5, true}},
		{"temporary file", start(event.SyscallOpenX).Int(5).String("/a").Int(wr | oTMPFILE).Int(0o100).Int(0).Int(0).Done(), Meta{5, res | wasmabi.BitOpenWrite | wasmabi.BitOpenCreate | wasmabi.BitOpenExec, 5, true}},
		{"temporary file failed", start(event.SyscallOpenX).Int(-1).String("/a").Int(wr | oTMPFILE).Int(0).Int(0).Int(0).Done(), Meta{-1, res | wasmabi.BitFailed | wasmabi.BitOpenWrite, -1, true}},
		{"creat", start(event.SyscallCreatX).Int(5).String("/a").Int(0o010).Int(0).Int(0).Int(0).Done(), Meta{5, res | wasmabi.BitOpenExec, 5, true}},
		{"by handle", start(event.SyscallOpenByHandleAtX).Int(5).Int(4).Int(rd).String("/a").Int(0).Int(0).Done(), Meta{5, res | wasmabi.BitOpenRead, 5, true}},
		{"open without flags", start(event.SyscallOpenX).Int(5).String("/a").Done(), Meta{5, res, 5, true}},
		{"close", start(event.SyscallCloseX).Int(0).Int(9).Done(), Meta{0, res, 9, true}},
		{"close of nothing", start(event.SyscallCloseX).Int(-9).Int(-1).Done(), Meta{-9, res | wasmabi.BitFailed, -1, true}},
		{"dup uses the old", start(event.SyscallDup2X).Int(1).Int(9).Int(1).Done(), Meta{1, res, 9, true}},
		{"fcntl", start(event.SyscallFcntlX).Int(0).Int(9).Int(3).Int(0).Done(), Meta{0, res, 9, true}},
		{"splice", start(event.SyscallSpliceX).Int(1).Int(8).Int(9).Int(3).Int(0).Done(), Meta{1, res, 9, true}},
		{"sendfile", start(event.SyscallSendfileX).Int(1).Int(0).Int(9).Int(8).Int(0).Done(), Meta{1, res, 9, true}},
		{"mmap", start(event.SyscallMmapX).Int(4096).Int(0).Int(0).Int(0).Int(0).Int(0).Int(0).Int(0).Int(9).Int(0).Done(), Meta{4096, res, 9, true}},
		{"epoll_create1", start(event.SyscallEpollCreate1X).Int(6).Int(0).Done(), Meta{6, res, 6, true}},
		{"bpf of no fd", start(event.SyscallBpfV2X).Int(0).Int(2).Done(), Meta{0, res, -1, true}},
		{"pipe", start(event.SyscallPipeX).Int(0).Int(3).Int(4).Int(5).Done(), Meta{0, res, -1, true}},
		{"clone", start(event.SyscallCloneV20X).Int(77).Done(), Meta{77, res, -1, true}},
		{"procexit has no result", start(event.ProcexitV1E).Int(256).Int(1).Done(), Meta{0, 0, -1, false}},
		{"nothing there", start(event.SyscallReadX).Done(), Meta{0, 0, -1, false}},
		{"enter", start(event.SyscallOpenE).String("/a").Int(rd).Int(0).Done(), Meta{0, 0, -1, false}},
		{"huge fd", start(event.SyscallCloseX).Int(0).Int(1 << 40).Done(), Meta{0, res, -1, true}},
	} {
		got, err := Decode(c.r)
		if err != nil || got != c.want {
			t.Errorf("%s: %+v, %v, want %+v", c.name, got, err, c.want)
		}
	}
}

// TestFDs holds the derived table to the parameters by which the fd is called in the event table.
func TestFDs(t *testing.T) {
	for _, et := range event.Types() {
		in, l := et.Info(), layouts[et]
		if in.Flags&event.FlagUsesFd != 0 && et.Current() && in.Origin == event.OriginSyscall && l.fd == none {
			t.Errorf("%s uses an fd, which is in none of its parameters", et)
		}
		if l.fd != none && in.Params[l.fd].Type != event.ParamFd {
			t.Errorf("%s: parameter %d is no fd", et, l.fd)
		}
		if l.res != none && in.Params[l.res].Type.Size() != 8 {
			t.Errorf("%s: parameter %d is no result", et, l.res)
		}
	}
}

func TestErrors(t *testing.T) {
	var b event.Builder
	r := b.Start(1, 7, event.SyscallCloseX).Int(0).Int(9).Done()
	unknown := append(event.Record(nil), r...)
	unknown[12], unknown[13] = 0xFF, 0xFF
	outside := append(event.Record(nil), r...)
	outside[event.RecordHeader] = 200
	for _, c := range []struct {
		r    event.Record
		want error
	}{
		{nil, event.ErrShortRecord},
		{r[:20], event.ErrShortRecord},
		{r[:40], event.ErrRecordLen},
		{unknown, event.ErrRecordType},
		{outside, event.ErrRecordParam},
	} {
		if _, err := Decode(c.r); !errors.Is(err, c.want) {
			t.Errorf("%v, want %v", err, c.want)
		}
	}
}

// FuzzDecode: any bytes; an error or a record of which every parameter can be read, and nothing of the Meta without one.
func FuzzDecode(f *testing.F) {
	var b event.Builder
	f.Add([]byte(b.Start(1, 7, event.SyscallCloseX).Int(0).Int(9).Done()))
	f.Add([]byte(b.Start(1, 7, event.SyscallOpenatV2X).Int(3).Int(-100).String("/a").Int(1).Int(2).Int(3).Int(4).Done()))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := event.Record(data)
		m, err := Decode(r)
		if err != nil {
			if m != (Meta{FD: -1}) {
				t.Fatalf("%v, yet %+v", err, m)
			}
			return
		}
		for i := range len(r.Type().Info().Params) + 1 {
			if p, ok := r.Param(i); ok {
				_ = append([]byte(nil), p...)
			}
		}
		if m.HasRes != (m.Bits&wasmabi.BitResult != 0) || !m.HasRes && m.Res != 0 || (m.Bits&wasmabi.BitFailed != 0) != (m.Res < 0) || m.FD < -1 {
			t.Fatalf("%s: %+v", r.Type(), m)
		}
	})
}

func TestAllocs(t *testing.T) {
	var b event.Builder
	r := b.Start(1, 7, event.SyscallOpenatV2X).Int(3).Int(-100).String("/a").Int(1).Int(2).Int(3).Int(4).Done()
	if n := testing.AllocsPerRun(100, func() {
		if _, err := Decode(r); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkDecode(b *testing.B) {
	var eb event.Builder
	for _, c := range []struct {
		name string
		r    event.Record
	}{
		{"close", append(event.Record(nil), eb.Start(1, 7, event.SyscallCloseX).Int(0).Int(9).Done()...)},
		{"openat", append(event.Record(nil), eb.Start(1, 7, event.SyscallOpenatV2X).Int(3).Int(-100).String("/usr/lib/libc.so.6").Int(1).Int(2).Int(3).Int(4).Done()...)},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				if _, err := Decode(c.r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
