package capture

import (
	"bufio"
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"
)

// Reader reads a capture block by block. It holds one buffer of MaxEvent bytes and, once a larger event has come,
// another of that event's size. Not safe for concurrent use.
type Reader struct {
	in  *bufio.Reader
	off int64 // bytes of the uncompressed stream behind us
	err error // what ended reading

	typ   uint32 // the block we are in
	start int64
	total uint32
	left  uint32 // bytes of a list block's body not read yet
	entry uint32 // bytes of the current entry not read yet; at most left
	list  kind   // the kind of list block we are in, kindUnknown for none
	owner int64  // whose fds a file list holds
	fail  error  // what went wrong in the current entry

	pend    int // bytes of the last event, to be skipped at the next step
	skipped uint64
	large   []byte

	section Section
	machine MachineInfo
	iface   Interface
	thread  Thread
	file    File
	user    User
	group   Group
	event   Event
}

// NewReader starts to read the capture in r, plain or gzip'ed, and reads its first block's header. An error is an *Error.
func NewReader(r io.Reader) (*Reader, error) {
	in := bufio.NewReaderSize(r, MaxEvent)
	if b, _ := in.Peek(2); len(b) == 2 && b[0] == 0x1F && b[1] == 0x8B {
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, &Error{Err: err}
		}
		in = bufio.NewReaderSize(z, MaxEvent)
	}
	c := &Reader{in: in}
	b, err := in.Peek(headerSize + 4)
	switch {
	case len(b) >= 4 && le.Uint32(b) != blockSection:
		return nil, c.wrap(ErrNotCapture)
	case len(b) == headerSize+4 && le.Uint32(b[headerSize:]) == magicOther:
		return nil, c.wrap(ErrByteOrder)
	case len(b) == headerSize+4 && le.Uint32(b[headerSize:]) != magic:
		return nil, c.wrap(ErrNotCapture)
	case len(b) < headerSize+4:
		return nil, c.wrap(short(err))
	}
	return c, nil
}

// short turns the end of the input into the error it is inside a block.
func short(err error) error {
	if err == nil || err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (r *Reader) wrap(err error) error {
	var e *Error
	if errors.As(err, &e) {
		return err
	}
	return &Error{Type: r.typ, Offset: r.start, At: r.off, Err: err}
}

// Offset returns how many bytes of the uncompressed capture are behind the last step.
func (r *Reader) Offset() int64 { return r.off + int64(r.pend) }

// Skipped returns how many blocks of unknown types were passed over.
func (r *Reader) Skipped() uint64 { return r.skipped }

// Next returns the next block or entry. At the end it returns io.EOF, and after that or an *Error the same for ever.
// Reading an event allocates nothing.
func (r *Reader) Next() (Block, error) {
	if r.err != nil {
		return nil, r.err
	}
	b, err := r.next()
	if err != nil {
		if err != io.EOF {
			err = r.wrap(err)
		}
		r.err = err
		return nil, err
	}
	return b, nil
}

func (r *Reader) next() (Block, error) {
	if r.pend > 0 {
		r.discard(r.pend)
		r.pend = 0
	}
	for {
		if r.list != kindUnknown {
			if r.left >= 4 {
				return r.next1()
			}
			r.list = kindUnknown
			if err := r.skip(r.left); err != nil { // padding
				return nil, err
			}
			if err := r.trailer(); err != nil {
				return nil, err
			}
		}
		b, err := r.in.Peek(headerSize)
		if len(b) < headerSize {
			if len(b) == 0 && err == io.EOF {
				return nil, io.EOF
			}
			r.typ, r.start = 0, r.off
			return nil, short(err)
		}
		r.typ, r.start, r.total = le.Uint32(b), r.off, le.Uint32(b[4:])
		if r.total < headerSize+trailerSize {
			return nil, ErrBlockLen
		}
		k := kindOf(r.typ)
		if k == kindEvent {
			return r.nextEvent()
		}
		r.discard(headerSize)
		r.left = r.total - headerSize - trailerSize
		r.entry, r.fail = r.left, nil
		switch k {
		case kindSection:
			return r.nextSection()
		case kindMachine:
			return r.nextMachine()
		case kindUnknown:
			if err := r.skip(r.left); err != nil {
				return nil, err
			}
			if err := r.trailer(); err != nil {
				return nil, err
			}
			r.skipped++
			continue
		case kindFiles:
			r.owner = int64(r.u64())
			if r.fail != nil {
				return nil, r.fail
			}
		}
		r.list = k
	}
}

// next1 reads one entry of the list block we are in.
func (r *Reader) next1() (Block, error) {
	r.entry, r.fail = r.left, nil
	var b Block
	switch r.list {
	case kindThreads:
		b = r.nextThread(threadsVersion(r.typ))
	case kindFiles:
		b = r.nextFile(r.typ == blockFilesV2)
	case kindUsers:
		b = r.nextUser(r.typ == blockUsersV2)
	case kindInterfaces:
		b = r.nextInterface(r.typ == blockInterfV2)
	}
	if r.fail != nil {
		return nil, r.fail
	}
	return b, nil
}

func (r *Reader) nextSection() (Block, error) {
	m := r.u32()
	r.section = Section{Major: r.u16(), Minor: r.u16()}
	r.u64() // length of the section: no writer knows it
	switch {
	case r.fail != nil:
		return nil, r.fail
	case m == magicOther:
		return nil, ErrByteOrder
	case m != magic:
		return nil, ErrNotCapture
	case r.section.Major > majorV:
		return nil, ErrVersion
	}
	return &r.section, r.rest()
}

func (r *Reader) nextMachine() (Block, error) {
	m := &r.machine
	*m = MachineInfo{CPUs: r.u32(), Memory: r.u64(), MaxPID: r.u64(), Hostname: text(r.take(128))}
	m.BootTS, m.Flags = r.u64(), r.u64()
	r.u64()
	r.u64()
	if r.fail != nil {
		return nil, r.fail
	}
	return m, r.rest()
}

// rest passes over what is left of a block that isn't a list.
func (r *Reader) rest() error {
	if err := r.skip(r.left); err != nil {
		return err
	}
	return r.trailer()
}

// trailer reads the length after a block's body.
func (r *Reader) trailer() error {
	b, err := r.in.Peek(trailerSize)
	if len(b) < trailerSize {
		return short(err)
	}
	if le.Uint32(b) != r.total {
		return ErrBlockLen
	}
	r.discard(trailerSize)
	return nil
}

// discard passes over n bytes that have been peeked at.
func (r *Reader) discard(n int) {
	d, _ := r.in.Discard(n)
	r.off += int64(d)
}

// skip passes over n bytes of the block's body.
func (r *Reader) skip(n uint32) error {
	for n > 0 {
		d, err := r.in.Discard(int(min(n, 1<<30))) // an int may have 32 bits
		r.off += int64(d)
		r.left -= uint32(d)
		n -= uint32(d)
		if err != nil {
			return short(err)
		}
	}
	return nil
}

// take returns the next n bytes of the entry, n at most MaxEvent, valid until the next read. After a failure it returns
// nil and leaves the first cause in r.fail.
func (r *Reader) take(n int) []byte {
	if r.fail != nil {
		return nil
	}
	if uint32(n) > r.entry || uint32(n) > r.left {
		r.fail = ErrEntry
		return nil
	}
	b, err := r.in.Peek(n)
	if len(b) < n {
		r.fail = short(err)
		return nil
	}
	r.discard(n)
	r.left -= uint32(n)
	r.entry -= uint32(n)
	return b
}

func (r *Reader) u8() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *Reader) u16() uint16 {
	if b := r.take(2); b != nil {
		return le.Uint16(b)
	}
	return 0
}

func (r *Reader) u32() uint32 {
	if b := r.take(4); b != nil {
		return le.Uint32(b)
	}
	return 0
}

func (r *Reader) u64() uint64 {
	if b := r.take(8); b != nil {
		return le.Uint64(b)
	}
	return 0
}

// bytes reads a 16-bit length and as many bytes.
func (r *Reader) bytes() []byte { return r.take(int(r.u16())) }

func (r *Reader) str() string { return text(r.bytes()) }

func (r *Reader) strs() []string { return texts(r.bytes()) }

// text copies b up to its first NUL.
func text(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

// texts splits b at its NULs; the last may be missing.
func texts(b []byte) []string {
	if len(b) == 0 {
		return nil
	}
	if b[len(b)-1] == 0 {
		b = b[:len(b)-1]
	}
	n := 1
	for _, c := range b {
		if c == 0 {
			n++
		}
	}
	out := make([]string, 0, n)
	at := 0
	for i, c := range b {
		if c == 0 {
			out = append(out, string(b[at:i]))
			at = i + 1
		}
	}
	return append(out, string(b[at:]))
}
