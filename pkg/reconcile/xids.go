package reconcile

import (
	"slices"

	"segue/pkg/chunk"
)

// maxXids bounds a set of transaction ids.
const maxXids = 32

// xids is a bounded set of transactions that a later snapshot may not see yet. Beyond the bound its last entry is the
// latest of all that did not fit; then an entry goes only when a snapshot's xmin has passed it, so that it stands for
// each transaction before it.
type xids struct {
	list     []uint32
	overflow bool
}

func (x *xids) empty() bool { return len(x.list) == 0 }

func (x *xids) add(xid uint32) {
	if slices.Contains(x.list, xid) {
		return
	}
	if len(x.list) < maxXids {
		x.list = append(x.list, xid)
		return
	}
	x.overflow = true
	latest := 0
	for i, held := range x.list {
		if int32(held-x.list[latest]) > 0 {
			latest = i
		}
	}
	if int32(xid-x.list[latest]) > 0 {
		x.list[latest] = xid
	}
}

func (x *xids) prune(floor chunk.Snapshot) {
	x.list = slices.DeleteFunc(x.list, func(xid uint32) bool {
		if x.overflow {
			return before(xid, floor.Xmin)
		}
		return floor.Sees(xid)
	})
	x.overflow = x.overflow && len(x.list) > 0
}

// before compares the low 32 bits of ids, modulo 2^32: all that are asked for lie within 2^31 of each other.
func before(xid uint32, limit uint64) bool {
	return int32(xid-uint32(limit)) < 0
}
