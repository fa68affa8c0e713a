package wire

import (
	"math"
	"strconv"
)

// parseInt reads an integer's text, if it is the text that PostgreSQL writes for it: then printing gives it back.
func parseInt(text []byte, low, high int64) (int64, bool) {
	digits, negative := text, false
	if len(text) > 0 && text[0] == '-' {
		digits, negative = text[1:], true
	}
	if len(digits) == 0 || len(digits) > 19 || digits[0] == '0' && len(text) > 1 {
		return 0, false
	}
	var u uint64 // 19 digits always fit
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		u = u*10 + uint64(c-'0')
	}
	if negative {
		n := -int64(u) // checked on the next line
		return n, n <= 0 && n >= low
	}
	return int64(u), u <= uint64(high) // checked
}

// parseFloat reads what PostgreSQL writes for a float4 (bits 32) or a float8 (bits 64).
func parseFloat(text []byte, bits int) (float64, bool) {
	if len(text) == 0 || len(text) > 32 {
		return 0, false
	}
	switch c := text[len(text)-1]; {
	case c >= '0' && c <= '9':
		f, err := strconv.ParseFloat(string(text), bits)
		return f, err == nil
	case string(text) == "NaN":
		return math.NaN(), true
	case string(text) == "Infinity":
		return math.Inf(1), true
	case string(text) == "-Infinity":
		return math.Inf(-1), true
	}
	return 0, false
}

// floatSize bounds what appendFloat adds.
const floatSize = 32

// appendFloat prints a float as PostgreSQL does with extra_float_digits above 0: the shortest digits that give it
// back, scientific from 1e6 (float4) or 1e15 (float8) up and below 1e-4.
//
// In rare cases PostgreSQL prints another text for the same float: it does not use digits that lie exactly half way to the next
// float. Therefore who encodes compares, and sends the text along where it differs.
func appendFloat(b []byte, f float64, bits int) []byte {
	high, low := 1e15, 1e-4
	if bits == 32 {
		high, low = 1e6, float64(float32(1e-4))
	}
	switch a := math.Abs(f); {
	case math.IsNaN(f):
		return append(b, "NaN"...)
	case math.IsInf(f, 1):
		return append(b, "Infinity"...)
	case math.IsInf(f, -1):
		return append(b, "-Infinity"...)
	case a != 0 && (a >= high || a < low):
		return strconv.AppendFloat(b, f, 'e', -1, bits)
	}
	return strconv.AppendFloat(b, f, 'f', -1, bits)
}
