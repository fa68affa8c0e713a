package check

import (
	"context"

	"github.com/jackc/pgx/v5"

	"segue/pkg/migration"
	"segue/pkg/pgtarget"
	"segue/pkg/postgres"
	"segue/pkg/table"
)

// targetSide is what could be read of the target.
type targetSide struct {
	tables   []*table.Table
	read     bool
	encoding string // "": it could not be read
	blurred  blurred
}

func (r *report) target(ctx context.Context, spec *migration.Spec, source sourceSide) (t targetSide) {
	conn, err := postgres.Connect(ctx, string(spec.Target.Postgres), spec.Name.ApplicationName("check"))
	if err != nil {
		r.failure("target", err)
		return t
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	user, err := r.targetServer(ctx, conn)
	if err != nil {
		r.failure("target", err)
		return t
	}
	t.encoding = r.encodingOf(ctx, "target", conn)
	others, err := r.refused(ctx, conn, source)
	if err != nil {
		r.failure("target", err)
		return t
	}
	var names []table.Name
	for _, s := range source.selected {
		if others[s.Target] {
			continue
		}
		there, err := exists(ctx, conn, s.Target)
		if err != nil {
			r.failure("target", err)
			return t
		}
		if !there {
			r.error("target "+s.Target.String(), "it is not there: "+s.Source.String()+" goes to it", "create the table on the target, or say another one with to: in segue.yaml, or leave the source table out with exclude:")
			continue
		}
		names = append(names, s.Target)
	}
	if t.tables, err = postgres.TargetTables(ctx, conn, names); err != nil {
		r.failure("target", err)
		return t
	}
	t.read = len(names) == len(source.selected)
	for _, x := range t.tables {
		if x.Keyless() && source.keyed(x.Name) {
			r.error("target "+x.Name.String(), "it has no usable key: segue needs a primary key, or a unique index that is whole, not deferrable and over NOT NULL columns",
				"ALTER TABLE "+x.Name.SQL()+" ADD PRIMARY KEY (…);")
		}
	}
	t.blurred = r.blurred(ctx, "target", conn, t.tables)
	r.targetPrivileges(ctx, conn, user, names)
	r.foreignKeys(ctx, conn, user, names)
	r.indexes(ctx, conn, spec, user, names)
	if spec.Target.Pause.Watches() {
		r.busy(ctx, conn, "target", "target.pause_while", user)
	}
	return t
}

// refused reports what cannot be a target, and returns what of that is no table at all.
func (r *report) refused(ctx context.Context, conn *pgx.Conn, source sourceSide) (map[table.Name]bool, error) {
	var names []table.Name
	for _, s := range source.selected {
		names = append(names, s.Target)
	}
	found, err := pgtarget.Refusals(ctx, conn, names)
	others := map[table.Name]bool{}
	for _, f := range found {
		r.error("target "+f.Table.String(), f.Text, f.Mend)
		if f.NoTable {
			others[f.Table] = true
		}
	}
	return others, err
}

const targetServerSQL = `
SELECT current_setting('server_version_num')::int, current_setting('server_version'), pg_is_in_recovery(), current_setting('transaction_read_only') = 'on',
       current_user, r.rolsuper, r.rolbypassrls, current_database(),
       CASE WHEN to_regnamespace('segue') IS NULL THEN has_database_privilege(current_database(), 'CREATE')
            ELSE has_schema_privilege(to_regnamespace('segue'), 'CREATE, USAGE') END
FROM pg_roles r WHERE r.rolname = current_user`

func (r *report) targetServer(ctx context.Context, conn *pgx.Conn) (u login, err error) {
	var (
		number                     int
		version, database          string
		standby, readOnly, mayMake bool
	)
	err = conn.QueryRow(ctx, targetServerSQL).Scan(&number, &version, &standby, &readOnly, &u.name, &u.super, &u.bypassesRLS, &database, &mayMake)
	if err != nil {
		return u, postgres.Safe(err)
	}
	r.version("target", number, version)
	switch {
	case standby:
		r.error("target", "it is a standby, which nobody can write to", "let target.postgres in segue.yaml name the primary")
	case readOnly:
		r.error("target", "its transactions are read-only by default", "ALTER ROLE "+table.Quote(u.name)+" SET default_transaction_read_only = off;")
	}
	if !mayMake {
		r.error("target", "role "+u.name+" may not create the schema segue, which holds where the migration stands",
			"GRANT CREATE ON DATABASE "+table.Quote(database)+" TO "+table.Quote(u.name)+"; -- or: CREATE SCHEMA segue AUTHORIZATION "+table.Quote(u.name)+";")
	}
	return u, nil
}

func exists(ctx context.Context, conn *pgx.Conn, n table.Name) (there bool, err error) {
	err = conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p'))`, n.Schema, n.Table).Scan(&there)
	return there, postgres.Safe(err)
}

// foreignKeysSQL finds the foreign keys of and to the tables whose owner the role is not, or that it may not make again.
const foreignKeysSQL = `
SELECT k.conname, n.nspname, c.relname, pg_get_userbyid(c.relowner), fn.nspname, f.relname,
       pg_has_role(c.relowner, 'USAGE'), has_table_privilege(f.oid, 'REFERENCES')
FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_class f ON f.oid = k.confrelid JOIN pg_namespace fn ON fn.oid = f.relnamespace
WHERE k.contype = 'f' AND k.conparentid = 0
  AND EXISTS (SELECT FROM unnest($1::text[], $2::text[]) AS w(s, t) WHERE (w.s, w.t) IN ((n.nspname, c.relname), (fn.nspname, f.relname)))
ORDER BY 2, 3, 1`

func (r *report) foreignKeys(ctx context.Context, conn *pgx.Conn, u login, names []table.Name) {
	schemas, tables := split(names)
	role := table.Quote(u.name)
	rows, err := conn.Query(ctx, foreignKeysSQL, schemas, tables)
	r.each("target", rows, err, func(row pgx.CollectableRow) error {
		var (
			constraint, owner string
			child, parent     table.Name
			owns, references  bool
		)
		if err := row.Scan(&constraint, &child.Schema, &child.Table, &owner, &parent.Schema, &parent.Table, &owns, &references); err != nil {
			return err
		}
		object := "target " + child.String()
		if !owns {
			r.error(object, "only its owner "+owner+" may take foreign key "+constraint+" away for the load and give it back",
				"GRANT "+table.Quote(owner)+" TO "+role+"; -- or let the owner run what segue target prepare --sql prints")
		}
		if !references {
			r.error(object, "role "+u.name+" may not make foreign key "+constraint+" again", "GRANT REFERENCES ON "+parent.SQL()+" TO "+role+";")
		}
		return nil
	})
}
