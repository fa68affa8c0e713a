package pgtarget

import (
	"context"

	"segue/pkg/change"
	"segue/pkg/fault"
	"segue/pkg/postgres"
	"segue/pkg/table"
)

// fallBack applies a plan again that failed set-wise, inside the same transaction: by halves, and in the end change by
// change. It returns the changes whose row was not found. Other errors than those of rows are returned as they are.
func (t *Target) fallBack(ctx context.Context, p *Plan, cause error) ([]int32, error) {
	if !dataError(cause) {
		return nil, cause
	}
	if t.conn.PgConn().TxStatus() == 'I' { // a COMMIT that failed has ended the transaction
		return nil, fault.Fatal(step("commit", cause), "a check at COMMIT that segue cannot make earlier refuses the rows")
	}
	if err := t.exec(ctx, rollbackSQL, deferredSQL); err != nil {
		return nil, err
	}
	t.stats.Halvings++
	h := &halving{t: t, ctx: ctx, all: p.changes}
	if p.copies { // a row was there already: without COPY it may do
		if err := h.part(0, len(p.changes), p.last.Boundary); err != nil {
			return nil, err
		}
		return h.missing, nil
	}
	if err := h.smaller(0, len(p.changes), p.last.Boundary); err != nil {
		return nil, err
	}
	return h.missing, nil
}

// halving works on parts of a plan's changes. Each is a savepoint of its own: what has passed stays.
type halving struct {
	t       *Target
	ctx     context.Context //nolint:containedctx // lives for one call
	all     []*change.Mapped
	missing []int32
}

// part tries changes [from, to) set-wise. ends says that they end at a source transaction's boundary.
func (h *halving) part(from, to int, ends bool) error {
	f := h.t.halver
	f.buf = nil
	segments, err := f.run(h.all[from:to])
	if err != nil {
		return err
	}
	if err := h.t.exec(h.ctx, savepointSQL); err != nil {
		return err
	}
	r := &runner{t: h.t, ctx: h.ctx, changes: h.all[from:to]}
	err = r.run(segments)
	if err == nil && ends {
		err = h.t.exec(h.ctx, immediateSQL, deferredSQL)
	}
	if err == nil {
		h.found(r.missing, from)
		return h.t.exec(h.ctx, releaseSQL)
	}
	if !dataError(err) {
		return err
	}
	h.t.stats.Halvings++
	if err := h.t.exec(h.ctx, rollbackSQL, releaseSQL, deferredSQL); err != nil {
		return err
	}
	return h.smaller(from, to, ends)
}

func (h *halving) found(missing []int32, from int) {
	for _, m := range missing {
		h.missing = append(h.missing, m+int32(from))
	}
}

// serialChanges is up to how many changes a part of one source transaction goes change by change.
const serialChanges = 16

// smaller halves changes [from, to) at a source transaction's boundary, a large single one inside it: only its end is where
// constraints have to hold. What is small enough goes change by change.
func (h *halving) smaller(from, to int, ends bool) error {
	starts := commitGroups(h.all[from:to])
	middle, boundary := from, len(starts) > 1
	switch {
	case boundary:
		middle += starts[len(starts)/2]
	case to-from > serialChanges:
		middle = h.cut(from, to)
	}
	if middle == from {
		return h.serial(from, to, ends)
	}
	if err := h.part(from, middle, boundary); err != nil {
		return err
	}
	return h.part(middle, to, ends)
}

// cut finds a place near the middle of one source transaction that does not part what may be one statement. Where there
// is none, it is from.
func (h *halving) cut(from, to int) int {
	for i := from + (to-from)/2; i < to; i++ {
		if !h.together(h.all[i-1], h.all[i]) {
			return i
		}
	}
	for i := from + (to-from)/2; i > from; i-- {
		if !h.together(h.all[i-1], h.all[i]) {
			return i
		}
	}
	return from
}

// together says that two changes may come from one statement that only works as a whole.
func (h *halving) together(a, b *change.Mapped) bool {
	return (a.SourceOp == change.Truncate && b.SourceOp == change.Truncate) ||
		(h.keyChange(a) && h.keyChange(b) && a.Ops[0].Target == b.Ops[0].Target)
}

// serial applies changes [from, to) of one source transaction one by one, in source order. What fails here is what the
// target refuses.
func (h *halving) serial(from, to int, ends bool) error {
	for i := from; i < to; {
		n, err := h.one(i, to)
		if err != nil {
			return err
		}
		i += n
	}
	if !ends || from == to {
		return nil
	}
	if err := h.t.exec(h.ctx, immediateSQL, deferredSQL); err != nil {
		if dataError(err) {
			last := h.all[to-1]
			return refused(table.Name{}, last.Source, last.Pos, postgres.Safe(err))
		}
		return err
	}
	return nil
}

// one applies the change at i, with those behind it that belong to the same statement, and returns how many they were.
func (h *halving) one(i, to int) (int, error) {
	n := 1
	for h.all[i].SourceOp == change.Truncate && i+n < to && h.all[i+n].SourceOp == change.Truncate {
		n++
	}
	moves := h.keyChange(h.all[i])
	if moves {
		if err := h.t.exec(h.ctx, savepointSQL); err != nil {
			return 0, err
		}
	}
	failed, err := h.statements(i, i+n, func(f *folder) { f.single = true })
	if postgres.SQLState(err) == codeUnique && moves {
		if rerr := h.t.exec(h.ctx, rollbackSQL); rerr != nil {
			return 0, rerr
		}
		n = h.keyChanges(h.all[i:to])
		_, merr := h.statements(i, i+n, func(f *folder) { f.moveAll = true })
		if merr == nil || !dataError(merr) {
			err = merr
		}
	}
	if err != nil {
		if dataError(err) || fault.ClassOf(postgres.Safe(err)) == fault.ClassFatal && serverError(err) {
			return 0, refused(failed, h.all[i].Source, h.all[i].Pos, postgres.Safe(err))
		}
		return 0, err
	}
	if !moves {
		return n, nil
	}
	return n, h.t.exec(h.ctx, releaseSQL)
}

// statements applies changes [from, to) in the way that set chooses. It returns the table of the statement that failed.
func (h *halving) statements(from, to int, set func(f *folder)) (table.Name, error) {
	f := h.t.halver
	set(f)
	defer func() { f.single, f.moveAll = false, false }()
	f.buf = nil
	segments, err := f.run(h.all[from:to])
	if err != nil {
		return table.Name{}, err
	}
	r := &runner{t: h.t, ctx: h.ctx, changes: h.all[from:to]}
	if err := r.run(segments); err != nil {
		return r.table(), err
	}
	h.found(r.missing, from)
	return table.Name{}, nil
}

// keyChange says whether the change does nothing but give one row another key.
func (h *halving) keyChange(m *change.Mapped) bool {
	return len(m.Ops) == 1 && m.Ops[0].Op == change.Update && m.Ops[0].Key != nil && !h.t.targets[m.Ops[0].Target].Keyless
}

// keyChanges is how many changes from the first on are key changes of one target table: where keys trade places in one
// statement of the source, they can only be applied together.
func (h *halving) keyChanges(changes []*change.Mapped) int {
	n := 1
	for n < len(changes) && h.keyChange(changes[n]) && changes[n].Ops[0].Target == changes[0].Ops[0].Target {
		n++
	}
	return n
}
