package main

import (
	"os"
	"strings"
	"testing"

	"segue/pkg/pgtest"
)

// A resync as processes: everything is killed in the middle of it and goes on; rows of a partition that the log told nothing of go by the
// command that the reader names.
func TestResyncOutlivesEverybody(t *testing.T) {
	if testing.Short() {
		t.Skip("runs processes")
	}
	u := newUser(t)
	source, target := pgtest.Connect(t, u.source), pgtest.Connect(t, u.target)
	pgtest.Exec(t, source,
		`CREATE TABLE visits (id int, year int, PRIMARY KEY (id, year)) PARTITION BY LIST (year)`,
		`CREATE TABLE visits_24 PARTITION OF visits FOR VALUES IN (24)`, `CREATE TABLE visits_25 PARTITION OF visits FOR VALUES IN (25)`,
		`CREATE TABLE visits_26 PARTITION OF visits FOR VALUES IN (26)`, `INSERT INTO visits SELECT i, 24 + i % 3 FROM generate_series(1, 900) i`)
	pgtest.Exec(t, target, `CREATE TABLE visits (id int, year int, PRIMARY KEY (id, year))`)
	file := ""
	for _, v := range u.env {
		if name, ok := strings.CutPrefix(v, "SEGUE_CONFIG="); ok {
			file = name
		}
	}
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	all := u.start("run", "all")
	all.log.waitFor(t, "foreign keys enforced")
	kill(u, all)
	if err := os.WriteFile(file, append(whole, "load: {rows_per_second: 50, workers: 1, chunk: 64kB}\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	all = u.start("run", "all")
	all.log.waitFor(t, "target opened")

	// Everybody dies in the middle.
	pgtest.Exec(t, target, `UPDATE people SET name = 'spoilt'`, `INSERT INTO people VALUES (-1, 'extra'), (-2, 'extra')`, `INSERT INTO pets VALUES (-1, -1, 'extra')`)
	command := u.start("resync", "--table", "public.people")
	all.log.waitFor(t, "a table is read again")
	if code, out, _ := u.does("reconcile", "--table", "public.people", "--timeout", "1s"); code == exitFine {
		t.Errorf("half a resync passes:\n%s", out)
	}
	kill(u, command)
	command = u.start("resync", "--table", "public.people")
	command.log.waitFor(t, "public.people is being read already")
	kill(u, command)
	kill(u, all)
	if err := os.WriteFile(file, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	all = u.start("run", "all")
	all.log.waitFor(t, "target opened")
	code, out, talk := u.does("resync", "--table", "public.people", "--table", "public.pets")
	if code != exitFine || strings.Count(all.log.String(), "a table is read again") > 2 { // the first one was begun once, by the life before
		t.Fatalf("exit code %d\n%s%s%s", code, out, talk, all.log)
	}
	if row(t, source, contents) != row(t, target, contents) {
		t.Fatal("the stores differ, and the resync did not say so")
	}

	// Of a partition that is emptied, and one that is dropped, while nobody looks, the log tells nothing.
	kill(u, all)
	pgtest.Exec(t, source, `TRUNCATE visits_24`, `DROP TABLE visits_26`)
	all = u.start("run", "all")
	all.log.waitFor(t, "segue resync --table public.visits")
	if code, out, talk = u.does("resync", "--table", "public.visits"); code != exitFine || !strings.Contains(out, "600") {
		t.Fatalf("exit code %d\n%s%s%s", code, out, talk, all.log)
	}
	if left := row(t, target, `SELECT string_agg(DISTINCT year::text, ' ') || ' ' || count(*) FROM visits`); left != "25 300" {
		t.Errorf("left are %s", left)
	}
	t.Logf("%s%s", talk, out)
}

// kill ends a process by SIGKILL.
func kill(u *user, r *alive) {
	u.t.Helper()
	if err := r.Process.Kill(); err != nil {
		u.t.Fatal(err)
	}
	u.ends(r)
}
