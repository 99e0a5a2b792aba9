package explain

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/shikra-sensor/shikra/sensor/internal/field"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/ast"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/check"
)

// Condition returns c as a condition in normal form: what is always true or never is gone, and not stands before tests
// only.
func Condition(c check.Cond) string {
	var b strings.Builder
	write(&b, c, false, 0)
	return b.String()
}

// write appends c, negated when not is set. around says what it stands in: 0 nothing, 1 or, 2 and.
func write(b *strings.Builder, c check.Cond, not bool, around int) {
	join := func(xs []check.Cond, or bool) {
		word, level := " and ", 2
		if or != not {
			word, level = " or ", 1
		}
		if around > level {
			b.WriteByte('(')
			defer b.WriteByte(')')
		}
		for i, x := range xs {
			if i > 0 {
				b.WriteString(word)
			}
			write(b, x, not, level)
		}
	}
	switch c := c.(type) {
	case check.And:
		join(c, false)
	case check.Or:
		join(c, true)
	case *check.Not:
		write(b, c.X, !not, around)
	case check.Bool:
		if bool(c) != not {
			b.WriteString("always")
		} else {
			b.WriteString("never")
		}
	case *check.Test:
		if not {
			b.WriteString("not ")
		}
		writeTest(b, c)
	}
}

func writeTest(b *strings.Builder, t *check.Test) {
	names := [...]string{check.Exists: "exists", check.Eq: "=", check.Ne: "!=", check.Lt: "<", check.Le: "<=", check.Gt: ">", check.Ge: ">=",
		check.In: "in", check.Intersects: "intersects", check.Contains: "contains", check.IContains: "icontains", check.StartsWith: "startswith",
		check.EndsWith: "endswith", check.Glob: "glob", check.PMatch: "pmatch", check.Regex: "regex", check.IGlob: "iglob"}
	op := fmt.Sprintf("op%d", t.Op)
	if int(t.Op) < len(names) {
		op = names[t.Op]
	}
	b.WriteString(ast.PrintField(t.Field.Text))
	b.WriteByte(' ')
	b.WriteString(op)
	list := t.Op == check.In || t.Op == check.Intersects || t.Op == check.PMatch
	if list {
		b.WriteString(" (")
	}
	for i, k := range t.Values {
		switch {
		case i > 0:
			b.WriteString(", ")
		case !list:
			b.WriteByte(' ')
		}
		b.WriteString(Constant(t.Field.Field, k))
	}
	if list {
		b.WriteByte(')')
	}
}

// Constant returns k as a condition on f shows it.
func Constant(f *field.Field, k check.Const) string {
	switch f.Type {
	case field.String, field.Bytes:
		return ast.Value{Text: string(k.Bytes)}.String()
	case field.IP:
		if a, ok := netip.AddrFromSlice(k.Bytes); ok {
			return a.String()
		}
	case field.IPNet:
		if a, ok := netip.AddrFromSlice(k.Bytes); ok {
			return netip.PrefixFrom(a, k.Bits).String()
		}
	case field.Bool:
		return strconv.FormatBool(k.Int != 0)
	case field.Int:
		return strconv.FormatInt(int64(k.Int), 10)
	case field.RelTime:
		for _, u := range [...]struct {
			d    time.Duration
			name string
		}{{time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}, {time.Millisecond, "ms"}, {time.Microsecond, "us"}} {
			if d := uint64(u.d); k.Int > 0 && k.Int%d == 0 {
				return strconv.FormatUint(k.Int/d, 10) + u.name
			}
		}
	}
	return strconv.FormatUint(k.Int, 10)
}
