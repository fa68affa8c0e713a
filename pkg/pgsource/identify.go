package pgsource

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"segue/pkg/fault"
	"segue/pkg/postgres"
)

// Identity is which history a server's log belongs to.
type Identity struct {
	SystemID string // of the cluster: another one is another history
	Timeline int32  // grows when a standby is promoted
	Database string
	LSN      uint64 // the end of the log, with what is not written out yet: of what is visible, nothing lies behind it
	Version  int    // server_version_num
	Recovery bool   // a standby
	// Ancestors are the timelines that this one came from, oldest first. Only Introduce reads them.
	Ancestors []Ancestor
}

// Ancestor is a timeline that was left: what its log holds behind End is not in this server's history.
type Ancestor struct {
	Timeline int32
	End      uint64
}

// Fork is where the present timeline begins; 0: at the very beginning.
func (i *Identity) Fork() uint64 {
	if n := len(i.Ancestors); n > 0 {
		return i.Ancestors[n-1].End
	}
	return 0
}

const identifySQL = `
SELECT (pg_catalog.pg_control_system()).system_identifier::text,
       CASE WHEN r THEN (pg_catalog.pg_control_checkpoint()).timeline_id
            ELSE ('x' || pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8))::bit(32)::int END,
       pg_catalog.current_database(),
       (CASE WHEN r THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_insert_lsn() END - '0/0')::bigint,
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

// Introduce asks a server who it is over the replication protocol, all of it on one connection: so it is one server that answers,
// whatever address or list of hosts the URL names. A timeline comes from IDENTIFY_SYSTEM, which knows it from the moment of a promotion on.
func Introduce(ctx context.Context, url, app string) (Identity, error) {
	conn, err := postgres.ConnectReplication(ctx, url, app)
	if err != nil {
		return Identity{}, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	i, err := introduce(ctx, conn)
	if err != nil {
		return Identity{}, fmt.Errorf("identify the source: %w", postgres.Safe(err))
	}
	return i, nil
}

func introduce(ctx context.Context, conn *pgconn.PgConn) (i Identity, err error) {
	// IDENTIFY_SYSTEM names what is flushed: with synchronous_commit off, more than that is visible.
	results, err := conn.Exec(ctx, `SELECT r, pg_catalog.current_setting('server_version_num'),
		(CASE WHEN r THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_insert_lsn() END - '0/0')::bigint
		FROM pg_catalog.pg_is_in_recovery() AS r`).ReadAll()
	if err != nil {
		return i, err
	}
	row := results[0].Rows[0]
	i.Recovery = string(row[0]) == "t"
	if i.Version, err = strconv.Atoi(string(row[1])); err != nil {
		return i, err
	}
	if i.LSN, err = strconv.ParseUint(string(row[2]), 10, 64); err != nil {
		return i, err
	}
	system, err := pglogrepl.IdentifySystem(ctx, conn)
	if err != nil {
		return i, err
	}
	i.SystemID, i.Timeline, i.Database = system.SystemID, system.Timeline, system.DBName
	if i.Timeline == 1 {
		return i, nil
	}
	file, err := pglogrepl.TimelineHistory(ctx, conn, i.Timeline)
	if err != nil {
		return i, fmt.Errorf("history of timeline %d: %w", i.Timeline, postgres.Safe(err))
	}
	i.Ancestors, err = parseHistory(string(file.Content))
	return i, err
}

// parseHistory reads a timeline's history file: a line for each ancestor, with the place at which it was left.
func parseHistory(text string) ([]Ancestor, error) {
	var out []Ancestor
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if len(fields) < 2 {
			return nil, fault.Fatal(fmt.Errorf("a line of the timeline's history has %d fields", len(fields)), "")
		}
		timeline, err := strconv.ParseInt(fields[0], 10, 32)
		if err != nil {
			return nil, fault.Fatal(fmt.Errorf("a line of the timeline's history names no timeline"), "")
		}
		end, err := pglogrepl.ParseLSN(fields[1])
		if err != nil {
			return nil, fault.Fatal(fmt.Errorf("a line of the timeline's history names no place"), "")
		}
		out = append(out, Ancestor{Timeline: int32(timeline), End: uint64(end)})
	}
	return out, nil
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
