package check_test

import (
	"fmt"
	"strings"
	"testing"

	"segue/pkg/migration"
	"segue/pkg/pgtest"
	"segue/services/check"
)

func TestIndexesAfterTheLoadNeedTheOwner(t *testing.T) {
	source, target := pgtest.Database(t), pgtest.Database(t)
	pgtest.Exec(t, pgtest.Connect(t, source), `CREATE TABLE a (id int PRIMARY KEY, v int)`, `CREATE TABLE b (id int PRIMARY KEY)`)
	conn := pgtest.Connect(t, target)
	role := "segue_" + strings.TrimPrefix(conn.Config().Database, "segue_")
	pgtest.Exec(t, conn, `CREATE TABLE a (id int PRIMARY KEY, v int)`, `CREATE INDEX ON a (v)`, `CREATE TABLE b (id int PRIMARY KEY)`, `CREATE ROLE `+role+` LOGIN`, `REVOKE CREATE ON SCHEMA public FROM PUBLIC`)
	defer pgtest.Exec(t, conn, `DROP OWNED BY `+role, `DROP ROLE `+role)
	s := spec(t, source, as(t, target, role), `  - from: public.*`)
	if found := list(run(t, s)); strings.Contains(found, "indexes") {
		t.Errorf("with indexes: keep\n%s", found)
	}
	s.Target.Indexes = migration.IndexesAfterLoad
	found := run(t, s)
	wants(t, found, check.Error, "target public.a", "only its owner", fmt.Sprintf("TO %q", role))
	wants(t, found, check.Error, "target public.a", "takes CREATE on schema public", fmt.Sprintf(`GRANT CREATE ON SCHEMA "public" TO %q`, role))
	if strings.Contains(list(found), "public.b | only its owner") {
		t.Errorf("a table without secondary indexes\n%s", list(found))
	}
}
