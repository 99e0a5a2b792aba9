package pipeline

import (
	"github.com/shikra-sensor/shikra/sensor/internal/container"
	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

// Containers finds out, off the pipeline's goroutine, what runtimes say of containers (container/lookup).
type Containers interface {
	// Request asks for a container; an id is borrowed. It reports whether an answer will come.
	Request(id []byte, kind uint32, user, tid int64) bool
	// Forget says that the container is gone.
	Forget(id []byte)
	// Thread names another thread of a container, 0 for none, when an answer wants one.
	Thread(id string, tid int64)
	// Answers gives what was found.
	Answers() <-chan container.Answer
}

// takeAnswers makes an event of each answer that has come, as of time ts: the state learns of containers from events alone,
// so that a capture of them replays the same. Called between records.
func (p *Pipeline) takeAnswers(ts uint64) {
	for {
		select {
		case a, ok := <-p.answers:
			if !ok {
				p.answers = nil
				return
			}
			p.takeAnswer(ts, a)
		default:
			return
		}
	}
}

func (p *Pipeline) takeAnswer(ts uint64, a container.Answer) {
	id := string(container.Short([]byte(a.ID), a.Kind))
	for _, u := range a.Users {
		p.record(p.made.Start(ts, 0, event.UserAddedE).Int(int64(u.UID)).Int(int64(u.GID)).String(u.Name).String(u.Home).String(u.Shell).String(id).Done())
	}
	for _, g := range a.Groups {
		p.record(p.made.Start(ts, 0, event.GroupAddedE).Int(int64(g.GID)).String(g.Name).String(id).Done())
	}
	if a.Thread {
		p.cfg.Containers.Thread(a.ID, p.state.ThreadIn(a.ID))
	}
	if a.Info == nil {
		return
	}
	p.json = append(a.Info.AppendJSON(p.json[:0]), 0)
	p.record(p.made.Start(ts, p.state.ThreadIn(a.ID), event.AsynceventE).Int(0).String(container.EventAdded).Bytes(p.json).Done())
}
