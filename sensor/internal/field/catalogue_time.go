package field

import (
	"time"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

// evtTimeFields are the times of an event. Live events carry boot time; wall time is that plus the batch's offset.
func evtTimeFields() []*Field {
	clock := func(name, doc, layout string, utc bool) *Field {
		f := computed(name, String, doc, func(c *Ctx, e event.Event, _ *Ref, v *Value) {
			t := time.Unix(0, c.wall(e))
			if utc {
				t = t.UTC()
			} else if c.Zone != nil {
				t = t.In(c.Zone)
			}
			c.Buf = t.AppendFormat(c.Buf[:0], layout)
			v.setBytes(c.Buf)
		})
		f.clock = true
		return f
	}
	number := func(name string, t Type, doc string, f event.Format, fn func(c *Ctx, e event.Event) uint64) *Field {
		x := computed(name, t, doc, func(c *Ctx, e event.Event, _ *Ref, v *Value) { v.setInt(fn(c, e)) })
		x.Format = f
		return x
	}
	raw := func(c *Ctx, e event.Event) uint64 { return uint64(c.wall(e)) }
	rel := func(c *Ctx, e event.Event) uint64 {
		if e.TS() < c.Start {
			return 0
		}
		return e.TS() - c.Start
	}
	const second = uint64(time.Second)
	return []*Field{
		clock("evt.time", "Local time of the event with nanoseconds: 15:04:05.000000000.", "15:04:05.000000000", false),
		clock("evt.time.s", "Local time of the event: 15:04:05.", "15:04:05", false),
		clock("evt.time.iso8601", "UTC time of the event with date, nanoseconds and offset: 2006-01-02T15:04:05.000000000+0000.", "2006-01-02T15:04:05.000000000-0700", true),
		clock("evt.datetime", "Local date and time of the event with nanoseconds.", "2006-01-02 15:04:05.000000000", false),
		clock("evt.datetime.s", "Local date and time of the event.", "2006-01-02 15:04:05", false),
		clock("evt.outputtime", "The same as evt.time.", "15:04:05.000000000", false),
		number("evt.rawtime", AbsTime, "Time of the event in ns since the epoch.", event.FormatDec, raw),
		number("evt.rawtime.s", AbsTime, "Whole seconds of evt.rawtime.", event.FormatDec, func(c *Ctx, e event.Event) uint64 { return raw(c, e) / second }),
		number("evt.rawtime.ns", AbsTime, "Nanoseconds of evt.rawtime within its second.", event.FormatPad10, func(c *Ctx, e event.Event) uint64 { return raw(c, e) % second }),
		number("evt.reltime", RelTime, "Time since the first event in ns.", event.FormatPad10, rel),
		number("evt.reltime.s", RelTime, "Whole seconds of evt.reltime.", event.FormatDec, func(c *Ctx, e event.Event) uint64 { return rel(c, e) / second }),
		number("evt.reltime.ns", RelTime, "Nanoseconds of evt.reltime within its second.", event.FormatPad10, func(c *Ctx, e event.Event) uint64 { return rel(c, e) % second }),
	}
}

// wall returns the wall time of e in ns since the epoch.
func (c *Ctx) wall(e event.Event) int64 { return int64(e.TS()) + c.Arena.Batch.WallOffset() }

// wallOf returns the wall time of a time in the events' clock.
func (c *Ctx) wallOf(ts uint64) uint64 { return uint64(int64(ts) + c.Arena.Batch.WallOffset()) }

// appendDateZone appends ns since the epoch as local date and time with its zone.
func (c *Ctx) appendDateZone(dst []byte, ns int64) []byte {
	t := time.Unix(0, ns)
	if c.Zone != nil {
		t = t.In(c.Zone)
	}
	return t.AppendFormat(dst, "2006-01-02 15:04:05.000000000 -0700")
}
