package check

import (
	"context"

	"github.com/jackc/pgx/v5"

	"segue/pkg/migration"
	"segue/pkg/table"
)

// indexesSQL finds the tables whose secondary indexes the role may not take away, or may not make again.
const indexesSQL = `
SELECT n.nspname, c.relname, pg_get_userbyid(c.relowner), pg_has_role(c.relowner, 'USAGE'), has_schema_privilege(n.oid, 'CREATE')
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS w(s, t, place)
JOIN pg_namespace n ON n.nspname = w.s JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.t
WHERE EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND NOT i.indisunique)
ORDER BY w.place`

// indexes looks whether target.indexes: after_load can be done.
func (r *report) indexes(ctx context.Context, conn *pgx.Conn, spec *migration.Spec, u login, names []table.Name) {
	if spec.Target.Indexes != migration.IndexesAfterLoad {
		return
	}
	schemas, tables := split(names)
	role := table.Quote(u.name)
	rows, err := conn.Query(ctx, indexesSQL, schemas, tables)
	r.each("target", rows, err, func(row pgx.CollectableRow) error {
		var n table.Name
		var owner string
		var owns, creates bool
		if err := row.Scan(&n.Schema, &n.Table, &owner, &owns, &creates); err != nil {
			return err
		}
		object := "target " + n.String()
		if !owns {
			r.error(object, "only its owner "+owner+" may take its indexes away for the load and make them again (target.indexes: after_load)",
				"GRANT "+table.Quote(owner)+" TO "+role+"; -- or let the owner run what segue target prepare --sql prints, or say indexes: keep in segue.yaml")
		}
		if !creates {
			r.error(object, "role "+u.name+" may not make its indexes again: that takes CREATE on schema "+n.Schema, "GRANT CREATE ON SCHEMA "+table.Quote(n.Schema)+" TO "+role+";")
		}
		return nil
	})
}
