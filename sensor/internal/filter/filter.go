// Package filter is what the probe judges events by before they are made: the ways in which somebody could use them, put
// into the bounded form that the kernel's side reads, and the same judgement in Go.
package filter

// Set says how the events of some system calls are judged. Those of a call that it doesn't name are all made. A nil Set
// judges nothing.
type Set struct {
	Calls []Call
}

// Len returns how many calls are judged.
func (s *Set) Len() int {
	if s == nil {
		return 0
	}
	return len(s.Calls)
}

// Call says when the event of a system call is made: when it fits one of Ways. Without one, never.
type Call struct {
	Name string
	Ways []Way
	Args Args
	What What
}

// Way is one way of use. All its parts must fit.
type Way struct {
	Result uint8    // Success, Failure or both
	Open   uint8    // any of Read, Write and Create that it was opened for; 0: whatever
	Paths  []Path   // one of these; nil: whatever
	Ports  []uint16 // one of these is a port at either end of its stream socket; nil: whatever
}

// Path is what a path equals or, unless Exact, begins with.
type Path struct {
	Text  string
	Exact bool
}

// The outcomes of a call.
const (
	Success = 1
	Failure = 2
)

// What a file is opened for.
const (
	Read   = 1
	Write  = 2
	Create = 4
)

// Args says which arguments of a call are judged, from 0; NoArg for none.
type Args struct{ Path, Flags, FD uint8 }

// NoArg stands for an argument that a call doesn't have.
const NoArg = 0xFF

// What says what else the probe does as a call ends.
type What uint32

// The bits of What, as in bpf/include/filter.h.
const (
	Opens   What = 1 << iota // an open without use is made all the same when it opened a directory
	Marks                    // the result is an fd that state knows from now on
	Pair                     // the call fills an array of two such fds, which argument Args.FD points to
	Fcntl                    // the result is such an fd when the call duplicated one
	Close                    // closes of fds that state doesn't know aren't made
	Unshare                  // by its flags, argument Args.FD, fds of one process may be those of one thread from now on; always with NoArg
)

// The bounds of the form, as in bpf/include/filter.h.
const (
	MaxFilters = 32
	MaxTables  = 4
	MaxPaths   = 64 // of a table
	Buckets    = 32 // of a table
	MaxWays    = 32
	MaxPorts   = 8
	PathBytes  = 32  // by which paths are compared
	MaxPath    = 256 // bytes with the NUL: longer paths aren't judged
)

// Form is a Set as the probe reads it.
type Form struct {
	Of      map[string]int // the index in Filters of the calls that are judged
	Filters []Filter       // the first lets everything pass
	Tables  []Table
}

// Filter judges some calls. The sets of ways are a bit each.
type Filter struct {
	Success, Failure uint32
	Open             [4]uint32 // take any open; one to Read, to Write, to Create
	NoPath, NoPort   uint32    // take any path, any socket
	Ports            [MaxPorts]uint16
	PortWays         [MaxPorts]uint32
	Args             Args
	Table            uint8
	What             What
}

// Table is a list of paths. Those whose first letter, modulo Buckets, is b are From[b] and those after it, up to From[b+1].
type Table struct {
	N     int
	From  [Buckets + 1]uint8
	Paths [MaxPaths]Entry
}

// Entry is a path as it is compared: its first bytes, of which those that Mask has must be the same.
type Entry struct {
	Text, Mask [PathBytes]byte
	Ways       uint32
}
