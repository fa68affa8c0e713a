package check_test

import (
	"crypto/rand"
	"strings"
	"testing"

	"segue/pkg/migration"
	"segue/pkg/pgtest"
	"segue/services/check"
)

// What bounds the slot without segue, and what the slot itself says.
func TestSlotCare(t *testing.T) {
	source, target := pgtest.Database(t), pgtest.Database(t)
	for _, u := range []string{source, target} {
		pgtest.Exec(t, pgtest.Connect(t, u), `CREATE TABLE a (id int PRIMARY KEY)`)
	}
	s := spec(t, source, target, "  - from: public.a")
	s.Name = migration.Name("care" + strings.ToLower(rand.Text()[:8]))
	conn := pgtest.Connect(t, source)
	pgtest.Exec(t, conn, `SELECT pg_create_logical_replication_slot('`+s.Name.Slot()+`', 'pgoutput')`)
	var version int
	if err := conn.QueryRow(t.Context(), `SELECT current_setting('server_version_num')::int`).Scan(&version); err != nil {
		t.Fatal(err)
	}
	if version >= 170000 {
		wants(t, run(t, s), check.Warning, "source", "does not follow a failover", "FAILOVER true")
	}
	pgtest.Exec(t, conn, `SELECT pg_drop_replication_slot('`+s.Name.Slot()+`')`, `SELECT pg_create_logical_replication_slot('`+s.Name.Slot()+`', 'test_decoding')`)
	wants(t, run(t, s), check.Error, "source", "test_decoding", "another name")
}

func TestTheServersBoundIsHeldAgainstTheFiles(t *testing.T) {
	c := pgtest.Private(t, map[string]string{"max_slot_wal_keep_size": "40GB"})
	source, target := c.Database(t), c.Database(t)
	for _, u := range []string{source, target} {
		pgtest.Exec(t, pgtest.Connect(t, u), `CREATE TABLE a (id int PRIMARY KEY)`)
	}
	s := spec(t, source, target, "  - from: public.a")
	s.Protect.MaxRetainedWAL = 40 << 30
	if found := run(t, s); len(found) > 0 {
		t.Errorf("nothing is wrong yet:\n%s", list(found))
	}
	s.Protect.MaxRetainedWAL++
	wants(t, run(t, s), check.Warning, "source", "before segue acts", "protect.max_retained_wal")
}
