package pgscan

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"segue/pkg/change"
	"segue/pkg/chunk"
	"segue/pkg/postgres"
	"segue/pkg/table"
)

const textArrayOID = 1009

// ReadKeys reads the rows with the given keys: asked holds a row of the table's width for each, with the key's columns set. What is
// not among the result's rows was not there. More than limit bytes of text are ErrTooLarge; 0 is no limit.
func (s *Scanner) ReadKeys(ctx context.Context, t *table.Table, asked []change.Row, limit int64) (Result, error) {
	var out Result
	err := s.within(ctx, t.Name, func(conn *pgconn.PgConn, _ uint32, snap chunk.Snapshot) error {
		at, sql := keysSQL(t)
		args := make([][]byte, len(t.Key))
		oids := make([]uint32, len(t.Key))
		for i, k := range t.Key {
			args[i], oids[i] = textArray(asked, k), textArrayOID
		}
		r := conn.ExecParams(ctx, sql, args, oids, nil, nil)
		out = Result{Snapshot: snap}
		largest, kept := s.largest(t), int64(0)
		for r.NextRow() {
			size := rowSize(r.Values())
			out.Bytes += size
			if largest > 0 && size > largest {
				row := copyRow(r.Values(), at, len(t.Columns), t.IsKey)
				out.Rows, out.Large = append(out.Rows, row), noteLarge(out.Large, t, row, size)
				continue
			}
			kept += size
			out.Rows = append(out.Rows, copyRow(r.Values(), at, len(t.Columns), func(int) bool { return true }))
			if limit > 0 && kept > limit {
				return ErrTooLarge // the rest stays unread: the pool closes the connection
			}
		}
		_, err := r.Close()
		return postgres.Safe(err)
	})
	if err != nil {
		return Result{}, fmt.Errorf("read %d keys of %s: %w", len(asked), t.Name, err)
	}
	return out, nil
}

// keysSQL joins the table with the lists of key values, cast to the columns' base types, so that the key's index serves.
func keysSQL(t *table.Table) ([]int, string) {
	at, cols := columns(t, "t.")
	var lists, names, on []string
	for i, k := range t.Key {
		lists = append(lists, fmt.Sprintf("$%d::pg_catalog.text[]", i+1))
		names = append(names, fmt.Sprintf("k%d", i))
		on = append(on, fmt.Sprintf("t.%s %s %s", table.Quote(t.Columns[k].Name), t.Equal(k), t.Columns[k].Cast(fmt.Sprintf("k.k%d", i))))
	}
	from := "ONLY " + t.Name.SQL()
	if t.Partitioned {
		from = t.Name.SQL()
	}
	return at, "SELECT " + cols + " FROM " + from + " AS t JOIN ROWS FROM (pg_catalog.unnest(" + strings.Join(lists, "), pg_catalog.unnest(") +
		")) AS k(" + strings.Join(names, ", ") + ") ON " + strings.Join(on, " AND ")
}

func rowSize(values [][]byte) int64 {
	n := 0
	for _, v := range values {
		n += len(v)
	}
	return int64(n)
}

// copyRow keeps the columns that are wanted; the others are absent.
func copyRow(values [][]byte, at []int, width int, wanted func(ordinal int) bool) change.Row {
	row := make(change.Row, width)
	for i, v := range values {
		switch {
		case !wanted(at[i]):
		case v == nil:
			row[at[i]] = change.Null()
		default:
			row[at[i]] = change.Text(append([]byte(nil), v...))
		}
	}
	return row
}

// textArray is PostgreSQL's text form of one column of the keys.
func textArray(asked []change.Row, column int) []byte {
	out := []byte{'{'}
	for i, row := range asked {
		if i > 0 {
			out = append(out, ',')
		}
		if row[column].Kind() != change.KindText {
			out = append(out, "NULL"...)
			continue
		}
		out = append(out, '"')
		for _, c := range row[column].Bytes() {
			if c == '"' || c == '\\' {
				out = append(out, '\\')
			}
			out = append(out, c)
		}
		out = append(out, '"')
	}
	return append(out, '}')
}
