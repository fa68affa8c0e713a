package pgsource

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"segue/pkg/fault"
	"segue/pkg/postgres"
	"segue/pkg/table"
)

// lockKey is the advisory lock that keeps two processes from setting the same database up at once: "segue" in bytes.
const lockKey = 0x7365677565

// Ensure makes the publication and the slot what the setup says, and changes nothing that is so already. The publication is committed before the slot
// is made: a slot decodes by the catalog of each change's time, and fails on changes from before its publication. It
// waits for transactions that are running when the slot is made.
func Ensure(ctx context.Context, conn *pgx.Conn, s Setup) (SlotState, error) {
	if err := checkSlotName(s.Slot); err != nil {
		return SlotState{}, err
	}
	if len(s.Tables) == 0 {
		return SlotState{}, fault.Fatal(fmt.Errorf("publication %s: no table is selected", s.Publication), "select one at least")
	}
	added, removed, err := ensurePublication(ctx, conn, s)
	if err != nil {
		return SlotState{}, fmt.Errorf("publication %s: %w", s.Publication, err)
	}
	state, created, err := ensureSlot(ctx, conn, s.Slot)
	if err != nil {
		return SlotState{}, err
	}
	state.Created, state.Added, state.Removed = created, added, removed
	return state, nil
}

func ensureSlot(ctx context.Context, conn *pgx.Conn, slot string) (SlotState, bool, error) {
	var database string
	if err := conn.QueryRow(ctx, `SELECT pg_catalog.current_database()`).Scan(&database); err != nil {
		return SlotState{}, false, fmt.Errorf("slot %s: %w", slot, postgres.Safe(err))
	}
	state, err := Inspect(ctx, conn, slot)
	if err != nil {
		return SlotState{}, false, err
	}
	created := false
	if !state.Exists {
		if created, err = createSlot(ctx, conn, slot); err != nil {
			return SlotState{}, false, err
		}
		if state, err = Inspect(ctx, conn, slot); err != nil {
			return SlotState{}, false, err
		}
	}
	return state, created, state.Check(slot, database)
}

// createSlot returns false where another process was faster. From PostgreSQL 17 on the slot follows a failover.
func createSlot(ctx context.Context, conn *pgx.Conn, slot string) (bool, error) {
	sql := `SELECT pg_catalog.pg_create_logical_replication_slot($1, 'pgoutput')`
	var version int
	if err := conn.QueryRow(ctx, `SELECT pg_catalog.current_setting('server_version_num')::int`).Scan(&version); err != nil {
		return false, fmt.Errorf("create slot %s: %w", slot, postgres.Safe(err))
	}
	if version >= 170000 {
		sql = `SELECT pg_catalog.pg_create_logical_replication_slot($1, 'pgoutput', false, false, true)`
	}
	_, err := conn.Exec(ctx, sql, slot)
	safe := postgres.Safe(err)
	switch postgres.SQLState(safe) {
	case "42710":
		return false, nil
	case "42501":
		safe = fault.Fatal(safe, "run ALTER ROLE … REPLICATION for the role that segue connects as")
	case "55000":
		safe = fault.Fatal(safe, "run ALTER SYSTEM SET wal_level = 'logical', then restart the server")
	case "53400":
		safe = fault.Fatal(safe, "drop a slot that nothing needs, or raise max_replication_slots and restart the server")
	}
	if safe != nil {
		return false, fmt.Errorf("create slot %s: %w", slot, safe)
	}
	return true, nil
}

// Drop removes the slot and the publication; what is not there is no error. A slot in use is a transient one.
func Drop(ctx context.Context, conn *pgx.Conn, s Setup) error {
	_, err := conn.Exec(ctx, `SELECT pg_catalog.pg_drop_replication_slot(slot_name) FROM pg_catalog.pg_replication_slots WHERE slot_name = $1`, s.Slot)
	if safe := postgres.Safe(err); safe != nil && postgres.SQLState(safe) != "42704" {
		return fmt.Errorf("drop slot %s: %w", s.Slot, safe)
	}
	if _, err := conn.Exec(ctx, `DROP PUBLICATION IF EXISTS `+table.Quote(s.Publication)); err != nil {
		return fmt.Errorf("drop publication %s: %w", s.Publication, postgres.Safe(err))
	}
	return nil
}

// ensurePublication returns the tables that it added to a publication that was there, and those that it removed.
func ensurePublication(ctx context.Context, conn *pgx.Conn, s Setup) (added, removed []table.Name, err error) {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return nil, nil, postgres.Safe(err)
	}
	defer tx.Rollback(ctx) //nolint:errcheck // committed or lost
	if _, err := tx.Exec(ctx, `SELECT pg_catalog.pg_advisory_xact_lock($1)`, int64(lockKey)); err != nil {
		return nil, nil, postgres.Safe(err)
	}
	if err := checkLeaves(ctx, tx, s.Tables); err != nil {
		return nil, nil, err
	}
	statements, added, removed, err := publicationChanges(ctx, tx, s)
	if err != nil {
		return nil, nil, err
	}
	for _, sql := range statements {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return nil, nil, publicationError(err)
		}
	}
	if err := tx.Commit(ctx); err != nil {
		return nil, nil, postgres.Safe(err)
	}
	return added, removed, nil
}

func publicationError(err error) error {
	safe := postgres.Safe(err)
	if postgres.SQLState(safe) == "42501" {
		return fault.Fatal(safe, "the role needs CREATE on the database and must own the tables (or run CREATE PUBLICATION as their owner)")
	}
	return safe
}

const publicationOptions = `publish = 'insert, update, delete, truncate', publish_via_partition_root = true`

const publicationSQL = `
SELECT puballtables, pubinsert AND pubupdate AND pubdelete AND pubtruncate AND pubviaroot
FROM pg_catalog.pg_publication WHERE pubname = $1`

// publishedSQL lists the tables; the last column says whether the table is published whole: PostgreSQL 15 and later can filter
// rows and columns.
const publishedSQL = `
SELECT n.nspname, c.relname, pg_catalog.to_jsonb(r) ->> 'prqual' IS NULL AND pg_catalog.to_jsonb(r) ->> 'prattrs' IS NULL
FROM pg_catalog.pg_publication p
JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid
JOIN pg_catalog.pg_class c ON c.oid = r.prrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE p.pubname = $1`

func publicationChanges(ctx context.Context, tx pgx.Tx, s Setup) (statements []string, added, removed []table.Name, err error) {
	name := table.Quote(s.Publication)
	var all, options bool
	err = tx.QueryRow(ctx, publicationSQL, s.Publication).Scan(&all, &options)
	if errors.Is(err, pgx.ErrNoRows) {
		return []string{`CREATE PUBLICATION ` + name + ` FOR TABLE ` + only(s.Tables) + ` WITH (` + publicationOptions + `)`}, nil, nil, nil
	}
	if err != nil {
		return nil, nil, nil, postgres.Safe(err)
	}
	if all {
		return nil, nil, nil, fault.Fatal(errors.New("it is FOR ALL TABLES and was not made by segue"),
			"no data is at risk: give the migration another name, or drop the publication if nothing needs it")
	}
	published, whole, err := publishedTables(ctx, tx, s.Publication)
	if err != nil {
		return nil, nil, nil, err
	}
	added, removed = without(s.Tables, published), without(published, s.Tables)
	if len(added)+len(removed) > 0 || !whole {
		statements = append(statements, `ALTER PUBLICATION `+name+` SET TABLE `+only(s.Tables))
	}
	if !options {
		statements = append(statements, `ALTER PUBLICATION `+name+` SET (`+publicationOptions+`)`)
	}
	return statements, added, removed, nil
}

func publishedTables(ctx context.Context, tx pgx.Tx, publication string) (names []table.Name, whole bool, err error) {
	rows, err := tx.Query(ctx, publishedSQL, publication)
	if err != nil {
		return nil, false, postgres.Safe(err)
	}
	defer rows.Close()
	whole = true
	for rows.Next() {
		var n table.Name
		var w bool
		if err := rows.Scan(&n.Schema, &n.Table, &w); err != nil {
			return nil, false, postgres.Safe(err)
		}
		names, whole = append(names, n), whole && w
	}
	return names, whole, postgres.Safe(rows.Err())
}

func without(a, b []table.Name) []table.Name {
	var out []table.Name
	for _, n := range a {
		if !slices.Contains(b, n) {
			out = append(out, n)
		}
	}
	return out
}

// only names the tables without their inheritance children, which are tables of their own.
func only(names []table.Name) string {
	parts := make([]string, len(names))
	for i, n := range names {
		parts[i] = "ONLY " + n.SQL()
	}
	return strings.Join(parts, ", ")
}

const leavesSQL = `
SELECT n.nspname, c.relname, c.relreplident::text, w.nsp, w.rel, root.relreplident::text
FROM ROWS FROM (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[])) AS w (nsp, rel)
JOIN pg_catalog.pg_namespace rn ON rn.nspname = w.nsp
JOIN pg_catalog.pg_class root ON root.relnamespace = rn.oid AND root.relname = w.rel AND root.relkind = 'p'
CROSS JOIN LATERAL pg_catalog.pg_partition_tree(root.oid) tree
JOIN pg_catalog.pg_class c ON c.oid = tree.relid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE tree.isleaf AND root.relreplident = 'f' AND c.relreplident <> 'f'
LIMIT 1`

// checkLeaves refuses a root with replica identity full over a leaf without: the server then sends the leaf's key columns and calls
// them the whole old row, so that every other column would look NULL.
func checkLeaves(ctx context.Context, tx pgx.Tx, names []table.Name) error {
	schemas, tables := make([]string, len(names)), make([]string, len(names))
	for i, n := range names {
		schemas[i], tables[i] = n.Schema, n.Table
	}
	var leaf, root table.Name
	var leafIdentity, rootIdentity string
	err := tx.QueryRow(ctx, leavesSQL, schemas, tables).Scan(&leaf.Schema, &leaf.Table, &leafIdentity, &root.Schema, &root.Table, &rootIdentity)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return postgres.Safe(err)
	}
	return fault.Fatal(fmt.Errorf("partition %s has another replica identity (%s) than %s (%s): old rows would arrive with columns missing",
		leaf, identityName(table.Identity(leafIdentity[0])), root, identityName(table.Identity(rootIdentity[0]))),
		"run ALTER TABLE "+leaf.SQL()+" REPLICA IDENTITY FULL")
}
