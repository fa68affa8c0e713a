package pgsource_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"segue/pkg/pgsource"
	"segue/pkg/pgtest"
)

const big = `(SELECT string_agg(md5(g::text), '') FROM generate_series(1, 200) g)`

func TestRowsByReplicaIdentity(t *testing.T) {
	for _, c := range []struct {
		name, ddl string
		want      []string
	}{
		{"default", ``, []string{
			"insert t is(1,a,A,…BIG)", "insert t is(2,NULL,,NULL)",
			"update t is(1,b,A,~)",
			"update t was(1,~,~,~) is(9,b,A,~)",
			"update t is(9,b,C,~)",
			"delete t was(9,~,~,~)",
			"delete t was(2,~,~,~)",
		}},
		{"full", `ALTER TABLE t REPLICA IDENTITY FULL`, []string{
			"insert t is(1,a,A,…BIG)", "insert t is(2,NULL,,NULL)",
			"update t was(1,a,A,…BIG) is(1,b,A,…BIG)",
			"update t was(1,b,A,…BIG) is(9,b,A,…BIG)",
			"update t was(9,b,A,…BIG) is(9,b,C,…BIG)",
			"delete t was(9,b,C,…BIG)",
			"delete t was(2,NULL,,NULL)",
		}},
		{"index", `CREATE UNIQUE INDEX t_code ON t (code); ALTER TABLE t REPLICA IDENTITY USING INDEX t_code`, []string{
			"insert t is(1,a,A,…BIG)", "insert t is(2,NULL,,NULL)",
			"update t is(1,b,A,~)",
			"update t is(9,b,A,~)",
			"update t was(~,~,A,~) is(9,b,C,~)",
			"delete t was(~,~,C,~)",
			"delete t was(~,~,,~)",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSource(t, `CREATE TABLE t (id int PRIMARY KEY, name text, code text NOT NULL, doc text); `+c.ddl, "t")
			s.exec(`BEGIN`, `INSERT INTO t VALUES (1, 'a', 'A', `+big+`), (2, NULL, '', NULL)`, `UPDATE t SET name = 'b' WHERE id = 1`,
				`UPDATE t SET id = 9 WHERE id = 1`, `UPDATE t SET code = 'C' WHERE id = 9`, `DELETE FROM t WHERE id = 9`, `DELETE FROM t WHERE id = 2`, `COMMIT`)
			want := append(append([]string{"begin"}, c.want...), "commit")
			for i := range want {
				want[i] = strings.ReplaceAll(want[i], "…BIG", "c4c…6400")
			}
			wantLines(t, s.read(s.open(s.config()), nil), want...)
		})
	}
}

func TestTransactionsKeepTheirOrderAndTables(t *testing.T) {
	s := newSource(t, `CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY); CREATE TABLE other (id int)`, "a", "b")
	s.exec(`BEGIN; INSERT INTO a VALUES (1); INSERT INTO b VALUES (1); INSERT INTO other VALUES (1); INSERT INTO a VALUES (2);
		SAVEPOINT x; INSERT INTO b VALUES (2); ROLLBACK TO x; SAVEPOINT y; INSERT INTO b VALUES (3); RELEASE y; COMMIT`,
		`BEGIN; INSERT INTO a VALUES (77); ROLLBACK`,
		`INSERT INTO other VALUES (2)`,
		`DO $$ BEGIN BEGIN INSERT INTO a VALUES (5); RAISE EXCEPTION 'x'; EXCEPTION WHEN OTHERS THEN INSERT INTO a VALUES (6); END; END $$`)
	wantLines(t, s.read(s.open(s.config()), nil),
		"begin", "insert a is(1)", "insert b is(1)", "insert a is(2)", "insert b is(3)", "commit",
		"begin", "insert a is(6)", "commit")
}

func TestTruncate(t *testing.T) {
	s := newSource(t, `CREATE TABLE a (id serial PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY REFERENCES a); CREATE TABLE c (id int PRIMARY KEY)`, "a", "b", "c")
	s.exec(`TRUNCATE a, b, c`, `TRUNCATE a RESTART IDENTITY CASCADE`, `TRUNCATE c`)
	got := s.read(s.open(s.config()), nil)
	if len(got) > 4 && got[4] == "truncate b,a cascade=true restart=true" {
		got[4] = "truncate a,b cascade=true restart=true" // the server's order is its own
	}
	wantLines(t, got, "begin", "truncate a,b,c cascade=false restart=false", "commit",
		"begin", "truncate a,b cascade=true restart=true", "commit", "begin", "truncate c cascade=false restart=false", "commit")
}

func TestGeneratedAndDroppedColumnsAreAtTheirPlaces(t *testing.T) {
	s := newSource(t, `CREATE TABLE g (gone int, a int, twice int GENERATED ALWAYS AS (a * 2) STORED, gone2 int, b text, id int PRIMARY KEY, no_id bigint GENERATED ALWAYS AS IDENTITY);
		ALTER TABLE g DROP COLUMN gone, DROP COLUMN gone2; ALTER TABLE g REPLICA IDENTITY FULL`, "g")
	s.exec(`INSERT INTO g (a, b, id) VALUES (4, 'x', 1)`, `UPDATE g SET a = 5`, `DELETE FROM g`)
	wantLines(t, s.read(s.open(s.config()), nil),
		"begin", "insert g is(4,~,x,1,1)", "commit",
		"begin", "update g was(4,~,x,1,1) is(5,~,x,1,1)", "commit",
		"begin", "delete g was(5,~,x,1,1)", "commit")
}

func TestPartitionsArriveAsTheirRoot(t *testing.T) {
	s := newSource(t, `CREATE TABLE p (id int, v text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
		CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
		CREATE TABLE p2 (v text, x int, id int NOT NULL); ALTER TABLE p2 DROP COLUMN x; ALTER TABLE p ATTACH PARTITION p2 FOR VALUES FROM (10) TO (20)`, "p")
	s.exec(`INSERT INTO p VALUES (1, 'a'), (11, 'b')`, `UPDATE p SET v = 'c' WHERE id = 11`, `UPDATE p SET id = 12 WHERE id = 1`, `DELETE FROM p WHERE id = 11`)
	wantLines(t, s.read(s.open(s.config()), nil),
		"begin", "insert p is(1,a)", "insert p is(11,b)", "commit", "begin", "update p is(11,c)", "commit",
		"begin", "delete p was(1,~)", "insert p is(12,a)", "commit", "begin", "delete p was(11,~)", "commit")
}

// A partition that is made later does not have its root's replica identity. Its old rows are called whole and hold the key alone: the rest is
// absent, not NULL.
func TestWeakPartition(t *testing.T) {
	s := newSource(t, `CREATE TABLE p (id int PRIMARY KEY, v text, doc text) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
		ALTER TABLE p REPLICA IDENTITY FULL; ALTER TABLE p1 REPLICA IDENTITY FULL`, "p")
	stream := s.open(s.config())
	s.exec(`INSERT INTO p VALUES (1, 'a', 'x')`, `UPDATE p SET v = 'b'`, `CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20)`,
		`INSERT INTO p VALUES (11, 'a', `+big+`)`, `UPDATE p SET v = 'c' WHERE id = 11`, `UPDATE p SET id = 12 WHERE id = 11`, `DELETE FROM p WHERE id = 12`)
	wantLines(t, s.read(stream, nil),
		"begin", "insert p is(1,a,x)", "commit", "begin", "update p was(1,a,x) is(1,b,x)", "commit",
		"begin", "insert p is(11,a,c4c…6400)", "commit", "begin", "update p is(11,c,~)", "commit",
		"begin", "update p was(11,~,~) is(12,c,~)", "commit", "begin", "delete p was(12,~,~)", "commit")
}

func TestInheritanceChildrenAreTheirOwn(t *testing.T) {
	s := newSource(t, `CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (x int) INHERITS (parent)`, "parent")
	s.exec(`INSERT INTO child VALUES (1, 1)`, `INSERT INTO parent VALUES (2)`)
	wantLines(t, s.read(s.open(s.config()), nil), "begin", "insert parent is(2)", "commit")
}

func TestMessagesAndOrigins(t *testing.T) {
	s := newSource(t, `CREATE TABLE t (id int PRIMARY KEY)`, "t")
	origin := s.setup.Slot
	s.exec(`SELECT pg_logical_emit_message(false, 'app', 'loose')`, `BEGIN; INSERT INTO t VALUES (1); SELECT pg_logical_emit_message(true, 'app', 'tight'); COMMIT`,
		`SELECT pg_replication_origin_create('`+origin+`')`, `SELECT pg_replication_origin_session_setup('`+origin+`')`, `INSERT INTO t VALUES (2)`,
		`SELECT pg_replication_origin_session_reset()`)
	defer s.exec(`SELECT pg_replication_origin_drop('` + origin + `')`)
	wantLines(t, s.read(s.open(s.config()), nil),
		`message app "loose" transactional=false`,
		"begin", "insert t is(1)", `message app "tight" transactional=true`, "commit",
		"begin", "origin "+origin, "insert t is(2)", "commit")
}

func TestPreparedTransactionsArriveWhenTheyCommit(t *testing.T) {
	s := newSource(t, `CREATE TABLE t (id int PRIMARY KEY)`, "t")
	var allowed bool
	if err := s.conn.QueryRow(t.Context(), `SELECT current_setting('max_prepared_transactions')::int > 0`).Scan(&allowed); err != nil {
		t.Fatal(err)
	}
	if !allowed {
		t.Skip("the test server has max_prepared_transactions = 0")
	}
	name := s.setup.Slot
	s.exec(`BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION '`+name+`'`, `INSERT INTO t VALUES (2)`, `COMMIT PREPARED '`+name+`'`)
	wantLines(t, s.read(s.open(s.config()), nil), "begin", "insert t is(2)", "commit", "begin", "insert t is(1)", "commit")
}

func TestSchemaChangesAreTold(t *testing.T) {
	s := newSource(t, `CREATE TYPE mood AS ENUM ('ok'); CREATE TABLE t (id int PRIMARY KEY, a text, b varchar(5))`, "t")
	stream := s.open(s.config())
	step := func(ddl string, want ...string) {
		t.Helper()
		s.exec(ddl)
		wantLines(t, s.read(stream, nil), append(append([]string{"begin"}, want...), "commit")...)
	}
	step(`INSERT INTO t VALUES (1, 'x', 'y')`, "insert t is(1,x,y)")
	step(`ALTER TABLE t ADD c mood; INSERT INTO t VALUES (2, 'x', 'y', 'ok')`, "schema t: column c was added, public.mood", "insert t is(2,x,y)")
	step(`INSERT INTO t VALUES (3, 'x', 'y', 'ok')`, "insert t is(3,x,y)")
	step(`ALTER TABLE t DROP c, DROP a; INSERT INTO t VALUES (4, 'y')`, "schema t: column a was dropped", "insert t is(4,~,y)")
	step(`ALTER TABLE t ADD a text; INSERT INTO t VALUES (5, 'y', 'x')`, "schema t:", "insert t is(5,x,y)") // it is the shape again; another order is no difference
	step(`ALTER TABLE t ALTER b TYPE varchar(9); INSERT INTO t VALUES (6, 'y', 'x')`, "schema t: column b: the type was character varying(5), now it is type 1043 with modifier 13", "insert t is(6,x,y)")
	step(`ALTER TABLE t ALTER b TYPE varchar(5); ALTER TABLE t RENAME a TO z; INSERT INTO t VALUES (7, 'y', 'x')`, "schema t: column a is now called z", "insert t is(7,~,y)")
	step(`ALTER TABLE t RENAME z TO a; ALTER TABLE t REPLICA IDENTITY FULL; INSERT INTO t VALUES (8, 'y', 'x')`, "schema t: the replica identity was default, now it is full", "insert t is(8,x,y)")
	step(`ALTER TABLE t REPLICA IDENTITY DEFAULT; ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE t ADD PRIMARY KEY (id, b); INSERT INTO t VALUES (9, 'y', 'x')`,
		`schema t: the replica identity's columns were ["id"], now they are ["b" "id"]`, "insert t is(9,x,y)")
	step(`ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE t ADD PRIMARY KEY (id); ALTER TABLE t RENAME TO u; INSERT INTO u VALUES (10, 'y', 'x')`,
		"schema u: the table was renamed: public.t is now public.u", "insert t is(10,x,y)")
}

// Rows of a table that nobody gave a shape for are never left out in silence.
func TestUnknownTablesStopTheStream(t *testing.T) {
	s := newSource(t, `CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY)`, "a", "b")
	cfg := s.config()
	cfg.Shapes = cfg.Shapes[:1]
	stream := s.open(cfg)
	s.exec(`INSERT INTO b VALUES (1)`)
	var kinds []pgsource.Kind
	for {
		e, err := stream.Next(t.Context())
		if err != nil {
			if !strings.Contains(err.Error(), "public.b") || len(kinds) < 2 || kinds[len(kinds)-1] != pgsource.KindSchema {
				t.Errorf("%v after %v", err, kinds)
			}
			break
		}
		if e.Kind != pgsource.KindKeepalive {
			kinds = append(kinds, e.Kind)
		}
	}
	stream.Close()
	stream = s.open(cfg)
	wantLines(t, s.read(stream, func(e pgsource.Event) {
		if e.Kind == pgsource.KindSchema {
			stream.Ignore(e.Schema.Relation.OID)
		}
	}), "begin", "schema b: the table was added to the publication after this stream was set up", "commit")
}

func TestResumeFromAConfirmedPosition(t *testing.T) {
	s := newSource(t, `CREATE TABLE t (id int PRIMARY KEY)`, "t")
	stream := s.open(s.config())
	s.exec(`INSERT INTO t VALUES (1)`, `INSERT INTO t VALUES (2)`)
	var ends []uint64
	wantLines(t, s.read(stream, func(e pgsource.Event) {
		if e.Kind == pgsource.KindCommit {
			ends = append(ends, e.Commit.EndLSN)
		}
	}), "begin", "insert t is(1)", "commit", "begin", "insert t is(2)", "commit")
	stream.Confirm(ends[0])
	stream.Confirm(ends[0] - 1) // never back
	stream.Close()
	stream.Close()
	stream = s.open(s.config())
	wantLines(t, s.read(stream, nil), "begin", "insert t is(2)", "commit")
	state, err := pgsource.Inspect(t.Context(), s.conn, s.setup.Slot)
	if err != nil || state.ConfirmedLSN != ends[0] {
		t.Errorf("the slot is at %s, confirmed was %s, %v", pgsource.LSN(state.ConfirmedLSN), pgsource.LSN(ends[0]), err)
	}
}

// A position that was only received is never confirmed, however often the server asks.
func TestNothingIsConfirmedUnasked(t *testing.T) {
	s := newSource(t, `CREATE TABLE t (id int PRIMARY KEY)`, "t")
	before, err := pgsource.Inspect(t.Context(), s.conn, s.setup.Slot)
	if err != nil {
		t.Fatal(err)
	}
	stream := s.open(s.config())
	s.exec(`INSERT INTO t SELECT generate_series(1, 1000)`)
	s.read(stream, nil)
	stream.Close()
	after, err := pgsource.Inspect(t.Context(), s.conn, s.setup.Slot)
	if err != nil || after.ConfirmedLSN != before.ConfirmedLSN {
		t.Errorf("confirmed was %s, is %s, %v", pgsource.LSN(before.ConfirmedLSN), pgsource.LSN(after.ConfirmedLSN), err)
	}
}

func TestSlotHasOneOwner(t *testing.T) {
	s := newSource(t, `CREATE TABLE t (id int PRIMARY KEY)`, "t")
	s.open(s.config())
	_, err := pgsource.OpenStream(t.Context(), s.config())
	if err == nil || !strings.Contains(err.Error(), "another process has it") {
		t.Errorf("the second owner: %v", err)
	}
}

// A cancelled Next leaves the stream as it was; a killed sender ends it after what had arrived.
func TestCancelAndLoss(t *testing.T) {
	s := newSource(t, `CREATE TABLE t (id int PRIMARY KEY)`, "t")
	stream := s.open(s.config())
	s.exec(`INSERT INTO t VALUES (1)`)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for {
		if _, err := stream.Next(ctx); err != nil {
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("cancelled: %v", err)
			}
			break
		}
	}
	wantLines(t, s.read(stream, nil), "begin", "insert t is(1)", "commit")
	pgtest.Exec(t, s.conn, `SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = '`+s.setup.Slot+`'`)
	for {
		if _, err := stream.Next(t.Context()); err != nil {
			if c := faultClass(err); c != "transient" {
				t.Errorf("%s: %v", c, err)
			}
			return
		}
	}
}
