package chunk_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"

	"segue/pkg/change"
	"segue/pkg/chunk"
	"segue/pkg/table"
)

// The model's table: a key, a column that every update sets, and one that updates may leave out (unchanged TOAST).
var modelTable = &table.Table{
	OID: 1, Name: table.Name{Schema: "public", Table: "t"}, Key: []int{0}, Identity: table.IdentityDefault,
	Columns: []table.Column{{Name: "id"}, {Name: "a"}, {Name: "toast"}},
}

type modelRow struct {
	a, toast string
	block    uint32
}

type modelOp struct {
	op       change.Op // 0 is a rewrite, which the stream does not carry
	key, old string    // old: the key before, where it changed
	row      modelRow
	noToast  bool
}

type modelTx struct {
	xid       uint64
	ops       []modelOp
	lsn       uint64 // of the commit; 0 while it runs
	visible   bool
	exclusive bool // holds ACCESS EXCLUSIVE: truncate or rewrite
	mark      *modelMark
}

type modelMark struct {
	c    *modelChunk
	high bool
}

// source is a PostgreSQL in small: transactions whose commits are in the log before they become visible, row locks, snapshots, a
// heap with blocks.
type source struct {
	r        *rand.Rand
	nextXid  uint64
	filenode uint32
	wal      []*modelTx
	all      []*modelTx // in the order of their begin
	cur      map[string]modelRow
	locks    map[string]*modelTx
	readers  int // chunks that hold ACCESS SHARE
	n        int
}

func newSource(r *rand.Rand) *source {
	return &source{
		r: r, nextXid: 1<<32 - 1 - r.Uint64N(40), filenode: 100,
		cur: map[string]modelRow{}, locks: map[string]*modelTx{},
	}
}

func (s *source) begin() *modelTx {
	t := &modelTx{xid: s.nextXid}
	s.nextXid++
	s.all = append(s.all, t)
	return t
}

func (s *source) commit(t *modelTx) {
	s.wal = append(s.wal, t)
	t.lsn = uint64(len(s.wal)) * 10
}

func (s *source) show(t *modelTx) {
	t.visible = true
	maps.DeleteFunc(s.locks, func(_ string, h *modelTx) bool { return h == t })
}

func (s *source) running() []*modelTx {
	return slices.DeleteFunc(slices.Clone(s.all), func(t *modelTx) bool { return t.visible })
}

func (s *source) exclusive() bool {
	return slices.ContainsFunc(s.running(), func(t *modelTx) bool { return t.exclusive })
}

func (s *source) snapshot() chunk.Snapshot {
	xmax := s.all[0].xid
	for _, t := range s.all {
		if t.visible {
			xmax = max(xmax, t.xid+1)
		}
	}
	out := chunk.Snapshot{Xmin: xmax, Xmax: xmax}
	for _, t := range s.running() {
		if t.xid < xmax {
			out.Xmin = min(out.Xmin, t.xid)
			out.Running = append(out.Running, t.xid)
		}
	}
	slices.Sort(out.Running)
	return out
}

func (s *source) value() string { s.n++; return strconv.Itoa(s.n) }

// step lets some transaction do something.
func (s *source) step() {
	open := s.running()
	if s.r.IntN(40) == 0 && s.readers == 0 {
		s.settle()
		s.exclusiveWrite(s.begin())
		return
	}
	if len(open) < 4 && (len(open) == 0 || s.r.IntN(4) == 0) {
		s.write(s.begin())
		return
	}
	t := open[s.r.IntN(len(open))]
	switch {
	case t.lsn > 0:
		if s.r.IntN(3) == 0 {
			s.show(t)
		}
	case s.r.IntN(3) == 0:
		s.commit(t)
	default:
		s.write(t)
	}
}

func (s *source) write(t *modelTx) {
	if s.exclusive() && !t.exclusive {
		return
	}
	k := s.anyKey()
	if !s.lock(t, k) {
		return
	}
	row, there := s.cur[k]
	if !there {
		row = modelRow{a: s.value(), toast: s.value(), block: s.r.Uint32N(12)}
		s.do(t, modelOp{op: change.Insert, key: k, row: row})
		return
	}
	switch n := s.r.IntN(10); {
	case n < 3:
		s.do(t, modelOp{op: change.Delete, key: k})
	case n < 6:
		to := s.anyKey()
		if _, taken := s.cur[to]; taken || !s.lock(t, to) {
			return
		}
		s.update(t, k, to, row)
	default:
		s.update(t, k, k, row)
	}
}

func (s *source) update(t *modelTx, from, to string, row modelRow) {
	op := modelOp{op: change.Update, key: to, row: row, noToast: s.r.IntN(2) == 0}
	if from != to {
		op.old = from
	}
	op.row.a = s.value()
	if !op.noToast {
		op.row.toast = s.value()
	}
	if s.r.IntN(2) == 0 {
		op.row.block = s.r.Uint32N(12)
	}
	s.do(t, op)
}

func (s *source) exclusiveWrite(t *modelTx) {
	t.exclusive = true
	s.filenode++
	if s.r.IntN(4) == 0 {
		s.do(t, modelOp{op: change.Truncate})
		return
	}
	s.do(t, modelOp{})
}

func (s *source) anyKey() string { return "k" + strconv.Itoa(s.r.IntN(7)) }

func (s *source) lock(t *modelTx, k string) bool {
	if h := s.locks[k]; h != nil && h != t {
		return false
	}
	s.locks[k] = t
	return true
}

// settle ends all transactions.
func (s *source) settle() {
	for _, t := range s.running() {
		if t.lsn == 0 {
			s.commit(t)
		}
		s.show(t)
	}
}

func (s *source) do(t *modelTx, op modelOp) {
	t.ops = append(t.ops, op)
	applyModel(s.cur, op)
}

func applyModel(rows map[string]modelRow, op modelOp) {
	switch op.op {
	case change.Truncate:
		clear(rows)
	case change.Delete:
		delete(rows, op.key)
	case change.Insert:
		rows[op.key] = op.row
	case change.Update:
		if op.old != "" {
			delete(rows, op.old)
		}
		rows[op.key] = op.row
	default:
		for k, row := range rows {
			n, _ := strconv.ParseUint(row.a, 10, 32)
			row.block = uint32(n * 7 % 12)
			rows[k] = row
		}
	}
}

// heap is what a statement under the snapshot finds now. A truncate or rewrite that ended after the snapshot was taken shows an
// empty table: it is not MVCC-safe, as PostgreSQL's manual says.
func (s *source) heap(snap chunk.Snapshot) map[string]modelRow {
	rows := map[string]modelRow{}
	for _, t := range s.wal {
		sees := snap.Xmin > t.xid || t.xid < snap.Xmax && !slices.Contains(snap.Running, t.xid)
		if !sees && t.visible && t.exclusive {
			return nil
		}
		if !sees {
			continue
		}
		for _, op := range t.ops {
			applyModel(rows, op)
		}
	}
	return rows
}

// truth is the state behind the commit at lsn, in the order of the log.
func (s *source) truth(lsn uint64) map[string]modelRow {
	rows := map[string]modelRow{}
	for _, t := range s.wal {
		if t.lsn > lsn {
			break
		}
		for _, op := range t.ops {
			applyModel(rows, op)
		}
	}
	return rows
}

func toRow(k string, r modelRow) change.Row {
	return change.Row{change.String(k), change.String(r.a), change.String(r.toast)}
}

// event is an op as the stream delivers it; nil for a rewrite.
func (op modelOp) event(t *modelTx) *change.Change {
	c := &change.Change{Table: modelTable, Op: op.op, Tx: change.Tx{XID: uint32(t.xid)}}
	switch op.op {
	case change.Truncate:
	case change.Delete:
		c.Before = change.Row{change.String(op.key), change.Absent(), change.Absent()}
	case change.Insert:
		c.After = toRow(op.key, op.row)
	case change.Update:
		c.After = toRow(op.key, op.row)
		if op.noToast {
			c.After[2] = change.Absent()
		}
		if op.old != "" {
			c.Before = change.Row{change.String(op.old), change.Absent(), change.Absent()}
		}
	default:
		return nil
	}
	return c
}

func (r modelRow) String() string { return fmt.Sprintf("(%s, %s)", r.a, r.toast) }
