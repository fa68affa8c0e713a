package mapping

import (
	"sync"

	"segue/pkg/change"
	"segue/pkg/table"
)

// Rule says what becomes of the rows of one source table.
type Rule struct {
	index  int
	source *table.Table
	target *change.Target
	plan   *plan // bound to source
	loose  bool  // changes of columns that it does not use stop nothing
	// scratch holds *Mapper for Map and Expected, which any goroutine may call.
	scratch sync.Pool
}

// Index is the rule's number: change.RowOp.Target.
func (r *Rule) Index() int { return r.index }

// Source is the source table's shape that the rule was compiled for.
func (r *Rule) Source() *table.Table { return r.source }

// Target is what the rule writes.
func (r *Rule) Target() *change.Target { return r.target }

// Column says where one column of the target row comes from.
type Column struct {
	Target int // ordinal in Target().Table.Columns
	// Source is the ordinal in Source().Columns of the column that is copied, -1 where an expression or a constant
	// makes the value.
	Source int
	// SameType says that a copied column has the same declared type on both sides, so that both texts are equal
	// exactly if the values are.
	SameType bool
}

// Columns tells of each column of the target row, in the order of Target().Columns.
func (r *Rule) Columns() []Column {
	out := make([]Column, len(r.plan.columns))
	for i, c := range r.plan.columns {
		out[i] = Column{Target: r.target.Columns[i], Source: c.copyOf()}
		if out[i].Source >= 0 {
			out[i].SameType = r.source.Columns[c.source].Type == r.target.Table.Columns[out[i].Target].Type
		}
	}
	return out
}

// Pure says that the rule takes every row and only copies or renames columns.
func (r *Rule) Pure() bool {
	for i := range r.plan.columns {
		if r.plan.columns[i].kind != isCopy {
			return false
		}
	}
	return r.plan.where == nil
}

// Filtered says that the rule leaves rows out.
func (r *Rule) Filtered() bool { return r.plan.where != nil }

// plan is a rule bound to one shape of its source table.
type plan struct {
	rule    *Rule
	table   *table.Table
	columns []columnPlan // in the order of Target.Columns
	where   *expression
	// whereInputs, like columnPlan.inputs, are ordinals in table of what the expression reads, in its order.
	whereInputs []int
	key         []int // ordinals of the source key
}

type columnKind byte

const (
	isCopy columnKind = iota
	isConstant
	isExpression
)

type columnPlan struct {
	kind       columnKind
	source     int // of a copy
	value      change.Value
	expression *expression
	inputs     []int
}

func (c *columnPlan) copyOf() int {
	if c.kind != isCopy {
		return -1
	}
	return c.source
}

// reads calls f with each source ordinal that the column is made of.
func (c *columnPlan) reads() []int {
	if c.kind == isCopy {
		return []int{c.source}
	}
	return c.inputs
}

// bind returns the plan for another shape of the same table (columns were added or moved), nil and the name of a column that
// is missing there.
func (p *plan) bind(t *table.Table) (*plan, string) {
	if sameColumns(p.table, t) {
		return p.shifted(t, func(i int) int { return i }), ""
	}
	missing := ""
	at := func(i int) int {
		j := t.Column(p.table.Columns[i].Name)
		if j < 0 {
			missing = p.table.Columns[i].Name
		}
		return j
	}
	out := p.shifted(t, at)
	if missing != "" {
		return nil, missing
	}
	return out, ""
}

func sameColumns(a, b *table.Table) bool {
	if len(a.Columns) != len(b.Columns) {
		return false
	}
	for i := range a.Columns {
		if a.Columns[i].Name != b.Columns[i].Name {
			return false
		}
	}
	return true
}

func (p *plan) shifted(t *table.Table, at func(int) int) *plan {
	out := &plan{rule: p.rule, table: t, where: p.where, whereInputs: all(p.whereInputs, at), key: all(p.key, at)}
	out.columns = make([]columnPlan, len(p.columns))
	for i, c := range p.columns {
		if c.kind == isCopy {
			c.source = at(c.source)
		}
		c.inputs = all(c.inputs, at)
		out.columns[i] = c
	}
	return out
}

func all(ordinals []int, at func(int) int) []int {
	out := make([]int, len(ordinals))
	for i, o := range ordinals {
		out[i] = at(o)
	}
	return out
}
