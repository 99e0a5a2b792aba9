package field

import (
	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/wasmabi"
)

const roleBits = wasmabi.FileClient | wasmabi.FileServer

// fdFields are the fields of the fd an event acts on that stand in a file record.
func fdFields() []*Field {
	ip := func(offset int, null bool) Read {
		return Read{Offset: offset, Width: Addr, Kinds: "46", HasNull: null, Guard: roleBits, GuardAt: wasmabi.FileBits, GuardWidth: U8}
	}
	port := func(offset int) Read {
		return Read{Offset: offset, Width: U16, Kinds: "46", HasNull: true, Guard: roleBits, GuardAt: wasmabi.FileBits, GuardWidth: U8}
	}
	name := func(p Part, kinds string) Read {
		return Read{Offset: wasmabi.FileName, Width: Str, Part: p, Kinds: kinds}
	}
	// A socket that is only bound has a server's end alone: its client address is all zeros.
	cip, sip := ip(wasmabi.FileCip, true), ip(wasmabi.FileSip, false)

	return []*Field{
		{
			Name: "fd.num", Type: Int, Events: actsOnFD,
			Read: Read{Base: Event, Offset: wasmabi.EventFd, Width: I32},
			Doc:  "Number of the fd, -1 when the event has none, 1073741824 when io_uring made it and it isn't known, or is a registered file.",
		},
		fdField("fd.typechar", String, Read{Offset: wasmabi.FileKind, Width: Char},
			"Kind of the fd as one character: f file, d directory, 4 and 6 IP sockets, u unix socket, p pipe, e event, s signalfd, l eventpoll, i inotify, t timerfd, m memfd, b bpf, n netlink, r io_uring, x userfaultfd, P pidfd, o other."),
		fdField("fd.name", String, name(Whole, ""), "Absolute path of a file, client->server of a socket, what the kernel calls it for other kinds."),
		fdField("fd.directory", String, name(Dir, "fd\x00"), "Directory a file is in; for a directory its own path."),
		fdField("fd.filename", String, name(Last, "f"), "Name of a file without its directory."),
		fdField("fd.cip", IP, cip, "Address of the client's end."),
		fdField("fd.sip", IP, sip, "Address of the server's end."),
		fdField("fd.cnet", IPNet, cip, "Address of the client's end, to be compared with networks."),
		fdField("fd.snet", IPNet, sip, "Address of the server's end, to be compared with networks."),
		fdField("fd.cport", Port, port(wasmabi.FileCport), "Port of the client's end."),
		fdField("fd.sport", Port, port(wasmabi.FileSport), "Port of the server's end."),
		either("fd.ip", IP, "fd.cip", "fd.sip", "Address of either end."),
		either("fd.net", IPNet, "fd.cnet", "fd.snet", "Address of either end, to be compared with networks."),
		either("fd.port", Port, "fd.cport", "fd.sport", "Port of either end."),
		either("fd.proto", Port, "fd.cport", "fd.sport", "Port of either end; ports are not resolved to the names of protocols."),
		fdField("fd.connected", Bool, fileBit(wasmabi.FileConnected), "Whether a socket is connected."),
		fdField("fd.is_server", Bool, fileBit(wasmabi.FileServer), "Whether the process has the server's end of the socket."),
		{
			Name: "fd.name_changed", Type: Bool, Events: actsOnFD,
			Read: eventBit(wasmabi.BitNameChanged),
			Doc:  "Whether the event changed fd.name, as sending from an unconnected socket to a new address does.",
		},
		fdField("fd.ino", Int, u64NotZero(wasmabi.FileIno), "Inode number of the file."),
		inHex(fdField("fd.dev", Int, Read{Offset: wasmabi.FileDev, Width: U32}, "Device number of the file, in the kernel's 32-bit form.")),
		fdField("fd.is_upper_layer", Bool, fileBit(wasmabi.FileUpperLayer), "Whether the file lies in the upper layer of an overlay."),
		fdField("fd.is_lower_layer", Bool, fileBit(wasmabi.FileLowerLayer), "Whether the file lies in a lower layer of an overlay."),
	}
}

func either(name string, t Type, a, b, doc string) *Field {
	return &Field{Name: name, Type: t, Events: actsOnFD, Either: []string{a, b}, Doc: doc +
		" `=`, `in` and comparisons hold when they do for one end, `!=` when no end equals."}
}

func inHex(f *Field) *Field { f.Format = event.FormatHex; return f }
