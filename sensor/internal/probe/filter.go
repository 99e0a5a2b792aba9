package probe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/filter"
)

// The form of a set of filters in bpf/include/filter.h; a test compares it with the object's types.
type (
	cFilter struct {
		Success, Failure uint32
		Open             [4]uint32
		NoPath, NoPort   uint32
		Ports            [filter.MaxPorts]uint16
		PortWays         [filter.MaxPorts]uint32
		Args             [3]uint8
		Table            uint8
		What             uint32
	}
	cPath struct {
		Text, Mask [filter.PathBytes]byte
		Ways, _    uint32
	}
	cTable struct {
		From  [(filter.Buckets + 1 + 7) &^ 7]uint8
		Paths [filter.MaxPaths]cPath
	}
	cFilters struct {
		Of      [numSlots]uint8
		Filters [filter.MaxFilters]cFilter
		Tables  [filter.MaxTables]cTable
	}
)

// settle is how long after a change of filters no program reads the old ones any more: they run for microseconds, and are
// given as much as a CPU that a hypervisor holds back may need.
const settle = 20 * time.Millisecond

// SetFilter says which events aren't made because nobody could use them, from now on; nil makes all of them. What state
// knows of files must be whole when a set that judges opens and closes is put in force, and is never whole again until
// nil is set and the files are read anew.
func (p *Probe) SetFilter(s *filter.Set) error {
	p.filterMu.Lock()
	defer p.filterMu.Unlock()
	f := filter.Build(s)
	if isRealtime() { // a path is read into memory that a program which comes in between would use, too
		for i := range f.Filters {
			f.Filters[i].NoPath = ^uint32(0)
		}
	}
	if err := p.set("filter_on", uint32(0)); err != nil {
		return err
	}
	if p.filtering {
		p.filterOff, p.filtering, p.filters = time.Now(), false, nil
	}
	if len(f.Of) == 0 {
		return nil
	}
	time.Sleep(settle - time.Since(p.filterOff))
	if err := p.clearMarks(); err != nil {
		return err
	}
	value, err := encode(f)
	if err != nil {
		return err
	}
	if err := p.coll.Maps["filters"].Update(uint32(0), value, ebpf.UpdateAny); err != nil {
		return fmt.Errorf("write the filters: %w", err)
	}
	if err := p.set("filter_on", uint32(1)); err != nil {
		return err
	}
	p.filtering, p.filters = true, value
	return nil
}

// clearMarks makes every process one whose fds state may all know.
func (p *Probe) clearMarks() error {
	marks, marked := p.coll.Maps["marks"], p.coll.Maps["marked"]
	none := make([]byte, marks.ValueSize())
	var places []uint32
	var place, tgid uint32
	it := marked.Iterate()
	for it.Next(&place, &tgid) {
		places = append(places, place)
	}
	if err := it.Err(); err != nil {
		return fmt.Errorf("read marks: %w", err)
	}
	for _, i := range places {
		if err := marks.Update(i, none, ebpf.UpdateAny); err != nil {
			return fmt.Errorf("clear marks: %w", err)
		}
		if err := marked.Delete(i); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("delete marks: %w", err)
		}
	}
	return p.set(marksOff, uint32(0))
}

// encode writes f as bpf/include/filter.h has it.
func encode(f *filter.Form) ([]byte, error) {
	var c cFilters
	for i, sc := range event.Syscalls() {
		c.Of[i+1] = uint8(f.Of[sc.Name])
	}
	for i, x := range f.Filters {
		c.Filters[i] = cFilter{
			Success: x.Success, Failure: x.Failure, Open: x.Open, NoPath: x.NoPath, NoPort: x.NoPort, Ports: x.Ports, PortWays: x.PortWays,
			Args: [3]uint8{x.Args.Path, x.Args.Flags, x.Args.FD}, Table: x.Table, What: uint32(x.What),
		}
	}
	for i := range f.Tables {
		t := &f.Tables[i]
		copy(c.Tables[i].From[:], t.From[:])
		for k := range t.N {
			c.Tables[i].Paths[k] = cPath{Text: t.Paths[k].Text, Mask: t.Paths[k].Mask, Ways: t.Paths[k].Ways}
		}
	}
	b, err := binary.Append(nil, binary.NativeEndian, &c)
	if err != nil {
		return nil, fmt.Errorf("encode the filters: %w", err)
	}
	return b, nil
}

// filteredByName names the counts by slot.
func filteredByName(counts *[numSlots]uint64) map[string]uint64 {
	out := map[string]uint64{}
	for slot, n := range counts {
		if n > 0 {
			out[slotName(slot)] += n
		}
	}
	return out
}
