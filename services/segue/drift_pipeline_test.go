package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"segue/pkg/embedded"
	"segue/pkg/pgtarget"
	"segue/pkg/pgtest"
)

// drifting is a migration of two tables whose source is changed while people use it.
type drifting struct {
	*story
	from, to string
	file     string
	stop     func() // ends the traffic
}

const driftSchema = `
CREATE TABLE customers (id int PRIMARY KEY, name text, note text DEFAULT 'n', age int, big text);
ALTER TABLE customers ALTER COLUMN big SET STORAGE EXTERNAL;
CREATE TABLE orders (id int PRIMARY KEY, customer int NOT NULL REFERENCES customers, total numeric(8,2))`

func newDrifting(t *testing.T, a embedded.Addresses, name, stages string) *drifting {
	d := &drifting{story: &story{t: t, name: name, stages: stages}}
	d.from, d.to = pgtest.Database(t), pgtest.Database(t)
	d.source, d.target, d.admin = pgtest.Connect(t, d.from), pgtest.Connect(t, d.to), pgtest.Connect(t, d.to)
	pgtest.Exec(t, d.source, driftSchema, `INSERT INTO customers SELECT i, 'c' || i, 'n', i % 90, repeat(md5(i::text), 90) FROM generate_series(1, 600) i`,
		`INSERT INTO orders SELECT i, 1 + i % 600, i FROM generate_series(1, 1200) i`)
	pgtest.Exec(t, d.target, driftSchema)
	d.file = filepath.Join(t.TempDir(), "segue.yaml")
	d.write("")
	d.env = map[string]string{
		"SEGUE_CONFIG": d.file, "SEGUE_KAFKA_BROKERS": a.Brokers[0], "SEGUE_REGISTRY_URL": a.Registry, "SEGUE_LISTEN": "off", "SEGUE_STAGES": stages, "GOMEMLIMIT": "off",
	}
	t.Cleanup(func() {
		if d.stop != nil {
			d.stop()
		}
		d.story.stop()
		d.dropOrigin()
	})
	return d
}

// dropOrigin gives the cluster's place back as soon as the server has noticed that its last user is gone.
func (d *drifting) dropOrigin() {
	deadline := time.Now().Add(30 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		err := pgtarget.DropOrigin(context.Background(), d.admin, d.name)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			d.t.Error(err)
			return
		}
	}
}

// write writes segue.yaml; customers is what its entry says beside the name.
func (d *drifting) write(customers string) {
	d.t.Helper()
	text := fmt.Sprintf("migration: %s\nsource: {postgres: %q}\ntarget: {postgres: %q}\nkafka: {partitions: 2}\ntables:\n  - from: public.orders\n  - {from: public.customers%s}\n",
		d.name, d.from, d.to, customers)
	if err := os.WriteFile(d.file, []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

// busy lets people use the source until stop. What they touch is there in every shape of the tables.
func (d *drifting) busy() {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for i := range uint64(2) {
		conn := pgtest.Connect(d.t, d.from)
		wg.Go(func() {
			r := rand.New(rand.NewPCG(i, 5))
			for ctx.Err() == nil {
				id := 1 + r.IntN(900)
				for _, sql := range []string{
					fmt.Sprintf(`INSERT INTO customers (id, name) VALUES (%d, 'new') ON CONFLICT DO NOTHING`, id),
					fmt.Sprintf(`UPDATE customers SET name = 'u%d' WHERE id = %d`, r.IntN(1e6), 1+r.IntN(900)),
					fmt.Sprintf(`INSERT INTO orders SELECT %d, id, 5 FROM customers WHERE id = %d ON CONFLICT DO NOTHING`, 2000+r.IntN(5000), id),
					fmt.Sprintf(`DELETE FROM orders WHERE id = %d`, 1+r.IntN(7000)),
					fmt.Sprintf(`DELETE FROM customers c WHERE id = %d AND NOT EXISTS (SELECT FROM orders WHERE customer = c.id)`, 1+r.IntN(900)),
				} {
					_, _ = conn.Exec(context.Background(), sql) // two of them may meet
				}
			}
		})
	}
	d.stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
}

// runs starts segue with what the edits ask for.
func (d *drifting) runs(args ...string) {
	ctx, cancel := context.WithCancel(context.Background())
	d.cancel, d.ended = cancel, make(chan int, 1)
	go func() { d.ended <- d.process().run(ctx, append([]string{"run", "all"}, args...)) }()
}

// same waits until both stores hold the same rows, by what the query makes of them.
func (d *drifting) same(columns string) {
	d.t.Helper()
	d.stop()
	sql := `SELECT coalesce(md5(string_agg(r, ';' ORDER BY r)), '') || count(*) FROM (SELECT (` + columns + `)::text AS r FROM customers UNION ALL SELECT (id, customer, total)::text FROM orders) x`
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
			break
		}
		if time.Now().After(deadline) {
			d.fail("the stores differ: %s, want %s", got, want)
		}
	}
	var keys int
	if err := d.target.QueryRow(d.t.Context(), "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND convalidated").Scan(&keys); err != nil || keys != 1 {
		d.fail("%d validated foreign keys on the target, want 1: %v", keys, err)
	}
}

// TestPipelineSchemaDrift changes the source under traffic. The reader pauses, says what to edit, and everything else stays up and drains; behind
// the edits both stores are the same, with what the change itself wrote, and the target's foreign keys enforced all the while.
func TestPipelineSchemaDrift(t *testing.T) {
	servers, err := embedded.Open(t.Context(), embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = servers.Close() })
	all := "id, name, note, age, md5(big)"
	for i, tt := range []struct {
		name, source, target, entry, says, columns string
	}{
		{"added", `ALTER TABLE customers ADD COLUMN more text DEFAULT 'standard'`, `ALTER TABLE customers ADD COLUMN more text`, "",
			`column more was added, text`, all + ", more"},
		{"added and not null", `ALTER TABLE customers ADD COLUMN more int NOT NULL DEFAULT 5`, `ALTER TABLE customers ADD COLUMN more int NOT NULL DEFAULT 0`, "",
			`column more was added, integer`, all + ", more"},
		{"dropped", `ALTER TABLE customers DROP COLUMN note`, `ALTER TABLE customers DROP COLUMN note`, "", `column note was dropped`, "id, name, age, md5(big)"},
		{"renamed", `ALTER TABLE customers RENAME note TO remark`, "", `, set: {note: remark, "*": "*"}`, `column note is now called remark`, "id, name, age, md5(big)"},
		{"retyped", `ALTER TABLE customers ALTER COLUMN age TYPE text USING 'is ' || age`, `ALTER TABLE customers ALTER COLUMN age TYPE text`, "",
			`column age: the type was integer, now it is text`, all},
		{"full", `ALTER TABLE customers REPLICA IDENTITY FULL`, "", "", `the replica identity was default, now it is full`, all},
	} {
		// Each change goes through one of the two forms; the first one through both.
		for n, stages := range []string{"fused", "staged"} {
			if i > 0 && i%2 != n {
				continue
			}
			t.Run(tt.name+" "+stages, func(t *testing.T) {
				t.Parallel()
				d := newDrifting(t, servers.Addresses(), fmt.Sprintf("drift%d%s", i, stages), stages)
				d.busy()
				d.runs()
				d.await("the load is over", `SELECT EXISTS (SELECT FROM segue.progress WHERE loaded)`)
				pgtest.Exec(t, d.source, tt.source)
				d.log.waitFor(t, "the reader is paused")
				if log := d.log.String(); !strings.Contains(log, tt.says) || !strings.Contains(log, "public.customers") {
					t.Fatalf("the pause does not say %q:\n%s", tt.says, log)
				}
				d.drained()
				d.story.stop()
				if tt.target != "" {
					pgtest.Exec(t, d.admin, tt.target)
				}
				d.write(tt.entry)
				d.runs("--accept-mapping")
				d.log.waitFor(t, "target opened")
				d.story.stop() // in the middle of whatever it does
				d.runs("--accept-mapping")
				d.same(tt.columns)
			})
		}
	}
}

// drained waits until all that is in Kafka is on the target: the reader stands still, so that ends.
func (d *drifting) drained() {
	d.t.Helper()
	var last string
	still := 0
	for still < 20 {
		var at string
		if err := d.target.QueryRow(d.t.Context(), `SELECT lsn::text || '#' || seq FROM segue.progress`).Scan(&at); err != nil {
			d.t.Fatal(err)
		}
		if still++; at != last {
			last, still = at, 0
		}
		select {
		case code := <-d.ended:
			d.ended <- code
			d.fail("segue ended by itself with exit code %d", code)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// TestPipelineOlderRecords lets records of older shapes be applied by a process that knows only the present one: they are in Kafka, or still in
// the source's log, when the table has its new shape already.
func TestPipelineOlderRecords(t *testing.T) {
	servers, err := embedded.Open(t.Context(), embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = servers.Close() })
	for _, stages := range []string{"fused", "staged"} {
		t.Run(stages, func(t *testing.T) {
			t.Parallel()
			d := newDrifting(t, servers.Addresses(), "older"+stages, stages)
			d.busy()
			d.runs()
			d.await("the load is over", `SELECT EXISTS (SELECT FROM segue.progress WHERE loaded)`)
			lock := blocked(t, d) // the applier stands still, Kafka fills
			pgtest.Exec(t, d.source, `UPDATE customers SET note = 'in kafka' WHERE id % 5 = 0`)
			d.story.stop()
			pgtest.Exec(t, d.source, `UPDATE customers SET note = 'in the log' WHERE id % 7 = 0`,
				`ALTER TABLE customers ADD COLUMN more int NOT NULL DEFAULT 5`, `INSERT INTO customers (id, name, more) VALUES (5001, 'of the second shape', 6)`,
				`ALTER TABLE customers DROP COLUMN note, ALTER COLUMN age TYPE text USING 'is ' || age`, `UPDATE customers SET age = 'of the third' WHERE id % 11 = 0`)
			lock()
			pgtest.Exec(t, d.admin, `ALTER TABLE customers ADD COLUMN more int NOT NULL DEFAULT 0, DROP COLUMN note, ALTER COLUMN age TYPE text`)
			d.runs("--accept-mapping")
			if d.refused() { // what the former mapping made of the records is of no use: they are read again as they came from the source
				d.env["SEGUE_STAGES"] = "fused"
				d.runs("--accept-mapping")
			}
			d.same("id, name, age, more, md5(big)")
			d.story.stop()
			d.env["SEGUE_STAGES"] = stages
			pgtest.Exec(t, d.source, `UPDATE customers SET more = 9 WHERE id % 13 = 0`)
			d.runs()
			d.same("id, name, age, more, md5(big)")
		})
	}
}

// refused waits until rows of the second shape are on the target, or the stages had handed on what the former mapping made, and the process ended
// with what to do.
func (d *drifting) refused() bool {
	d.t.Helper()
	deadline := time.Now().Add(90 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		select {
		case code := <-d.ended:
			if code != exitError || !strings.Contains(d.log.String(), "--stages fused --accept-mapping") {
				d.fail("exit code %d", code)
			}
			return true
		default:
		}
		var there bool
		if err := d.target.QueryRow(d.t.Context(), `SELECT EXISTS (SELECT FROM customers WHERE id = 5001)`).Scan(&there); err == nil && there {
			return false
		}
		if time.Now().After(deadline) {
			d.fail("neither rows nor an end")
		}
	}
	return false
}

// blocked holds a lock on the target that lets nothing be applied, until the returned function gives it back.
func blocked(t *testing.T, d *drifting) func() {
	t.Helper()
	conn := pgtest.Connect(t, d.to)
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `LOCK TABLE customers IN SHARE MODE`); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := tx.Rollback(t.Context()); err != nil && err != pgx.ErrTxClosed { //nolint:errorlint // pgx returns it as it is
			t.Fatal(err)
		}
	}
}
