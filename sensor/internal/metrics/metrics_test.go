package metrics

import (
	"context"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTable(t *testing.T) {
	seen := map[string]bool{}
	for i, m := range Table() {
		if !regexp.MustCompile(`^[a-z_]+$`).MatchString(m.Name) || !strings.HasSuffix(m.Help, ".") || seen[m.Name] {
			t.Errorf("%d: %+v", i, m)
		}
		if m.Counter != strings.HasSuffix(m.Name, "_total") {
			t.Errorf("%s: counters, and only they, end in _total", m.Name)
		}
		seen[m.Name] = true
	}
}

func TestServe(t *testing.T) {
	var sick error
	h, err := Handler(func(emit func(ID, float64, ...string)) {
		emit(Lost, 3, "openat", "ring_full")
		emit(BatchMean, 17.5)
	}, func() error { return sick })
	if err != nil {
		t.Fatal(err)
	}
	s, err := Listen("127.0.0.1:0", h)
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{}
	get := func(path string) (int, string) {
		t.Helper()
		resp, err := (&http.Client{Transport: tr}).Get("http://" + s.Addr() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
	code, body := get("/metrics")
	for _, want := range []string{`shikra_lost_total{cause="ring_full",type="openat"} 3`, "shikra_batch_mean_events 17.5", "# HELP shikra_lost_total", "go_goroutines", "process_resident_memory_bytes"} {
		if code != 200 || !strings.Contains(body, want) {
			t.Errorf("%d, no %q", code, want)
		}
	}
	if code, body := get("/healthz"); code != 200 || body != "ok\n" {
		t.Errorf("%d %q", code, body)
	}
	sick = errors.New("starting")
	if code, body := get("/healthz"); code != 503 || body != "starting\n" {
		t.Errorf("%d %q", code, body)
	}
	if code, _ := get("/"); code != 404 {
		t.Errorf("%d", code)
	}
	if _, err := Listen(s.Addr(), h); err == nil {
		t.Error("two servers at one address")
	}
	tr.CloseIdleConnections()
	if err := s.Close(context.Background()); err != nil {
		t.Error(err)
	}
}
