// Package change says what happened to a row: the one value that every part of segue hands on. A Change is a source
// row's, a Mapped is what the mapping made of it, a Position is its place in the order of everything that a source
// emits. It is core: no I/O, no clock, no log. Rows carry PostgreSQL's own text, so that PostgreSQL stays the only type system
// on the way (promise P1: values arrive as they were).
package change

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// Position is a place in the total order of a source's changes: the epoch (grows when the source's history forks), the commit LSN of the
// transaction, and the number of the change within its commit, counted over all tables from 1. Positions are compared
// as unsigned numbers. The LSN of a row is never used: rows are not ordered by it, and many rows share one.
type Position struct {
	Epoch uint32
	LSN   uint64
	Seq   uint64
}

// Compare orders positions: -1, 0 or +1.
func (p Position) Compare(q Position) int {
	return cmp.Or(cmp.Compare(p.Epoch, q.Epoch), cmp.Compare(p.LSN, q.LSN), cmp.Compare(p.Seq, q.Seq))
}

// Before says whether p comes before q.
func (p Position) Before(q Position) bool { return p.Compare(q) < 0 }

// Zero says whether p is the position before everything.
func (p Position) Zero() bool { return p == Position{} }

// String is epoch:X/X#seq, such as 1:0/16B3748#2.
func (p Position) String() string {
	return fmt.Sprintf("%d:%X/%X#%d", p.Epoch, p.LSN>>32, uint32(p.LSN), p.Seq)
}

// ParsePosition reads what String writes.
func ParsePosition(s string) (Position, error) {
	epoch, rest, ok1 := strings.Cut(s, ":")
	high, rest, ok2 := strings.Cut(rest, "/")
	low, seq, ok3 := strings.Cut(rest, "#")
	e, err1 := strconv.ParseUint(epoch, 10, 32)
	h, err2 := strconv.ParseUint(high, 16, 32)
	l, err3 := strconv.ParseUint(low, 16, 32)
	n, err4 := strconv.ParseUint(seq, 10, 64)
	if !ok1 || !ok2 || !ok3 || err1 != nil || err2 != nil || err3 != nil || err4 != nil {
		return Position{}, fmt.Errorf("position %q: want epoch:X/X#seq, such as 1:0/16B3748#2", s)
	}
	return Position{Epoch: uint32(e), LSN: h<<32 | l, Seq: n}, nil
}

// PositionSize is the length of a position's binary form.
const PositionSize = 20

// Append adds the binary form, big endian, so that the bytes order as the positions do.
func (p Position) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, p.Epoch)
	b = binary.BigEndian.AppendUint64(b, p.LSN)
	return binary.BigEndian.AppendUint64(b, p.Seq)
}

// DecodePosition reads what Append writes; b holds at least PositionSize bytes.
func DecodePosition(b []byte) Position {
	return Position{
		Epoch: binary.BigEndian.Uint32(b),
		LSN:   binary.BigEndian.Uint64(b[4:]),
		Seq:   binary.BigEndian.Uint64(b[12:]),
	}
}
