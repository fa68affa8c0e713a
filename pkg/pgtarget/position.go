package pgtarget

import (
	"fmt"
	"math/big"
	"strconv"

	"segue/pkg/change"
)

// position reads the columns that a position is kept in; lsn is the distance from 0/0 in bytes, as decimal text.
func position(epoch int64, lsn string, seq int64) (change.Position, error) {
	n, ok := new(big.Int).SetString(lsn, 10)
	if !ok || !n.IsUint64() || epoch < 0 || epoch > 1<<32-1 || seq < 0 {
		return change.Position{}, fmt.Errorf("position %d:%s#%d is out of range", epoch, lsn, seq)
	}
	return change.Position{Epoch: uint32(epoch), LSN: n.Uint64(), Seq: uint64(seq)}, nil
}

// lsnText is PostgreSQL's form of an LSN.
func lsnText(lsn uint64) string { return fmt.Sprintf("%X/%X", lsn>>32, uint32(lsn)) }

func epochText(p change.Position) string { return strconv.FormatUint(uint64(p.Epoch), 10) }
func seqText(p change.Position) string   { return strconv.FormatUint(p.Seq, 10) }
