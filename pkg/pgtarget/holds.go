package pgtarget

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"segue/pkg/postgres"
	"segue/pkg/table"
)

// keysLock is held by every transaction that looks at holds and alters a foreign key by them: what a second migration does between the look and
// the statement would make it wrong. A validation holds it, too; who waits for it gives up after the lock timeout, and comes again.
const keysLock = 0x7365677566

// holdStatements make the table of holds, out of what an older layout (version 1, a foreign key for one migration) says.
func holdStatements() []string {
	return []string{
		`ALTER TABLE segue.foreign_keys ADD COLUMN IF NOT EXISTS parent_schema text, ADD COLUMN IF NOT EXISTS parent_table text`,
		`UPDATE segue.foreign_keys k SET parent_schema = n.nspname, parent_table = c.relname
			FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
			WHERE k.parent_schema IS NULL AND c.relkind IN ('r', 'p')
			  AND pg_catalog.strpos(k.core, pg_catalog.format(') REFERENCES %I.%I(', n.nspname, c.relname)) > 0`,
		`CREATE TABLE IF NOT EXISTS segue.foreign_key_holds (
			migration text NOT NULL,
			schema_name text NOT NULL,
			table_name text NOT NULL,
			constraint_name text NOT NULL,
			loaded boolean NOT NULL,
			PRIMARY KEY (migration, schema_name, table_name, constraint_name)
		)`,
		`INSERT INTO segue.foreign_key_holds (migration, schema_name, table_name, constraint_name, loaded)
			SELECT k.migration, k.schema_name, k.table_name, k.constraint_name, coalesce(p.loaded, false)
			FROM segue.foreign_keys k LEFT JOIN segue.progress p ON p.migration = k.migration
			WHERE (SELECT version FROM segue.version) < 2
			ON CONFLICT DO NOTHING`,
	}
}

// hold is who else needs a kept foreign key, and whether this migration does.
type hold struct {
	own       bool
	ownLoaded bool
	others    int // migrations that have it too
	loading   int // of them, those that need it off
}

// keptSQL lists kept foreign keys with their holds, as one migration sees them.
const keptSQL = `
SELECT k.schema_name, k.table_name, k.constraint_name, k.definition, k.core, k.orphans, k.comment, k.validated, k.partitioned,
       coalesce(k.parent_schema, ''), coalesce(k.parent_table, ''),
       coalesce(pg_catalog.bool_or(h.migration = $1), false), coalesce(pg_catalog.bool_or(h.migration = $1 AND h.loaded), false),
       pg_catalog.count(h.migration) FILTER (WHERE h.migration <> $1), pg_catalog.count(h.migration) FILTER (WHERE h.migration <> $1 AND NOT h.loaded),
       pg_catalog.to_regclass(pg_catalog.format('%I.%I', k.schema_name, k.table_name)) IS NULL
       OR (k.parent_table IS NOT NULL AND pg_catalog.to_regclass(pg_catalog.format('%I.%I', k.parent_schema, k.parent_table)) IS NULL)
FROM segue.foreign_keys k
LEFT JOIN segue.foreign_key_holds h USING (schema_name, table_name, constraint_name)
`

const (
	keptOrderSQL = `GROUP BY k.schema_name, k.table_name, k.constraint_name ORDER BY k.schema_name, k.table_name, k.constraint_name`
	keptByHold   = keptSQL + `WHERE EXISTS (SELECT FROM segue.foreign_key_holds o WHERE o.migration = $1 AND o.schema_name = k.schema_name
	AND o.table_name = k.table_name AND o.constraint_name = k.constraint_name) ` + keptOrderSQL
	keptOne      = keptSQL + `WHERE k.schema_name = $2 AND k.table_name = $3 AND k.constraint_name = $4 ` + keptOrderSQL
	keptByTables = keptSQL + `WHERE EXISTS (SELECT FROM ROWS FROM (pg_catalog.unnest($2::text[]), pg_catalog.unnest($3::text[])) AS want (nsp, rel)
	WHERE (want.nsp = k.schema_name AND want.rel = k.table_name) OR (want.nsp = k.parent_schema AND want.rel = k.parent_table)) ` + keptOrderSQL
)

func scanKept(ctx context.Context, tx pgx.Tx, sql string, args ...any) ([]foreignKey, error) {
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (foreignKey, error) {
		var k foreignKey
		return k, row.Scan(&k.table.Schema, &k.table.Table, &k.name, &k.definition, &k.core, &k.orphans, &k.comment, &k.validated, &k.partitioned,
			&k.parent.Schema, &k.parent.Table, &k.hold.own, &k.hold.ownLoaded, &k.hold.others, &k.hold.loading, &k.gone)
	})
}

// holdSQL says that the migration needs the foreign key off.
func holdSQL(migration string, k *foreignKey) string {
	return fmt.Sprintf("INSERT INTO segue.foreign_key_holds (migration, schema_name, table_name, constraint_name, loaded) VALUES (%s, %s, %s, %s, false) "+
		"ON CONFLICT (migration, schema_name, table_name, constraint_name) DO UPDATE SET loaded = false",
		literal(migration), literal(k.table.Schema), literal(k.table.Table), literal(k.name))
}

// releaseHoldSQL ends a migration's hold, and forgets the foreign key with the last one.
func releaseHoldSQL(migration string, k *foreignKey) string {
	where := fmt.Sprintf("schema_name = %s AND table_name = %s AND constraint_name = %s", literal(k.table.Schema), literal(k.table.Table), literal(k.name))
	release := fmt.Sprintf("DELETE FROM segue.foreign_key_holds WHERE migration = %s AND %s", literal(migration), where)
	if k.hold.others > 0 {
		return release
	}
	return fmt.Sprintf("WITH released AS (%s) DELETE FROM segue.foreign_keys WHERE %s AND NOT EXISTS (SELECT FROM segue.foreign_key_holds WHERE migration <> %s AND %s)",
		release, where, literal(migration), where)
}

// claimKeys makes sure of this migration's holds on what others have taken away, where its own load is over: of a schema that an older segue
// made. Where nothing is missing it takes no lock: a start must not wait for another migration's validation.
func claimKeys(ctx context.Context, conn *pgx.Conn, migration string, tables []table.Name) error {
	schemas, names := split(tables)
	var missing []foreignKey
	look := func(tx pgx.Tx) error {
		kept, err := scanKept(ctx, tx, keptByTables, migration, schemas, names)
		missing = slices.DeleteFunc(kept, func(k foreignKey) bool { return k.hold.own && k.hold.ownLoaded })
		return err
	}
	_, err := planned(ctx, conn, func(tx pgx.Tx) ([]string, error) { return nil, look(tx) })
	if err != nil || len(missing) == 0 {
		return err
	}
	return locked(ctx, conn, "hold foreign keys", func(tx pgx.Tx) error {
		if err := look(tx); err != nil {
			return err
		}
		for i := range missing {
			if _, err := tx.Exec(ctx, holdSQL(migration, &missing[i])); err != nil {
				return err
			}
		}
		return markLoaded(ctx, tx, migration)
	})
}

func markLoaded(ctx context.Context, tx pgx.Tx, migration string) error {
	_, err := tx.Exec(ctx, `UPDATE segue.foreign_key_holds SET loaded = true WHERE migration = $1 AND NOT loaded`, migration)
	return err
}

// locked runs do in a transaction of its own under keysLock.
func locked(ctx context.Context, conn *pgx.Conn, what string, do func(tx pgx.Tx) error) error {
	// What is looked at behind the lock must not be older than the lock.
	return step(what, pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		if err := postgres.Pin(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, fmt.Sprintf("SET LOCAL lock_timeout = %d", lockTimeout.Milliseconds())); err != nil {
			return err
		}
		for _, name := range plannerSettings { // a validation joins whole tables
			if _, err := tx.Exec(ctx, "SET LOCAL "+name+" TO DEFAULT"); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, `SELECT pg_catalog.pg_advisory_xact_lock($1)`, keysLock); err != nil {
			return err
		}
		return do(tx)
	}))
}

// alterKey works on one kept foreign key until plan finds nothing to do. Each statement is a transaction of its own, planned anew under
// keysLock: what is done stays, also behind a crash, and no other migration comes in between.
func alterKey(ctx context.Context, conn *pgx.Conn, migration, what string, k *foreignKey, plan func(k, now *foreignKey, version int) []string) (failed string, err error) {
	for {
		var sql []string
		err := locked(ctx, conn, what, func(tx pgx.Tx) error {
			kept, err := scanKept(ctx, tx, keptOne, migration, k.table.Schema, k.table.Table, k.name)
			if err != nil || len(kept) == 0 {
				return err
			}
			now, version, err := present(ctx, tx, kept)
			if err != nil {
				return err
			}
			if sql = plan(&kept[0], now[kept[0].place()], version); len(sql) > 0 {
				_, err = tx.Exec(ctx, sql[0])
			}
			return err
		})
		if len(sql) == 0 || err != nil {
			if len(sql) > 0 {
				failed = sql[0]
			}
			return failed, err
		}
	}
}

func split(tables []table.Name) (schemas, names []string) {
	schemas, names = make([]string, len(tables)), make([]string, len(tables))
	for i, t := range tables {
		schemas[i], names[i] = t.Schema, t.Table
	}
	return schemas, names
}
