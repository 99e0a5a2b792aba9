package parse

import (
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/shikra-sensor/shikra/sensor/internal/rule/ast"
)

// places maps what YAML decoded back to the bytes of the file.
type places struct {
	name  string
	src   string
	lines []int // offset of each line
}

func newPlaces(name string, src []byte) *places {
	t := &places{name: name, src: string(src), lines: []int{0}}
	for i := range src {
		if src[i] == '\n' {
			t.lines = append(t.lines, i+1)
		}
	}
	return t
}

// offset returns the byte at which node begins; -1 when that is outside the file. YAML counts columns in characters.
func (t *places) offset(n *yaml.Node) int {
	if n.Line < 1 || n.Line > len(t.lines) {
		return -1
	}
	off := t.lines[n.Line-1]
	for c := n.Column; c > 1; c-- {
		if off >= len(t.src) {
			return -1
		}
		_, w := utf8.DecodeRuneInString(t.src[off:])
		off += w
	}
	return off
}

// at returns the place of byte off in line (counting from 1), which it belongs to.
func (t *places) at(line, off int) ast.Pos {
	return ast.Pos{File: t.name, Line: line, Col: off - t.lines[line-1] + 1}
}

// pos returns where node begins.
func (t *places) pos(n *yaml.Node) ast.Pos {
	off := t.offset(n)
	if off < 0 {
		// YAML takes a lone carriage return and some rare characters for line breaks, which editors don't.
		return ast.Pos{File: t.name, Line: min(max(n.Line, 1), len(t.lines)), Col: 1}
	}
	return t.at(n.Line, off)
}

// scalar returns the value of a scalar with the place of each byte.
//
// It walks the file from where the scalar begins and pairs what stands there with the decoded value. Folding, indentation
// and chomping only add, drop or change blanks, so everything that isn't blank must come in the same order on both sides;
// a blank gets the place behind what was last paired. Should the two ever disagree, the places end there and the rest has
// the place of the last byte that is sure.
func (t *places) scalar(n *yaml.Node) ast.Source {
	w := walker{t: t, src: ast.Source{Text: n.Value}, line: n.Line, off: t.offset(n)}
	if w.off < 0 {
		w.src.Runs = []ast.Run{{Pos: t.pos(n)}}
		return w.src
	}
	w.add(0, w.off, 0) // an empty text has a place too
	switch {
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		if i := strings.IndexByte(t.src[w.off:], '\n'); i >= 0 { // the header
			w.off += i + 1
			w.line++
		}
		w.walk(n.Value, plainUnit)
	case n.Style&yaml.DoubleQuotedStyle != 0:
		w.off++
		w.walk(n.Value, doubleUnit)
	case n.Style&yaml.SingleQuotedStyle != 0:
		w.off++
		w.walk(n.Value, singleUnit)
	default:
		w.walk(n.Value, plainUnit)
	}
	return w.src
}

type walker struct {
	t    *places
	src  ast.Source
	line int
	off  int
}

// add says that n bytes of the text from i on stand at byte off of the file.
func (w *walker) add(i, off, n int) {
	p := w.t.at(w.line, off)
	if k := len(w.src.Runs); k > 0 {
		r := &w.src.Runs[k-1]
		if r.Off == i && r.N == 0 {
			*r = ast.Run{Off: i, N: n, Pos: p}
			return
		}
		if r.Off+r.N == i && r.Pos.Line == p.Line && r.Pos.Col+r.N == p.Col {
			r.N += n
			return
		}
	}
	w.src.Runs = append(w.src.Runs, ast.Run{Off: i, N: n, Pos: p})
}

// skip goes over blanks of the file.
func (w *walker) skip() {
	for w.off < len(w.t.src) {
		switch c := w.t.src[w.off]; c {
		case '\n':
			w.line++
		case ' ', '\t', '\r':
		default:
			return
		}
		w.off++
	}
}

// walk pairs value with the file. unit decodes what stands at the start of its argument: how many bytes it takes there
// (0 when it is broken) and what it stands for.
func (w *walker) walk(value string, unit func(string) (int, string)) {
	file := w.t.src
	for i := 0; i < len(value); {
		blank := value[i] == ' ' || value[i] == '\n' || value[i] == '\t' || value[i] == '\r'
		if blank && w.off < len(file) && file[w.off] == value[i] && value[i] != '\n' {
			// A blank as it stands: keeps one run going.
			w.add(i, w.off, 1)
			w.off++
			i++
			continue
		}
		back, line := w.off, w.line
		w.skip()
		for strings.HasPrefix(file[w.off:], "\\\n") { // the end of a line in double quotes
			w.off++
			w.skip()
		}
		if w.off >= len(file) {
			return
		}
		n, text := unit(file[w.off:])
		switch {
		case n > 0 && strings.HasPrefix(value[i:], text) && (!blank || n > 1):
			if n == len(text) {
				w.add(i, w.off, n)
			} else {
				w.add(i, w.off, 0)
			}
			w.off += n
			i += len(text)
		case blank:
			w.off, w.line = back, line // a folded line break: it has the place behind the run before it
			i++
		default:
			return
		}
	}
}

// plainUnit is one byte.
func plainUnit(s string) (int, string) { return 1, s[:1] }

// singleUnit is one byte, or two quotes for one.
func singleUnit(s string) (int, string) {
	if s[0] == '\'' {
		if len(s) > 1 && s[1] == '\'' {
			return 2, "'"
		}
		return 0, ""
	}
	return 1, s[:1]
}

// doubleUnit is one byte, or an escape of YAML's double quotes (YAML 1.2.2 section 5.7).
func doubleUnit(s string) (int, string) {
	if s[0] != '\\' {
		if s[0] == '"' {
			return 0, ""
		}
		return 1, s[:1]
	}
	if len(s) < 2 {
		return 0, ""
	}
	const from = "0abt\tnvfre \"/\\N_LP"
	to := [...]string{"\x00", "\a", "\b", "\t", "\t", "\n", "\v", "\f", "\r", "\x1b", " ", "\"", "/", "\\", "\u0085", "\u00a0", "\u2028", "\u2029"}
	if i := strings.IndexByte(from, s[1]); i >= 0 {
		return 2, to[i]
	}
	digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[s[1]]
	if digits == 0 || len(s) < 2+digits {
		return 0, ""
	}
	var r rune
	for _, c := range []byte(s[2 : 2+digits]) {
		if !isHex(c) {
			return 0, ""
		}
		r = r<<4 | rune(unhex(c))
	}
	return 2 + digits, string(r)
}
