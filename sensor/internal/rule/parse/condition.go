package parse

import (
	"fmt"
	"slices"
	"strings"

	"github.com/shikra-sensor/shikra/sensor/internal/rule/ast"
)

// The bounds of a condition.
const (
	maxCondition = 1 << 18 // bytes
	maxNesting   = 128     // parentheses in parentheses
)

// Operators returns every operator of the language, in the order of its documentation.
func Operators() []string {
	return []string{"=", "!=", "<", "<=", ">", ">=", "exists", "in", "intersects", "pmatch", "contains", "icontains", "bcontains",
		"startswith", "bstartswith", "endswith", "glob", "iglob", "regex"}
}

// Condition parses one condition that stands in no file: places are columns of text's lines, line 1 being the first.
func Condition(text string) (ast.Expr, error) {
	x, d := Source(lines(text))
	if d != nil {
		return nil, d
	}
	return x, nil
}

// lines makes a source of a text that is its own file.
func lines(text string) ast.Source {
	src := ast.Source{Text: text}
	line := 1
	for off := 0; off <= len(text); line++ {
		n := strings.IndexByte(text[off:], '\n')
		if n < 0 {
			n = len(text) - off
		}
		src.Runs = append(src.Runs, ast.Run{Off: off, N: n, Pos: ast.Pos{Line: line, Col: 1}})
		off += n + 1
	}
	return src
}

// Source parses a condition with the places of its text. Exactly one of the results is nil.
func Source(src ast.Source) (ast.Expr, *ast.Diagnostic) {
	p := &parser{scanner: scanner{src: src, s: src.Text}}
	if len(src.Text) > maxCondition {
		p.fail(0, "too-large", "split it into macros", "a condition of %d bytes is longer than %d", len(src.Text), maxCondition)
		return nil, p.err
	}
	x := p.or()
	p.blank()
	if p.err == nil && p.i < len(p.s) {
		p.leftover()
	}
	if p.err != nil {
		return nil, p.err
	}
	return x, nil
}

// Values parses constants with commas between: what a list's item or an exception's value may hold. Parentheses around
// them are allowed when paren is set.
func Values(src ast.Source, paren bool) ([]ast.Value, *ast.Diagnostic) {
	p := &parser{scanner: scanner{src: src, s: src.Text}}
	if len(src.Text) > maxCondition {
		p.fail(0, "too-large", "", "a value of %d bytes is longer than %d", len(src.Text), maxCondition)
		return nil, p.err
	}
	p.blank()
	var out []ast.Value
	if paren && p.lit("(") {
		out = p.list()
	} else {
		out = p.values()
	}
	p.blank()
	if p.err == nil && p.i < len(p.s) {
		p.fail(p.i, "syntax", "put quotes around the value, and quotes around those for YAML: '\"a value\"'", "unexpected %s in a value", p.next())
	}
	if p.err != nil {
		return nil, p.err
	}
	return out, nil
}

type parser struct {
	scanner
	depth int
}

// leftover reports what stands behind a whole condition.
func (p *parser) leftover() {
	const wanted = "expected and, or or the end"
	before := ""
	if k := strings.TrimRight(p.s[:p.i], " \t\r\n"); k != "" {
		f := strings.FieldsFunc(k, func(r rune) bool { return r < 0x80 && !isBare(byte(r)) })
		if len(f) > 0 {
			before = f[len(f)-1]
		}
	}
	hint := ""
	switch c := p.peek(); {
	case c == ')':
		hint = "there is no ( for this one"
	case c == '=' || c == ',' || c == '"' || c == '\'':
		hint = "a value with " + string(c) + " needs quotes"
	case p.ahead("not"):
		hint = "write and not, or or not"
	default:
		for _, op := range Operators() {
			if p.ahead(op) {
				hint = fmt.Sprintf("%s is no field: a field's name has a dot, as proc.name", before)
			}
		}
	}
	p.fail(p.i, "syntax", hint, "unexpected %s, %s", p.next(), wanted)
}

func (p *parser) or() ast.Expr {
	xs := p.chain("or", p.and)
	if len(xs) < 2 {
		return first(xs)
	}
	return &ast.Or{X: xs, Pos: xs[0].Place()}
}

func (p *parser) and() ast.Expr {
	xs := p.chain("and", p.not)
	if len(xs) < 2 {
		return first(xs)
	}
	return &ast.And{X: xs, Pos: xs[0].Place()}
}

func first(xs []ast.Expr) ast.Expr {
	if len(xs) == 0 {
		return nil
	}
	return xs[0]
}

// chain parses parts with word between; nil after an error.
func (p *parser) chain(word string, part func() ast.Expr) []ast.Expr {
	var xs []ast.Expr
	for {
		p.blank()
		x := part()
		if p.err != nil {
			return nil
		}
		xs = append(xs, x)
		p.blank()
		if !strings.HasPrefix(p.s[p.i:], word) {
			return xs
		}
		at := p.i
		p.i += len(word)
		if c := p.peek(); p.i < len(p.s) && !isBlank(c) && c != '(' {
			p.i = at
			p.fail(at, "syntax", fmt.Sprintf("%s needs a blank or a parenthesis behind it", word), "unexpected %s", p.next())
			return nil
		}
	}
}

func (p *parser) not() ast.Expr {
	at := p.i
	negated := false
	for p.ahead("not") {
		back := p.i
		p.i += len("not")
		if !p.blank() && p.peek() != '(' {
			p.i = back
			break
		}
		negated = !negated
	}
	x := p.primary()
	if p.err != nil || !negated {
		return x
	}
	return &ast.Not{X: x, Pos: p.src.At(at)}
}

func (p *parser) primary() ast.Expr {
	p.blank()
	at := p.i
	if p.lit("(") {
		if p.depth++; p.depth > maxNesting {
			p.fail(at, "too-deep", "split it into macros", "more than %d parentheses in each other", maxNesting)
			return nil
		}
		x := p.or()
		p.depth--
		if p.err != nil {
			return nil
		}
		p.blank()
		if !p.lit(")") {
			if p.i >= len(p.s) {
				p.fail(at, "syntax", "add the closing )", "this parenthesis has no end")
			} else {
				p.leftover()
			}
			return nil
		}
		return x
	}
	if f := p.field(); f != "" {
		t := &ast.Test{Pos: p.src.At(at), Field: f + p.index()}
		return p.test(t)
	}
	if c := p.call(false); c != nil {
		return p.test(&ast.Test{Pos: p.src.At(at), Left: c})
	}
	if p.err != nil {
		return nil
	}
	for _, w := range [...]string{"and", "or", "not"} {
		if p.ahead(w) {
			p.fail(at, "syntax", "", "expected a condition before %s", w)
			return nil
		}
	}
	if m := p.name(); m != "" {
		return &ast.MacroRef{Name: m, Pos: p.src.At(at)}
	}
	switch {
	case strings.TrimSpace(p.s) == "":
		p.fail(at, "syntax", "write a test, as proc.name = cat", "the condition is empty")
	case p.i >= len(p.s):
		p.fail(at, "syntax", "", "expected a condition, but this is the end")
	default:
		p.fail(at, "syntax", "", "expected a field, a macro or a parenthesis, not %s", p.next())
	}
	return nil
}

// index takes the argument in a field's brackets, if there is one, and returns it with bare brackets.
func (p *parser) index() string {
	at := p.i
	if !p.lit("[") {
		return ""
	}
	arg, ok := p.quoted()
	if !ok {
		arg = p.span(func(c byte) bool { return !isBlank(c) && strings.IndexByte("[]\"'", c) < 0 })
	}
	if p.err != nil {
		return ""
	}
	if !ok && arg == "" {
		p.fail(p.i, "syntax", "write it without blanks, or in quotes", "expected a field's argument, not %s", p.next())
		return ""
	}
	if !p.lit("]") {
		p.fail(at, "syntax", "add the closing ]; an argument with blanks or brackets needs quotes", "this bracket has no end")
		return ""
	}
	return "[" + arg + "]"
}

// The operators by what may stand behind them. Longer ones come before their beginnings.
func numberOps() [4]string { return [...]string{"<=", "<", ">=", ">"} }
func signOps() [3]string   { return [...]string{"==", "=", "!="} }
func wordOps() [9]string {
	return [...]string{"glob", "iglob", "contains", "icontains", "bcontains", "startswith", "bstartswith", "endswith", "regex"}
}
func listOps() [3]string { return [...]string{"intersects", "in", "pmatch"} }

// test parses the operator and the right side.
func (p *parser) test(t *ast.Test) ast.Expr {
	if p.err != nil {
		return nil
	}
	p.blank()
	t.OpPos = p.src.At(p.i)
	if p.lit("exists") {
		t.Op = "exists"
		return t
	}
	for _, op := range numberOps() {
		if p.lit(op) {
			t.Op = op
			p.rightNumber(t)
			return p.tested(t)
		}
	}
	for _, op := range signOps() {
		if p.lit(op) {
			if t.Op = op; op == "==" {
				t.Op = "="
			}
			p.rightString(t, p.blank())
			return p.tested(t)
		}
	}
	for _, op := range wordOps() {
		back := p.i
		if p.lit(op) {
			if p.blank() {
				t.Op = op
				p.rightString(t, true)
				return p.tested(t)
			}
			p.i = back
		}
	}
	for _, op := range listOps() {
		if p.ahead(op) {
			p.i += len(op)
			t.Op = op
			p.rightList(t)
			return p.tested(t)
		}
	}
	p.badOperator(t)
	return nil
}

// tested returns t, or nil after an error.
func (p *parser) tested(t *ast.Test) ast.Expr {
	if p.err != nil {
		return nil
	}
	return t
}

func (p *parser) badOperator(t *ast.Test) {
	name := t.Field
	if t.Left != nil {
		name = t.Left.Name + "(…)"
	}
	if p.i >= len(p.s) || p.peek() == ')' || p.ahead("and") || p.ahead("or") {
		p.fail(p.i, "syntax", "write "+name+" exists to test whether there is a value", "expected an operator after %s", name)
		return
	}
	from := p.i
	w := strings.ToLower(p.span(isBare))
	p.i = from
	hint := "the operators are " + strings.Join(Operators(), " ")
	if near := ast.Nearest(w, Operators()); near != "" {
		hint = "did you mean " + near + "?"
	}
	for _, op := range wordOps() {
		if strings.HasPrefix(w, op) && len(w) > len(op) {
			hint = op + " needs a blank behind it"
		}
	}
	if slices.Contains(Operators(), w) {
		hint = "operators are written in small letters: " + w
	}
	p.fail(p.i, "syntax", hint, "expected an operator after %s, not %s", name, p.next())
}

// rightNumber parses the right side of < and the like.
func (p *parser) rightNumber(t *ast.Test) {
	p.blank()
	at := p.i
	if t.Right = p.call(true); t.Right != nil || p.err != nil {
		return
	}
	n := p.number()
	if n == "" {
		p.fail(at, "syntax", "", "expected a number after %s, not %s", t.Op, p.next())
		return
	}
	n += p.unit()
	t.Values = []ast.Value{{Text: n, Pos: p.src.At(at)}}
}

// rightString parses the right side of = and the like: one value, a call, or a word such as anyof with a list. blank says
// that a blank stood before it.
func (p *parser) rightString(t *ast.Test, blank bool) {
	if blank && p.modifier(t) {
		return
	}
	at := p.i
	if t.Right = p.call(true); t.Right != nil || p.err != nil {
		return
	}
	v, ok := p.value()
	switch {
	case p.err != nil:
	case ok:
		t.Values = []ast.Value{v}
	case p.peek() == '(':
		hint := "a list goes with in"
		if t.Op != "=" {
			hint = "write " + t.Op + " anyof (…) for a list"
		}
		p.fail(at, "syntax", hint, "%s takes one value, not a list", t.Op)
	default:
		p.fail(at, "syntax", "", "expected a value after %s, not %s", t.Op, p.next())
	}
}

// modifier parses oneof, anyof or allof and its list, if they come next.
func (p *parser) modifier(t *ast.Test) bool {
	back := p.i
	for _, w := range [...]string{"oneof", "anyof", "allof"} {
		if p.lit(w) {
			if !p.blank() || p.ahead("and") || p.ahead("or") || p.ahead("not") || p.peek() != '(' && !isLetter(p.peek()) {
				p.i = back
				return false
			}
			t.Mod = w
			p.listOrName(t)
			return true
		}
	}
	return false
}

// rightList parses the right side of in and the like.
func (p *parser) rightList(t *ast.Test) {
	p.blank()
	if p.peek() != '(' {
		if t.Right = p.call(true); t.Right != nil || p.err != nil {
			return
		}
	}
	p.listOrName(t)
}

func (p *parser) listOrName(t *ast.Test) {
	at := p.i
	if p.lit("(") {
		t.Paren = true
		t.Values = p.list()
		return
	}
	if n := p.name(); n != "" {
		t.Values = []ast.Value{{Text: n, Pos: p.src.At(at)}}
		return
	}
	word := t.Op
	if t.Mod != "" {
		word = t.Mod
	}
	p.fail(at, "syntax", "write "+word+" (a, b)", "expected a list in parentheses or the name of one after %s, not %s", word, p.next())
}

// list parses values up to the closing parenthesis; the opening one is read.
func (p *parser) list() []ast.Value {
	open := p.i - 1
	p.blank()
	if p.lit(")") {
		return nil
	}
	vs := p.values()
	p.blank()
	if p.err == nil && !p.lit(")") {
		if p.i >= len(p.s) {
			p.fail(open, "syntax", "add the closing )", "this parenthesis has no end")
		} else {
			p.fail(p.i, "syntax", "put a comma between values, and quotes around a value with blanks or any of ( ) = , \" '", "unexpected %s in a list", p.next())
		}
	}
	return vs
}

// values parses one or more values with commas between.
func (p *parser) values() []ast.Value {
	var vs []ast.Value
	for {
		p.blank()
		v, ok := p.value()
		if !ok {
			p.fail(p.i, "syntax", "write \"\" for the empty text", "expected a value, not %s", p.next())
			return nil
		}
		vs = append(vs, v)
		p.blank()
		if !p.lit(",") {
			return vs
		}
	}
}

// value takes a quoted string or a bare word.
func (p *parser) value() (ast.Value, bool) {
	at := p.i
	if s, ok := p.quoted(); ok {
		return ast.Value{Text: s, Quoted: true, Pos: p.src.At(at)}, true
	}
	if p.err != nil {
		return ast.Value{}, false
	}
	w := p.span(isBare)
	return ast.Value{Text: w, Pos: p.src.At(at)}, w != ""
}
