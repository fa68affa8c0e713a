package main

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"segue/pkg/pgtest"
)

// edit changes the user's segue.yaml.
func (u *user) edit(old, with string) {
	u.t.Helper()
	for _, v := range u.env {
		name, ok := strings.CutPrefix(v, "SEGUE_CONFIG=")
		if !ok {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil || !strings.Contains(string(text), old) {
			u.t.Fatalf("%v: no %q in\n%s", err, old, text)
		}
		if err := os.WriteFile(name, []byte(strings.Replace(string(text), old, with, 1)), 0o600); err != nil {
			u.t.Fatal(err)
		}
	}
}

const keysAndIndexes = `SELECT string_agg(pg_get_indexdef(indexrelid), E'\n' ORDER BY indexrelid::regclass::text) || E'\n'
	|| coalesce((SELECT string_agg(pg_get_constraintdef(oid), E'\n') FROM pg_constraint WHERE contype = 'f'), '-') FROM pg_index WHERE indrelid IN ('people'::regclass, 'pets'::regclass)`

// What target prepare and finish do, and that what they print does the same.
func TestTargetPreparesAndFinishes(t *testing.T) {
	if testing.Short() {
		t.Skip("runs processes")
	}
	u := newUser(t)
	target := pgtest.Connect(t, u.target)
	pgtest.Exec(t, target, `CREATE INDEX pets_owner ON pets (owner)`, `CREATE INDEX pets_name ON pets (name) WHERE id > 5`)
	u.edit("target: {", "target: {indexes: after_load, index_workers: 3, ")
	before := row(t, target, keysAndIndexes)
	must := func(args ...string) string {
		t.Helper()
		code, out, talk := u.does(args...)
		if code != exitFine {
			t.Fatalf("%v: exit code %d\n%s%s", args, code, out, talk)
		}
		return out
	}
	must("target", "prepare")
	if now := row(t, target, keysAndIndexes); strings.Contains(now, "pets_name") || !strings.HasSuffix(now, "-") {
		t.Fatalf("prepared:\n%s", now)
	}
	finish := must("target", "finish", "--sql")
	if a, b := strings.Index(finish, "CREATE INDEX pets_owner"), strings.Index(finish, "ADD CONSTRAINT"); a < 0 || b < a {
		t.Fatalf("indexes come before foreign keys:\n%s", finish)
	}
	must("target", "finish")
	if now := row(t, target, keysAndIndexes); now != before {
		t.Fatalf("before\n%s\nnow\n%s", before, now)
	}
	pgtest.Exec(t, target, strings.Split(strings.TrimSpace(must("target", "prepare", "--sql")), ";\n")...)
	if now := row(t, target, keysAndIndexes); strings.Contains(now, "pets_name") || !strings.HasSuffix(now, "-") {
		t.Fatalf("prepared by hand:\n%s", now)
	}
	pgtest.Exec(t, target, `INSERT INTO segue.progress (migration, mode, fingerprint, owner, backend_pid, backend_start) SELECT migration, 'fused', '', '', 0, 'epoch' FROM segue.indexes LIMIT 1`)
	if out := must("status"); !strings.Contains(out, "indexes  taken away for the load: 0 of 2 indexes made") {
		t.Errorf("status:\n%s", out)
	}
	pgtest.Exec(t, target, strings.Split(strings.TrimSpace(must("target", "finish", "--sql")), ";\n")...)
	if now := row(t, target, keysAndIndexes); now != before {
		t.Fatalf("before\n%s\nfinished by hand\n%s", before, now)
	}
}

// A process that is killed while it makes indexes leaves none of its statements behind, and the next one goes on.
func TestIndexesAreMadeThroughKills(t *testing.T) {
	if testing.Short() {
		t.Skip("runs processes")
	}
	u := newUser(t)
	target := pgtest.Connect(t, u.target)
	pgtest.Exec(t, target, `CREATE FUNCTION slow(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN IF $1 = 7 THEN PERFORM pg_advisory_xact_lock_shared(4711); END IF; RETURN $1; END'`,
		`CREATE INDEX pets_name ON pets (name)`, `CREATE INDEX pets_slow ON pets (public.slow(id))`)
	before := row(t, target, keysAndIndexes)
	pgtest.Exec(t, target, `SELECT pg_advisory_lock(4711)`)
	u.edit("target: {", "target: {indexes: after_load, ")
	for range 2 {
		r := u.start("run", "all")
		r.log.waitFor(t, "1 of 2 indexes made; public.pets: building index")
		if err := r.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		u.ends(r)
	}
	left := func() string {
		return row(t, target, `SELECT count(*)::text FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX%' AND state = 'active' AND datname = current_database()`)
	}
	for deadline := time.Now().Add(30 * time.Second); left() != "0"; {
		if time.Now().After(deadline) {
			t.Fatal("a killed process still makes an index")
		}
	}
	last := u.start("run", "all")
	last.log.waitFor(t, "1 of 2 indexes made; public.pets: building index")
	pgtest.Exec(t, target, `SELECT pg_advisory_unlock_all()`)
	last.log.waitFor(t, "foreign keys enforced")
	if err := last.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := u.ends(last); code != exitFine {
		t.Errorf("exit code %d\n%s", code, last.log)
	}
	if code, _, talk := u.does("target", "finish"); code != exitFine {
		t.Fatalf("finish: %d\n%s", code, talk)
	}
	if now := row(t, target, keysAndIndexes); now != before {
		t.Fatalf("before\n%s\nnow\n%s", before, now)
	}
}
