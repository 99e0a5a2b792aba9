// Package eval decides rules by walking their conditions as they were written, slowly and obviously: the oracle that
// compiled rules are tested against. It never runs in production.
package eval

import (
	"bytes"
	"fmt"
	"math/big"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/field"
	"github.com/shikra-sensor/shikra/sensor/internal/glob"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/ast"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/check"
	"github.com/shikra-sensor/shikra/wasmabi"
)

// Evaluator decides one rule. Like the Ctx it was made with, it is not safe for concurrent use.
type Evaluator struct {
	x    ast.Expr
	c    *field.Ctx
	refs map[string]*field.Ref
	res  map[string]*regexp.Regexp
}

// New makes an evaluator of a checked rule. It takes the rule's AST only, and looks the fields up by itself.
func New(r *check.Rule, c *field.Ctx) (*Evaluator, error) { return Of(r.AST, c, field.Parse) }

// Of makes an evaluator of a condition without macros and lists. lookup finds its fields.
func Of(x ast.Expr, c *field.Ctx, lookup func(string) (field.Ref, error)) (*Evaluator, error) {
	v := &Evaluator{x: x, c: c, refs: map[string]*field.Ref{}, res: map[string]*regexp.Regexp{}}
	var first error
	fail := func(pos ast.Pos, err error) {
		if first == nil {
			first = fmt.Errorf("%s: %w", pos, err)
		}
	}
	ast.Walk(x, func(x ast.Expr) bool {
		switch x := x.(type) {
		case *ast.MacroRef:
			fail(x.Pos, fmt.Errorf("macro %s isn't expanded", x.Name))
		case *ast.Test:
			if x.Left != nil || x.Right != nil || x.Mod != "" {
				fail(x.Pos, fmt.Errorf("%s has a transformer or a modifier", ast.Print(x)))
				return true
			}
			if v.refs[x.Field] == nil {
				ref, err := lookup(x.Field)
				if err != nil {
					fail(x.Pos, err)
					return true
				}
				v.refs[x.Field] = &ref
			}
			if x.Op == "regex" {
				re, err := regexp.CompilePOSIX(x.Values[0].Text)
				if err != nil {
					fail(x.OpPos, err)
				}
				v.res[x.Values[0].Text] = re
			}
			ref := v.refs[x.Field]
			for _, k := range x.Values {
				if err := v.valid(ref, x, k.Text); err != nil {
					fail(k.Pos, err)
				}
			}
		}
		return true
	})
	if first != nil {
		return nil, first
	}
	return v, nil
}

// Match reports whether the condition holds for e. Its test on evt.type, if it has one, is a test as any other.
func (v *Evaluator) Match(e event.Event) bool { return v.holds(v.x, e) }

func (v *Evaluator) holds(x ast.Expr, e event.Event) bool {
	switch x := x.(type) {
	case *ast.And:
		for _, y := range x.X {
			if !v.holds(y, e) {
				return false
			}
		}
		return true
	case *ast.Or:
		for _, y := range x.X {
			if v.holds(y, e) {
				return true
			}
		}
		return false
	case *ast.Not:
		return !v.holds(x.X, e)
	case *ast.Test:
		return v.test(x, e)
	}
	return false
}

// test decides one test. Without a value nothing holds, != included.
func (v *Evaluator) test(x *ast.Test, e event.Event) bool {
	ref := v.refs[x.Field]
	var values []field.Value
	ref.Each(v.c, e, func(f *field.Value) bool {
		f.Bytes = bytes.Clone(f.Bytes)
		values = append(values, *f)
		return true
	})
	if len(values) == 0 {
		return false
	}
	one := func(f field.Value) bool { return v.compare(x, ref, f) }
	switch {
	case x.Op == "exists":
		return true
	case ref.List && x.Op == "in": // every element is in the set
		return !slices.ContainsFunc(values, func(f field.Value) bool { return !one(f) })
	case ref.Either != nil && x.Op == "!=": // both ends differ
		return !slices.ContainsFunc(values, func(f field.Value) bool { return !one(f) })
	}
	return slices.ContainsFunc(values, one) // any ancestor, either end, any element
}

// compare decides x for one value.
func (v *Evaluator) compare(x *ast.Test, ref *field.Ref, f field.Value) bool {
	texts := make([]string, len(x.Values))
	for i, k := range x.Values {
		texts[i] = k.Text
	}
	switch x.Op {
	case "in", "intersects":
		return slices.ContainsFunc(texts, func(k string) bool { return v.equal(ref, f, k) })
	case "=":
		return v.equal(ref, f, texts[0])
	case "!=":
		return !v.equal(ref, f, texts[0])
	case "<":
		return v.order(ref, f, texts[0]) < 0
	case "<=":
		return v.order(ref, f, texts[0]) <= 0
	case ">":
		return v.order(ref, f, texts[0]) > 0
	case ">=":
		return v.order(ref, f, texts[0]) >= 0
	}
	s := string(f.Bytes)
	switch x.Op {
	case "contains":
		return strings.Contains(s, texts[0])
	case "icontains":
		return strings.Contains(lower(s), lower(texts[0]))
	case "startswith":
		return strings.HasPrefix(s, texts[0])
	case "endswith":
		return strings.HasSuffix(s, texts[0])
	case "bcontains":
		return strings.Contains(s, unhex(texts[0]))
	case "bstartswith":
		return strings.HasPrefix(s, unhex(texts[0]))
	case "glob":
		return glob.Match(texts[0], s, false)
	case "iglob":
		return glob.Match(texts[0], s, true)
	case "pmatch":
		return slices.ContainsFunc(texts, func(k string) bool { return pathMatch(k, s) })
	case "regex":
		at := v.res[texts[0]].FindStringIndex(s) // leftmost, then longest: all of s if any match is
		return at != nil && at[0] == 0 && at[1] == len(s)
	}
	return false
}

// equal compares a value with one constant.
func (v *Evaluator) equal(ref *field.Ref, f field.Value, text string) bool {
	switch ref.Type {
	case field.String, field.Bytes:
		return string(f.Bytes) == text
	case field.IP:
		a, err := netip.ParseAddr(text)
		b, ok := netip.AddrFromSlice(f.Bytes)
		return err == nil && ok && a == b
	case field.IPNet:
		p, err := netip.ParsePrefix(text)
		b, ok := netip.AddrFromSlice(f.Bytes)
		return err == nil && ok && p.Contains(b)
	}
	return v.order(ref, f, text) == 0
}

// order compares a value with a constant: below, equal or above.
func (v *Evaluator) order(ref *field.Ref, f field.Value, text string) int {
	if f.Kind == wasmabi.CellBytes {
		return strings.Compare(string(f.Bytes), text)
	}
	have := new(big.Int).SetUint64(f.Int)
	if ref.Type == field.Int {
		have.SetInt64(int64(f.Int))
	}
	want, err := constant(ref, text)
	if err != nil {
		return -1 // New refused it
	}
	return have.Cmp(want)
}

// valid reports whether text can be a constant for ref.
func (v *Evaluator) valid(ref *field.Ref, x *ast.Test, text string) error {
	switch ref.Type {
	case field.String, field.Bytes:
		return nil
	case field.IP:
		_, err := netip.ParseAddr(text)
		return err
	case field.IPNet:
		_, err := netip.ParsePrefix(text)
		return err
	}
	_, err := constant(ref, text)
	return err
}

// constant reads a number, or what else stands for one.
func constant(ref *field.Ref, text string) (*big.Int, error) {
	switch ref.Type {
	case field.Bool:
		if text == "true" {
			return big.NewInt(1), nil
		}
		if text == "false" {
			return new(big.Int), nil
		}
		return nil, fmt.Errorf("%q is neither true nor false", text)
	case field.Port:
		if p, ok := check.Service(text); ok {
			return new(big.Int).SetUint64(p), nil
		}
	case field.RelTime:
		if d, err := time.ParseDuration(text); err == nil {
			return big.NewInt(int64(d)), nil
		}
	}
	digits, base := strings.TrimLeft(text, "+-"), 10
	for prefix, b := range map[string]int{"0x": 16, "0o": 8, "0b": 2} {
		if rest, ok := strings.CutPrefix(strings.ToLower(digits), prefix); ok {
			digits, base = rest, b
		}
	}
	n, ok := new(big.Int).SetString(digits, base)
	if !ok {
		return nil, fmt.Errorf("%q is no number", text)
	}
	if strings.HasPrefix(text, "-") {
		n.Neg(n)
	}
	if n.Sign() < 0 && ref.Type != field.Int { // wraps to the field's width
		width := uint(64)
		if ref.Read.Base != field.Computed {
			switch ref.Read.Width {
			case field.U8:
				width = 8
			case field.U16:
				width = 16
			case field.U32:
				width = 32
			}
		}
		n.And(n, new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), width), big.NewInt(1)))
	}
	return n, nil
}

// lower maps A to Z only, byte by byte, as comparisons in the C locale do.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

func unhex(s string) string {
	var b []byte
	for i := 0; i+1 < len(s); i += 2 {
		var c byte
		fmt.Sscanf(s[i:i+2], "%02x", &c)
		b = append(b, c)
	}
	return string(b)
}
