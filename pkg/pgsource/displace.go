package pgsource

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"segue/pkg/fault"
	"segue/pkg/postgres"
)

// displaceWait is how long the server waits for a terminated backend to end.
const displaceWait = 10 * time.Second

// Displace takes the slot from an older life of the same reader: the backend that has the slot is terminated if it is of this role and calls
// itself app. A process that was stopped in the middle keeps its connection, and the slot with it, until wal_sender_timeout. Who else has the
// slot keeps it. It says whether it ended somebody.
func Displace(ctx context.Context, conn *pgx.Conn, slot, app string) (bool, error) {
	var gone *bool
	err := conn.QueryRow(ctx, `
		SELECT pg_catalog.bool_and(pg_catalog.pg_terminate_backend(a.pid, $3))
		FROM pg_catalog.pg_replication_slots s JOIN pg_catalog.pg_stat_activity a ON a.pid = s.active_pid
		WHERE s.slot_name = $1 AND a.application_name = $2 AND a.usename = current_user`,
		slot, app, displaceWait.Milliseconds()).Scan(&gone)
	if err != nil {
		return false, fmt.Errorf("take slot %s from the former reader: %w", slot, postgres.Safe(err))
	}
	if gone != nil && !*gone {
		return false, fault.Transient(fmt.Errorf("take slot %s from the former reader: its backend has not ended yet", slot))
	}
	return gone != nil, nil
}
