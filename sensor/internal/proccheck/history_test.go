package proccheck

import (
	"fmt"
	"strings"
	"testing"

	"github.com/shikra-sensor/shikra/sensor/internal/decode"
	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/state"
)

// history is the last events, so that a difference can be told with those that led to it.
type history struct {
	ring []happened
	n    int
}

type happened struct {
	ts       uint64
	tid      int64
	typ      event.Type
	fd, made int32 // of the parameters, and what the state says
	res      int64
	pid      int64  // of the thread's process
	sharesFD int64  // of a clone's child: the process that it shares its fds with
	first    uint32 // of close_range
	last     uint32
}

const maxHistory = 1 << 19

func (h *history) add(r event.Record, m decode.Meta, refs state.Refs, pid int64) {
	e := happened{ts: r.TS(), tid: r.TID(), typ: r.Type(), fd: m.FD, made: refs.FD, res: m.Res, pid: pid}
	u := func(i int) uint64 {
		b, _ := r.Param(i)
		var v [8]byte
		copy(v[:], b)
		return le.Uint64(v[:])
	}
	switch e.typ {
	case event.SyscallCloneV20X, event.SyscallClone3X:
		if m.HasRes && m.Res == 0 {
			if flags := u(15); flags&1 != 0 && flags&0x2000 == 0 { // CLONE_FILES
				e.sharesFD = int64(u(5))
			}
		}
	case event.SyscallCloseRangeX:
		e.first, e.last = uint32(u(1)), uint32(u(2))
	}
	if h.ring == nil {
		h.ring = make([]happened, maxHistory)
	}
	h.ring[h.n%maxHistory] = e
	h.n++
}

// about calls fn for the events of the thing that differs, in their order: of the process, its threads, the processes that
// share its fds.
func (h *history) about(d Diff, fn func(*happened)) {
	group := map[int64]int64{}
	find := func(x int64) int64 {
		for p, ok := group[x]; ok; p, ok = group[x] {
			x = p
		}
		return x
	}
	join := func(a, b int64) {
		if a, b = find(a), find(b); a != b {
			group[a] = b
		}
	}
	each := func(fn func(e *happened)) {
		for i := max(0, h.n-maxHistory); i < h.n; i++ {
			fn(&h.ring[i%maxHistory])
		}
	}
	each(func(e *happened) {
		if e.pid > 0 {
			join(e.tid, e.pid)
		}
		if e.sharesFD > 0 && d.FD >= 0 {
			join(e.tid, e.sharesFD)
		}
	})
	whose := find(int64(d.PID))
	each(func(e *happened) {
		if find(e.tid) == whose || e.res == int64(d.TID) {
			fn(e)
		}
	})
}

// overtaken reports whether an fd that only /proc has was made by one thread while another was at closing its number, and
// that call ended last: what docs/testing.md says of such calls.
func (h *history) overtaken(d Diff) bool {
	if d.FD < 0 || d.Field != "exists" || d.Have != "no" {
		return false
	}
	var made, closed happened
	h.about(d, func(e *happened) {
		switch name := e.typ.Info().Name; {
		case name == "close" && e.fd == int32(d.FD), name == "close_range" && e.first <= uint32(d.FD) && uint32(d.FD) <= e.last:
			closed = *e
		case e.typ.Info().Flags&event.FlagCreatesFd != 0 && e.made >= 0 && (e.made == int32(d.FD) || name == "pipe2" && e.made == int32(d.FD)+1):
			made = *e
		}
	})
	return made.ts != 0 && closed.tid != made.tid && closed.ts > made.ts && closed.ts-made.ts < 1e9
}

// tell logs what happened to the thing that differs.
func (h *history) tell(t *testing.T, d Diff) {
	var lines []string
	h.about(d, func(e *happened) {
		switch name := e.typ.Info().Name; {
		case d.FD < 0:
		case e.fd == int32(d.FD) || e.made == int32(d.FD) || e.res == int64(d.FD):
		case (name == "pipe2" || name == "pipe" || name == "socketpair") && (e.made == int32(d.FD)-1 || e.made == int32(d.FD)+1):
		case name == "unshare" || name == "recvmsg" || name == "execve" || name == "procexit":
		case name == "close_range" && e.first <= uint32(d.FD) && uint32(d.FD) <= e.last:
		default:
			return
		}
		s := fmt.Sprintf("%d %d %s fd %d res %d made %d", e.ts, e.tid, e.typ.Info().Name, e.fd, e.res, e.made)
		if e.sharesFD > 0 {
			s += fmt.Sprintf(" shares the fds of %d", e.sharesFD)
		}
		lines = append(lines, s)
	})
	if n := len(lines); n > 60 {
		lines = lines[n-60:]
	}
	t.Logf("%v, after\n\t%s", d, strings.Join(lines, "\n\t"))
}
