package probe

import (
	"testing"
	"time"
)

func TestLoad(t *testing.T) {
	s := time.Now()
	p, err := Load(Config{TraceSelf: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(time.Since(s))
	defer p.Close()
	for _, h := range p.Hooks() {
		if h.State == StateRefused {
			t.Errorf("%s: %s", h.Name, h.Reason)
			continue
		}
		info, err := p.coll.Programs[h.Name].Info()
		if err != nil {
			t.Fatal(err)
		}
		n, _ := info.VerifiedInstructions()
		t.Logf("%-12s %7d instructions verified", h.Name, n)
	}
}
