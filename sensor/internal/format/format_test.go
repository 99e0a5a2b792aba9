package format

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/shikra-sensor/shikra/sensor/internal/arena"
	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/field"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// world returns an event of cat's, whose parent isn't known, and what reads it.
func world(t testing.TB) (*field.Ctx, event.Event) {
	t.Helper()
	a, err := arena.New(arena.Config{Threads: 8, Files: 8, Strings: 1 << 16, Private: 1 << 16})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	a.Batch.SetWallOffset(1_700_000_000_000_000_000)
	slot, _ := a.Threads.Alloc()
	r := a.Threads.Record(slot)
	binary.LittleEndian.PutUint64(r[wasmabi.ThreadPid:], 300)
	binary.LittleEndian.PutUint32(r[wasmabi.ThreadComm:], a.Strings.InternString("cat"))
	binary.LittleEndian.PutUint32(r[wasmabi.ThreadCwd:], a.Strings.InternString("/home/admin"))
	var b event.Builder
	rec := b.Start(5_123_456_789, 300, event.SyscallUnlinkatV2X).SetCPU(1).Int(-2).Int(-100).String("x \"y\"").Int(0).Done()
	if err := rec.Check(); err != nil {
		t.Fatal(err)
	}
	e, _ := a.Batch.Append(rec, 7)
	e.SetThread(slot)
	e.SetRes(-2)
	return &field.Ctx{Arena: a, Zone: time.UTC}, e
}

func TestFormat(t *testing.T) {
	c, e := world(t)
	for _, tt := range []struct{ in, out string }{
		{EventLine, `7 22:13:25.123456789 1 cat (300) unlinkat res=-2(ENOENT) dirfd=-100(AT_FDCWD) name=x "y"(/home/admin/x "y") flags=0`},
		{"", ""},
		{"no fields", "no fields"},
		{"*%proc.name", "cat"},
		{"**%proc.name*", "*cat*"},
		{"%proc.name", "cat"},
		{"a %proc.name.", "a cat."},
		{"%proc.name... %proc.pid,", "cat... 300,"},
		{"%proc.name%proc.pid", "cat300"},
		{"100%% of %proc.name", "100% of cat"},
		{"%%proc.name", "%proc.name"},
		{"parent=%proc.pname (%proc.aname[2])", "parent=<NA> (<NA>)"},
		{"%proc.name[x]", "cat[x]"},
		{"%evt.arg.name|%evt.arg[3]|%evt.arg.uid|", `/home/admin/x "y"|0|<NA>|`},
		{"[%6proc.name]", "[cat   ]"},
		{"[%2proc.name]", "[ca]"},
		{"%evt.time.iso8601 %evt.res", "2023-11-14T22:13:25.123456789+0000 ENOENT"},
		{"%container.info %proc.name", " cat"},
		{"é%proc.nameé", "écaté"},
	} {
		f, err := Parse(tt.in)
		if err != nil {
			t.Errorf("%q: %v", tt.in, err)
			continue
		}
		if got := string(f.Append([]byte("> "), c, e)); got != "> "+tt.out {
			t.Errorf("%q = %q, want %q", tt.in, got, tt.out)
		}
		if f.String() != tt.in {
			t.Errorf("String of %q is %q", tt.in, f)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"%", "output, byte 0: % isn't followed by a field (write %% for a percent sign)"},
		{"* x %", "output, byte 4: % isn't followed by a field"},
		{"100 % of", "output, byte 4: % isn't followed by a field"},
		{"%proc.nmae", `output, byte 0: unknown field "proc.nmae": did you mean proc.name?`},
		{"a %proc.aname[", "output, byte 2: %proc.aname[ has no closing bracket"},
		{"%proc.aname[x]", "output, byte 0: proc.aname takes a number"},
		{"%evt.arg.nothing", "output, byte 0: no event has a parameter called \"nothing\""},
		{"%evt.arg", "output, byte 0: evt.arg needs an argument"},
		{"%toupper(proc.name)", "output, byte 0: %toupper(…): an output can't change the values of fields"},
		{"%0proc.name", "output, byte 0: width 0: it can be 1 to 1024"},
		{"%99999999999999999999proc.name", "output, byte 0: width 99999999999999999999: it can be 1 to 1024"},
		{"%10", "output, byte 0: % isn't followed by a field"},
		{strings.Repeat("x", MaxOutput+1), "output, byte 65536: longer than 65536 bytes"},
	} {
		f, err := Parse(tt.in)
		var e *Error
		if f != nil || !errors.As(err, &e) || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%.40q: %v, want %s", tt.in, err, tt.want)
		}
	}
	_, err := Parse("%proc.nmae")
	var fe *field.Error
	if !errors.As(err, &fe) || fe.Hint == "" {
		t.Errorf("the field's error is lost in %v", err)
	}
}

func TestRefsAndFields(t *testing.T) {
	c, e := world(t)
	f, err := Parse("%proc.name %evt.arg.name %proc.name %proc.aname[02] %proc.aname[2] %evt.time %evt.failed %container.mount.dest[/a\"b]")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range f.Refs() {
		names = append(names, r.Text)
	}
	if got := strings.Join(names, " "); got != `proc.name evt.arg.name proc.aname[2] evt.time evt.failed container.mount.dest[/a"b]` {
		t.Errorf("refs %s", got)
	}
	js := f.AppendFields(nil, c, e)
	const want = `{"proc.name":"cat","evt.arg.name":"/home/admin/x \"y\"","proc.aname[2]":null,"evt.time":1700000005123456789,"evt.failed":true,"container.mount.dest[/a\"b]":null}`
	if string(js) != want || !json.Valid(js) {
		t.Errorf("fields %s\nwant   %s", js, want)
	}
	none, _ := Parse("text")
	if got := string(none.AppendFields(nil, c, e)); got != "{}" || none.Refs() != nil {
		t.Errorf("no fields: %s", got)
	}
}

func TestAllocs(t *testing.T) {
	c, e := world(t)
	f, err := Parse(EventLine + " %user.name %fd.name %proc.aname[3] %proc.pcmdline %container.id %evt.time.iso8601")
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() {
		buf = f.Append(buf[:0], c, e)
		buf = f.AppendFields(buf[:0], c, e)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Whatever parses can be written, and its fields make a JSON object.
func FuzzParse(f *testing.F) {
	for _, s := range []string{EventLine, "*%proc.name.", "%%", "%10evt.type", "%proc.aname[2]x", "%evt.arg.flags", "%container.info", "%fd.types %fd.ip"} {
		f.Add(s)
	}
	c, e := world(f)
	f.Fuzz(func(t *testing.T, s string) {
		p, err := Parse(s)
		if (err == nil) != (p != nil) {
			t.Fatalf("%q: %v, %v", s, p, err)
		}
		if err != nil {
			return
		}
		if got := p.Append([]byte("keep"), c, e); !bytes.HasPrefix(got, []byte("keep")) {
			t.Fatalf("%q: %q", s, got)
		}
		if js := p.AppendFields(nil, c, e); !json.Valid(js) {
			t.Fatalf("%q: %s", s, js)
		}
	})
}

func BenchmarkEventLine(b *testing.B) {
	c, e := world(b)
	f, err := Parse(EventLine)
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		buf = f.Append(buf[:0], c, e)
	}
}
