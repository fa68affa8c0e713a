package pgtarget

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"segue/pkg/change"
	"segue/pkg/fault"
	"segue/pkg/pgtest"
)

const indexesDDL = `
CREATE SCHEMA "S x";
CREATE FUNCTION public.shout(text) RETURNS text IMMUTABLE LANGUAGE sql RETURN pg_catalog.upper($1);
CREATE TABLE "S x"."T ""1" (id int PRIMARY KEY, name text, "Größe USING x" numeric, tags text[], at timestamptz, code text NOT NULL UNIQUE, span int4range, note text);
CREATE INDEX plain ON "S x"."T ""1" (name);
CREATE INDEX "Odd ""name' USING \" ON "S x"."T ""1" ("Größe USING x" DESC NULLS LAST, name);
CREATE INDEX expression ON "S x"."T ""1" (public.shout(name), lower(note), id);
ALTER INDEX "S x".expression ALTER COLUMN 1 SET STATISTICS 500;
ALTER INDEX "S x".expression ALTER COLUMN 2 SET STATISTICS 0;
CREATE INDEX partial ON "S x"."T ""1" (at) WHERE note <> 'it''s \ here' AND id > 5;
CREATE INDEX covering ON "S x"."T ""1" (name) INCLUDE (note, at);
CREATE INDEX tags ON "S x"."T ""1" USING gin (tags) WITH (fastupdate = off, gin_pending_list_limit = 128);
CREATE INDEX collated ON "S x"."T ""1" (name COLLATE "C" text_pattern_ops) WITH (fillfactor = 55, deduplicate_items = off);
CREATE INDEX ranges ON "S x"."T ""1" USING gist (span range_ops);
CREATE INDEX blocks ON "S x"."T ""1" USING brin (at timestamptz_minmax_multi_ops (values_per_range = 16)) WITH (pages_per_range = 32, autosummarize = on);
CREATE INDEX hashed ON "S x"."T ""1" USING hash (note);
COMMENT ON INDEX "S x".covering IS 'it''s \ kept';
COMMENT ON INDEX "S x"."Odd ""name' USING \" IS 'odd';
ALTER TABLE "S x"."T ""1" CLUSTER ON collated;
CREATE UNIQUE INDEX marked ON "S x"."T ""1" (code, id);
ALTER TABLE "S x"."T ""1" REPLICA IDENTITY USING INDEX marked;
ALTER TABLE "S x"."T ""1" ADD CONSTRAINT apart EXCLUDE USING gist (span WITH &&);
CREATE TABLE child (id int PRIMARY KEY, code text REFERENCES "S x"."T ""1" (code) ON DELETE CASCADE);
CREATE INDEX child_code ON child (code);
CREATE TABLE parted (id int, k int, v text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (100);
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (100) TO (200) PARTITION BY RANGE (id);
CREATE TABLE parted_2a PARTITION OF parted_2 FOR VALUES FROM (100) TO (150);
CREATE TABLE parted_2b PARTITION OF parted_2 FOR VALUES FROM (150) TO (200);
CREATE INDEX parted_v ON parted (v) WITH (fillfactor = 70);
CREATE INDEX own_name ON parted_1 (k);
CREATE INDEX twin_a ON parted_2a (k);
CREATE INDEX twin_b ON parted_2a (k);
CREATE INDEX parted_k ON parted (k);
CREATE INDEX alone ON parted_2b (v, k) WHERE k > 3;
ALTER INDEX parted_1_v_idx RENAME TO "renamed by ""hand";
COMMENT ON INDEX "renamed by ""hand" IS 'a partition''s';
COMMENT ON INDEX parted_k IS 'the whole''s';
ALTER TABLE parted_1 CLUSTER ON own_name;
CREATE TABLE filled (id int PRIMARY KEY, v int);
CREATE INDEX filled_v ON filled (v);
INSERT INTO filled VALUES (1, 1);
CREATE TABLE other (id int PRIMARY KEY, v int);
CREATE INDEX other_v ON other (v);`

// allIndexes is everything that makes an index what it is.
const allIndexes = `SELECT i.indrelid::regclass || ' | ' || pg_get_indexdef(c.oid) || ' | ' || coalesce(obj_description(c.oid, 'pg_class'), '-') || ' | ' || c.relkind::text || i.indisvalid
	|| i.indisclustered || i.indisreplident || i.indisunique || i.indisprimary || ' | ' || coalesce(array_to_string(c.reloptions, ','), '-') || ' | ' || c.reltablespace || ' | '
	|| coalesce((SELECT string_agg(a.attnum || ':' || coalesce(a.attstattarget, -1), ',' ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = c.oid), '') || ' | '
	|| coalesce((SELECT h.inhparent::regclass::text FROM pg_inherits h WHERE h.inhrelid = c.oid), '-') || ' | ' || coalesce(k.conname, '-') || E'\n'
	FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_constraint k ON k.conindid = c.oid AND k.contype <> 'f'
	WHERE n.nspname IN ('public', 'S x') ORDER BY i.indrelid::regclass::text, c.relname`

var indexed = []string{`S x.T "1`, "child", "parted", "filled"}

// indexRig is a rig whose applier takes indexes away.
func indexRig(t *testing.T, ddl string, tables ...string) *rig {
	t.Helper()
	r := newRig(t, ddl, tables...)
	r.cfg.IndexesAfterLoad, r.cfg.IndexWorkers = true, 3
	r.reopen()
	return r
}

func (r *rig) build() IndexBuild {
	return IndexBuild{URL: r.url, App: "segue test", Migration: "m", Workers: 2}
}

func (r *rig) same(sql, before string) {
	r.t.Helper()
	if after := r.rows(sql); after != before {
		r.t.Fatalf("before\n%s\nafter\n%s", before, after)
	}
}

func TestIndexesComeBackAsTheyWere(t *testing.T) {
	r := indexRig(t, indexesDDL, indexed...)
	before := r.rows(allIndexes)
	if err := r.target.PrepareKeys(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Keys, constraints, unique indexes, tables with rows and other tables keep theirs.
	r.want(`SELECT string_agg(c.relname, ' ' ORDER BY c.relname COLLATE "C") FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname IN ('public', 'S x')`,
		`T "1_code_key T "1_pkey apart child_pkey filled_pkey filled_v marked other_pkey other_v parted_1_pkey parted_2_pkey parted_2a_pkey parted_2b_pkey parted_pkey`)
	r.do(0, change.Read, "", "1,n,1.5,{a},2020-01-01,c,empty,x")
	r.do(2, change.Read, "", "7,1,v")
	r.do(2, change.Read, "", "120,4,v")
	r.must()
	r.reopen() // a crash, and the next start: what was kept first stays what comes back
	if err := r.target.PrepareKeys(t.Context()); err != nil {
		t.Fatal(err)
	}
	notes, err := r.target.Loaded(t.Context())
	if err != nil || len(notes) != 0 {
		t.Fatal(notes, err)
	}
	r.same(allIndexes, before)
	r.want("SELECT (SELECT count(*) FROM segue.indexes), (SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND conrelid = 'child'::regclass AND convalidated)", "0,1")
	r.want("SELECT count(*) > 0 FROM pg_statistic WHERE starelid = '\"S x\".expression'::regclass", "true") // taken behind them
}

// Cut short behind any statement: what was done stays, and the same call goes on.
func TestIndexesGoOnBehindACrash(t *testing.T) {
	r := newRig(t, indexesDDL, indexed...)
	before := r.rows(allIndexes)
	tables := r.target.Tables()
	take := func() []string {
		t.Helper()
		if err := DropIndexes(t.Context(), r.conn, "m", tables); err != nil {
			t.Fatal(err)
		}
		sql, err := RestoreIndexesSQL(t.Context(), r.conn, "m")
		if err != nil {
			t.Fatal(err)
		}
		return sql
	}
	steps := take()
	for n := 0; n <= len(steps); n += 3 {
		pgtest.Exec(t, r.conn, steps[:n]...)
		if notes, err := RestoreIndexes(t.Context(), r.build()); err != nil || len(notes) > 0 {
			t.Fatal(n, notes, err)
		}
		r.same(allIndexes, before)
		if sql := take(); len(sql) != len(steps) {
			t.Fatalf("%d statements, want %d", len(sql), len(steps))
		}
	}
	pgtest.Exec(t, r.conn, steps...) // what people are shown is the whole of it
	r.same(allIndexes, before)
}

func TestAnInvalidIndexIsMadeAgain(t *testing.T) {
	r := newRig(t, indexesDDL, indexed...)
	before := r.rows(allIndexes)
	if err := DropIndexes(t.Context(), r.conn, "m", r.target.Tables()); err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, r.conn, "CREATE INDEX child_code ON child (code)", "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'child_code'::regclass",
		`CREATE INDEX plain ON "S x"."T ""1" (note)`)
	notes, err := RestoreIndexes(t.Context(), r.build())
	if err != nil || len(notes) != 1 || !strings.Contains(notes[0], "plain") {
		t.Fatal(notes, err) // somebody's own index of that name is not taken away
	}
	pgtest.Exec(t, r.conn, `DROP INDEX "S x".plain`, `CREATE INDEX plain ON "S x"."T ""1" (name)`)
	r.same(allIndexes, before)
}

// Partitions come and go while a load runs.
func TestIndexesOfPartitionsThatChangedMeanwhile(t *testing.T) {
	r := newRig(t, indexesDDL, "parted")
	if err := DropIndexes(t.Context(), r.conn, "m", r.target.Tables()); err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, r.conn, "CREATE TABLE parted_3 PARTITION OF parted FOR VALUES FROM (200) TO (300) PARTITION BY RANGE (id)",
		"CREATE TABLE parted_3a PARTITION OF parted_3 DEFAULT", "DROP TABLE parted_2b", "ALTER TABLE parted DETACH PARTITION parted_1")
	notes, err := RestoreIndexes(t.Context(), r.build())
	if err != nil || len(notes) != 3 || !strings.Contains(strings.Join(notes, " "), "public.parted_2b is gone") {
		t.Fatal(notes, err)
	}
	r.want("SELECT count(*), bool_and(indisvalid) FROM pg_index WHERE indrelid = 'parted'::regclass", "3,true")
	r.want("SELECT count(*), bool_and(indisvalid) FROM pg_index WHERE indrelid IN ('parted_3'::regclass, 'parted_3a'::regclass)", "6,true")
	r.want(`SELECT string_agg(indexrelid::regclass::text, ' ' ORDER BY indexrelid::regclass::text COLLATE "C") FROM pg_index WHERE indrelid = 'parted_1'::regclass AND NOT indisprimary`, `"renamed by ""hand" own_name`)
}

// A lost connection in the middle of an index, and somebody's lock.
func TestIndexesAreMadeThroughLostConnections(t *testing.T) {
	r := newRig(t, `CREATE FUNCTION slow(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN IF $1 = 1 THEN PERFORM pg_advisory_xact_lock_shared(4711); END IF; RETURN $1; END';
		CREATE TABLE a (id int PRIMARY KEY, v int); CREATE INDEX a_v ON a (v); CREATE INDEX a_slow ON a (public.slow(id))`, "a")
	before := r.rows(allIndexes)
	if err := DropIndexes(t.Context(), r.conn, "m", r.target.Tables()); err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, r.conn, "INSERT INTO a SELECT i, i FROM generate_series(1, 10) i", "SELECT pg_advisory_lock(4711)")
	done := make(chan error, 1)
	go func() {
		_, err := RestoreIndexes(t.Context(), r.build())
		done <- err
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var p IndexProgress
	for err := error(nil); p.Made != 1 || len(p.Making) != 1; p, err = ReadIndexes(ctx, r.conn, "m") {
		if err != nil {
			t.Fatal(err)
		}
	}
	if s := p.String(); p.Kept != 2 || p.Making[0].Table.Table != "a" || !strings.Contains(s, "1 of 2 indexes made; public.a: building index") {
		t.Fatal(s)
	}
	r.rows("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()")
	if err := <-done; fault.ClassOf(err) != fault.ClassTransient {
		t.Fatal(err)
	}
	r.want("SELECT count(*) FROM segue.indexes", "2")
	pgtest.Exec(t, r.conn, "SELECT pg_advisory_unlock_all()")
	if _, err := RestoreIndexes(t.Context(), r.build()); err != nil {
		t.Fatal(err)
	}
	r.same(allIndexes, before)
}

func TestIndexesOfOthersShowTheSQL(t *testing.T) {
	r := newRig(t, `CREATE TABLE p (id int PRIMARY KEY, v int); CREATE INDEX p_v ON p (v);
		DO $$ BEGIN CREATE ROLE segue_writer; EXCEPTION WHEN duplicate_object THEN END $$;`, "p")
	before := r.rows(allIndexes)
	pgtest.Exec(t, r.conn, "GRANT ALL ON SCHEMA segue TO segue_writer; GRANT ALL ON ALL TABLES IN SCHEMA segue TO segue_writer; GRANT SELECT ON p TO segue_writer; SET ROLE segue_writer")
	err := DropIndexes(t.Context(), r.conn, "m", keyNames("p"))
	var missing *PrivilegeError
	if !errors.As(err, &missing) || fault.ClassOf(err) != fault.ClassFatal {
		t.Fatal(err)
	}
	pgtest.Exec(t, r.conn, "RESET ROLE")
	pgtest.Exec(t, r.conn, missing.SQL...)
	r.want("SELECT count(*) FROM pg_index WHERE indrelid = 'p'::regclass", "1")
	pgtest.Exec(t, r.conn, "SET ROLE segue_writer")
	if err := DropIndexes(t.Context(), r.conn, "m", keyNames("p")); err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, r.conn, "RESET ROLE")
	sql, err := RestoreIndexesSQL(t.Context(), r.conn, "m")
	if err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, r.conn, sql...)
	r.same(allIndexes, before)
}

// A tablespace is no part of a definition, and the session's own default must not take its place.
func TestIndexesComeBackInTheirTablespace(t *testing.T) {
	r := newRig(t, `CREATE TABLE a (id int PRIMARY KEY, v int); CREATE TABLE p (id int, v int) PARTITION BY LIST (id); CREATE TABLE p1 PARTITION OF p DEFAULT`, "a")
	var version int
	if err := r.conn.QueryRow(t.Context(), "SELECT current_setting('server_version_num')::int").Scan(&version); err != nil {
		t.Fatal(err)
	}
	if version < 150000 {
		t.Skip("this server makes no tablespace in place")
	}
	space := r.conn.Config().Database + "_space"
	pgtest.Exec(t, r.conn, "SET allow_in_place_tablespaces = on", "CREATE TABLESPACE "+space+" LOCATION ''")
	t.Cleanup(func() {
		for _, sql := range []string{"DROP TABLE a, p", "DROP TABLESPACE " + space} {
			if _, err := r.conn.Exec(context.Background(), sql); err != nil {
				t.Error(err)
			}
		}
	})
	pgtest.Exec(t, r.conn, "CREATE INDEX there ON a (v) TABLESPACE "+space, "CREATE INDEX here ON a (v)", "CREATE INDEX parts ON p (v) TABLESPACE "+space)
	before := r.rows(allIndexes)
	if err := DropIndexes(t.Context(), r.conn, "m", keyNames("a", "p")); err != nil {
		t.Fatal(err)
	}
	build := r.build()
	build.URL += "&options=-cdefault_tablespace%3D" + space
	if !strings.Contains(r.url, "?") {
		build.URL = strings.Replace(build.URL, "&options", "?options", 1)
	}
	if _, err := RestoreIndexes(t.Context(), build); err != nil {
		t.Fatal(err)
	}
	r.same(allIndexes, before)
}
