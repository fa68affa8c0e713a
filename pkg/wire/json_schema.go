package wire

import (
	"encoding/json"
	"reflect"
	"strconv"

	"segue/pkg/table"
)

// connectSchema is a schema as Kafka Connect's JsonConverter writes it.
type connectSchema struct {
	Type       string            `json:"type"`
	Fields     []connectSchema   `json:"fields,omitempty"`
	Items      *connectSchema    `json:"items,omitempty"`
	Optional   bool              `json:"optional"`
	Name       string            `json:"name,omitempty"`
	Version    int               `json:"version,omitempty"`
	Doc        string            `json:"doc,omitempty"`
	Parameters map[string]string `json:"parameters,omitempty"`
	Field      string            `json:"field,omitempty"`
}

// The parameters of a column beside its base type: the type that it was declared as, and that type's modifier.
const (
	propDeclared = "pg.type"
	propModifier = "pg.modifier"
)

func jsonField(kind, name string) connectSchema { return connectSchema{Type: kind, Field: name} }

func jsonOptional(kind, name string) connectSchema {
	return connectSchema{Type: kind, Field: name, Optional: true}
}

func jsonRecord(field, name string, optional bool, fields ...connectSchema) connectSchema {
	return connectSchema{Type: "struct", Fields: fields, Optional: optional, Name: name, Field: field}
}

// jsonSpace is the beginning of the names of a table's schemas.
func jsonSpace(migration string, n table.Name) string {
	return migration + "." + n.Schema + "." + n.Table
}

// jsonValueSchema is the envelope's schema for one table. Fields bear the columns' own names: Connect allows any.
func jsonValueSchema(migration string, t *table.Table) connectSchema {
	space := jsonSpace(migration, t.Name)
	columns := make([]connectSchema, len(t.Columns))
	for i := range t.Columns {
		columns[i] = jsonColumnSchema(&t.Columns[i])
		columns[i].Optional = true
	}
	envelope := jsonRecord("", space+".Envelope", false,
		jsonRecord("before", space+".Value", true, columns...),
		jsonRecord("after", space+".Value", true, columns...),
		jsonRecord("source", "segue.raw.Source", false,
			jsonField("string", "version"), jsonField("string", "connector"), jsonField("string", "name"),
			jsonField("string", "server_version"), jsonField("string", "db"), jsonField("string", "schema"), jsonField("string", "table"),
			jsonField("string", "snapshot"), jsonField("int64", "ts_ms"), jsonField("int64", "ts_us"),
			jsonOptional("int64", "txId"), jsonOptional("int64", "lsn")),
		jsonRecord("transaction", "segue.raw.Transaction", true,
			jsonField("string", "id"), jsonField("int64", "total_order"), jsonOptional("int64", "data_collection_order")),
		jsonField("string", "op"), jsonOptional("int64", "ts_ms"), jsonOptional("int64", "ts_us"),
		jsonSegueSchema(),
	)
	envelope.Version = 1
	return envelope
}

func jsonSegueSchema() connectSchema {
	ordinal := jsonField("int32", "")
	text := jsonRecord("", "segue.raw.Text", false,
		jsonField("string", "row"), jsonField("int32", "field"), jsonOptional("string", "text"), jsonOptional("bytes", "bytes"))
	list := func(name string, items connectSchema) connectSchema {
		return connectSchema{Type: "array", Items: &items, Field: name}
	}
	return jsonRecord("segue", "segue.raw.Segue", false,
		jsonField("int64", "epoch"), jsonField("int64", "seq"),
		list("absent_before", ordinal), list("absent_after", ordinal), list("texts", text),
		jsonField("boolean", "cascade"), jsonField("boolean", "restart_identity"),
		jsonRecord("stub", "segue.raw.Stub", true, jsonField("string", "code"), jsonField("string", "text"), jsonField("int64", "size")))
}

// jsonColumnSchema names PostgreSQL's type where the field's own does not say it.
func jsonColumnSchema(c *table.Column) connectSchema {
	k := jsonKindOf(c)
	s := jsonField(k.connect(), c.Name)
	if k == jsonString {
		s.Parameters = map[string]string{propBase: c.Base}
		if c.Type != c.Base {
			s.Parameters[propDeclared] = c.Type
		}
		if c.Mod >= 0 {
			s.Parameters[propModifier] = strconv.Itoa(int(c.Mod))
		}
	}
	return s
}

// jsonKeySchema is the schema of a table's keys: its key columns, in key order, none of them optional.
func jsonKeySchema(migration string, t *table.Table) connectSchema {
	fields := make([]connectSchema, len(t.Key))
	for i, k := range t.Key {
		fields[i] = jsonColumnSchema(&t.Columns[k])
	}
	return jsonRecord("", jsonSpace(migration, t.Name)+".Key", false, fields...)
}

// sameConnectSchema says whether two schemas give the same payload the same meaning: names, types and order, and each column's base
// type in PostgreSQL.
func sameConnectSchema(a, b []byte) bool {
	var x, y connectSchema
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return false
	}
	connectEssence(&x)
	connectEssence(&y)
	return reflect.DeepEqual(x, y)
}

func connectEssence(s *connectSchema) {
	s.Optional, s.Version, s.Doc = false, 0, ""
	base, ok := s.Parameters[propBase]
	s.Parameters = nil
	if ok {
		s.Parameters = map[string]string{propBase: base}
	}
	for i := range s.Fields {
		connectEssence(&s.Fields[i])
	}
	if s.Items != nil {
		connectEssence(s.Items)
	}
}
