package replay_test

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/shikra-sensor/shikra/sensor/internal/arena"
	"github.com/shikra-sensor/shikra/sensor/internal/capture"
	"github.com/shikra-sensor/shikra/sensor/internal/decode"
	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/snapshot"
	"github.com/shikra-sensor/shikra/sensor/internal/source/replay"
	"github.com/shikra-sensor/shikra/sensor/internal/state"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// seen is what a rule would see of one event.
type seen struct {
	typ      event.Type
	comm     string // proc.name
	parent   string // proc.pname
	user     string // user.name
	file     string // fd.name
	kind     byte   // fd.typechar
	fileBits uint8
	bits     uint32
	ip       [4]byte // fd.sip
}

// through takes a capture through decode and state, and looks at each event as the modules would.
func through(t *testing.T, r *capture.Reader) (out []seen, st state.Stats) {
	t.Helper()
	a, err := arena.New(arena.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	s, err := state.New(state.Config{Arena: a, Flush: a.Flushed})
	if err != nil {
		t.Fatal(err)
	}
	u32 := func(b []byte, at int) uint32 {
		return uint32(b[at]) | uint32(b[at+1])<<8 | uint32(b[at+2])<<16 | uint32(b[at+3])<<24
	}
	str := func(b []byte, at int) string { return string(a.Strings.Get(u32(b, at))) }
	_, err = replay.Run(context.Background(), replay.Config{
		Reader:   r,
		Sink:     s,
		Snapshot: func() error { s.Settled(); return nil },
		Flush:    func() error { a.Flushed(); return nil },
		Record: func(r event.Record) error {
			m, err := decode.Decode(r)
			if err != nil {
				return err
			}
			refs := s.Apply(r, m, true)
			v := seen{typ: r.Type(), bits: m.Bits}
			if refs.Thread != 0 {
				th := a.Threads.Record(refs.Thread)
				v.comm, v.user = str(th, wasmabi.ThreadComm), str(th, wasmabi.ThreadUserName)
				if p := u32(th, wasmabi.ThreadParent); p != 0 {
					v.parent = str(a.Threads.Record(p), wasmabi.ThreadComm)
				}
			}
			if refs.File != 0 {
				f := a.Files.Record(refs.File)
				v.file, v.kind, v.fileBits = str(f, wasmabi.FileName), f[wasmabi.FileKind], f[wasmabi.FileBits]
				v.ip = [4]byte(f[wasmabi.FileSip:])
			}
			out = append(out, v)
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return out, s.Stats()
}

// TestThroughState replays the captures through decode and state: what rules ask for must be there.
func TestThroughState(t *testing.T) {
	dir := captures(t)
	all := map[string][]seen{}
	for _, name := range names {
		out, st := through(t, open(t, filepath.Join(dir, name+".scap")))
		if st.ThreadsDropped+st.FDsDropped+st.TablesDropped+st.NamesLost+st.UsersDropped != 0 {
			t.Errorf("%s: %+v", name, st)
		}
		if st.Threads < 50 || st.Files < 300 {
			t.Errorf("%s: %d threads and %d files", name, st.Threads, st.Files)
		}
		// The figures of each process: kernel threads, which aren't in the process list, have some too.
		known, total := 0, 0
		for _, v := range out {
			if v.typ == event.ProcinfoE {
				total++
				if v.comm != "<NA>" && v.comm != "" {
					known++
				}
			}
		}
		if known*2 < total {
			t.Errorf("%s: %d of %d processes are known", name, known, total)
		}
		all[name] = out
	}
	of := func(name string, types ...event.Type) (out []seen) {
		for _, v := range all[name] {
			if slices.Contains(types, v.typ) {
				out = append(out, v)
			}
		}
		return out
	}

	null := 0
	for _, v := range of("cat_write", event.SyscallOpenX) {
		if v.comm != "cat" || v.parent != "bash" || v.kind != 'f' || v.file == "" || v.file[0] != '/' || v.bits&wasmabi.BitOpenRead == 0 {
			t.Errorf("cat_write: %+v", v)
		}
		if v.file == "/dev/null" {
			null++
		}
	}
	if v := of("cat_write", event.SyscallExecveV19X); null != 1 || len(v) != 1 || v[0].comm != "cat" || v[0].user == "" {
		t.Errorf("cat_write: %d opens of /dev/null; execve: %+v", null, v)
	}

	v := of("connect_localhost", event.SocketConnectX)
	if len(v) != 1 || v[0].kind != '4' || v[0].ip != [4]byte{127, 0, 0, 1} || v[0].fileBits&wasmabi.FileClient == 0 || v[0].file != "127.0.0.1:47192->127.0.0.1:80" {
		t.Errorf("connect_localhost: %+v", v)
	}

	files := map[string]bool{}
	for _, v := range of("open-multiple-files", event.SyscallOpenX) {
		if v.bits&wasmabi.BitOpenRead == 0 || v.kind != 'f' {
			t.Errorf("open-multiple-files: %+v", v)
		}
		files[v.file] = true
	}
	for i := range 13 {
		if name := fmt.Sprintf("/tmp/file-%d", i+1); !files[name] {
			t.Errorf("open-multiple-files: %s isn't opened", name)
		}
	}

	// What was opened is what is read and closed; a few act on what the fd list lacks.
	for name, types := range map[string][]event.Type{
		"libs_curl_google":            {event.SyscallReadX, event.SyscallFstatX, event.SyscallCloseX},
		"psp_run_as_user_0_container": {event.SyscallWriteX},
		"cat_write":                   {event.SyscallReadX, event.SyscallFstatX},
	} {
		known, vs := 0, of(name, types...)
		for _, v := range vs {
			if v.kind != 0 {
				known++
			}
		}
		if known*10 < len(vs)*8 {
			t.Errorf("%s: %d of %d events know their file", name, known, len(vs))
		}
	}
}

// TestOwnThroughState does the same with a capture of our own making, which needs nothing from elsewhere: old pairs, a
// directory's fd, a fork and an exec.
func TestOwnThroughState(t *testing.T) {
	s := func(v string) []byte { return append([]byte(v), 0) }
	u32 := func(n byte) []byte { return []byte{n, 0, 0, 0} }
	at := func(tid int64, e *capture.Event) *capture.Event { e.TID = tid; return e }
	clone := func(res, tid, ptid byte) *capture.Event {
		return ev(5, event.SyscallCloneV16X, 0, fd(res), s("sh"), s("-c"), fd(tid), fd(tid), fd(ptid), s("/tmp"), fd(9), fd(0), fd(0),
			u32(0), u32(0), u32(0), u32(0), u32(0), u32(0))
	}
	r, _ := built(t, func(w *capture.Writer) {
		w.AddUser(&snapshot.User{Name: "root", Home: "/root", Shell: "/bin/sh"})
		w.AddThread(&snapshot.Thread{TID: 10, PID: 10, Comm: "sh", Exe: "sh", Cwd: "/tmp", LoginUID: 0xFFFFFFFF})
		w.AddFile(&snapshot.File{PID: 10, FD: 3, Kind: 'd', Name: "/etc"})
		for _, e := range []*capture.Event{
			at(10, ev(1, event.SyscallOpenatE, 0, fd(3), s("passwd"), u32(1), u32(0))), at(10, ev(2, event.SyscallOpenatX, 0, fd(4))),
			at(10, ev(3, event.SyscallReadE, 0, fd(4), u32(80))), at(10, ev(4, event.SyscallReadX, 0, fd(80), make([]byte, 80))),
			at(10, ev(4, event.SyscallDupE, 0, fd(4))), at(10, ev(4, event.SyscallDupX, 0, fd(7))),
			at(10, clone(11, 10, 1)), at(11, clone(0, 11, 10)),
			at(11, ev(6, event.SyscallExecveV8E, 0)), at(11, ev(7, event.SyscallExecveV14X, 0, fd(0), s("cat"), s("x"), fd(11), fd(11), fd(10), s("/tmp"), fd(9),
				fd(0), fd(0), u32(0), u32(0), u32(0), s("A=b"))),
			at(11, ev(8, event.SyscallCloseE, 0, fd(7))), at(11, ev(9, event.SyscallCloseX, 0, fd(0))),
		} {
			w.Event(e)
		}
	})
	out, _ := through(t, r)
	var b bytes.Buffer
	for _, v := range out {
		fmt.Fprintf(&b, "%s %s(%s) %q %c\n", v.typ, v.comm, v.user, v.file, max(v.kind, '-'))
	}
	want := `SyscallOpenatV2X sh(root) "/etc/passwd" f
SyscallReadX sh(root) "/etc/passwd" f
SyscallDupV1X sh(root) "/etc/passwd" f
SyscallCloneV20X sh(root) "" -
SyscallCloneV20X sh(root) "" -
SyscallExecveV19X cat(root) "" -
SyscallCloseX cat(root) "/etc/passwd" f
`
	if b.String() != want {
		t.Errorf("got:\n%s", b.String())
	}
}
