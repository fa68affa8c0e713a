package mapping

import (
	"math"
	"strconv"
)

// The operators as expressions have them here. The engine's own would fail on null. Here null is a value: it equals only
// null; an order comparison with it is false; arithmetic with it gives null; as a condition it counts as false.

const (
	errDivision = reason("division by zero")
	errOverflow = reason("the result does not fit 64 bits")
	errOperands = reason("an operator got values of types that do not go together")
)

// binary are the functions that stand in for the engine's operators.
func binary() map[string]func(a, b any) (any, error) {
	return map[string]func(a, b any) (any, error){
		"==": sure(equal),
		"!=": sure(func(a, b any) bool { return !equal(a, b) }),
		"<":  func(a, b any) (any, error) { return ordered(a, b, func(c int) bool { return c < 0 }) },
		"<=": func(a, b any) (any, error) { return ordered(a, b, func(c int) bool { return c <= 0 }) },
		">":  func(a, b any) (any, error) { return ordered(a, b, func(c int) bool { return c > 0 }) },
		">=": func(a, b any) (any, error) { return ordered(a, b, func(c int) bool { return c >= 0 }) },
		"+":  plus,
		"-":  minus,
		"*":  times,
		"/":  over,
		"%":  modulo,
		"in": in,
	}
}

func sure(f func(a, b any) bool) func(a, b any) (any, error) {
	return func(a, b any) (any, error) { return f(a, b), nil }
}

// pair brings two numbers to one type: int, Decimal (one of them is) or float64.
func pair(a, b any) (any, any, bool) {
	switch x := a.(type) {
	case int:
		switch y := b.(type) {
		case int:
			return x, y, true
		case float64:
			return float64(x), y, true
		case Decimal:
			return decimalOfInt(x), y, true
		}
	case float64:
		switch y := b.(type) {
		case int:
			return x, float64(y), true
		case float64:
			return x, y, true
		case Decimal:
			d, ok := decimalOfFloat(x)
			return d, y, ok
		}
	case Decimal:
		switch y := b.(type) {
		case int:
			return x, decimalOfInt(y), true
		case float64:
			d, ok := decimalOfFloat(y)
			return x, d, ok
		case Decimal:
			return x, y, true
		}
	}
	return nil, nil, false
}

// decimalOfFloat takes the shortest text of the float, so that 1.19 in an expression is 1.19 exactly.
func decimalOfFloat(f float64) (Decimal, bool) {
	d, err := ParseDecimal(strconv.FormatFloat(f, 'f', -1, 64))
	return d, err == nil
}

func equal(a, b any) bool {
	if x, y, ok := pair(a, b); ok {
		if d, isDecimal := x.(Decimal); isDecimal {
			e, _ := y.(Decimal)
			return d.compare(e) == 0
		}
		return x == y
	}
	switch x := a.(type) {
	case nil:
		return b == nil
	case string:
		return x == b
	case bool:
		return x == b
	}
	return false
}

func ordered(a, b any, holds func(int) bool) (any, error) {
	if a == nil || b == nil {
		return false, nil
	}
	if x, y, ok := pair(a, b); ok {
		return compareNumbers(x, y, holds), nil
	}
	x, ok1 := a.(string)
	y, ok2 := b.(string)
	if !ok1 || !ok2 {
		return nil, errOperands
	}
	return holds(compareText(x, y)), nil
}

func compareNumbers(a, b any, holds func(int) bool) bool {
	switch x := a.(type) {
	case int:
		y, _ := b.(int)
		return holds(sign(x < y, x > y))
	case float64:
		y, _ := b.(float64)
		return !math.IsNaN(x) && !math.IsNaN(y) && holds(sign(x < y, x > y))
	case Decimal:
		y, _ := b.(Decimal)
		return holds(x.compare(y))
	}
	return false
}

func sign(less, more bool) int {
	switch {
	case less:
		return -1
	case more:
		return 1
	}
	return 0
}

func in(a, list any) (any, error) {
	switch l := list.(type) {
	case nil:
		return false, nil
	case []any:
		for _, v := range l {
			if equal(a, v) {
				return true, nil
			}
		}
		return false, nil
	case []string:
		for _, v := range l {
			if equal(a, v) {
				return true, nil
			}
		}
		return false, nil
	case []int:
		for _, v := range l {
			if equal(a, v) {
				return true, nil
			}
		}
		return false, nil
	}
	return nil, errOperands
}

// truth is a condition's value; null counts as false.
func truth(a any) (any, error) {
	switch v := a.(type) {
	case nil:
		return false, nil
	case bool:
		return v, nil
	}
	return nil, reason("a condition is neither true nor false")
}
