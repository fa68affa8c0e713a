package pgsource_test

import (
	"testing"

	"segue/pkg/pgsource"
	"segue/pkg/pgtest"
)

// The order of commits in the log is not the order in which they become visible: the stream delivers a transaction that no snapshot sees
// yet, and our own messages behind it do not wait. Chunks rest on knowing this (DESIGN, section 6, point 4).
func TestStreamDeliversACommitBeforeItIsVisible(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a PostgreSQL cluster")
	}
	held := pgtest.HoldCommits(t)
	t.Setenv(pgtest.Variable, held.URL)
	s := newSource(t, `CREATE TABLE t (id int PRIMARY KEY)`, "t")
	stream := s.open(s.config())
	s.exec(`INSERT INTO t VALUES (1)`)
	held.Hold(t)
	commit := held.Commit(t, s.url, `INSERT INTO t VALUES (2)`)

	var xid uint32
	got := s.read(stream, func(e pgsource.Event) { // read itself emits a message: it must not be held
		if e.Kind == pgsource.KindChange {
			xid = e.Change.Tx.XID
		}
	})
	wantLines(t, got, "begin", "insert t is(1)", "commit", "begin", "insert t is(2)", "commit")
	if n, running := s.count(), s.running(xid); n != 1 || !running {
		t.Errorf("held: %d rows are visible, in the snapshot's running transactions: %v", n, running)
	}
	held.Release(t)
	commit.Wait(t)
	if n, running := s.count(), s.running(xid); n != 2 || running {
		t.Errorf("released: %d rows are visible, running: %v", n, running)
	}
}

func (s *source) count() (n int) {
	s.t.Helper()
	if err := s.conn.QueryRow(s.t.Context(), `SELECT count(*) FROM t`).Scan(&n); err != nil {
		s.t.Fatal(err)
	}
	return n
}

// running says whether a snapshot taken now holds the transaction for unfinished.
func (s *source) running(xid uint32) (running bool) {
	s.t.Helper()
	const sql = `SELECT NOT pg_visible_in_snapshot($1::text::xid8, pg_current_snapshot())`
	if err := s.conn.QueryRow(s.t.Context(), sql, itoa(int(xid))).Scan(&running); err != nil {
		s.t.Fatal(err)
	}
	return running
}
