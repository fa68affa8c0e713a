package pgtarget

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"segue/pkg/table"
)

// Secondary indexes cost a load more than the rows do. Where the user asks for it (Config.IndexesAfterLoad), those of tables that are
// empty are dropped before the load and made again behind it, in front of the foreign keys, whose validation they serve. What holds a
// promise stays at all times: primary keys, unique indexes and whatever backs a constraint. All that makes an index what it was is
// kept in segue.indexes: its definition, tablespace, comment, statistics targets, cluster mark and place in a partitioned index. What is
// to do is always worked out from the catalog and segue.indexes together, so that it may be cut short anywhere.

// index is one as the catalog has it, or as it was kept.
type index struct {
	table       table.Name
	name        string // in the table's schema
	definition  string // exactly as pg_get_indexdef gave it; of a partitioned one it says ON ONLY
	tail        string // of a partitioned one what stands behind ON ONLY and its table: the same for a partition's
	tablespace  string // "": the database's own
	extras      []string
	clustered   bool
	partitioned bool
	parent      *table.Name // the index of which it is a partition
	valid       bool
}

func (x *index) place() table.Name { return table.Name{Schema: x.table.Schema, Table: x.name} }

// indexSQL describes indexes. PostgreSQL 17 says NULL for the default statistics target, others -1.
const indexSQL = `
SELECT n.nspname, t.relname, c.relname, pg_catalog.pg_get_indexdef(c.oid),
       CASE WHEN c.relkind = 'I' THEN pg_catalog.substr(pg_catalog.pg_get_indexdef(c.oid),
            pg_catalog.length(pg_catalog.format('CREATE INDEX %I ON ONLY %I.%I', c.relname, n.nspname, t.relname)) + 1) ELSE '' END,
       coalesce(s.spcname, ''),
       ARRAY(SELECT pg_catalog.format('COMMENT ON INDEX %I.%I IS %L', n.nspname, c.relname, d.description)
             FROM pg_catalog.pg_description d WHERE d.objoid = c.oid AND d.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objsubid = 0)
       || ARRAY(SELECT pg_catalog.format('ALTER INDEX %I.%I ALTER COLUMN %s SET STATISTICS %s', n.nspname, c.relname, a.attnum, a.attstattarget)
             FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attstattarget >= 0 ORDER BY a.attnum),
       i.indisclustered, c.relkind = 'I', pn.nspname, p.relname, i.indisvalid AND i.indisready AND i.indislive
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_class t ON t.oid = i.indrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_tablespace s ON s.oid = c.reltablespace
LEFT JOIN pg_catalog.pg_inherits h ON h.inhrelid = c.oid
LEFT JOIN pg_catalog.pg_class p ON p.oid = h.inhparent
LEFT JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
`

// sparedSQL are those that a load does without. The indexes of partitions go and stay together with the one that they are attached to; one
// of which the top belongs to a table above the target cannot go. What an extension owns, or depends on one, is left alone.
const sparedSQL = `
WITH RECURSIVE tables AS (
	SELECT c.oid FROM ROWS FROM (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[])) AS want (nsp, rel)
	JOIN pg_catalog.pg_namespace n ON n.nspname = want.nsp JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = want.rel
	UNION
	SELECT c.oid FROM tables t JOIN pg_catalog.pg_inherits h ON h.inhparent = t.oid JOIN pg_catalog.pg_class c ON c.oid = h.inhrelid WHERE c.relispartition
), up AS (
	SELECT i.indexrelid AS oid, i.indexrelid AS top FROM pg_catalog.pg_index i JOIN tables t ON t.oid = i.indrelid
	UNION ALL
	SELECT u.oid, h.inhparent FROM up u JOIN pg_catalog.pg_inherits h ON h.inhrelid = u.top
), tops AS (
	SELECT u.oid, u.top FROM up u WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_inherits h WHERE h.inhrelid = u.top)
), spared AS (
	SELECT o.top FROM tops o JOIN pg_catalog.pg_index i ON i.indexrelid = o.oid
	GROUP BY o.top
	HAVING bool_and(NOT i.indisunique AND NOT i.indisprimary AND NOT i.indisexclusion AND NOT i.indisreplident
	                AND i.indisvalid AND i.indisready AND i.indislive
	                AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conindid = i.indexrelid)
	                AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
	                                AND d.objid = i.indexrelid AND d.deptype IN ('e', 'x')))
	   AND bool_or(o.oid = o.top)
)` + indexSQL + `WHERE c.oid IN (SELECT o.oid FROM tops o JOIN spared USING (top))
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"`

// presentSQL are the indexes of some names, whatever they are now.
const presentSQL = indexSQL + `WHERE (n.nspname, c.relname) IN (SELECT * FROM ROWS FROM (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[])) AS want (nsp, rel))`

// keptIndexesSQL lists large tables first: what takes longest begins first.
const keptIndexesSQL = `
SELECT schema_name, table_name, index_name, definition, tail, tablespace, extras, clustered, partitioned, parent_schema, parent_index, true
FROM segue.indexes WHERE migration = $1
ORDER BY pg_catalog.pg_table_size(pg_catalog.to_regclass(pg_catalog.format('%I.%I', schema_name, table_name))) DESC NULLS LAST, schema_name COLLATE "C", index_name COLLATE "C"`

func scanIndexes(ctx context.Context, tx pgx.Tx, sql string, args ...any) ([]index, error) {
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (index, error) {
		var x index
		var schema, parent *string
		err := row.Scan(&x.table.Schema, &x.table.Table, &x.name, &x.definition, &x.tail, &x.tablespace, &x.extras, &x.clustered, &x.partitioned, &schema, &parent, &x.valid)
		if schema != nil && parent != nil {
			x.parent = &table.Name{Schema: *schema, Table: *parent}
		}
		return x, err
	})
}

// DropIndexesSQL is what DropIndexes runs, as one transaction.
func DropIndexesSQL(ctx context.Context, conn *pgx.Conn, migration string, tables []table.Name) ([]string, error) {
	return planned(ctx, conn, func(tx pgx.Tx) ([]string, error) {
		var schemas, names []string
		for _, t := range tables {
			var empty bool
			if err := tx.QueryRow(ctx, "SELECT NOT EXISTS (SELECT FROM "+t.SQL()+")").Scan(&empty); err != nil {
				return nil, err
			}
			if empty {
				schemas, names = append(schemas, t.Schema), append(names, t.Table)
			}
		}
		spared, err := scanIndexes(ctx, tx, sparedSQL, schemas, names)
		if err != nil {
			return nil, err
		}
		var out, drops []string
		for i := range spared {
			out = append(out, spared[i].keepSQL(migration))
			if spared[i].parent == nil { // partitions go with it
				drops = append(drops, "DROP INDEX "+spared[i].place().SQL())
			}
		}
		return append(out, drops...), nil
	})
}

// keepSQL notes an index. One that is kept already stays as it is.
func (x *index) keepSQL(migration string) string {
	extras := "'{}'"
	for i, e := range x.extras {
		if i == 0 {
			extras = "ARRAY["
		} else {
			extras += ", "
		}
		extras += literal(e)
	}
	if len(x.extras) > 0 {
		extras += "]"
	}
	schema, parent := "NULL", "NULL"
	if x.parent != nil {
		schema, parent = literal(x.parent.Schema), literal(x.parent.Table)
	}
	return fmt.Sprintf("INSERT INTO segue.indexes (migration, schema_name, table_name, index_name, definition, tail, tablespace, extras, clustered, partitioned, parent_schema, parent_index) "+
		"VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %t, %t, %s, %s) ON CONFLICT DO NOTHING", literal(migration), literal(x.table.Schema), literal(x.table.Table),
		literal(x.name), literal(x.definition), literal(x.tail), literal(x.tablespace), extras, x.clustered, x.partitioned, schema, parent)
}

// DropIndexes keeps the secondary indexes of those of the tables that are empty, and drops them, all or none.
func DropIndexes(ctx context.Context, conn *pgx.Conn, migration string, tables []table.Name) error {
	sql, err := DropIndexesSQL(ctx, conn, migration, tables)
	if err != nil || len(sql) == 0 {
		return err
	}
	return alter(ctx, conn, "take away indexes", sql, sql)
}

// IndexProgress is how many indexes are kept for a migration, and how many of them are there again.
type IndexProgress struct {
	Kept, Made int
	Making     []IndexMaking
}

// IndexMaking is one that is being made now. PostgreSQL does not tell its name before it is there.
type IndexMaking struct {
	Table   table.Name
	Phase   string
	Percent int64 // of the phase; -1: not known
}

const indexCountsSQL = `
SELECT pg_catalog.count(*), pg_catalog.count(*) FILTER (WHERE EXISTS (
	SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
	WHERE n.nspname = k.schema_name AND c.relname = k.index_name AND i.indisvalid))
FROM segue.indexes k WHERE k.migration = $1`

const indexMakingSQL = `
SELECT n.nspname, c.relname, p.phase, coalesce(100 * CASE WHEN p.tuples_total > 0 THEN p.tuples_done ELSE p.blocks_done END
       / nullif(CASE WHEN p.tuples_total > 0 THEN p.tuples_total ELSE p.blocks_total END, 0), -1)
FROM pg_catalog.pg_stat_progress_create_index p
JOIN pg_catalog.pg_class c ON c.oid = p.relid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE p.datid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
  AND EXISTS (SELECT FROM segue.indexes k WHERE k.migration = $1 AND k.schema_name = n.nspname AND k.table_name = c.relname)
ORDER BY 1, 2, p.pid`

// ReadIndexes says how far the indexes are that were taken away for the load.
func ReadIndexes(ctx context.Context, conn *pgx.Conn, migration string) (p IndexProgress, err error) {
	var there bool
	if err = conn.QueryRow(ctx, `SELECT pg_catalog.to_regclass('segue.indexes') IS NOT NULL`).Scan(&there); err != nil || !there {
		return p, step("look for kept indexes", err)
	}
	if err = conn.QueryRow(ctx, indexCountsSQL, migration).Scan(&p.Kept, &p.Made); err != nil || p.Kept == 0 {
		return p, step("count kept indexes", err)
	}
	err = collect(ctx, conn, indexMakingSQL, []any{migration}, func(row pgx.CollectableRow) error {
		var m IndexMaking
		err := row.Scan(&m.Table.Schema, &m.Table.Table, &m.Phase, &m.Percent)
		p.Making = append(p.Making, m)
		return err
	})
	return p, step("look at the indexes that are being made", err)
}

func (p *IndexProgress) String() string {
	s := fmt.Sprintf("%d of %d indexes made", p.Made, p.Kept)
	for _, m := range p.Making {
		s += fmt.Sprintf("; %s: %s", m.Table, m.Phase)
		if m.Percent >= 0 {
			s += fmt.Sprintf(" %d %%", m.Percent)
		}
	}
	return s
}

// indexStatements make the table of kept indexes.
func indexStatements() []string {
	return []string{`CREATE TABLE IF NOT EXISTS segue.indexes (
			migration text NOT NULL,
			schema_name text NOT NULL,
			table_name text NOT NULL,
			index_name text NOT NULL,
			definition text NOT NULL,
			tail text NOT NULL,
			tablespace text NOT NULL,
			extras text[] NOT NULL,
			clustered boolean NOT NULL,
			partitioned boolean NOT NULL,
			parent_schema text,
			parent_index text,
			kept timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
			PRIMARY KEY (schema_name, index_name)
		)`}
}
