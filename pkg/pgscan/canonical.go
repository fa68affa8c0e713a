package pgscan

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"segue/pkg/change"
	"segue/pkg/postgres"
	"segue/pkg/table"
)

// Canonical gives keys, in the order of the table's key, the texts that the log and a chunk have for them: of the row that has the key, else of
// the value itself. Two texts can be one value (1.0 and 1.00, a padded char), and the reader tells rows by texts. A text that
// is no value of its column's type is an error of class poison.
func Canonical(ctx context.Context, conn *pgx.Conn, t *table.Table, keys []change.Row) ([]change.Row, error) {
	var lists, names, on, texts []string
	var args []any
	for i, k := range t.Key {
		column := &t.Columns[k]
		mine, theirs := column.Cast(fmt.Sprintf("k.k%d", i)), "t."+table.Quote(column.Name)
		lists = append(lists, fmt.Sprintf("pg_catalog.unnest($%d::pg_catalog.text[])", i+1))
		names = append(names, fmt.Sprintf("k%d", i))
		on = append(on, theirs+" "+t.Equal(k)+" "+mine)
		texts = append(texts, fmt.Sprintf("CASE WHEN %s IS NULL THEN pg_catalog.concat(%s) ELSE pg_catalog.concat(%s) END", theirs, mine, theirs))
		values := make([]*string, len(keys))
		for j := range keys {
			s := string(keys[j][i].Bytes())
			values[j] = &s
		}
		args = append(args, values)
	}
	from := "ONLY " + t.Name.SQL()
	if t.Partitioned {
		from = t.Name.SQL()
	}
	sql := "SELECT ARRAY[" + strings.Join(texts, ", ") + "] FROM ROWS FROM (" + strings.Join(lists, ", ") + ") WITH ORDINALITY AS k(" +
		strings.Join(names, ", ") + ", ord) LEFT JOIN " + from + " AS t ON " + strings.Join(on, " AND ") + " ORDER BY k.ord"
	var out []change.Row
	err := pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if err := postgres.Pin(ctx, tx); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (change.Row, error) {
			var texts []string
			err := row.Scan(&texts)
			key := make(change.Row, len(texts))
			for i := range texts {
				key[i] = change.String(texts[i])
			}
			return key, err
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look up %d keys of %s: %w", len(keys), t.Name, postgres.Safe(err))
	}
	return out, nil
}
