package field

import (
	"strconv"
	"unicode/utf8"

	"github.com/shikra-sensor/shikra/sensor/internal/arena"
	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// AppendText appends what r reads for e as an output shows it, and reports whether there was a value; when not, dst comes
// back as it was. Ancestors (Any) come with blanks between, a list as (a,b). In strings, control characters become dots:
// a file's name can't forge a line of the output or speak to a terminal.
func (r *Ref) AppendText(c *Ctx, e event.Event, dst []byte) ([]byte, bool) {
	if r.Any() && !r.Type.IsBytes() {
		own := *r // proc.apid without an index shows the process's own id, as in Falco
		own.Index = 0
		return own.AppendText(c, e, dst)
	}
	switch {
	case r.List:
		return r.appendList(c, e, dst)
	case r.Any():
		return r.appendAncestors(c, e, dst)
	}
	v := &c.one
	if r.Get(c, e, v); !v.OK() {
		return dst, false
	}
	return r.appendValue(dst, v), true
}

func (r *Ref) appendAncestors(c *Ctx, e event.Event, dst []byte) ([]byte, bool) {
	start := len(dst)
	c.ancestors(e, func(slot uint32) bool {
		c.one = Value{}
		if r.Read.load(c.Arena, c.Arena.Threads.Record(slot), &c.one); c.one.OK() {
			if len(dst) > start {
				dst = append(dst, ' ')
			}
			dst = r.appendValue(dst, &c.one)
		}
		return true
	})
	return dst, len(dst) > start
}

func (r *Ref) appendList(c *Ctx, e event.Event, dst []byte) ([]byte, bool) {
	start := len(dst)
	dst = append(dst, '(')
	r.Each(c, e, func(v *Value) bool {
		if len(dst) > start+1 {
			dst = append(dst, ',')
		}
		dst = r.appendValue(dst, v)
		return true
	})
	if len(dst) == start+1 {
		return dst[:start], false
	}
	return append(dst, ')'), true
}

func (r *Ref) appendValue(dst []byte, v *Value) []byte {
	if v.Kind == wasmabi.CellBytes {
		switch r.Type {
		case Bytes:
			return appendPrintable(dst, v.Bytes)
		case IP, IPNet:
			return appendIP(dst, v.Bytes)
		}
		return appendVisible(dst, v.Bytes)
	}
	switch r.Type {
	case Bool:
		return strconv.AppendBool(dst, v.Int != 0)
	case Int:
		return appendNumber(dst, v.Int, r.size(), true, r.Format)
	}
	return appendNumber(dst, v.Int, 8, false, r.Format)
}

// size returns the bytes of r's integer, which its hex form shows.
func (r *Ref) size() int {
	if r.Read.Base != Computed && r.Read.Width <= I32 {
		return 4
	}
	return 8
}

// appendVisible appends s with a dot for every control character of ASCII.
func appendVisible(dst, s []byte) []byte {
	n := len(dst)
	dst = append(dst, s...)
	for i, b := range dst[n:] {
		if b < 0x20 || b == 0x7f {
			dst[n+i] = '.'
		}
	}
	return dst
}

// AppendJSON appends what r reads for e as a JSON value: numbers and bools as such, addresses and strings as strings with
// every byte kept that UTF-8 allows, a list as an array, null for missing. The texts of the event's time (evt.time …) come
// as ns since the epoch, as Falco writes them.
func (r *Ref) AppendJSON(c *Ctx, e event.Event, dst []byte) []byte {
	if r.clock {
		return strconv.AppendInt(dst, c.wall(e), 10)
	}
	if r.List {
		return r.appendJSONList(c, e, dst)
	}
	if r.Any() {
		start := len(dst)
		text, ok := r.AppendText(c, e, dst)
		if !ok {
			return append(dst, "null"...)
		}
		if !r.Type.IsBytes() {
			return text
		}
		c.Buf = append(c.Buf[:0], text[start:]...)
		return appendQuoted(text[:start], c.Buf)
	}
	v := &c.one
	if r.Get(c, e, v); !v.OK() {
		return append(dst, "null"...)
	}
	return r.appendJSONValue(dst, v)
}

func (r *Ref) appendJSONList(c *Ctx, e event.Event, dst []byte) []byte {
	dst = append(dst, '[')
	first := len(dst)
	r.Each(c, e, func(v *Value) bool {
		if len(dst) > first {
			dst = append(dst, ',')
		}
		dst = r.appendJSONValue(dst, v)
		return true
	})
	return append(dst, ']')
}

func (r *Ref) appendJSONValue(dst []byte, v *Value) []byte {
	if v.Kind == wasmabi.CellBytes {
		switch r.Type {
		case Bytes:
			return append(appendQuotedPrintable(append(dst, '"'), v.Bytes), '"')
		case IP, IPNet:
			return append(appendIP(append(dst, '"'), v.Bytes), '"')
		}
		return appendQuoted(dst, v.Bytes)
	}
	switch {
	case r.Format == event.FormatHex:
		return append(r.appendValue(append(dst, '"'), v), '"')
	case r.Type == Bool:
		return strconv.AppendBool(dst, v.Int != 0)
	case r.Type == Int:
		return strconv.AppendInt(dst, int64(v.Int), 10)
	}
	return strconv.AppendUint(dst, v.Int, 10)
}

// appendQuotedPrintable appends b as appendPrintable does, escaped for JSON.
func appendQuotedPrintable(dst, b []byte) []byte {
	for _, c := range b {
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < 0x20 || c > 0x7e:
			dst = append(dst, '.')
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

const hexDigits = "0123456789abcdef"

// appendQuoted appends s as a JSON string (RFC 8259); bytes that aren't UTF-8 become U+FFFD.
func appendQuoted(dst, s []byte) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		b := s[i]
		if b >= utf8.RuneSelf {
			r, n := utf8.DecodeRune(s[i:])
			dst = utf8.AppendRune(dst, r)
			i += n
			continue
		}
		i++
		switch {
		case b == '"' || b == '\\':
			dst = append(dst, '\\', b)
		case b == '\n':
			dst = append(dst, '\\', 'n')
		case b == '\t':
			dst = append(dst, '\\', 't')
		case b == '\r':
			dst = append(dst, '\\', 'r')
		case b < 0x20 || b == 0x7f:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[b>>4], hexDigits[b&15])
		default:
			dst = append(dst, b)
		}
	}
	return append(dst, '"')
}

// Extract puts what r reads for e into column col of event i. A list's cell holds its elements, each followed by NUL. False
// when the batch has no room for the value: the cell is then missing, and the batch is to be flushed first. What stands for
// several values otherwise (Any, Either) has no column; the first is stored.
func (r *Ref) Extract(c *Ctx, e event.Event, b *arena.Batch, col, i int) bool {
	v := &c.one
	if r.List {
		*v = Value{}
		if c.Buf = r.joinList(c, e, c.Buf[:0]); len(c.Buf) > 0 {
			v.setBytes(c.Buf)
		}
	} else {
		r.Get(c, e, v)
	}
	switch v.Kind {
	case wasmabi.CellInt:
		b.SetInt(col, i, v.Int)
	case wasmabi.CellBytes:
		return b.SetBytes(col, i, v.Bytes)
	default:
		b.SetMissing(col, i)
	}
	return true
}

func (r *Ref) joinList(c *Ctx, e event.Event, dst []byte) []byte {
	var out []byte // values may lie in the scratch that dst is
	r.Each(c, e, func(v *Value) bool {
		out = append(append(out, v.Bytes...), 0)
		return true
	})
	return append(dst, out...)
}
