package pgsource

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"segue/pkg/postgres"
)

// Identity is which history a server's log belongs to.
type Identity struct {
	SystemID string // of the cluster: another one is another history
	Timeline int32  // grows when a standby is promoted
	Database string
	LSN      uint64 // the end of the log
	Version  int    // server_version_num
	Recovery bool   // a standby
}

const identifySQL = `
SELECT (pg_catalog.pg_control_system()).system_identifier::text,
       CASE WHEN r THEN (pg_catalog.pg_control_checkpoint()).timeline_id
            ELSE ('x' || pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8))::bit(32)::int END,
       pg_catalog.current_database(),
       (CASE WHEN r THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_lsn() END - '0/0')::bigint,
       pg_catalog.current_setting('server_version_num')::int, r
FROM pg_catalog.pg_is_in_recovery() AS r`

// Identify asks a server who it is.
func Identify(ctx context.Context, q postgres.Querier) (Identity, error) {
	var i Identity
	if err := q.QueryRow(ctx, identifySQL).Scan(&i.SystemID, &i.Timeline, &i.Database, &i.LSN, &i.Version, &i.Recovery); err != nil {
		return Identity{}, fmt.Errorf("identify the source: %w", postgres.Safe(err))
	}
	return i, nil
}

const emitSQL = `
SELECT (pg_catalog.pg_logical_emit_message(true, $1, $2::bytea) - '0/0')::bigint
FROM pg_catalog.set_config('synchronous_commit', 'local', true)`

// Emit puts a transactional message into the log, in a transaction of its own that waits for no standby. It returns the
// LSN that the stream's Message will have, which lies before its commit. conn must not be in a transaction.
func Emit(ctx context.Context, conn *pgx.Conn, prefix string, content []byte) (uint64, error) {
	var lsn uint64
	if err := conn.QueryRow(ctx, emitSQL, prefix, content).Scan(&lsn); err != nil {
		return 0, fmt.Errorf("write message %s into the source's log: %w", prefix, postgres.Safe(err))
	}
	return lsn, nil
}
