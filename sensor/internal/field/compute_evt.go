package field

import (
	"bytes"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/wasmabi"
)

func computeEnum(c *Ctx, e event.Event, r *Ref, v *Value) {
	n := r.Enum
	b := c.base(e, n.Base, -1)
	if b == nil {
		return
	}
	if s := enumName(n.Names, n.Other, b[n.Offset]); s != "" {
		v.setBytes(c.text(s))
	}
}

// genericID is the index of the system call's code in a generic event, asyncName that of an async event's name.
const (
	genericID = 0
	asyncName = 1
)

// typeName returns evt.type of e: a generic event is called as its system call, an async event as it says itself.
func typeName(e event.Event) (name string, own []byte) {
	switch t := e.Type(); t {
	case event.GenericX:
		if code, ok := e.Int(genericID); ok {
			if s := syscallName(code); s != "" {
				return s, nil
			}
		}
		return "unknown", nil
	case event.AsynceventE:
		if b, ok := e.Str(asyncName); ok {
			return "", b
		}
		return "asyncevent", nil
	default:
		return t.Info().Name, nil
	}
}

func computeType(c *Ctx, e event.Event, _ *Ref, v *Value) {
	name, own := typeName(e)
	if own == nil {
		own = c.text(name)
	}
	v.setBytes(own)
}

func computeSyscallType(c *Ctx, e event.Event, r *Ref, v *Value) {
	if e.Type().Info().Origin == event.OriginSyscall {
		computeType(c, e, r, v)
	}
}

func computeTypeIs(_ *Ctx, e event.Event, r *Ref, v *Value) {
	name, own := typeName(e)
	v.setBool(name == r.Key || own != nil && string(own) == r.Key)
}

func computeDir(c *Ctx, _ event.Event, _ *Ref, v *Value) { v.setBytes(c.text("<")) }

func computeSource(c *Ctx, _ event.Event, _ *Ref, v *Value) { v.setBytes(c.text("syscall")) }

func computeHostname(c *Ctx, _ event.Event, _ *Ref, v *Value) {
	if c.Hostname != "" {
		v.setBytes(c.text(c.Hostname))
	}
}

func computeIsAsync(_ *Ctx, e event.Event, _ *Ref, v *Value) {
	v.setBool(e.Type().Info().Origin == event.OriginMeta)
}

func computeAsyncType(c *Ctx, e event.Event, r *Ref, v *Value) {
	if e.Type().Info().Origin == event.OriginMeta {
		computeType(c, e, r, v)
	}
}

var categoryNames = map[event.Category]string{
	event.CatUnknown: "unknown", event.CatOther: "other", event.CatFile: "file", event.CatNet: "net", event.CatIpc: "IPC",
	event.CatMemory: "memory", event.CatProcess: "process", event.CatSleep: "sleep", event.CatSystem: "system",
	event.CatSignal: "signal", event.CatUser: "user", event.CatTime: "time", event.CatProcessing: "processing",
	event.CatWait: "wait", event.CatScheduler: "scheduler", event.CatInternal: "internal",
}

func isIO(cat event.Category) bool {
	return cat == event.CatIoRead || cat == event.CatIoWrite || cat == event.CatIoOther
}

func computeCategory(c *Ctx, e event.Event, _ *Ref, v *Value) {
	cat := e.Type().Info().Category
	name := "unknown"
	if isIO(cat) {
		switch c.kind(e) {
		case 'f', 'd':
			name = "file"
		case '4', '6':
			name = "net"
		case 'p', 'u', 'e', 's', 'i', 'x':
			name = "ipc"
		}
	} else if n, ok := categoryNames[cat]; ok {
		name = n
	}
	v.setBytes(c.text(name))
}

// kind returns the kind of the file e acts on; 0 for none.
func (c *Ctx) kind(e event.Event) byte {
	if f := record(c.Arena.Files, e.File()); f != nil {
		return f[wasmabi.FileKind]
	}
	return 0
}

func computeRes(c *Ctx, e event.Event, _ *Ref, v *Value) {
	n, ok := e.Res()
	if !ok {
		return
	}
	if n >= 0 {
		v.setBytes(c.text("SUCCESS"))
		return
	}
	if s := errnoName(-n); s != "" {
		v.setBytes(c.text(s))
		return
	}
	c.Buf = appendNumber(c.Buf[:0], uint64(n), 8, true, event.FormatDec)
	v.setBytes(c.Buf)
}

// The classes of evt.count.error.*: by the kind of the file, else by what the call is for.
type errorClass uint8

const (
	errorOther errorClass = iota
	errorFile
	errorNet
	errorMemory
)

func (c *Ctx) errorClass(e event.Event) errorClass {
	switch c.kind(e) {
	case 'f', 'd':
		return errorFile
	case '4', '6', 'u':
		return errorNet
	case 0:
		switch e.Type() {
		case event.SyscallOpenX, event.SyscallCreatX, event.SyscallOpenatV2X, event.SyscallOpenat2X, event.SyscallOpenByHandleAtX:
			return errorFile
		case event.SocketAcceptV5X, event.SocketAccept4V6X, event.SocketConnectX:
			return errorNet
		}
	}
	if e.Type().Info().Category == event.CatMemory {
		return errorMemory
	}
	return errorOther
}

func (c *Ctx) countError(e event.Event, class errorClass, v *Value) {
	if n, ok := e.Res(); ok && c.errorClass(e) == class {
		v.setBool(n < 0)
	}
}

func computeErrorFile(c *Ctx, e event.Event, _ *Ref, v *Value)   { c.countError(e, errorFile, v) }
func computeErrorNet(c *Ctx, e event.Event, _ *Ref, v *Value)    { c.countError(e, errorNet, v) }
func computeErrorMemory(c *Ctx, e event.Event, _ *Ref, v *Value) { c.countError(e, errorMemory, v) }
func computeErrorOther(c *Ctx, e event.Event, _ *Ref, v *Value)  { c.countError(e, errorOther, v) }

func computeOne(_ *Ctx, _ event.Event, _ *Ref, v *Value) { v.setInt(1) }

func computeIODir(c *Ctx, e event.Event, _ *Ref, v *Value) {
	switch f := e.Type().Info().Flags; {
	case f&event.FlagWritesFd != 0:
		v.setBytes(c.text("write"))
	case f&event.FlagReadsFd != 0:
		v.setBytes(c.text("read"))
	}
}

func computeIsSyslog(c *Ctx, e event.Event, _ *Ref, v *Value) {
	f := record(c.Arena.Files, e.File())
	v.setBool(f != nil && e.Type().Info().Flags&event.FlagWritesFd != 0 && bytes.Contains(c.fileName(f), devLog))
}

// devLog names the system log's socket; never written.
var devLog = []byte("/dev/log")
