// Package event is the vocabulary of what happened: event types, their parameters, and the bytes of one event.
//
// Types, parameter names, order and encodings are those of the .scap capture format (falcosecurity/libs 0.25, schema
// 4.5), so that evt.arg.*, captures and comparisons with other tools mean the same. events.txt and syscalls.txt are
// the source; tables_gen.go is made from them.
package event

//go:generate go run gen.go

// Type is an event type: the code of one kind of event. Odd codes are exits (and the only ones shikra makes, but for
// a few that the format numbers even, as ProcexitV1E); even codes are the enters of old captures.
type Type uint16

// Origin says where an event comes from.
type Origin uint8

// The origins of events.
const (
	OriginNone Origin = iota
	OriginSyscall
	OriginTracepoint
	OriginPlugin
	OriginMeta
	OriginIter
)

// Category groups event types by what they act on (evt.category). The io and wait values are bits over the others.
type Category uint16

// The categories, with the capture format's values (ppm_event_category).
const (
	CatUnknown    Category = 0
	CatOther      Category = 1
	CatFile       Category = 2
	CatNet        Category = 3
	CatIpc        Category = 4
	CatMemory     Category = 5
	CatProcess    Category = 6
	CatSleep      Category = 7
	CatSystem     Category = 8
	CatSignal     Category = 9
	CatUser       Category = 10
	CatTime       Category = 11
	CatProcessing Category = 12
	CatIoRead     Category = 32
	CatIoWrite    Category = 33
	CatIoOther    Category = 34
	CatWait       Category = 1 << 6
	CatScheduler  Category = 1 << 7
	CatInternal   Category = 1 << 8
)

// Flags says what an event type does.
type Flags uint16

// The flags of event types.
const (
	FlagCreatesFd     Flags = 1 << 0
	FlagDestroysFd    Flags = 1 << 1
	FlagUsesFd        Flags = 1 << 2
	FlagReadsFd       Flags = 1 << 3
	FlagWritesFd      Flags = 1 << 4
	FlagModifiesState Flags = 1 << 5
	FlagUnused        Flags = 1 << 6
	FlagWaits         Flags = 1 << 7
	FlagSkipReset     Flags = 1 << 8
	FlagOld           Flags = 1 << 9  // no sensor makes it any more: it is met in old captures only
	FlagLarge         Flags = 1 << 11 // its parameter lengths are 32-bit in a capture
	FlagConverted     Flags = 1 << 12 // an enter or an older version that replay folds into today's exit
)

// ParamType is the encoding of one parameter (ppm_param_type). Integers are little endian; a charbuf ends in NUL.
type ParamType uint8

// The parameter types, with the capture format's values.
const (
	ParamNone ParamType = iota
	ParamInt8
	ParamInt16
	ParamInt32
	ParamInt64
	ParamUint8
	ParamUint16
	ParamUint32
	ParamUint64
	ParamCharbuf   // bytes ending in NUL
	ParamBytebuf   // raw bytes
	ParamErrno     // int64; negative is an error number
	ParamSockaddr  // 1 byte family, then the address: 4 or 16 bytes IP and 2 bytes port, or a path
	ParamSocktuple // 1 byte family, then source and destination
	ParamFd        // int64
	ParamPid       // int64
	ParamFdlist    // uint16 count, then count × (int64 fd, int16 flags)
	ParamFspath    // a path as the program gave it, ending in NUL
	ParamSyscallid // uint16, a Syscall's Code
	ParamSigtype   // uint8, a signal number
	ParamReltime   // uint64 nanoseconds
	ParamAbstime   // uint64 nanoseconds since the epoch
	ParamPort      // uint16
	ParamL4proto   // uint8, an IP protocol number
	ParamSockfamily
	ParamBool // uint32
	ParamIpv4addr
	ParamDyn // 1 byte index, then a value of the type it names
	ParamFlags8
	ParamFlags16
	ParamFlags32
	ParamUid // uint32, all ones is none
	ParamGid
	ParamDouble
	ParamSigset
	ParamCharbufarray
	ParamCharbufpairarray
	ParamIpv4net
	ParamIpv6addr
	ParamIpv6net
	ParamIpaddr
	ParamIpnet
	ParamMode // uint32 file mode bits
	ParamFsrelpath
	ParamEnumflags8
	ParamEnumflags16
	ParamEnumflags32
	ParamFd32
	ParamPid32
	NumParamTypes = int(ParamPid32) + 1
)

// Format is how a numeric parameter is printed.
type Format uint8

// The print formats.
const (
	FormatNa Format = iota
	FormatDec
	FormatHex
	FormatPad10
	FormatId
	FormatDir
	FormatOct
)

// NameValue is one named flag or enum value.
type NameValue struct {
	Name  string
	Value uint32
}

// Param describes one parameter of an event type.
type Param struct {
	Name     string
	Type     ParamType
	Format   Format
	Relative bool        // Type is ParamFsrelpath: relative to the fd in parameter DirFD
	DirFD    int         // index of the directory fd's parameter
	Dynamic  bool        // Type is ParamDyn
	Table    []NameValue // names of flags or enum values, in printing order; nil for none
}

// Info describes one event type. It is shared and must not be changed.
type Info struct {
	Name     string // the event's own name, evt.type: "openat", "accept4"
	Const    string // the name of its Go constant: "SyscallOpenatV2X"
	Origin   Origin
	Category Category
	Flags    Flags
	Params   []Param
}

// Known reports whether t is in the table.
func (t Type) Known() bool { return int(t) < NumTypes && infos[t].Const != "" }

// Info returns the description of t, or a description of the unknown type when t is not in the table. The result is
// read-only and lives for ever.
func (t Type) Info() *Info {
	if !t.Known() {
		return &unknown
	}
	return &infos[t]
}

var unknown = Info{Name: "unknown", Const: "Unknown"}

// String returns the constant's name.
func (t Type) String() string { return t.Info().Const }

// ParamIndex returns the index of the parameter called name, or -1.
func (in *Info) ParamIndex(name string) int {
	for i := range in.Params {
		if in.Params[i].Name == name {
			return i
		}
	}
	return -1
}

// Types returns every known event type in order of code.
func Types() []Type {
	out := make([]Type, 0, NumTypes)
	for i := range infos {
		if infos[i].Const != "" {
			out = append(out, Type(i))
		}
	}
	return out
}

// ByName returns the event types whose own name is name and that shikra still makes (old versions and folded enters
// left out), in order of code.
func ByName(name string) []Type {
	var out []Type
	for i := range infos {
		if in := &infos[i]; in.Name == name && in.Const != "" && in.Flags&FlagOld == 0 && !Type(i).foldedEnter() {
			out = append(out, Type(i))
		}
	}
	return out
}

// TellsFiles reports whether, live, what is known of the files that an event of type t names by their fds alone comes from the
// kernel as the call ends, by a TaskFileX just before it, and not from what earlier events told of them (bpf/include/tell.h).
func (t Type) TellsFiles() bool {
	switch t {
	case SyscallFchmodX, SyscallFchmodat2X, SyscallFchownX, SyscallFchownatX, SyscallFtruncateX, SyscallFsetxattrX, SyscallFremovexattrX,
		SyscallSetxattratX, SyscallRemovexattratX, SyscallLinkatV2X, SyscallMoveMountX, SyscallSetnsX, SyscallFinitModuleX,
		SyscallOpenByHandleAtX, SyscallPidfdGetfdX, SyscallPidfdSendSignalX, SyscallProcessMadviseX:
		return true
	}
	return false
}

// foldedEnter reports whether t is an enter event that today exists only in old captures.
func (t Type) foldedEnter() bool {
	in := t.Info()
	return t&1 == 0 && in.Origin == OriginSyscall && in.Flags&FlagConverted != 0
}

// Current reports whether shikra makes events of this type for rules: known, not an old version, not the enter of a pair, not one
// that is for the state alone.
func (t Type) Current() bool {
	in := t.Info()
	return t != TaskFileX && t.Known() && in.Flags&(FlagOld|FlagUnused) == 0 && !t.foldedEnter() && in.Category != CatUnknown
}

// Arch numbers the architectures in Syscall.NR.
type Arch uint8

// The architectures with system-call numbers of their own; ArchIA32 is 32-bit code on amd64.
const (
	ArchAMD64 Arch = iota
	ArchARM64
	ArchARM
	ArchRISCV64
	ArchIA32
	numArchs
)

// Syscall describes one system call.
type Syscall struct {
	Name string
	Code int16           // the capture format's own number (ppm_sc_code), or from OwnCode on one of shikra's
	NR   [numArchs]int16 // its number on each architecture, -1 for none
	Exit Type            // the event made when it returns
}

// OwnType is the first event type that shikra gives to calls which the capture format has generic events for. A capture
// holds those in its place, and nothing in that of types that come from no system call.
const OwnType Type = 471

// OwnCode is the first Code that shikra gives to calls which the capture format has no number for. A capture holds 0, that
// of UnknownSyscall, in its place.
const OwnCode = 2000

// UnknownSyscall is the name of calls by a number that the table doesn't have. It is the table's first entry.
const UnknownSyscall = "unknown"

// Syscalls returns the table of system calls; it is shared and must not be changed.
func Syscalls() []Syscall { return syscalls[:] }

// HeavyIO reports whether t comes with every read and write (Falco's io events): a live source leaves such types out unless
// the operator asks for them.
func (t Type) HeavyIO() bool {
	c := t.Info().Category
	return c == CatIoRead || c == CatIoWrite
}
