package mapping

import (
	"testing"

	"segue/pkg/change"
	"segue/pkg/table"
)

// A change of an older shape of its table takes to the target what it knows, and asks for nothing: the table is read again behind it. Only a row
// that the target would refuse without the missing column is asked for.
func TestChangesOfAnOlderShape(t *testing.T) {
	source := shape("public.customers", "id integer key", "name text null", "added text null", "must text", "active boolean")
	target := shape("crm.customer", "customer_id bigint key", "name text null", "line text null", "must text")
	m := compile(t, `
tables:
  - from: public.customers
    to: crm.customer
    where: active
    set: {customer_id: id, name: name, line: 'name + ": " + added', must: must}
`, []*table.Table{source}, []*table.Table{target})
	for _, tt := range []struct {
		name          string
		op            change.Op
		before, after change.Row
		want          string
	}{
		{"insert", change.Insert, nil, row("1", "Ann", "-", "m", "t"), "insert (1, Ann, -, m)"},
		{"read", change.Read, nil, row("1", "Ann", "-", "m", "t"), "read (1, Ann, -, m)"},
		{"update", change.Update, nil, row("1", "Bo", "-", "-", "t"), "update (1, Bo, -, -)"},
		{"key change", change.Update, row("1", "-", "-", "-", "-"), row("2", "Bo", "-", "m", "t"), "update at (1) (2, Bo, -, m)"},
		{"insert that the target would refuse", change.Insert, nil, row("1", "Ann", "-", "-", "t"), "update (1, Ann, -, -); want (1)"},
		{"filter that cannot be decided", change.Insert, nil, row("1", "Ann", "x", "m", "-"), ""},
		{"key change that cannot be decided", change.Update, row("1", "-", "-", "-", "-"), row("2", "Bo", "y", "m", "-"), "delete at (1)"},
		{"delete", change.Delete, row("1", "-", "-", "-", "-"), nil, "delete at (1)"},
	} {
		var out change.Mapped
		c := &change.Change{Pos: change.Position{Epoch: 1, LSN: 7, Seq: 2}, Table: source, Op: tt.op, Before: tt.before, After: tt.after, Older: true}
		if err := m.Mapper().Map(c, &out); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if got := story(&out); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}
