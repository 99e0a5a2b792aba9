package output

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func sample() *Alert {
	return &Alert{
		Time: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), Rule: "A rule", Priority: "Warning", Source: "syscall", Hostname: "gateway",
		Output: "file=/etc/x\nforged \x1b[31m \xff >&", Tags: []string{"file"}, Seq: 7, EventNum: 9,
		Fields: []byte(`{"fd.name":"/etc/x","proc.pid":-3,"fd.sip":null}`),
		Node:   &Node{ID: "n1", BootID: "b", Labels: map[string]string{"site": "a"}},
	}
}

func TestText(t *testing.T) {
	got := string(Text.Append(nil, sample()))
	if want := "03:04:05.000000006: Warning file=/etc/x\\nforged \\x1b[31m \uFFFD >&\n"; got != want {
		t.Errorf("%q\n%q", got, want)
	}
	if got := string(appendPrintable(nil, "a\u202eb\u009bc\u00e9")); got != `a\u{202e}b\u{9b}cé` {
		t.Errorf("%q", got)
	}
	if got := string(Line.Append(nil, sample())); strings.Contains(got, "Warning") || strings.Count(got, "\n") != 1 {
		t.Errorf("%q", got)
	}
}

func TestJSON(t *testing.T) {
	line := JSON.Append(nil, sample())
	if bytes.Count(line, []byte("\n")) != 1 || bytes.Contains(line, []byte(`\u003e`)) {
		t.Errorf("%s", line)
	}
	var m map[string]any
	if err := json.Unmarshal(line, &m); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	for k, want := range map[string]any{"hostname": "gateway", "priority": "Warning", "rule": "A rule", "source": "syscall",
		"time": "2026-01-02T03:04:05.000000006Z", "uuid": "00000000-0000-0000-0000-000000000000", "seq": 7.0, "event_num": 9.0} {
		if m[k] != want {
			t.Errorf("%s: %v, want %v", k, m[k], want)
		}
	}
	f := m["output_fields"].(map[string]any)
	if f["proc.pid"] != -3.0 || f["fd.sip"] != nil || len(f) != 3 {
		t.Errorf("%v", f)
	}
	if m["node"].(map[string]any)["id"] != "n1" {
		t.Errorf("%v", m["node"])
	}
}

type failing struct {
	mu sync.Mutex
	n  int
}

func (f *failing) Write([]byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n++
	return 0, errors.New("disk full")
}

// gate blocks the first write until opened.
type gate struct {
	open chan struct{}
	buf  bytes.Buffer
}

func (g *gate) Write(b []byte) (int, error) {
	<-g.open
	return g.buf.Write(b)
}

func TestQueueDropsAndCounts(t *testing.T) {
	g := &gate{open: make(chan struct{})}
	var told []string
	q := NewQueue(4, func(name string, err error) { told = append(told, name+": "+err.Error()) },
		&Output{Name: "slow", Format: JSON, W: g}, &Output{Name: "bad", W: &failing{}})
	const n = 100
	took := 0
	for range n {
		if q.Put(sample()) {
			took++
		}
	}
	close(g.open)
	if err := q.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if q.Put(sample()) {
		t.Error("a closed queue takes alerts")
	}
	if got := bytes.Count(g.buf.Bytes(), []byte("\n")); got != took || q.Dropped() != uint64(n-took+1) || took == n {
		t.Errorf("put %d, written %d, dropped %d", took, got, q.Dropped())
	}
	st := q.Stats()
	if st[0].Sent != uint64(took) || st[1].Failed != uint64(took) || st[1].Sent != 0 {
		t.Errorf("%+v", st)
	}
	if len(told) != 1 {
		t.Errorf("told %v", told)
	}
}

func TestQueueCloseIsBounded(t *testing.T) {
	g := &gate{open: make(chan struct{})}
	q := NewQueue(4, nil, &Output{Name: "stuck", W: g})
	q.Put(sample())
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := q.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	close(g.open)
	if err := q.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestFileRotation(t *testing.T) {
	p := filepath.Join(t.TempDir(), "alerts.json")
	f, err := OpenFile(p)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	put := func(s string) {
		t.Helper()
		if _, err := f.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	put("one\n")
	if st, _ := os.Stat(p); st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", st.Mode())
	}
	if err := os.Rename(p, p+".1"); err != nil {
		t.Fatal(err)
	}
	f.checked = time.Time{} // as if a second had passed
	put("two\n")
	b, err := os.ReadFile(p)
	if err != nil || string(b) != "two\n" {
		t.Errorf("%q %v", b, err)
	}
}

func FuzzText(f *testing.F) {
	f.Add("a\x00b\u202e\xc2\x9b")
	f.Fuzz(func(t *testing.T, s string) {
		a := &Alert{Output: s, Rule: s, Tags: []string{s}}
		for _, b := range appendPrintable(nil, s) {
			if b < 0x20 || b == 0x7f {
				t.Fatalf("%q: control character", s)
			}
		}
		if line := JSON.Append(nil, a); !json.Valid(line) {
			t.Fatalf("%q: %s", s, line)
		}
	})
}
