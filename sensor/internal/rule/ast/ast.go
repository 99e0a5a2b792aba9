// Package ast holds a rules file as it was written: lists, macros, rules and condition trees with their places, and what
// there is to say about them.
package ast

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
	Field  string // as written: "proc.aname[2]", "evt.arg.flags"; "" when Left is set
	Left   *Call  // a transformed left side: tolower(proc.name)
	Op     string // "=", "!=", "<", "<=", ">", ">=", "exists", "in", "intersects", "pmatch", "contains", …; "==" is "="
	Mod    string // "oneof", "anyof", "allof" between an operator and its list; "" for none
	Values []Value
	Right  *Call // a field on the right side: val(proc.name), tolower(proc.pname); Values is empty then
	Pos    Pos   // of the field
	OpPos  Pos
	Paren  bool // the right side stands in parentheses
}

// Value is a constant, or the name of a list before expansion.
type Value struct {
	Text   string // without quotes, escapes resolved
	Quoted bool   // never the name of a list
	Pos    Pos
}

// Call is a transformer with its arguments.
type Call struct {
	Name  string // "tolower", "val", …
	Args  []Operand
	Index *string // what stands in brackets after it, nil for nothing
	Pos   Pos
}

// Operand is an argument of a transformer: exactly one of Field, Value, Call and List.
type Operand struct {
	Field string
	Value *Value
	Call  *Call
	List  []Operand // not nil for a list, which may be empty
	Pos   Pos
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

// Key is the name under which a Value can name a list; "" when it can't.
func (v Value) Key() string {
	if v.Quoted {
		return ""
	}
	return v.Text
}

// Walk calls fn for x and everything below it, parents first; it goes no further down where fn returns false.
func Walk(x Expr, fn func(Expr) bool) {
	if x == nil || !fn(x) {
		return
	}
	switch x := x.(type) {
	case *And:
		for _, y := range x.X {
			Walk(y, fn)
		}
	case *Or:
		for _, y := range x.X {
			Walk(y, fn)
		}
	case *Not:
		Walk(x.X, fn)
	}
}
