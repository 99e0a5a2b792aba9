package replay

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/shikra-sensor/shikra/sensor/internal/capture"
	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// converter turns captured events into records.
type converter struct {
	plans [event.NumTypes]plan
	own   map[uint16]event.Type // today's event types of system calls whose events are generic in a capture, by code
	pend  enters
	b     event.Builder
	vals  [][]byte  // of the record being made, nil for missing
	ints  [][8]byte // of the same, integers that changed their size

	enters, unpaired, cut, unknown uint64
	skipped                        [event.NumTypes]uint64
}

// plan is what is done with events of one type.
type plan struct {
	act    action
	to     event.Type
	params []source // one for each parameter of to
	nr     int      // the parameter of to that holds the system call's number, -1 for none
}

type action uint8

const (
	actSkip      action = iota // nobody makes it any more
	actMake                    // gives a record
	actMakeJSON                // gives a record of a container
	actHold                    // an enter, held for its exit
	actForget                  // an enter that tells nothing
	actMakeFinal               // gives a record, and its thread is gone
)

// source says where one parameter of a record comes from. Indices are -1 for nowhere.
type source struct {
	own, enter       int8 // parameter of the event itself, and of its enter
	to, ownT, enterT event.ParamType
}

func newConverter() *converter {
	c := &converter{own: map[uint16]event.Type{}}
	for _, sc := range event.Syscalls() {
		if sc.Exit >= event.OwnType {
			c.own[uint16(sc.Code)] = sc.Exit
		}
	}
	if err := c.compile(conversions[:]); err != nil {
		panic(err) // the table is ours, and a test compiles it
	}
	return c
}

// compile makes the plans of all types from the table and the event types' own parameters.
func (c *converter) compile(table []conversion) error {
	for _, t := range event.Types() {
		if t.Current() {
			p, err := makePlan(conversion{from: t})
			if err != nil {
				return err
			}
			c.plans[t] = p
		} else if isEnter(t) {
			c.plans[t].act = actForget
		}
	}
	most := 0
	for _, v := range table {
		p, err := makePlan(v)
		if err != nil {
			return err
		}
		c.plans[v.from] = p
		if v.enter != "" {
			c.plans[v.from-1].act = actHold
		}
	}
	for i := range c.plans {
		most = max(most, len(c.plans[i].params))
	}
	c.vals, c.ints = make([][]byte, most), make([][8]byte, most)
	return nil
}

// isEnter reports whether t is the first event of a pair.
func isEnter(t event.Type) bool { return t&1 == 0 && t.Info().Origin == event.OriginSyscall }

func makePlan(v conversion) (plan, error) {
	p := plan{act: actMake, to: v.to, nr: -1}
	if p.to == 0 {
		p.to = v.from
	}
	from, to := v.from.Info(), p.to.Info()
	if !p.to.Current() {
		return p, fmt.Errorf("conversion of %s: %s isn't made any more", v.from, p.to)
	}
	for _, q := range to.Params {
		own := from.ParamIndex(q.Name)
		s := source{own: int8(own), enter: -1, to: q.Type}
		if own >= 0 {
			s.ownT = from.Params[own].Type
		}
		p.params = append(p.params, s)
	}
	names := func(in *event.Info, list string, set func(s *source, i int)) error {
		for _, f := range strings.Fields(list) {
			name, old, ok := strings.Cut(f, "=")
			if !ok {
				old = name
			}
			i, j := to.ParamIndex(name), in.ParamIndex(old)
			if i < 0 || j < 0 {
				return fmt.Errorf("conversion of %s: no parameter %s", v.from, f)
			}
			set(&p.params[i], j)
		}
		return nil
	}
	err := names(from, v.own, func(s *source, i int) { s.own, s.ownT = int8(i), from.Params[i].Type })
	if err == nil && v.enter != "" {
		if v.from&1 == 0 || !isEnter(v.from-1) {
			return p, fmt.Errorf("conversion of %s: it has no enter", v.from)
		}
		in := (v.from - 1).Info()
		err = names(in, v.enter, func(s *source, i int) { s.enter, s.enterT = int8(i), in.Params[i].Type })
	}
	if err != nil {
		return p, err
	}
	for i, s := range p.params {
		if s.own >= 0 && !fits(s.ownT, s.to) || s.enter >= 0 && !fits(s.enterT, s.to) {
			return p, fmt.Errorf("conversion of %s: type of %s differs", v.from, to.Params[i].Name)
		}
	}
	switch p.to {
	case event.GenericX:
		p.nr = to.ParamIndex("nativeID")
	case event.ProcexitV1E:
		p.act = actMakeFinal
	}
	if v.from == event.ContainerE {
		p.act = actMakeJSON
	}
	return p, nil
}

// class says which types hold the same kind of value.
func class(t event.ParamType) int {
	switch t {
	case event.ParamCharbuf, event.ParamFspath, event.ParamFsrelpath:
		return -1
	case event.ParamIpv6addr, event.ParamDouble:
		return int(t)
	}
	if t.Size() != 0 {
		return -2 // integers
	}
	return int(t)
}

// fits reports whether a value of type from can become one of type to. The index byte of a dyn says which of several
// types its value has; it is dropped for an integer.
func fits(from, to event.ParamType) bool {
	return class(from) == class(to) || from == event.ParamDyn && class(to) == -2
}

// value turns v, of type from, into one of type to, nil for missing; an integer that changes its size goes into buf.
func value(v []byte, from, to event.ParamType, buf *[8]byte) []byte {
	size := to.Size()
	if len(v) == 0 {
		if to == event.ParamBytebuf {
			return v
		}
		return nil
	}
	if size == 0 {
		return v
	}
	if from == event.ParamDyn {
		v = v[1:]
	}
	if len(v) == size {
		return v
	}
	if size > 8 || len(v) == 0 || len(v) > 8 || len(v)&(len(v)-1) != 0 {
		return nil
	}
	n := copy(buf[:], v)
	fill := byte(0)
	if (from.Signed() || from == event.ParamDyn && to.Signed()) && v[n-1]&0x80 != 0 {
		fill = 0xFF
	}
	for i := n; i < 8; i++ {
		buf[i] = fill
	}
	return buf[:size]
}

// convert returns the record that e becomes, valid until the next call, and whether it becomes one. It allocates nothing
// but for containers of the first form and enters with values larger than any before.
func (c *converter) convert(e *capture.Event) (event.Record, bool) {
	if int(e.Type) >= event.NumTypes || !e.Type.Known() {
		c.unknown++
		return nil, false
	}
	p := &c.plans[e.Type]
	switch p.act {
	case actSkip:
		c.skipped[e.Type]++
		return nil, false
	case actHold:
		c.enters++
		c.pend.put(e)
		return nil, false
	case actForget:
		c.enters++
		c.pend.done(e.TID)
		return nil, false
	case actMakeJSON:
		return c.container(e, p), true
	}
	vals := c.vals[:len(p.params)]
	var in *enter
	looked, lacks := false, false
	for i := range p.params {
		s := &p.params[i]
		var v []byte
		has := s.own >= 0 && int(s.own) < e.NumParams()
		if has {
			v = value(e.Param(int(s.own)), s.ownT, s.to, &c.ints[i])
		}
		if v == nil && s.enter >= 0 {
			if !looked {
				in, looked = c.pend.get(e.TID, e.Type-1), true
			}
			lacks = lacks || in == nil && !has
			v = value(in.param(int(s.enter)), s.enterT, s.to, &c.ints[i])
		}
		vals[i] = v
	}
	if lacks {
		c.unpaired++
	}
	if e.Type&1 == 1 || p.act == actMakeFinal {
		c.pend.done(e.TID)
	}
	if p.to == event.GenericX && len(vals[0]) == 2 {
		if t := c.own[binary.LittleEndian.Uint16(vals[0])]; t != 0 {
			return c.ownEvent(e, t, vals[p.nr]), true
		}
	}
	return c.build(e, p, vals), true
}

// formatParams returns how many parameters events of type t have in the format; those beyond are ours.
func formatParams(t event.Type) int {
	switch t {
	case event.SyscallCloneV20X, event.SyscallClone3X:
		return 21
	case event.SyscallPrlimitX:
		return 7
	case event.SyscallPidfdGetfdX:
		return 4
	case event.SyscallDupV1X:
		return 2
	}
	return len(t.Info().Params)
}

// ownEvent makes the record of a generic event whose system call has events of type t today: nothing but that it happened is
// known of it.
func (c *converter) ownEvent(e *capture.Event, t event.Type, nr []byte) event.Record {
	b := c.b.Start(e.TS, e.TID, t).SetCPU(e.CPU)
	for range t.Info().Params {
		b.Missing()
	}
	if len(nr) == 2 {
		b.SetNR(uint32(binary.LittleEndian.Uint16(nr)))
	}
	return b.Done()
}

// build makes the record of e, of type p.to with the parameters vals.
func (c *converter) build(e *capture.Event, p *plan, vals [][]byte) event.Record {
	// Parameters of ours stand at the end, only where there is something to say.
	if n := formatParams(p.to); n < len(vals) {
		for len(vals) > n && vals[len(vals)-1] == nil {
			vals = vals[:len(vals)-1]
		}
	}
	cut := c.shorten(p, vals)
	b := c.b.Start(e.TS, e.TID, p.to).SetCPU(e.CPU)
	for _, v := range vals {
		if v == nil {
			b.Missing()
		} else {
			b.Bytes(v)
		}
	}
	if p.nr >= 0 && len(vals[p.nr]) == 2 {
		b.SetNR(uint32(binary.LittleEndian.Uint16(vals[p.nr])))
	}
	if cut == 0 {
		return b.Done()
	}
	c.cut++
	r := b.SetOrigin(wasmabi.OriginCut).Done()
	for i := range vals {
		// A string that was cut ends in NUL again.
		if v, ok := r.Param(i); ok && cut&(1<<i) != 0 && class(p.params[i].to) == -1 {
			v[len(v)-1] = 0
		}
	}
	return r
}

// shorten cuts the longest of vals until a record has room for all, and returns the bits of those it cut. What can't be
// cut goes missing.
func (c *converter) shorten(p *plan, vals [][]byte) (cut uint64) {
	for {
		over, longest := 4*len(vals)-65535, 0
		for i, v := range vals {
			over += len(v)
			if len(v) > len(vals[longest]) {
				longest = i
			}
		}
		if over <= 0 {
			return cut
		}
		v := vals[longest]
		cut |= 1 << longest
		if k := class(p.params[longest].to); k != -1 && k != int(event.ParamBytebuf) || over >= len(v) {
			vals[longest] = nil
		} else {
			vals[longest] = v[:len(v)-over]
		}
	}
}

// container makes the JSON form of a container that was described by parameters.
func (c *converter) container(e *capture.Event, p *plan) event.Record {
	str := func(i int) string {
		s, _, _ := bytes.Cut(e.Param(i), []byte{0})
		return string(s)
	}
	kind, _ := event.ParamUint32.Int(e.Param(1))
	var v struct {
		Container struct {
			ID    string `json:"id"`
			Type  int64  `json:"type"`
			Name  string `json:"name"`
			Image string `json:"image"`
		} `json:"container"`
	}
	v.Container.ID, v.Container.Type, v.Container.Name, v.Container.Image = str(0), kind, str(2), str(3)
	j, err := json.Marshal(v)
	if err != nil {
		j = nil // it has strings and a number only: it can't fail
	}
	vals := c.vals[:1]
	vals[0] = append(j, 0)
	return c.build(e, p, vals)
}
