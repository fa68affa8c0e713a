package pgdigest

import (
	"testing"

	"segue/pkg/change"
	"segue/pkg/pgtest"
	"segue/pkg/table"
)

func TestExpectedValuesTakeTheTextOfTheTargetColumn(t *testing.T) {
	conn := pgtest.Connect(t, pgtest.Database(t))
	pgtest.Exec(t, conn, `CREATE DOMAIN cents AS numeric(10,2)`,
		`CREATE TABLE things (id bigint PRIMARY KEY, v varchar(3), c char(4), n numeric(10,2), d cents, ts timestamptz(3), b boolean, plain text, f real, bits bit(3), vs varchar(2)[])`)
	s := shapeOf(t, conn, table.Name{Schema: "public", Table: "things"})
	indices, columns := []int{}, []*table.Column{}
	for i := range s.Table.Columns {
		indices, columns = append(indices, i), append(columns, &s.Table.Columns[i])
	}
	c := NewConverter(indices, columns)
	rows := []change.Row{
		texts("007", "ab ", "ab", "5", "1.005", "2024-01-01T00:00:00.12345Z", "true", " x ", "0.10", "101", `{"a","bc"}`),
		texts("1", "abc  ", "abcd  ", "-0.004", "NaN", "infinity", "no", "", "1e1", "01", "{}"),
		// What the target would refuse stays as it is, and differs from whatever is there.
		texts("1", "abcd", "abcde", "5", "1", "2024-01-01", "yes", "", "1", "1", "{abc}"),
		texts("x", "", "", "123456789.999", "1", "2024-01-01", "yes", "", "1", "1", "{}"),
	}
	rows = append(rows, make(change.Row, len(indices)))
	for i := range rows[4] {
		rows[4][i] = change.Null()
	}
	want := []change.Row{
		texts("7", "ab ", "ab  ", "5.00", "1.01", "2024-01-01 00:00:00.123+00", "t", " x ", "0.1", "101", "{a,bc}"),
		texts("1", "abc", "abcd", "0.00", "NaN", "infinity", "f", "", "10", "01", "{}"),
		texts("1", "abcd", "abcde", "5.00", "1.00", "2024-01-01 00:00:00+00", "t", "", "1", "1", "{abc}"),
		texts("x", "", "    ", "123456789.999", "1", "2024-01-01", "yes", "", "1", "1", "{}"),
		rows[4],
	}
	if err := c.Convert(t.Context(), conn, rows); err != nil {
		t.Fatal(err)
	}
	for i := range rows {
		for j := range rows[i] {
			if !rows[i][j].Equal(want[i][j]) {
				t.Errorf("row %d, %s: %q, want %q", i, s.Table.Columns[j].Name, rows[i][j].Bytes(), want[i][j].Bytes())
			}
		}
	}
}

func texts(values ...string) change.Row {
	row := make(change.Row, len(values))
	for i, v := range values {
		row[i] = change.String(v)
	}
	return row
}

func TestSameText(t *testing.T) {
	column := func(typ, base string, oid uint32, mod int32) *table.Column {
		return &table.Column{Type: typ, Base: base, OID: oid, Mod: mod}
	}
	integer, bigint := column("integer", "integer", 23, -1), column("bigint", "bigint", 20, -1)
	plain, short := column("text", "text", 25, -1), column("character varying(5)", "character varying", oidVarchar, 9)
	blank := column("character(5)", "bpchar", oidChar, 9)
	money, cents := column("numeric", "numeric", 1700, -1), column("numeric(10,2)", "numeric", 1700, 655366)
	for _, c := range []struct {
		source, target *table.Column
		want           bool
	}{
		{integer, integer, true},
		{integer, bigint, true},
		{bigint, integer, false},
		{short, plain, true},
		{plain, short, false},
		{blank, plain, false},
		{blank, blank, true},
		{money, cents, false},
		{cents, money, false},
		{integer, plain, false},
	} {
		if got := SameText(c.source, c.target); got != c.want {
			t.Errorf("%s to %s: %v", c.source.Type, c.target.Type, got)
		}
	}
}
