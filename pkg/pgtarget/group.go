package pgtarget

import (
	"encoding/binary"
	"strconv"

	"segue/pkg/change"
)

// groupKey tells the rows apart that cannot share a statement. mask lists absent columns; a whole row has none.
type groupKey struct {
	target int32
	act    action
	mask   string
}

// group is the rows of one statement.
type group struct {
	target  *target
	act     action
	absent  change.Row // a row of the group, which says which columns all of them lack; nil: none
	rows    []change.Row
	keys    []change.Row // the keys to look for, where they are not in the row
	sources []int32
	origins []int32 // per row the only change that it is made of, -1 where there are several
	onlyNew bool
	copy    *bool // decided once per group
}

// groups are the statements of one phase in the order of their first rows.
type groups struct {
	f    *folder
	list []*group
	last *group
	key  groupKey // of last
}

func (g *groups) of(targetNo int32, act action, row change.Row) *group {
	k := groupKey{target: targetNo, act: act}
	if row != nil && !row.Whole() {
		k.mask = absentMask(row)
	}
	if g.last != nil && g.key == k {
		return g.last
	}
	found := g.f.groupOf[k]
	if found == nil {
		found = &group{target: g.f.targets[targetNo], act: act, onlyNew: true}
		if k.mask != "" {
			found.absent = row
		}
		g.f.groupOf[k] = found
		g.list = append(g.list, found)
	}
	g.last, g.key = found, k
	return found
}

func absentMask(row change.Row) string {
	var b []byte
	for i, v := range row {
		if v.IsAbsent() {
			b = append(strconv.AppendInt(b, int64(i), 10), ',')
		}
	}
	return string(b)
}

// close turns the open segment into statements.
func (f *folder) close() {
	clear(f.groupOf)
	deletes, replaced, upserts, updates := groups{f: f}, groups{f: f}, groups{f: f}, groups{f: f}
	for _, tf := range f.tables {
		for i := range tf.entries {
			e := &tf.entries[i]
			if e.delete && (e.kind != kindUpsert || !f.targets[e.target].covers || !e.row.Whole()) {
				g := deletes.of(e.target, actDelete, nil)
				g.keys, g.origins = append(g.keys, f.entryKey(e)), append(g.origins, e.origin())
			}
			if f.replace && e.kind != kindNone && !f.targets[e.target].cascades {
				g := replaced.of(e.target, actMove, e.row)
				g.keys, g.rows, g.sources = append(g.keys, f.entryKey(e)), append(g.rows, e.row), append(g.sources, e.source)
				if !e.row.Whole() {
					continue
				}
			}
			switch e.kind {
			case kindUpsert:
				g := upserts.of(e.target, actUpsert, e.row)
				g.rows, g.origins = append(g.rows, e.row), append(g.origins, e.origin())
				g.onlyNew = g.onlyNew && e.onlyNew
			case kindUpdate:
				g := updates.of(e.target, actUpdate, e.row)
				g.rows, g.sources, g.origins = append(g.rows, e.row), append(g.sources, e.source), append(g.origins, e.origin())
			case kindNone:
			}
		}
	}
	var seg segment
	for _, phase := range []groups{deletes, replaced, upserts, updates} {
		f.encode(&seg, phase.list)
	}
	f.encodeMoves(&seg)
	f.closeKeyless(&seg)
	if len(seg.statements) > 0 {
		f.closed = append(f.closed, seg)
	}
}

// entryKey is the key of an entry that is deleted.
func (f *folder) entryKey(e *entry) change.Row {
	if e.row == nil {
		return e.key
	}
	return keyOfRow(f.targets[e.target], e.row) // not the scratch row: who ends the segment may be looking for the key in it
}

// encodeMoves adds the key changes, a group of independent ones at a time. A whole row that is not found under its
// old key is put in under the new one.
func (f *folder) encodeMoves(seg *segment) {
	for from := 0; from < len(f.moves); {
		clear(f.groupOf)
		rekeys, upserts := groups{f: f}, groups{f: f}
		to := from
		for ; to < len(f.moves) && f.moves[to].group == f.moves[from].group; to++ {
			m := &f.moves[to]
			no := int32(m.op.Target)
			act := actRekey
			if f.moveAll || f.targets[no].identityKey {
				act = actMove
			}
			g := rekeys.of(no, act, m.op.Row)
			g.keys, g.rows, g.sources = append(g.keys, m.op.Key), append(g.rows, m.op.Row), append(g.sources, m.source)
			if m.op.Row.Whole() {
				u := upserts.of(no, actUpsert, m.op.Row)
				u.rows, u.onlyNew = append(u.rows, m.op.Row), false
			}
		}
		f.encode(seg, rekeys.list)
		f.encode(seg, upserts.list)
		from = to
	}
}

// encode adds one statement per group.
func (f *folder) encode(seg *segment, list []*group) {
	for _, g := range list {
		for g.size() > g.most() && (g.act != actMove || !f.moveAll && !f.replace) && !f.copied(g) {
			seg.statements = append(seg.statements, f.statement(g.head(g.most())))
		}
		seg.statements = append(seg.statements, f.statement(g))
	}
}

// maxRows bounds the rows of a statement: parameters that fit the processor's caches are faster on both sides, and the
// server works on the first statement while the next is being sent.
const maxRows = 2000

// most is how many of the group's rows go into one statement. Those that look for rows without a key read the whole table each time.
func (g *group) most() int {
	if g.act == actTakeOne || g.act == actTurnOne {
		return maxSought
	}
	return maxRows
}

const maxSought = 50_000

func (g *group) size() int { return max(len(g.rows), len(g.keys)) }

// head takes the first n rows out of the group.
func (g *group) head(n int) *group {
	out := *g
	if g.rows != nil {
		out.rows, g.rows = g.rows[:n], g.rows[n:]
	}
	if g.keys != nil {
		out.keys, g.keys = g.keys[:n], g.keys[n:]
	}
	if g.sources != nil {
		out.sources, g.sources = g.sources[:n], g.sources[n:]
	}
	if g.origins != nil {
		out.origins, g.origins = g.origins[:n], g.origins[n:]
	}
	return &out
}

// copied says whether the group goes by COPY.
func (f *folder) copied(g *group) bool {
	if g.copy == nil {
		yes := g.act == actPutIn && len(g.rows) >= copyRows || g.act == actUpsert && g.onlyNew && len(g.rows) >= copyRows && f.copies != nil && f.copies(g.target.home)
		g.copy = &yes
	}
	return *g.copy
}

// copyRows is from how many rows on a COPY is worth its round trip.
const copyRows = 200

func (f *folder) statement(g *group) statement {
	t := g.target
	cols := make([]int, 0, len(t.Columns))
	if g.act != actDelete && g.act != actTakeOne {
		for i := range t.Columns {
			if g.absent == nil || !g.absent[i].IsAbsent() {
				cols = append(cols, i)
			}
		}
	}
	if f.copied(g) {
		return statement{shape: f.shapes.get(t.no, t, actCopy, cols), copy: f.copyText(g, cols), rows: len(g.rows)}
	}
	s := statement{shape: f.shapes.get(t.no, t, g.act, cols), rows: max(len(g.rows), len(g.keys)), group: g}
	s.params = make([][]byte, 0, len(t.Key)+len(cols)+1)
	switch g.act {
	case actDelete, actRekey, actMove, actTakeOne, actTurnOne:
		for k := range t.Key {
			s.params = append(s.params, f.array(s.rows, func(i int) change.Value { return g.keys[i][k] }))
		}
	case actUpdate:
		for _, k := range t.Key {
			s.params = append(s.params, f.array(s.rows, func(i int) change.Value { return g.rows[i][k] }))
		}
	case actUpsert, actCopy, actPutIn:
	}
	for _, c := range cols {
		s.params = append(s.params, f.array(s.rows, func(i int) change.Value { return g.rows[i][c] }))
	}
	if g.sources != nil {
		s.sources = g.sources
		s.params = append(s.params, f.numbers(s.rows))
	}
	return s
}

func (f *folder) array(n int, next func(i int) change.Value) []byte {
	from := len(f.buf)
	f.buf = appendArray(f.buf, n, next)
	return f.buf[from:len(f.buf):len(f.buf)]
}

// numbers is the int4[] 0…n-1 in binary form.
func (f *folder) numbers(n int) []byte {
	from := len(f.buf)
	f.buf = append(f.buf, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, int4OID)
	f.buf = binary.BigEndian.AppendUint32(f.buf, uint32(n))
	f.buf = binary.BigEndian.AppendUint32(f.buf, 1)
	for i := range n {
		f.buf = append(f.buf, 0, 0, 0, 4)
		f.buf = binary.BigEndian.AppendUint32(f.buf, uint32(i))
	}
	return f.buf[from:len(f.buf):len(f.buf)]
}

func (f *folder) copyText(g *group, cols []int) []byte {
	from := len(f.buf)
	for _, row := range g.rows {
		for i, c := range cols {
			if i > 0 {
				f.buf = append(f.buf, '\t')
			}
			f.buf = appendCopy(f.buf, row[c])
		}
		f.buf = append(f.buf, '\n')
	}
	return f.buf[from:len(f.buf):len(f.buf)]
}
