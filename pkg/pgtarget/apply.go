package pgtarget

import (
	"context"
	"errors"
	"time"

	"segue/pkg/change"
	"segue/pkg/fault"
	"segue/pkg/postgres"
)

// Apply applies a plan. Behind a plan that ends at a source transaction's boundary everything is committed, with the
// progress row; one that ends inside a source transaction stays open for the next plan. Behind an error nothing of the
// open transaction counts: call Recover, and apply again where the error was transient.
func (t *Target) Apply(ctx context.Context, p *Plan) error {
	err := t.apply(ctx, p)
	for errors.Is(err, ErrTakenOver) {
		if derr := t.decided(ctx, err); derr != nil {
			err = derr
			break
		}
		err = t.apply(ctx, p)
	}
	if err == nil {
		return nil
	}
	var done *fault.Error
	if errors.As(err, &done) && !serverError(err) {
		return err
	}
	return step("apply up to "+p.to.At.String(), err)
}

func (t *Target) apply(ctx context.Context, p *Plan) error {
	t.tx.parking.undo, t.seen = nil, map[int]bool{}
	if err := t.sift(p); err != nil {
		return err
	}
	r := &runner{t: t, ctx: ctx, changes: p.changes, opens: !t.tx.open, saves: true, steps: t.inSteps(p)}
	t.tx.open = true
	if t.direct(p) {
		r.finish = t.finishing(p)
	}
	err := r.run(p.segments)
	if err == nil && r.finish != nil {
		t.committed(p)
		return nil
	}
	if err == nil {
		err = t.checkEnds(ctx, p)
	}
	if err != nil && r.steps {
		isolated, err := t.isolate(ctx, p, r, err)
		if err != nil {
			return err
		}
		if isolated {
			return t.finish(ctx, p, r.missing)
		}
	}
	if err != nil {
		missing, herr := t.fallBack(ctx, p, err)
		if herr != nil {
			if r.failed != nil && errors.Is(herr, err) && serverError(err) { // not of the rows: a table that changed, a lock
				return step(r.table().String(), herr)
			}
			return herr
		}
		r.missing = missing
	}
	return t.finish(ctx, p, r.missing)
}

// checkEnds makes the checks that wait for the ends of the plan's source transactions. One that goes on in the next plan may not hold yet, which
// fails as well: the plan is halved then, and only those that end are checked.
func (t *Target) checkEnds(ctx context.Context, p *Plan) error {
	switch {
	case p.last.Boundary:
		return t.exec(ctx, immediateSQL)
	case p.ended() > 0:
		return t.exec(ctx, immediateSQL, deferredSQL)
	}
	return nil
}

// direct says that nothing has to be known before the COMMIT: it may travel with the statements.
func (t *Target) direct(p *Plan) bool {
	if !p.last.Boundary || p.wants || t.pending.len() > 0 || len(t.tx.asked) > 0 || len(t.tx.arrived) > 0 || t.tx.parking.begun || len(t.known.rows) > 0 {
		return false
	}
	for i := range p.segments {
		for j := range p.segments[i].statements {
			if p.segments[i].statements[j].mayMiss() {
				return false
			}
		}
	}
	return true
}

// finish asks for what is missing, and commits at a boundary.
func (t *Target) finish(ctx context.Context, p *Plan, missing []int32) error {
	asked, err := t.toAsk(p.changes, missing)
	if err != nil {
		return err
	}
	arrived := t.pending.arrivals(p.all) // also what came as a stub: it is parked now
	if err := t.ask(ctx, asked); err != nil {
		return err
	}
	if p.last.Boundary {
		if err := t.askFreed(ctx); err != nil {
			return err
		}
	}
	t.tx.asked, t.tx.arrived = append(t.tx.asked, asked...), append(t.tx.arrived, arrived...)
	if !p.last.Boundary {
		t.tx.slices++
		t.tx.counters.add(p.counters)
		return t.exec(ctx, releaseSQL)
	}
	if err := t.pending.write(ctx, t.conn, t.cfg.Migration, t.tx.arrived, t.tx.asked); err != nil {
		return err
	}
	if err := t.writeParking(ctx); err != nil {
		return err
	}
	if err := t.forgetKnown(ctx, p); err != nil {
		return err
	}
	r := &runner{t: t, ctx: ctx, finish: t.finishing(p)}
	if err := r.run(nil); err != nil {
		return err
	}
	t.committed(p)
	return nil
}

func (c *Counters) add(d Counters) {
	c.Changes += d.Changes
	c.RowOps += d.RowOps
	c.Filtered += d.Filtered
	c.Parked += d.Parked
}

// finishing are the parameters of the progress row's move to the end of the plan.
func (t *Target) finishing(p *Plan) [][]byte {
	sum := t.tx.counters
	sum.add(p.counters)
	return t.progressParams(p.to, p.last.Committed, sum)
}

// committed takes over what the server has committed.
func (t *Target) committed(p *Plan) {
	sum := t.tx.counters
	sum.add(p.counters)
	t.progress.add(sum)
	t.progress.At, t.progress.Offset, t.progress.Incarnation = p.to.At, p.to.Offset, p.to.Incarnation
	if p.last.Committed > 0 {
		t.progress.Committed = time.UnixMicro(p.last.Committed)
	}
	t.pending.commit(t.tx.arrived, t.tx.asked)
	t.commitParking()
	if t.known.passed(p) {
		t.known = knownRefusals{}
	}
	for _, a := range t.tx.asked {
		if len(a.key) == 0 {
			t.reloads[a.source]++
		}
	}
	t.stats.Transactions++
	t.tx = transaction{}
}

// dataError says that the rows are at fault, or their order: going smaller, or change by change, can help.
func dataError(err error) bool {
	if err == nil || !serverError(err) {
		return false
	}
	return fault.ClassOf(postgres.Safe(err)) == fault.ClassPoison
}

// commitGroups returns where source transactions begin in changes, the first included.
func commitGroups(changes []*change.Mapped) []int {
	var starts []int
	for i, m := range changes {
		if i == 0 || m.Pos.LSN != changes[i-1].Pos.LSN || m.Pos.Epoch != changes[i-1].Pos.Epoch {
			starts = append(starts, i)
		}
	}
	return starts
}
