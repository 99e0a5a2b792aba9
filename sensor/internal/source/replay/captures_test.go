package replay_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/shikra-sensor/shikra/sensor/internal/capture"
	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/snapshot"
	"github.com/shikra-sensor/shikra/sensor/internal/source/replay"
	"github.com/shikra-sensor/shikra/sensor/internal/testkit"
)

// captures returns the folder of captures that nobody on this project made.
func captures(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("SHIKRA_FALCO_DATA")
	if dir == "" {
		testkit.Missing(t, "SHIKRA_FALCO_DATA isn't set: it names the folder with Falco's captures")
	}
	return filepath.Join(dir, "captures")
}

func open(t testing.TB, name string) *capture.Reader {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	r, err := capture.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// kept is a sink that keeps what it is given.
type kept struct {
	threads []snapshot.Thread
	files   []snapshot.File
	users   []snapshot.User
	groups  []snapshot.Group
}

func (s *kept) AddThread(t *snapshot.Thread) { s.threads = append(s.threads, *t) }
func (s *kept) AddFile(f *snapshot.File)     { s.files = append(s.files, *f) }
func (s *kept) AddUser(u *snapshot.User)     { s.users = append(s.users, *u) }
func (s *kept) AddGroup(g *snapshot.Group)   { s.groups = append(s.groups, *g) }

var names = []string{"cat_write", "connect_localhost", "libs_curl_google", "open-multiple-files", "psp_run_as_user_0_container", "syscall"}

// TestCaptures replays captures of several versions of the format and compares what comes out, counted by type.
func TestCaptures(t *testing.T) {
	dir := captures(t)
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			var s kept
			counts := map[event.Type]int{}
			missing := map[string]int{}
			snapshots := 0
			rep, err := replay.Run(context.Background(), replay.Config{
				Reader: open(t, filepath.Join(dir, name+".scap")),
				Sink:   &s,
				Snapshot: func() error {
					snapshots++
					return nil
				},
				Record: func(r event.Record) error {
					if err := r.Check(); err != nil {
						t.Errorf("event %d: %v", len(counts), err)
					}
					ty := r.Type()
					if !ty.Current() {
						t.Errorf("%s is a type that isn't made any more", ty)
					}
					counts[ty]++
					for i, p := range ty.Info().Params {
						if _, ok := r.Param(i); !ok {
							missing[fmt.Sprintf("%s.%s", ty, p.Name)]++
						}
					}
					return nil
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			if snapshots != 1 || rep.Sections != 1 {
				t.Errorf("%d calls of Snapshot in %d sections, want one of one", snapshots, rep.Sections)
			}
			if len(s.threads) != int(rep.Threads) || len(s.files) != int(rep.Files) || len(s.users) != int(rep.Users) || len(s.groups) != int(rep.Groups) {
				t.Errorf("the sink got %d threads, %d files, %d users, %d groups; report: %+v", len(s.threads), len(s.files), len(s.users), len(s.groups), rep)
			}
			var b strings.Builder
			fmt.Fprintf(&b, "threads %d files %d users %d groups %d interfaces %d\n", rep.Threads, rep.Files, rep.Users, rep.Groups, rep.Interfaces)
			kinds := map[byte]int{}
			for _, f := range s.files {
				kinds[f.Kind]++
			}
			for _, k := range keys(kinds) {
				fmt.Fprintf(&b, "kind %q %d\n", k, kinds[k])
			}
			fmt.Fprintf(&b, "events %d enters %d unpaired %d evicted %d cut %d unknown %d stateonly %d\n", rep.Events, rep.Enters, rep.Unpaired, rep.Evicted, rep.Cut, rep.Unknown, rep.StateOnly)
			for _, ty := range keys(rep.Skipped) {
				fmt.Fprintf(&b, "skipped %s %d\n", ty, rep.Skipped[ty])
			}
			for _, ty := range keys(counts) {
				fmt.Fprintf(&b, "%s %d\n", ty, counts[ty])
			}
			for _, k := range keys(missing) {
				fmt.Fprintf(&b, "missing %s %d\n", k, missing[k])
			}
			golden(t, filepath.Join("testdata", name+".golden"), b.String())
		})
	}
}

func keys[K interface{ ~byte | ~uint16 | ~string }, V any](m map[K]V) []K {
	out := make([]K, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	if *replay.Update {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		t.Fatalf("%s: run with -update", name)
	}
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; got:\n%s", name, got)
	}
}

// TestCaptureValues looks for the values that rules written for these captures ask for.
func TestCaptureValues(t *testing.T) {
	calls := map[string]string{} // code of a call without an event type of its own, as the capture has it → its name
	for _, s := range event.Syscalls() {
		calls[string(binary.LittleEndian.AppendUint16(nil, uint16(s.Code)))] = s.Name
	}
	dir := captures(t)
	count := func(name string) map[string]int {
		got := map[string]int{}
		_, err := replay.Run(context.Background(), replay.Config{
			Reader: open(t, filepath.Join(dir, name+".scap")),
			Record: func(r event.Record) error {
				param := func(name string) string {
					p, _ := r.Param(r.Type().Info().ParamIndex(name))
					return string(p)
				}
				what := r.Type().Info().Name
				switch r.Type() {
				case event.SyscallOpenX:
					what += " " + strings.TrimSuffix(param("name"), "\x00")
				case event.GenericX:
					what = calls[param("ID")]
				case event.SocketConnectX:
					what = fmt.Sprintf("%s %x fd %x", what, param("tuple"), param("fd"))
				case event.SyscallExecveV19X:
					what += " " + param("comm") + param("exe") + param("args")
				}
				got[what]++
				return nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	opened := func(counts map[string]int) (n int) {
		for what, k := range counts {
			if strings.HasPrefix(what, "open ") {
				n += k
			}
		}
		return n
	}

	got := count("cat_write")
	if opened(got) != 4 || got["open /dev/null"] != 1 || got["access"] != 3 || got["execve cat\x00cat\x00/dev/null\x00"] != 1 {
		t.Errorf("cat_write: %v", got)
	}
	got = count("syscall")
	if got["open /dev/null"] != 2 || got["madvise"] != 2 {
		t.Errorf("syscall: %v", got)
	}
	got = count("open-multiple-files")
	for i := range 13 {
		if got[fmt.Sprintf("open /tmp/file-%d", i+1)] != 1 {
			t.Errorf("open-multiple-files: %d: %v", i+1, got)
		}
	}
	got = count("connect_localhost")
	// family, 127.0.0.1 and a port, 127.0.0.1 and a port
	found := false
	for what := range got {
		found = found || strings.HasPrefix(what, "connect 027f000001") && strings.HasPrefix(what[len("connect 027f000001xxxx"):], "7f000001") && strings.HasSuffix(what, "fd 0400000000000000")
	}
	if !found || got["socket"] != 3 {
		t.Errorf("connect_localhost: %v", got)
	}
}
