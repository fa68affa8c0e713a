package pgsource

import (
	"fmt"

	"segue/pkg/change"
	"segue/pkg/fault"
	"segue/pkg/table"
)

// relations knows, for each relation of the log, where its columns belong in the table's shape.
type relations struct {
	shapes map[uint32]*table.Table // as given, by OID
	known  map[uint32]*placed
	ignore map[uint32]bool
	types  map[uint32]string // names of types that are not built in
	last   uint32            // the relation that was described last
}

// placed is a relation as the log last described it, matched with its shape.
type placed struct {
	relation Relation
	table    *table.Table // nil: no shape was given
	place    []int        // the ordinal of each column of the log, -1 for one that the shape does not have
	straight bool         // the log's columns are exactly the shape's
	told     bool         // that there is no shape
	differs  bool         // from the shape
	// logged says for each column of the log whether it belongs to the replica identity, keyed whether to the shape's key.
	logged, keyed []bool
	// weak says that a partition has a weaker replica identity than its root, which is full: what is called an old row then holds
	// the key's columns, and NULL elsewhere.
	weak bool
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
	r.noteWeak(&rel)
	old := r.known[rel.OID]
	if old != nil && sameColumns(&old.relation, &rel) {
		return nil
	}
	p := &placed{relation: rel, table: r.shapes[rel.OID], weak: old != nil && old.weak}
	r.known[rel.OID] = p
	if r.ignore[rel.OID] || p.table == nil {
		return nil // partitions are described too, although their rows come as their root's: only a row makes it matter
	}
	p.match()
	texts := r.differences(p.table, &rel)
	p.differs = len(texts) > 0
	if p.differs || (old != nil && old.differs) {
		return &SchemaChange{Table: p.table, Relation: rel, Differences: texts}
	}
	return nil
}

// noteWeak looks at a partition, which the server describes right behind its root. A relation that only looks like one costs
// some old values, which are then absent.
func (r *relations) noteWeak(rel *Relation) {
	root := r.known[r.last]
	r.last = rel.OID
	if root == nil || root.table == nil || !root.table.Partitioned || root.relation.OID == rel.OID || r.shapes[rel.OID] != nil {
		return
	}
	if table.Identity(root.relation.Identity) == table.IdentityFull && table.Identity(rel.Identity) != table.IdentityFull {
		root.weak = true
	}
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

// follow takes another shape for a relation, whose columns are the log's: its rows come as they were written.
func (r *relations) follow(oid uint32, t *table.Table) {
	if p := r.known[oid]; p != nil {
		p.table = t
		p.match()
	}
}

func (p *placed) match() {
	p.place = make([]int, len(p.relation.Columns))
	p.logged, p.keyed = make([]bool, len(p.place)), make([]bool, len(p.place))
	p.straight = len(p.place) == len(p.table.Columns)
	for i, c := range p.relation.Columns {
		at := p.table.Column(c.Name)
		if at >= 0 && p.table.Columns[at].Generated && !p.table.IsKey(at) {
			at = -1 // a target computes its own, and older servers do not send it
		}
		p.place[i] = at
		p.logged[i], p.keyed[i] = c.Key, at >= 0 && p.table.IsKey(at)
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

// old turns an old tuple into a row. What is there only in name is absent.
func (p *placed) old(d *Decoder, r *Row) (change.Row, error) {
	switch {
	case r.OldKind == 'K':
		return p.row(d, r.Old, p.logged)
	case !p.weak:
		return p.row(d, r.Old, nil)
	case len(p.table.Key) == 0:
		return nil, fault.Fatal(fmt.Errorf("table %s has replica identity full and no key, and a partition of it has another replica identity: its old rows are not known", p.name()),
			"run ALTER TABLE … REPLICA IDENTITY FULL for each of its partitions, then compare it: segue reconcile")
	}
	return p.row(d, r.Old, p.keyed)
}

// row turns a tuple into a row of the table. Of the log's columns only those are taken that keep names; nil: all.
func (p *placed) row(d *Decoder, tuple change.Row, keep []bool) (change.Row, error) {
	if len(tuple) != len(p.relation.Columns) {
		return nil, fmt.Errorf("row of table %s has %d columns, its relation %d", p.name(), len(tuple), len(p.relation.Columns))
	}
	for i := range keep {
		if !keep[i] {
			tuple[i] = change.Absent()
		}
	}
	if p.straight {
		return tuple, nil
	}
	row := d.newRow(len(p.table.Columns))
	for i, at := range p.place {
		if at >= 0 {
			row[at] = tuple[i]
		}
	}
	return row, nil
}
