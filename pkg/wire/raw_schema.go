package wire

import (
	"encoding/json"
	"fmt"

	"segue/pkg/table"
	"segue/schemas"
)

// The properties that a column's field carries.
const (
	propName = "pg.name"
	propBase = "pg.base"
)

// propLater marks a field at the end of a fixed schema's record that older records end before.
const propLater = "segue.later"

// field is a field of a record schema that stands for a column. Avro readers ignore the pg properties; people's tools and
// sameSchema read them.
type field struct {
	Name     string          `json:"name"`
	Type     any             `json:"type"`
	Default  json.RawMessage `json:"default,omitempty"`
	Column   string          `json:"pg.name"`
	Declared string          `json:"pg.type"`
	Base     string          `json:"pg.base"`
	Modifier int32           `json:"pg.modifier"`
}

type record struct {
	Type      string `json:"type"`
	Name      string `json:"name"`
	Namespace string `json:"namespace,omitempty"`
	Doc       string `json:"doc,omitempty"`
	Fields    any    `json:"fields"`
}

// part is a field of the envelope.
type part struct {
	Name    string          `json:"name"`
	Type    any             `json:"type"`
	Default json.RawMessage `json:"default,omitempty"`
}

func isNull() json.RawMessage { return json.RawMessage("null") }

// valueSchema is the envelope's schema for one table.
func valueSchema(space string, t *table.Table) (string, error) {
	row := record{Type: "record", Name: "Value", Fields: fields(t)}
	nullableLong := []any{"null", "long"}
	envelope := record{
		Type: "record", Name: "Envelope", Namespace: space,
		Doc: "A change of a row of " + t.Name.String() + ".",
		Fields: []part{
			{Name: "before", Type: []any{"null", row}, Default: isNull()},
			{Name: "after", Type: []any{"null", "Value"}, Default: isNull()},
			{Name: "source", Type: json.RawMessage(schemas.Source)},
			{Name: "transaction", Type: []any{"null", json.RawMessage(schemas.Transaction)}, Default: isNull()},
			{Name: "op", Type: "string"},
			{Name: "ts_ms", Type: nullableLong, Default: isNull()},
			{Name: "ts_us", Type: nullableLong, Default: isNull()},
			{Name: "segue", Type: json.RawMessage(schemas.Segue)},
		},
	}
	return marshal(envelope)
}

func fields(t *table.Table) []field {
	out := make([]field, len(t.Columns))
	for i := range t.Columns {
		out[i] = columnField(&t.Columns[i])
		out[i].Type = []any{"null", out[i].Type}
		out[i].Default = isNull()
	}
	return out
}

func columnField(c *table.Column) field {
	return field{
		Name: avroName(c.Name), Type: kindOf(c).avro(),
		Column: c.Name, Declared: c.Type, Base: c.Base, Modifier: c.Mod,
	}
}

// keySchema is the schema of a table's keys: its key columns, in key order, none of them nullable.
func keySchema(space string, t *table.Table) (string, error) {
	key := make([]field, len(t.Key))
	for i, k := range t.Key {
		key[i] = columnField(&t.Columns[k])
	}
	return marshal(record{Type: "record", Name: "Key", Namespace: space, Doc: "The key of a row of " + t.Name.String() + ".", Fields: key})
}

func marshal(r record) (string, error) {
	out, err := json.Marshal(r)
	if err != nil {
		return "", fmt.Errorf("schema %s.%s: %w", r.Namespace, r.Name, err)
	}
	return string(out), nil
}
