package postgres

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"

	"segue/pkg/table"
)

// typesSQL is columnsSQL for columns that are in no catalog any more, of which the types' numbers and modifiers are known.
func typesSQL() string {
	att := columnsSQL[strings.Index(columnsSQL, "\tSELECT a.attrelid"):strings.Index(columnsSQL, "), walk AS")]
	return strings.Replace(columnsSQL, att, `
	SELECT 0::oid AS attrelid, w.ord::smallint AS attnum, ''::name AS attname, w.typ AS atttypid, w.mod AS atttypmod,
	       false AS attnotnull, false AS atthasdef, '' AS attgenerated, '' AS attidentity
	FROM ROWS FROM (pg_catalog.unnest($1::oid[]), pg_catalog.unnest($2::int[])) WITH ORDINALITY AS w (typ, mod, ord)
`, 1)
}

// NameTypes fills in Type and Base of columns whose OID and Mod are known. A type that is gone is called ???, which no other type is.
func NameTypes(ctx context.Context, q Querier, columns []table.Column) error {
	oids, mods := make([]uint32, len(columns)), make([]int32, len(columns))
	for i := range columns {
		oids[i], mods[i] = columns[i].OID, columns[i].Mod
		columns[i].Type, columns[i].Base = "???", "???"
	}
	rows, err := q.Query(ctx, typesSQL(), oids, mods)
	if err != nil {
		return stepError("read types from the catalog", err)
	}
	var (
		oid, typ   uint32
		number     int16
		name       string
		mod        int32
		kind, base string
		flags      [4]bool
	)
	_, err = pgx.ForEachRow(rows, []any{&oid, &number, &name, &typ, &mod, &kind, &base, &flags[0], &flags[1], &flags[2], &flags[3]}, func() error {
		columns[number-1].Type, columns[number-1].Base = kind, base
		return nil
	})
	if err != nil {
		return stepError("read types from the catalog", err)
	}
	return nil
}
