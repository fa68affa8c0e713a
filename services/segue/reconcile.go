package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"segue/pkg/migration"
	"segue/pkg/reconcile"
	"segue/pkg/table"
	"segue/services/reconciler"
)

func (p *process) reconcileCommand() command {
	var (
		form    output
		wait    bool
		timeout time.Duration
		only    []string
	)
	return command{
		use: "reconcile", short: "prove that both stores agree, or say where they do not",
		long: `Compares every row of the source, through the mapping, with the target while both stay in use. Needs a running
applier. A verdict is pass, differ or unknown; a pass names its coverage and the source positions that it holds at.
Ends with exit code 0 (pass), 4 (differ) or 5 (not proved in time).`,
		example:  "  segue reconcile\n  segue reconcile --wait --timeout 5m\n  segue reconcile --table public.orders -o json",
		settings: everywhere,
		flags: func(cmd *cobra.Command) {
			form.flag(cmd)
			cmd.Flags().BoolVar(&wait, "wait", false, "compare again until everything passes, or the time is over")
			cmd.Flags().DurationVar(&timeout, "timeout", reconcileTimeout, "how long it may take")
			cmd.Flags().StringSliceVar(&only, "table", nil, "compare this source or target table only (may be given several times)")
		},
		run: func(cmd *cobra.Command, _ []string) error {
			tables, err := tableNames(only)
			if err != nil {
				return usage(err)
			}
			r, err := p.openReconciler(cmd, reconciler.Config{Timeout: timeout, Tables: tables})
			if err != nil {
				return err
			}
			report, err := p.compare(cmd.Context(), r, wait)
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
			return verdict(report.Verdict)
		},
	}
}

func tableNames(texts []string) ([]table.Name, error) {
	var out []table.Name
	for _, s := range texts {
		pattern, err := migration.ParsePattern(s)
		if err != nil {
			return nil, err
		}
		name, exact := pattern.Exact()
		if !exact {
			return nil, fmt.Errorf("--table %s: it names no single table", s)
		}
		out = append(out, name)
	}
	return out, nil
}

func (p *process) openReconciler(cmd *cobra.Command, c reconciler.Config) (*reconciler.Reconciler, error) {
	s, err := p.settings(cmd)
	if err != nil {
		return nil, err
	}
	spec, err := p.spec(s)
	if err != nil {
		return nil, err
	}
	servers, err := find(s)
	if err != nil {
		return nil, err
	}
	w, err := newWork(p, s, spec, servers, "reconcile")
	if err != nil {
		return nil, err
	}
	plan, err := readPlan(cmd.Context(), spec)
	if err != nil {
		return nil, err
	}
	return w.newReconciler(cmd.Context(), plan, c)
}

func (p *process) compare(ctx context.Context, r *reconciler.Reconciler, wait bool) (reconciler.Report, error) {
	if !wait {
		return r.Compare(ctx)
	}
	told := -tellAgain.Seconds()
	return r.CompareUntilPass(ctx, func(so reconciler.Report) {
		if so.Seconds-told >= tellAgain.Seconds() {
			told = so.Seconds
			_, _ = fmt.Fprintf(p.stderr, "%s after %.0f s; comparing again\n", so.Verdict, so.Seconds)
		}
	})
}

// tellAgain is how often a comparison that waits says that it does.
const tellAgain = 10 * time.Second

// verdict is the exit code.
func verdict(v reconcile.Verdict) error {
	switch v {
	case reconcile.Pass:
		return nil
	case reconcile.Differ:
		return &ending{code: exitDiffer}
	case reconcile.Unknown:
	}
	return &ending{code: exitNotProved}
}
