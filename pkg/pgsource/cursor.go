package pgsource

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// errShort says that a message ended before its parts did.
var errShort = errors.New("the message is cut short")

// epoch2000 is PostgreSQL's epoch in microseconds since 1970.
const epoch2000 = 946_684_800_000_000

// cursor reads a message from front to back. The first read beyond the end sets err; later ones return zero values.
type cursor struct {
	b   []byte
	err error
}

func (c *cursor) take(n int) []byte {
	if c.err != nil || n < 0 || n > len(c.b) {
		c.fail()
		return nil
	}
	out := c.b[:n:n]
	c.b = c.b[n:]
	return out
}

func (c *cursor) fail() {
	if c.err == nil {
		c.err = errShort
	}
	c.b = nil
}

func (c *cursor) u8() byte {
	if b := c.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (c *cursor) u16() uint16 {
	if b := c.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (c *cursor) u32() uint32 {
	if b := c.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (c *cursor) u64() uint64 {
	if b := c.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// micros reads a time and moves it to 1970. Sums wrap, as times that nobody lives to see may.
func (c *cursor) micros() int64 { return int64(c.u64()) + epoch2000 }

func (c *cursor) text() string {
	end := bytes.IndexByte(c.b, 0)
	if c.err != nil || end < 0 {
		c.fail()
		return ""
	}
	s := string(c.b[:end])
	c.b = c.b[end+1:]
	return s
}
