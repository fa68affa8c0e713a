package mapping

import "math"

func plus(a, b any) (any, error) {
	if a == nil || b == nil {
		return nil, nil //nolint:nilnil // nil is the value: null
	}
	if x, ok := a.(string); ok {
		if y, ok := b.(string); ok {
			return x + y, nil
		}
	}
	return arithmetic(a, b, arith{
		ints:     func(x, y int) (int, bool) { s := x + y; return s, (s > x) == (y > 0) },
		floats:   func(x, y float64) float64 { return x + y },
		decimals: Decimal.plus,
	})
}

func minus(a, b any) (any, error) {
	return arithmetic(a, b, arith{
		ints:     func(x, y int) (int, bool) { s := x - y; return s, (s < x) == (y > 0) },
		floats:   func(x, y float64) float64 { return x - y },
		decimals: Decimal.minus,
	})
}

func times(a, b any) (any, error) {
	return arithmetic(a, b, arith{ints: timesInt, floats: func(x, y float64) float64 { return x * y }, decimals: Decimal.times})
}

func timesInt(x, y int) (int, bool) {
	if x == 0 || y == 0 {
		return 0, true
	}
	p := x * y
	return p, p/y == x && (x != -1 || y != math.MinInt) && (y != -1 || x != math.MinInt)
}

// arith is one operation on each type of number.
type arith struct {
	ints     func(x, y int) (int, bool) // false: overflow
	floats   func(x, y float64) float64
	decimals func(x, y Decimal) Decimal
}

func arithmetic(a, b any, do arith) (any, error) {
	if a == nil || b == nil {
		return nil, nil //nolint:nilnil // nil is the value: null
	}
	a, b, ok := pair(a, b)
	if !ok {
		return nil, errOperands
	}
	switch x := a.(type) {
	case int:
		y, _ := b.(int)
		n, fits := do.ints(x, y)
		if !fits {
			return nil, errOverflow
		}
		return n, nil
	case float64:
		y, _ := b.(float64)
		return do.floats(x, y), nil
	case Decimal:
		y, _ := b.(Decimal)
		return do.decimals(x, y), nil
	}
	return nil, errOperands
}

// over divides as floats do; exact quotients are div's.
func over(a, b any) (any, error) {
	if a == nil || b == nil {
		return nil, nil //nolint:nilnil // nil is the value: null
	}
	x, ok1 := float(a)
	y, ok2 := float(b)
	switch {
	case !ok1 || !ok2:
		return nil, errOperands
	case y == 0:
		return nil, errDivision
	}
	return x / y, nil
}

func float(a any) (float64, bool) {
	switch x := a.(type) {
	case int:
		return float64(x), true
	case float64:
		return x, true
	}
	return 0, false
}

func modulo(a, b any) (any, error) {
	if a == nil || b == nil {
		return nil, nil //nolint:nilnil // nil is the value: null
	}
	x, ok1 := a.(int)
	y, ok2 := b.(int)
	switch {
	case !ok1 || !ok2:
		return nil, errOperands
	case y == 0:
		return nil, errDivision
	}
	return x % y, nil
}

func negate(a any) (any, error) {
	switch v := a.(type) {
	case nil:
		return nil, nil //nolint:nilnil // nil is the value: null
	case int:
		if v == math.MinInt {
			return nil, errOverflow
		}
		return -v, nil
	case float64:
		return -v, nil
	case Decimal:
		return Decimal{}.minus(v), nil
	}
	return nil, errOperands
}
