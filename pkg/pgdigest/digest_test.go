package pgdigest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"segue/pkg/change"
	"segue/pkg/pgtest"
	"segue/pkg/postgres"
	"segue/pkg/reconcile"
	"segue/pkg/table"
)

var limits = Limits{Statement: time.Minute, Lock: 10 * time.Second}

// oddities is a table of types whose texts are easy to get wrong, and rows full of odd values.
var oddities = []string{
	`CREATE SCHEMA odd`,
	`CREATE TYPE odd.mood AS ENUM ('sad', 'so so')`,
	`CREATE TYPE odd.pair AS (a integer, b text)`,
	`CREATE DOMAIN odd.label AS varchar(20)`,
	`CREATE TABLE odd.things (
		id integer, part text, PRIMARY KEY (id, part),
		t text, v varchar(20), c char(5), l odd.label, b boolean, n numeric, n2 numeric(10,2), f4 real, f8 double precision,
		d date, ts timestamp, tz timestamptz, tm time, i interval, raw bytea, j json, jb jsonb, u uuid, ip inet, m odd.mood, p odd.pair,
		arr integer[], texts text[], r int4range, mr int4multirange, x xml, bits bit(3), money money, pt point,
		gen integer GENERATED ALWAYS AS (id + 1) STORED)`,
	`INSERT INTO odd.things (id, part, t, v, c, l, b, n, n2, f4, f8, d, ts, tz, tm, i, raw, j, jb, u, ip, m, p, arr, texts, r, mr, x, bits, money, pt) VALUES
		(1, '', '', '', '', '', true, 'NaN', 5, 'NaN', '-Infinity', 'infinity', '0044-03-15 BC', '-infinity', '24:00', '1 mon -1 day 00:00:01', '\x00ff', '{"a" : 1}', '{"b":2,"a":1}',
		 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '10.0.0.1', 'so so', '(,)', '{}', '{NULL,"",",","\""}', 'empty', '{[1,2),[5,6)}', '<a>é</a>', '101', 12.5, '(1,2)'),
		(2, 'N', 'N', ':;', 'a', '0:;', false, 1.50, 0.1, 0.1, 0.1, '4713-01-01 BC', '294276-12-31 23:59:59.999999', '2024-02-29 12:00:00.1+02', '00:00:00.000001', '-1 year', '', 'null', 'null',
		 NULL, '::1/64', 'sad', '(1,"x,y")', '[0:1]={1,2}', '{{a,b},{c,d}}', '[1,)', '{}', NULL, '000', -1, '(0,-0)'),
		(3, 'ä😀;:', E'tab\tnewline\nback\\slash"quote', 'ß', 'äö', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
		 NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)`,
	`INSERT INTO odd.things (id, part, t, n) SELECT g, 'x', repeat(md5(g::text), g % 200), g / 7.0 FROM generate_series(4, 400) g`,
	`ANALYZE odd.things`,
}

func shapeOf(t *testing.T, conn *pgx.Conn, name table.Name) Shape {
	t.Helper()
	shapes, err := postgres.Tables(t.Context(), conn, []table.Name{name})
	if err != nil {
		t.Fatal(err)
	}
	s := Shape{Table: shapes[0]}
	for i := range s.Table.Columns {
		if s.Table.Columns[i].Generated {
			continue
		}
		if s.Table.IsKey(i) {
			s.Key = append(s.Key, len(s.Columns))
		}
		s.Columns = append(s.Columns, i)
	}
	return s
}

// byHand answers a task by reading rows and hashing them here.
func byHand(t *testing.T, tx pgx.Tx, s Shape, p Place, task *reconcile.Task) *reconcile.Side {
	t.Helper()
	side := reconcile.NewSide(*task)
	err := Rows(t.Context(), tx, s.Table, p, func(row change.Row) error {
		picked := make(change.Row, len(s.Columns))
		for i, o := range s.Columns {
			picked[i] = row[o]
		}
		key := make(change.Row, len(s.Key))
		for i, k := range s.Key {
			key[i] = picked[k]
		}
		side.Add(task, reconcile.AppendCanonical(nil, key), reconcile.HashText(reconcile.AppendCanonical(nil, picked)))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return side
}

func same(a, b *reconcile.Side) bool {
	return slices.Equal(a.Buckets, b.Buckets) && maps.Equal(a.Keys, b.Keys)
}

func rowsIn(s *reconcile.Side) (n int64) {
	for _, b := range s.Buckets {
		n += b.Rows
	}
	return n + int64(len(s.Keys))
}

func checkDigests(t *testing.T, conn *pgx.Conn, rows int64) {
	t.Helper()
	ctx := t.Context()
	d, err := Inspect(ctx, conn)
	if err != nil {
		t.Fatal(err)
	}
	s := shapeOf(t, conn, table.Name{Schema: "odd", Table: "things"})
	heaps, err := Heaps(ctx, conn, s.Table)
	if err != nil || len(heaps) != 1 || heaps[0].Blocks == 0 {
		t.Fatalf("heaps %v, %v", heaps, err)
	}
	half := heaps[0].Blocks / 2
	_, err = Read(ctx, conn, heaps, limits, func(tx pgx.Tx) error {
		for _, p := range []Place{Everything(s.Table), Blocks(heaps[0].Name, 0, half), Blocks(heaps[0].Name, half, 0)} {
			for _, task := range []reconcile.Task{{Buckets: 16}, {Buckets: 1024}, {Mode: reconcile.List, Buckets: 64, Select: reconcile.Bits{0xff00ff}}} {
				got := reconcile.NewSide(task)
				if err := d.Digest(ctx, tx, s, p, &task, got); err != nil {
					t.Fatal(err)
				}
				want := byHand(t, tx, s, p, &task)
				if !same(got, want) {
					t.Errorf("%s of %d buckets of %s: the server and Go differ", task.Mode, task.Buckets, p.from)
				}
				if n := rowsIn(got); n == 0 || task.Mode == reconcile.Whole && p.from == everything(s.Table) && n != rows {
					t.Errorf("%d rows, want %d", n, rows)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestP7_ServerAndGoDigestAlike(t *testing.T) {
	conn := pgtest.Connect(t, pgtest.Database(t))
	pgtest.Exec(t, conn, oddities...)
	pgtest.Exec(t, conn, `SET timezone = 'America/New_York'`, `SET datestyle = 'German'`, `SET bytea_output = escape`, `SET extra_float_digits = 0`)
	checkDigests(t, conn, 400)
}

func TestP7_ADatabaseInAnotherEncodingDigestsAlike(t *testing.T) {
	admin := pgtest.Connect(t, pgtest.Server(t).URL)
	name := "segue_latin_" + fmt.Sprint(time.Now().UnixNano())
	pgtest.Exec(t, admin, `CREATE DATABASE `+name+` TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'`)
	cfg := admin.Config().Copy()
	cfg.Database = name
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close(context.Background())
		last, err := pgx.Connect(context.Background(), pgtest.Server(t).URL)
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = last.Exec(context.Background(), `DROP DATABASE `+name+` WITH (FORCE)`)
		_ = last.Close(context.Background())
	})
	for _, sql := range oddities {
		pgtest.Exec(t, conn, strings.ReplaceAll(sql, "😀", ""))
	}
	checkDigests(t, conn, 400)
}

func TestWideTables(t *testing.T) {
	conn := pgtest.Connect(t, pgtest.Database(t))
	columns := make([]string, 120)
	for i := range columns {
		columns[i] = fmt.Sprintf("a%d integer DEFAULT %d", i, i)
	}
	pgtest.Exec(t, conn, `CREATE SCHEMA odd`, `CREATE TABLE odd.things (id integer PRIMARY KEY, `+strings.Join(columns, ", ")+`)`,
		`INSERT INTO odd.things SELECT g FROM generate_series(1, 50) g`)
	checkDigests(t, conn, 50)
}

func TestLookUps(t *testing.T) {
	conn := pgtest.Connect(t, pgtest.Database(t))
	pgtest.Exec(t, conn, oddities...)
	ctx := t.Context()
	s := shapeOf(t, conn, table.Name{Schema: "odd", Table: "things"})
	task := reconcile.Task{Mode: reconcile.Keys, Buckets: 16, Wanted: map[string]reconcile.Key{}}
	var keys [][]*string
	for _, key := range [][2]string{{"1", ""}, {"3", "ä😀;:"}, {"4", "x"}, {"4", "x"}, {"4", "gone"}} {
		task.Wanted[string(reconcile.AppendCanonical(nil, change.Row{change.String(key[0]), change.String(key[1])}))] = reconcile.Key{}
		keys = append(keys, []*string{&key[0], &key[1]})
	}
	heaps, err := Heaps(ctx, conn, s.Table)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Read(ctx, conn, heaps, limits, func(tx pgx.Tx) error {
		want := byHand(t, tx, s, Everything(s.Table), &task)
		if len(want.Keys) != 3 {
			t.Fatalf("%d keys", len(want.Keys))
		}
		for _, p := range []Place{ByKey(s.Table, s.Table.Key, keys), Everything(s.Table)} {
			got := reconcile.NewSide(task)
			if err := (Dialect{UTF8: true}).Digest(ctx, tx, s, p, &task, got); err != nil {
				t.Fatal(err)
			}
			if !same(got, want) {
				t.Errorf("look-ups in %s differ", p.from)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestP9_ARewrittenTableIsNoticed(t *testing.T) {
	conn := pgtest.Connect(t, pgtest.Database(t))
	pgtest.Exec(t, conn, `CREATE TABLE things (id integer PRIMARY KEY)`, `INSERT INTO things SELECT generate_series(1, 10)`)
	s := shapeOf(t, conn, table.Name{Schema: "public", Table: "things"})
	heaps, err := Heaps(t.Context(), conn, s.Table)
	if err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, conn, `TRUNCATE things`)
	_, err = Read(t.Context(), conn, heaps, limits, func(pgx.Tx) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "rewritten") {
		t.Fatalf("got %v", err)
	}
}

func TestPartitionsAreReadOneByOne(t *testing.T) {
	conn := pgtest.Connect(t, pgtest.Database(t))
	pgtest.Exec(t, conn, `CREATE TABLE parts (id integer PRIMARY KEY, t text) PARTITION BY RANGE (id)`,
		`CREATE TABLE parts_a PARTITION OF parts FOR VALUES FROM (0) TO (10)`,
		`CREATE TABLE parts_b PARTITION OF parts FOR VALUES FROM (10) TO (100) PARTITION BY RANGE (id)`,
		`CREATE TABLE parts_c PARTITION OF parts_b DEFAULT`,
		`INSERT INTO parts SELECT g, 'x' FROM generate_series(1, 50) g`)
	s := shapeOf(t, conn, table.Name{Schema: "public", Table: "parts"})
	heaps, err := Heaps(t.Context(), conn, s.Table)
	if err != nil || len(heaps) != 2 {
		t.Fatalf("heaps %v, %v", heaps, err)
	}
	task := reconcile.Task{Buckets: 16}
	whole, pieces := reconcile.NewSide(task), reconcile.NewSide(task)
	d := Dialect{UTF8: true}
	_, err = Read(t.Context(), conn, heaps, limits, func(tx pgx.Tx) error {
		if err := d.Digest(t.Context(), tx, s, Everything(s.Table), &task, whole); err != nil {
			return err
		}
		for _, h := range heaps {
			if err := d.Digest(t.Context(), tx, s, Blocks(h.Name, 0, 0), &task, pieces); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || !same(whole, pieces) || rowsIn(whole) != 50 {
		t.Fatalf("%v: %d rows", err, rowsIn(whole))
	}
}
