package ast

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Severity says whether a diagnostic stops the load.
type Severity string

// The severities.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
)

// Diagnostic is one thing to say about a rules file.
type Diagnostic struct {
	Pos      Pos      `json:"pos"`
	Severity Severity `json:"severity"`
	Code     string   `json:"code"`           // stable, as "unknown-field"
	Message  string   `json:"message"`        // what is wrong
	Hint     string   `json:"hint,omitempty"` // what to do about it
	Line     string   `json:"line,omitempty"` // the line at Pos
}

// Error returns the diagnostic on one line.
func (d *Diagnostic) Error() string {
	var b strings.Builder
	if s := d.Pos.String(); s != "" {
		b.WriteString(s)
		b.WriteString(": ")
	}
	fmt.Fprintf(&b, "%s: %s", d.Severity, d.Message)
	if d.Hint != "" {
		fmt.Fprintf(&b, "; %s", d.Hint)
	}
	return b.String()
}

// lineWidth is the most runes of a source line that Text shows.
const lineWidth = 100

// Text returns the diagnostic as people read it: the place and the message, the line with a caret under the place, and the
// hint.
func (d *Diagnostic) Text() string {
	var b strings.Builder
	if s := d.Pos.String(); s != "" {
		b.WriteString(s)
		b.WriteString(": ")
	}
	fmt.Fprintf(&b, "%s: %s\n", d.Severity, d.Message)
	if d.Line != "" && d.Pos.Col > 0 {
		line, caret := window(d.Line, d.Pos.Col-1)
		fmt.Fprintf(&b, "    %s\n    %s^\n", line, caret)
	}
	if d.Hint != "" {
		fmt.Fprintf(&b, "    %s\n", d.Hint)
	}
	return b.String()
}

// window cuts line to lineWidth runes around byte col and returns it with the blanks that stand before the caret. Control
// characters are shown as ? so that a hostile file can't drive a terminal.
func window(line string, col int) (text, before string) {
	col = min(col, len(line))
	var rs []rune
	at := -1
	for i, r := range line {
		if i >= col && at < 0 {
			at = len(rs)
		}
		switch {
		case r == '\t':
			r = ' '
		case r < ' ' || r == 0x7F || (r >= 0x80 && r < 0xA0) || r == utf8.RuneError:
			r = '?'
		}
		rs = append(rs, r)
	}
	if at < 0 {
		at = len(rs)
	}
	if from := at - lineWidth*2/3; len(rs) > lineWidth && from > 0 {
		from = min(from, len(rs)-lineWidth)
		rs = append([]rune("…"), rs[from+1:]...)
		at -= from
	}
	if len(rs) > lineWidth {
		rs = append(rs[:lineWidth-1], '…')
	}
	return string(rs), strings.Repeat(" ", at)
}

// Diagnostics is what was found in one or more files.
type Diagnostics []*Diagnostic

// Errors returns how many of them are errors.
func (ds Diagnostics) Errors() int {
	n := 0
	for _, d := range ds {
		if d.Severity == Error {
			n++
		}
	}
	return n
}

// Err returns the first error, with a count when there are more, or nil.
func (ds Diagnostics) Err() error {
	n := ds.Errors()
	if n == 0 {
		return nil
	}
	for _, d := range ds {
		if d.Severity != Error {
			continue
		}
		if n == 1 {
			return d
		}
		return fmt.Errorf("%w (and %d more errors)", d, n-1)
	}
	return nil
}

// WriteText writes all of them to w as Diagnostic.Text shows them.
func (ds Diagnostics) WriteText(w io.Writer) error {
	for _, d := range ds {
		if _, err := io.WriteString(w, d.Text()); err != nil {
			return err
		}
	}
	return nil
}

// Line returns line n of src, counting from 1, without its line break; "" when there is no such line.
func Line(src []byte, n int) string {
	for ; n > 1; n-- {
		i := bytes.IndexByte(src, '\n')
		if i < 0 {
			return ""
		}
		src = src[i+1:]
	}
	s := string(src)
	if i := strings.IndexByte(s, '\n'); i >= 0 {
		s = s[:i]
	}
	return strings.TrimSuffix(s, "\r")
}
