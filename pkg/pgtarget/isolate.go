package pgtarget

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"

	"segue/pkg/change"
)

// One row that is refused in each large plan must not cost the plan a second time. Once rows were refused, plans are applied in steps: a savepoint
// before each statement. Where one fails, everything before it stays, its rows are halved until those are alone that are refused, and the
// statements behind it go on. Inside a segment no two rows depend on each other's order, so this is the set-wise form still.
//
// It is taken only where it cannot mean anything else than the serial form: the refusal is about the row alone (its values, not other rows), and
// the row is made of one single change. A unique value that goes from one row to another is no refusal: such rows are tried again behind the
// others of their segment. In every other case the plan is taken back, and goes by halves at source transactions' boundaries.

const (
	// waryPlans is for how many plans a refused row makes those behind it be applied in steps.
	waryPlans = 500
	// stepRows is from how many changes on a plan is worth it.
	stepRows = 200
)

// errNotAlone says that the rows cannot be told apart in this way.
var errNotAlone = errors.New("not a matter of single rows")

// inSteps says whether a plan is applied in steps. Slices of a huge transaction are not: the savepoints would add up.
func (t *Target) inSteps(p *Plan) bool {
	if t.wary == 0 {
		return false
	}
	t.wary--
	return p.last.Boundary && t.tx.slices == 0 && len(p.changes) >= t.stepRows
}

// isolation goes on with a plan of which a statement failed.
type isolation struct {
	t       *Target
	ctx     context.Context //nolint:containedctx // lives for one call
	plan    *Plan
	refused map[int32]refusal // by place in plan.changes
	later   []*group          // single rows that another row's unique value is in the way of
	missing []int32
}

// isolate goes on behind the statement at which r stopped. True: everything but the refused rows is applied, they are parked, and r.missing says
// whose row was not found. False: nothing is decided, the plan has to be taken back.
func (t *Target) isolate(ctx context.Context, p *Plan, r *runner, cause error) (bool, error) {
	if r.stopped == nil || !dataError(cause) || t.conn.PgConn().TxStatus() == 'I' {
		return false, nil
	}
	x := &isolation{t: t, ctx: ctx, plan: p, refused: map[int32]refusal{}, missing: r.missing}
	err := x.goOn(r.stopped, cause)
	if err == nil {
		err = t.exec(ctx, immediateSQL)
	}
	if err == nil {
		err = x.park()
	}
	if err == nil {
		r.missing = x.missing
		return true, nil
	}
	if errors.Is(err, errNotAlone) || dataError(err) {
		return false, nil
	}
	return false, err
}

func (x *isolation) goOn(stopped *statement, cause error) error {
	segments := x.plan.segments
	at := slices.IndexFunc(segments, func(s segment) bool { return within(s.statements, stopped) >= 0 })
	if at < 0 {
		return errNotAlone
	}
	for i := at; i < len(segments); i++ {
		rest := segments[i]
		for {
			if stopped != nil {
				rest = segment{statements: rest.statements[within(rest.statements, stopped)+1:]}
				if err := x.taken(stopped, cause); err != nil {
					return err
				}
				if len(x.later) > 0 && slices.ContainsFunc(rest.statements, givesKeys) {
					return errNotAlone // a row that is put in later must not come behind the change that moved it on
				}
			}
			r := &runner{t: x.t, ctx: x.ctx, changes: x.plan.changes, steps: true}
			cause = r.run([]segment{rest})
			x.missing = append(x.missing, r.missing...)
			if stopped = r.stopped; cause == nil {
				break
			}
			if stopped == nil {
				return cause
			}
		}
		if err := x.tryLater(); err != nil {
			return err
		}
	}
	return nil
}

// givesKeys says that the statement gives rows other keys.
func givesKeys(s statement) bool { return s.shape.act == actRekey || s.shape.act == actMove }

// within is the place of a statement among others, -1: it is not one of them.
func within(statements []statement, s *statement) int {
	return slices.IndexFunc(statements, func(o statement) bool { return o.group != nil && o.group == s.group })
}

// taken applies the rows of a statement that failed, as far as they are not refused.
func (x *isolation) taken(st *statement, cause error) error {
	if st.group == nil || st.group.act != actDelete && st.group.act != actUpsert && st.group.act != actUpdate {
		return errNotAlone
	}
	g := *st.group
	return x.back(&g, cause)
}

// back takes a group's statement back that failed, and applies its rows in halves.
func (x *isolation) back(g *group, cause error) error {
	if !dataError(cause) {
		return cause
	}
	alone, err := x.alone(g, cause)
	if err != nil {
		return err
	}
	x.t.stats.Halvings++
	if g.size() == 1 {
		return x.single(g, cause, alone)
	}
	rest := *g
	for _, half := range []*group{rest.head(g.size() / 2), &rest} {
		if err := x.try(half); err != nil {
			if err := x.back(half, err); err != nil {
				return err
			}
		}
	}
	return nil
}

// single keeps a row that fails for later where another row may be in its way, and refuses it where it is the fault of its own.
func (x *isolation) single(g *group, cause error, alone bool) error {
	if !alone {
		x.later = append(x.later, g)
		return nil
	}
	i := g.origins[0]
	if i < 0 || len(x.plan.changes[i].Ops) != 1 || !x.t.parkable(x.plan.changes[i]) {
		return errNotAlone
	}
	r, err := x.t.refusalOf(x.ctx, x.plan.changes[i], cause)
	x.refused[i] = r
	return err
}

// try applies a group in a step of its own.
func (x *isolation) try(g *group) error {
	f := x.t.halver
	f.buf = nil
	r := &runner{t: x.t, ctx: x.ctx, changes: x.plan.changes, steps: true}
	err := r.run([]segment{{statements: []statement{f.statement(g)}}})
	x.missing = append(x.missing, r.missing...)
	return err
}

// tryLater applies rows that another row was in the way of, as long as that gets on.
func (x *isolation) tryLater() error {
	for len(x.later) > 0 {
		list := x.later
		x.later = nil
		for _, g := range list {
			if err := x.try(g); err != nil {
				if err := x.back(g, err); err != nil {
					return err
				}
			}
		}
		if len(x.later) == len(list) {
			x.later = nil
			return x.trade(list)
		}
	}
	return nil
}

// trade applies rows that are in each other's way as one statement that takes all of them out before it puts the first in. Where that fails two
// rows want the same value, and which of them was first, the source's order says.
func (x *isolation) trade(list []*group) error {
	all := *list[0]
	all.act, all.rows, all.keys, all.sources = actMove, nil, nil, nil
	for _, g := range list {
		if g.target != all.target || g.target.cascades || g.act == actDelete || g.act == actUpsert && !g.rows[0].Whole() ||
			absentMask(g.rows[0]) != absentMask(list[0].rows[0]) {
			return errNotAlone
		}
		from := g.sources
		if from == nil {
			from = g.origins
		}
		all.rows, all.keys, all.sources = append(all.rows, g.rows[0]), append(all.keys, keyOfRow(g.target, g.rows[0])), append(all.sources, from[0])
	}
	steps := []*group{&all}
	if all.rows[0].Whole() { // those that were not there
		put := all
		put.act, put.keys, put.sources = actUpsert, nil, nil
		steps = append(steps, &put)
	}
	for _, g := range steps {
		if err := x.try(g); err != nil {
			return cmp.Or(notOfRows(err), errNotAlone)
		}
	}
	return nil
}

// notOfRows is an error that is not the rows' fault, else nil.
func notOfRows(err error) error {
	if dataError(err) {
		return nil
	}
	return err
}

// alone takes the failed statement back and says whether the refusal is about a row alone. False: about a unique value, which another row may
// give up; anything else cannot be told apart here.
func (x *isolation) alone(g *group, cause error) (bool, error) {
	if err := x.t.exec(x.ctx, stepBackSQL, stepDoneSQL); err != nil {
		return false, err
	}
	var pg *pgconn.PgError
	if !errors.As(cause, &pg) {
		return false, errNotAlone
	}
	sql, name := "", ""
	switch {
	case tradeable(cause):
		return false, nil
	case g.act == actDelete: // it has no values: a foreign key's action on other rows was refused, which may be deleted behind it
		return false, errNotAlone
	case pg.Code == "23514": // a check that calls functions of people's own may look at other rows
		sql, name = `SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_constraint c ON c.oid = d.objid
			WHERE d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND c.conname = $1)`, pg.ConstraintName
	case pg.Code[:2] == "22" || pg.Code == "23502": // a trigger may have any reason
		sql, name = `SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_trigger WHERE tgrelid = $1::text::pg_catalog.regclass AND NOT tgisinternal)`, g.target.Table.Name.SQL()
	default:
		return false, errNotAlone
	}
	known, ok := x.t.aloneBy[name]
	if !ok {
		if err := x.t.conn.QueryRow(x.ctx, sql, name).Scan(&known); err != nil {
			return false, err
		}
		x.t.aloneBy[name] = known
	}
	if !known {
		return false, errNotAlone
	}
	return true, nil
}

// park parks the refused rows, where nothing else of the plan changes by that.
func (x *isolation) park() error {
	places := map[*change.Mapped]int32{}
	for i := range x.refused {
		places[x.plan.changes[i]] = i
	}
	refused := map[int]refusal{}
	for i, m := range x.plan.all {
		if at, ok := places[m]; ok {
			refused[i] = x.refused[at]
		}
	}
	if len(refused) != len(x.refused) {
		return errNotAlone
	}
	x.t.tx.parking.rewind(0)
	x.plan.counters = x.plan.base
	kept, _, err := x.t.siftPart(x.plan, 0, len(x.plan.all), refused)
	if err != nil {
		return err
	}
	if len(kept) != len(x.plan.changes)-len(refused) {
		return errNotAlone
	}
	out := make([]int32, 0, len(x.refused))
	for i := range x.refused {
		out = append(out, i)
	}
	slices.Sort(out)
	for n, m := range x.missing {
		before, _ := slices.BinarySearch(out, m)
		x.missing[n] = m - int32(before)
	}
	x.plan.changes = kept
	return nil
}
