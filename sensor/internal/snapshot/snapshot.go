// Package snapshot is what was there before the first event: threads, open files, users and groups, as a source read them
// from BPF iterators, /proc or a capture's state blocks.
package snapshot

import "golang.org/x/sys/unix"

// Thread is one thread. Times are ns in the clock of the source's events; strings are without NUL.
type Thread struct {
	TID, PID, PTID       int64 // PTID is the parent process's id
	VTID, VPID           int64 // in its own pid namespace; 0 for unknown
	PGID, VPGID, SID     int64
	UID, GID             uint32
	LoginUID             uint32 // all ones for none
	TTY                  uint32
	Flags                uint32 // wasmabi.Thread* bits
	Comm, Exe, ExePath   string
	Cwd, Root            string
	Args, Env            []string // Args without argv[0]
	Cgroups              []string // "subsystem=path"
	CloneTS, PidnsInitTS uint64
	ExeIno               uint64
	ExeCtime, ExeMtime   uint64 // ns since the epoch
	CapPermitted         uint64
	CapEffective         uint64
	CapInheritable       uint64
	FDLimit              int64
	Files, Dirs          uint64 // the same for threads that share their fds (CLONE_FILES), and their directories (CLONE_FS); 0 for unknown
	SharesFiles          bool   // not a main thread and its fd table is the main thread's (the usual case)
	Exiting              bool   // in exit, or past it: its memory, files and directories are gone or going
	Exited               bool   // past it, a main thread whose process lives in others
}

// File is one fd of one process.
type File struct {
	PID       int64 // the process that has it
	FD        int32
	Kind      byte // fd.typechar, as wasmabi's file.kind
	Name      string
	OpenFlags uint32 // the event format's O_ bits
	Ino       uint64
	Dev       uint32
	Mode      uint32
	Family    uint8
	L4Proto   uint8
	Bits      uint8    // wasmabi.File* bits
	Client    [16]byte // address; 4 bytes for IPv4
	Server    [16]byte
	CPort     uint16
	SPort     uint16
}

// User is one entry of the users database.
type User struct {
	UID, GID          uint32
	Name, Home, Shell string
	Container         string // container.AppendScope of the container it is of; "" is the host
}

// Group is one entry of the groups database.
type Group struct {
	GID       uint32
	Name      string
	Container string
}

// PathKind returns the kind of a file that has a path, by its mode.
func PathKind(mode uint32) byte {
	switch mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return 'd'
	case unix.S_IFIFO:
		return 'p'
	case unix.S_IFREG, unix.S_IFCHR, unix.S_IFBLK, unix.S_IFLNK, unix.S_IFSOCK:
		return 'f'
	}
	return 'o'
}

// Sink takes a snapshot. Values are borrowed for the call.
type Sink interface {
	AddThread(*Thread)
	AddFile(*File)
	AddUser(*User)
	AddGroup(*Group)
}

// FileAsk asks what an fd is that no event told of, or whether it is still what events told.
type FileAsk struct {
	PID    int64
	Other  int64 // another process that has the same fds, 0 for none: PID may have ended before somebody looks
	FD     int32
	TS     uint64 // ns, when it came to be: tells the fd from others that have the number later; 0 for one that isn't known
	Silent bool   // with Again: it will be closed without a word, if it isn't yet; there may be a second answer then
	Again  bool   // what it is is known, if it is still that: that it is closed is an answer too, a File whose FD is -1

	Changes uint32 // how often the process's fds had changed
	Tries   uint8  // how often it may be asked again, when they have changed meanwhile
}

// Taken is a snapshot kept as a whole, for a state that already stands to be compared with. It is a Sink that leaves users
// and groups out.
type Taken struct {
	Threads []Thread
	Files   []File

	// What a limit left out makes no difference: without these nothing is removed from the state.
	AllThreads bool // every thread there was is in Threads
	AllFiles   bool // every open file of every process is in Files, but for PerProcess
	PerProcess int  // of a process with so many files the rest is missing; 0 for no such limit
}

var _ Sink = (*Taken)(nil)

// AddThread implements Sink.
func (k *Taken) AddThread(t *Thread) { k.Threads = append(k.Threads, *t) }

// AddFile implements Sink.
func (k *Taken) AddFile(f *File) { k.Files = append(k.Files, *f) }

// AddUser implements Sink.
func (k *Taken) AddUser(*User) {}

// AddGroup implements Sink.
func (k *Taken) AddGroup(*Group) {}
