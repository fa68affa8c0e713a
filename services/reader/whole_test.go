package reader_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"segue/pkg/change"
	"segue/pkg/pgtest"
	"segue/pkg/request"
	"segue/pkg/table"
)

// applyKeyless follows a table without key strictly: a row that is taken away must be there.
func (x *target) applyKeyless(c *change.Change) error {
	lot := x.lots[c.Table.Name.Table]
	if lot == nil {
		lot = map[string]int{}
		x.lots[c.Table.Name.Table] = lot
	}
	if c.Op == change.Truncate {
		clear(lot)
		return nil
	}
	if c.Op == change.Update || c.Op == change.Delete {
		if !c.Before.Whole() {
			return fmt.Errorf("%s of %s without its whole old row", c.Op, c.Table.Name)
		}
		old := text(c.Table, c.Before)
		if lot[old] == 0 {
			return fmt.Errorf("%s of a row of %s that is not there: %.60s", c.Op, c.Table.Name, old)
		}
		if lot[old]--; lot[old] == 0 {
			delete(lot, old)
		}
	}
	if c.Op == change.Delete {
		return nil
	}
	row := append(change.Row(nil), c.After...)
	for i := range row {
		if row[i].IsAbsent() && c.Before != nil {
			row[i] = c.Before[i]
		}
	}
	lot[text(c.Table, row)]++
	return nil
}

func (x *target) equalLots(t *table.Table, want []string) {
	x.h.t.Helper()
	got := map[string]int{}
	for row, n := range x.lots[t.Name.Table] {
		got[row] = n
	}
	for _, r := range want {
		got[r]--
	}
	for r, n := range got {
		if n != 0 {
			x.h.t.Errorf("%s: the target has %d too many of %.60s", t.Name, n, r)
		}
	}
}

var lots = []string{
	`CREATE TABLE public.k (a int, b text, n numeric, j json, p point, big text)`,
	`ALTER TABLE public.k REPLICA IDENTITY FULL`,
	`ALTER TABLE public.k ALTER COLUMN big SET STORAGE EXTERNAL`,
	`INSERT INTO public.k SELECT i % 40, 'x', (i % 3)::numeric / 2, '{"a":  1}', '(1,2)', CASE WHEN i % 50 = 0 THEN repeat('t', 5000) END FROM generate_series(1, 2000) i`,
	`CREATE TABLE public.a (id int PRIMARY KEY, n int)`,
	`INSERT INTO public.a SELECT i, i FROM generate_series(1, 1000) i`,
}

func lotStatement(r *rand.Rand, truncates bool) string {
	a := r.IntN(50)
	one := fmt.Sprintf(`ctid = (SELECT ctid FROM public.k WHERE a = %d LIMIT 1 FOR UPDATE SKIP LOCKED)`, a)
	switch n := r.IntN(100); {
	case n < 30:
		return fmt.Sprintf(`INSERT INTO public.k VALUES (%d, 'x', 1.0, '{"a":  1}', '(1,2)', repeat('t', %d))`, a, 5000*(n%2))
	case n < 50:
		return fmt.Sprintf(`UPDATE public.k SET a = %d WHERE %s`, r.IntN(50), one)
	case n < 60:
		return fmt.Sprintf(`UPDATE public.k SET b = NULL, n = %d.%d0 WHERE ctid IN (SELECT ctid FROM public.k WHERE a = %d LIMIT 3 FOR UPDATE SKIP LOCKED)`, r.IntN(3), r.IntN(2), a)
	case n < 75:
		return `DELETE FROM public.k WHERE ` + one
	case n < 80:
		return fmt.Sprintf(`SAVEPOINT s; INSERT INTO public.k (a) VALUES (%d); ROLLBACK TO s; SAVEPOINT r; INSERT INTO public.k (a, b) VALUES (%d, 'sub'); RELEASE r`, a, a)
	case n == 80 && truncates && r.IntN(6) == 0:
		return `TRUNCATE public.k, public.a`
	}
	return fmt.Sprintf(`INSERT INTO public.a VALUES (%d, 1) ON CONFLICT (id) DO UPDATE SET n = public.a.n + 1`, r.IntN(1500))
}

// lotTraffic changes a table without key, and one with, from several connections, until the returned function is called.
func lotTraffic(t *testing.T, url string, writers uint64, truncates bool) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for seed := range writers {
		conn, err := pgx.Connect(context.Background(), url)
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			defer conn.Close(context.Background())
			r := rand.New(rand.NewPCG(seed, 11))
			pace := time.NewTicker(2 * time.Millisecond)
			defer pace.Stop()
			for ctx.Err() == nil {
				<-pace.C
				sql := "BEGIN"
				for range 1 + r.IntN(4) {
					sql += "; " + lotStatement(r, truncates)
				}
				if _, err := conn.PgConn().Exec(context.Background(), sql+"; COMMIT").ReadAll(); err != nil {
					_, _ = conn.PgConn().Exec(context.Background(), "ROLLBACK").ReadAll() // two of the traffic met
				}
			}
		})
	}
	stop = func() { cancel(); wg.Wait() }
	t.Cleanup(stop)
	return stop
}

func TestLoadOfAQuietTableWithoutAKey(t *testing.T) {
	h := newHarness(t, pgtest.Database(t), []string{"k", "a", "none"}, append(lots, `CREATE TABLE public.none (a int)`, `ALTER TABLE public.none REPLICA IDENTITY FULL`)...)
	h.start()
	x := h.target()
	x.settle()
	if x.seen[change.Read] != 3000 || x.seen[change.Truncate] != 2 {
		t.Errorf("seen %v", x.seen)
	}
	if p := h.last.Progress()["public.k"]; !p.Complete || p.Done != p.Blocks {
		t.Errorf("%+v", p)
	}
	var slots int
	if err := h.conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE '%_load_%' AND database = current_database()").Scan(&slots); err != nil || slots != 0 {
		t.Errorf("%d temporary slots are left: %v", slots, err)
	}
	// Another life does not load it again.
	pgtest.Exec(t, h.conn, "DELETE FROM public.k WHERE a = 3", "VACUUM FULL public.k")
	h.kill()
	h.start()
	x.settle()
	if x.seen[change.Truncate] != 2 {
		t.Errorf("loaded again: %v", x.seen)
	}
}

// Commits race the snapshot from many connections, the reader is killed at random points, and every row that is taken away must be there.
func TestLoadOfATableWithoutAKeyUnderTrafficWithCrashes(t *testing.T) {
	for _, truncates := range []bool{false, true} {
		t.Run(fmt.Sprintf("truncates=%v", truncates), func(t *testing.T) {
			h := newHarness(t, pgtest.Database(t), []string{"k", "a"}, lots...)
			stop := lotTraffic(t, h.url, 6, truncates)
			h.start()
			x := h.target()
			for life := range 6 {
				n := x.seen[change.Read] + 300*life
				x.until("some rows", func() bool { return x.seen[change.Read] >= n || x.loaded })
				h.kill()
				h.start()
			}
			x.until("the load", func() bool { return x.loaded })
			for n := range int64(2) { // loads of a table whose changes flow
				x.again("k")
				x.until("it is loaded again", func() bool { return x.handled > n })
			}
			stop()
			x.settle()
			t.Logf("%v", x.seen)
		})
	}
}

// again asks for a table without key as a whole.
func (x *target) again(name string) {
	x.h.t.Helper()
	b, err := x.asks.EncodeRequest(request.Request{ID: "r", Kind: request.Keys, Table: table.Name{Schema: "public", Table: name}, Keys: []change.Row{{}}})
	if err != nil {
		x.h.t.Fatal(err)
	}
	if err := x.ask.Produce(x.h.t.Context(), b); err != nil {
		x.h.t.Fatal(err)
	}
}

// A request for all of a table stays unanswered until the load is there, over lives, and is answered then.
func TestATableWithoutAKeyIsLoadedAgainOverLives(t *testing.T) {
	h := newHarness(t, pgtest.Database(t), []string{"k", "a"}, lots...)
	h.start()
	x := h.target()
	x.settle()
	held := pgtest.Connect(t, h.url)
	pgtest.Exec(t, held, "BEGIN", "SELECT pg_current_xact_id()") // no slot is consistent before it ends
	x.again("k")
	pgtest.Exec(t, h.conn, "INSERT INTO public.k (a) VALUES (1)")
	x.settle()
	if x.handled != 0 || x.seen[change.Truncate] != 1 {
		t.Errorf("handled %d, seen %v", x.handled, x.seen)
	}
	h.kill()
	h.start()
	pgtest.Exec(t, held, "COMMIT")
	x.until("the request is answered", func() bool { return x.handled == 1 })
	x.settle()
	if x.seen[change.Truncate] != 2 {
		t.Errorf("seen %v", x.seen)
	}
}

// A resync of all of a table without key voids its load in the frontier itself; by a predicate it cannot be read.
func TestResyncOfATableWithoutAKey(t *testing.T) {
	h := newHarness(t, pgtest.Database(t), []string{"k", "a"}, lots...)
	h.start()
	x := h.target()
	x.settle()
	for _, where := range []string{"", "a = 1"} {
		b, err := x.asks.EncodeRequest(request.Request{ID: "r", Kind: request.Resync, Table: table.Name{Schema: "public", Table: "k"}, Where: where})
		if err != nil {
			t.Fatal(err)
		}
		if err := x.ask.Produce(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	x.until("both are handled, and the table is read again", func() bool { return x.handled == 2 && x.seen[change.Truncate] == 2 })
	h.kill()
	h.start()
	x.settle()
	if x.seen[change.Truncate] > 3 { // once more where the life ended before the load's frontier was written
		t.Errorf("seen %v", x.seen)
	}
}
