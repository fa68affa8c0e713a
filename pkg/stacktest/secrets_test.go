package stacktest_test

import (
	"fmt"
	"strings"
	"testing"

	"segue/pkg/stacktest"
)

// secret stands in every value that this test puts into the source.
const secret = "qzx7secret"

// P10: no row value in a log line, a metric or a status output, not even where PostgreSQL quotes it while it refuses a row.
func TestRealNoValuesInLogs(t *testing.T) {
	s := stacktest.Open(t, stacktest.Config{Form: stacktest.Fused, LogLevel: "debug", Spec: secretsSpec})
	legacy, target := stacktest.Connect(t, s.Legacy), stacktest.Connect(t, s.Target)
	change(t, legacy, `CREATE TABLE people (id bigint PRIMARY KEY, name text, card text, blob bytea, tags text[], doc jsonb, day date, code text NOT NULL)`)
	change(t, legacy, `CREATE TABLE named (name text PRIMARY KEY, body text)`)
	change(t, target, `CREATE TABLE people (id bigint PRIMARY KEY, name text, upper_name text, card text, blob bytea, tags text[], doc jsonb, day date, code text NOT NULL)`)
	change(t, target, `CREATE TABLE named (name text PRIMARY KEY, body text)`)
	change(t, legacy, insertPeople(1, 500, 1))
	change(t, legacy, `INSERT INTO named SELECT 'key-`+secret+`-' || i, repeat('`+secret+`', 500) FROM generate_series(1, 200) i`)
	s.Start(t)
	s.Applied(t, calm)
	change(t, legacy, insertPeople(501, 600, 1))
	change(t, legacy, `UPDATE named SET name = name || '-moved' WHERE name LIKE '%1'`)
	change(t, legacy, `DELETE FROM named WHERE name LIKE '%2'`)
	s.Applied(t, calm)

	var seen strings.Builder
	for n, fault := range refusals() {
		seen.WriteString(refused(t, s, n, fault))
	}
	s.Applied(t, calm)
	if r := s.Command(t, calm, "reconcile", "--wait", "--timeout", "30s"); r.Code != 0 {
		t.Errorf("reconcile: %s", r)
	}
	seen.WriteString(shownBy(t, s))
	for _, part := range []string{"23505", "23514", "22001", "segue_build_info", s.Migration, `"components"`} {
		if !strings.Contains(seen.String(), part) {
			t.Errorf("nothing shows %q: this test does not look at all outputs", part)
		}
	}
	for line := range strings.Lines(seen.String()) {
		if at := strings.Index(strings.ToLower(line), secret); at >= 0 {
			t.Errorf("a value is shown: %.400s", line)
		}
	}
}

const secretsSpec = `tables:
  - from: public.people
    set: {id: id, name: name, upper_name: upper(name), card: card, blob: blob, tags: tags, doc: doc, day: day, code: code}
  - from: public.named
`

// insertPeople fills rows of which every column can be recognised. 31337 is for columns that hold no text.
func insertPeople(from, to, unique int) string {
	return fmt.Sprintf(`INSERT INTO people SELECT i, 'name-%[1]s-' || i, 'card-%[1]s', 'blob-%[1]s', ARRAY['tag-%[1]s'], jsonb_build_object('k', '%[1]s'),
		'1931-03-07', 'code-%[1]s-' || %[4]d || '-' || i FROM generate_series(%[2]d, %[3]d) i`, secret, from, to, unique)
}

// refusal is a rule of the target's own that a row of the source breaks, and how the target's owner gives way.
type refusal struct {
	code            string // PostgreSQL's
	rule, row, mend string
	stops           bool // it is the table that is another one, so that nothing is parked
}

func refusals() []refusal {
	return []refusal{
		{"23505", `CREATE UNIQUE INDEX one_card ON people (card) WHERE id >= 1000`, insertPeople(1000, 1001, 2), `DROP INDEX one_card`, false},
		{"23514", `ALTER TABLE people ADD CONSTRAINT short CHECK (length(name) < 10) NOT VALID`, insertPeople(2000, 2000, 3), `ALTER TABLE people DROP CONSTRAINT short`, false},
		{"22001", `ALTER TABLE people ALTER COLUMN code TYPE varchar(30)`,
			`INSERT INTO people VALUES (3000, '` + secret + `', NULL, NULL, NULL, NULL, NULL, repeat('` + secret + `', 9))`, `ALTER TABLE people ALTER COLUMN code TYPE text`, true},
	}
}

// refused sees the row parked, or the pipeline stop where the table was altered, and told of without what is in it; then the target's owner gives way
// and it goes on.
func refused(t *testing.T, s *stacktest.Stack, n int, r refusal) string {
	t.Helper()
	legacy, target := stacktest.Connect(t, s.Legacy), stacktest.Connect(t, s.Target)
	change(t, target, r.rule)
	change(t, legacy, r.row)
	if r.stops {
		s.Says(t, "applier", "public.people was altered", calm)
		s.Ended(t, "applier", calm)
		shown := shownBy(t, s)
		change(t, target, r.mend)
		s.Revive(t)
		s.Applied(t, calm)
		return shown
	}
	s.Applied(t, calm)
	var key string
	if err := target.QueryRow(t.Context(), `SELECT key_values[1] FROM segue.parked WHERE code = $1`, r.code).Scan(&key); err != nil {
		t.Fatalf("refusal %d: no row is parked for %s: %v", n, r.code, err)
	}
	shown := shownBy(t, s)
	for _, args := range [][]string{{"list"}, {"list", "--groups"}, {"show", "--table", "public.people", "--key", key}, {"export"}} {
		c := s.Command(t, calm, append([]string{"dead"}, args...)...)
		if c.Code != 0 {
			t.Errorf("dead %v: %s", args, c)
		}
		shown += c.Stdout + c.Stderr
	}
	change(t, target, r.mend)
	if c := s.Command(t, calm, "dead", "retry", "--all"); c.Code != 0 {
		t.Errorf("dead retry: %s", c)
	}
	return shown
}

// shownBy is what people and their tools get to see now: logs, metrics, health, status.
func shownBy(t *testing.T, s *stacktest.Stack) string {
	t.Helper()
	var b strings.Builder
	for _, name := range stacktest.Fused.Services() {
		log, err := s.Log(name)
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString(log)
	}
	metrics, err := s.Metrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b.WriteString(metrics)
	for _, args := range [][]string{{"status"}, {"status", "-o", "json"}, {"check"}} {
		r := s.Command(t, calm, args...)
		b.WriteString(r.Stdout + r.Stderr)
	}
	return b.String()
}
