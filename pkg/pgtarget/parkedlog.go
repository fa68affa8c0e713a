package pgtarget

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"segue/pkg/change"
	"segue/pkg/postgres"
	"segue/pkg/table"
)

// Logged is a line of the log of parked rows: what happened to one, and who did it.
type Logged struct {
	ID       int64
	Time     time.Time
	Action   string // parked, superseded, discarded
	Who      string
	Source   table.Name
	Key      change.Row
	Position string // of the change that did it; of the first change that was set aside, where the row was given up
	Op       string
	Fault    change.Fault // why it was set aside; where it was given up, Text is why that was
	Cause    string
	Changes  int64  // that were given up
	Last     string // position of the newest of these
}

const loggedSQL = `
SELECT id, logged, action, who, source_schema, source_table, key_values, position, op, coalesce(stage, ''), coalesce(code, ''), coalesce(reason, ''),
       coalesce(size, 0), coalesce(cause, ''), coalesce(changes, 0), coalesce(last_position, '')
FROM segue.parked_log WHERE migration = $1 `

// ReadParkedLog reads at most limit lines behind an id, in the order in which they were written.
func ReadParkedLog(ctx context.Context, q postgres.Querier, migration string, after int64, limit int) ([]Logged, error) {
	return logged(ctx, q, loggedSQL+`AND id > $2 ORDER BY id LIMIT $3`, migration, after, limit)
}

// ReadHistory reads the newest lines of one key, at most limit, the oldest of them first.
func ReadHistory(ctx context.Context, q postgres.Querier, migration string, source table.Name, key change.Row, limit int) ([]Logged, error) {
	return logged(ctx, q, `SELECT * FROM (`+loggedSQL+`AND key_values = $2::text[] AND source_schema = $3 AND source_table = $4 ORDER BY id DESC LIMIT $5) AS l ORDER BY id`,
		migration, key.Texts(), source.Schema, source.Table, limit)
}

func logged(ctx context.Context, q postgres.Querier, sql string, args ...any) ([]Logged, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return nil, step("read the log of parked rows", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Logged, error) {
		var l Logged
		var key []*string
		err := row.Scan(&l.ID, &l.Time, &l.Action, &l.Who, &l.Source.Schema, &l.Source.Table, &key, &l.Position, &l.Op, &l.Fault.Stage, &l.Fault.Code,
			&l.Fault.Text, &l.Fault.Size, &l.Cause, &l.Changes, &l.Last)
		l.Key = change.RowOf(key)
		return l, err
	})
	return list, step("read the log of parked rows", err)
}

// LastLogged is the id of the newest line of a migration; 0: there is none.
func LastLogged(ctx context.Context, q postgres.Querier, migration string) (id int64, err error) {
	err = q.QueryRow(ctx, `SELECT coalesce(pg_catalog.max(id), 0) FROM segue.parked_log WHERE migration = $1`, migration).Scan(&id)
	return id, step("read the log of parked rows", err)
}
