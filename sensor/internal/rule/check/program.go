// Package check turns parsed rules into a typed program: lists and macros expanded, fields bound to the catalogue,
// constants read, event types derived. What it can't accept it reports with the place.
package check

import (
	"github.com/shikra-sensor/shikra/sensor/internal/event"
	"github.com/shikra-sensor/shikra/sensor/internal/field"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/ast"
)

// Program is a checked set of rules in load order: what the compiler takes.
type Program struct {
	Rules []*Rule
}

// Rule is one checked rule. Disabled rules are left out of a Program.
type Rule struct {
	Name     string
	Desc     string
	Priority string // "Emergency", "Alert", "Critical", "Error", "Warning", "Notice", "Informational", "Debug"
	Source   string
	Tags     []string
	Output   string
	Types    []event.Type // the event types it can match, ascending; what evt.type says, else every current type
	Calls    []string     // of event.GenericX among Types: the names of the system calls that it can match, sorted
	Cond     Cond
	AST      ast.Expr // the same condition with macros and lists expanded, for the slow evaluator
	Text     string   // the condition as written
	Pos      ast.Pos
}

// Cond is a node of a checked condition: And, Or, *Not, *Test or Bool.
type Cond interface{ cond() }

// And holds when all parts do; it has at least two.
type And []Cond

// Or holds when any part does; it has at least two.
type Or []Cond

// Not holds when X doesn't.
type Not struct{ X Cond }

// Bool always or never holds: what is left of a test whose outcome is known (evt.dir = <).
type Bool bool

// Test compares a field with constants. A missing value makes every Op but Exists false… and Exists too.
type Test struct {
	Field  field.Ref
	Op     Op
	Values []Const // one, or any number for In and Intersects; none for Exists
	Pos    ast.Pos
}

func (And) cond()   {}
func (Or) cond()    {}
func (*Not) cond()  {}
func (Bool) cond()  {}
func (*Test) cond() {}

// Op is an operator.
type Op uint8

// The operators. Exists needs a value only; Ne, too, is false without one. In holds for a list field when each of its
// elements is among the constants, Intersects when one is. Regex is a POSIX extended expression for the whole value. The
// constants of Contains and StartsWith on a Bytes field may hold NUL bytes.
const (
	Exists Op = iota
	Eq
	Ne
	Lt
	Le
	Gt
	Ge
	In
	Intersects
	Contains
	IContains
	StartsWith
	EndsWith
	Glob
	PMatch
	Regex
	IGlob
)

// Const is a constant in the type of its field.
type Const struct {
	Bytes []byte // String, Bytes: the text; IP: 4 or 16 bytes; IPNet: the masked address
	Int   uint64 // Int, Uint, Bool, Port, RelTime, AbsTime: bit pattern
	Bits  int    // IPNet: prefix length
}
