package main

import (
	"fmt"
	"strings"
	"testing"

	"segue/pkg/migration"
	"segue/pkg/pgsource"
	"segue/pkg/pgtest"
	"segue/pkg/table"
)

// What segue made on the source goes in the right order, whatever cut it short before, and never under a reader.
func TestSourceFinish(t *testing.T) {
	url := pgtest.Database(t)
	conn := pgtest.Connect(t, url)
	pgtest.Exec(t, conn, `CREATE TABLE a (id int PRIMARY KEY)`)
	var name string
	if err := conn.QueryRow(t.Context(), `SELECT 'f' || replace(current_database(), '_', '-')`).Scan(&name); err != nil {
		t.Fatal(err)
	}
	n := migration.Name(name)
	setup := pgsource.Setup{Slot: n.Slot(), Publication: n.Publication(), Tables: []table.Name{{Schema: "public", Table: "a"}}}
	l := line{files: map[string]string{"segue.yaml": fmt.Sprintf("migration: %s\nsource: {postgres: %q}\ntarget: {postgres: %q}\ntables: [{from: public.a}]\n", n, url, url)}}
	left := func() int {
		var n int
		if err := conn.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM pg_replication_slots WHERE slot_name = $1) + (SELECT count(*) FROM pg_publication)`, setup.Slot).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, before := range []struct {
		name, sql string
		things    int
	}{
		{"as a reader left it", `SELECT 1`, 2},
		{"cut short behind the slot", `SELECT pg_drop_replication_slot('` + setup.Slot + `')`, 1},
	} {
		if _, err := pgsource.Ensure(t.Context(), conn, setup); err != nil {
			t.Fatal(err)
		}
		pgtest.Exec(t, conn, before.sql)
		code, out, _ := l.run(t, "source", "finish", "--sql")
		if code != exitFine || strings.Count(out, ";\n") != before.things || left() != before.things || !strings.HasSuffix(out, `DROP PUBLICATION IF EXISTS "`+setup.Publication+"\";\n") {
			t.Errorf("%s: --sql: exit code %d\n%s", before.name, code, out)
		}
		for _, want := range []string{"source: done", "nothing to do"} {
			if code, _, talk := l.run(t, "source", "finish"); code != exitFine || !strings.Contains(talk, want) || left() != 0 {
				t.Errorf("%s: exit code %d, %d things left\n%s", before.name, code, left(), talk)
			}
		}
	}
	if _, err := pgsource.Ensure(t.Context(), conn, setup); err != nil {
		t.Fatal(err)
	}
	stream, err := pgsource.OpenStream(t.Context(), pgsource.StreamConfig{URL: url, App: "a reader", Slot: setup.Slot, Publication: setup.Publication})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	if code, _, talk := l.run(t, "source", "finish"); code != exitError || !strings.Contains(talk, "a reader is active") || !strings.Contains(talk, "application a reader") || !strings.Contains(talk, "stop the reader first") || left() != 2 {
		t.Errorf("under a reader: exit code %d, %d things left\n%s", code, left(), talk)
	}
}
