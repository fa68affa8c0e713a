package chunk

// maxUnseen bounds the transactions that a Visibility keeps one by one (4 bytes each); beyond it they are kept as a
// horizon, which is coarser and asks for a later snapshot, never an earlier one.
const maxUnseen = 1 << 18

// Unseen is a set of transactions that the stream has delivered and no snapshot is known to see. It is never changed after it was
// handed out.
type Unseen struct {
	xids []uint32
	// horizon, where set, stands for every transaction up to it.
	horizon    uint32
	hasHorizon bool
}

// SeenBy says whether the snapshot sees every transaction of the set: rule 4 for a chunk whose low watermark the set
// belongs to.
func (u Unseen) SeenBy(s Snapshot) bool {
	if u.hasHorizon && !s.passed32(u.horizon) {
		return false
	}
	for _, x := range u.xids {
		if !s.Sees(x) {
			return false
		}
	}
	return true
}

// Len is the number of transactions in the set, for metrics.
func (u Unseen) Len() int { return len(u.xids) }

// Visibility follows which delivered transactions are not known to be visible on the source yet. Not for concurrent use.
type Visibility struct {
	unseen Unseen
	last   Snapshot
}

// Delivered records a transaction that the stream has delivered up to its commit. What the newest snapshot sees need not be kept:
// a chunk whose low watermark comes later takes a later snapshot.
func (v *Visibility) Delivered(xid uint32) {
	if v.last.Xmax > 0 && v.last.Sees(xid) {
		return
	}
	v.unseen.xids = append(v.unseen.xids, xid)
	if len(v.unseen.xids) >= maxUnseen {
		v.collapse()
	}
}

// collapse replaces the set by its newest transaction: all up to it must have ended.
func (v *Visibility) collapse() {
	u := &v.unseen
	if !u.hasHorizon {
		u.horizon, u.hasHorizon = u.xids[0], true
	}
	for _, x := range u.xids {
		if int32(x-u.horizon) > 0 {
			u.horizon = x
		}
	}
	u.xids = u.xids[:0]
}

// Saw takes a snapshot, one a second or so, and forgets what it sees. Snapshots come in the order in which they were taken.
func (v *Visibility) Saw(s Snapshot) {
	v.last = s
	u := &v.unseen
	kept := u.xids[:0]
	for _, x := range u.xids {
		if !s.Sees(x) {
			kept = append(kept, x)
		}
	}
	u.xids = kept
	if u.hasHorizon && s.passed32(u.horizon) {
		u.hasHorizon = false
	}
}

// Unseen returns the transactions delivered until now that no snapshot is known to see: to be taken when a low watermark
// passes, and asked about the chunk's snapshot later. (A copy, because a newer snapshot makes Saw forget what the chunk's own,
// older one may not see.)
func (v *Visibility) Unseen() Unseen {
	u := v.unseen
	u.xids = append([]uint32(nil), u.xids...)
	return u
}
