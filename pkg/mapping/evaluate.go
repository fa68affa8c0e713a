package mapping

import (
	"github.com/expr-lang/expr/vm"

	"segue/pkg/change"
)

// engine runs expressions for one goroutine; machine and environment are used again for each.
type engine struct {
	machine vm.VM
	env     map[string]any
}

// columns maps every column of a row. want: some inputs of a column are absent and some are not, so the column is left
// absent and the whole row is needed.
func (m *Mapper) columns(p *plan, c *change.Change, row change.Row) (mapped change.Row, want bool, err error) {
	mapped = m.row(len(p.columns))
	for i := range p.columns {
		col := &p.columns[i]
		if col.kind == isCopy {
			mapped[i] = row[col.source]
			continue
		}
		v, torn, err := m.value(p, row, i)
		if err != nil {
			return nil, false, p.poison(c, i, err)
		}
		mapped[i] = v
		want = want || torn
	}
	return mapped, want, nil
}

// value maps one column. torn: it is absent because some, not all, of its inputs are.
func (m *Mapper) value(p *plan, row change.Row, i int) (v change.Value, torn bool, err error) {
	col := &p.columns[i]
	switch col.kind {
	case isCopy:
		return row[col.source], false, nil
	case isConstant:
		return col.value, false, nil
	case isExpression:
	}
	if n := absentOf(row, col.inputs); n > 0 {
		return change.Absent(), n < len(col.inputs), nil
	}
	result, err := m.engine.run(col.expression, row, col.inputs)
	if err != nil {
		return change.Absent(), false, err
	}
	v, err = textOf(result, col.expression.boolean)
	return v, false, err
}

func absentOf(row change.Row, inputs []int) int {
	n := 0
	for _, i := range inputs {
		if row[i].IsAbsent() {
			n++
		}
	}
	return n
}

// filter decides whether the row belongs on the target.
func (m *Mapper) filter(p *plan, c *change.Change, row change.Row) (verdict, error) {
	if p.where == nil {
		return passes, nil
	}
	if absentOf(row, p.whereInputs) > 0 {
		return undecided, nil
	}
	result, err := m.engine.run(p.where, row, p.whereInputs)
	if err == nil {
		switch result {
		case true:
			return passes, nil
		case false, nil:
			return refuses, nil
		}
		err = reason("where gives neither true nor false")
	}
	return undecided, p.poison(c, -1, err)
}

// run evaluates an expression over a row that has all of its inputs.
func (e *engine) run(x *expression, row change.Row, inputs []int) (any, error) {
	if e.env == nil {
		e.env = map[string]any{}
	}
	for i, in := range x.inputs {
		v, err := in.kind.decode(row[inputs[i]])
		if err != nil {
			return nil, err
		}
		e.env[in.name] = v
	}
	result, err := e.machine.Run(x.program, e.env)
	if err != nil {
		return nil, safeReason(err)
	}
	return result, nil
}

// Expected is what the target must hold for a whole source row: its row, in the order of Target().Columns, or nothing
// where the filter leaves it out. The row is in the order of Source().Columns.
func (r *Rule) Expected(row change.Row) (mapped change.Row, ok bool, err error) {
	m := r.take()
	defer r.scratch.Put(m)
	c := &change.Change{Table: r.source, Op: change.Read, After: row}
	if err := r.plan.wellFormed(c); err != nil {
		return nil, false, err
	}
	v, err := m.filter(r.plan, c, row)
	if err != nil || v != passes {
		return nil, false, err
	}
	mapped, _, err = m.columns(r.plan, c, row)
	if err != nil {
		return nil, false, err
	}
	if r.target.Keyless {
		return mapped, true, nil
	}
	return mapped, true, r.plan.checkKey(c, mapped)
}

// Key returns a mapped row's target key, in key order.
func (r *Rule) Key(mapped change.Row) change.Row {
	out := make(change.Row, len(r.target.Key))
	for i, k := range r.target.Key {
		out[i] = mapped[k]
	}
	return out
}
