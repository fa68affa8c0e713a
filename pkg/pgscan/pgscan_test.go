package pgscan_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"segue/pkg/change"
	"segue/pkg/chunk"
	"segue/pkg/fault"
	"segue/pkg/frontier"
	"segue/pkg/pgscan"
	"segue/pkg/pgtest"
	"segue/pkg/postgres"
	"segue/pkg/table"
)

type fixture struct {
	t    *testing.T
	conn *pgx.Conn
	pool *pgxpool.Pool
	scan *pgscan.Scanner
}

func open(t *testing.T, statements ...string) *fixture {
	t.Helper()
	url := pgtest.Database(t)
	pool, err := postgres.NewPool(t.Context(), url, "test", 4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	f := &fixture{t: t, conn: pgtest.Connect(t, url), pool: pool, scan: pgscan.New(pool, "")}
	pgtest.Exec(t, f.conn, statements...)
	return f
}

func (f *fixture) shape(name string) *table.Table {
	f.t.Helper()
	ts, err := postgres.Tables(f.t.Context(), f.conn, []table.Name{{Schema: "public", Table: name}})
	if err != nil {
		f.t.Fatal(err)
	}
	return ts[0]
}

func (f *fixture) heaps(t *table.Table) []chunk.Heap {
	f.t.Helper()
	hs, err := f.scan.Heaps(f.t.Context(), []*table.Table{t})
	if err != nil {
		f.t.Fatal(err)
	}
	return hs
}

func whole(h chunk.Heap) chunk.Chunk {
	return chunk.Chunk{Table: h.Table, Leaf: h.Leaf, Filenode: h.Filenode, Range: frontier.Range{To: h.Blocks}, Open: true}
}

func show(rows []change.Row) []string {
	var out []string
	for _, r := range rows {
		var f []string
		for _, v := range r {
			switch v.Kind() {
			case change.KindAbsent:
				f = append(f, "absent")
			case change.KindNull:
				f = append(f, "NULL")
			default:
				f = append(f, string(v.Bytes()))
			}
		}
		out = append(out, strings.Join(f, "|"))
	}
	slices.Sort(out)
	return out
}

func TestReadGivesEveryValueAsItIs(t *testing.T) {
	f := open(t, `CREATE TABLE public.v (id int PRIMARY KEY, t text, b bytea, twice int GENERATED ALWAYS AS (id * 2) STORED)`,
		`INSERT INTO public.v VALUES (1, E'tab\tnew\nline\rback\\slash\b\f\x0b', '\xdeadbeef'), (2, '\N', NULL), (3, NULL, ''), (4, '', '\x5c'), (5, E'\\.', NULL)`)
	v := f.shape("v")
	got, err := f.scan.Read(t.Context(), whole(f.heaps(v)[0]), 0)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"1|tab\tnew\nline\rback\\slash\b\f\v|\\xdeadbeef|absent", `2|\N|NULL|absent`, `3|NULL|\x|absent`, `4||\x5c|absent`, `5|\.|NULL|absent`,
	}
	if !slices.Equal(show(got.Rows), want) {
		t.Errorf("got %q", show(got.Rows))
	}
	if got.Snapshot.Xmax == 0 || got.Bytes == 0 {
		t.Errorf("snapshot %v, %d bytes", got.Snapshot, got.Bytes)
	}
}

func TestRangesCoverATable(t *testing.T) {
	f := open(t, `CREATE TABLE public.big (id int PRIMARY KEY, pad text)`,
		`INSERT INTO public.big SELECT i, repeat('x', 300) FROM generate_series(1, 5000) i`)
	big := f.shape("big")
	plan := chunk.NewPlan(f.heaps(big), nil, 8*chunk.BlockBytes)
	seen := map[string]bool{}
	n := 0
	for c, ok := plan.Next(); ok; c, ok = plan.Next() {
		got, err := f.scan.Read(t.Context(), c, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		n++
		for _, r := range got.Rows {
			seen[string(r[0].Bytes())] = true
		}
		plan.Finish(c)
	}
	if len(seen) != 5000 || n < 10 || !plan.Complete() {
		t.Errorf("%d rows in %d chunks", len(seen), n)
	}
	if _, err := f.scan.Read(t.Context(), whole(f.heaps(big)[0]), 1000); !errors.Is(err, pgscan.ErrTooLarge) {
		t.Errorf("too much is %v", err)
	}
	if _, err := f.scan.Snapshot(t.Context()); err != nil {
		t.Errorf("after a chunk that was too large: %v", err)
	}
}

func TestARewrittenTableIsNotRead(t *testing.T) {
	for name, sql := range map[string]string{
		"vacuum full": `VACUUM FULL public.r`, "truncate": `TRUNCATE public.r`, "alter": `ALTER TABLE public.r ALTER COLUMN a TYPE bigint`,
	} {
		t.Run(name, func(t *testing.T) {
			f := open(t, `CREATE TABLE public.r (id int PRIMARY KEY, a int)`, `INSERT INTO public.r SELECT i, i FROM generate_series(1, 10) i`)
			c := whole(f.heaps(f.shape("r"))[0])
			pgtest.Exec(t, f.conn, sql)
			if _, err := f.scan.Read(t.Context(), c, 0); !errors.Is(err, pgscan.ErrRewritten) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A rewrite that commits while the chunk waits for its lock must not show as an empty table: the snapshot comes after the lock.
func TestTheLockComesBeforeTheSnapshot(t *testing.T) {
	f := open(t, `CREATE TABLE public.r (id int PRIMARY KEY)`, `INSERT INTO public.r SELECT generate_series(1, 10)`)
	c := whole(f.heaps(f.shape("r"))[0])
	tx, err := f.conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `LOCK TABLE public.r IN ACCESS EXCLUSIVE MODE; INSERT INTO public.r VALUES (11)`); err != nil {
		t.Fatal(err)
	}
	type answer struct {
		rows int
		err  error
	}
	done := make(chan answer, 1)
	go func() {
		got, err := f.scan.Read(context.Background(), c, 0)
		done <- answer{len(got.Rows), err}
	}()
	waitFor(t, f.pool, `SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND mode = 'AccessShareLock' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`)
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a := <-done; a.err != nil || a.rows != 11 {
		t.Errorf("%d rows, %v: the snapshot is older than the lock", a.rows, a.err)
	}
}

// waitFor asks the server until it says yes: the server's own state is the signal.
func waitFor(t *testing.T, pool *pgxpool.Pool, sql string) {
	t.Helper()
	for {
		var ok bool
		if err := pool.QueryRow(t.Context(), sql).Scan(&ok); err != nil {
			t.Fatal(err)
		}
		if ok {
			return
		}
	}
}

func TestPartitionsAreReadOneByOne(t *testing.T) {
	f := open(t, `CREATE TABLE public.p (id int, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at)`,
		`CREATE TABLE public.p_1 PARTITION OF public.p FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')`,
		`CREATE TABLE public.p_2 (at date NOT NULL, gone int, id int NOT NULL)`, `ALTER TABLE public.p_2 DROP COLUMN gone`,
		`ALTER TABLE public.p ATTACH PARTITION public.p_2 FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')`,
		`INSERT INTO public.p VALUES (1, '2024-05-05'), (2, '2025-05-05')`)
	heaps := f.heaps(f.shape("p"))
	if len(heaps) != 2 || heaps[0].Leaf.Table != "p_1" || heaps[1].Table.Name.Table != "p" {
		t.Fatalf("%v", heaps)
	}
	got, err := f.scan.Read(t.Context(), whole(heaps[1]), 0)
	if err != nil || !slices.Equal(show(got.Rows), []string{"2|2025-05-05"}) {
		t.Errorf("%q %v", show(got.Rows), err)
	}
	asked := []change.Row{{change.String("1"), change.String("2024-05-05")}}
	if got, err = f.scan.ReadKeys(t.Context(), heaps[0].Table, asked, 0); err != nil || len(got.Rows) != 1 {
		t.Errorf("%q %v", show(got.Rows), err)
	}
}

func TestChildrenAreNotTheParents(t *testing.T) {
	f := open(t, `CREATE TABLE public.parent (id int PRIMARY KEY)`, `CREATE TABLE public.child () INHERITS (public.parent)`,
		`INSERT INTO public.parent VALUES (1)`, `INSERT INTO public.child VALUES (2)`)
	p := f.shape("parent")
	got, err := f.scan.Read(t.Context(), whole(f.heaps(p)[0]), 0)
	if err != nil || !slices.Equal(show(got.Rows), []string{"1"}) {
		t.Errorf("%q %v", show(got.Rows), err)
	}
	if got, err = f.scan.ReadKeys(t.Context(), p, []change.Row{{change.String("2")}}, 0); err != nil || len(got.Rows) != 0 {
		t.Errorf("%q %v", show(got.Rows), err)
	}
}

// A key is found by the equality of its own index: citext takes abc and ABC for one key, although PostgreSQL, with an empty search_path, would
// compare them as text and find nothing, and for ltree would know no equality at all.
func TestKeysAreFoundByTheirIndexsEquality(t *testing.T) {
	f := open(t)
	for _, c := range []struct{ extension, stored, asked string }{{"citext", "ABC", "abc"}, {"ltree", "Top.x", "Top.x"}} {
		var there bool
		if err := f.conn.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = $1)`, c.extension).Scan(&there); err != nil {
			t.Fatal(err)
		}
		if !there {
			t.Logf("NOT TESTED: %s, which is not installed with this server", c.extension)
			continue
		}
		pgtest.Exec(t, f.conn, `CREATE EXTENSION `+c.extension, `CREATE TABLE public.of_`+c.extension+` (k `+c.extension+` PRIMARY KEY)`,
			`INSERT INTO public.of_`+c.extension+` VALUES ('`+c.stored+`')`)
		shape := f.shape("of_" + c.extension)
		asked := []change.Row{{change.String(c.asked)}}
		if got, err := f.scan.ReadKeys(t.Context(), shape, asked, 0); err != nil || !slices.Equal(show(got.Rows), []string{c.stored}) {
			t.Errorf("%s: %q, %v", c.extension, show(got.Rows), err)
		}
		if got, err := pgscan.Canonical(t.Context(), f.conn, shape, asked); err != nil || !slices.Equal(show(got), []string{c.stored}) {
			t.Errorf("%s: canonical %q, %v", c.extension, show(got), err)
		}
	}
}

func TestReadKeys(t *testing.T) {
	f := open(t, `CREATE DOMAIN public.code AS varchar(20)`,
		`CREATE TABLE public.k (n numeric(8,2), c public.code, v text, PRIMARY KEY (c, n))`,
		`INSERT INTO public.k VALUES (1.50, E'a"b\\c,{}', 'x'), (2, 'plain', NULL), (3, 'null', 'y')`)
	k := f.shape("k")
	key := func(c, n string) change.Row { return change.Row{change.String(n), change.String(c), change.Absent()} }
	got, err := f.scan.ReadKeys(t.Context(), k, []change.Row{key(`a"b\c,{}`, "1.50"), key("plain", "2.00"), key("null", "3"), key("gone", "1")}, 100)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.scan.ReadKeys(t.Context(), k, []change.Row{key("plain", "2.00"), key("null", "3")}, 10); !errors.Is(err, pgscan.ErrTooLarge) {
		t.Errorf("more than fits is %v", err)
	}
	if want := []string{`1.50|a"b\c,{}|x`, "2.00|plain|NULL", "3.00|null|y"}; !slices.Equal(show(got.Rows), want) {
		t.Errorf("got %q", show(got.Rows))
	}
	if _, err = f.scan.ReadKeys(t.Context(), k, []change.Row{key("a", "secret")}, 0); fault.ClassOf(err) != fault.ClassPoison || strings.Contains(err.Error(), "secret") {
		t.Errorf("a key of the wrong type is %v", err)
	}
}

func TestSnapshotAndTransactionID(t *testing.T) {
	f := open(t)
	x, err := f.scan.CurrentXID(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tx, err := f.conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context())
	var own uint64
	var text string
	if err := tx.QueryRow(t.Context(), `SELECT pg_current_xact_id()::text`).Scan(&text); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(text, &own); err != nil || own <= x {
		t.Fatalf("%d after %d, %v", own, x, err)
	}
	s, err := f.scan.Snapshot(t.Context())
	if err != nil || s.Passed(own) || s.Sees(uint32(own)) || !s.Sees(uint32(x)) {
		t.Errorf("%v %v: own %d, before it %d", s, err, own, x)
	}
}

func TestAnotherServerIsRefused(t *testing.T) {
	f := open(t, `CREATE TABLE public.r (id int PRIMARY KEY)`)
	other := pgscan.New(f.pool, "1")
	if _, err := other.Read(t.Context(), whole(f.heaps(f.shape("r"))[0]), 0); fault.HintOf(err) == "" {
		t.Errorf("got %v", err)
	}
}

func TestRowLevelSecurityIsFound(t *testing.T) {
	f := open(t, `CREATE TABLE public.s (id int PRIMARY KEY)`, `ALTER TABLE public.s ENABLE ROW LEVEL SECURITY`)
	s := f.shape("s")
	got, err := f.scan.Restricted(t.Context(), []*table.Table{s})
	if err != nil || len(got) != 0 {
		t.Errorf("a superuser is not restricted: %v %v", got, err)
	}
}

func BenchmarkRead(b *testing.B) {
	url := pgtest.Database(b)
	pool, err := postgres.NewPool(b.Context(), url, "bench", 1)
	if err != nil {
		b.Fatal(err)
	}
	defer pool.Close()
	conn := pgtest.Connect(b, url)
	pgtest.Exec(b, conn, `CREATE TABLE public.big (id int PRIMARY KEY, a text, b timestamptz, c numeric, d int, e text)`,
		`INSERT INTO public.big SELECT i, repeat('x', 60), now(), i / 7.0, i, repeat('y', 40) FROM generate_series(1, 25000) i`)
	ts, err := postgres.Tables(b.Context(), conn, []table.Name{{Schema: "public", Table: "big"}})
	if err != nil {
		b.Fatal(err)
	}
	scan := pgscan.New(pool, "")
	hs, err := scan.Heaps(b.Context(), ts)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		r, err := scan.Read(b.Context(), whole(hs[0]), 0)
		if err != nil || len(r.Rows) != 25000 {
			b.Fatal(err)
		}
		b.SetBytes(r.Bytes)
	}
	b.ReportMetric(float64(b.N)*25000/b.Elapsed().Seconds(), "rows/s")
}

// A generated column is the target's own to compute, unless it identifies the row: servers that publish it send it, and a row is nothing without
// its key.
func TestAGeneratedKeyIsRead(t *testing.T) {
	f := open(t, `CREATE TABLE public.g (n int, twice int GENERATED ALWAYS AS (n * 2) STORED PRIMARY KEY, more int GENERATED ALWAYS AS (n + 1) STORED)`,
		`INSERT INTO public.g (n) VALUES (4)`)
	g := f.shape("g")
	got, err := f.scan.Read(t.Context(), whole(f.heaps(g)[0]), 0)
	if err != nil || !slices.Equal(show(got.Rows), []string{"4|8|absent"}) {
		t.Errorf("%q %v", show(got.Rows), err)
	}
	if got, err = f.scan.ReadKeys(t.Context(), g, []change.Row{{change.Absent(), change.String("8"), change.Absent()}}, 0); err != nil || !slices.Equal(show(got.Rows), []string{"4|8|absent"}) {
		t.Errorf("%q %v", show(got.Rows), err)
	}
}

// Rows that are of no use for their size are given by their key, whatever they hold and however they are read; pieces of a block cover it.
func TestLargeRowsAreGivenByTheirKey(t *testing.T) {
	f := open(t, `CREATE TABLE t (a text, id int PRIMARY KEY, b bytea)`, `ALTER TABLE t ALTER a SET STORAGE EXTERNAL`,
		`INSERT INTO t SELECT repeat(E'x\t\n\\', CASE WHEN i % 3 = 0 THEN 1000 ELSE 1 END), i, NULL FROM generate_series(1, 50) i`)
	tbl := f.shape("t")
	f.scan.Largest = func(*table.Table) int64 { return 3000 }
	c := whole(f.heaps(tbl)[0])
	c.Open, c.Range.To = false, 1
	want := map[string]string{}
	for i := range 50 {
		key := fmt.Sprint(i + 1)
		want[key] = "x\t\n\\|" + key + "|NULL"
		if (i+1)%3 == 0 {
			want[key] = "absent|" + key + "|absent"
		}
	}
	got := map[string]string{}
	add := func(rows []change.Row) {
		for i := range rows {
			key, line := string(rows[i][1].Bytes()), show(rows[i : i+1])[0]
			if _, twice := got[key]; twice {
				t.Errorf("row %s was read twice", key)
			}
			got[key] = line
		}
	}
	for _, lines := range []chunk.Lines{{To: 1}, {From: 1, To: 20}, {From: 20, To: 21}, {From: 21}} {
		c.Lines = lines
		r, err := f.scan.Read(t.Context(), c, 2000)
		if err != nil {
			t.Fatal(err)
		}
		add(r.Rows)
	}
	if !maps.Equal(got, want) {
		t.Errorf("in pieces: %v", got)
	}
	clear(got)
	var asked []change.Row
	for key := range want {
		asked = append(asked, change.Row{{}, change.String(key), {}})
	}
	r, err := f.scan.ReadKeys(t.Context(), tbl, asked, 2000)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Large) != 16 {
		t.Errorf("sizes of %d large rows are told, want 16", len(r.Large))
	}
	if add(r.Rows); !maps.Equal(got, want) || r.Bytes < 60_000 {
		t.Errorf("by key (%d bytes): %v", r.Bytes, got)
	}
}
