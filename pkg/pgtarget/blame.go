package pgtarget

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"segue/pkg/change"
	"segue/pkg/postgres"
	"segue/pkg/table"
)

// A check that waits for the transaction's end names a constraint, and no row. Which changes break it is looked up while their rows are there:
// of a foreign key those whose rows refer to nothing, else those that took away what others refer to. Of any other constraint all changes of the
// transaction on its table are blamed: more than need be, never fewer.

// blame finds the changes of the source transaction [from, to) that break what its end has to hold, among those that were applied: h.kept from
// the place kept on. The others are parked, and what the target has under their keys is older, or the keys are none that it can read.
func (h *halving) blame(from, to, kept int, broken error) (map[int]refusal, error) {
	var pg *pgconn.PgError
	if !errors.As(broken, &pg) {
		return nil, broken
	}
	h.applied = map[change.Position]bool{}
	for _, m := range h.kept[kept:] {
		h.applied[m.Pos] = true
	}
	var places []int
	var key *brokenKey
	err := h.t.scanning(h.ctx, func() (err error) {
		if pg.Code == codeForeignKey {
			if key, err = h.t.brokenKey(h.ctx, pg); err != nil || key == nil {
				return err
			}
			if places, err = h.childless(from, to, key); err != nil || len(places) > 0 {
				return err
			}
			places, err = h.parentsGone(from, to, key)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(places) == 0 && (key == nil || h.t.tx.slices == 0) {
		places = h.onTables(from, to, h.tablesOf(pg, key))
	}
	return h.refusals(to, places, key, broken)
}

// refusals are those of the changes that are not refused already.
func (h *halving) refusals(to int, places []int, key *brokenKey, broken error) (map[int]refusal, error) {
	out := map[int]refusal{}
	for _, i := range places {
		if _, already := h.refused[i]; already {
			continue
		}
		r, err := h.t.refusalOf(h.ctx, h.all[i], broken)
		if err != nil {
			return nil, err
		}
		if key != nil {
			r.cause = h.t.parentParked(h.all[i], key)
		}
		out[i] = r
	}
	if len(out) == 0 && key != nil && h.t.tx.slices > 0 {
		return nil, h.t.remember(h.ctx, key, h.all[to-1], broken)
	}
	if len(out) == 0 { // nothing left to leave out
		return nil, h.t.refused(h.all[to-1], postgres.Safe(broken))
	}
	return out, nil
}

// brokenKey is a foreign key that does not hold, as its topmost tables have it.
type brokenKey struct {
	child, parent table.Name
	own, referred []string // column names, in the constraint's order
	same          string   // the condition that row c of the child refers to row p of the parent
	full          bool     // MATCH FULL: all of a reference is given, or nothing
}

const brokenKeySQL = `
WITH RECURSIVE up AS (
	SELECT c.oid, c.conparentid FROM pg_catalog.pg_constraint c
	JOIN pg_catalog.pg_class r ON r.oid = c.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace
	WHERE c.contype = 'f' AND c.conname = $1 AND n.nspname = $2 AND r.relname = $3
	UNION ALL
	SELECT p.oid, p.conparentid FROM up JOIN pg_catalog.pg_constraint p ON p.oid = up.conparentid)
SELECT n.nspname, r.relname, fn.nspname, f.relname,
       (SELECT pg_catalog.array_agg(a.attname::text ORDER BY x.place) FROM pg_catalog.unnest(c.conkey) WITH ORDINALITY AS x (num, place)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = x.num),
       (SELECT pg_catalog.array_agg(a.attname::text ORDER BY x.place) FROM pg_catalog.unnest(c.confkey) WITH ORDINALITY AS x (num, place)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = x.num),
       ` + sameSQL + `, c.confmatchtype = 'f'
FROM up JOIN pg_catalog.pg_constraint c ON c.oid = up.oid
JOIN pg_catalog.pg_class r ON r.oid = c.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace
JOIN pg_catalog.pg_class f ON f.oid = c.confrelid JOIN pg_catalog.pg_namespace fn ON fn.oid = f.relnamespace
WHERE up.conparentid = 0`

// brokenKey looks a foreign key up, nil where it cannot be found by the names of the error.
func (t *Target) brokenKey(ctx context.Context, pg *pgconn.PgError) (*brokenKey, error) {
	var k brokenKey
	err := t.conn.QueryRow(ctx, brokenKeySQL, pg.ConstraintName, pg.SchemaName, pg.TableName).
		Scan(&k.child.Schema, &k.child.Table, &k.parent.Schema, &k.parent.Table, &k.own, &k.referred, &k.same, &k.full)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return &k, err
}

// scanning runs a look-up with the planner's own choice: it may have to read a table.
func (t *Target) scanning(ctx context.Context, f func() error) error {
	if err := t.exec(ctx, plannerSQL("on", "on")); err != nil {
		return err
	}
	if err := f(); err != nil {
		return err
	}
	return t.exec(ctx, plannerSQL("off", "on"))
}

// childless are the changes whose rows refer to nothing: of each row the last change that could have set its reference.
func (h *halving) childless(from, to int, k *brokenKey) ([]int, error) {
	last := map[string]int{} // by target and key
	var keys []change.Row
	var places []int
	var of *target
	for i := from; i < to; i++ {
		for j := range h.all[i].Ops {
			op := &h.all[i].Ops[j]
			t := h.t.targets[op.Target]
			if t.Table.Name != k.child || op.Row == nil || !sets(t, op.Row, k.own) || !h.wasApplied(i) {
				continue
			}
			of = t
			key := keyOfRow(t, op.Row)
			s := keyString(t.Table.Name, key)
			if at, ok := last[s]; ok {
				places[at] = i
				continue
			}
			last[s] = len(keys)
			keys, places = append(keys, key), append(places, i)
		}
	}
	if len(keys) == 0 {
		return nil, nil
	}
	return h.found(childlessSQL(of, k), of, keys, places)
}

// parentsGone are the changes that took away a key that rows refer to.
func (h *halving) parentsGone(from, to int, k *brokenKey) ([]int, error) {
	var keys []change.Row
	var places []int
	var of *target
	for i := from; i < to; i++ {
		for j := range h.all[i].Ops {
			op := &h.all[i].Ops[j]
			if t := h.t.targets[op.Target]; t.Table.Name == k.parent && op.Key != nil && h.wasApplied(i) {
				of = t
				keys, places = append(keys, op.Key), append(places, i)
			}
		}
	}
	if len(keys) == 0 || !slices.Equal(sorted(k.referred), sorted(keyColumnNames(of))) {
		return nil, nil // they refer to something else than the key: whose it was is not known
	}
	return h.found(parentsGoneSQL(of, k), of, keys, places)
}

// found runs a query that yields places in keys, from 1.
func (h *halving) found(sql string, t *target, keys []change.Row, places []int) ([]int, error) {
	rows, err := h.t.conn.Query(h.ctx, sql, keyColumns(t.Target, keys)...)
	if err != nil {
		return nil, err
	}
	numbers, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, err
	}
	var out []int
	for _, n := range numbers {
		out = append(out, places[n-1])
	}
	return out, nil
}

func (h *halving) wasApplied(i int) bool {
	_, refused := h.refused[i]
	return !refused && h.applied[h.all[i].Pos]
}

func keyOfRow(t *target, row change.Row) change.Row {
	out := make(change.Row, len(t.Key))
	for i, k := range t.Key {
		out[i] = row[k]
	}
	return out
}

func keyColumnNames(t *target) []string {
	out := make([]string, len(t.Key))
	for i, k := range t.Key {
		out[i] = t.column(k).Name
	}
	return out
}

// place is where a row of the target holds a column, -1: nowhere.
func (t *target) place(name string) int {
	return slices.IndexFunc(t.Columns, func(o int) bool { return t.Table.Columns[o].Name == name })
}

// sets says that the row holds one of the columns.
func sets(t *target, row change.Row, names []string) bool {
	return slices.ContainsFunc(names, func(n string) bool {
		p := t.place(n)
		return p >= 0 && !row[p].IsAbsent()
	})
}

// keysGiven is the list of keys in the parameters, each with its number.
func keysGiven(t *target) string {
	lists, names := make([]string, len(t.Key)), make([]string, len(t.Key))
	for i := range t.Key {
		lists[i], names[i] = fmt.Sprintf("pg_catalog.unnest($%d::pg_catalog.text[])", i+1), fmt.Sprintf("p%d", i+1)
	}
	return "ROWS FROM (" + strings.Join(lists, ", ") + ") WITH ORDINALITY AS u(" + strings.Join(names, ", ") + ", ord)"
}

// refersToNothing is what holds for row c of the child whose parent is not there.
func (k *brokenKey) refersToNothing() string {
	given := make([]string, len(k.own))
	for i, n := range k.own {
		given[i] = "c." + table.Quote(n) + " IS NOT NULL"
	}
	enough := " AND "
	if k.full {
		enough = " OR "
	}
	return fmt.Sprintf("(%s) AND NOT EXISTS (SELECT FROM %s AS p WHERE %s)", strings.Join(given, enough), k.parent.SQL(), k.same)
}

func childlessSQL(t *target, k *brokenKey) string {
	return fmt.Sprintf("SELECT u.ord FROM %s JOIN %s AS t ON %s CROSS JOIN LATERAL (SELECT t.*) AS c WHERE %s", keysGiven(t), k.child.SQL(), t.match(), k.refersToNothing())
}

func parentsGoneSQL(t *target, k *brokenKey) string {
	given := make([]string, len(t.Key)) // the key that went, as a row of the parent
	for i, place := range t.Key {
		given[i] = t.value(i+1, place) + " AS " + t.name(place)
	}
	return fmt.Sprintf("SELECT u.ord FROM %s CROSS JOIN LATERAL (SELECT %s) AS p WHERE EXISTS (SELECT FROM %s AS c WHERE %s) AND NOT EXISTS (SELECT FROM %s AS t WHERE %s)",
		keysGiven(t), strings.Join(given, ", "), k.child.SQL(), k.same, k.parent.SQL(), t.match())
}

// tablesOf are the tables that an error may be about; none: any.
func (h *halving) tablesOf(pg *pgconn.PgError, k *brokenKey) []table.Name {
	if k != nil {
		return []table.Name{k.child, k.parent}
	}
	name := table.Name{Schema: pg.SchemaName, Table: pg.TableName}
	if slices.Contains(h.t.tables, name) {
		return []table.Name{name}
	}
	return nil // a partition, or a trigger that says nothing
}

// onTables are the changes of the source transaction that write rows of one of the tables.
func (h *halving) onTables(from, to int, tables []table.Name) []int {
	var out []int
	for i := from; i < to; i++ {
		if h.all[i].SourceOp == change.Truncate || !h.wasApplied(i) {
			continue
		}
		for j := range h.all[i].Ops {
			if tables == nil || slices.Contains(tables, h.t.targets[h.all[i].Ops[j].Target].Table.Name) {
				out = append(out, i)
				break
			}
		}
	}
	return out
}

// parentParked is the parked row that a change's row refers to: a row that waits for it is read again when it is there. It is known
// where the parent's source key is its target key.
func (t *Target) parentParked(m *change.Mapped, k *brokenKey) rowKey {
	for i := range m.Ops {
		op := &m.Ops[i]
		child := t.targets[op.Target]
		if child.Table.Name != k.child || op.Row == nil {
			continue
		}
		for _, parent := range t.targets {
			if parent.Table.Name != k.parent {
				continue
			}
			if key := parent.sourceKeyOf(child, op.Row, k); t.parkedNow(parent.Source, key) {
				return rowKey{parent.Source, key}
			}
		}
	}
	return rowKey{}
}

// sourceKeyOf is the source key of the parent row that a child's row refers to; nil: it is not known.
func (t *target) sourceKeyOf(child *target, row change.Row, k *brokenKey) change.Row {
	if len(t.SourceKey) == 0 {
		return nil
	}
	out := make(change.Row, len(t.SourceKey))
	for i, place := range t.SourceKey {
		at := slices.Index(k.referred, t.column(t.Key[place]).Name)
		if at < 0 {
			return nil
		}
		own := child.place(k.own[at])
		if own < 0 || row[own].Kind() != change.KindText {
			return nil
		}
		out[i] = row[own]
	}
	return out
}
