package table

import (
	"slices"
	"strings"
	"testing"
)

func TestCompare(t *testing.T) {
	base := func() *Table {
		return &Table{OID: 5, Name: Name{Schema: "public", Table: "t"}, Identity: IdentityDefault, Key: []int{0}, Columns: []Column{
			{Name: "id", Type: "integer", OID: 23, Mod: -1, Number: 1}, {Name: "a", Type: "text", OID: 25, Mod: -1, Number: 2},
			{Name: "b", Type: "text", OID: 25, Mod: -1, Number: 3}, {Name: "g", Type: "text", OID: 25, Mod: -1, Number: 4, Generated: true},
		}}
	}
	for _, tt := range []struct {
		name   string
		change func(*Table)
		want   string
		kinds  []DifferenceKind
	}{
		{"nothing", func(*Table) {}, "", nil},
		{"added", func(t *Table) { t.Columns = append(t.Columns, Column{Name: "c", Type: "date", Number: 5}) }, "column c was added, date", []DifferenceKind{ColumnAdded}},
		{"dropped", func(t *Table) { t.Columns = slices.Delete(t.Columns, 1, 2) }, "column a was dropped", []DifferenceKind{ColumnDropped}},
		{"renamed", func(t *Table) { t.Columns[1].Name = "z" }, "column a is now called z", []DifferenceKind{ColumnRenamed}},
		{"dropped, and another of its type added", func(t *Table) { t.Columns[1].Name, t.Columns[1].Number = "z", 9 }, "column a was dropped; column z was added, text", []DifferenceKind{ColumnDropped, ColumnAdded}},
		{"renamed as far as the log tells", func(t *Table) { t.Columns[1].Name, t.Columns[1].Number = "z", 0 }, "column a is now called z", []DifferenceKind{ColumnRenamed}},
		{"retyped", func(t *Table) { t.Columns[1].OID, t.Columns[1].Type = 23, "integer" }, "column a: the type was text, now it is integer", []DifferenceKind{ColumnRetyped}},
		{"replaced", func(t *Table) { t.Columns[1].Number = 9 }, "column a was dropped and made again", []DifferenceKind{ColumnReplaced}},
		{"not generated any more", func(t *Table) { t.Columns[3].Generated = false }, "column g: it is generated in one shape only", []DifferenceKind{ColumnRetyped}},
		{"generated columns come and go", func(t *Table) { t.Columns[3].Name = "h" }, "", nil},
		{"identity", func(t *Table) { t.Identity = IdentityFull }, "the replica identity was default, now it is full", []DifferenceKind{IdentityChanged}},
		{"key", func(t *Table) { t.Key = []int{1} }, `the replica identity's columns were ["id"], now they are ["a"]`, []DifferenceKind{IdentityChanged}},
		{"another table", func(t *Table) { t.OID = 6 }, "the table was dropped and made again", []DifferenceKind{TableReplaced}},
		{"another name", func(t *Table) { t.Name.Table = "u" }, "the table was renamed: public.t is now public.u", []DifferenceKind{TableRenamed}},
	} {
		is := base()
		tt.change(is)
		var texts []string
		var kinds []DifferenceKind
		for _, d := range Compare(base(), is) {
			texts, kinds = append(texts, d.String()), append(kinds, d.Kind)
		}
		if got := strings.Join(texts, "; "); got != tt.want || !slices.Equal(kinds, tt.kinds) {
			t.Errorf("%s: %q %v, want %q", tt.name, got, kinds, tt.want)
		}
	}
}
