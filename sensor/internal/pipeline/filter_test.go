package pipeline

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shikra-sensor/shikra/modules/edge"
	"github.com/shikra-sensor/shikra/sensor/internal/adapt"
	"github.com/shikra-sensor/shikra/sensor/internal/capture"
	"github.com/shikra-sensor/shikra/sensor/internal/decode"
	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/field"
	"github.com/shikra-sensor/shikra/sensor/internal/filter"
	"github.com/shikra-sensor/shikra/sensor/internal/host"
	"github.com/shikra-sensor/shikra/sensor/internal/output"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/eval/rulegen"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/load"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/ruletest"
	"github.com/shikra-sensor/shikra/sensor/internal/source/replay"
	"github.com/shikra-sensor/shikra/sensor/internal/testkit"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// kernel is the probe's side of things: which system calls are captured, and which of their events are made.
type kernel struct {
	sel    *adapt.Selection
	form   *filter.Form
	byType map[event.Type]string // the captured call of an exit type
	marks  filter.FDMarks
	forked map[int64]bool
	dirs   map[int64]bool // fds by which something is looked up, in the whole run

	dropped map[string]int
}

func newKernel(t testing.TB, wasm []byte, dirs map[int64]bool) *kernel {
	t.Helper()
	man, err := host.ReadManifest(wasm)
	if err != nil {
		t.Fatal(err)
	}
	rules, err := host.ReadRules(wasm)
	if err != nil {
		t.Fatal(err)
	}
	mods := []adapt.Module{{Manifest: man, Rules: rules}}
	k := &kernel{byType: map[event.Type]string{}, forked: map[int64]bool{}, dirs: dirs, dropped: map[string]int{}}
	k.sel = adapt.Select(mods, adapt.Config{HeavyIO: true})
	set, _ := adapt.FilterOf(mods, k.sel)
	k.form = filter.Build(set)
	for _, c := range k.sel.Syscalls {
		if c.Exit != event.GenericX {
			k.byType[c.Exit] = c.Name
		}
	}
	return k
}

// param returns parameter i of r as an integer.
func param(r event.Record, i int) int64 {
	b, ok := r.Param(i)
	if !ok {
		return 0
	}
	n, _ := r.Type().Info().Params[i].Type.Int(b)
	return n
}

// makes reports whether the event of the record is made.
func (k *kernel) makes(r event.Record) bool {
	t := r.Type()
	in := t.Info()
	switch t {
	case event.SyscallCloneV20X, event.SyscallForkV20X, event.SyscallVforkV20X, event.SyscallClone3X:
		parent, child := param(r, in.ParamIndex("pid")), param(r, 0)
		if child == 0 {
			parent, child = param(r, in.ParamIndex("ptid")), parent
		}
		if child > 0 && !k.forked[child] {
			k.forked[child] = true
			k.marks.Fork(parent, child, false)
		}
		return true
	case event.ProcexitV1E, event.SyscallExecveV19X, event.SyscallExecveatX:
		return true
	}
	if in.Origin != event.OriginSyscall {
		return true
	}
	if t == event.GenericX { // whether it is wanted is its module's word, tested elsewhere
		return true
	}
	name := k.byType[t]
	if name == "" {
		k.dropped[in.Name]++
		return false
	}
	m, err := decode.Decode(r)
	if err != nil || !m.HasRes {
		return true
	}
	e := filter.Ended{Result: m.Res, Directory: k.dirs[m.Res]}
	for i, p := range in.Params {
		if p.Type != event.ParamFspath && p.Type != event.ParamFsrelpath {
			continue
		}
		if b, ok := r.Param(i); ok && len(b) > 0 {
			e.Path = bytes.TrimSuffix(b, []byte{0})
		}
		break
	}
	if i := in.ParamIndex("flags"); i >= 0 {
		f := param(r, i)
		e.Open = uint8(f & 3)
		if f&openTrunc != 0 {
			e.Open |= filter.Write
		}
		if f&(1<<2|1<<13) != 0 {
			e.Open |= filter.Create
		}
	}
	pid := r.TID()
	x := &k.form.Filters[k.form.Of[name]]
	switch {
	case x.What&filter.Close != 0:
		if m.Res == -9 || !k.marks.Clear(pid, param(r, in.ParamIndex("fd"))) {
			k.dropped[name]++
			return false
		}
		return true
	case k.form.Drops(name, &e):
		k.dropped[name]++
		return false
	case m.Res >= 0 && x.What&(filter.Marks|filter.Fcntl) != 0:
		k.marks.Set(pid, m.Res)
	case m.Res >= 0 && x.What&filter.Pair != 0:
		for _, p := range []string{"fd1", "fd2"} {
			k.marks.Set(pid, param(r, in.ParamIndex(p)))
		}
	}
	return true
}

// source gives records to a pipeline, with what was there before.
type source func(t testing.TB, p *Pipeline, record func(event.Record))

// alerts runs the rules over a source, with the filter of the kernel or without, and returns what they said.
func alerts(t testing.TB, wasm []byte, src source, k *kernel) []string {
	t.Helper()
	var got []string
	p, err := New(context.Background(), Config{Alert: func(a *output.Alert) { got = append(got, a.Rule+": "+a.Output) }})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Load(wasm); err != nil {
		t.Fatal(err)
	}
	src(t, p, func(r event.Record) {
		if k == nil || k.makes(r) {
			p.Record(r)
			p.flush() // outputs are made at the flush, and some show what the state is then
		}
	})
	p.Flush()
	return got
}

// telling is a source with what the probe tells of the files that calls name by their fds alone, whatever is filtered: what a state
// knows that saw everything, but for /tmp, which is a symbolic link.
func telling(t testing.TB, src source) source {
	t.Helper()
	told, i := map[int][]event.Record{}, 0
	p, err := New(context.Background(), Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var b event.Builder
	src(t, p, func(r event.Record) {
		in := r.Type().Info()
		thread := p.state.FindThread(r.TID())
		for k, q := range in.Params {
			if !r.Type().TellsFiles() || q.Type != event.ParamFd || k == 0 {
				continue
			}
			f := p.arena.Files.Record(p.state.OpenFile(thread, param(r, k)))
			name := p.arena.Strings.Get(binary.LittleEndian.Uint32(f[wasmabi.FileName:]))
			kind := map[byte]int64{'f': 0o100000}[f[wasmabi.FileKind]] // directories aren't told of
			switch {
			case kind == 0:
				continue
			case len(name) == 0 || name[0] != '/': // the state doesn't know where; the kernel does
				name = append([]byte("/srv/"), name...)
			case bytes.HasPrefix(name, []byte("/tmp/")):
				name = append([]byte("/var"), name...)
			}
			rec := b.Start(r.TS(), r.TID(), event.TaskFileX).Int(param(r, k)).String(string(name)).Int(int64(binary.LittleEndian.Uint32(f[wasmabi.FileOpenFlags:]))).
				Int(kind).Int(int64(binary.LittleEndian.Uint32(f[wasmabi.FileDev:]))).Int(int64(binary.LittleEndian.Uint64(f[wasmabi.FileIno:]))).Done()
			told[i] = append(told[i], bytes.Clone(rec))
		}
		p.Record(r)
		i++
	})
	return func(t testing.TB, p *Pipeline, record func(event.Record)) {
		i := 0
		src(t, p, func(r event.Record) {
			for _, f := range told[i] {
				record(f)
			}
			i++
			record(r)
		})
	}
}

// lookups are the fds by which a source looks something up: these must be directories. With an empty path nothing is looked up.
func lookups(t testing.TB, src source) map[int64]bool {
	t.Helper()
	dirs := map[int64]bool{}
	p, err := New(context.Background(), Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	src(t, p, func(r event.Record) {
		in := r.Type().Info()
		for i, q := range in.Params {
			path, named := []byte{0}, q.Type == event.ParamFd && strings.Contains(q.Name, "dir")
			if named && i+1 < len(in.Params) && in.Params[i+1].Relative {
				path, _ = r.Param(i + 1)
			}
			if named && (len(path) == 0 || path[0] != 0) || r.Type() == event.SyscallFchdirX && q.Type == event.ParamFd {
				dirs[param(r, i)] = true
			}
		}
	})
	return dirs
}

const (
	atEmptyPath = 0x1000
	openTrunc   = 1 << 8 // O_TRUNC in the event format
)

// lively is a random world in which directories are opened too, and files used by their fds.
func lively(seed uint64, n int) source {
	return func(_ testing.TB, p *Pipeline, record func(event.Record)) {
		w := testkit.NewWorld(seed, 20)
		w.Snapshot(p.Sink())
		p.Settled()
		r := rand.New(rand.NewSource(int64(seed)))
		var b event.Builder
		tid, ts := int64(0), uint64(0)
		for range n {
			rec := w.Next()
			tid, ts = rec.TID(), rec.TS()
			record(rec)
			if r.Intn(3) > 0 {
				continue
			}
			dir := int64(60 + r.Intn(3))
			name := []string{"passwd", "shadow", "../etc/hosts", "/etc/shadow", "."}[r.Intn(5)]
			file := int64(30 + r.Intn(3)) // a file, which these calls act on itself
			switch r.Intn(13) {
			case 0, 1:
				path := []string{"/etc", "/usr/bin", "/home/user", "sub"}[r.Intn(4)]
				record(b.Start(ts, tid, event.SyscallOpenatV2X).Int(dir).Int(-100).String(path).Int(1 | 1<<10).Int(0).Int(1).Int(9).Done())
			case 2, 3:
				res := int64(30 + r.Intn(3))
				if r.Intn(3) == 0 {
					res = -int64(1 + r.Intn(20))
				}
				record(b.Start(ts, tid, event.SyscallOpenatV2X).Int(res).Int(dir).String(name).Int(int64(1 + r.Intn(3) | openTrunc*r.Intn(2))).Int(0).Int(1).Int(9).Done())
			case 4:
				record(b.Start(ts, tid, event.SyscallUnlinkatV2X).Int(-int64(r.Intn(2))).Int(dir).String(name).Int(0).Done())
			case 5:
				record(b.Start(ts, tid, event.SyscallFchdirX).Int(0).Int(dir).Done())
			case 6:
				record(b.Start(ts, tid, event.SyscallCloseX).Int(0).Int(dir).Done())
			case 7:
				record(b.Start(ts, tid, event.SyscallFchmodX).Int(0).Int(int64(3 + r.Intn(5))).Int(0o777).Done())
			case 8:
				record(b.Start(ts, tid, event.SyscallPipeX).Int(0).Int(40).Int(41).Int(7).Done())
			case 9:
				record(b.Start(ts, tid, event.SyscallFchownatX).Int(0).Int(file).String("").Int(0).Int(0).Int(atEmptyPath).Done())
			case 10:
				record(b.Start(ts, tid, event.SyscallFlockX).Int(0).Int(int64(3 + r.Intn(5))).Int(1).Done())
			case 11:
				record(b.Start(ts, tid, event.SyscallFtruncateX).Int(-int64(r.Intn(2))).Int(int64(3 + r.Intn(5))).Int(0).Done())
			case 12:
				record(b.Start(ts, tid, event.SyscallLinkatV2X).Int(0).Int(file).String("").Int(-100).String("/tmp/l").Int(atEmptyPath).Done())
			}
		}
	}
}

// randomRules makes a file of rules over what the filter can judge and some of what it can't.
func randomRules(t testing.TB, r *rand.Rand) string {
	t.Helper()
	var fields []rulegen.Field
	add := func(name string, consts ...string) {
		ref, err := field.Parse(name)
		if err != nil {
			t.Fatal(err)
		}
		fields = append(fields, rulegen.Field{Ref: ref, Consts: consts})
	}
	paths := append([]string{"/etc/", "/tmp/f1", "/etc", "/", "/home/user/.ssh", "/usr/bin/ls"}, testkit.Paths...)
	for range 3 {
		add("fd.name", paths...)
	}
	add("fd.directory", "/etc", "/usr/bin", "/", "/dev", "/tmp")
	add("fs.path.name", paths...)
	add("fs.path.target", paths...)
	add("evt.arg.name", paths...)
	add("evt.rawarg.name", paths...)
	add("evt.arg.dirfd", "/etc", "/etc/passwd", "/usr/bin/ls")
	add("evt.arg.olddir", "/etc/passwd", "/etc/shadow")
	add("evt.args", "/etc/passwd")
	add("evt.failed", "true", "false")
	add("evt.rawres", "0", "3", "-2", "-1", "1", "60")
	fields = append(fields, rulegen.Field{Ref: must(t, "evt.res"), Consts: []string{"SUCCESS", "ENOENT", "EPERM"}, Ops: []string{"=", "in", "!="}})
	add("evt.is_open_read", "true", "false")
	add("evt.is_open_write", "true", "false")
	add("evt.is_open_create", "true", "false")
	add("evt.is_open_truncate", "true", "false")
	add("fd.typechar", "f", "d", "4")
	add("fd.num", "0", "3", "-1", "60")
	add("fd.sport", "22", "443")
	add("proc.name", testkit.Programs[:4]...)
	add("proc.cwd", "/etc", "/")
	types := []string{"openat", "openat", "openat", "close", "unlinkat", "connect", "dup2", "fchmod", "chdir", "fchdir", "execve", "fchownat", "linkat", "flock", "ftruncate"}
	outs := []string{"%proc.name %fd.name %evt.res", "%proc.name", "%evt.args", "%fd.name %fs.path.name %proc.cwd", "%evt.type %proc.fdopencount",
		"%fd.type %evt.arg.fd", "%proc.fdopencount %fd.num"}
	var out strings.Builder
	for i := range 1 + r.Intn(3) {
		typ := "evt.type = " + types[r.Intn(len(types))]
		if r.Intn(3) == 0 {
			typ = "evt.type in (openat, " + types[r.Intn(len(types))] + ")"
		}
		fmt.Fprintf(&out, "- rule: r%d\n  desc: d\n  condition: %s and (%s)\n  output: \"%s\"\n  priority: INFO\n", i, typ,
			rulegen.Condition(r, fields, 1+r.Intn(5)), outs[r.Intn(len(outs))])
	}
	return out.String()
}

func must(t testing.TB, name string) field.Ref {
	t.Helper()
	ref, err := field.Parse(name)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// TestFilterChangesNoAlert: what the kernel leaves out is of no use to any rule, over random rules and random worlds.
func TestFilterChangesNoAlert(t *testing.T) {
	seed := time.Now().UnixNano()
	if s := os.Getenv("SHIKRA_SEED"); s != "" {
		fmt.Sscan(s, &seed)
	}
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewSource(seed))
	sets, records := 300, 1500
	if testing.Short() {
		sets = 40
	}
	said, dropped := 0, map[string]int{}
	for i := range sets {
		text := randomRules(t, r)
		var o load.Options
		wasm, _, err := load.Compile([]load.Source{{Name: "r.yaml", Data: []byte(text)}}, o)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		src := telling(t, lively(uint64(seed)+uint64(i), records))
		k := newKernel(t, wasm, lookups(t, src))
		want, got := alerts(t, wasm, src, nil), alerts(t, wasm, src, k)
		said += len(want)
		for name, n := range k.dropped {
			dropped[name] += n
		}
		if !equal(want, got) {
			for j := range max(len(want), len(got)) {
				a, b := "(none)", "(none)"
				if j < len(want) {
					a = want[j]
				}
				if j < len(got) {
					b = got[j]
				}
				if a != b {
					t.Fatalf("rules %d, alert %d of %d and %d:\nwithout filter: %s\nwith filter:    %s\n%s\n%+v\ndropped %v", i, j, len(want), len(got), a, b, text, k.form, k.dropped)
				}
			}
		}
	}
	t.Logf("%d rule sets, %d alerts; dropped %v", sets, said, dropped)
	if said == 0 || dropped["openat"] == 0 || dropped["close"] == 0 || dropped["unlinkat"] == 0 {
		t.Error("the test shows nothing")
	}
}

// TestFilterEmptyPath: with an empty path the parameter that is called a directory's fd is the file's.
func TestFilterEmptyPath(t *testing.T) {
	src := telling(t, func(_ testing.TB, p *Pipeline, record func(event.Record)) {
		testkit.NewWorld(1, 20).Snapshot(p.Sink())
		p.Settled()
		var b event.Builder
		tid := int64(1)
		record(b.Start(1, tid, event.SyscallOpenatV2X).Int(30).Int(-100).String("/srv/secret").Int(1).Int(0).Int(1).Int(9).Done())
		record(b.Start(2, tid, event.SyscallFchownatX).Int(0).Int(30).String("").Int(0).Int(0).Int(atEmptyPath).Done())
		record(b.Start(3, tid, event.SyscallLinkatV2X).Int(0).Int(30).String("").Int(-100).String("/srv/l").Int(atEmptyPath).Done())
		record(b.Start(4, tid, event.SyscallSetxattratX).Int(0).Int(30).Missing().Int(atEmptyPath).String("user.a").Done())
	})
	const narrow = "- rule: n\n  desc: d\n  condition: evt.type = openat and fd.name startswith /etc/\n  output: o\n  priority: INFO\n"
	for _, cond := range []string{
		"evt.type = fchownat and fd.name = /srv/secret", "evt.type = fchownat and evt.arg.dirfd contains secret",
		"evt.type = fchownat and evt.args contains secret", "evt.type = linkat and evt.arg.olddir contains secret", "evt.type = linkat and evt.args contains secret",
		"evt.type = linkat and fs.path.target = /srv/secret", "evt.type = fchownat and fs.path.name = /srv/secret", "evt.type = linkat and evt.abspath = /srv/secret",
		"evt.type = setxattrat and fs.path.name = /srv/secret",
	} {
		wasm := compiled(t, load.Source{Name: "r.yaml", Data: []byte(narrow + "- rule: r\n  desc: d\n  condition: " + cond + "\n  output: \"%evt.args\"\n  priority: INFO\n")})
		want, got := alerts(t, wasm, src, nil), alerts(t, wasm, src, newKernel(t, wasm, lookups(t, src)))
		if len(want) != 1 {
			t.Errorf("%s: %d alerts without filter", cond, len(want))
		}
		diff(t, want, got)
	}
}

// TestFilterOnCaptures is the same for real captures and the rules that come with shikra and with Falco, all in one and one
// by one.
func TestFilterOnCaptures(t *testing.T) {
	dir := ruletest.FalcoData(t)
	names, err := filepath.Glob(filepath.Join(dir, "captures", "*.scap"))
	if err != nil || len(names) == 0 {
		t.Fatal(err, "no captures")
	}
	var files []load.Source
	for _, f := range []string{"falco_rules.yaml", "falco-incubating_rules.yaml"} {
		b, err := os.ReadFile(filepath.Join(dir, "rules", f))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, load.Source{Name: f, Data: b})
	}
	const narrow = "- rule: n\n  desc: d\n  condition: evt.type in (open, openat) and fd.name startswith /etc/ and evt.is_open_read=true\n  output: \"%fd.name %proc.name\"\n  priority: INFO\n"
	const failing = "- rule: n\n  desc: d\n  condition: evt.type in (open, openat, access, stat) and evt.failed=true\n  output: \"%evt.type %evt.res %proc.name\"\n  priority: INFO\n"
	sets := map[string][]load.Source{
		"edge": {{Name: edge.Name, Data: edge.Rules}}, "falco": files[:1], "incubating": files[1:],
		"narrow": {{Name: "n", Data: []byte(narrow)}}, "failing": {{Name: "f", Data: []byte(failing)}},
	}
	said := 0
	for set, files := range sets {
		wasm := compiled(t, files...)
		for _, name := range names {
			src := telling(t, func(t testing.TB, p *Pipeline, record func(event.Record)) {
				f, err := os.Open(name)
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				r, err := capture.NewReader(f)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := replay.Run(context.Background(), replay.Config{Reader: r, Sink: p.Sink(),
					Snapshot: func() error { p.Settled(); return nil }, Flush: func() error { p.Flush(); return nil },
					Record: func(r event.Record) error { record(r); return nil }}); err != nil {
					t.Fatal(err)
				}
			})
			k := newKernel(t, wasm, lookups(t, src))
			want, got := alerts(t, wasm, src, nil), alerts(t, wasm, src, k)
			said += len(want)
			t.Logf("%s on %s: %d alerts, dropped %v", set, filepath.Base(name), len(want), k.dropped)
			diff(t, want, got)
		}
	}
	if said == 0 {
		t.Error("no rule said anything")
	}
}
