package pgsource_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"segue/pkg/fault"
	"segue/pkg/pgsource"
	"segue/pkg/pgtest"
	"segue/pkg/table"
)

func public(names ...string) []table.Name {
	var out []table.Name
	for _, n := range names {
		out = append(out, table.Name{Schema: "public", Table: n})
	}
	return out
}

func TestEnsureTwiceChangesNothing(t *testing.T) {
	s := newSource(t, `CREATE TABLE a (id int PRIMARY KEY)`, "a")
	first, err := pgsource.Inspect(t.Context(), s.conn, s.setup.Slot)
	if err != nil {
		t.Fatal(err)
	}
	again, err := pgsource.Ensure(t.Context(), s.conn, s.setup)
	if err != nil || again.Created || again.Added != nil || again.Removed != nil || again.ConfirmedLSN != first.ConfirmedLSN {
		t.Errorf("%+v, %v", again, err)
	}
	if !again.Exists || again.Plugin != "pgoutput" || again.Active || again.WALStatus != "reserved" || again.RetainedBytes < 0 || again.ConfirmedLSN == 0 {
		t.Errorf("%+v", again)
	}
}

// From PostgreSQL 17 on a slot outlives its server on a standby.
func TestSlotFollowsAFailover(t *testing.T) {
	s := newSource(t, `CREATE TABLE a (id int PRIMARY KEY)`, "a")
	var version int
	var failover bool
	err := s.conn.QueryRow(t.Context(), `SELECT current_setting('server_version_num')::int, coalesce((to_jsonb(s) ->> 'failover')::bool, false)
		FROM pg_replication_slots s WHERE slot_name = $1`, s.setup.Slot).Scan(&version, &failover)
	if err != nil || failover != (version >= 170000) {
		t.Errorf("version %d: %v, %v", version, failover, err)
	}
}

func TestEnsureBringsThePublicationInLine(t *testing.T) {
	s := newSource(t, `CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY); CREATE TABLE c (id int PRIMARY KEY, v text)`, "a", "b")
	s.exec(`ALTER PUBLICATION ` + table.Quote(s.setup.Publication) + ` SET (publish = 'insert', publish_via_partition_root = false)`)
	s.setup.Tables = public("b", "c")
	state, err := pgsource.Ensure(t.Context(), s.conn, s.setup)
	if err != nil || state.Created || !slices.Equal(state.Added, public("c")) || !slices.Equal(state.Removed, public("a")) {
		t.Fatalf("%+v, %v", state, err)
	}
	s.exec(`INSERT INTO a VALUES (1)`, `INSERT INTO c VALUES (1, 'x')`, `DELETE FROM c`)
	wantLines(t, s.read(s.open(s.config()), nil), "begin", "insert c is(1,x)", "commit", "begin", "delete c was(1,~)", "commit")
}

// A row filter or a column list, which PostgreSQL 15 and later know, would leave changes out in silence.
func TestEnsureRemovesFilters(t *testing.T) {
	s := newSource(t, `CREATE TABLE a (id int PRIMARY KEY, v text)`, "a")
	if _, err := s.conn.Exec(t.Context(), `ALTER PUBLICATION `+table.Quote(s.setup.Publication)+` SET TABLE a (id) WHERE (id > 5)`); err != nil {
		t.Skipf("this server has no row filters: %v", err)
	}
	if _, err := pgsource.Ensure(t.Context(), s.conn, s.setup); err != nil {
		t.Fatal(err)
	}
	s.exec(`INSERT INTO a VALUES (1, 'x')`)
	wantLines(t, s.read(s.open(s.config()), nil), "begin", "insert a is(1,x)", "commit")
}

func TestEnsureAtOnce(t *testing.T) {
	s := newSource(t, `CREATE TABLE a (id int PRIMARY KEY)`, "a")
	if err := pgsource.Drop(t.Context(), s.conn, s.setup); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	created := make([]bool, 3)
	for i := range created {
		conn := pgtest.Connect(t, s.url)
		wg.Go(func() {
			state, err := pgsource.Ensure(context.Background(), conn, s.setup)
			created[i] = state.Created
			if err != nil || !state.Exists {
				t.Errorf("%+v, %v", state, err)
			}
		})
	}
	wg.Wait()
	if slices.Index(created, true) < 0 || slices.Index(created, true) != lastIndex(created) {
		t.Errorf("created by %v, want one", created)
	}
}

func lastIndex(b []bool) int {
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] {
			return i
		}
	}
	return -1
}

func TestEnsureRefuses(t *testing.T) {
	s := newSource(t, `CREATE TABLE a (id int PRIMARY KEY)`, "a")
	other := s.setup.Slot + "_other"
	s.exec(`SELECT pg_create_logical_replication_slot('` + other + `', 'test_decoding')`)
	elsewhere := pgtest.Connect(t, pgtest.Database(t))
	pgtest.Exec(t, elsewhere, `CREATE TABLE a (id int PRIMARY KEY)`)
	s.exec(`CREATE PUBLICATION everything FOR ALL TABLES`)
	for _, c := range []struct {
		name  string
		there bool
		setup pgsource.Setup
		want  string
	}{
		{"another plugin", false, pgsource.Setup{Slot: other, Publication: "p", Tables: public("a")}, "test_decoding"},
		{"another database", true, s.setup, "belongs to database " + s.setup.Slot},
		{"all tables", false, pgsource.Setup{Slot: s.setup.Slot, Publication: "everything", Tables: public("a")}, "FOR ALL TABLES"},
		{"a bad name", false, pgsource.Setup{Slot: "Bad-Name", Publication: "p", Tables: public("a")}, "want 1 to 63"},
		{"no table", false, pgsource.Setup{Slot: s.setup.Slot, Publication: "p"}, "no table is selected"},
		{"a missing table", false, pgsource.Setup{Slot: s.setup.Slot, Publication: "p", Tables: public("a", "nowhere")}, "nowhere"},
	} {
		conn := s.conn
		if c.there {
			conn = elsewhere
		}
		_, err := pgsource.Ensure(t.Context(), conn, c.setup)
		if err == nil || !strings.Contains(err.Error(), c.want) || fault.ClassOf(err) != fault.ClassFatal {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestDropIsIdempotent(t *testing.T) {
	s := newSource(t, `CREATE TABLE a (id int PRIMARY KEY)`, "a")
	stream := s.open(s.config())
	if err := pgsource.Drop(t.Context(), s.conn, s.setup); fault.ClassOf(err) != fault.ClassTransient {
		t.Errorf("a slot in use: %v", err)
	}
	stream.Close()
	s.waitFor(`SELECT NOT active FROM pg_replication_slots WHERE slot_name = $1`, s.setup.Slot)
	for range 2 {
		if err := pgsource.Drop(t.Context(), s.conn, s.setup); err != nil {
			t.Fatal(err)
		}
	}
	state, err := pgsource.Inspect(t.Context(), s.conn, s.setup.Slot)
	if err != nil || state.Exists {
		t.Errorf("%+v, %v", state, err)
	}
	if err := state.Check(s.setup.Slot, s.setup.Slot); err == nil || fault.HintOf(err) == "" {
		t.Errorf("a missing slot: %v", err)
	}
	if _, err := pgsource.OpenStream(t.Context(), s.config()); err == nil || fault.HintOf(err) == "" {
		t.Errorf("a stream without a slot: %v", err)
	}
}

// A slot whose log the server removed says what happened and what goes on.
func TestLostSlot(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a PostgreSQL cluster")
	}
	c := pgtest.Private(t, map[string]string{"max_slot_wal_keep_size": "1MB", "min_wal_size": "32MB", "max_wal_size": "32MB"})
	t.Setenv(pgtest.Variable, c.URL)
	s := newSource(t, `CREATE TABLE a (id int PRIMARY KEY)`, "a")
	s.exec(`INSERT INTO a VALUES (1)`)
	for range 4 {
		s.exec(`INSERT INTO a VALUES (2); DELETE FROM a WHERE id = 2`, `SELECT pg_switch_wal()`, `CHECKPOINT`)
	}
	s.waitFor(`SELECT wal_status = 'lost' FROM pg_replication_slots WHERE slot_name = $1`, s.setup.Slot)
	_, err := pgsource.Ensure(t.Context(), s.conn, s.setup)
	if err == nil || !strings.Contains(err.Error(), "is lost") || !strings.Contains(fault.HintOf(err), "resync") {
		t.Errorf("Ensure: %v, %q", err, fault.HintOf(err))
	}
	_, err = pgsource.OpenStream(t.Context(), s.config())
	if err == nil || fault.ClassOf(err) != fault.ClassFatal || !strings.Contains(fault.HintOf(err), "resync") {
		t.Errorf("OpenStream: %v, %q", err, fault.HintOf(err))
	}
}

func TestIdentify(t *testing.T) {
	s := newSource(t, `CREATE TABLE a (id int PRIMARY KEY)`, "a")
	a, err := pgsource.Identify(t.Context(), s.conn)
	if err != nil {
		t.Fatal(err)
	}
	if a.SystemID == "" || a.Timeline < 1 || a.Database != s.setup.Slot || a.LSN == 0 || a.Version < 140000 || a.Recovery {
		t.Errorf("%+v", a)
	}
}

func TestEmitIsSeenOnce(t *testing.T) {
	s := newSource(t, `CREATE TABLE a (id int PRIMARY KEY)`, "a")
	stream := s.open(s.config())
	content := []byte{0, 1, 255, '\''}
	lsn, err := pgsource.Emit(t.Context(), s.conn, "segue:it's", content)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	s.read(stream, func(e pgsource.Event) {
		if e.Kind == pgsource.KindMessage && e.Message.Prefix == "segue:it's" {
			n++
			if string(e.Message.Content) != string(content) || !e.Message.Transactional || e.Message.LSN != lsn {
				t.Errorf("%+v, emitted at %d", e.Message, lsn)
			}
		}
	})
	if n != 1 {
		t.Errorf("seen %d times", n)
	}
}

// Every way in which a publication may leave changes of a table out is a gap.
func TestGaps(t *testing.T) {
	s := newSource(t, `CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY)`, "a", "b")
	publication := table.Quote(s.setup.Publication)
	want := func(what string, names ...string) {
		t.Helper()
		got, err := pgsource.Gaps(t.Context(), s.conn, s.setup.Publication, s.shapes())
		if err != nil || !slices.Equal(got, public(names...)) {
			t.Errorf("%s: want %v, got %v, %v", what, names, got, err)
		}
		if _, err := pgsource.Ensure(t.Context(), s.conn, s.setup); err != nil {
			t.Fatal(err)
		}
	}
	want("as it was made")
	s.exec(`ALTER PUBLICATION ` + publication + ` DROP TABLE b`)
	want("a table taken out", "b")
	s.exec(`DROP TABLE a`, `CREATE TABLE a (id int PRIMARY KEY)`)
	want("a table made again", "a")
	s.exec(`ALTER PUBLICATION ` + publication + ` SET (publish = 'insert')`)
	want("other options", "a", "b")
	if _, err := s.conn.Exec(t.Context(), `ALTER PUBLICATION `+publication+` SET TABLE a, b WHERE (id > 5)`); err == nil {
		want("a filter", "b")
	}
	s.exec(`DROP PUBLICATION ` + publication)
	want("no publication", "a", "b")
}

// Whatever step the last start or removal got to, the next one goes on from there.
func TestEnsureGoesOnBehindACrash(t *testing.T) {
	s := newSource(t, `CREATE TABLE a (id int PRIMARY KEY)`, "a")
	for _, c := range []struct {
		name    string
		left    []string // what the crash leaves
		created bool
	}{
		{"nothing yet", []string{`SELECT pg_drop_replication_slot('` + s.setup.Slot + `')`, `DROP PUBLICATION ` + table.Quote(s.setup.Publication)}, true},
		{"the publication alone", []string{`SELECT pg_drop_replication_slot('` + s.setup.Slot + `')`}, true},
		{"both", nil, false},
		// Somebody dropped it by hand: a slot without its publication cannot be decoded, Ensure makes what is missing.
		{"the slot alone", []string{`DROP PUBLICATION ` + table.Quote(s.setup.Publication)}, false},
	} {
		s.exec(c.left...)
		state, err := pgsource.Ensure(t.Context(), s.conn, s.setup)
		if err != nil || state.Created != c.created || !state.Exists {
			t.Errorf("%s: %+v, %v", c.name, state, err)
		}
		if gaps, err := pgsource.Gaps(t.Context(), s.conn, s.setup.Publication, s.shapes()); err != nil || len(gaps) > 0 {
			t.Errorf("%s: %v, %v", c.name, gaps, err)
		}
	}
	s.exec(`INSERT INTO a VALUES (1)`)
	wantLines(t, s.read(s.open(s.config()), nil), "begin", "insert a is(1)", "commit")
}
