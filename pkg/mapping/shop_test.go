package mapping

import (
	"strings"
	"testing"

	"segue/pkg/change"
	"segue/pkg/migration"
	"segue/pkg/table"
)

// shape builds a table from lines such as "id integer key", "email text null", "total numeric generated".
func shape(name string, columns ...string) *table.Table {
	schema, bare, _ := strings.Cut(name, ".")
	t := &table.Table{Name: table.Name{Schema: schema, Table: bare}, Identity: table.IdentityDefault}
	for i, line := range columns {
		words := strings.Split(line, " ")
		c := table.Column{Name: words[0], Type: strings.ReplaceAll(words[1], "_", " "), NotNull: true}
		c.Base, _, _ = strings.Cut(c.Type, "(")
		for _, w := range words[2:] {
			switch w {
			case "key":
				t.Key = append(t.Key, i)
			case "null":
				c.NotNull = false
			case "default":
				c.Default = true
			case "generated":
				c.Generated = true
			}
		}
		t.Columns = append(t.Columns, c)
	}
	return t
}

func full(t *table.Table) *table.Table {
	t.Identity = table.IdentityFull
	return t
}

const head = "migration: shop\nsource: {postgres: a}\ntarget: {postgres: b}\n"

func parse(t testing.TB, tables string) *migration.Spec {
	t.Helper()
	spec, err := migration.Parse(migration.Input{Path: "segue.yaml", Text: []byte(head + tables)})
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

func compile(t testing.TB, tables string, source, target []*table.Table) *Mapping {
	t.Helper()
	m, err := Compile(parse(t, tables), source, target)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// row builds a row from texts: "-" is absent, "∅" is NULL.
func row(values ...string) change.Row {
	out := make(change.Row, len(values))
	for i, v := range values {
		switch v {
		case "-":
		case "∅":
			out[i] = change.Null()
		default:
			out[i] = change.String(v)
		}
	}
	return out
}

func show(r change.Row) string {
	if r == nil {
		return ""
	}
	words := make([]string, len(r))
	for i, v := range r {
		switch v.Kind() {
		case change.KindAbsent:
			words[i] = "-"
		case change.KindNull:
			words[i] = "∅"
		case change.KindText:
			words[i] = string(v.Bytes())
		}
	}
	return "(" + strings.Join(words, ", ") + ")"
}

// story is a Mapped as one line.
func story(m *change.Mapped) string {
	var out []string
	for _, op := range m.Ops {
		line := op.Op.String()
		if op.Key != nil {
			line += " at " + show(op.Key)
		}
		if op.Row != nil {
			line += " " + show(op.Row)
		}
		out = append(out, line)
	}
	if m.Want != nil {
		out = append(out, "want "+show(m.Want))
	}
	return strings.Join(out, "; ")
}
