package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"segue/pkg/fault"
	"segue/pkg/pgtarget"
	"segue/services/dead"
)

func (p *process) deadDiscardCommand() command {
	var (
		form   output
		filter deadFilter
		reason string
		all    bool
	)
	return command{
		use: "discard", short: "give parked rows up: they stay as the target has them",
		long: `Takes rows out of the list of parked rows. The target keeps what it has under their keys, an older version or nothing, and later
changes are applied to that; a comparison then tells them as differing instead of unknown. Who gave them up, when and why
is kept for ever in segue.parked_log. The applier may go on meanwhile: what it commits is exact.

Rows that are parked because of one that is given up stay parked. To have a row anew instead: segue dead retry.`,
		example:  "  segue dead discard --table public.orders --key 7 --reason \"deleted by hand on both sides\"\n  segue dead discard --code too_large --reason \"attachments are not moved\"\n  segue dead discard --all --reason \"rehearsal\"",
		settings: []string{"config"},
		flags: func(cmd *cobra.Command) {
			form.flag(cmd)
			filter.flags(cmd)
			cmd.Flags().StringVar(&reason, "reason", "", "why, for those who ask later (required)")
			cmd.Flags().BoolVar(&all, "all", false, "every parked row")
		},
		run: func(cmd *cobra.Command, _ []string) error {
			chosen, err := filter.read(p, cmd)
			if err != nil {
				return err
			}
			reason := strings.TrimSpace(reason)
			switch {
			case reason == "":
				return usage(errors.New("why? say it with --reason: it is kept for ever with the rows' keys"))
			case len(reason) > maxReason:
				return usage(fmt.Errorf("--reason has %d bytes, it may have %d", len(reason), maxReason))
			case chosen.Empty() && !all:
				return usage(errors.New("which rows? name them (--table, --code, --key, --cause, --since), or --all for every parked row"))
			case all && !chosen.Empty():
				return usage(errors.New("--all and a filter: one of them"))
			}
			report, err := p.discard(cmd, chosen, reason)
			if err != nil {
				return err
			}
			if form.json() {
				return p.printJSON(report)
			}
			return report.Write(p.stdout)
		},
	}
}

// maxReason bounds a reason: it is kept with every row, and has to fit into a record.
const maxReason = 1000

// discardTries is how often a decision is tried whose transaction was refused for a cause that passes, such as a lock.
const discardTries = 3

func (p *process) discard(cmd *cobra.Command, chosen dead.Filter, reason string) (report dead.Discarded, err error) {
	who := newOwner("dead")
	if user := p.getenv("USER"); user != "" {
		who = user + " " + who
	}
	err = p.onTarget(cmd, func(ctx context.Context, conn *pgx.Conn, at *pgtarget.Progress) error {
		var given []pgtarget.Parked
		for try := 1; ; try++ {
			var err error
			given, err = pgtarget.Discard(ctx, conn, pgtarget.Decision{Migration: at.Migration, Who: who, Reason: reason, Match: chosen.Match})
			if err == nil {
				break
			}
			if conn.IsClosed() || try == discardTries || fault.ClassOf(err) != fault.ClassTransient {
				return err
			}
		}
		left, err := pgtarget.ReadParked(ctx, conn, at.Migration, -1)
		if err != nil {
			return err
		}
		report = dead.MakeDiscarded(at.Migration, who, reason, given, left)
		return nil
	})
	return report, err
}
