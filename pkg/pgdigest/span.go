package pgdigest

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"segue/pkg/table"
)

// Within is the rows of a table whose column (an ordinal) is at least low and below high, in PostgreSQL's text; "" is no bound.
func Within(t *table.Table, column int, low, high string) Place {
	name, cast := "t."+table.Quote(t.Columns[column].Name), "::"+t.Columns[column].Base
	where := " WHERE true"
	if low != "" {
		where += " AND " + name + " >= " + literal(low) + cast
	}
	if high != "" {
		where += " AND " + name + " < " + literal(high) + cast
	}
	return Place{from: everything(t) + where}
}

// Split finds values of a column that cut its table in pieces of about that many rows, ascending. It walks the index that the
// column leads, a piece per statement.
func Split(ctx context.Context, conn *pgx.Conn, t *table.Table, column int, rows int64, l Limits) ([]string, error) {
	var bounds []string
	for {
		low := ""
		if len(bounds) > 0 {
			low = bounds[len(bounds)-1]
		}
		name := "t." + table.Quote(t.Columns[column].Name)
		sql := fmt.Sprintf("SELECT concat(%s) FROM %s ORDER BY %s OFFSET %d LIMIT 1", name, Within(t, column, low, "").from, name, rows)
		var next string
		err := readOnly(ctx, conn, "", l, func(tx pgx.Tx) error { return tx.QueryRow(ctx, sql).Scan(&next) })
		if errors.Is(err, pgx.ErrNoRows) || err == nil && next == low {
			return bounds, nil
		}
		if err != nil {
			return nil, step("split "+t.Name.String(), err)
		}
		bounds = append(bounds, next)
	}
}
