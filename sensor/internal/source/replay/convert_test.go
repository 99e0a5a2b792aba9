package replay

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shikra-sensor/shikra/sensor/internal/capture"
	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// Update says to write the goldens anew.
var Update = flag.Bool("update", false, "write the goldens anew")

// marked returns a value for parameter i of type p that tells where it came from: by its lowest byte or by its text.
func marked(who string, p event.ParamType, i int) []byte {
	if n := p.Size(); n > 0 {
		b := make([]byte, n)
		b[0] = byte(i + 1)
		if who == "enter" {
			b[0] += 0x40
		}
		return b
	}
	if p == event.ParamDyn {
		return append([]byte{1}, marked(who, event.ParamInt64, i)...)
	}
	return fmt.Appendf(nil, "%s%d\x00", who, i)
}

// origin reads what marked wrote.
func origin(v []byte, p event.ParamType) string {
	switch {
	case p == event.ParamDyn:
		return origin(v[1:], event.ParamInt64)
	case p.Size() == 0:
		return string(bytes.TrimSuffix(v, []byte{0}))
	case v[0] > 0x40:
		return fmt.Sprintf("enter%d", v[0]-0x41)
	}
	return fmt.Sprintf("own%d", v[0]-1)
}

func captured(t event.Type, n int, who string) *capture.Event {
	e := &capture.Event{TS: 5, TID: 7, Type: t, CPU: 1}
	var vals [][]byte
	for i, p := range t.Info().Params[:n] {
		vals = append(vals, marked(who, p.Type, i))
	}
	e.SetParams(vals...)
	return e
}

// TestConversions makes a pair of events for each line of the table, once with an exit that has all of its parameters and
// once with one that has the first only, and writes down where each parameter of the record came from.
func TestConversions(t *testing.T) {
	var b strings.Builder
	for _, v := range conversions {
		counts := []int{len(v.from.Info().Params)}
		if v.to == 0 && counts[0] > 1 {
			counts = append(counts, 1)
		}
		for _, n := range counts {
			c := newConverter()
			if v.from&1 == 1 && isEnter(v.from-1) {
				if _, ok := c.convert(captured(v.from-1, len((v.from - 1).Info().Params), "enter")); ok {
					t.Errorf("the enter of %s became a record", v.from)
				}
			}
			r, ok := c.convert(captured(v.from, n, "own"))
			if !ok {
				t.Errorf("%s became nothing", v.from)
				continue
			}
			if err := r.Check(); err != nil {
				t.Errorf("%s: %v", v.from, err)
				continue
			}
			if r.TS() != 5 || r.TID() != 7 || r.CPU() != 1 || r.Origin() != 0 {
				t.Errorf("%s: head %d %d %d %d", v.from, r.TS(), r.TID(), r.CPU(), r.Origin())
			}
			if c.unpaired != 0 {
				t.Errorf("%s: its enter wasn't found", v.from)
			}
			if c.pend.get(7, v.from-1) != nil {
				t.Errorf("%s: its enter is kept", v.from)
			}
			fmt.Fprintf(&b, "%s(%d) -> %s:", v.from, n, r.Type())
			for i, p := range r.Type().Info().Params {
				if x, ok := r.Param(i); ok {
					fmt.Fprintf(&b, " %s=%s", p.Name, origin(x, p.Type))
				} else {
					fmt.Fprintf(&b, " %s=-", p.Name)
				}
			}
			b.WriteByte('\n')
		}
	}
	name := filepath.Join("testdata", "conversions.golden")
	if *Update {
		if err := os.WriteFile(name, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("got:\n%s", b.String())
	}
}

// TestEveryType asks what becomes of each type: those that today's sensors make pass, the first of a pair is absorbed,
// and what is neither, nor converted, is known by name.
func TestEveryType(t *testing.T) {
	skipped := map[event.Type]bool{
		event.K8sE: true, event.MesosE: true, event.TracerE: true, event.TaskFileX: true, // a capture has no place for the last
	}
	c := newConverter()
	for _, ty := range event.Types() {
		if ty.Info().Flags&event.FlagUnused != 0 {
			skipped[ty] = true
		}
		r, ok := c.convert(captured(ty, len(ty.Info().Params), "own"))
		switch {
		case skipped[ty]:
			if ok || c.skipped[ty] != 1 {
				t.Errorf("%s isn't skipped", ty)
			}
		case isEnter(ty):
			if ok {
				t.Errorf("%s became %s", ty, r.Type())
			}
		case !ok:
			t.Errorf("%s became nothing", ty)
		default:
			if err := r.Check(); err != nil || !r.Type().Current() {
				t.Errorf("%s became %s: %v", ty, r.Type(), err)
			}
		}
	}
	var total uint64
	for _, n := range c.skipped {
		total += n
	}
	if total != uint64(len(skipped)) || c.unknown != 0 {
		t.Errorf("skipped %d, unknown %d; want %d, 0", total, c.unknown, len(skipped))
	}
	if _, ok := c.convert(&capture.Event{Type: event.Type(event.NumTypes)}); ok || c.unknown != 1 {
		t.Error("a type of the future isn't counted")
	}
}

// TestConvertedFlag holds the table against the types: whatever the format marks as folded or replaced is handled.
func TestConvertedFlag(t *testing.T) {
	have := map[event.Type]bool{}
	for _, v := range conversions {
		if have[v.from] {
			t.Errorf("%s stands twice", v.from)
		}
		have[v.from] = true
	}
	// All of these have all they had from the start or lack what no enter knew.
	appended := map[event.Type]bool{}
	for _, ty := range []event.Type{
		event.SyscallCloneV20X, event.SyscallForkV20X, event.SyscallVforkV20X, event.SyscallClone3X, event.SyscallExecveatX,
		event.SocketSendmmsgX, event.SocketRecvmmsgX,
	} {
		appended[ty] = true
	}
	for _, ty := range event.Types() {
		if ty.Info().Flags&event.FlagConverted != 0 && !isEnter(ty) && !have[ty] && !appended[ty] {
			t.Errorf("%s is marked as converted and isn't in the table", ty)
		}
	}
}

func TestBadTable(t *testing.T) {
	for want, v := range map[string]conversion{
		"made any more":     {from: event.SyscallOpenatX, to: event.SyscallOpenatX},
		"no parameter nope": {from: event.SyscallCloseX, enter: "nope"},
		"no parameter fd=x": {from: event.SyscallCloseX, enter: "fd=x"},
		"no parameter fd=y": {from: event.SyscallBpfX, to: event.SyscallBpfV2X, own: "fd=y"},
		"no enter":          {from: event.ProcexitE, to: event.ProcexitV1E, enter: "status"},
		"type of":           {from: event.SyscallOpenX, enter: "flags=name"},
	} {
		if err := new(converter).compile([]conversion{v}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestValue(t *testing.T) {
	for _, c := range []struct {
		in       string
		from, to event.ParamType
		want     string // "-" for missing
	}{
		{"\x01\x00\x00\x00\x00\x00\x00\x00", event.ParamFd, event.ParamFd, "\x01\x00\x00\x00\x00\x00\x00\x00"},
		{"\xFE\xFF\xFF\xFF", event.ParamInt32, event.ParamErrno, "\xFE\xFF\xFF\xFF\xFF\xFF\xFF\xFF"},
		{"\xFE\xFF\xFF\xFF", event.ParamUint32, event.ParamInt64, "\xFE\xFF\xFF\xFF\x00\x00\x00\x00"},
		{"\xFE\xFF\xFF\xFF", event.ParamErrno, event.ParamErrno, "\xFE\xFF\xFF\xFF\xFF\xFF\xFF\xFF"},
		{"\x05\x01\x00\x00\x00\x00\x00\x00", event.ParamInt64, event.ParamEnumflags32, "\x05\x01\x00\x00"},
		{"\x00\x03\x00\x00\x00\x00\x00\x00\x00", event.ParamDyn, event.ParamFd, "\x03\x00\x00\x00\x00\x00\x00\x00"},
		{"\x00\xFF\xFF\xFF\xFF", event.ParamDyn, event.ParamFd, "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"},
		{"\x00", event.ParamDyn, event.ParamFd, "-"},
		{"\x00\x03", event.ParamDyn, event.ParamDyn, "\x00\x03"},
		{"\x01\x02\x03", event.ParamUint32, event.ParamUint32, "-"},
		{strings.Repeat("x", 16), event.ParamUint64, event.ParamUint64, "-"},
		{"\x01\x02", event.ParamIpv6addr, event.ParamIpv6addr, "-"},
		{"", event.ParamUint32, event.ParamUint32, "-"},
		{"", event.ParamFspath, event.ParamFspath, "-"},
		{"", event.ParamSocktuple, event.ParamSocktuple, "-"},
		{"", event.ParamBytebuf, event.ParamBytebuf, ""},
		{"a\x00", event.ParamCharbuf, event.ParamFspath, "a\x00"},
	} {
		var buf [8]byte
		got := value([]byte(c.in), c.from, c.to, &buf)
		if s := string(got); got == nil && c.want != "-" || got != nil && s != c.want {
			t.Errorf("%q from %d to %d: %q, want %q", c.in, c.from, c.to, got, c.want)
		}
	}
}

func enterOf(t event.Type, tid int64, vals ...[]byte) *capture.Event {
	e := &capture.Event{TID: tid, Type: t}
	e.SetParams(vals...)
	return e
}

// TestPairs pairs enters with exits in the orders that captures have them.
func TestPairs(t *testing.T) {
	fd := func(n byte) []byte { return []byte{n, 0, 0, 0, 0, 0, 0, 0} }
	res := fd(0)
	for name, c := range map[string]struct {
		events []*capture.Event
		fd     int64 // of the last, a close; -1 for missing
		lacks  uint64
	}{
		"pair":                  {[]*capture.Event{enterOf(event.SyscallCloseE, 1, fd(9)), enterOf(event.SyscallCloseX, 1, res)}, 9, 0},
		"exit alone":            {[]*capture.Event{enterOf(event.SyscallCloseX, 1, res)}, -1, 1},
		"today's exit":          {[]*capture.Event{enterOf(event.SyscallCloseX, 1, res, fd(3))}, 3, 0},
		"today's pair":          {[]*capture.Event{enterOf(event.SyscallCloseE, 1, fd(9)), enterOf(event.SyscallCloseX, 1, res, fd(3))}, 3, 0},
		"missing in a new exit": {[]*capture.Event{enterOf(event.SyscallCloseX, 1, res, nil)}, -1, 0},
		"missing in both":       {[]*capture.Event{enterOf(event.SyscallCloseE, 1), enterOf(event.SyscallCloseX, 1, res)}, -1, 0},
		"another thread's":      {[]*capture.Event{enterOf(event.SyscallCloseE, 1, fd(9)), enterOf(event.SyscallCloseE, 1+enterSets, fd(8)), enterOf(event.SyscallCloseX, 1, res)}, 9, 0},
		"a switch between":      {[]*capture.Event{enterOf(event.SyscallCloseE, 1, fd(9)), enterOf(event.SchedswitchV6E, 1), enterOf(event.SyscallCloseX, 1, res)}, 9, 0},
		"another call's":        {[]*capture.Event{enterOf(event.SyscallReadE, 1, fd(9)), enterOf(event.SyscallCloseX, 1, res)}, -1, 1},
		"a call after it":       {[]*capture.Event{enterOf(event.SyscallCloseE, 1, fd(9)), enterOf(event.SyscallGetuidE, 1), enterOf(event.SyscallCloseX, 1, res)}, -1, 1},
		"used up":               {[]*capture.Event{enterOf(event.SyscallCloseE, 1, fd(9)), enterOf(event.SyscallCloseX, 1, res), enterOf(event.SyscallCloseX, 1, res)}, -1, 1},
		"thread's end":          {[]*capture.Event{enterOf(event.SyscallCloseE, 1, fd(9)), enterOf(event.ProcexitV1E, 1), enterOf(event.SyscallCloseX, 1, res)}, -1, 1},
		"the latter":            {[]*capture.Event{enterOf(event.SyscallCloseE, 1, fd(9)), enterOf(event.SyscallCloseE, 1, fd(7)), enterOf(event.SyscallCloseX, 1, res)}, 7, 0},
	} {
		cv := newConverter()
		var r event.Record
		for _, e := range c.events {
			r, _ = cv.convert(e)
		}
		got := int64(-1)
		if b, ok := r.Param(1); ok {
			got, _ = event.ParamFd.Int(b)
		}
		if err := r.Check(); err != nil || got != c.fd || cv.unpaired != c.lacks {
			t.Errorf("%s: fd %d, %d unpaired, %v; want %d, %d", name, got, cv.unpaired, err, c.fd, c.lacks)
		}
	}
}

// TestEntersBounded fills the table of enters: the oldest go first, what is held stays under its limit, and each that is
// given up is counted.
func TestEntersBounded(t *testing.T) {
	var p enters
	e := enterOf(event.SyscallCloseE, 0, make([]byte, 8))
	const over = 100
	for i := range int64(enterSets*enterWays + over) {
		e.TID = i
		p.put(e)
	}
	if p.evicted != over {
		t.Errorf("evicted %d, want %d", p.evicted, over)
	}
	if p.get(0, event.SyscallCloseE) != nil || p.get(over, event.SyscallCloseE) == nil {
		t.Error("it isn't the oldest that went")
	}

	p = enters{}
	big := enterOf(event.SyscallOpenE, 0, make([]byte, 60000), make([]byte, 4), make([]byte, 4))
	for i := range int64(1000) {
		big.TID = i
		p.put(big)
	}
	held := 0
	for i := range int64(1000) {
		if s := p.get(i, event.SyscallOpenE); s != nil {
			held++
			if len(s.param(0)) != 60000 || len(s.param(2)) != 4 || s.param(3) != nil {
				t.Fatalf("enter %d: %d bytes", i, len(s.param(0)))
			}
		}
	}
	if p.bytes > 2*enterBytes || held < 200 || int(p.evicted) != 1000-held {
		t.Errorf("%d bytes, %d held, %d evicted", p.bytes, held, p.evicted)
	}
	for i := range int64(1000) {
		p.done(i)
	}
	if p.bytes != 0 {
		t.Errorf("%d bytes when nothing is held", p.bytes)
	}
}

// TestCut makes records that are longer than a record can be.
func TestCut(t *testing.T) {
	c := newConverter()
	name := append(bytes.Repeat([]byte("n"), 50000), 0)
	data := bytes.Repeat([]byte("d"), 65000)
	tuple := bytes.Repeat([]byte("t"), 65000)
	for _, v := range []struct {
		e, x  *capture.Event
		param int
		end   byte
		n     int
		cut   bool
	}{
		{enterOf(event.SyscallOpenatE, 1, make([]byte, 8), name), enterOf(event.SyscallOpenatX, 1, make([]byte, 8)), 2, 0, 50001, false},
		{enterOf(event.SyscallLinkE, 1, name, name), enterOf(event.SyscallLinkX, 1, make([]byte, 8)), 1, 0, 65535 - 3*4 - 8 - 50001, true},
		{enterOf(event.SyscallWriteE, 1, make([]byte, 8), make([]byte, 4)), enterOf(event.SyscallWriteX, 1, make([]byte, 8), append(data, make([]byte, 530)...)), 1, 0, 65535 - 4*4 - 8 - 8 - 4, true},
		{enterOf(event.SocketSendtoE, 1, make([]byte, 8), make([]byte, 4), tuple), enterOf(event.SocketSendtoX, 1, make([]byte, 8), data[:40000]), 1, 'd', 40000, true},
	} {
		cut := c.cut
		c.convert(v.e)
		r, ok := c.convert(v.x)
		if err := r.Check(); !ok || err != nil {
			t.Fatalf("%s: %v", v.x.Type, err)
		}
		p, _ := r.Param(v.param)
		if len(p) != v.n || p[len(p)-1] != v.end {
			t.Errorf("%s: %d bytes, the last is %d; want %d, %d", r.Type(), len(p), p[len(p)-1], v.n, v.end)
		}
		if got := c.cut != cut; got != v.cut || got != (r.Origin()&wasmabi.OriginCut != 0) {
			t.Errorf("%s: counted as cut: %v, origin %d", r.Type(), got, r.Origin())
		}
	}
}

func TestContainer(t *testing.T) {
	c := newConverter()
	r, ok := c.convert(enterOf(event.ContainerE, 1, []byte("abc\x00"), []byte{2, 0, 0, 0}, []byte("a \"b\"\x00"), []byte("img\x00")))
	p, _ := r.Param(0)
	if want := `{"container":{"id":"abc","type":2,"name":"a \"b\"","image":"img"}}` + "\x00"; !ok || r.Type() != event.ContainerJsonV2E || string(p) != want {
		t.Errorf("%s %s", r.Type(), p)
	}
	if err := r.Check(); err != nil {
		t.Error(err)
	}
	r, _ = c.convert(enterOf(event.ContainerE, 1))
	if err := r.Check(); err != nil {
		t.Error(err)
	}
}

// TestGeneric gives the number of a call that has no event type of its own.
func TestGeneric(t *testing.T) {
	c := newConverter()
	c.convert(enterOf(event.GenericE, 1, []byte{5, 0}, []byte{28, 1}))
	if r, _ := c.convert(enterOf(event.GenericX, 1, []byte{5, 0})); r.NR() != 0x11C {
		t.Errorf("nr %d", r.NR())
	}
	if r, _ := c.convert(enterOf(event.GenericX, 1, []byte{5, 0})); r.NR() != event.NoNR {
		t.Errorf("nr %d", r.NR())
	}
}

// FuzzConvert converts events of any type with any parameters: what comes out passes Check.
// TestOwnTypes: a generic event of a call that has a type of its own today becomes one of that type.
func TestOwnTypes(t *testing.T) {
	n := 0
	for _, sc := range event.Syscalls() {
		if sc.Exit < event.OwnType || sc.Code >= event.OwnCode {
			continue
		}
		n++
		c := newConverter()
		r, ok := c.convert(enterOf(event.GenericX, 1, binary.LittleEndian.AppendUint16(nil, uint16(sc.Code)), []byte{7, 0}))
		if !ok || r.Type() != sc.Exit || r.NR() != 7 || r.Check() != nil {
			t.Errorf("%s becomes %s: %v", sc.Name, r.Type(), r.Check())
		}
	}
	if n < 5 {
		t.Errorf("only %d", n)
	}
}

func FuzzConvert(f *testing.F) {
	f.Add(uint16(event.SyscallOpenatX), []byte("\x08\x00\x00\x00\x00\x00\x00\x00\x00\x03/a\x00"))
	f.Add(uint16(event.SyscallBpfX), []byte("\x09\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	c := newConverter()
	f.Fuzz(func(t *testing.T, ty uint16, in []byte) {
		for _, k := range []event.Type{event.Type(ty) - 1, event.Type(ty)} {
			var vals [][]byte
			for rest := in; len(rest) > 0; {
				n := min(int(rest[0]), len(rest)-1)
				v := rest[1 : 1+n]
				if n == 200 {
					v = bytes.Repeat(v, 300)
				}
				vals, rest = append(vals, v), rest[1+n:]
			}
			r, ok := c.convert(enterOf(k, 1, vals...))
			if ok != (r != nil) {
				t.Fatal(ok, len(r))
			}
			if ok {
				if err := r.Check(); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}
