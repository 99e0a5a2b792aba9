package compile

import (
	"github.com/shikra-sensor/shikra/sensor/internal/field"
	"github.com/shikra-sensor/shikra/sensor/internal/rule/check"
)

// cost guesses the time of the test, in ns; only the order matters.
func (t *test) cost() int {
	c := t.src.cost()
	switch {
	case !t.src.text:
		c += len(t.vals) / 4
	case t.op == check.Exists:
	case t.op == check.PMatch && len(t.vals) >= pathsMin:
		c += 60
	case t.op == check.In, t.op == check.StartsWith, t.op == check.EndsWith:
		c += 1 + len(t.vals)/4
	case t.op == check.Contains:
		c += 15 * len(t.vals)
	case t.op == check.IContains, t.op == check.Glob, t.op == check.IGlob:
		c += 30 * len(t.vals)
	default:
		c += 20 * len(t.vals)
	}
	if t.src.kind == anyAncestor {
		c *= 5
	}
	return c
}

// likely guesses the chance that the test holds for an event of a type that it is about.
func (t *test) likely() float64 {
	switch {
	case t.op == check.Exists:
		return 0.8
	case t.src.typ == field.Bool:
		return 0.3
	case t.src.text:
		return 0.1
	case t.op == check.In:
		return 0.2
	}
	return 0.5
}

// size guesses the bytes of the test's code.
func (t *test) size() int {
	n := 30
	if t.src.kind == anyAncestor {
		return n
	}
	if t.src.text && (t.op == check.In && len(t.vals) >= sharedMin || t.op == check.PMatch) {
		return n
	}
	for _, v := range t.vals {
		if t.src.text {
			n += 16 + 2*len(v.Bytes)
		} else {
			n += 12
		}
	}
	return n
}
