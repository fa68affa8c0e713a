package mapping

import (
	"fmt"

	"segue/pkg/change"
	"segue/pkg/fault"
)

// verdict is what a filter says.
type verdict byte

const (
	passes verdict = iota
	refuses
	undecided // the filter reads a column that is absent
)

func (m *Mapper) apply(p *plan, c *change.Change, out *change.Mapped) error {
	*out = change.Mapped{Pos: c.Pos, Tx: c.Tx, Source: c.Table.Name, SourceOp: c.Op}
	if c.Op == change.Truncate {
		out.Ops = m.op()
		out.Ops[0] = change.RowOp{Target: p.rule.index, Op: change.Truncate, Cascade: c.Cascade, RestartIdentity: c.RestartIdentity}
		return nil
	}
	if err := p.wellFormed(c); err != nil {
		return err
	}
	if p.rule.target.Keyless {
		return m.applyKeyless(p, c, out)
	}
	row := c.After
	if c.Op == change.Delete {
		row = c.Before
	} else if c.Before != nil {
		row = m.complete(row, c.Before)
	}
	if out.SourceKey = m.pick(row, p.key); !out.SourceKey.Whole() {
		out.SourceKey = nil // nothing identifies the row: the change cannot be set aside
		return p.poison(c, -1, errKeyAbsent)
	}
	if c.Op == change.Update && c.Before != nil && p.moved(c.Before, row) {
		if out.OldKey = m.pick(c.Before, p.key); !out.OldKey.Whole() {
			out.SourceKey = nil
			return p.poison(c, -1, errKeyAbsent)
		}
	}
	if c.Fault != nil {
		if p.roams() {
			return fault.Fatal(fmt.Errorf("map %s at %s: %s, and the row cannot be set aside: its key in %s is made of columns beyond its own key",
				c.Table.Name, c.Pos, c.Fault.Text, p.rule.target.Table.Name),
				"nothing at or behind this position was applied: raise max.message.bytes of the table's topics, then resync the table")
		}
		out.Fault = c.Fault
		return nil
	}
	if c.Op == change.Delete {
		return m.remove(p, c, row, out)
	}
	return m.write(p, c, row, out)
}

// roams is what change.Target.Roams says.
func (p *plan) roams() bool {
	for _, k := range p.rule.target.Key {
		for _, o := range p.columns[k].reads() {
			if !p.table.IsKey(o) {
				return true
			}
		}
	}
	return false
}

// Roams says that rows of the rule cannot be set aside by their source key: the target key is made of other columns too.
func (r *Rule) Roams() bool { return r.plan.roams() }

// wellFormed refuses a change whose rows do not fit its table: the indexing below trusts them.
func (p *plan) wellFormed(c *change.Change) error {
	n := len(c.Table.Columns)
	after := c.Op != change.Delete
	if (after && len(c.After) != n) || (!after && len(c.Before) != n) || (c.Before != nil && len(c.Before) != n) {
		return fmt.Errorf("map %s at %s: a %s whose row does not have the table's %d columns", c.Table.Name, c.Pos, c.Op, n)
	}
	return nil
}

// complete fills what the new row left out (unchanged, stored elsewhere) from the old one, as far as that has it.
func (m *Mapper) complete(after, before change.Row) change.Row {
	for i := range after {
		if after[i].IsAbsent() && !before[i].IsAbsent() {
			out := m.row(len(after))
			copy(out, after)
			for ; i < len(out); i++ {
				if out[i].IsAbsent() {
					out[i] = before[i]
				}
			}
			return out
		}
	}
	return after
}

func (m *Mapper) pick(row change.Row, ordinals []int) change.Row {
	out := m.row(len(ordinals))
	for i, o := range ordinals {
		out[i] = row[o]
	}
	return out
}

// remove deletes the target row that belongs to a source row.
func (m *Mapper) remove(p *plan, c *change.Change, row change.Row, out *change.Mapped) error {
	key, err := m.key(p, c, row)
	if err != nil {
		return err
	}
	out.Ops = m.op()
	out.Ops[0] = change.RowOp{Target: p.rule.index, Op: change.Delete, Key: key}
	return nil
}

// write maps an insert, a read or an update; row is the new row as far as it is known.
func (m *Mapper) write(p *plan, c *change.Change, row change.Row, out *change.Mapped) error {
	old := row
	if c.Op == change.Update && c.Before != nil {
		old = c.Before
	}
	v, err := m.filter(p, c, row)
	if err != nil {
		return err
	}
	switch v {
	case refuses:
		return m.remove(p, c, old, out)
	case undecided:
		return m.ask(p, c, row, out)
	case passes:
	}
	mapped, want, err := m.columns(p, c, row)
	if err != nil {
		return err
	}
	op := change.RowOp{Target: p.rule.index, Op: c.Op, Row: mapped}
	if err := p.checkKey(c, mapped); err != nil {
		return err
	}
	if c.Older {
		// The table is read again behind it: nothing is asked for but what the target could not even take meanwhile.
		want = c.Op != change.Update && p.rule.refuses(mapped)
		if want {
			op.Op = change.Update
		}
	}
	if c.Op == change.Update && c.Before != nil {
		if op.Key, err = m.movedKey(p, c, mapped); err != nil {
			return err
		}
		// The old key may have been asked for and not have come yet; nothing will come for it now. What it would have
		// mended is asked for by the new key.
		want = want || (p.moved(c.Before, row) && !mapped.Whole() && !c.Older)
	}
	if want {
		out.Want = out.SourceKey
	}
	out.Ops = m.op()
	out.Ops[0] = op
	return nil
}

// refuses says whether the target cannot take the row without the columns that are absent.
func (r *Rule) refuses(mapped change.Row) bool {
	for i, v := range mapped {
		if col := &r.target.Table.Columns[r.target.Columns[i]]; v.IsAbsent() && col.NotNull && !col.Default {
			return true
		}
	}
	return false
}

// ask requests the row because the filter cannot be decided, unless its table is read again in any case. Where the row moved to
// another target key, the old one goes now: nothing that comes later would name it.
func (m *Mapper) ask(p *plan, c *change.Change, row change.Row, out *change.Mapped) error {
	if !c.Older {
		out.Want = out.SourceKey
	}
	if c.Op != change.Update || c.Before == nil {
		return nil
	}
	if p.moved(c.Before, row) {
		return m.remove(p, c, c.Before, out)
	}
	return nil
}

// moved says whether an update changed the source key.
func (p *plan) moved(before, row change.Row) bool {
	for _, k := range p.key {
		if !before[k].Equal(row[k]) {
			return true
		}
	}
	return false
}

// movedKey is the target key before the update where the update changed it, else nil.
func (m *Mapper) movedKey(p *plan, c *change.Change, mapped change.Row) (change.Row, error) {
	key, err := m.key(p, c, c.Before)
	if err != nil {
		return nil, err
	}
	for i, k := range p.rule.target.Key {
		if !key[i].Equal(mapped[k]) {
			return key, nil
		}
	}
	return nil, nil
}

// key computes the target key alone: of an old row, only the source's key may be known.
func (m *Mapper) key(p *plan, c *change.Change, row change.Row) (change.Row, error) {
	out := m.row(len(p.rule.target.Key))
	for i, k := range p.rule.target.Key {
		v, _, err := m.value(p, row, k)
		if err == nil && v.IsAbsent() {
			err = errKeyAbsent
		}
		if err == nil && v.IsNull() {
			err = errKeyNull
		}
		if err != nil {
			return nil, p.poison(c, k, err)
		}
		out[i] = v
	}
	return out, nil
}

func (p *plan) checkKey(c *change.Change, mapped change.Row) error {
	for _, k := range p.rule.target.Key {
		switch {
		case mapped[k].IsAbsent():
			return p.poison(c, k, errKeyAbsent)
		case mapped[k].IsNull():
			return p.poison(c, k, errKeyNull)
		}
	}
	return nil
}

const (
	errKeyAbsent = reason("the source did not send the key")
	errKeyNull   = reason("the target key is null")
)

// reason is an error whose text holds no row value.
type reason string

func (r reason) Error() string { return string(r) }

// poison names the change and the target column, never a value. Column -1: the row as a whole.
func (p *plan) poison(c *change.Change, column int, err error) error {
	where := p.rule.target.Table.Name.String()
	if column >= 0 {
		where += "." + p.rule.target.Table.Columns[p.rule.target.Columns[column]].Name
	}
	return fault.Poison(fmt.Errorf("map %s to %s at %s: %w", c.Table.Name, where, c.Pos, err))
}
