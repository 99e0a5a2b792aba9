// Package rulegen makes random conditions over given fields and constants, for tests that compare two ways of deciding
// the same rules.
package rulegen

import (
	"math/rand"
	"slices"
	"strconv"
	"strings"

	"github.com/shikra-sensor/shikra/sensor/internal/field"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/ast"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/check"
)

// Field is a field that conditions may name, with constants that its values may have.
type Field struct {
	Ref    field.Ref
	Consts []string // as a condition writes them, without quotes; at least one
	Ops    []string // the operators to use; nil for all that the field takes, less regex
}

// Condition returns a condition of about n tests, n ≥ 1. It parses, and checks without an error as long as the constants
// fit their fields. The same r gives the same text.
func Condition(r *rand.Rand, fields []Field, n int) string {
	return ast.Print(Expr(r, fields, n))
}

// Expr is Condition as a tree.
func Expr(r *rand.Rand, fields []Field, n int) ast.Expr {
	if n <= 1 {
		x := test(r, fields[r.Intn(len(fields))])
		if r.Intn(4) == 0 {
			return &ast.Not{X: x}
		}
		return x
	}
	var parts []ast.Expr
	for n > 0 {
		k := 1 + r.Intn(max(1, n-1))
		parts = append(parts, Expr(r, fields, k))
		n -= k
	}
	if len(parts) < 2 {
		parts = append(parts, test(r, fields[r.Intn(len(fields))]))
	}
	var x ast.Expr = &ast.And{X: parts}
	if r.Intn(2) == 0 {
		x = &ast.Or{X: parts}
	}
	if r.Intn(6) == 0 {
		return &ast.Not{X: x}
	}
	return x
}

func test(r *rand.Rand, f Field) ast.Expr {
	ops := f.Ops
	if ops == nil {
		ops = slices.DeleteFunc(check.Operators(f.Ref.Field), func(op string) bool { return op == "regex" })
	}
	t := &ast.Test{Field: f.Ref.Text, Op: ops[r.Intn(len(ops))]}
	pick := func() ast.Value { return quote(f, vary(r, t.Op, f.Consts[r.Intn(len(f.Consts))])) }
	switch t.Op {
	case "exists":
	case "<", "<=", ">", ">=":
		v := pick()
		if v.Quoted { // the language compares only with numbers, texts too
			v = ast.Value{Text: strconv.Itoa(r.Intn(1000))}
		}
		t.Values = []ast.Value{v}
	case "in", "intersects", "pmatch":
		t.Paren = true
		for range 1 + r.Intn(4) {
			t.Values = append(t.Values, pick())
		}
	default:
		t.Values = []ast.Value{pick()}
	}
	return t
}

// quote makes a value; texts are quoted so that nothing in them ends a word or names a list.
func quote(f Field, s string) ast.Value {
	text := f.Ref.Type == field.String || f.Ref.Type == field.Bytes || f.Ref.Type == field.IP || f.Ref.Type == field.IPNet
	return ast.Value{Text: s, Quoted: text}
}

// vary makes of a constant one that op may find in it.
func vary(r *rand.Rand, op, s string) string {
	switch op {
	case "contains", "icontains":
		i := r.Intn(len(s) + 1)
		s = s[i : i+r.Intn(len(s)-i+1)]
		if op == "icontains" && r.Intn(2) == 0 {
			s = strings.ToUpper(s)
		}
	case "startswith":
		s = s[:r.Intn(len(s)+1)]
	case "endswith":
		s = s[r.Intn(len(s)+1):]
	case "pmatch":
		if i := strings.LastIndexByte(s, '/'); i > 0 && r.Intn(2) == 0 {
			s = s[:i]
		}
		if r.Intn(4) == 0 {
			s = pattern(r, s)
		}
	case "glob":
		s = pattern(r, s)
	case "iglob":
		s = strings.ToUpper(pattern(r, s))
	case "bcontains", "bstartswith":
		const digits = "0123456789abcdef"
		var b strings.Builder
		for _, c := range []byte(s[:r.Intn(min(len(s), 4)+1)]) {
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		}
		s = b.String()
	}
	return s
}

// pattern puts stars, question marks and sets in the place of parts of s.
func pattern(r *rand.Rand, s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch r.Intn(8) {
		case 0:
			b.WriteByte('*')
			i += r.Intn(len(s) - i)
		case 1:
			b.WriteByte('?')
		case 2:
			b.WriteString("[" + []string{"!", "", ""}[r.Intn(3)] + "a-z0/" + "]")
		default:
			if strings.IndexByte(`*?[\`, s[i]) >= 0 {
				b.WriteByte('\\')
			}
			b.WriteByte(s[i])
		}
	}
	if r.Intn(4) == 0 {
		b.WriteByte('*')
	}
	return b.String()
}
