package pgtarget

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"segue/pkg/change"
	"segue/pkg/fault"
	"segue/pkg/table"
)

// The target rows of a source table without key: equal rows may be there several times, and a change concerns exactly one of those that
// are as its old row is. Nothing is folded. Set-wise is what does not depend on each other: of the rows that a segment takes away
// none may be one that it puts in, so all of them are there before it; with the deletes first, then the updates, then the inserts,
// the rows that come out are the same as one by one, whichever of equal ones is taken.
//
// Rows are compared by the texts of all columns that the mapping writes, on the target's own terms: the old value is cast to the
// column's type and shown as text again, and so is what is stored. So 1.0 is not 1.00, -0 not 0, NaN is NaN, NULL is NULL, and types
// without equality (json, xml, point) have one. A row of texts as one text is hashed; record's text is injective, a NULL in it is not ''.

// lots is what the open segment holds of one keyless target.
type lots struct {
	deletes, updates, inserts []lot
	added                     map[uint64]struct{} // the hashes of the rows that it puts in: two rows with one hash cost a segment, no more
}

// lot is one operation.
type lot struct {
	op     *change.RowOp
	source int32
}

// addKeyless notes an operation on a keyless target. One that needs a row which this segment puts in begins the next segment.
func (f *folder) addKeyless(t *target, source int32, op *change.RowOp) {
	l := f.lots[t.no]
	if op.Op == change.Delete || op.Op == change.Update {
		if _, here := l.added[f.tables[t.home].index.hash(op.Key)]; here {
			f.cut()
		}
	}
	switch op.Op {
	case change.Delete:
		l.deletes = append(l.deletes, lot{op, source})
		return
	case change.Update:
		l.updates = append(l.updates, lot{op, source})
	default:
		l.inserts = append(l.inserts, lot{op, source})
	}
	l.added[f.tables[t.home].index.hash(op.Row)] = struct{}{}
}

// closeKeyless turns what the open segment holds of keyless targets into statements.
func (f *folder) closeKeyless(seg *segment) {
	for no, l := range f.lots {
		if l == nil {
			continue
		}
		clear(f.groupOf)
		deletes, updates, inserts := groups{f: f}, groups{f: f}, groups{f: f}
		for _, d := range l.deletes {
			g := deletes.of(int32(no), actTakeOne, nil)
			g.keys, g.sources = append(g.keys, d.op.Key), append(g.sources, d.source)
		}
		for _, u := range l.updates {
			g := updates.of(int32(no), actTurnOne, nil)
			g.keys, g.rows, g.sources = append(g.keys, u.op.Key), append(g.rows, u.op.Row), append(g.sources, u.source)
		}
		for _, i := range l.inserts {
			g := inserts.of(int32(no), actPutIn, nil)
			g.rows = append(g.rows, i.op.Row)
		}
		f.encode(seg, deletes.list)
		f.encode(seg, updates.list)
		f.encode(seg, inserts.list)
		l.reset()
	}
}

func (l *lots) reset() {
	clear(l.deletes)
	clear(l.updates)
	clear(l.inserts)
	l.deletes, l.updates, l.inserts = l.deletes[:0], l.updates[:0], l.inserts[:0]
	if len(l.added) > fewAdded {
		l.added = map[uint64]struct{}{} // clearing one that was large once costs as much each time
	}
	clear(l.added)
}

const fewAdded = 4096

// rowText is one row of texts: of the parameters from first on, or of the stored columns.
func (t *target) rowText(value func(place int) string) string {
	parts := make([]string, len(t.Columns))
	for i := range t.Columns {
		parts[i] = value(i)
	}
	// ROW of one column is a record all the same; a record's text holds every part in quotes where it must.
	return "(ROW(" + strings.Join(parts, ", ") + ")::text COLLATE \"C\")"
}

func (t *target) storedText(place int) string { return "t." + t.name(place) + "::text" }

// givenText is the text that the column would show of a parameter: cast as an assignment would have it, for what is sought was assigned once.
func (t *target) givenText(first int) func(place int) string {
	return func(place int) string {
		return t.value(first+place, place) + "::" + t.column(place).Type + "::text"
	}
}

// found is the common beginning of the statements that look for rows: u is what is sought, each of equal ones with its number k, and h
// the stored rows that are sought, numbered likewise. The n-th of equal sought rows gets the n-th of equal stored ones.
func (t *target) found(params int) string {
	var carried strings.Builder
	for p := len(t.Columns) + 1; p <= params; p++ {
		fmt.Fprintf(&carried, ", u.p%d", p)
	}
	return fmt.Sprintf(`WITH s AS MATERIALIZED (SELECT u.n, %s AS r%s FROM %s), `+
		`u AS (SELECT s.*, pg_catalog.row_number() OVER (PARTITION BY s.r ORDER BY s.n) AS k FROM s), `+
		`h AS (SELECT q.place, q.heap, q.r, pg_catalog.row_number() OVER (PARTITION BY q.r) AS k `+
		`FROM (SELECT t.ctid AS place, t.tableoid AS heap, %s AS r FROM %s AS t OFFSET 0) AS q WHERE q.r IN (SELECT s.r FROM s)) `,
		t.rowText(t.givenText(1)), carried.String(), numbered(params), t.rowText(t.storedText), t.Table.Name.SQL())
}

const onePlace = " WHERE t.ctid = h.place AND t.tableoid = h.heap AND h.r = u.r AND h.k = u.k RETURNING u.n"

// takeOneSQL deletes one row for each old row, and returns the numbers of those that were there.
func (t *target) takeOneSQL() string {
	return t.found(len(t.Columns)) + "DELETE FROM " + t.Table.Name.SQL() + " AS t USING u, h" + onePlace
}

// turnOneSQL turns one row for each old row into the new one, and returns the numbers of those that were there.
func (t *target) turnOneSQL() string {
	n := len(t.Columns)
	set := make([]string, n)
	for i := range t.Columns {
		set[i] = t.name(i) + " = " + t.value(n+1+i, i)
	}
	return t.found(2*n) + "UPDATE " + t.Table.Name.SQL() + " AS t SET " + strings.Join(set, ", ") + " FROM u, h" + onePlace
}

// putInSQL inserts rows as they are.
func (t *target) putInSQL() string {
	names, values := make([]string, len(t.Columns)), make([]string, len(t.Columns))
	for i := range t.Columns {
		names[i], values[i] = t.name(i), t.value(i+1, i)
	}
	return fmt.Sprintf("INSERT INTO %s (%s) SELECT %s FROM %s", t.Table.Name.SQL(), strings.Join(names, ", "), strings.Join(values, ", "), unnest(len(t.Columns)))
}

// wholeTable stands for all rows of a table without key among the pending rows and in a request: a key of no columns. The reader
// answers with a truncate and all rows; until then nothing that happens to the table's rows matters.
func wholeTable() change.Row { return change.Row{} }

func (t *Target) keyless(m *change.Mapped) bool {
	return len(m.Ops) > 0 && t.targets[m.Ops[0].Target].Keyless
}

// adrift says that change i did not find its row on a table without key, so that the table is not as the source is, and returns whether it has
// to be asked for. That is done only once in a process: where the cause is the mapping or a trigger it would come again behind every load.
func (t *Target) adrift(changes []*change.Mapped, i int32) (ask bool, err error) {
	m := changes[i]
	if t.waits(changes[:i], m.Source) {
		return false, nil
	}
	if t.reloads[m.Source] == 0 {
		return true, nil
	}
	return false, fault.Fatal(&ApplyError{Target: t.targets[m.Ops[0].Target].Table.Name, Source: m.Source, Pos: m.Pos, Err: errAdriftAgain},
		"nothing at or behind this position was applied: find who else writes the table, or what makes its values others than those that were written (a trigger, a type), "+
			"then start again: the table, which has no key, is loaded anew once more")
}

// waits says that the table is asked for already and has not come behind that: what misses there now does not matter. A truncate, which a load
// begins with, ends the wait.
func (t *Target) waits(before []*change.Mapped, source table.Name) bool {
	of := func(k pendingKey) bool { return k.source == source && len(k.key) == 0 }
	if slices.ContainsFunc(t.tx.asked, of) {
		return true
	}
	return t.pending.has(source, wholeTable()) && !slices.ContainsFunc(t.tx.arrived, of) &&
		!slices.ContainsFunc(before, func(m *change.Mapped) bool { return m.SourceOp == change.Truncate && m.Source == source })
}

var errAdriftAgain = errors.New("a row that was updated or deleted on the source is not on the target, again, although the table was loaded anew")
