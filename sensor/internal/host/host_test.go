package host

import (
	"context"
	"reflect"
	"testing"

	"github.com/shikra-sensor/shikra/sensor/internal/wasm"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// evenTID alerts with rule 1 for events of threads with an even id, reading the event through the window.
func evenTID(f *wasm.Func, g *guest) {
	loopEvents(f, g, func(i, ev wasm.Local, next wasm.Label) {
		f.Get(ev)
		f.Mem(wasm.I32Load, wasmabi.EventTid)
		f.I32Const(1)
		f.Op(wasm.I32And)
		f.BrIf(next)
		f.Get(i)
		f.I32Const(1)
		f.Call(g.alert)
	})
	f.I32Const(0)
}

func TestAlerts(t *testing.T) {
	for _, e := range engines() {
		t.Run(e, func(t *testing.T) {
			b := newBench(t, e)
			if got := b.EngineMode(); got != e {
				t.Fatalf("EngineMode() = %s", got)
			}
			g := newGuest(t)
			g.batch = evenTID
			m := b.load(g)
			for round := range 3 {
				b.hits = nil
				for tid := range int64(5) {
					b.push(tid + int64(round))
				}
				if err := m.Judge(context.Background()); err != nil {
					t.Fatal(err)
				}
				want := [][]hit{{{0, 1}, {2, 1}, {4, 1}}, {{1, 1}, {3, 1}}}[round%2]
				if !reflect.DeepEqual(b.hits, want) {
					t.Errorf("round %d: alerts %v, want %v", round, b.hits, want)
				}
				b.arena.Flushed()
			}
			if err := m.Judge(context.Background()); err != nil {
				t.Fatal(err)
			}
			if s := m.Stats(); s.Calls != 3 || s.Events != 15 || s.Alerts != 8 || s.Traps != 0 || s.Refills != 1 || s.Fuel == 0 {
				t.Errorf("Stats() = %+v", s)
			}
		})
	}
}
