package pgtarget

import (
	"errors"
	"fmt"

	"segue/pkg/change"
	"segue/pkg/fault"
)

// folder folds row operations to one final operation per target key. What must keep its order ends a segment: segments
// are applied one behind the other, and inside one no two operations depend on each other's order.
//
// Invariant: a key is in the index of its table exactly if the open segment holds an operation on it.
type folder struct {
	targets []*target
	tables  []*tableFold
	groups  int // of key changes in the open segment; inside a group no key occurs twice
	moves   []move
	closed  []segment
	arena   []change.Value
	scratch change.Row
	changes []*change.Mapped
	single  bool                // the serial form: every operation is a segment of its own
	copies  func(home int) bool // whether a table may be filled by COPY
	groupOf map[groupKey]*group // of the segment that is being closed
	moveAll bool                // key changes trade places: all of them as one statement
	replace bool                // rows trade unique values: all that are written are taken out before the first is put in
	shapes  *shapes
	buf     []byte  // parameters
	lots    []*lots // by target: nil for one with a key
}

// tableFold is what the open segment holds for one target table.
type tableFold struct {
	index   *keyIndex
	entries []entry
}

// entry is a key's final operation.
type entry struct {
	row     change.Row // nil: none to write
	key     change.Row // where row is nil
	target  int32
	source  int32 // the last change that went in, a number in changes
	group   int32 // of the last key change that took part, 0: none
	kind    entryKind
	delete  bool // the row that is there goes first
	onlyNew bool // every operation was a Read, so that a COPY may do
	several bool // more than one operation went in
}

// origin is the change that the entry is made of, -1 where it is more than one.
func (e *entry) origin() int32 {
	if e.several || e.group != 0 {
		return -1
	}
	return e.source
}

type entryKind uint8

const (
	kindNone   entryKind = iota // only the delete, or a key change
	kindUpsert                  // row holds the whole row
	kindUpdate                  // row may have absent columns; it must be there
)

// move is a key change.
type move struct {
	op     *change.RowOp
	source int32
	group  int32
}

func (f *folder) add(source int32, op *change.RowOp) error {
	if op.Target < 0 || op.Target >= len(f.targets) {
		return fault.Fatal(fmt.Errorf("change at %s: target %d is not in the mapping", f.changes[source].Pos, op.Target), "")
	}
	t := f.targets[op.Target]
	if op.Op == change.Truncate {
		return f.truncate(source, op, t)
	}
	if err := f.check(source, op, t); err != nil {
		return err
	}
	switch {
	case t.Keyless:
		f.addKeyless(t, source, op)
	case op.Op == change.Update && op.Key != nil && f.moved(t, op):
		f.addMove(t, source, op)
	default:
		f.fold(t, source, op)
	}
	if f.single {
		f.cut()
	}
	return nil
}

// check refuses rows that the statements could not mean.
func (f *folder) check(source int32, op *change.RowOp, t *target) error {
	var what string
	switch {
	case op.Op == change.Delete && len(op.Key) != len(t.Key):
		what = "a delete without its key"
	case op.Op != change.Delete && len(op.Row) != len(t.Columns):
		what = "a row of another shape than the target's"
	case op.Op != change.Delete && op.Key != nil && len(op.Key) != len(t.Key):
		what = "an old key of another shape than the target's"
	case t.Keyless && op.Op == change.Update && op.Key == nil:
		what = "an update without its old row"
	case op.Op != change.Delete && !whole(op.Row, t.Key), t.Keyless && op.Key != nil && !op.Key.Whole():
		what = "a row without its key"
	default:
		return nil
	}
	m := f.changes[source]
	return fault.Fatal(&ApplyError{Target: t.Table.Name, Source: m.Source, Pos: m.Pos, Err: errors.New(what)}, "")
}

func whole(r change.Row, places []int) bool {
	for _, p := range places {
		if r[p].IsAbsent() {
			return false
		}
	}
	return true
}

func (f *folder) moved(t *target, op *change.RowOp) bool {
	for i, k := range t.Key {
		if !op.Key[i].Equal(op.Row[k]) {
			return true
		}
	}
	return false
}

// keyOf puts the key of an operation's row into the scratch row.
func (f *folder) keyOf(t *target, row change.Row) change.Row {
	f.scratch = f.scratch[:0]
	for _, k := range t.Key {
		f.scratch = append(f.scratch, row[k])
	}
	return f.scratch
}

// lookup returns the entry of a key, -1 where there is none, with what put needs then.
func (f *folder) lookup(t *target, key change.Row) (e int32, hash uint64, slot int) {
	tf := f.tables[t.home]
	hash = tf.index.hash(key)
	e, slot = tf.index.find(hash, func(i int32) bool { return f.sameKey(&tf.entries[i], key) })
	return e, hash, slot
}

func (f *folder) sameKey(e *entry, key change.Row) bool {
	if e.row == nil {
		for i := range key {
			if !e.key[i].Equal(key[i]) {
				return false
			}
		}
		return true
	}
	for i, k := range f.targets[e.target].Key {
		if !e.row[k].Equal(key[i]) {
			return false
		}
	}
	return true
}

// fold merges an operation into its key's entry. A key that has changed in this segment, and one that another rule of the
// mapping writes too, starts the next segment.
func (f *folder) fold(t *target, source int32, op *change.RowOp) {
	if len(f.moves) > 0 && t.everyKey {
		f.cut() // equal keys may differ in text: a key change may have freed this very one
	}
	key := op.Key
	if op.Op != change.Delete {
		key = f.keyOf(t, op.Row)
	}
	at, hash, slot := f.lookup(t, key)
	tf := f.tables[t.home]
	if at >= 0 {
		e := &tf.entries[at]
		if e.group == 0 && e.target == int32(op.Target) {
			f.merge(e, op)
			e.source = source
			return
		}
		f.cut()
		_, hash, slot = f.lookup(t, key)
	}
	e := entry{target: int32(op.Target), source: source, onlyNew: op.Op == change.Read}
	switch {
	case op.Op == change.Delete:
		e.delete, e.key = true, op.Key
	case op.Op == change.Update && !op.Row.Whole():
		e.kind, e.row = kindUpdate, op.Row
	default:
		e.kind, e.row = kindUpsert, op.Row
	}
	tf.entries = append(tf.entries, e)
	tf.index.put(hash, slot, int32(len(tf.entries)-1))
}

// merge adds an operation to an entry of the same key and target.
func (f *folder) merge(e *entry, op *change.RowOp) {
	e.several, e.onlyNew = true, e.onlyNew && op.Op == change.Read
	switch {
	case op.Op == change.Delete:
		e.delete, e.kind, e.row, e.key = true, kindNone, nil, op.Key
	case op.Row.Whole():
		e.kind, e.row, e.key = kindUpsert, op.Row, nil
	case op.Op != change.Update: // a row of an older shape of its table: what it lacks stays, or is the column's default
		if e.kind == kindNone {
			e.row = op.Row
		} else {
			e.row = f.over(e.row, op.Row)
		}
		e.kind, e.key = kindUpsert, nil
	case e.kind == kindNone:
		// Deleted, and then a part of a row that cannot be there: the update will find none and the row is asked for.
		e.kind, e.row, e.key = kindUpdate, op.Row, nil
	default:
		e.row = f.over(e.row, op.Row)
	}
}

// over returns old with the present values of row in their places. Rows belong to the changes: it is a new one.
func (f *folder) over(old, row change.Row) change.Row {
	if len(f.arena)+len(row) > cap(f.arena) {
		f.arena = make([]change.Value, 0, max(1024, len(row)))
	}
	from := len(f.arena)
	f.arena = f.arena[:from+len(row)]
	out := change.Row(f.arena[from : from+len(row) : from+len(row)])
	for i, v := range row {
		if v.IsAbsent() {
			v = old[i]
		}
		out[i] = v
	}
	return out
}

// addMove notes a key change. It comes behind the folded operations of its segment, so that what happened to both
// keys before it is done; a chain (a key that moves again, or that is moved to) starts the next group.
func (f *folder) addMove(t *target, source int32, op *change.RowOp) {
	from := f.mark(t, op, op.Key)
	fromGroup := from.group
	to := f.mark(t, op, f.keyOf(t, op.Row))
	again := int(fromGroup) == f.groups || int(to.group) == f.groups
	if f.groups == 0 || (again && !f.moveAll) {
		f.groups++
	}
	group := int32(f.groups)
	to.group = group
	f.mark(t, op, op.Key).group = group
	f.moves = append(f.moves, move{op: op, source: source, group: group})
}

// mark returns the key's entry, a new one that does nothing where there is none.
func (f *folder) mark(t *target, op *change.RowOp, key change.Row) *entry {
	at, hash, slot := f.lookup(t, key)
	tf := f.tables[t.home]
	if at < 0 {
		tf.entries = append(tf.entries, entry{key: append(change.Row(nil), key...), target: int32(op.Target)})
		at = int32(len(tf.entries) - 1)
		tf.index.put(hash, slot, at)
	}
	return &tf.entries[at]
}

// cut ends the open segment.
func (f *folder) cut() {
	f.close()
	for _, tf := range f.tables {
		if len(tf.entries) > 0 {
			tf.index.reset()
			clear(tf.entries)
			tf.entries = tf.entries[:0]
		}
	}
	f.moves, f.groups = f.moves[:0], 0
}
