package pgtarget

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"segue/pkg/fault"
	"segue/pkg/postgres"
	"segue/pkg/table"
)

// Refusal is why rows cannot go into a relation as promised, and what to do.
type Refusal struct {
	Table      table.Name
	Text, Mend string
	NoTable    bool // it is something else
}

// refusedSQL looks at the relation itself, and at partitions for what they do to rows that come through the whole. A rule of a partition does
// nothing then, nor do its policies. row_security_active asks for the current role.
const refusedSQL = `
SELECT n.nspname, c.relname, c.relkind::text,
       coalesce((SELECT pg_catalog.string_agg(pg_catalog.quote_ident(r.rulename), ', ' ORDER BY r.rulename) FROM pg_catalog.pg_rewrite r
                 WHERE r.ev_class = c.oid AND r.ev_type <> '1' AND r.ev_enabled IN ('O', 'A')), ''),
       CASE WHEN c.relkind IN ('r', 'p') THEN pg_catalog.row_security_active(c.oid) ELSE false END,
       coalesce((SELECT pg_catalog.string_agg(f.oid::pg_catalog.regclass::text, ', ' ORDER BY f.relname) FROM pg_catalog.pg_partition_tree(c.oid) t
                 JOIN pg_catalog.pg_class f ON f.oid = t.relid WHERE f.relkind = 'f' AND f.oid <> c.oid), ''),
       coalesce((SELECT pg_catalog.string_agg(f.oid::pg_catalog.regclass::text, ', ' ORDER BY f.relname)
                 FROM (SELECT c.oid AS relid UNION SELECT relid FROM pg_catalog.pg_partition_tree(c.oid)) t
                 JOIN pg_catalog.pg_class f ON f.oid = t.relid WHERE f.relkind = 'r' AND f.relpersistence = 'u'), ''),
       current_user
FROM ROWS FROM (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[])) WITH ORDINALITY AS want (nsp, rel, place)
JOIN pg_catalog.pg_namespace n ON n.nspname = want.nsp
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = want.rel
ORDER BY want.place`

// Refusals lists what of the relations cannot be a target for this role. What is not there is not listed.
func Refusals(ctx context.Context, q postgres.Querier, tables []table.Name) ([]Refusal, error) {
	schemas, names := split(tables)
	var out []Refusal
	err := collect(ctx, q, refusedSQL, []any{schemas, names}, func(row pgx.CollectableRow) error {
		var t table.Name
		var kind, rules, foreign, unlogged, role string
		var filtered bool
		if err := row.Scan(&t.Schema, &t.Table, &kind, &rules, &filtered, &foreign, &unlogged, &role); err != nil {
			return err
		}
		refuse := func(text, mend string) { out = append(out, Refusal{Table: t, Text: text, Mend: mend}) }
		switch kind {
		case "v", "m":
			what := map[string]string{"v": "view", "m": "materialized view"}[kind]
			out = append(out, Refusal{t, "it is a " + what + ": rows go into tables", "name the table behind it with to: in segue.yaml", true})
			return nil
		case "f":
			out = append(out, Refusal{t, "it is a foreign table: its rows and segue's progress could not be committed together", "let target.postgres in segue.yaml name the server behind it", true})
			return nil
		}
		if rules != "" {
			refuse("rules rewrite what segue writes: "+rules, fmt.Sprintf("ALTER TABLE %s DISABLE RULE …; -- until cutover; or DROP RULE", t.SQL()))
		}
		if filtered {
			refuse("row-level security filters what role "+role+" writes and reads", "ALTER ROLE "+table.Quote(role)+" BYPASSRLS; -- or ALTER TABLE "+t.SQL()+" DISABLE ROW LEVEL SECURITY; until cutover")
		}
		if foreign != "" {
			refuse("partitions are foreign tables, whose rows and segue's progress could not be committed together: "+foreign, "detach them, or leave the table out with exclude: in segue.yaml")
		}
		if unlogged != "" {
			refuse("a crash of the server empties what is unlogged, and progress would not know: "+unlogged, "ALTER TABLE … SET LOGGED;")
		}
		return nil
	})
	return out, step("look at what the targets are", err)
}

// RefusedError says which targets cannot be written to as promised.
type RefusedError struct{ Refusals []Refusal }

func (e *RefusedError) Error() string {
	var parts []string
	for _, r := range e.Refusals {
		parts = append(parts, fmt.Sprintf("target table %s: %s", r.Table, r.Text))
	}
	return strings.Join(parts, "; ")
}

// refuse ends the start before anything is taken over or changed.
func (t *Target) refuse(ctx context.Context) error {
	var names []table.Name
	for _, ct := range t.cfg.Targets {
		names = append(names, ct.Table.Name)
	}
	found, err := Refusals(ctx, t.conn, names)
	if err != nil || len(found) == 0 {
		return err
	}
	var mend []string
	for _, r := range found {
		mend = append(mend, r.Table.String()+": "+r.Mend)
	}
	return fault.Fatal(&RefusedError{Refusals: found}, strings.Join(mend, "\n"))
}
