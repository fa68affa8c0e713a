package postgres_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"segue/pkg/pgtest"
	"segue/pkg/postgres"
)

func TestPinHoldsForTheTransactionAlone(t *testing.T) {
	conn := pgtest.Connect(t, pgtest.Database(t))
	pgtest.Exec(t, conn, `SET datestyle = 'SQL, DMY'`, `SET statement_timeout = '1h'`, `SET search_path = public`, `SET lock_timeout = '2h'`)
	const sql = `SELECT '2024-02-03'::date::text || ' ' || current_setting('statement_timeout') || ' ' || current_setting('row_security') || ' ' || current_setting('search_path')`
	read := func(q postgres.Querier) (s string) {
		t.Helper()
		if err := q.QueryRow(t.Context(), sql).Scan(&s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := postgres.Pin(t.Context(), tx); err != nil {
		t.Fatal(err)
	}
	if got := read(tx); strings.TrimSpace(strings.ReplaceAll(got, `""`, "")) != "2024-02-03 0 off" {
		t.Errorf("inside: %q", got)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := read(conn); got != "03/02/2024 1h on public" {
		t.Errorf("behind: %q", got)
	}
}

// A chunk locks its table before it takes its snapshot: pinning must not take one.
func TestPinTakesNoSnapshot(t *testing.T) {
	url := pgtest.Database(t)
	conn, other := pgtest.Connect(t, url), pgtest.Connect(t, url)
	pgtest.Exec(t, conn, `CREATE TABLE t (n int)`)
	tx, err := conn.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		t.Fatal(err)
	}
	if err := postgres.Pin(t.Context(), tx); err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, other, `INSERT INTO t VALUES (1)`)
	var n int
	if err := tx.QueryRow(t.Context(), `SELECT count(*) FROM public.t`).Scan(&n); err != nil || n != 1 {
		t.Errorf("%d rows, %v: the snapshot was taken before", n, err)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestPinStatementsAreSingle(t *testing.T) {
	all := postgres.PinStatements()
	if strings.Join(all, "; ") != postgres.PinSQL() || len(all) < 14 {
		t.Errorf("%q", all)
	}
	for _, s := range all {
		if !strings.HasPrefix(s, "SET LOCAL ") || strings.Contains(s, ";") {
			t.Errorf("%q", s)
		}
	}
}
