// Package postgres is what every PostgreSQL adapter of segue shares: connections, the settings that each transaction
// pins so that a value has one text (P1), the shapes of tables as the catalog has them, and errors without row
// values (P10).
package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Querier reads: a connection, a pool or a transaction. What must run in a transaction takes a pgx.Tx instead.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}
