package pgtarget

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"segue/pkg/change"
	"segue/pkg/fault"
	"segue/pkg/frontier"
	"segue/pkg/postgres"
)

const (
	lockTimeout  = 10 * time.Second
	closeTimeout = 2 * time.Second
)

// transaction is the open target transaction.
type transaction struct {
	open     bool
	slices   int // plans applied in it
	counters Counters
	asked    []pendingKey // that become pending with the commit
	arrived  []pendingKey // that end being pending with it
	parking  parking
}

const (
	savepointSQL = "SAVEPOINT segue"
	rollbackSQL  = "ROLLBACK TO SAVEPOINT segue"
	releaseSQL   = "RELEASE SAVEPOINT segue"
	stepSQL      = "SAVEPOINT segue_step"
	stepDoneSQL  = "RELEASE SAVEPOINT segue_step"
	stepBackSQL  = "ROLLBACK TO SAVEPOINT segue_step"
	immediateSQL = "SET CONSTRAINTS ALL IMMEDIATE"
	deferredSQL  = "SET CONSTRAINTS ALL DEFERRED"
)

// moveProgressSQL moves the row on. It must touch exactly one row, else it divides by zero: so it may be sent together with
// the COMMIT behind it, which the server then skips.
const moveProgressSQL = `
WITH moved AS (
	UPDATE segue.progress SET epoch = $1::text::bigint, lsn = $2::text::pg_catalog.pg_lsn, seq = $3::text::bigint,
	       frontier_offset = $4::text::bigint, incarnation = $5::text::bigint,
	       committed = 'epoch'::timestamptz + $6::text::double precision * '1 microsecond'::interval,
	       applied = pg_catalog.clock_timestamp(), changes = changes + $7::text::bigint,
	       row_ops = row_ops + $8::text::bigint, filtered = filtered + $9::text::bigint, parked = parked + $10::text::bigint
	WHERE migration = $11::text AND owner = $12::text AND epoch = $13::text::bigint AND lsn = $14::text::pg_catalog.pg_lsn
	  AND seq = $15::text::bigint AND frontier_offset = $16::text::bigint AND decisions = $17::text::bigint
	RETURNING 1)
SELECT 1 / pg_catalog.count(*) FROM moved`

// progressParams are the row's new values and those that it must have.
func (t *Target) progressParams(to frontier.Cursor, committed int64, c Counters) [][]byte {
	var micros []byte
	if committed > 0 {
		micros = strconv.AppendInt(nil, committed, 10)
	}
	n := func(i int64) []byte { return strconv.AppendInt(nil, i, 10) }
	at := func(p change.Position) [][]byte {
		return [][]byte{[]byte(epochText(p)), []byte(lsnText(p.LSN)), []byte(seqText(p))}
	}
	out := append(at(to.At), n(to.Offset), n(to.Incarnation), micros, n(c.Changes), n(c.RowOps), n(c.Filtered), n(c.Parked),
		[]byte(t.cfg.Migration), []byte(t.owner))
	return append(append(out, at(t.progress.At)...), n(t.progress.Offset), n(t.progress.Decisions))
}

// exec runs statements without parameters in one round trip.
func (t *Target) exec(ctx context.Context, sql ...string) error {
	_, err := t.conn.PgConn().Exec(ctx, strings.Join(sql, "; ")).ReadAll()
	return err
}

// Rollback takes back an open transaction: everything behind the last commit.
func (t *Target) Rollback(ctx context.Context) error {
	t.tx = transaction{}
	if t.conn.IsClosed() || t.conn.PgConn().TxStatus() == 'I' {
		return nil
	}
	return step("roll back", t.exec(ctx, "ROLLBACK"))
}

// noteLost remembers until the server is back that slices are gone: they must be read again, or the rest of their transaction would commit alone.
func (t *Target) noteLost() {
	if t.lost == nil && t.tx.slices > 0 {
		t.lost = fmt.Errorf("an open target transaction was lost: %w", ErrRewind)
	}
}

// Recover makes the target usable behind a transient error: the transaction is rolled back, or the connection made again.
// The row then says what was committed: a plan whose COMMIT had an unknown outcome is there if Cursor is where it ends. ErrRewind says that
// more is gone than the open transaction: what comes next from the source does not fit any more.
func (t *Target) Recover(ctx context.Context) error {
	t.noteLost()
	if !t.conn.IsClosed() {
		if err := t.Rollback(ctx); err != nil && !t.conn.IsClosed() {
			return err
		}
	}
	t.tx = transaction{}
	if t.conn.IsClosed() {
		if err := t.reconnect(ctx); err != nil {
			return err
		}
	}
	lost := t.lost
	t.lost = nil
	return lost
}

// reconnect comes back as the same owner: where the row names another one, this process has been taken over.
func (t *Target) reconnect(ctx context.Context) error {
	before := t.progress
	if err := t.connect(ctx); err != nil {
		return awaited(err)
	}
	// The old backend may still be busy with a COMMIT: the row is read when it has gone.
	err := t.terminate(ctx, before.BackendPID, before.BackendStart)
	if err == nil {
		err = t.writeOwner(ctx, true)
	}
	if err != nil {
		t.Close()
		return err
	}
	t.lost = cmp.Or(t.lost, back(&before, &t.progress))
	t.notes = nil
	t.tagOrigin(ctx)
	return nil
}

// awaited makes a refused connection something to wait for: the same URL has led here before, so somebody works on the server or its roles.
func awaited(err error) error {
	if !postgres.Refused(err) {
		return err
	}
	return &fault.Error{Err: err, Class: fault.ClassTransient, Hint: "this process was let in before: look at the role, its password, the database and pg_hba.conf; " +
		"where the URL has to change, start again with the new one"}
}

// back says that the server has less than it told this process: commits are asynchronous, and a crash loses the last ones; a standby that is
// promoted may lack more. Rows and progress go back together. Nil where it has all.
func back(before, now *Progress) error {
	switch {
	case now.Offset < before.Offset || now.At.Before(before.At):
		return fmt.Errorf("the target has lost its last commits, as a crash or a failover does: it stood at %s and stands at %s: %w", before.At, now.At, ErrRewind)
	case now.Loaded != before.Loaded:
		return fmt.Errorf("the target has another word on the initial load than it gave (complete: %t, it was %t): %w", now.Loaded, before.Loaded, ErrRewind)
	}
	return nil
}

// serverError says whether the error is the server's answer to a statement, so that the connection can go on.
func serverError(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg)
}
