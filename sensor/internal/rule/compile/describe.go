package compile

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/need"
	"github.com/shikra-sensor/shikra/sensor/internal/wasm"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// fuel is what a batch may use: some hundred times what it needs, for searches in the longest command lines of many
// ancestors, which whoever wants to go unseen can arrange.
const fuel = 1_000_000_000

// describe adds the custom sections: the manifest and the table of rules.
func (m *module) describe(programs []*program, columns []string) error {
	man := wasmabi.Manifest{
		Name: m.opts.Name, Version: m.opts.Version, Description: m.opts.Description, Source: "syscall", ABIMinor: wasmabi.Minor,
		Events: []string{}, EventCodes: []uint16{}, Fields: columns, WindowSize: m.opts.WindowSize,
		MemoryLimit: m.window + wasm.PageSize, Fuel: fuel,
	}
	man.FieldEvents = append(man.FieldEvents, columnTypes(programs, len(columns))...)
	used := map[event.Type]bool{}
	for _, pr := range programs {
		for _, t := range pr.types {
			used[t] = true
		}
	}
	named := map[string]bool{}
	for _, t := range event.Types() {
		if !used[t] {
			continue
		}
		man.EventCodes = append(man.EventCodes, uint16(t))
		if n := t.Info().Name; !named[n] {
			named[n] = true
			man.Events = append(man.Events, n)
		}
	}
	types := make([]event.Type, 0, len(man.EventCodes))
	for _, c := range man.EventCodes {
		types = append(types, event.Type(c))
	}
	man.Needs = need.Of(m.rules, types)
	for s := wasmabi.SegmentBatch + 1; s < wasmabi.NumSegments; s++ {
		if m.segments[s] {
			man.Segments = append(man.Segments, s.String())
		}
	}
	table := wasmabi.RuleTable{Rules: []wasmabi.Rule{}}
	for _, r := range m.rules {
		codes := make([]uint16, 0, len(r.Types))
		for _, t := range r.Types {
			codes = append(codes, uint16(t))
		}
		table.Rules = append(table.Rules, wasmabi.Rule{
			Name: r.Name, Desc: r.Desc, Priority: r.Priority, Source: r.Source, Tags: r.Tags, Output: r.Output, EventCodes: codes,
			File: r.Pos.File, Line: r.Pos.Line,
		})
	}
	for _, x := range []struct {
		section string
		v       any
	}{{wasmabi.SectionManifest, man}, {wasmabi.SectionRules, table}} {
		b, err := json.Marshal(x.v)
		if err != nil {
			return fmt.Errorf("section %s: %w", x.section, err)
		}
		m.b.Custom(x.section, b)
	}
	return nil
}

// columnTypes returns the event types, ascending, whose programs read each column.
func columnTypes(programs []*program, columns int) [][]uint16 {
	sets := make([]map[event.Type]bool, columns)
	for i := range sets {
		sets[i] = map[event.Type]bool{}
	}
	for _, p := range programs {
		seen := map[*node]bool{}
		var walk func(n *node)
		walk = func(n *node) {
			if seen[n] {
				return
			}
			seen[n] = true
			if n.test != nil && n.test.src.kind == column {
				for _, t := range p.types {
					sets[n.test.src.column][t] = true
				}
			}
			for _, x := range n.x {
				walk(x)
			}
		}
		for _, it := range p.items {
			for _, n := range it.parts {
				walk(n)
			}
		}
	}
	out := make([][]uint16, columns)
	for i, set := range sets {
		out[i] = []uint16{}
		for t := range set {
			out[i] = append(out[i], uint16(t))
		}
		slices.Sort(out[i])
	}
	return out
}
