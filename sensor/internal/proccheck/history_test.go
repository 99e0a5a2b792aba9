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
	pid      int64 // of a clone's child: its process and what it shares its fds with
	sharesFD int64
	first    uint32 // of close_range
	last     uint32
}

const maxHistory = 1 << 19

func (h *history) add(r event.Record, m decode.Meta, refs state.Refs) {
	e := happened{ts: r.TS(), tid: r.TID(), typ: r.Type(), fd: m.FD, made: refs.FD, res: m.Res}
	u := func(i int) uint64 {
		b, _ := r.Param(i)
		var v [8]byte
		copy(v[:], b)
		return le.Uint64(v[:])
	}
	switch e.typ {
	case event.SyscallCloneV20X, event.SyscallClone3X:
		if m.HasRes && m.Res == 0 {
			e.pid = int64(u(4))
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

// tell logs what happened to the thing that differs: to the process, its threads, the processes that share its fds.
func (h *history) tell(t *testing.T, d Diff) {
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
	var lines []string
	each(func(e *happened) {
		if find(e.tid) != whose && e.res != int64(d.TID) {
			return
		}
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
