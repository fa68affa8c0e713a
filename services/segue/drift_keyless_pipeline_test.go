package main

import (
	"os"
	"testing"
	"time"

	"segue/pkg/embedded"
	"segue/pkg/pgtest"
)

// TestPipelineOlderRecordsWithoutAKey changes a table that has no key while its rows are in Kafka, and others still in the source's log. A row that lacks
// a column of the present shape could not be found again: it is left out, for the table is read again whole behind it.
func TestPipelineOlderRecordsWithoutAKey(t *testing.T) {
	servers, err := embedded.Open(t.Context(), embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = servers.Close() })
	d := newDrifting(t, servers.Addresses(), "olderkeyless", "fused")
	pgtest.Exec(t, d.source, `CREATE TABLE lines (what text, n int)`, `ALTER TABLE lines REPLICA IDENTITY FULL`,
		`INSERT INTO lines SELECT 'l' || i % 50, i % 7 FROM generate_series(1, 500) i`)
	pgtest.Exec(t, d.target, `CREATE TABLE lines (what text, n int)`)
	text, err := os.ReadFile(d.file)
	if err == nil {
		err = os.WriteFile(d.file, append(text, "  - from: public.lines\n"...), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	d.runs()
	d.await("the load is over", `SELECT EXISTS (SELECT FROM segue.progress WHERE loaded)`)
	lock := blocked(t, d) // the applier stands still, Kafka fills
	pgtest.Exec(t, d.source, `UPDATE customers SET note = 'first'`, `UPDATE lines SET n = n + 10 WHERE n = 1`, `DELETE FROM lines WHERE what = 'l3'`,
		`INSERT INTO lines VALUES ('in kafka', 1), ('in kafka', 1)`)
	waitForRaw(t, d)
	d.story.stop()
	pgtest.Exec(t, d.source, `UPDATE lines SET n = n + 10 WHERE n = 2`, `INSERT INTO lines VALUES ('in the log', 1)`,
		`ALTER TABLE lines ADD COLUMN more int NOT NULL DEFAULT 5, ALTER COLUMN n TYPE text USING 'is ' || n`,
		`DELETE FROM lines WHERE n = 'is 4'`, `INSERT INTO lines VALUES ('of the second shape', 'x', 6)`)
	lock()
	pgtest.Exec(t, d.admin, `ALTER TABLE lines ADD COLUMN more int NOT NULL DEFAULT 0, ALTER COLUMN n TYPE text`)
	d.runs("--accept-mapping")
	sameLines(d)
	pgtest.Exec(t, d.source, `UPDATE lines SET more = 9 WHERE n = 'is 5'`, `DELETE FROM lines WHERE what = 'in kafka' AND ctid = (SELECT min(ctid) FROM lines WHERE what = 'in kafka')`)
	sameLines(d)
}

// waitForRaw waits until the reader has confirmed all that the source's log holds now: Kafka has it then.
func waitForRaw(t *testing.T, d *drifting) {
	t.Helper()
	var end string
	if err := d.source.QueryRow(t.Context(), `SELECT pg_current_wal_lsn()::text`).Scan(&end); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(60 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		var held bool
		err := d.source.QueryRow(t.Context(), `SELECT confirmed_flush_lsn >= $1::pg_lsn FROM pg_replication_slots WHERE database = current_database()
			AND NOT temporary`, end).Scan(&held)
		if err != nil {
			t.Fatal(err)
		}
		if held {
			return
		}
		if time.Now().After(deadline) {
			d.fail("the reader does not confirm %s", end)
		}
	}
}

// sameLines waits until both stores hold the same rows of the table without key, each as often.
func sameLines(d *drifting) {
	d.t.Helper()
	const sql = `SELECT coalesce(md5(string_agg(r, ';' ORDER BY r)), '') || count(*) FROM (SELECT (what, n, more)::text AS r FROM lines) x`
	var want, got string
	if err := d.source.QueryRow(d.t.Context(), sql).Scan(&want); err != nil {
		d.t.Fatal(err)
	}
	deadline := time.Now().Add(90 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		if err := d.target.QueryRow(d.t.Context(), sql).Scan(&got); err != nil {
			d.t.Fatal(err)
		}
		if got == want {
			return
		}
		select {
		case code := <-d.ended:
			d.ended <- code
			d.fail("segue ended by itself with exit code %d", code)
		default:
		}
		if time.Now().After(deadline) {
			d.fail("the stores differ: %s, want %s", got, want)
		}
	}
}
