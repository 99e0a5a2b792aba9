package compile

import (
	"bytes"

	"github.com/shikra-sensor/shikra/sensor/internal/rule/check"
)

// globOp is one step of a pattern, as the compiled code reads it.
type globOp byte

const (
	globEnd globOp = iota
	globByte
	globAny
	globStar
	globSet // followed by 32 bytes: a bit for each byte value
)

// globTok is one step of a parsed pattern.
type globTok struct {
	op  globOp
	c   byte
	set [32]byte
}

// parseGlob reads a pattern as fnmatch(3) of glibc does without flags in the C locale: * and ? cross '/', a backslash
// makes the next character plain, [a-z], [!a-z] and [^a-z] are sets with classes such as [:digit:]; a bracket that isn't
// closed is plain. nil is a pattern that matches nothing: one that ends in a backslash.
func parseGlob(p []byte) []globTok { return parseGlobFold(p, false) }

// parseGlobFold is parseGlob; with fold the case of ASCII letters doesn't matter.
func parseGlobFold(p []byte, fold bool) []globTok {
	toks := []globTok{}
	for i := 0; i < len(p); i++ {
		switch c := p[i]; c {
		case '*':
			if n := len(toks); n == 0 || toks[n-1].op != globStar {
				toks = append(toks, globTok{op: globStar})
			}
		case '?':
			toks = append(toks, globTok{op: globAny})
		case '\\':
			i++
			if i == len(p) {
				return nil
			}
			toks = append(toks, plainTok(p[i], fold))
		case '[':
			set, n, ok := parseSet(p[i:], fold)
			if !ok {
				toks = append(toks, globTok{op: globByte, c: c})
				continue
			}
			toks = append(toks, globTok{op: globSet, set: set})
			i += n - 1
		default:
			toks = append(toks, plainTok(c, fold))
		}
	}
	return toks
}

// plainTok is the step of a character without a meaning of its own.
func plainTok(c byte, fold bool) globTok {
	o := otherCase(c)
	if !fold || o == c {
		return globTok{op: globByte, c: c}
	}
	t := globTok{op: globSet}
	t.set[c>>3] |= 1 << (c & 7)
	t.set[o>>3] |= 1 << (o & 7)
	return t
}

func otherCase(c byte) byte {
	if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' {
		return c ^ 0x20
	}
	return c
}

// parseSet reads a bracket expression at the start of p and returns its bytes.
func parseSet(p []byte, fold bool) (set [32]byte, n int, ok bool) {
	i := 1
	invert := false
	if i < len(p) && (p[i] == '!' || p[i] == '^') {
		invert = true
		i++
	}
	add := func(c byte) {
		set[c>>3] |= 1 << (c & 7)
		if o := otherCase(c); fold {
			set[o>>3] |= 1 << (o & 7)
		}
	}
	for first := true; ; first = false {
		if i >= len(p) {
			return set, 0, false
		}
		if p[i] == ']' && !first {
			break
		}
		if name, n := className(p[i:]); n > 0 {
			in := classes[name] // nil for a class that there isn't: it has no members
			for c := 0; c < 256 && in != nil; c++ {
				if in(byte(c)) {
					add(byte(c))
				}
			}
			i += n
			continue
		}
		lo := p[i]
		if lo == '\\' {
			i++
			if i >= len(p) {
				return set, 0, false
			}
			lo = p[i]
		}
		i++
		hi := lo
		if i+1 < len(p) && p[i] == '-' && p[i+1] != ']' {
			hi = p[i+1]
			i += 2
			if hi == '\\' {
				if i >= len(p) {
					return set, 0, false
				}
				hi = p[i]
				i++
			}
		}
		if fold {
			lo, hi = small(lo), small(hi)
		}
		for c := int(lo); c <= int(hi); c++ {
			add(byte(c))
		}
	}
	if invert {
		for k := range set {
			set[k] = ^set[k]
		}
	}
	return set, i + 1, true
}

// className reads the name of a class such as [:alpha:] and returns the bytes it takes, 0 for none.
func className(p []byte) (string, int) {
	if !bytes.HasPrefix(p, []byte("[:")) {
		return "", 0
	}
	name, _, ok := bytes.Cut(p[2:], []byte(":]"))
	if !ok || len(name) == 0 || len(bytes.Trim(name, "abcdefghijklmnopqrstuvwxyz")) > 0 {
		return "", 0
	}
	return string(name), len(name) + 4
}

func small(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

func between(lo, hi byte) func(byte) bool { return func(c byte) bool { return lo <= c && c <= hi } }

func either(f ...func(byte) bool) func(byte) bool {
	return func(c byte) bool {
		for _, g := range f {
			if g(c) {
				return true
			}
		}
		return false
	}
}

// classes are the character classes in the C locale.
var classes = func() map[string]func(byte) bool {
	digit, upper, low := between('0', '9'), between('A', 'Z'), between('a', 'z')
	alpha := either(upper, low)
	alnum := either(alpha, digit)
	graph := between('!', '~')
	return map[string]func(byte) bool{
		"alpha": alpha, "digit": digit, "alnum": alnum, "upper": upper, "lower": low, "graph": graph,
		"space":  either(between('\t', '\r'), between(' ', ' ')),
		"blank":  either(between('\t', '\t'), between(' ', ' ')),
		"cntrl":  either(between(0, 31), between(127, 127)),
		"print":  between(' ', '~'),
		"punct":  func(c byte) bool { return graph(c) && !alnum(c) },
		"xdigit": either(digit, between('a', 'f'), between('A', 'F')),
	}
}()

// simpleGlob returns the operator and text that mean the same as the pattern. Exists is: any value.
func simpleGlob(toks []globTok) (lit []byte, op check.Op, ok bool) {
	if toks == nil {
		return nil, 0, false
	}
	head, tail := false, false
	for i, t := range toks {
		switch {
		case t.op == globByte:
			lit = append(lit, t.c)
		case t.op == globStar && i == 0:
			head = true
		case t.op == globStar && i == len(toks)-1:
			tail = true
		default:
			return nil, 0, false
		}
	}
	switch {
	case len(lit) == 0 && head:
		return nil, check.Exists, true
	case head && tail:
		return lit, check.Contains, true
	case head:
		return lit, check.EndsWith, true
	case tail:
		return lit, check.StartsWith, true
	}
	return lit, check.In, true
}

// globEnds returns the plain bytes at the start and at the end of a pattern that isn't plain as a whole.
func globEnds(toks []globTok) (head, tail []byte) {
	for _, t := range toks {
		if t.op != globByte {
			break
		}
		head = append(head, t.c)
	}
	for i := len(toks) - 1; i >= 0 && toks[i].op == globByte; i-- {
		tail = append([]byte{toks[i].c}, tail...)
	}
	return head, tail
}

// globProgram is the pattern's form in the data of the module.
func globProgram(toks []globTok) []byte {
	if toks == nil { // a set without members matches nothing
		return append(append([]byte{byte(globSet)}, make([]byte, 32)...), byte(globEnd))
	}
	var out []byte
	for _, t := range toks {
		out = append(out, byte(t.op))
		switch t.op {
		case globByte:
			out = append(out, t.c)
		case globSet:
			out = append(out, t.set[:]...)
		}
	}
	return append(out, byte(globEnd))
}

// matchGlob is what the compiled code does, for values that are known at compile time.
func matchGlob(toks []globTok, s []byte) bool {
	if toks == nil {
		return false
	}
	star, from := -1, 0
	i, j := 0, 0
	for {
		if i < len(toks) && toks[i].op == globStar {
			star, from = i, j
			i++
			continue
		}
		if j == len(s) {
			return i == len(toks)
		}
		if i < len(toks) {
			t := &toks[i]
			if t.op == globAny || t.op == globByte && t.c == s[j] || t.op == globSet && t.set[s[j]>>3]>>(s[j]&7)&1 != 0 {
				i++
				j++
				continue
			}
		}
		if star < 0 {
			return false
		}
		from++
		i, j = star+1, from
	}
}

// wildcards are the characters that make a component of a path a pattern.
const wildcards = "?*["

// pathPart is one component of a path that pmatch looks for; with wildcards toks is its pattern.
type pathPart struct {
	text []byte
	toks []globTok
	wild bool
}

// pathParts splits a path into components; empty ones don't count.
func pathParts(path []byte) []pathPart {
	out := []pathPart{}
	for _, c := range bytes.Split(path, []byte("/")) {
		if len(c) == 0 {
			continue
		}
		p := pathPart{text: c}
		if bytes.ContainsAny(c, wildcards) {
			p.wild, p.toks = true, parseGlob(c)
		}
		out = append(out, p)
	}
	return out
}

// The kinds of steps of a path's program.
const (
	pathEnd = iota
	pathText
	pathGlob
)

// pathProgram is the path's form in the data of the module: kind, u16 length, bytes for each component.
func pathProgram(path []byte) []byte {
	var out []byte
	for _, p := range pathParts(path) {
		k, b := byte(pathText), p.text
		if p.wild {
			k, b = pathGlob, globProgram(p.toks)
		}
		out = append(out, k, byte(len(b)), byte(len(b)>>8))
		out = append(out, b...)
	}
	return append(out, pathEnd)
}

// matchPath reports whether the components of path are those at the start of s.
func matchPath(path []pathPart, s []byte) bool {
	have := pathParts(s)
	if len(have) < len(path) {
		return false
	}
	for i, p := range path {
		if p.wild && !matchGlob(p.toks, have[i].text) || !p.wild && !bytes.Equal(p.text, have[i].text) {
			return false
		}
	}
	return true
}
