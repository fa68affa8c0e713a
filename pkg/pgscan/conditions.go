package pgscan

import (
	"strings"

	"segue/pkg/table"
)

// conditionsSQL is what a first load adds to a range's WHERE, "" for nothing. Values are compared as the column's own type, so that its collation counts;
// integers as bigint, because a literal may lie beyond the column's type.
func conditionsSQL(t *table.Table, conditions []table.Condition) string {
	var b strings.Builder
	for _, c := range conditions {
		column := table.Quote(t.Columns[c.Column].Name)
		b.WriteString(" AND ")
		switch c.Is {
		case table.IsNull:
			b.WriteString(column + " IS NOT DISTINCT FROM NULL") // IS NULL holds for a composite of nulls, too
		case table.NotNull:
			b.WriteString(column + " IS DISTINCT FROM NULL")
		case table.IsTrue:
			b.WriteString(column + " IS TRUE")
		case table.IsNotTrue:
			b.WriteString(column + " IS NOT TRUE")
		case table.OneOf:
			cast := ""
			switch t.Columns[c.Column].Base {
			case "smallint", "integer", "bigint", "oid":
				cast = "::pg_catalog.int8"
			}
			b.WriteString(column + cast + " IN (")
			for i, v := range c.Values {
				if i > 0 {
					b.WriteString(", ")
				}
				b.WriteString(literal(v) + cast)
			}
			b.WriteString(")")
		}
	}
	return b.String()
}
