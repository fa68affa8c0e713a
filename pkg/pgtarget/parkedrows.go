package pgtarget

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"segue/pkg/change"
	"segue/pkg/postgres"
	"segue/pkg/table"
)

// parkedStatements make the tables. Keys are found by a hash, which knows no largest key. Nothing is ever removed from parked_log.
func parkedStatements() []string {
	return []string{
		`CREATE TABLE IF NOT EXISTS segue.parked (
			id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
			migration text NOT NULL,
			source_schema text NOT NULL,
			source_table text NOT NULL,
			key_values text[] NOT NULL,
			epoch bigint NOT NULL,
			lsn pg_catalog.pg_lsn NOT NULL,
			seq bigint NOT NULL,
			op text NOT NULL,
			stage text NOT NULL,
			code text NOT NULL,
			reason text NOT NULL,
			size bigint NOT NULL,
			cause text,
			changes bigint NOT NULL,
			last_position text NOT NULL,
			last_op text NOT NULL,
			parked timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
		)`,
		`CREATE INDEX IF NOT EXISTS parked_key ON segue.parked USING hash (key_values)`,
		`ALTER TABLE segue.progress ADD COLUMN IF NOT EXISTS parked bigint NOT NULL DEFAULT 0`,
		`CREATE TABLE IF NOT EXISTS segue.parked_log (
			id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
			logged timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
			migration text NOT NULL,
			action text NOT NULL,
			who text NOT NULL,
			source_schema text NOT NULL,
			source_table text NOT NULL,
			key_values text[] NOT NULL,
			position text NOT NULL,
			op text NOT NULL,
			stage text,
			code text,
			reason text,
			size bigint
		)`,
	}
}

// What parked_log tells of.
const (
	actionParked     = "parked"
	actionSuperseded = "superseded"
)

// Parked is a source row that was set aside.
type Parked struct {
	ID      int64 // grows with each that is parked
	Source  table.Name
	Key     change.Row
	At      change.Position // of the first change
	Op      string
	Fault   change.Fault
	Cause   string // the position of the parked change that this one waits for; "": none
	Changes int64
	Last    string // position of the newest change
	Parked  time.Time
}

// ReadParked lists at most limit parked rows of a migration, oldest first; limit -1: all.
func ReadParked(ctx context.Context, q postgres.Querier, migration string, limit int) ([]Parked, error) {
	rows, err := q.Query(ctx, `
		SELECT id, source_schema, source_table, key_values, epoch, (lsn - '0/0'::pg_catalog.pg_lsn)::text, seq, op, stage, code, reason, size,
		       coalesce(cause, ''), changes, last_position, parked
		FROM segue.parked WHERE migration = $1 ORDER BY id LIMIT NULLIF($2, -1)`, migration, limit)
	if err != nil {
		return nil, step("read parked rows", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Parked, error) {
		var p Parked
		var key []*string
		var epoch, seq int64
		var lsn string
		err := row.Scan(&p.ID, &p.Source.Schema, &p.Source.Table, &key, &epoch, &lsn, &seq, &p.Op, &p.Fault.Stage, &p.Fault.Code, &p.Fault.Text,
			&p.Fault.Size, &p.Cause, &p.Changes, &p.Last, &p.Parked)
		if err != nil {
			return p, err
		}
		p.Key = change.RowOf(key)
		p.At, err = position(epoch, lsn, seq)
		return p, err
	})
	return list, step("read parked rows", err)
}

// ParkedCounts is how many rows of each source table are parked.
func ParkedCounts(ctx context.Context, q postgres.Querier, migration string) (map[table.Name]int64, error) {
	rows, err := q.Query(ctx, `SELECT source_schema, source_table, pg_catalog.count(*) FROM segue.parked WHERE migration = $1 GROUP BY 1, 2`, migration)
	if err != nil {
		return nil, step("count parked rows", err)
	}
	out := map[table.Name]int64{}
	var name table.Name
	var n int64
	_, err = pgx.ForEachRow(rows, []any{&name.Schema, &name.Table, &n}, func() error {
		out[name] = n
		return nil
	})
	return out, step("count parked rows", err)
}

// writeParking brings segue.parked and its log in line, inside the open transaction.
func (t *Target) writeParking(ctx context.Context) error {
	p := &t.tx.parking
	if !p.begun {
		return nil
	}
	var batch pgx.Batch
	batch.Queue(lockProgressSQL, t.cfg.Migration)
	for name, end := range p.emptied {
		batch.Queue(`
			WITH gone AS (DELETE FROM segue.parked WHERE migration = $1 AND source_schema = $2 AND source_table = $3 RETURNING *)
			INSERT INTO segue.parked_log (migration, action, who, source_schema, source_table, key_values, position, op)
			SELECT migration, $4, $5, source_schema, source_table, key_values, $6, $7 FROM gone ORDER BY id`,
			t.cfg.Migration, name.Schema, name.Table, actionSuperseded, t.cfg.Owner, end.pos.String(), end.op.String())
	}
	for _, s := range p.order {
		t.queueParked(&batch, s)
	}
	for k, s := range p.keys {
		if s.stored && s.begun && s.parked {
			t.queueCause(&batch, k, s.first)
		}
	}
	if batch.Len() == 1 {
		return nil
	}
	return t.conn.SendBatch(ctx, &batch).Close()
}

const (
	deleteParkedSQL = `DELETE FROM segue.parked WHERE migration = $1 AND source_schema = $2 AND source_table = $3 AND key_values = $4::text[]`
	insertParkedSQL = `
INSERT INTO segue.parked (migration, source_schema, source_table, key_values, epoch, lsn, seq, op, stage, code, reason, size, cause, changes, last_position, last_op)
VALUES ($1, $2, $3, $4::text[], $5::text::bigint, $6::text::pg_catalog.pg_lsn, $7::text::bigint, $8, $9, $10, $11, $12, NULLIF($13, ''), $14, $15, $16)`
	joinParkedSQL = `
UPDATE segue.parked SET changes = changes + $5, last_position = $6, last_op = $7
WHERE migration = $1 AND source_schema = $2 AND source_table = $3 AND key_values = $4::text[]`
	causeParkedSQL = `UPDATE segue.parked SET cause = $5 WHERE migration = $1 AND source_schema = $2 AND source_table = $3 AND key_values = $4::text[]`
	logParkedSQL   = `
INSERT INTO segue.parked_log (migration, action, who, source_schema, source_table, key_values, position, op, stage, code, reason, size, cause)
VALUES ($1, $2, $3, $4, $5, $6::text[], $7, $8, NULLIF($9, ''), NULLIF($10, ''), NULLIF($11, ''), NULLIF($12::bigint, 0), NULLIF($13, ''))`
)

// queueCause names the new position of a row that was parked anew to those that wait for it.
func (t *Target) queueCause(batch *pgx.Batch, cause string, at change.Position) {
	for k, w := range t.parked.waiting[cause] {
		if s := t.tx.parking.keys[k]; t.parkedNow(w.source, w.key) && (s == nil || !s.begun) {
			batch.Queue(causeParkedSQL, t.cfg.Migration, w.source.Schema, w.source.Table, w.key.Texts(), at.String())
		}
	}
}

// queueParked writes what became of one key.
func (t *Target) queueParked(batch *pgx.Batch, s *parkedState) {
	m, key := t.cfg.Migration, s.key.Texts()
	cause := ""
	if at, ok := t.parkedAt(s.cause.source, s.cause.key); ok { // it may have been parked anew since
		cause = at.String()
	} else if !s.since.Zero() {
		cause = s.since.String()
	}
	log := func(action string, at change.Position, op change.Op, f change.Fault, because string) {
		batch.Queue(logParkedSQL, m, action, t.cfg.Owner, s.source.Schema, s.source.Table, key, at.String(), op.String(), f.Stage, f.Code, f.Text, f.Size, because)
	}
	anew := s.begun && s.parked
	if s.ended != nil && (!anew || s.stored) {
		if s.begun && !anew {
			if s.left != nil { // the former entry ended before this one began
				log(actionSuperseded, s.left.pos, s.left.op, change.Fault{}, "")
			}
			log(actionParked, s.first, s.firstOp, s.fault, cause)
		}
		log(actionSuperseded, s.ended.pos, s.ended.op, change.Fault{}, "")
	}
	if s.stored && (anew || !s.parked) {
		batch.Queue(deleteParkedSQL, m, s.source.Schema, s.source.Table, key)
	}
	switch {
	case anew:
		log(actionParked, s.first, s.firstOp, s.fault, cause)
		batch.Queue(insertParkedSQL, m, s.source.Schema, s.source.Table, key, epochText(s.first), lsnText(s.first.LSN), seqText(s.first),
			s.firstOp.String(), s.fault.Stage, s.fault.Code, s.fault.Text, s.fault.Size, cause, s.changes, s.at.String(), s.op.String())
	case s.parked && s.changes > 0:
		batch.Queue(joinParkedSQL, m, s.source.Schema, s.source.Table, key, s.changes, s.at.String(), s.op.String())
	}
}
