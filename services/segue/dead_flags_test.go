package main

import (
	"encoding/json"
	"strings"
	"testing"

	"segue/pkg/change"
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
