package pgsource_test

import (
	"strings"
	"testing"

	"segue/pkg/fault"
	"segue/pkg/pgsource"
)

// A table that could not be updated any more once it is published is refused before: P9.
func TestEnsureRefusesTablesItWouldFreeze(t *testing.T) {
	s := newSource(t, `CREATE TABLE fine (id int PRIMARY KEY)`, "fine")
	identity, err := pgsource.Identify(t.Context(), s.conn)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, ddl, want, mend string
		from, below           int // server versions
	}{
		{name: "without a key", ddl: `CREATE TABLE # (v int)`, want: "has no replica identity", mend: `ALTER TABLE # REPLICA IDENTITY FULL`},
		{name: "nothing", ddl: `CREATE TABLE # (id int PRIMARY KEY); ALTER TABLE # REPLICA IDENTITY NOTHING`, want: "has no replica identity", mend: `ALTER TABLE # REPLICA IDENTITY DEFAULT`},
		{name: "deferrable key", ddl: `CREATE TABLE # (id int PRIMARY KEY DEFERRABLE)`, want: "has no replica identity", mend: `ALTER TABLE # REPLICA IDENTITY FULL`},
		{name: "index dropped", ddl: `CREATE TABLE # (id int NOT NULL); CREATE UNIQUE INDEX #_i ON # (id); ALTER TABLE # REPLICA IDENTITY USING INDEX #_i; DROP INDEX #_i`, want: "has no replica identity", mend: `ALTER TABLE # ADD PRIMARY KEY (id), REPLICA IDENTITY DEFAULT`},
		{name: "leaf without full", ddl: `CREATE TABLE # (id int PRIMARY KEY, v int) PARTITION BY RANGE (id); CREATE TABLE #_1 PARTITION OF # DEFAULT; ALTER TABLE # REPLICA IDENTITY FULL`, want: "another replica identity (default)", mend: `ALTER TABLE #_1 REPLICA IDENTITY FULL`},
		{name: "generated key", ddl: `CREATE TABLE # (id int, g int GENERATED ALWAYS AS (id + 1) STORED PRIMARY KEY)`, want: "generated column g", mend: `ALTER TABLE # REPLICA IDENTITY FULL`, below: 180000},
		{name: "virtual column", ddl: `CREATE TABLE # (id int PRIMARY KEY, g int GENERATED ALWAYS AS (id + 1) VIRTUAL); ALTER TABLE # REPLICA IDENTITY FULL`, want: "virtual generated column g", mend: `ALTER TABLE # REPLICA IDENTITY DEFAULT`, from: 180000},
	} {
		if identity.Version < c.from || c.below > 0 && identity.Version >= c.below {
			continue
		}
		name := strings.ReplaceAll(c.name, " ", "_")
		s.exec(strings.ReplaceAll(c.ddl, "#", name))
		setup := s.setup
		setup.Tables = public("fine", name)
		_, err := pgsource.Ensure(t.Context(), s.conn, setup)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "public."+name) || fault.HintOf(err) == "" {
			t.Errorf("%s: %v, %q", c.name, err, fault.HintOf(err))
		}
		s.exec(strings.ReplaceAll(c.mend, "#", name))
		if _, err := pgsource.Ensure(t.Context(), s.conn, setup); err != nil {
			t.Errorf("%s, mended: %v", c.name, err)
		}
		s.exec(`INSERT INTO `+name+` VALUES (1)`, `UPDATE `+name+` SET `+firstColumn(c.ddl)+` = 2`, `DELETE FROM `+name)
	}
}

func firstColumn(ddl string) string {
	_, rest, _ := strings.Cut(ddl, "(")
	name, _, _ := strings.Cut(rest, " ")
	return name
}
