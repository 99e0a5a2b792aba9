package ast

// File is one rules file.
type File struct {
	Name   string
	Src    []byte // as read, for showing lines
	Lists  []*List
	Macros []*Macro
	Rules  []*Rule
	Order  []any // the *List, *Macro and *Rule of the file in its order

	Engine  string   // required_engine_version as written, "" for none
	Plugins []Plugin // required_plugin_versions
}

// Plugin is one entry of required_plugin_versions, or an alternative of the entry before it.
type Plugin struct {
	Name, Version string
	Alternative   bool
	Pos           Pos
}

// List is a named list of items; an item may be another list's name.
type List struct {
	Name   string
	Items  []Value
	Append bool // adds to an earlier list of that name
	Pos    Pos
}

// Macro is a named condition.
type Macro struct {
	Name      string
	Condition Expr   // nil when Append: the fragment means nothing by itself
	Text      string // as written
	Source    Source // Text with its places
	Append    bool   // adds to an earlier macro of that name
	Pos       Pos
}

// Rule is one rule, or a change to an earlier one.
type Rule struct {
	Name       string
	Desc       string
	Condition  Expr   // nil when the item gives none, or only appends to one
	Text       string // the condition as written
	CondSource Source // Text with its places
	Output     string // without blanks around it
	OutSource  Source // the output as written, with its places
	Priority   string // as written
	Source     string // "" is syscall
	Tags       []string
	Enabled    bool // default true
	Exceptions []*Exception
	Pos        Pos

	WarnTypes   bool // default true: warn when the rule isn't restricted to a few event types
	SkipUnknown bool // skip-if-unknown-filter: leave the rule out, with a warning, when it names an unknown field

	Append   bool              // `append: true`
	Override map[string]string // key → "append" or "replace"; not nil for a rule that changes an earlier one
	Given    map[string]Pos    // the keys that the item has
}

// Defines reports whether the item is a whole rule, not a change to an earlier one.
func (r *Rule) Defines() bool {
	return !r.Append && r.Override == nil && !r.Switch()
}

// Switch reports whether the item only turns an earlier rule on or off.
func (r *Rule) Switch() bool {
	if r.Append || r.Override != nil {
		return false
	}
	for _, k := range [...]string{"condition", "output", "desc", "priority"} {
		if _, ok := r.Given[k]; ok {
			return false
		}
	}
	return true
}

// Exception takes events out of a rule: one field with the values it may have, or several with tuples of values.
type Exception struct {
	Name   string
	Fields []Source
	Single bool     // Fields was a scalar: Values are the values of one field
	Comps  []Source // the operators; empty for the default
	Values []ExceptionValue
	Pos    Pos
}

// ExceptionValue is a scalar or a list of them.
type ExceptionValue struct {
	Text Source
	List []ExceptionValue // not nil for a list
	Pos  Pos
}
