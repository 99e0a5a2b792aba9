package pipeline

import (
	"github.com/shikra-sensor/shikra/sensor/internal/container"
	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

// Containers finds out, off the pipeline's goroutine, what runtimes say of containers (container/lookup).
type Containers interface {
	// Request asks for a container by its full id and its owner (container.Place), which are borrowed. It reports whether an
	// answer will come.
	Request(id, owner []byte, kind uint32, tid int64) bool
	// Forget says that the container is gone.
	Forget(id, owner []byte)
	// Thread names another thread of a container, 0 for none, when an answer wants one.
	Thread(id, owner string, tid int64)
	// Answers gives what was found.
	Answers() <-chan container.Answer
}

// tellContainers makes an event of each answer that has come and of each container that is gone, as of time ts: the state
// learns of containers from events alone, so that a capture of them replays the same. Called between records.
func (p *Pipeline) tellContainers(ts uint64) {
	for i := 0; i < len(p.gone); i++ {
		p.tellContainer(ts, 0, container.EventRemoved, p.gone[i])
	}
	clear(p.gone)
	p.gone = p.gone[:0]
	for {
		select {
		case a := <-p.answers:
			p.takeAnswer(ts, a)
		default:
			return
		}
	}
}

func (p *Pipeline) takeAnswer(ts uint64, a container.Answer) {
	id := string(container.AppendScope(nil, []byte(a.Owner), container.Short([]byte(a.ID), a.Kind)))
	for _, u := range a.Users {
		p.record(p.made.Start(ts, 0, event.UserAddedE).Int(int64(u.UID)).Int(int64(u.GID)).String(u.Name).String(u.Home).String(u.Shell).String(id).Done())
	}
	for _, g := range a.Groups {
		p.record(p.made.Start(ts, 0, event.GroupAddedE).Int(int64(g.GID)).String(g.Name).String(id).Done())
	}
	if a.Thread {
		p.cfg.Containers.Thread(a.ID, a.Owner, p.state.ThreadIn(a.ID, a.Owner))
	}
	if a.Info != nil {
		p.tellContainer(ts, p.state.ThreadIn(a.ID, a.Owner), container.EventAdded, a.Info)
	}
}

func (p *Pipeline) tellContainer(ts uint64, tid int64, name string, in *container.Info) {
	p.json = append(in.AppendJSON(p.json[:0]), 0)
	p.record(p.made.Start(ts, tid, event.AsynceventE).Int(0).String(name).Bytes(p.json).Done())
}

// containerGone is told by the state, in the middle of a record: the event comes before the next.
func (p *Pipeline) containerGone(id, owner []byte, in *container.Info) {
	p.cfg.Containers.Forget(id, owner)
	if in != nil {
		p.gone = append(p.gone, in)
	}
}
