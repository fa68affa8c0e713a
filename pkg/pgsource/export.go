package pgsource

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pglogrepl"

	"segue/pkg/fault"
	"segue/pkg/postgres"
	"segue/pkg/table"
)

// Exported is a snapshot of the source that stands exactly between two commits of its log.
type Exported struct {
	// Point: the snapshot sees every transaction whose commit lies below it, and no other.
	Point uint64
	// Name is what SET TRANSACTION SNAPSHOT takes, as long as nobody called close.
	Name string
}

// Export makes a temporary slot of that name for its snapshot alone; nothing is streamed from it. It waits until all transactions have ended
// that were running when it began. close drops the slot: the log and the catalog rows that it holds back are free again, while who
// imported the snapshot goes on seeing it.
func Export(ctx context.Context, url, app, slot string) (e Exported, closeSlot func(), err error) {
	if err := checkSlotName(slot); err != nil {
		return e, nil, err
	}
	conn, err := postgres.ConnectReplication(ctx, url, app)
	if err != nil {
		return e, nil, err
	}
	closeSlot = func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropTimeout)
		defer cancel()
		_ = conn.Close(ctx)
	}
	made, err := pglogrepl.CreateReplicationSlot(ctx, conn, table.Quote(slot), "pgoutput",
		pglogrepl.CreateReplicationSlotOptions{Temporary: true, SnapshotAction: "EXPORT_SNAPSHOT", Mode: pglogrepl.LogicalReplication})
	if err != nil {
		closeSlot()
		return e, nil, exportError(slot, err)
	}
	point, err := pglogrepl.ParseLSN(made.ConsistentPoint)
	if err != nil {
		closeSlot()
		return e, nil, fmt.Errorf("make temporary slot %s: %w", slot, err)
	}
	return Exported{Point: uint64(point), Name: made.SnapshotName}, closeSlot, nil
}

// dropTimeout bounds the goodbye; the server drops the slot with the connection in any case.
const dropTimeout = 2 * time.Second

func exportError(slot string, err error) error {
	safe := postgres.Safe(err)
	switch postgres.SQLState(safe) {
	case "53400":
		return fault.Transient(fmt.Errorf("make temporary slot %s, to load a table without key: no slot or WAL sender is free, "+
			"raise max_replication_slots and max_wal_senders: %w", slot, safe))
	case "40001", "42710": // too many transactions at once; the one of a lost connection is on its way out
		return fault.Transient(fmt.Errorf("make temporary slot %s: %w", slot, safe))
	}
	return fmt.Errorf("make temporary slot %s: %w", slot, safe)
}
