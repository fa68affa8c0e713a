package pgtarget

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"segue/pkg/postgres"
	"segue/pkg/table"
)

// PrepareKeys takes the foreign keys of and to the target tables away, where the initial load is still to be done, and indexes where that is
// wished.
func (t *Target) PrepareKeys(ctx context.Context) error {
	if t.progress.Loaded {
		return claimKeys(ctx, t.conn, t.cfg.Migration, t.tables)
	}
	return t.takeAway(ctx, t.tables)
}

func (t *Target) takeAway(ctx context.Context, tables []table.Name) error {
	if err := PrepareKeys(ctx, t.conn, t.cfg.Migration, tables); err != nil || !t.cfg.IndexesAfterLoad {
		return err
	}
	return DropIndexes(ctx, t.conn, t.cfg.Migration, tables)
}

// Loaded does what the end of the initial load asks for, right behind the commit that completes it: indexes are made again, foreign keys
// enforced from there on, statistics are taken, sequences moved on, and the progress row says so. It returns notes for
// people. Behind a crash it is called again, with the next frontier.
func (t *Target) Loaded(ctx context.Context) ([]string, error) {
	if t.progress.Loaded {
		return nil, nil
	}
	notes, err := RestoreIndexes(ctx, IndexBuild{URL: t.cfg.URL, App: t.cfg.App, Migration: t.cfg.Migration, Workers: t.cfg.IndexWorkers})
	if err != nil {
		return nil, err
	}
	parked, err := t.parkOrphans(ctx)
	if err != nil {
		return nil, err
	}
	notes = append(notes, parked...)
	if err := EnforceKeys(ctx, t.conn, t.cfg.Migration); err != nil {
		return nil, err
	}
	if err := t.noteCascades(ctx); err != nil {
		return nil, err
	}
	for _, name := range t.tables {
		if _, err := t.conn.Exec(ctx, "ANALYZE "+name.SQL()); err != nil {
			if !serverError(err) {
				return nil, step("analyze "+name.String(), err)
			}
			notes = append(notes, "no statistics of "+name.String()+": "+postgres.Safe(err).Error())
		}
	}
	more, err := MoveSequences(ctx, t.conn, t.tables)
	if err != nil {
		return nil, err
	}
	tag, err := t.conn.Exec(ctx, `UPDATE segue.progress SET loaded = true WHERE migration = $1 AND owner = $2`, t.cfg.Migration, t.owner)
	if err != nil {
		return nil, step("note the end of the initial load", err)
	}
	if tag.RowsAffected() != 1 {
		return nil, takenOver()
	}
	t.progress.Loaded = true
	t.copying.reset(len(t.tables), false)
	return append(notes, more...), nil
}

// LoadAgain takes the foreign keys of and to some tables away and says that a load is to be done: the source's history has forked, and
// every table comes anew, or tables were added. The keys of the others stay enforced.
func (t *Target) LoadAgain(ctx context.Context, tables []table.Name) error {
	tag, err := t.conn.Exec(ctx, `UPDATE segue.progress SET loaded = false WHERE migration = $1 AND owner = $2`, t.cfg.Migration, t.owner)
	if err != nil {
		return step("note that the initial load begins anew", err)
	}
	if tag.RowsAffected() != 1 {
		return takenOver()
	}
	t.progress.Loaded = false
	return t.takeAway(ctx, tables)
}

// sequencesSQL lists the sequences that belong to columns of the tables.
const sequencesSQL = `
SELECT n.nspname, c.relname, a.attname, sn.nspname, s.relname, q.seqincrement > 0
FROM ROWS FROM (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[])) AS want (nsp, rel)
JOIN pg_catalog.pg_namespace n ON n.nspname = want.nsp
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = want.rel
JOIN pg_catalog.pg_depend d ON d.refobjid = c.oid AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
     AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
JOIN pg_catalog.pg_class s ON s.oid = d.objid AND s.relkind = 'S'
JOIN pg_catalog.pg_namespace sn ON sn.oid = s.relnamespace
JOIN pg_catalog.pg_sequence q ON q.seqrelid = s.oid
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid`

type sequence struct {
	table     table.Name
	column    string
	name      table.Name
	ascending bool
}

// MoveSequences moves the sequences that belong to the tables' columns past the values that are there, never back. It returns
// a note for each that this role may not move.
func MoveSequences(ctx context.Context, conn *pgx.Conn, tables []table.Name) ([]string, error) {
	schemas, names := split(tables)
	var list []sequence
	err := collect(ctx, conn, sequencesSQL, []any{schemas, names}, func(row pgx.CollectableRow) error {
		var s sequence
		err := row.Scan(&s.table.Schema, &s.table.Table, &s.column, &s.name.Schema, &s.name.Table, &s.ascending)
		list = append(list, s)
		return err
	})
	if err != nil {
		return nil, step("read sequences", err)
	}
	var notes []string
	for _, s := range list {
		if _, err := conn.Exec(ctx, s.sql()); err != nil {
			if !serverError(err) {
				return nil, step("move sequence "+s.name.String(), err)
			}
			notes = append(notes, fmt.Sprintf("sequence %s was not moved on: %v", s.name, postgres.Safe(err)))
		}
	}
	return notes, nil
}

func (s *sequence) sql() string {
	end, beyond := "max", ">"
	if !s.ascending {
		end, beyond = "min", "<"
	}
	return fmt.Sprintf(`SELECT pg_catalog.setval(%s::pg_catalog.regclass, m.value) FROM (SELECT pg_catalog.%s(%s)::bigint AS value FROM %s) m, %s q
		WHERE m.value %s q.last_value OR (m.value = q.last_value AND NOT q.is_called)`,
		literal(s.name.SQL()), end, table.Quote(s.column), s.table.SQL(), s.name.SQL(), beyond)
}
