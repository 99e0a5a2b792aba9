package pipeline

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/field"
	"github.com/shikra-sensor/shikra/sensor/internal/format"
	"github.com/shikra-sensor/shikra/sensor/internal/host"
	"github.com/shikra-sensor/shikra/sensor/internal/output"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// rule is what turns a verdict into an alert.
type rule struct {
	wasmabi.Rule
	format *format.Format
	timed  bool // the output names evt.time
	alerts uint64
}

func readRules(table []wasmabi.Rule) ([]rule, error) {
	out := make([]rule, len(table))
	names := map[string]bool{}
	for i, r := range table {
		if names[r.Name] {
			return nil, fmt.Errorf("two rules are called %q", r.Name)
		}
		names[r.Name] = true
		f, err := format.Parse(r.Output)
		if err != nil {
			return nil, fmt.Errorf("rule %q: output: %w", r.Name, err)
		}
		out[i] = rule{Rule: r, format: f}
		for _, ref := range f.Refs() {
			out[i].timed = out[i].timed || ref.Text == "evt.time"
		}
	}
	return out, nil
}

// fields returns the output's fields as a JSON object, with evt.time (ns) first if the output doesn't name it, as Falco has it.
func (r *rule) fields(at time.Time, c *field.Ctx, e event.Event) []byte {
	if r.timed {
		return r.format.AppendFields(nil, c, e)
	}
	b := strconv.AppendInt([]byte(`{"evt.time":`), at.UnixNano(), 10)
	n := len(b)
	b = r.format.AppendFields(b, c, e)
	if len(b) == n+len("{}") {
		return append(b[:n], '}')
	}
	b[n] = ','
	return b
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
	p.read.Alerted(e)
	a := &output.Alert{
		Time:     time.Unix(0, int64(e.TS())+p.now),
		Rule:     r.Name,
		Priority: r.Priority,
		Source:   r.Source,
		Output:   string(r.format.Append(nil, &p.read, e)),
		Tags:     r.Tags,
		EventNum: e.Num(),
	}
	a.Fields = r.fields(a.Time, &p.read, e)
	p.Send(a)
}

// againRule is the rule that an alert about acts which were left out names.
const againRule = "Shikra internal: sensor reached again"

// tellAgain alerts about what was left out of an act on the sensor's eBPF objects that a rule alerted on.
func (p *Pipeline) tellAgain(a field.Again) {
	p.st.Again += a.More
	if p.cfg.Alert == nil || !a.Said {
		return
	}
	at := time.Unix(0, int64(a.Time)+p.now)
	fields, err := json.Marshal(map[string]any{
		"evt.time": at.UnixNano(), "evt.arg.cmd": a.Cmd, "evt.arg.object": a.Object, "evt.failed": a.Failed, "proc.pid": a.PID, "proc.name": a.Comm, "n_more": a.More,
	})
	if err != nil { // of numbers and text there is none
		p.cfg.Log.Error("an alert's fields can't be written", "err", err)
	}
	how := "succeeded"
	if a.Failed {
		how = "failed"
	}
	p.Send(&output.Alert{
		Time: at, Rule: againRule, Priority: "Warning", Source: "internal", Tags: []string{"sensor"}, Fields: fields,
		Output: fmt.Sprintf("Sensor eBPF objects reached %d times more, which %s | operation=%s object=%s process=%s pid=%d", a.More, how, a.Cmd, a.Object, a.Comm, a.PID),
	})
}

// Send gives a to where alerts go, with its id, its number, and which machine it is from. It may be called from any
// goroutine, for alerts of the sensor itself, and takes a over.
func (p *Pipeline) Send(a *output.Alert) {
	a.UUID, a.Hostname, a.Node = newUUID(), p.cfg.Hostname, p.cfg.Node
	p.sending.Lock()
	defer p.sending.Unlock()
	p.seq++
	a.Seq = p.seq
	p.cfg.Alert(a)
}

func newUUID() uuid.UUID {
	u, err := uuid.NewRandom()
	if err != nil { // the system has no randomness: an alert without an id is better than none
		return uuid.Nil
	}
	return u
}
