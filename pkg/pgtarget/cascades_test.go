package pgtarget

import (
	"fmt"
	"testing"

	"segue/pkg/change"
	"segue/pkg/pgtest"
)

func newCascadeRig(t *testing.T) *rig {
	r := newRig(t, `CREATE TABLE p (id int PRIMARY KEY, u text UNIQUE);
		CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED)`, "p", "c")
	for i := range 4 {
		r.do(0, change.Insert, "", fmt.Sprintf("%d,u%d", i, i))
		r.do(1, change.Insert, "", fmt.Sprintf("%d,%d", i, i))
	}
	r.must()
	return r
}

// Rows that trade unique values are not taken out where what refers to them would go along.
func TestRowsThatTradeValuesKeepTheirChildren(t *testing.T) {
	for _, wary := range []int{0, 1} {
		r := newCascadeRig(t)
		r.target.wary, r.target.stepRows = wary, 0
		r.do(0, change.Update, "", "1,u2")
		r.do(0, change.Update, "", "2,u1")
		r.must()
		r.want(parkedCodesSQL, "p:1:update:23505:1 p:2:update:23505:1")
		r.want("SELECT string_agg(id || u, ' ' ORDER BY id) FROM p", "0u0 1u1 2u2 3u3")
		r.want("SELECT count(*), count(p) FROM c", "4,4")
	}
}

// Nor rows that trade keys, nor a stale row that one of them comes to.
func TestRowsThatTradeKeysKeepTheirChildren(t *testing.T) {
	r := newCascadeRig(t)
	r.moveOf(0, "1", "2,u1")
	r.moveOf(0, "2", "1,u2")
	r.must()
	r.want("SELECT string_agg(key_values[1], ' ' ORDER BY key_values) FROM segue.parked", "1 2")
	r.want("SELECT string_agg(id || u, ' ' ORDER BY id) FROM p", "0u0 1u1 2u2 3u3")
	r.want("SELECT count(*), count(p) FROM c", "4,4")
}

// A foreign key that comes while the applier runs is seen before rows are taken out.
func TestAForeignKeyThatComesLaterCascades(t *testing.T) {
	r := newCascadeRig(t)
	pgtest.Exec(t, r.conn, "CREATE TABLE q (id int REFERENCES p ON DELETE SET NULL)", "INSERT INTO q VALUES (1)", "DROP TABLE c")
	r.cfg.Targets = r.cfg.Targets[:1]
	pgtest.Exec(t, r.conn, "ALTER TABLE q DROP CONSTRAINT q_id_fkey")
	r.reopen()
	pgtest.Exec(t, r.conn, "ALTER TABLE q ADD FOREIGN KEY (id) REFERENCES p ON DELETE SET NULL")
	r.do(0, change.Update, "", "1,u2")
	r.do(0, change.Update, "", "2,u1")
	r.must()
	r.want("SELECT id FROM q", "1")
}
