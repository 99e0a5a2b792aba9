package compile
import ("testing";"context";"time";"fmt";"sort";"os"
"github.com/shikra-sensor/shikra/sensor/internal/rule/check")
func TestEach(t *testing.T) {
	var p *check.Program
	if os.Getenv("OWN") != "" { p = benchRules(t) } else { p = falcoRules(t, "falco_rules.yaml", "falco-incubating_rules.yaml", "falco-sandbox_rules.yaml") }
	mixi := 1
	if os.Getenv("MIX") == "exec" { mixi = 2 }
	type res struct{ns float64; name string}
	var out []res
	for _, r := range p.Rules {
		w := usual(t)
		w.usualEvents(mixes[mixi].types)
		code, _ := Compile(&check.Program{Rules: []*check.Rule{r}}, Options{})
		u := w.loadModule("compiler", code)
		u.extract()
		best := 1e18
		for range 5 {
			s := time.Now()
			for range 40 { clear(u.alerts); u.m.Judge(context.Background()) }
			best = min(best, float64(time.Since(s).Nanoseconds())/40/256)
		}
		out = append(out, res{best, r.Name})
	}
	sort.Slice(out, func(i,j int) bool {return out[i].ns > out[j].ns})
	for _, r := range out[:22] { fmt.Printf("%7.1f %s\n", r.ns, r.name) }
}
