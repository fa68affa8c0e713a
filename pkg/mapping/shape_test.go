package mapping

import (
	"testing"

	"segue/pkg/table"
)

// What a load is made of: the rule and the columns that it reads, and nothing else.
func TestShapeCountsWhatTheRuleReads(t *testing.T) {
	source := func() *table.Table {
		s := shape("public.customers", "id integer key", "name text null", "fax text null", "active boolean")
		s.OID = 7
		for i := range s.Columns {
			s.Columns[i].Number = int16(i + 1)
		}
		return s
	}
	target := shape("crm.customer", "id bigint key", "title text null")
	rule := func(set string) *Rule {
		m := compile(t, "tables: [{from: public.customers, to: crm.customer, where: active, set: "+set+", ignore: [fax]}]", []*table.Table{source()}, []*table.Table{target})
		return m.Rules()[0]
	}
	r := rule("{id: id, title: lower(name)}")
	for column, want := range map[string]bool{"id": true, "name": true, "active": true, "fax": false, "none": false} {
		if r.Uses(column) != want {
			t.Errorf("uses %s: %v", column, !want)
		}
	}
	base := r.Shape(source())
	if rule("{id: id, title: lower( name )}").Shape(source()) != base {
		t.Error("white space makes another shape")
	}
	if rule("{id: id, title: upper(name)}").Shape(source()) == base {
		t.Error("another expression makes no other shape")
	}
	for name, tt := range map[string]struct {
		change func(*table.Table)
		same   bool
	}{
		"an ignored column goes":         {func(s *table.Table) { s.Columns = append(s.Columns[:2:2], s.Columns[3]) }, true},
		"a column comes":                 {func(s *table.Table) { s.Columns = append(s.Columns, table.Column{Name: "more"}) }, true},
		"a column that is read goes":     {func(s *table.Table) { s.Columns = s.Columns[:3] }, false},
		"a column has another type":      {func(s *table.Table) { s.Columns[1].Type = "varchar(3)" }, false},
		"a column was made again":        {func(s *table.Table) { s.Columns[1].Number = 9 }, false},
		"another table of the same name": {func(s *table.Table) { s.OID = 8 }, false},
	} {
		s := source()
		tt.change(s)
		if (r.Shape(s) == base) != tt.same {
			t.Errorf("%s: the same shape is %v", name, !tt.same)
		}
	}
}
