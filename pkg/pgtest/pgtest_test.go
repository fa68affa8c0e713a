package pgtest_test

import (
	"context"
	"testing"

	"segue/pkg/embedded"
	"segue/pkg/pgtest"
)

func TestDatabasesAreApart(t *testing.T) {
	a, b := pgtest.Connect(t, pgtest.Database(t)), pgtest.Connect(t, pgtest.Database(t))
	pgtest.Exec(t, a, `CREATE TABLE t (n int)`)
	pgtest.Exec(t, b, `CREATE TABLE t (n int)`)
}

func TestDatabaseGoesWithItsSlots(t *testing.T) {
	admin := pgtest.Connect(t, pgtest.Server(t).URL)
	var name string
	t.Run("uses a slot", func(t *testing.T) {
		conn := pgtest.Connect(t, pgtest.Database(t))
		if err := conn.QueryRow(t.Context(), `SELECT current_database() FROM pg_create_logical_replication_slot(current_database(), 'pgoutput')`).Scan(&name); err != nil {
			t.Fatal(err)
		}
	})
	var left int
	err := admin.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM pg_database WHERE datname = $1) + (SELECT count(*) FROM pg_replication_slots WHERE slot_name = $1)`, name).Scan(&left)
	if err != nil || left != 0 || name == "" {
		t.Errorf("database %q: %d things left, %v", name, left, err)
	}
}

// A private cluster starts again where it was, with what it held.
func TestPrivateClusterRestarts(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a PostgreSQL cluster three times")
	}
	bin, err := pgtest.Binaries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cfg := embedded.PostgresConfig{Dir: shortDir(t), Bin: bin, Settings: map[string]string{"fsync": "off"}}
	p, err := embedded.StartPostgres(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	url := p.URL("postgres")
	conn := pgtest.Connect(t, url)
	pgtest.Exec(t, conn, `CREATE TABLE kept (n int)`, `INSERT INTO kept VALUES (7)`)
	if err := p.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, crash := range []bool{true, false} {
		if p, err = embedded.StartPostgres(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		if p.URL("postgres") != url {
			t.Errorf("restarted at %s, was at %s", p.URL("postgres"), url)
		}
		var n int
		if err := pgtest.Connect(t, url).QueryRow(t.Context(), `SELECT n FROM kept`).Scan(&n); err != nil || n != 7 {
			t.Errorf("kept row: %d, %v", n, err)
		}
		if crash {
			p.Kill()
		} else if err := p.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	}
}
