package compile

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/shikra-sensor/shikra/sensor/internal/arena"
	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/field"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/check"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// process is one process of the world that is measured.
type process struct{ comm, exepath, args string }

// usual is what a small server does; none of it is for an alert.
func usual(t testing.TB) *world {
	a, err := arena.New(arena.Config{Threads: 64, Files: 64, Containers: 8})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	w := &world{t: t, a: a, c: &field.Ctx{Arena: a}}
	procs := []process{
		{"systemd", "/usr/lib/systemd/systemd", "--switched-root --system"}, {"sshd", "/usr/sbin/sshd", "-D"},
		{"bash", "/usr/bin/bash", "-l"}, {"git", "/usr/bin/git", "status --porcelain"}, {"ls", "/usr/bin/ls", "-la /home/user/project"},
		{"nginx", "/usr/sbin/nginx", "-g daemon off;"}, {"nginx", "/usr/sbin/nginx", "worker process"},
		{"containerd-shim", "/usr/bin/containerd-shim-runc-v2", "-namespace moby"}, {"node", "/usr/local/bin/node", "/app/server.js --port 8080"},
		{"go", "/usr/local/go/bin/go", "build ./..."}, {"compile", "/usr/local/go/pkg/tool/linux_amd64/compile", strings.Repeat("-p example.com/pkg ", 8)},
		{"systemd-journal", "/usr/lib/systemd/systemd-journald", ""},
	}
	parent := []int{-1, 0, 1, 2, 2, 0, 5, 0, 7, 2, 9, 0}
	c, _ := a.Containers.Alloc()
	le.PutUint32(a.Containers.Record(c)[wasmabi.ContainerId:], a.Strings.InternString("3ad7b26ded6d"))
	for i, p := range procs {
		s, _ := a.Threads.Alloc()
		b := a.Threads.Record(s)
		le.PutUint64(b[wasmabi.ThreadPid:], uint64(100+i))
		set := func(off int, s string) { le.PutUint32(b[off:], a.Strings.InternString(s)) }
		set(wasmabi.ThreadComm, p.comm)
		set(wasmabi.ThreadExe, p.exepath)
		set(wasmabi.ThreadExepath, p.exepath)
		set(wasmabi.ThreadUserName, "root")
		le.PutUint32(b[wasmabi.ThreadCmdline:], a.Private.InternString(p.comm+" "+p.args))
		le.PutUint32(b[wasmabi.ThreadArgline:], a.Private.InternString(p.args))
		if parent[i] >= 0 {
			le.PutUint32(b[wasmabi.ThreadParent:], w.objs.threads[parent[i]])
		}
		if p.comm == "node" {
			le.PutUint32(b[wasmabi.ThreadContainer:], c)
		}
		le.PutUint32(b[wasmabi.ThreadLeader:], s)
		le.PutUint32(b[wasmabi.ThreadFlags:], wasmabi.ThreadMain)
		w.objs.threads = append(w.objs.threads, s)
	}
	for _, name := range []string{
		"/etc/ld.so.cache", "/usr/lib/x86_64-linux-gnu/libc.so.6", "/proc/1234/stat", "/var/log/nginx/access.log", "/home/user/project/main.go",
		"/tmp/go-build1234/b001/_pkg_.a", "/home/user/project/.git/index", "/app/node_modules/express/package.json",
		"/usr/share/locale/locale.alias", "/run/systemd/journal/streams/9:12345",
	} {
		s, _ := a.Files.Alloc()
		b := a.Files.Record(s)
		b[wasmabi.FileKind] = 'f'
		le.PutUint32(b[wasmabi.FileName:], a.Strings.InternString(name))
		le.PutUint32(b[wasmabi.FileNameDir:], uint32(strings.LastIndexByte(name, '/')))
		w.objs.files = append(w.objs.files, s)
	}
	for i := range 3 {
		s, _ := a.Files.Alloc()
		b := a.Files.Record(s)
		b[wasmabi.FileKind], b[wasmabi.FileL4proto], b[wasmabi.FileBits] = '4', 6, wasmabi.FileClient
		copy(b[wasmabi.FileCip:], []byte{10, 0, 0, byte(i)})
		copy(b[wasmabi.FileSip:], []byte{10, 0, 1, byte(i)})
		le.PutUint16(b[wasmabi.FileCport:], uint16(40000+i))
		le.PutUint16(b[wasmabi.FileSport:], 443)
		le.PutUint32(b[wasmabi.FileName:], a.Strings.InternString("10.0.0.1:40000->10.0.1.1:443"))
		w.objs.files = append(w.objs.files, s)
	}
	return w
}

// mixes are the event types of a batch, in turn.
var mixes = []struct {
	name  string
	types []event.Type
}{
	{"mix", []event.Type{ // 8 of 16 open a file, 1 writing; 2 connect, 1 starts a program, 5 are of types without rules
		event.SyscallOpenatV2X, event.SyscallCloseX, event.SyscallOpenatV2X, event.SyscallReadX, event.SyscallOpenatV2X, event.SocketConnectX,
		event.SyscallOpenatV2X, event.SyscallCloseX, event.SyscallOpenatV2X, event.SyscallExecveV19X, event.SyscallOpenatV2X,
		event.SyscallCloseX, event.SyscallOpenatV2X, event.SocketConnectX, event.SyscallOpenatV2X, event.SyscallCloseX,
	}},
	{"open", []event.Type{event.SyscallOpenatV2X}},
	{"exec", []event.Type{event.SyscallExecveV19X}},
	{"connect", []event.Type{event.SocketConnectX}},
	{"close", []event.Type{event.SyscallCloseX}},
}

func (w *world) usualEvents(types []event.Type) {
	var b event.Builder
	opens := 0
	for i := range wasmabi.BatchMax {
		typ := types[i%len(types)]
		e, ok := w.a.Batch.Append(b.Start(uint64(i), 1, typ).Done(), uint64(i))
		if !ok {
			w.t.Fatal("no room")
		}
		e.SetThread(w.objs.threads[i*7%len(w.objs.threads)])
		e.SetFD(3)
		e.SetRes(0)
		switch typ {
		case event.SyscallOpenatV2X:
			e.SetFile(w.objs.files[opens*3%10])
			if opens++; opens%8 == 0 {
				e.SetBits(wasmabi.BitOpenWrite)
			} else {
				e.SetBits(wasmabi.BitOpenRead)
			}
		case event.SocketConnectX:
			e.SetFile(w.objs.files[10+i%3])
		}
	}
}

func benchRules(t testing.TB) *check.Program {
	src, err := os.ReadFile("testdata/bench.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return checked(t, "bench.yaml", string(src))
}

func benchJudge(b *testing.B, p *check.Program) {
	for _, engine := range []string{"compiler", "interpreter"} {
		for _, mix := range mixes {
			b.Run(engine+"/"+mix.name, func(b *testing.B) {
				w := usual(b)
				w.usualEvents(mix.types)
				u := w.load(engine, p, Options{})
				u.extract()
				if n := len(u.judge()); n > 0 && mix.name == "mix" {
					b.Logf("%d alerts", n)
				}
				ctx := context.Background()
				b.ReportAllocs()
				for b.Loop() {
					clear(u.alerts)
					if err := u.m.Judge(ctx); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*wasmabi.BatchMax), "ns/event")
			})
		}
	}
}

// BenchmarkJudge measures the rules of testdata/bench.yaml in the host, fuel included, on batches of 256.
func BenchmarkJudge(b *testing.B) { benchJudge(b, benchRules(b)) }

// BenchmarkJudgeFalco measures all rules of the compatibility data.
func BenchmarkJudgeFalco(b *testing.B) {
	benchJudge(b, falcoRules(b, "falco_rules.yaml", "falco-incubating_rules.yaml", "falco-sandbox_rules.yaml"))
}

// BenchmarkCompile measures the way from checked rules to the module's bytes.
func BenchmarkCompile(b *testing.B) {
	p := benchRules(b)
	var code []byte
	for b.Loop() {
		var err error
		if code, err = Compile(p, Options{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(code)), "bytes")
}

// TestBenchRules holds the size and checks what is measured against the oracle.
func TestBenchRules(t *testing.T) {
	p := benchRules(t)
	code, err := Compile(p, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(code) > 60<<10 {
		t.Errorf("%d rules make %d bytes", len(p.Rules), len(code))
	}
	for _, mix := range mixes {
		w := usual(t)
		w.usualEvents(mix.types)
		u := w.loadModule("auto", code)
		u.extract()
		w.same(p, u.judge(), w.expect(p))
	}
	w := newWorld(t, 1)
	u := w.loadModule("auto", code)
	for range 4 {
		w.a.Flushed()
		w.events(wasmabi.BatchMax)
		u.extract()
		w.same(p, u.judge(), w.expect(p))
	}
}
