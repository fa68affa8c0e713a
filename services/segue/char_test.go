package main

import (
	"fmt"
	"testing"

	"segue/pkg/embedded"
	"segue/pkg/pgtest"
)

// TestPipelineCharAbove127 gives "char" a value that is one byte of no text: from PostgreSQL 15 on it arrives, before it the row is parked
// with the column's name, also where the source's encoding makes a character of it, of which the target would keep the first byte.
func TestPipelineCharAbove127(t *testing.T) {
	servers, err := embedded.Open(t.Context(), embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = servers.Close() })
	var writes bool
	if err := pgtest.Connect(t, pgtest.Server(t).URL).QueryRow(t.Context(), `SELECT current_setting('server_version_num')::int >= 150000`).Scan(&writes); err != nil {
		t.Fatal(err)
	}
	for i, from := range []string{"UTF8", "LATIN1"} {
		t.Run(from, func(t *testing.T) {
			t.Parallel()
			s := encodingStory(t, servers.Addresses(), fmt.Sprintf("char%d", i), options(from), options("UTF8"))
			const ddl = `CREATE TABLE things (id int PRIMARY KEY, c "char", a "char"[]); CREATE TABLE marker (id int PRIMARY KEY)`
			pgtest.Exec(t, s.source, ddl, `INSERT INTO things VALUES (1, 'a', '{a,"\\"}')`)
			pgtest.Exec(t, s.target, ddl)
			s.start()
			s.marker(1)
			pgtest.Exec(t, s.source, `UPDATE things SET c = (-23)::"char" WHERE id = 1`)
			if !writes {
				s.await("the row is parked", `SELECT EXISTS (SELECT FROM segue.parked WHERE code = 'would_cut' AND reason LIKE 'column "c": a value that its type "char" cannot hold%')`)
				pgtest.Exec(t, s.source, `UPDATE things SET c = 'b' WHERE id = 1`)
				s.marker(2)
				s.want(`SELECT c::text || (SELECT count(*) FROM segue.parked) FROM things`, "b0")
				return
			}
			pgtest.Exec(t, s.source, `UPDATE things SET a = ARRAY[(-128)::"char", 'x'] WHERE id = 1`)
			s.marker(2)
			s.want(`SELECT c::int || ' ' || a[1]::int || a[2]::text FROM things`, "-23 -128x")
		})
	}
}
