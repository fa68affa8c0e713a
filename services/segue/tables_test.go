package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"segue/pkg/pgtest"
)

// describe writes segue.yaml anew, with these tables.
func (u *user) describe(tables string) {
	u.t.Helper()
	for _, v := range u.env {
		path, ok := strings.CutPrefix(v, "SEGUE_CONFIG=")
		if !ok {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			u.t.Fatal(err)
		}
		head, _, _ := strings.Cut(string(text), "tables:")
		if err := os.WriteFile(path, []byte(head+"tables:\n  - from: "+tables+"\n"), 0o600); err != nil {
			u.t.Fatal(err)
		}
	}
}

// Tables are added and taken out by an edit of segue.yaml and a start that takes the new mapping. The foreign keys of the added ones are
// taken away for their load, those of the others stay; all are enforced again behind it.
func TestPipelineTablesComeAndGo(t *testing.T) {
	if testing.Short() {
		t.Skip("runs processes")
	}
	u := newUser(t)
	source, target := pgtest.Connect(t, u.source), pgtest.Connect(t, u.target)
	more := []string{`CREATE TABLE toys (id int PRIMARY KEY, pet int NOT NULL REFERENCES pets ON DELETE CASCADE, part_of int REFERENCES toys)`}
	pgtest.Exec(t, source, append(more, `INSERT INTO toys SELECT i, i % 5000 + 1, CASE WHEN i < 20000 THEN i + 1 END FROM generate_series(1, 20000) i`)...)
	pgtest.Exec(t, target, more...)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { // changes in all tables, all the while
		conn, err := pgx.Connect(context.Background(), u.source)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close(context.Background())
		tick := time.NewTicker(20 * time.Millisecond) // as much as a comparison keeps up with
		defer tick.Stop()
		for n := 0; ctx.Err() == nil; n++ {
			<-tick.C
			for _, sql := range []string{`UPDATE people SET name = 'n%[1]d' WHERE id = 1 + %[1]d %% 3000`, `UPDATE pets SET name = 'n%[1]d' WHERE id = 1 + %[1]d %% 5000`, `UPDATE toys SET pet = 1 + %[1]d %% 5000 WHERE id = 1 + %[1]d %% 20000`} {
				if _, err := conn.Exec(context.Background(), fmt.Sprintf(sql, n)); err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	quiet := sync.OnceFunc(func() { cancel(); wg.Wait() })
	defer quiet()
	keys := func() string {
		return row(t, target, `SELECT coalesce(string_agg(conrelid::regclass::text || CASE WHEN convalidated AND condeferrable THEN '' ELSE ' (not enforced)' END, ',' ORDER BY conname), '') FROM pg_constraint WHERE contype = 'f' AND connamespace = 'public'::regnamespace`)
	}
	proved := func(r *alive, when string) {
		t.Helper()
		if code, out, talk := u.does("reconcile", "--wait", "--timeout", "60s"); code != exitFine {
			t.Fatalf("%s: exit code %d\n%s%s\n%s", when, code, out, talk, r.log)
		}
	}
	stop := func(r *alive) {
		t.Helper()
		if err := r.Process.Kill(); err != nil { // SIGKILL, wherever it is
			t.Fatal(err)
		}
		u.ends(r)
	}

	u.describe("public.p*")
	r := u.start("run", "all")
	r.log.waitFor(t, "foreign keys enforced")
	proved(r, "two tables")
	stop(r)

	u.describe("public.*")
	r = u.start("run", "all")
	r.log.waitFor(t, "--accept-mapping") // it is told what a changed file wants
	u.ends(r)
	r = u.start("run", "all", "--accept-mapping")
	r.log.waitFor(t, "tables are loaded, without their foreign keys")
	stop(r)
	r = u.start("run", "all")
	r.log.waitFor(t, "foreign keys enforced")
	proved(r, "a table was added")
	if got := keys(); got != "pets,toys,toys" {
		t.Errorf("foreign keys: %s", got)
	}
	stop(r)

	u.describe("public.p*")
	r = u.start("run", "all", "--accept-mapping")
	r.log.waitFor(t, "a table is no longer taken")
	r.log.waitFor(t, "target opened")
	proved(r, "a table was taken out")
	if _, out, _ := u.does("status"); strings.Contains(out, "toys") || !strings.Contains(out, "2 of 2 tables complete") {
		t.Errorf("status:\n%s", out)
	}
	if got := row(t, target, `SELECT count(*)::text FROM toys`); got != "20000" {
		t.Errorf("%s rows of the table that was taken out are left", got)
	}
	stop(r)

	u.describe("public.*")
	r = u.start("run", "all", "--accept-mapping")
	r.log.waitFor(t, "foreign keys enforced")
	quiet()
	proved(r, "it was added again")
	const toys = `SELECT md5(string_agg(t::text, '|' ORDER BY id)) FROM toys t`
	if row(t, source, toys) != row(t, target, toys) || row(t, source, contents) != row(t, target, contents) {
		t.Error("the stores differ, and reconcile did not say so")
	}
	stop(r)
}
