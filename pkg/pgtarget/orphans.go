package pgtarget

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"segue/pkg/change"
	"segue/pkg/postgres"
	"segue/pkg/table"
)

// At the end of the initial load rows may refer to rows that are not there: these were parked, or the source never had them. They cannot stay under a
// foreign key that holds, so they are taken off the target and parked, with those that refer to them in turn, before the keys are enforced. That is
// done where the row's source key can be told from its target key; elsewhere the validation stops with an OrphanError.

// parkOrphans does so in one transaction, and returns notes for people.
func (t *Target) parkOrphans(ctx context.Context) ([]string, error) {
	var kept []foreignKey
	_, err := planned(ctx, t.conn, func(tx pgx.Tx) (_ []string, err error) {
		kept, err = scanKept(ctx, tx, keptByHold, t.cfg.Migration)
		return nil, err
	})
	if err != nil {
		return nil, err
	}
	var keys []orphanKey
	for i := range kept {
		if tt := t.nameable(kept[i].table); tt != nil && kept[i].validated && kept[i].hold.loading == 0 && !kept[i].gone && exact(&kept[i]) {
			keys = append(keys, orphanKey{&kept[i], tt})
		}
	}
	if len(keys) == 0 {
		return nil, nil
	}
	notes, err := t.inOwnTransaction(ctx, func() ([]string, error) { return t.removeOrphans(ctx, keys) })
	return notes, step("park rows that refer to nothing", err)
}

// exact says that the key's orphans are told as the constraint does it. An older segue kept texts that compare by the name "=", which may be
// another operator: by such no row goes.
func exact(k *foreignKey) bool { return strings.Contains(k.orphans, " OPERATOR(") }

// orphanKey is a foreign key whose referring rows can be named by their source keys.
type orphanKey struct {
	key    *foreignKey
	target *target
}

// nameable is the target of a table whose rows come from one source table and name their source key; nil: there is none.
func (t *Target) nameable(name table.Name) *target {
	var found *target
	for _, tt := range t.targets {
		if tt.Table.Name != name {
			continue
		}
		if found != nil || tt.Keyless || tt.Roams || len(tt.SourceKey) == 0 {
			return nil
		}
		found = tt
	}
	return found
}

// inOwnTransaction runs do in a transaction of the owner's, between two plans, with what it parked.
func (t *Target) inOwnTransaction(ctx context.Context, do func() ([]string, error)) ([]string, error) {
	if err := t.exec(ctx, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", deferredSQL, plannerSQL("on", "on")); err != nil {
		return nil, err
	}
	before := t.progress.Counters
	notes, err := do()
	if err == nil {
		err = t.exec(ctx, "COMMIT")
	}
	if err != nil {
		t.progress.Counters = before
		_ = t.Rollback(ctx) // the error above says more
		return nil, err
	}
	t.commitParking()
	t.tx = transaction{}
	return notes, nil
}

func (t *Target) removeOrphans(ctx context.Context, keys []orphanKey) ([]string, error) {
	if err := t.lockList(ctx); err != nil {
		return nil, err
	}
	removed := map[*foreignKey]int{}
	total := 0
	for again := true; again; { // rows that referred to the removed ones refer to nothing now
		again = false
		for _, k := range keys {
			n, err := t.removeOrphansOf(ctx, k)
			if err != nil {
				return nil, err
			}
			removed[k.key] += n
			total += n
			again = again || n > 0
		}
	}
	if total == 0 {
		return nil, nil
	}
	if err := t.writeParking(ctx); err != nil {
		return nil, err
	}
	if _, err := t.conn.Exec(ctx, `UPDATE segue.progress SET row_ops = row_ops - $2, parked = parked + $2 WHERE migration = $1`, t.cfg.Migration, total); err != nil {
		return nil, err
	}
	t.progress.RowOps -= int64(total)
	t.progress.Parked += int64(total)
	var notes []string
	for _, k := range keys {
		if n := removed[k.key]; n > 0 {
			notes = append(notes, fmt.Sprintf("%d rows of %s refer to rows that are not there (%s): they are parked", n, k.key.table, k.key.name))
		}
	}
	return notes, nil
}

// removeOrphansOf takes the rows off that refer to nothing by one key, and parks their source rows.
func (t *Target) removeOrphansOf(ctx context.Context, k orphanKey) (int, error) {
	tt := k.target
	returning := make([]string, len(tt.SourceKey))
	for i, place := range tt.SourceKey {
		returning[i] = "pg_catalog.format('%s', c." + tt.name(tt.Key[place]) + ")" // the output's text; a cast is another function (boolean, char, inet)
	}
	rows, err := t.conn.Query(ctx, "DELETE "+k.key.orphans+" RETURNING ARRAY["+strings.Join(returning, ", ")+"]")
	if err != nil {
		return 0, err
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[[]*string])
	if err != nil {
		return 0, err
	}
	f := change.Fault{Stage: Stage, Code: codeForeignKey, Text: (&postgres.Error{
		Code: codeForeignKey, Schema: k.key.table.Schema, Table: k.key.table.Table, Constraint: k.key.name,
	}).Error()}
	for _, texts := range list {
		m := &change.Mapped{Source: tt.Source, SourceKey: change.RowOf(texts), SourceOp: change.Read, Pos: t.progress.At}
		if err := t.park(m, m.SourceKey, f, rowKey{}); err != nil {
			return 0, err
		}
	}
	return len(list), nil
}
