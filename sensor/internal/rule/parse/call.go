package parse

import "github.com/shikra-sensor/shikra/sensor/internal/rule/ast"

// transformers are the names that may stand before a parenthesis.
func transformers() [8]string {
	return [...]string{"tolower", "toupper", "b64", "basename", "len", "join", "concat", "getopt"}
}

// call parses a transformer with its arguments, and val( ) on a right side; nil when none comes next or after an error.
func (p *parser) call(right bool) *ast.Call {
	at := p.i
	if right && p.lit("val(") {
		c := &ast.Call{Name: "val", Pos: p.src.At(at)}
		p.blank()
		from := p.i
		f := p.field()
		if f == "" {
			p.fail(from, "syntax", "", "val takes a field, not %s", p.next())
			return nil
		}
		c.Args = []ast.Operand{{Field: f + p.index(), Pos: p.src.At(from)}}
		return p.callEnd(c, at)
	}
	for _, name := range transformers() {
		if p.lit(name + "(") {
			c := &ast.Call{Name: name, Pos: p.src.At(at)}
			if p.depth++; p.depth > maxNesting {
				p.fail(at, "too-deep", "", "more than %d parentheses in each other", maxNesting)
				return nil
			}
			c.Args = p.operands(true)
			p.depth--
			return p.callEnd(c, at)
		}
	}
	return nil
}

func (p *parser) callEnd(c *ast.Call, at int) *ast.Call {
	p.blank()
	if p.err == nil && !p.lit(")") {
		p.fail(at, "syntax", "", "expected ) at the end of %s(, not %s", c.Name, p.next())
	}
	if p.err == nil && p.peek() == '[' {
		s := p.index()
		if p.err == nil {
			s = s[1 : len(s)-1]
			c.Index = &s
		}
	}
	if p.err != nil {
		return nil
	}
	return c
}

// operands parses arguments with commas between, at least one; lists only where nested is set.
func (p *parser) operands(nested bool) []ast.Operand {
	var out []ast.Operand
	for {
		p.blank()
		at := p.i
		o := ast.Operand{Pos: p.src.At(at)}
		if n := p.number(); n != "" {
			o.Value = &ast.Value{Text: n, Pos: o.Pos}
		} else if s, ok := p.quoted(); ok {
			o.Value = &ast.Value{Text: s, Quoted: true, Pos: o.Pos}
		} else if nested && p.lit("(") {
			o.List = []ast.Operand{}
			if p.blank(); !p.lit(")") {
				o.List = p.operands(false)
				p.blank()
				if p.err == nil && !p.lit(")") {
					p.fail(at, "syntax", "add the closing )", "this parenthesis has no end")
				}
			}
		} else if o.Call = p.call(false); o.Call == nil && p.err == nil {
			f := p.field()
			if f == "" {
				p.fail(at, "syntax", "", "expected a field, a transformer, a number or a quoted string, not %s", p.next())
			} else {
				o.Field = f + p.index()
			}
		}
		if p.err != nil {
			return nil
		}
		out = append(out, o)
		p.blank()
		if !p.lit(",") {
			return out
		}
	}
}
