package reconciler

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"segue/pkg/pgtest"
	"segue/pkg/reconcile"
	"segue/pkg/service"
	"segue/pkg/table"
)

const everything = "  - from: public.*\n"

// eventually polls until the query's only value is true.
func eventually(t *testing.T, conn *pgx.Conn, query string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		var ok bool
		if err := conn.QueryRow(ctx, query).Scan(&ok); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		if ok {
			return
		}
		if err := service.Sleep(ctx, 5*time.Millisecond); err != nil {
			t.Fatalf("%s: it does not become true", query)
		}
	}
}

// A commit that the stream has delivered, that the target holds, and that no snapshot of the source shows yet, is no drift.
func TestP7_ACommitThatIsNotVisibleYetIsNoDrift(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a PostgreSQL cluster")
	}
	held := pgtest.HoldCommits(t)
	sourceURL := held.Database(t)
	r := newRigAt(t, sourceURL, everything, []string{customersDDL, fill(500)}, []string{customersDDL, fill(500)})
	held.Hold(t)
	// The comparison has begun, and turns its rounds, before the commit that is held.
	r.unloaded.Store(true)
	rounds := make(chan Report, 1)
	rec := r.reconciler(Config{Timeout: 8 * time.Second})
	go func() {
		report, err := rec.Compare(context.Background())
		if err != nil {
			t.Error(err)
		}
		rounds <- report
	}()
	eventually(t, r.target, `SELECT count(*) > 0 FROM segue.snapshots`)
	commit := held.Commit(t, sourceURL, `UPDATE customers SET name = 'held' WHERE id = 7`)
	eventually(t, r.target, `SELECT count(*) = 1 FROM customers WHERE name = 'held'`)
	r.unloaded.Store(false)
	report := <-rounds
	customers := only(t, report, "public.customers")
	if report.Verdict != reconcile.Unknown || customers.Left != 1 || customers.Rows != 499 {
		t.Fatalf("while the commit is held: %+v", report)
	}
	held.Release(t)
	commit.Wait(t)
	if report := r.compare(Config{}); report.Verdict != reconcile.Pass {
		t.Fatalf("when it is visible: %+v", report)
	}
}

func TestP7_AnOlderTransactionIsWaitedFor(t *testing.T) {
	r := newRig(t, everything, []string{customersDDL, fill(10)}, []string{customersDDL, fill(10)})
	other := pgtest.Connect(t, r.source.Config().ConnString())
	pgtest.Exec(t, other, `BEGIN`, `UPDATE customers SET name = 'open' WHERE id = 1`)
	report := r.compare(Config{Timeout: time.Second})
	if customers := only(t, report, "public.customers"); customers.Verdict != reconcile.Unknown || !strings.Contains(customers.Reason, "has not ended") || customers.Coverage != 0 {
		t.Fatalf("%+v", report)
	}
	pgtest.Exec(t, other, `COMMIT`)
	if report := r.compare(Config{}); report.Verdict != reconcile.Pass {
		t.Fatalf("%+v", report)
	}
}

func TestP7_WithoutASnapshotNothingIsClaimed(t *testing.T) {
	r := newRig(t, everything, []string{customersDDL, fill(10)}, []string{customersDDL, fill(10)})
	r.mute.Store(true)
	report := r.compare(Config{Timeout: 2 * time.Second, SnapshotWait: 300 * time.Millisecond})
	if customers := only(t, report, "public.customers"); report.Verdict != reconcile.Unknown || !strings.Contains(customers.Reason, "is the reader running") || report.Lost == 0 {
		t.Fatalf("%+v", report)
	}
}

func TestP7_AnUnfinishedLoadProvesNothing(t *testing.T) {
	r := newRig(t, everything, []string{customersDDL, fill(10)}, []string{customersDDL})
	r.unloaded.Store(true)
	report := r.compare(Config{Timeout: time.Second})
	if customers := only(t, report, "public.customers"); customers.Verdict != reconcile.Unknown || !strings.Contains(customers.Reason, "initial load") || customers.Missing != 0 {
		t.Fatalf("%+v", report)
	}
}

func TestP7_PendingRowsProveNothing(t *testing.T) {
	r := newRig(t, everything,
		[]string{customersDDL, fill(10), `CREATE TABLE other (id integer PRIMARY KEY)`},
		[]string{customersDDL, fill(10), `CREATE TABLE other (id integer PRIMARY KEY)`})
	pgtest.Exec(t, r.target, fmt.Sprintf(`INSERT INTO segue.pending (migration, source_schema, source_table, key_values, epoch, lsn, seq, reason)
		VALUES ('%s', 'public', 'customers', '{3}', 1, '0/1', 1, 'test')`, r.spec.Name))
	report := r.compare(Config{Timeout: 2 * time.Second})
	if customers := only(t, report, "public.customers"); customers.Verdict != reconcile.Unknown || !strings.Contains(customers.Reason, "pending") {
		t.Fatalf("%+v", report)
	}
	if other := only(t, report, "public.other"); other.Verdict != reconcile.Pass {
		t.Fatalf("%+v", report)
	}
}

func TestTruncatesAndPartitionsUnderTraffic(t *testing.T) {
	ddl := []string{`CREATE TABLE parts (id integer PRIMARY KEY, v text) PARTITION BY RANGE (id)`,
		`CREATE TABLE parts_a PARTITION OF parts FOR VALUES FROM (0) TO (100)`,
		`CREATE TABLE parts_b PARTITION OF parts FOR VALUES FROM (100) TO (1000)`,
		`INSERT INTO parts SELECT g, 'v' FROM generate_series(0, 999) g`}
	flat := []string{`CREATE TABLE parts (id integer PRIMARY KEY, v text)`, `INSERT INTO parts SELECT g, 'v' FROM generate_series(0, 999) g`}
	r := newRig(t, everything, ddl, flat)
	stop := r.traffic(2, func(random *rand.Rand) string {
		switch n := random.Intn(200); {
		case n == 0:
			return `TRUNCATE parts`
		case n < 20:
			return fmt.Sprintf(`INSERT INTO parts SELECT g, 'n' FROM generate_series(%d, %d) g ON CONFLICT DO NOTHING`, n*10, n*10+300)
		case n < 60:
			return fmt.Sprintf(`UPDATE parts SET id = %d WHERE id = %d`, random.Intn(1000), random.Intn(1000))
		default:
			return fmt.Sprintf(`UPDATE parts SET v = 'u%d' WHERE id = %d`, n, random.Intn(1000))
		}
	})
	for range 3 {
		if report := r.compare(Config{}); report.Verdict != reconcile.Pass {
			t.Errorf("%+v", report)
		}
	}
	stop()
}

func TestP10_LogsNameTablesAndNoKeys(t *testing.T) {
	ddl := `CREATE TABLE secrets (id text PRIMARY KEY, v text)`
	r := newRig(t, everything, []string{ddl, `INSERT INTO secrets VALUES ('seeded-key', 'seeded-value')`}, []string{ddl})
	var logged bytes.Buffer
	rec := r.reconciler(Config{})
	rec.deps.Log = slog.New(slog.NewTextHandler(&logged, nil))
	rec.compareAndTell(t.Context())
	if out := logged.String(); !strings.Contains(out, "table=public.secrets") || !strings.Contains(out, "missing=1") || strings.Contains(out, "seeded") {
		t.Errorf("logged:\n%s", out)
	}
}

func TestCompareUntilPassGoesOnWithWhatDidNotPass(t *testing.T) {
	r := newRig(t, everything,
		[]string{customersDDL, fill(10), `CREATE TABLE other (id integer PRIMARY KEY)`},
		[]string{customersDDL, fill(9), `CREATE TABLE other (id integer PRIMARY KEY)`})
	seen := 0
	report, err := r.reconciler(Config{}).CompareUntilPass(t.Context(), func(report Report) {
		if seen++; report.Verdict != reconcile.Differ || only(t, report, "public.customers").Missing != 1 {
			t.Errorf("%+v", report)
		}
		pgtest.Exec(t, r.target, fill(10)+` ON CONFLICT DO NOTHING`)
	})
	if err != nil || report.Verdict != reconcile.Pass || seen != 1 || len(report.Tables) != 2 {
		t.Fatalf("%v after %d: %+v", err, seen, report)
	}
}

func TestTablesAreChosenByEitherName(t *testing.T) {
	r := newRig(t, "  - {from: public.customers, to: public.clients}\n  - from: public.other\n",
		[]string{customersDDL, `CREATE TABLE other (id integer PRIMARY KEY)`},
		[]string{strings.Replace(customersDDL, "customers", "clients", 1), `CREATE TABLE other (id integer PRIMARY KEY)`})
	for _, name := range []string{"customers", "clients"} {
		report := r.compare(Config{Tables: []table.Name{{Schema: "public", Table: name}}})
		if report.Verdict != reconcile.Pass || len(report.Tables) != 1 || report.Tables[0].Table != "public.clients" {
			t.Errorf("%s: %+v", name, report)
		}
	}
	_, err := New(Config{Spec: r.spec, Mapping: r.mapping, Tables: []table.Name{{Schema: "public", Table: "nobody"}}}, Deps{})
	if err == nil || !strings.Contains(err.Error(), "public.nobody") {
		t.Errorf("an unknown table: %v", err)
	}
}

func TestALostConnectionCostsARound(t *testing.T) {
	r := newRig(t, everything, []string{customersDDL, fill(2000)}, []string{customersDDL, fill(2000)})
	r.unloaded.Store(true)
	rec := r.reconciler(Config{})
	result := make(chan error, 1)
	go func() {
		report, err := rec.Compare(context.Background())
		if err == nil && report.Verdict != reconcile.Pass {
			err = errors.New(string(report.Verdict) + " " + report.Reason + " " + report.Tables[0].Reason)
		}
		result <- err
	}()
	eventually(t, r.target, `SELECT count(*) > 0 FROM segue.snapshots`)
	for _, conn := range []*pgx.Conn{r.source, r.target} {
		pgtest.Exec(t, conn, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE '%:reconciler'`)
	}
	r.unloaded.Store(false)
	if err := <-result; err != nil {
		t.Fatal(err)
	}
}

func TestSegmentsOfUUIDsAndOfMappedRows(t *testing.T) {
	source := `CREATE TABLE things (id uuid PRIMARY KEY, n integer)`
	insert := `INSERT INTO things SELECT md5(g::text)::uuid, g FROM generate_series(1, 3000) g`
	r := newRig(t, "  - from: public.things\n    set: {id: id, n: n, label: '\"x\"'}\n", []string{source}, []string{`CREATE TABLE things (id uuid PRIMARY KEY, n bigint, label text)`})
	pgtest.Exec(t, r.source, insert, `ANALYZE things`)
	stop := r.traffic(2, func(random *rand.Rand) string {
		n := random.Intn(3000)
		return fmt.Sprintf(`UPDATE things SET id = md5('%d')::uuid WHERE n = %d`, n+10_000*random.Intn(2), n)
	})
	for range 2 {
		// A row may move behind the place of comparison, or before it: it counts where it is met.
		report := r.compare(Config{SegmentRows: 250})
		if things := only(t, report, "public.things"); report.Verdict != reconcile.Pass || things.Rows < 2800 || things.Rows > 3100 || things.Rounds < 6 {
			t.Errorf("%+v", report)
		}
	}
	stop()
	pgtest.Exec(t, r.target, `INSERT INTO things VALUES ('00000000-0000-0000-0000-000000000000', 1, 'x'), ('ffffffff-ffff-ffff-ffff-ffffffffffff', 1, 'x')`)
	if things := only(t, r.compare(Config{SegmentRows: 250}), "public.things"); things.Extra != 2 || things.Missing != 0 || things.Different != 0 {
		t.Errorf("%+v", things)
	}
}

// P7: what the target holds of a parked row is not what the source has, and it is no drift either.
func TestP7_ParkedRowsProveNothing(t *testing.T) {
	r := newRig(t, everything,
		[]string{customersDDL, fill(10), `CREATE TABLE other (id integer PRIMARY KEY)`},
		[]string{customersDDL, fill(9), `CREATE TABLE other (id integer PRIMARY KEY)`})
	pgtest.Exec(t, r.target, fmt.Sprintf(`INSERT INTO segue.parked (migration, source_schema, source_table, key_values, epoch, lsn, seq, op, stage, code, reason,
		size, changes, last_position, last_op) VALUES ('%s', 'public', 'customers', '{10}', 1, '0/1', 1, 'insert', 'reader', 'too_large', 'test', 1, 1, '1:0/1#1', 'insert')`, r.spec.Name))
	report := r.compare(Config{Timeout: time.Minute}) // it says so at once: nothing changes by waiting
	if customers := only(t, report, "public.customers"); customers.Verdict != reconcile.Unknown || !strings.Contains(customers.Reason, "1 rows of public.customers are parked") {
		t.Fatalf("%+v", report)
	}
	if other := only(t, report, "public.other"); other.Verdict != reconcile.Pass {
		t.Fatalf("%+v", report)
	}
}
