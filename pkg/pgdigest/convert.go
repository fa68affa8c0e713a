package pgdigest

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"segue/pkg/change"
	"segue/pkg/fault"
	"segue/pkg/postgres"
	"segue/pkg/table"
)

// Converter gives values of expected rows the text that a target column would give them: 5 becomes 5.00 in a numeric(10,2). The
// target server does it, so that PostgreSQL stays the only type system.
type Converter struct {
	columns []conversion
	sql     string
}

type conversion struct {
	index  int // in the rows
	column *table.Column
	server bool
}

// The OIDs and bases of the types whose modifier is a length. A cast to them cuts in silence where an assignment refuses, so
// their rule is applied here: an assignment pads character(n), and drops only blanks beyond n.
const (
	oidChar    = 1042
	oidVarchar = 1043
	lengthHead = 4 // a length's modifier is the length plus this
)

func hasLength(base string) bool {
	switch strings.TrimSuffix(base, "[]") {
	case "character varying", "bpchar", "character", `"bit"`, "bit varying":
		return true
	}
	return false
}

func isText(base string) bool {
	return base == "text" || base == "character varying" || base == "bpchar"
}

// SameText says that a value of the source column arrives in the target column with the same text, whatever it is.
func SameText(source, target *table.Column) bool {
	if source.Type == target.Type {
		return true
	}
	if target.OID == oidChar || target.Mod >= 0 {
		return false
	}
	integers := map[string]int{"smallint": 1, "integer": 2, "bigint": 3}
	s, t := integers[source.Base], integers[target.Base]
	return s > 0 && s <= t || (target.Base == "text" || target.Base == "character varying") && isText(source.Base) && source.Base != "bpchar"
}

// NewConverter makes one for the columns of rows at the given indices; columns are the target's.
func NewConverter(indices []int, columns []*table.Column) *Converter {
	c := &Converter{}
	var names, casts, list []string
	for i, index := range indices {
		conv := conversion{index: index, column: columns[i], server: !isText(columns[i].Base)}
		c.columns = append(c.columns, conv)
		if !conv.server {
			continue
		}
		n := len(names)
		cast := conv.column.Cast(fmt.Sprintf("a%d", n))
		if !hasLength(conv.column.Base) {
			cast += "::" + conv.column.Type
		}
		list = append(list, fmt.Sprintf("CASE WHEN a%d IS NOT NULL THEN concat(%s) END", n, cast))
		names = append(names, fmt.Sprintf("a%d", n))
		casts = append(casts, fmt.Sprintf("$%d::text[]", n+1))
	}
	if len(names) > 0 {
		c.sql = "SELECT " + strings.Join(list, ", ") + " FROM unnest(" + strings.Join(casts, ", ") +
			") WITH ORDINALITY AS u(" + strings.Join(names, ", ") + ", n) ORDER BY n"
	}
	return c
}

// Needed says whether there is anything to convert.
func (c *Converter) Needed() bool { return len(c.columns) > 0 }

// Convert replaces the values in place. What a type does not take is left as it is: it cannot be on the target either.
func (c *Converter) Convert(ctx context.Context, conn *pgx.Conn, rows []change.Row) error {
	for _, row := range rows {
		for _, conv := range c.columns {
			if !conv.server && !row[conv.index].IsNull() {
				row[conv.index] = change.Text(fit(row[conv.index].Bytes(), conv.column))
			}
		}
	}
	if c.sql == "" || len(rows) == 0 {
		return nil
	}
	return c.halve(ctx, conn, rows)
}

func (c *Converter) halve(ctx context.Context, conn *pgx.Conn, rows []change.Row) error {
	err := c.ask(ctx, conn, rows)
	switch {
	case err == nil:
		return nil
	case fault.ClassOf(err) != fault.ClassPoison:
		return err
	case len(rows) == 1:
		return nil
	}
	if err := c.halve(ctx, conn, rows[:len(rows)/2]); err != nil {
		return err
	}
	return c.halve(ctx, conn, rows[len(rows)/2:])
}

func (c *Converter) ask(ctx context.Context, conn *pgx.Conn, rows []change.Row) error {
	return pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if err := postgres.Pin(ctx, tx); err != nil {
			return err
		}
		args := []any{text}
		for _, conv := range c.columns {
			if conv.server {
				args = append(args, valuesOf(rows, conv.index))
			}
		}
		result, err := tx.Query(ctx, c.sql, args...)
		if err != nil {
			return step("convert values", err)
		}
		defer result.Close()
		// A batch that fails half-way is asked for again in halves: nothing is replaced before all of it is there.
		converted := make([][]change.Value, 0, len(rows))
		for result.Next() {
			converted = append(converted, copied(result.RawValues()))
		}
		if err := result.Err(); err != nil {
			return step("convert values", err)
		}
		if len(converted) != len(rows) {
			return fmt.Errorf("convert values: %d rows for %d", len(converted), len(rows))
		}
		c.put(rows, converted)
		return nil
	})
}

func (c *Converter) put(rows []change.Row, converted [][]change.Value) {
	for i, row := range rows {
		n := 0
		for _, conv := range c.columns {
			if conv.server {
				row[conv.index] = converted[i][n]
				n++
			}
		}
	}
}

func valuesOf(rows []change.Row, index int) []*string {
	out := make([]*string, len(rows))
	for i, row := range rows {
		if !row[index].IsNull() {
			s := string(row[index].Bytes())
			out[i] = &s
		}
	}
	return out
}

func copied(raw [][]byte) []change.Value {
	out := make([]change.Value, len(raw))
	for i, v := range raw {
		out[i] = change.Null()
		if v != nil {
			out[i] = change.Text(bytes.Clone(v))
		}
	}
	return out
}

// fit is what an assignment to a text column with a length does.
func fit(value []byte, c *table.Column) []byte {
	n := int(c.Mod) - lengthHead
	if n < 0 || (c.OID != oidChar && c.OID != oidVarchar) {
		return value
	}
	runes := utf8.RuneCount(value)
	for runes > n && value[len(value)-1] == ' ' {
		value, runes = value[:len(value)-1], runes-1
	}
	if c.OID == oidChar && runes < n {
		return append(bytes.Clone(value), bytes.Repeat([]byte{' '}, n-runes)...)
	}
	return value
}
