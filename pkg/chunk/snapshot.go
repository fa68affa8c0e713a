package chunk

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Snapshot is what pg_current_snapshot() says: which transactions its reader sees. Ids are 64 bits wide and never wrap.
type Snapshot struct {
	// Xmin is the lowest transaction still running: all below are visible or rolled back. Xmax is one past the highest
	// that had ended: none from there on is visible.
	Xmin, Xmax uint64
	// Running holds the transactions between the two that were still running, ascending. A transaction whose commit is in the log
	// already, but that waits for a synchronous standby, is one of them.
	Running []uint64
}

// ParseSnapshot reads PostgreSQL's text form, xmin:xmax:xip,xip. A snapshot that a slot exports may have its xmin above its xmax: logical decoding moves the
// one on with what ends, the other only with what commits. Nothing below xmin runs then, and nothing from there on is visible.
func ParseSnapshot(s string) (Snapshot, error) {
	bad := fmt.Errorf("snapshot %q: want xmin:xmax:xid,xid", s)
	parts := strings.Split(s, ":")
	if len(parts) != 3 {
		return Snapshot{}, bad
	}
	xmin, err1 := strconv.ParseUint(parts[0], 10, 64)
	xmax, err2 := strconv.ParseUint(parts[1], 10, 64)
	if err1 != nil || err2 != nil {
		return Snapshot{}, bad
	}
	xmax = max(xmin, xmax)
	out := Snapshot{Xmin: xmin, Xmax: xmax}
	if parts[2] == "" {
		return out, nil
	}
	for _, p := range strings.Split(parts[2], ",") {
		x, err := strconv.ParseUint(p, 10, 64)
		if err != nil || x < xmin || x >= xmax {
			return Snapshot{}, bad
		}
		out.Running = append(out.Running, x)
	}
	slices.Sort(out.Running)
	return out, nil
}

// String is PostgreSQL's text form.
func (s Snapshot) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d:%d:", s.Xmin, s.Xmax)
	for i, x := range s.Running {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.FormatUint(x, 10))
	}
	return b.String()
}

// Sees says whether a committed transaction is visible in the snapshot. The stream's BEGIN carries the low 32 bits: they are
// compared modulo 2^32, which is exact as long as a transaction is less than 2^31 others away.
func (s Snapshot) Sees(xid uint32) bool {
	full := s.widen(xid)
	if full < s.Xmin {
		return true
	}
	if full >= s.Xmax {
		return false
	}
	_, running := slices.BinarySearch(s.Running, full)
	return !running
}

// widen finds the 64-bit id nearest to the snapshot that ends in these 32 bits.
func (s Snapshot) widen(xid uint32) uint64 {
	d := int32(xid - uint32(s.Xmax))
	full := int64(s.Xmax) + int64(d)
	return uint64(max(full, 0))
}

// Passed says whether every transaction with an id up to x0 has ended, and its effects, if it committed, are visible. With an x0
// taken (pg_current_xact_id) after a slot or a publication came to be, nothing that the stream does not know of can
// become visible any more.
func (s Snapshot) Passed(x0 uint64) bool { return s.Xmin > x0 }

// passed32 is Passed for the low 32 bits of an id.
func (s Snapshot) passed32(xid uint32) bool { return s.Xmin > s.widen(xid) }

// Includes says whether every transaction that was over in o is over here: nothing that o takes for ended is still on its way to be visible.
// (A snapshot of logical decoding goes by the log's commit records, which are written before a transaction is marked as committed.)
func (s Snapshot) Includes(o Snapshot) bool {
	runs := func(x uint64) bool { _, yes := slices.BinarySearch(o.Running, x); return yes }
	for _, x := range s.Running {
		if x < o.Xmax && !runs(x) {
			return false
		}
	}
	for x := s.Xmax; x < o.Xmax; x++ {
		if !runs(x) {
			return false
		}
	}
	return true
}
