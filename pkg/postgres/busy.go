package postgres

import (
	"context"
	"fmt"
)

// Busy is what others make of a server at one moment.
type Busy struct {
	// ActiveSessions are the client sessions that run a statement, segue's own left out.
	ActiveSessions int
	// StandbyLag is how many bytes of log the slowest physical standby has not replayed, 0 without one.
	StandbyLag int64
	// Hidden says that the role may not see what others do (pg_read_all_stats): both numbers are too low then.
	Hidden bool
}

const busySQL = `
SELECT (SELECT count(*) FROM pg_catalog.pg_stat_activity
        WHERE backend_type = 'client backend' AND state = 'active' AND application_name NOT LIKE 'segue:%' AND pid <> pg_catalog.pg_backend_pid()),
       (SELECT coalesce(max(pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), r.replay_lsn)), 0)::bigint
        FROM pg_catalog.pg_stat_replication r
        WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_replication_slots s WHERE s.active_pid = r.pid AND s.slot_type = 'logical')),
       NOT pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE')`

// ReadBusy asks the server. It takes no lock and a fraction of a millisecond.
func ReadBusy(ctx context.Context, q Querier) (b Busy, err error) {
	if err = q.QueryRow(ctx, busySQL).Scan(&b.ActiveSessions, &b.StandbyLag, &b.Hidden); err != nil {
		return b, fmt.Errorf("ask how busy the server is: %w", Safe(err))
	}
	return b, nil
}
