package pgtarget

import (
	"context"
	"fmt"

	"segue/pkg/change"
	"segue/pkg/fault"
	"segue/pkg/postgres"
	"segue/pkg/table"
)

// A parked key is a source row of which the target does not have the present state, because a change of it could not travel or has no row
// in the mapping. Later changes of the key join it and are not applied either: they build on what is not there. What carries the
// whole row, or deletes it, ends that: nothing before it matters any more. All other keys go on. What the target holds under a parked key
// is an older version of the row, or nothing; the list is kept in the transactions that carry progress (promises P1 and P4).

// Park bounds the list: so many parked rows are no longer single rows' faults. 0: the defaults.
type Park struct {
	Limit    int // of all tables
	PerTable int
}

// The defaults of Park.
const (
	DefaultParkLimit    = 10_000
	DefaultParkPerTable = 10_000
)

func (p Park) withDefaults() Park {
	if p.Limit == 0 {
		p.Limit = DefaultParkLimit
	}
	if p.PerTable == 0 {
		p.PerTable = DefaultParkPerTable
	}
	return p
}

// parkedKeys is the committed content of segue.parked: each key with the position of its first change there.
type parkedKeys struct {
	keys   map[string]change.Position
	tables map[table.Name]int
	// waiting are the keys that were parked for the absence of another one, by that one: its position changes when it is parked anew. causes are the
	// same the other way round.
	waiting map[string]map[string]rowKey
	causes  map[string][]string
}

// rowKey is a source row.
type rowKey struct {
	source table.Name
	key    change.Row // nil: none
}

// own is the key with memory of its own: that of a batch ends with it, and one key would hold all of its record.
func (k rowKey) own() rowKey { return rowKey{k.source, change.RowOf(k.key.Texts())} }

func (k rowKey) String() string { return keyString(k.source, k.key) }

func (p *parkedKeys) len() int { return len(p.keys) }

// load reads the list. It is bounded by Park, and read whole: a key left out would be written over a state that is not known. Behind an error it
// is as it was.
func (p *parkedKeys) load(ctx context.Context, q postgres.Querier, migration string) error {
	list, err := ReadParked(ctx, q, migration, -1)
	if err != nil {
		return err
	}
	*p = parkedKeys{keys: map[string]change.Position{}, tables: map[table.Name]int{}, waiting: map[string]map[string]rowKey{}, causes: map[string][]string{}}
	since := map[change.Position][]string{} // both keys of a key change
	for _, k := range list {
		s := keyString(k.Source, k.Key)
		p.keys[s], since[k.At] = k.At, append(since[k.At], s)
		p.tables[k.Source]++
	}
	for _, k := range list {
		if cause, err := change.ParsePosition(k.Cause); err == nil {
			p.wait(rowKey{k.Source, k.Key}, since[cause]...)
		}
	}
	return nil
}

// wait notes what a parked key waits for, instead of what it did before.
func (p *parkedKeys) wait(w rowKey, causes ...string) {
	k := w.String()
	p.forget(k)
	if len(causes) == 0 {
		return
	}
	p.causes[k] = causes
	for _, cause := range causes {
		if p.waiting[cause] == nil {
			p.waiting[cause] = map[string]rowKey{}
		}
		p.waiting[cause][k] = w
	}
}

// forget drops a key from those that wait.
func (p *parkedKeys) forget(k string) {
	for _, cause := range p.causes[k] {
		if delete(p.waiting[cause], k); len(p.waiting[cause]) == 0 {
			delete(p.waiting, cause)
		}
	}
	delete(p.causes, k)
}

// ending is the change that ended an entry. The change itself would hold its whole batch until the commit, which may be many slices away.
type ending struct {
	pos change.Position
	op  change.Op
}

// parkedState is what the open transaction makes of one key.
type parkedState struct {
	source  table.Name
	key     change.Row
	stored  bool // it is in segue.parked, and no truncate of this transaction has emptied that
	parked  bool // now
	begun   bool // it was parked anew in this transaction
	ended   *ending
	left    *ending // what ended the entry from before this transaction
	first   change.Position
	firstOp change.Op
	at      change.Position // of the newest change
	op      change.Op
	fault   change.Fault    // of the first change, where begun
	cause   rowKey          // the parked row that it waits for
	since   change.Position // of cause, when this one was parked
	changes int64           // that came in this transaction
	arrived change.Position // of the newest parked change that brought a row to this key
	was     change.Position // since when it was parked before this transaction
}

// parking is what the open transaction makes of the list.
type parking struct {
	keys    map[string]*parkedState
	order   []*parkedState
	emptied map[table.Name]*ending // truncated in it
	counts  map[table.Name]int     // of tables that it touches, as they are now
	total   int
	begun   bool // the maps are made
	undo    []func()
}

// mark is where rewind goes back to. What is parked is found out by applying changes, and a part that is taken back to be applied in smaller
// parts says nothing.
func (p *parking) mark() int { return len(p.undo) }

// rewind takes back what became of the list since mark.
func (p *parking) rewind(mark int) {
	for i := len(p.undo) - 1; i >= mark; i-- {
		p.undo[i]()
	}
	p.undo = p.undo[:mark]
}

func (p *parking) noteUndo(f func()) { p.undo = append(p.undo, f) }

// changing remembers a key's state before it changes.
func (p *parking) changing(s *parkedState) {
	was := *s
	p.noteUndo(func() { *s = was })
}

// parkedNow looks at the list as the open transaction has it.
func (t *Target) parkedNow(source table.Name, key change.Row) bool {
	_, ok := t.parkedAt(source, key)
	return ok
}

// parkedAt is parkedNow with the position that the key is parked since.
func (t *Target) parkedAt(source table.Name, key change.Row) (change.Position, bool) {
	if key == nil || t.parkedOf(source) == 0 {
		return change.Position{}, false
	}
	k := keyString(source, key)
	if s := t.tx.parking.keys[k]; s != nil {
		return s.first, s.parked
	}
	if t.tx.parking.emptied[source] != nil {
		return change.Position{}, false
	}
	at, ok := t.parked.keys[k]
	return at, ok
}

// parkedOf is how many keys of a table are parked now.
func (t *Target) parkedOf(source table.Name) int {
	if n, ok := t.tx.parking.counts[source]; ok {
		return n
	}
	return t.parked.tables[source]
}

// count keeps the numbers that the limits go by.
func (t *Target) count(source table.Name, by int) {
	p := &t.tx.parking
	was, had := p.counts[source]
	p.noteUndo(func() {
		p.total -= by
		if p.counts[source] = was; !had {
			delete(p.counts, source)
		}
	})
	p.counts[source] = t.parkedOf(source) + by
	p.total += by
}

// open makes the open transaction's part of the list.
func (t *Target) openParking() *parking {
	p := &t.tx.parking
	if !p.begun {
		*p = parking{
			keys: map[string]*parkedState{}, emptied: map[table.Name]*ending{}, counts: map[table.Name]int{},
			total: t.parked.len(), begun: true,
		}
	}
	return p
}

// stateOf returns the transaction's state of a key.
func (t *Target) stateOf(source table.Name, key change.Row) *parkedState {
	p := t.openParking()
	k := keyString(source, key)
	s := p.keys[k]
	if s == nil {
		s = &parkedState{source: source, key: rowKey{source, key}.own().key}
		if p.emptied[source] == nil {
			s.was, s.stored = t.parked.keys[k], t.has(k)
			s.first, s.parked = s.was, s.stored
		}
		p.keys[k] = s
		p.order = append(p.order, s)
		p.noteUndo(func() {
			delete(p.keys, k)
			p.order = p.order[:len(p.order)-1]
		})
	}
	return s
}

func (t *Target) has(k string) bool {
	_, ok := t.parked.keys[k]
	return ok
}

// park adds a change to a key's entry, which it begins where there is none.
func (t *Target) park(m *change.Mapped, key change.Row, f change.Fault, cause rowKey) error {
	s := t.stateOf(m.Source, key)
	t.tx.parking.changing(s)
	if !s.parked {
		s.parked, s.begun, s.first, s.firstOp, s.fault, s.cause, s.changes = true, true, m.Pos, m.SourceOp, f, cause, 0
		s.since, _ = t.parkedAt(cause.source, cause.key)
		t.count(m.Source, 1)
	}
	s.at, s.op = m.Pos, m.SourceOp
	s.changes++
	if arrives(m, key) {
		s.arrived = m.Pos
	}
	if n := t.parkedOf(m.Source); n > t.cfg.Park.PerTable {
		return parkedTooMany(fmt.Sprintf("%d rows of %s are parked", n, m.Source), m.Pos, &f, "park.per_table", t.cfg.Park.PerTable)
	}
	if n := t.tx.parking.total; n > t.cfg.Park.Limit {
		return parkedTooMany(fmt.Sprintf("%d rows are parked", n), m.Pos, &f, "park.limit", t.cfg.Park.Limit)
	}
	return nil
}

func parkedTooMany(what string, at change.Position, f *change.Fault, key string, limit int) error {
	return fault.Fatal(fmt.Errorf("apply up to %s: %s, and %s is %d; the last one for: %s", at, what, key, limit, f.Text),
		"nothing at or behind this position was applied, no data is at risk: segue.parked on the target says which rows and why; mend the cause, or raise "+key+" in segue.yaml, then start again")
}

// settle ends a key's entry: the change carries the whole row, or deletes it.
func (t *Target) settle(m *change.Mapped, key change.Row) {
	if !t.parkedNow(m.Source, key) {
		return
	}
	s := t.stateOf(m.Source, key)
	t.tx.parking.changing(s)
	s.parked, s.ended = false, &ending{m.Pos, m.SourceOp}
	if s.stored && !s.begun {
		s.left = s.ended
	}
	t.count(m.Source, -1)
}

// arrives says that the change brings a row to the key, where none or another one was.
func arrives(m *change.Mapped, key change.Row) bool {
	if m.OldKey == nil {
		return m.SourceOp == change.Insert || m.SourceOp == change.Read
	}
	return keyString(m.Source, m.SourceKey) == keyString(m.Source, key)
}

// leaves ends the entry of the key that a row has moved away from. Where keys trade places in one transaction, another row may have come to
// that key before this one left it: then the entry is that row's, and stays.
func (t *Target) leaves(m *change.Mapped) {
	if m.OldKey == nil || !t.parkedNow(m.Source, m.OldKey) {
		return
	}
	if at := t.stateOf(m.Source, m.OldKey).arrived; !at.Zero() && at.Epoch == m.Pos.Epoch && at.LSN == m.Pos.LSN {
		return
	}
	t.settle(m, m.OldKey)
}

// empty ends every entry of a truncated table.
func (t *Target) empty(m *change.Mapped) {
	n := t.parkedOf(m.Source)
	if n == 0 {
		return
	}
	p, end := t.openParking(), &ending{m.Pos, m.SourceOp}
	for _, s := range p.order {
		if s.source == m.Source {
			p.changing(s)
			if s.parked {
				s.parked, s.ended = false, end
			}
			s.stored, s.left = false, nil // the statement that empties the list tells of it
		}
	}
	was := p.emptied[m.Source]
	p.noteUndo(func() {
		if p.emptied[m.Source] = was; was == nil {
			delete(p.emptied, m.Source)
		}
	})
	p.emptied[m.Source] = end
	t.count(m.Source, -n)
}

// commitParking takes over what a commit has written.
func (t *Target) commitParking() {
	p := &t.tx.parking
	if len(p.emptied) > 0 { // which keys were a table's, only the entries know: they are few, and a truncate is rare
		for k := range t.parked.keys {
			for name := range p.emptied {
				if ofTable(k, name) {
					delete(t.parked.keys, k)
					t.parked.forget(k)
				}
			}
		}
	}
	for k, s := range p.keys {
		if !s.parked {
			delete(t.parked.keys, k)
			t.parked.forget(k)
			continue
		}
		t.parked.keys[k] = s.first
		if !s.begun {
			continue
		}
		t.parked.forget(k)
		if s.cause.key != nil {
			t.parked.wait(rowKey{s.source, s.key}, s.cause.String())
		}
	}
	for name, n := range p.counts {
		t.parked.tables[name] = n
	}
}

// ofTable says whether a keyString is of a table.
func ofTable(k string, name table.Name) bool {
	prefix := name.Schema + "\x00" + name.Table + "\x00"
	return len(k) >= len(prefix) && k[:len(prefix)] == prefix
}
