package pgdigest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"segue/pkg/chunk"
	"segue/pkg/fault"
	"segue/pkg/postgres"
	"segue/pkg/table"
)

// Heap is one heap of a source table: the table itself, or a leaf of a partitioned one.
type Heap struct {
	Name     table.Name
	Filenode uint32
	Blocks   uint32
	Rows     int64 // about
}

// Heaps lists what a table's rows are stored in, leaves of a partitioned one by name.
func Heaps(ctx context.Context, q postgres.Querier, t *table.Table) ([]Heap, error) {
	rows, err := q.Query(ctx, `
		SELECT n.nspname, c.relname, coalesce(pg_catalog.pg_relation_filenode(c.oid), 0)::bigint,
		       (pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::bigint)::bigint,
		       greatest(c.reltuples, 0)::bigint
		FROM (SELECT relid FROM pg_catalog.pg_partition_tree($1::oid) WHERE isleaf UNION SELECT $1::oid WHERE NOT $2) l
		JOIN pg_catalog.pg_class c ON c.oid = l.relid
		JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		ORDER BY 1, 2`, t.OID, t.Partitioned)
	return collect(t, rows, err)
}

// HeapsAt lists what a table's rows are stored in as the transaction's snapshot has it. (Heaps asks for what is there now.)
func HeapsAt(ctx context.Context, tx pgx.Tx, t *table.Table) ([]Heap, error) {
	rows, err := tx.Query(ctx, `
		WITH RECURSIVE tree AS (
			SELECT $1::oid AS relid
			UNION ALL
			SELECT i.inhrelid FROM tree JOIN pg_catalog.pg_inherits i ON i.inhparent = tree.relid WHERE $2
		)
		SELECT n.nspname, c.relname, c.relfilenode::bigint,
		       (pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::bigint)::bigint,
		       greatest(c.reltuples, 0)::bigint
		FROM tree JOIN pg_catalog.pg_class c ON c.oid = tree.relid
		JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind = 'r' ORDER BY 1, 2`, t.OID, t.Partitioned)
	return collect(t, rows, err)
}

func collect(t *table.Table, rows pgx.Rows, err error) ([]Heap, error) {
	if err != nil {
		return nil, step("measure "+t.Name.String(), err)
	}
	heaps, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Heap, error) {
		var h Heap
		var filenode int64
		var blocks *int64
		err := row.Scan(&h.Name.Schema, &h.Name.Table, &filenode, &blocks, &h.Rows)
		if h.Filenode = uint32(filenode); blocks != nil {
			h.Blocks = uint32(*blocks)
		}
		return h, err
	})
	return heaps, step("measure "+t.Name.String(), err)
}

// ErrRewritten says that a heap is not the one that was planned for: it was rewritten or truncated meanwhile.
var ErrRewritten = errors.New("the table was rewritten")

// Limits keep a reading transaction short.
type Limits struct {
	Statement time.Duration // of one statement
	Lock      time.Duration // waiting for ACCESS SHARE: behind a waiting ALTER TABLE, readers queue up
}

// Read runs read in one REPEATABLE READ transaction of its own on a source, with the heaps locked in ACCESS SHARE mode
// before its snapshot is taken, and compares their file nodes with the planned ones.
func Read(ctx context.Context, conn *pgx.Conn, heaps []Heap, l Limits, read func(pgx.Tx) error) (chunk.Snapshot, error) {
	var snap chunk.Snapshot
	err := readOnly(ctx, conn, "", l, func(tx pgx.Tx) error {
		err := Lock(ctx, tx, heaps)
		if err != nil {
			return err
		}
		if snap, err = Snapshot(ctx, tx); err != nil {
			return err
		}
		if err := Unchanged(ctx, tx, heaps); err != nil {
			return err
		}
		return read(tx)
	})
	return snap, err
}

// Lock takes the weakest lock on the heaps: it lets everything go on but what rewrites or drops them.
func Lock(ctx context.Context, tx pgx.Tx, heaps []Heap) error {
	for _, h := range heaps {
		if _, err := tx.Exec(ctx, "LOCK TABLE ONLY "+h.Name.SQL()+" IN ACCESS SHARE MODE"); err != nil {
			return step("lock "+h.Name.String(), err)
		}
	}
	return nil
}

// Unchanged makes sure, under locks, that the heaps are in the files that were planned for.
func Unchanged(ctx context.Context, tx pgx.Tx, heaps []Heap) error {
	for _, h := range heaps {
		var filenode int64
		err := tx.QueryRow(ctx, "SELECT coalesce(pg_catalog.pg_relation_filenode(to_regclass($1::text)), 0)::bigint", h.Name.SQL()).Scan(&filenode)
		if err != nil {
			return step("ask for the file of "+h.Name.String(), err)
		}
		if uint32(filenode) != h.Filenode {
			return fault.Transient(fmt.Errorf("read %s: %w", h.Name, ErrRewritten))
		}
	}
	return nil
}

// Import runs read in a transaction that sees what another one exported.
func Import(ctx context.Context, conn *pgx.Conn, snapshot string, l Limits, read func(pgx.Tx) error) error {
	return readOnly(ctx, conn, snapshot, l, read)
}

func readOnly(ctx context.Context, conn *pgx.Conn, snapshot string, l Limits, read func(pgx.Tx) error) error {
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return step("begin to read", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // nothing was written
	if snapshot != "" {
		if _, err := tx.Exec(ctx, "SET TRANSACTION SNAPSHOT "+literal(snapshot)); err != nil {
			return step("import the target's snapshot", err)
		}
	}
	if err := postgres.Pin(ctx, tx); err != nil {
		return err
	}
	limits := fmt.Sprintf("SET LOCAL statement_timeout = %d; SET LOCAL lock_timeout = %d", l.Statement.Milliseconds(), l.Lock.Milliseconds())
	if _, err := tx.Exec(ctx, limits); err != nil {
		return step("set timeouts", err)
	}
	return read(tx)
}

// literal quotes a snapshot's name, which PostgreSQL made: digits, letters and hyphens.
func literal(s string) string {
	var b []byte
	for i := range len(s) {
		if s[i] != '\'' && s[i] != '\\' {
			b = append(b, s[i])
		}
	}
	return "'" + string(b) + "'"
}

// Snapshot asks which transactions are visible now.
func Snapshot(ctx context.Context, q postgres.Querier) (chunk.Snapshot, error) {
	var s string
	if err := q.QueryRow(ctx, "SELECT pg_catalog.pg_current_snapshot()::text").Scan(&s); err != nil {
		return chunk.Snapshot{}, step("ask for the snapshot", err)
	}
	return chunk.ParseSnapshot(s)
}

// Transaction draws a transaction id: every transaction that has begun to write before has a lower one.
func Transaction(ctx context.Context, q postgres.Querier) (uint64, error) {
	var xid string
	if err := q.QueryRow(ctx, "SELECT pg_catalog.pg_current_xact_id()::text").Scan(&xid); err != nil {
		return 0, step("draw a transaction id", err)
	}
	return wrap([]byte(xid)), nil
}
