// Package pgtest gives tests a real PostgreSQL: a database per test, on the server that SEGUE_TEST_POSTGRES names (a
// superuser's URL, wal_level=logical) or on a private cluster of this test process, which ends and is removed with it. Its
// version is the one that SEGUE_TEST_POSTGRES_VERSION names.
package pgtest

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"segue/pkg/embedded"
)

// Variable names the server to test against, where it is set.
const Variable = "SEGUE_TEST_POSTGRES"

const startTimeout = time.Minute

// Cluster is a PostgreSQL server that tests may use as superuser.
type Cluster struct {
	// URL leads to the database postgres.
	URL string
	// Private is the server's own handle, nil for the one that SEGUE_TEST_POSTGRES names.
	Private *embedded.Postgres
	cfg     embedded.PostgresConfig // of a private one
}

// shared is the one cluster of this process. It is package state because a process is what it belongs to: starting one
// per test would take seconds each.
var shared struct {
	sync.Mutex
	cluster *Cluster
	told    string // the named server whose version was told
}

// Server returns the server that this process tests against, and starts a private one when there is none. Tests share
// it: what they change must be inside their own Database.
func Server(t testing.TB) *Cluster {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if url := os.Getenv(Variable); url != "" {
		if shared.told != url {
			Tell(t, url)
			shared.told = url
		}
		return &Cluster{URL: url}
	}
	if shared.cluster == nil {
		shared.cluster = start(t, nil)
	}
	return shared.cluster
}

// Private starts a cluster for this test alone, with more settings, and removes it at the end.
func Private(t testing.TB, settings map[string]string) *Cluster {
	t.Helper()
	c := start(t, settings)
	t.Cleanup(func() { c.Private.Kill() }) // the one that runs then
	return c
}

func start(t testing.TB, more map[string]string) *Cluster {
	t.Helper()
	return launch(t, serverDir(t), more)
}

// serverDir makes a server's folder, which goes with this process.
func serverDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "segue-pg-")
	if err != nil {
		t.Fatalf("private PostgreSQL: %v", err)
	}
	if err := removeAtExit(dir); err != nil {
		t.Fatalf("private PostgreSQL: %v", err)
	}
	return dir
}

func launch(t testing.TB, dir string, more map[string]string) *Cluster {
	t.Helper()
	bin, err := Binaries(t.Context()) // fetching is not starting: it may take minutes
	if errors.Is(err, embedded.ErrNoPostgres) {
		without(t, err)
	}
	if err != nil {
		t.Fatalf("private PostgreSQL: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	settings := map[string]string{
		"wal_level": "logical", "max_wal_senders": "50", "max_replication_slots": "50", "max_connections": "200",
		"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_prepared_transactions": "20",
		"shared_buffers": "64MB", "autovacuum_naptime": "10min",
	}
	for name, value := range more {
		settings[name] = value
	}
	cfg := embedded.PostgresConfig{Dir: dir, Bin: bin, Settings: settings}
	p, err := embedded.StartPostgres(ctx, cfg)
	if errors.Is(err, embedded.ErrNoPostgres) {
		without(t, err)
	}
	if err != nil {
		t.Fatalf("private PostgreSQL: %v", err)
	}
	Tell(t, p.URL("postgres"))
	return &Cluster{URL: p.URL("postgres"), Private: p, cfg: cfg}
}

// without says that nothing was tested. CI must never take that for a pass.
func without(t testing.TB, err error) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("NOT TESTED against PostgreSQL, which CI must do: %v; or set %s", err, Variable)
	}
	t.Skipf("NOT TESTED against PostgreSQL: %v; or set %s to a superuser's URL of a server with wal_level=logical", err, Variable)
}

// removeAtExit leaves a small shell behind that waits for the end of this process, even of a killed one, then stops
// the server in dir and removes the folder.
func removeAtExit(dir string) error {
	const script = `cat >/dev/null
pid=$(head -n 1 "$0/data/postmaster.pid" 2>/dev/null) && kill -QUIT "$pid" 2>/dev/null
i=0; while [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null && [ $i -lt 50 ]; do sleep 0.1; i=$((i+1)); done
rm -rf "$0"`
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	cmd := exec.Command("sh", "-c", script, dir) //nolint:noctx // it outlives every context of this process
	cmd.Stdin, cmd.SysProcAttr = r, ownGroup()
	if err := cmd.Start(); err != nil {
		return err
	}
	keepOpen(w)
	return cmd.Process.Release()
}
