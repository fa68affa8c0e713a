package reader

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"segue/pkg/change"
	"segue/pkg/chunk"
	"segue/pkg/frontier"
	"segue/pkg/pgsource"
	"segue/pkg/postgres"
	"segue/pkg/table"
)

// everyColumn is the shape of a table of which everything is taken.
func everyColumn(t *table.Table) string {
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "%d %v", t.OID, t.Key)
	for i := range t.Columns {
		if c := &t.Columns[i]; !c.Generated {
			_, _ = fmt.Fprintf(h, " %q %q %d", c.Name, c.Type, c.Number)
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// otherShapes takes back what was loaded under another shape of its table: rewrites and ADD COLUMN … DEFAULT send no rows, and a mapping that
// takes another column has not seen it. The table is read again from the start, while everything stays loaded.
func (p *parts) otherShapes(heaps []chunk.Heap) []frontier.Load {
	var out []frontier.Load
	p.resumed = p.resumed.Clone()
	for leaf, l := range p.resumed.Loads {
		i := slices.IndexFunc(p.tables, func(t *table.Table) bool { return t.Name == l.Table })
		at := slices.IndexFunc(heaps, func(h chunk.Heap) bool { return h.Leaf == leaf })
		if at < 0 {
			continue // nothing is left to read
		}
		if i < 0 || (!l.Complete && len(l.Done) == 0) || l.Shape == p.cfg.Shape(p.tables[i]) {
			continue
		}
		p.log.Info("a table, or what is taken of it, is not what it was when it was read: it is read again", "table", l.Table.String(), "heap", leaf.String())
		// A plan and nothing read: a void load would make a table of it that was added, whose foreign keys are taken off.
		void := frontier.Load{Table: l.Table, Leaf: l.Leaf, Filenode: heaps[at].Filenode, Blocks: heaps[at].Blocks}
		p.resumed.Loads[leaf] = void
		out = append(out, void)
	}
	return out
}

// asPlanned wants the tables to be those that the mapping was made for.
func asPlanned(planned, found []*table.Table, ignores func(table.Name, string) bool) error {
	for i, was := range planned {
		if i >= len(found) {
			break
		}
		if list := relevant(was.Name, table.Compare(was, found[i]), ignores); len(list) > 0 {
			return &SchemaError{Table: was.Name, Changes: list}
		}
	}
	return nil
}

// relevant leaves out what the user said to ignore: changes of columns that nothing takes.
func relevant(n table.Name, list []table.Difference, ignores func(table.Name, string) bool) []table.Difference {
	return slices.DeleteFunc(slices.Clone(list), func(d table.Difference) bool {
		switch d.Kind {
		case table.ColumnAdded:
			return ignores(n, d.Now)
		case table.ColumnDropped, table.ColumnRetyped, table.ColumnReplaced:
			return ignores(n, d.Column)
		case table.ColumnRenamed:
			return ignores(n, d.Column) && ignores(n, d.Now)
		case table.TableReplaced, table.TableRenamed, table.IdentityChanged:
		}
		return false
	})
}

// describe makes a shape of what the log says of a table.
func describe(ctx context.Context, q postgres.Querier, r *pgsource.Relation) (*table.Table, error) {
	t := &table.Table{OID: r.OID, Name: table.Name{Schema: r.Schema, Table: r.Table}, Identity: table.Identity(r.Identity)}
	for i, c := range r.Columns {
		t.Columns = append(t.Columns, table.Column{Name: c.Name, OID: c.OID, Mod: c.Mod})
		if c.Key {
			t.Key = append(t.Key, i)
		}
	}
	return t, postgres.NameTypes(ctx, q, t.Columns)
}

// schema stops at the frontier before the first row of another shape, or goes on by the rows' own one where the log is behind the table.
func (l *loop) schema(ctx context.Context, s *pgsource.SchemaChange) error {
	switch {
	case s.Table != nil && len(s.Differences) == 0:
		delete(l.stale, s.Table.OID)
		return nil
	case s.Table == nil && !l.desk.selected(s.Name()):
		l.log.Info("rows of a table that is not selected are left out", "table", s.Name().String())
		l.stream.Ignore(s.Relation.OID)
		return nil
	case s.Table == nil && l.former(s):
		l.log.Warn("rows of a former table of the same name are left out: it was dropped, the one that is there is read from the start", "table", s.Name().String())
		l.stream.Ignore(s.Relation.OID)
		return nil
	case s.Table != nil && l.tx.skip && l.tx.at.LSN >= l.opened:
		// Rows that count already may have any shape: behind a pause the slot can be older than the edit. The log does not
		// describe the relation again if the next row has the same shape, so this is remembered until one has the right one.
		if l.stale == nil {
			l.stale = map[uint32]*pgsource.SchemaChange{}
		}
		l.stale[s.Table.OID] = s
		return nil
	}
	return l.otherShape(ctx, s)
}

// otherShape goes on where the log is behind the table, and stops where the table is behind the log.
func (l *loop) otherShape(ctx context.Context, s *pgsource.SchemaChange) error {
	if s.Table == nil {
		return schemaError(s, l.tx.at)
	}
	is, err := l.describe(ctx, &s.Relation)
	if err != nil {
		return err
	}
	if l.tx.at.LSN < l.opened {
		return l.older(ctx, s, is)
	}
	changes := table.Compare(s.Table, is)
	if left := relevant(s.Table.Name, changes, l.ignores); len(left) > 0 || len(changes) == 0 {
		return &SchemaError{Table: s.Table.Name, At: l.tx.at, Changes: left, other: s.Differences}
	}
	l.log.Warn("a table has another shape in columns that nothing takes; going on by the old one", "table", s.Name().String(), "differences", fmt.Sprint(s.Differences))
	return nil
}

// older goes on with rows that were written before the table got its present shape: they reach the lanes as they were written, and who reads them
// makes of them what the present shape knows. Where that is not all that is taken of the table, it has to be read again.
func (l *loop) older(ctx context.Context, s *pgsource.SchemaChange, is *table.Table) error {
	was := s.Table
	if is.Name != was.Name {
		is.Name = was.Name // it was renamed: the lanes are the table's
	}
	flagged := is.Key
	if is.Identity == table.IdentityFull || is.Identity == table.IdentityNothing {
		flagged = nil
	}
	key := make([]int, len(was.Key))
	for i, k := range was.Key {
		key[i] = is.Column(was.Columns[k].Name)
	}
	projection, err := change.Project(is.Columns, was)
	if err != nil || (flagged != nil && !slices.Equal(slices.Sorted(slices.Values(flagged)), slices.Sorted(slices.Values(key)))) {
		return shapeBehind(s, l.tx.at, l.slot)
	}
	is.Key = key
	encoder, err := l.encode(ctx, is)
	if err != nil {
		return err
	}
	l.lanes.alias(is, was, encoder)
	l.stream.Follow(s.Relation.OID, is)
	missing := projection.Missing()
	for _, c := range missing {
		if l.uses(was.Name, c) {
			if l.lacking == nil {
				l.lacking = map[*table.Table]bool{}
			}
			l.lacking[is] = true
		}
	}
	l.log.Info("rows of an older shape of a table are on the way", "table", was.Name.String(), "position", l.tx.at.String(),
		"differences", fmt.Sprint(s.Differences), "missing", fmt.Sprint(missing))
	return nil
}

// readAgain takes the load of a table back, once, unless this life reads it from the start in any case.
func (l *loop) readAgain(n table.Name) {
	if slices.Contains(l.again, n) {
		return
	}
	begun := false
	var void []frontier.Load
	for _, load := range l.loads {
		if load.Table == n {
			begun = begun || load.Complete || len(load.Done) > 0
			void = append(void, frontier.Load{Table: n, Leaf: load.Leaf, Filenode: load.Filenode, Blocks: load.Blocks})
		}
	}
	if begun {
		l.again = append(l.again, n)
		l.voided = append(l.voided, void...)
	}
}
