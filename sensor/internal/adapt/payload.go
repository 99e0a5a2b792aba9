package adapt

import (
	"slices"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

// Payload says of which system calls' events the data is copied, and of which sockets.
type Payload struct {
	Syscalls []string // never nil; none: no data is copied at all
	Ports    []uint16 // only of sockets with one of these at either end; none: of everything
}

// MaxPorts is the most ports that Payload tells apart; when modules name more, data of all sockets is copied.
const MaxPorts = 8

// PayloadOf returns what of the selected calls' data the modules look at. A module that doesn't say looks at all of it.
func PayloadOf(modules []Module, s *Selection, everything bool) Payload {
	p := Payload{Syscalls: []string{}}
	var types [event.NumTypes]bool
	all := everything
	for i := range types {
		types[i] = everything
	}
	for _, m := range modules {
		n := m.Manifest.Needs
		if n == nil {
			all = true
			for _, c := range m.Manifest.EventCodes {
				if int(c) < len(types) {
					types[c] = true
				}
			}
			continue
		}
		for _, w := range n.Payload {
			for _, c := range w.Events {
				if int(c) < len(types) {
					types[c] = true
				}
			}
			all = all || len(w.Ports) == 0
			p.Ports = append(p.Ports, w.Ports...)
		}
	}
	for _, c := range s.Syscalls {
		if types[c.Exit] && slices.ContainsFunc(c.Exit.Info().Params, func(p event.Param) bool { return p.Type == event.ParamBytebuf && p.Name == "data" }) {
			p.Syscalls = append(p.Syscalls, c.Name)
		}
	}
	slices.Sort(p.Ports)
	if p.Ports = slices.Compact(p.Ports); all || len(p.Ports) > MaxPorts || len(p.Syscalls) == 0 {
		p.Ports = nil
	}
	return p
}
