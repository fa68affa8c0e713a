package pgdigest

import (
	"context"
	"encoding/hex"
	"fmt"

	"github.com/jackc/pgx/v5"

	"segue/pkg/change"
	"segue/pkg/postgres"
	"segue/pkg/reconcile"
	"segue/pkg/table"
)

// Inspect asks the server what its dialect depends on.
func Inspect(ctx context.Context, q postgres.Querier) (Dialect, error) {
	var encoding string
	if err := q.QueryRow(ctx, "SELECT pg_catalog.current_setting('server_encoding')").Scan(&encoding); err != nil {
		return Dialect{}, step("ask for the server's encoding", err)
	}
	return Dialect{UTF8: encoding == "UTF8"}, nil
}

// Digest lets the server compute the task's answer for the rows of a place and counts it into side. A task of keys reads only what a ByKey place
// names, or the buckets of its keys.
func (d Dialect) Digest(ctx context.Context, tx pgx.Tx, s Shape, p Place, t *reconcile.Task, side *reconcile.Side) error {
	switch {
	case t.Mode == reconcile.Whole:
		return d.sums(ctx, tx, s, p, t, side)
	case len(p.args) > 0:
		return d.hashes(ctx, tx, s, d.hashesSQL(s, p.from), p.args, t, side)
	}
	return d.hashes(ctx, tx, s, d.listSQL(s, p.from), []any{t.Buckets - 1, bucketsOf(t)}, t, side)
}

func bucketsOf(t *reconcile.Task) []int64 {
	selected := t.Select
	if t.Mode == reconcile.Keys {
		selected = reconcile.NewBits(t.Buckets)
		for key := range t.Wanted {
			selected.Set(reconcile.Bucket([]byte(key), t.Buckets))
		}
	}
	var out []int64
	for b := range selected.All() {
		out = append(out, int64(b))
	}
	return out
}

func (d Dialect) sums(ctx context.Context, tx pgx.Tx, s Shape, p Place, t *reconcile.Task, side *reconcile.Side) error {
	rows, err := tx.Query(ctx, d.sumsSQL(s, p.from), text, t.Buckets-1)
	if err != nil {
		return step("digest "+s.Table.Name.String(), err)
	}
	defer rows.Close()
	for rows.Next() {
		v := rows.RawValues()
		b, n := wrap(v[0]), wrap(v[1])
		if b >= uint64(t.Buckets) {
			return fmt.Errorf("digest %s: bucket %d of %d", s.Table.Name, b, t.Buckets)
		}
		side.Buckets[b].Merge(reconcile.Sum{Rows: int64(n), Hi: wrap(v[2]), Lo: wrap(v[3])})
	}
	return step("digest "+s.Table.Name.String(), rows.Err())
}

// text asks for results in text form: the output functions' own, undecoded.
var text = pgx.QueryResultFormats{pgx.TextFormatCode}

// wrap reads a decimal number modulo 2^64.
func wrap(digits []byte) uint64 {
	var n uint64
	negative := len(digits) > 0 && digits[0] == '-'
	for _, c := range digits {
		if c >= '0' && c <= '9' {
			n = n*10 + uint64(c-'0')
		}
	}
	if negative {
		return -n
	}
	return n
}

func (d Dialect) hashes(ctx context.Context, tx pgx.Tx, s Shape, sql string, args []any, t *reconcile.Task, side *reconcile.Side) error {
	rows, err := tx.Query(ctx, sql, append([]any{text}, args...)...)
	if err != nil {
		return step("list "+s.Table.Name.String(), err)
	}
	defer rows.Close()
	for rows.Next() {
		v := rows.RawValues()
		if !t.Wants(v[0]) {
			continue
		}
		h, ok := parseHash(v[1])
		if !ok {
			return fmt.Errorf("list %s: a hash of %d bytes", s.Table.Name, len(v[1]))
		}
		side.AddKey(string(v[0]), h)
	}
	return step("list "+s.Table.Name.String(), rows.Err())
}

func parseHash(digits []byte) (reconcile.Hash, bool) {
	var b [16]byte
	if n, err := hex.Decode(b[:], digits[:min(len(digits), 32)]); err != nil || n != 16 || len(digits) != 32 {
		return reconcile.Hash{}, false
	}
	return reconcile.HashOf(b), true
}

// Rows hands each row of a place to yield: one value per column of the table, generated ones absent. The values are
// valid until yield returns.
func Rows(ctx context.Context, tx pgx.Tx, t *table.Table, p Place, yield func(change.Row) error) error {
	list := ""
	var ordinals []int
	for i := range t.Columns {
		if t.Columns[i].Generated {
			continue
		}
		if len(ordinals) > 0 {
			list += ", "
		}
		list += "t." + table.Quote(t.Columns[i].Name)
		ordinals = append(ordinals, i)
	}
	rows, err := tx.Query(ctx, "SELECT "+list+" FROM "+p.from, append([]any{text}, p.args...)...)
	if err != nil {
		return step("read "+t.Name.String(), err)
	}
	defer rows.Close()
	row := make(change.Row, len(t.Columns))
	for rows.Next() {
		for i, v := range rows.RawValues() {
			if v == nil {
				row[ordinals[i]] = change.Null()
			} else {
				row[ordinals[i]] = change.Text(v)
			}
		}
		if err := yield(row); err != nil {
			return err
		}
	}
	return step("read "+t.Name.String(), rows.Err())
}

func step(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, postgres.Safe(err))
}
