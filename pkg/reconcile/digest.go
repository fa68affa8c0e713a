package reconcile

import (
	"crypto/md5" //nolint:gosec // a checksum that PostgreSQL has as well, not a protection
	"encoding/binary"
	"fmt"
	"strconv"

	"segue/pkg/change"
)

// Hash is the MD5 of a row's canonical text, as two big-endian halves.
type Hash struct{ Hi, Lo uint64 }

// Sum is an order-free digest of rows: how many there are, and the sums of the halves of their hashes modulo 2^64.
type Sum struct {
	Rows   int64
	Hi, Lo uint64
}

// Add counts one row in.
func (s *Sum) Add(h Hash) {
	s.Rows++
	s.Hi += h.Hi
	s.Lo += h.Lo
}

// Merge counts in what another digest holds.
func (s *Sum) Merge(o Sum) {
	s.Rows += o.Rows
	s.Hi += o.Hi
	s.Lo += o.Lo
}

// AppendCanonical adds the canonical text of the values: for each its length in bytes, a colon, its text in UTF-8 and a
// semicolon; a NULL has no length, so that it differs from the empty text. Lengths make it injective whatever the texts hold.
func AppendCanonical(dst []byte, values change.Row) []byte {
	for i := range values {
		if text := values[i]; !text.IsNull() {
			dst = strconv.AppendInt(dst, int64(len(text.Bytes())), 10)
			dst = append(dst, ':')
			dst = append(dst, text.Bytes()...)
			dst = append(dst, ';')
			continue
		}
		dst = append(dst, ':', ';')
	}
	return dst
}

// ParseCanonical reads what AppendCanonical writes.
func ParseCanonical(text string) (change.Row, error) {
	var row change.Row
	for at := 0; at < len(text); {
		digits := at
		for digits < len(text) && text[digits] != ':' {
			digits++
		}
		if digits == at {
			row, at = append(row, change.Null()), at+2
			continue
		}
		n, err := strconv.Atoi(text[at:digits])
		if err != nil || n < 0 || digits+1+n >= len(text) {
			return nil, fmt.Errorf("canonical text: no value at byte %d", at)
		}
		row = append(row, change.String(text[digits+1:digits+1+n]))
		at = digits + 1 + n + 1
	}
	return row, nil
}

// HashText is the hash of a canonical text.
func HashText(canonical []byte) Hash {
	return HashOf(md5.Sum(canonical)) //nolint:gosec // see Hash
}

// HashOf takes the bytes of an MD5.
func HashOf(sum [16]byte) Hash {
	return Hash{Hi: binary.BigEndian.Uint64(sum[:8]), Lo: binary.BigEndian.Uint64(sum[8:])}
}

// Bucket is the bucket of a key by its canonical text; buckets is a power of two.
func Bucket(key []byte, buckets int) int {
	return int(HashText(key).Hi>>32) & (buckets - 1)
}

// The number of buckets of a table: about rowsPerBucket rows in each, within bounds that keep memory constant.
const (
	rowsPerBucket = 64
	minBuckets    = 16
	maxBuckets    = 1 << 16
)

// Buckets chooses the number of buckets for about that many rows.
func Buckets(rows int64) int {
	n := minBuckets
	for n < maxBuckets && int64(n)*rowsPerBucket < rows {
		n *= 2
	}
	return n
}
