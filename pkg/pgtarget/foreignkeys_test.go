package pgtarget

import (
	"errors"
	"strings"
	"testing"

	"segue/pkg/change"
	"segue/pkg/fault"
	"segue/pkg/pgtest"
	"segue/pkg/table"
)

const keysDDL = `
CREATE TABLE p (id int PRIMARY KEY, x int, y int, UNIQUE (x, y));
CREATE TABLE "Odd ""name" (id int PRIMARY KEY, "a) ON DELETE CASCADE" int);
CREATE TABLE c (id int PRIMARY KEY, p int, x int, y int, o int);
CREATE TABLE elsewhere (id int PRIMARY KEY, c int REFERENCES c ON DELETE CASCADE);
CREATE TABLE parted (id int, p int REFERENCES p ON UPDATE CASCADE, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (100);
ALTER TABLE c ADD CONSTRAINT c_p FOREIGN KEY (p) REFERENCES p ON DELETE CASCADE ON UPDATE SET NULL;
COMMENT ON CONSTRAINT c_p ON c IS 'it''s \ kept';
ALTER TABLE c ADD CONSTRAINT "c xy" FOREIGN KEY (x, y) REFERENCES p (x, y) MATCH FULL DEFERRABLE;
ALTER TABLE c ADD CONSTRAINT c_o FOREIGN KEY (o) REFERENCES "Odd ""name" NOT VALID;
ALTER TABLE "Odd ""name" ADD CONSTRAINT odd FOREIGN KEY ("a) ON DELETE CASCADE") REFERENCES p DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE p ADD CONSTRAINT self FOREIGN KEY (x) REFERENCES p;`

const keysSQL = `SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) || ' ' || convalidated || ' '
	|| coalesce(obj_description(oid, 'pg_constraint'), '-') FROM pg_constraint WHERE contype = 'f' ORDER BY 1`

func keyNames(names ...string) []table.Name {
	var out []table.Name
	for _, n := range names {
		out = append(out, table.Name{Schema: "public", Table: n})
	}
	return out
}

func TestForeignKeysComeBackAsTheyWere(t *testing.T) {
	r := newRig(t, keysDDL, "c")
	before := r.rows(keysSQL)
	tables := keyNames("p", "c", `Odd "name`, "parted")
	shown, err := PrepareSQL(t.Context(), r.conn, "m", tables)
	if err != nil || len(shown) != 21 {
		t.Fatal(len(shown), err)
	}
	for range 2 { // each step may be run again
		if err := PrepareKeys(t.Context(), r.conn, "m", tables); err != nil {
			t.Fatal(err)
		}
		r.want(keysSQL, "")
	}
	for range 2 {
		if err := EnforceKeys(t.Context(), r.conn, "m"); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := EnforceSQL(t.Context(), r.conn, "m"); err != nil || len(left) != 0 {
		t.Fatal(left, err)
	}
	r.want("SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND conparentid = 0 AND condeferrable AND condeferred AND confupdtype = 'a' AND confdeltype = 'a'", "7")
	r.want("SELECT conname FROM pg_constraint WHERE contype = 'f' AND NOT convalidated", "c_o")
	// The load begins anew: they go again, and what was kept first stays what comes back.
	if err := PrepareKeys(t.Context(), r.conn, "m", tables); err != nil {
		t.Fatal(err)
	}
	if err := EnforceKeys(t.Context(), r.conn, "m"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := FinishKeys(t.Context(), r.conn, "m"); err != nil {
			t.Fatal(err)
		}
	}
	if after := r.rows(keysSQL); after != before {
		t.Fatalf("before\n%s\nafter\n%s", strings.ReplaceAll(before, "- ", "\n"), strings.ReplaceAll(after, "- ", "\n"))
	}
	r.want("SELECT count(*) FROM segue.foreign_keys", "0")
}

// A crash between any two statements: what was done stays, and the same call goes on.
func TestForeignKeyStepsGoOnBehindACrash(t *testing.T) {
	r := newRig(t, keysDDL, "c")
	before := r.rows(keysSQL)
	if err := PrepareKeys(t.Context(), r.conn, "m", keyNames("p", "c", "parted")); err != nil {
		t.Fatal(err)
	}
	enforce, err := EnforceSQL(t.Context(), r.conn, "m")
	if err != nil {
		t.Fatal(err)
	}
	var inForce string
	for n := range len(enforce) + 1 {
		pgtest.Exec(t, r.conn, enforce[:n]...)
		if err := EnforceKeys(t.Context(), r.conn, "m"); err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			inForce = r.rows(keysSQL)
		}
		r.want(keysSQL, inForce)
		finish, err := FinishSQL(t.Context(), r.conn, "m")
		if err != nil {
			t.Fatal(err)
		}
		pgtest.Exec(t, r.conn, finish[:min(3*n, len(finish))]...)
		if err := FinishKeys(t.Context(), r.conn, "m"); err != nil {
			t.Fatal(err)
		}
		r.want(keysSQL, before)
		if err := PrepareKeys(t.Context(), r.conn, "m", keyNames("p", "c", "parted")); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRowsWithoutParentAreNamedByConstraintAndCount(t *testing.T) {
	r := newRig(t, keysDDL, "c")
	if err := PrepareKeys(t.Context(), r.conn, "m", keyNames("p", "c", "parted")); err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, r.conn, "INSERT INTO p VALUES (1, 1, 1)", "INSERT INTO c VALUES (1, 1, NULL, NULL), (2, 77, NULL, NULL), (3, 78, NULL, NULL)")
	err := EnforceKeys(t.Context(), r.conn, "m")
	var orphan *OrphanError
	if !errors.As(err, &orphan) || orphan.Constraint != "c_p" || orphan.Rows != 2 || fault.ClassOf(err) != fault.ClassFatal || strings.Contains(err.Error(), "77") {
		t.Fatal(err)
	}
	pgtest.Exec(t, r.conn, "DELETE FROM c WHERE p > 1", "INSERT INTO parted VALUES (1, 5)")
	err = EnforceKeys(t.Context(), r.conn, "m")
	if !errors.As(err, &orphan) || orphan.Table.Table != "parted" || orphan.Rows != 1 {
		t.Fatal(err)
	}
	pgtest.Exec(t, r.conn, "DELETE FROM parted")
	if err := EnforceKeys(t.Context(), r.conn, "m"); err != nil {
		t.Fatal(err)
	}
}

func TestForeignKeysOfOthersShowTheSQL(t *testing.T) {
	r := newRig(t, `CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p);
		DO $$ BEGIN CREATE ROLE segue_writer; EXCEPTION WHEN duplicate_object THEN END $$;`, "p")
	pgtest.Exec(t, r.conn, "GRANT ALL ON SCHEMA segue TO segue_writer; GRANT ALL ON ALL TABLES IN SCHEMA segue TO segue_writer; SET ROLE segue_writer")
	err := PrepareKeys(t.Context(), r.conn, "m", keyNames("p"))
	var missing *PrivilegeError
	if !errors.As(err, &missing) || fault.ClassOf(err) != fault.ClassFatal {
		t.Fatal(err)
	}
	pgtest.Exec(t, r.conn, "RESET ROLE")
	pgtest.Exec(t, r.conn, missing.SQL...) // the owner runs what was shown
	pgtest.Exec(t, r.conn, "SET ROLE segue_writer")
	if err := PrepareKeys(t.Context(), r.conn, "m", keyNames("p")); err != nil {
		t.Fatal(err)
	}
	err = EnforceKeys(t.Context(), r.conn, "m")
	if !errors.As(err, &missing) || len(missing.SQL) != 2 {
		t.Fatal(err)
	}
	pgtest.Exec(t, r.conn, "RESET ROLE")
	pgtest.Exec(t, r.conn, missing.SQL...)
	pgtest.Exec(t, r.conn, "SET ROLE segue_writer")
	if err := EnforceKeys(t.Context(), r.conn, "m"); err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, r.conn, "RESET ROLE")
}

func TestLoadedEnforcesKeysAndMovesSequences(t *testing.T) {
	r := newRig(t, `CREATE SCHEMA "S"; CREATE TABLE p (id serial PRIMARY KEY, down bigint GENERATED BY DEFAULT AS IDENTITY (INCREMENT -1 START -1));
		CREATE TABLE "S"."C" ("Id" int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, p int REFERENCES p ON DELETE CASCADE)`, "p", "S.C")
	if err := r.target.PrepareKeys(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.do(1, change.Read, "", "9,5") // the child comes first
	r.must()
	r.do(0, change.Read, "", "5,-3")
	r.must()
	for range 2 {
		if _, err := r.target.Loaded(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	r.want("SELECT loaded FROM segue.progress", "true")
	r.want(`SELECT nextval('p_id_seq'), nextval('p_down_seq'), nextval('"S"."C_Id_seq"')`, "6,-4,10")
	r.do(1, change.Insert, "", "11,404")
	r.must()
	r.want(`SELECT source_table, key_values, code, reason LIKE '%"C_p_fkey"%' OR reason LIKE '%C_p_fkey%' FROM segue.parked`, "C,[11],23503,true")
	r.reopen()
	if err := r.target.PrepareKeys(t.Context()); err != nil || !r.target.Progress().Loaded { // loaded: it stays as it is
		t.Fatal(err)
	}
	r.want("SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND conrelid = '\"S\".\"C\"'::regclass", "1")
}
