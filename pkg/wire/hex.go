package wire

import (
	"encoding/hex"

	"segue/pkg/change"
)

// encodeHex adds a bytea's text (\x and lower case hexadecimal, as bytea_output=hex prints) as Avro bytes.
func encodeHex(b, text []byte) ([]byte, fit) {
	if len(text) < 2 || text[0] != '\\' || text[1] != 'x' || len(text)%2 != 0 {
		return b, none
	}
	digits := text[2:]
	start := len(b)
	b = appendLong(b, int64(len(digits)/2))
	for i := 0; i < len(digits); i += 2 {
		high, low := nibble(digits[i]), nibble(digits[i+1])
		if high|low > 15 {
			return b[:start], none
		}
		b = append(b, high<<4|low)
	}
	return b, exact
}

// nibble is a lower case hexadecimal digit's value, 255 for anything else.
func nibble(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	}
	return 255
}

func decodeHex(c *cursor, a *Arena) change.Value {
	s := c.bytes()
	a.reserve(2 + 2*len(s))
	start := len(a.text)
	a.text = hex.AppendEncode(append(a.text, `\x`...), s)
	return a.since(start)
}
