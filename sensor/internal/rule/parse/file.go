package parse

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/shikra-sensor/shikra/sensor/internal/rule/ast"
)

// The bounds of a rules file.
const (
	maxFile  = 8 << 20 // bytes
	maxDepth = 16      // YAML collections in each other
	maxDiags = 100     // errors and warnings in one file
)

// File reads a rules file. The file is nil exactly when one of the diagnostics is an error; warnings come with a file.
// name is only for the places. src is kept.
func File(name string, src []byte) (*ast.File, ast.Diagnostics) {
	r := &reader{places: newPlaces(name, src), file: &ast.File{Name: name, Src: src}}
	r.read(src)
	for _, d := range r.diags {
		d.Line = ast.Line(src, d.Pos.Line)
	}
	if r.diags.Errors() > 0 {
		return nil, r.diags
	}
	return r.file, r.diags
}

type reader struct {
	*places
	file   *ast.File
	diags  ast.Diagnostics
	silent bool // maxDiags is reached
}

func (r *reader) add(d *ast.Diagnostic) {
	if r.silent {
		return
	}
	r.diags = append(r.diags, d)
	if len(r.diags) == maxDiags {
		r.silent = true
		r.diags = append(r.diags, &ast.Diagnostic{Pos: d.Pos, Severity: d.Severity, Code: "too-many", Message: "too many messages: the rest is left out"})
	}
}

func (r *reader) fail(pos ast.Pos, code, hint, format string, args ...any) {
	if r.silent { // what follows may be the only error
		r.diags[len(r.diags)-1].Severity = ast.Error
	}
	r.add(&ast.Diagnostic{Pos: pos, Severity: ast.Error, Code: code, Message: fmt.Sprintf(format, args...), Hint: hint})
}

func (r *reader) warn(pos ast.Pos, code, hint, format string, args ...any) {
	r.add(&ast.Diagnostic{Pos: pos, Severity: ast.Warning, Code: code, Message: fmt.Sprintf(format, args...), Hint: hint})
}

func (r *reader) read(src []byte) {
	start := ast.Pos{File: r.name, Line: 1, Col: 1}
	if len(src) > maxFile {
		r.fail(start, "too-large", "split it", "a file of %d bytes is larger than %d", len(src), maxFile)
		return
	}
	if !utf8.Valid(src) {
		n := 0
		for n < len(src) {
			c, w := utf8.DecodeRune(src[n:])
			if c == utf8.RuneError && w == 1 {
				break
			}
			n += w
		}
		line := 1 + bytes.Count(src[:n], []byte("\n"))
		r.fail(r.at(line, n), "encoding", "save the file as UTF-8", "this byte is not UTF-8")
		return
	}
	if !r.shallow(src) {
		return
	}
	docs, err := documents(src)
	if err != nil {
		r.yamlError(err)
		return
	}
	for _, doc := range docs {
		r.document(doc)
	}
}

// documents decodes the YAML documents of a file. The recover is for the YAML library alone: it is the one part of the
// parser that isn't ours, and a rules file must not be able to stop the sensor.
func documents(src []byte) (docs []*yaml.Node, err error) {
	defer func() {
		if p := recover(); p != nil {
			docs, err = nil, fmt.Errorf("yaml: %v", p)
		}
	}()
	dec := yaml.NewDecoder(bytes.NewReader(src))
	for {
		n := new(yaml.Node)
		err := dec.Decode(n)
		if errors.Is(err, io.EOF) {
			return docs, nil
		}
		if err != nil {
			return nil, err
		}
		docs = append(docs, n)
	}
}

// shallow refuses brackets nested so deeply that the YAML parser's recursion would be costly. It counts brackets without
// regard to quotes, so the bound is well above maxDepth.
func (r *reader) shallow(src []byte) bool {
	const most = 1000
	depth, line := 0, 1
	for i, c := range src {
		switch c {
		case '\n':
			line++
		case '[', '{':
			if depth++; depth > most {
				r.fail(r.at(line, i), "too-deep", "", "more than %d brackets in each other", most)
				return false
			}
		case ']', '}':
			depth = max(0, depth-1)
		}
	}
	return true
}

func (r *reader) yamlError(err error) {
	msg := strings.TrimPrefix(err.Error(), "yaml: ")
	pos := ast.Pos{File: r.name, Line: 1, Col: 1}
	if m := regexp.MustCompile(`^line (\d+): `).FindStringSubmatch(msg); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			pos.Line = min(max(n, 1), len(r.lines))
			msg = msg[len(m[0]):]
		}
	}
	hint := ""
	switch {
	case strings.Contains(msg, "mapping values are not allowed"):
		hint = "a text with a colon and a blank in it needs quotes, or > with the text on the next line"
	case strings.Contains(msg, "cannot start any token"), strings.Contains(msg, "did not find expected key"):
		hint = "check the indentation, and that texts beginning with @, %, * or a quote are quoted"
	case strings.Contains(msg, "tab"):
		hint = "indent with blanks, not with tabs"
	}
	r.fail(pos, "yaml", hint, "this is not YAML: %s", msg)
}

// document reads one YAML document: a sequence of items.
func (r *reader) document(doc *yaml.Node) {
	if len(doc.Content) == 0 {
		return
	}
	top := doc.Content[0]
	if !r.plain(top, 0) {
		return
	}
	if isNull(top) {
		return
	}
	if top.Kind != yaml.SequenceNode {
		r.fail(r.pos(top), "shape", "begin each list, macro and rule with a dash: - rule: name", "a rules file is a sequence of items, this is %s", kindOf(top))
		return
	}
	for _, item := range top.Content {
		if isNull(item) {
			continue
		}
		if item.Kind != yaml.MappingNode {
			r.fail(r.pos(item), "shape", "begin it with list:, macro: or rule:", "an item is a mapping, this is %s", kindOf(item))
			continue
		}
		r.item(item)
	}
}

// plain refuses what a rules file has no use for and a hostile one could abuse: aliases, anchors, tags, depth.
func (r *reader) plain(n *yaml.Node, depth int) bool {
	switch {
	case depth > maxDepth:
		r.fail(r.pos(n), "too-deep", "", "more than %d collections in each other", maxDepth)
		return false
	case n.Kind == yaml.AliasNode:
		r.fail(r.pos(n), "alias", "write it out, or use a list or a macro", "YAML aliases are not taken here")
		return false
	case n.Anchor != "":
		r.fail(r.pos(n), "alias", "leave the & and the word behind it out", "YAML anchors are not taken here")
		return false
	case n.Style&yaml.TaggedStyle != 0:
		r.fail(r.pos(n), "tag", "leave the tag out", "YAML tags are not taken here")
		return false
	}
	ok := true
	for _, c := range n.Content {
		ok = r.plain(c, depth+1) && ok
		if r.silent {
			return false
		}
	}
	return ok
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

func kindOf(n *yaml.Node) string {
	switch {
	case isNull(n):
		return "empty"
	case n.Kind == yaml.SequenceNode:
		return "a sequence"
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	}
	return "a text"
}

// mapping is an item's keys in order.
type mapping struct {
	node *yaml.Node
	keys []string
	at   map[string]*yaml.Node // the key's node
	val  map[string]*yaml.Node
}

// mapping reads the keys of a mapping. A key that stands twice is an error: which of them counts differs between readers.
func (r *reader) mapping(n *yaml.Node) mapping {
	m := mapping{node: n, at: map[string]*yaml.Node{}, val: map[string]*yaml.Node{}}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.Kind != yaml.ScalarNode {
			r.fail(r.pos(k), "shape", "", "a key is a word, this is %s", kindOf(k))
			continue
		}
		if _, twice := m.at[k.Value]; twice {
			r.fail(r.pos(k), "duplicate-key", "leave one of them out", "the key %s stands twice", k.Value)
			continue
		}
		m.keys = append(m.keys, k.Value)
		m.at[k.Value], m.val[k.Value] = k, v
	}
	return m
}

// unknown warns of keys that aren't among known.
func (r *reader) unknown(m mapping, what string, known ...string) {
	for _, k := range m.keys {
		if !slices.Contains(known, k) {
			hint := "the keys of a " + what + " are " + strings.Join(known, ", ")
			if near := ast.Nearest(k, known); near != "" {
				hint = "did you mean " + near + "?"
			}
			r.warn(r.pos(m.at[k]), "unknown-key", hint, "unknown key %s is ignored", k)
		}
	}
}

// text returns the text under key; ok is false when it is missing or not a text, which is an error unless it is missing
// and optional.
func (r *reader) text(m mapping, what, key string, optional bool) (ast.Source, bool) {
	v := m.val[key]
	switch {
	case v == nil && optional:
	case v == nil:
		r.fail(r.pos(m.node), "missing-key", "add "+key+": …", "this %s has no %s", what, key)
	case isNull(v) || v.Kind == yaml.ScalarNode && v.Value == "":
		if !optional {
			r.fail(r.pos(m.at[key]), "empty", "", "%s is empty", key)
		}
	case v.Kind != yaml.ScalarNode:
		r.fail(r.pos(v), "shape", "", "%s is a text, this is %s", key, kindOf(v))
	default:
		return r.scalar(v), true
	}
	return ast.Source{}, false
}

// flag returns the bool under key, def when it is missing.
func (r *reader) flag(m mapping, key string, def bool) bool {
	v := m.val[key]
	if v == nil {
		return def
	}
	if v.Kind == yaml.ScalarNode {
		switch strings.ToLower(v.Value) {
		case "true", "yes", "on", "y":
			return true
		case "false", "no", "off", "n":
			return false
		}
	}
	r.fail(r.pos(v), "shape", "", "%s is true or false", key)
	return def
}

// texts returns the texts of the sequence under key.
func (r *reader) texts(m mapping, what, key string, optional bool) []ast.Source {
	v := m.val[key]
	if v == nil {
		if !optional {
			r.fail(r.pos(m.node), "missing-key", "add "+key+": [ ]", "this %s has no %s", what, key)
		}
		return nil
	}
	if v.Kind != yaml.SequenceNode {
		if !isNull(v) || !optional {
			r.fail(r.pos(v), "shape", "write them in brackets: [a, b]", "%s is a sequence, this is %s", key, kindOf(v))
		}
		return nil
	}
	out := make([]ast.Source, 0, len(v.Content))
	for _, c := range v.Content {
		if c.Kind != yaml.ScalarNode || isNull(c) && c.Value == "" {
			r.fail(r.pos(c), "shape", "", "%s holds texts, this is %s", key, kindOf(c))
			continue
		}
		out = append(out, r.scalar(c))
	}
	return out
}
