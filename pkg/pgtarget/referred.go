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

// referringSQL lists the foreign keys to a table: which table refers, and by what condition.
const referringSQL = `
SELECT n.nspname, r.relname, ` + sameSQL + `
FROM pg_catalog.pg_constraint c
JOIN pg_catalog.pg_class r ON r.oid = c.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace
JOIN pg_catalog.pg_class f ON f.oid = c.confrelid
JOIN pg_catalog.pg_namespace fn ON fn.oid = f.relnamespace
WHERE c.contype = 'f' AND c.conparentid = 0 AND fn.nspname = $1 AND f.relname = $2
ORDER BY 1, 2, c.conname`

type referring struct {
	table table.Name
	same  string // the condition that row c of the table refers to row p
}

func referringTo(ctx context.Context, q postgres.Querier, name table.Name) ([]referring, error) {
	rows, err := q.Query(ctx, referringSQL, name.Schema, name.Table)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (referring, error) {
		var r referring
		return r, row.Scan(&r.table.Schema, &r.table.Table, &r.same)
	})
}

// Referred says which rows of a target table, named by their keys, rows of the target refer to (a row may refer to itself): their delete would
// break a foreign key. by names a table that refers.
func Referred(ctx context.Context, conn *pgx.Conn, t *change.Target, keys []change.Row) (referred []bool, by table.Name, err error) {
	referred = make([]bool, len(keys))
	err = pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if err := postgres.Pin(ctx, tx); err != nil {
			return err
		}
		list, err := referringTo(ctx, tx, t.Table.Name)
		if err != nil {
			return err
		}
		for _, r := range list {
			rows, err := tx.Query(ctx, referredSQL(t, &r), keyColumns(t, keys)...)
			if err != nil {
				return err
			}
			places, err := pgx.CollectRows(rows, pgx.RowTo[int64])
			if err != nil {
				return err
			}
			for _, p := range places {
				referred[p-1], by = true, r.table
			}
		}
		return nil
	})
	return referred, by, step("look for rows that refer to "+t.Table.Name.String(), err)
}

func keyColumns(t *change.Target, keys []change.Row) []any {
	out := make([]any, len(t.Key))
	for i := range t.Key {
		values := make([]string, len(keys))
		for j := range keys {
			values[j] = string(keys[j][i].Bytes())
		}
		out[i] = values
	}
	return out
}

// referredSQL lists the places of the keys whose row somebody refers to.
func referredSQL(t *change.Target, r *referring) string {
	var lists, names, on []string
	for i, k := range t.Key {
		column := &t.Table.Columns[t.Columns[k]]
		lists = append(lists, fmt.Sprintf("pg_catalog.unnest($%d::pg_catalog.text[])", i+1))
		names = append(names, fmt.Sprintf("k%d", i))
		on = append(on, fmt.Sprintf("p.%s = k.k%d::%s", table.Quote(column.Name), i, column.Base))
	}
	return "SELECT k.ord FROM ROWS FROM (" + strings.Join(lists, ", ") + ") WITH ORDINALITY AS k(" + strings.Join(names, ", ") + ", ord) JOIN " +
		t.Table.Name.SQL() + " AS p ON " + strings.Join(on, " AND ") + " WHERE EXISTS (SELECT FROM " + r.table.SQL() + " AS c WHERE " +
		r.same + " AND (c.tableoid, c.ctid) <> (p.tableoid, p.ctid))"
}

// ParentsFirst sorts target tables so that those that others refer to come before them, as far as they do not refer to each other in a ring.
func ParentsFirst(ctx context.Context, conn *pgx.Conn, tables []table.Name) ([]table.Name, error) {
	children := map[table.Name][]table.Name{}
	parents := map[table.Name]int{}
	for _, t := range tables {
		list, err := referringTo(ctx, conn, t)
		if err != nil {
			return nil, step("read foreign keys to "+t.String(), err)
		}
		for _, r := range list {
			if r.table != t {
				children[t] = append(children[t], r.table)
				parents[r.table]++
			}
		}
	}
	var out []table.Name
	placed := map[table.Name]bool{}
	for len(out) < len(tables) {
		next := -1
		for i, t := range tables {
			if !placed[t] && (next < 0 || parents[t] < parents[tables[next]]) {
				next = i
			}
		}
		t := tables[next]
		placed[t] = true
		out = append(out, t)
		for _, c := range children[t] {
			parents[c]--
		}
	}
	return out, nil
}
