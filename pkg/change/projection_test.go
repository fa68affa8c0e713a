package change

import (
	"slices"
	"strings"
	"testing"

	"segue/pkg/table"
)

func column(name, base string, mod int32) table.Column {
	return table.Column{Name: name, Type: base, Base: base, Mod: mod}
}

func TestProjection(t *testing.T) {
	now := &table.Table{
		Name: table.Name{Schema: "public", Table: "t"}, Key: []int{0},
		Columns: []table.Column{column("id", "bigint", -1), column("name", "text", -1), column("added", "integer", -1), column("n", "numeric", -1)},
	}
	for _, tt := range []struct {
		name string
		old  []table.Column
		row  Row
		want string
	}{
		{"a column more now", []table.Column{now.Columns[0], now.Columns[1], now.Columns[3]}, Row{String("1"), String("a"), Null()}, "1 a ? NULL"},
		{"a dropped column vanishes", []table.Column{column("gone", "text", -1), now.Columns[0], now.Columns[1]}, Row{String("x"), String("1"), String("a")}, "1 a ? ?"},
		{"another order", []table.Column{now.Columns[3], now.Columns[2], now.Columns[1], now.Columns[0]}, Row{String("4"), String("3"), String("2"), String("1")}, "1 2 3 4"},
		{"absent stays absent", []table.Column{now.Columns[0], now.Columns[1]}, Row{String("1"), Absent()}, "1 ? ? ?"},
		{"widened types are passed on", []table.Column{column("id", "integer", -1), column("name", "character varying", 14), column("n", "integer", -1)}, Row{String("1"), String("a"), String("7")}, "1 a ? 7"},
		{"other types are absent", []table.Column{now.Columns[0], column("name", "integer", -1), column("added", "text", -1), column("n", "double precision", -1)}, Row{String("1"), String("2"), String("3"), String("4")}, "1 ? ? ?"},
		{"a renamed column is another one", []table.Column{now.Columns[0], column("called", "text", -1)}, Row{String("1"), String("a")}, "1 ? ? ?"},
	} {
		p, err := Project(tt.old, now)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		out := make(Row, len(now.Columns))
		p.Row(out, tt.row)
		var got []string
		for _, v := range out {
			switch v.Kind() {
			case KindAbsent:
				got = append(got, "?")
			case KindNull:
				got = append(got, "NULL")
			case KindText:
				got = append(got, string(v.Bytes()))
			}
		}
		if s := strings.Join(got, " "); s != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, s, tt.want)
		}
		missing := p.Missing()
		if p.Whole() != (len(missing) == 0) || slices.Contains(missing, "id") {
			t.Errorf("%s: whole %v, missing %v", tt.name, p.Whole(), missing)
		}
	}
	for _, old := range [][]table.Column{{now.Columns[1]}, {column("id", "text", -1)}, {column("uid", "bigint", -1)}} {
		if _, err := Project(old, now); err == nil || !strings.Contains(err.Error(), "public.t") || !strings.Contains(err.Error(), "id") {
			t.Errorf("a shape without the key: %v", err)
		}
	}
}

func TestTextsThatCarry(t *testing.T) {
	numeric := func(p, s int32) int32 { return p<<16 | s + 4 }
	for _, tt := range []struct {
		from, to string
		a, b     int32
		want     bool
	}{
		{"character varying", "character varying", 14, 24, true},
		{"character varying", "character varying", 24, 14, false},
		{"character varying", "character varying", 24, -1, true},
		{"character varying", "character varying", -1, 24, false},
		{"bpchar", "bpchar", 7, 9, false},
		{"bpchar", "text", 7, -1, false},
		{"numeric", "numeric", numeric(5, 2), numeric(7, 3), true},
		{"numeric", "numeric", numeric(5, 2), numeric(5, 3), false},
		{"numeric", "numeric", numeric(5, 2), numeric(6, 1), false},
		{"bigint", "integer", -1, -1, false},
		{"smallint", "bigint", -1, -1, true},
		{"bigint", "numeric", -1, numeric(5, 2), false},
		{"real", "double precision", -1, -1, false},
		{"timestamp without time zone", "timestamp with time zone", -1, -1, false},
		{"text", "public.mood", -1, -1, false},
	} {
		a, b := column("c", tt.from, tt.a), column("c", tt.to, tt.b)
		if got := carries(&a, &b); got != tt.want {
			t.Errorf("%s (%d) to %s (%d): %v", tt.from, tt.a, tt.to, tt.b, got)
		}
	}
}
