package reconcile

import (
	"encoding/binary"
	"encoding/hex"

	"segue/pkg/change"
)

// AppendLot adds the key of a row of a table without key: its hash, in the digits that md5() gives.
func AppendLot(dst []byte, row change.Row) ([]byte, Hash) {
	h := HashText(AppendCanonical(nil, row))
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], h.Hi)
	binary.BigEndian.PutUint64(b[8:], h.Lo)
	return hex.AppendEncode(dst, b[:]), h
}
