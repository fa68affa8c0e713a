package pgsource

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"

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

	// Created, Added and Removed are what Ensure did: it made the slot, it changed the publication's tables.
	Created        bool
	Added, Removed []table.Name
}

// End is where the server's log ended when it was asked. It never goes back in one history.
func (s *SlotState) End() uint64 { return s.ConfirmedLSN + uint64(s.UnconfirmedBytes) }

const inspectSQL = `
SELECT coalesce(s.plugin, ''), coalesce(s.database, ''), s.temporary, s.active, coalesce(s.active_pid, 0),
       coalesce(s.confirmed_flush_lsn - '0/0', 0)::bigint, coalesce(s.restart_lsn - '0/0', 0)::bigint,
       coalesce(pg_catalog.pg_wal_lsn_diff(w.now, s.restart_lsn), 0)::bigint,
       coalesce(pg_catalog.pg_wal_lsn_diff(w.now, s.confirmed_flush_lsn), 0)::bigint,
       coalesce(s.wal_status, ''), coalesce(pg_catalog.to_jsonb(s) ->> 'invalidation_reason', ''),
       coalesce(s.safe_wal_size, -1), coalesce(pg_catalog.age(s.catalog_xmin), 0)::bigint
FROM pg_catalog.pg_replication_slots s,
     LATERAL (SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_lsn() END AS now) w
WHERE s.slot_name = $1`

// Inspect asks the server for a slot's state. One that does not exist is no error.
func Inspect(ctx context.Context, q postgres.Querier, slot string) (SlotState, error) {
	s := SlotState{Exists: true}
	err := q.QueryRow(ctx, inspectSQL, slot).Scan(&s.Plugin, &s.Database, &s.Temporary, &s.Active, &s.ActivePID,
		&s.ConfirmedLSN, &s.RestartLSN, &s.RetainedBytes, &s.UnconfirmedBytes, &s.WALStatus, &s.Invalidation,
		&s.SafeWALSize, &s.CatalogXminAge)
	if errors.Is(err, pgx.ErrNoRows) {
		return SlotState{SafeWALSize: -1}, nil
	}
	if err != nil {
		return SlotState{}, fmt.Errorf("inspect slot %s: %w", slot, postgres.Safe(err))
	}
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

func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
