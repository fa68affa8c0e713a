package postgres

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// session is what a connection's session has from the start, whatever is set on its role or database, so that what runs outside a
// pinned transaction (the catalog's reads, and the source's log sender) depends on nothing either. The path stays as it is: which
// tables a statement names is not for a connection to decide. Read-only by default stays too: a target that has it is waited for.
func session() map[string]string {
	s := pinned()
	delete(s, "search_path")
	delete(s, "row_security")
	maps.Copy(s, map[string]string{
		"default_transaction_isolation":  "read committed",
		"default_transaction_deferrable": "off",
		"idle_session_timeout":           "0",
		"transaction_timeout":            "0", // from 17 on; it ends a log sender in the midst of a large transaction too
	})
	return s
}

// sessionSQL sets them where the session is the connection's own: behind a pooler it would be handed on to others.
func sessionSQL(pid uint32) string {
	settings := session()
	rows := make([]string, 0, len(settings))
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		rows = append(rows, "('"+name+"', '"+settings[name]+"')")
	}
	return fmt.Sprintf("SELECT pg_catalog.count(pg_catalog.set_config(s.n, s.v, false)) FROM (VALUES %s) AS s (n, v)"+
		" WHERE pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.=) %d AND pg_catalog.current_setting(s.n, true) IS NOT NULL", strings.Join(rows, ", "), pid)
}

func ownSession(ctx context.Context, conn *pgconn.PgConn) error {
	_, err := conn.Exec(ctx, sessionSQL(conn.PID())).ReadAll()
	return err
}
