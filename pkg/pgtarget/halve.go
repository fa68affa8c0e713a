package pgtarget

import (
	"context"

	"segue/pkg/change"
	"segue/pkg/fault"
	"segue/pkg/postgres"
)

// fallBack applies a plan again that failed set-wise, inside the same transaction: by halves at the boundaries of source transactions, and what
// still fails change by change. A change that the target refuses is parked then; the others go on. It returns the changes whose row was not
// found, by their places in p.changes.
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
	if err := t.noteCascades(ctx); err != nil {
		return nil, err
	}
	t.stats.Halvings++
	t.wary = waryPlans
	t.tx.parking.rewind(0)
	p.counters = p.base
	h := &halving{t: t, ctx: ctx, plan: p, all: p.all, refused: map[int]refusal{}}
	again := h.smaller
	ended := p.ended()
	if p.copies || ended < len(p.all) { // a row was there already: without COPY it may do; or what goes on in the next plan does not hold yet
		again = func(from, to int, ends bool) error { return h.part(from, to, ends, h.smaller) }
	}
	if err := again(0, ended, true); err != nil {
		return nil, err
	}
	if err := again(ended, len(p.all), false); err != nil {
		return nil, err
	}
	p.changes = h.kept
	return h.missing, nil
}

// halving works on parts of a plan's changes. Each is a savepoint of its own: what has passed stays, and what is taken back takes what it
// parked back with it.
type halving struct {
	t       *Target
	ctx     context.Context //nolint:containedctx // lives for one call
	plan    *Plan
	all     []*change.Mapped
	refused map[int]refusal  // by place in all
	kept    []*change.Mapped // what was applied
	missing []int32          // places in kept

	applied map[change.Position]bool // of the source transaction whose end does not hold
}

// form is how changes become statements.
type form func(f *folder)

func folded(*folder)      {}
func oneByOne(f *folder)  { f.single = true }
func together(f *folder)  { f.moveAll = true }
func replacing(f *folder) { f.replace = true }

// state is what a part that is taken back leaves as it was.
type state struct{ mark, kept, missing int }

func (h *halving) begin() (state, error) {
	return state{h.t.tx.parking.mark(), len(h.kept), len(h.missing)}, h.t.exec(h.ctx, savepointSQL)
}

func (h *halving) back(s state) error {
	h.t.tx.parking.rewind(s.mark)
	h.kept, h.missing = h.kept[:s.kept], h.missing[:s.missing]
	return h.t.exec(h.ctx, rollbackSQL, releaseSQL, deferredSQL)
}

func (h *halving) release() error { return h.t.exec(h.ctx, releaseSQL) }

// apply applies changes [from, to) in a form, less what is parked.
func (h *halving) apply(from, to int, as form) error {
	changes, _, err := h.t.siftPart(h.plan, from, to, h.refused)
	if err != nil {
		return err
	}
	f := h.t.halver
	as(f)
	defer func() { f.single, f.moveAll, f.replace = false, false, false }()
	f.buf = nil
	segments, err := f.run(changes)
	if err != nil {
		return err
	}
	r := &runner{t: h.t, ctx: h.ctx, changes: changes}
	if err := r.run(segments); err != nil {
		if r.failed != nil && !dataError(err) && serverError(err) { // not of the rows: a table that changed, a lock
			return step(r.table().String(), err)
		}
		return err
	}
	for _, m := range r.missing {
		h.missing = append(h.missing, m+int32(len(h.kept)))
	}
	h.kept = append(h.kept, changes...)
	return nil
}

// attempt is apply in a savepoint of its own. Where the rows are at fault it is taken back, and refused says with what.
func (h *halving) attempt(from, to int, as form, ends bool) (refused, err error) {
	s, err := h.begin()
	if err != nil {
		return nil, err
	}
	err = h.apply(from, to, as)
	if err == nil && ends {
		err = h.t.exec(h.ctx, immediateSQL, deferredSQL)
	}
	if err == nil {
		return nil, h.release()
	}
	if !dataError(err) {
		return nil, err
	}
	h.t.stats.Halvings++
	return err, h.back(s)
}

// part tries changes [from, to) set-wise, and in another way where the rows are at fault. ends says that they end at a source transaction's boundary.
func (h *halving) part(from, to int, ends bool, otherwise func(from, to int, ends bool) error) error {
	if from == to {
		return nil
	}
	refused, err := h.attempt(from, to, folded, ends)
	if err != nil || refused == nil {
		return err
	}
	return otherwise(from, to, ends)
}

// smaller halves changes [from, to) at a source transaction's boundary.
func (h *halving) smaller(from, to int, ends bool) error {
	if from == to {
		return nil
	}
	starts := commitGroups(h.all[from:to])
	if len(starts) == 1 {
		return h.transaction(from, to, ends)
	}
	middle := from + starts[len(starts)/2]
	if err := h.part(from, middle, true, h.smaller); err != nil {
		return err
	}
	return h.part(middle, to, ends, h.smaller)
}

// transaction applies changes [from, to) of one source transaction: whole, or by smaller pieces down to single changes. Only its end is
// where constraints have to hold; what breaks one there is found, and the transaction is applied again without it.
func (h *halving) transaction(from, to int, ends bool) error {
	for {
		s, err := h.begin()
		if err != nil {
			return err
		}
		if err := h.rows(from, to); err != nil {
			return err
		}
		if !ends {
			return h.release()
		}
		broken, err := h.check()
		if err != nil {
			return err
		}
		if broken == nil {
			return h.release()
		}
		blamed, err := h.blame(from, to, s.kept, broken)
		if err != nil {
			return err
		}
		if err := h.back(s); err != nil {
			return err
		}
		for i, r := range blamed {
			h.refused[i] = r
		}
	}
}

// check makes the checks that wait for the transaction's end. broken is what does not hold; the rows are there still, to be looked at.
func (h *halving) check() (broken, err error) {
	err = h.t.exec(h.ctx, savepointSQL, immediateSQL, deferredSQL, releaseSQL)
	if err == nil || !dataError(err) {
		return nil, err
	}
	return err, h.t.exec(h.ctx, rollbackSQL, releaseSQL, deferredSQL)
}

// rows applies the rows of one source transaction, without the checks at its end.
func (h *halving) rows(from, to int) error {
	refused, err := h.attempt(from, to, folded, false)
	if err != nil || refused == nil {
		return err
	}
	if tradeable(refused) { // two rows may have traded a unique value, which the source checked at its commit only
		if refused, err = h.attempt(from, to, replacing, false); err != nil || refused == nil {
			return err
		}
	}
	return h.inside(from, to, false)
}

// tradeable says that a constraint between rows is in the way, which may hold once all of them are written.
func tradeable(err error) bool {
	code := postgres.SQLState(err)
	return code == codeUnique || code == codeExclusion
}

// serialChanges is up to how many changes a part of one source transaction goes change by change.
const serialChanges = 16

// inside halves a large source transaction. What is small enough goes change by change, in source order.
func (h *halving) inside(from, to int, _ bool) error {
	middle := from
	if to-from > serialChanges {
		middle = h.cut(from, to)
	}
	if middle == from {
		return h.serial(from, to)
	}
	if err := h.part(from, middle, false, h.inside); err != nil {
		return err
	}
	return h.part(middle, to, false, h.inside)
}

// cut finds a place near the middle of one source transaction that does not part what may be one statement. Where there
// is none, it is from.
func (h *halving) cut(from, to int) int {
	for i := from + (to-from)/2; i < to; i++ {
		if !h.oneStatement(h.all[i-1], h.all[i]) {
			return i
		}
	}
	for i := from + (to-from)/2; i > from; i-- {
		if !h.oneStatement(h.all[i-1], h.all[i]) {
			return i
		}
	}
	return from
}

// oneStatement says that two changes may come from one statement that only works as a whole.
func (h *halving) oneStatement(a, b *change.Mapped) bool {
	return (a.SourceOp == change.Truncate && b.SourceOp == change.Truncate) ||
		(h.keyChange(a) && h.keyChange(b) && a.Ops[0].Target == b.Ops[0].Target)
}

// serial applies changes [from, to) of one source transaction one by one, in source order. What the target refuses is parked.
func (h *halving) serial(from, to int) error {
	for i := from; i < to; {
		n, err := h.one(i, to)
		if err != nil {
			return err
		}
		i += n
	}
	return nil
}

// one applies the change at i, with those behind it that belong to the same statement, and returns how many they were.
func (h *halving) one(i, to int) (int, error) {
	n := 1
	for h.all[i].SourceOp == change.Truncate && i+n < to && h.all[i+n].SourceOp == change.Truncate {
		n++
	}
	refused, err := h.attempt(i, i+n, oneByOne, false)
	if err != nil {
		if fault.ClassOf(postgres.Safe(err)) == fault.ClassFatal && serverError(err) {
			err = h.t.refused(h.all[i], postgres.Safe(err))
		}
		return 0, err
	}
	if refused == nil {
		return n, nil
	}
	if postgres.SQLState(refused) == codeUnique && h.keyChange(h.all[i]) && !h.t.targets[h.all[i].Ops[0].Target].cascades {
		moves := h.keyChanges(h.all[i:to])
		if again, err := h.attempt(i, i+moves, together, false); err != nil || again == nil {
			return moves, err
		}
	}
	r, err := h.t.refusalOf(h.ctx, h.all[i], refused)
	if err != nil {
		return 0, err
	}
	h.refused[i] = r
	return n, h.apply(i, i+n, oneByOne)
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
