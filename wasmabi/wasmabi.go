// Package wasmabi states what a shikra module (the guest) and the sensor (the host) share: names, limits and layouts.
//
// ABI.md is the normative text; layout.txt is the source of every offset. The package needs the standard library only.
package wasmabi

//go:generate go run gen.go

// The version of the ABI. A module exports VersionExport and imports from ImportModule; a host takes a module whose
// major is its own and whose minor is at most its own.
const (
	Major = 1
	Minor = 0

	ImportModule  = "shikra_v1"     // the module name of every import
	VersionExport = "shikra_abi_v1" // an exported function () -> i32: the minor version the module was built for
)

// What a module exports.
const (
	ExportWindow = "shikra_window" // i32 global or function () -> i32: the window's address, a multiple of WindowAlign
	ExportBatch  = "shikra_batch"  // function () -> i32: judge the batch in the window; 0 is success
)

// What a module may import. A capability that its manifest doesn't name isn't linked.
const (
	ImportAlert  = "alert"  // (event i32, rule i32): event index in the batch, rule index in the rule table
	ImportRefill = "refill" // () -> i64: more fuel, or a trap; added by the host's rewriting, never by a module
)

// The custom sections of a module.
const (
	SectionManifest = "shikra.manifest" // JSON, a Manifest
	SectionRules    = "shikra.rules"    // JSON, a RuleTable; only of modules compiled from rules
)

// WindowAlign is the alignment in bytes of the window and of every segment in it: the largest page of the boards
// shikra runs on (arm64 with 64 KiB pages).
const WindowAlign = 64 << 10

// BatchMax is the most events in one batch.
const BatchMax = 256

// MaxColumns is the most fields that a host extracts at a time, over all modules.
const MaxColumns = 128

// ColumnsOffset is where the columns start in the batch segment; PayloadOffset is where the events start.
const (
	ColumnsOffset = BatchSize
	PayloadOffset = ColumnsOffset + MaxColumns*BatchMax*CellSize
)

// MagicWord is the first word of a window.
const MagicWord = 0x574B4853

// Segment names one segment of the window.
type Segment uint32

// The segments, by their index in the directory.
const (
	SegmentBatch      Segment = iota // the event batch: always mapped
	SegmentThreads                   // thread records
	SegmentFiles                     // open files and sockets
	SegmentContainers                // containers
	SegmentStrings                   // public strings: names, paths
	SegmentPrivate                   // private strings: arguments, environment
	NumSegments
)

var segmentNames = [NumSegments]string{"batch", "threads", "files", "containers", "strings", "private"}

// String returns the name a manifest uses for s.
func (s Segment) String() string {
	if s < NumSegments {
		return segmentNames[s]
	}
	return "unknown"
}

// SegmentByName returns the segment that a manifest calls name.
func SegmentByName(name string) (Segment, bool) {
	for i, n := range segmentNames {
		if n == name {
			return Segment(i), true
		}
	}
	return 0, false
}

// The bits of event.bits.
const (
	BitOpenRead    = 1
	BitOpenWrite   = 2
	BitOpenExec    = 4
	BitOpenCreate  = 8
	BitFailed      = 16
	BitResult      = 32
	BitNameChanged = 64

	BitTargetsSensor = 128
	BitTargetsTold   = 256

	BitOpenTruncate = 512
)

// The bits of event.origin.
const (
	OriginCompat = 1 // a 32-bit call on a 64-bit kernel
	OriginCut    = 2 // at least one parameter is shorter than what the program gave

	OriginExact   = 8  // the paths are the kernel's own copies
	OriginChanged = 16 // and one of them isn't what the program's memory held when the call ended

	OriginIoUring = 32 // an operation of an io_uring, in the place of the call

	OriginOpened = 128 // device and inode are those of the file that the kernel opened
	OriginOther  = 256 // and the fd stood for another file when the call ended
	OriginReused = 512 // a close whose fd may stand for a file still, or again, when the call ended

	OriginCloexec = 1024 // exec closes the fds that the call made, of which its parameters don't say so

	OriginReaches = 2048 // what was mounted may lie where the sensor sees it: in its mount namespace, or in one from where it spreads
)

// The kinds of a cell.
const (
	CellMissing = 0
	CellInt     = 1
	CellBytes   = 2
)

// The bits of thread.flags.
const (
	ThreadMain          = 1
	ThreadExeWritable   = 2
	ThreadExeUpperLayer = 4
	ThreadExeFromMemfd  = 8
	ThreadExeLowerLayer = 16
	ThreadExited        = 32
	ThreadKernel        = 64
	ThreadNsInit        = 128
)

// The bits of file.bits.
const (
	FileClient     = 1
	FileServer     = 2
	FileConnected  = 4
	FileUpperLayer = 8
	FileLowerLayer = 16
	FileNameCut    = 32
)

// The bits of container.flags.
const (
	ContainerAnswered    = 1
	ContainerPrivileged  = 2
	ContainerHostPid     = 4
	ContainerHostNetwork = 8
	ContainerHostIpc     = 16
	ContainerSandbox     = 32
)

// Layout describes one record.
type Layout struct {
	Name   string
	Size   int // bytes
	Doc    string
	Fields []Field
}

// Field describes one field of a record.
type Field struct {
	Name   string
	Type   string // u8 u16 u32 u64 i32 i64 str pstr slot bytesN
	Offset int    // bytes from the record's start
	Size   int    // bytes
	Doc    string
}

// Manifest says what a module is and what it asks for. It stands as JSON in the custom section SectionManifest and is
// read without running code. Unknown keys are refused.
type Manifest struct {
	Name        string     `json:"name"`                   // letters, digits, '-', '_', '.'
	Version     string     `json:"version"`                // semantic version
	Description string     `json:"description,omitempty"`  // one line
	Source      string     `json:"source"`                 // event source: "syscall"
	ABIMinor    int        `json:"abi_minor"`              // the smallest minor that will do
	Events      []string   `json:"events"`                 // names of the event types it judges (evt.type), or "*"
	EventCodes  []uint16   `json:"event_codes"`            // the same as codes
	Fields      []string   `json:"fields,omitempty"`       // fields the host extracts into columns, in the module's order
	FieldEvents [][]uint16 `json:"field_events,omitempty"` // per field the event types for which it is read; none: all of EventCodes
	Segments    []string   `json:"segments,omitempty"`     // segments mapped beside the batch
	WindowSize  uint32     `json:"window_size"`            // bytes reserved at the window's address
	MemoryLimit uint32     `json:"memory_limit"`           // bytes, the window left out
	Fuel        uint64     `json:"fuel,omitempty"`         // units for one batch; 0 is the host's default
	Needs       *Needs     `json:"needs,omitempty"`        // what of its events it can use; nil: everything
}

// Needs says what of its events a module can use, so that the rest need not be captured: a host may leave out what is not
// needed, and need not. Codes are among the manifest's EventCodes.
type Needs struct {
	Syscalls   []string    `json:"syscalls,omitempty"`   // of the generic event: names of the system calls it judges, "*" for all
	Payload    []Payload   `json:"payload,omitempty"`    // events whose data (what was read, written, sent or received) it looks at
	Files      []uint16    `json:"files,omitempty"`      // codes of events by which it looks at open files that the event itself doesn't tell of
	Conditions []Condition `json:"conditions,omitempty"` // at least one of those of an event's code holds when it can use the event; none: it can use all of them
}

// Payload says that the data of events is looked at.
type Payload struct {
	Events []uint16 `json:"events"`
	Ports  []uint16 `json:"ports,omitempty"` // only of sockets with one of these ports at either end; none: of everything
}

// Condition is what must be true of an event for a module to be able to use it. All its parts must hold.
type Condition struct {
	Events []uint16 `json:"events"`
	Result string   `json:"result,omitempty"` // ResultSuccess or ResultFailure; "" for either
	Open   []string `json:"open,omitempty"`   // OpenRead, OpenWrite, OpenCreate: it was opened for one of these; none: for whatever
	Paths  *Paths   `json:"paths,omitempty"`  // what the event's path is; nil: whatever
	Ports  []uint16 `json:"ports,omitempty"`  // one of these is a port at either end of its socket; none: whatever
	Sensor bool     `json:"sensor,omitempty"` // the event acts on the sensor itself; said of events of security functions only
}

// Paths holds for a path that equals one of Equal or begins with one of Prefix; for none when both are empty. The path is
// absolute and has no component that is empty or begins with a dot; an event whose path isn't such is not judged by them, and kept.
type Paths struct {
	Equal  []string `json:"equal,omitempty"`
	Prefix []string `json:"prefix,omitempty"`
}

// The words of a Condition.
const (
	ResultSuccess = "success" // the call's result isn't negative
	ResultFailure = "failure"
	OpenRead      = "read"
	OpenWrite     = "write"
	OpenCreate    = "create" // the call may make the file
)

// RuleTable is the custom section of a module compiled from rules.
type RuleTable struct {
	Rules []Rule `json:"rules"`
}

// Rule is one rule of a RuleTable; its index is the second argument of the import alert.
type Rule struct {
	Name       string   `json:"name"`
	Desc       string   `json:"desc,omitempty"`
	Priority   string   `json:"priority"` // syslog's eight, as Falco writes them: "Emergency" … "Debug"
	Source     string   `json:"source"`
	Tags       []string `json:"tags,omitempty"`
	Output     string   `json:"output"`                // with %fields
	EventCodes []uint16 `json:"event_codes,omitempty"` // the event types it can match; none: all of the manifest's
	File       string   `json:"file"`
	Line       int      `json:"line"`
}
