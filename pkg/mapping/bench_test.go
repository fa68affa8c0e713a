package mapping

import (
	"testing"

	"segue/pkg/change"
	"segue/pkg/table"
)

func benchTables() (source, target []*table.Table) {
	columns := []string{
		"id bigint key", "email text", "name text", "phone text null", "country text",
		"born date null", "total numeric(12,2)", "made timestamp_with_time_zone",
	}
	return []*table.Table{shape("public.c", columns...)}, []*table.Table{shape("crm.c", columns...)}
}

func benchChange(source *table.Table) *change.Change {
	return &change.Change{
		Table: source, Op: change.Update,
		After: row("4711", "Ann.Lee@Example.org", "Ann van der Lee", "+49 30 1234-567", "DE", "1980-02-29", "1234.50", "2020-02-29 12:13:14+00"),
	}
}

const (
	copies      = "\ntables: [{from: public.c, to: crm.c}]\n"
	expressions = "\ntables: [{from: public.c, to: crm.c, set: {\"*\": \"*\", email: lower(email), name: firstWord(name)}}]\n"
)

func benchmark(b *testing.B, tables string) {
	source, target := benchTables()
	m := compile(b, tables, source, target).Mapper()
	c := benchChange(source[0])
	var out change.Mapped
	b.ReportAllocs()
	for b.Loop() {
		if err := m.Map(c, &out); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCopy8Columns(b *testing.B)           { benchmark(b, copies) }
func BenchmarkCopy8Columns2Expressed(b *testing.B) { benchmark(b, expressions) }

// A rule that only copies takes its rows from pieces: far less than one allocation for each change.
func TestCopyDoesNotAllocatePerChange(t *testing.T) {
	source, target := benchTables()
	m := compile(t, copies, source, target).Mapper()
	c := benchChange(source[0])
	var out change.Mapped
	if n := testing.AllocsPerRun(10_000, func() {
		if err := m.Map(c, &out); err != nil {
			t.Fatal(err)
		}
	}); n >= 1 {
		t.Errorf("%v allocations for each change", n)
	}
}

// Changes of one table that come with a moved or wider shape are read by their columns' names.
func TestOtherShapesOfTheSameTable(t *testing.T) {
	source := shape("public.a", "id integer key", "name text")
	target := shape("crm.a", "id integer key", "name text")
	m := compile(t, "\ntables: [{from: public.a, to: crm.a, where: id > 1, set: {id: id, name: upper(name)}}]\n", []*table.Table{source}, []*table.Table{target})
	moved := shape("public.a", "added text null", "name text", "id integer key")
	lost := shape("public.a", "id integer key")
	for _, f := range []func(*change.Change, *change.Mapped) error{m.Mapper().Map, m.Rules()[0].Map} {
		var out change.Mapped
		if err := f(&change.Change{Table: moved, Op: change.Insert, After: row("∅", "ann", "2")}, &out); err != nil || story(&out) != "insert (2, ANN)" {
			t.Errorf("got %s, %v", story(&out), err)
		}
		if string(out.SourceKey[0].Bytes()) != "2" {
			t.Errorf("source key %s", show(out.SourceKey))
		}
		if err := f(&change.Change{Table: lost, Op: change.Insert, After: row("2")}, &out); err == nil {
			t.Error("a column is gone and nobody says so")
		}
		if err := f(&change.Change{Table: source, Op: change.Insert, After: row("2")}, &out); err == nil {
			t.Error("a row of the wrong length passes")
		}
	}
	if err := m.Mapper().Map(&change.Change{Table: shape("public.b", "id integer key"), Op: change.Insert, After: row("2")}, new(change.Mapped)); err == nil {
		t.Error("a table without a rule passes")
	}
}
