package reader_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"segue/pkg/change"
	"segue/pkg/pgtest"
	"segue/services/reader"
)

var shop = []string{
	`CREATE SEQUENCE public.versions CACHE 1`,
	`CREATE TABLE public.a (id int PRIMARY KEY, v bigint NOT NULL DEFAULT nextval('public.versions'), n int, big text, twice int GENERATED ALWAYS AS (n * 2) STORED)`,
	`ALTER TABLE public.a ALTER COLUMN big SET STORAGE EXTERNAL`,
	`CREATE TABLE public.b (x text, y int, v bigint NOT NULL DEFAULT nextval('public.versions'), note text, PRIMARY KEY (x, y))`,
	`INSERT INTO public.a (id, n, big) SELECT i, i, repeat(md5(i::text), 20 + i % 120) FROM generate_series(1, 1500) i`,
	`INSERT INTO public.b (x, y, note) SELECT 'x' || i % 10, i, repeat('n', i % 300) FROM generate_series(1, 1500) i`,
}

// traffic changes the tables in transactions until its context ends.
func traffic(ctx context.Context, t *testing.T, url string, seed uint64, truncates bool) {
	conn, err := pgx.Connect(context.Background(), url)
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close(context.Background())
	r := rand.New(rand.NewPCG(seed, 7))
	for ctx.Err() == nil {
		tx, err := conn.Begin(context.Background())
		if err != nil {
			t.Error(err)
			return
		}
		for range 1 + r.IntN(6) {
			if _, err = tx.Exec(context.Background(), statement(r, truncates)); err != nil {
				break
			}
		}
		if err == nil {
			err = tx.Commit(context.Background())
		}
		if err != nil { // two of the traffic met: a key is taken, or a deadlock
			_ = tx.Rollback(context.Background())
		}
	}
}

func statement(r *rand.Rand, truncates bool) string {
	id, other := 1+r.IntN(1700), 1+r.IntN(1700)
	switch n := r.IntN(100); {
	case n < 15:
		return fmt.Sprintf(`INSERT INTO public.a (id, n, big) VALUES (%d, %d, repeat('i', %d)) ON CONFLICT DO NOTHING`, 1700+r.IntN(800), id, r.IntN(4000))
	case n < 45:
		return fmt.Sprintf(`UPDATE public.a SET n = %d, v = nextval('public.versions') WHERE id = %d`, other, id)
	case n < 52:
		return fmt.Sprintf(`UPDATE public.a SET big = repeat('u', %d), v = nextval('public.versions') WHERE id = %d`, r.IntN(6000), id)
	case n < 62:
		return fmt.Sprintf(`UPDATE public.a SET id = %d, v = nextval('public.versions') WHERE id = %d AND NOT EXISTS (SELECT FROM public.a WHERE id = %d)`, other, id, other)
	case n < 66:
		return fmt.Sprintf(`WITH p AS (SELECT id FROM public.a WHERE id IN (%d, %d)) UPDATE public.a SET id = -id, v = nextval('public.versions') WHERE id IN (SELECT id FROM p)`, id, other)
	case n < 72:
		return fmt.Sprintf(`DELETE FROM public.a WHERE id = %d`, id)
	case n < 85:
		return fmt.Sprintf(`UPDATE public.b SET note = 'c%d', v = nextval('public.versions') WHERE y = %d`, other, id)
	case n < 90:
		return fmt.Sprintf(`UPDATE public.b SET x = 'x%d', v = nextval('public.versions') WHERE y = %d`, r.IntN(10), id)
	case n < 96:
		return fmt.Sprintf(`INSERT INTO public.b (x, y, note) VALUES ('z%d', %d, 'new') ON CONFLICT DO NOTHING`, r.IntN(5), id)
	case n == 99 && truncates && r.IntN(8) == 0:
		return `TRUNCATE public.b`
	}
	return fmt.Sprintf(`DELETE FROM public.b WHERE y = %d`, id)
}

// busy runs traffic on a few connections; the returned function ends it.
func busy(t *testing.T, url string, truncates bool) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range uint64(3) {
		wg.Go(func() { traffic(ctx, t, url, i, truncates) })
	}
	stop = func() { cancel(); wg.Wait() }
	t.Cleanup(stop)
	return stop
}

func TestLoadOfQuietTables(t *testing.T) {
	h := newHarness(t, pgtest.Database(t), []string{"a", "b"}, shop...)
	h.start()
	x := h.target()
	x.settle()
	if x.seen[change.Read] != 3000 || x.loads < 10 {
		t.Errorf("%d rows were read, in %d batches with chunks", x.seen[change.Read], x.loads)
	}
	for name, p := range h.last.Progress() {
		if !p.Complete || p.Done != p.Blocks {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

// The load runs under traffic with key changes, updates that leave TOAST out, and truncates; the reader is killed at random points.
func TestLoadUnderTrafficWithCrashes(t *testing.T) {
	for _, truncates := range []bool{false, true} {
		t.Run(fmt.Sprintf("truncates=%v", truncates), func(t *testing.T) {
			h := newHarness(t, pgtest.Database(t), []string{"a", "b"}, shop...)
			h.cfg = func(c *reader.Config) { c.RowsPerSecond = 2000 }
			stop := busy(t, h.url, truncates)
			h.start()
			x := h.target()
			for life := range 5 {
				n := x.loads + 3 + life
				x.until("some chunks", func() bool { return x.loads >= n || x.loaded })
				h.kill()
				h.start()
			}
			stop()
			x.settle()
			if x.seen[change.Read] == 0 || x.seen[change.Update] == 0 || x.asked == 0 {
				t.Errorf("the history was too quiet: %v, %d keys asked", x.seen, x.asked)
			}
			t.Logf("%v, %d keys asked, %d batches with chunks", x.seen, x.asked, x.loads)
		})
	}
}

func TestALargeTransactionIsCutInside(t *testing.T) {
	h := newHarness(t, pgtest.Database(t), []string{"a"}, shop...)
	h.start()
	x := h.target()
	x.settle()
	pgtest.Exec(t, h.conn, `INSERT INTO public.a (id, n) SELECT i, i FROM generate_series(10001, 40000) i`)
	x.settle()
}

func TestRequestedKeys(t *testing.T) {
	h := newHarness(t, pgtest.Database(t), []string{"a", "b"}, shop...)
	h.start()
	x := h.target()
	x.settle()
	before := x.seen[change.Read]
	wants := map[string][]change.Row{
		"a": {{change.String("7")}, {change.String("999999")}},
		"b": {{change.String("x3"), change.String("3")}},
	}
	if err := x.request(t.Context(), wants); err != nil {
		t.Fatal(err)
	}
	x.until("answers", func() bool { return x.handled == 2 })
	if x.seen[change.Read] != before+2 || x.seen[change.Delete] != 1 {
		t.Errorf("%d rows and %d deletes came for 3 keys", x.seen[change.Read]-before, x.seen[change.Delete])
	}
	h.kill()
	h.start()
	x.settle()
	if x.handled != 2 {
		t.Errorf("after a restart %d requests are handled", x.handled)
	}
}

func TestForeignMarksEndBatches(t *testing.T) {
	h := newHarness(t, pgtest.Database(t), []string{"a"}, shop...)
	h.start()
	x := h.target()
	x.settle()
	x.marks = nil
	h.mark("low", "one")
	h.mark("high", "two")
	x.until("marks", func() bool { return len(x.marks) == 2 })
	if x.marks[0].Kind != "low" || x.marks[1].Kind != "snapshot" || x.marks[1].ID != "two" || !x.marks[0].At.Before(x.marks[1].At) || x.at != x.marks[1].At {
		t.Errorf("at %s: %v", x.at, x.marks)
	}
}

func TestASchemaChangeStopsBeforeItsRows(t *testing.T) {
	h := newHarness(t, pgtest.Database(t), []string{"a"}, shop...)
	h.start()
	x := h.target()
	x.settle()
	pgtest.Exec(t, h.conn, `UPDATE public.a SET n = -1 WHERE id = 1`, `ALTER TABLE public.a ADD COLUMN extra text DEFAULT 'of the table'`,
		`UPDATE public.a SET extra = 'secret', n = -2 WHERE id = 1`)
	err := h.end()
	if err == nil || !strings.Contains(err.Error(), "public.a") || !strings.Contains(err.Error(), "extra") || strings.Contains(err.Error(), "secret") {
		t.Fatalf("got %v", err)
	}
	x.until("what came before the change", func() bool {
		for _, r := range x.rows["a"] {
			if string(r[2].Bytes()) == "-1" {
				return true
			}
		}
		return false
	})
	// It goes on by the new shape.
	h.start()
	x.reshape()
	x.settleAgain()
}

func TestTablesThatCannotBeFollowedAreRefused(t *testing.T) {
	h := newHarness(t, pgtest.Database(t), []string{"plain", "nothing"},
		`CREATE TABLE public.plain (n int)`, `CREATE TABLE public.nothing (id int PRIMARY KEY)`, `ALTER TABLE public.nothing REPLICA IDENTITY NOTHING`)
	h.start()
	err := h.end()
	for _, want := range []string{"ADD PRIMARY KEY", "REPLICA IDENTITY DEFAULT", "public.plain", "public.nothing"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
}

// dropSlot waits until the server has noticed that the former life is over.
func (h *harness) dropSlot() {
	h.t.Helper()
	h.wait("the slot to be free", func() bool {
		var free bool
		if err := h.conn.QueryRow(h.t.Context(), `SELECT NOT active FROM pg_replication_slots WHERE slot_name = $1`, h.slot).Scan(&free); err != nil {
			h.t.Fatal(err)
		}
		return free
	})
	pgtest.Exec(h.t, h.conn, `SELECT pg_drop_replication_slot('`+h.slot+`')`)
}

func TestALostSlotStopsTheReader(t *testing.T) {
	h := newHarness(t, pgtest.Database(t), []string{"a"}, shop...)
	h.start()
	x := h.target()
	x.settle()
	h.kill()
	h.dropSlot()
	pgtest.Exec(t, h.conn, `UPDATE public.a SET n = 0 WHERE id < 10`)
	h.start()
	if err := h.end(); err == nil || !strings.Contains(err.Error(), "data is at risk") {
		t.Fatalf("got %v", err)
	}
	// The slot exists by now, but it does not continue the frontiers either.
	h.start()
	if err := h.end(); err == nil || !strings.Contains(err.Error(), "data is at risk") {
		t.Fatalf("got %v", err)
	}
	h.cfg = func(c *reader.Config) { c.NewHistory = true }
	h.start()
	x.until("the new epoch", func() bool { return x.at.Epoch == 2 })
	x.settle()
}

// A new history that is cut short is still one for the next life: what the former one had read is read again.
func TestANewHistoryOutlivesACrash(t *testing.T) {
	h := newHarness(t, pgtest.Database(t), []string{"a", "b"}, shop...)
	h.start()
	x := h.target()
	x.settle()
	h.kill()
	h.dropSlot()
	pgtest.Exec(t, h.conn, `UPDATE public.a SET n = 0 WHERE id < 10`, `UPDATE public.b SET note = 'unseen' WHERE y < 10`)
	h.cfg = func(c *reader.Config) { c.NewHistory, c.RowsPerSecond, c.Workers = true, 1, 1 }
	h.start()
	x.until("the new epoch", func() bool { return x.at.Epoch == 2 })
	h.kill()
	h.cfg = func(*reader.Config) {}
	h.start()
	x.settle()
}

// A publication that somebody altered, or whose table was made again, left changes out that nothing would ever show.
func TestAGapInThePublicationStopsTheReader(t *testing.T) {
	h := newHarness(t, pgtest.Database(t), []string{"a", "b"}, shop...)
	h.start()
	x := h.target()
	x.settle()
	h.kill()
	pgtest.Exec(t, h.conn, `ALTER PUBLICATION `+h.slot+` DROP TABLE public.b`, `UPDATE public.b SET note = 'unseen' WHERE y < 10`)
	for range 2 { // the first life must not mend what the second one has to see
		h.start()
		if err := h.end(); err == nil || !strings.Contains(err.Error(), "public.b") || strings.Contains(err.Error(), "public.a") || !strings.Contains(err.Error(), "in no stream") {
			t.Fatalf("got %v", err)
		}
	}
	h.cfg = func(c *reader.Config) { c.NewHistory = true }
	h.start()
	x.until("the new epoch", func() bool { return x.at.Epoch == 2 })
	x.settle()
	h.kill()
	h.cfg = func(*reader.Config) {}
	pgtest.Exec(t, h.conn, `UPDATE public.b SET note = 'of the former table' WHERE y < 10`, `CREATE TABLE public.c (LIKE public.b INCLUDING ALL)`, `DROP TABLE public.b`, `ALTER TABLE public.c RENAME TO b`)
	h.start()
	if err := h.end(); err == nil || !strings.Contains(err.Error(), "all of public.b any more") {
		t.Fatalf("got %v", err)
	}
	// The log still has rows of the former table.
	h.cfg = func(c *reader.Config) { c.NewHistory = true }
	pgtest.Exec(t, h.conn, `INSERT INTO public.b (x, y, note) VALUES ('x', 1, 'of the new table')`)
	h.start()
	x.until("the new epoch", func() bool { return x.at.Epoch == 3 })
	x.until("the load", func() bool { return x.loaded })
	x.rows["b"] = only(x.rows["b"], "of the new table") // rows that the source no longer has are a comparison's to find
	x.settle()
}

func only(rows map[string]change.Row, note string) map[string]change.Row {
	out := map[string]change.Row{}
	for k, r := range rows {
		if string(r[len(r)-1].Bytes()) == note {
			out[k] = r
		}
	}
	return out
}

// A slot that the server gave up is made again where a new history was chosen.
func TestANewHistoryReplacesALostSlot(t *testing.T) {
	c := pgtest.Private(t, map[string]string{"max_slot_wal_keep_size": "1MB", "min_wal_size": "32MB", "max_wal_size": "32MB"})
	h := newHarness(t, c.Database(t), []string{"a"}, shop...)
	h.start()
	x := h.target()
	x.settle()
	h.kill()
	h.wait("the slot to be lost", func() bool {
		pgtest.Exec(t, h.conn, `UPDATE public.a SET n = 0 WHERE id < 10`, `SELECT pg_switch_wal()`, `CHECKPOINT`)
		var lost bool
		if err := h.conn.QueryRow(t.Context(), `SELECT wal_status = 'lost' FROM pg_replication_slots WHERE slot_name = $1`, h.slot).Scan(&lost); err != nil {
			t.Fatal(err)
		}
		return lost
	})
	h.start()
	if err := h.end(); err == nil || !strings.Contains(err.Error(), "is lost") {
		t.Fatalf("got %v", err)
	}
	h.cfg = func(c *reader.Config) { c.NewHistory = true }
	h.start()
	x.until("the new epoch", func() bool { return x.at.Epoch == 2 })
	x.settle()
}

func TestTheSlotIsConfirmedOnlyBehindValidFrontiers(t *testing.T) {
	h := newHarness(t, pgtest.Database(t), []string{"a"}, shop...)
	h.start()
	x := h.target()
	x.settle()
	h.stop()
	if err := <-h.ended; err != nil {
		t.Fatal(err)
	}
	h.stop = nil
	x.until("what was cut last", func() bool { return !x.source.Ready() })
	var confirmed int64
	if err := h.conn.QueryRow(t.Context(), `SELECT (confirmed_flush_lsn - '0/0')::bigint FROM pg_replication_slots WHERE slot_name = $1`, h.slot).Scan(&confirmed); err != nil {
		t.Fatal(err)
	}
	if s := x.source.State(); uint64(confirmed) > s.Confirm || confirmed == 0 {
		t.Errorf("the slot was confirmed up to %d, the last frontier says %d", confirmed, s.Confirm)
	}
}

func TestARewriteDuringTheLoadReadsTheTableAgain(t *testing.T) {
	h := newHarness(t, pgtest.Database(t), []string{"a"}, shop...)
	h.cfg = func(c *reader.Config) { c.RowsPerSecond, c.Workers = 1500, 1 }
	h.start()
	x := h.target()
	x.until("some chunks", func() bool { return x.loads >= 3 })
	pgtest.Exec(t, h.conn, `DELETE FROM public.a WHERE id % 3 = 0`, `VACUUM FULL public.a`)
	x.settle()
	if !strings.Contains(h.logs.String(), "rewritten") {
		t.Error("the rewrite came too late to matter")
	}
}

func TestPartitions(t *testing.T) {
	h := newHarness(t, pgtest.Database(t), []string{"p"},
		`CREATE TABLE public.p (id int, part int, note text, PRIMARY KEY (id, part)) PARTITION BY LIST (part)`,
		`CREATE TABLE public.p_1 PARTITION OF public.p FOR VALUES IN (1)`, `CREATE TABLE public.p_2 PARTITION OF public.p FOR VALUES IN (2)`,
		`INSERT INTO public.p SELECT i, 1 + i % 2, repeat('p', 100) FROM generate_series(1, 1000) i`)
	h.start()
	x := h.target()
	x.settle()
	pgtest.Exec(t, h.conn, `UPDATE public.p SET part = 3 - part WHERE id < 20`, `TRUNCATE public.p`, `INSERT INTO public.p VALUES (1, 2, 'after')`)
	x.settle()
}

// Of what happened to a partition while the reader was down the log tells nothing: the start does.
func TestAPartitionThatWentWhileNobodyReadIsTold(t *testing.T) {
	h := newHarness(t, pgtest.Database(t), []string{"p"},
		`CREATE TABLE public.p (id int, part int, PRIMARY KEY (id, part)) PARTITION BY LIST (part)`,
		`CREATE TABLE public.p_1 PARTITION OF public.p FOR VALUES IN (1)`, `CREATE TABLE public.p_2 PARTITION OF public.p FOR VALUES IN (2)`,
		`CREATE TABLE public.p_3 PARTITION OF public.p FOR VALUES IN (3)`, `INSERT INTO public.p SELECT i, 1 + i % 3 FROM generate_series(1, 100) i`)
	h.start()
	x := h.target()
	x.settle()
	h.kill()
	pgtest.Exec(t, h.conn, `ALTER TABLE public.p DETACH PARTITION public.p_2`, `TRUNCATE public.p_3`)
	h.start()
	h.waitLog("a partition is gone or was rewritten since it was read")
	h.wait("both to be told", func() bool {
		logs := h.logs.String()
		return strings.Contains(logs, "partition=public.p_2") && strings.Contains(logs, "partition=public.p_3") && !strings.Contains(logs, "partition=public.p_1")
	})
}

func TestStopsWhileTheSourceIsSilent(t *testing.T) {
	h := newHarness(t, pgtest.Database(t), []string{"a"}, shop...)
	h.start()
	x := h.target()
	x.settle()
	began := time.Now()
	h.stop()
	if err := <-h.ended; err != nil || time.Since(began) > 5*time.Second {
		t.Errorf("%v after %s", err, time.Since(began))
	}
	h.stop = nil
}

func TestAnotherServerStopsTheReader(t *testing.T) {
	h := newHarness(t, pgtest.Database(t), []string{"a"}, shop...)
	h.start()
	h.target().settle()
	h.kill()
	// The same tables in another database are another history.
	other := pgtest.Database(t)
	pgtest.Exec(t, pgtest.Connect(t, other), shop...)
	h.cfg = func(c *reader.Config) { c.URL, c.Slot = other, h.slot+"_2" }
	h.start()
	if err := h.end(); err == nil || !strings.Contains(err.Error(), "the frontiers in Kafka tell of") {
		t.Fatalf("got %v", err)
	}
}
