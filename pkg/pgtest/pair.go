package pgtest

import (
	"context"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Pair is a primary and a standby that follows it, for one test. From PostgreSQL 17 on logical slots that ask for it are kept on the
// standby too, and the primary sends nothing to them that the standby does not have.
type Pair struct {
	Primary, Standby *Cluster
	// Version is the servers' server_version_num.
	Version int

	dirs     [2]string
	settings map[string]string // of the primary
}

// standbySlot is the physical slot that the standby follows.
const standbySlot = "pgtest_standby"

// slotsFollow is the first version whose logical slots follow a failover.
const slotsFollow = 170000

// NewPair starts both and waits until the standby streams.
func NewPair(t testing.TB) *Pair {
	t.Helper()
	p := &Pair{dirs: [2]string{serverDir(t), serverDir(t)}, settings: map[string]string{"hot_standby": "on"}}
	first := launch(t, p.dirs[0], p.settings)
	conn := Connect(t, first.URL)
	Exec(t, conn, `SELECT pg_create_physical_replication_slot('`+standbySlot+`', true)`)
	if err := conn.QueryRow(t.Context(), `SELECT current_setting('server_version_num')::int`).Scan(&p.Version); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	_ = conn.Close(ctx)
	if err := first.Private.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	// A copy of a server that was stopped in good order is as good as a base backup.
	if out, err := exec.CommandContext(ctx, "cp", "-a", filepath.Join(p.dirs[0], "data"), p.dirs[1]).CombinedOutput(); err != nil {
		t.Fatalf("copy the primary: %v: %s", err, out)
	}
	if out, err := exec.CommandContext(ctx, "cp", "-a", filepath.Join(p.dirs[1], "data", "PG_VERSION"), filepath.Join(p.dirs[1], "data", "standby.signal")).CombinedOutput(); err != nil {
		t.Fatalf("make the standby: %v: %s", err, out)
	}
	follow := map[string]string{"hot_standby": "on", "hot_standby_feedback": "on", "primary_slot_name": standbySlot, "wal_receiver_status_interval": "1s", "primary_conninfo": ""}
	if p.Version >= slotsFollow {
		p.settings["synchronized_standby_slots"] = standbySlot
		follow["sync_replication_slots"] = "on"
	}
	p.StartPrimary(t)
	u, err := url.Parse(p.Primary.URL)
	if err != nil {
		t.Fatal(err)
	}
	follow["primary_conninfo"] = "host=" + u.Hostname() + " port=" + u.Port() + " user=postgres dbname=postgres"
	p.Standby = launch(t, p.dirs[1], follow)
	t.Cleanup(p.Standby.Private.Kill)
	p.wait(t, p.Primary.URL, "the standby to stream", `SELECT EXISTS (SELECT FROM pg_stat_replication WHERE state = 'streaming')`)
	return p
}

// StartPrimary starts the primary where it was, as one does who does not know that it has been replaced.
func (p *Pair) StartPrimary(t testing.TB) {
	t.Helper()
	p.Primary = launch(t, p.dirs[0], p.settings)
	t.Cleanup(p.Primary.Private.Kill)
}

// URL leads to whichever of the two is the primary, for a database on it.
func (p *Pair) URL(t testing.TB, database string) string {
	t.Helper()
	a, err := url.Parse(withDatabase(t, p.Primary.URL, database))
	if err != nil {
		t.Fatal(err)
	}
	b, err := url.Parse(p.Standby.URL)
	if err != nil {
		t.Fatal(err)
	}
	a.Host += "," + b.Host
	return a.String()
}

// On is the URL of one of the two, for a database.
func (p *Pair) On(t testing.TB, c *Cluster, database string) string {
	t.Helper()
	return withDatabase(t, c.URL, database)
}

// Database makes an empty one on the primary and returns its name. It goes with the servers.
func (p *Pair) Database(t testing.TB) string {
	t.Helper()
	const name = "moved"
	p.Primary.admin(t.Context(), t, `CREATE DATABASE `+name+` TEMPLATE template0`)
	return name
}

// Synced waits until the standby could take over with the slot. Before PostgreSQL 17 it never can, and there is nothing to wait for.
func (p *Pair) Synced(t testing.TB, slot string) {
	t.Helper()
	if p.Version < slotsFollow {
		return
	}
	// The copy is good once the slot itself has moved on, which a record of the running transactions lets it: one is written every 15 s. A
	// reload wakes the worker that synchronizes, which naps for up to half a minute.
	conn := Connect(t, p.Primary.URL)
	defer conn.Close(context.WithoutCancel(t.Context()))
	p.waitFor(t, p.Standby.URL, func() { Exec(t, conn, `SELECT pg_log_standby_snapshot()`) }, "slot "+slot+" to be on the standby", `SELECT pg_reload_conf() AND EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = '`+slot+`' AND synced AND NOT temporary AND invalidation_reason IS NULL)`)
}

// CutOff ends the standby's streaming: what the primary commits from now on the standby never gets.
func (p *Pair) CutOff(t testing.TB) {
	t.Helper()
	if p.Version >= slotsFollow {
		p.Primary.admin(t.Context(), t, `ALTER SYSTEM SET synchronized_standby_slots = ''`, `SELECT pg_reload_conf()`)
	}
	p.Standby.admin(t.Context(), t, `ALTER SYSTEM SET primary_conninfo = ''`, `SELECT pg_reload_conf()`)
	p.wait(t, p.Primary.URL, "the standby to be cut off", `SELECT NOT EXISTS (SELECT FROM pg_stat_replication WHERE state = 'streaming' AND application_name = 'walreceiver')`)
}

// Promote makes the standby the primary.
func (p *Pair) Promote(t testing.TB) {
	t.Helper()
	p.Standby.admin(t.Context(), t, `SELECT pg_promote(true, 60)`)
}

func (p *Pair) wait(t testing.TB, rawURL, what, sql string) {
	t.Helper()
	p.waitFor(t, rawURL, func() {}, what, sql)
}

// waitFor asks until the answer is yes, and does something before each question.
func (p *Pair) waitFor(t testing.TB, rawURL string, push func(), what, sql string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, rawURL)
	if err != nil {
		t.Fatalf("wait for %s: %v", what, err)
	}
	defer conn.Close(context.Background())
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		var yes bool
		push()
		if err := conn.QueryRow(ctx, sql).Scan(&yes); err != nil {
			log, _ := os.ReadFile(filepath.Join(p.dirs[1], "log"))
			t.Fatalf("wait for %s: %v\n%s", what, err, log[max(0, len(log)-3000):])
		}
		if yes {
			return
		}
		<-ticker.C
	}
}
