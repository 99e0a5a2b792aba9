package loss

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"
)

var t0 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// look is one look of a scenario: counts since the start, and what the reaction says; want is -1 for none.
type look struct {
	after      time.Duration // since the look before
	made, lost uint64
	full       uint64
	want       int64
}

func TestWatcher(t *testing.T) {
	const s = time.Second
	for _, c := range []struct {
		name  string
		cfg   Config
		looks []look
	}{
		{"nothing lost", Config{Burst: 1}, []look{{s, 10, 0, 0, -1}, {s, 20, 0, 0, -1}}},
		{"what was lost before the first look isn't told", Config{Burst: 1}, []look{{0, 100, 50, 0, -1}, {s, 110, 50, 0, -1}}},
		{"one event of many", Config{Burst: 1}, []look{{0, 0, 0, 0, -1}, {s, 1e6, 1, 0, 1}}},
		{"at the threshold isn't over it", Config{Threshold: 0.1, Burst: 1}, []look{{0, 0, 0, 0, -1}, {s, 100, 10, 0, -1}, {s, 200, 21, 0, 11}}},
		{"below the threshold isn't kept", Config{Threshold: 0.5, Burst: 1}, []look{{0, 0, 0, 0, -1}, {s, 100, 40, 0, -1}, {s, 200, 100, 0, 60}}},
		{"the rate holds back and adds up", Config{Rate: 0.1, Burst: 1}, []look{
			{0, 0, 0, 0, -1}, {s, 100, 5, 0, 5}, {s, 200, 8, 0, -1}, {s, 300, 9, 0, -1}, {6 * s, 400, 9, 0, -1}, {2 * s, 500, 9, 0, 4},
			{100 * s, 600, 9, 0, -1}, {s, 700, 10, 0, 1}, {s, 800, 11, 0, -1}}},
		{"a burst", Config{Rate: 0.001, Burst: 3}, []look{
			{0, 0, 0, 0, -1}, {s, 10, 1, 0, 1}, {s, 20, 2, 0, 1}, {s, 30, 3, 0, 1}, {s, 40, 4, 0, -1}, {999 * s, 50, 5, 0, 2}}},
		{"a rate of none", Config{Burst: 1}, []look{{0, 0, 0, 0, -1}, {s, 10, 1, 0, 1}, {time.Hour, 20, 2, 0, -1}}},
		{"simulated", Config{Simulate: true, Rate: 1, Burst: 1}, []look{{0, 0, 0, 0, -1}, {s, 0, 0, 0, 1}, {s, 5, 0, 0, 1}}},
		{"a full table", Config{Rate: 1, Burst: 1}, []look{{0, 0, 0, 0, -1}, {s, 10, 0, 3, 0}, {s, 20, 0, 3, -1}}},
		{"a full table below the threshold", Config{Threshold: 0.5, Rate: 1, Burst: 1}, []look{{0, 0, 0, 0, -1}, {s, 10, 0, 5, -1}, {s, 20, 0, 11, 0}}},
		{"a counter that seems to go back", Config{Rate: 1, Burst: 1}, []look{{0, 10, 5, 0, -1}, {s, 9, 4, 0, -1}, {s, 20, 6, 0, 2}}},
		{"more lost than made", Config{Threshold: 0.99, Burst: 1}, []look{{0, 0, 0, 0, -1}, {s, 1, 9, 0, 9}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			heard := 0
			c.cfg.OnLoss = func(d *Delta) {
				heard++
				if d.Total()+d.TotalFull() == 0 {
					t.Error("heard of a loss of nothing")
				}
			}
			w := New(c.cfg)
			at := t0
			lossy := 0
			for i, l := range c.looks {
				at = at.Add(l.after)
				got := w.Look(at, Counts{Made: l.made, Lost: map[string]uint64{"ring_full": l.lost}, Full: map[string]uint64{"files": l.full}})
				if i > 0 && (l.lost > c.looks[i-1].lost || l.full > c.looks[i-1].full || c.cfg.Simulate) {
					lossy++
				}
				switch {
				case got == nil && l.want >= 0:
					t.Errorf("look %d: no reaction, want one of %d", i, l.want)
				case got != nil && (l.want < 0 || got.Total() != uint64(l.want)):
					t.Errorf("look %d: a reaction of %d (%s), want %d", i, got.Total(), got, l.want)
				}
			}
			if heard != lossy {
				t.Errorf("heard of %d losses, there were %d", heard, lossy)
			}
		})
	}
}

// TestNothingUntold: whatever the rate, with a threshold of nothing the reactions and what is left untold add up to all
// that was lost.
func TestNothingUntold(t *testing.T) {
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 1))
	for range 200 {
		w := New(Config{Rate: rnd.Float64(), Burst: 1 + rnd.IntN(3)})
		c := Counts{}
		w.Look(t0, c)
		at := t0
		var told uint64
		reactions := 0
		for range 50 {
			at = at.Add(time.Duration(rnd.IntN(2000)) * time.Millisecond)
			lost := uint64(0)
			if rnd.IntN(2) == 0 {
				lost = rnd.Uint64N(100)
			}
			n := Counts{Made: c.Made + lost + rnd.Uint64N(100), Lost: map[string]uint64{"a": c.Lost["a"] + lost/2, "b": c.Lost["b"] + lost - lost/2}, CPUs: []uint64{c.Lost["a"] + c.Lost["b"] + lost}}
			if d := w.Look(at, n); d != nil {
				told += d.Total()
				reactions++
			}
			c = n
		}
		if d := w.Untold(); d != nil {
			told += d.Total()
		}
		if all := c.Lost["a"] + c.Lost["b"]; told != all {
			t.Fatalf("seed %d: %d told of %d lost", seed, told, all)
		}
		if most := w.cfg.Rate*at.Sub(t0).Seconds() + float64(w.cfg.Burst); float64(reactions) > most+1e-6 {
			t.Fatalf("seed %d: %d reactions, the rate allows %.1f", seed, reactions, most)
		}
	}
}

func TestSays(t *testing.T) {
	d := Delta{Counts: Counts{
		Made: 2000, Lost: map[string]uint64{"ring_full": 90, "scratch_busy": 10}, CPUs: []uint64{0, 60, 40},
		Syscalls: map[string]uint64{"close": 40, "openat": 40, "a": 1, "b": 2, "c": 3, "d": 4, "e": 0}, Full: map[string]uint64{"files": 7},
	}, Took: 1500 * time.Millisecond}
	if got, want := d.String(), "lost=100 made=2000 share=5.00% seconds=1.5 causes=ring_full:90,scratch_busy:10 cpus=1:60,2:40 syscalls=close:40,openat:40,d:4,c:3,b:2 full=files:7"; got != want {
		t.Errorf("\n%s\n%s", got, want)
	}
	b := d.AppendFields(nil, time.Unix(1, 5))
	var got map[string]uint64
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	want := map[string]uint64{
		"evt.time": 1000000005, "n_evts": 2000, "n_drops": 100, "lost.cause.ring_full": 90, "lost.cause.scratch_busy": 10, "lost.cpu.1": 60, "lost.cpu.2": 40,
		"lost.syscall.close": 40, "lost.syscall.openat": 40, "lost.syscall.d": 4, "lost.syscall.c": 3, "lost.syscall.b": 2, "full.files": 7,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s", b)
	}
	var none Delta
	if got, want := none.String(), "lost=0 made=0 share=0.00% seconds=0.0"; got != want {
		t.Errorf("%s", got)
	}
}
