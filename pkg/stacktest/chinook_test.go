package stacktest_test

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"segue/pkg/kafkatest"
	"segue/pkg/stacktest"
)

// A database that other people designed, moved as it is while it changes, and compared by dump.
func TestRealChinook(t *testing.T) {
	script := chinook(t)
	s := stacktest.Open(t, stacktest.Config{Form: stacktest.Fused, Spec: "tables: [{from: \"public.*\"}]\n"})
	legacy, target := stacktest.Connect(t, s.Legacy), stacktest.Connect(t, s.Target)
	run(t, legacy, script)
	run(t, target, script)
	all := tables(t, legacy)
	for _, p := range all { // the target gets the same schema without a row
		run(t, target, strings.Replace(p.Target, "SELECT * FROM", "TRUNCATE", 1)+" CASCADE")
	}
	s.Start(t)
	people := stacktest.Connect(t, s.Legacy)
	for n := range 300 {
		chinookTransaction(t, people, n)
		if n == 150 {
			s.Kill(t, "applier")
			s.Kill(t, "reader")
			s.Start(t, "reader", "applier")
		}
	}
	s.Applied(t, calm)
	if n := s.Compare(t, all); n < 15000 || len(all) != 11 {
		t.Errorf("%d rows of %d tables were compared", n, len(all))
	}
	constraints := func(conn *pgx.Conn) (n int) {
		if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND convalidated AND connamespace = 'public'::regnamespace").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if want, got := constraints(legacy), constraints(target); want == 0 || got != want {
		t.Errorf("%d foreign keys are enforced on the target, %d on the source", got, want)
	}
	if r := s.Command(t, calm, "reconcile", "--wait", "--timeout", "1m"); r.Code != 0 {
		t.Errorf("reconcile: %s", r)
	}
}

// chinook reads the script, which is not ours to keep, from beside the repository.
func chinook(t *testing.T) string {
	t.Helper()
	root, err := kafkatest.Root()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "..", "shared", "data", "chinook", "chinook.sql"))
	if os.IsNotExist(err) {
		t.Skip("NOT TESTED: ../shared/data/chinook/chinook.sql is not beside the repository")
	}
	if err != nil {
		t.Fatal(err)
	}
	// The script makes its own database by psql's means; the stack has one already.
	return without(string(text), "DROP DATABASE", "CREATE DATABASE", `\c`)
}

// without leaves out the lines that begin with one of the words.
func without(text string, words ...string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !slices.ContainsFunc(words, func(w string) bool { return strings.HasPrefix(line, w) }) {
			b.WriteString(line)
		}
	}
	return b.String()
}

// tables are the database's tables, each with the query that reads all of it.
func tables(t *testing.T, conn *pgx.Conn) (pairs []stacktest.Pair) {
	t.Helper()
	rows, err := conn.Query(t.Context(), "SELECT format('SELECT * FROM %I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
	if err != nil {
		t.Fatal(err)
	}
	queries, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range queries {
		pairs = append(pairs, stacktest.Pair{Name: q, Source: q, Target: q})
	}
	return pairs
}

func run(t *testing.T, conn *pgx.Conn, script string) {
	t.Helper()
	if _, err := conn.PgConn().Exec(t.Context(), script).ReadAll(); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "RESET ALL"); err != nil { // dumps set a search path
		t.Fatal(err)
	}
}

// chinookTransaction is what a music shop's people do: sales, price changes, new records, playlists rearranged, staff moved.
func chinookTransaction(t *testing.T, conn *pgx.Conn, n int) {
	t.Helper()
	id := 100_000 + n
	some := func(most int) int { return 1 + rand.IntN(most) }
	var steps []string
	args := map[string]any{"id": id, "customer": some(59), "track": some(3503), "other": some(3503), "employee": 2 + rand.IntN(7), "invoice": some(412)}
	switch n % 6 {
	case 0:
		steps = []string{
			`INSERT INTO invoice (invoice_id, customer_id, invoice_date, billing_country, total) VALUES (@id, @customer, localtimestamp, 'Österreich', 1.98)`,
			`INSERT INTO invoice_line SELECT @id * 10 + i, @id, @track, 0.99, i FROM generate_series(1, 3) i`,
		}
	case 1:
		steps = []string{`UPDATE track SET unit_price = unit_price + 0.10, composer = NULL WHERE track_id IN (@track, @other)`}
	case 2:
		steps = []string{
			`INSERT INTO artist VALUES (@id, 'Björk ' || @id)`, `INSERT INTO album VALUES (@id, 'Début', @id)`,
			`INSERT INTO track VALUES (@id, 'Crying', @id, 1, 1, NULL, 289000, 1, 0.99)`, `INSERT INTO playlist_track VALUES (1, @id)`,
		}
	case 3: // the whole row is the key
		steps = []string{`DELETE FROM playlist_track WHERE playlist_id = 17 AND track_id = @track`,
			`UPDATE playlist_track SET track_id = @id - 1 WHERE (playlist_id, track_id) = (SELECT playlist_id, track_id FROM playlist_track WHERE playlist_id = 5 AND track_id < 100000 LIMIT 1)`}
	case 4: // a table that refers to itself
		steps = []string{`UPDATE employee SET reports_to = CASE reports_to WHEN 1 THEN 2 ELSE 1 END, title = title || '' WHERE employee_id = @employee AND employee_id > 2`,
			`UPDATE customer SET support_rep_id = @employee, company = nullif(company, '') WHERE customer_id = @customer`}
	default:
		steps = []string{`DELETE FROM invoice_line WHERE invoice_id = @invoice`, `DELETE FROM invoice WHERE invoice_id = @invoice`}
	}
	err := pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) error { return each(t.Context(), tx, steps, args) })
	if err != nil {
		t.Fatalf("transaction %d: %v", n, err)
	}
}

func each(ctx context.Context, tx pgx.Tx, steps []string, args map[string]any) error {
	for _, sql := range steps {
		if _, err := tx.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol, pgx.NamedArgs(args)); err != nil {
			return err
		}
	}
	return nil
}
