package pgtarget

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"segue/pkg/change"
	"segue/pkg/postgres"
	"segue/pkg/table"
)

// ReadRow reads the row with a key, in the order of the target's key, as texts in the order of its columns. Nil: there is none.
func ReadRow(ctx context.Context, conn *pgx.Conn, t *change.Target, key change.Row) (row change.Row, err error) {
	var columns, on []string
	for _, c := range t.Columns {
		columns = append(columns, table.Quote(t.Table.Columns[c].Name))
	}
	args, oids := make([][]byte, len(t.Key)), make([]uint32, len(t.Key))
	for i, k := range t.Key {
		column := &t.Table.Columns[t.Columns[k]]
		on = append(on, fmt.Sprintf("%s = %s", table.Quote(column.Name), column.Cast(fmt.Sprintf("$%d::pg_catalog.text", i+1))))
		args[i], oids[i] = key[i].Bytes(), textOID
	}
	sql := "SELECT " + strings.Join(columns, ", ") + " FROM " + t.Table.Name.SQL() + " WHERE " + strings.Join(on, " AND ")
	err = pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if err := postgres.Pin(ctx, tx); err != nil {
			return err
		}
		r := tx.Conn().PgConn().ExecParams(ctx, sql, args, oids, nil, nil)
		for r.NextRow() {
			row = make(change.Row, len(columns))
			for i, v := range r.Values() {
				row[i] = change.Null()
				if v != nil {
					row[i] = change.Text(append([]byte(nil), v...))
				}
			}
		}
		_, err := r.Close()
		return err
	})
	return row, step("read a row of "+t.Table.Name.String(), err)
}
