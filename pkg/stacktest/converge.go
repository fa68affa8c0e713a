package stacktest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Progress is what the target's own row says.
type Progress struct {
	Passed  bool // everything below the asked place in the source's log is applied
	Loaded  bool
	Pending int64
	Changes int64
}

const progressSQL = `SELECT lsn >= $2::pg_lsn, loaded, (SELECT count(*) FROM segue.pending n WHERE n.migration = p.migration), changes
FROM segue.progress p WHERE migration = $1`

// Progress reads the target's progress row against a place in the source's log.
func (s *Stack) Progress(ctx context.Context, conn *pgx.Conn, lsn string) (p Progress, err error) {
	err = conn.QueryRow(ctx, progressSQL, s.Migration, lsn).Scan(&p.Passed, &p.Loaded, &p.Pending, &p.Changes)
	var state *pgconn.PgError
	if errors.Is(err, pgx.ErrNoRows) || (errors.As(err, &state) && (state.Code == "42P01" || state.Code == "3F000")) {
		return p, nil // the applier has not been there yet
	}
	return p, err
}

// Marker commits a message in the source's log and returns its place: what was committed before lies before it.
func (s *Stack) Marker(tb testing.TB) (lsn string) {
	tb.Helper()
	conn, err := pgx.Connect(tb.Context(), s.Legacy)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	if err := conn.QueryRow(tb.Context(), "SELECT pg_logical_emit_message(true, 'stacktest', '')::text").Scan(&lsn); err != nil {
		tb.Fatal(err)
	}
	return lsn
}

// Applied waits until the target has everything that the source has committed by now: the load is done, the position is behind a marker
// and nothing is pending.
func (s *Stack) Applied(tb testing.TB, within time.Duration) {
	tb.Helper()
	s.Passed(tb, s.Marker(tb), within, func(p Progress) bool { return p.Passed && p.Loaded && p.Pending == 0 })
}

// Passed waits until the progress row is as wanted, held against a marker. A service that ends by itself ends the wait.
func (s *Stack) Passed(tb testing.TB, lsn string, within time.Duration, wanted func(Progress) bool) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), within)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.Target)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	var p Progress
	err = await(ctx, "the target to pass "+lsn, func() (ok bool, err error) {
		if err := s.Running(); err != nil {
			return false, err
		}
		p, err = s.Progress(ctx, conn, lsn)
		return err == nil && wanted(p), err
	})
	if err != nil {
		tb.Fatalf("%v (progress: %+v)\n%s", err, p, s.Command(tb, 30*time.Second, "status"))
	}
}
