package field

import (
	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// againLasts is for how long, in ns, from the first of them on, like acts on the sensor's eBPF objects are one: listing all objects of
// the machine is over a thousand calls in some milliseconds.
const againLasts = 5e9

// An act is what a process did to the sensor's eBPF objects: acts are alike when the same process, which hasn't become another
// program meanwhile, gave the same command about the same kind of object, with success or without as before. Another command, or the
// first that succeeds, is another act.
type act struct {
	pid    int64
	since  uint64 // ns: when the process was made or called exec last; 0 for unknown
	cmd    int64  // of bpf
	kind   uint8  // of its object
	failed bool
}

// acts are the last kinds of act that were told of. It is as long as it is: when it is full the oldest makes place, and
// its like is told of anew.
type acts [32]struct {
	act
	ts   uint64 // ns: of the first; 0 for none
	num  uint64 // of the first one's event
	said bool   // some rule alerted on it
	more uint64 // times since
	comm string
}

// Again is what was left out of an act on the sensor's eBPF objects that was told of.
type Again struct {
	Time   uint64 // ns, the event's clock: when it was told of
	Said   bool   // a rule alerted on that
	PID    int64
	Comm   string
	Cmd    string // of bpf, as evt.arg.cmd has it
	Object string // the kind
	Failed bool
	More   uint64 // times since, not counting the one that was told of
}

// isAgain reports whether e, an act of thread t (nil for unknown) on a BPF object of the sensor's that parameter p names, is
// one of a kind that was told of just before, and notes it.
func (c *Ctx) isAgain(e event.Event, t []byte, p int) bool {
	cmd, _ := e.Int(e.Type().Info().ParamIndex("cmd"))
	kind, _ := e.Int(p)
	res, ok := e.Res()
	a := act{pid: e.TID(), cmd: cmd, kind: uint8(kind), failed: ok && res < 0}
	if t != nil {
		a.pid = int64(le.Uint64(t[wasmabi.ThreadPid:]))
		if l := record(c.Arena.Threads, le.Uint32(t[wasmabi.ThreadLeader:])); l != nil {
			a.since = max(le.Uint64(l[wasmabi.ThreadCloneTs:]), le.Uint64(l[wasmabi.ThreadExecTs:]))
		}
	}
	c.EndAgain(e.TS())
	at := 0
	for i := range c.acts {
		x := &c.acts[i]
		if x.ts != 0 && x.act == a {
			x.more++
			return true
		}
		if x.ts < c.acts[at].ts {
			at = i
		}
	}
	c.endAct(at)
	x := &c.acts[at]
	x.act, x.ts, x.num = a, max(e.TS(), 1), e.Num()
	if t != nil {
		x.comm = string(c.threadComm(t))
	}
	return false
}

// Alerted notes that a rule alerted on event e.
func (c *Ctx) Alerted(e event.Event) {
	if e.Type() != event.SyscallBpfV2X {
		return
	}
	for i := range c.acts {
		if x := &c.acts[i]; x.ts != 0 && x.num == e.Num() {
			x.said = true
		}
	}
}

// EndAgain has Again called for what is over at ts, ns: likes of it will be told of anew. Call it now and then.
func (c *Ctx) EndAgain(ts uint64) {
	for i := range c.acts {
		if x := &c.acts[i]; x.ts != 0 && ts >= x.ts+againLasts {
			c.endAct(i)
		}
	}
}

func (c *Ctx) endAct(i int) {
	x := &c.acts[i]
	if x.ts != 0 && x.more > 0 && c.Again != nil {
		in := event.SyscallBpfV2X.Info()
		c.Again(Again{
			Time: x.ts, Said: x.said, PID: x.pid, Comm: x.comm, Failed: x.failed, More: x.more,
			Cmd:    string(appendEnum(nil, in.Params[in.ParamIndex("cmd")].Table, uint32(x.cmd))),
			Object: string(appendEnum(nil, in.Params[in.ParamIndex("object")].Table, uint32(x.kind))),
		})
	}
	*x = acts{}[0]
}
