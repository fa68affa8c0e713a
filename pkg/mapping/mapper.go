package mapping

import (
	"fmt"

	"segue/pkg/change"
	"segue/pkg/fault"
	"segue/pkg/table"
)

// Mapper maps changes for one goroutine. It takes the memory of rows and operations in pieces for many changes at
// a time; a piece lives as long as one of its rows does.
type Mapper struct {
	mapping *Mapping
	plans   map[*table.Table]*plan
	last    *plan
	values  []change.Value
	ops     []change.RowOp
	engine  engine
}

// How many values and operations are taken at once: pieces of about 32 KiB.
const (
	valuesPiece = 1000
	opsPiece    = 400
	maxPlans    = 10_000
)

// Mapper returns a new one.
func (m *Mapping) Mapper() *Mapper { return &Mapper{mapping: m, plans: map[*table.Table]*plan{}} }

// Map says what the change makes of the target's rows. Whatever out held is overwritten; its rows share the bytes of c's.
// An error of class poison is the fault of this change alone; where out then has a SourceKey, the change can be set aside by it.
func (m *Mapper) Map(c *change.Change, out *change.Mapped) error {
	p, err := m.plan(c)
	if err != nil {
		return err
	}
	err = m.apply(p, c, out)
	if err != nil && p.roams() {
		out.SourceKey = nil
	}
	return err
}

// Map is Mapper.Map for a single change, for any goroutine.
func (r *Rule) Map(c *change.Change, out *change.Mapped) error {
	m := r.take()
	defer r.scratch.Put(m)
	p, err := r.bound(c.Table)
	if err != nil {
		return err
	}
	return m.apply(p, c, out)
}

func (r *Rule) take() *Mapper {
	m, ok := r.scratch.Get().(*Mapper)
	if !ok {
		m = &Mapper{}
	}
	return m
}

func (r *Rule) bound(t *table.Table) (*plan, error) {
	if t == r.plan.table {
		return r.plan, nil
	}
	p, missing := r.plan.bind(t)
	if p == nil {
		return nil, fault.Fatal(fmt.Errorf("map %s: the source table has no column %s any more", t.Name, missing),
			"take the column out of segue.yaml, or bring it back on the source")
	}
	return p, nil
}

func (m *Mapper) plan(c *change.Change) (*plan, error) {
	if m.last != nil && m.last.table == c.Table {
		return m.last, nil
	}
	p, ok := m.plans[c.Table]
	if !ok {
		r := m.mapping.For(c.Table.Name)
		if r == nil {
			return nil, fmt.Errorf("map %s at %s: the mapping has no rule for this table", c.Table.Name, c.Pos)
		}
		var err error
		if p, err = r.bound(c.Table); err != nil {
			return nil, err
		}
		if len(m.plans) >= maxPlans {
			clear(m.plans) // shapes that were sent anew; those in use come back at once
		}
		m.plans[c.Table] = p
	}
	m.last = p
	return p, nil
}

// row takes n values, all absent.
func (m *Mapper) row(n int) change.Row {
	if len(m.values) < n {
		m.values = make([]change.Value, max(n, valuesPiece))
	}
	out := m.values[:n:n]
	m.values = m.values[n:]
	return out
}

// op takes one operation.
func (m *Mapper) op() []change.RowOp {
	if len(m.ops) == 0 {
		m.ops = make([]change.RowOp, opsPiece)
	}
	out := m.ops[:1:1]
	m.ops = m.ops[1:]
	return out
}
