package pipeline

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/shikra-sensor/shikra/modules/edge"
	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/field"
	"github.com/shikra-sensor/shikra/sensor/internal/output"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/ast"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/load"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/parse"
	"github.com/shikra-sensor/shikra/sensor/internal/snapshot"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// The built-in rules' cases stand in testdata/edge/*.txt, one event a line, below the name of the rule it is for:
//
//	rule Sensitive file read
//	+ bash > cat | openat /etc/shadow O_RDONLY
//	- sshd | openat /etc/shadow O_RDONLY
//
// A line with + must alert by that rule, one with - must not. No other alert may come, for every line is judged by all
// rules, of which the first that holds alerts; "other: NAME" under a line with - says that another one does. The chain is
// the process that acts and, before it, its parent and so on up to a child of process 1. After a name may stand @ and the path of its executable
// (default: /usr/bin and the name), = and a uid, {arguments with commas between}, % for a container; same alone is the process of the line before. The event has its arguments in the order of the
// command that makes it, a linkat's old name may be that of an fd (fd:/etc/shadow); "= -13" at the end is the result of a call that failed.
type edgeCase struct {
	place, rule string
	alerts      bool
	other       string
	chain       []edgeProc
	event       []string // the type and its arguments
	res         int64
}

type edgeProc struct {
	name, exe string
	uid       uint32
	args      []string
	container bool
}

var errEdge = errors.New("not understood")

func edgeCases(t testing.TB) (cases []edgeCase) {
	t.Helper()
	files, err := filepath.Glob("testdata/edge/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		rule := ""
		for i, line := range strings.Split(string(b), "\n") {
			line = strings.TrimSpace(line)
			place := fmt.Sprintf("%s:%d", file, i+1)
			switch {
			case line == "" || line[0] == '#':
			case strings.HasPrefix(line, "rule "):
				rule = line[len("rule "):]
			case strings.HasPrefix(line, "other: ") && len(cases) > 0 && !cases[len(cases)-1].alerts:
				cases[len(cases)-1].other = line[len("other: "):]
			case line[0] == '+' || line[0] == '-':
				c, err := edgeLine(line)
				if err != nil {
					t.Fatalf("%s: %v", place, err)
				}
				c.place, c.rule = place, rule
				cases = append(cases, c)
			default:
				t.Fatalf("%s: %v", place, errEdge)
			}
		}
	}
	return cases
}

func edgeLine(line string) (c edgeCase, err error) {
	chain, what, ok := strings.Cut(line[1:], " | ")
	if !ok {
		return c, fmt.Errorf("%w: no |", errEdge)
	}
	c.alerts = line[0] == '+'
	for _, s := range strings.Split(chain, ">") {
		if s = strings.TrimSpace(s); s == "same" {
			continue
		}
		p := edgeProc{}
		s, p.container = strings.CutSuffix(s, "%")
		if name, args, ok := strings.Cut(strings.TrimSuffix(s, "}"), "{"); ok {
			s, p.args = name, strings.Split(args, ",")
		}
		s, uid, given := strings.Cut(s, "=")
		if given {
			n, err := strconv.ParseUint(uid, 10, 32)
			if err != nil {
				return c, err
			}
			p.uid = uint32(n)
		}
		if p.name, p.exe, given = strings.Cut(s, "@"); !given {
			p.exe = "/usr/bin/" + p.name
		}
		c.chain = append(c.chain, p)
	}
	what, res, failed := strings.Cut(what, " = ")
	if failed {
		if c.res, err = strconv.ParseInt(res, 10, 64); err != nil {
			return c, err
		}
	}
	c.event = strings.Fields(what)
	return c, nil
}

// edgeWorld feeds cases to a pipeline and notes which rules alert.
type edgeWorld struct {
	p      *Pipeline
	b      event.Builder
	tid    int64
	ts     uint64
	alerts []string
}

func newEdgeWorld(t testing.TB, wasm []byte) *edgeWorld {
	t.Helper()
	w := &edgeWorld{tid: 1000, ts: 1e9}
	var err error
	w.p, err = New(context.Background(), Config{Alert: func(a *output.Alert) { w.alerts = append(w.alerts, a.Rule) }})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.p.Load(wasm); err != nil {
		t.Fatal(err)
	}
	w.p.Protect(&field.Sensor{
		PID: edgeSensor, OwnPID: edgeSensor, OwnPGID: edgeSensor, HasThread: func(tid int64) bool { return tid == edgeSensor+1 },
		Paths:    []string{"/etc/shikra", "/usr/bin/shikra", "/var/lib/shikra"},
		SameRoot: func(int64) (same, ok bool) { return false, true }, // asked about processes of containers only
		Files:    map[field.FileID]struct{}{}, BPF: map[field.BPFID]struct{}{{Kind: 2, ID: 77}: {}},
	})
	w.p.Sink().AddThread(&snapshot.Thread{TID: 1, PID: 1, Flags: wasmabi.ThreadMain, Comm: "systemd", Exe: "/sbin/init", ExePath: "/usr/lib/systemd/systemd",
		Cwd: "/", Root: "/", LoginUID: ^uint32(0)})
	w.p.Settled()
	return w
}

// judge runs one case and returns the rules that alerted.
func (w *edgeWorld) judge(c *edgeCase) ([]string, error) {
	parent := int64(1)
	exec := strings.HasPrefix(c.event[0], "exec")
	for i, p := range c.chain {
		w.tid++
		name, exe := p.name, p.exe
		if exec && i == len(c.chain)-1 && i > 0 { // it is still what forked it
			name, exe = c.chain[i-1].name, c.chain[i-1].exe
		}
		th := &snapshot.Thread{TID: w.tid, PID: w.tid, PTID: parent, UID: p.uid, GID: p.uid, Flags: wasmabi.ThreadMain, Comm: name, Exe: name, ExePath: exe,
			Args: p.args, Cwd: "/root", Root: "/", LoginUID: ^uint32(0)}
		if strings.HasPrefix(exe, "/memfd:") {
			th.Flags |= wasmabi.ThreadExeFromMemfd
		}
		if p.container {
			th.Cgroups, th.VTID, th.VPID = []string{"cpu=" + edgeCgroup}, 1, 1
		}
		w.p.Sink().AddThread(th)
		parent = w.tid
	}
	r, err := w.record(c)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.place, err)
	}
	w.alerts = w.alerts[:0]
	bad := w.p.st.BadRecords
	w.p.Record(r)
	w.p.flush()
	if w.p.st.BadRecords > bad {
		return nil, fmt.Errorf("%s: the record can't be read", c.place)
	}
	return slices.Clone(w.alerts), nil
}

var edgeCgroup = "/docker/" + strings.Repeat("0123456789abcdef", 4)

const edgeFD = 3 // what a call on an fd acts on

const edgeSensor = 900 // the sensor's process

// record makes the record of a case's event.
func (w *edgeWorld) record(c *edgeCase) (event.Record, error) {
	name, arg := c.event[0], func(i int) string {
		if i+1 < len(c.event) {
			return c.event[i+1]
		}
		return ""
	}
	kv := map[string]string{"dirfd": "-100", "olddirfd": "-100", "newdirfd": "-100", "linkdirfd": "-100", "olddir": "-100", "newdir": "-100"}
	here := false
	made := "" // the parameter that is the new fd
	switch name {
	case "open", "openat", "openat2":
		made, kv["name"], kv["flags"] = "fd", arg(0), arg(1)
	case "creat":
		made, kv["name"] = "fd", arg(0)
	case "open_by_handle_at":
		made, kv["path"], kv["flags"] = "fd", arg(0), arg(1)
	case "rename", "renameat", "renameat2":
		kv["oldpath"], kv["newpath"] = arg(0), arg(1)
	case "link", "linkat":
		kv["oldpath"], kv["newpath"] = arg(0), arg(1)
		if path, ok := strings.CutPrefix(arg(0), "fd:"); ok {
			w.file(path)
			kv["olddir"], kv["oldpath"], kv["flags"] = strconv.Itoa(edgeFD), "", "AT_EMPTY_PATH"
		}
	case "symlink", "symlinkat":
		kv["target"], kv["linkpath"] = arg(0), arg(1)
	case "unlink", "rmdir", "mkdir", "mkdirat", "chown", "lchown", "mknod", "mknodat", "truncate":
		kv["path"] = arg(0)
	case "unlinkat", "umount", "umount2":
		kv["name"] = arg(0)
	case "fchownat":
		kv["pathname"] = arg(0)
	case "fchown", "ftruncate":
		w.file(arg(0))
		kv["fd"] = strconv.Itoa(edgeFD)
	case "chmod", "fchmodat", "fchmodat2":
		kv["filename"], kv["mode"] = arg(0), arg(1)
	case "fchmod":
		w.file(arg(0))
		kv["fd"], kv["mode"] = strconv.Itoa(edgeFD), arg(1)
	case "dup", "dup2", "dup3":
		w.file(arg(1))
		kv["res"], kv["oldfd"], kv["newfd"] = arg(0), strconv.Itoa(edgeFD), arg(0)
	case "connect", "listen":
		w.file(arg(0))
		kv["fd"] = strconv.Itoa(edgeFD)
	case "finit_module":
		w.file(arg(0))
		kv["fd"] = strconv.Itoa(edgeFD)
	case "bpf":
		made, kv["cmd"] = "fd", arg(0)
		if arg(1) != "" {
			kv["object"], kv["id"] = arg(1), arg(2)
		}
	case "ptrace":
		kv["request"], kv["pid"] = arg(0), "1"
		if arg(1) != "" {
			kv["pid"] = arg(1)
		}
	case "kill", "rt_sigqueueinfo", "pidfd_send_signal":
		kv["pid"], kv["sig"] = arg(0), arg(1)
	case "tkill":
		kv["tid"], kv["sig"] = arg(0), arg(1)
	case "tgkill", "rt_tgsigqueueinfo":
		kv["pid"], kv["tid"], kv["sig"] = arg(0), arg(1), arg(2)
	case "process_vm_readv", "process_vm_writev":
		kv["pid"] = arg(0)
	case "prlimit":
		kv["pid"], kv["newcur"], kv["newmax"], kv["sets"] = arg(0), "0", "0", "0"
		if arg(1) != "" {
			kv["newcur"], kv["newmax"], kv["sets"] = arg(1), arg(2), "1"
		}
	case "process_madvise":
		kv["pidfd"], kv["advice"], kv["pid"] = "9", arg(0), arg(1)
	case "pidfd_getfd":
		made, kv["pid_fd"], kv["pid"] = "fd", "9", arg(0)
	case "mount": // "here": where the sensor sees it
		kv["dev"], kv["dir"], here = arg(0), arg(1), arg(2) == "here"
	case "move_mount":
		kv["from_dirfd"], kv["from_path"], kv["to_dirfd"], kv["to_path"], here = "9", "", "-100", arg(0), arg(1) == "here"
	case "setxattr", "lsetxattr", "setxattrat", "removexattr", "lremovexattr", "removexattrat":
		kv["dirfd"], kv["path"], kv["name"] = "-100", arg(0), "security.ima"
	case "fsetxattr", "fremovexattr":
		w.file(arg(0))
		kv["fd"], kv["name"] = strconv.Itoa(edgeFD), "security.ima"
	case "security_inode_unlink", "security_inode_rename", "security_inode_setattr", "security_inode_setxattr", "security_sb_mount":
		kv["path"], kv["sensor"] = arg(0), arg(1)
	case "unshare":
		kv["flags"] = arg(0)
	case "setns", "init_module":
	case "socket":
		made, kv["domain"] = "fd", arg(0)
	case "execve", "execveat":
		last := c.chain[len(c.chain)-1]
		args := c.event[1:]
		if len(args) > 0 && args[0] == "from-memfd" {
			args, kv["flags"] = args[1:], strconv.Itoa(1<<2)
		}
		kv["exe"], kv["comm"], kv["trusted_exepath"], kv["filename"] = last.name, last.name, last.exe, last.exe
		if len(args) > 0 {
			kv["args"] = strings.Join(args, "\x00") + "\x00"
		}
		id := strconv.FormatInt(w.tid, 10)
		kv["tid"], kv["pid"], kv["pgid"], kv["uid"] = id, id, id, strconv.FormatUint(uint64(last.uid), 10)
		kv["ptid"] = "1"
		if len(c.chain) > 1 {
			kv["ptid"] = strconv.FormatInt(w.tid-1, 10)
		}
		kv["cgroups"] = "cpu=/\x00"
		if last.container {
			kv["cgroups"] = "cpu=" + edgeCgroup + "\x00"
		}
	default:
		return nil, fmt.Errorf("%w: event %s", errEdge, name)
	}
	if made != "" {
		kv[made] = "7"
	}
	types := event.ByName(name)
	if len(types) == 0 {
		return nil, fmt.Errorf("%w: event %s", errEdge, name)
	}
	et := types[len(types)-1]
	w.ts += 1000
	b := w.b.Start(w.ts, w.tid, et)
	if here {
		b.SetOrigin(wasmabi.OriginReaches)
	}
	for i, p := range et.Info().Params {
		v, ok := kv[p.Name]
		if i == 0 && (p.Name == "res" || p.Name == "fd" && made != "") {
			if c.res < 0 {
				v = strconv.FormatInt(c.res, 10)
			} else if !ok {
				v = "0"
			}
			ok = true
		}
		switch {
		case !ok:
			b.Missing()
		case p.Type == event.ParamCharbuf || p.Type == event.ParamFspath || p.Type == event.ParamFsrelpath:
			b.String(v)
		case p.Type == event.ParamBytebuf || p.Type == event.ParamCharbufarray || p.Type == event.ParamCharbufpairarray:
			b.Bytes([]byte(v))
		default:
			n, err := edgeNumber(&p, v)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", p.Name, err)
			}
			b.Int(n)
		}
	}
	return b.Done(), nil
}

// edgeNumber reads a number, or names of the parameter's flags with | between.
func edgeNumber(p *event.Param, s string) (n int64, err error) {
	for _, word := range strings.Split(s, "|") {
		v, err := strconv.ParseInt(word, 0, 64)
		if err != nil {
			i := slices.IndexFunc(p.Table, func(x event.NameValue) bool { return x.Name == word })
			if i < 0 {
				return 0, fmt.Errorf("%w: %q", errEdge, word)
			}
			v = int64(p.Table[i].Value)
		}
		n |= v
	}
	return n, nil
}

// file gives the acting process what the text names as fd 3: CLIENT->SERVER, a listening address, unix:PATH or a file.
func (w *edgeWorld) file(s string) {
	if s == "" {
		return // an fd that nothing is known of
	}
	f := snapshot.File{PID: w.tid, FD: edgeFD, Kind: 'f', Name: s}
	from, to, connected := strings.Cut(s, "->")
	if a, err := netip.ParseAddrPort(from); err == nil {
		f.Kind, f.L4Proto, f.Bits = '4', 6, wasmabi.FileServer
		if a.Addr().Is6() {
			f.Kind = '6'
		}
		copy(f.Server[:], a.Addr().AsSlice())
		f.SPort = a.Port()
		if connected {
			b := netip.MustParseAddrPort(to)
			f.Bits = wasmabi.FileClient | wasmabi.FileConnected
			f.Client, f.CPort, f.SPort = f.Server, a.Port(), b.Port()
			copy(f.Server[:], b.Addr().AsSlice())
		}
	} else if path, ok := strings.CutPrefix(s, "unix:"); ok {
		f.Kind, f.Name = 'u', path
	}
	w.p.Sink().AddFile(&f)
}

// want is the rule that must alert.
func (c *edgeCase) want() (rules []string) {
	switch {
	case c.alerts:
		return []string{c.rule}
	case c.other != "":
		return []string{c.other}
	}
	return nil
}

// TestEdgeRules: every built-in rule alerts where it should and nowhere else.
func TestEdgeRules(t *testing.T) {
	cases := edgeCases(t)
	w := newEdgeWorld(t, compiled(t, load.Source{Name: edge.Name, Data: edge.Rules}))
	defer w.p.Close()
	type count struct{ yes, no int }
	counts := map[string]*count{}
	for _, r := range w.p.modules[0].rules {
		counts[r.Name] = &count{}
	}
	for i := range cases {
		c := &cases[i]
		n := counts[c.rule]
		if n == nil {
			t.Fatalf("%s: there is no rule %q", c.place, c.rule)
		}
		if c.alerts {
			n.yes++
		} else {
			n.no++
		}
		got, err := w.judge(c)
		if err != nil {
			t.Fatal(err)
		}
		if want := c.want(); !slices.Equal(got, want) {
			t.Errorf("%s: %s: alerts of %q, want %q", c.place, strings.Join(c.event, " "), got, want)
		}
	}
	for name, n := range counts {
		if n.yes == 0 || n.no == 0 {
			t.Errorf("rule %q has %d cases that alert and %d that don't; it needs both", name, n.yes, n.no)
		}
	}
	t.Logf("%d rules, %d cases", len(counts), len(cases))
}

// TestEdgePlaces: where a place is told by a list for renamed files and by a macro for opened ones, both tell the same of
// every item: of a folder for what lies in it, of a file for itself, and of neither for a name that only begins so.
func TestEdgePlaces(t *testing.T) {
	file, ds := parse.File(edge.Name, edge.Rules)
	if ds.Errors() > 0 {
		t.Fatal(ds)
	}
	macros := map[string]string{}
	for _, m := range file.Macros {
		macros[m.Name] = ast.Print(m.Condition)
	}
	rules, _, _ := strings.Cut(string(edge.Rules), "- rule: ")
	places := map[string][]string{}
	for _, l := range file.Lists {
		name, ok := strings.CutSuffix(l.Name, "_paths")
		if !ok || macros[name+"_file"] == "" {
			continue
		}
		for _, v := range l.Items {
			places[name] = append(places[name], v.Text)
		}
		rules += fmt.Sprintf("- rule: %[1]s\n  desc: x\n  condition: (evt.type = openat and %[1]s_file) or (evt.type = rename and fs.path.target pmatch (%[2]s))\n  output: x\n  priority: Notice\n",
			name, l.Name)
	}
	if len(places) < 10 {
		t.Fatalf("%d places: the test shows nothing", len(places))
	}
	w := newEdgeWorld(t, compiled(t, load.Source{Name: "places.yaml", Data: []byte(rules)}))
	defer w.p.Close()
	tells := func(rule, path string) (opened, renamed bool) {
		for _, call := range [][]string{{"openat", path, "O_WRONLY"}, {"rename", "/tmp/x", path}} {
			alerts, err := w.judge(&edgeCase{place: path, chain: []edgeProc{{name: "sh"}}, event: call})
			if err != nil {
				t.Fatal(err)
			}
			if call[0] == "openat" {
				opened = slices.Contains(alerts, rule)
			} else {
				renamed = slices.Contains(alerts, rule)
			}
		}
		return opened, renamed
	}
	for name, items := range places {
		for _, item := range items {
			path := strings.ReplaceAll(item, "*", "ann")
			if o, _ := tells(name, path); !o {
				path += "/x" // then it is a folder
			}
			if o, r := tells(name, path); !o || !r {
				t.Errorf("%s: %s: opened %t, renamed %t", name, path, o, r)
			}
			if o, r := tells(name, strings.TrimSuffix(path, "/x")+"-no"); o || r {
				t.Errorf("%s: %s-no: opened %t, renamed %t", name, path, o, r)
			}
		}
	}
}

// TestEdgeColumns: the events of which there are most by far need nothing computed.
func TestEdgeColumns(t *testing.T) {
	w := newEdgeWorld(t, compiled(t, load.Source{Name: edge.Name, Data: edge.Rules}))
	defer w.p.Close()
	for _, name := range []string{"open", "openat", "openat2", "close", "connect", "dup2", "execve"} {
		for _, et := range event.ByName(name) {
			for _, col := range w.p.columns.byType[et] {
				t.Errorf("%s needs the computed field %s", et, w.p.columns.refs[col].Text)
			}
		}
	}
}

// TestEdgeCasesCatchChanges: a rule from which any part of its condition is taken away behaves differently in some case of
// its own, so that no part stands there untested.
func TestEdgeCasesCatchChanges(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles some hundred modules")
	}
	byRule := map[string][]edgeCase{}
	for _, c := range edgeCases(t) {
		byRule[c.rule] = append(byRule[c.rule], c)
	}
	file, ds := parse.File(edge.Name, edge.Rules)
	if ds.Errors() > 0 {
		t.Fatal(ds)
	}
	head, _, ok := strings.Cut(string(edge.Rules), "- rule: ")
	if !ok {
		t.Fatal("no rules")
	}
	n := 0
	for _, r := range file.Rules {
		for _, m := range without(r.Condition) {
			if strings.HasPrefix(m.gone, "evt.type ") && strings.Contains(ast.Print(m.expr), "arg.") {
				continue // it stands there for its cost: only events of that type have the parameter
			}
			n++
			src := head + fmt.Sprintf("- rule: %s\n  desc: x\n  condition: >\n    %s\n  output: x\n  priority: Notice\n  warn_evttypes: false\n", r.Name, ast.Print(m.expr))
			w := newEdgeWorld(t, compiled(t, load.Source{Name: "changed.yaml", Data: []byte(src)}))
			caught := false
			for i := range byRule[r.Name] {
				c := &byRule[r.Name][i]
				got, err := w.judge(c)
				if err != nil {
					t.Fatal(err)
				}
				if (len(got) > 0) != c.alerts {
					caught = true
					break
				}
			}
			w.p.Close()
			if !caught {
				t.Errorf("rule %q: no case notices that %s is gone", r.Name, m.gone)
			}
		}
	}
	t.Logf("%d changed rules", n)
}

// changed is a condition without one of its parts.
type changed struct {
	expr ast.Expr
	gone string
}

// without returns every condition that is x without one operand of an and or an or.
func without(x ast.Expr) (out []changed) {
	parts := func(xs []ast.Expr, make func([]ast.Expr) ast.Expr) {
		for i, p := range xs {
			rest := slices.Delete(slices.Clone(xs), i, i+1)
			if len(rest) == 1 {
				out = append(out, changed{rest[0], ast.Print(p)})
			} else {
				out = append(out, changed{make(rest), ast.Print(p)})
			}
			for _, c := range without(p) {
				with := slices.Clone(xs)
				with[i] = c.expr
				out = append(out, changed{make(with), c.gone})
			}
		}
	}
	switch x := x.(type) {
	case *ast.And:
		parts(x.X, func(xs []ast.Expr) ast.Expr { return &ast.And{X: xs} })
	case *ast.Or:
		parts(x.X, func(xs []ast.Expr) ast.Expr { return &ast.Or{X: xs} })
	case *ast.Not:
		for _, c := range without(x.X) {
			out = append(out, changed{&ast.Not{X: c.expr}, c.gone})
		}
	}
	return out
}

// TestEdgeOneActAlertsOnce: a listing of all eBPF objects makes an alert for each command, and one with how often; a detach behind
// it isn't hidden. Who doesn't want the rule isn't told how often.
func TestEdgeOneActAlertsOnce(t *testing.T) {
	list := func(more ...load.Source) (told []*output.Alert) {
		w := newEdgeWorld(t, compiled(t, append([]load.Source{{Name: edge.Name, Data: edge.Rules}}, more...)...))
		defer w.p.Close()
		w.p.cfg.Alert = func(a *output.Alert) { told = append(told, a) }
		w.p.Sink().AddThread(&snapshot.Thread{TID: 2000, PID: 2000, PTID: 1, Flags: wasmabi.ThreadMain, Comm: "bpftool", Exe: "bpftool", ExePath: "/usr/sbin/bpftool",
			Cwd: "/", Root: "/", LoginUID: ^uint32(0)})
		w.tid = 2000
		act := func(cmd string) {
			r, err := w.record(&edgeCase{event: []string{"bpf", cmd, "2", "77"}, chain: []edgeProc{{name: "bpftool"}}})
			if err != nil {
				t.Fatal(err)
			}
			w.p.Record(r)
		}
		for range 1000 {
			act("BPF_PROG_GET_FD_BY_ID")
			act("BPF_OBJ_GET_INFO_BY_FD")
		}
		act("BPF_PROG_DETACH")
		w.p.Flush()
		if n := w.p.Stats().Again; n != 1998 {
			t.Errorf("%d acts like one before, want 1998", n)
		}
		return told
	}
	told := list()
	for i, want := range []string{
		"operation=BPF_PROG_GET_FD_BY_ID object=prog id=77", "operation=BPF_OBJ_GET_INFO_BY_FD", "operation=BPF_PROG_DETACH",
		"999 times more, which succeeded | operation=BPF_PROG_GET_FD_BY_ID object=prog process=bpftool pid=2000", "999 times more, which succeeded | operation=BPF_OBJ_GET_INFO_BY_FD",
	} {
		if i >= len(told) {
			t.Fatalf("%d alerts; none says %s", len(told), want)
		}
		again := i >= 3
		if a := told[i]; !strings.Contains(a.Output, want) || (a.Rule == againRule) != again || again && !strings.Contains(string(a.Fields), `"n_more":999`) {
			t.Errorf("%d: %s: %s %s; want %s", i, a.Rule, a.Output, a.Fields, want)
		}
	}
	if len(told) > 5 {
		t.Errorf("%d alerts: %s", len(told), told[5].Output)
	}
	if told := list(load.Source{Name: "off.yaml", Data: []byte("- rule: Sensor eBPF object reached\n  override: {enabled: replace}\n  enabled: false\n")}); len(told) > 0 {
		t.Errorf("without the rule: %s", told[0].Output)
	}
}
