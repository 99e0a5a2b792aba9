package state

import (
	"strconv"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/snapshot"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// Of rare calls the probe tells, just before the event, which files they name by their fds (bpf/include/tell.h): the opens may have
// been left out, or the fds have come in ways that no event tells of. What is told is for that event alone. It changes no fd of any
// process: the call may have been made by a worker of an io_uring, in a table that isn't the thread's any more, and another thread
// may have changed the fd since.

// toldFor is for how long, in ns, what was told waits for its event, which may have been lost.
const toldFor = 1e9

// maxTold is how many files that were told of wait for their events, which come right behind; of more the oldest are forgotten.
const maxTold = 64

// toldFile is a file that the probe told of.
type toldFile struct {
	tid  int64 // 0 for none
	fd   int32
	file uint32 // its record, of which FileTs is when it was told
}

// told are the files that the probe told of.
type told struct {
	of     [maxTold]toldFile
	n, at  int        // how many, and the next place
	now    []toldFile // those of the event at hand
	nowTID int64
}

// taskFile takes what the probe tells of an fd by which the thread's next event acts on a file.
func (s *State) taskFile(r event.Record) {
	fd, ok := param32(r, 0)
	if !ok || fd > maxFD {
		return
	}
	mode, flags := paramFlags(r, 3), paramFlags(r, 2)
	ino, _ := param64(r, 5)
	path, named := paramStr(r, 1)
	sf := snapshot.File{Kind: snapshot.PathKind(mode), OpenFlags: flags, Ino: uint64(ino), Dev: paramFlags(r, 4), Mode: mode, Bits: layerBits(flags)}
	switch {
	case !named || len(path) == 0:
		sf.Bits |= wasmabi.FileNameCut
	case path[0] != '/': // what stands for a namespace: "net:[4026531840]"
		sf.Name = string(path) + ":[" + strconv.FormatUint(uint64(ino), 10) + "]"
	case sf.Kind == 'p' && len(path) == 1: // of no file system
		sf.Name = "pipe:[" + strconv.FormatUint(uint64(ino), 10) + "]"
	case r.Origin()&wasmabi.OriginCut != 0: // its end, of which no condition is to think that it is the whole
		sf.Bits |= wasmabi.FileNameCut
		sf.Name = unknownDir + string(path)
	default:
		sf.Name = string(path)
	}
	f := s.newFile()
	if f == 0 {
		s.st.FDsDropped++
		return
	}
	s.fillFile(f, &sf)
	put64(s.a.Files.Record(f), wasmabi.FileTs, r.TS())
	s.st.FDsTold++
	at := s.told.at
	for i := range s.told.of {
		if o := &s.told.of[i]; o.tid == r.TID() && o.fd == int32(fd) {
			at = i // its event was lost
		}
	}
	s.forgetTold(&s.told.of[at])
	s.told.of[at] = toldFile{r.TID(), int32(fd), f}
	s.told.n++
	if at == s.told.at {
		s.told.at = (at + 1) % maxTold
	}
}

func (s *State) forgetTold(o *toldFile) {
	if o.tid != 0 {
		s.freeFile(o.file)
		*o = toldFile{}
		s.told.n--
	}
}

// takeTold makes what was told of the thread that of its event at hand, which is of type t, and forgets that of the event before.
func (s *State) takeTold(tid int64, t event.Type) {
	for _, o := range s.told.now {
		s.freeFile(o.file)
	}
	s.told.now, s.told.nowTID = s.told.now[:0], tid
	if t == event.TaskFileX || s.told.n == 0 {
		return
	}
	for i := range s.told.of {
		o := &s.told.of[i]
		switch {
		case o.tid != tid:
			if o.tid != 0 && s.now > get64(s.a.Files.Record(o.file), wasmabi.FileTs)+toldFor {
				s.forgetTold(o)
			}
		case t.TellsFiles():
			s.told.now = append(s.told.now, *o)
			*o = toldFile{}
			s.told.n--
		default: // the event that it was told for was lost
			s.forgetTold(o)
		}
	}
}

// toldOf returns the record of the file that was told of as fd of thread t, for the event at hand; 0 for none.
func (s *State) toldOf(t uint32, fd int32) uint32 {
	for _, o := range s.told.now {
		if o.fd == fd && geti64(s.rec(t), wasmabi.ThreadTid) == s.told.nowTID {
			return o.file
		}
	}
	return 0
}

// toldNow is toldOf for what the fd stands for: what is known of one that no open made, such as a socket, is known whatever was left
// out, and goes before.
func (s *State) toldNow(t uint32, fd int32) uint32 {
	f := s.toldOf(t, fd)
	if f == 0 {
		return 0
	}
	if e := s.fdEntry(s.side[t].tab, fd); e != 0 {
		if k := s.a.Files.Record(s.open[e>>1].slot)[wasmabi.FileKind]; k != 'f' && k != 'd' && k != 0 {
			return 0
		}
	}
	return f
}

// keepTold makes the file that was told of as fd, which the event at hand made, the thread's.
func (s *State) keepTold(t uint32, fd int32) {
	for i, o := range s.told.now {
		if o.fd == fd {
			s.told.now = append(s.told.now[:i], s.told.now[i+1:]...)
			s.addFD(t, fd, o.file, get32(s.a.Files.Record(o.file), wasmabi.FileOpenFlags)&oCloexec != 0)
			return
		}
	}
}

// sameInode reports whether two records have one inode of one device.
func sameInode(a, b []byte) bool {
	return get64(a, wasmabi.FileIno) == get64(b, wasmabi.FileIno) && get32(a, wasmabi.FileDev) == get32(b, wasmabi.FileDev)
}
