package check_test

import (
	"strings"
	"testing"

	"segue/pkg/migration"
	"segue/pkg/pgtest"
	"segue/services/check"
)

func TestWhatIsNoTarget(t *testing.T) {
	source, target := pgtest.Database(t), pgtest.Database(t)
	from, to := pgtest.Connect(t, source), pgtest.Connect(t, target)
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g"} {
		pgtest.Exec(t, from, `CREATE TABLE `+name+` (id int PRIMARY KEY)`)
	}
	role := "segue_" + strings.TrimPrefix(to.Config().Database, "segue_")
	pgtest.Exec(t, to, `CREATE ROLE `+role+` LOGIN`, `CREATE VIEW a AS SELECT 1 AS id`, `CREATE MATERIALIZED VIEW b AS SELECT 1 AS id`,
		`CREATE FOREIGN DATA WRAPPER w`, `CREATE SERVER s FOREIGN DATA WRAPPER w`, `CREATE FOREIGN TABLE c (id int) SERVER s`,
		`CREATE TABLE d (id int PRIMARY KEY)`, `CREATE RULE away AS ON DELETE TO d DO INSTEAD NOTHING`,
		`CREATE TABLE e (id int PRIMARY KEY)`, `ALTER TABLE e ENABLE ROW LEVEL SECURITY`,
		`CREATE UNLOGGED TABLE f (id int PRIMARY KEY)`,
		`CREATE TABLE g (id int PRIMARY KEY) PARTITION BY LIST (id)`, `CREATE TABLE g1 PARTITION OF g DEFAULT`,
		`GRANT ALL ON ALL TABLES IN SCHEMA public TO `+role)
	defer pgtest.Exec(t, to, `DROP OWNED BY `+role, `DROP ROLE `+role)
	s := spec(t, source, as(t, target, role), `  - from: public.*`)
	found := run(t, s)
	wants(t, found, check.Error, "target public.a", "it is a view", "the table behind it")
	wants(t, found, check.Error, "target public.b", "it is a materialized view", "the table behind it")
	wants(t, found, check.Error, "target public.c", "it is a foreign table", "name the server behind it")
	wants(t, found, check.Error, "target public.d", "rules rewrite what segue writes: away", `ALTER TABLE "public"."d" DISABLE RULE`)
	wants(t, found, check.Error, "target public.e", "row-level security filters what role "+role, `BYPASSRLS`)
	wants(t, found, check.Error, "target public.f", "unlogged", "SET LOGGED")
	if l := list(found); strings.Contains(l, "target public.g") || strings.Contains(l, "not there") || strings.Contains(l, "pause_while") {
		t.Errorf("found\n%s", l)
	}
	s.Target.Pause = migration.Pause{ActiveSessions: 5}
	wants(t, run(t, s), check.Error, "target", "target.pause_while would never pause", "GRANT pg_read_all_stats TO")
}
