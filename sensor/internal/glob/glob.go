// Package glob matches texts with patterns of the shell's kind, one byte after the other.
package glob

import "strings"

// Match matches s as fnmatch(3) does without flags, or with FNM_CASEFOLD when fold is set, in the C locale: * matches anything,
// slashes too, ? any byte, brackets a byte of a set, and a backslash takes the next byte as it is.
func Match(pattern, s string, fold bool) bool {
	if fold {
		b := []byte(s)
		for i, c := range b {
			b[i] = lower(c)
		}
		s = string(b)
	}
	for pattern != "" {
		if pattern[0] == '*' {
			rest := strings.TrimLeft(pattern, "*")
			if rest == "" {
				return true
			}
			// The first place at which the part up to the next star fits is as good as any later one.
			part, after := splitStar(rest)
			if after == "" { // the last part: it must fit the end
				for i := 0; i <= len(s); i++ {
					if n, ok := prefix(part, s[i:], fold); ok && i+n == len(s) {
						return true
					}
				}
				return false
			}
			found := false
			for i := 0; i <= len(s) && !found; i++ {
				if n, ok := prefix(part, s[i:], fold); ok {
					s, found = s[i+n:], true
				}
			}
			if !found {
				return false
			}
			pattern = after
			continue
		}
		part, after := splitStar(pattern)
		n, ok := prefix(part, s, fold)
		if !ok {
			return false
		}
		s, pattern = s[n:], after
	}
	return s == ""
}

// splitStar cuts a pattern before its first star that stands for anything.
func splitStar(pattern string) (part, rest string) {
	for i := 0; i < len(pattern); {
		if pattern[i] == '*' {
			return pattern[:i], pattern[i:]
		}
		_, n := element(pattern[i:], false)
		i += n
	}
	return pattern, ""
}

// prefix matches a pattern without stars with the start of s; every element takes one byte, so the length is fixed.
func prefix(part, s string, fold bool) (int, bool) {
	n := 0
	for part != "" {
		fits, w := element(part, fold)
		if n >= len(s) || !fits(s[n]) {
			return 0, false
		}
		part = part[w:]
		n++
	}
	return n, true
}

// element reads one element of a pattern, which is no star, and returns what it matches and its length.
func element(p string, fold bool) (func(byte) bool, int) {
	exactly := func(c byte) func(byte) bool {
		if fold {
			c = lower(c)
		}
		return func(d byte) bool { return d == c }
	}
	switch p[0] {
	case '?':
		return func(byte) bool { return true }, 1
	case '\\':
		if len(p) < 2 {
			return func(byte) bool { return false }, 1
		}
		return exactly(p[1]), 2
	case '[':
		if fits, n := bracket(p, fold); n > 0 {
			return fits, n
		}
	}
	return exactly(p[0]), 1
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// bracket reads a set in brackets; its length is 0 when it has no end.
func bracket(p string, fold bool) (func(byte) bool, int) {
	var in [256]bool
	i := 1
	negated := i < len(p) && (p[i] == '!' || p[i] == '^')
	if negated {
		i++
	}
	put := func(c byte) {
		in[c] = true
		if fold {
			in[lower(c)] = true
		}
	}
	for first := true; ; first = false {
		if i >= len(p) {
			return nil, 0
		}
		c := p[i]
		if c == ']' && !first {
			i++
			break
		}
		if name, n := class(p[i:]); n > 0 {
			for b := range 256 {
				if inClass(name, byte(b)) {
					put(byte(b))
				}
			}
			i += n
			continue
		}
		c, n := member(p[i:])
		if n == 0 {
			return nil, 0
		}
		i += n
		last := c
		if i+1 < len(p) && p[i] == '-' && p[i+1] != ']' {
			d, n := member(p[i+1:])
			if n == 0 {
				return nil, 0
			}
			last = d
			i += 1 + n
		}
		if fold {
			c, last = lower(c), lower(last)
		}
		for b := int(c); b <= int(last); b++ {
			put(byte(b))
		}
	}
	return func(c byte) bool { return in[c] != negated }, i
}

// member reads one byte of a set, which a backslash may precede.
func member(p string) (byte, int) {
	if p[0] == '\\' {
		if len(p) < 2 {
			return 0, 0
		}
		return p[1], 2
	}
	return p[0], 1
}

// class reads the name of a character class such as [:alpha:] and returns its length with the brackets, 0 for none.
func class(p string) (string, int) {
	if !strings.HasPrefix(p, "[:") {
		return "", 0
	}
	name, _, ok := strings.Cut(p[2:], ":]")
	if !ok || name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz") != "" {
		return "", 0
	}
	return name, len(name) + 4
}

func inClass(name string, c byte) bool {
	letter := lower(c) >= 'a' && lower(c) <= 'z'
	digit := c >= '0' && c <= '9'
	switch name {
	case "alpha":
		return letter
	case "digit":
		return digit
	case "alnum":
		return letter || digit
	case "upper":
		return c >= 'A' && c <= 'Z'
	case "lower":
		return c >= 'a' && c <= 'z'
	case "space":
		return c == ' ' || c >= '\t' && c <= '\r'
	case "blank":
		return c == ' ' || c == '\t'
	case "punct":
		return c > ' ' && c < 0x7F && !letter && !digit
	case "print":
		return c >= ' ' && c < 0x7F
	case "graph":
		return c > ' ' && c < 0x7F
	case "cntrl":
		return c < ' ' || c == 0x7F
	case "xdigit":
		return digit || lower(c) >= 'a' && lower(c) <= 'f'
	}
	return false
}
