// Package capture reads and writes .scap files: the state of a machine and the events that followed.
//
// A capture is a row of blocks, each of them a type, its length, a body, and the length again, as in pcapng; in the byte
// order of the machine that made it, of which only little endian is read. State comes first (machine, interfaces,
// users, processes, fds), then the events. The whole may be gzip'ed. The layouts are those of falcosecurity/libs
// 0.25 (userspace/libscap/scap_savefile.h), every version since the first.
package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/snapshot"
)

// The types of blocks. Those that start with 0x80 were used before the format was published.
const (
	blockSection      = 0x0A0D0D0A
	blockMachine      = 0x201
	blockMachineOld   = 0x8002ABCD
	blockThreadsV1    = 0x202
	blockThreadsV1Old = 0x8000ABCD
	blockThreadsV2    = 0x207
	blockThreadsV2Old = 0x8013ABCD
	blockThreadsV3    = 0x209
	blockThreadsV3Old = 0x8014ABCD
	blockThreadsV4    = 0x210
	blockThreadsV5    = 0x211
	blockThreadsV6    = 0x212
	blockThreadsV7    = 0x213
	blockThreadsV8    = 0x214
	blockThreadsV9    = 0x215
	blockFiles        = 0x203
	blockFilesOld     = 0x8001ABCD
	blockFilesV2      = 0x218
	blockEvent        = 0x204
	blockEventOld     = 0x8010ABCD
	blockEventV2      = 0x216
	blockEventLarge   = 0x221
	blockInterfaces   = 0x205
	blockInterfOld    = 0x8011ABCD
	blockInterfV2     = 0x219
	blockUsers        = 0x206
	blockUsersOld     = 0x8012ABCD
	blockUsersV2      = 0x220
	blockEventF       = 0x208 // events with flags
	blockEventFV2     = 0x217
	blockEventFLarge  = 0x222
)

// Limits of what is read, in bytes. State blocks are read entry by entry and have none of their own.
const (
	MaxEvent      = 128 << 10 // an event block
	MaxLargeEvent = 16 << 20  // an event block of a type whose parameter lengths are 32-bit
)

const (
	magic       = 0x1A2B3C4D
	magicOther  = 0x4D3C2B1A // magic in the other byte order
	majorV      = 1
	minorV      = 2
	headerSize  = 8  // type, total length
	trailerSize = 4  // total length
	sectionSize = 16 // magic, major, minor, section length
	machineSize = 180
)

var le = binary.LittleEndian

// The errors that reading gives, always inside an *Error.
var (
	ErrNotCapture = errors.New("not a capture file")
	ErrByteOrder  = errors.New("capture of a big-endian machine")
	ErrVersion    = errors.New("capture of a newer major version")
	ErrBlockLen   = errors.New("block length doesn't fit")
	ErrTooLong    = errors.New("block is too long")
	ErrEntry      = errors.New("entry doesn't fit in its block")
	ErrParams     = errors.New("parameters don't fit in the event")
	ErrFdType     = errors.New("unknown type of fd")
	ErrUserType   = errors.New("neither a user nor a group")
	ErrInterface  = errors.New("unknown type of interface")
)

// Error is a failed read: which block, and where.
type Error struct {
	Type   uint32 // the block's type; 0 before the first
	Offset int64  // of the block's first byte, in bytes of the uncompressed capture
	At     int64  // how far reading had come when it failed
	Err    error
}

// Error names the block, where it starts and where reading stopped.
func (e *Error) Error() string {
	if e.Type == 0 {
		return fmt.Sprintf("capture: byte %d: %v", e.At, e.Err)
	}
	return fmt.Sprintf("capture: %s block (0x%x) at byte %d: byte %d: %v", blockName(e.Type), e.Type, e.Offset, e.At, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func blockName(t uint32) string {
	switch kindOf(t) {
	case kindSection:
		return "section"
	case kindMachine:
		return "machine"
	case kindThreads:
		return "process list"
	case kindFiles:
		return "fd list"
	case kindUsers:
		return "user list"
	case kindInterfaces:
		return "interface list"
	case kindEvent:
		return "event"
	}
	return "unknown"
}

type kind uint8

const (
	kindUnknown kind = iota
	kindSection
	kindMachine
	kindThreads
	kindFiles
	kindUsers
	kindInterfaces
	kindEvent
)

func kindOf(t uint32) kind {
	switch t {
	case blockEventV2, blockEvent, blockEventF, blockEventFV2, blockEventOld, blockEventLarge, blockEventFLarge:
		return kindEvent
	case blockFilesV2, blockFiles, blockFilesOld:
		return kindFiles
	case blockSection:
		return kindSection
	case blockMachine, blockMachineOld:
		return kindMachine
	case blockUsers, blockUsersOld, blockUsersV2:
		return kindUsers
	case blockInterfaces, blockInterfOld, blockInterfV2:
		return kindInterfaces
	}
	if threadsVersion(t) != 0 {
		return kindThreads
	}
	return kindUnknown
}

// threadsVersion returns the version of a process list block, 0 for any other block.
func threadsVersion(t uint32) int {
	switch t {
	case blockThreadsV1, blockThreadsV1Old:
		return 1
	case blockThreadsV2, blockThreadsV2Old:
		return 2
	case blockThreadsV3, blockThreadsV3Old:
		return 3
	case blockThreadsV4:
		return 4
	case blockThreadsV5:
		return 5
	case blockThreadsV6:
		return 6
	case blockThreadsV7:
		return 7
	case blockThreadsV8:
		return 8
	case blockThreadsV9:
		return 9
	}
	return 0
}

// Block is what one step of reading gives: a block, or one entry of a list block, as one of *Section, *MachineInfo,
// *Interface, *User, *Group, *Thread, *File and *Event. It belongs to the Reader and is valid until the next step.
type Block interface{ block() }

// Section starts a capture; a merged file has several.
type Section struct{ Major, Minor uint16 }

// MachineInfo describes the machine that was captured.
type MachineInfo struct {
	CPUs     uint32
	Memory   uint64 // bytes
	MaxPID   uint64
	Hostname string
	BootTS   uint64 // ns since the epoch
	Flags    uint64
}

// Interface is one address of one network interface.
type Interface struct {
	Name      string
	Addr      netip.Addr
	Mask      netip.Addr // as an address
	Broadcast netip.Addr
	Speed     uint64 // of the link; 0 for unknown
}

// Thread is one thread that was there when the capture began. CloneTS isn't in a capture.
type Thread struct {
	snapshot.Thread
	CloneFlags uint32 // bits of event's clone_flags, how it was made
}

// File is one open fd. PID is the id of the thread that the list is of. A socket has the addresses as the kernel's
// tables give them: Client is the local end and Server the remote one, whoever called. Name is empty for IP sockets.
type File struct {
	snapshot.File
	Listening bool // an IP socket without a peer: Server and SPort are its own address
}

// User is one user of the machine.
type User struct{ snapshot.User }

// Group is one group of the machine.
type Group struct{ snapshot.Group }

func (*Section) block()     {}
func (*MachineInfo) block() {}
func (*Interface) block()   {}
func (*Thread) block()      {}
func (*File) block()        {}
func (*User) block()        {}
func (*Group) block()       {}
func (*Event) block()       {}

// FlagStateOnly in Event.Flags marks an event that is there for the state it changes and was filtered out otherwise.
const FlagStateOnly = 1

// MaxParams is the most parameters of an Event that are kept; no type in the table has as many.
const MaxParams = 64

// Event is one event as it was captured: any version of its type, enter or exit.
type Event struct {
	TS    uint64 // ns since the epoch
	TID   int64
	Type  event.Type // may be newer than the table, then it has no parameters
	CPU   uint16
	Flags uint32 // FlagStateOnly and others

	n      int
	params [MaxParams][]byte
}

// NumParams returns how many parameters it has.
func (e *Event) NumParams() int { return e.n }

// Param returns parameter i, which belongs to the Reader; nil when there is none. A parameter of no bytes is how the
// format says that a value is missing, but for bytebufs.
func (e *Event) Param(i int) []byte {
	if uint(i) >= uint(e.n) {
		return nil
	}
	return e.params[i]
}

// SetParams sets the parameters, which are kept as they are; more than MaxParams are left out.
func (e *Event) SetParams(p ...[]byte) {
	e.n = copy(e.params[:], p)
}
