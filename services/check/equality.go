package check

import (
	"context"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"segue/pkg/mapping"
	"segue/pkg/table"
)

// blurredSQL finds the columns of unique indexes whose collation takes different texts for equal. An index may have another collation than
// its column.
const blurredSQL = `
SELECT DISTINCT n.nspname, c.relname, a.attname, 'collation ' || quote_ident(o.collname)
FROM unnest($1::text[], $2::text[]) AS w(s, t)
JOIN pg_namespace n ON n.nspname = w.s JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.t
JOIN pg_index i ON i.indrelid = c.oid AND i.indisunique AND i.indisvalid
CROSS JOIN LATERAL unnest(i.indkey::smallint[], i.indcollation::oid[]) AS k(attnum, coll)
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
JOIN pg_collation o ON o.oid = k.coll AND NOT o.collisdeterministic
ORDER BY 1, 2, 3, 4`

// blurred says, for tables some of whose key columns take different texts for one key, by what.
type blurred map[table.Name]map[string][]string

func (r *report) blurred(ctx context.Context, side string, conn *pgx.Conn, tables []*table.Table) blurred {
	out := blurred{}
	note := func(n table.Name, column, by string) {
		if out[n] == nil {
			out[n] = map[string][]string{}
		}
		out[n][column] = append(out[n][column], by)
	}
	keys := map[table.Name]*table.Table{}
	var names []table.Name
	for _, t := range tables {
		names = append(names, t.Name)
		keys[t.Name] = t
		for _, k := range t.Key {
			if c := t.Columns[k]; strings.HasSuffix(c.Base, ".citext") {
				note(t.Name, c.Name, "type citext")
			}
		}
	}
	schemas, relations := split(names)
	rows, err := conn.Query(ctx, blurredSQL, schemas, relations)
	r.each(side, rows, err, func(row pgx.CollectableRow) error {
		var n table.Name
		var column, by string
		if err := row.Scan(&n.Schema, &n.Table, &column, &by); err != nil {
			return err
		}
		if t := keys[n]; t.IsKey(t.Column(column)) {
			note(n, column, by)
		}
		return nil
	})
	return out
}

// equalities compares what both sides take for one key. Two source rows whose keys are one on the target would write over each other there.
func (r *report) equalities(selected []mapping.Selected, source, target blurred) {
	for _, s := range selected {
		var here []string
		for _, by := range source[s.Source] {
			here = append(here, by...)
		}
		columns := target[s.Target]
		for _, column := range sortedKeys(columns) {
			for _, by := range columns[column] {
				what := "its key column " + column + " takes different texts for equal (" + by + ")"
				mend := "ALTER TABLE " + s.Target.SQL() + " ALTER COLUMN " + table.Quote(column) + ` TYPE text COLLATE "C"; -- or another deterministic collation`
				switch {
				case slices.Contains(here, by):
				case len(here) == 0:
					r.error("target "+s.Target.String(), what+", that of "+s.Source.String()+" does not: of two source rows that are one there, the later one would write over the other", mend)
				default:
					r.warn("target "+s.Target.String(), what+", that of "+s.Source.String()+" by "+strings.Join(here, ", ")+": two source rows may be one there, and the later one writes over the other", mend)
				}
			}
		}
	}
}

func sortedKeys(m map[string][]string) (keys []string) {
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
