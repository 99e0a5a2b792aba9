package field

import (
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

var update = flag.Bool("update", false, "rewrite the goldens")

// paramValue is one value to be rendered.
type paramValue struct {
	p event.Param
	t event.ParamType // inside a dynamic one; else p.Type
	b []byte
}

func paramValues() []paramValue {
	num := func(n int64, size int) []byte {
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], uint64(n))
		return b[:size]
	}
	table := func(t event.Type, name string) []event.NameValue {
		in := t.Info()
		return in.Params[in.ParamIndex(name)].Table
	}
	var out []paramValue
	add := func(t event.ParamType, f event.Format, tab []event.NameValue, values ...[]byte) {
		for _, b := range values {
			out = append(out, paramValue{event.Param{Name: "x", Type: t, Format: f, Table: tab}, t, b})
		}
	}
	ints := map[event.ParamType]int{
		event.ParamInt8: 1, event.ParamInt16: 2, event.ParamInt32: 4, event.ParamInt64: 8,
		event.ParamUint8: 1, event.ParamUint16: 2, event.ParamUint32: 4, event.ParamUint64: 8,
	}
	for t := event.ParamInt8; t <= event.ParamUint64; t++ {
		for _, f := range []event.Format{event.FormatDec, event.FormatHex, event.FormatOct, event.FormatPad10} {
			add(t, f, nil, num(0, ints[t]), num(90, ints[t]), num(-6, ints[t]))
		}
	}
	str := func(s string) []byte { return append([]byte(s), 0) }
	add(event.ParamCharbuf, event.FormatNa, nil, str(""), str("a b"), []byte("no end"), []byte("x\x00y\x00"))
	add(event.ParamFspath, event.FormatNa, nil, str("/etc/../x"), str("a/../../b//c/."), str(".."), str(""), str("<NA>"))
	out = append(out, paramValue{event.Param{Name: "x", Type: event.ParamFsrelpath, Relative: true, DirFD: 1}, event.ParamFsrelpath, str("f")})
	add(event.ParamBytebuf, event.FormatNa, nil, []byte("GET /\r\n\x00\xff~"))
	add(event.ParamErrno, event.FormatDec, nil, num(0, 8), num(7, 8), num(-2, 8), num(-95, 8), num(-133, 8), num(-134, 8), num(-512, 8), num(-530, 8), num(-520, 8), num(math.MinInt64, 8))
	add(event.ParamSockaddr, event.FormatNa, nil, append([]byte{1}, str("/run/x")...), []byte{2, 127, 0, 0, 1, 80, 0}, append(append([]byte{10}, make([]byte, 15)...), 1, 0x90, 0x1f),
		[]byte{2, 1}, []byte{10, 1, 2}, []byte{16, 0, 0}, []byte{1})
	v6 := func(src, dst string) []byte {
		s, _ := hex.DecodeString(src)
		d, _ := hex.DecodeString(dst)
		return append(append(append(append([]byte{10}, s...), 0x34, 0x12), d...), 0xbb, 1)
	}
	const a6, m4 = "20010db8000000000000000000000001", "00000000000000000000ffffc0000201"
	add(event.ParamSocktuple, event.FormatNa, nil,
		[]byte{2, 127, 0, 0, 1, 80, 0, 192, 0, 2, 9, 1, 2}, v6(a6, a6), v6(m4, m4), v6(a6, m4), v6("00000000000000000000000000000000", m4),
		append([]byte{1, 1, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xee, 0, 0, 0, 0, 0xaa, 0xbb}, str("/run/x")...),
		[]byte{2, 3}, []byte{10, 3}, []byte{1, 3}, []byte{99})
	add(event.ParamFd, event.FormatDec, nil, num(3, 8), num(4, 8), num(5, 8), num(6, 8), num(77, 8), num(-100, 8), num(-9, 8), num(-1000, 8))
	add(event.ParamFd32, event.FormatDec, nil, num(3, 4), num(-1, 4))
	add(event.ParamPid, event.FormatDec, nil, num(200, 8), num(201, 8), num(0, 8), num(-1, 8))
	add(event.ParamPid32, event.FormatDec, nil, num(100, 4))
	add(event.ParamFdlist, event.FormatDec, nil, []byte{2, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0x41, 0, 77, 0, 0, 0, 0, 0, 0, 0, 1, 0}, []byte{0, 0}, []byte{9, 0, 1}, []byte{1})
	add(event.ParamSyscallid, event.FormatDec, nil, num(11, 2), num(60000, 2))
	add(event.ParamSigtype, event.FormatDec, nil, num(9, 1), num(0, 1), num(64, 1))
	add(event.ParamReltime, event.FormatDec, nil, num(1_500_000_000, 8), num(100_000_000_000_000, 8), num(1_000_000_000_000_000_000, 8), num(2, 8), num(-1, 8), num(0, 8))
	add(event.ParamAbstime, event.FormatDec, nil, num(1_700_000_000_123_456_789, 8), num(0, 8))
	add(event.ParamPort, event.FormatDec, nil, num(443, 2))
	add(event.ParamL4proto, event.FormatDec, nil, num(6, 1))
	add(event.ParamSockfamily, event.FormatDec, nil, num(2, 1))
	add(event.ParamBool, event.FormatDec, nil, num(1, 4), num(0, 4))
	add(event.ParamIpv4addr, event.FormatDec, nil, []byte{192, 0, 2, 1})
	add(event.ParamIpv6addr, event.FormatDec, nil, append(make([]byte, 15), 1))
	add(event.ParamIpaddr, event.FormatDec, nil, []byte{192, 0, 2, 1}, []byte{1})
	add(event.ParamIpv4net, event.FormatDec, nil, []byte{192, 0, 2, 0, 255, 255, 255, 0})
	add(event.ParamIpv6net, event.FormatDec, nil, append(append(make([]byte, 16), 0xff, 0xfe), make([]byte, 14)...))
	add(event.ParamIpnet, event.FormatDec, nil, []byte{192, 0, 2, 0, 255, 255, 255, 255}, []byte{10, 0, 0, 1})
	add(event.ParamFlags8, event.FormatHex, table(event.SyscallQuotactlX, "dqi_flags"), num(0, 1), num(1, 1))
	add(event.ParamFlags16, event.FormatDec, table(event.SyscallQuotactlX, "cmd"), num(0, 2), num(3, 2))
	add(event.ParamFlags32, event.FormatHex, table(event.SyscallOpenatV2X, "flags"), num(1, 4), num(2, 4), num(3, 4), num(0, 4), num(0x1007, 4), num(0x20000, 4), num(0x20001, 4))
	add(event.ParamEnumflags8, event.FormatDec, table(event.SyscallFcntlX, "cmd"), num(1, 1), num(200, 1))
	add(event.ParamEnumflags16, event.FormatDec, table(event.SyscallPtraceX, "request"), num(0, 2), num(16, 2))
	add(event.ParamEnumflags32, event.FormatDec, table(event.SyscallBpfV2X, "cmd"), num(5, 4), num(999, 4))
	add(event.ParamEnumflags32, event.FormatDec, table(event.SocketSocketX, "domain"), num(1, 4), num(2, 4))
	add(event.ParamMode, event.FormatOct, table(event.SyscallChmodX, "mode"), num(0o4755, 4), num(0, 4), num(1, 4))
	add(event.ParamUid, event.FormatDec, nil, num(0, 4), num(33, 4), num(-1, 4))
	add(event.ParamGid, event.FormatDec, nil, num(0, 4), num(5, 4), num(-1, 4))
	add(event.ParamDouble, event.FormatDec, nil, num(int64(math.Float64bits(0.25)), 8))
	add(event.ParamSigset, event.FormatDec, nil, num(0, 4), num(1<<8|1<<14|1<<31, 4))
	add(event.ParamCharbufarray, event.FormatNa, nil, []byte("a\x00b\x00"), []byte("a\x00b"))
	add(event.ParamCharbufpairarray, event.FormatNa, nil, []byte("a:1\x00b:2\x00"))
	add(event.ParamNone, event.FormatNa, nil, []byte{1})
	return out
}

// Raw and resolved text of values of every parameter type.
func TestParamGolden(t *testing.T) {
	w := newWorld(t)
	e := w.event(t, w.record(300, event.SyscallOpenatV2X).Int(3).Int(8).Done(), 300, 3)
	var b strings.Builder
	seen := map[event.ParamType]bool{event.ParamDyn: true} // TestDynamicParams
	for _, v := range paramValues() {
		seen[v.t] = true
		raw := w.c.appendRawValue(nil, e, &v.p, v.t, v.b)
		resolved := w.c.appendResolvedValue(nil, e, &v.p, v.t, v.b)
		fmt.Fprintf(&b, "%d %d %x = %s (%s)\n", v.t, v.p.Format, v.b, raw, resolved)
	}
	for p := event.ParamType(0); int(p) < event.NumParamTypes; p++ {
		if !seen[p] {
			t.Errorf("parameter type %d isn't rendered", p)
		}
	}
	golden(t, "params.golden", b.String())
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Split(string(b), "\n")
	for i, line := range strings.Split(got, "\n") {
		if i >= len(want) || line != want[i] {
			w := "nothing"
			if i < len(want) {
				w = want[i]
			}
			t.Errorf("%s:%d: %s\nwant %s", file, i+1, line, w)
		}
	}
}

func TestDynamicParams(t *testing.T) {
	w := newWorld(t)
	for _, tt := range []struct {
		et    event.Type
		param string
		b     []byte
		want  string
	}{
		{event.SyscallPtraceX, "data", []byte{0, 0xef, 0xbe, 0, 0, 0, 0, 0, 0}, "BEEF"},
		{event.SyscallPtraceX, "data", []byte{1, 19}, "SIGSTOP"},
		{event.SyscallPtraceX, "data", []byte{9, 19}, "NULL"},
		{event.SyscallPtraceX, "data", []byte{0, 19}, "NULL"},
		{event.SyscallPtraceX, "addr", nil, "NULL"},
		{event.SyscallKeyctlX, "arg2", append([]byte{1}, "user\x00"...), "user"},
		{event.SyscallKeyctlX, "arg2", []byte{0, 1, 0, 0, 0, 0, 0, 0, 0}, "1"},
		{event.SocketSetsockoptX, "val", []byte{2, 1, 0, 0, 0}, "1"},
		{event.SocketSetsockoptX, "val", []byte{4, 0, 0xca, 0x9a, 0x3b, 0, 0, 0, 0}, "1s"},
		{event.SocketSetsockoptX, "val", []byte{0, 'a', 0, 'b'}, "a.b"},
		{event.SocketSetsockoptX, "val", []byte{1, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, "ENOENT"},
	} {
		in := tt.et.Info()
		b := w.record(300, tt.et)
		for _, p := range in.Params {
			if p.Name == tt.param && tt.b != nil {
				b.Bytes(tt.b)
			} else {
				b.Missing()
			}
		}
		e := w.event(t, b.Done(), 300, -1)
		if got := w.show(t, "evt.arg."+tt.param, e); got != tt.want {
			t.Errorf("%s.%s of %x = %q, want %q", in.Name, tt.param, tt.b, got, tt.want)
		}
	}
}

// The encodings in dynamic are those of every ParamDyn of the event table.
func TestDynamicTable(t *testing.T) {
	n := 0
	for _, et := range event.Types() {
		for _, p := range et.Info().Params {
			if p.Type == event.ParamDyn {
				if n++; dynamic[p.Name] == nil {
					t.Errorf("%s.%s has no encodings", et, p.Name)
				}
			}
		}
	}
	if n == 0 {
		t.Error("no dynamic parameter in the table")
	}
}

// No bytes of a parameter, of whatever type and length, make rendering fail.
func FuzzParams(f *testing.F) {
	for _, v := range paramValues() {
		f.Add(uint16(event.SyscallOpenatV2X), v.b)
	}
	w := newWorld(f)
	refs := []Ref{ref(f, "evt.args"), ref(f, "evt.arg[0]"), ref(f, "evt.arg.name"), ref(f, "evt.rawarg.name"), ref(f, "fs.path.name"), ref(f, "evt.abspath"), ref(f, "fdlist.nums"), ref(f, "evt.buffer"), ref(f, "evt.type")}
	f.Fuzz(func(t *testing.T, et uint16, b []byte) {
		rec := w.record(300, event.Type(et))
		for range event.Type(et).Info().Params {
			rec.Bytes(b)
		}
		r := rec.Done()
		if r.Check() != nil {
			return
		}
		w.a.Flushed()
		e := w.event(t, r, 300, 3)
		for i := range refs {
			refs[i].AppendText(w.c, e, nil)
			refs[i].AppendJSON(w.c, e, nil)
		}
	})
}

// Names of errors and signals are the system's own, where the two numberings are the same.
func TestNamesAgainstSystem(t *testing.T) {
	if strings.HasPrefix(runtime.GOARCH, "mips") || strings.HasPrefix(runtime.GOARCH, "ppc") || strings.HasPrefix(runtime.GOARCH, "sparc") {
		t.Skip("this architecture numbers them in its own way")
	}
	alias := map[string]string{"ENOTSUP": "EOPNOTSUPP", "EFSCORRUPTED": "EUCLEAN", "EFSBADCRC": "EBADMSG"}
	for n := 1; n < 134; n++ {
		want := unix.ErrnoName(syscall.Errno(n))
		if a, ok := alias[want]; ok {
			want = a
		}
		if got := errnoName(int64(n)); got != want {
			t.Errorf("errno %d = %q, want %q", n, got, want)
		}
	}
	for n := 1; n < 32; n++ {
		if got, want := signalName(int64(n)), unix.SignalName(syscall.Signal(n)); got != want {
			t.Errorf("signal %d = %q, want %q", n, got, want)
		}
	}
	if len(capNames) != unix.CAP_LAST_CAP+1 || capNames[unix.CAP_SYS_ADMIN] != "CAP_SYS_ADMIN" || capNames[unix.CAP_BPF] != "CAP_BPF" {
		t.Errorf("%d capabilities", len(capNames))
	}
}

func TestAppendPath(t *testing.T) {
	for _, tt := range []struct{ dir, path, want string }{
		{"/a", "b", "/a/b"},
		{"/a/", "b", "/a/b"},
		{"/", "b", "/b"},
		{"/a/b", "../c", "/a/c"},
		{"/a", "../../../c", "/c"},
		{"/a", "..", "/"},
		{"/a", ".", "/a"},
		{"/a", "b/./c//d/", "/a/b/c/d"},
		{"/a", "/x/../y/..", "/"},
		{"/a", "/x/.../..y/.z", "/x/.../..y/.z"},
		{"/", "/", "/"},
		{"", "", "/"},
		{"/a", "", "/a"},
	} {
		if got := string(appendPath([]byte("keep"), []byte(tt.dir), []byte(tt.path))); got != "keep"+tt.want {
			t.Errorf("%q %q = %q, want %q", tt.dir, tt.path, got, tt.want)
		}
	}
	long := appendPath(nil, []byte("/a"), []byte(strings.Repeat("b/", 1<<16)))
	if len(long) > maxPath {
		t.Errorf("a path of %d bytes", len(long))
	}
}
