package pgtarget

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"segue/pkg/postgres"
)

// The log of parked rows is delivered to a topic. How far that is stands on the target, beside the log: whoever delivers next goes on there.

// ErrNoLog says that the target has no log of parked rows yet.
var ErrNoLog = errors.New("the target has no log of parked rows yet")

// Delivered is the id of the last line that was delivered; 0: none was.
func Delivered(ctx context.Context, q postgres.Querier, migration string) (id int64, err error) {
	version, err := readVersion(ctx, q)
	if err != nil {
		return 0, err
	}
	if version == 0 {
		return 0, ErrNoLog
	}
	err = q.QueryRow(ctx, `SELECT coalesce(pg_catalog.max(delivered), 0) FROM segue.dead_topic WHERE migration = $1`, migration).Scan(&id)
	return id, step("read how far the log of parked rows is delivered", err)
}

// NoteDelivered says that everything up to an id is delivered. It never goes back: two may deliver for a moment.
func NoteDelivered(ctx context.Context, conn *pgx.Conn, migration string, id int64) error {
	_, err := conn.Exec(ctx, `
		INSERT INTO segue.dead_topic AS d (migration, delivered) VALUES ($1, $2)
		ON CONFLICT (migration) DO UPDATE SET delivered = excluded.delivered WHERE d.delivered < excluded.delivered`, migration, id)
	return step("note how far the log of parked rows is delivered", err)
}

// Undelivered counts the lines behind an id.
func Undelivered(ctx context.Context, q postgres.Querier, migration string, after int64) (n int64, err error) {
	err = q.QueryRow(ctx, `SELECT pg_catalog.count(*) FROM segue.parked_log WHERE migration = $1 AND id > $2`, migration, after).Scan(&n)
	return n, step("count what is not delivered of the log of parked rows", err)
}
