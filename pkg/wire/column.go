package wire

import (
	"encoding/binary"
	"math"
	"strconv"

	"segue/pkg/change"
	"segue/pkg/table"
)

// kind is how a column's values travel.
type kind byte

const (
	kindString kind = iota
	kindBool
	kindInt
	kindLong
	kindFloat
	kindDouble
	kindBytes
)

// kindOf chooses by the base type, so that a domain over a type travels as the type does.
func kindOf(c *table.Column) kind {
	switch c.Base {
	case "boolean", "bool":
		return kindBool
	case "smallint", "int2", "integer", "int4":
		return kindInt
	case "bigint", "int8":
		return kindLong
	case "real", "float4":
		return kindFloat
	case "double precision", "float8":
		return kindDouble
	case "bytea":
		return kindBytes
	}
	return kindString
}

// avro is the kind's name in an Avro schema.
func (k kind) avro() string {
	switch k {
	case kindBool:
		return "boolean"
	case kindInt:
		return "int"
	case kindLong:
		return "long"
	case kindFloat:
		return "float"
	case kindDouble:
		return "double"
	case kindBytes:
		return "bytes"
	case kindString:
	}
	return "string"
}

// textSize bounds the memory that decode takes from the arena, where that does not depend on the value.
func (k kind) textSize() int {
	switch k {
	case kindBool:
		return 1
	case kindInt:
		return len("-2147483648")
	case kindLong:
		return len("-9223372036854775808")
	case kindFloat, kindDouble:
		return floatSize
	case kindBytes, kindString:
	}
	return 0
}

// fit says how well a text went into the typed form.
type fit byte

const (
	exact fit = iota // decode gives the very text back
	near             // the value is the same, its text may differ
	none             // not a text of this type: nothing was added
)

// encode adds a text in its typed form.
func (k kind) encode(b, text []byte) ([]byte, fit) {
	switch k {
	case kindBool:
		if len(text) != 1 || text[0] != 't' && text[0] != 'f' {
			return b, none
		}
		return appendBool(b, text[0] == 't'), exact
	case kindInt:
		return encodeInt(b, text, math.MinInt32, math.MaxInt32)
	case kindLong:
		return encodeInt(b, text, math.MinInt64, math.MaxInt64)
	case kindFloat:
		return encodeFloat(b, text, 32)
	case kindDouble:
		return encodeFloat(b, text, 64)
	case kindBytes:
		return encodeHex(b, text)
	case kindString:
	}
	return appendBytes(b, text), exact
}

func encodeInt(b, text []byte, low, high int64) ([]byte, fit) {
	n, ok := parseInt(text, low, high)
	if !ok {
		return b, none
	}
	return appendLong(b, n), exact
}

func encodeFloat(b, text []byte, bits int) ([]byte, fit) {
	f, ok := parseFloat(text, bits)
	if !ok {
		return b, none
	}
	var buf [floatSize]byte
	how := exact
	if string(appendFloat(buf[:0], f, bits)) != string(text) {
		how = near
	}
	if bits == 32 {
		return binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(f))), how
	}
	return binary.LittleEndian.AppendUint64(b, math.Float64bits(f)), how
}

// decode reads the typed form and gives the text. Strings are slices of the input, the rest is printed into the arena.
func (k kind) decode(c *cursor, a *Arena) change.Value {
	if k == kindString {
		return change.Text(c.bytes())
	}
	if k == kindBytes {
		return decodeHex(c, a)
	}
	a.reserve(k.textSize())
	start := len(a.text)
	switch k {
	case kindBool:
		if c.bool() {
			a.text = append(a.text, 't')
		} else {
			a.text = append(a.text, 'f')
		}
	case kindInt:
		a.text = strconv.AppendInt(a.text, int64(c.int32()), 10)
	case kindLong:
		a.text = strconv.AppendInt(a.text, c.long(), 10)
	case kindFloat:
		if s := c.take(4); len(s) == 4 {
			a.text = appendFloat(a.text, float64(math.Float32frombits(binary.LittleEndian.Uint32(s))), 32)
		}
	case kindDouble:
		if s := c.take(8); len(s) == 8 {
			a.text = appendFloat(a.text, math.Float64frombits(binary.LittleEndian.Uint64(s)), 64)
		}
	case kindBytes, kindString:
	}
	return a.since(start)
}
