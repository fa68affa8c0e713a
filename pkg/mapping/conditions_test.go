package mapping

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"segue/pkg/migration"
	"segue/pkg/table"
)

// Only what the source judges as the filter does, or more generously, is handed down to it.
func TestConditions(t *testing.T) {
	columns := []string{"id bigint key", "name text", "code character(4)", "active boolean", "n integer", "d numeric", "at date"}
	for where, want := range map[string]string{
		`name == "x"`:                         `name one of [x]`,
		`"x" == name and id == 5`:             `name one of [x]; id one of [5]`,
		`active`:                              `active is true`,
		`not active && n in [1, -2]`:          `active is not true; n one of [1 -2]`,
		`!active`:                             `active is not true`,
		`at == nil`:                           `at is null`,
		`nil != at`:                           `at is not null`,
		`active == true`:                      `active one of [true]`,
		`code in ["a", "b"]`:                  `code one of [a b]`,
		`$env["name"] == "y"`:                 `name one of [y]`,
		`n == 1 and upper(name) == "X"`:       `n one of [1]`,
		`(n == 1 and active) and d > 3`:       `n one of [1]; active is true`,
		`name != "x"`:                         ``, // a collation may take more for equal than the filter does
		`n == 1 or active`:                    ``,
		`n > 1`:                               ``,
		`at == "2020-01-01"`:                  ``,
		`d == 1`:                              ``,
		`name == "ü"`:                         ``, // not in every encoding
		`n == 1 ? active : false`:             ``,
		`name in ["a", lower(name)]`:          ``,
		`name == "it's \\ here" and n != nil`: `name one of [it's \ here]; n is not null`,
	} {
		source := shape("public.a", columns...)
		spec, err := migration.Parse(migration.Input{Path: "segue.yaml", Text: fmt.Appendf(nil,
			"migration: m\nsource: {postgres: a}\ntarget: {postgres: b}\ntables: [{from: public.a, where: %q}]\n", where)})
		if err != nil {
			t.Fatalf("%s: %v", where, err)
		}
		m, err := Compile(spec, []*table.Table{source}, []*table.Table{shape("public.a", columns...)})
		if err != nil {
			t.Fatalf("%s: %v", where, err)
		}
		var got []string
		for _, c := range m.For(source.Name).Conditions() {
			text := source.Columns[c.Column].Name + map[table.Test]string{
				table.IsNull: " is null", table.NotNull: " is not null", table.IsTrue: " is true", table.IsNotTrue: " is not true", table.OneOf: " one of ",
			}[c.Is]
			if c.Is == table.OneOf {
				text += fmt.Sprint(c.Values)
			}
			got = append(got, text)
		}
		if !slices.Equal(got, strings.FieldsFunc(want, func(r rune) bool { return r == ';' })) && strings.Join(got, "; ") != want {
			t.Errorf("%s: got %q, want %q", where, strings.Join(got, "; "), want)
		}
	}
}
