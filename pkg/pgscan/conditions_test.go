package pgscan_test

import (
	"slices"
	"testing"

	"segue/pkg/chunk"
	"segue/pkg/table"
)

// A fresh chunk reads what fulfils the conditions, every other one all rows.
func TestConditionsOfAFreshChunk(t *testing.T) {
	f := open(t, `CREATE TYPE public.pair AS (a int, b int)`,
		`CREATE TABLE public.c (id int PRIMARY KEY, "a ""name" text, code char(4), yes boolean, n smallint, two public.pair)`,
		`INSERT INTO public.c VALUES
			(1, E'it''s \\ here', 'ab', true, 1, (NULL, NULL)), (2, 'x', 'ab  ', false, -2, NULL), (3, NULL, NULL, NULL, NULL, (1, 2)),
			(4, 'X', 'b', NULL, 3, NULL)`)
	shape := f.shape("c")
	for name, tt := range map[string]struct {
		conditions []table.Condition
		want       []string
	}{
		"a text with everything":      {[]table.Condition{{Column: 1, Is: table.OneOf, Values: []string{`it's \ here`, "none"}}}, []string{"1"}},
		"char(n) without its spaces":  {[]table.Condition{{Column: 2, Is: table.OneOf, Values: []string{"ab"}}}, []string{"1", "2"}},
		"true":                        {[]table.Condition{{Column: 3, Is: table.IsTrue}}, []string{"1"}},
		"not true":                    {[]table.Condition{{Column: 3, Is: table.IsNotTrue}}, []string{"2", "3", "4"}},
		"booleans":                    {[]table.Condition{{Column: 3, Is: table.OneOf, Values: []string{"false"}}}, []string{"2"}},
		"integers beyond the type":    {[]table.Condition{{Column: 4, Is: table.OneOf, Values: []string{"-2", "9000000000"}}}, []string{"2"}},
		"null, not a pair of nulls":   {[]table.Condition{{Column: 5, Is: table.IsNull}}, []string{"2", "4"}},
		"not null, a pair of nulls":   {[]table.Condition{{Column: 5, Is: table.NotNull}}, []string{"1", "3"}},
		"two, joined by and":          {[]table.Condition{{Column: 5, Is: table.NotNull}, {Column: 3, Is: table.IsTrue}}, []string{"1"}},
		"conditions of another table": {nil, []string{"1", "2", "3", "4"}},
	} {
		f.scan.Conditions = map[table.Name][]table.Condition{shape.Name: tt.conditions}
		for _, fresh := range []bool{true, false} {
			plan := chunk.NewPlan(f.heaps(shape), nil, 1<<20)
			if fresh {
				plan.Fresh()
			}
			c, _ := plan.Next()
			got, err := f.scan.Read(t.Context(), c, 0)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			var ids []string
			for _, r := range got.Rows {
				ids = append(ids, string(r[0].Bytes()))
			}
			want := tt.want
			if !fresh {
				want = []string{"1", "2", "3", "4"}
			}
			if !slices.Equal(ids, want) {
				t.Errorf("%s, fresh %v: rows %v, want %v", name, fresh, ids, want)
			}
		}
	}
}
