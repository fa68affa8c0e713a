package pgsource

import (
	"fmt"

	"segue/pkg/change"
	"segue/pkg/table"
)

// relations knows, for each relation of the log, where its columns belong in the table's shape.
type relations struct {
	shapes map[uint32]*table.Table // as given, by OID
	known  map[uint32]*placed
	ignore map[uint32]bool
	types  map[uint32]string // names of types that are not built in
}

// placed is a relation as the log last described it, matched with its shape.
type placed struct {
	relation Relation
	table    *table.Table // nil: no shape was given
	place    []int        // the ordinal of each column of the log, -1 for one that the shape does not have
	straight bool         // the log's columns are exactly the shape's
	told     bool         // that there is no shape
}

func newRelations(shapes []*table.Table) *relations {
	r := &relations{
		shapes: make(map[uint32]*table.Table, len(shapes)), known: map[uint32]*placed{},
		ignore: map[uint32]bool{}, types: map[uint32]string{},
	}
	for _, t := range shapes {
		r.shapes[t.OID] = t
	}
	return r
}

// learn takes a relation message. It returns what differs from the shape, nil where nothing does or it was told before:
// the server repeats relations whenever its caches were flushed.
func (r *relations) learn(rel Relation) *SchemaChange {
	if old := r.known[rel.OID]; old != nil && sameColumns(&old.relation, &rel) {
		return nil
	}
	p := &placed{relation: rel, table: r.shapes[rel.OID]}
	r.known[rel.OID] = p
	if r.ignore[rel.OID] || p.table == nil {
		return nil // partitions are described too, although their rows come as their root's: only a row makes it matter
	}
	p.match()
	if texts := r.differences(p.table, &rel); len(texts) > 0 {
		return &SchemaChange{Table: p.table, Relation: rel, Differences: texts}
	}
	return nil
}

func (r *relations) unknown(rel *Relation) *SchemaChange {
	text := "the table was added to the publication after this stream was set up"
	for _, t := range r.shapes {
		if t.Name.Schema == rel.Schema && t.Name.Table == rel.Table {
			text = "the table was dropped and created again"
		}
	}
	return &SchemaChange{Relation: *rel, Differences: []string{text}}
}

func (p *placed) match() {
	p.place = make([]int, len(p.relation.Columns))
	p.straight = len(p.place) == len(p.table.Columns)
	for i, c := range p.relation.Columns {
		at := p.table.Column(c.Name)
		if at >= 0 && p.table.Columns[at].Generated && !p.table.IsKey(at) {
			at = -1 // a target computes its own, and older servers do not send it
		}
		p.place[i] = at
		p.straight = p.straight && at == i
	}
}

func sameColumns(a, b *Relation) bool {
	if a.Schema != b.Schema || a.Table != b.Table || a.Identity != b.Identity || len(a.Columns) != len(b.Columns) {
		return false
	}
	for i := range a.Columns {
		if a.Columns[i] != b.Columns[i] {
			return false
		}
	}
	return true
}

// find returns the relation of a row; nil without an error where its rows are to be left out.
func (r *relations) find(oid uint32) (*placed, error) {
	p := r.known[oid]
	switch {
	case r.ignore[oid]:
		return nil, nil //nolint:nilnil // nil is the answer: left out on purpose
	case p == nil:
		return nil, fmt.Errorf("row of relation %d, which the server has not described", oid)
	}
	return p, nil
}

func (p *placed) name() table.Name {
	return table.Name{Schema: p.relation.Schema, Table: p.relation.Table}
}

// row turns a tuple into a row of the table. keyOnly says that only the replica identity's columns are meant: the others were sent as
// NULL and are absent.
func (p *placed) row(d *Decoder, tuple change.Row, keyOnly bool) (change.Row, error) {
	if len(tuple) != len(p.relation.Columns) {
		return nil, fmt.Errorf("row of table %s has %d columns, its relation %d", p.name(), len(tuple), len(p.relation.Columns))
	}
	if p.straight && !keyOnly {
		return tuple, nil
	}
	row := tuple
	if !p.straight {
		row = d.newRow(len(p.table.Columns))
	}
	for i, v := range tuple {
		if keyOnly && !p.relation.Columns[i].Key {
			v = change.Absent()
		}
		if p.straight {
			row[i] = v
		} else if at := p.place[i]; at >= 0 {
			row[at] = v
		}
	}
	return row, nil
}
