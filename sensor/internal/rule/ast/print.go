package ast

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Print returns x as a condition on one line that parses to the same tree.
func Print(x Expr) string {
	var b strings.Builder
	printExpr(&b, x, 0)
	return b.String()
}

// The binding strengths of what surrounds an expression.
const (
	inOr  = iota + 1 // and, not and tests need no parentheses
	inAnd            // not and tests need none
	inNot            // tests need none
)

// special ends a bare word.
const special = " \t\r\n\v\f(),=\"'"

func printExpr(b *strings.Builder, x Expr, around int) {
	list := func(xs []Expr, word string, strength int) {
		if around >= strength {
			b.WriteByte('(')
			defer b.WriteByte(')')
		}
		for i, y := range xs {
			if i > 0 {
				b.WriteString(word)
			}
			printExpr(b, y, strength)
		}
	}
	switch x := x.(type) {
	case *Or:
		list(x.X, " or ", inOr)
	case *And:
		list(x.X, " and ", inAnd)
	case *Not:
		if around >= inNot {
			b.WriteByte('(')
			defer b.WriteByte(')')
		}
		b.WriteString("not ")
		printExpr(b, x.X, inNot)
	case *MacroRef:
		b.WriteString(x.Name)
	case *Test:
		printTest(b, x)
	}
}

func printTest(b *strings.Builder, x *Test) {
	if x.Left != nil {
		printCall(b, x.Left)
	} else {
		b.WriteString(PrintField(x.Field))
	}
	b.WriteByte(' ')
	b.WriteString(x.Op)
	if x.Mod != "" {
		b.WriteByte(' ')
		b.WriteString(x.Mod)
	}
	switch {
	case x.Right != nil:
		b.WriteByte(' ')
		printCall(b, x.Right)
	case x.Paren:
		b.WriteString(" (")
		for i, v := range x.Values {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(v.String())
		}
		b.WriteByte(')')
	case len(x.Values) > 0:
		b.WriteByte(' ')
		b.WriteString(x.Values[0].String())
	}
}

func printCall(b *strings.Builder, c *Call) {
	b.WriteString(c.Name)
	b.WriteByte('(')
	printOperands(b, c.Args)
	b.WriteByte(')')
	if c.Index != nil {
		b.WriteString(printIndex(*c.Index))
	}
}

func printOperands(b *strings.Builder, list []Operand) {
	for i, o := range list {
		if i > 0 {
			b.WriteString(", ")
		}
		switch {
		case o.Call != nil:
			printCall(b, o.Call)
		case o.Value != nil:
			b.WriteString(o.Value.String())
		case o.List != nil:
			b.WriteByte('(')
			printOperands(b, o.List)
			b.WriteByte(')')
		default:
			b.WriteString(PrintField(o.Field))
		}
	}
}

// PrintField returns a field as a condition names it, its argument quoted where it must be.
func PrintField(f string) string {
	i := strings.IndexByte(f, '[')
	if i < 0 {
		return f
	}
	return f[:i] + printIndex(strings.TrimSuffix(f[i+1:], "]"))
}

func printIndex(arg string) string {
	if arg == "" || strings.ContainsAny(arg, " \t\r\n\v\f[]\"'") {
		arg = Quote(arg)
	}
	return "[" + arg + "]"
}

// String returns v as a condition shows it.
func (v Value) String() string {
	if v.Quoted || v.Text == "" || strings.ContainsAny(v.Text, special) {
		return Quote(v.Text)
	}
	return v.Text
}

// Quote returns s in double quotes, with the escapes of the condition language.
func Quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i, n := 0, 0; i < len(s); i += n {
		var r rune
		r, n = utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < ' ' || r == 0x7F || r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		default:
			b.WriteString(s[i : i+n])
		}
	}
	b.WriteByte('"')
	return b.String()
}
