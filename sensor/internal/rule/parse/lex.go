package parse

import (
	"fmt"
	"strings"

	"github.com/shikra-sensor/shikra/sensor/internal/rule/ast"
)

// scanner reads the tokens of a condition. What a token is depends on where it stands (= ends a bare word, but may open a
// number's sign), so the parser asks for the kind it wants and the scanner says whether it is there.
type scanner struct {
	src ast.Source
	s   string
	i   int
	err *ast.Diagnostic // the first error; nothing is read after it
}

// fail notes an error at byte off, unless there is one already.
func (p *scanner) fail(off int, code, hint, format string, args ...any) {
	if p.err == nil {
		p.err = &ast.Diagnostic{Pos: p.src.At(off), Severity: ast.Error, Code: code, Message: fmt.Sprintf(format, args...), Hint: hint}
	}
}

func isBlank(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }
func isLetter(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
func isDigit(c byte) bool { return c >= '0' && c <= '9' }
func isHex(c byte) bool {
	return isDigit(c) || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}
func isName(c byte) bool { return isLetter(c) || isDigit(c) || c == '_' }

// isBare reports whether c may stand in a bare word.
func isBare(c byte) bool { return !isBlank(c) && strings.IndexByte("()\"'=,", c) < 0 }

// peek returns the next byte, 0 at the end.
func (p *scanner) peek() byte {
	if p.i < len(p.s) {
		return p.s[p.i]
	}
	return 0
}

// blank skips blanks and reports whether there were any.
func (p *scanner) blank() bool {
	from := p.i
	for p.i < len(p.s) && isBlank(p.s[p.i]) {
		p.i++
	}
	return p.i > from
}

// lit takes exactly t.
func (p *scanner) lit(t string) bool {
	if strings.HasPrefix(p.s[p.i:], t) {
		p.i += len(t)
		return true
	}
	return false
}

// ahead reports whether word w comes next and ends there.
func (p *scanner) ahead(w string) bool {
	rest := p.s[p.i:]
	return strings.HasPrefix(rest, w) && (len(rest) == len(w) || !isName(rest[len(w)]))
}

// span takes bytes as long as ok holds.
func (p *scanner) span(ok func(byte) bool) string {
	from := p.i
	for p.i < len(p.s) && ok(p.s[p.i]) {
		p.i++
	}
	return p.s[from:p.i]
}

// name takes an identifier: a letter, then letters, digits and underscores.
func (p *scanner) name() string {
	if !isLetter(p.peek()) {
		return ""
	}
	return p.span(isName)
}

// field takes identifiers with dots between, at least two.
func (p *scanner) field() string {
	from := p.i
	if p.name() == "" {
		return ""
	}
	dots := 0
	for p.peek() == '.' {
		back := p.i
		p.i++
		if p.name() == "" {
			p.i = back
			break
		}
		dots++
	}
	if dots == 0 {
		p.i = from
	}
	return p.s[from:p.i]
}

// number takes a decimal number with optional sign, fraction and exponent, or 0x and hex digits.
func (p *scanner) number() string {
	from := p.i
	if c := p.s[p.i:]; len(c) > 2 && c[0] == '0' && (c[1] == 'x' || c[1] == 'X') && isHex(c[2]) {
		p.i += 2
		p.span(isHex)
		return p.s[from:p.i]
	}
	if c := p.peek(); c == '+' || c == '-' {
		p.i++
	}
	if p.span(isDigit) == "" {
		p.i = from
		return ""
	}
	if p.peek() == '.' {
		p.i++
		p.span(isDigit)
	}
	if c := p.s[p.i:]; len(c) > 2 && (c[0] == 'e' || c[0] == 'E') && (c[1] == '+' || c[1] == '-') && isDigit(c[2]) {
		p.i += 2
		p.span(isDigit)
	}
	return p.s[from:p.i]
}

// unit takes the unit of a duration behind a number.
func (p *scanner) unit() string {
	for _, u := range [...]string{"ns", "us", "ms", "s", "m", "h"} {
		if p.ahead(u) {
			p.i += len(u)
			return u
		}
	}
	return ""
}

// quoted takes a string in single or double quotes and resolves its escapes. False when none is there, or when it is
// broken, which is then the error.
func (p *scanner) quoted() (string, bool) {
	q := p.peek()
	if q != '"' && q != '\'' {
		return "", false
	}
	from := p.i
	var b strings.Builder
	for p.i++; p.i < len(p.s); p.i++ {
		switch c := p.s[p.i]; c {
		case q:
			p.i++
			return b.String(), true
		case '\\':
			if !p.escape(&b, q) {
				return "", false
			}
		default:
			b.WriteByte(c)
		}
	}
	p.fail(from, "syntax", fmt.Sprintf("add the closing %c", q), "this string has no end")
	return "", false
}

// escape resolves the escape that begins at the scanner's place and stops at its last byte.
func (p *scanner) escape(b *strings.Builder, q byte) bool {
	from := p.i
	p.i++
	c := p.peek()
	switch c {
	case 'b':
		b.WriteByte('\b')
	case 'f':
		b.WriteByte('\f')
	case 'n':
		b.WriteByte('\n')
	case 'r':
		b.WriteByte('\r')
	case 't':
		b.WriteByte('\t')
	case '\\', ' ': // a backslash before a blank stands for itself: old rules have it
		b.WriteByte('\\')
	case '/':
		b.WriteByte('/')
	case '"', '\'':
		if c != q {
			p.fail(from, "syntax", fmt.Sprintf("leave the backslash out: %c needs none here", c), `\%c can't stand in a string that is quoted with %c`, c, q)
			return false
		}
		b.WriteByte(c)
	case 'x':
		if p.i+2 >= len(p.s) || !isHex(p.s[p.i+1]) || !isHex(p.s[p.i+2]) {
			p.fail(from, "syntax", `write \x and two hexadecimal digits`, `broken \x escape`)
			return false
		}
		b.WriteByte(unhex(p.s[p.i+1])<<4 | unhex(p.s[p.i+2]))
		p.i += 2
	case 0:
		p.fail(from, "syntax", fmt.Sprintf("add the closing %c", q), "this string has no end")
		return false
	default:
		p.fail(from, "syntax", `write \\ for a backslash`, `unknown escape \%c`, c)
		return false
	}
	return true
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	}
	return c - 'a' + 10
}

// next describes what stands at the scanner's place, for messages.
func (p *scanner) next() string {
	if p.i >= len(p.s) {
		return "the end"
	}
	from := p.i
	w := p.span(isBare)
	p.i = from
	if w == "" {
		w = p.s[p.i : p.i+1]
	}
	if len(w) > 40 {
		w = w[:40] + "…"
	}
	return fmt.Sprintf("%q", w)
}
