package pgtarget

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"segue/pkg/change"
	"segue/pkg/postgres"
	"segue/pkg/table"
)

// Snapshot is what another session may see the target through: exactly everything at or before At.
type Snapshot struct {
	Mark    string
	ID      string // for SET TRANSACTION SNAPSHOT
	At      change.Position
	Expires time.Time
}

// Held is an exported snapshot and the two connections that belong to it: one holds the transaction open, the other
// keeps the record that others find it by.
type Held struct {
	Snapshot
	migration string
	holder    *pgx.Conn
	records   *pgx.Conn
}

// releaseChannel is where NOTIFY wakes a holder, so that it looks whether its snapshot was released.
const releaseChannel = "segue_snapshots"

// ExportSnapshot exports a snapshot of the target tables and records it. It is called right behind the commit of the mark's
// frontier, before anything else is applied: the progress row that it sees must say the mark's position. The caller runs
// Hold, which gives it up in the end.
func ExportSnapshot(ctx context.Context, cfg Config, mark string, at change.Position, hold time.Duration) (*Held, error) {
	h := &Held{Snapshot: Snapshot{Mark: mark, At: at}, migration: cfg.Migration}
	var err error
	if h.holder, err = postgres.Connect(ctx, cfg.URL, cfg.App); err != nil {
		return nil, err
	}
	if h.records, err = postgres.Connect(ctx, cfg.URL, cfg.App); err != nil {
		h.Close()
		return nil, err
	}
	if err = h.export(ctx, cfg.Targets, hold); err != nil {
		h.Close()
		return nil, step("export a snapshot at "+at.String(), err)
	}
	return h, nil
}

func (h *Held) export(ctx context.Context, targets []*change.Target, hold time.Duration) error {
	// The locks come first and by LOCK alone, which takes no snapshot: a TRUNCATE or a rewrite that commits between
	// the snapshot and a first read would show empty tables.
	_, err := h.holder.Exec(ctx, fmt.Sprintf("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; %s; SET LOCAL lock_timeout = %d; %s",
		postgres.PinSQL(), lockTimeout.Milliseconds(), lockSQL(targets)), pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return err
	}
	if err := h.holder.QueryRow(ctx, `SELECT pg_catalog.pg_export_snapshot()`).Scan(&h.ID); err != nil {
		return err
	}
	p, err := scanProgress(h.holder.QueryRow(ctx, progressSQL, h.migration))
	if err != nil {
		return err
	}
	if p.At != h.At {
		return fmt.Errorf("the target stands at %s already", p.At)
	}
	return h.record(ctx, hold)
}

func lockSQL(targets []*change.Target) string {
	seen := map[table.Name]bool{}
	var names []string
	for _, t := range targets {
		if !seen[t.Table.Name] {
			seen[t.Table.Name] = true
			names = append(names, t.Table.Name.SQL())
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "LOCK TABLE " + strings.Join(names, ", ") + " IN ACCESS SHARE MODE"
}

func (h *Held) record(ctx context.Context, hold time.Duration) error {
	if _, err := h.records.Exec(ctx, "LISTEN "+releaseChannel); err != nil {
		return err
	}
	if _, err := h.records.Exec(ctx, `DELETE FROM segue.snapshots WHERE migration = $1 AND expires < pg_catalog.clock_timestamp()`, h.migration); err != nil {
		return err
	}
	return h.records.QueryRow(ctx, `
		INSERT INTO segue.snapshots (migration, mark, snapshot, epoch, lsn, seq, expires)
		VALUES ($1, $2, $3, $4::text::bigint, $5::text::pg_catalog.pg_lsn, $6::text::bigint, pg_catalog.clock_timestamp() + $7 * '1 millisecond'::interval)
		ON CONFLICT (migration, mark) DO UPDATE SET snapshot = excluded.snapshot, epoch = excluded.epoch, lsn = excluded.lsn,
		       seq = excluded.seq, expires = excluded.expires, released = false
		RETURNING expires`,
		h.migration, h.Mark, h.ID, epochText(h.At), lsnText(h.At.LSN), seqText(h.At), float64(hold.Milliseconds())).Scan(&h.Expires)
}

// Hold keeps the snapshot until it is released, it expires or ctx ends. Then the record and the snapshot are gone.
func (h *Held) Hold(ctx context.Context) error {
	defer h.Close()
	for {
		var done bool
		var left float64
		err := h.records.QueryRow(ctx, `
			SELECT released OR expires < pg_catalog.clock_timestamp(), extract(epoch FROM expires - pg_catalog.clock_timestamp())::float8
			FROM segue.snapshots WHERE migration = $1 AND mark = $2`, h.migration, h.Mark).Scan(&done, &left)
		if err != nil {
			return step("hold a snapshot", err)
		}
		if done {
			_, err := h.records.Exec(ctx, `DELETE FROM segue.snapshots WHERE migration = $1 AND mark = $2`, h.migration, h.Mark)
			return step("drop the record of a snapshot", err)
		}
		wait, cancel := context.WithTimeout(ctx, time.Duration(left*float64(time.Second))+time.Millisecond)
		_, err = h.records.WaitForNotification(wait)
		expired := wait.Err() != nil
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil && (!expired || h.records.IsClosed()) {
			return step("hold a snapshot", err)
		}
	}
}

// Close ends the snapshot. Closing twice is fine.
func (h *Held) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	for _, conn := range []*pgx.Conn{h.holder, h.records} {
		if conn != nil {
			_ = conn.Close(ctx)
		}
	}
}

// ReadSnapshot returns the live snapshot of a mark, nil where there is none.
func ReadSnapshot(ctx context.Context, q postgres.Querier, migration, mark string) (*Snapshot, error) {
	var s Snapshot
	var epoch, seq int64
	var lsn string
	rows, err := q.Query(ctx, `
		SELECT mark, snapshot, epoch, (lsn - '0/0'::pg_catalog.pg_lsn)::text, seq, expires FROM segue.snapshots
		WHERE migration = $1 AND mark = $2 AND NOT released AND expires > pg_catalog.clock_timestamp()`, migration, mark)
	if err != nil {
		return nil, step("look for a snapshot", err)
	}
	defer rows.Close()
	if !rows.Next() {
		return nil, step("look for a snapshot", rows.Err())
	}
	if err := rows.Scan(&s.Mark, &s.ID, &epoch, &lsn, &seq, &s.Expires); err != nil {
		return nil, step("look for a snapshot", err)
	}
	s.At, err = position(epoch, lsn, seq)
	return &s, err
}

// ReleaseSnapshot tells the holder of a mark's snapshot that nobody needs it any more.
func ReleaseSnapshot(ctx context.Context, conn *pgx.Conn, migration, mark string) error {
	_, err := conn.Exec(ctx, `
		WITH released AS (UPDATE segue.snapshots SET released = true WHERE migration = $1 AND mark = $2 RETURNING 1)
		SELECT pg_catalog.pg_notify($3, '') FROM released`, migration, mark, releaseChannel)
	return step("release a snapshot", err)
}
