package probe

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/shikra-sensor/shikra/bpf"
	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

const readsDoc = "../../../docs/reads.md"

// made are the events that the probe makes, but for GENERIC_X, by name.
func made(t *testing.T) []event.Type {
	t.Helper()
	spec, err := bpf.LoadProbe()
	if err != nil {
		t.Fatal(err)
	}
	types := map[event.Type]bool{event.ProcexitV1E: true}
	for _, tp := range tracepoints {
		types[tp.typ] = true
	}
	for _, h := range securityHooks {
		types[h.typ] = true
	}
	for _, sc := range event.Syscalls() {
		if spec.Programs[program(sc.Name)] != nil && sc.Exit != event.GenericX {
			types[sc.Exit] = true
		}
	}
	return slices.SortedFunc(maps.Keys(types), func(a, b event.Type) int { return strings.Compare(a.Info().Name, b.Info().Name) })
}

func renderReads(t *testing.T) []byte {
	var b bytes.Buffer
	b.WriteString(`# What is read when

Made by the tests of sensor/internal/probe from its table; don't edit.

An event is made when its call ends. What it says was read then, and not when the kernel acted on it. Where from decides what that is worth:

| from | what it is |
|---|---|
| registers | the call's arguments and result, as the kernel had them |
| kernel | objects of the kernel: what is behind an fd, the task, the socket. Exact, but for an fd that another thread has closed and opened anew meanwhile. Of opens ` + "`probe.exact_paths`" + ` makes it exact where the kernel's security function can be attached to: then ` + "`evt.file_exact`" + ` is true, ` + "`dev`, `ino`" + ` and the layer are those of the file that the kernel opened, and ` + "`evt.file_changed`" + ` says that the fd stood for another in the end |
| path | a path in the program's memory, which another thread may change between the kernel's reading and ours. With ` + "`probe.exact_paths`" + ` the kernel's own copy, where that could be kept: then ` + "`evt.path_exact`" + ` is true, and ` + "`evt.path_changed`" + ` when the memory held something else in the end |
| memory | anything else in the program's memory: it may have been changed, and be what the kernel never saw |

What lies in the program's memory can only be read where no page fault is needed for it: not from a page that is swapped out, and on an
ARMv8.0 core not from one that was so long not used that the kernel has taken its mark of access. Then the parameter is missing, and counted.
What a call has just been given is there; the arguments of a program that has run for hours need not be, when it forks. ` + "`proc.exe`" + `
and ` + "`proc.args`" + ` of its child are those of the program all the same, from what was known of it.

Events of a successful exec have the new program's arguments and environment from its memory before its first instruction, and the
file's path (` + "`filename`" + `, ` + "`trusted_exepath`" + `) from the kernel; of a failed one filename is from the program's memory. Flags of clone3 are from memory where the new task itself
doesn't show them. A symbolic link that is changed between the kernel's walk and a later look at the same path is another matter: only
` + "`dev`, `ino` and `fs.path`" + ` of an fd say which file it was.

What an event names by an fd is what earlier events told of that fd, by the name that the program opened it by. Of some the kernel tells as the
call ends, so that ` + "`fd.name`, `fs.path`" + ` and the fds in ` + "`evt.args`" + ` are the path that the file has then: ` + tellers() + `.

Events of security functions (` + "`security_file_open`" + ` …) are made while the kernel decides: all they have is of the objects it then works with. They
come before the event of their call, and whether or not that succeeds.

What ` + "`evt.path_changed`" + ` doesn't say is where the path led, and what ` + "`evt.file_changed`" + ` doesn't say is by which path. Both together leave
nothing open: the text that the kernel took, and the file that it opened.

| event | registers | kernel | path | memory |
|---|---|---|---|---|
`)
	for _, typ := range made(t) {
		var by [4][]string
		for i, p := range typ.Info().Params {
			from := ReadsFrom(typ, i)
			by[from] = append(by[from], p.Name)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", typ.Info().Name, strings.Join(by[FromRegisters], " "), strings.Join(by[FromKernel], " "), strings.Join(by[FromPath], " "), strings.Join(by[FromMemory], " "))
	}
	b.WriteString("| all others | ID nativeID nr res arg0 arg1 arg2 arg3 arg4 arg5 | | | of ia32's socketcall and ipc the arguments |\n")
	b.WriteString(`
## Operations of io_uring

An operation makes the event of the call it stands for (` + "`evt.is_io_uring`" + `). What stands under registers above is read from its entry in
the submission queue when it is submitted, after the kernel has read it: another thread may have changed it in between. So is openat2's
` + "`how`" + `. Paths are the kernel's own copies, taken when it was submitted; of some 500 under way at a time the oldest is forgotten, and then missing.
For all else that is under memory it is the program's memory when the operation is complete. Whatever comes from the kernel is read then, too.

| operation | stands for |
|---|---|
`)
	for _, op := range uringOperations {
		calls := op.calls[0]
		switch {
		case op.name == "FSYNC":
			calls += ", with IORING_FSYNC_DATASYNC " + op.calls[1]
		case op.calls[1] != "":
			calls += ", with an offset " + op.calls[1]
		case op.name == "FIXED_FD_INSTALL":
			calls += ", of which oldfd is missing"
		case op.name == "RECV_ZC":
			calls += " (not tested: it needs a network card of its own)"
		}
		fmt.Fprintf(&b, "| %s | %s |\n", op.name, calls)
	}
	return bytes.ReplaceAll(b.Bytes(), []byte("|  |"), []byte("| |"))
}

// tellers names the calls whose files the probe tells of.
func tellers() string {
	var names []string
	for _, t := range event.Types() {
		if t.TellsFiles() {
			names = append(names, "`"+t.Info().Name+"`")
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// TestReadsDoc: every event has its line in the docs.
func TestReadsDoc(t *testing.T) {
	if _, err := os.Stat(objects[0].file); err != nil {
		t.Skip("not run in the repository")
	}
	want := renderReads(t)
	if *update {
		if err := os.WriteFile(readsDoc, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	doc, err := os.ReadFile(readsDoc)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(doc, want) {
		t.Error("docs/reads.md is out of date: go test ./sensor/internal/probe -run TestReadsDoc -update")
	}
	for _, typ := range made(t) {
		if !bytes.Contains(doc, []byte("\n| "+typ.Info().Name+" | ")) {
			t.Errorf("%s has no line", typ.Info().Name)
		}
	}
}

// TestReadsTable: the exceptions name parameters that there are.
func TestReadsTable(t *testing.T) {
	have := map[string]bool{}
	for _, typ := range made(t) {
		for _, p := range typ.Info().Params {
			have[typ.Info().Name+" "+p.Name] = true
		}
	}
	for _, table := range []map[string][]string{fromKernel, fromMemory} {
		for name, params := range table {
			for _, p := range params {
				if !have[name+" "+p] {
					t.Errorf("%s has no parameter %s", name, p)
				}
			}
		}
	}
}

// TestReadsSources compares the table with the programs, where their source says in one line what a parameter is.
func TestReadsSources(t *testing.T) {
	files, err := filepath.Glob("../../../bpf/programs/*.bpf.c")
	if err != nil || len(files) == 0 {
		t.Skip("not run in the repository: there are no sources")
	}
	types := map[string]event.Type{}
	for _, typ := range made(t) {
		types[strings.ToUpper(strings.NewReplacer("_", "").Replace(typ.String()))] = typ
	}
	begin := regexp.MustCompile(`(?:BEGIN|RESERVE)\(&r, &c, (\w+)\)`)
	param := regexp.MustCompile(`^\s*/\* (\w+): Param`)
	kinds := []struct {
		re   *regexp.Regexp
		from ReadFrom
	}{
		{regexp.MustCompile(`^\s*store__path_arg\(`), FromPath},
		{regexp.MustCompile(`^\s*store__(user_string|user_bytes|user_sockaddr|received|sent)\(`), FromMemory},
		{regexp.MustCompile(`^\s*store__[su]\d+\(&r, (ret|\(?\w*\)?read__(arg|int|id)\(&c, \d\))\);`), FromRegisters},
	}
	n := 0
	for _, f := range files {
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var typ event.Type
		known, name := false, ""
		for line := range strings.Lines(string(src)) {
			if m := begin.FindStringSubmatch(line); m != nil {
				typ, known = types[strings.ReplaceAll(m[1], "_", "")]
				if !known { // SYSCALL_OPENAT_2_X is SyscallOpenatV2X
					typ, known = types[strings.ReplaceAll(regexp.MustCompile(`_(\d+)_([XE])$`).ReplaceAllString(m[1], "V${1}${2}"), "_", "")]
				}
				continue
			}
			if m := param.FindStringSubmatch(line); m != nil {
				name = m[1]
				continue
			}
			if name == "" || !known {
				continue
			}
			for _, k := range kinds {
				if !k.re.MatchString(line) {
					continue
				}
				i := slices.IndexFunc(typ.Info().Params, func(p event.Param) bool { return p.Name == name })
				if i < 0 {
					t.Errorf("%s: %s has no parameter %s", filepath.Base(f), typ, name)
				} else if got := ReadsFrom(typ, i); got != k.from {
					t.Errorf("%s: %s of %s comes from %s, the table says %s", filepath.Base(f), name, typ, k.from, got)
				} else {
					n++
				}
			}
			name = ""
		}
	}
	if n < 200 {
		t.Errorf("only %d parameters were compared", n)
	}
	t.Logf("%d parameters compared", n)
}
