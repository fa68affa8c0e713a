package applier

import (
	"errors"
	"strings"
	"testing"

	"segue/pkg/fault"
	"segue/pkg/pgtarget"
	"segue/pkg/pgtest"
	"segue/pkg/postgres"
)

// Somebody alters the target's tables while batches are on their way. What leaves segue's columns where they are goes on; what takes one away stops
// with the table's name, and when it is given back nothing is missing.
func TestATargetThatIsAltered(t *testing.T) {
	for _, alter := range []string{
		"ALTER TABLE p ADD COLUMN more int NOT NULL DEFAULT 7", "ALTER TABLE c ALTER COLUMN p TYPE bigint", "ALTER TABLE p ALTER COLUMN name TYPE varchar(90)", "ALTER TABLE c ALTER COLUMN note TYPE varchar(50)",
		"CREATE INDEX ON p (note); ANALYZE p", "VACUUM FULL p", "ALTER TABLE c RENAME TO d; ALTER TABLE d RENAME TO c", "DISCARD PLANS",
	} {
		t.Run(strings.ReplaceAll(alter, " ", "_"), func(t *testing.T) {
			s, _, _ := started(t)
			s.run(20)
			conn := pgtest.Connect(t, s.admin)
			_, err := conn.Exec(t.Context(), alter) // as one transaction
			for postgres.SQLState(err) == "40P01" { // with segue, and this time it was the other who gave way
				_, err = conn.Exec(t.Context(), alter)
			}
			if err != nil {
				t.Fatal(err)
			}
			s.run(20)
			s.exact()
		})
	}
	for _, c := range []struct{ away, back, code, says string }{
		{"ALTER TABLE c RENAME COLUMN note TO gone", "ALTER TABLE c RENAME COLUMN gone TO note", "42703", "column note is gone"},
		{"ALTER TABLE c RENAME TO gone", "ALTER TABLE gone RENAME TO c", "42P01", "no such table"},
		{"ALTER TABLE c OWNER TO postgres; REVOKE ALL ON c FROM $role", "ALTER TABLE c OWNER TO $role", "42501", "42501"},
	} {
		t.Run(c.code, func(t *testing.T) {
			s, role, _ := started(t)
			s.sql(strings.Split(strings.ReplaceAll(c.away, "$role", role), "; ")...)
			s.kill() // a new session has to prepare its statements
			for range 50 {
				s.run(1)
			}
			err := s.ends()
			if fault.ClassOf(err) != fault.ClassFatal || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "public.c") {
				t.Fatalf("got %v\n%s", err, s.logs.tail())
			}
			var refused *pgtarget.ApplyError
			if errors.As(err, &refused) {
				t.Errorf("a row is blamed: %v", err)
			}
			s.sql(strings.ReplaceAll(c.back, "$role", role))
			s.start()
			s.exact()
		})
	}
}

// A server that is damaged stops the applier: the next attempt would be no better.
func TestADamagedTargetStops(t *testing.T) {
	s, _, _ := started(t)
	conn := pgtest.Connect(t, s.admin)
	pgtest.Exec(t, conn, `CREATE FUNCTION damage() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = 'XX002'; END $$`,
		"CREATE TRIGGER damage BEFORE UPDATE ON p FOR EACH ROW EXECUTE FUNCTION damage()")
	s.updates(s.pick(s.p))
	if err := s.ends(); fault.ClassOf(err) != fault.ClassFatal || !strings.Contains(err.Error(), "XX002") {
		t.Fatal(err)
	}
	pgtest.Exec(t, conn, "DROP TRIGGER damage ON p")
	s.start()
	s.exact()
}
