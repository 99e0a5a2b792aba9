// Package field is the catalogue of fields (proc.name, fd.name, evt.arg.flags …): one table from which the checker, the
// compiler, the slow evaluator, the output formatter, `shikra fields` and the docs are made.
package field

import (
	"github.com/shikra-sensor/shikra/sensor/internal/arena"
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
	Bytes   // raw bytes, compared as C strings
	RelTime // uint64 ns
	AbsTime // uint64 ns since the epoch
)

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
	Leader                // its thread's main thread
	Parent                // the parent process of its thread
	Ancestor              // the n-th ancestor (argument); without an argument any ancestor, from the parent up
	File                  // the file the event acts on
	Container             // the container of its thread
)

// Width says what stands at Offset.
type Width uint8

// The widths of a direct read, by the types of wasmabi/layout.txt. Str and PStr are string refs.
const (
	U8 Width = iota
	U16
	U32
	I32
	U64
	I64
	Str
	PStr
	Addr // bytes16 whose length follows from the file's kind: 4 for '4', 16 for '6', else missing
	Char // u8 as a string of one byte; 0 is missing
)

// Part takes a part of a string that a direct read gave.
type Part uint8

// The parts of a string.
const (
	Whole Part = iota
	Dir        // before the last slash, "/" for the root (of a file's name: name_dir bytes)
	Last       // after the last slash
)

// Read says how a field is read from the arena without computing anything: what the compiler turns into loads.
type Read struct {
	Base    Base
	Offset  int
	Width   Width
	Part    Part
	Mask    uint64 // not 0: the value is a bool, whether any of these bits is set
	Null    uint64 // this bit pattern means missing, when HasNull
	Kinds   string // File only: the file kinds for which it has a value; "" is all
	HasNull bool
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
	Compute  func(c *Ctx, e event.Event, r *Ref, v *Value) // set when Read.Base is Computed
}

// Ref is a field with its argument, as a rule or an output names it.
type Ref struct {
	*Field
	Text  string // as written, normalised: "proc.aname[2]", "evt.arg.flags"
	Key   string // ArgKey
	Index int    // ArgIndex; -1 when left out
}

// Value is what a field gave for an event. The zero value is missing. Bytes are views that are valid until the batch is
// flushed, or until the next use of the same Ctx when the value was computed.
type Value struct {
	Kind  uint8  // wasmabi.CellMissing, CellInt, CellBytes
	Int   uint64 // CellInt: bit pattern of an integer; 0 or 1 for a bool
	Bytes []byte // CellBytes
}

// Ctx is what reading a field needs. Not safe for concurrent use: computed values share its scratch.
type Ctx struct {
	Arena *arena.Arena
	Buf   []byte // scratch of computed values
}
