package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"segue/pkg/change"
	"segue/pkg/kafkatest"
	"segue/pkg/pgtarget"
	"segue/pkg/pgtest"
	"segue/pkg/table"
	"segue/services/dead"
)

// A filter that is given and empty is a mistake: left out in silence, more rows would be given up than somebody meant.
func TestAnEmptyFilterIsNoFilterLeftOut(t *testing.T) {
	for _, flag := range []string{"--table=", "--key=", "--keys=", "--cause=", "--since="} {
		for _, command := range []string{"list", "export", "retry", "discard"} {
			args := []string{"dead", command, "--table", "public.orders", flag}
			if command == "discard" {
				args = append(args, "--reason", "x")
			}
			code, _, stderr := line{files: map[string]string{"segue.yaml": unreachable}}.run(t, args...)
			if code != exitUsage || !strings.Contains(stderr, strings.TrimSuffix(flag, "=")) {
				t.Errorf("%v: exit code %d: %s", args, code, stderr)
			}
		}
	}
}

// The time that somebody gives is for the way to the servers, too: this one is tried for seconds.
func TestRetryEndsInTime(t *testing.T) {
	l := line{files: map[string]string{"segue.yaml": unreachable}, env: map[string]string{"SEGUE_KAFKA_BROKERS": "127.0.0.1:1", "SEGUE_REGISTRY_URL": "http://127.0.0.1:1"}}
	code, stdout, stderr := l.run(t, "dead", "retry", "--all", "--timeout", "50ms", "-o", "json")
	var report dead.Retried
	if err := json.Unmarshal([]byte(stdout), &report); code != exitNotProved || err != nil || !report.Late || report.Seconds > 2 || !strings.Contains(report.Reason, "nothing was asked for") {
		t.Errorf("exit code %d, %v: %s%s", code, err, stdout, stderr)
	}
}

// A row of a table that the migration has no more is in the list still, and can be looked at.
func TestShowTellsOfATableThatIsLeftOut(t *testing.T) {
	source, target := pgtest.Database(t), pgtest.Database(t)
	pgtest.Exec(t, pgtest.Connect(t, source), "CREATE TABLE here (id int PRIMARY KEY)", "CREATE TABLE gone (id int PRIMARY KEY)")
	conn := pgtest.Connect(t, target)
	pgtest.Exec(t, conn, "CREATE TABLE here (id int PRIMARY KEY)")
	if err := pgtarget.EnsureSchema(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, conn, `INSERT INTO segue.progress (migration, mode, fingerprint, owner, backend_pid, backend_start, applied) VALUES ('shop', 'fused', '', '', 0, 'epoch', now())`,
		`INSERT INTO segue.parked (migration, source_schema, source_table, key_values, epoch, lsn, seq, op, stage, code, reason, size, changes, last_position, last_op)
		VALUES ('shop', 'public', 'gone', '{7}', 1, '0/1', 1, 'insert', 'applier', '23505', 'because', 0, 1, '1:0/1#1', 'insert')`)
	l := line{files: map[string]string{"segue.yaml": fmt.Sprintf("migration: shop\nsource: {postgres: %q}\ntarget: {postgres: %q}\ntables:\n  - from: public.here\n", source, target)},
		env: map[string]string{"SEGUE_KAFKA_BROKERS": kafkatest.Fake(t).Brokers()[0], "SEGUE_REGISTRY_URL": "http://127.0.0.1:1"}}
	code, stdout, stderr := l.run(t, "dead", "show", "--table", "public.gone", "--key", "7")
	if code != exitFine || !strings.Contains(stdout, "23505, insert at") || !strings.Contains(stdout, "no such table any more") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	if code, _, _ := l.run(t, "dead", "show", "--table", "public.gone", "--key", "8"); code != exitUsage {
		t.Errorf("a row that nobody knows: exit code %d", code)
	}
}

// The position of a row that was parked at the end of the load is the last change's before it, of whichever row that was.
func TestAChangeConcernsTheRowsThatItNames(t *testing.T) {
	shape := &table.Table{Columns: []table.Column{{Name: "v"}, {Name: "a"}, {Name: "b"}}, Key: []int{1, 2}}
	row := func(texts ...string) (out change.Row) {
		for _, text := range texts {
			out = append(out, change.String(text))
		}
		return out
	}
	for _, c := range []struct {
		before, after change.Row
		want          bool
	}{
		{nil, row("x", "eu", "7"), true},
		{nil, row("x", "eu", "8"), false},
		{row("x", "eu", "7"), nil, true},
		{row("x", "eu", "7"), row("x", "us", "7"), true},
		{row("x", "us", "7"), row("x", "eu", "7"), true},
		{nil, nil, false},
	} {
		if got := concerns(&change.Change{Table: shape, Before: c.before, After: c.after}, row("eu", "7")); got != c.want {
			t.Errorf("%v → %v: %t", c.before, c.after, got)
		}
	}
	if concerns(&change.Change{Table: shape, After: row("x", "eu", "7")}, row("eu")) {
		t.Error("a key of another shape is found")
	}
}
