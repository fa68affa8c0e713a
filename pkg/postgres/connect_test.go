package postgres_test

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"segue/pkg/fault"
	"segue/pkg/pgtest"
	"segue/pkg/postgres"
)

// The password never shows, whatever is wrong with the connection string.
func TestErrorsNeverShowThePassword(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	server := pgtest.Server(t).URL
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("postgres", "s3cr3t&word")
	good := u.String()
	for _, c := range []struct{ url, want string }{
		{"postgres://me:s3cr3t@127.0.0.1:1/x", "refused"},
		{otherDatabase(t, good), "no_such_database"},
		{good + sep(good) + "sslmode=nonsense", "sslmode"},
		{good + sep(good) + "sslrootcert=/no/such/file&sslmode=verify-full", "connection string"},
		{"postgres://me:s3cr3t@host:port/x", "connection string"},
		{"postgres://me:s3cr3t/word@host/x", "connection string"},
		{"postgres://me:word@s3cr3t@host/x", ""},
		{"postgres://me:word@s3cr3t/y@host/x", "connection string"},
		{"host=127.0.0.1 port=1 password=s3cr3t user=me sslmode=nonsense", "connection string"},
		{"host=127.0.0.1 port=1 password='s3cr3t user=me", "connection string"},
		{"://me:s3cr3t@", "connection string"},
		{"postgres://me:s3cr3t%zz@host/x", "connection string"},
	} {
		_, err1 := postgres.Connect(ctx, c.url, "test")
		_, err2 := postgres.ConnectReplication(ctx, c.url, "test")
		for _, err := range []error{err1, err2} {
			if err == nil || strings.Contains(err.Error()+fault.HintOf(err), "s3cr3t") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v", c.url, err)
			}
		}
		if pool, err := postgres.NewPool(ctx, c.url, "test", 2); err != nil {
			if strings.Contains(err.Error(), "s3cr3t") {
				t.Errorf("%s: %v", c.url, err)
			}
		} else {
			pool.Close()
		}
	}
}

func otherDatabase(t *testing.T, raw string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/no_such_database"
	return u.String()
}

func sep(u string) string {
	if strings.Contains(u, "?") {
		return "&"
	}
	return "?"
}

func TestConnectionFailuresAreClassified(t *testing.T) {
	_, err := postgres.Connect(t.Context(), "postgres://me@127.0.0.1:1/x", "test")
	if fault.ClassOf(err) != fault.ClassTransient {
		t.Errorf("refused: %v is %s", err, fault.ClassOf(err))
	}
	_, err = postgres.Connect(t.Context(), otherDatabase(t, pgtest.Server(t).URL), "test")
	if fault.ClassOf(err) != fault.ClassFatal || postgres.SQLState(err) != "3D000" {
		t.Errorf("no database: %v is %s", err, fault.ClassOf(err))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = postgres.Connect(ctx, pgtest.Server(t).URL, "test"); err == nil {
		t.Error("connected although cancelled")
	}
}

func TestConnectionsSayWhoTheyAre(t *testing.T) {
	url := pgtest.Database(t)
	const sql = `SELECT current_setting('application_name')`
	var name string
	conn, err := postgres.Connect(t.Context(), url, "segue reader")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if err := conn.QueryRow(t.Context(), sql).Scan(&name); err != nil || name != "segue reader" {
		t.Errorf("connection: %q, %v", name, err)
	}
	pool, err := postgres.NewPool(t.Context(), url, "segue applier", 2)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if err := pool.QueryRow(t.Context(), sql).Scan(&name); err != nil || name != "segue applier" || pool.Config().MaxConns != 2 {
		t.Errorf("pool: %q, %v", name, err)
	}
	repl, err := postgres.ConnectReplication(t.Context(), url, "segue stream")
	if err != nil {
		t.Fatal(err)
	}
	defer repl.Close(t.Context())
	results, err := repl.Exec(t.Context(), `SELECT current_setting('application_name'), current_setting('search_path'), current_setting('timezone')`).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	row := results[0].Rows[0]
	if string(row[0]) != "segue stream" || string(row[1]) != `""` && string(row[1]) != "" || string(row[2]) != "UTC" {
		t.Errorf("replication: %q", row)
	}
}
