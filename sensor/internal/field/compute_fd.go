package field

import (
	"strconv"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// fdComputedFields are the fields of an fd that are made of more than one load.
func fdComputedFields() []*Field {
	file := func(name string, t Type, doc string, fn func(c *Ctx, e event.Event, f []byte, v *Value)) *Field {
		x := computed(name, t, doc, func(c *Ctx, e event.Event, _ *Ref, v *Value) {
			if f := record(c.Arena.Files, e.File()); f != nil {
				fn(c, e, f, v)
			}
		})
		x.Events = actsOnFD
		return x
	}
	enum := func(name, doc string, offset int, names []EnumName, other string) *Field {
		return &Field{Name: name, Type: String, Doc: doc, Events: actsOnFD, Enum: &Enum{Base: File, Offset: offset, Names: names, Other: other}}
	}
	dns := func(name, end string) *Field {
		f := computed(name, String, "Domain name of the "+end+" address. No value: the sensor asks no resolver.", never)
		f.Events = actsOnFD
		return f
	}
	addr := func(name string, t Type, doc string, local bool) *Field {
		return file(name, t, doc, func(c *Ctx, _ event.Event, f []byte, v *Value) {
			if client, ok := endIsClient(f, local); ok {
				setAddr(f, client, v)
			}
		})
	}
	port := func(name, doc string, local bool) *Field {
		return file(name, Port, doc, func(c *Ctx, _ event.Event, f []byte, v *Value) {
			if client, ok := endIsClient(f, local); ok {
				setPort(f, client, v)
			}
		})
	}
	// Ports as text, as Falco gives them when it doesn't resolve ports.
	proto := func(name, doc string, fn func(f []byte) (client, ok bool)) *Field {
		return file(name, String, doc+" as text; ports are not resolved to the names of protocols.", func(c *Ctx, _ event.Event, f []byte, v *Value) {
			if client, ok := fn(f); ok {
				if setPort(f, client, v); v.OK() {
					c.setDecimal(v.Int, v)
				}
			}
		})
	}
	const local, remote = true, false
	return []*Field{
		enum("fd.type", "Kind of the fd: file, directory, ipv4, ipv6, unix, pipe, event, signalfd, eventpoll, inotify, timerfd, memfd, bpf, netlink, io_uring, userfaultfd, pidfd, or the text <NA> for others.", wasmabi.FileKind, kindNames, "<NA>"),
		enum("fd.l4proto", "Protocol of a socket: tcp, udp, icmp, raw, or the text <NA> for everything else.", wasmabi.FileL4proto, protoNames, "<NA>"),
		enum("fd.sockfamily", "Family of a socket: ip or unix.", wasmabi.FileKind, familyNames, ""),
		addr("fd.lip", IP, "Address of this host's end of a connection.", local),
		addr("fd.rip", IP, "Address of the other end of a connection.", remote),
		addr("fd.lnet", IPNet, "Address of this host's end of a connection, to be compared with networks.", local),
		addr("fd.rnet", IPNet, "Address of the other end of a connection, to be compared with networks.", remote),
		port("fd.lport", "Port of this host's end of a connection.", local),
		port("fd.rport", "Port of the other end of a connection.", remote),
		proto("fd.cproto", "Client's port", func(f []byte) (bool, bool) { return true, hasRole(f) }),
		proto("fd.sproto", "Server's port", func(f []byte) (bool, bool) { return false, hasRole(f) }),
		proto("fd.lproto", "Port of this host's end", func(f []byte) (bool, bool) { return endIsClient(f, local) }),
		proto("fd.rproto", "Port of the other end", func(f []byte) (bool, bool) { return endIsClient(f, remote) }),
		dns("fd.cip.name", "client's"),
		dns("fd.sip.name", "server's"),
		dns("fd.lip.name", "local"),
		dns("fd.rip.name", "remote"),
		file("fd.nameraw", String, "Path of a file as the program gave it.", func(c *Ctx, _ event.Event, f []byte, v *Value) {
			if s := c.Arena.Strings.Get(le.Uint32(f[wasmabi.FileNameRaw:])); s != nil {
				v.setBytes(s)
			} else {
				c.setFileName(f, v)
			}
		}),
		// A device number in the kernel's 32-bit form (include/linux/kdev_t.h@v6.18, new_encode_dev).
		file("fd.dev.major", Int, "Major part of the file's device number.", func(_ *Ctx, _ event.Event, f []byte, v *Value) {
			v.setInt(uint64(le.Uint32(f[wasmabi.FileDev:])>>8) & 0xfff)
		}),
		file("fd.dev.minor", Int, "Minor part of the file's device number.", func(_ *Ctx, _ event.Event, f []byte, v *Value) {
			d := le.Uint32(f[wasmabi.FileDev:])
			v.setInt(uint64(d&0xff | d>>12&0xfff00))
		}),
		fdText("fd.uid", "Name for an fd of its own: thread id and fd number, one after the other.", func(c *Ctx, e event.Event, v *Value) {
			c.Buf = strconv.AppendInt(c.Buf[:0], e.TID(), 10)
			c.Buf = strconv.AppendInt(c.Buf, int64(e.FD()), 10)
			v.setBytes(c.Buf)
		}),
		fdText("fd.containername", "Container's id and fd.name, with a colon between.", func(c *Ctx, e event.Event, v *Value) {
			c.setWithContainer(e, Read{Offset: wasmabi.FileName, Width: Str}, v)
		}),
		fdText("fd.containerdirectory", "Container's id and fd.directory, with a colon between.", func(c *Ctx, e event.Event, v *Value) {
			c.setWithContainer(e, Read{Offset: wasmabi.FileName, Width: Str, Part: Dir, Kinds: "fd\x00"}, v)
		}),
		{
			Name: "fd.types", Type: String, List: true, Arg: ArgIndex, Optional: true, Events: actsOnFD, each: eachKind,
			Doc: "Kinds of all fds the process has open, each once, as fd.type; with a number that of one fd.",
		},
	}
}

func fdText(name, doc string, fn func(c *Ctx, e event.Event, v *Value)) *Field {
	f := computed(name, String, doc, func(c *Ctx, e event.Event, _ *Ref, v *Value) {
		if e.Thread() != 0 {
			fn(c, e, v)
		}
	})
	f.Events = actsOnFD
	return f
}

func hasRole(f []byte) bool {
	k := f[wasmabi.FileKind]
	return (k == '4' || k == '6') && f[wasmabi.FileBits]&roleBits != 0
}

// endIsClient reports whether the local (or remote) end of a connection is its client; false for what is no connection,
// such as a listening socket.
func endIsClient(f []byte, local bool) (client, ok bool) {
	if !hasRole(f) || le.Uint64(f[wasmabi.FileCip:]) == 0 && le.Uint64(f[wasmabi.FileCip+8:]) == 0 {
		return false, false
	}
	return (f[wasmabi.FileBits]&wasmabi.FileClient != 0) == local, true
}

func setAddr(f []byte, client bool, v *Value) {
	o := wasmabi.FileSip
	if client {
		o = wasmabi.FileCip
	}
	n := 4
	if f[wasmabi.FileKind] == '6' {
		n = 16
	}
	v.setBytes(f[o : o+n : o+n])
}

func setPort(f []byte, client bool, v *Value) {
	o := wasmabi.FileSport
	if client {
		o = wasmabi.FileCport
	}
	if n := le.Uint16(f[o:]); n != 0 {
		v.setInt(uint64(n))
	}
}

func (c *Ctx) setKindName(kind byte, v *Value) {
	if s := enumName(kindNames, "<NA>", kind); s != "" {
		v.setBytes(c.text(s))
	}
}

// fileKindChar returns the kind that a rendered fd shows and, for IP sockets, a letter for the protocol; 0 for none.
func fileKindChar(f []byte) (kind, proto byte) {
	if kind = f[wasmabi.FileKind]; kind == 0 {
		kind = 'o'
	}
	if kind == '4' || kind == '6' {
		if s := enumName(protoNames, "", f[wasmabi.FileL4proto]); s != "" {
			proto = s[0]
		}
	}
	return kind, proto
}

func (c *Ctx) setWithContainer(e event.Event, r Read, v *Value) {
	f := record(c.Arena.Files, e.File())
	if f == nil {
		return
	}
	if r.load(c.Arena, f, v); !v.OK() {
		return
	}
	id := []byte(nil)
	if slot := c.containerSlot(e); slot != 0 {
		id = c.Arena.Strings.Get(le.Uint32(c.Arena.Containers.Record(slot)[wasmabi.ContainerId:]))
	} else {
		c.Buf = append(c.Buf[:0], "host"...)
		id = c.Buf
	}
	c.Buf = append(c.Buf[:0], id...)
	c.Buf = append(append(c.Buf, ':'), v.Bytes...)
	v.setBytes(c.Buf)
}

func eachKind(c *Ctx, e event.Event, r *Ref, fn func(*Value) bool) {
	if r.Index >= 0 {
		if f := c.openFile(e, int64(r.Index)); f != nil {
			var v Value
			if c.setKindName(f[wasmabi.FileKind], &v); v.OK() {
				fn(&v)
			}
		}
		return
	}
	if c.State == nil || e.Thread() == 0 {
		return
	}
	var seen [256]bool
	c.State.EachFile(e.Thread(), func(_ int32, slot uint32) bool {
		f := record(c.Arena.Files, slot)
		if f == nil || seen[f[wasmabi.FileKind]] {
			return true
		}
		seen[f[wasmabi.FileKind]] = true
		var v Value
		c.setKindName(f[wasmabi.FileKind], &v)
		return !v.OK() || fn(&v)
	})
}

// fdlistFields are the fds of a poll's set.
func fdlistFields() []*Field {
	mk := func(name, what string, fn func(c *Ctx, dst []byte, fd int64, f []byte) []byte) *Field {
		x := computed(name, String, what+" of the fds in a poll's set, with commas between.", func(c *Ctx, e event.Event, _ *Ref, v *Value) {
			i := e.Type().Info().ParamIndex("fds")
			b, ok := e.Param(i)
			if !ok || e.Thread() == 0 {
				return
			}
			c.Buf = c.Buf[:0]
			for i := range fdListLen(b) {
				fd, _ := fdListAt(b, i)
				n := len(c.Buf)
				if n > 0 {
					c.Buf = append(c.Buf, ',')
				}
				m := len(c.Buf)
				if c.Buf = fn(c, c.Buf, fd, c.openFile(e, fd)); len(c.Buf) == m {
					c.Buf = c.Buf[:n]
				}
			}
			if len(c.Buf) > 0 {
				v.setBytes(c.Buf)
			}
		})
		x.Events = func(t event.Type) bool { return t == event.SyscallPollX || t == event.SyscallPpollX }
		return x
	}
	end := func(client, port bool) func(c *Ctx, dst []byte, fd int64, f []byte) []byte {
		return func(_ *Ctx, dst []byte, _ int64, f []byte) []byte {
			if f == nil || !hasRole(f) {
				return dst
			}
			if _, connected := endIsClient(f, true); client && !connected {
				return dst
			}
			var v Value
			if port {
				if setPort(f, client, &v); v.OK() {
					return strconv.AppendUint(dst, v.Int, 10)
				}
				return dst
			}
			setAddr(f, client, &v)
			return appendIP(dst, v.Bytes)
		}
	}
	return []*Field{
		mk("fdlist.nums", "Numbers", func(_ *Ctx, dst []byte, fd int64, _ []byte) []byte { return strconv.AppendInt(dst, fd, 10) }),
		mk("fdlist.names", "Names", func(c *Ctx, dst []byte, _ int64, f []byte) []byte {
			if f != nil {
				if s := c.fileName(f); len(s) > 0 {
					return append(dst, s...)
				}
			}
			return append(dst, "<NA>"...)
		}),
		mk("fdlist.cips", "Client addresses", end(true, false)),
		mk("fdlist.sips", "Server addresses", end(false, false)),
		mk("fdlist.cports", "Client ports", end(true, true)),
		mk("fdlist.sports", "Server ports", end(false, true)),
	}
}
