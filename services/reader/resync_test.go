package reader_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"segue/pkg/change"
	"segue/pkg/pgtest"
	"segue/pkg/request"
	"segue/pkg/table"
	"segue/services/reader"
)

// resync asks for a table again, or for those of its rows for which a predicate holds, and returns how many requests are handled with it.
func (x *target) resync(name, where string) int64 {
	x.h.t.Helper()
	b, err := x.asks.EncodeRequest(request.Request{
		ID: "again", Kind: request.Resync, Table: table.Name{Schema: "public", Table: name}, Where: where, By: "test",
	})
	if err != nil {
		x.h.t.Fatal(err)
	}
	if err := x.ask.Produce(x.h.t.Context(), b); err != nil {
		x.h.t.Fatal(err)
	}
	x.requested++
	return x.requested
}

// reading says whether a load of the table is open at the last boundary.
func (x *target) reading(name string) bool {
	for _, l := range x.source.State().Loads {
		if l.Table.Table == name && !l.Complete {
			return true
		}
	}
	return false
}

func (x *target) blocksDone(name string) (n int) {
	for _, l := range x.source.State().Loads {
		if l.Table.Table == name {
			for _, r := range l.Done {
				n += int(r.To - r.From)
			}
		}
	}
	return n
}

// spoil makes the target's table wrong: rows are missing, rows are different.
func (x *target) spoil(name string) {
	n := 0
	for k, r := range x.rows[name] {
		n++
		switch n % 3 {
		case 0:
			delete(x.rows[name], k)
		case 1:
			wrong := append(change.Row(nil), r...)
			wrong[2] = change.String("0") // n of a, note of b
			x.rows[name][k] = wrong
		}
	}
	x.save()
}

func TestResyncReadsATableAgain(t *testing.T) {
	h := newHarness(t, pgtest.Database(t), []string{"a", "b"}, shop...)
	h.start()
	x := h.target()
	x.settle()
	x.spoil("a")
	for _, r := range x.rows["a"] {
		extra := append(change.Row(nil), r...)
		extra[0] = change.String("888888")
		x.rows["a"][string(extra.AppendKey(nil, []int{0}))] = extra
		break
	}
	x.save()
	b := x.blocksDone("b")
	handled := x.resync("a", "")
	x.until("its place", func() bool { return x.handled >= handled })
	if !x.loaded || !x.reading("a") || x.reading("b") || x.blocksDone("b") != b {
		t.Errorf("at its place: loaded %v, open loads: a %v b %v", x.loaded, x.reading("a"), x.reading("b"))
	}
	x.until("the end", func() bool { return !x.reading("a") })
	// What is left over on the target is asked for by key, and comes as a delete.
	if err := x.request(t.Context(), map[string][]change.Row{"a": {{change.String("888888")}}}); err != nil {
		t.Fatal(err)
	}
	x.until("the answer", func() bool { return x.handled >= handled+1 })
	x.settle()
}

// A resync that is killed again and again goes on where its last frontier stood, under traffic, and no row moves back in time (P6).
func TestResyncUnderTrafficWithCrashes(t *testing.T) {
	h := newHarness(t, pgtest.Database(t), []string{"a", "b"}, shop...)
	h.start()
	x := h.target()
	x.settle()
	h.kill()
	h.cfg = func(c *reader.Config) { c.RowsPerSecond, c.Workers = 1500, 2 }
	h.start()
	stop := busy(t, h.url, false)
	x.spoil("b")
	handled := x.resync("a", "")
	x.resync("b", "")
	x.until("their place", func() bool { return x.handled > handled })
	for range 4 {
		n := x.blocksDone("a") + 2
		x.until("some blocks", func() bool { return x.blocksDone("a") >= n || !x.reading("a") })
		was := x.blocksDone("a")
		h.kill()
		h.start()
		claim := x.claims
		x.until("the next life", func() bool { return x.claims > claim })
		if x.handled < handled+1 || !x.loaded || x.blocksDone("a") < was {
			t.Fatalf("behind a crash: %d requests handled, loaded %v, %d blocks of %d", x.handled, x.loaded, x.blocksDone("a"), was)
		}
	}
	h.kill()
	h.cfg = func(*reader.Config) {}
	h.start()
	x.until("the end", func() bool { return !x.reading("a") && !x.reading("b") })
	stop()
	x.settle()
}

// Rows move in and out of the predicate while it is read by; other rows are left alone.
func TestResyncByPredicateUnderTraffic(t *testing.T) {
	h := newHarness(t, pgtest.Database(t), []string{"a"}, shop...)
	h.cfg = func(c *reader.Config) { c.RowsPerSecond, c.Workers = 3000, 2 }
	h.start()
	x := h.target()
	x.settle()
	other := x.seen[change.Read]
	handled := x.resync("a", "n % 2 = 0 AND id > 0")
	x.until("the answer on a quiet table", func() bool { return x.handled >= handled })
	if n := x.seen[change.Read] - other; n == 0 || n >= other || x.reading("a") {
		t.Fatalf("%d of %d rows were read, open %v", n, other, x.reading("a"))
	}
	ctx, cancel := context.WithCancel(t.Context())
	moved := make(chan struct{})
	mover := pgtest.Connect(t, h.url)
	go func() { // rows leave the predicate and come back, some with a new key
		defer close(moved)
		pace := time.NewTicker(20 * time.Millisecond)
		defer pace.Stop()
		for i := 0; ctx.Err() == nil; i++ {
			if _, err := mover.Exec(t.Context(), fmt.Sprintf(`UPDATE public.a SET n = n + 1, id = CASE WHEN id %% 7 = 1 THEN id + 100000 ELSE id END, v = nextval('public.versions') WHERE id %% 50 = %d`, i%50)); err != nil {
				t.Error(err)
				return
			}
			<-pace.C
		}
	}()
	spoilt := 0
	for k, r := range x.rows["a"] {
		if strings.HasSuffix(string(r[2].Bytes()), "2") {
			delete(x.rows["a"], k)
			spoilt++
		}
	}
	x.save()
	handled = x.resync("a", "n % 2 = 0")
	x.until("some rows", func() bool { return x.seen[change.Read] > other+spoilt })
	if x.handled >= handled {
		t.Fatal("it was over before the crash")
	}
	h.kill()
	h.start()
	x.until("the answer", func() bool { return x.handled >= handled })
	cancel()
	<-moved
	// Rows whose number was even and became odd while they were missing from the target are the stream's, and asked for by key.
	x.settle()
}

// A predicate that no server takes, or that fails on a row, stops nobody, and no value of the row is told.
func TestAResyncWhosePredicateFailsIsPassedOver(t *testing.T) {
	h := newHarness(t, pgtest.Database(t), []string{"a"}, shop...)
	h.start()
	x := h.target()
	x.settle()
	var handled int64
	for _, where := range []string{"true) TO STDOUT; DROP TABLE public.a; --", "nosuch > 1", "pg_sleep(1) IS NULL", "nextval('public.versions') > 0", "1 / (n - n) > 0", "n::text::date IS NULL", "n = 'secret'"} {
		handled = x.resync("a", where)
	}
	x.until("all to be passed over", func() bool { return x.handled >= handled })
	x.settle()
	logs := h.logs.String()
	for _, want := range []string{"nosuch", "volatile", "(SQLSTATE 22012 division_by_zero)", "(SQLSTATE 22007 invalid_datetime_format)"} {
		if !strings.Contains(logs, want) {
			t.Errorf("the log does not say %q:\n%s", want, logs)
		}
	}
	if strings.Contains(logs, "secret") {
		t.Errorf("the log tells a value:\n%s", logs)
	}
}

func TestARewriteDuringAResyncReadsTheTableAgain(t *testing.T) {
	h := newHarness(t, pgtest.Database(t), []string{"a"}, shop...)
	h.start()
	x := h.target()
	x.settle()
	h.kill()
	h.cfg = func(c *reader.Config) { c.RowsPerSecond, c.Workers = 1500, 1 }
	h.start()
	x.spoil("a")
	x.resync("a", "")
	x.until("some blocks", func() bool { return x.reading("a") && x.blocksDone("a") > 3 })
	pgtest.Exec(t, h.conn, `VACUUM FULL public.a`)
	h.waitLog("a table was rewritten, reading it from the start")
	x.until("the end", func() bool { return !x.reading("a") })
	x.settle()
}

// The log tells nothing of a truncated or dropped partition. The reader stops and says so; it goes on, the table is read again, and what
// is left over goes by key. The load of a partition that is gone does not stay open.
func TestResyncOfATableWhosePartitionsWent(t *testing.T) {
	h := newHarness(t, pgtest.Database(t), []string{"p"},
		`CREATE TABLE public.p (id int, part int, note text, PRIMARY KEY (id, part)) PARTITION BY LIST (part)`,
		`CREATE TABLE public.p_1 PARTITION OF public.p FOR VALUES IN (1)`, `CREATE TABLE public.p_2 PARTITION OF public.p FOR VALUES IN (2)`,
		`CREATE TABLE public.p_3 PARTITION OF public.p FOR VALUES IN (3)`,
		`INSERT INTO public.p SELECT i, 1 + i % 3, repeat('p', 500) FROM generate_series(1, 900) i`)
	h.start()
	x := h.target()
	x.settle()
	h.kill()
	h.cfg = func(c *reader.Config) { c.RowsPerSecond, c.Workers = 100, 1 }
	h.start()
	x.resync("p", "")
	x.until("some blocks", func() bool { return x.reading("p") && x.blocksDone("p") > 0 })
	h.kill()
	pgtest.Exec(t, h.conn, `TRUNCATE public.p_1`, `DROP TABLE public.p_3`, `INSERT INTO public.p VALUES (5000, 1, 'new')`)
	h.cfg = func(*reader.Config) {}
	h.start()
	x.until("the end", func() bool { return !x.reading("p") })
	handled := x.resync("p", "")
	x.until("the second end", func() bool { return x.handled >= handled && !x.reading("p") })
	var extra []change.Row
	for _, r := range x.rows["p"] {
		if part := string(r[1].Bytes()); part == "3" || part == "1" && string(r[0].Bytes()) != "5000" {
			extra = append(extra, change.Row{r[0], r[1]})
		}
	}
	if len(extra) != 600 {
		t.Errorf("%d rows are left over", len(extra))
	}
	if err := x.request(t.Context(), map[string][]change.Row{"p": extra}); err != nil {
		t.Fatal(err)
	}
	x.until("the answer", func() bool { return x.handled > handled })
	x.settle()
	h.logs.clear()
	h.kill()
	h.start()
	x.settle()
	if strings.Contains(h.logs.String(), "is gone") {
		t.Error("behind the resync the partition is told of again")
	}
	for _, l := range x.source.State().Loads {
		if l.Leaf.Table == "p_3" && (!l.Complete || len(l.Done) > 0) {
			t.Errorf("%+v", l)
		}
	}
}

// A resync in the middle of the initial load, and two of one table at once: each reads all rows behind its place.
func TestResyncsOverlap(t *testing.T) {
	h := newHarness(t, pgtest.Database(t), []string{"a", "b"}, shop...)
	h.cfg = func(c *reader.Config) { c.RowsPerSecond, c.Workers = 4000, 2 }
	h.start()
	x := h.target()
	x.until("some chunks", func() bool { return x.loads >= 3 })
	if x.loaded {
		t.Fatal("the load was over too soon")
	}
	x.spoil("a")
	x.resync("a", "")
	x.resync("a", "")
	x.resync("b", "y > 10")
	handled := x.resync("a", "")
	x.until("their place", func() bool { return x.handled >= handled })
	x.until("the load", func() bool { return x.loaded && !x.reading("a") })
	x.settle()
}
