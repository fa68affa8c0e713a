package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"segue/pkg/change"
	"segue/pkg/fault"
	"segue/pkg/pgtarget"
	"segue/pkg/table"
	"segue/services/dead"
)

func (p *process) deadRetryCommand() command {
	var (
		form        output
		filter      deadFilter
		all, noWait bool
		timeout     time.Duration
	)
	return command{
		use: "retry", short: "have parked rows read again from the source, once their cause is mended",
		long: `Asks the source for the parked rows by their keys, as segue resync --keys does. They come through the lanes in their present
state, always in order, and are parked no more; where they cannot be taken on still, they stay parked. Rows that others wait for come
first, then the tables that others refer to. Waits until the target has what was read, and says how many were applied.
The requests are kept in Kafka: what is interrupted goes on, and doing it again is harmless.

Ends with exit code 0 (all were applied), 4 (some are parked again: the stores differ there) or 5 (not known in time).`,
		example:  "  segue dead retry --all\n  segue dead retry --table public.orders --code 23503\n  segue dead retry --table public.orders --keys 1,2,3 --timeout 1m\n  segue dead retry --cause 1:0/62AFBB8#1 --no-wait",
		settings: everywhere,
		flags: func(cmd *cobra.Command) {
			form.flag(cmd)
			filter.flags(cmd)
			cmd.Flags().BoolVar(&all, "all", false, "every parked row")
			cmd.Flags().BoolVar(&noWait, "no-wait", false, "only ask, in no order; segue dead list shows what is parked still")
			cmd.Flags().DurationVar(&timeout, "timeout", 0, "how long to wait; 0: as long as it takes")
		},
		run: func(cmd *cobra.Command, _ []string) error {
			chosen, err := filter.read(p, cmd)
			if err != nil {
				return err
			}
			switch {
			case chosen.Empty() && !all:
				return usage(errors.New("which rows? name them (--table, --code, --key, --cause, --since), or --all for every parked row"))
			case all && !chosen.Empty():
				return usage(errors.New("--all and a filter: one of them"))
			}
			report, err := p.retry(cmd, chosen, !noWait, timeout)
			if err != nil {
				return err
			}
			if form.json() {
				err = p.printJSON(report)
			} else {
				err = report.Write(p.stdout)
			}
			if err != nil {
				return err
			}
			switch {
			case report.Left() > 0:
				return &ending{code: exitDiffer}
			case report.Late:
				return &ending{code: exitNotProved}
			}
			return nil
		},
	}
}

func (p *process) retry(cmd *cobra.Command, chosen dead.Filter, wait bool, timeout time.Duration) (report dead.Retried, err error) {
	outer, started := cmd.Context(), time.Now()
	ctx := outer
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	cmd.SetContext(ctx) // the time is for the way to the servers, too
	defer cmd.SetContext(outer)
	again := &retrying{report: dead.Retried{Waited: wait, Tables: []dead.RetriedTable{}}}
	if again.resyncing, err = p.openResync(cmd); err == nil {
		defer again.close()
		again.report.Migration = string(again.work.spec.Name)
		err = again.run(ctx, chosen, wait)
	}
	report = again.report
	report.Seconds = time.Since(started).Seconds()
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) && outer.Err() == nil {
		report.Waited, report.Late, report.Reason = false, true, "the time is over: nothing was asked for ("+err.Error()+")"
		if again.asked > 0 {
			report.Reason = "the time is over; what was asked for stays, and the same command goes on"
		}
		err = nil
	}
	return report, err
}

// retrying is a resync of parked rows.
type retrying struct {
	*resyncing
	report dead.Retried
	asked  int // rows, up to now, the ones that are being asked for included
}

func (r *retrying) run(ctx context.Context, chosen dead.Filter, wait bool) error {
	before, logged, err := r.parked(ctx)
	if err != nil {
		return err
	}
	before = chosen.Take(before)
	known, err := r.known(ctx, before)
	if err != nil {
		return err
	}
	rounds := dead.Rounds(before, known)
	for _, round := range rounds {
		n := len(round.Rows)
		r.report.Table(round.Table).Asked += n
		r.report.Table(round.Table).Unknown += n
	}
	for _, round := range rounds {
		if err := r.round(ctx, round, wait); err != nil {
			return err
		}
	}
	if len(rounds) == 0 {
		return nil
	}
	if !wait {
		r.report.Reason = "they are asked for; segue dead list shows what is parked still"
		return nil
	}
	if err := r.applied(ctx); err != nil {
		return err
	}
	return r.outcome(ctx, before, logged)
}

// parked reads the list, and where its log ends.
func (r *retrying) parked(ctx context.Context) (list []pgtarget.Parked, logged int64, err error) {
	name := string(r.work.spec.Name)
	err = r.onTarget(ctx, func(conn *pgx.Conn) error {
		at, err := pgtarget.ReadProgress(ctx, conn, name)
		if err != nil || at == nil {
			return err
		}
		if logged, err = pgtarget.LastLogged(ctx, conn, name); err != nil { // before the list: a decision in between is seen
			return err
		}
		list, err = pgtarget.ReadParked(ctx, conn, name, -1)
		return err
	})
	return list, logged, err
}

// known are the tables of parked rows that the migration has, those that others refer to first. The others are left as they are.
func (r *retrying) known(ctx context.Context, list []pgtarget.Parked) ([]table.Name, error) {
	seen := map[table.Name]bool{}
	r.tables = nil
	for i := range list {
		name := list[i].Source
		rule := r.plan.mapping.For(name)
		if rule == nil || rule.Source().Keyless() {
			t := r.report.Table(name)
			t.Parked++
			if t.Why == nil {
				t.Why = map[string]int{}
			}
			t.Why[list[i].Fault.Code]++
			t.Reason = "the migration has no such table any more: take it in again, or give the rows up (segue dead discard)"
			continue
		}
		if !seen[name] {
			seen[name] = true
			r.tables = append(r.tables, rule.Source())
		}
	}
	if len(r.tables) == 0 {
		return nil, nil
	}
	sorted, err := r.ordered(ctx)
	var out []table.Name
	for _, t := range sorted {
		out = append(out, t.Name)
	}
	return out, err
}

// round asks for rows of one table, and waits until they are in the stream: the rows of the next round may need them.
func (r *retrying) round(ctx context.Context, round dead.Round, wait bool) error {
	r.keys = nil
	for i := range round.Rows {
		r.keys = append(r.keys, round.Rows[i].Key)
	}
	r.asked += len(r.keys)
	handled, err := r.ask(ctx, r.plan.mapping.For(round.Table).Source(), r.keys)
	if fault.ClassOf(err) == fault.ClassPoison { // it has another type than when they were parked
		r.report.Table(round.Table).Reason = "a key is no value of the column's type any more: nothing was asked for; name the others with --keys"
		return nil
	}
	if err != nil || !wait {
		return err
	}
	r.say("asked for %s of %s", count(len(r.keys), "parked row"), round.Table)
	_, err = r.await(ctx, round.Table, handled)
	return err
}

// outcome looks at what is parked now. What people gave up meanwhile stands in the log.
func (r *retrying) outcome(ctx context.Context, before []pgtarget.Parked, logged int64) error {
	name := string(r.work.spec.Name)
	given := map[string]bool{}
	id := func(source table.Name, key change.Row) string { return fmt.Sprint(source, " ", dead.KeyText(key)) }
	var now []pgtarget.Parked
	err := r.onTarget(ctx, func(conn *pgx.Conn) (err error) {
		if now, err = pgtarget.ReadParked(ctx, conn, name, -1); err != nil {
			return err
		}
		for {
			lines, err := pgtarget.ReadParkedLog(ctx, conn, name, logged, keysAtOnce)
			if err != nil || len(lines) == 0 {
				return err
			}
			for i := range lines {
				logged = lines[i].ID
				given[id(lines[i].Source, lines[i].Key)] = lines[i].Action == pgtarget.ActionDiscarded
			}
		}
	})
	if err != nil {
		return err
	}
	var asked []pgtarget.Parked
	for i := range before {
		if rule := r.plan.mapping.For(before[i].Source); rule != nil && !rule.Source().Keyless() {
			r.report.Table(before[i].Source).Unknown = 0
			asked = append(asked, before[i])
		}
	}
	r.report.Outcome(asked, now, func(p *pgtarget.Parked) bool { return given[id(p.Source, p.Key)] })
	return nil
}
