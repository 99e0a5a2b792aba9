// Package field is the catalogue of fields (proc.name, fd.name, evt.arg.flags …): one table from which the checker, the
// compiler, the slow evaluator, the output formatter, `shikra fields` and the docs are made.
//
// Names, types and meanings are those of Falco's syscall fields (falcosecurity/libs 0.25), so that its rules mean the
// same here. The tables stand in catalogue_*.go, one file for each class.
package field

import (
	"time"

	"github.com/shikra-sensor/shikra/sensor/internal/arena"
	"github.com/shikra-sensor/shikra/sensor/internal/container"
	"github.com/shikra-sensor/shikra/sensor/internal/event"
)

// Type is the type of a field's value; it decides which operators it takes and how constants are read.
type Type uint8

// The types of values.
const (
	String Type = iota // bytes without NUL
	Int                // int64
	Uint               // uint64
	Bool
	IP      // 4 or 16 bytes
	IPNet   // matched by address: 4 or 16 bytes, compared with a prefix
	Port    // uint64, 0…65535
	Bytes   // raw bytes, compared with their length, NULs included
	RelTime // uint64 ns
	AbsTime // uint64 ns since the epoch
)

var typeNames = [...]string{"string", "int", "uint", "bool", "ip", "ipnet", "port", "bytes", "reltime", "abstime"}

// String returns the type's name in lower case.
func (t Type) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return "unknown"
}

// IsBytes reports whether values of t are bytes; the others are integers.
func (t Type) IsBytes() bool { return t == String || t == IP || t == IPNet || t == Bytes }

// ArgKind says what may stand in a field's brackets or after its last dot.
type ArgKind uint8

// The kinds of arguments.
const (
	ArgNone     ArgKind = iota
	ArgIndex            // proc.aname[2]: required unless Optional
	ArgKey              // proc.env[HOME], evt.arg.flags, evt.rawarg.fd
	ArgIndexKey         // evt.arg[0] or evt.arg.name
)

// Base says where a direct read starts.
type Base uint8

// The bases of a direct read. Records of slot 0 read as missing.
const (
	Computed  Base = iota // no direct read: Compute makes it, and a guest gets it as a column
	Event                 // the event's head
	Thread                // the event's thread
	Leader                // its thread's main thread: the record at thread.leader
	Parent                // the parent process of its thread: the record at thread.parent
	Ancestor              // Ref.Index 0: as Leader; n: thread.parent followed n times; -1: any of them, from the parent up, at most MaxAncestors
	File                  // the file the event acts on
	Container             // the container of its thread
)

// MaxAncestors is how many ancestors a field without an index looks at, and the largest index. A process deeper than
// that under its ancestor doesn't see it; the bound keeps a wrong or hostile chain of parents from costing more.
const MaxAncestors = 128

// Width says what stands at Offset.
type Width uint8

// The widths of a direct read, by the types of wasmabi/layout.txt. Str and PStr are string refs: 0 is missing, a string
// of no bytes is a value.
const (
	U8 Width = iota
	U16
	U32
	I32
	U64
	I64
	Str
	PStr
	Addr // bytes16 whose length follows from the file's kind: 4 for '4', 16 for '6', else missing. HasNull: 16 zero bytes are missing
	Char // u8 as a string of one byte; 0 is missing
)

// Part takes a part of a string that a direct read gave. Only fields of the file's name have one, and name_dir says
// where its last slash stands.
type Part uint8

// The parts of a file's name.
const (
	Whole Part = iota
	Dir        // the first name_dir bytes, "/" when name_dir is 0; all of the name for the kind 'd'
	Last       // what follows byte name_dir; missing unless that byte is a slash
)

// Read says how a field is read from the arena without computing anything: what the compiler turns into loads. The
// steps, in order; the first that fails makes the value missing:
//
//  1. the event's type is one of Field.Events;
//  2. the record of Base is there: its slot isn't 0 (None says otherwise);
//  3. Kinds is "" or holds the file's kind;
//  4. Guard is 0 or has a bit in common with the GuardWidth at GuardAt of the same record;
//  5. the value is loaded: Width at Offset. U8 to U32 and U64 are zero-extended, I32 and I64 sign-extended to 64 bits;
//  6. not HasNull, or the value isn't Null (for I32 compared after sign extension);
//  7. Mask not 0: the value is 1 when it has a bit in common with Mask, else 0. Then Part is taken.
type Read struct {
	Base       Base
	Offset     int
	Width      Width
	Part       Part
	Mask       uint64 // not 0: the value is a bool, whether any of these bits is set
	Null       uint64 // this bit pattern means missing, when HasNull
	HasNull    bool
	Kinds      string // File only: the file kinds for which it has a value; "" is all
	Guard      uint64 // not 0: missing unless any of these bits is set at GuardAt
	GuardAt    int    // offset in the same record
	GuardWidth Width  // U8, U16, U32 or U64
	None       string // Container only: what it reads as when the event's thread is known and its container slot is 0
}

// Enum says that a computed string depends on one byte of a record alone, so that a predicate on it can be turned into
// a set of byte values. It is a hint: reading the field as a column gives the same.
type Enum struct {
	Base   Base // File or Event; slot 0 is missing
	Offset int  // of a u8
	Names  []EnumName
	Other  string // what other values read as; "" is missing
}

// EnumName is one value of an Enum. An empty Name is missing.
type EnumName struct {
	Value uint8
	Name  string
}

// Field is one entry of the catalogue. It is shared and must not be changed.
type Field struct {
	Name     string // "proc.name"
	Type     Type
	List     bool // a list of values of Type: takes only exists, in, intersects
	Arg      ArgKind
	Optional bool // the argument may be left out
	Doc      string
	Events   func(event.Type) bool // the types for which it can have a value; nil for all
	Read     Read
	Compute  func(c *Ctx, e event.Event, r *Ref, v *Value) // set when Read.Base is Computed and Either and List are not

	// Either names the fields whose values it takes in turn: fd.ip is fd.cip and fd.sip. Each gives them in this order.
	// A test on it is made of tests on them: `!=` holds when at least one has a value and none of those equals; every
	// other operator holds when it does for one of them. Their Part, Kinds and so on are their own; Get gives the first.
	Either []string

	Enum   *Enum        // nil for most
	Format event.Format // how a number is printed: FormatDec but for FormatHex and FormatPad10

	each   func(c *Ctx, e event.Event, r *Ref, fn func(*Value) bool) // List: gives the values in turn
	arg    *Field                                                    // what a Ref with an argument reads instead, when that differs
	refs   [2]*Ref                                                   // of Either
	params *[event.NumTypes]int8                                     // evt.arg and evt.rawarg with an argument: the parameter's number by event type, -1 for none
	class  string                                                    // "evt", "process" …
	clock  bool                                                      // a time as text: in JSON it is ns since the epoch
}

// Direct reports whether f is read from the arena without computing: by Read, or by that of the fields in Either.
func (f *Field) Direct() bool { return f.Read.Base != Computed || f.Either != nil }

// Class returns the group f is listed in: "evt", "process", "fd", "user", "group", "container", "fs.path" or "fdlist".
func (f *Field) Class() string { return f.class }

// Ref is a field with its argument, as a rule or an output names it. Make one with Parse: where an argument changes how
// the field is read, Field is not the catalogue's entry but one of the same name that says so.
type Ref struct {
	*Field
	Text  string // as written, normalised: "proc.aname[2]", "evt.arg.flags"
	Key   string // ArgKey
	Index int    // ArgIndex; -1 when left out
}

// Any reports whether r stands for several values of which a test needs one to hold: proc.aname without an index.
func (r *Ref) Any() bool { return r.Read.Base == Ancestor && r.Index < 0 }

// Value is what a field gave for an event. The zero value is missing. Bytes are views that are valid until the batch is
// flushed, or until the next use of the same Ctx when the value was computed.
type Value struct {
	Kind  uint8  // wasmabi.CellMissing, CellInt, CellBytes
	Int   uint64 // CellInt: bit pattern of an integer; 0 or 1 for a bool
	Bytes []byte // CellBytes
}

// Ctx is what reading a field needs. Not safe for concurrent use: computed values share its scratch.
type Ctx struct {
	Arena    *arena.Arena
	State    State          // nil: what a field needs from it is missing
	Hostname string         // evt.hostname; "" is missing
	Sensor   *Sensor        // what it consists of; nil for no sensor, as in a replay
	Start    uint64         // ns, the first event's time, from which evt.reltime counts
	Zone     *time.Location // of evt.time and its kin; nil is time.Local
	Buf      []byte         // scratch of computed values
	told     [16]told       // see Targeting
	acts     acts           // see Targeting
	Again    func(Again)    // gets what was left out of an act on the sensor; nil for nobody

	one, many Value // scratch of AppendText and its kin, and of Each
}

// State is what a field may ask about that the event and its records don't hold. The answers are those of the moment: a
// column is extracted when its event is queued and so sees the event's own; an output is made at the flush, and may see
// what a later event of the batch changed.
type State interface {
	// OpenFile returns the slot of what fd is in the process of the thread in that slot; 0 for none.
	OpenFile(thread uint32, fd int64) uint32
	// EachFile calls fn for every open file of the thread's process until it returns false.
	EachFile(thread uint32, fn func(fd int32, file uint32) bool)
	// OpenFiles returns how many fds the thread's process has open.
	OpenFiles(thread uint32) int
	// LiveThreads returns how many threads of the thread's process haven't exited, and how many of those aren't its main one.
	LiveThreads(thread uint32) (all, others int)
	// Usage returns what the process of a thread used when it last made a clone or exec event; false when none was seen.
	Usage(thread uint32) (majorFaults, minorFaults, sizeKB, rssKB, swapKB uint64, ok bool)
	// FindThread returns the slot of the thread with that id; 0 for none.
	FindThread(tid int64) uint32
	// UserName and GroupName return the name of an id in a container (0 is the host), as a view; nil for none.
	UserName(container, uid uint32) []byte
	GroupName(container, gid uint32) []byte
	// ContainerInfo returns what the runtime said of the container in that slot; nil for nothing, and for 0.
	ContainerInfo(slot uint32) *container.Info
	// ContainerOwner returns whose the container in that slot is (container.Place), as a view; empty for the system's.
	ContainerOwner(slot uint32) []byte
}
