// Package format makes the text of alerts and event lines from an output such as "%proc.name opened %fd.name".
package format

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/field"
)

// EventLine is the output of `shikra events`.
const EventLine = "%evt.num %evt.time %evt.cpu %proc.name (%thread.tid) %evt.type %evt.args"

// Missing stands where a field has no value.
const Missing = "<NA>"

// containerInfo is a field that Falco once had and that its rules' outputs still name: it stands for nothing.
const containerInfo = "container.info"

// MaxOutput bounds an output in bytes, maxWidth the width a field may be padded to.
const (
	MaxOutput = 64 << 10
	maxWidth  = 1024
)

// Error says what is wrong with an output, and where.
type Error struct {
	Offset int // in bytes from the output's start
	Err    error
}

// Error returns the message with its place.
func (e *Error) Error() string { return fmt.Sprintf("output, byte %d: %v", e.Offset, e.Err) }

// Unwrap returns what is wrong, a *field.Error for a field.
func (e *Error) Unwrap() error { return e.Err }

// Format is a parsed output. It may be used by several goroutines, each with a Ctx of its own.
type Format struct {
	text  string
	parts []part
	refs  []field.Ref
	keys  [][]byte // of refs, as JSON strings with their colon
}

// part is a text, or a field and its width (0: as long as it is).
type part struct {
	text  string
	ref   int // in refs; -1 for a text
	width int
}

// Parse reads an output: text with %fields, which may have an argument (%proc.aname[2]) and a width (%10evt.type, padded
// with blanks or cut). A leading "*" is left out: missing fields always show as <NA>. "%%" is a percent sign. The error is
// an *Error.
func Parse(output string) (*Format, error) {
	if len(output) > MaxOutput {
		return nil, &Error{MaxOutput, fmt.Errorf("longer than %d bytes", MaxOutput)}
	}
	f := &Format{text: output}
	s, start := output, 0
	if strings.HasPrefix(s, "*") {
		s, start = s[1:], 1
	}
	var text strings.Builder
	flush := func() {
		if text.Len() > 0 {
			f.parts = append(f.parts, part{text: text.String(), ref: -1})
			text.Reset()
		}
	}
	for i := 0; i < len(s); {
		n := strings.IndexByte(s[i:], '%')
		if n < 0 {
			text.WriteString(s[i:])
			break
		}
		text.WriteString(s[i : i+n])
		i += n
		at := start + i
		i++
		if i < len(s) && s[i] == '%' {
			text.WriteByte('%')
			i++
			continue
		}
		digits := i
		for i < len(s) && s[i] >= '0' && s[i] <= '9' {
			i++
		}
		width := 0
		if i > digits {
			w, err := strconv.Atoi(s[digits:i])
			if err != nil || w == 0 || w > maxWidth {
				return nil, &Error{at, fmt.Errorf("width %s: it can be 1 to %d", s[digits:i], maxWidth)}
			}
			width = w
		}
		name, err := scan(s[i:])
		if err != nil {
			return nil, &Error{at, err}
		}
		if name == containerInfo {
			i += len(name)
			continue
		}
		ref, used, err := resolve(name)
		if err != nil {
			return nil, &Error{at, err}
		}
		i += used
		flush()
		f.parts = append(f.parts, part{ref: f.add(ref), width: width})
	}
	flush()
	return f, nil
}

// scan returns the longest start of s that could be a field with its argument.
func scan(s string) (string, error) {
	n := 0
	for n < len(s) && isName(s[n]) {
		n++
	}
	if n == 0 {
		return "", fmt.Errorf("%% isn't followed by a field (write %%%% for a percent sign)")
	}
	if n < len(s) && s[n] == '(' {
		return "", fmt.Errorf("%%%s(…): an output can't change the values of fields", s[:n])
	}
	if n < len(s) && s[n] == '[' {
		end := strings.IndexByte(s[n:], ']')
		if end < 0 {
			return "", fmt.Errorf("%%%s[ has no closing bracket", s[:n])
		}
		n += end + 1
	}
	return s[:n], nil
}

func isName(c byte) bool {
	return c == '.' || c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// resolve finds the field that name starts with and how much of it that takes: a sentence's full stop after a field isn't
// the field's. When nothing fits, the error is that of the whole name.
func resolve(name string) (field.Ref, int, error) {
	ref, first := field.Parse(name)
	if first == nil {
		return ref, len(name), nil
	}
	short := name
	if i := strings.IndexByte(short, '['); i >= 0 {
		// %proc.name[x]: the bracket may be the text's.
		short = short[:i]
		if ref, err := field.Parse(short); err == nil && ref.Arg == field.ArgNone {
			return ref, len(short), nil
		}
		return field.Ref{}, 0, first
	}
	for strings.HasSuffix(short, ".") {
		short = short[:len(short)-1]
		if ref, err := field.Parse(short); err == nil {
			return ref, len(short), nil
		}
	}
	return field.Ref{}, 0, first
}

func (f *Format) add(r field.Ref) int {
	for i := range f.refs {
		if f.refs[i].Text == r.Text {
			return i
		}
	}
	key, _ := json.Marshal(r.Text) // a string always can
	f.refs, f.keys = append(f.refs, r), append(f.keys, append(key, ':'))
	return len(f.refs) - 1
}

// String returns the output as it was written.
func (f *Format) String() string { return f.text }

// Refs returns the fields of the output, each once, in their order. The slice is f's.
func (f *Format) Refs() []field.Ref { return f.refs }

// Append appends the text for e to dst.
func (f *Format) Append(dst []byte, c *field.Ctx, e event.Event) []byte {
	for i := range f.parts {
		p := &f.parts[i]
		if p.ref < 0 {
			dst = append(dst, p.text...)
			continue
		}
		start := len(dst)
		var ok bool
		if dst, ok = f.refs[p.ref].AppendText(c, e, dst); !ok {
			dst = append(dst, Missing...)
		}
		if p.width > 0 {
			for len(dst) < start+p.width {
				dst = append(dst, ' ')
			}
			dst = dst[:start+p.width]
		}
	}
	return dst
}

// AppendFields appends a JSON object of the output's fields and their values for e, by name in the output's order; null
// for missing.
func (f *Format) AppendFields(dst []byte, c *field.Ctx, e event.Event) []byte {
	dst = append(dst, '{')
	for i := range f.refs {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, f.keys[i]...)
		dst = f.refs[i].AppendJSON(c, e, dst)
	}
	return append(dst, '}')
}
