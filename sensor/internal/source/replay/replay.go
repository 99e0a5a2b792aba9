// Package replay is the event source that reads a capture and gives what the probe would have given.
//
// Old versions of events become today's. The pair of an enter and an exit event that older sensors made of one system
// call becomes the exit alone, as the probe makes it: what only the enter knew is carried over to the exit.
package replay

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/shikra-sensor/shikra/sensor/internal/capture"
	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/snapshot"
)

// Config says what to replay and where to.
type Config struct {
	Reader *capture.Reader
	Sink   snapshot.Sink // takes the state at the start; nil for nobody

	// Snapshot is called when a section's state is complete, before its first event; nil for nobody. A merged capture
	// has several sections.
	Snapshot func() error

	// Flush is called when state comes after events, before it goes to Sink: events that wait must be judged, for state
	// is about to change under them. Nil for nobody.
	Flush func() error

	// Record takes one event, which passes Check and is valid during the call. Times are wall time. An error ends the
	// replay.
	Record func(event.Record) error
}

// Report counts what a replay saw.
type Report struct {
	Events   uint64                // records handed over
	Enters   uint64                // enter events, which became part of their exits or were of no use
	Unpaired uint64                // exits that lack parameters because their enter wasn't there
	Evicted  uint64                // enters given up because too many were waiting for their exits
	Cut      uint64                // records with a parameter that was shortened to fit
	Skipped  map[event.Type]uint64 // events of types that nobody makes any more and nothing replaces, by type
	Unknown  uint64                // events of types newer than the table

	StateOnly     uint64 // of Events, those that the capture's filter had left out but for their effect on state
	SkippedBlocks uint64 // blocks of unknown types

	Sections, Threads, Files, Users, Groups, Interfaces uint64
	UnsureSockets                                       uint64 // of Files, sockets beyond maxSockets, taken for clients

	First, Last uint64 // time of the first and of the last event, ns since the epoch; 0 for none
	Machine     capture.MachineInfo
}

// Run replays the capture to its end. After an error, also one of ctx, the report says what was done until then; a
// capture that is damaged gives what can be read of it and then a *capture.Error.
func Run(ctx context.Context, c Config) (Report, error) {
	p := player{c: c, conv: newConverter()}
	p.files.sink = c.Sink
	err := p.run(ctx)
	rep := p.rep
	rep.Unpaired, rep.Evicted, rep.Cut = p.conv.unpaired, p.conv.pend.evicted, p.conv.cut
	rep.Enters, rep.Unknown, rep.UnsureSockets = p.conv.enters, p.conv.unknown, p.files.unsure
	rep.SkippedBlocks = c.Reader.Skipped()
	rep.Skipped = map[event.Type]uint64{}
	for t, n := range p.conv.skipped {
		if n > 0 {
			rep.Skipped[event.Type(t)] = n
		}
	}
	return rep, err
}

type player struct {
	c     Config
	conv  *converter
	files files
	rep   Report
	open  bool // state has come that Snapshot hasn't been called for
	late  bool // events have come since
}

// ctxEvery is how many blocks are read between looks at the context.
const ctxEvery = 256

func (p *player) run(ctx context.Context) error {
	for i := 0; ; i++ {
		if i%ctxEvery == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		b, err := p.c.Reader.Next()
		if err == io.EOF { // never wrapped: an end inside of a block is an error
			return p.start()
		}
		if err != nil {
			return errors.Join(err, p.start())
		}
		if e, ok := b.(*capture.Event); ok {
			if p.open {
				if err := p.start(); err != nil {
					return err
				}
			}
			p.late = true
			if err := p.event(e); err != nil {
				return err
			}
			continue
		}
		p.open = true
		if p.late && p.c.Flush != nil {
			if err := p.c.Flush(); err != nil {
				return fmt.Errorf("replay: state after events: %w", err)
			}
		}
		p.late = false
		p.state(b)
	}
}

// start ends the state of a section.
func (p *player) start() error {
	if !p.open {
		return nil
	}
	p.open = false
	p.files.flush()
	if p.c.Snapshot == nil {
		return nil
	}
	if err := p.c.Snapshot(); err != nil {
		return fmt.Errorf("replay: end of state: %w", err)
	}
	return nil
}

func (p *player) event(e *capture.Event) error {
	r, ok := p.conv.convert(e)
	if !ok {
		return nil
	}
	p.rep.Events++
	if p.rep.First == 0 {
		p.rep.First = e.TS
	}
	p.rep.Last = e.TS
	if e.Flags&capture.FlagStateOnly != 0 {
		p.rep.StateOnly++
	}
	return p.c.Record(r)
}

func (p *player) state(b capture.Block) {
	s := p.c.Sink
	switch b := b.(type) {
	case *capture.Section:
		p.rep.Sections++
	case *capture.MachineInfo:
		p.rep.Machine = *b
	case *capture.Interface:
		p.rep.Interfaces++
	case *capture.Thread:
		p.rep.Threads++
		if s != nil {
			markKernel(&b.Thread)
			s.AddThread(&b.Thread)
		}
	case *capture.File:
		p.rep.Files++
		if s != nil {
			p.files.add(b)
		}
	case *capture.User:
		p.rep.Users++
		if s != nil {
			s.AddUser(&b.User)
		}
	case *capture.Group:
		p.rep.Groups++
		if s != nil {
			s.AddGroup(&b.Group)
		}
	}
}
