package pgscan

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"segue/pkg/change"
	"segue/pkg/chunk"
	"segue/pkg/fault"
	"segue/pkg/postgres"
	"segue/pkg/table"
)

// ErrRewritten says that the heap is not the file that its ranges were planned from: it was truncated, or rewritten by
// VACUUM FULL, CLUSTER or ALTER TABLE.
var ErrRewritten = errors.New("the table was rewritten since its ranges were planned")

// ErrTooLarge says that a chunk holds more bytes than it may: read it in smaller pieces.
var ErrTooLarge = errors.New("the chunk holds more rows than fit")

// Scanner reads through a pool. It is safe for concurrent use.
type Scanner struct {
	pool *pgxpool.Pool
	// system is the cluster that the slot is on, as IDENTIFY_SYSTEM says; "" is not checked.
	system string
	// Conditions, by source table, leave rows out of the fresh chunks of a first load. Set before the first Read.
	Conditions map[table.Name][]table.Condition
	// Largest says from how many bytes of text on a row of the table is of no use; nil or 0: all are kept. Of such a row the result has the
	// key's columns, the others are absent: a block of them would not fit into memory.
	Largest func(t *table.Table) int64
}

func (s *Scanner) largest(t *table.Table) int64 {
	if s.Largest == nil || len(t.Key) == 0 {
		return 0
	}
	return s.Largest(t)
}

// New makes a scanner that refuses to read from any other cluster than the slot's, and from standbys: what they show lags behind.
func New(pool *pgxpool.Pool, systemID string) *Scanner { return &Scanner{pool: pool, system: systemID} }

// Result is what one chunk held.
type Result struct {
	Snapshot chunk.Snapshot
	Rows     []change.Row // every column, except for generated ones, which are absent as in the stream; see Scanner.Largest
	Bytes    int64        // of text
	// Large holds how many bytes of text each row has that is given by its key alone, by what AppendKey makes of the table's key.
	Large map[string]int64
}

// Snapshot takes pg_current_snapshot().
func (s *Scanner) Snapshot(ctx context.Context) (chunk.Snapshot, error) {
	var text string
	if err := s.pool.QueryRow(ctx, "SELECT pg_catalog.pg_current_snapshot()::text").Scan(&text); err != nil {
		return chunk.Snapshot{}, fmt.Errorf("take a snapshot: %w", postgres.Safe(err))
	}
	return chunk.ParseSnapshot(text)
}

// CurrentXID takes pg_current_xact_id(): every transaction that committed before has a lower one.
func (s *Scanner) CurrentXID(ctx context.Context) (uint64, error) {
	var text string
	if err := s.pool.QueryRow(ctx, "SELECT pg_catalog.pg_current_xact_id()::text").Scan(&text); err != nil {
		return 0, fmt.Errorf("take a transaction id: %w", postgres.Safe(err))
	}
	x, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("take a transaction id: %w", err)
	}
	return x, nil
}

// lockTimeout is how long a chunk waits for a table that somebody holds exclusively, before it is tried again later: its window
// fills meanwhile.
const lockTimeout = "10s"

// begin opens the transaction, in one round trip: settings, lock, then filenode and snapshot by the same statement. LOCK and SET
// take no snapshot of their own.
func (s *Scanner) begin(ctx context.Context, c *pgconn.PgConn, heap table.Name) (filenode uint32, snap chunk.Snapshot, err error) {
	sql := "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; " + postgres.PinSQL() + "; SET LOCAL lock_timeout = '" + lockTimeout + "'; " +
		"LOCK TABLE " + heap.SQL() + " IN ACCESS SHARE MODE; " +
		"SELECT coalesce(pg_catalog.pg_relation_filenode(" + literal(heap.SQL()) + "::pg_catalog.regclass), 0), pg_catalog.pg_current_snapshot()::text, " +
		"pg_catalog.pg_is_in_recovery(), (SELECT system_identifier FROM pg_catalog.pg_control_system())"
	results, err := c.Exec(ctx, sql).ReadAll()
	if err != nil {
		return 0, snap, postgres.Safe(err)
	}
	row := results[len(results)-1].Rows[0]
	if string(row[2]) == "t" || (s.system != "" && string(row[3]) != s.system) {
		return 0, snap, fault.Fatal(errors.New("this server is not the one that the replication slot is on"),
			"let the source URL lead to the primary itself, not to a standby or another cluster")
	}
	node, err := strconv.ParseUint(string(row[0]), 10, 32)
	if err != nil {
		return 0, snap, fmt.Errorf("read the filenode: %w", err)
	}
	snap, err = chunk.ParseSnapshot(string(row[1]))
	return uint32(node), snap, err
}

// within runs read inside the transaction and ends it.
func (s *Scanner) within(ctx context.Context, heap table.Name, read func(c *pgconn.PgConn, filenode uint32, snap chunk.Snapshot) error) error {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return postgres.Safe(err)
	}
	defer conn.Release() // a connection that is still inside a transaction is closed by the pool
	c := conn.Conn().PgConn()
	filenode, snap, err := s.begin(ctx, c, heap)
	if err == nil {
		err = read(c, filenode, snap)
	}
	if err != nil {
		return err
	}
	_, err = c.Exec(ctx, "COMMIT").ReadAll()
	return postgres.Safe(err)
}

// literal is a string for a statement under standard_conforming_strings.
func literal(s string) string {
	out := []byte{'\''}
	for i := range len(s) {
		if s[i] == '\'' {
			out = append(out, '\'')
		}
		out = append(out, s[i])
	}
	return string(append(out, '\''))
}

// columns lists what a chunk reads, as ordinals and as SQL.
func columns(t *table.Table, prefix string) ([]int, string) {
	var at []int
	var sql []byte
	for i := range t.Columns {
		if t.Columns[i].Generated && !t.IsKey(i) {
			continue
		}
		if len(at) > 0 {
			sql = append(sql, ", "...)
		}
		at = append(at, i)
		sql = append(append(sql, prefix...), table.Quote(t.Columns[i].Name)...)
	}
	return at, string(sql)
}
