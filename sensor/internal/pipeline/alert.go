package pipeline

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/format"
	"github.com/shikra-sensor/shikra/sensor/internal/host"
	"github.com/shikra-sensor/shikra/sensor/internal/output"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// rule is what turns a verdict into an alert.
type rule struct {
	wasmabi.Rule
	format *format.Format
	alerts uint64
}

func readRules(table []wasmabi.Rule) ([]rule, error) {
	out := make([]rule, len(table))
	for i, r := range table {
		f, err := format.Parse(r.Output)
		if err != nil {
			return nil, fmt.Errorf("rule %q: output: %w", r.Name, err)
		}
		out[i] = rule{Rule: r, format: f}
	}
	return out, nil
}

// peeks reports whether the output shows the names of fds and processes that the event mentions besides its own.
func (r *rule) peeks() bool {
	for _, ref := range r.format.Refs() {
		if strings.HasPrefix(ref.Text, "evt.arg") || strings.HasPrefix(ref.Text, "fs.path.") {
			return true
		}
	}
	return false
}

// looksAround reports whether e mentions an fd or a process besides its own. Such a name is looked up when the output is
// made, so the event must be judged before the next changes the state; conditions read columns, made when it was queued.
func (p *Pipeline) looksAround(e event.Event) bool {
	in := e.Type().Info()
	for i := range in.Params {
		switch in.Params[i].Type {
		case event.ParamFd, event.ParamFd32:
			if fd, ok := e.Int(i); ok && fd >= 0 && fd != int64(e.FD()) {
				return true
			}
		case event.ParamPid, event.ParamPid32, event.ParamFdlist:
			return true
		}
	}
	return false
}

// onAlert makes the alert of one verdict while everything the event refers to is as it was.
func (p *Pipeline) onAlert(hm *host.Module, index, ruleIndex int) {
	var m *module
	for _, x := range p.modules {
		if x.Module == hm {
			m = x
		}
	}
	if m == nil || ruleIndex >= len(m.rules) {
		return
	}
	r := &m.rules[ruleIndex]
	r.alerts++
	p.st.Alerts++
	if p.cfg.Alert == nil {
		return
	}
	e := p.arena.Batch.Event(index)
	p.seq++
	a := &output.Alert{
		Time:     time.Unix(0, int64(e.TS())+p.now),
		Rule:     r.Name,
		Priority: r.Priority,
		Source:   r.Source,
		Hostname: p.cfg.Hostname,
		Output:   string(r.format.Append(nil, &p.read, e)),
		Tags:     r.Tags,
		UUID:     newUUID(),
		Node:     p.cfg.Node,
		Seq:      p.seq,
		EventNum: e.Num(),
	}
	// Falco puts evt.time (ns) before the output's own fields.
	a.Fields = append(strconv.AppendInt([]byte(`{"evt.time":`), a.Time.UnixNano(), 10), ',')
	n := len(a.Fields)
	if a.Fields = r.format.AppendFields(a.Fields, &p.read, e); len(a.Fields) == n+len("{}") {
		n--
	}
	a.Fields = append(a.Fields[:n], a.Fields[n+1:]...)
	p.cfg.Alert(a)
}

func newUUID() uuid.UUID {
	u, err := uuid.NewRandom()
	if err != nil { // the system has no randomness: an alert without an id is better than none
		return uuid.Nil
	}
	return u
}
