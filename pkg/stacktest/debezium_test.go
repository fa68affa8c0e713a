package stacktest_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"segue/pkg/stacktest"
)

// sinkSchema is what the source, the target and the sink's database hold.
const sinkSchema = `
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TABLE people (id bigint PRIMARY KEY, name text NOT NULL, age smallint, kids int, height numeric(5,2), active boolean, score double precision, ratio real,
	photo bytea, born date, seen timestamptz, at time, tags text[], doc jsonb, ip inet, uid uuid, span interval, "Größe in cm" varchar(10), mood mood);
CREATE TABLE items (a int, b text, n int, PRIMARY KEY (b, a));
CREATE TABLE large (id int PRIMARY KEY, n int, body text);
CREATE TABLE emptied (id int PRIMARY KEY, v text);
CREATE TABLE toasted (id int PRIMARY KEY, n int, body text);
CREATE TABLE moved (id int PRIMARY KEY, v text);
ALTER TABLE large ALTER body SET STORAGE EXTERNAL;
ALTER TABLE toasted ALTER body SET STORAGE EXTERNAL;
`

// Before the start: rows that are read.
const sinkLoad = `
INSERT INTO people SELECT i, 'p' || i || E' \\ "x"\n\tü 😀', i % 100, i * 1000, i / 7.0, i % 2 = 0, i / 3.0, i / 3.0::real, decode(repeat('00ff', i % 5), 'hex'),
	date '2020-02-29' + i, timestamptz '2024-01-01 12:00+00' + i * interval '1.000001 s', '12:34:56.7', ARRAY['a', NULL, '"q"'], jsonb_build_object('k', i, 'ü', null),
	'10.0.0.1', '00000000-0000-0000-0000-00000000000a', interval '1 mon 2 days 00:00:03', 'x', 'ok' FROM generate_series(1, 300) i;
INSERT INTO people (id, name, score, ratio) VALUES (9007199254740993, '', 'Infinity', '-Infinity'), (-9223372036854775808, 'least', 1e23, 1e-45), (0, 'nan', 'NaN', '-0');
INSERT INTO items SELECT i, 'b' || i % 7, i FROM generate_series(1, 200) i;
INSERT INTO large SELECT i, i, repeat(md5(i::text), 200) FROM generate_series(1, 20) i;
INSERT INTO emptied SELECT i, 'gone' FROM generate_series(1, 50) i;
INSERT INTO toasted VALUES (1, 1, repeat('x', 9000)), (2, 1, repeat('y', 9000));
INSERT INTO moved VALUES (1, 'old'), (3, 'stays');
`

// While it runs: one transaction each.
var sinkChanges = []string{
	`INSERT INTO people (id, name, mood) SELECT 1000 + i, 'new', 'happy' FROM generate_series(1, 50) i`,
	`UPDATE people SET name = upper(name), height = NULL, photo = '\xdeadbeef', seen = 'infinity', mood = 'sad' WHERE id % 3 = 0`,
	`DELETE FROM people WHERE id % 10 = 5; INSERT INTO people (id, name) VALUES (5, 'again')`,
	`UPDATE items SET n = -n WHERE a < 50; DELETE FROM items WHERE a > 150`,
	`UPDATE large SET n = -n`,
	`TRUNCATE emptied; INSERT INTO emptied VALUES (7, 'after')`,
	`UPDATE toasted SET n = 2 WHERE id = 1; UPDATE toasted SET body = repeat('z', 9000) WHERE id = 2`,
	`UPDATE moved SET id = 2, v = 'new' WHERE id = 1`,
	`INSERT INTO people (id, name) VALUES (-1, 'last'); INSERT INTO items VALUES (-1, '', 0); INSERT INTO large VALUES (-1, 0, '');
		INSERT INTO emptied VALUES (-1, ''); INSERT INTO toasted VALUES (-1, 0, ''); INSERT INTO moved VALUES (-1, '')`,
}

// Debezium's own JDBC sink reads the raw topics of a migration with kafka.wire: json, without a registry, into a third database, which then
// equals the source; and what it makes of the changes that it has other words for is what the documents say.
func TestRealDebeziumSink(t *testing.T) {
	s := stacktest.Open(t, stacktest.Config{Form: stacktest.Fused, Spec: "kafka: {wire: json, partitions: 1}\ntables: [{from: public.*}]\n"})
	legacy, target := stacktest.Connect(t, s.Legacy), stacktest.Connect(t, s.Target)
	sinkURL := thirdDatabase(t, s, target)
	sink := stacktest.Connect(t, sinkURL)
	run(t, legacy, sinkSchema+"ALTER TABLE large REPLICA IDENTITY FULL;"+sinkLoad)
	run(t, target, sinkSchema)
	run(t, sink, sinkSchema)
	connect := s.StartConnect(t, sinkConnector(t, s, sinkURL))
	s.Start(t)
	s.Applied(t, calm)
	for i, sql := range sinkChanges {
		run(t, legacy, "BEGIN;"+sql+";COMMIT")
		if i == 3 {
			s.Kill(t, "reader") // what no frontier covers is written again
			s.Start(t, "reader")
		}
	}
	s.Applied(t, calm)
	if r := s.Command(t, calm, "reconcile", "--wait", "--timeout", "1m"); r.Code != 0 {
		t.Errorf("reconcile: %s", r)
	}
	tables := []string{"people", "items", "large", "emptied", "toasted", "moved"}
	for _, table := range tables {
		if d := stacktest.Diff(texts(t, legacy, "SELECT t::text FROM "+table+" t"), texts(t, target, "SELECT t::text FROM "+table+" t")); d != "" {
			t.Errorf("segue's own target: %s\n%s", table, d)
		}
	}
	for _, table := range tables {
		reaches(t, connect, sink, "SELECT EXISTS (SELECT FROM "+table+" WHERE (to_jsonb("+table+") ->> '"+first(table)+"') = '-1')")
	}
	// JSON has no NaN: the sink gets NULL. Connect's converter takes -0 for 0.
	want := "SELECT t::text FROM (SELECT * FROM people WHERE id <> 0 UNION ALL SELECT (jsonb_populate_record(p, '{\"score\": null, \"ratio\": 0}')).* FROM people p WHERE id = 0) t"
	sinkHolds(t, "people", texts(t, legacy, want), texts(t, sink, "SELECT t::text FROM people t"))
	for _, table := range tables[1:4] {
		sinkHolds(t, table, texts(t, legacy, "SELECT t::text FROM "+table+" t"), texts(t, sink, "SELECT t::text FROM "+table+" t"))
	}
	// Without REPLICA IDENTITY FULL an unchanged TOAST value is absent: null for the sink, which writes that.
	sinkHolds(t, "toasted", []string{"-1 0 0\n", "1 2 <null>\n", "2 1 9000\n"}, texts(t, sink, "SELECT concat_ws(' ', id, n, coalesce(length(body)::text, '<null>')) || E'\\n' FROM toasted"))
	// A changed key is an update that bears the old key: the sink keeps the row there.
	sinkHolds(t, "moved", []string{"(-1,\"\")", "(1,new)", "(3,stays)"}, texts(t, sink, "SELECT t::text FROM moved t"))
}

func sinkConnector(t *testing.T, s *stacktest.Stack, sinkURL string) map[string]string {
	t.Helper()
	u, err := url.Parse(sinkURL)
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	var topics []string
	for _, table := range []string{"people", "items", "large", "emptied", "toasted", "moved"} {
		topics = append(topics, s.Migration+".raw.public."+table)
	}
	return map[string]string{
		"name": "sink", "connector.class": "io.debezium.connector.jdbc.JdbcSinkConnector", "tasks.max": "1", "topics": strings.Join(topics, ","),
		"connection.url":      fmt.Sprintf("jdbc:postgresql://%s%s?stringtype=unspecified", u.Host, u.Path),
		"connection.username": u.User.Username(), "connection.password": password,
		"insert.mode": "upsert", "primary.key.mode": "record_key", "delete.enabled": "true", "truncate.enabled": "true",
		"schema.evolution": "none", "collection.name.format": "${source.schema}.${source.table}", "quote.identifiers": "true",
	}
}

// thirdDatabase makes one more on the target's server.
func thirdDatabase(t *testing.T, s *stacktest.Stack, target *pgx.Conn) string {
	t.Helper()
	u, err := url.Parse(s.Target)
	if err != nil {
		t.Fatal(err)
	}
	name := "sink_" + strings.TrimPrefix(u.Path, "/")
	if _, err := target.Exec(t.Context(), "CREATE DATABASE "+name+" TEMPLATE template0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		admin, err := pgx.Connect(context.Background(), s.Target)
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = admin.Close(context.Background()) }()
		if _, err := admin.Exec(context.Background(), "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Error(err)
		}
	})
	u.Path = "/" + name
	return u.String()
}

// first is a table's column that the last row's -1 stands in.
func first(table string) string {
	if table == "items" {
		return "a"
	}
	return "id"
}

// reaches waits until a query of the sink's database says yes.
func reaches(t *testing.T, connect *stacktest.KafkaConnect, conn *pgx.Conn, sql string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), calm)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		var yes bool
		if err := conn.QueryRow(ctx, sql).Scan(&yes); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		if yes {
			return
		}
		if err := connect.Running(); err != nil {
			t.Fatal(err)
		}
		<-tick.C
	}
}

func texts(t *testing.T, conn *pgx.Conn, sql string) []string {
	t.Helper()
	rows, err := conn.Query(t.Context(), sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return out
}

func sinkHolds(t *testing.T, what string, want, got []string) {
	t.Helper()
	if d := stacktest.Diff(want, got); d != "" {
		t.Errorf("%s in the sink's database:\n%s", what, d)
	}
}
