package pgtarget

import (
	"errors"
	"strings"
	"testing"

	"segue/pkg/change"
	"segue/pkg/fault"
	"segue/pkg/pgtest"
)

func TestWhatIsNoTargetIsRefusedAtTheStart(t *testing.T) {
	const role = "segue_plain"
	for _, tt := range []struct{ what, ddl, text, mend string }{
		{"a view", `ALTER TABLE x RENAME TO y; CREATE VIEW x AS SELECT * FROM y`, "public.x: it is a view", "table behind it"},
		{"a materialized view", `ALTER TABLE x RENAME TO y; CREATE MATERIALIZED VIEW x AS SELECT * FROM y`, "it is a materialized view", "table behind it"},
		{"a foreign table", `DROP TABLE x; CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; CREATE FOREIGN TABLE x (id int, v text) SERVER s`, "it is a foreign table", "name the server"},
		{"rules", `CREATE RULE "Odd rule" AS ON INSERT TO x DO INSTEAD NOTHING; CREATE RULE also AS ON DELETE TO x DO ALSO NOTIFY gone`, `rewrite what segue writes: "Odd rule", also`, `ALTER TABLE "public"."x" DISABLE RULE`},
		{"rules that are off", `CREATE RULE r AS ON INSERT TO x DO INSTEAD NOTHING; ALTER TABLE x DISABLE RULE r`, "", ""},
		{"policies", `ALTER TABLE x ENABLE ROW LEVEL SECURITY; CREATE POLICY few ON x USING (id > 5)`, "row-level security filters what role " + role, `ALTER ROLE "` + role + `" BYPASSRLS`},
		{"unlogged", `ALTER TABLE x SET UNLOGGED`, "unlogged, and progress would not know: public.x", "SET LOGGED"},
		{"a foreign partition", `CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; DROP TABLE x; CREATE TABLE x (id int, v text) PARTITION BY LIST (id);
			CREATE TABLE near PARTITION OF x FOR VALUES IN (1); CREATE FOREIGN TABLE far PARTITION OF x DEFAULT SERVER s`, "partitions are foreign tables", "detach them"},
		{"policies and rules of a partition", `DROP TABLE x; CREATE TABLE x (id int PRIMARY KEY, v text) PARTITION BY LIST (id); CREATE TABLE part PARTITION OF x DEFAULT;
			ALTER TABLE part ENABLE ROW LEVEL SECURITY; CREATE RULE r AS ON INSERT TO part DO INSTEAD NOTHING`, "", ""},
	} {
		t.Run(tt.what, func(t *testing.T) {
			r := newRig(t, `CREATE TABLE x (id int PRIMARY KEY, v text); DO $$ BEGIN CREATE ROLE `+role+` LOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$;
				GRANT ALL ON SCHEMA public TO `+role, "x")
			r.target.Close()
			before := r.rows("SELECT owner FROM segue.progress")
			pgtest.Exec(t, r.conn, tt.ddl, `GRANT ALL ON ALL TABLES IN SCHEMA public TO `+role, `GRANT ALL ON SCHEMA segue TO `+role, `GRANT ALL ON ALL TABLES IN SCHEMA segue TO `+role)
			r.cfg.URL = strings.Replace(r.url, "postgres@", role+"@", 1)
			target, err := Open(t.Context(), r.cfg)
			if tt.text == "" { // it works as any other
				if err != nil {
					t.Fatal(err)
				}
				r.target = target
				r.do(0, change.Insert, "", "7,a")
				r.must()
				r.want("SELECT v FROM x", "a")
				return
			}
			var refused *RefusedError
			if !errors.As(err, &refused) || fault.ClassOf(err) != fault.ClassFatal || !strings.Contains(err.Error(), tt.text) || !strings.Contains(fault.HintOf(err), tt.mend) {
				t.Fatalf("%v, %s", err, fault.HintOf(err))
			}
			r.want("SELECT owner FROM segue.progress", before) // nothing was taken over
		})
	}
}
