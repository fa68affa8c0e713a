package postgres_test

import (
	"testing"

	"segue/pkg/pgtest"
	"segue/pkg/postgres"
	"segue/pkg/table"
)

// Types are named by their numbers alone exactly as they are where the column is in the catalog.
func TestTypesAreNamedWithoutTheirColumns(t *testing.T) {
	conn := pgtest.Connect(t, pgtest.Database(t))
	pgtest.Exec(t, conn, typesDDL)
	shapes, err := postgres.Tables(t.Context(), conn, []table.Name{{Schema: "App x", Table: "t"}})
	if err != nil {
		t.Fatal(err)
	}
	var columns []table.Column
	for _, c := range shapes[0].Columns {
		columns = append(columns, table.Column{Name: c.Name, OID: c.OID, Mod: c.Mod})
	}
	columns = append(columns, table.Column{Name: "gone", OID: 4_000_000_000, Mod: -1})
	if err := postgres.NameTypes(t.Context(), conn, columns); err != nil {
		t.Fatal(err)
	}
	for i, c := range shapes[0].Columns {
		if columns[i].Type != c.Type || columns[i].Base != c.Base {
			t.Errorf("%s is %s (%s), by number %s (%s)", c.Name, c.Type, c.Base, columns[i].Type, columns[i].Base)
		}
		if c.Number != int16(i+1) {
			t.Errorf("%s has number %d", c.Name, c.Number)
		}
	}
	if last := columns[len(columns)-1]; last.Type != "???" || last.Base != "???" {
		t.Errorf("a type that is gone is %s (%s)", last.Type, last.Base)
	}
}
