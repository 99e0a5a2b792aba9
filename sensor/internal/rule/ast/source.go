package ast

import (
	"fmt"
	"slices"
	"sort"
)

// Pos is a place in a file. Line and Col count from 1; Col counts bytes. A condition inside a YAML scalar has the place it
// has in the file. The zero Pos is no place.
type Pos struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Col  int    `json:"col"`
}

// String returns file:line:column, or what of it is known.
func (p Pos) String() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.File == "":
		return fmt.Sprintf("%d:%d", p.Line, p.Col)
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col)
}

// Source is a text together with the place of each of its bytes in a file, from which YAML may have taken line breaks,
// quotes and escapes away. The zero value is the empty text of no place.
type Source struct {
	Text string
	Runs []Run // ascending by Off
}

// Run says that N bytes of a text from Off stand one after the other in one line of a file, from Pos on. What follows, up
// to the next run, has the place just behind them.
type Run struct {
	Off, N int
	Pos    Pos
}

// At returns the place of byte off; of the end when off is len(Text).
func (s Source) At(off int) Pos {
	i := sort.Search(len(s.Runs), func(i int) bool { return s.Runs[i].Off > off })
	if i == 0 {
		return Pos{}
	}
	r := s.Runs[i-1]
	r.Pos.Col += min(off-r.Off, r.N)
	return r.Pos
}

// Pos returns where the text begins.
func (s Source) Pos() Pos { return s.At(0) }

// Join returns the texts of s and t with a blank between them.
func (s Source) Join(t Source) Source {
	off := len(s.Text) + 1
	out := Source{Text: s.Text + " " + t.Text, Runs: slices.Clone(s.Runs)}
	for _, r := range t.Runs {
		r.Off += off
		out.Runs = append(out.Runs, r)
	}
	return out
}

// Plain returns text as a source of one line that begins at p.
func Plain(text string, p Pos) Source {
	return Source{Text: text, Runs: []Run{{N: len(text), Pos: p}}}
}
