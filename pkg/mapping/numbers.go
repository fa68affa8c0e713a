package mapping

import (
	"math/big"
	"strconv"
	"strings"
)

func numberFunctions() []function {
	return []function{
		{name: "int", forms: forms1[int](), call: toInt},
		{name: "float", forms: forms1[float64](), call: toFloat},
		{name: "decimal", forms: forms1[Decimal](), call: toDecimalCall},
		{name: "string", forms: append(forms1[string](), new(func(bool) string)), call: toText},
		{name: "round", forms: []any{new(func(Decimal, int) Decimal), new(func(int, int) Decimal), new(func(float64, int) Decimal)}, call: round},
		{name: "div", forms: []any{
			new(func(int, int, int) Decimal), new(func(Decimal, int, int) Decimal),
			new(func(int, Decimal, int) Decimal), new(func(Decimal, Decimal, int) Decimal),
		}, call: div},
		{name: "abs", forms: []any{new(func(int) int), new(func(float64) float64), new(func(Decimal) Decimal)}, call: absolute},
	}
}

func forms1[T any]() []any {
	return []any{new(func(string) T), new(func(int) T), new(func(float64) T), new(func(Decimal) T)}
}

const (
	errNoNumber = reason("a text is no number")
	maxDigits   = 1000
)

// toInt cuts a fraction off; a text must be an integer.
func toInt(args []any) (any, error) {
	switch v := args[0].(type) {
	case int:
		return v, nil
	case float64:
		if v >= -1<<63 && v < 1<<63 {
			return int(v), nil
		}
		return nil, errOverflow
	case Decimal:
		n := v.int()
		if v.scale > 0 {
			n = new(big.Int).Quo(n, powerOfTen(v.scale))
		}
		if !n.IsInt64() {
			return nil, errOverflow
		}
		return int(n.Int64()), nil
	case string:
		n, err := strconv.Atoi(strings.TrimSpace(v))
		if err != nil {
			return nil, errNoNumber
		}
		return n, nil
	}
	return nil, errArguments
}

func toFloat(args []any) (any, error) {
	switch v := args[0].(type) {
	case int:
		return float64(v), nil
	case float64:
		return v, nil
	case Decimal:
		return floatOf(v.String())
	case string:
		return floatOf(strings.TrimSpace(v))
	}
	return nil, errArguments
}

func floatOf(s string) (any, error) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return nil, errNoNumber
	}
	return f, nil
}

func toDecimal(a any) (Decimal, error) {
	switch v := a.(type) {
	case int:
		return decimalOfInt(v), nil
	case float64:
		if d, ok := decimalOfFloat(v); ok {
			return d, nil
		}
		return Decimal{}, errDecimal
	case Decimal:
		return v, nil
	case string:
		d, err := ParseDecimal(strings.TrimPrefix(strings.TrimSpace(v), "+"))
		if err != nil {
			return Decimal{}, errNoNumber
		}
		return d, nil
	}
	return Decimal{}, errArguments
}

func toDecimalCall(args []any) (any, error) {
	d, err := toDecimal(args[0])
	if err != nil {
		return nil, err
	}
	return d, nil
}

func toText(args []any) (any, error) {
	v, err := textOf(args[0], false)
	return string(v.Bytes()), err
}

func round(args []any) (any, error) {
	d, err := toDecimal(args[0])
	n, ok := args[1].(int)
	if err != nil || !ok || n < 0 || n > maxDigits {
		return nil, errArguments
	}
	return d.round(n), nil
}

// div is an exact quotient, rounded to so many digits.
func div(args []any) (any, error) {
	a, err1 := toDecimal(args[0])
	b, err2 := toDecimal(args[1])
	n, ok := args[2].(int)
	if err1 != nil || err2 != nil || !ok || n < 0 || n > maxDigits {
		return nil, errArguments
	}
	q, err := a.over(b, n)
	if err != nil {
		return nil, err
	}
	return q, nil
}

func absolute(args []any) (any, error) {
	switch v := args[0].(type) {
	case int:
		if v < 0 {
			return negate(v)
		}
		return v, nil
	case float64:
		if v < 0 {
			return -v, nil
		}
		return v, nil
	case Decimal:
		if v.int().Sign() < 0 {
			return Decimal{}.minus(v), nil
		}
		return v, nil
	}
	return nil, errArguments
}
