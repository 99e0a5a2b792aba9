// Package output carries alerts to where they are wanted: rendered once, queued, written by one goroutine per output.
package output

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/google/uuid"
)

// Alert is one verdict of a rule about one event. It owns its bytes: nothing in it points into the arena.
type Alert struct {
	Time     time.Time
	Rule     string
	Priority string // "Warning"
	Source   string // "syscall"
	Hostname string
	Output   string // the rule's output with its fields filled in
	Fields   []byte // JSON object of the output's fields
	Tags     []string
	UUID     uuid.UUID
	Node     *Node  // where it was made; shared, read-only
	Seq      uint64 // counts this sensor's alerts from 1: a gap at a receiver is a loss
	EventNum uint64
}

// Node says which machine and boot an alert comes from.
type Node struct {
	ID         string            `json:"id"`
	Labels     map[string]string `json:"labels,omitempty"`
	BootID     string            `json:"boot_id"`
	TimeSynced bool              `json:"time_synced"` // whether the kernel said at start that the clock is synchronised
}

// Format is how an alert is rendered.
type Format uint8

// The formats.
const (
	Text Format = iota
	JSON
	Line // the rule's output alone
)

// ParseFormat reads "text" or "json"; anything else is Text.
func ParseFormat(s string) Format {
	if s == "json" {
		return JSON
	}
	return Text
}

// Append renders a in one line, newline included.
func (f Format) Append(dst []byte, a *Alert) []byte {
	switch f {
	case JSON:
		return append(a.appendJSON(dst), '\n')
	case Line:
		return append(appendPrintable(dst, a.Output), '\n')
	}
	return append(a.appendText(dst), '\n')
}

// appendText renders "15:04:05.000000000: Warning …", control characters escaped so that a process can't forge a line.
func (a *Alert) appendText(dst []byte) []byte {
	dst = a.Time.AppendFormat(dst, "15:04:05.000000000")
	dst = append(dst, ": "...)
	dst = append(dst, a.Priority...)
	dst = append(dst, ' ')
	return appendPrintable(dst, a.Output)
}

func appendPrintable(dst []byte, s string) []byte {
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			switch {
			case c == '\n':
				dst = append(dst, `\n`...)
			case c == '\r':
				dst = append(dst, `\r`...)
			case c == '\t':
				dst = append(dst, `\t`...)
			case c < 0x20 || c == 0x7f:
				dst = append(dst, '\\', 'x', hex[c>>4], hex[c&15])
			default:
				dst = append(dst, c)
			}
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r != utf8.RuneError && !unicode.IsPrint(r) { // controls (0x9b begins a terminal sequence), marks that turn the text around
			dst = fmt.Appendf(dst, `\u{%x}`, r)
		} else {
			dst = utf8.AppendRune(dst, r) // an invalid byte becomes U+FFFD
		}
		i += n
	}
	return dst
}

const hex = "0123456789abcdef"

// appendJSON renders the keys of Falco's JSON alerts, then shikra's own: event_num, node, seq.
func (a *Alert) appendJSON(dst []byte) []byte {
	dst = append(dst, `{"hostname":`...)
	dst = appendString(dst, a.Hostname)
	dst = append(dst, `,"output":`...)
	text := a.Time.AppendFormat(nil, "15:04:05.000000000")
	text = append(append(append(append(text, ": "...), a.Priority...), ' '), a.Output...)
	dst = appendString(dst, string(text))
	dst = append(dst, `,"output_fields":`...)
	if len(a.Fields) == 0 {
		dst = append(dst, "{}"...)
	}
	dst = appendEscaped(dst, string(a.Fields))
	dst = append(dst, `,"priority":`...)
	dst = appendString(dst, a.Priority)
	dst = append(dst, `,"rule":`...)
	dst = appendString(dst, a.Rule)
	dst = append(dst, `,"source":`...)
	dst = appendString(dst, a.Source)
	dst = append(dst, `,"tags":[`...)
	for i, t := range a.Tags {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, t)
	}
	dst = append(dst, `],"time":"`...)
	dst = a.Time.UTC().AppendFormat(dst, "2006-01-02T15:04:05.000000000Z")
	dst = append(dst, `","uuid":"`...)
	dst = append(dst, a.UUID.String()...)
	dst = append(dst, `","event_num":`...)
	dst = strconv.AppendUint(dst, a.EventNum, 10)
	if a.Node != nil {
		if b, err := json.Marshal(a.Node); err == nil {
			dst = append(append(dst, `,"node":`...), b...)
		}
	}
	dst = append(dst, `,"seq":`...)
	dst = strconv.AppendUint(dst, a.Seq, 10)
	return append(dst, '}')
}

// appendEscaped appends JSON with what a terminal might act on (C1 controls, marks that turn the text around) as \u escapes, which
// JSON has in strings only: nothing that isn't ASCII stands elsewhere.
func appendEscaped(dst []byte, js string) []byte {
	for _, r := range js {
		switch {
		case r < utf8.RuneSelf || unicode.IsPrint(r):
			dst = utf8.AppendRune(dst, r)
		case r > 0xffff:
			a, b := utf16.EncodeRune(r)
			dst = fmt.Appendf(dst, `\u%04x\u%04x`, a, b)
		default:
			dst = fmt.Appendf(dst, `\u%04x`, r)
		}
	}
	return dst
}

// appendString renders s as a JSON string; invalid UTF-8 becomes U+FFFD, and < > & stay as they are.
func appendString(dst []byte, s string) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil { // a string always encodes
		return append(dst, `""`...)
	}
	return appendEscaped(dst, strings.TrimSuffix(b.String(), "\n"))
}
