package compile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/field"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/check"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// sourceKind is where a field's value comes from.
type sourceKind uint8

const (
	direct      sourceKind = iota // a load from a record
	column                        // a cell of a column that the host fills
	anyAncestor                   // a load from each ancestor in turn
)

// source is one field with its argument as the compiled code reads it. Equal ones are one.
type source struct {
	id     int
	kind   sourceKind
	name   string // the ref's text
	typ    field.Type
	text   bool // bytes; else an integer
	list   bool
	always bool // never missing
	read   field.Read
	index  int // the ancestor's argument
	column int
}

type sources struct {
	byText  map[string]*source
	list    []*source
	columns []string
}

func newSources() *sources { return &sources{byText: map[string]*source{}} }

func (s *sources) of(r *field.Ref) (*source, error) {
	text := r.Text
	if text == "" {
		text = r.Name
	}
	if have, ok := s.byText[text]; ok {
		return have, nil
	}
	n := &source{id: len(s.list), name: text, typ: r.Type, list: r.List, read: r.Read, index: r.Index}
	switch r.Type {
	case field.String, field.IP, field.IPNet, field.Bytes:
		n.text = true
	}
	switch r.Read.Base {
	case field.Computed:
		n.kind, n.column = column, len(s.columns)
		if n.column >= wasmabi.MaxColumns {
			return nil, fmt.Errorf("%s: the rules use more than %d computed fields", text, wasmabi.MaxColumns)
		}
		s.columns = append(s.columns, text)
	case field.Ancestor:
		if r.Any() {
			n.kind = anyAncestor
		}
		if r.Index > field.MaxAncestors {
			return nil, fmt.Errorf("%s: ancestors are followed up to %d", text, field.MaxAncestors)
		}
	case field.Event, field.Thread, field.Leader, field.Parent, field.File, field.Container:
	default:
		return nil, fmt.Errorf("%s: unknown base %d", text, r.Read.Base)
	}
	if n.list && (n.kind != column || n.typ != field.String) {
		return nil, fmt.Errorf("%s: a list must be computed strings", text)
	}
	if n.kind != column {
		if err := checkRead(&n.read, n.text); err != nil {
			return nil, fmt.Errorf("%s: %w", text, err)
		}
	}
	n.always = n.kind == direct && n.read.Base == field.Event && !n.text && !n.read.HasNull && n.read.Guard == 0
	s.byText[text] = n
	s.list = append(s.list, n)
	return n, nil
}

// recordSize returns the bytes of the records of a base.
func recordSize(b field.Base) int {
	switch b {
	case field.Event:
		return wasmabi.EventSize
	case field.File:
		return wasmabi.FileSize
	case field.Container:
		return wasmabi.ContainerSize
	}
	return wasmabi.ThreadSize
}

var widthSize = [...]int{field.U8: 1, field.U16: 2, field.U32: 4, field.I32: 4, field.U64: 8, field.I64: 8, field.Str: 4, field.PStr: 4, field.Addr: 16, field.Char: 1}

// checkRead reports what the compiler couldn't turn into loads that stay in the record.
func checkRead(r *field.Read, text bool) error {
	if int(r.Width) >= len(widthSize) || int(r.GuardWidth) >= len(widthSize) {
		return fmt.Errorf("unknown width %d", r.Width)
	}
	size := recordSize(r.Base)
	if r.Offset < 0 || r.Offset+widthSize[r.Width] > size || r.GuardAt < 0 || r.GuardAt+widthSize[r.GuardWidth] > size {
		return fmt.Errorf("reads at %d, past the record's end", r.Offset)
	}
	if isText := r.Width >= field.Str; isText != text {
		return fmt.Errorf("width %d doesn't fit the type", r.Width)
	}
	if r.Base != field.File && (r.Width == field.Addr || r.Part != field.Whole || r.Kinds != "") {
		return fmt.Errorf("only files have kinds, addresses and parts of a name")
	}
	if r.None != "" && r.Base != field.Container {
		return fmt.Errorf("only containers have a value for none")
	}
	return nil
}

// static are the computed fields that the event type alone decides, but for generic and async events, which
// bring a name of their own.
var static = map[string]bool{
	"evt.type": true, "evt.type.is": true, "evt.dir": true, "evt.io_dir": true, "evt.is_io": true, "evt.is_io_read": true,
	"evt.is_io_write": true, "evt.is_wait": true, "evt.count": true, "evt.count.exit": true,
}

// ofType sets v to what r gives for every event of type t. False when that depends on the event.
func ofType(r *field.Ref, t event.Type, v *field.Value) bool {
	if !static[r.Name] || t == event.GenericE || t == event.GenericX || t == event.AsynceventE || r.Read.Base != field.Computed {
		return false
	}
	var head [wasmabi.EventSize]byte
	binary.LittleEndian.PutUint16(head[wasmabi.EventType:], uint16(t))
	binary.LittleEndian.PutUint32(head[wasmabi.EventLen:], wasmabi.EventSize)
	r.Get(&field.Ctx{}, event.Event(head[:]), v)
	return true
}

// maxText is the most bytes of a constant: Linux's longest path.
const maxText = 4096

// takes reports why the source can't be compared so.
func (s *source) takes(op check.Op, vals []check.Const) error {
	if s.list && op != check.Exists && op != check.In && op != check.Intersects {
		return fmt.Errorf("a list takes exists, in and intersects only")
	}
	switch s.typ {
	case field.String, field.Bytes:
		for _, v := range vals {
			if len(v.Bytes) > maxText {
				return fmt.Errorf("a text of %d bytes is too long: at most %d", len(v.Bytes), maxText)
			}
		}
	case field.IP, field.IPNet:
		switch op {
		case check.Exists, check.Eq, check.Ne, check.In, check.Intersects:
		default:
			return fmt.Errorf("an address doesn't take operator %d", op)
		}
		for _, v := range vals {
			if n := len(v.Bytes); n != 4 && n != 16 || v.Bits < 0 || v.Bits > 8*n {
				return fmt.Errorf("an address of %d bytes and %d bits", n, v.Bits)
			}
		}
	default:
		switch op {
		case check.Exists, check.Eq, check.Ne, check.In, check.Intersects, check.Lt, check.Le, check.Gt, check.Ge:
		default:
			return fmt.Errorf("a number doesn't take operator %d", op)
		}
	}
	return nil
}

// cost guesses the ns of reading the source once.
func (s *source) cost() int {
	n := 2
	switch {
	case s.kind == column:
		n = 4
	case s.text:
		n = 4
	}
	switch s.read.Base {
	case field.Event, field.Computed:
	case field.Ancestor, field.Container:
		n += 4
	case field.Leader, field.Parent:
		n += 2
	default:
		n++
	}
	return n
}

// segments adds the segments that reading the source needs.
func (s *source) segments(use *[wasmabi.NumSegments]bool) {
	if s.kind == column {
		return
	}
	switch s.read.Base {
	case field.Event:
	case field.File:
		use[wasmabi.SegmentFiles] = true
	case field.Container:
		use[wasmabi.SegmentThreads], use[wasmabi.SegmentContainers] = true, true
	default:
		use[wasmabi.SegmentThreads] = true
	}
	switch s.read.Width {
	case field.Str:
		use[wasmabi.SegmentStrings] = true
	case field.PStr:
		use[wasmabi.SegmentPrivate] = true
	}
}

// matchValue is the outcome of a test on a value that is known at compile time.
func matchValue(v *field.Value, typ field.Type, op check.Op, vals []check.Const) bool {
	if !v.OK() || op == check.Exists {
		return v.OK()
	}
	if v.Kind == wasmabi.CellBytes {
		return matchText(string(v.Bytes), op, vals)
	}
	for _, c := range vals {
		less, equal := v.Int < c.Int, v.Int == c.Int
		if typ == field.Int {
			less = int64(v.Int) < int64(c.Int)
		}
		ok := false
		switch op {
		case check.Eq, check.In, check.Intersects:
			ok = equal
		case check.Ne:
			ok = !equal
		case check.Lt:
			ok = less
		case check.Le:
			ok = less || equal
		case check.Gt:
			ok = !less && !equal
		case check.Ge:
			ok = !less
		}
		if ok {
			return true
		}
	}
	return false
}

// matchText is matchValue for bytes.
func matchText(s string, op check.Op, vals []check.Const) bool {
	for _, v := range vals {
		c := string(v.Bytes)
		ok := false
		switch op {
		case check.Eq, check.In, check.Intersects:
			ok = s == c
		case check.Ne:
			ok = s != c
		case check.Lt:
			ok = s < c
		case check.Le:
			ok = s <= c
		case check.Gt:
			ok = s > c
		case check.Ge:
			ok = s >= c
		case check.Contains:
			ok = strings.Contains(s, c)
		case check.IContains:
			ok = bytes.Contains(lower([]byte(s)), lower([]byte(c)))
		case check.StartsWith:
			ok = strings.HasPrefix(s, c)
		case check.EndsWith:
			ok = strings.HasSuffix(s, c)
		case check.Glob:
			ok = matchGlob(parseGlob(v.Bytes), []byte(s))
		case check.IGlob:
			ok = matchGlob(parseGlobFold(v.Bytes, true), []byte(s))
		case check.PMatch:
			ok = matchPath(pathParts(v.Bytes), []byte(s))
		}
		if ok {
			return true
		}
	}
	return false
}

// lower turns ASCII letters into small ones.
func lower(b []byte) []byte {
	out := append([]byte(nil), b...)
	for i, c := range out {
		out[i] = small(c)
	}
	return out
}
