package pgtarget

import (
	"testing"

	"segue/pkg/change"
	"segue/pkg/pgtest"
)

// loading prepares, applies rows and ends the load.
func (r *rig) loading(do func()) ([]string, error) {
	r.t.Helper()
	if err := r.target.PrepareKeys(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	do()
	r.must()
	return r.target.Loaded(r.t.Context())
}

// The key of a row that is taken off is the text that the source sends. A cast to text is another one of some types.
func TestOrphansAreParkedUnderTheTextsOfTheSource(t *testing.T) {
	r := newRig(t, `CREATE TABLE p (id int PRIMARY KEY);
		CREATE TABLE c (b boolean, k char(5), a inet, "odd ""'name" bytea, p int REFERENCES p, PRIMARY KEY (b, k, a, "odd ""'name"))`, "p", "c")
	if _, err := r.loading(func() { r.do(1, change.Read, "", `t,ab   ,10.0.0.1,\x00ff,7`) }); err != nil {
		t.Fatal(err)
	}
	r.want("SELECT array_to_string(key_values, '|') FROM segue.parked", `t|ab   |10.0.0.1|\x00ff`)
	r.do(0, change.Read, "", "7")
	r.do(1, change.Read, "", `t,ab   ,10.0.0.1,\x00ff,7`)
	r.must()
	r.want("SELECT count(*) FROM segue.parked", "0")
}

// Rows that the foreign key takes for a parent's child are no orphans: it compares by the operator and the collation of the parent's key.
func TestOrphansAreWhatTheForeignKeySays(t *testing.T) {
	r := newRig(t, `CREATE EXTENSION citext; CREATE TABLE p (id citext PRIMARY KEY); CREATE TABLE c (id int PRIMARY KEY, p citext REFERENCES p);
		CREATE TABLE q (id text COLLATE "C" PRIMARY KEY); CREATE TABLE d (id int PRIMARY KEY, q text COLLATE "POSIX" REFERENCES q)`, "p", "c", "q", "d")
	_, err := r.loading(func() {
		r.do(0, change.Read, "", "ABC")
		r.do(1, change.Read, "", "1,abc")
		r.do(1, change.Read, "", "2,abd")
		r.do(2, change.Read, "", "x")
		r.do(3, change.Read, "", "1,x")
		r.do(3, change.Read, "", "2,y")
	})
	if err != nil {
		t.Fatal(err)
	}
	r.want(parkedCodesSQL, "c:2:read:23503:1 d:2:read:23503:1")
	r.want("SELECT (SELECT string_agg(id::text, ' ') FROM c), (SELECT string_agg(id::text, ' ') FROM d)", "1,1")
}

// Somebody gives a row up between the last commit and the end of the load. The list that the applier has in memory names it still.
func TestARowThatIsGivenUpBeforeTheEndOfTheLoadIsParkedAgain(t *testing.T) {
	r := newRig(t, `CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p, n int CHECK (n > 0))`, "p", "c")
	if err := r.target.PrepareKeys(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.do(1, change.Read, "", "1,7,1")
	r.must()
	r.do(1, change.Update, "", "1,7,-1")
	r.must()
	r.want(parkedCodesSQL, "c:1:update:23514:1")
	given, err := Discard(t.Context(), pgtest.Connect(t, r.url), Decision{Migration: "m", Who: "w", Reason: "r", Match: func(*Parked) bool { return true }})
	if err != nil || len(given) != 1 {
		t.Fatal(given, err)
	}
	if _, err := r.target.Loaded(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.want("SELECT count(*) FROM c", "0")
	r.want(parkedCodesSQL, "c:1:read:23503:1")
	r.do(0, change.Insert, "", "7")
	r.must()
	if p := r.target.Progress(); p.ParkedRows != 1 {
		t.Errorf("%d rows are parked", p.ParkedRows)
	}
}

// A list that cannot be read leaves the one that is known, with its number: nothing commits by half a list.
func TestAListThatCannotBeReadLeavesTheFormerOne(t *testing.T) {
	r := newRig(t, `CREATE TABLE c (id int PRIMARY KEY, n int CHECK (n > 0))`, "c")
	r.do(0, change.Insert, "", "1,-1")
	r.must()
	gone := pgtest.Connect(t, r.url)
	_ = gone.Close(t.Context())
	if err := r.target.reread(t.Context(), gone, 7); err == nil {
		t.Fatal("read over a closed connection")
	}
	if n, at := r.target.parked.len(), r.target.progress.Decisions; n != 1 || at != 0 {
		t.Fatalf("%d rows, decision %d", n, at)
	}
}

// A period is no orphan where several of the parent's cover it together.
func TestOrphansOfATemporalKey(t *testing.T) {
	r := newRig(t, `SELECT`)
	var version int
	if err := r.conn.QueryRow(t.Context(), "SELECT current_setting('server_version_num')::int").Scan(&version); err != nil || version < 180000 {
		t.Skip("PostgreSQL 18 has temporal keys")
	}
	r = newRig(t, `CREATE EXTENSION btree_gist; CREATE TABLE p (id int, v int4range, PRIMARY KEY (id, v WITHOUT OVERLAPS));
		CREATE TABLE c (k int PRIMARY KEY, id int, v int4range, FOREIGN KEY (id, PERIOD v) REFERENCES p (id, PERIOD v))`, "c")
	if err := PrepareKeys(t.Context(), r.conn, "m", r.target.tables); err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, r.conn, "INSERT INTO p VALUES (1, '[1,5)'), (1, '[5,9)')", "INSERT INTO c VALUES (1, 1, '[2,8)'), (2, 1, '[2,10)'), (3, 2, '[2,3)')")
	if _, err := r.target.Loaded(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.want(parkedCodesSQL, "c:2:read:23503:1 c:3:read:23503:1")
	r.want("SELECT k FROM c", "1")
}

// The same holds in the stream: who is blamed for a key that does not hold is who the key means.
func TestTheBlamedAreWhoTheForeignKeyMeans(t *testing.T) {
	r := newRig(t, `CREATE EXTENSION citext; CREATE TABLE p (id citext PRIMARY KEY); CREATE TABLE c (id int PRIMARY KEY, p citext REFERENCES p DEFERRABLE INITIALLY DEFERRED);
		CREATE TABLE q (id text COLLATE "C" PRIMARY KEY); CREATE TABLE d (id int PRIMARY KEY, q text COLLATE "POSIX" REFERENCES q DEFERRABLE INITIALLY DEFERRED)`, "p", "c", "q", "d")
	r.do(0, change.Insert, "", "ABC")
	r.do(2, change.Insert, "", "x")
	r.must()
	r.do(1, change.Insert, "", "1,abc")
	r.do(1, change.Insert, "", "2,abd")
	r.must()
	r.do(3, change.Insert, "", "1,x")
	r.do(3, change.Insert, "", "2,y")
	r.must()
	r.want(parkedCodesSQL, "c:2:insert:23503:1 d:2:insert:23503:1")
	for i, want := range map[int]string{0: "public.c", 2: "public.d"} {
		ct := r.cfg.Targets[i]
		referred, by, err := Referred(t.Context(), r.conn, ct, []change.Row{row(map[int]string{0: "ABC", 2: "x"}[i])})
		if err != nil || !referred[0] || by.String() != want {
			t.Errorf("%s: %v by %s: %v", ct.Table.Name, referred, by, err)
		}
	}
}
