package pipeline

import (
	"fmt"

	"github.com/shikra-sensor/shikra/sensor/internal/arena"
	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/field"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// columns are the computed fields that modules asked for: each is extracted once per event, and only for the event types
// for which some module reads it.
type columns struct {
	refs   []field.Ref
	byText map[string]int
	byType [event.NumTypes][]uint8 // columns to fill
}

// index returns the column of a field, making one.
func (c *columns) index(text string) (int, error) {
	ref, err := field.Parse(text)
	if err != nil {
		return 0, err
	}
	if i, ok := c.byText[ref.Text]; ok {
		return i, nil
	}
	if len(c.refs) == wasmabi.MaxColumns {
		return 0, fmt.Errorf("field %s: the modules ask for more than %d computed fields", text, wasmabi.MaxColumns)
	}
	if c.byText == nil {
		c.byText = map[string]int{}
	}
	c.refs = append(c.refs, ref)
	c.byText[ref.Text] = len(c.refs) - 1
	return len(c.refs) - 1, nil
}

// use notes for which event types a module reads its fields.
func (c *columns) use(m *wasmabi.Manifest) error {
	for k, f := range m.Fields {
		i, err := c.index(f)
		if err != nil {
			return err
		}
		codes := m.EventCodes
		if k < len(m.FieldEvents) {
			codes = m.FieldEvents[k]
		}
		for _, code := range codes {
			if int(code) >= event.NumTypes {
				continue
			}
			has := false
			for _, j := range c.byType[code] {
				has = has || int(j) == i
			}
			if !has {
				c.byType[code] = append(c.byType[code], uint8(i))
			}
		}
	}
	return nil
}

// extract fills the columns of e, the last event of b.
func (c *columns) extract(ctx *field.Ctx, e event.Event, b *arena.Batch) {
	cols := c.byType[e.Type()]
	if len(cols) == 0 {
		return
	}
	i := b.Len() - 1
	for _, col := range cols {
		c.refs[col].Extract(ctx, e, b, int(col), i)
	}
}
