package pgtarget

import (
	"fmt"
	"strings"
	"testing"

	"segue/pkg/fault"
	"segue/pkg/pgtest"
)

// Two migrations: of one table each, and of foreign keys between them in both directions.
const twoDDL = `
CREATE TABLE p (id int PRIMARY KEY, c int);
CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p ON DELETE CASCADE);
COMMENT ON CONSTRAINT c_p_fkey ON c IS 'kept';
ALTER TABLE p ADD CONSTRAINT "odd ""key" FOREIGN KEY (c) REFERENCES c ON UPDATE SET NULL DEFERRABLE;
CREATE TABLE "own" (id int PRIMARY KEY REFERENCES p ON DELETE CASCADE);`

// orders are all ways to put two sequences of n steps into one.
func orders(first, second []string) [][]string {
	if len(first) == 0 || len(second) == 0 {
		return [][]string{append(append([]string{}, first...), second...)}
	}
	var out [][]string
	for _, o := range orders(first[1:], second) {
		out = append(out, append([]string{first[0]}, o...))
	}
	for _, o := range orders(first, second[1:]) {
		out = append(out, append([]string{second[0]}, o...))
	}
	return out
}

// pair is two migrations on one target, and what the keys between them should be.
type pair struct {
	*rig
	before string
	state  map[string]string // by migration
}

func (p *pair) do(step string) error {
	ctx, conn := p.t.Context(), p.conn
	what, m, _ := strings.Cut(step, " ")
	tables := map[string]string{"one": "p", "two": "c"}[m]
	switch what {
	case "prepare":
		p.state[m] = "off"
		return PrepareKeys(ctx, conn, m, keyNames(tables))
	case "load":
		p.state[m] = "loaded"
		return EnforceKeys(ctx, conn, m)
	}
	delete(p.state, m)
	return FinishKeys(ctx, conn, m)
}

// crash does the first n statements of a step.
func (p *pair) crash(step string, n int) {
	p.t.Helper()
	what, m, _ := strings.Cut(step, " ")
	show := map[string]func() ([]string, error){
		"prepare": func() ([]string, error) { return nil, nil }, // all or none
		"load": func() ([]string, error) {
			pgtest.Exec(p.t, p.conn, "UPDATE segue.foreign_key_holds SET loaded = true WHERE migration = "+literal(m))
			return EnforceSQL(p.t.Context(), p.conn, m)
		},
		"finish": func() ([]string, error) { return FinishSQL(p.t.Context(), p.conn, m) },
	}[what]
	sql, err := show()
	if err != nil {
		p.t.Fatal(err)
	}
	pgtest.Exec(p.t, p.conn, sql[:min(n, len(sql))]...)
}

func (p *pair) check(behind []string) {
	p.t.Helper()
	form, between := "as they were", p.before
	for _, s := range p.state {
		if s == "off" {
			form = "off"
		} else if form != "off" {
			form = "enforced"
		}
	}
	const shared = `SELECT string_agg(conname || ' ' || pg_get_constraintdef(oid) || ' ' || convalidated || coalesce(obj_description(oid, 'pg_constraint'), ''), '; ' ORDER BY conname)
		FROM pg_constraint WHERE contype = 'f' AND conname <> 'own_id_fkey'`
	switch form {
	case "off":
		between = "NULL"
	case "enforced":
		between = `c_p_fkey FOREIGN KEY (p) REFERENCES p(id) DEFERRABLE INITIALLY DEFERRED true; odd "key FOREIGN KEY (c) REFERENCES c(id) DEFERRABLE INITIALLY DEFERRED true`
	}
	if got := p.rows(shared); got != between {
		p.t.Fatalf("behind %v: %s, want %s", behind, got, between)
	}
}

func TestForeignKeysBetweenTwoMigrationsInEveryOrder(t *testing.T) {
	r := newRig(t, twoDDL, "p")
	p := &pair{rig: r, state: map[string]string{}}
	p.before = r.rows(`SELECT string_agg(conname || ' ' || pg_get_constraintdef(oid) || ' ' || convalidated || coalesce(obj_description(oid, 'pg_constraint'), ''), '; ' ORDER BY conname)
		FROM pg_constraint WHERE contype = 'f' AND conname <> 'own_id_fkey'`)
	all := orders([]string{"prepare one", "load one", "finish one"}, []string{"prepare two", "load two", "finish two"})
	all = append(all, orders([]string{"prepare one", "finish one"}, []string{"prepare two", "load two", "finish two"})...)                   // given up
	all = append(all, []string{"prepare one", "load one", "prepare two", "load two", "prepare one", "load one", "finish two", "finish one"}) // loaded anew
	for i, order := range all {
		for n, step := range order {
			p.crash(step, (i+n)%4)
			if err := p.do(step); err != nil {
				t.Fatalf("%v: %v", order[:n+1], err)
			}
			if err := p.do(step); err != nil { // each may be run again
				t.Fatalf("%v again: %v", order[:n+1], err)
			}
			p.check(order[:n+1])
		}
		r.want("SELECT (SELECT count(*) FROM segue.foreign_keys), (SELECT count(*) FROM segue.foreign_key_holds)", "0,0")
	}
}

// What an older segue has left is taken on as it stands, by those who load and those who have loaded.
func TestForeignKeysOfAnOlderSchemaHaveTheirHolds(t *testing.T) {
	r := newRig(t, twoDDL, "p")
	before := r.rows(keysSQL)
	if err := PrepareKeys(t.Context(), r.conn, "one", keyNames("p")); err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, r.conn, `UPDATE segue.version SET version = 1`, `DROP TABLE segue.foreign_key_holds`, `DROP TABLE segue.indexes`,
		`ALTER TABLE segue.foreign_keys DROP COLUMN parent_schema, DROP COLUMN parent_table`,
		`INSERT INTO segue.progress (migration, mode, fingerprint, owner, backend_pid, backend_start, loaded) VALUES ('one', 'fused', 'f', '', 0, 'epoch', true), ('two', 'fused', 'f', '', 0, 'epoch', true)`)
	if p, err := ReadProgress(t.Context(), r.conn, "one"); err != nil || p == nil || !p.Loaded { // it can be looked at before it is brought up to date
		t.Fatal(p, err)
	}
	if sql, err := FinishSQL(t.Context(), r.conn, "one"); fault.ClassOf(err) != fault.ClassFatal || fault.HintOf(err) == "" {
		t.Fatal(sql, err)
	}
	for range 2 {
		if err := EnsureSchema(t.Context(), r.conn); err != nil {
			t.Fatal(err)
		}
	}
	r.want("SELECT version FROM segue.version", "2")
	r.want("SELECT string_agg(constraint_name || ' ' || parent_table || ' ' || loaded, ', ' ORDER BY constraint_name) FROM segue.foreign_keys JOIN segue.foreign_key_holds USING (schema_name, table_name, constraint_name)",
		`c_p_fkey p true, odd "key c true, own_id_fkey p true`)
	if err := claimKeys(t.Context(), r.conn, "two", keyNames("c")); err != nil {
		t.Fatal(err)
	}
	if err := EnforceKeys(t.Context(), r.conn, "one"); err != nil {
		t.Fatal(err)
	}
	r.want("SELECT string_agg(constraint_name, ' ' ORDER BY constraint_name) FROM segue.foreign_key_holds WHERE migration = 'two' AND loaded", `c_p_fkey odd "key`)
	if err := FinishKeys(t.Context(), r.conn, "one"); err != nil {
		t.Fatal(err)
	}
	r.want("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'c_p_fkey'", "FOREIGN KEY (p) REFERENCES p(id) DEFERRABLE INITIALLY DEFERRED")
	if err := EnsureSchema(t.Context(), r.conn); err != nil { // again: what is over does not come back
		t.Fatal(err)
	}
	if err := FinishKeys(t.Context(), r.conn, "two"); err != nil {
		t.Fatal(err)
	}
	r.want(keysSQL, before)
}

// Two processes at once: what one does between the other's look and statement would leave a key on under a load, or off for good.
func TestForeignKeysOfMigrationsThatMeet(t *testing.T) {
	r := newRig(t, twoDDL, "p")
	before := r.rows(keysSQL)
	other := pgtest.Connect(t, r.url)
	for range 10 {
		errs := make(chan error, 1)
		go func() {
			err := PrepareKeys(t.Context(), other, "two", keyNames("c"))
			if err == nil {
				err = EnforceKeys(t.Context(), other, "two")
			}
			if err == nil {
				err = FinishKeys(t.Context(), other, "two")
			}
			errs <- err
		}()
		for _, do := range []func() error{
			func() error { return PrepareKeys(t.Context(), r.conn, "one", keyNames("p")) },
			func() error { return EnforceKeys(t.Context(), r.conn, "one") },
			func() error { return FinishKeys(t.Context(), r.conn, "one") },
		} {
			if err := do(); err != nil {
				t.Fatal(err)
			}
		}
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
		r.want(keysSQL, before)
		r.want("SELECT (SELECT count(*) FROM segue.foreign_keys), (SELECT count(*) FROM segue.foreign_key_holds)", "0,0")
	}
}

// A start behind the load takes no lock that another migration's validation holds.
func TestAStartDoesNotWaitForAnothersValidation(t *testing.T) {
	r := newRig(t, twoDDL, "p")
	if err := r.target.PrepareKeys(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := r.target.Loaded(t.Context()); err != nil {
		t.Fatal(err)
	}
	other := pgtest.Connect(t, r.url)
	pgtest.Exec(t, other, fmt.Sprintf("SELECT pg_advisory_lock(%d)", keysLock))
	r.reopen()
	if err := r.target.PrepareKeys(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// A table that was dropped meanwhile takes its keys with it; the others come back.
func TestForeignKeysOfATableThatIsGone(t *testing.T) {
	r := newRig(t, `CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE "c ""x" (id int PRIMARY KEY, p int REFERENCES p); CREATE TABLE d (id int PRIMARY KEY, p int REFERENCES p ON DELETE CASCADE);
		CREATE TABLE e (id int PRIMARY KEY); ALTER TABLE p ADD FOREIGN KEY (id) REFERENCES e`, "p")
	if err := PrepareKeys(t.Context(), r.conn, "m", keyNames("p")); err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, r.conn, `DROP TABLE "c ""x", e`)
	if err := EnforceKeys(t.Context(), r.conn, "m"); err != nil {
		t.Fatal(err)
	}
	const left = "SELECT string_agg(pg_get_constraintdef(oid), ' ') FROM pg_constraint WHERE contype = 'f'"
	r.want(left, "FOREIGN KEY (p) REFERENCES p(id) DEFERRABLE INITIALLY DEFERRED")
	notes, err := GoneKeys(t.Context(), r.conn, "m")
	if err != nil || len(notes) != 2 || !strings.Contains(notes[0], `c ""x`) || !strings.Contains(notes[1], "public.e, is gone") {
		t.Fatal(notes, err)
	}
	if err := FinishKeys(t.Context(), r.conn, "m"); err != nil {
		t.Fatal(err)
	}
	r.want(left, "FOREIGN KEY (p) REFERENCES p(id) ON DELETE CASCADE")
	r.want("SELECT (SELECT count(*) FROM segue.foreign_keys), (SELECT count(*) FROM segue.foreign_key_holds)", "0,0")
}

// What is printed for somebody with more rights works where segue was never before.
func TestPrepareIsShownWithoutASchema(t *testing.T) {
	conn := pgtest.Connect(t, pgtest.Database(t))
	pgtest.Exec(t, conn, twoDDL)
	before := query(t, conn, keysSQL)
	for _, show := range []func() ([]string, error){
		func() ([]string, error) { return FinishSQL(t.Context(), conn, "m") },
		func() ([]string, error) { return RestoreIndexesSQL(t.Context(), conn, "m") },
	} {
		if sql, err := show(); err != nil || len(sql) > 0 { // nothing is kept
			t.Fatal(sql, err)
		}
	}
	sql, err := PrepareSQL(t.Context(), conn, "m", keyNames("p"))
	if err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, conn, sql...)
	if err := EnsureSchema(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	if got := query(t, conn, "SELECT count(*), (SELECT count(*) FROM pg_constraint WHERE contype = 'f') FROM segue.foreign_key_holds WHERE NOT loaded"); got != "3,0" {
		t.Fatal(got)
	}
	if err := FinishKeys(t.Context(), conn, "m"); err != nil {
		t.Fatal(err)
	}
	if got := query(t, conn, keysSQL); got != before {
		t.Fatalf("before %s\nnow %s", before, got)
	}
}

// Somebody prepares a second time, while the stream runs: the keys would be off until the end, and nobody would know.
func TestForeignKeysStayBehindTheLoad(t *testing.T) {
	r := newRig(t, twoDDL, "p")
	if err := r.target.PrepareKeys(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := r.target.Loaded(t.Context()); err != nil {
		t.Fatal(err)
	}
	inForce := r.rows(keysSQL)
	if err := PrepareKeys(t.Context(), r.conn, "m", keyNames("p")); fault.ClassOf(err) != fault.ClassFatal || fault.HintOf(err) == "" {
		t.Fatal(err)
	}
	r.want(keysSQL, inForce)
	if err := r.target.LoadAgain(t.Context(), keyNames("p")); err != nil { // a load is to be done again
		t.Fatal(err)
	}
	r.want("SELECT count(*) FROM pg_constraint WHERE contype = 'f'", "0")
}
