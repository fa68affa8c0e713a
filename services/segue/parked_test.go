package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"segue/pkg/change"
	"segue/pkg/embedded"
	"segue/pkg/kafka"
	"segue/pkg/migration"
	"segue/pkg/pgtest"
	"segue/pkg/request"
	"segue/pkg/table"
	"segue/pkg/wire"
)

// plainStory is a pipeline over tables of the test's own, the same on both sides.
func plainStory(t *testing.T, a embedded.Addresses, name, stages, ddl, more string) *story {
	s := &story{t: t, name: name, stages: stages}
	from, to := pgtest.Database(t), pgtest.Database(t)
	s.source, s.target, s.admin = pgtest.Connect(t, from), pgtest.Connect(t, to), pgtest.Connect(t, to)
	pgtest.Exec(t, s.source, ddl)
	pgtest.Exec(t, s.target, ddl)
	file := filepath.Join(t.TempDir(), "segue.yaml")
	text := fmt.Sprintf("migration: %s\nsource: {postgres: %q}\ntarget: {postgres: %q}\nkafka: {partitions: 2}\n%stables:\n  - from: public.*\n", s.name, from, to, more)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.env = map[string]string{
		"SEGUE_CONFIG": file, "SEGUE_KAFKA_BROKERS": a.Brokers[0], "SEGUE_REGISTRY_URL": a.Registry, "SEGUE_LISTEN": "off", "SEGUE_STAGES": s.stages,
		"GOMEMLIMIT": "off",
	}
	t.Cleanup(func() {
		s.stop()
		if code := s.process().run(context.Background(), []string{"target", "finish"}); code != exitFine { // the cluster has room for few origins
			t.Errorf("target finish ended with exit code %d: %s", code, s.log.String())
		}
	})
	return s
}

// askFor puts a request for keys of a table onto the migration's requests topic.
func askFor(t *testing.T, a embedded.Addresses, name migration.Name, of table.Name, keys ...string) {
	t.Helper()
	registry, err := wire.NewRegistry(wire.RegistryConfig{URL: a.Registry})
	if err != nil {
		t.Fatal(err)
	}
	codec, err := wire.NewRequests(t.Context(), registry, name.RequestsTopic())
	if err != nil {
		t.Fatal(err)
	}
	r := request.Request{ID: "test", Kind: request.Keys, Table: of, By: "test", Written: 1}
	for _, k := range keys {
		r.Keys = append(r.Keys, change.Row{change.String(k)})
	}
	value, err := codec.EncodeRequest(r)
	if err != nil {
		t.Fatal(err)
	}
	to, err := kafka.OpenRequests(kafka.Config{Brokers: a.Brokers}, name.RequestsTopic())
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	if err := to.Produce(t.Context(), value); err != nil {
		t.Fatal(err)
	}
}

// takes sets the largest record that topics take.
func takes(t *testing.T, a embedded.Addresses, size int, topics ...string) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(a.Brokers...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	value := strconv.Itoa(size)
	answers, err := kadm.NewClient(client).AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "max.message.bytes", Value: &value}}, topics...)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range answers {
		if r.Err != nil {
			t.Fatalf("alter %s: %v", r.Name, r.Err)
		}
	}
}

func (s *story) want(sql, want string) {
	s.t.Helper()
	var got string
	if err := s.target.QueryRow(s.t.Context(), "SELECT coalesce(("+sql+")::text, '')").Scan(&got); err != nil {
		s.t.Fatal(err)
	}
	if got != want {
		s.fail("%s\n got %s\nwant %s", sql, got, want)
	}
}

// marker waits until a new row is on the target, and with it everything that was committed before.
func (s *story) marker(id int) {
	s.t.Helper()
	pgtest.Exec(s.t, s.source, fmt.Sprintf("INSERT INTO marker VALUES (%d)", id))
	s.await(fmt.Sprintf("marker %d", id), fmt.Sprintf("SELECT EXISTS (SELECT FROM marker WHERE id = %d) AND EXISTS (SELECT FROM segue.progress WHERE loaded)", id))
}

// largeBytes is how large the large values are: SEGUE_LARGE says otherwise.
func largeBytes(t *testing.T) int {
	if s := os.Getenv("SEGUE_LARGE"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return 8 << 20
}

const documents = `CREATE TABLE doc (id int PRIMARY KEY, note text, body text, raw bytea); ALTER TABLE doc ALTER body SET STORAGE EXTERNAL, ALTER raw SET STORAGE EXTERNAL;
CREATE TABLE marker (id int PRIMARY KEY);`

const parkedIDs = "SELECT string_agg(key_values[1] || ':' || code, ' ' ORDER BY key_values[1]::int) FROM segue.parked"

// TestPipelineLargeRows takes rows that no topic takes through load, insert, update with changed and unchanged TOAST, key change and delete: they are
// parked, all other rows go on, and once the topics take them a request for the keys brings them. Counts add up all the while.
func TestPipelineLargeRows(t *testing.T) {
	servers, err := embedded.Open(t.Context(), embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = servers.Close() })
	for _, stages := range []string{"fused", "staged"} {
		t.Run(stages, func(t *testing.T) { largeRows(t, servers.Addresses(), stages) })
	}
}

func largeRows(t *testing.T, a embedded.Addresses, stages string) {
	s := plainStory(t, a, "large-"+stages, stages, documents, "")
	large := largeBytes(t)
	text, raw := fmt.Sprintf("repeat('0123456789abcdef', %d)", large/16), fmt.Sprintf("decode(repeat('00ff10', %d), 'hex')", large/3)
	pgtest.Exec(t, s.source, "INSERT INTO doc VALUES (1, 'a', 'b', '\\x01'), (3, 'a', 'b', '\\x03'), (10, 'a', 'b', NULL)",
		"INSERT INTO doc VALUES (2, 'in the load', "+text+", NULL)", "INSERT INTO doc VALUES (11, 'in the load', '', "+raw+")")
	s.start()
	s.marker(1)
	s.want(parkedIDs, "2:too_large 11:too_large")
	pgtest.Exec(t, s.source,
		"INSERT INTO doc VALUES (4, 'inserted', "+text+", NULL)",
		"INSERT INTO doc VALUES (5, 'small', 'b', NULL)",
		"UPDATE doc SET note = 'unchanged TOAST' WHERE id = 2",
		"UPDATE doc SET body = "+text+" WHERE id = 1",
		"UPDATE doc SET note = 'x' WHERE id = 3",
		"INSERT INTO doc VALUES (6, 'bytea', '', "+raw+")",
		"INSERT INTO doc VALUES (7, 'deleted', "+text+", "+raw+")",
		"UPDATE doc SET id = 12, body = "+text+" WHERE id = 10")
	if large == 8<<20 {
		s.stop() // in the middle of it
		s.start()
	}
	s.marker(2)
	s.want(parkedIDs, "1:too_large 2:too_large 4:too_large 6:too_large 7:too_large 10:too_large 11:too_large 12:too_large")
	s.want("SELECT string_agg(id || note || body, ' ' ORDER BY id) FROM doc", "1ab 3xb 5smallb 10ab")
	s.want("SELECT changes FROM segue.parked WHERE key_values = '{2}'", "2")
	pgtest.Exec(t, s.source, "UPDATE doc SET raw = '\\x06' WHERE id = 6", "DELETE FROM doc WHERE id = 7")
	s.marker(3)
	s.want(parkedIDs, "1:too_large 2:too_large 4:too_large 10:too_large 11:too_large 12:too_large")
	s.want("SELECT string_agg(id || note || coalesce(raw::text, ''), ' ' ORDER BY id) FROM doc", `1a\x01 3x\x03 5small 6bytea\x06 10a`)
	// Every change that went in is applied, filtered or parked.
	s.want("SELECT changes - row_ops - filtered - parked FROM segue.progress", "0")
	s.want("SELECT string_agg(action || n, ' ' ORDER BY action) FROM (SELECT action, count(*) AS n FROM segue.parked_log GROUP BY 1) AS l", "parked8 superseded2")
	s.statusShows("doc", 6)
	if code := s.process().run(t.Context(), []string{"reconcile", "--table", "public.doc"}); code != exitNotProved {
		s.fail("reconcile ended with exit code %d: the table has parked rows, want %d", code, exitNotProved)
	}

	s.stop()
	name := migration.Name(s.name)
	of := table.Name{Schema: "public", Table: "doc"}
	topics := []string{name.RawTopic(of)}
	if stages == "staged" {
		topics = append(topics, name.ShapedTopic(of), name.UniqueTopic(of))
	}
	takes(t, a, 3*large, topics...)
	s.start()
	askFor(t, a, name, of, "1", "2", "4", "10", "11", "12")
	s.await("the parked rows arrived", "SELECT NOT EXISTS (SELECT FROM segue.parked)")
	pgtest.Exec(t, s.source, "UPDATE doc SET body = "+text+" || 'x' WHERE id = 5", "UPDATE doc SET note = 'unchanged' WHERE id = 4", "DELETE FROM doc WHERE id = 11")
	s.marker(4)
	const all = "SELECT string_agg(id || note || md5(body) || coalesce(md5(raw), ''), ' ' ORDER BY id) FROM doc"
	var want string
	if err := s.source.QueryRow(t.Context(), all).Scan(&want); err != nil {
		t.Fatal(err)
	}
	s.want(all, want)
	if code := s.process().run(t.Context(), []string{"reconcile", "--wait", "--table", "public.doc"}); code != exitFine {
		s.fail("reconcile ended with exit code %d", code)
	}
}

// statusShows looks at what people see.
func (s *story) statusShows(name string, rows int) {
	s.t.Helper()
	before := len(s.log.String())
	if code := s.process().run(s.t.Context(), []string{"status"}); code != exitFine {
		s.fail("status ended with exit code %d", code)
	}
	out := s.log.String()[before:]
	if !strings.Contains(out, fmt.Sprintf("%d parked", rows)) || !strings.Contains(out, name) {
		s.fail("status says nothing of the %d parked rows of %s:\n%s", rows, name, out)
	}
}
