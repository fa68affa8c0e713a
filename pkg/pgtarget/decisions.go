package pgtarget

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"segue/pkg/fault"
	"segue/pkg/postgres"
)

// People decide over parked rows while an applier runs that holds the list in memory. A decision bumps a number in the progress row in the
// transaction that changes the list, and every commit of the applier wants the number that its list was read with: a commit that was prepared
// with an older list fails, and the same plan is applied again with the new one.
//
// Invariant: whoever writes segue.parked or its log holds the lock of the progress row from before the first of these writes to its
// commit. So no two of them wait for each other's rows, and the ids of the log are given in the order in which they become visible.

// decisionStatements complete a schema for decisions, and for the topic that the log is delivered to.
func decisionStatements() []string {
	return []string{
		`ALTER TABLE segue.progress ADD COLUMN IF NOT EXISTS decisions bigint NOT NULL DEFAULT 0`,
		`ALTER TABLE segue.parked_log ADD COLUMN IF NOT EXISTS cause text,
			ADD COLUMN IF NOT EXISTS changes bigint, ADD COLUMN IF NOT EXISTS last_position text`,
		`CREATE INDEX IF NOT EXISTS parked_log_key ON segue.parked_log USING hash (key_values)`,
		`CREATE TABLE IF NOT EXISTS segue.dead_topic (migration text PRIMARY KEY, delivered bigint NOT NULL)`,
	}
}

// ActionDiscarded is what the log calls a row that was given up.
const ActionDiscarded = "discarded"

// lockProgressSQL is the lock of the invariant above.
const lockProgressSQL = `SELECT FROM segue.progress WHERE migration = $1 FOR UPDATE`

// Decision gives parked rows up: the target keeps what it has under their keys, and later changes are applied to that.
type Decision struct {
	Migration string
	Who       string
	Reason    string
	Match     func(*Parked) bool
}

// decisionLockTimeout bounds the wait for the applier's transaction that is about to commit.
const decisionLockTimeout = "30s"

// Discard takes the rows that match out of the list, and writes down who gave them up and why. The rows are looked for under the lock, so
// that what the applier commits meanwhile is either seen or comes behind.
func Discard(ctx context.Context, conn *pgx.Conn, d Decision) ([]Parked, error) {
	version, err := readVersion(ctx, conn)
	if err != nil {
		return nil, err
	}
	if version == 0 {
		return nil, errNoList()
	}
	var given []Parked
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) (err error) {
		if err = postgres.Pin(ctx, tx); err != nil {
			return err
		}
		if _, err = tx.Exec(ctx, "SET LOCAL lock_timeout = '"+decisionLockTimeout+"'"); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, lockProgressSQL, d.Migration)
		if err != nil {
			return err
		}
		if tag.RowsAffected() != 1 {
			return errNoList()
		}
		given, err = d.give(ctx, tx)
		return err
	})
	if err != nil {
		return nil, step("discard parked rows of "+d.Migration, err)
	}
	return given, nil
}

// errNoList says that there is nothing that could be decided over.
func errNoList() error {
	return fault.Fatal(errors.New("the target has no list of parked rows, or one of an older version of segue"),
		"start the applier once (segue run all, or run applier): it makes the list")
}

// give does what Discard says, under the lock.
func (d *Decision) give(ctx context.Context, tx pgx.Tx) ([]Parked, error) {
	list, err := ReadParked(ctx, tx, d.Migration, -1)
	if err != nil {
		return nil, err
	}
	var given []Parked
	var ids []int64
	var positions []string
	for i := range list {
		if d.Match(&list[i]) {
			given, ids, positions = append(given, list[i]), append(ids, list[i].ID), append(positions, list[i].At.String())
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	if _, err := tx.Exec(ctx, `UPDATE segue.progress SET decisions = decisions + 1 WHERE migration = $1`, d.Migration); err != nil {
		return nil, err
	}
	tag, err := tx.Exec(ctx, `
		WITH gone AS (DELETE FROM segue.parked WHERE migration = $1 AND id = ANY ($2::bigint[]) RETURNING *)
		INSERT INTO segue.parked_log (migration, action, who, source_schema, source_table, key_values, position, op, stage, code, reason, size,
		       cause, changes, last_position)
		SELECT migration, $3, $4, source_schema, source_table, key_values, given.position, op, stage, code, $5, NULLIF(size, 0), cause, changes, last_position
		FROM gone JOIN ROWS FROM (pg_catalog.unnest($2::bigint[]), pg_catalog.unnest($6::text[])) AS given (id, position) USING (id)
		ORDER BY id`, d.Migration, ids, ActionDiscarded, d.Who, d.Reason, positions)
	if err != nil {
		return nil, err
	}
	if int(tag.RowsAffected()) != len(ids) {
		return nil, fmt.Errorf("%d of %d rows were there", tag.RowsAffected(), len(ids))
	}
	return given, nil
}

// decided looks at a refused commit: where people have changed the list, and nothing else has happened, the list is read again and the
// plan may be applied again. What was open is rolled back. Otherwise it returns the refusal.
func (t *Target) decided(ctx context.Context, refusal error) error {
	slices := t.tx.slices
	t.noteLost() // until the source is read again: what fails below may be tried again with the rest of the transaction alone
	if err := t.Rollback(ctx); err != nil {
		return err
	}
	err := pgx.BeginFunc(ctx, t.conn, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, lockProgressSQL, t.cfg.Migration) // number and list are of one moment
		if err != nil {
			return err
		}
		if tag.RowsAffected() != 1 {
			return refusal
		}
		now, err := scanProgress(tx.QueryRow(ctx, progressSQL, t.cfg.Migration))
		if err != nil {
			return err
		}
		if now.Owner != t.owner || now.Cursor() != t.progress.Cursor() || now.Decisions == t.progress.Decisions {
			return refusal
		}
		return t.reread(ctx, tx, now.Decisions)
	})
	if err == nil && slices > 0 {
		t.lost = nil // it is told here
		return fault.Transient(fmt.Errorf("parked rows were discarded meanwhile: %w", ErrRewind))
	}
	return err
}

// reread takes the list with the number that it belongs to. Where it cannot be read, the former number stays: a commit would fail.
func (t *Target) reread(ctx context.Context, q postgres.Querier, decisions int64) error {
	if err := t.parked.load(ctx, q, t.cfg.Migration); err != nil {
		return err
	}
	t.progress.Decisions = decisions
	return nil
}

// lockList takes the lock of the invariant above for a transaction that moves no position, and the list as people have left it.
func (t *Target) lockList(ctx context.Context) error {
	var decisions int64
	err := t.conn.QueryRow(ctx, `SELECT decisions FROM segue.progress WHERE migration = $1 AND owner = $2 FOR UPDATE`, t.cfg.Migration, t.owner).Scan(&decisions)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return takenOver()
	case err != nil || decisions == t.progress.Decisions:
		return err
	}
	return t.reread(ctx, t.conn, decisions)
}
