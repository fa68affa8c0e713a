package check

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"segue/pkg/migration"
	"segue/pkg/postgres"
	"segue/pkg/table"
)

const sourcePrivilegesSQL = `
SELECT n.nspname, c.relname, pg_get_userbyid(c.relowner), has_schema_privilege(n.oid, 'USAGE'), has_table_privilege(c.oid, 'SELECT'),
       pg_has_role(c.relowner, 'USAGE'),
       EXISTS (SELECT FROM pg_publication_tables p WHERE p.pubname = $3 AND p.schemaname = n.nspname AND p.tablename = c.relname),
       c.relrowsecurity AND (c.relforcerowsecurity OR NOT pg_has_role(c.relowner, 'USAGE'))
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS w(s, t, place)
JOIN pg_namespace n ON n.nspname = w.s JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.t
ORDER BY w.place`

func (r *report) sourcePrivileges(ctx context.Context, conn *pgx.Conn, spec *migration.Spec, u login, names []table.Name) {
	schemas, tables := split(names)
	role := table.Quote(u.name)
	rows, err := conn.Query(ctx, sourcePrivilegesSQL, schemas, tables, spec.Name.Publication())
	r.each("source", rows, err, func(row pgx.CollectableRow) error {
		var (
			n                                          table.Name
			owner                                      string
			usage, read, owns, published, rowsFiltered bool
		)
		if err := row.Scan(&n.Schema, &n.Table, &owner, &usage, &read, &owns, &published, &rowsFiltered); err != nil {
			return err
		}
		object := "source " + n.String()
		if !usage {
			r.error(object, "role "+u.name+" may not use schema "+n.Schema, "GRANT USAGE ON SCHEMA "+table.Quote(n.Schema)+" TO "+role+";")
		}
		if !read {
			r.error(object, "role "+u.name+" may not read it", "GRANT SELECT ON "+n.SQL()+" TO "+role+";")
		}
		if !owns && !published {
			r.error(object, "only its owner "+owner+" may add it to a publication", "GRANT "+table.Quote(owner)+" TO "+role+";")
		}
		if rowsFiltered && !u.super && !u.bypassesRLS {
			r.error(object, "row-level security hides rows from role "+u.name+": segue would copy a part and call it whole", "ALTER ROLE "+role+" BYPASSRLS;")
		}
		return nil
	})
}

// each looks at every row of a query, and reports what fails as the store's.
func (r *report) each(store string, rows pgx.Rows, err error, look func(pgx.CollectableRow) error) {
	if err == nil {
		_, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (struct{}, error) { return struct{}{}, look(row) })
	}
	if err != nil {
		r.failure(store, postgres.Safe(err))
	}
}

func split(names []table.Name) (schemas, tables []string) {
	for _, n := range names {
		schemas, tables = append(schemas, n.Schema), append(tables, n.Table)
	}
	return schemas, tables
}

const targetPrivilegesSQL = `
SELECT n.nspname, c.relname, pg_get_userbyid(c.relowner), has_schema_privilege(n.oid, 'USAGE'),
       array_remove(ARRAY[CASE WHEN NOT has_table_privilege(c.oid, 'SELECT') THEN 'SELECT' END,
                          CASE WHEN NOT has_table_privilege(c.oid, 'INSERT') THEN 'INSERT' END,
                          CASE WHEN NOT has_table_privilege(c.oid, 'UPDATE') THEN 'UPDATE' END,
                          CASE WHEN NOT has_table_privilege(c.oid, 'DELETE') THEN 'DELETE' END], NULL),
       (SELECT count(*) FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A'))
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS w(s, t, place)
JOIN pg_namespace n ON n.nspname = w.s JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.t
ORDER BY w.place`

func (r *report) targetPrivileges(ctx context.Context, conn *pgx.Conn, u login, names []table.Name) {
	schemas, tables := split(names)
	role := table.Quote(u.name)
	rows, err := conn.Query(ctx, targetPrivilegesSQL, schemas, tables)
	r.each("target", rows, err, func(row pgx.CollectableRow) error {
		var (
			n        table.Name
			owner    string
			usage    bool
			lacks    []string
			triggers int
		)
		if err := row.Scan(&n.Schema, &n.Table, &owner, &usage, &lacks, &triggers); err != nil {
			return err
		}
		object := "target " + n.String()
		if !usage {
			r.error(object, "role "+u.name+" may not use schema "+n.Schema, "GRANT USAGE ON SCHEMA "+table.Quote(n.Schema)+" TO "+role+";")
		}
		if len(lacks) > 0 {
			what := strings.Join(lacks, ", ")
			r.error(object, "role "+u.name+" lacks "+what, "GRANT "+what+" ON "+n.SQL()+" TO "+role+";")
		}
		if triggers > 0 {
			r.warn(object, fmt.Sprintf("%d triggers fire for every row that segue writes, and what they change is not what the source says", triggers),
				"ALTER TABLE "+n.SQL()+" DISABLE TRIGGER USER; -- until cutover, if the source's rows hold their effects already")
		}
		return nil
	})
}
