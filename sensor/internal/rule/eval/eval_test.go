package eval

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/shikra-sensor/shikra/sensor/internal/arena"
	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/field"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/parse"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// TestOperators decides tests on fields whose values the table names.
func TestOperators(t *testing.T) {
	values := map[string]struct {
		typ field.Type
		val field.Value
	}{
		"s.cat":   {field.String, text("cat")},
		"s.path":  {field.String, text("/var/run/docker.sock")},
		"s.root":  {field.String, text("/")},
		"s.empty": {field.String, text("")},
		"s.none":  {field.String, field.Value{}},
		"b.raw":   {field.Bytes, text("a\x00b\xff")},
		"i.minus": {field.Int, number(^uint64(0))},
		"i.ten":   {field.Int, number(10)},
		"i.none":  {field.Int, field.Value{}},
		"u.big":   {field.Uint, number(^uint64(0))},
		"b.true":  {field.Bool, number(1)},
		"p.ssh":   {field.Port, number(22)},
		"a.four":  {field.IP, text("\x0a\x01\x02\x03")},
		"a.six":   {field.IP, text("\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x01")},
		"n.four":  {field.IPNet, text("\x0a\x01\x02\x03")},
		"n.six":   {field.IPNet, text("\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x01")},
		"d.five":  {field.RelTime, number(5e9)},
	}
	lookup := func(name string) (field.Ref, error) {
		v, ok := values[name]
		if !ok {
			return field.Parse(name)
		}
		return field.Ref{Field: &field.Field{Name: name, Type: v.typ, Compute: func(_ *field.Ctx, _ event.Event, _ *field.Ref, out *field.Value) { *out = v.val }}, Text: name, Index: -1}, nil
	}
	c, e := oneEvent(t)
	for _, x := range []struct {
		cond string
		want bool
	}{
		{"s.cat = cat", true}, {"s.cat = ca", false}, {"s.cat = Cat", false}, {"s.cat != ca", true}, {"s.cat != cat", false},
		{"s.empty = ''", true}, {"s.empty exists", true}, {"s.empty != a", true},
		{"s.none = ''", false}, {"s.none != a", false}, {"s.none exists", false}, {"not s.none = a", true}, {"not s.none != a", true},
		{"s.none in (a)", false}, {"not s.none in (a)", true}, {"s.none startswith ''", false}, {"i.none < 5", false}, {"not i.none < 5", true},
		{"s.cat in (dog, cat)", true}, {"s.cat in (dog)", false}, {"s.cat in ()", false}, {"s.cat intersects (dog, cat)", true},
		{"s.cat contains a", true}, {"s.cat contains ''", true}, {"s.cat contains tac", false}, {"s.cat icontains CA", true},
		{"s.cat startswith ca", true}, {"s.cat startswith at", false}, {"s.cat endswith at", true}, {"s.cat endswith ca", false},
		{"s.cat glob c*", true}, {"s.cat glob C*", false}, {"s.cat iglob C*", true}, {"s.path glob /var/*", true}, {"s.path glob /var/*.sock", true},
		{"s.path glob /var/?", false}, {"s.cat glob [a-c]at", true}, {"s.cat glob [!a-c]at", false},
		{"s.cat regex c.t", true}, {"s.cat regex c", false}, {"s.cat regex '(c|ca)t?'", true}, {"s.path regex '/var/[a-z/]+.sock'", true}, {"s.path regex '/var/[a-z/]+'", false}, {"s.path regex '/var/[a-z./]+'", true},
		{"s.path pmatch (/var/run)", true}, {"s.path pmatch (/var/ru)", false}, {"s.path pmatch (/etc, /var)", true}, {"s.path pmatch (/)", true},
		{"s.path pmatch (/var/run/docker.sock)", true}, {"s.path pmatch (/var/run/docker.sock/x)", false}, {"s.path pmatch (//var//run/)", true},
		{"s.path pmatch (/*/run)", true}, {"s.path pmatch (/v*r)", true}, {"s.path pmatch (/*)", true}, {"s.path pmatch ()", false}, {"s.root pmatch (/)", true},
		{"s.root pmatch (/etc)", false},
		{"s.cat < 5", false}, {"i.ten < 11", true}, {"i.ten < 10", false}, {"i.ten <= 10", true}, {"i.ten > 9", true}, {"i.ten >= 11", false},
		{"i.ten = 0xa", true}, {"i.ten = 0xA", true}, {"i.ten = 0o12", true}, {"i.ten = 010", true}, {"i.ten = +10", true}, {"i.ten in (1, 10)", true},
		{"i.minus < 0", true}, {"i.minus = -1", true}, {"i.minus > 5", false}, {"u.big > 5", true}, {"u.big = -1", true}, {"u.big = 18446744073709551615", true},
		{"b.true = true", true}, {"b.true = false", false}, {"b.true != false", true}, {"b.true in (false)", false},
		{"p.ssh = 22", true}, {"p.ssh = ssh", true}, {"p.ssh in (http, ssh)", true}, {"p.ssh >= 23", false},
		{"a.four = 10.1.2.3", true}, {"a.four != 10.1.2.3", false}, {"a.four = 2001:db8::1", false}, {"a.four != 2001:db8::1", true}, {"a.six = 2001:db8:0::1", true},
		{"a.four in (10.1.2.4, 10.1.2.3)", true},
		{"n.four = 10.0.0.0/8", true}, {"n.four = 10.9.9.9/8", true}, {"n.four = 11.0.0.0/8", false}, {"n.four != 11.0.0.0/8", true}, {"n.four = 2001:db8::/32", false},
		{"n.six = 2001:db8::/32", true}, {"n.six in (10.0.0.0/8, '2001:db8::/127')", true}, {"n.four = 0.0.0.0/0", true}, {"n.six = 0.0.0.0/0", false},
		{"d.five > 4s", true}, {"d.five = 5s", true}, {"d.five = 5000000000", true}, {"d.five > 1h", false},
		{"b.raw = \"a\\x00b\\xff\"", true}, {"b.raw = a", false}, {"b.raw contains b", true}, {"b.raw bcontains 0062", true}, {"b.raw bstartswith 6100", true},
		{"b.raw bstartswith 62", false}, {"b.raw startswith a", true},
		{"s.cat = cat and s.path = cat", false}, {"s.cat = cat or s.path = cat", true}, {"not (s.cat = cat and s.path = cat)", true},
		{"evt.type = openat", true}, {"evt.type = open", false}, {"evt.dir = <", true}, {"evt.dir = >", false},
	} {
		ast, err := parse.Condition(x.cond)
		if err != nil {
			t.Fatal(err)
		}
		v, err := Of(ast, c, lookup)
		if err != nil {
			t.Errorf("%s: %v", x.cond, err)
			continue
		}
		if got := v.Match(e); got != x.want {
			t.Errorf("%s: %v", x.cond, got)
		}
	}
}

func text(s string) field.Value   { return field.Value{Kind: wasmabi.CellBytes, Bytes: []byte(s)} }
func number(n uint64) field.Value { return field.Value{Kind: wasmabi.CellInt, Int: n} }

// oneEvent returns an openat by a process named sh, child of a bash that is a child of sshd, on a socket from 192.0.2.1:40000
// to 192.0.2.2:443.
func oneEvent(t *testing.T) (*field.Ctx, event.Event) {
	t.Helper()
	a, err := arena.New(arena.Config{Threads: 16, Files: 16, Containers: 4, Strings: 1 << 16, Private: 1 << 16})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	le := binary.LittleEndian
	parent := uint32(0)
	for i, comm := range []string{"sshd", "bash", "sh"} {
		s, _ := a.Threads.Alloc()
		b := a.Threads.Record(s)
		le.PutUint64(b[wasmabi.ThreadTid:], uint64(i+1))
		le.PutUint64(b[wasmabi.ThreadPid:], uint64(i+1))
		le.PutUint32(b[wasmabi.ThreadComm:], a.Strings.InternString(comm))
		le.PutUint32(b[wasmabi.ThreadParent:], parent)
		le.PutUint32(b[wasmabi.ThreadLeader:], s)
		parent = s
	}
	fs, _ := a.Files.Alloc()
	f := a.Files.Record(fs)
	f[wasmabi.FileKind], f[wasmabi.FileBits] = '4', 1
	copy(f[wasmabi.FileCip:], []byte{192, 0, 2, 1})
	copy(f[wasmabi.FileSip:], []byte{192, 0, 2, 2})
	le.PutUint16(f[wasmabi.FileCport:], 40000)
	le.PutUint16(f[wasmabi.FileSport:], 443)
	var b event.Builder
	r := b.Start(1, 3, event.SyscallOpenatV2X).Int(3).Int(-100).String("/etc/shadow").Int(1).Int(0).Int(0).Int(0).Done()
	e, ok := a.Batch.Append(r, 1)
	if !ok {
		t.Fatal("no room in the batch")
	}
	le.PutUint32(e[wasmabi.EventThread:], parent)
	le.PutUint32(e[wasmabi.EventFile:], fs)
	return &field.Ctx{Arena: a}, e
}

// TestSeveralValues is about fields that stand for several values.
func TestSeveralValues(t *testing.T) {
	c, e := oneEvent(t)
	for _, x := range []struct {
		cond string
		want bool
	}{
		{"proc.name = sh", true},
		{"proc.aname = sh", false}, // from the parent up
		{"proc.aname = bash", true}, {"proc.aname = sshd", true}, {"proc.aname[1] = bash", true}, {"proc.aname[2] = sshd", true}, {"proc.aname[3] exists", false},
		{"proc.aname != bash", true}, // sshd isn't
		{"not proc.aname = bash", false}, {"proc.aname in (init, sshd)", true}, {"proc.aname startswith ss", true}, {"proc.aname exists", true},
		{"proc.apid = 1", true}, {"proc.apid = 3", false},
		{"fd.ip = 192.0.2.1", true}, {"fd.ip = 192.0.2.2", true}, {"fd.ip = 192.0.2.3", false}, {"fd.ip != 192.0.2.1", false}, {"fd.ip != 192.0.2.3", true},
		{"fd.ip in (192.0.2.9, 192.0.2.2)", true},
		{"fd.net = 192.0.2.2/32", true}, {"fd.net != 192.0.2.2/32", false}, {"fd.net != 10.0.0.0/8", true}, {"fd.net = 192.0.2.0/24", true},
		{"fd.port = 443", true}, {"fd.port = 40000", true}, {"fd.port != 443", false}, {"fd.port != 80", true}, {"fd.port < 1024", true}, {"fd.port > 1024", true},
		{"fd.port > 50000", false}, {"fd.port in (https)", true}, {"fd.cip = 192.0.2.1", true}, {"fd.sport = 443", true},
	} {
		ast, err := parse.Condition(x.cond)
		if err != nil {
			t.Fatal(err)
		}
		v, err := Of(ast, c, field.Parse)
		if err != nil {
			t.Errorf("%s: %v", x.cond, err)
			continue
		}
		if got := v.Match(e); got != x.want {
			t.Errorf("%s: %v", x.cond, got)
		}
	}
}

// openFiles is a state in which every thread has the same files open.
type openFiles struct {
	field.State
	slots []uint32
}

func (o openFiles) EachFile(_ uint32, fn func(int32, uint32) bool) {
	for i, s := range o.slots {
		if !fn(int32(i), s) {
			return
		}
	}
}

// TestLists is about fields that are lists: in wants every element in the set, intersects one.
func TestLists(t *testing.T) {
	c, e := oneEvent(t)
	var slots []uint32
	for _, kind := range []byte("f4") {
		s, _ := c.Arena.Files.Alloc()
		c.Arena.Files.Record(s)[wasmabi.FileKind] = kind
		slots = append(slots, s)
	}
	for _, x := range []struct {
		cond string
		open int
		want bool
	}{
		{"fd.types in (file)", 1, true}, {"fd.types in (file)", 2, false}, {"fd.types in (file, ipv4, pipe)", 2, true}, {"fd.types in (pipe)", 1, false},
		{"fd.types intersects (ipv4, pipe)", 2, true}, {"fd.types intersects (ipv4)", 1, false}, {"fd.types exists", 1, true}, {"fd.types exists", 0, false},
		{"fd.types in (file)", 0, false}, {"not fd.types in (file)", 0, true}, {"fd.types in ()", 1, false}, {"fd.types intersects ()", 1, false},
	} {
		c.State = openFiles{slots: slots[:x.open]}
		ast, err := parse.Condition(x.cond)
		if err != nil {
			t.Fatal(err)
		}
		v, err := Of(ast, c, field.Parse)
		if err != nil {
			t.Fatal(err)
		}
		if got := v.Match(e); got != x.want {
			t.Errorf("%s with %d files: %v", x.cond, x.open, got)
		}
	}
}

// TestNewErrors has conditions that can't be decided.
func TestNewErrors(t *testing.T) {
	for _, cond := range []string{"macro", "proc.nmae = x", "tolower(proc.name) = x", "proc.name = anyof (a)", "proc.pid = x", "fd.sip = x", "fd.snet = 1.2.3.4",
		"evt.is_open_read = 1", "proc.name regex 'a('", "proc.duration = soon", "fd.sport = nothing"} {
		ast, err := parse.Condition(cond)
		if err != nil {
			t.Fatal(err)
		}
		if v, err := Of(ast, &field.Ctx{}, field.Parse); (v == nil) != (err != nil) || err == nil {
			t.Errorf("%s: evaluator %v, error %v", cond, v, err)
		}
	}
}
