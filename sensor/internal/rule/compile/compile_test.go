package compile

import (
	"flag"
	"fmt"
	"math/rand"
	"strings"
	"testing"

	"github.com/shikra-sensor/shikra/sensor/internal/field"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/ast"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/check"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/eval/rulegen"
)

var (
	seed   = flag.Int64("seed", 1, "first seed of the random tests")
	rounds = flag.Int("rounds", 60, "rounds of the random tests")
)

// same compares what the module alerts on with what the oracle wants.
func (w *world) same(p *check.Program, got, want map[int]int) {
	w.t.Helper()
	for i := range w.a.Batch.Len() {
		g, ok := got[i]
		x, wanted := want[i]
		switch e := w.a.Batch.Event(i); {
		case ok && !wanted:
			w.t.Errorf("event %d (%s): rule %d, none wanted\n%s", i, e.Type(), g, p.Rules[g].Text)
		case !ok && wanted:
			w.t.Errorf("event %d (%s): no rule, %d wanted\n%s", i, e.Type(), x, p.Rules[x].Text)
		case g != x:
			w.t.Errorf("event %d (%s): rule %d, %d wanted\n%s\n%s", i, e.Type(), g, x, p.Rules[g].Text, p.Rules[x].Text)
		}
	}
}

// genFields are all fields of the catalogue with constants that random worlds have.
func genFields(t testing.TB) []rulegen.Field {
	var out []rulegen.Field
	add := func(text string, consts ...string) {
		r, err := field.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if consts == nil {
			switch r.Type {
			case field.String, field.Bytes:
				consts = append(append(append([]string{"<NA>", "host", "read"}, comms...), paths...), lines...)
			case field.IP:
				consts = []string{"127.0.0.1", "192.0.2.7", "::1", "2001:db8::1", "0.0.0.0", "198.51.100.1"}
			case field.IPNet:
				consts = []string{"127.0.0.0/8", "192.0.2.0/25", "0.0.0.0/0", "::/0", "2001:db8::/33", "10.1.2.3/32", "10.1.0.0/15", "192.0.2.6/31", "::1/128", "2001:db8::/64"}
			case field.Bool:
				consts = []string{"true", "false"}
			case field.Port:
				consts = []string{"0", "1", "22", "80", "443", "65535"}
			case field.Int:
				consts = []string{"-1", "0", "1", "2", "22", "1000", "4294967295", "-9223372036854775808", "1099511627776"}
			default:
				consts = []string{"0", "1", "2", "22", "1000", "4294967295", "1099511627776"}
			}
		}
		// NUL, quotes and bytes over 127 are YAML's matter, not ours.
		var plain []string
		for _, c := range consts {
			ok := true
			for _, b := range []byte(c) {
				ok = ok && b >= ' ' && b < 127 && b != '\''
			}
			if ok {
				plain = append(plain, c)
			}
		}
		var ops []string
		for _, op := range check.Operators(r.Field) {
			// The language takes a number only after <; for texts TestOrder makes these tests.
			if op != "regex" && !(r.Type == field.String && strings.ContainsAny(op, "<>")) {
				ops = append(ops, op)
			}
		}
		out = append(out, rulegen.Field{Ref: r, Consts: plain, Ops: ops})
	}
	for _, f := range field.All() {
		switch {
		case f.Name == "evt.type" || f.Name == "syscall.type":
			add(f.Name, "open", "openat", "execve", "connect", "read", "unlink", "getpid")
		case f.Name == "evt.type.is":
			add("evt.type.is.open")
		case f.Name == "evt.arg":
			for _, a := range []string{"name", "fd", "flags", "res", "exe", "uid", "data"} {
				add("evt.arg." + a)
			}
			add("evt.arg[0]")
			add("evt.arg[1]")
		case f.Name == "evt.rawarg":
			for _, a := range []string{"name", "fd", "flags", "res", "size", "uid", "data"} {
				add("evt.rawarg." + a)
			}
		case f.Name == "evt.source" || f.Name == "evt.dir":
		case f.Arg == field.ArgNone || f.Optional:
			add(f.Name)
			if f.Optional && f.Arg == field.ArgIndex {
				for i := range 4 {
					add(fmt.Sprintf("%s[%d]", f.Name, i))
				}
			}
		case f.Arg == field.ArgIndex || f.Arg == field.ArgIndexKey:
			add(f.Name + "[1]")
		}
	}
	return out
}

// mixed makes a condition of n of the parts.
func mixed(r *rand.Rand, parts []ast.Expr, n int) ast.Expr {
	if n <= 1 {
		x := pick(r, parts)
		if r.Intn(3) == 0 {
			return &ast.Not{X: x}
		}
		return x
	}
	k := 1 + r.Intn(n-1)
	x := []ast.Expr{mixed(r, parts, k), mixed(r, parts, n-k)}
	if r.Intn(2) == 0 {
		return &ast.And{X: x}
	}
	return &ast.Or{X: x}
}

// TestAgainstOracle compiles random rules, judges random events with them, and compares with the slow evaluator.
func TestAgainstOracle(t *testing.T) {
	fields := genFields(t)
	var ancestors []rulegen.Field
	for _, f := range fields {
		if f.Ref.Any() {
			ancestors = append(ancestors, f)
		}
	}
	alerts := 0
	for s := *seed; s < *seed+int64(*rounds) && !t.Failed(); s++ {
		t.Run(fmt.Sprintf("seed=%d", s), func(t *testing.T) {
			w := newWorld(t, s)
			few := fields
			if s%2 == 0 { // few fields: rules that share tests
				few = nil
				for range 6 {
					few = append(few, pick(w.r, fields))
				}
				few = append(few, pick(w.r, ancestors))
			}
			var conds []string
			var pool []ast.Expr // what rules share, as macros make them do
			for range 4 {
				pool = append(pool, rulegen.Expr(w.r, few, 1+w.r.Intn(4)))
			}
			for range 1 + w.r.Intn(12) {
				x := rulegen.Expr(w.r, few, 1+w.r.Intn(8))
				if s%3 > 0 {
					x = mixed(w.r, pool, 2+w.r.Intn(5))
				}
				conds = append(conds, ast.Print(x))
			}
			p := rules(t, conds...)
			w.events(256)
			engine := "interpreter"
			if s%4 == 1 {
				engine = "auto"
			}
			u := w.load(engine, p, Options{})
			u.extract()
			want := w.expect(p)
			w.same(p, u.judge(), want)
			w.same(p, u.judge(), want) // nothing is left of the first time
			alerts += len(want)
		})
	}
	if *rounds >= 20 && alerts == 0 {
		t.Error("the random rules matched nothing")
	}
}
