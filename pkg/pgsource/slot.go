package pgsource

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"

	"segue/pkg/fault"
	"segue/pkg/postgres"
	"segue/pkg/table"
)

// Setup names what a migration owns on its source.
type Setup struct {
	Slot, Publication string
	Tables            []table.Name
}

// SlotState is what the server says of a slot.
type SlotState struct {
	Exists           bool
	Plugin, Database string
	Temporary        bool
	Active           bool
	ActivePID        int32
	// ConfirmedLSN is what was confirmed: a stream begins behind it. RestartLSN is the oldest log that the slot holds back.
	ConfirmedLSN, RestartLSN uint64
	// RetainedBytes is the log held back for the slot, UnconfirmedBytes what was written since ConfirmedLSN.
	RetainedBytes, UnconfirmedBytes int64
	// WALStatus is reserved, extended, unreserved or lost. Invalidation says why it is lost, from PostgreSQL 17 on.
	WALStatus, Invalidation string
	// SafeWALSize is how many bytes may be written before the slot is in danger of being lost; -1: no limit is set.
	SafeWALSize int64
	// CatalogXminAge is how many transactions old the catalog rows are that the slot keeps vacuum from removing.
	CatalogXminAge int64
	// Failover says that the server keeps the slot on its standbys too (from PostgreSQL 17 on).
	Failover bool
	// Inactive is for how long nobody has read it; 0: somebody does, or the server does not tell (before PostgreSQL 17).
	Inactive time.Duration

	// SystemID, Timeline and Recovery are the server's that was asked; a standby's timeline is not told.
	SystemID string
	Timeline int32
	Recovery bool
	// LogEnd is where the server's log ended.
	LogEnd uint64

	// Created, Added and Removed are what Ensure did: it made the slot, it changed the publication's tables.
	Created        bool
	Added, Removed []table.Name
}

// inspectSQL always yields a row: of a slot that is not there, the server's own part.
const inspectSQL = `
SELECT s.slot_name IS NOT NULL, coalesce(s.plugin, ''), coalesce(s.database, ''), coalesce(s.temporary, false), coalesce(s.active, false), coalesce(s.active_pid, 0),
       coalesce(s.confirmed_flush_lsn - '0/0', 0)::bigint, coalesce(s.restart_lsn - '0/0', 0)::bigint,
       coalesce(pg_catalog.pg_wal_lsn_diff(w.now, s.restart_lsn), 0)::bigint,
       coalesce(pg_catalog.pg_wal_lsn_diff(w.now, s.confirmed_flush_lsn), 0)::bigint,
       coalesce(s.wal_status, ''), coalesce(pg_catalog.to_jsonb(s) ->> 'invalidation_reason', ''),
       coalesce(s.safe_wal_size, -1), coalesce(pg_catalog.age(s.catalog_xmin), 0)::bigint,
       coalesce((pg_catalog.to_jsonb(s) ->> 'failover')::boolean, false),
       coalesce(extract(epoch FROM pg_catalog.clock_timestamp() - (pg_catalog.to_jsonb(s) ->> 'inactive_since')::timestamptz), 0)::float8,
       (pg_catalog.pg_control_system()).system_identifier::text,
       CASE WHEN w.standby THEN 0 ELSE ('x' || pg_catalog.left(pg_catalog.pg_walfile_name(w.now), 8))::bit(32)::int END,
       w.standby, coalesce(w.now - '0/0', 0)::bigint
FROM (SELECT r AS standby, CASE WHEN r THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_lsn() END AS now
      FROM pg_catalog.pg_is_in_recovery() AS r) w
LEFT JOIN pg_catalog.pg_replication_slots s ON s.slot_name = $1`

// Inspect asks the server for a slot's state. One that does not exist is no error.
func Inspect(ctx context.Context, q postgres.Querier, slot string) (SlotState, error) {
	var s SlotState
	var inactive float64
	err := q.QueryRow(ctx, inspectSQL, slot).Scan(&s.Exists, &s.Plugin, &s.Database, &s.Temporary, &s.Active, &s.ActivePID,
		&s.ConfirmedLSN, &s.RestartLSN, &s.RetainedBytes, &s.UnconfirmedBytes, &s.WALStatus, &s.Invalidation,
		&s.SafeWALSize, &s.CatalogXminAge, &s.Failover, &inactive, &s.SystemID, &s.Timeline, &s.Recovery, &s.LogEnd)
	if err != nil {
		return SlotState{}, fmt.Errorf("inspect slot %s: %w", slot, postgres.Safe(err))
	}
	s.Inactive = max(0, time.Duration(inactive*float64(time.Second)))
	return s, nil
}

// Check says whether the slot of that name can be followed from the given database; the error says what happened, whether data is at
// risk, and what goes on.
func (s *SlotState) Check(slot, database string) error {
	switch {
	case !s.Exists:
		return fault.Fatal(fmt.Errorf("slot %s does not exist: changes made since it was dropped are not in any stream", slot),
			"if this migration has run before, the target has missed changes: read all tables again with a new slot: resync with segue run reader --new-history")
	case s.Plugin != "pgoutput" || s.Temporary:
		return fault.Fatal(fmt.Errorf("slot %s belongs to something else: its plugin is %q, not a permanent pgoutput", slot, s.Plugin),
			"no data is at risk: give the migration another name, or drop the slot if nothing needs it")
	case s.Database != database:
		return fault.Fatal(fmt.Errorf("slot %s belongs to database %s, this is %s", slot, s.Database, database),
			"no data is at risk: correct the source's URL, or give the migration another name")
	case s.WALStatus == "lost":
		reason := "the server removed log that it still needed (max_slot_wal_keep_size)"
		if s.Invalidation != "" {
			reason = "the server says " + s.Invalidation
		}
		return fault.Fatal(fmt.Errorf("slot %s is lost: %s; changes made since %s cannot be streamed any more", slot, reason, LSN(s.ConfirmedLSN)),
			"the source is whole, the target has missed changes: read all tables again with a new slot: resync with segue run reader --new-history, and raise max_slot_wal_keep_size first")
	}
	return nil
}

var slotName = regexp.MustCompile(`^[a-z0-9_]{1,63}$`)

func checkSlotName(slot string) error {
	if !slotName.MatchString(slot) {
		return fault.Fatal(fmt.Errorf("slot name %q: want 1 to 63 of a-z, 0-9 and _", slot), "")
	}
	return nil
}

func startError(slot string, err error) error {
	safe := postgres.Safe(err)
	switch postgres.SQLState(safe) {
	case "55006":
		safe = fmt.Errorf("another process has it: %w", safe)
	case "42704":
		safe = fault.Fatal(safe, "the slot was dropped, changes since then are not in any stream: read all tables again with a new slot: resync with segue run reader --new-history")
	case "55000":
		safe = fault.Fatal(safe, "see wal_status in pg_replication_slots: when it is lost, read all tables again with a new slot: resync with segue run reader --new-history")
	}
	return fmt.Errorf("stream slot %s: %w", slot, safe)
}

const holderSQL = `
SELECT a.pid, coalesce(a.application_name, ''), coalesce(pg_catalog.host(a.client_addr), 'a local socket')
FROM pg_catalog.pg_replication_slots s JOIN pg_catalog.pg_stat_activity a ON a.pid = s.active_pid WHERE s.slot_name = $1`

// WithHolder adds to the error of a slot in use who has it, where that can be told.
func WithHolder(ctx context.Context, q postgres.Querier, slot string, err error) error {
	if postgres.SQLState(err) != "55006" {
		return err
	}
	var pid int32
	var app, from string
	if q.QueryRow(ctx, holderSQL, slot).Scan(&pid, &app, &from) != nil {
		return err // it has just let go
	}
	return fmt.Errorf("%w; it is application %s at %s (pid %d)", err, app, from, pid)
}

// EndReader ends the connection that has the slot, where there is one.
func EndReader(ctx context.Context, q postgres.Querier, slot string) error {
	var ended bool
	err := q.QueryRow(ctx, `SELECT coalesce(pg_catalog.bool_and(pg_catalog.pg_terminate_backend(active_pid)), true)
		FROM pg_catalog.pg_replication_slots WHERE slot_name = $1 AND active_pid IS NOT NULL`, slot).Scan(&ended)
	if err != nil {
		return fmt.Errorf("end the reader of slot %s: %w", slot, postgres.Safe(err))
	}
	return nil
}

func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
