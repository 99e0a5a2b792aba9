// Package ast holds a rules file as it was written: lists, macros, rules and condition trees with their places.
package ast

import "fmt"

// Pos is a place in a file. Line and Col count from 1; Col counts bytes. A condition inside a YAML scalar has the place it
// has in the file.
type Pos struct {
	File      string
	Line, Col int
}

// String returns file:line:column.
func (p Pos) String() string { return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col) }

// Expr is a node of a condition: *And, *Or, *Not, *Test or *MacroRef.
type Expr interface{ Place() Pos }

// And holds when all of X do; X has at least two.
type And struct {
	X   []Expr
	Pos Pos
}

// Or holds when any of X does; X has at least two.
type Or struct {
	X   []Expr
	Pos Pos
}

// Not holds when X doesn't.
type Not struct {
	X   Expr
	Pos Pos
}

// MacroRef stands for a macro's condition; after expansion none is left.
type MacroRef struct {
	Name string
	Pos  Pos
}

// Test compares a field with constants.
type Test struct {
	Field  string // as written: "proc.aname[2]", "evt.arg.flags"
	Op     string // "=", "!=", "<", "<=", ">", ">=", "exists", "in", "intersects", "pmatch", "contains", …; "==" is "="
	Values []Value
	Pos    Pos // of the field
	OpPos  Pos
	Paren  bool // the right side stands in parentheses
}

// Value is a constant, or the name of a list before expansion.
type Value struct {
	Text   string // without quotes, escapes resolved
	Quoted bool
	Pos    Pos
}

// Place returns where the node begins.
func (x *And) Place() Pos { return x.Pos }

// Place returns where the node begins.
func (x *Or) Place() Pos { return x.Pos }

// Place returns where the node begins.
func (x *Not) Place() Pos { return x.Pos }

// Place returns where the node begins.
func (x *MacroRef) Place() Pos { return x.Pos }

// Place returns where the node begins.
func (x *Test) Place() Pos { return x.Pos }

// File is one rules file.
type File struct {
	Name   string
	Lists  []*List
	Macros []*Macro
	Rules  []*Rule
	Order  []any // the *List, *Macro and *Rule of the file in its order
}

// List is a named list of items; an item may be another list's name.
type List struct {
	Name  string
	Items []Value
	Pos   Pos
}

// Macro is a named condition.
type Macro struct {
	Name      string
	Condition Expr
	Text      string // as written
	Pos       Pos
}

// Rule is one rule.
type Rule struct {
	Name      string
	Desc      string
	Condition Expr
	Text      string // the condition as written
	Output    string
	OutputPos Pos
	Priority  string // as written
	Source    string // "" is syscall
	Tags      []string
	Enabled   bool // default true
	Pos       Pos
}
