package wire

import (
	"encoding/base64"
	"math"
	"unicode/utf8"

	"segue/pkg/table"
)

// jsonKind is how a column's values travel in the JSON form.
type jsonKind byte

const (
	jsonString jsonKind = iota
	jsonBool
	jsonInt16
	jsonInt32
	jsonInt64
	jsonFloat
	jsonDouble
	jsonBytes
)

// jsonKindOf is kindOf with the integers that Connect tells apart.
func jsonKindOf(c *table.Column) jsonKind {
	switch kindOf(c) {
	case kindBool:
		return jsonBool
	case kindInt:
		if c.Base == "smallint" || c.Base == "int2" {
			return jsonInt16
		}
		return jsonInt32
	case kindLong:
		return jsonInt64
	case kindFloat:
		return jsonFloat
	case kindDouble:
		return jsonDouble
	case kindBytes:
		return jsonBytes
	case kindString:
	}
	return jsonString
}

// connect is the kind's name in a Connect schema.
func (k jsonKind) connect() string {
	switch k {
	case jsonBool:
		return "boolean"
	case jsonInt16:
		return "int16"
	case jsonInt32:
		return "int32"
	case jsonInt64:
		return "int64"
	case jsonFloat:
		return "float"
	case jsonDouble:
		return "double"
	case jsonBytes:
		return "bytes"
	case jsonString:
	}
	return "string"
}

// bounds are the least and the greatest integer of the kind.
func (k jsonKind) bounds() (low, high int64) {
	switch k {
	case jsonInt16:
		return math.MinInt16, math.MaxInt16
	case jsonInt32:
		return math.MinInt32, math.MaxInt32
	default:
		return math.MinInt64, math.MaxInt64
	}
}

// What stands for the infinities, which JSON has no number for: numbers beyond every double, which Connect, like every reader of
// doubles, takes for them. (JsonConverter itself writes "Infinity" and "NaN", and reads both back as 0.)
const (
	jsonInfinity      = "1e999"
	jsonMinusInfinity = "-1e999"
)

// maxJSONNumber bounds a float's text: PostgreSQL's longest has 24 characters.
const maxJSONNumber = 32

// append adds a text in its typed form, from which decoding gives the very text back. Not ok: the text is not of that type, or JSON
// has no form for it, and nothing was added.
func (k jsonKind) append(b, text []byte) (_ []byte, ok bool) {
	switch k {
	case jsonBool:
		switch string(text) {
		case "t":
			return append(b, "true"...), true
		case "f":
			return append(b, "false"...), true
		}
		return b, false
	case jsonInt16, jsonInt32, jsonInt64:
		low, high := k.bounds()
		if _, ok := parseInt(text, low, high); !ok {
			return b, false
		}
		return append(b, text...), true
	case jsonFloat, jsonDouble:
		return appendJSONFloat(b, text)
	case jsonBytes:
		return appendJSONHex(b, text)
	case jsonString:
	}
	return appendJSONString(b, text)
}

// unsayable says whether the text is one of the column's type that JSON has no form for.
func (k jsonKind) unsayable(text []byte) bool {
	switch k {
	case jsonFloat, jsonDouble:
		return string(text) == "NaN"
	case jsonString:
		return !utf8.Valid(text)
	default:
		return false
	}
}

func appendJSONFloat(b, text []byte) ([]byte, bool) {
	switch string(text) {
	case "Infinity":
		return append(b, jsonInfinity...), true
	case "-Infinity":
		return append(b, jsonMinusInfinity...), true
	case jsonInfinity, jsonMinusInfinity:
		return b, false // they stand for something else
	}
	if n := numberLength(text); n == 0 || n != len(text) || n > maxJSONNumber {
		return b, false
	}
	return append(b, text...), true
}

// numberLength is the length of the JSON number that b begins with, 0 where there is none.
func numberLength(b []byte) int {
	i := 0
	if i < len(b) && b[i] == '-' {
		i++
	}
	whole := digits(b, i)
	if whole == i || b[i] == '0' && whole > i+1 {
		return 0
	}
	i = whole
	if i < len(b) && b[i] == '.' {
		end := digits(b, i+1)
		if end == i+1 {
			return 0
		}
		i = end
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		from := i + 1
		if from < len(b) && (b[from] == '+' || b[from] == '-') {
			from++
		}
		end := digits(b, from)
		if end == from {
			return 0
		}
		i = end
	}
	return i
}

// digits is the index behind the digits that stand at i.
func digits(b []byte, i int) int {
	for i < len(b) && b[i] >= '0' && b[i] <= '9' {
		i++
	}
	return i
}

// appendJSONHex adds a bytea's text (\x and lower case hexadecimal) as a string of base64.
func appendJSONHex(b, text []byte) ([]byte, bool) {
	if len(text) < 2 || text[0] != '\\' || text[1] != 'x' || len(text)%2 != 0 {
		return b, false
	}
	start := len(b)
	b = append(b, '"')
	var some [96]byte // a multiple of three: base64 of parts is the parts' base64
	n := 0
	for i := 2; i < len(text); i += 2 {
		high, low := nibble(text[i]), nibble(text[i+1])
		if high|low > 15 {
			return b[:start], false
		}
		some[n] = high<<4 | low
		if n++; n == len(some) {
			b = base64.StdEncoding.AppendEncode(b, some[:])
			n = 0
		}
	}
	return append(base64.StdEncoding.AppendEncode(b, some[:n]), '"'), true
}

func appendBase64(b, raw []byte) []byte {
	return append(base64.StdEncoding.AppendEncode(append(b, '"'), raw), '"')
}

// appendJSONString adds a text as a JSON string; what is not UTF-8 is not one.
func appendJSONString(b, text []byte) ([]byte, bool) {
	start := len(b)
	b = append(b, '"')
	plain := 0 // what is not added yet begins here
	for i := 0; i < len(text); {
		c := text[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRune(text[i:])
			if r == utf8.RuneError && size == 1 {
				return b[:start], false
			}
			i += size
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		b = appendEscape(append(b, text[plain:i]...), c)
		i++
		plain = i
	}
	return append(append(b, text[plain:]...), '"'), true
}

func appendEscape(b []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\n':
		return append(b, `\n`...)
	case '\r':
		return append(b, `\r`...)
	case '\t':
		return append(b, `\t`...)
	}
	const hexDigits = "0123456789abcdef"
	return append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}
