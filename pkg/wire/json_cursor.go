package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"

	"segue/pkg/change"
)

// jsonCursor reads JSON. The first fault sticks: after it every read gives nothing, and the caller looks at err once, at the end.
type jsonCursor struct {
	b   []byte
	at  int
	err error
	a   *Arena
}

func (c *jsonCursor) fail(what string) {
	if c.err == nil {
		c.err = fmt.Errorf("%s at byte %d of %d", what, c.at, len(c.b))
	}
	c.b, c.at = c.b[:0], 0
}

// peek is the next byte that is no white space, 0 at the end.
func (c *jsonCursor) peek() byte {
	for c.at < len(c.b) {
		switch b := c.b[c.at]; b {
		case ' ', '\t', '\n', '\r':
			c.at++
		default:
			return b
		}
	}
	return 0
}

func (c *jsonCursor) expect(b byte) {
	if c.peek() != b {
		c.fail("want " + string(rune(b)))
		return
	}
	c.at++
}

// literal takes a word if it stands there.
func (c *jsonCursor) literal(word string) bool {
	c.peek()
	if c.at+len(word) > len(c.b) || string(c.b[c.at:c.at+len(word)]) != word {
		return false
	}
	c.at += len(word)
	return true
}

func (c *jsonCursor) null() bool { return c.peek() == 'n' && c.literal("null") }

// done says what went wrong, or that bytes are left over.
func (c *jsonCursor) done() error {
	if c.peek(); c.err == nil && c.at != len(c.b) {
		c.fail("bytes left over")
	}
	return c.err
}

// object reads an object that has exactly these members, in any order, and calls each for the value of one.
func (c *jsonCursor) object(all []member, each func(i int)) {
	c.expect('{')
	var seen []bool // nil as long as they come in order
	n := 0
	for ; c.err == nil && (n > 0 || c.peek() != '}'); n++ {
		i := n
		if n >= len(all) || !c.named(&all[n]) {
			if i = c.find(all); i < 0 {
				return
			}
		}
		if seen == nil && i != n {
			seen = make([]bool, len(all))
			for k := range n {
				seen[k] = true
			}
		}
		if seen != nil {
			if seen[i] {
				c.fail("a member that was there already")
				return
			}
			seen[i] = true
		}
		each(i)
		if c.peek() != ',' {
			n++
			break
		}
		c.at++
	}
	c.expect('}')
	if n != len(all) {
		c.fail("a member is missing")
	}
}

// named takes the member's name and colon if they stand there as segue writes them.
func (c *jsonCursor) named(m *member) bool {
	c.peek()
	if !bytes.HasPrefix(c.b[c.at:], m.text) {
		return false
	}
	c.at += len(m.text)
	return true
}

// find takes any name and its colon and returns the member's number, -1 behind a fault.
func (c *jsonCursor) find(all []member) int {
	name := c.string()
	c.expect(':')
	if c.err != nil {
		return -1
	}
	for i := range all {
		if string(name) == all[i].name {
			return i
		}
	}
	c.fail("a member that is not in the schema")
	return -1
}

// array calls each for every item.
func (c *jsonCursor) array(each func()) {
	c.expect('[')
	if c.peek() == ']' {
		c.at++
		return
	}
	for c.err == nil {
		each()
		if c.peek() != ',' {
			break
		}
		c.at++
	}
	c.expect(']')
}

// string reads a string. Without escapes it is a slice of the input, else it stands in the arena.
func (c *jsonCursor) string() []byte {
	c.expect('"')
	start, ascii := c.at, true
	for i := c.at; i < len(c.b); i++ {
		switch b := c.b[i]; {
		case b == '"':
			s := c.b[start:i:i]
			if !ascii && !utf8.Valid(s) {
				c.fail("a string that is not UTF-8")
				return nil
			}
			c.at = i + 1
			return s
		case b == '\\':
			return c.escaped(i)
		case b < ' ':
			c.fail("a control character in a string")
			return nil
		case b >= utf8.RuneSelf:
			ascii = false
		}
	}
	c.fail("a string without end")
	return nil
}

// escaped reads the rest of a string whose first escape stands at i.
func (c *jsonCursor) escaped(i int) []byte {
	end := i
	for end < len(c.b) && c.b[end] != '"' {
		if c.b[end] == '\\' {
			end++
		}
		end++
	}
	if end >= len(c.b) {
		c.fail("a string without end")
		return nil
	}
	c.a.reserve(end - c.at) // what is unescaped is never longer
	start := len(c.a.text)
	c.a.text = append(c.a.text, c.b[c.at:i]...)
	for c.at = i; c.at < end; {
		switch b := c.b[c.at]; {
		case b == '\\':
			c.escape(end)
		case b < ' ':
			c.fail("a control character in a string")
		default:
			c.a.text = append(c.a.text, b)
			c.at++
		}
		if c.err != nil {
			c.a.text = c.a.text[:start]
			return nil
		}
	}
	c.at = end + 1
	s := c.a.text[start:len(c.a.text):len(c.a.text)]
	if !utf8.Valid(s) {
		c.fail("a string that is not UTF-8")
		return nil
	}
	return s
}

// escape reads one escape, or the two of a surrogate pair, into the arena.
func (c *jsonCursor) escape(end int) {
	c.at++ // there is a byte behind it, before the end
	b := c.b[c.at]
	c.at++
	switch b {
	case '"', '\\', '/':
	case 'b':
		b = '\b'
	case 'f':
		b = '\f'
	case 'n':
		b = '\n'
	case 'r':
		b = '\r'
	case 't':
		b = '\t'
	case 'u':
		r := c.hex4(end)
		if utf16.IsSurrogate(r) {
			if c.at+1 >= end || c.b[c.at] != '\\' || c.b[c.at+1] != 'u' {
				c.fail("half a surrogate pair")
				return
			}
			c.at += 2
			if r = utf16.DecodeRune(r, c.hex4(end)); r == utf8.RuneError {
				c.fail("half a surrogate pair")
				return
			}
		}
		c.a.text = utf8.AppendRune(c.a.text, r)
		return
	default:
		c.fail("an unknown escape")
		return
	}
	c.a.text = append(c.a.text, b)
}

func (c *jsonCursor) hex4(end int) rune {
	if c.at+4 > end {
		c.fail("a short escape")
		return 0
	}
	var r rune
	for _, b := range c.b[c.at : c.at+4] {
		n := nibble(b)
		if b >= 'A' && b <= 'F' {
			n = b - 'A' + 10
		}
		if n > 15 {
			c.fail("an unknown escape")
			return 0
		}
		r = r<<4 | rune(n)
	}
	c.at += 4
	return r
}

// number takes the number that stands there.
func (c *jsonCursor) number() []byte {
	c.peek()
	n := numberLength(c.b[c.at:])
	if n == 0 {
		c.fail("want a number")
		return nil
	}
	s := c.b[c.at : c.at+n : c.at+n]
	c.at += n
	return s
}

// integer takes a whole number, written without fraction and exponent.
func (c *jsonCursor) integer(low, high int64) int64 {
	_, n := c.digits(low, high)
	return n
}

func (c *jsonCursor) digits(low, high int64) ([]byte, int64) {
	s := c.number()
	if c.err != nil {
		return nil, 0
	}
	n, ok := parseInt(s, low, high)
	if !ok {
		c.fail("want a whole number in range")
		return nil, 0
	}
	return s, n
}

func (c *jsonCursor) bool() bool {
	if c.literal("true") {
		return true
	}
	if !c.literal("false") {
		c.fail("want true or false")
	}
	return false
}

// base64 decodes a string and calls each with its bytes, part by part.
func (c *jsonCursor) base64(s []byte, each func(part []byte)) {
	var some [96]byte
	for len(s) > 0 && c.err == nil {
		part := s[:min(len(s), len(some)/3*4)]
		s = s[len(part):]
		want := len(part) / 4 * 3
		if len(s) == 0 {
			want -= len(part) - len(bytes.TrimRight(part, "="))
		}
		n, err := base64.StdEncoding.Strict().Decode(some[:], part)
		if err != nil || n != want || len(part)%4 != 0 {
			c.fail("a string that is not base64")
			return
		}
		each(some[:n])
	}
}

// skip takes any value and returns it.
func (c *jsonCursor) skip(depth int) []byte {
	first := c.peek()
	start := c.at
	switch first {
	case '{', '[':
		c.nested(depth)
	case '"':
		c.string()
	case 't', 'f':
		c.bool()
	case 'n':
		if !c.null() {
			c.fail("want null")
		}
	default:
		c.number()
	}
	if c.err != nil {
		return nil
	}
	return c.b[start:c.at]
}

// maxDepth is more than any schema here has.
const maxDepth = 16

func (c *jsonCursor) nested(depth int) {
	if depth >= maxDepth {
		c.fail("too deep")
		return
	}
	if c.peek() == '[' {
		c.array(func() { c.skip(depth + 1) })
		return
	}
	c.expect('{')
	if c.peek() == '}' {
		c.at++
		return
	}
	for c.err == nil {
		c.string()
		c.expect(':')
		c.skip(depth + 1)
		if c.peek() != ',' {
			break
		}
		c.at++
	}
	c.expect('}')
}

// decode reads a column's typed form and gives the text.
func (k jsonKind) decode(c *jsonCursor) change.Value {
	switch k {
	case jsonBool:
		c.a.reserve(1)
		start := len(c.a.text)
		if c.bool() {
			c.a.text = append(c.a.text, 't')
		} else {
			c.a.text = append(c.a.text, 'f')
		}
		return c.a.since(start)
	case jsonInt16, jsonInt32, jsonInt64:
		s, _ := c.digits(k.bounds())
		return change.Text(s)
	case jsonFloat, jsonDouble:
		return decodeJSONFloat(c)
	case jsonBytes:
		return decodeJSONHex(c)
	case jsonString:
	}
	return change.Text(c.string())
}

func decodeJSONFloat(c *jsonCursor) change.Value {
	switch s := c.number(); string(s) {
	case jsonInfinity:
		return change.String("Infinity")
	case jsonMinusInfinity:
		return change.String("-Infinity")
	default:
		return change.Text(s)
	}
}

func decodeJSONHex(c *jsonCursor) change.Value {
	s := c.string()
	c.a.reserve(2 + base64.StdEncoding.DecodedLen(len(s))*2)
	start := len(c.a.text)
	c.a.text = append(c.a.text, `\x`...)
	c.base64(s, func(part []byte) { c.a.text = hex.AppendEncode(c.a.text, part) })
	return c.a.since(start)
}
