package field

import (
	"encoding/binary"

	"github.com/shikra-sensor/shikra/sensor/internal/arena"
	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/wasmabi"
)

var le = binary.LittleEndian

func (v *Value) setInt(n uint64) { v.Kind, v.Int, v.Bytes = wasmabi.CellInt, n, nil }

func (v *Value) setBool(b bool) {
	v.setInt(0)
	if b {
		v.Int = 1
	}
}

func (v *Value) setBytes(b []byte) { v.Kind, v.Int, v.Bytes = wasmabi.CellBytes, 0, b }

// OK reports whether v is not missing.
func (v *Value) OK() bool { return v.Kind != wasmabi.CellMissing }

// Get sets v to what r reads for e. A Ref that stands for several values (Any, Either, List) gives the first that is
// there.
func (r *Ref) Get(c *Ctx, e event.Event, v *Value) {
	*v = Value{}
	f := r.Field
	if f.Events != nil && !f.Events(e.Type()) {
		return
	}
	switch {
	case f.each != nil:
		f.each(c, e, r, func(x *Value) bool { *v = *x; return false })
	case f.Either != nil:
		for _, x := range f.refs {
			if x.Get(c, e, v); v.OK() {
				return
			}
		}
	case f.Read.Base == Computed:
		f.Compute(c, e, r, v)
	case r.Any():
		c.ancestors(e, func(slot uint32) bool {
			f.Read.load(c.Arena, c.Arena.Threads.Record(slot), v)
			return !v.OK()
		})
	default:
		if b := c.base(e, f.Read.Base, r.Index); b != nil {
			f.Read.load(c.Arena, b, v)
		} else if f.Read.None != "" && e.Thread() != 0 {
			v.setBytes(c.text(f.Read.None))
		}
	}
}

// Each calls fn with every value that r stands for until it returns false: those of all ancestors (Any), of both ends
// (Either: the client's, then the server's), of a list, or the one that Get gives. It doesn't call fn for what is missing,
// and reports whether fn returned false. The value is fn's for the call only; fn must not call Each with the same Ctx.
func (r *Ref) Each(c *Ctx, e event.Event, fn func(*Value) bool) bool {
	f := r.Field
	if f.Events != nil && !f.Events(e.Type()) {
		return false
	}
	v := &c.many
	switch {
	case f.each != nil:
		return r.eachOfList(c, e, fn)
	case f.Either != nil:
		for _, x := range f.refs {
			if x.Get(c, e, v); v.OK() && !fn(v) {
				return true
			}
		}
		return false
	case r.Any():
		stopped := false
		c.ancestors(e, func(slot uint32) bool {
			*v = Value{}
			f.Read.load(c.Arena, c.Arena.Threads.Record(slot), v)
			stopped = v.OK() && !fn(v)
			return !stopped
		})
		return stopped
	}
	r.Get(c, e, v)
	return v.OK() && !fn(v)
}

func (r *Ref) eachOfList(c *Ctx, e event.Event, fn func(*Value) bool) (stopped bool) {
	r.each(c, e, r, func(x *Value) bool { stopped = !fn(x); return !stopped })
	return stopped
}

// base returns the record that a direct read of e starts from; nil when there is none.
func (c *Ctx) base(e event.Event, b Base, index int) []byte {
	if b == Event {
		return e
	}
	if b == File {
		return record(c.Arena.Files, e.File())
	}
	t := record(c.Arena.Threads, e.Thread())
	if t == nil {
		return nil
	}
	switch b {
	case Leader:
		return record(c.Arena.Threads, le.Uint32(t[wasmabi.ThreadLeader:]))
	case Parent:
		return record(c.Arena.Threads, le.Uint32(t[wasmabi.ThreadParent:]))
	case Container:
		return record(c.Arena.Containers, le.Uint32(t[wasmabi.ThreadContainer:]))
	case Ancestor:
		if index == 0 {
			return record(c.Arena.Threads, le.Uint32(t[wasmabi.ThreadLeader:]))
		}
		for ; index > 0 && t != nil; index-- {
			t = record(c.Arena.Threads, le.Uint32(t[wasmabi.ThreadParent:]))
		}
	}
	return t
}

func record(t *arena.Table, slot uint32) []byte {
	if slot == 0 {
		return nil
	}
	return t.Record(slot)
}

// ancestors calls fn with the slots of the ancestors of e's thread, the parent first, until it returns false.
func (c *Ctx) ancestors(e event.Event, fn func(slot uint32) bool) {
	slot := e.Thread()
	for n := 0; n < MaxAncestors && slot != 0; n++ {
		slot = le.Uint32(c.Arena.Threads.Record(slot)[wasmabi.ThreadParent:])
		if slot == 0 || !fn(slot) {
			return
		}
	}
}

// load sets v to what r reads from b, the record of its base; v is left alone when that is missing.
func (r *Read) load(a *arena.Arena, b []byte, v *Value) {
	if r.Kinds != "" && !hasKind(r.Kinds, b[wasmabi.FileKind]) {
		return
	}
	if r.Guard != 0 && number(b, r.GuardAt, r.GuardWidth)&r.Guard == 0 {
		return
	}
	switch r.Width {
	case Str, PStr:
		t := a.Strings
		if r.Width == PStr {
			t = a.Private
		}
		ref := le.Uint32(b[r.Offset:])
		if ref == 0 {
			return
		}
		s := t.Get(ref)
		if r.Part != Whole {
			var ok bool
			if s, ok = r.Part.of(s, b); !ok {
				return
			}
		}
		v.setBytes(s)
	case Addr:
		n := 0
		switch b[wasmabi.FileKind] {
		case '4':
			n = 4
		case '6':
			n = 16
		}
		s := b[r.Offset : r.Offset+16 : r.Offset+16]
		if n == 0 || r.HasNull && le.Uint64(s) == 0 && le.Uint64(s[8:]) == 0 {
			return
		}
		v.setBytes(s[:n:n])
	case Char:
		if b[r.Offset] != 0 {
			v.setBytes(b[r.Offset : r.Offset+1 : r.Offset+1])
		}
	default:
		n := number(b, r.Offset, r.Width)
		if r.HasNull && n == r.Null {
			return
		}
		if r.Mask != 0 {
			v.setBool(n&r.Mask != 0)
			return
		}
		v.setInt(n)
	}
}

func hasKind(kinds string, k byte) bool {
	for i := range len(kinds) {
		if kinds[i] == k {
			return true
		}
	}
	return false
}

// number reads an integer of width w, extended to 64 bits.
func number(b []byte, offset int, w Width) uint64 {
	switch w {
	case U8:
		return uint64(b[offset])
	case U16:
		return uint64(le.Uint16(b[offset:]))
	case U32:
		return uint64(le.Uint32(b[offset:]))
	case I32:
		return uint64(int64(int32(le.Uint32(b[offset:]))))
	}
	return le.Uint64(b[offset:])
}

// slash backs the "/" of a root directory; never written.
var slash = []byte{'/'}

// of takes p of s, the name of the file record b.
func (p Part) of(s, b []byte) ([]byte, bool) {
	dir := int(le.Uint32(b[wasmabi.FileNameDir:]))
	if p == Dir {
		switch {
		case b[wasmabi.FileKind] == 'd':
			return s, true
		case dir == 0 || dir > len(s):
			return slash, true
		}
		return s[:dir:dir], true
	}
	if dir >= len(s) || s[dir] != '/' {
		return nil, false
	}
	return s[dir+1:], true
}

// text puts s into the scratch.
func (c *Ctx) text(s string) []byte {
	c.Buf = append(c.Buf[:0], s...)
	return c.Buf
}
