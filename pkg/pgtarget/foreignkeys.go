package pgtarget

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"segue/pkg/fault"
	"segue/pkg/postgres"
	"segue/pkg/table"
)

// While segue writes, the foreign keys of and to its target tables are NO ACTION DEFERRABLE: a cascade on the target would
// delete rows that the stream does not know of. They are dropped before the initial load (Prepare), made again in that form and
// validated behind it (Enforce), and in the end given back exactly as they were (Finish). What to do is always worked
// out from the catalog and segue.foreign_keys together, so that each step may be run again after a crash. Where several migrations
// have tables of one key, each has a hold on it: see the package's comment.

// foreignKey is one constraint as the catalog has it now (there) or as it was kept.
type foreignKey struct {
	table       table.Name
	name        string
	definition  string // exactly as pg_get_constraintdef gave it
	core        string // the definition without actions and deferrability
	orphans     string // FROM and WHERE of the rows that have no parent
	comment     *string
	validated   bool // it was valid when it was kept; one that was not is never validated
	partitioned bool // the table that refers, so that NOT VALID is not to be had before PostgreSQL 18
	parent      table.Name
	hold        hold // of one that is kept
	gone        bool // of one that is kept: one of its tables was dropped meanwhile, so that there is nothing to give back
}

func (k *foreignKey) quoted() string { return table.Quote(k.name) }

// foreignKeysSQL lists the constraints of and to the tables. core is put together from the catalog's columns, because a
// definition cannot be cut safely: identifiers may hold anything. PERIOD belongs to PostgreSQL 18's temporal keys. Orphans are told as the constraint
// does it: by its own operators (an extension's are not found by name) and the collations of the parent's columns; a period lies in several of the parent's.
const foreignKeysSQL = `
SELECT n.nspname, r.relname, c.conname, pg_catalog.pg_get_constraintdef(c.oid),
       'FOREIGN KEY (' || cols.own || ') REFERENCES ' || cols.parent || '(' || cols.theirs || ')'
       || CASE c.confmatchtype WHEN 'f' THEN ' MATCH FULL' ELSE '' END,
       pg_catalog.format('FROM %I.%I c WHERE %s AND NOT EXISTS (SELECT FROM %s p WHERE %s%s)',
                         n.nspname, r.relname, cols.given, cols.parent, cols.same, cols.covered),
       pg_catalog.obj_description(c.oid, 'pg_constraint'), c.convalidated, r.relkind = 'p', fn.nspname, f.relname
FROM pg_catalog.pg_constraint c
JOIN pg_catalog.pg_class r ON r.oid = c.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace
JOIN pg_catalog.pg_class f ON f.oid = c.confrelid
JOIN pg_catalog.pg_namespace fn ON fn.oid = f.relnamespace
CROSS JOIN LATERAL (SELECT pg_catalog.to_jsonb(c) AS j) whole
CROSS JOIN LATERAL (
	SELECT pg_catalog.string_agg(x.period || pg_catalog.quote_ident(a.attname), ', ' ORDER BY x.place) AS own,
	       pg_catalog.string_agg(x.period || pg_catalog.quote_ident(b.attname), ', ' ORDER BY x.place) AS theirs,
	       pg_catalog.string_agg(pg_catalog.format('c.%I IS NOT NULL', a.attname), ' AND ' ORDER BY x.place) AS given,
	       pg_catalog.string_agg(` + refersSQL + `, ' AND ' ORDER BY x.place) AS same,
	       coalesce(pg_catalog.string_agg(pg_catalog.format(' HAVING pg_catalog.range_agg(p.%I) OPERATOR(pg_catalog.@>) c.%I', b.attname, a.attname), '')
	           FILTER (WHERE x.period <> ''), '') AS covered,
	       pg_catalog.format('%I.%I', fn.nspname, f.relname) AS parent
	FROM (SELECT k.own, k.theirs, k.equals, k.place,
	             CASE WHEN whole.j->>'conperiod' = 'true' AND k.place = pg_catalog.cardinality(c.conkey) THEN 'PERIOD ' ELSE '' END AS period
	      FROM ROWS FROM (pg_catalog.unnest(c.conkey), pg_catalog.unnest(c.confkey), pg_catalog.unnest(c.conpfeqop)) WITH ORDINALITY AS k (own, theirs, equals, place)) x
	JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = x.own
	JOIN pg_catalog.pg_attribute b ON b.attrelid = c.confrelid AND b.attnum = x.theirs
	` + operatorJoinSQL + `) cols
WHERE c.contype = 'f' AND c.conparentid = 0 AND coalesce(whole.j->>'conenforced', 'true') = 'true'
  AND EXISTS (SELECT FROM ROWS FROM (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[])) AS want (nsp, rel)
              WHERE (want.nsp = n.nspname AND want.rel = r.relname) OR (want.nsp = fn.nspname AND want.rel = f.relname))
ORDER BY n.nspname, r.relname, c.conname`

// refersSQL is the text that compares a column of the parent p with one of the child c, as the constraint does; operatorJoinSQL yields what it takes:
// x is the pair of columns with its operator, a the child's column, b the parent's.
const (
	refersSQL = `pg_catalog.format('p.%I OPERATOR(%I.%s) c.%I%s', b.attname, opn.nspname, op.oprname, a.attname,
	           CASE WHEN a.attcollation <> b.attcollation AND a.attcollation <> 0 AND b.attcollation <> 0
	           THEN pg_catalog.format(' COLLATE %I.%I', con.nspname, co.collname) ELSE '' END)`
	operatorJoinSQL = `JOIN pg_catalog.pg_operator op ON op.oid = x.equals JOIN pg_catalog.pg_namespace opn ON opn.oid = op.oprnamespace
	LEFT JOIN pg_catalog.pg_collation co ON co.oid = b.attcollation LEFT JOIN pg_catalog.pg_namespace con ON con.oid = co.collnamespace`
	// sameSQL is the condition over all columns of constraint c.
	sameSQL = `(SELECT pg_catalog.string_agg(` + refersSQL + `, ' AND ' ORDER BY x.place)
        FROM ROWS FROM (pg_catalog.unnest(c.conkey), pg_catalog.unnest(c.confkey), pg_catalog.unnest(c.conpfeqop)) WITH ORDINALITY AS x (own, theirs, equals, place)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = x.own
        JOIN pg_catalog.pg_attribute b ON b.attrelid = c.confrelid AND b.attnum = x.theirs ` + operatorJoinSQL + `)`
)

func foreignKeysOf(ctx context.Context, tx pgx.Tx, tables []table.Name) ([]foreignKey, error) {
	schemas, names := split(tables)
	rows, err := tx.Query(ctx, foreignKeysSQL, schemas, names)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (foreignKey, error) {
		var k foreignKey
		return k, row.Scan(&k.table.Schema, &k.table.Table, &k.name, &k.definition, &k.core, &k.orphans, &k.comment, &k.validated, &k.partitioned,
			&k.parent.Schema, &k.parent.Table)
	})
}

// PrepareSQL is what PrepareKeys runs, as one transaction: it keeps the definitions, says who needs the constraints off and drops them. Where the
// bookkeeping schema is not there yet, or an older one, that comes first: what is shown is for those who may what segue's role may not.
func PrepareSQL(ctx context.Context, conn *pgx.Conn, migration string, tables []table.Name) ([]string, error) {
	version, err := readVersion(ctx, conn)
	if err != nil {
		return nil, err
	}
	if version >= schemaVersion {
		return planned(ctx, conn, func(tx pgx.Tx) ([]string, error) { return prepareSQL(ctx, tx, migration, tables) })
	}
	sql, err := planned(ctx, conn, func(tx pgx.Tx) ([]string, error) {
		sql, _, err := dropSQL(ctx, tx, migration, tables)
		return sql, err
	})
	return append(schemaStatements(), sql...), err
}

func prepareSQL(ctx context.Context, tx pgx.Tx, migration string, tables []table.Name) ([]string, error) {
	out, dropped, err := dropSQL(ctx, tx, migration, tables)
	if err != nil {
		return nil, err
	}
	schemas, names := split(tables)
	kept, err := scanKept(ctx, tx, keptByTables, migration, schemas, names)
	for i := range kept { // that another migration took away before
		if k := &kept[i]; !dropped[k.place()] && (!k.hold.own || k.hold.ownLoaded) {
			out = append(out, holdSQL(migration, k))
		}
	}
	return out, err
}

// dropSQL keeps and drops what is there.
func dropSQL(ctx context.Context, tx pgx.Tx, migration string, tables []table.Name) (out []string, dropped map[string]bool, err error) {
	there, err := foreignKeysOf(ctx, tx, tables)
	if err != nil {
		return nil, nil, err
	}
	dropped = map[string]bool{}
	for i := range there {
		k := &there[i]
		dropped[k.place()] = true
		out = append(out, keepSQL(migration, k), holdSQL(migration, k),
			fmt.Sprintf("ALTER TABLE %s DROP CONSTRAINT %s", k.table.SQL(), k.quoted()))
	}
	return out, dropped, nil
}

// keepSQL notes a definition. One that is kept already stays: what is there now is segue's own form of it.
func keepSQL(migration string, k *foreignKey) string {
	comment := "NULL"
	if k.comment != nil {
		comment = literal(*k.comment)
	}
	return fmt.Sprintf("INSERT INTO segue.foreign_keys (migration, schema_name, table_name, constraint_name, definition, core, orphans, comment, validated, partitioned, parent_schema, parent_table) "+
		"VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %t, %t, %s, %s) ON CONFLICT DO NOTHING",
		literal(migration), literal(k.table.Schema), literal(k.table.Table), literal(k.name), literal(k.definition), literal(k.core),
		literal(k.orphans), comment, k.validated, k.partitioned, literal(k.parent.Schema), literal(k.parent.Table))
}

// literal is a string for a statement that is shown to people.
func literal(s string) string {
	q := "'" + strings.ReplaceAll(s, "'", "''") + "'"
	if strings.Contains(s, `\`) {
		q = "E" + strings.ReplaceAll(q, `\`, `\\`)
	}
	return q
}

// PrepareKeys keeps the definitions of all foreign keys of and to the tables and drops the constraints, all or none. Behind the load it refuses: nobody
// would make them again before the end.
func PrepareKeys(ctx context.Context, conn *pgx.Conn, migration string, tables []table.Name) error {
	var sql []string
	err := locked(ctx, conn, "take away foreign keys", func(tx pgx.Tx) (err error) {
		var loaded bool
		if err := tx.QueryRow(ctx, `SELECT coalesce(pg_catalog.bool_or(loaded), false) FROM segue.progress WHERE migration = $1`, migration).Scan(&loaded); err != nil {
			return err
		}
		if loaded {
			return fault.Fatal(errors.New("the initial load is over, and foreign keys hold for the stream"), "there is nothing to prepare: segue run goes on; tables that are added later are prepared by themselves")
		}
		if sql, err = prepareSQL(ctx, tx, migration, tables); err != nil {
			return err
		}
		for _, s := range sql {
			if _, err := tx.Exec(ctx, s); err != nil {
				return err
			}
		}
		return nil
	})
	return privileged(err, "take away foreign keys", sql)
}

// privileged says what somebody with more rights would have to run.
func privileged(err error, what string, whole []string) error {
	if postgres.SQLState(err) == codePrivilege {
		return &PrivilegeError{What: what, SQL: whole}
	}
	return err
}

// planned works something out from the catalog under the pinned settings: with an empty search_path every name in a
// definition has its schema.
func planned(ctx context.Context, conn *pgx.Conn, plan func(tx pgx.Tx) ([]string, error)) ([]string, error) {
	var out []string
	err := pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		err := postgres.Pin(ctx, tx)
		if err == nil {
			out, err = plan(tx)
		}
		return err
	})
	return out, step("read foreign keys", err)
}

// alter runs statements as one transaction; whole is what somebody with more rights would have to run instead.
func alter(ctx context.Context, conn *pgx.Conn, what string, sql, whole []string) error {
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if err := postgres.Pin(ctx, tx); err != nil {
			return err
		}
		sql := append([]string{fmt.Sprintf("SET LOCAL lock_timeout = %d", lockTimeout.Milliseconds())}, sql...)
		for _, name := range plannerSettings { // a validation joins whole tables
			sql = append([]string{"SET LOCAL " + name + " TO DEFAULT"}, sql...)
		}
		for _, s := range sql {
			if _, err := tx.Exec(ctx, s); err != nil {
				return err
			}
		}
		return nil
	})
	return privileged(step(what, err), what, whole)
}
