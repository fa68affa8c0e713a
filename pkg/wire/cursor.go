package wire

import (
	"encoding/binary"
	"fmt"
	"math"
)

// cursor reads Avro. The first fault sticks: after it every read gives zero, and the caller looks at err once, at the end.
// Nothing is allocated for a length before the bytes for it are known to be there.
type cursor struct {
	b   []byte
	at  int
	err error
	// other says that the record is of another schema than the codec's, which may lack the fields that came later.
	other bool
}

// ends says that the record was written before the fields that follow were known.
func (c *cursor) ends() bool { return c.other && c.err == nil && c.at == len(c.b) }

func (c *cursor) fail(what string) {
	if c.err == nil {
		c.err = fmt.Errorf("%s at byte %d of %d", what, c.at, len(c.b))
	}
	c.b = c.b[:0]
	c.at = 0
}

// done says what went wrong, or that bytes are left over.
func (c *cursor) done() error {
	if c.err == nil && c.at != len(c.b) {
		c.fail("bytes left over")
	}
	return c.err
}

func (c *cursor) left() int { return len(c.b) - c.at }

func (c *cursor) long() int64 {
	if c.at < len(c.b) && c.b[c.at] < 0x80 {
		u := c.b[c.at]
		c.at++
		return int64(u>>1) ^ -int64(u&1)
	}
	return c.longSlow()
}

func (c *cursor) longSlow() int64 {
	u, n := binary.Uvarint(c.b[c.at:])
	if n <= 0 {
		c.fail("bad number")
		return 0
	}
	c.at += n
	return int64(u>>1) ^ -int64(u&1) // the bits are meant
}

func (c *cursor) unsigned() uint64 { return uint64(c.long()) } // the bits are meant

// uint32 reads a long that carries an unsigned number of 32 bits.
func (c *cursor) uint32() uint32 {
	n := c.long()
	if n < 0 || n > math.MaxUint32 {
		c.fail("number out of range")
		return 0
	}
	return uint32(n)
}

func (c *cursor) int32() int32 {
	n := c.long()
	if n < math.MinInt32 || n > math.MaxInt32 {
		c.fail("number out of range")
		return 0
	}
	return int32(n)
}

// bytes returns a slice of the input; its capacity ends with it, so that an append never writes into what follows.
func (c *cursor) bytes() []byte {
	n := c.long()
	if n < 0 || n > int64(c.left()) {
		c.fail("bad length")
		return nil
	}
	return c.take(int(n))
}

func (c *cursor) take(n int) []byte {
	if n > c.left() {
		c.fail("truncated")
		return nil
	}
	s := c.b[c.at : c.at+n : c.at+n]
	c.at += n
	return s
}

func (c *cursor) string() string { return string(c.bytes()) }

func (c *cursor) bool() bool {
	s := c.take(1)
	if len(s) == 0 {
		return false
	}
	if s[0] > 1 {
		c.fail("bad boolean")
	}
	return s[0] == 1
}

// index reads the index of a union's branch or an enum's symbol, below n.
func (c *cursor) index(n int64) int {
	i := c.long()
	if i < 0 || i >= n {
		c.fail("bad index")
		return 0
	}
	return int(i)
}

// present reads the index of a union of null and a value.
func (c *cursor) present() bool {
	if c.at < len(c.b) && c.b[c.at]&^branchValue == 0 {
		c.at++
		return c.b[c.at-1] != branchNull
	}
	return c.index(2) == 1
}

// block reads the head of an array's next block: the number of items, zero at the end. Every item of every array here
// is at least one byte long, so a count beyond the bytes left is a fault.
func (c *cursor) block() int {
	n := c.long()
	if n < 0 {
		c.long() // the block's size in bytes, for readers that skip
		n = -n
	}
	if n < 0 || n > int64(c.left()) {
		c.fail("bad count")
		return 0
	}
	return int(n)
}

// listAhead bounds what decodeList allocates on a record's word alone.
const listAhead = 1024

// decodeList reads an array; nil where it is empty.
func decodeList[T any](c *cursor, item func(*cursor) T) []T {
	var list []T
	for n := c.block(); n > 0; n = c.block() {
		if list == nil {
			list = make([]T, 0, min(n, listAhead))
		}
		for range n {
			v := item(c)
			if c.err != nil {
				return nil
			}
			list = append(list, v)
		}
	}
	return list
}
