package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"

	"segue/pkg/change"
	"segue/pkg/fault"
	"segue/pkg/table"
)

// jsonLayout is how the rows of one shape of a table lie in a record.
type jsonLayout struct {
	columns []jsonColumn
	rows    []member           // one for each column
	project *change.Projection // onto the codec's own shape; nil: it is the codec's
}

func jsonLayoutOf(columns []table.Column) (l jsonLayout, err error) {
	for i := range columns {
		m, err := newMember(columns[i].Name)
		if err != nil {
			return l, fmt.Errorf("column %s: %w", columns[i].Name, err)
		}
		l.columns = append(l.columns, jsonColumn{name: columns[i].Name, kind: jsonKindOf(&columns[i])})
		l.rows = append(l.rows, m)
	}
	return l, nil
}

// knownJSON is what was found of another schema.
type knownJSON struct {
	layout *jsonLayout
	err    error
}

// maxKnown bounds how many other schemas are remembered.
const maxKnown = 64

// writer returns the layout of another schema, which is looked at once.
func (r *RawJSON) writer(schema []byte) (*jsonLayout, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k, met := r.known[string(schema)]
	if met {
		return k.layout, k.err
	}
	k.layout, k.err = r.read(schema)
	if len(r.known) < maxKnown {
		r.known[string(schema)] = k
	}
	return k.layout, k.err
}

// read compares another schema with the codec's own.
func (r *RawJSON) read(schema []byte) (*jsonLayout, error) {
	if sameConnectSchema(schema, []byte(r.value.schema)) {
		return &r.jsonLayout, nil
	}
	columns, err := connectColumns(schema, []byte(r.value.schema))
	if err != nil {
		return nil, fault.Fatal(fmt.Errorf("%s: the record's schema: %w", r.name, err),
			"another program or another version of segue wrote this record: read it with the version that wrote it")
	}
	l, err := jsonLayoutOf(columns)
	if err != nil {
		return nil, fmt.Errorf("%s: the record's schema: %w", r.name, err)
	}
	if l.project, err = change.Project(columns, r.table); err != nil {
		return nil, fault.Fatal(fmt.Errorf("%s: written with another schema: %w", r.name, err),
			"the table's key was changed after these records were written, and they were not applied before: read all tables again as a new history: segue run reader --new-history (or run all)")
	}
	return &l, nil
}

// connectColumns reads the columns out of a value's schema that differs from the own one in nothing else.
func connectColumns(schema, own []byte) ([]table.Column, error) {
	var theirs, ours connectSchema
	if json.Unmarshal(schema, &theirs) != nil || json.Unmarshal(own, &ours) != nil ||
		len(theirs.Fields) != len(ours.Fields) || !reflect.DeepEqual(theirs.Fields[0].Fields, theirs.Fields[1].Fields) {
		return nil, errors.New("it is not a row's change")
	}
	fields := theirs.Fields[0].Fields
	for _, s := range []*connectSchema{&theirs, &ours} {
		s.Fields[0].Fields, s.Fields[1].Fields = nil, nil
		connectEssence(s)
	}
	if !reflect.DeepEqual(theirs, ours) {
		return nil, errors.New("its envelope is not the one that is known")
	}
	columns := make([]table.Column, len(fields))
	for i := range fields {
		c, ok := connectColumn(&fields[i])
		if !ok {
			return nil, fmt.Errorf("the type of its column %s is not understood", fields[i].Field)
		}
		columns[i] = c
	}
	return columns, nil
}

// connectColumn is the column that a field stands for. Every type but string says its column's base type by itself.
func connectColumn(f *connectSchema) (table.Column, bool) {
	base := map[string]string{
		"boolean": "boolean", "int16": "smallint", "int32": "integer", "int64": "bigint", "float": "real", "double": "double precision", "bytes": "bytea",
		"string": f.Parameters[propBase],
	}[f.Type]
	c := table.Column{Name: f.Field, Type: base, Base: base, Mod: -1}
	if declared, ok := f.Parameters[propDeclared]; ok {
		c.Type = declared
	}
	if modifier, ok := f.Parameters[propModifier]; ok {
		n, err := strconv.ParseInt(modifier, 10, 32)
		if err != nil {
			return c, false
		}
		c.Mod = int32(n)
	}
	return c, base != "" && c.Name != "" && jsonKindOf(&c).connect() == f.Type
}
