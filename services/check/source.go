package check

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"segue/pkg/fault"
	"segue/pkg/mapping"
	"segue/pkg/migration"
	"segue/pkg/postgres"
	"segue/pkg/table"
)

// sourceSide is what could be read of the source.
type sourceSide struct {
	selected []mapping.Selected
	tables   []*table.Table
	encoding string // "": it could not be read
	blurred  blurred
}

func (r *report) source(ctx context.Context, spec *migration.Spec) (s sourceSide) {
	url := string(spec.Source.Postgres)
	conn, err := postgres.Connect(ctx, url, spec.Name.ApplicationName("check"))
	if err != nil {
		r.failure("source", err)
		return s
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	user, err := r.sourceServer(ctx, conn, spec)
	if err != nil {
		r.failure("source", err)
		return s
	}
	s.encoding = r.encodingOf(ctx, "source", conn)
	r.slotCare(ctx, conn, spec)
	r.replication(ctx, spec)
	all, err := postgres.AllTables(ctx, conn)
	if err != nil {
		r.failure("source", err)
		return s
	}
	if s.selected, err = mapping.Select(spec, all); err != nil {
		r.failure("mapping", err)
		return s
	}
	names := make([]table.Name, len(s.selected))
	for i, x := range s.selected {
		names[i] = x.Source
	}
	if s.tables, err = postgres.Tables(ctx, conn, names); err != nil {
		r.failure("source", err)
		return s
	}
	s.blurred = r.blurred(ctx, "source", conn, s.tables)
	r.identities(s.tables)
	r.keyless(ctx, conn, spec.Name.Slot(), s.tables)
	if spec.Load.ActiveSessions > 0 || spec.Load.StandbyLag > 0 {
		r.busy(ctx, conn, "source", "load.pause_while", user)
	}
	r.sourcePrivileges(ctx, conn, spec, user, names)
	return s
}

// login is the role that segue connects as.
type login struct {
	name               string
	super, bypassesRLS bool
}

const sourceServerSQL = `
SELECT current_setting('server_version_num')::int, current_setting('server_version'), pg_is_in_recovery(),
       current_setting('wal_level'),
       current_setting('max_replication_slots')::int - (SELECT count(*) FROM pg_replication_slots),
       current_setting('max_wal_senders')::int - (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walsender'),
       current_setting('max_slot_wal_keep_size'),
       EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = $1),
       EXISTS (SELECT FROM pg_publication WHERE pubname = $2),
       current_user, r.rolsuper, r.rolbypassrls,
       r.rolreplication OR r.rolsuper OR EXISTS (SELECT FROM pg_roles g WHERE g.rolname = 'rds_replication' AND pg_has_role(r.oid, g.oid, 'MEMBER')),
       has_database_privilege(current_database(), 'CREATE'), current_database(), pg_backend_pid()
FROM pg_roles r WHERE r.rolname = current_user`

func (r *report) sourceServer(ctx context.Context, conn *pgx.Conn, spec *migration.Spec) (u login, err error) {
	var (
		number                                   int
		version, level, keep, database           string
		standby, slot, publication, repl, create bool
		slots, senders                           int
		pid                                      uint32
	)
	err = conn.QueryRow(ctx, sourceServerSQL, spec.Name.Slot(), spec.Name.Publication()).Scan(&number, &version, &standby, &level, &slots, &senders, &keep,
		&slot, &publication, &u.name, &u.super, &u.bypassesRLS, &repl, &create, &database, &pid)
	if err != nil {
		return u, postgres.Safe(err)
	}
	r.version("source", number, version)
	if standby {
		r.error("source", "it is a standby: watermarks are written into the source's log, so the reader needs the primary", "let source.postgres in segue.yaml name the primary")
	}
	if level != "logical" {
		r.error("source", "wal_level is "+level+", logical decoding needs logical", "ALTER SYSTEM SET wal_level = 'logical'; -- then restart the server")
	}
	if slots < 1 && !slot {
		r.error("source", "no replication slot is free", "ALTER SYSTEM SET max_replication_slots = 20; -- then restart the server; or drop a slot that nobody uses: SELECT * FROM pg_replication_slots WHERE NOT active;")
	}
	if senders < 1 {
		r.error("source", "no WAL sender is free", "ALTER SYSTEM SET max_wal_senders = 20; -- then restart the server")
	}
	r.keeps(keep, spec)
	if !repl {
		r.error("source", "role "+u.name+" may not replicate", "ALTER ROLE "+table.Quote(u.name)+" REPLICATION; -- on RDS: GRANT rds_replication TO "+table.Quote(u.name)+";")
	}
	if !create && !publication {
		r.error("source", "role "+u.name+" may not create a publication", "GRANT CREATE ON DATABASE "+table.Quote(database)+" TO "+table.Quote(u.name)+";")
	}
	if conn.PgConn().PID() != pid {
		r.pooled()
	}
	return u, nil
}

func (r *report) pooled() {
	r.error("source", "a connection pooler is in between: replication and watermarks need the server itself", "let source.postgres in segue.yaml name the server's own address and port")
}

// replication opens a connection like the reader's.
func (r *report) replication(ctx context.Context, spec *migration.Spec) {
	conn, err := postgres.ConnectReplication(ctx, string(spec.Source.Postgres), spec.Name.ApplicationName("check"))
	if fault.ClassOf(err) == fault.ClassTransient {
		r.failure("source", fmt.Errorf("open a replication connection: %w", err))
		return
	}
	if err != nil {
		r.error("source", "open a replication connection: "+err.Error(),
			"allow it in pg_hba.conf (the line of the database is enough for logical replication), and name the server itself, not a pooler, in source.postgres")
		return
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, "IDENTIFY_SYSTEM").ReadAll(); err != nil {
		r.failure("source", fmt.Errorf("identify the system: %w", postgres.Safe(err)))
	}
}

// identities looks at how each table's rows are told apart in the log.
func (r *report) identities(tables []*table.Table) {
	for _, t := range tables {
		object := "source " + t.Name.String()
		switch {
		case t.Identity == table.IdentityNothing:
			r.error(object, "its replica identity is NOTHING: updates and deletes cannot be followed", "ALTER TABLE "+t.Name.SQL()+" REPLICA IDENTITY DEFAULT;")
		case t.Keyless() && t.Identity != table.IdentityFull:
			r.error(object, "it has no key and its replica identity is not FULL: the server would refuse its updates and deletes once it is published",
				"ALTER TABLE "+t.Name.SQL()+" ADD PRIMARY KEY (…); -- or, where equal rows are meant to be there: ALTER TABLE "+t.Name.SQL()+" REPLICA IDENTITY FULL;")
		case t.Keyless() && t.Partitioned:
			r.error(object, "it is partitioned and has no key: the log does not tell which rows a partition takes away",
				"ALTER TABLE "+t.Name.SQL()+" ADD PRIMARY KEY (…); -- or leave the table out with exclude: in segue.yaml")
		}
	}
}

// busy looks whether limits for a busy store can work.
func (r *report) busy(ctx context.Context, conn *pgx.Conn, store, key string, user login) {
	b, err := postgres.ReadBusy(ctx, conn)
	if err != nil {
		r.failure(store, err)
		return
	}
	if b.Hidden {
		r.error(store, "role "+user.name+" may not see what other sessions and standbys do: "+key+" would never pause",
			"GRANT pg_read_all_stats TO "+table.Quote(user.name)+"; -- or remove "+key+" from segue.yaml")
	}
}
