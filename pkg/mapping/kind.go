package mapping

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"segue/pkg/change"
	"segue/pkg/table"
)

// kind is how an expression sees a column.
type kind byte

const (
	kindString kind = iota // also dates, JSON, arrays and the rest: PostgreSQL's text
	kindInt
	kindFloat
	kindBool
	kindDecimal
)

func kindOf(c *table.Column) kind {
	switch c.Base {
	case "smallint", "integer", "bigint", "oid":
		return kindInt
	case "real", "double precision":
		return kindFloat
	case "boolean":
		return kindBool
	case "numeric":
		return kindDecimal
	}
	return kindString
}

// sample is a value of the kind, for the type check.
func (k kind) sample() any {
	switch k {
	case kindInt:
		return 0
	case kindFloat:
		return 0.0
	case kindBool:
		return false
	case kindDecimal:
		return Decimal{}
	case kindString:
	}
	return ""
}

// decode turns a column's text into what the expression sees; NULL is nil.
func (k kind) decode(v change.Value) (any, error) {
	if v.IsNull() {
		return nil, nil //nolint:nilnil // nil is the value: NULL
	}
	b := v.Bytes()
	switch k {
	case kindInt:
		n, err := strconv.Atoi(string(b))
		if err != nil {
			return nil, reason("an integer column holds no integer")
		}
		return n, nil
	case kindFloat:
		return parseFloat(string(b))
	case kindBool:
		return len(b) > 0 && b[0] == 't', nil
	case kindDecimal:
		return ParseDecimal(string(b))
	case kindString:
	}
	return string(b), nil
}

// takes says whether PostgreSQL would read the text as a value of the kind.
func (k kind) takes(s string) bool {
	s = strings.ToLower(strings.TrimSpace(s))
	var err error
	switch k {
	case kindInt:
		_, err = strconv.Atoi(s)
	case kindFloat, kindDecimal:
		_, err = strconv.ParseFloat(s, 64)
	case kindBool:
		return slices.Contains([]string{"t", "true", "y", "yes", "on", "1", "f", "false", "n", "no", "off", "0"}, s)
	case kindString:
	}
	return err == nil
}

func parseFloat(s string) (any, error) {
	switch s {
	case "NaN":
		return math.NaN(), nil
	case "Infinity":
		return math.Inf(1), nil
	case "-Infinity":
		return math.Inf(-1), nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return nil, reason("a float column holds no number")
	}
	return f, nil
}

// textOf is a result in PostgreSQL's text; boolean says that the column is one, which writes t and f.
func textOf(result any, boolean bool) (change.Value, error) {
	switch v := result.(type) {
	case nil:
		return change.Null(), nil
	case string:
		return change.String(v), nil
	case int:
		return change.Text(strconv.AppendInt(nil, int64(v), 10)), nil
	case bool:
		return change.String(boolText(v, boolean)), nil
	case float64:
		return change.String(floatText(v)), nil
	case Decimal:
		return change.String(v.String()), nil
	}
	return change.Absent(), reason("the expression gives no single value")
}

func boolText(v, boolean bool) string {
	s := strconv.FormatBool(v)
	if boolean {
		return s[:1]
	}
	return s
}

// floatText writes a float as PostgreSQL does with extra_float_digits = 3: the shortest text that reads back the same.
func floatText(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	const small, large = 1e-4, 1e15
	if a := math.Abs(f); a != 0 && (a < small || a >= large) {
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}
