package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"segue/pkg/change"
	"segue/pkg/fault"
	"segue/pkg/mapping"
	"segue/pkg/pgtarget"
	"segue/pkg/reconcile"
	"segue/pkg/table"
	"segue/services/reconciler"
)

const (
	// mendKeep is how many differing rows are asked for between two comparisons (P8).
	mendKeep = 100_000
	// mendTries is how many comparisons in a row may find no fewer differences than the one before.
	mendTries = 3
	// longComparison bounds a comparison where nobody says how long all may take.
	longComparison = 7 * 24 * time.Hour
)

// mend compares the tables, asks for the rows that differ, and compares again, until they pass or it comes no further. What was asked for counts
// only by the comparison behind it.
func (r *resyncing) mend(ctx context.Context, tables []*table.Table, report *resyncReport) error {
	var names []table.Name
	for _, t := range tables {
		names = append(names, r.plan.mapping.For(t.Name).Target().Table.Name)
	}
	comparison, err := r.work.newReconciler(ctx, r.plan, reconciler.Config{Tables: names, Timeout: timeLeft(ctx), Keep: mendKeep})
	if err != nil {
		return err
	}
	fewest, idle := int64(-1), 0
	for {
		r.say("comparing %s", count(len(names), "table"))
		compared, err := comparison.Compare(ctx)
		if err != nil {
			return err
		}
		report.take(compared, r.plan.mapping.Rules())
		if compared.Verdict != reconcile.Differ {
			return ctx.Err()
		}
		asked, err := r.mendOnce(ctx, compared, report)
		if err != nil {
			return err
		}
		if n := differences(compared); fewest < 0 || n < fewest {
			fewest, idle = n, 0
		} else {
			idle++
		}
		if asked == 0 || idle >= mendTries {
			return nil
		}
		r.say("asked for %d rows that differ; comparing again", asked)
	}
}

func differences(r reconciler.Report) (n int64) {
	for _, t := range r.Tables {
		n += t.Missing + t.Extra + t.Different + t.Doubled
	}
	return n
}

func timeLeft(ctx context.Context) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return max(time.Until(deadline), time.Millisecond)
	}
	return longComparison
}

// mendOnce asks for the rows that a comparison found to differ, and waits until they are in the stream. A row that another one on the target
// refers to is left for later: its delete would break a foreign key, and stop the applier.
func (r *resyncing) mendOnce(ctx context.Context, compared reconciler.Report, report *resyncReport) (asked int, err error) {
	for i := range compared.Tables {
		repair := &compared.Tables[i].Repair
		rule := r.plan.mapping.For(repair.Source)
		if rule == nil {
			continue
		}
		result := report.table(repair.Source)
		extra, by, err := r.unreferred(ctx, rule.Target(), repair)
		if err != nil {
			return asked, err
		}
		if held := len(repair.Extra) - len(extra); held > 0 {
			result.Reason = fmt.Sprintf("%s that the source has not are referred to by rows of %s: they go when those do; resync that table too", count(held, "row"), by)
		}
		keys := slices.Concat(extra, repair.Other)
		if len(keys) == 0 {
			continue
		}
		handled, err := r.ask(ctx, rule.Source(), keys)
		if fault.ClassOf(err) == fault.ClassPoison { // the target's column takes more than the source's
			result.Left = int64(len(keys))
			result.Reason = "rows of the target have keys that the source's column cannot hold: delete them by hand"
			continue
		}
		if err != nil {
			return asked, err
		}
		if _, err := r.await(ctx, repair.Source, handled); err != nil {
			return asked, err
		}
		asked += len(keys)
		result.Removed += int64(len(extra))
		result.Mended += int64(len(repair.Other))
	}
	return asked, nil
}

// unreferred are the extra rows that may go now, and a table that refers to others.
func (r *resyncing) unreferred(ctx context.Context, t *change.Target, repair *reconciler.Repair) (out []change.Row, by table.Name, err error) {
	for at := 0; at < len(repair.Extra); at += keysAtOnce {
		to := min(at+keysAtOnce, len(repair.Extra))
		var referred []bool
		var who table.Name
		err := r.onTarget(ctx, func(conn *pgx.Conn) (err error) {
			referred, who, err = pgtarget.Referred(ctx, conn, t, repair.Target[at:to])
			return err
		})
		if err != nil {
			return nil, by, err
		}
		for i, held := range referred {
			if held {
				by = who
				continue
			}
			out = append(out, repair.Extra[at+i])
		}
	}
	return out, by, nil
}

// table is the result of a source table.
func (r *resyncReport) table(source table.Name) *resyncedTable {
	for _, t := range r.Tables {
		if t.Table == source.String() {
			return t
		}
	}
	return &resyncedTable{} // of no table that was asked for: nobody looks at it
}

// take puts the outcome of a comparison into the report.
func (r *resyncReport) take(c reconciler.Report, rules []*mapping.Rule) {
	r.Verdict, r.Reason = c.Verdict, c.Reason
	r.details = nil
	if c.Verdict != reconcile.Pass {
		r.details = c.Write
	}
	for _, rule := range rules {
		for _, t := range c.Tables {
			if t.Table != rule.Target().Table.Name.String() {
				continue
			}
			into := r.table(rule.Source().Name)
			into.Verdict, into.Rows, into.At, into.Left, into.Reason = t.Verdict, t.Rows, t.To, t.Repair.Unnamed, t.Reason
			if t.Repair.Unnamed > 0 && rule.Target().Keyless {
				into.Reason = "the table has no key, so that single rows cannot be asked for: resync it whole (without --differences); what differs behind that is made by something else on the target"
			} else if t.Repair.Unnamed > 0 {
				into.Reason = fmt.Sprintf("of %d differing rows the source's key cannot be told, the target's key being computed: mend them by hand", t.Repair.Unnamed)
			}
		}
	}
}
