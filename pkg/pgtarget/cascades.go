package pgtarget

import (
	"context"

	"github.com/jackc/pgx/v5"

	"segue/pkg/table"
)

// Where a foreign key cascades, a row that is taken out takes the rows that refer to it along, or empties their references, also if it is put
// in again by the same statement. The source only updated it, and sends nothing of those rows. So rows of such a table are never taken out to make room.

// cascadesSQL lists which tables are referred to like that, themselves or as partitions.
const cascadesSQL = `
SELECT want.place::int - 1
FROM ROWS FROM (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[])) WITH ORDINALITY AS want (nsp, rel, place)
JOIN pg_catalog.pg_namespace n ON n.nspname = want.nsp
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = want.rel
WHERE EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.contype = 'f' AND k.confdeltype IN ('c', 'n', 'd')
              AND (k.confrelid = c.oid OR k.confrelid IN (SELECT p.relid FROM pg_catalog.pg_partition_tree(c.oid) p)))`

// noteCascades looks which target tables these are: at the start, when foreign keys come back, and before rows could be taken out.
func (t *Target) noteCascades(ctx context.Context) error {
	schemas, names := split(t.tables)
	found := map[table.Name]bool{}
	err := collect(ctx, t.conn, cascadesSQL, []any{schemas, names}, func(row pgx.CollectableRow) error {
		var place int32
		err := row.Scan(&place)
		if err == nil {
			found[t.tables[place]] = true
		}
		return err
	})
	if err != nil {
		return step("read what foreign keys do with rows", err)
	}
	for _, tt := range t.targets {
		tt.cascades = found[tt.Table.Name]
	}
	return nil
}
