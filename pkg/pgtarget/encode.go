package pgtarget

import (
	"encoding/binary"

	"segue/pkg/change"
)

// The types of the parameters.
const (
	textOID = 25
	int4OID = 23
)

// appendArray adds a text[] in binary form: each element is its length and its bytes, nothing needs quoting. next yields
// the n elements in order.
func appendArray(b []byte, n int, next func(i int) change.Value) []byte {
	if n == 0 {
		return append(b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, textOID)
	}
	head := len(b)
	b = append(b, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, textOID)
	b = binary.BigEndian.AppendUint32(b, uint32(n))
	b = binary.BigEndian.AppendUint32(b, 1)
	for i := range n {
		v := next(i)
		if v.Kind() != change.KindText {
			b = append(b, 0xff, 0xff, 0xff, 0xff)
			b[head+7] = 1 // there are NULLs
			continue
		}
		text := v.Bytes()
		b = binary.BigEndian.AppendUint32(b, uint32(len(text)))
		b = append(b, text...)
	}
	return b
}

// appendCopy adds a value in COPY's text form.
func appendCopy(b []byte, v change.Value) []byte {
	if v.Kind() != change.KindText {
		return append(b, '\\', 'N')
	}
	text := v.Bytes()
	from := 0
	for i, c := range text {
		var escape byte
		switch c {
		case '\\':
			escape = '\\'
		case '\n':
			escape = 'n'
		case '\t':
			escape = 't'
		case '\r':
			escape = 'r'
		default:
			continue
		}
		b = append(b, text[from:i]...)
		b = append(b, '\\', escape)
		from = i + 1
	}
	return append(b, text[from:]...)
}
