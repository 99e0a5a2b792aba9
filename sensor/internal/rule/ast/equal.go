package ast

import "slices"

// Equal reports whether x and y are the same condition, places aside.
func Equal(x, y Expr) bool {
	switch x := x.(type) {
	case nil:
		return y == nil
	case *And:
		y, ok := y.(*And)
		return ok && slices.EqualFunc(x.X, y.X, Equal)
	case *Or:
		y, ok := y.(*Or)
		return ok && slices.EqualFunc(x.X, y.X, Equal)
	case *Not:
		y, ok := y.(*Not)
		return ok && Equal(x.X, y.X)
	case *MacroRef:
		y, ok := y.(*MacroRef)
		return ok && x.Name == y.Name
	case *Test:
		y, ok := y.(*Test)
		return ok && x.Field == y.Field && x.Op == y.Op && x.Mod == y.Mod && x.Paren == y.Paren &&
			equalCalls(x.Left, y.Left) && equalCalls(x.Right, y.Right) && slices.EqualFunc(x.Values, y.Values, equalValues)
	}
	return false
}

func equalValues(x, y Value) bool { return x.Text == y.Text && x.Quoted == y.Quoted }

func equalCalls(x, y *Call) bool {
	if x == nil || y == nil {
		return x == y
	}
	if (x.Index == nil) != (y.Index == nil) || x.Index != nil && *x.Index != *y.Index {
		return false
	}
	return x.Name == y.Name && slices.EqualFunc(x.Args, y.Args, equalOperands)
}

func equalOperands(x, y Operand) bool {
	if (x.Value == nil) != (y.Value == nil) || x.Value != nil && !equalValues(*x.Value, *y.Value) {
		return false
	}
	return x.Field == y.Field && (x.List == nil) == (y.List == nil) && equalCalls(x.Call, y.Call) &&
		slices.EqualFunc(x.List, y.List, equalOperands)
}
