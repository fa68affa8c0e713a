package pgscan

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"segue/pkg/change"
	"segue/pkg/chunk"
	"segue/pkg/postgres"
	"segue/pkg/table"
)

// Whole is a table as an exported snapshot shows it: read at once, row by row, in bounded memory. It holds a transaction open on the source.
type Whole struct {
	conn     *pgxpool.Conn
	table    *table.Table
	snapshot chunk.Snapshot
	done     bool
}

// OpenWhole imports the snapshot and locks the table against being rewritten. From here on nobody else has to hold the snapshot. It reads no
// table under it: see Check.
func (s *Scanner) OpenWhole(ctx context.Context, t *table.Table, snapshot string) (_ *Whole, err error) {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return nil, postgres.Safe(err)
	}
	w := &Whole{conn: conn, table: t}
	defer func() {
		if err != nil {
			w.Close()
			err = fmt.Errorf("read %s whole: %w", t.Name, err)
		}
	}()
	sql := "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT " + literal(snapshot) + "; " + postgres.PinSQL() +
		"; SET LOCAL lock_timeout = '" + lockTimeout + "'; LOCK TABLE ONLY " + t.Name.SQL() + " IN ACCESS SHARE MODE; SELECT pg_catalog.pg_current_snapshot()::text"
	results, err := conn.Conn().PgConn().Exec(ctx, sql).ReadAll()
	if err != nil {
		return nil, postgres.Safe(err)
	}
	w.snapshot, err = chunk.ParseSnapshot(string(results[len(results)-1].Rows[0][0]))
	return w, err
}

// Check says whether the table was rewritten or truncated since the snapshot was taken, which would show it empty: ErrRewritten. It asks the
// catalog under the snapshot, so nothing that the snapshot takes for committed may be on its way any more (chunk.Snapshot.Includes).
func (w *Whole) Check(ctx context.Context) error {
	sql := fmt.Sprintf("SELECT coalesce((SELECT c.relfilenode = pg_catalog.pg_relation_filenode(c.oid) AND c.oid = pg_catalog.to_regclass(%s) "+
		"FROM pg_catalog.pg_class c WHERE c.oid = %d), false)", literal(w.table.Name.SQL()), w.table.OID)
	results, err := w.conn.Conn().PgConn().Exec(ctx, sql).ReadAll()
	if err == nil && string(results[0].Rows[0][0]) != "t" {
		err = ErrRewritten
	}
	if err != nil {
		return fmt.Errorf("read %s whole: %w", w.table.Name, postgres.Safe(err))
	}
	return nil
}

// Snapshot is what the table is seen by.
func (w *Whole) Snapshot() chunk.Snapshot { return w.snapshot }

// Rows hands each row to yield, with the values of Result.Rows; they are yield's as long as it runs. It is called once.
func (w *Whole) Rows(ctx context.Context, yield func(change.Row, int) error) error {
	at, sql := columns(w.table, "")
	p := &parser{columns: at, width: len(w.table.Columns)}
	c := &carrier{parser: p, yield: yield}
	_, err := w.conn.Conn().PgConn().CopyTo(ctx, c, "COPY (SELECT "+sql+" FROM ONLY "+w.table.Name.SQL()+") TO STDOUT")
	if c.err != nil {
		err = c.err // what stopped it, not what the connection says of that
	} else if err == nil {
		err = p.end()
	}
	if err == nil {
		_, err = w.conn.Conn().PgConn().Exec(ctx, "COMMIT").ReadAll()
	}
	var server *pgconn.PgError
	if errors.As(err, &server) || err != nil && c.err == nil {
		err = postgres.Safe(err)
	}
	if err != nil {
		return fmt.Errorf("read %s whole: %w", w.table.Name, err)
	}
	return nil
}

// Close ends the transaction. Twice is fine.
func (w *Whole) Close() {
	if !w.done {
		w.done = true
		w.conn.Release() // a connection that is still inside a transaction is closed by the pool
	}
}

// carrier hands rows on as they are parsed, and keeps none.
type carrier struct {
	*parser
	yield func(change.Row, int) error
	err   error
}

func (c *carrier) Write(b []byte) (int, error) {
	before := c.bytes
	n, err := c.parser.Write(b)
	for i, row := range c.rows {
		size := 0
		if i == 0 {
			size = int(c.bytes - before)
		}
		if err == nil {
			err = c.yield(row, size)
		}
	}
	clear(c.rows)
	c.rows = c.rows[:0]
	c.err = err
	return n, err
}
