package pgtest

import (
	"context"
	"net/url"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

const cleanupTimeout = 30 * time.Second

// Database creates an empty database on Server and returns a superuser's URL of it. At the end of the test its sessions
// are ended, its slots and the database dropped.
func Database(t testing.TB) string {
	t.Helper()
	return Server(t).Database(t)
}

// Database is like the function, on this cluster.
func (c *Cluster) Database(t testing.TB) string {
	t.Helper()
	return c.DatabaseWith(t, "")
}

// dropDatabase ends the slots' senders first: a slot in use cannot be dropped, a database with slots neither.
func (c *Cluster) dropDatabase(ctx context.Context, t testing.TB, name string) {
	t.Helper()
	c.admin(ctx, t,
		`SELECT pg_terminate_backend(active_pid, 10000) FROM pg_replication_slots WHERE active AND database = '`+name+`'`,
		`SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active AND database = '`+name+`'`,
		`DROP DATABASE `+name+` WITH (FORCE)`)
}

// admin runs statements on the database postgres. They wait for no standby, which Held may lack.
func (c *Cluster) admin(ctx context.Context, t testing.TB, statements ...string) {
	t.Helper()
	conn, err := pgx.Connect(ctx, c.URL)
	if err != nil {
		t.Fatalf("test server: %v", err)
	}
	defer conn.Close(ctx)
	for _, sql := range append([]string{`SET synchronous_commit = local`}, statements...) {
		if _, err := conn.Exec(ctx, sql); err != nil {
			t.Errorf("test server: %s: %v", sql, err)
		}
	}
}

func withDatabase(t testing.TB, raw, name string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatalf("test server: %v", err)
	}
	u.Path = "/" + name
	return u.String()
}

// Connect opens a connection that is closed at the end of the test.
func Connect(t testing.TB, rawURL string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), rawURL)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// Exec runs statements and fails the test at the first that fails.
func Exec(t testing.TB, conn *pgx.Conn, statements ...string) {
	t.Helper()
	for _, sql := range statements {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}
