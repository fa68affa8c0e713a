package pgscan

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"segue/pkg/chunk"
	"segue/pkg/fault"
	"segue/pkg/postgres"
	"segue/pkg/request"
	"segue/pkg/table"
)

// predicate is what a chunk's predicate adds to its range. CheckPredicate has seen to it that it stays inside of its parentheses.
func predicate(c chunk.Chunk) string {
	if c.Where == "" {
		return ""
	}
	return " AND (" + c.Where + ")"
}

// Predicate says whether rows of the table can be asked for by the predicate: see CheckPredicate. Its errors are for logs: a predicate may
// hold a row's value (P10).
func (s *Scanner) Predicate(ctx context.Context, t *table.Table, where string) error {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return postgres.Safe(err)
	}
	defer conn.Release()
	err = CheckPredicate(ctx, conn.Conn(), t, where)
	var r *refusal
	if errors.As(err, &r) {
		return fault.Poison(fmt.Errorf("the predicate over %s: %w", t.Name, r.safe))
	}
	return err
}

// CheckPredicate says whether a predicate is one over the table's own columns that has no effect: by its words, by the functions that it
// names, and by what the server makes of it, without reading a row. An error of class poison is the predicate's fault.
func CheckPredicate(ctx context.Context, conn *pgx.Conn, t *table.Table, where string) error {
	functions, err := request.CheckPredicate(where)
	if err != nil {
		return fault.Poison(err)
	}
	err = pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if err := postgres.Pin(ctx, tx); err != nil {
			return err
		}
		var volatile *string
		err := tx.QueryRow(ctx, `SELECT pg_catalog.min(proname) FROM pg_catalog.pg_proc WHERE proname = ANY ($1::text[]) AND provolatile = 'v'`, functions).Scan(&volatile)
		if err != nil {
			return postgres.Safe(err)
		}
		if volatile != nil {
			return fault.Poison(fmt.Errorf("the predicate calls %s, which is volatile: it may have effects, or say something else for each row", *volatile))
		}
		from := "ONLY " + t.Name.SQL()
		if t.Partitioned {
			from = t.Name.SQL()
		}
		// The extended protocol takes one statement, and PREPARE reads no row.
		_, err = tx.Prepare(ctx, "", "SELECT FROM "+from+" WHERE ctid >= '(0,0)' AND ("+where+")")
		return mistake(err)
	})
	if err != nil {
		return fmt.Errorf("the predicate over %s: %w", t.Name, err)
	}
	return nil
}

// mistake gives a server's error about the predicate's text the class poison, with the server's words: they quote the predicate, which
// somebody wrote just now, and no row, for none was read.
func mistake(err error) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return postgres.Safe(err)
	}
	safe := postgres.Safe(err)
	if fault.ClassOf(safe) == fault.ClassTransient {
		return safe
	}
	return fault.Poison(&refusal{text: fmt.Sprintf("%s (SQLSTATE %s)", pg.Message, pg.Code), safe: safe})
}

// refusal is what a server says of a predicate: to whoever wrote it, and to everybody.
type refusal struct {
	text string
	safe error
}

func (r *refusal) Error() string { return r.text }
