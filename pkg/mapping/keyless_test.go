package mapping

import (
	"strings"
	"testing"

	"segue/pkg/change"
	"segue/pkg/fault"
	"segue/pkg/table"
)

// Of a table without key every change is one row in, one row out, or one row that became another.
func TestOperationsWithoutAKey(t *testing.T) {
	source := full(shape("public.log", "name text null", "n integer null", "big text null", "active boolean"))
	target := shape("crm.log", "line text null", "n integer null", "origin text", "big text null")
	m := compile(t, `
tables:
  - from: public.log
    to: crm.log
    where: active
    set: {line: 'name ?? "-"', n: n, origin: {const: legacy}, big: big}
`, []*table.Table{source}, []*table.Table{target})
	tests := []struct {
		name          string
		op            change.Op
		before, after change.Row
		want          string
	}{
		{"insert", change.Insert, nil, row("a", "1", "x", "t"), "insert (a, 1, legacy, x)"},
		{"read", change.Read, nil, row("∅", "∅", "x", "t"), "read (-, ∅, legacy, x)"},
		{"insert that is left out", change.Insert, nil, row("a", "1", "x", "f"), ""},
		{"update", change.Update, row("a", "1", "x", "t"), row("b", "∅", "x", "t"), "update at (a, 1, legacy, x) (b, ∅, legacy, x)"},
		{"update with an unchanged value out of line", change.Update, row("a", "1", "x", "t"), row("b", "1", "-", "t"), "update at (a, 1, legacy, x) (b, 1, legacy, x)"},
		{"update of nothing that is mapped", change.Update, row("∅", "1", "x", "t"), row("-", "1", "x", "t"), ""},
		{"update enters", change.Update, row("a", "1", "x", "f"), row("a", "2", "x", "t"), "insert (a, 2, legacy, x)"},
		{"update leaves", change.Update, row("a", "1", "x", "t"), row("a", "1", "x", "f"), "delete at (a, 1, legacy, x)"},
		{"update outside", change.Update, row("a", "1", "x", "f"), row("a", "2", "x", "f"), ""},
		{"delete", change.Delete, row("a", "∅", "∅", "t"), nil, "delete at (a, ∅, legacy, ∅)"},
		{"delete outside", change.Delete, row("a", "∅", "∅", "f"), nil, ""},
		{"truncate", change.Truncate, nil, nil, "truncate"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := &change.Change{Pos: change.Position{Epoch: 1, LSN: 7, Seq: 2}, Table: source, Op: tt.op, Before: tt.before, After: tt.after}
			var out change.Mapped
			if err := m.For(source.Name).Map(c, &out); err != nil {
				t.Fatal(err)
			}
			if got := story(&out); got != tt.want && (tt.want != "" || len(out.Ops) != 0) {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if out.SourceKey != nil || out.Want != nil {
				t.Errorf("it has a key: %+v", out)
			}
		})
	}
}

// Half an old row must never be taken for a whole one.
func TestAnOldRowThatIsNotWholeStopsATableWithoutAKey(t *testing.T) {
	source := full(shape("public.log", "a integer null", "b text null"))
	m := compile(t, "tables:\n  - from: public.log\n", []*table.Table{source}, []*table.Table{shape("public.log", "a integer null", "b text null")})
	for name, c := range map[string]*change.Change{
		"no old row":              {Table: source, Op: change.Update, After: row("1", "x")},
		"a part of it":            {Table: source, Op: change.Delete, Before: row("1", "-")},
		"a part of it, an update": {Table: source, Op: change.Update, Before: row("1", "-"), After: row("2", "-")},
	} {
		var out change.Mapped
		err := m.For(source.Name).Map(c, &out)
		if fault.ClassOf(err) != fault.ClassFatal || err == nil || !strings.Contains(fault.HintOf(err), "REPLICA IDENTITY FULL") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A row of an older shape of the table, which lacks a column that is taken, cannot be found again: it is left out, for the table is read again behind
// it. One that is whole all the same is not, and one without its old row stops as ever: nothing says that the table is read again for that.
func TestOlderRowsWithoutAKey(t *testing.T) {
	source := full(shape("public.log", "a integer null", "b text null"))
	target := shape("public.log", "a integer null", "b text null")
	all := compile(t, "tables:\n  - from: public.log\n", []*table.Table{source}, []*table.Table{target})
	some := compile(t, "tables:\n  - from: public.log\n    ignore: [b]\n", []*table.Table{source}, []*table.Table{shape("public.log", "a integer null")})
	for name, c := range map[string]*change.Change{
		"insert": {Table: source, Older: true, Op: change.Insert, After: row("1", "-")},
		"update": {Table: source, Older: true, Op: change.Update, Before: row("1", "-"), After: row("2", "-")},
		"delete": {Table: source, Older: true, Op: change.Delete, Before: row("1", "-")},
	} {
		var out change.Mapped
		if err := all.For(source.Name).Map(c, &out); err != nil || len(out.Ops) != 0 {
			t.Errorf("%s: %s, %v", name, story(&out), err)
		}
		if err := some.For(source.Name).Map(c, &out); err != nil || len(out.Ops) != 1 {
			t.Errorf("%s of what is there: %s, %v", name, story(&out), err)
		}
	}
	var out change.Mapped
	err := all.For(source.Name).Map(&change.Change{Table: source, Older: true, Op: change.Update, After: row("1", "-")}, &out)
	if fault.ClassOf(err) != fault.ClassFatal {
		t.Errorf("without its old row: %v", err)
	}
}

func TestTouchedRowsWithoutAKey(t *testing.T) {
	source := full(shape("public.log", "a integer null", "b text null"))
	m := compile(t, "tables:\n  - from: public.log\n    where: a != 9\n    ignore: [b]\n", []*table.Table{source}, []*table.Table{shape("public.log", "a integer null")})
	// The same row before and after is touched all the same: it stands elsewhere in the heap now.
	rows, err := m.For(source.Name).Touched(&change.Change{Table: source, Op: change.Update, Before: row("1", "x"), After: row("1", "y")})
	if err != nil || len(rows) != 2 || !same(rows[0], row("1")) || !same(rows[1], row("1")) {
		t.Errorf("%v %v", rows, err)
	}
	rows, err = m.For(source.Name).Touched(&change.Change{Table: source, Op: change.Delete, Before: row("9", "x")})
	if err != nil || len(rows) != 0 {
		t.Errorf("%v %v", rows, err)
	}
}
