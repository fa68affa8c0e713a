package wire

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"segue/pkg/change"
	"segue/pkg/fault"
	"segue/pkg/table"
)

// layout is how the rows of one shape of a table lie in a record.
type layout struct {
	kinds    []kind
	textSize int                // bytes of arena that a row's typed values may take
	project  *change.Projection // onto the codec's own shape; nil: it is the codec's
	harmless bool               // it differs only in what nothing takes
}

func layoutOf(columns []table.Column) layout {
	var l layout
	for i := range columns {
		k := kindOf(&columns[i])
		l.kinds = append(l.kinds, k)
		l.textSize += k.textSize()
	}
	return l
}

// present brings a change of the layout's shape to the codec's.
func (l *layout) present(a *Arena, c *change.Change) {
	for _, row := range []*change.Row{&c.Before, &c.After} {
		if *row != nil {
			now := a.row(len(c.Table.Columns))
			l.project.Row(now, *row)
			*row = now
		}
	}
	c.Older = !l.project.Whole()
}

// older keeps the layouts of other schema ids, so that the registry is asked once for each.
type older struct {
	mu    sync.RWMutex
	known map[uint32]known
}

type known struct {
	layout *layout
	err    error
}

// open returns a cursor on the body and the layout that the record was written by.
func (r *Raw) open(b []byte) (cursor, *layout, error) {
	if err := r.value.foreign(b); err != nil {
		return cursor{}, nil, err
	}
	if len(b) < FramingSize || b[0] != magicRegistry {
		return cursor{}, nil, fmt.Errorf("%s: not in Confluent's wire format", r.value.name)
	}
	l := &r.layout
	if id := binary.BigEndian.Uint32(b[1:]); id != r.value.id {
		var err error
		if l, err = r.writer(id); err != nil {
			return cursor{}, nil, err
		}
	}
	return cursor{b: b[FramingSize:], other: binary.BigEndian.Uint32(b[1:]) != r.value.id}, l, nil
}

// writer returns the layout of another schema id. A registry that cannot be reached is asked again at the next record.
func (r *Raw) writer(id uint32) (*layout, error) {
	r.older.mu.RLock()
	k, met := r.older.known[id]
	r.older.mu.RUnlock()
	if met {
		return k.layout, k.err
	}
	r.older.mu.Lock()
	defer r.older.mu.Unlock()
	if k, met = r.older.known[id]; met {
		return k.layout, k.err
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
	defer cancel()
	text, err := r.value.reg.Schema(ctx, int(id))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.value.name, err)
	}
	k.layout, k.err = r.read(id, text)
	if r.older.known == nil {
		r.older.known = map[uint32]known{}
	}
	r.older.known[id] = k
	return k.layout, k.err
}

// read compares another schema with the codec's own.
func (r *Raw) read(id uint32, text string) (*layout, error) {
	if sameSchema(text, r.value.text) {
		return &r.layout, nil
	}
	columns, err := columnsOf(text, r.value.text)
	if err != nil {
		return nil, fault.Fatal(fmt.Errorf("%s: schema %d: %w", r.value.name, id, err),
			"another program or another version of segue wrote this record: point SEGUE_REGISTRY_URL to the registry of its writer, or read it with the version that wrote it")
	}
	l := layoutOf(columns)
	if l.project, err = change.Project(columns, r.table); err != nil {
		return nil, fault.Fatal(fmt.Errorf("%s: written with schema %d: %w", r.value.name, id, err),
			"the table's key was changed after these records were written, and they were not applied before: read all tables again as a new history: segue run reader --new-history (or run all)")
	}
	l.harmless = r.differsInUnused(columns, l.project)
	return &l, nil
}

// differsInUnused says whether nothing takes what the other shape has more or less.
func (r *Raw) differsInUnused(columns []table.Column, p *change.Projection) bool {
	if r.unused == nil {
		return false
	}
	for i := range columns {
		if name := columns[i].Name; r.table.Column(name) < 0 && !r.unused(r.table.Name, name) {
			return false
		}
	}
	for _, name := range p.Missing() {
		if !r.unused(r.table.Name, name) {
			return false
		}
	}
	return true
}

// newer refuses a record that may know columns which this process has never heard of.
func (r *Raw) newer(c *change.Change) error {
	at := c.Pos
	*c = change.Change{}
	return fault.Fatal(fmt.Errorf("%s: the change at %s has another shape than %s had when this process read the catalog: the table was changed since then", r.value.name, at, r.table.Name),
		"no data is at risk: start this process again, it then goes on by the table's present shape")
}

// columnsOf reads the columns out of a value's schema that differs from the own one in nothing else.
func columnsOf(text, own string) ([]table.Column, error) {
	columns, rest, err := dissect(text)
	if err != nil {
		return nil, err
	}
	if _, ours, err := dissect(own); err != nil || !sameSchema(rest, ours) {
		return nil, errors.New("its envelope is not the one that is known")
	}
	return columns, nil
}

// dissect parts a value's schema into the row's columns and all the rest.
func dissect(text string) ([]table.Column, string, error) {
	var envelope struct {
		Fields []struct {
			Name string          `json:"name"`
			Type json.RawMessage `json:"type"`
		} `json:"fields"`
	}
	notOurs := errors.New("it is not a row's change")
	if json.Unmarshal([]byte(text), &envelope) != nil || len(envelope.Fields) == 0 || envelope.Fields[0].Name != "before" {
		return nil, "", notOurs
	}
	var before []json.RawMessage
	var row struct {
		Fields []field `json:"fields"`
	}
	if json.Unmarshal(envelope.Fields[0].Type, &before) != nil || len(before) != 2 || json.Unmarshal(before[1], &row) != nil {
		return nil, "", notOurs
	}
	columns := make([]table.Column, len(row.Fields))
	for i, f := range row.Fields {
		columns[i] = table.Column{Name: f.Column, Type: f.Declared, Base: f.Base, Mod: f.Modifier}
		branches, ok := f.Type.([]any)
		if !ok || len(branches) != 2 || branches[0] != "null" || branches[1] != kindOf(&columns[i]).avro() || f.Column == "" {
			return nil, "", fmt.Errorf("the type of its column %s is not understood", f.Name)
		}
	}
	rest, err := json.Marshal(envelope.Fields[1:])
	return columns, string(rest), err
}
