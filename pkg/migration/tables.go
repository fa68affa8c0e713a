package migration

import (
	"cmp"
	"strings"

	"gopkg.in/yaml.v3"
)

func (p *parser) tables(n *yaml.Node) {
	p.list(n, "tables", func(n *yaml.Node) {
		p.spec.Tables = append(p.spec.Tables, p.table(n))
	})
	if n = resolve(n); n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
		p.mistake(placeOf(n), "tables is empty: write at least one, such as - from: \"public.*\"")
	}
}

func (p *parser) table(n *yaml.Node) Table {
	t := Table{At: placeOf(n)}
	p.object(n, "a table", []field{
		{"from", true, func(n *yaml.Node) { t.From = p.pattern(n, "from") }},
		{"exclude", false, func(n *yaml.Node) {
			p.list(n, "exclude", func(n *yaml.Node) { t.Exclude = append(t.Exclude, p.pattern(n, "exclude")) })
		}},
		{"to", false, func(n *yaml.Node) { t.To = p.pattern(n, "to") }},
		{"where", false, func(n *yaml.Node) { t.Where = p.expression(n, "where") }},
		{"set", false, func(n *yaml.Node) { p.set(n, &t) }},
		{"ignore", false, func(n *yaml.Node) { p.ignore(n, &t) }},
		{"on_schema_change", false, func(n *yaml.Node) { t.OnSchemaChange = p.schemaChange(n) }},
	})
	p.checkTable(&t)
	return t
}

// checkTable looks for what is wrong whatever the catalogs hold.
func (p *parser) checkTable(t *Table) {
	_, exact := t.From.Exact()
	if exact && len(t.Exclude) > 0 && !t.From.IsZero() {
		p.mistake(t.Exclude[0].At, "exclude belongs to a pattern, but from names one table: remove exclude")
	}
	if t.To.IsZero() || t.From.IsZero() {
		return
	}
	if t.From.table.star && !t.To.table.star {
		p.mistake(t.To.At, "to names one table, but from is a pattern for many: write a pattern here too, such as crm.*, or one entry for each table")
	}
	if t.From.schema.star && !t.To.schema.star && !t.From.table.star {
		p.mistake(t.To.At, "to names one schema, but from is a pattern for the same table in many: write a pattern here too, such as *.customer, or one entry for each table")
	}
}

func (p *parser) pattern(n *yaml.Node, what string) Pattern {
	s, ok := p.text(n, what)
	if !ok {
		return Pattern{}
	}
	pattern, err := ParsePattern(s.Value)
	if err != nil {
		p.mistake(s.At, "%s: %v", what, err)
		return Pattern{}
	}
	pattern.At = s.At
	return pattern
}

func (p *parser) expression(n *yaml.Node, what string) String {
	s, ok := p.text(n, what)
	if ok && strings.TrimSpace(s.Value) == "" {
		p.mistake(s.At, "%s is empty: write a column or an expression, or remove it", what)
	}
	return s
}

func (p *parser) ignore(n *yaml.Node, t *Table) {
	seen := map[string]bool{}
	p.list(n, "ignore", func(n *yaml.Node) {
		s, ok := p.expressionName(n)
		if !ok {
			return
		}
		if seen[s.Value] {
			p.mistake(s.At, "this column stands in ignore twice: remove one")
		}
		seen[s.Value] = true
		t.Ignore = append(t.Ignore, s)
	})
}

func (p *parser) schemaChange(n *yaml.Node) SchemaChange {
	s, ok := p.text(n, "on_schema_change")
	c := SchemaChange(s.Value)
	if ok && c != SchemaPause && c != SchemaIgnore {
		p.mistake(s.At, "on_schema_change is %s or %s", SchemaPause, SchemaIgnore)
	}
	return c
}

func (p *parser) expressionName(n *yaml.Node) (String, bool) {
	s, ok := p.text(n, "a column's name")
	if ok && s.Value == "" {
		p.mistake(s.At, "a column's name is empty: write it, or remove the entry")
		return s, false
	}
	return s, ok
}

const rest = "*"

// set reads target column → what it holds.
func (p *parser) set(n *yaml.Node, t *Table) {
	t.Set = []Column{}
	ok := p.entries(n, "set", func(key, value *yaml.Node) {
		if key.Value == rest {
			if s, ok := p.text(value, `"*"`); ok && s.Value != rest {
				p.mistake(s.At, `"*" takes only "*": it copies the source columns whose names the remaining target columns have`)
			}
			t.Rest = placeOf(key)
			return
		}
		t.Set = append(t.Set, p.column(key, value))
	})
	if ok && len(t.Set) == 0 && t.Rest.IsZero() {
		p.mistake(placeOf(n), "set is empty: write target columns, or remove it to copy every column by name")
	}
}

func (p *parser) column(key, value *yaml.Node) Column {
	c := Column{Target: String{Value: key.Value, At: placeOf(key)}}
	if c.Target.Value == "" {
		p.mistake(c.Target.At, "a target column's name is empty: write it, or remove the entry")
	}
	v := resolve(value)
	switch {
	case v.Kind == yaml.MappingNode:
		c.Const = true
		p.object(v, "a value", []field{{"const", true, func(n *yaml.Node) { c.Value, c.Null = p.constant(n) }}})
	case v.Kind == yaml.ScalarNode && !isText(v):
		p.mistake(placeOf(v), "want a source column or an expression, as text: write {const: %s} for a constant", cmp.Or(v.Value, "null"))
	default:
		c.Value = p.expression(value, "the value")
	}
	return c
}

// constant takes a scalar as it is written.
func (p *parser) constant(n *yaml.Node) (String, bool) {
	v := resolve(n)
	switch {
	case v.Kind != yaml.ScalarNode:
		p.mistake(placeOf(v), "const wants one value: a text, a number, true, false or null")
	case v.ShortTag() == "!!null":
		return String{At: placeOf(v)}, true
	case isText(v):
		s, _ := p.text(v, "const")
		return s, false
	}
	return String{Value: v.Value, At: placeOf(v)}, false
}
