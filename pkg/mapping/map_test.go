package mapping

import (
	"testing"

	"segue/pkg/change"
	"segue/pkg/table"
)

func TestOperations(t *testing.T) {
	source := shape("public.customers", "id integer key", "name text null", "notes text null", "active boolean")
	target := shape("crm.customer", "customer_id bigint key", "first text null", "line text null", "notes text null", "origin text")
	m := compile(t, `
tables:
  - from: public.customers
    to: crm.customer
    where: active
    set: {customer_id: id, first: firstWord(name), line: 'name + ": " + notes', notes: notes, origin: {const: legacy}}
`, []*table.Table{source}, []*table.Table{target})
	tests := []struct {
		name          string
		op            change.Op
		before, after change.Row
		want          string
	}{
		{"insert", change.Insert, nil, row("1", "Ann Lee", "x", "t"), "insert (1, Ann, Ann Lee: x, x, legacy)"},
		{"insert that is left out", change.Insert, nil, row("1", "Ann Lee", "x", "f"), "delete at (1)"},
		{"read", change.Read, nil, row("1", "∅", "x", "t"), "read (1, ∅, ∅, x, legacy)"},
		{"read that is left out", change.Read, nil, row("1", "Ann", "x", "f"), "delete at (1)"},
		{"update", change.Update, nil, row("1", "Bo", "y", "t"), "update (1, Bo, Bo: y, y, legacy)"},
		{"update leaves", change.Update, nil, row("1", "Bo", "y", "f"), "delete at (1)"},
		{"update with an absent column", change.Update, nil, row("1", "Bo", "-", "t"), "update (1, Bo, -, -, legacy); want (1)"},
		{"update with all inputs absent", change.Update, nil, row("1", "-", "-", "t"), "update (1, -, -, -, legacy)"},
		{"update that cannot be decided", change.Update, nil, row("1", "Bo", "y", "-"), "want (1)"},
		{"key change", change.Update, row("1", "-", "-", "-"), row("2", "Bo", "y", "t"), "update at (1) (2, Bo, Bo: y, y, legacy)"},
		{"key change with an absent column", change.Update, row("1", "-", "-", "-"), row("2", "-", "-", "t"), "update at (1) (2, -, -, -, legacy); want (2)"},
		{"key change that leaves", change.Update, row("1", "-", "-", "-"), row("2", "Bo", "y", "f"), "delete at (1)"},
		{"key change that cannot be decided", change.Update, row("1", "-", "-", "-"), row("2", "Bo", "y", "-"), "delete at (1); want (2)"},
		{"old row in full fills what is absent", change.Update, row("1", "Al", "z", "t"), row("1", "Bo", "-", "-"), "update (1, Bo, Bo: z, z, legacy)"},
		{"key sent though it did not change", change.Update, row("1", "-", "-", "-"), row("-", "Bo", "-", "t"), "update (1, Bo, -, -, legacy); want (1)"},
		{"delete", change.Delete, row("1", "-", "-", "-"), nil, "delete at (1)"},
		{"truncate", change.Truncate, nil, nil, "truncate"},
	}
	mapper := m.Mapper()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := &change.Change{Pos: change.Position{Epoch: 1, LSN: 7, Seq: 2}, Table: source, Op: tt.op, Before: tt.before, After: tt.after}
			for _, f := range []func(*change.Change, *change.Mapped) error{mapper.Map, m.For(source.Name).Map} {
				var out change.Mapped
				if err := f(c, &out); err != nil {
					t.Fatal(err)
				}
				if got := story(&out); got != tt.want {
					t.Errorf("got  %s\nwant %s", got, tt.want)
				}
				if out.Pos != c.Pos || out.Source != source.Name || out.SourceOp != tt.op {
					t.Errorf("the change's own data are lost: %+v", out)
				}
			}
		})
	}
}
