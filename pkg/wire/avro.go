package wire

import "encoding/binary"

// The indices of a union's branches, as Avro writes them: the null branch comes first in every union here.
const (
	branchNull   = 0x00
	branchValue  = 0x02
	branchAbsent = 0x04
)

// appendLong adds a number in Avro's form: zigzag, then seven bits a byte. It serves Avro's int too.
func appendLong(b []byte, n int64) []byte {
	u := uint64(n)<<1 ^ uint64(n>>63) // the bits are meant
	if u < 0x80 {
		return append(b, byte(u))
	}
	return binary.AppendUvarint(b, u)
}

// appendUnsigned adds an unsigned number as the long with the same bits.
func appendUnsigned(b []byte, n uint64) []byte {
	return appendLong(b, int64(n)) // the bits are meant
}

// appendBytes adds Avro's bytes or, the same on the wire, its string.
func appendBytes[T []byte | string](b []byte, s T) []byte {
	return append(appendLong(b, int64(len(s))), s...)
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// appendCount opens an array of n items in one block; appendEnd closes it where it had any.
func appendCount(b []byte, n int) []byte { return appendLong(b, int64(n)) }

func appendEnd(b []byte, n int) []byte {
	if n > 0 {
		b = append(b, 0)
	}
	return b
}
