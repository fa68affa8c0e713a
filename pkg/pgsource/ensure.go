package pgsource

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"segue/pkg/fault"
	"segue/pkg/postgres"
	"segue/pkg/table"
)

// lockKey is the advisory lock that keeps two processes from setting the same database up at once: "segue" in bytes.
const lockKey = 0x7365677565

// Ensure makes the publication and the slot what the setup says, and changes nothing that is so already. The publication is committed before the slot
// is made: a slot decodes by the catalog of each change's time, and fails on changes from before its publication. It
// waits for transactions that are running when the slot is made.
func Ensure(ctx context.Context, conn *pgx.Conn, s Setup) (SlotState, error) {
	if err := checkSlotName(s.Slot); err != nil {
		return SlotState{}, err
	}
	if len(s.Tables) == 0 {
		return SlotState{}, fault.Fatal(fmt.Errorf("publication %s: no table is selected", s.Publication), "select one at least")
	}
	// Read-only by default is how people keep writers off a store that is being left: the publication is no row of theirs.
	if _, err := conn.Exec(ctx, `SET default_transaction_read_only = off`); err != nil {
		return SlotState{}, fmt.Errorf("publication %s: %w", s.Publication, postgres.Safe(err))
	}
	added, removed, err := ensurePublication(ctx, conn, s)
	if err != nil {
		return SlotState{}, fmt.Errorf("publication %s: %w", s.Publication, err)
	}
	state, created, err := ensureSlot(ctx, conn, s.Slot)
	if err != nil {
		return SlotState{}, err
	}
	state.Created, state.Added, state.Removed = created, added, removed
	return state, nil
}

func ensureSlot(ctx context.Context, conn *pgx.Conn, slot string) (SlotState, bool, error) {
	var database string
	if err := conn.QueryRow(ctx, `SELECT pg_catalog.current_database()`).Scan(&database); err != nil {
		return SlotState{}, false, fmt.Errorf("slot %s: %w", slot, postgres.Safe(err))
	}
	state, err := Inspect(ctx, conn, slot)
	if err != nil {
		return SlotState{}, false, err
	}
	created := false
	if !state.Exists {
		if created, err = createSlot(ctx, conn, slot); err != nil {
			return SlotState{}, false, err
		}
		if state, err = Inspect(ctx, conn, slot); err != nil {
			return SlotState{}, false, err
		}
	}
	return state, created, state.Check(slot, database)
}

// createSlot returns false where another process was faster. From PostgreSQL 17 on the slot follows a failover.
func createSlot(ctx context.Context, conn *pgx.Conn, slot string) (bool, error) {
	sql := `SELECT pg_catalog.pg_create_logical_replication_slot($1, 'pgoutput')`
	version, err := serverVersion(ctx, conn)
	if err != nil {
		return false, fmt.Errorf("create slot %s: %w", slot, err)
	}
	if version >= 170000 {
		sql = `SELECT pg_catalog.pg_create_logical_replication_slot($1, 'pgoutput', false, false, true)`
	}
	_, err = conn.Exec(ctx, sql, slot)
	safe := postgres.Safe(err)
	switch postgres.SQLState(safe) {
	case "42710":
		return false, nil
	case "42501":
		safe = fault.Fatal(safe, "run ALTER ROLE … REPLICATION for the role that segue connects as")
	case "55000":
		safe = fault.Fatal(safe, "run ALTER SYSTEM SET wal_level = 'logical', then restart the server")
	case "53400":
		safe = fault.Fatal(safe, "drop a slot that nothing needs, or raise max_replication_slots and restart the server")
	}
	if safe != nil {
		return false, fmt.Errorf("create slot %s: %w", slot, safe)
	}
	return true, nil
}

func serverVersion(ctx context.Context, q postgres.Querier) (version int, err error) {
	err = q.QueryRow(ctx, `SELECT pg_catalog.current_setting('server_version_num')::int`).Scan(&version)
	return version, postgres.Safe(err)
}

// DropSlot removes a slot; one that is not there is no error. A slot in use is a transient one.
func DropSlot(ctx context.Context, conn *pgx.Conn, slot string) error {
	_, err := conn.Exec(ctx, `SELECT pg_catalog.pg_drop_replication_slot(slot_name) FROM pg_catalog.pg_replication_slots WHERE slot_name = $1`, slot)
	if safe := postgres.Safe(err); safe != nil && postgres.SQLState(safe) != "42704" {
		return fmt.Errorf("drop slot %s: %w", slot, safe)
	}
	return nil
}

// DropSQL is what Drop would run now: nothing of what is not there.
func DropSQL(ctx context.Context, q postgres.Querier, s Setup) (out []string, err error) {
	var slot, publication bool
	err = q.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_catalog.pg_replication_slots WHERE slot_name = $1),
		EXISTS (SELECT FROM pg_catalog.pg_publication WHERE pubname = $2)`, s.Slot, s.Publication).Scan(&slot, &publication)
	if err != nil {
		return nil, fmt.Errorf("look for slot %s and publication %s: %w", s.Slot, s.Publication, postgres.Safe(err))
	}
	if slot {
		out = append(out, `SELECT pg_catalog.pg_drop_replication_slot(`+literal(s.Slot)+`)`)
	}
	if publication {
		out = append(out, `DROP PUBLICATION IF EXISTS `+table.Quote(s.Publication))
	}
	return out, nil
}

// Drop removes the slot and then the publication, without which the slot's log could not be decoded any more; what is not there is no
// error. A slot in use is a transient one.
func Drop(ctx context.Context, conn *pgx.Conn, s Setup) error {
	if err := DropSlot(ctx, conn, s.Slot); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, `DROP PUBLICATION IF EXISTS `+table.Quote(s.Publication)); err != nil {
		return fmt.Errorf("drop publication %s: %w", s.Publication, postgres.Safe(err))
	}
	return nil
}
