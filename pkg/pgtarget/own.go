package pgtarget

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"segue/pkg/fault"
	"segue/pkg/frontier"
	"segue/pkg/postgres"
)

// own takes the migration over: the backend that the row names is terminated, then the row names this one. An older owner's commit
// fails from then on, because each commit wants to find its own name in the row.
func (t *Target) own(ctx context.Context) error {
	old, err := ReadProgress(ctx, t.conn, t.cfg.Migration)
	if err != nil {
		return err
	}
	if old != nil {
		if err := t.mayOwn(old); err != nil {
			return err
		}
		if err := t.terminate(ctx, old.BackendPID, old.BackendStart); err != nil {
			return err
		}
	}
	return t.writeOwner(ctx, false)
}

// mayOwn refuses what would make the offsets or the rows in the target mean something else.
func (t *Target) mayOwn(p *Progress) error {
	if p.Mode != t.cfg.Mode && p.Offset >= 0 {
		return fault.Fatal(&ModeError{Target: string(p.Mode), Own: string(t.cfg.Mode)},
			"start in the former mode, let it drain (reader stopped, everything applied), then switch")
	}
	if p.Fingerprint != t.cfg.Fingerprint && !t.cfg.AcceptMapping && p.Offset >= 0 {
		return fault.Fatal(&FingerprintError{Target: p.Fingerprint, Own: t.cfg.Fingerprint},
			"rows that are already on the target keep the old mapping: accept the new one from here on (--accept-mapping), or replay or resync the tables")
	}
	return nil
}

// terminateWait is how long the server waits for a terminated backend to end.
const terminateWait = 10 * time.Second

// terminate ends the backend that has this pid and was started then, where it is this role's and this database's.
func (t *Target) terminate(ctx context.Context, pid int32, start time.Time) error {
	var gone *bool
	err := t.conn.QueryRow(ctx, `
		SELECT pg_catalog.bool_and(pg_catalog.pg_terminate_backend(pid, $3))
		FROM pg_catalog.pg_stat_activity
		WHERE pid = $1 AND backend_start = $2 AND pid <> pg_catalog.pg_backend_pid()
		  AND datname = pg_catalog.current_database() AND usename = current_user`,
		pid, start, terminateWait.Milliseconds()).Scan(&gone)
	if err != nil {
		return step("terminate the former owner's backend", err)
	}
	if gone != nil && !*gone {
		return fault.Transient(fmt.Errorf("terminate the former owner's backend %d: it has not ended yet", pid))
	}
	return nil
}

// writeOwner makes this backend the owner, under the row's lock. again: it was so before, and stays it only where nobody else was in between.
// A row that names the owner before this one is no other's: the server has lost the take-over.
func (t *Target) writeOwner(ctx context.Context, again bool) error {
	before := t.progress
	var former string
	err := pgx.BeginFunc(ctx, t.conn, func(tx pgx.Tx) error {
		if err := postgres.Pin(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `
			INSERT INTO segue.progress (migration, mode, fingerprint, owner, backend_pid, backend_start)
			VALUES ($1, $2, $3, $4, 0, 'epoch') ON CONFLICT DO NOTHING`,
			t.cfg.Migration, t.cfg.Mode, t.cfg.Fingerprint, t.owner); err != nil {
			return err
		}
		var owner string
		if err := tx.QueryRow(ctx, `SELECT owner FROM segue.progress WHERE migration = $1 FOR UPDATE`, t.cfg.Migration).Scan(&owner); err != nil {
			return err
		}
		if again && owner != t.owner && owner != t.former {
			return takenOver()
		}
		former = owner
		if _, err := tx.Exec(ctx, `
			UPDATE segue.progress SET owner = $2, mode = $3, fingerprint = $4, backend_pid = pg_catalog.pg_backend_pid(),
			       backend_start = (SELECT backend_start FROM pg_catalog.pg_stat_activity WHERE pid = pg_catalog.pg_backend_pid())
			WHERE migration = $1`, t.cfg.Migration, t.owner, t.cfg.Mode, t.cfg.Fingerprint); err != nil {
			return err
		}
		return t.readOwned(ctx, tx)
	})
	if err != nil {
		t.progress = before // what it has committed is what counts until the row could be read
		return step("take over the progress row of "+t.cfg.Migration, err)
	}
	if !again {
		t.former = former
	}
	return nil
}

// readOwned takes what the row and the pending list say as the state to go on from.
func (t *Target) readOwned(ctx context.Context, tx pgx.Tx) error {
	p, err := scanProgress(tx.QueryRow(ctx, progressSQL, t.cfg.Migration))
	if err != nil {
		return err
	}
	if err := t.mayOwn(p); err != nil {
		return err
	}
	t.progress = *p
	if err := t.parked.load(ctx, tx, t.cfg.Migration); err != nil {
		return err
	}
	if err := t.known.load(ctx, tx, t.cfg.Migration); err != nil {
		return err
	}
	return t.pending.load(ctx, tx, t.cfg.Migration)
}

// SwitchMode makes a drained migration's row fit another mode: cursor is where the other input stands at the row's
// position. The caller has made sure that everything up to there is applied; a row at another position is refused.
func SwitchMode(ctx context.Context, conn *pgx.Conn, migration string, to Mode, cursor frontier.Cursor) error {
	tag, err := conn.Exec(ctx, `
		UPDATE segue.progress SET mode = $2, frontier_offset = $3, incarnation = $4
		WHERE migration = $1 AND epoch = $5::text::bigint AND lsn = $6::text::pg_catalog.pg_lsn AND seq = $7::text::bigint`,
		migration, to, cursor.Offset, cursor.Incarnation, epochText(cursor.At), lsnText(cursor.At.LSN), seqText(cursor.At))
	if err != nil {
		return step("switch mode of "+migration, err)
	}
	if tag.RowsAffected() != 1 {
		return fault.Fatal(errors.New("switch mode of "+migration+": the target does not stand at that position"),
			"start in the former mode and let it drain first")
	}
	return nil
}
