package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"

	"segue/pkg/embedded"
	"segue/pkg/migration"
	"segue/pkg/pgtest"
	"segue/pkg/table"
	"segue/services/dead"
)

// deadLine is what a command about parked rows came to.
type deadLine struct {
	code         int
	stdout, talk string
}

func (l deadLine) String() string {
	return fmt.Sprintf("exit code %d\n%s\n%s", l.code, l.stdout, l.talk)
}

func (s *story) dead(args ...string) (l deadLine) {
	s.t.Helper()
	var out bytes.Buffer
	var talk lockedBuffer
	p := s.process()
	p.stdout, p.stderr = &out, &talk
	l.code = p.run(s.t.Context(), append([]string{"dead"}, args...))
	l.stdout, l.talk = out.String(), talk.String()
	return l
}

// says runs a command about parked rows that must end so, and say all of that.
func (s *story) says(code int, args string, want ...string) string {
	s.t.Helper()
	l := s.dead(strings.Fields(args)...)
	for _, w := range want {
		if !strings.Contains(l.stdout+l.talk, w) {
			s.fail("dead %s does not say %q: %s", args, w, l)
		}
	}
	if l.code != code {
		s.fail("dead %s: want exit code %d: %s", args, code, l)
	}
	if os.Getenv("SEGUE_SHOW") != "" {
		s.t.Logf("$ segue dead %s\n%s%s", args, l.talk, l.stdout)
	}
	return l.stdout
}

const letters = `CREATE TABLE doc (id int PRIMARY KEY, note text, body text); ALTER TABLE doc ALTER body SET STORAGE EXTERNAL;
CREATE TABLE rate (id int PRIMARY KEY, n int);
CREATE TABLE marker (id int PRIMARY KEY);`

// deadStory is a pipeline whose topic of documents takes 20 kB, and whose mapping has no result for a rate of zero.
func deadStory(t *testing.T, a embedded.Addresses, stages string) *story {
	s := plainStory(t, a, "dead-"+stages, stages, letters, "")
	text, err := os.ReadFile(s.env["SEGUE_CONFIG"])
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, "    exclude: [public.rate]\n  - from: public.rate\n    set: {id: id, n: 100 / n * n}\n"...)
	if err := os.WriteFile(s.env["SEGUE_CONFIG"], text, 0o600); err != nil {
		t.Fatal(err)
	}
	s.says(exitError, "list", "the target knows nothing of migration dead-"+stages, "start it once")
	s.start()
	s.marker(1)
	s.says(exitFine, "list", "0 rows are parked")
	s.says(exitFine, "export")
	s.stop()
	takes(t, a, 20_000, s.docTopics()...)
	s.start()
	return s
}

func (s *story) docTopics() []string {
	name, of := migration.Name(s.name), table.Name{Schema: "public", Table: "doc"}
	out := []string{name.RawTopic(of)}
	if s.stages == "staged" {
		out = append(out, name.ShapedTopic(of), name.UniqueTopic(of))
	}
	return out
}

// TestPipelineDead is the life of parked rows as people meet it, while the stream runs: they are listed, read again in vain and with success,
// and given up.
func TestPipelineDead(t *testing.T) {
	servers, err := embedded.Open(t.Context(), embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = servers.Close() })
	for _, stages := range []string{"fused", "staged"} {
		t.Run(stages, func(t *testing.T) { deadLife(t, servers.Addresses(), stages) })
	}
}

func deadLife(t *testing.T, a embedded.Addresses, stages string) {
	s := deadStory(t, a, stages)
	pgtest.Exec(t, s.source, "INSERT INTO doc SELECT i, 'note', repeat('0123456789', 3000) FROM generate_series(1, 4) i",
		"INSERT INTO doc VALUES (5, 'small', 'b')", "UPDATE doc SET note = 'changed' WHERE id = 2",
		"INSERT INTO rate VALUES (1, 0), (2, 50), (3, 0)")
	s.marker(2)

	out := s.says(exitFine, "list", "6 rows are parked", "public.doc   2    insert  too_large  30.", "division by zero", "mapping")
	if strings.Contains(out, "0123456789") {
		s.fail("a value is shown:\n%s", out)
	}
	s.says(exitFine, "list --groups", "public.doc   too_large  4", "public.rate  mapping    2")
	s.says(exitFine, "list --table public.rate --key 3 --since 1h", "public.rate  3    insert")
	s.says(exitFine, "list --table public.doc --limit 1 --pending", "1 of these 4 are shown", "no row is pending")
	s.says(exitFine, "list --code 23505", "none of them matches; they are of public.doc, public.rate")
	s.says(exitUsage, "list --table doc", "--table doc")
	s.says(exitUsage, "list --cause 17", "--cause")
	s.says(exitUsage, "list --since sometime", "--since")
	s.says(exitUsage, "list --pending --code x", "neither a code nor a cause")
	s.deadJSON()
	s.deadShow()

	// Nothing is mended yet: they are parked again, with their reason.
	s.says(exitUsage, "retry", "which rows?", "--all")
	s.says(exitUsage, "retry --all --code mapping", "one of them")
	s.says(exitDiffer, "retry --all", "public.doc   4      0        4             too_large 4", "public.rate  2      0        2             mapping 2", "6 rows are parked again")
	s.says(exitFine, "retry --code 23505", "no parked row matches")
	s.says(exitNotProved, "retry --all --timeout 1ms")

	s.stop()
	takes(t, a, 1_000_000, s.docTopics()...)
	s.start()
	s.says(exitFine, "retry --table public.doc --keys 1,2", "public.doc  2      2        0             -")
	s.want(parkedKeys, "doc:3 doc:4 rate:1 rate:3")
	s.want("SELECT note || length(body) FROM doc WHERE id = 2", "changed30000")
	pgtest.Exec(t, s.source, "UPDATE rate SET n = 4 WHERE id = 1") // it holds the whole row
	s.says(exitFine, "retry --table public.doc --no-wait", "they are asked for")
	s.await("the documents are here", "SELECT count(*) = 5 FROM doc")
	s.await("the rate is here", "SELECT NOT EXISTS (SELECT FROM segue.parked WHERE source_table = 'doc' OR key_values = '{1}')")

	// What is given up is not tried any more; what comes later is applied.
	s.says(exitUsage, "discard --table public.rate", "why?", "--reason")
	s.says(exitUsage, "discard --reason x", "which rows?")
	s.says(exitUsage, "discard --reason x --all --key 3", "one of them")
	s.says(exitFine, "discard --table public.rate --key 4 --reason x", "nothing is given up")
	s.says(exitFine, "discard --table public.rate --key 3 --reason obsolete", "public.rate  mapping  1", "segue.parked_log")
	s.says(exitFine, "list", "0 rows are parked")
	s.want("SELECT action || ' ' || reason || ' ' || (who LIKE 'dead@%') FROM segue.parked_log ORDER BY id DESC LIMIT 1", "discarded obsolete true")
	pgtest.Exec(t, s.source, "UPDATE rate SET n = 20 WHERE id = 3")
	s.marker(3)
	s.want("SELECT string_agg(id || ':' || n, ' ' ORDER BY id) FROM rate", "1:100 2:100 3:100")
	s.want("SELECT changes - row_ops - filtered - parked FROM segue.progress", "0")
	s.busyDecisions()
	s.letters()
	if code := s.process().run(t.Context(), []string{"reconcile", "--wait"}); code != exitFine {
		s.fail("reconcile ended with exit code %d", code)
	}
}

const parkedKeys = "SELECT string_agg(source_table || ':' || key_values[1], ' ' ORDER BY source_table, key_values[1]) FROM segue.parked"

// deadJSON looks at what programs get.
func (s *story) deadJSON() {
	s.t.Helper()
	var list dead.List
	if err := json.Unmarshal([]byte(s.says(exitFine, "list -o json --table public.doc")), &list); err != nil {
		s.t.Fatal(err)
	}
	if list.Parked != 6 || list.Matched != 4 || len(list.Rows) != 4 || list.Rows[1].Changes != 2 || list.Rows[1].LastPosition == list.Rows[1].Position || *list.Rows[0].Key[0] != "1" {
		s.fail("the list: %+v", list)
	}
	lines := strings.Split(strings.TrimSpace(s.says(exitFine, "export --code mapping --code too_large")), "\n")
	if len(lines) != 6 {
		s.fail("%d lines exported:\n%s", len(lines), strings.Join(lines, "\n"))
	}
	for _, line := range lines {
		var r dead.Record
		if err := json.Unmarshal([]byte(line), &r); err != nil || r.Migration != s.name || r.Position == "" || r.Op != "insert" || r.Time.IsZero() || r.Changes == 0 {
			s.fail("exported %s: %v", line, err)
		}
	}
}

// deadShow looks at single rows, and at what is left of that without the source.
func (s *story) deadShow() {
	s.t.Helper()
	out := s.says(exitFine, "show --table public.rate --key 3", "parked   ", "mapping, insert at", "division by zero", "history", "parked  1:", "dead-"+s.stages+".raw.public.rate, partition",
		"insert", "source   public.rate", "(1 byte)", "it has no result", "it has no such row", "--reveal")
	if strings.Contains(out, `"0"`) {
		s.fail("a value is shown:\n%s", out)
	}
	s.says(exitFine, "show --table public.rate --key 3 --reveal", `"3"`, `"0"`)
	s.says(exitFine, "show --table public.doc --key 2", "2 changes are set aside", "it travels as a stub", "(30000 bytes)", "public.doc → public.doc: put")
	s.says(exitFine, "show --table public.doc --key 5", "parked   no", "history  none", "the row is not parked", "(5 bytes)")
	s.says(exitFine, "show --table public.doc --key 77", "it has no such row now", "it has no such row")
	s.says(exitUsage, "show --table public.doc", "which row?")
	s.says(exitUsage, "show --table public.nosuch --key 1", "no such source table")
	s.says(exitUsage, `show --table public.doc --key [1,2]`, "the key of public.doc has 1")
	var shown dead.Shown
	if err := json.Unmarshal([]byte(s.says(exitFine, "show --table public.rate --key 1 -o json")), &shown); err != nil || shown.Parked == nil || len(shown.Record.Row) != 2 || shown.Record.Row[1].Value != nil {
		s.fail("shown as JSON: %+v, %v", shown, err)
	}

	file := s.env["SEGUE_CONFIG"]
	text, err := os.ReadFile(file)
	if err != nil {
		s.t.Fatal(err)
	}
	away := file + ".away"
	cut := regexp.MustCompile(`(?m)^source: .*$`).ReplaceAll(text, []byte(`source: {postgres: "postgres://u:hunter2@127.0.0.1:1/a"}`))
	if err := os.WriteFile(away, cut, 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.env["SEGUE_CONFIG"] = away
	defer func() { s.env["SEGUE_CONFIG"] = file }()
	s.says(exitFine, "show --table public.rate --key 3", "mapping, insert at", "division by zero", "source   -", "not read, the tables' shapes are not known: source: ", "bytes, which need the table's shape")
	s.says(exitFine, "list --table public.rate", "mapping")
	s.says(exitError, "retry --all", "source: ")
}

// letters holds the topic for people's own tools against the log.
func (s *story) letters() {
	s.t.Helper()
	rows, err := s.target.Query(s.t.Context(), "SELECT action || ' ' || key_values[1] || ' ' || position FROM segue.parked_log ORDER BY id")
	if err != nil {
		s.t.Fatal(err)
	}
	want, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		s.t.Fatal(err)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(s.env["SEGUE_KAFKA_BROKERS"]), kgo.ConsumeTopics(migration.Name(s.name).DeadTopic()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		s.t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	var got []string
	last := int64(0)
	for len(got) < len(want) {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			s.fail("%d of %d letters: %v", len(got), len(want), err)
		}
		for _, r := range fetches.Records() {
			var record dead.Record
			if err := json.Unmarshal(r.Value, &record); err != nil {
				s.t.Fatal(err)
			}
			if os.Getenv("SEGUE_SHOW") != "" && len(got) < 3 {
				s.t.Logf("key %s value %s", r.Key, r.Value)
				for _, h := range r.Headers {
					s.t.Logf("header %s: %s", h.Key, h.Value)
				}
			}
			if record.ID > last { // a stop in between may repeat some
				got, last = append(got, record.Action+" "+*record.Key[0]+" "+record.Position), record.ID
			}
		}
	}
	if !slices.Equal(got, want) {
		s.fail("the topic has %d lines, the log %d, or in another order", len(got), len(want))
	}
}

// busyDecisions gives rows up while they are parked and superseded all the time: nobody takes that for another process, nothing is lost.
func (s *story) busyDecisions() {
	s.t.Helper()
	var wg sync.WaitGroup
	over := make(chan struct{})
	wg.Go(func() {
		for {
			select {
			case <-over:
				return
			default:
				if l := s.dead("discard", "--all", "--reason", "busy"); l.code != exitFine {
					s.t.Errorf("discard: %s", l)
				}
			}
		}
	})
	n := 0
	for late := time.Now().Add(time.Minute); time.Now().Before(late); n++ {
		var given int
		if err := s.target.QueryRow(s.t.Context(), "SELECT count(*) FROM segue.parked_log WHERE reason = 'busy'").Scan(&given); err != nil {
			s.t.Fatal(err)
		}
		if given >= 5 {
			break
		}
		pgtest.Exec(s.t, s.source, fmt.Sprintf("INSERT INTO rate VALUES (%d, 0), (%d, 10)", 100_000+n, 200_000+n), fmt.Sprintf("UPDATE rate SET n = %d WHERE id = %d", n%2, 100_000+n/2))
	}
	close(over)
	wg.Wait()
	pgtest.Exec(s.t, s.source, "UPDATE rate SET n = 5 WHERE id >= 1000")
	s.marker(4)
	s.want("SELECT count(*) || ' ' || sum(n) FROM rate WHERE id >= 1000", fmt.Sprintf("%d %d", 2*n, 200*n))
	s.want("SELECT count(*) FROM segue.parked", "0")
	s.want("SELECT count(*) >= 5 FROM segue.parked_log WHERE reason = 'busy'", "true")
	if strings.Contains(s.log.String(), "taken over") {
		s.fail("a decision was taken for another process")
	}
}
