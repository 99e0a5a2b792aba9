// Package loss notices from counts that events were lost, and decides when to react to it and what the reaction says.
//
// It touches neither kernel nor outputs: who runs it gives it counts and carries its reactions out.
package loss

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Counts are what became of events since the sensor started. Every count only grows.
type Counts struct {
	Made     uint64            // events made, those lost included
	Lost     map[string]uint64 // events lost, by cause; a cause may say "at least"
	Full     map[string]uint64 // state left out or thrown away because its table was full, by table: no event is lost
	CPUs     []uint64          // events lost, by CPU
	Syscalls map[string]uint64 // events lost, by system call
}

// Total returns the events lost.
func (c *Counts) Total() uint64 { return sum(c.Lost) }

// TotalFull returns how often a table of the state was full.
func (c *Counts) TotalFull() uint64 { return sum(c.Full) }

func sum(m map[string]uint64) (n uint64) {
	for _, v := range m {
		n += v
	}
	return n
}

// Delta is what was added to Counts in a time. The zero value is an empty one. What its maps lack is 0.
type Delta struct {
	Counts
	Took time.Duration
}

// Share returns the part of the events made that was lost, from 0 to 1.
func (d *Delta) Share() float64 {
	n := d.Total()
	if n == 0 {
		return 0
	}
	return min(float64(n)/float64(max(d.Made, n)), 1)
}

// add puts the difference of the counts at two instants into d.
func (d *Delta) add(before, after *Counts, took time.Duration) {
	d.Took += took
	d.Made += grown(before.Made, after.Made)
	addMap(&d.Lost, before.Lost, after.Lost)
	addMap(&d.Full, before.Full, after.Full)
	addMap(&d.Syscalls, before.Syscalls, after.Syscalls)
	if len(d.CPUs) < len(after.CPUs) {
		d.CPUs = append(d.CPUs, make([]uint64, len(after.CPUs)-len(d.CPUs))...)
	}
	for i, n := range after.CPUs {
		old := uint64(0)
		if i < len(before.CPUs) {
			old = before.CPUs[i]
		}
		d.CPUs[i] += grown(old, n)
	}
}

// merge adds o to d.
func (d *Delta) merge(o *Delta) {
	var none Counts
	d.add(&none, &o.Counts, o.Took)
}

func addMap(sum *map[string]uint64, before, after map[string]uint64) {
	for k, n := range after {
		if n = grown(before[k], n); n == 0 {
			continue
		}
		if *sum == nil {
			*sum = map[string]uint64{}
		}
		(*sum)[k] += n
	}
}

// grown is after - before; 0 if the counter went back, which one that is read while it is written may seem to do.
func grown(before, after uint64) uint64 {
	if after < before {
		return 0
	}
	return after - before
}

// Count is a name and how many.
type Count struct {
	Name string
	N    uint64
}

// Top returns the n largest of m, the largest first, then by name.
func Top(m map[string]uint64, n int) []Count {
	out := make([]Count, 0, len(m))
	for k, v := range m {
		if v > 0 {
			out = append(out, Count{k, v})
		}
	}
	slices.SortFunc(out, func(a, b Count) int {
		if c := cmp.Compare(b.N, a.N); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	return out[:min(n, len(out))]
}

// TopSyscalls is how many system calls a reaction names.
const TopSyscalls = 5

// String says in one line what was lost: what an alert's output is made of.
func (d *Delta) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "lost=%d made=%d share=%.2f%% seconds=%.1f", d.Total(), d.Made, 100*d.Share(), d.Took.Seconds())
	list := func(what string, cs []Count) {
		for i, c := range cs {
			if i == 0 {
				b.WriteString(" " + what + "=")
			} else {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, "%s:%d", c.Name, c.N)
		}
	}
	list("causes", Top(d.Lost, len(d.Lost)))
	list("cpus", d.byCPU())
	list("syscalls", Top(d.Syscalls, TopSyscalls))
	list("full", Top(d.Full, len(d.Full)))
	return b.String()
}

// byCPU lists the CPUs that lost events, in order.
func (d *Delta) byCPU() (out []Count) {
	for i, n := range d.CPUs {
		if n > 0 {
			out = append(out, Count{strconv.Itoa(i), n})
		}
	}
	return out
}

// AppendFields appends d as a JSON object in which every value is a number: evt.time (ns), n_evts and n_drops as Falco calls
// them, then one key for each cause, CPU, system call and table.
func (d *Delta) AppendFields(dst []byte, at time.Time) []byte {
	field := func(name string, n uint64) {
		dst = append(strconv.AppendQuote(append(dst, ','), name), ':')
		dst = strconv.AppendUint(dst, n, 10)
	}
	dst = strconv.AppendInt(append(dst, `{"evt.time":`...), at.UnixNano(), 10)
	field("n_evts", d.Made)
	field("n_drops", d.Total())
	for _, of := range []struct {
		prefix string
		counts []Count
	}{
		{"lost.cause.", Top(d.Lost, len(d.Lost))}, {"lost.cpu.", d.byCPU()},
		{"lost.syscall.", Top(d.Syscalls, TopSyscalls)}, {"full.", Top(d.Full, len(d.Full))},
	} {
		for _, c := range of.counts {
			field(of.prefix+c.Name, c.N)
		}
	}
	return append(dst, '}')
}
