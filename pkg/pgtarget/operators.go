package pgtarget

import (
	"context"

	"github.com/jackc/pgx/v5"

	"segue/pkg/change"
	"segue/pkg/postgres"
)

// operatorsSQL finds the equality of the unique index over the key: the one that makes two rows the same row. With an empty
// search_path, an extension's own "=" (citext) would not be found by name, and PostgreSQL would take another.
const operatorsSQL = `
SELECT k.attnum, 'OPERATOR(' || pg_catalog.quote_ident(n.nspname) || '.' || o.oprname || ')'
FROM pg_catalog.pg_index i
JOIN LATERAL (SELECT i.indkey[x] AS attnum, i.indclass[x] AS opclass
              FROM pg_catalog.generate_series(0, i.indnkeyatts - 1) AS x) k ON true
JOIN pg_catalog.pg_opclass c ON c.oid = k.opclass
JOIN pg_catalog.pg_amop m ON m.amopfamily = c.opcfamily AND m.amopstrategy = 3
     AND m.amoplefttype = c.opcintype AND m.amoprighttype = c.opcintype
JOIN pg_catalog.pg_operator o ON o.oid = m.amopopr
JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
WHERE i.indrelid = $1 AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL
  AND i.indnkeyatts = $2
  AND (SELECT pg_catalog.array_agg(a.attname::text ORDER BY a.attname::text)
       FROM pg_catalog.pg_attribute a WHERE a.attrelid = i.indrelid
         AND a.attnum = ANY ((i.indkey::smallint[])[0:i.indnkeyatts - 1])) = $3::text[]
ORDER BY i.indisprimary DESC, i.indexrelid`

const attnumsSQL = `SELECT attname::text, attnum FROM pg_catalog.pg_attribute WHERE attrelid = $1 AND attname = ANY ($2::text[])`

// keyOperators returns, per key column of a target, the operator to compare it with.
func keyOperators(ctx context.Context, q postgres.Querier, t *change.Target) ([]string, error) {
	if t.Keyless {
		return nil, nil // by text
	}
	names := make([]string, len(t.Table.Key))
	for i, k := range t.Table.Key {
		names[i] = t.Table.Columns[k].Name
	}
	numbers := map[string]int16{}
	if err := collect(ctx, q, attnumsSQL, []any{t.Table.OID, names}, func(row pgx.CollectableRow) error {
		var name string
		var number int16
		err := row.Scan(&name, &number)
		numbers[name] = number
		return err
	}); err != nil {
		return nil, step("read key columns of "+t.Table.Name.String(), err)
	}
	operators := map[int16]string{}
	if err := collect(ctx, q, operatorsSQL, []any{t.Table.OID, len(names), sorted(names)}, func(row pgx.CollectableRow) error {
		var number int16
		var operator string
		err := row.Scan(&number, &operator)
		if _, ok := operators[number]; !ok {
			operators[number] = operator
		}
		return err
	}); err != nil {
		return nil, step("read key operators of "+t.Table.Name.String(), err)
	}
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = "OPERATOR(pg_catalog.=)"
		if operator, ok := operators[numbers[name]]; ok {
			out[i] = operator
		}
	}
	return out, nil
}

func collect(ctx context.Context, q postgres.Querier, sql string, args []any, row func(pgx.CollectableRow) error) error {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	_, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (struct{}, error) { return struct{}{}, row(r) })
	return err
}
