package state

import (
	"bytes"
	"strconv"

	"github.com/shikra-sensor/shikra/sensor/internal/snapshot"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// told is the fd that the probe told of last.
type told struct {
	entry, tab, changes uint32 // changes: of the table, so far
	fd                  int32
}

// wasTold reports whether nothing has happened in table tab since the probe told of fd there.
func (s *State) wasTold(tab uint32, fd int32) bool {
	return s.told.entry != 0 && s.told.tab == tab && s.told.fd == fd && s.told.changes == s.tabs[tab].changes && s.fdEntry(tab, fd) == s.told.entry
}

// taskFile takes what the probe says of the fd by which the thread's next event acts on a file (bpf/include/tell.h). The open
// may have been left out, or the fd come in another way that no event tells of. Where the file is known it gets the name that it has
// now, since it may have been opened by a symbolic link, or renamed: what is judged by such an event must not depend on what was left
// out before.
func (s *State) taskFile(c *call) {
	r := c.r
	fd, ok := param32(r, 0)
	if !ok || fd > maxFD || c.t == 0 {
		return
	}
	mode, dev, flags := paramFlags(r, 3), paramFlags(r, 4), paramFlags(r, 2)
	ino, _ := param64(r, 5)
	path, named := paramStr(r, 1)
	whole := named && len(path) > 0 && path[0] == '/'
	f := snapshot.File{FD: int32(fd), Kind: snapshot.PathKind(mode), OpenFlags: flags, Ino: uint64(ino), Dev: dev, Mode: mode}
	switch {
	case flags&fdUpper != 0:
		f.Bits = wasmabi.FileUpperLayer
	case flags&fdLower != 0:
		f.Bits = wasmabi.FileLowerLayer
	}
	if !whole || r.Origin()&wasmabi.OriginCut != 0 {
		f.Bits |= wasmabi.FileNameCut
	}
	switch {
	case whole:
		f.Name = string(path)
	case named: // what stands for a namespace: "net:[4026531840]"
		f.Name, f.Bits = string(path)+":["+strconv.FormatUint(uint64(ino), 10)+"]", f.Bits&^wasmabi.FileNameCut
	}
	e := s.fdEntry(s.side[c.t].tab, f.FD)
	if e == 0 || !s.sameFile(s.a.Files.Record(s.open[e>>1].slot), &f) {
		s.st.FDsTold++
		s.putFile(c.t, f.FD, &f)
		e = s.fdEntry(s.side[c.t].tab, f.FD)
	}
	tab := s.side[c.t].tab
	s.told = told{e, tab, s.tabs[tab].changes, f.FD}
	if e != 0 && whole && f.Bits&wasmabi.FileNameCut == 0 {
		s.renameOpen(e>>1, path)
	}
}

// renameOpen gives open file o the name that the kernel has for it now. What a program called it stays.
func (s *State) renameOpen(o uint32, name []byte) {
	r := s.a.Files.Record(s.open[o].slot)
	raw := s.a.Strings.Get(get32(r, wasmabi.FileName))
	if bytes.Equal(raw, name) {
		return
	}
	if ref := get32(r, wasmabi.FileNameRaw); ref != 0 {
		raw = s.a.Strings.Get(ref)
	}
	if raw = append(s.buf[:0], raw...); len(raw) == 0 { // before its owner lets it go
		raw = nil
	}
	f := s.writable(o)
	s.a.Files.Record(f)[wasmabi.FileBits] &^= wasmabi.FileNameCut
	s.setName(f, name, raw)
}
